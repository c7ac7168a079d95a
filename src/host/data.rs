//! Socket calls that move data.

use super::calls::datagrams;
use super::sockets::{Kind, Options};
use super::{Errno, Host, MsgFlags, PacketInfo, Readiness, Received, SocketId};
use crate::base::Instant;
use crate::base::io::{Source, Target};
use crate::network::{AddressKind, Env, IpOut, Network};
use crate::trace::{Flow, Why};
use crate::transport::datagram::{Datagram, Datagrams};
use crate::wire::packet::Link;
use crate::wire::{icmp, udp};
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};

/// Largest UDP payload of each family (RFC 768, RFC 8200; no jumbograms).
const MAX_UDP_V4: usize = 65_507;
const MAX_UDP_V6: usize = 65_527;

/// Datagrams of one train (Linux's `UDP_MAX_SEGMENTS`).
const MAX_TRAIN: usize = 128;

impl Host {
    /// `send(2)`: queues stream data, or sends a datagram to the connected peer. Returns the octets taken.
    ///
    /// # Errors
    /// `EAGAIN` when there is no room, `EPIPE` after `shutdown` or on a socket without a connection, and the
    /// connection's error once.
    pub fn send(&mut self, now: Instant, id: SocketId, data: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        if let Kind::Udp(_) | Kind::Ping(_) = self.sockets.get(id)?.kind {
            return self.send_to(now, id, data, None, PacketInfo::default());
        }
        self.send_from(now, id, Source::Slice(data), flags)
    }

    /// Queues stream data without copying it where it is much: it is kept until the peer has acknowledged it. What is taken is cut
    /// off at the front of `data`. Returns the octets taken.
    ///
    /// # Errors
    /// As [`Host::send`]; `EOPNOTSUPP` on datagram sockets.
    pub fn send_owned(&mut self, now: Instant, id: SocketId, data: &mut Bytes) -> Result<usize, Errno> {
        self.send_from(now, id, Source::Owned(data), MsgFlags::empty())
    }

    fn send_from(
        &mut self,
        now: Instant,
        id: SocketId,
        data: Source<'_>,
        flags: MsgFlags,
    ) -> Result<usize, Errno> {
        let Host { common, tcp, sockets, .. } = self;
        let result = match sockets.get_mut(id)?.kind {
            Kind::Udp(_) | Kind::Ping(_) => Err(Errno::EOPNOTSUPP),
            Kind::Fresh(ref mut fresh) => Err(fresh.error.take().unwrap_or(Errno::EPIPE)),
            Kind::Listener(_) => Err(Errno::EPIPE),
            Kind::Connection { id: conn, .. } => {
                let sent = tcp.with(&mut common.env(now), conn, |conn, env| conn.send(env, data, flags));
                sent.unwrap_or(Err(Errno::EPIPE))
            }
        };
        self.collect_events();
        result
    }

    /// `recv(2)`, `recvfrom(2)`: takes stream data or one datagram. A length of 0 on a stream is its end.
    ///
    /// # Errors
    /// `EAGAIN` when nothing waits, `ENOTCONN`, and the connection's or socket's error once.
    pub fn recv(
        &mut self,
        now: Instant,
        id: SocketId,
        buf: &mut [u8],
        flags: MsgFlags,
    ) -> Result<Received, Errno> {
        if let Kind::Udp(_) | Kind::Ping(_) = self.sockets.get(id)?.kind {
            return self.recv_datagram(id, buf, flags);
        }
        self.recv_into(now, id, Target::Slice(buf), flags)
    }

    /// Takes up to `most` octets of stream data without copying them where they came in large packets: the memory that the device
    /// read them into is handed over. Nothing is the stream's end.
    ///
    /// # Errors
    /// As [`Host::recv`]; `EOPNOTSUPP` on datagram sockets.
    pub fn recv_owned(&mut self, now: Instant, id: SocketId, most: usize) -> Result<Bytes, Errno> {
        let mut data = Bytes::new();
        self.recv_into(now, id, Target::Owned(&mut data, most), MsgFlags::empty())?;
        Ok(data)
    }

    fn recv_into(
        &mut self,
        now: Instant,
        id: SocketId,
        into: Target<'_>,
        flags: MsgFlags,
    ) -> Result<Received, Errno> {
        let Host { common, tcp, sockets, .. } = self;
        let result = match sockets.get_mut(id)?.kind {
            Kind::Udp(_) | Kind::Ping(_) => Err(Errno::EOPNOTSUPP),
            // As Linux: urgent data is looked for before the state is, but for a listener.
            Kind::Fresh(_) if flags.contains(MsgFlags::OOB) => Err(Errno::EINVAL),
            Kind::Fresh(ref mut fresh) => Err(fresh.error.take().unwrap_or(Errno::ENOTCONN)),
            Kind::Listener(_) => Err(Errno::ENOTCONN),
            Kind::Connection { id: conn, .. } => {
                let read = tcp.with(&mut common.env(now), conn, |conn, env| conn.recv(env, into, flags));
                read.unwrap_or(Err(Errno::ENOTCONN)).map(|read| Received {
                    len: read.len,
                    flags: if read.oob { MsgFlags::OOB } else { MsgFlags::empty() },
                    ..Received::default()
                })
            }
        };
        self.collect_events();
        result
    }

    fn recv_datagram(&mut self, id: SocketId, buf: &mut [u8], flags: MsgFlags) -> Result<Received, Errno> {
        let socket = self.sockets.get(id)?;
        let (table, key) = datagrams(socket, &mut self.udp, &mut self.ping).ok_or(Errno::EINVAL)?;
        let datagram = table.get_mut(key).ok_or(Errno::EBADF)?;
        if flags.contains(MsgFlags::ERRQUEUE) {
            let error = datagram.receive_error().ok_or(Errno::EAGAIN)?;
            return Ok(Received {
                from: Some(socket.shown(error.destination)),
                flags: MsgFlags::ERRQUEUE,
                error: Some((error.errno, error.reporter, error.kind)),
                ..Received::default()
            });
        }
        let Some(Datagram { from, info, data }) = datagram.receive(flags.contains(MsgFlags::PEEK))? else {
            return Ok(Received::default());
        };
        let len = data.len().min(buf.len());
        buf[..len].copy_from_slice(&data[..len]);
        let cut = data.len() > buf.len();
        Ok(Received {
            len: if flags.contains(MsgFlags::TRUNC) { data.len() } else { len },
            from: Some(socket.shown(from)),
            flags: if cut { MsgFlags::TRUNC } else { MsgFlags::empty() },
            info,
            error: None,
        })
    }

    /// `sendto(2)`, `sendmsg(2)`: a datagram to `to` (`None`: to the connected peer), with source, TTL and TOS from
    /// `info` where given. On a stream socket `to` is ignored, as on Linux.
    ///
    /// # Errors
    /// `EDESTADDRREQ` without a destination, `EMSGSIZE` when it does not fit, `EACCES` for a broadcast without
    /// `Broadcast`, `ENETUNREACH`, `EINVAL` for port 0 or a source that is not ours, `ENOBUFS`.
    pub fn send_to(
        &mut self,
        now: Instant,
        id: SocketId,
        data: &[u8],
        to: Option<SocketAddr>,
        info: PacketInfo,
    ) -> Result<usize, Errno> {
        if !matches!(self.sockets.get(id)?.kind, Kind::Udp(_) | Kind::Ping(_)) {
            return self.send(now, id, data, MsgFlags::empty());
        }
        let (local, remote) = self.begin_datagram(id, to)?;
        let socket = self.sockets.get(id)?;
        let is_ping = matches!(socket.kind, Kind::Ping(_));
        let plan = Plan { options: &socket.options, local, remote, info };
        let mut env = self.common.env(now);
        if is_ping {
            send_echo(&mut self.net, &mut env, &plan, data)?;
        } else {
            send_datagrams(&mut self.net, &mut env, self.link, &plan, data)?;
        }
        Ok(data.len())
    }

    /// What is checked before a datagram is built: the socket gets a port, and the names of both ends are told.
    ///
    /// # Errors
    /// `EDESTADDRREQ` without a destination, `EINVAL` for port 0, `EPIPE` when shut, and the pending error once.
    pub fn begin_datagram(
        &mut self,
        id: SocketId,
        to: Option<SocketAddr>,
    ) -> Result<(SocketAddr, SocketAddr), Errno> {
        let socket = self.sockets.get(id)?;
        let to = match to {
            Some(SocketAddr::V4(v4)) if !socket.options.v6_only => Some(SocketAddr::V4(v4)),
            Some(addr) => Some(socket.canonical(addr)?),
            None => None,
        };
        self.autobind(id)?;
        let socket = self.sockets.get(id)?;
        let is_ping = matches!(socket.kind, Kind::Ping(_));
        let (table, key) = datagrams(socket, &mut self.udp, &mut self.ping).ok_or(Errno::EINVAL)?;
        let datagram = table.get_mut(key).ok_or(Errno::EBADF)?;
        let remote = to.or(datagram.remote).ok_or(Errno::EDESTADDRREQ)?;
        datagram.check_send()?;
        if remote.port() == 0 && !is_ping {
            return Err(Errno::EINVAL);
        }
        Ok((datagram.local, remote))
    }

    /// Everything the socket is ready for now, as `poll(2)` says.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        let Ok(socket) = self.sockets.get(id) else { return Readiness::ERROR };
        let datagram =
            |table: &Datagrams, key| table.get(key).map_or(Readiness::ERROR, |socket| socket.readiness());
        match &socket.kind {
            Kind::Fresh(fresh) => {
                let mut ready = Readiness::WRITABLE | Readiness::HANGUP;
                ready.set(Readiness::ERROR, fresh.error.is_some());
                ready
            }
            Kind::Listener(key) => match self.tcp.listener(*key) {
                Some(listener) if listener.waiting() > 0 => Readiness::READABLE,
                Some(_) => Readiness::empty(),
                None => Readiness::HANGUP,
            },
            Kind::Connection { id, .. } => {
                self.tcp.look(*id, |conn| conn.readiness()).unwrap_or(Readiness::HANGUP)
            }
            Kind::Udp(key) => datagram(&self.udp, *key),
            Kind::Ping(key) => datagram(&self.ping, *key),
        }
    }

    /// Octets that recv would return at once (`FIONREAD`).
    ///
    /// # Errors
    /// `EINVAL` on a listener, as on Linux.
    pub fn bytes_readable(&self, id: SocketId) -> Result<usize, Errno> {
        match &self.sockets.get(id)?.kind {
            Kind::Fresh(_) => Ok(0),
            Kind::Listener(_) => Err(Errno::EINVAL),
            Kind::Connection { id, .. } => Ok(self.tcp.look(*id, |conn| conn.bytes_readable()).unwrap_or(0)),
            Kind::Udp(key) => Ok(self.udp.get(*key).map_or(0, |socket| socket.bytes_readable())),
            Kind::Ping(key) => Ok(self.ping.get(*key).map_or(0, |socket| socket.bytes_readable())),
        }
    }

    /// Is the next octet to be received the one after the urgent mark (`SIOCATMARK`)?
    ///
    /// # Errors
    /// `EINVAL` on datagram sockets.
    pub fn at_mark(&self, id: SocketId) -> Result<bool, Errno> {
        match self.sockets.get(id)?.kind {
            Kind::Connection { .. } => self.look(id, |conn| conn.at_mark()),
            Kind::Fresh(_) | Kind::Listener(_) => Ok(false),
            Kind::Udp(_) | Kind::Ping(_) => Err(Errno::EINVAL),
        }
    }
}

/// A datagram to be sent, as the socket and the call describe it.
struct Plan<'a> {
    options: &'a Options,
    local: SocketAddr,
    remote: SocketAddr,
    info: PacketInfo,
}

impl Plan<'_> {
    /// RFC 1122 §3.3.4.2: the source the user chose, or the one the network chooses.
    fn source(&self, net: &Network) -> Result<IpAddr, Errno> {
        let chosen = self.info.local.or(Some(self.local.ip())).filter(|addr| !addr.is_unspecified());
        match chosen.map(|addr| (addr, net.kind(addr))) {
            None => net.source_for(self.remote.ip()),
            // Bound to a broadcast address or a group in order to receive: never a source (1122-3.2.1.3-bcast-src).
            Some((_, AddressKind::Broadcast | AddressKind::Multicast)) => net.source_for(self.remote.ip()),
            Some((addr, _)) if addr.is_ipv4() != self.remote.is_ipv4() => Err(Errno::ENETUNREACH),
            Some((addr, AddressKind::Own | AddressKind::Loopback)) => Ok(addr),
            Some((_, AddressKind::Remote | AddressKind::Unspecified)) => Err(Errno::EINVAL),
        }
    }

    fn ip_out(&self, net: &Network, protocol: u8, why: Why) -> Result<IpOut, Errno> {
        let group = match net.kind(self.remote.ip()) {
            AddressKind::Broadcast if !self.options.broadcast => return Err(Errno::EACCES),
            AddressKind::Unspecified => return Err(Errno::EADDRNOTAVAIL),
            AddressKind::Multicast => true,
            AddressKind::Broadcast | AddressKind::Own | AddressKind::Loopback | AddressKind::Remote => false,
        };
        let src = self.source(net)?;
        let default_ttl = if group { self.options.multicast_ttl } else { self.options.ttl };
        Ok(IpOut {
            src,
            dst: self.remote.ip(),
            protocol,
            ttl: self.info.ttl.unwrap_or(default_ttl),
            tos: self.info.tos.unwrap_or(self.options.tos),
            discover: self.options.mtu_discover,
            multicast_loop: self.options.multicast_loop,
            why,
            flow: Some(Flow { local: SocketAddr::new(src, self.local.port()), remote: self.remote }),
        })
    }
}

/// One datagram, or with `UDP_SEGMENT` a train of them: all are of that size but the last.
fn send_datagrams(
    net: &mut Network,
    env: &mut Env<'_>,
    link: Link,
    plan: &Plan<'_>,
    data: &[u8],
) -> Result<(), Errno> {
    let size = usize::from(plan.options.udp_segment);
    if size == 0 {
        return send_udp(net, env, plan, data);
    }
    let out = plan.ip_out(net, udp::PROTOCOL, Why::Datagram)?;
    let fits = size.min(data.len()) + udp::HEADER_LEN <= net.room_for_datagram(env, &out);
    if !fits || data.len() > largest(plan) {
        return Err(Errno::EMSGSIZE);
    }
    if data.len() > size * MAX_TRAIN {
        return Err(Errno::EINVAL);
    }
    if data.len() <= size {
        return send_udp(net, env, plan, data);
    }
    let mut header = udp::header(plan.local.port(), plan.remote.port(), data.len()).ok_or(Errno::EMSGSIZE)?;
    if !link.datagram_trains || !net.takes_train(env, &out) {
        return data.chunks(size).try_for_each(|datagram| send_udp(net, env, plan, datagram));
    }
    udp::fill_pseudo_checksum(&mut header, out.src, out.dst, data.len());
    net.send_train(env, &out, (&header, data), plan.options.udp_segment)?;
    env.counters.udp_out_datagrams += data.len().div_ceil(size) as u64;
    Ok(())
}

/// Octets of the largest datagram.
fn largest(plan: &Plan<'_>) -> usize {
    if plan.remote.is_ipv4() { MAX_UDP_V4 } else { MAX_UDP_V6 }
}

fn send_udp(net: &mut Network, env: &mut Env<'_>, plan: &Plan<'_>, data: &[u8]) -> Result<(), Errno> {
    if data.len() > largest(plan) {
        return Err(Errno::EMSGSIZE);
    }
    let out = plan.ip_out(net, udp::PROTOCOL, Why::Datagram)?;
    let mut header = udp::header(plan.local.port(), plan.remote.port(), data.len()).ok_or(Errno::EMSGSIZE)?;
    udp::fill_checksum(&mut header, out.src, out.dst, data);
    net.send(env, &out, &[&header, data])?;
    env.counters.udp_out_datagrams += 1;
    Ok(())
}

/// As Linux's ping sockets: the user gives an echo request, the socket puts its identifier and the checksum in.
fn send_echo(net: &mut Network, env: &mut Env<'_>, plan: &Plan<'_>, data: &[u8]) -> Result<(), Errno> {
    let (header, body) = data.split_first_chunk::<{ icmp::HEADER_LEN }>().ok_or(Errno::EINVAL)?;
    let v4 = plan.remote.is_ipv4();
    if header[0] != if v4 { 8 } else { 128 } || header[1] != 0 {
        return Err(Errno::EINVAL);
    }
    let seq = u16::from_be_bytes([header[6], header[7]]);
    let out = plan.ip_out(net, if v4 { 1 } else { icmp::PROTOCOL_V6 }, Why::EchoRequest)?;
    let kind = icmp::Kind::EchoRequest { id: plan.local.port(), seq };
    let header = icmp::header(kind, out.src, out.dst, body).ok_or(Errno::EINVAL)?;
    net.send(env, &out, &[&header, body])
}
