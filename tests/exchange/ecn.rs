//! Explicit congestion notification (RFC 3168), both roles.

use super::common::exchange::{CE, ECT_0, Setup};
use super::common::packet::CWR;
use super::common::{Exchange, ms};
use tunstack::base::Duration;
use tunstack::host::{Opt, Shutdown};

/// The peer asked for ECN, and the stack agreed.
fn asked_by(setup: Setup) -> Exchange {
    let mut x = setup.listening();
    x.peer("SEW 0:0(0) <mss 1000>");
    x.stack("SE. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept().patient();
    x
}

fn asked() -> Exchange {
    asked_by(Setup::new())
}

/// The stack asked for ECN, and this came back.
fn answered(syn_ack: &str) -> Exchange {
    let mut x = Setup::new().config(|c| c.tcp_ecn = 1).closed();
    x.connect_and_see("SEW 0:0(0)");
    x.peer(&format!("{syn_ack} 0:0(0) ack 1 <mss 1000>")).stack(". 1:1(0) ack 1");
    x.patient();
    x
}

/// Ten segments are in flight and more wait.
fn ten_in_flight() -> Exchange {
    let mut x = asked_by(Setup::reno());
    x.write_octets(30_000);
    x.sends(1, 10, 1000);
    x
}

/// conformance: 3168-6.1.1-setup-syn, 3168-6.1.1-no-ect-syn
#[test]
fn a_setup_syn_has_both_bits_and_its_answer_one() {
    for ecn in 0..=2 {
        for syn in ["S", "SE", "SW", "SEW"] {
            let mut x = Setup::new().config(|c| c.tcp_ecn = ecn).listening();
            x.peer(&format!("{syn} 0:0(0) <mss 1000>"));
            let agrees = ecn > 0 && syn == "SEW";
            x.stack_ecn(0, if agrees { "SE. 0:0(0) ack 1" } else { "S. 0:0(0) ack 1" });
        }
        let mut x = Setup::new().config(|c| c.tcp_ecn = ecn).closed();
        x.connect_fresh();
        x.stack_ecn(0, if ecn == 1 { "SEW 0:0(0)" } else { "S 0:0(0)" });
    }
}

/// conformance: 3168-6.1.1-only-if, 3168-6.1.1-reflect, 9293-SHLD-8
#[test]
fn data_is_capable_only_when_both_sides_agreed() {
    for (syn_ack, agreed) in [("S.", false), ("SW.", false), ("SEW.", false), ("SE.", true)] {
        let mut x = answered(syn_ack);
        assert_eq!(x.info().ecn, agreed, "{syn_ack}");
        x.write(b"data");
        x.stack_ecn(if agreed { ECT_0 } else { 0 }, "P. 1:5(4) ack 1");
        // Nor does a mark mean anything without an agreement.
        x.mark(CE).peer("P. 1:11(10) ack 5").pass(ms(40));
        x.stack(if agreed { "E. 5:5(0) ack 11" } else { ". 5:5(0) ack 11" });
    }
    // An answer to a question that was not asked.
    let mut x = Setup::new().connecting();
    x.peer("SE. 0:0(0) ack 1 <mss 1000>").stack(". 1:1(0) ack 1");
    x.write(b"data");
    x.stack_ecn(0, "P. 1:5(4) ack 1");
}

/// conformance: 3168-6.1.1-only-if
#[test]
fn crossing_syns_agree_when_both_ask() {
    for (syn, syn_ack, agreed) in [("SEW", "SE.", true), ("SEW", "S.", false), ("S", "S.", false)] {
        let mut x = Setup::new().config(|c| c.tcp_ecn = 1).closed();
        x.connect_and_see("SEW 0:0(0)");
        x.peer(&format!("{syn} 0:0(0) <mss 1000>"));
        x.stack_ecn(0, if syn == "SEW" { "SE. 0:0(0) ack 1" } else { "S. 0:0(0) ack 1" });
        x.peer(&format!("{syn_ack} 0:0(0) ack 1 <mss 1000>")).ignore();
        x.write(b"data");
        x.stack_ecn(if agreed { ECT_0 } else { 0 }, "P. 1:5(4) ack 1");
    }
}

/// A SYN that asks is lost; the next asks no more. If the first arrived after all, the peer's marks are told of, and we send none that
/// could be marked.
///
/// conformance: 3168-6.1.1-only-if
#[test]
fn a_syn_that_goes_again_asks_no_more() {
    let mut x = Setup::new().config(|c| c.tcp_ecn = 1).closed();
    x.connect_and_see("SEW 0:0(0)");
    x.until("S 0:0(0)");
    x.peer("SE. 0:0(0) ack 1 <mss 1000>").stack(". 1:1(0) ack 1");
    x.write(b"data");
    x.stack_ecn(0, "P. 1:5(4) ack 1");
    x.mark(CE).peer("P. 1:11(10) ack 5").stack("E. 5:5(0) ack 11");
    let mut x = Setup::new().config(|c| (c.tcp_ecn, c.tcp_ecn_fallback) = (1, false)).closed();
    x.connect_and_see("SEW 0:0(0)");
    x.until("SEW 0:0(0)");
}

/// The peer's SYN comes again and asks no more: neither do we.
///
/// conformance: 3168-6.1.1-only-if
#[test]
fn a_peer_that_gives_up_ecn_gets_none() {
    let mut x = Setup::new().listening();
    x.peer("SEW 0:0(0) <mss 1000>").stack("SE. 0:0(0) ack 1");
    x.peer("S 0:0(0) <mss 1000>").stack_ecn(0, "S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept().write(b"data");
    x.stack_ecn(0, "P. 1:5(4) ack 1");
}

/// conformance: 3168-5-ect, 3168-6.1.4-ack, 3168-6.1.5-rexmit
#[test]
fn new_data_alone_is_capable() {
    let mut x = asked();
    x.write(b"data");
    x.stack_ecn(ECT_0, "P. 1:5(4) ack 1");
    x.pass(x.rto());
    x.stack_ecn(0, "P. 1:5(4) ack 1");
    x.peer("P. 1:11(10) ack 5").pass(ms(40));
    x.stack_ecn(0, ". 5:5(0) ack 11");
    x.shutdown(Shutdown::Write);
    x.stack_ecn(0, "F. 5:5(0) ack 11");
}

/// conformance: 3168-5-dscp
#[test]
fn the_user_sets_the_upper_six_bits_only() {
    for setup in [Setup::new(), Setup::new().v6()] {
        let mut x = asked_by(setup);
        x.set(Opt::Tos(0xff)).write(b"data");
        assert_eq!(x.next().tos, 0xfc | ECT_0);
        x.mark(CE).peer("P. 1:11(10) ack 5");
        assert_eq!(x.next().tos, 0xfc);
    }
}

/// conformance: 3168-6.1.3-echo
#[test]
fn a_mark_is_told_of_until_the_sender_has_slowed_down() {
    for mut x in [asked(), answered("SE.")] {
        x.peer("P. 1:101(100) ack 1").pass(ms(40));
        x.stack(". 1:1(0) ack 101");
        x.patient().mark(CE).peer("P. 101:201(100) ack 1").stack("E. 1:1(0) ack 201");
        x.peers(&["P. 201:1201(1000) ack 1", "P. 1201:2201(1000) ack 1"]).stack("E. 1:1(0) ack 2201");
        x.write(b"data");
        x.stack_ecn(ECT_0, "PE. 1:5(4) ack 2201");
        x.peer("PW. 2201:2301(100) ack 5").stack(". 5:5(0) ack 2301");
        x.peers(&["P. 2301:3301(1000) ack 5", "P. 3301:4301(1000) ack 5"]).stack(". 5:5(0) ack 4301");
        // It begins anew, also with the segment that ends the last one; one mark among several counts.
        x.mark(CE).peer("PW. 4301:4401(100) ack 5").stack("E. 5:5(0) ack 4401");
        x.peer("PW. 4401:4501(100) ack 5").stack(". 5:5(0) ack 4501");
        x.mark(CE).peers(&["P. 4501:5501(1000) ack 5", "P. 5501:6501(1000) ack 5"]);
        x.stack("E. 5:5(0) ack 6501");
        assert!(x.info().ecn_seen);
    }
}

/// conformance: 3168-6.1.3-echo
#[test]
fn a_mark_ahead_of_a_gap_is_told_of() {
    let mut x = asked();
    x.mark(CE).peer("P. 1001:2001(1000) ack 1").stack("E. 1:1(0) ack 1");
    x.peer("P. 1:1001(1000) ack 1").stack("E. 1:1(0) ack 2001");
}

/// conformance: 3168-6.1.5-out-of-window
#[test]
fn marks_outside_of_the_window_are_ignored() {
    let mut x = asked();
    x.peer("P. 1:11(10) ack 1").pass(ms(40));
    x.stack(". 1:1(0) ack 11");
    x.mark(CE).peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 11");
    x.mark(CE).peer("P. 500011:500111(100) ack 1").stack(". 1:1(0) ack 11");
    // Nor is a segment without text marked by anyone honest.
    x.mark(CE).peer(". 11:11(0) ack 1").quiet();
    x.peer("P. 11:21(10) ack 1").pass(ms(40));
    x.stack(". 1:1(0) ack 21");
}

/// conformance: 3168-6.1.6-probe-rx
#[test]
fn a_marked_probe_of_a_closed_window_is_answered_with_an_echo() {
    let mut x = asked_by(Setup::new().option(Opt::RcvBuf(4000)));
    let end = 1 + x.fill_window();
    x.mark(CE).peer(&format!("P. {end}:{}(1) ack 1", end + 1)).stack(&format!("E. 1:1(0) ack {end} win 0"));
}

/// conformance: 3168-6.1.2-respond, 3168-6.1.2-cwr, 3168-6.1.2-no-grow
#[test]
fn a_mark_halves_the_window_once() {
    let mut x = ten_in_flight();
    x.peer("E. 1:1(0) ack 1001").quiet();
    assert_eq!((x.cwnd(), x.ssthresh()), (5, 5));
    // The same round trip tells nothing new, and nothing grows by it.
    x.peer("E. 1:1(0) ack 4001").quiet();
    x.peer("E. 1:1(0) ack 6001").stack_ecn(ECT_0, "W. 10001:11001(1000) ack 1");
    x.peer("E. 1:1(0) ack 7001").stack_ecn(ECT_0, ". 11001:12001(1000) ack 1");
    x.peer("E. 1:1(0) ack 10001").sends(12_001, 3, 1000);
    assert_eq!((x.cwnd(), x.ssthresh()), (5, 5));
    // The next window is marked again.
    x.peer("E. 1:1(0) ack 11001").quiet();
    assert_eq!((x.cwnd(), x.ssthresh()), (2, 2));
    x.peer("E. 1:1(0) ack 14001").stack_ecn(ECT_0, "W. 15001:16001(1000) ack 1");
    x.peer(". 1:1(0) ack 15001").take_all();
    assert_eq!(x.counter("TcpRetransSegs"), 0);
}

/// With SACK the window sinks by PRR while data is delivered, and ends at ssthresh.
///
/// conformance: 3168-6.1.2-respond, 3168-6.1.2-cwr, 3168-6.1.2-no-grow
#[test]
fn with_sack_the_window_sinks_evenly() {
    let mut x = Setup::reno().listening();
    x.peer("SEW 0:0(0) <mss 1000,nop,nop,sackOK>").stack("SE. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept().write_octets(60_000);
    x.sends(1, 10, 1000);
    let mut sent = Vec::new();
    for ack in 1..=10 {
        x.peer(&format!("E. 1:1(0) ack {}", ack * 1000 + 1));
        sent.extend(x.take_all());
    }
    assert!((5..=6).contains(&sent.len()), "half of what was delivered: {}", sent.len());
    assert!(sent[0].has(CWR) && !sent[1..].iter().any(|tcp| tcp.has(CWR)));
    assert_eq!(x.ssthresh(), 5);
    let end = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {end}")).take_all();
    assert!((5..=6).contains(&x.cwnd()), "{}", x.cwnd());
    assert_eq!((x.counter("TcpRetransSegs"), x.counter("TcpExtTCPTimeouts")), (0, 0));
}

/// A loss in the flight that was marked is repaired, but the window is not reduced for it again; and the mark stays one when it turns
/// out that nothing was lost.
///
/// conformance: 3168-6.1.2-respond
#[test]
fn a_loss_beside_a_mark_is_no_second_sign() {
    let mut x = Setup::reno().listening();
    x.peer("SEW 0:0(0) <mss 1000,nop,nop,sackOK>").stack("SE. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept().write_octets(60_000);
    x.sends(1, 10, 1000);
    x.peer("E. 1:1(0) ack 5001").take_all();
    assert_eq!((x.info().ca_state, x.ssthresh()), (2, 5));
    x.peer("E. 1:1(0) ack 5001 <nop,nop,sack 6001:10001>").stack(". 5001:6001(1000) ack 1");
    assert_eq!((x.info().ca_state, x.ssthresh()), (3, 5));
    assert_eq!(x.counter("TcpExtTCPSackRecovery"), 1);
    x.take_all();
    x.peer(". 1:1(0) ack 10001 <nop,nop,sack 5001:6001>").take_all();
    assert_eq!(x.ssthresh(), 5);
    assert!((5..=6).contains(&x.cwnd()), "{}", x.cwnd());
    assert_eq!((x.counter("TcpExtTCPDSACKUndo"), x.counter("TcpExtTCPTimeouts")), (0, 0));
}

/// An acknowledgment that repeats, of a peer without SACK, tells as well.
///
/// conformance: 3168-6.1.2-respond
#[test]
fn a_duplicate_tells_of_marks_too() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1001").take_all();
    let cwnd = x.cwnd();
    x.peer("E. 1:1(0) ack 1001").ignore();
    assert!(x.cwnd() < cwnd, "{} of {cwnd}", x.cwnd());
    x.peer("E. 1:1(0) ack 3001").ignore();
    assert_eq!((x.info().delivered, x.info().delivered_ce), (1 + 3, 2));
}

/// conformance: 3168-6.1.2-cwr, 3168-6.1.5-rexmit
#[test]
fn the_peer_is_told_of_a_reduction_for_losses_too() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1").take_all();
    x.peer(". 1:1(0) ack 1").take_all();
    x.peer(". 1:1(0) ack 1").stack_ecn(0, ". 1:1001(1000) ack 1");
    let end = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {end}")).stack_ecn(ECT_0, &format!("W. {end}:{}(1000) ack 1", end + 1000));
    x.ignore();
    let mut x = asked();
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    x.pass(x.rto());
    x.stack_ecn(0, "P. 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1001").write_octets(100);
    x.stack_ecn(ECT_0, "PW. 1001:1101(100) ack 1");
}

/// CUBIC goes down to one segment, not two, and then waits for a timer between one segment and the next.
///
/// conformance: 9438-4.6-ecn-floor
#[test]
fn marks_without_end_leave_a_segment_for_each_timeout() {
    let mut x = asked_by(Setup::new());
    x.write_octets(60_000);
    x.sends(1, 10, 1000);
    let mut windows = vec![x.cwnd()];
    loop {
        let end = x.stack_nxt();
        x.peer(&format!("E. 1:1(0) ack {end}"));
        windows.push(x.cwnd());
        if x.take_all().is_empty() {
            break;
        }
    }
    assert_eq!(windows, [10, 7, 4, 3, 2, 1, 1, 1, 1]);
    for _ in 0..3 {
        let (rto, end) = (x.rto(), x.stack_nxt());
        x.quiet_for(Duration::from_nanos(rto.as_nanos() - 1_000_000));
        x.after(ms(1)).stack(&format!("W. {end}:{}(1000) ack 1", end + 1000));
        assert_eq!((x.cwnd(), x.info().unacked), (1, 1));
        x.peer(&format!("E. 1:1(0) ack {}", end + 1000));
    }
    assert_eq!(x.counter("TcpRetransSegs"), 0);
}

/// A timeout has made the window one segment, and a mark found nothing to reduce.
fn marked_after_a_timeout() -> Exchange {
    let mut x = asked_by(Setup::reno());
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    x.pass(x.rto());
    x.stack("P. 1:1001(1000) ack 1");
    x.peer("E. 1:1(0) ack 1001").quiet();
    x
}

/// conformance: 3168-6.1.2-cwnd1
#[test]
fn a_mark_on_the_smallest_window_waits_for_a_timeout() {
    let mut x = marked_after_a_timeout();
    assert_eq!(x.cwnd(), 1, "the timeout's window, and no growth");
    x.write_octets(3000).stack("W. 1001:2001(1000) ack 1");
    x.peer("E. 1:1(0) ack 2001");
    let rto = x.rto();
    x.quiet_for(Duration::from_nanos(rto.as_nanos() - 1_000_000));
    x.after(ms(1)).stack("W. 2001:3001(1000) ack 1");
    x.peer(". 1:1(0) ack 3001").ignore();
    assert_eq!(x.cwnd(), 2, "no mark, no pause");
}

/// The wait is for the timer of what was marked: later there is nothing to wait for.
///
/// conformance: 3168-6.1.2-cwnd1
#[test]
fn a_mark_on_the_smallest_window_is_forgotten_after_a_timeout() {
    let mut x = marked_after_a_timeout();
    x.write_octets(1000).stack("WP. 1001:2001(1000) ack 1");
    x.peer("E. 1:1(0) ack 2001");
    x.quiet_for(Duration::from_secs(60));
    x.write_octets(1000).stack("WP. 2001:3001(1000) ack 1");
}

/// Of the second controller's threshold nothing is known: as on Linux it does not become the window when the reduction ends.
#[test]
fn controllers_that_are_chosen_during_a_reduction_do_not_open_the_window() {
    for names in [&["bbr", "cubic"][..], &["bbr", "reno"], &["bbr"], &["reno"]] {
        let mut x = Setup::new().listening();
        x.peer("SEW 0:0(0) <mss 1000,nop,nop,sackOK>").stack("SE. 0:0(0) ack 1");
        x.pass(ms(20)).peer(". 1:1(0) ack 1").accept().write_octets(60_000);
        x.sends(1, 10, 1000);
        x.pass(ms(20)).peer("E. 1:1(0) ack 2001").take_all();
        for name in names {
            x.set(Opt::Congestion((*name).to_owned()));
        }
        x.ignore();
        x.pass(ms(20));
        let end = x.stack_nxt();
        x.peer(&format!(". 1:1(0) ack {end}")).ignore();
        assert!((1..=20).contains(&x.cwnd()), "{names:?}: {}", x.cwnd());
    }
}

/// conformance: 3168-6.1.6-probe-tx
#[test]
fn probes_of_a_closed_window_carry_neither_mark() {
    let mut x = ten_in_flight();
    x.peer("E. 1:1(0) ack 10001 win 0");
    for _ in 0..3 {
        x.until_anything();
        x.stack_ecn(0, ". 10000:10000(0) ack 1");
    }
    x.peer(". 1:1(0) ack 10001 win 1000").stack_ecn(ECT_0, "W. 10001:11001(1000) ack 1");
    // A window that closes over what is in flight is probed by sending that again.
    x.peer(". 1:1(0) ack 10001 win 0");
    x.until_anything();
    x.stack_ecn(0, ". 10001:11001(1000) ack 1");
}

#[test]
fn packets_are_counted_by_their_mark() {
    for (setup, prefix) in [(Setup::new(), "IpExt"), (Setup::new().v6(), "Ip6")] {
        let mut x = asked_by(setup);
        let count = |x: &Exchange, what: &str| x.counter(&format!("{prefix}In{what}Pkts"));
        let plain = count(&x, "NoECT");
        x.mark(ECT_0).peer("P. 1:11(10) ack 1").ignore();
        x.mark(1).peer("P. 11:21(10) ack 1").ignore();
        x.mark(CE).peer("P. 21:31(10) ack 1").ignore();
        let counts = ["NoECT", "ECT0", "ECT1", "CE"].map(|what| count(&x, what));
        assert_eq!(counts, [plain, 1, 1, 1]);
    }
}
