//! The congestion window outside of recovery (RFC 5681 §3.1, §4.1; RFC 6928).

use super::common::exchange::Setup;
use super::common::{Config, Exchange, ms};
use tunstack::base::Rng;

/// Segments of 1000 octets, no SACK, no timestamps, and a window of the peer that never limits.
fn bulk() -> Setup {
    Setup::reno().syn_options("mss 1000,nop,wscale 7")
}

/// Established, with so much written that there is always more to send.
fn sending(change: impl FnOnce(&mut Config)) -> Exchange {
    let mut x = bulk().config(change).established();
    x.write_octets(1_500_000);
    x
}

/// Each of the segments in `flight` is acknowledged by itself; gives what is in flight afterwards.
fn ack_each(x: &mut Exchange, flight: &[std::ops::Range<i64>]) -> Vec<std::ops::Range<i64>> {
    let mut next = Vec::new();
    for segment in flight {
        x.peer(&format!(". 1:1(0) ack {}", segment.end));
        next.extend(x.data());
    }
    next
}

/// conformance: 5681-3.1-syn-loss, 6928-2-syn-loss
#[test]
fn one_lost_syn_costs_nothing_two_leave_one_segment() {
    for (losses, segments) in [(1, 10), (2, 1), (3, 1)] {
        let mut x = bulk().connecting();
        (0..losses).for_each(|_| {
            x.until("S 0:0(0)");
        });
        x.peer("S. 0:0(0) ack 1 <mss 1000>");
        x.stack(". 1:1(0) ack 1");
        x.write_octets(40_000);
        x.sends(1, segments, 1000);
        // And of the SYN-ACK.
        let mut x = bulk().syn_received();
        (0..losses).for_each(|_| {
            x.until("S. 0:0(0) ack 1");
        });
        x.peer(". 1:1(0) ack 1");
        x.accept();
        x.write_octets(40_000);
        x.sends(1, segments, 1000);
    }
}

/// conformance: 5681-3.1-ssthresh-init
#[test]
fn without_loss_slow_start_goes_on() {
    let mut x = sending(|_| ());
    assert!(x.ssthresh() > 1_000_000, "ssthresh {}", x.ssthresh());
    let mut flight = x.data();
    for expected in [20, 40, 80, 160, 320] {
        flight = ack_each(&mut x, &flight);
        assert_eq!((flight.len(), x.cwnd()), (expected as usize, expected));
    }
}

/// conformance: 5681-3.1-ca-increase
#[test]
fn congestion_avoidance_grows_by_one_segment_per_round_trip() {
    let mut x = sending(|_| ());
    let mut flight = after_fast_recovery(&mut x);
    for round in 1..=20 {
        flight = ack_each(&mut x, &flight);
        assert!(x.cwnd() <= 5 + round, "round {round}: cwnd {}", x.cwnd());
        assert!(x.cwnd() + 1 >= 5 + round, "round {round}: cwnd {}", x.cwnd());
    }
}

/// The first segment of ten is lost and repaired: ssthresh and cwnd are 5 then. Gives what is in flight.
fn after_fast_recovery(x: &mut Exchange) -> Vec<std::ops::Range<i64>> {
    x.sends(1, 10, 1000);
    x.peer(". 1:1(0) ack 1").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(11_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(1, 1, 1000);
    // Duplicates from the other six, then from the two segments of limited transmit.
    let mut flight = Vec::new();
    for _ in 0..8 {
        x.peer(". 1:1(0) ack 1");
        flight.extend(x.data());
    }
    x.peer(". 1:1(0) ack 12001");
    flight.extend(x.data());
    assert_eq!((x.ssthresh(), x.cwnd(), flight.len()), (5, 5, 5));
    assert_eq!(flight[0], 12_001..13_001);
    flight
}

/// conformance: 5681-3.1-switch, 5681-3.1-lw, 6928-2-loss-window
#[test]
fn after_a_timeout_slow_start_from_one_segment_up_to_ssthresh() {
    let mut x = sending(|_| ());
    x.sends(1, 10, 1000);
    x.until(". 1:1001(1000) ack 1");
    assert_eq!((x.cwnd(), x.ssthresh()), (1, 5));
    // All had arrived but the first.
    x.peer(". 1:1(0) ack 10001");
    let mut flight = x.data();
    assert_eq!((flight.len(), x.cwnd()), (2, 2));
    flight = ack_each(&mut x, &flight);
    assert_eq!((flight.len(), x.cwnd()), (4, 4));
    for expected in [5, 6, 7] {
        flight = ack_each(&mut x, &flight);
        assert!(x.cwnd().abs_diff(expected) <= 1, "cwnd {}, about {expected} expected", x.cwnd());
    }
}

/// conformance: 5681-3.1-lw, 6928-2-loss-window
#[test]
fn a_timeout_sends_one_then_two_then_four() {
    let mut x = sending(|c| c.tcp_frto = false);
    x.sends(1, 10, 1000);
    x.until(". 1:1001(1000) ack 1");
    x.quiet();
    // Nothing else had arrived: what went before the timeout is sent again in slow start.
    x.peer(". 1:1(0) ack 1001").sends(1001, 2, 1000);
    x.peer(". 1:1(0) ack 2001").sends(3001, 2, 1000);
    x.peer(". 1:1(0) ack 3001").sends(5001, 2, 1000);
}

/// conformance: 5681-3.1-ssthresh-rto
#[test]
fn a_timeout_halves_the_flight_once_for_a_segment() {
    // cwnd is larger than the flight: the flight counts.
    let mut x = bulk().config(|c| c.tcp_init_cwnd = 40).established();
    x.write_octets(10_000);
    x.sends(1, 10, 1000);
    assert!(x.cwnd() > 10);
    x.until(". 1:1001(1000) ack 1");
    assert_eq!(x.ssthresh(), 5);
    x.until(". 1:1001(1000) ack 1");
    x.until(". 1:1001(1000) ack 1");
    assert_eq!(x.ssthresh(), 5, "further timeouts of the same segment");
}

/// conformance: 5681-3.1-ssthresh-rto
#[test]
fn ssthresh_is_two_segments_at_least() {
    let mut x = bulk().established();
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    x.until("P. 1:1001(1000) ack 1");
    assert_eq!((x.cwnd(), x.ssthresh()), (1, 2));
}

/// Random acknowledgments and windows: what is in flight never exceeds either window.
///
/// conformance: 5681-3.1-cwnd-limit
#[test]
fn never_more_in_flight_than_both_windows_allow() {
    for seed in 0..20 {
        let mut rng = Rng::from_seed(seed);
        let mut x = Setup::reno().syn_options("mss 1000").established();
        x.write_octets(400_000);
        let (mut acked, mut highest) = (1, 1);
        let mut window = 65_535;
        for _ in 0..100 {
            let before = highest;
            let cwnd = i64::from(x.cwnd()) * 1000;
            highest = x.data().iter().map(|range| range.end).fold(highest, i64::max);
            if highest > before {
                assert!(highest - acked <= cwnd.min(window), "seed {seed}: {acked}..{highest}, cwnd {cwnd}");
            }
            x.quiet_for(ms(rng.below(50)));
            let segments = (highest - acked) / 1000;
            acked += 1000 * rng.below(segments as u64 + 1) as i64;
            window = 10_000 + rng.below(50_000) as i64;
            x.peer(&format!(". 1:1(0) ack {acked} win {window}"));
        }
        x.ignore();
    }
}

/// conformance: 6928-3-min-window
#[test]
fn we_offer_ten_segments_of_window_from_the_start() {
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460>");
    assert!(x.stack("S. 0:0(0) ack 1").window >= 14_600);
}

/// conformance: 5681-4.3-two-reductions
#[test]
fn losses_in_two_windows_reduce_twice() {
    let mut x = sending(|_| ());
    let flight = after_fast_recovery(&mut x);
    // In the next window the second segment is lost.
    x.peer(&format!(". 1:1(0) ack {}", flight[0].end));
    x.ignore();
    let mut sent = Vec::new();
    for _ in 0..3 {
        x.peer(&format!(". 1:1(0) ack {}", flight[0].end));
        sent.extend(x.data());
    }
    assert!(sent.contains(&flight[1]));
    assert_eq!(x.ssthresh(), 2);
}

/// conformance: 5681-4.3-half
#[test]
fn during_recovery_half_of_the_flight_is_sent_per_round_trip_at_most() {
    let mut x = sending(|c| c.tcp_init_cwnd = 20);
    let flight = x.data().len();
    assert_eq!(flight, 20);
    let mut sent = 0;
    for duplicate in 1..flight {
        x.peer(". 1:1(0) ack 1");
        let now = x.data().len();
        // The first two release new segments before the loss is found.
        sent += if duplicate > 2 { now } else { 0 };
    }
    assert!(sent <= flight / 2 + 1, "{sent} segments in the round trip of the loss");
    x.peer(". 1:1(0) ack 22001");
    assert!(x.cwnd() <= 10, "cwnd {}", x.cwnd());
    x.ignore();
}
