//! What a receiver knows of one incoming stream (RFC 3550, sections 6.4.1 and A.3, A.8).

use crate::rtcp::ReportBlock;
use crate::time::Time;

/// Statistics of one SSRC.
#[derive(Clone, Debug)]
pub(crate) struct Reception {
    first: u64,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Times 16, as in section A.8.
    jitter: u32,
    transit: u32,
}

impl Reception {
    /// Begins with the first packet; `index` is its sequence number with the rollovers in front.
    pub(crate) fn new(index: u64, timestamp: u32, clock_rate: u32, now: Time) -> Self {
        Self {
            first: index,
            highest: index,
            received: 1,
            expected_before: 0,
            received_before: 0,
            jitter: 0,
            transit: transit(timestamp, clock_rate, now),
        }
    }

    /// Counts a further packet.
    pub(crate) fn record(&mut self, index: u64, timestamp: u32, clock_rate: u32, now: Time) {
        self.first = self.first.min(index);
        self.highest = self.highest.max(index);
        self.received += 1;
        let transit = transit(timestamp, clock_rate, now);
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        // A jump of the sender's clock by more than ten seconds is no jitter.
        if difference < clock_rate.saturating_mul(10) {
            self.jitter = self.jitter.saturating_add(difference).saturating_sub((self.jitter + 8) >> 4);
        }
    }

    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// The report about the time since the last one. `last_sender_report` is its compact NTP and when it came.
    pub(crate) fn report(&mut self, ssrc: u32, last_sender_report: Option<(u32, Time)>, now: Time) -> ReportBlock {
        let expected = self.highest - self.first + 1;
        let expected_since = expected - self.expected_before.min(expected);
        let received_since = self.received - self.received_before;
        let lost_since = expected_since.saturating_sub(received_since);
        self.expected_before = expected;
        self.received_before = self.received;
        let fraction_lost = (lost_since * 256).checked_div(expected_since).unwrap_or(0).min(255) as u8;
        let lost = expected as i64 - self.received as i64;
        let (last_sender_report, delay_since_last) = last_sender_report.map_or((0, 0), |(compact, at)| {
            let delay = now.since(at).as_micros() * 65_536 / 1_000_000;
            (compact, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest_sequence: self.highest as u32,
            jitter: self.jitter >> 4,
            last_sender_report,
            delay_since_last,
        }
    }
}

fn transit(timestamp: u32, clock_rate: u32, now: Time) -> u32 {
    let arrival = u128::from(now.0) * u128::from(clock_rate) / 1_000_000;
    (arrival as u32).wrapping_sub(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_reported_for_the_interval_and_in_total() {
        let mut reception = Reception::new(65_530, 0, 90_000, Time(0));
        for index in (65_531..65_540).filter(|index| index % 2 == 0) {
            reception.record(index, 0, 90_000, Time(0));
        }
        // 65530 to 65538 are nine, of which 65530, 32, 34, 36, 38 came.
        let report = reception.report(9, None, Time(0));
        assert_eq!((report.cumulative_lost, report.extended_highest_sequence), (4, 65_538));
        assert_eq!(u32::from(report.fraction_lost), 4 * 256 / 9);
        reception.record(65_539, 0, 90_000, Time(0));
        let report = reception.report(9, Some((7, Time(0))), Time(500_000));
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 4));
        assert_eq!((report.last_sender_report, report.delay_since_last), (7, 32_768));
    }

    #[test]
    fn jitter_is_smoothed_deviation() {
        let mut reception = Reception::new(0, 0, 48_000, Time(0));
        for n in 1..200u64 {
            let late = if n % 2 == 0 { 10_000 } else { 0 };
            reception.record(n, n as u32 * 960, 48_000, Time(n * 20_000 + late));
        }
        // 10 ms on and off are 480 units each time.
        let jitter = reception.report(1, None, Time(0)).jitter;
        assert!((440..=480).contains(&jitter), "{jitter}");
    }
}
