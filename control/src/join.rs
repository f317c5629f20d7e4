//! The one way into a room, which every front goes: *admit*, *plan*, *relay*, *commit*.
//!
//! [`Service::admit`] asks the door and gives a [`Place`]; [`Service::complete`] plans what the relay must do for the
//! first offer, waits until it has done it, and lets the others know. Later offers go from *plan* on.

use crate::admission::door::{Claims, Closed, Decision, Visitor, room_key};
use crate::admission::rates::Prefix;
use crate::http::caller::Host;
use crate::random;
use crate::relays::relay::candidates;
use crate::rooms::events::RoomEvent;
use crate::rooms::member::{Capabilities, Capability, Media, Presence, Role};
use crate::rooms::names::{RoomKey, person_name, room_title};
use crate::rooms::{EnterError, Entry, Fresh, OfferError, Overview, Planned};
use crate::sdp::{LocalSide, RemoteOffer};
use crate::service::{Queue, Service};
use plausch_relay_api::limits::{COMMAND_TIMEOUT_MS, RELAY_WAIT_MS};
use plausch_relay_api::{Command, CommandError, Hello, ParticipantId, ParticipantSpec, RoomId};
use plausch_signalling::IceServers;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// One of the joins that an address has. What costs something, reading SDP above all, comes after it is taken.
#[derive(Debug)]
pub struct Ticket {
    prefix: Option<Prefix>,
}

/// Somebody whose names can be used.
pub struct Guest {
    ticket: Ticket,
    key: RoomKey,
    title: String,
    name: String,
}

/// What a front asks for in the name of a client.
pub struct Request {
    pub guest: Guest,
    /// The number that [`Service::next_session`] gave.
    pub session: u64,
    /// Where events go; `None` for somebody who is there by their media alone.
    pub queue: Option<Queue>,
    pub presence: Presence,
    pub capabilities: Capabilities,
    pub claims: Claims,
    pub media: Media,
    /// The token of an earlier join: come back as the same participant.
    pub resume: Option<String>,
}

/// A client's offer, read.
pub struct ReadOffer {
    /// Counts the offers of the client.
    pub id: u32,
    /// Counts its PeerConnections, from 1.
    pub connection: u32,
    pub remote: RemoteOffer,
}

/// What the door decided.
pub enum Admission {
    Enter(Place),
    /// In the lobby. `RoomEvent::Admitted` in the queue is the sign to complete, `RoomEvent::Rejected` the end.
    Wait(Place),
}

/// A place in a room, which [`Service::complete`] makes a seat.
pub struct Place {
    pub participant: ParticipantId,
    pub session: u64,
    key: RoomKey,
    queue: Option<Queue>,
    resumed: bool,
}

/// Somebody who is in the room.
pub struct Arrival {
    pub participant: ParticipantId,
    pub key: RoomKey,
    /// The room as it was then: what changes from now on comes as events.
    pub overview: Overview,
    /// Answers the offer, if there was one.
    pub answer: Option<String>,
    /// Names the ICE session of that answer.
    pub ice_tag: Option<String>,
    pub ice: Option<IceServers>,
}

/// Why somebody does not come in, or an offer is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("too many requests from this address")]
    RateLimited,
    #[error("there can be no room of this name")]
    BadRoomName,
    #[error("the name is empty, too long or has characters of no name")]
    BadName,
    #[error("the request has neither an offer nor a token, or comes at the wrong time")]
    BadRequest,
    #[error("the offer cannot be used")]
    BadOffer,
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("the room is full")]
    RoomFull,
    #[error("the server is full")]
    ServerFull,
    #[error("no relay is connected, or it does not answer")]
    NoRelay,
    #[error("the same identity joined from another place, or was removed")]
    Replaced,
}

impl From<EnterError> for Refusal {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::RoomFull => Self::RoomFull,
            EnterError::ServerFull => Self::ServerFull,
            EnterError::NoShard => Self::NoRelay,
            EnterError::OtherRoom => Self::BadRequest,
        }
    }
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Gone => Self::Replaced,
            OfferError::Stale | OfferError::Nowhere => Self::NoRelay,
            OfferError::SlotsChanged | OfferError::CertificateChanged => Self::BadOffer,
        }
    }
}

/// What became of an offer.
enum Served {
    /// The relay serves it.
    Answered { planned: Box<Planned>, answer: String },
    /// It is of a connection that is over, and the client must make a new one.
    Stale,
}

impl Ticket {
    /// Checks the names that somebody gave.
    pub fn guest(self, room: &str, name: &str) -> Result<Guest, Refusal> {
        let key = room_key(room).ok_or(Refusal::BadRoomName)?;
        let name = person_name(name).ok_or(Refusal::BadName)?;
        Ok(Guest { ticket: self, key, title: room_title(room), name })
    }
}

impl Service {
    /// Takes one of the joins that an address has.
    pub fn ticket(&self, prefix: Option<Prefix>) -> Result<Ticket, Refusal> {
        let allowed = self.joins.lock().unwrap_or_else(PoisonError::into_inner).take(prefix, self.now());
        if allowed { Ok(Ticket { prefix }) } else { Err(Refusal::RateLimited) }
    }

    /// Asks the door, and gives a place in the room or in its lobby. Nobody knows of who has a place, except that
    /// moderators are told of who waits. Whoever gets a place must [`Service::complete`], [`Service::leave`] or
    /// [`Service::detach`] it.
    pub async fn admit(&self, request: Request) -> Result<Admission, Refusal> {
        let Request { guest, session, queue, presence, capabilities, claims, media, resume } = request;
        let Guest { ticket, key, title, name } = guest;
        // Before its snapshot nobody knows whether the relay still has the media of who comes back.
        self.wait_for_relay(Some(&key)).await?;
        let resumed = resume.and_then(|token| self.secret.verify(&key, &token));
        let participant = resumed.unwrap_or_else(|| ParticipantId(random::id()));
        let place = Place { participant, session, key: key.clone(), queue: queue.clone(), resumed: resumed.is_some() };
        self.change(|state, out| {
            let decision = match state.rooms.knows(&key, participant) {
                // Who was let in once comes back past the door.
                true => Decision::Enter(Role::Guest),
                false => self.door.decide(&Visitor {
                    room: &key,
                    room_exists: state.rooms.exists(&key),
                    claims: &claims,
                    prefix: ticket.prefix,
                }),
            };
            let can_wait = queue.is_some() && capabilities.contains(&Capability::Lobby);
            let role = match decision {
                Decision::Enter(role) => role,
                Decision::Wait if can_wait => Role::Guest,
                Decision::Wait => return Err(Closed::CannotWait.into()),
                Decision::Refuse(why) => return Err(why.into()),
            };
            let new_room = RoomId(random::id());
            let entry = Entry { participant, session, key, title, name, presence, role, capabilities, media, new_room };
            let locations = state.relays.locations();
            match decision {
                Decision::Wait => state.rooms.knock(entry, &locations, out)?,
                Decision::Enter(_) | Decision::Refuse(_) => state.rooms.enter(entry, &locations, out)?,
            }
            state.replace(participant);
            match (decision, queue) {
                (Decision::Wait, Some(queue)) => {
                    state.attach(participant, session, queue);
                    tracing::info!(%participant, "waits in the lobby");
                    Ok(Admission::Wait(place))
                }
                _ => Ok(Admission::Enter(place)),
            }
        })
    }

    /// Makes a place a seat: from now on the others know of the participant, and events come into its queue. Must run
    /// to its end, or half a participant stays behind. Without an offer the media that the relay still has goes on.
    pub async fn complete(
        &self,
        place: Place,
        offer: Option<&ReadOffer>,
        host: Option<&Host>,
    ) -> Result<Arrival, Refusal> {
        let Place { participant, session, key, queue, resumed } = place;
        let served = match offer {
            Some(offer) => self.serve(participant, session, offer).await.map(Some),
            None => Ok(None),
        };
        if served.is_err() {
            self.give_up(participant, session);
        }
        let served = served?;
        let arrival = self.change(|state, out| {
            let (mut answer, mut ice_tag) = (None, None);
            match served {
                Some(Served::Answered { planned, answer: sdp }) => {
                    ice_tag = planned.spec.transport.ice().map(|ice| ice.local_ufrag.clone());
                    answer = Some(sdp);
                    state.rooms.commit(*planned, session, out)?;
                }
                _ if state.rooms.session(participant) != Some(session) => return Err(Refusal::Replaced),
                // Nobody could tell a client without a session to offer again.
                Some(Served::Stale) | None if queue.is_none() => {
                    state.rooms.remove(participant, out);
                    return Err(Refusal::NoRelay);
                }
                Some(Served::Stale) | None => state.rooms.show(participant, out),
            }
            let overview = state.rooms.overview(participant).ok_or(Refusal::NoRelay)?;
            // The overview tells the newcomer all of it.
            out.withdraw(participant);
            let media_lost = answer.is_none() && (offer.is_some() || !state.rooms.has_media(participant));
            match queue {
                Some(queue) => state.attach(participant, session, queue),
                None => state.rooms.stand_alone(participant, self.now()),
            }
            if media_lost {
                out.send(participant, RoomEvent::MediaLost);
            }
            let location = state.location_of(Some(&key), self.now());
            let ice = location.and_then(|location| self.ice_servers_at(state, &location, host));
            Ok(Arrival { participant, key, overview, answer, ice_tag, ice })
        });
        if matches!(arrival, Err(Refusal::NoRelay)) {
            // The room went to another relay meanwhile.
            self.give_up(participant, session);
        }
        let arrival = arrival?;
        self.metrics.joins.fetch_add(1, Relaxed);
        if resumed {
            self.metrics.resumes.fetch_add(1, Relaxed);
        }
        tracing::info!(%participant, resumed, "joined");
        Ok(arrival)
    }

    /// More slots, an ICE restart or a new connection: the answer, or `None` where the client knows already that its
    /// connection is over, for `RoomEvent::MediaLost` has crossed the offer.
    pub async fn offer(
        &self,
        participant: ParticipantId,
        session: u64,
        offer: &ReadOffer,
    ) -> Result<Option<String>, Refusal> {
        let Served::Answered { planned, answer } = self.serve(participant, session, offer).await? else {
            return Ok(None);
        };
        match self.change(|state, out| state.rooms.commit(*planned, session, out)) {
            Ok(()) => Ok(Some(answer)),
            // Whose session is over is told nothing more.
            Err(OfferError::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the room has a relay, or would have one.
    pub(crate) async fn wait_for_relay(&self, room: Option<&RoomKey>) -> Result<(), Refusal> {
        let mut changes = self.relay_changes();
        let placed = async {
            loop {
                let location = self.state().location_of(room, self.now());
                if location.is_some() || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(Duration::from_millis(RELAY_WAIT_MS), placed).await.map_err(|_| Refusal::NoRelay)
    }

    /// Plans, tells the relay and waits until it has done it.
    async fn serve(&self, participant: ParticipantId, session: u64, offer: &ReadOffer) -> Result<Served, Refusal> {
        let Some(mut asked) = self.ask(participant, session, offer)? else { return Ok(Served::Stale) };
        let mut result = self.wait(asked.done).await?;
        if result == Err(CommandError::Draining) {
            // It has begun to drain this moment: the room begins elsewhere, if it can.
            self.relay_drains(&asked.planned.relay);
            asked = match self.ask(participant, session, offer)? {
                Some(asked) => asked,
                None => return Ok(Served::Stale),
            };
            result = self.wait(asked.done).await?;
        }
        let Asked { planned, hello, .. } = asked;
        match result {
            Ok(()) => {}
            // The relay has this participant from a time that control does not remember.
            Err(CommandError::Moved | CommandError::Stale) => {
                let done = self.put_again(&planned, session)?;
                self.wait(done).await?.map_err(|error| refusal(participant, &error))?;
            }
            Err(error) => return Err(refusal(participant, &error)),
        }
        let answer = answer(&offer.remote, &planned.spec, &hello, offer.id);
        Ok(Served::Answered { planned: Box::new(planned), answer })
    }

    /// Plans for an offer, and asks the relay for that. `None`: the offer is of a connection that is over.
    fn ask(&self, participant: ParticipantId, session: u64, offer: &ReadOffer) -> Result<Option<Asked>, Refusal> {
        let remote = &offer.remote;
        self.change(|state, _| {
            if state.rooms.session(participant) != Some(session) {
                return Err(Refusal::Replaced);
            }
            let locations = state.relays.locations();
            let planned = match state.rooms.plan(participant, offer.connection, remote, fresh(remote), &locations) {
                Ok(planned) => planned,
                Err(OfferError::Stale) => return Ok(None),
                Err(error) => {
                    tracing::debug!(%participant, "an offer was refused: {error}");
                    return Err(error.into());
                }
            };
            let relay = state.relays.get_mut(&planned.relay).ok_or(Refusal::NoRelay)?;
            let hello = relay.hello.clone();
            let done = relay.ask(put(&planned.spec)).ok_or(Refusal::NoRelay)?;
            Ok(Some(Asked { planned, hello, done }))
        })
    }

    pub(crate) async fn wait(&self, done: Done) -> Result<Result<(), CommandError>, Refusal> {
        match timeout(Duration::from_millis(COMMAND_TIMEOUT_MS), done).await {
            Ok(Ok(result)) => Ok(result),
            // The link is gone, or the relay hangs.
            Ok(Err(_)) | Err(_) => Err(Refusal::NoRelay),
        }
    }

    fn put_again(&self, planned: &Planned, session: u64) -> Result<Done, Refusal> {
        let Planned { relay, spec } = planned;
        self.change(|state, _| {
            // Who was replaced or removed meanwhile would stay with the relay, and nobody would remove them.
            if state.rooms.session(spec.participant) != Some(session) {
                return Err(Refusal::Replaced);
            }
            let relay = state.relays.get_mut(relay).ok_or(Refusal::NoRelay)?;
            relay.command(Command::RemoveParticipant { participant: spec.participant });
            relay.ask(put(spec)).ok_or(Refusal::NoRelay)
        })
    }

    /// The first offer of a newcomer failed: the place is free again.
    fn give_up(&self, participant: ParticipantId, session: u64) {
        self.change(|state, out| {
            state.forget(participant, session);
            if state.rooms.session(participant) == Some(session) {
                state.rooms.abandon(participant, session, out);
                // Who was there before stays for a while, as after a lost socket.
                state.rooms.detach(participant, session, self.now(), out);
            }
        });
    }
}

/// What a relay was asked for an offer.
struct Asked {
    planned: Planned,
    /// What that relay said of itself.
    hello: Arc<Hello>,
    done: Done,
}

type Done = tokio::sync::oneshot::Receiver<Result<(), CommandError>>;

pub(crate) fn put(spec: &ParticipantSpec) -> Command {
    Command::PutParticipant(Box::new(spec.clone()))
}

pub(crate) fn refusal(participant: ParticipantId, error: &CommandError) -> Refusal {
    tracing::warn!(%participant, "the relay refused a participant: {error}");
    match error {
        CommandError::Limit(_) => Refusal::ServerFull,
        CommandError::Invalid(_) => Refusal::BadOffer,
        CommandError::UnknownParticipant
        | CommandError::UnknownShard
        | CommandError::Moved
        | CommandError::Stale
        | CommandError::UfragTaken
        | CommandError::Busy
        | CommandError::Draining => Refusal::NoRelay,
    }
}

/// 12 characters of 6 bits find a participant, 24 authenticate it: RFC 8445, section 5.3 asks for 24 and 128 bits.
fn fresh(remote: &RemoteOffer) -> Fresh {
    let mut taken: HashSet<u32> = remote.remote_ssrcs().collect();
    let mut ssrcs = Vec::new();
    while ssrcs.len() < 2 * remote.slots.len() {
        let ssrc = random::ssrc();
        if taken.insert(ssrc) {
            ssrcs.push(ssrc);
        }
    }
    Fresh { ufrag: random::ice_chars::<12>(), pwd: random::ice_chars::<24>(), ssrcs }
}

fn answer(remote: &RemoteOffer, spec: &ParticipantSpec, hello: &Arc<Hello>, version: u32) -> String {
    // Who offers SDP has ICE.
    let (ufrag, pwd) = spec.transport.ice().map_or(("", ""), |ice| (ice.local_ufrag.as_str(), ice.local_pwd.reveal()));
    remote.answer(&LocalSide {
        // RFC 9429, section 5.2.1: a 63-bit number.
        session: spec.participant.0 >> 1,
        version,
        ufrag,
        pwd,
        fingerprint: hello.fingerprint,
        candidates: candidates(hello, spec.shard),
        slots: &spec.slots,
    })
}
