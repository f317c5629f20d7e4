//! What a datagram is, by its first byte (RFC 7983) and, for RTP and RTCP on one port, its second (RFC 5761).

/// The protocol of a datagram. Says nothing about whether the rest of it is well formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Stun,
    Dtls,
    /// TURN ChannelData.
    ChannelData,
    Rtp,
    Rtcp,
    /// Nothing we speak (ZRTP among it), or an empty datagram.
    Unknown,
}

/// RFC 7983, section 7. Clients of the older TURN (RFC 5766, section 11; coturn's among them) have channel numbers up to
/// 0x7fff, whose first bytes belong to no other protocol.
pub fn classify(datagram: &[u8]) -> Protocol {
    match *datagram {
        [0..=3, ..] => Protocol::Stun,
        [20..=63, ..] => Protocol::Dtls,
        [64..=127, ..] => Protocol::ChannelData,
        // RFC 5761, section 4: RTCP packet types 192–223 are RTP payload types 64–95 with the marker bit set.
        [128..=191, 192..=223, ..] => Protocol::Rtcp,
        [128..=191, _, ..] => Protocol::Rtp,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_its_protocol() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Protocol::Stun,
                20..=63 => Protocol::Dtls,
                64..=127 => Protocol::ChannelData,
                128..=191 => Protocol::Rtp,
                _ => Protocol::Unknown,
            };
            assert_eq!(classify(&[first, 96]), expected, "{first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_the_second_byte() {
        for second in 0..=255u8 {
            let expected = if (192..=223).contains(&second) { Protocol::Rtcp } else { Protocol::Rtp };
            assert_eq!(classify(&[0x80, second]), expected, "{second}");
        }
    }

    #[test]
    fn short_datagrams_are_no_rtp() {
        assert_eq!(classify(&[]), Protocol::Unknown);
        assert_eq!(classify(&[0x80]), Protocol::Unknown);
    }
}
