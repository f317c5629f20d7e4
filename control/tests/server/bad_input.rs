//! Signalling that no honest client sends: a clear error or a closed socket, and nothing left behind.

use super::{Client, World, eventually, offer};
use futures_util::SinkExt;
use plausch_relay_api::limits::SIGNALLING_MESSAGE_BYTES;
use plausch_signalling::{ClientMessage, ErrorCode, ServerMessage};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

fn join(room: &str, name: &str, sdp: &str) -> String {
    let mut offer = offer(1);
    if !sdp.is_empty() {
        offer.sdp = sdp.to_owned();
    }
    json!({"type": "join", "version": 1, "room": room, "name": name, "offer": offer, "media": {}}).to_string()
}

#[tokio::test]
async fn messages_that_mean_nothing_change_nothing() {
    let world = World::new().await;
    let mut client = world.client().await;
    let version = json!({"type": "join", "version": 1, "room": "r", "name": "n", "media": {}}).to_string();
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"hello\"}",
        "{\"type\":\"join\"}",
        "{\"type\":\"join\",\"version\":-1,\"room\":\"r\",\"name\":\"n\",\"media\":{}}",
        "{\"type\":\"leave\"",
        "\u{0}",
        // Before a join.
        "{\"type\":\"media\",\"media\":{}}",
        // Neither offer nor token.
        &version,
    ] {
        client.send_text(text.to_owned()).await;
        assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false), "{text:?}");
    }
    client.send(&ClientMessage::Offer { offer: offer(1) }).await;
    assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false));
    client.socket.send(Message::binary(vec![0; 100])).await.unwrap();
    assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false));
    let deep = format!("{{\"type\":\"join\",\"media\":{}", "[".repeat(100_000));
    client.send_text(deep).await;
    assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false));
    // The same socket is still good for a join, and for one only.
    client.join("r", "Anna", None, Some(offer(1))).await;
    client.send_text(join("r", "Anna", "")).await;
    assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false));
    assert_eq!(world.participants(), 1);
}

#[tokio::test]
async fn names_and_offers_that_cannot_be_used() {
    let world = World::new().await;
    let long = "x".repeat(121);
    let huge = "x".repeat(300_000);
    let lines = "a=x\r\n".repeat(10_000);
    let many = format!("v=0\r\n{}", "a=x\r\n".repeat(50_000));
    for (message, code) in [
        (join("", "n", ""), ErrorCode::BadRoomName),
        (join("a\nb", "n", ""), ErrorCode::BadRoomName),
        (join("a\u{0}", "n", ""), ErrorCode::BadRoomName),
        (join("a\u{202e}b", "n", ""), ErrorCode::BadRoomName),
        (join("a/b", "n", ""), ErrorCode::BadRoomName),
        (join("API", "n", ""), ErrorCode::BadRoomName),
        (join("index.html", "n", ""), ErrorCode::BadRoomName),
        (join(&long, "n", ""), ErrorCode::BadRoomName),
        (join(&huge, "n", "v=0"), ErrorCode::BadRoomName),
        (join("r", "", ""), ErrorCode::BadName),
        (join("r", "\u{1b}\u{3164}", ""), ErrorCode::BadName),
        (join("r", &"\u{2800}".repeat(100_000), "v=0"), ErrorCode::BadName),
        (join("r", &huge, "v=0"), ErrorCode::BadOffer),
        (join("r", "n", "v=0"), ErrorCode::BadOffer),
        (join("r", "n", "hello"), ErrorCode::BadOffer),
        (join("r", "n", &lines), ErrorCode::BadOffer),
        (join("r", "n", &many), ErrorCode::BadOffer),
        (join("r", "n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF \u{fffd}\r\n"), ErrorCode::BadOffer),
    ] {
        let mut client = world.client().await;
        client.send_text(message).await;
        assert_eq!(client.until_error().await, (code, false));
    }
    let mut client = world.client().await;
    let mut zero = offer(1);
    zero.connection = 0;
    client.send_join("r", "n", None, Some(zero)).await;
    assert_eq!(client.until_error().await, (ErrorCode::BadOffer, false));
    assert_eq!((world.participants(), world.server.service.gauges().rooms), (0, 0));
    assert_eq!(world.relay.participants().len(), 0);
}

/// A client of a later release is served as far as control understands it, on the same socket.
#[tokio::test]
async fn what_is_new_to_control_ends_nothing() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send_text("{\"type\":\"levitate\",\"height\":3}".to_owned()).await;
    assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false));
    let join = json!({
        "type": "join", "version": 9, "capabilities": ["lobby", "levitation"], "room": "r", "name": "n", "mood": "good",
        "offer": offer(1), "media": { "smell": true }, "claims": { "badge": 7 },
    });
    client.send_text(join.to_string()).await;
    assert!(matches!(client.next().await, ServerMessage::Welcome { .. }));
    client.send_text("{\"type\":\"levitate\",\"height\":3}".to_owned()).await;
    assert_eq!(client.until_error().await, (ErrorCode::BadMessage, false));
    let mut without = offer(1);
    without.sdp.clear();
    let join = json!({"type": "join", "room": "r", "name": "n", "offer": without, "media": {}});
    let mut other = world.client().await;
    other.send_text(join.to_string()).await;
    assert_eq!(other.until_error().await, (ErrorCode::BadOffer, false), "no version is no reason either");
    assert_eq!(world.participants(), 1);
}

#[tokio::test]
async fn what_is_too_large_or_no_text_closes_the_socket() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send_text("x".repeat(SIGNALLING_MESSAGE_BYTES + 1)).await;
    // There is an error before the end, but the reset for what nobody reads may overtake it.
    client.until_closed().await;

    let mut client = world.client().await;
    let invalid = Frame::message(vec![b'{', 0xff, 0xfe, b'}'], OpCode::Data(Data::Text), true);
    client.socket.send(Message::Frame(invalid)).await.unwrap();
    client.until_closed().await;

    // Fragments that never end are one message as well.
    let mut client = world.client().await;
    let first = Frame::message(vec![b'x'; 100_000], OpCode::Data(Data::Text), false);
    let _ = client.socket.send(Message::Frame(first)).await;
    for _ in 0..10 {
        let more = Frame::message(vec![b'x'; 100_000], OpCode::Data(Data::Continue), false);
        if client.socket.send(Message::Frame(more)).await.is_err() {
            break;
        }
    }
    client.until_closed().await;
    eventually("all sockets are gone", || {
        world.server.service.metrics.sockets.load(std::sync::atomic::Ordering::Relaxed) == 0
    })
    .await;
}

#[tokio::test]
async fn a_bad_offer_later_leaves_the_call_alone() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let before = world.relay.participants()[0].spec.clone();
    let mut bad = offer(1);
    bad.sdp.truncate(2000);
    anna.send(&ClientMessage::Offer { offer: bad }).await;
    assert_eq!(anna.until_error().await, (ErrorCode::BadOffer, false));
    let mut fewer = offer(1);
    fewer.slots.truncate(3);
    anna.send(&ClientMessage::Offer { offer: fewer }).await;
    assert_eq!(anna.until_error().await, (ErrorCode::BadOffer, false));
    assert_eq!(world.relay.participants()[0].spec, before);
}

#[tokio::test]
async fn too_many_messages() {
    let world = World::new().await;
    let mut client = world.joined("r", "Anna").await;
    for _ in 0..200 {
        client.send_text("{\"type\":\"media\",\"media\":{}}".to_owned()).await;
    }
    assert_eq!(client.until_error().await, (ErrorCode::RateLimited, true));
    client.until_closed().await;
}

/// Far fewer than other messages: each is worked on for long, here and by the relay.
#[tokio::test]
async fn too_many_offers() {
    let world = World::new().await;
    let mut client = world.joined("r", "Anna").await;
    for _ in 0..25 {
        client.send(&ClientMessage::Offer { offer: offer(1) }).await;
    }
    assert_eq!(client.until_error().await, (ErrorCode::RateLimited, true));
    client.until_closed().await;
    assert_eq!(world.participants(), 1, "who comes back goes on");
}

#[tokio::test]
async fn too_many_joins_from_one_place() {
    let world = World::with(
        "[http]\nlisten = [\"127.0.0.1:0\"]\nbehind_proxy = true\n[link]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\njoin_burst = 2\njoins_per_minute = 1\n",
    )
    .await;
    let from =
        async |address: &'static str| Client::connect(world.server.http()[0], &[("X-Forwarded-For", address)]).await;
    for n in 0..3 {
        // What the client claims itself comes first, and is not believed; some proxies add the port.
        let mut client = from(["203.0.113.9, 192.0.2.1", "192.0.2.1:4711"][n % 2]).await;
        client.send_join("r", "n", None, Some(offer(1))).await;
        if n < 2 {
            assert!(matches!(client.next().await, ServerMessage::Welcome { .. }));
        } else {
            assert_eq!(client.until_error().await, (ErrorCode::RateLimited, true));
        }
    }
    let mut other = from("192.0.2.2").await;
    other.send_join("r", "n", None, Some(offer(1))).await;
    assert!(matches!(other.next().await, ServerMessage::Welcome { .. }));
}

#[tokio::test]
async fn too_many_sockets() {
    let world = World::with("[limits]\nsockets = 3\n").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(world.client().await);
    }
    eventually("three are open", || {
        world.server.service.metrics.sockets.load(std::sync::atomic::Ordering::Relaxed) == 3
    })
    .await;
    let mut fourth = world.client().await;
    fourth.until_closed().await;
    clients.pop();
    eventually("two are open", || world.server.service.metrics.sockets.load(std::sync::atomic::Ordering::Relaxed) == 2)
        .await;
    world.joined("r", "Anna").await;
}

#[tokio::test]
async fn raw_bytes_on_the_http_port() {
    let world = World::new().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/signalling HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        &[b'A'; 100_000],
    ] {
        let mut socket = tokio::net::TcpStream::connect(world.server.http()[0]).await.unwrap();
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let mut reply = Vec::new();
        let _ = socket.read_to_end(&mut reply).await;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    }
    world.joined("r", "Anna").await;
}

/// Otherwise a few thousand connections that say nothing would keep everybody else out.
#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let world = World::without_relay("").await;
    let opened = [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"].map(async |bytes| {
        let mut socket = tokio::net::TcpStream::connect(world.server.http()[0]).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let closed = futures_util::future::join_all(opened);
    tokio::time::timeout(std::time::Duration::from_secs(15), closed).await.expect("all are closed");
}
