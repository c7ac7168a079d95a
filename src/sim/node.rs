//! What can stand at the end of a simulated wire.

use crate::base::Instant;
use crate::host::{Host, RxMeta};
use core::any::Any;
use core::net::IpAddr;

/// A host of any make, without input or output of its own: [`Host`], or another implementation to talk to.
pub trait Node: Any {
    /// A packet arrived.
    fn receive(&mut self, now: Instant, packet: &[u8]);
    /// The next packet to send, if any.
    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>>;
    /// A deadline has passed.
    fn advance(&mut self, now: Instant);
    /// When `advance` is to be called next at the latest.
    fn next_timeout(&self) -> Option<Instant>;

    /// Is a packet to this address for this node? Asked where more than two share a wire.
    fn wants(&self, destination: IpAddr) -> bool {
        let _ = destination;
        true
    }
}

impl Node for Host {
    fn receive(&mut self, now: Instant, packet: &[u8]) {
        Host::receive(self, now, packet, RxMeta::default());
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        Host::transmit(self, now).map(|packet| packet.to_vec())
    }

    fn advance(&mut self, now: Instant) {
        Host::advance(self, now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        Host::next_timeout(self)
    }

    fn wants(&self, destination: IpAddr) -> bool {
        let to_many = match destination {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_multicast(),
        };
        to_many
            || self.addresses().iter().any(|ours| {
                ours.address == destination
                    || ours.broadcast().is_some_and(|broadcast| destination == broadcast)
            })
    }
}
