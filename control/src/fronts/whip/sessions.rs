//! WHIP and WHEP: participants whose signalling is a few HTTP requests. Everything that a later request needs is in its
//! address and in the room, so sessions survive a restart of control.

use crate::admission::door::{Claims, Closed, room_key};
use crate::admission::rates::Prefix;
use crate::http::caller::Host;
use crate::join::{Admission, ReadOffer, Refusal, Request, Ticket, put, refusal};
use crate::random;
use crate::relays::relay::candidates;
use crate::rooms::member::{Capabilities, Media, Presence};
use crate::rooms::names::person_name;
use crate::sdp::{IceFragment, LocalFragment, Purpose, SdpError};
use crate::service::{Service, State};
use plausch_relay_api::{IceParameters, MediaKind, ParticipantId, ParticipantSpec};
use plausch_signalling::IceServers;

/// What a `POST` says.
pub struct Visit {
    pub ticket: Ticket,
    pub purpose: Purpose,
    pub room: String,
    pub name: String,
    /// The id or name of who is to be watched; only for [`Purpose::Watch`].
    pub follows: Option<String>,
    pub claims: Claims,
    /// The host by which the client asked for this server.
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
pub enum Failure {
    Refused(Refusal),
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

impl<R: Into<Refusal>> From<R> for Failure {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Service {
    /// Lets a publisher or a viewer into a room. Must run to its end even if the client is gone meanwhile.
    pub async fn open(&self, visit: Visit) -> Result<Opened, Failure> {
        let Visit { ticket, purpose, room, name, follows, claims, host, sdp } = visit;
        let guest = ticket.guest(&room, &name)?;
        let presence = match (purpose, follows) {
            (Purpose::Publish, _) => Presence::Publisher,
            (Purpose::Watch, None) => Presence::Viewer { follows: None },
            (Purpose::Watch, Some(wanted)) => {
                Presence::Viewer { follows: Some(person_name(&wanted).ok_or(Refusal::BadName)?) }
            }
        };
        let (offer, remote) = purpose.read(sdp, &self.config.codecs).map_err(Failure::Sdp)?;
        let sent = remote.media_state();
        let request = Request {
            guest,
            session: self.next_session(),
            queue: None,
            presence,
            capabilities: Capabilities::new(),
            claims,
            media: Media { microphone: sent.microphone, camera: sent.camera, screen: sent.screen },
            resume: None,
        };
        let Admission::Enter(place) = self.admit(request).await? else {
            // Nobody waits without a queue.
            return Err(Refusal::Closed(Closed::CannotWait).into());
        };
        let offer = ReadOffer { id: offer.id, connection: offer.connection, remote };
        let arrival = self.complete(place, Some(&offer), host.as_ref()).await?;
        let token = self.secret.resource(&arrival.key, arrival.participant);
        let (Some(answer), Some(tag)) = (arrival.answer, arrival.ice_tag) else { return Err(Refusal::NoRelay.into()) };
        Ok(Opened { token, answer, tag, ice: arrival.ice })
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
    ) -> Result<Patched, Failure> {
        let restart = self.change(|state, _| {
            let participant = self.resource(state, purpose, room, token).ok_or(Failure::NotFound)?;
            let current = state.rooms.spec(participant).ok_or(Failure::NotFound)?;
            let current = current.transport.ice().ok_or(Failure::NotFound)?;
            if !matches(&current.local_ufrag) {
                return Err(Failure::Outdated);
            }
            let fragment = IceFragment::read(fragment).map_err(Failure::Sdp)?;
            if fragment.ufrag == current.remote_ufrag {
                return Ok(None);
            }
            let ice = IceParameters {
                local_ufrag: random::ice_chars::<12>(),
                local_pwd: random::ice_chars::<24>().into(),
                remote_ufrag: fragment.ufrag,
                remote_pwd: fragment.pwd.into(),
                mode: Default::default(),
            };
            self.ticket(prefix)?;
            let relay = state.rooms.relay_of(participant).and_then(|relay| state.relays.get_mut(relay));
            let relay = relay.ok_or(Refusal::NoRelay)?;
            let (spec, before) = state.rooms.restart_ice(participant, ice).ok_or(Failure::NotFound)?;
            match relay.ask(put(&spec)) {
                Some(done) => Ok(Some((spec, before, relay.hello.clone(), done))),
                None => {
                    state.rooms.undo_restart(&spec, before);
                    Err(Refusal::NoRelay.into())
                }
            }
        })?;
        let Some((spec, before, hello, done)) = restart else { return Ok(Patched::Trickled) };
        let result = match self.wait(done).await {
            Ok(result) => result.map_err(|error| refusal(spec.participant, &error)),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = result {
            self.change(|state, _| state.rooms.undo_restart(&spec, before));
            return Err(refusal.into());
        }
        let (kind, mid) = first_line(&spec).ok_or(Failure::NotFound)?;
        let ice = spec.transport.ice().ok_or(Failure::NotFound)?;
        let (ufrag, pwd) = (&ice.local_ufrag, ice.local_pwd.reveal());
        let candidates = candidates(&hello, spec.shard);
        let fragment = LocalFragment { ufrag, pwd, kind, mid, candidates }.text();
        Ok(Patched::Restarted { tag: ufrag.clone(), fragment })
    }

    /// The session is over.
    pub fn close(&self, purpose: Purpose, room: &str, token: &str) -> Result<(), Failure> {
        self.change(|state, out| {
            let participant = self.resource(state, purpose, room, token).ok_or(Failure::NotFound)?;
            state.rooms.remove(participant, out);
            tracing::info!(%participant, "left over HTTP");
            Ok(())
        })
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
