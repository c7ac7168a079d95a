//! What is in flight: when each run of octets was sent, and what became of it (RFC 6675 §3, RFC 8985 §5.1).
//!
//! Octets sent in one go are one [`Run`]; a run splits where a SACK edge or a retransmission falls, and neighbours that the peer
//! holds are one run again. A second list keeps the order of sending. Both are touched only where something changes, so an
//! acknowledgment costs O(log n) for each run that it changes. Positions are stream offsets; a FIN counts as one octet.
//!
//! Invariants: the runs lie end to end from SND.UNA to SND.NXT; the sums are those of the runs; at most
//! [`most_runs`](Scoreboard::most_runs) of them by splitting.

mod runs;

use crate::base::{Instant, Queue};
use core::ops::Range;
use runs::Runs;
use std::collections::BTreeSet;

/// Runs at most: these, and one for so many octets in flight. SACK blocks that would split further are not believed (they are advisory,
/// RFC 2018 §8).
const MAX_RUNS: usize = 8192;
const OCTETS_PER_RUN: u32 = 512;

/// What is noted when octets leave: for RACK the time, for the delivery rate what had been delivered by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub at: Instant,
    /// Octets delivered and lost on this connection until then.
    pub delivered: u64,
    pub lost: u64,
    /// When the last of those was delivered, and when the first of the flight was sent.
    pub delivered_at: Instant,
    pub first_sent_at: Instant,
    /// In flight with it.
    pub in_flight: u32,
    pub app_limited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Flying,
    /// The peer holds it.
    Sacked,
    /// To be sent again.
    Lost,
}

#[derive(Clone, Debug)]
struct Run {
    end: u64,
    stamp: Stamp,
    fate: Fate,
    /// It was sent more than once.
    again: bool,
}

/// One sending: everything in it left at the same time.
#[derive(Clone, Debug)]
struct Sending {
    at: Instant,
    range: Range<u64>,
}

/// Something in flight that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub stamp: Stamp,
    pub end: u64,
    pub again: bool,
}

/// What one acknowledgment delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    /// Octets, of which so many by SACK.
    pub octets: u32,
    pub sacked: u32,
    /// Sent last of them, by time and then by position.
    pub newest: Option<Delivered>,
    /// The same of those that were sent only once.
    pub newest_original: Option<Delivered>,
    /// The lowest octet that was sent only once.
    pub lowest_original: Option<u64>,
    /// Where the highest of them ends.
    pub highest: u64,
}

/// What was found lost, and how long to wait for what may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub lost: u32,
    /// When what of it had been sent again before was sent last.
    pub lost_again: Option<Instant>,
    /// When to look again.
    pub wait: Option<Instant>,
    /// The last run of it, and its octets.
    pub last: Option<(Stamp, u32)>,
}

/// All that is in flight.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    runs: Runs,
    /// In the order of time; what was delivered or found lost since is skipped.
    sendings: Queue<Sending>,
    /// Where runs to be sent again begin.
    lost_runs: BTreeSet<u64>,
    flying: u32,
    sacked: u32,
    lost: u32,
    /// Octets in flight that were sent more than once.
    again: u32,
}

impl Scoreboard {
    /// Nothing in flight.
    pub const EMPTY: Scoreboard = Scoreboard {
        runs: Runs::EMPTY,
        sendings: Queue::new(),
        lost_runs: BTreeSet::new(),
        flying: 0,
        sacked: 0,
        lost: 0,
        again: 0,
    };

    /// Octets presumably in the network (RFC 6675's pipe): neither held by the peer nor lost.
    pub fn pipe(&self) -> u32 {
        self.flying
    }

    /// Octets that the peer holds out of order.
    pub fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Octets to be sent again.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// What was noted when the first octet in flight was sent last.
    pub fn head(&self) -> Option<Stamp> {
        self.runs.first().map(|(_, run)| run.stamp)
    }

    /// When the first octet in flight was sent last.
    pub fn oldest_sent_at(&self) -> Option<Instant> {
        self.runs.first().map(|(_, run)| run.stamp.at)
    }

    /// Octets sent again and in the network.
    pub fn again(&self) -> u32 {
        self.again
    }

    fn most_runs(&self) -> usize {
        MAX_RUNS + ((self.flying + self.sacked + self.lost) / OCTETS_PER_RUN) as usize
    }

    /// New octets leave; they follow what was sent before.
    pub fn on_sent(&mut self, range: Range<u64>, stamp: Stamp) {
        self.flying += len(&range);
        self.note_sending(range.clone(), stamp.at);
        if let Some(last) = self.runs.last_mut()
            && last.fate == Fate::Flying
            && !last.again
            && last.end == range.start
            && last.stamp.at == stamp.at
        {
            last.end = range.end;
            last.stamp.in_flight = stamp.in_flight;
            return;
        }
        self.runs.insert(range.start, Run { end: range.end, stamp, fate: Fate::Flying, again: false });
    }

    /// Octets of `range` leave again. What the peer holds does not lie in it.
    pub fn on_sent_again(&mut self, range: Range<u64>, stamp: Stamp) {
        self.split(range.start);
        self.split(range.end);
        let mut at = range.start;
        while let Some(run) = self.runs.get(at).filter(|_| at < range.end).cloned() {
            self.runs.remove(at);
            self.uncount(at, &run);
            at = run.end;
        }
        if at > range.start {
            let run = Run { end: at, stamp, fate: Fate::Flying, again: true };
            self.count(range.start, &run);
            self.runs.insert(range.start, run);
            self.note_sending(range.start..at, stamp.at);
        }
    }

    fn note_sending(&mut self, range: Range<u64>, at: Instant) {
        if let Some(last) = self.sendings.back_mut()
            && last.at == at
            && last.range.end == range.start
        {
            last.range.end = range.end;
            return;
        }
        self.sendings.push_back(Sending { at, range });
    }

    /// Everything below `offset` is acknowledged.
    pub fn ack_below(&mut self, offset: u64, delivery: &mut Delivery) {
        while let Some((start, _)) = self.runs.first().filter(|(start, _)| *start < offset) {
            let Some(run) = self.runs.remove(start) else { break };
            self.uncount(start, &run);
            let end = run.end.min(offset);
            if run.end > offset {
                self.count(offset, &run);
                self.runs.insert(offset, run.clone());
            }
            if run.fate != Fate::Sacked {
                delivery.take(start..end, &run);
            }
        }
        while self.sendings.front().is_some_and(|sending| sending.range.end <= offset) {
            self.sendings.pop_front();
        }
    }

    /// The peer holds `range`, which lies in what is in flight.
    pub fn sack(&mut self, range: Range<u64>, delivery: &mut Delivery) {
        let mut at = range.start;
        while at < range.end {
            let Some((start, run)) = self.run_at(at) else { return };
            let (end, held) = (run.end.min(range.end), run.fate == Fate::Sacked);
            let splits = start < at || end < run.end;
            if held {
                at = end;
                continue;
            }
            if splits && self.runs.len() >= self.most_runs() {
                return;
            }
            self.split(at);
            self.split(end);
            let Some(mut run) = self.runs.remove(at) else { return };
            self.uncount(at, &run);
            delivery.take(at..end, &run);
            delivery.sacked += (end - at) as u32;
            run.fate = Fate::Sacked;
            self.count(at, &run);
            self.insert_sacked(at, run);
            at = end;
        }
    }

    /// Puts a run that the peer holds in its place, as one with its neighbours.
    fn insert_sacked(&mut self, mut start: u64, mut run: Run) {
        if let Some(next) = self.runs.get(run.end).filter(|next| next.fate == Fate::Sacked) {
            let end = next.end;
            self.runs.remove(run.end);
            run.end = end;
        }
        if let Some((before, held)) = self.runs.before(start)
            && held.fate == Fate::Sacked
            && held.end == start
        {
            start = before;
        }
        self.runs.insert(start, run);
    }

    /// Judges in the order of sending: what was sent before `newest` (time, end) and so long ago that `due` of its time has come is
    /// lost (RFC 8985 §6.2 step 5).
    pub fn lose_older(
        &mut self,
        newest: (Instant, u64),
        patience: crate::base::Duration,
        now: Instant,
    ) -> Found {
        let mut found = Found::default();
        while let Some(Sending { at, range }) = self.sendings.front().cloned() {
            let Some((start, end)) = self.first_flying(&range, at) else {
                self.sendings.pop_front();
                continue;
            };
            if let Some(front) = self.sendings.front_mut() {
                front.range.start = start;
            }
            if (at, end) >= newest {
                break;
            }
            if at + patience > now {
                found.wait = Some(at + patience);
                break;
            }
            let octets = (end - start) as u32;
            found.last = self.runs.get(start).map(|run| (run.stamp, octets));
            if self.lose(start) {
                found.lost_again = Some(at);
            }
            found.lost += octets;
        }
        found
    }

    /// The first run in `range` that was sent at that time and is in flight.
    fn first_flying(&self, range: &Range<u64>, at: Instant) -> Option<(u64, u64)> {
        let first = self.run_at(range.start).map(|(start, _)| start).unwrap_or(range.start);
        self.runs
            .range(first, range.end)
            .find(|(_, run)| run.fate == Fate::Flying && run.stamp.at == at)
            .map(|(start, run)| (start, run.end))
    }

    /// The run that begins at `start` is lost; true when it had been sent again.
    fn lose(&mut self, start: u64) -> bool {
        let Some(run) = self.runs.get_mut(start) else { return false };
        let again = run.again;
        self.flying -= (run.end - start) as u32;
        self.again -= if again { (run.end - start) as u32 } else { 0 };
        run.fate = Fate::Lost;
        self.lost += (run.end - start) as u32;
        self.lost_runs.insert(start);
        again
    }

    /// What is in flight and was not sent after `recent` is lost, the head in any case (RFC 8985 §6.3). Octets found lost.
    pub fn lose_all(&mut self, recent: Option<Instant>) -> u32 {
        let starts: Vec<u64> = self
            .runs
            .iter()
            .enumerate()
            .filter(|(index, (_, run))| {
                run.fate == Fate::Flying
                    && (*index == 0 || recent.is_none_or(|recent| run.stamp.at <= recent))
            })
            .map(|(_, (start, _))| start)
            .collect();
        let before = self.lost;
        for start in starts {
            self.lose(start);
        }
        self.lost - before
    }

    /// What of `range` is in flight is lost.
    pub fn lose_within(&mut self, range: Range<u64>) {
        self.split(range.start);
        self.split(range.end);
        let runs = self.runs.range(range.start, range.end).filter(|(_, run)| run.fate == Fate::Flying);
        let starts: Vec<u64> = runs.map(|(start, _)| start).collect();
        for start in starts {
            self.lose(start);
        }
    }

    /// Nothing was lost after all: it is in flight as it was.
    pub fn find_again(&mut self) {
        for start in core::mem::take(&mut self.lost_runs) {
            if let Some(run) = self.runs.get_mut(start) {
                run.fate = Fate::Flying;
                let octets = (run.end - start) as u32;
                self.lost -= octets;
                self.flying += octets;
                self.again += if run.again { octets } else { 0 };
            }
        }
        let mut sendings: Vec<Sending> = self
            .runs
            .iter()
            .filter(|(_, run)| run.fate == Fate::Flying)
            .map(|(start, run)| Sending { at: run.stamp.at, range: start..run.end })
            .collect();
        sendings.sort_by_key(|sending| sending.at);
        self.sendings = sendings.into_iter().collect();
    }

    /// The peer has thrown away what it held (RFC 2018 §8): it is to be sent again.
    pub fn forget_sacks(&mut self) {
        for (start, run) in self.runs.iter_mut() {
            if run.fate == Fate::Sacked {
                run.fate = Fate::Lost;
                self.lost_runs.insert(start);
            }
        }
        self.lost += core::mem::take(&mut self.sacked);
    }

    /// Does the peer hold the octet at `offset`?
    pub fn is_sacked(&self, offset: u64) -> bool {
        self.run_at(offset).is_some_and(|(_, run)| run.fate == Fate::Sacked)
    }

    /// Where the first octets to be sent again begin.
    pub fn first_lost(&self) -> Option<u64> {
        self.lost_runs.first().copied()
    }

    /// How many of the `most` octets from `offset` on are to be sent again in one segment: up to what the peer holds or what is in
    /// flight. With `flying` those in flight count too.
    pub fn sendable(&self, offset: u64, most: u32, flying: bool) -> u32 {
        let end = offset + u64::from(most);
        let mut at = offset;
        while at < end {
            match self.run_at(at) {
                Some((_, run)) if run.fate == Fate::Lost || flying && run.fate == Fate::Flying => {
                    at = run.end
                }
                Some(_) | None => break,
            }
        }
        (at.min(end) - offset) as u32
    }

    /// Where the last run in flight begins.
    pub fn last_flying(&self) -> Option<Range<u64>> {
        let (start, run) = self.runs.last()?;
        (run.fate == Fate::Flying).then_some(start..run.end)
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        self.runs.memory_octets() + self.sendings.memory_octets() + self.lost_runs.len() * 8
    }

    fn run_at(&self, offset: u64) -> Option<(u64, &Run)> {
        let (start, run) = self.runs.at_or_before(offset)?;
        (run.end > offset).then_some((start, run))
    }

    /// Makes a run begin at `offset`.
    fn split(&mut self, offset: u64) {
        let Some(run) = self.runs.before_mut(offset).filter(|run| run.end > offset) else { return };
        let rest = run.clone();
        run.end = offset;
        if rest.fate == Fate::Lost {
            self.lost_runs.insert(offset);
        }
        self.runs.insert(offset, rest);
    }

    fn count(&mut self, start: u64, run: &Run) {
        let octets = (run.end - start) as u32;
        match run.fate {
            Fate::Flying => {
                self.flying += octets;
                self.again += if run.again { octets } else { 0 };
            }
            Fate::Sacked => self.sacked += octets,
            Fate::Lost => {
                self.lost += octets;
                self.lost_runs.insert(start);
            }
        }
    }

    fn uncount(&mut self, start: u64, run: &Run) {
        let octets = (run.end - start) as u32;
        match run.fate {
            Fate::Flying => {
                self.flying -= octets;
                self.again -= if run.again { octets } else { 0 };
            }
            Fate::Sacked => self.sacked -= octets,
            Fate::Lost => {
                self.lost -= octets;
                self.lost_runs.remove(&start);
            }
        }
    }

    /// What must hold between two calls, with `flight` the whole of what is in flight.
    pub fn check(&self, flight: Range<u64>) -> Result<(), String> {
        let (mut at, mut flying, mut sacked, mut lost, mut again) = (flight.start, 0, 0, 0, 0);
        for (start, run) in self.runs.iter() {
            if start != at || run.end <= start {
                return Err(format!("runs do not lie end to end at {at}"));
            }
            let octets = (run.end - start) as u32;
            match run.fate {
                Fate::Flying => flying += octets,
                Fate::Sacked => sacked += octets,
                Fate::Lost => lost += octets,
            }
            again += if run.again && run.fate == Fate::Flying { octets } else { 0 };
            if (run.fate == Fate::Lost) != self.lost_runs.contains(&start) {
                return Err(format!("the run at {start} is lost in one list only"));
            }
            at = run.end;
        }
        if at != flight.end {
            return Err(format!("what is in flight ends at {}, not {at}", flight.end));
        }
        let sums = (flying, sacked, lost, again) == (self.flying, self.sacked, self.lost, self.again);
        if sums { Ok(()) } else { Err("sums and runs disagree".to_owned()) }
    }
}

impl Delivery {
    fn take(&mut self, range: Range<u64>, run: &Run) {
        self.octets += len(&range);
        self.highest = self.highest.max(range.end);
        if !run.again && self.lowest_original.is_none_or(|lowest| range.start < lowest) {
            self.lowest_original = Some(range.start);
        }
        let newer = |than: &Option<Delivered>| {
            than.is_none_or(|newest| (newest.stamp.at, newest.end) < (run.stamp.at, range.end))
        };
        let delivered = Some(Delivered { stamp: run.stamp, end: range.end, again: run.again });
        if newer(&self.newest) {
            self.newest = delivered;
        }
        if !run.again && newer(&self.newest_original) {
            self.newest_original = delivered;
        }
    }
}

fn len(range: &Range<u64>) -> u32 {
    (range.end - range.start) as u32
}

#[cfg(test)]
mod tests;
