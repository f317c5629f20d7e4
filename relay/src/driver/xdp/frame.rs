//! Ethernet, IP and UDP headers (RFC 791, 8200, 768), as far as a datagram of ours needs them. No extension headers,
//! no options, no fragments, no VLAN tags: the program in the kernel leaves such frames to the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Destination, source, type.
pub(super) const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
/// The largest of all headers together.
pub(super) const HEADER_BYTES: usize = ETHERNET_BYTES + IPV6_BYTES + UDP_BYTES;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(super) const PROTOCOL_UDP: u8 = 17;
/// As the kernel sends by default (net.ipv4.ip_default_ttl).
const HOPS: u8 = 64;

/// Who sent a frame, to whom, and where its payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Received {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// Reads the headers of a frame; `None` for anything that is no whole UDP datagram. The UDP checksum is not
/// looked at: a virtual device leaves it open, and what the engine acts on has a stronger one of its own.
pub(super) fn parse(frame: &[u8]) -> Option<Received> {
    let kind = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
    let ip = frame.get(ETHERNET_BYTES..)?;
    let (source, destination, header, total): (IpAddr, IpAddr, usize, usize) = match kind {
        ETHERTYPE_IPV4 => {
            let header: &[u8; IPV4_BYTES] = ip.first_chunk()?;
            let [version_length, _, total_high, total_low, _, _, flags, offset, _, protocol, ..] = *header;
            // A 5-word header, neither "more fragments" nor an offset.
            if version_length != 0x45 || protocol != PROTOCOL_UDP || flags & 0x3f != 0 || offset != 0 {
                return None;
            }
            let source: [u8; 4] = *header[12..].first_chunk()?;
            let destination: [u8; 4] = *header[16..].first_chunk()?;
            let total = usize::from(u16::from_be_bytes([total_high, total_low]));
            (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into(), IPV4_BYTES, total)
        }
        ETHERTYPE_IPV6 => {
            let header: &[u8; IPV6_BYTES] = ip.first_chunk()?;
            if header[0] >> 4 != 6 || header[6] != PROTOCOL_UDP {
                return None;
            }
            let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let source: [u8; 16] = *header[8..].first_chunk()?;
            let destination: [u8; 16] = *header[24..].first_chunk()?;
            (Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into(), IPV6_BYTES, IPV6_BYTES + payload)
        }
        _ => return None,
    };
    // Short frames are padded to 60 bytes: what counts is the length that IP says.
    let udp = ip.get(header..total)?;
    let [s0, s1, d0, d1, l0, l1, ..] = *udp.first_chunk::<UDP_BYTES>()?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if !(UDP_BYTES..=udp.len()).contains(&len) {
        return None;
    }
    Some(Received {
        source: SocketAddr::new(source, u16::from_be_bytes([s0, s1])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([d0, d1])),
        start: ETHERNET_BYTES + header + UDP_BYTES,
        len: len - UDP_BYTES,
    })
}

/// All headers of a datagram from one address to another, ready but for its length. Computed once for each destination,
/// copied for each datagram.
#[derive(Clone, Debug)]
pub(super) struct Header {
    bytes: [u8; HEADER_BYTES],
    /// Where the UDP header begins.
    udp: usize,
    /// What does not change of the IPv4 header's checksum, or of the UDP checksum over IPv6.
    sum: u64,
}

impl Header {
    /// `macs`: destination and source. `None` where the two addresses are not of one family.
    pub(super) fn new(macs: &[u8; 12], source: SocketAddr, destination: SocketAddr) -> Option<Self> {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..12].copy_from_slice(macs);
        let (kind, ip_bytes) = match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let header = &mut bytes[ETHERNET_BYTES..][..IPV4_BYTES];
                header[0] = 0x45;
                // Never fragmented, so the identification says nothing (RFC 6864, section 4.1).
                header[6] = 0x40;
                header[8..10].copy_from_slice(&[HOPS, PROTOCOL_UDP]);
                header[12..16].copy_from_slice(&from.octets());
                header[16..20].copy_from_slice(&to.octets());
                (ETHERTYPE_IPV4, IPV4_BYTES)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = &mut bytes[ETHERNET_BYTES..][..IPV6_BYTES];
                header[0] = 0x60;
                header[6..8].copy_from_slice(&[PROTOCOL_UDP, HOPS]);
                header[8..24].copy_from_slice(&from.octets());
                header[24..40].copy_from_slice(&to.octets());
                (ETHERTYPE_IPV6, IPV6_BYTES)
            }
            _ => return None,
        };
        bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        let udp = ETHERNET_BYTES + ip_bytes;
        bytes[udp..udp + 2].copy_from_slice(&source.port().to_be_bytes());
        bytes[udp + 2..udp + 4].copy_from_slice(&destination.port().to_be_bytes());
        let sum = match kind {
            ETHERTYPE_IPV4 => sum(0, &bytes[ETHERNET_BYTES..udp]),
            // The pseudo-header's addresses and protocol (RFC 8200, section 8.1), and the ports.
            _ => sum(PROTOCOL_UDP.into(), &bytes[ETHERNET_BYTES + 8..udp + 4]),
        };
        Some(Self { bytes, udp, sum })
    }

    fn len(&self) -> usize {
        self.udp + UDP_BYTES
    }

    /// The IP packet around so many bytes.
    pub(super) fn packet_bytes(&self, payload: usize) -> usize {
        self.len() - ETHERNET_BYTES + payload
    }

    /// Writes a frame with `payload` into `frame`, which has room for `HEADER_BYTES` more; answers its length.
    pub(super) fn write(&self, frame: &mut [u8], payload: &[u8]) -> usize {
        let Self { udp, .. } = *self;
        // All of it, though IPv4 needs less: a copy of constant size is a few instructions.
        frame[..HEADER_BYTES].copy_from_slice(&self.bytes);
        frame[udp + UDP_BYTES..][..payload.len()].copy_from_slice(payload);
        let udp_len = (UDP_BYTES + payload.len()) as u16;
        frame[udp + 4..udp + 6].copy_from_slice(&udp_len.to_be_bytes());
        if udp == ETHERNET_BYTES + IPV4_BYTES {
            let total = IPV4_BYTES as u16 + udp_len;
            frame[ETHERNET_BYTES + 2..][..2].copy_from_slice(&total.to_be_bytes());
            frame[ETHERNET_BYTES + 10..][..2].copy_from_slice(&finish(self.sum + u64::from(total)).to_be_bytes());
            // With IPv4, a UDP checksum of zero means that there is none (RFC 768): SRTP, DTLS and STUN have better ones.
        } else {
            frame[ETHERNET_BYTES + 4..][..2].copy_from_slice(&udp_len.to_be_bytes());
            // The length counts twice: in the pseudo-header and in UDP's own.
            let checksum = match finish(sum(self.sum + 2 * u64::from(udp_len), payload)) {
                // RFC 8200, section 8.1.
                0 => 0xffff,
                checksum => checksum,
            };
            frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
        }
        udp + UDP_BYTES + payload.len()
    }
}

/// Adds 16-bit big-endian words (RFC 1071), an odd byte as if followed by zero. 64 bits hold the sum of 2^32 four-byte words.
fn sum(start: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    // 2^16 is 1 modulo 2^16 - 1, so wider words give the same sum.
    let mut total: u64 =
        words.by_ref().map(|word| u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let mut rest = [0; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    total += u64::from(u32::from_be_bytes(rest));
    start + total
}

fn finish(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn write(
        frame: &mut [u8],
        macs: &[u8; 12],
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> Option<usize> {
        Some(Header::new(macs, source, destination)?.write(frame, payload))
    }

    fn addresses(v6: bool) -> (SocketAddr, SocketAddr) {
        match v6 {
            false => ("192.0.2.1:7882".parse().unwrap(), "198.51.100.7:50000".parse().unwrap()),
            true => ("[2001:db8::1]:7882".parse().unwrap(), "[2001:db8:7::9]:50000".parse().unwrap()),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for v6 in [false, true] {
            let (source, destination) = addresses(v6);
            for len in [0, 1, 2, 3, 120, 1200, 1501] {
                let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
                let mut frame = vec![0xaa; 2048];
                let written = write(&mut frame, &MACS, source, destination, &payload).unwrap();
                frame.truncate(written.max(60));
                let read = parse(&frame).unwrap();
                assert_eq!((read.source, read.destination), (source, destination));
                assert_eq!(&frame[read.start..][..read.len], payload);
                assert_eq!(frame[..12], MACS);
            }
        }
    }

    #[test]
    fn checksums_add_up_to_all_ones() {
        for v6 in [false, true] {
            let (source, destination) = addresses(v6);
            for len in [0usize, 1, 7, 1200] {
                let mut frame = [0; 2048];
                let written = write(&mut frame, &MACS, source, destination, &vec![0xc3; len]).unwrap();
                let udp_len = 8 + len;
                if v6 {
                    let pseudo = sum(udp_len as u64 + 17, &frame[22..54]);
                    assert_eq!(finish(sum(pseudo, &frame[54..written])), 0);
                } else {
                    assert_eq!(finish(sum(0, &frame[14..34])), 0);
                    assert_eq!(frame[40..42], [0, 0]);
                }
            }
        }
    }

    #[test]
    fn a_known_checksum_comes_out() {
        // The example of RFC 1071, section 3.
        assert_eq!(finish(sum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), !0xddf2);
    }

    #[test]
    fn frames_cut_anywhere_and_wrong_lengths_are_no_datagrams() {
        for v6 in [false, true] {
            let (source, destination) = addresses(v6);
            let mut frame = vec![0; 2048];
            let written = write(&mut frame, &MACS, source, destination, &[7; 100]).unwrap();
            frame.truncate(written);
            for len in 0..written {
                assert_eq!(parse(&frame[..len]), None, "{len}");
            }
            for byte in 0..written - 100 {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = frame.clone();
                    damaged[byte] = value;
                    if let Some(read) = parse(&damaged) {
                        assert!(read.start + read.len <= damaged.len());
                    }
                }
            }
        }
    }

    #[test]
    fn fragments_and_options_are_left_alone() {
        let (source, destination) = addresses(false);
        let mut frame = [0; 200];
        let written = write(&mut frame, &MACS, source, destination, &[7; 100]).unwrap();
        for (byte, value) in [(14, 0x46), (20, 0x20), (20, 0x01), (21, 1), (23, 6), (12, 0x81)] {
            let mut other = frame;
            other[byte] = value;
            assert_eq!(parse(&other[..written]), None);
        }
    }

    #[test]
    fn families_are_not_mixed() {
        let (v4, _) = addresses(false);
        let (v6, _) = addresses(true);
        assert_eq!(write(&mut [0; 200], &MACS, v4, v6, &[1]), None);
    }
}
