//! Per-stream state of a receiver: rollover counter and replay windows (RFC 3711, sections 3.3.1 and 3.3.2).

/// One received SSRC: rollover counter and replay window.
#[derive(Clone, Debug, Default)]
pub struct ReceiveStream {
    highest: Option<u64>,
}

impl ReceiveStream {
    /// A stream of which nothing was received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest packet index that was authenticated.
    pub fn highest_index(&self) -> Option<u64> {
        self.highest
    }
}

/// The replay window of one sender's SRTCP indexes.
#[derive(Clone, Debug, Default)]
pub struct RtcpReplay {}

impl RtcpReplay {
    /// Nothing was received yet.
    pub fn new() -> Self {
        Self::default()
    }
}
