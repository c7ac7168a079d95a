//! A link that is bad on purpose: loss, duplication, reordering, delay, a slow line, damage, a small MTU, darkness, and
//! faults by script.
//!
//! [`Impairment`] says what both directions do, as values and as the text of `--link`; [`Impair`] does it to one
//! direction. Time is passed in and all chance comes from one seed, so the same packets at the same times meet the
//! same fate.
//!
//! Deliberately left out: fragmentation by a router. A packet above the path MTU is dropped, whatever its DF bit says.

mod ecn;
mod fault;
mod stage;
mod text;
mod too_big;

use crate::base::{Duration, Rng};
pub use fault::{Action, Fault, Kind};
pub use stage::{Impair, Stats};
pub use text::ImpairError;

/// What a link does to packets, each direction for itself.
///
/// ```
/// use tunstack::link::impair::{Impairment, Share};
///
/// let link: Impairment = "loss=10%,down:delay=20ms,drop=syn-ack:1".parse().unwrap();
/// assert_eq!(link.up.loss, Share::percent(10));
/// assert_eq!(link.to_string(), "loss=10%,down:delay=20ms,drop=syn-ack:1");
/// let error = "loss=110%".parse::<Impairment>().unwrap_err();
/// assert!(error.to_string().ends_with("expected a percentage from 0% to 100%, like 0.5%"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// From the stack to the wire; between two hosts: from the first to the second.
    pub up: Conditions,
    /// From the wire to the stack.
    pub down: Conditions,
}

impl Impairment {
    /// The same conditions both ways.
    pub fn both(conditions: Conditions) -> Impairment {
        Impairment { up: conditions.clone(), down: conditions }
    }

    /// The stages of both directions, up first. All their chance comes from `seed`.
    pub fn stages(&self, seed: u64) -> (Impair, Impair) {
        let mut rng = Rng::from_seed(seed);
        let mut stage = |conditions: &Conditions| Impair::new(conditions.clone(), Rng::new(rng.key().0));
        (stage(&self.up), stage(&self.down))
    }
}

/// What one direction of a link does to packets. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Share of packets that is lost, each by itself.
    pub loss: Share,
    /// Losses in bursts.
    pub burst: Option<Burst>,
    /// Share of packets that arrives twice.
    pub duplicate: Share,
    /// Packets that are overtaken by later ones.
    pub reorder: Option<Reorder>,
    /// Share of packets in which one bit is flipped.
    pub corrupt: Share,
    /// Time that every packet is under way.
    pub delay: Duration,
    /// The delay varies by up to this much, both ways and evenly. This alone never reorders.
    pub jitter: Duration,
    /// Bits per second that the line carries.
    pub rate: Option<u64>,
    /// What waits for a line with a rate at most; [`QUEUE`] packets when not given.
    pub queue: Option<QueueLimit>,
    /// Packets that find so much waiting for the line are marked Congestion Experienced, if their transport understands
    /// that (RFC 3168).
    pub mark: Option<QueueLimit>,
    /// Larger packets do not pass.
    pub mtu: Option<PathMtu>,
    /// Times in which nothing passes.
    pub blackouts: Vec<Blackout>,
    /// Faults by script.
    pub faults: Vec<Fault>,
}

/// Packets that wait for a line with a rate when no limit is given.
pub const QUEUE: u32 = 1000;

/// A share of packets, in parts per million: exact, so that a seed replays on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// None.
    pub const NONE: Share = Share(0);
    /// All.
    pub const ALL: Share = Share(1_000_000);

    /// `parts` per million, at most all.
    pub const fn per_million(parts: u32) -> Share {
        if parts > Share::ALL.0 { Share::ALL } else { Share(parts) }
    }

    /// `percent` of a hundred, at most all.
    pub const fn percent(percent: u32) -> Share {
        Share::per_million(percent.saturating_mul(10_000))
    }

    /// Parts per million.
    pub const fn as_per_million(self) -> u32 {
        self.0
    }

    /// Is it the turn of this share? A share of none draws no number.
    fn hits(self, rng: &mut Rng) -> bool {
        self != Share::NONE && rng.below(u64::from(Share::ALL.0)) < u64::from(self.0)
    }
}

/// Losses in bursts (Gilbert's model): in the bad state everything is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Chance per packet to enter the bad state.
    pub enter: Share,
    /// Chance per packet to leave it; its inverse is the mean length of a burst.
    pub leave: Share,
}

/// Packets that are overtaken by later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// Share of packets that is held back.
    pub share: Share,
    /// For how long.
    pub by: Hold,
}

/// How long an overtaken packet is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until so many later packets have passed, or a tenth of a second.
    Packets(u32),
    /// For so long.
    Time(Duration),
}

/// What waits for a line with a rate at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// So many packets.
    Packets(u32),
    /// So many octets.
    Octets(u64),
}

/// A path whose MTU is below the link's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// Largest packet that passes.
    pub octets: u32,
    /// Is the sender told (RFC 1191 "fragmentation needed", RFC 8201 "packet too big"), or is it a black hole?
    pub told: bool,
}

/// A time in which nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// When it begins, counted from the start.
    pub from: Duration,
    /// How long it lasts.
    pub length: Duration,
}

#[cfg(test)]
mod tests;
