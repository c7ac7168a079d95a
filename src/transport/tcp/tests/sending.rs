//! Sending: segmentation, Nagle, windows, timers, loss recovery.

use super::ms;
use super::script::{PeerSyn, Script};
use crate::base::{Duration, Errno, MsgFlags, Readiness};
use crate::trace::{TcpState, Why};
use crate::transport::tcp::Settings;
use crate::wire::seq::SeqNumber;

/// `count` full segments of 1000 octets from `from` on, the last one pushed if `push`.
fn segments(from: u32, count: u32, push: bool) -> Vec<String> {
    (0..count)
        .map(|i| {
            let flags = if push && i + 1 == count { "P." } else { "." };
            format!("{flags} {}:{}(1000) ack 1", from + i * 1000, from + (i + 1) * 1000)
        })
        .collect()
}

#[track_caller]
fn expect_segments(x: &mut Script, from: u32, count: u32, push: bool) {
    let lines = segments(from, count, push);
    x.expect(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

/// `n` segments of 1000 octets in flight.
fn in_flight(n: u32, syn: PeerSyn) -> Script {
    let mut x = Script::new(syn).established();
    x.send(&vec![b'x'; n as usize * 1000]).expect("room");
    expect_segments(&mut x, 1, n.min(10), n <= 10);
    x
}

/// conformance: 6928-2-iw10, 9293-MUST-61, 9293-SHLD-28, 5681-3.1-syn-no-increase
#[test]
fn the_first_flight_is_ten_segments() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.send(&[b'x'; 12_500]).expect("room");
    expect_segments(&mut x, 1, 10, false);
    x.peer(".", 1, 2001, "");
    x.expect(&[". 10001:11001(1000) ack 1", ". 11001:12001(1000) ack 1", "P. 12001:12501(500) ack 1"]);
}

/// conformance: 9293-SHLD-7, 9293-MUST-17, 9293-SHLD-27, 9293-MUST-60
#[test]
fn nagle_gathers_small_writes() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    for _ in 0..11 {
        x.send(b"a").expect("room");
    }
    x.expect(&["P. 1:12(11) ack 1"]);
    x.send(b"b").expect("room");
    x.expect(&[]);
    (0..10).for_each(|_| assert_eq!(x.send(b"c"), Ok(1)));
    x.expect(&[]);
    x.peer(".", 1, 12, "");
    x.expect(&["P. 12:23(11) ack 1"]);
    x.set(|settings| settings.no_delay = true);
    for i in 23..26 {
        x.send(b"d").expect("room");
        x.expect(&[&format!("P. {i}:{}(1) ack 1", i + 1)]);
    }
}

#[test]
fn nagle_lets_full_segments_pass_and_no_delay_flushes() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.send(b"a").expect("room");
    x.out();
    x.send(&[b'x'; 1500]).expect("room");
    x.expect(&[". 2:1002(1000) ack 1"]);
    x.set(|settings| settings.no_delay = true);
    x.expect(&["P. 1002:1502(500) ack 1"]);
}

#[test]
fn cork_and_more_hold_for_200_ms_at_most() {
    for cork in [true, false] {
        let mut x = Script::new(PeerSyn::PLAIN).established();
        x.set(|settings| settings.cork = cork);
        let flags = if cork { MsgFlags::empty() } else { MsgFlags::MORE };
        x.send_flags(&[b'x'; 1200], flags).expect("room");
        x.expect(&[". 1:1001(1000) ack 1"]);
        x.peer(".", 1, 1001, "");
        x.after(ms(200), &["P. 1001:1201(200) ack 1"]);
        x.peer(".", 1, 1201, "");
        x.send_flags(b"yz", flags).expect("room");
        x.expect(&[]);
        if cork {
            x.set(|settings| settings.cork = false);
        } else {
            x.send(b"").expect("empty");
        }
        x.expect(&["P. 1201:1203(2) ack 1"]);
    }
}

#[test]
fn an_eor_boundary_is_never_crossed() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.set(|settings| settings.no_delay = true);
    x.send_flags(b"one", MsgFlags::EOR).expect("room");
    x.send_flags(b"two", MsgFlags::EOR).expect("room");
    x.send(b"three").expect("room");
    x.expect(&["P. 1:4(3) ack 1", "P. 4:7(3) ack 1", "P. 7:12(5) ack 1"]);
    x.after(ms(300), &["P. 1:4(3) ack 1"]);
}

/// conformance: 9293-MUST-38
#[test]
fn a_silly_window_is_not_filled() {
    let mut x = Script::new(PeerSyn { window: 2000, ..PeerSyn::PLAIN }).established();
    x.send(&[b'x'; 7000]).expect("room");
    expect_segments(&mut x, 1, 2, false);
    x.peer_win(".", 1, 2001, "", 10);
    x.expect(&[]);
    x.after(ms(500), &[". 2001:2011(10) ack 1"]);
    x.peer_win(".", 1, 2011, "", 999);
    x.quiet_for(ms(200));
    x.peer_win(".", 1, 2011, "", 1000);
    x.expect(&[". 2011:3011(1000) ack 1"]);
}

#[test]
fn half_of_the_largest_window_is_worth_a_segment() {
    let mut x = Script::new(PeerSyn { window: 600, ..PeerSyn::PLAIN }).established();
    x.send(&[b'x'; 1000]).expect("room");
    x.expect(&[". 1:601(600) ack 1"]);
    x.peer_win(".", 1, 601, "", 299);
    x.expect(&[]);
    x.peer_win(".", 1, 601, "", 300);
    x.expect(&[". 601:901(300) ack 1"]);
}

/// conformance: 9293-MUST-36, 9293-MUST-37, 9293-SHLD-29, 9293-SHLD-30
#[test]
fn a_closed_window_is_probed_as_long_as_the_peer_answers() {
    let mut x = Script::new(PeerSyn { window: 1000, ..PeerSyn::PLAIN }).established();
    x.send(&[b'x'; 3000]).expect("room");
    x.out();
    x.peer_win(".", 1, 1001, "", 0);
    x.expect(&[]);
    let mut gap = x.end.conn().view().rto;
    for _ in 0..500 {
        x.after(gap, &[". 1000:1000(0) ack 1"]);
        x.peer_win(".", 1, 1001, "", 0);
        x.expect(&[]);
        gap = (gap + gap).min(Duration::from_secs(120));
    }
    assert_eq!(x.state(), TcpState::Established);
    let cwnd = x.end.conn().view().cwnd;
    x.peer_win(".", 1, 1001, "", 5000);
    x.expect(&[". 1001:2001(1000) ack 1", "P. 2001:3001(1000) ack 1"]);
    assert!(x.end.conn().view().cwnd >= cwnd);
}

#[test]
fn unanswered_probes_end_the_connection() {
    let mut x = Script::new(PeerSyn { window: 1000, ..PeerSyn::PLAIN }).established();
    x.send(&[b'x'; 3000]).expect("room");
    x.out();
    x.peer_win(".", 1, 1001, "", 0);
    let mut probes = 0;
    while x.state() != TcpState::Closed {
        x.wait(Duration::from_secs(1000));
        probes += x.out().len();
    }
    assert_eq!((probes, x.recv(1)), (15, Err(Errno::ETIMEDOUT)));
}

/// conformance: 9293-3.10.4-estab
#[test]
fn an_orphan_with_a_closed_window_ends() {
    let mut x = Script::new(PeerSyn { window: 1000, ..PeerSyn::PLAIN }).established();
    x.send(&[b'x'; 3000]).expect("room");
    x.close();
    x.out();
    x.peer_win(".", 1, 1001, "", 0);
    x.expect(&[]);
    let start = x.now;
    while x.state() != TcpState::Closed {
        x.wait(Duration::from_secs(1000));
        for _ in x.out() {
            x.peer_win(".", 1, 1001, "", 0);
            x.out();
        }
        assert!(x.now.since(start) < Duration::from_secs(1000), "an eternal FIN-WAIT-1");
    }
}

/// conformance: 9293-MUST-34, 9293-SHLD-15, 9293-MUST-35, 9293-SHLD-16, 9293-SHLD-17
#[test]
fn a_shrunken_window() {
    let mut x = in_flight(4, PeerSyn::PLAIN);
    x.send(&[b'y'; 2000]).expect("room");
    x.out();
    x.peer_win(".", 1, 1, "", 1500);
    x.expect(&[]);
    x.wait(ms(300));
    x.expect(&[". 1:1001(1000) ack 1"]);
    x.peer_win(".", 1, 1001, "", 0);
    x.expect(&[]);
    for _ in 0..100 {
        x.wait(Duration::from_secs(1000));
        let out = x.out();
        assert_eq!(out.len(), 1, "one probe: {out:?}");
        x.peer_win(".", 1, 1001, "", 0);
        x.expect(&[]);
    }
    assert_eq!(x.state(), TcpState::Established);
    x.peer_win(".", 1, 1001, "", 60_000);
    let out = x.out();
    assert!(out[0].starts_with(". 1001:2001(1000)"), "{out:?}");
}

/// conformance: 9293-MUST-1, 9293-REC-1
#[test]
fn windows_are_unsigned_and_wide() {
    let x = Script::new(PeerSyn { scale: Some(15), window: 0xffff, ..PeerSyn::PLAIN }).accepted();
    assert_eq!(x.end.conn().view().snd_wnd, 1_073_725_440, "a shift of 15 is taken as 14");
}

/// conformance: 9293-3.10.7.4-wnd-update
#[test]
fn an_older_segment_does_not_change_the_window() {
    let mut x = in_flight(2, PeerSyn::PLAIN);
    x.peer_win("P.", 5, 1, "later", 5000);
    assert_eq!(x.end.conn().view().snd_wnd, 5000);
    x.peer_win("P.", 1, 1, "old ", 100);
    assert_eq!(x.end.conn().view().snd_wnd, 5000);
    x.peer_win(".", 10, 1, "", 7000);
    assert_eq!(x.end.conn().view().snd_wnd, 7000);
    x.peer_win(".", 10, 1001, "", 6000);
    assert_eq!(x.end.conn().view().snd_wnd, 6000);
}

// --- timers --------------------------------------------------------------------------------------------------------

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

/// conformance: 6582-3.2-3-partial, 5681-4.3-half
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

// --- the socket's side ---------------------------------------------------------------------------------------------

#[test]
fn a_full_buffer_blocks_and_acknowledgments_wake() {
    let mut x = Script::new(PeerSyn::PLAIN);
    x.settings.snd_buf = 9000;
    x = x.established();
    x.wakes();
    assert_eq!(x.send(&[b'x'; 20_000]), Ok(9000));
    assert_eq!(x.send(b"y"), Err(Errno::EAGAIN));
    assert_eq!(x.ready(), Readiness::empty());
    x.out();
    x.peer(".", 1, 2001, "");
    assert_eq!(x.wakes(), Readiness::empty(), "a third must be free");
    x.peer(".", 1, 4001, "");
    assert_eq!(x.wakes(), Readiness::WRITABLE);
    x.peer(".", 1, 5001, "");
    assert_eq!(x.wakes(), Readiness::empty(), "only the edge");
}

/// conformance: 9293-MUST-48, 9293-SHLD-21, 9293-SHLD-22, 9293-MUST-49
#[test]
fn tos_ttl_and_df_follow_the_settings() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    let seen = |x: &mut Script| {
        x.send(b"x").expect("room");
        x.end.call(x.now, |conn, env| {
            let limits = crate::transport::tcp::Limits { max_payload: 0 };
            let out = conn.next_segment(env, &limits).expect("data");
            (out.tos, out.ttl, out.dont_fragment)
        })
    };
    x.set(|settings| settings.no_delay = true);
    assert_eq!(seen(&mut x), (0, 64, true));
    x.set(|settings| *settings = Settings { tos: 46 << 2, ttl: 5, discover_mtu: false, ..settings.clone() });
    assert_eq!(seen(&mut x), (184, 5, false));
}

/// conformance: 9293-MUST-30, 9293-MUST-62, 9293-3.10.2-urgent
#[test]
fn urgent_data_is_marked_until_it_is_acknowledged() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.send_flags(b"abc", MsgFlags::OOB).expect("room");
    x.expect(&["PU. 1:4(3) ack 1 urg 3"]);
    x.send(b"def").expect("room");
    x.expect(&["P. 4:7(3) ack 1"]);
    x.after(ms(300), &["PU. 1:7(6) ack 1 urg 3"]);
    x.peer(".", 1, 4, "");
    x.send(b"ghi").expect("room");
    x.out().iter().for_each(|line| assert!(!line.contains("urg"), "{line}"));
}

/// conformance: 9293-MUST-31
#[test]
fn the_urgent_mark_reaches_over_many_segments() {
    let mut x = Script::new(PeerSyn { window: 65_535, ..PeerSyn::PLAIN }).established();
    x.end.max_payload = 60_000;
    assert_eq!(x.send_flags(&[b'!'; 100_000], MsgFlags::OOB), Ok(100_000));
    let out = x.out();
    assert!(
        out[0].starts_with(". 1:1001(1000)") || out[0].starts_with("U. 1:1001(1000) ack 1 urg 65535"),
        "{out:?}"
    );
    let mut acked = 1;
    while acked < 100_001 {
        acked += 1000;
        x.peer(".", 1, acked, "");
        for sent in x.sent() {
            assert_eq!(sent.payload.len(), 1000);
            let mark = 100_001 - sent.seq.0.wrapping_sub(0xffff_fff0);
            assert_eq!(u32::from(sent.urgent), mark.min(65_535));
        }
    }
}
