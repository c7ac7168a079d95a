//! IPv4 headers and addresses of packets that arrive.

use super::*;

/// conformance: 1122-3.2.1.1-version
#[test]
fn a_version_that_is_neither_4_nor_6_is_dropped() {
    let mut lab = Lab::new();
    for version in [0, 1, 2, 3, 5, 7, 8, 15] {
        let mut packet = v4(UDP, &udp(4));
        packet[0] = version << 4 | 5;
        mend4(&mut packet);
        lab.refuse(&packet, Drop::Malformed);
    }
    assert_eq!(lab.counters.ip_in_hdr_errors, 8);
    lab.refuse(&[], Drop::Truncated);
}

/// conformance: 1122-3.2.1.2-checksum
#[test]
fn a_bad_header_checksum_is_dropped() {
    let mut lab = Lab::new();
    let mut header = header4(UDP);
    header.options = [1, 1, 1, 0][..].try_into().expect("four octets");
    for good in [v4(UDP, &udp(4)), v4_with(header, &udp(4))] {
        lab.deliver(&good);
        let header_len = usize::from(good[0] & 15) * 4;
        for at in (8..header_len).filter(|at| !(10..12).contains(at)) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            lab.refuse(&bad, Drop::IpChecksum);
        }
    }
    assert_eq!(lab.counters.ip_ext_in_csum_errors, 10 + 14);
}

/// conformance: 1122-3.2.1.2-header-sanity
#[test]
fn headers_that_cannot_be_are_dropped() {
    let mut lab = Lab::new();
    let good = v4(UDP, &udp(4));
    for cut in 1..good.len() {
        lab.refuse(&good[..cut], Drop::Truncated);
    }
    for ihl in 0..5 {
        let mut packet = good.clone();
        packet[0] = 0x40 | ihl;
        lab.refuse(&packet, Drop::Malformed);
    }
    let mut long_header = good.clone();
    long_header[0] = 0x4f;
    lab.refuse(&long_header, Drop::Truncated);
    for total in [0u16, 19, 33, 65535] {
        let mut packet = good.clone();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        mend4(&mut packet);
        lab.refuse(&packet, if total < 20 { Drop::Malformed } else { Drop::Truncated });
    }
}

/// conformance: 791-3.1-total-length
#[test]
fn octets_past_the_total_length_are_no_part_of_it() {
    let mut lab = Lab::new();
    let packet = [&v4(UDP, &udp(4))[..], b"trailer"].concat();
    assert_eq!(lab.deliver(&packet).payload(), udp(4));
}

#[test]
fn a_reserved_flag_that_is_set_is_ignored() {
    let mut lab = Lab::new();
    let mut packet = v4(UDP, &udp(4));
    packet[6] |= 0x80;
    mend4(&mut packet);
    assert_eq!(lab.deliver(&packet).payload(), udp(4));
}

/// conformance: 1122-3.1-no-forward, 1122-3.2.1.3-bad-dst
#[test]
fn what_is_for_others_is_dropped_silently() {
    let mut lab = Lab::new();
    for dst in ["10.9.0.3", "10.9.1.2", "8.8.8.8", "10.9.0.0", "239.1.1.1", "240.0.0.1"] {
        lab.refuse(&v4_from_to(PEER, ip4(dst), UDP, &udp(4)), Drop::NotOurs);
    }
    assert_eq!(lab.counters.ip_in_addr_errors, 6);
}

/// conformance: 1122-3.2.1.3-bad-src
#[test]
fn impossible_sources_are_dropped_silently() {
    let mut lab = Lab::new();
    for src in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "224.0.0.1",
        "239.9.9.9",
        "255.255.255.255",
        "10.9.0.255",
    ] {
        lab.refuse(&v4_from_to(ip4(src), US, 253, &udp(4)), Drop::BadSource);
    }
    assert_eq!((lab.counters.in_martians, lab.counters.ip_in_addr_errors), (8, 8));
}

#[test]
fn our_own_address_does_not_come_from_outside() {
    let mut lab = Lab::new();
    lab.net.add_address("10.9.0.9/24".parse().expect("valid")).expect("possible");
    lab.refuse(&v4_from_to(ip4("10.9.0.9"), US, UDP, &udp(4)), Drop::BadSource);
    lab.refuse(&v4_from_to(US, US, UDP, &udp(4)), Drop::Land);
    assert_eq!((lab.counters.in_martians, lab.counters.in_land), (1, 1));
}

#[test]
fn loopback_destinations_do_not_come_from_outside() {
    let mut lab = Lab::new();
    for dst in ["127.0.0.1", "127.255.0.1", "0.0.0.0"] {
        lab.refuse(&v4_from_to(PEER, ip4(dst), UDP, &udp(4)), Drop::BadDestination);
    }
    let inside = v4_from_to(ip4("127.0.0.1"), ip4("127.0.0.1"), UDP, &udp(4));
    let verdict = lab.with(|net, env| net.receive(env, &inside, true, false));
    assert!(matches!(verdict, Verdict::Deliver(d) if d.to == AddressKind::Loopback && d.checksum_trusted));
}

/// conformance: 1122-3.3.6-broadcast
#[test]
fn limited_and_directed_broadcasts_are_delivered_as_such() {
    let mut lab = Lab::new();
    for dst in ["255.255.255.255", "10.9.0.255"] {
        let packet = v4_from_to(PEER, ip4(dst), UDP, &udp(4));
        assert_eq!(lab.deliver(&packet).to, AddressKind::Broadcast, "{dst}");
    }
    assert_eq!(lab.counters.ip_ext_in_bcast_pkts, 2);
}

/// conformance: 1122-3.3.7-multicast
#[test]
fn groups_are_heard_while_joined_and_all_hosts_always() {
    let mut lab = Lab::new();
    let packet = v4_from_to(PEER, ip4("239.1.1.1"), UDP, &udp(4));
    lab.refuse(&packet, Drop::NotOurs);
    lab.net.join(ip("239.1.1.1")).expect("a group");
    assert_eq!(lab.deliver(&packet).to, AddressKind::Multicast);
    lab.net.leave(ip("239.1.1.1")).expect("joined");
    lab.refuse(&packet, Drop::NotOurs);
    assert_eq!(lab.deliver(&v4_from_to(PEER, ip4("224.0.0.1"), UDP, &udp(4))).to, AddressKind::Multicast);
}

/// conformance: 1122-3.2.1.7-ttl-low-rx
#[test]
fn a_low_ttl_does_not_matter_at_the_destination() {
    let mut lab = Lab::new();
    for ttl in [0, 1] {
        let packet = v4_with(Ipv4Header { time_to_live: ttl, ..header4(UDP) }, &udp(4));
        assert_eq!(lab.deliver(&packet).ttl, ttl);
    }
}

/// conformance: 1122-3.2.1.6-tos-up
#[test]
fn the_tos_octet_is_passed_up() {
    let mut lab = Lab::new();
    let mut packet = v4(UDP, &udp(4));
    packet[1] = 0xb9;
    mend4(&mut packet);
    assert_eq!(lab.deliver(&packet).tos, 0xb9);
}

fn with_options(options: &[u8]) -> Vec<u8> {
    let mut header = header4(UDP);
    header.options = options.try_into().expect("a multiple of four");
    v4_with(header, &udp(4))
}

/// conformance: 1122-3.2.1.8-ignore-unknown
#[test]
fn unknown_options_are_skipped() {
    let mut lab = Lab::new();
    for options in
        [&[0x9e, 4, 1, 2][..], &[1, 1, 1, 0x9e, 3, 9, 0, 0], &[0x94, 4, 0, 0], &[7, 7, 4, 0, 0, 0, 0, 0]]
    {
        assert_eq!(lab.deliver(&with_options(options)).payload(), udp(4), "{options:?}");
    }
    // What follows the end of the options is padding, whatever it looks like.
    assert_eq!(lab.deliver(&with_options(&[0, 131, 0, 0])).payload(), udp(4));
}

/// conformance: 1122-3.2.1.8-lsrr
#[test]
fn source_routes_are_dropped() {
    let mut lab = Lab::new();
    for kind in [131, 137] {
        lab.refuse(&with_options(&[kind, 7, 4, 10, 9, 0, 3, 0]), Drop::UnknownOption);
    }
    assert_eq!(lab.counters.in_source_routes, 2);
}

/// conformance: 1122-3.2.2.5-param-send
#[test]
fn an_option_with_an_impossible_length_is_reported() {
    let mut lab = Lab::new();
    for (options, pointer) in
        [(&[0x9e, 0, 0, 0][..], 20), (&[1, 0x9e, 1, 0], 21), (&[1, 1, 0x9e, 9], 22), (&[1, 1, 1, 0x9e], 23)]
    {
        let packet = with_options(options);
        assert_eq!(lab.inject(&packet), Verdict::Done(Reason::Dropped(Drop::Malformed)));
        let error = lab.sent_one();
        assert_eq!(error[20..28], icmp4(12, 0, [pointer, 0, 0, 0], &packet)[..8], "{options:?}");
    }
}

/// conformance: 6864-4.1-atomic-ignore, 6864-4.1-id-frag-only, 9293-MAY-4, 1122-3.2.1.5-id
#[test]
fn the_identification_of_whole_packets_means_nothing() {
    let mut lab = Lab::new();
    for payload in [udp(4), udp(4), udp(9)] {
        let packet =
            v4_with(Ipv4Header { identification: 77, dont_fragment: true, ..header4(UDP) }, &payload);
        assert_eq!(lab.deliver(&packet).payload(), payload);
    }
}

/// conformance: 1122-3.1-count-discards
#[test]
fn every_kind_of_discard_has_its_counter() {
    let mut bad_sum = v4(UDP, &udp(4));
    bad_sum[10] ^= 1;
    type Counter = fn(&Counters) -> u64;
    let cases: [(Vec<u8>, Counter); 7] = [
        (bad_sum, |c| c.ip_ext_in_csum_errors),
        (v4(UDP, &udp(4))[..21].to_vec(), |c| c.ip_ext_in_truncated_pkts),
        (v4(253, b"x"), |c| c.ip_in_unknown_protos),
        (v4_from_to(PEER, ip4("8.8.8.8"), UDP, &udp(4)), |c| c.ip_in_addr_errors),
        (v4_from_to(ip4("127.0.0.1"), US, UDP, &udp(4)), |c| c.in_martians),
        (v4_from_to(US, US, UDP, &udp(4)), |c| c.in_land),
        (with_options(&[131, 3, 4, 0]), |c| c.in_source_routes),
    ];
    for (packet, counter) in cases {
        let mut lab = Lab::new();
        lab.inject(&packet);
        assert_eq!(counter(&lab.counters), 1, "{packet:?}");
        assert_eq!(lab.counters.ip_in_receives, 1);
    }
}
