//! Writing messages.

use super::attribute::{AttributeType, IceRole};
use super::integrity::{IntegrityKey, fingerprint};
use super::message::{Class, FAMILY_V4, FAMILY_V6, Method, TransactionId, address_mask, message_type};
use super::{HEADER_LEN, MAGIC_COOKIE};
use std::net::{IpAddr, SocketAddr};

/// Writes a message into a caller's buffer. Overflow is remembered and told by [`Self::finish`].
#[derive(Debug)]
pub struct MessageWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
    transaction_id: TransactionId,
    fits: bool,
}

impl<'a> MessageWriter<'a> {
    /// Begins a message at the start of `buffer`.
    pub fn new(buffer: &'a mut [u8], class: Class, method: Method, transaction_id: TransactionId) -> Self {
        let fits = match buffer.first_chunk_mut::<HEADER_LEN>() {
            Some(header) => {
                let [k0, k1] = message_type(class, method).to_be_bytes();
                let [c0, c1, c2, c3] = MAGIC_COOKIE.to_be_bytes();
                let [i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11] = transaction_id.0;
                *header = [k0, k1, 0, 0, c0, c1, c2, c3, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11];
                true
            }
            None => false,
        };
        Self { buffer, len: HEADER_LEN, transaction_id, fits }
    }

    /// Appends any attribute, padded to a whole word.
    pub fn attribute(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        self.fits = self.fits && self.append(kind, value).is_some();
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
        let (kind, tie_breaker) = match role {
            IceRole::Controlling(tie_breaker) => (AttributeType::ICE_CONTROLLING, tie_breaker),
            IceRole::Controlled(tie_breaker) => (AttributeType::ICE_CONTROLLED, tie_breaker),
        };
        self.attribute(kind, &tie_breaker.to_be_bytes())
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489, section 14.2); a v4-mapped address is written as IPv4.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> &mut Self {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS, address)
    }

    /// Any attribute that is an address like XOR-MAPPED-ADDRESS.
    pub fn xor_address(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self {
        self.masked_address(kind, address, address_mask(self.transaction_id))
    }

    /// Any attribute that is an address like MAPPED-ADDRESS (RFC 8489, section 14.1).
    pub fn address(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self {
        self.masked_address(kind, address, 0)
    }

    /// The mask of an IPv6 address begins with those of a port and of an IPv4 address.
    fn masked_address(&mut self, kind: AttributeType, address: SocketAddr, mask: u128) -> &mut Self {
        let [p0, p1] = (address.port() ^ (mask >> 112) as u16).to_be_bytes();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = (u32::from(ip) ^ (mask >> 96) as u32).to_be_bytes();
                self.attribute(kind, &[0, FAMILY_V4, p0, p1, a, b, c, d])
            }
            IpAddr::V6(ip) => {
                let mut value = [0; 20];
                let [_, family, q0, q1, rest @ ..] = &mut value;
                (*family, *q0, *q1) = (FAMILY_V6, p0, p1);
                *rest = (u128::from(ip) ^ mask).to_be_bytes();
                self.attribute(kind, &value)
            }
        }
    }

    /// ERROR-CODE (RFC 8489, section 14.8) with a reason of up to 60 bytes.
    pub fn error_code(&mut self, code: u16, reason: &str) -> &mut Self {
        let mut value = [0; 64];
        let [_, _, class, number, text @ ..] = &mut value;
        *class = (code / 100) as u8 & 0x07;
        *number = (code % 100) as u8;
        let Some(place) = text.get_mut(..reason.len()) else {
            self.fits = false;
            return self;
        };
        place.copy_from_slice(reason.as_bytes());
        let len = 4 + reason.len();
        self.attribute(AttributeType::ERROR_CODE, value.get(..len).unwrap_or(&[]))
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489, section 14.9), up to 16 of them.
    pub fn unknown_attributes(&mut self, kinds: &[u16]) -> &mut Self {
        let mut value = [0; 32];
        let (places, _) = value.as_chunks_mut::<2>();
        places.iter_mut().zip(kinds).for_each(|(place, kind)| *place = kind.to_be_bytes());
        let len = kinds.len() * 2;
        match value.get(..len) {
            Some(value) => self.attribute(AttributeType::UNKNOWN_ATTRIBUTES, value),
            None => {
                self.fits = false;
                self
            }
        }
    }

    /// The key's integrity attribute over what is written so far.
    pub fn integrity(&mut self, key: &IntegrityKey) -> &mut Self {
        match self.written().and_then(|covered| key.sign(covered)) {
            Some(value) => self.attribute(key.kind().attribute(), value.as_slice()),
            None => self,
        }
    }

    /// FINGERPRINT over what is written so far: the last attribute.
    pub fn fingerprint(&mut self) -> &mut Self {
        match self.written().and_then(fingerprint) {
            Some(value) => self.attribute(AttributeType::FINGERPRINT, &value),
            None => self,
        }
    }

    /// The message's length; `None` when it did not fit.
    pub fn finish(&mut self) -> Option<usize> {
        self.written().map(<[u8]>::len)
    }

    /// The message so far; `None` after an overflow.
    fn written(&self) -> Option<&[u8]> {
        self.buffer.get(..self.len).filter(|_| self.fits)
    }

    fn append(&mut self, kind: AttributeType, value: &[u8]) -> Option<()> {
        let value_len = u16::try_from(value.len()).ok()?;
        let end = self.len + 4 + value.len().next_multiple_of(4);
        let message_len = u16::try_from(end - HEADER_LEN).ok()?;
        let place = self.buffer.get_mut(self.len..end)?;
        let (head, rest) = place.split_first_chunk_mut::<4>()?;
        let ([k0, k1], [l0, l1]) = (kind.0.to_be_bytes(), value_len.to_be_bytes());
        *head = [k0, k1, l0, l1];
        let (place, padding) = rest.split_at_mut_checked(value.len())?;
        place.copy_from_slice(value);
        padding.fill(0);
        // The header always says the length of what is written.
        self.buffer.get_mut(2..4)?.copy_from_slice(&message_len.to_be_bytes());
        self.len = end;
        Some(())
    }
}
