//! Attributes (RFC 8489, section 14; RFC 8445, section 16.1).

/// An attribute's type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AttributeType(pub u16);

impl AttributeType {
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    pub const USERNAME: Self = Self(0x0006);
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    pub const ERROR_CODE: Self = Self(0x0009);
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    pub const REALM: Self = Self(0x0014);
    pub const NONCE: Self = Self(0x0015);
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// RFC 8445, section 16.1.
    pub const PRIORITY: Self = Self(0x0024);
    /// RFC 8445, section 16.1.
    pub const USE_CANDIDATE: Self = Self(0x0025);
    pub const SOFTWARE: Self = Self(0x8022);
    pub const FINGERPRINT: Self = Self(0x8028);
    /// RFC 8445, section 16.1.
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// RFC 8445, section 16.1.
    pub const ICE_CONTROLLING: Self = Self(0x802a);

    /// RFC 8489, section 14: an agent that does not know it must refuse the message.
    pub const fn comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attribute<'a> {
    pub kind: AttributeType,
    pub value: &'a [u8],
}

/// Iterates over a message's attributes that count: up to and with MESSAGE-INTEGRITY, and FINGERPRINT.
#[derive(Clone, Debug)]
pub struct AttributeIter<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let _ = &self.rest;
        None
    }
}

/// The sender's role and its tie-breaker (RFC 8445, section 7.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceRole {
    Controlling(u64),
    Controlled(u64),
}
