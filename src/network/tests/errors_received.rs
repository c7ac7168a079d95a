//! ICMP errors that arrive: who gets them, as which error, with which MTU.

use super::*;

/// What an error over IPv4 about `quote` becomes.
fn error4(lab: &mut Lab, kind: (u8, u8), rest: [u8; 4], quote: &[u8]) -> Option<QuotedError<'static>> {
    let packet = v4(1, &icmp4(kind.0, kind.1, rest, quote));
    read(lab, &packet)
}

fn error6(lab: &mut Lab, kind: (u8, u8), rest: [u8; 4], quote: &[u8]) -> Option<QuotedError<'static>> {
    let packet = v6(58, &icmp6(PEER6, US6, kind, rest, quote));
    read(lab, &packet)
}

fn read(lab: &mut Lab, packet: &[u8]) -> Option<QuotedError<'static>> {
    let verdict = lab.inject(packet);
    let error = match verdict {
        Verdict::IcmpError(error) => {
            Some(QuotedError { transport: error.transport.to_vec().into(), ..error })
        }
        Verdict::Done(_) => None,
        Verdict::Deliver(delivery) => panic!("delivered: {delivery:?}"),
    };
    assert_eq!(lab.sent(), Vec::<Vec<u8>>::new(), "an error is never answered");
    error
}

/// A packet of ours as a router would quote it.
fn ours4(protocol: u8, len: usize) -> Vec<u8> {
    v4_from_to(US, ip4("8.8.8.8"), protocol, &pattern(len))
}

fn ours6(next: u8, payload: &[u8]) -> Vec<u8> {
    v6_from_to(US6, ip6("2001:db8::8"), next, payload)
}

/// conformance: 1122-3.2.2-demux, 1122-3.2.2.1-up
#[test]
fn an_error_names_the_transport_that_it_is_about() {
    let mut lab = Lab::new();
    for protocol in [6, 17, 1] {
        let quote = ours4(protocol, 8);
        let error = error4(&mut lab, (3, 1), [0; 4], &quote).expect("about us");
        assert_eq!((error.from, error.src, error.dst), (PEER.into(), US.into(), ip("8.8.8.8")));
        assert_eq!((error.protocol, &error.transport[..]), (protocol, &pattern(8)[..]));
        assert_eq!((error.icmp_type, error.icmp_code, error.mtu), (3, 1, None));
    }
}

#[test]
fn unreachables_are_the_errors_that_linux_makes_of_them() {
    use Errno::*;
    let table = [
        (ENETUNREACH, false),
        (EHOSTUNREACH, false),
        (ENOPROTOOPT, true),
        (ECONNREFUSED, true),
        (EMSGSIZE, false),
        (EOPNOTSUPP, false),
        (ENETUNREACH, true),
        (EHOSTDOWN, true),
        (ENONET, true),
        (ENETUNREACH, true),
        (EHOSTUNREACH, true),
        (ENETUNREACH, false),
        (EHOSTUNREACH, false),
        (EHOSTUNREACH, true),
        (EHOSTUNREACH, true),
        (EHOSTUNREACH, true),
    ];
    let mut lab = Lab::new();
    for (code, expected) in table.into_iter().enumerate() {
        let error = error4(&mut lab, (3, code as u8), [0; 4], &ours4(6, 100)).expect("about us");
        assert_eq!((error.error, error.hard), expected, "code {code}");
    }
    assert_eq!(error4(&mut lab, (3, 16), [0; 4], &ours4(6, 8)), None);
}

/// conformance: 1122-3.2.2.4-time-exceeded
#[test]
fn time_exceeded_is_passed_up() {
    for code in [0, 1] {
        let error = error4(&mut Lab::new(), (11, code), [0; 4], &ours4(17, 8)).expect("about us");
        assert_eq!((error.error, error.hard), (Errno::EHOSTUNREACH, false));
    }
}

/// conformance: 1122-3.2.2.5-param-up
#[test]
fn a_parameter_problem_is_passed_up() {
    let error = error4(&mut Lab::new(), (12, 0), [9, 0, 0, 0], &ours4(17, 8)).expect("about us");
    assert_eq!((error.error, error.hard), (Errno::EPROTO, true));
}

/// conformance: 4443-3.1-up
#[test]
fn unreachables_over_ipv6_are_passed_up() {
    use Errno::*;
    let table = [
        (ENETUNREACH, false),
        (EACCES, true),
        (EHOSTUNREACH, false),
        (EHOSTUNREACH, false),
        (ECONNREFUSED, true),
        (EACCES, true),
        (EACCES, true),
        (EPROTO, true),
    ];
    for (code, expected) in table.into_iter().enumerate() {
        let error =
            error6(&mut Lab::new(), (1, code as u8), [0; 4], &ours6(17, &pattern(8))).expect("about us");
        assert_eq!((error.error, error.hard), expected, "code {code}");
        assert_eq!((error.src, error.dst), (US6.into(), ip("2001:db8::8")));
    }
}

/// conformance: 4443-3.3-te
#[test]
fn time_exceeded_over_ipv6_is_passed_up() {
    let error = error6(&mut Lab::new(), (3, 0), [0; 4], &ours6(17, &pattern(8))).expect("about us");
    assert_eq!((error.error, error.hard), (Errno::EHOSTUNREACH, false));
}

/// conformance: 4443-2.4a-unknown-error, 4443-2.1-codes-extra
#[test]
fn errors_of_unknown_type_go_to_whom_they_concern() {
    for icmp_type in [5, 100, 127] {
        let error =
            error6(&mut Lab::new(), (icmp_type, 9), [0; 4], &ours6(17, &pattern(8))).expect("about us");
        assert_eq!((error.error, error.hard, error.protocol), (Errno::EPROTO, false, 17));
    }
    assert_eq!(error6(&mut Lab::new(), (128 + 100, 9), [0; 4], &ours6(17, &pattern(8))), None);
}

/// conformance: 4443-2.4d-demux
#[test]
fn the_transport_is_found_behind_quoted_extension_headers() {
    let mut lab = Lab::new();
    let headers = [&[43u8, 1][..], &[0; 14], &[44, 0, 9, 0], &[0; 4], &[17, 0, 0, 1, 0, 0, 0, 5]].concat();
    let quote = ours6(60, &[&headers[..], &pattern(8)].concat());
    let error = error6(&mut lab, (1, 4), [0; 4], &quote).expect("about us");
    assert_eq!((error.protocol, &error.transport[..]), (17, &pattern(8)[..]));
    for len in 0..quote.len() {
        assert_eq!(error6(&mut lab, (1, 4), [0; 4], &quote[..len]), None, "{len}");
    }
    let later = ours6(44, &[&[17, 0, 0, 8, 0, 0, 0, 5][..], &pattern(8)].concat());
    assert_eq!(error6(&mut lab, (1, 4), [0; 4], &later), None, "the middle of a payload is no header");
}

/// conformance: 4443-5-validate
#[test]
fn errors_about_packets_that_are_not_ours_are_ignored() {
    let mut lab = Lab::new();
    assert_eq!(error4(&mut lab, (3, 3), [0; 4], &v4_from_to(PEER, US, UDP, &udp(0))), None);
    assert_eq!(error4(&mut lab, (3, 3), [0; 4], &ours4(253, 8)), None);
    assert_eq!(error6(&mut lab, (1, 4), [0; 4], &v6(UDP, &udp(0))), None);
    assert_eq!(lab.counters.icmp_in_stale, 3);
    // One family cannot report about the other, and an error to many is no error.
    assert_eq!(error4(&mut lab, (3, 3), [0; 4], &ours6(17, &pattern(8))), None);
    let to_all = v4_from_to(PEER, ip4("10.9.0.255"), 1, &icmp4(3, 3, [0; 4], &ours4(6, 8)));
    assert_eq!(read(&mut lab, &to_all), None);
}

#[test]
fn an_error_that_came_in_fragments_is_read_too() {
    let mut lab = Lab::new();
    let message = icmp4(3, 3, [0; 4], &ours4(17, 20));
    for (offset, more, piece) in [(0, true, &message[..16]), (2, false, &message[16..])] {
        let mut header = header4(1);
        header.identification = 5;
        header.more_fragments = more;
        header.fragment_offset = offset.try_into().expect("13 bits");
        let packet = v4_with(header, piece);
        if let Verdict::IcmpError(error) = lab.inject(&packet) {
            assert_eq!(&error.transport[..], pattern(20));
            return;
        }
    }
    panic!("not read");
}

fn mtu4(field: u16, quoted_len: u16) -> Option<u32> {
    let mut quote = ours4(6, 8);
    quote[2..4].copy_from_slice(&quoted_len.to_be_bytes());
    mend4(&mut quote);
    let [a, b] = field.to_be_bytes();
    error4(&mut Lab::new(), (3, 4), [0, 0, a, b], &quote).and_then(|error| error.mtu)
}

#[test]
fn fragmentation_needed_carries_the_next_hop_mtu() {
    assert_eq!(mtu4(1400, 1500), Some(1400));
    assert_eq!(mtu4(0, 1500), Some(1492), "an old router: the next plateau");
    assert_eq!(mtu4(0, 1492), Some(1006));
}

/// conformance: 5927-7.2-pmtu-size
#[test]
fn a_packet_that_fits_was_not_too_big() {
    assert_eq!(mtu4(600, 500), None);
    assert_eq!(mtu4(1500, 1500), None);
    let small = ours6(6, &pattern(1300));
    assert_eq!(error6(&mut Lab::new(), (2, 0), 1400u32.to_be_bytes(), &small), None);
}

/// conformance: 4443-3.2-ptb-up, 4443-3.2-ptb-code
#[test]
fn packet_too_big_is_passed_up_whatever_its_code() {
    let quote = ours6(6, &pattern(1400));
    for code in [0, 5] {
        let error = error6(&mut Lab::new(), (2, code), 1300u32.to_be_bytes(), &quote).expect("about us");
        assert_eq!((error.mtu, error.error), (Some(1300), Errno::EMSGSIZE));
    }
    assert_eq!(error6(&mut Lab::new(), (2, 0), 1000u32.to_be_bytes(), &quote), None, "below 1280");
}
