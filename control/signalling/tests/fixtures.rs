//! The fixtures are the message set by example: Rust and TypeScript tests read the same files.
#![allow(clippy::unwrap_used)]

use plausch_signalling::{ClientMessage, ServerMessage};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Parses every fixture of one direction, compares what serialising it again gives, and returns the `type`s seen.
fn round_trip<T: Serialize + DeserializeOwned>(prefix: &str) -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
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
    assert_eq!(round_trip::<ClientMessage>("client-"), known_kinds::<ClientMessage>());
}

#[test]
fn server_messages_have_fixtures_that_round_trip() {
    assert_eq!(round_trip::<ServerMessage>("server-"), known_kinds::<ServerMessage>());
}

#[test]
fn unknown_fields_are_ignored() {
    let message: ClientMessage = serde_json::from_str(r#"{"type":"leave","why":"tired"}"#).unwrap();
    assert_eq!(message, ClientMessage::Leave);
}
