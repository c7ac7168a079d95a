//! CUBIC (RFC 9438), the default, in octets and whole numbers.
//!
//! As on Linux: the multiplicative decrease applies to cwnd, which does not grow while it is not in use (RFC 9438 §4.6 allows either);
//! before any loss was seen the window grows by at least a twentieth per round trip; slow start counts all that an acknowledgment covers;
//! the round-trip time that the target looks ahead is the least one. While a queue stands, which others may share, the window catches up
//! with Reno's when Linux's does, after 1/32 s and by whole segments: beside flows that do so, one that grows steadily takes most of a
//! short path. Unlike Linux, it grows steadily where no queue stands, as losses there are the path's own; time in which the application
//! limits sending counts nowhere; and a reduction that was for nothing gives the whole curve back. Left out: an ECN factor of its own
//! (RFC 8511).
//!
//! Invariants: cwnd is at least one segment; a reduction ends the curve.

use super::hystart::{Growth, Hystart, Window, micros};
use super::{AckSample, Controller, Signal, Start, rescaled};
use crate::base::{Duration, Instant};
use crate::transport::tcp::pack::pack_fields;

/// beta_cubic = 0.7 (RFC 9438 §4.6), in tenths.
const BETA: (u32, u32) = (7, 10);
/// (1 + beta_cubic) / 2 (§4.7).
const FAST_CONVERGENCE: (u32, u32) = (17, 20);
/// alpha_cubic = 3 (1 − beta) / (1 + beta) (§4.3), inverted: octets acknowledged per octet of window.
const PER_ALPHA: (u32, u32) = (17, 9);
/// C = 0.4 segments per cubic second (§4.1) with time in microseconds: cube × C = cube × 4 / 10^19.
const C: u128 = 4;
const C_UNIT: u128 = 10_000_000_000_000_000_000;
/// Beyond this many microseconds from the plateau the curve is above every window (2^30, more than a quarter of an hour).
const FAR: u64 = 1 << 30;
/// Least growth per round trip while no loss has told where the plateau is: a twentieth of the window (Linux).
const SEARCH: u32 = 20;
/// How long the window may stay behind Reno's before it is compared again while a queue stands (Linux: HZ / 32).
const PATIENCE: Duration = Duration::from_micros(31_250);
/// A queue stands when a round trip takes this many quarters of the least one.
const QUEUED: u32 = 5;

/// RFC 9438's variables.
#[derive(Clone, Debug)]
pub(in super::super) struct Cubic {
    cwnd: u32,
    ssthresh: u32,
    mss: u32,
    /// W_max; 0 before any reduction and after a timeout.
    w_max: u32,
    /// cwnd before the last reduction.
    cwnd_prior: u32,
    /// Least round-trip time in microseconds; 0: none yet.
    min_rtt: u32,
    /// The last one.
    rtt: u32,
    /// What was acknowledged and has not made an octet of growth yet.
    remainder: u32,
    /// Until when the sender is known to have been busy.
    busy: Instant,
    /// The congestion avoidance stage under way: few connections are in one.
    curve: Option<Box<Curve>>,
    hystart: Hystart,
    /// As it was before the last reduction.
    saved: Option<Box<Saved>>,
}

/// One congestion avoidance stage.
#[derive(Clone, Debug)]
struct Curve {
    /// t_epoch, later by the time in which nothing was sent.
    start: Instant,
    /// K in microseconds.
    k: u32,
    /// The plateau: W_max, or where the stage began when that lies higher.
    origin: u32,
    /// W_est, and what was acknowledged and has not made an octet of it yet.
    w_est: u32,
    remainder: u32,
    /// By how many segments W_est was above a window of how many (0: not compared yet), and when.
    behind: u32,
    segments: u32,
    compared: Instant,
}

#[derive(Clone, Debug)]
struct Saved {
    cwnd: u32,
    ssthresh: u32,
    w_max: u32,
    cwnd_prior: u32,
    curve: Option<Box<Curve>>,
}

pack_fields!(Cubic {
    cwnd,
    ssthresh,
    mss,
    w_max,
    cwnd_prior,
    min_rtt,
    rtt,
    remainder,
    busy,
    curve,
    hystart,
    saved
});
pack_fields!(Curve { start, k, origin, w_est, remainder, behind, segments, compared });
pack_fields!(Saved { cwnd, ssthresh, w_max, cwnd_prior, curve });

impl Cubic {
    pub fn new(start: &Start) -> Cubic {
        Cubic {
            cwnd: start.initial,
            ssthresh: start.ssthresh,
            mss: start.mss,
            w_max: 0,
            cwnd_prior: 0,
            min_rtt: start.rtt.map_or(0, micros),
            rtt: 0,
            remainder: 0,
            busy: Instant::ZERO,
            curve: None,
            hystart: Hystart::new(start.hystart),
            saved: None,
        }
    }

    /// Slow start; gives what is left of `acked` for congestion avoidance.
    fn slow_start(&mut self, sample: &AckSample) -> u32 {
        let window = Window {
            segments: self.cwnd / self.mss.max(1),
            min_rtt: self.min_rtt,
            first: self.ssthresh == u32::MAX,
        };
        let octets = match self.hystart.on_ack(sample, &window) {
            Growth::Full => sample.acked,
            Growth::Quarter => sample.acked / 4,
            Growth::Over => {
                // RFC 9438 §4.10: with W_max unknown the curve begins flat where slow start ended.
                self.ssthresh = self.cwnd;
                return sample.acked;
            }
        };
        if !sample.window_in_use {
            return 0;
        }
        let grown = octets.min(self.ssthresh - self.cwnd);
        self.cwnd = self.cwnd.saturating_add(grown);
        octets - grown
    }

    /// Congestion avoidance (§4.2 to §4.5): `acked` octets while the window was in use.
    fn avoid(&mut self, now: Instant, acked: u32) {
        let mut curve = self.curve.take().unwrap_or_else(|| Box::new(self.begin(now)));
        let target = curve.window(now, self.min_rtt, self.mss);
        // The target lies between cwnd and 1.5 cwnd; one round trip later it is reached.
        let least = if self.w_max == 0 { self.cwnd / SEARCH } else { 0 };
        let gain = target.saturating_sub(self.cwnd).clamp(least, self.cwnd / 2);
        let grown = u64::from(acked) * u64::from(gain) + u64::from(self.remainder);
        let (grown, remainder) = (grown / u64::from(self.cwnd), grown % u64::from(self.cwnd));
        self.remainder = remainder as u32;
        curve.estimate_reno(acked, self.cwnd, self.cwnd_prior, self.mss);
        // §4.3: the Reno-friendly region; still at most an octet for two that are acknowledged.
        let behind = if self.queue_stands() {
            let octets = u64::from(curve.behind_reno(now, self.cwnd, self.mss));
            (u64::from(acked) * octets / u64::from(self.cwnd)) as u32
        } else {
            curve.w_est.saturating_sub(self.cwnd)
        };
        self.cwnd = self.cwnd.saturating_add((grown as u32).max(behind.min(acked / 2)));
        self.curve = Some(curve);
    }

    fn begin(&self, now: Instant) -> Curve {
        let missing = u128::from(self.w_max.saturating_sub(self.cwnd));
        let k = cube_root(missing * C_UNIT / (C * u128::from(self.mss.max(1))));
        let origin = self.w_max.max(self.cwnd);
        let k = k.min(FAR) as u32;
        Curve { start: now, k, origin, w_est: self.cwnd, remainder: 0, behind: 0, segments: 0, compared: now }
    }

    fn save(&mut self) {
        let Cubic { cwnd, ssthresh, w_max, cwnd_prior, .. } = *self;
        self.saved = Some(Box::new(Saved { cwnd, ssthresh, w_max, cwnd_prior, curve: self.curve.take() }));
        self.remainder = 0;
    }

    fn reduced(&self, floor: u32) -> u32 {
        share(self.cwnd, BETA).max(floor * self.mss)
    }

    fn queue_stands(&self) -> bool {
        self.rtt / QUEUED > self.min_rtt / 4
    }
}

impl Curve {
    /// W_cubic(t + RTT).
    fn window(&self, now: Instant, rtt: u32, mss: u32) -> u32 {
        let t = now.since(self.start).as_micros().saturating_add(u64::from(rtt));
        let k = u64::from(self.k);
        let distance = u128::from(t.abs_diff(k).min(FAR));
        let octets = distance.pow(3) * C * u128::from(mss) / C_UNIT;
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        if t < k { self.origin.saturating_sub(octets) } else { self.origin.saturating_add(octets) }
    }

    /// By how many octets W_est was above the window when they were compared.
    fn behind_reno(&mut self, now: Instant, cwnd: u32, mss: u32) -> u32 {
        let segments = cwnd / mss.max(1);
        if segments != self.segments || now.since(self.compared) > PATIENCE {
            self.behind = (self.w_est / mss.max(1)).saturating_sub(segments);
            (self.segments, self.compared) = (segments, now);
        }
        self.behind.saturating_mul(mss)
    }

    /// W_est grows by alpha segments per window, by a whole one once it has come to where Reno would have been reduced.
    fn estimate_reno(&mut self, acked: u32, cwnd: u32, cwnd_prior: u32, mss: u32) {
        let per_segment = if self.w_est < cwnd_prior { share(cwnd, PER_ALPHA) } else { cwnd };
        let grown = u64::from(acked) * u64::from(mss) + u64::from(self.remainder);
        self.w_est = self.w_est.saturating_add((grown / u64::from(per_segment)) as u32);
        self.remainder = (grown % u64::from(per_segment)) as u32;
    }
}

impl Controller for Cubic {
    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn set_cwnd(&mut self, cwnd: u32) {
        self.cwnd = cwnd.max(self.mss);
    }

    fn restart(&mut self, window: u32) {
        self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        self.cwnd = self.cwnd.min(window);
    }

    fn set_mss(&mut self, mss: u32) {
        let scale = |octets| rescaled(octets, self.mss, mss);
        self.cwnd = scale(self.cwnd).max(mss);
        self.ssthresh = scale(self.ssthresh);
        self.w_max = scale(self.w_max);
        self.cwnd_prior = scale(self.cwnd_prior);
        if let Some(curve) = &mut self.curve {
            curve.origin = scale(curve.origin);
            curve.w_est = scale(curve.w_est);
            curve.segments = 0;
        }
        // What was saved is in the old unit.
        self.saved = None;
        self.mss = mss;
    }

    fn on_sent(&mut self, now: Instant, _octets: u32, in_flight: u32) {
        if in_flight == 0 {
            self.skip_idle(now);
        }
    }

    fn on_ack(&mut self, sample: &AckSample) {
        if let Some(rtt) = sample.rtt.map(micros) {
            self.min_rtt = if self.min_rtt == 0 { rtt } else { self.min_rtt.min(rtt) };
            self.rtt = rtt;
        }
        if !sample.window_in_use {
            self.skip_idle(sample.now);
        }
        self.busy = sample.now;
        if sample.in_recovery {
            return;
        }
        let acked = if self.cwnd < self.ssthresh { self.slow_start(sample) } else { sample.acked };
        if acked > 0 && sample.window_in_use && self.cwnd >= self.ssthresh {
            self.avoid(sample.now, acked);
        }
    }

    fn on_congestion(&mut self, _now: Instant, signal: Signal, _flight: u32) {
        self.save();
        // §4.7: a window smaller than the last one leaves room for others.
        let smaller = self.cwnd < self.w_max;
        self.w_max = if smaller { share(self.cwnd, FAST_CONVERGENCE) } else { self.cwnd };
        self.cwnd_prior = self.cwnd;
        self.ssthresh = self.reduced(match signal {
            Signal::Loss => 2,
            // §4.6: marks take it down to a single segment.
            Signal::Ecn => 1,
        });
    }

    fn on_timeout(&mut self, _now: Instant, _flight: u32, first: bool) {
        if first {
            self.save();
            self.cwnd_prior = self.cwnd;
            self.ssthresh = self.reduced(2);
        }
        // §4.8: the next stage has K = 0 and begins at its own plateau.
        self.w_max = 0;
        self.curve = None;
        self.cwnd = self.mss;
        self.hystart.on_timeout();
    }

    fn undo(&mut self) {
        let Some(saved) = self.saved.take() else { return };
        self.ssthresh = saved.ssthresh;
        if self.cwnd < saved.cwnd {
            self.cwnd = saved.cwnd;
            self.w_max = saved.w_max;
            self.cwnd_prior = saved.cwnd_prior;
            self.curve = saved.curve;
        }
    }
}

impl Cubic {
    /// §4.2: time in which nothing was sent for want of data is not part of t.
    fn skip_idle(&mut self, now: Instant) {
        if let Some(curve) = &mut self.curve {
            curve.start += now.since(self.busy);
        }
        self.busy = now;
    }
}

/// `octets` × a fraction.
fn share(octets: u32, (part, whole): (u32, u32)) -> u32 {
    u32::try_from(u64::from(octets) * u64::from(part) / u64::from(whole)).unwrap_or(u32::MAX)
}

/// The greatest number whose cube is at most `n`.
fn cube_root(n: u128) -> u64 {
    let mut root = 0u64;
    for bit in (0..42).rev() {
        let next = root | 1 << bit;
        if u128::from(next).pow(3) <= n {
            root = next;
        }
    }
    root
}

#[cfg(test)]
mod tests;
