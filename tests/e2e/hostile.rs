//! Bad input at the real ports: counted or answered by an error, and nobody's call is disturbed.

use crate::people::{SOON, all_meet, join, longest_pause, receives};
use crate::service::{Process, Service, get};
use futures_util::{SinkExt, StreamExt};
use plausch_client::{Client, ClientError, JoinOptions};
use plausch_signalling::{
    Claims, ClientMessage, ErrorCode, MediaState, Offer, PersonName, RoomTitle, Sends, ServerMessage, VERSION,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_USERNAME, AttrType, RawAttribute};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, Message as StunMessage, Setter};
use stun::textattrs::TextAttribute;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Random datagrams of one flood.
const FLOOD: usize = 20_000;
/// A pause after so many, so that they arrive at all.
const BURST: usize = 100;

/// A small generator with a fixed seed (xorshift64*): the same junk in each run.
struct Junk(u64);

impl Junk {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// First byte of each class of RFC 7983 in turn, then noise.
    fn datagram(&mut self) -> Vec<u8> {
        let len = (self.next() % 1500) as usize;
        let mut datagram = self.bytes(len);
        let class = [0u8, 1, 3, 4, 19, 20, 22, 23, 63, 64, 79, 80, 127, 128, 144, 191, 192, 255];
        if let Some(first) = datagram.first_mut() {
            *first = class[self.next() as usize % class.len()];
        }
        datagram
    }
}

fn check(ufrag: &str, pwd: &str, extra: &[(AttrType, &[u8])]) -> Vec<u8> {
    let mut setters: Vec<Box<dyn Setter>> = vec![
        Box::new(TransactionId::new()),
        Box::new(BINDING_REQUEST),
        Box::new(TextAttribute::new(ATTR_USERNAME, ufrag.to_owned())),
    ];
    for (typ, value) in extra {
        setters.push(Box::new(RawAttribute { typ: *typ, length: value.len() as u16, value: value.to_vec() }));
    }
    setters.push(Box::new(MessageIntegrity::new_short_term_integrity(pwd.to_owned())));
    setters.push(Box::new(FINGERPRINT));
    let mut message = StunMessage::new();
    message.build(&setters).unwrap();
    message.raw
}

/// Datagrams that look like something, but are cut, forged or out of place.
fn forgeries(junk: &mut Junk) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let unknown_user = check("nobodyhere:stranger", "wrongwrongwrongwrongwrong", &[]);
    all.extend((0..unknown_user.len()).map(|len| unknown_user[..len].to_vec()));
    // A length field that wraps, and one that is not a multiple of four.
    for length in [[0xff, 0xff], [0xff, 0xfc], [0, 1]] {
        let mut wrong = unknown_user.clone();
        wrong[2..4].copy_from_slice(&length);
        all.push(wrong);
    }
    // Unknown comprehension-required attributes, many of them.
    let many: Vec<(AttrType, &[u8])> = (0..100).map(|n| (AttrType(0x7000 + n), &[][..])).collect();
    all.push(check("nobodyhere:stranger", "wrongwrongwrongwrongwrong", &many));
    // DTLS before ICE: a handshake record with a ClientHello's beginning, whole and cut (RFC 6347, section 4.2.2).
    let mut hello =
        vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 1, 44, 1, 0, 1, 32, 0, 0, 0, 0, 0, 0, 1, 32, 0xfe, 0xfd];
    hello.extend(junk.bytes(286));
    all.extend((0..hello.len()).step_by(7).map(|len| hello[..len].to_vec()));
    // RTP and RTCP with lengths past the end: CSRCs, extension, padding, compound lengths.
    for (first, second) in
        [(0x8f, 96), (0x90, 96), (0xbf, 111), (0x80, 200), (0x81, 201), (0x9f, 203), (0x8f, 205), (0x81, 206)]
    {
        for len in [2, 4, 8, 12, 13, 16, 20, 28, 40, 1200] {
            let mut packet = vec![first, second, 0xff, 0xff];
            packet.extend(junk.bytes(len));
            all.push(packet);
        }
    }
    // Larger than any datagram that is looked at.
    all.push(junk.bytes(9_000));
    all.push(Vec::new());
    all
}

async fn flood(socket: &UdpSocket, to: SocketAddr, datagrams: impl IntoIterator<Item = Vec<u8>>) -> usize {
    let mut bytes = 0;
    for (index, datagram) in datagrams.into_iter().enumerate() {
        bytes += datagram.len();
        let _ = socket.send_to(&datagram, to).await;
        if index % BURST == BURST - 1 {
            sleep(Duration::from_millis(2)).await;
        }
    }
    bytes
}

/// Sum of all counters of dropped packets.
async fn drops(service: &Service) -> f64 {
    let metrics = service.relay_metrics().await;
    metrics.iter().filter(|(name, _)| name.contains("drop")).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn junk_from_strangers_is_dropped_and_counted() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let (drops_before, tuples) = (drops(&service).await, service.relay_metric("plausch_tuples").await);
    bert.clear_pauses();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, service.ports.media));
    let mut junk = Junk(0x706c_6175_7363_6821);
    let mut sent = flood(&socket, to, forgeries(&mut junk)).await;
    sent += flood(&socket, to, (0..FLOOD).map(|_| junk.datagram())).await;
    let mut answered = 0;
    let mut buf = [0; 2048];
    while let Ok(Ok(len)) = timeout(Duration::from_millis(200), socket.recv(&mut buf)).await {
        answered += len;
    }
    assert!(answered <= sent, "{answered} bytes in answer to {sent}: an amplifier");
    assert!(service.lives(Process::Relay));
    let dropped = drops(&service).await - drops_before;
    assert!(dropped > FLOOD as f64 / 2.0, "only {dropped} drops counted");
    assert_eq!(service.relay_metric("plausch_tuples").await, tuples);
    assert_eq!(service.relay_metric("plausch_participants").await, 2.0);
    let stats = receives(&bert, &anna.participant()).await;
    assert!(longest_pause(&stats, &anna.participant()) < Duration::from_secs(1));
    assert_eq!(stats.foreign_packets, 0);
}

#[tokio::test]
async fn junk_and_replays_of_a_participant_disturb_nobody() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let drops_before = drops(&service).await;
    let mut junk = Junk(7);
    for _ in 0..20 {
        let mut datagrams = forgeries(&mut junk);
        datagrams.extend((0..100).map(|_| junk.datagram()));
        anna.inject(datagrams);
        anna.replay(50);
        sleep(Duration::from_millis(50)).await;
    }
    assert!(service.lives(Process::Relay));
    assert!(drops(&service).await > drops_before + 1000.0);
    let stats = receives(&bert, &anna.participant()).await;
    receives(&anna, &bert.participant()).await;
    let slot = stats.slot_of(&anna.participant()).unwrap();
    for track in [&slot.audio, &slot.video] {
        assert_eq!((track.duplicates, track.undecryptable, track.sequence_jumps), (0, 0, 0), "{track:#?}");
    }
    assert_eq!(anna.stats().connections, 1, "forged DTLS must not end the connection");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(service: &Service) -> Socket {
    let url = format!("ws://127.0.0.1:{}/api/signalling", service.ports.http);
    tokio_tungstenite::connect_async(url).await.unwrap().0
}

/// What control answers: an error's code, or `None` when it closes the socket without one.
async fn answer(socket: &mut Socket) -> Option<ErrorCode> {
    loop {
        let message = timeout(SOON, socket.next()).await.expect("control answers or closes");
        match message {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text).unwrap() {
                ServerMessage::Error { code, .. } => return Some(code),
                other => panic!("an error was expected, not {other:?}"),
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

fn join_message(version: u32, sdp: String) -> String {
    let offer = Offer { id: 1, connection: 1, sdp, sends: Sends::default(), slots: Vec::new() };
    let join = ClientMessage::Join {
        version,
        capabilities: Vec::new(),
        room: RoomTitle::new("room"),
        name: PersonName::new("Mallory"),
        resume: None,
        offer: Some(offer),
        media: MediaState::default(),
        claims: Claims::default(),
    };
    serde_json::to_string(&join).unwrap()
}

#[tokio::test]
async fn bad_signalling_gets_an_error_or_is_cut_off() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let bad_message = Some(ErrorCode::BadMessage);
    let cases = [
        ("no JSON", "hello".to_owned(), bad_message),
        ("deep JSON", deep, bad_message),
        ("unknown kind", r#"{"type":"dance"}"#.to_owned(), bad_message),
        ("wrong order", r#"{"type":"media","media":{}}"#.to_owned(), bad_message),
        ("leave before join", r#"{"type":"leave"}"#.to_owned(), None),
        ("another version", join_message(VERSION + 1, "v=0".into()), Some(ErrorCode::BadOffer)),
        ("no SDP", join_message(VERSION, "dance".into()), Some(ErrorCode::BadOffer)),
        ("ten thousand lines", join_message(VERSION, "a=x\r\n".repeat(10_000)), Some(ErrorCode::BadOffer)),
        (
            "ten thousand m-lines",
            join_message(VERSION, "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(7_000)),
            Some(ErrorCode::BadOffer),
        ),
        ("oversized", " ".repeat(4 << 20), None),
    ];
    for (what, text, expected) in cases {
        let mut socket = open(&service).await;
        let _ = socket.send(Message::text(text)).await;
        let answer = answer(&mut socket).await;
        assert!(answer == expected || (expected.is_none() && answer == bad_message), "{what}: {answer:?}");
    }
    let mut socket = open(&service).await;
    let invalid = Frame::message(vec![0xff, 0xfe, 0x80], OpCode::Data(Data::Text), true);
    let _ = socket.send(Message::Frame(invalid)).await;
    assert!(matches!(answer(&mut socket).await, None | Some(ErrorCode::BadMessage)));
    let mut socket = open(&service).await;
    let _ = socket.send(Message::binary(vec![0; 1000])).await;
    assert!(matches!(answer(&mut socket).await, None | Some(ErrorCode::BadMessage)));
    assert!(service.lives(Process::Control));
    assert_eq!(get(service.ports.http, "/api/health").await.unwrap().0, 200);
    assert_eq!(anna.stats().participants.len(), 1, "nobody of these has entered");
    receives(&anna, &bert.participant()).await;
}

#[tokio::test]
async fn bad_names_are_refused_and_human_ones_taken() {
    let service = Service::start().await;
    let long = "x".repeat(1_000);
    let huge = "x".repeat(100_000);
    for room in ["", "   ", "a\u{7}b", "a\0b", &long, &huge, "api", "assets"] {
        let refused = Client::join(JoinOptions::new(service.url(), room, "Anna")).await.map(drop);
        let shown: String = room.chars().take(20).collect();
        assert!(matches!(refused, Err(ClientError::Refused(ErrorCode::BadRoomName))), "{shown:?}: {refused:?}");
    }
    for name in ["", "  ", "\u{1b}\u{202e}", "\u{3164}", "\u{2800}"] {
        let refused = Client::join(JoinOptions::new(service.url(), "room", name)).await.map(drop);
        assert!(matches!(refused, Err(ClientError::Refused(ErrorCode::BadName))), "{name:?}: {refused:?}");
    }
    let anna = join(&service, "Kulturverein Marion", "Anna Müller-Lüdenscheidt").await;
    let bert = join(&service, "kulturvereinmarion", "Bert 🎈").await;
    all_meet(&[&anna, &bert]).await;
    assert_eq!(anna.stats().participants[0].name.reveal(), "Bert 🎈");
    let cleaned = join(&service, "room", &format!("Bert\u{7}\u{202e} {long}")).await;
    let again = join(&service, "room", "anna").await;
    let third = join(&service, "room", "Anna").await;
    all_meet(&[&cleaned, &again, &third]).await;
    let mut names: Vec<_> =
        cleaned.stats().participants.into_iter().map(|other| other.name.reveal().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["Anna 2", "anna"], "equal names are told apart");
    let shown = again.stats().participants;
    assert!(
        shown
            .iter()
            .map(|other| other.name.reveal())
            .any(|name| name.starts_with("Bert xxx") && name.chars().count() == 64)
    );
}

#[tokio::test]
async fn a_forged_resume_token_opens_nobodys_identity() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let id = anna.participant();
    let bytes: Vec<u8> = (0..8).map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap()).collect();
    // Anna's own id with a made-up signature, and what is no token at all.
    let forged = base64_url(&[bytes, vec![0; 32]].concat());
    for resume in ["", "AAAA", "not base64 at all!", &"A".repeat(10_000), &forged] {
        let mut socket = open(&service).await;
        let join = serde_json::json!({
            "type": "join", "version": VERSION, "room": "room", "name": "Mallory", "resume": resume, "media": {},
        });
        let _ = socket.send(Message::text(join.to_string())).await;
        let message = timeout(SOON, socket.next()).await.expect("control answers").unwrap().unwrap();
        if let Message::Text(text) = message
            && let ServerMessage::Welcome { participant, .. } = serde_json::from_str(&text).unwrap()
        {
            assert_ne!(participant, id, "{resume:.20}");
        }
    }
    receives_own_room_still(&anna, &service).await;
}

/// The client was not replaced.
async fn receives_own_room_still(client: &Client, service: &Service) {
    let other = join(service, "room", "Bert").await;
    receives(client, &other.participant()).await;
    assert_eq!(client.stats().reattached, 0);
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |n: usize| bytes.get(n / 8).map_or(0, |byte| usize::from(byte >> (7 - n % 8) & 1));
    let sextet = |n: usize| (0..6).fold(0, |sum, i| sum << 1 | bit(6 * n + i));
    (0..(bytes.len() * 8).div_ceil(6)).map(|n| ALPHABET[sextet(n)] as char).collect()
}
