//! BBR version 3 (draft-ietf-ccwg-bbr-06): a model of the path (how fast it delivers, how long it takes empty) in place of a reaction to
//! losses. `startup` finds the rate, `probe_bw` keeps looking for more, `probe_rtt` for less delay; `model` keeps what losses teach,
//! `control` makes window and pacing rate of it all.
//!
//! A mark of the network (ECN) counts as a loss rate that is too high: the draft leaves the response open and only asks that there be
//! one. Maxima are kept in two slots of time, as Linux keeps them; its waits are random from a seed of the connection's own. Left
//! out: the send quantum, which pacing has of its own; a finer response to ECN (Linux's for data centres).
//!
//! Invariants: cwnd is at least one segment, and four outside of timeouts; u32::MAX and u64::MAX stand for no bound.

mod control;
mod model;
mod probe_bw;
mod probe_rtt;
mod startup;
#[cfg(test)]
mod tests;

use super::max_filter::MaxFilter;
use super::{AckSample, Controller, LostSample, RateSample, Signal, Start, rescaled};
use crate::base::{Duration, Instant, Rng};
use control::Aggregation;
use model::{Latest, Undo};
use probe_bw::Cycle;
use probe_rtt::MinRtt;
use startup::FullPipe;

/// Gains are hundredths.
const UNITY: u64 = 100;
/// No bound.
const NONE: u32 = u32::MAX;
/// Losses above this share of what was in flight are too many (LossThresh, 2 %).
const LOSS_THRESHOLD: u64 = 2;
/// What the model keeps at least of a bound that losses lower (Beta, 0.7).
const BETA: u64 = 70;
/// Segments in flight at least (MinPipeCwnd).
const MIN_PIPE_SEGMENTS: u32 = 4;

/// What the connection is trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Doubling its rate each round trip.
    Startup,
    /// Emptying the queue that this made.
    Drain,
    /// Below the rate of the path, to empty the queue.
    Down,
    /// At the rate of the path.
    Cruise,
    /// As `Cruise`, with what was learnt from losses forgotten.
    Refill,
    /// Above the rate of the path, to see whether there is more.
    Up,
    /// With half a window, to see the path empty.
    ProbeRtt,
}

/// BBR's variables, under the names of the draft.
#[derive(Clone, Debug)]
pub(in super::super) struct Bbr {
    state: State,
    cwnd: u32,
    mss: u32,
    initial: u32,
    /// Octets per second.
    pacing_rate: u64,
    /// The initial pacing rate knows a round-trip time.
    rate_from_rtt: bool,
    /// The window was what limited the last sending (is_cwnd_limited).
    window_full: bool,
    /// Losses are being repaired.
    recovering: bool,
    /// cwnd before recovery or ProbeRTT.
    prior_cwnd: u32,
    last_ack: Instant,
    /// C.delivered.
    delivered: u64,
    /// Samples of what was sent until this much was delivered say nothing about the path.
    app_limited_until: u64,

    round_count: u32,
    round_start: bool,
    next_round_delivered: u64,

    max_bw: MaxFilter,
    /// The least of `max_bw` and `bw_shortterm`.
    bw: u64,
    bw_shortterm: u64,
    inflight_shortterm: u32,
    inflight_longterm: u32,
    latest: Latest,
    full: FullPipe,
    drain_start_round: u32,
    cycle: Cycle,
    min_rtt: MinRtt,
    aggregation: Aggregation,
    /// Sending begins again after a pause.
    idle_restart: bool,
    undo: Option<Undo>,
    rng: Rng,
}

/// One acknowledgment with a rate sample (RS).
struct Ack<'a> {
    sample: &'a AckSample,
    rate: RateSample,
    /// Octets per second.
    delivery_rate: u64,
    app_limited: bool,
}

impl Bbr {
    pub fn new(start: &Start) -> Bbr {
        let mut bbr = Bbr {
            state: State::Startup,
            cwnd: start.initial,
            mss: start.mss,
            initial: start.initial,
            pacing_rate: 0,
            rate_from_rtt: false,
            window_full: false,
            recovering: false,
            prior_cwnd: 0,
            last_ack: start.now,
            delivered: 0,
            app_limited_until: 0,
            round_count: 0,
            round_start: false,
            next_round_delivered: 0,
            max_bw: MaxFilter::default(),
            bw: 0,
            bw_shortterm: u64::MAX,
            inflight_shortterm: NONE,
            inflight_longterm: NONE,
            latest: Latest::default(),
            full: FullPipe::default(),
            drain_start_round: 0,
            cycle: Cycle::new(start.now),
            min_rtt: MinRtt::new(start),
            aggregation: Aggregation::new(start.now),
            idle_restart: false,
            undo: None,
            rng: Rng::from_seed(start.seed),
        };
        bbr.init_pacing_rate(start.rtt);
        bbr
    }

    fn min_pipe(&self) -> u32 {
        MIN_PIPE_SEGMENTS * self.mss
    }

    fn is_probing_bw(&self) -> bool {
        matches!(self.state, State::Startup | State::Refill | State::Up)
    }

    fn is_in_probe_bw(&self) -> bool {
        matches!(self.state, State::Down | State::Cruise | State::Refill | State::Up)
    }

    /// A packet-timed round trip begins.
    fn start_round(&mut self) {
        self.next_round_delivered = self.delivered;
    }

    /// UpdateModelAndState.
    fn update_model_and_state(&mut self, ack: &Ack<'_>) {
        self.update_latest_delivery_signals(ack);
        self.update_congestion_signals(ack);
        self.update_ack_aggregation(ack);
        self.check_full_bw_reached(ack);
        self.check_startup_done(ack);
        self.check_drain_done(ack);
        self.update_probe_bw_cycle_phase(ack);
        self.update_min_rtt(ack.sample);
        self.check_probe_rtt(ack.sample);
        self.advance_latest_delivery_signals(ack);
        self.bound_bw_for_model();
    }
}

impl Controller for Bbr {
    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// None of its own; while losses are repaired, what the window returns to.
    fn ssthresh(&self) -> u32 {
        if self.recovering { self.prior_cwnd.max(self.mss) } else { NONE }
    }

    fn set_cwnd(&mut self, cwnd: u32) {
        self.cwnd = cwnd.max(self.mss);
    }

    fn set_mss(&mut self, mss: u32) {
        let from = self.mss;
        let windows = [&mut self.cwnd, &mut self.prior_cwnd, &mut self.inflight_shortterm];
        for window in windows.into_iter().chain([&mut self.inflight_longterm]) {
            *window = rescaled(*window, from, mss);
        }
        self.cwnd = self.cwnd.max(mss);
        self.mss = mss;
    }

    fn on_sent(&mut self, now: Instant, octets: u32, in_flight: u32) {
        if in_flight == 0 {
            self.restart_from_idle(now);
        }
        self.window_full = in_flight.saturating_add(octets).saturating_add(self.mss) > self.cwnd;
    }

    fn on_lost(&mut self, lost: &LostSample) {
        self.handle_lost(lost);
    }

    fn on_ack(&mut self, sample: &AckSample) {
        if sample.lost > 0 {
            self.note_loss();
        }
        if let Some(rtt) = sample.rtt.filter(|_| !self.rate_from_rtt) {
            self.init_pacing_rate(Some(rtt));
        }
        match sample.rate {
            Some(rate) if !rate.interval.is_zero() => {
                self.delivered = rate.delivered_total;
                let per_second = u64::from(rate.delivered).saturating_mul(1_000_000_000);
                let delivery_rate = per_second / rate.interval.as_nanos();
                let app_limited = rate.app_limited || rate.prior_delivered < self.app_limited_until;
                self.update_model_and_state(&Ack { sample, rate, delivery_rate, app_limited });
            }
            Some(_) | None => self.delivered += u64::from(sample.delivered),
        }
        self.last_ack = sample.now;
        self.set_pacing_rate();
        self.set_cwnd_by_model(sample.delivered);
    }

    fn on_congestion(&mut self, now: Instant, signal: Signal, flight: u32) {
        self.save_upon_loss();
        self.recovering = true;
        if signal == Signal::Ecn {
            self.on_mark(now, flight);
        }
    }

    fn on_recovered(&mut self, _now: Instant) {
        self.recovering = false;
        if let Some(undo) = &mut self.undo {
            undo.open = false;
        }
        self.restore_cwnd();
    }

    fn on_timeout(&mut self, _now: Instant, _flight: u32, _first: bool) {
        self.save_upon_loss();
        self.recovering = true;
        self.cwnd = self.mss;
    }

    fn undo(&mut self) {
        self.recovering = false;
        self.handle_spurious_loss();
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.pacing_rate)
    }

    fn steers_recovery(&self) -> bool {
        true
    }
}

/// `octets` × hundredths, saturating.
fn share(octets: u32, hundredths: u64) -> u32 {
    u32::try_from(u64::from(octets) * hundredths / UNITY).unwrap_or(NONE)
}

/// Octets that `rate` octets per second make in `time`, saturating.
fn volume(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(time.as_nanos()) / 1_000_000_000).unwrap_or(u64::MAX)
}
