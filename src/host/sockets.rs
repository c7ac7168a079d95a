//! The table of sockets: what each one is, and the options that are not a protocol's own.

use super::{Domain, Errno, SocketId, Type};
use crate::base::io::MtuDiscover;
use crate::base::{Config, Duration};
use crate::transport::datagram::DatagramId;
use crate::transport::tcp::{ConnId, ListenerId, Settings};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use slotmap::{Key, KeyData, SlotMap};
use std::sync::Arc;

/// A socket: small, for there may be a million.
#[derive(Debug)]
pub(super) struct Socket {
    pub domain: Domain,
    pub kind: Kind,
    /// Shared by all sockets with the same options (a listener and what it accepted).
    pub options: Arc<Options>,
}

/// What a socket is at the moment.
#[derive(Debug)]
pub(super) enum Kind {
    /// TCP, not connected and not listening.
    Fresh(Box<Fresh>),
    /// TCP, listening.
    Listener(ListenerId),
    /// TCP, with a connection in some state.
    Connection { id: ConnId, progress: Progress, bound_port: u16 },
    /// UDP.
    Udp(DatagramId),
    /// ICMP echo.
    Ping(DatagramId),
}

/// What `connect` reports next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The handshake goes on, or its outcome was not fetched yet.
    Connecting,
    /// The outcome was success and was reported (or the connection was accepted).
    Connected,
}

/// A TCP socket before it has a connection.
#[derive(Debug)]
pub(super) struct Fresh {
    /// Where it is bound; port 0 while it is not.
    pub local: SocketAddr,
    /// The wildcard, or the address that `bind` was called with.
    pub settings: Settings,
    /// Why the last attempt failed.
    pub error: Option<Errno>,
}

/// Options that are not a protocol's own.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub reuse_addr: bool,
    pub reuse_port: bool,
    pub linger: Option<Duration>,
    pub broadcast: bool,
    pub dont_route: bool,
    pub v6_only: bool,
    pub recv_err: bool,
    pub recv_pktinfo: bool,
    pub recv_ttl: bool,
    pub recv_tos: bool,
    pub priority: u32,
    pub tos: u8,
    pub ttl: u8,
    pub multicast_ttl: u8,
    pub multicast_loop: bool,
    pub mtu_discover: MtuDiscover,
    pub udp_segment: u16,
    pub defer_accept: Duration,
    pub fast_open: u32,
    pub fast_open_connect: bool,
    pub snd_buf: u32,
    pub rcv_lowat: u32,
}

impl Options {
    pub fn new(config: &Config) -> Options {
        Options {
            reuse_addr: false,
            reuse_port: false,
            linger: None,
            broadcast: false,
            dont_route: false,
            v6_only: false,
            recv_err: false,
            recv_pktinfo: false,
            recv_ttl: false,
            recv_tos: false,
            priority: 0,
            tos: 0,
            ttl: config.ip_default_ttl.min(255) as u8,
            multicast_ttl: 1,
            multicast_loop: true,
            mtu_discover: if config.ip_no_pmtu_disc { MtuDiscover::Dont } else { MtuDiscover::Want },
            udp_segment: 0,
            defer_accept: Duration::ZERO,
            fast_open: 0,
            fast_open_connect: false,
            // Linux counts bookkeeping in; reading the option shows twice this.
            snd_buf: config.wmem_default / 2,
            rcv_lowat: 1,
        }
    }
}

/// All sockets of a host.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    table: SlotMap<SocketId, Socket>,
}

impl Sockets {
    pub fn insert(&mut self, make: impl FnOnce(u64) -> Socket) -> SocketId {
        self.table.insert_with_key(|id| make(token(id)))
    }

    pub fn get(&self, id: SocketId) -> Result<&Socket, Errno> {
        self.table.get(id).ok_or(Errno::EBADF)
    }

    pub fn get_mut(&mut self, id: SocketId) -> Result<&mut Socket, Errno> {
        self.table.get_mut(id).ok_or(Errno::EBADF)
    }

    pub fn remove(&mut self, id: SocketId) -> Result<Socket, Errno> {
        self.table.remove(id).ok_or(Errno::EBADF)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &Socket)> {
        self.table.iter()
    }
}

/// The name by which transports know a socket.
pub(super) fn token(id: SocketId) -> u64 {
    id.data().as_ffi()
}

/// The socket of that name.
pub(super) fn from_token(token: u64) -> SocketId {
    KeyData::from_ffi(token).into()
}

impl Socket {
    /// The kind that it was made as.
    pub fn kind(&self) -> Type {
        match self.kind {
            Kind::Fresh(_) | Kind::Listener(_) | Kind::Connection { .. } => Type::Stream,
            Kind::Udp(_) => Type::Dgram,
            Kind::Ping(_) => Type::Ping,
        }
    }

    /// The wildcard address of its family.
    pub fn any(&self) -> IpAddr {
        any(self.domain)
    }

    /// The address as the protocols know it: IPv4-mapped ones become IPv4.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` for an address of the other family, `ENETUNREACH` for IPv4 on an IPv6-only socket.
    pub fn canonical(&self, addr: SocketAddr) -> Result<SocketAddr, Errno> {
        match (self.domain, addr) {
            (Domain::Inet, SocketAddr::V4(_)) => Ok(addr),
            (Domain::Inet, SocketAddr::V6(_)) => Err(Errno::EAFNOSUPPORT),
            (Domain::Inet6, SocketAddr::V4(_)) => Err(Errno::EAFNOSUPPORT),
            (Domain::Inet6, SocketAddr::V6(v6)) => match v6.ip().to_ipv4_mapped() {
                Some(_) if self.options.v6_only => Err(Errno::ENETUNREACH),
                Some(v4) => Ok(SocketAddr::new(v4.into(), v6.port())),
                None => Ok(SocketAddr::new((*v6.ip()).into(), v6.port())),
            },
        }
    }

    /// The address as the user sees it: on an IPv6 socket, IPv4 is IPv4-mapped.
    pub fn shown(&self, addr: SocketAddr) -> SocketAddr {
        match (self.domain, addr) {
            (Domain::Inet6, SocketAddr::V4(v4)) => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            (Domain::Inet | Domain::Inet6, _) => addr,
        }
    }
}

/// The wildcard address of a family.
pub(super) fn any(domain: Domain) -> IpAddr {
    match domain {
        Domain::Inet => Ipv4Addr::UNSPECIFIED.into(),
        Domain::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
