//! TURN (RFC 8656) and STUN as a service (RFC 8489): for clients that reach us only through a relay, and for those who
//! ask for their address.

mod config;

pub use config::{DiscoverySocket, MediaAddress, Prefix, RelayAddress, StaticUser, TurnConfig, TurnLimits};
