//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1), the reading side.

/// What a feedback packet says: the sequence numbers in order, each with its arrival in units of 250 µs after
/// the reference time where it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feedback {
    pub base: u16,
    /// In units of 64 ms.
    pub reference_time: u32,
    pub feedback_count: u8,
    /// Arrival of `base + i`, in units of 250 µs since the reference time.
    pub arrivals: Vec<Option<i64>>,
}

/// Reads the part of the packet after the two SSRCs.
pub fn decode(body: &[u8]) -> Result<Feedback, String> {
    let [b0, b1, c0, c1, r0, r1, r2, feedback_count, chunks @ ..] = body else {
        return Err("transport feedback cut short".into());
    };
    let count = usize::from(u16::from_be_bytes([*c0, *c1]));
    let (symbols, mut deltas) = decode_chunks(chunks, count)?;
    let mut at = 0_i64;
    let mut arrivals = Vec::with_capacity(count);
    for symbol in symbols {
        let delta = match (symbol, deltas) {
            (0, _) => {
                arrivals.push(None);
                continue;
            }
            (1, [small, rest @ ..]) => {
                deltas = rest;
                i64::from(*small)
            }
            (2, [high, low, rest @ ..]) => {
                deltas = rest;
                i64::from(i16::from_be_bytes([*high, *low]))
            }
            (3, _) => return Err("a reserved symbol in transport feedback".into()),
            _ => return Err("transport feedback has fewer deltas than packets".into()),
        };
        at += delta;
        arrivals.push(Some(at));
    }
    if deltas.len() > 3 {
        return Err(format!("{} bytes after the last delta of transport feedback", deltas.len()));
    }
    Ok(Feedback {
        base: u16::from_be_bytes([*b0, *b1]),
        reference_time: u32::from_be_bytes([0, *r0, *r1, *r2]),
        feedback_count: *feedback_count,
        arrivals,
    })
}

/// One symbol for each of `count` packets, and the bytes after the last chunk.
fn decode_chunks(mut chunks: &[u8], count: usize) -> Result<(Vec<u8>, &[u8]), String> {
    let mut symbols = Vec::with_capacity(count);
    while symbols.len() < count {
        let [high, low, rest @ ..] = chunks else { return Err("status chunks cut short".into()) };
        chunks = rest;
        let chunk = u16::from_be_bytes([*high, *low]);
        if chunk >> 15 == 0 {
            let run = usize::from(chunk & 0x1fff);
            if run == 0 {
                return Err("a run of no packets in transport feedback".into());
            }
            symbols.resize(symbols.len() + run, (chunk >> 13 & 3) as u8);
        } else if chunk >> 14 & 1 == 0 {
            symbols.extend((0..14).rev().map(|bit| (chunk >> bit & 1) as u8));
        } else {
            symbols.extend((0..7).rev().map(|pair| (chunk >> (2 * pair) & 3) as u8));
        }
    }
    symbols.truncate(count);
    Ok((symbols, chunks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_kinds_of_chunks() {
        // Base 10, 11 packets: a run of two small deltas; two symbols each (7); one bit each (14, two used).
        let mut body = vec![0, 10, 0, 11, 0, 0, 1, 9];
        body.extend_from_slice(&0x2002_u16.to_be_bytes());
        body.extend_from_slice(&0b11_00_01_10_00_00_00_00_u16.to_be_bytes());
        body.extend_from_slice(&0b1001_0000_0000_0000_u16.to_be_bytes());
        body.extend_from_slice(&[4, 4, 8, 0xff, 0xff, 1]);
        let feedback = decode(&body).unwrap();
        let none = None;
        assert_eq!(
            feedback.arrivals,
            [Some(4), Some(8), none, Some(16), Some(15), none, none, none, none, none, Some(16)]
        );
        assert!(decode(&body[..body.len() - 1]).is_err());
    }
}
