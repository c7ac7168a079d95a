//! Congestion control: how much may be in flight. The controller sees acknowledgments and losses; what is lost and what is sent
//! again is recovery's business.

mod reno;

pub(super) use reno::Reno;

use crate::base::config::CongestionControl;

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

    /// Congestion window in octets.
    pub fn cwnd(&self) -> u32 {
        match self {
            Congestion::Reno(reno) => reno.cwnd,
        }
    }

    /// Slow start threshold in octets.
    pub fn ssthresh(&self) -> u32 {
        match self {
            Congestion::Reno(reno) => reno.ssthresh,
        }
    }

    /// `octets` were newly acknowledged outside of recovery, while the window was in full use.
    pub fn on_ack(&mut self, octets: u32) {
        match self {
            Congestion::Reno(reno) => reno.on_ack(octets),
        }
    }

    /// A loss was detected by duplicates, with `flight` octets outstanding: sets ssthresh.
    pub fn on_loss(&mut self, flight: u32) {
        match self {
            Congestion::Reno(reno) => reno.on_loss(flight),
        }
    }

    /// The retransmission timer expired; `first` for this segment.
    pub fn on_timeout(&mut self, flight: u32, first: bool) {
        match self {
            Congestion::Reno(reno) => reno.on_timeout(flight, first),
        }
    }

    /// Sets the window outright: recovery inflates and deflates it (RFC 5681 §3.2), idle time lowers it (§4.1).
    pub fn set_cwnd(&mut self, cwnd: u32) {
        match self {
            Congestion::Reno(reno) => reno.cwnd = cwnd.max(reno.mss),
        }
    }

    /// The segment size changed: the same number of segments fits (RFC 5681 §3.1).
    pub fn set_mss(&mut self, mss: u32) {
        match self {
            Congestion::Reno(reno) => reno.set_mss(mss),
        }
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
