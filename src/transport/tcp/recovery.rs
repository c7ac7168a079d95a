//! What the sender is doing about losses, and what it does without SACK: fast retransmit and NewReno fast recovery (RFC 5681 §3.2,
//! RFC 6582) with limited transmit (RFC 3042). With SACK see `sack_recovery`.
//!
//! NewReno judges by the count of duplicates alone. This module decides; the sender's fields are moved by `ack`.

use super::congestion::{Congestion, Controller, Signal};
use super::frto::Frto;
use super::prr::Prr;
use super::tail_loss::TailLoss;
use super::undo::Undo;
use crate::base::{Duration, Instant};
use crate::trace::Why;
use crate::wire::seq::SeqNumber;

/// What the sender is doing about losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing is known to be lost.
    Open,
    /// Nothing is lost, but the window is being reduced (RFC 3168 §6.1.2, RFC 8985 §7.4).
    Cwr,
    /// Fast recovery.
    Fast,
    /// After a timeout, until all that was in flight then is acknowledged.
    Loss,
}

/// RFC 6582's variables, and those of each mechanism that repairs or takes back.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    pub mode: Mode,
    /// Duplicate acknowledgments in a row; of a connection without SACK.
    pub dup_acks: u32,
    /// Octets that duplicates tell of having arrived, a segment each (Linux's `sacked_out`); of a connection without SACK.
    pub arrived: u32,
    /// `recover` + 1 (RecoveryPoint): the end of what was in flight when losses were last dealt with.
    pub recover: SeqNumber,
    /// FlightSize at the first duplicate: without limited transmit's segments.
    flight: u32,
    /// When this recovery, or its last reduction, began.
    pub began: Instant,
    pub prr: Prr,
    pub undo: Option<Undo>,
    /// Our timestamp of the first retransmission of those that are on their way.
    pub resent_at: u32,
    pub frto: Frto,
    pub tail_loss: TailLoss,
    /// When to look for losses again (RFC 8985 §6.2 step 5).
    pub reorder_at: Option<Instant>,
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
    /// What a timeout had called lost is repaired; the window may grow.
    Repaired,
    /// The next hole is at SND.UNA: send it again.
    ///
    /// conformance-deviation: 6582-3.2-3-timer
    /// The timer restarts with every partial acknowledgment, for each sends the head again, and RFC 6298 §5 lets nothing go again
    /// sooner than one RTO after it went last. Linux does so too.
    Partial,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery::NEW
    }
}

impl Recovery {
    /// Nothing is in flight.
    pub const NEW: Recovery = Recovery {
        mode: Mode::Open,
        dup_acks: 0,
        arrived: 0,
        recover: SeqNumber(0),
        flight: 0,
        began: Instant::ZERO,
        prr: Prr::NONE,
        undo: None,
        resent_at: 0,
        frto: Frto::Off,
        tail_loss: TailLoss::NONE,
        reorder_at: None,
    };

    /// With everything acknowledged up to `una`: is there nothing to be remembered?
    pub fn is_over(&self, una: SeqNumber) -> bool {
        let judged = self.undo.is_none() && !self.tail_loss.is_outstanding();
        self.mode == Mode::Open && judged && una.after(self.recover)
    }

    /// Octets beyond cwnd that limited transmit allows: a segment for each of the first two duplicates (RFC 3042 §2).
    pub fn limited_transmit(&self, mss: u32) -> u32 {
        match self.mode {
            Mode::Open | Mode::Cwr => self.dup_acks.min(2) * mss,
            Mode::Fast | Mode::Loss => 0,
        }
    }

    /// Why something goes again now.
    pub fn why(&self) -> Why {
        match self.mode {
            Mode::Fast if self.prr.has_sent() => Why::LossRetransmit,
            Mode::Fast => Why::FastRetransmit,
            Mode::Open | Mode::Cwr | Mode::Loss => Why::Retransmit,
        }
    }

    /// Is the window sinking to ssthresh by PRR (RFC 9937)?
    pub fn is_reducing(&self) -> bool {
        matches!(self.mode, Mode::Fast | Mode::Cwr)
    }

    /// Without SACK: the octets that an acknowledgment delivers, `acked` of them cumulatively, with `flight` outstanding after it. As Linux
    /// counts: a duplicate is a segment; progress is the segment that was missing, and then what duplicates told before.
    pub fn deliver(&mut self, acked: u32, duplicate: bool, flight: u32, mss: u32) -> u32 {
        let mut octets = acked.saturating_sub(self.arrived).max(acked.min(mss));
        // After a timeout they tell of what went again without need (RFC 6582 §4).
        let duplicate = duplicate && self.mode != Mode::Loss;
        if duplicate {
            (self.arrived, octets) = (self.arrived.saturating_add(mss), mss);
        } else if acked > 0 {
            self.arrived = self.arrived.saturating_sub(acked.saturating_sub(mss));
        }
        let excess = self.arrived.saturating_sub(flight.saturating_sub(mss));
        self.arrived -= excess;
        if duplicate {
            octets = octets.saturating_sub(excess);
        } else if acked > 0 && self.mode != Mode::Fast {
            self.arrived = 0;
        }
        octets
    }

    /// Progress comes: was what duplicates made us send again only late? The answer to it takes a round trip, of `least` at least. By so
    /// many segments.
    pub fn only_late(&self, now: Instant, least: Option<Duration>) -> Option<u32> {
        let sooner = least.is_some_and(|least| now.since(self.began) < least);
        (self.mode == Mode::Fast && self.dup_acks > 0 && sooner).then_some(self.dup_acks + 1)
    }

    /// A duplicate acknowledgment (RFC 5681 §2) of `una` came, without SACK. `threshold` of them mean a loss.
    pub fn on_duplicate(
        &mut self,
        now: Instant,
        (una, nxt): (SeqNumber, SeqNumber),
        congestion: &mut Congestion,
        (threshold, mss): (u32, u32),
    ) -> OnDuplicate {
        self.dup_acks += 1;
        if self.dup_acks == 1 {
            self.flight = nxt.distance_from(una);
        }
        match self.mode {
            Mode::Fast if congestion.steers_recovery() => OnDuplicate::Nothing,
            Mode::Fast => {
                // RFC 5681 §3.2 step 4, bounded by what was in flight, so that forged duplicates gain nothing.
                let most = congestion.ssthresh().saturating_add(nxt.distance_from(una));
                congestion.set_cwnd((congestion.cwnd() + mss).min(most));
                OnDuplicate::Nothing
            }
            // RFC 6582 §3.2 step 2: duplicates of data sent before the last recovery prove nothing.
            Mode::Open | Mode::Cwr | Mode::Loss if self.dup_acks >= threshold && una.after(self.recover) => {
                congestion.on_congestion(now, Signal::Loss, self.flight);
                if !congestion.steers_recovery() {
                    congestion.set_cwnd(congestion.ssthresh() + threshold * mss);
                }
                self.mode = Mode::Fast;
                self.recover = nxt;
                self.began = now;
                self.undo = Some(Undo::new(una, None));
                OnDuplicate::FastRetransmit
            }
            Mode::Open | Mode::Cwr | Mode::Loss => OnDuplicate::Nothing,
        }
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
            Mode::Open | Mode::Cwr => {
                // Kept near, so that it stays comparable when sequence numbers wrap.
                self.recover = self.recover.max(una.sub(1));
                OnNewAck::Grow
            }
            Mode::Loss if !una.before(self.recover) => {
                self.mode = Mode::Open;
                OnNewAck::Repaired
            }
            Mode::Loss => OnNewAck::Grow,
            Mode::Fast if !una.before(self.recover) => {
                // RFC 6582 §3.2 step 3, full acknowledgment, the first option: no burst.
                if !congestion.steers_recovery() {
                    congestion.set_cwnd(congestion.ssthresh().min(flight.max(mss) + mss));
                }
                self.mode = Mode::Open;
                self.arrived = 0;
                OnNewAck::Recovered
            }
            Mode::Fast if congestion.steers_recovery() => OnNewAck::Partial,
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
        (self.dup_acks, self.arrived) = (0, 0);
        self.tail_loss.end();
        self.reorder_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::CongestionControl;

    const MSS: u32 = 1000;
    const UNA: SeqNumber = SeqNumber(0xffff_f000);

    fn start() -> (Recovery, Congestion) {
        (
            Recovery { recover: UNA.sub(1), ..Recovery::NEW },
            Congestion::new(CongestionControl::Reno, 10 * MSS, MSS),
        )
    }

    /// conformance: 5681-3.2-2-ssthresh, 5681-3.2-3-inflate, 5681-3.2-4-dup, 3042-2-cwnd, 6582-3.2-1-recover-init
    #[test]
    fn the_third_duplicate_halves_the_flight_and_later_ones_inflate() {
        let (mut recovery, mut congestion) = start();
        let nxt = UNA.add(10 * MSS);
        for count in 1..3 {
            let later = nxt.add((count - 1) * MSS);
            assert_eq!(
                recovery.on_duplicate(Instant::ZERO, (UNA, later), &mut congestion, (3, MSS)),
                OnDuplicate::Nothing
            );
            assert_eq!(recovery.limited_transmit(MSS), count * MSS);
            assert_eq!(congestion.cwnd(), 10 * MSS);
        }
        let nxt = nxt.add(2 * MSS);
        assert_eq!(
            recovery.on_duplicate(Instant::ZERO, (UNA, nxt), &mut congestion, (3, MSS)),
            OnDuplicate::FastRetransmit
        );
        assert_eq!(
            (congestion.ssthresh(), congestion.cwnd()),
            (5 * MSS, 8 * MSS),
            "two of twelve were limited transmit"
        );
        recovery.on_duplicate(Instant::ZERO, (UNA, nxt), &mut congestion, (3, MSS));
        assert_eq!(congestion.cwnd(), 9 * MSS);
    }

    /// conformance: 6582-3.2-3-partial, 6582-3.2-3-full, 5681-3.2-6-deflate
    #[test]
    fn partial_acknowledgments_keep_recovery_going_and_a_full_one_ends_it() {
        let (mut recovery, mut congestion) = start();
        let nxt = UNA.add(10 * MSS);
        (0..3).for_each(|_| {
            recovery.on_duplicate(Instant::ZERO, (UNA, nxt), &mut congestion, (3, MSS));
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
                let verdict =
                    recovery.on_duplicate(Instant::ZERO, (una, nxt.add(MSS)), &mut congestion, (3, MSS));
                assert_eq!(verdict, OnDuplicate::Nothing);
            }
        }
        recovery.on_new_ack(nxt.add(1), 1, 0, &mut congestion, MSS);
        let verdicts: Vec<OnDuplicate> = (0..3)
            .map(|_| {
                recovery.on_duplicate(
                    Instant::ZERO,
                    (nxt.add(1), nxt.add(9 * MSS)),
                    &mut congestion,
                    (3, MSS),
                )
            })
            .collect();
        assert_eq!(verdicts[2], OnDuplicate::FastRetransmit);
    }
}
