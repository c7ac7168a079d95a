//! Internet layer: IPv4 (RFC 791), IPv6 (RFC 8200), ICMP (RFC 792, RFC 4443), fragments, routes and path MTUs.
//!
//! A host on a point-to-point link: it never forwards, has no neighbours to discover, and every route ends at the
//! device. Source routes, redirects and router discovery are deliberately left out.

mod address;
mod env;
mod icmp;
mod identification;
mod ipv4;
mod ipv6;
mod output;
mod path_mtu;
mod reassembly;
mod route;
mod types;

use crate::base::{Cidr, Config, Errno, Instant, Rng};
use crate::trace::{Drop, Reason};
use crate::wire::{icmp as icmp_wire, tcp, udp};
use address::Addresses;
use core::net::IpAddr;
pub use env::Env;
use icmp::ErrorBudget;
use identification::Identifications;
use output::{FlowLabels, Output};
use path_mtu::{MIN_V6_MTU, PathMtus};
use reassembly::Reassembly;
use route::Routes;
pub use types::*;

/// What a packet to ourselves may have at most.
const LOOPBACK_MTU: u32 = 65535;

/// The internet layer of one host.
#[derive(Debug)]
pub struct Network {
    link_mtu: u32,
    addresses: Addresses,
    routes: Routes,
    paths: PathMtus,
    identifications: Identifications,
    flow_labels: FlowLabels,
    reassembly: Reassembly,
    error_budget: ErrorBudget,
    output: Output,
}

impl Network {
    /// A network without addresses on a link of 1500 octets.
    pub fn new(rng: &mut Rng) -> Network {
        Network {
            link_mtu: 1500,
            addresses: Addresses::default(),
            routes: Routes::default(),
            paths: PathMtus::new(rng),
            identifications: Identifications::new(rng),
            flow_labels: FlowLabels::new(rng),
            reassembly: Reassembly::new(rng),
            error_budget: ErrorBudget::default(),
            output: Output::default(),
        }
    }

    // --- configuration ---------------------------------------------------------------------------------------

    /// Tells what the link takes. Below 1280 octets IPv6 is off (RFC 8200 §5).
    pub fn set_link(&mut self, link_mtu: u32) {
        self.link_mtu = link_mtu;
    }

    /// Adds an address with its on-link prefix.
    ///
    /// # Errors
    /// `EINVAL` for one that no host can have, or IPv6 on a link below 1280 octets; `EADDRINUSE` for one that is there.
    pub fn add_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        if cidr.address.is_ipv6() && self.link_mtu < MIN_V6_MTU {
            return Err(Errno::EINVAL);
        }
        self.addresses.add(cidr)
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when it is not there.
    pub fn remove_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        self.addresses.remove(cidr)
    }

    /// All addresses, in the order they were added.
    pub fn addresses(&self) -> &[Cidr] {
        self.addresses.own()
    }

    /// Adds a route, or replaces the one to the same destination.
    ///
    /// # Errors
    /// `EINVAL` when the gateway is none for this destination.
    pub fn add_route(&mut self, destination: Cidr, gateway: Option<IpAddr>) -> Result<(), Errno> {
        self.routes.add(destination, gateway)
    }

    /// The default gateways of IPv4 and IPv6.
    pub fn gateways(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        self.routes.gateways()
    }

    /// Joins a group; each join needs its leave.
    ///
    /// # Errors
    /// `EINVAL` when it is no group.
    pub fn join(&mut self, group: IpAddr) -> Result<(), Errno> {
        self.addresses.join(group)
    }

    /// Undoes one join.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` without one.
    pub fn leave(&mut self, group: IpAddr) -> Result<(), Errno> {
        self.addresses.leave(group)
    }

    // --- questions -------------------------------------------------------------------------------------------

    /// Are we in the group?
    pub fn is_member(&self, group: IpAddr) -> bool {
        self.addresses.is_member(group)
    }

    /// Does the address name this host alone: own, 127/8, `::1`?
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.kind(address).is_local()
    }

    /// What the address is to us.
    pub fn kind(&self, address: IpAddr) -> AddressKind {
        self.addresses.kind(address)
    }

    /// Is there a way to this address?
    pub fn has_route(&self, dst: IpAddr) -> bool {
        let is_off = dst.is_ipv6() && self.link_mtu < MIN_V6_MTU;
        self.is_local(dst) || (!is_off && self.routes.reaches(self.addresses.own(), dst))
    }

    /// The address that a packet to `dst` comes from when the user chose none.
    ///
    /// # Errors
    /// `ENETUNREACH` without a route or address; also for an unspecified `dst`.
    pub fn source_for(&self, dst: IpAddr) -> Result<IpAddr, Errno> {
        match self.addresses.kind(dst) {
            AddressKind::Own => Ok(dst),
            AddressKind::Loopback if dst.is_ipv4() => Ok(IpAddr::from([127, 0, 0, 1])),
            AddressKind::Loopback => Ok(dst),
            AddressKind::Unspecified => Err(Errno::ENETUNREACH),
            AddressKind::Broadcast | AddressKind::Multicast | AddressKind::Remote => {
                if !self.has_route(dst) {
                    return Err(Errno::ENETUNREACH);
                }
                self.routes.source_for(self.addresses.own(), dst)
            }
        }
    }

    /// Largest packet to `dst` that is thought to arrive in one piece.
    pub fn path_mtu(&self, now: Instant, dst: IpAddr) -> u32 {
        self.path(now, dst).1
    }

    /// Does the address name this host alone, and what is the largest packet to it?
    pub fn path(&self, now: Instant, dst: IpAddr) -> (bool, u32) {
        if self.is_local(dst) {
            return (true, LOOPBACK_MTU);
        }
        // RFC 8201 §5.2 (8201-5.2-first-hop): until something else is heard it is the link's.
        (false, self.paths.get(now, dst).map_or(self.link_mtu, |mtu| mtu.min(self.link_mtu)))
    }

    /// Largest packet that we can receive from `dst` (RFC 1122 §3.3.2: MMS_R and the header): what the MSS we announce is
    /// reckoned from, whatever the path was found to take in the other direction.
    pub fn receive_mtu(&self, config: &Config, dst: IpAddr) -> u32 {
        let link = if self.is_local(dst) { LOOPBACK_MTU } else { self.link_mtu };
        link.min(config.ip_emtu_r)
    }

    /// The smallest packet size that a report of `mtu` can make us use towards `dst` (RFC 1191 §3, RFC 8201 §4).
    pub fn believed_mtu(&self, config: &Config, dst: IpAddr, mtu: u32) -> u32 {
        mtu.max(if dst.is_ipv4() { config.min_pmtu } else { MIN_V6_MTU })
    }

    /// A believed ICMP message said that only `mtu` octets get through to `dst`.
    pub fn learn_path_mtu(&mut self, env: &mut Env<'_>, dst: IpAddr, mtu: u32) {
        if !self.is_local(dst) {
            let current = self.path_mtu(env.now, dst);
            self.paths.learn(env.now, env.config, dst, mtu, current);
        }
    }

    // --- packets and time ------------------------------------------------------------------------------------

    /// A packet arrived: from the link, or (`from_wire` false) from our own output.
    pub fn receive<'a>(
        &mut self,
        env: &mut Env<'_>,
        packet: &'a [u8],
        checksum_trusted: bool,
        from_wire: bool,
    ) -> Verdict<'a> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => self.receive_v4(env, packet, checksum_trusted, from_wire),
            Some(6) => self.receive_v6(env, packet, checksum_trusted, from_wire),
            // 1122-3.2.1.1-version: what is neither counts where most tools look.
            Some(_) => {
                env.counters.ip_in_hdr_errors += 1;
                dropped(Drop::Malformed)
            }
            None => {
                env.counters.ip_ext_in_truncated_pkts += 1;
                dropped(Drop::Truncated)
            }
        }
    }

    /// A packet that is whole and ours goes to its protocol, whose number stands at octet `named_at`.
    fn dispatch<'a>(&mut self, env: &mut Env<'_>, delivery: Delivery<'a>, named_at: u32) -> Verdict<'a> {
        let v4 = delivery.src.is_ipv4();
        let known = match delivery.protocol {
            tcp::PROTOCOL | udp::PROTOCOL => true,
            icmp_wire::PROTOCOL_V4 => v4,
            icmp_wire::PROTOCOL_V6 => !v4,
            _ => false,
        };
        let c = &mut *env.counters;
        if !known {
            *if v4 { &mut c.ip_in_unknown_protos } else { &mut c.ip6_in_unknown_protos } += 1;
            self.send_error(env, &delivery.packet, IcmpErrorKind::ProtocolUnreachable { pointer: named_at });
            return dropped(Drop::UnknownProtocol);
        }
        *if v4 { &mut c.ip_in_delivers } else { &mut c.ip6_in_delivers } += 1;
        match delivery.protocol {
            tcp::PROTOCOL | udp::PROTOCOL => Verdict::Deliver(delivery),
            _ => self.receive_icmp(env, delivery),
        }
    }

    /// The next finished packet.
    pub fn pop_output(&mut self) -> Option<Outgoing> {
        self.output.pop()
    }

    /// Is there a finished packet?
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Gives the storage of a packet back for the next one.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        self.output.recycle(bytes);
    }

    /// A deadline has passed: datagrams that did not become whole in time are given up.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        while let Some(expired) = self.reassembly.pop_expired(env.now) {
            let c = &mut *env.counters;
            let (timeouts, fails) = if expired.src.is_ipv4() {
                (&mut c.ip_reasm_timeout, &mut c.ip_reasm_fails)
            } else {
                (&mut c.ip6_reasm_timeout, &mut c.ip6_reasm_fails)
            };
            *timeouts += 1;
            *fails += 1;
            // RFC 1122 §3.3.2, RFC 8200 §4.5: only the first fragment tells the sender what it lost.
            if let Some(first) = expired.first {
                self.send_error(env, &first, IcmpErrorKind::ReassemblyTimeout);
            }
        }
    }

    /// When to call `advance` next at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.reassembly.next_timeout()
    }
}

fn dropped<'a>(reason: Drop) -> Verdict<'a> {
    Verdict::Done(Reason::Dropped(reason))
}

#[cfg(test)]
mod tests;
