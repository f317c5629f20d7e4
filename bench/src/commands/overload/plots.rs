//! The pictures of an overload, and its table of steps.

use super::report::{Phase, Step};
use crate::report::figures::latency_plot;
use crate::report::page::{Lines, Plot, Scale, Series, Table};

/// `saturating_kbps`: whose latencies are shown beside those at twice that.
pub(super) fn plots(steps: &[Step], saturating_kbps: u32) -> Vec<Plot> {
    let rising = || steps.iter().filter(|step| step.phase != Phase::After);
    let over = |value: fn(&Step) -> Option<f64>| {
        let mut points: Vec<(f64, f64)> =
            rising().filter_map(|step| Some((step.offered_per_second, value(step)?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let plot = |title: &str, unit, y, series: Vec<Series>| {
        Plot::Lines(Lines { title: title.to_owned(), unit, along: "packets/s offered", x: Scale::Linear, y, series })
    };
    let curves: Vec<_> = steps
        .iter()
        .filter(|step| step.phase == Phase::Twice || step.kbps == saturating_kbps)
        .map(|step| (format!("{} kbit/s", step.kbps), step.latency_curve.clone()))
        .collect();
    vec![
        plot(
            "Goodput",
            "packets/s",
            Scale::Linear,
            vec![
                Series::new("came", over(|step| Some(step.goodput_per_second))),
                Series::new("offered", over(|step| Some(step.offered_per_second))),
            ],
        ),
        plot(
            "Loss",
            "%",
            Scale::Linear,
            vec![
                Series::new("video", over(|step| Some(step.video_loss_ratio * 100.0))),
                Series::new("audio", over(|step| Some(step.audio_loss_ratio * 100.0))),
            ],
        ),
        plot(
            "Latency by load",
            "ms",
            Scale::Logarithmic,
            vec![
                Series::new("p99", over(|step| Some(step.latency_us.p99? as f64 / 1e3))),
                Series::new("p50", over(|step| Some(step.latency_us.p50? as f64 / 1e3))),
            ],
        ),
        plot(
            "CPU",
            "% of a CPU",
            Scale::Linear,
            vec![
                Series::new("relay", over(|step| Some(step.relay_cpu? * 100.0))),
                Series::new("bench", over(|step| Some(step.bench_cpu * 100.0))),
                Series::new("busiest thread of the relay", over(|step| Some(step.busiest_thread_cpu? * 100.0))),
            ],
        ),
        plot("A join meanwhile", "ms", Scale::Linear, vec![Series::new("join", over(|step| step.join_ms))]),
        latency_plot(&curves),
    ]
}

/// Step by step.
pub(super) fn step_table(steps: &[Step]) -> Table {
    let row = |step: &Step| {
        let phase = match step.phase {
            Phase::Rising => "",
            Phase::Twice => " (twice)",
            Phase::After => " (afterwards)",
        };
        let ms = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{:.1}", us as f64 / 1e3));
        let percent =
            |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.0}", share * 100.0));
        vec![
            format!("{}{phase}", step.kbps),
            format!("{:.0}", step.offered_per_second),
            format!("{:.0}", step.goodput_per_second),
            format!("{:.3}", step.audio_loss_ratio * 100.0),
            format!("{:.3}", step.video_loss_ratio * 100.0),
            format!("{} / {} / {}", ms(step.latency_us.p50), ms(step.latency_us.p99), ms(step.latency_us.max)),
            percent(step.relay_cpu),
            format!("{:.0}", step.bench_cpu * 100.0),
            step.join_ms.map_or_else(|| "none".to_owned(), |ms| format!("{ms:.0}")),
            format!("{} of {}", step.questions - step.unanswered, step.questions),
            format!("{} / {}", step.relay_socket_drops, step.bench_socket_drops),
            step.bound().to_owned(),
        ]
    };
    let head = [
        "kbit/s",
        "offered, packets/s",
        "came, packets/s",
        "audio lost, %",
        "video lost, %",
        "latency p50 / p99 / max, ms",
        "relay, % CPU",
        "bench, % CPU",
        "join, ms",
        "health answers",
        "dropped at sockets of relay / bench",
        "",
    ];
    Table {
        title: "Step by step".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: steps.iter().map(row).collect(),
    }
}
