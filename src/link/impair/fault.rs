//! Faults by script: "drop the first SYN-ACK", "drop data segment 3".

use crate::base::Duration;
use crate::wire::tcp::Flags;
use etherparse::{SlicedPacket, TransportSlice};

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
    /// A segment with FIN.
    Fin = "fin",
    /// A segment with RST.
    Rst = "rst",
}

/// What a packet is, as far as a script can tell.
pub(super) enum Looks {
    Tcp { flags: Flags, payload: usize },
    Udp,
    Icmp,
    Other,
}

impl Looks {
    /// Looks at a packet; a damaged one or a fragment is `Other`.
    pub fn of(packet: &[u8]) -> Looks {
        let transport = SlicedPacket::from_ip(packet).ok().and_then(|sliced| sliced.transport);
        match transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let flags = Flags::from_bits_retain(tcp.slice().get(13).copied().unwrap_or(0));
                Looks::Tcp { flags, payload: tcp.payload().len() }
            }
            Some(TransportSlice::Udp(_)) => Looks::Udp,
            Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => Looks::Icmp,
            Some(TransportSlice::Igmp(_)) | None => Looks::Other,
        }
    }

    /// Is it of this kind?
    pub fn is(&self, kind: Kind) -> bool {
        match *self {
            Looks::Tcp { flags, payload } => match kind {
                Kind::Packet | Kind::Tcp => true,
                Kind::Udp | Kind::Icmp => false,
                Kind::Syn => flags.contains(Flags::SYN) && !flags.contains(Flags::ACK),
                Kind::SynAck => flags.contains(Flags::SYN | Flags::ACK),
                Kind::Ack => {
                    let control = flags & (Flags::SYN | Flags::FIN | Flags::RST | Flags::ACK);
                    payload == 0 && control == Flags::ACK
                }
                Kind::Data => payload > 0,
                Kind::Fin => flags.contains(Flags::FIN),
                Kind::Rst => flags.contains(Flags::RST),
            },
            Looks::Udp => matches!(kind, Kind::Packet | Kind::Udp),
            Looks::Icmp => matches!(kind, Kind::Packet | Kind::Icmp),
            Looks::Other => kind == Kind::Packet,
        }
    }
}
