//! One opened RTP packet, described: positions and values, no borrow, so that a batch of them is a flat list.

use crate::codec::{self, vp8};
use crate::rtp::{AudioLevel, KnownExtensions, RtpHeader};
use crate::slab::Key;
use crate::track::Track;
use plausch_relay_api::Codec;
use std::ops::Range;

/// One layer of one track, as long as it keeps its SSRC. A layer that begins anew has another epoch, for its
/// sequence numbers and timestamps have nothing to do with those before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerId {
    pub track: Key<Track>,
    pub layer: u8,
    pub epoch: u32,
}

/// A range within a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    start: u16,
    len: u16,
}

impl Span {
    /// `None`: beyond what a datagram can hold.
    pub(crate) fn new(range: Range<usize>) -> Option<Self> {
        let start = u16::try_from(range.start).ok()?;
        Some(Self { start, len: u16::try_from(range.len()).ok()? })
    }

    /// Where `part`, a piece of `whole`, lies in it.
    fn find(whole: &[u8], part: &[u8]) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let end = start + part.len();
        (end <= whole.len()).then(|| Self::new(start..end))?
    }

    pub(crate) fn of(self, packet: &[u8]) -> &[u8] {
        let start = usize::from(self.start);
        packet.get(start..start + usize::from(self.len)).unwrap_or(&[])
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn end(self) -> usize {
        usize::from(self.start) + usize::from(self.len)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub source: LayerId,
    /// The track's number in its room.
    pub number: u16,
    pub codec: Codec,
    /// The sequence number with its rollovers in front.
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    /// A decoder that has seen nothing can begin here.
    pub begins_key_frame: bool,
    /// Empty where there is only padding.
    pub payload: Span,
    pub audio_level: Option<AudioLevel>,
    pub dependency_descriptor: Option<Span>,
    pub vp8: Option<vp8::Descriptor>,
    /// Bytes of padding with which it goes out.
    pub padding: u8,
}

impl Packet {
    /// Describes an opened packet. `None`: its parts do not hold together.
    pub(crate) fn describe(
        source: LayerId,
        number: u16,
        codec: Codec,
        index: u64,
        header: &RtpHeader,
        plain: &[u8],
        extensions: &KnownExtensions<'_>,
    ) -> Option<Self> {
        let range = header.payload(plain).ok()?;
        let payload = plain.get(range.clone())?;
        let dependency_descriptor = match extensions.dependency_descriptor {
            Some(value) => Some(Span::find(plain, value)?),
            None => None,
        };
        let vp8 = if codec == Codec::Vp8 { vp8::Descriptor::parse(payload) } else { None };
        let begins_key_frame = match vp8 {
            Some(vp8) => vp8.begins_key_frame(payload),
            None => !payload.is_empty() && codec::begins_key_frame(codec, payload, extensions.dependency_descriptor),
        };
        Some(Self {
            source,
            number,
            codec,
            index,
            timestamp: header.timestamp,
            marker: header.marker,
            begins_key_frame,
            payload: Span::new(range)?,
            audio_level: extensions.audio_level,
            dependency_descriptor,
            vp8,
            padding: 0,
        })
    }

    /// Nothing but padding: probes for bandwidth.
    pub(crate) fn is_padding(&self) -> bool {
        self.payload.is_empty()
    }
}
