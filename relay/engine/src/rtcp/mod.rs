//! RTCP (RFC 3550, RFC 4585, RFC 5104): views over compound packets, and a writer.

mod packet;
#[cfg(test)]
mod tests;
mod twcc;
mod writer;

pub use packet::{
    Bye, Fir, FirEntry, Nack, Packet, Packets, ReportBlock, ReportBlocks, RtcpError, SenderInfo, SenderReport,
    SourceDescription, packets,
};
pub use twcc::{ArrivalRecorder, PacketStatus, TransportFeedback};
pub use writer::RtcpWriter;

/// Packet types (RFC 3550, section 12.1; RFC 4585, section 6.1).
pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
pub(crate) const SOURCE_DESCRIPTION: u8 = 202;
pub(crate) const BYE: u8 = 203;
pub(crate) const TRANSPORT_LAYER_FEEDBACK: u8 = 205;
pub(crate) const PAYLOAD_FEEDBACK: u8 = 206;

/// Feedback message types (RFC 4585, sections 6.2.1 and 6.3.1; RFC 5104, section 4.3.1; transport-wide
/// congestion control, draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
pub(crate) const GENERIC_NACK: u8 = 1;
pub(crate) const TRANSPORT_WIDE: u8 = 15;
pub(crate) const PICTURE_LOSS: u8 = 1;
pub(crate) const FULL_INTRA_REQUEST: u8 = 4;
