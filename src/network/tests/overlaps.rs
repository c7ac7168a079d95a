//! Fragments that do not fit together, that are too many, or that come too late.

use super::fragments::{cut, frag4, frag6};
use super::*;

const HELD: Verdict<'static> = Verdict::Done(Reason::Dropped(Drop::FragmentHeld));

/// conformance: 791-3.2-reass-overlap
#[test]
fn an_overlap_condemns_the_datagram() {
    for (offset, len) in [(8, 16), (16, 8), (24, 16), (0, 16), (0, 40), (8, 24)] {
        let mut lab = Lab::new();
        lab.inject(&frag4(1, 16, true, &[1; 16]));
        lab.inject(&frag4(1, 0, true, &[1; 8]));
        lab.refuse(&frag4(1, offset, true, &vec![1; len]), Drop::FragmentOverlap);
        assert_eq!(lab.counters.ip_ext_reasm_overlaps, 1);
        for (offset, more, piece) in cut(&[1; 40], 8) {
            lab.refuse(&frag4(1, offset, more, piece), Drop::FragmentOverlap);
        }
    }
}

/// conformance: 8200-4.5-overlap
#[test]
fn an_ipv6_overlap_condemns_the_datagram_without_a_word() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag6(UDP, 1, 0, true, &[1; 24])), HELD);
    lab.refuse(&frag6(UDP, 1, 16, true, &[1; 24]), Drop::FragmentOverlap);
    lab.refuse(&frag6(UDP, 1, 24, false, &[1; 8]), Drop::FragmentOverlap);
    lab.refuse(&frag6(UDP, 1, 0, true, &[1; 24]), Drop::FragmentOverlap);
    lab.advance(Duration::from_secs(61));
    assert_eq!(lab.sent(), Vec::<Vec<u8>>::new(), "no time exceeded either");
}

/// conformance: 5722-4-overlap-discard
#[test]
fn pieces_still_to_come_are_discarded_with_the_others() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag6(UDP, 1, 8, true, &[1; 16])), HELD);
    lab.refuse(&frag6(UDP, 1, 16, false, &[2; 16]), Drop::FragmentOverlap);
    // These would make a whole datagram, in either of its two readings.
    for (offset, more, piece) in cut(&[1; 32], 8) {
        lab.refuse(&frag6(UDP, 1, offset, more, piece), Drop::FragmentOverlap);
    }
}

#[test]
fn a_copy_with_other_contents_is_an_overlap() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag4(1, 0, true, &[1; 16])), HELD);
    assert_eq!(lab.inject(&frag4(1, 0, true, &[1; 16])), HELD);
    lab.refuse(&frag4(1, 0, true, &[2; 16]), Drop::FragmentOverlap);
}

/// conformance: 791-3.2-reass-end
#[test]
fn a_datagram_has_one_end_and_nothing_past_it() {
    let max = 8191 * 8;
    for (held, refused) in [
        // Beyond 65535 octets.
        (None, frag4(1, max, false, &[0; 8])),
        (None, frag4(1, max - 1480, true, &[0; 1480])),
        // Nothing, and not the last.
        (None, frag4(1, 0, true, &[])),
        (None, frag4(1, 8, false, &[])),
        // Not the last, and no multiple of 8.
        (None, frag4(1, 0, true, &[0; 9])),
        // Two ends.
        (Some(frag4(1, 16, false, &[0; 8])), frag4(1, 24, false, &[0; 8])),
        (Some(frag4(1, 16, false, &[0; 8])), frag4(1, 8, false, &[0; 8])),
        // Data past the end, whichever came first.
        (Some(frag4(1, 16, false, &[0; 8])), frag4(1, 24, true, &[0; 8])),
        (Some(frag4(1, 24, true, &[0; 8])), frag4(1, 8, false, &[0; 8])),
    ] {
        let mut lab = Lab::new();
        if let Some(held) = held {
            assert_eq!(lab.inject(&held), HELD);
        }
        lab.refuse(&refused, Drop::FragmentBad);
        assert_eq!(lab.counters.ip_reasm_fails, 1);
    }
}

#[test]
fn the_same_octets_cannot_be_the_middle_and_the_end() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag4(1, 16, true, &[0; 8])), HELD);
    lab.refuse(&frag4(1, 16, false, &[0; 8]), Drop::FragmentOverlap);
}

/// The parameter problem that a fragment brings: code and pointer.
fn problem(packet: &[u8]) -> (u8, u32) {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(packet), Verdict::Done(Reason::Dropped(Drop::FragmentBad)));
    let error = lab.sent_one();
    assert_eq!((error[40], &error[48..]), (4, &packet[..packet.len().min(1232)]));
    (error[41], u32::from_be_bytes([error[44], error[45], error[46], error[47]]))
}

/// conformance: 8200-4.5-reass-len8
#[test]
fn a_ragged_ipv6_fragment_is_reported_at_the_payload_length() {
    assert_eq!(problem(&frag6(UDP, 1, 0, true, &[0; 15])), (0, 4));
    assert_eq!(problem(&frag6(UDP, 1, 800, true, &[0; 17])), (0, 4));
}

/// conformance: 8200-4.5-reass-65535
#[test]
fn an_ipv6_fragment_beyond_65535_is_reported_at_its_offset() {
    assert_eq!(problem(&frag6(UDP, 1, 65528, false, &[0; 8])), (0, 42));
    assert_eq!(problem(&frag6(UDP, 1, 64096, true, &[0; 1448])), (0, 42));
    assert_eq!(Lab::new().inject(&frag6(UDP, 1, 65528, false, &[0; 7])), HELD);
}

/// conformance: 8200-4.5-first-incomplete
#[test]
fn a_first_fragment_without_all_headers_is_reported() {
    assert_eq!(problem(&frag6(6, 1, 0, true, &[0; 16])), (3, 0), "16 of 20 octets of TCP");
    assert_eq!(problem(&frag6(60, 1, 0, true, &[UDP, 0, 0, 0, 0, 0, 0, 0])), (3, 0), "options without UDP");
    assert_eq!(problem(&frag6(60, 1, 0, true, &[UDP, 1, 0, 0, 0, 0, 0, 0])), (3, 0), "half the options");
    assert_eq!(Lab::new().inject(&frag6(6, 1, 0, true, &[0; 24])), HELD);
    assert_eq!(
        Lab::new().inject(&frag6(60, 1, 0, true, &[UDP, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])),
        HELD
    );
}

/// conformance: 1122-3.3.2-timeout
#[test]
fn time_exceeded_quotes_the_first_fragment_if_it_came() {
    let mut lab = Lab::new();
    let first = frag4(1, 0, true, &udp(800));
    assert_eq!(lab.inject(&frag4(1, 1600, true, &[1; 8])), HELD);
    assert_eq!(lab.inject(&first), HELD);
    assert_eq!(lab.inject(&frag4(2, 1600, false, &[1; 8])), HELD);
    lab.advance(Duration::from_secs(60));
    let error = lab.sent_one();
    assert_eq!(error[20..], icmp4(11, 1, [0; 4], &first[..576 - 28]));
    assert_eq!((lab.counters.ip_reasm_timeout, lab.counters.ip_reasm_fails), (2, 2));
    assert_eq!(lab.net.next_timeout(), None);
}

/// conformance: 8200-4.5-reass-timeout
#[test]
fn ipv6_reassembly_is_given_up_sixty_seconds_after_the_first_to_arrive() {
    let mut lab = Lab::new();
    let first = frag6(UDP, 1, 0, true, &udp(800));
    assert_eq!(lab.inject(&frag6(UDP, 1, 1600, true, &[1; 8])), HELD);
    assert_eq!(lab.inject(&frag6(UDP, 2, 1600, false, &[1; 8])), HELD);
    lab.advance(Duration::from_secs(30));
    assert_eq!(lab.inject(&first), HELD);
    lab.advance(Duration::from_nanos(29_999_999_999));
    assert_eq!(lab.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(lab.net.next_timeout(), Some(lab.now + Duration::from_nanos(1)));
    lab.advance(Duration::from_nanos(1));
    let error = lab.sent_one();
    assert_eq!(error[40..], icmp6(US6, PEER6, (3, 1), [0; 4], &first));
    assert_eq!(lab.counters.ip6_reasm_timeout, 2);
}

/// conformance: 1122-3.3.2-timeout-fixed
#[test]
fn the_time_to_wait_is_not_taken_from_the_ttl() {
    let mut lab = Lab::new();
    for (id, ttl) in [(1, 255), (2, 1)] {
        let mut packet = frag4(id, 0, true, &udp(0));
        packet[8] = ttl;
        mend4(&mut packet);
        assert_eq!(lab.inject(&packet), HELD);
    }
    lab.advance(Duration::from_nanos(59_999_999_999));
    assert_eq!(lab.counters.ip_reasm_timeout, 0);
    lab.advance(Duration::from_nanos(1));
    assert_eq!(lab.counters.ip_reasm_timeout, 2);
}

#[test]
fn a_piece_that_comes_too_late_begins_anew() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag4(1, 0, true, &[1; 16])), HELD);
    lab.advance(Duration::from_secs(60));
    lab.sent();
    assert_eq!(lab.inject(&frag4(1, 16, false, &[1; 4])), HELD);
}

/// conformance: 791-3.2-reass-limits
#[test]
fn a_flood_of_fragments_is_bounded_and_drives_out_its_own() {
    let mut lab = Lab::new();
    let honest =
        cut(&[7; 4000], 1480).into_iter().map(|(o, more, p)| frag4(9, o, more, p)).collect::<Vec<_>>();
    assert_eq!(lab.inject(&honest[0]), HELD);
    for n in 0..100_000u32 {
        let mut packet = frag4(n as u16, 0, true, &[1; 1480]);
        packet[12..16].copy_from_slice(&[10, 9, 0, 66]);
        mend4(&mut packet);
        lab.inject(&packet);
    }
    assert!(lab.net.reassembly.used() <= 4 << 20);
    assert!(lab.net.reassembly.len() <= 256);
    assert_eq!(lab.inject(&honest[2]), HELD);
    assert_eq!(lab.deliver(&honest[1]).payload(), [7; 4000]);
    assert!(lab.counters.ip_reasm_fails >= 100_000 - 256);
}

#[test]
fn a_flood_from_everywhere_is_bounded_too() {
    let mut lab = Lab::new();
    for n in 0..20_000u32 {
        let mut packet = frag4(1, 0, true, &[1; 1480]);
        packet[12..16].copy_from_slice(&(0x0b00_0001 + n).to_be_bytes());
        mend4(&mut packet);
        lab.inject(&packet);
    }
    assert!(lab.net.reassembly.used() <= 4 << 20 && lab.net.reassembly.len() <= 256);
    // The newest are still there.
    let mut last = frag4(1, 1480, false, &[1; 20]);
    last[12..16].copy_from_slice(&(0x0b00_0001u32 + 19_999).to_be_bytes());
    mend4(&mut last);
    assert_eq!(lab.deliver(&last).payload(), [1; 1500]);
}

#[test]
fn a_single_sender_cannot_hold_more_than_there_is_room_for() {
    let mut lab = Lab::new();
    lab.config.ipfrag_high_thresh = 65536;
    for id in 0..40 {
        for (offset, more, piece) in cut(&pattern(60_000), 1480).into_iter().skip(1) {
            lab.inject(&frag4(id, offset, more, piece));
            assert!(lab.net.reassembly.used() <= 65536);
        }
    }
}
