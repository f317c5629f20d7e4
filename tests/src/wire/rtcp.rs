//! RTCP (RFC 3550, section 6; RFC 4585; RFC 5104).

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// RFC 4585, section 6.2.1.
const NACK: u8 = 1;
/// draft-holmer-rmcat-transport-wide-cc-extensions-01.
const TWCC: u8 = 15;
/// RFC 4585, section 6.3.1.
const PLI: u8 = 1;
/// RFC 5104, section 4.3.1.
const FIR: u8 = 4;

/// A report block (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub cumulative_lost: i32,
    pub highest_sequence: u32,
    pub jitter: u32,
    pub last_sr: u32,
    pub delay_since_last_sr: u32,
}

/// One packet of a compound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rtcp {
    SenderReport {
        ssrc: u32,
        ntp: u64,
        timestamp: u32,
        packets: u32,
        octets: u32,
        blocks: Vec<ReportBlock>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: Vec<ReportBlock>,
    },
    /// SSRC and CNAME of each chunk.
    SourceDescription {
        chunks: Vec<(u32, String)>,
    },
    Bye {
        ssrcs: Vec<u32>,
    },
    Nack {
        sender: u32,
        media: u32,
        lost: Vec<u16>,
    },
    Twcc {
        sender: u32,
        media: u32,
        body: Vec<u8>,
    },
    Pli {
        sender: u32,
        media: u32,
    },
    Fir {
        sender: u32,
        entries: Vec<(u32, u8)>,
    },
    Other {
        packet_type: u8,
        count: u8,
    },
}

impl Rtcp {
    /// Appends the packet to a compound.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::SenderReport { ssrc, ntp, timestamp, packets, octets, blocks } => {
                let mut body = words(&[*ssrc, (ntp >> 32) as u32, *ntp as u32, *timestamp, *packets, *octets]);
                blocks.iter().for_each(|block| block.encode(&mut body));
                packet(out, blocks.len() as u8, SENDER_REPORT, &body);
            }
            Self::ReceiverReport { ssrc, blocks } => {
                let mut body = words(&[*ssrc]);
                blocks.iter().for_each(|block| block.encode(&mut body));
                packet(out, blocks.len() as u8, RECEIVER_REPORT, &body);
            }
            Self::SourceDescription { chunks } => {
                let mut body = Vec::new();
                for (ssrc, cname) in chunks {
                    body.extend_from_slice(&ssrc.to_be_bytes());
                    body.extend_from_slice(&[1, cname.len() as u8]);
                    body.extend_from_slice(cname.as_bytes());
                    body.push(0);
                    body.resize(body.len().next_multiple_of(4), 0);
                }
                packet(out, chunks.len() as u8, SOURCE_DESCRIPTION, &body);
            }
            Self::Bye { ssrcs } => packet(out, ssrcs.len() as u8, BYE, &words(ssrcs)),
            Self::Nack { sender, media, lost } => {
                let mut body = words(&[*sender, *media]);
                let mut lost = lost.iter().copied().peekable();
                while let Some(first) = lost.next() {
                    let mut mask = 0_u16;
                    while let Some(next) = lost.peek() {
                        let distance = next.wrapping_sub(first);
                        if !(1..=16).contains(&distance) {
                            break;
                        }
                        mask |= 1 << (distance - 1);
                        lost.next();
                    }
                    body.extend_from_slice(&first.to_be_bytes());
                    body.extend_from_slice(&mask.to_be_bytes());
                }
                packet(out, NACK, TRANSPORT_FEEDBACK, &body);
            }
            Self::Twcc { sender, media, body } => {
                let mut all = words(&[*sender, *media]);
                all.extend_from_slice(body);
                packet(out, TWCC, TRANSPORT_FEEDBACK, &all);
            }
            Self::Pli { sender, media } => packet(out, PLI, PAYLOAD_FEEDBACK, &words(&[*sender, *media])),
            Self::Fir { sender, entries } => {
                let mut body = words(&[*sender, 0]);
                for (ssrc, number) in entries {
                    body.extend_from_slice(&words(&[*ssrc, u32::from(*number) << 24]));
                }
                packet(out, FIR, PAYLOAD_FEEDBACK, &body);
            }
            Self::Other { packet_type, count } => packet(out, *count, *packet_type, &[]),
        }
    }

    /// All packets of a decrypted compound; what is wrong with it otherwise.
    pub fn decode_compound(mut bytes: &[u8]) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let [b0, packet_type, l0, l1, ..] = bytes else { return Err("RTCP header past the end".into()) };
            if b0 >> 6 != 2 {
                return Err("not RTCP version 2".into());
            }
            let len = 4 * (usize::from(u16::from_be_bytes([*l0, *l1])) + 1);
            let mut body = bytes.get(4..len).ok_or("RTCP packet past the end of its compound")?;
            if b0 & 0x20 != 0 {
                let padding = usize::from(*body.last().ok_or("padding without body")?);
                body = body.get(..body.len() - padding.min(body.len())).unwrap_or_default();
            }
            all.push(
                Self::decode(b0 & 0x1f, *packet_type, body).ok_or_else(|| format!("RTCP {packet_type} cut short"))?,
            );
            bytes = &bytes[len..];
        }
        Ok(all)
    }

    fn decode(count: u8, packet_type: u8, body: &[u8]) -> Option<Self> {
        Some(match (packet_type, count) {
            (SENDER_REPORT, _) => Self::SenderReport {
                ssrc: word(body, 0)?,
                ntp: u64::from(word(body, 4)?) << 32 | u64::from(word(body, 8)?),
                timestamp: word(body, 12)?,
                packets: word(body, 16)?,
                octets: word(body, 20)?,
                blocks: ReportBlock::decode_all(body.get(24..)?, count)?,
            },
            (RECEIVER_REPORT, _) => {
                Self::ReceiverReport { ssrc: word(body, 0)?, blocks: ReportBlock::decode_all(body.get(4..)?, count)? }
            }
            (SOURCE_DESCRIPTION, _) => Self::SourceDescription { chunks: decode_chunks(body, count)? },
            (BYE, _) => Self::Bye { ssrcs: (0..usize::from(count)).map(|i| word(body, 4 * i)).collect::<Option<_>>()? },
            (TRANSPORT_FEEDBACK, NACK) => {
                let mut lost = Vec::new();
                for pair in body.get(8..)?.chunks_exact(4) {
                    let first = u16::from_be_bytes([pair[0], pair[1]]);
                    let mask = u16::from_be_bytes([pair[2], pair[3]]);
                    lost.push(first);
                    lost.extend((0..16).filter(|bit| mask >> bit & 1 == 1).map(|bit| first.wrapping_add(bit + 1)));
                }
                Self::Nack { sender: word(body, 0)?, media: word(body, 4)?, lost }
            }
            (TRANSPORT_FEEDBACK, TWCC) => {
                Self::Twcc { sender: word(body, 0)?, media: word(body, 4)?, body: body.get(8..)?.to_vec() }
            }
            (PAYLOAD_FEEDBACK, PLI) => Self::Pli { sender: word(body, 0)?, media: word(body, 4)? },
            (PAYLOAD_FEEDBACK, FIR) => Self::Fir {
                sender: word(body, 0)?,
                entries: body
                    .get(8..)?
                    .chunks_exact(8)
                    .map(|entry| Some((word(entry, 0)?, entry[4])))
                    .collect::<Option<_>>()?,
            },
            _ => Self::Other { packet_type, count },
        })
    }
}

impl ReportBlock {
    fn encode(&self, out: &mut Vec<u8>) {
        let lost = u32::from(self.fraction_lost) << 24 | (self.cumulative_lost as u32 & 0xff_ffff);
        out.extend_from_slice(&words(&[
            self.ssrc,
            lost,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ]));
    }

    fn decode_all(body: &[u8], count: u8) -> Option<Vec<Self>> {
        (0..usize::from(count))
            .map(|i| {
                let at = 24 * i;
                let lost = word(body, at + 4)?;
                Some(Self {
                    ssrc: word(body, at)?,
                    fraction_lost: (lost >> 24) as u8,
                    // 24 bits with sign.
                    cumulative_lost: (lost << 8) as i32 >> 8,
                    highest_sequence: word(body, at + 8)?,
                    jitter: word(body, at + 12)?,
                    last_sr: word(body, at + 16)?,
                    delay_since_last_sr: word(body, at + 20)?,
                })
            })
            .collect()
    }
}

fn decode_chunks(mut body: &[u8], count: u8) -> Option<Vec<(u32, String)>> {
    let mut chunks = Vec::new();
    for _ in 0..count {
        let ssrc = word(body, 0)?;
        let mut at = 4;
        let mut cname = String::new();
        while *body.get(at)? != 0 {
            let len = usize::from(*body.get(at + 1)?);
            let value = body.get(at + 2..at + 2 + len)?;
            if body[at] == 1 {
                cname = String::from_utf8_lossy(value).into_owned();
            }
            at += 2 + len;
        }
        chunks.push((ssrc, cname));
        body = body.get((at + 1).next_multiple_of(4)..)?;
    }
    Some(chunks)
}

fn packet(out: &mut Vec<u8>, count: u8, packet_type: u8, body: &[u8]) {
    assert!(body.len().is_multiple_of(4));
    out.extend_from_slice(&[0x80 | count, packet_type]);
    out.extend_from_slice(&((body.len() / 4) as u16).to_be_bytes());
    out.extend_from_slice(body);
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        let block =
            ReportBlock { ssrc: 5, fraction_lost: 7, cumulative_lost: -3, highest_sequence: 99, ..Default::default() };
        let compound = vec![
            Rtcp::SenderReport { ssrc: 1, ntp: 1 << 40, timestamp: 2, packets: 3, octets: 4, blocks: vec![block] },
            Rtcp::ReceiverReport { ssrc: 1, blocks: vec![block, block] },
            Rtcp::SourceDescription { chunks: vec![(1, "abc".into()), (2, "".into())] },
            Rtcp::Nack { sender: 1, media: 2, lost: vec![65_535, 0, 15, 300] },
            Rtcp::Twcc { sender: 1, media: 2, body: vec![1, 2, 3, 4] },
            Rtcp::Pli { sender: 1, media: 2 },
            Rtcp::Fir { sender: 1, entries: vec![(2, 3)] },
            Rtcp::Bye { ssrcs: vec![1, 2] },
        ];
        let mut bytes = Vec::new();
        compound.iter().for_each(|packet| packet.encode(&mut bytes));
        assert_eq!(Rtcp::decode_compound(&bytes).unwrap(), compound);
    }
}
