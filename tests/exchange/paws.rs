//! Protection against wrapped sequence numbers (RFC 7323 §5).

use super::common::exchange::Setup;
use super::common::{Errno, Exchange, ms, secs};

/// Established; the peer's last timestamp that counts is 5000.
fn at_5000() -> Exchange {
    let mut x = Setup::new().syn_options("mss 1460,TS val 4990 ecr 0").listening();
    x.peer("S 0:0(0) <mss 1460,TS val 4990 ecr 0>");
    x.stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1 <nop,nop,TS val 5000 ecr *>");
    x.accept();
    x
}

/// The same, and the peer has sent 1:11.
fn after_ten_octets() -> Exchange {
    let mut x = at_5000();
    x.peer("P. 1:11(10) ack 1 <nop,nop,TS val 5000 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.reads(10);
    x.quiet_for(secs(1));
    x
}

/// conformance: 7323-5.3-r1, 7323-5.6-prediction
#[test]
fn in_order_data_with_an_old_timestamp_is_acked_and_dropped() {
    let mut x = after_ten_octets();
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 4999 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.reads_nothing();
    assert_eq!(x.counter("TcpExtPAWSEstab"), 1);
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 5000 ecr *>");
    x.stack(". 1:1(0) ack 21 <nop,nop,TS val * ecr 5000>");
    x.reads(10);
}

/// conformance: 7323-5.3-r1
#[test]
fn an_old_fin_is_dropped_too() {
    let mut x = after_ten_octets();
    x.peer("F. 11:11(0) ack 1 <nop,nop,TS val 100 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.state_is("ESTABLISHED");
    x.reads_nothing();
}

/// conformance: 7323-5.3-r1
#[test]
fn an_old_ack_does_not_move_snd_una() {
    let mut x = after_ten_octets();
    x.write(b"data");
    x.stack("P. 1:5(4) ack 11");
    x.peer(". 11:11(0) ack 5 <nop,nop,TS val 4000 ecr *>");
    x.ignore();
    assert_eq!(x.info().unacked, 1);
    x.peer(". 11:11(0) ack 5 <nop,nop,TS val 5001 ecr *>");
    assert_eq!(x.info().unacked, 0);
}

/// conformance: 7323-5.3-order
#[test]
fn the_timestamp_is_judged_before_the_window() {
    let mut x = after_ten_octets();
    x.peer("P. 900011:900021(10) ack 1 <nop,nop,TS val 4000 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    assert_eq!(x.counter("TcpExtPAWSEstab"), 1, "dropped for its age, not for its place");
}

/// conformance: 7323-5.3-r3
#[test]
fn a_segment_outside_the_window_leaves_no_timestamp() {
    let mut x = after_ten_octets();
    x.peer("P. 900011:900021(10) ack 1 <nop,nop,TS val 2000000 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    // Left of the window, its sequence number is not after the last acknowledgment: only the window check protects.
    x.quiet_for(secs(1));
    x.peer("P. -900011:-900001(10) ack 1 <nop,nop,TS val 2000000 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 5001 ecr *>");
    x.stack(". 1:1(0) ack 21 <nop,nop,TS val * ecr 5001>");
    x.reads(10);
}

/// A segment whose ACK is unacceptable must not leave its timestamp either: one forged segment would shut out the peer.
#[test]
fn a_segment_with_an_impossible_ack_leaves_no_timestamp() {
    let mut x = after_ten_octets();
    x.peer("P. 11:21(10) ack 70000 <nop,nop,TS val 2000000 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 5001 ecr *>");
    x.stack(". 1:1(0) ack 21 <nop,nop,TS val * ecr 5001>");
    x.reads(10);
}

/// conformance: 7323-5.3-once
#[test]
fn what_waits_out_of_order_is_not_judged_again() {
    let mut x = after_ten_octets();
    x.peer("P. 21:31(10) ack 1 <nop,nop,TS val 5100 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.peer("P. 31:41(10) ack 1 <nop,nop,TS val 5110 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 9000 ecr *>");
    x.stack(". 1:1(0) ack 41 <nop,nop,TS val * ecr 9000>");
    x.reads(30);
}

/// conformance: 7323-5.2-rst-exempt
#[test]
fn a_reset_with_an_old_timestamp_resets() {
    let mut x = after_ten_octets();
    x.peer("R. 11:11(0) ack 1 <nop,nop,TS val 1 ecr *>");
    x.state_is("CLOSED");
    x.read_fails(Errno::ECONNRESET);
}

/// conformance: 7323-5.2-rst-exempt
#[test]
fn a_reset_that_is_challenged_leaves_no_timestamp() {
    let mut x = after_ten_octets();
    x.peer("R 12:12(0) <nop,nop,TS val 2000000 ecr 0>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 5001 ecr *>");
    x.stack(". 1:1(0) ack 21 <nop,nop,TS val * ecr 5001>");
}

/// conformance: 7323-5.5-24days
#[test]
fn after_25_idle_days_an_older_timestamp_is_accepted() {
    let mut x = after_ten_octets();
    x.quiet_for(secs(23 * 86_400));
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 4000 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    x.quiet_for(secs(2 * 86_400));
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 4000 ecr *>");
    x.stack(". 1:1(0) ack 21 <nop,nop,TS val * ecr 4000>");
    x.reads(10);
}

/// Timestamps are compared in circular order: half the space ahead is old, just below half is new.
///
/// conformance: 7323-5.3-r1
#[test]
fn the_comparison_is_circular() {
    let mut x = after_ten_octets();
    x.peer(&format!("P. 11:21(10) ack 1 <nop,nop,TS val {} ecr *>", 5000 + (1u32 << 31) + 1));
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 5000>");
    let newer = 5000 + (1u32 << 31) - 1;
    x.quiet_for(ms(600));
    x.peer(&format!("P. 11:21(10) ack 1 <nop,nop,TS val {newer} ecr *>"));
    x.stack(&format!(". 1:1(0) ack 21 <nop,nop,TS val * ecr {newer}>"));
}
