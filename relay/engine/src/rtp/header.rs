//! The RTP header (RFC 3550, section 5.1).

use super::extension::{Extension, ExtensionIter, extensions_len, write_extensions};
use std::ops::Range;

/// Bytes of the header without CSRCs and extension.
pub const FIXED_HEADER_LEN: usize = 12;

/// Why a packet is no RTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtpError {
    #[error("shorter than its header says")]
    Truncated,
    #[error("not version 2")]
    Version,
    #[error("padding is zero or longer than the payload")]
    Padding,
}

/// A parsed header. Holds positions and values, no borrow, so that the packet can be decrypted in place
/// while the header is at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    pub marker: bool,
    /// 0–127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Whether the last byte of the (plain) packet counts bytes of padding.
    pub padding: bool,
    /// Bytes of the whole header: fixed part, CSRCs and extension. The payload begins here.
    pub header_len: usize,
    /// The "defined by profile" word of the extension; 0 where there is none.
    extension_profile: u16,
    /// Where the extension's data begins; it ends at `header_len`.
    extension_start: usize,
}

impl RtpHeader {
    /// Parses the header of a packet, encrypted or plain: lengths are checked, padding is not
    /// (it is encrypted; see [`Self::payload`]).
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let fixed = packet.first_chunk::<FIXED_HEADER_LEN>().ok_or(RtpError::Truncated)?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if flags >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let mut header_len = FIXED_HEADER_LEN + usize::from(flags & 0x0f) * 4;
        let mut extension_profile = 0;
        let mut extension_start = header_len;
        if flags & 0x10 != 0 {
            let words = packet.get(header_len..).and_then(|rest| rest.first_chunk::<4>()).ok_or(RtpError::Truncated)?;
            extension_profile = u16::from_be_bytes([words[0], words[1]]);
            extension_start = header_len + 4;
            header_len = extension_start + usize::from(u16::from_be_bytes([words[2], words[3]])) * 4;
        }
        if packet.len() < header_len {
            return Err(RtpError::Truncated);
        }
        Ok(Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            padding: flags & 0x20 != 0,
            header_len,
            extension_profile,
            extension_start,
        })
    }

    /// Where the payload of the plain packet lies, padding taken off. Empty for a packet of only padding.
    pub fn payload(&self, plain: &[u8]) -> Result<Range<usize>, RtpError> {
        let body = plain.get(self.header_len..).ok_or(RtpError::Truncated)?;
        if !self.padding {
            return Ok(self.header_len..plain.len());
        }
        match body.last() {
            Some(&padding) if padding != 0 && usize::from(padding) <= body.len() => {
                Ok(self.header_len..plain.len() - usize::from(padding))
            }
            _ => Err(RtpError::Padding),
        }
    }

    /// The header extensions, one-byte or two-byte form. Ends at the first malformed one.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> ExtensionIter<'a> {
        let data = packet.get(self.extension_start..self.header_len).unwrap_or(&[]);
        ExtensionIter::new(self.extension_profile, data)
    }
}

/// What a written header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderFields {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

/// Writes a header without CSRCs, with `extensions` (those with ids outside 1–14 are left out). The form is one-byte unless a value is
/// empty or longer than 16 bytes, then two-byte: leave such a value out for peers that did not negotiate
/// `extmap-allow-mixed`. Returns the header's length; `None` when the buffer is too short.
pub fn write_header(buffer: &mut [u8], fields: &HeaderFields, extensions: &[Extension<'_>]) -> Option<usize> {
    let extension_len = extensions_len(extensions);
    let header_len = FIXED_HEADER_LEN + extension_len;
    let header = buffer.get_mut(..header_len)?;
    let (fixed, rest) = header.split_first_chunk_mut::<FIXED_HEADER_LEN>()?;
    let [s0, s1] = fields.sequence.to_be_bytes();
    let [t0, t1, t2, t3] = fields.timestamp.to_be_bytes();
    let [c0, c1, c2, c3] = fields.ssrc.to_be_bytes();
    let flags = 0x80 | if extension_len > 0 { 0x10 } else { 0 };
    let kind = u8::from(fields.marker) << 7 | fields.payload_type & 0x7f;
    *fixed = [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
    write_extensions(rest, extensions)?;
    Some(header_len)
}

/// Appends `padding` bytes of padding (1–255) to the plain packet in `buffer[..len]` and sets its padding bit.
/// Returns the new length; `None` when the buffer is too short, `padding` is 0 or the packet already has padding.
pub fn add_padding(buffer: &mut [u8], len: usize, padding: u8) -> Option<usize> {
    let new_len = len.checked_add(usize::from(padding))?;
    if padding == 0 || len < FIXED_HEADER_LEN || buffer.first()? & 0x20 != 0 {
        return None;
    }
    let tail = buffer.get_mut(len..new_len)?;
    tail.fill(0);
    *tail.last_mut()? = padding;
    *buffer.first_mut()? |= 0x20;
    Some(new_len)
}
