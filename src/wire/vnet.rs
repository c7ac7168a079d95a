//! The offload header that stands before each packet of a TUN with `IFF_VNET_HDR` (virtio 1.2 §5.1.6, `struct
//! virtio_net_hdr`, ten octets, little-endian): who completes the checksum, and how a super-segment is cut.
//!
//! Offsets count from the first octet of the IP header. `hdr_len` is written and never believed.

use super::Malformed;
use super::checksum::Sum;
use super::ip::{V4_HEADER_LEN, V6_HEADER_LEN};
use super::packet::{RxMeta, TxPacket};
use super::{tcp, udp};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::borrow::Cow;

/// Octets of the header.
pub const LEN: usize = 10;

/// The checksum field holds the sum of the pseudo header; whoever needs it adds the rest.
const NEEDS_CSUM: u8 = 1;
/// The checksum was found right.
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;
/// With a TCP type: the first segment says CWR, the others must not (RFC 3168 §6.1.2).
const GSO_ECN: u8 = 0x80;

/// Where the checksum stands in a UDP header.
const UDP_CHECKSUM: usize = 6;
/// Where the flags stand in a TCP header.
const TCP_FLAGS: usize = 13;

/// The transport of a packet that is no fragment and has no extension headers.
#[derive(Clone, Copy, Debug)]
struct Upper {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    start: usize,
}

impl Upper {
    fn of(packet: &[u8]) -> Option<Upper> {
        match packet.first()? >> 4 {
            4 if packet.len() >= V4_HEADER_LEN => {
                let start = usize::from(packet[0] & 0xf) * 4;
                let whole = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff == 0;
                let address = |at: usize| packet[at..].first_chunk::<4>().map(|a| Ipv4Addr::from(*a).into());
                let ends = (address(12)?, address(16)?);
                (whole && start >= V4_HEADER_LEN).then_some(Upper {
                    src: ends.0,
                    dst: ends.1,
                    protocol: packet[9],
                    start,
                })
            }
            6 if packet.len() >= V6_HEADER_LEN => {
                let address = |at: usize| packet[at..].first_chunk::<16>().map(|a| Ipv6Addr::from(*a).into());
                Some(Upper { src: address(8)?, dst: address(24)?, protocol: packet[6], start: V6_HEADER_LEN })
            }
            _ => None,
        }
    }

    /// Where the checksum stands within the transport's header.
    fn checksum_offset(&self) -> Option<usize> {
        match self.protocol {
            tcp::PROTOCOL => Some(usize::from(tcp::CHECKSUM_OFFSET)),
            udp::PROTOCOL => Some(UDP_CHECKSUM),
            _ => None,
        }
    }
}

/// What a header says about the packet behind it. A partial checksum that is not the transport's own (a packet within a
/// packet, an extension header) is completed in place, so that it can be verified like any other.
///
/// # Errors
/// [`Malformed`] when it cannot be: offsets beyond the packet, an unknown kind of super-segment, one of no size or of
/// another protocol than its packet.
pub fn receive(header: &[u8; LEN], packet: &mut [u8]) -> Result<RxMeta, Malformed> {
    let [flags, kind, _, _, size0, size1, start0, start1, offset0, offset1] = *header;
    let number = |low, high| usize::from(u16::from_le_bytes([low, high]));
    let upper = Upper::of(packet);
    let checksum_trusted = if flags & NEEDS_CSUM == 0 {
        flags & DATA_VALID != 0
    } else {
        let (start, offset) = (number(start0, start1), number(offset0, offset1));
        if start < V4_HEADER_LEN || start + offset + 2 > packet.len() {
            return Err(Malformed::Structure);
        }
        let own = upper.is_some_and(|upper| upper.start == start && upper.checksum_offset() == Some(offset));
        if !own {
            complete(packet, start, offset);
        }
        own
    };
    let protocol = match (kind & !GSO_ECN, packet.first().map(|first| first >> 4)) {
        (GSO_NONE, _) => return Ok(RxMeta { checksum_trusted, segment_size: 0 }),
        (GSO_TCP_V4, Some(4)) | (GSO_TCP_V6, Some(6)) => tcp::PROTOCOL,
        (GSO_UDP, Some(4 | 6)) => udp::PROTOCOL,
        _ => return Err(Malformed::Structure),
    };
    let segment_size = number(size0, size1) as u16;
    if segment_size == 0 || upper.is_none_or(|upper| upper.protocol != protocol) {
        return Err(Malformed::Structure);
    }
    Ok(RxMeta { checksum_trusted, segment_size })
}

/// The header for a packet to be written.
pub fn emit(packet: &TxPacket<'_>) -> [u8; LEN] {
    let mut header = [0; LEN];
    let Some((start, offset)) = packet.meta.checksum else { return header };
    let head = packet.parts[0];
    header[0] = NEEDS_CSUM;
    // It decides how much goes into the linear part of the kernel's buffer.
    header[2..4].copy_from_slice(&(head.len() as u16).to_le_bytes());
    header[6..8].copy_from_slice(&start.to_le_bytes());
    header[8..10].copy_from_slice(&offset.to_le_bytes());
    if packet.meta.segment_size > 0 {
        header[4..6].copy_from_slice(&packet.meta.segment_size.to_le_bytes());
        if usize::from(offset) == UDP_CHECKSUM {
            header[1] = GSO_UDP;
            return header;
        }
        let v4 = head.first().is_some_and(|first| first >> 4 == 4);
        let flags = head.get(usize::from(start) + TCP_FLAGS).copied().unwrap_or(0);
        let ecn = if flags & tcp::Flags::CWR.bits() != 0 { GSO_ECN } else { 0 };
        header[1] = ecn | if v4 { GSO_TCP_V4 } else { GSO_TCP_V6 };
    }
    header
}

/// Completes a partial checksum: the field holds the sum of the pseudo header (zero where there is none).
fn complete(packet: &mut [u8], start: usize, offset: usize) {
    let sum = Sum::new().with(&packet[start..]).checksum();
    // As the kernel: 0 would mean "none" in UDP, and is the same number elsewhere.
    let sum = if sum == 0 { 0xffff } else { sum };
    packet[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The packet as it would stand on a wire of any size: with its TCP or UDP checksum complete. For captures; a checksum
/// that is right is left as it is.
pub fn completed(packet: &[u8]) -> Cow<'_, [u8]> {
    let field = Upper::of(packet)
        .and_then(|upper| upper.checksum_offset().map(|offset| (upper, upper.start + offset)))
        .filter(|(_, at)| at + 2 <= packet.len());
    let Some((upper, at)) = field else { return Cow::Borrowed(packet) };
    let absent = upper.protocol == udp::PROTOCOL && packet[at..at + 2] == [0, 0];
    let len = packet.len() - upper.start;
    let pseudo = Sum::pseudo(upper.src, upper.dst, upper.protocol, len);
    if absent || pseudo.with(&packet[upper.start..]).is_valid() {
        return Cow::Borrowed(packet);
    }
    let mut packet = packet.to_vec();
    packet[at..at + 2].copy_from_slice(&pseudo.folded().to_be_bytes());
    complete(&mut packet, upper.start, at - upper.start);
    Cow::Owned(packet)
}

#[cfg(test)]
#[path = "vnet/tests.rs"]
mod tests;
