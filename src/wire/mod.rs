//! Header codecs and checksums: pure functions between octets and values, no state.
//!
//! `etherparse` slices headers; what it leaves out (checksums, TCP options, option and header chains) is here.

pub mod checksum;
pub mod icmp;
pub mod ip;
pub mod packet;
pub mod run;
pub mod seq;
pub mod tcp;
pub mod udp;
pub mod vnet;

use crate::trace::Drop;

/// Why octets are not what they were taken for. Checksums are verified apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They end before the header or the payload that it announces.
    Truncated,
    /// A field has a value that no header can have.
    Structure,
}

impl From<Malformed> for Drop {
    fn from(malformed: Malformed) -> Drop {
        match malformed {
            Malformed::Truncated => Drop::Truncated,
            Malformed::Structure => Drop::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    /// conformance: 8200-8.1-checksum
    #[test]
    fn checksums_over_ipv6_are_what_another_implementation_reckons() {
        let (src, dst): ([u8; 16], [u8; 16]) = (core::array::from_fn(|n| n as u8), [0xfd; 16]);
        let ends: (IpAddr, IpAddr) = (src.into(), dst.into());
        for len in [0, 1, 2, 1439, 60_000] {
            let payload = vec![0xa7; len];
            let mut udp = udp::header(1, 2, len).expect("short");
            udp::fill_checksum(&mut udp, ends.0, ends.1, &payload);
            let theirs = etherparse::UdpHeader::from_slice(&udp).expect("a header").0;
            assert_eq!(theirs.calc_checksum_ipv6_raw(src, dst, &payload), Ok(theirs.checksum));

            let mut tcp = [0; tcp::MAX_HEADER_LEN];
            tcp[12] = 5 << 4;
            tcp::fill_checksum(&mut tcp[..20], ends.0, ends.1, &[&payload]);
            let theirs = etherparse::TcpHeader::from_slice(&tcp[..20]).expect("a header").0;
            assert_eq!(theirs.calc_checksum_ipv6_raw(src, dst, &payload), Ok(theirs.checksum));

            let kind = icmp::Kind::EchoRequest { id: 1, seq: 2 };
            let icmp = icmp::header(kind, ends.0, ends.1, &payload).expect("a kind that is sent");
            let theirs = etherparse::Icmpv6Header::from_slice(&icmp).expect("a header").0;
            assert_eq!(theirs.icmp_type.calc_checksum(src, dst, &payload), Ok(theirs.checksum));
        }
    }
}
