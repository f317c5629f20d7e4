//! Attributes (RFC 8489, section 14; RFC 8445, section 16.1; RFC 8656, section 18; RFC 5780, section 7).

/// An attribute's type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AttributeType(pub u16);

impl AttributeType {
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// RFC 5780, section 7.2.
    pub const CHANGE_REQUEST: Self = Self(0x0003);
    pub const USERNAME: Self = Self(0x0006);
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    pub const ERROR_CODE: Self = Self(0x0009);
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// RFC 8656, section 18.1.
    pub const CHANNEL_NUMBER: Self = Self(0x000c);
    /// RFC 8656, section 18.2.
    pub const LIFETIME: Self = Self(0x000d);
    /// RFC 8656, section 18.3.
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    /// RFC 8656, section 18.4.
    pub const DATA: Self = Self(0x0013);
    pub const REALM: Self = Self(0x0014);
    pub const NONCE: Self = Self(0x0015);
    /// RFC 8656, section 18.5.
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    /// RFC 8656, section 18.6.
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    /// RFC 8656, section 18.7.
    pub const EVEN_PORT: Self = Self(0x0018);
    /// RFC 8656, section 18.8.
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    /// RFC 8656, section 18.9.
    pub const DONT_FRAGMENT: Self = Self(0x001a);
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    pub const PASSWORD_ALGORITHM: Self = Self(0x001d);
    pub const USERHASH: Self = Self(0x001e);
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// RFC 8656, section 18.10.
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    /// RFC 8445, section 16.1.
    pub const PRIORITY: Self = Self(0x0024);
    /// RFC 8445, section 16.1.
    pub const USE_CANDIDATE: Self = Self(0x0025);
    /// RFC 6062, section 6.2.
    pub const CONNECTION_ID: Self = Self(0x002a);
    /// RFC 5780, section 7.6.
    pub const PADDING: Self = Self(0x0026);
    /// RFC 5780, section 7.5.
    pub const RESPONSE_PORT: Self = Self(0x0027);
    /// RFC 8656, section 18.11.
    pub const ADDITIONAL_ADDRESS_FAMILY: Self = Self(0x8000);
    /// RFC 8656, section 18.12.
    pub const ADDRESS_ERROR_CODE: Self = Self(0x8001);
    pub const PASSWORD_ALGORITHMS: Self = Self(0x8002);
    pub const SOFTWARE: Self = Self(0x8022);
    pub const FINGERPRINT: Self = Self(0x8028);
    /// RFC 8445, section 16.1.
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// RFC 8445, section 16.1.
    pub const ICE_CONTROLLING: Self = Self(0x802a);
    /// RFC 5780, section 7.3.
    pub const RESPONSE_ORIGIN: Self = Self(0x802b);
    /// RFC 5780, section 7.4.
    pub const OTHER_ADDRESS: Self = Self(0x802c);

    /// RFC 8489, section 14: an agent that does not know it must refuse the message.
    pub const fn comprehension_required(self) -> bool {
        self.0 < 0x8000
    }

    /// Whether we know it, or need not.
    pub(super) const fn is_understood(self) -> bool {
        !self.comprehension_required()
            || matches!(
                self,
                Self::MAPPED_ADDRESS
                    | Self::USERNAME
                    | Self::MESSAGE_INTEGRITY
                    | Self::ERROR_CODE
                    | Self::UNKNOWN_ATTRIBUTES
                    | Self::REALM
                    | Self::NONCE
                    | Self::MESSAGE_INTEGRITY_SHA256
                    | Self::XOR_MAPPED_ADDRESS
                    | Self::PRIORITY
                    | Self::USE_CANDIDATE
            )
    }
}

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attribute<'a> {
    pub kind: AttributeType,
    pub value: &'a [u8],
}

/// The sender's role and its tie-breaker (RFC 8445, section 7.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceRole {
    Controlling(u64),
    Controlled(u64),
}

/// Iterates over a message's attributes that count: those up to and with MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256, and
/// FINGERPRINT. RFC 8489, sections 14.5 and 14.6: whatever else stands behind these is not covered by them and is ignored.
#[derive(Clone, Debug)]
pub struct AttributeIter<'a>(PlacedIter<'a>);

impl<'a> AttributeIter<'a> {
    pub(super) fn new(attributes: &'a [u8]) -> Self {
        Self(PlacedIter::new(attributes))
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        self.0.next().map(|placed| placed.attribute)
    }
}

/// As [`AttributeIter`], with the places of the attributes.
#[derive(Clone, Debug)]
pub(super) struct PlacedIter<'a> {
    all: RawIter<'a>,
    /// The integrity that was passed.
    passed: Option<AttributeType>,
}

impl<'a> PlacedIter<'a> {
    pub(super) fn new(attributes: &'a [u8]) -> Self {
        Self { all: RawIter::new(attributes), passed: None }
    }
}

impl<'a> Iterator for PlacedIter<'a> {
    type Item = Placed<'a>;

    fn next(&mut self) -> Option<Placed<'a>> {
        loop {
            let placed = self.all.next()?;
            let kind = placed.attribute.kind;
            let counts = match (self.passed, kind) {
                (None, _) | (Some(_), AttributeType::FINGERPRINT) => true,
                (Some(AttributeType::MESSAGE_INTEGRITY), AttributeType::MESSAGE_INTEGRITY_SHA256) => true,
                (Some(_), _) => false,
            };
            if !counts {
                continue;
            }
            if matches!(kind, AttributeType::MESSAGE_INTEGRITY | AttributeType::MESSAGE_INTEGRITY_SHA256) {
                self.passed = Some(kind);
            }
            return Some(placed);
        }
    }
}

/// Iterates over all attributes; ends at the first one that is cut short.
#[derive(Clone, Debug)]
pub(super) struct RawIter<'a> {
    rest: &'a [u8],
    offset: usize,
}

/// An attribute and where it begins, counted from the end of the message's header.
pub(super) struct Placed<'a> {
    pub(super) attribute: Attribute<'a>,
    pub(super) offset: usize,
}

impl<'a> RawIter<'a> {
    pub(super) fn new(attributes: &'a [u8]) -> Self {
        Self { rest: attributes, offset: 0 }
    }

    /// Whether everything was read.
    pub(super) fn is_finished(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for RawIter<'a> {
    type Item = Placed<'a>;

    fn next(&mut self) -> Option<Placed<'a>> {
        let (&[k0, k1, l0, l1], rest) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        // RFC 8489, section 14: padded to a whole word; the length does not count the padding.
        let (padded, rest) = rest.split_at_checked(len.next_multiple_of(4))?;
        let value = padded.get(..len)?;
        let offset = self.offset;
        self.offset += 4 + padded.len();
        self.rest = rest;
        Some(Placed { attribute: Attribute { kind: AttributeType(u16::from_be_bytes([k0, k1])), value }, offset })
    }
}
