//! The door: who may enter a room, who waits in its lobby, and who is turned away.

use super::rates::Prefix;
use crate::http::assets;
use crate::rooms::member::Role;
use crate::rooms::names::RoomKey;

/// What somebody shows at the door.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The room's password.
    pub password: Option<String>,
    /// A signed statement of who this is.
    pub token: Option<String>,
    /// The secret by which moderators are known.
    pub moderator: Option<String>,
}

/// Says which claims there are, and none of them: they are secrets.
impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |claim: &Option<String>| claim.is_some();
        f.debug_struct("Claims")
            .field("password", &shown(&self.password))
            .field("token", &shown(&self.token))
            .field("moderator", &shown(&self.moderator))
            .finish()
    }
}

/// Somebody at the door of a room.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    pub room: &'a RoomKey,
    /// Somebody is in the room already, or about to be.
    pub room_exists: bool,
    pub claims: &'a Claims,
    /// `None` for this machine itself.
    pub prefix: Option<Prefix>,
}

/// What becomes of a visitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    Enter(Role),
    /// Somebody in the room has to let them in.
    Wait,
    Refuse(Closed),
}

/// Why a door stays closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Closed {
    #[error("the operator has blocked this room")]
    Blocked,
    #[error("the room is closed")]
    RoomClosed,
    #[error("the room has a password")]
    PasswordNeeded,
    #[error("the password is wrong")]
    PasswordWrong,
    #[error("only who has been given a token may enter")]
    TokenNeeded,
    #[error("too many rooms or participants come from there")]
    Quota,
    #[error("the room has a lobby, and this client cannot wait there")]
    CannotWait,
}

/// Decides about every visitor whom the room does not know yet.
pub struct Door(Box<Rule>);

type Rule = dyn Fn(&Visitor<'_>) -> Decision + Send + Sync;

impl Door {
    /// Every room is open to everybody.
    pub fn open() -> Self {
        Self::new(|_| Decision::Enter(Role::Guest))
    }

    /// A door with this rule. It is asked under the lock: it must be quick and do no IO.
    pub fn new(rule: impl Fn(&Visitor<'_>) -> Decision + Send + Sync + 'static) -> Self {
        Self(Box::new(rule))
    }

    pub fn decide(&self, visitor: &Visitor<'_>) -> Decision {
        (self.0)(visitor)
    }
}

/// The room that a name means; `None` for what cannot be a room, and for the files that lie beside the page.
pub fn room_key(typed: &str) -> Option<RoomKey> {
    RoomKey::normalise(typed).filter(|key| !assets::exists(key.as_str()))
}
