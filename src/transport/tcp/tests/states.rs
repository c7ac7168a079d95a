//! The synchronized states: the checks of RFC 9293 §3.10.7.4, closing, resets, RFC 5961, TIME-WAIT.

use super::ms;
use super::script::{PeerSyn, Script};
use crate::base::{Duration, Errno, Readiness};
use crate::trace::{Drop, TcpState};
use crate::transport::tcp::Verdict;
use crate::wire::tcp::Timestamps;

const SYNCHRONIZED: [TcpState; 6] = [
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::Closing,
    TcpState::LastAck,
];

/// RCV.NXT and SND.NXT of `Script::in_state`.
fn next(state: TcpState) -> (u32, u32) {
    match state {
        TcpState::CloseWait => (2, 1),
        TcpState::LastAck | TcpState::Closing | TcpState::TimeWait => (2, 2),
        TcpState::FinWait1 | TcpState::FinWait2 => (1, 2),
        _ => (1, 1),
    }
}

/// conformance: 9293-3.10.7.4-rst-exact, 9293-3.10.7.4-rst-inwindow, 9293-3.10.7.4-rst-outside, 5961-3.2-rst, 5961-3.2-challenge-seq, 9293-3.10.7.4-rst-estab, 9293-3.10.7.4-rst-late
#[test]
fn a_reset_counts_only_at_rcv_nxt() {
    for state in SYNCHRONIZED {
        let (rcv, snd) = next(state);
        let mut x = Script::in_state(state, PeerSyn::PLAIN);
        for seq in [rcv.wrapping_sub(1), rcv + 65_000 * 20, u32::MAX / 2] {
            x.peer("R", seq, 0, "");
            assert_eq!((x.last_verdict, x.state()), (Verdict::Dropped(Drop::Unacceptable), state));
            x.expect(&[]);
        }
        x.now += Duration::from_secs(1);
        x.peer("R", rcv + 1, 0, "");
        assert_eq!((x.last_verdict, x.state()), (Verdict::Dropped(Drop::ChallengedReset), state));
        x.out().iter().for_each(|line| assert!(line.contains(&format!("ack {rcv}")), "{line}"));
        let ends_silently = matches!(state, TcpState::Closing | TcpState::LastAck);
        x.peer("R", rcv, 0, "with text");
        assert_eq!((x.last_verdict, x.state()), (Verdict::Taken, TcpState::Closed));
        x.expect(&[]);
        let error = match state {
            // The error is for those who send: the peer had said all.
            TcpState::CloseWait => Ok(String::new()),
            _ if ends_silently => Ok(String::new()),
            _ => Err(Errno::ECONNRESET),
        };
        assert_eq!(x.recv(9), error, "{state}");
        assert_eq!(x.recv(9), Ok(String::new()));
        assert_eq!((x.send(b"x"), snd > 0), (Err(Errno::EPIPE), true));
    }
}

/// conformance: 9293-3.10.7.4-syn-sync, 5961-4.2-syn, 9293-3.5.1-half-open, 9293-3.5.2-group3-ack
#[test]
fn a_syn_in_any_state_is_challenged() {
    for state in SYNCHRONIZED {
        let (rcv, snd) = next(state);
        for seq in [rcv, rcv + 100, rcv.wrapping_sub(1000), 0x4000_0000] {
            for flags in ["S", "S."] {
                let mut x = Script::in_state(state, PeerSyn::PLAIN);
                x.peer(flags, seq, snd, "data");
                x.expect(&[&format!(". {snd}:{snd}(0) ack {rcv}")]);
                assert_eq!(x.state(), state);
                assert_eq!(x.end.conn().bytes_readable(), 0);
            }
        }
    }
}

/// conformance: 5961-7-throttle, 5961-7-per-conn, 5961-7-ack-loop
#[test]
fn challenges_are_limited() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    for _ in 0..1000 {
        x.peer("R", 5, 0, "");
    }
    x.expect(&[". 1:1(0) ack 1"]);
    x.peer(".", 0, 1, "");
    x.expect(&[]);
    x.now += ms(500);
    x.peer(".", 0, 1, "");
    x.expect(&[". 1:1(0) ack 1"]);
    x.now += ms(500);
    x.end.budget = 0;
    x.peer("R", 5, 0, "");
    x.expect(&[]);
    // A probe is answered whatever other connections have used up.
    x.peer(".", 0, 1, "");
    x.expect(&[". 1:1(0) ack 1"]);
    assert!(x.end.counters.tcp_ext_ack_skipped_challenge >= 1000);
}

/// conformance: 9293-3.10.7.4-noack, 9293-3.10.7.4-ack-future, 5961-5.2-ack-range, 5961-5.2-fin, 9293-MAY-12
#[test]
fn text_needs_a_possible_ack() {
    for (ack, taken) in
        [(2, false), (1, true), (1u32.wrapping_sub(60_000), true), (0u32.wrapping_sub(60_000), false)]
    {
        let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
        x.peer("F.", 1, ack, "text");
        assert_eq!(x.state() == TcpState::CloseWait, taken, "ack {ack}");
        assert_eq!(x.recv(10).is_ok(), taken);
        x.expect(&[if taken { ". 1:1(0) ack 6" } else { ". 1:1(0) ack 1" }]);
    }
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.peer("PF", 1, 1, "text");
    assert_eq!((x.last_verdict, x.recv(10)), (Verdict::Dropped(Drop::NoAck), Err(Errno::EAGAIN)));
    x.expect(&[]);
}

/// conformance: 9293-3.10.7.4-seq-accept-0-w, 9293-3.10.7.4-unacceptable-ack
#[test]
fn empty_segments_must_lie_in_the_window() {
    let window = Script::in_state(TcpState::Established, PeerSyn::PLAIN).end.conn().view().rcv_wnd;
    // The edge itself is in it, as on Linux.
    for (seq, fits) in [(0, false), (1, true), (window + 1, true), (window + 2, false)] {
        let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
        x.send(b"ab").expect("room");
        x.expect(&["P. 1:3(2) ack 1"]);
        x.peer(".", seq, 3, "");
        assert_eq!(x.end.conn().view().snd_una == x.end.conn().view().snd_nxt, fits, "seq {seq}");
        x.expect(if fits { &[] } else { &[". 3:3(0) ack 1"] });
    }
}

/// conformance: 9293-3.10.7.4-trim, 9293-3.4-seglen, 9293-3.10.7.4-seq-accept-n-w
#[test]
fn what_lies_outside_of_the_window_is_trimmed() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.peer(".", 1, 1, "hello");
    x.out();
    x.peer("F.", 1, 1, "hello world");
    x.expect(&[". 1:1(0) ack 13"]);
    assert_eq!(x.recv(50), Ok("hello world".into()));
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.set(|settings| settings.rcv_buf = 2000);
    let window = x.end.conn().view().rcv_wnd;
    let text = "y".repeat(window as usize + 1);
    x.peer("F.", 1, 1, &text);
    assert_eq!(x.state(), TcpState::Established, "the FIN is beyond the window");
    x.expect(&[&format!(". 1:1(0) ack {}", window + 1)]);
    assert_eq!(x.recv(100_000).expect("data").len(), window as usize);
}

/// conformance: 9293-3.10.7.4-seq-accept-0-0, 9293-3.10.7.4-seq-accept-n-0, 9293-MUST-66, 9293-SHLD-2, 9293-MAY-8
#[test]
fn a_closed_window_takes_acks_and_resets_but_no_text() {
    let mut x = Script::new(PeerSyn::PLAIN);
    x.settings.rcv_buf = 2920;
    x = x.established();
    x.peer(".", 1, 1, &"y".repeat(1460));
    x.peer(".", 1461, 1, &"y".repeat(1460));
    x.expect(&[". 1:1(0) ack 2921 win 0"]);
    x.send(b"abc").expect("room");
    x.expect(&["P. 1:4(3) ack 2921 win 0"]);
    // A probe with an octet: refused, but its acknowledgment counts.
    x.peer(".", 2921, 4, "z");
    x.expect(&[". 4:4(0) ack 2921 win 0"]);
    assert_eq!(x.end.conn().bytes_unacked(), 0);
    x.peer(".", 2921, 4, "");
    x.expect(&[]);
    x.peer(".", 2922, 4, "");
    x.expect(&[". 4:4(0) ack 2921 win 0"]);
    assert_eq!(x.last_verdict, Verdict::Dropped(Drop::Unacceptable));
    x.peer("R", 2921, 0, "text in a reset");
    assert_eq!(x.state(), TcpState::Closed);
    assert_eq!(x.recv(5000).expect("what came before is readable").len(), 2920);
    assert_eq!(x.recv(5), Err(Errno::ECONNRESET));
}

/// conformance: 9293-3.10.7.4-inorder, 9293-SHLD-31, 9293-3.10.7.4-fin-generic
#[test]
fn a_fin_out_of_order_waits_for_its_turn() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.peer("F.", 6, 1, "world");
    x.expect(&[". 1:1(0) ack 1"]);
    assert_eq!(x.state(), TcpState::Established);
    x.peer("F.", 11, 1, "");
    x.expect(&[". 1:1(0) ack 1"]);
    x.peer(".", 1, 1, "hello");
    x.expect(&[". 1:1(0) ack 12"]);
    assert_eq!(x.state(), TcpState::CloseWait);
    assert_eq!(x.wakes(), Readiness::WRITABLE | Readiness::READABLE | Readiness::READ_HANGUP);
    assert_eq!(x.recv(50), Ok("helloworld".into()));
}

/// conformance: 9293-3.10.7.4-fin-repeat, 9293-3.10.7.4-text-late, 9293-3.10.3-close-wait, 9293-MUST-12
#[test]
fn after_the_fin_there_is_no_more() {
    let mut x = Script::in_state(TcpState::CloseWait, PeerSyn::PLAIN);
    x.wakes();
    x.peer("F.", 1, 1, "");
    assert_eq!(x.wakes(), Readiness::empty(), "the end is told once");
    x.expect(&[". 1:1(0) ack 2"]);
    x.peer("P.", 2, 1, "more");
    x.expect(&[". 1:1(0) ack 2"]);
    assert_eq!(x.state(), TcpState::CloseWait);
    assert_eq!((x.recv(5), x.recv(5)), (Ok(String::new()), Ok(String::new())));
    x.send(b"still").expect("half closed");
    x.expect(&["P. 1:6(5) ack 2"]);
}

/// conformance: 9293-3.10.4-estab, 9293-3.10.7.4-ack-finwait1, 9293-3.10.7.4-fin-finwait2, 9293-3.10.2-closing, 9293-3.6-read-after-close, 9293-3.10.7.4-text
#[test]
fn active_close_with_half_close() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.send(b"last").expect("room");
    x.shut_write();
    x.expect(&["FP. 1:6(4) ack 1"]);
    assert_eq!((x.state(), x.send(b"x")), (TcpState::FinWait1, Err(Errno::EPIPE)));
    x.peer(".", 1, 5, "");
    assert_eq!(x.state(), TcpState::FinWait1, "the FIN itself is not acknowledged");
    x.peer(".", 1, 6, "");
    assert_eq!((x.state(), x.end.conn().deadline()), (TcpState::FinWait2, None));
    x.peer("P.", 1, 6, "still reading");
    x.peer("F.", 14, 6, "");
    x.expect(&[". 6:6(0) ack 15"]);
    assert_eq!(x.state(), TcpState::TimeWait);
    assert_eq!((x.recv(50), x.recv(50)), (Ok("still reading".into()), Ok(String::new())));
}

/// conformance: 9293-3.6-simultaneous-close, 9293-3.10.7.4-fin-finwait1, 9293-3.10.7.4-ack-closing
#[test]
fn crossing_fins() {
    let mut x = Script::in_state(TcpState::FinWait1, PeerSyn::PLAIN);
    x.peer("F.", 1, 1, "");
    x.expect(&[". 2:2(0) ack 2"]);
    assert_eq!(x.state(), TcpState::Closing);
    x.peer(".", 2, 1, "");
    assert_eq!(x.state(), TcpState::Closing);
    x.peer(".", 2, 2, "");
    assert_eq!(x.state(), TcpState::TimeWait);
    let mut x = Script::in_state(TcpState::FinWait1, PeerSyn::PLAIN);
    x.peer("F.", 1, 2, "");
    x.expect(&[". 2:2(0) ack 2"]);
    assert_eq!(x.state(), TcpState::TimeWait, "FIN and acknowledgment in one");
}

/// conformance: 9293-3.10.4-close-wait, 9293-3.10.7.4-ack-lastack
#[test]
fn passive_close() {
    let mut x = Script::in_state(TcpState::CloseWait, PeerSyn::PLAIN);
    x.send(b"bye").expect("room");
    x.close();
    x.expect(&["FP. 1:5(3) ack 2"]);
    assert_eq!(x.state(), TcpState::LastAck);
    x.peer(".", 2, 5, "");
    assert_eq!(x.state(), TcpState::Closed);
    x.expect(&[]);
}

/// conformance: 9293-SHLD-3
#[test]
fn closing_over_unread_data_resets_and_so_does_data_after_close() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.peer("P.", 1, 1, "unread");
    x.close();
    x.expect(&["R. 1:1(0) ack 7"]);
    assert_eq!((x.state(), x.end.counters.tcp_ext_abort_on_close), (TcpState::Closed, 1));
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.close();
    x.expect(&["F. 1:2(0) ack 1"]);
    x.peer("P.", 1, 2, "too late");
    assert_eq!((x.last_verdict, x.state()), (Verdict::Reset(Drop::Closed), TcpState::Closed));
}

/// conformance: 9293-3.10.4-orphan
#[test]
fn an_orphan_does_not_wait_for_ever_in_fin_wait_2() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::PLAIN);
    x.close();
    x.expect(&["F. 1:2(0) ack 1"]);
    x.peer(".", 1, 2, "");
    assert_eq!(x.state(), TcpState::FinWait2);
    x.quiet_for(Duration::from_secs(59));
    assert_eq!(x.state(), TcpState::FinWait2);
    x.wait(Duration::from_secs(1));
    assert_eq!(x.state(), TcpState::Closed);
    x.expect(&[]);
}

/// conformance: 9293-3.10.5-sync, 9293-3.10.5-late
#[test]
fn abort_by_state() {
    for state in SYNCHRONIZED {
        let (rcv, snd) = next(state);
        let mut x = Script::in_state(state, PeerSyn::PLAIN);
        x.abort();
        if matches!(state, TcpState::Closing | TcpState::LastAck) {
            x.expect(&[]);
        } else {
            x.expect(&[&format!("R. {snd}:{snd}(0) ack {rcv}")]);
        }
        assert_eq!((x.state(), x.end.conn().deadline()), (TcpState::Closed, None));
    }
    let mut x = Script::in_state(TcpState::TimeWait, PeerSyn::PLAIN);
    x.abort();
    x.expect(&[]);
    assert_eq!(x.state(), TcpState::Closed);
    let mut x = Script::new(PeerSyn::PLAIN).syn_received();
    x.abort();
    x.expect(&["R. 1:1(0) ack 1"]);
}

/// conformance: 7323-3.2-rst, 7323-3.2-every-seg, 7323-4.3-echo
#[test]
fn every_segment_has_timestamps_resets_too() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::FULL);
    x.send(b"abc").expect("room");
    let data = x.sent();
    x.shut_write();
    let fin = x.sent();
    x.abort();
    let reset = x.sent();
    for sent in data.iter().chain(&fin).chain(&reset) {
        let ts = sent.options.timestamps.expect("negotiated");
        assert_eq!(ts.value, (x.now.as_millis() as u32).wrapping_add(0xffff_fff0 ^ 0x1234_5678));
        assert!(ts.echo > 7000);
    }
    assert_eq!(reset.len(), 1);
}

/// conformance: 9293-MUST-13, 9293-3.10.7.4-ack-timewait, 9293-3.10.7.4-fin-timewait, 9293-3.10.8-time-wait
#[test]
fn time_wait_lasts_two_msl_from_the_last_fin() {
    let mut x = Script::in_state(TcpState::TimeWait, PeerSyn::PLAIN);
    x.quiet_for(Duration::from_secs(30));
    x.peer("F.", 1, 2, "");
    x.expect(&[". 2:2(0) ack 2"]);
    x.quiet_for(Duration::from_secs(59));
    assert_eq!(x.state(), TcpState::TimeWait);
    x.wait(Duration::from_secs(1));
    assert_eq!(x.state(), TcpState::Closed);
}

/// conformance: 1337-F1-ignore-rst, 1337-hazard-old-dup
#[test]
fn time_wait_cannot_be_assassinated() {
    let mut x = Script::in_state(TcpState::TimeWait, PeerSyn::PLAIN);
    x.peer("P.", 0u32.wrapping_sub(500), 1, "an old duplicate");
    x.expect(&[". 2:2(0) ack 2"]);
    for seq in [2, 3, 1] {
        x.peer("R", seq, 0, "");
        assert_eq!((x.last_verdict, x.state()), (Verdict::Dropped(Drop::Ignored), TcpState::TimeWait));
    }
    x.expect(&[]);
    x.peer(".", 2, 2, "");
    x.expect(&[]);
}

/// conformance: 6191-2-ts-greater, 6191-2-ts-equal, 6191-2-ts-missing, 6191-2-nots-newts, 6191-2-nots-nots, 6191-2-else-drop, 9293-MAY-2, 9293-SHLD-4
#[test]
fn a_new_syn_may_reopen_time_wait() {
    // Had timestamps, new one's relation to the last (None: has none), higher sequence number; reopened?
    for (had, relation, higher, reopens) in [
        (true, Some(1), false, true),
        (true, Some(0), true, true),
        (true, Some(0), false, false),
        (true, Some(-1), true, false),
        (true, None, true, true),
        (true, None, false, false),
        (false, Some(5), false, true),
        (false, None, true, true),
        (false, None, false, false),
    ] {
        let mut x = Script::in_state(TcpState::TimeWait, if had { PeerSyn::FULL } else { PeerSyn::PLAIN });
        let last = x.peer_clock();
        x.now += Duration::from_secs(1);
        let mut syn = x.segment("S", if higher { 3 } else { 0u32.wrapping_sub(99) }, 0, "");
        syn.options.timestamps =
            relation.map(|by: i32| Timestamps { value: last.wrapping_add_signed(by), echo: 0 });
        let verdict = x.inject(&syn);
        assert_eq!(verdict == Verdict::Reopen, reopens, "{had} {relation:?} {higher}: {verdict:?}");
        assert_eq!(x.out().len(), usize::from(!reopens), "refused ones are acknowledged");
        let view = x.end.conn().view();
        assert!(x.end.conn().reopen_iss_floor().0.wrapping_sub(view.snd_nxt) < 1 << 30);
    }
}

/// conformance: 7323-5.3-r1, 7323-5.3-order, 7323-5.3-r3, 7323-5.2-rst-exempt, 7323-3.2-missing-drop, 7323-3.2-missing-noabort, 7323-5.6-prediction
#[test]
fn paws() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::FULL);
    let stamp = |x: &Script, flags: &str, seq, by: i32| {
        let mut segment = x.segment(flags, seq, 1, "text");
        let ts = segment.options.timestamps.as_mut().expect("has them");
        ts.value = ts.value.wrapping_add_signed(by);
        segment
    };
    let old = stamp(&x, "P.", 1, -1000);
    assert_eq!(x.inject(&old), Verdict::Dropped(Drop::OldTimestamp));
    x.expect(&[". 1:1(0) ack 1"]);
    // Outside of the window a timestamp is not recorded, however large.
    let wild = stamp(&x, "P.", 0x4000_0000, 1_000_000);
    assert_eq!(x.inject(&wild), Verdict::Dropped(Drop::Unacceptable));
    x.expect(&[". 1:1(0) ack 1"]);
    let mut bare = x.segment("P.", 1, 1, "text");
    bare.options.timestamps = None;
    assert_eq!(x.inject(&bare), Verdict::Dropped(Drop::Ignored));
    x.expect(&[]);
    assert_eq!(x.state(), TcpState::Established);
    let good = stamp(&x, "P.", 1, 0);
    assert_eq!(x.inject(&good), Verdict::Taken);
    assert_eq!(x.recv(9), Ok("text".into()));
    let reset = stamp(&x, "R", 5, -1000);
    assert_eq!(x.inject(&reset), Verdict::Taken);
    assert_eq!(x.state(), TcpState::Closed);
    assert_eq!(x.end.counters.tcp_ext_paws_estab, 1);
}

/// conformance: 7323-5.3-once
#[test]
fn timestamps_are_judged_on_arrival_only() {
    let mut x = Script::in_state(TcpState::Established, PeerSyn::FULL);
    let early = x.segment("P.", 5, 1, "5678");
    x.inject(&early);
    x.now += Duration::from_secs(5);
    x.peer("P.", 1, 1, "1234");
    assert_eq!(x.recv(20), Ok("12345678".into()));
}

/// Every state meets every kind of segment: no panic, invariants hold, no state is entered that the RFC does not allow.
#[test]
fn every_state_meets_every_segment() {
    let mut count = 0;
    let flags = ["", "S", "S.", "F", "F.", "R", "R.", ".", "P.", "U.", "SF.", "SFRPU.", "SR", "FR."];
    let seqs = [0, 1, 2, 3, 100, 70_000, 140_000, 0x7fff_ffff, 0x8000_0005, u32::MAX, u32::MAX - 60_000];
    let acks = [0, 1, 2, 3, 1000, u32::MAX, 0x8000_0000];
    let states = [SYNCHRONIZED.as_slice(), &[TcpState::SynReceived, TcpState::TimeWait]].concat();
    for state in states {
        for syn in [PeerSyn::PLAIN, PeerSyn::FULL] {
            for flags in flags {
                for seq in seqs {
                    for ack in acks {
                        for text in ["", "some text"] {
                            let mut x = Script::in_state(state, syn);
                            x.peer(flags, seq, ack, text);
                            x.out();
                            let after = x.state();
                            let legal = after == state || after == TcpState::Closed || leads_to(state, after);
                            assert!(legal, "{state} → {after} by {flags} {seq} {ack} {text}");
                            x.peer(".", 1, 1, "");
                            x.out();
                            x.close();
                            x.out();
                            count += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(count > 30_000);
}

fn leads_to(from: TcpState, to: TcpState) -> bool {
    use TcpState::*;
    matches!(
        (from, to),
        (SynReceived, Established | CloseWait)
            | (Established, CloseWait)
            | (FinWait1, FinWait2 | Closing | TimeWait)
            | (FinWait2 | Closing, TimeWait)
    )
}
