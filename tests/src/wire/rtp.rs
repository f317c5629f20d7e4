//! RTP (RFC 3550, section 5.1) with one-byte header extensions (RFC 8285, section 4.2).

/// A packet to be written.
#[derive(Clone, Debug, Default)]
pub struct RtpPacket {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Id and value of each header extension.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub payload: Vec<u8>,
    /// Bytes of RTP padding after the payload; 0 for none.
    pub padding: u8,
}

impl RtpPacket {
    /// The packet's bytes, not encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.payload.len() + usize::from(self.padding));
        let has_extensions = !self.extensions.is_empty();
        out.push(0x80 | u8::from(self.padding > 0) << 5 | u8::from(has_extensions) << 4);
        out.push(u8::from(self.marker) << 7 | self.payload_type);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if has_extensions {
            let mut body = Vec::new();
            for (id, value) in &self.extensions {
                assert!((1..=14).contains(id) && (1..=16).contains(&value.len()), "one-byte form");
                body.push(id << 4 | (value.len() - 1) as u8);
                body.extend_from_slice(value);
            }
            body.resize(body.len().next_multiple_of(4), 0);
            out.extend_from_slice(&[0xbe, 0xde]);
            out.extend_from_slice(&((body.len() / 4) as u16).to_be_bytes());
            out.extend_from_slice(&body);
        }
        out.extend_from_slice(&self.payload);
        if self.padding > 0 {
            out.resize(out.len() + usize::from(self.padding) - 1, 0);
            out.push(self.padding);
        }
        out
    }

    /// Reads a decrypted packet; what is wrong with it otherwise.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let [b0, b1, s0, s1, t0, t1, t2, t3, x0, x1, x2, x3, rest @ ..] = bytes else {
            return Err(format!("an RTP packet of {} bytes", bytes.len()));
        };
        if b0 >> 6 != 2 {
            return Err("not RTP version 2".into());
        }
        let mut rest = rest.get(4 * usize::from(b0 & 0x0f)..).ok_or("CSRCs past the end")?;
        let mut extensions = Vec::new();
        if b0 & 0x10 != 0 {
            let [p0, p1, l0, l1, after @ ..] = rest else { return Err("extension header past the end".into()) };
            let len = 4 * usize::from(u16::from_be_bytes([*l0, *l1]));
            let body = after.get(..len).ok_or("extensions past the end")?;
            if [*p0, *p1] != [0xbe, 0xde] {
                return Err(format!("extension profile {p0:02x}{p1:02x}"));
            }
            extensions = one_byte_extensions(body)?;
            rest = &after[len..];
        }
        let mut padding = 0;
        if b0 & 0x20 != 0 {
            padding = *rest.last().ok_or("padding bit without payload")?;
            if padding == 0 || usize::from(padding) > rest.len() {
                return Err(format!("padding of {padding} in {} bytes", rest.len()));
            }
            rest = &rest[..rest.len() - usize::from(padding)];
        }
        Ok(Self {
            payload_type: b1 & 0x7f,
            marker: b1 & 0x80 != 0,
            sequence: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            ssrc: u32::from_be_bytes([*x0, *x1, *x2, *x3]),
            extensions,
            payload: rest.to_vec(),
            padding,
        })
    }

    /// The value of the extension with this id.
    pub fn extension(&self, id: Option<u8>) -> Option<&[u8]> {
        let id = id?;
        self.extensions.iter().find(|(other, _)| *other == id).map(|(_, value)| value.as_slice())
    }
}

fn one_byte_extensions(mut body: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
    let mut extensions = Vec::new();
    while let [first, after @ ..] = body {
        if *first == 0 {
            body = after;
            continue;
        }
        let len = usize::from(first & 0x0f) + 1;
        let value = after.get(..len).ok_or("an extension past the end of the extensions")?;
        extensions.push((first >> 4, value.to_vec()));
        body = &after[len..];
    }
    Ok(extensions)
}

/// Sequence numbers and the like, made to count on beyond 2¹⁶.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrap(Option<u64>);

impl Unwrap {
    /// The extended number that is nearest to the highest seen so far. Starts one wrap up, so that numbers
    /// from before the first one do not go below zero.
    pub fn extend(&mut self, number: u16) -> u64 {
        let Some(highest) = self.0 else {
            let first = (1 << 16) + u64::from(number);
            self.0 = Some(first);
            return first;
        };
        let extended = highest.wrapping_add_signed(i64::from(number.wrapping_sub(highest as u16) as i16));
        self.0 = Some(highest.max(extended));
        extended
    }

    /// The highest seen.
    pub fn highest(self) -> Option<u64> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        let packet = RtpPacket {
            payload_type: 96,
            marker: true,
            sequence: 0xfffe,
            timestamp: 7,
            ssrc: 0xdead_beef,
            extensions: vec![(3, b"a1".to_vec()), (14, vec![9])],
            payload: vec![1, 2, 3],
            padding: 5,
        };
        let decoded = RtpPacket::decode(&packet.encode()).unwrap();
        assert_eq!(format!("{packet:?}"), format!("{decoded:?}"));
        assert_eq!(decoded.extension(Some(3)), Some(&b"a1"[..]));
    }

    #[test]
    fn unwraps_both_ways() {
        let mut unwrap = Unwrap::default();
        let first = unwrap.extend(65_534);
        assert_eq!(unwrap.extend(1), first + 3);
        assert_eq!(unwrap.extend(65_533), first - 1);
        assert_eq!(unwrap.highest(), Some(first + 3));
    }
}
