//! Sealing and opening of SRTP: the relay's own, and `webrtc-srtp` on the same packets. Both copy or allocate as their
//! interfaces want it.

// A bench that cannot be set up shall fail at once.
#![allow(clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use plausch_engine::demux::classify;
use plausch_engine::rtp::{FIXED_HEADER_LEN, HeaderFields, write_header};
use plausch_engine::srtp::{Inbound, MAX_RTP_OVERHEAD, Outbound, Profile, ReceiveStream};
use std::hint::black_box;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// An Opus packet at 32 kbit/s with its header, and a full packet of video.
const SIZES: [usize; 2] = [120, 1200];
const PROFILES: [(Profile, ProtectionProfile, &str); 3] = [
    (Profile::Aes128CmSha1_80, ProtectionProfile::Aes128CmHmacSha1_80, "AES128_CM_HMAC_SHA1_80"),
    (Profile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm, "AEAD_AES_128_GCM"),
    (Profile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm, "AEAD_AES_256_GCM"),
];

fn plain(len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len];
    let fields = HeaderFields { marker: false, payload_type: 96, sequence: 1000, timestamp: 1, ssrc: 7 };
    write_header(&mut packet, &fields, &[]).unwrap();
    packet
}

fn keys(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    (vec![1; profile.key_len()], vec![2; profile.salt_len()])
}

fn seal(c: &mut Criterion) {
    for (profile, other, name) in PROFILES {
        let (key, salt) = keys(profile);
        let mut group = c.benchmark_group(format!("seal/{name}"));
        for size in SIZES {
            let plain = plain(size);
            group.throughput(Throughput::Bytes(size as u64));
            let ours = Outbound::new(profile, &key, &salt).unwrap();
            group.bench_with_input(BenchmarkId::new("plausch", size), &plain, |b, plain| {
                let mut buffer = vec![0; plain.len() + MAX_RTP_OVERHEAD];
                b.iter(|| {
                    buffer[..plain.len()].copy_from_slice(plain);
                    ours.seal_rtp(black_box(&mut buffer), FIXED_HEADER_LEN, plain.len(), 0).unwrap()
                });
            });
            let mut theirs = Context::new(&key, &salt, other, None, None).unwrap();
            group.bench_with_input(BenchmarkId::new("webrtc-srtp", size), &plain, |b, plain| {
                b.iter(|| theirs.encrypt_rtp(black_box(plain)).unwrap());
            });
        }
        group.finish();
    }
}

fn open(c: &mut Criterion) {
    for (profile, other, name) in PROFILES {
        let (key, salt) = keys(profile);
        let mut group = c.benchmark_group(format!("open/{name}"));
        for size in SIZES {
            let sealed = Context::new(&key, &salt, other, None, None).unwrap().encrypt_rtp(&plain(size)).unwrap();
            group.throughput(Throughput::Bytes(size as u64));
            let ours = Inbound::new(profile, &key, &salt).unwrap();
            group.bench_with_input(BenchmarkId::new("plausch", size), &sealed, |b, sealed| {
                let mut buffer = vec![0; sealed.len()];
                b.iter(|| {
                    buffer.copy_from_slice(sealed);
                    // Always the first packet of its stream, so that it is not a replay.
                    let mut stream = ReceiveStream::new();
                    ours.open_rtp(&mut stream, black_box(&mut buffer), FIXED_HEADER_LEN).unwrap().len
                });
            });
            // Without options it has no replay protection.
            let mut theirs = Context::new(&key, &salt, other, None, None).unwrap();
            group.bench_with_input(BenchmarkId::new("webrtc-srtp", size), &sealed, |b, sealed| {
                b.iter(|| theirs.decrypt_rtp(black_box(sealed)).unwrap());
            });
        }
        group.finish();
    }
}

fn demux(c: &mut Criterion) {
    let mut rtcp = plain(120);
    rtcp[1] = 200;
    let datagrams = [vec![0, 1, 0, 0], vec![22, 254, 253, 0], plain(1200), plain(120), rtcp, vec![0x40, 0, 0, 8]];
    let mut group = c.benchmark_group("demux");
    group.throughput(Throughput::Elements(datagrams.len() as u64));
    group.bench_function("one of each protocol", |b| {
        b.iter(|| {
            for datagram in &datagrams {
                black_box(classify(black_box(datagram)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, seal, open, demux);
criterion_main!(benches);
