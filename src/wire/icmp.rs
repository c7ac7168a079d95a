//! ICMP (RFC 792, RFC 4884 not) and ICMPv6 (RFC 4443) messages as values.
//!
//! Every message that concerns a host has eight octets of header and a body: the data of an echo, or the quoted
//! packet of an error.

use super::{Malformed, checksum::Sum};
use core::net::IpAddr;

/// Octets before the body.
pub const HEADER_LEN: usize = 8;
/// Protocol number of ICMP.
pub const PROTOCOL_V4: u8 = 1;
/// Next-header value of ICMPv6.
pub const PROTOCOL_V6: u8 = 58;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Echo request (8, 128).
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Echo reply (0, 129).
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Destination unreachable (3, 1), for another reason than size.
    Unreachable {
        /// Which of the reasons.
        code: u8,
    },
    /// Fragmentation needed and DF set (3 with code 4).
    FragmentationNeeded {
        /// Next-hop MTU (RFC 1191 §4); 0 from routers that do not tell.
        mtu: u16,
    },
    /// Packet too big (ICMPv6 2).
    PacketTooBig {
        /// Next-hop MTU.
        mtu: u32,
    },
    /// Time exceeded (11, 3).
    TimeExceeded {
        /// 0: in transit, 1: in reassembly.
        code: u8,
    },
    /// Parameter problem (12, 4).
    ParameterProblem {
        /// Which of the reasons.
        code: u8,
        /// Octet of the quoted packet that is wrong.
        pointer: u32,
    },
    /// Source quench (4), obsolete (RFC 6633).
    SourceQuench,
    /// Redirect (5, 137).
    Redirect,
    /// Neighbour, router and group messages of ICMPv6 (130..136, 143), which a link without neighbours does not need.
    Neighbour,
    /// Any other type.
    Unknown {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
}

/// A message: what it says and what follows its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it says.
    pub kind: Kind,
    /// Type octet.
    pub icmp_type: u8,
    /// Code octet.
    pub code: u8,
    /// Echo data or quoted packet.
    pub body: &'a [u8],
}

/// Reads an ICMP message of IPv4.
///
/// # Errors
/// [`Malformed::Truncated`] below eight octets (792-short).
pub fn parse_v4(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (icmp_type, code, rest, body) = split(bytes)?;
    let kind = match icmp_type {
        0 => Kind::EchoReply { id: high(rest), seq: low(rest) },
        8 => Kind::EchoRequest { id: high(rest), seq: low(rest) },
        3 if code == 4 => Kind::FragmentationNeeded { mtu: low(rest) },
        3 => Kind::Unreachable { code },
        11 => Kind::TimeExceeded { code },
        12 => Kind::ParameterProblem { code, pointer: rest >> 24 },
        4 => Kind::SourceQuench,
        5 => Kind::Redirect,
        kind => Kind::Unknown { kind, code },
    };
    Ok(Message { kind, icmp_type, code, body })
}

/// Reads an ICMPv6 message.
///
/// # Errors
/// [`Malformed::Truncated`] below eight octets.
pub fn parse_v6(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (icmp_type, code, rest, body) = split(bytes)?;
    let kind = match icmp_type {
        128 => Kind::EchoRequest { id: high(rest), seq: low(rest) },
        129 => Kind::EchoReply { id: high(rest), seq: low(rest) },
        1 => Kind::Unreachable { code },
        // RFC 4443 §3.2 (4443-3.2-ptb-code): the code is ignored.
        2 => Kind::PacketTooBig { mtu: rest },
        3 => Kind::TimeExceeded { code },
        4 => Kind::ParameterProblem { code, pointer: rest },
        137 => Kind::Redirect,
        130..=136 | 143 => Kind::Neighbour,
        kind => Kind::Unknown { kind, code },
    };
    Ok(Message { kind, icmp_type, code, body })
}

fn split(bytes: &[u8]) -> Result<(u8, u8, u32, &[u8]), Malformed> {
    let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Truncated)?;
    let rest = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    Ok((header[0], header[1], rest, body))
}

fn high(rest: u32) -> u16 {
    (rest >> 16) as u16
}

fn low(rest: u32) -> u16 {
    rest as u16
}

/// Is the checksum of a whole message right? ICMPv6 sums the pseudo header too (RFC 4443 §2.3).
pub fn verify(src: IpAddr, dst: IpAddr, bytes: &[u8]) -> bool {
    start(src, dst, bytes.len()).with(bytes).is_valid()
}

fn start(src: IpAddr, dst: IpAddr, len: usize) -> Sum {
    match src {
        IpAddr::V4(_) => Sum::new(),
        IpAddr::V6(_) => Sum::pseudo(src, dst, PROTOCOL_V6, len),
    }
}

/// A header with its checksum complete; `body` follows it. The family is that of `src`.
///
/// Kinds that a host never sends give `None`: source quench, redirect, neighbour messages, what is unknown, and what
/// the other family has.
pub fn header(kind: Kind, src: IpAddr, dst: IpAddr, body: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let (icmp_type, code, rest) = if src.is_ipv4() { fields_v4(kind) } else { fields_v6(kind) }?;
    let mut header = [0; HEADER_LEN];
    header[0] = icmp_type;
    header[1] = code;
    header[4..8].copy_from_slice(&rest.to_be_bytes());
    let checksum = start(src, dst, HEADER_LEN + body.len()).with(&header).with(body).checksum();
    header[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some(header)
}

fn echo(id: u16, seq: u16) -> u32 {
    u32::from(id) << 16 | u32::from(seq)
}

fn fields_v4(kind: Kind) -> Option<(u8, u8, u32)> {
    match kind {
        Kind::EchoReply { id, seq } => Some((0, 0, echo(id, seq))),
        Kind::EchoRequest { id, seq } => Some((8, 0, echo(id, seq))),
        Kind::Unreachable { code } => Some((3, code, 0)),
        Kind::FragmentationNeeded { mtu } => Some((3, 4, u32::from(mtu))),
        Kind::TimeExceeded { code } => Some((11, code, 0)),
        Kind::ParameterProblem { code, pointer } => Some((12, code, pointer << 24)),
        Kind::PacketTooBig { .. }
        | Kind::SourceQuench
        | Kind::Redirect
        | Kind::Neighbour
        | Kind::Unknown { .. } => None,
    }
}

fn fields_v6(kind: Kind) -> Option<(u8, u8, u32)> {
    match kind {
        Kind::EchoRequest { id, seq } => Some((128, 0, echo(id, seq))),
        Kind::EchoReply { id, seq } => Some((129, 0, echo(id, seq))),
        Kind::Unreachable { code } => Some((1, code, 0)),
        Kind::PacketTooBig { mtu } => Some((2, 0, mtu)),
        Kind::TimeExceeded { code } => Some((3, code, 0)),
        Kind::ParameterProblem { code, pointer } => Some((4, code, pointer)),
        Kind::FragmentationNeeded { .. }
        | Kind::SourceQuench
        | Kind::Redirect
        | Kind::Neighbour
        | Kind::Unknown { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: [IpAddr; 2] = [
        IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)),
    ];

    #[test]
    fn what_is_written_reads_the_same() {
        let six: [IpAddr; 2] = [[1; 16].into(), [2; 16].into()];
        let both = [
            Kind::EchoRequest { id: 1, seq: 2 },
            Kind::EchoReply { id: 3, seq: 4 },
            Kind::Unreachable { code: 3 },
            Kind::TimeExceeded { code: 1 },
            Kind::ParameterProblem { code: 0, pointer: 9 },
        ];
        let only =
            [(FOUR, Kind::FragmentationNeeded { mtu: 1400 }), (six, Kind::PacketTooBig { mtu: 70_000 })];
        let cases = both.iter().flat_map(|kind| [(FOUR, *kind), (six, *kind)]).chain(only);
        for ([src, dst], kind) in cases {
            let header = header(kind, src, dst, b"body").expect("a kind that is sent");
            let bytes = [&header[..], b"body"].concat();
            assert!(verify(src, dst, &bytes));
            let message = if src.is_ipv4() { parse_v4(&bytes) } else { parse_v6(&bytes) }.expect("ours");
            assert_eq!((message.kind, message.body), (kind, &b"body"[..]));
        }
    }

    /// conformance: 6633-3-no-send, 1122-3.2.2.2-no-send-redirect
    #[test]
    fn there_is_no_way_to_write_a_source_quench_or_a_redirect() {
        for kind in [Kind::SourceQuench, Kind::Redirect, Kind::Neighbour, Kind::Unknown { kind: 4, code: 0 }]
        {
            assert_eq!(header(kind, FOUR[0], FOUR[1], b""), None);
            assert_eq!(header(kind, [1; 16].into(), [2; 16].into(), b""), None);
        }
    }
}
