//! A client's life in a room behind a [`Door`]: publishes, subscribes once to all others, and stays until it leaves.
//! Nothing is set up again: who loads a server wants to know that it was lost.

use super::JoinOptions;
use super::dtls::Identity;
use super::entry::{Door, Subscribed};
use super::error::ClientError;
use super::receive::Incoming;
use super::sdp::LocalDescription;
use super::session::{Ending, Request};
use super::shared::Shared;
use super::stats::State;
use super::transport::{News, Setup, Transport};
use futures_util::future::select_all;
use plausch_signalling::{ResumeToken, SlotContent, Source};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// PeerConnection number of the sending one; those that receive follow.
const SENDING: u16 = 0;

/// What the signalling tells.
enum Told {
    Subscribed(Vec<Subscribed>),
    Over(ClientError),
}

/// One PeerConnection, and whom it shows once it is connected.
struct Connection {
    transport: Transport,
    shows: Vec<(u16, String)>,
    connected: bool,
}

/// A client in a room.
pub(crate) struct Visit {
    options: JoinOptions,
    shared: Arc<Shared>,
    identity: Identity,
    participant: u64,
    connections: Vec<Connection>,
    told: mpsc::Receiver<Told>,
    leave: Option<oneshot::Sender<()>>,
    talking: JoinHandle<()>,
    joined: Option<oneshot::Sender<Result<(), ClientError>>>,
}

impl Visit {
    /// Publishes, if we send; media may not flow yet. `joined` hears when it does: for who sends, when that works, and
    /// for others when they receive.
    pub(crate) async fn enter(
        mut door: Box<dyn Door>,
        options: JoinOptions,
        shared: Arc<Shared>,
        joined: oneshot::Sender<Result<(), ClientError>>,
    ) -> Result<Self, ClientError> {
        shared.note_time(|timings| &mut timings.socket);
        let identity = Identity::generate()?;
        let mut participant = String::new();
        let mut sending = None;
        if options.microphone || options.camera_layers > 0 {
            let local = LocalDescription::of(&options, &identity, 0);
            let published = door.publish(&local).await?;
            shared.note_time(|timings| &mut timings.welcome);
            participant = published.participant;
            sending = Some((local, published.remote));
        }
        let tag = u64::from_str_radix(&participant, 16).unwrap_or(0);
        shared.live().entered(participant, ResumeToken::default(), Vec::new(), Vec::new());
        let (told_tx, told) = mpsc::channel(1);
        let (leave, leave_rx) = oneshot::channel();
        let talking = tokio::spawn(talk(door, options.slots, identity.clone(), told_tx, leave_rx));
        let mut visit = Self {
            options,
            shared,
            identity,
            participant: tag,
            connections: Vec::new(),
            told,
            leave: Some(leave),
            talking,
            joined: Some(joined),
        };
        if let Some((local, remote)) = sending {
            let incoming = Incoming { connection: SENDING, mid_extension: None };
            visit.connect(local, remote, incoming, Vec::new()).await?;
        }
        Ok(visit)
    }

    /// Runs until the client leaves or cannot go on.
    pub(crate) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let end = loop {
            let step = tokio::select! {
                (index, news) = next_news(&mut self.connections) => match news {
                    News::Connected => {
                        self.connected(index);
                        Ok(())
                    }
                    News::Failed(error) => Err(error),
                },
                Some(told) = self.told.recv() => match told {
                    Told::Subscribed(subscribed) => self.subscribed(subscribed).await,
                    Told::Over(error) => {
                        self.shared.live().lost_sockets += 1;
                        Err(error)
                    }
                },
                request = requests.recv() => match request {
                    Some(Request::End(ending, done)) => {
                        self.end(ending).await;
                        let _ = done.send(());
                        break None;
                    }
                    Some(request) => {
                        self.handle_request(request);
                        Ok(())
                    }
                    None => {
                        self.end(Ending::Vanish).await;
                        break None;
                    }
                },
            };
            if let Err(error) = step {
                break Some(error);
            }
        };
        self.shared.live().state = State::Over(end.as_ref().map(ToString::to_string));
        if let Some(error) = end {
            if let Some(joined) = self.joined.take() {
                let _ = joined.send(Err(error));
            }
            self.end(Ending::Leave).await;
        }
    }

    async fn connect(
        &mut self,
        local: LocalDescription,
        remote: super::sdp::RemoteDescription,
        incoming: Incoming,
        shows: Vec<(u16, String)>,
    ) -> Result<(), ClientError> {
        let setup = Setup::new(&self.options, self.identity.clone(), self.participant, local, remote, incoming);
        let transport = Transport::start(setup, self.shared.clone()).await?;
        self.connections.push(Connection { transport, shows, connected: false });
        self.shared.live().connections += 1;
        Ok(())
    }

    async fn subscribed(&mut self, subscribed: Vec<Subscribed>) -> Result<(), ClientError> {
        self.shared.note_time(|timings| &mut timings.welcome);
        for one in subscribed {
            self.shared.live().receiver.describe(one.incoming.connection, &one.lines, true);
            self.connect(one.local, one.remote, one.incoming, one.shown).await?;
        }
        Ok(())
    }

    fn connected(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.connected = true;
        let shows = connection.shows.drain(..);
        let shown: Vec<SlotContent> =
            shows.map(|(slot, participant)| SlotContent { slot, participant, source: Source::Person }).collect();
        self.shared.live().show(shown);
        if self.connections.iter().all(|connection| connection.connected)
            && let Some(joined) = self.joined.take()
        {
            // Of several PeerConnections the last one counts.
            self.shared.joined();
            self.shared.live().state = State::Connected;
            tracing::debug!(timings = ?self.shared.stats().timings, "joined");
            let _ = joined.send(Ok(()));
        }
    }

    fn handle_request(&mut self, request: Request) {
        let unsupported = |done: oneshot::Sender<_>| {
            let _ = done.send(Err(ClientError::Unsupported));
        };
        match request {
            Request::SetMedia(media) => self.shared.live().media = media,
            Request::AddSlots(_, done) | Request::RestartIce(done) => unsupported(done),
            Request::Transport(order) => {
                if let Some(connection) = self.connections.first() {
                    let _ = connection.transport.orders.send(order);
                }
            }
            Request::LoseSocket | Request::End(..) => {}
        }
    }

    async fn end(&mut self, ending: Ending) {
        match self.leave.take().filter(|_| ending == Ending::Leave) {
            Some(leave) => {
                let _ = leave.send(());
                let _ = (&mut self.talking).await;
            }
            None => self.talking.abort(),
        }
        for connection in self.connections.drain(..) {
            connection.transport.stop(ending != Ending::Vanish).await;
        }
    }
}

/// Everything that is said after publishing, until somebody wants to leave.
async fn talk(
    mut door: Box<dyn Door>,
    slots: u16,
    identity: Identity,
    told: mpsc::Sender<Told>,
    leave: oneshot::Receiver<()>,
) {
    let describe = move |slots| LocalDescription::watching(&identity, slots);
    let conversation = async {
        if slots > 0 {
            let subscribed = door.subscribe(slots, &describe).await?;
            let _ = told.send(Told::Subscribed(subscribed)).await;
        }
        Err::<(), ClientError>(door.listen().await)
    };
    tokio::select! {
        over = conversation => {
            if let Err(error) = over {
                let _ = told.send(Told::Over(error)).await;
            }
        }
        _ = leave => door.leave().await,
    }
}

/// The next news of any PeerConnection and its index, or never without one.
async fn next_news(connections: &mut [Connection]) -> (usize, News) {
    if connections.is_empty() {
        return std::future::pending().await;
    }
    let news = connections.iter_mut().map(|connection| Box::pin(connection.transport.news.recv()));
    match select_all(news).await {
        (Some(news), index, _) => (index, news),
        // A transport that has ended has said why before.
        (None, ..) => std::future::pending().await,
    }
}
