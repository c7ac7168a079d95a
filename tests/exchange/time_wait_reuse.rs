//! TIME-WAIT: what does not end it (RFC 1337), and who may reopen it (RFC 6191, RFC 6528 §3).

use super::common::exchange::Setup;
use super::common::exchange::data::timestamps;
use super::common::{Errno, Exchange, ms, secs};
use std::net::SocketAddr;
use tunstack::host::{Domain, Opt, Type};

const PLAIN: &str = "mss 1460";

/// The stack has closed first: RCV.NXT is 2, SND.NXT is 2, and the listener is still there.
fn time_wait(options: &str) -> Exchange {
    let mut x = Setup::new().syn_options(options).established();
    x.close();
    x.stack("F. 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 2");
    x.peer("F. 1:1(0) ack 2");
    x.stack(". 2:2(0) ack 2");
    x.state_is("TIME-WAIT");
    x
}

/// The same; the last timestamp of the peer that counts is 5000.
fn time_wait_at_5000() -> Exchange {
    let mut x = Setup::new().syn_options("mss 1460,TS val 1000 ecr 0").established();
    x.close();
    x.stack("F. 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 2 <nop,nop,TS val 4999 ecr *>");
    x.peer("F. 1:1(0) ack 2 <nop,nop,TS val 5000 ecr *>");
    x.stack(". 2:2(0) ack 2");
    x.state_is("TIME-WAIT");
    x.quiet_for(secs(1));
    x
}

/// A SYN that begins at `offset` from the old ISN opens a new connection.
#[track_caller]
fn reopens(mut x: Exchange, offset: i64, options: &str) {
    let (isn, _) = x.initial_numbers();
    x.again(isn.wrapping_add(offset as u32));
    x.peer(&format!("S 0:0(0) <{options}>"));
    x.stack("S. 0:0(0) ack 1");
    x.state_is("SYN-RECEIVED");
    let stamped = options.contains("TS");
    x.peer(if stamped { ". 1:1(0) ack 1 <nop,nop,TS val 6000 ecr *>" } else { ". 1:1(0) ack 1" });
    x.accept();
    x.state_is("ESTABLISHED");
}

/// Such a SYN does not: the answer is an ACK with the old numbers (RFC 5961 §4.2), and TIME-WAIT goes on.
#[track_caller]
fn does_not_reopen(mut x: Exchange, offset: i64, options: &str) {
    x.peer(&format!("S {offset}:{offset}(0) <{options}>"));
    x.stack(". 2:2(0) ack 2");
    x.state_is("TIME-WAIT");
}

/// conformance: 6191-2-ts-equal
#[test]
fn with_an_equal_timestamp_the_number_decides() {
    reopens(time_wait_at_5000(), 2, "mss 1460,TS val 5000 ecr 0");
    does_not_reopen(time_wait_at_5000(), 1, "mss 1460,TS val 5000 ecr 0");
    does_not_reopen(time_wait_at_5000(), -1000, "mss 1460,TS val 5000 ecr 0");
}

/// conformance: 6191-2-ts-missing
#[test]
fn without_timestamps_after_an_old_connection_with_them_the_number_decides() {
    reopens(time_wait_at_5000(), 2, PLAIN);
    does_not_reopen(time_wait_at_5000(), 1, PLAIN);
}

/// conformance: 6191-2-nots-nots
#[test]
fn without_any_timestamps_the_number_decides() {
    reopens(time_wait(PLAIN), 2, PLAIN);
    reopens(time_wait(PLAIN), 1_000_000, PLAIN);
    does_not_reopen(time_wait(PLAIN), 1, PLAIN);
    does_not_reopen(time_wait(PLAIN), -1_000_000, PLAIN);
}

/// conformance: 6191-2-new-iss
#[test]
fn the_new_iss_lies_above_what_the_old_connection_used() {
    for seed in 1..=10 {
        let mut x = Setup::new().seed(seed).syn_options("mss 1460,nop,wscale 7").established();
        let (isn, old) = x.initial_numbers();
        // The old connection outran the clock of initial numbers (250 per millisecond).
        x.write_octets(14_600);
        x.ignore();
        x.peer(". 1:1(0) ack 14601");
        x.close();
        x.stack("F. 14601:14601(0) ack 1");
        x.peer("F. 1:1(0) ack 14602");
        x.stack(". 14602:14602(0) ack 2");
        x.state_is("TIME-WAIT");
        x.again(isn.wrapping_add(1000));
        x.peer("S 0:0(0) <mss 1460>");
        let answer = x.stack("S. 0:0(0) ack 1");
        assert!((answer.seq.wrapping_sub(old.wrapping_add(14_602)) as i32) > 0, "seed {seed}");
    }
}

/// A host with a socket bound to port 5000 that connects; gives the SYN. The peer refuses.
fn connect_from_5000(x: &mut Exchange) -> (u32, u32) {
    let local: SocketAddr = "10.9.0.2:5000".parse().expect("an address");
    let remote: SocketAddr = "10.9.0.1:80".parse().expect("an address");
    let id = x.user("socket, bind, connect", |host, now| {
        let id = host.socket(Domain::Inet, Type::Stream).expect("a socket");
        host.set_option(now, id, Opt::ReuseAddr(true)).expect("an option");
        host.bind(id, local).expect("a free port");
        assert_eq!(host.connect(now, id, Some(remote)), Err(Errno::EINPROGRESS));
        id
    });
    let packet = x.next();
    let syn = packet.tcp().expect("a SYN").clone();
    let mut refusal = super::common::packet::Tcp {
        src_port: 80,
        dst_port: 5000,
        ack: syn.seq.wrapping_add(1),
        flags: super::common::packet::RST | super::common::packet::ACK,
        ..Default::default()
    };
    refusal.window = 0;
    let bytes = super::common::packet::tcp(remote.ip(), local.ip(), &refusal);
    x.inject(&bytes);
    x.user("close", |host, now| host.close(now, id)).expect("a socket");
    (syn.seq, timestamps(&syn).expect("offered").0)
}

/// conformance: 6191-3-monotonic-ts, 7323-5.4-offset
#[test]
fn the_next_connection_of_the_same_ends_has_larger_timestamps() {
    let mut x = Setup::new().closed();
    let mut last = connect_from_5000(&mut x).1;
    for wait in [ms(5), ms(700), secs(100)] {
        x.quiet_for(wait);
        let value = connect_from_5000(&mut x).1;
        assert_eq!(u64::from(value.wrapping_sub(last)), wait.as_millis());
        last = value;
    }
}

/// conformance: 6528-3-monotonic
#[test]
fn initial_numbers_of_the_same_ends_follow_the_clock() {
    let mut x = Setup::new().closed();
    let first = connect_from_5000(&mut x).0;
    x.quiet_for(secs(2));
    let second = connect_from_5000(&mut x).0;
    assert_eq!(second.wrapping_sub(first), 500_000, "a step every 4 µs");
    // Another host, other numbers.
    let mut y = Setup::new().seed(2).closed();
    assert!(connect_from_5000(&mut y).0.abs_diff(first) > 1000);
}

/// Connects from port 5000, closes first, and leaves the connection in TIME-WAIT; the last word of the peer is one second old.
fn closed_from_5000(options: &str, reuse: u32) -> Exchange {
    let mut x = Setup::new().config(|config| config.tcp_tw_reuse = reuse).closed();
    x.bind_and_connect(5000, true).stack("S 0:0(0)");
    x.peer(&format!("S. 0:0(0) ack 1 <{options}>")).stack(". 1:1(0) ack 1");
    // Its numbers are ahead of the clock of initial numbers.
    x.write_octets(14_000).ignore().peer(". 1:1(0) ack 14001");
    x.close().stack("F. 14001:14001(0) ack 1");
    x.peer("F. 1:1(0) ack 14002").stack(". 14002:14002(0) ack 2");
    x.state_is("TIME-WAIT").quiet_for(secs(1));
    x
}

const STAMPED: &str = "mss 1460,TS val * ecr *";

/// conformance: 6191-2-new-iss, 6191-3-monotonic-ts
#[test]
fn with_timestamps_our_own_connect_may_take_its_place_a_second_later() {
    let mut x = closed_from_5000(STAMPED, 1);
    let (_, old) = x.initial_numbers();
    let attempt = |x: &mut Exchange| {
        x.fresh();
        x.try_connect_from(5000)
    };
    assert_eq!(attempt(&mut x), Err(Errno::EADDRNOTAVAIL), "its timestamps have not moved on");
    x.quiet_for(ms(1)).again(5_000_000);
    assert_eq!(attempt(&mut x), Err(Errno::EINPROGRESS));
    let syn = x.stack("S 0:0(0) <mss 1460,sackOK,TS val * ecr 0,...>");
    assert!((1..1 << 31).contains(&syn.seq.wrapping_sub(old.wrapping_add(14_002))), "above all old numbers");
    x.peer(&format!("S. 0:0(0) ack 1 <{STAMPED}>")).stack(". 1:1(0) ack 1");
    assert_eq!(x.counter("TcpExtTWRecycled"), 1);
}

#[test]
fn otherwise_its_ports_stay_taken() {
    for (options, reuse) in [(STAMPED, 0), (STAMPED, 2), ("mss 1460", 1)] {
        let mut x = closed_from_5000(options, reuse);
        x.quiet_for(secs(30)).fresh();
        assert_eq!(x.try_connect_from(5000), Err(Errno::EADDRNOTAVAIL), "{options}, tcp_tw_reuse {reuse}");
        x.state_is("TIME-WAIT");
    }
}
