//! Timestamps and PAWS (RFC 7323 §3 to §5), receiver's side. The clock has milliseconds and an offset per connection.

use super::connection::Isn;
use super::pack::pack_fields;
use crate::base::{Duration, Instant};
use crate::wire::seq::SeqNumber;

/// TS.Recent is no longer comparable after this idle time (RFC 7323 §5.5).
const OUTDATED: Duration = Duration::from_secs(24 * 86_400);

/// The last timestamp of the peer that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamps {
    /// TS.Recent.
    pub recent: u32,
    /// When it was taken.
    pub recent_at: Instant,
}

pack_fields!(Timestamps { recent, recent_at });

impl Timestamps {
    /// Is a segment with this TSval an old duplicate (RFC 7323 §5.3 R1)?
    pub fn is_old(&self, value: u32, now: Instant) -> bool {
        before(value, self.recent) && now.since(self.recent_at) <= OUTDATED
    }

    /// An acceptable segment at `seq` carried `value` (RFC 7323 §4.3): only what does not lie after the last acknowledgment
    /// counts, so that the earliest of several delayed segments is echoed.
    pub fn on_segment(&mut self, value: u32, seq: SeqNumber, last_ack_sent: SeqNumber, now: Instant) {
        if seq.at_or_before(last_ack_sent) && !self.is_old(value, now) {
            *self = Timestamps { recent: value, recent_at: now };
        }
    }
}

/// Is timestamp `a` before `b` in circular order?
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// TSval at this moment (RFC 7323 §5.4).
pub(super) fn clock(now: Instant, isn: &Isn) -> u32 {
    (now.as_millis() as u32).wrapping_add(isn.ts_offset)
}

/// The round-trip time that an echoed value tells; `None` when it is not one of ours of the last two minutes.
pub(super) fn round_trip(now: Instant, isn: &Isn, echo: u32) -> Option<Duration> {
    let age = clock(now, isn).wrapping_sub(echo);
    (echo != 0 && age <= 120_000).then(|| Duration::from_millis(u64::from(age.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    /// conformance: 7323-5.5-24days
    #[test]
    fn a_timestamp_of_25_days_ago_rejects_nothing() {
        let ts = Timestamps { recent: 1000, recent_at: at(0) };
        assert!(ts.is_old(999, at(23 * 86_400)));
        assert!(!ts.is_old(999, at(25 * 86_400)));
        assert!(!ts.is_old(1000, at(1)) && !ts.is_old(0x8000_0000, at(1)));
    }

    /// conformance: 7323-4.3-recent
    #[test]
    fn only_a_segment_at_the_last_acknowledgment_moves_ts_recent() {
        let mut ts = Timestamps { recent: 10, recent_at: at(0) };
        ts.on_segment(20, SeqNumber(501), SeqNumber(500), at(1));
        assert_eq!(ts.recent, 10, "later than the last acknowledgment");
        ts.on_segment(20, SeqNumber(500), SeqNumber(500), at(1));
        assert_eq!(ts.recent, 20);
        ts.on_segment(19, SeqNumber(500), SeqNumber(500), at(1));
        assert_eq!(ts.recent, 20, "never backwards");
        ts.recent = u32::MAX;
        ts.on_segment(3, SeqNumber(500), SeqNumber(500), at(1));
        assert_eq!(ts.recent, 3, "across the wrap");
    }

    /// conformance: 7323-5.4-clock
    #[test]
    fn the_clock_ticks_a_thousand_times_a_second() {
        let isn = Isn { iss: SeqNumber(0), ts_offset: u32::MAX - 10 };
        assert_eq!(clock(at(6), &isn).wrapping_sub(clock(at(5), &isn)), 1000);
        assert_eq!(round_trip(at(5), &isn, clock(at(4), &isn)), Some(Duration::from_secs(1)));
        assert_eq!(round_trip(at(5), &isn, clock(at(6), &isn)), None, "an echo from the future");
    }
}
