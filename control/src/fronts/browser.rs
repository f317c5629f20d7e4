//! One WebSocket: one client, and after its `join` one participant.

use crate::admission::rates::{Bucket, Prefix, Rate};
use crate::http::caller::Host;
use crate::http::connections::Connection;
use crate::join::{Join, Problem};
use crate::service::{Outgoing, Service, SocketPermit, encode};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::SinkExt;
use plausch_relay_api::ParticipantId;
use plausch_relay_api::limits::{
    SIGNALLING_BURST_MESSAGES, SIGNALLING_GATHER_MAX_MS, SIGNALLING_GATHER_MS, SIGNALLING_IDLE_MS,
    SIGNALLING_MESSAGES_PER_SECOND, SIGNALLING_PING_MS, SIGNALLING_QUEUE_MESSAGES, SIGNALLING_SILENCE_MS,
};
use plausch_signalling::{ClientMessage, ErrorCode, ResumeToken, ServerMessage};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

const MESSAGE_RATE: Rate = Rate { burst: SIGNALLING_BURST_MESSAGES, per_second: SIGNALLING_MESSAGES_PER_SECOND as f64 };
/// Offers are what costs: a large one is a thousand other messages, and each is a command to the relay. Browsers come to
/// one in a second, while no relay is linked.
const OFFER_RATE: Rate = Rate { burst: 20, per_second: 2.0 };
/// A client that takes no byte for this long is dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side has to close its half.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a session ends.
enum End {
    /// The client said goodbye: others learn of it at once.
    Left,
    /// The socket is gone; the client may come back.
    Lost,
    /// Control closes the socket, with this code.
    Closed(u16),
}

/// What a socket holds: a connection's place, and one among the sockets.
pub struct Seat {
    pub connection: Connection,
    pub permit: SocketPermit,
}

struct Session {
    service: Arc<Service>,
    number: u64,
    prefix: Option<Prefix>,
    /// By which the client asked for this server.
    host: Option<Host>,
    seat: Seat,
    participant: Option<ParticipantId>,
    messages: Bucket,
    offers: Bucket,
    /// Moves into the room with a successful join.
    outgoing: mpsc::Sender<Outgoing>,
}

/// Serves a socket until it ends.
pub async fn run(service: Arc<Service>, mut socket: WebSocket, prefix: Option<Prefix>, host: Option<Host>, seat: Seat) {
    let (outgoing, queue) = mpsc::channel(SIGNALLING_QUEUE_MESSAGES);
    let mut session = Session {
        number: service.next_session(),
        prefix,
        host,
        seat,
        participant: None,
        messages: Bucket::full(MESSAGE_RATE, service.now()),
        offers: Bucket::full(OFFER_RATE, service.now()),
        service,
        outgoing,
    };
    let end = session.serve(&mut socket, queue).await;
    if let Some(participant) = session.participant {
        match end {
            End::Left => session.service.leave(participant, session.number),
            End::Lost | End::Closed(_) => session.service.detach(participant, session.number),
        }
    }
    let code = match end {
        End::Left => close_code::NORMAL,
        End::Lost => return,
        End::Closed(code) => code,
    };
    let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() }));
    let closing = async {
        let _ = socket.send(close).await;
        // What the client still sends is read away, or else a reset could overtake our last words.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

impl Session {
    async fn serve(&mut self, socket: &mut WebSocket, mut queue: mpsc::Receiver<Outgoing>) -> End {
        let mut ping = interval(Duration::from_millis(SIGNALLING_PING_MS));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let opened = Instant::now();
        let mut heard = opened;
        let mut gathered = Gathered::new();
        let mut evicted = std::pin::pin!(self.seat.permit.place.evicted());
        loop {
            tokio::select! {
                // Somebody else needs the place more, and may come back.
                () = &mut evicted => return End::Closed(close_code::AGAIN),
                next = queue.recv() => {
                    // The room dropped its sender: this client reads too slowly, or another took its place.
                    let Some(next) = next else { return End::Closed(close_code::POLICY) };
                    let Some(may_wait) = gathered.feed(socket, next, &mut queue).await else { return End::Lost };
                    let waits = may_wait && gathered.waits();
                    if !waits && !gathered.write(socket, &self.service).await {
                        return End::Lost;
                    }
                }
                () = sleep_until(gathered.until), if gathered.messages > 0 => {
                    if !gathered.write(socket, &self.service).await {
                        return End::Lost;
                    }
                }
                message = socket.recv() => {
                    heard = Instant::now();
                    let end = match message {
                        Some(Ok(message)) => self.received(socket, message).await,
                        // Too large, or not a WebSocket any more.
                        Some(Err(_)) => {
                            self.report(socket, Problem { code: ErrorCode::BadMessage, fatal: true }).await;
                            Some(End::Closed(close_code::PROTOCOL))
                        }
                        None => Some(End::Lost),
                    };
                    if let Some(end) = end {
                        return end;
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > Duration::from_millis(SIGNALLING_SILENCE_MS) {
                        return End::Lost;
                    }
                    if self.participant.is_none() && opened.elapsed() > Duration::from_millis(SIGNALLING_IDLE_MS) {
                        return End::Closed(close_code::AWAY);
                    }
                    if !send(socket, Message::Ping(Default::default())).await {
                        return End::Lost;
                    }
                }
            }
        }
    }

    /// One message of the client. `Some` when it was the last.
    async fn received(&mut self, socket: &mut WebSocket, message: Message) -> Option<End> {
        if !self.messages.take(MESSAGE_RATE, self.service.now()) {
            self.report(socket, ErrorCode::RateLimited.into()).await;
            return Some(End::Closed(close_code::POLICY));
        }
        let result = match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(ClientMessage::Leave) => return Some(End::Left),
                Ok(ClientMessage::IceServers { room }) => {
                    let ice = self.service.ice_servers(self.prefix, room.reveal(), self.host.as_ref()).await;
                    let sent = send(socket, Message::Text(encode(&ServerMessage::IceServers { ice }))).await;
                    return (!sent).then_some(End::Lost);
                }
                Ok(message) => self.handle(message).await,
                Err(_) => Err(ErrorCode::BadMessage.into()),
            },
            Message::Binary(_) => Err(ErrorCode::BadMessage.into()),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(frame) => return Some(goodbye(frame.as_ref())),
        };
        let problem = result.err()?;
        self.report(socket, problem).await;
        problem.fatal.then_some(End::Closed(close_code::POLICY))
    }

    async fn handle(&mut self, message: ClientMessage) -> Result<(), Problem> {
        match (message, self.participant) {
            (ClientMessage::Join { version, room, name, resume, offer, media }, None) => {
                let (room, name) = (room.into_revealed(), name.into_revealed());
                let resume = resume.map(ResumeToken::into_revealed);
                let join = Join { version, room, name, resume, offer, media };
                let outgoing = self.outgoing.clone();
                let joined = self.service.join(self.number, self.prefix, self.host.as_ref(), outgoing, join).await?;
                self.participant = Some(joined);
                self.seat.connection.joined();
                self.seat.permit.place.settle();
                // From now on the room alone holds a sender, so that it can end this session by dropping it.
                self.outgoing = mpsc::channel(1).0;
                Ok(())
            }
            (ClientMessage::Offer { offer }, Some(participant)) => {
                if !self.offers.take(OFFER_RATE, self.service.now()) {
                    return Err(ErrorCode::RateLimited.into());
                }
                self.service.offer(participant, self.number, offer).await
            }
            (ClientMessage::Media { media }, Some(participant)) => {
                self.service.media(participant, self.number, media);
                Ok(())
            }
            // A second join, or something before the first.
            _ => Err(ErrorCode::BadMessage.into()),
        }
    }

    async fn report(&self, socket: &mut WebSocket, problem: Problem) {
        let Problem { code, fatal } = problem;
        self.service.metrics.count_error(code);
        send(socket, Message::Text(encode(&ServerMessage::Error { code, fatal }))).await;
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}

/// What came for a client and is not yet written.
struct Gathered {
    messages: u32,
    /// Until then what may wait does.
    until: Instant,
}

impl Gathered {
    fn new() -> Self {
        Self { messages: 0, until: Instant::now() }
    }

    /// Takes this and what is behind it in the queue: whether all of it may wait. `None`: the socket is gone.
    async fn feed(
        &mut self,
        socket: &mut WebSocket,
        first: Outgoing,
        queue: &mut mpsc::Receiver<Outgoing>,
    ) -> Option<bool> {
        let (mut next, mut may_wait) = (Some(first), true);
        while let Some(outgoing) = next {
            may_wait &= outgoing.may_wait;
            timeout(SEND_TIMEOUT, socket.feed(Message::Text(outgoing.text))).await.ok()?.ok()?;
            self.messages += 1;
            next = queue.try_recv().ok();
        }
        Some(may_wait)
    }

    fn waits(&self) -> bool {
        Instant::now() < self.until
    }

    /// By one write, as far as that goes.
    async fn write(&mut self, socket: &mut WebSocket, service: &Service) -> bool {
        service.metrics.messages_sent.fetch_add(self.messages.into(), Relaxed);
        service.metrics.message_writes.fetch_add(1, Relaxed);
        let wait_ms = SIGNALLING_GATHER_MS.saturating_mul(self.messages).min(SIGNALLING_GATHER_MAX_MS);
        let written = matches!(timeout(SEND_TIMEOUT, socket.flush()).await, Ok(Ok(())));
        *self = Self { messages: 0, until: Instant::now() + Duration::from_millis(wait_ms.into()) };
        written
    }
}

/// A tab that is closed says 1001, a script that is done 1000 or nothing; other codes are a client's own reasons to
/// come back.
fn goodbye(frame: Option<&CloseFrame>) -> End {
    match frame.map(|frame| frame.code) {
        None | Some(close_code::NORMAL | close_code::AWAY | close_code::STATUS) => End::Left,
        Some(_) => End::Lost,
    }
}
