//! Joins and offers: what waits for the relay.

use crate::admission::rates::Prefix;
use crate::http::assets;
use crate::http::caller::Host;
use crate::random;
use crate::relays::relay::candidates;
use crate::rooms::member::Presence;
use crate::rooms::names::{RoomKey, person_name, room_title};
use crate::rooms::room::Outbox;
use crate::rooms::{Entry, Fresh, OfferError};
use crate::sdp::{LocalSide, RemoteOffer};
use crate::service::{Outgoing, Service, State};
use plausch_relay_api::limits::{COMMAND_TIMEOUT_MS, RELAY_WAIT_MS};
use plausch_relay_api::{Command, CommandError, Hello, ParticipantId, ParticipantSpec, RoomId};
use plausch_signalling::{Answer, ErrorCode, MediaState, Offer, ServerMessage, VERSION};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A client's `join`.
#[derive(Debug)]
pub struct Join {
    pub version: u32,
    pub room: String,
    pub name: String,
    pub resume: Option<String>,
    pub offer: Option<Offer>,
    pub media: MediaState,
}

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem {
    pub code: ErrorCode,
    pub fatal: bool,
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        let fatal = match code {
            ErrorCode::Version
            | ErrorCode::RoomFull
            | ErrorCode::ServerFull
            | ErrorCode::RateLimited
            | ErrorCode::Replaced => true,
            ErrorCode::BadMessage
            | ErrorCode::BadRoomName
            | ErrorCode::BadName
            | ErrorCode::BadOffer
            | ErrorCode::NoRelay => false,
        };
        Self { code, fatal }
    }
}

/// What became of an offer.
pub(crate) enum Served {
    /// The relay serves it.
    Answered { spec: Box<ParticipantSpec>, answer: Answer },
    /// It is of a connection that is over, and the browser must make a new one.
    Stale,
}

impl Service {
    /// Lets a session into a room; on success its `welcome` is in the queue.
    pub async fn join(
        &self,
        session: u64,
        prefix: Option<Prefix>,
        host: Option<&Host>,
        outgoing: mpsc::Sender<Outgoing>,
        join: Join,
    ) -> Result<ParticipantId, Problem> {
        if join.version != VERSION {
            return Err(ErrorCode::Version.into());
        }
        if !self.may_join(prefix) {
            return Err(ErrorCode::RateLimited.into());
        }
        let key = room_key(&join.room).ok_or(ErrorCode::BadRoomName)?;
        let name = person_name(&join.name).ok_or(ErrorCode::BadName)?;
        let resumed = join.resume.as_deref().and_then(|token| self.secret.verify(&key, token));
        if join.offer.is_none() && join.resume.is_none() {
            return Err(ErrorCode::BadMessage.into());
        }
        let offer = join.offer.map(|offer| self.read_offer(offer)).transpose()?;
        // Before its snapshot nobody knows whether the relay still has the media of who comes back.
        self.wait_for_relay().await?;

        let participant = resumed.unwrap_or_else(|| ParticipantId(random::id()));
        let entry = Entry {
            participant,
            session,
            title: room_title(&join.room),
            key: key.clone(),
            name,
            presence: Presence::Signalling,
            media: join.media,
            new_room: RoomId(random::id()),
        };
        {
            let mut state = self.state();
            let mut out = Outbox::default();
            let shards = state.shards();
            state.rooms.enter(entry, &shards, &mut out)?;
            state.replace(participant, self);
            state.settle(out, self);
        }
        let served = match offer {
            Some((offer, remote)) => self.serve(participant, session, &offer, &remote).await.map(Some),
            None => Ok(None),
        };
        if served.is_err() {
            self.give_up(participant, session);
        }
        let served = served?;
        let stale = matches!(served, Some(Served::Stale));

        let mut state = self.state();
        let mut out = Outbox::default();
        let answer = match served {
            Some(Served::Answered { spec, answer }) => {
                if !state.rooms.commit(*spec, session, &mut out) {
                    return Err(ErrorCode::Replaced.into());
                }
                Some(answer)
            }
            _ if state.rooms.session(participant) != Some(session) => return Err(ErrorCode::Replaced.into()),
            Some(Served::Stale) | None => {
                state.rooms.show(participant, &mut out);
                None
            }
        };
        // Others first: what they are told is in the welcome already, so the newcomer is not told twice.
        state.settle(out, self);
        let token = self.secret.token(&key, participant);
        let shard = state.rooms.shard_of(Some(&key), &state.shards());
        let ice = shard.and_then(|shard| self.ice_servers_at(&state, shard, host));
        let Some(welcome) = state.rooms.welcome(participant, token.into(), answer, ice) else {
            return Err(ErrorCode::NoRelay.into());
        };
        state.attach(participant, session, outgoing);
        state.tell(participant, welcome, self);
        if stale || !state.rooms.has_media(participant) {
            state.tell(participant, ServerMessage::MediaLost, self);
        }
        self.metrics.joins.fetch_add(1, Relaxed);
        if resumed.is_some() {
            self.metrics.resumes.fetch_add(1, Relaxed);
        }
        tracing::info!(%participant, resumed = resumed.is_some(), "joined");
        Ok(participant)
    }

    /// More slots, an ICE restart or a new connection; on success the `answer` is in the queue.
    pub async fn offer(&self, participant: ParticipantId, session: u64, offer: Offer) -> Result<(), Problem> {
        let (offer, remote) = self.read_offer(offer)?;
        let Served::Answered { spec, answer } = self.serve(participant, session, &offer, &remote).await? else {
            // `media-lost` has crossed this offer: the browser knows already.
            return Ok(());
        };
        let mut state = self.state();
        let mut out = Outbox::default();
        if state.rooms.commit(*spec, session, &mut out) {
            state.tell(participant, ServerMessage::Answer { answer }, self);
            state.settle(out, self);
        }
        Ok(())
    }

    /// Takes one of the joins that an address has.
    pub(crate) fn may_join(&self, prefix: Option<Prefix>) -> bool {
        self.joins.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(prefix, self.now())
    }

    pub(crate) async fn wait_for_relay(&self) -> Result<(), ErrorCode> {
        let mut linked = self.linked.subscribe();
        let wait = Duration::from_millis(RELAY_WAIT_MS);
        match timeout(wait, linked.wait_for(|linked| *linked)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ErrorCode::NoRelay),
        }
    }

    fn read_offer(&self, offer: Offer) -> Result<(Offer, RemoteOffer), ErrorCode> {
        if offer.connection == 0 {
            return Err(ErrorCode::BadOffer);
        }
        match RemoteOffer::read(&offer, &self.config.codecs) {
            Ok(remote) => Ok((offer, remote)),
            Err(error) => {
                tracing::debug!("an offer was refused: {error}");
                Err(ErrorCode::BadOffer)
            }
        }
    }

    /// Plans, tells the relay and waits until it has done it.
    pub(crate) async fn serve(
        &self,
        participant: ParticipantId,
        session: u64,
        offer: &Offer,
        remote: &RemoteOffer,
    ) -> Result<Served, Problem> {
        let (spec, hello, done) = {
            let mut state = self.state();
            if state.rooms.session(participant) != Some(session) {
                return Err(ErrorCode::Replaced.into());
            }
            let shards = state.shards();
            let planned = state.rooms.plan(participant, offer.connection, remote, fresh(remote), &shards);
            let spec = match planned {
                Ok(spec) => spec,
                Err(OfferError::Stale) => return Ok(Served::Stale),
                Err(OfferError::Gone) => return Err(ErrorCode::Replaced.into()),
                Err(error @ (OfferError::SlotsChanged | OfferError::CertificateChanged)) => {
                    tracing::debug!(%participant, "an offer was refused: {error}");
                    return Err(ErrorCode::BadOffer.into());
                }
            };
            let relay = state.relay.as_mut().ok_or(ErrorCode::NoRelay)?;
            let hello = relay.hello.clone();
            let done = relay.ask(put(&spec)).ok_or(ErrorCode::NoRelay)?;
            (spec, hello, done)
        };
        match self.wait(done).await? {
            Ok(()) => {}
            // The relay has this participant from a time that control does not remember.
            Err(CommandError::Moved | CommandError::Stale) => {
                let done = self.put_again(&spec, session)?;
                self.wait(done).await?.map_err(|error| refusal(participant, &error))?;
            }
            Err(error) => return Err(refusal(participant, &error).into()),
        }
        let answer = Answer { id: offer.id, sdp: answer(remote, &spec, &hello, offer.id) };
        Ok(Served::Answered { spec: Box::new(spec), answer })
    }

    pub(crate) async fn wait(&self, done: Done) -> Result<Result<(), CommandError>, ErrorCode> {
        match timeout(Duration::from_millis(COMMAND_TIMEOUT_MS), done).await {
            Ok(Ok(result)) => Ok(result),
            // The link is gone, or the relay hangs.
            Ok(Err(_)) | Err(_) => Err(ErrorCode::NoRelay),
        }
    }

    fn put_again(&self, spec: &ParticipantSpec, session: u64) -> Result<Done, ErrorCode> {
        let mut state = self.state();
        // Who was replaced or removed meanwhile would stay with the relay, and nobody would remove them.
        if state.rooms.session(spec.participant) != Some(session) {
            return Err(ErrorCode::Replaced);
        }
        let relay = state.relay.as_mut().ok_or(ErrorCode::NoRelay)?;
        relay.command(Command::RemoveParticipant { participant: spec.participant });
        relay.ask(put(spec)).ok_or(ErrorCode::NoRelay)
    }

    /// The first offer of a newcomer failed: the place is free again.
    pub(crate) fn give_up(&self, participant: ParticipantId, session: u64) {
        let mut state = self.state();
        let mut out = Outbox::default();
        if state.rooms.session(participant) == Some(session) {
            let now = self.now();
            state.rooms.abandon(participant, session, &mut out);
            // Who was there before stays for a while, as after a lost socket.
            state.rooms.detach(participant, session, now, &mut out);
        }
        State::settle(&mut state, out, self);
    }
}

/// `None` also for the names of files that lie beside the page.
pub(crate) fn room_key(room: &str) -> Option<RoomKey> {
    RoomKey::normalise(room).filter(|key| !assets::exists(key.as_str()))
}

pub(crate) type Done = tokio::sync::oneshot::Receiver<Result<(), CommandError>>;

pub(crate) fn put(spec: &ParticipantSpec) -> Command {
    Command::PutParticipant(Box::new(spec.clone()))
}

pub(crate) fn refusal(participant: ParticipantId, error: &CommandError) -> ErrorCode {
    tracing::warn!(%participant, "the relay refused a participant: {error}");
    match error {
        CommandError::Limit(_) => ErrorCode::ServerFull,
        CommandError::Invalid(_) => ErrorCode::BadOffer,
        CommandError::UnknownParticipant
        | CommandError::UnknownShard
        | CommandError::Moved
        | CommandError::Stale
        | CommandError::UfragTaken
        | CommandError::Busy
        | CommandError::Draining => ErrorCode::NoRelay,
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
