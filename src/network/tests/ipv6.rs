//! IPv6 headers and addresses of packets that arrive.

use super::*;

/// conformance: 8200-3-version
#[test]
fn the_payload_must_be_there_and_what_follows_it_is_ignored() {
    let mut lab = Lab::new();
    let good = v6(UDP, &udp(4));
    for cut in 1..good.len() {
        lab.refuse(&good[..cut], Drop::Truncated);
    }
    assert_eq!(lab.counters.ip6_in_truncated_pkts, 51);
    let padded = [&good[..], b"trailer"].concat();
    assert_eq!(lab.deliver(&padded).payload(), udp(4));
}

/// conformance: 8200-3-hoplimit-rx
#[test]
fn a_low_hop_limit_does_not_matter_at_the_destination() {
    let mut lab = Lab::new();
    for hop_limit in [0, 1] {
        let mut packet = v6(UDP, &udp(4));
        packet[7] = hop_limit;
        assert_eq!(lab.deliver(&packet).ttl, hop_limit);
    }
}

/// conformance: 4291-2.5.2-unspec
#[test]
fn the_unspecified_address_is_no_end_of_a_packet() {
    let mut lab = Lab::new();
    lab.refuse(&v6_from_to(PEER6, ip6("::"), UDP, &udp(4)), Drop::BadDestination);
    lab.refuse(&v6_from_to(ip6("::"), US6, UDP, &udp(4)), Drop::BadSource);
    let send = |lab: &mut Lab| {
        let out = out(US6.into(), ip("::"), MtuDiscover::Want);
        lab.with(|net, env| net.send(env, &out, &[b"x"]))
    };
    assert_eq!(send(&mut lab), Err(Errno::EINVAL));
    assert_eq!(lab.net.source_for(ip("::")), Err(Errno::ENETUNREACH));
}

/// conformance: 4291-2.5.3-loopback
#[test]
fn the_loopback_address_stays_inside() {
    let mut lab = Lab::new();
    lab.refuse(&v6_from_to(PEER6, ip6("::1"), UDP, &udp(4)), Drop::BadDestination);
    lab.refuse(&v6_from_to(ip6("::1"), US6, UDP, &udp(4)), Drop::BadSource);
    lab.send(ip("::1"), 10, MtuDiscover::Want).expect("inside");
    assert!(lab.net.pop_output().is_some_and(|out| out.loopback));
    let outward = out(ip("::1"), PEER6.into(), MtuDiscover::Want);
    assert_eq!(lab.with(|net, env| net.send(env, &outward, &[b"x"])), Err(Errno::EINVAL));
    assert!(!lab.net.has_output());
}

/// conformance: 4291-2.7-mcast-src
#[test]
fn a_group_is_never_a_source() {
    let mut lab = Lab::new();
    for src in ["ff02::1", "ff0e::5", "ff05::2"] {
        lab.refuse(&v6_from_to(ip6(src), US6, 253, &udp(4)), Drop::BadSource);
    }
    let from_group = out(ip("ff02::1"), PEER6.into(), MtuDiscover::Want);
    assert_eq!(lab.with(|net, env| net.send(env, &from_group, &[b"x"])), Err(Errno::EADDRNOTAVAIL));
}

/// conformance: 4291-2.8-host
#[test]
fn a_host_knows_its_unicast_loopback_and_all_nodes_addresses() {
    let mut lab = Lab::new();
    for (dst, kind) in [
        ("fd09::2", AddressKind::Own),
        ("ff02::1", AddressKind::Multicast),
        ("ff01::1", AddressKind::Multicast),
    ] {
        let packet = v6_from_to(PEER6, ip6(dst), UDP, &udp(4));
        assert_eq!(lab.deliver(&packet).to, kind, "{dst}");
    }
    let inside = v6_from_to(ip6("::1"), ip6("::1"), UDP, &udp(4));
    let verdict = lab.with(|net, env| net.receive(env, &inside, true, false));
    assert!(matches!(verdict, Verdict::Deliver(d) if d.to == AddressKind::Loopback));
    lab.refuse(&v6_from_to(PEER6, ip6("ff02::2"), UDP, &udp(4)), Drop::NotOurs);
    lab.refuse(&v6_from_to(PEER6, ip6("fd09::3"), UDP, &udp(4)), Drop::NotOurs);
}

/// conformance: 4291-v4mapped
#[test]
fn mapped_addresses_do_not_stand_on_the_wire() {
    let mut lab = Lab::new();
    lab.refuse(&v6_from_to(ip6("::ffff:10.9.0.1"), US6, UDP, &udp(4)), Drop::BadSource);
    lab.refuse(&v6_from_to(PEER6, ip6("::ffff:10.9.0.2"), UDP, &udp(4)), Drop::BadDestination);
}

#[test]
fn our_own_address_does_not_come_from_outside() {
    let mut lab = Lab::new();
    lab.net.add_address("fd09::9/64".parse().expect("valid")).expect("possible");
    lab.refuse(&v6_from_to(ip6("fd09::9"), US6, UDP, &udp(4)), Drop::BadSource);
    lab.refuse(&v6_from_to(US6, US6, UDP, &udp(4)), Drop::Land);
    assert_eq!((lab.counters.ip6_in_addr_errors, lab.counters.in_land), (2, 1));
}

/// conformance: 8200-5-min-mtu
#[test]
fn a_link_below_1280_carries_no_ipv6() {
    let mut lab = Lab::new();
    lab.net.set_link(1279);
    assert_eq!(lab.net.add_address("fd0a::1/64".parse().expect("valid")), Err(Errno::EINVAL));
    assert_eq!(lab.net.source_for(PEER6.into()), Err(Errno::ENETUNREACH));
    lab.refuse(&v6(UDP, &udp(4)), Drop::NotOurs);
    assert_eq!(lab.send(PEER6.into(), 10, MtuDiscover::Want), Err(Errno::ENETUNREACH));
    lab.net.set_link(1280);
    lab.deliver(&v6(UDP, &udp(4)));
}

/// conformance: 8200-5-accept-mtu
#[test]
fn packets_as_large_as_the_link_are_taken() {
    let mut lab = Lab::new();
    lab.net.set_link(9000);
    assert_eq!(lab.deliver(&v6(UDP, &udp(9000 - 48))).payload().len(), 9000 - 40);
}

/// conformance: 8200-7-tclass
#[test]
fn the_traffic_class_is_passed_up_and_down() {
    let mut lab = Lab::new();
    let mut packet = v6(UDP, &udp(4));
    packet[..2].copy_from_slice(&[0x6b, 0x90]);
    assert_eq!(lab.deliver(&packet).tos, 0xb9);
    let marked = IpOut { tos: 0xb9, ..out(US6.into(), PEER6.into(), MtuDiscover::Want) };
    lab.with(|net, env| net.send(env, &marked, &[b"x"])).expect("sent");
    let header = etherparse::Ipv6Header::from_slice(&lab.sent_one()).expect("a header").0;
    assert_eq!(header.traffic_class, 0xb9);
}
