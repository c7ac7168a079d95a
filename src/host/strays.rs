//! Several hosts with the same addresses, each with a queue of one device: packets that surface at the wrong one.
//!
//! Nothing is shared. A packet that no socket here waits for goes on to the next host, until it has been to all of them; only the last
//! one answers that nobody is there. Each host chooses ports from a part of the range of its own, so no two make the same connection.
//!
//! Invariant: at most [`MOST`] packets wait to be handed over.

use super::Host;
use crate::base::{Counters, Instant};
use crate::wire::packet::RxMeta;
use std::collections::VecDeque;

/// Packets that wait to be handed over, at most.
const MOST: usize = 256;

/// A packet on its way to the next host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    bytes: Vec<u8>,
    meta: RxMeta,
    from_wire: bool,
    /// Hosts that have not seen it, the next one included.
    left: u16,
}

/// What a host hands over.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Hosts besides this one.
    others: u16,
    /// Of them those that have not seen the packet in hand.
    left: u16,
    /// Did that come from a wire?
    from_wire: bool,
    queue: VecDeque<Stray>,
}

impl Strays {
    /// A packet comes from the device, or from ourselves: nobody else has seen it.
    pub fn begin(&mut self, from_wire: bool) {
        (self.left, self.from_wire) = (self.others, from_wire);
    }

    /// Does the packet in hand come from a wire?
    pub fn is_from_wire(&self) -> bool {
        self.from_wire
    }

    /// Is there another host that may want the packet in hand?
    pub fn may_go_on(&self) -> bool {
        self.left > 0
    }

    /// The packet in hand goes on. A queue that is full loses it.
    pub fn hand_over(&mut self, counters: &mut Counters, packet: &[u8], meta: RxMeta) {
        if self.queue.len() < MOST {
            let Strays { left, from_wire, .. } = *self;
            self.queue.push_back(Stray { bytes: packet.to_vec(), meta, from_wire, left });
        } else {
            counters.stray_drops += 1;
        }
    }
}

impl Host {
    /// This is one of `count` hosts with the same addresses, the one with this `index`: packets that nobody here waits for come out of
    /// [`poll_stray`](Host::poll_stray), and its ephemeral ports are its part of the range.
    pub fn set_shard(&mut self, index: u16, count: u16) {
        let [low, high] = self.common.config.ip_local_port_range;
        let (index, count) = (u32::from(index), u32::from(count.max(1)));
        let start = |index: u32| low + (high - low + 1) * index / count;
        self.common.config.ip_local_port_range = [start(index), start(index + 1).max(start(index) + 1) - 1];
        self.strays.others = (count - 1) as u16;
    }

    /// The next packet for the next host.
    pub fn poll_stray(&mut self) -> Option<Stray> {
        self.strays.queue.pop_front()
    }

    /// A packet that the host before had no use for. It counts as one that arrived here, too.
    pub fn receive_stray(&mut self, now: Instant, stray: &Stray) {
        self.common.counters.strays_in += 1;
        (self.strays.left, self.strays.from_wire) = (stray.left - 1, stray.from_wire);
        self.process_in_hand(now, &stray.bytes, stray.meta);
        self.collect_events();
    }
}
