//! The load on a server: who joins, who sends what, and where.

pub(crate) mod crowd;
pub(crate) mod load;
pub(crate) mod permission;
pub(crate) mod stop;
pub(crate) mod target;
