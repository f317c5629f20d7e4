//! Binding requests of whoever asks (RFC 8489), and what they may ask to learn of their NAT (RFC 5780).

use super::rate::cost;
use super::{ANSWER_BYTES, Answer, Context, DiscoverySocket, Turn};
use crate::batch::Path;
use crate::stun::{AttributeType, Class, HEADER_LEN, Message};
use plausch_relay_api::limits::{DATAGRAM_BYTES, TURN_STRANGER_BYTES_LEAST};
use std::net::SocketAddr;

/// Attributes of RFC 5780 that must be understood.
const DISCOVERY_ATTRIBUTES: [AttributeType; 3] =
    [AttributeType::CHANGE_REQUEST, AttributeType::PADDING, AttributeType::RESPONSE_PORT];
/// RFC 5780, section 7.2.
const CHANGE_IP: u32 = 0x04;
const CHANGE_PORT: u32 = 0x02;

impl Turn {
    /// Tells a client its address. There are no credentials for this, so it is limited by where the answer goes.
    pub(super) fn answer_binding(&mut self, path: Path, message: &Message<'_>, cx: &mut Context<'_>) {
        let Context { now, counters, tx, .. } = cx;
        let now = *now;
        // Who has a TCP connection is where it says.
        let limited = !path.local.is_edge();
        if limited && !self.strangers.would_admit(path, TURN_STRANGER_BYTES_LEAST, now) {
            counters.drop_turn_stranger_limit += 1;
            return;
        }
        // There is nothing of RFC 5780 in TCP.
        let sockets = self.discovery.filter(|_| !path.local.is_edge());
        let known = if sockets.is_some() { DISCOVERY_ATTRIBUTES.as_slice() } else { &[] };
        let mut answer = Answer::to(message, path, None);
        let unknown = message.unknown_required(known);
        let refused = if unknown.is_empty() { None } else { Some(420) };
        let plan = match (refused, sockets) {
            (Some(code), _) => Err(code),
            (None, Some(sockets)) => Plan::new(message, path, &sockets),
            (None, None) => Ok(None),
        };
        let written = match plan {
            Err(code) => {
                counters.stun_bindings_refused += 1;
                answer.write(tx, ANSWER_BYTES, Class::Error, |writer| {
                    writer.error_code(code, "");
                    if !unknown.is_empty() {
                        writer.unknown_attributes(unknown.as_slice());
                    }
                })
            }
            Ok(plan) => {
                let mapped = path.remote;
                if let Some(plan) = &plan {
                    answer.path = plan.path;
                }
                let padding = plan.as_ref().map_or(0, |plan| plan.padding);
                answer.write(tx, ANSWER_BYTES + padding, Class::Success, |writer| {
                    writer.xor_mapped_address(mapped);
                    if let Some(plan) = plan {
                        plan.write(writer, mapped);
                    }
                })
            }
        };
        let Some(len) = written else {
            counters.drop_tx_full += 1;
            return;
        };
        if limited && !self.strangers.admit(path, cost(len, message.len()), now) {
            counters.drop_turn_stranger_limit += 1;
            return;
        }
        counters.stun_bindings += 1;
        tx.commit_to_stranger(len);
    }
}

/// What an answer is by RFC 5780.
struct Plan {
    path: Path,
    origin: SocketAddr,
    other: SocketAddr,
    padding: usize,
}

impl Plan {
    /// `Err`: the code of an error. `Ok(None)`: the request came to a socket that has no others.
    fn new(message: &Message<'_>, path: Path, sockets: &[DiscoverySocket; 4]) -> Result<Option<Self>, u16> {
        let Some(place) = sockets.iter().position(|socket| socket.local == path.local) else { return Ok(None) };
        let flags = match message.attribute(AttributeType::CHANGE_REQUEST) {
            Some(value) => u32::from_be_bytes(*value.as_array().ok_or(400_u16)?),
            None => 0,
        };
        let port = match message.attribute(AttributeType::RESPONSE_PORT) {
            // The two bytes of padding are within the length for some clients.
            Some(&[p0, p1] | &[p0, p1, _, _]) => Some(u16::from_be_bytes([p0, p1])),
            Some(_) => return Err(400),
            None => None,
        };
        let padding = message.attribute(AttributeType::PADDING).map_or(0, <[u8]>::len);
        // RFC 5780, section 6.1: both together would have us send much to a place of somebody's choice.
        if port.is_some() && padding > 0 {
            return Err(400);
        }
        let mut from = place;
        if flags & CHANGE_IP != 0 {
            from ^= 2;
        }
        if flags & CHANGE_PORT != 0 {
            from ^= 1;
        }
        let (Some(sender), Some(other)) = (sockets.get(from), sockets.get(place ^ 3)) else { return Ok(None) };
        let remote = SocketAddr::new(path.remote.ip(), port.unwrap_or(path.remote.port()));
        Ok(Some(Self {
            path: Path { local: sender.local, remote },
            origin: sender.address,
            other: other.address,
            // As much as the request had and no more: the RFC would have it as long as the interface's MTU.
            padding: padding.min(DATAGRAM_BYTES - HEADER_LEN),
        }))
    }

    fn write(&self, writer: &mut crate::stun::MessageWriter<'_>, mapped: SocketAddr) {
        writer
            .address(AttributeType::MAPPED_ADDRESS, mapped)
            .address(AttributeType::RESPONSE_ORIGIN, self.origin)
            .address(AttributeType::OTHER_ADDRESS, self.other);
        if self.padding > 0 {
            writer.attribute(AttributeType::PADDING, [0; DATAGRAM_BYTES].get(..self.padding).unwrap_or(&[]));
        }
    }
}
