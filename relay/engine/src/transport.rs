//! STUN and DTLS: how a participant's transport comes and goes.

use crate::access::Access;
use crate::batch::{Path, TxBatch};
use crate::checks::ROLE_CONFLICT;
use crate::effect::{DtlsInput, Effect, SessionKeys};
use crate::engine::Engine;
use crate::ice::Agent;
use crate::participant::{Keys, Participant, Phase};
use crate::slab::Key;
use crate::slot::Slot;
use crate::srtp::{Inbound, KeyError, Outbound};
use crate::stream::Stream;
use crate::stun::{
    Class, FingerprintCheck, IntegrityCheck, IntegrityKey, Message, MessageWriter, Method, TransactionId,
};
use crate::time::Time;
use crate::turn::Inner;
use plausch_relay_api::{BrowserTransport, DisconnectReason, DtlsRole, ParticipantId, SrtpKeys, Transport};

/// An answer with IPv6 address, integrity and fingerprint has 88 bytes, an error answer less than 120.
const STUN_ANSWER_BYTES: usize = 160;

impl Engine {
    /// An ICE check, or a message of TURN or of plain STUN. A packet in it may be for this shard.
    pub(crate) fn receive_stun(&mut self, path: Path, datagram: &[u8], now: Time, tx: &mut TxBatch) -> Option<Inner> {
        if self.is_keyed(path) {
            // Neither ICE nor TURN gets at a path that control has given away.
            self.counters.drop_keyed_protocol += 1;
            return None;
        }
        let Ok(message) = Message::parse(datagram) else {
            self.counters.drop_stun_malformed += 1;
            return None;
        };
        if Self::is_check_answer(&message) {
            self.receive_check_answer(path, &message, now);
            return None;
        }
        // Nothing but TURN comes through the edge.
        let is_check = (message.class, message.method) == (Class::Request, Method::BINDING)
            && message.username().is_some()
            && !path.local.is_edge();
        if !is_check && let Some((turn, mut cx)) = self.turn(now, tx) {
            return turn.receive_message(path, &message, &mut cx);
        }
        self.receive_check(path, &message, now, tx);
        None
    }

    /// A Binding request (RFC 8445, section 7.3). Strangers get no answer and leave nothing behind.
    pub(crate) fn receive_check(&mut self, path: Path, message: &Message<'_>, now: Time, tx: &mut TxBatch) {
        if Self::is_check_answer(message) {
            return self.receive_check_answer(path, message, now);
        }
        if (message.class, message.method) != (Class::Request, Method::BINDING) {
            self.counters.drop_stun_malformed += 1;
            return;
        }
        // RFC 8445, section 7.1: checks carry FINGERPRINT.
        if message.check_fingerprint() != FingerprintCheck::Valid {
            self.counters.drop_stun_fingerprint += 1;
            return;
        }
        let user = message.username_fragments().and_then(|(ufrag, _)| Some((ufrag, *self.by_ufrag.get(ufrag)?)));
        let Some((ufrag, key)) = user else {
            self.counters.drop_stun_unknown_user += 1;
            return;
        };
        let holder = self.peers.find(path).filter(|&holder| holder != key);
        let holder = holder.and_then(|holder| self.participants.get(holder));
        let taken = holder.is_some_and(|holder| holder.access.holds(path, now));
        let Some(agent) = self.participants.get_mut(key).and_then(|participant| participant.access.agent_mut()) else {
            return;
        };
        if agent.key(ufrag).map(|integrity| message.check_integrity(integrity)) != Some(IntegrityCheck::Valid) {
            self.counters.drop_stun_integrity += 1;
            return;
        }
        let unknown = message.unknown_required(&[]);
        let refused = match unknown.is_empty() {
            false => Some(420),
            true => agent.conflicts(message.ice_role()).then_some(ROLE_CONFLICT),
        };
        let Some(integrity) = agent.key(ufrag) else { return };
        let answer = Answer { path, transaction_id: message.transaction_id, integrity };
        if let Some(code) = refused {
            match code {
                ROLE_CONFLICT => self.counters.stun_role_conflicts += 1,
                _ => self.counters.stun_unknown_attributes += 1,
            }
            let sent = answer.send(tx, Class::Error, |writer| {
                writer.error_code(code, "");
                if !unknown.is_empty() {
                    writer.unknown_attributes(unknown.as_slice());
                }
            });
            self.counters.drop_tx_full += u64::from(!sent);
            return;
        }
        if taken {
            self.counters.drop_stun_path_taken += 1;
            return;
        }
        self.counters.stun_checks += 1;
        let sent = answer.send(tx, Class::Success, |writer| {
            writer.xor_mapped_address(path.remote);
        });
        self.counters.drop_tx_full += u64::from(!sent);
        self.note_check(key, path, ufrag, message, now);
    }

    fn note_check(&mut self, key: Key<Participant>, path: Path, ufrag: &[u8], message: &Message<'_>, now: Time) {
        let Some(agent) = self.participants.get_mut(key).and_then(|participant| participant.access.agent_mut()) else {
            return;
        };
        if let Some(previous) = agent.previous_ufrag()
            && previous != ufrag
        {
            self.by_ufrag.remove(previous);
        }
        let outcome = agent.check(path, ufrag, message.use_candidate(), message.len(), now);
        self.counters.ice_restarts += u64::from(outcome.restarted);
        self.counters.path_changes += u64::from(outcome.moved);
        if let Some(evicted) = outcome.evicted {
            self.peers.remove(evicted, key);
            self.counters.tuples -= 1;
        }
        if outcome.new_path {
            self.take_path(path, key);
        }
        self.begin_dtls(key);
        self.touch(key);
    }

    /// Asks for our ClientHello where we are the DTLS client, from the first path that has answered our check until there
    /// is an answer to that, too.
    pub(crate) fn begin_dtls(&mut self, key: Key<Participant>) {
        let participant = self.participants.get_mut(key);
        let Some(participant) = participant.filter(|participant| participant.access.send_path().is_some()) else {
            return;
        };
        let Transport::Browser(BrowserTransport { remote_fingerprint, dtls_role: DtlsRole::Client, .. }) =
            participant.spec.transport
        else {
            return;
        };
        let transport = &mut participant.transport;
        if !matches!(transport.phase, Phase::Connecting { .. }) || transport.dtls_answered() {
            return;
        }
        if !transport.dtls_begun {
            transport.dtls_begun = true;
            self.counters.handshakes += 1;
        }
        self.effects.push_back(Effect::DtlsConnect {
            participant: participant.spec.participant,
            generation: participant.spec.generation,
            fingerprint: remote_fingerprint,
        });
    }

    /// Gives a path to a participant, and takes it from the one that had it.
    fn take_path(&mut self, path: Path, key: Key<Participant>) {
        self.counters.tuples += 1;
        let before = self.peers.insert(path, key).and_then(|before| self.participants.get_mut(before));
        if let Some(loser) = before.and_then(|before| before.access.agent_mut()) {
            loser.lose_path(path);
            self.counters.tuples -= 1;
        }
    }

    /// Whether control has given this path to a keyed participant.
    fn is_keyed(&self, path: Path) -> bool {
        let holder = self.peers.find(path).and_then(|key| self.participants.get(key));
        holder.is_some_and(|holder| holder.access.agent().is_none())
    }

    /// Gives a keyed participant its path and its keys.
    pub(crate) fn enter_keyed(&mut self, key: Key<Participant>, keys: Keys, now: Time, tx: &mut TxBatch) {
        let Some(path) = self.participants.get(key).and_then(|participant| participant.access.send_path()) else {
            return;
        };
        if let Some((turn, mut cx)) = self.turn(now, tx) {
            turn.client_gone(path, &mut cx);
        }
        self.take_path(path, key);
        self.set_keys(key, keys, now);
    }

    /// A DTLS datagram, for a handshake thread: only from a path that passed a check, and not without limit.
    pub(crate) fn receive_dtls(&mut self, path: Path, datagram: &[u8]) {
        let Some(key) = self.peers.find(path) else {
            self.counters.drop_dtls_unchecked += 1;
            return;
        };
        let Some(participant) = self.participants.get_mut(key) else { return };
        let Some(fingerprint) = participant.spec.transport.remote_fingerprint() else {
            self.counters.drop_keyed_protocol += 1;
            return;
        };
        if let Some(agent) = participant.access.agent_mut() {
            agent.note_dtls(path, datagram.len());
        }
        let transport = &mut participant.transport;
        let begins = !transport.dtls_begun;
        // How many handshakes there may be is judged where it is seen that one begins: any byte gets here.
        if !transport.admit_dtls() {
            self.counters.drop_dtls_limit += 1;
            return;
        }
        if begins {
            transport.dtls_begun = true;
            self.counters.handshakes += 1;
        }
        self.counters.dtls_datagrams += 1;
        self.effects.push_back(Effect::Dtls {
            participant: participant.spec.participant,
            generation: participant.spec.generation,
            fingerprint,
            datagram: datagram.to_vec(),
        });
    }

    /// What a handshake thread says.
    pub(crate) fn dtls_input(
        &mut self,
        participant: ParticipantId,
        generation: u32,
        input: DtlsInput,
        now: Time,
        tx: &mut TxBatch,
    ) {
        let key = self.by_id.get(&participant).copied().filter(|&key| {
            self.participants.get(key).is_some_and(|participant| {
                participant.spec.generation == generation && !matches!(participant.transport.phase, Phase::Over)
            })
        });
        let Some(key) = key else {
            self.counters.drop_dtls_stale += 1;
            return;
        };
        match input {
            DtlsInput::Send(datagrams) => {
                let access = self.participants.get_mut(key).map(|participant| &mut participant.access);
                let path = access.as_ref().and_then(|access| access.dtls_path());
                let (Some(path), Some(agent)) = (path, access.and_then(Access::agent_mut)) else {
                    self.counters.drop_dtls_stale += 1;
                    return;
                };
                for datagram in datagrams.iter().filter(|datagram| !datagram.is_empty()) {
                    if !agent.admit_dtls(path, datagram.len(), now) {
                        self.counters.drop_dtls_no_consent += 1;
                        continue;
                    }
                    let sent = tx.push(path, datagram);
                    self.counters.drop_tx_full += u64::from(!sent);
                }
            }
            DtlsInput::Keys(session) => self.connect(key, &session, now),
            DtlsInput::Failed => self.disconnect(key, DisconnectReason::DtlsFailed),
            DtlsInput::Closed => self.disconnect(key, DisconnectReason::DtlsClosed),
        }
    }

    fn connect(&mut self, key: Key<Participant>, session: &SessionKeys, now: Time) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        if !matches!(participant.transport.phase, Phase::Connecting { .. }) {
            // Sequence numbers under the same keys must not begin again.
            self.counters.drop_dtls_stale += 1;
            return;
        }
        let Ok(keys) = srtp_keys(session) else {
            self.disconnect(key, DisconnectReason::DtlsFailed);
            return;
        };
        if participant.transport.dtls_begun {
            self.counters.handshakes -= 1;
        }
        // Keys that came without a datagram of ours (a simulation's) are a session all the same.
        participant.transport.dtls_begun = true;
        self.set_keys(key, keys, now);
    }

    /// The participant is connected from now on.
    fn set_keys(&mut self, key: Key<Participant>, keys: Keys, now: Time) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        participant.transport.connect(keys, now);
        self.counters.connected += 1;
        self.effects.push_back(Effect::Connected {
            participant: participant.spec.participant,
            generation: participant.spec.generation,
        });
        self.request_key_frames(key, false, now);
        self.touch(key);
    }

    /// The transport is over; what control said stays until control takes it back.
    pub(crate) fn disconnect(&mut self, key: Key<Participant>, reason: DisconnectReason) {
        let Some(participant) = self.participants.get(key) else { return };
        let (id, generation) = (participant.spec.participant, participant.spec.generation);
        self.close_transport(key);
        self.effects.push_back(Effect::Disconnected { participant: id, generation, reason });
    }

    /// Frees what the transport holds. Nothing is sent to or taken from the participant any more.
    pub(crate) fn close_transport(&mut self, key: Key<Participant>) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let Participant { spec, room, access, transport, uplink, downlink, .. } = participant;
        match transport.phase {
            Phase::Over => return,
            Phase::Connected(_) => self.counters.connected -= 1,
            Phase::Connecting { .. } => self.counters.handshakes -= u64::from(transport.dtls_begun),
        }
        if transport.dtls_begun {
            self.effects.push_back(Effect::DtlsEnd { participant: spec.participant, generation: spec.generation });
        }
        transport.phase = Phase::Over;
        for path in access.paths() {
            self.peers.remove(path, key);
            self.counters.tuples -= 1;
        }
        for ufrag in access.agent().into_iter().flat_map(Agent::ufrags) {
            self.by_ufrag.remove(ufrag);
        }
        access.close();
        self.counters.ssrcs -= uplink.bindings.len() as u64;
        uplink.bindings = Vec::new();
        uplink.arrivals = None;
        if let Some(room) = self.rooms.get_mut(*room) {
            // What has gathered of it is not sent any more.
            room.batch.retain(|waiting| uplink.tracks().all(|track| track != waiting.packet.source.track));
        }
        for track in uplink.tracks() {
            if let Some(track) = self.tracks.get_mut(track) {
                track.reset();
            }
        }
        downlink.slots.iter_mut().flat_map(Slot::streams_mut).for_each(Stream::release);
        self.touch(key);
    }
}

fn srtp_keys(session: &SessionKeys) -> Result<Keys, KeyError> {
    Ok(Keys {
        inbound: Inbound::new(session.profile, &session.remote_key, &session.remote_salt)?,
        outbound: Outbound::new(session.profile, &session.local_key, &session.local_salt)?,
    })
}

/// SRTP of a keyed participant.
pub(crate) fn keyed_srtp(keys: &SrtpKeys) -> Result<Keys, KeyError> {
    let SrtpKeys { profile, from_participant, to_participant } = keys;
    Ok(Keys {
        inbound: Inbound::new(*profile, &from_participant.key, &from_participant.salt)?,
        outbound: Outbound::new(*profile, &to_participant.key, &to_participant.salt)?,
    })
}

/// An answer to an authenticated request, on the path that it came on.
struct Answer<'a> {
    path: Path,
    transaction_id: TransactionId,
    integrity: &'a IntegrityKey,
}

impl Answer<'_> {
    fn send(&self, tx: &mut TxBatch, class: Class, fill: impl FnOnce(&mut MessageWriter<'_>)) -> bool {
        let Some(buffer) = tx.reserve(self.path, STUN_ANSWER_BYTES) else { return false };
        let mut writer = MessageWriter::new(buffer, class, Method::BINDING, self.transaction_id);
        fill(&mut writer);
        let Some(len) = writer.integrity(self.integrity).fingerprint().finish() else { return false };
        tx.commit(len);
        true
    }
}
