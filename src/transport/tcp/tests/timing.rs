//! Sending against the clock and over losses: retransmission, R1 and R2, keepalive, recovery, path MTU.

use super::ms;
use super::script::{PeerSyn, Script};
use super::sending::in_flight;
use crate::base::{Duration, Errno};
use crate::trace::{TcpState, Why};
use crate::wire::seq::SeqNumber;

/// conformance: 6298-5.1-start, 6298-5.4-resend, 6298-5.6-restart-after, 5681-3.1-lw, 9293-3.10.8-rto, 6298-5-not-early
#[test]
fn timeouts_resend_the_first_segment_and_double() {
    let mut x = in_flight(3, PeerSyn::PLAIN);
    let mut gap = ms(300);
    for _ in 0..5 {
        x.after(gap, &[". 1:1001(1000) ack 1"]);
        gap = gap + gap;
    }
    let view = x.end.conn().view();
    assert_eq!((view.cwnd, view.ssthresh), (1000, 2000));
    // Slow start over what is still missing.
    x.peer(".", 1, 1001, "");
    x.expect(&[". 1001:2001(1000) ack 1", "P. 2001:3001(1000) ack 1"]);
}

/// conformance: 5681-3.1-ssthresh-rto
#[test]
fn ssthresh_is_half_of_the_flight_once() {
    let mut x = in_flight(10, PeerSyn::PLAIN);
    x.after(ms(300), &[". 1:1001(1000) ack 1"]);
    assert_eq!(x.end.conn().view().ssthresh, 5000);
    x.after(ms(600), &[". 1:1001(1000) ack 1"]);
    assert_eq!(x.end.conn().view().ssthresh, 5000);
}

/// conformance: 6298-5.2-stop, 6298-5.3-restart
#[test]
fn acknowledgments_restart_and_stop_the_timer() {
    let mut x = in_flight(2, PeerSyn::PLAIN);
    x.quiet_for(ms(270));
    x.peer(".", 1, 1001, "");
    let rto = x.end.conn().view().rto;
    x.after(rto, &["P. 1001:2001(1000) ack 1"]);
    x.peer(".", 1, 2001, "");
    assert_eq!(x.end.conn().deadline(), None);
    x.quiet_for(Duration::from_secs(100));
}

/// conformance: 9293-MUST-18, 6298-3-karn, 6298-5-collapse
#[test]
fn karn_without_and_with_timestamps() {
    for syn in [PeerSyn::PLAIN, PeerSyn::FULL] {
        let mut x = Script::new(syn).established();
        let before = x.end.conn().view().srtt;
        x.send(b"abc").expect("room");
        x.out();
        x.wait(ms(300));
        assert_eq!(x.out().len(), 1);
        x.wait(ms(350));
        x.peer(".", 1, 4, "");
        let view = x.end.conn().view();
        if syn.timestamps {
            assert_ne!(view.srtt, before, "the echo tells which copy was answered");
            assert!(view.rto < ms(600));
        } else {
            assert_eq!((view.srtt, view.rto), (before, ms(600)), "no sample, the backoff stays");
            x.send(b"def").expect("room");
            x.out();
            x.wait(ms(100));
            x.peer(".", 1, 7, "");
            assert!(x.end.conn().view().rto < ms(400), "a fresh sample ends the backoff");
        }
    }
}

/// conformance: 9293-MUST-20, 9293-SHLD-9, 9293-SHLD-10, 9293-SHLD-11
#[test]
fn r1_is_told_and_r2_ends_the_connection() {
    let mut x = in_flight(1, PeerSyn::PLAIN);
    let start = x.now;
    let mut resent = 0;
    loop {
        x.wait(Duration::from_secs(1000));
        if x.state() == TcpState::Closed {
            break;
        }
        resent += x.out().len();
        assert_eq!(x.end.conn().soft_error().is_some(), resent >= 3);
    }
    assert_eq!(resent, 15);
    assert!(x.now.since(start) > Duration::from_secs(100));
    assert_eq!((x.recv(1), x.recv(1)), (Err(Errno::ETIMEDOUT), Ok(String::new())));
    x.expect(&[]);
}

/// conformance: 6298-5.7-syn, 6928-2-syn-loss, 5681-3.1-syn-loss
#[test]
fn after_lost_syns_data_starts_carefully() {
    for losses in 1..3 {
        let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
        for gap in 0..losses {
            x.after(Duration::from_secs(1 << gap), &["S 0:1(0)"]);
        }
        x.peer("S.", 0, 1, "");
        x.out();
        assert_eq!(x.end.conn().view().cwnd, if losses == 1 { 5360 } else { 536 });
        assert_eq!(x.end.conn().view().rto, Duration::from_secs(3));
    }
}

/// conformance: 5681-4.1-idle
#[test]
fn after_an_idle_time_the_window_starts_again() {
    let mut x = in_flight(10, PeerSyn::PLAIN);
    for i in 1..=10 {
        x.peer(".", 1, 1 + i * 1000, "");
    }
    assert_eq!(x.end.conn().view().cwnd, 20_000);
    x.quiet_for(Duration::from_secs(5));
    x.send(&[b'x'; 30_000]).expect("room");
    assert_eq!(x.out().len(), 10);
}

/// conformance: 6928-2-restart
#[test]
fn after_a_rough_start_restarts_are_small() {
    let mut x = in_flight(10, PeerSyn::PLAIN);
    (0..3).for_each(|_| x.peer(".", 1, 1, ""));
    x.expect(&[". 1:1001(1000) ack 1"]);
    x.peer(".", 1, 10_001, "");
    x.send(&[b'x'; 200_000]).expect("room");
    while x.end.conn().bytes_unacked() > 0 {
        x.out();
        let view = x.end.conn().view();
        x.peer(".", 1, view.snd_nxt.wrapping_sub(view.iss), "");
    }
    x.quiet_for(Duration::from_secs(5));
    x.send(&[b'x'; 30_000]).expect("room");
    assert_eq!(x.out().len(), 4);
}

/// behaviours 46: growth only when the window was in use.
#[test]
fn the_window_grows_only_when_it_is_used() {
    for (sent, cwnd) in [(5, 10_000), (6, 12_000)] {
        let mut x = in_flight(sent, PeerSyn::PLAIN);
        for i in 1..=sent {
            x.peer(".", 1, 1 + i * 1000, "");
        }
        assert_eq!(x.end.conn().view().cwnd, cwnd, "{sent} of 10");
    }
}

/// conformance: 9293-MUST-24, 9293-MUST-25, 9293-MUST-26, 9293-MUST-27, 9293-MUST-28, 9293-MUST-29, 9293-SHLD-12, 9293-MAY-5
#[test]
fn keepalive() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.quiet_for(Duration::from_secs(86_400));
    x.set(|settings| settings.keep_alive = true);
    x.expect(&[]);
    x.wait(ms(0));
    x.expect(&[". 0:0(0) ack 1"]);
    x.peer(".", 1, 1, "");
    x.after(Duration::from_secs(7200), &[". 0:0(0) ack 1"]);
    x.quiet_for(Duration::from_secs(10));
    x.peer(".", 1, 1, "");
    x.after(Duration::from_secs(7200), &[". 0:0(0) ack 1"]);
    for _ in 1..9 {
        x.after(Duration::from_secs(75), &[". 0:0(0) ack 1"]);
    }
    x.after(Duration::from_secs(75), &["R. 1:1(0) ack 1"]);
    assert_eq!(x.recv(1), Err(Errno::ETIMEDOUT));
}

#[test]
fn traffic_postpones_keepalive() {
    let mut x = Script::new(PeerSyn::PLAIN);
    x.settings.keep_alive = true;
    x.settings.keep_idle = Duration::from_secs(10);
    x = x.established();
    x.quiet_for(Duration::from_secs(9));
    x.peer(".", 1, 1, "");
    x.quiet_for(Duration::from_millis(9_990));
    x.send(b"abc").expect("room");
    x.expect(&["P. 1:4(3) ack 1"]);
    x.after(ms(300), &["P. 1:4(3) ack 1"]);
}

// --- recovery ------------------------------------------------------------------------------------------------------

/// conformance: 5681-3.2-fast-retransmit, 5681-3.2-1-limited, 3042-2-send, 3042-2-cwnd, 5681-3.2-5-send, 5681-2-dupack-def
#[test]
fn fast_retransmit_with_limited_transmit() {
    let mut x = in_flight(20, PeerSyn::PLAIN);
    // None of these counts: another window, text, an old number.
    x.peer_win(".", 1, 1, "", 59_999);
    x.expect(&[]);
    x.peer_win(".", 1, 1, "", 60_000);
    x.peer("P.", 1, 1, "z");
    x.peer(".", 2, 0, "");
    x.out();
    x.peer(".", 2, 1, "");
    let sent = x.sent();
    assert_eq!((sent.len(), sent[0].why), (1, Why::LimitedTransmit));
    x.peer(".", 2, 1, "");
    assert_eq!(x.out().len(), 1);
    assert_eq!(x.end.conn().view().cwnd, 10_000);
    x.peer(".", 2, 1, "");
    let sent = x.sent();
    assert_eq!((sent.len(), sent[0].why), (1, Why::FastRetransmit));
    let view = x.end.conn().view();
    assert_eq!((view.ssthresh, view.cwnd), (5000, 8000));
    // Five more duplicates inflate the window beyond what is in flight.
    for count in 0..6 {
        x.peer(".", 2, 1, "");
        assert_eq!(x.out().len(), usize::from(count >= 4), "duplicate {count}");
    }
    x.peer(".", 2, 12_001, "");
    assert_eq!(x.end.conn().view().cwnd, 3000, "min(ssthresh, flight + SMSS)");
}

/// conformance: 6582-3.2-3-partial
#[test]
fn two_losses_are_repaired_without_a_timeout() {
    let mut x = in_flight(10, PeerSyn::PLAIN);
    (0..3).for_each(|_| x.peer(".", 1, 1, ""));
    x.expect(&[". 1:1001(1000) ack 1"]);
    x.peer(".", 1, 4001, "");
    x.expect(&[". 4001:5001(1000) ack 1"]);
    x.peer(".", 1, 10_001, "");
    x.expect(&[]);
    assert_eq!(x.end.counters.tcp_ext_timeouts, 0);
}

/// conformance: 3042-2-sack, 2018-5-no-resend, 2018-8-keep-until-acked, 2018-5-rto-clear
#[test]
fn with_sack_only_news_count_and_what_is_held_is_not_sent_again() {
    let mut x = in_flight(6, PeerSyn::SACK);
    x.send(&[b'x'; 4000]).expect("room");
    x.out();
    x.wait(ms(100));
    for _ in 0..5 {
        x.peer_sack(1, &[]);
        x.expect(&[]);
    }
    x.peer_sack(1, &[(1001, 2001)]);
    x.peer_sack(1, &[(1001, 2001)]);
    x.peer_sack(1, &[(1001, 3001)]);
    x.expect(&[]);
    x.peer_sack(1, &[(1001, 3001), (4001, 5001)]);
    x.expect(&[". 1:1001(1000) ack 1"]);
    // The retransmission is lost, too.
    x.wait(Duration::from_secs(1));
    x.expect(&[". 1:1001(1000) ack 1"]);
    x.peer_sack(3001, &[(4001, 5001)]);
    x.expect(&[". 3001:4001(1000) ack 1", ". 5001:6001(1000) ack 1"]);
    // The peer has thrown away what it reported: the head goes again although SACKed.
    let mut x = in_flight(3, PeerSyn::SACK);
    x.peer_sack(1, &[(1001, 3001)]);
    x.peer_sack(1001, &[(1001, 3001)]);
    x.out();
    x.wait(Duration::from_secs(1));
    x.expect(&[". 1001:2001(1000) ack 1"]);
}

/// conformance: 2018-8-bogus, 2883-5-sender, 2883-5-same-packet-ack
#[test]
fn impossible_sack_blocks_tell_nothing() {
    let mut x = in_flight(4, PeerSyn::SACK);
    for _ in 0..4 {
        x.peer_sack(1, &[(0x7000_0000, 0x7000_1000), (3001, 2001), (3001, 9001)]);
        x.peer_sack(1, &[(1, 1001), (0u32.wrapping_sub(500), 1)]);
        x.expect(&[]);
    }
    assert_eq!(x.end.counters.tcp_ext_fast_retrans, 0);
}

/// conformance: 9293-3.10.7.4-ack-advance, 9293-3.4-ack-acceptable
#[test]
fn a_partly_acknowledged_segment_keeps_its_tail() {
    let mut x = in_flight(1, PeerSyn::PLAIN);
    x.peer(".", 1, 401, "");
    let rto = x.end.conn().view().rto;
    x.after(rto, &["P. 401:1001(600) ack 1"]);
    x.peer(".", 1, 1001, "");
    assert_eq!(x.end.conn().bytes_unacked(), 0);
}

/// conformance: 5681-3.1-pmtu-cwnd, 8201-5.2-dropped, 8201-5.4-tcp-noshrinkcwnd
#[test]
fn a_smaller_path_resends_at_once_without_a_cut() {
    let mut x = Script::new(PeerSyn { mss: Some(1460), ..PeerSyn::PLAIN }).established();
    x.send(&[b'x'; 14_600]).expect("room");
    assert_eq!(x.out().len(), 10);
    let before = x.end.conn().view();
    let quote = SeqNumber(before.snd_una);
    let icmp = |x: &mut Script, mtu, seq| {
        x.end.call(x.now, |conn, env| conn.on_icmp(env, Errno::EMSGSIZE, false, Some(mtu), Some(seq)))
    };
    assert!(!icmp(&mut x, 1000, quote.sub(1)));
    assert!(icmp(&mut x, 1040, quote));
    let out = x.out();
    assert_eq!((out.len(), x.end.conn().mss()), (10, 1000));
    assert!(out[0].starts_with(". 1:1001(1000)"), "{out:?}");
    let after = x.end.conn().view();
    assert_eq!((after.ssthresh, after.cwnd), (before.ssthresh, 10_000), "as many segments as before");
}

/// What the trace tells of a connection that opens, loses its peer and ends.
#[test]
fn the_trace_tells_of_states_timers_congestion_and_the_end() {
    use crate::trace::{Event, EventKind, Sink, Timer};
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Tale(Arc<Mutex<Vec<String>>>);
    impl Sink for Tale {
        fn event(&mut self, event: &Event<'_>) {
            let line = match &event.kind {
                EventKind::State { from, to, .. } => format!("{from} > {to}"),
                EventKind::Timer { timer, attempt } => format!("{timer} {attempt}"),
                EventKind::Congestion { cwnd, ssthresh, .. } => format!("cwnd {cwnd} ssthresh {ssthresh}"),
                EventKind::Ended { error } => format!("ended {error:?}"),
                EventKind::Packet(_) => return,
            };
            self.0.lock().expect("sound").push(line);
        }
    }
    let (tale, mut x) = (Tale::default(), Script::new(PeerSyn::PLAIN));
    x.settings.user_timeout = ms(500);
    x.end.trace_to(Box::new(tale.clone()));
    x = x.established();
    x.send(b"abc").expect("room");
    x.out();
    x.wait(ms(400));
    x.out();
    x.wait(ms(400));
    let retransmit = format!("{} 1", Timer::Retransmit);
    let user = format!("{} 1", Timer::UserTimeout);
    let told = tale.0.lock().expect("sound").clone();
    assert_eq!(
        told,
        [
            "CLOSED > SYN-SENT",
            "SYN-SENT > ESTABLISHED",
            "cwnd 1000 ssthresh 2000",
            &retransmit,
            &user,
            "ESTABLISHED > CLOSED",
            "ended Some(\"ETIMEDOUT\")",
        ]
    );
}
