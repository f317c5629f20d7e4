//! `plausch-bench join`: one participant, with live progress.

use clap::Args;
use plausch_client::{Client, JoinOptions, State, Stats, Trust};
use plausch_signalling::MediaState;
use serde::Serialize;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::interval;

/// Arguments of `plausch-bench join`.
#[derive(Args)]
pub(crate) struct JoinArguments {
    /// Address of the server: http://host:port or https://host.
    #[arg(long, default_value = "http://localhost:8080")]
    url: String,
    /// PEM file of the certificates to believe behind https instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Room to join, by its name as a person would type it.
    #[arg(long)]
    room: String,
    /// Name that the others see.
    #[arg(long, default_value = "plausch-bench")]
    name: String,
    /// Leave after this time; without it, on Ctrl-C.
    #[arg(long)]
    seconds: Option<u64>,
    /// Receiving slots: how many others can be seen and heard at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=50))]
    slots: u16,
    /// Simulcast layers of the picture: 160×90, 320×180 and 640×360. One layer is 320×180 without simulcast.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    layers: u8,
    /// Send no picture.
    #[arg(long)]
    no_video: bool,
    /// Send no sound.
    #[arg(long)]
    no_audio: bool,
    /// Print one JSON object at the end, and progress to standard error.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    participant: String,
    srtp_profile: Option<&'static str>,
    join_ms: Option<f64>,
    first_packet_ms: Option<f64>,
    first_key_frame_ms: Option<f64>,
    audio_packets: u64,
    video_packets: u64,
    video_frames: u64,
    key_frames: u64,
    /// Sequence numbers that never arrived, and jumps.
    sequence_gaps: u64,
    duplicates: u64,
    undecryptable: u64,
    foreign_packets: u64,
    sent_packets: u64,
}

/// Joins, shows progress every second, and leaves.
pub(crate) async fn run(arguments: JoinArguments) -> anyhow::Result<()> {
    let options = JoinOptions {
        microphone: !arguments.no_audio,
        camera_layers: if arguments.no_video { 0 } else { arguments.layers },
        slots: arguments.slots,
        trust: arguments.ca.map_or(Trust::System, Trust::File),
        media: MediaState { microphone: !arguments.no_audio, camera: !arguments.no_video, screen: false },
        ..JoinOptions::new(&arguments.url, &arguments.room, &arguments.name)
    };
    let client = Client::join(options).await?;
    let say = |line: String| match arguments.json {
        true => writeln!(stderr(), "{line}"),
        false => writeln!(stdout(), "{line}"),
    };
    say(joined(&client.stats()))?;
    let begin = Instant::now();
    let end = arguments.seconds.map(|seconds| begin + Duration::from_secs(seconds));
    let mut tick = interval(Duration::from_secs(1));
    tick.tick().await;
    let mut before = client.stats();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = tick.tick() => {}
        }
        let stats = client.stats();
        if let State::Over(reason) = &stats.state {
            anyhow::bail!(reason.clone().unwrap_or_else(|| "the call is over".to_owned()));
        }
        say(progress(begin.elapsed(), &before, &stats))?;
        before = stats;
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
    }
    let stats = client.stats();
    client.leave().await;
    match arguments.json {
        true => writeln!(stdout(), "{}", serde_json::to_string_pretty(&Report::of(&stats))?)?,
        false => stdout().write_all(summary(&stats).as_bytes())?,
    }
    Ok(())
}

impl Report {
    fn of(stats: &Stats) -> Self {
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let audio = || stats.slots.iter().map(|slot| &slot.audio);
        let video = || stats.slots.iter().map(|slot| &slot.video);
        Self {
            participant: stats.participant.clone(),
            srtp_profile: stats.srtp_profile,
            join_ms: ms(stats.timings.dtls),
            first_packet_ms: ms(stats.timings.first_packet),
            first_key_frame_ms: ms(stats.timings.first_key_frame),
            audio_packets: audio().map(|track| track.packets).sum(),
            video_packets: video().map(|track| track.packets).sum(),
            video_frames: video().map(|track| track.frames).sum(),
            key_frames: video().map(|track| track.key_frames).sum(),
            sequence_gaps: stats.tracks().map(|track| track.missing + track.sequence_jumps).sum(),
            duplicates: stats.tracks().map(|track| track.duplicates).sum(),
            undecryptable: stats.tracks().map(|track| track.undecryptable).sum(),
            foreign_packets: stats.foreign_packets,
            sent_packets: stats.sent.packets,
        }
    }
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
}

fn joined(stats: &Stats) -> String {
    format!(
        "joined as {} with {}: socket after {}, welcome {}, ICE {}, DTLS {}; {} others here",
        stats.participant,
        stats.srtp_profile.unwrap_or("no SRTP"),
        milliseconds(stats.timings.socket),
        milliseconds(stats.timings.welcome),
        milliseconds(stats.timings.ice),
        milliseconds(stats.timings.dtls),
        stats.participants.len(),
    )
}

fn progress(elapsed: Duration, before: &Stats, now: &Stats) -> String {
    let bytes = |stats: &Stats| stats.tracks().map(|track| track.bytes).sum::<u64>();
    let missing: u64 = now.tracks().map(|track| track.missing).sum();
    let frames = |stats: &Stats| stats.slots.iter().map(|slot| slot.video.frames).sum::<u64>();
    let state = match now.state {
        State::Reconnecting => "  RECONNECTING",
        _ => "",
    };
    format!(
        "{:4} s  {} others  in {:5} packets/s {:6} kbit/s {:4} frames/s  {missing} missing  out {:4} packets/s {:5} kbit/s{state}",
        elapsed.as_secs(),
        now.participants.len(),
        now.received_packets() - before.received_packets(),
        (bytes(now) - bytes(before)) * 8 / 1000,
        frames(now) - frames(before),
        now.sent.packets - before.sent.packets,
        (now.sent.bytes - before.sent.bytes) * 8 / 1000,
    )
}

fn summary(stats: &Stats) -> String {
    let mut lines = vec![format!(
        "first packet after {}, first key frame after {}",
        milliseconds(stats.timings.first_packet),
        milliseconds(stats.timings.first_key_frame)
    )];
    for (index, slot) in stats.slots.iter().enumerate() {
        for (kind, track) in [("audio", &slot.audio), ("video", &slot.video)] {
            if track.packets == 0 {
                continue;
            }
            let size = track.picture.map(|(width, height)| format!(", {width}×{height}")).unwrap_or_default();
            let latency = track
                .latency
                .mean_us()
                .map(|mean| format!(", {:.2} ms from sender (mean)", mean as f64 / 1e3))
                .unwrap_or_default();
            lines.push(format!(
                "slot {index} {kind}: {} packets, {} missing, {} late, {} double, {} undecryptable, longest pause {}{size}{latency}",
                track.packets,
                track.missing,
                track.reordered,
                track.duplicates,
                track.undecryptable,
                milliseconds(Some(track.longest_pause)),
            ));
        }
    }
    lines.push(format!(
        "sent {} packets, {} again after NACK; {} key frames were asked for",
        stats.sent.packets, stats.sent.retransmitted, stats.rtcp.key_frame_requests
    ));
    if stats.foreign_packets > 0 {
        lines.push(format!("WRONG: {} packets came from another room", stats.foreign_packets));
    }
    lines.join("\n") + "\n"
}
