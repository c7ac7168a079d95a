//! The congestion window over time, and what the RFCs' formulas say it should be: a reader of the trace.
//!
//! A formula begins anew where a connection has recovered from a loss, with the window that it had before, and goes on until
//! the next loss. Round trips are those that the connection measured, so a queue that grows is no deviation.

use crate::base::{Duration, Instant};
use crate::trace::{Event, EventKind, Flow, Sink, View};

/// C of CUBIC in segments per second cubed, and its multiplicative decrease (RFC 9438 §4.1, §4.6).
const C: f64 = 0.4;
const BETA: f64 = 0.7;

/// A window that is less than this of what it was has been reduced.
const LESS: f64 = 0.95;

/// A controller whose window has a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// A segment per round trip (RFC 5681 §3.1).
    Reno,
    /// The cubic function, or Reno's window of the same average where it is the greater (RFC 9438 §4.2, §4.3).
    Cubic,
}

/// The window at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Congestion window in octets, at the moment's end.
    pub cwnd: u32,
    /// The greatest one of the moment.
    pub most: u32,
    /// Slow start threshold in octets.
    pub ssthresh: u32,
    /// Smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// Oldest unacknowledged, and next sequence number.
    pub snd_una: u32,
    /// Next sequence number to send.
    pub snd_nxt: u32,
}

/// Collects the window of the first connection that sends.
#[derive(Debug, Default)]
pub struct Windows {
    flow: Option<Flow>,
    samples: Vec<Sample>,
}

impl Windows {
    /// All samples, oldest first; one for each change.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn note(&mut self, at: Instant, view: &View) {
        let View { cwnd, ssthresh, srtt, snd_una, snd_nxt, .. } = *view;
        let mut sample = Sample { at, cwnd, most: cwnd, ssthresh, srtt, snd_una, snd_nxt };
        match self.samples.last_mut() {
            // Many packets may come at one time of a simulation.
            Some(last) if last.at == at => {
                sample.most = cwnd.max(last.most);
                *last = sample;
            }
            _ => self.samples.push(sample),
        }
    }

    /// What the formula says at each sample for which it says anything, in segments of `mss` octets.
    pub fn expected(&self, formula: Formula, mss: u32) -> Vec<(Instant, f64)> {
        let mut epoch = Epoch::default();
        self.samples
            .iter()
            .filter_map(|sample| Some((sample.at, epoch.step(formula, sample, f64::from(mss))?)))
            .collect()
    }
}

impl Sink for Windows {
    fn event(&mut self, event: &Event<'_>) {
        let EventKind::Packet(packet) = &event.kind else { return };
        let (Some(view), Some(flow)) = (&packet.after, event.flow) else { return };
        if *self.flow.get_or_insert(flow) == flow {
            self.note(event.at, view);
        }
    }
}

/// The time since a loss, as the formulas see it.
#[derive(Debug, Default)]
struct Epoch {
    /// Everything sent until the loss was noticed: once that is acknowledged, the formula begins.
    recovering: Option<u32>,
    growing: Option<Growing>,
    /// The greatest window since the last recovery, in segments.
    highest: f64,
    /// The window before the last reduction in segments.
    w_max: f64,
}

#[derive(Clone, Copy, Debug)]
struct Growing {
    begin: Instant,
    last: Instant,
    start: f64,
    /// Reno's window, or CUBIC's estimate of it.
    linear: f64,
}

impl Epoch {
    fn step(&mut self, formula: Formula, sample: &Sample, mss: f64) -> Option<f64> {
        let window = f64::from(sample.cwnd) / mss;
        // The threshold may be set to what it was, or to the window where slow start ends without a loss; the window may
        // be below the threshold for a while. Both together are a loss.
        let highest = self.highest.max(f64::from(sample.most) / mss);
        let least = highest * LESS;
        if self.recovering.is_none() && window < least && f64::from(sample.ssthresh) / mss < least {
            let reached = highest;
            // RFC 9438 §4.7: fast convergence, where less was reached than before.
            self.w_max = match formula {
                Formula::Cubic if reached < self.w_max => reached * f64::midpoint(1.0, BETA),
                _ => reached,
            };
            self.recovering = Some(sample.snd_nxt);
            self.growing = None;
        }
        self.highest = self.highest.max(window);
        if let Some(point) = self.recovering {
            if (point.wrapping_sub(sample.snd_una) as i32) > 0 {
                return None;
            }
            (self.recovering, self.highest) = (None, window);
            self.growing = Some(Growing { begin: sample.at, last: sample.at, start: window, linear: window });
        }
        let growing = self.growing.as_mut()?;
        let trips = match sample.srtt {
            Some(srtt) if !srtt.is_zero() => {
                sample.at.since(growing.last).as_nanos() as f64 / srtt.as_nanos() as f64
            }
            _ => 0.0,
        };
        growing.last = sample.at;
        let slope = match formula {
            Formula::Reno => 1.0,
            Formula::Cubic if growing.linear < growing.start / BETA => 3.0 * (1.0 - BETA) / (1.0 + BETA),
            Formula::Cubic => 1.0,
        };
        growing.linear += slope * trips;
        match formula {
            Formula::Reno => Some(growing.linear),
            Formula::Cubic => {
                let k = ((self.w_max - growing.start).max(0.0) / C).cbrt();
                let time = sample.at.since(growing.begin).as_nanos() as f64 / 1e9;
                Some((C * (time - k).powi(3) + self.w_max).max(growing.linear))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: u64, cwnd: u32, ssthresh: u32, snd_una: u32) -> Sample {
        let at = Instant::ZERO + Duration::from_millis(millis);
        let srtt = Some(Duration::from_millis(100));
        Sample {
            at,
            cwnd: cwnd * 1000,
            most: cwnd * 1000,
            ssthresh: ssthresh * 1000,
            srtt,
            snd_una,
            snd_nxt: 500,
        }
    }

    fn expected(formula: Formula, samples: &[Sample]) -> Vec<f64> {
        let windows = Windows { flow: None, samples: samples.to_vec() };
        windows.expected(formula, 1000).into_iter().map(|(_, segments)| segments).collect()
    }

    #[test]
    fn reno_gains_a_segment_in_each_round_trip_after_recovery() {
        let samples = [
            sample(0, 100, 4000, 0),
            sample(100, 50, 50, 100), // loss
            sample(200, 50, 50, 300), // still recovering
            sample(300, 50, 50, 500),
            sample(400, 51, 50, 600),
            sample(900, 56, 50, 900),
        ];
        assert_eq!(expected(Formula::Reno, &samples), [50.0, 51.0, 56.0]);
    }

    #[test]
    fn a_second_loss_at_the_same_height_begins_anew() {
        let samples = [
            sample(0, 100, 4000, 0),
            sample(100, 50, 50, 500),
            sample(200, 100, 50, 500),
            sample(300, 50, 50, 500),
            sample(400, 51, 50, 500),
        ];
        assert_eq!(expected(Formula::Reno, &samples), [50.0, 51.0, 50.0, 51.0]);
    }

    #[test]
    fn cubic_is_back_at_its_maximum_after_k() {
        // K is the cube root of (100 - 70) / 0.4: 4.217 s.
        let samples = [
            sample(0, 100, 4000, 0),
            sample(100, 70, 70, 500),
            sample(100 + 2_109, 96, 70, 500),
            sample(100 + 4_217, 100, 70, 500),
            sample(100 + 8_434, 130, 70, 500),
        ];
        let got = expected(Formula::Cubic, &samples);
        let wanted = [70.0, 96.25, 100.0, 130.0];
        let near = got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 0.2);
        assert!(near && got.len() == 4, "{got:?}");
    }

    #[test]
    fn short_round_trips_make_cubic_as_fast_as_reno() {
        let mut samples = vec![sample(0, 100, 4000, 0), sample(100, 70, 70, 500), sample(1100, 400, 70, 500)];
        samples.iter_mut().for_each(|sample| sample.srtt = Some(Duration::from_millis(2)));
        // 500 round trips: 57 of them at 0.53 segments up to the old maximum, the others at one.
        let got = expected(Formula::Cubic, &samples)[1];
        assert!((330.0..=570.0).contains(&got), "{got}");
    }
}
