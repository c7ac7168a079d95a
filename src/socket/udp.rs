//! `UdpSocket` with every stable method of the standard library's.

use super::addr::{ToSocketAddrs, each_addr};
use super::inner::{Inner, Waiting, read_option};
use super::{domain_of, std_timeout};
use crate::base::Errno;
use crate::host::{Domain, MsgFlags, Opt, PacketInfo, Received, Type};
use crate::runtime::{Direction, Stack};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A UDP socket. Datagrams are received whole or cut to the buffer, never joined.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let stack = tunstack::runtime::Stack::builder().start()?;
/// use tunstack::socket::UdpSocket;
///
/// let server = UdpSocket::bind(&stack, "127.0.0.1:53")?;
/// let client = UdpSocket::bind(&stack, "127.0.0.1:0")?;
/// client.send_to(b"question", "127.0.0.1:53")?;
/// let mut buffer = [0; 512];
/// let (n, peer) = server.recv_from(&mut buffer)?;
/// server.send_to(&buffer[..n], peer)?;
/// assert_eq!(client.recv(&mut buffer)?, 8);
/// # Ok(()) }
/// ```
pub struct UdpSocket {
    pub(crate) inner: Arc<Inner>,
}

impl UdpSocket {
    /// A socket on the first of `addr` that can be bound.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` for an address that is not the stack's.
    pub fn bind(stack: &Stack, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_addr(stack, addr, |addr| {
            let inner = Inner::new(stack, domain_of(addr), Type::Dgram)?;
            inner.bind(addr)?;
            Ok(UdpSocket { inner })
        })
    }

    fn receive(&self, buf: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
        Ok(self.inner.recv(buf, flags, Waiting::default())?)
    }

    fn receive_from(&self, buf: &mut [u8], flags: MsgFlags) -> io::Result<(usize, SocketAddr)> {
        let received = self.receive(buf, flags)?;
        // Every datagram has a sender.
        let from = received.from.ok_or(Errno::EIO)?;
        Ok((received.len, from))
    }

    /// Waits for a datagram and tells its sender. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// `WouldBlock` after the read timeout; `ConnectionRefused` when a peer answered with port unreachable.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, MsgFlags::empty())
    }

    /// Like [`recv_from`](UdpSocket::recv_from), and the datagram stays in the queue.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, MsgFlags::PEEK)
    }

    /// Waits for a datagram of the connected peer.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.receive(buf, MsgFlags::empty())?.len)
    }

    /// Like [`recv`](UdpSocket::recv), and the datagram stays in the queue.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.receive(buf, MsgFlags::PEEK)?.len)
    }

    /// Waits for a datagram, and tells with it to which of our addresses it came, with which TTL and TOS.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn recv_with_info(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, PacketInfo)> {
        let received = self.receive(buf, MsgFlags::empty())?;
        Ok((received.len, received.from.ok_or(Errno::EIO)?, received.info))
    }

    /// Sends a datagram to the first of `addr`.
    ///
    /// # Errors
    /// `EMSGSIZE` for more than a datagram can carry, `PermissionDenied` for a broadcast without permission,
    /// `NetworkUnreachable` without a route.
    pub fn send_to(&self, data: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        self.send_with_info(data, addr, PacketInfo::default())
    }

    /// Sends a datagram from the source, with the TTL and TOS that `info` tells.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to); `EINVAL` for a source that is not ours.
    pub fn send_with_info(
        &self,
        data: &[u8],
        addr: impl ToSocketAddrs,
        info: PacketInfo,
    ) -> io::Result<usize> {
        let stack = Stack::of(&self.inner.shared)?;
        let addr = addr.to_socket_addrs(&stack)?.into_iter().next();
        let addr =
            addr.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"))?;
        Ok(self.inner.send_to(data, Some(addr), info, (MsgFlags::empty(), false))?)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// `ENOTCONN`-like `EDESTADDRREQ` without a peer; `ConnectionRefused` when the last one was answered so.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        Ok(self.inner.send(data, MsgFlags::empty(), false)?)
    }

    /// Sets the peer: only its datagrams are received from now on.
    ///
    /// # Errors
    /// `NetworkUnreachable` without a route.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        let stack = Stack::of(&self.inner.shared)?;
        each_addr(&stack, addr, |addr| Ok(self.inner.connect(Some(addr))?))
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected` without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.peer_addr()?)
    }

    /// The address of this socket.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// None; the result is the standard library's.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { inner: Arc::clone(&self.inner) })
    }

    /// Joins an IPv4 group. A stack has one link, so the interface may be any of its addresses.
    ///
    /// # Errors
    /// `InvalidInput` when it is no group, `AddrInUse` when it was joined before.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, _interface: &Ipv4Addr) -> io::Result<()> {
        Ok(self.inner.set_option(Opt::AddMembership((*group).into()))?)
    }

    /// Joins an IPv6 group. A stack has one link, so the interface number means nothing.
    ///
    /// # Errors
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4); `ENOPROTOOPT` on a socket of IPv4.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, _interface: u32) -> io::Result<()> {
        Ok(self.inner.set_option(Opt::AddMembership((*group).into()))?)
    }

    /// Leaves an IPv4 group.
    ///
    /// # Errors
    /// `AddrNotAvailable` when it was not joined.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, _interface: &Ipv4Addr) -> io::Result<()> {
        Ok(self.inner.set_option(Opt::DropMembership((*group).into()))?)
    }

    /// Leaves an IPv6 group.
    ///
    /// # Errors
    /// `AddrNotAvailable` when it was not joined; `ENOPROTOOPT` on a socket of IPv4.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, _interface: u32) -> io::Result<()> {
        Ok(self.inner.set_option(Opt::DropMembership((*group).into()))?)
    }

    /// Hears its own IPv6 multicasts.
    ///
    /// # Errors
    /// `ENOPROTOOPT` on a socket of IPv4.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        match self.inner.domain {
            Domain::Inet => Err(Errno::ENOPROTOOPT.into()),
            Domain::Inet6 => Ok(self.inner.set_option(Opt::MulticastLoop(on))?),
        }
    }

    /// Does it hear its own IPv6 multicasts?
    ///
    /// # Errors
    /// `EOPNOTSUPP` on a socket of IPv4.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        let on: Result<bool, Errno> = match self.inner.domain {
            Domain::Inet => Err(Errno::EOPNOTSUPP),
            Domain::Inet6 => read_option!(self.inner, MulticastLoop),
        };
        Ok(on?)
    }

    /// A write is a train of datagrams of so many octets, the last one perhaps shorter (`UDP_SEGMENT`); `None`: one datagram. With
    /// segmentation offload the train crosses to the kernel at once. The write fails with `EINVAL` for more than 128 of them, with
    /// `EMSGSIZE` when one does not fit in a packet.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn set_segment_size(&self, octets: Option<u16>) -> io::Result<()> {
        Ok(self.inner.set_option(Opt::UdpSegment(octets.unwrap_or(0)))?)
    }

    /// TTL of multicasts.
    ///
    /// # Errors
    /// `InvalidInput` above 255.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl).map_err(|_| Errno::EINVAL)?;
        Ok(self.inner.set_option(Opt::MulticastTtl(ttl))?)
    }

    /// TTL of multicasts.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        let ttl: Result<u8, Errno> = read_option!(self.inner, MulticastTtl);
        Ok(ttl?.into())
    }
}

super::common_methods!(UdpSocket);
super::timeout_methods!(UdpSocket);
super::option_methods!(UdpSocket {
    "Allows sending to broadcast addresses.", "May broadcasts be sent?"
    set_broadcast, broadcast, Broadcast: bool;
    "Hears its own IPv4 multicasts.", "Does it hear its own IPv4 multicasts?"
    set_multicast_loop_v4, multicast_loop_v4, MulticastLoop: bool;
});
