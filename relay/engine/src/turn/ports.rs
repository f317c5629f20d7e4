//! Relayed addresses: numbers until a peer outside needs one, then sockets.

use super::allocation::Allocation;
use super::config::{RelayAddress, TurnConfig};
use crate::batch::LocalSocket;
use crate::random::Random;
use crate::slab::Key;
use plausch_relay_api::limits::LOCAL_ADDRESSES;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// RFC 8489, section 14.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: &SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }
}

/// A relayed address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// In the list of addresses.
    address: u8,
    pub port: u16,
}

/// What EVEN-PORT asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parity {
    Any,
    Even,
    /// And the next port shall be reserved.
    EvenPair,
}

/// Whose a relayed address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    Free,
    Reserved,
    Allocation(Key<Allocation>),
}

/// See the module.
pub(super) struct Ports {
    addresses: Vec<RelayAddress>,
    first: u16,
    /// Ports of each address.
    count: usize,
    /// Address by address.
    holders: Vec<Holder>,
    /// By address.
    free: Vec<usize>,
    /// By the place of a [`LocalSocket`]: grows up to `max_open`.
    open: Vec<Option<Key<Allocation>>>,
    /// Places that are free again, the one that is longest first.
    closed: VecDeque<u16>,
    max_open: usize,
}

impl Ports {
    pub(super) fn new(config: &TurnConfig) -> Self {
        let mut addresses: Vec<RelayAddress> = Vec::new();
        for relay in config.relay.iter().take(LOCAL_ADDRESSES) {
            // Two that clients are told alike would be one and the same to all who send there.
            if !addresses.iter().any(|known| known.announced == relay.announced) {
                addresses.push(*relay);
            }
        }
        let (first, last) = (*config.relay_ports.start(), *config.relay_ports.end());
        let count = usize::from(last).saturating_sub(usize::from(first)) + usize::from(first <= last);
        Self {
            first,
            count,
            holders: vec![Holder::Free; count * addresses.len()],
            free: vec![count; addresses.len()],
            open: Vec::new(),
            closed: VecDeque::new(),
            max_open: config.limits.open_ports.min(LocalSocket::RELAY_PORTS),
            addresses,
        }
    }

    pub(super) fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|address| family_of(address) == family)
    }

    /// A free one, chosen at random (RFC 8656, section 7.2, and RFC 6056): a port that was just given back is seldom
    /// the next. With [`Parity::EvenPair`] the port after it is reserved.
    pub(super) fn take(&mut self, family: Family, parity: Parity, random: &mut Random) -> Option<Place> {
        let start = random.next_u32() as usize;
        for (address, relay) in (0..).zip(&self.addresses) {
            let candidates = usize::from(address) * self.count..usize::from(address + 1) * self.count;
            let (Some(holders), Some(free)) =
                (self.holders.get_mut(candidates), self.free.get_mut(usize::from(address)))
            else {
                continue;
            };
            if family_of(relay) != family || *free == 0 {
                continue;
            }
            let found = (0..self.count).map(|step| (start.wrapping_add(step)) % self.count).find(|&at| {
                let is_free = |at: usize| holders.get(at) == Some(&Holder::Free);
                let even = (usize::from(self.first) + at).is_multiple_of(2);
                is_free(at)
                    && match parity {
                        Parity::Any => true,
                        Parity::Even => even,
                        Parity::EvenPair => even && is_free(at + 1),
                    }
            });
            let Some(at) = found else { continue };
            let taken = if parity == Parity::EvenPair { 2 } else { 1 };
            holders.iter_mut().skip(at).take(taken).for_each(|holder| *holder = Holder::Reserved);
            *free -= taken;
            return Some(Place { address, port: self.first + at as u16 });
        }
        None
    }

    /// Gives a taken one to its allocation.
    pub(super) fn give(&mut self, place: Place, allocation: Key<Allocation>) {
        if let Some(holder) = self.holder_mut(place) {
            *holder = Holder::Allocation(allocation);
        }
    }

    /// Takes it back.
    pub(super) fn release(&mut self, place: Place) {
        if let Some(holder) = self.holder_mut(place)
            && std::mem::replace(holder, Holder::Free) != Holder::Free
            && let Some(free) = self.free.get_mut(usize::from(place.address))
        {
            *free += 1;
        }
    }

    /// The one after it.
    pub(super) fn next(place: Place) -> Place {
        Place { port: place.port.wrapping_add(1), ..place }
    }

    fn holder_mut(&mut self, place: Place) -> Option<&mut Holder> {
        let at = usize::from(place.port).checked_sub(usize::from(self.first)).filter(|&at| at < self.count)?;
        self.holders.get_mut(usize::from(place.address) * self.count + at)
    }

    /// Whose relayed address, as clients know it, this is.
    pub(super) fn holder_of(&self, relayed: SocketAddr) -> Option<Key<Allocation>> {
        let at = usize::from(relayed.port()).checked_sub(usize::from(self.first)).filter(|&at| at < self.count)?;
        let mut places = self.addresses.iter().zip(0..).filter(|(address, _)| address.announced == relayed.ip());
        places.find_map(|(_, address): (_, usize)| match self.holders.get(address * self.count + at) {
            Some(Holder::Allocation(key)) => Some(*key),
            _ => None,
        })
    }

    /// Whether this is the socket of an allocation.
    pub(super) fn is_open(&self, local: SocketAddr) -> bool {
        self.addresses.iter().zip(0..).any(|(address, place): (_, u8)| {
            let ours = address.local == local.ip() || address.announced == local.ip();
            ours && matches!(self.holder(Place { address: place, port: local.port() }), Some(Holder::Allocation(_)))
        })
    }

    fn holder(&self, place: Place) -> Option<Holder> {
        let at = usize::from(place.port).checked_sub(usize::from(self.first)).filter(|&at| at < self.count)?;
        self.holders.get(usize::from(place.address) * self.count + at).copied()
    }

    /// As clients know it.
    pub(super) fn announced(&self, place: Place) -> SocketAddr {
        let ip = self.addresses.get(usize::from(place.address)).map(|address| address.announced);
        SocketAddr::new(ip.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()), place.port)
    }

    /// Where its socket is.
    pub(super) fn local(&self, place: Place) -> Option<SocketAddr> {
        let address = self.addresses.get(usize::from(place.address))?;
        Some(SocketAddr::new(address.local, place.port))
    }

    pub(super) fn family(&self, place: Place) -> Family {
        self.addresses.get(usize::from(place.address)).map_or(Family::V4, family_of)
    }

    /// A number for its socket, and where that is to be opened. `None`: there are too many.
    pub(super) fn open(&mut self, place: Place, allocation: Key<Allocation>) -> Option<(u16, SocketAddr)> {
        let local = self.local(place)?;
        let number = match self.closed.pop_front() {
            Some(number) => number,
            None if self.open.len() < self.max_open => {
                self.open.push(None);
                (self.open.len() - 1) as u16
            }
            None => return None,
        };
        *self.open.get_mut(usize::from(number))? = Some(allocation);
        Some((number, local))
    }

    pub(super) fn close(&mut self, number: u16) {
        if self.open.get_mut(usize::from(number)).is_some_and(|place| place.take().is_some()) {
            self.closed.push_back(number);
        }
    }

    /// Whose socket this is.
    pub(super) fn owner(&self, number: u16) -> Option<Key<Allocation>> {
        self.open.get(usize::from(number)).copied().flatten()
    }
}

fn family_of(address: &RelayAddress) -> Family {
    if address.announced.is_ipv4() { Family::V4 } else { Family::V6 }
}
