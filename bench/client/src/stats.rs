//! What a client has seen so far.

use plausch_signalling::{Participant, SlotContent};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A picture of the client at one moment.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Own id in the room.
    pub participant: String,
    pub state: State,
    /// The others.
    pub participants: Vec<Participant>,
    pub slots: Vec<SlotStats>,
    pub speakers: Vec<String>,
    pub sent: SentStats,
    pub timings: Timings,
    /// `AEAD_AES_128_GCM` and so on, once DTLS is finished.
    pub srtp_profile: Option<&'static str>,
    /// PeerConnections so far.
    pub connections: u32,
    /// WebSockets that were lost and opened again.
    pub reattached: u32,
    /// WebSockets that were lost.
    pub lost_sockets: u32,
    /// The relay's address that media is exchanged with.
    pub relay: Option<SocketAddr>,
    /// Packets with an SSRC and MID that belong to no slot.
    pub unknown_packets: u64,
    /// SRTP that came before our keys were there.
    pub early_datagrams: u64,
    /// Datagrams that are neither STUN, DTLS nor valid SRTP or SRTCP.
    pub junk_datagrams: u64,
    /// Answers to ICE checks that were wrong.
    pub refused_checks: u64,
    /// Media of another room: must stay 0.
    pub foreign_packets: u64,
    /// RTCP that came in, by kind.
    pub rtcp: RtcpStats,
}

/// Where the client is in its life.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum State {
    #[default]
    Joining,
    /// Media flows.
    Connected,
    /// Media is lost and being set up again.
    Reconnecting,
    /// Over, by our wish or with this sentence.
    Over(Option<String>),
}

/// What is received in one slot.
#[derive(Clone, Debug, Default)]
pub struct SlotStats {
    /// What control says is in it.
    pub content: Option<SlotContent>,
    pub audio: TrackStats,
    pub video: TrackStats,
}

/// What is received on one m-line.
#[derive(Clone, Debug, Default)]
pub struct TrackStats {
    pub packets: u64,
    /// RTP headers and payloads with their tags.
    pub bytes: u64,
    /// Packets with a marker bit: whole video frames.
    pub frames: u64,
    pub key_frames: u64,
    /// Width and height of the latest key frame.
    pub picture: Option<(u16, u16)>,
    pub decrypted: u64,
    pub undecryptable: u64,
    /// Sequence numbers that have not arrived (yet).
    pub missing: u64,
    pub reordered: u64,
    pub duplicates: u64,
    /// Jumps of the sequence number by more than any loss explains.
    pub sequence_jumps: u64,
    /// Picture ids that did not follow the one before, without a missing packet.
    pub picture_id_jumps: u64,
    /// How often the relay went over to another simulcast layer or another person, as far as was looked into.
    pub layer_switches: u64,
    /// Of these, such as began with something else than a key frame.
    pub blind_switches: u64,
    /// Whose pictures, and which layer of them, came last.
    pub following: Option<Following>,
    /// Packets without this m-line's MID.
    pub wrong_mid: u64,
    /// Stamped packets by the participant that sent them.
    pub senders: BTreeMap<String, u64>,
    /// Longest time between two packets since the start or `Client::clear_pauses`, the one that lasts included.
    pub longest_pause: Duration,
    /// Time since the latest packet.
    pub since_last: Option<Duration>,
    pub latency: Latency,
}

/// Time from sender to receiver by stamps, both on this machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub samples: u64,
    pub sum_us: u64,
    pub max_us: u64,
}

impl Latency {
    /// Takes one sample.
    pub(crate) fn record(&mut self, us: u64) {
        self.samples += 1;
        self.sum_us += us;
        self.max_us = self.max_us.max(us);
    }

    /// The mean, if there is one.
    pub fn mean_us(&self) -> Option<u64> {
        self.sum_us.checked_div(self.samples)
    }
}

/// What a track follows, and what it should have got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Following {
    pub participant: u64,
    /// The smallest picture is 0.
    pub layer: u8,
    /// Packets that should have come beyond those that were sent in this layer: the track followed others before.
    pub more_than_sent: i64,
}

impl Following {
    /// Packets that should have come when so many were sent in each layer.
    pub fn expected(&self, sent: &[u64]) -> u64 {
        let sent = sent.get(usize::from(self.layer)).copied().unwrap_or(0);
        sent.saturating_add_signed(self.more_than_sent)
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct SentStats {
    pub packets: u64,
    pub bytes: u64,
    /// Of the packets, those of sound.
    pub audio: u64,
    /// Of the packets, those of each layer of the picture, smallest first.
    pub layers: [u64; 3],
    /// Sent again because of a NACK.
    pub retransmitted: u64,
    pub requested_key_frames: u64,
}

/// What was sent and received, in short.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub sent: SentStats,
    /// Received, each once.
    pub audio: u64,
    pub video: u64,
    /// Received by somebody whose media is thrown away: sound and pictures, each as often as it came.
    pub unseen: u64,
    /// What the video tracks follow.
    pub following: Vec<Following>,
}

impl SentStats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.audio += other.audio;
        self.retransmitted += other.retransmitted;
        for (layer, more) in self.layers.iter_mut().zip(other.layers) {
            *layer += more;
        }
    }
}

/// RTCP that came in.
#[derive(Clone, Copy, Debug, Default)]
pub struct RtcpStats {
    pub sender_reports: u64,
    pub receiver_reports: u64,
    pub key_frame_requests: u64,
    pub nacks: u64,
    pub transport_feedback: u64,
    pub byes: u64,
    pub undecryptable: u64,
    /// NACK and PLI that this client sent.
    pub sent_nacks: u64,
    pub sent_key_frame_requests: u64,
}

/// Times since `Client::join` began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub socket: Option<Duration>,
    pub welcome: Option<Duration>,
    pub ice: Option<Duration>,
    pub dtls: Option<Duration>,
    pub first_packet: Option<Duration>,
    pub first_key_frame: Option<Duration>,
}

impl Stats {
    /// The slot that shows the person of this id.
    pub fn slot_of(&self, participant: &str) -> Option<&SlotStats> {
        self.slots.iter().find(|slot| slot.content.as_ref().is_some_and(|content| content.participant == participant))
    }

    /// Packets of all slots.
    pub fn received_packets(&self) -> u64 {
        self.tracks().map(|track| track.packets).sum()
    }

    /// Both tracks of all slots.
    pub fn tracks(&self) -> impl Iterator<Item = &TrackStats> {
        self.slots.iter().flat_map(|slot| [&slot.audio, &slot.video])
    }
}
