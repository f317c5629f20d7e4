//! Who asks for allocations: a user with a password, or names that a shared secret makes valid for some time.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long names made from a secret are valid; a run that lasts longer only refreshes, which most servers allow.
const VALID_S: u64 = 24 * 3600;

/// Long-term credentials (RFC 8489 section 9.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    name: String,
    password: String,
}

/// Where users come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Users {
    /// One for all allocations.
    One(User),
    /// A name for each allocation, its password by the secret that the server knows (TURN REST API).
    Secret(String),
}

impl User {
    pub fn new(name: String, password: String) -> Self {
        Self { name, password }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// `expiry:tag`, and the base64 of its HMAC-SHA1 (draft-uberti-behave-turn-rest).
    fn by_secret(secret: &str, expires_s: u64, tag: &str) -> Self {
        let name = format!("{expires_s}:{tag}");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let password = BASE64_STANDARD.encode(hmac::sign(&key, name.as_bytes()));
        Self { name, password }
    }
}

impl Users {
    /// The user of the n-th allocation.
    pub fn of(&self, allocation: usize) -> User {
        match self {
            Self::One(user) => user.clone(),
            Self::Secret(secret) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
                User::by_secret(secret, now + VALID_S, &format!("bench{allocation}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_makes_passwords() {
        // printf 1700000000:robi | openssl dgst -sha1 -hmac north -binary | base64
        let user = User::by_secret("north", 1_700_000_000, "robi");
        assert_eq!(user.name(), "1700000000:robi");
        assert_eq!(user.password(), "sp5sNeNbwa0Xy3yDBjXp55CmiU4=");
        let users = Users::Secret("north".to_owned());
        assert_ne!(users.of(1).name(), users.of(2).name());
    }
}
