//! The BSD socket calls, with Linux's numbers for families, types, flags and options.

use super::consts::*;
use super::inner::{Inner, Waiting};
use super::{TcpListener, TcpStream, UdpSocket, numbers, read_parts, write_all_parts};
use crate::base::{Duration, Errno};
use crate::host::{Domain, MsgFlags, PacketInfo, Received, Shutdown, TcpInfo, Type};
use crate::runtime::{Direction, Stack};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A socket as `socket(2)` makes it. Closed when its last handle is dropped.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let stack = tunstack::runtime::Stack::builder().start()?;
/// use tunstack::socket::{Socket, consts::*};
///
/// let server = Socket::new(&stack, AF_INET, SOCK_STREAM, 0)?;
/// server.bind("127.0.0.1:7".parse().unwrap())?;
/// server.listen(5)?;
/// let client = Socket::new(&stack, AF_INET, SOCK_STREAM, 0)?;
/// client.connect("127.0.0.1:7".parse().unwrap())?;
/// let (connection, peer) = server.accept()?;
/// client.send(b"hello", 0)?;
/// let mut buffer = [0; 16];
/// let n = connection.recv(&mut buffer, 0)?;
/// assert_eq!(&buffer[..n], b"hello");
/// assert_eq!(peer, client.getsockname()?);
/// # Ok(()) }
/// ```
pub struct Socket {
    pub(crate) inner: Arc<Inner>,
}

/// A received message with what came beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Octets received; with `MSG_TRUNC` asked for, the datagram's real length.
    pub len: usize,
    /// The sender of a datagram.
    pub from: Option<SocketAddr>,
    /// `MSG_TRUNC` when the datagram was cut, `MSG_OOB` for urgent data.
    pub flags: i32,
    /// To which address it came, with which TTL and TOS.
    pub info: PacketInfo,
    /// What `MSG_ERRQUEUE` read: the error's number, who reported it, ICMP type and code.
    pub error: Option<(i32, IpAddr, (u8, u8))>,
}

impl super::AsSocket for Socket {
    fn handle(&self) -> super::Handle<'_> {
        super::Handle(&self.inner)
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

macro_rules! convert {
    ($($type:ident: $kind:ident),*) => {
        $(
            impl From<$type> for Socket {
                fn from(face: $type) -> Socket {
                    Socket { inner: face.inner }
                }
            }

            impl TryFrom<Socket> for $type {
                type Error = Socket;
                /// Gives the socket back when it is of another type.
                fn try_from(socket: Socket) -> Result<$type, Socket> {
                    let fits = socket.inner.kind == Type::$kind;
                    if fits { Ok($type { inner: socket.inner }) } else { Err(socket) }
                }
            }
        )*
    };
}
convert!(TcpStream: Stream, TcpListener: Stream, UdpSocket: Dgram);

/// Splits flags of a call into the host's and what concerns waiting.
fn split_flags(flags: i32) -> (MsgFlags, Waiting) {
    let host = MsgFlags::from_bits_truncate(flags.cast_unsigned());
    (host, Waiting { dont: flags & MSG_DONTWAIT != 0, all: flags & MSG_WAITALL != 0 })
}

impl Socket {
    /// `socket(2)`: `AF_INET` or `AF_INET6`; `SOCK_STREAM` or `SOCK_DGRAM`, with `SOCK_NONBLOCK` if wanted; protocol 0, or
    /// the one that belongs to the type, or `IPPROTO_ICMP`/`IPPROTO_ICMPV6` for echo sockets.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`, `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`, `EINVAL`; `EPERM` for raw sockets.
    pub fn new(stack: &Stack, family: i32, kind: i32, protocol: i32) -> io::Result<Socket> {
        let nonblocking = kind & SOCK_NONBLOCK != 0;
        let kind = kind & !(SOCK_NONBLOCK | SOCK_CLOEXEC);
        // SOCK_MAX is 11.
        if !(0..11).contains(&kind) {
            return Err(Errno::EINVAL.into());
        }
        let domain = match family {
            AF_INET => Domain::Inet,
            AF_INET6 => Domain::Inet6,
            _ => return Err(Errno::EAFNOSUPPORT.into()),
        };
        let echo = if domain == Domain::Inet { IPPROTO_ICMP } else { IPPROTO_ICMPV6 };
        let kind = match (kind, protocol) {
            (SOCK_STREAM, 0 | IPPROTO_TCP) => Type::Stream,
            (SOCK_DGRAM, 0 | IPPROTO_UDP) => Type::Dgram,
            (SOCK_DGRAM, protocol) if protocol == echo => Type::Ping,
            (SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT.into()),
            (SOCK_RAW, _) => return Err(Errno::EPERM.into()),
            _ => return Err(Errno::ESOCKTNOSUPPORT.into()),
        };
        let inner = Inner::new(stack, domain, kind)?;
        inner.set_nonblocking(nonblocking);
        Ok(Socket { inner })
    }

    /// Another handle on the same socket, like `dup(2)`.
    pub fn dup(&self) -> Socket {
        Socket { inner: Arc::clone(&self.inner) }
    }

    /// `bind(2)`. Port 0 chooses one.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL` when bound already.
    pub fn bind(&self, local: SocketAddr) -> io::Result<()> {
        // Linux finds the shorter address too short.
        if self.inner.domain == Domain::Inet6 && local.is_ipv4() {
            return Err(Errno::EINVAL.into());
        }
        Ok(self.inner.bind(local)?)
    }

    /// `listen(2)`.
    ///
    /// # Errors
    /// `EINVAL` on a connected socket, `EOPNOTSUPP` on one for datagrams, `EADDRINUSE`.
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        // A negative backlog is a very large one, as on Linux.
        Ok(self.inner.listen(backlog.cast_unsigned())?)
    }

    /// `accept(2)`. Waits for a connection.
    ///
    /// # Errors
    /// `EAGAIN` without one when the socket must not wait or waited too long; `EINVAL` when it does not listen.
    pub fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (inner, peer) = self.inner.accept()?;
        Ok((Socket { inner }, peer))
    }

    /// `connect(2)`: opens a connection, or sets the peer of a datagram socket. Waits for the outcome unless the socket
    /// must not wait.
    ///
    /// # Errors
    /// `EINPROGRESS` when it goes on (after the send timeout, too), `EALREADY`, `EISCONN`, `ECONNREFUSED`, `ETIMEDOUT`,
    /// `ENETUNREACH`, `EADDRNOTAVAIL`, `EAFNOSUPPORT`.
    pub fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        Ok(self.inner.connect(Some(self.of_family(remote)?))?)
    }

    /// An IPv4 address on an IPv6 socket: as on Linux, connections refuse it and datagrams take it.
    fn of_family(&self, remote: SocketAddr) -> Result<SocketAddr, Errno> {
        match (self.inner.domain, self.inner.kind, remote) {
            (Domain::Inet6, Type::Stream, SocketAddr::V4(_)) => Err(Errno::EINVAL),
            (Domain::Inet6, Type::Dgram | Type::Ping, SocketAddr::V4(v4)) => {
                Ok(SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()))
            }
            (Domain::Inet | Domain::Inet6, _, _) => Ok(remote),
        }
    }

    /// Like [`connect`](Socket::connect), with the error's number instead of an error: 0 when it is connected.
    pub fn connect_ex(&self, remote: SocketAddr) -> i32 {
        let connected = self.of_family(remote).and_then(|remote| self.inner.connect(Some(remote)));
        connected.map_or_else(Errno::code, |()| 0)
    }

    /// `connect(2)` to `AF_UNSPEC`: the socket has no peer any more.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn disconnect(&self) -> io::Result<()> {
        Ok(self.inner.connect(None)?)
    }

    /// `send(2)`, with `MSG_OOB`, `MSG_MORE`, `MSG_EOR`, `MSG_DONTWAIT`; there are no signals, so `MSG_NOSIGNAL` is always on.
    ///
    /// # Errors
    /// `EPIPE`, `ECONNRESET`, `EAGAIN`, `EMSGSIZE`, `EDESTADDRREQ`, …
    pub fn send(&self, data: &[u8], flags: i32) -> io::Result<usize> {
        let (flags, waiting) = split_flags(flags);
        Ok(self.inner.send(data, flags, waiting.dont)?)
    }

    /// `sendto(2)`. A connection ignores the address, but with `MSG_FASTOPEN` this opens one to it, and `data` goes with the SYN
    /// where the peer has given a cookie before (RFC 7413).
    ///
    /// # Errors
    /// As [`send`](Socket::send); `EACCES` for a broadcast without permission, `ENETUNREACH` without a route.
    pub fn sendto(&self, data: &[u8], flags: i32, to: SocketAddr) -> io::Result<usize> {
        self.sendmsg(&[IoSlice::new(data)], Some(to), PacketInfo::default(), flags)
    }

    /// `sendmsg(2)`: several pieces as one message, and from which source, with which TTL and TOS.
    ///
    /// # Errors
    /// As [`sendto`](Socket::sendto).
    pub fn sendmsg(
        &self,
        parts: &[IoSlice<'_>],
        to: Option<SocketAddr>,
        info: PacketInfo,
        flags: i32,
    ) -> io::Result<usize> {
        let (flags, waiting) = split_flags(flags);
        if flags.contains(MsgFlags::FASTOPEN) {
            let to = self.of_family(to.ok_or(Errno::EINVAL)?)?;
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            return Ok(self.inner.connect_with(to, &joined, flags, waiting.dont)?);
        }
        if self.inner.kind == Type::Stream {
            return write_all_parts(&self.inner, parts, flags, waiting.dont);
        }
        match parts {
            [one] => Ok(self.inner.send_to(one, to, info, (flags, waiting.dont))?),
            many => {
                let joined: Vec<u8> = many.iter().flat_map(|part| part.iter().copied()).collect();
                Ok(self.inner.send_to(&joined, to, info, (flags, waiting.dont))?)
            }
        }
    }

    /// `recv(2)`, with `MSG_PEEK`, `MSG_WAITALL`, `MSG_DONTWAIT`, `MSG_TRUNC`, `MSG_OOB`. 0 is the end of the stream.
    ///
    /// # Errors
    /// `EAGAIN`, `ECONNRESET`, `ENOTCONN`, `ETIMEDOUT`, …
    pub fn recv(&self, buf: &mut [u8], flags: i32) -> io::Result<usize> {
        Ok(self.receive(buf, flags)?.len)
    }

    /// `recvfrom(2)`. Connections tell no sender.
    ///
    /// # Errors
    /// As [`recv`](Socket::recv).
    pub fn recvfrom(&self, buf: &mut [u8], flags: i32) -> io::Result<(usize, Option<SocketAddr>)> {
        let received = self.receive(buf, flags)?;
        Ok((received.len, received.from))
    }

    /// `recvmsg(2)`: into several pieces, with what came beside the data.
    ///
    /// # Errors
    /// As [`recv`](Socket::recv).
    pub fn recvmsg(&self, parts: &mut [IoSliceMut<'_>], flags: i32) -> io::Result<Message> {
        let (flags, waiting) = split_flags(flags);
        let received = read_parts(&self.inner, parts, flags, waiting)?;
        let flags = received.flags.bits().cast_signed();
        let error = received.error.map(|(errno, from, kind)| (errno.code(), from, kind));
        Ok(Message { len: received.len, from: received.from, flags, info: received.info, error })
    }

    fn receive(&self, buf: &mut [u8], flags: i32) -> Result<Received, Errno> {
        let (flags, waiting) = split_flags(flags);
        self.inner.recv(buf, flags, waiting)
    }

    /// `shutdown(2)`: `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`.
    ///
    /// # Errors
    /// `ENOTCONN`; `EINVAL` for another number.
    pub fn shutdown(&self, how: i32) -> io::Result<()> {
        let how = match how {
            SHUT_RD => Shutdown::Read,
            SHUT_WR => Shutdown::Write,
            SHUT_RDWR => Shutdown::Both,
            _ => return Err(Errno::EINVAL.into()),
        };
        Ok(self.inner.shutdown(how)?)
    }

    /// `close(2)` for all handles of this socket; later calls on others give `EBADF`. With `SO_LINGER` it waits.
    ///
    /// # Errors
    /// `EBADF` when it was closed before.
    pub fn close(self) -> io::Result<()> {
        Ok(self.inner.close()?)
    }

    /// `getsockname(2)`.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn getsockname(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// `getpeername(2)`.
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn getpeername(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.peer_addr()?)
    }

    /// `setsockopt(2)` with the octets that Linux takes.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an option that does not exist, `EINVAL` for a value that it does not take, `EDOM` for timeouts.
    pub fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
        if level == SOL_SOCKET && matches!(name, SO_RCVTIMEO | SO_SNDTIMEO) {
            self.inner.set_timeout(timeout_direction(name), timeval(value)?);
            return Ok(());
        }
        let option = numbers::decode(self.of(), level, name, value)?;
        Ok(self.inner.set_option(option)?)
    }

    /// The setting called `name` of this socket, as [`Stack::setting`](crate::runtime::Stack::setting) shows the host's:
    /// [`Host::socket_settings`](crate::host::Host::socket_settings) has the names.
    ///
    /// # Errors
    /// `InvalidInput` for a name that sockets do not have, `ENOPROTOOPT` for one that this kind of socket does not have.
    pub fn setting(&self, name: &str) -> io::Result<String> {
        self.inner.setting(name)
    }

    /// Changes a setting of this socket alone; what a listener accepts later inherits it.
    ///
    /// # Errors
    /// `InvalidInput`, with a sentence that says what is accepted; `ENOPROTOOPT` as for [`setting`](Self::setting).
    pub fn set_setting(&self, name: &str, value: &str) -> io::Result<()> {
        self.inner.set_setting(name, value)
    }

    /// [`setsockopt`](Socket::setsockopt) with a number.
    ///
    /// # Errors
    /// As [`setsockopt`](Socket::setsockopt).
    pub fn setsockopt_int(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        self.setsockopt(level, name, &value.to_ne_bytes())
    }

    /// `getsockopt(2)`: the octets that Linux gives.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an option that does not exist.
    pub fn getsockopt(&self, level: i32, name: i32) -> io::Result<Vec<u8>> {
        let inner = &self.inner;
        let number = |n: i32| Ok(n.to_ne_bytes().to_vec());
        match (level, name) {
            (SOL_SOCKET, SO_RCVTIMEO | SO_SNDTIMEO) => {
                let timeout = inner.timeout(timeout_direction(name)).unwrap_or_default();
                let micros = timeout.as_micros();
                Ok([micros / 1_000_000, micros % 1_000_000].map(u64::to_ne_bytes).concat())
            }
            (SOL_SOCKET, SO_TYPE) => number(match inner.kind {
                Type::Stream => SOCK_STREAM,
                Type::Dgram | Type::Ping => SOCK_DGRAM,
            }),
            (SOL_SOCKET, SO_DOMAIN) => number(match inner.domain {
                Domain::Inet => AF_INET,
                Domain::Inet6 => AF_INET6,
            }),
            (SOL_SOCKET, SO_PROTOCOL) => number(match (inner.kind, inner.domain) {
                (Type::Stream, _) => IPPROTO_TCP,
                (Type::Dgram, _) => IPPROTO_UDP,
                (Type::Ping, Domain::Inet) => IPPROTO_ICMP,
                (Type::Ping, Domain::Inet6) => IPPROTO_ICMPV6,
            }),
            (SOL_SOCKET, SO_SNDLOWAT) => number(1),
            (IPPROTO_TCP, TCP_INFO) if inner.kind == Type::Stream => {
                Ok(super::tcp_info::encode(&self.tcp_info()?))
            }
            _ => Ok(numbers::encode(inner.option(numbers::name(self.of(), level, name)?)?)),
        }
    }

    fn of(&self) -> numbers::Of {
        numbers::Of {
            domain: self.inner.domain,
            kind: self.inner.kind,
            default_ttl: self.inner.default_ttl(),
        }
    }

    /// [`getsockopt`](Socket::getsockopt) of a number.
    ///
    /// # Errors
    /// As [`getsockopt`](Socket::getsockopt).
    pub fn getsockopt_int(&self, level: i32, name: i32) -> io::Result<i32> {
        let value = self.getsockopt(level, name)?;
        let octets = value.first_chunk::<4>().ok_or(Errno::EINVAL)?;
        Ok(i32::from_ne_bytes(*octets))
    }

    /// The connection at this moment; before and after it, little more than the state.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for other sockets than TCP's.
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        let inner = &self.inner;
        if inner.kind != Type::Stream {
            return Err(Errno::EOPNOTSUPP.into());
        }
        match inner.call(|host, now| host.tcp_info(now, inner.id)) {
            Err(Errno::ENOTCONN) => Ok(TcpInfo { state: "CLOSED", ..TcpInfo::default() }),
            info => Ok(info?),
        }
    }

    /// May calls wait? (`O_NONBLOCK` off.)
    pub fn getblocking(&self) -> bool {
        !self.inner.is_nonblocking()
    }

    /// Lets calls wait, or makes them return `EAGAIN` instead.
    pub fn setblocking(&self, blocking: bool) {
        self.inner.set_nonblocking(!blocking);
    }

    /// Longest wait of every call: `None` for ever, zero not at all.
    pub fn settimeout(&self, timeout: Option<std::time::Duration>) {
        self.inner.set_nonblocking(timeout.is_some_and(|timeout| timeout.is_zero()));
        let timeout = timeout.map(Duration::from).filter(|timeout| !timeout.is_zero());
        self.inner.set_timeout(Direction::Read, timeout);
        self.inner.set_timeout(Direction::Write, timeout);
    }

    /// `ioctl(FIONREAD)`: octets that can be received at once.
    ///
    /// # Errors
    /// `EINVAL` for a listener.
    pub fn bytes_readable(&self) -> io::Result<usize> {
        Ok(self.inner.call(|host, _| host.bytes_readable(self.inner.id))?)
    }

    /// `ioctl(SIOCATMARK)`: is the next octet the one after the urgent data?
    ///
    /// # Errors
    /// `ENOTTY` for other sockets than TCP's.
    pub fn at_mark(&self) -> io::Result<bool> {
        if self.inner.kind != Type::Stream {
            return Err(io::Error::from_raw_os_error(libc::ENOTTY));
        }
        Ok(self.inner.call(|host, _| host.at_mark(self.inner.id))?)
    }

    /// What the socket is ready for now.
    pub fn readiness(&self) -> crate::host::Readiness {
        self.inner.readiness()
    }
}

fn timeout_direction(name: i32) -> Direction {
    if name == SO_RCVTIMEO { Direction::Read } else { Direction::Write }
}

/// `struct timeval` as a timeout; zero is none.
fn timeval(value: &[u8]) -> io::Result<Option<Duration>> {
    let (Some(secs), Some(micros)) =
        (value.first_chunk::<8>(), value.get(8..).and_then(|rest| rest.first_chunk::<8>()))
    else {
        return Err(Errno::EINVAL.into());
    };
    let (secs, micros) = (i64::from_ne_bytes(*secs), i64::from_ne_bytes(*micros));
    if !(0..1_000_000).contains(&micros) {
        return Err(io::Error::from_raw_os_error(libc::EDOM));
    }
    // A negative time is over at once, on Linux: the shortest one that is not zero.
    let Ok(secs) = u64::try_from(secs) else { return Ok(Some(Duration::from_nanos(1))) };
    let time = Duration::from_secs(secs) + Duration::from_micros(micros.unsigned_abs());
    Ok((!time.is_zero()).then_some(time))
}
