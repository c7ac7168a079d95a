//! `CLOCK_MONOTONIC`, counted from the start of the stack.

use crate::base::{Duration, Instant};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A timeout for the kernel.
pub(crate) fn timeout(left: Duration) -> Timespec {
    timespec(left.as_nanos())
}

/// The only clock of a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: u64,
}

fn nanos(time: Timespec) -> u64 {
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

fn timespec(nanos: u64) -> Timespec {
    let secs = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
    Timespec { tv_sec: secs, tv_nsec: (nanos % 1_000_000_000) as _ }
}

impl Clock {
    /// A clock that shows zero now.
    pub fn start() -> Clock {
        Clock { start: nanos(clock_gettime(ClockId::Monotonic)) }
    }

    /// Time since the start.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(nanos(clock_gettime(ClockId::Monotonic)).saturating_sub(self.start))
    }

    /// `at` as the kernel's monotonic clock shows it.
    pub fn absolute(&self, at: Instant) -> Timespec {
        timespec(self.start.saturating_add(at.as_nanos()))
    }
}
