//! STUN for ICE (RFC 8489, RFC 8445), built and read by the published `stun` crate.

use std::net::SocketAddr;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter};
use stun::xoraddr::XorMappedAddress;

/// A connectivity check.
#[derive(Clone, Debug)]
pub struct Check {
    pub transaction: [u8; 12],
    /// The receiver's fragment first (RFC 8445, section 7.2.2).
    pub username: String,
    pub password: String,
    pub use_candidate: bool,
    /// ICE-CONTROLLING, as a browser towards a lite agent; otherwise ICE-CONTROLLED.
    pub controlling: bool,
}

impl Check {
    /// The request's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Message::new();
        message.typ = BINDING_REQUEST;
        message.transaction_id = TransactionId(self.transaction);
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(ATTR_PRIORITY, &0x6eff_ffff_u32.to_be_bytes());
        message.add(if self.controlling { ATTR_ICE_CONTROLLING } else { ATTR_ICE_CONTROLLED }, &[7; 8]);
        if self.use_candidate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let integrity = MessageIntegrity::new_short_term_integrity(self.password.clone());
        integrity.add_to(&mut message).expect("a message without integrity takes one");
        FINGERPRINT.add_to(&mut message).expect("a message without fingerprint takes one");
        message.raw
    }
}

/// A reply to a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Success { transaction: [u8; 12], mapped: SocketAddr },
    Error { transaction: [u8; 12], code: u16 },
}

/// Answers a check of the engine; `password` finds that of its USERNAME. `None`: it is no request.
pub fn answer_check(
    datagram: &[u8],
    password: impl FnOnce(&str) -> Option<String>,
    mapped: SocketAddr,
) -> Result<Option<Vec<u8>>, String> {
    let mut request = decode(datagram)?;
    if request.typ != BINDING_REQUEST {
        return Ok(None);
    }
    FINGERPRINT.check(&request).map_err(|error| format!("FINGERPRINT of a check: {error}"))?;
    let username = request.get(ATTR_USERNAME).map_err(|error| format!("USERNAME of a check: {error}"))?;
    let username = String::from_utf8_lossy(&username);
    let password = password(&username).ok_or_else(|| format!("a check for {username}"))?;
    let integrity = MessageIntegrity::new_short_term_integrity(password);
    integrity.check(&mut request).map_err(|error| format!("MESSAGE-INTEGRITY of a check: {error}"))?;
    if !request.contains(ATTR_PRIORITY)
        || request.contains(ATTR_USE_CANDIDATE)
        || !request.contains(ATTR_ICE_CONTROLLED)
    {
        return Err("a check of a lite agent that is not controlled".into());
    }
    let mut message = Message::new();
    message.typ = BINDING_SUCCESS;
    message.transaction_id = request.transaction_id;
    message.write_header();
    let mapped = XorMappedAddress { ip: mapped.ip(), port: mapped.port() };
    mapped.add_to(&mut message).expect("an address fits");
    integrity.add_to(&mut message).expect("a message without integrity takes one");
    FINGERPRINT.add_to(&mut message).expect("a message without fingerprint takes one");
    Ok(Some(message.raw))
}

/// Reads a reply and checks its MESSAGE-INTEGRITY with `password` and its FINGERPRINT.
pub fn decode_reply(datagram: &[u8], password: &str) -> Result<Reply, String> {
    let mut message = decode(datagram)?;
    FINGERPRINT.check(&message).map_err(|error| format!("FINGERPRINT of a STUN reply: {error}"))?;
    MessageIntegrity::new_short_term_integrity(password.to_owned())
        .check(&mut message)
        .map_err(|error| format!("MESSAGE-INTEGRITY of a STUN reply: {error}"))?;
    let transaction = message.transaction_id.0;
    if message.typ == BINDING_SUCCESS {
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).map_err(|error| format!("XOR-MAPPED-ADDRESS: {error}"))?;
        return Ok(Reply::Success { transaction, mapped: SocketAddr::new(mapped.ip, mapped.port) });
    }
    if message.typ == BINDING_ERROR {
        return Ok(Reply::Error { transaction, code: error_code(&message)? });
    }
    Err(format!("an unexpected STUN message {}", message.typ))
}

/// Transaction and error code of an error that need not be authenticated (RFC 8489, section 9.1.3).
pub fn decode_error(datagram: &[u8]) -> Result<([u8; 12], u16), String> {
    let message = decode(datagram)?;
    if message.typ != BINDING_ERROR {
        return Err(format!("not a STUN error but {}", message.typ));
    }
    Ok((message.transaction_id.0, error_code(&message)?))
}

fn decode(datagram: &[u8]) -> Result<Message, String> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).map_err(|error| format!("STUN: {error}"))?;
    Ok(message)
}

fn error_code(message: &Message) -> Result<u16, String> {
    let mut code = ErrorCodeAttribute::default();
    code.get_from(message).map_err(|error| format!("ERROR-CODE: {error}"))?;
    Ok(code.code.0)
}
