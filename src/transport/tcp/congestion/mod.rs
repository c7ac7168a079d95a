//! Congestion control: how much may be in flight, and how fast it leaves. The controller sees acknowledgments, losses and time; what is
//! lost and what is sent again is recovery's business.

mod reno;

pub(super) use reno::Reno;

use crate::base::config::CongestionControl;
use crate::base::{Duration, Instant};

/// What one acknowledgment tells a controller. Counts are octets of this one acknowledgment.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckSample {
    pub now: Instant,
    /// Newly acknowledged cumulatively.
    pub acked: u32,
    /// Newly delivered, cumulatively or selectively.
    pub delivered: u32,
    /// Newly judged lost.
    pub lost: u32,
    /// In flight before it and after it; what is SACKed or lost and not sent again does not count (RFC 6675's pipe).
    pub prior_in_flight: u32,
    pub in_flight: u32,
    /// Round-trip time of the newest segment it delivers, where Karn's algorithm allows one.
    pub rtt: Option<Duration>,
    /// Did the window limit what was sent (RFC 7661's concern)? Otherwise it must not grow.
    pub window_in_use: bool,
    /// Recovery is repairing losses: PRR steers the window of a controller that leaves it to it.
    pub in_recovery: bool,
    /// All that was in flight when the last round began is acknowledged: a new round trip begins.
    pub new_round: bool,
    /// The rate at which it was delivered, when it can be told.
    pub rate: Option<RateSample>,
}

/// Delivery rate (draft-ietf-ccwg-bbr, "Delivery Rate Samples"), from the segment sent last of those newly delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateSample {
    /// Octets delivered on this connection so far, and when that segment was sent.
    pub delivered_total: u64,
    pub prior_delivered: u64,
    /// Octets delivered over `interval`.
    pub delivered: u32,
    pub interval: Duration,
    /// Octets judged lost between the sending of that segment and now.
    pub lost: u32,
    /// In flight when that segment was sent, itself included.
    pub tx_in_flight: u32,
    /// The application had nothing more to send then.
    pub app_limited: bool,
}

/// Why a window is to be reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Fast recovery begins.
    Loss,
    /// The peer echoes a mark of the network (RFC 3168 §6.1.2).
    Ecn,
}

/// A congestion control algorithm. Windows are octets and never below one segment.
pub(super) trait Controller {
    /// Congestion window.
    fn cwnd(&self) -> u32;
    /// Slow start threshold; `u32::MAX` before any loss.
    fn ssthresh(&self) -> u32;
    /// Sets the window outright: PRR and NewReno steer it in recovery, idle time lowers it (RFC 5681 §4.1).
    fn set_cwnd(&mut self, cwnd: u32);
    /// The segment size changed: the same number of segments fits (RFC 5681 §3.1).
    fn set_mss(&mut self, mss: u32);
    /// `octets` are sent, `in_flight` before them; after idle time nothing was.
    fn on_sent(&mut self, _now: Instant, _octets: u32, _in_flight: u32) {}
    /// Something was delivered or found lost.
    fn on_ack(&mut self, sample: &AckSample);
    /// Congestion, at most once per round trip, `flight` octets being outstanding: sets ssthresh.
    fn on_congestion(&mut self, now: Instant, signal: Signal, flight: u32);
    /// Recovery is over, all of it is repaired.
    fn on_recovered(&mut self, _now: Instant) {}
    /// The retransmission timer expired with `flight` octets outstanding; `first` for this segment.
    fn on_timeout(&mut self, now: Instant, flight: u32, first: bool);
    /// The last reduction was for nothing: nothing had been lost.
    fn undo(&mut self);
    /// Octets per second to send at most; `None`: as the window allows.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
    /// Does it set its window in recovery itself, so that PRR must not?
    fn steers_recovery(&self) -> bool {
        false
    }
}

/// The controller of a connection.
#[derive(Clone, Debug)]
pub(super) enum Congestion {
    /// RFC 5681.
    Reno(Reno),
}

impl Congestion {
    /// A fresh controller with an initial window of `initial` octets.
    pub fn new(kind: CongestionControl, initial: u32, mss: u32) -> Congestion {
        match kind {
            CongestionControl::Reno => Congestion::Reno(Reno::new(initial, mss)),
        }
    }

    fn chosen(&self) -> &dyn Controller {
        match self {
            Congestion::Reno(reno) => reno,
        }
    }

    fn chosen_mut(&mut self) -> &mut dyn Controller {
        match self {
            Congestion::Reno(reno) => reno,
        }
    }
}

/// What is asked of the one in use.
impl Controller for Congestion {
    fn cwnd(&self) -> u32 {
        self.chosen().cwnd()
    }

    fn ssthresh(&self) -> u32 {
        self.chosen().ssthresh()
    }

    fn set_cwnd(&mut self, cwnd: u32) {
        self.chosen_mut().set_cwnd(cwnd);
    }

    fn set_mss(&mut self, mss: u32) {
        self.chosen_mut().set_mss(mss);
    }

    fn on_sent(&mut self, now: Instant, octets: u32, in_flight: u32) {
        self.chosen_mut().on_sent(now, octets, in_flight);
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.chosen_mut().on_ack(sample);
    }

    fn on_congestion(&mut self, now: Instant, signal: Signal, flight: u32) {
        self.chosen_mut().on_congestion(now, signal, flight);
    }

    fn on_recovered(&mut self, now: Instant) {
        self.chosen_mut().on_recovered(now);
    }

    fn on_timeout(&mut self, now: Instant, flight: u32, first: bool) {
        self.chosen_mut().on_timeout(now, flight, first);
    }

    fn undo(&mut self) {
        self.chosen_mut().undo();
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.chosen().pacing_rate()
    }

    fn steers_recovery(&self) -> bool {
        self.chosen().steers_recovery()
    }
}

/// The initial window (RFC 6928 §2; RFC 5681 §3.1 when `segments` is 0).
pub(super) fn initial_window(mss: u32, segments: u32, syn_losses: u32) -> u32 {
    // RFC 6928 §2: one lost SYN changes nothing, more leave one segment.
    if syn_losses > 1 {
        return mss;
    }
    match segments {
        0 if mss > 2190 => 2 * mss,
        0 if mss > 1095 => 3 * mss,
        0 => 4 * mss,
        _ => (segments * mss).min((2 * mss).max(segments * 1460)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// conformance: 6928-2-iw10, 6928-2-syn-loss, 5681-3.1-iw, 5681-3.1-syn-loss
    #[test]
    fn initial_window_by_segment_size_and_syn_losses() {
        assert_eq!(initial_window(1460, 10, 0), 14_600);
        assert_eq!(initial_window(9000, 10, 0), 18_000);
        assert_eq!(initial_window(536, 10, 1), 5360);
        assert_eq!(initial_window(1460, 10, 2), 1460);
        assert_eq!(initial_window(1460, 0, 0), 4380);
        assert_eq!(initial_window(536, 0, 0), 2144);
        assert_eq!(initial_window(9000, 0, 0), 18_000);
    }
}
