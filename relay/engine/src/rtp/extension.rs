//! RTP header extensions (RFC 8285): both forms are read and written.

use super::header::RtpHeader;
use plausch_relay_api::ExtensionIds;

/// RFC 8285, section 4.2.
const ONE_BYTE_PROFILE: u16 = 0xbede;
/// RFC 8285, section 4.3: the low four bits ("appbits") are for the application.
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// One header extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    pub id: u8,
    pub value: &'a [u8],
}

/// Iterates over the extensions of one packet, in order. Ends at the first one that is cut short.
#[derive(Clone, Debug)]
pub struct ExtensionIter<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> ExtensionIter<'a> {
    pub(super) fn new(profile: u16, data: &'a [u8]) -> Self {
        let two_byte = profile & 0xfff0 == TWO_BYTE_PROFILE;
        let known = two_byte || profile == ONE_BYTE_PROFILE;
        Self { rest: if known { data } else { &[] }, two_byte }
    }

    fn take(&mut self) -> Option<Extension<'a>> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                self.rest = rest;
                continue;
            }
            let (id, len, rest) = if self.two_byte {
                let (&len, rest) = rest.split_first()?;
                (first, usize::from(len), rest)
            } else if matches!(first >> 4, 0 | 15) {
                // Section 4.2: id 15, and id 0 with a length, end the processing.
                return None;
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            let (value, rest) = rest.split_at_checked(len)?;
            self.rest = rest;
            return Some(Extension { id, value });
        }
    }
}

impl<'a> Iterator for ExtensionIter<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let found = self.take();
        if found.is_none() {
            self.rest = &[];
        }
        found
    }
}

/// RFC 6464: the loudness of an audio packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioLevel {
    /// The encoder's opinion that this is speech.
    pub voice: bool,
    /// 0 is the loudest, 127 silence: the level in −dBov.
    pub level: u8,
}

/// The extensions that the engine knows, found in one pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KnownExtensions<'a> {
    pub mid: Option<&'a [u8]>,
    pub rid: Option<&'a [u8]>,
    pub audio_level: Option<AudioLevel>,
    pub transport_cc: Option<u16>,
    pub dependency_descriptor: Option<&'a [u8]>,
}

impl<'a> KnownExtensions<'a> {
    /// Reads those of `ids` that the packet has. A value of a wrong length counts as absent.
    pub fn read(header: &RtpHeader, packet: &'a [u8], ids: &ExtensionIds) -> Self {
        let mut known = Self::default();
        for Extension { id, value } in header.extensions(packet) {
            let id = Some(id);
            if id == ids.mid {
                known.mid = Some(value);
            } else if id == ids.rid {
                known.rid = Some(value);
            } else if id == ids.audio_level {
                known.audio_level =
                    value.first().map(|&byte| AudioLevel { voice: byte & 0x80 != 0, level: byte & 0x7f });
            } else if id == ids.transport_cc {
                known.transport_cc = value.first_chunk().map(|&bytes| u16::from_be_bytes(bytes));
            } else if id == ids.dependency_descriptor {
                known.dependency_descriptor = Some(value);
            }
        }
        known
    }
}

/// Ids that both forms can carry; 15 is reserved in the one-byte form.
fn writable(extension: &Extension<'_>) -> bool {
    (1..=14).contains(&extension.id) && extension.value.len() <= usize::from(u8::MAX)
}

fn needs_two_bytes(extensions: &[Extension<'_>]) -> bool {
    extensions.iter().any(|extension| writable(extension) && !(1..=16).contains(&extension.value.len()))
}

/// Bytes of the extension block with its four-byte head and filled up to words; 0 where there is nothing to write.
pub(super) fn extensions_len(extensions: &[Extension<'_>]) -> usize {
    let head = if needs_two_bytes(extensions) { 2 } else { 1 };
    let data: usize =
        extensions.iter().filter(|extension| writable(extension)).map(|extension| head + extension.value.len()).sum();
    if data == 0 { 0 } else { 4 + data.next_multiple_of(4) }
}

/// Fills `block`, which has exactly the length that [`extensions_len`] said.
pub(super) fn write_extensions(block: &mut [u8], extensions: &[Extension<'_>]) -> Option<()> {
    if block.is_empty() {
        return Some(());
    }
    let two_byte = needs_two_bytes(extensions);
    let (head, mut rest) = block.split_first_chunk_mut::<4>()?;
    let [p0, p1] = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE }.to_be_bytes();
    let [w0, w1] = u16::try_from(rest.len() / 4).ok()?.to_be_bytes();
    *head = [p0, p1, w0, w1];
    for Extension { id, value } in extensions.iter().filter(|extension| writable(extension)).copied() {
        let len = u8::try_from(value.len()).ok()?;
        if two_byte {
            let (head, tail) = rest.split_first_chunk_mut::<2>()?;
            *head = [id, len];
            rest = tail;
        } else {
            let (head, tail) = rest.split_first_mut()?;
            *head = id << 4 | len.checked_sub(1)?;
            rest = tail;
        }
        let (place, tail) = rest.split_at_mut_checked(value.len())?;
        place.copy_from_slice(value);
        rest = tail;
    }
    rest.fill(0);
    Some(())
}
