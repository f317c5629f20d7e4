//! What the engine asks of the world, and what it is told besides packets.

use crate::batch::{LocalSocket, Path};
use crate::srtp::Profile;
use crate::turn::ConnectionId;
use plausch_relay_api::{Command, DisconnectReason, Fingerprint, ParticipantId, RoomId, SpeakerLevel};
use std::net::{IpAddr, SocketAddr};

/// Told to [`crate::Engine::handle_command`].
#[derive(Debug)]
pub enum EngineCommand {
    /// Of control.
    Control(Command),
    /// Of a handshake thread.
    Dtls { participant: ParticipantId, generation: u32, input: DtlsInput },
    /// Of the edge: this connection is closed, and with it ends what TURN had for it. Unknown ones are no error.
    EdgeClosed { path: Path },
    /// The port of an [`Effect::OpenPort`] could not be opened; no [`Effect::ClosePort`] follows.
    PortFailed { local: LocalSocket },
    /// What the time is, in Unix seconds: once a minute, for clocks are set. TURN's users and nonces expire by it.
    UnixTime { seconds: u64 },
    /// All addresses of this host, when they have changed: TURN does not relay to them.
    HostAddresses(Vec<IpAddr>),
    /// No allocations for users of other programs any more: see [`crate::turn`]. What there is goes on.
    Drain,
    /// What became of TCP connections of TURN clients' peers.
    Edge(EdgeNews),
}

/// What the edge says of connections of peers (RFC 6062). What it says of allocations and connections that are gone is no
/// error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EdgeNews {
    /// [`EdgeTask::Listen`] failed.
    ListenFailed { client: Path, address: SocketAddr },
    /// A peer has connected to this relayed address, as the local socket has it; answered by [`EdgeTask::Judge`].
    Accepted { client: Path, address: SocketAddr, socket: u32, peer: SocketAddr },
    /// [`EdgeTask::Connect`] succeeded: the connection waits for a client to bind it.
    Connected { connection: ConnectionId },
    /// It failed, or the connection could not be kept until somebody binds it.
    Failed { connection: ConnectionId },
}

/// What the edge is to do for a client with a TCP allocation (RFC 6062).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EdgeTask {
    /// Take connections of peers at this address. Where that fails: [`EdgeNews::ListenFailed`].
    Listen { address: SocketAddr },
    /// Take them no longer.
    Unlisten { address: SocketAddr },
    /// Connect to a peer from a relayed address: [`EdgeNews::Connected`] or [`EdgeNews::Failed`]. There is no need to
    /// give up by time.
    Connect { connection: ConnectionId, from: SocketAddr, to: SocketAddr },
    /// What to do with the connection of an [`EdgeNews::Accepted`]: keep it for a client to bind, by this number; or close it.
    Judge { socket: u32, connection: Option<ConnectionId> },
    /// Close the connection, whatever state it is in, and the client's that is bound to it. Unknown ones are no error.
    Close { connection: ConnectionId },
}

/// What a handshake thread says of one session.
#[derive(Debug)]
pub enum DtlsInput {
    /// Datagrams to send to the browser, on the selected path, in order.
    Send(Vec<Vec<u8>>),
    /// The handshake is finished and the browser's certificate was the announced one.
    Keys(SessionKeys),
    /// The handshake failed.
    Failed,
    /// The browser said close_notify.
    Closed,
}

/// Keys as exported from DTLS (RFC 5764, section 4.2): the client's protect what the browser sends.
#[derive(Clone)]
pub struct SessionKeys {
    pub profile: Profile,
    /// What the other side seals with, and what we seal with; `profile.key_len()` bytes each.
    pub remote_key: Vec<u8>,
    pub local_key: Vec<u8>,
    /// `profile.salt_len()` bytes each.
    pub remote_salt: Vec<u8>,
    pub local_salt: Vec<u8>,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Drained from the engine after each entry point. The queue is bounded by the work of one call.
#[derive(Debug)]
pub enum Effect {
    /// Datagrams of DTLS from an address that passed an ICE check. A session that the handshake thread does not
    /// know begins with this; `fingerprint` is what the browser's certificate must have.
    Dtls {
        participant: ParticipantId,
        generation: u32,
        fingerprint: Fingerprint,
        datagram: Vec<u8>,
    },
    /// The other side waits for our ClientHello, and is reachable. Said again until it answers; a session that the handshake
    /// thread knows goes on.
    DtlsConnect {
        participant: ParticipantId,
        generation: u32,
        fingerprint: Fingerprint,
    },
    /// The session is over: free it. Unknown sessions are no error.
    DtlsEnd {
        participant: ParticipantId,
        generation: u32,
    },
    /// For control: see [`plausch_relay_api::Event`].
    Connected {
        participant: ParticipantId,
        generation: u32,
    },
    Disconnected {
        participant: ParticipantId,
        generation: u32,
        reason: DisconnectReason,
    },
    Speakers {
        room: RoomId,
        speakers: Vec<SpeakerLevel>,
    },
    /// Open a UDP socket with this address for a relay port of TURN, and give what it receives to the engine with
    /// `local`. Where that fails: [`EngineCommand::PortFailed`].
    OpenPort {
        local: LocalSocket,
        address: SocketAddr,
    },
    /// Close it. `local` may be used again at once: what the old socket received before must not come under it.
    ClosePort {
        local: LocalSocket,
    },
    /// A task for the edge's thread that serves this client.
    Edge {
        client: Path,
        task: EdgeTask,
    },
}
