//! What clients ask of TURN: Allocate, Refresh, CreatePermission, ChannelBind; and who may ask at all.

use super::allocation::{Allocation, BindError, Relayed, Socket};
use super::credentials::{AuthError, Owner, User};
use super::policy::{Permit, Scope, Way, canonical};
use super::ports::{Family, Parity, Place, Ports};
use super::rate::cost;
use super::wish::{Wish, family_attribute, lifetime};
use super::{ANSWER_BYTES, Answer, Context, Inner, RESERVATION_LIFETIME, Reservation, Turn, local_of};
use crate::batch::Path;
use crate::counters::Counters;
use crate::effect::{EdgeTask, Effect};
use crate::slab::Key;
use crate::stun::{
    AttributeType, Class, FingerprintCheck, HEADER_LEN, Message, MessageWriter, Method, UnknownAttributes,
};
use crate::time::Time;
use crate::timers::Owner as TimerOwner;
use plausch_relay_api::limits::TURN_STRANGER_BYTES_LEAST;
use std::net::SocketAddr;
use std::time::Duration;

/// Attributes that we know in requests, besides those of STUN.
const REQUEST_ATTRIBUTES: [AttributeType; 12] = [
    AttributeType::CHANNEL_NUMBER,
    AttributeType::LIFETIME,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::DATA,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::EVEN_PORT,
    AttributeType::REQUESTED_TRANSPORT,
    // All that we send is not to be fragmented, so this asks for nothing.
    AttributeType::DONT_FRAGMENT,
    AttributeType::RESERVATION_TOKEN,
    AttributeType::CONNECTION_ID,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::USERHASH,
];
/// REQUESTED-TRANSPORT (RFC 8656, section 18.8): the protocol's number at IANA.
const UDP: u8 = 17;
/// RFC 6062, section 5.1.
const TCP: u8 = 6;
/// Header and REQUESTED-TRANSPORT: the shortest Allocate request.
const BARE_REQUEST_LEN: usize = HEADER_LEN + 8;
/// RFC 6062, section 5.1: they say nothing of TCP.
const UDP_ONLY: [AttributeType; 3] =
    [AttributeType::EVEN_PORT, AttributeType::RESERVATION_TOKEN, AttributeType::DONT_FRAGMENT];
/// RFC 8656, section 12, has them up to 0x4fff; RFC 5766, section 11, whose clients we serve as well, up to this.
const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;
const RESERVATIONS: usize = plausch_relay_api::limits::TURN_RESERVATIONS_PER_SHARD;

/// Why an authenticated request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    BadRequest,
    Forbidden,
    UnknownAttribute(UnknownAttributes),
    AllocationMismatch,
    AddressFamily,
    WrongCredentials,
    Transport,
    PeerFamily,
    ConnectionExists,
    ConnectionFailed,
    Quota,
    Capacity,
}

impl Refusal {
    /// RFC 8489, section 14.8, RFC 8656, section 19, and RFC 6062, section 6.3.
    pub(super) fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::UnknownAttribute(_) => 420,
            Self::AllocationMismatch => 437,
            Self::AddressFamily => 440,
            Self::WrongCredentials => 441,
            Self::Transport => 442,
            Self::PeerFamily => 443,
            Self::ConnectionExists => 446,
            Self::ConnectionFailed => 447,
            Self::Quota => 486,
            Self::Capacity => 508,
        }
    }

    pub(super) fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Self::BadRequest => &mut counters.turn_refused_bad_request,
            Self::Forbidden => &mut counters.turn_refused_forbidden,
            Self::UnknownAttribute(_) => &mut counters.turn_refused_unknown_attribute,
            Self::AllocationMismatch => &mut counters.turn_refused_mismatch,
            Self::AddressFamily => &mut counters.turn_refused_family,
            Self::WrongCredentials => &mut counters.turn_refused_wrong_user,
            Self::Transport => &mut counters.turn_refused_transport,
            Self::PeerFamily => &mut counters.turn_refused_peer_family,
            Self::ConnectionExists => &mut counters.turn_refused_connection_exists,
            Self::ConnectionFailed => &mut counters.turn_refused_connection_failed,
            Self::Quota => &mut counters.turn_refused_quota,
            Self::Capacity => &mut counters.turn_refused_capacity,
        }
    }
}

/// What a granted request is answered with.
pub(super) enum Granted {
    Allocated {
        relayed: [Option<SocketAddr>; 2],
        /// One of two families could not be had, and why.
        missing: Option<(Family, Refusal)>,
        lifetime_s: u32,
        token: Option<[u8; 8]>,
    },
    Refreshed {
        lifetime_s: u32,
    },
    Done,
    /// Nothing yet.
    Later,
}

impl Granted {
    fn write(&self, writer: &mut MessageWriter<'_>, client: Path) {
        match self {
            Self::Allocated { relayed, missing, lifetime_s, token } => {
                for &relayed in relayed.iter().flatten() {
                    writer.xor_address(AttributeType::XOR_RELAYED_ADDRESS, relayed);
                }
                if let Some((family, refusal)) = missing {
                    let code = refusal.code();
                    let value = [family.number(), 0, (code / 100) as u8, (code % 100) as u8];
                    writer.attribute(AttributeType::ADDRESS_ERROR_CODE, &value);
                }
                writer.attribute(AttributeType::LIFETIME, &lifetime_s.to_be_bytes()).xor_mapped_address(client.remote);
                if let Some(token) = token {
                    writer.attribute(AttributeType::RESERVATION_TOKEN, token);
                }
            }
            Self::Refreshed { lifetime_s } => {
                writer.attribute(AttributeType::LIFETIME, &lifetime_s.to_be_bytes());
            }
            Self::Done | Self::Later => {}
        }
    }
}

impl Turn {
    /// A STUN message that is no ICE check. A packet in it may be for this shard.
    pub(crate) fn receive_message(&mut self, path: Path, message: &Message<'_>, cx: &mut Context<'_>) -> Option<Inner> {
        if message.check_fingerprint() == FingerprintCheck::Wrong {
            cx.counters.drop_stun_fingerprint += 1;
            return None;
        }
        // Allocations within allocations would send one packet through all shards, again and again.
        if !path.local.is_edge() && self.policy.is_relayed(path.remote, |from| self.ports.is_open(from)) {
            cx.counters.drop_turn_within_turn += 1;
            return None;
        }
        match (message.class, message.method) {
            (Class::Indication, Method::SEND) => return self.receive_send(path, message, cx),
            (Class::Request, Method::BINDING) => self.answer_binding(path, message, cx),
            (Class::Request, Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND) => {
                self.answer_request(path, message, cx)
            }
            (Class::Request, Method::CONNECT | Method::CONNECTION_BIND) if self.tcp.is_some() => {
                self.answer_request(path, message, cx)
            }
            _ => cx.counters.drop_stun_malformed += 1,
        }
        None
    }

    fn answer_request(&mut self, path: Path, message: &Message<'_>, cx: &mut Context<'_>) {
        let key = self.find(path);
        let concerned = key.or_else(|| self.allocation_to_bind(message));
        let owner = concerned.and_then(|key| self.allocations.get(key)).map(|allocation| allocation.owner);
        let unix_seconds = self.unix_seconds(cx.now);
        let may_search = self.guessers.would_admit(path, cx.now);
        let user = match self.credentials.authenticate(message, path, owner.as_ref(), unix_seconds, may_search) {
            Ok(user) => {
                // Its challenge was no waste. This request has more bytes than that, so nobody gains by many of them.
                self.strangers.give_back(path, cost(self.credentials.challenge_len(), BARE_REQUEST_LEN));
                user
            }
            Err(error) => return self.answer_stranger(path, message, error, cx),
        };
        let sent = match self.carry_out(path, message, key, &user, cx) {
            Ok(Granted::Later) => true,
            Ok(granted) => {
                cx.counters.turn_requests += 1;
                let answer = Answer::to(message, path, Some(&user.integrity));
                answer.send(cx.tx, ANSWER_BYTES, Class::Success, |writer| granted.write(writer, path))
            }
            Err(refusal) => {
                *refusal.counter(cx.counters) += 1;
                let answer = Answer::to(message, path, Some(&user.integrity));
                answer.send(cx.tx, ANSWER_BYTES, Class::Error, |writer| {
                    writer.error_code(refusal.code(), "");
                    if let Refusal::UnknownAttribute(unknown) = refusal {
                        writer.unknown_attributes(unknown.as_slice());
                    }
                })
            }
        };
        cx.counters.drop_tx_full += u64::from(!sent);
    }

    /// Somebody who has not proved anything: the answer is short, and there are not many.
    ///
    /// A bare Allocate request has 28 bytes, and what RFC 8489, section 9.2.4, wants of a challenge (ERROR-CODE, REALM,
    /// NONCE with its cookie, PASSWORD-ALGORITHMS) has 80 with a realm of up to 8 characters. So who forges an address has
    /// 2.9 times the bytes sent there, with the headers of IPv4 and UDP 1.9 times, and on Ethernet 1.7 times; a request of
    /// 80 bytes or more has no gain at all. What there may be of it is in `limits::TURN_STRANGER_BYTES_PER_SECOND`.
    fn answer_stranger(&mut self, path: Path, message: &Message<'_>, error: AuthError, cx: &mut Context<'_>) {
        let Context { now, counters, tx, .. } = cx;
        let now = *now;
        // Who has a TCP connection is where it says, and may ask; to guess is another thing.
        let limited = !path.local.is_edge();
        let (code, counter) = match error {
            AuthError::TooMany => {
                counters.drop_turn_stranger_limit += 1;
                return;
            }
            AuthError::Unauthenticated => (401, &mut counters.turn_challenges),
            AuthError::WrongCredentials => (401, &mut counters.turn_refused_unauthenticated),
            AuthError::BadRequest => (400, &mut counters.turn_refused_bad_request),
            AuthError::StaleNonce => (438, &mut counters.turn_refused_stale_nonce),
        };
        *counter += 1;
        let guessed = error == AuthError::WrongCredentials;
        if guessed && !self.guessers.admit(path, now)
            || !guessed && limited && !self.strangers.would_admit(path, TURN_STRANGER_BYTES_LEAST, now)
        {
            counters.drop_turn_stranger_limit += 1;
            return;
        }
        let unix_seconds = self.unix_seconds(now);
        let written = Answer::to(message, path, None).write(tx, ANSWER_BYTES, Class::Error, |writer| {
            writer.error_code(code, "");
            if error != AuthError::BadRequest {
                self.credentials.challenge(writer, path, unix_seconds);
            }
        });
        let Some(len) = written else {
            counters.drop_tx_full += 1;
            return;
        };
        if !guessed && limited && !self.strangers.admit(path, cost(len, message.len()), now) {
            counters.drop_turn_stranger_limit += 1;
            return;
        }
        tx.commit_to_stranger(len);
    }

    fn carry_out(
        &mut self,
        path: Path,
        message: &Message<'_>,
        key: Option<Key<Allocation>>,
        user: &User,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        let unknown = message.unknown_required(&REQUEST_ATTRIBUTES);
        if !unknown.is_empty() {
            return Err(Refusal::UnknownAttribute(unknown));
        }
        if message.method == Method::ALLOCATE {
            return match key {
                None => self.allocate(path, message, user, cx),
                Some(key) => self.allocate_again(key, message, user),
            };
        }
        if message.method == Method::CONNECTION_BIND {
            return self.bind_connection(path, message, key, user, cx);
        }
        let key = key.ok_or(Refusal::AllocationMismatch)?;
        let owner = self.allocations.get(key).map(|allocation| allocation.owner.id);
        if owner != Some(user.id) {
            return Err(Refusal::WrongCredentials);
        }
        match message.method {
            Method::REFRESH => self.refresh(key, message, cx),
            Method::CREATE_PERMISSION => self.create_permission(key, message, cx),
            Method::CONNECT => self.connect_peer(key, message, user, cx),
            _ => self.channel_bind(key, message, cx),
        }
    }

    /// There is one already. The answer to its request may have been lost (RFC 8656, section 7.2 has no memory for
    /// answers; the transaction's id and what it was granted are enough to say the same again).
    fn allocate_again(&self, key: Key<Allocation>, message: &Message<'_>, user: &User) -> Result<Granted, Refusal> {
        let allocation = self.allocations.get(key).ok_or(Refusal::AllocationMismatch)?;
        if allocation.transaction != message.transaction_id || allocation.owner.id != user.id {
            return Err(Refusal::AllocationMismatch);
        }
        Ok(self.granted(allocation, None))
    }

    /// RFC 8656, section 7.2.
    fn allocate(
        &mut self,
        path: Path,
        message: &Message<'_>,
        user: &User,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        let tcp = match message.fixed::<4>(AttributeType::REQUESTED_TRANSPORT) {
            Some([UDP, ..]) => false,
            Some([TCP, ..]) if self.tcp.is_some() => true,
            Some(_) => return Err(Refusal::Transport),
            None => return Err(Refusal::BadRequest),
        };
        if tcp && (!path.local.is_edge() || UDP_ONLY.iter().any(|&kind| message.attribute(kind).is_some())) {
            return Err(Refusal::BadRequest);
        }
        if tcp && user.scope == Scope::Media {
            // There is nobody whom it could reach.
            return Err(Refusal::Forbidden);
        }
        let wish = Wish::read(message)?;
        let reservation = match wish.token {
            Some(token) => Some(self.reservation(token).ok_or(Refusal::Capacity)?),
            None => None,
        };
        let supported = wish.families().any(|family| self.ports.has(family));
        if reservation.is_none() && !supported {
            return Err(Refusal::AddressFamily);
        }
        if self.users.get(&user.id).is_some_and(|&count| count as usize >= self.limits.allocations_per_user) {
            return Err(Refusal::Quota);
        }
        if !self.quotas.admits(user.scope, path.remote.ip()) {
            cx.counters.turn_refused_network += 1;
            return Err(Refusal::Quota);
        }
        if self.draining && user.scope == Scope::Peers
            || self.allocations.len() >= self.limits.allocations
            || wish.parity == Parity::EvenPair && self.reservations.len() >= RESERVATIONS
        {
            return Err(Refusal::Capacity);
        }

        let mut places: [Option<Place>; 2] = [None; 2];
        let mut missing = None;
        if let Some((key, place)) = reservation {
            self.reservations.remove(key);
            cx.timers.set(TimerOwner::reservation(key), Time::NEVER);
            cx.counters.turn_reservations -= 1;
            places = [Some(place), None];
        } else {
            for (slot, family) in places.iter_mut().zip(wish.families()) {
                *slot = self.ports.take(family, wish.parity, cx.random);
                if slot.is_none() {
                    let refusal = if self.ports.has(family) { Refusal::Capacity } else { Refusal::AddressFamily };
                    missing = Some((family, refusal));
                }
            }
        }
        if places.iter().all(Option::is_none) {
            return Err(Refusal::Capacity);
        }

        let lifetime_s = lifetime(message);
        let expires = cx.now + Duration::from_secs(u64::from(lifetime_s));
        let owner = Owner { id: user.id, scope: user.scope, key: user.key };
        let mut allocation =
            Allocation::new(path, owner, message.transaction_id, lifetime_s, self.limits.unused, cx.now);
        allocation.tcp = tcp;
        for place in places.into_iter().flatten() {
            let relayed = Relayed { place, socket: Socket::Closed, expires };
            *allocation.relayed_mut(self.ports.family(place)) = Some(relayed);
        }
        let key = self.allocations.insert(allocation);
        places.into_iter().flatten().for_each(|place| self.ports.give(place, key));
        self.clients.insert(path, key);
        *self.users.entry(user.id).or_default() += 1;
        self.quotas.take(user.scope, path.remote.ip());
        let allocation = self.allocations.get(key).ok_or(Refusal::Capacity)?;
        cx.timers.set(TimerOwner::allocation(key), allocation.deadline());
        cx.counters.turn_allocations += 1;
        if let (Parity::EvenPair, Some(place)) = (wish.parity, places.into_iter().flatten().next()) {
            let token = self.reservation_token();
            let reservation = self.reservations.insert(Reservation { token, place: Ports::next(place) });
            cx.timers.set(TimerOwner::reservation(reservation), cx.now + RESERVATION_LIFETIME);
            cx.counters.turn_reservations += 1;
        }
        let allocation = self.allocations.get(key).ok_or(Refusal::Capacity)?;
        Ok(self.granted(allocation, missing))
    }

    /// RFC 8656, section 8.2.
    fn refresh(
        &mut self,
        key: Key<Allocation>,
        message: &Message<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        let named = family_attribute(message, AttributeType::REQUESTED_ADDRESS_FAMILY, Refusal::PeerFamily)?;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        if named.is_some_and(|family| allocation.relayed(family).is_none()) {
            return Err(Refusal::PeerFamily);
        }
        let concerned = |family| named.is_none_or(|named| named == family);
        if message.fixed(AttributeType::LIFETIME) == Some([0; 4]) {
            for family in [Family::V4, Family::V6].into_iter().filter(|&family| concerned(family)) {
                self.remove_family(key, family, cx);
            }
            return Ok(Granted::Refreshed { lifetime_s: 0 });
        }
        let lifetime_s = lifetime(message);
        let expires = cx.now + Duration::from_secs(u64::from(lifetime_s));
        for family in [Family::V4, Family::V6].into_iter().filter(|&family| concerned(family)) {
            if let Some(relayed) = allocation.relayed_mut(family) {
                relayed.expires = expires;
            }
        }
        cx.timers.set(TimerOwner::allocation(key), allocation.deadline());
        Ok(Granted::Refreshed { lifetime_s })
    }

    /// RFC 8656, section 10.2: all of the request or nothing.
    fn create_permission(
        &mut self,
        key: Key<Allocation>,
        message: &Message<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        let now = cx.now;
        let limits = self.limits;
        let tariff = self.new_peers;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        let peers = || message.xor_addresses(AttributeType::XOR_PEER_ADDRESS);
        let (mut count, mut new) = (0, 0);
        for peer in peers() {
            let peer = canonical(peer.ok_or(Refusal::BadRequest)?);
            allocation.relayed(Family::of(&peer)).ok_or(Refusal::PeerFamily)?;
            allocation.permissible(&self.policy, peer.ip()).ok_or(Refusal::Forbidden)?;
            // Candidates of one host differ in their ports only.
            let named = peers().take(count).flatten().any(|earlier| canonical(earlier).ip() == peer.ip());
            count += 1;
            new += usize::from(!named && allocation.permit(peer.ip(), now).is_none());
        }
        if count == 0 {
            return Err(Refusal::BadRequest);
        }
        if allocation.permissions(now) + new > limits.permissions_per_allocation
            || !allocation.new_peers.admit(tariff, new as u64, now)
        {
            return Err(Refusal::Capacity);
        }
        // Sockets first: a permission without one would be none.
        for peer in peers().flatten().map(canonical) {
            self.open_port_for(key, peer, cx)?;
        }
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        for peer in peers().flatten().map(canonical) {
            if let Some(permit) = allocation.permissible(&self.policy, peer.ip()) {
                allocation.set_permission(peer.ip(), permit, now);
            }
        }
        Ok(Granted::Done)
    }

    /// RFC 8656, section 12.2.
    fn channel_bind(
        &mut self,
        key: Key<Allocation>,
        message: &Message<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        let now = cx.now;
        let limits = self.limits;
        let tariff = self.new_peers;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        if allocation.tcp {
            return Err(Refusal::Forbidden);
        }
        let [n0, n1, _, _] = message.fixed(AttributeType::CHANNEL_NUMBER).ok_or(Refusal::BadRequest)?;
        let number = u16::from_be_bytes([n0, n1]);
        let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().flatten();
        let peer = canonical(peer.ok_or(Refusal::BadRequest)?);
        if !CHANNEL_NUMBERS.contains(&number) {
            return Err(Refusal::BadRequest);
        }
        let can_bind = allocation.can_bind(number, peer, limits.channels_per_allocation, now);
        if can_bind == Err(BindError::Taken) {
            return Err(Refusal::BadRequest);
        }
        allocation.relayed(Family::of(&peer)).ok_or(Refusal::PeerFamily)?;
        let scope = allocation.owner.scope;
        let permit = self.policy.permit(scope, peer.ip()).ok_or(Refusal::Forbidden)?;
        let way = self.policy.way(scope, peer).ok_or(Refusal::Forbidden)?;
        let new = usize::from(allocation.permit(peer.ip(), now).is_none());
        if can_bind.is_err()
            || allocation.permissions(now) + new > limits.permissions_per_allocation
            || !allocation.new_peers.admit(tariff, new as u64, now)
        {
            return Err(Refusal::Capacity);
        }
        self.open_port_for(key, peer, cx)?;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        allocation.set_permission(peer.ip(), permit, now);
        allocation.bind(number, peer, way, now);
        Ok(Granted::Done)
    }

    /// A socket, if this peer cannot be reached without.
    fn open_port_for(&mut self, key: Key<Allocation>, peer: SocketAddr, cx: &mut Context<'_>) -> Result<(), Refusal> {
        let allocation = self.allocations.get(key).ok_or(Refusal::Capacity)?;
        if allocation.tcp {
            return self.open_port(key, Family::of(&peer), cx);
        }
        let scope = allocation.owner.scope;
        let way = self.policy.way(scope, peer);
        let outside = match self.policy.permit(scope, peer.ip()) {
            Some(Permit::All) => matches!(way, Some(Way::Port) | None),
            // The port is a hint: a permission is for all media of ours at that address.
            Some(Permit::Own) => way == Some(Way::Port),
            None => false,
        };
        if outside { self.open_port(key, Family::of(&peer), cx) } else { Ok(()) }
    }

    /// Has the relayed address become a socket, unless it is one.
    pub(super) fn open_port(
        &mut self,
        key: Key<Allocation>,
        family: Family,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::Capacity)?;
        let relayed = allocation.relayed_mut(family).as_mut().ok_or(Refusal::PeerFamily)?;
        if matches!(relayed.socket, Socket::Open(_)) {
            return Ok(());
        }
        let (number, address) = self.ports.open(relayed.place, key).ok_or(Refusal::Capacity)?;
        relayed.socket = Socket::Open(number);
        cx.counters.turn_ports += 1;
        cx.effects.push_back(if allocation.tcp {
            Effect::Edge { client: allocation.client, task: EdgeTask::Listen { address } }
        } else {
            Effect::OpenPort { local: local_of(number), address }
        });
        Ok(())
    }
}

impl Turn {
    fn reservation(&self, token: [u8; 8]) -> Option<(Key<Reservation>, Place)> {
        (0..self.reservations.places()).find_map(|index| {
            let key = self.reservations.key_at(index)?;
            let reservation = self.reservations.get(key).filter(|reservation| reservation.token == token)?;
            Some((key, reservation.place))
        })
    }

    /// What an allocation was granted.
    fn granted(&self, allocation: &Allocation, missing: Option<(Family, Refusal)>) -> Granted {
        let relayed =
            [Family::V4, Family::V6].map(|family| Some(self.ports.announced(allocation.relayed(family)?.place)));
        let next = allocation.relayed.iter().flatten().map(|relayed| Ports::next(relayed.place)).next();
        let mut reservations = self.reservations.values();
        let token = reservations.find(|reservation| Some(reservation.place) == next).map(|found| found.token);
        Granted::Allocated { relayed, missing, lifetime_s: allocation.granted_s, token }
    }
}
