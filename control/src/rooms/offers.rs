//! From a browser's offer to what the relay is told, and what its answer means for the room.

use super::Rooms;
use super::events::Outbox;
use super::member::{Flow, Transport};
use crate::relays::placement::{Locations, RelayId};
use crate::sdp::{RemoteOffer, SlotLines};
use plausch_relay_api::{
    BrowserTransport, Command, IceParameters, ParticipantId, ParticipantSpec, SlotId, SlotSpec, SlotStream,
    Transport as RelayTransport,
};

/// Random values for an offer; which of them are needed shows only when it is compared with the one before.
#[derive(Clone, Debug)]
pub struct Fresh {
    pub ufrag: String,
    pub pwd: String,
    /// Two for each slot of the offer, all different and different from the browser's.
    pub ssrcs: Vec<u32>,
}

/// Why an offer changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OfferError {
    /// Of a PeerConnection that is over: the browser already knows, or is about to learn.
    #[error("the offer is of a connection that is over")]
    Stale,
    #[error("an offer of the same connection may only append slots")]
    SlotsChanged,
    #[error("an offer of the same connection must keep the certificate")]
    CertificateChanged,
    /// The session is over, or the participant is in no room.
    #[error("the participant is not in a room")]
    Gone,
    /// The room's relay is away for a moment, or the room has just been moved from it; the next offer finds a place.
    #[error("the room has no relay at the moment")]
    Nowhere,
}

/// What a relay must be told so that it serves an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    pub relay: RelayId,
    pub spec: ParticipantSpec,
}

impl Rooms {
    /// What the relay must be told so that it serves this offer.
    pub fn plan(
        &mut self,
        participant: ParticipantId,
        connection: u32,
        offer: &RemoteOffer,
        fresh: Fresh,
        locations: &Locations,
    ) -> Result<Planned, OfferError> {
        self.place_room(participant, locations)?;
        let note = self.note(participant).ok_or(OfferError::Gone)?;
        let room = self.room_of(participant).ok_or(OfferError::Gone)?;
        let member = room.members.get(&participant).ok_or(OfferError::Gone)?;

        let previous = match member.transport() {
            Some(transport) if connection < transport.spec.generation => return Err(OfferError::Stale),
            Some(transport) if connection == transport.spec.generation && transport.flow == Flow::Lost => {
                return Err(OfferError::Stale);
            }
            Some(transport) if connection == transport.spec.generation => Some(&transport.spec),
            _ => None,
        };
        let ice = |local_ufrag, local_pwd: String| IceParameters {
            local_ufrag,
            local_pwd: local_pwd.into(),
            remote_ufrag: offer.ufrag.clone(),
            remote_pwd: offer.pwd.clone().into(),
            mode: Default::default(),
        };
        let (ice, kept) = match previous {
            Some(spec) => {
                if spec.transport.remote_fingerprint() != Some(offer.fingerprint) {
                    return Err(OfferError::CertificateChanged);
                }
                let same = |slot: &SlotSpec, lines: &SlotLines| {
                    let mid = |stream: &Option<SlotStream>| stream.as_ref().map(|stream| stream.mid.clone());
                    (mid(&slot.audio), mid(&slot.video)) == (lines.audio.clone(), lines.video.clone())
                };
                if offer.slots.len() < spec.slots.len()
                    || !spec.slots.iter().zip(&offer.slots).all(|(slot, lines)| same(slot, lines))
                {
                    return Err(OfferError::SlotsChanged);
                }
                // A new user fragment of the browser is an ICE restart, which changes ours too (RFC 8839, 4.4.1).
                let kept = spec.transport.ice().filter(|ice| ice.remote_ufrag == offer.ufrag);
                (kept.cloned().unwrap_or_else(|| ice(fresh.ufrag, fresh.pwd)), spec.slots.as_slice())
            }
            None => (ice(fresh.ufrag, fresh.pwd), &[][..]),
        };
        let taken = |ssrc: &u32| kept.iter().flat_map(SlotSpec::streams).any(|stream| stream.ssrc == *ssrc);
        let mut ssrcs = fresh.ssrcs.into_iter().filter(|ssrc| !taken(ssrc));
        let mut slots = kept.to_vec();
        for (n, lines) in offer.slots.iter().enumerate().skip(kept.len()) {
            let (Some(audio_ssrc), Some(video_ssrc)) = (ssrcs.next(), ssrcs.next()) else { break };
            let stream = |mid: &Option<String>, ssrc| mid.as_ref().map(|mid| SlotStream::new(mid, ssrc));
            let (audio, video) = (stream(&lines.audio, audio_ssrc), stream(&lines.video, video_ssrc));
            slots.push(SlotSpec { slot: SlotId(n as u16), audio, video });
        }
        let spec = ParticipantSpec {
            participant,
            room: room.id,
            shard: room.location.shard,
            generation: connection,
            transport: RelayTransport::Browser(BrowserTransport {
                ice,
                remote_fingerprint: offer.fingerprint,
                dtls_role: offer.dtls_role,
            }),
            codecs: offer.codecs.clone(),
            extensions: offer.extensions,
            sends: offer.sends.clone(),
            slots,
            note,
        };
        Ok(Planned { relay: room.location.relay.clone(), spec })
    }

    /// A room whose relay or shard is no more moves to another one; its media is lost in any case.
    fn place_room(&mut self, participant: ParticipantId, locations: &Locations) -> Result<(), OfferError> {
        let room = self.room_of(participant).ok_or(OfferError::Gone)?;
        let location = self.place(Some(room), locations).ok_or(OfferError::Nowhere)?;
        if let Some(room) = self.room_of_mut(participant) {
            room.location = location;
        }
        Ok(())
    }

    /// The relay has done what was planned for this session: the participant is there, with media. On an error nothing
    /// was changed.
    pub fn commit(&mut self, planned: Planned, session: u64, out: &mut Outbox) -> Result<(), OfferError> {
        let Planned { relay, spec } = planned;
        let participant = spec.participant;
        let room = self.room_of_mut(participant).ok_or(OfferError::Gone)?;
        let elsewhere = room.location.relay != relay || room.location.shard != spec.shard;
        let member = room.members.get_mut(&participant).ok_or(OfferError::Gone)?;
        if member.session() != Some(session) || member.is_waiting() {
            return Err(OfferError::Gone);
        }
        if elsewhere {
            out.commands.push((relay, Command::RemoveParticipant { participant }));
            return Err(OfferError::Nowhere);
        }
        let appears = member.sit_down(true);
        let same = member.live().is_some_and(|transport| transport.spec.generation == spec.generation);
        let flow = member.live().filter(|_| same).map_or(Flow::Connecting, |transport| transport.flow);
        let seat = member.seat_mut().ok_or(OfferError::Gone)?;
        seat.shown.resize(spec.slots.len(), None);
        seat.transport = Some(Transport { spec, flow });
        if appears {
            self.joined(participant, out);
        } else {
            room.rearrange(out);
        }
        if let Some(room) = self.room_of(participant)
            && !same
        {
            room.command_assignments(participant, out);
            // Who just appeared has this moment been given to the viewers.
            if !appears {
                room.command_viewers(participant, out);
            }
        }
        self.refresh_connected(participant, out);
        // What changed while the command was on its way is not in its note.
        let note = self.note(participant);
        let planned =
            self.member(participant).and_then(|member| member.transport()).map(|transport| transport.spec.note.clone());
        if let Some(note) = note
            && planned.as_ref() != Some(&note)
        {
            out.commands.push((relay, Command::SetNote { participant, note }));
        }
        Ok(())
    }
}
