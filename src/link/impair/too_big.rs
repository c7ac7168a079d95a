//! The message of a router whose next link is too narrow (RFC 1191 §4, RFC 8201 §3).

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

/// Octets of the largest ICMP message over IPv4 (RFC 1812 §4.3.2.3) and over IPv6 (RFC 4443 §2.4c).
const MOST_V4: usize = 576;
const MOST_V6: usize = 1280;
/// Octets of an IPv4 or IPv6 header with the ICMP header behind it.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

/// The message about `packet` to its sender. `None` where none may be sent: about ICMP errors, later fragments and
/// multicasts (RFC 1122 §3.2.2). The router speaks with the address of the destination.
pub(super) fn message(packet: &[u8], mtu: u32) -> Option<Vec<u8>> {
    let sliced = SlicedPacket::from_ip(packet).ok()?;
    match sliced.transport {
        Some(TransportSlice::Tcp(_) | TransportSlice::Udp(_)) => {}
        Some(TransportSlice::Icmpv4(icmp)) => match icmp.icmp_type() {
            Icmpv4Type::EchoRequest(_) | Icmpv4Type::EchoReply(_) => {}
            _ => return None,
        },
        Some(TransportSlice::Icmpv6(icmp)) => match icmp.icmp_type() {
            Icmpv6Type::EchoRequest(_) | Icmpv6Type::EchoReply(_) => {}
            _ => return None,
        },
        // The first fragment has its transport header, and etherparse shows none for any fragment.
        Some(TransportSlice::Igmp(_)) => return None,
        None if !is_first_fragment(packet) => return None,
        None => {}
    }
    let mut message = Vec::new();
    match sliced.net? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            if header.destination_addr().is_multicast() || header.destination_addr().is_broadcast() {
                return None;
            }
            let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu.min(65535) as u16 };
            let quoted = &packet[..packet.len().min(MOST_V4 - HEADERS_V4)];
            PacketBuilder::ipv4(header.destination(), header.source(), 64)
                .icmpv4(Icmpv4Type::DestinationUnreachable(needed))
                .write(&mut message, quoted)
                .ok()?;
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            if header.destination_addr().is_multicast() {
                return None;
            }
            let quoted = &packet[..packet.len().min(MOST_V6 - HEADERS_V6)];
            PacketBuilder::ipv6(header.destination(), header.source(), 64)
                .icmpv6(Icmpv6Type::PacketTooBig { mtu })
                .write(&mut message, quoted)
                .ok()?;
        }
        NetSlice::Arp(_) => return None,
    }
    Some(message)
}

/// An IPv4 fragment with offset zero. (A sender of IPv6 fragments knows the path's MTU already.)
fn is_first_fragment(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 4)
        && packet.get(6..8).is_some_and(|field| u16::from_be_bytes([field[0], field[1]]) & 0x3fff == 0x2000)
}
