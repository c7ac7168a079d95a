//! ICMP errors that we send, and the many cases in which we must not (RFC 1122 §3.2.2, RFC 4443 §2.4).

use super::fragments::{frag4, frag6};
use super::*;

/// A port unreachable about `packet`, as UDP would want it.
fn report(lab: &mut Lab, packet: &[u8]) {
    lab.with(|net, env| net.send_error(env, packet, IcmpErrorKind::PortUnreachable));
}

#[track_caller]
fn silent(lab: &mut Lab, packet: &[u8]) {
    report(lab, packet);
    assert_eq!(lab.sent(), Vec::<Vec<u8>>::new());
}

/// conformance: 1122-3.2.2.1-port, 1122-3.3.8-errors
#[test]
fn unknown_protocols_and_closed_ports_are_reported() {
    let mut lab = Lab::new();
    let packet = v4(253, b"what is this");
    assert_eq!(lab.inject(&packet), Verdict::Done(Reason::Dropped(Drop::UnknownProtocol)));
    assert_eq!(lab.sent_one()[20..], icmp4(3, 2, [0; 4], &packet));
    let packet = v4(UDP, &udp(4));
    report(&mut lab, &packet);
    assert_eq!(lab.sent_one()[20..], icmp4(3, 3, [0; 4], &packet));
    assert_eq!(lab.counters.icmp_out_dest_unreachs, 2);
}

/// conformance: 4443-3.1-noroute
#[test]
fn a_closed_port_over_ipv6_is_code_4() {
    let mut lab = Lab::new();
    let packet = v6(UDP, &udp(4));
    report(&mut lab, &packet);
    assert_eq!(lab.sent_one()[40..], icmp6(US6, PEER6, (1, 4), [0; 4], &packet));
}

/// conformance: 1122-3.2.2-quote, 792-unreach-format
#[test]
fn the_quote_is_what_was_received() {
    let mut lab = Lab::new();
    for len in [0, 1, 8, 500, 520, 521, 1400] {
        let mut header = header4(UDP);
        header.options = [1, 1, 1, 0][..].try_into().expect("four octets");
        let packet = v4_with(Ipv4Header { time_to_live: 3, identification: 99, ..header }, &udp(len));
        report(&mut lab, &packet);
        let error = lab.sent_one();
        assert_eq!(error[24..28], [0; 4], "unused");
        assert_eq!(error[28..], packet[..packet.len().min(576 - 28)]);
    }
}

/// conformance: 4443-2.4c-size
#[test]
fn an_ipv6_error_quotes_what_fits_in_1280() {
    let mut lab = Lab::new();
    let packet = v6(UDP, &udp(1452));
    assert_eq!(packet.len(), 1500);
    report(&mut lab, &packet);
    let error = lab.sent_one();
    assert_eq!((error.len(), &error[48..]), (1280, &packet[..1232]));
}

/// conformance: 1122-3.2.2-tos0
#[test]
fn errors_have_tos_zero() {
    let mut lab = Lab::new();
    let mut packet = v4(UDP, &udp(4));
    packet[1] = 0xb8;
    mend4(&mut packet);
    report(&mut lab, &packet);
    assert_eq!(lab.sent_one()[1], 0);
}

/// conformance: 1122-3.2.2-no-err-err
#[test]
fn no_error_about_an_error() {
    let mut lab = Lab::new();
    for icmp_type in [3, 4, 5, 11, 12] {
        silent(&mut lab, &v4(1, &icmp4(icmp_type, 3, [0; 4], &v4_from_to(US, PEER, UDP, &udp(0)))));
    }
    report(&mut lab, &ping4(b"not an error"));
    assert_eq!(lab.sent().len(), 1);
}

/// conformance: 4443-2.4e1-no-err-err
#[test]
fn no_ipv6_error_about_an_error() {
    let mut lab = Lab::new();
    for icmp_type in [1, 2, 3, 4, 100, 127] {
        let error = icmp6(PEER6, US6, (icmp_type, 0), [0; 4], &v6_from_to(US6, PEER6, UDP, &udp(0)));
        silent(&mut lab, &v6(58, &error));
        silent(&mut lab, &v6(60, &[&[58, 0, 1, 4, 0, 0, 0, 0][..], &error].concat()));
        // A fault before the error is found is no reason either.
        lab.refuse(&v6(60, &[&[58, 0, 0x9e, 0, 0, 0, 0, 0][..], &error].concat()), Drop::UnknownOption);
    }
    // Where the type cannot be seen it may be an error.
    silent(&mut lab, &frag6(58, 1, 8, true, &[0; 8]));
    report(&mut lab, &ping6(b"not an error"));
    assert_eq!(lab.sent().len(), 1);
}

/// conformance: 4443-2.4e2-redirect
#[test]
fn no_error_about_a_redirect() {
    silent(&mut Lab::new(), &v6(58, &icmp6(PEER6, US6, (137, 0), [0; 4], &[0; 32])));
}

/// conformance: 1122-3.2.2-no-err-mcast
#[test]
fn no_error_about_what_went_to_many() {
    let mut lab = Lab::new();
    for dst in ["10.9.0.255", "255.255.255.255", "224.0.0.1", "239.1.1.1"] {
        silent(&mut lab, &v4_from_to(PEER, ip4(dst), UDP, &udp(4)));
    }
    lab.refuse(&v4_from_to(PEER, ip4("224.0.0.1"), 253, b"x"), Drop::UnknownProtocol);
}

/// conformance: 4443-2.4e3-multicast
#[test]
fn no_ipv6_error_about_what_went_to_many_but_for_an_option() {
    let mut lab = Lab::new();
    silent(&mut lab, &v6_from_to(PEER6, ip6("ff02::1"), UDP, &udp(4)));
    lab.refuse(&v6_from_to(PEER6, ip6("ff02::1"), 253, b"x"), Drop::UnknownProtocol);
    lab.inject(&v6_from_to(
        PEER6,
        ip6("ff02::1"),
        60,
        &[&[17, 0, 0x9e, 0, 0, 0, 0, 0][..], &udp(4)].concat(),
    ));
    let error = lab.sent_one();
    assert_eq!((&error[8..24], error[40], error[41]), (&US6.octets()[..], 4, 2));
}

/// conformance: 1122-3.2.2-no-err-frag
#[test]
fn no_error_about_a_later_fragment() {
    let mut lab = Lab::new();
    silent(&mut lab, &frag4(1, 8, false, &[0; 8]));
    report(&mut lab, &frag4(1, 0, true, &udp(0)));
    assert_eq!(lab.sent().len(), 1, "but about the first");
}

/// conformance: 1122-3.2.2-no-err-src
#[test]
fn no_error_to_who_is_not_a_single_host() {
    let mut lab = Lab::new();
    for src in
        ["0.0.0.0", "127.0.0.1", "10.9.0.255", "255.255.255.255", "224.0.0.5", "240.0.0.1", "254.1.1.1"]
    {
        silent(&mut lab, &v4_from_to(ip4(src), US, UDP, &udp(4)));
    }
}

/// conformance: 4443-2.4e6-src
#[test]
fn no_ipv6_error_to_who_is_not_a_single_host() {
    let mut lab = Lab::new();
    for src in ["::", "ff02::5", "::1"] {
        silent(&mut lab, &v6_from_to(ip6(src), US6, UDP, &udp(4)));
    }
}

/// conformance: 4443-2.4f-rate
#[test]
fn errors_are_rate_limited() {
    let mut lab = Lab::new();
    lab.config = Config::default();
    let burst = |lab: &mut Lab| {
        for _ in 0..1000 {
            report(lab, &v6(UDP, &udp(4)));
        }
        lab.sent().len()
    };
    assert_eq!(burst(&mut lab), 10);
    assert_eq!(lab.counters.icmp_out_rate_limit_global, 990);
    lab.advance(Duration::from_millis(99));
    assert_eq!(burst(&mut lab), 0);
    lab.advance(Duration::from_millis(1));
    assert_eq!(burst(&mut lab), 1);
    lab.advance(Duration::from_secs(1));
    assert_eq!(burst(&mut lab), 10);
    lab.advance(Duration::from_secs(100));
    assert_eq!(burst(&mut lab), 10, "tokens do not pile up");
    lab.config.icmp_msgs_per_sec = 0;
    lab.advance(Duration::from_secs(100));
    assert_eq!(burst(&mut lab), 0);
}

#[test]
fn echo_replies_are_not_rate_limited() {
    let mut lab = Lab::new();
    lab.config = Config::default();
    for _ in 0..100 {
        lab.inject(&ping4(b"x"));
    }
    assert_eq!(lab.sent().len(), 100);
}

#[test]
fn errors_come_from_the_address_that_was_meant() {
    let mut lab = Lab::new();
    lab.net.add_address("192.168.7.7/24".parse().expect("valid")).expect("possible");
    report(&mut lab, &v4_from_to(PEER, ip4("192.168.7.7"), UDP, &udp(4)));
    assert_eq!(lab.sent_one()[12..16], [192, 168, 7, 7]);
}

#[test]
fn errors_within_the_host_stay_within_and_have_no_limit() {
    let mut lab = Lab::new();
    lab.config.icmp_msgs_per_sec = 0;
    for (src, dst) in [("127.0.0.1", "127.0.0.1"), ("10.9.0.2", "10.9.0.2")] {
        report(&mut lab, &v4_from_to(ip4(src), ip4(dst), UDP, &udp(4)));
        let error = lab.net.pop_output().expect("an error");
        assert!(error.loopback);
        let verdict = lab.with(|net, env| net.receive(env, &error.bytes, true, false));
        assert!(
            matches!(verdict, Verdict::IcmpError(e) if e.error == Errno::ECONNREFUSED && e.src == ip(src))
        );
    }
}
