//! The client's life in a room: joins over the WebSocket, keeps one transport, and comes back after losses.

use super::dtls::Identity;
use super::error::ClientError;
use super::ice::Credentials;
use super::receive::{Incoming, Line};
use super::sdp::{EXTENSION_MID, LocalDescription, RemoteDescription, Role};
use super::shared::Shared;
use super::signalling::{Received, Socket};
use super::stats::State;
use super::transport::{News, Order, Setup, Transport};
use super::{IpFamily, JoinOptions};
use plausch_signalling::{Answer, Claims, ClientMessage, ErrorCode, MediaState, Offer, ServerMessage, VERSION};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

/// From `join` to `welcome`.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a lost WebSocket is tried again; as long as a browser would.
const REATTACH_FOR: Duration = Duration::from_secs(60);
/// First and longest pause between two tries.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(1);
/// Before an offer or a join that found no relay is sent again.
const NO_RELAY_PAUSE: Duration = Duration::from_millis(300);

/// How a client goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Says goodbye.
    Leave,
    /// Closes socket and DTLS properly, as a closed tab does.
    CloseTab,
    /// Is gone without a word, as after a crash.
    Vanish,
}

/// What the `Client` asks of its session.
pub(crate) enum Request {
    SetMedia(MediaState),
    AddSlots(u16, oneshot::Sender<Result<(), ClientError>>),
    RestartIce(oneshot::Sender<Result<(), ClientError>>),
    /// For the transport as it is.
    Transport(Order),
    /// Drops the WebSocket without a close frame; the session comes back by itself.
    LoseSocket,
    End(Ending, oneshot::Sender<()>),
}

/// An offer that waits for its answer.
struct Pending {
    offer: Offer,
    local: LocalDescription,
    new_connection: bool,
    done: Option<oneshot::Sender<Result<(), ClientError>>>,
    /// Send it (again) at this time.
    due: Option<Instant>,
}

/// Result of opening the socket again.
type Reattached = Result<Socket, ClientError>;

/// A client in a room.
pub(crate) struct Session {
    options: JoinOptions,
    shared: Arc<Shared>,
    identity: Identity,
    local: LocalDescription,
    offers: u32,
    connection: u32,
    socket: Option<Socket>,
    transport: Option<Transport>,
    pending: Option<Pending>,
    /// A join is to be sent again at this time.
    join_due: Option<Instant>,
    /// When the answer to a join arrives, it belongs to `pending`.
    joined: Option<oneshot::Sender<Result<(), ClientError>>>,
    reattached: (mpsc::Sender<Reattached>, mpsc::Receiver<Reattached>),
}

impl Session {
    /// Joins the room; media is set up, but may not flow yet. `joined` hears when it does.
    pub(crate) async fn enter(
        options: JoinOptions,
        shared: Arc<Shared>,
        joined: oneshot::Sender<Result<(), ClientError>>,
    ) -> Result<Self, ClientError> {
        let mut socket = Socket::connect(&options.url, &options.trust).await?;
        shared.note_time(|timings| &mut timings.socket);
        let identity = Identity::generate()?;
        let local = LocalDescription::of(&options, &identity, options.slots);
        let offer = local.offer(1, 1);
        let join = ClientMessage::Join {
            version: VERSION,
            capabilities: Vec::new(),
            room: options.room.clone().into(),
            name: options.name.clone().into(),
            resume: None,
            offer: Some(offer.clone()),
            media: options.media,
            claims: Claims::default(),
        };
        socket.send(&join).await;
        let welcome = timeout(WELCOME_TIMEOUT, socket.receive())
            .await
            .map_err(|_| ClientError::Silent { during: "joining", within: WELCOME_TIMEOUT })??;
        let message = match welcome {
            Received::Closed => return Err(ClientError::Closed { during: "joining" }),
            Received::Message(message) => message,
        };
        if let ServerMessage::Error { code, .. } = *message {
            return Err(ClientError::Refused(code));
        }
        if !matches!(*message, ServerMessage::Welcome { .. }) {
            let cause = "its first message is not a welcome".to_owned();
            return Err(ClientError::NotPlausch { url: options.url, cause });
        }
        shared.note_time(|timings| &mut timings.welcome);
        let pending = Pending { offer, local: local.clone(), new_connection: true, done: None, due: None };
        let mut session = Self {
            options,
            shared,
            identity,
            local,
            offers: 1,
            connection: 1,
            socket: Some(socket),
            transport: None,
            pending: Some(pending),
            join_due: None,
            joined: Some(joined),
            reattached: mpsc::channel(1),
        };
        session.handle_message(*message).await?;
        Ok(session)
    }

    /// Runs until the client leaves or cannot go on.
    pub(crate) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let end = loop {
            let due = self.due();
            let step = tokio::select! {
                received = receive(&mut self.socket) => match received {
                    Ok(Received::Message(message)) => self.handle_message(*message).await,
                    Ok(Received::Closed) => {
                        self.reattach();
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Some(news) = next_news(&mut self.transport) => self.handle_news(news).await,
                Some(socket) = self.reattached.1.recv() => match socket {
                    Ok(socket) => {
                        self.shared.live().reattached += 1;
                        self.socket = Some(socket);
                        self.join_again().await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                request = requests.recv() => match request {
                    Some(Request::End(ending, done)) => {
                        self.end(ending).await;
                        let _ = done.send(());
                        break None;
                    }
                    Some(request) => {
                        self.handle_request(request).await;
                        Ok(())
                    }
                    None => {
                        self.end(Ending::Vanish).await;
                        break None;
                    }
                },
                () = sleep_until(due.unwrap_or_else(far_future).into()), if due.is_some() => {
                    self.send_due().await;
                    Ok(())
                }
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

    async fn handle_message(&mut self, message: ServerMessage) -> Result<(), ClientError> {
        match message {
            ServerMessage::Welcome { participant, resume, answer, participants, slots, .. } => {
                self.join_due = None;
                self.shared.live().entered(participant, resume, participants, slots);
                match answer {
                    Some(answer) => self.handle_answer(answer).await,
                    None => Ok(()),
                }
            }
            ServerMessage::Answer { answer } => self.handle_answer(answer).await,
            ServerMessage::MediaLost => {
                self.renew().await;
                Ok(())
            }
            ServerMessage::Error { code, fatal } => self.handle_error(code, fatal),
            news => {
                self.shared.live().note(news);
                Ok(())
            }
        }
    }

    fn handle_error(&mut self, code: ErrorCode, fatal: bool) -> Result<(), ClientError> {
        if fatal {
            return Err(ClientError::Refused(code));
        }
        let retry = Some(Instant::now() + NO_RELAY_PAUSE);
        if self.join_due.is_some() {
            self.join_due = retry;
        } else if let Some(pending) = &mut self.pending {
            if matches!(code, ErrorCode::NoRelay | ErrorCode::RateLimited) {
                pending.due = retry;
            } else if pending.new_connection {
                return Err(ClientError::Refused(code));
            } else if let Some(done) = self.pending.take().and_then(|pending| pending.done) {
                let _ = done.send(Err(ClientError::Refused(code)));
            }
        }
        Ok(())
    }

    async fn handle_answer(&mut self, answer: Answer) -> Result<(), ClientError> {
        // An answer to an offer that another one has overtaken is of no interest.
        let Some(pending) = self.pending.take_if(|pending| pending.offer.id == answer.id) else { return Ok(()) };
        let mut remote = RemoteDescription::parse(&answer.sdp, Role::Answer).map_err(ClientError::BadAnswer)?;
        match self.options.ip {
            IpFamily::Any => {}
            IpFamily::V4 => remote.candidates.retain(|address| address.is_ipv4()),
            IpFamily::V6 => remote.candidates.retain(|address| address.is_ipv6()),
        }
        if remote.candidates.is_empty() {
            return Err(ClientError::BadAnswer(format!("it names no candidate for {:?}", self.options.ip)));
        }
        let participant = {
            let mut live = self.shared.live();
            live.receiver.describe(0, &Line::of_slots(pending.local.slots, &remote), pending.new_connection);
            u64::from_str_radix(&live.participant, 16).unwrap_or(0)
        };
        if pending.new_connection {
            self.shared.live().connections += 1;
            let incoming = Incoming { connection: 0, mid_extension: Some(EXTENSION_MID) };
            let (local, identity) = (pending.local.clone(), self.identity.clone());
            let setup = Setup::new(&self.options, identity, participant, local, remote, incoming);
            self.transport = Some(Transport::start(setup, self.shared.clone()).await?);
        } else if pending.local.ice != self.local.ice
            && let Some(transport) = &self.transport
        {
            let _ = transport.orders.send(Order::Restart { local: pending.local.ice.clone(), remote: remote.ice });
        }
        self.local = pending.local;
        if let Some(done) = pending.done {
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    async fn handle_news(&mut self, news: News) -> Result<(), ClientError> {
        match news {
            News::Connected => {
                self.shared.live().state = State::Connected;
                if let Some(joined) = self.joined.take() {
                    let _ = joined.send(Ok(()));
                }
                Ok(())
            }
            News::Failed(error) if self.joined.is_some() => Err(error),
            News::Failed(error) => {
                tracing::info!("media was lost: {error}");
                self.renew().await;
                Ok(())
            }
        }
    }

    async fn handle_request(&mut self, request: Request) {
        match request {
            Request::SetMedia(media) => {
                self.shared.live().media = media;
                self.say(&ClientMessage::Media { media }).await;
            }
            Request::AddSlots(more, done) => {
                let local = LocalDescription { slots: self.local.slots + more, ..self.local.clone() };
                self.offer(local, false, Some(done)).await;
            }
            Request::RestartIce(done) => {
                let local = LocalDescription { ice: Credentials::random(), ..self.local.clone() };
                self.offer(local, false, Some(done)).await;
            }
            Request::Transport(order) => {
                if let Some(transport) = &self.transport {
                    let _ = transport.orders.send(order);
                }
            }
            Request::LoseSocket => {
                self.socket = None;
                self.reattach();
            }
            Request::End(..) => {}
        }
    }

    /// A new PeerConnection in place of the old one.
    async fn renew(&mut self) {
        if self.pending.as_ref().is_some_and(|pending| pending.new_connection) {
            return;
        }
        if let Some(transport) = self.transport.take() {
            transport.stop(false).await;
        }
        self.shared.live().state = State::Reconnecting;
        self.connection += 1;
        let local = LocalDescription::of(&self.options, &self.identity, self.local.slots);
        self.offer(local, true, None).await;
    }

    async fn offer(
        &mut self,
        local: LocalDescription,
        new_connection: bool,
        done: Option<oneshot::Sender<Result<(), ClientError>>>,
    ) {
        self.offers += 1;
        let offer = local.offer(self.offers, self.connection);
        self.pending = Some(Pending { offer: offer.clone(), local, new_connection, done, due: None });
        self.say(&ClientMessage::Offer { offer }).await;
    }

    /// Sends a message, if there is a socket; what matters is sent again after a re-attachment.
    async fn say(&mut self, message: &ClientMessage) {
        if let Some(socket) = &mut self.socket {
            socket.send(message).await;
        }
    }

    /// Opens the socket again in the background.
    fn reattach(&mut self) {
        self.socket = None;
        self.shared.live().lost_sockets += 1;
        let (url, trust) = (self.options.url.clone(), self.options.trust.clone());
        let done = self.reattached.0.clone();
        tokio::spawn(async move {
            let begin = Instant::now();
            let mut pause = RETRY_FIRST;
            loop {
                tokio::time::sleep(pause).await;
                pause = RETRY_LONGEST.min(pause * 2);
                match Socket::connect(&url, &trust).await {
                    Err(_) if begin.elapsed() < REATTACH_FOR => {}
                    result => {
                        let _ = done.send(result).await;
                        return;
                    }
                }
            }
        });
    }

    async fn join_again(&mut self) {
        // `welcome` clears it; an error postpones it.
        self.join_due = Some(Instant::now() + WELCOME_TIMEOUT);
        let (resume, media) = {
            let live = self.shared.live();
            (live.resume.clone(), live.media)
        };
        let offer = self.pending.as_ref().filter(|pending| pending.new_connection).map(|pending| pending.offer.clone());
        let join = ClientMessage::Join {
            version: VERSION,
            capabilities: Vec::new(),
            room: self.options.room.clone().into(),
            name: self.options.name.clone().into(),
            resume,
            offer,
            media,
            claims: Claims::default(),
        };
        self.say(&join).await;
        // Smaller changes are no part of a join.
        if let Some(pending) = self.pending.as_mut().filter(|pending| !pending.new_connection) {
            pending.due = Some(Instant::now() + NO_RELAY_PAUSE);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.socket.as_ref()?;
        [self.join_due, self.pending.as_ref().and_then(|pending| pending.due)].into_iter().flatten().min()
    }

    async fn send_due(&mut self) {
        let now = Instant::now();
        if self.join_due.is_some_and(|due| due <= now) {
            self.join_again().await;
        }
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.due.is_some_and(|due| due <= now)) else {
            return;
        };
        pending.due = None;
        let offer = pending.offer.clone();
        self.say(&ClientMessage::Offer { offer }).await;
    }

    async fn end(&mut self, ending: Ending) {
        if let Some(mut socket) = self.socket.take() {
            match ending {
                Ending::Leave => {
                    socket.send(&ClientMessage::Leave).await;
                    let _ = timeout(Duration::from_secs(1), drain(&mut socket)).await;
                    socket.close().await;
                }
                Ending::CloseTab => socket.close().await,
                Ending::Vanish => drop(socket),
            }
        }
        if let Some(transport) = self.transport.take() {
            transport.stop(ending != Ending::Vanish).await;
        }
    }
}

/// The next message, or never without a socket.
async fn receive(socket: &mut Option<Socket>) -> Result<Received, ClientError> {
    match socket {
        Some(socket) => socket.receive().await,
        None => std::future::pending().await,
    }
}

async fn next_news(transport: &mut Option<Transport>) -> Option<News> {
    match transport {
        Some(transport) => transport.news.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the other side to close.
async fn drain(socket: &mut Socket) {
    while let Ok(Received::Message(_)) = socket.receive().await {}
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
