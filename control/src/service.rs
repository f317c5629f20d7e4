//! Where fronts, rooms and relays meet. Rooms, sessions and what is known of relays are one [`State`] under one lock,
//! which [`Service::change`] takes; three more locks guard the rates of joins and of credentials, and the count of
//! sockets. Each is held for a few instructions, and nobody who holds one of them takes another.
//!
//! Everything under the lock is quick and does no IO; events and commands go into bounded queues there, so that every
//! client and every relay see changes in one order.

mod delivery;
mod relays;
mod turn;

pub use delivery::{Delivery, Queue};

use crate::admission::door::Door;
use crate::admission::rates::{Prefix, PrefixRates, Rate};
use crate::admission::tokens::ResumeSecret;
use crate::config::Config;
use crate::metrics::{Gauges, Metrics};
use crate::random;
use crate::relays::set::Relays;
use crate::relays::turn::{Edge, TurnKey};
use crate::rooms::events::{Outbox, RoomEvent};
use crate::rooms::member::Media;
use crate::rooms::{LobbyError, Rooms};
use plausch_daemon::share::{Place, Share};
use plausch_relay_api::ParticipantId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Control, apart from its sockets.
pub struct Service {
    pub config: Config,
    pub metrics: Metrics,
    pub(crate) door: Door,
    pub(crate) secret: ResumeSecret,
    turn_key: TurnKey,
    started: Instant,
    state: Mutex<State>,
    /// Told whenever a relay came or left, or time has decided about one.
    relay_changes: watch::Sender<()>,
    pub(crate) joins: Mutex<PrefixRates>,
    /// How often credentials of TURN may be asked for.
    credentials: Mutex<PrefixRates>,
    sockets: Arc<Share>,
    sessions: AtomicU64,
}

pub(crate) struct State {
    pub(crate) rooms: Rooms,
    sessions: HashMap<ParticipantId, Attached>,
    pub(crate) relays: Relays,
    edge: Edge,
}

/// A session that speaks for a participant.
struct Attached {
    session: u64,
    queue: Queue,
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
    /// `secret` is read from the state folder.
    pub fn new(config: Config, door: Door, secret: &[u8; 32]) -> Self {
        Self {
            door,
            metrics: Metrics::default(),
            secret: ResumeSecret::new(secret),
            turn_key: TurnKey::new(secret),
            started: Instant::now(),
            state: Mutex::new(State {
                rooms: Rooms::new(config.limits, random::id()),
                sessions: HashMap::new(),
                relays: Relays::default(),
                edge: Edge::default(),
            }),
            relay_changes: watch::Sender::new(()),
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
        self.state().relays.linked().any(|relay| !relay.hello.shards.is_empty())
    }

    pub fn gauges(&self) -> Gauges {
        let state = self.state();
        Gauges {
            rooms: state.rooms.rooms(),
            participants: state.rooms.participants(),
            attached: state.sessions.len(),
            relays: state.relays.gauges(),
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
    pub fn media(&self, participant: ParticipantId, session: u64, media: Media) {
        self.change(|state, out| {
            if state.rooms.session(participant) == Some(session) {
                state.rooms.set_media(participant, media, out);
            }
        });
    }

    /// A moderator lets somebody in who waits.
    pub fn admit_guest(&self, moderator: ParticipantId, session: u64, guest: ParticipantId) -> Result<(), LobbyError> {
        self.change(|state, out| match state.rooms.session(moderator) == Some(session) {
            true => state.rooms.admit(moderator, guest, out),
            false => Err(LobbyError::NotModerator),
        })
    }

    /// A moderator turns somebody away who waits.
    pub fn reject_guest(&self, moderator: ParticipantId, session: u64, guest: ParticipantId) -> Result<(), LobbyError> {
        self.change(|state, out| match state.rooms.session(moderator) == Some(session) {
            true => state.rooms.reject(moderator, guest, out),
            false => Err(LobbyError::NotModerator),
        })
    }

    /// Goodbye.
    pub fn leave(&self, participant: ParticipantId, session: u64) {
        self.change(|state, out| {
            if state.rooms.session(participant) == Some(session) {
                state.forget(participant, session);
                state.rooms.remove(participant, out);
                tracing::info!(%participant, "left");
            }
        });
    }

    /// The socket is gone without a goodbye.
    pub fn detach(&self, participant: ParticipantId, session: u64) {
        self.change(|state, out| {
            if state.rooms.session(participant) == Some(session) {
                state.forget(participant, session);
                state.rooms.detach(participant, session, self.now(), out);
                tracing::info!(%participant, "lost its socket");
            }
        });
    }

    /// To be called about twice a second.
    pub fn tick(&self) {
        self.change(|state, out| {
            state.rooms.tick(self.now(), |relay| state.relays.get(relay).is_some(), out);
            if state.relays.waits() {
                state.give_up_relays(self.now(), out);
                self.relay_changes.send_replace(());
            }
            state.tell_turn(&self.turn_key, out);
        });
    }

    /// Changes the state and lets everybody know: locks, runs `change`, and hands on what it put into the outbox.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, &mut Outbox) -> T) -> T {
        let mut state = self.state();
        let mut out = Outbox::default();
        let result = change(&mut state, &mut out);
        state.settle(out, self);
        result
    }

    /// The state, to read it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug; the other rooms go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends what is to be sent. A client whose queue is full is given up, which others may have to be told.
    fn settle(&mut self, mut out: Outbox, service: &Service) {
        loop {
            for (id, command) in out.commands {
                if let Some(relay) = self.relays.get_mut(&id)
                    && !relay.command(command)
                {
                    // The relay reads nothing: it dials again, and then both agree anew.
                    tracing::warn!(relay = %id, "the link is closed, because its queue is full");
                    self.relays.unlink(&id, service.now());
                    service.relay_changes.send_replace(());
                }
            }
            let mut slow = Vec::new();
            for (to, event) in out.events {
                let delivery = Delivery::new(event);
                for participant in to {
                    let Some(attached) = self.sessions.get(&participant) else { continue };
                    if attached.queue.try_send(delivery.clone()).is_err() {
                        slow.push((participant, attached.session));
                        self.sessions.remove(&participant);
                    } else if delivery.event.is_last() {
                        self.sessions.remove(&participant);
                    }
                }
            }
            out = Outbox::default();
            for (participant, session) in slow {
                service.metrics.slow_clients.fetch_add(1, Relaxed);
                self.rooms.detach(participant, session, service.now(), &mut out);
            }
            if out.is_empty() {
                return;
            }
        }
    }

    /// Lets a session speak for a participant.
    pub(crate) fn attach(&mut self, participant: ParticipantId, session: u64, queue: Queue) {
        self.sessions.insert(participant, Attached { session, queue });
    }

    /// Lets a session speak for nobody any more.
    pub(crate) fn forget(&mut self, participant: ParticipantId, session: u64) {
        if self.sessions.get(&participant).is_some_and(|attached| attached.session == session) {
            self.sessions.remove(&participant);
        }
    }

    /// Ends the session that spoke for a participant before.
    pub(crate) fn replace(&mut self, participant: ParticipantId) {
        if let Some(attached) = self.sessions.remove(&participant) {
            // Whose queue is full is told nothing, and ends as well.
            let _ = attached.queue.try_send(Delivery::new(RoomEvent::Replaced));
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
