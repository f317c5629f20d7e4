//! Refusals as codes of the signalling, which metrics count by as well.

use crate::admission::door::Closed;
use crate::join::Refusal;
use crate::rooms::LobbyError;
use plausch_signalling::ErrorCode;

impl From<Refusal> for ErrorCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::RateLimited => Self::RateLimited,
            Refusal::BadRoomName => Self::BadRoomName,
            Refusal::BadName => Self::BadName,
            Refusal::BadRequest => Self::BadMessage,
            Refusal::BadOffer => Self::BadOffer,
            Refusal::Closed(why) => why.into(),
            Refusal::RoomFull => Self::RoomFull,
            Refusal::ServerFull => Self::ServerFull,
            Refusal::NoRelay => Self::NoRelay,
            Refusal::Replaced => Self::Replaced,
        }
    }
}

impl From<Closed> for ErrorCode {
    fn from(why: Closed) -> Self {
        match why {
            Closed::Blocked => Self::RoomBlocked,
            Closed::RoomClosed => Self::RoomClosed,
            Closed::PasswordNeeded => Self::PasswordNeeded,
            Closed::PasswordWrong => Self::PasswordWrong,
            Closed::TokenNeeded => Self::TokenNeeded,
            Closed::Quota => Self::Quota,
            Closed::CannotWait => Self::Lobby,
        }
    }
}

impl From<LobbyError> for ErrorCode {
    fn from(error: LobbyError) -> Self {
        match error {
            LobbyError::NotModerator => Self::NotModerator,
            // Another moderator was quicker, or the guest gave up.
            LobbyError::NobodyWaits => Self::BadMessage,
        }
    }
}
