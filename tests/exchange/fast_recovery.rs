//! Fast retransmit and fast recovery without SACK (RFC 5681 §3.2, RFC 6582).

use super::common::exchange::Setup;
use super::common::{Exchange, ms, secs};

/// Ten segments of 1000 octets are in flight, and there is more to send.
fn ten_in_flight() -> Exchange {
    ten_in_flight_with(Setup::reno())
}

fn ten_in_flight_with(setup: Setup) -> Exchange {
    let mut x = setup.syn_options("mss 1000,nop,wscale 7").connecting();
    x.quiet_for(ms(100));
    x.peer("S. 0:0(0) ack 1 <mss 1000,nop,wscale 7>");
    x.stack(". 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 1"); // tells the scaled window
    x.write_octets(200_000);
    x.sends(1, 10, 1000);
    x
}

/// The first of ten is lost and three duplicates have come: the segments 1, 11 and 12 went.
fn in_recovery() -> Exchange {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(11_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(1, 1, 1000);
    x
}

/// conformance: 5681-3.2-fast-retransmit
#[test]
fn two_duplicates_resend_nothing() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(11_001, 1, 1000);
    x.quiet_for(ms(100));
    // The gap closes by itself: it was reordering.
    x.peer(". 1:1(0) ack 10001");
    assert!(x.data().iter().all(|range| range.start >= 12_001));
    assert!(x.ssthresh() > 1000, "no reduction");
}

/// conformance: 5681-2-dupack-def
#[test]
fn with_nothing_outstanding_there_are_no_duplicates() {
    let mut x = Setup::reno().syn_options("mss 1000").established();
    for _ in 0..5 {
        x.peer(". 1:1(0) ack 1");
    }
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    // If those had counted, this one would be the sixth.
    x.peer(". 1:1(0) ack 1");
    x.quiet_for(ms(100));
    x.peer(". 1:1(0) ack 1001");
}

/// A FIN that repeats the number is not a duplicate either.
///
/// conformance: 5681-2-dupack-def
#[test]
fn a_fin_is_no_duplicate() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(11_001, 1, 1000);
    x.peer("F. 1:1(0) ack 1");
    x.stack(". 12001:12001(0) ack 2");
    x.quiet();
    x.peer(". 2:2(0) ack 1").sends(1, 1, 1000);
}

/// conformance: 5681-3.2-5-send
#[test]
fn new_data_in_recovery_stays_within_the_peers_window() {
    let mut x = Setup::reno().syn_options("mss 1000").window(10_000).established();
    x.write_octets(50_000);
    x.sends(1, 10, 1000);
    for duplicate in 1..=9 {
        x.peer(". 1:1(0) ack 1");
        if duplicate == 3 {
            x.sends(1, 1, 1000);
        }
        x.quiet();
    }
}

/// conformance: 5681-3.2-6-deflate, 6582-3.2-3-full
#[test]
fn a_full_ack_ends_recovery_with_cwnd_at_ssthresh() {
    let mut x = in_recovery();
    x.peer_times(4, ". 1:1(0) ack 1");
    assert_eq!(x.cwnd(), 12);
    // Four more release four new segments.
    for n in 0..4 {
        x.peer(". 1:1(0) ack 1").sends(12_001 + 1000 * n, 1, 1000);
    }
    assert_eq!(x.cwnd(), 16);
    x.peer(". 1:1(0) ack 12001").sends(16_001, 1, 1000);
    assert_eq!(x.cwnd(), 5);
    // It is over: an ACK of new data is not taken for the next hole.
    x.peer(". 1:1(0) ack 13001");
    assert!(x.data().iter().all(|range| range.start >= 17_001));
}

/// conformance: 6582-3.2-3-partial
#[test]
fn two_losses_are_repaired_in_two_round_trips() {
    // The segments 1 and 5 are lost.
    let mut x = in_recovery();
    x.quiet_for(ms(100));
    for _ in 0..5 {
        x.peer(". 1:1(0) ack 1");
    }
    x.ignore();
    x.peer(". 1:1(0) ack 4001");
    assert_eq!(x.data().first(), Some(&(4001..5001)), "the next hole at once");
    assert_eq!(x.counter("TcpExtTCPRenoRecovery"), 1);
    x.quiet_for(ms(100));
    x.peer(". 1:1(0) ack 12001");
    assert!(x.cwnd() <= 5);
    assert_eq!(x.counter("TcpExtTCPTimeouts"), 0);
    x.ignore();
}

/// Each partial ACK sends a segment again, which must have a whole RTO.
///
/// conformance: 6298-5-not-early
#[test]
fn the_timer_restarts_with_every_retransmission_of_the_head() {
    let mut x = in_recovery();
    for hole in [1001, 2001, 3001] {
        x.quiet_for(ms(200));
        x.peer(&format!(". 1:1(0) ack {hole}"));
        assert_eq!(x.data()[0], hole..hole + 1000);
    }
    let rto = x.rto();
    assert_eq!(x.until(". 3001:4001(1000) ack 1"), rto);
    let mut x = ten_in_flight();
    x.quiet_for(x.rto().saturating_sub(ms(10)));
    x.peer(". 1:1(0) ack 1").sends(10_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(11_001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(1, 1, 1000);
    let rto = x.rto();
    assert_eq!(x.until(". 1:1001(1000) ack 1"), rto);
}

/// The very first segment of a connection can be repaired: `recover` does not lie above it.
///
/// conformance: 6582-3.2-1-recover-init
#[test]
fn a_loss_in_the_first_window_is_found() {
    for seed in 1..=20 {
        let mut x = Setup::reno().syn_options("mss 1000").seed(seed).established();
        x.write_octets(4000);
        x.sends(1, 4, 1000);
        x.peer(". 1:1(0) ack 1").peer(". 1:1(0) ack 1").peer(". 1:1(0) ack 1");
        x.sends(1, 1, 1000);
    }
}

/// After a timeout all of the flight was sent again, though the peer had most of it: its duplicates prove no loss.
///
/// conformance: 6582-3.2-2-check
#[test]
fn duplicates_from_needless_retransmissions_start_no_recovery() {
    let mut x = ten_in_flight_with(Setup::reno().config(|c| c.tcp_frto = false));
    x.until(". 1:1001(1000) ack 1");
    for (ack, again) in [(1001, 2), (2001, 2), (3001, 2), (4001, 2), (5001, 1)] {
        x.peer(&format!(". 1:1(0) ack {ack}"));
        assert_eq!(x.data().iter().filter(|range| range.start < 10_001).count(), again, "at {ack}");
    }
    let ssthresh = x.ssthresh();
    for _ in 0..5 {
        x.peer(". 1:1(0) ack 5001");
        assert!(x.data().iter().all(|range| range.start >= 10_001));
    }
    assert_eq!((x.ssthresh(), x.counter("TcpExtTCPFastRetrans")), (ssthresh, 0));
}

/// conformance: 6582-3.2-2-check
#[test]
fn duplicates_within_a_recovery_start_no_second_one() {
    let mut x = in_recovery();
    x.peer(". 1:1(0) ack 4001");
    x.ignore();
    for _ in 0..6 {
        x.peer(". 1:1(0) ack 4001");
        assert!(!x.data().contains(&(4001..5001)));
    }
    assert_eq!(x.ssthresh(), 5);
    assert_eq!(x.counter("TcpExtTCPRenoRecovery"), 1);
}

/// conformance: 6582-3.2-4-rto
#[test]
fn a_timeout_leaves_recovery() {
    let mut x = in_recovery();
    x.until(". 1:1001(1000) ack 1");
    assert_eq!(x.cwnd(), 1);
    // Slow start, not the deflation of a partial ACK: the window grows.
    x.peer(". 1:1(0) ack 1001");
    assert_eq!(x.cwnd(), 2);
    x.sends(1001, 2, 1000);
    // Nothing below the highest sent starts a new recovery.
    let ssthresh = x.ssthresh();
    for _ in 0..5 {
        x.peer(". 1:1(0) ack 1001");
        x.data();
    }
    assert_eq!(x.ssthresh(), ssthresh);
    assert_eq!(x.counter("TcpExtTCPFastRetrans"), 1);
}

/// The whole path after a timeout: everything arrives, and nothing goes more often than needed.
#[test]
fn after_a_timeout_and_the_repair_the_transfer_goes_on() {
    let mut x = ten_in_flight();
    x.until(". 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 10001");
    let next = x.data();
    assert_eq!(next.first(), Some(&(10_001..11_001)));
    x.quiet_for(ms(100));
    let end = next.last().expect("two").end;
    x.peer(&format!(". 1:1(0) ack {end}"));
    assert!(x.data().iter().all(|range| range.start >= end));
    assert_eq!(x.counter("TcpRetransSegs"), 1);
    x.skip(secs(1));
}

/// What duplicates made go again came sooner than any answer to it: it was only late, and the next time more duplicates are waited for
/// (Linux's `tcp_check_reno_reordering` learns the same from their number).
#[test]
fn reordering_raises_the_threshold() {
    let mut x = ten_in_flight();
    x.pass(ms(100)).peer(". 1:1(0) ack 1001").ignore();
    for n in 0..5 {
        x.peer(". 1:1(0) ack 1001").ignore();
        assert_eq!(x.counter("TcpRetransSegs"), u64::from(n > 1));
    }
    assert_eq!((x.info().sacked, x.info().delivered), (5, 1 + 1 + 5), "a duplicate is a segment");
    x.pass(ms(20)).peer(". 1:1(0) ack 7001").ignore();
    assert_eq!((x.info().reordering, x.info().reord_seen, x.counter("TcpExtTCPRenoReorder")), (6, 1, 1));
    assert_eq!(x.info().delivered, 1 + 7);
    // The recovery ends, and more is in flight again; then five duplicates prove nothing, and the sixth does.
    let mut una = 14_001;
    for _ in 0..6 {
        x.pass(ms(100)).peer(&format!(". 1:1(0) ack {una}")).ignore();
        una += 1000 * i64::from(x.info().unacked);
    }
    x.pass(ms(100)).peer(&format!(". 1:1(0) ack {una}")).ignore();
    let sent = x.counter("TcpRetransSegs");
    for n in 1..=6 {
        x.peer(&format!(". 1:1(0) ack {una}")).ignore();
        assert_eq!(x.counter("TcpRetransSegs") - sent, u64::from(n == 6), "{n}");
    }
}

/// After a timeout duplicates tell of what went again without need: they open no window, whoever steers it (RFC 6582 §4).
#[test]
fn duplicates_after_a_timeout_send_nothing() {
    for name in ["reno", "bbr"] {
        let setup = Setup::reno().config(|c| c.set("tcp_congestion_control", name).expect("known"));
        let mut x = setup.syn_options("mss 1000,nop,wscale 7").syn_received();
        x.pass(ms(100)).peer(". 1:1(0) ack 1").accept();
        // A pacing controller takes its time.
        x.write_octets(200_000).skip_taking(ms(500));
        let sent = x.counter("TcpRetransSegs");
        assert_eq!(x.counter("TcpExtTCPTimeouts"), 1);
        for _ in 0..20 {
            x.pass(ms(1)).peer(". 1:1(0) ack 1").ignore();
        }
        let again = x.counter("TcpRetransSegs") - sent;
        // BBR has four segments in flight at least (BBRMinPipeCwnd).
        assert_eq!(again, if name == "bbr" { 3 } else { 0 }, "{name}");
        assert!(x.info().sacked + x.info().lost <= x.info().unacked, "{name}: {:?}", x.info());
    }
}

/// However high the threshold was raised, it is no higher than what is in flight can reach.
#[test]
fn a_raised_threshold_can_be_reached() {
    let mut x = ten_in_flight();
    x.pass(ms(100)).peer(". 1:1(0) ack 1001").ignore();
    (0..8).for_each(|_| {
        x.peer(". 1:1(0) ack 1001").ignore();
    });
    x.pass(ms(20)).peer(". 1:1(0) ack 10001").ignore();
    assert_eq!(x.info().reordering, 9);
    // The recovery ends with four segments in flight. The head is lost; each other segment draws a duplicate.
    x.pass(ms(100)).peer(". 1:1(0) ack 14001").ignore();
    x.pass(ms(100)).peer(". 1:1(0) ack 15001").ignore();
    let flight = x.info().unacked;
    assert!(flight < 8, "{flight}");
    let (before, mut arrived) = (x.counter("TcpRetransSegs"), flight - 1);
    while arrived > 0 && x.counter("TcpRetransSegs") == before {
        x.peer(". 1:1(0) ack 15001");
        arrived = arrived - 1 + x.take_all().len() as u32;
    }
    assert_eq!((x.counter("TcpRetransSegs") - before, x.counter("TcpExtTCPTimeouts")), (1, 0), "{flight}");
}
