//! Writing compound packets.

use super::packet::{FirEntry, ReportBlock, SenderInfo};
use super::{
    BYE, FULL_INTRA_REQUEST, GENERIC_NACK, PAYLOAD_FEEDBACK, PICTURE_LOSS, RECEIVER_REPORT, SENDER_REPORT,
    SOURCE_DESCRIPTION, TRANSPORT_LAYER_FEEDBACK,
};

/// RFC 3550, section 6.4.1: the count has five bits.
const REPORTS_PER_PACKET: usize = 31;

/// Appends packets to a compound packet in a caller's buffer. Each method returns whether its packet fitted;
/// one that does not leaves the buffer as it was.
#[derive(Debug)]
pub struct RtcpWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> RtcpWriter<'a> {
    /// Begins a compound packet at the start of `buffer`. Leave room for the SRTCP trailer by handing a
    /// shorter slice.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A sender report with up to 31 report blocks.
    pub fn sender_report(&mut self, sender: u32, info: &SenderInfo, reports: &[ReportBlock]) -> bool {
        let Some(count) = report_count(reports) else { return false };
        self.packet(count, SENDER_REPORT, |body| {
            body.u32(sender);
            body.bytes(&info.ntp.to_be_bytes());
            body.u32(info.rtp_timestamp);
            body.u32(info.packets);
            body.u32(info.octets);
            report_blocks(body, reports);
        })
    }

    /// A receiver report with up to 31 report blocks.
    pub fn receiver_report(&mut self, sender: u32, reports: &[ReportBlock]) -> bool {
        let Some(count) = report_count(reports) else { return false };
        self.packet(count, RECEIVER_REPORT, |body| {
            body.u32(sender);
            report_blocks(body, reports);
        })
    }

    /// A source description with one chunk that has one item, the CNAME of up to 255 bytes.
    pub fn cname(&mut self, ssrc: u32, cname: &[u8]) -> bool {
        let Ok(len) = u8::try_from(cname.len()) else { return false };
        self.packet(1, SOURCE_DESCRIPTION, |body| {
            body.u32(ssrc);
            body.bytes(&[1, len]);
            body.bytes(cname);
            // The zero that ends the list; the packet is filled up with more of them.
            body.bytes(&[0]);
        })
    }

    /// BYE of up to 31 sources.
    pub fn bye(&mut self, ssrcs: &[u32]) -> bool {
        let Some(count) = u8::try_from(ssrcs.len()).ok().filter(|&count| count <= 31) else { return false };
        self.packet(count, BYE, |body| ssrcs.iter().for_each(|&ssrc| body.u32(ssrc)))
    }

    /// Asks for a key frame (RFC 4585, section 6.3.1).
    pub fn pli(&mut self, sender: u32, media: u32) -> bool {
        self.packet(PICTURE_LOSS, PAYLOAD_FEEDBACK, |body| {
            body.u32(sender);
            body.u32(media);
        })
    }

    /// Asks for a key frame (RFC 5104, section 4.3.1).
    pub fn fir(&mut self, sender: u32, request: FirEntry) -> bool {
        self.packet(FULL_INTRA_REQUEST, PAYLOAD_FEEDBACK, |body| {
            body.u32(sender);
            body.u32(0);
            body.u32(request.media);
            body.bytes(&[request.sequence, 0, 0, 0]);
        })
    }

    /// Asks for packets again. `sequences` ascend (modulo 2^16), so that neighbours share an entry. Nothing is written for none.
    pub fn nack(&mut self, sender: u32, media: u32, sequences: impl IntoIterator<Item = u16>) -> bool {
        let mut sequences = sequences.into_iter();
        let Some(mut first) = sequences.next() else { return true };
        self.packet(GENERIC_NACK, TRANSPORT_LAYER_FEEDBACK, |body| {
            body.u32(sender);
            body.u32(media);
            let mut bitmask = 0u16;
            for sequence in sequences {
                match sequence.wrapping_sub(first) {
                    0 => {}
                    ahead @ 1..=16 => bitmask |= 1 << (ahead - 1),
                    _ => {
                        body.u16(first);
                        body.u16(bitmask);
                        first = sequence;
                        bitmask = 0;
                    }
                }
            }
            body.u16(first);
            body.u16(bitmask);
        })
    }

    /// Writes one packet: the common header, then what `fill` appends, filled up with zeros to a whole word.
    pub(super) fn packet(&mut self, count: u8, packet_type: u8, fill: impl FnOnce(&mut Body<'_>)) -> bool {
        let Some(free) = self.buffer.get_mut(self.len..) else { return false };
        let Some((header, rest)) = free.split_first_chunk_mut::<4>() else { return false };
        let mut body = Body { rest, len: 0, fits: true };
        fill(&mut body);
        let unaligned = body.len % 4;
        if unaligned != 0 {
            body.bytes(&[0; 4][unaligned..]);
        }
        let (fits, len) = (body.fits, body.len);
        let Some(words) = u16::try_from(len / 4).ok().filter(|_| fits) else { return false };
        let [w0, w1] = words.to_be_bytes();
        *header = [0x80 | count & 0x1f, packet_type, w0, w1];
        self.len += 4 + len;
        true
    }
}

/// The body of a packet under construction. Overflow is remembered, so that callers check once.
pub(super) struct Body<'a> {
    rest: &'a mut [u8],
    len: usize,
    fits: bool,
}

impl Body<'_> {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        match self.rest.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.fits = false,
        }
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }
}

fn report_count(reports: &[ReportBlock]) -> Option<u8> {
    if reports.len() > REPORTS_PER_PACKET {
        return None;
    }
    u8::try_from(reports.len()).ok()
}

fn report_blocks(body: &mut Body<'_>, reports: &[ReportBlock]) {
    for report in reports {
        body.u32(report.ssrc);
        // RFC 3550, appendix A.3: clamped to 24 bits, signed.
        let lost = report.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        body.u32(u32::from(report.fraction_lost) << 24 | lost);
        body.u32(report.extended_highest_sequence);
        body.u32(report.jitter);
        body.u32(report.last_sender_report);
        body.u32(report.delay_since_last);
    }
}
