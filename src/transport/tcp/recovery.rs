//! Fast retransmit and NewReno fast recovery (RFC 5681 §3.2, RFC 6582) with limited transmit (RFC 3042).
//!
//! Which segments are lost is judged by the count of duplicates alone; SACK information only says which duplicates count (RFC 3042
//! §2) and what a retransmission need not cover. This module decides; the sender's fields are moved by `ack`.

use super::congestion::{Congestion, Controller, Signal};
use crate::base::Instant;
use crate::wire::seq::SeqNumber;

/// Duplicates that mean a loss.
const DUP_THRESHOLD: u32 = 3;

/// What the sender is doing about losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing is known to be lost.
    Open,
    /// Fast recovery.
    Fast,
    /// After a timeout, until all that was in flight then is acknowledged.
    Loss,
}

/// RFC 6582's variables.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    pub mode: Mode,
    /// Duplicate acknowledgments in a row.
    pub dup_acks: u32,
    /// `recover` + 1: the end of what was in flight when losses were last dealt with.
    pub recover: SeqNumber,
    /// FlightSize at the first duplicate: without limited transmit's segments.
    flight: u32,
}

/// What a duplicate acknowledgment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDuplicate {
    /// New data may be sent.
    Nothing,
    /// The segment at SND.UNA is lost: send it again.
    FastRetransmit,
}

/// What an acknowledgment of new data asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnNewAck {
    /// The window may grow.
    Grow,
    /// Recovery ended with it.
    Recovered,
    /// The next hole is at SND.UNA: send it again.
    ///
    /// conformance-deviation: 6582-3.2-3-timer
    /// The timer restarts with every partial acknowledgment, for each sends the head again, and RFC 6298 §5 lets nothing go again
    /// sooner than one RTO after it went last. Linux does so too.
    Partial,
}

impl Recovery {
    /// RFC 6582 §3.2 step 1: recover starts at ISS.
    pub fn new(iss: SeqNumber) -> Recovery {
        Recovery { mode: Mode::Open, dup_acks: 0, recover: iss, flight: 0 }
    }

    /// Octets beyond cwnd that limited transmit allows: a segment for each of the first two duplicates (RFC 3042 §2).
    pub fn limited_transmit(&self, mss: u32) -> u32 {
        match self.mode {
            Mode::Open => self.dup_acks.min(2) * mss,
            Mode::Fast | Mode::Loss => 0,
        }
    }

    /// A duplicate acknowledgment (RFC 5681 §2) of `una` came; with SACK, one that told something new.
    pub fn on_duplicate(
        &mut self,
        una: SeqNumber,
        nxt: SeqNumber,
        by_sack: bool,
        congestion: &mut Congestion,
        mss: u32,
    ) -> OnDuplicate {
        self.dup_acks += 1;
        if self.dup_acks == 1 {
            self.flight = nxt.distance_from(una);
        }
        match self.mode {
            Mode::Fast => {
                // RFC 5681 §3.2 step 4, bounded by what was in flight, so that forged duplicates gain nothing.
                let most = congestion.ssthresh().saturating_add(nxt.distance_from(una));
                congestion.set_cwnd((congestion.cwnd() + mss).min(most));
                OnDuplicate::Nothing
            }
            Mode::Open | Mode::Loss if self.dup_acks == DUP_THRESHOLD && self.is_new_loss(una, by_sack) => {
                congestion.on_congestion(Instant::ZERO, Signal::Loss, self.flight);
                congestion.set_cwnd(congestion.ssthresh() + 3 * mss);
                self.mode = Mode::Fast;
                self.recover = nxt;
                OnDuplicate::FastRetransmit
            }
            Mode::Open | Mode::Loss => OnDuplicate::Nothing,
        }
    }

    /// RFC 6582 §3.2 step 2: duplicates of data sent before the last recovery prove nothing. With SACK they do not come from our own
    /// needless retransmissions, so the edge itself counts.
    fn is_new_loss(&self, una: SeqNumber, by_sack: bool) -> bool {
        una.after(self.recover) || by_sack && una == self.recover
    }

    /// `acked` octets up to `una` were newly acknowledged; `flight` octets are still out.
    pub fn on_new_ack(
        &mut self,
        una: SeqNumber,
        acked: u32,
        flight: u32,
        congestion: &mut Congestion,
        mss: u32,
    ) -> OnNewAck {
        self.dup_acks = 0;
        match self.mode {
            Mode::Open => {
                // Kept near, so that it stays comparable when sequence numbers wrap.
                self.recover = self.recover.max(una.sub(1));
                OnNewAck::Grow
            }
            Mode::Loss => {
                if !una.before(self.recover) {
                    self.mode = Mode::Open;
                }
                OnNewAck::Grow
            }
            Mode::Fast if !una.before(self.recover) => {
                // RFC 6582 §3.2 step 3, full acknowledgment, the first option: no burst.
                congestion.set_cwnd(congestion.ssthresh().min(flight.max(mss) + mss));
                self.mode = Mode::Open;
                OnNewAck::Recovered
            }
            Mode::Fast => {
                let deflated = congestion.cwnd().saturating_sub(acked);
                congestion.set_cwnd(if acked >= mss { deflated + mss } else { deflated });
                OnNewAck::Partial
            }
        }
    }

    /// The retransmission timer expired (RFC 6582 §3.2 step 4).
    pub fn on_timeout(&mut self, nxt: SeqNumber) {
        self.mode = Mode::Loss;
        self.recover = nxt;
        self.dup_acks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::CongestionControl;

    const MSS: u32 = 1000;
    const UNA: SeqNumber = SeqNumber(0xffff_f000);

    fn start() -> (Recovery, Congestion) {
        (Recovery::new(UNA.sub(1)), Congestion::new(CongestionControl::Reno, 10 * MSS, MSS))
    }

    /// conformance: 5681-3.2-2-ssthresh, 5681-3.2-3-inflate, 5681-3.2-4-dup, 3042-2-cwnd, 6582-3.2-1-recover-init
    #[test]
    fn the_third_duplicate_halves_the_flight_and_later_ones_inflate() {
        let (mut recovery, mut congestion) = start();
        let nxt = UNA.add(10 * MSS);
        for count in 1..3 {
            let later = nxt.add((count - 1) * MSS);
            assert_eq!(recovery.on_duplicate(UNA, later, false, &mut congestion, MSS), OnDuplicate::Nothing);
            assert_eq!(recovery.limited_transmit(MSS), count * MSS);
            assert_eq!(congestion.cwnd(), 10 * MSS);
        }
        let nxt = nxt.add(2 * MSS);
        assert_eq!(recovery.on_duplicate(UNA, nxt, false, &mut congestion, MSS), OnDuplicate::FastRetransmit);
        assert_eq!(
            (congestion.ssthresh(), congestion.cwnd()),
            (5 * MSS, 8 * MSS),
            "two of twelve were limited transmit"
        );
        recovery.on_duplicate(UNA, nxt, false, &mut congestion, MSS);
        assert_eq!(congestion.cwnd(), 9 * MSS);
    }

    /// conformance: 6582-3.2-3-partial, 6582-3.2-3-full, 5681-3.2-6-deflate
    #[test]
    fn partial_acknowledgments_keep_recovery_going_and_a_full_one_ends_it() {
        let (mut recovery, mut congestion) = start();
        let nxt = UNA.add(10 * MSS);
        (0..3).for_each(|_| {
            recovery.on_duplicate(UNA, nxt, false, &mut congestion, MSS);
        });
        let first = recovery.on_new_ack(UNA.add(2 * MSS), 2 * MSS, 8 * MSS, &mut congestion, MSS);
        assert_eq!(first, OnNewAck::Partial);
        assert_eq!(congestion.cwnd(), 7 * MSS, "8 − 2 acknowledged + 1");
        let second = recovery.on_new_ack(UNA.add(3 * MSS), MSS, 7 * MSS, &mut congestion, MSS);
        assert_eq!(second, OnNewAck::Partial);
        let full = recovery.on_new_ack(nxt, 7 * MSS, 0, &mut congestion, MSS);
        assert_eq!(full, OnNewAck::Recovered);
        assert_eq!(congestion.cwnd(), 2 * MSS, "min(ssthresh, max(flight, SMSS) + SMSS)");
        assert_eq!(recovery.mode, Mode::Open);
    }

    /// conformance: 6582-3.2-2-check, 6582-3.2-4-rto
    #[test]
    fn duplicates_of_data_sent_before_a_timeout_prove_nothing() {
        let (mut recovery, mut congestion) = start();
        let nxt = UNA.add(10 * MSS);
        recovery.on_timeout(nxt);
        for una in [UNA.add(MSS), nxt] {
            recovery.on_new_ack(una, MSS, 0, &mut congestion, MSS);
            for _ in 0..5 {
                let verdict = recovery.on_duplicate(una, nxt.add(MSS), false, &mut congestion, MSS);
                assert_eq!(verdict, OnDuplicate::Nothing);
            }
        }
        recovery.on_new_ack(nxt.add(1), 1, 0, &mut congestion, MSS);
        let verdicts: Vec<OnDuplicate> = (0..3)
            .map(|_| recovery.on_duplicate(nxt.add(1), nxt.add(9 * MSS), false, &mut congestion, MSS))
            .collect();
        assert_eq!(verdicts[2], OnDuplicate::FastRetransmit);
    }
}
