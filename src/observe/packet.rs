//! What a packet says, as far as a reader shows it.
//!
//! Lenient: whatever cannot be read is shown as what it is, never an error.

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use std::net::{IpAddr, SocketAddr};

/// One IP packet as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Source; port 0 where the protocol has none.
    pub source: SocketAddr,
    /// Destination; port 0 where the protocol has none.
    pub destination: SocketAddr,
    /// What it carries.
    pub body: Body,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Tcp(Tcp),
    /// Octets of the payload.
    Udp(usize),
    /// The message in words, and what an error quotes.
    Icmp(String, String),
    /// In words: a fragment, an unknown protocol, a broken header.
    Other(String),
}

/// A TCP header as values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tcp {
    pub seq: u32,
    pub ack: u32,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
    pub is_ack: bool,
    pub urg: bool,
    pub ece: bool,
    pub cwr: bool,
    /// As on the wire, not scaled.
    pub window: u16,
    /// Octets of payload.
    pub len: u32,
    pub options: Options,
}

/// The options a reader shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
    pub timestamps: bool,
    /// Left and right edges.
    pub sack: Vec<(u32, u32)>,
}

impl Tcp {
    /// Octets of sequence space, SYN and FIN counted.
    pub fn space(&self) -> u32 {
        self.len + u32::from(self.syn) + u32::from(self.fin)
    }

    /// The sequence number after its last octet.
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.space())
    }

    /// The control bits by name, as "SYN ACK".
    pub fn flag_names(&self) -> String {
        let all = [
            (self.syn, "SYN"),
            (self.fin, "FIN"),
            (self.rst, "RST"),
            (self.psh, "PSH"),
            (self.urg, "URG"),
            (self.ece, "ECE"),
            (self.cwr, "CWR"),
            (self.is_ack, "ACK"),
        ];
        let names: Vec<&str> = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        if names.is_empty() { "no flags".to_owned() } else { names.join(" ") }
    }

    /// The control bits as tcpdump's letters, as "S.".
    pub fn flag_letters(&self) -> String {
        let all = [
            (self.syn, 'S'),
            (self.fin, 'F'),
            (self.rst, 'R'),
            (self.psh, 'P'),
            (self.urg, 'U'),
            (self.ece, 'E'),
            (self.cwr, 'W'),
            (self.is_ack, '.'),
        ];
        all.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect()
    }
}

/// Reads a packet; `None` when there is not even an IP header.
pub(super) fn parse(bytes: &[u8]) -> Option<Packet> {
    let sliced = LaxSlicedPacket::from_ip(bytes).ok()?;
    let (source, destination, protocol, fragment) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let fragment = header.is_fragmenting_payload().then(|| {
                let offset = usize::from(header.fragments_offset().value()) * 8;
                fragment_text(offset, ip.payload().payload.len(), header.more_fragments())
            });
            let source = IpAddr::V4(header.source_addr());
            (source, IpAddr::V4(header.destination_addr()), header.protocol().0, fragment)
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let payload = ip.payload();
            let fragment = payload.fragmented.then(|| format!("fragment, {} octets", payload.payload.len()));
            let source = IpAddr::V6(header.source_addr());
            (source, IpAddr::V6(header.destination_addr()), payload.ip_number.0, fragment)
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let bare = |body| Packet { source: (source, 0).into(), destination: (destination, 0).into(), body };
    if let Some(fragment) = fragment {
        return Some(bare(Body::Other(fragment)));
    }
    Some(match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => Packet {
            source: (source, tcp.source_port()).into(),
            destination: (destination, tcp.destination_port()).into(),
            body: Body::Tcp(tcp_values(&tcp)),
        },
        Some(TransportSlice::Udp(udp)) => Packet {
            source: (source, udp.source_port()).into(),
            destination: (destination, udp.destination_port()).into(),
            body: Body::Udp(udp.payload().len()),
        },
        Some(TransportSlice::Icmpv4(icmp)) => bare(icmp_body(icmp.slice(), false)),
        Some(TransportSlice::Icmpv6(icmp)) => bare(icmp_body(icmp.slice(), true)),
        Some(TransportSlice::Igmp(_)) => bare(Body::Other("IGMP".to_owned())),
        None if sliced.stop_err.is_some() => bare(Body::Other("broken header".to_owned())),
        None => bare(Body::Other(format!("IP protocol {protocol}"))),
    })
}

fn fragment_text(offset: usize, len: usize, more: bool) -> String {
    format!("fragment, octets {offset} to {}{}", offset + len, if more { "" } else { ", the last" })
}

fn tcp_values(tcp: &etherparse::TcpSlice<'_>) -> Tcp {
    Tcp {
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        is_ack: tcp.ack(),
        urg: tcp.urg(),
        ece: tcp.ece(),
        cwr: tcp.cwr(),
        window: tcp.window_size(),
        len: tcp.payload().len() as u32,
        options: tcp_options(tcp.options()),
    }
}

/// Walks the options; stops at the first that does not fit.
fn tcp_options(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    let word = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    while let [kind, rest @ ..] = bytes {
        match kind {
            0 => break,
            1 => {
                bytes = rest;
                continue;
            }
            2..=255 => {}
        }
        let Some(len) =
            rest.first().map(|len| usize::from(*len)).filter(|len| (2..=bytes.len()).contains(len))
        else {
            break;
        };
        let (option, rest) = bytes.split_at(len);
        match (kind, &option[2..]) {
            (2, [high, low]) => options.mss = Some(u16::from_be_bytes([*high, *low])),
            (3, [shift]) => options.window_scale = Some(*shift),
            (4, []) => options.sack_permitted = true,
            (5, blocks) => {
                options.sack = blocks.chunks_exact(8).map(|block| (word(block), word(&block[4..]))).collect();
            }
            (8, value) if value.len() == 8 => options.timestamps = true,
            _ => {}
        }
        bytes = rest;
    }
    options
}

/// An ICMP or ICMPv6 message in words, with what an error quotes.
fn icmp_body(message: &[u8], v6: bool) -> Body {
    let &[kind, code, _, _, a, b, c, d, ref rest @ ..] = message else {
        return Body::Icmp("truncated".to_owned(), String::new());
    };
    let name = if v6 { icmpv6_name(kind, code) } else { icmpv4_name(kind, code) };
    let (text, quotes) = match (v6, kind, code) {
        (false, 8 | 0, _) | (true, 128 | 129, _) => {
            let (id, seq) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            (format!("{name} id {id} seq {seq} len {}", rest.len()), false)
        }
        (false, 3, 4) => (format!("{name}, MTU {}", u16::from_be_bytes([c, d])), true),
        (true, 2, _) => (format!("{name}, MTU {}", u32::from_be_bytes([a, b, c, d])), true),
        (false, 3 | 4 | 5 | 11 | 12, _) | (true, 1..=127, _) => (name.to_owned(), true),
        (_, kind, code) if name.is_empty() => (format!("type {kind} code {code}"), false),
        _ => (name.to_owned(), false),
    };
    Body::Icmp(text, if quotes { quoted(rest) } else { String::new() })
}

fn icmpv4_name(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (0, _) => "echo reply",
        (3, 0) => "network unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 9 | 10 | 13) => "prohibited",
        (3, _) => "unreachable",
        (4, _) => "source quench",
        (5, _) => "redirect",
        (8, _) => "echo request",
        (11, 0) => "time exceeded in transit",
        (11, _) => "reassembly time exceeded",
        (12, _) => "parameter problem",
        _ => "",
    }
}

fn icmpv6_name(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (1, 0) => "no route",
        (1, 1) => "prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "unreachable",
        (2, _) => "packet too big",
        (3, 0) => "time exceeded in transit",
        (3, _) => "reassembly time exceeded",
        (4, _) => "parameter problem",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (130..=132 | 143, _) => "multicast listener message",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbour solicitation",
        (136, _) => "neighbour advertisement",
        (137, _) => "redirect",
        _ => "",
    }
}

/// What an ICMP error quotes: "about TCP to 10.0.0.1:80".
fn quoted(bytes: &[u8]) -> String {
    let (destination, protocol, transport) = match bytes.first().map(|byte| byte >> 4) {
        Some(4) if bytes.len() >= 20 => {
            let header = usize::from(bytes[0] & 15) * 4;
            let destination = IpAddr::from([bytes[16], bytes[17], bytes[18], bytes[19]]);
            (destination, bytes[9], bytes.get(header..).unwrap_or_default())
        }
        Some(6) if bytes.len() >= 40 => {
            let mut address = [0; 16];
            address.copy_from_slice(&bytes[24..40]);
            (IpAddr::from(address), bytes[6], &bytes[40..])
        }
        _ => return String::new(),
    };
    let name = match protocol {
        1 | 58 => return format!("about ICMP to {destination}"),
        6 => "TCP",
        17 => "UDP",
        other => return format!("about protocol {other} to {destination}"),
    };
    match transport {
        [_, _, high, low, ..] => {
            format!("about {name} to {}", SocketAddr::new(destination, u16::from_be_bytes([*high, *low])))
        }
        _ => format!("about {name} to {destination}"),
    }
}
