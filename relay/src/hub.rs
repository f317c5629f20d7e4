//! The main thread's work: commands of control to the shards, news of the shards to control. Media never waits for
//! any of it; while there is no link, shards go on as they are.

use crate::drain::Draining;
use crate::edge;
use crate::interfaces;
use crate::ring::{Receiver, Sender};
use crate::shard::{FromShard, Status, Ticket, ToShard};
use anyhow::{Result, anyhow, bail};
use plausch_link::{Dialer, Identity};
use plausch_relay_api::framing::{CommandFrame, Unreadable};
use plausch_relay_api::limits::{
    HOST_ADDRESSES_INTERVAL_MS, LINK_IDLE_MS, LINK_REDIAL_MAX_MS, LINK_REDIAL_MS, LOAD_INTERVAL_MS, TURN_SECRETS,
};
use plausch_relay_api::{
    Command, CommandError, CommandId, Event, Hello, ParticipantId, RoomId, ShardId, ShardInfo, ShardLoad, TurnSettings,
};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// Of a command that the hub gives by itself: links are counted from one.
const NOBODY: Ticket = Ticket { link: 0, id: CommandId(0), first_put: None };

type ShardEnd = (Sender<ToShard>, Receiver<FromShard>);

/// Where a participant is, and the command that put it there.
#[derive(Clone, Copy)]
struct Place {
    shard: ShardId,
    room: RoomId,
    put: Ticket,
}

/// Between the shards and the link.
pub struct Hub {
    hello: Hello,
    shards: Vec<ShardEnd>,
    statuses: Vec<Arc<Mutex<Status>>>,
    /// A shard has news.
    notify: Arc<Notify>,
    /// Where each participant is: most commands name the participant only.
    places: HashMap<ParticipantId, Place>,
    /// What control said last of TURN; a shard that starts again is told anew.
    turn: Option<Box<TurnSettings>>,
    /// `None`: there is no edge.
    edge: Option<Arc<edge::Shared>>,
    host: HostAddresses,
    /// How browsers reach the shards.
    reach: watch::Receiver<Vec<ShardInfo>>,
    draining: Draining,
    /// The shards know of it.
    draining_told: bool,
    /// Commands for all shards, and how many shards have not done them yet.
    awaited: Vec<(Ticket, usize)>,
    /// Counts connections.
    link: u64,
    load: Load,
}

impl Hub {
    pub fn new(
        hello: Hello,
        shards: Vec<ShardEnd>,
        statuses: Vec<Arc<Mutex<Status>>>,
        notify: Arc<Notify>,
        edge: Option<Arc<edge::Shared>>,
        draining: Draining,
        reach: watch::Receiver<Vec<ShardInfo>>,
    ) -> Self {
        let load = Load { measured_at: Instant::now(), busy: vec![Duration::ZERO; shards.len()] };
        Self {
            hello,
            shards,
            statuses,
            notify,
            places: HashMap::new(),
            turn: None,
            edge,
            host: HostAddresses::new(),
            reach,
            draining,
            draining_told: false,
            awaited: Vec::new(),
            link: 0,
            load,
        }
    }

    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    #[cfg(test)]
    pub(crate) fn panic_shard(&mut self, shard: usize) {
        self.shards[shard].0.send(ToShard::Panic);
        self.shards[shard].0.flush();
    }

    /// Keeps up a link until `stop` is ready, and says good-bye then.
    pub async fn run(&mut self, identity: &Identity, control: SocketAddr, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut pause = LINK_REDIAL_MS;
        let mut said = false;
        let mut dialer = Dialer::new(identity, control);
        loop {
            let connection = tokio::select! {
                connection = dialer.dial() => connection,
                never = self.discard() => never,
                () = &mut stop => return,
            };
            match connection {
                Ok(connection) => {
                    pause = LINK_REDIAL_MS;
                    said = false;
                    tracing::info!("linked to control");
                    let (mut receiver, mut sender) = connection.split();
                    let ended = tokio::select! {
                        ended = self.serve(&mut receiver, &mut sender) => ended,
                        () = &mut stop => {
                            sender.close().await;
                            return;
                        }
                    };
                    match ended {
                        Ok(()) => tracing::warn!("control ended the link; media goes on"),
                        Err(error) => tracing::warn!("the link to control is lost ({error}); media goes on"),
                    }
                }
                Err(error) => {
                    if !said {
                        tracing::info!("control does not answer at {control} yet ({error}); trying on");
                        said = true;
                    }
                }
            }
            tokio::select! {
                () = sleep(Duration::from_millis(pause)) => {}
                never = self.discard() => never,
                () = &mut stop => return,
            }
            pause = (pause * 2).min(LINK_REDIAL_MAX_MS);
        }
    }

    /// Without a link: keeps the rings empty and the places right. Never ends.
    async fn discard(&mut self) -> ! {
        loop {
            tokio::select! {
                () = self.notify.notified() => {}
                () = sleep_until(self.host.look_at) => self.tell_addresses(),
                Ok(()) = self.reach.changed() => self.reach_anew(),
            }
            self.tell_draining();
            for shard in 0..self.shards.len() {
                self.shards[shard].0.flush();
                while let Ok(message) = self.shards[shard].1.pop() {
                    self.note(&message);
                }
            }
        }
    }

    async fn serve(
        &mut self,
        receiver: &mut plausch_link::Receiver<CommandFrame>,
        sender: &mut plausch_link::Sender<Event>,
    ) -> Result<()> {
        self.link += 1;
        self.awaited.clear();
        let mut outgoing = VecDeque::new();
        send(sender, &Event::Hello(self.hello.clone())).await?;
        self.snapshot(sender, &mut outgoing).await?;
        send(sender, &Event::SnapshotEnd).await?;
        let mut load = interval(Duration::from_millis(LOAD_INTERVAL_MS));
        load.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(event) = outgoing.pop_front() {
                send(sender, &event).await?;
            }
            tokio::select! {
                frame = receiver.recv() => match frame? {
                    Some(Ok(frame)) => outgoing.extend(self.dispatch(frame)),
                    Some(Err(unreadable)) => outgoing.extend(refuse(&unreadable)),
                    None => return Ok(()),
                },
                () = self.notify.notified() => self.collect(&mut outgoing),
                _ = load.tick() => outgoing.push_back(self.load()),
                () = sleep_until(self.host.look_at) => self.tell_addresses(),
                Ok(()) = self.reach.changed() => {
                    self.reach_anew();
                    bail!("control is to be told of new addresses");
                }
            }
        }
    }

    fn reach_anew(&mut self) {
        self.hello.shards = self.reach.borrow_and_update().clone();
    }

    /// Sends what all shards have. What happened on a shard before its snapshot is in it, and what comes after it
    /// is kept for later.
    async fn snapshot(&mut self, sender: &mut plausch_link::Sender<Event>, later: &mut VecDeque<Event>) -> Result<()> {
        for (to_shard, _) in &mut self.shards {
            to_shard.send(ToShard::Snapshot { link: self.link });
            to_shard.flush();
        }
        let all = async {
            let mut told: HashSet<usize> = HashSet::new();
            while told.len() < self.shards.len() {
                self.notify.notified().await;
                for shard in 0..self.shards.len() {
                    self.shards[shard].0.flush();
                    while let Ok(message) = self.shards[shard].1.pop() {
                        self.note(&message);
                        match message {
                            FromShard::Snapshot { link, participants } if link == self.link => {
                                told.insert(shard);
                                for participant in participants {
                                    send(sender, &Event::Snapshot(Box::new(participant))).await?;
                                }
                            }
                            FromShard::Event(event) if told.contains(&shard) => later.push_back(event),
                            _ => {}
                        }
                    }
                }
            }
            Ok(())
        };
        let patience = Duration::from_millis(LINK_IDLE_MS.into());
        timeout(patience, all).await.map_err(|_| anyhow!("a shard does not answer"))?
    }

    /// Hands a command to its shard; an answer that is known here is given at once.
    fn dispatch(&mut self, frame: CommandFrame) -> Option<Event> {
        let CommandFrame { id, command } = frame;
        let done = |result| Some(Event::Done { id, result });
        let command = match command {
            Command::SetTurn(settings) => return self.set_turn(id, settings),
            command => command,
        };
        let Some(participant) = command.participant() else { return done(Err(CommandError::UnknownParticipant)) };
        let place = self.places.get(&participant).copied();
        let (shard, first_put) = match (&command, place) {
            (Command::PutParticipant(spec), Some(place)) if spec.shard != place.shard => {
                return done(Err(CommandError::Moved));
            }
            (Command::PutParticipant(spec), place) => (spec.shard, place.is_none().then_some(participant)),
            (_, Some(place)) => (place.shard, None),
            (Command::RemoveParticipant { .. }, None) => return done(Ok(())),
            (_, None) => return done(Err(CommandError::UnknownParticipant)),
        };
        let Some((to_shard, _)) = self.shards.get_mut(usize::from(shard.0)) else {
            return done(Err(CommandError::UnknownShard));
        };
        if let Command::PutParticipant(spec) = &command
            && self.draining.is_on()
            && !self.places.values().any(|place| place.room == spec.room)
        {
            return done(Err(CommandError::Draining));
        }
        let room = if let Command::PutParticipant(spec) = &command { Some(spec.room) } else { None };
        let removes = matches!(command, Command::RemoveParticipant { .. });
        let ticket = Ticket { link: self.link, id, first_put };
        let message = ToShard::Control { ticket, command };
        if removes {
            // Whoever is removed must not be heard any more, however busy the shard is.
            to_shard.send(message);
        } else if to_shard.offer(message).is_err() {
            return done(Err(CommandError::Busy));
        }
        to_shard.flush();
        if removes {
            self.places.remove(&participant);
        } else if let Some(room) = room {
            self.places.entry(participant).or_insert(Place { shard, room, put: ticket });
        }
        None
    }

    /// Keeps the settings and gives each shard its part; the answer comes when all shards have it.
    fn set_turn(&mut self, id: CommandId, settings: Box<TurnSettings>) -> Option<Event> {
        if settings.secrets.len() > TURN_SECRETS {
            return Some(Event::Done { id, result: Err(CommandError::Limit("secrets of TURN".to_owned())) });
        }
        if let Some(edge) = &self.edge
            && let Err(error) = edge.set(&settings)
        {
            return Some(Event::Done { id, result: Err(error) });
        }
        self.turn = Some(settings);
        let ticket = Ticket { link: self.link, id, first_put: None };
        self.awaited.push((ticket, self.shards.len()));
        (0..self.shards.len()).for_each(|shard| self.tell_turn(shard, ticket));
        None
    }

    fn tell_turn(&mut self, shard: usize, ticket: Ticket) {
        let Some(settings) = &self.turn else { return };
        // Shards need neither the key of the certificate nor where control's pages are.
        let part = TurnSettings { certificate: None, edge_socket: None, ..(**settings).clone() };
        let (to_shard, _) = &mut self.shards[shard];
        to_shard.send(ToShard::Control { ticket, command: Command::SetTurn(Box::new(part)) });
        to_shard.flush();
    }

    /// Tells the shards when this host's addresses have changed: TURN does not relay to them.
    fn tell_addresses(&mut self) {
        let Some(addresses) = self.host.changed() else { return };
        for (to_shard, _) in &mut self.shards {
            to_shard.send(ToShard::HostAddresses(addresses.clone()));
            to_shard.flush();
        }
    }

    /// Tells the shards, once, that nothing new is to begin. `true` when it did.
    fn tell_draining(&mut self) -> bool {
        if !self.draining.is_on() || std::mem::replace(&mut self.draining_told, true) {
            return false;
        }
        for (to_shard, _) in &mut self.shards {
            to_shard.send(ToShard::Drain);
            to_shard.flush();
        }
        true
    }

    /// The answer to control that a shard's answer leads to.
    fn answer(&mut self, ticket: Ticket, result: Result<(), CommandError>) -> Option<Event> {
        if ticket.link != self.link {
            return None;
        }
        if let Some(index) = self.awaited.iter().position(|(awaited, _)| *awaited == ticket) {
            self.awaited[index].1 -= 1;
            if self.awaited[index].1 > 0 && result.is_ok() {
                return None;
            }
            self.awaited.swap_remove(index);
        }
        Some(Event::Done { id: ticket.id, result })
    }

    fn collect(&mut self, outgoing: &mut VecDeque<Event>) {
        if self.tell_draining() {
            // Control places no more rooms here, and that is better known before it tries.
            outgoing.push_back(self.load());
        }
        for shard in 0..self.shards.len() {
            // A shard that has news has made room.
            self.shards[shard].0.flush();
            while let Ok(message) = self.shards[shard].1.pop() {
                self.note(&message);
                match message {
                    FromShard::Done { ticket, result } => outgoing.extend(self.answer(ticket, result)),
                    FromShard::Event(event) => outgoing.push_back(event),
                    FromShard::Snapshot { .. } => {}
                }
            }
        }
    }

    /// Keeps the places right, with and without a link.
    fn note(&mut self, message: &FromShard) {
        match message {
            // It may have been removed and put again since.
            FromShard::Done { ticket: ticket @ Ticket { first_put: Some(participant), .. }, result: Err(_) }
                if self.places.get(participant).is_some_and(|place| place.put == *ticket) =>
            {
                self.places.remove(participant);
            }
            FromShard::Event(Event::ShardRestarted { shard }) => {
                self.places.retain(|_, place| place.shard != *shard);
                self.tell_turn(usize::from(shard.0), NOBODY);
                // Those that know it are told again, which does no harm.
                self.draining_told = false;
                self.tell_draining();
            }
            _ => {}
        }
    }

    fn load(&mut self) -> Event {
        let elapsed = self.load.measured_at.elapsed().as_micros().max(1);
        self.load.measured_at = Instant::now();
        let measured = self.statuses.iter().zip(&mut self.load.busy).enumerate().map(|(index, (status, before))| {
            let status = status.lock().map(|status| *status).unwrap_or_default();
            // A restarted shard counts from zero again.
            let busy = status.busy.saturating_sub(*before).as_micros();
            *before = status.busy;
            ShardLoad {
                shard: ShardId(index as u16),
                participants: u32::try_from(status.engine.participants).unwrap_or(u32::MAX),
                busy_permille: (busy * 1000 / elapsed).min(1000) as u16,
                received_packets: status.engine.received_packets,
                sent_packets: status.driver.sent_packets,
            }
        });
        Event::Load { shards: measured.collect(), draining: self.draining.is_on() }
    }
}

/// Watches this host's addresses.
struct HostAddresses {
    look_at: tokio::time::Instant,
    known: Vec<IpAddr>,
}

impl HostAddresses {
    const INTERVAL: Duration = Duration::from_millis(HOST_ADDRESSES_INTERVAL_MS);

    fn new() -> Self {
        let known = interfaces::all_addresses().unwrap_or_default();
        Self { look_at: tokio::time::Instant::now() + Self::INTERVAL, known }
    }

    fn changed(&mut self) -> Option<Vec<IpAddr>> {
        self.look_at = tokio::time::Instant::now() + Self::INTERVAL;
        let now = interfaces::all_addresses().ok().filter(|now| *now != self.known)?;
        self.known.clone_from(&now);
        Some(now)
    }
}

/// What the last `Load` was measured from.
struct Load {
    measured_at: Instant,
    busy: Vec<Duration>,
}

/// The answer to a command of a later release, where it has a number to be answered by.
fn refuse(unreadable: &Unreadable) -> Option<Event> {
    tracing::warn!("control of a later release? {unreadable}; it is told so");
    let result = Err(CommandError::Invalid("unknown command".to_owned()));
    unreadable.id.map(|id| Event::Done { id, result })
}

/// A control that does not read is as good as none: the link is given up and dialled again, with a new snapshot.
async fn send(sender: &mut plausch_link::Sender<Event>, event: &Event) -> Result<()> {
    let patience = Duration::from_millis(LINK_IDLE_MS.into());
    timeout(patience, sender.send(event)).await.map_err(|_| anyhow!("control does not read"))??;
    Ok(())
}

#[cfg(test)]
mod tests;
