//! Echo (RFC 792, RFC 1122 §3.2.2.6, RFC 4443 §4) and messages that get no answer.

use super::*;

/// conformance: 1122-3.1-ip-icmp
#[test]
fn ip_and_icmp_work_without_any_transport() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&ping4(b"hello")), TAKEN);
    assert_eq!(lab.sent_one()[20..], icmp4(0, 0, [0x12, 0x34, 0, 7], b"hello"));
    let closed = v4(UDP, &udp(4));
    lab.with(|net, env| net.send_error(env, &closed, IcmpErrorKind::PortUnreachable));
    assert_eq!(lab.sent_one()[20..], icmp4(3, 3, [0; 4], &closed));
}

/// conformance: 1122-3.2.2.6-echo, 792-echo-swap
#[test]
fn an_echo_request_is_answered_with_the_same_data() {
    for len in [0, 1, 56, 1472] {
        let mut lab = Lab::new();
        let data = pattern(len);
        assert_eq!(lab.inject(&ping4(&data)), TAKEN);
        let reply = lab.sent_one();
        assert_eq!(reply[12..20], [&US.octets()[..], &PEER.octets()].concat(), "ends swapped");
        assert_eq!(reply[20..], icmp4(0, 0, [0x12, 0x34, 0, 7], &data), "{len}");
        assert_eq!((lab.counters.icmp_in_echos, lab.counters.icmp_out_echo_reps), (1, 1));
    }
}

/// conformance: 4443-4.1-echo
#[test]
fn an_echo_request_over_ipv6_is_answered_with_the_same_data() {
    for len in [0, 1, 56, 1452] {
        let mut lab = Lab::new();
        let data = pattern(len);
        assert_eq!(lab.inject(&ping6(&data)), TAKEN);
        let reply = lab.sent_one();
        assert_eq!(reply[8..40], [US6.octets(), PEER6.octets()].concat());
        assert_eq!(reply[40..], icmp6(US6, PEER6, (129, 0), [0x12, 0x34, 0, 7], &data), "{len}");
    }
}

/// conformance: 1122-3.2.2.6-echo-src, 1122-3.3.4-multihome-src
#[test]
fn the_reply_comes_from_the_address_that_was_pinged() {
    let mut lab = Lab::new();
    lab.net.add_address("192.168.7.7/24".parse().expect("valid")).expect("possible");
    for address in [US, ip4("192.168.7.7"), US] {
        lab.inject(&v4_from_to(PEER, address, 1, &icmp4(8, 0, [0; 4], b"")));
        assert_eq!(lab.sent_one()[12..16], address.octets());
    }
}

/// conformance: 4443-2.2-src-unicast
#[test]
fn the_ipv6_reply_comes_from_the_address_that_was_pinged() {
    let mut lab = Lab::new();
    lab.net.add_address("fd0a::7/64".parse().expect("valid")).expect("possible");
    for address in [US6, ip6("fd0a::7"), US6] {
        lab.inject(&v6_from_to(PEER6, address, 58, &icmp6(PEER6, address, (128, 0), [0; 4], b"")));
        assert_eq!(lab.sent_one()[8..24], address.octets());
    }
}

/// It came from where no route leads to.
#[test]
fn without_a_route_back_there_is_no_reply() {
    let mut lab = Lab::new();
    lab.net.routes = Default::default();
    let request = v4_from_to(ip4("10.77.0.1"), US, 1, &icmp4(8, 0, [0; 4], b""));
    lab.refuse(&request, Drop::NoRoute);
    assert_eq!(lab.counters.ip_out_no_routes, 1);
}

fn ping_all(group: std::net::Ipv6Addr) -> Vec<u8> {
    v6_from_to(PEER6, group, 58, &icmp6(PEER6, group, (128, 0), [0; 4], b""))
}

/// conformance: 1122-3.2.2.6-echo-bcast
#[test]
fn an_echo_request_to_many_is_ignored_by_default() {
    let mut lab = Lab::new();
    for dst in ["10.9.0.255", "255.255.255.255", "224.0.0.1"] {
        lab.refuse(&v4_from_to(PEER, ip4(dst), 1, &icmp4(8, 0, [0; 4], b"")), Drop::IcmpIgnored);
    }
    lab.refuse(&ping_all(ip6("ff02::1")), Drop::IcmpIgnored);
}

/// conformance: 4443-4.2-echo-mcast, 4443-2.2-src-other
#[test]
fn where_allowed_an_echo_request_to_many_is_answered_from_a_unicast_address() {
    let mut lab = Lab::new();
    lab.config.icmp_echo_ignore_broadcasts = false;
    lab.inject(&ping_all(ip6("ff02::1")));
    assert_eq!(lab.sent_one()[8..24], US6.octets());
    lab.inject(&v4_from_to(PEER, ip4("10.9.0.255"), 1, &icmp4(8, 0, [0; 4], b"")));
    assert_eq!(lab.sent_one()[12..16], US.octets());
}

#[test]
fn echo_can_be_switched_off() {
    let mut lab = Lab::new();
    lab.config.icmp_echo_ignore_all = true;
    lab.refuse(&ping4(b"x"), Drop::IcmpIgnored);
    lab.refuse(&ping6(b"x"), Drop::IcmpIgnored);
}

/// conformance: 1122-3.2.2.6-echo-up
#[test]
fn echo_replies_are_passed_up() {
    let mut lab = Lab::new();
    let message = icmp4(0, 0, [0x12, 0x34, 0, 7], b"data");
    let packet = v4(1, &message);
    let delivery = lab.deliver(&packet);
    assert_eq!((delivery.protocol, delivery.payload()), (1, &message[..]));
}

/// conformance: 4443-4.2-echo-up
#[test]
fn echo_replies_over_ipv6_are_passed_up() {
    let mut lab = Lab::new();
    let message = icmp6(PEER6, US6, (129, 0), [0x12, 0x34, 0, 7], b"data");
    let packet = v6(58, &message);
    let delivery = lab.deliver(&packet);
    assert_eq!((delivery.protocol, delivery.payload()), (58, &message[..]));
}

/// conformance: 792-checksum
#[test]
fn a_message_with_a_flipped_bit_is_dropped() {
    let mut lab = Lab::new();
    let good = icmp4(8, 0, [0x12, 0x34, 0, 7], b"odd");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        lab.refuse(&v4(1, &bad), Drop::TransportChecksum);
    }
    assert_eq!(lab.counters.icmp_in_csum_errors, 88);
}

/// conformance: 4443-2.3-checksum
#[test]
fn the_icmpv6_checksum_covers_the_pseudo_header() {
    let mut lab = Lab::new();
    let good = icmp6(PEER6, US6, (128, 0), [0x12, 0x34, 0, 7], b"odd");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        lab.refuse(&v6(58, &bad), Drop::TransportChecksum);
    }
    // Right for the message alone, and right for other ends.
    lab.refuse(&v6(58, &icmp4(128, 0, [0; 4], b"x")), Drop::TransportChecksum);
    lab.refuse(&v6_from_to(ip6("fd09::3"), US6, 58, &good), Drop::TransportChecksum);
}

#[test]
fn a_trusted_checksum_is_not_looked_at() {
    let mut lab = Lab::new();
    let mut message = icmp4(8, 0, [0; 4], b"x");
    message[2] ^= 1;
    let packet = v4(1, &message);
    assert_eq!(lab.with(|net, env| net.receive(env, &packet, true, true)), TAKEN);
}

/// conformance: 792-short
#[test]
fn short_messages_and_short_quotes_are_dropped() {
    let mut lab = Lab::new();
    for icmp_type in [0, 3, 8, 11, 12] {
        for len in 0..8 {
            let whole = icmp4(icmp_type, 0, [0; 4], b"");
            let mut cut = [&whole[..len], &[0; 8]].concat();
            cut.truncate(len.max(4));
            cut[2..4].fill(0);
            let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&cut).ones_complement().to_be();
            cut[2..4].copy_from_slice(&sum.to_be_bytes());
            lab.refuse(&v4(1, &cut), Drop::Truncated);
        }
    }
    let quote = v4_from_to(US, PEER, UDP, &udp(0));
    for len in 0..quote.len() {
        lab.refuse(&v4(1, &icmp4(3, 3, [0; 4], &quote[..len])), Drop::Truncated);
    }
    assert_eq!(lab.counters.icmp_in_errors, 5 * 8 + 28);
}

/// conformance: 1122-3.2.2-unknown-type
#[test]
fn unknown_types_are_dropped_silently() {
    let mut lab = Lab::new();
    for icmp_type in [1, 2, 6, 7, 41, 200, 255] {
        lab.refuse(&v4(1, &icmp4(icmp_type, 0, [0; 4], &[0; 40])), Drop::IcmpIgnored);
    }
    assert_eq!(lab.counters.icmp_in_unknown, 7);
}

/// conformance: 1122-3.2.2.7-info
#[test]
fn information_requests_get_no_reply() {
    let mut lab = Lab::new();
    lab.refuse(&v4(1, &icmp4(15, 0, [0; 4], b"")), Drop::IcmpIgnored);
    lab.refuse(&v4(1, &icmp4(16, 0, [0; 4], b"")), Drop::IcmpIgnored);
}

/// conformance: 1122-3.2.2.9-mask
#[test]
fn address_mask_requests_get_no_reply() {
    let mut lab = Lab::new();
    lab.refuse(&v4(1, &icmp4(17, 0, [0; 4], &[0; 4])), Drop::IcmpIgnored);
}

/// conformance: 1122-3.2.2.8-timestamp
#[test]
fn timestamp_requests_get_no_reply() {
    let mut lab = Lab::new();
    lab.refuse(&v4(1, &icmp4(13, 0, [0; 4], &[0; 12])), Drop::IcmpIgnored);
}

/// conformance: 4443-2.4b-unknown-info
#[test]
fn unknown_informational_types_are_dropped_silently() {
    let mut lab = Lab::new();
    for icmp_type in [138, 140, 150, 200, 255] {
        lab.refuse(&v6(58, &icmp6(PEER6, US6, (icmp_type, 0), [0; 4], &[0; 48])), Drop::IcmpIgnored);
    }
}

/// conformance: 4443-no-nd-on-tun
#[test]
fn neighbour_messages_are_counted_and_ignored() {
    let mut lab = Lab::new();
    for icmp_type in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
        lab.refuse(&v6(58, &icmp6(PEER6, US6, (icmp_type, 0), [0; 4], &[0; 40])), Drop::IcmpIgnored);
    }
    assert_eq!(lab.counters.icmp6_in_neighbour, 9);
}

/// conformance: 1122-3.2.2.2-bad-redirect, 1122-3.3.1.2-redirect
#[test]
fn redirects_are_counted_and_change_nothing() {
    let mut lab = Lab::new();
    let quote = v4_from_to(US, ip4("8.8.8.8"), UDP, &udp(0));
    lab.refuse(&v4(1, &icmp4(5, 1, ip4("10.9.0.77").octets(), &quote)), Drop::IcmpIgnored);
    assert_eq!(lab.counters.icmp_in_redirects, 1);
    assert_eq!(lab.net.gateways().0, Some(PEER.into()));
}

/// A source quench about a packet of ours must reach nobody.
#[track_caller]
fn quench(lab: &mut Lab, protocol: u8) {
    let quote = v4_from_to(US, PEER, protocol, &[0; 20]);
    lab.refuse(&v4(1, &icmp4(4, 0, [0; 4], &quote)), Drop::IcmpIgnored);
}

/// conformance: 6633-3-ip-drop, 6633-8-log
#[test]
fn a_source_quench_ends_at_the_internet_layer_and_is_counted() {
    let mut lab = Lab::new();
    quench(&mut lab, 1);
    assert_eq!(lab.counters.icmp_in_src_quenchs, 1);
}

/// conformance: 6633-5-udp
#[test]
fn a_source_quench_does_not_reach_udp() {
    quench(&mut Lab::new(), UDP);
}

/// conformance: 6633-3-tcp-drop, 5927-6-quench
#[test]
fn a_source_quench_does_not_reach_tcp() {
    quench(&mut Lab::new(), 6);
}

#[test]
fn pinging_ourselves_works_inside() {
    let mut lab = Lab::new();
    for (request, reply_type) in [
        (v4_from_to(US, US, 1, &icmp4(8, 0, [0; 4], b"me")), 0),
        (v4_from_to(ip4("127.0.0.1"), ip4("127.0.0.1"), 1, &icmp4(8, 0, [0; 4], b"me")), 0),
    ] {
        assert_eq!(lab.with(|net, env| net.receive(env, &request, true, false)), TAKEN);
        let reply = lab.net.pop_output().expect("a reply");
        assert!(reply.loopback);
        assert_eq!(reply.bytes[20], reply_type);
    }
}
