//! The pieces of a packet's way, for counting their instructions: `scripts/bench-instructions` runs this under
//! callgrind. Called with the name of a piece it prints how many packets that handled; without, the names.

// What cannot be set up shall fail at once.
#![allow(clippy::unwrap_used)]

#[path = "../benches/relayed/mod.rs"]
mod relayed;
#[path = "../benches/room/mod.rs"]
mod room;

use plausch_engine::demux::classify;
use plausch_engine::rtp::{FIXED_HEADER_LEN, HeaderFields, write_header};
use plausch_engine::srtp::{Inbound, MAX_RTP_OVERHEAD, Outbound, Profile, ReceiveStream};
use relayed::{CLIENTS, Direction, Relayed};
use room::{BATCH, Room};
use std::hint::black_box;

/// Repetitions that are counted, and before them those that are not.
const COUNTED: usize = 200;
const WARM_UP: usize = 20;
const PROFILES: [(&str, Profile); 3] = [
    ("AES128_CM_HMAC_SHA1_80", Profile::Aes128CmSha1_80),
    ("AEAD_AES_128_GCM", Profile::AeadAes128Gcm),
    ("AEAD_AES_256_GCM", Profile::AeadAes256Gcm),
];
const SIZES: [usize; 2] = [120, 1200];
const SUBSCRIBERS: [u64; 3] = [1, 10, 100];
const RELAYED_SIZES: [usize; 2] = [200, 1100];

/// What a piece calls for each repetition, with the part that is to be counted.
type Run<'a> = &'a mut dyn FnMut(&mut dyn FnMut());

#[derive(Clone, Copy)]
enum Piece {
    Seal(Profile, usize),
    Open(Profile, usize),
    Demux,
    Forward(u64),
    Relay(Direction, usize),
}

impl Piece {
    /// With their names.
    fn all() -> Vec<(String, Self)> {
        let crypto = PROFILES.iter().flat_map(|(name, profile)| {
            SIZES.iter().flat_map(move |size| {
                let (seal, open) = (Self::Seal(*profile, *size), Self::Open(*profile, *size));
                [(format!("seal/{name}/{size}"), seal), (format!("open/{name}/{size}"), open)]
            })
        });
        let forward = SUBSCRIBERS.iter().map(|count| (format!("forward/{count}"), Self::Forward(*count)));
        let relay = [("to-peers", Direction::ToPeers), ("from-peers", Direction::FromPeers)];
        let relay = relay.into_iter().flat_map(|(name, direction)| {
            RELAYED_SIZES.iter().map(move |size| (format!("turn/{name}/{size}"), Self::Relay(direction, *size)))
        });
        crypto.chain([("demux".to_owned(), Self::Demux)]).chain(forward).chain(relay).collect()
    }

    /// Packets that one repetition gives out.
    fn packets(self) -> u64 {
        match self {
            Self::Forward(subscribers) => BATCH as u64 * subscribers,
            Self::Relay(..) => CLIENTS as u64,
            _ => 1,
        }
    }

    fn repeat(self, repetitions: usize, run: Run<'_>) {
        match self {
            Self::Seal(profile, size) => seal(profile, size, repetitions, run),
            Self::Open(profile, size) => open(profile, size, repetitions, run),
            Self::Demux => demux(repetitions, run),
            Self::Forward(subscribers) => forward(subscribers, repetitions, run),
            Self::Relay(direction, size) => relay(direction, size, repetitions, run),
        }
    }
}

/// The only function whose instructions are collected, with all that it calls.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    let pieces = Piece::all();
    let Some(wanted) = std::env::args().nth(1) else {
        pieces.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let Some((_, piece)) = pieces.iter().find(|(name, _)| *name == wanted) else {
        panic!("there is no piece {wanted}; call without arguments to see which there are");
    };
    let mut repetitions = 0;
    piece.repeat(WARM_UP + COUNTED, &mut |work| {
        repetitions += 1;
        if repetitions > WARM_UP { counted(work) } else { work() }
    });
    println!("{}", piece.packets() * COUNTED as u64);
}

fn plain(len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len + MAX_RTP_OVERHEAD];
    let fields = HeaderFields { marker: false, payload_type: 96, sequence: 1000, timestamp: 1, ssrc: 7 };
    write_header(&mut packet, &fields, &[]).unwrap();
    packet
}

fn keys(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    (vec![1; profile.key_len()], vec![2; profile.salt_len()])
}

fn seal(profile: Profile, size: usize, repetitions: usize, run: Run<'_>) {
    let (key, salt) = keys(profile);
    let outbound = Outbound::new(profile, &key, &salt).unwrap();
    for _ in 0..repetitions {
        let mut packet = plain(size);
        run(&mut || {
            outbound.seal_rtp(black_box(&mut packet), FIXED_HEADER_LEN, size, 0).unwrap();
        });
    }
}

fn open(profile: Profile, size: usize, repetitions: usize, run: Run<'_>) {
    let (key, salt) = keys(profile);
    let outbound = Outbound::new(profile, &key, &salt).unwrap();
    let inbound = Inbound::new(profile, &key, &salt).unwrap();
    for _ in 0..repetitions {
        let mut packet = plain(size);
        let len = outbound.seal_rtp(&mut packet, FIXED_HEADER_LEN, size, 0).unwrap();
        // Always the first packet of its stream, so that it is not a replay.
        let mut stream = ReceiveStream::new();
        run(&mut || {
            inbound.open_rtp(&mut stream, black_box(&mut packet[..len]), FIXED_HEADER_LEN).unwrap();
        });
    }
}

fn demux(repetitions: usize, run: Run<'_>) {
    let packet = plain(1200);
    for _ in 0..repetitions {
        run(&mut || {
            black_box(classify(black_box(&packet)));
        });
    }
}

fn forward(subscribers: u64, repetitions: usize, run: Run<'_>) {
    let mut room = Room::new(subscribers);
    for _ in 0..repetitions {
        let mut batch = room.batch(false);
        run(&mut || room.forward(&mut batch));
        assert_eq!(room.tx.datagrams().count() as u64, BATCH as u64 * subscribers);
        room.finish();
    }
}

fn relay(direction: Direction, size: usize, repetitions: usize, run: Run<'_>) {
    let mut relayed = Relayed::new();
    for _ in 0..repetitions {
        let mut batch = relayed.batch(direction, size);
        run(&mut || relayed.relay(direction, &mut batch));
        assert_eq!(relayed.tx.datagrams().count(), CLIENTS);
        relayed.tx.clear();
    }
}
