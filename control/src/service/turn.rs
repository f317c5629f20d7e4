//! TURN: what clients and the relay are told of it.

use super::{Service, State};
use crate::admission::door::room_key;
use crate::admission::rates::Prefix;
use crate::http::caller::Host;
use crate::relays::placement::Location;
use crate::relays::relay::Relay;
use crate::relays::turn::{Edge, TurnKey, UnixSeconds};
use crate::rooms::events::Outbox;
use plausch_relay_api::limits::TURN_CREDENTIAL_S;
use plausch_relay_api::{Command, EdgeSocket, TlsCertificate};
use plausch_signalling::IceServers;
use std::sync::PoisonError;

impl Service {
    /// The certificate for TLS at the relay's edge, from now on.
    pub fn set_certificate(&self, certificate: TlsCertificate) {
        self.change_turn(|edge| edge.set_certificate(certificate));
    }

    /// Where the edge hands HTTP over.
    pub fn set_edge_socket(&self, socket: EdgeSocket) {
        self.change_turn(|edge| edge.set_socket(socket));
    }

    /// The TCP ports on which control listens: the relay keeps TURN's clients away from them.
    pub fn set_ports(&self, ports: Vec<u16>) {
        self.change_turn(|edge| edge.set_ports(ports));
    }

    fn change_turn(&self, change: impl FnOnce(&mut Edge)) {
        self.change(|state, out| {
            change(&mut state.edge);
            state.tell_turn(&self.turn_key, out);
        });
    }

    /// TURN servers and fresh credentials for a client that asked by `host` and is, or will be, in `room`. None of them
    /// for an address that asks too often: calls work without, too, in most networks.
    pub async fn ice_servers(&self, prefix: Option<Prefix>, room: &str, host: Option<&Host>) -> IceServers {
        // A page is often there before the relay is, after a start of both.
        let room = room_key(room);
        if !self.may_have_credentials(prefix) || self.wait_for_relay(room.as_ref()).await.is_err() {
            return no_servers();
        }
        let state = self.state();
        let location = state.location_of(room.as_ref(), self.now());
        location.and_then(|location| self.ice_servers_at(&state, &location, host)).unwrap_or_else(no_servers)
    }

    fn may_have_credentials(&self, prefix: Option<Prefix>) -> bool {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).take(prefix, self.now())
    }

    /// `None` while the relay is not linked, or for a client that asked by no name.
    pub(crate) fn ice_servers_at(&self, state: &State, location: &Location, host: Option<&Host>) -> Option<IceServers> {
        let host = self.config.turn_host.as_ref().or(host)?;
        let hello = &state.relays.get(&location.relay)?.hello;
        Some(self.turn_key.ice_servers(hello, location.shard, host, UnixSeconds::now()))
    }
}

impl State {
    /// Tells each relay what is new of TURN, if something is: after a link, a change or a day.
    pub(super) fn tell_turn(&mut self, key: &TurnKey, out: &mut Outbox) {
        let now = UnixSeconds::now();
        let version = self.edge.version(now);
        let stale = |relay: &&mut Relay| relay.hello.turn.is_some() && relay.turn != Some(version);
        for relay in self.relays.linked_mut().filter(stale) {
            relay.turn = Some(version);
            let settings = Box::new(self.edge.settings(key, now, relay.local));
            out.commands.push((relay.id.clone(), Command::SetTurn(settings)));
        }
    }
}

fn no_servers() -> IceServers {
    IceServers { lifetime_seconds: TURN_CREDENTIAL_S as u32, ..IceServers::default() }
}
