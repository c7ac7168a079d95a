//! Retransmissions that were for nothing: F-RTO (RFC 5682), Eifel by timestamps (RFC 3522, 4015), D-SACK (RFC 3708). The window is as
//! before then.

use super::common::exchange::data::timestamps;
use super::common::exchange::{Exchange, Setup};
use super::common::ms;
use super::rack::{flying, path};

/// Ten segments are in flight, more is queued, and the timer has expired: the head went again.
fn timed_out() -> Exchange {
    let mut x = path(|c| (c.tcp_init_cwnd, c.tcp_early_retrans) = (10, false));
    x.write_octets(200_000);
    x.sends(1, 10, 1000);
    x.until(". 1:1001(1000) ack 1");
    assert_eq!(x.cwnd(), 1);
    x
}

/// conformance: 5682-2.1-1, 5682-2.1-2b, 5682-2.1-3b, 5682-4-response
#[test]
fn acknowledgments_that_were_only_late_restore_the_window() {
    let mut x = timed_out();
    x.peer(". 1:1(0) ack 1001").sends(10_001, 2, 1000);
    x.peer(". 1:1(0) ack 2001");
    assert!(x.cwnd() >= 10, "{}", x.cwnd());
    assert!(x.data().iter().all(|range| range.start >= 12_001));
    x.peer(". 1:1(0) ack 12001").ignore();
    x.quiet_for(ms(100));
    assert_eq!((x.counter("TcpRetransSegs"), x.counter("TcpExtTCPSpuriousRTOs")), (1, 1));
}

/// conformance: 5682-2.1-3a
#[test]
fn a_duplicate_after_the_new_segments_shows_a_real_loss() {
    let mut x = timed_out();
    x.peer(". 1:1(0) ack 1001").sends(10_001, 2, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 1001 <nop,nop,sack 10001:11001>");
    assert_eq!(x.data()[0], 1001..2001);
    assert!(x.cwnd() <= 3);
    assert_eq!(x.counter("TcpExtTCPSpuriousRTOs"), 0);
}

/// conformance: 5682-2.1-2a
#[test]
fn a_first_answer_that_proves_nothing_means_conventional_recovery() {
    // All of the flight is acknowledged: the retransmission may have filled the only hole.
    let mut x = timed_out();
    x.after(ms(100)).peer(". 1:1(0) ack 10001");
    assert!(x.cwnd() <= 3);
    assert_eq!(x.data().len(), x.cwnd() as usize);
    // A duplicate.
    let mut x = timed_out();
    x.after(ms(100)).peer(". 1:1(0) ack 1 <nop,nop,sack 10001:10001>").quiet();
    // Less than the retransmission.
    let mut x = timed_out();
    x.after(ms(100)).peer(". 1:1(0) ack 501");
    assert!(x.data().iter().all(|range| range.start < 10_001));
}

/// conformance: 5682-2.1-1, 5682-3.1-not-in-recovery
#[test]
fn neither_a_second_timeout_nor_one_in_recovery_is_doubted() {
    let mut x = timed_out();
    x.until(". 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1001");
    assert_eq!(x.data()[0], 1001..2001);
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").sends(1, 1, 1000);
    x.until(". 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 4001");
    assert_eq!(x.data()[0], 4001..5001);
}

/// conformance: 5682-3.1-sack
#[test]
fn with_sack_the_report_of_an_original_is_enough() {
    let mut x = timed_out();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 4001:5001>");
    assert!(x.cwnd() >= 10);
    assert!(x.data().iter().all(|range| range.start >= 10_001));
    assert_eq!(x.counter("TcpExtTCPSpuriousRTOs"), 1);
}

/// An acknowledgment that echoes the original's timestamp, after the head went again.
#[test]
fn an_echo_of_the_original_restores_the_window_at_once() {
    let mut x = Setup::reno()
        .syn_options("mss 1012,sackOK,TS val 1000 ecr 0,nop,wscale 7")
        .config(|c| c.tcp_early_retrans = false)
        .syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x.write_octets(10_000);
    let (original, _) = timestamps(&x.stack(". 1:1001(1000) ack 1")).expect("in use");
    x.ignore();
    x.until(". 1:1001(1000) ack 1");
    assert_eq!(x.cwnd(), 1);
    x.peer(&format!(". 1:1(0) ack 1001 <nop,nop,TS val * ecr {original}>"));
    assert!(x.cwnd() >= 10, "{}", x.cwnd());
    x.quiet_for(ms(100));
    assert_eq!((x.counter("TcpExtTCPLossUndo"), x.counter("TcpRetransSegs")), (1, 1));
}

/// The head was overtaken by more than three segments: sent again, it came twice.
#[test]
fn when_all_that_went_again_came_twice_the_window_is_restored() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:5001>").sends(1, 1, 1000);
    assert_eq!(x.ssthresh(), 5);
    x.peer(". 1:1(0) ack 5001").ignore();
    x.after(ms(100)).peer(". 1:1(0) ack 5001 <nop,nop,sack 1:1001>").ignore();
    assert!(x.cwnd() >= 10 && x.ssthresh() > 100, "{} {}", x.cwnd(), x.ssthresh());
    assert_eq!(x.counter("TcpExtTCPDSACKUndo"), 1);
}

/// The head was overtaken, and came before the stack got to send it again: both reports arrive within one round.
#[test]
fn when_what_was_thought_lost_comes_before_it_goes_again_the_window_is_restored() {
    let mut x = flying(10);
    x.peers(&[". 1:1(0) ack 1 <nop,nop,sack 1001:5001>", ". 1:1(0) ack 5001"]).ignore();
    assert!(x.cwnd() >= 10 && x.ssthresh() > 100, "{} {}", x.cwnd(), x.ssthresh());
    assert_eq!((x.counter("TcpExtTCPFullUndo"), x.counter("TcpRetransSegs")), (1, 0));
}

/// With timestamps, twenty segments in flight for one round trip, of so many octets to send; the timestamp of the last of them.
fn twenty_with_timestamps(octets: usize) -> (Exchange, u32) {
    let mut x = Setup::reno()
        .syn_options("mss 1012,sackOK,TS val 1000 ecr 0,nop,wscale 7")
        .config(|c| c.tcp_init_cwnd = 20)
        .syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x.write_octets(octets);
    x.ignore_but_learn();
    let sent = x.latest_timestamp().expect("in use");
    x.after(ms(100));
    (x, sent)
}

/// What went again before a recovery and arrives within it is no original of that one.
#[test]
fn the_echo_of_an_older_retransmission_proves_nothing() {
    let (mut x, sent) = twenty_with_timestamps(20_000);
    let probe = x.skip_taking(ms(150));
    let again = x.latest_timestamp().expect("in use");
    assert_eq!((probe.len(), x.info().ca_state), (1, 0), "a tail loss probe");
    x.after(ms(10)).peer(&format!(". 1:1(0) ack 1 <nop,nop,TS val * ecr {sent},nop,nop,sack 1001:19001>"));
    assert_eq!((x.take_all().len(), x.info().ca_state), (1, 3));
    let ssthresh = x.ssthresh();
    assert!(x.latest_timestamp().expect("in use") > again);
    x.after(ms(10)).peer(&format!(". 1:1(0) ack 20001 <nop,nop,TS val * ecr {again}>"));
    assert_eq!(x.ssthresh(), ssthresh);
    assert_eq!(x.counter("TcpExtTCPFullUndo"), 0);
}

/// A network that duplicates makes more D-SACKs than there were retransmissions: they tell nothing of ours, as on Linux.
#[test]
fn duplicates_that_the_network_made_take_nothing_back() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 2001 <nop,nop,sack 1:1001>").ignore();
    x.peer(". 1:1(0) ack 2001 <nop,nop,sack 3001:7001>").ignore();
    let ssthresh = x.ssthresh();
    assert!(ssthresh < 10, "{ssthresh}");
    x.after(ms(100)).peer(". 1:1(0) ack 10001 <nop,nop,sack 2001:3001>").ignore();
    assert_eq!(x.ssthresh(), ssthresh);
    let counters =
        ["TcpExtTCPDSACKRecv", "TcpExtTCPDSACKIgnoredDubious", "TcpExtTCPDSACKUndo", "TcpRetransSegs"];
    assert_eq!(counters.map(|name| x.counter(name)), [2, 2, 0, 1]);
}

/// All had arrived and the acknowledgments were lost for long: what the retransmission is answered with echoes a time before that, which
/// is no round trip.
#[test]
fn a_time_without_any_acknowledgment_is_no_round_trip() {
    let (mut x, sent) = twenty_with_timestamps(200_000);
    let rto = x.rto();
    // However many the network made before.
    for _ in 0..12 {
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,TS val * ecr {sent},nop,nop,sack 0:1>")).ignore();
    }
    x.ignore().skip(ms(20_000));
    x.ignore_but_learn();
    assert!(x.rto() > ms(10_000), "{:?}", x.rto());
    x.peer(&format!(". 1:1(0) ack 20001 <nop,nop,TS val * ecr {sent},nop,nop,sack 1:1001>")).ignore();
    assert!(x.rto() <= rto, "{:?} of {rto:?}", x.rto());
}

/// The same without SACK, whose D-SACK would tell: neither a round trip nor a needless timeout, for the rest of the flight is lost.
#[test]
fn after_several_timeouts_an_old_echo_without_sack_proves_nothing() {
    let mut x = Setup::reno()
        .syn_options("mss 1012,nop,nop,TS val 1000 ecr 0,nop,wscale 7")
        .config(|c| c.tcp_init_cwnd = 20)
        .syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x.write_octets(20_000);
    x.ignore_but_learn();
    let sent = x.latest_timestamp().expect("in use");
    x.skip(ms(10_000));
    x.ignore_but_learn();
    let (rtt, ssthresh) = (x.info().rtt, x.ssthresh());
    x.peer(&format!(". 1:1(0) ack 5001 <nop,nop,TS val * ecr {sent}>")).ignore();
    assert_eq!((x.info().rtt, x.ssthresh()), (rtt, ssthresh));
    assert_eq!(["TcpExtTCPLossUndo", "TcpExtTCPFullUndo"].map(|name| x.counter(name)), [0, 0]);
    assert!(x.info().ca_state == 4 && x.info().lost > 0, "the rest goes again at once: {:?}", x.info());
}

/// A probe for the tail was answered by a SACK of all but the head: which copy arrived cannot be told, but the others say enough.
///
/// conformance: 8985-6.2-2-spurious
#[test]
fn an_ambiguous_retransmission_does_not_hide_what_arrived_beside_it() {
    let (mut x, sent) = twenty_with_timestamps(20_000);
    assert_eq!(x.skip_taking(ms(150)).len(), 1, "a tail loss probe");
    x.after(ms(10)).peer(&format!(". 1:1(0) ack 1 <nop,nop,TS val * ecr {sent},nop,nop,sack 1001:20001>"));
    x.sends(1, 1, 1000);
    assert_eq!(x.info().ca_state, 3);
}

/// The copy that a probe made is on its way when a loss is found; its D-SACK is not about what was sent again for that.
#[test]
fn the_d_sack_of_a_probe_takes_no_real_loss_back() {
    let (mut x, sent) = twenty_with_timestamps(20_000);
    assert_eq!(x.skip_taking(ms(150)).len(), 1, "a tail loss probe");
    let ack = |x: &mut Exchange, sack: &str| {
        x.after(ms(1)).peer(&format!(". 1:1(0) ack 1 <nop,nop,TS val * ecr {sent},nop,nop,sack {sack}>"));
        x.ignore_but_learn();
    };
    ack(&mut x, "18001:20001");
    ack(&mut x, "1001:20001");
    x.skip_taking(ms(40));
    assert_eq!((x.info().ca_state, x.ssthresh()), (3, 10), "half of what is out, whatever is SACKed");
    ack(&mut x, "19001:20001 1001:20001");
    assert_eq!((x.info().ca_state, x.ssthresh(), x.counter("TcpExtTCPDSACKUndo")), (3, 10, 0));
}

/// conformance: 8985-6.2-4-dsack-mult
#[test]
fn the_d_sack_that_takes_back_widens_the_window_for_reordering_too() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").ignore();
    x.after(ms(1)).peer(". 1:1(0) ack 4001 <nop,nop,sack 1:1001>").ignore();
    assert_eq!((x.counter("TcpExtTCPDSACKUndo"), x.info().ca_state), (1, 0));
    x.after(ms(1)).peer(". 1:1(0) ack 4001 <nop,nop,sack 5001:6001>").ignore();
    // A quarter of the least round trip of 100 ms, twice.
    x.skip(ms(40));
    assert_eq!(x.counter("TcpRetransSegs"), 1);
    x.skip(ms(20));
    assert_eq!(x.counter("TcpRetransSegs"), 2);
}
