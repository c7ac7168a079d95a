//! From the model to pacing rate and window (§5.6), acknowledgments that come in lumps (§5.5.9), and beginning again after a pause (§5.4).

use super::{Ack, Bbr, MaxFilter, NONE, State, UNITY, probe_rtt, volume};
use crate::base::{Duration, Instant};

/// The pacing rate stays below the model's by so many percent (PacingMarginPercent).
const MARGIN: u64 = 1;
/// The largest lump that leaves at once.
const MAX_QUANTUM: u64 = 64 << 10;
/// Rounds of one of the two slots that remember aggregation (ExtraAckedFilterLen is 10).
const AGGREGATION_ROUNDS: u8 = 5;

/// Acknowledgments beyond what the rate explains: the path or the receiver gathers them.
#[derive(Clone, Debug)]
pub(super) struct Aggregation {
    extra_acked: MaxFilter,
    start: Instant,
    delivered: u64,
    rounds: u8,
}

impl Aggregation {
    pub fn new(now: Instant) -> Aggregation {
        Aggregation { extra_acked: MaxFilter::default(), start: now, delivered: 0, rounds: 0 }
    }
}

impl Bbr {
    fn pacing_gain(&self) -> u64 {
        match self.state {
            State::Startup => 277,
            State::Drain => 50,
            State::Down => 90,
            State::Cruise | State::Refill | State::ProbeRtt => UNITY,
            State::Up => 125,
        }
    }

    fn cwnd_gain(&self) -> u64 {
        match self.state {
            State::Startup | State::Drain | State::Down | State::Cruise | State::Refill => 200,
            State::Up => 225,
            State::ProbeRtt => probe_rtt::CWND_GAIN,
        }
    }

    /// Before the path is known: the initial window in a round trip, or in a millisecond.
    pub(super) fn init_pacing_rate(&mut self, rtt: Option<Duration>) {
        self.rate_from_rtt = rtt.is_some();
        let nanos = rtt.unwrap_or(Duration::from_millis(1)).as_nanos().max(1);
        let nominal = u64::from(self.initial) * 1_000_000_000 / nanos;
        self.pacing_rate = nominal.saturating_mul(277) / UNITY;
    }

    pub(super) fn set_pacing_rate(&mut self) {
        self.set_pacing_rate_with(self.pacing_gain());
    }

    fn set_pacing_rate_with(&mut self, gain: u64) {
        let rate = u128::from(self.bw) * u128::from(gain * (UNITY - MARGIN)) / u128::from(UNITY * UNITY);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        // Until the pipe was full once, samples may be low for want of data.
        if self.full.reached || rate > self.pacing_rate {
            self.pacing_rate = rate.max(u64::from(self.mss));
        }
    }

    fn send_quantum(&self) -> u32 {
        let octets = volume(self.pacing_rate, Duration::from_millis(1)).min(MAX_QUANTUM) as u32;
        octets.max(2 * self.mss)
    }

    /// `gain` × BDP at `bw`.
    pub(super) fn bdp_multiple(&self, bw: u64, gain: u64) -> u32 {
        if self.min_rtt.value == Duration::MAX {
            return self.initial;
        }
        let bdp = volume(bw, self.min_rtt.value);
        u32::try_from(bdp.saturating_mul(gain) / UNITY).unwrap_or(NONE - 1).min(NONE - 1)
    }

    /// What is in flight at `gain`, room for lumps included.
    pub(super) fn inflight(&self, bw: u64, gain: u64) -> u32 {
        self.with_quanta(self.bdp_multiple(bw, gain))
    }

    /// QuantizationBudget: a quantum each in the sender, on its way out, and in the receiver.
    fn with_quanta(&self, octets: u32) -> u32 {
        let octets = octets.max(3 * self.send_quantum()).max(self.min_pipe());
        if self.state == State::Up { octets.saturating_add(2 * self.mss) } else { octets }
    }

    pub(super) fn update_ack_aggregation(&mut self, ack: &Ack<'_>) {
        if self.round_start {
            let limit = if self.full.reached { AGGREGATION_ROUNDS } else { 1 };
            self.aggregation.rounds += 1;
            if self.aggregation.rounds >= limit {
                self.aggregation.rounds = 0;
                self.aggregation.extra_acked.advance();
            }
        }
        let aggregation = &mut self.aggregation;
        let mut expected = volume(self.bw, ack.sample.now.since(aggregation.start));
        // Slower than the rate explains: a new episode begins.
        if aggregation.delivered <= expected {
            aggregation.delivered = 0;
            aggregation.start = ack.sample.now;
            expected = 0;
        }
        aggregation.delivered += u64::from(ack.sample.delivered);
        let extra = aggregation.delivered.saturating_sub(expected).min(u64::from(self.cwnd));
        aggregation.extra_acked.note(extra);
    }

    /// SetCwnd.
    pub(super) fn set_cwnd_by_model(&mut self, delivered: u32) {
        let extra = self.aggregation.extra_acked.get() as u32;
        let aim = self.bdp_multiple(self.bw, self.cwnd_gain()).saturating_add(extra);
        let max_inflight = self.with_quanta(aim);
        let grown = self.cwnd.saturating_add(delivered);
        if self.full.reached {
            self.cwnd = grown.min(max_inflight);
        } else if self.cwnd < max_inflight || self.delivered < u64::from(self.initial) {
            self.cwnd = grown;
        }
        self.cwnd = self.cwnd.max(self.min_pipe());
        if self.state == State::ProbeRtt {
            self.cwnd = self.cwnd.min(self.probe_rtt_cwnd());
        }
        self.bound_cwnd_for_model();
    }

    fn bound_cwnd_for_model(&mut self) {
        let cap = match self.state {
            State::Startup | State::Drain => NONE,
            State::Down | State::Refill | State::Up => self.inflight_longterm,
            State::Cruise | State::ProbeRtt => self.inflight_with_headroom(),
        };
        self.cwnd = self.cwnd.min(cap.min(self.inflight_shortterm).max(self.min_pipe()));
    }

    pub(super) fn save_cwnd(&mut self) {
        let kept = if self.recovering || self.state == State::ProbeRtt { self.prior_cwnd } else { 0 };
        self.prior_cwnd = self.cwnd.max(kept);
    }

    pub(super) fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    /// Nothing is in flight and something is sent: at the rate of the path, without a burst and without starting over.
    pub(super) fn restart_from_idle(&mut self, now: Instant) {
        // Acknowledgments may have emptied the path while the pacer held the next segment back; that was no pause.
        let due = volume(self.pacing_rate, now.since(self.last_ack));
        if self.recovering || due <= 2 * u64::from(self.send_quantum()) {
            return;
        }
        self.idle_restart = true;
        self.aggregation.start = now;
        self.aggregation.delivered = 0;
        if self.is_in_probe_bw() {
            self.set_pacing_rate_with(UNITY);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }
}
