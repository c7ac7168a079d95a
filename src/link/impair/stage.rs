//! One direction of a bad link: packets go in, and come out late, twice, damaged, in another order, or not at all.

use super::fault::Watcher;
use super::{Action, Conditions, Hold, Kind, PathMtu, QUEUE, QueueLimit};
use super::{ecn, too_big};
use crate::base::{Duration, Instant, Rng};
use std::collections::{BTreeMap, VecDeque};

/// Octets under way at most, so that a long delay cannot eat the memory. Beyond it packets are lost.
const UNDER_WAY: usize = 64 << 20;
/// A packet that waits to be overtaken goes on after this time even if nothing came by.
const HOLD: Duration = Duration::from_millis(100);

/// What happened to the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that went in.
    pub offered: u64,
    /// Packets that came out, duplicates included.
    pub delivered: u64,
    /// Lost by chance, each by itself or in a burst.
    pub lost: u64,
    /// Lost in a blackout.
    pub blacked_out: u64,
    /// Dropped as larger than the path's MTU.
    pub too_big: u64,
    /// Dropped for lack of room in the queue.
    pub queue_full: u64,
    /// Dropped by script.
    pub scripted: u64,
    /// Packets that were doubled.
    pub duplicated: u64,
    /// Packets that were held back.
    pub reordered: u64,
    /// Packets in which a bit was flipped.
    pub corrupted: u64,
    /// Packets that were marked Congestion Experienced.
    pub marked: u64,
    /// Retransmissions that went in, when they are counted ([`Impair::count_resent`]).
    pub resent: u64,
}

/// Place of a packet under way: when it is due, and its number among those due at the same time.
type Place = (Instant, u64);

/// One direction of a bad link.
#[derive(Clone, Debug)]
pub struct Impair {
    conditions: Conditions,
    rng: Rng,
    /// How many packets each scripted fault has counted.
    seen: Vec<u32>,
    watcher: Watcher,
    count_resent: bool,
    in_burst: bool,
    /// When the line has sent everything that was given to it.
    line_free: Instant,
    /// Packets that the line has not sent yet: when it will have, and their length.
    waiting: VecDeque<(Instant, usize)>,
    waiting_octets: u64,
    /// When the latest packet that keeps its order is due.
    last_due: Instant,
    under_way: BTreeMap<Place, Vec<u8>>,
    under_way_octets: usize,
    held: Vec<Held>,
    next_number: u64,
    stats: Stats,
}

/// A packet under way that waits to be overtaken.
#[derive(Clone, Copy, Debug)]
struct Held {
    place: Place,
    /// Packets that still have to pass.
    left: u32,
}

/// What the script wants done to one packet.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    drop: bool,
    duplicate: bool,
    corrupt: bool,
    delay: Duration,
}

impl Impair {
    /// A direction under these conditions; all chance comes from `rng`.
    pub fn new(conditions: Conditions, rng: Rng) -> Impair {
        Impair {
            seen: vec![0; conditions.faults.len()],
            conditions,
            rng,
            watcher: Watcher::default(),
            count_resent: false,
            in_burst: false,
            line_free: Instant::ZERO,
            waiting: VecDeque::new(),
            waiting_octets: 0,
            last_due: Instant::ZERO,
            under_way: BTreeMap::new(),
            under_way_octets: 0,
            held: Vec::new(),
            next_number: 0,
            stats: Stats::default(),
        }
    }

    /// The conditions in force.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Changes the conditions for packets to come; scripted faults count anew.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.seen = vec![0; conditions.faults.len()];
        self.conditions = conditions;
    }

    /// Counts from now on the TCP segments with payload that was sent before.
    pub fn count_resent(&mut self) {
        self.count_resent = true;
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// A packet goes in. Returns the ICMP message that its sender gets for it, if any.
    #[must_use = "the sender of the packet is to get this message"]
    pub fn push(&mut self, now: Instant, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        self.stats.offered += 1;
        let orders = self.script(&packet);
        if orders.drop {
            self.stats.scripted += 1;
            return None;
        }
        if self.is_dark(now) {
            self.stats.blacked_out += 1;
            return None;
        }
        if let Some(PathMtu { octets, told }) = self.conditions.mtu
            && packet.len() > octets as usize
        {
            self.stats.too_big += 1;
            return told.then(|| too_big::message(&packet, octets)).flatten();
        }
        if self.is_lost() {
            self.stats.lost += 1;
            return None;
        }
        if self.conditions.corrupt.hits(&mut self.rng) || orders.corrupt {
            self.flip_a_bit(&mut packet);
        }
        if self.conditions.duplicate.hits(&mut self.rng) || orders.duplicate {
            self.stats.duplicated += 1;
            self.launch(now, packet.clone(), orders.delay);
        }
        self.launch(now, packet, orders.delay);
        None
    }

    /// A message from the path itself, which meets none of the conditions.
    pub fn bounce(&mut self, now: Instant, message: Vec<u8>) {
        self.insert(now, message);
    }

    /// The next packet that is due by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (place, packet) = entry.remove_entry();
        self.held.retain(|held| held.place != place);
        self.under_way_octets -= packet.len();
        self.stats.delivered += 1;
        Some(packet)
    }

    /// When the next packet is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(due, _)| *due)
    }

    /// Counts the packet for every scripted fault and tells what is to be done.
    fn script(&mut self, packet: &[u8]) -> Orders {
        let mut orders = Orders::default();
        if self.conditions.faults.is_empty() && !self.count_resent {
            return orders;
        }
        let looks = self.watcher.look(packet);
        self.stats.resent += u64::from(self.count_resent && looks.is(Kind::Again));
        for (fault, seen) in self.conditions.faults.iter().zip(&mut self.seen) {
            if !looks.is(fault.kind) {
                continue;
            }
            *seen = seen.saturating_add(1);
            if !fault.means(*seen) {
                continue;
            }
            match fault.action {
                Action::Drop => orders.drop = true,
                Action::Duplicate => orders.duplicate = true,
                Action::Delay(by) => orders.delay += by,
                Action::Corrupt => orders.corrupt = true,
            }
        }
        orders
    }

    fn is_dark(&self, now: Instant) -> bool {
        let time = now.since(Instant::ZERO);
        self.conditions.blackouts.iter().any(|dark| dark.from <= time && time < dark.from + dark.length)
    }

    fn is_lost(&mut self) -> bool {
        if let Some(burst) = self.conditions.burst {
            let change = if self.in_burst { burst.leave } else { burst.enter };
            self.in_burst ^= change.hits(&mut self.rng);
        }
        let by_itself = self.conditions.loss.hits(&mut self.rng);
        by_itself || (self.in_burst && self.conditions.burst.is_some())
    }

    fn flip_a_bit(&mut self, packet: &mut [u8]) {
        let bit = self.rng.below(packet.len() as u64 * 8) as usize;
        if let Some(octet) = packet.get_mut(bit / 8) {
            *octet ^= 1 << (bit % 8);
            self.stats.corrupted += 1;
        }
    }

    /// Puts a packet that survived on its way.
    fn launch(&mut self, now: Instant, mut packet: Vec<u8>, extra: Duration) {
        let Some(sent) = self.send_over_line(now, packet.len()) else {
            self.stats.queue_full += 1;
            return;
        };
        if self.under_way_octets + packet.len() > UNDER_WAY {
            self.stats.queue_full += 1;
            return;
        }
        if self.is_congested(packet.len()) && ecn::mark(&mut packet) {
            self.stats.marked += 1;
        }
        let due = sent + self.travel_time();
        if !extra.is_zero() {
            self.insert(due + extra, packet);
            return;
        }
        // Packets in one queue do not overtake each other, however the delay varies.
        let due = if due < self.last_due { self.last_due } else { due };
        self.last_due = due;
        match self.conditions.reorder {
            Some(reorder) if reorder.share.hits(&mut self.rng) => {
                self.stats.reordered += 1;
                match reorder.by {
                    Hold::Time(time) => {
                        self.insert(due + time, packet);
                    }
                    Hold::Packets(left) => {
                        let place = self.insert(due + HOLD, packet);
                        self.held.push(Held { place, left: left.max(1) });
                    }
                }
            }
            Some(_) | None => {
                self.insert(due, packet);
                self.release_overtaken(due);
            }
        }
    }

    /// When the line has sent `octets` given to it now; `None` when the queue before it is full.
    fn send_over_line(&mut self, now: Instant, octets: usize) -> Option<Instant> {
        while let Some(&(done, sent)) = self.waiting.front()
            && done <= now
        {
            self.waiting.pop_front();
            self.waiting_octets -= sent as u64;
        }
        let Some(rate) = self.conditions.rate else {
            return Some(now);
        };
        let full = match self.conditions.queue.unwrap_or(QueueLimit::Packets(QUEUE)) {
            QueueLimit::Packets(limit) => self.waiting.len() >= limit as usize,
            QueueLimit::Octets(limit) => self.waiting_octets + octets as u64 > limit,
        };
        if full {
            return None;
        }
        let nanos = octets as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
        let start = if self.line_free < now { now } else { self.line_free };
        self.line_free = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.waiting.push_back((self.line_free, octets));
        self.waiting_octets += octets as u64;
        Some(self.line_free)
    }

    /// Does the packet of so many octets that was just given to the line find more before it than it passes unmarked?
    fn is_congested(&self, octets: usize) -> bool {
        match self.conditions.mark {
            None => false,
            Some(QueueLimit::Packets(limit)) => self.waiting.len() > limit as usize,
            Some(QueueLimit::Octets(limit)) => self.waiting_octets - octets as u64 >= limit,
        }
    }

    /// The delay with this packet's share of the jitter.
    fn travel_time(&mut self) -> Duration {
        let Conditions { delay, jitter, .. } = self.conditions;
        if jitter.is_zero() {
            return delay;
        }
        let spread = self.rng.below(jitter.as_nanos().saturating_mul(2).saturating_add(1));
        (delay + Duration::from_nanos(spread)).saturating_sub(jitter)
    }

    fn insert(&mut self, due: Instant, packet: Vec<u8>) -> Place {
        let place = (due, self.next_number);
        self.next_number += 1;
        self.under_way_octets += packet.len();
        self.under_way.insert(place, packet);
        place
    }

    /// A packet due at `due` passed all that are held back: those it was the last for follow it at once.
    fn release_overtaken(&mut self, due: Instant) {
        for held in &mut self.held {
            held.left -= 1;
        }
        while let Some(at) = self.held.iter().position(|held| held.left == 0) {
            let Held { place, .. } = self.held.remove(at);
            // One whose time is up before that goes by itself.
            if due < place.0
                && let Some(packet) = self.under_way.remove(&place)
            {
                self.under_way_octets -= packet.len();
                self.insert(due, packet);
            }
        }
    }
}
