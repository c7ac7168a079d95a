//! IPv4 and IPv6 headers (RFC 791, RFC 8200): structure only, no policy.

use super::{Malformed, checksum::checksum};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, err};

/// Octets of an IPv4 header without options.
pub const V4_HEADER_LEN: usize = 20;
/// Octets of the IPv6 header.
pub const V6_HEADER_LEN: usize = 40;
/// Octets of the IPv6 fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// Next-header value: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next-header value: routing header.
pub const ROUTING: u8 = 43;
/// Next-header value: fragment header.
pub const FRAGMENT: u8 = 44;
/// Next-header value: nothing follows.
pub const NO_NEXT_HEADER: u8 = 59;
/// Next-header value: destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

/// The place of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Octets of payload before it; a multiple of 8.
    pub offset: u16,
    /// Is it not the last?
    pub more: bool,
    /// Identification: 16 bits over IPv4, 32 over IPv6.
    pub id: u32,
}

impl FragmentInfo {
    /// Is it a whole datagram after all (RFC 6864 §4, RFC 6946)?
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// What an IPv4 header says.
#[derive(Clone, Copy, Debug)]
pub struct V4<'a> {
    /// The packet, cut at its total length.
    pub packet: &'a [u8],
    /// Octets of the header with its options.
    pub header_len: usize,
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// TTL.
    pub ttl: u8,
    /// TOS octet: DSCP and ECN.
    pub tos: u8,
    /// Don't fragment.
    pub df: bool,
    /// Place in the datagram.
    pub fragment: FragmentInfo,
}

/// Reads an IPv4 header. Octets past the total length are ignored (791-3.1-total-length).
///
/// # Errors
/// [`Malformed`] when version, IHL or total length cannot be (1122-3.2.1.2-header-sanity).
pub fn parse_v4(bytes: &[u8]) -> Result<V4<'_>, Malformed> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        err::ipv4::HeaderSliceError::Len(_) => Malformed::Truncated,
        err::ipv4::HeaderSliceError::Content(_) => Malformed::Structure,
    })?;
    let header_len = header.slice().len();
    let total_len = usize::from(header.total_len());
    if total_len < header_len {
        return Err(Malformed::Structure);
    }
    let packet = bytes.get(..total_len).ok_or(Malformed::Truncated)?;
    Ok(V4 {
        packet,
        header_len,
        src: header.source_addr(),
        dst: header.destination_addr(),
        protocol: header.protocol().0,
        ttl: header.ttl(),
        tos: packet[1],
        df: header.dont_fragment(),
        fragment: FragmentInfo {
            offset: header.fragments_offset().value() * 8,
            more: header.more_fragments(),
            id: u32::from(header.identification()),
        },
    })
}

impl<'a> V4<'a> {
    /// Does the checksum of the header agree?
    pub fn checksum_is_valid(&self) -> bool {
        checksum(&self.packet[..self.header_len]) == 0
    }

    /// The options, padding included.
    pub fn options(&self) -> &'a [u8] {
        &self.packet[V4_HEADER_LEN..self.header_len]
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        &self.packet[self.header_len..]
    }
}

/// What an IPv6 header says.
#[derive(Clone, Copy, Debug)]
pub struct V6<'a> {
    /// The packet, cut at its payload length.
    pub packet: &'a [u8],
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Type of what follows the header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
}

/// Reads an IPv6 header. Octets past the payload length are ignored.
///
/// # Errors
/// [`Malformed`] when the version is another or the payload is not all there (8200-3-version).
pub fn parse_v6(bytes: &[u8]) -> Result<V6<'_>, Malformed> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|error| match error {
        err::ipv6::HeaderSliceError::Len(_) => Malformed::Truncated,
        err::ipv6::HeaderSliceError::Content(_) => Malformed::Structure,
    })?;
    let len = V6_HEADER_LEN + usize::from(header.payload_length());
    Ok(V6 {
        packet: bytes.get(..len).ok_or(Malformed::Truncated)?,
        src: header.source_addr(),
        dst: header.destination_addr(),
        next_header: header.next_header().0,
        hop_limit: header.hop_limit(),
        traffic_class: header.traffic_class(),
    })
}

/// Reads the eight octets of an IPv6 fragment header: the place of the fragment, and what its payload begins with.
///
/// # Errors
/// [`Malformed::Truncated`] when there are fewer.
pub fn parse_fragment_header(bytes: &[u8]) -> Result<(FragmentInfo, u8), Malformed> {
    let &[next, _, o0, o1, i0, i1, i2, i3] =
        bytes.first_chunk::<FRAGMENT_HEADER_LEN>().ok_or(Malformed::Truncated)?;
    let field = u16::from_be_bytes([o0, o1]);
    let id = u32::from_be_bytes([i0, i1, i2, i3]);
    Ok((FragmentInfo { offset: field & !7, more: field & 1 != 0, id }, next))
}

/// What an IPv4 header is written from.
#[derive(Clone, Copy, Debug)]
pub struct V4Fields {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// TTL.
    pub ttl: u8,
    /// TOS octet.
    pub tos: u8,
    /// Don't fragment.
    pub df: bool,
    /// Place in the datagram; `id` uses 16 bits.
    pub fragment: FragmentInfo,
    /// Octets that follow the header.
    pub payload_len: u16,
}

/// Writes a header without options, its checksum complete.
pub fn emit_v4(fields: &V4Fields) -> [u8; V4_HEADER_LEN] {
    let mut header = [0; V4_HEADER_LEN];
    let total = fields.payload_len.saturating_add(V4_HEADER_LEN as u16);
    // RFC 791 §3.1: the first of the three flags is reserved and zero.
    let flags = u16::from(fields.df) << 14 | u16::from(fields.fragment.more) << 13;
    header[0] = 0x45;
    header[1] = fields.tos;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[4..6].copy_from_slice(&(fields.fragment.id as u16).to_be_bytes());
    header[6..8].copy_from_slice(&(flags | (fields.fragment.offset / 8)).to_be_bytes());
    header[8] = fields.ttl;
    header[9] = fields.protocol;
    header[12..16].copy_from_slice(&fields.src.octets());
    header[16..20].copy_from_slice(&fields.dst.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// What an IPv6 header is written from.
#[derive(Clone, Copy, Debug)]
pub struct V6Fields {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Type of what follows the header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Octets that follow the header.
    pub payload_len: u16,
}

/// Writes the IPv6 header.
pub fn emit_v6(fields: &V6Fields) -> [u8; V6_HEADER_LEN] {
    let mut header = [0; V6_HEADER_LEN];
    let first = 6 << 28 | u32::from(fields.traffic_class) << 20 | (fields.flow_label & 0xf_ffff);
    header[0..4].copy_from_slice(&first.to_be_bytes());
    header[4..6].copy_from_slice(&fields.payload_len.to_be_bytes());
    header[6] = fields.next_header;
    header[7] = fields.hop_limit;
    header[8..24].copy_from_slice(&fields.src.octets());
    header[24..40].copy_from_slice(&fields.dst.octets());
    header
}

/// Writes an IPv6 fragment header before a payload of type `next_header`.
pub fn emit_fragment_header(fragment: FragmentInfo, next_header: u8) -> [u8; FRAGMENT_HEADER_LEN] {
    let [o0, o1] = (fragment.offset | u16::from(fragment.more)).to_be_bytes();
    let [i0, i1, i2, i3] = fragment.id.to_be_bytes();
    [next_header, 0, o0, o1, i0, i1, i2, i3]
}

/// Extension headers walked before giving up.
const MAX_EXTENSIONS: usize = 8;

/// What a chain of IPv6 extension headers ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Type of the upper-layer header.
    pub protocol: u8,
    /// Where it begins.
    pub at: usize,
    /// Is it there? In every fragment but the first it is not; what stands at `at` is the middle of a payload then.
    pub is_first: bool,
}

/// Walks the extension headers in `bytes`, the first of which has type `next`, by their lengths alone. `None` when they
/// are more than bytes or patience last.
pub fn skip_extensions(mut next: u8, bytes: &[u8]) -> Option<Upper> {
    let mut at = 0;
    for _ in 0..=MAX_EXTENSIONS {
        let rest = bytes.get(at..)?;
        let len = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8 + 8 * usize::from(*rest.get(1)?),
            FRAGMENT => {
                let (fragment, inner) = parse_fragment_header(rest).ok()?;
                if fragment.offset != 0 {
                    return Some(Upper { protocol: inner, at: at + FRAGMENT_HEADER_LEN, is_first: false });
                }
                FRAGMENT_HEADER_LEN
            }
            protocol => return Some(Upper { protocol, at, is_first: true }),
        };
        next = *rest.first()?;
        at += len;
    }
    None
}

/// A packet quoted in an ICMP error; its end may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Source: us, when the error is about a packet of ours.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Protocol of the transport.
    pub protocol: u8,
    /// What is there of the transport's header and payload.
    pub transport: &'a [u8],
    /// Octets the whole packet had.
    pub total_len: u32,
}

/// Reads a quoted packet, walking IPv6 extension headers (RFC 4443 §2.4(d)). `None` when the transport's header is not
/// found, as in every fragment but the first.
pub fn parse_quoted(bytes: &[u8]) -> Option<Quoted<'_>> {
    match bytes.first()? >> 4 {
        4 => quoted_v4(bytes),
        6 => quoted_v6(bytes),
        _ => None,
    }
}

fn quoted_v4(bytes: &[u8]) -> Option<Quoted<'_>> {
    let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
    let header_len = header.slice().len();
    let total_len = usize::from(header.total_len());
    if total_len < header_len || header.fragments_offset().value() != 0 {
        return None;
    }
    Some(Quoted {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol: header.protocol().0,
        transport: &bytes[header_len..total_len.min(bytes.len())],
        total_len: total_len as u32,
    })
}

fn quoted_v6(bytes: &[u8]) -> Option<Quoted<'_>> {
    let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let total_len = V6_HEADER_LEN + usize::from(header.payload_length());
    let rest = &bytes[V6_HEADER_LEN..total_len.min(bytes.len())];
    let upper = skip_extensions(header.next_header().0, rest).filter(|upper| upper.is_first)?;
    Some(Quoted {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol: upper.protocol,
        transport: rest.get(upper.at..)?,
        total_len: total_len as u32,
    })
}
