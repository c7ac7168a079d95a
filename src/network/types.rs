//! The values that cross the border of the internet layer.

use crate::base::Errno;
use crate::base::io::MtuDiscover;
use crate::trace::{Flow, Reason, Why};
use crate::wire::packet::TxMeta;
use core::net::IpAddr;
use core::ops::Range;
use std::borrow::Cow;

/// What an address is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// `0.0.0.0` or `::`.
    Unspecified,
    /// 127/8 or `::1`.
    Loopback,
    /// One of our own.
    Own,
    /// Limited, or of one of our subnets.
    Broadcast,
    /// A group, joined or not.
    Multicast,
    /// Anybody else's.
    Remote,
}

impl AddressKind {
    /// Does it name this host alone?
    pub fn is_local(self) -> bool {
        matches!(self, AddressKind::Loopback | AddressKind::Own)
    }
}

/// What became of a packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is for a transport.
    Deliver(Delivery<'a>),
    /// It is an ICMP error about a packet that we may have sent; the transport judges whether it did.
    IcmpError(QuotedError<'a>),
    /// Nothing is left to do.
    Done(Reason),
}

/// A packet for a transport: TCP, UDP, or an echo reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The whole IP packet, owned when it was put together from fragments.
    pub packet: Cow<'a, [u8]>,
    /// Where in it the transport's header and payload are.
    pub payload: Range<usize>,
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// 6, 17, or 1 and 58 for echo replies.
    pub protocol: u8,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
    /// TOS or traffic class as it arrived.
    pub tos: u8,
    /// What the destination is to us: own, loopback, broadcast, or a group that we are in.
    pub to: AddressKind,
    /// The transport checksum needs no check.
    pub checksum_trusted: bool,
}

impl Delivery<'_> {
    /// The transport's header and payload.
    pub fn payload(&self) -> &[u8] {
        &self.packet[self.payload.clone()]
    }
}

/// An ICMP error that arrived, and the packet that it quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotedError<'a> {
    /// Who sent the error.
    pub from: IpAddr,
    /// Source of the quoted packet: us.
    pub src: IpAddr,
    /// Destination of the quoted packet.
    pub dst: IpAddr,
    /// Protocol of the quoted packet.
    pub protocol: u8,
    /// What is quoted of the transport's header and payload: at least 8 octets.
    pub transport: Cow<'a, [u8]>,
    /// What the socket reports, as Linux maps type and code.
    pub error: Errno,
    /// Is it one that ends an attempt to connect (as Linux's table says)?
    pub hard: bool,
    /// Next-hop MTU of "fragmentation needed" and "packet too big", estimated when the router gave none.
    /// To be handed to [`learn_path_mtu`](super::Network::learn_path_mtu) once the transport believes the quote.
    pub mtu: Option<u32>,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
}

/// What an IP packet is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpOut {
    /// Source: one of ours.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// TTL or hop limit, not 0.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// What to do about the path MTU.
    pub discover: MtuDiscover,
    /// Do our own sockets get what goes to a group that we are in?
    pub multicast_loop: bool,
    /// Why it is sent.
    pub why: Why,
    /// The flow it belongs to; its hash is the IPv6 flow label.
    pub flow: Option<Flow>,
}

/// A packet on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The whole packet.
    pub bytes: Vec<u8>,
    /// Why it is sent.
    pub why: Why,
    /// The flow it belongs to.
    pub flow: Option<Flow>,
    /// What the device has to know.
    pub meta: TxMeta,
    /// It is for ourselves: give it back to [`receive`](super::Network::receive) with `from_wire` false.
    pub loopback: bool,
}

/// An ICMP error for us to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpErrorKind {
    /// Nobody has the port.
    PortUnreachable,
    /// Nobody has the protocol whose number stands at octet `pointer` (which only IPv6 tells).
    ProtocolUnreachable {
        /// Octet of the packet.
        pointer: u32,
    },
    /// Fragments did not come in time.
    ReassemblyTimeout,
    /// The header is wrong at octet `pointer`.
    ParameterProblem {
        /// Code as the family numbers it.
        code: u8,
        /// First wrong octet.
        pointer: u32,
    },
}
