//! Error numbers of calls that need no peer.

use super::*;
use crate::base::Duration;

/// conformance: 9293-3.10.1-closed-passive, 9293-3.10.1-access
#[test]
fn bind_and_listen_take_what_is_free_and_ours_and_send_nothing() {
    let mut duo = Duo::new();
    let host = &mut duo.a;
    let mut stream = || host.socket(Domain::Inet, Type::Stream).expect("a socket");
    let (one, two, three) = (stream(), stream(), stream());
    host.bind(one, addr("10.0.0.1:80")).expect("free");
    assert_eq!(host.bind(one, addr("10.0.0.1:81")), Err(Errno::EINVAL));
    assert_eq!(host.bind(two, addr("10.0.0.9:80")), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(host.bind(two, addr("0.0.0.0:80")), Err(Errno::EADDRINUSE));
    host.bind(two, addr("10.0.0.11:80")).expect("another address");
    host.listen(duo.now, one, 5).expect("bound");
    host.listen(duo.now, three, 5).expect("takes a port");
    assert_ne!(host.local_addr(three).expect("open").port(), 0);
    assert_eq!(host.accept(duo.now, one).unwrap_err(), Errno::EAGAIN);
    assert_eq!(host.accept(duo.now, two).unwrap_err(), Errno::EINVAL);
    duo.settle();
    assert!(duo.wire.is_empty());
}

/// conformance: 9293-MUST-46, 9293-3.10.1-no-remote
#[test]
fn connect_refuses_impossible_peers_without_a_packet() {
    let mut duo = Duo::new();
    let cases = [
        (Domain::Inet, "255.255.255.255:80", Errno::ENETUNREACH),
        (Domain::Inet, "10.0.0.255:80", Errno::ENETUNREACH),
        (Domain::Inet, "224.0.0.1:80", Errno::ENETUNREACH),
        (Domain::Inet, "0.0.0.0:80", Errno::EADDRNOTAVAIL),
        (Domain::Inet, "10.0.0.2:0", Errno::EADDRNOTAVAIL),
        (Domain::Inet6, "[ff02::1]:80", Errno::ENETUNREACH),
        (Domain::Inet6, "[::]:80", Errno::EADDRNOTAVAIL),
        (Domain::Inet, "[fd00::2]:80", Errno::EAFNOSUPPORT),
    ];
    for (domain, remote, error) in cases {
        let socket = duo.a.socket(domain, Type::Stream).expect("a socket");
        assert_eq!(duo.a.connect(duo.now, socket, Some(addr(remote))), Err(error), "{remote}");
    }
    duo.settle();
    assert!(duo.wire.is_empty());
}

/// conformance: 1122-3.3.1.2-static
#[test]
fn without_a_route_the_network_is_unreachable() {
    let mut duo = Duo::new();
    let far = addr("192.0.2.1:80");
    let socket = duo.a.socket(Domain::Inet, Type::Stream).expect("a socket");
    assert_eq!(duo.a.connect(duo.now, socket, Some(far)), Err(Errno::ENETUNREACH));
    duo.a.add_route("0.0.0.0/0".parse().expect("valid"), Some(addr("10.0.0.2:0").ip())).expect("on link");
    assert_eq!(duo.a.source_for(far.ip()), Ok(addr("10.0.0.1:0").ip()));
}

/// conformance: 1122-3.2.1.7-ttl-zero-tx
#[test]
fn a_ttl_of_zero_is_refused() {
    let mut duo = Duo::new();
    let socket = udp(&mut duo.a, "0.0.0.0:9");
    assert_eq!(duo.a.set_option(duo.now, socket, Opt::Ttl(0)), Err(Errno::EINVAL));
    let info = PacketInfo { ttl: Some(0), ..PacketInfo::default() };
    let sent = duo.a.send_to(duo.now, socket, b"x", Some(addr("10.0.0.2:53")), info);
    assert_eq!(sent, Err(Errno::EINVAL));
    duo.settle();
    assert!(duo.wire.is_empty());
}

#[test]
fn a_fresh_stream_socket_answers_as_on_linux() {
    let mut duo = Duo::new();
    let host = &mut duo.a;
    let socket = host.socket(Domain::Inet, Type::Stream).expect("a socket");
    assert_eq!(host.send(duo.now, socket, b"x", MsgFlags::empty()), Err(Errno::EPIPE));
    assert_eq!(host.recv(duo.now, socket, &mut [0], MsgFlags::empty()), Err(Errno::ENOTCONN));
    assert_eq!(host.shutdown(duo.now, socket, Shutdown::Both), Err(Errno::ENOTCONN));
    assert_eq!(host.peer_addr(socket), Err(Errno::ENOTCONN));
    assert_eq!(host.readiness(socket), Readiness::WRITABLE | Readiness::HANGUP);
    host.close(duo.now, socket).expect("open");
    assert_eq!(host.close(duo.now, socket), Err(Errno::EBADF));
}

#[test]
fn every_option_reads_back_what_was_set() {
    let mut duo = Duo::new();
    let socket = duo.a.socket(Domain::Inet6, Type::Stream).expect("a socket");
    let options = [
        (Opt::ReuseAddr(true), OptName::ReuseAddr),
        (Opt::ReusePort(true), OptName::ReusePort),
        (Opt::KeepAlive(true), OptName::KeepAlive),
        (Opt::Linger(Some(Duration::from_secs(3))), OptName::Linger),
        (Opt::NoDelay(true), OptName::NoDelay),
        (Opt::Cork(true), OptName::Cork),
        (Opt::KeepIdle(Duration::from_secs(9)), OptName::KeepIdle),
        (Opt::KeepIntvl(Duration::from_secs(8)), OptName::KeepIntvl),
        (Opt::KeepCnt(4), OptName::KeepCnt),
        (Opt::SynCnt(2), OptName::SynCnt),
        (Opt::UserTimeout(Duration::from_secs(7)), OptName::UserTimeout),
        (Opt::MaxSeg(1000), OptName::MaxSeg),
        (Opt::Tos(0x20), OptName::Tos),
        (Opt::Ttl(30), OptName::Ttl),
        (Opt::V6Only(true), OptName::V6Only),
        (Opt::MtuDiscover(MtuDiscover::Dont), OptName::MtuDiscover),
        (Opt::Congestion("reno".to_owned()), OptName::Congestion),
        (Opt::OobInline(true), OptName::OobInline),
        (Opt::DeferAccept(Duration::from_secs(1)), OptName::DeferAccept),
        (Opt::RcvLowat(10), OptName::RcvLowat),
    ];
    for (option, name) in options {
        duo.a.set_option(duo.now, socket, option.clone()).unwrap_or_else(|e| panic!("{option:?}: {e}"));
        assert_eq!(duo.a.option(socket, name), Ok(option));
    }
    duo.a.set_option(duo.now, socket, Opt::RcvBuf(10_000)).expect("a size");
    assert_eq!(duo.a.option(socket, OptName::RcvBuf), Ok(Opt::RcvBuf(20_000)), "doubled, as on Linux");
    for bad in [Opt::MaxSeg(20), Opt::KeepCnt(0), Opt::KeepIdle(Duration::ZERO), Opt::Error(1)] {
        assert!(duo.a.set_option(duo.now, socket, bad.clone()).is_err(), "{bad:?}");
    }
    let datagram = udp(&mut duo.a, "0.0.0.0:9");
    assert_eq!(duo.a.set_option(duo.now, datagram, Opt::NoDelay(true)), Err(Errno::ENOPROTOOPT));
}
