//! Characters that nobody sees, and those that change what others look like.

use unicode_normalization::char::is_combining_mark;

/// Joins emoji and letters of some scripts (ZWJ), or keeps them apart (ZWNJ).
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Says whether the character before it is drawn as text or as a picture.
pub(super) fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180d}' | '\u{180f}')
}

/// The letters of flags of regions; only after [`BLACK_FLAG`] do they mean anything.
pub(super) fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

pub(super) const BLACK_FLAG: char = '\u{1f3f4}';

/// Turns the direction of the text that follows it (Unicode UAX #9: embeddings, overrides, isolates).
pub(super) fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Has no ink: white space, the default-ignorable code points of Unicode (DerivedCoreProperties.txt), and what fonts
/// leave blank: the Braille pattern without dots, the musical null notehead.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || is_joiner(c)
        || is_variation_selector(c)
        || turns_text(c)
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
                | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
                | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Leaves ink on its own: what a name needs one of.
pub(super) fn is_visible(c: char) -> bool {
    !c.is_control() && !is_invisible(c) && !is_combining_mark(c)
}

/// What programs put behind a link that stands in a sentence, and what ends a sentence.
pub(super) fn ends_sentence(c: char) -> bool {
    matches!(
        c,
        '.' | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | ')'
            | ']'
            | '}'
            | '>'
            | '\''
            | '"'
            | '*'
            | '’'
            | '‘'
            | '‚'
            | '”'
            | '“'
            | '„'
            | '»'
            | '«'
            | '›'
            | '‹'
            | '…'
            | '。'
            | '、'
            | '/'
            | '\\'
    )
}
