//! Writing messages.

use super::attribute::{AttributeType, IceRole};
use super::integrity::IntegrityKey;
use super::message::{Class, Method, TransactionId};
use std::net::SocketAddr;

/// Writes a message into a caller's buffer. Overflow is remembered and told by [`Self::finish`].
#[derive(Debug)]
pub struct MessageWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> MessageWriter<'a> {
    /// Begins a message at the start of `buffer`.
    pub fn new(buffer: &'a mut [u8], class: Class, method: Method, transaction_id: TransactionId) -> Self {
        let _ = (class, method, transaction_id);
        Self { buffer, len: 0 }
    }

    /// Appends any attribute, padded to a whole word.
    pub fn attribute(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        let _ = (kind, value);
        self
    }

    /// USERNAME.
    pub fn username(&mut self, username: &[u8]) -> &mut Self {
        self.attribute(AttributeType::USERNAME, username)
    }

    /// PRIORITY.
    pub fn priority(&mut self, priority: u32) -> &mut Self {
        self.attribute(AttributeType::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(&mut self) -> &mut Self {
        self.attribute(AttributeType::USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn ice_role(&mut self, role: IceRole) -> &mut Self {
        let _ = role;
        self
    }

    /// XOR-MAPPED-ADDRESS; a v4-mapped address is written as IPv4.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> &mut Self {
        let _ = address;
        self
    }

    /// ERROR-CODE without a reason phrase beyond `reason`, which may be empty.
    pub fn error_code(&mut self, code: u16, reason: &str) -> &mut Self {
        let _ = (code, reason);
        self
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(&mut self, kinds: &[u16]) -> &mut Self {
        let _ = kinds;
        self
    }

    /// MESSAGE-INTEGRITY over what is written so far.
    pub fn integrity(&mut self, key: &IntegrityKey) -> &mut Self {
        let _ = key;
        self
    }

    /// FINGERPRINT over what is written so far: the last attribute.
    pub fn fingerprint(&mut self) -> &mut Self {
        self
    }

    /// The message's length; `None` when it did not fit.
    pub fn finish(&mut self) -> Option<usize> {
        let _ = &self.buffer;
        Some(self.len)
    }
}
