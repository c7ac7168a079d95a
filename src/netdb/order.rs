//! Which address of a host to try first (RFC 6724 §6).
//!
//! Followed: rules 1, 2, 5, 6, 8, 9 (IPv6 only, as Linux's C library does) and 10. Rules 3, 4 and 7 need address
//! states that a plain host on a TUN device does not have (deprecated, home, encapsulated).

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

/// The default policy table (RFC 6724 §2.1): prefix, its length, precedence, label.
const POLICY: [(Ipv6Addr, u32, u8, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
];

/// Scopes in the order of RFC 4007 §5; larger reaches further.
const SCOPE_LINK: u8 = 2;
const SCOPE_SITE: u8 = 5;
const SCOPE_GLOBAL: u8 = 14;

/// Sorts destinations, best first. `source` tells the address that a packet to a destination would leave from, `None`
/// where there is no way.
pub fn sort(destinations: &mut [IpAddr], source: impl Fn(IpAddr) -> Option<IpAddr>) {
    destinations.sort_by_cached_key(|&destination| key(destination, source(destination)));
}

/// The smaller, the better: one element per rule. Addresses of different families never tie before the last one.
type SortKey = (Reverse<bool>, Reverse<bool>, Reverse<bool>, Reverse<u8>, u8, Reverse<u32>);

fn key(destination: IpAddr, source: Option<IpAddr>) -> SortKey {
    let (precedence, label) = policy(destination);
    let scope = scope(destination);
    let same_scope = source.is_some_and(|source| self::scope(source) == scope);
    let same_label = source.is_some_and(|source| policy(source).1 == label);
    let common = source.map_or(0, |source| common_prefix(source, destination));
    // Rules 1, 2, 5, 6, 8, 9; rule 10 is the stable sort.
    (
        Reverse(source.is_some()),
        Reverse(same_scope),
        Reverse(same_label),
        Reverse(precedence),
        scope,
        Reverse(common),
    )
}

fn policy(address: IpAddr) -> (u8, u8) {
    let bits = mapped(address).to_bits();
    POLICY
        .iter()
        .find(|(prefix, length, _, _)| {
            (bits ^ prefix.to_bits()).checked_shr(128 - length).is_none_or(|rest| rest == 0)
        })
        .map_or((40, 1), |&(_, _, precedence, label)| (precedence, label))
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// RFC 6724 §3.1 and §3.2: private IPv4 addresses are global here.
fn scope(address: IpAddr) -> u8 {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => SCOPE_LINK,
        IpAddr::V4(_) => SCOPE_GLOBAL,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 15,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => SCOPE_LINK,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => SCOPE_SITE,
        IpAddr::V6(_) => SCOPE_GLOBAL,
    }
}

/// Leading bits that two IPv6 addresses share, at most the 64 of a subnet prefix (RFC 6724 §2.2).
fn common_prefix(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros().min(64),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    /// Sorts `destinations` given as `destination<source` (no source: no way there).
    fn sorted(pairs: &[&str]) -> Vec<String> {
        let pairs: Vec<(IpAddr, Option<IpAddr>)> = pairs
            .iter()
            .map(|pair| match pair.split_once('<') {
                Some((destination, source)) => (ip(destination), Some(ip(source))),
                None => (ip(pair), None),
            })
            .collect();
        let mut destinations: Vec<IpAddr> = pairs.iter().map(|pair| pair.0).collect();
        sort(&mut destinations, |wanted| pairs.iter().find(|pair| pair.0 == wanted).and_then(|pair| pair.1));
        destinations.iter().map(IpAddr::to_string).collect()
    }

    /// The examples of RFC 6724 §10.2, and one table row per rule.
    #[test]
    fn destinations_come_in_the_order_of_the_rfc() {
        let table: &[(&[&str], &[&str])] = &[
            // Rule 2, matching scope.
            (
                &["198.51.100.121<169.254.13.78", "2001:db8:1::1<2001:db8:1::2"],
                &["2001:db8:1::1", "198.51.100.121"],
            ),
            (
                &["2001:db8:1::1<fe80::1", "198.51.100.121<198.51.100.117"],
                &["198.51.100.121", "2001:db8:1::1"],
            ),
            // Rule 6, higher precedence.
            (&["10.1.2.3<10.1.2.4", "2001:db8:1::1<2001:db8:1::2"], &["2001:db8:1::1", "10.1.2.3"]),
            // Rule 8, smaller scope.
            (&["2001:db8:1::1<2001:db8:1::2", "fe80::1<fe80::2"], &["fe80::1", "2001:db8:1::1"]),
            // Rule 5, matching label (6to4).
            (
                &["2001:db8:1::1<2002:c633:6401::2", "2002:c633:6401::1<2002:c633:6401::2"],
                &["2002:c633:6401::1", "2001:db8:1::1"],
            ),
            // Rule 6 again: native before 6to4.
            (
                &["2002:c633:6401::1<2002:c633:6401::2", "2001:db8:1::1<2001:db8:1::2"],
                &["2001:db8:1::1", "2002:c633:6401::1"],
            ),
            // Rule 1, no way there.
            (&["2001:db8::1", "192.0.2.1<10.9.0.2"], &["192.0.2.1", "2001:db8::1"]),
            (&["::1<::1", "127.0.0.1<127.0.0.1"], &["::1", "127.0.0.1"]),
            // Rule 9, longest prefix, within the 64 bits of a subnet.
            (
                &["2001:db9::1<2001:db8::9", "2001:db8:0:1::1<2001:db8::9", "2001:db8::1<2001:db8::9"],
                &["2001:db8::1", "2001:db8:0:1::1", "2001:db9::1"],
            ),
            (&["2001:db8::f<2001:db8::e", "2001:db8::d<2001:db8::e"], &["2001:db8::f", "2001:db8::d"]),
            // Rule 10: otherwise the order of the answer.
            (&["192.0.2.9<10.9.0.2", "192.0.2.1<10.9.0.2"], &["192.0.2.9", "192.0.2.1"]),
            // Unique local to unique local before IPv4 only where the source is one too (label).
            (&["fd09::1<fd09::2", "10.9.0.1<10.9.0.2"], &["10.9.0.1", "fd09::1"]),
        ];
        for (given, expected) in table {
            assert_eq!(&sorted(given), expected, "{given:?}");
        }
    }
}
