//! Processes of our own with keys of control's, and strangers whom a browser nominates.

use super::*;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// One keyed participant at a socket: SRTP by the published crate.
struct Gateway {
    socket: UdpSocket,
    spec: ParticipantSpec,
    seal: Context,
    open: Context,
    sequence: u16,
}

impl Gateway {
    async fn new(relay: SocketAddr, participant: u64) -> Self {
        let socket = socket_to(relay).await;
        let master = |byte: u8| SrtpMasterKey { key: vec![byte; 16].into(), salt: vec![byte; 12].into() };
        let byte = participant as u8;
        let keys = SrtpKeys {
            profile: SrtpProfile::AeadAes128Gcm,
            from_participant: master(byte),
            to_participant: master(byte | 0x80),
        };
        let context = |keys: &SrtpMasterKey| {
            Context::new(&keys.key, &keys.salt, ProtectionProfile::AeadAes128Gcm, None, None).unwrap()
        };
        let (seal, open) = (context(&keys.from_participant), context(&keys.to_participant));
        let mut spec = spec(participant, 0, Fingerprint::Sha256([0; 32]));
        let remote = socket.local_addr().unwrap();
        spec.transport = Transport::Keyed { keyed: KeyedTransport { local: relay, remote, keys } };
        let ssrc = 2000 + participant as u32;
        spec.slots = vec![SlotSpec { slot: SlotId(0), audio: Some(SlotStream::new("1", ssrc)), video: None }];
        Self { socket, spec, seal, open, sequence: 1 }
    }

    /// The next packet of sound, sealed.
    fn packet(&mut self) -> Vec<u8> {
        let [s0, s1] = self.sequence.to_be_bytes();
        let ssrc = self.spec.sends[0].ssrcs[0].to_be_bytes();
        let mut plain = vec![0x80, 111, s0, s1, 0, 0, 3, s1];
        plain.extend(ssrc);
        plain.extend([self.sequence as u8; 60]);
        self.sequence += 1;
        self.seal.encrypt_rtp(&plain).unwrap().to_vec()
    }

    /// The next RTP packet that comes, in the clear. Reports are passed over.
    async fn hear(&mut self) -> Vec<u8> {
        let mut buffer = [0; 1500];
        loop {
            let len = timeout(PATIENCE, self.socket.recv(&mut buffer)).await.expect("a packet").unwrap();
            if !(192..224).contains(&buffer[1]) {
                return self.open.decrypt_rtp(&buffer[..len]).unwrap().to_vec();
            }
            self.open.decrypt_rtcp(&buffer[..len]).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_our_own_talk_with_the_keys_of_control() {
    let whole = Whole::start(DriverChoice::Auto).await;
    let (mut control, _) = whole.link().await;
    let relay = whole.address(0, Ipv4Addr::LOCALHOST.into());
    let mut gateways = [Gateway::new(relay, 1).await, Gateway::new(relay, 2).await];
    for gateway in &gateways {
        let participant = gateway.spec.participant;
        let put = Command::PutParticipant(Box::new(gateway.spec.clone()));
        control.next_id += 1;
        let frame = CommandFrame { id: CommandId(control.next_id), command: put };
        control.connection.send(&serde_json::to_value(frame).unwrap()).await.unwrap();
        let mut told = Vec::new();
        while told.len() < 2 {
            told.push(control.event().await);
        }
        assert!(told.contains(&Event::Connected { participant, generation: 1 }), "{told:?}");
        assert!(told.iter().any(|event| matches!(event, Event::Done { result: Ok(()), .. })), "{told:?}");
    }
    for (viewer, source) in [(1, 2), (2, 1)] {
        let source = SourceRef { participant: ParticipantId(source), source: Source::Person };
        let slots = vec![SlotAssignment { slot: SlotId(0), source, max_layer: 0 }];
        control.command(Command::AssignSlots { participant: ParticipantId(viewer), slots }).await.unwrap();
    }
    let [first, second] = &mut gateways;
    for (from, to) in [(first, second)] {
        for n in 1..=20u8 {
            let packet = from.packet();
            from.socket.send(&packet).await.unwrap();
            let heard = to.hear().await;
            assert_eq!(heard[8..12], 2002u32.to_be_bytes());
            assert_eq!(heard[heard.len() - 60..], [n; 60]);
            let packet = to.packet();
            to.socket.send(&packet).await.unwrap();
            assert_eq!(from.hear().await[8..12], 2001u32.to_be_bytes());
        }
        // From another port of the same host, and a check from the right one.
        let stranger = socket_to(relay).await;
        stranger.send(&from.packet()).await.unwrap();
        whole.until_metrics_say("plausch_drop_srtp_unchecked_total{shard=\"0\"} 1").await;
        from.socket.send(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).await.unwrap();
        whole.until_metrics_say("plausch_drop_keyed_protocol_total{shard=\"0\"} 1").await;
        let mut forged = from.packet();
        *forged.last_mut().unwrap() ^= 1;
        from.socket.send(&forged).await.unwrap();
        whole.until_metrics_say("plausch_drop_srtp_forged_total{shard=\"0\"} 1").await;
    }
    for participant in [1, 2].map(ParticipantId) {
        control.command(Command::RemoveParticipant { participant }).await.unwrap();
    }
    for gauge in ["participants", "connected", "tuples", "tracks"] {
        whole.until_metrics_say(&format!("plausch_{gauge}{{shard=\"0\"}} 0")).await;
    }
    whole.stop().await;
}

/// A browser that forges its source address: here a socket that sends a nomination and answers nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nomination_from_a_forged_address_brings_its_owner_next_to_nothing() {
    let whole = Whole::start(DriverChoice::Auto).await;
    let (mut control, _) = whole.link().await;
    let (certificate, fingerprint) = certificate();
    control.command(Command::PutParticipant(Box::new(spec(7, 0, fingerprint)))).await.unwrap();
    let relay = whole.address(0, Ipv4Addr::LOCALHOST.into());
    let socket = socket_to(relay).await;
    check(&socket, "ufrag00007").await;
    let _client = handshake(socket, certificate).await;
    assert_eq!(control.event().await, Event::Connected { participant: ParticipantId(7), generation: 1 });
    whole.until_metrics_say("plausch_path_changes_total{shard=\"0\"} 1").await;

    let victim = UdpSocket::bind(("127.0.0.66", 0)).await.unwrap();
    victim.connect(relay).await.unwrap();
    let nomination = binding_request("ufrag00007").raw;
    let (mut sent, mut received, mut datagrams) = (0, 0, 0);
    let end = tokio::time::Instant::now() + Duration::from_secs(3);
    victim.send(&nomination).await.unwrap();
    sent += nomination.len();
    let mut buffer = [0; 1500];
    while let Ok(len) = tokio::time::timeout_at(end, victim.recv(&mut buffer)).await {
        let len = len.unwrap();
        assert!(buffer[0] < 4, "the victim gets {} and not STUN only", buffer[0]);
        received += len;
        datagrams += 1;
    }
    // Reports go out every second, and none came here.
    assert!(datagrams >= 2, "it is answered, and asked whether it wants this");
    assert!(received <= 3 * sent, "{received} bytes for {sent}");
    whole.until_metrics_say("plausch_path_changes_total{shard=\"0\"} 1").await;
    whole.until_metrics_say("plausch_tuples{shard=\"0\"} 2").await;
    whole.stop().await;
}
