//! Reading compound packets.

use super::twcc::TransportFeedback;
use super::{
    BYE, FULL_INTRA_REQUEST, GENERIC_NACK, PAYLOAD_FEEDBACK, PICTURE_LOSS, RECEIVER_REPORT, SENDER_REPORT,
    SOURCE_DESCRIPTION, TRANSPORT_LAYER_FEEDBACK, TRANSPORT_WIDE,
};

/// Bytes of a report block (RFC 3550, section 6.4.1).
const REPORT_BLOCK_LEN: usize = 24;
/// SDES item type of a CNAME (RFC 3550, section 6.5.1).
const SDES_CNAME: u8 = 1;

/// Why the rest of a compound packet cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtcpError {
    #[error("shorter than its header says")]
    Truncated,
    #[error("not version 2")]
    Version,
    #[error("padding is zero or longer than the packet")]
    Padding,
}

/// Iterates over the packets of a compound packet (or a reduced-size one, RFC 5506). After an error there is
/// nothing more. Bodies that are malformed in themselves are errors too, so that what is returned can be read
/// without further checks.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = parse_first(self.rest);
        match parsed {
            Ok((packet, rest)) => {
                self.rest = rest;
                Some(Ok(packet))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// One packet of a compound packet.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    SenderReport(SenderReport<'a>),
    ReceiverReport {
        sender: u32,
        reports: ReportBlocks<'a>,
    },
    SourceDescription(SourceDescription<'a>),
    Bye(Bye<'a>),
    /// RFC 4585, section 6.2.1.
    Nack(Nack<'a>),
    /// RFC 4585, section 6.3.1.
    Pli {
        sender: u32,
        media: u32,
    },
    /// RFC 5104, section 4.3.1.
    Fir(Fir<'a>),
    /// Transport-wide congestion control.
    TransportFeedback(TransportFeedback<'a>),
    /// Well formed, but nothing we know.
    Other {
        packet_type: u8,
        count: u8,
    },
}

fn parse_first(bytes: &[u8]) -> Result<(Packet<'_>, &[u8]), RtcpError> {
    let (&[flags, packet_type, l0, l1], _) = bytes.split_first_chunk::<4>().ok_or(RtcpError::Truncated)?;
    if flags >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let len = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
    let (packet, rest) = bytes.split_at_checked(len).ok_or(RtcpError::Truncated)?;
    let mut body = packet.get(4..).ok_or(RtcpError::Truncated)?;
    if flags & 0x20 != 0 {
        let padding = usize::from(*body.last().ok_or(RtcpError::Padding)?);
        let kept = body.len().checked_sub(padding).ok_or(RtcpError::Padding)?;
        if padding == 0 {
            return Err(RtcpError::Padding);
        }
        body = body.get(..kept).ok_or(RtcpError::Padding)?;
    }
    Ok((parse_body(packet_type, flags & 0x1f, body)?, rest))
}

fn parse_body(packet_type: u8, count: u8, body: &[u8]) -> Result<Packet<'_>, RtcpError> {
    Ok(match (packet_type, count) {
        (SENDER_REPORT, _) => {
            let (sender, rest) = take_u32(body)?;
            let (info, rest) = rest.split_first_chunk::<20>().ok_or(RtcpError::Truncated)?;
            let reports = ReportBlocks::new(rest, count)?;
            Packet::SenderReport(SenderReport { sender, info: SenderInfo::read(info), reports })
        }
        (RECEIVER_REPORT, _) => {
            let (sender, rest) = take_u32(body)?;
            Packet::ReceiverReport { sender, reports: ReportBlocks::new(rest, count)? }
        }
        (SOURCE_DESCRIPTION, _) => Packet::SourceDescription(SourceDescription { chunks: body, count }),
        (BYE, _) => {
            let sources = body.get(..usize::from(count) * 4).ok_or(RtcpError::Truncated)?;
            Packet::Bye(Bye { sources })
        }
        (TRANSPORT_LAYER_FEEDBACK, GENERIC_NACK) => {
            let (sender, media, entries) = take_feedback(body)?;
            Packet::Nack(Nack { sender, media, entries })
        }
        (TRANSPORT_LAYER_FEEDBACK, TRANSPORT_WIDE) => {
            let (sender, media, fci) = take_feedback(body)?;
            Packet::TransportFeedback(TransportFeedback::parse(sender, media, fci).ok_or(RtcpError::Truncated)?)
        }
        (PAYLOAD_FEEDBACK, PICTURE_LOSS) => {
            let (sender, media, _) = take_feedback(body)?;
            Packet::Pli { sender, media }
        }
        (PAYLOAD_FEEDBACK, FULL_INTRA_REQUEST) => {
            let (sender, _, entries) = take_feedback(body)?;
            Packet::Fir(Fir { sender, entries })
        }
        _ => Packet::Other { packet_type, count },
    })
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), RtcpError> {
    let (value, rest) = bytes.split_first_chunk::<4>().ok_or(RtcpError::Truncated)?;
    Ok((u32::from_be_bytes(*value), rest))
}

/// RFC 4585, section 6.1: sender, media source, feedback control information.
fn take_feedback(body: &[u8]) -> Result<(u32, u32, &[u8]), RtcpError> {
    let (sender, rest) = take_u32(body)?;
    let (media, fci) = take_u32(rest)?;
    Ok((sender, media, fci))
}

/// RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    pub sender: u32,
    pub info: SenderInfo,
    pub reports: ReportBlocks<'a>,
}

/// What a sender says of its stream (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SenderInfo {
    /// NTP timestamp: seconds in the upper half, fraction in the lower.
    pub ntp: u64,
    /// The same moment in RTP's clock.
    pub rtp_timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

impl SenderInfo {
    fn read(bytes: &[u8; 20]) -> Self {
        let [n0, n1, n2, n3, n4, n5, n6, n7, t0, t1, t2, t3, p0, p1, p2, p3, o0, o1, o2, o3] = *bytes;
        Self {
            ntp: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
            rtp_timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            packets: u32::from_be_bytes([p0, p1, p2, p3]),
            octets: u32::from_be_bytes([o0, o1, o2, o3]),
        }
    }

    /// The middle 32 bits of the NTP timestamp, as report blocks repeat them.
    pub fn compact_ntp(&self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

/// What a receiver says of one stream (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Of 256, since the last report.
    pub fraction_lost: u8,
    /// 24 bits, signed: duplicates make it negative.
    pub cumulative_lost: i32,
    pub extended_highest_sequence: u32,
    /// In units of the RTP clock.
    pub jitter: u32,
    /// Compact NTP of the last sender report; 0: none yet.
    pub last_sender_report: u32,
    /// Since then, in 1/65536 s.
    pub delay_since_last: u32,
}

/// The report blocks of a packet.
#[derive(Clone, Copy, Debug)]
pub struct ReportBlocks<'a> {
    bytes: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    fn new(bytes: &'a [u8], count: u8) -> Result<Self, RtcpError> {
        let bytes = bytes.get(..usize::from(count) * REPORT_BLOCK_LEN).ok_or(RtcpError::Truncated)?;
        Ok(Self { bytes })
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        let (blocks, _) = self.bytes.as_chunks::<REPORT_BLOCK_LEN>();
        blocks.iter().map(|block| {
            let word =
                |at: usize| block.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&b| u32::from_be_bytes(b));
            let loss = word(4);
            ReportBlock {
                ssrc: word(0),
                fraction_lost: (loss >> 24) as u8,
                // Sign-extends 24 bits.
                cumulative_lost: ((loss << 8) as i32) >> 8,
                extended_highest_sequence: word(8),
                jitter: word(12),
                last_sender_report: word(16),
                delay_since_last: word(20),
            }
        })
    }
}

/// RFC 3550, section 6.5.
#[derive(Clone, Copy, Debug)]
pub struct SourceDescription<'a> {
    chunks: &'a [u8],
    count: u8,
}

impl<'a> SourceDescription<'a> {
    /// SSRC and CNAME of each chunk that has one, up to the first malformed chunk.
    pub fn cnames(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut rest = self.chunks;
        (0..self.count)
            .map_while(move |_| {
                let chunk = sdes_chunk(rest)?;
                rest = chunk.after;
                Some(chunk)
            })
            .filter_map(|chunk| Some((chunk.ssrc, chunk.cname?)))
    }
}

struct SdesChunk<'a> {
    ssrc: u32,
    cname: Option<&'a [u8]>,
    after: &'a [u8],
}

fn sdes_chunk(bytes: &[u8]) -> Option<SdesChunk<'_>> {
    let (ssrc, items) = bytes.split_first_chunk::<4>()?;
    let mut rest = items;
    let mut cname = None;
    loop {
        let (&kind, after_kind) = rest.split_first()?;
        if kind == 0 {
            // The list ends with a zero and is filled up with zeros to a whole word.
            let used = (items.len() - after_kind.len()).next_multiple_of(4);
            return Some(SdesChunk { ssrc: u32::from_be_bytes(*ssrc), cname, after: items.get(used..)? });
        }
        let (&len, after_len) = after_kind.split_first()?;
        let (value, after) = after_len.split_at_checked(usize::from(len))?;
        if kind == SDES_CNAME {
            cname = Some(value);
        }
        rest = after;
    }
}

/// RFC 3550, section 6.6. The reason is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    sources: &'a [u8],
}

impl<'a> Bye<'a> {
    /// Who leaves.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (words, _) = self.sources.as_chunks::<4>();
        words.iter().map(|&word| u32::from_be_bytes(word))
    }
}

/// RFC 4585, section 6.2.1.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    pub sender: u32,
    pub media: u32,
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    /// The sequence numbers asked for, in the order of the packet: 17 per entry at the most.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        let (entries, _) = self.entries.as_chunks::<4>();
        entries.iter().flat_map(|&[p0, p1, b0, b1]| {
            let first = u16::from_be_bytes([p0, p1]);
            let bitmask = u16::from_be_bytes([b0, b1]);
            let following =
                (0..16u16).filter(move |bit| bitmask >> bit & 1 != 0).map(move |bit| first.wrapping_add(bit + 1));
            std::iter::once(first).chain(following)
        })
    }
}

/// RFC 5104, section 4.3.1.
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    pub sender: u32,
    entries: &'a [u8],
}

/// One request of a [`Fir`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirEntry {
    pub media: u32,
    /// A repetition of a request has the same number.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    /// Whose key frames are asked for.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        let (entries, _) = self.entries.as_chunks::<8>();
        entries
            .iter()
            .map(|&[s0, s1, s2, s3, sequence, ..]| FirEntry { media: u32::from_be_bytes([s0, s1, s2, s3]), sequence })
    }
}
