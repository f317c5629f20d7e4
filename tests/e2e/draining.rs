//! A relay that is asked to end while people are on it.

use crate::people::{SOON, all_meet, join};
use crate::service::{Process, Service, get};
use crate::turn::configuration;
use plausch_client::{Client, JoinOptions};
use plausch_tests::wire::turn::{self as wire, Login, Said};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};
use stun::message::METHOD_REFRESH;
use tokio::time::sleep;

async fn start(drain_seconds: u64) -> Service {
    let mut service = Service::prepare().await;
    let configuration = configuration(&service, 1, "\"127.0.0.1\"", "");
    service.start_control();
    service.start_with(Process::Relay, &format!("{configuration}\n[shutdown]\ndrain_seconds = {drain_seconds}\n"));
    service.ready(SOON).await;
    service
}

/// A client of another program.
struct Member {
    socket: UdpSocket,
    login: Login,
    requests: u8,
}

impl Member {
    fn new(service: &Service) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, service.ports.turn)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let (name, password) = ("user0".to_owned(), "secret0".to_owned());
        let mut member =
            Self { socket, login: Login { name, realm: String::new(), password, nonce: Vec::new() }, requests: 0 };
        match member.ask(|id, _| wire::allocate(id, None)) {
            Said::Error(401, Some((nonce, realm))) => (member.login.nonce, member.login.realm) = (nonce, realm),
            other => panic!("{other:?}"),
        }
        member
    }

    fn ask(&mut self, make: impl FnOnce([u8; 12], &Login) -> Vec<u8>) -> Said {
        self.requests += 1;
        self.socket.send(&make([self.requests; 12], &self.login)).unwrap();
        let mut answer = [0; 1500];
        let len = self.socket.recv(&mut answer).unwrap();
        wire::read(&answer[..len], Some(&self.login)).unwrap()
    }

    fn allocate(&mut self) -> Said {
        self.ask(|id, login| wire::allocate(id, Some(login)))
    }
}

#[tokio::test]
async fn a_relay_runs_empty_and_then_ends() {
    let mut service = start(60).await;
    let mut member = Member::new(&service);
    assert!(matches!(member.allocate(), Said::Success(Some(_))));
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    assert_eq!(service.relay_metric("plausch_draining").await, 0.0);
    service.ask_to_end(Process::Relay);
    let begun = Instant::now();
    while service.relay_metric("plausch_draining").await == 0.0 {
        assert!(begun.elapsed() < SOON);
        sleep(Duration::from_millis(20)).await;
    }
    let log = service.log(Process::Relay);
    assert!(log.contains("waiting for 2 participants and 1 TURN allocations to end, 60 seconds at the most"), "{log}");

    assert!(matches!(Member::new(&service).allocate(), Said::Error(508, _)));
    let refused = Client::join(JoinOptions::new(service.url(), "another room", "Dora")).await;
    assert!(refused.is_err(), "no room begins");
    let clara = join(&service, "room", "Clara").await;
    all_meet(&[&anna, &bert, &clara]).await;
    for client in [anna, bert, clara] {
        client.leave().await;
    }
    // One allocation is left.
    sleep(Duration::from_millis(700)).await;
    assert!(service.lives(Process::Relay));
    let end = |id: [u8; 12], login: &Login| {
        wire::request(METHOD_REFRESH, id, Some(login), |message| message.add(stun::attributes::ATTR_LIFETIME, &[0; 4]))
    };
    assert_eq!(member.ask(end), Said::Success(None));
    let begun = Instant::now();
    assert_eq!(service.ended(Process::Relay).await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(service.log(Process::Relay).contains("nobody is left"));
    assert!(matches!(get(service.ports.http, "/api/health").await, Some((503, _))));
}

#[tokio::test]
async fn the_time_or_another_signal_ends_the_waiting() {
    for (seconds, again, said) in [(1, false, "the time is over"), (60, true, "there was another signal")] {
        let mut service = start(seconds).await;
        let _anna = join(&service, "room", "Anna").await;
        service.ask_to_end(Process::Relay);
        let begun = Instant::now();
        if again {
            sleep(Duration::from_millis(500)).await;
            assert!(service.lives(Process::Relay));
            service.ask_to_end(Process::Relay);
        }
        assert_eq!(service.ended(Process::Relay).await.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let log = service.log(Process::Relay);
        assert!(log.contains(&format!("ending in spite of 1 participants and 0 TURN allocations: {said}")), "{log}");
    }
}
