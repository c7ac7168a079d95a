//! TIME-WAIT: how long, what it answers, and how it is reopened (RFC 9293 §3.6.1, RFC 6191).

use crate::common::exchange::{Exchange, Setup};
use crate::common::secs;
use tunstack::host::Shutdown;
use tunstack::trace::TcpState;

fn time_wait() -> Exchange {
    Setup::new().in_state(TcpState::TimeWait).0
}

/// conformance: 9293-MUST-13, 9293-3.10.8-time-wait
#[test]
fn it_lasts_two_msl() {
    let mut x = time_wait();
    x.quiet_for(secs(59)).state_is("TIME-WAIT");
    x.quiet_for(secs(2)).state_is("CLOSED");
    x.peer(". 12:12(0) ack 2").stack("R 2:2(0)");
    let mut x =
        Setup::new().config(|config| config.tcp_timewait_len = secs(240)).in_state(TcpState::TimeWait).0;
    x.quiet_for(secs(239)).state_is("TIME-WAIT");
    x.quiet_for(secs(2)).state_is("CLOSED");
}

/// conformance: 9293-3.10.7.4-ack-timewait, 9293-3.10.7.4-fin-timewait
#[test]
fn a_repeated_fin_is_acked_and_starts_it_anew() {
    let mut x = time_wait();
    x.after(secs(30)).peer("F. 11:11(0) ack 2").stack(". 2:2(0) ack 12");
    x.quiet_for(secs(59)).state_is("TIME-WAIT");
    x.quiet_for(secs(2)).state_is("CLOSED");
}

/// conformance: 9293-MAY-2, 6191-2-nots-nots, 6191-2-new-iss
#[test]
fn a_new_syn_reopens_it_above_all_old_numbers() {
    let mut x = time_wait();
    let (old_iss, old_irs) = x.isns_of_flow();
    x.peer("S 1:1(0) <mss 1460>").ignore().state_is("TIME-WAIT"); // an old duplicate
    x.again(old_irs.wrapping_add(5000)).peer("S 0:0(0) <mss 1460>");
    x.stack("S. 0:0(0) ack 1");
    let iss = x.isns_of_flow().0;
    assert!((1..1 << 31).contains(&iss.wrapping_sub(old_iss.wrapping_add(2))), "{iss} after {old_iss}");
    x.peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED");
    x.write(b"new").stack("P. 1:4(3) ack 1");
}

fn modern_time_wait() -> Exchange {
    Setup::new().modern(7).in_state(TcpState::TimeWait).0
}

/// conformance: 9293-SHLD-4, 6191-2-ts-greater
#[test]
fn a_greater_timestamp_reopens_it_whatever_the_sequence_number() {
    let mut x = modern_time_wait();
    let old_irs = x.isns_of_flow().1;
    x.after(secs(1)).again(old_irs.wrapping_sub(5000)).peer("S 0:0(0) <mss 1460,sackOK,TS val * ecr 0>");
    x.stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED");
}

/// conformance: 7323-5.3-r1
#[test]
fn an_old_fin_is_acked_and_does_not_start_it_anew() {
    let mut x = modern_time_wait();
    let now = x.peer_clock();
    let fin = |clock: u32| format!("F. 11:11(0) ack 2 <nop,nop,TS val {clock} ecr *>");
    let ack = |clock: u32| format!(". 2:2(0) ack 12 <nop,nop,TS val * ecr {clock}>");
    x.after(secs(30)).peer(&fin(now.wrapping_sub(1))).stack(&ack(now));
    x.quiet_for(secs(29)).state_is("TIME-WAIT");
    x.quiet_for(secs(2)).state_is("CLOSED");
    // One that is not old is believed, and so is its timestamp.
    let mut x = modern_time_wait();
    let now = x.peer_clock();
    x.after(secs(30)).peer(&fin(now.wrapping_add(5))).stack(&ack(now.wrapping_add(5)));
    x.quiet_for(secs(59)).state_is("TIME-WAIT");
    x.quiet_for(secs(2)).state_is("CLOSED");
}

/// conformance: 6191-2-ts-equal
#[test]
fn an_equal_timestamp_reopens_it_only_with_a_greater_sequence_number() {
    for (offset, reopens) in [(-5000i32, false), (5000, true)] {
        let mut x = modern_time_wait();
        let (old_irs, clock) = (x.isns_of_flow().1, x.peer_clock());
        x.after(secs(1)).again(old_irs.wrapping_add(offset as u32));
        x.peer(&format!("S 0:0(0) <mss 1460,sackOK,TS val {clock} ecr 0>"));
        let answer = x.next().tcp().cloned().expect("TCP");
        assert_eq!(answer.has(crate::common::packet::SYN), reopens);
    }
}

/// conformance: 6191-2-ts-missing
#[test]
fn a_syn_without_the_timestamps_of_before_needs_a_greater_sequence_number() {
    for (offset, reopens) in [(-5000i32, false), (5000, true)] {
        let mut x = modern_time_wait();
        let old_irs = x.isns_of_flow().1;
        x.after(secs(1)).again(old_irs.wrapping_add(offset as u32)).peer("S 0:0(0) <mss 1460>");
        let answer = x.next().tcp().cloned().expect("TCP");
        assert_eq!(answer.has(crate::common::packet::SYN), reopens);
    }
}

/// conformance: 6191-2-nots-newts
#[test]
fn timestamps_that_were_not_there_before_reopen_it() {
    let mut x = time_wait();
    let old_irs = x.isns_of_flow().1;
    x.again(old_irs.wrapping_sub(5000))
        .peer("S 0:0(0) <mss 1460,sackOK,TS val 7 ecr 0>")
        .stack("S. 0:0(0) ack 1");
}

/// conformance: 6191-2-else-drop
#[test]
fn any_other_syn_is_challenged_and_it_stays() {
    let mut x = time_wait();
    x.peer("S -5000:-5000(0) <mss 1460>").stack(". 2:2(0) ack 12");
    x.state_is("TIME-WAIT");
}

/// conformance: 6191-3-monotonic-ts, 6528-3-monotonic
#[test]
fn the_next_connection_between_the_same_ports_has_later_numbers() {
    let mut x = Setup::new().closed();
    let mut last: Option<(u32, u32)> = None;
    for round in 0..3 {
        x.again(1_000_000 + round).bind_and_connect(4000, true);
        let syn = x.stack("S 0:0(0) <mss 1460,sackOK,TS val * ecr 0,...>");
        let clock = syn.walk().expect("legal").iter().find_map(|o| match o {
            crate::common::packet::TcpOption::Timestamps(value, _) => Some(*value),
            _ => None,
        });
        let clock = clock.expect("timestamps");
        if let Some((seq, before)) = last {
            assert!((1..1 << 31).contains(&syn.seq.wrapping_sub(seq)), "ISN {} after {seq}", syn.seq);
            assert!((1..1 << 31).contains(&clock.wrapping_sub(before)), "TSval {clock} after {before}");
        }
        last = Some((syn.seq, clock));
        x.abort().quiet_for(secs(1));
    }
}

/// Small records, a bounded number of them: the oldest go first.
#[test]
fn their_number_is_bounded() {
    let mut x = Setup::new().config(|config| config.tcp_max_tw_buckets = 2).listening();
    for port in [41_001, 41_002, 41_003] {
        x.on_port(port).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
        x.peer(". 1:1(0) ack 1").accept();
        x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
        x.peer("F. 1:1(0) ack 2").stack(". 2:2(0) ack 2");
        x.close().quiet();
    }
    x.on_port(41_001).state_is("CLOSED");
    x.on_port(41_002).state_is("TIME-WAIT");
    x.on_port(41_003).state_is("TIME-WAIT");
    assert_eq!(x.host.counters().tcp_ext_time_wait_overflow, 1);
}
