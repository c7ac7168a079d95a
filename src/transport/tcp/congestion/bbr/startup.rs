//! Startup and Drain (§5.3.1, §5.3.2): the rate doubles until the delivery rate no longer follows or too much is lost; then the queue
//! that this made is emptied.

use super::{Ack, Bbr, State, UNITY};

/// Rounds without growth that mean a full pipe.
const FULL_ROUNDS: u8 = 3;
/// What counts as growth (1.25).
const GROWTH: u64 = 125;
/// Losses in one round trip, each found by an acknowledgment of its own, that end Startup (FullLossCnt).
const FULL_LOSSES: u8 = 6;
/// Rounds that Drain takes at most.
const DRAIN_ROUNDS: u32 = 3;

/// The full-pipe estimator.
#[derive(Clone, Debug, Default)]
pub(super) struct FullPipe {
    /// Delivery rate when it last grew.
    bw: u64,
    count: u8,
    /// The rate of this probe is exhausted (full_bw_now).
    pub now: bool,
    /// It was so once on this connection (full_bw_reached).
    pub reached: bool,
}

impl FullPipe {
    /// ResetFullBW, with a new baseline.
    pub fn reset(&mut self, bw: u64) {
        *self = FullPipe { bw, reached: self.reached, ..FullPipe::default() };
    }
}

impl Bbr {
    pub(super) fn check_full_bw_reached(&mut self, ack: &Ack<'_>) {
        if self.full.now || !self.round_start || ack.app_limited {
            return;
        }
        if u128::from(ack.delivery_rate) * u128::from(UNITY) >= u128::from(self.full.bw) * u128::from(GROWTH)
        {
            self.full.reset(ack.delivery_rate);
            return;
        }
        self.full.count += 1;
        self.full.now = self.full.count >= FULL_ROUNDS;
        self.full.reached |= self.full.now;
    }

    pub(super) fn check_startup_done(&mut self, ack: &Ack<'_>) {
        self.check_startup_high_loss(ack);
        if self.state == State::Startup && self.full.reached {
            self.enter_drain();
        }
    }

    /// A whole round trip in recovery, more than 2 % lost in it, in at least six places.
    fn check_startup_high_loss(&mut self, ack: &Ack<'_>) {
        if self.full.reached {
            return;
        }
        if ack.sample.lost > 0 {
            self.latest.loss_events = self.latest.loss_events.saturating_add(1);
        }
        if !self.latest.loss_round_start {
            return;
        }
        let many = self.latest.loss_events >= FULL_LOSSES;
        if many && self.recovering && self.is_too_high(ack.rate.lost, ack.rate.tx_in_flight) {
            self.leave_startup_for_loss();
        }
        self.latest.loss_events = 0;
    }

    pub(super) fn leave_startup_for_loss(&mut self) {
        if self.state == State::Startup
            && let Some(undo) = &mut self.undo
        {
            undo.state = Some(State::Startup);
        }
        self.full.reached = true;
        self.inflight_longterm = self.bdp_multiple(self.bw, UNITY).max(self.latest.inflight);
    }

    pub(super) fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    fn enter_drain(&mut self) {
        self.state = State::Drain;
        self.drain_start_round = self.round_count;
    }

    pub(super) fn check_drain_done(&mut self, ack: &Ack<'_>) {
        let empty = ack.sample.in_flight <= self.inflight(self.bw, UNITY);
        let late = self.round_count > self.drain_start_round.saturating_add(DRAIN_ROUNDS);
        if self.state == State::Drain && (empty || late) {
            self.start_down(ack.sample.now);
        }
    }
}
