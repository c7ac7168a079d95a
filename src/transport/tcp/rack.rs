//! RACK: a segment is lost when one sent sufficiently later was delivered (RFC 8985 §6).
//!
//! Needs SACK (§4); connections without it use NewReno. RFC 6675's marking by count does not run beside it (§9.2), but three
//! segments' worth of SACKed octets end the patience for reordering that was never seen.

use super::pack::pack_fields;
use super::scoreboard::{Delivered, Delivery, Found, Scoreboard};
use crate::base::{Duration, Instant};
use crate::wire::seq::SeqNumber;

/// Segments SACKed above a hole that end the patience, as long as no reordering was seen.
pub(super) const DUP_THRESHOLD: u32 = 3;

/// Lateness that is told, at most, in segments (Linux's `tcp_max_reordering`).
const MOST_REORDERING: u64 = 300;

/// Recoveries after which a window widened by D-SACKs is narrow again (RFC 8985 §6.2 step 4).
const PERSIST: u8 = 16;

/// RFC 8985's variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq: the segment sent last of those delivered.
    newest: Option<(Instant, u64)>,
    /// RACK.rtt: its round trip.
    rtt: Duration,
    /// RACK.fack: the highest octet delivered.
    fack: u64,
    /// The widening counts once a round trip: until this is acknowledged.
    dsack_round: Option<SeqNumber>,
}

/// What the past of the connection says about reordering.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reordering {
    /// RACK.reordering_seen.
    pub seen: bool,
    /// By how many segments at most something sent once was late.
    degree: u16,
    /// RACK.reo_wnd_mult, less one, and RACK.reo_wnd_persist.
    widened: u8,
    persist: u8,
}

pack_fields!(Reordering { seen, degree, widened, persist });

/// What decides how long to wait for what may be reordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub reordering: Reordering,
    pub in_recovery: bool,
    /// Octets SACKed, and octets of a segment.
    pub sacked: u32,
    pub mss: u32,
    pub min_rtt: Option<Duration>,
    pub srtt: Option<Duration>,
}

impl Rack {
    /// Nothing delivered yet.
    pub const NEW: Rack = Rack { newest: None, rtt: Duration::ZERO, fack: 0, dsack_round: None };

    /// Steps 2 and 3: takes note of what was delivered. `echo_is_older`: the echoed timestamp predates a retransmission sent at that
    /// time, so that the original was delivered.
    pub fn on_delivery(
        &mut self,
        reordering: &mut Reordering,
        delivery: &Delivery,
        mss: u32,
        (now, min_rtt): (Instant, Option<Duration>),
        echo_is_older: impl Fn(Instant) -> bool,
    ) -> bool {
        let late = delivery.lowest_original.filter(|lowest| *lowest < self.fack);
        if let Some(lowest) = late {
            reordering.on_late(self.fack - lowest, mss);
        }
        self.fack = self.fack.max(delivery.highest);
        // §6.2 step 2: which copy was it? Where that cannot be told, what was sent once beside it counts.
        let is_ambiguous = |delivered: &Delivered| {
            let at = delivered.stamp.at;
            delivered.again && (echo_is_older(at) || min_rtt.is_some_and(|min| now.since(at) < min))
        };
        let newest = delivery.newest.filter(|newest| !is_ambiguous(newest)).or(delivery.newest_original);
        if let Some(Delivered { stamp, end, .. }) = newest
            && self.newest.is_none_or(|known| known < (stamp.at, end))
        {
            self.newest = Some((stamp.at, end));
            self.rtt = now.since(stamp.at);
        }
        late.is_some()
    }

    /// SND.UNA moved: a round trip that is over need not be remembered, and must not when sequence numbers wrap.
    pub fn on_progress(&mut self, una: SeqNumber) {
        self.dsack_round.take_if(|end| !una.before(*end));
    }

    /// A D-SACK came: what was sent again had only been reordered (step 4). Once a round trip.
    pub fn on_dsack(&mut self, reordering: &mut Reordering, una: SeqNumber, nxt: SeqNumber) {
        if self.dsack_round.is_some_and(|end| una.before(end)) {
            return;
        }
        self.dsack_round = Some(nxt);
        reordering.widened = reordering.widened.saturating_add(1);
        reordering.persist = PERSIST;
    }

    /// Step 5: finds what is lost.
    pub fn detect(&self, board: &mut Scoreboard, patience: &Patience, now: Instant) -> Found {
        match self.newest {
            Some(newest) => board.lose_older(newest, self.rtt + patience.window(), now),
            None => Found::default(),
        }
    }

    /// How long ago the youngest segment that a timeout calls lost was sent (§6.3); `None`: no round trip was measured.
    pub fn recent(&self, patience: &Patience) -> Option<Duration> {
        let rtt = self.newest.map(|_| self.rtt).or(patience.srtt)?;
        Some(rtt + patience.window())
    }
}

impl Patience {
    /// Step 4: RACK.reo_wnd.
    pub fn window(&self) -> Duration {
        let enough = self.sacked >= DUP_THRESHOLD * self.mss;
        if !self.reordering.seen && (self.in_recovery || enough) {
            return Duration::ZERO;
        }
        let quarter = self.min_rtt.unwrap_or(Duration::ZERO).div(4);
        let window = quarter.mul(u64::from(self.reordering.widened) + 1);
        window.min(self.srtt.unwrap_or(window))
    }
}

impl Reordering {
    /// Something sent once was delivered after what lay up to `octets` above it.
    pub fn on_late(&mut self, octets: u64, mss: u32) {
        self.seen = true;
        let segments = octets.div_ceil(u64::from(mss.max(1))).min(MOST_REORDERING);
        self.degree = self.degree.max(segments as u16);
    }

    /// What Linux shows as `tcpi_reordering`: by how many segments things were late, three at least.
    pub fn segments(&self) -> u32 {
        DUP_THRESHOLD.max(u32::from(self.degree))
    }

    /// A timeout shows that what was waited for was lost (Linux's `tcp_enter_loss`).
    pub fn forget_degree(&mut self) {
        self.degree = 0;
    }

    /// A recovery is over: after sixteen the window is narrow again.
    pub fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.widened = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn patience() -> Patience {
        Patience {
            reordering: Reordering { seen: true, ..Reordering::default() },
            in_recovery: false,
            sacked: 0,
            mss: 1000,
            min_rtt: Some(ms(40)),
            srtt: Some(ms(50)),
        }
    }

    /// conformance: 8985-6.2-4-wnd, 8985-6.2-4-zero
    #[test]
    fn the_window_is_a_quarter_of_the_least_round_trip_or_nothing() {
        assert_eq!(patience().window(), ms(10));
        let calm = Patience { reordering: Reordering::default(), ..patience() };
        assert_eq!(calm.window(), ms(10), "no reordering was seen, but too little is SACKed");
        assert_eq!(Patience { sacked: 3000, ..calm }.window(), Duration::ZERO);
        assert_eq!(Patience { in_recovery: true, ..calm }.window(), Duration::ZERO);
        assert_eq!(Patience { sacked: 9000, in_recovery: true, ..patience() }.window(), ms(10));
    }

    /// conformance: 8985-6.2-4-dsack-mult, 8985-4-dsack
    #[test]
    fn dsacks_widen_it_once_a_round_trip_and_sixteen_recoveries_make_it_narrow() {
        let (mut rack, mut patience) = (Rack::default(), patience());
        let seq = SeqNumber;
        rack.on_dsack(&mut patience.reordering, seq(100), seq(200));
        assert_eq!(patience.window(), ms(20));
        rack.on_dsack(&mut patience.reordering, seq(150), seq(250));
        assert_eq!(patience.window(), ms(20), "the same round trip");
        rack.on_dsack(&mut patience.reordering, seq(200), seq(300));
        assert_eq!(patience.window(), ms(30));
        (0..10).for_each(|n| rack.on_dsack(&mut patience.reordering, seq(300 + n * 100), seq(400 + n * 100)));
        assert_eq!(patience.window(), ms(50), "SRTT at most");
        (0..15).for_each(|_| patience.reordering.on_recovered());
        assert_eq!(patience.window(), ms(50));
        patience.reordering.on_recovered();
        assert_eq!(patience.window(), ms(10));
    }
}
