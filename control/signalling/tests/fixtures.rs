//! The fixtures are the message set by example: Rust and TypeScript tests read the same files.
#![allow(clippy::unwrap_used)]

use plausch_signalling::{Claims, ClientMessage, ErrorCode, Role, ServerMessage};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Parses every fixture of one direction, compares what serialising it again gives, and returns the `type`s seen.
fn round_trip<T: Serialize + DeserializeOwned>(folder: &str, prefix: &str) -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let message: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_value(&message).unwrap(), value, "{name}");
        let kind = value["type"].as_str().unwrap().to_owned();
        assert!(name.starts_with(&format!("{prefix}{kind}")), "{name} is named after its type, {kind}");
        kinds.insert(kind);
    }
    kinds
}

/// The variants that serde knows, read from the message that it gives for an unknown one.
fn known_kinds<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<T>(r#"{"type":"no-such-type"}"#) else {
        panic!("an unknown type was read")
    };
    let text = error.to_string();
    text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn client_messages_have_fixtures_that_round_trip() {
    assert_eq!(round_trip::<ClientMessage>("fixtures", "client-"), known_kinds::<ClientMessage>());
}

#[test]
fn server_messages_have_fixtures_that_round_trip() {
    assert_eq!(round_trip::<ServerMessage>("fixtures", "server-"), known_kinds::<ServerMessage>());
}

/// Folders are named after releases: what those said is still understood, and said again in the same way.
#[test]
fn messages_of_earlier_releases_round_trip() {
    assert!(round_trip::<ClientMessage>("fixtures/0.1", "client-").len() >= 5);
    assert!(round_trip::<ServerMessage>("fixtures/0.1", "server-").len() >= 10);
}

#[test]
fn what_is_unknown_is_no_error() {
    let code: ErrorCode = serde_json::from_str("\"too-tired\"").unwrap();
    assert_eq!(code, ErrorCode::Unknown);
    let role: Role = serde_json::from_str("\"admiral\"").unwrap();
    assert_eq!(role, Role::Guest);
    let claims: Claims = serde_json::from_str("{\"badge\":7}").unwrap();
    assert!(claims.is_empty());
}

#[test]
fn unknown_fields_are_ignored() {
    let message: ClientMessage = serde_json::from_str(r#"{"type":"leave","why":"tired"}"#).unwrap();
    assert_eq!(message, ClientMessage::Leave);
}
