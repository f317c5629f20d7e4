//! Names that people type: of rooms, as links have them, and of themselves.

mod characters;
mod link;
mod person;
mod room;

pub use link::{Link, RoomLink, decode, encode};
pub use person::{distinct_name, is_numbered, person_name};
pub use room::{RoomKey, RoomNameError, room_title};

plausch_relay_api::private! {
    /// A person's name as others see it.
    PersonName(String as str);
    /// A room's name as it was first typed.
    RoomTitle(String as str);
}
