//! Nothing of a person is in a log: a whole call at the most talkative level, and then a search for everything that
//! could give somebody away.

use crate::people::{SOON, all_meet, join_with};
use crate::service::{Process, Service};
use futures_util::{SinkExt, StreamExt};
use plausch_client::turn::TurnServer;
use plausch_client::{Client, Entry, JoinOptions};
use plausch_signalling::{
    Claims, ClientMessage, IceServer, MediaState, Offer, PersonName, ResumeToken, RoomTitle, Sends, ServerMessage,
    VERSION,
};
use plausch_tests::wire::stun::Check;
use plausch_tests::wire::turn::{self as wire, Login, Said};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const ROOM: &str = "Stille Post Zwölf";
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 9, 8, 7);
const OFFER: &str = include_str!("../../control/tests/fixtures/obs-publish.sdp");

/// A page that comes from an address of its own.
struct Visitor(WebSocketStream<TcpStream>);

async fn connect(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((VISITOR, 0).into()).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap()
}

impl Visitor {
    async fn open(service: &Service) -> Self {
        let url = format!("ws://127.0.0.1:{}/api/signalling", service.ports.http);
        let stream = connect(service.ports.http).await;
        Self(tokio_tungstenite::client_async(url, stream).await.unwrap().0)
    }

    async fn ask(&mut self, message: &ClientMessage) -> ServerMessage {
        let text = serde_json::to_string(message).unwrap();
        self.say(&text).await
    }

    async fn say(&mut self, text: &str) -> ServerMessage {
        self.0.send(Message::text(text)).await.unwrap();
        loop {
            let message = timeout(SOON, self.0.next()).await.expect("control answers").unwrap().unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

fn offer(connection: u32, sdp: &str) -> Offer {
    let sends = Sends { microphone: Some("0".into()), camera: Some("1".into()), ..Sends::default() };
    Offer { id: 1, connection, sdp: sdp.to_owned(), sends, slots: Vec::new() }
}

fn join(name: &str, resume: Option<ResumeToken>, offer: Option<Offer>) -> ClientMessage {
    let media = MediaState { microphone: true, camera: true, screen: false };
    ClientMessage::Join {
        version: VERSION,
        capabilities: Vec::new(),
        room: RoomTitle::new(ROOM),
        name: PersonName::new(name),
        resume,
        offer,
        media,
        claims: Claims::default(),
    }
}

fn line<'a>(sdp: &'a str, start: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("no {start} in {sdp}"))
}

/// An HTTP request of the visitor; the answer with its head.
async fn http(service: &Service, request: &str) -> String {
    let mut stream = connect(service.ports.http).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("control answers").unwrap();
    answer
}

/// What must not be in a log, each with what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, value: impl Into<String>) {
        let value = value.into();
        assert!(value.len() >= 4, "{what} {value:?} could be anywhere");
        self.0.push((what, value));
    }

    /// What of it is in a text. Case does not matter, nor whether it is written for an address or for JSON.
    fn found_in(&self, text: &str) -> Vec<&str> {
        let text = text.to_lowercase();
        let found = |value: &str| {
            let escaped = value.escape_default().to_string();
            [value.to_owned(), percent_encoded(value), escaped].iter().any(|form| text.contains(&form.to_lowercase()))
        };
        self.0.iter().filter(|(_, value)| found(value)).map(|(what, _)| *what).collect()
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Addresses with a port that none of the two processes listens on.
fn foreign_sockets(text: &str, own: &[u16]) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)));
    let sockets = words.filter_map(|word| word.trim_end_matches(['.', ':']).parse::<SocketAddr>().ok());
    sockets.filter(|socket| !own.contains(&socket.port())).map(|socket| socket.to_string()).collect()
}

#[test]
fn the_search_finds_what_is_there() {
    let mut secrets = Secrets::default();
    secrets.add("room", ROOM);
    secrets.add("name", "Zoë \"Zett\"");
    for planted in
        ["joined stille post zwölf now", "GET /Stille%20Post%20Zw%C3%B6lf", "room=\"Stille Post Zw\\u{f6}lf\""]
    {
        assert_eq!(secrets.found_in(planted), ["room"], "{planted}");
    }
    assert_eq!(secrets.found_in(&format!("{:?}", "Zoë \"Zett\"".escape_default().to_string())).len(), 0);
    assert_eq!(secrets.found_in("Member { name: \"Zo\\u{eb} \\\"Zett\\\"\" }"), ["name"]);
    assert!(secrets.found_in("joined participant=0123456789abcdef").is_empty());
    let own = [8080];
    assert_eq!(foreign_sockets("from 127.0.0.1:40123, serving http://127.0.0.1:8080", &own), ["127.0.0.1:40123"]);
    assert_eq!(foreign_sockets("peer [2001:db8::7]:5000.", &own), ["[2001:db8::7]:5000"]);
}

/// The call: everybody comes, does something wrong, is lost, comes back and leaves.
async fn call(service: &mut Service, secrets: &mut Secrets) {
    // A stranger of whom everything is known.
    let mut visitor = Visitor::open(service).await;
    let ice = match visitor.ask(&ClientMessage::IceServers { room: RoomTitle::new(ROOM) }).await {
        ServerMessage::IceServers { ice } => ice,
        other => panic!("{other:?}"),
    };
    let IceServer { username, credential, .. } = ice.servers[0].clone();
    secrets.add("TURN user name", username.reveal());
    secrets.add("TURN password", credential.reveal());
    for wrong in [
        OFFER.replace("a=mid:1", "a=mid:0"),
        OFFER.replace("opus/48000/2", "opus/geheimwort/2"),
        OFFER.replace("a=ice-ufrag", "ice-ufrag"),
        OFFER.replace("a=setup:actpass", "a=setup:127.9.8.7"),
        "v=0\r\ngeheimwort\r\n".to_owned(),
    ] {
        let answer = visitor.ask(&join("Xaver Geheimrat", None, Some(offer(1, &wrong)))).await;
        assert!(matches!(answer, ServerMessage::Error { .. }), "{answer:?}");
    }
    let answer = visitor.say("{\"type\":\"geheimwort\",\"name\":\"Xaver Geheimrat\"}").await;
    assert!(matches!(answer, ServerMessage::Error { .. }), "{answer:?}");
    let answer = visitor.ask(&join("Xaver Geheimrat", None, Some(offer(1, OFFER)))).await;
    let ServerMessage::Welcome { resume, answer: Some(answer), .. } = answer else { panic!("{answer:?}") };
    secrets.add("resume token", resume.reveal());
    let (ufrag, pwd) = (line(&answer.sdp, "a=ice-ufrag:"), line(&answer.sdp, "a=ice-pwd:"));
    secrets.add("our ICE password", pwd);
    secrets.add("our ICE user fragment", ufrag);

    // Its media: checks right and wrong, junk, and TURN.
    let media = UdpSocket::bind((VISITOR, 0)).unwrap();
    media.connect((Ipv4Addr::LOCALHOST, service.ports.media)).unwrap();
    let check = |password: &str| Check {
        transaction: [7; 12],
        username: format!("{ufrag}:{}", line(OFFER, "a=ice-ufrag:")),
        password: password.to_owned(),
        use_candidate: true,
        controlling: true,
    };
    for datagram in [check("a-wrong-password-of-some-length"), check(pwd)].map(|check| check.encode()) {
        media.send(&datagram).unwrap();
    }
    for junk in [&[22, 254, 253, 0, 0, 9, 9, 9, 9, 9, 9, 0, 4, 1, 0, 0, 0][..], &[0x80; 40], &[0xff; 9]] {
        media.send(junk).unwrap();
    }
    turn(service, username.reveal(), credential.reveal());

    // Two browsers' worth of clients, one of them through TURN; a publisher and a viewer by HTTP.
    let options = |name: &str| JoinOptions::new(service.url(), ROOM, name);
    let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), service.ports.turn);
    let turn = TurnServer::new(server, username.reveal().to_owned(), credential.reveal().to_owned());
    let anna = join_with(options("Annegret Vertraulich")).await;
    let bert = join_with(JoinOptions { turn: Some(turn), ..options("Bertram Diskret") }).await;
    all_meet(&[&anna, &bert]).await;
    let whip = join_with(JoinOptions { entry: Entry::Whip, slots: 0, ..options("Kamera Verschwiegen") }).await;
    for request in [
        "POST /whip/Stille%20Post%20Zw%C3%B6lf?name=Xaver%20Geheimrat HTTP/1.0\r\nContent-Type: application/sdp\r\n\
         Content-Length: 6\r\n\r\ngeheim",
        "GET /Stille%20Post%20Zw%C3%B6lf HTTP/1.0\r\nUser-Agent: Geheimbrowser\r\n\r\n",
        "DELETE /whep/Stille%20Post%20Zw%C3%B6lf/geheimwort HTTP/1.0\r\n\r\n",
        "GET /%FFgeheimwort HTTP/1.0\r\n\r\n",
        "geheimwort\r\n\r\n",
    ] {
        http(service, request).await;
    }

    // The visitor is lost and comes back, control starts again, and all come back; then they leave.
    drop(visitor);
    let mut visitor = Visitor::open(service).await;
    let back = visitor.ask(&join("Xaver Geheimrat", Some(resume.clone()), Some(offer(2, OFFER)))).await;
    assert!(matches!(back, ServerMessage::Welcome { .. }), "{back:?}");
    service.kill(Process::Control);
    service.start_control();
    service.ready(SOON).await;
    let attached = |client: &Client| client.stats().reattached >= 1;
    for _ in 0..200 {
        if attached(&anna) && attached(&bert) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(attached(&anna) && attached(&bert), "both came back");
    let mut visitor = Visitor::open(service).await;
    let back = visitor.ask(&join("Xaver Geheimrat", Some(resume), Some(offer(3, OFFER)))).await;
    assert!(matches!(back, ServerMessage::Welcome { .. }), "{back:?}");
    visitor.0.send(Message::text("{\"type\":\"leave\"}")).await.unwrap();
    for client in [anna, bert, whip] {
        client.leave().await;
    }
    // The relay dies too, and is told of by control.
    service.kill(Process::Relay);
    sleep(Duration::from_millis(500)).await;
}

/// A wrong password, a right one, and what is allowed to nobody.
fn turn(service: &Service, name: &str, password: &str) {
    let socket = UdpSocket::bind((VISITOR, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, service.ports.turn)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let ask = |request: &[u8], login: Option<&Login>| {
        socket.send(request).unwrap();
        let mut answer = [0; 1500];
        let len = socket.recv(&mut answer).unwrap();
        wire::read(&answer[..len], login).unwrap()
    };
    let Said::Error(401, Some((nonce, realm))) = ask(&wire::allocate([1; 12], None), None) else {
        panic!("no challenge")
    };
    let login = |password: &str| Login {
        name: name.to_owned(),
        realm: realm.clone(),
        password: password.to_owned(),
        nonce: nonce.clone(),
    };
    let (right, wrong) = (login(password), login("geheimwort"));
    assert!(matches!(ask(&wire::allocate([2; 12], Some(&wrong)), None), Said::Error(401, _)));
    assert!(matches!(ask(&wire::allocate([3; 12], Some(&right)), Some(&right)), Said::Success(_)));
    let peer = SocketAddr::from((VISITOR, 9));
    ask(&wire::create_permission([4; 12], &right, peer), Some(&right));
}

#[tokio::test]
async fn a_whole_call_leaves_nobody_in_the_logs() {
    let mut service = Service::prepare().await;
    service.log_everything();
    service.start_control();
    service.start_relay();
    service.ready(SOON).await;
    let mut secrets = Secrets::default();
    for (what, value) in [
        ("room as typed", ROOM),
        ("room normalised", "stillepostzwölf"),
        ("name", "Xaver Geheimrat"),
        ("name", "Annegret"),
        ("name", "Vertraulich"),
        ("name", "Bertram"),
        ("name", "Verschwiegen"),
        ("visitor's address", "127.9.8.7"),
        ("candidate of the offer", "192.0.2.10"),
        ("the browser's ICE password", line(OFFER, "a=ice-pwd:")),
        ("user agent", "Geheimbrowser"),
        ("what was sent by mistake", "geheimwort"),
    ] {
        secrets.add(what, value);
    }
    secrets.add("secret of control", hexadecimal(&std::fs::read(service.dir.join("control.secret")).unwrap()));
    call(&mut service, &mut secrets).await;

    let own = service.ports.all();
    for process in [Process::Control, Process::Relay] {
        let log = service.log(process);
        assert!(log.contains("TRACE") || log.contains("DEBUG") || log.lines().count() >= 3, "{process:?} said: {log}");
        assert_eq!(secrets.found_in(&log), Vec::<&str>::new(), "{process:?} said: {log}");
        assert_eq!(foreign_sockets(&log, &own), Vec::<String>::new(), "{process:?} said: {log}");
        // The search is one that can fail, in this very text.
        let planted = format!("{log}\nlost 127.9.8.7:4000 of {ROOM}");
        assert_eq!(secrets.found_in(&planted), ["room as typed", "visitor's address"]);
        assert_eq!(foreign_sockets(&planted, &own), ["127.9.8.7:4000"]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
