//! Runs by where they begin. The lowest lies in place: most flights have one only, and that needs no memory of its own.

use super::Run;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

#[derive(Debug, Default)]
pub(super) struct Runs {
    lowest: Option<(u64, Run)>,
    /// Those above it; empty without it.
    above: BTreeMap<u64, Run>,
}

impl Runs {
    pub const EMPTY: Runs = Runs { lowest: None, above: BTreeMap::new() };

    pub fn len(&self) -> usize {
        usize::from(self.lowest.is_some()) + self.above.len()
    }

    pub fn first(&self) -> Option<(u64, &Run)> {
        self.lowest.as_ref().map(|(start, run)| (*start, run))
    }

    pub fn last(&self) -> Option<(u64, &Run)> {
        self.above.last_key_value().map(|(start, run)| (*start, run)).or(self.first())
    }

    pub fn last_mut(&mut self) -> Option<&mut Run> {
        match self.above.last_entry() {
            Some(last) => Some(last.into_mut()),
            None => self.lowest.as_mut().map(|(_, run)| run),
        }
    }

    pub fn get(&self, start: u64) -> Option<&Run> {
        match &self.lowest {
            Some((at, run)) if *at == start => Some(run),
            _ => self.above.get(&start),
        }
    }

    pub fn get_mut(&mut self, start: u64) -> Option<&mut Run> {
        match &mut self.lowest {
            Some((at, run)) if *at == start => Some(run),
            _ => self.above.get_mut(&start),
        }
    }

    /// Adds a run, or puts it in the place of one that begins there.
    pub fn insert(&mut self, start: u64, run: Run) {
        match &mut self.lowest {
            Some((lowest, _)) if *lowest < start => {
                self.above.insert(start, run);
            }
            lowest => {
                if let Some((above, old)) = lowest.replace((start, run)).filter(|(old, _)| *old != start) {
                    self.above.insert(above, old);
                }
            }
        }
    }

    pub fn remove(&mut self, start: u64) -> Option<Run> {
        match self.lowest.take_if(|(lowest, _)| *lowest == start) {
            Some((_, run)) => {
                self.lowest = self.above.pop_first();
                Some(run)
            }
            None => self.above.remove(&start),
        }
    }

    /// The last that begins at `offset` or before.
    pub fn at_or_before(&self, offset: u64) -> Option<(u64, &Run)> {
        let above = self.above.range(..=offset).next_back().map(|(start, run)| (*start, run));
        above.or(self.first().filter(|(start, _)| *start <= offset))
    }

    /// The last that begins before `offset`.
    pub fn before(&self, offset: u64) -> Option<(u64, &Run)> {
        self.at_or_before(offset.checked_sub(1)?)
    }

    pub fn before_mut(&mut self, offset: u64) -> Option<&mut Run> {
        match self.above.range_mut(..offset).next_back() {
            Some((_, run)) => Some(run),
            None => self.lowest.as_mut().filter(|(start, _)| *start < offset).map(|(_, run)| run),
        }
    }

    /// Those that begin in `from..to`.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &Run)> {
        let lowest = self.first().filter(|(start, _)| (from..to).contains(start));
        // The lowest of all is not among the others.
        let after = from.checked_sub(1).map_or(Unbounded, Excluded);
        let above = if from < to { Some(self.above.range((after, Excluded(to)))) } else { None };
        lowest.into_iter().chain(above.into_iter().flatten().map(|(start, run)| (*start, run)))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &Run)> {
        self.first().into_iter().chain(self.above.iter().map(|(start, run)| (*start, run)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Run)> {
        let lowest = self.lowest.as_mut().map(|(start, run)| (*start, run));
        lowest.into_iter().chain(self.above.iter_mut().map(|(start, run)| (*start, run)))
    }

    /// Octets of memory behind them.
    pub fn memory_octets(&self) -> usize {
        self.above.len() * (size_of::<Run>() + 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Instant, Rng};
    use crate::transport::tcp::scoreboard::{Fate, Stamp};

    fn run(end: u64) -> Run {
        let at = Instant::ZERO;
        let stamp = Stamp {
            at,
            delivered: 0,
            lost: 0,
            delivered_at: at,
            first_sent_at: at,
            in_flight: 0,
            app_limited: false,
        };
        Run { end, stamp, fate: Fate::Flying, again: false }
    }

    #[test]
    fn they_are_those_of_a_map() {
        let (mut runs, mut model) = (Runs::default(), BTreeMap::new());
        let mut rng = Rng::from_seed(5);
        for _ in 0..20_000 {
            let (at, to, end) = (rng.below(12), rng.below(14), rng.below(100));
            if rng.chance(0.5) {
                runs.insert(at, run(end));
                model.insert(at, end);
            } else {
                assert_eq!(runs.remove(at).map(|run| run.end), model.remove(&at));
            }
            let ends = |found: Option<(u64, &Run)>| found.map(|(start, run)| (start, run.end));
            let known = |found: Option<(&u64, &u64)>| found.map(|(start, end)| (*start, *end));
            assert_eq!(runs.len(), model.len());
            assert_eq!(ends(runs.first()), known(model.first_key_value()));
            assert_eq!(ends(runs.last()), known(model.last_key_value()));
            assert_eq!(ends(runs.at_or_before(to)), known(model.range(..=to).next_back()));
            assert_eq!(ends(runs.before(to)), known(model.range(..to).next_back()));
            let before = model.range(..to).next_back().map(|(_, end)| *end);
            assert_eq!(runs.before_mut(to).map(|run| run.end), before);
            assert_eq!(runs.last_mut().map(|run| run.end), model.last_key_value().map(|(_, end)| *end));
            assert_eq!(runs.get(to).map(|run| run.end), model.get(&to).copied());
            assert_eq!(runs.get_mut(to).map(|run| run.end), model.get(&to).copied());
            let all: Vec<_> = model.iter().map(|(start, end)| (*start, *end)).collect();
            assert!(runs.iter().map(|(start, run)| (start, run.end)).eq(all.iter().copied()));
            assert!(runs.iter_mut().map(|(start, run)| (start, run.end)).eq(all.iter().copied()));
            let within = all.iter().copied().filter(|(start, _)| (at..to).contains(start));
            assert!(runs.range(at, to).map(|(start, run)| (start, run.end)).eq(within));
        }
    }
}
