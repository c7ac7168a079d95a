//! Packets as the tests see them: sliced and written by `etherparse`, with an option walk and a checksum of our own,
//! so that nothing of the stack under test is used to judge it.

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6Header,
    Ipv6HeaderSlice, TcpSlice, UdpSlice,
};
use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
const IPV6_FRAGMENT: u8 = 44;

/// A packet, taken apart.
#[derive(Clone, Debug)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    pub tos: u8,
    /// IPv4 identification, or that of the IPv6 fragment header.
    pub id: u32,
    pub df: bool,
    pub protocol: u8,
    /// Octets before the payload of IP (extension headers counted).
    pub header_len: usize,
    /// Offset in octets and "more fragments"; `None` for a whole datagram.
    pub fragment: Option<(usize, bool)>,
    pub body: Body,
}

/// What IP carries.
#[derive(Clone, Debug)]
pub enum Body {
    Tcp(Tcp),
    Udp { src_port: u16, dst_port: u16, payload: Vec<u8> },
    Icmp { kind: u8, code: u8, rest: [u8; 4], payload: Vec<u8> },
    Fragment,
    Other,
}

/// A TCP segment as it stands on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    /// Raw option octets.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Tcp {
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Octets of sequence space.
    pub fn seq_len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    /// The options, in order.
    pub fn walk(&self) -> Result<Vec<TcpOption>, String> {
        walk(&self.options)
    }
}

/// One TCP option as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOption {
    Nop,
    Mss(u16),
    Scale(u8),
    SackOk,
    Sack(Vec<(u32, u32)>),
    Timestamps(u32, u32),
    Other(u8, Vec<u8>),
}

/// Walks raw options; every octet must be accounted for, and only zeros may follow the end of the list.
pub fn walk(mut raw: &[u8]) -> Result<Vec<TcpOption>, String> {
    let be16 = |b: &[u8]| u16::from_be_bytes([b[0], b[1]]);
    let be32 = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
    let mut found = Vec::new();
    while let [kind, rest @ ..] = raw {
        match kind {
            0 if rest.iter().any(|octet| *octet != 0) => {
                return Err("padding after the end of options is not zero".into());
            }
            0 => return Ok(found),
            1 => {
                found.push(TcpOption::Nop);
                raw = rest;
                continue;
            }
            _ => {}
        }
        let len = usize::from(*rest.first().ok_or("option kind without a length")?);
        if len < 2 || len > raw.len() {
            return Err(format!("option {kind} says it is {len} octets long, {} are left", raw.len()));
        }
        let body = &raw[2..len];
        found.push(match (kind, body.len()) {
            (2, 2) => TcpOption::Mss(be16(body)),
            (3, 1) => TcpOption::Scale(body[0]),
            (4, 0) => TcpOption::SackOk,
            (5, n) if n > 0 && n % 8 == 0 => {
                TcpOption::Sack(body.chunks(8).map(|b| (be32(b), be32(&b[4..]))).collect())
            }
            (8, 8) => TcpOption::Timestamps(be32(body), be32(&body[4..])),
            (2 | 3 | 4 | 5 | 8, n) => return Err(format!("option {kind} cannot have {n} octets")),
            _ => TcpOption::Other(*kind, body.to_vec()),
        });
        raw = &raw[len..];
    }
    Ok(found)
}

/// The ones-complement sum of RFC 1071, the plain way.
pub fn sum(chunks: &[&[u8]]) -> u16 {
    let mut total = 0u64;
    for chunk in chunks {
        debug_assert!(chunk.len() % 2 == 0 || std::ptr::eq(*chunk, chunks[chunks.len() - 1]));
        for pair in chunk.chunks(2) {
            total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The pseudo-header of a transport checksum.
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for address in [src, dst] {
        match address {
            IpAddr::V4(a) => out.extend(a.octets()),
            IpAddr::V6(a) => out.extend(a.octets()),
        }
    }
    out.extend((len as u32).to_be_bytes());
    out.extend([0, 0, 0, protocol]);
    out
}

/// Is the checksum of this transport payload right? A UDP checksum of zero counts as absent over IPv4.
pub fn transport_checksum_ok(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> bool {
    match protocol {
        ICMP => sum(&[payload]) == 0,
        UDP if src.is_ipv4() && payload.len() >= 8 && payload[6..8] == [0, 0] => true,
        TCP | UDP | ICMPV6 => sum(&[&pseudo(src, dst, protocol, payload.len()), payload]) == 0,
        _ => true,
    }
}

impl Packet {
    /// Takes a packet apart. Says what is wrong with its structure; checksums are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Packet, String> {
        let mut packet = match bytes.first().map(|b| b >> 4) {
            Some(4) => parse_v4(bytes)?,
            Some(6) => parse_v6(bytes)?,
            _ => return Err("neither IPv4 nor IPv6".into()),
        };
        packet.body = match packet.fragment {
            Some(_) => Body::Fragment,
            None => parse_body(packet.protocol, &bytes[packet.header_len..])?,
        };
        Ok(packet)
    }

    /// Takes a packet apart as a receiver must: what a link padded is cut off, and one that is broken above IP has an unknown
    /// body.
    pub fn parse_tolerantly(bytes: &[u8]) -> Option<Packet> {
        let says = match bytes.first().map(|b| b >> 4) {
            Some(4) if bytes.len() >= 20 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            Some(6) if bytes.len() >= 40 => 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]])),
            _ => return None,
        };
        let bytes = &bytes[..bytes.len().min(says)];
        Packet::parse(bytes).ok().or_else(|| match bytes.first().map(|b| b >> 4) {
            Some(4) => parse_v4(bytes).ok(),
            Some(6) => parse_v6(bytes).ok(),
            _ => None,
        })
    }

    /// What IP carries, as octets.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.header_len..]
    }

    /// The segment, when it is TCP.
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.body {
            Body::Tcp(tcp) => Some(tcp),
            Body::Udp { .. } | Body::Icmp { .. } | Body::Fragment | Body::Other => None,
        }
    }
}

fn parse_v4(bytes: &[u8]) -> Result<Packet, String> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|e| e.to_string())?;
    if usize::from(header.total_len()) != bytes.len() {
        return Err(format!("IPv4 total length {} of {} octets", header.total_len(), bytes.len()));
    }
    let offset = usize::from(header.fragments_offset().value()) * 8;
    Ok(Packet {
        bytes: bytes.to_vec(),
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        ttl: header.ttl(),
        tos: bytes[1],
        id: u32::from(header.identification()),
        df: header.dont_fragment(),
        protocol: header.protocol().0,
        header_len: header.slice().len(),
        fragment: (offset > 0 || header.more_fragments()).then_some((offset, header.more_fragments())),
        body: Body::Other,
    })
}

fn parse_v6(bytes: &[u8]) -> Result<Packet, String> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|e| e.to_string())?;
    if usize::from(header.payload_length()) + 40 != bytes.len() {
        return Err(format!("IPv6 payload length {} of {} octets", header.payload_length(), bytes.len()));
    }
    let mut packet = Packet {
        bytes: bytes.to_vec(),
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        ttl: header.hop_limit(),
        tos: header.traffic_class(),
        id: 0,
        df: true,
        protocol: header.next_header().0,
        header_len: 40,
        fragment: None,
        body: Body::Other,
    };
    if packet.protocol == IPV6_FRAGMENT {
        let fragment = Ipv6FragmentHeaderSlice::from_slice(&bytes[40..]).map_err(|e| e.to_string())?;
        packet.protocol = fragment.next_header().0;
        packet.header_len = 48;
        packet.id = fragment.identification();
        packet.fragment =
            Some((usize::from(fragment.fragment_offset().value()) * 8, fragment.more_fragments()));
    }
    Ok(packet)
}

/// Takes a transport payload apart.
pub fn parse_body(protocol: u8, payload: &[u8]) -> Result<Body, String> {
    Ok(match protocol {
        TCP => {
            let tcp = TcpSlice::from_slice(payload).map_err(|e| e.to_string())?;
            Body::Tcp(Tcp {
                src_port: tcp.source_port(),
                dst_port: tcp.destination_port(),
                seq: tcp.sequence_number(),
                ack: tcp.acknowledgment_number(),
                flags: payload[13],
                window: tcp.window_size(),
                urgent: tcp.urgent_pointer(),
                options: tcp.options().to_vec(),
                payload: tcp.payload().to_vec(),
            })
        }
        UDP => {
            let udp = UdpSlice::from_slice(payload).map_err(|e| e.to_string())?;
            if usize::from(udp.length()) != payload.len() {
                return Err(format!("UDP length {} of {} octets", udp.length(), payload.len()));
            }
            Body::Udp {
                src_port: udp.source_port(),
                dst_port: udp.destination_port(),
                payload: udp.payload().to_vec(),
            }
        }
        ICMP | ICMPV6 => match payload {
            [kind, code, _, _, a, b, c, d, data @ ..] => {
                Body::Icmp { kind: *kind, code: *code, rest: [*a, *b, *c, *d], payload: data.to_vec() }
            }
            _ => return Err("ICMP message shorter than its header".into()),
        },
        _ => Body::Other,
    })
}

/// An IP packet around a transport payload.
pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip_with(src, dst, protocol, payload, |_| {})
}

/// An IP packet around a transport payload, with the IPv4 header changed before its checksum is made.
pub fn ip_with(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    payload: &[u8],
    change: impl FnOnce(&mut Ipv4Header),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = Ipv4Header::new(0, 64, IpNumber(protocol), src.octets(), dst.octets())
                .expect("no payload is not too long");
            header.identification = 0x7465;
            header.dont_fragment = true;
            change(&mut header);
            header.set_payload_len(payload.len()).expect("fits an IPv4 packet");
            header.header_checksum = header.calc_header_checksum();
            header.write(&mut bytes).expect("writing to memory");
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                payload_length: payload.len() as u16,
                next_header: IpNumber(protocol),
                hop_limit: 64,
                source: src.octets(),
                destination: dst.octets(),
                ..Default::default()
            };
            header.write(&mut bytes).expect("writing to memory");
        }
        _ => panic!("{src} and {dst} are of different families"),
    }
    bytes.extend(payload);
    bytes
}

/// The octets of a segment between two addresses, with its checksum.
pub fn tcp_payload(src: IpAddr, dst: IpAddr, tcp: &Tcp) -> Vec<u8> {
    assert!(
        tcp.options.len().is_multiple_of(4) && tcp.options.len() <= 40,
        "options of {} octets",
        tcp.options.len()
    );
    let mut out = Vec::with_capacity(60 + tcp.payload.len());
    out.extend(tcp.src_port.to_be_bytes());
    out.extend(tcp.dst_port.to_be_bytes());
    out.extend(tcp.seq.to_be_bytes());
    out.extend(tcp.ack.to_be_bytes());
    out.extend([((5 + tcp.options.len() / 4) << 4) as u8, tcp.flags]);
    out.extend(tcp.window.to_be_bytes());
    out.extend([0, 0]);
    out.extend(tcp.urgent.to_be_bytes());
    out.extend(&tcp.options);
    out.extend(&tcp.payload);
    let checksum = sum(&[&pseudo(src, dst, TCP, out.len()), &out]);
    out[16..18].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// A whole TCP packet.
pub fn tcp(src: IpAddr, dst: IpAddr, segment: &Tcp) -> Vec<u8> {
    ip(src, dst, TCP, &tcp_payload(src, dst, segment))
}

/// Sets the ECN bits of a packet that has none.
pub fn set_ecn(packet: &mut [u8], ecn: u8) {
    if packet[0] >> 4 == 6 {
        packet[1] |= ecn << 4;
        return;
    }
    packet[1] |= ecn;
    packet[10..12].fill(0);
    let checksum = sum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// A whole UDP packet.
pub fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    ip(src.ip(), dst.ip(), UDP, &udp_payload(src, dst, payload))
}

/// A UDP datagram with its checksum.
pub fn udp_payload(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(src.port().to_be_bytes());
    out.extend(dst.port().to_be_bytes());
    out.extend((payload.len() as u16 + 8).to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
    let checksum = sum(&[&pseudo(src.ip(), dst.ip(), UDP, out.len()), &out]);
    out[6..8].copy_from_slice(&if checksum == 0 { 0xffff } else { checksum }.to_be_bytes());
    out
}

/// A whole ICMP or ICMPv6 message, by the family of the addresses.
pub fn icmp(src: IpAddr, dst: IpAddr, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let protocol = if src.is_ipv4() { ICMP } else { ICMPV6 };
    let mut out = vec![kind, code, 0, 0];
    out.extend(rest);
    out.extend(payload);
    let checksum = match protocol {
        ICMP => sum(&[&out]),
        _ => sum(&[&pseudo(src, dst, protocol, out.len()), &out]),
    };
    out[2..4].copy_from_slice(&checksum.to_be_bytes());
    ip(src, dst, protocol, &out)
}

/// An IPv4 fragment of `payload` at `offset` octets.
pub fn fragment_v4(packet: &Packet, payload: &[u8], id: u16, offset: usize, more: bool) -> Vec<u8> {
    ip_with(packet.src, packet.dst, packet.protocol, payload, |header| {
        header.identification = id;
        header.dont_fragment = false;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new((offset / 8) as u16).expect("offset fits");
    })
}

/// Octets of options from a list, padded with NOP in front to a multiple of four where needed.
pub fn write_options(options: &[TcpOption]) -> Vec<u8> {
    let mut out = Vec::new();
    for option in options {
        match option {
            TcpOption::Nop => out.push(1),
            TcpOption::Mss(mss) => {
                out.extend([2, 4]);
                out.extend(mss.to_be_bytes());
            }
            TcpOption::Scale(shift) => out.extend([3, 3, *shift]),
            TcpOption::SackOk => out.extend([4, 2]),
            TcpOption::Sack(blocks) => {
                out.extend([5, 2 + 8 * blocks.len() as u8]);
                blocks.iter().for_each(|(left, right)| {
                    out.extend(left.to_be_bytes());
                    out.extend(right.to_be_bytes());
                });
            }
            TcpOption::Timestamps(value, echo) => {
                out.extend([8, 10]);
                out.extend(value.to_be_bytes());
                out.extend(echo.to_be_bytes());
            }
            TcpOption::Other(kind, body) => {
                out.extend([*kind, 2 + body.len() as u8]);
                out.extend(body);
            }
        }
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

#[test]
fn what_is_written_here_is_what_etherparse_reads() {
    let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().expect("v4"), "10.0.0.2".parse().expect("v4"));
    let options = [
        TcpOption::Mss(1460),
        TcpOption::SackOk,
        TcpOption::Timestamps(7, 9),
        TcpOption::Nop,
        TcpOption::Scale(7),
    ];
    let segment = Tcp {
        src_port: 1,
        dst_port: 2,
        seq: 3,
        flags: SYN,
        options: write_options(&options),
        ..Tcp::default()
    };
    let packet = Packet::parse(&tcp(a, b, &segment)).expect("parses");
    assert_eq!(packet.tcp(), Some(&segment));
    assert_eq!(segment.walk().expect("legal"), options);
    assert!(transport_checksum_ok(a, b, TCP, packet.payload()));
    let sliced = etherparse::SlicedPacket::from_ip(&packet.bytes).expect("etherparse agrees");
    let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2]).expect("short"));
    for raw in [&[2u8, 3, 0, 0][..], &[8, 10, 0, 0], &[3, 0, 0, 0], &[0, 0, 0, 1], &[1, 1, 1, 5]] {
        assert!(walk(raw).is_err(), "{raw:?}");
    }
}
