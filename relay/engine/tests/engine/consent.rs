//! Our own ICE checks (RFC 7675): nothing but what answers them gets media.

use super::harness::*;
use plausch_engine::batch::{LocalSocket, Path};
use plausch_engine::effect::DtlsInput;
use plausch_engine::stun::{
    Class, FingerprintCheck, IceRole, IntegrityCheck, IntegrityKey, Message, MessageWriter, Method,
};
use plausch_relay_api::*;

fn path(port: u16) -> Path {
    Path { local: LocalSocket(1), remote: ([198, 51, 100, 7], port).into() }
}

/// One browser that was put and has done nothing yet.
fn alone(mode: IceMode) -> World {
    let mut world = World::new();
    let mut spec = spec(1);
    spec.transport.ice_mut().unwrap().mode = mode;
    world.put(spec.clone()).unwrap();
    world.add_client(spec);
    world
}

#[test]
fn the_check_goes_out_with_the_first_answer() {
    let mut world = alone(IceMode::LiteControlled);
    world.answering = false;
    world.check(0, true);
    let client = &world.clients[0];
    assert_eq!((client.stun.len(), client.checks.len()), (1, 1));
    let check = Message::parse(&client.checks[0]).unwrap();
    let ice = client.spec.transport.ice().unwrap();
    assert_eq!((check.class, check.method), (Class::Request, Method::BINDING));
    assert_eq!(check.username(), Some(format!("{}:{}", ice.remote_ufrag, ice.local_ufrag).as_bytes()));
    assert_eq!(
        check.check_integrity(&IntegrityKey::short_term(ice.remote_pwd.reveal().as_bytes())),
        IntegrityCheck::Valid
    );
    assert_eq!(check.check_fingerprint(), FingerprintCheck::Valid);
    assert!(matches!(check.ice_role(), Some(IceRole::Controlled(_))) && !check.use_candidate());
    assert!(check.priority().is_some());
}

#[test]
fn a_lost_check_is_repeated_within_what_came() {
    let mut world = alone(IceMode::LiteControlled);
    world.answering = false;
    world.check(0, true);
    // DTLS came as well, so that there is enough for all repetitions.
    world.raw(world.clients[0].path, [22].repeat(1_000));
    world.pass_silently(20_000, false);
    assert_eq!(world.clients[0].checks.len() as u32, limits::ICE_TRANSMISSIONS);
    let ids: std::collections::HashSet<_> = world.clients[0].checks.iter().map(|check| check[8..20].to_vec()).collect();
    assert_eq!(ids.len(), 1, "repetitions are the same request");
    let answer = world.clients[0].answer(world.clients[0].checks.last().unwrap());
    world.raw(world.clients[0].path, answer);
    assert_eq!(world.engine.counters().stun_checks_answered, 1);
}

#[test]
fn media_waits_for_the_answer_and_dtls_for_what_came() {
    let mut world = World::meeting(1);
    world.answering = false;
    let mut newcomer = spec(2);
    newcomer.slots.truncate(1);
    world.put(newcomer.clone()).unwrap();
    world.add_client(newcomer);
    world.assign(2, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.check(1, true);
    let flight = vec![vec![22; 1_000]; 10];
    world.raw(world.clients[1].path, vec![22; 700]);
    world.dtls(1, DtlsInput::Send(flight.clone()));
    let sent = world.clients[1].dtls.len();
    assert_eq!(sent, 2, "three times 700, and what the check left");
    assert_eq!(world.engine.counters().drop_dtls_no_consent, 8);
    world.give_keys(1);
    world.send(0, &Rtp::audio(100, 1));
    assert!(world.clients[1].rtp.is_empty() && world.clients[1].rtcp.is_empty());
    let answer = world.clients[1].answer(&world.clients[1].checks[0].clone());
    world.raw(world.clients[1].path, answer);
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].rtp.len(), 1);
    world.dtls(1, DtlsInput::Send(flight));
    assert_eq!(world.clients[1].dtls.len(), sent + 10);
}

#[test]
fn a_new_path_has_media_one_round_trip_after_its_nomination() {
    let mut world = World::meeting(2);
    let old = world.clients[1].path;
    world.answering = false;
    world.clients[1].path = path(1);
    world.check(1, true);
    world.send(0, &Rtp::audio(100, 1));
    assert!(world.clients[1].rtp.is_empty());
    let (to, _) = world.elsewhere.last().unwrap();
    assert_eq!(*to, old, "media goes on over the old path meanwhile");
    let answer = world.clients[1].answer(&world.clients[1].checks.last().unwrap().clone());
    world.raw(path(1), answer);
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].rtp.len(), 1);
    // The old one has answered a moment ago.
    world.clients[1].path = old;
    world.pass(3_000);
    world.check(1, true);
    world.send(0, &Rtp::audio(100, 3));
    assert_eq!(world.clients[1].rtp.len(), 2);
}

#[test]
fn forged_answers_count_for_nothing() {
    let mut world = World::meeting(2);
    world.answering = false;
    let own = world.clients[1].path;
    let forged = world.binding_request(1, true, IceRole::Controlling(1));
    world.raw(path(1), forged);
    // The owner of the password answers for the victim: it knows everything but the transaction id.
    let check = world.clients[1].checks.last().unwrap().clone();
    let replayed = world.clients[1].answer(&check);
    let mut guessed = check;
    guessed[19] = guessed[19].wrapping_add(1);
    let victim = Message::parse(&world.elsewhere.last().unwrap().1.last().unwrap()[..]).unwrap().transaction_id;
    let write = |password: &str| {
        let mut buffer = vec![0; 200];
        let key = IntegrityKey::short_term(password.as_bytes());
        let mut writer = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, victim);
        let len = writer.integrity(&key).fingerprint().finish().unwrap();
        buffer.truncate(len);
        buffer
    };
    let pwd = world.clients[1].spec.transport.ice().unwrap().remote_pwd.reveal().to_owned();
    let before = world.engine.counters().drop_stun_answer;
    world.raw(path(1), replayed.clone());
    world.raw(path(1), write("not-the-password-of-anybody"));
    world.raw(own, write(&pwd));
    world.raw(path(2), write(&pwd));
    assert_eq!(world.engine.counters().drop_stun_answer - before, 4);
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[1].rtp.len(), 1, "on its own path");
    // The victim itself could.
    world.raw(path(1), write(&pwd));
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].rtp.len(), 1);
}

#[test]
fn a_restart_is_checked_with_the_new_names() {
    let mut world = World::meeting(2);
    let mut restarted = spec(1);
    let ice = restarted.transport.ice_mut().unwrap();
    ice.local_ufrag = "local-1-2".into();
    ice.local_pwd = "another-password-of-participant-1".to_owned().into();
    ice.remote_ufrag = "they".into();
    ice.remote_pwd = "y".repeat(24).into();
    world.put(restarted.clone()).unwrap();
    world.clients[0].spec = restarted;
    world.clients[0].path = path(3);
    world.check(0, true);
    let check = world.clients[0].checks.last().unwrap();
    assert_eq!(Message::parse(check).unwrap().username(), Some(&b"they:local-1-2"[..]));
    world.send(1, &Rtp::audio(200, 1));
    assert_eq!(world.clients[0].rtp.len(), 1);
    world.pass(60_000);
    assert_eq!(world.engine.counters().connected, 2);
}

#[test]
fn the_controlling_role_nominates_and_settles_conflicts() {
    let mut world = alone(IceMode::Controlling);
    let request = world.binding_request(0, false, IceRole::Controlled(1));
    world.raw(world.clients[0].path, request);
    let checks: Vec<_> = world.clients[0].checks.iter().map(|check| Message::parse(check).unwrap()).collect();
    assert_eq!(checks.iter().map(|check| check.use_candidate()).collect::<Vec<_>>(), [false, true]);
    assert!(checks.iter().all(|check| matches!(check.ice_role(), Some(IceRole::Controlling(_)))));
    world.raw(world.clients[0].path, vec![22; 100]);
    world.give_keys(0);
    assert_eq!(world.engine.counters().path_changes, 1);
    // The smaller tie-breaker gives way (RFC 8445, section 7.3.1.1).
    let request = world.binding_request(0, false, IceRole::Controlling(0));
    world.raw(world.clients[0].path, request);
    let refused = Message::parse(world.clients[0].stun.last().unwrap()).unwrap();
    assert_eq!((refused.class, refused.error_code()), (Class::Error, Some(487)));
    let request = world.binding_request(0, true, IceRole::Controlling(u64::MAX));
    world.raw(world.clients[0].path, request);
    assert_eq!(Message::parse(world.clients[0].stun.last().unwrap()).unwrap().class, Class::Success);
    assert_eq!(world.engine.counters().stun_role_conflicts, 1);
}

#[test]
fn a_check_that_is_refused_for_its_role_is_sent_again_with_the_other() {
    let mut world = alone(IceMode::Controlling);
    world.answering = false;
    let request = world.binding_request(0, false, IceRole::Controlled(1));
    world.raw(world.clients[0].path, request);
    let check = Message::parse(&world.clients[0].checks[0]).unwrap();
    let ice = world.clients[0].spec.transport.ice().unwrap();
    let mut refusal = vec![0; 200];
    let mut writer = MessageWriter::new(&mut refusal, Class::Error, Method::BINDING, check.transaction_id);
    writer.error_code(487, "");
    let key = IntegrityKey::short_term(ice.remote_pwd.reveal().as_bytes());
    let len = writer.integrity(&key).fingerprint().finish().unwrap();
    refusal.truncate(len);
    world.raw(world.clients[0].path, refusal);
    assert_eq!(world.clients[0].checks.len(), 2);
    let again = Message::parse(&world.clients[0].checks[1]).unwrap();
    assert!(matches!(again.ice_role(), Some(IceRole::Controlled(_))));
}
