//! Frames on the link: four bytes of big-endian length, then JSON. JSON because the two processes may be of
//! different versions while one of them is being replaced, and what only one of them knows must then be harmless:
//! unknown fields are skipped, and a frame of an unknown kind is [`Unreadable`], after which the link goes on. It is
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

/// Why a frame cannot be written, or where the next one begins cannot be told; the link is closed and dialled again.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is larger than the limit of {LINK_FRAME_BYTES}")]
    TooLarge(usize),
    #[error("a frame that cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// A whole frame that says something this release does not know. The frames around it are not touched by that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of the kind {} is not known here", .kind.as_deref().unwrap_or("(none)"))]
pub struct Unreadable {
    /// The number of the command, or of the one that this answers, where the frame has one.
    pub id: Option<CommandId>,
    /// The name of the command or event.
    pub kind: Option<String>,
}

impl Unreadable {
    /// What can be said of any frame: both of commands and of events.
    fn read(frame: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Outline {
            #[serde(default)]
            id: Option<CommandId>,
            #[serde(rename = "type", default)]
            kind: Option<String>,
            #[serde(default)]
            command: Option<Kind>,
        }
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: String,
        }
        let outline: Outline = serde_json::from_slice(frame).unwrap_or_default();
        let kind = outline.command.map(|command| command.kind).or(outline.kind);
        Self { id: outline.id, kind: kind.map(|kind| kind.chars().take(KIND_CHARS).collect()) }
    }
}

/// Characters of an unknown kind's name that are kept for the log.
const KIND_CHARS: usize = 40;

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

/// Takes one frame from the front of `input`, or `None` until it is complete. One that is not understood is taken, too.
pub fn decode<T: DeserializeOwned>(input: &mut BytesMut) -> Result<Option<Result<T, Unreadable>>, FrameError> {
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
    Ok(Some(serde_json::from_slice(&frame).map_err(|_| Unreadable::read(&frame))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DisconnectReason, Event};
    use crate::ids::ParticipantId;

    fn frame(json: &str) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u32(json.len() as u32);
        out.put_slice(json.as_bytes());
        out
    }

    fn unreadable(id: Option<u64>, kind: Option<&str>) -> Unreadable {
        Unreadable { id: id.map(CommandId), kind: kind.map(String::from) }
    }

    #[test]
    fn what_a_later_release_says_is_one_unreadable_frame_between_two_others() {
        for (text, outline) in [
            (r#"{"id":7,"command":{"type":"sing","song":{"type":"loud"}}}"#, unreadable(Some(7), Some("sing"))),
            (r#"{"id":8,"command":{"type":"remove-participant"}}"#, unreadable(Some(8), Some("remove-participant"))),
            (r#"{"id":"nine","command":{"type":"sing"}}"#, unreadable(None, None)),
            ("[]", unreadable(None, None)),
            ("{", unreadable(None, None)),
            ("", unreadable(None, None)),
        ] {
            let known = CommandFrame {
                id: CommandId(1),
                command: Command::RemoveParticipant { participant: ParticipantId(2) },
            };
            let mut input = BytesMut::new();
            encode(&known, &mut input).unwrap();
            input.extend_from_slice(&frame(text));
            encode(&known, &mut input).unwrap();
            assert_eq!(decode(&mut input).unwrap(), Some(Ok(known.clone())));
            assert_eq!(decode::<CommandFrame>(&mut input).unwrap(), Some(Err(outline)), "{text}");
            assert_eq!(decode(&mut input).unwrap(), Some(Ok(known)));
            assert_eq!(decode::<CommandFrame>(&mut input).unwrap(), None);
        }
        let long = "x".repeat(1000);
        let event = decode::<Event>(&mut frame(&format!(r#"{{"type":"{long}"}}"#))).unwrap().unwrap().unwrap_err();
        assert_eq!(event.kind.unwrap().len(), KIND_CHARS);
    }

    #[test]
    fn an_answer_with_an_unknown_error_names_its_command() {
        let text = r#"{"type":"done","id":5,"result":{"Err":"too-blue"}}"#;
        let event = decode::<Event>(&mut frame(text)).unwrap().unwrap();
        assert_eq!(event, Err(unreadable(Some(5), Some("done"))));
    }

    #[test]
    fn unknown_fields_and_reasons_are_no_trouble() {
        let text = r#"{"type":"disconnected","participant":5,"generation":1,"reason":"moon-rise","more":[1]}"#;
        let (participant, reason) = (ParticipantId(5), DisconnectReason::Other);
        let event = decode::<Event>(&mut frame(text)).unwrap().unwrap();
        assert_eq!(event, Ok(Event::Disconnected { participant, generation: 1, reason }));
    }
}
