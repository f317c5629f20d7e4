//! Relays, as control sees them: which there are, where rooms may be, the links, what was asked on them, and TURN.

pub mod link;
pub mod memory;
pub mod placement;
pub mod relay;
pub mod set;
pub mod turn;
