//! The video room's client against what Debian's Janus 1.1.2 said in a run with two publishers and a viewer.

use super::super::dtls::Identity;
use super::*;
use crate::Entry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

const SESSION: &str = include_str!("recorded/session.json");
const HANDLE: &str = include_str!("recorded/attached_handle.json");
const CREATED: &str = include_str!("recorded/created.json");
const ROOM_EXISTS: &str = include_str!("recorded/room_exists.json");
const JOINED: &str = include_str!("recorded/joined.json");
const PARTICIPANTS_EARLY: &str = include_str!("recorded/participants_one_not_sending.json");
const PARTICIPANTS: &str = include_str!("recorded/participants.json");
const ATTACHED: &str = include_str!("recorded/attached.json");
const STARTED: &str = include_str!("recorded/started.json");
const MEDIA: &str = include_str!("recorded/media.json");
const ACK: &str = include_str!("recorded/ack.json");

/// Takes the subprotocol that was asked for.
#[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn speak_janus(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let asked = &request.headers()[SEC_WEBSOCKET_PROTOCOL];
    assert_eq!(asked, "janus-protocol");
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, asked.clone());
    Ok(response)
}

/// A Janus that answers one request after the other with these; its address, and what it was asked.
async fn recorded(answers: Vec<String>) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_hdr_async(tcp, speak_janus).await.unwrap();
        let mut answers = answers.into_iter();
        while let Some(Ok(Frame::Text(text))) = socket.next().await {
            let request: Value = serde_json::from_str(&text).unwrap();
            let transaction = request["transaction"].clone();
            let trickle = request["janus"] == "trickle";
            asked.send(request).unwrap();
            // Events of others and acknowledgements come in between.
            socket.send(Frame::text(MEDIA)).await.unwrap();
            let mut say = vec![ACK.to_owned()];
            if !trickle {
                let Some(answer) = answers.next() else { return };
                say.push(answer);
            }
            for message in say {
                let mut message: Value = serde_json::from_str(&message).unwrap();
                message["transaction"] = transaction.clone();
                socket.send(Frame::text(message.to_string())).await.unwrap();
            }
        }
    });
    (url, requests)
}

async fn connect(answers: &[&str]) -> (Result<Janus, ClientError>, mpsc::UnboundedReceiver<Value>) {
    let (url, requests) = recorded(answers.iter().map(|answer| (*answer).to_owned()).collect()).await;
    let options = JoinOptions { entry: Entry::Janus, ..JoinOptions::new(url, "room", "Anna") };
    (Janus::connect(&options).await, requests)
}

#[tokio::test]
async fn a_publisher_makes_the_room_if_it_must_and_takes_the_answer() {
    for made in [CREATED, ROOM_EXISTS] {
        let (janus, mut requests) = connect(&[SESSION, HANDLE, made, JOINED]).await;
        let identity = Identity::generate().unwrap();
        let options = JoinOptions::new("", "room", "Anna");
        let local = LocalDescription::of(&options, &identity, 0);
        let published = janus.unwrap().publish(&local).await.unwrap();
        assert_eq!(u64::from_str_radix(&published.participant, 16), Ok(1_108_278_520_420_150));
        assert!(published.remote.media("0").is_some() && published.remote.media("1").is_some());
        assert_eq!(published.remote.candidates[0].ip().to_string(), "10.213.77.2");
        let mut asked = Vec::new();
        while let Ok(request) = requests.try_recv() {
            asked.push(request);
        }
        assert_eq!(asked[1]["session_id"], 7_127_086_928_393_251_u64);
        let offer = asked[3]["jsep"]["sdp"].as_str().unwrap();
        assert!(offer.contains("a=setup:active") && !offer.contains("actpass"), "{offer}");
    }
}

#[tokio::test]
async fn a_viewer_waits_for_all_who_send_and_sorts_their_streams_into_slots() {
    let (janus, mut requests) = connect(&[SESSION, HANDLE, PARTICIPANTS_EARLY, PARTICIPANTS, ATTACHED, STARTED]).await;
    let identity = Identity::generate().unwrap();
    let describe = move |slots| LocalDescription::watching(&identity, slots);
    let [subscribed] = <[_; 1]>::try_from(janus.unwrap().subscribe(2, &describe).await.unwrap()).ok().unwrap();
    assert_eq!(subscribed.shown, [(0, "3eff933859736".to_owned()), (1, "e567eb585ef91".to_owned())]);
    let lines: Vec<_> = subscribed.lines.iter().map(|l| (l.slot, l.half, l.mid.as_str(), l.ssrc)).collect();
    let expected = [
        (0, Half::Audio, "0", Some(3_010_990_305)),
        (0, Half::Video, "1", Some(2_099_427_719)),
        (1, Half::Audio, "2", Some(3_726_298_333)),
        (1, Half::Video, "3", Some(681_986_035)),
    ];
    assert_eq!(lines, expected);
    assert_eq!(subscribed.incoming, Incoming { connection: RECEIVING, mid_extension: Some(4) });
    let start = std::iter::from_fn(|| requests.try_recv().ok()).find(|asked| asked["body"]["request"] == "start");
    let start = start.unwrap();
    let answer = start["jsep"]["sdp"].as_str().unwrap();
    assert!(answer.contains("a=group:BUNDLE 0 1 2 3\r\n"), "{answer}");
    assert_eq!(answer.matches("a=recvonly\r\n").count(), 4);
    assert_eq!(answer.matches("a=setup:active\r\n").count(), 4);
    // Retransmissions keep their SSRC if the payload for others is not taken.
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n") && !answer.contains("rtx"), "{answer}");
    assert!(answer.contains("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"), "{answer}");
}

#[tokio::test]
async fn refusals_of_the_core_and_of_the_room_are_sentences() {
    let core = r#"{"janus":"error","error":{"code":403,"reason":"Unauthorized request"}}"#;
    let said = connect(&[core]).await.0.err().unwrap().to_string();
    assert_eq!(said, "Janus refused a session: Unauthorized request");
    let full = r#"{"janus":"event","plugindata":{"plugin":"janus.plugin.videoroom","data":{"videoroom":"event",
        "error_code":432,"error":"Maximum number of publishers (1) already reached"}}}"#;
    let (janus, _requests) = connect(&[SESSION, HANDLE, CREATED, full]).await;
    let identity = Identity::generate().unwrap();
    let local = LocalDescription::of(&JoinOptions::new("", "", ""), &identity, 0);
    let said = janus.unwrap().publish(&local).await.err().unwrap().to_string();
    assert_eq!(said, "Janus refused to let us publish: Maximum number of publishers (1) already reached");
    // It goes away instead of answering.
    let said = connect(&[]).await.0.err().unwrap().to_string();
    assert!(said.contains("closed the connection"), "{said}");
}

#[tokio::test]
async fn other_servers_are_no_janus() {
    let (janus, _requests) = connect(&[r#"{"hello":"world"}"#]).await;
    assert!(matches!(janus.err(), Some(ClientError::NotJanus { .. })));
}
