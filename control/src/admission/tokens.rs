//! Resume tokens: who holds one is that participant in that room, over restarts of both processes.

use crate::rooms::names::RoomKey;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plausch_relay_api::ParticipantId;

/// The key under which tokens are signed; it lives in the state directory.
pub struct ResumeSecret(hmac::Key);

/// Separates this use of the key from others to come.
const CONTEXT: &[u8] = b"plausch-resume-v1";
/// Of the addresses of WHIP and WHEP sessions: who knows one may end it, and not come back as somebody.
const RESOURCE_CONTEXT: &[u8] = b"plausch-resource-v1";
const ID_BYTES: usize = 8;

impl ResumeSecret {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of a participant in a room.
    pub fn token(&self, room: &RoomKey, participant: ParticipantId) -> String {
        self.sign(CONTEXT, room, participant)
    }

    /// The participant that a token names, if it is ours and of this room.
    pub fn verify(&self, room: &RoomKey, token: &str) -> Option<ParticipantId> {
        self.check(CONTEXT, room, token)
    }

    /// The last part of the address of a WHIP or WHEP session.
    pub fn resource(&self, room: &RoomKey, participant: ParticipantId) -> String {
        self.sign(RESOURCE_CONTEXT, room, participant)
    }

    /// The participant whose session that address is.
    pub fn verify_resource(&self, room: &RoomKey, token: &str) -> Option<ParticipantId> {
        self.check(RESOURCE_CONTEXT, room, token)
    }

    fn sign(&self, context: &[u8], room: &RoomKey, participant: ParticipantId) -> String {
        let mut token = participant.0.to_be_bytes().to_vec();
        token.extend_from_slice(hmac::sign(&self.0, &message(context, room, participant)).as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    fn check(&self, context: &[u8], room: &RoomKey, token: &str) -> Option<ParticipantId> {
        // 40 bytes are 54 characters; nothing longer is decoded.
        let token = URL_SAFE_NO_PAD.decode(token.get(..54).filter(|all| all.len() == token.len())?).ok()?;
        let (id, tag) = token.split_first_chunk::<ID_BYTES>()?;
        let participant = ParticipantId(u64::from_be_bytes(*id));
        hmac::verify(&self.0, &message(context, room, participant), tag).ok().map(|()| participant)
    }
}

/// The room's key is of variable length and the id of a fixed one, and no context begins another, so no two of them
/// give the same bytes.
fn message(context: &[u8], room: &RoomKey, participant: ParticipantId) -> Vec<u8> {
    [context, room.as_str().as_bytes(), &participant.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_participant_in_one_room_under_one_secret() {
        let secret = ResumeSecret::new(&[7; 32]);
        let room = RoomKey::normalise("Probe").unwrap();
        let token = secret.token(&room, ParticipantId(42));
        assert_eq!(secret.verify(&room, &token), Some(ParticipantId(42)));
        assert_eq!(secret.verify(&RoomKey::normalise("Probe 2").unwrap(), &token), None);
        assert_eq!(secret.verify_resource(&room, &token), None, "another use");
        assert_eq!(secret.verify_resource(&room, &secret.resource(&room, ParticipantId(42))), Some(ParticipantId(42)));
        assert_eq!(ResumeSecret::new(&[8; 32]).verify(&room, &token), None);
        for n in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[n] = if forged[n] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last character has two bits that no byte needs; a strict decoder refuses them.
            assert_eq!(secret.verify(&room, &forged), None, "{n}");
        }
        for bad in ["", "x", "ä", &"A".repeat(54), &"A".repeat(1 << 20), &format!("{token}A")] {
            assert_eq!(secret.verify(&room, bad), None);
        }
    }
}
