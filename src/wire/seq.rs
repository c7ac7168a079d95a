//! Sequence space (RFC 9293 §3.4).

use core::fmt;

/// A point in sequence space. Not `Ord`: the order is circular.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// Is `self` before `other`? Exact while the two are less than 2^31 apart.
    pub const fn before(self, other: SeqNumber) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Is `self` before `other`, or the same?
    pub const fn at_or_before(self, other: SeqNumber) -> bool {
        !other.before(self)
    }

    /// Is `self` after `other`?
    pub const fn after(self, other: SeqNumber) -> bool {
        other.before(self)
    }

    /// Octets from `earlier` to `self`; `None` when `earlier` is not at or before `self`.
    pub const fn since(self, earlier: SeqNumber) -> Option<u32> {
        if self.before(earlier) { None } else { Some(self.0.wrapping_sub(earlier.0)) }
    }

    /// Octets from `earlier` to `self`, for two points whose order is an invariant.
    pub const fn distance_from(self, earlier: SeqNumber) -> u32 {
        debug_assert!(!self.before(earlier));
        self.0.wrapping_sub(earlier.0)
    }

    /// The point `octets` further on.
    pub const fn add(self, octets: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_add(octets))
    }

    /// The point `octets` earlier.
    pub const fn sub(self, octets: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_sub(octets))
    }

    /// The later of the two.
    pub const fn max(self, other: SeqNumber) -> SeqNumber {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    pub const fn min(self, other: SeqNumber) -> SeqNumber {
        if self.before(other) { self } else { other }
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// conformance: 9293-3.4-seq-arith
    #[test]
    fn comparison_is_exact_across_the_wrap() {
        for base in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ff00, 0xffff_ffff] {
            let a = SeqNumber(base);
            for step in [1, 2, 1460, 0x7fff_ffff] {
                let b = a.add(step);
                assert!(a.before(b) && b.after(a) && !b.before(a), "{base} + {step}");
                assert_eq!(b.since(a), Some(step));
                assert_eq!(a.since(b), None);
                assert_eq!(a.max(b), b);
                assert_eq!(a.min(b), a);
            }
            assert!(a.at_or_before(a) && !a.before(a));
        }
    }
}
