//! Slow start and congestion avoidance (RFC 5681 §3.1), in octets.

use super::{AckSample, Controller, Signal, Start, rescaled};
use crate::base::Instant;
use crate::transport::tcp::pack::pack_fields;

/// RFC 5681's variables.
#[derive(Clone, Debug)]
pub(in super::super) struct Reno {
    cwnd: u32,
    ssthresh: u32,
    mss: u32,
    /// Octets acknowledged since the last step of congestion avoidance.
    acked: u32,
    /// Window and threshold before the last reduction.
    prior: (u32, u32),
}

pack_fields!(Reno { cwnd, ssthresh, mss, acked, prior });

impl Reno {
    pub fn new(start: &Start) -> Reno {
        let (cwnd, ssthresh) = (start.initial, start.ssthresh);
        Reno { cwnd, ssthresh, mss: start.mss, acked: 0, prior: (cwnd, ssthresh) }
    }

    /// `octets` were newly acknowledged outside of recovery, while the window was in full use.
    fn grow(&mut self, octets: u32) {
        if self.cwnd < self.ssthresh {
            // Slow start: at most one SMSS per acknowledgment, so that splitting acknowledgments gains nothing.
            self.cwnd = self.cwnd.saturating_add(octets.min(self.mss));
            return;
        }
        // Congestion avoidance by counting octets: one SMSS per window acknowledged.
        self.acked = self.acked.saturating_add(octets);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(self.mss);
            self.acked = self.acked.min(self.cwnd);
        }
    }

    fn reduce(&mut self, flight: u32) {
        self.prior = (self.cwnd, self.ssthresh);
        self.ssthresh = (flight / 2).max(2 * self.mss);
        self.acked = 0;
    }
}

impl Controller for Reno {
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
        self.cwnd = rescaled(self.cwnd, self.mss, mss).max(mss);
        self.ssthresh = rescaled(self.ssthresh, self.mss, mss);
        self.prior = (rescaled(self.prior.0, self.mss, mss), rescaled(self.prior.1, self.mss, mss));
        self.mss = mss;
    }

    fn on_ack(&mut self, sample: &AckSample) {
        if !sample.in_recovery && sample.window_in_use {
            self.grow(sample.acked);
        }
    }

    fn on_congestion(&mut self, _now: Instant, _signal: Signal, flight: u32) {
        self.reduce(flight);
    }

    fn on_timeout(&mut self, _now: Instant, flight: u32, first: bool) {
        // RFC 5681 §3.1: repeated timeouts of one segment leave ssthresh; the loss window is one segment.
        if first {
            self.reduce(flight);
        }
        self.cwnd = self.mss;
        self.acked = 0;
    }

    fn undo(&mut self) {
        let (cwnd, ssthresh) = self.prior;
        self.cwnd = self.cwnd.max(cwnd);
        self.ssthresh = self.ssthresh.max(ssthresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn reno(segments: u32, mss: u32) -> Reno {
        Reno::new(&Start { initial: segments * mss, mss, ..Start::default() })
    }

    /// conformance: 5681-3.1-ss-increase, 5681-3.1-ssthresh-init, 5681-3.1-switch
    #[test]
    fn slow_start_grows_by_one_segment_per_ack_at_most() {
        let mut reno = reno(10, MSS);
        reno.grow(10 * MSS);
        assert_eq!(reno.cwnd, 11 * MSS, "one stretch acknowledgment");
        (0..100).for_each(|_| reno.grow(MSS / 100));
        assert_eq!(reno.cwnd, 12 * MSS, "a segment acknowledged in a hundred parts");
        reno.ssthresh = 12 * MSS;
        reno.grow(MSS);
        assert_eq!(reno.cwnd, 12 * MSS, "at ssthresh avoidance begins");
    }

    /// conformance: 5681-3.1-ca-increase
    #[test]
    fn congestion_avoidance_grows_by_one_segment_per_window() {
        let mut reno = reno(10, MSS);
        reno.ssthresh = 2 * MSS;
        (0..9).for_each(|_| reno.grow(MSS));
        assert_eq!(reno.cwnd, 10 * MSS);
        reno.grow(MSS);
        assert_eq!(reno.cwnd, 11 * MSS);
        (0..11).for_each(|_| reno.grow(MSS));
        assert_eq!(reno.cwnd, 12 * MSS);
    }

    /// conformance: 5681-3.1-ssthresh-rto, 5681-3.1-lw, 6928-2-loss-window
    #[test]
    fn only_the_first_timeout_of_a_segment_moves_ssthresh() {
        let mut reno = reno(40, MSS);
        reno.on_timeout(Instant::ZERO, 10 * MSS, true);
        assert_eq!((reno.cwnd, reno.ssthresh), (MSS, 5 * MSS), "half of the flight, not of cwnd");
        reno.on_timeout(Instant::ZERO, 10 * MSS, false);
        assert_eq!((reno.cwnd, reno.ssthresh), (MSS, 5 * MSS));
        reno.on_timeout(Instant::ZERO, MSS, true);
        assert_eq!(reno.ssthresh, 2 * MSS);
    }

    /// conformance: 5681-3.1-pmtu-cwnd
    #[test]
    fn a_new_segment_size_keeps_the_number_of_segments() {
        let mut reno = reno(10, 1448);
        reno.set_mss(1348);
        assert_eq!(reno.cwnd, 10 * 1348);
        assert_eq!(reno.ssthresh, u32::MAX);
    }
}
