//! STUN (RFC 8489) and what ICE (RFC 8445), TURN (RFC 8656) and NAT discovery (RFC 5780) add to it: a view over borrowed
//! bytes and a writer.

mod attribute;
mod integrity;
mod message;
#[cfg(test)]
mod tests;
mod writer;

pub use attribute::{Attribute, AttributeIter, AttributeType, IceRole};
pub use integrity::{FingerprintCheck, IntegrityCheck, IntegrityKey, IntegrityKind};
pub use message::{Class, Message, Method, StunError, TransactionId, UnknownAttributes};
pub use writer::MessageWriter;

/// RFC 8489, section 5.
pub const MAGIC_COOKIE: u32 = 0x2112_a442;
/// Bytes of the header (RFC 8489, section 5).
pub const HEADER_LEN: usize = 20;
