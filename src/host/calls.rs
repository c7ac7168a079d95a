//! Socket calls that make, name, connect and end sockets.

use super::sockets::{Fresh, Kind, Options, Progress, Socket, any, token};
use super::{Domain, Errno, Host, MsgFlags, Shutdown, SocketId, Type};
use crate::base::Instant;
use crate::network::AddressKind;
use crate::trace::{Flow, TcpState};
use crate::transport::datagram::{DatagramId, Datagrams};
use crate::transport::ports::Binding;
use crate::transport::tcp::{
    ConnId, Connection, FAST_OPEN_ALL, FAST_OPEN_CLIENT, FAST_OPEN_SERVER, FastOpen, ListenOptions, Mtus,
    Settings,
};
use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

impl Host {
    /// `socket(2)`.
    ///
    /// # Errors
    /// None today; the result leaves room for limits.
    pub fn socket(&mut self, domain: Domain, kind: Type) -> Result<SocketId, Errno> {
        let Host { common, sockets, udp, ping, .. } = self;
        let config = &common.config;
        let options = Arc::new(Options::new(config));
        Ok(sockets.insert(|token| {
            let kind = match kind {
                Type::Stream => Kind::Fresh(Box::new(Fresh {
                    local: SocketAddr::new(any(domain), 0),
                    settings: Settings::new(config),
                    error: None,
                })),
                Type::Dgram => Kind::Udp(udp.open(token, any(domain), config)),
                Type::Ping => Kind::Ping(ping.open(token, any(domain), config)),
            };
            Socket { domain, kind, options }
        }))
    }

    /// `bind(2)`; port 0 takes a free one.
    ///
    /// # Errors
    /// `EINVAL` when bound or connected already, `EADDRNOTAVAIL` when the address is not ours, `EADDRINUSE`,
    /// `EAFNOSUPPORT`.
    pub fn bind(&mut self, id: SocketId, local: SocketAddr) -> Result<(), Errno> {
        let socket = self.sockets.get(id)?;
        let mapped_on_v6_only = |errno| if errno == Errno::ENETUNREACH { Errno::EINVAL } else { errno };
        let local = socket.canonical(local).map_err(mapped_on_v6_only)?;
        let stream = socket.kind() == Type::Stream;
        match self.net.kind(local.ip()) {
            AddressKind::Unspecified | AddressKind::Own | AddressKind::Loopback => {}
            AddressKind::Broadcast | AddressKind::Multicast if !stream => {}
            AddressKind::Broadcast | AddressKind::Multicast | AddressKind::Remote => {
                return Err(Errno::EADDRNOTAVAIL);
            }
        }
        // A bind to ::ffff:0.0.0.0 is one to 0.0.0.0.
        let Host { common, sockets, udp, ping, tcp, .. } = self;
        let socket = sockets.get_mut(id)?;
        match &mut socket.kind {
            Kind::Udp(key) => udp.bind(&common.config, &mut common.rng, *key, local),
            Kind::Ping(key) => ping.bind(&common.config, &mut common.rng, *key, local),
            Kind::Listener(_) | Kind::Connection { .. } => Err(Errno::EINVAL),
            Kind::Fresh(fresh) if fresh.local.port() != 0 => Err(Errno::EINVAL),
            Kind::Fresh(fresh) => {
                let claim = claim(id, local.ip(), &socket.options);
                let port = match local.port() {
                    0 => {
                        tcp.ports.choose(&common.config, &mut common.rng, &claim).ok_or(Errno::EADDRINUSE)?
                    }
                    port if tcp.ports.is_free(port, &claim) => port,
                    _ => return Err(Errno::EADDRINUSE),
                };
                tcp.ports.bind(port, claim);
                fresh.local = SocketAddr::new(local.ip(), port);
                Ok(())
            }
        }
    }

    /// `listen(2)`; an unbound socket gets a free port. Again on a listener: changes the backlog.
    ///
    /// # Errors
    /// `EINVAL` on a connection, `EADDRINUSE` when another socket listens there, `EOPNOTSUPP` on datagram sockets.
    pub fn listen(&mut self, _now: Instant, id: SocketId, backlog: u32) -> Result<(), Errno> {
        let backlog = backlog.min(self.common.config.somaxconn);
        let socket = self.sockets.get(id)?;
        match &socket.kind {
            Kind::Udp(_) | Kind::Ping(_) => return Err(Errno::EOPNOTSUPP),
            Kind::Connection { .. } => return Err(Errno::EINVAL),
            Kind::Listener(key) => {
                if let Some(listener) = self.tcp.listener_mut(*key) {
                    listener.options.backlog = backlog;
                }
                return Ok(());
            }
            Kind::Fresh(_) => {}
        }
        if self.local_addr(id)?.port() == 0 {
            let any = self.sockets.get(id)?.any();
            self.bind(id, SocketAddr::new(any, 0))?;
        }
        let socket = self.sockets.get_mut(id)?;
        let Kind::Fresh(fresh) = &socket.kind else { return Err(Errno::EINVAL) };
        let local = fresh.local;
        let claim = Binding { listening: true, ..claim(id, local.ip(), &socket.options) };
        // Sockets may share a port to connect from it; only one of them may listen (or all ask for SO_REUSEPORT).
        let taken = self.tcp.ports.bindings(local.port()).iter().any(|other| other.listening);
        if taken && !self.tcp.ports.is_free(local.port(), &claim) {
            return Err(Errno::EADDRINUSE);
        }
        let all = FAST_OPEN_SERVER | FAST_OPEN_ALL;
        let fast_open = match socket.options.fast_open {
            0 if self.common.config.tcp_fastopen & all == all => backlog,
            limit => limit,
        };
        let key = self.tcp.listen(ListenOptions {
            fast_open,
            token: token(id),
            local,
            v6_only: socket.options.v6_only,
            reuse_addr: socket.options.reuse_addr,
            backlog,
            defer_accept: socket.options.defer_accept,
            settings: Arc::new(fresh.settings.clone()),
        });
        self.tcp.ports.update(local.port(), token(id), |binding| binding.listening = true);
        socket.kind = Kind::Listener(key);
        Ok(())
    }

    /// `accept(2)`.
    ///
    /// # Errors
    /// `EAGAIN` when no connection waits, `EINVAL` when it is no listener, `EOPNOTSUPP` on datagram sockets.
    pub fn accept(&mut self, _now: Instant, id: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        let Host { sockets, tcp, .. } = self;
        let listening = sockets.get(id)?;
        let key = match listening.kind {
            Kind::Listener(key) => key,
            Kind::Udp(_) | Kind::Ping(_) => return Err(Errno::EOPNOTSUPP),
            Kind::Fresh(_) | Kind::Connection { .. } => return Err(Errno::EINVAL),
        };
        if tcp.listener(key).is_none_or(|listener| listener.waiting() == 0) {
            return Err(Errno::EAGAIN);
        }
        let (domain, options) = (listening.domain, Arc::clone(&listening.options));
        let mut accepted = ConnId::default();
        let new = sockets.insert(|token| {
            accepted = tcp.accept(key, token).unwrap_or_default();
            Socket {
                domain,
                kind: Kind::Connection { id: accepted, progress: Progress::Connected, bound_port: 0 },
                options,
            }
        });
        let remote = tcp.get(accepted).ok_or(Errno::ECONNABORTED)?.flow().remote;
        Ok((new, sockets.get(new)?.shown(remote)))
    }

    /// `connect(2)`. TCP: `EINPROGRESS` at first; once the socket is writable, `Opt::Error` tells how it went (a
    /// second call gives `EALREADY` while pending, then success once, then `EISCONN`). Datagram sockets: sets the
    /// peer. `None` is `AF_UNSPEC`: dissolves.
    ///
    /// # Errors
    /// As Linux; `ENETUNREACH` without a route or for a group, `EADDRNOTAVAIL` for an unspecified address or port.
    pub fn connect(&mut self, now: Instant, id: SocketId, remote: Option<SocketAddr>) -> Result<(), Errno> {
        let socket = self.sockets.get(id)?;
        match socket.kind {
            Kind::Udp(_) | Kind::Ping(_) => self.connect_datagram(id, remote),
            Kind::Listener(_) => match remote {
                Some(_) => Err(Errno::EISCONN),
                None => self.stop_listening(now, id),
            },
            Kind::Fresh(_) => match remote {
                // With `TCP_FASTOPEN_CONNECT` and a cookie the first write opens the connection.
                Some(remote) if socket.options.fast_open_connect => {
                    match self.connect_stream(now, id, remote, FastOpen::Deferred)? {
                        true => self.set_progress(id, Progress::Connected),
                        false => Err(Errno::EINPROGRESS),
                    }
                }
                Some(remote) => {
                    self.connect_stream(now, id, remote, FastOpen::No).and(Err(Errno::EINPROGRESS))
                }
                None => Ok(()),
            },
            Kind::Connection { id: conn, progress, .. } => match remote {
                Some(_) => self.connect_again(now, id, conn, progress),
                None => self.back_to_fresh(now, id),
            },
        }
    }

    /// `sendto(2)` with `MSG_FASTOPEN`: connects, and sends `data` with the SYN where the peer has given a cookie
    /// (RFC 7413). Returns the octets queued.
    ///
    /// # Errors
    /// `EINPROGRESS` when nothing was queued and the connection opens in the ordinary way; `EALREADY`, `EISCONN`, and those
    /// of [`connect`](Host::connect); `EOPNOTSUPP` when `tcp_fastopen` does not allow it, and on datagram sockets.
    pub fn connect_with(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
        data: &[u8],
        flags: MsgFlags,
    ) -> Result<usize, Errno> {
        let socket = self.sockets.get(id)?;
        match socket.kind {
            _ if self.common.config.tcp_fastopen & FAST_OPEN_CLIENT == 0 => return Err(Errno::EOPNOTSUPP),
            Kind::Udp(_) | Kind::Ping(_) => return Err(Errno::EOPNOTSUPP),
            Kind::Connection { progress: Progress::Connecting, .. } => return Err(Errno::EALREADY),
            Kind::Connection { .. } | Kind::Listener(_) => return Err(Errno::EISCONN),
            Kind::Fresh(_) => {}
        }
        match self.connect_stream(now, id, remote, FastOpen::Now)? {
            true => self.send(now, id, data, flags),
            false => Err(Errno::EINPROGRESS),
        }
    }

    fn set_progress(&mut self, id: SocketId, reached: Progress) -> Result<(), Errno> {
        if let Kind::Connection { progress, .. } = &mut self.sockets.get_mut(id)?.kind {
            *progress = reached;
        }
        Ok(())
    }

    /// The SYN is due; tells whether it may carry text.
    fn connect_stream(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
        fast_open: FastOpen,
    ) -> Result<bool, Errno> {
        let Host { common, net, tcp, sockets, .. } = self;
        let socket = sockets.get_mut(id)?;
        let remote = socket.canonical(remote)?;
        let Kind::Fresh(fresh) = &socket.kind else { return Err(Errno::EISCONN) };
        // RFC 9293 §3.9.2.3 (MUST-46), §3.10.1: no connection to a group, to everybody, or to nobody.
        match net.kind(remote.ip()) {
            AddressKind::Unspecified => return Err(Errno::EADDRNOTAVAIL),
            AddressKind::Broadcast | AddressKind::Multicast => return Err(Errno::ENETUNREACH),
            AddressKind::Own | AddressKind::Loopback | AddressKind::Remote => {}
        }
        if remote.port() == 0 {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let bound_port = fresh.local.port();
        let source = match fresh.local.ip() {
            ip if ip.is_unspecified() => net.source_for(remote.ip())?,
            ip if ip.is_ipv4() == remote.is_ipv4() => ip,
            _ => return Err(Errno::ENETUNREACH),
        };
        let flow = Flow { local: SocketAddr::new(source, bound_port), remote };
        let mtus = Mtus {
            path: net.path_mtu(now, remote.ip()),
            receive: net.receive_mtu(&common.config, remote.ip()),
        };
        let holder = (token(id), socket.options.reuse_addr);
        let how = (mtus, fast_open);
        let (conn, with_text) =
            tcp.connect(&mut common.env(now), flow, holder, fresh.settings.clone(), how)?;
        socket.kind = Kind::Connection { id: conn, progress: Progress::Connecting, bound_port };
        self.collect_events();
        Ok(with_text)
    }

    fn connect_again(
        &mut self,
        now: Instant,
        id: SocketId,
        conn: ConnId,
        progress: Progress,
    ) -> Result<(), Errno> {
        if progress == Progress::Connected {
            return Err(Errno::EISCONN);
        }
        let state = self.tcp.look(conn, |conn| conn.state()).unwrap_or(TcpState::Closed);
        match state {
            TcpState::SynSent | TcpState::SynReceived => Err(Errno::EALREADY),
            TcpState::Closed => {
                let error = self.tcp.with(&mut self.common.env(now), conn, |conn, _| conn.take_error());
                self.back_to_fresh(now, id)?;
                Err(error.flatten().unwrap_or(Errno::ECONNABORTED))
            }
            _ => self.set_progress(id, Progress::Connected),
        }
    }

    /// The socket loses its connection and is as before `connect`, still bound if it was.
    fn back_to_fresh(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        let Host { common, tcp, sockets, .. } = self;
        let socket = sockets.get_mut(id)?;
        let Kind::Connection { id: conn, bound_port, .. } = socket.kind else { return Ok(()) };
        let found = tcp.get(conn).map(|conn| (conn.settings().clone(), conn.flow().local.ip(), conn.state()));
        let (settings, ip, state) =
            found.unwrap_or_else(|| (Settings::new(&common.config), socket.any(), TcpState::Closed));
        // As Linux: who resets a connection is told so, too.
        let over =
            matches!(state, TcpState::Closed | TcpState::TimeWait | TcpState::Closing | TcpState::LastAck);
        tcp.abort(&mut common.env(now), conn);
        let ip = if bound_port == 0 { socket.any() } else { ip };
        let local = SocketAddr::new(ip, bound_port);
        let error = (!over).then_some(Errno::ECONNRESET);
        socket.kind = Kind::Fresh(Box::new(Fresh { local, settings, error }));
        Ok(())
    }

    fn connect_datagram(&mut self, id: SocketId, remote: Option<SocketAddr>) -> Result<(), Errno> {
        let socket = self.sockets.get(id)?;
        let Some(remote) = remote else {
            let (table, key) = datagrams(socket, &mut self.udp, &mut self.ping).ok_or(Errno::EINVAL)?;
            table.disconnect(key);
            return Ok(());
        };
        let remote = socket.canonical(remote)?;
        let broadcast_allowed = socket.options.broadcast;
        match self.net.kind(remote.ip()) {
            AddressKind::Broadcast if !broadcast_allowed => return Err(Errno::EACCES),
            AddressKind::Unspecified => return Err(Errno::EADDRNOTAVAIL),
            AddressKind::Broadcast
            | AddressKind::Multicast
            | AddressKind::Own
            | AddressKind::Loopback
            | AddressKind::Remote => {}
        }
        let source = self.net.source_for(remote.ip())?;
        self.autobind(id)?;
        let socket = self.sockets.get(id)?;
        let (table, key) = datagrams(socket, &mut self.udp, &mut self.ping).ok_or(Errno::EINVAL)?;
        table.connect(key, source, remote);
        Ok(())
    }

    /// Gives a datagram socket a port if it has none.
    ///
    /// # Errors
    /// `EAGAIN` when none is left, `EINVAL` for a stream socket.
    pub fn autobind(&mut self, id: SocketId) -> Result<(), Errno> {
        let Host { common, sockets, udp, ping, .. } = self;
        let socket = sockets.get(id)?;
        let (table, key) = datagrams(socket, udp, ping).ok_or(Errno::EINVAL)?;
        if table.get(key).is_some_and(|socket| socket.local.port() != 0) {
            return Ok(());
        }
        let ip = table.get(key).map_or(socket.any(), |socket| socket.local.ip());
        let local = SocketAddr::new(ip, 0);
        table.bind(&common.config, &mut common.rng, key, local).map_err(|_| Errno::EAGAIN)
    }

    /// `shutdown(2)`.
    ///
    /// # Errors
    /// `ENOTCONN` when there is nothing to shut.
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        let read = how != Shutdown::Write;
        let write = how != Shutdown::Read;
        let Host { common, tcp, sockets, .. } = self;
        let result = match sockets.get(id)?.kind {
            Kind::Fresh(_) => Err(Errno::ENOTCONN),
            // As on Linux: shutting the reading side of a listener ends it.
            Kind::Listener(_) if read => self.stop_listening(now, id),
            Kind::Listener(_) => Ok(()),
            Kind::Connection { id: conn, .. } => {
                let shut = tcp.with(&mut common.env(now), conn, |conn, env| conn.shutdown(env, read, write));
                shut.unwrap_or(Err(Errno::ENOTCONN))
            }
            Kind::Udp(key) => self.udp.shutdown(key, read, write),
            Kind::Ping(key) => self.ping.shutdown(key, read, write),
        };
        self.collect_events();
        result
    }

    fn stop_listening(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        let Host { common, tcp, sockets, .. } = self;
        let socket = sockets.get_mut(id)?;
        let Kind::Listener(key) = socket.kind else { return Ok(()) };
        if let Some(listener) = tcp.listener(key) {
            let (local, settings) = (listener.options.local, Settings::clone(&listener.options.settings));
            tcp.ports.update(local.port(), token(id), |binding| binding.listening = false);
            tcp.close_listener(&mut common.env(now), key);
            socket.kind = Kind::Fresh(Box::new(Fresh { local, settings, error: None }));
            let hangup = super::Readiness::HANGUP | super::Readiness::READABLE;
            self.push_event(id, hangup);
        }
        Ok(())
    }

    /// `close(2)`: ends the socket. A connection with `Linger(Some(ZERO))` or unread data is reset, others finish in
    /// the background. A positive linger time is for the caller to wait before, while [`Host::lingers`].
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        let abortive = self.sockets.get(id)?.options.linger.is_some_and(|time| time.is_zero());
        self.end(now, id, abortive)
    }

    /// Resets the connection and ends the socket.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn abort(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        self.end(now, id, true)
    }

    fn end(&mut self, now: Instant, id: SocketId, abortive: bool) -> Result<(), Errno> {
        let Host { common, tcp, net, sockets, udp, ping, .. } = self;
        let socket = sockets.remove(id)?;
        let mut env = common.env(now);
        match socket.kind {
            Kind::Fresh(fresh) => tcp.ports.release(fresh.local.port(), token(id)),
            Kind::Listener(key) => {
                let port = tcp.listener(key).map_or(0, |listener| listener.options.local.port());
                tcp.ports.release(port, token(id));
                tcp.close_listener(&mut env, key);
            }
            Kind::Connection { id: conn, bound_port, .. } => {
                tcp.ports.release(bound_port, token(id));
                if abortive {
                    tcp.abort(&mut env, conn);
                } else {
                    tcp.close(&mut env, conn);
                }
            }
            Kind::Udp(key) => {
                for group in udp.close(key) {
                    net.leave(group)?;
                }
            }
            Kind::Ping(key) => {
                for group in ping.close(key) {
                    net.leave(group)?;
                }
            }
        }
        self.collect_events();
        Ok(())
    }

    /// Has the socket data or a FIN that the peer has not acknowledged?
    pub fn lingers(&self, id: SocketId) -> bool {
        self.look(id, |conn| conn.lingers()).unwrap_or(false)
    }

    /// Has any connection that no socket holds data or a FIN that its peer has not acknowledged?
    pub fn orphans_linger(&self) -> bool {
        self.tcp.orphans_linger()
    }

    /// The linger time that is set (`SO_LINGER`).
    pub fn linger(&self, id: SocketId) -> Option<crate::base::Duration> {
        self.sockets.get(id).ok().and_then(|socket| socket.options.linger)
    }

    /// `getsockname(2)`: unspecified with port 0 while unbound.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn local_addr(&self, id: SocketId) -> Result<SocketAddr, Errno> {
        let socket = self.sockets.get(id)?;
        let unknown = SocketAddr::new(socket.any(), 0);
        let local = match &socket.kind {
            Kind::Fresh(fresh) => fresh.local,
            Kind::Listener(key) => self.tcp.listener(*key).map_or(unknown, |listener| listener.options.local),
            Kind::Connection { id, .. } => self.tcp.look(*id, |conn| conn.flow().local).unwrap_or(unknown),
            Kind::Udp(key) => self.udp.get(*key).map_or(unknown, |socket| socket.local),
            Kind::Ping(key) => self.ping.get(*key).map_or(unknown, |socket| socket.local),
        };
        Ok(if local.ip().is_unspecified() {
            SocketAddr::new(socket.any(), local.port())
        } else {
            socket.shown(local)
        })
    }

    /// `getpeername(2)`.
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn peer_addr(&self, id: SocketId) -> Result<SocketAddr, Errno> {
        let socket = self.sockets.get(id)?;
        let remote = match &socket.kind {
            Kind::Fresh(_) | Kind::Listener(_) => None,
            Kind::Connection { id, .. } => {
                let (state, remote) =
                    self.tcp.look(*id, |conn| (conn.state(), conn.flow().remote)).ok_or(Errno::ENOTCONN)?;
                let is_open = !matches!(state, TcpState::SynSent | TcpState::TimeWait | TcpState::Closed);
                is_open.then_some(remote)
            }
            Kind::Udp(key) => self.udp.get(*key).and_then(|socket| socket.remote),
            Kind::Ping(key) => self.ping.get(*key).and_then(|socket| socket.remote),
        };
        remote.map(|remote| socket.shown(remote)).ok_or(Errno::ENOTCONN)
    }

    /// Family and kind.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn domain(&self, id: SocketId) -> Result<(Domain, Type), Errno> {
        let socket = self.sockets.get(id)?;
        Ok((socket.domain, socket.kind()))
    }

    /// What `f` tells of the socket's connection.
    pub(super) fn look<T>(&self, id: SocketId, f: impl FnOnce(&Connection) -> T) -> Result<T, Errno> {
        match self.sockets.get(id)?.kind {
            Kind::Connection { id, .. } => self.tcp.look(id, f).ok_or(Errno::ENOTCONN),
            Kind::Fresh(_) | Kind::Listener(_) | Kind::Udp(_) | Kind::Ping(_) => Err(Errno::ENOTCONN),
        }
    }
}

/// The table and key of a datagram socket.
pub(super) fn datagrams<'a>(
    socket: &Socket,
    udp: &'a mut Datagrams,
    ping: &'a mut Datagrams,
) -> Option<(&'a mut Datagrams, DatagramId)> {
    match socket.kind {
        Kind::Udp(key) => Some((udp, key)),
        Kind::Ping(key) => Some((ping, key)),
        Kind::Fresh(_) | Kind::Listener(_) | Kind::Connection { .. } => None,
    }
}

/// A TCP socket's claim on a port.
fn claim(id: SocketId, addr: IpAddr, options: &Options) -> Binding<u64> {
    Binding {
        id: token(id),
        addr,
        v6_only: options.v6_only,
        reuse_addr: options.reuse_addr,
        reuse_port: options.reuse_port,
        listening: false,
    }
}
