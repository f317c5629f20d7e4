//! TCP allocations (RFC 6062) with coturn's client on both ends of a relayed connection, and with one of our own where
//! coturn's says too little.

use crate::turn::{BOTH, CLIENTS, Run, start};
use plausch_tests::wire::turn::{self as wire, Login, Said};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use stun::attributes::{ATTR_REQUESTED_TRANSPORT, ATTR_XOR_RELAYED_ADDRESS, AttrType};
use stun::error_code::ErrorCodeAttribute;
use stun::message::{Getter, METHOD_ALLOCATE, METHOD_CONNECT, METHOD_CONNECTION_BIND, Message, Method};
use stun::xoraddr::XorMappedAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 6062, section 6.2.1.
const CONNECTION_ID: AttrType = AttrType(0x002a);

/// -T: TCP to peers, each client to each other one's relayed address; -P: peers connect by themselves; -S: TLS; -x: IPv6.
const MODES: [(&str, &str); 4] =
    [("-T", "127.0.0.1"), ("-T -S", "127.0.0.1"), ("-T -x", "::1"), (PASSIVE, "127.0.0.1")];
const PASSIVE: &str = "-P";
const MESSAGES: usize = 10;

#[tokio::test]
async fn coturn_s_client_relays_by_tcp_in_both_roles() {
    let service = start(MODES.len(), BOTH, "tcp_allocations = true").await;
    let mut runs = Vec::new();
    for (number, (options, server)) in MODES.iter().enumerate() {
        let mut arguments: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
        let port = if options.contains("-S") { service.ports.turn_tls } else { service.ports.turn };
        let user = [format!("user{number}"), format!("secret{number}"), port.to_string()];
        arguments.extend(["-u", &user[0], "-w", &user[1], "-p", &user[2]].map(str::to_owned));
        arguments.extend(["-n", &MESSAGES.to_string(), "-m", &CLIENTS.to_string(), server].map(str::to_owned));
        runs.push(Run::start(&service, &format!("tcp{number}"), "turnutils_uclient", &arguments));
    }
    for (run, (options, _)) in runs.iter_mut().zip(MODES) {
        if options.starts_with(PASSIVE) {
            // It counts what the peer gets as lost, with coturn's server as well, and waits for that long after.
            run.says(&format!("tot_send_msgs={}, tot_recv_msgs={MESSAGES}", CLIENTS * MESSAGES)).await;
        } else {
            let output = run.succeeds().await;
            assert!(output.contains("Total lost packets 0 (0.000000%)"), "{}:\n{output}", run.what);
        }
    }
    let sum = async |name: &str| service.relay_metric(name).await;
    assert!(sum("plausch_turn_connected_total").await >= 3.0);
    assert!(sum("plausch_turn_accepted_total").await >= 4.0);
    assert!(sum("plausch_turn_bound_total").await >= 7.0);
    assert!(sum("plausch_edge_spliced_bytes_total").await >= (MODES.len() * CLIENTS * MESSAGES * 100) as f64);
    assert_eq!(sum("plausch_turn_to_peers_total").await, 0.0, "nothing went by UDP");
}

/// A connection to the server that speaks TURN, and later perhaps a peer's language.
struct Stream {
    stream: TcpStream,
    login: Option<Login>,
    requests: u8,
}

impl Stream {
    async fn to(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        Self { stream, login: None, requests: 0 }
    }

    /// Asks, with what the challenge says if there is one.
    async fn ask(&mut self, method: Method, fill: impl Fn(&mut Message)) -> Message {
        loop {
            self.requests += 1;
            let request = wire::request(method, [self.requests; 12], self.login.as_ref(), &fill);
            self.stream.write_all(&request).await.unwrap();
            let answer = self.message().await;
            match wire::read(&answer.raw, self.login.as_ref()).unwrap() {
                Said::Error(401, Some((nonce, realm))) if self.login.is_none() => {
                    let (name, password) = ("user0".into(), "secret0".into());
                    self.login = Some(Login { name, realm, password, nonce });
                }
                _ => return answer,
            }
        }
    }

    async fn message(&mut self) -> Message {
        let mut bytes = vec![0; 20];
        timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await.expect("an answer").unwrap();
        let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        bytes.resize(20 + len, 0);
        self.stream.read_exact(&mut bytes[20..]).await.unwrap();
        let mut message = Message::new();
        message.unmarshal_binary(&bytes).unwrap();
        message
    }

    async fn connect(&mut self, peer: SocketAddr) -> Message {
        self.ask(METHOD_CONNECT, |message| wire::add_peer(message, peer)).await
    }
}

fn code(answer: &Message) -> u16 {
    let mut code = ErrorCodeAttribute::default();
    code.get_from(answer).map_or(0, |()| code.code.0)
}

#[tokio::test]
async fn what_a_peer_says_arrives_whole_and_our_own_services_are_nobody_s_peers() {
    let service = start(1, BOTH, "tcp_allocations = true").await;
    let mut control = Stream::to(service.ports.turn).await;
    let allocated = control.ask(METHOD_ALLOCATE, |message| message.add(ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0])).await;
    assert_eq!(code(&allocated), 0);
    let here = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // This machine is allowed, but for what is ours on it. Control says its ports when it is linked, which it is.
    let ports = service.ports;
    for port in [ports.turn, ports.turn_tls, ports.metrics, ports.http] {
        assert_eq!(code(&control.connect(here(port)).await), 403, "{port}");
    }
    for denied in ["10.0.0.1:80", "169.254.169.254:80", "0.0.0.0:80"] {
        assert_eq!(code(&control.connect(denied.parse().unwrap()).await), 403, "{denied}");
    }
    let nobody = TcpListener::bind(here(0)).await.unwrap().local_addr().unwrap();
    assert_eq!(code(&control.connect(nobody).await), 447);

    let peer = TcpListener::bind(here(0)).await.unwrap();
    let address = peer.local_addr().unwrap();
    let connected = control.connect(address).await;
    let (mut peer, from) = peer.accept().await.unwrap();
    assert_eq!(code(&control.connect(address).await), 446);
    let mut relayed = XorMappedAddress::default();
    relayed.get_from_as(&allocated, ATTR_XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(from, SocketAddr::new(relayed.ip, relayed.port), "the peer sees the relayed address");
    let id = connected.get(CONNECTION_ID).unwrap();

    // A hundred times what all buffers hold, to one who begins late and reads slowly.
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let sent = bytes.clone();
    let sending = tokio::spawn(async move {
        peer.write_all(&sent).await.unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut data = Stream::to(ports.turn).await;
    data.login.clone_from(&control.login);
    let bound = data.ask(METHOD_CONNECTION_BIND, |message| message.add(CONNECTION_ID, &id)).await;
    assert_eq!(code(&bound), 0, "with the nonce of the other connection");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let taken = service.relay_metric("plausch_edge_spliced_bytes_total").await;
    assert!(taken < bytes.len() as f64, "somebody keeps it all: {taken}");
    let mut received = vec![0; bytes.len()];
    timeout(PATIENCE, data.stream.read_exact(&mut received)).await.unwrap().unwrap();
    assert!(received == bytes);
    data.stream.write_all(b"thank you").await.unwrap();
    drop(data);
    let answer = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert_eq!(answer, b"thank you");
    // Its end is the connection's: it can be had anew.
    let begun = std::time::Instant::now();
    while service.relay_metric("plausch_turn_connections").await > 0.0 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(service.relay_metric("plausch_turn_allocations").await, 1.0);
    drop(control);
    while service.relay_metric("plausch_turn_allocations").await > 0.0 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
