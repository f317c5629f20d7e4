//! Who may use TURN: long-term credentials (RFC 8489, section 9.2) of users who are in the configuration, and of users who
//! are in nobody's memory, because their names say until when they are valid and their passwords are signatures of them.

use super::config::TurnConfig;
use super::nonce::{Features, NONCE_LEN, Nonces};
use super::policy::Scope;
use crate::batch::Path;
use crate::peers::HashKeys;
use crate::random::Random;
use crate::stun::{AttributeType, HEADER_LEN, IntegrityCheck, IntegrityKey, IntegrityKind, Message, MessageWriter};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use plausch_relay_api::TurnSettings;
use plausch_relay_api::limits::{TURN_SECRETS, TURN_USER_BYTES};
use std::collections::HashMap;
use std::net::SocketAddr;

/// RFC 8489, section 18.5: the best first, each without parameters.
const PASSWORD_ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
/// Base64 of an HMAC-SHA1.
const DERIVED_PASSWORD_LEN: usize = 28;

/// With which hash a password becomes a key (RFC 8489, section 18.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    /// Nothing is safe because of it; clients before RFC 8489 know no other.
    Md5,
    Sha256,
}

/// The key of a user (RFC 8489, section 9.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LongTermKey {
    bytes: [u8; 32],
    algorithm: Algorithm,
}

impl LongTermKey {
    fn new(algorithm: Algorithm, name: &[u8], realm: &[u8], password: &[u8]) -> Self {
        let parts = [name, b":", realm, b":", password];
        let mut bytes = [0; 32];
        match algorithm {
            Algorithm::Md5 => {
                let mut hash = Md5::new();
                parts.iter().for_each(|part| hash.update(part));
                let (place, _) = bytes.split_at_mut(16);
                place.copy_from_slice(&hash.finalize());
            }
            Algorithm::Sha256 => {
                let mut hash = digest::Context::new(&digest::SHA256);
                parts.iter().for_each(|part| hash.update(part));
                bytes.copy_from_slice(hash.finish().as_ref());
            }
        }
        Self { bytes, algorithm }
    }

    pub(super) fn integrity(&self, kind: IntegrityKind) -> IntegrityKey {
        let len = match self.algorithm {
            Algorithm::Md5 => 16,
            Algorithm::Sha256 => 32,
        };
        IntegrityKey::new(kind, self.bytes.get(..len).unwrap_or(&[]))
    }
}

/// Names a user, without the name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct UserId([u8; 16]);

/// A user who has proved to know the password.
pub(super) struct User {
    pub id: UserId,
    pub scope: Scope,
    pub key: LongTermKey,
    /// For what we answer.
    pub integrity: IntegrityKey,
}

/// Of an allocation: what its requests must show again.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub id: UserId,
    pub scope: Scope,
    pub key: LongTermKey,
}

/// Why a request is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AuthError {
    /// 401, and nothing wrong: it is the first request.
    Unauthenticated,
    /// 401.
    WrongCredentials,
    /// 400.
    BadRequest,
    /// 438.
    StaleNonce,
    /// No answer: see [`Credentials::authenticate`].
    TooMany,
}

struct StaticUser {
    name: Box<[u8]>,
    keys: [LongTermKey; 2],
}

/// See the module.
pub(super) struct Credentials {
    realm: Box<[u8]>,
    nonces: Nonces,
    ids: hmac::Key,
    users: Vec<StaticUser>,
    by_name: HashMap<Box<[u8]>, usize, HashKeys>,
    /// USERHASH (RFC 8489, section 14.4).
    by_hash: HashMap<[u8; 32], usize, HashKeys>,
    /// Of other programs.
    shared: Vec<hmac::Key>,
    /// Control's.
    secrets: Vec<hmac::Key>,
}

impl Credentials {
    pub(super) fn new(config: &TurnConfig, random: &mut Random) -> Self {
        let realm = config.realm.as_bytes();
        let keys = HashKeys::new(random);
        let mut by_name = HashMap::with_hasher(keys.clone());
        let mut by_hash = HashMap::with_hasher(keys);
        let mut users = Vec::new();
        for user in &config.users {
            let (name, password) = (user.name.as_bytes(), user.password.as_bytes());
            by_name.insert(name.into(), users.len());
            by_hash.insert(user_hash(name, realm), users.len());
            let keys = [Algorithm::Md5, Algorithm::Sha256].map(|it| LongTermKey::new(it, name, realm, password));
            users.push(StaticUser { name: name.into(), keys });
        }
        let id_key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &config.nonce_key), b"user ids");
        Self {
            realm: realm.into(),
            nonces: Nonces::new(&config.nonce_key),
            ids: hmac::Key::new(hmac::HMAC_SHA256, id_key.as_ref()),
            users,
            by_name,
            by_hash,
            shared: config.shared_secrets.iter().map(|secret| sha1_key(secret.reveal())).collect(),
            secrets: Vec::new(),
        }
    }

    /// Control has other secrets.
    pub(super) fn set(&mut self, settings: &TurnSettings) {
        self.secrets = settings.secrets.iter().take(TURN_SECRETS).map(|secret| sha1_key(secret.reveal())).collect();
    }

    /// What a client needs to authenticate itself (RFC 8489, section 9.2.4).
    pub(super) fn challenge(&self, writer: &mut MessageWriter<'_>, client: Path, unix_seconds: u64) {
        // Names that are in nobody's memory cannot be found by their hash: clients must not hide them.
        let remembered = self.secrets.is_empty() && self.shared.is_empty();
        let features = if remembered { Features::WITH_USERNAME_ANONYMITY } else { Features::PASSWORD_ALGORITHMS };
        writer
            .attribute(AttributeType::REALM, &self.realm)
            .attribute(AttributeType::NONCE, &self.nonces.make(nonce_address(client), features, unix_seconds))
            .attribute(AttributeType::PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS);
    }

    /// Bytes of an answer with it and an error's code.
    pub(super) fn challenge_len(&self) -> usize {
        let attribute = |len: usize| 4 + len.next_multiple_of(4);
        HEADER_LEN
            + attribute(4)
            + attribute(self.realm.len())
            + attribute(NONCE_LEN)
            + attribute(PASSWORD_ALGORITHMS.len())
    }

    /// Finds out who sent a request. `owner` is whose allocation there is on its path: secrets change and names
    /// expire, while what was granted goes on. To find out whether a name is somebody's takes a few hashes for each
    /// secret: not without `may_search`.
    pub(super) fn authenticate(
        &self,
        message: &Message<'_>,
        client: Path,
        owner: Option<&Owner>,
        unix_seconds: u64,
        may_search: bool,
    ) -> Result<User, AuthError> {
        let kind = message.integrity_kind().ok_or(AuthError::Unauthenticated)?;
        let attribute = |kind| message.attribute(kind);
        let (name, hash) = (message.username(), attribute(AttributeType::USERHASH));
        let (Some(realm), Some(nonce)) = (attribute(AttributeType::REALM), attribute(AttributeType::NONCE)) else {
            return Err(AuthError::BadRequest);
        };
        if name.is_none() && hash.is_none() {
            return Err(AuthError::BadRequest);
        }
        // The RFC looks at the nonce last. Ours is bound to the address, so that nobody can have us compute the keys
        // of forged requests.
        if !self.nonces.is_valid(nonce, nonce_address(client), unix_seconds) {
            return Err(AuthError::StaleNonce);
        }
        let (algorithm, told) = algorithm(message)?;
        let name = match (name, hash) {
            (Some(name), _) => name,
            (None, hash) => self.name_of(hash).ok_or(AuthError::WrongCredentials)?,
        };
        if realm != &*self.realm || name.len() > TURN_USER_BYTES {
            return Err(AuthError::WrongCredentials);
        }
        // RFC 8489, section 9.2.4: who names an algorithm is answered with SHA-256.
        let answer_kind = if told { IntegrityKind::Sha256 } else { kind };
        let id = self.id_of(name);
        let user = |scope, key: LongTermKey| {
            let valid = message.check_integrity(&key.integrity(kind)) == IntegrityCheck::Valid;
            valid.then(|| User { id, scope, key, integrity: key.integrity(answer_kind) })
        };
        let known = owner.filter(|owner| owner.id == id && owner.key.algorithm == algorithm);
        if let Some(found) = known.and_then(|owner| user(owner.scope, owner.key)) {
            return Ok(found);
        }
        if !may_search {
            return Err(AuthError::TooMany);
        }
        if let Some(found) = self.by_name.get(name).and_then(|&place| self.users.get(place)) {
            let key = found.keys.iter().find(|key| key.algorithm == algorithm);
            return key.and_then(|&key| user(Scope::Peers, key)).ok_or(AuthError::WrongCredentials);
        }
        let expiry =
            Expiry::read(name).filter(|expiry| expiry.at >= unix_seconds).ok_or(AuthError::WrongCredentials)?;
        let secrets = self.secrets.iter().filter(|_| expiry.names_shard).map(|secret| (Scope::Media, secret));
        let mut secrets = secrets.chain(self.shared.iter().map(|secret| (Scope::Peers, secret)));
        let found = secrets.find_map(|(scope, secret)| {
            let password = derived_password(secret, name);
            user(scope, LongTermKey::new(algorithm, name, &self.realm, &password))
        });
        found.ok_or(AuthError::WrongCredentials)
    }

    fn name_of(&self, hash: Option<&[u8]>) -> Option<&[u8]> {
        let place = *self.by_hash.get(hash?.as_array::<32>()?)?;
        self.users.get(place).map(|user| &*user.name)
    }

    fn id_of(&self, name: &[u8]) -> UserId {
        let tag = hmac::sign(&self.ids, name);
        UserId(tag.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Eight bytes that nobody can guess who has not seen them, for a number that does not come twice.
    pub(super) fn token(&self, number: u64) -> [u8; 8] {
        let mut context = hmac::Context::with_key(&self.ids);
        context.update(b"token");
        context.update(&number.to_be_bytes());
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// Whom a nonce is for. Who has a TCP connection is where it says, and the nonce is for all connections from there: clients
/// bind a connection (RFC 6062) with the nonce of another one, and some of them take no for an answer.
fn nonce_address(client: Path) -> SocketAddr {
    let port = if client.local.is_edge() { 0 } else { client.remote.port() };
    SocketAddr::new(client.remote.ip(), port)
}

/// The algorithm of a request, and whether it named that. Every nonce of ours says that we know algorithms, so a list
/// that is not ours was changed on its way. Subsequent requests may be without the list (RFC 8489, section 9.2.3.2).
fn algorithm(message: &Message<'_>) -> Result<(Algorithm, bool), AuthError> {
    let list = message.attribute(AttributeType::PASSWORD_ALGORITHMS);
    let chosen = message.attribute(AttributeType::PASSWORD_ALGORITHM);
    match (list, chosen) {
        (None, None) => Ok((Algorithm::Md5, false)),
        (list, Some(chosen)) if list.is_none_or(|list| list == PASSWORD_ALGORITHMS) => match chosen {
            [0, 1, 0, 0] => Ok((Algorithm::Md5, true)),
            [0, 2, 0, 0] => Ok((Algorithm::Sha256, true)),
            _ => Err(AuthError::BadRequest),
        },
        _ => Err(AuthError::BadRequest),
    }
}

/// What a time-limited user's name says.
struct Expiry {
    /// Unix seconds.
    at: u64,
    /// `expiry:shard:anything`, as control makes them.
    names_shard: bool,
}

impl Expiry {
    fn read(name: &[u8]) -> Option<Self> {
        let mut parts = name.splitn(3, |&byte| byte == b':');
        let at = number(parts.next()?)?;
        let names_shard = parts.next().and_then(number).is_some() && parts.next().is_some();
        Some(Self { at, names_shard })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn sha1_key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret)
}

fn derived_password(secret: &hmac::Key, name: &[u8]) -> [u8; DERIVED_PASSWORD_LEN] {
    let mut password = [0; DERIVED_PASSWORD_LEN];
    let _ = STANDARD.encode_slice(hmac::sign(secret, name), &mut password);
    password
}

fn user_hash(name: &[u8], realm: &[u8]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    [name, b":", realm].iter().for_each(|part| hash.update(part));
    hash.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
