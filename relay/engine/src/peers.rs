//! From a packet's address to the participant: one look-up with a fast hash.

use crate::batch::Path;
use crate::participant::Participant;
use crate::random::Random;
use crate::slab::Key;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// The addresses that passed an ICE check.
pub(crate) struct Peers {
    by_path: HashMap<Path, Key<Participant>, HashKeys>,
}

impl Peers {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { by_path: HashMap::with_hasher(HashKeys::new(random)) }
    }

    pub(crate) fn find(&self, path: Path) -> Option<Key<Participant>> {
        self.by_path.get(&path).copied()
    }

    /// Returns the participant that had the path before, if it was another one: a reloaded page may get the
    /// same port again, and the last one that proved to know its password has it.
    pub(crate) fn insert(&mut self, path: Path, participant: Key<Participant>) -> Option<Key<Participant>> {
        self.by_path.insert(path, participant).filter(|&before| before != participant)
    }

    pub(crate) fn remove(&mut self, path: Path, participant: Key<Participant>) {
        if self.by_path.get(&path) == Some(&participant) {
            self.by_path.remove(&path);
        }
    }
}

/// Keys of a hash by folded multiplication. What is inserted is never chosen by strangers (paths pass an ICE
/// check first, names and ids come from control), so a short keyed mix is enough against crafted collisions.
#[derive(Clone, Debug)]
pub(crate) struct HashKeys {
    start: u64,
    multiplier: u64,
}

impl HashKeys {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { start: random.next_u64(), multiplier: random.next_u64() | 1 }
    }
}

impl BuildHasher for HashKeys {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher { state: self.start, multiplier: self.multiplier }
    }
}

/// See [`HashKeys`].
pub(crate) struct FoldHasher {
    state: u64,
    multiplier: u64,
}

impl FoldHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.multiplier);
        self.state = (product as u64) ^ ((product >> 64) as u64);
        // A product of zero would forget everything before it.
        self.state = self.state.wrapping_add(word.rotate_left(32)).wrapping_add(self.multiplier);
    }
}

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.fold(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 56));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.fold(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.fold(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.multiplier);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::LocalSocket;
    use std::collections::HashSet;

    #[test]
    fn hashes_of_neighbouring_paths_differ() {
        let keys = HashKeys::new(&mut Random::new(7));
        let hashes: HashSet<u64> = (0..10_000u16)
            .map(|port| keys.hash_one(Path { local: LocalSocket(0), remote: ([10, 0, 0, 1], port).into() }))
            .collect();
        assert_eq!(hashes.len(), 10_000);
        let buckets: HashSet<u64> = hashes.iter().map(|hash| hash & 0x3ff).collect();
        assert!(buckets.len() > 1000, "{}", buckets.len());
        let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert_eq!(tags.len(), 128);
    }
}
