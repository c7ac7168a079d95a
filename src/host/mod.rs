//! The whole host without any input or output of its own: packets, time and randomness come in as arguments,
//! packets, deadlines and events come out as values.
//!
//! One thread, no lock, no clock, no system call. Everything that decides what goes on the wire is in here.
//!
//! The socket calls are POSIX's in non-blocking form: they return at once, with `EAGAIN` or `EINPROGRESS` where a
//! blocking call would wait, and the same error numbers as Linux otherwise. Waiting is the caller's business.

mod types;

use crate::base::Instant;
pub use crate::base::io::{MsgFlags, PacketInfo, Readiness};
pub use crate::base::{Cidr, Config, Counters, Errno};
use crate::trace::Sink;
pub use crate::transport::tcp::TcpInfo;
pub use crate::wire::packet::*;
use core::net::{IpAddr, SocketAddr};
pub use types::*;

/// A TCP/IP host.
pub struct Host {}

/// Readiness that a socket gained. Edges only: once per change from not ready to ready, and again when more arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The socket.
    pub socket: SocketId,
    /// What it is newly ready for.
    pub readiness: Readiness,
}

/// One line of `ss`: a socket at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketSnapshot {
    /// The socket; `None` for connections that no socket holds any more.
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

#[allow(unused_variables, missing_docs)]
impl Host {
    /// A host with these settings. All its randomness comes from `seed`: the same seed and the same calls give the
    /// same packets. Use a secret random seed on a real network.
    pub fn new(config: Config, seed: [u8; 16]) -> Host {
        todo!()
    }

    // --- packets, time, events -------------------------------------------------------------------------------

    /// A packet arrived.
    pub fn receive(&mut self, now: Instant, packet: &[u8], meta: RxMeta) {
        todo!()
    }
    /// The next packet to send, if any. Call until `None` after every batch of input.
    pub fn transmit(&mut self, now: Instant) -> Option<TxPacket<'_>> {
        todo!()
    }
    /// A deadline has passed.
    pub fn advance(&mut self, now: Instant) {
        todo!()
    }
    /// When to call `advance` next at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// The next readiness event.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    /// Is there, as far as is known now, anything for `transmit` to send?
    pub fn has_output(&self) -> bool {
        todo!()
    }

    // --- configuration ---------------------------------------------------------------------------------------

    pub fn config(&self) -> &Config {
        todo!()
    }
    pub fn config_mut(&mut self) -> &mut Config {
        todo!()
    }
    pub fn counters(&self) -> &Counters {
        todo!()
    }
    pub fn counters_mut(&mut self) -> &mut Counters {
        todo!()
    }
    /// Sends the trace to `sink`, or switches it off.
    pub fn set_trace(&mut self, sink: Option<Box<dyn Sink>>) {
        todo!()
    }
    /// Tells the host what its link can do; may change at any time (an MTU that was lowered takes effect at once).
    pub fn set_link(&mut self, now: Instant, link: Link) {
        todo!()
    }
    pub fn link(&self) -> Link {
        todo!()
    }
    /// The link is gone for good: every socket ends with `error`.
    pub fn fail_all(&mut self, now: Instant, error: Errno) {
        todo!()
    }
    /// Adds an address with its on-link prefix. `EINVAL` for one that no host can have.
    pub fn add_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        todo!()
    }
    pub fn remove_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        todo!()
    }
    pub fn addresses(&self) -> &[Cidr] {
        todo!()
    }
    /// Adds a route to `destination` through `gateway` (`None`: directly). `0.0.0.0/0` and `::/0` are default routes.
    pub fn add_route(&mut self, destination: Cidr, gateway: Option<IpAddr>) -> Result<(), Errno> {
        todo!()
    }
    /// The default gateway of each family, if set.
    pub fn gateways(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        todo!()
    }
    /// The address that a packet to `destination` would be sent from. `ENETUNREACH` without a route.
    pub fn source_for(&self, destination: IpAddr) -> Result<IpAddr, Errno> {
        todo!()
    }

    // --- sockets ---------------------------------------------------------------------------------------------

    pub fn socket(&mut self, domain: Domain, kind: Type) -> Result<SocketId, Errno> {
        todo!()
    }
    pub fn bind(&mut self, id: SocketId, local: SocketAddr) -> Result<(), Errno> {
        todo!()
    }
    pub fn listen(&mut self, now: Instant, id: SocketId, backlog: u32) -> Result<(), Errno> {
        todo!()
    }
    /// `EAGAIN` when no connection waits.
    pub fn accept(&mut self, now: Instant, id: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        todo!()
    }
    /// TCP: `EINPROGRESS` at first; once the socket is writable, `Opt::Error` tells how it went (a second call gives
    /// `EALREADY` while pending, then 0 once, then `EISCONN`). Datagram sockets: sets the peer. `None` dissolves
    /// (`AF_UNSPEC`).
    pub fn connect(&mut self, now: Instant, id: SocketId, remote: Option<SocketAddr>) -> Result<(), Errno> {
        todo!()
    }
    pub fn send(&mut self, now: Instant, id: SocketId, data: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        todo!()
    }
    pub fn recv(
        &mut self,
        now: Instant,
        id: SocketId,
        buf: &mut [u8],
        flags: MsgFlags,
    ) -> Result<Received, Errno> {
        todo!()
    }
    /// A datagram to `to` (`None`: to the connected peer), with source, TTL and TOS from `info` where given.
    pub fn send_to(
        &mut self,
        now: Instant,
        id: SocketId,
        data: &[u8],
        to: Option<SocketAddr>,
        info: PacketInfo,
    ) -> Result<usize, Errno> {
        todo!()
    }
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        todo!()
    }
    /// Ends the socket; a connection with `Linger(Some(ZERO))` or unread data is reset, others close in the
    /// background. (A positive linger time is waited for by the caller, see [`Host::lingers`].)
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        todo!()
    }
    /// Resets the connection and ends the socket.
    pub fn abort(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        todo!()
    }
    /// Has the socket data or a FIN that the peer has not acknowledged?
    pub fn lingers(&self, id: SocketId) -> bool {
        todo!()
    }
    pub fn set_option(&mut self, now: Instant, id: SocketId, option: Opt) -> Result<(), Errno> {
        todo!()
    }
    pub fn option(&mut self, id: SocketId, name: OptName) -> Result<Opt, Errno> {
        todo!()
    }
    pub fn local_addr(&self, id: SocketId) -> Result<SocketAddr, Errno> {
        todo!()
    }
    pub fn peer_addr(&self, id: SocketId) -> Result<SocketAddr, Errno> {
        todo!()
    }
    /// Everything the socket is ready for now.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        todo!()
    }
    /// Octets that recv would return at once (`FIONREAD`).
    pub fn bytes_readable(&self, id: SocketId) -> Result<usize, Errno> {
        todo!()
    }
    /// Is the next octet to be received the one after the urgent mark (`SIOCATMARK`)?
    pub fn at_mark(&self, id: SocketId) -> Result<bool, Errno> {
        todo!()
    }
    pub fn domain(&self, id: SocketId) -> Result<(Domain, Type), Errno> {
        todo!()
    }
    /// The connection behind a socket, as `getsockopt(TCP_INFO)`.
    pub fn tcp_info(&self, id: SocketId) -> Result<TcpInfo, Errno> {
        todo!()
    }
    /// All sockets and socketless connections, as `ss -a` lists them.
    pub fn sockets(&self) -> Vec<SocketSnapshot> {
        todo!()
    }
}
