//! Congestion control and NewReno recovery: RFC 5681, 6582, 3042, 6928. Connections without SACK, segments of 1460.

use crate::common::exchange::{Exchange, Setup};
use crate::common::{ms, secs};
use tunstack::base::{Duration, Rng};

const MSS: i64 = 1460;

/// A connection that took `rtt` to open, with plenty queued and its initial window in flight.
fn flying(segments: u32, queued: usize) -> Exchange {
    let mut x = Setup::reno().config(|config| config.tcp_init_cwnd = segments).syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x.write_octets(queued);
    assert_eq!(x.octets_sent(), u64::from(segments) * MSS as u64, "the initial window");
    x
}

/// The octet after `n` segments.
fn end(n: i64) -> i64 {
    1 + n * MSS
}

fn segment(n: i64) -> String {
    format!(". {}:{}({MSS}) ack 1", end(n), end(n + 1))
}

fn dup(x: &mut Exchange, una: i64) {
    x.peer(&format!(". 1:1(0) ack {una}"));
}

/// So many duplicates; gives the segments they release.
fn dups(x: &mut Exchange, una: i64, count: usize) -> usize {
    (0..count)
        .map(|_| {
            dup(x, una);
            x.take_all().len()
        })
        .sum()
}

/// conformance: 5681-3.1-iw
#[test]
fn the_initial_window_of_rfc_5681_depends_on_the_mss() {
    for (mss, mtu, segments) in
        [(1460, 1500, 3), (536, 1500, 4), (1095, 1500, 4), (1096, 1500, 3), (2190, 9000, 3), (2191, 9000, 2)]
    {
        let mut x = Setup::reno()
            .mtu(mtu)
            .syn_options(&format!("mss {mss}"))
            .config(|config| config.tcp_init_cwnd = 0)
            .established();
        x.write_octets(20_000);
        assert_eq!(x.octets_sent(), segments * mss as u64, "MSS {mss}");
    }
}

/// conformance: 6928-2-iw10, 5681-3.1-syn-no-increase
#[test]
fn the_initial_window_is_ten_segments() {
    let mut x = Setup::reno().established();
    x.write_octets(60_000);
    assert_eq!(x.octets_sent(), 14_600);
    assert_eq!(x.info().snd_cwnd, 10);
    let mut x = Setup::reno().connected();
    assert_eq!(x.info().snd_cwnd, 10);
    x.write_octets(60_000);
    assert_eq!(x.octets_sent(), 14_600);
}

/// conformance: 5681-3.1-ss-increase, 5681-3.1-ssthresh-init
#[test]
fn slow_start_grows_by_a_segment_for_each_ack() {
    let mut x = flying(10, 60_000);
    for n in 1..=10 {
        x.peer(&format!(". 1:1(0) ack {}", end(n)));
        assert_eq!(x.octets_sent(), 2 * MSS as u64, "one for what left, one for growth");
        assert_eq!(x.info().snd_cwnd, 10 + n as u32);
    }
}

/// conformance: 5681-3.1-ss-increase
#[test]
fn neither_one_large_ack_nor_many_small_ones_grow_it_further() {
    let mut x = flying(10, 60_000);
    x.peer(&format!(". 1:1(0) ack {}", end(10)));
    assert_eq!(x.info().snd_cwnd, 11);
    x.take_all();
    let mut x = flying(10, 60_000);
    for part in 1..=100 {
        x.peer(&format!(". 1:1(0) ack {}", 1 + part * MSS / 100)).take_all();
    }
    assert_eq!(x.info().snd_cwnd, 11);
}

/// conformance: 5681-3.1-ca-increase, 5681-3.1-switch
#[test]
fn above_ssthresh_it_grows_by_a_segment_per_round_trip() {
    let mut x = flying(10, 300_000);
    let mut una = enter_avoidance(&mut x);
    let start = x.info().snd_cwnd;
    let mut rounds = 0;
    for _ in 0..8 {
        // One round trip: all that is in flight is acknowledged, segment by segment.
        let top = x.stack_nxt();
        while una < top {
            una = (una + MSS).min(top);
            x.peer(&format!(". 1:1(0) ack {una}")).take_all();
        }
        rounds += 1;
        x.skip_taking(ms(100));
        let cwnd = x.info().snd_cwnd;
        assert!(cwnd <= start + rounds, "{cwnd} after {rounds} round trips from {start}");
    }
    assert!(x.info().snd_cwnd >= start + rounds - 2, "it does grow");
}

/// Loses one segment; gives SND.UNA once that is repaired and cwnd is at ssthresh.
fn enter_avoidance(x: &mut Exchange) -> i64 {
    dups(x, 1, 3);
    let top = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {top}")).take_all();
    // Recovery may end below ssthresh when nothing is in flight any more (RFC 6582 §3.2 step 3): up to it in slow start.
    let mut una = top;
    while x.info().snd_cwnd < x.info().snd_ssthresh {
        una = (una + MSS).min(x.stack_nxt());
        x.peer(&format!(". 1:1(0) ack {una}")).take_all();
    }
    assert!(x.info().snd_ssthresh < 10);
    una
}

/// conformance: 3042-2-send, 3042-2-cwnd, 5681-3.2-1-limited
#[test]
fn the_first_two_duplicates_release_a_new_segment_each() {
    let mut x = flying(3, 60_000);
    dup(&mut x, 1);
    x.stack(&segment(3));
    x.quiet();
    dup(&mut x, 1);
    x.stack(&segment(4));
    x.quiet();
    assert_eq!(x.info().snd_cwnd, 3);
    dup(&mut x, 1);
    x.stack(&segment(0));
    x.ignore();
}

/// conformance: 3042-2-send
#[test]
fn limited_transmit_respects_the_peers_window() {
    let mut x = Setup::reno().window(3 * 1460).established();
    x.write_octets(20_000);
    assert_eq!(x.octets_sent(), 3 * 1460);
    dup(&mut x, 1);
    dup(&mut x, 1);
    x.quiet();
}

/// conformance: 5681-3.2-fast-retransmit, 5681-3.2-2-ssthresh, 5681-3.2-3-inflate, 5681-3.2-4-dup, 5681-3.2-5-send
/// conformance: 5681-3.2-6-deflate, 6582-3.2-3-full
#[test]
fn three_duplicates_start_fast_recovery() {
    let mut x = flying(10, 60_000);
    dup(&mut x, 1);
    x.stack(&segment(10));
    dup(&mut x, 1);
    x.stack(&segment(11));
    dup(&mut x, 1);
    x.stack(&segment(0));
    x.quiet();
    // Ten were in flight without the two of limited transmit: half of that, and three that have left.
    assert_eq!((x.info().snd_ssthresh, x.info().snd_cwnd), (5, 8));
    for further in 1..=4 {
        dup(&mut x, 1);
        x.quiet();
        assert_eq!(x.info().snd_cwnd, 8 + further);
    }
    dup(&mut x, 1);
    x.stack(&segment(12));
    x.peer(&format!(". 1:1(0) ack {}", end(13)));
    assert_eq!(x.info().snd_ssthresh, 5);
    assert!(x.info().snd_cwnd <= 5, "{}", x.info().snd_cwnd);
    let burst = x.octets_sent();
    assert!(burst > 0 && burst <= 5 * MSS as u64, "{burst}");
}

/// conformance: 5681-2-dupack-def
#[test]
fn what_is_no_duplicate_is_not_counted() {
    let mut x = flying(10, 14_600);
    for text in [
        ". 1:1(0) ack 1 win 60000",
        ". 1:1(0) ack 1 win 60001",
        ". 1:1(0) ack 1 win 60002",
        "P. 1:2(1) ack 1 win 60002",
        "P. 2:3(1) ack 1 win 60002",
        "P. 3:4(1) ack 1 win 60002",
    ] {
        x.peer(text);
        let data = x.take_all().iter().map(|tcp| tcp.payload.len()).sum::<usize>();
        assert_eq!(data, 0, "{text}");
    }
    let mut x = Setup::reno().established();
    for _ in 0..5 {
        x.peer(". 1:1(0) ack 1").quiet();
    }
    x.write(b"a").stack("P. 1:2(1) ack 1");
    x.quiet();
}

/// conformance: 6582-3.2-3-partial
#[test]
fn a_partial_ack_repeats_the_next_hole_at_once() {
    let mut x = flying(10, 14_600);
    let mut sent = 0;
    for _ in 0..3 {
        dup(&mut x, 1);
        sent = x.take_all().len();
    }
    assert_eq!(sent, 1, "the first hole");
    // The fourth segment is missing too.
    x.peer(&format!(". 1:1(0) ack {}", end(3)));
    x.stack(&segment(3));
    x.quiet();
    x.peer(&format!(". 1:1(0) ack {}", end(10))).quiet();
    assert_eq!(x.info().unacked, 0);
    assert_eq!(x.host.counters().tcp_ext_timeouts, 0);
}

/// conformance: 6582-3.2-3-partial
#[test]
fn a_partial_ack_deflates_by_what_it_acked_and_adds_one() {
    let mut x = flying(10, 60_000);
    dups(&mut x, 1, 3);
    let before = x.info().snd_cwnd;
    x.peer(&format!(". 1:1(0) ack {}", end(3))).take_all();
    assert_eq!(x.info().snd_cwnd, before - 3 + 1);
}

/// conformance: 6582-3.2-2-check, 6582-3.2-4-rto, 6582-3.2-1-recover-init
#[test]
fn duplicates_after_a_timeout_do_not_reduce_again() {
    let mut x = flying(10, 60_000);
    x.until(&segment(0));
    let ssthresh = x.info().snd_ssthresh;
    for _ in 0..4 {
        dup(&mut x, 1);
        x.quiet();
    }
    // What was in flight before the timeout arrives: still no fast retransmit.
    x.peer(&format!(". 1:1(0) ack {}", end(2))).take_all();
    dups(&mut x, end(2), 4);
    assert_eq!(x.info().snd_ssthresh, ssthresh);
    assert_eq!(x.host.counters().tcp_ext_fast_retrans, 0);
    // And a fresh connection's very first loss is noticed.
    let mut x = flying(4, 4 * 1460);
    for _ in 0..3 {
        dup(&mut x, 1);
    }
    x.stack(&segment(0));
}

/// conformance: 5681-3.1-ssthresh-rto, 5681-3.1-lw, 9293-MUST-19
#[test]
fn a_timeout_starts_over_from_one_segment() {
    let mut x = flying(10, 100_000);
    x.until(&segment(0));
    assert_eq!((x.info().snd_ssthresh, x.info().snd_cwnd), (5, 1));
    x.until(&segment(0));
    assert_eq!((x.info().snd_ssthresh, x.info().snd_cwnd), (5, 1), "a second one leaves ssthresh");
    let mut una = 1;
    let mut flights = Vec::new();
    for _ in 0..3 {
        // Each round acknowledges what the last one sent.
        una += MSS * flights.last().map_or(1, |n| *n as i64);
        x.peer(&format!(". 1:1(0) ack {una}"));
        flights.push(x.octets_sent() / MSS as u64);
    }
    assert_eq!(flights[0], 2);
    assert!(flights[1] >= 2 && flights[1] <= 4 && flights[2] <= 6, "{flights:?}");
}

/// conformance: 5681-4.3-two-reductions
#[test]
fn a_lost_retransmission_reduces_twice() {
    let mut x = flying(10, 100_000);
    dups(&mut x, 1, 3);
    let first = x.info().snd_ssthresh;
    x.until_anything();
    x.take_all();
    let info = x.info();
    assert!(info.snd_cwnd == 1 && info.snd_ssthresh <= first.max(6), "{info:?}");
    // The next window loses again: another reduction.
    let mut x = flying(10, 300_000);
    let una = enter_avoidance(&mut x);
    let first = x.info().snd_ssthresh;
    dups(&mut x, una, 3);
    assert!(x.info().snd_ssthresh < first, "{} after {first}", x.info().snd_ssthresh);
}

/// conformance: 5681-4.3-half
#[test]
fn recovery_ends_with_half_of_what_was_in_flight() {
    let mut x = flying(20, 300_000);
    let mut sent_in_recovery = 0;
    for n in 0..19 {
        dup(&mut x, 1);
        let sent = x.take_all().len();
        if n >= 2 {
            sent_in_recovery += sent;
        }
    }
    assert!(sent_in_recovery <= 1 + 10, "{sent_in_recovery} segments in the round trip of recovery");
    let top = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {top}")).take_all();
    assert!(x.info().snd_cwnd <= 10, "{}", x.info().snd_cwnd);
}

/// conformance: 5681-4.1-idle
#[test]
fn after_an_idle_time_it_restarts_from_the_initial_window() {
    for (restart, most) in [(true, 10), (false, 14)] {
        let mut x = Setup::reno().config(|config| config.tcp_slow_start_after_idle = restart).syn_received();
        x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
        x.write_octets(20 * 1460).take_all();
        let mut una = 1;
        while una < end(20) {
            una += MSS;
            x.peer(&format!(". 1:1(0) ack {una}")).take_all();
        }
        let cwnd = x.info().snd_cwnd;
        assert!(cwnd > 14, "{cwnd}");
        x.quiet_for(secs(5)).write_octets(60 * 1460);
        let burst = x.octets_sent() / MSS as u64;
        assert!(if restart { burst <= most } else { burst >= most }, "restart {restart}: {burst} segments");
    }
}

/// As on Linux (RFC 2861): what the window had grown to is not forgotten.
#[test]
fn after_an_idle_time_ssthresh_remembers_the_window() {
    for controller in ["reno", "cubic"] {
        let mut x =
            Setup::new().config(|config| config.set("tcp_congestion_control", controller).expect("known"));
        x = x.config(|config| config.tcp_init_cwnd = 10);
        let mut x = x.syn_received();
        x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
        x.write_octets(10 * 1460).take_all();
        dups(&mut x, 1, 3);
        let mut una = end(10);
        x.peer(&format!(". 1:1(0) ack {una}")).take_all();
        let low = x.ssthresh();
        for _ in 0..80 {
            let octets = (x.cwnd() + 2) as usize * 1460;
            x.after(ms(100)).write_octets(octets).take_all();
            una = x.stack_nxt();
            x.peer(&format!(". 1:1(0) ack {una}")).take_all();
        }
        while x.acked() < x.stack_nxt() {
            una = x.stack_nxt();
            x.peer(&format!(". 1:1(0) ack {una}")).take_all();
        }
        let cwnd = x.cwnd();
        assert!(cwnd > 20 && low < 10, "{controller}: {cwnd} from {low} on");
        x.quiet_for(secs(5)).write_octets(1460).take_all();
        assert!(
            x.cwnd() <= 10 && x.ssthresh().abs_diff(cwnd * 3 / 4) <= 1,
            "{controller}: {} of {cwnd}",
            x.ssthresh()
        );
    }
}

/// conformance: 5681-3.1-pmtu-cwnd
#[test]
fn a_smaller_path_leaves_the_window_in_segments() {
    let mut x = flying(10, 60_000);
    let before = x.info().snd_cwnd;
    x.peer_too_big(1000, &segment(0)).take_all();
    let info = x.info();
    assert_eq!(info.snd_mss, 960);
    assert!(info.snd_cwnd >= before && info.snd_cwnd <= before + 1, "{before}, then {}", info.snd_cwnd);
}

/// conformance: 5681-3.1-cwnd-limit
#[test]
fn no_new_data_goes_beyond_the_window() {
    for seed in 0..10 {
        let mut rng = Rng::from_seed(seed);
        let mut x = flying(10, 200_000);
        let mut una = 1;
        for _ in 0..200 {
            let before = x.stack_nxt();
            if rng.chance(0.3) {
                dup(&mut x, una);
            } else {
                una = (una + rng.below(3) as i64 * 730).min(before);
                x.peer(&format!(". 1:1(0) ack {una}"));
            }
            x.take_all();
            if x.stack_nxt() > before {
                // Limited transmit may use two segments more (RFC 3042).
                let allowed = (i64::from(x.info().snd_cwnd) + 1) * MSS + 2 * MSS;
                let flight = x.stack_nxt() - una;
                assert!(flight <= allowed, "seed {seed}: {flight} in flight, {allowed} allowed");
            }
            if rng.chance(0.1) {
                x.skip_taking(ms(rng.below(400)));
            }
        }
    }
}

/// An application that sends little does not earn a large window.
#[test]
fn an_unused_window_does_not_grow() {
    let mut x = Setup::reno().syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    let mut una = 1;
    for _ in 0..20 {
        x.write_octets(2 * 1460).take_all();
        for _ in 0..2 {
            una += MSS;
            x.after(ms(50)).peer(&format!(". 1:1(0) ack {una}"));
        }
    }
    assert_eq!(x.info().snd_cwnd, 10, "four fifths of it were never used");
}

/// conformance: 6582-3.2-3-full
#[test]
fn one_loss_costs_one_round_trip() {
    let mut x = flying(10, 14_600);
    assert_eq!(dups(&mut x, 1, 9), 1, "one hole, one repetition");
    x.after(ms(100)).peer(&format!(". 1:1(0) ack {}", end(10))).quiet_for(Duration::from_secs(10));
    assert_eq!(x.host.counters().tcp_retrans_segs, 1);
}
