//! TURN over TCP, for the edge. Messages in a stream: STUN says its own length, and ChannelData is padded to four bytes
//! (RFC 8656, section 12.5).

use crate::stun::{HEADER_LEN, MAGIC_COOKIE};
use plausch_relay_api::limits::DATAGRAM_BYTES;

/// Type and length, with which STUN and ChannelData begin alike.
const START_BYTES: usize = 4;
const PADDING: [u8; 3] = [0; 3];

/// Cuts what a client sends into messages. Holds what is left of a message that is not complete.
#[derive(Debug, Default)]
pub struct Framer {
    held: Vec<u8>,
    /// There was a STUN message: before the first one nobody has a channel, and "GET" would pass for ChannelData.
    begun: bool,
    /// Bytes to come of a message that is larger than we look at.
    skip: usize,
    /// Messages that were.
    oversized: u64,
}

/// The stream is not TURN, or not any more: there is no way to find the next message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotTurn;

/// One message's lengths.
struct Extent {
    /// Without padding.
    message: usize,
    /// In the stream.
    whole: usize,
}

impl Extent {
    fn of(start: [u8; START_BYTES], begun: bool) -> Result<Self, NotTurn> {
        let len = usize::from(u16::from_be_bytes([start[2], start[3]]));
        match start[0] {
            // RFC 8489, section 5: two zero bits, and attributes are padded.
            0x00..=0x3f if len.is_multiple_of(4) => Ok(Self { message: HEADER_LEN + len, whole: HEADER_LEN + len }),
            // RFC 8656, section 12, and RFC 5766, section 11: channel numbers are 0x4000 to 0x4fff, or to 0x7fff.
            0x40..=0x7f if begun => {
                let message = START_BYTES + len;
                Ok(Self { message, whole: message.next_multiple_of(4) })
            }
            _ => Err(NotTurn),
        }
    }
}

/// Whether what begins so may be what its first bits say.
fn may_be(begin: &[u8]) -> bool {
    begin[0] & 0xc0 != 0 || begin.get(4..8).is_none_or(|cookie| cookie == MAGIC_COOKIE.to_be_bytes())
}

impl Framer {
    /// Takes the next bytes of the stream and gives each message that they complete to `found`, without padding, until that
    /// says no: gives back the bytes after that message.
    pub fn feed<'b>(&mut self, mut bytes: &'b [u8], mut found: impl FnMut(&[u8]) -> bool) -> Result<&'b [u8], NotTurn> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            if self.held.len() < START_BYTES && !self.held.is_empty() {
                bytes = self.hold(bytes, START_BYTES);
                if self.held.len() < START_BYTES {
                    return Ok(&[]);
                }
            }
            let start = if self.held.is_empty() { bytes.first_chunk() } else { self.held.first_chunk() };
            let Some(start) = start else {
                // Not TURN is not TURN, whether there are four bytes or one.
                Extent::of([bytes[0], 0, 0, 0], self.begun)?;
                self.hold(bytes, START_BYTES);
                return Ok(&[]);
            };
            let extent = Extent::of(*start, self.begun)?;
            if extent.message > DATAGRAM_BYTES {
                self.oversized += 1;
                self.skip = extent.whole - self.held.len();
                self.held.clear();
                continue;
            }
            if self.held.is_empty() && bytes.len() >= extent.whole {
                let (whole, rest) = bytes.split_at(extent.whole);
                bytes = rest;
                if !may_be(whole) {
                    return Err(NotTurn);
                }
                self.begun = true;
                if !found(&whole[..extent.message]) {
                    return Ok(bytes);
                }
                continue;
            }
            bytes = self.hold(bytes, extent.whole);
            if !may_be(&self.held) {
                return Err(NotTurn);
            }
            if self.held.len() == extent.whole {
                self.begun = true;
                let more = found(&self.held[..extent.message]);
                self.held.clear();
                if !more {
                    return Ok(bytes);
                }
            }
        }
        Ok(bytes)
    }

    /// Messages that were too large, since this was asked last.
    pub fn take_oversized(&mut self) -> u64 {
        std::mem::take(&mut self.oversized)
    }

    /// Keeps bytes until `len` are held; gives back the others.
    fn hold<'b>(&mut self, bytes: &'b [u8], len: usize) -> &'b [u8] {
        let (kept, rest) = bytes.split_at(bytes.len().min(len - self.held.len()));
        self.held.extend_from_slice(kept);
        rest
    }
}

/// How long the first message of what we write is, with its padding.
pub fn first_len(stream: &[u8]) -> Option<usize> {
    Some(Extent::of(*stream.first_chunk()?, true).ok()?.whole.min(stream.len()))
}

/// What follows a message in the stream, so that the next one begins at a multiple of four bytes.
pub fn padding(message: &[u8]) -> &'static [u8] {
    &PADDING[..message.len().next_multiple_of(4) - message.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stun(attributes: usize) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend((attributes as u16).to_be_bytes());
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend([7; 12]);
        message.resize(HEADER_LEN + attributes, 8);
        message
    }

    fn channel_data(len: usize) -> Vec<u8> {
        let mut message = vec![0x40, 0x01];
        message.extend((len as u16).to_be_bytes());
        message.resize(START_BYTES + len, len as u8);
        message
    }

    #[test]
    fn what_is_written_is_cut_where_it_was_joined() {
        let messages = mixed();
        let bytes = stream(&messages);
        let mut rest = &bytes[..];
        for message in &messages {
            let len = first_len(rest).unwrap();
            assert_eq!((len, &rest[..message.len()]), (message.len().next_multiple_of(4), &message[..]));
            rest = &rest[len..];
        }
        assert_eq!((rest, first_len(rest)), (&[][..], None));
    }

    fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
        messages.iter().flat_map(|message| [message.as_slice(), padding(message)].concat()).collect()
    }

    fn feed(framer: &mut Framer, bytes: &[u8]) -> Result<Vec<Vec<u8>>, NotTurn> {
        let mut found = Vec::new();
        let rest = framer.feed(bytes, |message| {
            found.push(message.to_vec());
            true
        })?;
        assert!(rest.is_empty());
        Ok(found)
    }

    fn mixed() -> Vec<Vec<u8>> {
        let mut messages = vec![stun(8)];
        messages.extend((0..9).map(channel_data));
        messages.extend([stun(0), stun(4), channel_data(1200), stun(1200), channel_data(DATAGRAM_BYTES - 4)]);
        messages
    }

    #[test]
    fn messages_are_found_wherever_the_stream_is_split() {
        let messages = mixed();
        let bytes = stream(&messages);
        assert_eq!(feed(&mut Framer::default(), &bytes).unwrap(), messages, "all at once");
        for split in 0..bytes.len() {
            let mut framer = Framer::default();
            let mut found = feed(&mut framer, &bytes[..split]).unwrap();
            found.extend(feed(&mut framer, &bytes[split..]).unwrap());
            assert_eq!(found, messages, "split at {split}");
        }
        let mut framer = Framer::default();
        let found: Vec<_> = bytes.iter().flat_map(|byte| feed(&mut framer, &[*byte]).unwrap()).collect();
        assert_eq!(found, messages, "byte by byte");
    }

    #[test]
    fn whoever_takes_a_message_may_have_the_rest_left_as_it_is() {
        let bytes = [stun(8), b"not TURN any more".to_vec()].concat();
        for split in 0..=stun(8).len() {
            let mut framer = Framer::default();
            assert_eq!(framer.feed(&bytes[..split], |_| false), Ok(&[][..]));
            let rest = framer.feed(&bytes[split..], |_| false);
            assert!(split == stun(8).len() || rest == Ok(&b"not TURN any more"[..]), "split at {split}");
        }
    }

    #[test]
    fn what_is_too_large_is_skipped_and_the_next_message_found() {
        for large in [channel_data(DATAGRAM_BYTES - 3), channel_data(65_535), stun(65_532)] {
            let messages = [stun(0), channel_data(5), large, stun(8)];
            let bytes = stream(&messages);
            for size in [1, 3, 7, 1000, bytes.len()] {
                let mut framer = Framer::default();
                let found: Vec<_> = bytes.chunks(size).flat_map(|part| feed(&mut framer, part).unwrap()).collect();
                assert_eq!(found, [stun(0), channel_data(5), stun(8)]);
                assert_eq!((framer.take_oversized(), framer.take_oversized()), (1, 0));
                assert!(framer.held.capacity() <= 2 * DATAGRAM_BYTES);
            }
        }
    }

    #[test]
    fn other_protocols_are_noticed_at_the_first_byte_that_tells() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"G", &[0x80], &[0x80, 0, 1], &[0x16, 3, 1, 2, 3], &[0, 1, 0, 3]] {
            assert_eq!(feed(&mut Framer::default(), bytes), Err(NotTurn), "{bytes:?}");
        }
        let mut begun = Framer::default();
        feed(&mut begun, &stun(0)).unwrap();
        assert_eq!(feed(&mut begun, &[0x80, 1, 0, 0]), Err(NotTurn));
        let mut no_cookie = stun(0);
        no_cookie[4] ^= 1;
        assert_eq!(feed(&mut Framer::default(), &no_cookie), Err(NotTurn));
        let mut framer = Framer::default();
        assert_eq!(feed(&mut framer, &no_cookie[..7]), Ok(vec![]));
        assert_eq!(feed(&mut framer, &no_cookie[7..8]), Err(NotTurn));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_hold_much(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..30),
            channel in any::<bool>(),
        ) {
            let mut framer = Framer { begun: channel, ..Framer::default() };
            for mut part in parts {
                if channel && let Some(first) = part.first_mut() {
                    *first = 0x40;
                }
                let mut total = 0;
                let result = framer.feed(&part, |message| {
                    total += message.len();
                    true
                });
                prop_assert!(total <= DATAGRAM_BYTES + part.len());
                prop_assert!(framer.held.len() <= DATAGRAM_BYTES + 3);
                if result.is_err() {
                    break;
                }
            }
        }
    }
}
