//! One seeded source of randomness per host, and the keyed functions that need a secret.
//!
//! SipHash-2-4 in counter mode: the same seed gives the same numbers (simulations replay), and without the
//! key no number tells anything about the next (RFC 6056 ports, RFC 7739 identifications, RFC 6528 ISNs).

use core::hash::{BuildHasher, Hasher};
use siphasher::sip::{SipHasher13, SipHasher24};

/// A 128-bit secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl core::fmt::Debug for Key {
    // RFC 6528 §3 (9293-MUST-9): a key never shows up in a log.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Keyed hash of `bytes` (SipHash-2-4).
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// A seeded, unpredictable stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    key: Key,
    counter: u64,
}

impl Rng {
    /// A stream determined by a 128-bit seed.
    pub fn new(seed: [u8; 16]) -> Rng {
        Rng { key: Key(seed), counter: 0 }
    }

    /// A stream for simulations and tests, named by a small number.
    pub fn from_seed(seed: u64) -> Rng {
        let mut bytes = [0x5c; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Rng::new(bytes)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        self.key.hash(&self.counter.to_le_bytes())
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `p` (clamped to 0..=1).
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A fresh secret.
    pub fn key(&mut self) -> Key {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_u64().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next_u64().to_le_bytes());
        Key(bytes)
    }
}

/// Hash state for tables whose keys a peer chooses (SipHash-1-3, keyed per host).
#[derive(Clone, Debug)]
pub struct KeyedState(Key);

impl KeyedState {
    /// Hash state with a secret of its own.
    pub fn new(rng: &mut Rng) -> KeyedState {
        KeyedState(rng.key())
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers() {
        let (mut a, mut b, mut c) = (Rng::from_seed(7), Rng::from_seed(7), Rng::from_seed(8));
        let first: Vec<u64> = (0..8).map(|_| a.next_u64()).collect();
        assert_eq!(first, (0..8).map(|_| b.next_u64()).collect::<Vec<_>>());
        assert_ne!(first, (0..8).map(|_| c.next_u64()).collect::<Vec<_>>());
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::from_seed(1);
        assert_eq!(rng.below(0), 0);
        for bound in [1, 2, 3, 1000] {
            assert!((0..1000).all(|_| rng.below(bound) < bound));
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", Key([7; 16])), "Key(..)");
    }
}
