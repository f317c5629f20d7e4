//! Whether what control says of a participant can be.

use plausch_relay_api::limits::{
    CODECS_PER_PARTICIPANT, LAYERS_PER_TRACK, MID_BYTES, NOTE_BYTES, SLOTS_PER_PARTICIPANT, SSRCS_PER_PARTICIPANT,
    TRACKS_PER_PARTICIPANT,
};
use plausch_relay_api::{
    CommandError, ExtensionIds, IceParameters, KeyedTransport, ParticipantSpec, SlotAssignment, SlotSpec, Transport,
};
use std::collections::BTreeSet;

/// RFC 8839, section 5.4: user fragments have 4 to 256 characters, passwords 22 to 256.
const UFRAG_CHARS: std::ops::RangeInclusive<usize> = 4..=256;
const PWD_CHARS: std::ops::RangeInclusive<usize> = 22..=256;

fn invalid<T>(what: &str) -> Result<T, CommandError> {
    Err(CommandError::Invalid(what.to_owned()))
}

fn limit<T>(what: &str) -> Result<T, CommandError> {
    Err(CommandError::Limit(what.to_owned()))
}

/// Whether each value comes once.
fn distinct<T: Ord>(values: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    values.into_iter().all(|value| seen.insert(value))
}

/// Checks a spec by itself.
pub(crate) fn check(spec: &ParticipantSpec) -> Result<(), CommandError> {
    match &spec.transport {
        Transport::Browser(browser) => check_ice(&browser.ice)?,
        Transport::Keyed { keyed } => check_keyed(keyed)?,
    }
    if spec.note.reveal().len() > NOTE_BYTES {
        return limit("bytes of the note");
    }
    check_codecs(spec)?;
    check_extensions(&spec.extensions)?;
    check_sends(spec)?;
    check_slots(spec)
}

fn check_ice(ice: &IceParameters) -> Result<(), CommandError> {
    let ufrags = [&ice.local_ufrag, &ice.remote_ufrag];
    let pwds = [&ice.local_pwd, &ice.remote_pwd];
    if ufrags.iter().any(|ufrag| !UFRAG_CHARS.contains(&ufrag.len())) {
        return invalid("an ICE user fragment has 4 to 256 characters");
    }
    if pwds.iter().any(|pwd| !PWD_CHARS.contains(&pwd.reveal().len())) {
        return invalid("an ICE password has 22 to 256 characters");
    }
    Ok(())
}

fn check_keyed(keyed: &KeyedTransport) -> Result<(), CommandError> {
    if keyed.remote.ip().is_unspecified() || keyed.remote.ip().is_multicast() || keyed.remote.port() == 0 {
        return invalid("the address of a keyed participant is one to which packets can be sent");
    }
    if keyed.local.is_ipv4() != keyed.remote.is_ipv4() {
        return invalid("both addresses of a keyed participant are of one family");
    }
    if keyed.keys.from_participant == keyed.keys.to_participant {
        // One key stream for both directions would give both away.
        return invalid("the keys of a keyed participant differ by direction");
    }
    Ok(())
}

fn check_codecs(spec: &ParticipantSpec) -> Result<(), CommandError> {
    if spec.codecs.len() > CODECS_PER_PARTICIPANT {
        return limit("codecs of a participant");
    }
    let types =
        spec.codecs.iter().flat_map(|mapping| std::iter::once(mapping.payload_type).chain(mapping.rtx_payload_type));
    if types.clone().any(|payload_type| payload_type > 127 || (64..=95).contains(&payload_type)) {
        return invalid("a payload type is 0 to 63 or 96 to 127");
    }
    if !distinct(types) || !distinct(spec.codecs.iter().map(|mapping| mapping.codec as u8)) {
        return invalid("a codec or payload type is named twice");
    }
    Ok(())
}

fn check_extensions(ids: &ExtensionIds) -> Result<(), CommandError> {
    let ids = [ids.mid, ids.rid, ids.audio_level, ids.transport_cc, ids.dependency_descriptor];
    let ids = ids.into_iter().flatten();
    if ids.clone().any(|id| !(1..=14).contains(&id)) || !distinct(ids) {
        return invalid("header extension ids are 1 to 14 and each is used once");
    }
    Ok(())
}

fn is_mid(mid: &str) -> bool {
    (1..=MID_BYTES).contains(&mid.len())
}

fn check_sends(spec: &ParticipantSpec) -> Result<(), CommandError> {
    if spec.sends.len() > TRACKS_PER_PARTICIPANT {
        return limit("tracks of a participant");
    }
    for send in &spec.sends {
        if send.rids.len() > LAYERS_PER_TRACK {
            return limit("simulcast layers of a track");
        }
        if send.ssrcs.len() > SSRCS_PER_PARTICIPANT {
            return limit("SSRCs of a track");
        }
        if !is_mid(&send.mid) || !send.rids.iter().all(|rid| is_mid(rid)) || !distinct(&send.rids) {
            return invalid("a MID or RID has 1 to 16 bytes, and RIDs differ");
        }
    }
    if !distinct(spec.sends.iter().map(|send| send.kind)) {
        return invalid("two tracks are of one kind");
    }
    Ok(())
}

fn check_slots(spec: &ParticipantSpec) -> Result<(), CommandError> {
    if spec.slots.len() > SLOTS_PER_PARTICIPANT {
        return limit("slots of a participant");
    }
    if !distinct(spec.slots.iter().map(|slot| slot.slot)) {
        return invalid("two slots have one id");
    }
    if !distinct(spec.slots.iter().flat_map(SlotSpec::streams).map(|stream| stream.ssrc)) {
        return invalid("two streams have one SSRC");
    }
    if spec.slots.iter().any(|slot| slot.streams().next().is_none()) {
        return invalid("a slot has no stream");
    }
    let mids = || spec.slots.iter().flat_map(SlotSpec::streams).map(|stream| &stream.mid);
    if !mids().all(|mid| is_mid(mid)) || !distinct(mids().chain(spec.sends.iter().map(|send| &send.mid))) {
        return invalid("a MID has 1 to 16 bytes, and MIDs differ");
    }
    Ok(())
}

/// Whether a spec may replace another of the same generation: packets that went out under the old one are
/// sent again as they were, so what they were written with stays.
pub(crate) fn check_same_generation(old: &ParticipantSpec, new: &ParticipantSpec) -> Result<(), CommandError> {
    match (&old.transport, &new.transport) {
        (Transport::Browser(old), Transport::Browser(new)) => {
            if (old.remote_fingerprint, old.dtls_role) != (new.remote_fingerprint, new.dtls_role) {
                return invalid("another certificate or DTLS role needs a new generation");
            }
            if old.ice.local_ufrag == new.ice.local_ufrag && old.ice.local_pwd != new.ice.local_pwd {
                return invalid("an ICE restart changes the user fragment too");
            }
        }
        (old, new) if old != new => return invalid("another transport needs a new generation"),
        _ => {}
    }
    if !old.codecs.iter().all(|mapping| new.codecs.contains(mapping)) {
        return invalid("a codec's payload type changes only with a new generation");
    }
    if !old.slots.iter().all(|slot| new.slots.contains(slot)) {
        // Its SSRC would begin anew with sequence numbers that were sealed already.
        return invalid("a slot goes or changes only with a new generation");
    }
    Ok(())
}

/// Whether a spec may follow another with a new generation: packets are counted anew, so no key may stay.
pub(crate) fn check_next_generation(old: &ParticipantSpec, new: &ParticipantSpec) -> Result<(), CommandError> {
    if let (Transport::Keyed { keyed: old }, Transport::Keyed { keyed: new }) = (&old.transport, &new.transport)
        && (old.keys.to_participant == new.keys.to_participant
            || old.keys.from_participant == new.keys.from_participant)
    {
        return invalid("a new generation of a keyed participant has new keys");
    }
    Ok(())
}

/// Checks assignments by themselves. Slots and sources that do not exist yet are allowed.
pub(crate) fn check_assignments(assignments: &[SlotAssignment]) -> Result<(), CommandError> {
    if assignments.len() > SLOTS_PER_PARTICIPANT {
        return limit("slots of a participant");
    }
    if !distinct(assignments.iter().map(|assignment| assignment.slot)) {
        return invalid("a slot is assigned twice");
    }
    if !distinct(assignments.iter().map(|assignment| (assignment.source.participant, assignment.source.source))) {
        return invalid("a source is assigned to two slots");
    }
    Ok(())
}
