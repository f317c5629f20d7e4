//! Frames on the link: four bytes of big-endian length, then JSON. JSON because the two processes may be of
//! different versions while one of them is being replaced, and unknown fields must then be harmless; it is
//! signalling, a few messages a second, so its size does not matter.

use crate::command::Command;
use crate::ids::CommandId;
use crate::limits::LINK_FRAME_BYTES;
use bytes::{Buf, BufMut, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Raised when a frame changes in a way that the other side cannot ignore.
pub const PROTOCOL_VERSION: u32 = 2;

/// Control → relay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandFrame {
    pub id: CommandId,
    pub command: Command,
}

/// A frame that cannot be read; the link is closed and dialled again.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is larger than the limit of {LINK_FRAME_BYTES}")]
    TooLarge(usize),
    #[error("a frame that is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// Appends one frame to `out`.
pub fn encode<T: Serialize>(message: &T, out: &mut BytesMut) -> Result<(), FrameError> {
    let json = serde_json::to_vec(message)?;
    if json.len() > LINK_FRAME_BYTES {
        return Err(FrameError::TooLarge(json.len()));
    }
    out.put_u32(json.len() as u32);
    out.put_slice(&json);
    Ok(())
}

/// Takes one frame from the front of `input`, or `None` until it is complete.
pub fn decode<T: DeserializeOwned>(input: &mut BytesMut) -> Result<Option<T>, FrameError> {
    let Some(header) = input.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*header) as usize;
    if len > LINK_FRAME_BYTES {
        return Err(FrameError::TooLarge(len));
    }
    if input.len() < 4 + len {
        return Ok(None);
    }
    input.advance(4);
    let frame = input.split_to(len);
    Ok(Some(serde_json::from_slice(&frame)?))
}
