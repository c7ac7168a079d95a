//! Ports in use and the choice of free ones (RFC 6056, `bind(2)` as on Linux).
//!
//! One table per protocol. It knows bound sockets by address and options, and, for TCP, how many connections use a
//! port (they outlive their sockets). Invariant: no entry for a port that nobody uses.

use crate::base::{Config, Key, KeyedState, Rng};
use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;

/// A socket's claim on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<Id> {
    /// The socket.
    pub id: Id,
    /// The address bound to; unspecified for any.
    pub addr: IpAddr,
    /// An IPv6 wildcard that leaves IPv4 alone.
    pub v6_only: bool,
    /// `SO_REUSEADDR`.
    pub reuse_addr: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// A listening TCP socket.
    pub listening: bool,
}

/// Connections on one port and local address.
#[derive(Clone, Copy, Debug)]
struct Usage {
    addr: IpAddr,
    total: u32,
    /// How many of them had no `SO_REUSEADDR`.
    no_reuse: u32,
}

/// How a protocol treats `SO_REUSEADDR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseRule {
    /// TCP: shared unless one of the two listens.
    UnlessListening,
    /// UDP: shared when both ask for it.
    Always,
}

/// The ports of one protocol.
#[derive(Debug)]
pub struct Ports<Id> {
    rule: ReuseRule,
    bindings: HashMap<u16, Vec<Binding<Id>>, KeyedState>,
    usage: HashMap<u16, Vec<Usage>, KeyedState>,
    /// RFC 6056 §3.3.4: secrets and counters of the double-hash choice.
    offset_key: Key,
    index_key: Key,
    counters: Vec<u16>,
}

const COUNTERS: usize = 256;

impl<Id: Copy + PartialEq> Ports<Id> {
    /// An empty table with secrets of its own.
    pub fn new(rule: ReuseRule, rng: &mut Rng) -> Ports<Id> {
        Ports {
            rule,
            bindings: HashMap::with_hasher(KeyedState::new(rng)),
            usage: HashMap::with_hasher(KeyedState::new(rng)),
            offset_key: rng.key(),
            index_key: rng.key(),
            counters: (0..COUNTERS).map(|_| rng.next_u32() as u16).collect(),
        }
    }

    /// May `claim` have `port`?
    pub fn is_free(&self, port: u16, claim: &Binding<Id>) -> bool {
        let bound = self.bindings.get(&port).into_iter().flatten();
        let used = self.usage.get(&port).into_iter().flatten();
        bound
            .filter(|other| other.id != claim.id && overlap(claim, other))
            .all(|other| self.may_share(claim, other))
            && used
                .filter(|usage| covers(claim, usage.addr))
                .all(|usage| claim.reuse_addr && usage.no_reuse == 0)
    }

    fn may_share(&self, claim: &Binding<Id>, other: &Binding<Id>) -> bool {
        let by_addr = claim.reuse_addr
            && other.reuse_addr
            && match self.rule {
                ReuseRule::Always => true,
                ReuseRule::UnlessListening => !other.listening && !claim.listening,
            };
        by_addr || (claim.reuse_port && other.reuse_port)
    }

    /// Claims `port`. The caller has asked [`Ports::is_free`].
    pub fn bind(&mut self, port: u16, claim: Binding<Id>) {
        self.bindings.entry(port).or_default().push(claim);
    }

    /// Gives `port` back.
    pub fn release(&mut self, port: u16, id: Id) {
        if let Some(bindings) = self.bindings.get_mut(&port) {
            bindings.retain(|binding| binding.id != id);
            if bindings.is_empty() {
                self.bindings.remove(&port);
            }
        }
    }

    /// Changes a claim that `id` holds on `port`.
    pub fn update(&mut self, port: u16, id: Id, change: impl FnOnce(&mut Binding<Id>)) {
        let bindings = self.bindings.get_mut(&port).into_iter().flatten();
        if let Some(binding) = bindings.into_iter().find(|binding| binding.id == id) {
            change(binding);
        }
    }

    /// The claims on `port`.
    pub fn bindings(&self, port: u16) -> &[Binding<Id>] {
        self.bindings.get(&port).map_or(&[], Vec::as_slice)
    }

    /// A connection uses `local` from now on.
    pub fn add_connection(&mut self, local: SocketAddr, reuse: bool) {
        let list = self.usage.entry(local.port()).or_default();
        let usage = match list.iter().position(|usage| usage.addr == local.ip()) {
            Some(at) => &mut list[at],
            None => {
                list.push(Usage { addr: local.ip(), total: 0, no_reuse: 0 });
                list.last_mut().expect("just pushed")
            }
        };
        usage.total += 1;
        usage.no_reuse += u32::from(!reuse);
    }

    /// A connection does not use `local` any more.
    pub fn remove_connection(&mut self, local: SocketAddr, reuse: bool) {
        let Some(list) = self.usage.get_mut(&local.port()) else { return };
        if let Some(at) = list.iter().position(|usage| usage.addr == local.ip()) {
            list[at].total = list[at].total.saturating_sub(1);
            list[at].no_reuse = list[at].no_reuse.saturating_sub(u32::from(!reuse));
            if list[at].total == 0 {
                list.swap_remove(at);
            }
        }
        if list.is_empty() {
            self.usage.remove(&local.port());
        }
    }

    /// A free port for a socket that asks for any, unpredictable; `None` when the range is exhausted.
    pub fn choose(&self, config: &Config, rng: &mut Rng, claim: &Binding<Id>) -> Option<u16> {
        // RFC 6056 §3.3.1: a random place to start, then the next free one.
        let start = rng.next_u32();
        candidates(config, start)
            .find(|&port| !config.ip_local_reserved_ports.contains(&port) && self.is_free(port, claim))
    }

    /// A port for a connection from `local` to `remote` for which `is_unused` holds (the four-tuple is free).
    ///
    /// RFC 6056 §3.3.4, double-hash: unpredictable across peers, increasing towards one peer.
    pub fn choose_for(
        &mut self,
        config: &Config,
        local: IpAddr,
        remote: SocketAddr,
        is_unused: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let tuple = tuple_octets(local, remote);
        let index = self.index_key.hash(&tuple) as usize % COUNTERS;
        let start = (self.offset_key.hash(&tuple) as u32).wrapping_add(u32::from(self.counters[index]));
        let (tried, port) = candidates(config, start).enumerate().find(|&(_, port)| {
            !config.ip_local_reserved_ports.contains(&port)
                && self.bindings(port).is_empty()
                && is_unused(port)
        })?;
        self.counters[index] = self.counters[index].wrapping_add(tried as u16).wrapping_add(1);
        Some(port)
    }
}

/// All ports of the ephemeral range, once each, from a place that `start` names.
fn candidates(config: &Config, start: u32) -> impl Iterator<Item = u16> {
    let [low, high] = config.ip_local_port_range;
    let span = high - low + 1;
    (0..span).map(move |step| (low + (start % span + step) % span) as u16)
}

fn tuple_octets(local: IpAddr, remote: SocketAddr) -> [u8; 34] {
    let mut octets = [0; 34];
    octets[..16].copy_from_slice(&v6_octets(local));
    octets[16..32].copy_from_slice(&v6_octets(remote.ip()));
    octets[32..].copy_from_slice(&remote.port().to_be_bytes());
    octets
}

/// An address as 16 octets, IPv4 as IPv4-mapped.
pub fn v6_octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Does the claim cover packets to `addr`?
fn covers<Id>(claim: &Binding<Id>, addr: IpAddr) -> bool {
    match claim.addr {
        IpAddr::V4(any) if any.is_unspecified() => addr.is_ipv4(),
        IpAddr::V6(any) if any.is_unspecified() => addr.is_ipv6() || !claim.v6_only,
        exact => exact == addr,
    }
}

fn overlap<Id>(a: &Binding<Id>, b: &Binding<Id>) -> bool {
    match (a.addr.is_unspecified(), b.addr.is_unspecified()) {
        (true, true) => a.addr.is_ipv4() == b.addr.is_ipv4() || (!a.v6_only && !b.v6_only),
        (true, false) => covers(a, b.addr),
        (false, _) => covers(b, a.addr),
    }
}

#[cfg(test)]
mod tests;
