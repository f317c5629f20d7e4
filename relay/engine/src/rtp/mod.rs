//! RTP (RFC 3550): the header as a view, header extensions (RFC 8285), padding.

mod extension;
mod header;

pub use extension::{AudioLevel, Extension, ExtensionIter, KnownExtensions};
pub use header::{FIXED_HEADER_LEN, HeaderFields, RtpError, RtpHeader, add_padding, write_header};

#[cfg(test)]
mod tests;
