//! One client's packets, sealed by AEAD_AES_128_GCM (RFC 7714) as fast as can be: what sends must not be what ends first.

use super::ROOM;
use crate::error::ClientError;
use crate::sdp::{EXTENSION_MID, PAYLOAD_VP8};
use crate::stamp::{self, Stamp};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use std::net::SocketAddr;
use webrtc_srtp::config::Config as SrtpConfig;

/// Of each packet, with everything; as long as those of browsers.
pub const PACKET_BYTES: usize = 1_200;
/// RTP header with one extension of one word.
const HEADER_BYTES: usize = 20;
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 12;
/// Of a VP8 key frame of 1280×720 behind a descriptor without picture ids, so that clients ask for no other.
const KEY_FRAME: [u8; 11] = [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2];
/// RTP clock ticks between two runs: as of 30 frames per second.
const TICKS: u32 = 3_000;

/// A stream of runs of packets, each run a picture.
pub struct Stream {
    to: SocketAddr,
    key: LessSafeKey,
    salt: [u8; SALT_BYTES],
    ssrc: u32,
    mid: u8,
    room: u64,
    /// Of the next packet, with its rollovers in front.
    index: u64,
    timestamp: u32,
}

impl Stream {
    pub(super) fn new(to: SocketAddr, keys: &SrtpConfig, ssrc: u32, mid: &str) -> Result<Self, ClientError> {
        let refused = |what: &str| ClientError::Srtp(what.to_owned());
        let (master, salt) = (&keys.keys.local_master_key, &keys.keys.local_master_salt);
        let key: [u8; 16] = derive(master, salt, 0).ok_or_else(|| refused("no session key can be derived"))?;
        let salt: [u8; 16] = derive(master, salt, 2).ok_or_else(|| refused("no session salt can be derived"))?;
        let unbound = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| refused("a session key was refused"))?;
        let mut own_salt = [0; SALT_BYTES];
        own_salt.copy_from_slice(&salt[..SALT_BYTES]);
        Ok(Self {
            to,
            key: LessSafeKey::new(unbound),
            salt: own_salt,
            ssrc,
            mid: mid.bytes().next().unwrap_or_default(),
            room: stamp::room_tag(ROOM),
            index: 1,
            timestamp: 0,
        })
    }

    /// The client that expects it.
    pub fn to(&self) -> SocketAddr {
        self.to
    }

    /// Writes one run: as many packets as have room.
    pub fn write(&mut self, run: &mut [u8]) {
        self.timestamp = self.timestamp.wrapping_add(TICKS);
        let packets = run.len() / PACKET_BYTES;
        let sent_us = stamp::now_us();
        for (place, packet) in run.chunks_exact_mut(PACKET_BYTES).enumerate() {
            self.packet(packet, place == 0, place + 1 == packets, sent_us);
            self.index += 1;
        }
    }

    fn packet(&self, packet: &mut [u8], first: bool, last: bool, sent_us: u64) {
        let (header, rest) = packet.split_at_mut(HEADER_BYTES);
        // Version 2 with an extension (RFC 3550, section 5.1) of one-byte elements (RFC 8285, section 4.2).
        header[..2].copy_from_slice(&[0x90, PAYLOAD_VP8 | if last { 0x80 } else { 0 }]);
        header[2..4].copy_from_slice(&(self.index as u16).to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        header[12..].copy_from_slice(&[0xbe, 0xde, 0, 1, EXTENSION_MID << 4, self.mid, 0, 0]);
        let (payload, tag) = rest.split_at_mut(PACKET_BYTES - HEADER_BYTES - TAG_BYTES);
        payload.fill(0xff);
        match first {
            true => payload[..KEY_FRAME.len()].copy_from_slice(&KEY_FRAME),
            false => payload[0] = 0,
        }
        let stamp = Stamp { room: self.room, participant: 1, sent_us, layer: 0, index: self.index as u32 };
        let at = payload.len() - stamp::BYTES;
        payload[at..].copy_from_slice(&stamp.to_bytes());
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        // It fails only for payloads that are longer than any packet.
        if let Ok(sealed) = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload) {
            tag.copy_from_slice(sealed.as_ref());
        }
    }

    /// RFC 7714, section 8.1.
    fn nonce(&self) -> [u8; SALT_BYTES] {
        let mut nonce = self.salt;
        let rollover = (self.index >> 16) as u32;
        let parts = self.ssrc.to_be_bytes().into_iter().chain(rollover.to_be_bytes());
        let parts = parts.chain((self.index as u16).to_be_bytes());
        nonce[2..].iter_mut().zip(parts).for_each(|(byte, part)| *byte ^= part);
        nonce
    }
}

/// The key or salt of this label (RFC 3711, section 4.3.3; RFC 7714, section 11 for the salt's length).
fn derive(master: &[u8], salt: &[u8], label: u8) -> Option<[u8; 16]> {
    let mut counter = [0; 16];
    counter.get_mut(..salt.len())?.copy_from_slice(salt);
    counter[7] ^= label;
    let key = UnboundCipherKey::new(&AES_128, master).ok()?;
    let key = EncryptingKey::ctr(key).ok()?;
    let mut out = [0; 16];
    key.less_safe_encrypt(&mut out, EncryptionContext::Iv128(counter.into())).ok()?;
    Some(out)
}
