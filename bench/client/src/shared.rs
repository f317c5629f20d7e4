//! What the session, its transport and the `Client` see together: counters and the state of the room.

use super::receive::Receiver;
use super::stats::{RtcpStats, SentStats, State, Stats, Timings};
use super::{JoinOptions, stamp};
use plausch_signalling::{MediaState, Participant, ResumeToken, ServerMessage, SlotContent};
use socket2::Socket;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the three.
pub(crate) struct Shared {
    started: Instant,
    live: Mutex<Live>,
}

/// What the caller wants to be sent at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) media: MediaState,
    pub(crate) audio_level: u8,
    pub(crate) video_kbps: Option<u32>,
}

/// Everything that changes.
pub(crate) struct Live {
    pub(crate) receiver: Receiver,
    pub(crate) sent: SentStats,
    pub(crate) rtcp: RtcpStats,
    pub(crate) srtp_profile: Option<&'static str>,
    pub(crate) junk_datagrams: u64,
    /// SRTP before our keys were there.
    pub(crate) early_datagrams: u64,
    pub(crate) refused_checks: u64,
    pub(crate) media: MediaState,
    pub(crate) audio_level: u8,
    /// Bitrate of the picture, where it is another one than at first.
    pub(crate) video_kbps: Option<u32>,
    pub(crate) state: State,
    timings: Timings,
    pub(crate) participant: String,
    pub(crate) resume: Option<ResumeToken>,
    participants: Vec<Participant>,
    slots: Vec<SlotContent>,
    speakers: Vec<String>,
    pub(crate) connections: u32,
    pub(crate) reattached: u32,
    pub(crate) lost_sockets: u32,
    /// Of somebody whose media is thrown away unseen: the sockets that do it.
    pub(crate) deaf: Vec<Socket>,
    /// Where media goes to and comes from.
    pub(crate) relay: Option<SocketAddr>,
}

impl Live {
    pub(crate) fn entered(
        &mut self,
        participant: String,
        resume: ResumeToken,
        participants: Vec<Participant>,
        slots: Vec<SlotContent>,
    ) {
        self.participant = participant;
        self.resume = Some(resume);
        self.participants = participants;
        self.slots = slots;
    }

    /// These slots have got contents.
    pub(crate) fn show(&mut self, contents: Vec<SlotContent>) {
        self.slots.extend(contents);
    }

    /// Keeps what control says of the room.
    pub(crate) fn note(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::ParticipantJoined { participant } => {
                self.participants.retain(|other| other.id != participant.id);
                self.participants.push(participant);
            }
            ServerMessage::ParticipantChanged { participant } => {
                if let Some(known) = self.participants.iter_mut().find(|other| other.id == participant.id) {
                    *known = participant;
                }
            }
            ServerMessage::ParticipantLeft { participant } => {
                self.participants.retain(|other| other.id != participant);
            }
            ServerMessage::Slots { slots } => self.slots = slots,
            ServerMessage::Speakers { participants } => self.speakers = participants,
            ServerMessage::Welcome { .. }
            | ServerMessage::IceServers { .. }
            | ServerMessage::Answer { .. }
            | ServerMessage::MediaLost
            | ServerMessage::Waiting { .. }
            | ServerMessage::Knocked { .. }
            | ServerMessage::KnockEnded { .. }
            | ServerMessage::Error { .. } => {}
        }
    }
}

impl Shared {
    pub(crate) fn new(options: &JoinOptions) -> Self {
        let live = Live {
            receiver: Receiver::new(stamp::room_tag(&options.room)),
            sent: SentStats::default(),
            rtcp: RtcpStats::default(),
            srtp_profile: None,
            junk_datagrams: 0,
            early_datagrams: 0,
            refused_checks: 0,
            media: options.media,
            audio_level: options.audio_level,
            video_kbps: None,
            state: State::Joining,
            timings: Timings::default(),
            participant: String::new(),
            resume: None,
            participants: Vec::new(),
            slots: Vec::new(),
            speakers: Vec::new(),
            connections: 0,
            reattached: 0,
            lost_sockets: 0,
            deaf: Vec::new(),
            relay: None,
        };
        Self { started: Instant::now(), live: Mutex::new(live) }
    }

    /// A panic elsewhere while counting leaves numbers that are still worth reading.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes when something happened for the first time.
    pub(crate) fn note_time(&self, which: impl FnOnce(&mut Timings) -> &mut Option<Duration>) {
        which(&mut self.live().timings).get_or_insert(self.started.elapsed());
    }

    /// All PeerConnections that a join waits for are there.
    pub(crate) fn joined(&self) {
        self.live().timings.dtls = Some(self.started.elapsed());
    }

    pub(crate) fn sending(&self) -> Sending {
        let live = self.live();
        Sending { media: live.media, audio_level: live.audio_level, video_kbps: live.video_kbps }
    }

    pub(crate) fn stats(&self) -> Stats {
        let live = self.live();
        let now = Instant::now();
        let mut slots = live.receiver.slots(now);
        for content in &live.slots {
            if let Some(slot) = slots.get_mut(usize::from(content.slot)) {
                slot.content = Some(content.clone());
            }
        }
        let since_start = |at: Option<Instant>| at.map(|at| at.duration_since(self.started));
        Stats {
            participant: live.participant.clone(),
            state: live.state.clone(),
            participants: live.participants.clone(),
            slots,
            speakers: live.speakers.clone(),
            sent: live.sent,
            timings: Timings {
                first_packet: since_start(live.receiver.first_packet),
                first_key_frame: since_start(live.receiver.first_key_frame),
                ..live.timings
            },
            srtp_profile: live.srtp_profile,
            connections: live.connections,
            reattached: live.reattached,
            lost_sockets: live.lost_sockets,
            relay: live.relay,
            unknown_packets: live.receiver.unknown_packets,
            early_datagrams: live.early_datagrams,
            junk_datagrams: live.junk_datagrams,
            refused_checks: live.refused_checks,
            foreign_packets: live.receiver.foreign_packets,
            rtcp: live.rtcp,
        }
    }
}
