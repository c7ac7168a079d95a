//! Datagrams between two hosts.

use super::*;

/// conformance: 768-interface, 1122-4.1.3.5-specdst, 1122-3.2.1.6-tos-up
#[test]
fn a_datagram_arrives_whole_with_all_that_is_known_of_it() {
    for (local, remote) in [("0.0.0.0:9", "10.0.0.2:53"), ("[::]:9", "[fd00::2]:53")] {
        let mut duo = Duo::new();
        let any = if addr(local).is_ipv4() { "0.0.0.0:53" } else { "[::]:53" };
        let server = udp(&mut duo.b, any);
        let client = udp(&mut duo.a, local);
        duo.a.set_option(duo.now, client, Opt::Tos(0x28)).expect("any value");
        duo.a.set_option(duo.now, client, Opt::Ttl(9)).expect("not 0");
        for data in [&b""[..], b"x", &[7; 1400]] {
            assert_eq!(send_to(&mut duo, client, data, remote), Ok(data.len()));
            let (got, received) = take(&mut duo.b, duo.now, server).expect("it arrived");
            assert_eq!(got, data);
            let PacketInfo { local, ttl, tos } = received.info;
            assert_eq!((local, ttl, tos), (Some(addr(remote).ip()), Some(9), Some(0x28)));
            assert_eq!(received.from.map(|from| from.port()), Some(9));
        }
        assert_eq!(take(&mut duo.b, duo.now, server).unwrap_err(), Errno::EAGAIN);
    }
}

/// conformance: 1122-4.1.4-api, 1122-3.4-interface
#[test]
fn ttl_tos_and_source_can_be_given_per_datagram() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "0.0.0.0:53");
    let client = udp(&mut duo.a, "0.0.0.0:9");
    let info = PacketInfo { local: Some(addr("10.0.0.11:0").ip()), ttl: Some(3), tos: Some(0x10) };
    duo.a.send_to(duo.now, client, b"x", Some(addr("10.0.0.2:53")), info).expect("sent");
    duo.settle();
    let (_, received) = take(&mut duo.b, duo.now, server).expect("it arrived");
    assert_eq!(received.from, Some(addr("10.0.0.11:9")));
    assert_eq!((received.info.ttl, received.info.tos), (Some(3), Some(0x10)));
}

/// conformance: 1122-3.3.4-choose-src, 1122-4.1.3.5-local
#[test]
fn the_source_is_the_bound_address_and_getsockname_tells_the_chosen_one() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "0.0.0.0:53");
    let bound = udp(&mut duo.a, "10.0.0.11:9");
    send_to(&mut duo, bound, b"x", "10.0.0.2:53").expect("sent");
    assert_eq!(take(&mut duo.b, duo.now, server).expect("arrived").1.from, Some(addr("10.0.0.11:9")));
    let free = duo.a.socket(Domain::Inet, Type::Dgram).expect("a socket");
    assert_eq!(duo.a.local_addr(free), Ok(addr("0.0.0.0:0")));
    duo.a.connect(duo.now, free, Some(addr("10.0.0.2:53"))).expect("routed");
    let local = duo.a.local_addr(free).expect("open");
    assert_eq!(local.ip(), addr("10.0.0.1:0").ip());
    assert_ne!(local.port(), 0);
}

/// conformance: 1122-4.1.3.1-port-unreach, 1122-3.2.2.1-up, 4443-3.1-up
#[test]
fn a_closed_port_refuses_the_connected_sender_once() {
    for (any, remote) in [("0.0.0.0:0", "10.0.0.2:54"), ("[::]:0", "[fd00::2]:54")] {
        let mut duo = Duo::new();
        let client = udp(&mut duo.a, any);
        duo.a.connect(duo.now, client, Some(addr(remote))).expect("routed");
        duo.a.send(duo.now, client, b"x", MsgFlags::empty()).expect("sent");
        duo.settle();
        assert_eq!(duo.wire.len(), 2, "the datagram and the error");
        assert!(duo.a.readiness(client).contains(Readiness::ERROR));
        assert_eq!(take(&mut duo.a, duo.now, client).unwrap_err(), Errno::ECONNREFUSED);
        assert_eq!(take(&mut duo.a, duo.now, client).unwrap_err(), Errno::EAGAIN);
    }
}

/// conformance: 5927-4.1-seq-check
#[test]
fn an_error_that_quotes_a_flow_we_do_not_have_changes_nothing() {
    let mut duo = Duo::new();
    let client = udp(&mut duo.a, "0.0.0.0:9");
    duo.a.connect(duo.now, client, Some(addr("10.0.0.2:54"))).expect("routed");
    duo.a.send(duo.now, client, b"x", MsgFlags::empty()).expect("sent");
    duo.settle();
    let mut forged = duo.wire[1].clone();
    take(&mut duo.a, duo.now, client).expect_err("the genuine error");
    // The quoted source port, at IP header 20 + ICMP header 8 + quoted IP header 20.
    forged[48..50].copy_from_slice(&10u16.to_be_bytes());
    forged[22..24].fill(0);
    let sum = crate::wire::checksum::checksum(&forged[20..]);
    forged[22..24].copy_from_slice(&sum.to_be_bytes());
    duo.a.receive(duo.now, &forged, RxMeta::default());
    assert_eq!(take(&mut duo.a, duo.now, client).unwrap_err(), Errno::EAGAIN);
    assert_eq!(duo.a.counters().icmp_in_stale, 1);
}

/// conformance: 4443-3.1-congestion
#[test]
fn a_full_queue_drops_counts_and_sends_no_error() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "0.0.0.0:53");
    duo.b.set_option(duo.now, server, Opt::RcvBuf(2048)).expect("a size");
    let client = udp(&mut duo.a, "0.0.0.0:9");
    for _ in 0..20 {
        send_to(&mut duo, client, &[1; 1000], "10.0.0.2:53").expect("sent");
    }
    assert_eq!(duo.wire.len(), 20, "datagrams only");
    let dropped = duo.b.counters().udp_rcvbuf_errors;
    assert!(dropped > 10);
    let mut left = 0;
    while take(&mut duo.b, duo.now, server).is_ok() {
        left += 1;
    }
    assert_eq!(left + dropped, 20);
}

/// conformance: 1122-3.3.6-broadcast
#[test]
fn a_broadcast_needs_permission_and_reaches_wildcard_sockets() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "0.0.0.0:67");
    let client = udp(&mut duo.a, "0.0.0.0:68");
    for to in ["255.255.255.255:67", "10.0.0.255:67"] {
        assert_eq!(send_to(&mut duo, client, b"x", to), Err(Errno::EACCES));
    }
    duo.a.set_option(duo.now, client, Opt::Broadcast(true)).expect("allowed");
    for to in ["255.255.255.255:67", "10.0.0.255:67"] {
        send_to(&mut duo, client, b"x", to).expect("sent");
        let (_, received) = take(&mut duo.b, duo.now, server).expect("it arrived");
        assert_eq!(received.from, Some(addr("10.0.0.1:68")));
    }
    // Nobody there: no error about a broadcast (1122-3.2.2-no-err-mcast is proved below the host).
    let packets = duo.wire.len();
    send_to(&mut duo, client, b"x", "10.0.0.255:66").expect("sent");
    assert_eq!(duo.wire.len(), packets + 1);
}

/// conformance: 1122-3.2.1.3-bcast-src
#[test]
fn a_socket_bound_to_a_broadcast_address_sends_from_a_real_one() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "0.0.0.0:53");
    let client = udp(&mut duo.a, "10.0.0.255:9");
    send_to(&mut duo, client, b"x", "10.0.0.2:53").expect("sent");
    assert_eq!(take(&mut duo.b, duo.now, server).expect("arrived").1.from, Some(addr("10.0.0.1:9")));
}

/// conformance: 4291-2.8-host
#[test]
fn groups_reach_members_and_the_all_nodes_group_everybody() {
    let mut duo = Duo::new();
    let member = udp(&mut duo.b, "[::]:5000");
    let client = udp(&mut duo.a, "[::]:9");
    send_to(&mut duo, client, b"x", "[ff02::1]:5000").expect("sent");
    assert_eq!(take(&mut duo.b, duo.now, member).expect("arrived").0, b"x");
    send_to(&mut duo, client, b"y", "[ff02::1234]:5000").expect("sent");
    assert_eq!(take(&mut duo.b, duo.now, member).unwrap_err(), Errno::EAGAIN);
    let group = addr("[ff02::1234]:0").ip();
    duo.b.set_option(duo.now, member, Opt::AddMembership(group)).expect("joined");
    send_to(&mut duo, client, b"z", "[ff02::1234]:5000").expect("sent");
    assert_eq!(take(&mut duo.b, duo.now, member).expect("arrived").0, b"z");
    duo.b.set_option(duo.now, member, Opt::DropMembership(group)).expect("left");
    send_to(&mut duo, client, b"z", "[ff02::1234]:5000").expect("sent");
    assert_eq!(take(&mut duo.b, duo.now, member).unwrap_err(), Errno::EAGAIN);
}

/// conformance: 1122-3.2.2.6-echo-client, 1122-3.2.2.6-echo-up, 4443-4.2-echo-up
#[test]
fn two_ping_sockets_get_only_their_own_replies() {
    for (domain, kind, to) in [(Domain::Inet, 8u8, "10.0.0.2:0"), (Domain::Inet6, 128, "[fd00::2]:0")] {
        let mut duo = Duo::new();
        let sockets = [0; 2].map(|_| duo.a.socket(domain, Type::Ping).expect("a socket"));
        for (seq, socket) in sockets.into_iter().enumerate() {
            let mut request = vec![kind, 0, 0, 0, 0, 0, 0, seq as u8];
            request.extend([seq as u8; 56]);
            send_to(&mut duo, socket, &request, to).expect("sent");
        }
        let counted = if kind == 8 { "IcmpOutEchos" } else { "Icmp6OutEchos" };
        assert_eq!(duo.a.counters().get(counted), Some(2), "each request once");
        for (seq, socket) in sockets.into_iter().enumerate() {
            let (reply, received) = take(&mut duo.a, duo.now, socket).expect("answered");
            assert_eq!(reply[0], if kind == 8 { 0 } else { 129 });
            assert_eq!((reply[7], &reply[8..]), (seq as u8, &[seq as u8; 56][..]));
            assert_eq!(received.from.map(|from| from.ip()), Some(addr(to).ip()));
            assert_eq!(take(&mut duo.a, duo.now, socket).unwrap_err(), Errno::EAGAIN);
        }
    }
}

#[test]
fn datagrams_to_ourselves_go_round_inside() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.a, "0.0.0.0:53");
    let client = udp(&mut duo.a, "0.0.0.0:9");
    for to in ["127.0.0.1:53", "10.0.0.11:53"] {
        send_to(&mut duo, client, &[3; 9000], to).expect("sent");
        let (data, received) = take(&mut duo.a, duo.now, server).expect("it arrived");
        assert_eq!(data.len(), 9000);
        assert_eq!(received.from.map(|from| from.ip()), Some(addr(to).ip()));
    }
    assert!(duo.wire.is_empty(), "nothing of it on the wire");
}

#[test]
fn an_ipv6_socket_talks_ipv4_through_mapped_addresses_unless_v6_only() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "[::]:53");
    let client = udp(&mut duo.a, "0.0.0.0:9");
    send_to(&mut duo, client, b"x", "10.0.0.2:53").expect("sent");
    let (_, received) = take(&mut duo.b, duo.now, server).expect("it arrived");
    assert_eq!(received.from, Some(addr("[::ffff:10.0.0.1]:9")));
    duo.b.send_to(duo.now, server, b"y", received.from, PacketInfo::default()).expect("sent");
    duo.settle();
    assert_eq!(take(&mut duo.a, duo.now, client).expect("answered").0, b"y");
    let only = duo.a.socket(Domain::Inet6, Type::Dgram).expect("a socket");
    duo.a.set_option(duo.now, only, Opt::V6Only(true)).expect("unbound");
    assert_eq!(send_to(&mut duo, only, b"x", "[::ffff:10.0.0.2]:53"), Err(Errno::ENETUNREACH));
}

/// `UDP_SEGMENT` on a link that cuts nothing, with Linux's limits.
#[test]
fn a_train_of_datagrams_goes_one_by_one_where_the_device_cuts_nothing() {
    for (ours, theirs) in [("10.0.0.1:7", "10.0.0.2:7"), ("[fd00::1]:7", "[fd00::2]:7")] {
        let mut duo = Duo::new();
        let now = duo.now;
        let (a, b) = (udp(&mut duo.a, ours), udp(&mut duo.b, theirs));
        duo.a.set_option(now, a, Opt::UdpSegment(1000)).expect("an option");
        assert_eq!(duo.a.option(a, OptName::UdpSegment), Ok(Opt::UdpSegment(1000)));
        let text: Vec<u8> = (0..2500).map(|n| n as u8).collect();
        assert_eq!(send_to(&mut duo, a, &text, theirs), Ok(2500));
        for part in text.chunks(1000) {
            assert_eq!(take(&mut duo.b, now, b).expect("came").0, part);
        }
        assert_eq!(duo.a.counters().udp_out_datagrams, 3);
        assert_eq!(send_to(&mut duo, a, &[0; 1000], theirs), Ok(1000), "a single one");
        duo.a.set_option(now, a, Opt::UdpSegment(10)).expect("an option");
        assert_eq!(send_to(&mut duo, a, &[0; 1281], theirs), Err(Errno::EINVAL), "129 of them");
        duo.a.set_option(now, a, Opt::UdpSegment(1480)).expect("an option");
        assert_eq!(
            send_to(&mut duo, a, &[0; 3000], theirs),
            Err(Errno::EMSGSIZE),
            "each too large for a packet"
        );
        assert_eq!(send_to(&mut duo, a, &[0; 1480], theirs), Err(Errno::EMSGSIZE), "so is a single one");
        duo.a.set_option(now, a, Opt::UdpSegment(1000)).expect("an option");
        let most = if ours.starts_with('[') { 65_527 } else { 65_507 };
        assert_eq!(send_to(&mut duo, a, &vec![0; most], theirs), Ok(most));
        assert_eq!(send_to(&mut duo, a, &vec![0; most + 1], theirs), Err(Errno::EMSGSIZE));
        let stream = duo.a.socket(Domain::Inet, Type::Stream).expect("a socket");
        assert_eq!(duo.a.set_option(now, stream, Opt::UdpSegment(1)), Err(Errno::ENOPROTOOPT));
    }
}

/// conformance: 791-3.1-df-mf, 1122-3.3.3-local-frag
#[test]
fn a_large_datagram_is_cut_or_refused_as_the_socket_wants() {
    let mut duo = Duo::new();
    let server = udp(&mut duo.b, "0.0.0.0:53");
    let client = udp(&mut duo.a, "0.0.0.0:9");
    send_to(&mut duo, client, &[5; 65_507], "10.0.0.2:53").expect("cut");
    assert_eq!(take(&mut duo.b, duo.now, server).expect("put together").0.len(), 65_507);
    assert_eq!(send_to(&mut duo, client, &[5; 65_508], "10.0.0.2:53"), Err(Errno::EMSGSIZE));
    duo.a.set_option(duo.now, client, Opt::MtuDiscover(MtuDiscover::Do)).expect("a mode");
    let packets = duo.wire.len();
    assert_eq!(send_to(&mut duo, client, &[5; 1473], "10.0.0.2:53"), Err(Errno::EMSGSIZE));
    assert_eq!(duo.wire.len(), packets, "nothing was sent");
    send_to(&mut duo, client, &[5; 1472], "10.0.0.2:53").expect("fits");
}
