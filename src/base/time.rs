//! Time as the core sees it: nanoseconds, always passed in, never read.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::{Add, AddAssign, Sub};

/// A point in time: nanoseconds since the host started.
///
/// Kept as one more than that: an `Option<Instant>` takes eight octets, and an idle connection has a dozen of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

/// A length of time in nanoseconds. Arithmetic saturates: a timer can be far, never wrong.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Default for Instant {
    fn default() -> Instant {
        Instant::ZERO
    }
}

impl Instant {
    /// The moment the host started.
    pub const ZERO: Instant = Instant(NonZeroU64::MIN);

    /// The instant `nanos` nanoseconds after the host started.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the host started.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// Microseconds since the host started.
    pub const fn as_micros(self) -> u64 {
        self.as_nanos() / 1_000
    }

    /// Milliseconds since the host started.
    pub const fn as_millis(self) -> u64 {
        self.as_nanos() / 1_000_000
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// The longest duration that can be written.
    pub const MAX: Duration = Duration(u64::MAX);

    /// A duration of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Duration {
        Duration(nanos)
    }

    /// A duration of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Duration {
        Duration(micros.saturating_mul(1_000))
    }

    /// A duration of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Duration {
        Duration(millis.saturating_mul(1_000_000))
    }

    /// A duration of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Duration {
        Duration(secs.saturating_mul(1_000_000_000))
    }

    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Seconds with fraction, for people to read.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Is this no time at all?
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self - other`, not below zero.
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    /// `self × factor`, saturating.
    pub const fn mul(self, factor: u64) -> Duration {
        Duration(self.0.saturating_mul(factor))
    }

    /// `self ÷ divisor`; `divisor` must not be zero.
    pub const fn div(self, divisor: u64) -> Duration {
        Duration(self.0 / divisor)
    }

    /// `self × 2^power`, saturating: exponential backoff.
    pub fn backed_off(self, power: u32) -> Duration {
        Duration(self.0.saturating_mul(1u64.checked_shl(power).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Add for Duration {
    type Output = Duration;
    fn add(self, rhs: Duration) -> Duration {
        Duration(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, rhs: Duration) -> Instant {
        Instant::from_nanos(self.as_nanos().saturating_sub(rhs.0))
    }
}

impl From<core::time::Duration> for Duration {
    fn from(value: core::time::Duration) -> Duration {
        Duration(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for core::time::Duration {
    fn from(value: Duration) -> core::time::Duration {
        core::time::Duration::from_nanos(value.0)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.as_nanos() / 1_000_000_000, self.as_micros() % 1_000_000)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::time::Duration::from(*self).fmt(f)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Instant::ZERO + Duration::MAX + Duration::from_secs(1), Instant::from_nanos(u64::MAX));
        assert_eq!(size_of::<Option<Instant>>(), 8);
        assert_eq!(Instant::ZERO.since(Instant::from_nanos(5)), Duration::ZERO);
        assert_eq!(Duration::from_secs(1).backed_off(200), Duration::MAX);
        assert_eq!(Duration::from_millis(200).backed_off(3), Duration::from_millis(1600));
    }

    #[test]
    fn converts_to_and_from_the_standard_duration() {
        let std = core::time::Duration::from_millis(1500);
        assert_eq!(Duration::from(std), Duration::from_millis(1500));
        assert_eq!(core::time::Duration::from(Duration::from_millis(1500)), std);
    }
}
