//! The figures, for people and for programs.

use crate::contest::{Outcome, Pace};
use serde::Serialize;
use std::fmt::Write;
use std::fs;

/// Kernel threads that cost more than this share of a variant are mentioned.
const ELSEWHERE_COUNTS: f64 = 0.03;
const MISSING_COUNTS: f64 = 0.001;

/// One size on one wire.
#[derive(Serialize)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) side: &'static str,
    pub(super) wire: String,
    pub(super) bytes: usize,
    /// What the numbers above the columns count.
    pub(super) column: &'static str,
    pub(super) fan_outs: Vec<u16>,
    pub(super) rows: Vec<Row>,
}

/// One method with one length of runs; a cell for each fan-out.
#[derive(Clone, Serialize)]
pub(super) struct Row {
    method: String,
    run: usize,
    pub(super) cells: Vec<Outcome>,
}

impl Row {
    pub(super) fn new(method: &str, run: usize) -> Self {
        Self { method: method.to_owned(), run, cells: Vec::new() }
    }

    fn name(&self) -> String {
        match self.run {
            1 => self.method.clone(),
            run => format!("{} ×{run}", self.method),
        }
    }
}

/// All tables of a run.
#[derive(Serialize)]
pub(super) struct Report {
    scenario: &'static str,
    kernel: String,
    processor: String,
    cpu: usize,
    turns: u32,
    turn_ms: u128,
    pub(super) tables: Vec<Table>,
}

impl Report {
    pub(super) fn new(pace: Pace) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            scenario: "ablation",
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: model.map_or("unknown", |(_, model)| model).to_owned(),
            cpu: pace.cpu,
            turns: pace.turns,
            turn_ms: pace.turn.as_millis(),
            tables: Vec::new(),
        }
    }

    fn head(&self) -> String {
        format!(
            "CPU ns per datagram: median of {} turns of {} ms (least–most), on CPU {} of {}, Linux {}",
            self.turns, self.turn_ms, self.cpu, self.processor, self.kernel
        )
    }

    pub(super) fn terminal(&self) -> String {
        let mut out = self.head() + "\n";
        for table in &self.tables {
            let lines: Vec<Vec<String>> = table.lines();
            let columns = lines.first().map_or(0, Vec::len);
            let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
            let widths: Vec<usize> = (0..columns).map(width).collect();
            let _ = writeln!(out, "\n{}", table.title);
            for line in &lines {
                for (cell, width) in line.iter().zip(&widths) {
                    let _ = write!(out, "{cell:<width$}  ");
                }
                out.truncate(out.trim_end().len());
                out.push('\n');
            }
        }
        out + &self.notes()
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = self.head() + "\n";
        for table in &self.tables {
            let _ = writeln!(out, "\n### {}\n", table.title);
            for (index, line) in table.lines().iter().enumerate() {
                let _ = writeln!(out, "| {} |", line.join(" | "));
                if index == 0 {
                    let _ = writeln!(out, "|{}", "---|".repeat(line.len()));
                }
            }
        }
        out + &self.notes()
    }

    /// Explains the marks that occur.
    fn notes(&self) -> String {
        let cells = || self.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.cells);
        let mut notes = String::new();
        if cells().any(|cell| cell.zero_copy_copied) {
            notes += "\n† the kernel copied although it was asked for zero copy\n";
        }
        if cells().any(|cell| cell.elsewhere() > 0.0) {
            notes += "\n+n: n ns of it by kernel threads (io_uring's workers, ksoftirqd) on average\n";
        }
        notes
    }
}

impl Table {
    /// The head and the rows.
    fn lines(&self) -> Vec<Vec<String>> {
        let head =
            ["".to_owned()].into_iter().chain(self.fan_outs.iter().map(|count| format!("{} {count}", self.column)));
        let row = |row: &Row| -> Vec<String> {
            [row.name()].into_iter().chain(row.cells.iter().map(Outcome::cell)).collect()
        };
        [head.collect()].into_iter().chain(self.rows.iter().map(row)).collect()
    }
}

impl Outcome {
    /// What kernel threads did, where it is worth mentioning.
    fn elsewhere(&self) -> f64 {
        if self.elsewhere_ns > ELSEWHERE_COUNTS * self.median_ns { self.elsewhere_ns } else { 0.0 }
    }

    pub(crate) fn cell(&self) -> String {
        if let Some(reason) = &self.refused {
            return format!("not here: {reason}");
        }
        let mut text = format!("{:.0}", self.median_ns);
        if self.zero_copy_copied {
            text.push('†');
        }
        if self.elsewhere() > 0.0 {
            let _ = write!(text, " +{:.0}", self.elsewhere());
        }
        if self.least_ns < self.most_ns {
            let _ = write!(text, " ({:.0}–{:.0})", self.least_ns, self.most_ns);
        }
        if self.missing_ratio > MISSING_COUNTS {
            let _ = write!(text, " lost {:.1} %", self.missing_ratio * 100.0);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_what_is_to_be_known_about_its_figure() {
        let outcome = Outcome { median_ns: 1420.4, least_ns: 1390.0, most_ns: 1500.6, ..Outcome::default() };
        assert_eq!(outcome.cell(), "1420 (1390–1501)");
        let noted = Outcome { zero_copy_copied: true, elsewhere_ns: 200.0, missing_ratio: 0.05, ..outcome.clone() };
        assert_eq!(noted.cell(), "1420† +200 (1390–1501) lost 5.0 %");
        let refused = Outcome { refused: Some("Invalid argument".into()), ..outcome };
        assert_eq!(refused.cell(), "not here: Invalid argument");
    }
}
