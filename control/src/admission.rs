//! Who may come in: the door, rate limits by address, and tokens by which somebody is known again.

pub mod door;
pub mod rates;
pub mod tokens;
