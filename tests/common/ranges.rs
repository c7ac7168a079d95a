//! A plain set of ranges of numbers, for the checker's own books.

use std::collections::BTreeMap;

/// Disjoint ranges `start..end`, adjacent ones joined.
#[derive(Clone, Debug, Default)]
pub struct Ranges(BTreeMap<u32, u32>);

impl Ranges {
    /// Adds `start..end`.
    pub fn add(&mut self, mut start: u32, mut end: u32) {
        if start >= end {
            return;
        }
        let touching: Vec<u32> =
            self.0.range(..=end).filter(|(_, e)| **e >= start).map(|(s, _)| *s).collect();
        for key in touching {
            let other_end = self.0.remove(&key).expect("just found");
            (start, end) = (start.min(key), end.max(other_end));
        }
        self.0.insert(start, end);
    }

    /// Is all of `start..end` in it?
    pub fn covers(&self, start: u32, end: u32) -> bool {
        self.0.range(..=start).next_back().is_some_and(|(_, e)| *e >= end)
    }

    /// Does any of `start..end` lie in it?
    pub fn touches(&self, start: u32, end: u32) -> bool {
        self.0.range(..end).next_back().is_some_and(|(_, e)| *e > start)
    }

    /// The end of the range that begins at or before `from` and holds it; `from` itself when none does.
    pub fn contiguous_from(&self, from: u32) -> u32 {
        self.0.range(..=from).next_back().map_or(from, |(_, e)| (*e).max(from))
    }
}

#[test]
fn ranges_join_and_answer() {
    let mut ranges = Ranges::default();
    ranges.add(10, 20);
    ranges.add(30, 40);
    assert!(!ranges.covers(10, 40) && ranges.touches(15, 35) && !ranges.touches(20, 30));
    ranges.add(20, 30);
    assert!(ranges.covers(10, 40) && !ranges.covers(9, 11));
    assert_eq!((ranges.contiguous_from(10), ranges.contiguous_from(50)), (40, 50));
}
