//! Loss detection and recovery with SACK: RACK (RFC 8985 §6), PRR (RFC 9937), and what RFC 6675 wants of them.

use super::common::exchange::{Exchange, Setup};
use super::common::ms;
use tunstack::base::Duration;
use tunstack::base::config::Config;

/// Segments of 1000 octets and a round-trip time of 100 ms, just established.
pub fn path(change: impl FnOnce(&mut Config)) -> Exchange {
    let mut x =
        Setup::reno().syn_options("mss 1000,nop,nop,sackOK,nop,wscale 7").config(change).syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x
}

/// `n` segments have been in flight for one round trip, and there is more to send.
pub fn flying(n: u32) -> Exchange {
    let mut x = path(|c| c.tcp_init_cwnd = n);
    x.write_octets(200_000);
    x.sends(1, n as usize, 1000);
    x.after(ms(100));
    x
}

/// conformance: 8985-6.2-4-zero, 6675-3-lost, 6675-5-3-limited, 6675-5-4-first, 6675-5-4-reduce
#[test]
fn the_third_sacked_segment_marks_the_head_lost_at_once() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:3001>").sends(11_001, 1, 1000);
    assert_eq!(x.cwnd(), 10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").sends(1, 1, 1000);
    assert_eq!(x.ssthresh(), 5, "what limited transmit sent does not count");
    assert_eq!(x.counter("TcpExtTCPSackRecovery"), 1);
}

/// The head that goes again has the whole RTO before it, as on Linux, not what the acknowledgment before had left of it.
///
/// conformance: 6675-6-timer
#[test]
fn the_heads_retransmission_restarts_the_timer() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1001").ignore();
    x.after(ms(100)).peer(". 1:1(0) ack 1001 <nop,nop,sack 2001:6001>").stack(". 1001:2001(1000) ack 1");
    x.take_all();
    let rto = x.rto();
    x.quiet_for(Duration::from_nanos(rto.as_nanos() - 1_000_000));
    x.after(ms(1)).stack(". 1001:2001(1000) ack 1");
    assert_eq!(x.counter("TcpExtTCPTimeouts"), 1);
    x.ignore();
}

/// conformance: 6675-5-trigger, 6675-2-dupack
#[test]
fn one_ack_with_data_that_reports_four_segments_is_enough() {
    let mut x = flying(10);
    x.peer("P. 1:11(10) ack 1 <nop,nop,sack 1001:5001>");
    x.sends(1, 1, 1000);
}

/// Without SACK the same number of octets needs three duplicates.
///
/// conformance: 8985-4-sack-required
#[test]
fn without_sack_newreno_counts() {
    let mut x = Setup::new().syn_options("mss 1000,nop,wscale 7").established();
    x.write_octets(100_000);
    x.sends(1, 10, 1000);
    x.peer(". 1:1(0) ack 1").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(11_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(1, 1, 1000);
    assert_eq!((x.counter("TcpExtTCPRenoRecovery"), x.counter("TcpExtTCPSackRecovery")), (1, 0));
}

/// conformance: 8985-6.2-3-reorder, 8985-6.2-4-wnd, 8985-6.2-5-timer, 8985-9.2-no-6675, 8985-8-one-timer
#[test]
fn once_reordering_was_seen_a_hole_gets_time() {
    let mut x = flying(10);
    // The first two arrive the other way round.
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").ignore();
    x.peer(". 1:1(0) ack 2001").ignore();
    assert_eq!(x.counter("TcpExtTCPSACKReorder"), 1);
    // Four are reported above the hole, and nothing is sent again until a quarter of the round trip has passed.
    x.peer(". 1:1(0) ack 2001 <nop,nop,sack 3001:7001>");
    assert!(x.data().iter().all(|range| range.start > 10_000));
    assert_eq!(x.until(". 2001:3001(1000) ack 1"), ms(25));
    assert_eq!(x.counter("TcpExtTCPTimeouts"), 0);
}

/// The hole is filled in time: nothing is sent again, and nothing is reduced.
///
/// conformance: 8985-6.2-5-lost
#[test]
fn what_is_only_late_is_not_sent_again() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").ignore();
    x.peer(". 1:1(0) ack 2001").ignore();
    x.peer(". 1:1(0) ack 2001 <nop,nop,sack 3001:7001>").ignore();
    x.quiet_for(ms(24));
    x.peer(". 1:1(0) ack 7001").ignore();
    x.quiet_for(ms(60));
    assert_eq!(x.counter("TcpRetransSegs"), 0);
    assert!(x.cwnd() > 10);
}

/// conformance: 8985-9.3-lost-rexmit, 8985-9.3-cc
#[test]
fn a_lost_retransmission_is_found_and_is_a_second_sign_of_congestion() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").sends(1, 1, 1000);
    assert_eq!(x.ssthresh(), 5);
    // The rest of the flight arrives and releases new segments, as many as ssthresh takes beside the retransmission.
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:10001>").sends(10_001, 4, 1000);
    // Those arrive, the retransmission did not.
    x.after(ms(100)).peer(". 1:1(0) ack 1 <nop,nop,sack 1001:12001>");
    assert_eq!(x.data()[0], 1..1001);
    assert_eq!(x.ssthresh(), 2);
    assert_eq!(x.counter("TcpExtTCPLostRetransmit"), 1);
    assert_eq!(x.counter("TcpExtTCPTimeouts"), 0);
}

/// The original is only late: its acknowledgment says nothing of the retransmission's round trip.
///
/// conformance: 8985-6.2-2-spurious
#[test]
fn an_answer_sooner_than_any_round_trip_is_of_the_original() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").sends(1, 1, 1000);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:8001>").ignore();
    // 5 ms after the retransmission the head is acknowledged. If that were its round trip, all that was sent with it would be
    // lost 5 ms later.
    x.after(ms(5)).peer(". 1:1(0) ack 8001").ignore();
    x.quiet_for(ms(60));
    assert_eq!(x.counter("TcpRetransSegs"), 1);
}

/// conformance: 6675-5-C-send, 6675-4-nextseg, 6675-5-A-exit, 9937-6.4-end, 9937-5-with-rack
#[test]
fn five_holes_are_repaired_in_one_round_trip() {
    let mut x = flying(20);
    let mut blocks = Vec::new();
    let mut again = Vec::new();
    for hole in [0, 2, 4, 6, 8] {
        let start = 1 + (hole + 1) * 1000;
        blocks.insert(0, format!("{start}:{}", start + 1000));
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack {}>", blocks[..blocks.len().min(4)].join(" ")));
        again.extend(x.data());
    }
    for end in (11..=20).map(|n| n * 1000 + 1) {
        let latest = format!("10001:{end} {}", blocks[1..4].join(" "));
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack {latest}>"));
        again.extend(x.data());
    }
    again.retain(|range| range.start < 20_000);
    let holes: Vec<_> = [0, 2, 4, 6, 8].iter().map(|n| 1 + n * 1000..1001 + n * 1000).collect();
    assert_eq!(again, holes, "each hole once, in order, before anything new");
    x.after(ms(100)).peer(". 1:1(0) ack 20001");
    assert_eq!((x.cwnd(), x.ssthresh()), (10, 10));
    x.ignore();
    assert_eq!(x.counter("TcpExtTCPTimeouts"), 0);
}

/// conformance: 9937-6.1-init, 9937-6.2-delivered, 9937-6.2-inflight, 6675-4-setpipe
#[test]
fn the_window_sinks_from_what_was_in_flight_when_recovery_began() {
    let mut x = flying(20);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").ignore();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:3001>").ignore();
    // 22 were sent, 2 were SACKed before, 1 is now: RecoverFS is 20, ssthresh 10, the pipe 22 - 3 - 1 lost.
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").sends(1, 1, 1000);
    assert_eq!((x.ssthresh(), x.cwnd()), (10, 19));
    // From now on one segment for two that are delivered.
    let mut sent = Vec::new();
    for end in (5..=14).map(|n| n * 1000 + 1) {
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack 1001:{end}>"));
        sent.push(x.data().len());
    }
    assert_eq!(sent.iter().sum::<usize>(), 4, "5.5 for 11 with the first: {sent:?}");
    assert!(sent.iter().all(|count| *count <= 1), "{sent:?}");
}

/// conformance: 8985-6.3-rto
#[test]
fn a_timeout_leaves_alone_what_was_sent_just_now() {
    let mut x = path(|c| c.tcp_early_retrans = false);
    x.write_octets(3000);
    x.sends(1, 3, 1000);
    let rto = x.rto();
    x.after(rto.saturating_sub(ms(5)));
    x.write_octets(1000);
    x.sends(3001, 1, 1000);
    assert_eq!(x.until(". 1:1001(1000) ack 1"), ms(5));
    assert_eq!(x.info().lost, 3, "with the head, which goes again");
}

/// conformance: 6675-5.1-rto, 6675-5.1-use-sack
#[test]
fn a_timeout_in_recovery_ends_it_and_sack_counts_on() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").sends(1, 1, 1000);
    x.until(". 1:1001(1000) ack 1");
    let ssthresh = x.ssthresh();
    assert_eq!((x.cwnd(), x.counter("TcpExtTCPSackFailures")), (1, 1));
    // The peer tells of more that it holds: that does not go again, and there is no second reduction.
    x.after(ms(100)).peer(". 1:1(0) ack 4001 <nop,nop,sack 5001:9001>");
    assert_eq!(x.data(), [4001..5001, 9001..10_001]);
    x.after(ms(100)).peer(". 1:1(0) ack 9001 <nop,nop,sack 9501:10001>").ignore();
    assert_eq!((x.ssthresh(), x.counter("TcpExtTCPSackRecovery")), (ssthresh, 1));
}

/// A flight of four of which only the last is reported: too few above the holes, so they get a quarter of the round trip.
///
/// conformance: 8985-6.2-4-wnd
#[test]
fn a_reported_tail_leaves_the_holes_before_it_some_time() {
    for reported in ["3001:4001", "4000:4001"] {
        let mut x = path(|_| ());
        x.write_octets(4000);
        x.sends(1, 4, 1000);
        x.after(ms(100)).peer(&format!(". 1:1(0) ack 1 <nop,nop,sack {reported}>")).quiet();
        assert_eq!(x.until(". 1:1001(1000) ack 1"), ms(25), "{reported}");
        assert_eq!(x.counter("TcpExtTCPTimeouts"), 0);
        x.ignore();
    }
}

/// Acknowledgments that overtook each other: what the older one reports is news all the same.
#[test]
fn blocks_beside_an_old_ack_count() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 3001").ignore();
    x.peer(". 1:1(0) ack 1001 <nop,nop,sack 4001:7001>");
    assert_eq!(x.data()[0], 3001..4001);
    assert_eq!((x.counter("TcpExtTCPSackRecovery"), x.ssthresh() < 100), (1, true));
}
