//! The field in which lines and columns are drawn: its two axes with their marks.

use super::axis::{Axis, Mark};
use super::{Text, WIDTH, caption};
use std::fmt::{self, Write};

const LEFT: f64 = 48.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 10.0;
/// Below the level axis.
const MARKS: f64 = 30.0;

pub(super) struct Field<'a> {
    pub(super) title: &'a str,
    pub(super) height: f64,
    /// Of the upright axis.
    pub(super) unit: &'a str,
    /// What the level axis means.
    pub(super) along: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Field<'_> {
    pub(super) fn across(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (RIGHT - LEFT)
    }

    /// Where the level axis is.
    pub(super) fn bottom(&self) -> f64 {
        self.height - MARKS
    }

    pub(super) fn up(&self, value: f64) -> f64 {
        self.bottom() - self.y.place(value) * (self.bottom() - TOP)
    }

    /// Everything but what is shown; `shown` says which marks of the upright axis are.
    pub(super) fn begin(&self, out: &mut String, names: &[&str], shown: impl Fn(&Mark) -> bool) -> fmt::Result {
        caption(out, self.title, self.unit, names)?;
        writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}, {} over {}\">",
            self.height,
            Text(self.title),
            Text(self.unit),
            Text(self.along)
        )?;
        for mark in self.y.marks.iter().filter(|mark| shown(mark)) {
            let at = self.up(mark.value);
            let text = at + 4.0;
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                Text(&mark.text)
            )?;
        }
        let last = self.x.marks.len().saturating_sub(1);
        for (index, mark) in self.x.marks.iter().enumerate() {
            let unit = if index == last && !self.along.is_empty() { format!(" {}", self.along) } else { String::new() };
            let anchor = if index == last { "end" } else { "middle" };
            let at = if index == last { RIGHT + 10.0 } else { self.across(mark.value) };
            let text = self.bottom() + 18.0;
            writeln!(
                out,
                "<text x=\"{at:.1}\" y=\"{text:.1}\" text-anchor=\"{anchor}\">{}{}</text>",
                Text(&mark.text),
                Text(&unit)
            )?;
        }
        Ok(())
    }
}
