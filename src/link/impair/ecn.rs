//! Congestion Experienced (RFC 3168 §5): what a router with a long queue says instead of dropping.

use crate::wire::checksum::checksum;

/// The two ECN bits, and all of them set.
const CE: u8 = 0b11;
/// Octets of an IPv4 header without options, and where its checksum stands.
const HEADER_V4: usize = 20;
const CHECKSUM: core::ops::Range<usize> = 10..12;

/// Marks a packet whose transport understands that (ECT). Was it marked now?
pub(super) fn mark(packet: &mut [u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => mark_v4(packet),
        Some(6) => mark_v6(packet),
        _ => false,
    }
}

fn mark_v4(packet: &mut [u8]) -> bool {
    let len = usize::from(packet[0] & 0xf) * 4;
    let Some(header) = packet.get_mut(..len).filter(|header| header.len() >= HEADER_V4) else { return false };
    if !is_capable(header[1]) {
        return false;
    }
    header[1] |= CE;
    header[CHECKSUM].fill(0);
    let sum = checksum(header);
    header[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    true
}

/// RFC 8200 §3: the traffic class lies across the first two octets.
fn mark_v6(packet: &mut [u8]) -> bool {
    match packet.get_mut(1) {
        Some(second) if is_capable(*second >> 4) => {
            *second |= CE << 4;
            true
        }
        Some(_) | None => false,
    }
}

/// Neither "not ECT" nor marked already.
fn is_capable(class: u8) -> bool {
    matches!(class & CE, 0b01 | 0b10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpHeaders, PacketBuilder};

    fn v4(class: u8) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64)
            .udp(1, 2)
            .write(&mut packet, b"x")
            .expect("fits");
        packet[1] = class;
        packet[CHECKSUM].fill(0);
        let sum = checksum(&packet[..HEADER_V4]);
        packet[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn ipv4_is_marked_with_its_checksum() {
        for (class, marked, after) in [
            (0, false, 0),
            (1, true, 3),
            (2, true, 3),
            (3, false, 3),
            (0xb9, true, 0xbb),
            (0xb8, false, 0xb8),
        ] {
            let mut packet = v4(class);
            assert_eq!(mark(&mut packet), marked, "{class}");
            assert_eq!(packet, v4(after), "{class}");
        }
    }

    #[test]
    fn ipv6_is_marked() {
        for (class, marked, after) in
            [(0, false, 0), (1, true, 3), (2, true, 3), (3, false, 3), (0xb9, true, 0xbb)]
        {
            let mut packet = Vec::new();
            PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(1, 2).write(&mut packet, b"x").expect("fits");
            packet[0] = 0x60 | class >> 4;
            packet[1] = class << 4 | 0x5;
            assert_eq!(mark(&mut packet), marked, "{class}");
            let (headers, _) = IpHeaders::from_slice(&packet).expect("valid");
            let header = headers.ipv6().expect("IPv6").0;
            assert_eq!((header.traffic_class, header.flow_label.value() >> 16), (after, 5));
        }
    }

    #[test]
    fn what_is_no_packet_stays_as_it_is() {
        for octets in
            [&[][..], &[0x45], &[0x45, 1], &[0x60], &[0x41, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0, 1]]
        {
            let mut copy = octets.to_vec();
            assert!(!mark(&mut copy));
            assert_eq!(copy, octets);
        }
    }
}
