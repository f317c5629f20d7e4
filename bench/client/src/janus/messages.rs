//! What Janus says, as far as we listen (<https://janus.conf.meetecho.com/docs/rest.html> and `videoroom.html`).

use serde::{Deserialize, Serialize};

/// Any message of Janus.
#[derive(Deserialize, Debug)]
pub(super) struct Message {
    /// `success`, `ack`, `event`, `error`, `timeout`, `webrtcup` and so on.
    pub(super) janus: String,
    pub(super) transaction: Option<String>,
    pub(super) data: Option<Id>,
    error: Option<CoreError>,
    pub(super) plugindata: Option<PluginData>,
    pub(super) jsep: Option<Jsep>,
}

#[derive(Deserialize, Debug)]
pub(super) struct Id {
    pub(super) id: u64,
}

#[derive(Deserialize, Debug)]
struct CoreError {
    code: u32,
    reason: String,
}

#[derive(Deserialize, Debug)]
pub(super) struct PluginData {
    pub(super) data: RoomData,
}

/// What the video room says.
#[derive(Deserialize, Debug)]
pub(super) struct RoomData {
    /// Our id, after a join as publisher.
    pub(super) id: Option<u64>,
    error_code: Option<u32>,
    error: Option<String>,
    #[serde(default)]
    pub(super) participants: Vec<ParticipantData>,
    #[serde(default)]
    pub(super) streams: Vec<StreamData>,
}

/// One of `listparticipants`.
#[derive(Deserialize, Debug)]
pub(super) struct ParticipantData {
    pub(super) id: u64,
    /// Whether it sends already.
    pub(super) publisher: bool,
}

/// One m-line of a subscription.
#[derive(Deserialize, Debug)]
pub(super) struct StreamData {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) mid: String,
    pub(super) feed_id: Option<u64>,
}

/// A session description.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Jsep {
    #[serde(rename = "type")]
    kind: String,
    pub(super) sdp: String,
}

impl Jsep {
    pub(super) fn offer(sdp: String) -> Self {
        Self { kind: "offer".to_owned(), sdp }
    }

    pub(super) fn answer(sdp: String) -> Self {
        Self { kind: "answer".to_owned(), sdp }
    }
}

/// Why a request failed.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) reason: String,
}

impl Message {
    /// The core and its plugins say no in two ways.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if let Some(error) = &self.error {
            return Some(Refusal { code: error.code, reason: error.reason.clone() });
        }
        let data = &self.plugindata.as_ref()?.data;
        Some(Refusal { code: data.error_code?, reason: data.error.clone().unwrap_or_default() })
    }
}
