//! One client of a TURN server: it asks for an allocation, permissions and channels, one request after another.

use super::datagrams::{Datagrams, wait_readable};
use super::error::TurnError;
use super::leg::{Leg, Transport};
use super::message::{Answer, Request, Session, parse_response, relayed_address};
use super::user::User;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stun::error_code::{CODE_STALE_NONCE, CODE_UNAUTHORIZED};
use stun::message::Message;

/// The first wait for an answer over UDP; each further one is twice as long (RFC 8489 section 6.2.1).
const RETRANSMIT_AFTER: Duration = Duration::from_millis(500);
/// A request counts as lost after this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// An allocation and the way to it.
pub struct Allocation {
    pub leg: Leg,
    pub session: Session,
    pub relayed: SocketAddr,
    /// From nothing to the allocation, with connection and TLS handshake if there are any.
    pub took: Duration,
    server: SocketAddr,
}

impl Allocation {
    /// Makes one whose relayed address has the family of `local` or else of the server.
    pub fn make(
        transport: Transport,
        server: SocketAddr,
        local: Option<SocketAddr>,
        user: &User,
        datagrams: &mut Datagrams,
    ) -> Result<Self, TurnError> {
        let begin = Instant::now();
        let mut leg = Leg::connect(transport, server, local)?;
        let request = Request::Allocate { ipv6: server.is_ipv6() };
        let broken = |what| TurnError::Broken { server, during: request.name(), what };
        let mut exchange = Exchange { leg: &mut leg, server, transport, datagrams };
        // Unsigned at first, only to be asked for credentials.
        let challenge = match exchange.ask(request, None)? {
            (response, Answer::Error { code, .. }) if code == CODE_UNAUTHORIZED.0 => response,
            (_, Answer::Error { code, reason }) => {
                return Err(TurnError::Refused {
                    server,
                    during: request.name(),
                    user: user.name().to_owned(),
                    code,
                    reason,
                });
            }
            (_, Answer::Success) => return Err(broken("asking for credentials")),
        };
        let mut session = Session::challenged(user, &challenge).ok_or_else(|| broken("REALM or NONCE"))?;
        let response = exchange.ask_signed(request, &mut session)?;
        let relayed = relayed_address(&response).ok_or_else(|| broken("XOR-RELAYED-ADDRESS"))?;
        Ok(Self { leg, session, relayed, took: begin.elapsed(), server })
    }

    /// Asks for one more thing.
    pub fn ask(&mut self, transport: Transport, request: Request, datagrams: &mut Datagrams) -> Result<(), TurnError> {
        let mut exchange = Exchange { leg: &mut self.leg, server: self.server, transport, datagrams };
        exchange.ask_signed(request, &mut self.session).map(|_| ())
    }

    /// Gives it back without waiting for the answer.
    pub fn release(&mut self) {
        if let Ok(message) = (Request::Refresh { seconds: 0 }).message(Some(&self.session)) {
            // The server forgets it by itself if this is lost.
            let _ = self.leg.send(&message.raw);
        }
    }
}

/// Requests and their responses on one leg.
struct Exchange<'a> {
    leg: &'a mut Leg,
    server: SocketAddr,
    transport: Transport,
    datagrams: &'a mut Datagrams,
}

impl Exchange<'_> {
    /// Signed, once more with a new nonce if the old one is stale; the response is checked to be signed, too.
    fn ask_signed(&mut self, request: Request, session: &mut Session) -> Result<Message, TurnError> {
        let server = self.server;
        let mut answered = self.ask(request, Some(session))?;
        if let (response, Answer::Error { code, .. }) = &answered
            && *code == CODE_STALE_NONCE.0
        {
            session.renew(response);
            answered = self.ask(request, Some(session))?;
        }
        match answered {
            (response, Answer::Success) if session.is_authentic(&response) => Ok(response),
            (_, Answer::Success) => {
                Err(TurnError::Broken { server, during: request.name(), what: "a valid MESSAGE-INTEGRITY" })
            }
            (_, Answer::Error { code, reason }) => {
                let user = session.user.name().to_owned();
                Err(TurnError::Refused { server, during: request.name(), user, code, reason })
            }
        }
    }

    fn ask(&mut self, request: Request, session: Option<&Session>) -> Result<(Message, Answer), TurnError> {
        let (server, transport) = (self.server, self.transport);
        let unreachable = |cause: String| TurnError::Unreachable { server, transport, cause };
        let message = request.message(session).map_err(|error| unreachable(error.to_string()))?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut wait = RETRANSMIT_AFTER;
        let mut send_at = Instant::now();
        let mut answer = None;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(TurnError::Silent { server, during: request.name(), within: ANSWER_WITHIN });
            }
            if now >= send_at {
                match self.leg.send(&message.raw) {
                    Ok(()) => {}
                    // A full way; the next attempt is soon.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(unreachable(error.to_string())),
                }
                send_at = if self.leg.is_udp() { now + wait } else { deadline };
                wait *= 2;
            }
            let until = send_at.min(deadline).saturating_duration_since(now);
            if !wait_readable(self.leg.fd(), until).map_err(|error| unreachable(error.to_string()))? {
                continue;
            }
            let received = self.leg.receive(self.datagrams, |frame, _| {
                if let Some((response, outcome)) = parse_response(frame)
                    && response.transaction_id == message.transaction_id
                {
                    answer = Some((response, outcome));
                }
            });
            if let Some(answer) = answer {
                return Ok(answer);
            }
            received.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => unreachable("it closed the connection".to_owned()),
                _ => unreachable(error.to_string()),
            })?;
        }
    }
}
