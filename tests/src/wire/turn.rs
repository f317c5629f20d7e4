//! TURN's messages (RFC 8656), built and read by the published `stun` crate.

use std::net::SocketAddr;
use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME,
    ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS, AttrType,
};
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_SEND, Message, MessageType, Method, Setter,
};
use stun::xoraddr::XorMappedAddress;

/// A user with what the server's challenge said.
#[derive(Clone, Debug)]
pub struct Login {
    pub name: String,
    pub realm: String,
    pub password: String,
    pub nonce: Vec<u8>,
}

impl Login {
    fn integrity(&self) -> MessageIntegrity {
        MessageIntegrity::new_long_term_integrity(self.name.clone(), self.realm.clone(), self.password.clone())
    }
}

fn begin(method: Method, class: stun::message::MessageClass, transaction: [u8; 12]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, class);
    message.transaction_id = TransactionId(transaction);
    message.write_header();
    message
}

/// A request with these attributes; without `login` as the first one is.
pub fn request(
    method: Method,
    transaction: [u8; 12],
    login: Option<&Login>,
    fill: impl FnOnce(&mut Message),
) -> Vec<u8> {
    let mut message = begin(method, CLASS_REQUEST, transaction);
    fill(&mut message);
    if let Some(login) = login {
        message.add(ATTR_USERNAME, login.name.as_bytes());
        message.add(ATTR_REALM, login.realm.as_bytes());
        message.add(ATTR_NONCE, &login.nonce);
        login.integrity().add_to(&mut message).expect("a message without integrity takes one");
    }
    message.raw
}

/// Adds XOR-PEER-ADDRESS.
pub fn add_peer(message: &mut Message, peer: SocketAddr) {
    let address = XorMappedAddress { ip: peer.ip(), port: peer.port() };
    address.add_to_as(message, ATTR_XOR_PEER_ADDRESS).expect("an address can be written");
}

/// Allocate, for UDP.
pub fn allocate(transaction: [u8; 12], login: Option<&Login>) -> Vec<u8> {
    request(METHOD_ALLOCATE, transaction, login, |message| message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]))
}

/// CreatePermission for one peer.
pub fn create_permission(transaction: [u8; 12], login: &Login, peer: SocketAddr) -> Vec<u8> {
    request(METHOD_CREATE_PERMISSION, transaction, Some(login), |message| add_peer(message, peer))
}

/// ChannelBind.
pub fn channel_bind(transaction: [u8; 12], login: &Login, number: u16, peer: SocketAddr) -> Vec<u8> {
    request(METHOD_CHANNEL_BIND, transaction, Some(login), |message| {
        let [n0, n1] = number.to_be_bytes();
        message.add(ATTR_CHANNEL_NUMBER, &[n0, n1, 0, 0]);
        add_peer(message, peer);
    })
}

/// A Send indication.
pub fn send(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut message = begin(METHOD_SEND, CLASS_INDICATION, *b"an indicatio");
    add_peer(&mut message, peer);
    message.add(ATTR_DATA, data);
    message.raw
}

/// ChannelData, without padding.
pub fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Relayed address, if it is of an Allocate request.
    Success(Option<SocketAddr>),
    /// Code, and NONCE and REALM if they are there.
    Error(u16, Option<(Vec<u8>, String)>),
    /// Data of a peer.
    Data(SocketAddr, Vec<u8>),
}

/// Reads what a server says; where there is an integrity it must be that of `login`.
pub fn read(datagram: &[u8], login: Option<&Login>) -> Result<Said, String> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).map_err(|error| format!("STUN: {error}"))?;
    if message.contains(stun::attributes::ATTR_MESSAGE_INTEGRITY) {
        let login = login.ok_or("an integrity for nobody")?;
        login.integrity().check(&mut message).map_err(|error| format!("MESSAGE-INTEGRITY: {error}"))?;
    }
    let address = |message: &Message, kind: AttrType| {
        let mut address = XorMappedAddress::default();
        address.get_from_as(message, kind).ok().map(|()| SocketAddr::new(address.ip, address.port))
    };
    match (message.typ.class, message.typ.method) {
        (CLASS_SUCCESS_RESPONSE, _) => Ok(Said::Success(address(&message, ATTR_XOR_RELAYED_ADDRESS))),
        (CLASS_ERROR_RESPONSE, _) => {
            let mut code = ErrorCodeAttribute::default();
            code.get_from(&message).map_err(|error| format!("ERROR-CODE: {error}"))?;
            let realm = message.get(ATTR_REALM).ok().and_then(|realm| String::from_utf8(realm).ok());
            Ok(Said::Error(code.code.0, message.get(ATTR_NONCE).ok().zip(realm)))
        }
        (CLASS_INDICATION, METHOD_DATA) => {
            let peer = address(&message, ATTR_XOR_PEER_ADDRESS).ok_or("a Data indication without peer")?;
            Ok(Said::Data(peer, message.get(ATTR_DATA).map_err(|error| format!("DATA: {error}"))?))
        }
        _ => Err(format!("an unexpected message {}", message.typ)),
    }
}
