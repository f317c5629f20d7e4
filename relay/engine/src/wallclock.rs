//! NTP timestamps (RFC 3550, section 4) on the engine's clock. Its origin is anyone's choice, as the RFC allows:
//! receivers only compare the timestamps of one sender.

use crate::time::Time;

/// Somewhere in this century, so that compact timestamps are not zero at the start.
const ORIGIN_SECONDS: u64 = 0xe800_0000;

/// Seconds and 2^-32 fractions.
pub(crate) fn ntp(now: Time) -> u64 {
    let seconds = now.0 / 1_000_000 + ORIGIN_SECONDS;
    let fraction = ((now.0 % 1_000_000) << 32) / 1_000_000;
    (seconds << 32) | fraction
}

/// The middle 32 bits.
pub(crate) fn compact_ntp(now: Time) -> u32 {
    (ntp(now) >> 16) as u32
}

/// Microseconds since the origin of NTP.
pub(crate) fn ntp_micros(ntp: u64) -> i64 {
    let seconds = (ntp >> 32) as i64;
    let micros = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
    seconds * 1_000_000 + micros as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_survive() {
        let (a, b) = (Time(123_456_789), Time(987_654_321));
        let difference = ntp_micros(ntp(b)) - ntp_micros(ntp(a));
        assert!((difference - 864_197_532).abs() <= 1, "{difference}");
        let compact = compact_ntp(Time(2_500_000)).wrapping_sub(compact_ntp(Time(1_000_000)));
        assert_eq!(compact, 65_536 * 3 / 2);
    }
}
