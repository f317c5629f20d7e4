//! Where sessions, rooms and the relay meet: the one lock, and the steps of a join.
//!
//! Everything under the lock is quick and does no IO; messages and commands go into bounded queues there, so that
//! every client and the relay see changes in one order.

mod relays;
mod turn;

use crate::admission::rates::{Prefix, PrefixRates, Rate};
use crate::admission::tokens::ResumeSecret;
use crate::config::Config;
use crate::metrics::{Gauges, Metrics};
use crate::random;
use crate::relays::relay::Relay;
use crate::relays::turn::{Edge, TurnKey};
use crate::rooms::Rooms;
use crate::rooms::room::Outbox;
use axum::extract::ws::Utf8Bytes;
use plausch_daemon::share::{Place, Share};
use plausch_relay_api::ParticipantId;
use plausch_signalling::{ErrorCode, MediaState, ServerMessage};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Control, apart from its sockets.
pub struct Service {
    pub config: Config,
    pub metrics: Metrics,
    pub(crate) secret: ResumeSecret,
    turn_key: TurnKey,
    started: Instant,
    state: Mutex<State>,
    pub(crate) linked: watch::Sender<bool>,
    pub(crate) joins: Mutex<PrefixRates>,
    /// How often credentials of TURN may be asked for.
    credentials: Mutex<PrefixRates>,
    sockets: Arc<Share>,
    sessions: AtomicU64,
}

pub(crate) struct State {
    pub(crate) rooms: Rooms,
    sessions: HashMap<ParticipantId, Attached>,
    pub(crate) relay: Option<Relay>,
    edge: Edge,
}

/// A joined session's queue to its socket. Dropping it closes the socket.
struct Attached {
    session: u64,
    outgoing: mpsc::Sender<Outgoing>,
}

/// A message on its way to a client.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub text: Utf8Bytes,
    /// It is news of others. Answers may not wait, for media comes at once; nor may what is in slots.
    pub may_wait: bool,
}

impl Outgoing {
    fn new(message: &ServerMessage) -> Self {
        let may_wait = matches!(
            message,
            ServerMessage::ParticipantJoined { .. }
                | ServerMessage::ParticipantChanged { .. }
                | ServerMessage::ParticipantLeft { .. }
                | ServerMessage::Speakers { .. }
        );
        Self { text: encode(message), may_wait }
    }
}

/// A place among the open sockets.
pub struct SocketPermit {
    open: Arc<AtomicU64>,
    pub place: Place,
}

/// No network has more than a quarter of them, and an eighth is kept for those in calls.
fn socket_limits(all: usize) -> plausch_daemon::share::Limits {
    let quarter = all.div_ceil(4);
    plausch_daemon::share::Limits { all, strangers: all - all / 8, narrow: quarter, middle: quarter, wide: quarter }
}

impl Service {
    /// `secret`: of the state folder.
    pub fn new(config: Config, secret: &[u8; 32]) -> Self {
        Self {
            metrics: Metrics::default(),
            secret: ResumeSecret::new(secret),
            turn_key: TurnKey::new(secret),
            started: Instant::now(),
            state: Mutex::new(State {
                rooms: Rooms::new(config.limits, random::id()),
                sessions: HashMap::new(),
                relay: None,
                edge: Edge::default(),
            }),
            linked: watch::Sender::new(false),
            joins: Mutex::new(PrefixRates::new(config.limits.joins)),
            credentials: Mutex::new(PrefixRates::new(credentials_rate(config.limits.joins))),
            sockets: Share::new("signalling sockets", socket_limits(config.limits.sockets)),
            sessions: AtomicU64::new(1),
            config,
        }
    }

    /// Since start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A relay with at least one shard is linked.
    pub fn ready(&self) -> bool {
        *self.linked.borrow()
    }

    pub fn gauges(&self) -> Gauges {
        let state = self.state();
        Gauges {
            rooms: state.rooms.rooms(),
            participants: state.rooms.participants(),
            attached: state.sessions.len(),
            relay_linked: state.relay.is_some(),
            shards: state.relay.as_ref().map(|relay| relay.loads.clone()).unwrap_or_default(),
        }
    }

    /// A place for one more socket, if the limits allow it.
    pub fn open_socket(&self, prefix: Option<Prefix>) -> Option<SocketPermit> {
        let Ok(place) = self.sockets.enter(prefix.map(|prefix| prefix.0)) else {
            self.metrics.sockets_refused.fetch_add(1, Relaxed);
            return None;
        };
        self.metrics.sockets.fetch_add(1, Relaxed);
        Some(SocketPermit { open: self.metrics.sockets.clone(), place })
    }

    /// A number for a new session, larger than all before.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Relaxed)
    }

    /// What the participant sends changed.
    pub fn media(&self, participant: ParticipantId, session: u64, media: MediaState) {
        let mut state = self.state();
        if state.rooms.session(participant) == Some(session) {
            let mut out = Outbox::default();
            state.rooms.set_media(participant, media, &mut out);
            state.settle(out, self);
        }
    }

    /// Goodbye.
    pub fn leave(&self, participant: ParticipantId, session: u64) {
        let mut state = self.state();
        if state.rooms.session(participant) == Some(session) {
            let mut out = Outbox::default();
            state.sessions.remove(&participant);
            state.rooms.remove(participant, &mut out);
            state.settle(out, self);
            tracing::info!(%participant, "left");
        }
    }

    /// The socket is gone without a goodbye.
    pub fn detach(&self, participant: ParticipantId, session: u64) {
        let mut state = self.state();
        if state.rooms.session(participant) == Some(session) {
            let mut out = Outbox::default();
            state.sessions.remove(&participant);
            state.rooms.detach(participant, session, self.now(), &mut out);
            state.settle(out, self);
            tracing::info!(%participant, "lost its socket");
        }
    }

    /// To be called about twice a second.
    pub fn tick(&self) {
        let mut state = self.state();
        let mut out = Outbox::default();
        let linked = state.relay.is_some();
        state.rooms.tick(self.now(), linked, &mut out);
        state.tell_turn(&self.turn_key, &mut out);
        state.settle(out, self);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug; the other rooms go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends what is to be sent. A client whose queue is full is given up, which others may have to be told.
    pub(crate) fn settle(&mut self, mut out: Outbox, service: &Service) {
        loop {
            for command in out.commands {
                if let Some(relay) = &mut self.relay
                    && !relay.command(command)
                {
                    // The relay reads nothing: it dials again, and then both agree anew.
                    tracing::warn!("the link to the relay is closed, because its queue is full");
                    self.relay = None;
                    service.linked.send_replace(false);
                }
            }
            let mut slow = Vec::new();
            for (to, message) in out.messages {
                let mut outgoing = None;
                for participant in to {
                    let Some(attached) = self.sessions.get(&participant) else { continue };
                    let outgoing = outgoing.get_or_insert_with(|| Outgoing::new(&message)).clone();
                    if attached.outgoing.try_send(outgoing).is_err() {
                        slow.push((participant, attached.session));
                        self.sessions.remove(&participant);
                    }
                }
            }
            out = Outbox::default();
            for (participant, session) in slow {
                service.metrics.slow_clients.fetch_add(1, Relaxed);
                self.rooms.detach(participant, session, service.now(), &mut out);
            }
            if out.commands.is_empty() && out.messages.is_empty() {
                return;
            }
        }
    }

    /// Lets a session speak for a participant.
    pub(crate) fn attach(&mut self, participant: ParticipantId, session: u64, outgoing: mpsc::Sender<Outgoing>) {
        self.sessions.insert(participant, Attached { session, outgoing });
    }

    /// Sends one message to one session.
    pub(crate) fn tell(&mut self, participant: ParticipantId, message: ServerMessage, service: &Service) {
        let mut out = Outbox::default();
        out.send(participant, message);
        self.settle(out, service);
    }

    /// Ends the session that spoke for a participant before.
    pub(crate) fn replace(&mut self, participant: ParticipantId, service: &Service) {
        if self.sessions.contains_key(&participant) {
            service.metrics.count_error(ErrorCode::Replaced);
            self.tell(participant, ServerMessage::Error { code: ErrorCode::Replaced, fatal: true }, service);
            self.sessions.remove(&participant);
        }
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// A page asks when it opens and when it tests its network, and then at each ICE restart.
fn credentials_rate(joins: Rate) -> Rate {
    Rate { burst: joins.burst.saturating_mul(4), per_second: joins.per_second * 4.0 }
}

/// A message as text. Our own types always serialise.
pub(crate) fn encode(message: &ServerMessage) -> Utf8Bytes {
    serde_json::to_string(message).unwrap_or_default().into()
}
