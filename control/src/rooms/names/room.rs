//! Names of rooms: the one rule by which two names are the same room. `tests/fixtures/room-names.json` has examples, by
//! which the web client's copy of the rule is tested, too.

use super::characters::{ends_sentence, is_invisible, is_joiner, turns_text};
use plausch_relay_api::limits::ROOM_NAME_CHARS;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// A normalised room name: whoever types the same word meets in the same room.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomKey(String);

/// Why a name cannot be a room's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomNameError {
    Empty,
    TooLong,
    /// A slash or backslash within it (the name is one segment of a link), a control character, or one that turns text
    /// around.
    Characters,
    /// A page or file of the service, or of what browsers and crawlers ask servers for.
    Reserved,
}

/// Pages and folders of the service, now or as people expect them.
const RESERVED: &[&str] = &[
    "about",
    "accessibility",
    "admin",
    "anleitung",
    "anleitung-handy",
    "anleitung-pc",
    "api",
    "assets",
    "barrierefreiheit",
    "branding",
    "colibri-ws",
    "contact",
    "datenschutz",
    "datenschutzerklärung",
    "docs",
    "guide",
    "guide-pc",
    "guide-phone",
    "health",
    "help",
    "hilfe",
    "http-bind",
    "impressum",
    "imprint",
    "kontakt",
    "legal",
    "legal-notice",
    "login",
    "logout",
    "metrics",
    "nutzung",
    "nutzungsbedingungen",
    "privacy",
    "static",
    "status",
    "terms",
    "whep",
    "whip",
    "xmpp-websocket",
];

/// Ends of the names of files that browsers, crawlers and attackers ask for.
const FILES: &[&str] = &[
    "asp",
    "aspx",
    "bak",
    "cgi",
    "css",
    "env",
    "gif",
    "htm",
    "html",
    "ico",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsp",
    "map",
    "md",
    "mjs",
    "php",
    "png",
    "sql",
    "svg",
    "txt",
    "wasm",
    "webmanifest",
    "webp",
    "xml",
    "yaml",
    "yml",
    "zip",
];

impl RoomKey {
    /// "Kulturverein Marion" and "kulturvereinmarion" give the same key. `None` for what cannot be a room.
    pub fn normalise(typed: &str) -> Option<Self> {
        Self::read(typed).ok()
    }

    /// As [`RoomKey::normalise`], and why not.
    pub fn read(typed: &str) -> Result<Self, RoomNameError> {
        let typed = bare(typed);
        // Counting stops at the limit, so that a name of megabytes costs nothing.
        if typed.chars().nth(ROOM_NAME_CHARS).is_some() {
            return Err(RoomNameError::TooLong);
        }
        if typed.chars().any(is_forbidden) {
            return Err(RoomNameError::Characters);
        }
        // Lower case can come apart again ("İ"), NFKC can bring white space and slashes ("℀"), and what was apart can
        // come together: once more until nothing changes, which almost always is at once.
        let mut key = fold(typed);
        let mut rounds = 0;
        loop {
            let again = fold(&key);
            if again == key {
                break;
            }
            rounds += 1;
            if rounds == FOLD_ROUNDS {
                return Err(RoomNameError::Characters);
            }
            key = again;
        }
        if key.is_empty() {
            return Err(RoomNameError::Empty);
        }
        if key.chars().nth(ROOM_NAME_CHARS).is_some() {
            return Err(RoomNameError::TooLong);
        }
        if key.chars().any(is_forbidden) {
            return Err(RoomNameError::Characters);
        }
        let file = key.rsplit_once('.').is_some_and(|(_, end)| FILES.contains(&end));
        if file || key.starts_with('.') || RESERVED.contains(&key.as_str()) {
            return Err(RoomNameError::Reserved);
        }
        Ok(Self(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const FOLD_ROUNDS: usize = 4;

fn fold(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let seen = lower.nfkc().filter(|c| is_joiner(*c) || !is_invisible(*c));
    // As capitals have them: STRASSE, and Greek without a final sigma.
    let folded: String = seen.map(|c| if c == 'ς' { 'σ' } else { c }).collect::<String>().replace('ß', "ss");
    bare(&without_idle_joiners(&folded)).to_owned()
}

/// Joiners are for emoji and some scripts; elsewhere nobody sees them.
fn without_idle_joiners(text: &str) -> String {
    let joins = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !is_joiner(c));
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if !is_joiner(c) || (joins(out.chars().next_back()) && joins(rest.peek().copied())) {
            out.push(c);
        }
    }
    out
}

/// Without what stands around a link in a text: white space, slashes, a full stop behind it.
fn bare(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| is_space(c) || c == '/');
    text.trim_end_matches(|c: char| is_space(c) || ends_sentence(c))
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || (is_invisible(c) && !turns_text(c))
}

/// A room's name for display: as it was typed, composed (NFC), with single spaces.
pub fn room_title(typed: &str) -> String {
    let seen: String = bare(typed)
        .nfc()
        .filter(|c| c.is_whitespace() || !is_invisible(*c) || is_joiner(*c) || *c == '\u{fe0f}')
        .collect();
    // What came last may have hidden what stands around the name.
    bare(&seen.split_whitespace().collect::<Vec<_>>().join(" ")).to_owned()
}

/// Control characters, those that turn the direction of the text around them, and what would end a segment of a path.
fn is_forbidden(c: char) -> bool {
    c.is_control() || turns_text(c) || c == '/' || c == '\\'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn key(typed: &str) -> Option<String> {
        RoomKey::normalise(typed).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn what_people_type_differently_is_the_same_room() {
        assert_eq!(key("Kulturverein Marion").as_deref(), Some("kulturvereinmarion"));
        assert_eq!(key("  kulturverein\u{a0}MARION "), key("kulturvereinmarion"));
        assert_eq!(key("Mu\u{308}ller"), key("müller"));
        assert_eq!(key("ＯＭＡ"), key("oma"));
        assert_eq!(key("Õ￣").as_deref(), Some("ȭ"), "composed only once the space between is gone");
        assert_eq!(key("🎻 Probe").as_deref(), Some("🎻probe"));
        assert_eq!(key("👩\u{200d}👧"), Some("👩\u{200d}👧".to_owned()));
        assert_eq!(key("what? 100% #1").as_deref(), Some("what?100%#1"));
        assert_eq!(key("Oma\u{200d}\u{2800}\u{3164}\u{200e}"), key("oma"), "nobody sees the difference");
        assert_eq!(key("⚽\u{fe0f}"), key("⚽"));
        assert_eq!(key("Wer kommt?"), key("werkommt"));
    }

    /// The web client reads the same file.
    #[test]
    fn the_examples_of_the_rule() {
        let examples: Value = serde_json::from_str(include_str!("../../../tests/fixtures/room-names.json")).unwrap();
        let cases = examples.as_array().unwrap();
        assert!(cases.len() > 30);
        for case in cases {
            let typed = case["typed"].as_str().unwrap();
            assert_eq!(key(typed).as_deref(), case["key"].as_str(), "{typed:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_room_is_refused() {
        for bad in ["", "   ", "\u{200b}", "a\0b", "a\nb", "a/b", "a\\b", "℀", "API", "assets", "metrics", ".", ".."]
        {
            assert_eq!(key(bad), None, "{bad:?}");
        }
        assert_eq!(key("\u{202e}abc"), None);
        assert_eq!(key(&"x".repeat(ROOM_NAME_CHARS + 1)), None);
        assert!(key(&"x".repeat(ROOM_NAME_CHARS)).is_some());
        assert_eq!(key(&"ﷺ".repeat(ROOM_NAME_CHARS)), None, "18 characters each after NFKC");
        assert_eq!(key(&"x".repeat(4 << 20)), None);
    }

    #[test]
    fn names_of_files_and_pages_are_reserved() {
        for name in [
            "robots.txt",
            "favicon.ico",
            "Impressum",
            "DATENSCHUTZ",
            "sitemap.xml",
            "wp-login.php",
            ".env",
            ".well-known",
            "index.html",
            "manifest.webmanifest",
            "apple-touch-icon.png",
            "Legal Notice",
            "bundle.js.map",
            "whip",
        ] {
            let plain = name.replace(' ', "-");
            assert_eq!(RoomKey::read(&plain), Err(RoomNameError::Reserved), "{plain}");
        }
        for name in ["St. Georg", "Dr. Sommer", "Version 2.0", "yoga.de", "Impressum Team", "txt", "Chor e.V."] {
            assert!(RoomKey::read(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_title_keeps_what_was_typed() {
        assert_eq!(room_title("  Kaffee \u{200b}  und Kuchen. "), "Kaffee und Kuchen");
        assert_eq!(room_title("/Ku\u{308}che/"), "Küche");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(typed in "(\\PC|[ ./\u{200d}\u{ad}\u{3164}ßςİ]){0,40}") {
            if let Some(once) = RoomKey::normalise(&typed) {
                prop_assert_eq!(RoomKey::normalise(once.as_str()), Some(once));
            }
        }

        #[test]
        fn a_title_is_the_same_room(typed in "(\\PC|[ ./\u{200d}\u{ad}\u{3164}ßςİ]){0,40}") {
            let title = room_title(&typed);
            prop_assert_eq!(RoomKey::normalise(&title), RoomKey::normalise(&typed));
            prop_assert_eq!(room_title(&title), title);
        }

        #[test]
        fn nothing_panics(typed in any::<String>()) {
            let _ = (RoomKey::normalise(&typed), room_title(&typed));
        }
    }
}
