//! Relays, as control sees them: the link, what was asked on it, and TURN.

pub mod link;
pub mod relay;
pub mod turn;
