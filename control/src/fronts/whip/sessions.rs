//! WHIP and WHEP: participants whose signalling is a few HTTP requests. Everything that a later request needs is in its
//! address and in the room, so sessions survive a restart of control.

use crate::admission::rates::Prefix;
use crate::http::caller::Host;
use crate::join::{Served, put, refusal, room_key};
use crate::random;
use crate::relays::relay::candidates;
use crate::rooms::Entry;
use crate::rooms::member::Presence;
use crate::rooms::names::{person_name, room_title};
use crate::rooms::room::Outbox;
use crate::sdp::{IceFragment, LocalFragment, Purpose, SdpError};
use crate::service::{Service, State};
use plausch_relay_api::{IceParameters, MediaKind, ParticipantId, ParticipantSpec, RoomId};
use plausch_signalling::{ErrorCode, IceServers};
use std::sync::atomic::Ordering::Relaxed;

/// What a `POST` says.
#[derive(Debug)]
pub struct Visit {
    pub purpose: Purpose,
    pub room: String,
    pub name: String,
    /// The id or name of who is to be watched; only for [`Purpose::Watch`].
    pub follows: Option<String>,
    /// By which the client asked for this server.
    pub host: Option<Host>,
    pub sdp: String,
}

/// A session that began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The last part of its address: who knows it may end the session.
    pub token: String,
    pub answer: String,
    /// Names the ICE session.
    pub tag: String,
    pub ice: Option<IceServers>,
}

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    Code(ErrorCode),
    Sdp(SdpError),
    /// No such session.
    NotFound,
    /// The ICE session is another one by now.
    Outdated,
}

/// What a `PATCH` did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Patched {
    /// Nothing: a lite agent needs no candidates.
    Trickled,
    Restarted {
        tag: String,
        fragment: String,
    },
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<SdpError> for Refusal {
    fn from(error: SdpError) -> Self {
        Self::Sdp(error)
    }
}

impl Service {
    /// A request to join over HTTP may be read: the address has a join left.
    pub fn may_open(&self, prefix: Option<Prefix>) -> bool {
        self.may_join(prefix)
    }

    /// Lets a publisher or a viewer into a room. Must run to its end even if the client is gone meanwhile.
    pub async fn open(&self, visit: Visit) -> Result<Opened, Refusal> {
        let Visit { purpose, room, name, follows, host, sdp } = visit;
        let key = room_key(&room).ok_or(ErrorCode::BadRoomName)?;
        let name = person_name(&name).ok_or(ErrorCode::BadName)?;
        let presence = match (purpose, follows) {
            (Purpose::Publish, _) => Presence::Publisher,
            (Purpose::Watch, None) => Presence::Viewer { follows: None },
            (Purpose::Watch, Some(wanted)) => {
                Presence::Viewer { follows: Some(person_name(&wanted).ok_or(ErrorCode::BadName)?) }
            }
        };
        let (offer, remote) = purpose.read(sdp, &self.config.codecs)?;
        self.wait_for_relay().await?;

        let participant = ParticipantId(random::id());
        let session = self.next_session();
        let entry = Entry {
            participant,
            session,
            title: room_title(&room),
            key: key.clone(),
            name,
            presence,
            media: remote.media_state(),
            new_room: RoomId(random::id()),
        };
        {
            let mut state = self.state();
            let mut out = Outbox::default();
            let shards = state.shards();
            state.rooms.enter(entry, &shards, &mut out)?;
            state.settle(out, self);
        }
        let (spec, answer) = match self.serve(participant, session, &offer, &remote).await {
            Ok(Served::Answered { spec, answer }) => (spec, answer),
            Ok(Served::Stale) => {
                self.give_up(participant, session);
                return Err(ErrorCode::NoRelay.into());
            }
            Err(problem) => {
                self.give_up(participant, session);
                return Err(problem.code.into());
            }
        };
        let tag = spec.transport.ice().map(|ice| ice.local_ufrag.clone()).unwrap_or_default();
        let shard = spec.shard;
        let mut state = self.state();
        let mut out = Outbox::default();
        if !state.rooms.commit(*spec, session, &mut out) {
            return Err(ErrorCode::NoRelay.into());
        }
        state.rooms.stand_alone(participant, self.now());
        state.settle(out, self);
        self.metrics.joins.fetch_add(1, Relaxed);
        tracing::info!(%participant, ?purpose, "joined over HTTP");
        let ice = self.ice_servers_at(&state, shard, host.as_ref());
        Ok(Opened { token: self.secret.resource(&key, participant), answer: answer.sdp, tag, ice })
    }

    /// Candidates, or an ICE restart. `matches` says whether the client means the ICE session of this tag.
    pub async fn patch(
        &self,
        prefix: Option<Prefix>,
        purpose: Purpose,
        room: &str,
        token: &str,
        matches: impl Fn(&str) -> bool,
        fragment: &str,
    ) -> Result<Patched, Refusal> {
        let (spec, before, done) = {
            let mut state = self.state();
            let participant = self.resource(&state, purpose, room, token).ok_or(Refusal::NotFound)?;
            let current = state.rooms.spec(participant).ok_or(Refusal::NotFound)?;
            let current = current.transport.ice().ok_or(Refusal::NotFound)?;
            if !matches(&current.local_ufrag) {
                return Err(Refusal::Outdated);
            }
            let fragment = IceFragment::read(fragment)?;
            if fragment.ufrag == current.remote_ufrag {
                return Ok(Patched::Trickled);
            }
            if !self.may_join(prefix) {
                return Err(ErrorCode::RateLimited.into());
            }
            let ice = IceParameters {
                local_ufrag: random::ice_chars::<12>(),
                local_pwd: random::ice_chars::<24>().into(),
                remote_ufrag: fragment.ufrag,
                remote_pwd: fragment.pwd.into(),
            };
            if state.relay.is_none() {
                return Err(ErrorCode::NoRelay.into());
            }
            let (spec, before) = state.rooms.restart_ice(participant, ice).ok_or(Refusal::NotFound)?;
            let Some(done) = state.relay.as_mut().and_then(|relay| relay.ask(put(&spec))) else {
                state.rooms.undo_restart(&spec, before);
                return Err(ErrorCode::NoRelay.into());
            };
            (spec, before, done)
        };
        let result = match self.wait(done).await {
            Ok(result) => result.map_err(|error| refusal(spec.participant, &error)),
            Err(code) => Err(code),
        };
        let mut state = self.state();
        if let Err(code) = result {
            state.rooms.undo_restart(&spec, before);
            return Err(code.into());
        }
        let hello = state.relay.as_ref().map(|relay| relay.hello.clone()).ok_or(ErrorCode::NoRelay)?;
        drop(state);
        let (kind, mid) = first_line(&spec).ok_or(Refusal::NotFound)?;
        let ice = spec.transport.ice().ok_or(Refusal::NotFound)?;
        let (ufrag, pwd) = (&ice.local_ufrag, ice.local_pwd.reveal());
        let candidates = candidates(&hello, spec.shard);
        let fragment = LocalFragment { ufrag, pwd, kind, mid, candidates }.text();
        Ok(Patched::Restarted { tag: ufrag.clone(), fragment })
    }

    /// The session is over.
    pub fn close(&self, purpose: Purpose, room: &str, token: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let participant = self.resource(&state, purpose, room, token).ok_or(Refusal::NotFound)?;
        let mut out = Outbox::default();
        state.rooms.remove(participant, &mut out);
        state.settle(out, self);
        tracing::info!(%participant, "left over HTTP");
        Ok(())
    }

    /// Who is meant by the address of a session.
    fn resource(&self, state: &State, purpose: Purpose, room: &str, token: &str) -> Option<ParticipantId> {
        let participant = self.secret.verify_resource(&room_key(room)?, token)?;
        let fits = match state.rooms.presence(participant)? {
            Presence::Signalling => false,
            Presence::Publisher => purpose == Purpose::Publish,
            Presence::Viewer { .. } => purpose == Purpose::Watch,
        };
        fits.then_some(participant)
    }
}

/// An m-line of the answer: all of them are of one transport.
fn first_line(spec: &ParticipantSpec) -> Option<(MediaKind, &str)> {
    let sent = spec.sends.first().map(|send| (send.kind.media(), send.mid.as_str()));
    let watched = |media| Some((media, spec.slots.first()?.stream(media)?.mid.as_str()));
    sent.or_else(|| watched(MediaKind::Audio)).or_else(|| watched(MediaKind::Video))
}
