//! Leaving the first slow start before it overflows the path: HyStart++ (RFC 9406) and, by choice, Linux's HyStart.
//!
//! HyStart++ watches the least round-trip time of each round; when it has risen, growth slows to a quarter (CSS) for five rounds and
//! then ends, unless the rise turns out to have been a spike. Linux's HyStart leaves at once, also when a train of acknowledgments lasts
//! for half of the least round-trip time. Left out: Linux's allowance for segmentation offload in that train.
//!
//! conformance-deviation: 9406-4.2-growth
//! No limit of eight segments per acknowledgment, as on Linux: a receiver that merges segments acknowledges far more than eight at once,
//! and growth would then depend on how its packets happen to be merged. What one acknowledgment releases is what it covers, twice.

use super::AckSample;
use crate::base::{Duration, Instant, config};
use crate::transport::tcp::pack::{Pack, Packer, Unpacker, pack_fields};

/// Round-trip samples that a round needs before it says anything (N_RTT_SAMPLE; Linux: HYSTART_MIN_SAMPLES).
const SAMPLES: u8 = 8;
/// Rounds of conservative slow start (CSS_ROUNDS).
const CSS_ROUNDS: u8 = 5;
/// Bounds of the rise that counts, in microseconds (MIN_RTT_THRESH, MAX_RTT_THRESH).
const THRESHOLD: core::ops::RangeInclusive<u32> = 4_000..=16_000;
/// Linux looks at windows from this size on, in segments.
const LOW_WINDOW: u32 = 16;
/// Acknowledgments that follow one another this closely are a train (Linux).
const TRAIN_GAP: Duration = Duration::from_millis(2);
/// No round-trip time is known.
const NONE: u32 = u32::MAX;

/// The one in use.
#[derive(Clone, Debug)]
pub(super) enum Hystart {
    Off,
    PlusPlus(PlusPlus),
    Train(Box<Train>),
}

/// What slow start does with an acknowledgment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The window grows by what was acknowledged.
    Full,
    /// Conservative slow start: by a quarter of it (CSS_GROWTH_DIVISOR 4).
    Quarter,
    /// Slow start is over.
    Over,
}

/// RFC 9406 §4.2; round-trip times in microseconds.
#[derive(Clone, Debug)]
pub(super) struct PlusPlus {
    current_round_min: u32,
    last_round_min: u32,
    /// cssBaselineMinRtt; `NONE` outside of conservative slow start.
    css_baseline: u32,
    css_rounds: u8,
    samples: u8,
}

/// Linux's HyStart.
#[derive(Clone, Debug)]
pub(super) struct Train {
    round_start: Instant,
    /// Octets of the round that are not acknowledged yet; below 0, not at 0, a new one begins.
    left: i64,
    /// Last acknowledgment of the train.
    last_ack: Instant,
    current_round_min: u32,
    samples: u8,
    found: bool,
}

pack_fields!(PlusPlus { current_round_min, last_round_min, css_baseline, css_rounds, samples });
pack_fields!(Train { round_start, left, last_ack, current_round_min, samples, found });

impl Pack for Hystart {
    fn pack(&self, to: &mut Packer<'_>) {
        let (plus_plus, train) = match self {
            Hystart::Off => (None, None),
            Hystart::PlusPlus(state) => (Some(state.clone()), None),
            Hystart::Train(state) => (None, Some(state.clone())),
        };
        plus_plus.pack(to);
        train.pack(to);
    }
    fn unpack(from: &mut Unpacker<'_>) -> Hystart {
        match (Option::unpack(from), Option::unpack(from)) {
            (Some(state), _) => Hystart::PlusPlus(state),
            (None, Some(state)) => Hystart::Train(state),
            (None, None) => Hystart::Off,
        }
    }
}

/// What is known beside the acknowledgment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Congestion window in segments.
    pub segments: u32,
    /// Least round-trip time of the connection, microseconds; 0: none yet.
    pub min_rtt: u32,
    /// ssthresh still has its initial value.
    pub first: bool,
}

impl Hystart {
    pub fn new(kind: config::Hystart) -> Hystart {
        match kind {
            config::Hystart::Off => Hystart::Off,
            config::Hystart::PlusPlus => Hystart::PlusPlus(PlusPlus::new()),
            config::Hystart::Linux => Hystart::Train(Box::new(Train::new())),
        }
    }

    /// An acknowledgment came in slow start.
    pub fn on_ack(&mut self, sample: &AckSample, window: &Window) -> Growth {
        match self {
            // RFC 9406 §4.3: only while nothing was ever lost; later ssthresh knows better.
            Hystart::PlusPlus(state) if window.first => state.on_ack(sample),
            Hystart::Train(state) => state.on_ack(sample, window),
            Hystart::Off | Hystart::PlusPlus(_) => Growth::Full,
        }
    }

    /// The path is to be found out anew.
    pub fn on_timeout(&mut self) {
        if let Hystart::Train(state) = self {
            **state = Train::new();
        }
    }
}

/// Microseconds of a round-trip time, as they are kept.
pub(super) fn micros(rtt: Duration) -> u32 {
    rtt.as_micros().clamp(1, u64::from(NONE - 1)) as u32
}

/// How far the round-trip time may rise over `base`.
fn threshold(base: u32) -> u32 {
    (base / 8).clamp(*THRESHOLD.start(), *THRESHOLD.end())
}

impl PlusPlus {
    fn new() -> PlusPlus {
        let (current_round_min, last_round_min, css_baseline) = (NONE, NONE, NONE);
        PlusPlus { current_round_min, last_round_min, css_baseline, css_rounds: 0, samples: 0 }
    }

    fn on_ack(&mut self, sample: &AckSample) -> Growth {
        if let Some(rtt) = sample.rtt {
            self.current_round_min = self.current_round_min.min(micros(rtt));
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= SAMPLES {
            self.judge();
        }
        let conservative = self.css_baseline != NONE;
        if sample.new_round {
            self.last_round_min = core::mem::replace(&mut self.current_round_min, NONE);
            self.samples = 0;
            self.css_rounds += u8::from(conservative);
        }
        match conservative {
            true if self.css_rounds >= CSS_ROUNDS => Growth::Over,
            true => Growth::Quarter,
            false => Growth::Full,
        }
    }

    fn judge(&mut self) {
        let (current, last) = (self.current_round_min, self.last_round_min);
        if self.css_baseline != NONE {
            // The rise was a spike: resume slow start.
            if current < self.css_baseline {
                self.css_baseline = NONE;
            }
        } else if last != NONE && current >= last.saturating_add(threshold(last)) {
            self.css_baseline = current;
            self.css_rounds = 0;
        }
    }
}

impl Train {
    fn new() -> Train {
        Train::begin(Instant::ZERO, -1)
    }

    /// A round: until more than this is acknowledged.
    fn begin(now: Instant, left: i64) -> Train {
        Train { round_start: now, left, last_ack: now, current_round_min: NONE, samples: 0, found: false }
    }

    fn on_ack(&mut self, sample: &AckSample, window: &Window) -> Growth {
        self.left = self.left.saturating_sub(i64::from(sample.acked));
        let Some(rtt) = sample.rtt.map(micros) else { return Growth::Full };
        if self.found {
            return Growth::Full;
        }
        if self.left < 0 {
            *self = Train::begin(sample.now, i64::from(sample.in_flight));
        }
        if window.segments < LOW_WINDOW {
            return Growth::Full;
        }
        let min_rtt = window.min_rtt;
        if sample.now.since(self.last_ack) <= TRAIN_GAP {
            self.last_ack = sample.now;
            self.found = sample.now.since(self.round_start) > Duration::from_micros(u64::from(min_rtt / 2));
        }
        self.current_round_min = self.current_round_min.min(rtt);
        if self.samples < SAMPLES {
            self.samples += 1;
        } else if self.current_round_min > min_rtt.saturating_add(threshold(min_rtt)) {
            self.found = true;
        }
        if self.found { Growth::Over } else { Growth::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tcp::congestion::tests::ack;

    /// Plays rounds: in each, so many acknowledgments with the round-trip times of `rtt`, in milliseconds; gives what each round ended with.
    fn play(hystart: &mut Hystart, rounds: &[(u32, u64)], window: Window) -> Vec<Growth> {
        let mut now = Instant::ZERO;
        let mut outcome = Vec::new();
        for (acks, rtt) in rounds {
            let mut last = Growth::Full;
            for n in 1..=*acks {
                now += Duration::from_micros(5001);
                let rtt = Some(Duration::from_millis(*rtt));
                last = hystart.on_ack(&AckSample { now, rtt, new_round: n == *acks, ..ack(1000) }, &window);
            }
            outcome.push(last);
        }
        outcome
    }

    fn plus_plus() -> Hystart {
        Hystart::new(config::Hystart::PlusPlus)
    }

    const FIRST: Window = Window { segments: 100, min_rtt: 40_000, first: true };

    /// conformance: 9406-4.2-rtt-thresh
    #[test]
    fn a_rise_of_an_eighth_between_4_and_16_ms_slows_growth() {
        // Base and the least rise that counts, in milliseconds.
        for (base, rise) in [(8, 4), (32, 4), (80, 10), (128, 16), (400, 16)] {
            let below = play(&mut plus_plus(), &[(10, base), (10, base + rise - 1)], FIRST);
            assert_eq!(below, [Growth::Full, Growth::Full], "{base} ms and almost {rise} ms more");
            let at = play(&mut plus_plus(), &[(10, base), (10, base + rise)], FIRST);
            assert_eq!(at, [Growth::Full, Growth::Quarter], "{base} ms and {rise} ms more");
        }
        let seven = play(&mut plus_plus(), &[(10, 40), (7, 80), (7, 80)], FIRST);
        assert_eq!(seven, [Growth::Full; 3], "seven samples say nothing");
        let eight = play(&mut plus_plus(), &[(8, 40), (8, 80)], FIRST);
        assert_eq!(eight, [Growth::Full, Growth::Quarter]);
    }

    /// conformance: 9406-4.2-css
    #[test]
    fn five_conservative_rounds_and_slow_start_is_over() {
        let mut rounds = vec![(10, 40)];
        rounds.extend([(10, 50); 5]);
        let outcome = play(&mut plus_plus(), &rounds, FIRST);
        let [full, quarters @ .., over] = outcome.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((*full, *over), (Growth::Full, Growth::Over));
        assert_eq!(quarters, [Growth::Quarter; 4], "the round in which it began counts");
    }

    /// conformance: 9406-4.2-resume
    #[test]
    fn a_spike_of_the_round_trip_time_is_forgiven() {
        let mut hystart = plus_plus();
        let outcome = play(&mut hystart, &[(10, 40), (10, 60), (10, 60), (10, 59), (10, 59)], FIRST);
        let expected = [Growth::Full, Growth::Quarter, Growth::Quarter, Growth::Full, Growth::Full];
        assert_eq!(outcome, expected, "below the baseline of 60 ms slow start resumes");
        assert_eq!(
            play(&mut hystart, &[(10, 59), (10, 70)], FIRST)[1],
            Growth::Quarter,
            "and is watched further"
        );
    }

    /// conformance: 9406-4.3-initial-only
    #[test]
    fn after_a_loss_slow_start_is_the_plain_one() {
        let later = Window { first: false, ..FIRST };
        assert_eq!(play(&mut plus_plus(), &[(10, 40), (10, 100), (10, 200)], later), [Growth::Full; 3]);
    }

    #[test]
    fn linux_leaves_at_once_when_the_delay_has_risen() {
        // Acknowledgments come 5 ms apart, so none of them makes a train.
        let play = |window: Window, rtts: &[u64]| {
            let mut state = Hystart::new(config::Hystart::Linux);
            let mut last = Growth::Full;
            for (n, rtt) in rtts.iter().enumerate() {
                let now = Instant::ZERO + Duration::from_millis(5 * n as u64);
                let rtt = Some(Duration::from_millis(*rtt));
                last = state.on_ack(&AckSample { now, rtt, in_flight: 100_000, ..ack(1000) }, &window);
            }
            last
        };
        assert_eq!(play(FIRST, &[45; 9]), Growth::Full, "40 ms and an eighth is the threshold itself");
        assert_eq!(play(FIRST, &[46; 8]), Growth::Full, "eight samples only gather");
        assert_eq!(play(FIRST, &[46; 9]), Growth::Over);
        assert_eq!(
            play(Window { segments: 15, ..FIRST }, &[46; 9]),
            Growth::Full,
            "small windows are left alone"
        );
        assert_eq!(
            play(FIRST, &[60, 60, 60, 40, 60, 60, 60, 60, 60, 60]),
            Growth::Full,
            "one sample contradicts"
        );
    }

    #[test]
    fn linux_leaves_when_a_train_lasts_for_half_a_round_trip() {
        let mut state = Hystart::new(config::Hystart::Linux);
        let mut at = |micros: u64| {
            let now = Instant::ZERO + Duration::from_micros(micros);
            let rtt = Some(Duration::from_millis(40));
            state.on_ack(&AckSample { now, rtt, in_flight: 100_000, ..ack(1000) }, &FIRST)
        };
        assert!((0..=10).all(|n| at(2000 * n) == Growth::Full), "20 ms");
        assert_eq!(at(21_000), Growth::Over);
        assert_eq!(at(22_000), Growth::Full, "once");
        let mut state = Hystart::new(config::Hystart::Linux);
        let gap = (0..30).all(|n| {
            let now = Instant::ZERO + Duration::from_micros(2001 * n);
            let rtt = Some(Duration::from_millis(40));
            state.on_ack(&AckSample { now, rtt, in_flight: 100_000, ..ack(1000) }, &FIRST) == Growth::Full
        });
        assert!(gap, "acknowledgments further apart are no train");
    }
}
