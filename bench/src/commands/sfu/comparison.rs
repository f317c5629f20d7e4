//! What ours cost against a peer.

use super::Peer;
use super::plots::plots;
use super::report::Report;
use crate::report::{Mark, Measurement, Quantiles, Rounds, Spread, Times};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The reports of all rounds that count.
pub(crate) struct Comparison {
    pub(crate) scenario: String,
    pub(crate) peer: Peer,
    pub(crate) rounds: Rounds<Report>,
    /// Rounds are missing, because the run was ended early.
    pub(crate) stopped: bool,
}

/// A figure of a report as a number.
pub(crate) type Figure = fn(&Report) -> Option<f64>;

pub(crate) const CPU: Figure = |report| report.cpu_ns_per_packet;
pub(crate) const WHOLE_CPU: Figure = |report| report.whole_cpu_ns_per_packet;
pub(crate) const FLOOR: Figure = |report| report.floor.as_ref()?.frames_ns_per_packet;
pub(crate) const OVER_FLOOR: Figure = Report::over_floor;
const P50: Figure = |report| report.latency_us.p50.map(|us| us as f64);
const P99: Figure = |report| report.latency_us.p99.map(|us| us as f64);
const P999: Figure = |report| report.latency_us.p999.map(|us| us as f64);
const MAX: Figure = |report| report.latency_us.max.map(|us| us as f64);
const ARRIVAL_P50: Figure = |report| report.arrival_latency_us.p50.map(|us| us as f64);
pub(crate) const ARRIVAL_P99: Figure = |report| report.arrival_latency_us.p99.map(|us| us as f64);
const ARRIVAL_P999: Figure = |report| report.arrival_latency_us.p999.map(|us| us as f64);
const ARRIVAL_MAX: Figure = |report| report.arrival_latency_us.max.map(|us| us as f64);
pub(crate) const LOSS: Figure = |report| Some(report.loss_ratio);
pub(crate) const RATE: Figure = |report| Some(report.packets_per_second);
const MEMORY: Figure = |report| report.rss_bytes_per_participant.map(|bytes| bytes as f64);
pub(crate) const SERVER: Figure = |report| report.server_cpu;
const BENCH: Figure = |report| Some(report.bench_cpu);

impl Comparison {
    /// Both sides beside each other, then the ratios. Faults of ours fail the run; those of a peer that is full do not.
    pub(crate) fn measurement(&self) -> anyhow::Result<Measurement> {
        let (key, ours, peer) = (self.peer.key(), self.ours(), self.peer());
        let mut out = Measurement::new(&self.scenario, &self.json())?;
        out.title = format!("{}, ours and {key}", self.scenario);
        out.head = ["", "ours", key].map(str::to_owned).to_vec();
        let mut line = |name: &str, ours: String, peer: String| out.figures.push(vec![name.to_owned(), ours, peer]);
        line("server", server(&ours), server(&peer));
        line("SRTP", profile(&ours), profile(&peer));
        line("delivered of expected", delivered(&ours), delivered(&peer));
        let mut figures = |name: &str, figure: Figure, scale: f64, decimals: usize| {
            let text = |reports: &[Report]| spread(reports, figure, scale, decimals);
            line(name, text(&self.rounds.ours), text(&self.rounds.peer));
        };
        figures("packets/s", RATE, 1.0, 0);
        figures("loss, %", LOSS, 100.0, 3);
        figures("server CPU, ns per packet", CPU, 1.0, 0);
        figures("its CPUs as a whole, ns", WHOLE_CPU, 1.0, 0);
        if self.rounds.ours.iter().any(|report| report.floor.is_some()) {
            figures("floor, ns per packet", FLOOR, 1.0, 0);
        }
        figures("server CPU, %", SERVER, 100.0, 1);
        figures("latency p50, ms", P50, 1e-3, 2);
        figures("latency p99, ms", P99, 1e-3, 2);
        figures("latency p99.9, ms", P999, 1e-3, 2);
        figures("latency max, ms", MAX, 1e-3, 2);
        figures("  at the device, p50", ARRIVAL_P50, 1e-3, 2);
        figures("  at the device, p99", ARRIVAL_P99, 1e-3, 2);
        figures("  at the device, p99.9", ARRIVAL_P999, 1e-3, 2);
        figures("join p50, ms", |report| report.join_ms.p50, 1.0, 0);
        figures("join p99, ms", |report| report.join_ms.p99, 1.0, 0);
        figures("memory a participant, KiB", MEMORY, 1.0 / 1024.0, 1);
        figures("softirq apart, ns", |report| report.softirq_ns_per_packet, 1.0, 0);
        figures("bench CPU, %", BENCH, 100.0, 0);
        let disturbed = |reports: &[Report]| {
            let count = reports.iter().filter(|report| report.disturbed).count();
            format!("{count} of {}", reports.len())
        };
        line("rounds disturbed by others", disturbed(&self.rounds.ours), disturbed(&self.rounds.peer));
        out.figures.extend(self.ratios().into_iter().map(|(name, ratio)| vec![name, ratio]));
        for (name, report) in [("ours", &ours), (key, &peer)].into_iter().filter(|(_, report)| report.disturbed) {
            let text = format!(
                "others used the machine during rounds of {name}; read the ratio at most ({})",
                report.server.as_deref().unwrap_or("server")
            );
            out.warn(Mark::Disturbed, text);
        }
        out.stopped(self.stopped);
        out.wrong(&ours.faults);
        out.figures.extend(peer.faults.iter().map(|fault| vec![format!("wrong with {key}"), fault.clone()]));
        out.plots = plots(&[("ours", &ours), (key, &peer)]);
        out.circumstances(&ours.target, ours.device.as_deref(), &ours.circumstances);
        Ok(out)
    }

    /// The object of `--json`.
    pub(crate) fn json(&self) -> Value {
        let mut object = Map::new();
        let key = self.peer.key();
        object.insert("scenario".to_owned(), json!(self.scenario));
        object.insert("ours".to_owned(), json!(self.ours()));
        object.insert(key.to_owned(), json!(self.peer()));
        let [cpu, whole, p99, arrival] = [CPU, WHOLE_CPU, P99, ARRIVAL_P99].map(|figure| self.rounds.ratio(figure));
        object.insert("ratio_cpu_per_packet".to_owned(), json!(cpu.map(|ratio| ratio.median)));
        object.insert("ratio_cpu_per_packet_spread".to_owned(), json!(cpu));
        object.insert("ratio_whole_cpu_per_packet_spread".to_owned(), json!(whole));
        object.insert("ratio_to_floor_spread".to_owned(), json!(self.over_floor()));
        object.insert("ratio_latency_p99_spread".to_owned(), json!(p99));
        object.insert("ratio_arrival_latency_p99_spread".to_owned(), json!(arrival));
        object.insert("rounds".to_owned(), json!({ "ours": self.rounds.ours, key: self.rounds.peer }));
        Value::Object(object)
    }

    /// One line each of ours and of the peer for a table in Markdown, under `MARKDOWN_HEAD`.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let ratio = self.rounds.ratio(CPU).map_or_else(|| "–".to_owned(), |ratio| ratio.to_string());
        let (ours, peer) = (self.ours(), self.peer());
        let sides = [(&ours, &self.rounds.ours, ratio.as_str()), (&peer, &self.rounds.peer, "")];
        let over_floor = self.over_floor().map_or_else(
            || "–".to_owned(),
            |spread| format!("{:.2} ({:.2} to {:.2})", spread.median, spread.min, spread.max),
        );
        for (index, (median, reports, ratio)) in sides.into_iter().enumerate() {
            let latency = [P50, P99, P999].map(|of| middle(reports, of, 1e-3, 2)).join(" / ");
            let arrival = [ARRIVAL_P50, ARRIVAL_P99, ARRIVAL_P999].map(|of| middle(reports, of, 1e-3, 2)).join(" / ");
            let join = [middle(reports, |r| r.join_ms.p50, 1.0, 0), middle(reports, |r| r.join_ms.p99, 1.0, 0)];
            let disturbed = if reports.iter().any(|report| report.disturbed) { " (disturbed)" } else { "" };
            let name = if index == 0 { self.scenario.trim_start_matches("sfu: ") } else { "" };
            let _ = writeln!(
                out,
                "| {name} | {}{disturbed} | {} | {} | {} | {} | {ratio} | {} | {latency} | {arrival} | {} | {} | {} | {} |",
                server(median),
                middle(reports, RATE, 1.0, 0),
                middle(reports, LOSS, 100.0, 3),
                spread(reports, CPU, 1.0, 0),
                spread(reports, WHOLE_CPU, 1.0, 0),
                if index == 0 { over_floor.as_str() } else { "" },
                join.join(" / "),
                middle(reports, MEMORY, 1.0 / 1024.0, 1),
                middle(reports, SERVER, 100.0, 1),
                middle(reports, BENCH, 100.0, 0),
            );
        }
        out
    }

    /// What the table does not show: SRTP profiles, faults and what disturbed, a line of Markdown each.
    pub(crate) fn notes(&self) -> String {
        let (ours, peer) = (self.ours(), self.peer());
        let mut out = format!(
            "- {}: SRTP is {} with ours and {} with {}.",
            self.scenario.trim_start_matches("sfu: "),
            profile(&ours),
            profile(&peer),
            server(&peer)
        );
        for (report, rounds) in [(&ours, &self.rounds.ours), (&peer, &self.rounds.peer)] {
            for fault in &report.faults {
                let _ = write!(out, " {}, last round: {fault}.", server(report));
            }
            if report.disturbed {
                let most = |of: fn(&Report) -> f64| rounds.iter().map(of).fold(0.0, f64::max) * 100.0;
                let (steal, others) = (most(|report| report.steal_ratio), most(|report| report.others_ratio));
                let _ = write!(out, " Disturbed: steal up to {steal:.1} %, others up to {others:.1} %.");
            }
        }
        out + "\n"
    }

    /// Ours over the peer's, by name.
    pub(crate) fn ratios(&self) -> Vec<(String, String)> {
        let key = self.peer.key();
        let ratio = |(name, figure): (&str, Figure)| {
            Some((format!("ours / {key}, {name}"), self.rounds.ratio(figure)?.to_string()))
        };
        let figures = [
            ("CPU per packet", CPU),
            ("whole CPU per packet", WHOLE_CPU),
            ("latency p99", P99),
            ("latency p99 at the device", ARRIVAL_P99),
        ];
        let over_floor =
            self.over_floor().map(|spread| ("ours / floor, CPU per packet".to_owned(), spread.to_string()));
        figures.into_iter().filter_map(ratio).chain(over_floor).collect()
    }

    /// Ours over the floor that was measured just after, round by round.
    fn over_floor(&self) -> Option<Spread> {
        let ratios: Option<Vec<f64>> = self.rounds.ours.iter().map(OVER_FLOOR).collect();
        Spread::of(&ratios?)
    }

    pub(crate) fn ours(&self) -> Report {
        median_of(&self.rounds.ours)
    }

    pub(crate) fn peer(&self) -> Report {
        median_of(&self.rounds.peer)
    }
}

/// Above the lines of `Comparison::markdown`.
pub(crate) const MARKDOWN_HEAD: &str = "\
| scenario | server | packets/s | loss, % | server CPU per delivered packet, ns | whole, ns | ours / peer | over the floor | latency p50 / p99 / p99.9, ms | at the device p50 / p99 / p99.9, ms | join p50 / p99, ms | memory a participant, KiB | server, % of a CPU | bench, % of a CPU |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// The last report with the medians of all.
fn median_of(reports: &[Report]) -> Report {
    let median = |figure: Figure| {
        let values: Option<Vec<f64>> = reports.iter().map(figure).collect();
        values.and_then(|values| Spread::of(&values)).map(|spread| spread.median)
    };
    let whole = |figure: Figure| median(figure).map(|value| value.round() as u64);
    // There is at least one round.
    let last = &reports[reports.len() - 1];
    Report {
        forwarded_packets: whole(|r| Some(r.forwarded_packets as f64)).unwrap_or_default(),
        expected_packets: whole(|r| Some(r.expected_packets as f64)).unwrap_or_default(),
        loss_ratio: median(LOSS).unwrap_or_default(),
        cpu_ns_per_packet: median(CPU),
        whole_cpu_ns_per_packet: median(WHOLE_CPU),
        softirq_ns_per_packet: median(|r| r.softirq_ns_per_packet),
        latency_us: Quantiles { p50: whole(P50), p99: whole(P99), p999: whole(P999), max: whole(MAX) },
        arrival_latency_us: Quantiles {
            p50: whole(ARRIVAL_P50),
            p99: whole(ARRIVAL_P99),
            p999: whole(ARRIVAL_P999),
            max: whole(ARRIVAL_MAX),
        },
        join_ms: Times {
            p50: median(|r| r.join_ms.p50),
            p99: median(|r| r.join_ms.p99),
            max: median(|r| r.join_ms.max),
        },
        rss_bytes_per_participant: whole(MEMORY),
        packets_per_second: median(RATE).unwrap_or_default(),
        server_cpu: median(SERVER),
        bench_cpu: median(BENCH).unwrap_or_default(),
        steal_ratio: median(|r| Some(r.steal_ratio)).unwrap_or_default(),
        others_ratio: median(|r| Some(r.others_ratio)).unwrap_or_default(),
        disturbed: reports.iter().any(|report| report.disturbed),
        ..last.clone()
    }
}

fn server(report: &Report) -> String {
    report.server.clone().unwrap_or_else(|| report.target.clone())
}

fn profile(report: &Report) -> String {
    report.srtp_profile.unwrap_or("none").to_owned()
}

fn delivered(report: &Report) -> String {
    format!("{} of {}", report.forwarded_packets, report.expected_packets)
}

/// The median of a figure.
pub(crate) fn middle(reports: &[Report], figure: Figure, scale: f64, decimals: usize) -> String {
    let values: Option<Vec<f64>> = reports.iter().map(figure).collect();
    match values.and_then(|values| Spread::of(&values)) {
        None => "–".to_owned(),
        Some(spread) => format!("{:.decimals$}", spread.median * scale),
    }
}

/// The median and, where they differ, the least and the most.
pub(crate) fn spread(reports: &[Report], figure: Figure, scale: f64, decimals: usize) -> String {
    let values: Option<Vec<f64>> = reports.iter().map(figure).collect();
    match values.and_then(|values| Spread::of(&values)) {
        None => "–".to_owned(),
        Some(Spread { median, min, max }) if min == max => format!("{:.decimals$}", median * scale),
        Some(Spread { median, min, max }) => {
            format!("{:.decimals$} ({:.decimals$} to {:.decimals$})", median * scale, min * scale, max * scale)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sfu::report::example;

    fn comparison() -> Comparison {
        let report = |cpu: f64, p99: u64| Report { cpu_ns_per_packet: Some(cpu), ..example(p99) };
        Comparison {
            scenario: "sfu: 1 → 20".to_owned(),
            peer: Peer::Janus,
            rounds: Rounds {
                ours: vec![report(2_000.0, 500), report(2_400.0, 700)],
                peer: vec![report(30_000.0, 9_000), report(32_000.0, 7_000)],
            },
            stopped: false,
        }
    }

    #[test]
    fn json_has_the_keys_that_others_rely_on() {
        let json = comparison().json();
        for side in ["ours", "janus"] {
            for key in ["scenario", "target", "forwarded_packets", "expected_packets", "loss_ratio", "commit"] {
                assert!(!json[side][key].is_null(), "{side}.{key} is missing in {json}");
            }
            for key in ["p50", "p99", "p999", "max"] {
                assert!(json[side]["latency_us"][key].is_u64(), "{side}.latency_us.{key}");
            }
            assert!(json[side]["join_ms"]["p99"].is_f64() && json[side]["softirq_ns_per_packet"].is_f64());
            assert!(json[side]["rss_bytes_per_participant"].is_u64());
        }
        assert_eq!(
            (&json["ours"]["cpu_ns_per_packet"], &json["janus"]["latency_us"]["p99"]),
            (&json!(2_200.0), &json!(8_000))
        );
        let ratio = json["ratio_cpu_per_packet"].as_f64().unwrap();
        assert!((ratio - f64::midpoint(2.0 / 30.0, 2.4 / 32.0)).abs() < 1e-9, "{ratio}");
        assert_eq!(json["ratio_cpu_per_packet_spread"]["min"], json!(2_000.0 / 30_000.0));
        assert_eq!(json["rounds"]["janus"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn tables_show_medians_and_spread() {
        let table = comparison().measurement().unwrap().text();
        assert!(table.contains("2200 (2000 to 2400)"), "{table}");
        let ratio = table.lines().find_map(|line| line.strip_prefix("ours / janus, CPU per packet "));
        assert_eq!(ratio.map(str::trim), Some("0.071 (0.067 to 0.075), 1/14.1"), "{table}");
        let markdown = comparison().markdown();
        let columns = MARKDOWN_HEAD.lines().next().unwrap().matches('|').count();
        assert!(markdown.lines().all(|line| line.matches('|').count() == columns), "{markdown}");
    }
}
