//! A set of half-open ranges of 64-bit offsets, merged where they touch.
//!
//! For few ranges (holes of a window): sorted in one piece of memory, searched by halving.

use core::ops::Range;

/// Offsets, kept as the fewest half-open ranges in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    /// Nothing; takes no memory.
    pub const fn new() -> RangeSet {
        RangeSet { ranges: Vec::new() }
    }

    /// Adds `range` and returns the merged range that it is now part of. An empty range adds nothing.
    pub fn insert(&mut self, range: Range<u64>) -> Range<u64> {
        if range.is_empty() {
            return range;
        }
        // Those that overlap or touch it stand side by side.
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = self.ranges.partition_point(|r| r.start <= range.end);
        let merged = match self.ranges.get(from..to) {
            Some([first, .., last]) => first.start.min(range.start)..last.end.max(range.end),
            Some([only]) => only.start.min(range.start)..only.end.max(range.end),
            _ => range,
        };
        self.ranges.splice(from..to, [merged.clone()]);
        merged
    }

    /// Takes out everything below `point`.
    pub fn remove_below(&mut self, point: u64) {
        let gone = self.ranges.partition_point(|r| r.end <= point);
        self.ranges.drain(..gone);
        if let Some(first) = self.ranges.first_mut() {
            first.start = first.start.max(point);
        }
    }

    /// The range that `point` is in.
    pub fn range_at(&self, point: u64) -> Option<Range<u64>> {
        let at = self.ranges.partition_point(|r| r.end <= point);
        self.ranges.get(at).filter(|r| r.start <= point).cloned()
    }

    /// Is every offset of `range` in the set?
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.range_at(range.start).is_some_and(|r| r.end >= range.end)
    }

    /// Is any offset of `range` in the set?
    pub fn overlaps(&self, range: Range<u64>) -> bool {
        let at = self.ranges.partition_point(|r| r.end <= range.start);
        !range.is_empty() && self.ranges.get(at).is_some_and(|r| r.start < range.end)
    }

    /// The first range that ends after `point`.
    pub fn next_from(&self, point: u64) -> Option<Range<u64>> {
        self.ranges.get(self.ranges.partition_point(|r| r.end <= point)).cloned()
    }

    /// The first part of `range` that is in the set.
    pub fn overlap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let found = self.next_from(range.start)?;
        let part = found.start.max(range.start)..found.end.min(range.end);
        (!part.is_empty()).then_some(part)
    }

    /// The first part of `range` that is not in the set.
    pub fn gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let start = self.range_at(range.start).map_or(range.start, |found| found.end);
        let end = self.next_from(start).map_or(range.end, |next| next.start.min(range.end));
        (start < end).then_some(start..end)
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.first().cloned()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.last().cloned()
    }

    /// All ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many offsets are in it.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// Empties it and gives its memory back.
    pub fn clear(&mut self) {
        self.ranges = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        RemoveBelow(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let insert = (0u64..60, 0u64..12).prop_map(|(start, len)| Step::Insert(start, len));
        let step = prop_oneof![8 => insert, 1 => (0u64..60).prop_map(Step::RemoveBelow)];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn behaves_like_a_row_of_marks(steps in steps(), probe in 0u64..72, len in 0u64..8) {
            let mut set = RangeSet::new();
            let mut marks = [false; 80];
            for step in steps {
                match step {
                    Step::Insert(start, len) => {
                        let merged = set.insert(start..start + len);
                        marks[start as usize..(start + len) as usize].fill(true);
                        prop_assert!(len == 0 || set.range_at(start) == Some(merged));
                    }
                    Step::RemoveBelow(point) => {
                        set.remove_below(point);
                        marks[..point as usize].fill(false);
                    }
                }
            }
            let ranges: Vec<_> = set.iter().collect();
            prop_assert!(ranges.iter().all(|r| !r.is_empty()));
            prop_assert!(ranges.windows(2).all(|w| w[0].end < w[1].start), "sorted, merged");
            for (at, mark) in marks.iter().enumerate() {
                prop_assert_eq!(set.range_at(at as u64).is_some(), *mark);
            }
            let part = &marks[probe as usize..(probe + len) as usize];
            prop_assert_eq!(set.contains(probe..probe + len), part.iter().all(|m| *m));
            prop_assert_eq!(set.overlaps(probe..probe + len), part.iter().any(|m| *m));
            let (from, to) = (probe as usize, (probe + len) as usize);
            let runs = |wanted: bool| {
                let start = (from..to).find(|at| marks[*at] == wanted)?;
                let end = (start..to).find(|at| marks[*at] != wanted).unwrap_or(to);
                Some(start as u64..end as u64)
            };
            prop_assert_eq!(set.overlap(probe..probe + len), runs(true));
            prop_assert_eq!(set.gap(probe..probe + len), runs(false));
            prop_assert_eq!(set.count(), marks.iter().filter(|m| **m).count() as u64);
        }
    }
}
