//! STUN (RFC 8489) and what ICE adds to it (RFC 8445): a view over borrowed bytes and a writer.
//!
//! TURN will add its methods and attributes here.

mod attribute;
mod integrity;
mod message;
#[cfg(test)]
mod tests;
mod writer;

pub use attribute::{Attribute, AttributeIter, AttributeType, IceRole};
pub use integrity::{FingerprintCheck, IntegrityCheck, IntegrityKey};
pub use message::{Class, Message, Method, StunError, TransactionId, UnknownAttributes};
pub use writer::MessageWriter;

/// RFC 8489, section 5.
pub const MAGIC_COOKIE: u32 = 0x2112_a442;
/// Bytes of the header (RFC 8489, section 5).
pub const HEADER_LEN: usize = 20;
