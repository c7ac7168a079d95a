//! Addresses with a prefix length.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with the length of its prefix, as `10.0.0.2/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address, host bits included.
    pub address: IpAddr,
    /// Bits of the prefix, at most 32 or 128.
    pub prefix: u8,
}

impl Cidr {
    /// `None` when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Cidr> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Cidr { address, prefix })
    }

    /// Is `address` inside the prefix?
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask32(self.prefix) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask128(self.prefix) == 0,
            _ => false,
        }
    }

    /// The first address of the prefix.
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & mask32(self.prefix)).into(),
            IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & mask128(self.prefix)).into(),
        }
    }

    /// The directed broadcast address; `None` for IPv6 and for prefixes of 31 and 32 bits (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(a) if self.prefix < 31 => {
                Some(Ipv4Addr::from_bits(a.to_bits() | !mask32(self.prefix)))
            }
            _ => None,
        }
    }
}

fn mask32(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask128(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl core::str::FromStr for Cidr {
    type Err = CidrError;
    /// `address/prefix`; without a prefix the address alone (32 or 128 bits).
    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let error = || CidrError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| error())?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Cidr::new(address, prefix).ok_or_else(error)
    }
}

impl core::fmt::Display for Cidr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A text that is no address with prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError(String);

impl core::fmt::Display for CidrError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "'{}' is no address with prefix, like 10.9.0.2/24 or fd09::2/64", self.0)
    }
}

impl core::error::Error for CidrError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_arithmetic_holds_at_the_ends() {
        let cidr: Cidr = "10.9.0.2/24".parse().expect("valid");
        assert!(cidr.contains("10.9.0.255".parse().expect("valid")));
        assert!(!cidr.contains("10.9.1.0".parse().expect("valid")));
        assert_eq!(cidr.broadcast(), Some(Ipv4Addr::new(10, 9, 0, 255)));
        assert_eq!(cidr.network(), IpAddr::from([10, 9, 0, 0]));
        let all: Cidr = "0.0.0.0/0".parse().expect("valid");
        assert!(all.contains("255.1.2.3".parse().expect("valid")));
        let one: Cidr = "fd09::2".parse().expect("valid");
        assert_eq!((one.prefix, one.broadcast()), (128, None));
        for bad in ["10.9.0.2/33", "10.9.0/24", "x", "10.9.0.2/", "::1/129"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
