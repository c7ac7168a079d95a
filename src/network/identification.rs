//! Fragment identifications (RFC 6864, RFC 7739 §5.3): per pair of hosts they count up from a secret start, so that none
//! comes again soon, and those to one host tell nothing about those to another.

use crate::base::{Key, Rng};
use core::net::IpAddr;

/// Counters that all destinations share, by keyed hash.
const COUNTERS: usize = 1024;

/// The source of identifications of one host.
#[derive(Debug)]
pub(super) struct Identifications {
    start: Key,
    choice: Key,
    counters: Vec<u32>,
}

impl Identifications {
    pub(super) fn new(rng: &mut Rng) -> Identifications {
        let counters = (0..COUNTERS).map(|_| rng.next_u32()).collect();
        Identifications { start: rng.key(), choice: rng.key(), counters }
    }

    /// The next one for `(src, dst, protocol)`; over IPv4 its low 16 bits are used, which do not come again before
    /// 65536 others either.
    pub(super) fn next(&mut self, src: IpAddr, dst: IpAddr, protocol: u8) -> u32 {
        let mut flow = [0; 33];
        flow[..16].copy_from_slice(&octets(src));
        flow[16..32].copy_from_slice(&octets(dst));
        flow[32] = protocol;
        let counter = &mut self.counters[self.choice.hash(&flow) as usize % COUNTERS];
        *counter = counter.wrapping_add(1);
        counter.wrapping_add(self.start.hash(&flow) as u32)
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn host(n: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + n).to_be_bytes())
    }

    /// conformance: 6864-4.3-unique-mdl
    #[test]
    fn sixteen_bits_do_not_repeat_before_they_must() {
        let mut ids = Identifications::new(&mut Rng::from_seed(3));
        let seen: HashSet<u16> = (0..65536).map(|_| ids.next(host(1), host(2), 17) as u16).collect();
        assert_eq!(seen.len(), 65536);
    }

    /// conformance: 7739-5-no-quick-repeat
    #[test]
    fn a_hundred_thousand_identifications_have_no_repeat() {
        let mut ids = Identifications::new(&mut Rng::from_seed(4));
        let seen: HashSet<u32> = (0..100_000).map(|_| ids.next(host(1), host(2), 44)).collect();
        assert_eq!(seen.len(), 100_000);
    }

    /// conformance: 7739-3-unpredictable
    #[test]
    fn identifications_to_one_host_tell_nothing_about_another() {
        // The difference between what a victim and an attacker get at the same time, over many hosts: were it
        // predictable, some value would be common.
        let differences: HashSet<u32> = (0..2000)
            .map(|seed| {
                let mut ids = Identifications::new(&mut Rng::from_seed(seed));
                let attacker = ids.next(host(1), host(2), 17);
                ids.next(host(1), host(3), 17).wrapping_sub(attacker)
            })
            .collect();
        assert!(differences.len() > 1990, "{}", differences.len());
        let spread = differences.iter().filter(|d| **d < 1 << 31).count();
        assert!((800..1200).contains(&spread), "{spread}");
    }
}
