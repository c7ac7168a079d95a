//! CLOSED and LISTEN: what belongs to nobody (RFC 9293 §3.10.7.1, §3.10.7.2).

use crate::common::exchange::{Exchange, Setup};
use crate::common::{Errno, secs};

/// conformance: 9293-3.10.7.1-noack, 9293-3.4-seglen
#[test]
fn a_syn_to_a_closed_port_is_reset_with_all_of_it_counted() {
    let mut x = Setup::new().closed();
    x.peer("S 100:100(0)").stack("R. =0:=0(0) ack 101");
    x.peer("S 100:105(5)").stack("R. =0:=0(0) ack 106");
    x.peer("SF 100:100(0)").stack("R. =0:=0(0) ack 102");
    x.peer("F 100:104(4)").stack("R. =0:=0(0) ack 105");
    x.peer("- 100:100(0)").stack("R. =0:=0(0) ack 100");
}

/// conformance: 9293-3.10.7.1-ack
#[test]
fn an_ack_to_a_closed_port_is_reset_with_its_number() {
    let mut x = Setup::new().closed();
    x.peer(". 5:5(0) ack =7777").stack("R =7777:=7777(0)");
    x.peer("S. 5:5(0) ack =4294967295").stack("R =4294967295:=4294967295(0)");
    x.peer("FP. 5:25(20) ack =0").stack("R =0:=0(0)");
}

/// conformance: 9293-3.10.7.1-rst-dropped, 9293-3.5.2-rst-never-to-rst
#[test]
fn a_reset_gets_no_answer() {
    for mut x in [Setup::new().closed(), Exchange::listening()] {
        x.peer("R 0:0(0)")
            .peer("R. 0:0(0) ack 5")
            .peer("SR 0:0(0)")
            .peer("FR. 0:9(9) ack 1")
            .quiet_for(secs(10));
    }
}

/// conformance: 9293-3.10.7.2-rst, 9293-3.10.7.2-other
#[test]
fn a_listener_ignores_what_opens_nothing() {
    let mut x = Exchange::listening();
    for text in ["R 0:0(0)", "R. 0:0(0) ack 1", "F 0:0(0)", "- 0:0(0)", "- 0:9(9)", "FPU 0:9(9) urg 1"] {
        x.peer(text).quiet_for(secs(1));
    }
    x.peer("S 0:0(0)").stack("S. 0:0(0) ack 1");
}

/// conformance: 9293-3.10.7.2-ack
#[test]
fn a_listener_resets_what_acks() {
    let mut x = Exchange::listening();
    x.peer(". 0:0(0) ack =4711").stack("R =4711:=4711(0)");
    x.peer("S. 0:0(0) ack =4711").stack("R =4711:=4711(0)");
    x.peer("P. 0:9(9) ack =4711").stack("R =4711:=4711(0)");
}

/// conformance: 9293-3.10.2-closed, 9293-3.10.3-closed, 9293-3.10.6-status
#[test]
fn a_socket_without_a_connection_neither_sends_nor_receives() {
    let mut x = Setup::new().closed();
    x.fresh();
    x.write_fails(Errno::EPIPE).read_fails(Errno::ENOTCONN);
    let id = x.id();
    let peer = x.user("getpeername", |host, _| host.peer_addr(id));
    assert_eq!(peer, Err(Errno::ENOTCONN));
}

/// A listener stays one: it neither connects nor sends.
///
/// conformance: 9293-3.10.1-listen-to-active, 9293-3.10.2-listen
#[test]
fn a_listener_does_not_turn_into_a_connection() {
    let mut x = Exchange::listening();
    x.sock = x.listener;
    let (id, remote) = (x.id(), x.ends().1);
    assert_eq!(x.user("connect", |host, now| host.connect(now, id, Some(remote))), Err(Errno::EISCONN));
    x.write_fails(Errno::EPIPE).quiet();
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
}

/// conformance: 9293-3.10.4-closed, 9293-3.10.5-closed
#[test]
fn a_socket_that_is_closed_is_gone() {
    let mut x = Setup::new().closed();
    let id = x.fresh();
    x.close().quiet();
    assert_eq!(x.user("close again", |host, now| host.close(now, id)), Err(Errno::EBADF));
    assert_eq!(x.user("abort", |host, now| host.abort(now, id)), Err(Errno::EBADF));
    x.quiet_for(secs(10));
}

/// conformance: 9293-3.10.1-no-remote, 9293-MUST-46
#[test]
fn a_connect_to_nobody_or_to_many_is_refused_at_once() {
    for (v6, address) in [
        (false, "10.9.0.1:0"),
        (false, "255.255.255.255:80"),
        (false, "10.9.0.255:80"),
        (false, "224.0.0.1:80"),
        (true, "[fd09::1]:0"),
        (true, "[ff02::1]:80"),
    ] {
        let setup = if v6 { Setup::new().v6() } else { Setup::new() };
        let mut x = setup.closed();
        let id = x.fresh();
        let remote = address.parse().expect("an address");
        let result = x.user("connect", |host, now| host.connect(now, id, Some(remote)));
        assert!(result.is_err_and(|e| e != Errno::EINPROGRESS), "{address}: {result:?}");
        x.quiet_for(secs(10));
    }
}

/// conformance: 9293-3.10.1-exists
#[test]
fn a_second_connect_changes_nothing() {
    let mut x = Exchange::connecting();
    let (id, remote) = (x.id(), x.ends().1);
    let again = |x: &mut Exchange| x.user("connect", |host, now| host.connect(now, id, Some(remote)));
    assert_eq!(again(&mut x), Err(Errno::EALREADY));
    x.quiet();
    x.peer("S. 0:0(0) ack 1").stack(". 1:1(0) ack 1");
    assert_eq!(again(&mut x), Ok(()));
    assert_eq!(again(&mut x), Err(Errno::EISCONN));
    x.quiet_for(secs(10));
}

/// conformance: 9293-3.10.1-access
#[test]
fn a_port_that_is_taken_and_an_address_that_is_not_ours_cannot_be_bound() {
    let mut x = Exchange::listening();
    let id = x.fresh();
    let mut bind = |address: &str| {
        let local = address.parse().expect("an address");
        x.user("bind", |host, _| host.bind(id, local))
    };
    assert_eq!(bind("10.9.0.2:80"), Err(Errno::EADDRINUSE));
    assert_eq!(bind("10.9.0.77:81"), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(bind("10.9.0.2:81"), Ok(()));
}

/// conformance: 9293-3.10.1-no-room
#[test]
fn without_room_a_connect_fails_and_leaves_nothing_behind() {
    let mut x = Setup::new().config(|config| config.tcp_max_connections = 2).closed();
    x.connect_fresh().stack("S 0:0(0)");
    let first = x.id();
    x.again(1).connect_fresh().stack("S 0:0(0)");
    let third = x.fresh();
    let remote = x.ends().1;
    let connect = |x: &mut Exchange| x.user("connect", |host, now| host.connect(now, third, Some(remote)));
    assert_eq!(connect(&mut x), Err(Errno::ENOBUFS));
    x.quiet();
    x.user("close", |host, now| host.close(now, first)).expect("a socket");
    x.again(1);
    assert_eq!(connect(&mut x), Err(Errno::EINPROGRESS));
    assert_eq!(x.next().tcp().map(|tcp| tcp.flags), Some(crate::common::packet::SYN));
}

/// conformance: 9293-3.10.1-no-room
#[test]
fn without_room_a_syn_is_dropped() {
    let mut x = Setup::new().config(|config| config.tcp_max_connections = 1).listening();
    x.on_port(41_001).peer("S 0:0(0)").stack("S. 0:0(0) ack 1");
    x.on_port(41_002).peer("S 0:0(0)").quiet_for(secs(0));
    x.on_port(41_001).peer("R 1:1(0)").quiet();
    x.on_port(41_002).peer("S 0:0(0)").stack("S. 0:0(0) ack 1");
}

/// conformance: 9293-MUST-43
#[test]
fn a_connection_goes_out_from_the_address_it_was_bound_to() {
    let mut x = Setup::new().closed();
    let cidr = "10.9.0.3/24".parse().expect("an address");
    x.host.add_address(cidr).expect("legal");
    x.checker.add_address(cidr.address);
    for address in ["10.9.0.2", "10.9.0.3"] {
        let id = x.fresh();
        let (local, remote) = (format!("{address}:0").parse().expect("an address"), x.ends().1);
        x.user("bind", |host, _| host.bind(id, local)).expect("ours");
        let result = x.user("connect", |host, now| host.connect(now, id, Some(remote)));
        assert_eq!(result, Err(Errno::EINPROGRESS));
        assert_eq!(x.next().src.to_string(), address);
    }
}

/// conformance: 9293-MUST-44
#[test]
fn without_a_bound_address_the_route_decides() {
    let mut x = Setup::new().closed();
    let cidr = "192.168.7.2/24".parse().expect("an address");
    x.host.add_address(cidr).expect("legal");
    x.checker.add_address(cidr.address);
    for (remote, source) in [("10.9.0.9:80", "10.9.0.2"), ("192.168.7.9:80", "192.168.7.2")] {
        let id = x.fresh();
        let remote = remote.parse().expect("an address");
        let result = x.user("connect", |host, now| host.connect(now, id, Some(remote)));
        assert_eq!(result, Err(Errno::EINPROGRESS));
        assert_eq!(x.next().src.to_string(), source);
    }
}

/// conformance: 9293-MUST-45
#[test]
fn a_connection_keeps_its_address() {
    let mut x = Exchange::connected();
    // A narrower prefix around the peer, which a new connection would prefer.
    let preferred = "10.9.0.6/29".parse().expect("an address");
    x.host.add_address(preferred).expect("legal");
    x.checker.add_address(preferred.address);
    let local = x.ends().0;
    x.write(b"data");
    assert_eq!(x.next().src, local.ip());
}

/// conformance: 9293-3.4.3-quiet
#[test]
fn a_host_that_just_started_may_connect_at_once() {
    let mut x = Setup::new().closed();
    x.now = tunstack::base::Instant::ZERO;
    x.connect_and_see("S 0:0(0) <...>");
}
