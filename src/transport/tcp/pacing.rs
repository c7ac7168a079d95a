//! Pacing: segments leave at the controller's rate, in small bursts, from one deadline in the timer wheel.

use crate::base::{Duration, Instant};

/// A burst takes so long at the rate (as Linux's sk_pacing_shift), and is two segments at least.
const BURST: Duration = Duration::from_millis(1);

/// When the next segment may leave.
#[derive(Clone, Debug, Default)]
pub(super) struct Pacer {
    /// Sent octets are paid for until then; segments leave while that is not in the future.
    paid_until: Instant,
    wakes_at: Option<Instant>,
}

impl Pacer {
    /// Nothing sent yet.
    pub const NEW: Pacer = Pacer { paid_until: Instant::ZERO, wakes_at: None };

    /// May a segment leave now? If not, a deadline is set.
    pub fn may_send(&mut self, now: Instant, rate: Option<u64>, mss: u32) -> bool {
        let Some(rate) = rate else { return true };
        if self.paid_until <= now {
            self.wakes_at = None;
            return true;
        }
        // Half a burst later, so that a wake-up is worth its cost.
        self.wakes_at.get_or_insert(self.paid_until + burst(rate, mss).div(2));
        false
    }

    /// So many octets left.
    pub fn on_sent(&mut self, now: Instant, octets: u32, rate: Option<u64>, mss: u32) {
        let Some(rate) = rate else { return };
        let credit = burst(rate, mss);
        let earliest = Instant::from_nanos(now.as_nanos().saturating_sub(credit.as_nanos()));
        self.paid_until = self.paid_until.max(earliest) + time_of(octets, rate);
    }

    /// The deadline, if one is set.
    pub fn wakes_at(&self) -> Option<Instant> {
        self.wakes_at
    }

    /// It has passed.
    pub fn on_wake(&mut self) {
        self.wakes_at = None;
    }
}

fn burst(rate: u64, mss: u32) -> Duration {
    BURST.max(time_of(2 * mss, rate))
}

/// How long `octets` take at `rate` octets per second.
fn time_of(octets: u32, rate: u64) -> Duration {
    Duration::from_nanos(u64::from(octets) * 1_000_000_000 / rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_in_bursts_of_a_millisecond() {
        let (mut pacer, rate, mss) = (Pacer::default(), Some(10_000_000), 1000);
        let (mut now, mut sent) = (Instant::ZERO + Duration::from_secs(1), 0u64);
        let (start, mut wakes) = (now, 0);
        while now.since(start) < Duration::from_secs(1) {
            while pacer.may_send(now, rate, mss) {
                pacer.on_sent(now, mss, rate, mss);
                sent += u64::from(mss);
            }
            now = pacer.wakes_at().expect("a deadline");
            pacer.on_wake();
            wakes += 1;
        }
        assert!((9_900_000..=10_100_000).contains(&sent), "{sent} octets in a second");
        assert!(wakes < 2500, "{wakes} wake-ups");
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pacer = Pacer::default();
        pacer.on_sent(Instant::ZERO, 1 << 20, None, 1000);
        assert!(pacer.may_send(Instant::ZERO, None, 1000));
        assert_eq!(pacer.wakes_at(), None);
    }
}
