//! TCP to peers: the test is the shard, the peer, and the client.

use super::super::ends::ToEdge;
use super::*;
use plausch_engine::turn::ConnectionId;
use plausch_engine::{EdgeNews, EdgeTask};
use plausch_relay_api::limits::EDGE_UNJUDGED_PEERS;
use socket2::SockRef;

/// The shard whose clients these are.
const SHARD: usize = 1;
const ID: ConnectionId = ConnectionId(0xfeed_0001);
const CLIENT: Path = Path {
    local: LocalSocket(LocalSocket::FIRST_EDGE),
    remote: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9),
};

impl Edge {
    fn task_of(&mut self, shard: usize, message: ToEdge) {
        self.shards[shard].tasks.send(message);
        self.shards[shard].tasks.flush();
    }

    fn task(&mut self, task: EdgeTask) {
        self.task_of(SHARD, ToEdge::Task { client: CLIENT, task });
    }

    async fn news(&mut self) -> EdgeNews {
        timeout(PATIENCE, async {
            loop {
                match self.shards[SHARD].news.pop() {
                    Ok(EngineCommand::Edge(news)) => return news,
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => self.notify.notified().await,
                }
            }
        })
        .await
        .expect("news")
    }

    /// A connection between a relayed address and a peer of the test.
    async fn connected(&mut self, id: ConnectionId) -> TcpStream {
        let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let from = free_address().await;
        self.task(EdgeTask::Connect { connection: id, from, to: peer.local_addr().unwrap() });
        let (stream, remote) = timeout(PATIENCE, peer.accept()).await.unwrap().unwrap();
        assert_eq!(remote, from, "it comes from the relayed address");
        assert_eq!(self.news().await, EdgeNews::Connected { connection: id });
        stream
    }

    /// The connection's ConnectionBind request comes to its shard and is granted.
    async fn grant(&mut self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), id: ConnectionId) {
        stream.write_all(&bind_request(id)).await.unwrap();
        let (shard, path, _, message) = self.record().await;
        assert_eq!((shard, message), (SHARD, bind_request(id)));
        assert!(self.send(SHARD, path, &answer(0x01), 20));
        assert_eq!(read(stream, 20).await, answer(0x01));
    }
}

/// Where nothing listens at the moment.
async fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

fn bind_request(ConnectionId(id): ConnectionId) -> Vec<u8> {
    let mut message = stun::message::Message::new();
    let method = stun::message::METHOD_CONNECTION_BIND;
    message.typ = stun::message::MessageType::new(method, stun::message::CLASS_REQUEST);
    message.transaction_id = stun::agent::TransactionId([3; 12]);
    message.write_header();
    message.add(stun::attributes::ATTR_USERNAME, b"talk");
    message.add(stun::attributes::AttrType(0x002a), &id.to_be_bytes());
    message.raw
}

/// Of a ConnectionBind request: 0x01 for success.
fn answer(class: u8) -> Vec<u8> {
    let mut message = binding();
    let kind = if class == 0x01 { [0x01, 0x0b] } else { [0x01, 0x1b] };
    message[..2].copy_from_slice(&kind);
    message[8..].fill(3);
    message
}

/// It is closed, whether something is unread or not.
async fn closes(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the end");
}

#[tokio::test]
async fn bytes_go_both_ways_once_a_client_has_bound_the_connection() {
    let mut edge = Edge::start();
    let certificate = Certificate::new();
    edge.set(Some(&certificate), None);
    let mut peer = edge.connected(ID).await;
    // Said before there is anybody to hear it.
    peer.write_all(b"220 welcome\r\n").await.unwrap();
    let mut client = tls_to(edge.tls, &certificate, &[]).await.unwrap();
    edge.grant(&mut client, ID).await;
    assert_eq!(read(&mut client, 13).await, b"220 welcome\r\n");
    edge.until("spliced", |counters| &counters.spliced, 1).await;
    // Whatever it is, also what looks like TURN or is too long for it.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &binding(), &[0x16; 100_000], &[0xff]] {
        let (up, down) = tokio::join!(
            async {
                client.write_all(bytes).await.unwrap();
                client.flush().await.unwrap();
                read(&mut client, bytes.len()).await
            },
            async {
                let heard = read(&mut peer, bytes.len()).await;
                peer.write_all(&heard).await.unwrap();
                heard
            }
        );
        assert!(up == bytes && down == bytes);
    }
    let (to, from) = (&edge.shared.counters.bytes_to_peers, &edge.shared.counters.bytes_from_peers);
    assert_eq!(from.load(Ordering::Relaxed) - to.load(Ordering::Relaxed), 13);
    drop(peer);
    ends(&mut client).await;
    drop(client);
    assert_eq!(edge.record().await.2, Kind::Closed, "the shard is told by the client's end");
    edge.until("spliced", |counters| &counters.spliced, 0).await;
    assert!(edge.shared.peers.shard_of(ID).is_none());
}

#[tokio::test]
async fn what_follows_a_bind_request_waits_for_the_answer_and_goes_where_it_belongs() {
    let mut edge = Edge::start();
    let mut peer = edge.connected(ID).await;
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    // Refused at first, and then there is TURN again.
    let again = [&bind_request(ConnectionId(7))[..], &bind_request(ID), b"EHLO\r\n"].concat();
    client.write_all(&again).await.unwrap();
    let (_, path, _, message) = edge.record().await;
    assert_eq!(message, bind_request(ConnectionId(7)));
    sleep(Duration::from_millis(50)).await;
    assert!(edge.shards.iter().all(|shard| shard.from_edge.is_empty()), "the second one waits");
    assert!(edge.send(SHARD, path, &answer(0x11), 20));
    assert_eq!(read(&mut client, 20).await, answer(0x11));
    assert_eq!(edge.record().await.3, bind_request(ID));
    assert!(edge.send(SHARD, path, &answer(0x01), 20));
    assert_eq!(read(&mut client, 20).await, answer(0x01));
    assert_eq!(read(&mut peer, 6).await, b"EHLO\r\n");
    // The client's end is the peer's, and what it said last arrives.
    client.write_all(b"QUIT\r\n").await.unwrap();
    drop(client);
    let mut last = Vec::new();
    timeout(PATIENCE, peer.read_to_end(&mut last)).await.unwrap().unwrap();
    assert_eq!(last, b"QUIT\r\n");
}

#[tokio::test]
async fn whoever_does_not_read_holds_up_the_other_and_nothing_grows() {
    let mut edge = Edge::start();
    let mut peer = edge.connected(ID).await;
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    SockRef::from(&client).set_send_buffer_size(64 * 1024).unwrap();
    SockRef::from(&client).set_recv_buffer_size(64 * 1024).unwrap();
    SockRef::from(&peer).set_recv_buffer_size(64 * 1024).unwrap();
    edge.grant(&mut client, ID).await;
    // Until nothing more goes in for a while.
    async fn fill(stream: &mut TcpStream) -> usize {
        let chunk = [5; 65_536];
        let mut sent = 0;
        while let Ok(Ok(len)) = timeout(Duration::from_millis(300), stream.write(&chunk)).await {
            sent += len;
            assert!(sent < 64 << 20, "it goes on for ever");
        }
        sent
    }
    let up = fill(&mut client).await;
    let copied = edge.shared.counters.bytes_to_peers.load(Ordering::Relaxed) as usize;
    // What the edge took is in its one buffer and in the kernel's two of this connection.
    assert!(copied < 2 << 20, "{copied}");
    let down = fill(&mut peer).await;
    // The other direction is not held up by this one, and both arrive whole.
    assert_eq!(read(&mut client, down).await, vec![5; down]);
    assert_eq!(read(&mut peer, up).await, vec![5; up]);
}

#[tokio::test]
async fn a_task_or_silence_ends_both_sides_in_any_state() {
    let times = Times { splice_idle: Duration::from_millis(700), ..Times::default() };
    let mut edge = Edge::with(times, 100);
    // While it waits.
    let mut peer = edge.connected(ID).await;
    edge.task(EdgeTask::Close { connection: ID });
    ends(&mut peer).await;
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    client.write_all(&bind_request(ID)).await.unwrap();
    let (shard, path, ..) = edge.record().await;
    // The shard had granted it a moment before.
    assert!(edge.send(shard, path, &answer(0x01), 20));
    assert_eq!(read(&mut client, 20).await, answer(0x01));
    ends(&mut client).await;
    edge.record().await;
    // While it is bound.
    let mut peer = edge.connected(ID).await;
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    edge.grant(&mut client, ID).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut peer, 1).await, b"x");
    edge.task(EdgeTask::Close { connection: ID });
    ends(&mut peer).await;
    ends(&mut client).await;
    edge.record().await;
    // By its own silence.
    let mut peer = edge.connected(ID).await;
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    edge.grant(&mut client, ID).await;
    ends(&mut client).await;
    ends(&mut peer).await;
    edge.record().await;
    assert_eq!(edge.shared.counters.closed_silent.load(Ordering::Relaxed), 1);
    // While it connects, to an address where nobody answers: a queue that is full.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    full.listen(0).unwrap();
    let to = full.local_addr().unwrap().as_socket().unwrap();
    let _waiting = TcpStream::connect(to).await.unwrap();
    let from = free_address().await;
    edge.task(EdgeTask::Connect { connection: ID, from, to });
    for _ in 0..1000 {
        if edge.shared.peers.shard_of(ID).is_some() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    edge.task(EdgeTask::Close { connection: ID });
    for _ in 0..1000 {
        if edge.shared.peers.shard_of(ID).is_none() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(edge.shared.peers.shard_of(ID).is_none());
    assert!(edge.shards[SHARD].news.is_empty(), "the shard does not care any more");
}

#[tokio::test]
async fn peers_are_let_in_when_the_shard_says_so() {
    let mut edge = Edge::start();
    let address = free_address().await;
    edge.task(EdgeTask::Listen { address });
    let accepted = async |edge: &mut Edge| {
        // The listener comes a moment later.
        let mut stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        };
        stream.write_all(b"early").await.unwrap();
        let local = stream.local_addr().unwrap();
        match edge.news().await {
            EdgeNews::Accepted { client, address: at, socket, peer } => {
                assert_eq!((client, at, peer), (CLIENT, address, local));
                (stream, socket)
            }
            other => panic!("{other:?}"),
        }
    };
    let (mut refused, socket) = accepted(&mut edge).await;
    edge.task(EdgeTask::Judge { socket, connection: None });
    closes(&mut refused).await;
    let (mut peer, socket) = accepted(&mut edge).await;
    edge.task(EdgeTask::Judge { socket, connection: Some(ID) });
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    for _ in 0..1000 {
        if edge.shared.peers.shard_of(ID).is_some() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    edge.grant(&mut client, ID).await;
    assert_eq!(read(&mut client, 5).await, b"early");
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut peer, 5).await, b"hello");
    // From the listener's own address to somebody else, while it listens.
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let second = ConnectionId(2);
    edge.task(EdgeTask::Connect { connection: second, from: address, to: other.local_addr().unwrap() });
    assert_eq!(edge.news().await, EdgeNews::Connected { connection: second });

    // One with a number that there is already, and one that has gone.
    let (mut twin, socket) = accepted(&mut edge).await;
    edge.task(EdgeTask::Judge { socket, connection: Some(second) });
    assert_eq!(edge.news().await, EdgeNews::Failed { connection: second });
    closes(&mut twin).await;
    edge.task(EdgeTask::Judge { socket: 999, connection: Some(ConnectionId(3)) });
    assert_eq!(edge.news().await, EdgeNews::Failed { connection: ConnectionId(3) });

    edge.task(EdgeTask::Unlisten { address });
    for _ in 0..1000 {
        if TcpStream::connect(address).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_fails_is_told() {
    let mut edge = Edge::start();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    edge.task(EdgeTask::Listen { address });
    assert_eq!(edge.news().await, EdgeNews::ListenFailed { client: CLIENT, address });
    let (from, nobody) = (free_address().await, free_address().await);
    for (from, to) in [(from, nobody), (address, edge.plain)] {
        edge.task(EdgeTask::Connect { connection: ID, from, to });
        assert_eq!(edge.news().await, EdgeNews::Failed { connection: ID });
        assert!(edge.shared.peers.shard_of(ID).is_none());
    }
    // Another shard's number.
    let _peer = edge.connected(ID).await;
    let to = edge.plain;
    edge.task(EdgeTask::Connect { connection: ID, from, to });
    assert_eq!(edge.news().await, EdgeNews::Failed { connection: ID });
}

#[tokio::test]
async fn nothing_is_left_of_a_shard_that_begins_anew() {
    let mut edge = Edge::start();
    let address = free_address().await;
    edge.task(EdgeTask::Listen { address });
    let mut peer = edge.connected(ID).await;
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    edge.grant(&mut client, ID).await;
    let mut waiting = edge.connected(ConnectionId(2)).await;
    // More than are judged: those beyond are closed.
    let mut unjudged = Vec::new();
    for _ in 0..EDGE_UNJUDGED_PEERS + 3 {
        unjudged.push(TcpStream::connect(address).await.unwrap());
    }
    edge.until("peers beyond", |counters| &counters.refused_peers, 3).await;
    edge.task_of(0, ToEdge::Reset);
    client.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut peer, 2).await, b"on", "another shard's is no concern");
    edge.task_of(SHARD, ToEdge::Reset);
    for stream in [&mut peer, &mut client, &mut waiting, &mut unjudged[0]] {
        ends(stream).await;
    }
    for _ in 0..1000 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("it listens still");
}

#[tokio::test]
async fn an_allocation_s_connections_keep_to_its_pace_together() {
    let mut edge = Edge::start_at(200_000);
    let mut client = TcpStream::connect(edge.plain).await.unwrap();
    let mut peer = edge.connected(ID).await;
    edge.grant(&mut client, ID).await;
    let begun = Instant::now();
    let (_, heard) = tokio::join!(async { client.write_all(&[1; 200_000]).await.unwrap() }, async {
        read(&mut peer, 200_000).await
    });
    // Half a second ahead, and as much is waited for; it does not depend on how fast this machine is.
    assert!(heard == [1; 200_000] && begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}
