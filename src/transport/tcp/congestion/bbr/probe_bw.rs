//! ProbeBW (§5.3.3): down to empty the queue, cruise, refill the pipe, up to look for more; and what losses while looking teach about
//! how much may be in flight (inflight_longterm).

use super::{Ack, BETA, Bbr, LOSS_THRESHOLD, LostSample, NONE, State, UNITY};
use crate::base::{Duration, Instant};

/// Share of inflight_longterm that is left to others while cruising (Headroom, 0.15).
const HEADROOM: u64 = 15;
/// Rounds between probes at most, so that Reno's flows get their share.
const RENO_ROUNDS: u32 = 63;

/// What the acknowledgments that come in now are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

/// The cycle under way.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    ack_phase: AckPhase,
    stamp: Instant,
    /// Time from `stamp` to the next probe (bw_probe_wait).
    wait: Duration,
    rounds_since_probe_up: u32,
    /// Growth of inflight_longterm: how steep, how many acknowledged octets make a segment, and those counted.
    up_rounds: u32,
    up_acked_per_segment: u32,
    up_acked: u32,
    /// What arrives was sent while probing.
    is_probe_sample: bool,
    prev_too_high: bool,
    prev_precautionary: bool,
}

impl Cycle {
    pub fn new(now: Instant) -> Cycle {
        Cycle {
            ack_phase: AckPhase::Init,
            stamp: now,
            wait: Duration::ZERO,
            rounds_since_probe_up: 0,
            up_rounds: 0,
            up_acked_per_segment: NONE,
            up_acked: 0,
            is_probe_sample: false,
            prev_too_high: false,
            prev_precautionary: false,
        }
    }

    pub fn on_round(&mut self) {
        self.rounds_since_probe_up = self.rounds_since_probe_up.saturating_add(1);
    }

    /// ProbeRTT begins: what was sent before is the last of a probe.
    pub fn stop_probing(&mut self) {
        self.ack_phase = AckPhase::ProbeStopping;
    }
}

impl Bbr {
    pub(super) fn start_down(&mut self, now: Instant) {
        self.reset_congestion_signals();
        self.cycle.up_acked_per_segment = NONE;
        // The wait is random, so that flows do not probe all at once.
        self.cycle.rounds_since_probe_up = self.rng.below(2) as u32;
        self.cycle.wait = Duration::from_secs(2) + Duration::from_nanos(self.rng.below(1_000_000_000));
        self.cycle.stamp = now;
        self.cycle.ack_phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = State::Down;
    }

    pub(super) fn start_cruise(&mut self) {
        self.state = State::Cruise;
    }

    pub(super) fn start_refill(&mut self) {
        self.reset_short_term_model();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.prev_precautionary = false;
        self.cycle.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::Refill;
    }

    fn start_up(&mut self, ack: &Ack<'_>) {
        self.cycle.ack_phase = AckPhase::ProbeStarting;
        self.start_round();
        self.full.reset(ack.delivery_rate);
        self.state = State::Up;
        self.raise_inflight_longterm_slope();
    }

    pub(super) fn update_probe_bw_cycle_phase(&mut self, ack: &Ack<'_>) {
        if !self.full.reached || self.adapt_long_term_model(ack) {
            return;
        }
        match self.state {
            State::Down | State::Cruise if self.is_time_to_probe(ack.sample.now) => self.start_refill(),
            State::Down if self.is_time_to_cruise(ack) => self.start_cruise(),
            State::Refill if self.round_start => {
                self.cycle.is_probe_sample = true;
                self.start_up(ack);
            }
            State::Up => {
                if self.is_time_to_go_down(ack) {
                    self.cycle.prev_too_high = false;
                    self.start_down(ack.sample.now);
                }
            }
            State::Startup | State::Drain | State::Down | State::Cruise | State::Refill | State::ProbeRtt => {
            }
        }
    }

    /// T_probe = min(T_bbr, T_reno).
    fn is_time_to_probe(&self, now: Instant) -> bool {
        let reno_rounds = (self.target_inflight() / self.mss.max(1)).min(RENO_ROUNDS);
        now > self.cycle.stamp + self.cycle.wait || self.cycle.rounds_since_probe_up >= reno_rounds
    }

    /// The estimated BDP, unless congestion cut the window.
    fn target_inflight(&self) -> u32 {
        self.bdp_multiple(self.bw, UNITY).min(self.cwnd)
    }

    fn is_time_to_cruise(&self, ack: &Ack<'_>) -> bool {
        let in_flight = ack.sample.in_flight;
        in_flight <= self.inflight_with_headroom() && in_flight <= self.inflight(self.max_bw.get(), UNITY)
    }

    fn is_time_to_go_down(&mut self, ack: &Ack<'_>) -> bool {
        // Precautionary: after a probe that lost too much, only up to where that began.
        if self.cycle.prev_too_high && ack.sample.in_flight >= self.inflight_longterm {
            self.cycle.prev_precautionary = true;
            return true;
        }
        if self.window_full && self.cwnd >= self.inflight_longterm {
            // The bound limits the rate, so that says nothing about the path.
            self.full.reset(ack.delivery_rate);
            return false;
        }
        self.full.now
    }

    /// inflight_longterm less what is left to others.
    pub(super) fn inflight_with_headroom(&self) -> u32 {
        if self.inflight_longterm == NONE {
            return NONE;
        }
        let headroom = super::share(self.inflight_longterm, HEADROOM).max(self.mss);
        self.inflight_longterm.saturating_sub(headroom).max(self.min_pipe())
    }

    /// Twice as steep in each round.
    fn raise_inflight_longterm_slope(&mut self) {
        let per_segment = self.cwnd >> self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.up_acked_per_segment = per_segment.max(self.mss).max(1);
    }

    fn probe_inflight_longterm_upward(&mut self, ack: &Ack<'_>) {
        if !self.window_full || self.cwnd < self.inflight_longterm {
            return;
        }
        self.cycle.up_acked = self.cycle.up_acked.saturating_add(ack.sample.delivered);
        let segments = self.cycle.up_acked / self.cycle.up_acked_per_segment;
        self.cycle.up_acked %= self.cycle.up_acked_per_segment;
        let raised = self.inflight_longterm.saturating_add(segments.saturating_mul(self.mss));
        self.inflight_longterm = raised.min(NONE - 1);
        if self.round_start {
            self.raise_inflight_longterm_slope();
        }
    }

    /// Follows what the acknowledgments are about; raises inflight_longterm while losses allow. True: the next state is decided.
    fn adapt_long_term_model(&mut self, ack: &Ack<'_>) -> bool {
        match self.cycle.ack_phase {
            AckPhase::ProbeStarting if self.round_start => self.cycle.ack_phase = AckPhase::ProbeFeedback,
            AckPhase::ProbeStopping if self.round_start => {
                self.cycle.is_probe_sample = false;
                self.cycle.ack_phase = AckPhase::Init;
                // A cycle without any sample leaves the last one in force.
                if self.is_in_probe_bw() && !ack.app_limited && self.max_bw.is_fresh() {
                    self.max_bw.advance();
                }
                if self.is_in_probe_bw() && self.cycle.prev_precautionary && !self.cycle.prev_too_high {
                    self.start_refill();
                    return true;
                }
            }
            AckPhase::Init
            | AckPhase::Refilling
            | AckPhase::ProbeStarting
            | AckPhase::ProbeFeedback
            | AckPhase::ProbeStopping => {}
        }
        let bounded = self.inflight_longterm != NONE;
        if bounded && !self.is_too_high(ack.rate.lost, ack.rate.tx_in_flight) {
            self.inflight_longterm = self.inflight_longterm.max(ack.rate.tx_in_flight.min(NONE - 1));
            if self.state == State::Up {
                self.probe_inflight_longterm_upward(ack);
            }
        }
        false
    }

    /// Was more lost than the path should lose?
    pub(super) fn is_too_high(&self, lost: u32, tx_in_flight: u32) -> bool {
        u64::from(lost) * UNITY > u64::from(tx_in_flight) * LOSS_THRESHOLD
    }

    /// HandleLostPacket: where losses cross the threshold while probing is the most that fits.
    pub(super) fn handle_lost(&mut self, lost: &LostSample) {
        self.note_loss();
        if self.cycle.is_probe_sample && self.is_too_high(lost.lost, lost.tx_in_flight) {
            self.handle_inflight_too_high(lost.now, inflight_at_loss(lost), lost.app_limited);
        }
    }

    pub(super) fn handle_inflight_too_high(&mut self, now: Instant, tx_in_flight: u32, app_limited: bool) {
        self.cycle.prev_too_high = true;
        // Once per probe.
        self.cycle.is_probe_sample = false;
        if !app_limited {
            let floor = super::share(self.target_inflight(), BETA);
            self.inflight_longterm = tx_in_flight.max(floor).min(NONE - 1);
        }
        if self.state == State::Up {
            if let Some(undo) = &mut self.undo {
                undo.state = Some(State::Up);
            }
            self.start_down(now);
        }
    }

    /// A mark of the network says as much as losses do, once per round trip.
    pub(super) fn on_mark(&mut self, now: Instant, flight: u32) {
        self.note_loss();
        match self.state {
            State::Startup => self.leave_startup_for_loss(),
            _ if self.cycle.is_probe_sample => self.handle_inflight_too_high(now, flight, false),
            State::Drain | State::Down | State::Cruise | State::Refill | State::Up | State::ProbeRtt => {}
        }
    }
}

/// How much was in flight when losses crossed the threshold, which may lie within what was lost at once (§5.5.10.2).
fn inflight_at_loss(lost: &LostSample) -> u32 {
    let inflight_prev = u64::from(lost.tx_in_flight.saturating_sub(lost.octets));
    let lost_prev = u64::from(lost.lost.saturating_sub(lost.octets));
    let prefix =
        (LOSS_THRESHOLD * inflight_prev).saturating_sub(UNITY * lost_prev) / (UNITY - LOSS_THRESHOLD);
    u32::try_from(inflight_prev + prefix).unwrap_or(NONE)
}
