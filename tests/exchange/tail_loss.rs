//! Tail loss probes (RFC 8985 §7). The round-trip time is 100 ms, the RTO 300 ms.

use super::common::exchange::Setup;
use super::common::ms;
use super::rack::{flying, path};
use tunstack::host::Shutdown;

/// conformance: 8985-7.2-schedule, 8985-7.2-pto, 8985-7.3-new-data, 8985-7.3-rearm
#[test]
fn after_two_round_trips_the_last_segment_goes_again_and_then_the_timer_runs() {
    let mut x = path(|_| ());
    x.write_octets(3000);
    x.sends(1, 3, 1000);
    let rto = x.rto();
    assert_eq!(x.until("P. 2001:3001(1000) ack 1"), ms(200));
    assert_eq!(x.counter("TcpExtTCPLossProbes"), 1);
    assert_eq!(x.until(". 1:1001(1000) ack 1"), rto);
}

/// A lone segment may wait for the peer's delayed acknowledgment, but not beyond the timeout.
///
/// conformance: 8985-7.2-pto
#[test]
fn a_lone_segment_is_probed_later_but_not_after_the_timeout() {
    let mut x = path(|_| ());
    x.write_octets(1000);
    x.sends(1, 1, 1000);
    let rto = x.rto();
    assert_eq!(x.until("P. 1:1001(1000) ack 1"), rto);
    assert_eq!((x.counter("TcpExtTCPLossProbes"), x.counter("TcpExtTCPTimeouts")), (1, 0));
    assert_eq!(x.until("P. 1:1001(1000) ack 1"), rto);
    assert_eq!((x.counter("TcpExtTCPLossProbes"), x.counter("TcpExtTCPTimeouts")), (1, 1));
}

/// conformance: 8985-7.3-new-data
#[test]
fn new_data_is_the_better_probe_though_the_window_is_full() {
    let mut x = flying(10);
    assert_eq!(x.until(". 10001:11001(1000) ack 1"), ms(100));
    assert_eq!(x.counter("TcpRetransSegs"), 0);
}

/// conformance: 8985-7.3-conditions
#[test]
fn there_is_one_probe_until_a_round_trip_was_measured() {
    let mut x = path(|_| ());
    x.write_octets(3000);
    x.sends(1, 3, 1000);
    x.until("P. 2001:3001(1000) ack 1");
    // More is written; it gives no right to another probe.
    x.write_octets(2000);
    x.sends(3001, 2, 1000);
    x.until(". 1:1001(1000) ack 1");
    assert_eq!((x.counter("TcpExtTCPLossProbes"), x.counter("TcpExtTCPTimeouts")), (1, 1));
}

/// conformance: 8985-7.2-schedule
#[test]
fn with_something_sacked_there_is_no_probe() {
    let mut x = path(|_| ());
    x.write_octets(4000);
    x.sends(1, 4, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>");
    x.until(". 1:1001(1000) ack 1");
    assert_eq!(x.counter("TcpExtTCPLossProbes"), 0);
}

/// conformance: 8985-7.4-general
#[test]
fn the_answer_shows_what_else_is_lost() {
    let mut x = path(|_| ());
    x.write_octets(10_000);
    x.sends(1, 10, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 7001");
    x.until("P. 9001:10001(1000) ack 1");
    x.after(ms(100)).peer(". 1:1(0) ack 7001 <nop,nop,sack 9001:10001>").sends(7001, 1, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 8001 <nop,nop,sack 9001:10001>").sends(8001, 1, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 10001");
    assert_eq!((x.counter("TcpExtTCPTimeouts"), x.info().unacked), (0, 0));
}

/// Data out of order does not change what a receiver echoes (RFC 7323 §4.3): the old echo beside the SACK block does not mean that
/// the probe's original came.
///
/// conformance: 8985-7.4-general
#[test]
fn an_old_echo_beside_a_sack_block_hides_no_loss() {
    let mut x = Setup::reno().syn_options("mss 1012,sackOK,TS val * ecr *,nop,wscale 7").syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1 <nop,nop,TS val * ecr *>").accept();
    x.write_octets(10_000);
    x.sends(1, 10, 1000);
    let old = x.latest_timestamp().expect("timestamps");
    x.after(ms(100)).peer(&format!(". 1:1(0) ack 7001 <nop,nop,TS val * ecr {old}>"));
    x.until("P. 9001:10001(1000) ack 1 <nop,nop,TS val * ecr *>");
    x.after(ms(100));
    x.peer(&format!(". 1:1(0) ack 7001 <nop,nop,TS val * ecr {old},nop,nop,sack 9001:10001>"));
    x.sends(7001, 1, 1000);
}

/// conformance: 8985-7.4-single
#[test]
fn a_probe_that_repaired_the_only_loss_is_a_sign_of_congestion() {
    for (answer, reduced) in [("", true), (" <nop,nop,sack 9001:10001>", false)] {
        let mut x = path(|_| ());
        x.write_octets(10_000);
        x.sends(1, 10, 1000);
        x.after(ms(100)).peer(". 1:1(0) ack 9001");
        x.until("P. 9001:10001(1000) ack 1");
        x.after(ms(100)).peer(&format!(". 1:1(0) ack 10001{answer}"));
        // Only what is sent later shows whether a duplicate is reported.
        x.write_octets(1000);
        x.sends(10_001, 1, 1000);
        x.after(ms(100)).peer(". 1:1(0) ack 11001");
        assert_eq!(x.ssthresh() < 100, reduced);
        assert_eq!(x.counter("TcpExtTCPLossProbeRecovery"), u64::from(reduced));
    }
}

/// With nothing in flight that the reduction could be spread over, the window is at its threshold at once, as on Linux.
///
/// conformance: 8985-7.4-single
#[test]
fn a_repaired_tail_leaves_the_window_at_its_threshold() {
    let mut x = path(|_| ());
    x.write_octets(10_000);
    x.sends(1, 10, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 9001");
    x.until("P. 9001:10001(1000) ack 1");
    x.write_octets(1000);
    x.sends(10_001, 1, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 11001");
    assert_eq!((x.cwnd(), x.info().ca_state), (x.ssthresh(), 0));
    assert!(x.ssthresh() < 10, "{}", x.ssthresh());
}

/// A FIN by itself is a tail, too.
///
/// conformance: 8985-7.2-schedule
#[test]
fn a_lone_fin_is_probed_once() {
    let mut x = path(|_| ());
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    let rto = x.rto();
    assert_eq!(x.until("F. 1:1(0) ack 1"), rto);
    assert_eq!((x.counter("TcpExtTCPLossProbes"), x.counter("TcpExtTCPTimeouts")), (1, 0));
    assert_eq!(x.until("F. 1:1(0) ack 1"), rto);
    assert_eq!((x.counter("TcpExtTCPLossProbes"), x.counter("TcpExtTCPTimeouts")), (1, 1));
    x.peer(". 1:1(0) ack 2").state_is("FIN-WAIT-2");
}

/// A window that sinks for a mark is no loss recovery: the tail is probed (as Linux does in CA_CWR).
///
/// conformance: 8985-7.3-conditions
#[test]
fn a_tail_is_probed_while_a_mark_reduces_the_window() {
    let mut x = Setup::reno().listening();
    x.peer("SEW 0:0(0) <mss 1000,nop,nop,sackOK>").stack("SE. 0:0(0) ack 1");
    x.pass(ms(20)).peer(". 1:1(0) ack 1").accept().write_octets(10_000);
    x.sends(1, 10, 1000);
    x.pass(ms(20)).peer("E. 1:1(0) ack 5001").take_all();
    assert_eq!(x.info().ca_state, 2, "CWR");
    x.until("P. 9001:10001(1000) ack 1");
    assert_eq!((x.counter("TcpExtTCPLossProbes"), x.counter("TcpExtTCPTimeouts")), (1, 0));
}
