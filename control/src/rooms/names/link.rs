//! Paths of links: which room a path means, however a mail program, a keyboard or another charset wrote it.

use super::room::{RoomKey, RoomNameError, room_title};

/// What the path of a request means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// No name at all: the start page.
    Start,
    Room(RoomLink),
    /// No room can be called so; `name` in lower case.
    Refused {
        error: RoomNameError,
        name: String,
    },
}

/// A room as a link names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomLink {
    /// For display.
    pub title: String,
    pub key: RoomKey,
    /// The path already is as it should be; otherwise `/` and [`encode`] of the title is.
    pub canonical: bool,
}

impl Link {
    /// Reads the path of a request as it came, percent signs and all, without what follows a question mark.
    pub fn read(path: &str) -> Self {
        let segment = path.trim_matches('/');
        if segment.is_empty() {
            return Self::Start;
        }
        let decoded = decode(segment);
        let key = match RoomKey::read(&decoded) {
            Ok(key) => key,
            Err(RoomNameError::Empty) => return Self::Start,
            Err(error) => return Self::Refused { error, name: room_title(&decoded).to_lowercase() },
        };
        let title = room_title(&decoded);
        let canonical = path.strip_prefix('/').and_then(strictly_decoded).is_some_and(|name| name == title);
        Self::Room(RoomLink { title, key, canonical })
    }
}

/// A name as one segment of a path, written as `encodeURIComponent` of ECMAScript does.
pub fn encode(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// The text of a segment in UTF-8, in Windows-1252 (`K%FCche`) or as old scripts escape it (`K%u00FCche`); what was
/// encoded twice (`K%25C3%25BCche`) is decoded twice. Percent signs that begin nothing stay.
pub fn decode(segment: &str) -> String {
    let once = decode_once(segment);
    match strictly_decoded(&once) {
        // Only where it spells something: a percent sign may be part of a name.
        Some(twice) if !twice.is_ascii() && once.is_ascii() => twice,
        _ => once,
    }
}

fn decode_once(segment: &str) -> String {
    let bytes = unescape(segment);
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => error.into_bytes().into_iter().map(windows_1252).collect(),
    }
}

/// `None` if it is not UTF-8.
fn strictly_decoded(segment: &str) -> Option<String> {
    String::from_utf8(unescape(segment)).ok()
}

fn unescape(segment: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            if let Some(value) = hex(after, 2) {
                bytes.push(value as u8);
                rest = &after[2..];
                continue;
            }
            let utf16 = after.strip_prefix(b"u").and_then(|digits| char::from_u32(hex(digits, 4)?));
            if let Some(c) = utf16 {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                rest = &after[5..];
                continue;
            }
        }
        bytes.push(first);
        rest = after;
    }
    bytes
}

fn hex(digits: &[u8], count: usize) -> Option<u32> {
    let digits = digits.get(..count)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// As browsers decode it (WHATWG Encoding, section 9): what has no character there is a control character.
fn windows_1252(byte: u8) -> char {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room(path: &str) -> RoomLink {
        match Link::read(path) {
            Link::Room(room) => room,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn however_a_link_is_written_it_means_the_same_room() {
        for (paths, title) in [
            (
                &[
                    "/Test",
                    "/Test/",
                    "//Test",
                    "/Test//",
                    "/Test.",
                    "/Test,",
                    "/Test)",
                    "/Test%3E",
                    "/Test%20",
                    "/Test%2F",
                    "/Test%0D%0A",
                    "/Test.%22",
                    "/Test%E2%80%9C",
                    "/Test%2e",
                    "/%54est",
                    "/Test%E2%80%8B",
                    "/Test%C2%A0",
                ][..],
                "Test",
            ),
            (
                &[
                    "/K%C3%BCche",
                    "/K%c3%bcche",
                    "/Küche",
                    "/K%FCche",
                    "/K%fcche/",
                    "/Ku%CC%88che",
                    "/K%u00FCche",
                    "/K%25C3%25BCche",
                    "/K%25c3%25bcche.",
                ],
                "Küche",
            ),
            (&["/100%", "/100%25"], "100%"),
            (&["/50%25ab"], "50%ab"),
            (&["/Kaffee%20und%20%20Kuchen"], "Kaffee und Kuchen"),
        ] {
            for path in paths {
                assert_eq!(room(path).title, title, "{path}");
                assert_eq!(room(path).key, RoomKey::normalise(title).unwrap(), "{path}");
            }
        }
        assert_eq!(room("/KÜCHE").key, room("/k%FCche").key);
        assert_eq!(room("/STRASSE").key, room("/Stra%DFe").key);
    }

    #[test]
    fn only_what_is_well_written_stays() {
        for path in ["/Test", "/K%C3%BCche", "/Küche", "/%54est", "/100%25", "/100%"] {
            assert!(room(path).canonical, "{path}");
        }
        for path in ["/Test/", "//Test", "/Test.", "/K%FCche", "/Ku%CC%88che", "/Test%20", "/a%20%20b"] {
            assert!(!room(path).canonical, "{path}");
        }
    }

    #[test]
    fn what_no_room_can_be_called_is_said() {
        for path in ["/", "//", "", "/%20", "/...", "/%2F"] {
            assert_eq!(Link::read(path), Link::Start, "{path}");
        }
        for (path, refusal) in [
            ("/a/b", RoomNameError::Characters),
            ("/a%2Fb", RoomNameError::Characters),
            ("/a%5Cb", RoomNameError::Characters),
            ("/a%00b", RoomNameError::Characters),
            ("/%00", RoomNameError::Characters),
            ("/a%E2%80%AEb", RoomNameError::Characters),
            ("/robots.txt", RoomNameError::Reserved),
            ("/Impressum/", RoomNameError::Reserved),
            ("/.env", RoomNameError::Reserved),
        ] {
            assert!(matches!(Link::read(path), Link::Refused { error, .. } if error == refusal), "{path}");
        }
        let long = Link::read(&format!("/{}", "x".repeat(200)));
        assert!(matches!(long, Link::Refused { error: RoomNameError::TooLong, .. }));
        let page = Link::read("/Datenschutzerkl%E4rung/");
        assert_eq!(page, Link::Refused { error: RoomNameError::Reserved, name: "datenschutzerklärung".to_owned() });
    }

    proptest! {
        #[test]
        fn the_right_link_is_right(path in "/(\\PC|%[0-9a-fA-F]{2}|[./ ]){0,20}") {
            if let Link::Room(found) = Link::read(&path) {
                let better = format!("/{}", encode(&found.title));
                prop_assert_eq!(Link::read(&better), Link::Room(RoomLink { canonical: true, ..found.clone() }));
                prop_assert_eq!(RoomKey::normalise(&found.title), Some(found.key));
                // No browser takes it for another host.
                prop_assert!(!better.starts_with("//") && !better.starts_with("/\\"));
            }
        }

        #[test]
        fn nothing_panics(path in any::<String>()) {
            let _ = Link::read(&path);
        }
    }
}
