//! Defence against blind attacks (RFC 5961): resets, SYNs, ACKs and FINs of somebody who guesses.

use super::common::exchange::Setup;
use super::common::{Exchange, ms, secs};
use tunstack::host::Shutdown;

/// Established, and every answer to an invalid segment is given (no rate limit per connection).
fn unlimited() -> Exchange {
    Setup::new().quick().config(|c| c.tcp_invalid_ratelimit = ms(0)).established()
}

/// What leads to each synchronized state: name, and the dialogue there. RCV.NXT is 1 or 2, SND.NXT 1 or 2.
fn synchronized() -> Vec<(&'static str, i64, i64, Exchange)> {
    let established = unlimited();
    let mut fin_wait_1 = unlimited();
    fin_wait_1.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    let mut fin_wait_2 = unlimited();
    fin_wait_2.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    fin_wait_2.peer(". 1:1(0) ack 2");
    let mut close_wait = unlimited();
    close_wait.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    let mut closing = unlimited();
    closing.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    closing.peer("F. 1:1(0) ack 1").stack(". 2:2(0) ack 2");
    let mut last_ack = unlimited();
    last_ack.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    last_ack.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 2");
    vec![
        ("ESTABLISHED", 1, 1, established),
        ("FIN-WAIT-1", 2, 1, fin_wait_1),
        ("FIN-WAIT-2", 2, 1, fin_wait_2),
        ("CLOSE-WAIT", 1, 2, close_wait),
        ("CLOSING", 2, 2, closing),
        ("LAST-ACK", 2, 2, last_ack),
    ]
}

/// conformance: 5961-3.2-rst
#[test]
fn in_every_synchronized_state_only_rcv_nxt_resets() {
    for (state, snd_nxt, rcv_nxt, mut x) in synchronized() {
        x.state_is(state);
        x.peer(&format!("R {}:{}(0)", rcv_nxt - 1, rcv_nxt - 1)).quiet();
        x.state_is(state);
        x.peer(&format!("R. {}:{}(0) ack {snd_nxt}", rcv_nxt + 1, rcv_nxt + 1));
        x.stack(&format!(". {snd_nxt}:{snd_nxt}(0) ack {rcv_nxt}"));
        x.state_is(state);
        x.peer(&format!("R {rcv_nxt}:{rcv_nxt}(0)"));
        x.state_is("CLOSED");
    }
}

/// conformance: 5961-3.2-challenge-seq
#[test]
fn a_challenge_has_snd_nxt_and_rcv_nxt() {
    let mut x = unlimited();
    x.peer("P. 1:11(10) ack 1");
    x.stack(". 1:1(0) ack 11");
    x.write(b"data");
    x.stack("P. 1:5(4) ack 11"); // in flight: SND.UNA is not SND.NXT
    x.peer("R 12:12(0)");
    x.stack(". 5:5(0) ack 11");
    let mut x = Setup::new().modern(7).established();
    x.peer("R 2:2(0) <>");
    x.stack(". 1:1(0) ack 1 <nop,nop,TS val * ecr *>");
}

/// conformance: 5961-4.2-syn
#[test]
fn a_syn_is_challenged_whatever_its_number() {
    for (state, snd_nxt, rcv_nxt, mut x) in synchronized() {
        for seq in [rcv_nxt - 1, rcv_nxt, rcv_nxt + 1, 5000, 5_000_000, -5_000_000, 1 << 31] {
            for text in [format!("S {seq}:{seq}(0)"), format!("S. {seq}:{seq}(0) ack {snd_nxt}")] {
                x.peer(&text);
                x.stack(&format!(". {snd_nxt}:{snd_nxt}(0) ack {rcv_nxt}"));
                x.state_is(state);
            }
        }
        x.ignore();
    }
}

/// A peer that restarted learns by the challenge that the old connection is there, ends it and comes back.
///
/// conformance: 5961-4.2-syn, 5961-3.2-legit
#[test]
fn a_restarted_peer_gets_through() {
    let mut x = unlimited();
    let (old_isn, _) = x.initial_numbers();
    x.peer("S 7777:7777(0) <mss 1460>");
    x.stack(". 1:1(0) ack 1");
    x.peer("R 1:1(0)");
    x.state_is("CLOSED");
    x.quiet_for(ms(1));
    x.again(old_isn.wrapping_add(7777));
    x.peer("S 0:0(0) <mss 1460>");
    x.stack("S. 0:0(0) ack 1");
}

/// conformance: 5961-5.2-ack-range
#[test]
fn an_ack_too_old_or_from_the_future_is_answered_and_its_data_dropped() {
    // The largest window of the peer is 1000 octets; 5000 octets were acknowledged.
    let mut x = Setup::new()
        .window(1000)
        .config(|c| c.tcp_invalid_ratelimit = ms(0))
        .syn_options("mss 500")
        .listening();
    x.peer("S 0:0(0) win 1000 <mss 500>");
    x.stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1");
    x.accept();
    for i in 0..5 {
        x.write_octets(1000);
        x.sends(1000 * i + 1, 2, 500);
        x.peer(&format!(". 1:1(0) ack {}", 1000 * i + 1001));
    }
    for ack in [5001 - 1001, 5001 - 1_000_000, 5002, 1_000_000] {
        x.peer(&format!("P. 1:11(10) ack {ack}"));
        x.stack(". 5001:5001(0) ack 1");
        x.reads_nothing();
        x.state_is("ESTABLISHED");
    }
    // The oldest that is allowed: data counts, the number moves nothing.
    x.peer(&format!("P. 1:11(10) ack {}", 5001 - 1000));
    x.stack(". 5001:5001(0) ack 11");
    x.reads(10);
}

/// conformance: 5961-5.2-fin
#[test]
fn a_fin_with_an_impossible_ack_ends_nothing() {
    for ack in [500_000, -500_000] {
        let mut x = unlimited();
        x.peer(&format!("F. 1:1(0) ack {ack}"));
        x.stack(". 1:1(0) ack 1");
        x.reads_nothing();
        x.state_is("ESTABLISHED");
    }
}

/// A thousand resets inside the window, one per millisecond: the answers to them.
fn challenges_in_a_second(x: &mut Exchange) -> usize {
    let mut answers = 0;
    for i in 0..1000 {
        x.peer(&format!("R {}:{}(0)", 2 + i, 2 + i));
        answers += usize::from(x.try_next().is_some());
        x.quiet_for(ms(1));
    }
    answers
}

/// conformance: 5961-7-throttle, 5961-7-tunable
#[test]
fn challenges_are_limited_and_the_limits_can_be_set() {
    let mut x = Exchange::established();
    assert_eq!(challenges_in_a_second(&mut x), 2, "one per 500 ms by default");
    assert!(x.counter("TcpExtTCPACKSkippedChallenge") >= 998);
    let mut x = Setup::new().config(|c| c.tcp_invalid_ratelimit = ms(100)).established();
    assert_eq!(challenges_in_a_second(&mut x), 10);
    // The limit of the host as a whole.
    let mut x = Setup::new()
        .config(|c| {
            c.tcp_invalid_ratelimit = ms(0);
            c.tcp_challenge_ack_limit = 20;
        })
        .established();
    let answers = challenges_in_a_second(&mut x);
    assert!((15..=41).contains(&answers), "{answers} with a limit of 20 per second");
}

/// SYNs and ACKs from outside come under the same limit.
///
/// conformance: 5961-7-throttle
#[test]
fn every_kind_of_challenge_is_limited() {
    for text in ["S 5000:5000(0)", "S. 0:0(0) ack 1", "R 2:2(0)", ". 1:1(0) ack 500000"] {
        let mut x = Exchange::established();
        let mut answers = 0;
        for _ in 0..100 {
            x.peer(text);
            answers += usize::from(x.try_next().is_some());
            x.quiet_for(ms(5));
        }
        assert!(answers <= 2, "{answers} answers to  {text}");
        assert!(answers >= 1, "no answer to  {text}");
    }
}

/// conformance: 5961-7-per-conn
#[test]
fn an_exhausted_connection_leaves_the_others_their_answers() {
    let mut x = Setup::new().listening();
    for port in [40_001, 40_002] {
        x.on_port(port);
        x.peer("S 0:0(0) <mss 1460>");
        x.stack("S. 0:0(0) ack 1");
        x.peer(". 1:1(0) ack 1");
        x.accept();
    }
    x.on_port(40_001);
    x.peer("R 2:2(0)");
    x.stack(". 1:1(0) ack 1");
    (0..50).for_each(|_| {
        x.peer("R 2:2(0)").quiet();
    });
    x.on_port(40_002);
    x.peer("R 2:2(0)");
    x.stack(". 1:1(0) ack 1");
}

/// Two ends out of step answer each other's answers: this one is bounded.
///
/// conformance: 5961-7-ack-loop
#[test]
fn segments_outside_the_window_do_not_make_a_loop() {
    let mut x = Setup::new().quick().established();
    let mut answers = 0;
    for _ in 0..1000 {
        x.peer(". 900000:900000(0) ack 1");
        answers += usize::from(x.try_next().is_some());
        x.quiet_for(ms(1));
    }
    assert!((1..=3).contains(&answers), "{answers} answers in a second");
    // Later the connection is as it was.
    x.quiet_for(secs(1));
    x.peer("P. 1:11(10) ack 1");
    x.stack(". 1:1(0) ack 11");
    x.reads(10);
}
