//! One open socket, as all faces share it: the waiting, the timeouts and the flags that belong to waiting.
//!
//! The host's calls never wait. This layer waits where POSIX says that a call waits, and turns a wait that took too
//! long into the error that Linux gives: `EAGAIN`, or `EINPROGRESS` from connect.

use super::rare::Rare;
use crate::base::{Duration, Errno, Instant};
use crate::host::{
    Domain, Host, MsgFlags, Opt, OptName, PacketInfo, Readiness, Received, SettingError, Shutdown, SocketId,
    Type,
};
use crate::runtime::{Direction, On, Shard, Shared, Stack};
use bytes::Bytes;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Context;

/// Reads one option, or says `EINVAL` when the host answers with another.
macro_rules! read_option {
    ($inner:expr, $name:ident) => {
        match $inner.option(crate::host::OptName::$name)? {
            crate::host::Opt::$name(value) => Ok(value),
            _ => Err(crate::base::Errno::EINVAL),
        }
    };
}
pub(crate) use read_option;

/// How a call wants to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// `MSG_DONTWAIT`: not at all.
    pub dont: bool,
    /// `MSG_WAITALL`: until the buffer is full.
    pub all: bool,
}

/// A socket; closed when the last handle goes.
pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    pub id: SocketId,
    pub domain: Domain,
    pub kind: Type,
    nonblocking: AtomicBool,
    closed: AtomicBool,
    /// Did a connection attempt begin whose outcome was not seen yet?
    connecting: AtomicBool,
    /// There may be a million of the others.
    rare: OnceLock<Box<Rare>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Socket");
        if let Ok(local) = self.local_addr() {
            shown.field("addr", &local);
        }
        if let Ok(peer) = self.peer_addr() {
            shown.field("peer", &peer);
        }
        shown.field("id", &self.id).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.close();
    }
}

fn not_yet<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Inner {
    pub fn new(stack: &Stack, domain: Domain, kind: Type) -> Result<Arc<Inner>, Errno> {
        let shared = Arc::clone(stack.shared());
        let id = shared.call(|shard, _| shard.host.socket(domain, kind))?;
        Ok(Arc::new(Inner::with(shared, id, domain, kind)))
    }

    fn with(shared: Arc<Shared>, id: SocketId, domain: Domain, kind: Type) -> Inner {
        Inner {
            shared,
            id,
            domain,
            kind,
            nonblocking: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            connecting: AtomicBool::new(false),
            rare: OnceLock::new(),
        }
    }

    // --- waiting -------------------------------------------------------------------------------------------------

    pub fn call<T>(&self, op: impl FnOnce(&mut Host, Instant) -> Result<T, Errno>) -> Result<T, Errno> {
        if self.is_closed() {
            return Err(Errno::EBADF);
        }
        self.shared.call(|shard, now| op(&mut shard.host, now))
    }

    /// A call that waits while `op` has nothing yet. `Ok(None)`: it took too long, or it must not wait.
    fn wait<T>(
        &self,
        direction: Direction,
        dont_wait: bool,
        mut op: impl FnMut(&mut Host, Instant) -> Result<Option<T>, Errno>,
    ) -> Result<Option<T>, Errno> {
        if dont_wait || self.is_nonblocking() {
            return self.call(|host, now| op(host, now));
        }
        if self.is_closed() {
            return Err(Errno::EBADF);
        }
        let deadline = self.timeout(direction).map(|timeout| self.shared.clock.now() + timeout);
        let sockets = [(self.id, direction)];
        self.shared.wait(On::Sockets(&sockets), deadline, |shard, now| op(&mut shard.host, now))
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    pub fn timeout(&self, direction: Direction) -> Option<Duration> {
        let nanos = self.rare.get()?.timeout(direction).load(Ordering::Relaxed);
        (nanos > 0).then_some(Duration::from_nanos(nanos))
    }

    pub fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) {
        let nanos = timeout.map_or(0, Duration::as_nanos);
        self.rare().timeout(direction).store(nanos, Ordering::Relaxed);
    }

    fn recv_lowat(&self) -> u32 {
        self.rare.get().map_or(1, |rare| rare.recv_lowat.load(Ordering::Relaxed).max(1))
    }

    /// A call of a task.
    pub fn poll<T>(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        op: impl FnOnce(&mut Host, Instant) -> Result<T, Errno>,
    ) -> Result<Option<T>, Errno> {
        if self.is_closed() {
            return Err(Errno::EBADF);
        }
        self.shared.poll(context, (self.id, direction), |shard, now| not_yet(op(&mut shard.host, now)))
    }

    // --- receiving -----------------------------------------------------------------------------------------------

    /// Receives. Of a stack that has ended, what had arrived can be read before the error is told.
    pub fn recv(&self, buf: &mut [u8], flags: MsgFlags, waiting: Waiting) -> Result<Received, Errno> {
        match self.receive(buf, flags, waiting) {
            Err(errno @ (Errno::ENODEV | Errno::ENETDOWN | Errno::EIO)) => {
                let left = self.shared.leftover(|shard, now| shard.host.recv(now, self.id, buf, flags));
                left.filter(|received| received.len > 0).ok_or(errno)
            }
            result => result,
        }
    }

    /// Receives up to `most` octets in memory of their own.
    pub fn recv_owned(&self, most: usize) -> Result<Bytes, Errno> {
        let lowat = self.recv_lowat() > 1 && !self.is_nonblocking();
        let op = |host: &mut Host, now| match lowat && !self.is_worth_reading(host) {
            true => Err(Errno::EAGAIN),
            false => host.recv_owned(now, self.id, most),
        };
        match self.wait(Direction::Read, false, |host, now| not_yet(op(host, now))) {
            Err(errno @ (Errno::ENODEV | Errno::ENETDOWN | Errno::EIO)) => {
                let left = self.shared.leftover(|shard, now| op(&mut shard.host, now));
                left.filter(|data| !data.is_empty()).ok_or(errno)
            }
            result => result?.ok_or(Errno::EAGAIN),
        }
    }

    /// Has what came reached the low water mark, or will no more come?
    fn is_worth_reading(&self, host: &Host) -> bool {
        let ready = Readiness::READABLE | Readiness::ERROR | Readiness::HANGUP | Readiness::READ_HANGUP;
        host.readiness(self.id).intersects(ready)
    }

    fn receive(&self, buf: &mut [u8], flags: MsgFlags, waiting: Waiting) -> Result<Received, Errno> {
        let stream = self.kind == Type::Stream;
        // There is no waiting for urgent data.
        if stream && flags.contains(MsgFlags::OOB) {
            return self.call(|host, now| host.recv(now, self.id, buf, flags));
        }
        let lowat = usize::try_from(self.recv_lowat()).unwrap_or(usize::MAX);
        let lowat = lowat.min(buf.len());
        let target = if waiting.all { buf.len() } else { lowat };
        if stream && target > 1 && !waiting.dont && !self.is_nonblocking() {
            return self.recv_until(buf, flags, (lowat, target));
        }
        let op = |host: &mut Host, now| not_yet(host.recv(now, self.id, buf, flags));
        let received = self.wait(Direction::Read, waiting.dont, op)?.ok_or(Errno::EAGAIN)?;
        // The end of a datagram socket that is shut: as on Linux, only a call that may wait sees it.
        if !stream && received.from.is_none() && (waiting.dont || self.is_nonblocking()) {
            return Err(Errno::EAGAIN);
        }
        Ok(received)
    }

    /// Receives until at least `target` octets are there, the stream ends or the wait takes too long. Below the low water
    /// mark nothing is taken, for the host does not tell what arrives there.
    fn recv_until(
        &self,
        buf: &mut [u8],
        flags: MsgFlags,
        (lowat, target): (usize, usize),
    ) -> Result<Received, Errno> {
        let mut got = Received::default();
        let peek = flags.contains(MsgFlags::PEEK);
        let finished = self.wait(Direction::Read, false, |host, now| {
            if lowat > 1 && !self.is_worth_reading(host) {
                return Ok(None);
            }
            loop {
                // An error that comes after data is for the next call.
                if got.len > 0 && host.readiness(self.id).contains(Readiness::ERROR) {
                    return Ok(Some(got));
                }
                let from = if peek { 0 } else { got.len };
                let mut more = match host.recv(now, self.id, &mut buf[from..], flags) {
                    Ok(more) => more,
                    Err(Errno::EAGAIN) => return Ok(None),
                    Err(errno) => return Err(errno),
                };
                let ended =
                    more.len == 0 || (peek && host.readiness(self.id).contains(Readiness::READ_HANGUP));
                more.len += from;
                got = more;
                if ended || got.len >= target {
                    return Ok(Some(got));
                }
                if peek {
                    return Ok(None);
                }
            }
        })?;
        match finished {
            Some(got) => Ok(got),
            None if got.len > 0 => Ok(got),
            // Too late to wait for more: what is there counts.
            None => self.call(|host, now| host.recv(now, self.id, buf, flags)),
        }
    }

    // --- sending -------------------------------------------------------------------------------------------------

    /// Sends on a connected socket. A blocking call waits until everything is in the send buffer, as Linux does; what
    /// was taken before an error or a timeout counts, and the error is for the next call.
    pub fn send(&self, data: &[u8], flags: MsgFlags, dont_wait: bool) -> Result<usize, Errno> {
        if self.kind != Type::Stream {
            return self.send_to(data, None, PacketInfo::default(), (flags, dont_wait));
        }
        let mut left = data;
        self.send_stream(data.len(), dont_wait, |host, now| {
            let taken = host.send(now, self.id, left, flags)?;
            left = &left[taken..];
            Ok(taken)
        })
    }

    /// Sends octets that the caller gives away; what is taken is cut off at the front.
    pub fn send_owned(&self, data: &mut Bytes) -> Result<usize, Errno> {
        self.send_stream(data.len(), false, |host, now| host.send_owned(now, self.id, data))
    }

    fn send_stream(
        &self,
        len: usize,
        dont_wait: bool,
        mut send: impl FnMut(&mut Host, Instant) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut sent = 0;
        let whole = !dont_wait && !self.is_nonblocking();
        let finished = self.wait(Direction::Write, dont_wait, |host, now| {
            if self.still_connects(host) {
                return Ok(None);
            }
            loop {
                let gone = Readiness::ERROR | Readiness::HANGUP;
                if sent > 0 && host.readiness(self.id).intersects(gone) {
                    return Ok(Some(()));
                }
                match send(host, now) {
                    Ok(n) => sent += n,
                    Err(Errno::EAGAIN) => return Ok(None),
                    Err(_) if sent > 0 => return Ok(Some(())),
                    Err(errno) => return Err(errno),
                }
                if sent >= len || !whole {
                    return Ok(Some(()));
                }
            }
        })?;
        if finished.is_none() && sent == 0 { Err(Errno::EAGAIN) } else { Ok(sent) }
    }

    /// RFC 9293 §3.10.2 would queue what is sent during the handshake; Linux lets the caller wait, and poll agrees.
    fn still_connects(&self, host: &Host) -> bool {
        let over = Readiness::WRITABLE | Readiness::ERROR | Readiness::HANGUP;
        if self.connecting.load(Ordering::Relaxed) && host.readiness(self.id).intersects(over) {
            self.connecting.store(false, Ordering::Relaxed);
        }
        self.connecting.load(Ordering::Relaxed)
    }

    /// Sends a datagram. With `MSG_MORE` it is kept, and what follows is joined to it.
    pub fn send_to(
        &self,
        data: &[u8],
        to: Option<SocketAddr>,
        info: PacketInfo,
        (flags, dont_wait): (MsgFlags, bool),
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::OOB) {
            // As Linux, which names the socket first.
            self.call(|host, _| host.autobind(self.id))?;
            return Err(Errno::EOPNOTSUPP);
        }
        if !flags.contains(MsgFlags::MORE) && self.rare.get().is_none() {
            return self.send_datagram(data, to, info, dont_wait);
        }
        let mut corked = self.rare().corked.lock().unwrap_or_else(PoisonError::into_inner);
        if flags.contains(MsgFlags::MORE) || corked.is_some() {
            let (to, info, mut whole) = corked.take().unwrap_or((to, info, Vec::new()));
            whole.extend_from_slice(data);
            // No datagram is longer than the length field of IP.
            if whole.len() > usize::from(u16::MAX) {
                return Err(Errno::EMSGSIZE);
            }
            if flags.contains(MsgFlags::MORE) {
                self.call(|host, _| host.begin_datagram(self.id, to.map(|to| somebody(host, self.id, to))))?;
                *corked = Some((to, info, whole));
                return Ok(data.len());
            }
            drop(corked);
            return self.send_datagram(&whole, to, info, dont_wait).map(|_| data.len());
        }
        drop(corked);
        self.send_datagram(data, to, info, dont_wait)
    }

    fn send_datagram(
        &self,
        data: &[u8],
        to: Option<SocketAddr>,
        info: PacketInfo,
        dont_wait: bool,
    ) -> Result<usize, Errno> {
        let op = |host: &mut Host, now| {
            let to = to.map(|to| somebody(host, self.id, to));
            not_yet(host.send_to(now, self.id, data, to, info))
        };
        self.wait(Direction::Write, dont_wait, op)?.ok_or(Errno::EAGAIN)
    }

    // --- connections ---------------------------------------------------------------------------------------------

    pub fn bind(&self, local: SocketAddr) -> Result<(), Errno> {
        self.call(|host, _| host.bind(self.id, local))
    }

    pub fn listen(&self, backlog: u32) -> Result<(), Errno> {
        self.call(|host, now| host.listen(now, self.id, backlog))
    }

    pub fn accept(&self) -> Result<(Arc<Inner>, SocketAddr), Errno> {
        let op = |host: &mut Host, now| not_yet(host.accept(now, self.id));
        let accepted = self.wait(Direction::Read, false, op)?;
        accepted.map(|connection| self.adopt(connection)).ok_or(Errno::EAGAIN)
    }

    /// What a listener accepted inherits its timeouts, but not that it does not block.
    pub fn adopt(&self, (id, peer): (SocketId, SocketAddr)) -> (Arc<Inner>, SocketAddr) {
        let inner = Inner::with(Arc::clone(&self.shared), id, self.domain, self.kind);
        if self.rare.get().is_some() {
            for direction in [Direction::Read, Direction::Write] {
                inner.set_timeout(direction, self.timeout(direction));
            }
            inner.rare().recv_lowat.store(self.recv_lowat(), Ordering::Relaxed);
        }
        (Arc::new(inner), peer)
    }

    /// Connects, and waits for the outcome. A wait that takes too long ends in `EINPROGRESS`, and the attempt goes on.
    pub fn connect(&self, remote: Option<SocketAddr>) -> Result<(), Errno> {
        let deadline = self.timeout(Direction::Write).map(|timeout| self.shared.clock.now() + timeout);
        self.connect_until(remote, deadline)
    }

    pub fn connect_until(&self, remote: Option<SocketAddr>, deadline: Option<Instant>) -> Result<(), Errno> {
        let first = self.call(|host, now| {
            let remote = remote.map(|remote| somebody(host, self.id, remote));
            host.connect(now, self.id, remote)
        });
        let goes_on = matches!(first, Err(Errno::EINPROGRESS | Errno::EALREADY));
        self.connecting.store(goes_on, Ordering::Relaxed);
        match first {
            Err(Errno::EINPROGRESS | Errno::EALREADY) if !self.is_nonblocking() => {}
            result => return result,
        }
        let sockets = [(self.id, Direction::Write)];
        let op = |shard: &mut Shard, now: Instant| connected(&mut shard.host, now, self.id, remote);
        self.shared.wait(On::Sockets(&sockets), deadline, op)?.ok_or(Errno::EINPROGRESS)
    }

    /// Connects, and sends `data` with the SYN if possible. A call that may wait does so for the connection, and until all of `data`
    /// is in the send buffer.
    pub fn connect_with(
        &self,
        remote: SocketAddr,
        data: &[u8],
        flags: MsgFlags,
        dont_wait: bool,
    ) -> Result<usize, Errno> {
        let flags = flags - MsgFlags::FASTOPEN;
        let begun = self.call(|host, now| {
            let remote = somebody(host, self.id, remote);
            host.connect_with(now, self.id, remote, data, flags)
        });
        let queued = match begun {
            Ok(queued) => queued,
            Err(Errno::EINPROGRESS) => 0,
            Err(errno) => return Err(errno),
        };
        self.connecting.store(true, Ordering::Relaxed);
        if dont_wait || self.is_nonblocking() {
            return begun;
        }
        let deadline = self.timeout(Direction::Write).map(|timeout| self.shared.clock.now() + timeout);
        let sockets = [(self.id, Direction::Write)];
        let op = |shard: &mut Shard, now: Instant| connected(&mut shard.host, now, self.id, Some(remote));
        self.shared.wait(On::Sockets(&sockets), deadline, op)?.ok_or(Errno::EINPROGRESS)?;
        if queued == data.len() {
            return Ok(queued);
        }
        Ok(queued + self.send(&data[queued..], flags, dont_wait)?)
    }

    pub fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.call(|host, now| host.shutdown(now, self.id, how))
    }

    /// Closes the socket. With a linger time this waits until the peer has everything, at most so long.
    pub fn close(&self) -> Result<(), Errno> {
        if self.closed.swap(true, Ordering::Relaxed) {
            return Err(Errno::EBADF);
        }
        if self.kind == Type::Stream {
            self.linger();
        }
        self.shared.call(|shard, now| {
            let result = shard.host.close(now, self.id);
            shard.forget(self.id);
            result
        })
    }

    fn linger(&self) {
        let asked = self.shared.call(|shard, now| {
            let host = &mut shard.host;
            let Opt::Linger(Some(time)) = host.option(self.id, OptName::Linger)? else { return Ok(None) };
            // Unread data turns the close into a reset; there is nothing to wait for.
            if time.is_zero() || host.bytes_readable(self.id)? > 0 {
                return Ok(None);
            }
            host.shutdown(now, self.id, Shutdown::Write)?;
            Ok(Some(now + time))
        });
        if let Ok(Some(deadline)) = asked {
            let op = |shard: &mut Shard, _| Ok((!shard.host.lingers(self.id)).then_some(()));
            // Acknowledged or not, the close goes on.
            let _ = self.shared.wait(On::Linger(Some(self.id)), Some(deadline), op);
        }
    }

    // --- questions and options -----------------------------------------------------------------------------------

    pub fn local_addr(&self) -> Result<SocketAddr, Errno> {
        self.call(|host, _| host.local_addr(self.id))
    }

    pub fn peer_addr(&self) -> Result<SocketAddr, Errno> {
        self.call(|host, _| host.peer_addr(self.id))
    }

    pub fn option(&self, name: OptName) -> Result<Opt, Errno> {
        self.call(|host, _| host.option(self.id, name))
    }

    pub fn set_option(&self, option: Opt) -> Result<(), Errno> {
        if let Opt::RcvLowat(octets) = option {
            self.rare().recv_lowat.store(octets.max(1), Ordering::Relaxed);
        }
        self.call(|host, now| host.set_option(now, self.id, option))
    }

    pub fn setting(&self, name: &str) -> io::Result<String> {
        let found = self.call(|host, _| Ok(host.socket_setting(self.id, name)))?;
        found.map_err(refused)
    }

    pub fn set_setting(&self, name: &str, value: &str) -> io::Result<()> {
        let done = self.call(|host, now| Ok(host.set_socket_setting(now, self.id, name, value)))?;
        done.map_err(refused)
    }

    /// The pending error (`SO_ERROR`), which is cleared by this.
    pub fn take_error(&self) -> Result<Option<i32>, Errno> {
        let code = read_option!(self, Error)?;
        Ok((code != 0).then_some(code))
    }

    /// The TTL of a socket that sets none.
    pub fn default_ttl(&self) -> u8 {
        let ttl = self.shared.lock().host.config().ip_default_ttl;
        u8::try_from(ttl).unwrap_or(u8::MAX)
    }

    pub fn readiness(&self) -> Readiness {
        let ended = Readiness::ERROR | Readiness::HANGUP | Readiness::READABLE | Readiness::WRITABLE;
        self.call(|host, _| Ok(host.readiness(self.id))).unwrap_or(ended)
    }
}

/// To send to the unspecified address is to send to oneself, as on Linux: to the address the socket is bound to, or to
/// the loopback address.
fn somebody(host: &Host, id: SocketId, remote: SocketAddr) -> SocketAddr {
    if !remote.ip().is_unspecified() {
        return remote;
    }
    let own = host.local_addr(id).map(|local| local.ip()).ok();
    let own = own.filter(|ip| !ip.is_unspecified() && ip.is_ipv4() == remote.is_ipv4());
    let loopback = match remote.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(own.unwrap_or(loopback), remote.port())
}

/// What a program is told when a setting is not to be had.
fn refused(error: SettingError) -> io::Error {
    match error {
        SettingError::Refused(errno) => errno.into(),
        SettingError::Name(_) | SettingError::Value(_) => io::Error::new(io::ErrorKind::InvalidInput, error),
    }
}

/// Did a pending connection attempt end? Asking for it again tells, once.
fn connected(
    host: &mut Host,
    now: Instant,
    id: SocketId,
    remote: Option<SocketAddr>,
) -> Result<Option<()>, Errno> {
    match host.connect(now, id, remote) {
        Ok(()) | Err(Errno::EISCONN) => Ok(Some(())),
        Err(Errno::EALREADY | Errno::EINPROGRESS) => Ok(None),
        Err(errno) => Err(errno),
    }
}
