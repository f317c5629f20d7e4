//! Hostile input at TURN: the classes of the project's security design, and what other relays fell for. Built by the
//! published `stun` crate.
#![allow(clippy::unwrap_used)]

use plausch_engine::counters::CounterKind;
use plausch_engine::{LocalSocket, Path};
use plausch_relay_api::limits::DATAGRAM_BYTES;
use plausch_tests::fuzz::turn::{MEDIA, PEER, Scene};
use plausch_tests::wire::turn::{self, Login, Said};
use std::net::SocketAddr;
use std::time::Duration;
use stun::attributes::{AttrType, *};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, METHOD_ALLOCATE, METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message, MessageType, Setter,
};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The user has an allocation.
fn allocated() -> Scene {
    let mut scene = Scene::new();
    let user = scene.user;
    assert!(matches!(scene.ask(user, |id, login| turn::allocate(id, Some(login))), Some(Said::Success(Some(_)))));
    scene
}

/// The user has an allocation, and a channel to the peer.
fn bound() -> Scene {
    let mut scene = allocated();
    let user = scene.user;
    let said = scene.ask(user, |id, login| turn::channel_bind(id, login, 0x4001, address(PEER)));
    assert_eq!(said, Some(Said::Success(None)));
    scene
}

fn code(said: Option<Said>) -> u16 {
    match said {
        Some(Said::Success(_)) => 0,
        Some(Said::Error(code, _)) => code,
        other => panic!("{other:?}"),
    }
}

fn gauges(scene: &Scene) -> Vec<(&'static str, u64)> {
    let entries = scene.engine.counters().entries().filter(|entry| entry.kind == CounterKind::Gauge);
    entries.map(|entry| (entry.name, entry.value)).collect()
}

/// Written as IPv6, and meant as IPv4: CVE-2020-26262 and what was tried after it.
const DISGUISED: [&str; 16] = [
    "127.0.0.1:80",
    "127.8.8.8:80",
    "0.0.0.0:80",
    "0.0.0.1:80",
    "169.254.169.254:80",
    "10.0.0.1:80",
    "198.41.0.4:80",
    "255.255.255.255:80",
    "[::ffff:127.0.0.1]:80",
    "[::ffff:0.0.0.0]:80",
    "[::ffff:169.254.169.254]:80",
    "[::ffff:198.41.0.4]:80",
    "[::]:80",
    "[::1]:80",
    "[64:ff9b::7f00:1]:80",
    "[2002:7f00:1::]:80",
];

#[test]
fn nobody_gets_to_this_host_or_behind_its_firewall() {
    let mut scene = Scene::new();
    let user = scene.user;
    let both = |id, login: &Login| {
        turn::request(METHOD_ALLOCATE, id, Some(login), |message| {
            message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            message.add(AttrType(0x8000), &[2, 0, 0, 0]);
        })
    };
    assert_eq!(code(scene.ask(user, both)), 0);
    for peer in DISGUISED.map(address) {
        // Permissions are for hosts, and ours has media that may be reached; its other ports are refused one by one.
        let ours = peer.ip().to_canonical() == address(MEDIA).ip();
        let permitted = code(scene.ask(user, |id, login| turn::create_permission(id, login, peer)));
        assert_eq!(permitted, if ours { 0 } else { 403 }, "{peer}");
        assert_eq!(code(scene.ask(user, |id, login| turn::channel_bind(id, login, 0x4005, peer))), 403, "{peer}");
        assert!(scene.receive(user, &turn::send(peer, b"GET / HTTP/1.0\r\n\r\n")).is_empty(), "{peer}");
    }
    assert!(scene.open.is_empty());
    // One good peer does not let a bad one in.
    let mixed = |id, login: &Login| {
        turn::request(METHOD_CREATE_PERMISSION, id, Some(login), |message| {
            turn::add_peer(message, address(PEER));
            turn::add_peer(message, address("127.0.0.1:80"));
        })
    };
    assert_eq!(code(scene.ask(user, mixed)), 403);
    assert!(scene.receive(user, &turn::send(address(PEER), b"hello")).is_empty());
}

#[test]
fn a_permitted_peer_is_not_a_way_around_for_others() {
    let mut scene = bound();
    let (&number, _) = scene.open.iter().next().unwrap();
    let local = LocalSocket(number);
    for remote in DISGUISED.map(address).into_iter().chain([address("8.8.4.5:5000"), address(MEDIA)]) {
        assert!(scene.receive(Path { local, remote }, b"let me in").is_empty(), "{remote}");
    }
    // The peer itself, as a socket for both families would say it.
    let mapped = Path { local, remote: address("[::ffff:8.8.4.4]:5000") };
    assert_eq!(scene.receive(mapped, b"hello"), [(scene.user, turn::channel_data(0x4001, b"hello"))]);
    // A port that is not open, or not any more.
    assert!(scene.receive(Path { local: LocalSocket(number + 1), remote: address(PEER) }, b"hello").is_empty());
    let refresh = |id, login: &Login| {
        turn::request(METHOD_REFRESH, id, Some(login), |message| message.add(ATTR_LIFETIME, &[0; 4]))
    };
    let user = scene.user;
    assert_eq!(code(scene.ask(user, refresh)), 0);
    assert!(scene.receive(Path { local, remote: address(PEER) }, b"hello").is_empty());
}

#[test]
fn requests_that_are_cut_anywhere_change_nothing() {
    let mut scene = allocated();
    let before = gauges(&scene);
    let login = scene.login.clone();
    for whole in [
        turn::create_permission([1; 12], &login, address(PEER)),
        turn::channel_bind([2; 12], &login, 0x4001, address(PEER)),
        turn::request(METHOD_REFRESH, [3; 12], Some(&login), |message| message.add(ATTR_LIFETIME, &[0; 4])),
        turn::send(address(PEER), b"some data that is cut"),
    ] {
        for len in 0..whole.len() {
            let cut = &whole[..len];
            assert!(scene.receive(scene.user, cut).is_empty(), "{len}");
            if len >= 20 {
                // With a length that fits: whole attributes are missing then, the integrity among them.
                let mut shorter = cut.to_vec();
                shorter[2..4].copy_from_slice(&((len - 20) as u16).to_be_bytes());
                for (path, answer) in scene.receive(scene.user, &shorter) {
                    assert_eq!(path, scene.user);
                    assert!(matches!(turn::read(&answer, None), Ok(Said::Error(400 | 401, _))), "{len}");
                }
            }
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x04;
            for (path, answer) in scene.receive(scene.user, &changed) {
                assert_eq!(path, scene.user, "byte {at}");
                assert!(matches!(turn::read(&answer, Some(&login)), Ok(Said::Error(..))), "byte {at}");
            }
        }
    }
    assert_eq!(gauges(&scene), before);
    assert!(scene.open.is_empty());
}

#[test]
fn lengths_that_wrap_are_no_lengths() {
    let mut scene = bound();
    let login = scene.login.clone();
    let request = turn::channel_bind([2; 12], &login, 0x4001, address(PEER));
    for length in [0x00ff_u16, 0x7fff, 0xfff0, 0xfffc, 0xfffd, 0xffff] {
        for at in [2, 22] {
            let mut wrong = request.clone();
            wrong[at..at + 2].copy_from_slice(&length.to_be_bytes());
            assert!(scene.receive(scene.user, &wrong).is_empty(), "{length:#x} at {at}");
        }
        let mut data = turn::channel_data(0x4001, &[7; 300]);
        data[2..4].copy_from_slice(&length.max(301).to_be_bytes());
        assert!(scene.receive(scene.user, &data).is_empty(), "{length:#x}");
    }
    let mut send = turn::send(address(PEER), &[7; 8]);
    let at = send.len() - 10;
    send[at..at + 2].copy_from_slice(&0xffff_u16.to_be_bytes());
    assert!(scene.receive(scene.user, &send).is_empty());
    let large = turn::channel_data(0x4001, &[7; DATAGRAM_BYTES]);
    assert!(scene.receive(scene.user, &large).is_empty());
    assert_eq!(scene.engine.counters().drop_oversized, 1);
    let most = turn::channel_data(0x4001, &[7; DATAGRAM_BYTES - 4]);
    assert_eq!(scene.receive(scene.user, &most)[0].1, [7; DATAGRAM_BYTES - 4]);
}

fn raw(fill: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::new();
    message.typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    message.write_header();
    fill(&mut message);
    message.raw
}

fn integrity(login: &Login, password: &str) -> MessageIntegrity {
    MessageIntegrity::new_long_term_integrity(login.name.clone(), login.realm.clone(), password.into())
}

fn credentials(message: &mut Message, login: &Login) {
    message.add(ATTR_USERNAME, login.name.as_bytes());
    message.add(ATTR_REALM, login.realm.as_bytes());
    message.add(ATTR_NONCE, &login.nonce);
}

#[test]
fn what_stands_behind_the_integrity_is_not_believed() {
    let mut scene = Scene::new();
    let login = scene.login.clone();
    let behind = raw(|message| {
        credentials(message, &login);
        integrity(&login, &login.password).add_to(message).unwrap();
        message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    let answers = scene.receive(scene.user, &behind);
    assert_eq!(code(turn::read(&answers[0].1, Some(&login)).ok()), 400, "REQUESTED-TRANSPORT was not there");
    let before = raw(|message| {
        message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        credentials(message, &login);
        integrity(&login, &login.password).add_to(message).unwrap();
        message.add(ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
        message.add(AttrType(0x7777), b"nobody has signed this");
        FINGERPRINT.add_to(message).unwrap();
    });
    let answers = scene.receive(scene.user, &before);
    assert_eq!(code(turn::read(&answers[0].1, Some(&login)).ok()), 0);
    let mut answer = Message::new();
    answer.unmarshal_binary(&answers[0].1).unwrap();
    FINGERPRINT.check(&answer).unwrap();
}

#[test]
fn wrong_integrity_and_fingerprint() {
    let mut scene = Scene::new();
    let login = scene.login.clone();
    let with = |password: &str, fingerprint: bool| {
        raw(|message| {
            message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            credentials(message, &login);
            integrity(&login, password).add_to(message).unwrap();
            if fingerprint {
                FINGERPRINT.add_to(message).unwrap();
            }
        })
    };
    let answers = scene.receive(scene.user, &with("a guess", false));
    assert_eq!(code(turn::read(&answers[0].1, None).ok()), 401);
    let mut wrong = with(&login.password, true);
    *wrong.last_mut().unwrap() ^= 1;
    assert!(scene.receive(scene.user, &wrong).is_empty());
    assert_eq!(scene.engine.counters().drop_stun_fingerprint, 1);
    // Another length than HMAC-SHA1 has, down to none.
    for len in [0, 4, 16, 19, 21, 32] {
        let odd = raw(|message| {
            message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            credentials(message, &login);
            message.add(ATTR_MESSAGE_INTEGRITY, &vec![0; len]);
        });
        let answers = scene.receive(scene.user, &odd);
        assert_eq!(code(turn::read(&answers[0].1.clone(), None).ok()), 401, "{len}");
    }
    // A truncated SHA-256, which TURN does not know.
    for len in [0, 4, 16, 28, 36] {
        let odd = raw(|message| {
            message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            credentials(message, &login);
            message.add(ATTR_MESSAGE_INTEGRITY_SHA256, &vec![0; len]);
        });
        let answers = scene.receive(scene.user, &odd);
        assert_eq!(code(turn::read(&answers[0].1, None).ok()), 401, "{len}");
    }
    assert_eq!(scene.engine.counters().turn_allocations, 0);
}

#[test]
fn many_attributes_are_answered_shortly() {
    let mut scene = Scene::new();
    let login = scene.login.clone();
    let many = raw(|message| {
        (0..250_u16).for_each(|kind| message.add(AttrType(0x4000 + kind), &[]));
        credentials(message, &login);
        integrity(&login, &login.password).add_to(message).unwrap();
    });
    let answers = scene.receive(scene.user, &many);
    assert!(answers[0].1.len() < 100);
    assert_eq!(code(turn::read(&answers[0].1, Some(&login)).ok()), 420);
}

#[test]
fn what_was_overheard_is_of_no_use_elsewhere() {
    let mut scene = bound();
    let login = scene.login.clone();
    let goodbye = turn::request(METHOD_REFRESH, [9; 12], Some(&login), |message| message.add(ATTR_LIFETIME, &[0; 4]));
    for path in [scene.stranger, Path { remote: scene.user.remote, ..scene.stranger }] {
        let answers = scene.receive(path, &goodbye);
        let said = code(turn::read(&answers[0].1, Some(&login)).ok());
        // By another of our sockets the nonce is the same client's, but there it has no allocation.
        assert_eq!(said, if path == scene.stranger { 438 } else { 437 });
    }
    assert!(scene.receive(scene.stranger, &turn::channel_data(0x4001, b"not mine")).is_empty());
    assert!(scene.receive(scene.stranger, &turn::send(address(PEER), b"not mine")).is_empty());
    let edge = scene.edge;
    assert!(scene.receive(edge, &turn::channel_data(0x4001, b"not mine")).is_empty());
    assert_eq!(scene.engine.counters().turn_allocations, 1);
    scene.wait(Duration::from_secs(601));
    assert_eq!(scene.engine.counters().turn_allocations, 0);
}

#[test]
fn nothing_but_turn_comes_through_the_edge() {
    let mut scene = Scene::new();
    let edge = scene.edge;
    for datagram in [vec![22, 254, 253, 0], vec![0x80; 60], vec![0x80, 200, 0, 1, 0, 0, 0, 0], vec![255; 9]] {
        assert!(scene.receive(edge, &datagram).is_empty());
    }
    // A check of ICE is a question like any other there, and brings no path into a call.
    let check = plausch_tests::wire::stun::Check {
        transaction: [1; 12],
        username: "someone:else".into(),
        password: "a password of some length".into(),
        use_candidate: true,
        controlling: true,
    };
    assert_eq!(scene.receive(edge, &check.encode()).len(), 1);
    assert_eq!(scene.engine.counters().tuples, 0);
    assert_eq!(code(scene.ask(edge, |id, login| turn::allocate(id, Some(login)))), 0, "and TURN does");
}
