//! Sending: segmentation, Nagle, windows, what the socket sees of it.

use super::ms;
use super::script::{PeerSyn, Script};
use crate::base::config::CongestionControl;
use crate::base::{Duration, Errno, MsgFlags, Readiness};
use crate::trace::TcpState;
use crate::transport::tcp::Settings;

/// `count` full segments of 1000 octets from `from` on, the last one pushed if `push`.
pub(super) fn segments(from: u32, count: u32, push: bool) -> Vec<String> {
    (0..count)
        .map(|i| {
            let flags = if push && i + 1 == count { "P." } else { "." };
            format!("{flags} {}:{}(1000) ack 1", from + i * 1000, from + (i + 1) * 1000)
        })
        .collect()
}

#[track_caller]
pub(super) fn expect_segments(x: &mut Script, from: u32, count: u32, push: bool) {
    let lines = segments(from, count, push);
    x.expect(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

/// `n` segments of 1000 octets in flight.
pub(super) fn in_flight(n: u32, syn: PeerSyn) -> Script {
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

/// While acknowledgments keep coming, little room is not used at once where a packet may carry much.
#[test]
fn a_burst_is_filled_before_it_goes() {
    let flight = |max_payload| {
        let mut x = Script::new(PeerSyn { window: 65_535, ..PeerSyn::PLAIN }).established();
        x.end.max_payload = max_payload;
        x.send(&[b'x'; 9000]).expect("room");
        x.sent();
        x.wait(ms(60));
        x.send(&[b'x'; 50_000]).expect("room");
        // A sender that paused fills what is free.
        x.expect(&[". 9001:10001(1000) ack 1"]);
        x.peer(".", 1, 1001, "");
        x
    };
    let mut x = flight(60_000);
    x.expect(&[]);
    x.peer(".", 1, 3001, "");
    x.expect(&[". 10001:15001(5000) ack 1"]);
    // Nothing is held back for longer than the next acknowledgment takes, nor without super-segments.
    let mut x = flight(60_000);
    x.expect(&[]);
    x.wait(ms(2));
    x.peer(".", 1, 1501, "");
    x.expect(&[". 10001:13001(3000) ack 1"]);
    let mut x = flight(0);
    x.expect(&[". 10001:11001(1000) ack 1", ". 11001:12001(1000) ack 1"]);
}

/// What is paced leaves in pieces of a millisecond at the pacing rate, and of two segments at least.
#[test]
fn a_paced_burst_is_short() {
    let first = |congestion| {
        let mut x = Script::new(PeerSyn { window: 65_535, ..PeerSyn::PLAIN }).established();
        x.end.max_payload = 60_000;
        x.set(|settings| settings.congestion = congestion);
        x.send(&[b'x'; 50_000]).expect("room");
        x.sent().iter().map(|sent| sent.payload.len()).collect::<Vec<usize>>()
    };
    assert_eq!(first(CongestionControl::Cubic), [10_000]);
    // Ten segments in a round trip of 20 ms, 2.77 times: 1.4 segments in a millisecond.
    assert_eq!(first(CongestionControl::Bbr)[0], 2000);
}

/// CWR belongs to one segment: it leaves by itself where others would leave together.
///
/// conformance: 3168-6.1.2-cwr
#[test]
fn the_reduction_is_told_in_a_segment_of_its_own() {
    let mut x = Script::new(PeerSyn { window: 65_535, ..PeerSyn::PLAIN }).accepted_with_ecn();
    x.end.max_payload = 60_000;
    x.send(&[b'x'; 30_000]).expect("room");
    x.expect(&[". 1:10001(10000) ack 1"]);
    x.peer("E.", 1, 10_001, "");
    let sent: Vec<(bool, usize)> = x
        .sent()
        .iter()
        .map(|sent| (sent.flags.contains(crate::wire::tcp::Flags::CWR), sent.payload.len()))
        .collect();
    assert_eq!(sent[0], (true, 1000), "{sent:?}");
    assert!(sent.len() > 1 && sent[1..].iter().all(|(cwr, len)| !cwr && *len > 1000), "{sent:?}");
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
        if cork {
            x.peer(".", 1, 1001, "");
        }
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

/// As Linux: what arrives pushes what `MSG_MORE` held.
#[test]
fn more_holds_until_something_comes() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.send_flags(&[b'x'; 1200], MsgFlags::MORE).expect("room");
    x.expect(&[". 1:1001(1000) ack 1"]);
    x.peer(".", 1, 1001, "");
    x.expect(&["P. 1001:1201(200) ack 1"]);
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
    // Linux's probe of what it will not fill: after one RTO.
    let rto = x.end.conn().view().rto;
    assert!(rto > ms(100) && rto < ms(1000), "{rto:?}");
    x.after(rto, &[". 2001:2011(10) ack 1"]);
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

// --- the socket's side ---------------------------------------------------------------------------------------------

#[test]
fn a_full_buffer_blocks_and_acknowledgments_wake() {
    let mut x = Script::new(PeerSyn::PLAIN);
    (x.settings.snd_buf, x.settings.snd_buf_locked) = (9000, true);
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
            let limits = crate::transport::tcp::Limits { max_payload: 0, cut_by_host: false };
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
