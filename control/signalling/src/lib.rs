//! The one message set between a client (browser, load tester, independent client) and control, JSON over a
//! WebSocket at `/api/signalling`. This file defines it; `control/signalling/fixtures/*.json` hold one example
//! of each message, which tests in Rust and in TypeScript parse.
//!
//! A client opens the socket and sends `join`; control answers `welcome` or `error`. Everything else follows.
//! Ids of participants are strings of 16 hexadecimal digits.
//!
//! Either side may be newer than the other. Both ignore fields, capabilities and error codes that they do not know; a
//! client ignores a `type` that it does not know, and control answers it by an `error` of code `bad-message` that is not
//! fatal, and changes nothing. What not every client can do is a capability, which both sides list when they meet.

use plausch_relay_api::TurnPassword;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What clients say in `join` for controls before 0.2; later ones go by `capabilities` and take any number.
pub const VERSION: u32 = 1;

/// Capabilities by name.
pub mod capability {
    /// The client can wait in a lobby; control can keep one.
    pub const LOBBY: &str = "lobby";
}

plausch_relay_api::private! {
    /// A person's name.
    PersonName(String as str);
    /// A room's name as somebody typed it.
    RoomTitle(String as str);
    /// Opens an identity again.
    ResumeToken(String as str);
    /// Something that a client shows to be let in.
    Secret(String as str);
    /// The user name of time-limited TURN credentials.
    TurnUserName(String as str);
}

/// Client → control.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// First message on a socket.
    Join {
        #[serde(default)]
        version: u32,
        /// What the client can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        capabilities: Vec<String>,
        /// As typed; control normalises it.
        room: RoomTitle,
        /// The person's name as others see it.
        name: PersonName,
        /// Of an earlier `welcome`: come back as the same participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<ResumeToken>,
        /// Needed without `resume`. With `resume` and without `offer`, the running media is kept if the relay
        /// still has it; otherwise `media-lost` follows the `welcome` and the client offers again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<Offer>,
        media: MediaState,
        /// What the client shows at the door.
        #[serde(default, skip_serializing_if = "Claims::is_empty")]
        claims: Claims,
    },
    /// More slots, an ICE restart, or a new PeerConnection (a larger `connection`). Answered by `answer`.
    Offer { offer: Offer },
    /// Asks for TURN servers, before the first offer and before an ICE restart. May come before `join`; answered by
    /// `ice-servers`.
    IceServers {
        /// As in `join`.
        room: RoomTitle,
    },
    /// What the participant sends changed.
    Media { media: MediaState },
    /// A moderator lets somebody in who waits.
    Admit { participant: String },
    /// A moderator turns somebody away who waits.
    Reject { participant: String },
    /// Goodbye; control removes the participant at once and closes the socket.
    Leave,
}

/// What a client shows to be let in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claims {
    /// The room's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A signed statement of who this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The secret by which moderators are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moderator: Option<Secret>,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An SDP offer and what its m-lines are for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Counts the offers of this client; the `answer` repeats it.
    pub id: u32,
    /// Counts the PeerConnections of this participant, from 1. The client keeps counting over reconnects.
    pub connection: u32,
    pub sdp: String,
    pub sends: Sends,
    /// Receiving slots in order; slot n is the n-th. Later offers of the same connection may only append.
    pub slots: Vec<SlotMids>,
}

/// Without the SDP: passwords and addresses are in it.
impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("id", &self.id).field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// MIDs of the sending m-lines; what the client never sends is left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sends {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microphone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen_audio: Option<String>,
}

/// MIDs of one receiving slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotMids {
    pub audio: String,
    pub video: String,
}

/// What a participant sends at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MediaState {
    pub microphone: bool,
    pub camera: bool,
    pub screen: bool,
}

/// Control → client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "one is made for each message sent, and written at once")]
pub enum ServerMessage {
    /// The client is in the room.
    Welcome {
        /// The client's own id.
        participant: String,
        /// Secret: opens this identity again.
        resume: ResumeToken,
        /// The room's name as it was first typed.
        room: RoomTitle,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Answer>,
        /// Credentials to go on with, from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ice: Option<IceServers>,
        /// The others.
        participants: Vec<Participant>,
        slots: Vec<SlotContent>,
        /// What control can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        capabilities: Vec<String>,
        /// The client's own role.
        #[serde(default, skip_serializing_if = "Role::is_guest")]
        role: Role,
        /// Who waits in the lobby; moderators only are told.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lobby: Vec<Knock>,
    },
    /// Instead of `welcome`: the client waits in the lobby until `welcome` or `error` comes, or cancels by `leave`.
    Waiting {
        /// The client's own id.
        participant: String,
    },
    /// For moderators: somebody waits in the lobby.
    Knocked {
        knock: Knock,
    },
    /// For moderators: somebody waits there no more.
    KnockEnded {
        participant: String,
    },
    /// Answers `ice-servers`.
    IceServers {
        ice: IceServers,
    },
    /// Answers an `offer`.
    Answer {
        answer: Answer,
    },
    ParticipantJoined {
        participant: Participant,
    },
    ParticipantChanged {
        participant: Participant,
    },
    ParticipantLeft {
        participant: String,
    },
    /// What the slots show from now on, all of them: a slot that is not named is empty.
    Slots {
        slots: Vec<SlotContent>,
    },
    /// Who speaks, loudest first; empty when all are silent.
    Speakers {
        participants: Vec<String>,
    },
    /// The relay has lost this client's media: offer again with a new PeerConnection.
    MediaLost,
    /// The request failed. `fatal`: control closes the socket, and trying the same again will not help.
    Error {
        code: ErrorCode,
        fatal: bool,
    },
}

/// An SDP answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Of the offer that is answered.
    pub id: u32,
    pub sdp: String,
}

/// Without the SDP: passwords and addresses are in it.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where TURN is to be had.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServers {
    /// As `RTCConfiguration.iceServers`; empty where there is no TURN.
    pub servers: Vec<IceServer>,
    /// For tests of a network only: the same server at the port at which media arrives directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<String>,
    /// How long the credentials are good from now on. A client asks again when half of it is over.
    pub lifetime_seconds: u32,
}

/// An `RTCIceServer`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// RFC 7065.
    pub urls: Vec<String>,
    pub username: TurnUserName,
    pub credential: TurnPassword,
}

/// Another participant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    pub id: String,
    pub name: PersonName,
    pub media: MediaState,
    /// `false` while the participant's connection is lost and may still come back.
    pub connected: bool,
    #[serde(default, skip_serializing_if = "Role::is_guest")]
    pub role: Role,
}

/// What a participant may do to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Moderator,
    /// Also a role that this side does not know.
    #[default]
    #[serde(other)]
    Guest,
}

impl Role {
    fn is_guest(&self) -> bool {
        *self == Self::Guest
    }
}

/// Somebody who waits in the lobby.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Knock {
    pub id: String,
    pub name: PersonName,
}

/// What one slot shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotContent {
    /// Index into the offer's `slots`.
    pub slot: u16,
    pub participant: String,
    pub source: Source,
}

/// Which pair of tracks of a participant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Microphone and camera.
    Person,
    /// Shared screen and its sound.
    Screen,
}

/// Why a request failed. The client has a sentence for each in each of its languages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Not JSON of this message set, or in the wrong order.
    BadMessage,
    /// The client speaks another version: reload the page.
    Version,
    BadRoomName,
    BadName,
    /// The SDP cannot be used.
    BadOffer,
    RoomFull,
    /// The server has no place for more rooms or participants.
    ServerFull,
    /// Too many messages or joins from this address.
    RateLimited,
    /// No relay is connected at the moment; try again.
    NoRelay,
    /// The same identity joined from another place.
    Replaced,
    /// The operator has blocked this room.
    RoomBlocked,
    /// The room is closed at the moment.
    RoomClosed,
    /// The room has a password; join again with it.
    PasswordNeeded,
    PasswordWrong,
    /// Only who has been given a token may enter.
    TokenNeeded,
    /// Too many rooms or participants come from there.
    Quota,
    /// The room has a lobby, and this client cannot wait there.
    Lobby,
    /// A moderator turned the client away who waited.
    Rejected,
    /// Only a moderator may do this.
    NotModerator,
    /// A code that this side does not know.
    #[serde(other)]
    Unknown,
}
