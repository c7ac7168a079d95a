//! Handshakes (RFC 9293 §3.5, §3.10.1, §3.10.7.3, and SYN-RECEIVED in §3.10.7.4).

use super::ms;
use super::script::{PeerSyn, Script};
use crate::base::{Duration, Errno, MsgFlags, Readiness};
use crate::trace::{Drop, TcpState};
use crate::transport::tcp::Verdict;
use crate::wire::seq::SeqNumber;

/// conformance: 9293-3.10.1-closed-active, 9293-3.10.7.3-synack, 9293-MUST-14, 9293-SHLD-5, 9293-MUST-67
#[test]
fn active_open() {
    let mut x = Script::new(PeerSyn::FULL);
    x.end.connect(x.now, 1000, x.settings.clone(), 1500);
    let syn = &x.sent()[0];
    assert_eq!(syn.options.mss, Some(1460), "options are not subtracted");
    assert_eq!(syn.options.window_scale, Some(10));
    assert!(syn.options.sack_permitted);
    assert_eq!(syn.options.timestamps.expect("offered").echo, 0);
    assert_eq!(syn.window, 64_240);
    let view = x.end.conn().view();
    assert_eq!((view.state, view.snd_una, view.snd_nxt), (TcpState::SynSent, 1000, 1001));
    let mut x = Script::new(PeerSyn::FULL).established();
    assert_eq!(x.wakes(), Readiness::WRITABLE);
    assert_eq!(x.ready(), Readiness::WRITABLE);
}

/// conformance: 9293-3.10.7.2-syn, 9293-3.10.7.4-ack-synrcvd-ok, 7323-2.2-syn-unscaled, 7323-2.3-in
#[test]
fn passive_open_scales_the_window_of_the_last_ack_only() {
    let mut x = Script::new(PeerSyn { scale: Some(2), window: 5000, ..PeerSyn::PLAIN }).syn_received();
    assert_eq!(x.end.conn().view().snd_wnd, 5000);
    x.peer(".", 1, 1, "");
    x.expect(&[]);
    assert_eq!((x.state(), x.end.conn().view().snd_wnd), (TcpState::Established, 20_000));
}

/// conformance: 7323-2.2-syn-only, 7323-3.2-syn, 2018-2-permitted-syn, 7323-2.3-both
#[test]
fn a_syn_ack_answers_only_what_was_offered() {
    for (syn, scale, sack, ts) in [
        (PeerSyn::PLAIN, false, false, false),
        (PeerSyn::SACK, false, true, false),
        (PeerSyn::FULL, true, true, true),
    ] {
        let mut x = Script::new(syn);
        let options = x.accept_syn().options;
        assert_eq!((options.mss, options.window_scale), (Some(1460), scale.then_some(10)));
        assert_eq!((options.sack_permitted, options.timestamps.is_some()), (sack, ts));
        let mut y = Script::new(syn).accepted();
        y.send(b"x").expect("room");
        let data = &y.sent()[0];
        assert_eq!(data.options.timestamps.is_some(), ts);
        assert_eq!(
            (data.options.mss, data.options.window_scale, data.options.sack_permitted),
            (None, None, false)
        );
        let info = y.end.conn().info(y.now);
        assert_eq!((info.window_scaling, info.sack, info.timestamps), (scale, sack, ts));
    }
}

/// conformance: 9293-MUST-15, 9293-MUST-16, 9293-3.7.1-eff-mss-no-options
#[test]
fn segment_size_is_the_smaller_of_peer_and_path_less_options() {
    for (mss, timestamps, expected) in
        [(None, false, 536), (Some(700), false, 700), (Some(1460), true, 1448), (Some(9000), false, 1460)]
    {
        let x = Script::new(PeerSyn { mss, timestamps, ..PeerSyn::PLAIN }).established();
        assert_eq!(x.end.conn().mss(), expected, "{mss:?}");
    }
    let mut x = Script::new(PeerSyn { mss: Some(1460), ..PeerSyn::FULL }).established();
    x.end.call(x.now, |conn, env| conn.set_path_mtu(env, 1400));
    assert_eq!(x.end.conn().mss(), 1348);
}

/// conformance: 9293-3.10.7.3-bad-ack, 9293-3.5.3-rst-synsent, 9293-3.10.7.3-rst-acceptable, 9293-3.10.7.3-neither, 9293-3.10.7.4-fin-unsync
#[test]
fn what_does_not_answer_our_syn_changes_nothing() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
    for (flags, ack, verdict) in [
        ("S.", 0, Verdict::Reset(Drop::AckInvalid)),
        ("S.", 2, Verdict::Reset(Drop::AckInvalid)),
        (".", 0, Verdict::Reset(Drop::AckInvalid)),
        (".", 1, Verdict::Dropped(Drop::Ignored)),
        ("F.", 1, Verdict::Dropped(Drop::Ignored)),
        ("R", 0, Verdict::Dropped(Drop::Ignored)),
        ("R.", 2, Verdict::Dropped(Drop::AckInvalid)),
    ] {
        x.peer(flags, 0, ack, "");
        assert_eq!(x.last_verdict, verdict, "{flags} ack {ack}");
        x.expect(&[]);
        assert_eq!(x.state(), TcpState::SynSent);
    }
    x.peer("R.", 0, 1, "");
    assert_eq!(x.state(), TcpState::Closed);
    assert_eq!(x.recv(10), Err(Errno::ECONNREFUSED));
    assert_eq!(x.recv(10), Ok(String::new()));
    assert_eq!(x.send(b"x"), Err(Errno::EPIPE));
}

/// conformance: 9293-3.10.7.3-synack-data
#[test]
fn text_and_fin_on_the_syn_ack_are_taken() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
    x.peer("SF.", 0, 1, "0123456789");
    x.expect(&[". 1:1(0) ack 12"]);
    assert_eq!(x.state(), TcpState::CloseWait);
    assert_eq!(x.recv(100), Ok("0123456789".into()));
    assert_eq!(x.recv(100), Ok(String::new()));
}

/// conformance: 9293-MUST-10, 9293-3.10.7.3-simopen
#[test]
fn simultaneous_open_by_either_answer() {
    for (flags, seq) in [("S.", 0), (".", 1), ("P.", 1)] {
        let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
        x.peer("S", 0, 0, "");
        x.expect(&["S. 0:1(0) ack 1"]);
        assert_eq!(x.state(), TcpState::SynReceived);
        x.peer(flags, seq, 1, if flags == "P." { "hello" } else { "" });
        x.out();
        assert_eq!(x.state(), TcpState::Established, "{flags}");
        assert_eq!(x.send(b"abc"), Ok(3));
        assert_eq!(x.recv(10).is_ok(), flags == "P.");
    }
}

/// conformance: 9293-MUST-11, 9293-3.10.7.4-rst-synrcvd
#[test]
fn a_reset_in_syn_received_depends_on_who_opened() {
    let mut passive = Script::new(PeerSyn::PLAIN).syn_received();
    passive.peer("R", 1, 0, "");
    assert_eq!(
        (passive.state(), passive.end.conn.as_mut().expect("c").take_error()),
        (TcpState::Closed, None)
    );
    let mut active = Script::new(PeerSyn::PLAIN).syn_sent();
    active.peer("S", 0, 0, "");
    active.out();
    active.peer("R", 1, 0, "");
    assert_eq!(active.state(), TcpState::Closed);
    assert_eq!(active.recv(1), Err(Errno::ECONNREFUSED));
}

/// conformance: 9293-3.10.7.4-ack-synrcvd-bad, 9293-3.10.7.4-syn-synrcvd-passive
#[test]
fn syn_received_refuses_wrong_acks_and_repeats_itself() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_received();
    for ack in [0, 2] {
        x.peer(".", 1, ack, "");
        assert_eq!(x.last_verdict, Verdict::Reset(Drop::AckInvalid));
        assert_eq!(x.state(), TcpState::SynReceived);
    }
    x.peer("S", 0, 0, "");
    x.expect(&["S. 0:1(0) ack 1"]);
    x.peer("S", 500, 0, "");
    assert_eq!(x.last_verdict, Verdict::Reopen);
    x.peer("P", 1, 1, "no ack flag");
    assert_eq!(x.last_verdict, Verdict::Dropped(Drop::NoAck));
    x.peer("PF.", 1, 1, "data and fin");
    x.expect(&[". 1:1(0) ack 14"]);
    assert_eq!(x.state(), TcpState::CloseWait);
    assert_eq!(x.recv(100), Ok("data and fin".into()));
}

/// conformance: 9293-MUST-22, 9293-MUST-23, 6298-2.1-initial, 6298-5.5-double
#[test]
fn an_unanswered_syn_is_tried_for_three_minutes() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
    let start = x.now;
    let mut times = Vec::new();
    while x.state() == TcpState::SynSent {
        x.wait(Duration::from_secs(1000));
        times.extend(x.out().iter().map(|_| x.now.since(start).as_secs()));
        let told = x.end.conn().soft_error().is_some();
        assert_eq!(told, times.len() >= 3 && x.state() == TcpState::SynSent, "R1 is told");
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 127, 247]);
    assert_eq!(x.recv(1), Err(Errno::ETIMEDOUT));
}

#[test]
fn an_unanswered_syn_ack_is_given_up_silently() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_received();
    let mut count = 0;
    while x.state() == TcpState::SynReceived {
        x.wait(Duration::from_secs(1000));
        count += x.out().len();
    }
    assert_eq!(count, 5);
}

/// conformance: 9293-3.10.2-syn
#[test]
fn data_sent_before_the_handshake_goes_after_it() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
    assert_eq!(x.send(b"early"), Ok(5));
    x.expect(&[]);
    x.peer("S.", 0, 1, "");
    x.expect(&["P. 1:6(5) ack 1"]);
}

/// conformance: 9293-3.10.4-syn-sent, 9293-3.10.5-listen
#[test]
fn close_and_abort_in_syn_sent_send_nothing() {
    for abort in [false, true] {
        let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
        if abort {
            x.abort()
        } else {
            x.close()
        }
        x.expect(&[]);
        assert_eq!((x.state(), x.end.conn().deadline()), (TcpState::Closed, None));
        let told = x.end.conn.as_mut().expect("still there").take_error();
        assert_eq!(told, abort.then_some(Errno::ECONNRESET), "whoever waits learns of a reset");
        x.peer("S.", 0, 1, "");
        assert_eq!(x.last_verdict, Verdict::Reset(Drop::Closed));
    }
}

/// conformance: 9293-3.10.4-syn-rcvd
#[test]
fn close_in_syn_received_is_not_forgotten() {
    let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
    x.peer("S", 0, 0, "");
    x.out();
    x.send(b"ab").expect("room");
    x.close();
    x.expect(&[]);
    x.peer(".", 1, 1, "");
    x.expect(&["FP. 1:4(2) ack 1"]);
    assert_eq!(x.state(), TcpState::FinWait1);
}

/// conformance: 5927-5.2-hard-sync, 9293-SHLD-26, 9293-MUST-56, 5927-4.1-seq-check
#[test]
fn hard_icmp_errors_end_only_attempts_to_open() {
    let icmp = |x: &mut Script, hard: bool, seq: u32| {
        x.end.call(x.now, |conn, env| {
            conn.on_icmp(
                env,
                Errno::ECONNREFUSED,
                hard,
                None,
                Some(SeqNumber(conn.view().iss.wrapping_add(seq))),
            )
        })
    };
    let mut x = Script::new(PeerSyn::PLAIN).syn_sent();
    assert!(!icmp(&mut x, true, 1), "not our SYN");
    assert!(icmp(&mut x, false, 0));
    assert_eq!((x.state(), x.end.conn().soft_error()), (TcpState::SynSent, Some(Errno::ECONNREFUSED)));
    assert!(icmp(&mut x, true, 0));
    assert_eq!(x.state(), TcpState::Closed);
    assert_eq!(x.recv(1), Err(Errno::ECONNREFUSED));
    let mut x = Script::new(PeerSyn::PLAIN).established();
    assert!(!icmp(&mut x, true, 1), "nothing in flight");
    x.send(b"abc").expect("room");
    x.out();
    assert!(icmp(&mut x, true, 1) && !icmp(&mut x, true, 4) && !icmp(&mut x, true, 0));
    assert_eq!((x.state(), x.end.conn().soft_error()), (TcpState::Established, Some(Errno::ECONNREFUSED)));
    x.peer(".", 1, 4, "");
    assert_eq!(x.end.conn().soft_error(), None, "progress clears it");
}

/// conformance: 9293-3.10.8-user-timeout, 9293-MUST-21
#[test]
fn the_users_patience_ends_in_every_state() {
    for state in [TcpState::SynSent, TcpState::Established, TcpState::FinWait1] {
        let mut x = Script::new(PeerSyn::PLAIN);
        x.settings.user_timeout = Duration::from_secs(3);
        x = if state == TcpState::SynSent { x.syn_sent() } else { x.established() };
        if state != TcpState::SynSent {
            x.send(b"abc").expect("room");
        }
        if state == TcpState::FinWait1 {
            x.shut_write();
        }
        x.out();
        let start = x.now;
        while x.state() != TcpState::Closed {
            x.wait(Duration::from_secs(100));
            x.out();
        }
        assert_eq!(x.now.since(start), Duration::from_secs(3), "{state}");
        assert_eq!(x.recv_flags(1, MsgFlags::empty()), Err(Errno::ETIMEDOUT));
        assert!(x.now.since(start) >= ms(3000));
    }
}
