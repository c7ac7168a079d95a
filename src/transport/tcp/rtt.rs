//! Round-trip time (RFC 6298 §2, §3; RFC 7323 §4).
//!
//! One sample per round trip: one segment at a time is timed, to the nanosecond; where Karn's algorithm forbids that, the echoed
//! timestamp serves (RFC 7323 §4.1), which has milliseconds. One sample per round trip needs no scaled gains (RFC 7323 §4.2).

use super::pack::{Pack, Packer, Unpacker, pack_fields};
use crate::base::{Duration, Instant};
use crate::wire::seq::SeqNumber;

/// Clock granularity G (RFC 6298 §2): timers are never later than the caller's wake-up, a millisecond.
pub(super) const GRANULARITY: Duration = Duration::from_millis(1);

/// The least round trip is that of two such spans at most (Linux's tcp_min_rtt_wlen).
const HALF_WINDOW: Duration = Duration::from_secs(150);

/// A minimum over a sliding window, in two halves (RFC 8985 §6.2 step 1); in microseconds, for it is in every connection.
#[derive(Clone, Copy, Debug)]
struct Least {
    current: u32,
    before: u32,
    since: Instant,
}

/// No sample yet.
const NONE: u32 = u32::MAX;

pack_fields!(Least { current, before, since });

impl Default for Least {
    fn default() -> Least {
        Least { current: NONE, before: NONE, since: Instant::ZERO }
    }
}

/// What is known of the round-trip time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Estimate {
    /// Nothing yet.
    #[default]
    NoSample,
    /// RFC 6298's two variables.
    Measured {
        /// SRTT.
        srtt: Duration,
        /// RTTVAR.
        rttvar: Duration,
    },
}

impl Pack for Estimate {
    fn pack(&self, to: &mut Packer<'_>) {
        let measured = match *self {
            Estimate::NoSample => None,
            Estimate::Measured { srtt, rttvar } => Some((srtt, rttvar)),
        };
        measured.pack(to);
    }
    fn unpack(from: &mut Unpacker<'_>) -> Estimate {
        match Option::unpack(from) {
            None => Estimate::NoSample,
            Some((srtt, rttvar)) => Estimate::Measured { srtt, rttvar },
        }
    }
}

/// The estimator.
#[derive(Clone, Debug, Default)]
pub(super) struct Rtt {
    pub estimate: Estimate,
    /// Least round trip of the last minutes.
    least: Least,
    /// The segment that is timed: its end, and when it was sent.
    timed: Option<(SeqNumber, Instant)>,
}

pack_fields!(Rtt { estimate, least, timed });

impl Rtt {
    /// A segment that ends at `end` is sent for the first time.
    pub fn on_sent(&mut self, end: SeqNumber, now: Instant) {
        self.timed.get_or_insert((end, now));
    }

    /// Something is sent again: what is in flight can no longer be timed (RFC 6298 §3, Karn).
    pub fn on_retransmit(&mut self) {
        self.timed = None;
    }

    /// `ack` moved SND.UNA; true when it ended the timing and gave a sample.
    pub fn on_ack(&mut self, ack: SeqNumber, now: Instant) -> bool {
        match self.timed {
            Some((end, sent)) if end.at_or_before(ack) => {
                self.timed = None;
                self.sample(now.since(sent), now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The least round-trip time of the last minutes; `None` before the first.
    pub fn min(&self) -> Option<Duration> {
        let least = self.least.current.min(self.least.before);
        (least != NONE).then(|| Duration::from_micros(u64::from(least)))
    }

    /// Takes note of the round-trip time of any one segment.
    pub fn note(&mut self, r: Duration, now: Instant) {
        let least = &mut self.least;
        if now.since(least.since) >= HALF_WINDOW {
            *least = Least { current: NONE, before: least.current, since: now };
        }
        let micros = u32::try_from(r.as_micros()).unwrap_or(NONE - 1);
        least.current = least.current.min(micros);
    }

    /// Takes a measured round-trip time into the estimate.
    pub fn sample(&mut self, r: Duration, now: Instant) {
        self.note(r, now);
        self.estimate = match self.estimate {
            // RFC 6298 §2.2.
            Estimate::NoSample => Estimate::Measured { srtt: r, rttvar: r.div(2) },
            // RFC 6298 §2.3: RTTVAR first, with the old SRTT; gains 1/4 and 1/8.
            Estimate::Measured { srtt, rttvar } => {
                let error = if srtt > r { srtt.saturating_sub(r) } else { r.saturating_sub(srtt) };
                let rttvar = (rttvar.mul(3) + error).div(4);
                Estimate::Measured { srtt: (srtt.mul(7) + r).div(8), rttvar }
            }
        };
    }

    /// SRTT, once measured.
    pub fn srtt(&self) -> Option<Duration> {
        match self.estimate {
            Estimate::NoSample => None,
            Estimate::Measured { srtt, .. } => Some(srtt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn after(samples: &[u64]) -> Estimate {
        let mut rtt = Rtt::default();
        for sample in samples {
            rtt.sample(ms(*sample), Instant::ZERO);
        }
        rtt.estimate
    }

    /// conformance: 6298-2.2-first, 6298-2.3-update, 6298-2.3-order, 6298-2.3-gains
    #[test]
    fn variables_follow_the_reference_calculation() {
        assert_eq!(after(&[100]), Estimate::Measured { srtt: ms(100), rttvar: ms(50) });
        // RTTVAR = 3/4·50 + 1/4·|100−200| = 62.5; SRTT = 7/8·100 + 1/8·200 = 112.5. With SRTT first RTTVAR would be 59.375.
        let second = Estimate::Measured {
            srtt: Duration::from_micros(112_500),
            rttvar: Duration::from_micros(62_500),
        };
        assert_eq!(after(&[100, 200]), second);
        // RTTVAR = 3/4·62.5 + 1/4·12.5 = 50; SRTT = 7/8·112.5 + 1/8·100 = 110.9375.
        let third = Estimate::Measured { srtt: Duration::from_nanos(110_937_500), rttvar: ms(50) };
        assert_eq!(after(&[100, 200, 100]), third);
    }

    /// conformance: 8985-6.2-1-minrtt
    #[test]
    fn the_minimum_follows_a_path_that_became_longer() {
        let mut rtt = Rtt::default();
        rtt.note(ms(10), Instant::ZERO);
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        for secs in 1..=150 {
            rtt.note(ms(100), at(secs));
        }
        assert_eq!(rtt.min(), Some(ms(10)));
        for secs in 151..=300 {
            rtt.note(ms(100), at(secs));
        }
        assert_eq!(rtt.min(), Some(ms(100)));
    }

    /// conformance: 6298-3-karn
    #[test]
    fn a_retransmission_ends_the_timing() {
        let (mut rtt, at) = (Rtt::default(), |n| Instant::ZERO + ms(n));
        rtt.on_sent(SeqNumber(10), at(0));
        rtt.on_retransmit();
        assert!(!rtt.on_ack(SeqNumber(10), at(500)));
        assert_eq!(rtt.estimate, Estimate::NoSample);
        rtt.on_sent(SeqNumber(20), at(600));
        rtt.on_sent(SeqNumber(30), at(640));
        assert!(!rtt.on_ack(SeqNumber(19), at(650)), "the timed octets are not covered");
        assert!(rtt.on_ack(SeqNumber(30), at(700)));
        assert_eq!(rtt.srtt(), Some(ms(100)), "timed from the first of the two");
        assert_eq!(rtt.min(), Some(ms(100)));
    }
}
