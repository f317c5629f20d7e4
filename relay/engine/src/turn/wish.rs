//! What an Allocate or Refresh request asks for (RFC 8656, sections 7.2 and 8).

use super::ports::{Family, Parity};
use super::requests::Refusal;
use crate::stun::{AttributeType, Message};
use plausch_relay_api::limits::{TURN_LIFETIME_MAX_S, TURN_LIFETIME_S};

/// What relayed addresses an Allocate request wants.
pub(super) struct Wish {
    pub(super) family: Family,
    pub(super) additional: Option<Family>,
    pub(super) parity: Parity,
    pub(super) token: Option<[u8; 8]>,
}

impl Wish {
    pub(super) fn read(message: &Message<'_>) -> Result<Self, Refusal> {
        let requested = family_attribute(message, AttributeType::REQUESTED_ADDRESS_FAMILY, Refusal::AddressFamily)?;
        let additional = family_attribute(message, AttributeType::ADDITIONAL_ADDRESS_FAMILY, Refusal::AddressFamily)?;
        let parity = match message.attribute(AttributeType::EVEN_PORT) {
            Some([flags]) if flags & 0x80 != 0 => Parity::EvenPair,
            Some([_]) => Parity::Even,
            Some(_) => return Err(Refusal::BadRequest),
            None => Parity::Any,
        };
        let token = match message.attribute(AttributeType::RESERVATION_TOKEN) {
            Some(token) => Some(*token.as_array::<8>().ok_or(Refusal::BadRequest)?),
            None => None,
        };
        let contradiction = token.is_some() && (parity != Parity::Any || requested.is_some() || additional.is_some())
            || requested.is_some() && additional.is_some()
            || additional == Some(Family::V4)
            || additional.is_some() && parity == Parity::EvenPair;
        if contradiction {
            return Err(Refusal::BadRequest);
        }
        Ok(Self { family: requested.unwrap_or(Family::V4), additional, parity, token })
    }

    pub(super) fn families(&self) -> impl Iterator<Item = Family> + use<> {
        [Some(self.family), self.additional].into_iter().flatten()
    }
}

/// REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY; `unknown` is the refusal of a family that there is not.
pub(super) fn family_attribute(
    message: &Message<'_>,
    kind: AttributeType,
    unknown: Refusal,
) -> Result<Option<Family>, Refusal> {
    let Some(value) = message.attribute(kind) else { return Ok(None) };
    let &[number, _, _, _] = value else { return Err(Refusal::BadRequest) };
    Family::from_number(number).map(Some).ok_or(unknown)
}

/// RFC 8656, section 7.2: never shorter than the usual.
pub(super) fn lifetime(message: &Message<'_>) -> u32 {
    let asked = message.fixed(AttributeType::LIFETIME).map_or(TURN_LIFETIME_S, u32::from_be_bytes);
    asked.clamp(TURN_LIFETIME_S, TURN_LIFETIME_MAX_S)
}
