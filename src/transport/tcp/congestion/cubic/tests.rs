use super::*;
use crate::base::Duration;
use crate::base::config::{CongestionControl, Hystart as Kind};
use crate::transport::tcp::congestion::Congestion;
use crate::transport::tcp::congestion::tests::ack;
use crate::transport::tcp::congestion::tests::path::{Loop, Path};

const MSS: u32 = 1000;

fn cubic(segments: u32) -> Cubic {
    Cubic::new(&Start { initial: segments * MSS, mss: MSS, hystart: Kind::Off, ..Start::default() })
}

/// The same in congestion avoidance.
fn avoiding(segments: u32) -> Cubic {
    Cubic { ssthresh: segments * MSS, ..cubic(segments) }
}

/// Acknowledgments of one segment each, evenly spread over round trips of a steady length.
struct Clock {
    now: Instant,
    rtt: Duration,
}

impl Clock {
    fn new(rtt_ms: u64) -> Clock {
        Clock { now: Instant::ZERO + Duration::from_secs(1), rtt: Duration::from_millis(rtt_ms) }
    }

    fn round(&mut self, cubic: &mut Cubic) {
        self.round_with(cubic, |_, _| {});
    }

    /// One round trip; `also` sees what the controller saw.
    fn round_with(&mut self, cubic: &mut Cubic, mut also: impl FnMut(Instant, &Cubic)) {
        let acks = cubic.cwnd / MSS;
        let start = self.now;
        for n in 1..=u64::from(acks) {
            self.now = start + Duration::from_nanos(self.rtt.as_nanos() * n / u64::from(acks));
            cubic.on_ack(&AckSample { now: self.now, rtt: Some(self.rtt), new_round: n == 1, ..ack(MSS) });
            also(self.now, cubic);
        }
    }

    /// A loss that is repaired at once.
    fn lose(&mut self, cubic: &mut Cubic) {
        cubic.on_congestion(self.now, Signal::Loss, cubic.cwnd);
        cubic.set_cwnd(cubic.ssthresh);
        cubic.on_recovered(self.now);
    }
}

/// RFC 9438 §4 in floating point and in segments, written from the text: one step per segment acknowledged.
struct Reference {
    cwnd: f64,
    w_max: f64,
    cwnd_epoch: f64,
    w_est: f64,
    cwnd_prior: f64,
    start: Option<f64>,
}

impl Reference {
    fn after_loss(w_max: f64, cwnd_prior: f64, cwnd: f64) -> Reference {
        Reference { cwnd, w_max, cwnd_epoch: cwnd, w_est: cwnd, cwnd_prior, start: None }
    }

    fn k(&self) -> f64 {
        ((self.w_max - self.cwnd_epoch).max(0.0) / 0.4).cbrt()
    }

    fn w_cubic(&self, t: f64) -> f64 {
        0.4 * (t - self.k()).powi(3) + self.w_max.max(self.cwnd_epoch)
    }

    fn on_ack(&mut self, now: f64, rtt: f64) {
        let t = now - *self.start.get_or_insert(now);
        let target = self.w_cubic(t + rtt).clamp(self.cwnd, 1.5 * self.cwnd);
        let alpha = if self.w_est < self.cwnd_prior { 3.0 * 0.3 / 1.7 } else { 1.0 };
        self.w_est += alpha / self.cwnd;
        self.cwnd += (target - self.cwnd) / self.cwnd;
        if self.w_cubic(t) < self.w_est {
            self.cwnd = self.cwnd.max(self.w_est);
        }
    }
}

/// conformance: 9438-4.1-constants, 9438-4.2-wcubic, 9438-4.3-west, 9438-4.3-alpha1, 9438-4.4-concave, 9438-4.5-convex
#[test]
fn the_window_follows_the_formulas_of_the_rfc() {
    // Round trip in milliseconds, window before the loss in segments, and for how many seconds.
    for (rtt, w_max, seconds) in [
        (100, 1000, 16),
        (100, 100, 9),
        (50, 3000, 22),
        (20, 200, 10),
        (10, 50, 4),
        (2, 30, 1),
        (300, 400, 14),
    ] {
        let mut clock = Clock::new(rtt);
        let mut cubic = avoiding(w_max);
        clock.lose(&mut cubic);
        let mut reference = Reference::after_loss(w_max.into(), w_max.into(), f64::from(cubic.cwnd) / 1000.0);
        let end = clock.now + Duration::from_secs(seconds);
        let mut worst = 0.0f64;
        while clock.now < end {
            clock.round_with(&mut cubic, |now, cubic| {
                reference.on_ack(now.as_nanos() as f64 / 1e9, rtt as f64 / 1e3);
                worst = worst.max((f64::from(cubic.cwnd) / 1000.0 - reference.cwnd).abs());
            });
        }
        assert!(reference.cwnd > 1.05 * f64::from(w_max), "RTT {rtt} ms: beyond the plateau");
        assert!(worst <= 1.0, "RTT {rtt} ms, W_max {w_max}: {worst} segments off");
    }
}

/// conformance: 9438-4.2-wcubic, 9438-4.4-concave, 9438-4.5-convex
#[test]
fn it_is_concave_to_the_plateau_and_convex_beyond() {
    let mut clock = Clock::new(100);
    let mut cubic = avoiding(1000);
    clock.lose(&mut cubic);
    let start = clock.now;
    let mut steps = Vec::new();
    while clock.now.since(start) < Duration::from_secs(16) {
        let before = cubic.cwnd;
        clock.round(&mut cubic);
        steps.push(cubic.cwnd - before);
        let t = clock.now.since(start).as_secs_f64();
        let w = 0.4 * (t - (300.0f64 / 0.4).cbrt()).powi(3) + 1000.0;
        let off = f64::from(cubic.cwnd) / 1000.0 / w - 1.0;
        assert!(off.abs() < 0.02, "after {t} s: {} instead of {w}", cubic.cwnd);
    }
    let flattest = steps.iter().enumerate().min_by_key(|(_, step)| **step).expect("steps").0;
    assert!((85..=95).contains(&flattest), "the plateau comes after K = 9.09 s: round {flattest}");
    assert!(steps[1] > steps[40] && steps[40] > steps[80], "concave");
    assert!(steps[110] < steps[130] && steps[130] < steps[150], "convex");
}

/// conformance: 9438-4.3-west, 9438-4.3-alpha1
#[test]
fn on_short_paths_it_grows_like_reno_with_the_same_average() {
    let mut clock = Clock::new(1);
    let mut cubic = avoiding(100);
    clock.lose(&mut cubic);
    let mut rounds = |cubic: &mut Cubic, to: u32| {
        let mut count = 0;
        while cubic.cwnd < to * MSS {
            clock.round(cubic);
            count += 1;
        }
        f64::from(count)
    };
    let below = rounds(&mut cubic, 100);
    assert!(
        (below / (30.0 / (9.0 / 17.0)) - 1.0).abs() < 0.05,
        "{below} rounds for 30 segments: alpha is 9/17"
    );
    let above = rounds(&mut cubic, 130);
    assert!((above / 30.0 - 1.0).abs() < 0.1, "{above} rounds for 30 segments: alpha is 1");
}

/// Beside Linux's flows in the queue of a short path, one that grew steadily took five times their share.
#[test]
fn where_a_queue_stands_it_catches_up_with_reno_when_linux_does() {
    let windows = |min_rtt| {
        let (mut cubic, mut clock) = (Cubic { min_rtt, ..avoiding(40) }, Clock::new(1));
        clock.lose(&mut cubic);
        let mut windows = Vec::new();
        for _ in 0..80 {
            clock.round(&mut cubic);
            windows.push(cubic.cwnd / MSS);
        }
        windows
    };
    let steady = windows(1000);
    assert!(steady.windows(2).all(|two| two[1] - two[0] <= 1), "no queue: {steady:?}");
    let patient = windows(500);
    let longest = patient.chunk_by(PartialEq::eq).map(<[u32]>::len).max();
    assert!(longest.is_some_and(|rounds| (29..=32).contains(&rounds)), "stays for 1/32 s: {patient:?}");
    assert!(patient.windows(2).any(|two| two[1] - two[0] >= 5), "then catches up: {patient:?}");
    assert!(patient[79].abs_diff(steady[79]) <= 2, "as fast in the end: {patient:?} {steady:?}");
}

/// conformance: 9438-4.2-target
#[test]
fn the_window_grows_by_half_per_round_trip_at_most() {
    let mut cubic = avoiding(100);
    let mut clock = Clock::new(100);
    clock.lose(&mut cubic);
    clock.round(&mut cubic);
    let before = cubic.cwnd;
    clock.now += Duration::from_secs(60);
    // One window is acknowledged, all of it while t is a minute on.
    (0..before / MSS).for_each(|_| cubic.on_ack(&AckSample { now: clock.now, ..ack(MSS) }));
    let grown = f64::from(cubic.cwnd - before) / f64::from(before);
    assert!(grown > 0.4 && grown <= 0.5, "{grown}");
    let before = cubic.cwnd;
    cubic.on_ack(&AckSample { now: clock.now, ..ack(2 * MSS) });
    assert_eq!(cubic.cwnd - before, MSS, "one segment for two");
}

/// conformance: 9438-4.2-elapsed
#[test]
fn time_that_the_application_wastes_does_not_count() {
    let plain = {
        let (mut cubic, mut clock) = (avoiding(1000), Clock::new(100));
        clock.lose(&mut cubic);
        (0..30).for_each(|_| clock.round(&mut cubic));
        cubic.cwnd
    };
    // The same with ten idle seconds in the middle, and with ten in which less than the window is used.
    for limited in [false, true] {
        let (mut cubic, mut clock) = (avoiding(1000), Clock::new(100));
        clock.lose(&mut cubic);
        (0..15).for_each(|_| clock.round(&mut cubic));
        let before = cubic.cwnd;
        for _ in 0..100 {
            clock.now += Duration::from_millis(100);
            if limited {
                cubic.on_ack(&AckSample { now: clock.now, window_in_use: false, ..ack(MSS) });
            }
        }
        cubic.on_sent(clock.now, MSS, 0);
        assert_eq!(cubic.cwnd, before);
        (0..15).for_each(|_| clock.round(&mut cubic));
        assert!(cubic.cwnd.abs_diff(plain) <= MSS, "{} instead of {plain}", cubic.cwnd);
    }
}

/// conformance: 9438-4.6-cwnd-guard
#[test]
fn a_window_that_is_not_in_use_does_not_grow() {
    for mut cubic in [cubic(10), avoiding(10)] {
        for n in 0..1000 {
            let now = Instant::ZERO + Duration::from_millis(10 * n);
            cubic.on_ack(&AckSample { now, window_in_use: false, ..ack(MSS) });
        }
        assert_eq!(cubic.cwnd, 10 * MSS);
    }
}

/// conformance: 9438-4.1-constants, 9438-4.6-decrease
#[test]
fn a_loss_takes_three_tenths() {
    let mut cubic = avoiding(100);
    cubic.on_congestion(Instant::ZERO, Signal::Loss, 100 * MSS);
    assert_eq!((cubic.ssthresh, cubic.cwnd_prior, cubic.w_max), (70 * MSS, 100 * MSS, 100 * MSS));
    for (signal, floor) in [(Signal::Loss, 2 * MSS), (Signal::Ecn, MSS)] {
        let mut cubic = avoiding(10);
        let mut thresholds = Vec::new();
        for _ in 0..10 {
            cubic.on_congestion(Instant::ZERO, signal, cubic.cwnd);
            cubic.set_cwnd(cubic.ssthresh);
            thresholds.push(cubic.ssthresh);
        }
        assert_eq!(thresholds[..3], [7000, 4900, 3430]);
        assert_eq!(thresholds[9], floor, "{signal:?}");
    }
}

/// conformance: 9438-4.7-fast-conv
#[test]
fn a_second_loss_below_the_plateau_lowers_it_further() {
    let (mut cubic, mut clock) = (avoiding(100), Clock::new(100));
    clock.lose(&mut cubic);
    assert_eq!(cubic.w_max, 100 * MSS);
    clock.lose(&mut cubic);
    assert_eq!(cubic.w_max, 70 * MSS * 17 / 20);
    assert_eq!(cubic.cwnd_prior, 70 * MSS);
    cubic.set_cwnd(200 * MSS);
    clock.lose(&mut cubic);
    assert_eq!(cubic.w_max, 200 * MSS, "above it the plateau moves up");
}

/// conformance: 9438-4.8-timeout
#[test]
fn after_a_timeout_the_curve_begins_at_its_own_plateau() {
    let (mut cubic, mut clock) = (avoiding(100), Clock::new(100));
    clock.lose(&mut cubic);
    (0..20).for_each(|_| clock.round(&mut cubic));
    let before = cubic.cwnd;
    cubic.on_timeout(clock.now, before, true);
    assert_eq!((cubic.cwnd, cubic.ssthresh), (MSS, share(before, BETA)));
    let ssthresh = cubic.ssthresh;
    cubic.on_timeout(clock.now, MSS, false);
    assert_eq!((cubic.cwnd, cubic.ssthresh), (MSS, ssthresh), "the same segment again");
    while cubic.cwnd < ssthresh {
        clock.round(&mut cubic);
    }
    clock.round(&mut cubic);
    let curve = cubic.curve.as_ref().expect("congestion avoidance");
    assert_eq!(curve.k, 0);
    assert!(curve.origin.abs_diff(ssthresh) <= MSS, "{} from {ssthresh} on", curve.origin);
}

/// conformance: 9438-4.9-undo
#[test]
fn what_was_no_loss_is_undone_altogether() {
    for timeout in [false, true] {
        let (mut cubic, mut clock) = (avoiding(100), Clock::new(100));
        clock.lose(&mut cubic);
        (0..70).for_each(|_| clock.round(&mut cubic));
        let before = cubic.clone();
        if timeout {
            cubic.on_timeout(clock.now, before.cwnd, true);
            cubic.on_timeout(clock.now, before.cwnd, false);
        } else {
            clock.lose(&mut cubic);
        }
        assert!(cubic.cwnd < before.cwnd);
        cubic.undo();
        assert_eq!((cubic.cwnd, cubic.ssthresh), (before.cwnd, before.ssthresh));
        assert_eq!((cubic.w_max, cubic.cwnd_prior), (before.w_max, before.cwnd_prior));
        let mut other = before;
        let now = clock.now;
        (0..10).for_each(|_| clock.round(&mut cubic));
        clock.now = now;
        (0..10).for_each(|_| clock.round(&mut other));
        assert_eq!(cubic.cwnd, other.cwnd, "the curve goes on as if nothing had been");
        let cwnd = cubic.cwnd;
        cubic.undo();
        assert_eq!(cubic.cwnd, cwnd, "once");
    }
    let (mut cubic, mut clock) = (avoiding(10), Clock::new(100));
    clock.lose(&mut cubic);
    cubic.set_cwnd(50 * MSS);
    cubic.undo();
    assert_eq!(cubic.cwnd, 50 * MSS, "not below what it is by now");
}

/// conformance: 9438-4.10-slow-start
#[test]
fn below_ssthresh_it_grows_by_what_is_acknowledged() {
    let mut cubic = Cubic { ssthresh: 25 * MSS, ..cubic(10) };
    cubic.on_ack(&ack(MSS));
    assert_eq!(cubic.cwnd, 11 * MSS);
    cubic.on_ack(&ack(10 * MSS));
    assert_eq!(cubic.cwnd, 21 * MSS, "a stretch acknowledgment counts in full");
    (0..100).for_each(|_| cubic.on_ack(&ack(MSS / 100)));
    assert_eq!(cubic.cwnd, 22 * MSS, "a hundred parts of a segment count as one");
    cubic.on_ack(&ack(3 * MSS));
    assert_eq!(cubic.cwnd, 25 * MSS);
    assert!(cubic.curve.is_none());
    cubic.on_ack(&ack(MSS));
    assert!(cubic.cwnd < 26 * MSS && cubic.curve.is_some(), "from ssthresh on the curve rules");
    cubic.on_ack(&AckSample { in_recovery: true, ..ack(10 * MSS) });
    assert!(cubic.cwnd < 26 * MSS, "PRR steers in recovery");
}

/// conformance: 9438-4.10-hystart-exit, 9406-4.2-css
#[test]
fn leaving_slow_start_without_a_loss_begins_a_flat_curve() {
    let start = Start { initial: 10 * MSS, mss: MSS, hystart: Kind::PlusPlus, ..Start::default() };
    let (mut cubic, mut clock) = (Cubic::new(&start), Clock::new(40));
    let mut growth = Vec::new();
    for round in 0..9 {
        clock.rtt = Duration::from_millis(if round < 3 { 40 } else { 50 });
        let before = cubic.cwnd;
        clock.round(&mut cubic);
        growth.push(f64::from(cubic.cwnd) / f64::from(before));
        if cubic.ssthresh < u32::MAX {
            break;
        }
    }
    assert!(growth[..3].iter().all(|factor| *factor > 1.9), "{growth:?}");
    assert!(growth[4..7].iter().all(|factor| (1.2..1.3).contains(factor)), "a quarter: {growth:?}");
    clock.round(&mut cubic);
    let curve = cubic.curve.as_ref().expect("congestion avoidance");
    assert_eq!((curve.k, curve.origin), (0, cubic.ssthresh));
    assert_eq!(cubic.w_max, 0, "no loss has told where the plateau is");
    // Linux's floor: a twentieth of the window per round trip.
    let before = cubic.cwnd;
    clock.round(&mut cubic);
    let factor = f64::from(cubic.cwnd) / f64::from(before);
    assert!((1.045..1.055).contains(&factor), "{factor}");
}

/// conformance: 9406-4.2-loss-exit
#[test]
fn a_loss_ends_slow_start_and_its_watch() {
    for signal in [Signal::Loss, Signal::Ecn] {
        let start = Start { initial: 10 * MSS, mss: MSS, hystart: Kind::PlusPlus, ..Start::default() };
        for rising in [false, true] {
            let (mut cubic, mut clock) = (Cubic::new(&start), Clock::new(40));
            clock.round(&mut cubic);
            clock.rtt = Duration::from_millis(if rising { 60 } else { 40 });
            (0..2).for_each(|_| clock.round(&mut cubic));
            let cwnd = cubic.cwnd;
            cubic.on_congestion(clock.now, signal, cwnd);
            assert_eq!(cubic.ssthresh, share(cwnd, BETA));
            cubic.set_cwnd(cubic.ssthresh);
            clock.round(&mut cubic);
            assert!(cubic.curve.is_some() && cubic.cwnd < cwnd, "congestion avoidance");
        }
    }
}

#[test]
fn a_new_segment_size_keeps_the_number_of_segments() {
    let (mut cubic, mut clock) = (avoiding(100), Clock::new(100));
    clock.lose(&mut cubic);
    clock.round(&mut cubic);
    let segments = cubic.cwnd / MSS;
    cubic.set_mss(500);
    assert_eq!((cubic.cwnd / 500, cubic.w_max, cubic.ssthresh), (segments, 50_000, 35_000));
    assert_eq!(cubic.curve.as_ref().map(|curve| curve.origin), Some(50_000));
}

#[test]
fn cube_roots_are_exact() {
    for root in [0u64, 1, 2, 3, 607, 9_085_602, 606_000_000, (1 << 41) - 1] {
        let cube = u128::from(root).pow(3);
        assert_eq!(cube_root(cube), root);
        assert_eq!(cube_root(cube + 1).max(1), root.max(1));
        assert_eq!(cube_root(cube.saturating_sub(1)), root.saturating_sub(1));
    }
}

/// Nothing that a peer or a clock can do makes the arithmetic overflow.
#[test]
fn extremes_do_no_harm() {
    for mss in [1, 48, 65_495] {
        for window in [mss, u32::MAX / 2, u32::MAX - 1] {
            let mut cubic = Cubic::new(&Start { initial: window, mss, ..Start::default() });
            for far in [0, 1, 1_000_000, u64::MAX / 2_000_000_000] {
                cubic.on_congestion(Instant::ZERO, Signal::Loss, window);
                let rtt = Some(Duration::from_secs(far));
                for acked in [1, mss, u32::MAX / 2, u32::MAX] {
                    let now = Instant::ZERO + Duration::from_secs(far);
                    cubic.on_ack(&AckSample { now, rtt, ..ack(acked) });
                }
                cubic.on_timeout(Instant::ZERO, window, true);
                cubic.undo();
                assert!(cubic.cwnd >= mss);
            }
        }
    }
}

#[test]
fn an_idle_connection_stays_small() {
    assert!(size_of::<Cubic>() <= 112, "{}", size_of::<Cubic>());
    assert!(size_of::<Congestion>() <= 120, "{}", size_of::<Congestion>());
}

fn congestion(hystart: Kind) -> Congestion {
    Congestion::start(CongestionControl::Cubic, &Start { hystart, ..Start::default() })
}

#[test]
fn it_fills_the_pipe() {
    for (megabits, rtt, queue) in [(10, 20, 1.0), (50, 20, 1.0), (50, 100, 1.0), (50, 20, 4.0), (50, 20, 0.5)]
    {
        let mut path = Loop::new(Path::new(megabits, rtt, queue), [congestion(Kind::PlusPlus)]);
        path.run(Duration::from_secs(5));
        let share = path.share(0, Duration::from_secs(10));
        assert!(
            share > if queue < 1.0 { 0.93 } else { 0.97 },
            "{megabits} Mbit/s, {rtt} ms, queue {queue}: {share}"
        );
        assert_eq!(path.flows[0].timeouts, 0);
    }
}

/// HyStart++ sees a queue one round after it began to last, so it halves what the last doubling overflows and spares a deep queue;
/// Linux's sees the train of acknowledgments as soon as the pipe is full.
#[test]
fn slow_start_ends_before_it_floods_the_queue() {
    for rtt in [20, 40, 100] {
        let overflow = |kind, queue| {
            let mut path = Loop::new(Path::new(100, rtt, queue), [congestion(kind)]);
            while path.flows[0].control.ssthresh() == u32::MAX {
                path.run(Duration::from_millis(1));
            }
            let window = f64::from(path.flows[0].control.cwnd()) / path.path.bdp() as f64;
            assert!(window > 0.8, "{kind:?} at {rtt} ms leaves a pipe unfilled: {window} BDP");
            // What is already on its way may still overflow.
            path.run(Duration::from_millis(rtt));
            path.overflow as f64 / path.path.bdp() as f64
        };
        let (plain, deep) = (overflow(Kind::Off, 2.0), overflow(Kind::Off, 4.0));
        assert!(plain > 1.5 && deep > 3.0, "without, {plain} and {deep} BDP are lost at {rtt} ms");
        assert!(overflow(Kind::PlusPlus, 2.0) < 0.6 * plain, "HyStart++ at {rtt} ms");
        assert!(overflow(Kind::PlusPlus, 4.0) < 0.35 * deep, "HyStart++ at {rtt} ms, deep queue");
        assert_eq!(overflow(Kind::Linux, 1.0), 0.0, "Linux's at {rtt} ms");
    }
}

#[test]
fn two_flows_share() {
    let flows = [congestion(Kind::PlusPlus), congestion(Kind::PlusPlus)];
    let mut path = Loop::new(Path::new(20, 20, 1.0), flows);
    path.run(Duration::from_secs(20));
    let before: Vec<u64> = path.flows.iter().map(|flow| flow.delivered).collect();
    path.run(Duration::from_secs(60));
    let got: Vec<f64> =
        path.flows.iter().zip(before).map(|(flow, old)| (flow.delivered - old) as f64).collect();
    let jain = (got[0] + got[1]).powi(2) / (2.0 * (got[0].powi(2) + got[1].powi(2)));
    assert!(jain > 0.95, "{got:?}");
}
