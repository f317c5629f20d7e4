//! An RTP header as far as every received packet is looked at, without taking memory: most packets are only counted.

/// See the module. The fields of RFC 3550, section 5.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) padding: bool,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// The MID, if the packet has one.
    pub(crate) mid: Option<&'a [u8]>,
    /// Bytes in front of the payload.
    pub(crate) len: usize,
}

const FIXED_BYTES: usize = 12;
/// RFC 8285, sections 4.2 and 4.3.
const ONE_BYTE: u16 = 0xbede;
const TWO_BYTE: u16 = 0x1000;

impl<'a> Header<'a> {
    /// `None` for what is no RTP packet. `mid_extension`: the id under which MIDs are sent.
    pub(crate) fn read(packet: &'a [u8], mid_extension: Option<u8>) -> Option<Self> {
        let fixed = packet.first_chunk::<FIXED_BYTES>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut len = FIXED_BYTES + 4 * usize::from(fixed[0] & 0x0f);
        let mut mid = None;
        if fixed[0] & 0x10 != 0 {
            let extension = packet.get(len..)?.first_chunk::<4>()?;
            let profile = u16::from_be_bytes([extension[0], extension[1]]);
            let bytes = 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            len += 4;
            let elements = packet.get(len..len + bytes)?;
            len += bytes;
            mid = mid_extension.and_then(|id| find(elements, profile, id));
        }
        (len <= packet.len()).then_some(Self {
            padding: fixed[0] & 0x20 != 0,
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            mid,
            len,
        })
    }

    /// The payload of the packet in plain form, without its padding.
    pub(crate) fn payload<'p>(&self, plain: &'p [u8]) -> &'p [u8] {
        let payload = plain.get(self.len..).unwrap_or_default();
        let padding = match self.padding {
            true => payload.last().copied().map_or(0, usize::from),
            false => 0,
        };
        &payload[..payload.len().saturating_sub(padding)]
    }
}

/// The element of this id.
fn find(mut elements: &[u8], profile: u16, wanted: u8) -> Option<&[u8]> {
    while let Some((&first, rest)) = elements.split_first() {
        // A padding byte between elements.
        if first == 0 {
            elements = rest;
            continue;
        }
        let (id, len, rest) = match profile {
            ONE_BYTE => (first >> 4, usize::from(first & 0x0f) + 1, rest),
            _ if profile & 0xfff0 == TWO_BYTE => {
                let (len, rest) = rest.split_first()?;
                (first, usize::from(*len), rest)
            }
            _ => return None,
        };
        // RFC 8285, section 4.2: nothing comes after 15.
        if profile == ONE_BYTE && id == 15 {
            return None;
        }
        let element = rest.get(..len)?;
        if id == wanted {
            return Some(element);
        }
        elements = &rest[len..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rtp::packet::Packet;
    use webrtc_util::marshal::Marshal;

    fn packet(extensions: &[(u8, &'static [u8])]) -> Bytes {
        let mut header = rtp::header::Header {
            version: 2,
            marker: true,
            payload_type: 96,
            sequence_number: 0xfedc,
            timestamp: 0x1234_5678,
            ssrc: 0x9abc_def0,
            csrc: vec![1, 2],
            ..rtp::header::Header::default()
        };
        for (id, value) in extensions {
            header.set_extension(*id, Bytes::from_static(value)).unwrap();
        }
        Packet { header, payload: Bytes::from_static(&[7; 9]) }.marshal().unwrap()
    }

    #[test]
    fn headers_are_read_as_the_rtp_crate_writes_them() {
        // The last one has a value too long for one-byte elements.
        let all: [&[(u8, &'static [u8])]; 4] =
            [&[], &[(1, b"3")], &[(2, &[0x9f]), (3, &[1, 2]), (1, b"12")], &[(4, &[9; 20]), (1, b"5")]];
        for (extensions, mid) in all.into_iter().zip([None, Some(b"3".as_slice()), Some(b"12"), Some(b"5")]) {
            let packet = packet(extensions);
            let header = Header::read(&packet, Some(1)).unwrap();
            assert_eq!(header.mid, mid);
            assert_eq!((header.marker, header.payload_type, header.sequence_number), (true, 96, 0xfedc));
            assert_eq!((header.timestamp, header.ssrc), (0x1234_5678, 0x9abc_def0));
            assert_eq!(header.payload(&packet), [7; 9]);
            assert_eq!(Header::read(&packet, None).unwrap().mid, None);
            for cut in 0..header.len {
                assert_eq!(Header::read(&packet[..cut], Some(1)), None, "{cut}");
            }
        }
    }

    #[test]
    fn other_versions_and_broken_elements_are_nothing() {
        assert_eq!(Header::read(&[0x40; 40], Some(1)), None);
        let mut broken = packet(&[(1, b"3")]).to_vec();
        // An element that is longer than the extension.
        broken[24] = 0x1f;
        assert_eq!(Header::read(&broken, Some(1)).unwrap().mid, None);
        let mut padded = packet(&[]).to_vec();
        padded[0] |= 0x20;
        *padded.last_mut().unwrap() = 4;
        assert_eq!(Header::read(&padded, None).unwrap().payload(&padded), [7; 5]);
    }
}
