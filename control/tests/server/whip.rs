//! WHIP and WHEP as their clients speak them.

use super::{StateFolder, World, config, eventually};
use plausch_control::server::Server;
use plausch_relay_api::limits::SIGNALLING_MESSAGE_BYTES;
use plausch_relay_api::{CommandError, DisconnectReason, Event, ParticipantSnapshot, SpeakerLevel};
use plausch_signalling::ServerMessage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SDP: &str = "Content-Type: application/sdp\r\n";
const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag\r\n";

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(other, _)| other.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).and_then(|line| Some(line.split_once(": ")?.1))
    }
}

pub(crate) async fn request(world: &World, line: &str, headers: &str, body: &str) -> Reply {
    let mut socket = TcpStream::connect(world.server.http()[0]).await.unwrap();
    let length = body.len();
    let text =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    // A server that has refused already may not read all of it.
    let _ = socket.write_all(body.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = socket.read_to_end(&mut reply).await;
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {reply:?}"));
    Reply { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/{name}.sdp", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What a client remembers of its session.
struct Session {
    location: String,
    tag: String,
}

async fn post(world: &World, path: &str, offer: &str) -> Session {
    let reply = request(world, &format!("POST {path}"), SDP, &fixture(offer)).await;
    assert_eq!(reply.status, 201, "{}\n{}", reply.head, reply.body);
    assert_eq!(reply.header("content-type"), Some("application/sdp"));
    assert_eq!(reply.header("link"), None, "there is no ICE server to name");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert!(reply.body.starts_with("v=0\r\n") && reply.body.contains("127.0.0.1 7000 typ host"), "{}", reply.body);
    let (location, tag) = (reply.header("location").unwrap().to_owned(), reply.header("etag").unwrap().to_owned());
    let path = path.split('?').next().unwrap();
    assert!(location.starts_with(&format!("{path}/")), "{location}");
    Session { location, tag }
}

fn fragment(ufrag: &str) -> String {
    format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\n")
}

fn only(world: &World) -> ParticipantSnapshot {
    let known = world.relay.participants();
    assert_eq!(known.len(), 1);
    known[0].clone()
}

#[tokio::test]
async fn a_publisher_is_seen_like_anybody() {
    let world = World::new().await;
    let mut anna = world.joined("Über uns", "Anna").await;
    let session = post(&world, "/whip/%C3%9Cber%20uns?name=Kamera%201", "obs-publish").await;
    let ServerMessage::ParticipantJoined { participant } = anna.next().await else { panic!() };
    assert_eq!((participant.name.reveal(), participant.connected), ("Kamera 1", true));
    assert!(participant.media.camera && participant.media.microphone && !participant.media.screen);
    let ServerMessage::Slots { slots } = anna.next().await else { panic!() };
    assert_eq!(slots[0].participant, participant.id);
    eventually("Anna's slot shows the camera", || {
        world.relay.participants().iter().any(|known| known.assignments.len() == 1)
    })
    .await;

    let gone = request(&world, &format!("DELETE {}", session.location), "If-Match: \"ignored\"\r\n", "").await;
    assert_eq!(gone.status, 200);
    let ServerMessage::ParticipantLeft { participant: left } = anna.next().await else { panic!() };
    assert_eq!(left, participant.id);
    let again = request(&world, &format!("DELETE {}", session.location), "", "").await;
    assert_eq!(again.status, 404);
    eventually("the relay forgets it", || world.relay.participants().len() == 1).await;
}

#[tokio::test]
async fn offers_of_all_tools() {
    let world = World::new().await;
    for offer in ["obs-publish", "gstreamer-publish", "aiortc-publish"] {
        let session = post(&world, "/whip/r", offer).await;
        assert_eq!(only(&world).spec.sends.len(), 2, "{offer}");
        assert_eq!(request(&world, &format!("DELETE {}", session.location), "", "").await.status, 200);
        eventually("it is gone", || world.relay.participants().is_empty() && world.participants() == 0).await;
    }
}

#[tokio::test]
async fn a_session_ends_with_its_media() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let session = post(&world, "/whip/r", "obs-publish").await;
    let joined = anna.until(|message| match message {
        ServerMessage::ParticipantJoined { participant } => Some(participant.id),
        _ => None,
    });
    let id = joined.await;
    // Longer than others would wait for a lost socket.
    tokio::time::sleep(std::time::Duration::from_millis(3000)).await;
    let participant = plausch_relay_api::ParticipantId(u64::from_str_radix(&id, 16).unwrap());
    world.relay.send(Event::Disconnected { participant, generation: 1, reason: DisconnectReason::ConsentExpired });
    let next = anna
        .until(|message| match message {
            ServerMessage::ParticipantLeft { participant } => Some(participant),
            ServerMessage::ParticipantChanged { .. } => panic!("it was never shown as lost"),
            _ => None,
        })
        .await;
    assert_eq!(next, id);
    assert_eq!(request(&world, &format!("DELETE {}", session.location), "", "").await.status, 404);
    eventually("the relay forgets it", || world.relay.participants().len() == 1).await;
}

#[tokio::test]
async fn ice_restarts_and_candidates() {
    let world = World::new().await;
    let session = post(&world, "/whip/r", "obs-publish").await;
    let before = only(&world).spec;
    assert_eq!(session.tag, format!("\"{}\"", before.transport.ice().unwrap().local_ufrag));
    let patch = async |matching: &str, content: &str, body: &str| {
        let matching = if matching.is_empty() { String::new() } else { format!("If-Match: {matching}\r\n") };
        request(&world, &format!("PATCH {}", session.location), &format!("{content}{matching}"), body).await
    };
    let trickle = fragment("Zk5q");
    assert_eq!(patch("", FRAGMENT, &trickle).await.status, 428);
    assert_eq!(patch("\"other\"", FRAGMENT, &trickle).await.status, 412);
    assert_eq!(patch(&session.tag, SDP, &trickle).await.status, 415);
    assert_eq!(patch(&session.tag, FRAGMENT, "nonsense").await.status, 400);
    assert_eq!(patch(&session.tag, FRAGMENT, "").await.status, 400);
    assert_eq!(patch(&session.tag, FRAGMENT, &trickle).await.status, 204);
    assert_eq!(only(&world).spec, before, "candidates change nothing");

    let restart = patch("*", FRAGMENT, &fragment("new1")).await;
    assert_eq!((restart.status, restart.header("content-type")), (200, Some("application/trickle-ice-sdpfrag")));
    let after = only(&world).spec;
    assert_eq!((after.transport.ice().unwrap().remote_ufrag.as_str(), after.generation), ("new1", before.generation));
    assert_ne!(after.transport.ice().unwrap().local_ufrag, before.transport.ice().unwrap().local_ufrag);
    assert_eq!(restart.header("etag"), Some(format!("\"{}\"", after.transport.ice().unwrap().local_ufrag).as_str()));
    assert!(
        restart.body.contains(&format!("a=ice-ufrag:{}\r\n", after.transport.ice().unwrap().local_ufrag)),
        "{}",
        restart.body
    );
    assert!(restart.body.contains(&format!("a=ice-pwd:{}\r\n", after.transport.ice().unwrap().local_pwd.reveal())));
    assert_eq!(patch(&session.tag, FRAGMENT, &fragment("new2")).await.status, 412, "the old tag");

    // What the relay does not take changes nothing.
    let tag = restart.header("etag").unwrap();
    world.relay.refuse_next(CommandError::UfragTaken);
    assert_eq!(patch(tag, FRAGMENT, &fragment("new3")).await.status, 503);
    assert_eq!(patch(tag, FRAGMENT, &fragment("new4")).await.status, 200);
    assert_eq!(only(&world).spec.transport.ice().unwrap().remote_ufrag, "new4");
}

#[tokio::test]
async fn a_viewer_follows_who_speaks_or_who_is_named() {
    let world = World::new().await;
    let anna = world.joined("r", "Anna").await;
    let mut bert = world.joined("r", "Bert").await;
    let bert_id = plausch_relay_api::ParticipantId(u64::from_str_radix(&bert.id, 16).unwrap());
    let room = world.relay.participants()[0].spec.room;
    let follows = |tag: &str| {
        let known = world.relay.participants();
        let viewer =
            known.iter().find(|known| format!("\"{}\"", known.spec.transport.ice().unwrap().local_ufrag) == tag)?;
        assert!(viewer.spec.sends.is_empty() && viewer.spec.slots.len() == 1);
        viewer.assignments.first().map(|assignment| assignment.source.participant.to_string())
    };
    let speaker = post(&world, "/whep/r", "aiortc-watch").await;
    let named = post(&world, "/whep/r?participant=Anna&name=Wall", "aiortc-watch").await;
    let by_id = post(&world, &format!("/whep/r?participant={}", anna.id), "aiortc-watch").await;
    let later = post(&world, "/whep/r?participant=Late", "aiortc-watch").await;
    eventually("they see Anna, who was first", || {
        [&speaker, &named, &by_id].iter().all(|session| follows(&session.tag).as_ref() == Some(&anna.id))
    })
    .await;
    assert_eq!(follows(&later.tag), None);
    world.relay.send(Event::Speakers { room, speakers: vec![SpeakerLevel { participant: bert_id, level: 9 }] });
    eventually("one follows Bert", || follows(&speaker.tag).as_ref() == Some(&bert.id)).await;
    assert_eq!(follows(&named.tag).as_ref(), Some(&anna.id));
    assert_eq!(follows(&by_id.tag).as_ref(), Some(&anna.id));
    let late = world.joined("r", "Late").await;
    eventually("it waited", || follows(&later.tag).as_ref() == Some(&late.id)).await;

    // Nobody is watched by the unseen, and nobody watches viewers.
    let mut names = Vec::new();
    while names.len() < 4 {
        if let ServerMessage::ParticipantJoined { participant } = bert.next().await {
            assert!(participant.name.reveal() == "Late" || !participant.media.camera);
            names.push(participant.name.into_revealed());
        }
    }
    assert_eq!(names, ["WHEP", "Wall", "WHEP 2", "WHEP 3"]);
    let viewers: Vec<_> = world.relay.participants().into_iter().filter(|known| known.spec.sends.is_empty()).collect();
    assert!(
        world.relay.participants().iter().flat_map(|known| &known.assignments).all(|assignment| {
            viewers.iter().all(|viewer| viewer.spec.participant != assignment.source.participant)
        })
    );
    // One kind of session is not the other.
    let wrong = named.location.replace("/whep/", "/whip/");
    assert_eq!(request(&world, &format!("DELETE {wrong}"), "", "").await.status, 404);
    assert_eq!(request(&world, &format!("DELETE {}", named.location), "", "").await.status, 200);
}

#[tokio::test]
async fn control_restarts_and_sessions_go_on() {
    let mut world = World::new().await;
    let publisher = post(&world, "/whip/r?name=Kamera", "obs-publish").await;
    let viewer = post(&world, "/whep/r?participant=Kamera", "aiortc-watch").await;
    eventually("it is watched", || world.relay.participants().iter().any(|known| known.assignments.len() == 1)).await;
    let old = std::mem::replace(&mut world.server, Server::start(config(&StateFolder::new(), "")).await.unwrap());
    drop(old);
    world.relay.hang_up();
    world.server = Server::start(config(&world.folder, "")).await.unwrap();
    world.relay.dial(&world).await;
    world.ready().await;
    assert_eq!(world.participants(), 2);
    let headers = format!("{FRAGMENT}If-Match: {}\r\n", publisher.tag);
    let restart = request(&world, &format!("PATCH {}", publisher.location), &headers, &fragment("new1")).await;
    assert_eq!(restart.status, 200, "{}", restart.body);
    assert!(world.relay.participants().iter().any(|known| known.assignments.len() == 1), "still watched");
    for session in [publisher, viewer] {
        assert_eq!(request(&world, &format!("DELETE {}", session.location), "", "").await.status, 200);
    }
    eventually("nobody is left", || world.participants() == 0 && world.relay.participants().is_empty()).await;
}

#[tokio::test]
async fn a_relay_that_comes_back_empty_ends_sessions() {
    let world = World::new().await;
    post(&world, "/whip/r", "obs-publish").await;
    world.relay.hang_up();
    eventually("the link is down", || !world.server.service.ready()).await;
    assert_eq!(world.participants(), 1, "its media may flow");
    world.relay.forget_everybody();
    world.relay.dial(&world).await;
    world.ready().await;
    eventually("it is gone", || world.participants() == 0).await;
}

#[tokio::test]
pub(crate) async fn requests_that_are_refused_leave_nothing() {
    let world = World::new().await;
    let offer = fixture("obs-publish");
    let huge = format!("{offer}{}", "a=x\r\n".repeat(SIGNALLING_MESSAGE_BYTES / 5 + 1));
    let long = format!("POST /whip/{}", "x".repeat(121));
    let accept = format!("{SDP}Accept: text/html\r\n");
    for (line, headers, body, status) in [
        ("POST /whip/r", "", offer.as_str(), 415),
        ("POST /whip/r", "Content-Type: application/json\r\n", &offer, 415),
        ("POST /whip/r", &accept, &offer, 406),
        ("POST /whip/r", SDP, "", 400),
        ("POST /whip/r", SDP, "hello", 400),
        ("POST /whip/r", SDP, &offer.replace("H264/", "H265/"), 422),
        ("POST /whip/r", SDP, &offer.replace("a=group:BUNDLE 0 1\r\n", ""), 422),
        ("POST /whep/r", SDP, &offer, 422),
        ("POST /whip/r", SDP, &huge, 413),
        ("POST /whip/r?name=%00", SDP, &offer, 400),
        ("POST /whip/r?name=", SDP, &offer, 400),
        ("POST /whep/r?participant=%E3%85%A4", SDP, &fixture("aiortc-watch"), 400),
        ("POST /whip/a%00b", SDP, &offer, 404),
        ("PATCH /whip/r", SDP, &offer, 405),
        ("POST /whip/r/token", SDP, &offer, 405),
        ("POST /whip/a%2Fb", SDP, &offer, 404),
        ("POST /whip/api", SDP, &offer, 404),
        (&long, SDP, &offer, 404),
        ("POST /whip/", SDP, &offer, 404),
        ("GET /whip/r", "", "", 405),
        ("PUT /whip/r", SDP, &offer, 405),
        ("DELETE /whip/r", "", "", 405),
        ("GET /whip/r/x", "", "", 405),
        ("POST /whip/r/x", SDP, &offer, 405),
        ("DELETE /whip/r/x", "", "", 404),
    ] {
        let reply = request(&world, line, headers, body).await;
        assert_eq!(reply.status, status, "{line} {headers} {}", reply.body);
        assert_eq!(world.participants(), 0, "{line}");
    }
    for (error, status) in [
        (CommandError::Limit("x".into()), 503),
        (CommandError::Invalid("x".into()), 422),
        (CommandError::UfragTaken, 503),
    ] {
        world.relay.refuse_next(error);
        let reply = request(&world, "POST /whip/r", SDP, &offer).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert_eq!(world.participants(), 0);
    }
    // Somebody's token to come back by is not an address.
    let anna = world.joined("r", "Anna").await;
    assert_eq!(request(&world, &format!("DELETE /whip/r/{}", anna.resume), "", "").await.status, 404);
    assert_eq!(world.participants(), 1);
}

#[tokio::test]
async fn options_name_what_can_be_sent_and_let_no_foreign_page_in() {
    let world = World::new().await;
    let headers = "Origin: https://other.example\r\nAccess-Control-Request-Method: POST\r\n";
    for path in ["/whip/r", "/whep/r"] {
        let reply = request(&world, &format!("OPTIONS {path}"), headers, "").await;
        assert_eq!((reply.status, reply.header("accept-post")), (204, Some("application/sdp")));
        assert!(!reply.head.to_lowercase().contains("access-control"), "{}", reply.head);
    }
    let reply = request(&world, "OPTIONS /whip/r/x", headers, "").await;
    assert_eq!((reply.status, reply.header("accept-patch")), (204, Some("application/trickle-ice-sdpfrag")));
    assert!(!reply.head.to_lowercase().contains("access-control"), "{}", reply.head);
}

#[tokio::test]
async fn joins_are_limited_as_those_of_browsers() {
    let limits = "[http]\nlisten = [\"127.0.0.1:0\"]\nbehind_proxy = true\n[link]\nlisten = \"127.0.0.1:0\"\n\
                  [limits]\njoin_burst = 2\njoins_per_minute = 1\nparticipants_per_room = 3\n";
    let world = World::with(limits).await;
    let from = format!("{SDP}X-Forwarded-For: 192.0.2.1\r\n");
    for (headers, status) in [(from.as_str(), 201), (&from, 201), (&from, 429), (SDP, 201), (SDP, 503)] {
        let reply = request(&world, "POST /whip/r", headers, &fixture("obs-publish")).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert_eq!(reply.header("retry-after").is_some(), status >= 429);
    }
}

#[tokio::test]
async fn a_client_that_gives_up_leaves_nothing_half() {
    let world = World::new().await;
    world.relay.set_mute(true);
    let offer = fixture("obs-publish");
    let mut socket = TcpStream::connect(world.server.http()[0]).await.unwrap();
    let length = offer.len();
    let text = format!("POST /whip/r HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{SDP}\r\n{offer}");
    socket.write_all(text.as_bytes()).await.unwrap();
    eventually("it has a place", || world.participants() == 1).await;
    drop(socket);
    eventually("its place is free again", || world.participants() == 0).await;
}
