//! A controller alone, fed with acknowledgments, and in a closed loop over a simulated bottleneck.

pub(super) mod path;

use super::*;

/// An acknowledgment of `acked` octets in order, with the window in use.
pub(super) fn ack(acked: u32) -> AckSample {
    AckSample {
        now: Instant::ZERO,
        acked,
        delivered: acked,
        lost: 0,
        in_flight: 0,
        rtt: None,
        window_in_use: true,
        in_recovery: false,
        new_round: false,
        rate: None,
    }
}

/// conformance: 6928-2-iw10, 6928-2-syn-loss, 5681-3.1-iw, 5681-3.1-syn-loss
#[test]
fn initial_window_by_segment_size_and_syn_losses() {
    assert_eq!(initial_window(1460, 10, 0), 14_600);
    assert_eq!(initial_window(9000, 10, 0), 18_000);
    assert_eq!(initial_window(536, 10, 1), 5360);
    assert_eq!(initial_window(1460, 10, 2), 1460);
    assert_eq!(initial_window(1460, 0, 0), 4380);
    assert_eq!(initial_window(536, 0, 0), 2144);
    assert_eq!(initial_window(9000, 0, 0), 18_000);
}

/// Average window in segments when one of `each` packets is lost, at that round-trip time; begun with `segments`, to be there soon.
fn average_window(kind: CongestionControl, each: u64, rtt_ms: u64, segments: f64) -> f64 {
    let mut path = path::Path::new(10_000, rtt_ms, 10.0);
    path.loss_each = each;
    let mss = path::MSS;
    let initial = segments as u32 * mss;
    let start = Start { initial, ssthresh: initial, mss, ..Start::default() };
    let mut path = path::Loop::new(path, [Congestion::start(kind, &start)]);
    let cycles = |path: &mut path::Loop, count: u64| {
        let goal = path.flows[0].delivered + count * each * u64::from(mss);
        let (start, from) = (path.now, path.flows[0].delivered);
        while path.flows[0].delivered < goal {
            path.run(Duration::from_millis(rtt_ms));
        }
        (path.flows[0].delivered - from) as f64 / path.now.since(start).as_secs_f64()
    };
    cycles(&mut path, 5);
    cycles(&mut path, 8) * rtt_ms as f64 / 1e3 / f64::from(mss)
}

/// Reno's average window is the square root of 3/2p without delayed acknowledgments (RFC 3649 §2 has the same form), that of CUBIC
/// 1.054 (RTT^3/p^3)^(1/4) where it is the greater (RFC 9438 §5.1, equation 6).
#[test]
fn average_windows_are_those_of_the_formulas() {
    for (each, rtt) in [(1_000, 100), (10_000, 100), (10_000, 10), (2_000, 200), (20_000, 100)] {
        let p = 1.0 / each as f64;
        let reno = (1.5 / p).sqrt();
        let cubic = (1.054 * (rtt as f64 / 1e3).powf(0.75) * p.powf(-0.75)).max(reno);
        for (kind, formula) in [(CongestionControl::Reno, reno), (CongestionControl::Cubic, cubic)] {
            let window = average_window(kind, each, rtt, formula);
            let off = window / formula - 1.0;
            assert!(
                off.abs() < 0.15,
                "{kind:?} at {rtt} ms, 1 of {each} lost: {window} segments, not {formula}"
            );
        }
    }
}
