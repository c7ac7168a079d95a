use super::*;
use crate::base::config::CongestionControl;
use crate::transport::tcp::congestion::Congestion;
use crate::transport::tcp::congestion::tests::ack;
use crate::transport::tcp::congestion::tests::path::{Loop, MSS, Path};
use std::collections::BTreeMap;

fn bbr(seed: u64) -> Congestion {
    Congestion::start(CongestionControl::Bbr, &Start { seed, ..Start::default() })
}

fn cubic() -> Congestion {
    Congestion::start(CongestionControl::Cubic, &Start::default())
}

/// The controller of the first flow.
fn first(path: &mut Loop) -> &mut Bbr {
    match &mut path.flows[0].control {
        Congestion::Bbr(bbr) => bbr,
        Congestion::Cubic(_) | Congestion::Reno(_) => panic!("BBR it was"),
    }
}

fn alone(path: Path) -> Loop {
    Loop::new(path, [bbr(1)])
}

fn with_loss(mut path: Path, loss: f64) -> Path {
    path.loss = loss;
    path
}

/// Runs until the first flow is in `state`; how long that took.
fn until(path: &mut Loop, state: State) -> Duration {
    let start = path.now;
    while first(path).state != state {
        path.run(Duration::from_micros(500));
        assert!(path.now.since(start) < Duration::from_secs(30), "no {state:?} in half a minute");
    }
    path.now.since(start)
}

/// Octets that each flow gets through in `time`, as shares of the bottleneck.
fn shares(path: &mut Loop, time: Duration) -> Vec<f64> {
    let before: Vec<u64> = path.flows.iter().map(|flow| flow.delivered).collect();
    path.run(time);
    let all = path.path.rate as f64 * time.as_secs_f64();
    path.flows.iter().zip(before).map(|(flow, old)| (flow.delivered - old) as f64 / all).collect()
}

fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    sum * sum / (shares.len() as f64 * shares.iter().map(|share| share * share).sum::<f64>())
}

/// conformance: bbr-draft-optional
#[test]
fn it_delivers_at_the_rate_of_the_path_without_a_standing_queue() {
    for (megabits, rtt, queue) in [(50, 20, 1.0), (50, 100, 1.0), (10, 50, 1.0), (50, 20, 4.0), (50, 20, 0.5)]
    {
        let mut path = alone(Path::new(megabits, rtt, queue));
        path.run(Duration::from_secs(3));
        path.overflow = 0;
        let bdp = path.path.bdp() as f64;
        let (before, start, mut flight, mut looks) = (path.flows[0].delivered, path.now, 0.0, 0.0);
        path.flows[0].peak = 0;
        while path.now.since(start) < Duration::from_secs(12) {
            path.run(Duration::from_millis(5));
            flight += f64::from(path.flows[0].in_flight);
            looks += 1.0;
        }
        let share = (path.flows[0].delivered - before) as f64 / path.path.rate as f64 / 12.0;
        let (average, peak) = (flight / looks / bdp, f64::from(path.flows[0].peak) / bdp);
        let which = format!("{megabits} Mbit/s, {rtt} ms, queue {queue}");
        assert!(share > 0.95, "{which}: {share}");
        assert!(average < 1.1 && peak < 2.1, "{which}: {average} BDP in flight, {peak} at most");
        assert_eq!(path.flows[0].timeouts, 0);
        assert!(queue < 1.0 || path.overflow == 0, "{which}: {} octets overflow", path.overflow);
    }
}

/// The draft's appendix: "Exiting STARTUP on Bandwidth Plateau", "Exiting DRAIN Based on Inflight".
#[test]
fn startup_finds_the_rate_and_drain_empties_the_queue() {
    for (megabits, rtt) in [(100, 20), (10, 100), (200, 60)] {
        let mut path = alone(Path::new(megabits, rtt, 2.0));
        let took = until(&mut path, State::Drain);
        let rate = path.path.rate;
        let found = first(&mut path).max_bw.get() as f64 / rate as f64;
        assert!((0.98..1.02).contains(&found), "{found} of the rate");
        assert!(took < Duration::from_millis(15 * rtt), "{megabits} Mbit/s, {rtt} ms: {took}");
        assert!(first(&mut path).full.reached);
        let start = path.now;
        while first(&mut path).state == State::Drain {
            path.run(Duration::from_millis(1));
        }
        let took = path.now.since(start);
        assert!(took < Duration::from_millis(3 * rtt), "{took}");
        assert!(u64::from(path.flows[0].in_flight) <= path.path.bdp() * 11 / 10);
        assert!(path.backlog() < path.path.bdp() / 5);
        assert_eq!(path.overflow, 0);
    }
}

/// conformance: bbr-draft-loss-bound
#[test]
fn high_losses_end_startup_and_bound_what_is_in_flight() {
    let mut path = alone(with_loss(Path::new(100, 40, 1.0), 0.05));
    until(&mut path, State::Drain);
    let bbr = first(&mut path);
    assert!(bbr.full.reached && !bbr.full.now, "by losses, not by a plateau");
    assert!(bbr.inflight_longterm < NONE);
    path.run(Duration::from_secs(20));
    let bdp = path.path.bdp();
    let bbr = first(&mut path);
    assert!(
        u64::from(bbr.inflight_longterm) < bdp / 2,
        "each probe meets 5 % again: {}",
        bbr.inflight_longterm
    );
    assert!(path.share(0, Duration::from_secs(10)) < 0.5);
}

/// One percent is below what ends a probe; CUBIC gets a tenth of it. (Windows of 200 segments exceed two percent by chance now and then,
/// and between probes the rate sinks by the pacing margin in each round trip with a loss: the draft's §5.3.3.8.3.)
#[test]
fn a_percent_of_random_loss_costs_little() {
    for (megabits, rtt, least) in [(50, 20, 0.75), (50, 100, 0.82), (10, 50, 0.7), (20, 5, 0.85)] {
        let lossy = |flow| {
            let mut path = Loop::new(with_loss(Path::new(megabits, rtt, 1.0), 0.01), [flow]);
            path.run(Duration::from_secs(3));
            path.share(0, Duration::from_secs(15))
        };
        let share = lossy(bbr(1));
        assert!(share > least, "{megabits} Mbit/s, {rtt} ms: {share}");
        let other = lossy(cubic());
        assert!(rtt == 5 || share > 1.8 * other, "{megabits} Mbit/s, {rtt} ms: {share}, CUBIC {other}");
    }
}

#[test]
fn every_five_seconds_the_path_is_seen_empty() {
    let mut path = alone(Path::new(50, 40, 2.0));
    let bdp = path.path.bdp() as u32;
    path.run(Duration::from_secs(3));
    let mut ends = Vec::new();
    for _ in 0..3 {
        until(&mut path, State::ProbeRtt);
        let start = path.now;
        let mut least = u32::MAX;
        while first(&mut path).state == State::ProbeRtt {
            path.run(Duration::from_millis(1));
            least = least.min(path.flows[0].in_flight);
        }
        let took = path.now.since(start);
        assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(350), "{took}");
        assert!(least <= bdp * 52 / 100, "{least} of {bdp}");
        assert!(first(&mut path).min_rtt.value < Duration::from_micros(40_500));
        assert_eq!(first(&mut path).state, State::Cruise, "the next probe is a cycle away");
        ends.push(path.now);
    }
    for pair in ends.windows(2) {
        let apart = pair[1].since(pair[0]);
        assert!(apart > Duration::from_secs(5) && apart < Duration::from_millis(5600), "{apart}");
    }
}

#[test]
fn a_longer_path_is_noticed_within_two_looks() {
    let mut path = alone(Path::new(30, 20, 2.0));
    path.run(Duration::from_secs(5));
    path.path.rtt = Duration::from_millis(60);
    path.run(Duration::from_secs(16));
    let found = first(&mut path).min_rtt.value;
    assert!(found > Duration::from_millis(59) && found < Duration::from_millis(70), "{found}");
    assert!(path.share(0, Duration::from_secs(10)) > 0.9);
}

#[test]
fn a_faster_path_is_found_and_a_slower_one_not_flooded() {
    let mut path = alone(Path::new(20, 20, 2.0));
    path.run(Duration::from_secs(5));
    path.path.rate *= 4;
    path.run(Duration::from_secs(6));
    let share = path.share(0, Duration::from_secs(5));
    assert!(share > 0.9, "{share} of four times the rate");
    path.path.rate /= 4;
    path.run(Duration::from_secs(8));
    path.overflow = 0;
    let share = path.share(0, Duration::from_secs(10));
    assert!(share > 0.9, "{share}");
    assert!(path.overflow < path.path.rate / 10, "{} octets overflow in ten seconds", path.overflow);
    let (bw, rate) = (first(&mut path).max_bw.get(), path.path.rate);
    assert!(bw < rate * 11 / 10, "two cycles later the old rate is forgotten: {bw}, not {rate}");
}

#[test]
fn flows_share() {
    for (megabits, rtt, queue, flows) in
        [(20, 20, 1.0, 2), (20, 40, 1.5, 2), (20, 20, 4.0, 2), (20, 40, 1.0, 4)]
    {
        let mut path = Loop::new(Path::new(megabits, rtt, queue), (0..flows).map(bbr));
        path.run(Duration::from_secs(10));
        let got = shares(&mut path, Duration::from_secs(25));
        assert!(jain(&got) > 0.9 && got.iter().sum::<f64>() > 0.93, "queue {queue}: {got:?}");
    }
    for (megabits, rtt, queue) in [(20, 40, 1.0), (20, 20, 4.0), (10, 50, 2.0)] {
        let mut path = Loop::new(Path::new(megabits, rtt, queue), [bbr(1), cubic()]);
        path.run(Duration::from_secs(10));
        let got = shares(&mut path, Duration::from_secs(30));
        assert!(got.iter().all(|share| *share > 0.12), "beside CUBIC, queue {queue}: {got:?}");
    }
}

/// A receiver, or a path, that acknowledges in lumps.
#[test]
fn aggregation_is_made_up_for() {
    for (per_ack, slot) in [(2, 0), (8, 0), (1, 2), (1, 5), (2, 10)] {
        let mut path = Path::new(50, 20, 2.0);
        (path.per_ack, path.slot) = (per_ack, Duration::from_millis(slot));
        let mut path = alone(path);
        path.run(Duration::from_secs(3));
        let share = path.share(0, Duration::from_secs(8));
        assert!(share > 0.93, "one acknowledgment for {per_ack}, every {slot} ms: {share}");
        let (bw, rate) = (first(&mut path).max_bw.get(), path.path.rate);
        assert!(bw < rate * 112 / 100, "{bw}, not {rate}");
    }
}

#[test]
fn what_the_application_limits_says_nothing_about_the_path() {
    let mut path = alone(Path::new(100, 20, 1.0));
    path.flows[0].app = Some(500_000);
    path.run(Duration::from_secs(4));
    assert_eq!(first(&mut path).state, State::Startup, "4 % of the path fill no pipe");
    path.flows[0].app = None;
    path.run(Duration::from_secs(4));
    let before = first(&mut path).max_bw.get();
    path.flows[0].app = Some(500_000);
    path.run(Duration::from_secs(15));
    let after = first(&mut path).max_bw.get();
    assert!(after >= before / 2, "{after} after {before}");
}

#[test]
fn after_a_pause_it_goes_on_at_the_rate_of_the_path() {
    let mut path = alone(Path::new(100, 40, 1.0));
    path.run(Duration::from_secs(4));
    let (cwnd, bw) = (first(&mut path).cwnd, first(&mut path).bw);
    path.flows[0].app = Some(0);
    path.run(Duration::from_secs(8));
    assert_eq!(path.flows[0].in_flight, 0);
    path.overflow = 0;
    path.flows[0].app = None;
    path.run(Duration::from_millis(20));
    let bbr = first(&mut path);
    assert!(bbr.idle_restart && bbr.cwnd >= cwnd * 9 / 10);
    assert!(bbr.pacing_rate <= bw && bbr.pacing_rate > bw * 98 / 100, "at the rate of the path");
    path.run(Duration::from_millis(60));
    assert_ne!(first(&mut path).state, State::ProbeRtt, "the pause has emptied the path");
    let share = path.share(0, Duration::from_millis(400));
    assert!(share > 0.8 && path.overflow == 0, "{share}, {}", path.overflow);
}

/// Gains of pacing rate and window by state (§5.6.1), with the margin of one percent.
#[test]
fn each_state_paces_by_its_gain() {
    let mut path = alone(Path::new(100, 20, 1.0));
    let mut seen = BTreeMap::new();
    let expected =
        [("Drain", 50), ("Down", 90), ("Cruise", 100), ("Refill", 100), ("Up", 125), ("ProbeRtt", 100)];
    while path.now < Instant::ZERO + Duration::from_secs(12) {
        path.run(Duration::from_micros(700));
        let bbr = first(&mut path);
        if bbr.full.reached {
            let gain =
                (bbr.pacing_rate().expect("paced") as f64 / bbr.bw as f64 / 0.99 * 100.0).round() as u64;
            *seen.entry(format!("{:?}", bbr.state)).or_insert(gain) = gain;
        } else {
            assert!(bbr.pacing_rate > bbr.bw * 27 / 10);
        }
    }
    assert_eq!(seen, expected.map(|(state, gain)| (state.to_owned(), gain)).into());
}

#[test]
fn before_any_sample_the_initial_window_is_paced_over_a_round_trip() {
    let start = Start { initial: 10 * MSS, mss: MSS, ..Start::default() };
    let rate = |start: &Start| Bbr::new(start).pacing_rate;
    assert_eq!(
        rate(&start),
        u64::from(10 * MSS) * 1000 * 277 / 100,
        "in a millisecond when nothing is known"
    );
    let start = Start { rtt: Some(Duration::from_millis(50)), ..start };
    assert_eq!(rate(&start), u64::from(10 * MSS) * 20 * 277 / 100);
}

#[test]
fn a_timeout_leaves_one_segment_and_the_model() {
    let mut path = alone(Path::new(100, 20, 1.0));
    path.run(Duration::from_secs(4));
    let (now, bbr) = (path.now, first(&mut path));
    let (cwnd, bw) = (bbr.cwnd, bbr.bw);
    bbr.on_timeout(now, cwnd, true);
    assert_eq!((bbr.cwnd, bbr.bw), (MSS, bw));
    bbr.on_ack(&AckSample { now, ..ack(MSS) });
    assert_eq!(bbr.cwnd, 4 * MSS, "then four at least");
    bbr.on_recovered(now);
    assert_eq!(bbr.cwnd, cwnd);
}

#[test]
fn losses_that_were_none_give_everything_back() {
    // In Startup.
    let mut path = alone(Path::new(100, 40, 4.0));
    path.run(Duration::from_millis(200));
    let (now, bbr) = (path.now, first(&mut path));
    let before = (bbr.inflight_longterm, bbr.cwnd);
    bbr.on_congestion(now, Signal::Loss, bbr.cwnd);
    bbr.leave_startup_for_loss();
    bbr.state = State::Drain;
    bbr.undo();
    assert_eq!((bbr.state, bbr.full.reached), (State::Startup, false));
    assert_eq!((bbr.inflight_longterm, bbr.cwnd), before);
    // While probing: both bounds, and the probe is taken up again.
    until(&mut path, State::Up);
    path.run(Duration::from_millis(50));
    assert_eq!(first(&mut path).state, State::Up);
    let (now, bbr) = (path.now, first(&mut path));
    let before = (bbr.inflight_longterm, bbr.inflight_shortterm, bbr.bw_shortterm);
    let many =
        LostSample { now, octets: 10 * MSS, tx_in_flight: 100 * MSS, lost: 10 * MSS, app_limited: false };
    bbr.on_lost(&many);
    bbr.on_congestion(now, Signal::Loss, bbr.cwnd);
    assert_eq!(bbr.state, State::Down);
    assert!(bbr.inflight_longterm < NONE);
    bbr.on_recovered(now);
    bbr.undo();
    assert_eq!(bbr.state, State::Refill);
    assert_eq!(
        (bbr.inflight_longterm, bbr.inflight_shortterm, bbr.bw_shortterm),
        before,
        "late proof counts too"
    );
}

#[test]
fn losses_outside_of_a_probe_lower_the_short_term_model() {
    let mut path = alone(Path::new(100, 20, 2.0));
    until(&mut path, State::Cruise);
    path.path.loss = 0.02;
    path.run(Duration::from_millis(100));
    let bbr = first(&mut path);
    assert_eq!(bbr.state, State::Cruise);
    let max = bbr.max_bw.get();
    assert!(bbr.bw_shortterm < max && bbr.bw_shortterm > max * 8 / 10, "{} of {max}", bbr.bw_shortterm);
    assert!(bbr.inflight_shortterm < NONE && bbr.bw == bbr.bw_shortterm);
    path.path.loss = 0.0;
    until(&mut path, State::Refill);
    let bbr = first(&mut path);
    assert_eq!((bbr.bw_shortterm, bbr.inflight_shortterm), (u64::MAX, NONE), "the next probe forgets it");
}

/// What of a lump fits below the threshold (§5.5.10.2): 2 % of 100 segments are lost with the second.
#[test]
fn the_bound_is_where_losses_cross_the_threshold() {
    let mut path = alone(Path::new(100, 20, 4.0));
    until(&mut path, State::Up);
    let now = path.now;
    let bbr = first(&mut path);
    let lost = |octets, lost| LostSample { now, octets, tx_in_flight: 300 * MSS, lost, app_limited: false };
    bbr.on_lost(&lost(MSS, 6 * MSS));
    assert_eq!(bbr.inflight_longterm, NONE, "six of three hundred are 2 %");
    bbr.on_lost(&lost(MSS, 7 * MSS));
    assert!(bbr.inflight_longterm.abs_diff(299 * MSS) <= MSS, "{}", bbr.inflight_longterm / MSS);
    let bound = bbr.inflight_longterm;
    bbr.on_lost(&lost(100 * MSS, 200 * MSS));
    assert_eq!(bbr.inflight_longterm, bound, "once per probe");
}

#[test]
fn a_mark_counts_as_too_many_losses() {
    let mut path = alone(Path::new(100, 20, 4.0));
    path.run(Duration::from_millis(50));
    let (now, bbr) = (path.now, first(&mut path));
    bbr.on_congestion(now, Signal::Ecn, bbr.cwnd);
    path.run(Duration::from_millis(21));
    assert_ne!(first(&mut path).state, State::Startup);
    let mut path = alone(Path::new(100, 20, 4.0));
    until(&mut path, State::Up);
    let (now, bbr) = (path.now, first(&mut path));
    bbr.on_congestion(now, Signal::Ecn, 200 * MSS);
    assert_eq!((bbr.state, bbr.inflight_longterm), (State::Down, 200 * MSS));
}

#[test]
fn a_new_segment_size_scales_windows_and_keeps_no_bounds() {
    let mut path = alone(Path::new(100, 20, 4.0));
    until(&mut path, State::Cruise);
    let bbr = first(&mut path);
    let cwnd = bbr.cwnd;
    bbr.set_mss(MSS / 2);
    assert!(bbr.cwnd.abs_diff(cwnd / 2) <= 1);
    assert_eq!((bbr.inflight_longterm, bbr.inflight_shortterm), (NONE, NONE));
}

/// Nothing that a peer or a clock can do makes the arithmetic overflow or the window too small.
#[test]
fn extremes_do_no_harm() {
    let mut rng = Rng::from_seed(1);
    let extreme = |rng: &mut Rng| match rng.below(5) {
        0 => 0,
        1 => 1,
        2 => u32::MAX,
        3 => rng.next_u32(),
        _ => rng.below(100_000) as u32,
    };
    for mss in [1, 8, 1460, 65_495] {
        let mut bbr = Bbr::new(&Start { initial: 10 * mss, mss, ..Start::default() });
        let mut now = Instant::ZERO;
        for _ in 0..5_000 {
            now += Duration::from_micros(rng.below(3_000_000) * rng.below(2));
            let mut any = || extreme(&mut rng);
            let (octets, in_flight, lost) = (any(), any(), any());
            let rate = RateSample {
                delivered_total: u64::from(any()) * u64::from(any()),
                prior_delivered: u64::from(any()),
                delivered: any(),
                interval: Duration::from_nanos(u64::from(any())),
                lost: any(),
                tx_in_flight: any(),
                app_limited: any() % 2 == 0,
            };
            let rtt = Some(Duration::from_nanos(u64::from(any()))).filter(|_| lost % 2 == 0);
            match any() % 9 {
                0 => bbr.on_sent(now, octets, in_flight),
                1 => bbr.on_lost(&LostSample {
                    now,
                    octets,
                    tx_in_flight: in_flight,
                    lost,
                    app_limited: false,
                }),
                2 => bbr.on_congestion(now, Signal::Loss, in_flight),
                3 => bbr.on_congestion(now, Signal::Ecn, in_flight),
                4 => bbr.on_recovered(now),
                5 => bbr.undo(),
                6 => bbr.on_timeout(now, in_flight, true),
                _ => bbr.on_ack(&AckSample { now, lost, in_flight, rtt, rate: Some(rate), ..ack(octets) }),
            }
            assert!(bbr.cwnd >= mss && bbr.pacing_rate > 0);
        }
    }
}

#[test]
fn only_connections_that_use_it_pay_for_it() {
    assert!(size_of::<Bbr>() <= 512, "{}", size_of::<Bbr>());
}
