//! The independent checker: what is true of every packet a host sends, whatever the test is about.
//!
//! Sees both directions, knows nothing of the stack's state, and uses none of its code. The kernel accepts oversized
//! and odd packets from a TUN without complaint, so nothing else would notice.

mod flow;
mod ip;
#[cfg(test)]
mod tests;

use super::packet::{Body, Packet, RST, Tcp, transport_checksum_ok};
use flow::Flow;
use ip::Fragments;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use tunstack::base::Instant;

/// A rule that every sent packet obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Lengths and structure of the headers.
    Structure,
    /// No larger than the MTU.
    Mtu,
    /// The IPv4 header checksum.
    IpChecksum,
    /// The transport checksum.
    TransportChecksum,
    /// The source is an address of the host.
    Source,
    /// The destination is one that can be sent to.
    Destination,
    /// TTL or hop limit is not zero.
    Ttl,
    /// The reserved bit of IPv4 and those of TCP are zero.
    Reserved,
    /// DF goes without fragments, and the ID of what may be fragmented is not used twice (RFC 6864).
    Id,
    /// Fragments do not overlap and all but the last are multiples of 8.
    Fragments,
    /// ICMP errors are about a packet that came and may be complained about.
    IcmpError,
    /// The option list is legal.
    Options,
    /// MSS, window scale and SACK-permitted stand on SYN only.
    SynOptions,
    /// An option is used only when both sides agreed to it.
    Negotiated,
    /// Timestamps do not go backwards and echo what the peer sent.
    Timestamps,
    /// SACK blocks name what arrived.
    Sack,
    /// No flag combination that nobody sends.
    Flags,
    /// An urgent pointer only with URG.
    Urgent,
    /// A segment is no larger than the peer's MSS allows.
    Mss,
    /// Sequence numbers follow each other without a hole.
    Sequence,
    /// The same octet at the same sequence number, whenever it is sent.
    SameOctets,
    /// Nothing is sent beyond what the peer's windows ever allowed.
    PeerWindow,
    /// ACK only goes forward, and never beyond what the peer sent.
    Ack,
    /// The right edge of our window never moves left.
    WindowEdge,
    /// Nothing after our FIN, and only one.
    AfterFin,
    /// No RST in answer to RST.
    RstForRst,
    /// A RST has a sequence number that the peer will believe.
    RstSequence,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 27] = [
        Rule::Structure,
        Rule::Mtu,
        Rule::IpChecksum,
        Rule::TransportChecksum,
        Rule::Source,
        Rule::Destination,
        Rule::Ttl,
        Rule::Reserved,
        Rule::Id,
        Rule::Fragments,
        Rule::IcmpError,
        Rule::Options,
        Rule::SynOptions,
        Rule::Negotiated,
        Rule::Timestamps,
        Rule::Sack,
        Rule::Flags,
        Rule::Urgent,
        Rule::Mss,
        Rule::Sequence,
        Rule::SameOctets,
        Rule::PeerWindow,
        Rule::Ack,
        Rule::WindowEdge,
        Rule::AfterFin,
        Rule::RstForRst,
        Rule::RstSequence,
    ];
}

/// A rule that a packet broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub rule: Rule,
    pub detail: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "packet checker, {:?}: {}", self.rule, self.detail)
    }
}

type Check = Result<(), Fault>;

/// A fault as the error of a check.
fn fault(rule: Rule, detail: impl Into<String>) -> Check {
    Err(Fault { rule, detail: detail.into() })
}

/// Fails with `rule` unless `ok`.
fn ensure(ok: bool, rule: Rule, detail: impl FnOnce() -> String) -> Check {
    if ok { Ok(()) } else { fault(rule, detail()) }
}

/// The books about one host: what it sent and what arrived there.
#[derive(Debug)]
pub struct Checker {
    mtu: usize,
    addresses: Vec<IpAddr>,
    broadcasts: Vec<IpAddr>,
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
    fragments: Fragments,
    /// What arrived since the last [`Checker::settle`].
    recent: Vec<Packet>,
    /// The user or a timer acted since then.
    acted: bool,
    /// Follow the connections? Off where peers lie on purpose: then only single packets are judged.
    follow: bool,
}

impl Checker {
    pub fn new(mtu: usize, addresses: &[IpAddr]) -> Checker {
        Checker {
            mtu,
            addresses: addresses.to_vec(),
            broadcasts: Vec::new(),
            flows: HashMap::new(),
            fragments: Fragments::default(),
            recent: Vec::new(),
            acted: false,
            follow: true,
        }
    }

    /// Judges packets one by one only, for tests whose peer sends what no TCP would.
    pub fn without_flows(mut self) -> Checker {
        self.follow = false;
        self
    }

    /// From now on packets are judged one by one only.
    pub fn forget_flows(&mut self) {
        self.follow = false;
        self.flows.clear();
    }

    /// Adds an address that the host may send from.
    pub fn add_address(&mut self, address: IpAddr) {
        self.addresses.push(address);
    }

    /// Adds a directed broadcast address of the host's subnets.
    pub fn add_broadcast(&mut self, address: IpAddr) {
        self.broadcasts.push(address);
    }

    /// The MTU changed.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// A packet is about to arrive at the host.
    pub fn arrived(&mut self, bytes: &[u8]) {
        let Some(packet) = Packet::parse_tolerantly(bytes) else { return };
        // A header with a wrong bit is thrown away however right the segment in it is.
        let header_ok = packet.src.is_ipv6() || super::packet::sum(&[&bytes[..packet.header_len]]) == 0;
        let ok =
            header_ok && transport_checksum_ok(packet.src, packet.dst, packet.protocol, packet.payload());
        if let (Some(tcp), true) = (packet.tcp(), self.follow && ok) {
            self.flow(&packet, tcp, false).arrived(tcp);
        }
        self.recent.push(packet);
    }

    /// A fragmented datagram arrived; the whole of it counts as seen.
    pub fn arrived_whole(&mut self, bytes: &[u8]) {
        self.arrived(bytes);
    }

    /// The user called something or time passed: what is sent next may be of the host's own accord.
    pub fn acted(&mut self) {
        self.acted = true;
    }

    /// The host has sent all it wanted to: what arrived until now is answered.
    pub fn settle(&mut self) {
        self.recent.clear();
        self.acted = false;
    }

    /// Judges a packet that the host sent.
    pub fn sent(&mut self, now: Instant, bytes: &[u8]) -> Check {
        ensure(bytes.len() <= self.mtu, Rule::Mtu, || format!("{} octets, MTU {}", bytes.len(), self.mtu))?;
        let packet = Packet::parse(bytes).map_err(|detail| Fault { rule: Rule::Structure, detail })?;
        self.check_ip(&packet)?;
        let whole = match packet.fragment {
            Some(_) => match self.fragments.add(&packet)? {
                Some(whole) => whole,
                None => return Ok(()),
            },
            None => packet,
        };
        self.fragments.check_id(now, &whole)?;
        let ok = transport_checksum_ok(whole.src, whole.dst, whole.protocol, whole.payload());
        ensure(ok, Rule::TransportChecksum, || "transport checksum is wrong".into())?;
        match &whole.body {
            Body::Tcp(tcp) => self.check_tcp(&whole, tcp),
            Body::Icmp { .. } => ip::check_icmp(&whole, &self.recent, &self.broadcasts),
            Body::Udp { .. } => {
                let absent = whole.src.is_ipv6() && whole.payload()[6..8] == [0, 0];
                ensure(!absent, Rule::TransportChecksum, || "UDP over IPv6 without checksum".into())
            }
            Body::Fragment | Body::Other => Ok(()),
        }
    }

    fn check_tcp(&mut self, packet: &Packet, tcp: &Tcp) -> Check {
        flow::check_segment(packet, tcp)?;
        let key = (SocketAddr::new(packet.dst, tcp.dst_port), SocketAddr::new(packet.src, tcp.src_port));
        let answers: Vec<&Tcp> = self
            .recent
            .iter()
            .filter(|p| (SocketAddr::from((p.src, p.tcp().map_or(0, |t| t.src_port)))) == key.0)
            .filter_map(Packet::tcp)
            .filter(|t| t.dst_port == tcp.src_port)
            .collect();
        if tcp.has(RST) {
            // What was put together from fragments is not in the books.
            let unseen = self.recent.iter().any(|packet| packet.fragment.is_some());
            flow::check_rst_cause(&answers, self.acted || unseen)?;
            if self.follow {
                let known = self.flows.get(&(key.1, key.0));
                flow::check_rst_sequence(tcp, &answers, known)?;
            }
        }
        if !self.follow {
            return Ok(());
        }
        let flow = self.flow(packet, tcp, true);
        flow.sent(tcp)?;
        ensure(packet.tos & 3 == 0 || flow.agrees_on_ecn(), Rule::Flags, || "ECT without ECN".into())
    }

    fn flow(&mut self, packet: &Packet, tcp: &Tcp, ours: bool) -> &mut Flow {
        let src = SocketAddr::new(packet.src, tcp.src_port);
        let dst = SocketAddr::new(packet.dst, tcp.dst_port);
        let key = if ours { (src, dst) } else { (dst, src) };
        self.flows.entry(key).or_insert_with(|| Flow::new(key.0.is_ipv4()))
    }
}
