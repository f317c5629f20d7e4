//! Names that people type: of rooms and of themselves.

use plausch_relay_api::limits::{PARTICIPANT_NAME_CHARS, ROOM_NAME_CHARS};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// A normalised room name: whoever types the same word meets in the same room.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomKey(String);

/// First path segments that are the service's own.
const RESERVED: &[&str] = &["api", "assets", "metrics", ".", "..", ".well-known"];

impl RoomKey {
    /// "Kulturverein Marion" and "kulturvereinmarion" give the same key. `None` for what cannot be a room: empty,
    /// too long, control characters, a slash (the name is one segment of the address), the service's own paths.
    pub fn normalise(typed: &str) -> Option<Self> {
        let typed = typed.trim();
        // Counting stops at the limit, so that a name of megabytes costs nothing.
        if typed.chars().nth(ROOM_NAME_CHARS).is_some() || typed.chars().any(is_forbidden) {
            return None;
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
                return None;
            }
            key = again;
        }
        let bad = key.is_empty()
            || key.chars().nth(ROOM_NAME_CHARS).is_some()
            || key.chars().any(|c| is_forbidden(c) || c == '/' || c == '\\')
            || RESERVED.contains(&key.as_str());
        (!bad).then_some(Self(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const FOLD_ROUNDS: usize = 4;

fn fold(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
    lower.nfkc().filter(|c| !c.is_whitespace() && !is_invisible(*c)).collect()
}

/// A room's name as it was typed, for display.
pub fn room_title(typed: &str) -> String {
    collapse_spaces(typed)
}

/// A person's name as others see it; `None` if there is nothing to see, or if it is too long or could disguise.
pub fn person_name(typed: &str) -> Option<String> {
    let typed = typed.trim();
    if typed.chars().nth(PARTICIPANT_NAME_CHARS).is_some() || typed.chars().any(is_forbidden) {
        return None;
    }
    let name = collapse_spaces(&typed.nfc().collect::<String>());
    let visible = name.chars().any(|c| !c.is_whitespace() && !is_invisible(c));
    (visible && name.chars().count() <= PARTICIPANT_NAME_CHARS).then_some(name)
}

fn collapse_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Control characters, and those that turn the direction of the text around them (Unicode UAX #9).
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Characters of no width, except the joiners that emoji and some scripts need.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{180e}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn names_of_people() {
        assert_eq!(person_name("  Zoë   Müller ").as_deref(), Some("Zoë Müller"));
        for bad in ["", " ", "\u{200b}", "a\u{7}", "\u{202e}evil"] {
            assert_eq!(person_name(bad), None, "{bad:?}");
        }
        assert_eq!(person_name(&"n".repeat(PARTICIPANT_NAME_CHARS + 1)), None);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(typed in "\\PC{0,40}") {
            if let Some(once) = RoomKey::normalise(&typed) {
                prop_assert_eq!(RoomKey::normalise(once.as_str()), Some(once));
            }
        }

        #[test]
        fn nothing_panics(typed in any::<String>()) {
            let _ = (RoomKey::normalise(&typed), person_name(&typed), room_title(&typed));
        }
    }
}
