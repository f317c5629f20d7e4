//! Which limit of the server a run has met, read from the server's own counters: a share of lost packets does not tell
//! a limit of its configuration from a network that is full.

use clap::Args;
use plausch_client::{Trust, get_text};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// A run that lost a smaller share of its packets has met no limit worth naming.
const HURTS: f64 = 0.001;
/// A server that does not answer within this time tells nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Limits that are named; those that were met most often come first.
const NAMED: usize = 3;

/// Counters that stand for one limit, and where it is set.
const KNOWN: [(&str, &str); 10] = [
    (
        "plausch_errors_total{code=\"room-full\"}",
        "rooms were full; raise `participants_per_room` in control's [limits]",
    ),
    ("plausch_errors_total{code=\"server-full\"}", "the server was full; raise control's [limits]"),
    (
        "plausch_errors_total{code=\"rate-limited\"}",
        "too many joins or messages came from one address; raise `join_burst` and `joins_per_minute` in control's [limits]",
    ),
    ("plausch_sockets_refused_total", "too many connections; raise `sockets` in control's [limits]"),
    (
        "plausch_drop_turn_bandwidth_total",
        "allocations sent more than they may; raise `turn_bytes_per_second` in the relay's [limits]",
    ),
    (
        "plausch_turn_refused_quota_total",
        "users had too many allocations; raise `turn_allocations_per_user` in the relay's [limits]",
    ),
    (
        "plausch_turn_refused_capacity_total",
        "there was no room for more allocations; raise `turn_allocations_per_shard` in the relay's [limits]",
    ),
    ("plausch_drop_dtls_limit_total", "too many handshakes at once; let people join more slowly"),
    ("plausch_dtls_drop_limit_total", "too many handshakes at once; let people join more slowly"),
    (
        "plausch_drop_egress_overload_total",
        "pictures were left out because a shard had more to do than its CPU can; use fewer participants, or more CPUs",
    ),
];
/// Others are told by name when that says that they are limits.
const LIMIT_WORDS: [&str; 8] = ["limit", "quota", "capacity", "refused", "bandwidth", "overload", "policed", "_full"];

/// Flattened into the arguments of commands that load a server.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LimitArguments {
    /// Address of the relay's metrics ([metrics] in its configuration), as http://127.0.0.1:7901: the run then names the
    /// limit of the server that it met.
    #[arg(long, value_name = "URL")]
    pub(crate) relay_metrics: Option<String>,
}

/// Counters before a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    sources: Vec<(String, Trust)>,
    before: BTreeMap<String, u64>,
}

impl Limits {
    /// Reads what the sources have counted so far; those that do not answer are passed over.
    pub(crate) async fn watch(sources: Vec<(String, Trust)>) -> Self {
        let before = read(&sources).await;
        Self { sources, before }
    }

    /// Adds to what kept people from joining which limit that was.
    pub(crate) async fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match self.met(0.0, true).await {
            met if met.is_empty() => error,
            met => {
                let text = format!("{error}; SERVER-LIMIT: {}", met.join("; "));
                error.context(text)
            }
        }
    }

    /// What the server has counted since, a sentence for each limit, if the run was hurt by that: packets were lost, or
    /// somebody was refused.
    pub(crate) async fn met(&self, loss_ratio: f64, refused: bool) -> Vec<String> {
        if loss_ratio < HURTS && !refused {
            return Vec::new();
        }
        name(&self.before, &read(&self.sources).await)
    }
}

async fn read(sources: &[(String, Trust)]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (url, trust) in sources {
        if let Ok(Ok(Some(text))) = timeout(PATIENCE, get_text(url, trust, "/metrics")).await {
            parse(&text).into_iter().for_each(|(name, value)| *all.entry(name).or_default() += value);
        }
    }
    all
}

/// Prometheus' text format; the shards of a relay are added up.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<u64>() else { continue };
        let name = name.split_once("{shard=").map_or(name, |(name, _)| name);
        *counters.entry(name.to_owned()).or_default() += value;
    }
    counters
}

fn name(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let grown = |name: &str, value: u64| value.saturating_sub(before.get(name).copied().unwrap_or(0));
    let mut met: Vec<(u64, String)> = after
        .iter()
        .map(|(counter, value)| (grown(counter, *value), counter))
        .filter(|(count, _)| *count > 0)
        .filter_map(|(count, counter)| {
            let known = KNOWN
                .iter()
                .find(|(name, _)| name == counter)
                .map(|(_, sentence)| format!("{sentence} (counted {count} times)"));
            let bare = counter.split('{').next().unwrap_or(counter);
            let by_name = || format!("the server counted {counter} {count} times");
            let is_limit = bare.ends_with("_total") && LIMIT_WORDS.iter().any(|word| counter.contains(word));
            Some((count, known.or_else(|| is_limit.then(by_name))?))
        })
        .collect();
    met.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    met.into_iter().take(NAMED).map(|(_, sentence)| sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_were_met_are_named() {
        let before = parse(
            "# TYPE plausch_drop_turn_bandwidth_total counter\nplausch_drop_turn_bandwidth_total{shard=\"0\"} 5\n\
             plausch_errors_total{code=\"room-full\"} 1\n",
        );
        let after = parse(
            "plausch_drop_turn_bandwidth_total{shard=\"0\"} 905\nplausch_drop_turn_bandwidth_total{shard=\"1\"} 100\n\
             plausch_errors_total{code=\"room-full\"} 1\nplausch_rtp_forwarded_total{shard=\"0\"} 7\n\
             plausch_drop_publisher_limit_total{shard=\"0\"} 3\nplausch_sockets 9\n",
        );
        let met = name(&before, &after);
        assert_eq!(met.len(), 2, "{met:?}");
        assert!(met[0].contains("`turn_bytes_per_second`") && met[0].contains("1000 times"), "{met:?}");
        assert_eq!(met[1], "the server counted plausch_drop_publisher_limit_total 3 times");
        assert!(name(&after, &after).is_empty());
    }
}
