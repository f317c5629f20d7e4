//! One WebSocket: one client, and after its `join` one participant.

mod render;

use crate::admission::door::Claims;
use crate::admission::rates::{Bucket, Prefix, Rate};
use crate::http::caller::Host;
use crate::http::connections::Connection;
use crate::join::{Admission, Place, ReadOffer, Refusal, Request};
use crate::rooms::events::RoomEvent;
use crate::rooms::member::{Presence, capabilities};
use crate::sdp::RemoteOffer;
use crate::service::{Delivery, Queue, Service, SocketPermit};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use futures_util::SinkExt;
use plausch_relay_api::ParticipantId;
use plausch_relay_api::limits::{
    SIGNALLING_BURST_MESSAGES, SIGNALLING_GATHER_MAX_MS, SIGNALLING_GATHER_MS, SIGNALLING_IDLE_MS,
    SIGNALLING_MESSAGES_PER_SECOND, SIGNALLING_PING_MS, SIGNALLING_QUEUE_MESSAGES, SIGNALLING_SILENCE_MS,
};
use plausch_signalling::{Answer, ClientMessage, ErrorCode, MediaState, Offer, ResumeToken, Secret, ServerMessage};
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

/// Why a request failed, as the client is told.
#[derive(Clone, Copy)]
struct Problem {
    code: ErrorCode,
    fatal: bool,
}

impl<E: Into<ErrorCode>> From<E> for Problem {
    fn from(error: E) -> Self {
        let code = error.into();
        let fatal = match code {
            ErrorCode::Version
            | ErrorCode::RoomFull
            | ErrorCode::ServerFull
            | ErrorCode::RateLimited
            | ErrorCode::Replaced
            | ErrorCode::RoomBlocked
            | ErrorCode::RoomClosed
            | ErrorCode::TokenNeeded
            | ErrorCode::Quota
            | ErrorCode::Lobby
            | ErrorCode::Rejected => true,
            ErrorCode::BadMessage
            | ErrorCode::BadRoomName
            | ErrorCode::BadName
            | ErrorCode::BadOffer
            | ErrorCode::NoRelay
            | ErrorCode::PasswordNeeded
            | ErrorCode::PasswordWrong
            | ErrorCode::NotModerator
            | ErrorCode::Unknown => false,
        };
        Self { code, fatal }
    }
}

/// Whom a session speaks for.
enum Speaks {
    /// Nobody yet.
    Nobody,
    /// Somebody in the lobby, with the offer by which they will join.
    Guest { place: Place, offer: Option<Box<ReadOffer>> },
    /// Somebody in a room.
    Member(ParticipantId),
}

struct Session {
    service: Arc<Service>,
    number: u64,
    prefix: Option<Prefix>,
    /// The host by which the client asked for this server.
    host: Option<Host>,
    seat: Seat,
    speaks: Speaks,
    messages: Bucket,
    offers: Bucket,
    /// Moves into the room with a successful join, so that the room alone can end this session by dropping it.
    queue: Option<Queue>,
}

/// A client's `join`, but for its version.
struct Join {
    room: String,
    name: String,
    capabilities: Vec<String>,
    resume: Option<String>,
    offer: Option<Offer>,
    media: MediaState,
    claims: plausch_signalling::Claims,
}

/// Serves a socket until it ends.
pub async fn run(service: Arc<Service>, mut socket: WebSocket, prefix: Option<Prefix>, host: Option<Host>, seat: Seat) {
    let (sender, queue) = mpsc::channel(SIGNALLING_QUEUE_MESSAGES);
    let mut session = Session {
        number: service.next_session(),
        prefix,
        host,
        seat,
        speaks: Speaks::Nobody,
        messages: Bucket::full(MESSAGE_RATE, service.now()),
        offers: Bucket::full(OFFER_RATE, service.now()),
        service,
        queue: Some(sender),
    };
    let end = session.serve(&mut socket, queue).await;
    let participant = match &session.speaks {
        Speaks::Nobody => None,
        Speaks::Guest { place, .. } => Some(place.participant),
        Speaks::Member(participant) => Some(*participant),
    };
    if let Some(participant) = participant {
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
    async fn serve(&mut self, socket: &mut WebSocket, mut queue: mpsc::Receiver<Arc<Delivery>>) -> End {
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
                    if next.event == RoomEvent::Admitted {
                        if let Some(end) = self.admitted(socket).await {
                            return end;
                        }
                        continue;
                    }
                    let Some(fed) = gathered.feed(socket, next, &mut queue).await else { return End::Lost };
                    let waits = fed.may_wait && gathered.waits();
                    if !waits && !gathered.write(socket, &self.service).await {
                        return End::Lost;
                    }
                    if let Some(code) = fed.last {
                        self.service.metrics.count_error(code);
                        return End::Closed(close_code::POLICY);
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
                    if matches!(self.speaks, Speaks::Nobody) && opened.elapsed() > Duration::from_millis(SIGNALLING_IDLE_MS) {
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
                    let sent = say(socket, &ServerMessage::IceServers { ice }).await;
                    return (!sent).then_some(End::Lost);
                }
                Ok(message) => self.handle(socket, message).await,
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

    async fn handle(&mut self, socket: &mut WebSocket, message: ClientMessage) -> Result<(), Problem> {
        match (message, &self.speaks) {
            // Any version: what it would say is said by capabilities.
            (
                ClientMessage::Join { version: _, room, name, capabilities, resume, offer, media, claims },
                Speaks::Nobody,
            ) => {
                let (room, name) = (room.into_revealed(), name.into_revealed());
                let resume = resume.map(ResumeToken::into_revealed);
                let knows_only_first_codes = capabilities.is_empty();
                let join = Join { room, name, capabilities, resume, offer, media, claims };
                match self.join(socket, join).await {
                    // Clients of 0.1 list no capabilities, and do not know these codes.
                    Err(Refusal::Closed(_)) if knows_only_first_codes => Err(ErrorCode::RoomFull.into()),
                    result => Ok(result?),
                }
            }
            (ClientMessage::Offer { offer }, &Speaks::Member(participant)) => {
                if !self.offers.take(OFFER_RATE, self.service.now()) {
                    return Err(ErrorCode::RateLimited.into());
                }
                let offer = self.read_offer(&offer)?;
                if let Some(sdp) = self.service.offer(participant, self.number, &offer).await? {
                    // A socket that is gone shows at the next read.
                    say(socket, &ServerMessage::Answer { answer: Answer { id: offer.id, sdp } }).await;
                }
                Ok(())
            }
            (ClientMessage::Media { media }, &Speaks::Member(participant)) => {
                self.service.media(participant, self.number, render::media(media));
                Ok(())
            }
            (ClientMessage::Admit { participant }, &Speaks::Member(moderator)) => {
                let guest = read_id(&participant)?;
                Ok(self.service.admit_guest(moderator, self.number, guest)?)
            }
            (ClientMessage::Reject { participant }, &Speaks::Member(moderator)) => {
                let guest = read_id(&participant)?;
                Ok(self.service.reject_guest(moderator, self.number, guest)?)
            }
            // A second join, or something before the first.
            _ => Err(ErrorCode::BadMessage.into()),
        }
    }

    async fn join(&mut self, socket: &mut WebSocket, join: Join) -> Result<(), Refusal> {
        let guest = self.service.ticket(self.prefix)?.guest(&join.room, &join.name)?;
        if join.offer.is_none() && join.resume.is_none() {
            return Err(Refusal::BadRequest);
        }
        let offer = join.offer.as_ref().map(|offer| self.read_offer(offer)).transpose()?;
        let claims = join.claims;
        let request = Request {
            guest,
            session: self.number,
            queue: self.queue.clone(),
            presence: Presence::Signalling,
            capabilities: capabilities(&join.capabilities),
            claims: Claims {
                password: claims.password.map(Secret::into_revealed),
                token: claims.token.map(Secret::into_revealed),
                moderator: claims.moderator.map(Secret::into_revealed),
            },
            media: render::media(join.media),
            resume: join.resume,
        };
        match self.service.admit(request).await? {
            Admission::Enter(place) => self.enter(socket, place, offer).await,
            Admission::Wait(place) => {
                let participant = place.participant.to_string();
                self.speaks = Speaks::Guest { place, offer: offer.map(Box::new) };
                say(socket, &ServerMessage::Waiting { participant }).await;
                Ok(())
            }
        }
    }

    /// A moderator let in who waited. `Some` when that was the end.
    async fn admitted(&mut self, socket: &mut WebSocket) -> Option<End> {
        let Speaks::Guest { place, offer } = std::mem::replace(&mut self.speaks, Speaks::Nobody) else { return None };
        let problem: Problem = self.enter(socket, place, offer.map(|offer| *offer)).await.err()?.into();
        self.report(socket, problem).await;
        problem.fatal.then_some(End::Closed(close_code::POLICY))
    }

    async fn enter(&mut self, socket: &mut WebSocket, place: Place, offer: Option<ReadOffer>) -> Result<(), Refusal> {
        let arrival = self.service.complete(place, offer.as_ref(), self.host.as_ref()).await?;
        self.speaks = Speaks::Member(arrival.participant);
        self.seat.connection.joined();
        self.seat.permit.place.settle();
        self.queue = None;
        let resume = self.service.secret.token(&arrival.key, arrival.participant).into();
        say(socket, &render::welcome(arrival, resume, offer.map(|offer| offer.id))).await;
        Ok(())
    }

    fn read_offer(&self, offer: &Offer) -> Result<ReadOffer, Refusal> {
        if offer.connection == 0 {
            return Err(Refusal::BadOffer);
        }
        match RemoteOffer::read(offer, &self.service.config.codecs) {
            Ok(remote) => Ok(ReadOffer { id: offer.id, connection: offer.connection, remote }),
            Err(error) => {
                tracing::debug!("an offer was refused: {}", error.reason());
                Err(Refusal::BadOffer)
            }
        }
    }

    async fn report(&self, socket: &mut WebSocket, problem: Problem) {
        let Problem { code, fatal } = problem;
        self.service.metrics.count_error(code);
        say(socket, &ServerMessage::Error { code, fatal }).await;
    }
}

/// Writes a message at once. `false` when the socket is gone.
async fn say(socket: &mut WebSocket, message: &ServerMessage) -> bool {
    match Utf8Bytes::try_from(encode(message)) {
        Ok(text) => send(socket, Message::Text(text)).await,
        Err(_) => true,
    }
}

/// A message as JSON. Our own types always serialise.
fn encode(message: &ServerMessage) -> Bytes {
    serde_json::to_vec(message).unwrap_or_default().into()
}

/// An id as messages write it.
fn read_id(text: &str) -> Result<ParticipantId, Problem> {
    let id = u64::from_str_radix(text, 16).map_err(|_| ErrorCode::BadMessage)?;
    Ok(ParticipantId(id))
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}

/// What was taken from a queue.
struct Fed {
    /// All of it may wait.
    may_wait: bool,
    /// The last of it ends the session, for this reason.
    last: Option<ErrorCode>,
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

    /// Takes this and what is behind it in the queue. `None`: the socket is gone.
    async fn feed(
        &mut self,
        socket: &mut WebSocket,
        first: Arc<Delivery>,
        queue: &mut mpsc::Receiver<Arc<Delivery>>,
    ) -> Option<Fed> {
        let mut fed = Fed { may_wait: true, last: None };
        let mut next = Some(first);
        while let Some(delivery) = next {
            fed.may_wait &= render::may_wait(&delivery.event);
            let json =
                delivery.rendered(|event| render::message(event).map(|message| encode(&message)).unwrap_or_default());
            if let Some(text) = Utf8Bytes::try_from(json).ok().filter(|text| !text.is_empty()) {
                timeout(SEND_TIMEOUT, socket.feed(Message::Text(text))).await.ok()?.ok()?;
                self.messages += 1;
            }
            if delivery.event.is_last()
                && let Some(ServerMessage::Error { code, .. }) = render::message(&delivery.event)
            {
                fed.last = Some(code);
                break;
            }
            next = queue.try_recv().ok();
        }
        Some(fed)
    }

    fn waits(&self) -> bool {
        Instant::now() < self.until
    }

    /// Writes all of it at once, as far as that goes.
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
