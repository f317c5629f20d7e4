//! Reading messages.

use super::attribute::{AttributeIter, AttributeType, IceRole, PlacedIter, RawIter};
use super::integrity::{FINGERPRINT_LEN, FingerprintCheck, IntegrityCheck, IntegrityKey, IntegrityKind, fingerprint};
use super::{HEADER_LEN, MAGIC_COOKIE};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

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
    /// RFC 8656, section 17.
    pub const ALLOCATE: Self = Self(0x003);
    pub const REFRESH: Self = Self(0x004);
    pub const SEND: Self = Self(0x006);
    pub const DATA: Self = Self(0x007);
    pub const CREATE_PERMISSION: Self = Self(0x008);
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// RFC 6062, section 6.1.
    pub const CONNECT: Self = Self(0x00a);
    pub const CONNECTION_BIND: Self = Self(0x00b);
    pub const CONNECTION_ATTEMPT: Self = Self(0x00c);
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

/// A message whose lengths were checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    pub class: Class,
    pub method: Method,
    pub transaction_id: TransactionId,
}

impl<'a> Message<'a> {
    /// Parses a datagram that is exactly one message. Attributes are checked to fill it exactly.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(StunError::Length)?;
        let [k0, k1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        let kind = u16::from_be_bytes([k0, k1]);
        if u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE || kind >> 14 != 0 {
            return Err(StunError::Cookie);
        }
        if usize::from(u16::from_be_bytes([l0, l1])) != attributes.len() {
            return Err(StunError::Length);
        }
        let mut all = RawIter::new(attributes);
        all.by_ref().for_each(|_| {});
        if !all.is_finished() {
            return Err(StunError::Attribute);
        }
        Ok(Self { bytes, class: class_of(kind), method: method_of(kind), transaction_id: TransactionId(id) })
    }

    /// Bytes of the whole message.
    #[expect(clippy::len_without_is_empty, reason = "there is always a header")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The attributes up to the integrity and FINGERPRINT, in order.
    pub fn attributes(&self) -> AttributeIter<'a> {
        AttributeIter::new(self.attribute_bytes())
    }

    /// The value of the first attribute of this type (RFC 8489, section 14: others may be ignored).
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
        let username = self.username()?;
        let colon = username.iter().position(|&byte| byte == b':')?;
        Some((username.get(..colon)?, username.get(colon + 1..)?))
    }

    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        self.fixed(AttributeType::PRIORITY).map(u32::from_be_bytes)
    }

    /// Whether USE-CANDIDATE is there.
    pub fn use_candidate(&self) -> bool {
        self.attribute(AttributeType::USE_CANDIDATE).is_some()
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn ice_role(&self) -> Option<IceRole> {
        let controlling = || self.fixed(AttributeType::ICE_CONTROLLING).map(u64::from_be_bytes);
        let controlled = || self.fixed(AttributeType::ICE_CONTROLLED).map(u64::from_be_bytes);
        controlling().map(IceRole::Controlling).or_else(|| controlled().map(IceRole::Controlled))
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489, section 14.2).
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_addresses(AttributeType::XOR_MAPPED_ADDRESS).next()?
    }

    /// All attributes of this type, which are addresses like XOR-MAPPED-ADDRESS; `None` for one that is malformed.
    pub fn xor_addresses(&self, kind: AttributeType) -> impl Iterator<Item = Option<SocketAddr>> {
        let id = self.transaction_id;
        self.attributes()
            .filter(move |attribute| attribute.kind == kind)
            .map(move |attribute| read_xor_address(attribute.value, id))
    }

    /// Where in the message the value of the first attribute of this type is.
    pub fn value_range(&self, kind: AttributeType) -> Option<Range<usize>> {
        let found = PlacedIter::new(self.attribute_bytes()).find(|placed| placed.attribute.kind == kind)?;
        let start = HEADER_LEN + found.offset + 4;
        Some(start..start + found.attribute.value.len())
    }

    /// The integrity by which the message is to be judged: the better one of those that it has (RFC 8489, section 9.2.4).
    pub fn integrity_kind(&self) -> Option<IntegrityKind> {
        let has = |kind: IntegrityKind| self.attribute(kind.attribute()).is_some();
        [IntegrityKind::Sha256, IntegrityKind::Sha1].into_iter().find(|&kind| has(kind))
    }

    /// The number of ERROR-CODE, 300–699 (RFC 8489, section 14.8).
    pub fn error_code(&self) -> Option<u16> {
        let [_, _, class, number] = *self.attribute(AttributeType::ERROR_CODE)?.first_chunk::<4>()?;
        let class = class & 0x07;
        ((3..=6).contains(&class) && number < 100).then(|| u16::from(class) * 100 + u16::from(number))
    }

    /// Comprehension-required attributes that we do not know: a request that has any is answered with 420
    /// (RFC 8489, section 6.3.1). `also` are known besides those of STUN and ICE.
    pub fn unknown_required(&self, also: &[AttributeType]) -> UnknownAttributes {
        let mut unknown = UnknownAttributes::default();
        let known = |kind: AttributeType| kind.is_understood() || also.contains(&kind);
        for attribute in self.attributes().filter(|attribute| !known(attribute.kind)) {
            unknown.push(attribute.kind);
        }
        unknown
    }

    /// Checks the integrity attribute that the key is for.
    pub fn check_integrity(&self, key: &IntegrityKey) -> IntegrityCheck {
        let mut all = PlacedIter::new(self.attribute_bytes());
        let Some(found) = all.find(|placed| placed.attribute.kind == key.kind().attribute()) else {
            return IntegrityCheck::Absent;
        };
        let covered = self.bytes.get(..HEADER_LEN + found.offset);
        if covered.is_some_and(|covered| key.verify(covered, found.attribute.value)) {
            IntegrityCheck::Valid
        } else {
            IntegrityCheck::Wrong
        }
    }

    /// Whether there is a FINGERPRINT, right or wrong.
    pub fn has_fingerprint(&self) -> bool {
        self.attribute(AttributeType::FINGERPRINT).is_some()
    }

    /// Checks FINGERPRINT, which must be the last attribute.
    pub fn check_fingerprint(&self) -> FingerprintCheck {
        let mut all = RawIter::new(self.attribute_bytes());
        let Some(found) = all.find(|placed| placed.attribute.kind == AttributeType::FINGERPRINT) else {
            return FingerprintCheck::Absent;
        };
        let expected = self.bytes.get(..HEADER_LEN + found.offset).and_then(fingerprint);
        let value = found.attribute.value.as_array::<FINGERPRINT_LEN>();
        if all.is_finished() && value.is_some() && value == expected.as_ref() {
            FingerprintCheck::Valid
        } else {
            FingerprintCheck::Wrong
        }
    }

    fn attribute_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// The value of an attribute that has exactly `N` bytes.
    pub fn fixed<const N: usize>(&self, kind: AttributeType) -> Option<[u8; N]> {
        self.attribute(kind)?.as_array().copied()
    }
}

/// RFC 8489, section 5, figure 3: two bits of class stand between the bits of the method.
fn class_of(kind: u16) -> Class {
    match kind & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    }
}

fn method_of(kind: u16) -> Method {
    Method(kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2)
}

/// The first two bytes of a message.
pub(super) fn message_type(class: Class, Method(method): Method) -> u16 {
    let class = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    class | method & 0x000f | (method & 0x0070) << 1 | (method & 0x0f80) << 2
}

/// RFC 8489, sections 14.1 and 14.2: family, port, address.
pub(super) const FAMILY_V4: u8 = 1;
pub(super) const FAMILY_V6: u8 = 2;

fn read_xor_address(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::from(u32::from_be_bytes(*address.as_array()?) ^ MAGIC_COOKIE)),
        FAMILY_V6 => IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(*address.as_array()?) ^ address_mask(id))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What an IPv6 address is masked with: the magic cookie and the transaction id.
pub(super) fn address_mask(TransactionId(id): TransactionId) -> u128 {
    let [i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11] = id;
    let low = u128::from_be_bytes([0, 0, 0, 0, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11]);
    u128::from(MAGIC_COOKIE) << 96 | low
}

/// Comprehension-required attributes that we do not know, for a 420 answer. More than fit are left out: one is
/// enough to refuse, and the answer stays small.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnknownAttributes {
    kinds: [u16; 8],
    len: usize,
}

impl UnknownAttributes {
    fn push(&mut self, AttributeType(kind): AttributeType) {
        if let Some(place) = self.kinds.get_mut(self.len) {
            *place = kind;
            self.len += 1;
        }
    }

    /// The attribute types.
    pub fn as_slice(&self) -> &[u16] {
        self.kinds.get(..self.len).unwrap_or(&[])
    }

    /// Whether all attributes are known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
