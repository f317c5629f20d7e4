//! `plausch-bench joins`: everybody comes at once, as after a lecture's invitation.

use crate::report::figures::{counts_ms, cumulative_ms};
use crate::report::page::{Columns, Lines, Plot, Series};
use crate::report::{Circumstances, Limits, Mark, Measurement, Times};
use crate::run::crowd::Crowd;
use crate::run::load::LoadArguments;
use crate::run::stop::stop_signal;
use anyhow::bail;
use clap::Args;
use plausch_client::{Histogram, Stats};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Publishers talk for this long before the storm.
const CALM: Duration = Duration::from_secs(2);
/// Everybody must have media within this time.
const MEDIA_WITHIN: Duration = Duration::from_secs(20);
/// How fast publishers come before it.
const PUBLISHERS_PER_SECOND: u32 = 50;

/// Arguments of `plausch-bench joins`.
#[derive(Args)]
#[command(after_help = "\
Example:
  a lecture of two speakers begins   plausch-bench joins --publishers 2 --viewers 400")]
pub(crate) struct JoinsArguments {
    #[command(flatten)]
    load: LoadArguments,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Report {
    scenario: String,
    target: String,
    joined: usize,
    failed: usize,
    join_ms: Times,
    first_packet_ms: Times,
    first_key_frame_ms: Times,
    /// Longest pause of a track between publishers meanwhile; they were there before.
    longest_pause_ms: Option<f64>,
    #[serde(flatten)]
    circumstances: Circumstances,
}

/// When the viewers had what.
struct Waits {
    connected: Histogram,
    first_packet: Histogram,
    first_picture: Histogram,
}

impl Report {
    fn measurement(&self, waits: &Waits) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&self.scenario, self)?;
        out.figure("joined", format!("{} of {}", self.joined, self.joined + self.failed));
        out.figure("connected", self.join_ms.text());
        out.figure("first packet", self.first_packet_ms.text());
        out.figure("first picture", self.first_key_frame_ms.text());
        if let Some(pause) = self.longest_pause_ms {
            out.figure("others", format!("longest pause of a track between publishers {pause:.0} ms"));
        }
        let series = |name: &str, waits: &Histogram| Series::new(name, cumulative_ms(waits));
        out.plots = vec![
            Plot::Columns(Columns::of(
                "Time until media can flow",
                "participants",
                "ms",
                &[("connected".to_owned(), counts_ms(&waits.connected))],
            )),
            Plot::Lines(Lines {
                title: "Who had what by when".to_owned(),
                unit: "% of the viewers",
                along: "ms",
                series: vec![
                    series("connected", &waits.connected),
                    series("first packet", &waits.first_packet),
                    series("first picture", &waits.first_picture),
                ],
                ..Lines::default()
            }),
        ];
        out.circumstances(&self.target, None, &self.circumstances);
        Ok(out)
    }
}

/// Publishers first, then all viewers within one second.
pub(crate) async fn run(arguments: JoinsArguments) -> anyhow::Result<()> {
    let load = &arguments.load;
    load.check()?;
    if load.viewers == 0 {
        bail!("nobody would join; give --viewers");
    }
    // The first key frame is only seen by who decrypts everything.
    let mut crowd = Crowd::new(load, 1);
    crowd.join_first().await?;
    load.find_relay(&crowd)?;
    let limits = Limits::watch(load.target().metrics).await;
    let publishers = load.rooms as usize * usize::from(load.publishers);
    crowd.join(publishers - 1, PUBLISHERS_PER_SECOND).await?;
    crowd.talk(true);
    sleep(CALM).await;
    crowd.clear_pauses();
    let storm = crowd.waiting();
    eprintln!("{publishers} publishers are here; {storm} viewers join within one second");
    let mut failures = Vec::new();
    let mut in_vain = 0;
    let storming = async {
        failures = crowd.try_join(storm, storm as u32).await;
        in_vain = wait_for_media(&crowd, load).await;
    };
    let stopped = tokio::select! {
        () = storming => false,
        () = stop_signal() => true,
    };
    let viewers: Vec<Stats> = crowd.stats(false).collect();
    let pause = |stats: &Stats| stats.tracks().filter(|track| track.packets > 0).map(|track| track.longest_pause).max();
    let longest_pause_ms = crowd.stats(true).filter_map(|stats| pause(&stats)).max().map(|p| p.as_secs_f64() * 1e3);
    crowd.leave().await;

    let times = |of: &dyn Fn(&Stats) -> Option<Duration>| {
        let mut histogram = Histogram::default();
        viewers.iter().filter_map(of).for_each(|time| histogram.record(time.as_micros() as u64));
        histogram
    };
    let waits = Waits {
        connected: times(&|stats| stats.timings.dtls),
        first_packet: times(&|stats| stats.timings.first_packet),
        first_picture: times(&|stats| stats.timings.first_key_frame),
    };
    let report = Report {
        scenario: load.scenario("joins"),
        target: load.url.clone(),
        joined: viewers.len(),
        failed: failures.len(),
        join_ms: Times::of(&waits.connected),
        first_packet_ms: Times::of(&waits.first_packet),
        first_key_frame_ms: Times::of(&waits.first_picture),
        longest_pause_ms,
        circumstances: Circumstances::now(),
    };
    let mut measurement = report.measurement(&waits)?;
    measurement.stopped(stopped);
    for limit in limits.met(0.0, in_vain > 0 || !failures.is_empty()).await {
        measurement.warn(Mark::ServerLimit, limit);
    }
    if let Some(first) = failures.first() {
        measurement.wrong(&[format!("{} of {storm} joins failed; the first: {first}", failures.len())]);
    }
    if in_vain > 0 {
        measurement.wrong(&[format!("{in_vain} participants had no media within {} s", MEDIA_WITHIN.as_secs())]);
    }
    measurement.conclude(&load.outputs)
}

/// How many viewers have waited in vain.
async fn wait_for_media(crowd: &Crowd, load: &LoadArguments) -> usize {
    let begin = Instant::now();
    loop {
        let without = |stats: &Stats| match load.video_kbps {
            0 => stats.timings.first_packet.is_none(),
            _ => stats.timings.first_key_frame.is_none(),
        };
        let waiting = crowd.stats(false).filter(without).count();
        if waiting == 0 || begin.elapsed() > MEDIA_WITHIN {
            return waiting;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_show_when_everybody_had_a_picture() {
        let mut waits = Waits {
            connected: Histogram::default(),
            first_packet: Histogram::default(),
            first_picture: Histogram::default(),
        };
        for ms in 1..=100u64 {
            waits.connected.record(ms * 1_000);
            waits.first_packet.record(ms * 2_000);
            waits.first_picture.record(ms * 5_000);
        }
        let report = Report {
            scenario: "joins: 2 → 100".to_owned(),
            target: "http://localhost".to_owned(),
            joined: 100,
            failed: 3,
            join_ms: Times::of(&waits.connected),
            first_packet_ms: Times::of(&waits.first_packet),
            first_key_frame_ms: Times::of(&waits.first_picture),
            longest_pause_ms: Some(41.0),
            circumstances: Circumstances::now(),
        };
        let html = report.measurement(&waits).unwrap().html();
        for text in ["100 of 103", "max 500 ms", "between publishers 41 ms", "% of the viewers"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 2);
    }
}
