//! Datagram sockets: what UDP (RFC 768) and ping sockets share. A ping socket's port is its echo identifier.
//!
//! Demultiplexing takes the most specific socket: connected, then bound to the address, then wildcard. Every queue is
//! bounded by `SO_RCVBUF`; what does not fit is dropped and counted. Nothing here writes packets: the host does.

use super::ports::{Binding, Ports, ReuseRule};
use crate::base::io::{PacketInfo, Readiness};
use crate::base::{Config, Errno, KeyedState, Rng};
use crate::trace::Flow;
use core::net::{IpAddr, SocketAddr};
use slotmap::SlotMap;
use std::collections::{HashMap, VecDeque};

slotmap::new_key_type! {
    /// A datagram socket of one host.
    pub struct DatagramId;
}

/// What a queued datagram costs besides its octets.
const OVERHEAD: usize = 128;

/// A datagram waiting to be received.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Where and how it arrived.
    pub info: PacketInfo,
    /// The text.
    pub data: Box<[u8]>,
}

/// An ICMP error kept for `MSG_ERRQUEUE` (`IP_RECVERR`).
#[derive(Clone, Debug)]
pub struct QueuedError {
    /// The error.
    pub errno: Errno,
    /// Who reported it.
    pub reporter: IpAddr,
    /// ICMP type and code.
    pub kind: (u8, u8),
    /// Where the datagram was going.
    pub destination: SocketAddr,
}

/// Errors kept per socket at most.
const ERROR_QUEUE: usize = 16;

/// One datagram socket.
#[derive(Debug)]
pub struct Socket {
    /// The owner's name for it.
    pub token: u64,
    /// Our end; port 0 while unbound, address unspecified for any.
    pub local: SocketAddr,
    /// The address `bind` chose, to which dissolving a connection goes back.
    bound: SocketAddr,
    /// Did nobody ask for this very port?
    port_chosen: bool,
    /// The peer, once connected.
    pub remote: Option<SocketAddr>,
    /// Options that demultiplexing and binding look at.
    pub flags: Flags,
    /// `SO_RCVBUF` in octets.
    pub rcv_buf: u32,
    /// Groups joined.
    pub groups: Vec<IpAddr>,
    queue: VecDeque<Datagram>,
    queued: usize,
    errors: VecDeque<QueuedError>,
    error: Option<Errno>,
    shut_read: bool,
    shut_write: bool,
    wakes: Readiness,
}

/// Options that demultiplexing and binding look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    /// `SO_REUSEADDR`.
    pub reuse_addr: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `IP_RECVERR`.
    pub recv_err: bool,
}

/// The datagram sockets of one protocol.
#[derive(Debug)]
pub struct Datagrams {
    sockets: SlotMap<DatagramId, Socket>,
    ports: Ports<DatagramId>,
    connected: HashMap<Flow, DatagramId, KeyedState>,
    woken: Vec<DatagramId>,
}

impl Datagrams {
    /// No sockets yet.
    pub fn new(rng: &mut Rng) -> Datagrams {
        Datagrams {
            sockets: SlotMap::with_key(),
            ports: Ports::new(ReuseRule::Always, rng),
            connected: HashMap::with_hasher(KeyedState::new(rng)),
            woken: Vec::new(),
        }
    }

    /// A fresh, unbound socket; `token` is its owner's name for it, `any` the wildcard of its family.
    pub fn open(&mut self, token: u64, any: IpAddr, config: &Config) -> DatagramId {
        let local = SocketAddr::new(any, 0);
        self.sockets.insert(Socket {
            token,
            local,
            bound: local,
            port_chosen: false,
            remote: None,
            flags: Flags::default(),
            rcv_buf: config.rmem_default,
            groups: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            errors: VecDeque::new(),
            error: None,
            shut_read: false,
            shut_write: false,
            wakes: Readiness::empty(),
        })
    }

    /// The socket.
    pub fn get(&self, id: DatagramId) -> Option<&Socket> {
        self.sockets.get(id)
    }

    /// The socket, to change its options.
    pub fn get_mut(&mut self, id: DatagramId) -> Option<&mut Socket> {
        self.sockets.get_mut(id)
    }

    /// Changes who may share its port and what it hears of errors.
    pub fn set_flags(&mut self, id: DatagramId, flags: Flags) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.flags = flags;
        self.ports.update(socket.local.port(), id, |binding| {
            binding.reuse_addr = flags.reuse_addr;
            binding.reuse_port = flags.reuse_port;
        });
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (DatagramId, &Socket)> {
        self.sockets.iter()
    }

    fn claim(&self, id: DatagramId, addr: IpAddr) -> Binding<DatagramId> {
        let Flags { reuse_addr, reuse_port, v6_only, recv_err: _ } = self.sockets[id].flags;
        Binding { id, addr, v6_only, reuse_addr, reuse_port, listening: false }
    }

    /// Binds to `local`; port 0 takes a free one.
    ///
    /// # Errors
    /// `EINVAL` when bound already, `EADDRINUSE` when the port is taken or none is left.
    pub fn bind(
        &mut self,
        config: &Config,
        rng: &mut Rng,
        id: DatagramId,
        local: SocketAddr,
    ) -> Result<(), Errno> {
        if self.sockets[id].local.port() != 0 {
            return Err(Errno::EINVAL);
        }
        let claim = self.claim(id, local.ip());
        let port = match local.port() {
            0 => self.ports.choose(config, rng, &claim).ok_or(Errno::EADDRINUSE)?,
            port if self.ports.is_free(port, &claim) => port,
            _ => return Err(Errno::EADDRINUSE),
        };
        self.ports.bind(port, claim);
        let socket = &mut self.sockets[id];
        socket.local = SocketAddr::new(local.ip(), port);
        socket.bound = socket.local;
        socket.port_chosen = local.port() == 0;
        Ok(())
    }

    /// Sets the peer, and our address if it was not bound. The socket has a port.
    pub fn connect(&mut self, id: DatagramId, local: IpAddr, remote: SocketAddr) {
        self.dissolve(id);
        let socket = &mut self.sockets[id];
        if socket.local.ip().is_unspecified() {
            socket.local.set_ip(local);
        }
        socket.remote = Some(remote);
        self.connected.insert(Flow { local: socket.local, remote }, id);
    }

    /// Undoes [`Datagrams::connect`].
    pub fn dissolve(&mut self, id: DatagramId) {
        let socket = &mut self.sockets[id];
        if let Some(remote) = socket.remote.take() {
            let flow = Flow { local: socket.local, remote };
            if self.connected.get(&flow) == Some(&id) {
                self.connected.remove(&flow);
            }
            socket.local.set_ip(socket.bound.ip());
        }
    }

    /// The socket has no peer any more, and as on Linux no port that it did not ask for.
    pub fn disconnect(&mut self, id: DatagramId) {
        self.dissolve(id);
        let socket = &mut self.sockets[id];
        if socket.port_chosen {
            self.ports.release(socket.local.port(), id);
            socket.port_chosen = false;
            socket.local.set_port(0);
            socket.bound = socket.local;
        }
    }

    /// Ends the socket; returns the groups it had joined.
    pub fn close(&mut self, id: DatagramId) -> Vec<IpAddr> {
        self.dissolve(id);
        let Some(socket) = self.sockets.remove(id) else { return Vec::new() };
        self.ports.release(socket.local.port(), id);
        socket.groups
    }

    /// The socket for a unicast datagram that arrived at `local` from `remote`.
    pub fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<DatagramId> {
        if let Some(&id) = self.connected.get(&Flow { local, remote }) {
            return Some(id);
        }
        let candidates = self.ports.bindings(local.port()).iter();
        candidates
            .filter(|binding| self.sockets[binding.id].remote.is_none() && takes(binding, local.ip()))
            // Of equally specific ones the one bound last, as on Linux; with SO_REUSEPORT spread by sender.
            .max_by_key(|binding| (specificity(binding), spread(binding, remote)))
            .map(|binding| binding.id)
    }

    /// All sockets for a datagram sent to a broadcast address or a group.
    pub fn find_all(&self, local: SocketAddr, remote: SocketAddr) -> Vec<DatagramId> {
        let candidates = self.ports.bindings(local.port()).iter();
        candidates
            .filter(|binding| {
                let socket = &self.sockets[binding.id];
                takes(binding, local.ip()) && socket.remote.is_none_or(|peer| peer == remote)
            })
            .filter(|binding| !local.ip().is_multicast() || self.is_member(binding.id, local.ip()))
            .map(|binding| binding.id)
            .collect()
    }

    fn is_member(&self, id: DatagramId, group: IpAddr) -> bool {
        // Everyone is in the all-hosts and all-nodes groups.
        let all = match group {
            IpAddr::V4(group) => group.octets() == [224, 0, 0, 1],
            IpAddr::V6(group) => matches!(group.segments(), [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1]),
        };
        all || self.sockets[id].groups.contains(&group)
    }

    /// Queues a datagram; `false` when the queue is full or shut.
    pub fn deliver(&mut self, id: DatagramId, datagram: Datagram) -> bool {
        let socket = &mut self.sockets[id];
        let cost = datagram.data.len() + OVERHEAD;
        if socket.queued + cost > socket.rcv_buf as usize {
            return false;
        }
        socket.queued += cost;
        socket.queue.push_back(datagram);
        self.wake(id, Readiness::READABLE);
        true
    }

    /// An ICMP error that quotes a datagram of ours. `false` when no socket sent it.
    pub fn on_icmp(&mut self, flow: &Flow, hard: bool, error: QueuedError) -> bool {
        let Some(id) = self.find(flow.local, flow.remote) else { return false };
        let socket = &mut self.sockets[id];
        if socket.flags.recv_err {
            if socket.errors.len() == ERROR_QUEUE {
                socket.errors.pop_front();
            }
            socket.errors.push_back(error.clone());
        } else if !hard || socket.remote.is_none() {
            // As on Linux: soft errors, and errors of unconnected sockets, only with IP_RECVERR.
            return true;
        }
        socket.error = Some(error.errno);
        self.wake(id, Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE);
        true
    }

    /// Every socket reports `error` from its next call (the link is gone).
    pub fn fail_all(&mut self, error: Errno) {
        let ids: Vec<DatagramId> = self.sockets.keys().collect();
        for id in ids {
            self.sockets[id].error = Some(error);
            self.wake(id, Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE);
        }
    }

    /// Shuts halves of a socket. As on Linux, one without a peer is shut too, and says `ENOTCONN` all the same.
    pub fn shutdown(&mut self, id: DatagramId, read: bool, write: bool) -> Result<(), Errno> {
        let socket = &mut self.sockets[id];
        socket.shut_read |= read;
        socket.shut_write |= write;
        let result = if socket.remote.is_some() { Ok(()) } else { Err(Errno::ENOTCONN) };
        self.wake(id, self.sockets[id].readiness());
        result
    }

    fn wake(&mut self, id: DatagramId, readiness: Readiness) {
        if self.sockets[id].wakes.is_empty() {
            self.woken.push(id);
        }
        self.sockets[id].wakes |= readiness;
    }

    /// The next socket that became ready for something, by its owner's name, and for what.
    pub fn pop_wake(&mut self) -> Option<(u64, Readiness)> {
        while let Some(id) = self.woken.pop() {
            if let Some(socket) = self.sockets.get_mut(id) {
                return Some((socket.token, core::mem::take(&mut socket.wakes)));
            }
        }
        None
    }
}

impl Socket {
    /// Takes the next datagram, or looks at it.
    ///
    /// # Errors
    /// The pending error once; `EAGAIN` when nothing waits.
    pub fn receive(&mut self, peek: bool) -> Result<Option<Datagram>, Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if peek && let Some(datagram) = self.queue.front() {
            return Ok(Some(datagram.clone()));
        }
        match self.queue.pop_front() {
            Some(datagram) => {
                self.queued -= datagram.data.len() + OVERHEAD;
                Ok(Some(datagram))
            }
            None if self.shut_read => Ok(None),
            None => Err(Errno::EAGAIN),
        }
    }

    /// Takes the oldest queued error.
    pub fn receive_error(&mut self) -> Option<QueuedError> {
        let error = self.errors.pop_front();
        self.error = self.errors.front().map(|next| next.errno);
        error
    }

    /// May it send? Reports the pending error once.
    pub fn check_send(&mut self) -> Result<(), Errno> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.shut_write => Err(Errno::EPIPE),
            None => Ok(()),
        }
    }

    /// Takes the pending error (`SO_ERROR`).
    pub fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Octets of the next datagram.
    pub fn bytes_readable(&self) -> usize {
        self.queue.front().map_or(0, |datagram| datagram.data.len())
    }

    /// Octets queued, overhead included.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// What `poll` says.
    pub fn readiness(&self) -> Readiness {
        let mut ready = Readiness::WRITABLE;
        ready.set(Readiness::READABLE, !self.queue.is_empty() || self.shut_read);
        ready.set(Readiness::ERROR, self.error.is_some() || !self.errors.is_empty());
        ready.set(Readiness::READ_HANGUP, self.shut_read);
        ready.set(Readiness::HANGUP, self.shut_read && self.shut_write);
        ready
    }
}

fn takes(binding: &Binding<DatagramId>, addr: IpAddr) -> bool {
    match binding.addr {
        IpAddr::V4(any) if any.is_unspecified() => addr.is_ipv4(),
        IpAddr::V6(any) if any.is_unspecified() => addr.is_ipv6() || !binding.v6_only,
        exact => exact == addr,
    }
}

fn specificity(binding: &Binding<DatagramId>) -> u8 {
    match (binding.addr.is_unspecified(), binding.addr) {
        (false, _) => 2,
        (true, IpAddr::V4(_)) => 1,
        (true, IpAddr::V6(_)) => 0,
    }
}

/// Spreads senders over the sockets of a `SO_REUSEPORT` group (rendezvous hashing); 0 for all others.
fn spread(binding: &Binding<DatagramId>, remote: SocketAddr) -> u64 {
    if !binding.reuse_port {
        return 0;
    }
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&slotmap::Key::data(&binding.id).as_ffi().to_le_bytes());
    seed[8..10].copy_from_slice(&remote.port().to_le_bytes());
    crate::base::Key(super::ports::v6_octets(remote.ip())).hash(&seed)
}

#[cfg(test)]
mod tests;
