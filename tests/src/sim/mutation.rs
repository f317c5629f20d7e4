//! Faults put between the engine and the model, to see that the model notices each.

use crate::media::Label;
use crate::random::Random;
use crate::wire::rtp::RtpPacket;
use plausch_relay_api::{MediaKind, ParticipantId};

/// One fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// A packet is not forwarded.
    Drop,
    /// A packet is sent a second time under a number of its own.
    Repeat,
    /// A packet goes to somebody else too.
    Misroute,
    /// One number is used for two packets.
    ReuseSequence,
    /// All numbers after some packet are one too high.
    SkipSequence,
    /// One timestamp is off.
    Timestamp,
    /// One picture id is off.
    PictureId,
    /// The first packet of video in a slot is held back.
    LoseKeyFrame,
    /// One byte of a payload is changed.
    Payload,
    /// A payload type of nobody.
    PayloadType,
    /// A MID of nobody.
    Mid,
    /// The end of a frame is not marked.
    Marker,
    /// Nothing more is forwarded in one stream.
    Silence,
    /// As `Drop`, and no report tells.
    Gap,
    /// Nothing is forwarded in one stream from the start, and no report tells.
    Starve,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Drop,
        Self::Repeat,
        Self::Misroute,
        Self::ReuseSequence,
        Self::SkipSequence,
        Self::Timestamp,
        Self::PictureId,
        Self::LoseKeyFrame,
        Self::Payload,
        Self::PayloadType,
        Self::Mid,
        Self::Marker,
        Self::Silence,
        Self::Gap,
        Self::Starve,
    ];

    /// Whether the engine's own numbers are left out of the check: they would betray the fault at once.
    pub fn hides_from_reports(self) -> bool {
        matches!(self, Self::Gap | Self::Starve)
    }

    /// Parts of what the model may say about the fault, one of which it must.
    pub fn symptoms(self) -> &'static [&'static str] {
        match self {
            Self::Drop | Self::Silence => &["a sender report of", "rtp_forwarded"],
            Self::Repeat => &["under two sequence numbers", "for two different packets"],
            Self::Misroute => &["is of no slot", "not connected"],
            Self::ReuseSequence => &["for two different packets"],
            Self::SkipSequence => &["a gap of", "for two different packets", "numbers skipped at the switch"],
            Self::Timestamp => &["within a run"],
            Self::PictureId => &["picture id", "was changed"],
            Self::LoseKeyFrame => &["begins a run and no key frame", "which sent nothing"],
            Self::Payload => &["was changed"],
            Self::PayloadType => &["payload type"],
            Self::Mid => &["MID of slot"],
            Self::Marker => &["marker false"],
            Self::Gap => &["were not forwarded", "numbers skipped at the switch"],
            Self::Starve => &["no Audio of", "no Video of", "played 0 of"],
        }
    }
}

/// A fault, waiting for its packet.
#[derive(Debug)]
pub struct Mutator {
    mutation: Mutation,
    random: Random,
    /// Packets until the fault happens.
    countdown: u64,
    victim: Option<(ParticipantId, u32)>,
    /// The fault has happened.
    pub done: bool,
}

impl Mutator {
    /// Happens after some hundreds of packets.
    pub fn new(mutation: Mutation, mut random: Random) -> Self {
        let at_once = matches!(mutation, Mutation::LoseKeyFrame | Mutation::Starve);
        let countdown = if at_once { 0 } else { random.range(200, 400) };
        Self { mutation, random, countdown, victim: None, done: false }
    }

    /// What the model gets to see instead of the packet that the engine sends to `to`.
    pub fn apply(
        &mut self,
        to: ParticipantId,
        others: &[ParticipantId],
        plain: &[u8],
    ) -> Vec<(ParticipantId, Vec<u8>)> {
        let unchanged = vec![(to, plain.to_vec())];
        let Ok(mut packet) = RtpPacket::decode(plain) else { return unchanged };
        let Some(label) = Label::decode(&packet.payload) else { return unchanged };
        if let Some(victim) = self.victim {
            if victim != (to, packet.ssrc) {
                return unchanged;
            }
            return match self.mutation {
                Mutation::SkipSequence => {
                    packet.sequence = packet.sequence.wrapping_add(1);
                    vec![(to, packet.encode())]
                }
                Mutation::Silence | Mutation::Starve => Vec::new(),
                _ => unchanged,
            };
        }
        let video = label.stream.track.media() == MediaKind::Video;
        let vp8 = video && crate::media::vp8_picture(&packet.payload).is_some();
        let fits = match self.mutation {
            Mutation::PictureId => vp8 && !label.key_frame,
            Mutation::Marker => video && label.last_of_frame,
            Mutation::LoseKeyFrame => video && label.key_frame && label.first_of_frame,
            // Behind the descriptor that is rewritten anyway.
            Mutation::Payload => packet.payload.len() > crate::media::LABEL_BYTES + 20,
            Mutation::Misroute => others.iter().any(|other| *other != to),
            _ => true,
        };
        if self.done || !fits || self.countdown > 0 {
            self.countdown = self.countdown.saturating_sub(1);
            return unchanged;
        }
        self.done = true;
        self.victim = Some((to, packet.ssrc));
        let original = (to, plain.to_vec());
        match self.mutation {
            Mutation::Drop | Mutation::LoseKeyFrame | Mutation::Silence | Mutation::Gap | Mutation::Starve => {
                return Vec::new();
            }
            Mutation::Repeat => packet.sequence = packet.sequence.wrapping_add(1),
            Mutation::Misroute => {
                let strangers: Vec<_> = others.iter().filter(|other| **other != to).collect();
                let stranger = **self.random.pick(&strangers);
                return vec![original, (stranger, plain.to_vec())];
            }
            Mutation::ReuseSequence => {
                packet.timestamp = packet.timestamp.wrapping_add(1);
                return vec![original, (to, packet.encode())];
            }
            Mutation::SkipSequence => packet.sequence = packet.sequence.wrapping_add(1),
            Mutation::Timestamp => packet.timestamp = packet.timestamp.wrapping_add(960),
            Mutation::PictureId => packet.payload[3] ^= 1,
            Mutation::Payload => {
                let at = packet.payload.len() - crate::media::LABEL_BYTES - 1;
                packet.payload[at] ^= 1;
            }
            Mutation::PayloadType => packet.payload_type ^= 1,
            Mutation::Mid => packet.extensions.clear(),
            Mutation::Marker => packet.marker = false,
        }
        match self.mutation {
            Mutation::Repeat => vec![original, (to, packet.encode())],
            _ => vec![(to, packet.encode())],
        }
    }
}
