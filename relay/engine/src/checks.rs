//! Our own ICE checks, and their answers: the consent that RFC 7675 asks for.

use crate::access::Access;
use crate::batch::{Path, TxBatch};
use crate::engine::Engine;
use crate::ice::CHECK_PRIORITY;
use crate::participant::Participant;
use crate::slab::Key;
use crate::stun::{Class, FingerprintCheck, IntegrityCheck, Message, MessageWriter, Method, TransactionId};
use crate::time::Time;
use aws_lc_rs::hmac;

/// The longest USERNAME has two fragments of 256 characters and a colon; see `ice`.
const CHECK_BYTES: usize = 20 + 4 + 516 + 8 + 12 + 4 + 24 + 8;
/// RFC 8445, section 16.2.
pub(crate) const ROLE_CONFLICT: u16 = 487;

/// Transaction ids of checks. An answer proves that somebody received the check, so nobody may guess the ids of checks
/// to others from those of checks to itself.
pub(crate) struct CheckIds {
    key: hmac::Key,
    next: u64,
}

impl CheckIds {
    /// `start` is another one in each life of a shard.
    pub(crate) fn new(key: &[u8; 32], start: u64) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), next: start }
    }

    fn next(&mut self) -> TransactionId {
        self.next = self.next.wrapping_add(1);
        let tag = hmac::sign(&self.key, &self.next.to_be_bytes());
        TransactionId(*tag.as_ref().first_chunk().unwrap_or(&[0; 12]))
    }
}

impl Engine {
    /// Sends the checks that are due.
    pub(crate) fn send_checks(&mut self, key: Key<Participant>, now: Time, tx: &mut TxBatch) {
        let Self { participants, check_ids, counters, .. } = self;
        let Some(participant) = participants.get_mut(key).filter(|participant| !participant.is_over()) else { return };
        let Access::Ice(agent) = &mut participant.access else { return };
        while let Some(check) = agent.take_check(now, || check_ids.next()) {
            let Some(buffer) = tx.reserve(check.path, CHECK_BYTES) else {
                counters.drop_tx_full += 1;
                return;
            };
            let (username, integrity) = agent.asking();
            let mut writer = MessageWriter::new(buffer, Class::Request, Method::BINDING, check.id);
            writer.username(username).priority(CHECK_PRIORITY).ice_role(check.role);
            if check.use_candidate {
                writer.use_candidate();
            }
            let written = writer.integrity(integrity).fingerprint().finish();
            if tx.commit_if(written) {
                counters.stun_checks_sent += 1;
            }
        }
    }

    /// Whether a message is an answer to a check, and not TURN's.
    pub(crate) fn is_check_answer(message: &Message<'_>) -> bool {
        message.method == Method::BINDING && matches!(message.class, Class::Success | Class::Error)
    }

    /// An answer to a check of ours (RFC 8445, section 7.2.5). It counts on the path that was checked alone; a mapped
    /// address is not asked for, since this is no candidate of ours.
    pub(crate) fn receive_check_answer(&mut self, path: Path, message: &Message<'_>, now: Time) {
        let key = self.peers.find(path);
        let agent = key.and_then(|key| self.participants.get_mut(key)).and_then(|asked| asked.access.agent_mut());
        let (Some(key), Some(agent)) = (key, agent) else {
            self.counters.drop_stun_answer += 1;
            return;
        };
        let authentic = message.check_integrity(agent.asking().1) == IntegrityCheck::Valid
            && message.check_fingerprint() != FingerprintCheck::Wrong;
        let outcome = match (authentic, message.class) {
            (true, Class::Success) => agent.answer(path, message.transaction_id, now),
            (true, _) if message.error_code() == Some(ROLE_CONFLICT) => {
                self.counters.stun_role_conflicts += 1;
                agent.refused_role(path, message.transaction_id, message.len(), now).then_some(false)
            }
            _ => None,
        };
        let Some(moved) = outcome else {
            self.counters.drop_stun_answer += 1;
            return;
        };
        self.counters.stun_checks_answered += u64::from(message.class == Class::Success);
        self.counters.path_changes += u64::from(moved);
        self.begin_dtls(key);
        self.touch(key);
    }
}
