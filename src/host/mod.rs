//! The whole host without any input or output of its own: packets, time and randomness come in as arguments,
//! packets, deadlines and events come out as values.
//!
//! One thread, no lock, no clock, no system call. Everything that decides what goes on the wire is in here.
//!
//! The socket calls are POSIX's in non-blocking form: they return at once, with `EAGAIN` or `EINPROGRESS` where a
//! blocking call would wait, and the same error numbers as Linux otherwise. Waiting is the caller's business.

mod calls;
mod cut;
mod data;
mod input;
mod options;
mod output;
mod settings;
mod snapshot;
mod sockets;
mod strays;
mod types;

pub use crate::base::io::{MsgFlags, MtuDiscover, PacketInfo, Readiness};
pub use crate::base::pool::PacketBuf;
pub use crate::base::{Cidr, Config, Counters, Errno};
use crate::base::{Duration, Instant, Pool, Rng};
use crate::network::{Env, Network};
use crate::trace::{Sink, Tracer};
use crate::transport::datagram::Datagrams;
use crate::transport::tcp::Tcp;
pub use crate::transport::tcp::TcpInfo;
pub use crate::wire::packet::*;
use core::net::IpAddr;
use output::Scratch;
pub use settings::SettingError;
pub use snapshot::SocketSnapshot;
use sockets::Sockets;
use std::collections::VecDeque;
pub use strays::Stray;
use strays::Strays;
pub use types::*;

/// A TCP/IP host.
pub struct Host {
    common: Common,
    link: Link,
    net: Network,
    tcp: Tcp,
    udp: Datagrams,
    ping: Datagrams,
    sockets: Sockets,
    strays: Strays,
    events: VecDeque<Event>,
    scratch: Scratch,
}

/// What every protocol is lent.
struct Common {
    config: Config,
    counters: Counters,
    rng: Rng,
    pool: Pool,
    trace: Tracer,
    /// The latest time that a call brought.
    now: Instant,
    challenge_budget: u32,
    /// The second for which `challenge_budget` counts.
    challenge_second: u64,
}

impl Common {
    fn env(&mut self, now: Instant) -> Env<'_> {
        self.now = now;
        let second = now.as_millis() / 1000;
        if second != self.challenge_second {
            self.challenge_second = second;
            self.challenge_budget = self.config.tcp_challenge_ack_limit;
        }
        let Common { config, counters, rng, pool, trace, challenge_budget, now: _, challenge_second: _ } =
            self;
        Env { now, config, counters, rng, pool, trace, challenge_budget }
    }
}

/// Readiness that a socket gained. Edges only: once per change from not ready to ready, and again when more arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The socket.
    pub socket: SocketId,
    /// What it is newly ready for.
    pub readiness: Readiness,
}

impl Host {
    /// A host with these settings. All its randomness comes from `seed`: the same seed and the same calls give the
    /// same packets. Use a secret random seed on a real network.
    pub fn new(config: Config, seed: [u8; 16]) -> Host {
        let mut rng = Rng::new(seed);
        Host {
            link: Link::plain(1500),
            net: Network::new(&mut rng),
            tcp: Tcp::new(&mut rng),
            udp: Datagrams::new(&mut rng),
            ping: Datagrams::new(&mut rng),
            sockets: Sockets::default(),
            strays: Strays::default(),
            events: VecDeque::new(),
            scratch: Scratch::default(),
            common: Common {
                challenge_budget: config.tcp_challenge_ack_limit,
                challenge_second: 0,
                now: Instant::ZERO,
                config,
                counters: Counters::default(),
                rng,
                pool: Pool::default(),
                trace: Tracer::default(),
            },
        }
    }

    // --- time and events ---------------------------------------------------------------------------------------

    /// A deadline has passed.
    pub fn advance(&mut self, now: Instant) {
        let mut env = self.common.env(now);
        self.net.advance(&mut env);
        self.tcp.advance(&mut env);
        self.collect_events();
    }

    /// When to call [`Host::advance`] next at the latest. May be early, never late.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.net.next_timeout(), self.tcp.next_timeout()].into_iter().flatten().min()
    }

    /// The next readiness event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // --- configuration -----------------------------------------------------------------------------------------

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.common.config
    }

    /// The settings, to change them. Sockets take their defaults when they are made.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.common.config
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.common.counters
    }

    /// The counters, for the driver of a device to add what it alone sees.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.common.counters
    }

    /// Sends the trace to `sink`, or switches it off.
    pub fn set_trace(&mut self, sink: Option<Box<dyn Sink>>) {
        self.common.trace.set(sink);
    }

    /// Does anybody get the trace?
    pub(crate) fn is_traced(&self) -> bool {
        self.common.trace.is_on()
    }

    /// Tells the host what its link can do. An MTU that was lowered takes effect at once.
    pub fn set_link(&mut self, now: Instant, link: Link) {
        let mtu_changed = self.link.mtu != link.mtu;
        self.link = link;
        self.net.set_link(link.mtu);
        if mtu_changed {
            self.scratch.drop_run();
            let Host { common, net, tcp, .. } = self;
            tcp.path_mtu_changed(&mut common.env(now), |remote| net.path_mtu(now, remote));
        }
        self.collect_events();
    }

    /// The link as told last.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Packs all connections that can be, as those of a host with many are.
    #[cfg(test)]
    pub(crate) fn pack_all(&mut self) {
        self.tcp.pack_all();
    }

    /// The link is gone for good: every socket ends with `error`, and nothing is sent.
    pub fn fail_all(&mut self, now: Instant, error: Errno) {
        self.tcp.fail_all(&mut self.common.env(now), error);
        self.udp.fail_all(error);
        self.ping.fail_all(error);
        self.collect_events();
    }

    /// Adds an address with its on-link prefix.
    ///
    /// # Errors
    /// `EINVAL` for one that no host can have, `EADDRINUSE` for one that is there.
    pub fn add_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        self.net.add_address(cidr)
    }

    /// Takes an address away. Connections that use it keep it until they end.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when it is not there.
    pub fn remove_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        self.net.remove_address(cidr)
    }

    /// All addresses, in the order they were added.
    pub fn addresses(&self) -> &[Cidr] {
        self.net.addresses()
    }

    /// Adds a route to `destination` through `gateway` (`None`: directly). `0.0.0.0/0` and `::/0` are default routes.
    ///
    /// # Errors
    /// `EINVAL` when the gateway is none for this destination.
    pub fn add_route(&mut self, destination: Cidr, gateway: Option<IpAddr>) -> Result<(), Errno> {
        self.net.add_route(destination, gateway)
    }

    /// The default gateway of each family, if set.
    pub fn gateways(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        self.net.gateways()
    }

    /// The address that a packet to `destination` would be sent from.
    ///
    /// # Errors
    /// `ENETUNREACH` without a route.
    pub fn source_for(&self, destination: IpAddr) -> Result<IpAddr, Errno> {
        self.net.source_for(destination)
    }

    /// Largest packet to `destination` that is thought to arrive in one piece.
    pub fn path_mtu(&self, now: Instant, destination: IpAddr) -> u32 {
        self.net.path_mtu(now, destination)
    }

    /// Turns what the transports noted into events of sockets.
    fn collect_events(&mut self) {
        while let Some((token, readiness)) = self.tcp.pop_wake() {
            self.push_event(sockets::from_token(token), readiness);
        }
        while let Some((token, readiness)) = self.udp.pop_wake().or_else(|| self.ping.pop_wake()) {
            self.push_event(sockets::from_token(token), readiness);
        }
    }

    fn push_event(&mut self, socket: SocketId, readiness: Readiness) {
        // One event per burst: the same socket again only adds to the event that waits already.
        if let Some(last) = self.events.back_mut()
            && last.socket == socket
        {
            last.readiness |= readiness;
        } else {
            self.events.push_back(Event { socket, readiness });
        }
    }
}

impl core::fmt::Debug for Host {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Host").field("addresses", &self.addresses()).field("link", &self.link).finish()
    }
}

/// How long `CORK` and the like may hold data is TCP's; this is only the unit that POSIX options use.
const fn seconds(value: u32) -> Duration {
    Duration::from_secs(value as u64)
}

#[cfg(test)]
mod tests;
