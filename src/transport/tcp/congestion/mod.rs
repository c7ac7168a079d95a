//! Congestion control: how much may be in flight, and how fast it leaves. The controller sees acknowledgments, losses and time; what is
//! lost and what is sent again is recovery's business.

mod bbr;
mod cubic;
mod hystart;
mod max_filter;
mod reno;

pub(super) use bbr::Bbr;
pub(super) use cubic::Cubic;
pub(super) use reno::Reno;

use super::pack::{Pack, Packer, Unpacker};
use crate::base::config::{CongestionControl, Hystart};
use crate::base::{Duration, Instant};
use crate::transport::Env;

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
    /// In flight after it; what is SACKed or lost and not sent again does not count (RFC 6675's pipe).
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

/// Octets that were sent together and are newly judged lost, the last of those found at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostSample {
    pub now: Instant,
    pub octets: u32,
    /// In flight when they were sent, themselves included.
    pub tx_in_flight: u32,
    /// Octets judged lost since they were sent, themselves included.
    pub lost: u32,
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
    /// Sets the window outright: PRR and NewReno steer it in recovery.
    fn set_cwnd(&mut self, cwnd: u32);
    /// Sending begins anew after a pause, with `window` at most (RFC 5681 §4.1). As on Linux, what was learnt stays in ssthresh (RFC 2861).
    fn restart(&mut self, window: u32) {
        self.set_cwnd(self.cwnd().min(window));
    }
    /// The segment size changed: the same number of segments fits (RFC 5681 §3.1).
    fn set_mss(&mut self, mss: u32);
    /// `octets` are sent, `in_flight` before them; after idle time nothing was.
    fn on_sent(&mut self, _now: Instant, _octets: u32, _in_flight: u32) {}
    /// Something is judged lost: comes before `on_congestion`, and before the `on_ack` that tells of it too.
    fn on_lost(&mut self, _lost: &LostSample) {}
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

/// What a controller starts from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub now: Instant,
    /// The initial window.
    pub initial: u32,
    /// RFC 5681 §3.1: arbitrarily high at first.
    pub ssthresh: u32,
    pub mss: u32,
    /// Round-trip time of the handshake.
    pub rtt: Option<Duration>,
    /// How CUBIC leaves slow start.
    pub hystart: Hystart,
    /// Randomness for what flows should not do all at once.
    pub seed: u64,
}

impl Default for Start {
    fn default() -> Start {
        let (now, rtt, hystart) = (Instant::ZERO, None, Hystart::PlusPlus);
        Start { now, initial: 14_600, ssthresh: u32::MAX, mss: 1460, rtt, hystart, seed: 0 }
    }
}

/// The controller of a connection.
#[derive(Clone, Debug)]
pub(super) enum Congestion {
    /// RFC 9438.
    Cubic(Cubic),
    /// RFC 5681.
    Reno(Reno),
    /// draft-ietf-ccwg-bbr.
    Bbr(Box<Bbr>),
}

impl Pack for Congestion {
    fn pack(&self, to: &mut Packer<'_>) {
        matches!(self, Congestion::Reno(_)).pack(to);
        match self {
            Congestion::Cubic(cubic) => cubic.pack(to),
            Congestion::Reno(reno) => reno.pack(to),
            Congestion::Bbr(_) => debug_assert!(false, "it does not rest"),
        }
    }
    fn unpack(from: &mut Unpacker<'_>) -> Congestion {
        match bool::unpack(from) {
            false => Congestion::Cubic(Cubic::unpack(from)),
            true => Congestion::Reno(Reno::unpack(from)),
        }
    }
}

impl Congestion {
    /// The controller of a new connection: its initial window, its segment size, the round-trip time of its handshake.
    pub fn open(
        env: &mut Env,
        kind: CongestionControl,
        (initial, mss): (u32, u32),
        rtt: Option<Duration>,
    ) -> Congestion {
        let seed = if kind == CongestionControl::Bbr { env.rng.next_u64() } else { 0 };
        let hystart = env.config.tcp_hystart;
        let start = Start { now: env.now, initial, mss, rtt, hystart, seed, ..Start::default() };
        Congestion::start(kind, &start)
    }

    /// `TCP_CONGESTION` on a connection in use: another algorithm takes the window over (as on Linux).
    pub fn switch(&mut self, env: &mut Env, kind: CongestionControl, mss: u32, rtt: Option<Duration>) {
        let (initial, ssthresh) = (self.cwnd(), self.ssthresh());
        let (hystart, seed) = (env.config.tcp_hystart, env.rng.next_u64());
        *self = Congestion::start(kind, &Start { now: env.now, initial, ssthresh, mss, rtt, hystart, seed });
    }

    /// A fresh controller with an initial window of `initial` octets.
    #[cfg(test)]
    pub fn new(kind: CongestionControl, initial: u32, mss: u32) -> Congestion {
        Congestion::start(kind, &Start { initial, mss, ..Start::default() })
    }

    /// A fresh controller.
    fn start(kind: CongestionControl, start: &Start) -> Congestion {
        match kind {
            CongestionControl::Cubic => Congestion::Cubic(Cubic::new(start)),
            CongestionControl::Reno => Congestion::Reno(Reno::new(start)),
            CongestionControl::Bbr => Congestion::Bbr(Box::new(Bbr::new(start))),
        }
    }

    fn chosen(&self) -> &dyn Controller {
        match self {
            Congestion::Cubic(cubic) => cubic,
            Congestion::Reno(reno) => reno,
            Congestion::Bbr(bbr) => &**bbr,
        }
    }

    fn chosen_mut(&mut self) -> &mut dyn Controller {
        match self {
            Congestion::Cubic(cubic) => cubic,
            Congestion::Reno(reno) => reno,
            Congestion::Bbr(bbr) => &mut **bbr,
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

    fn restart(&mut self, window: u32) {
        self.chosen_mut().restart(window);
    }

    fn set_mss(&mut self, mss: u32) {
        self.chosen_mut().set_mss(mss);
    }

    fn on_sent(&mut self, now: Instant, octets: u32, in_flight: u32) {
        self.chosen_mut().on_sent(now, octets, in_flight);
    }

    fn on_lost(&mut self, lost: &LostSample) {
        self.chosen_mut().on_lost(lost);
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

/// A window of the same number of segments of another size; none stays none.
fn rescaled(octets: u32, from: u32, to: u32) -> u32 {
    match octets {
        u32::MAX => u32::MAX,
        _ => {
            u32::try_from(u64::from(octets) * u64::from(to) / u64::from(from.max(1))).unwrap_or(u32::MAX - 1)
        }
    }
}

#[cfg(test)]
mod tests;
