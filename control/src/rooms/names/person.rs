//! Names of people.

use super::characters::{BLACK_FLAG, is_invisible, is_joiner, is_tag, is_variation_selector, is_visible};
use plausch_relay_api::limits::PARTICIPANT_NAME_CHARS;
use std::collections::HashSet;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Marks above and below one letter; Vietnamese and pointed Hebrew have two or three, more is a tower over other tiles.
const MARKS_PER_LETTER: usize = 3;

/// A person's name as others see it, cleaned: composed (NFC), single spaces, without control characters, without what
/// turns the text around it, and cut at [`PARTICIPANT_NAME_CHARS`]. `None` if nothing of it can be seen.
pub fn person_name(typed: &str) -> Option<String> {
    // A few characters more than may stay, so that a name of megabytes costs nothing.
    let head: String = typed.trim_start().chars().take(4 * PARTICIPANT_NAME_CHARS).collect();
    let flag = head.contains(BLACK_FLAG);
    let joins = |c: char| is_joiner(c) || is_variation_selector(c) || (flag && is_tag(c));
    let kept = |c: &char| c.is_whitespace() || (!c.is_control() && (!is_invisible(*c) || joins(*c)));
    let mut name = String::new();
    let mut marks = 0;
    for c in head.chars().filter(kept).nfc() {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        // One with nothing before it would sit on what the page writes there.
        if marks > MARKS_PER_LETTER || (marks > 0 && name.chars().next_back().is_none_or(char::is_whitespace)) {
            continue;
        }
        name.push(c);
    }
    let name = cut(&name.split_whitespace().collect::<Vec<_>>().join(" "), PARTICIPANT_NAME_CHARS);
    name.chars().any(is_visible).then_some(name)
}

/// The name by which a newcomer is told from those who are `taken`: "Anna", or "Anna 2" beside an Anna.
pub fn distinct_name<'a>(name: &str, taken: impl Iterator<Item = &'a str>) -> String {
    let taken: HashSet<String> = taken.map(skeleton).collect();
    if !taken.contains(&skeleton(name)) {
        return name.to_owned();
    }
    let mut number = 2_usize;
    loop {
        let suffix = format!(" {number}");
        let distinct = cut(name, PARTICIPANT_NAME_CHARS - suffix.len()) + &suffix;
        if !taken.contains(&skeleton(&distinct)) {
            return distinct;
        }
        // At most one more than there are people.
        number += 1;
    }
}

/// `shown` is `name`, or what [`distinct_name`] made of it.
pub fn is_numbered(shown: &str, name: &str) -> bool {
    let number = |rest: &str| rest.is_empty() || rest.strip_prefix(' ').is_some_and(|n| n.parse::<usize>().is_ok());
    shown.strip_prefix(name).is_some_and(number)
}

/// What is left of a name when all is gone that the eye does not tell apart: case, spaces, what has no ink, and letters
/// of other alphabets that look like Latin ones.
fn skeleton(name: &str) -> String {
    // Most names; a room has a thousand of them, which are looked at under the lock.
    if name.is_ascii() {
        let seen = name.chars().filter(|c| !is_invisible(*c));
        return seen.map(|c| look_alike(c.to_ascii_lowercase())).collect();
    }
    let folded = name.nfkc().filter(|c| !is_invisible(*c)).flat_map(char::to_lowercase);
    folded.map(look_alike).collect::<String>().nfc().collect()
}

/// Cyrillic and Greek small letters beside the Latin ones that they look like (after UTS #39's confusables).
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' => 'c',
        'е' | 'ε' => 'e',
        'һ' | 'н' | 'η' => 'h',
        'і' | 'ι' | 'ı' | 'l' | '1' | '|' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'м' | 'μ' => 'm',
        'ν' => 'v',
        'о' | 'ο' | 'σ' | '0' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'у' | 'υ' | 'γ' => 'y',
        'х' | 'χ' => 'x',
        'ԁ' => 'd',
        'ԛ' => 'q',
        'ԝ' | 'ω' => 'w',
        other => other,
    }
}

/// The first characters, without a joiner or space at the end.
fn cut(name: &str, chars: usize) -> String {
    let cut: String = name.chars().take(chars).collect();
    cut.trim_end_matches(|c: char| c.is_whitespace() || is_joiner(c)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_cleaned() {
        for (typed, shown) in [
            ("  Zoë   Müller ", "Zoë Müller"),
            ("Anna\u{7}\u{1b}[31m", "Anna[31m"),
            ("An\u{0}na", "Anna"),
            ("\u{202e}annA", "annA"),
            ("Anna\u{2066}\u{200f}", "Anna"),
            ("Mu\u{308}ller", "Müller"),
            ("Anna\nBert", "Anna Bert"),
            ("An\u{200b}na\u{3164}", "Anna"),
            ("👩\u{200d}👧 Ina", "👩\u{200d}👧 Ina"),
            ("\u{301}Anna", "Anna"),
            ("Z\u{335}\u{336}\u{337}\u{338}\u{334}oe", "Z\u{335}\u{336}\u{337}oe"),
            ("Anna\u{e0041}\u{e0042}", "Anna"),
        ] {
            assert_eq!(person_name(typed).as_deref(), Some(shown), "{typed:?}");
        }
        let long = person_name(&"n".repeat(1 << 20)).unwrap();
        assert_eq!(long.chars().count(), PARTICIPANT_NAME_CHARS);
    }

    #[test]
    fn what_nobody_sees_is_no_name() {
        for bad in [
            "",
            " ",
            "\u{200b}",
            "\u{3164}",
            "\u{2800}",
            "\u{115f}",
            "\u{1160}",
            "\u{ffa0}",
            "\u{fe0f}",
            "\u{200d}",
            "\u{202e}",
            "\u{7}",
            "\u{301}",
            "\u{2800}\u{2800} \u{3164}",
            "\u{ad}",
            "\u{34f}",
            "\u{e0041}",
            "\u{1d159}",
            "\u{fffc}",
            "\u{2003}",
            "\u{feff}",
        ] {
            assert_eq!(person_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn equal_names_are_told_apart() {
        let distinct = |name: &str, taken: &[&str]| distinct_name(name, taken.iter().copied());
        assert_eq!(distinct("Anna", &["Bert"]), "Anna");
        assert_eq!(distinct("Anna", &["Anna"]), "Anna 2");
        assert_eq!(distinct("Anna", &["Anna", "Anna 2", "Anna 4"]), "Anna 3");
        assert_eq!(distinct("anna", &["Anna"]), "anna 2");
        assert_eq!(distinct("Аnna", &["Anna"]), "Аnna 2", "the first letter is Cyrillic");
        assert_eq!(distinct("An\u{200d}na", &["Anna"]), "An\u{200d}na 2");
        assert_eq!(distinct("Anna 2", &["Anna", "Anna 2"]), "Anna 2 2");
        let long = "n".repeat(PARTICIPANT_NAME_CHARS);
        assert_eq!(distinct(&long, &[&long]).chars().count(), PARTICIPANT_NAME_CHARS);
    }

    #[test]
    fn a_number_is_known() {
        for (shown, numbered) in
            [("Anna", true), ("Anna 2", true), ("Anna Berta", false), ("Ann", false), ("Anna2", false)]
        {
            assert_eq!(is_numbered(shown, "Anna"), numbered, "{shown}");
        }
    }

    proptest! {
        #[test]
        fn a_clean_name_can_be_seen_and_stays_as_it_is(typed in any::<String>()) {
            if let Some(name) = person_name(&typed) {
                prop_assert!(name.chars().any(is_visible));
                prop_assert!(name.chars().count() <= PARTICIPANT_NAME_CHARS);
                prop_assert!(!name.chars().any(|c| c.is_control() || super::super::characters::turns_text(c)));
                prop_assert_eq!(person_name(&name), Some(name.clone()));
                prop_assert!(name.nfc().eq(name.chars()));
            }
        }

        #[test]
        fn however_many_come_each_has_a_name(names in prop::collection::vec("[aA] ?[n2]{0,2}", 1..20)) {
            let mut taken: Vec<String> = Vec::new();
            for name in names {
                let name = distinct_name(&name, taken.iter().map(String::as_str));
                prop_assert!(!taken.iter().any(|other| skeleton(other) == skeleton(&name)), "{name:?} in {taken:?}");
                prop_assert!(name.chars().count() <= PARTICIPANT_NAME_CHARS);
                taken.push(name);
            }
        }
    }
}
