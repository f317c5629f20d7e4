//! A transport against a small lite peer built from the same crates in their other roles.

use super::dtls::{DatagramConn, Identity};
use super::encoder::Picture;
use super::ice::Credentials;
use super::loss::Loss;
use super::publish::Programme;
use super::receive::{Incoming, Line};
use super::sdp::{EXTENSION_MID, LocalDescription, RemoteDescription, RemoteMedia};
use super::shared::Shared;
use super::stand_in::answer_check;
use super::transport::{News, Order, Setup, Transport};
use super::{JoinOptions, SrtpProfiles, Stats, feedback, random, stamp};
use crate::Tally;
use ::dtls::config::{ClientAuthType, Config};
use ::dtls::conn::DTLSConn;
use ::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use bytes::Bytes;
use plausch_signalling::MediaState;
use rtp::header::Header;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use webrtc_srtp::config::Config as SrtpConfig;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

const SLOT_AUDIO: u32 = 1001;
const SLOT_VIDEO: u32 = 1002;
const PARTICIPANT: u64 = 0x1234;

/// Answers checks and the handshake, and sends everything back in slot 0.
struct Mirror {
    socket: UdpSocket,
    remote: Credentials,
    audio: u32,
    video: u32,
    fault: Fault,
}

/// What the mirror does to every tenth packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    Drop,
    /// Sends it again under the same number, sealed anew so that it passes as a new packet on the wire.
    Duplicate,
    /// Takes it from another room.
    Misroute,
    /// Lets the next one overtake it.
    Reorder,
    /// Takes all media this much later.
    Delay(Duration),
}

impl Mirror {
    async fn run(self, identity: Identity) {
        let (conn, mut queues) = DatagramConn::new();
        let (keys_tx, mut keys_rx) = mpsc::channel(1);
        tokio::spawn(async move {
            let config = Config {
                certificates: vec![identity.certificate],
                srtp_protection_profiles: vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
                client_auth: ClientAuthType::RequireAnyClientCert,
                insecure_skip_verify: true,
                ..Config::default()
            };
            let conn = DTLSConn::new(Arc::new(conn), config, false, None).await.unwrap();
            let mut srtp = SrtpConfig { profile: ProtectionProfile::AeadAes128Gcm, ..SrtpConfig::default() };
            srtp.extract_session_keys_from_dtls(conn.connection_state().await, false).await.unwrap();
            keys_tx.send(srtp).await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut srtp: Option<(Context, Context)> = None;
        let mut to: Option<SocketAddr> = None;
        let mut count = 0;
        let mut held: Option<Bytes> = None;
        let mut buf = [0; 2048];
        loop {
            tokio::select! {
                Some(keys) = keys_rx.recv() => {
                    let context = |key: &[u8], salt: &[u8]| Context::new(key, salt, keys.profile, None, None).unwrap();
                    srtp = Some((
                        context(&keys.keys.remote_master_key, &keys.keys.remote_master_salt),
                        context(&keys.keys.local_master_key, &keys.keys.local_master_salt),
                    ));
                }
                Some(datagram) = queues.outgoing.recv() => {
                    self.socket.send_to(&datagram, to.unwrap()).await.unwrap();
                }
                received = self.socket.recv_from(&mut buf) => {
                    let (len, from) = received.unwrap();
                    let datagram = &buf[..len];
                    match datagram[0] {
                        0..=3 => {
                            to = Some(from);
                            let reply = answer_check(datagram, from, &self.remote.pwd).unwrap();
                            self.socket.send_to(&reply, from).await.unwrap();
                        }
                        20..=63 => queues.incoming.send(datagram.to_vec()).await.unwrap(),
                        _ => {
                            let Some((open, seal)) = &mut srtp else { continue };
                            if (192..=223).contains(&datagram[1]) {
                                open.decrypt_rtcp(datagram).unwrap();
                                continue;
                            }
                            let plain = open.decrypt_rtp(datagram).unwrap();
                            count += 1;
                            let mut plain = self.mirrored(&plain);
                            let mut times = 1;
                            match self.fault {
                                Fault::Delay(by) => tokio::time::sleep(by).await,
                                Fault::Drop if count % 10 == 0 => continue,
                                Fault::Duplicate if count % 10 == 0 => times = 2,
                                Fault::Misroute if count % 10 == 0 => plain = of_another_room(plain),
                                Fault::Reorder if count % 10 == 0 => {
                                    held = Some(plain);
                                    continue;
                                }
                                _ => {}
                            }
                            let overtaken = held.take();
                            for plain in std::iter::repeat_n(&plain, times).chain(&overtaken) {
                                let sealed = seal.encrypt_rtp(plain).unwrap();
                                self.socket.send_to(&sealed, to.unwrap()).await.unwrap();
                            }
                            if count == 5 {
                                let request = feedback::key_frame_request(9, self.video).unwrap();
                                let sealed = seal.encrypt_rtcp(&request).unwrap();
                                self.socket.send_to(&sealed, to.unwrap()).await.unwrap();
                            }
                        }
                    }
                }
            }
        }
    }

    fn mirrored(&self, plain: &[u8]) -> Bytes {
        let mut rest = plain;
        let mut header = Header::unmarshal(&mut rest).unwrap();
        let payload = &plain[header.marshal_size()..];
        let (ssrc, mid) = if header.ssrc == self.audio { (SLOT_AUDIO, "2") } else { (SLOT_VIDEO, "3") };
        header.ssrc = ssrc;
        header.set_extension(EXTENSION_MID, Bytes::from_static(mid.as_bytes())).unwrap();
        let mut out = header.marshal().unwrap().to_vec();
        out.extend(payload);
        out.into()
    }
}

/// Changes the room in the stamp, if there is one.
fn of_another_room(plain: Bytes) -> Bytes {
    let mut plain = plain.to_vec();
    let at = plain.len().saturating_sub(stamp::BYTES) + 4;
    plain[at..at + 8].copy_from_slice(&stamp::room_tag("another").to_be_bytes());
    plain.into()
}

async fn start(fault: Fault, picture: Picture) -> (Transport, Arc<Shared>, LocalDescription, RemoteDescription) {
    let options = JoinOptions::new("http://localhost", "room", "name");
    let shared = Arc::new(Shared::new(&options));
    let identity = Identity::generate().unwrap();
    let server = Identity::generate().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = LocalDescription {
        session: 1,
        ice: Credentials::random(),
        fingerprint: identity.fingerprint,
        cname: "name".into(),
        microphone: Some(random::ssrc()),
        camera: vec![random::ssrc()],
        slots: 1,
    };
    let media = |mid: &str, ssrcs: Vec<u32>| RemoteMedia {
        mid: mid.into(),
        ssrcs,
        extensions: vec![(1, String::new()), (2, String::new())],
        ..RemoteMedia::default()
    };
    let remote = RemoteDescription {
        ice: Credentials::random(),
        fingerprint: server.fingerprint,
        candidates: vec![socket.local_addr().unwrap()],
        media: vec![media("0", vec![]), media("1", vec![]), media("2", vec![SLOT_AUDIO]), media("3", vec![SLOT_VIDEO])],
    };
    let mirror =
        Mirror { socket, remote: remote.ice.clone(), audio: local.microphone.unwrap(), video: local.camera[0], fault };
    tokio::spawn(mirror.run(server));
    shared.live().receiver.describe(0, &Line::of_slots(1, &remote), true);
    let setup = Setup {
        local: local.clone(),
        remote: remote.clone(),
        identity,
        incoming: Incoming { connection: 0, mid_extension: Some(EXTENSION_MID) },
        profiles: SrtpProfiles::All,
        programme: Programme { room: stamp::room_tag("room"), participant: PARTICIPANT, picture, speech: None },
        decrypt_every: 1,
        nack: true,
        loss: Loss::default(),
        turn: None,
        follow_layers: false,
        deaf: false,
    };
    let mut transport = Transport::start(setup, shared.clone()).await.unwrap();
    let news = tokio::time::timeout(Duration::from_secs(10), transport.news.recv()).await.unwrap();
    assert!(matches!(news, Some(News::Connected)), "{news:?}");
    (transport, shared, local, remote)
}

async fn until(shared: &Shared, reached: impl Fn(&Stats) -> bool) -> Stats {
    for _ in 0..500 {
        let stats = shared.stats();
        if reached(&stats) {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not reached: {:#?}", shared.stats());
}

#[tokio::test]
async fn media_comes_back_whole_from_a_mirror() {
    let (transport, shared, ..) = start(Fault::None, Picture::Clip).await;
    let stats = until(&shared, |stats| {
        stats.slots[0].audio.packets > 20 && stats.slots[0].video.frames > 20 && stats.slots[0].video.key_frames > 1
    })
    .await;
    let slot = &stats.slots[0];
    for track in [&slot.audio, &slot.video] {
        let wrong = [
            track.missing,
            track.duplicates,
            track.reordered,
            track.undecryptable,
            track.wrong_mid,
            track.sequence_jumps,
            track.picture_id_jumps,
        ];
        assert_eq!(wrong, [0; 7]);
        assert_eq!(track.decrypted, track.packets);
        assert_eq!(track.senders.keys().collect::<Vec<_>>(), ["0000000000001234"]);
    }
    assert_eq!(slot.video.picture, Some((320, 180)));
    assert_eq!((stats.foreign_packets, stats.unknown_packets, stats.junk_datagrams), (0, 0, 0));
    assert_eq!(stats.srtp_profile, Some("AEAD_AES_128_GCM"));
    assert!(stats.rtcp.key_frame_requests > 0 && stats.sent.requested_key_frames > 0);
    transport.stop(true).await;
}

#[tokio::test]
async fn media_goes_on_after_a_change_of_address_and_an_ice_restart() {
    let (transport, shared, _, remote) = start(Fault::None, Picture::Clip).await;
    until(&shared, |stats| stats.slots[0].audio.packets > 5).await;
    transport.orders.send(Order::ChangeAddress).unwrap();
    let before = until(&shared, |stats| stats.slots[0].audio.packets > 30).await;
    let restart = Order::Restart { local: Credentials::random(), remote: remote.ice.clone() };
    transport.orders.send(restart).unwrap();
    let after = until(&shared, |stats| stats.slots[0].audio.packets > before.slots[0].audio.packets + 30).await;
    assert_eq!(after.refused_checks, 0);
    transport.stop(false).await;
}

#[tokio::test]
async fn lost_packets_are_counted_and_asked_for() {
    let (transport, shared, ..) = start(Fault::Drop, Picture::Clip).await;
    let stats = until(&shared, |stats| stats.slots[0].video.missing > 2 && stats.slots[0].audio.missing > 2).await;
    assert!(stats.rtcp.sent_nacks > 0);
    // Nobody answers the NACKs, so a key frame is asked for in the end.
    until(&shared, |stats| stats.rtcp.sent_key_frame_requests > 0).await;
    transport.stop(false).await;
}

const LOAD: Picture = Picture::Load { kbps: 1_000, fps: 30 };

/// Load through a relay with this fault, and what its report says of it.
async fn faults_of(fault: Fault) -> (Tally, String) {
    let (transport, shared, ..) = start(fault, LOAD).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    shared.live().media = MediaState::default();
    // A relay that delays has a queue to send.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = shared.stats().received_packets();
        if std::mem::replace(&mut before, now) == now {
            break;
        }
    }
    let latency = std::mem::take(&mut shared.live().receiver.ages).handled;
    let mut tally = Tally { latency, ..Tally::default() };
    let stats = shared.stats();
    tally.add(&stats, stats.sent.packets);
    transport.stop(false).await;
    let faults = tally.faults().join("; ");
    (tally, faults)
}

#[tokio::test]
async fn a_right_relay_has_no_faults_in_the_report() {
    let (tally, faults) = faults_of(Fault::None).await;
    // 1 Mbit/s in packets of about 1 kB, and 50 packets of audio in a second.
    assert!(tally.received > 150 && tally.key_frames > 0, "{tally:?}");
    let counted = tally.faults().into_iter().filter(|fault| !fault.starts_with("1 %")).collect::<Vec<_>>();
    assert!(counted.is_empty(), "{faults}");
    assert_eq!((tally.loss_ratio(), tally.reordered, tally.missing), (0.0, 0, 0));
    assert_eq!(tally.latency.samples(), tally.received);
}

#[tokio::test]
async fn a_relay_that_drops_is_caught() {
    let (tally, faults) = faults_of(Fault::Drop).await;
    assert!((0.05..0.15).contains(&tally.loss_ratio()), "{tally:?}");
    assert!(faults.contains("packets were lost"), "{faults}");
    assert!(tally.missing > 0 && tally.nacks > 0);
}

#[tokio::test]
async fn a_relay_that_duplicates_is_caught() {
    let (tally, faults) = faults_of(Fault::Duplicate).await;
    assert!(faults.contains("packets came twice"), "{faults}");
    // What came twice is not counted twice.
    assert_eq!(tally.received, tally.expected);
}

#[tokio::test]
async fn a_relay_that_misroutes_is_caught() {
    let (tally, faults) = faults_of(Fault::Misroute).await;
    assert!(faults.contains("packets came from another room"), "{faults}");
    assert!((tally.expected / 20..=tally.expected / 5).contains(&tally.foreign), "{tally:?}");
}

#[tokio::test]
async fn a_relay_that_reorders_is_caught() {
    let (tally, faults) = faults_of(Fault::Reorder).await;
    assert!(tally.reordered > 0, "{tally:?}");
    // The last one may still be held.
    assert!(tally.expected - tally.received <= 1, "{faults}");
}

#[tokio::test]
async fn a_relay_that_delays_is_caught() {
    let (tally, faults) = faults_of(Fault::Delay(Duration::from_millis(20))).await;
    // It takes 20 ms for each packet, one after the other: the queue grows.
    assert!(faults.contains("ms or more after they were sent"), "{faults}");
    assert!(tally.latency.quantile(0.5).unwrap() >= 20_000);
}
