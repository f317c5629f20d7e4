//! Inputs to begin with: one of each kind that a target knows, and some that are wrong in an interesting way.

use crate::fuzz::engine::{self, Op, PUBLISHER, record};
use crate::fuzz::turn as fuzz_turn;
use crate::media::{self, Label, Picture, StreamId, Vp8Descriptor};
use crate::sim::setup::Setup;
use crate::wire::rtcp::{ReportBlock, Rtcp};
use crate::wire::rtp::RtpPacket;
use crate::wire::stun::Check;
use crate::wire::turn;
use bytes::BytesMut;
use plausch_relay_api::framing::{self, CommandFrame};
use plausch_relay_api::{
    Codec, Command, CommandId, DisconnectReason, Event, ParticipantId, ParticipantSpec, RoomId, TrackKind,
};

type Seeds = Vec<(String, Vec<u8>)>;

const CODECS: [(&str, Codec); 5] =
    [("opus", Codec::Opus), ("vp8", Codec::Vp8), ("vp9", Codec::Vp9), ("h264", Codec::H264), ("av1", Codec::Av1)];

fn named(seeds: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Seeds {
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn check(username: &str, password: &str) -> Check {
    Check {
        transaction: *b"transactions",
        username: username.into(),
        password: password.into(),
        use_candidate: true,
        controlling: true,
    }
}

/// For [`crate::fuzz::bodies::stun`].
pub fn stun() -> Seeds {
    let good = check("localufrag:remote", "a password of some length").encode();
    let mut controlled = check("localufrag:remote", "a password of some length");
    controlled.controlling = false;
    let mut long_length = good.clone();
    // The length of the first attribute reaches beyond the message, and wraps when padding is added.
    long_length[22..24].copy_from_slice(&[0xff, 0xff]);
    let mut behind_integrity = good.clone();
    behind_integrity.extend_from_slice(&[0x80, 0x22, 0, 4, b'a', b'b', b'c', b'd']);
    behind_integrity[3] += 8;
    let mut many = good[..20].to_vec();
    many.extend((0..300_u16).flat_map(|kind| [(kind >> 8) as u8, kind as u8, 0, 0]));
    many[2..4].copy_from_slice(&1200_u16.to_be_bytes());
    named([
        ("check", good.clone()),
        ("role-conflict", controlled.encode()),
        ("no-colon", check("localufrag", "a password of some length").encode()),
        ("cut", good[..good.len() - 7].to_vec()),
        ("header-only", good[..20].to_vec()),
        ("attribute-past-end", long_length),
        ("attribute-behind-integrity", behind_integrity),
        ("three-hundred-attributes", many),
        // RFC 5769, section 2.2: a response of the test vectors' kind, by hand.
        (
            "success",
            [&[1, 1, 0, 12], &good[4..20], &[0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]].concat(),
        ),
    ])
}

/// Type, length and value of an attribute, as [`crate::fuzz::turn::Op::Request`] has them.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &[value.len() as u8], value].concat()
}

/// For [`crate::fuzz::turn::turn`].
pub fn turn() -> Seeds {
    use fuzz_turn::{MEDIA, Op, PEER, record};
    // XOR-PEER-ADDRESS of an IPv4 address: masked with the magic cookie alone.
    let peer = |text: &str| {
        let address: std::net::SocketAddrV4 = text.parse().expect("an IPv4 address");
        let port = (address.port() ^ 0x2112).to_be_bytes();
        let ip = (u32::from(*address.ip()) ^ 0x2112_a442).to_be_bytes();
        attribute(0x0012, &[&[0, 1], port.as_slice(), ip.as_slice()].concat())
    };
    let request = |method: u8, attributes: &[Vec<u8>]| [vec![method], attributes.concat()].concat();
    let udp = attribute(0x0019, &[17, 0, 0, 0]);
    let mut call = Vec::new();
    record(Op::Request, &request(3, &[udp.clone(), attribute(0x000d, &[0, 0, 4, 0])]), &mut call);
    record(Op::Request, &request(8, &[peer(PEER), peer(MEDIA)]), &mut call);
    record(Op::Request, &request(9, &[attribute(0x000c, &[0x40, 1, 0, 0]), peer(PEER)]), &mut call);
    record(Op::Request, &request(9, &[attribute(0x000c, &[0x40, 2, 0, 0]), peer(MEDIA)]), &mut call);
    let mut data = call.clone();
    let stranger = check("localufrag:remote", "a password of some length").encode();
    for datagram in [
        turn::channel_data(0x4001, b"to the peer"),
        turn::channel_data(0x4002, &stranger),
        turn::channel_data(0x4003, b"to nobody"),
        turn::send(PEER.parse().expect("an address"), b"to the peer"),
        turn::send(MEDIA.parse().expect("an address"), &stranger),
        vec![0x40, 1, 0xff, 0xff, 1, 2, 3],
        vec![0x40, 1, 0, 0],
    ] {
        record(Op::Raw, &datagram, &mut data);
        record(Op::Stranger, &datagram, &mut data);
        record(
            Op::Stream,
            &[datagram.clone(), vec![0; datagram.len().next_multiple_of(4) - datagram.len()]].concat(),
            &mut data,
        );
        record(Op::Peer, &datagram, &mut data);
    }
    let mut refusals = Vec::new();
    for attributes in [
        vec![],
        vec![attribute(0x0019, &[6, 0, 0, 0])],
        vec![udp.clone(), attribute(0x0018, &[0x80]), attribute(0x0022, &[1; 8])],
        vec![udp.clone(), attribute(0x0017, &[3, 0, 0, 0])],
        vec![udp.clone(), attribute(0x7777, &[1])],
        vec![udp.clone(), attribute(0x0018, &[0x80])],
        vec![udp.clone()],
    ] {
        record(Op::Request, &request(3, &attributes), &mut refusals);
    }
    for bad in ["127.0.0.1:80", "0.0.0.0:80", "198.41.0.4:22", "224.0.0.1:1"] {
        record(Op::Request, &request(8, &[peer(bad)]), &mut refusals);
        record(Op::Request, &request(9, &[attribute(0x000c, &[0x40, 9, 0, 0]), peer(bad)]), &mut refusals);
    }
    for number in [[0x3f, 0xff], [0x80, 0], [0, 0]] {
        record(
            Op::Request,
            &request(9, &[attribute(0x000c, &[number[0], number[1], 0, 0]), peer(PEER)]),
            &mut refusals,
        );
    }
    let mut families = Vec::new();
    record(Op::Request, &request(3, &[udp.clone(), attribute(0x8000, &[2, 0, 0, 0])]), &mut families);
    record(Op::Request, &request(8, &[peer(PEER)]), &mut families);
    record(Op::Request, &request(4, &[attribute(0x0017, &[2, 0, 0, 0]), attribute(0x000d, &[0; 4])]), &mut families);
    record(Op::Request, &request(4, &[attribute(0x000d, &[0; 4])]), &mut families);
    let mut time = call.clone();
    for step in [1, 80, 150, 255, 255, 255, 255] {
        record(Op::Wait, &[step], &mut time);
        record(Op::Raw, &turn::channel_data(0x4001, b"still there?"), &mut time);
        record(Op::Request, &request(4, &[attribute(0x000d, &[0, 0, 14, 16])]), &mut time);
    }
    let mut strangers = Vec::new();
    let login = turn::Login {
        name: "talk".into(),
        realm: "plausch".into(),
        password: "a password".into(),
        nonce: b"obMatJos2AAABAAAAAAAAAAAAAAAA".to_vec(),
    };
    for datagram in [
        turn::allocate([1; 12], None),
        turn::allocate([1; 12], Some(&login)),
        turn::create_permission([2; 12], &login, PEER.parse().expect("an address")),
        turn::channel_bind([3; 12], &login, 0x4000, PEER.parse().expect("an address")),
        stranger,
    ] {
        record(Op::Stranger, &datagram, &mut strangers);
        record(Op::Raw, &datagram, &mut strangers);
        record(Op::Stream, &datagram, &mut strangers);
    }
    let tcp = attribute(0x0019, &[6, 0, 0, 0]);
    let mut by_tcp = Vec::new();
    for attributes in [vec![tcp.clone(), attribute(0x0018, &[0])], vec![tcp.clone(), attribute(0x001a, &[])], vec![tcp]]
    {
        record(Op::StreamRequest, &request(3, &attributes), &mut by_tcp);
    }
    record(Op::StreamRequest, &request(8, &[peer(PEER)]), &mut by_tcp);
    for to in [PEER, PEER, "198.41.0.4:443", "127.0.0.1:443", "8.8.4.4:1"] {
        record(Op::StreamRequest, &request(0x0a, &[peer(to)]), &mut by_tcp);
    }
    for step in [0_u8, 1, 0] {
        record(Op::Edge, &[step], &mut by_tcp);
        record(Op::StreamRequest, &request(0x0b, &[]), &mut by_tcp);
    }
    record(Op::Edge, &[3], &mut by_tcp);
    record(Op::Edge, &[7], &mut by_tcp);
    record(Op::Close, &[], &mut by_tcp);
    record(Op::StreamRequest, &request(0x0b, &[]), &mut by_tcp);
    record(Op::Wait, &[8], &mut by_tcp);
    record(Op::Edge, &[2], &mut by_tcp);
    record(Op::StreamRequest, &request(0x0a, &[peer(PEER)]), &mut by_tcp);
    record(Op::StreamRequest, &request(4, &[attribute(0x000d, &[0; 4])]), &mut by_tcp);
    named([
        ("call", call),
        ("by-tcp", by_tcp),
        ("data", data),
        ("refusals", refusals),
        ("families", families),
        ("time", time),
        ("strangers", strangers),
    ])
}

/// For [`crate::fuzz::turn::framed`].
pub fn turn_framed() -> Seeds {
    let allocate = turn::allocate([1; 12], None);
    let padded = |data: &[u8]| {
        let mut message = turn::channel_data(0x4001, data);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    };
    let mixed = [allocate.clone(), padded(b"1"), padded(b"1234"), allocate.clone(), padded(&[7; 1_200])].concat();
    let large = [allocate.clone(), padded(&[7; 3_000]), padded(b"after it"), allocate.clone()].concat();
    let piecewise = |size: u8, stream: &[u8]| [&[size], stream].concat();
    named([
        ("mixed", piecewise(3, &mixed)),
        ("too-large", piecewise(7, &large)),
        ("channel-first", piecewise(1, &padded(b"GET"))),
        ("http", piecewise(2, b"GET / HTTP/1.1\r\n\r\n")),
        ("cut", piecewise(5, &mixed[..mixed.len() - 3])),
        ("no-cookie", piecewise(1, &[0, 3, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])),
        ("odd-length", piecewise(1, &[0, 3, 0, 7])),
        ("longest", piecewise(64, &[&allocate[..], &[0x40, 1, 0xff, 0xff]].concat())),
    ])
}

fn label(key_frame: bool, counter: u32) -> Label {
    Label {
        stream: StreamId { room: RoomId(1), participant: PUBLISHER, generation: 1, track: TrackKind::Camera, layer: 0 },
        counter,
        frame: counter,
        key_frame,
        first_of_frame: true,
        last_of_frame: true,
        captured: 0,
        timestamp: 0,
    }
}

const PICTURE: Picture = Picture { id: 0x1234, tl0_index: 0x56 };

/// For [`crate::fuzz::bodies::rtp`].
pub fn rtp() -> Seeds {
    let full = RtpPacket {
        payload_type: 96,
        marker: true,
        sequence: 0xffff,
        timestamp: 0xffff_ffff,
        ssrc: 0x1234_5678,
        extensions: vec![(1, b"0".to_vec()), (2, b"h".to_vec()), (3, vec![0x85]), (4, vec![1, 2]), (6, vec![0; 16])],
        payload: media::payload(Codec::Vp8, Vp8Descriptor::Full, PICTURE, &label(true, 0), 10),
        padding: 0,
    };
    let bare = RtpPacket { extensions: Vec::new(), ..full.clone() }.encode();
    let padded = RtpPacket { padding: 200, payload: Vec::new(), ..full.clone() }.encode();
    let mut long_padding = padded.clone();
    if let Some(last) = long_padding.last_mut() {
        *last = 255;
    }
    let mut long_extension = full.encode();
    long_extension[14..16].copy_from_slice(&[0xff, 0xff]);
    let mut csrcs = bare.clone();
    csrcs[0] |= 0x0f;
    let mut two_byte = full.encode();
    two_byte[12..14].copy_from_slice(&[0x10, 0x00]);
    named([
        ("all-extensions", full.encode()),
        ("two-byte-extensions", two_byte),
        ("bare", bare.clone()),
        ("no-payload", bare[..12].to_vec()),
        ("padding-only", padded),
        ("padding-longer-than-packet", long_padding),
        ("extension-past-end", long_extension),
        ("csrcs-past-end", csrcs[..40].to_vec()),
    ])
}

/// For [`crate::fuzz::bodies::rtcp`].
pub fn rtcp() -> Seeds {
    let block = ReportBlock { ssrc: 5, fraction_lost: 7, cumulative_lost: -3, ..Default::default() };
    let twcc = [vec![0, 10, 0, 11, 0, 0, 1, 9, 0x20, 0x02, 0xc6, 0, 0x90, 0], vec![4, 4, 8, 0xff, 0xff, 1]].concat();
    let impossible = vec![0, 10, 0xff, 0xff, 0, 0, 1, 9, 0x3f, 0xff, 0, 0];
    let packets = [
        ("sr", Rtcp::SenderReport { ssrc: 1, ntp: 1 << 40, timestamp: 2, packets: 3, octets: 4, blocks: vec![block] }),
        ("rr", Rtcp::ReceiverReport { ssrc: 1, blocks: vec![block; 3] }),
        ("sdes", Rtcp::SourceDescription { chunks: vec![(1, "someone".into()), (2, String::new())] }),
        ("bye", Rtcp::Bye { ssrcs: vec![1, 2] }),
        ("nack", Rtcp::Nack { sender: 1, media: 2, lost: (0..40).map(|n| n * 5).collect() }),
        ("pli", Rtcp::Pli { sender: 1, media: 2 }),
        ("fir", Rtcp::Fir { sender: 1, entries: vec![(2, 3), (4, 5)] }),
        ("twcc", Rtcp::Twcc { sender: 1, media: 2, body: twcc }),
        ("twcc-impossible-count", Rtcp::Twcc { sender: 1, media: 2, body: impossible }),
    ];
    let mut seeds = Seeds::new();
    let mut all = Vec::new();
    for (name, packet) in packets {
        let mut one = Vec::new();
        packet.encode(&mut one);
        all.extend_from_slice(&one);
        seeds.push((name.to_owned(), one));
    }
    let mut wrong = all.clone();
    wrong[3] = 200;
    let mut bye = vec![0x81, 203, 0, 2, 0, 0, 0, 1];
    // A reason of 255 bytes in three.
    bye.extend_from_slice(&[255, b'a', b'b', b'c']);
    seeds.extend(named([("compound", all), ("wrong-length", wrong), ("bye-short-reason", bye)]));
    seeds
}

/// For [`crate::fuzz::bodies::srtp_open`].
pub fn srtp_open() -> Seeds {
    let mut seeds = rtp();
    seeds.extend(rtcp().into_iter().filter(|(name, _)| name == "sr" || name == "compound"));
    seeds
}

/// For [`crate::fuzz::bodies::codec`].
pub fn codec() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, codec) in CODECS {
        for key_frame in [true, false] {
            let label = label(key_frame, 3);
            let descriptor = if codec == Codec::Av1 { media::dependency_descriptor(&label) } else { Vec::new() };
            let payload = media::payload(codec, Vp8Descriptor::Full, PICTURE, &label, 4);
            let kind = if key_frame { "key" } else { "delta" };
            seeds.push((format!("{name}-{kind}"), [vec![descriptor.len() as u8], descriptor, payload].concat()));
        }
    }
    let simple = media::payload(Codec::Vp8, Vp8Descriptor::PictureIdOnly, PICTURE, &label(true, 3), 0);
    seeds.extend(named([
        ("vp8-picture-id-only", [vec![0], simple].concat()),
        ("vp8-cut", vec![0, 0x90, 0xf0, 0x92]),
        ("vp8-seven-bits", vec![0, 0x90, 0xe0, 0x12, 0x34, 0x00, 0x10, 0, 0]),
        ("vp9-structure-past-end", vec![0, 0x8a, 0x92, 0x34, 0xff, 0, 0]),
        ("vp9-flexible", vec![0, 0xfc, 0x92, 0x34, 0x00, 0x03, 0x05, 0x02, 1, 2, 3]),
        ("h264-stap-wrong-size", vec![0, 0x78, 0xff, 0xff, 0x67, 0x42, 0, 1]),
        ("h264-single", vec![0, 0x65, 1, 2, 3]),
        ("av1-descriptor-cut", vec![2, 0x80, 0x00, 0x18, 0x0a]),
    ]));
    seeds
}

/// For [`crate::fuzz::bodies::signalling`]: control's fixtures, one of each message.
pub fn signalling() -> Seeds {
    let mut seeds = named([
        ("unknown-type", br#"{"type":"dance"}"#.to_vec()),
        ("not-utf8", b"{\"type\":\"\xff\"}".to_vec()),
        ("deep", "[".repeat(300).into_bytes()),
        ("number-too-large", br#"{"type":"join","version":99999999999999999999,"room":"a","name":"b"}"#.to_vec()),
    ]);
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../control/signalling/fixtures");
    for entry in std::fs::read_dir(fixtures).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().trim_end_matches(".json").to_owned();
        seeds.extend(std::fs::read(entry.path()).map(|bytes| (name, bytes)));
    }
    seeds
}

/// A participant with something of everything.
fn spec() -> ParticipantSpec {
    let world = engine::meeting();
    let setup: &Setup = &world.clients[&PUBLISHER].setup;
    setup.spec.clone()
}

/// For [`crate::fuzz::bodies::framing`].
pub fn framing() -> Seeds {
    let participant = ParticipantId(7);
    let frame = |command| {
        let mut out = BytesMut::new();
        framing::encode(&CommandFrame { id: CommandId(3), command }, &mut out).expect("a command fits");
        out.to_vec()
    };
    let event = |event: Event| {
        let mut out = BytesMut::new();
        framing::encode(&event, &mut out).expect("an event fits");
        out.to_vec()
    };
    let put = frame(Command::PutParticipant(Box::new(spec())));
    named([
        ("remove", frame(Command::RemoveParticipant { participant })),
        ("assign", frame(Command::AssignSlots { participant, slots: Vec::new() })),
        ("cut", put[..put.len() - 9].to_vec()),
        ("put", put),
        ("connected", event(Event::Connected { participant, generation: 1 })),
        ("disconnected", {
            let reason = DisconnectReason::ConsentExpired;
            event(Event::Disconnected { participant, generation: 1, reason })
        }),
        ("two", [event(Event::SnapshotEnd), event(Event::SnapshotEnd)].concat()),
        ("too-long", vec![0xff, 0xff, 0xff, 0xff, b'{']),
        ("unknown-command", [&[0, 0, 0, 34][..], br#"{"id":9,"command":{"type":"sing"}}"#].concat()),
        ("empty-frame", vec![0, 0, 0, 0]),
    ])
}

/// For [`crate::fuzz::engine::demux`]: the publisher's own stream, so that a mutation goes past demultiplexing.
pub fn demux() -> Seeds {
    let world = engine::meeting();
    let publisher = &world.clients[&PUBLISHER];
    let setup = &publisher.setup;
    let packet = |track: TrackKind, n: u16, key_frame: bool| {
        let stream = setup.streams.iter().find(|stream| stream.track == track).expect("all tracks are sent");
        let codec = setup.codec(track);
        let ids = &setup.spec.extensions;
        RtpPacket {
            payload_type: setup.mapping(codec).expect("negotiated").payload_type,
            marker: true,
            sequence: n,
            timestamp: 3000 * u32::from(n),
            ssrc: stream.ssrc,
            extensions: ids.mid.map(|id| (id, stream.mid.clone().into_bytes())).into_iter().collect(),
            payload: media::payload(codec, setup.vp8, PICTURE, &label(key_frame, u32::from(n)), 20),
            padding: 0,
        }
        .encode()
    };
    let mut call = Vec::new();
    for n in 0..6 {
        record(Op::Rtp, &packet(TrackKind::Camera, n, n == 0), &mut call);
        record(Op::Rtp, &packet(TrackKind::Microphone, n, false), &mut call);
        record(Op::Wait, &[3], &mut call);
    }
    let mut screen = call.clone();
    record(Op::Rtp, &packet(TrackKind::Screen, 1, true), &mut screen);
    record(Op::Rtp, &packet(TrackKind::ScreenAudio, 1, false), &mut screen);
    record(Op::Rtp, &packet(TrackKind::Camera, 40_000, true), &mut screen);
    let mut feedback = call.clone();
    let slot = &world.clients[&engine::SUBSCRIBER].setup.spec.slots[0];
    let video = slot.video.as_ref().expect("a slot with a picture").ssrc;
    let mut requests = vec![Rtcp::Pli { sender: 1, media: video }];
    // The numbers that the engine sends the call with: the same in every run, and in the clear.
    let mut sent = Vec::new();
    engine::run(&call, Some(&mut sent));
    let of_slot = |datagram: &&Vec<u8>| datagram.len() > 12 && datagram[8..12] == video.to_be_bytes();
    let lost = sent.iter().filter(of_slot).map(|datagram| u16::from_be_bytes([datagram[2], datagram[3]])).collect();
    requests.push(Rtcp::Nack { sender: 1, media: video, lost });
    let all: Vec<u16> = (0..17 * 300).collect();
    requests.push(Rtcp::Nack { sender: 1, media: video, lost: all });
    for request in requests {
        let mut compound = Vec::new();
        request.encode(&mut compound);
        record(Op::SubscriberRtcp, &compound, &mut feedback);
    }
    for (_, compound) in rtcp() {
        record(Op::Rtcp, &compound, &mut feedback);
        record(Op::SubscriberRtcp, &compound, &mut feedback);
        record(Op::Wait, &[30], &mut feedback);
    }
    let mut strangers = Vec::new();
    for (_, bytes) in stun().into_iter().chain(rtp()).chain(rtcp()) {
        record(Op::Stranger, &bytes, &mut strangers);
        record(Op::Raw, &bytes, &mut strangers);
    }
    let ice = setup.ice().expect("a browser");
    let username = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag);
    record(Op::Raw, &check(&username, ice.local_pwd.reveal()).encode(), &mut strangers);
    record(Op::Stranger, &check(&username, "not the password of this one").encode(), &mut strangers);
    let mut silence = call.clone();
    for _ in 0..30 {
        record(Op::Wait, &[255], &mut silence);
    }
    named([("call", call), ("screen", screen), ("feedback", feedback), ("strangers", strangers), ("silence", silence)])
}
