//! ICMP errors about connections: hard and soft, path MTU, and forgeries (RFC 9293 §3.9.2.2, RFC 5927, RFC 6633).

use crate::common::exchange::{Exchange, Setup};
use crate::common::packet;
use crate::common::{Errno, ms, secs};
use std::net::SocketAddr;
use tunstack::host::{Domain, MsgFlags, Opt, Type};

/// Types and codes of soft errors, by family (RFC 9293 §3.9.2.2).
const SOFT_V4: [(u8, u8); 6] = [(3, 0), (3, 1), (3, 5), (11, 0), (11, 1), (12, 0)];
const SOFT_V6: [(u8, u8); 7] = [(1, 0), (1, 3), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)];
const HARD_V4: [(u8, u8); 2] = [(3, 2), (3, 3)];
const HARD_V6: [(u8, u8); 2] = [(1, 1), (1, 4)];

fn in_flight(v6: bool) -> Exchange {
    let setup = if v6 { Setup::new().v6() } else { Setup::new() };
    let mut x = setup.established();
    x.write(b"data").stack("P. 1:5(4) ack 1");
    x
}

/// conformance: 9293-MUST-56, 5927-5.2-hard-sync, 1122-3.2.2.1-hint
#[test]
fn no_error_ends_an_established_connection() {
    for (v6, errors) in
        [(false, [&SOFT_V4[..], &HARD_V4].concat()), (true, [&SOFT_V6[..], &HARD_V6].concat())]
    {
        for (kind, code) in errors {
            let mut x = in_flight(v6);
            x.peer_icmp(kind, code, 0, "P. 1:5(4) ack 1").quiet().state_is("ESTABLISHED");
            x.peer("P. 1:4(3) ack 5").reads(3);
            x.after(ms(40)).stack(". 5:5(0) ack 4");
        }
    }
}

/// Unknown types and codes are harmless too.
#[test]
fn no_icmp_message_at_all_ends_an_established_connection() {
    for kind in 0..=40 {
        for code in [0, 1, 7, 13, 255] {
            if kind == 8 || (kind, code) == (3, 4) {
                continue;
            }
            let mut x = in_flight(false);
            x.peer_icmp(kind, code, 0, "P. 1:5(4) ack 1").ignore().state_is("ESTABLISHED");
        }
    }
}

/// conformance: 9293-MUST-47, 9293-SHLD-25
#[test]
fn a_soft_error_can_be_read_while_the_connection_goes_on() {
    let mut x = in_flight(false);
    x.set(Opt::RecvErr(true));
    x.peer_icmp(3, 1, 0, "P. 1:5(4) ack 1").quiet();
    assert_eq!(x.error(), Some(Errno::EHOSTUNREACH));
    assert_eq!(x.error(), None);
    x.peer(". 1:1(0) ack 5").state_is("ESTABLISHED");
}

/// conformance: 9293-SHLD-20
#[test]
fn soft_errors_are_silent_unless_asked_for() {
    let mut x = in_flight(false);
    x.peer_icmp(3, 1, 0, "P. 1:5(4) ack 1").quiet();
    assert!(!x.ready().contains(tunstack::host::Readiness::ERROR));
    assert_eq!(x.try_read(10), Err(Errno::EAGAIN));
}

/// A soft error is what a timeout is explained with in the end, as on Linux.
#[test]
fn a_soft_error_explains_the_timeout() {
    let mut x = Setup::new().config(|config| config.tcp_retries2 = 4).established();
    x.write(b"data").stack("P. 1:5(4) ack 1");
    x.until("P. 1:5(4) ack 1");
    x.peer_icmp(3, 1, 0, "P. 1:5(4) ack 1").skip(secs(600)).state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::EHOSTUNREACH));
}

/// conformance: 9293-SHLD-26, 9293-MUST-54
#[test]
fn a_hard_error_refuses_a_connection_that_is_not_yet_one() {
    for (v6, kind, code) in [(false, 3, 3), (false, 3, 2), (true, 1, 4)] {
        let setup = if v6 { Setup::new().v6() } else { Setup::new() };
        let mut x = setup.connecting();
        x.peer_icmp(kind, code, 0, "S 0:0(0)").quiet().state_is("CLOSED");
        let error = x.error();
        assert!(matches!(error, Some(Errno::ECONNREFUSED | Errno::EPROTO | Errno::ENOPROTOOPT)), "{error:?}");
        x.quiet_for(secs(300));
    }
    for (kind, code) in SOFT_V4 {
        let mut x = Exchange::connecting();
        x.peer_icmp(kind, code, 0, "S 0:0(0)").quiet().state_is("SYN-SENT");
        x.peer("S. 0:0(0) ack 1").stack(". 1:1(0) ack 1");
    }
}

/// conformance: 5927-4.1-seq-check
#[test]
fn an_error_about_nothing_in_flight_is_ignored() {
    let mut x = Exchange::connecting();
    for seq in [-1, 1, 2, 100_000] {
        x.peer_icmp(3, 3, 0, &format!("S {seq}:{seq}(0)")).quiet().state_is("SYN-SENT");
    }
    let stale = x.host.counters().icmp_in_stale;
    assert_eq!(stale, 4);
    let mut x = Exchange::established();
    x.peer_too_big(600, ". 1:1461(1460) ack 1").quiet();
    assert_eq!(x.info().snd_mss, 1460, "nothing is in flight");
    x.write_octets(1460).stack("P. 1:1461(1460) ack 1");
    x.peer_too_big(600, ". 1461:2921(1460) ack 1").quiet();
    assert_eq!(x.info().snd_mss, 1460);
}

/// conformance: 9293-MUST-54
#[test]
fn only_the_connection_that_is_quoted_reacts() {
    let mut x = Exchange::connecting();
    let first = x.id();
    x.again(1).connect_fresh();
    x.stack("S 0:0(0)");
    x.peer_icmp(3, 3, 0, "S 0:0(0)").quiet().state_is("CLOSED");
    let info = x.host.tcp_info(x.now, first).expect("a connection");
    assert_eq!(info.state, "SYN-SENT");
    x.sock = Some(first);
    x.ignore();
}

/// conformance: 9293-MUST-55, 1122-3.2.2.3-quench, 5927-6-quench, 6633-3-tcp-drop, 6633-8-log
#[test]
fn source_quench_changes_nothing() {
    let mut x = Exchange::established();
    x.write_octets(60_000).take_all();
    let before = x.info();
    for _ in 0..10 {
        x.peer_icmp(4, 0, 0, ". 1:1461(1460) ack 1").quiet();
    }
    let after = x.info();
    assert_eq!(
        (after.snd_cwnd, after.snd_ssthresh, after.rto),
        (before.snd_cwnd, before.snd_ssthresh, before.rto)
    );
    assert_eq!(x.error(), None);
    assert_eq!(x.host.counters().icmp_in_src_quenchs, 10);
}

/// The segment that was too big is sent again at once, in smaller pieces, and nothing else changes.
/// conformance: 1191-3-immediate-resend, 1191-6.4-mss
#[test]
fn a_smaller_path_mtu_is_used_at_once() {
    for (v6, mtu, mss) in [(false, 1000, 960), (true, 1300, 1240)] {
        let setup = if v6 { Setup::new().v6() } else { Setup::new() };
        let mut x = setup.established();
        let full = if v6 { 1440 } else { 1460 };
        x.write_octets(2 * full).take_all();
        x.peer_too_big(mtu, &format!(". 1:{}({full}) ack 1", 1 + full));
        x.stack(&format!(". 1:{}({mss}) ack 1", 1 + mss));
        x.take_all();
        assert_eq!(x.info().snd_mss, mss);
        assert_eq!((x.error(), x.host.counters().tcp_ext_timeouts), (None, 0));
        assert!(x.info().snd_cwnd >= 10, "it is no congestion");
        // What we advertise stays the interface's.
        x.on_port(41_001).peer("S 0:0(0) <mss 1460>").stack(&format!("S. 0:0(0) ack 1 <mss {full}>"));
    }
}

/// What a datagram's error tells of a path counts for the connections on it, and no longer than it is believed.
///
/// conformance: 8201-5.2-notify, 1191-6.3-raise
#[test]
fn what_others_learn_of_the_path_counts_for_all() {
    for (v6, mtu) in [(false, 1200), (true, 1300)] {
        let setup = if v6 { Setup::new().v6() } else { Setup::new() };
        let mut x = setup.established();
        let full = x.info().snd_mss;
        let (local, remote) = x.ends();
        let domain = if v6 { Domain::Inet6 } else { Domain::Inet };
        let datagram = x.user("a datagram", |host, now| {
            let id = host.socket(domain, Type::Dgram)?;
            host.connect(now, id, Some(SocketAddr::new(remote.ip(), 9)))?;
            host.send(now, id, &[0; 1400], MsgFlags::empty())
        });
        assert_eq!(datagram, Ok(1400));
        let sent = x.next().bytes;
        let (kind, code, rest) = if v6 { (2, 0, mtu) } else { (3, 4, mtu) };
        let quote = &sent[..if v6 { 48 } else { 28 }];
        let error = packet::icmp(remote.ip(), local.ip(), kind, code, u32::to_be_bytes(rest), quote);
        x.inject(&error).write_octets(2 * full as usize);
        let lens: Vec<usize> = x.take_all().iter().map(|tcp| tcp.payload.len()).collect();
        assert_eq!(lens[0] as u32, mtu - if v6 { 60 } else { 40 }, "{lens:?}");
        let end = x.stack_nxt();
        x.peer(&format!(". 1:1(0) ack {end}")).skip(secs(600));
        x.write_octets(2 * full as usize);
        assert_eq!(x.take_all()[0].payload.len() as u32, full, "the estimate has aged");
        x.ignore();
    }
}

/// conformance: 1191-3-floor
#[test]
fn an_absurd_path_mtu_is_bounded() {
    let mut x = Exchange::established();
    x.write_octets(1460).stack("P. 1:1461(1460) ack 1");
    x.peer_too_big(68, ". 1:1461(1460) ack 1").take_all();
    assert!(x.info().snd_mss >= 500, "{}", x.info().snd_mss);
    let mut x = Setup::new().v6().established();
    x.write_octets(1440).stack("P. 1:1441(1440) ack 1");
    x.peer_too_big(1000, ". 1:1441(1440) ack 1").take_all();
    assert!(x.info().snd_mss >= 1220, "{}", x.info().snd_mss);
}

/// A quote without the eight octets that name the connection says nothing.
#[test]
fn a_short_quote_is_harmless() {
    let mut x = Exchange::connecting();
    let full = x.icmp_about(3, 3, 0, "S 0:0(0)");
    let (from, to) = (x.ends().1.ip(), x.ends().0.ip());
    for cut in 0..8 {
        let quote = &full[28..48 + cut];
        x.inject(&packet::icmp(from, to, 3, 3, [0; 4], quote)).quiet().state_is("SYN-SENT");
    }
}

/// An error that came damaged is thrown away.
#[test]
fn an_error_with_a_bad_checksum_is_ignored() {
    let mut x = Exchange::connecting();
    let mut bytes = x.icmp_about(3, 3, 0, "S 0:0(0)");
    bytes[24] ^= 1;
    x.inject(&bytes).quiet().state_is("SYN-SENT");
    assert_eq!(x.host.counters().icmp_in_csum_errors, 1);
}
