//! Faults by script: "drop the first SYN-ACK", "drop data segment 3".

use crate::base::Duration;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::Flags;
use core::net::IpAddr;
use etherparse::{NetSlice, SlicedPacket, TcpSlice, TransportSlice};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// One scripted fault: what is done to which packets. Retransmissions count like any packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is done to it.
    pub action: Action,
    /// Packets of which kind are counted.
    pub kind: Kind,
    /// The first of them that is meant, counted from 1.
    pub first: u32,
    /// The last of them; `u32::MAX`: all that follow.
    pub last: u32,
}

impl Fault {
    /// Is the `count`th packet of its kind meant?
    pub(super) fn means(&self, count: u32) -> bool {
        (self.first..=self.last).contains(&count)
    }
}

/// What a scripted fault does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives later by so much, and others overtake it.
    Delay(Duration),
    /// One of its bits is flipped.
    Corrupt,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)*) => {
        /// Kinds of packets that a script can name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[doc = $doc])+ $name),* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),*];

            /// Its word in a script.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// Any packet.
    Packet = "packet",
    /// A TCP segment.
    Tcp = "tcp",
    /// A UDP datagram.
    Udp = "udp",
    /// An ICMP or ICMPv6 message.
    Icmp = "icmp",
    /// A SYN without ACK.
    Syn = "syn",
    /// A SYN with ACK.
    SynAck = "syn-ack",
    /// An acknowledgment and nothing else.
    Ack = "ack",
    /// A TCP segment with payload.
    Data = "data",
    /// A TCP segment with payload that was sent before: a retransmission.
    Again = "again",
    /// A segment with FIN.
    Fin = "fin",
    /// A segment with RST.
    Rst = "rst",
}

/// What a packet is, as far as a script can tell.
pub(super) enum Looks {
    Tcp { flags: Flags, payload: usize, again: bool },
    Udp,
    Icmp,
    Other,
}

impl Looks {
    /// Is it of this kind?
    pub fn is(&self, kind: Kind) -> bool {
        match *self {
            Looks::Tcp { flags, payload, again } => match kind {
                Kind::Packet | Kind::Tcp => true,
                Kind::Udp | Kind::Icmp => false,
                Kind::Syn => flags.contains(Flags::SYN) && !flags.contains(Flags::ACK),
                Kind::SynAck => flags.contains(Flags::SYN | Flags::ACK),
                Kind::Ack => {
                    let control = flags & (Flags::SYN | Flags::FIN | Flags::RST | Flags::ACK);
                    payload == 0 && control == Flags::ACK
                }
                Kind::Data => payload > 0,
                Kind::Again => again,
                Kind::Fin => flags.contains(Flags::FIN),
                Kind::Rst => flags.contains(Flags::RST),
            },
            Looks::Udp => matches!(kind, Kind::Packet | Kind::Udp),
            Looks::Icmp => matches!(kind, Kind::Packet | Kind::Icmp),
            Looks::Other => kind == Kind::Packet,
        }
    }
}

/// Flows that are remembered at most; one more, and all are forgotten.
const FLOWS: usize = 4096;

/// Who sends to whom: addresses and ports.
type Flow = (IpAddr, IpAddr, u16, u16);

/// Looks at the packets of one direction, and remembers how far each flow's sequence numbers went.
#[derive(Clone, Debug, Default)]
pub(super) struct Watcher {
    furthest: HashMap<Flow, SeqNumber>,
}

impl Watcher {
    /// Looks at a packet; a damaged one or a fragment is `Other`.
    pub fn look(&mut self, packet: &[u8]) -> Looks {
        let Ok(sliced) = SlicedPacket::from_ip(packet) else { return Looks::Other };
        match sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let flags = Flags::from_bits_retain(tcp.slice().get(13).copied().unwrap_or(0));
                let again = match sliced.net {
                    Some(net) => self.note(&net, &tcp, flags),
                    None => false,
                };
                Looks::Tcp { flags, payload: tcp.payload().len(), again }
            }
            Some(TransportSlice::Udp(_)) => Looks::Udp,
            Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => Looks::Icmp,
            Some(TransportSlice::Igmp(_)) | None => Looks::Other,
        }
    }

    /// Does the segment's payload begin with octets that passed before?
    fn note(&mut self, net: &NetSlice<'_>, tcp: &TcpSlice<'_>, flags: Flags) -> bool {
        let (from, to): (IpAddr, IpAddr) = match net {
            NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Arp(_) => return false,
        };
        let payload = tcp.payload().len() as u32;
        let begin = SeqNumber(tcp.sequence_number());
        let syn = flags.contains(Flags::SYN);
        if payload == 0 && !syn {
            return false;
        }
        let end = begin.add(payload + u32::from(syn));
        let flow = (from, to, tcp.source_port(), tcp.destination_port());
        if self.furthest.len() >= FLOWS && !self.furthest.contains_key(&flow) {
            self.furthest.clear();
        }
        match self.furthest.entry(flow) {
            // A SYN begins a flow anew.
            Entry::Occupied(known) if !syn => {
                let known = known.into_mut();
                let again = begin.before(*known);
                *known = known.max(end);
                again
            }
            entry => {
                entry.insert_entry(end);
                false
            }
        }
    }
}
