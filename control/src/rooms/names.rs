//! Names that people type: of rooms, as links have them, and of themselves.

mod characters;
mod link;
mod person;
mod room;

pub use link::{Link, RoomLink, decode, encode};
pub use person::{distinct_name, is_numbered, person_name};
pub use room::{RoomKey, RoomNameError, room_title};
