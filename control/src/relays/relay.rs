//! One relay, as control sees it: who it is, and what it was asked.

use super::placement::RelayId;
use super::turn::SettingsVersion;
use plausch_relay_api::framing::CommandFrame;
use plausch_relay_api::limits::LINK_QUEUE_COMMANDS;
use plausch_relay_api::{Command, CommandError, CommandId, Hello, ShardId, ShardLoad};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A linked relay. Dropping it ends the link, and the relay dials again.
#[derive(Debug)]
pub struct Relay {
    pub id: RelayId,
    /// Which link this is: events of an earlier one are ignored.
    pub link: u64,
    pub hello: Arc<Hello>,
    /// It runs on this machine.
    pub local: bool,
    /// What it was told last of TURN.
    pub turn: Option<SettingsVersion>,
    pub loads: Vec<ShardLoad>,
    /// It is about to end, and takes no new rooms.
    pub draining: bool,
    commands: mpsc::Sender<CommandFrame>,
    next: u64,
    waiting: HashMap<CommandId, oneshot::Sender<Result<(), CommandError>>>,
}

impl Relay {
    pub fn new(id: RelayId, link: u64, hello: Hello, local: bool) -> (Self, mpsc::Receiver<CommandFrame>) {
        let (commands, queue) = mpsc::channel(LINK_QUEUE_COMMANDS);
        let relay = Self {
            id,
            link,
            hello: Arc::new(hello),
            local,
            turn: None,
            loads: Vec::new(),
            draining: false,
            commands,
            next: 0,
            waiting: HashMap::new(),
        };
        (relay, queue)
    }

    /// Rooms may begin there.
    pub fn takes_rooms(&self) -> bool {
        !self.draining && !self.hello.shards.is_empty()
    }

    /// Sends a command whose end nobody waits for. `false` when the queue is full.
    pub fn command(&mut self, command: Command) -> bool {
        self.send(command).is_some()
    }

    /// Sends a command; the receiver gets the relay's answer, or an error when the link ends.
    pub fn ask(&mut self, command: Command) -> Option<oneshot::Receiver<Result<(), CommandError>>> {
        let id = self.send(command)?;
        let (done, receiver) = oneshot::channel();
        // Who no longer waits, because the relay took too long, is forgotten here.
        self.waiting.retain(|_, waiting| !waiting.is_closed());
        self.waiting.insert(id, done);
        Some(receiver)
    }

    fn send(&mut self, command: Command) -> Option<CommandId> {
        self.next += 1;
        let id = CommandId(self.next);
        self.commands.try_send(CommandFrame { id, command }).ok().map(|()| id)
    }

    /// A command ended. An error that nobody waits for is given back.
    pub fn done(&mut self, id: CommandId, result: Result<(), CommandError>) -> Result<(), CommandError> {
        match self.waiting.remove(&id) {
            Some(waiting) => {
                let _ = waiting.send(result);
                Ok(())
            }
            None => result,
        }
    }
}

/// The candidates of a shard.
pub fn candidates(hello: &Hello, shard: ShardId) -> &[SocketAddr] {
    hello.shards.iter().find(|info| info.shard == shard).map(|info| info.candidates.as_slice()).unwrap_or_default()
}
