//! A relay without media: it remembers what it is told and gives it back in its snapshot.

use super::World;
use plausch_link::{Dialer, Identity};
use plausch_relay_api::framing::{CommandFrame, PROTOCOL_VERSION};
use plausch_relay_api::{
    Command, CommandError, Event, Fingerprint, Hello, ParticipantId, ParticipantSnapshot, ShardId, ShardInfo,
    TurnPorts, TurnSettings,
};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

#[derive(Clone, Default)]
pub(crate) struct FakeRelay(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Its name, and from which port on its shards are; empty and 0: as all tests with one relay have it.
    name: &'static str,
    port: u16,
    /// Its socket for all links, as with a real relay.
    dialer: Option<Dialer<'static>>,
    participants: BTreeMap<ParticipantId, ParticipantSnapshot>,
    events: Option<mpsc::UnboundedSender<Value>>,
    /// At which it says that it serves TURN.
    turn_ports: Option<TurnPorts>,
    turn: Option<TurnSettings>,
    /// What the next `PutParticipant`s are answered with.
    refusals: VecDeque<CommandError>,
    /// Answer the next `AssignSlots` as a shard whose ring is full.
    busy: bool,
    /// Say nothing to commands.
    mute: bool,
    link: Option<tokio::task::JoinHandle<()>>,
}

impl FakeRelay {
    /// One of several relays.
    pub(crate) fn named(name: &'static str, port: u16) -> Self {
        let relay = Self::default();
        let mut state = relay.lock();
        (state.name, state.port) = (name, port);
        drop(state);
        relay
    }

    /// Connects, says hello and serves until the link ends or [`FakeRelay::hang_up`].
    pub(crate) async fn dial(&self, world: &World) {
        let dialer = self.lock().dialer.take();
        let mut dialer = dialer.filter(|dialer| dialer.control() == world.server.link()).unwrap_or_else(|| {
            // As long as the test process.
            let identity = Box::leak(Box::new(Identity::load_or_create(&world.folder.0.join("link")).unwrap()));
            Dialer::new(identity, world.server.link())
        });
        let mut connection = dialer.dial::<CommandFrame, Value>().await.unwrap();
        self.lock().dialer = Some(dialer);
        let name = self.lock().name;
        let port = self.lock().port.max(7000);
        let shard = |n: u16| ShardInfo {
            shard: ShardId(n),
            candidates: vec![([127, 0, 0, 1], port + n).into(), ([0, 0, 0, 0, 0, 0, 0, 1], port + n).into()],
        };
        let shards = vec![shard(0), shard(1)];
        let hello = Hello {
            version: PROTOCOL_VERSION,
            name: name.to_owned(),
            instance: 1,
            fingerprint: Fingerprint::Sha256([if name.is_empty() { 0xab } else { name.as_bytes()[0] }; 32]),
            shards,
            turn: self.lock().turn_ports.clone(),
        };
        connection.send(&json(Event::Hello(hello))).await.unwrap();
        let snapshot: Vec<_> = self.lock().participants.values().cloned().collect();
        for known in snapshot {
            connection.send(&json(Event::Snapshot(Box::new(known)))).await.unwrap();
        }
        connection.send(&json(Event::SnapshotEnd)).await.unwrap();
        let (mut commands, mut sender) = connection.split();
        let (events, mut queue) = mpsc::unbounded_channel::<Value>();
        let state = self.clone();
        let answers = events.clone();
        let link = tokio::spawn(async move {
            let reading = async {
                while let Ok(Some(Ok(frame))) = commands.recv().await {
                    for event in state.obey(frame) {
                        let _ = answers.send(json(event));
                    }
                }
            };
            let writing = async {
                while let Some(event) = queue.recv().await {
                    if sender.send(&event).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! { () = reading => {}, () = writing => {} }
        });
        let mut state = self.lock();
        state.events = Some(events);
        state.link = Some(link);
    }

    fn obey(&self, frame: CommandFrame) -> Vec<Event> {
        let mut state = self.lock();
        if state.mute {
            return Vec::new();
        }
        let mut events = Vec::new();
        let mut result = Ok(());
        match frame.command {
            Command::PutParticipant(spec) => match state.refusals.pop_front() {
                Some(error) => result = Err(error),
                None => {
                    let (participant, generation) = (spec.participant, spec.generation);
                    let known = ParticipantSnapshot { spec: *spec, assignments: Vec::new(), connected: true };
                    state.participants.insert(participant, known);
                    events.push(Event::Connected { participant, generation });
                }
            },
            Command::RemoveParticipant { participant } => {
                state.participants.remove(&participant);
            }
            Command::AssignSlots { .. } if std::mem::take(&mut state.busy) => result = Err(CommandError::Busy),
            Command::AssignSlots { participant, slots } => match state.participants.get_mut(&participant) {
                Some(known) => known.assignments = slots,
                None => result = Err(CommandError::UnknownParticipant),
            },
            Command::SetNote { participant, note } => match state.participants.get_mut(&participant) {
                Some(known) => known.spec.note = note,
                None => result = Err(CommandError::UnknownParticipant),
            },
            Command::SetTurn(settings) => state.turn = Some(*settings),
        }
        events.insert(0, Event::Done { id: frame.id, result });
        events
    }

    /// What control said last of TURN.
    pub(crate) fn turn(&self) -> Option<TurnSettings> {
        self.lock().turn.clone()
    }

    pub(crate) fn send(&self, event: Event) {
        self.say(json(event));
    }

    /// Says something that may be of a later release.
    pub(crate) fn say(&self, event: Value) {
        let _ = self.lock().events.as_ref().unwrap().send(event);
    }

    /// Like a link that failed: no goodbye, and the relay goes on. It may dial again.
    pub(crate) fn hang_up(&self) {
        if let Some(link) = self.lock().link.take() {
            link.abort();
        }
    }

    /// Like a relay that was killed: its socket is closed. Its memory is kept, in case it was not dead after all.
    pub(crate) fn die(&self) {
        self.hang_up();
        self.lock().dialer = None;
    }

    pub(crate) fn forget_everybody(&self) {
        self.lock().participants.clear();
    }

    pub(crate) fn refuse_next(&self, error: CommandError) {
        self.lock().refusals.push_back(error);
    }

    pub(crate) fn forget_turn(&self) {
        self.lock().turn = None;
    }

    pub(crate) fn set_turn_ports(&self, ports: TurnPorts) {
        self.lock().turn_ports = Some(ports);
    }

    pub(crate) fn set_busy(&self) {
        self.lock().busy = true;
    }

    pub(crate) fn set_mute(&self, mute: bool) {
        self.lock().mute = mute;
    }

    pub(crate) fn participants(&self) -> Vec<ParticipantSnapshot> {
        self.lock().participants.values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn json(event: Event) -> Value {
    serde_json::to_value(event).unwrap()
}
