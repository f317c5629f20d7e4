//! Colours and their contrast, as WCAG 2.2 measures it.

use std::fmt::{self, Display, Formatter};

/// An sRGB colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Colour(pub [u8; 3]);

pub const WHITE: Colour = Colour([255; 3]);
pub const BLACK: Colour = Colour([0; 3]);

impl Colour {
    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self([byte(0)?, byte(2)?, byte(4)?]))
    }

    /// `share` of `other`, 0 to 1, in this one.
    pub fn mixed(self, other: Self, share: f64) -> Self {
        let mix = |i: usize| (f64::from(self.0[i]) * (1.0 - share) + f64::from(other.0[i]) * share).round() as u8;
        Self([mix(0), mix(1), mix(2)])
    }

    /// Relative luminance, 0 to 1.
    fn luminance(self) -> f64 {
        let linear = self.0.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    /// From 1 (the same) to 21 (black on white).
    pub fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The nearest colour on the way to `towards` that has at least `ratio` to all of `grounds`.
    pub fn until(self, towards: Self, ratio: f64, grounds: &[Self]) -> Self {
        let steps = (0..=100).map(|step| self.mixed(towards, f64::from(step) / 100.0));
        let mut steps = steps.filter(|colour| grounds.iter().all(|ground| colour.contrast(*ground) >= ratio));
        steps.next().unwrap_or(towards)
    }
}

impl Display for Colour {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_written() {
        assert_eq!(Colour::parse("#0B6b62").unwrap().to_string(), "#0b6b62");
        for bad in ["", "#", "0b6b62", "#0b6b6", "#0b6b622", "#xyzxyz", "red", "#ääa"] {
            assert_eq!(Colour::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let near = |a: f64, b: f64| (a - b).abs() < 0.01;
        assert!(near(BLACK.contrast(WHITE), 21.0));
        assert!(near(WHITE.contrast(WHITE), 1.0));
        // The grey that is known to just pass, and the one that just fails.
        assert!(Colour::parse("#767676").unwrap().contrast(WHITE) >= 4.5);
        assert!(Colour::parse("#777777").unwrap().contrast(WHITE) < 4.5);
    }

    #[test]
    fn a_colour_is_moved_no_further_than_needed() {
        let yellow = Colour::parse("#ffcc00").unwrap();
        let dark = yellow.until(BLACK, 4.5, &[WHITE]);
        assert!((4.5..5.0).contains(&dark.contrast(WHITE)), "{dark}");
        assert_eq!(BLACK.until(BLACK, 4.5, &[WHITE]), BLACK);
    }
}
