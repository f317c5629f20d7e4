//! The last packets of one video layer in plain form, for subscribers that lost some.

use crate::packet::Packet;
use crate::time::Time;
use plausch_relay_api::limits::{CACHE_BYTES, CACHE_BYTES_FIRST, CACHE_PACKETS, DATAGRAM_BYTES};
use std::time::Duration;

/// How much of the past the bytes shall hold at least: a subscriber's second request still finds its packet.
const HISTORY: Duration = Duration::from_millis(1_000);

#[derive(Clone, Copy, Debug)]
struct Entry {
    packet: Packet,
    start: usize,
    len: usize,
    /// Of the write position through the bytes.
    lap: u64,
}

/// A ring of packets over a ring of bytes.
#[derive(Debug)]
pub(crate) struct Cache {
    /// The packet with index `i` at `i % CACHE_PACKETS`.
    entries: Box<[Option<Entry>]>,
    bytes: Vec<u8>,
    write: usize,
    lap: u64,
    lap_began: Time,
}

impl Cache {
    /// Allocates for a layer that begins.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            entries: vec![None; CACHE_PACKETS].into_boxed_slice(),
            bytes: vec![0; CACHE_BYTES_FIRST],
            write: 0,
            lap: 0,
            lap_began: now,
        }
    }

    /// Keeps a copy.
    pub(crate) fn store(&mut self, packet: &Packet, plain: &[u8], now: Time) {
        if plain.len() > DATAGRAM_BYTES {
            return;
        }
        if self.bytes.len() - self.write < plain.len() {
            if now.since(self.lap_began) < HISTORY && self.bytes.len() < CACHE_BYTES {
                self.bytes.resize((self.bytes.len() * 2).min(CACHE_BYTES), 0);
            } else {
                self.write = 0;
                self.lap += 1;
                self.lap_began = now;
            }
        }
        let end = self.write + plain.len();
        let Some(place) = self.bytes.get_mut(self.write..end) else { return };
        place.copy_from_slice(plain);
        let entry = Entry { packet: *packet, start: self.write, len: plain.len(), lap: self.lap };
        self.write = end;
        if let Some(slot) = self.entries.get_mut((packet.index % CACHE_PACKETS as u64) as usize) {
            *slot = Some(entry);
        }
    }

    /// Gives padding to a packet that has not gone out yet; `false`: it is not here.
    pub(crate) fn pad(&mut self, index: u64, padding: u8) -> bool {
        let entry = self.entries.get_mut((index % CACHE_PACKETS as u64) as usize).and_then(Option::as_mut);
        let Some(entry) = entry.filter(|entry| entry.packet.index == index) else { return false };
        entry.packet.padding = padding;
        true
    }

    /// The packet with this index, if it is still here.
    pub(crate) fn get(&self, index: u64) -> Option<(&Packet, &[u8])> {
        let entry = self.entries.get((index % CACHE_PACKETS as u64) as usize)?.as_ref()?;
        let overwritten = match self.lap - entry.lap {
            0 => false,
            1 => entry.start < self.write,
            _ => true,
        };
        if entry.packet.index != index || overwritten {
            return None;
        }
        Some((&entry.packet, self.bytes.get(entry.start..entry.start + entry.len)?))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::packet::{LayerId, Span};
    use crate::slab::Key;
    use plausch_relay_api::Codec;

    pub(crate) fn packet(index: u64) -> Packet {
        Packet {
            source: LayerId { track: Key::for_test(0), layer: 0, epoch: 0 },
            number: 0,
            codec: Codec::Vp8,
            index,
            timestamp: 0,
            marker: false,
            begins_key_frame: false,
            payload: Span::new(12..100).unwrap(),
            audio_level: None,
            dependency_descriptor: None,
            vp8: None,
            padding: 0,
        }
    }

    #[test]
    fn finds_what_was_stored_and_never_something_else() {
        let mut cache = Cache::new(Time(0));
        for index in 1_000..5_000u64 {
            let bytes = vec![index as u8; 900 + (index % 300) as usize];
            cache.store(&packet(index), &bytes, Time(index * 3_000));
            let mut found = 0;
            for before in index.saturating_sub(600)..=index {
                if let Some((packet, bytes)) = cache.get(before) {
                    assert_eq!(packet.index, before);
                    assert_eq!(bytes.len(), 900 + (before % 300) as usize);
                    assert!(bytes.iter().all(|&byte| byte == before as u8));
                    found += 1;
                }
            }
            if index > 4_000 {
                assert!(found > 300, "{found} packets of a second");
            }
        }
        assert!(cache.bytes.len() <= CACHE_BYTES);
    }
}
