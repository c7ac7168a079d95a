use super::*;
use crate::wire::packet::TxMeta;
use etherparse::{PacketBuilder, SlicedPacket};
use proptest::prelude::*;

fn header(flags: u8, kind: u8, size: u16, start: u16, offset: u16) -> [u8; LEN] {
    let mut header = [0; LEN];
    (header[0], header[1]) = (flags, kind);
    // What stands in hdr_len is of no account.
    header[2..4].copy_from_slice(&[0xff, 0xff]);
    header[4..6].copy_from_slice(&size.to_le_bytes());
    header[6..8].copy_from_slice(&start.to_le_bytes());
    header[8..10].copy_from_slice(&offset.to_le_bytes());
    header
}

fn udp_v4(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64).udp(1, 2);
    builder.write(&mut packet, payload).expect("fits");
    packet
}

fn tcp_v4(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64).tcp(1, 2, 3, 4).ack(5);
    builder.write(&mut packet, payload).expect("fits");
    packet
}

fn tcp_v6(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1, 2, 3, 4).write(&mut packet, payload).expect("fits");
    packet
}

/// Puts the sum of the pseudo header where the checksum stands, as a kernel does that leaves the rest to a device.
fn partial(mut packet: Vec<u8>, at: usize) -> Vec<u8> {
    let upper = Upper::of(&packet).expect("a transport");
    let sum = Sum::pseudo(upper.src, upper.dst, upper.protocol, packet.len() - upper.start).folded();
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn meta(header: &[u8; LEN], packet: &[u8]) -> Result<(bool, u16), Malformed> {
    receive(header, &mut packet.to_vec()).map(|meta| (meta.checksum_trusted, meta.segment_size))
}

#[test]
fn what_a_header_says_is_taken_over() {
    let (v4, v6, udp) = (tcp_v4(&[7; 4000]), tcp_v6(&[7; 4000]), udp_v4(&[7; 4000]));
    assert_eq!(meta(&header(0, 0, 0, 0, 0), &v4), Ok((false, 0)));
    assert_eq!(meta(&header(DATA_VALID, 0, 0, 0, 0), &v4), Ok((true, 0)));
    assert_eq!(meta(&header(NEEDS_CSUM, 0, 0, 20, 16), &v4), Ok((true, 0)));
    assert_eq!(meta(&header(NEEDS_CSUM, GSO_TCP_V4, 1448, 20, 16), &v4), Ok((true, 1448)));
    assert_eq!(meta(&header(NEEDS_CSUM, GSO_TCP_V4 | GSO_ECN, 1448, 20, 16), &v4), Ok((true, 1448)));
    assert_eq!(meta(&header(NEEDS_CSUM, GSO_TCP_V6, 1428, 40, 16), &v6), Ok((true, 1428)));
    assert_eq!(meta(&header(NEEDS_CSUM, GSO_UDP, 1000, 20, 6), &udp), Ok((true, 1000)));
    assert_eq!(meta(&header(DATA_VALID, GSO_TCP_V6, 1428, 0, 0), &v6), Ok((true, 1428)));
    assert_eq!(meta(&header(0, GSO_TCP_V4, 536, 0, 0), &v4), Ok((false, 536)));
}

#[test]
fn what_cannot_be_is_refused() {
    let (v4, v6, udp) = (tcp_v4(&[7; 100]), tcp_v6(&[7; 100]), udp_v4(&[7; 100]));
    let mut fragment = v4.clone();
    fragment[6] = 0x20;
    for (what, header, packet) in [
        ("an unknown kind", header(0, 2, 10, 0, 0), &v4),
        ("the old UDP kind, which makes fragments", header(0, 3, 10, 0, 0), &udp),
        ("IPv4 kind, IPv6 packet", header(0, GSO_TCP_V4, 10, 0, 0), &v6),
        ("IPv6 kind, IPv4 packet", header(0, GSO_TCP_V6, 10, 0, 0), &v4),
        ("TCP kind, UDP packet", header(0, GSO_TCP_V4, 10, 0, 0), &udp),
        ("UDP kind, TCP packet", header(0, GSO_UDP, 10, 0, 0), &v4),
        ("no size", header(NEEDS_CSUM, GSO_TCP_V4, 0, 20, 16), &v4),
        ("a fragment cut further", header(0, GSO_TCP_V4, 10, 0, 0), &fragment),
        ("a checksum beyond the end", header(NEEDS_CSUM, 0, 0, 20, 119), &v4),
        ("a sum beyond the end", header(NEEDS_CSUM, 0, 0, 0xffff, 0xffff), &v4),
        ("a sum over the IP header", header(NEEDS_CSUM, 0, 0, 0, 10), &v4),
        ("nothing to sum", header(NEEDS_CSUM, 0, 0, 20, 16), &Vec::new()),
        ("nothing to cut", header(0, GSO_TCP_V4, 10, 0, 0), &Vec::new()),
    ] {
        assert_eq!(meta(&header, packet), Err(Malformed::Structure), "{what}");
    }
}

/// A packet that carries another one whose checksum is partial: the inner one is completed, the outer one verified.
#[test]
fn a_partial_checksum_of_another_layer_is_completed_and_not_trusted() {
    let inner = udp_v4(b"inside");
    let packet = udp_v4(&inner);
    let start = 28 + 20;
    // An inner checksum in the making: the outer one was made for the finished packet.
    let mut unfinished = packet.clone();
    let sum = Sum::pseudo([10, 9, 0, 1].into(), [10, 9, 0, 2].into(), udp::PROTOCOL, 8 + 6).folded();
    unfinished[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
    let trusted = receive(&header(NEEDS_CSUM, 0, 0, start as u16, 6), &mut unfinished).expect("possible");
    assert_eq!(trusted, RxMeta::default());
    assert_eq!(unfinished, packet);
    // A fragment's checksum is never complete: what is left to do cannot be done piece by piece.
    let mut fragment = udp_v4(b"piece");
    fragment[6] = 0x20;
    let trusted = receive(&header(NEEDS_CSUM, 0, 0, 20, 6), &mut fragment).expect("possible");
    assert!(!trusted.checksum_trusted);
}

#[test]
fn captures_show_complete_checksums() {
    for (packet, at) in [(tcp_v4(b"text"), 36), (tcp_v6(b"text"), 56), (udp_v4(b"text"), 26)] {
        assert!(matches!(completed(&packet), Cow::Borrowed(_)), "complete already");
        assert_eq!(completed(&partial(packet.clone(), at)), packet);
    }
    let mut unsummed = udp_v4(b"text");
    unsummed[26..28].fill(0);
    assert_eq!(completed(&unsummed), unsummed, "no checksum is none");
    assert_eq!(completed(&[0x45; 12]), [0x45; 12].as_slice(), "whatever it is");
}

fn sent(head: &[u8], segment_size: u16, start: u16) -> [u8; LEN] {
    let meta = TxMeta { checksum: Some((start, 16)), segment_size };
    emit(&TxPacket { parts: [head, &[1; 3000], &[], &[]], meta })
}

#[test]
fn a_header_that_is_written_says_what_the_device_has_to_do() {
    let plain = TxPacket { parts: [&tcp_v4(b""), &[], &[], &[]], meta: TxMeta::default() };
    assert_eq!(emit(&plain), [0; LEN], "nothing");
    let (mut v4, v6) = (tcp_v4(b""), tcp_v6(b""));
    assert_eq!(sent(&v4, 0, 20), [NEEDS_CSUM, 0, 40, 0, 0, 0, 20, 0, 16, 0]);
    assert_eq!(sent(&v4, 0x5a8, 20), [NEEDS_CSUM, GSO_TCP_V4, 40, 0, 0xa8, 5, 20, 0, 16, 0]);
    assert_eq!(sent(&v6, 0x594, 40), [NEEDS_CSUM, GSO_TCP_V6, 60, 0, 0x94, 5, 40, 0, 16, 0]);
    v4[33] |= 0x80;
    assert_eq!(sent(&v4, 0x5a8, 20)[1], GSO_TCP_V4 | GSO_ECN, "CWR belongs to the first segment");
}

proptest! {
    #[test]
    fn no_header_and_packet_does_harm(header: [u8; LEN], mut packet in prop::collection::vec(any::<u8>(), 0..200)) {
        let before = packet.len();
        if let Ok(meta) = receive(&header, &mut packet) {
            prop_assert!(meta.segment_size == 0 || SlicedPacket::from_ip(&packet).is_ok() || packet.len() >= 20);
        }
        prop_assert_eq!(packet.len(), before);
        let _ = completed(&packet);
    }
}
