//! Words that sockets, the host and the transports share.

use bitflags::bitflags;
use bytes::Bytes;
use core::net::IpAddr;

bitflags! {
    /// What a socket is ready for; the meaning of each bit is `poll(2)`'s.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Readiness: u8 {
        /// `POLLIN`: recv or accept will not wait (data, end of stream, a connection, or an error).
        const READABLE = 0x01;
        /// `POLLOUT`: send will not wait.
        const WRITABLE = 0x02;
        /// `POLLPRI`: urgent data.
        const PRIORITY = 0x04;
        /// `POLLERR`: an error is pending.
        const ERROR = 0x08;
        /// `POLLHUP`: both directions are shut.
        const HANGUP = 0x10;
        /// `POLLRDHUP`: the peer will send no more.
        const READ_HANGUP = 0x20;
    }
}

bitflags! {
    /// Flags of send and receive calls, the ones that mean something to the host. `DONTWAIT`, `WAITALL` and
    /// `NOSIGNAL` concern waiting and are the socket layer's.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MsgFlags: u32 {
        /// `MSG_OOB`: urgent data.
        const OOB = 0x01;
        /// `MSG_PEEK`: leave the data in the queue.
        const PEEK = 0x02;
        /// `MSG_TRUNC`: on receive, report the datagram's real length; as a result, it was cut.
        const TRUNC = 0x20;
        /// `MSG_EOR`: what follows must not share a segment with this.
        const EOR = 0x80;
        /// `MSG_ERRQUEUE`: read the error queue.
        const ERRQUEUE = 0x2000;
        /// `MSG_FASTOPEN`: connect, and send this with the SYN if possible (RFC 7413).
        const FASTOPEN = 0x2000_0000;
        /// `MSG_MORE`: more data follows soon; do not send a partial segment yet.
        const MORE = 0x8000;
    }
}

/// Octets to be sent on a stream.
#[derive(Debug)]
pub enum Source<'a> {
    /// Copied.
    Slice(&'a [u8]),
    /// Kept where they are if they are many; what is taken is cut off at the front.
    Owned(&'a mut Bytes),
}

impl Source<'_> {
    /// Octets offered.
    pub fn len(&self) -> usize {
        match self {
            Source::Slice(data) => data.len(),
            Source::Owned(data) => data.len(),
        }
    }

    /// Is nothing offered?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where octets received on a stream go.
#[derive(Debug)]
pub enum Target<'a> {
    /// Copied.
    Slice(&'a mut [u8]),
    /// So many at most, where they are if that is one place.
    Owned(&'a mut Bytes, usize),
}

impl Target<'_> {
    /// Octets wanted.
    pub fn len(&self) -> usize {
        match self {
            Target::Slice(buf) => buf.len(),
            Target::Owned(_, most) => *most,
        }
    }

    /// Is nothing wanted?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where and how a datagram arrived (`IP_PKTINFO`, `IP_RECVTTL`, `IP_RECVTOS`), or is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketInfo {
    /// On receive the destination of the datagram; on send the source to use.
    pub local: Option<IpAddr>,
    /// TTL or hop limit; on send `None` takes the socket's.
    pub ttl: Option<u8>,
    /// TOS or traffic class; on send `None` takes the socket's.
    pub tos: Option<u8>,
}

/// `IP_MTU_DISCOVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MtuDiscover {
    /// Never set DF; fragment.
    Dont,
    /// Path MTU discovery for TCP; UDP datagrams larger than the path are fragmented.
    #[default]
    Want,
    /// Always set DF; a datagram larger than the path is refused.
    Do,
    /// Always set DF and ignore what was learned about the path.
    Probe,
}
