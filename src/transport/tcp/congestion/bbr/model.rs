//! What the path delivered lately, and what losses outside of probes say about it (§5.5): bw_shortterm and inflight_shortterm sink towards
//! it, once per round trip, until the next probe forgets them. Undo gives back what a loss that was none took (§5.5.11).

use super::{Ack, BETA, Bbr, NONE, State, UNITY};

/// The latest round trip.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    /// Greatest delivery rate and volume of the round (bw_latest, inflight_latest).
    bw: u64,
    pub inflight: u32,
    loss_round_delivered: u64,
    pub loss_round_start: bool,
    loss_in_round: bool,
    pub loss_events: u8,
}

/// As it was before the losses that are being repaired.
#[derive(Clone, Debug)]
pub(super) struct Undo {
    /// Those losses are still being repaired; afterwards this stays until the next one, for proof may come late.
    pub open: bool,
    /// The state that they ended.
    pub state: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u32,
    inflight_longterm: u32,
}

impl Bbr {
    /// Near the start of an acknowledgment.
    pub(super) fn update_latest_delivery_signals(&mut self, ack: &Ack<'_>) {
        let latest = &mut self.latest;
        latest.bw = latest.bw.max(ack.delivery_rate);
        latest.inflight = latest.inflight.max(ack.rate.delivered);
        latest.loss_round_start = ack.rate.prior_delivered >= latest.loss_round_delivered;
        if latest.loss_round_start {
            latest.loss_round_delivered = self.delivered;
        }
    }

    /// Near its end.
    pub(super) fn advance_latest_delivery_signals(&mut self, ack: &Ack<'_>) {
        if self.latest.loss_round_start {
            self.latest.bw = ack.delivery_rate;
            self.latest.inflight = ack.rate.delivered;
        }
    }

    pub(super) fn reset_congestion_signals(&mut self) {
        self.latest.loss_in_round = false;
        self.latest.bw = 0;
        self.latest.inflight = 0;
    }

    pub(super) fn update_congestion_signals(&mut self, ack: &Ack<'_>) {
        self.update_round(ack);
        if ack.delivery_rate >= self.max_bw.get() || !ack.app_limited {
            self.max_bw.note(ack.delivery_rate);
        }
        if self.latest.loss_round_start {
            if self.latest.loss_in_round && !self.is_probing_bw() {
                self.lower_short_term_model();
            }
            self.latest.loss_in_round = false;
        }
    }

    fn update_round(&mut self, ack: &Ack<'_>) {
        self.round_start = ack.rate.prior_delivered >= self.next_round_delivered;
        if self.round_start {
            self.start_round();
            self.round_count = self.round_count.wrapping_add(1);
            self.cycle.on_round();
        }
    }

    /// Down to what was delivered in the last round trip, by three tenths at most.
    fn lower_short_term_model(&mut self) {
        if self.bw_shortterm == u64::MAX {
            self.bw_shortterm = self.max_bw.get();
        }
        if self.inflight_shortterm == NONE {
            self.inflight_shortterm = self.cwnd;
        }
        self.bw_shortterm = self.latest.bw.max(self.bw_shortterm / UNITY * BETA);
        self.inflight_shortterm = self.latest.inflight.max(super::share(self.inflight_shortterm, BETA));
    }

    pub(super) fn reset_short_term_model(&mut self) {
        self.bw_shortterm = u64::MAX;
        self.inflight_shortterm = NONE;
    }

    pub(super) fn bound_bw_for_model(&mut self) {
        self.bw = self.max_bw.get().min(self.bw_shortterm);
    }

    /// Something was lost.
    pub(super) fn note_loss(&mut self) {
        self.save_upon_loss();
        if !self.latest.loss_in_round {
            self.latest.loss_round_delivered = self.delivered;
        }
        self.latest.loss_in_round = true;
    }

    /// Remembers how things were, once for all losses that are repaired together.
    pub(super) fn save_upon_loss(&mut self) {
        if self.undo.as_ref().is_some_and(|undo| undo.open) {
            return;
        }
        self.save_cwnd();
        self.undo = Some(Undo {
            open: true,
            state: None,
            bw_shortterm: self.bw_shortterm,
            inflight_shortterm: self.inflight_shortterm,
            inflight_longterm: self.inflight_longterm,
        });
    }

    /// Nothing had been lost.
    pub(super) fn handle_spurious_loss(&mut self) {
        self.restore_cwnd();
        self.latest.loss_in_round = false;
        self.full.reset(0);
        let Some(undo) = self.undo.take() else { return };
        self.bw_shortterm = self.bw_shortterm.max(undo.bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(undo.inflight_longterm);
        match undo.state {
            Some(State::Startup) if self.state != State::Startup => {
                self.full.reached = false;
                if self.state != State::ProbeRtt {
                    self.enter_startup();
                }
            }
            Some(State::Up) if self.state != State::Up && self.state != State::ProbeRtt => {
                self.start_refill()
            }
            Some(_) | None => {}
        }
    }
}
