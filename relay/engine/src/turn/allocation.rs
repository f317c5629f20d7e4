//! One allocation (RFC 8656, section 5): what a client may send to whom, and until when.

use super::credentials::Owner;
use super::policy::{Permit, Policy, Way};
use super::ports::{Family, Place};
use super::rate::Rate;
use crate::batch::Path;
use crate::stun::TransactionId;
use crate::time::Time;
use plausch_relay_api::limits::{TURN_CHANNEL_LIFETIME_MS, TURN_PERMISSION_LIFETIME_MS};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const PERMISSION_LIFETIME: Duration = Duration::from_millis(TURN_PERMISSION_LIFETIME_MS);
const CHANNEL_LIFETIME: Duration = Duration::from_millis(TURN_CHANNEL_LIFETIME_MS);

/// Its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Socket {
    /// No peer outside has needed one.
    Closed,
    /// By number: see [`crate::LocalSocket`].
    Open(u16),
    /// It could not be opened, perhaps because another program has the port. Only a request tries again.
    Failed,
}

/// A relayed address of an allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relayed {
    pub place: Place,
    pub socket: Socket,
    pub expires: Time,
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    ip: IpAddr,
    permit: Permit,
    expires: Time,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub number: u16,
    pub peer: SocketAddr,
    pub way: Way,
    expires: Time,
}

/// Why a channel cannot be bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BindError {
    /// The number or the peer is bound otherwise.
    Taken,
    /// There are too many.
    Full,
}

/// See the module. Small: there may be a hundred thousand that do nothing.
pub(crate) struct Allocation {
    pub(super) client: Path,
    pub(super) owner: Owner,
    /// Of the Allocate request and what it was granted, for when the answer was lost.
    pub(super) transaction: TransactionId,
    pub(super) granted_s: u32,
    /// RFC 6062: peers connect by TCP, and no datagrams go to or fro.
    pub(super) tcp: bool,
    /// How many connections of peers there are.
    pub(super) connections: u16,
    /// IPv4 and IPv6.
    pub(super) relayed: [Option<Relayed>; 2],
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
    pub(super) bytes: Rate,
    pub(super) new_peers: Rate,
    /// How long it may be without a permission, and until when it needs none.
    unused: Duration,
    unused_at: Time,
}

impl Allocation {
    pub(super) fn new(
        client: Path,
        owner: Owner,
        transaction: TransactionId,
        granted_s: u32,
        unused: Duration,
        now: Time,
    ) -> Self {
        Self {
            client,
            owner,
            transaction,
            granted_s,
            tcp: false,
            connections: 0,
            relayed: [None; 2],
            permissions: Vec::new(),
            channels: Vec::new(),
            bytes: Rate::default(),
            new_peers: Rate::default(),
            unused,
            unused_at: now + unused,
        }
    }

    pub(super) fn relayed(&self, family: Family) -> Option<&Relayed> {
        self.relayed.get(place_of(family))?.as_ref()
    }

    pub(super) fn relayed_mut(&mut self, family: Family) -> &mut Option<Relayed> {
        let [v4, v6] = &mut self.relayed;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// The earliest end of a relayed address.
    pub(super) fn expires(&self) -> Time {
        self.relayed.iter().flatten().map(|relayed| relayed.expires).min().unwrap_or(Time::NEVER)
    }

    /// When it is over for want of a permission: who asks for a relayed address and lets nobody send to it only takes it
    /// from others. TCP allocations may be without (RFC 6062, section 4.3).
    pub(super) fn unused_at(&self) -> Time {
        if self.tcp { Time::NEVER } else { self.unused_at }
    }

    /// When it ends, or a part of it.
    pub(super) fn deadline(&self) -> Time {
        self.expires().min(self.unused_at())
    }

    /// What a permission for an address would be for, if the policy has one. Our media is not to be reached by TCP.
    pub(super) fn permissible(&self, policy: &Policy, ip: IpAddr) -> Option<Permit> {
        policy.permit(self.owner.scope, ip).filter(|&permit| !self.tcp || permit == Permit::All)
    }

    /// What the permission for an address is for, if there is one.
    pub(super) fn permit(&self, ip: IpAddr, now: Time) -> Option<Permit> {
        let permission = self.permissions.iter().find(|permission| permission.ip == ip)?;
        (permission.expires > now).then_some(permission.permit)
    }

    /// How many permissions are in force.
    pub(super) fn permissions(&self, now: Time) -> usize {
        self.permissions.iter().filter(|permission| permission.expires > now).count()
    }

    /// Creates or renews a permission; the caller has looked at the limit.
    pub(super) fn set_permission(&mut self, ip: IpAddr, permit: Permit, now: Time) {
        let new = Permission { ip, permit, expires: now + PERMISSION_LIFETIME };
        self.unused_at = new.expires + self.unused;
        let dead = |permission: &Permission| permission.expires <= now;
        match self.permissions.iter_mut().find(|permission| permission.ip == ip) {
            Some(permission) => *permission = new,
            // In the place of one that is over, so that the list stays short.
            None => match self.permissions.iter_mut().find(|permission| dead(permission)) {
                Some(permission) => *permission = new,
                None => self.permissions.push(new),
            },
        }
    }

    /// The channel with this number, by which a client names a peer.
    pub(super) fn channel(&self, number: u16, now: Time) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.number == number).filter(|channel| channel.expires > now)
    }

    /// The channel of a peer.
    pub(super) fn channel_of(&self, peer: SocketAddr, now: Time) -> Option<u16> {
        let channel = self.channels.iter().find(|channel| channel.peer == peer && channel.expires > now)?;
        Some(channel.number)
    }

    /// Whether [`Self::bind`] would succeed.
    pub(super) fn can_bind(&self, number: u16, peer: SocketAddr, limit: usize, now: Time) -> Result<(), BindError> {
        let living = || self.channels.iter().filter(|channel| channel.expires > now);
        if living().any(|channel| (channel.number == number) != (channel.peer == peer)) {
            return Err(BindError::Taken);
        }
        let known = living().any(|channel| channel.number == number);
        if known || living().count() < limit { Ok(()) } else { Err(BindError::Full) }
    }

    /// Binds or renews a channel; the caller has asked [`Self::can_bind`].
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, way: Way, now: Time) {
        self.channels.retain(|channel| channel.expires > now && channel.number != number);
        self.channels.push(Channel { number, peer, way, expires: now + CHANNEL_LIFETIME });
    }

    /// Takes back one of two relayed addresses with its permissions and channels (RFC 8656, section 8.1).
    pub(super) fn drop_family(&mut self, family: Family) -> Option<Relayed> {
        self.permissions.retain(|permission| permission.ip.is_ipv4() != (family == Family::V4));
        self.channels.retain(|channel| Family::of(&channel.peer) != family);
        self.relayed_mut(family).take()
    }
}

fn place_of(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}
