//! `--html`: one page that says by itself what was measured, to be sent around and printed. It asks nothing of the
//! network and runs no script.

mod axis;
mod bars;
mod field;
mod lines;
#[cfg(test)]
mod tests;

pub(crate) use axis::Scale;
pub(crate) use bars::{Bars, Columns};
pub(crate) use lines::{Lines, Series};

use std::fmt::{self, Display, Write};

/// What a page holds, from top to bottom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) title: String,
    /// What a reader must know before believing any figure: disturbed, client-bound, wrong.
    pub(crate) warnings: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) plots: Vec<Plot>,
    /// On what and how it was measured: name and value.
    pub(crate) circumstances: Vec<(String, String)>,
}

/// Figures in rows; the first column names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// One picture.
#[derive(Clone, Debug)]
pub(crate) enum Plot {
    Lines(Lines),
    Bars(Bars),
    Columns(Columns),
}

impl Plot {
    /// Whether it has anything to show.
    fn is_empty(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.series.iter().all(|series| series.points.is_empty()),
            Self::Bars(bars) => bars.bars.is_empty(),
            Self::Columns(columns) => columns.bins.iter().all(|bin| bin.counts.iter().all(|count| *count == 0)),
        }
    }
}

/// Text in its place in a page: what could be read as markup is not.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                // XML knows no other control characters.
                control if control.is_control() && !matches!(control, '\n' | '\t') => out.write_char(' ')?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

impl Page {
    /// The whole file: HTML that is well-formed XML, too.
    pub(crate) fn html(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let title = Text(&self.title);
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        )?;
        for warning in &self.warnings {
            writeln!(out, "<p class=\"warning\">{}</p>", Text(warning))?;
        }
        self.tables.iter().try_for_each(|table| table.write(out))?;
        let plots: Vec<&Plot> = self.plots.iter().filter(|plot| !plot.is_empty()).collect();
        if !plots.is_empty() {
            out.write_str("<div class=\"plots\">\n")?;
            for plot in plots {
                match plot {
                    Plot::Lines(lines) => lines.write(out)?,
                    Plot::Bars(bars) => bars.write(out)?,
                    Plot::Columns(columns) => columns.write(out)?,
                }
            }
            out.write_str("</div>\n")?;
        }
        if !self.circumstances.is_empty() {
            out.write_str("<h2>How it was measured</h2>\n<dl>\n")?;
            for (name, value) in &self.circumstances {
                writeln!(out, "<dt>{}</dt><dd>{}</dd>", Text(name), Text(value))?;
            }
            out.write_str("</dl>\n")?;
        }
        out.write_str("</main>\n</body>\n</html>\n")
    }
}

impl Table {
    fn write(&self, out: &mut String) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(out, "<h2>{}</h2>", Text(&self.title))?;
        }
        out.write_str("<div class=\"wide\"><table>\n")?;
        if !self.head.is_empty() {
            out.write_str("<thead><tr>")?;
            self.head.iter().try_for_each(|cell| write!(out, "<th scope=\"col\">{}</th>", Text(cell)))?;
            out.write_str("</tr></thead>\n")?;
        }
        out.write_str("<tbody>\n")?;
        for row in &self.rows {
            out.write_str("<tr>")?;
            for (column, cell) in row.iter().enumerate() {
                match column {
                    0 => write!(out, "<th scope=\"row\">{}</th>", Text(cell))?,
                    _ => write!(out, "<td>{}</td>", Text(cell))?,
                }
            }
            out.write_str("</tr>\n")?;
        }
        out.write_str("</tbody>\n</table></div>\n")
    }
}

/// Above a picture: what it shows, in which unit, and whose lines are whose.
fn caption(out: &mut String, title: &str, unit: &str, names: &[&str]) -> fmt::Result {
    write!(out, "<figure>\n<figcaption>{}", Text(title))?;
    if !unit.is_empty() {
        write!(out, " <span class=\"unit\">{}</span>", Text(unit))?;
    }
    out.write_str("</figcaption>\n")?;
    if names.len() > 1 {
        out.write_str("<ul class=\"legend\">")?;
        for (index, name) in names.iter().enumerate() {
            write!(out, "<li><span class=\"key k{}\"></span>{}</li>", index % COLOURS, Text(name))?;
        }
        out.write_str("</ul>\n")?;
    }
    Ok(())
}

/// Colours of series; more begin again.
const COLOURS: usize = 4;

/// Pictures are drawn in these units, so that 12 units of text can still be read on a phone.
const WIDTH: f64 = 440.0;

const STYLE: &str = "\
:root { --paper: #ffffff; --ink: #1d2430; --soft: #5c6675; --rule: #d9dee6; --warn: #8a3b00; --warn-paper: #fff1e4;
  --c0: #1f5fbf; --c1: #c04f15; --c2: #2a7d4f; --c3: #7a4fa3; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181f; --ink: #e6eaf0; --soft: #a0aab8; --rule: #333c49; --warn: #ffc390; --warn-paper: #3a2413;
    --c0: #79aefc; --c1: #f39a63; --c2: #6cc893; --c3: #c09ce6; }
}
@media print {
  :root { --paper: #ffffff; --ink: #000000; --soft: #444444; --rule: #bbbbbb; --warn: #8a3b00; --warn-paper: #ffffff;
    --c0: #1f5fbf; --c1: #c04f15; --c2: #2a7d4f; --c3: #7a4fa3; }
  figure, table, .warning { break-inside: avoid; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 0.5rem; }
.warning { border-left: 4px solid var(--warn); background: var(--warn-paper); color: var(--warn); padding: 0.5rem 0.75rem; margin: 0.5rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; color: var(--soft); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.5rem; margin-top: 1.5rem; }
figure { margin: 0; }
figcaption { font-weight: 600; }
.unit { color: var(--soft); font-weight: 400; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1rem; margin: 0; padding: 0; font-size: 0.875rem; }
.key { display: inline-block; width: 1.25em; height: 0; border-top: 3px solid; margin-right: 0.4em; vertical-align: middle; }
.k0 { border-color: var(--c0); } .k1 { border-color: var(--c1); border-top-style: dashed; } .k2 { border-color: var(--c2); border-top-style: dotted; } .k3 { border-color: var(--c3); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .value { fill: var(--ink); }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .s0 { stroke: var(--c0); } svg .s1 { stroke: var(--c1); stroke-dasharray: 6 3; } svg .s2 { stroke: var(--c2); stroke-dasharray: 2 3; } svg .s3 { stroke: var(--c3); }
svg .f0 { fill: var(--c0); } svg .f1 { fill: var(--c1); } svg .f2 { fill: var(--c2); } svg .f3 { fill: var(--c3); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
";
