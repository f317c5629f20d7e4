//! Which layer of its source's video a slot gets. All that decides it is here; the slot keeps what is to go out beside
//! what does, and goes over to it with the next key frame.

use crate::overload::Overload;
use crate::packet::Packet;
use crate::slot::Slot;
use crate::time::Time;
use crate::track::Track;
use plausch_relay_api::MediaKind;

/// What is to go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Target {
    /// No layer comes that could.
    #[default]
    Nothing,
    /// Nothing, because the shard has more to do than it can.
    LeftOut,
    Layer(u8),
}

/// What a decision depends on besides the slot and the track.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub overload: &'a Overload,
    /// Who has the slot, by dense index.
    pub member: usize,
    pub now: Time,
}

impl Slot {
    /// Decides what is to go out, now that a packet of the track has come: once a frame, and with every packet while
    /// something else goes out than that or the shard is overloaded. Who is left out goes on with a key frame, so that
    /// nobody asks for what is missing.
    pub(crate) fn aim(&mut self, packet: &Packet, track: &Track, around: Circumstances<'_>) -> Target {
        let current = self.following(MediaKind::Video);
        if current == Some(packet.source) && !packet.marker && !around.overload.is_on() {
            return self.target;
        }
        let shown = current.map(|source| source.layer);
        self.target = match self.max_layer_now(track, shown, around) {
            None => Target::LeftOut,
            Some(max_layer) => track.best_layer(max_layer, around.now).map_or(Target::Nothing, Target::Layer),
        };
        if self.target == Target::LeftOut
            && let Some(video) = &mut self.video
        {
            video.release();
        }
        self.target
    }

    /// The layer that waits for a key frame after a packet has been forwarded: the target, unless it goes out, and with
    /// its present epoch if the packet is of it.
    pub(crate) fn awaits(&self, packet: &Packet) -> Option<u8> {
        let Target::Layer(target) = self.target else { return None };
        let goes_out = self.following(MediaKind::Video).is_some_and(|source| {
            source.layer == target && (source.layer != packet.source.layer || source == packet.source)
        });
        (!goes_out).then_some(target)
    }

    /// The layer to ask for a key frame for a slot that gets nothing yet. `again`: only where one may still come; a
    /// camera that is off is not asked every second.
    pub(crate) fn layer_to_begin(&self, track: &Track, again: bool, around: Circumstances<'_>) -> Option<u8> {
        track.layer_to_ask(self.max_layer_now(track, None, around)?, again, around.now)
    }

    /// The layer of which a subscriber who cannot decode needs a key frame.
    pub(crate) fn layer_to_refresh(&self, track: &Track, around: Circumstances<'_>) -> Option<u8> {
        let current = self.following(MediaKind::Video).map(|source| source.layer);
        current.or_else(|| self.layer_to_begin(track, false, around))
    }

    /// The largest layer that may go out; `None`: nothing.
    fn max_layer_now(&self, track: &Track, shown: Option<u8>, around: Circumstances<'_>) -> Option<u8> {
        around.overload.max_layer(around.member, track, self.max_layer(), shown, around.now)
    }
}
