//! Reassembly (RFC 791 §3.2, RFC 815, RFC 8200 §4.5): one engine for both families.
//!
//! Pieces are kept apart, ordered by offset, until they fill the datagram; so memory is what arrived, whatever the
//! offsets say. No two pieces ever overlap: an overlap condemns the datagram (RFC 5722), and what is left of it keeps
//! later pieces from reviving it. Octets and datagrams are bounded; whoever holds most loses first.

use super::Env;
use crate::base::{Instant, KeyedState, Rng};
use crate::trace::Drop;
use crate::wire::ip::FragmentInfo;
use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

/// What a datagram costs besides its octets.
const DATAGRAM_OVERHEAD: usize = 256;
/// What a piece costs besides its octets.
const PIECE_OVERHEAD: usize = 64;

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// Zero over IPv6, where it is no part of the key (8200-4.5-reass-key).
    pub(super) protocol: u8,
    pub(super) id: u32,
}

/// A fragment that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    /// The headers up to the payload, as they arrived.
    pub(super) head: &'a [u8],
    /// What is put together.
    pub(super) payload: &'a [u8],
    pub(super) info: FragmentInfo,
    /// The ECN field of its header.
    pub(super) ecn: u8,
    /// Its checksum needs no check.
    pub(super) trusted: bool,
}

/// What became of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Others are still missing, or it came twice.
    Held,
    /// It was the last one missing.
    Complete(Whole),
    /// It was refused.
    Refused(Drop),
}

/// All pieces of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// The headers of the first fragment as they arrived (815-4-first-header, 8200-4.5-nh-first).
    pub(super) head: Vec<u8>,
    /// The payload in one piece.
    pub(super) payload: Vec<u8>,
    /// What the ECN field becomes.
    pub(super) ecn: u8,
    /// No piece needs a check of its checksum.
    pub(super) trusted: bool,
}

/// A datagram that took too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    /// Its source, which says the family.
    pub(super) src: IpAddr,
    /// Its first fragment, if it came.
    pub(super) first: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Datagram {
    /// Headers of the first fragment; empty until it comes.
    head: Vec<u8>,
    /// Payloads by offset.
    pieces: BTreeMap<u32, Vec<u8>>,
    /// Octets in `pieces`.
    held: usize,
    /// Length of the whole, once the last fragment came.
    total: Option<u32>,
    trusted: bool,
    /// One bit for each ECN field that came.
    ecn_seen: u8,
    /// Nothing will come of it, but later pieces must not begin it anew.
    is_condemned: bool,
    /// When it is given up, and its number among all.
    turn: (Instant, u64),
}

/// Datagrams of which pieces are missing.
#[derive(Debug)]
pub(super) struct Reassembly {
    datagrams: HashMap<Key, Datagram, KeyedState>,
    /// The same in the order in which they expire.
    turns: BTreeMap<(Instant, u64), Key>,
    started: u64,
    /// Octets of all, overhead included.
    used: usize,
}

impl Reassembly {
    pub(super) fn new(rng: &mut Rng) -> Reassembly {
        Reassembly {
            datagrams: HashMap::with_hasher(KeyedState::new(rng)),
            turns: BTreeMap::new(),
            started: 0,
            used: 0,
        }
    }

    /// Octets held, overhead included.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Datagrams held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// When the oldest datagram is given up.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.turns.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Expired> {
        let (&(at, _), &key) = self.turns.first_key_value()?;
        if now < at {
            return None;
        }
        let mut datagram = self.take(&key)?;
        let first = datagram.pieces.remove(&0).map(|piece| [datagram.head, piece].concat());
        Some(Expired { src: key.src, first })
    }

    /// Takes a fragment in. What it weighs besides its own octets is the caller's to judge.
    pub(super) fn add(&mut self, env: &mut Env<'_>, key: Key, fragment: Fragment<'_>) -> Outcome {
        let needed = fragment.payload.len() + fragment.head.len() + PIECE_OVERHEAD;
        if !self.make_room(env, &key, needed) {
            return Outcome::Refused(Drop::FragmentNoRoom);
        }
        if !self.datagrams.contains_key(&key) {
            self.begin(env, key);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Outcome::Refused(Drop::FragmentNoRoom);
        };
        let before = datagram.weight();
        let outcome = datagram.add(fragment);
        self.used = self.used - before + datagram.weight();
        match outcome {
            Added::Held => Outcome::Held,
            Added::Refused(reason) => Outcome::Refused(reason),
            Added::Complete => match self.take(&key).and_then(Datagram::into_whole) {
                Some(whole) => Outcome::Complete(whole),
                None => Outcome::Refused(Drop::FragmentBad),
            },
        }
    }

    fn begin(&mut self, env: &Env<'_>, key: Key) {
        self.started += 1;
        // RFC 1122 §3.3.2: the time is a constant, counted from the fragment that came first.
        let turn = (env.now + env.config.ipfrag_time, self.started);
        let datagram = Datagram {
            head: Vec::new(),
            pieces: BTreeMap::new(),
            held: 0,
            total: None,
            trusted: true,
            ecn_seen: 0,
            is_condemned: false,
            turn,
        };
        self.used += datagram.weight();
        self.turns.insert(turn, key);
        self.datagrams.insert(key, datagram);
    }

    fn take(&mut self, key: &Key) -> Option<Datagram> {
        let datagram = self.datagrams.remove(key)?;
        self.turns.remove(&datagram.turn);
        self.used -= datagram.weight();
        Some(datagram)
    }

    /// Gives up datagrams until `needed` more octets fit for `key`. False when it would have to be that one.
    fn make_room(&mut self, env: &mut Env<'_>, key: &Key, needed: usize) -> bool {
        loop {
            let new = usize::from(!self.datagrams.contains_key(key));
            let too_many = self.datagrams.len() + new > env.config.ipfrag_max_datagrams as usize;
            let too_much =
                self.used + needed + new * DATAGRAM_OVERHEAD > env.config.ipfrag_high_thresh as usize;
            if !too_many && !too_much {
                return true;
            }
            let Some(victim) = self.victim(too_many) else { return false };
            self.take(&victim);
            let v4 = victim.src.is_ipv4();
            *if v4 { &mut env.counters.ip_reasm_fails } else { &mut env.counters.ip6_reasm_fails } += 1;
            if victim == *key {
                return false;
            }
        }
    }

    /// The oldest datagram of the source that has most: datagrams when their number is short, else octets. A flood
    /// from one source so drives out its own.
    fn victim(&self, by_number: bool) -> Option<Key> {
        let mut shares: HashMap<u128, usize> = HashMap::new();
        for (key, datagram) in &self.datagrams {
            *shares.entry(source(key)).or_default() += if by_number { 1 } else { datagram.weight() };
        }
        let most = *shares.values().max()?;
        self.turns.values().find(|key| shares.get(&source(key)) == Some(&most)).copied()
    }
}

/// Who is behind a datagram: an IPv4 address, or an IPv6 subnet, all of which one host can have.
fn source(key: &Key) -> u128 {
    match key.src {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() | u128::from(u64::MAX),
    }
}

enum Added {
    Held,
    Complete,
    Refused(Drop),
}

impl Datagram {
    fn weight(&self) -> usize {
        DATAGRAM_OVERHEAD + self.head.len() + self.held + self.pieces.len() * PIECE_OVERHEAD
    }

    fn add(&mut self, fragment: Fragment<'_>) -> Added {
        if self.is_condemned {
            return Added::Refused(Drop::FragmentOverlap);
        }
        let start = u32::from(fragment.info.offset);
        let end = start + fragment.payload.len() as u32;
        if self.has_copy(start, fragment) {
            return Added::Held;
        }
        // Two ends, or data past the end (791-3.2-reass-end), and overlaps (5722-4-overlap-discard).
        let past_end = self.total.is_some_and(|total| end > total || (!fragment.info.more && end != total));
        let too_late = !fragment.info.more && self.end() > end;
        if past_end || too_late {
            return self.condemn(Drop::FragmentBad);
        }
        if self.overlaps(start, end) {
            return self.condemn(Drop::FragmentOverlap);
        }
        if start == 0 {
            self.head = fragment.head.to_vec();
        }
        if !fragment.info.more {
            self.total = Some(end);
        }
        self.trusted &= fragment.trusted;
        self.ecn_seen |= 1 << (fragment.ecn & 3);
        self.held += fragment.payload.len();
        self.pieces.insert(start, fragment.payload.to_vec());
        // Nothing overlaps, so enough octets means all of them.
        if self.total.is_some_and(|total| total as usize == self.held) {
            Added::Complete
        } else {
            Added::Held
        }
    }

    /// Did the very same piece come before? That is harmless (791-3.2-reass-dup).
    fn has_copy(&self, start: u32, fragment: Fragment<'_>) -> bool {
        let same_end = match self.total {
            Some(total) if !fragment.info.more => start + fragment.payload.len() as u32 == total,
            Some(total) => start + (fragment.payload.len() as u32) < total,
            None => fragment.info.more,
        };
        same_end && self.pieces.get(&start).is_some_and(|piece| piece == fragment.payload)
    }

    fn end(&self) -> u32 {
        self.pieces.last_key_value().map_or(0, |(start, piece)| start + piece.len() as u32)
    }

    fn overlaps(&self, start: u32, end: u32) -> bool {
        let before = self.pieces.range(..end).next_back();
        before.is_some_and(|(at, piece)| at + piece.len() as u32 > start)
    }

    fn condemn(&mut self, reason: Drop) -> Added {
        self.is_condemned = true;
        self.head = Vec::new();
        self.pieces = BTreeMap::new();
        self.held = 0;
        Added::Refused(reason)
    }

    fn into_whole(self) -> Option<Whole> {
        let ecn = joint_ecn(self.ecn_seen)?;
        let mut payload = Vec::with_capacity(self.held);
        for piece in self.pieces.values() {
            payload.extend_from_slice(piece);
        }
        Some(Whole { head: self.head, payload, ecn, trusted: self.trusted })
    }
}

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// The ECN field of a datagram whose pieces had the fields in `seen`: CE is never lost (3168-5.3-reass). As on Linux
/// there is none when some pieces took part in ECN and others did not.
fn joint_ecn(seen: u8) -> Option<u8> {
    let has = |ecn: u8| seen & 1 << ecn != 0;
    match has(NOT_ECT) {
        true => (seen == 1 << NOT_ECT).then_some(NOT_ECT),
        false if has(CE) => Some(CE),
        false if has(ECT_0) => Some(ECT_0),
        false => Some(ECT_1),
    }
}
