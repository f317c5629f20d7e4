//! The whole of control in this process, with real sockets: WebSocket clients on one side, a relay that only says
//! "done" on the other end of a real link.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod client;
mod door;
mod first_release;
mod http;
mod meeting;
mod relay;
mod relays;
mod restarts;
mod seam;
mod turn;
mod whip;

use client::Client;
use plausch_control::admission::door::Door;
use plausch_control::config::Config;
use plausch_control::server::Server;
use plausch_signalling::Offer;
use relay::FakeRelay;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// A state folder of its own, removed at the end.
struct StateFolder(PathBuf);

impl StateFolder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("plausch-control-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Control and a relay.
struct World {
    folder: StateFolder,
    server: Server,
    relay: FakeRelay,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(toml: &str) -> Self {
        let world = Self::without_relay(toml).await;
        world.relay.dial(&world).await;
        world.ready().await;
        world
    }

    async fn without_relay(toml: &str) -> Self {
        let folder = StateFolder::new();
        let server = Server::start(config(&folder, toml)).await.unwrap();
        Self { folder, server, relay: FakeRelay::default() }
    }

    async fn with_door(door: Door) -> Self {
        let folder = StateFolder::new();
        let server = Server::start_with(config(&folder, ""), door).await.unwrap();
        let world = Self { folder, server, relay: FakeRelay::default() };
        world.relay.dial(&world).await;
        world.ready().await;
        world
    }

    async fn ready(&self) {
        eventually("control is ready", || self.server.service.ready()).await;
    }

    async fn client(&self) -> Client {
        Client::connect(self.server.http()[0], &[]).await
    }

    /// Somebody who has joined with the recorded offer of Chromium.
    async fn joined(&self, room: &str, name: &str) -> Client {
        let mut client = self.client().await;
        client.join(room, name, None, Some(offer(1))).await;
        client
    }

    fn participants(&self) -> usize {
        self.server.service.gauges().participants
    }
}

fn config(folder: &StateFolder, toml: &str) -> Config {
    let ports = "[http]\nlisten = [\"127.0.0.1:0\"]\n[link]\nlisten = \"127.0.0.1:0\"\n";
    let text = if toml.contains("[http]") { toml.to_owned() } else { format!("{ports}{toml}") };
    let folder = folder.0.to_str().unwrap().to_owned();
    Config::parse(&text, move |name| (name == "PLAUSCH_STATE_DIR").then(|| folder.clone())).unwrap()
}

/// The recorded offer of Chromium, as of the n-th PeerConnection.
fn offer(connection: u32) -> Offer {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chromium-first.json");
    let offer: Offer = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    Offer { connection, id: connection, ..offer }
}

/// Waits for something that other tasks bring about.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come about that {what}");
}
