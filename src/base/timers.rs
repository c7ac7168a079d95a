//! Deadlines of many owners, with lazy re-arming.
//!
//! One live entry per owner. A deadline that moves later costs nothing: the entry fires early, finds the new deadline
//! and goes back. A deadline that moves earlier is one insertion. Exact to the nanosecond, O(log n).

use super::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of deadlines.
#[derive(Debug)]
pub struct Timers<Id: Ord> {
    heap: BinaryHeap<Reverse<(Instant, Id)>>,
}

/// The owner's side of its entry: when the queue will wake it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Armed(Option<Instant>);

impl<Id: Ord + Copy> Default for Timers<Id> {
    fn default() -> Timers<Id> {
        Timers { heap: BinaryHeap::new() }
    }
}

impl<Id: Ord + Copy> Timers<Id> {
    /// Makes sure that `id` fires at `deadline` or before; `armed` is what the owner keeps between calls.
    pub fn arm(&mut self, armed: &mut Armed, deadline: Option<Instant>, id: Id) {
        if let Some(deadline) = deadline
            && armed.0.is_none_or(|at| deadline < at)
        {
            armed.0 = Some(deadline);
            self.heap.push(Reverse((deadline, id)));
        }
    }

    /// The next owner whose entry is due. The owner calls [`Armed::fired`] and arms again.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Id)> {
        let &Reverse((at, id)) = self.heap.peek()?;
        (at <= now).then(|| {
            self.heap.pop();
            (at, id)
        })
    }

    /// When the next entry fires. May be early (entries are lazy), never late.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

impl From<Option<Instant>> for Armed {
    fn from(at: Option<Instant>) -> Armed {
        Armed(at)
    }
}

impl Armed {
    /// When the owner's entry fires, if it has one.
    pub fn at(self) -> Option<Instant> {
        self.0
    }

    /// Is the entry that fired `at` the live one (not left over from before it moved earlier)?
    pub fn fired(&mut self, at: Instant) -> bool {
        let live = self.0 == Some(at);
        if live {
            self.0 = None;
        }
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_deadline_that_moves_later_adds_no_entry() {
        let (mut timers, mut armed) = (Timers::default(), Armed::default());
        for deadline in 10..1000 {
            timers.arm(&mut armed, Some(at(deadline)), 1u32);
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.next(), Some(at(10)));
    }

    #[test]
    fn a_deadline_that_moves_earlier_fires_once_and_in_time() {
        let (mut timers, mut armed) = (Timers::default(), Armed::default());
        timers.arm(&mut armed, Some(at(100)), 1u32);
        timers.arm(&mut armed, Some(at(50)), 1);
        assert_eq!(timers.pop_due(at(49)), None);
        let (due, id) = timers.pop_due(at(50)).expect("due");
        assert!(armed.fired(due) && id == 1);
        let (stale, _) = timers.pop_due(at(100)).expect("left over");
        assert!(!armed.fired(stale));
    }
}
