//! Fragments that arrive and become whole (RFC 791 §3.2, RFC 815, RFC 8200 §4.5).

use super::*;
use proptest::prelude::*;

/// An IPv4 fragment of the datagram `id`.
pub(super) fn frag4(id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    frag4_with(header4(UDP), id, (offset, more), payload)
}

fn frag4_with(mut header: Ipv4Header, id: u16, (offset, more): (usize, bool), payload: &[u8]) -> Vec<u8> {
    header.identification = id;
    header.more_fragments = more;
    header.fragment_offset = ((offset / 8) as u16).try_into().expect("13 bits");
    v4_with(header, payload)
}

/// An IPv6 fragment of the datagram `id` that begins with a header of type `next`.
pub(super) fn frag6(next: u8, id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let [a, b] = (offset as u16 | u16::from(more)).to_be_bytes();
    let header = [&[next, 0, a, b][..], &id.to_be_bytes()].concat();
    v6(44, &[&header[..], payload].concat())
}

/// `payload` cut at multiples of `size`: offset, more, piece.
pub(super) fn cut(payload: &[u8], size: usize) -> Vec<(usize, bool, &[u8])> {
    payload
        .chunks(size)
        .enumerate()
        .map(|(n, piece)| (n * size, (n + 1) * size < payload.len(), piece))
        .collect()
}

fn all4(id: u16, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    cut(payload, size).into_iter().map(|(offset, more, piece)| frag4(id, offset, more, piece)).collect()
}

fn all6(id: u32, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    cut(payload, size).into_iter().map(|(offset, more, piece)| frag6(UDP, id, offset, more, piece)).collect()
}

const HELD: Verdict<'static> = Verdict::Done(Reason::Dropped(Drop::FragmentHeld));

/// Injects all; only the last may complete the datagram, whose payload is returned.
#[track_caller]
fn completed_by_last(lab: &mut Lab, packets: &[Vec<u8>]) -> Vec<u8> {
    let (last, others) = packets.split_last().expect("fragments");
    for packet in others {
        assert_eq!(lab.inject(packet), HELD);
    }
    lab.deliver(last).payload().to_vec()
}

/// conformance: 1122-3.2.1.4-reassembly
#[test]
fn a_ping_in_two_fragments_is_answered() {
    let mut lab = Lab::new();
    let message = icmp4(8, 0, [0, 1, 0, 2], &pattern(1000));
    for (offset, more, piece) in cut(&message, 504) {
        lab.inject(&frag4_with(header4(1), 9, (offset, more), piece));
    }
    assert_eq!(lab.sent_one()[28..], pattern(1000));
    assert_eq!((lab.counters.ip_reasm_reqds, lab.counters.ip_reasm_oks), (2, 1));
}

/// conformance: 1122-3.3.2-min-reass, 791-3.2-min-size
#[test]
fn datagrams_of_every_size_are_put_together() {
    for total in [576, 1500, 9000, 65535] {
        let mut lab = Lab::new();
        let payload = pattern(total - 20);
        assert_eq!(completed_by_last(&mut lab, &all4(1, &payload, 1480)), payload, "{total}");
    }
}

/// conformance: 8200-5-reass-1500
#[test]
fn ipv6_packets_of_every_size_are_put_together() {
    for total in [1500, 9000, 65535 + 40] {
        let mut lab = Lab::new();
        let payload = pattern(total - 40);
        assert_eq!(completed_by_last(&mut lab, &all6(1, &payload, 1448)), payload, "{total}");
    }
}

/// conformance: 1122-3.3.2-emtu-config
#[test]
fn the_largest_datagram_is_a_setting() {
    let mut lab = Lab::new();
    lab.config.set("ip_emtu_r", "2000").expect("a setting");
    assert_eq!(completed_by_last(&mut lab, &all4(1, &pattern(1880), 1480)), pattern(1880));
    let big = all4(2, &pattern(2080), 1480);
    assert_eq!(lab.inject(&big[0]), HELD);
    lab.refuse(&big[1], Drop::FragmentBad);
}

/// conformance: 1122-3.3.2-mms-r
#[test]
fn the_largest_datagram_can_be_asked_for() {
    let mut lab = Lab::new();
    assert_eq!(lab.net.receive_mtu(&lab.config, PEER.into()), 1500);
    lab.config.ip_emtu_r = 1400;
    assert_eq!(lab.net.receive_mtu(&lab.config, PEER.into()), 1400);
}

/// conformance: 791-3.2-reass-order
#[test]
fn any_order_will_do() {
    let payload = pattern(100);
    let pieces = all4(7, &payload, 32);
    for order in 0..256 {
        let order = [order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6];
        if (0..4).all(|n| order.contains(&n)) {
            let packets: Vec<_> = order.iter().map(|n| pieces[*n].clone()).collect();
            assert_eq!(completed_by_last(&mut Lab::new(), &packets), payload, "{order:?}");
        }
    }
}

/// conformance: 791-3.2-reass-dup
#[test]
fn exact_duplicates_are_harmless() {
    let payload = pattern(100);
    let mut lab = Lab::new();
    let pieces = all4(7, &payload, 32);
    let twice: Vec<_> = pieces[..3]
        .iter()
        .flat_map(|piece| [piece.clone(), piece.clone()])
        .chain([pieces[3].clone()])
        .collect();
    assert_eq!(completed_by_last(&mut lab, &twice), payload);
    let last_twice = [&pieces[3], &pieces[3], &pieces[2], &pieces[0], &pieces[1]].map(Clone::clone);
    assert_eq!(completed_by_last(&mut lab, &last_twice), payload);
}

/// Two datagrams of equal pieces that differ in `change` only, interleaved: both must become whole.
#[track_caller]
fn stay_apart(change: impl Fn(&mut Ipv4Header)) {
    let mut lab = Lab::new();
    let other = |offset, more, piece: &[u8]| {
        let mut header = header4(UDP);
        change(&mut header);
        let id = if header.identification == 0 { 5 } else { header.identification };
        frag4_with(header, id, (offset, more), piece)
    };
    assert_eq!(lab.inject(&frag4(5, 0, true, &[1; 16])), HELD);
    assert_eq!(lab.inject(&other(0, true, &[2; 16])), HELD);
    assert_eq!(lab.deliver(&frag4(5, 16, false, &[1; 5])).payload(), [1; 21]);
    let last = other(16, false, &[2; 5]);
    assert_eq!(lab.deliver(&last).payload(), [2; 21]);
}

/// conformance: 791-3.2-reass-key
#[test]
fn source_destination_protocol_and_identification_tell_datagrams_apart() {
    stay_apart(|header| header.source = [10, 9, 0, 77]);
    stay_apart(|header| header.destination = [10, 9, 0, 255]);
    stay_apart(|header| header.protocol = IpNumber(6));
    stay_apart(|header| header.identification = 6);
}

/// conformance: 8200-4.5-reass-key
#[test]
fn ipv6_datagrams_are_told_apart_by_ends_and_identification() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag6(UDP, 5, 0, true, &[1; 16])), HELD);
    assert_eq!(lab.inject(&frag6(UDP, 6, 0, true, &[2; 16])), HELD);
    let mut elsewhere = frag6(UDP, 5, 0, true, &[3; 16]);
    elsewhere[23] = 0x77;
    assert_eq!(lab.inject(&elsewhere), HELD);
    // The next header of the second piece is no part of the key.
    assert_eq!(lab.deliver(&frag6(6, 5, 16, false, &[1; 5])).payload(), [1; 21]);
    assert_eq!(lab.deliver(&frag6(UDP, 6, 16, false, &[2; 5])).payload(), [2; 21]);
    let mut last = frag6(UDP, 5, 16, false, &[3; 5]);
    last[23] = 0x77;
    assert_eq!(lab.deliver(&last).payload(), [3; 21]);
}

/// conformance: 815-4-first-header
#[test]
fn the_header_is_that_of_the_first_fragment() {
    let mut lab = Lab::new();
    let mut first = header4(UDP);
    first.options = [0x94, 4, 0, 0][..].try_into().expect("four octets");
    first.time_to_live = 33;
    let later = frag4_with(Ipv4Header { time_to_live: 44, ..header4(UDP) }, 3, (16, false), &[1; 4]);
    assert_eq!(lab.inject(&later), HELD);
    let packet = frag4_with(first, 3, (0, true), &[1; 16]);
    let delivery = lab.deliver(&packet);
    assert_eq!((delivery.ttl, delivery.payload()), (33, &[1; 20][..]));
    let header = etherparse::Ipv4HeaderSlice::from_slice(&delivery.packet).expect("a header").to_header();
    assert_eq!((header.total_len, &header.options[..]), (24 + 20, &[0x94, 4, 0, 0][..]));
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert!(!header.more_fragments);
}

/// conformance: 8200-4.5-nh-first
#[test]
fn the_next_header_is_that_of_the_first_fragment() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag6(UDP, 3, 24, false, &[1; 4])), HELD);
    let packet = frag6(6, 3, 0, true, &[1; 24]);
    assert_eq!(lab.deliver(&packet).protocol, 6);
}

/// conformance: 8200-4.5-length-formula
#[test]
fn headers_before_the_fragment_header_count_into_the_length() {
    let mut lab = Lab::new();
    let fragment = |offset: u16, more: bool, piece: &[u8]| {
        let [a, b] = (offset | u16::from(more)).to_be_bytes();
        v6(60, &[&[44, 0, 1, 4, 0, 0, 0, 0][..], &[UDP, 0, a, b, 0, 0, 0, 9], piece].concat())
    };
    assert_eq!(lab.inject(&fragment(0, true, &[1; 1024])), HELD);
    let last = fragment(1024, false, &[1; 9]);
    let delivery = lab.deliver(&last);
    assert_eq!(delivery.packet[4..6], (8 + 1033u16).to_be_bytes());
    assert_eq!((delivery.packet[6], delivery.packet[40], delivery.packet.len()), (60, UDP, 48 + 1033));
    assert_eq!(delivery.payload(), [1; 1033]);
}

/// conformance: 8200-4.5-atomic
#[test]
fn an_atomic_fragment_is_a_packet_of_its_own() {
    let mut lab = Lab::new();
    assert_eq!(lab.inject(&frag6(UDP, 5, 0, true, &[1; 16])), HELD);
    assert_eq!(lab.deliver(&frag6(UDP, 5, 0, false, &udp(3))).payload(), udp(3));
    assert_eq!(lab.deliver(&frag6(UDP, 5, 16, false, &[1; 5])).payload(), [1; 21]);
}

/// conformance: 6946-3-atomic-isolated
#[test]
fn an_atomic_fragment_neither_ends_nor_joins_a_reassembly() {
    let mut lab = Lab::new();
    // Were it taken for a piece, it would overlap the first or end the datagram at 11 octets.
    for _ in 0..2 {
        assert_eq!(lab.deliver(&frag6(UDP, 5, 0, false, &udp(3))).payload(), udp(3));
    }
    assert_eq!(completed_by_last(&mut lab, &all6(5, &pattern(40), 16)), pattern(40));
    assert_eq!(lab.counters.ip6_reasm_reqds, 3);
}

#[test]
fn a_checksum_is_trusted_only_if_every_piece_is() {
    for (first, second) in [(true, true), (true, false), (false, true)] {
        let mut lab = Lab::new();
        let pieces = all4(7, &pattern(40), 32);
        lab.with(|net, env| net.receive(env, &pieces[0], first, true));
        let verdict = lab.with(|net, env| net.receive(env, &pieces[1], second, true));
        assert!(matches!(verdict, Verdict::Deliver(d) if d.checksum_trusted == (first && second)));
    }
}

/// What the ECN field becomes when the pieces of a datagram have these.
fn joined_ecn(first: u8, second: u8, six: bool) -> Option<u8> {
    let mut lab = Lab::new();
    let mut pieces = if six { all6(7, &pattern(40), 32) } else { all4(7, &pattern(40), 32) };
    for (piece, ecn) in pieces.iter_mut().zip([first, second]) {
        if six {
            piece[1] |= ecn << 4;
        } else {
            piece[1] |= ecn;
            mend4(piece);
        }
    }
    assert_eq!(lab.inject(&pieces[0]), HELD);
    match lab.inject(&pieces[1]) {
        Verdict::Deliver(delivery) => Some(delivery.tos),
        verdict => {
            assert_eq!(verdict, Verdict::Done(Reason::Dropped(Drop::FragmentBad)));
            None
        }
    }
}

/// conformance: 3168-5.3-reass
#[test]
fn congestion_experienced_is_never_lost() {
    const NOT_ECT: u8 = 0;
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    for six in [false, true] {
        for same in [NOT_ECT, ECT1, ECT0, CE] {
            assert_eq!(joined_ecn(same, same, six), Some(same));
        }
        for ect in [ECT0, ECT1] {
            assert_eq!(joined_ecn(CE, ect, six), Some(CE));
            assert_eq!(joined_ecn(ect, CE, six), Some(CE));
        }
        assert_eq!(joined_ecn(CE, NOT_ECT, six), None);
        assert_eq!(joined_ecn(NOT_ECT, CE, six), None);
    }
}

#[test]
fn a_fragment_within_a_fragment_is_dropped() {
    let mut lab = Lab::new();
    let inner = [&[UDP, 0, 0, 1, 0, 0, 0, 9][..], &udp(8)].concat();
    let pieces: Vec<_> = cut(&inner, 16).into_iter().map(|(o, more, p)| frag6(44, 4, o, more, p)).collect();
    assert_eq!(lab.inject(&pieces[0]), HELD);
    lab.refuse(&pieces[1], Drop::FragmentBad);
}

proptest! {
    /// conformance: 815-3-holes
    #[test]
    fn order_and_duplicates_never_change_the_result(
        len in 9usize..3000, size in 1usize..40, six: bool,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let payload = pattern(len);
        let pieces = if six { all6(1, &payload, size * 8) } else { all4(1, &payload, size * 8) };
        prop_assume!(pieces.len() > 1);
        let mut lab = Lab::new();
        let mut missing: std::collections::HashSet<usize> = (0..pieces.len()).collect();
        let random = order.iter().map(|index| index.index(pieces.len()));
        for n in random.chain((0..pieces.len()).rev()) {
            missing.remove(&n);
            match lab.inject(&pieces[n]) {
                Verdict::Deliver(delivery) => {
                    prop_assert!(missing.is_empty());
                    prop_assert_eq!(delivery.payload(), &payload[..]);
                    return Ok(());
                }
                verdict => prop_assert_eq!(verdict, HELD),
            }
        }
        prop_assert!(false, "never whole");
    }
}
