//! Identifiers. All are opaque to the relay: control chooses them, at random where they must not be guessed.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

id!(/// A room. The relay never learns its name.
    RoomId, u64, "{:016x}");
id!(/// One person in one room, for as long as they are in it; a reconnect keeps it.
    ParticipantId, u64, "{:016x}");
id!(/// A pinned relay thread with its own UDP port.
    ShardId, u16, "{}");
id!(/// A receiving place of one participant: a pair of an audio and a video m-line in one MediaStream.
    SlotId, u16, "{}");
id!(/// Numbers the commands of one link connection, so that each `Done` names the command it ends.
    CommandId, u64, "{}");
