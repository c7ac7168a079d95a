//! IPv6 extension headers (RFC 8200 §4).

use super::*;

const HBH: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DST: u8 = 60;
const ICMP6: u8 = 58;

/// An options header of eight octets (more if need be), padded with Pad1.
fn options(next: u8, options: &[u8]) -> Vec<u8> {
    let len = (2 + options.len()).next_multiple_of(8);
    let mut header = vec![0; len];
    header[0] = next;
    header[1] = (len / 8 - 1) as u8;
    header[2..2 + options.len()].copy_from_slice(options);
    header
}

fn routing(next: u8, kind: u8, segments_left: u8) -> Vec<u8> {
    vec![next, 0, kind, segments_left, 0, 0, 0, 0]
}

/// A packet of these headers before an echo request.
fn chain(first: u8, headers: &[Vec<u8>]) -> Vec<u8> {
    chain_to(US6, first, headers)
}

fn chain_to(dst: std::net::Ipv6Addr, first: u8, headers: &[Vec<u8>]) -> Vec<u8> {
    let echo = icmp6(PEER6, dst, (128, 0), [0, 1, 0, 2], b"data");
    v6_from_to(PEER6, dst, first, &[&headers.concat()[..], &echo].concat())
}

#[track_caller]
fn answered(lab: &mut Lab, packet: &[u8]) {
    assert_eq!(lab.inject(packet), TAKEN);
    assert_eq!(lab.sent_one()[40], 129, "an echo reply");
}

/// The parameter problem that the packet brings: code and pointer. The quote must be exact.
#[track_caller]
fn problem(lab: &mut Lab, packet: &[u8]) -> (u8, u32) {
    assert!(matches!(lab.inject(packet), Verdict::Done(Reason::Dropped(_))));
    let error = lab.sent_one();
    assert_eq!(error[40], 4, "a parameter problem");
    assert_eq!(sum6(US6, PEER6, &error[40..]), 0);
    assert_eq!(error[48..], packet[..packet.len().min(1280 - 48)]);
    (error[41], u32::from_be_bytes([error[44], error[45], error[46], error[47]]))
}

/// conformance: 8200-4-order
#[test]
fn headers_are_processed_in_order_and_any_number_of_times() {
    let mut lab = Lab::new();
    let atomic = vec![DST, 0, 0, 0, 0, 0, 0, 9];
    answered(
        &mut lab,
        &chain(
            HBH,
            &[
                options(DST, &[]),
                options(FRAGMENT, &[]),
                atomic,
                options(ROUTING, &[]),
                routing(ICMP6, 200, 0),
            ],
        ),
    );
    // The first fault decides, not the worst.
    let first_wins = chain(DST, &[options(DST, &[0x80 + 9, 0]), options(ICMP6, &[0x40 + 9, 0])]);
    assert_eq!(problem(&mut lab, &first_wins), (2, 42));
    let first_wins = chain(DST, &[options(DST, &[0x40 + 9, 0]), options(ICMP6, &[0x80 + 9, 0])]);
    lab.refuse(&first_wins, Drop::UnknownOption);
}

/// conformance: 8200-4-nh-unknown, 4443-3.4-pp
#[test]
fn an_unknown_next_header_is_reported_where_it_stands() {
    let mut lab = Lab::new();
    assert_eq!(problem(&mut lab, &v6(253, b"whatever")), (1, 6));
    assert_eq!(problem(&mut lab, &chain(DST, &[options(253, &[])])), (1, 40));
    assert_eq!(problem(&mut lab, &chain(HBH, &[options(DST, &[0; 10]), options(253, &[])])), (1, 56));
    assert_eq!(lab.counters.ip6_in_unknown_protos, 3);
}

/// conformance: 8200-4-hbh-misplaced
#[test]
fn hop_by_hop_options_anywhere_else_are_unknown() {
    let mut lab = Lab::new();
    assert_eq!(problem(&mut lab, &chain(DST, &[options(HBH, &[]), options(ICMP6, &[])])), (1, 40));
    assert_eq!(problem(&mut lab, &chain(HBH, &[options(HBH, &[]), options(ICMP6, &[])])), (1, 40));
}

/// conformance: 8200-4-chain-bounds
#[test]
fn a_chain_is_walked_only_so_far() {
    let mut lab = Lab::new();
    let chain_of = |n: usize| {
        let mut headers = vec![options(DST, &[]); n];
        headers[n - 1][0] = ICMP6;
        chain(DST, &headers)
    };
    answered(&mut lab, &chain_of(8));
    lab.refuse(&chain_of(9), Drop::Malformed);
    lab.refuse(&chain_of(170), Drop::Malformed);
}

#[test]
fn a_chain_that_ends_outside_the_packet_is_dropped() {
    let mut lab = Lab::new();
    let whole = chain(HBH, &[options(DST, &[0; 10]), options(ROUTING, &[]), routing(ICMP6, 9, 0)]);
    for len in 40..whole.len() - 12 {
        let mut cut = whole[..len].to_vec();
        cut[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        lab.refuse(&cut, Drop::Truncated);
    }
    // An option that reaches beyond its header.
    lab.refuse(&chain(DST, &[options(ICMP6, &[9, 7, 0, 0, 0, 0])]), Drop::Malformed);
    lab.refuse(&chain(DST, &[options(ICMP6, &[0, 0, 0, 0, 0, 9])]), Drop::Malformed);
}

/// conformance: 8200-4.2-action-00
#[test]
fn an_unknown_option_with_bits_00_is_skipped() {
    answered(&mut Lab::new(), &chain(DST, &[options(ICMP6, &[0x3e, 2, 1, 2])]));
}

/// conformance: 8200-4.2-action-01
#[test]
fn an_unknown_option_with_bits_01_is_silent_death() {
    Lab::new().refuse(&chain(DST, &[options(ICMP6, &[0x7e, 2, 1, 2])]), Drop::UnknownOption);
}

/// conformance: 8200-4.2-action-10
#[test]
fn an_unknown_option_with_bits_10_is_always_reported() {
    let mut lab = Lab::new();
    let header = options(ICMP6, &[0, 0xbe, 1, 2]);
    assert_eq!(problem(&mut lab, &chain(DST, std::slice::from_ref(&header))), (2, 43));
    assert_eq!(problem(&mut lab, &chain_to(ip6("ff02::1"), DST, &[header])), (2, 43));
}

/// conformance: 8200-4.2-action-11
#[test]
fn an_unknown_option_with_bits_11_is_reported_to_who_meant_us() {
    let mut lab = Lab::new();
    let header = options(ICMP6, &[1, 0, 0xfe, 1, 2]);
    assert_eq!(problem(&mut lab, &chain(DST, std::slice::from_ref(&header))), (2, 44));
    lab.refuse(&chain_to(ip6("ff02::1"), DST, &[header]), Drop::UnknownOption);
}

/// conformance: 8200-4.2-pad
#[test]
fn both_kinds_of_padding_are_understood() {
    let mut lab = Lab::new();
    for padding in [
        &[][..],
        &[1, 4, 0, 0, 0, 0],
        &[0, 1, 0, 0, 1, 1, 0],
        &[1, 0, 0, 0, 0, 0],
        &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        answered(&mut lab, &chain(DST, &[options(ICMP6, padding)]));
    }
}

/// conformance: 8200-4.3-hbh
#[test]
fn hop_by_hop_options_are_examined() {
    let mut lab = Lab::new();
    answered(&mut lab, &chain(HBH, &[options(ICMP6, &[5, 2, 0, 0])]));
    assert_eq!(problem(&mut lab, &chain(HBH, &[options(ICMP6, &[5, 2, 0, 0, 0x9e, 0])])), (2, 46));
}

/// conformance: 8200-4.6-dstopts
#[test]
fn destination_options_are_examined_wherever_they_stand() {
    let mut lab = Lab::new();
    let header = options(ICMP6, &[0x9e, 0]);
    assert_eq!(problem(&mut lab, &chain(HBH, &[options(DST, &[]), header.clone()])), (2, 50));
    assert_eq!(problem(&mut lab, &chain(ROUTING, &[routing(DST, 4, 0), header])), (2, 50));
}

/// conformance: 8200-4.4-rh-unknown-sl0
#[test]
fn a_routing_header_without_segments_left_is_ignored() {
    let mut lab = Lab::new();
    for kind in [0, 2, 4, 200] {
        answered(&mut lab, &chain(ROUTING, &[routing(ICMP6, kind, 0)]));
    }
}

/// conformance: 8200-4.4-rh-unknown-sl
#[test]
fn a_routing_header_with_segments_left_is_refused() {
    let mut lab = Lab::new();
    for kind in [0, 2, 4, 200] {
        assert_eq!(problem(&mut lab, &chain(ROUTING, &[routing(ICMP6, kind, 1)])), (0, 42));
    }
}

/// conformance: 8200-4.7-nonext
#[test]
fn nothing_follows_no_next_header() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&v6(59, b"ignored")), TAKEN);
    assert_eq!(lab.inject(&chain(DST, &[options(59, &[])])), TAKEN);
    assert_eq!(lab.sent(), Vec::<Vec<u8>>::new());
}
