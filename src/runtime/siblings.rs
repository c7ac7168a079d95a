//! Stray packets between the shards of one device: from each to the next, in a ring.

use super::attention::Attention;
use crate::host::Stray;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Packets that wait for a shard at most.
const MOST: usize = 1024;

/// Where a shard finds what others handed over. Its lock is held for a push or a swap only, and never while another is awaited.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Stray>>,
    attention: Arc<Attention>,
}

/// A shard's places in the ring.
#[derive(Debug)]
pub(crate) struct Siblings {
    mine: Arc<Inbox>,
    next: Arc<Inbox>,
}

impl Inbox {
    pub fn new(attention: Arc<Attention>) -> Arc<Inbox> {
        Arc::new(Inbox { queue: Mutex::default(), attention })
    }

    /// False when there is no room.
    fn put(&self, stray: Stray) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= MOST {
            return false;
        }
        queue.push_back(stray);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.attention.kick();
        }
        true
    }

    fn take(&self) -> VecDeque<Stray> {
        std::mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Siblings {
    /// The places of each shard in a ring of these.
    pub fn ring(inboxes: &[Arc<Inbox>]) -> impl Iterator<Item = Siblings> {
        let nexts = inboxes.iter().cycle().skip(1);
        inboxes.iter().zip(nexts).map(|(mine, next)| Siblings { mine: mine.clone(), next: next.clone() })
    }

    /// What was handed to this shard.
    pub fn arrived(&self) -> VecDeque<Stray> {
        self.mine.take()
    }

    /// Hands a packet to the next shard. False when that has no room for it.
    pub fn hand_over(&self, stray: Stray) -> bool {
        self.next.put(stray)
    }
}
