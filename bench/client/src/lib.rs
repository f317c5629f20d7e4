//! A participant without a browser: an independent WebRTC client on the webrtc-rs crates, which shares no media code with
//! the engine. The load client `plausch-bench` and the end-to-end tests use it.
//!
//! ```no_run
//! # use plausch_client::{Client, JoinOptions};
//! # use std::time::Duration;
//! # async fn example() -> Result<(), plausch_client::ClientError> {
//! let client = Client::join(JoinOptions::new("http://localhost:8080", "room", "Anna")).await?;
//! client.wait_for("media of somebody", Duration::from_secs(10), |stats| stats.received_packets() > 0).await?;
//! client.leave().await;
//! # Ok(()) }
//! ```
//!
//! Read in the order in which a call is made: `entry` (the ways into a room), `session` (the life in a room of ours),
//! `signalling` and `sdp` (what is said to control), `visit` (the life in a room of others), `transport` (one
//! PeerConnection) with `ice`, `dtls`, `publish`, `receive` and `feedback`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ages;
pub mod arrival;
mod clip;
mod dtls;
mod encoder;
mod entry;
mod error;
mod feedback;
mod flow;
mod follow;
mod header;
mod histogram;
mod http;
mod ice;
mod janus;
mod loss;
mod probe;
mod publish;
mod random;
mod receive;
mod received;
mod sdp;
mod session;
mod shared;
mod signalling;
mod socket;
mod speech;
mod stamp;
mod stand_in;
mod stats;
mod tally;
mod transport;
#[cfg(test)]
mod transport_tests;
mod trust;
pub mod turn;
mod visit;
mod vp8;
mod way;
mod whip;

pub use ages::Ages;
pub use dtls::SrtpProfiles;
pub use encoder::Picture;
pub use entry::Entry;
pub use error::ClientError;
pub use flow::{Flow, Traffic, loss_ratio};
pub use histogram::Histogram;
pub use http::{get_text, is_healthy};
pub use loss::Loss;
pub use probe::speaks_janus;
pub use speech::Speech;
pub use stand_in::{PACKET_BYTES, StandIn, Stream};
pub use stats::{Counts, Following, Latency, RtcpStats, SentStats, SlotStats, State, Stats, Timings, TrackStats};
pub use tally::Tally;
pub use trust::Trust;

use crate::turn::TurnServer;
use arrival::thrown_away;
use plausch_signalling::MediaState;
use session::{Ending, Request, Session};
use shared::Shared;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use transport::Order;
use visit::Visit;

/// A fixed moment before all packets, for clocks that only need differences.
pub(crate) static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How often `wait_for` looks.
const WAIT_INTERVAL: Duration = Duration::from_millis(20);

/// Which addresses of the relay to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpFamily {
    /// The family of the best candidate.
    #[default]
    Any,
    V4,
    V6,
}

/// Where and how to join.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// `http://host:port` or `https://host` of control.
    pub url: String,
    pub room: String,
    pub name: String,
    pub entry: Entry,
    /// Names of those whom a viewer by WHEP watches, one for each slot.
    pub watches: Vec<String>,
    /// Offers to send audio.
    pub microphone: bool,
    /// Offers to send video in this many simulcast layers, 0 to 3; a single one is no simulcast.
    pub camera_layers: u8,
    /// Receiving slots.
    pub slots: u16,
    /// Whom to believe behind `https`.
    pub trust: Trust,
    /// What is sent at first.
    pub media: MediaState,
    /// RFC 6464: 0 is the loudest, 127 is silence.
    pub audio_level: u8,
    pub profiles: SrtpProfiles,
    pub ip: IpFamily,
    /// Every n-th received packet is decrypted and looked into; the others are counted by their headers.
    pub decrypt_every: u32,
    /// Asks for lost packets again.
    pub nack: bool,
    /// Loses media on purpose.
    pub loss: Loss,
    /// Sends and receives media through this server.
    pub turn: Option<TurnServer>,
    pub picture: Picture,
    /// Speaks, and is silent, as people do; without it, the sound always has `audio_level`.
    pub speech: Option<Speech>,
    /// Decrypts the first packet of each picture too, to see which simulcast layer it is of.
    pub follow_layers: bool,
    /// The kernel throws away what comes, and only counts it: many can watch who cost almost nothing.
    pub deaf: bool,
}

impl JoinOptions {
    /// Audio and video, four slots, all decrypted.
    pub fn new(url: impl Into<String>, room: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            room: room.into(),
            name: name.into(),
            entry: Entry::Native,
            watches: Vec::new(),
            microphone: true,
            camera_layers: 1,
            slots: 4,
            trust: Trust::System,
            media: MediaState { microphone: true, camera: true, screen: false },
            audio_level: 30,
            profiles: SrtpProfiles::All,
            ip: IpFamily::Any,
            decrypt_every: 1,
            nack: true,
            loss: Loss::default(),
            turn: None,
            picture: Picture::Clip,
            speech: None,
            follow_layers: false,
            deaf: false,
        }
    }
}

/// A participant in a room. Dropping it without `leave` is a crash: nobody is told.
pub struct Client {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
}

impl Client {
    /// Joins and waits until DTLS is finished, so that media can flow.
    pub async fn join(options: JoinOptions) -> Result<Self, ClientError> {
        LazyLock::force(&EPOCH);
        let shared = Arc::new(Shared::new(&options));
        let (joined_tx, joined_rx) = oneshot::channel();
        let (requests, requests_rx) = mpsc::unbounded_channel();
        match options.entry.door(&options).await? {
            None => {
                let session = Session::enter(options, shared.clone(), joined_tx).await?;
                tokio::spawn(session.run(requests_rx));
            }
            Some(door) => {
                let visit = Visit::enter(door, options, shared.clone(), joined_tx).await?;
                tokio::spawn(visit.run(requests_rx));
            }
        }
        // ICE and DTLS have their own time limits.
        joined_rx.await.map_err(|_| ClientError::Left)??;
        Ok(Self { shared, requests })
    }

    /// Own id in the room.
    pub fn participant(&self) -> String {
        self.stats().participant
    }

    /// What was seen so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Waits until `reached` says so; `what` is named when it does not within the time.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        mut reached: impl FnMut(&Stats) -> bool,
    ) -> Result<Stats, ClientError> {
        let begin = Instant::now();
        loop {
            let stats = self.stats();
            if reached(&stats) {
                return Ok(stats);
            }
            if begin.elapsed() > within {
                return Err(ClientError::WaitedInVain { what: what.to_owned(), within });
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
    }

    /// Switches microphone and camera, and tells the others.
    pub fn set_media(&self, media: MediaState) {
        let _ = self.requests.send(Request::SetMedia(media));
    }

    /// How loud the sent audio says it is (RFC 6464).
    pub fn set_audio_level(&self, level: u8) {
        self.shared.live().audio_level = level;
    }

    /// Goes on with this bitrate of the picture; only where an encoder is played ([`Picture::Load`]).
    pub fn set_video_kbps(&self, kbps: u32) {
        self.shared.live().video_kbps = Some(kbps);
    }

    /// Adds receiving slots by a new offer, and waits for its answer.
    pub async fn add_slots(&self, more: u16) -> Result<(), ClientError> {
        self.ask(|done| Request::AddSlots(more, done)).await?
    }

    /// Restarts ICE by a new offer, and waits for its answer.
    pub async fn restart_ice(&self) -> Result<(), ClientError> {
        self.ask(Request::RestartIce).await?
    }

    /// Goes on from another UDP port, as after a change of network.
    pub fn change_address(&self) {
        let _ = self.requests.send(Request::Transport(Order::ChangeAddress));
    }

    /// Sends datagrams as they are from the client's own socket: what a hostile participant might do.
    pub fn inject(&self, datagrams: Vec<Vec<u8>>) {
        let _ = self.requests.send(Request::Transport(Order::Inject(datagrams)));
    }

    /// Sends the latest packets of each stream again, byte by byte.
    pub fn replay(&self, packets: usize) {
        let _ = self.requests.send(Request::Transport(Order::Replay(packets)));
    }

    /// What was sent and received so far: cheaper than all of `stats`.
    pub fn counts(&self) -> Counts {
        let live = self.shared.live();
        let unseen = live.deaf.iter().map(thrown_away).sum();
        Counts { sent: live.sent, unseen, ..live.receiver.counts() }
    }

    /// WebSockets that were lost so far.
    pub fn lost_sockets(&self) -> u32 {
        self.shared.live().lost_sockets
    }

    /// Ages of the stamped media that was looked into since the last call.
    pub fn take_latencies(&self) -> Ages {
        std::mem::take(&mut self.shared.live().receiver.ages)
    }

    /// Asks for a key frame in a slot.
    pub fn request_key_frame(&self, slot: u16) {
        self.shared.live().receiver.want_key_frame(slot);
    }

    /// Measures pauses from now on.
    pub fn clear_pauses(&self) {
        self.shared.live().receiver.clear_pauses(Instant::now());
    }

    /// Loses the WebSocket without a close frame; the client comes back by itself.
    pub fn lose_socket(&self) {
        let _ = self.requests.send(Request::LoseSocket);
    }

    /// Says goodbye.
    pub async fn leave(self) {
        self.end(Ending::Leave).await;
    }

    /// Goes as a closed browser tab does that could not say goodbye: WebSocket and DTLS are closed properly.
    pub async fn close_tab(self) {
        self.end(Ending::CloseTab).await;
    }

    /// Is gone without a word, as after a crash or a power cut.
    pub async fn vanish(self) {
        self.end(Ending::Vanish).await;
    }

    async fn end(&self, ending: Ending) {
        // A session that is over already needs no ending.
        let _ = self.ask(|done| Request::End(ending, done)).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, ClientError> {
        let (done, answer) = oneshot::channel();
        self.requests.send(request(done)).map_err(|_| ClientError::Left)?;
        answer.await.map_err(|_| ClientError::Left)
    }
}
