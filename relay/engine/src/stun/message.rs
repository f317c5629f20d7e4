//! Reading messages.

use super::attribute::{AttributeIter, AttributeType, IceRole};
use super::integrity::{FingerprintCheck, IntegrityCheck, IntegrityKey};
use std::net::SocketAddr;

/// A message's class (RFC 8489, section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message's method, 12 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Method(pub u16);

impl Method {
    pub const BINDING: Self = Self(0x001);
}

/// RFC 8489, section 5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransactionId(pub [u8; 12]);

/// Why bytes are no STUN message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StunError {
    #[error("shorter or longer than its header says")]
    Length,
    #[error("not the magic cookie")]
    Cookie,
    #[error("an attribute is longer than the message")]
    Attribute,
}

/// Comprehension-required attributes that we do not know, for a 420 answer. More than fit are left out: one is
/// enough to refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnknownAttributes {
    kinds: [u16; 8],
    len: usize,
}

impl UnknownAttributes {
    /// The attribute types.
    pub fn as_slice(&self) -> &[u16] {
        self.kinds.get(..self.len).unwrap_or(&[])
    }

    /// Whether all attributes are known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A message whose lengths were checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    pub class: Class,
    pub method: Method,
    pub transaction_id: TransactionId,
}

impl<'a> Message<'a> {
    /// Parses a datagram that is exactly one message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let _ = bytes;
        Err(StunError::Length)
    }

    /// The attributes up to MESSAGE-INTEGRITY and FINGERPRINT, in order.
    pub fn attributes(&self) -> AttributeIter<'a> {
        AttributeIter { rest: self.bytes }
    }

    /// The value of the first attribute of this type.
    pub fn attribute(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// USERNAME as it is.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.attribute(AttributeType::USERNAME)
    }

    /// USERNAME of an ICE check, split at the colon: the fragment of the one who is asked (ours), and of the one
    /// who asks (RFC 8445, section 7.2.2).
    pub fn username_fragments(&self) -> Option<(&'a [u8], &'a [u8])> {
        None
    }

    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        None
    }

    /// Whether USE-CANDIDATE is there.
    pub fn use_candidate(&self) -> bool {
        self.attribute(AttributeType::USE_CANDIDATE).is_some()
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn ice_role(&self) -> Option<IceRole> {
        None
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        None
    }

    /// The number of ERROR-CODE, 300–699.
    pub fn error_code(&self) -> Option<u16> {
        None
    }

    /// Comprehension-required attributes that we do not know.
    pub fn unknown_required(&self) -> UnknownAttributes {
        UnknownAttributes::default()
    }

    /// Checks MESSAGE-INTEGRITY.
    pub fn check_integrity(&self, key: &IntegrityKey) -> IntegrityCheck {
        let _ = key.key();
        IntegrityCheck::Absent
    }

    /// Checks FINGERPRINT, which must be the last attribute.
    pub fn check_fingerprint(&self) -> FingerprintCheck {
        FingerprintCheck::Absent
    }
}
