//! What a command measured: one value, from which the table on the terminal, the JSON and the page are made.

use super::Circumstances;
use super::outputs::Outputs;
use super::page::{Page, Plot, Table};
use anyhow::bail;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{Write, stdout};

/// Least width of the names of figures on a terminal.
const NAME_WIDTH: usize = 13;

/// A measurement, ready to be shown.
#[derive(Default)]
pub(crate) struct Measurement {
    pub(crate) title: String,
    /// Names of the columns, where several servers stand beside each other; the first is empty.
    pub(crate) head: Vec<String>,
    /// A name and its value, or one value for each column.
    pub(crate) figures: Vec<Vec<String>>,
    /// What is too wide for a terminal, as step by step.
    pub(crate) tables: Vec<Table>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) plots: Vec<Plot>,
    /// On what and how it was measured.
    pub(crate) circumstances: Vec<(String, String)>,
    /// The object of `--json`.
    json: String,
}

/// What a reader must know before believing any figure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Warning {
    pub(crate) mark: Mark,
    /// A sentence without its full stop.
    pub(crate) text: String,
}

/// Kinds of warnings; the first of them says most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mark {
    /// A limit of the server's own configuration was met, which explains what else went wrong.
    ServerLimit,
    /// The server did what a right one would not.
    Wrong,
    /// The run was ended early: these are the figures up to then.
    Stopped,
    /// The bench itself had nothing left.
    ClientBound,
    /// The bench fell behind its schedule.
    Limited,
    /// Others used the machine meanwhile.
    Disturbed,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Self::Wrong => "WRONG",
            Self::ServerLimit => "SERVER-LIMIT",
            Self::Stopped => "STOPPED",
            Self::ClientBound => "CLIENT-BOUND",
            Self::Limited => "LIMITED",
            Self::Disturbed => "DISTURBED",
        }
    }

    /// Whether the run ends with a non-zero exit.
    fn fails(self) -> bool {
        matches!(self, Self::Wrong | Self::ServerLimit | Self::Stopped)
    }
}

impl Measurement {
    /// `report` is what programs read.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(crate) fn new(title: &str, report: &impl Serialize) -> anyhow::Result<Self> {
        let json = serde_json::to_string_pretty(report)? + "\n";
        Ok(Self { title: title.to_owned(), json, ..Self::default() })
    }

    pub(crate) fn figure(&mut self, name: &str, value: impl Into<String>) {
        self.figures.push(vec![name.to_owned(), value.into()]);
    }

    pub(crate) fn warn(&mut self, mark: Mark, text: impl Into<String>) {
        self.warnings.push(Warning { mark, text: text.into() });
    }

    /// Faults of a server, a sentence each.
    pub(crate) fn wrong(&mut self, faults: &[String]) {
        faults.iter().for_each(|fault| self.warn(Mark::Wrong, fault));
    }

    pub(crate) fn disturbed(&mut self, is: bool) {
        if is {
            self.warn(Mark::Disturbed, "others used the machine meanwhile; read ratios at most, or run again");
        }
    }

    /// The run ended before its time; what is shown is what there is.
    pub(crate) fn stopped(&mut self, is: bool) {
        if is {
            self.warn(Mark::Stopped, "the run was ended early; these are the figures up to then");
        }
    }

    pub(crate) fn circumstances(&mut self, target: &str, device: Option<&str>, circumstances: &Circumstances) {
        self.circumstances.push(("target".to_owned(), target.to_owned()));
        self.circumstances.extend(device.map(|device| ("device".to_owned(), device.to_owned())));
        self.circumstances.extend(circumstances.lines());
    }

    /// For people at a terminal.
    pub(crate) fn text(&self) -> String {
        let scenario = vec!["scenario".to_owned(), self.title.clone()];
        let rows =
            || std::iter::once(&scenario).chain((!self.head.is_empty()).then_some(&self.head)).chain(&self.figures);
        let columns = rows().map(Vec::len).max().unwrap_or(0);
        // What is alone in its row may be longer.
        let width = |column: usize| {
            let cells = rows().filter(|row| row.len() > column + 1).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(if column == 0 { NAME_WIDTH } else { 0 })
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in rows() {
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(out, "{cell:<width$} ");
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        for Warning { mark, text } in &self.warnings {
            let _ =
                writeln!(out, "{:<width$} {text}", mark.name(), width = widths.first().copied().unwrap_or_default());
        }
        out
    }

    /// The object of `--json`.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The page of `--html`.
    pub(crate) fn html(&self) -> String {
        let figures = Table { title: "Figures".to_owned(), head: self.head.clone(), rows: self.figures.clone() };
        Page {
            title: self.title.clone(),
            warnings: self.warnings.iter().map(|Warning { mark, text }| format!("{}: {text}", mark.name())).collect(),
            tables: std::iter::once(figures).chain(self.tables.clone()).collect(),
            plots: self.plots.clone(),
            circumstances: self.circumstances.clone(),
        }
        .html()
    }

    /// Prints the table and writes what is wished.
    ///
    /// # Errors
    /// When that cannot be written, and for the worst of what must not go unnoticed.
    pub(crate) fn conclude(&self, outputs: &Outputs) -> anyhow::Result<()> {
        stdout().write_all(self.text().as_bytes())?;
        outputs.write(self)?;
        self.verdict()
    }

    /// # Errors
    /// The worst of what must not go unnoticed.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        match self.warnings.iter().filter(|warning| warning.mark.fails()).min_by_key(|warning| warning.mark) {
            None => Ok(()),
            Some(Warning { mark, text }) => bail!("{}: {text}", mark.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        let mut measurement = Measurement::new("sfu: 1 → 20", &serde_json::json!({ "loss_ratio": 0.5 })).unwrap();
        measurement.figure("packets/s", "4800");
        measurement.figures.push(["latency p50, ms", "0.31", "0.45"].map(str::to_owned).to_vec());
        measurement
    }

    #[test]
    fn one_value_feeds_table_json_and_page() {
        let mut measurement = measurement();
        measurement.disturbed(true);
        assert_eq!(
            measurement.text().lines().collect::<Vec<_>>()[..3],
            ["scenario        sfu: 1 → 20", "packets/s       4800", "latency p50, ms 0.31 0.45"]
        );
        assert!(measurement.text().contains("\nDISTURBED       others"));
        assert!(measurement.json().contains("\"loss_ratio\": 0.5"));
        let html = measurement.html();
        for text in ["DISTURBED: others", "4800", "0.45"] {
            assert!(html.contains(text), "{text}");
        }
    }

    #[test]
    fn what_must_not_go_unnoticed_fails_the_run() {
        let mut measurement = measurement();
        measurement.disturbed(true);
        measurement.warn(Mark::ClientBound, "no CPU left");
        assert!(measurement.verdict().is_ok());
        measurement.stopped(true);
        measurement.wrong(&["3 packets came twice".to_owned()]);
        assert_eq!(measurement.verdict().unwrap_err().to_string(), "WRONG: 3 packets came twice");
        measurement.warn(Mark::ServerLimit, "the room is full");
        assert_eq!(measurement.verdict().unwrap_err().to_string(), "SERVER-LIMIT: the room is full");
    }
}
