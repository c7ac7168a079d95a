//! Read-only views: what `ss` and `getsockopt(TCP_INFO)` show.

use super::sockets::{Kind, from_token};
use super::{Errno, Host, SocketId, TcpInfo, Type};
use crate::base::Instant;
use core::net::SocketAddr;

/// One line of `ss`: a socket at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketSnapshot {
    /// The socket; `None` for connections that no socket holds (any more, or not yet).
    pub id: Option<SocketId>,
    /// Kind.
    pub kind: Type,
    /// State: an RFC name for TCP, `UNCONN` or `ESTAB` for datagram sockets.
    pub state: &'static str,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: Option<SocketAddr>,
    /// Octets waiting to be received (for a listener: connections waiting to be accepted).
    pub recv_queue: u32,
    /// Octets not acknowledged or not sent (for a listener: its backlog).
    pub send_queue: u32,
}

impl Host {
    /// The connection behind a socket, or the listener, as `getsockopt(TCP_INFO)`.
    ///
    /// # Errors
    /// `ENOTCONN` where it is neither.
    pub fn tcp_info(&self, now: Instant, id: SocketId) -> Result<TcpInfo, Errno> {
        if let Ok(Kind::Listener(key)) = self.sockets.get(id).map(|socket| &socket.kind)
            && let Some(listener) = self.tcp.listener(*key)
        {
            // As Linux: the queue and its bound stand in for segments, and what connections will start from shows already.
            return Ok(TcpInfo {
                state: "LISTEN",
                unacked: listener.waiting() as u32,
                sacked: listener.options.backlog,
                snd_cwnd: self.common.config.tcp_init_cwnd,
                reordering: 3,
                ..TcpInfo::default()
            });
        }
        self.look(id, |conn| conn.info(now))
    }

    /// All sockets and socketless connections, as `ss -a` lists them.
    pub fn sockets(&self) -> Vec<SocketSnapshot> {
        let mut lines: Vec<SocketSnapshot> =
            self.sockets.iter().filter_map(|(id, socket)| self.line(id, &socket.kind)).collect();
        lines.extend(self.tcp.look_at_all(|conn, token| SocketSnapshot {
            id: token.map(from_token),
            kind: Type::Stream,
            state: conn.state().name(),
            local: conn.flow().local,
            remote: Some(conn.flow().remote),
            recv_queue: conn.bytes_readable() as u32,
            send_queue: conn.bytes_unacked() as u32,
        }));
        lines
    }

    /// The line of a socket that is no connection.
    fn line(&self, id: SocketId, kind: &Kind) -> Option<SocketSnapshot> {
        let line = |kind, state, local, remote, recv_queue, send_queue| {
            Some(SocketSnapshot { id: Some(id), kind, state, local, remote, recv_queue, send_queue })
        };
        let (table, key, kind) = match kind {
            Kind::Connection { .. } => return None,
            Kind::Fresh(fresh) => return line(Type::Stream, "CLOSED", fresh.local, None, 0, 0),
            Kind::Listener(key) => {
                let listener = self.tcp.listener(*key)?;
                let (waiting, backlog) = (listener.waiting() as u32, listener.options.backlog);
                return line(Type::Stream, "LISTEN", listener.options.local, None, waiting, backlog);
            }
            Kind::Udp(key) => (&self.udp, key, Type::Dgram),
            Kind::Ping(key) => (&self.ping, key, Type::Ping),
        };
        let socket = table.get(*key)?;
        let state = if socket.remote.is_some() { "ESTAB" } else { "UNCONN" };
        line(kind, state, socket.local, socket.remote, socket.queued() as u32, 0)
    }

    /// Checks everything that must hold at any time, for tests and simulations.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.tcp.check_invariants()
    }

    /// Octets of memory that connections hold, buffers included.
    pub fn memory_octets(&self) -> usize {
        self.tcp.memory_octets()
    }
}
