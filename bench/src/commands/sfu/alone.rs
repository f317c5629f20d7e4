//! Several rounds of ours, beside nobody.

use super::comparison::{ARRIVAL_P99, CPU, FLOOR, LOSS, OVER_FLOOR, RATE, SERVER, WHOLE_CPU, middle, spread};
use super::report::Report;
use crate::report::Spread;
use serde_json::{Value, json};

/// The rounds that count.
pub(crate) struct Alone {
    pub(crate) scenario: String,
    pub(crate) rounds: Vec<Report>,
}

/// Above the lines of `Alone::markdown`.
pub(crate) const GROWTH_HEAD: &str = "\
| scenario | packets/s | loss, % | server CPU per delivered packet, ns | whole, ns | floor, ns | over the floor | server, % of a CPU | latency p99 at the device, ms |
|---|---|---|---|---|---|---|---|---|
";

impl Alone {
    pub(crate) fn markdown(&self) -> String {
        let rounds = &self.rounds;
        let disturbed = if rounds.iter().any(|report| report.disturbed) { " (disturbed)" } else { "" };
        format!(
            "| {}{disturbed} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.scenario.trim_start_matches("sfu: "),
            middle(rounds, RATE, 1.0, 0),
            middle(rounds, LOSS, 100.0, 3),
            spread(rounds, CPU, 1.0, 0),
            spread(rounds, WHOLE_CPU, 1.0, 0),
            spread(rounds, FLOOR, 1.0, 0),
            spread(rounds, OVER_FLOOR, 1.0, 2),
            middle(rounds, SERVER, 100.0, 1),
            middle(rounds, ARRIVAL_P99, 1e-3, 2),
        )
    }

    /// What was wrong, and what disturbed.
    pub(crate) fn notes(&self) -> String {
        let faults = self.rounds.iter().flat_map(|report| &report.faults);
        faults.map(|fault| format!("- {}: {fault}.\n", self.scenario.trim_start_matches("sfu: "))).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let spread = |figure: fn(&Report) -> Option<f64>| {
            let values: Option<Vec<f64>> = self.rounds.iter().map(figure).collect();
            values.and_then(|values| Spread::of(&values))
        };
        json!({
            "scenario": self.scenario,
            "cpu_ns_per_packet_spread": spread(CPU),
            "whole_cpu_ns_per_packet_spread": spread(WHOLE_CPU),
            "ratio_to_floor_spread": spread(OVER_FLOOR),
            "rounds": self.rounds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sfu::report::example;

    #[test]
    fn rows_have_all_columns() {
        let report = |cpu: f64| Report { cpu_ns_per_packet: Some(cpu), ..example(500) };
        let alone = Alone { scenario: "sfu: 1 → 50".to_owned(), rounds: vec![report(2_000.0), report(2_200.0)] };
        let row = alone.markdown();
        assert_eq!(row.matches('|').count(), GROWTH_HEAD.lines().next().unwrap().matches('|').count());
        assert!(row.starts_with("| 1 → 50 |") && row.contains("2100 (2000 to 2200)"), "{row}");
        assert_eq!(alone.json()["cpu_ns_per_packet_spread"]["median"], json!(2_100.0));
    }
}
