//! What a host tells about itself: one stream of events that every reader shares.
//!
//! Off by default and one branch when off. Captures, ladders, plots and test assertions all read this stream;
//! none of them looks into protocol state. Bytes are lent for the length of the call.

use crate::base::{Duration, Instant};
use core::fmt;
use core::net::SocketAddr;

/// A reader of the trace.
pub trait Sink: Send {
    /// Called for every event, in the order things happen.
    fn event(&mut self, event: &Event<'_>);
}

/// One thing that happened in a host.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Instant,
    /// The connection or flow it belongs to, seen from us.
    pub flow: Option<Flow>,
    /// What.
    pub kind: EventKind<'a>,
}

/// The two ends of a flow, seen from the host that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind<'a> {
    /// A packet left or arrived. For an arrived one the event comes after it was processed.
    Packet(PacketEvent<'a>),
    /// A connection changed its state.
    State {
        /// The state it left.
        from: TcpState,
        /// The state it entered.
        to: TcpState,
        /// What made it change, in a few words.
        why: &'static str,
        /// Where the rule stands, as "RFC 9293 §3.10.7.4".
        rfc: &'static str,
    },
    /// A timer of a connection fired.
    Timer {
        /// Which one.
        timer: Timer,
        /// How often in a row.
        attempt: u32,
    },
    /// The congestion window changed for another reason than growth.
    Congestion {
        /// What made it change.
        why: &'static str,
        /// Congestion window in octets, afterwards.
        cwnd: u32,
        /// Slow start threshold in octets, afterwards.
        ssthresh: u32,
    },
    /// A connection ended; `error` is what its calls report from now on.
    Ended {
        /// Linux name of the error, `None` when it ended in good order.
        error: Option<&'static str>,
    },
}

/// A packet at the border of the host.
#[derive(Clone, Debug)]
pub struct PacketEvent<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// The IP packet in pieces: headers first, then payload slices.
    pub bytes: &'a [&'a [u8]],
    /// Payload octets of each wire segment when this is a super-segment, else 0.
    pub segment_size: u16,
    /// Why it was sent, or what became of it.
    pub reason: Reason,
    /// The connection before the packet; `None` for packets that belong to none.
    pub before: Option<View>,
    /// The connection after the packet.
    pub after: Option<View>,
}

/// Which way a packet went, seen from the host that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It arrived.
    In,
    /// It left.
    Out,
}

/// Why a packet was sent, or what became of one that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It arrived and was taken.
    Taken,
    /// It arrived and was not for use: see [`Drop`].
    Dropped(Drop),
    /// It arrived and nobody waited for it here: another host with the same addresses gets it.
    HandedOver,
    /// It was sent: see [`Why`].
    Sent(Why),
}

macro_rules! words {
    ($(#[doc = $head:literal])* $type:ident { $($name:ident = $text:literal,)* }) => {
        $(#[doc = $head])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $(#[doc = $text] $name),* }
        impl $type {
            /// In words.
            pub const fn text(self) -> &'static str {
                match self { $($type::$name => $text),* }
            }
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$name),*];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.text()) }
        }
    };
}

words! {
    /// Why an arrived packet was dropped. Each has a counter.
    Drop {
        Malformed = "malformed header",
        Truncated = "shorter than it says",
        IpChecksum = "bad IP header checksum",
        TransportChecksum = "bad checksum",
        NotOurs = "not addressed to us",
        BadSource = "impossible source address",
        BadDestination = "impossible destination address",
        UnknownProtocol = "unknown protocol",
        UnknownOption = "option that must not be ignored",
        FragmentHeld = "fragment kept for reassembly",
        FragmentBad = "impossible fragment",
        FragmentOverlap = "overlapping fragment",
        FragmentNoRoom = "no room for reassembly",
        NoRoom = "no room",
        NoRoute = "no route back",
        NoSocket = "nobody listens",
        QueueFull = "receive queue full",
        ListenerFull = "backlog full",
        Unacceptable = "sequence outside the window",
        OldTimestamp = "timestamp too old (PAWS)",
        AckInvalid = "acknowledgment out of range",
        NoAck = "no ACK flag",
        ChallengedReset = "reset not at RCV.NXT",
        ChallengedSyn = "SYN on a live connection",
        Ignored = "ignored",
        IcmpStale = "quotes nothing in flight",
        IcmpIgnored = "message type not used here",
        Closed = "connection closed",
        Land = "source equals destination",
        LinkDown = "link is down",
    }
}

words! {
    /// Why a packet was sent.
    Why {
        Syn = "open",
        SynAck = "answer to SYN",
        SynCookie = "answer to SYN, nothing kept (cookie)",
        Data = "data",
        Fin = "close",
        Ack = "ack",
        DelayedAck = "delayed ack",
        DuplicateAck = "duplicate ack",
        WindowUpdate = "window update",
        Retransmit = "retransmission timeout",
        FastRetransmit = "fast retransmit",
        LossRetransmit = "lost (RACK)",
        TailLossProbe = "tail loss probe",
        PartialAckRetransmit = "next hole (partial ack)",
        LimitedTransmit = "limited transmit",
        MtuProbe = "path MTU probe",
        ZeroWindowProbe = "zero-window probe",
        KeepAlive = "keepalive probe",
        Challenge = "challenge ack",
        Reset = "reset",
        Datagram = "datagram",
        EchoRequest = "echo request",
        EchoReply = "echo reply",
        IcmpError = "ICMP error",
    }
}

words! {
    /// A timer of a connection.
    Timer {
        Retransmit = "retransmission timeout",
        TailLossProbe = "tail loss probe",
        Reorder = "reordering window",
        DelayedAck = "delayed ack",
        Persist = "persist",
        KeepAlive = "keepalive",
        TimeWait = "2 MSL",
        UserTimeout = "user timeout",
        FinWait2 = "FIN-WAIT-2",
        SynAck = "SYN-ACK",
        Override = "silly-window override",
    }
}

/// The states of RFC 9293 §3.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum TcpState {
    Closed,
    Listen,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl TcpState {
    /// The RFC's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            TcpState::Closed => "CLOSED",
            TcpState::Listen => "LISTEN",
            TcpState::SynSent => "SYN-SENT",
            TcpState::SynReceived => "SYN-RECEIVED",
            TcpState::Established => "ESTABLISHED",
            TcpState::FinWait1 => "FIN-WAIT-1",
            TcpState::FinWait2 => "FIN-WAIT-2",
            TcpState::CloseWait => "CLOSE-WAIT",
            TcpState::Closing => "CLOSING",
            TcpState::LastAck => "LAST-ACK",
            TcpState::TimeWait => "TIME-WAIT",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The key variables of a connection at one moment. Sequence numbers are as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// State.
    pub state: TcpState,
    /// Initial send sequence number.
    pub iss: u32,
    /// Initial receive sequence number.
    pub irs: u32,
    /// Oldest unacknowledged sequence number.
    pub snd_una: u32,
    /// Next sequence number to send.
    pub snd_nxt: u32,
    /// Send window in octets.
    pub snd_wnd: u32,
    /// Next sequence number expected.
    pub rcv_nxt: u32,
    /// Receive window in octets.
    pub rcv_wnd: u32,
    /// Congestion window in octets.
    pub cwnd: u32,
    /// Slow start threshold in octets.
    pub ssthresh: u32,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// Retransmission timeout in force.
    pub rto: Duration,
}

/// Where the host puts its events: a sink, or nothing.
#[derive(Default)]
pub struct Tracer {
    sink: Option<Box<dyn Sink>>,
}

impl Tracer {
    /// Sends all events to `sink` from now on; `None` switches tracing off.
    pub fn set(&mut self, sink: Option<Box<dyn Sink>>) {
        self.sink = sink;
    }

    /// Is anybody reading? Build expensive events only then.
    pub fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Tells the reader, if there is one.
    pub fn emit(&mut self, at: Instant, flow: Option<Flow>, kind: EventKind<'_>) {
        if let Some(sink) = &mut self.sink {
            sink.event(&Event { at, flow, kind });
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({})", if self.is_on() { "on" } else { "off" })
    }
}
