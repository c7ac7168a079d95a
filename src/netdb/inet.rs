//! Addresses as text and numbers in network order: `inet_aton`, `inet_pton`, `htons` and relatives.
//!
//! The forms that are accepted and printed are glibc's, which Python's `socket` module shows too.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address family of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Inet,
            IpAddr::V6(_) => Family::Inet6,
        }
    }
}

/// Reads an IPv4 address in any of the classic forms: `a.b.c.d`, `a.b.c` (c has 16 bits), `a.b` (b has 24) and `a`
/// (32), each part decimal, octal (`0…`) or hexadecimal (`0x…`). As in C, white space ends the address and what
/// follows it is not looked at.
pub fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let is_space = |c: char| c == ' ' || ('\t'..='\r').contains(&c);
    aton_exact(text.split(is_space).next()?)
}

/// `inet_aton` without anything after the address, as `getaddrinfo` reads host names.
pub(super) fn aton_exact(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (&last, heads) = parts.split_last()?;
    if heads.len() > 3 || heads.iter().any(|&part| part > 255) {
        return None;
    }
    let mut bits = 0;
    for (position, &head) in heads.iter().enumerate() {
        bits |= head << (24 - 8 * position);
    }
    let room = u32::MAX.checked_shr(8 * heads.len() as u32)?;
    (last <= room).then(|| Ipv4Addr::from_bits(bits | last))
}

/// One part of a dotted address in C's notation of numbers.
fn part(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if plain { u32::from_str_radix(digits, radix).ok() } else { None }
}

/// The dotted decimal form of an IPv4 address.
pub fn inet_ntoa(address: Ipv4Addr) -> String {
    address.to_string()
}

/// Reads an address of the given family, strictly: dotted decimal without leading zeros, or RFC 4291 §2.2.
pub fn inet_pton(family: Family, text: &str) -> Option<IpAddr> {
    match family {
        Family::Inet => text.parse().ok().map(IpAddr::V4),
        Family::Inet6 => text.parse().ok().map(IpAddr::V6),
    }
}

/// The text of an address: RFC 5952 for IPv6, and like glibc the last 32 bits dotted where the address is IPv4-mapped
/// or IPv4-compatible.
pub fn inet_ntop(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => match compatible(v6) {
            Some(v4) => format!("::{v4}"),
            None => v6.to_string(),
        },
    }
}

/// The IPv4 address in `::a.b.c.d`, which `Ipv6Addr` prints in hexadecimal.
fn compatible(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    (bits >> 32 == 0 && bits >> 16 != 0).then(|| Ipv4Addr::from_bits(bits as u32))
}

/// 16 bits from host to network order.
pub const fn htons(host: u16) -> u16 {
    host.to_be()
}

/// 32 bits from host to network order.
pub const fn htonl(host: u32) -> u32 {
    host.to_be()
}

/// 16 bits from network to host order.
pub const fn ntohs(net: u16) -> u16 {
    u16::from_be(net)
}

/// 32 bits from network to host order.
pub const fn ntohl(net: u32) -> u32 {
    u32::from_be(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expectations are what Python's `socket.inet_ntoa(socket.inet_aton(text))` gives on glibc.
    #[test]
    fn aton_takes_all_the_classic_forms() {
        let table: &[(&str, Option<&str>)] = &[
            ("1.2.3.4", Some("1.2.3.4")),
            ("1.2.3", Some("1.2.0.3")),
            ("1.2", Some("1.0.0.2")),
            ("1", Some("0.0.0.1")),
            ("0", Some("0.0.0.0")),
            ("", None),
            ("127.1", Some("127.0.0.1")),
            ("0x7f.1", Some("127.0.0.1")),
            ("0x7F000001", Some("127.0.0.1")),
            ("0X7f.0X1", Some("127.0.0.1")),
            ("017700000001", Some("127.0.0.1")),
            ("0177.0.0.1", Some("127.0.0.1")),
            ("08", None),
            ("1.08", None),
            ("0x", None),
            ("0x.1", None),
            ("1.", None),
            ("1..2", None),
            (".1", None),
            ("1.2.3.4.", None),
            ("1.2.3.4.5", None),
            ("1.2.3.4 ", Some("1.2.3.4")),
            ("1.2.3.4 x", Some("1.2.3.4")),
            ("1.2.3.4\t", Some("1.2.3.4")),
            ("1.2.3.4\u{b}", Some("1.2.3.4")),
            ("1.2.3.4x", None),
            (" 1.2.3.4", None),
            ("1.2.3.256", None),
            ("1.2.65535", Some("1.2.255.255")),
            ("1.2.65536", None),
            ("1.16777215", Some("1.255.255.255")),
            ("1.16777216", None),
            ("4294967295", Some("255.255.255.255")),
            ("4294967296", None),
            ("0xffffffff", Some("255.255.255.255")),
            ("0x100000000", None),
            ("037777777777", Some("255.255.255.255")),
            ("040000000000", None),
            ("256.1", None),
            ("-1", None),
            ("+1", None),
            ("1.+2", None),
            ("0xg", None),
            ("0x+1", None),
            ("1.2.3.0x", None),
            ("0x0000000001", Some("0.0.0.1")),
            ("1.2.3.00000000000004", Some("1.2.3.4")),
            ("99999999999999999999", None),
            ("0b1", None),
            ("1e3", None),
            ("1_0", None),
            ("é", None),
        ];
        for &(text, expected) in table {
            assert_eq!(inet_aton(text).map(inet_ntoa).as_deref(), expected, "{text:?}");
        }
    }

    /// Expectations are Python's `inet_ntop(family, inet_pton(family, text))`.
    #[test]
    fn pton_is_strict_and_ntop_canonical() {
        let inet: &[(&str, Option<&str>)] = &[
            ("1.2.3.4", Some("1.2.3.4")),
            ("0.0.0.0", Some("0.0.0.0")),
            ("01.2.3.4", None),
            ("1.2.3.04", None),
            ("1.2.3", None),
            ("1.2.3.4 ", None),
            ("256.1.1.1", None),
            ("1.2.3.4.", None),
            ("1..3.4", None),
            ("0x1.2.3.4", None),
            ("00.0.0.0", None),
            ("1.2.3.1234", None),
        ];
        let inet6: &[(&str, Option<&str>)] = &[
            ("::", Some("::")),
            ("::1", Some("::1")),
            ("1::", Some("1::")),
            ("1:2:3:4:5:6:7:8", Some("1:2:3:4:5:6:7:8")),
            ("1:2:3:4:5:6:7::", Some("1:2:3:4:5:6:7:0")),
            ("::2:3:4:5:6:7:8", Some("0:2:3:4:5:6:7:8")),
            ("1:2:3:4:5:6:7:8::", None),
            ("1::2::3", None),
            (":1", None),
            ("1:", None),
            (":::", None),
            ("12345::", None),
            ("00001::", None),
            ("::00ff", Some("::ff")),
            ("ABCD:EF01::", Some("abcd:ef01::")),
            ("::1.2.3.4", Some("::1.2.3.4")),
            ("::ffff:1.2.3.4", Some("::ffff:1.2.3.4")),
            ("1:2:3:4:5:6:1.2.3.4", Some("1:2:3:4:5:6:102:304")),
            ("1:2:3:4:5:6:7:1.2.3.4", None),
            ("::1.2.3", None),
            ("::1.2.3.4:5", None),
            ("::01.2.3.4", None),
            ("fe80::1%lo", None),
            ("::1 ", None),
            ("", None),
            ("1:2:3:4:5:6:7", None),
            ("0:0:1:0:0:0:1:0", Some("0:0:1::1:0")),
            ("0:0:1:0:0:1:0:0", Some("::1:0:0:1:0:0")),
            ("1:0:0:1:0:0:1:1", Some("1::1:0:0:1:1")),
            ("::ffff:0:1.2.3.4", Some("::ffff:0:102:304")),
            ("64:ff9b::1.2.3.4", Some("64:ff9b::102:304")),
            ("::1:0", Some("::0.1.0.0")),
            ("::1:2:3", Some("::1:2:3")),
            ("::ffff:0:0", Some("::ffff:0.0.0.0")),
            ("0:0:0:0:0:fffe:1.2.3.4", Some("::fffe:102:304")),
            ("1:0:2:0:3:0:4:0", Some("1:0:2:0:3:0:4:0")),
            ("g::", None),
        ];
        for (family, table) in [(Family::Inet, inet), (Family::Inet6, inet6)] {
            for &(text, expected) in table {
                assert_eq!(inet_pton(family, text).map(inet_ntop).as_deref(), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn network_order_is_big_endian_in_memory() {
        assert_eq!(htons(0x1234).to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(htonl(0x1234_5678).to_ne_bytes(), [0x12, 0x34, 0x56, 0x78]);
        assert_eq!((ntohs(htons(80)), ntohl(htonl(7))), (80, 7));
    }
}
