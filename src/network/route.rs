//! Routes and source addresses (RFC 1122 §3.3.1 and §3.3.4, RFC 6724 §5).
//!
//! Every route ends at the one device, so a route only says that a destination can be reached and which of our
//! addresses is nearest to it.
//!
//! conformance-review: 1122-3.3.1.4-dead-gw
//! Whatever gateway a route names stands behind that device: there is no other to turn to when it falls silent, and nothing to find out.

use crate::base::{Cidr, Errno};
use core::cmp::Ordering;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Routes besides the subnets of our own addresses.
#[derive(Debug, Default)]
pub(super) struct Routes {
    table: Vec<(Cidr, Option<IpAddr>)>,
}

impl Routes {
    pub(super) fn add(&mut self, destination: Cidr, gateway: Option<IpAddr>) -> Result<(), Errno> {
        let one_family = gateway.is_none_or(|gateway| gateway.is_ipv4() == destination.address.is_ipv4());
        let is_host = gateway.is_none_or(|gateway| !gateway.is_unspecified() && !gateway.is_multicast());
        if !one_family || !is_host {
            return Err(Errno::EINVAL);
        }
        let to_same =
            |(old, _): &(Cidr, _)| old.network() == destination.network() && old.prefix == destination.prefix;
        self.table.retain(|route| !to_same(route));
        self.table.push((destination, gateway));
        Ok(())
    }

    /// Gateways of the default routes.
    pub(super) fn gateways(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        let default = |v4: bool| {
            let is_default = |(to, _): &&(Cidr, _)| to.prefix == 0 && to.address.is_ipv4() == v4;
            self.table.iter().find(is_default).and_then(|(_, gateway)| *gateway)
        };
        (default(true), default(false))
    }

    /// Is there a way to `dst` from a host with the addresses `own`?
    pub(super) fn reaches(&self, own: &[Cidr], dst: IpAddr) -> bool {
        let is_everywhere = dst.is_multicast() || dst == IpAddr::V4(Ipv4Addr::BROADCAST);
        let same_family = || own.iter().any(|own| own.address.is_ipv4() == dst.is_ipv4());
        own.iter().any(|own| own.contains(dst))
            || (same_family() && (is_everywhere || self.table.iter().any(|(to, _)| to.contains(dst))))
    }

    /// The address among `own` that packets to `dst`, another host or group, come from.
    pub(super) fn source_for(&self, own: &[Cidr], dst: IpAddr) -> Result<IpAddr, Errno> {
        if !self.reaches(own, dst) {
            return Err(Errno::ENETUNREACH);
        }
        let source = match dst {
            IpAddr::V4(_) => self.source_v4(own, dst),
            IpAddr::V6(dst) => source_v6(own, dst),
        };
        source.ok_or(Errno::ENETUNREACH)
    }

    /// The address on the destination's subnet, else on the gateway's, else the first.
    fn source_v4(&self, own: &[Cidr], dst: IpAddr) -> Option<IpAddr> {
        let on_subnet_of = |address| longest(own.iter().filter(move |own| own.contains(address)));
        let gateway = || {
            let routes = self.table.iter().filter(|(to, _)| to.contains(dst));
            routes.rev().max_by_key(|(to, _)| to.prefix).and_then(|(_, gateway)| *gateway)
        };
        on_subnet_of(dst)
            .or_else(|| gateway().and_then(on_subnet_of))
            .or_else(|| own.iter().find(|own| own.address.is_ipv4()))
            .map(|own| own.address)
    }
}

/// The first of those with the longest prefix.
fn longest<'a>(candidates: impl Iterator<Item = &'a Cidr>) -> Option<&'a Cidr> {
    candidates.reduce(|best, next| if next.prefix > best.prefix { next } else { best })
}

/// RFC 6724 §5, as far as one interface without privacy addresses has a choice: rules 1, 2, 6 and 8.
fn source_v6(own: &[Cidr], dst: Ipv6Addr) -> Option<IpAddr> {
    let candidates = own.iter().filter_map(|own| match own.address {
        IpAddr::V6(address) => Some((address, own.prefix)),
        IpAddr::V4(_) => None,
    });
    let best = candidates.reduce(|best, next| match prefer(next, best, dst) {
        Ordering::Greater => next,
        Ordering::Less | Ordering::Equal => best,
    });
    best.map(|(address, _)| address.into())
}

/// Is `a` a better source for `dst` than `b`?
fn prefer(a: (Ipv6Addr, u8), b: (Ipv6Addr, u8), dst: Ipv6Addr) -> Ordering {
    let (scope_a, scope_b, scope_dst) = (scope(a.0), scope(b.0), scope(dst));
    let same = (a.0 == dst).cmp(&(b.0 == dst));
    // Rule 2: the smallest scope that is large enough; failing that the largest.
    let by_scope = match scope_a.cmp(&scope_b) {
        Ordering::Less if scope_a < scope_dst => Ordering::Less,
        Ordering::Less => Ordering::Greater,
        Ordering::Greater if scope_b < scope_dst => Ordering::Greater,
        Ordering::Greater => Ordering::Less,
        Ordering::Equal => Ordering::Equal,
    };
    let label_matches = |address| label(address) == label(dst);
    let by_label = label_matches(a.0).cmp(&label_matches(b.0));
    same.then(by_scope).then(by_label).then(common_prefix(a, dst).cmp(&common_prefix(b, dst)))
}

/// Scopes as multicast numbers them (RFC 6724 §3.1): 2 link-local, 5 site-local, 14 global.
fn scope(address: Ipv6Addr) -> u8 {
    match address.segments()[0] {
        first if first >= 0xff00 => (first & 0xf) as u8,
        first if first & 0xffc0 == 0xfe80 => 2,
        first if first & 0xffc0 == 0xfec0 => 5,
        _ if address.is_loopback() => 2,
        _ => 14,
    }
}

/// The labels of the default policy table (RFC 6724 §2.1).
fn label(address: Ipv6Addr) -> u8 {
    let segments = address.segments();
    match segments {
        _ if address.is_loopback() => 0,
        _ if address.to_ipv4_mapped().is_some() => 4,
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 5,
        [0x3ffe, ..] => 12,
        [first, ..] if first & 0xfe00 == 0xfc00 => 13,
        [first, ..] if first & 0xffc0 == 0xfec0 => 11,
        [0, 0, 0, 0, 0, 0, _, _] => 3,
        _ => 1,
    }
}

/// Leading bits in common, not beyond the source's own prefix (rule 8).
fn common_prefix((source, prefix): (Ipv6Addr, u8), dst: Ipv6Addr) -> u32 {
    (source.to_bits() ^ dst.to_bits()).leading_zeros().min(u32::from(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    /// conformance: 1122-3.3.1.1-local-remote
    #[test]
    fn the_source_is_the_address_nearest_to_the_destination() {
        let own = cidrs(&["10.0.0.1/24", "10.0.0.65/26", "192.168.1.1/24"]);
        let mut routes = Routes::default();
        routes.add("0.0.0.0/0".parse().expect("valid"), Some(ip("192.168.1.254"))).expect("a gateway");
        routes.add("172.16.0.0/12".parse().expect("valid"), Some(ip("10.0.0.2"))).expect("a gateway");
        routes.add("172.16.5.0/24".parse().expect("valid"), None).expect("direct");
        for (dst, source) in [
            ("10.0.0.9", "10.0.0.1"),
            ("10.0.0.70", "10.0.0.65"),
            ("192.168.1.7", "192.168.1.1"),
            ("8.8.8.8", "192.168.1.1"),
            ("172.16.1.1", "10.0.0.1"),
            ("172.16.5.1", "10.0.0.1"),
            ("255.255.255.255", "192.168.1.1"),
            ("239.1.1.1", "192.168.1.1"),
        ] {
            assert_eq!(routes.source_for(&own, ip(dst)), Ok(ip(source)), "{dst}");
        }
    }

    /// conformance: 1122-3.3.1.2-static
    #[test]
    fn without_a_route_the_network_is_unreachable() {
        let own = cidrs(&["10.0.0.1/24"]);
        let mut routes = Routes::default();
        assert_eq!(routes.source_for(&own, ip("8.8.8.8")), Err(Errno::ENETUNREACH));
        assert_eq!(routes.source_for(&own, ip("fd00::1")), Err(Errno::ENETUNREACH));
        assert_eq!(routes.source_for(&[], ip("255.255.255.255")), Err(Errno::ENETUNREACH));
        routes.add("0.0.0.0/0".parse().expect("valid"), Some(ip("10.0.0.2"))).expect("a gateway");
        assert_eq!(routes.source_for(&own, ip("8.8.8.8")), Ok(ip("10.0.0.1")));
        assert_eq!(routes.source_for(&own, ip("fd00::1")), Err(Errno::ENETUNREACH));
    }

    #[test]
    fn a_gateway_is_a_host_of_the_same_family_and_the_last_one_stays() {
        let mut routes = Routes::default();
        let default4 = "0.0.0.0/0".parse().expect("valid");
        for bad in ["fd00::1", "0.0.0.0", "224.0.0.1"] {
            assert_eq!(routes.add(default4, Some(ip(bad))), Err(Errno::EINVAL), "{bad}");
        }
        assert_eq!(routes.gateways(), (None, None));
        routes.add(default4, Some(ip("10.0.0.1"))).expect("good");
        routes.add(default4, Some(ip("10.0.0.2"))).expect("good");
        routes.add("::/0".parse().expect("valid"), Some(ip("fe80::1"))).expect("good");
        assert_eq!(routes.gateways(), (Some(ip("10.0.0.2")), Some(ip("fe80::1"))));
    }

    /// conformance: 6724-5-src-select
    #[test]
    fn ipv6_sources_follow_the_ordered_rules() {
        let all = ["fe80::1/64", "fd00:1::1/64", "2001:db8:1::1/64", "2001:db8:2::1/64", "2002:a00:1::1/48"];
        let mut routes = Routes::default();
        routes.add("::/0".parse().expect("valid"), None).expect("direct");
        for (own, dst, source) in [
            (&all[..], "2001:db8:2::1", "2001:db8:2::1"),
            (&all, "fe80::9", "fe80::1"),
            (&all, "ff02::1", "fe80::1"),
            (&all, "2001:db8:2:9::9", "2001:db8:2::1"),
            (&all, "fd00:1::9", "fd00:1::1"),
            (&all, "2002:a00:9::9", "2002:a00:1::1"),
            (&all, "ff0e::1", "2001:db8:1::1"),
            (&all[..2], "2001:db8:1::9", "fd00:1::1"),
        ] {
            assert_eq!(routes.source_for(&cidrs(own), ip(dst)), Ok(ip(source)), "{dst}");
        }
    }
}
