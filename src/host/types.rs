//! The values that cross the border of a [`Host`](super::Host).

pub use crate::base::io::MtuDiscover;
use crate::base::io::{MsgFlags, PacketInfo};
use crate::base::{Duration, Errno};
use core::net::{IpAddr, SocketAddr};

slotmap::new_key_type! {
    /// A socket of one host: small, `Copy`, never reused for another socket.
    pub struct SocketId;
}

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`; reaches IPv4 too through mapped addresses unless `V6Only` is set.
    Inet6,
}

/// Kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `SOCK_STREAM`: TCP.
    Stream,
    /// `SOCK_DGRAM`: UDP.
    Dgram,
    /// `SOCK_DGRAM` with `IPPROTO_ICMP` / `IPPROTO_ICMPV6`: echo requests and replies; the port is the identifier.
    Ping,
}

/// Which halves of a connection to shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

/// What a receive call got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Octets written to the caller's buffer; with [`MsgFlags::TRUNC`] asked for, the datagram's real length.
    pub len: usize,
    /// The sender of a datagram.
    pub from: Option<SocketAddr>,
    /// `TRUNC` when the datagram was longer than the buffer; `OOB` for urgent data.
    pub flags: MsgFlags,
    /// Where and how the datagram arrived.
    pub info: PacketInfo,
    /// What came from the error queue ([`MsgFlags::ERRQUEUE`]): the error, its reporter, ICMP type and code.
    pub error: Option<(Errno, IpAddr, (u8, u8))>,
}

/// A socket option with its value, under Linux's names. Times of zero and sizes out of range are refused or clamped
/// as Linux does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Opt {
    ReuseAddr(bool),
    ReusePort(bool),
    KeepAlive(bool),
    /// `None`: off; zero: close resets.
    Linger(Option<Duration>),
    Broadcast(bool),
    /// Octets of each datagram that a write is cut into; 0: it is one datagram.
    UdpSegment(u16),
    OobInline(bool),
    DontRoute(bool),
    /// Octets as set; reading gives twice that, as on Linux.
    SndBuf(u32),
    RcvBuf(u32),
    RcvLowat(u32),
    Priority(u32),
    NoDelay(bool),
    Cork(bool),
    MaxSeg(u32),
    KeepIdle(Duration),
    KeepIntvl(Duration),
    KeepCnt(u32),
    SynCnt(u32),
    Linger2(Duration),
    DeferAccept(Duration),
    /// Of a listener: connections that may be handed out with their SYN (RFC 7413); 0: none.
    FastOpen(u32),
    /// Where the peer has given a cookie, connect leaves the SYN to the first write.
    FastOpenConnect(bool),
    WindowClamp(u32),
    QuickAck(bool),
    UserTimeout(Duration),
    Congestion(String),
    NotSentLowat(u32),
    Tos(u8),
    Ttl(u8),
    MulticastTtl(u8),
    MulticastLoop(bool),
    V6Only(bool),
    MtuDiscover(MtuDiscover),
    RecvErr(bool),
    RecvPktInfo(bool),
    RecvTtl(bool),
    RecvTos(bool),
    /// Group to join; setting only.
    AddMembership(IpAddr),
    /// Group to leave; setting only.
    DropMembership(IpAddr),
    /// Path MTU of a connected socket; reading only.
    Mtu(u32),
    /// `SO_ERROR`: the pending error's number, cleared by reading; reading only.
    Error(i32),
    /// Is it a listener; reading only.
    AcceptConn(bool),
}

/// The name of a socket option, for reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum OptName {
    ReuseAddr,
    ReusePort,
    KeepAlive,
    Linger,
    Broadcast,
    UdpSegment,
    OobInline,
    DontRoute,
    SndBuf,
    RcvBuf,
    RcvLowat,
    Priority,
    NoDelay,
    Cork,
    MaxSeg,
    KeepIdle,
    KeepIntvl,
    KeepCnt,
    SynCnt,
    Linger2,
    DeferAccept,
    FastOpen,
    FastOpenConnect,
    WindowClamp,
    QuickAck,
    UserTimeout,
    Congestion,
    NotSentLowat,
    Tos,
    Ttl,
    MulticastTtl,
    MulticastLoop,
    V6Only,
    MtuDiscover,
    RecvErr,
    RecvPktInfo,
    RecvTtl,
    RecvTos,
    Mtu,
    Error,
    AcceptConn,
}
