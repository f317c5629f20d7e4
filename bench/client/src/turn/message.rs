//! TURN messages: requests by the `stun` crate, and what every packet needs by hand (RFC 8656).

use super::user::User;
use std::net::SocketAddr;
use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY,
    ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS, AttrType,
};
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter,
};
use stun::xoraddr::XorMappedAddress;

/// UDP among the protocols of REQUESTED-TRANSPORT (RFC 8656 section 18.7).
const UDP: u8 = 17;
/// IPv6 among the families of REQUESTED-ADDRESS-FAMILY (RFC 8656 section 18.6).
const IPV6: u8 = 2;
/// The type of a Data indication: method 7, class 1.
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];
/// The first channel number (RFC 8656 section 12), and how many there are.
pub const FIRST_CHANNEL: u16 = 0x4000;
pub const CHANNELS: u16 = 0x1000;
const HEADER_BYTES: usize = 20;

/// One thing that a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// The family of the relayed address is that of the peers.
    Allocate {
        ipv6: bool,
    },
    /// 0 seconds end the allocation.
    Refresh {
        seconds: u32,
    },
    CreatePermission {
        peer: SocketAddr,
    },
    ChannelBind {
        channel: u16,
        peer: SocketAddr,
    },
}

/// What the server wants to see in requests (RFC 8489 section 9.2).
#[derive(Clone)]
pub struct Session {
    pub user: User,
    pub realm: String,
    nonce: Vec<u8>,
    integrity: MessageIntegrity,
}

impl Session {
    /// From a 401 response; `None` when it has no REALM or NONCE.
    pub fn challenged(user: &User, response: &Message) -> Option<Self> {
        let realm = String::from_utf8(response.get(ATTR_REALM).ok()?).ok()?;
        let nonce = response.get(ATTR_NONCE).ok()?;
        let integrity = MessageIntegrity::new_long_term_integrity(
            user.name().to_owned(),
            realm.clone(),
            user.password().to_owned(),
        );
        Some(Self { user: user.clone(), realm, nonce, integrity })
    }

    /// Takes the nonce of a 438 response.
    pub fn renew(&mut self, response: &Message) {
        if let Ok(nonce) = response.get(ATTR_NONCE) {
            self.nonce = nonce;
        }
    }

    /// Whether the server proved that it knows the password, too.
    pub fn is_authentic(&self, response: &Message) -> bool {
        self.integrity.check(&mut response.clone()).is_ok()
    }
}

impl Request {
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocate { .. } => "Allocate",
            Self::Refresh { .. } => "Refresh",
            Self::CreatePermission { .. } => "CreatePermission",
            Self::ChannelBind { .. } => "ChannelBind",
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Allocate { .. } => METHOD_ALLOCATE,
            Self::Refresh { .. } => METHOD_REFRESH,
            Self::CreatePermission { .. } => METHOD_CREATE_PERMISSION,
            Self::ChannelBind { .. } => METHOD_CHANNEL_BIND,
        }
    }

    /// The message, signed if there is a session.
    pub fn message(self, session: Option<&Session>) -> Result<Message, stun::Error> {
        let mut message = begin(MessageType::new(self.method(), CLASS_REQUEST))?;
        match self {
            Self::Allocate { ipv6 } => {
                message.add(ATTR_REQUESTED_TRANSPORT, &[UDP, 0, 0, 0]);
                if ipv6 {
                    message.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[IPV6, 0, 0, 0]);
                }
            }
            Self::Refresh { seconds } => message.add(ATTR_LIFETIME, &seconds.to_be_bytes()),
            Self::CreatePermission { peer } => add_address(&mut message, ATTR_XOR_PEER_ADDRESS, peer)?,
            Self::ChannelBind { channel, peer } => {
                let [high, low] = channel.to_be_bytes();
                message.add(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
                add_address(&mut message, ATTR_XOR_PEER_ADDRESS, peer)?;
            }
        }
        if let Some(session) = session {
            message.add(ATTR_USERNAME, session.user.name().as_bytes());
            message.add(ATTR_REALM, session.realm.as_bytes());
            message.add(ATTR_NONCE, &session.nonce);
            session.integrity.add_to(&mut message)?;
        }
        Ok(message)
    }
}

fn begin(kind: MessageType) -> Result<Message, stun::Error> {
    let mut message = Message::new();
    message.build(&[Box::new(kind), Box::new(TransactionId::new())])?;
    Ok(message)
}

fn add_address(message: &mut Message, kind: AttrType, address: SocketAddr) -> Result<(), stun::Error> {
    XorMappedAddress { ip: address.ip(), port: address.port() }.add_to_as(message, kind)
}

/// What a server answered.
pub enum Answer {
    Success,
    Error { code: u16, reason: String },
}

/// Reads a response; `None` for anything else.
pub fn parse_response(frame: &[u8]) -> Option<(Message, Answer)> {
    if frame.first()? & 0xc0 != 0 {
        return None;
    }
    let mut message = Message::new();
    message.raw = frame.to_vec();
    message.decode().ok()?;
    if message.typ.class == CLASS_SUCCESS_RESPONSE {
        return Some((message, Answer::Success));
    }
    if message.typ.class != CLASS_ERROR_RESPONSE {
        return None;
    }
    let mut error = ErrorCodeAttribute::default();
    error.get_from(&message).ok()?;
    let reason = String::from_utf8_lossy(&error.reason).into_owned();
    Some((message, Answer::Error { code: error.code.0, reason }))
}

/// The relayed address of a successful Allocate.
pub fn relayed_address(response: &Message) -> Option<SocketAddr> {
    let mut address = XorMappedAddress::default();
    address.get_from_as(response, ATTR_XOR_RELAYED_ADDRESS).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}

/// What stands before the payload of every packet of a flow in ChannelData.
pub fn channel_head(channel: u16, payload_len: usize) -> Vec<u8> {
    [channel.to_be_bytes(), (payload_len as u16).to_be_bytes()].concat()
}

/// What stands before the payload in a Send indication. The payload must be a multiple of four bytes long.
pub fn indication_head(peer: SocketAddr, payload_len: usize) -> Result<Vec<u8>, stun::Error> {
    let mut message = begin(MessageType::new(METHOD_SEND, CLASS_INDICATION))?;
    add_address(&mut message, ATTR_XOR_PEER_ADDRESS, peer)?;
    message.add(ATTR_DATA, &vec![0; payload_len]);
    message.raw.truncate(message.raw.len() - payload_len);
    Ok(message.raw)
}

/// What came from the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<'a> {
    Channel {
        channel: u16,
        payload: &'a [u8],
    },
    Data {
        payload: &'a [u8],
    },
    /// A response to a request.
    Response,
    Unreadable,
}

/// Tells what a frame is, without the `stun` crate: it is done for every packet.
pub fn classify(frame: &[u8]) -> Inbound<'_> {
    let Some(&[first, second, high, low]) = frame.first_chunk::<4>() else { return Inbound::Unreadable };
    let length = usize::from(u16::from_be_bytes([high, low]));
    match first >> 6 {
        1 => match frame.get(4..4 + length) {
            Some(payload) => Inbound::Channel { channel: u16::from_be_bytes([first, second]), payload },
            None => Inbound::Unreadable,
        },
        0 if [first, second] == DATA_INDICATION => {
            data_of(frame).map_or(Inbound::Unreadable, |payload| Inbound::Data { payload })
        }
        0 => Inbound::Response,
        _ => Inbound::Unreadable,
    }
}

/// The DATA attribute of an indication.
fn data_of(frame: &[u8]) -> Option<&[u8]> {
    let mut rest = frame.get(HEADER_BYTES..)?;
    loop {
        let [kind_high, kind_low, high, low] = *rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if u16::from_be_bytes([kind_high, kind_low]) == ATTR_DATA.value() {
            return rest.get(4..4 + length);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let mut frame = channel_head(0x4001, 3);
        frame.extend([7, 8, 9]);
        assert_eq!(classify(&frame), Inbound::Channel { channel: 0x4001, payload: &[7, 8, 9] });
        assert_eq!(classify(&frame[..6]), Inbound::Unreadable);
        assert_eq!(classify(&[]), Inbound::Unreadable);
        assert_eq!(classify(&[0x80, 0, 0, 0]), Inbound::Unreadable);
        let request = Request::Refresh { seconds: 1 }.message(None).unwrap();
        assert_eq!(classify(&request.raw), Inbound::Response);
    }

    #[test]
    fn indications_hold_peer_and_data() {
        for peer in ["192.0.2.1:77", "[2001:db8::1]:77"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let mut raw = indication_head(peer, 8).unwrap();
            raw.extend([1, 2, 3, 4, 5, 6, 7, 8]);
            let mut message = Message::new();
            message.raw = raw.clone();
            message.decode().unwrap();
            let mut address = XorMappedAddress::default();
            address.get_from_as(&message, ATTR_XOR_PEER_ADDRESS).unwrap();
            assert_eq!(SocketAddr::new(address.ip, address.port), peer);
            assert_eq!(message.get(ATTR_DATA).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
            // As the server would hand it on.
            raw[..2].copy_from_slice(&DATA_INDICATION);
            assert_eq!(classify(&raw), Inbound::Data { payload: &[1, 2, 3, 4, 5, 6, 7, 8] });
            assert_eq!(classify(&raw[..raw.len() - 1]), Inbound::Unreadable);
        }
    }
}
