//! The controlling side of ICE (RFC 8445) towards a lite agent on one or a few host addresses, without IO:
//! checks on every candidate, nomination of the first that answers, then consent checks (RFC 7675).

use super::random;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_ERROR_CODE, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS,
    AttrType, RawAttribute,
};
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;

/// Between two checks of one candidate until one has answered. RFC 8445 paces at 50 ms (Ta).
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two consent checks. RFC 7675, section 5.1, recommends 5 s, randomised; 4 s is its lower end.
const CONSENT_INTERVAL: Duration = Duration::from_secs(4);
/// RFC 7675, section 5.1.
const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);
/// An unanswered check is repeated no faster than this, and forgotten after `CONSENT_TIMEOUT`.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Checks in flight that are remembered.
const CHECKS: usize = 64;
/// Priority of a peer-reflexive candidate with local preference 65535, component 1 (RFC 8445, section 5.1.2.1).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// A user fragment and its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl Credentials {
    /// New random ones: 48 and 144 bits (RFC 8445, section 5.3 asks for 24 and 128).
    pub(crate) fn random() -> Self {
        Self { ufrag: random::ice_string::<8>(), pwd: random::ice_string::<24>() }
    }
}

/// What came of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IceEvent {
    /// Nothing to do.
    None,
    /// A candidate pair is nominated: DTLS and media go here from now on.
    Selected(SocketAddr),
    /// Send this back: the answer to a request of the peer.
    Reply(Vec<u8>),
}

#[derive(Clone, Copy)]
struct Check {
    candidate: SocketAddr,
    nominating: bool,
    sent: Instant,
}

/// The agent of one connection.
pub(crate) struct Agent {
    local: Credentials,
    remote: Credentials,
    candidates: Vec<SocketAddr>,
    tie_breaker: u64,
    checks: HashMap<[u8; 12], Check>,
    /// The first candidate that answered.
    valid: Option<SocketAddr>,
    selected: Option<SocketAddr>,
    /// A nominating check was answered since the start, the last restart or change of address.
    nominated: bool,
    next_check: Instant,
    last_answer: Instant,
    started: Instant,
    /// Answers that were wrong: bad integrity, unknown transaction, error responses.
    pub(crate) refused: u64,
}

impl Agent {
    pub(crate) fn new(local: Credentials, remote: Credentials, candidates: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            local,
            remote,
            candidates,
            tie_breaker: random::u64(),
            checks: HashMap::new(),
            valid: None,
            selected: None,
            nominated: false,
            next_check: now,
            last_answer: now,
            started: now,
            refused: 0,
        }
    }

    /// Starts over with new credentials (ICE restart). What was selected stays in use until something new is.
    pub(crate) fn restart(&mut self, local: Credentials, remote: Credentials, now: Instant) {
        let selected = self.selected;
        *self = Self { selected, ..Self::new(local, remote, std::mem::take(&mut self.candidates), now) };
    }

    /// Checks all candidates anew, from a new local address.
    pub(crate) fn address_changed(&mut self, now: Instant) {
        self.valid = None;
        self.nominated = false;
        self.checks.clear();
        self.next_check = now;
        self.started = now;
    }

    /// Where DTLS and media go.
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// The peer has not answered for too long.
    pub(crate) fn consent_expired(&self, now: Instant) -> bool {
        now.duration_since(self.last_answer) >= CONSENT_TIMEOUT
    }

    /// When `poll` has something to send.
    pub(crate) fn next_check(&self) -> Instant {
        self.next_check
    }

    /// The checks that are due.
    pub(crate) fn poll(&mut self, now: Instant, mut send: impl FnMut(SocketAddr, &[u8])) {
        if now < self.next_check {
            return;
        }
        let targets = match self.valid {
            Some(valid) => vec![valid],
            None => self.candidates.clone(),
        };
        for candidate in targets {
            // A nominated pair goes on being nominated: should the lite side forget the selection, it comes back.
            let nominating = self.valid.is_some();
            if let Some(request) = self.request(candidate, nominating, now) {
                send(candidate, &request);
            }
        }
        self.next_check = now
            + if self.nominated && now.duration_since(self.last_answer) < 2 * CONSENT_INTERVAL {
                CONSENT_INTERVAL
            } else if now.duration_since(self.started) < Duration::from_secs(2) {
                CHECK_INTERVAL
            } else {
                RETRY_INTERVAL
            };
    }

    fn request(&mut self, candidate: SocketAddr, nominating: bool, now: Instant) -> Option<Vec<u8>> {
        if self.checks.len() >= CHECKS {
            self.checks.retain(|_, check| now.duration_since(check.sent) < RETRY_INTERVAL);
        }
        let id = TransactionId(random::bytes());
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let mut setters: Vec<Box<dyn Setter>> = vec![
            Box::new(id),
            Box::new(BINDING_REQUEST),
            Box::new(TextAttribute::new(ATTR_USERNAME, username)),
            Box::new(raw(ATTR_PRIORITY, &PRIORITY.to_be_bytes())),
            Box::new(raw(ATTR_ICE_CONTROLLING, &self.tie_breaker.to_be_bytes())),
        ];
        if nominating {
            setters.push(Box::new(raw(ATTR_USE_CANDIDATE, &[])));
        }
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity(self.remote.pwd.clone())));
        setters.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&setters).ok()?;
        self.checks.insert(id.0, Check { candidate, nominating, sent: now });
        Some(message.raw)
    }

    /// Takes a STUN datagram.
    pub(crate) fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> IceEvent {
        let mut message = Message::new();
        if message.unmarshal_binary(datagram).is_err() || FINGERPRINT.check(&message).is_err() {
            self.refused += 1;
            return IceEvent::None;
        }
        match message.typ {
            BINDING_SUCCESS => self.handle_success(now, from, &mut message),
            BINDING_REQUEST => self.handle_request(from, &mut message),
            _ => {
                self.refused += 1;
                if message.typ == BINDING_ERROR {
                    tracing::debug!(code = error_code(&message), "an ICE check was refused");
                }
                IceEvent::None
            }
        }
    }

    fn handle_success(&mut self, now: Instant, from: SocketAddr, message: &mut Message) -> IceEvent {
        let authentic = MessageIntegrity::new_short_term_integrity(self.remote.pwd.clone()).check(message).is_ok();
        let has_address = message.contains(ATTR_XORMAPPED_ADDRESS);
        let known = authentic.then(|| self.checks.remove(&message.transaction_id.0)).flatten();
        // The answer must come from where the check went (RFC 8445, section 7.2.5.2.1).
        let Some(check) = known.filter(|check| check.candidate == from && has_address) else {
            self.refused += 1;
            return IceEvent::None;
        };
        self.last_answer = now;
        if self.valid.is_none() {
            self.valid = Some(from);
            self.next_check = now;
        }
        if !check.nominating || self.valid != Some(from) {
            return IceEvent::None;
        }
        if !self.nominated {
            self.nominated = true;
            self.next_check = now + CONSENT_INTERVAL;
        }
        if self.selected == Some(from) {
            return IceEvent::None;
        }
        self.selected = Some(from);
        IceEvent::Selected(from)
    }

    /// A full agent checks us, too; a lite one never does.
    fn handle_request(&mut self, from: SocketAddr, message: &mut Message) -> IceEvent {
        if MessageIntegrity::new_short_term_integrity(self.local.pwd.clone()).check(message).is_err() {
            self.refused += 1;
            return IceEvent::None;
        }
        let mut reply = Message::new();
        let setters: Vec<Box<dyn Setter>> = vec![
            Box::new(message.transaction_id),
            Box::new(BINDING_SUCCESS),
            Box::new(XorMappedAddress { ip: from.ip(), port: from.port() }),
            Box::new(MessageIntegrity::new_short_term_integrity(self.local.pwd.clone())),
            Box::new(FINGERPRINT),
        ];
        match reply.build(&setters) {
            Ok(()) => IceEvent::Reply(reply.raw),
            Err(_) => IceEvent::None,
        }
    }
}

/// The code of an error response, 0 without one.
fn error_code(message: &Message) -> u16 {
    let mut attribute = ErrorCodeAttribute::default();
    match message.contains(ATTR_ERROR_CODE) && attribute.get_from(message).is_ok() {
        true => attribute.code.0,
        false => 0,
    }
}

fn raw(typ: AttrType, value: &[u8]) -> RawAttribute {
    RawAttribute { typ, length: value.len() as u16, value: value.to_vec() }
}
