//! Internet layer: IPv4 (RFC 791), IPv6 (RFC 8200), ICMP (RFC 792, RFC 4443), fragments, routes and path MTUs.
//!
//! A host on a point-to-point link: it never forwards, has no neighbours to discover, and every route ends at the
//! device. Source routes, redirects and router discovery are deliberately left out.

mod env;
mod types;

use crate::base::{Cidr, Errno, Instant, Rng};
use core::net::IpAddr;
pub use env::Env;
pub use types::*;

/// The internet layer of one host.
#[derive(Debug)]
pub struct Network {}

#[allow(unused_variables)]
impl Network {
    /// A network without addresses on a link of 1500 octets.
    pub fn new(rng: &mut Rng) -> Network {
        todo!()
    }
    /// Tells what the link takes. Below 1280 octets IPv6 is off (RFC 8200 §5).
    pub fn set_link(&mut self, link_mtu: u32) {
        todo!()
    }
    /// Adds an address with its on-link prefix.
    ///
    /// # Errors
    /// `EINVAL` for one that no host can have, `EADDRINUSE` for one that is there.
    pub fn add_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        todo!()
    }
    /// Takes an address away.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when it is not there.
    pub fn remove_address(&mut self, cidr: Cidr) -> Result<(), Errno> {
        todo!()
    }
    /// All addresses, in the order they were added.
    pub fn addresses(&self) -> &[Cidr] {
        todo!()
    }
    /// Adds a route, or replaces the one to the same destination.
    ///
    /// # Errors
    /// `EINVAL` when the gateway is none for this destination.
    pub fn add_route(&mut self, destination: Cidr, gateway: Option<IpAddr>) -> Result<(), Errno> {
        todo!()
    }
    /// The default gateways of IPv4 and IPv6.
    pub fn gateways(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        todo!()
    }
    /// Joins a group; each join needs its leave.
    ///
    /// # Errors
    /// `EINVAL` when it is no group.
    pub fn join(&mut self, group: IpAddr) -> Result<(), Errno> {
        todo!()
    }
    /// Undoes one join.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` without one.
    pub fn leave(&mut self, group: IpAddr) -> Result<(), Errno> {
        todo!()
    }
    /// Are we in the group?
    pub fn is_member(&self, group: IpAddr) -> bool {
        todo!()
    }
    /// Does the address name this host alone: own, 127/8, `::1`?
    pub fn is_local(&self, address: IpAddr) -> bool {
        todo!()
    }
    /// What the address is to us.
    pub fn kind(&self, address: IpAddr) -> AddressKind {
        todo!()
    }
    /// The address that a packet to `dst` comes from when the user chose none.
    ///
    /// # Errors
    /// `ENETUNREACH` without a route or address; also for an unspecified `dst`.
    pub fn source_for(&self, dst: IpAddr) -> Result<IpAddr, Errno> {
        todo!()
    }
    /// Largest packet to `dst` that is thought to arrive in one piece.
    pub fn path_mtu(&self, now: Instant, dst: IpAddr) -> u32 {
        todo!()
    }
    /// A believed ICMP message said that only `mtu` octets get through to `dst`.
    pub fn learn_path_mtu(&mut self, env: &mut Env<'_>, dst: IpAddr, mtu: u32) {
        todo!()
    }
    /// A packet arrived: from the link, or (`from_wire` false) from our own output.
    pub fn receive<'a>(
        &mut self,
        env: &mut Env<'_>,
        packet: &'a [u8],
        checksum_trusted: bool,
        from_wire: bool,
    ) -> Verdict<'a> {
        todo!()
    }
    /// Puts a transport's finished payload on the way: one packet, or fragments.
    ///
    /// # Errors
    /// `EMSGSIZE` when it does not fit and must not be cut; `ENOBUFS` when the queue is full; `EINVAL` for TTL 0.
    pub fn send(&mut self, env: &mut Env<'_>, out: &IpOut, payload: &[&[u8]]) -> Result<(), Errno> {
        todo!()
    }
    /// Writes only the IP header of a packet that the caller sends, and counts it. Returns its length, at most 40.
    pub fn write_header(
        &mut self,
        env: &mut Env<'_>,
        out: &IpOut,
        payload_len: usize,
        buf: &mut [u8; 40],
    ) -> usize {
        todo!()
    }
    /// Sends an ICMP error about a whole IP packet that arrived, unless a rule or the rate limit forbids it.
    pub fn send_error(&mut self, env: &mut Env<'_>, about: &[u8], kind: IcmpErrorKind) {
        todo!()
    }
    /// The next finished packet.
    pub fn pop_output(&mut self) -> Option<Outgoing> {
        todo!()
    }
    /// Is there a finished packet?
    pub fn has_output(&self) -> bool {
        todo!()
    }
    /// Gives the storage of a packet back for the next one.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        todo!()
    }
    /// A deadline has passed.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        todo!()
    }
    /// When to call `advance` next at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }
}
