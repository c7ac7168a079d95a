use super::*;
use proptest::prelude::*;

fn segment(options: Options) -> Segment<'static> {
    Segment {
        src_port: 40000,
        dst_port: 80,
        seq: SeqNumber(0xffff_fff0),
        ack: SeqNumber(7),
        flags: Flags::ACK,
        window: 502,
        urgent: 0,
        options,
        payload: &[],
    }
}

fn emitted(options: Options) -> Vec<u8> {
    let mut buf = [0xaa; MAX_HEADER_LEN];
    let len = emit_header(&mut buf, &segment(options.clone()));
    assert_eq!(len, HEADER_LEN + option_len(&options));
    buf[HEADER_LEN..len].to_vec()
}

const TS: Timestamps = Timestamps { value: 0x01020304, echo: 0x05060708 };

#[test]
fn option_layouts_are_those_of_linux() {
    let all = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(TS),
        ..Options::default()
    };
    assert_eq!(emitted(all.clone()), [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7]);
    assert_eq!(emitted(Options { timestamps: None, ..all.clone() }), [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7]);
    assert_eq!(
        emitted(Options { sack_permitted: false, window_scale: None, ..all }),
        [2, 4, 5, 180, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]
    );
    let block = SackBlock { left: SeqNumber(1), right: SeqNumber(2) };
    let mut data = Options { timestamps: Some(TS), ..Options::default() };
    data.sack.push(block);
    assert_eq!(
        emitted(data.clone()),
        [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2]
    );
    data.sack.extend([block; 3]);
    assert_eq!(emitted(data.clone()).len(), 40, "three blocks beside timestamps");
    assert_eq!(emitted(Options { timestamps: None, ..data }).len(), 36, "four blocks alone");
    assert!(emitted(Options::default()).is_empty());
}

fn parsed(flags: Flags, options: &[u8]) -> Options {
    let mut header = [0; MAX_HEADER_LEN];
    emit_header(&mut header, &Segment { flags, ..segment(Options::default()) });
    let len = HEADER_LEN + options.len().next_multiple_of(4);
    header[HEADER_LEN..HEADER_LEN + options.len()].copy_from_slice(options);
    header[12] = (len as u8 / 4) << 4;
    parse(&header[..len]).expect("the structure is right").options
}

#[test]
fn options_are_found_at_any_alignment_and_in_any_order() {
    let found = parsed(Flags::SYN, &[1, 3, 3, 9, 1, 1, 1, 2, 4, 2, 0, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2]);
    let expected = Options {
        mss: Some(512),
        window_scale: Some(9),
        sack_permitted: true,
        timestamps: Some(TS),
        ..Options::default()
    };
    assert_eq!(found, expected);
    assert_eq!(parsed(Flags::ACK, &[2, 4, 2, 0, 3, 3, 9, 4, 2]), Options::default(), "SYN options on an ACK");
}

/// conformance: 9293-MUST-6
#[test]
fn unknown_options_are_skipped_by_their_length() {
    assert_eq!(parsed(Flags::SYN, &[253, 6, 1, 2, 3, 4, 2, 4, 2, 0]).mss, Some(512));
}

/// conformance: 9293-MUST-7
#[test]
fn impossible_option_lengths_end_the_walk() {
    // Good options, one with a bad length, and a window scale that must not be found behind it.
    for bad in [&[8, 0][..], &[8, 1], &[253, 1], &[8, 40], &[253, 40]] {
        let found = parsed(Flags::SYN, &[&[2, 4, 2, 0][..], bad, &[3, 3, 7]].concat());
        assert_eq!(found, Options { mss: Some(512), ..Options::default() }, "{bad:?}");
    }
    assert_eq!(parsed(Flags::SYN, &[2, 4, 2, 0, 1, 1, 1, 8]).mss, Some(512), "a kind without its length");
    assert_eq!(parsed(Flags::SYN, &[2, 3, 9, 3, 3, 7]).mss, None, "a wrong length for the kind");
}

#[test]
fn a_header_must_fit() {
    let mut header = [0; MAX_HEADER_LEN];
    let len = emit_header(&mut header, &segment(Options::default()));
    for cut in 0..len {
        assert_eq!(parse(&header[..cut]), Err(Malformed::Truncated), "{cut}");
    }
    for offset in 0..5 {
        header[12] = offset << 4;
        assert_eq!(parse(&header[..len]), Err(Malformed::Structure), "{offset}");
    }
    header[12] = 6 << 4;
    assert_eq!(parse(&header[..len]), Err(Malformed::Truncated));
}

proptest! {
    #[test]
    fn any_octets_parse_or_are_refused(bytes: Vec<u8>) {
        if let Ok(segment) = parse(&bytes) {
            prop_assert!(segment.payload.len() + HEADER_LEN <= bytes.len());
        }
    }

    #[test]
    fn another_implementation_reads_what_we_write(
        seq: u32, ack: u32, bits: u8, window: u16, payload: Vec<u8>, cut: prop::sample::Index, six: bool,
    ) {
        let options = Options { timestamps: Some(TS), ..Options::default() };
        let wanted = Segment {
            seq: SeqNumber(seq), ack: SeqNumber(ack), flags: Flags::from_bits_retain(bits), window,
            payload: &payload, ..segment(options)
        };
        let (src, dst): (IpAddr, IpAddr) = if six {
            ([1; 16].into(), [2; 16].into())
        } else {
            ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        };
        let mut buf = [0; MAX_HEADER_LEN];
        let len = emit_header(&mut buf, &wanted);
        let (a, b) = payload.split_at(cut.index(payload.len() + 1));
        fill_checksum(&mut buf[..len], src, dst, &[a, b]);
        let bytes = [&buf[..len], &payload].concat();
        prop_assert!(verify(src, dst, &bytes));
        prop_assert_eq!(parse(&bytes).expect("ours"), wanted);
        let theirs = etherparse::TcpSlice::from_slice(&bytes).expect("structure");
        let expected = match (src, dst) {
            (IpAddr::V4(s), IpAddr::V4(d)) => theirs.calc_checksum_ipv4(s.octets(), d.octets()),
            (IpAddr::V6(s), IpAddr::V6(d)) => theirs.calc_checksum_ipv6(s.octets(), d.octets()),
            _ => unreachable!("one family"),
        };
        prop_assert_eq!(theirs.checksum(), expected.expect("short enough"));
        prop_assert_eq!((theirs.sequence_number(), theirs.acknowledgment_number()), (seq, ack));
        prop_assert_eq!((theirs.window_size(), theirs.syn(), theirs.fin()), (window, bits & 2 != 0, bits & 1 != 0));
    }
}
