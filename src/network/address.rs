//! Our addresses and groups, and what any address is to us (RFC 1122 §3.2.1.3, RFC 4291).

use super::AddressKind;
use crate::base::{Cidr, Errno};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

/// The addresses of the host and the groups that it is in.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    own: Vec<Cidr>,
    /// How often each group was joined.
    groups: BTreeMap<IpAddr, u32>,
}

impl Addresses {
    pub(super) fn own(&self) -> &[Cidr] {
        &self.own
    }

    pub(super) fn add(&mut self, cidr: Cidr) -> Result<(), Errno> {
        if !may_be_ours(cidr) {
            return Err(Errno::EINVAL);
        }
        if self.own.iter().any(|own| own.address == cidr.address) {
            return Err(Errno::EADDRINUSE);
        }
        self.own.push(cidr);
        Ok(())
    }

    pub(super) fn remove(&mut self, cidr: Cidr) -> Result<(), Errno> {
        let at = self.own.iter().position(|own| *own == cidr).ok_or(Errno::EADDRNOTAVAIL)?;
        self.own.remove(at);
        Ok(())
    }

    pub(super) fn join(&mut self, group: IpAddr) -> Result<(), Errno> {
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        *self.groups.entry(group).or_default() += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self, group: IpAddr) -> Result<(), Errno> {
        let count = self.groups.get_mut(&group).ok_or(Errno::EADDRNOTAVAIL)?;
        *count -= 1;
        if *count == 0 {
            self.groups.remove(&group);
        }
        Ok(())
    }

    pub(super) fn is_member(&self, group: IpAddr) -> bool {
        is_all_hosts(group) || self.groups.contains_key(&group)
    }

    pub(super) fn kind(&self, address: IpAddr) -> AddressKind {
        match address {
            IpAddr::V4(v4) => self.kind_v4(v4),
            IpAddr::V6(v6) if self.own.iter().any(|own| own.address == IpAddr::V6(v6)) => AddressKind::Own,
            IpAddr::V6(v6) if v6.is_unspecified() => AddressKind::Unspecified,
            IpAddr::V6(v6) if v6.is_loopback() => AddressKind::Loopback,
            IpAddr::V6(v6) if v6.is_multicast() => AddressKind::Multicast,
            IpAddr::V6(_) => AddressKind::Remote,
        }
    }

    fn kind_v4(&self, address: Ipv4Addr) -> AddressKind {
        let mut broadcast = address.is_broadcast();
        for own in &self.own {
            if own.address == IpAddr::V4(address) {
                return AddressKind::Own;
            }
            broadcast |= own.broadcast() == Some(address);
        }
        match address {
            _ if broadcast => AddressKind::Broadcast,
            _ if address.is_unspecified() => AddressKind::Unspecified,
            _ if address.is_loopback() => AddressKind::Loopback,
            _ if address.is_multicast() => AddressKind::Multicast,
            _ => AddressKind::Remote,
        }
    }
}

/// The groups that every host is in without joining (RFC 1112 §4, RFC 4291 §2.8).
fn is_all_hosts(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group == Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(group) => {
            group == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)
                || group == Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1)
        }
    }
}

fn may_be_ours(cidr: Cidr) -> bool {
    match cidr.address {
        IpAddr::V4(address) => {
            let is_end_of_subnet =
                cidr.prefix < 31 && (cidr.network() == cidr.address || cidr.broadcast() == Some(address));
            is_unicast_v4(address) && !address.is_loopback() && address.octets()[0] < 240 && !is_end_of_subnet
        }
        IpAddr::V6(address) => is_unicast_v6(address) && !address.is_loopback(),
    }
}

/// May a packet have this source at all, whoever the host is? 0/8 only names a host that has no address yet.
pub(super) fn is_unicast_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] != 0 && !address.is_multicast() && !address.is_broadcast()
}

/// As [`is_unicast_v4`]; an IPv4-mapped address never stands on the wire (4291-v4mapped).
pub(super) fn is_unicast_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address.to_ipv4_mapped().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("valid")
    }

    #[test]
    fn only_addresses_that_a_host_can_have_are_added() {
        let mut addresses = Addresses::default();
        for bad in [
            "0.0.0.0/0",
            "0.1.2.3/8",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "255.255.255.255/32",
            "240.0.0.1/8",
            "10.0.0.0/24",
            "10.0.0.255/24",
            "::/0",
            "::1/128",
            "ff02::1/64",
            "::ffff:10.0.0.1/128",
        ] {
            assert_eq!(addresses.add(cidr(bad)), Err(Errno::EINVAL), "{bad}");
        }
        for good in
            ["10.0.0.1/24", "10.0.1.0/31", "10.0.2.255/32", "10.1.0.255/16", "fd00::/64", "fe80::1/64"]
        {
            assert_eq!(addresses.add(cidr(good)), Ok(()), "{good}");
        }
        assert_eq!(addresses.add(cidr("10.0.0.1/8")), Err(Errno::EADDRINUSE));
        assert_eq!(addresses.remove(cidr("10.0.0.1/8")), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(addresses.remove(cidr("10.0.0.1/24")), Ok(()));
        assert_eq!(addresses.kind("10.0.0.1".parse().expect("valid")), AddressKind::Remote);
    }

    #[test]
    fn every_address_has_a_kind() {
        let mut addresses = Addresses::default();
        addresses.add(cidr("10.0.0.1/24")).expect("good");
        addresses.add(cidr("fd00::1/64")).expect("good");
        for (text, kind) in [
            ("10.0.0.1", AddressKind::Own),
            ("fd00::1", AddressKind::Own),
            ("10.0.0.2", AddressKind::Remote),
            ("10.0.0.0", AddressKind::Remote),
            ("10.0.0.255", AddressKind::Broadcast),
            ("10.0.1.255", AddressKind::Remote),
            ("255.255.255.255", AddressKind::Broadcast),
            ("127.1.2.3", AddressKind::Loopback),
            ("::1", AddressKind::Loopback),
            ("0.0.0.0", AddressKind::Unspecified),
            ("::", AddressKind::Unspecified),
            ("239.1.1.1", AddressKind::Multicast),
            ("ff02::1", AddressKind::Multicast),
        ] {
            assert_eq!(addresses.kind(text.parse().expect("valid")), kind, "{text}");
        }
    }

    #[test]
    fn a_group_is_left_with_the_last_leave() {
        let mut addresses = Addresses::default();
        let group = "239.1.1.1".parse().expect("valid");
        assert_eq!(addresses.join("10.0.0.1".parse().expect("valid")), Err(Errno::EINVAL));
        assert_eq!(addresses.leave(group), Err(Errno::EADDRNOTAVAIL));
        addresses.join(group).expect("a group");
        addresses.join(group).expect("a group");
        addresses.leave(group).expect("joined");
        assert!(addresses.is_member(group));
        addresses.leave(group).expect("joined");
        assert!(!addresses.is_member(group));
    }
}
