//! The least round-trip time, and ProbeRTT (§5.3.4): when none as low was seen for five seconds, half a window for 200 ms shows the path
//! without its queue. The estimate itself lasts ten seconds, so that one such look is remembered during the next.

use super::{AckSample, Bbr, Start, State};
use crate::base::{Duration, Instant};

/// MinRTTFilterLen.
const FILTER: Duration = Duration::from_secs(10);
/// ProbeRTTInterval.
const INTERVAL: Duration = Duration::from_secs(5);
/// ProbeRTTDuration.
const DURATION: Duration = Duration::from_millis(200);
/// ProbeRTTCwndGain (0.5).
pub(super) const CWND_GAIN: u64 = 50;

/// The estimate and when the next look is due.
#[derive(Clone, Debug)]
pub(super) struct MinRtt {
    /// `Duration::MAX`: none yet.
    pub value: Duration,
    stamp: Instant,
    probe_value: Duration,
    probe_stamp: Instant,
    expired: bool,
    /// The window is small since long enough from here on.
    done_at: Option<Instant>,
    round_done: bool,
}

impl MinRtt {
    pub fn new(start: &Start) -> MinRtt {
        let (value, stamp) = (start.rtt.unwrap_or(Duration::MAX), start.now);
        MinRtt {
            value,
            stamp,
            probe_value: value,
            probe_stamp: stamp,
            expired: false,
            done_at: None,
            round_done: false,
        }
    }
}

impl Bbr {
    pub(super) fn update_min_rtt(&mut self, sample: &AckSample) {
        let min = &mut self.min_rtt;
        min.expired = sample.now > min.probe_stamp + INTERVAL;
        if let Some(rtt) = sample.rtt
            && (rtt < min.probe_value || min.expired)
        {
            min.probe_value = rtt;
            min.probe_stamp = sample.now;
        }
        if min.probe_value < min.value || sample.now > min.stamp + FILTER {
            min.value = min.probe_value;
            min.stamp = min.probe_stamp;
        }
    }

    pub(super) fn check_probe_rtt(&mut self, sample: &AckSample) {
        // After a pause the path was empty: no need to look.
        if self.state != State::ProbeRtt && self.min_rtt.expired && !self.idle_restart {
            self.state = State::ProbeRtt;
            self.save_cwnd();
            self.min_rtt.done_at = None;
            self.cycle.stop_probing();
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(sample);
        }
        if sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    fn handle_probe_rtt(&mut self, sample: &AckSample) {
        // What is sent now is slow on purpose.
        self.app_limited_until = self.delivered + u64::from(sample.in_flight);
        match self.min_rtt.done_at {
            None if sample.in_flight <= self.probe_rtt_cwnd() => {
                self.min_rtt.done_at = Some(sample.now + DURATION);
                self.min_rtt.round_done = false;
                self.start_round();
            }
            None => {}
            Some(_) => {
                self.min_rtt.round_done |= self.round_start;
                if self.min_rtt.round_done {
                    self.check_probe_rtt_done(sample.now);
                }
            }
        }
    }

    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.min_rtt.done_at.is_some_and(|at| now > at) {
            self.min_rtt.probe_stamp = now;
            self.restore_cwnd();
            self.exit_probe_rtt(now);
        }
    }

    /// Back to where it was, carefully: more in flight may cost losses, so the next probe is a cycle away.
    fn exit_probe_rtt(&mut self, now: Instant) {
        self.reset_short_term_model();
        if self.full.reached {
            self.start_down(now);
            self.start_cruise();
        } else {
            self.enter_startup();
        }
    }

    pub(super) fn probe_rtt_cwnd(&self) -> u32 {
        self.bdp_multiple(self.bw, CWND_GAIN).max(self.min_pipe())
    }
}
