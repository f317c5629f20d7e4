//! The vectors of RFC 5769 and RFC 8489, and who gets in.

use super::super::config::{StaticUser, TurnLimits};
use super::*;
use crate::batch::LocalSocket;
use crate::stun::{Class, Method, TransactionId};
use plausch_relay_api::TurnSecret;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// RFC 5769, section 2.4.
const LONG_TERM_REQUEST: &str = "00010060 2112a442 78ad3433 c6ad72c0 29da412e
    00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700 00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";
/// RFC 8489, appendix B.1, with erratum 6268.
const SHA256_REQUEST: &str = "00010090 2112a442 78ad3433 c6ad72c0 29da412e
    001e0020 4a3cf38f ef6992bd a952c678 0417da0f 24819415 569e60b2 05c46e41 407f1704
    00150029 6f624d61 744a6f73 32414141 43662f2f 3439396b 39353464 364f4c33 346f4c39 46535476 79363473 41000000
    0014000b 6578616d 706c652e 6f726700 001d0004 00020000
    001c0020 b5c7bf00 5b6c52a2 1c51c5e8 92f81924 136296cb 927c4314 9309278c c6518e65";
const NAME: &str = "マトリックス";
const REALM: &[u8] = b"example.org";
/// As SASLprep and OpaqueString leave it.
const PASSWORD: &[u8] = b"TheMatrIX";

#[test]
fn rfc_5769_long_term_request() {
    let bytes = unhex(LONG_TERM_REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.username(), Some(NAME.as_bytes()));
    assert_eq!(message.attribute(AttributeType::REALM), Some(REALM));
    assert_eq!(message.attribute(AttributeType::NONCE), Some(b"f//499k954d6OL34oL9FSTvy64sA".as_slice()));
    assert_eq!(message.integrity_kind(), Some(IntegrityKind::Sha1));
    let check = |password| {
        let key = LongTermKey::new(Algorithm::Md5, NAME.as_bytes(), REALM, password);
        message.check_integrity(&key.integrity(IntegrityKind::Sha1))
    };
    assert_eq!(check(PASSWORD), IntegrityCheck::Valid);
    assert_eq!(check(b"TheMatrix"), IntegrityCheck::Wrong);
}

#[test]
fn rfc_8489_request_with_sha_256_and_user_hash() {
    let bytes = unhex(SHA256_REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.attribute(AttributeType::USERHASH), Some(user_hash(NAME.as_bytes(), REALM).as_slice()));
    assert_eq!(message.integrity_kind(), Some(IntegrityKind::Sha256));
    assert_eq!(algorithm(&message), Ok((Algorithm::Sha256, true)));
    let check = |algorithm| {
        let key = LongTermKey::new(algorithm, NAME.as_bytes(), REALM, PASSWORD);
        message.check_integrity(&key.integrity(IntegrityKind::Sha256))
    };
    assert_eq!(check(Algorithm::Sha256), IntegrityCheck::Valid);
    assert_eq!(check(Algorithm::Md5), IntegrityCheck::Wrong);
    // What it is signed with is what we sign with.
    let mut buffer = [0; 200];
    let mut writer = MessageWriter::new(&mut buffer, message.class, message.method, message.transaction_id);
    for attribute in message.attributes().filter(|it| it.kind != AttributeType::MESSAGE_INTEGRITY_SHA256) {
        writer.attribute(attribute.kind, attribute.value);
    }
    let key = LongTermKey::new(Algorithm::Sha256, NAME.as_bytes(), REALM, PASSWORD);
    let len = writer.integrity(&key.integrity(IntegrityKind::Sha256)).finish().unwrap();
    assert_eq!(buffer[..len], bytes);
}

/// RFC 8489, section 9.2.2.
#[test]
fn rfc_8489_key() {
    let key = LongTermKey::new(Algorithm::Md5, b"user", b"realm", b"pass");
    assert_eq!(key.bytes[..16], unhex("8493fbc53ba582fb4c044c456bdc40eb"));
}

const NOW: u64 = 1_795_500_000;

fn config() -> TurnConfig {
    TurnConfig {
        realm: "plausch".into(),
        nonce_key: [7; 32],
        unix_seconds: NOW,
        users: vec![StaticUser { name: "talk".into(), password: "a password".into() }],
        shared_secrets: vec![TurnSecret::new("of another program")],
        media: vec![],
        host_addresses: vec![],
        allow_peers: vec![],
        relay: vec![],
        relay_ports: 49152..=65535,
        neighbours: vec![],
        nat_discovery: None,
        tcp: None,
        limits: TurnLimits::default(),
    }
}

fn client() -> Path {
    Path { local: LocalSocket(0), remote: ([192, 0, 2, 7], 5_000).into() }
}

struct Login {
    name: Vec<u8>,
    password: Vec<u8>,
    hidden: bool,
    list: Option<Vec<u8>>,
    algorithm: Option<u8>,
    kinds: Vec<IntegrityKind>,
}

impl Login {
    fn legacy(name: &str, password: &[u8]) -> Self {
        let (name, password) = (name.into(), password.into());
        Self { name, password, hidden: false, list: None, algorithm: None, kinds: vec![IntegrityKind::Sha1] }
    }

    fn modern(name: &str, password: &[u8]) -> Self {
        let kinds = vec![IntegrityKind::Sha256];
        Self { list: Some(PASSWORD_ALGORITHMS.to_vec()), algorithm: Some(2), kinds, ..Self::legacy(name, password) }
    }

    fn derived(secret: &[u8], name: &str) -> Self {
        Self::legacy(name, &derived_password(&sha1_key(secret), name.as_bytes()))
    }

    fn request(&self, nonce: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 2_000];
        let id = TransactionId([3; 12]);
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
        match self.hidden {
            true => writer.attribute(AttributeType::USERHASH, &user_hash(&self.name, b"plausch")),
            false => writer.username(&self.name),
        };
        writer.attribute(AttributeType::REALM, b"plausch").attribute(AttributeType::NONCE, nonce);
        if let Some(list) = &self.list {
            writer.attribute(AttributeType::PASSWORD_ALGORITHMS, list);
        }
        if let Some(number) = self.algorithm {
            writer.attribute(AttributeType::PASSWORD_ALGORITHM, &[0, number, 0, 0]);
        }
        let algorithm = if self.algorithm == Some(2) { Algorithm::Sha256 } else { Algorithm::Md5 };
        let key = LongTermKey::new(algorithm, &self.name, b"plausch", &self.password);
        for &kind in &self.kinds {
            writer.integrity(&key.integrity(kind));
        }
        let len = writer.finish().unwrap();
        buffer.truncate(len);
        buffer
    }

    fn try_at(&self, credentials: &Credentials, at: u64) -> Result<User, AuthError> {
        let nonce = credentials.nonces.make(client().remote, Features::PASSWORD_ALGORITHMS, at);
        credentials.authenticate(&Message::parse(&self.request(&nonce)).unwrap(), client(), None, at, true)
    }
}

fn credentials() -> Credentials {
    let mut credentials = Credentials::new(&config(), &mut Random::new(5));
    let secrets = ["new", "old", "third"].map(TurnSecret::new).to_vec();
    credentials.set(&TurnSettings { secrets, ..TurnSettings::default() });
    credentials
}

#[test]
fn static_users_get_in_by_every_way_that_the_rfcs_know() {
    let credentials = credentials();
    let ways = [
        Login::legacy("talk", b"a password"),
        Login::modern("talk", b"a password"),
        Login { hidden: true, ..Login::modern("talk", b"a password") },
        Login { algorithm: Some(1), ..Login::modern("talk", b"a password") },
        Login { list: None, ..Login::modern("talk", b"a password") },
        Login { kinds: vec![IntegrityKind::Sha1, IntegrityKind::Sha256], ..Login::legacy("talk", b"a password") },
    ];
    let mut ids = Vec::new();
    for (way, sha256) in ways.iter().zip([false, true, true, true, true, true]) {
        let user = way.try_at(&credentials, NOW).ok().unwrap();
        assert_eq!(user.scope, Scope::Peers);
        assert_eq!(user.integrity.kind() == IntegrityKind::Sha256, sha256);
        ids.push(user.id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "it is one user");
    for wrong in
        [Login::legacy("talk", b"a passwort"), Login::modern("talk", b""), Login::modern("talc", b"a password")]
    {
        assert_eq!(wrong.try_at(&credentials, NOW).err(), Some(AuthError::WrongCredentials));
    }
}

#[test]
fn time_limited_users_are_valid_until_their_time_and_no_longer() {
    let credentials = credentials();
    let name = format!("{}:3:anything:at all", NOW + 60);
    for secret in ["new", "old"] {
        let login = Login::derived(secret.as_bytes(), &name);
        assert_eq!(login.try_at(&credentials, NOW).ok().unwrap().scope, Scope::Media);
        assert!(login.try_at(&credentials, NOW + 60).is_ok());
        assert_eq!(login.try_at(&credentials, NOW + 61).err(), Some(AuthError::WrongCredentials));
    }
    let sha256 = Login { algorithm: Some(2), kinds: vec![IntegrityKind::Sha256], ..Login::derived(b"new", &name) };
    assert!(sha256.try_at(&credentials, NOW).is_ok());
    for wrong in [b"third".as_slice(), b"", b"of another"] {
        assert_eq!(Login::derived(wrong, &name).try_at(&credentials, NOW).err(), Some(AuthError::WrongCredentials));
    }
}

#[test]
fn other_programs_users_have_their_own_form_and_never_more_by_it() {
    let credentials = credentials();
    for name in [format!("{}", NOW + 5), format!("{}:someone", NOW + 5), format!("{}:1:x", NOW + 5)] {
        let theirs = Login::derived(b"of another program", &name).try_at(&credentials, NOW);
        assert_eq!(theirs.ok().unwrap().scope, Scope::Peers, "{name}");
    }
    // Control's secret makes only names with a shard.
    let ours = Login::derived(b"new", &format!("{}:someone", NOW + 5));
    assert_eq!(ours.try_at(&credentials, NOW).err(), Some(AuthError::WrongCredentials));
    for name in ["", ":", "x", "-1:1:x", "+5:1:x", "1e12:1:x", " 9999999999:1:x", "99999999999999999999:1:x"] {
        let login = Login::derived(b"new", name);
        assert_eq!(login.try_at(&credentials, NOW).err(), Some(AuthError::WrongCredentials), "{name}");
    }
}

#[test]
fn a_list_of_algorithms_that_was_changed_on_its_way_is_noticed() {
    let credentials = credentials();
    let bid_down = [
        Login { list: Some(vec![0, 1, 0, 0]), algorithm: Some(1), ..Login::modern("talk", b"a password") },
        Login { list: Some(vec![0, 1, 0, 0, 0, 2, 0, 0]), ..Login::modern("talk", b"a password") },
        Login { algorithm: None, ..Login::modern("talk", b"a password") },
        Login { algorithm: Some(3), ..Login::modern("talk", b"a password") },
    ];
    for login in bid_down {
        assert_eq!(login.try_at(&credentials, NOW).err(), Some(AuthError::BadRequest));
    }
    let nonce = credentials.nonces.make(client().remote, Features::PASSWORD_ALGORITHMS, NOW);
    let without = [b"obMatJos2AAAA".as_slice(), &nonce[13..]].concat();
    let bytes = Login::legacy("talk", b"a password").request(&without);
    let result = credentials.authenticate(&Message::parse(&bytes).unwrap(), client(), None, NOW, true);
    assert_eq!(result.err(), Some(AuthError::StaleNonce), "a nonce whose features were taken away");
}

#[test]
fn half_of_what_is_needed_is_a_bad_request_and_nothing_is_a_first_one() {
    let credentials = credentials();
    let nonce = credentials.nonces.make(client().remote, Features::PASSWORD_ALGORITHMS, NOW);
    let whole = Login::legacy("talk", b"a password").request(&nonce);
    let message = Message::parse(&whole).unwrap();
    for missing in [AttributeType::USERNAME, AttributeType::REALM, AttributeType::NONCE] {
        let mut buffer = [0; 500];
        let id = TransactionId([3; 12]);
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
        for attribute in message.attributes().filter(|it| it.kind != missing) {
            writer.attribute(attribute.kind, attribute.value);
        }
        let len = writer.finish().unwrap();
        let result = credentials.authenticate(&Message::parse(&buffer[..len]).unwrap(), client(), None, NOW, true);
        assert_eq!(result.err(), Some(AuthError::BadRequest), "{missing:?}");
    }
    let bare = Login { kinds: vec![], ..Login::legacy("talk", b"a password") };
    assert_eq!(bare.try_at(&credentials, NOW).err(), Some(AuthError::Unauthenticated));
}

#[test]
fn an_allocation_outlives_its_users_name_and_secret() {
    let mut credentials = credentials();
    let login = Login::derived(b"new", &format!("{}:0:x", NOW + 5));
    let user = login.try_at(&credentials, NOW).ok().unwrap();
    let owner = Owner { id: user.id, scope: user.scope, key: user.key };
    credentials.set(&TurnSettings { secrets: vec![TurnSecret::new(b"another".as_slice())], ..TurnSettings::default() });
    let later = NOW + 1_000;
    let nonce = credentials.nonces.make(client().remote, Features::PASSWORD_ALGORITHMS, later);
    let bytes = login.request(&nonce);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        credentials.authenticate(&message, client(), None, later, true).err(),
        Some(AuthError::WrongCredentials)
    );
    let again = credentials.authenticate(&message, client(), Some(&owner), later, true).ok().unwrap();
    assert_eq!((again.id, again.scope), (user.id, Scope::Media));
}

#[test]
fn a_challenge_is_short() {
    for (credentials, anonymous) in [
        (credentials(), false),
        (Credentials::new(&TurnConfig { shared_secrets: vec![], ..config() }, &mut Random::new(1)), true),
    ] {
        let mut buffer = [0; 300];
        let mut writer = MessageWriter::new(&mut buffer, Class::Error, Method::ALLOCATE, TransactionId([1; 12]));
        credentials.challenge(writer.error_code(401, ""), client(), NOW);
        let len = writer.finish().unwrap();
        assert_eq!(len, 80, "a bare Allocate request has 28");
        let message = Message::parse(&buffer[..len]).unwrap();
        let nonce = message.attribute(AttributeType::NONCE).unwrap();
        let features = if anonymous { b"obMatJos2AAAD" } else { b"obMatJos2AAAB" };
        assert!(nonce.starts_with(features), "names that can be hidden are those in the configuration");
    }
}

#[test]
fn guessing_is_not_for_ever() {
    let credentials = credentials();
    let nonce = credentials.nonces.make(client().remote, Features::PASSWORD_ALGORITHMS, NOW);
    let login = Login::legacy("talk", b"a password");
    let bytes = login.request(&nonce);
    let message = Message::parse(&bytes).unwrap();
    let result = credentials.authenticate(&message, client(), None, NOW, false);
    assert_eq!(result.err(), Some(AuthError::TooMany));
    // Who has an allocation is found without a search.
    let user = login.try_at(&credentials, NOW).ok().unwrap();
    let owner = Owner { id: user.id, scope: user.scope, key: user.key };
    assert!(credentials.authenticate(&message, client(), Some(&owner), NOW, false).is_ok());
}
