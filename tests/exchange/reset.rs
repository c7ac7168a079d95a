//! Resets and blind attacks: RFC 9293 §3.5, §3.10.5, §3.10.7.4; RFC 5961.

use crate::common::exchange::{Exchange, Setup};
use crate::common::{Errno, ms, secs};
use tunstack::base::Duration;
use tunstack::host::{Opt, Readiness, Shutdown};
use tunstack::trace::TcpState;

const SYNCHRONIZED: [TcpState; 7] = [
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::Closing,
    TcpState::LastAck,
    TcpState::TimeWait,
];

/// conformance: 9293-3.10.7.4-rst-estab, 9293-3.10.7.4-rst-exact
#[test]
fn a_reset_ends_every_call_once_and_says_nothing() {
    for state in [TcpState::Established, TcpState::FinWait1, TcpState::FinWait2] {
        let (mut x, place) = Setup::new().in_state(state);
        let n = place.rcv_nxt;
        x.peer(&format!("R {n}:{n}(0)")).quiet().state_is("CLOSED");
        assert!(x.ready().contains(Readiness::ERROR | Readiness::HANGUP | Readiness::READABLE), "{state}");
        x.read_fails(Errno::ECONNRESET).reads_end().write_fails(Errno::EPIPE);
        x.quiet_for(secs(300));
    }
    // After the peer's FIN the reader had its end already: Linux says EPIPE then.
    let (mut x, place) = Setup::new().in_state(TcpState::CloseWait);
    let n = place.rcv_nxt;
    x.peer(&format!("R {n}:{n}(0)")).quiet().state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::EPIPE));
    x.reads_end().write_fails(Errno::EPIPE).quiet_for(secs(300));
}

/// conformance: 9293-3.10.7.4-rst-late
#[test]
fn a_late_reset_closes_quietly() {
    for state in [TcpState::Closing, TcpState::LastAck] {
        let (mut x, _) = Setup::new().in_state(state);
        x.peer("R 12:12(0)").quiet().state_is("CLOSED").quiet_for(secs(300));
        assert_eq!(x.error(), None, "{state:?}");
        // The ends are free for the next connection.
        x.again(5_000_000).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    }
}

/// conformance: 1337-F1-ignore-rst
#[test]
fn time_wait_is_not_assassinated() {
    let (mut x, _) = Setup::new().in_state(TcpState::TimeWait);
    x.peer("R 12:12(0)").peer("R. 12:12(0) ack 2").quiet().state_is("TIME-WAIT");
}

/// conformance: 1337-hazard-old-dup
#[test]
fn an_old_duplicate_and_the_reset_it_provokes_leave_time_wait_alone() {
    let (mut x, _) = Setup::new().in_state(TcpState::TimeWait);
    x.peer("P. 1:11(10) ack 1").stack(". 2:2(0) ack 12");
    x.peer("R 12:12(0)").quiet().state_is("TIME-WAIT");
}

/// conformance: 9293-SHLD-2
#[test]
fn a_reset_may_carry_text() {
    let mut x = Exchange::established();
    x.peer("R 1:21(20)").quiet().read_fails(Errno::ECONNRESET);
}

/// conformance: 9293-3.10.7.4-rst-outside, 9293-3.10.7.4-rst-inwindow, 5961-3.2-rst, 5961-3.2-challenge-seq
#[test]
fn of_all_sequence_numbers_one_resets() {
    for state in SYNCHRONIZED {
        let (mut x, place) =
            Setup::new().config(|config| config.tcp_invalid_ratelimit = Duration::ZERO).in_state(state);
        let (n, edge, nxt) = (place.rcv_nxt, place.edge, place.snd_nxt);
        for seq in [n - 1, n - 1000, edge, edge + 1, n + (1 << 30), n - (1 << 30)] {
            x.peer(&format!("R {seq}:{seq}(0)")).quiet();
        }
        if state != TcpState::TimeWait {
            for seq in [n + 1, n + 1000, edge - 1] {
                x.peer(&format!("R {seq}:{seq}(0)")).stack(&format!(". {nxt}:{nxt}(0) ack {n}"));
            }
        }
        x.state_is(state.name());
    }
}

/// conformance: 5961-3.2-legit, 9293-3.5.1-half-open
#[test]
fn a_peer_that_lost_its_state_resets_after_the_challenge() {
    let mut x = Exchange::established();
    x.peer("S 5000:5000(0) <mss 1460>").stack(". 1:1(0) ack 1");
    x.state_is("ESTABLISHED").peer("R 1:1(0)").quiet();
    x.read_fails(Errno::ECONNRESET);
}

/// conformance: 9293-3.10.7.4-syn-sync, 5961-4.2-syn
#[test]
fn a_syn_never_ends_a_connection() {
    for state in SYNCHRONIZED {
        let (mut x, place) =
            Setup::new().config(|config| config.tcp_invalid_ratelimit = Duration::ZERO).in_state(state);
        let (n, nxt) = (place.rcv_nxt, place.snd_nxt);
        let challenge = format!(". {nxt}:{nxt}(0) ack {n}");
        // A new SYN may reopen TIME-WAIT; an old one may not.
        let numbers = if state == TcpState::TimeWait {
            vec![n - 1, n - 5000]
        } else {
            vec![n, n + 9, n - 5000, n + (1 << 30)]
        };
        for seq in numbers {
            x.peer(&format!("S {seq}:{seq}(0)")).stack(&challenge);
            x.peer(&format!("S {seq}:{}(9)", seq + 9)).stack(&challenge);
            x.peer(&format!("S. {seq}:{seq}(0) ack {nxt}")).stack(&challenge);
        }
        x.state_is(state.name());
    }
}

/// conformance: 9293-3.5.2-group3-ack, 9293-3.10.7.4-unacceptable-ack
#[test]
fn data_outside_the_window_gets_one_ack_in_every_state() {
    for state in SYNCHRONIZED {
        let (mut x, place) = Setup::new().in_state(state);
        let (n, beyond, nxt) = (place.rcv_nxt, place.edge + 1, place.snd_nxt);
        let ack = format!(". {nxt}:{nxt}(0) ack {n}");
        x.peer(&format!("P. {beyond}:{}(10) ack {nxt}", beyond + 10)).stack(&ack);
        x.state_is(state.name());
    }
}

/// conformance: 5961-7-throttle, 9293-3.10.7.4-rst-inwindow
#[test]
fn challenges_are_rationed() {
    let mut x = Exchange::established();
    let mut answers = 0;
    for i in 0..1000 {
        x.after(ms(1)).peer(&format!("R {}:{}(0)", 10 + i, 10 + i));
        while x.try_next().is_some() {
            answers += 1;
        }
    }
    assert!((1..=10).contains(&answers), "{answers} challenges in a second");
    x.state_is("ESTABLISHED");
}

/// conformance: 5961-7-tunable
#[test]
fn the_ration_of_all_connections_together_can_be_set() {
    for limit in [0, 1, 5, 20] {
        let mut x = Setup::new()
            .config(|config| {
                config.tcp_challenge_ack_limit = limit;
                config.tcp_invalid_ratelimit = Duration::ZERO;
            })
            .established();
        let mut answers = 0;
        for i in 0..100 {
            x.peer(&format!("R {}:{}(0)", 10 + i, 10 + i));
            while x.try_next().is_some() {
                answers += 1;
            }
        }
        assert_eq!(answers, limit);
        let skipped = x.host.counters().tcp_ext_ack_skipped_challenge;
        assert_eq!(skipped, u64::from(100 - limit));
    }
}

/// conformance: 9293-3.10.7.4-ack-future
#[test]
fn what_acks_the_future_is_answered_and_dropped() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 2").stack(". 1:1(0) ack 1");
    x.reads_nothing();
}

/// conformance: 9293-MAY-12
#[test]
fn what_acks_the_distant_past_is_challenged() {
    let mut x = Setup::new().window(1000).established();
    x.write_octets(500).stack("P. 1:501(500) ack 1");
    x.peer("P. 1:11(10) ack -1100").stack(". 501:501(0) ack 1");
    x.reads_nothing().peer("P. 1:11(10) ack -400").reads(10);
}

/// conformance: 9293-3.10.7.4-noack
#[test]
fn a_segment_without_ack_is_dropped() {
    let mut x = Exchange::established();
    x.peer("P 1:11(10)").peer("F 1:1(0)").peer("- 1:11(10)").quiet_for(secs(1));
    x.reads_nothing().state_is("ESTABLISHED");
    x.peer("P. 1:11(10) ack 1").reads(10);
    x.ignore();
}

/// conformance: 9293-MUST-3
#[test]
fn a_bad_checksum_is_thrown_away_unanswered() {
    for v6 in [false, true] {
        let mut x = if v6 { Setup::new().v6() } else { Setup::new() }.established();
        for kind in ["P. 1:11(10) ack 1", "R 1:1(0)", "F. 1:1(0) ack 1"] {
            let mut bytes = x.peer_bytes(kind);
            let last = bytes.len() - 1;
            bytes[last] ^= 0x10;
            x.inject(&bytes).quiet_for(secs(1));
        }
        assert_eq!(x.host.counters().tcp_in_csum_errors, 3);
        x.reads_nothing().peer("P. 1:11(10) ack 1").reads(10);
        x.after(ms(40)).stack(". 1:1(0) ack 11");
    }
}

/// conformance: 9293-3.10.5-sync
#[test]
fn abort_sends_one_reset_where_the_peer_believes_it() {
    for (state, expected) in [
        (TcpState::Established, "R. 5:5(0) ack 11"),
        (TcpState::FinWait1, "R. 2:2(0) ack 11"),
        (TcpState::FinWait2, "R. 2:2(0) ack 11"),
        (TcpState::CloseWait, "R. 5:5(0) ack 12"),
    ] {
        let (mut x, _) = Setup::new().in_state(state);
        x.abort().stack(expected);
        x.quiet_for(secs(300)).state_is("CLOSED");
    }
    let mut x = Exchange::connecting();
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.abort().stack("R. 1:1(0) ack 1");
    x.quiet_for(secs(300));
}

/// conformance: 9293-3.10.5-sync
#[test]
fn close_with_a_linger_time_of_zero_resets() {
    for (state, expected) in [
        (TcpState::Established, "R. 5:5(0) ack 11"),
        (TcpState::FinWait1, "R. 2:2(0) ack 11"),
        (TcpState::FinWait2, "R. 2:2(0) ack 11"),
        (TcpState::CloseWait, "R. 5:5(0) ack 12"),
    ] {
        let (mut x, _) = Setup::new().in_state(state);
        x.set(Opt::Linger(Some(Duration::ZERO))).close().stack(expected);
        x.quiet_for(secs(300)).state_is("CLOSED");
    }
}

/// conformance: 9293-3.10.5-listen
#[test]
fn abort_before_the_handshake_sends_nothing() {
    let mut x = Exchange::connecting();
    x.abort().quiet_for(secs(300)).state_is("CLOSED");
}

/// conformance: 9293-3.10.5-late
#[test]
fn abort_at_the_end_frees_silently() {
    for state in [TcpState::Closing, TcpState::LastAck, TcpState::TimeWait] {
        let (mut x, _) = Setup::new().in_state(state);
        x.abort();
        if state == TcpState::TimeWait {
            x.quiet();
        }
        x.ignore().quiet_for(secs(300)).state_is("CLOSED");
    }
}

/// conformance: 9293-MUST-66
#[test]
fn a_reset_counts_while_the_window_is_zero() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    x.fill_window();
    let n = x.edge.expect("it has said so");
    x.peer(&format!("R {n}:{n}(0)")).quiet().state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::ECONNRESET));
}

/// The answer to a segment of a closed connection is a bare reset, also when the segment closes.
/// conformance: 9293-3.10.8-time-wait
#[test]
fn after_the_end_everything_is_answered_as_closed() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.peer("F. 1:1(0) ack 2").stack(". 2:2(0) ack 2");
    x.quiet_for(secs(61)).state_is("CLOSED");
    x.peer("F. 1:1(0) ack 2").stack("R 2:2(0)");
}
