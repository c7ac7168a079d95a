//! Listening sockets (RFC 9293 §3.10.1, LISTEN of §3.10.7.2): SYN queue, accept queue, backlog.
//!
//! A listener is not a connection: it holds none of the variables of one. Connections that have not finished the
//! handshake belong to it by id; finished ones wait in the accept queue. Invariant: every id in either is live.

use super::Settings;
use super::fast_open::server::Pending;
use super::table::ConnId;
use crate::base::{Config, Duration, Instant};
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

slotmap::new_key_type! {
    /// A listener of one host.
    pub struct ListenerId;
}

/// What a socket asks for when it begins to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// The owner's name for the socket.
    pub token: u64,
    /// Where it listens; unspecified for any address.
    pub local: SocketAddr,
    /// An IPv6 wildcard that leaves IPv4 alone.
    pub v6_only: bool,
    /// `SO_REUSEADDR`, inherited by its connections.
    pub reuse_addr: bool,
    /// Connections that may wait in the accept queue.
    pub backlog: u32,
    /// `TCP_DEFER_ACCEPT`: wait this long for data before a connection is handed out; zero: do not.
    pub defer_accept: Duration,
    /// `TCP_FASTOPEN`: connections that may be handed out before their handshake is complete; 0: none.
    pub fast_open: u32,
    /// Inherited by its connections.
    pub settings: Arc<Settings>,
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    /// What it was opened with; may be changed while it listens.
    pub options: ListenOptions,
    /// Connections in SYN-RECEIVED.
    pub(super) embryos: BTreeSet<ConnId>,
    /// Connections ready for accept, oldest first.
    pub(super) accept_queue: VecDeque<ConnId>,
    /// When the last SYN was answered with a cookie.
    pub(super) last_cookie: Option<Instant>,
    /// Connections handed out before their handshake was complete.
    pub(super) pending: Pending,
}

impl Listener {
    pub(super) fn new(options: ListenOptions) -> Listener {
        Listener {
            options,
            embryos: BTreeSet::new(),
            accept_queue: VecDeque::new(),
            last_cookie: None,
            pending: Pending::default(),
        }
    }

    /// Connections ready for accept.
    pub fn waiting(&self) -> usize {
        self.accept_queue.len()
    }

    /// Is there no room for another finished connection? As on Linux one more than the backlog fits.
    pub(super) fn is_full(&self) -> bool {
        self.accept_queue.len() > self.options.backlog as usize
    }

    /// Is there no room for another half-open connection? Of them, too, one more than the backlog fits.
    pub(super) fn is_syn_queue_full(&self, config: &Config) -> bool {
        let most = (self.options.backlog as usize).saturating_add(1).min(config.tcp_max_syn_backlog as usize);
        self.embryos.len() >= most
    }

    /// How well it fits a SYN to `addr`: 0 not at all, higher is more specific.
    pub(super) fn specificity(&self, addr: IpAddr) -> u8 {
        match self.options.local.ip() {
            IpAddr::V4(any) if any.is_unspecified() => 2 * u8::from(addr.is_ipv4()),
            IpAddr::V6(any) if any.is_unspecified() => u8::from(addr.is_ipv6() || !self.options.v6_only),
            exact => 3 * u8::from(exact == addr),
        }
    }
}
