//! What control counts, as Prometheus text. Numbers only: nothing here tells who was in which room.

use crate::http::connections::Connections;
use crate::relays::placement::RelayId;
use crate::relays::set::RelayGauge;
use plausch_relay_api::ShardLoad;
use plausch_signalling::ErrorCode;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Counters since start.
#[derive(Debug, Default)]
pub struct Metrics {
    pub sockets: Arc<AtomicU64>,
    pub sockets_refused: AtomicU64,
    pub joins: AtomicU64,
    pub resumes: AtomicU64,
    pub slow_clients: AtomicU64,
    /// What was told to clients of what others did, and the writes to sockets that took.
    pub messages_sent: AtomicU64,
    pub message_writes: AtomicU64,
    pub relay_connections: AtomicU64,
    pub command_errors: AtomicU64,
    pub unreadable_events: AtomicU64,
    errors: [AtomicU64; ERROR_CODES.len()],
    connections: OnceLock<Arc<Connections>>,
}

const ERROR_CODES: [(ErrorCode, &str); 19] = [
    (ErrorCode::BadMessage, "bad-message"),
    (ErrorCode::Version, "version"),
    (ErrorCode::BadRoomName, "bad-room-name"),
    (ErrorCode::BadName, "bad-name"),
    (ErrorCode::BadOffer, "bad-offer"),
    (ErrorCode::RoomFull, "room-full"),
    (ErrorCode::ServerFull, "server-full"),
    (ErrorCode::RateLimited, "rate-limited"),
    (ErrorCode::NoRelay, "no-relay"),
    (ErrorCode::Replaced, "replaced"),
    (ErrorCode::RoomBlocked, "room-blocked"),
    (ErrorCode::RoomClosed, "room-closed"),
    (ErrorCode::PasswordNeeded, "password-needed"),
    (ErrorCode::PasswordWrong, "password-wrong"),
    (ErrorCode::TokenNeeded, "token-needed"),
    (ErrorCode::Quota, "quota"),
    (ErrorCode::Lobby, "lobby"),
    (ErrorCode::Rejected, "rejected"),
    (ErrorCode::NotModerator, "not-moderator"),
];

/// What is now.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    pub rooms: usize,
    pub participants: usize,
    pub attached: usize,
    pub relays: Vec<RelayGauge>,
}

impl Metrics {
    /// Connections are counted where they are.
    pub fn watch_connections(&self, connections: Arc<Connections>) {
        let _ = self.connections.set(connections);
    }

    pub fn count_error(&self, code: ErrorCode) {
        if let Some(place) = ERROR_CODES.iter().position(|(other, _)| *other == code) {
            self.errors[place].fetch_add(1, Relaxed);
        }
    }

    /// The exposition format of Prometheus.
    pub fn text(&self, now: &Gauges) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value)];
        let of = |counter: &AtomicU64| one(counter.load(Relaxed));
        line("plausch_rooms", "gauge", "Rooms with somebody in them.", &one(now.rooms as u64));
        line("plausch_participants", "gauge", "Participants in all rooms.", &one(now.participants as u64));
        line("plausch_attached", "gauge", "Participants with a signalling socket.", &one(now.attached as u64));
        line("plausch_sockets", "gauge", "Open signalling sockets.", &of(&self.sockets));
        line("plausch_sockets_refused_total", "counter", "Sockets over the limit.", &of(&self.sockets_refused));
        line("plausch_joins_total", "counter", "Joins that succeeded.", &of(&self.joins));
        line("plausch_resumes_total", "counter", "Joins that came back as somebody known.", &of(&self.resumes));
        line(
            "plausch_slow_clients_total",
            "counter",
            "Sockets closed for reading too slowly.",
            &of(&self.slow_clients),
        );
        let sent = of(&self.messages_sent);
        line("plausch_messages_sent_total", "counter", "Messages of rooms that were sent to clients.", &sent);
        let writes = of(&self.message_writes);
        line("plausch_message_writes_total", "counter", "Writes that took: those of a moment go together.", &writes);
        if let Some(connections) = self.connections.get() {
            line("plausch_connections", "gauge", "Open connections of HTTP.", &one(connections.held() as u64));
            let ended = connections.refused().map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), count));
            line("plausch_connections_refused_total", "counter", "Connections refused or ended early.", &ended);
        }
        let lost = one(plausch_daemon::log::lost_lines());
        line("plausch_log_lines_lost_total", "counter", "Lines of the log that could not be written.", &lost);
        let linked = now.relays.iter().filter(|relay| relay.linked).count();
        line("plausch_relay_linked", "gauge", "Relays that are linked.", &one(linked as u64));
        let by_relay = |value: fn(&RelayGauge) -> bool| -> Vec<_> {
            now.relays.iter().map(|of| (format!("{{relay=\"{}\"}}", of.relay), u64::from(value(of)))).collect()
        };
        let up = by_relay(|relay| relay.linked);
        line("plausch_relay_up", "gauge", "Whether a relay is linked; one that stays away is forgotten.", &up);
        let draining = by_relay(|relay| relay.draining);
        line("plausch_relay_draining", "gauge", "Whether a relay is about to end and takes no new rooms.", &draining);
        line("plausch_relay_connections_total", "counter", "Links of relays so far.", &of(&self.relay_connections));
        line("plausch_command_errors_total", "counter", "Commands the relay refused.", &of(&self.command_errors));
        let unreadable = of(&self.unreadable_events);
        line("plausch_unreadable_events_total", "counter", "Events of relays that are not known here.", &unreadable);
        let errors: Vec<_> = ERROR_CODES
            .iter()
            .zip(&self.errors)
            .map(|((_, name), count)| (format!("{{code=\"{name}\"}}"), count.load(Relaxed)))
            .collect();
        line("plausch_errors_total", "counter", "Errors sent to clients, by code.", &errors);
        let by_shard = |value: fn(&ShardLoad) -> u64| -> Vec<_> {
            let shards = now.relays.iter().flat_map(|of| of.shards.iter().map(move |load| (&of.relay, load)));
            let labels = |relay: &RelayId, shard| format!("{{relay=\"{relay}\",shard=\"{shard}\"}}");
            shards.map(|(relay, load)| (labels(relay, load.shard), value(load))).collect()
        };
        let participants = by_shard(|load| u64::from(load.participants));
        line("plausch_shard_participants", "gauge", "Participants on a shard.", &participants);
        let busy = by_shard(|load| u64::from(load.busy_permille));
        line("plausch_shard_busy_permille", "gauge", "How busy a shard is, in thousandths.", &busy);
        text
    }
}
