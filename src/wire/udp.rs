//! UDP headers (RFC 768).

use super::{Malformed, checksum::Sum};
use core::net::IpAddr;
use etherparse::UdpHeaderSlice;

/// Octets of a UDP header.
pub const HEADER_LEN: usize = 8;

/// Protocol number of UDP.
pub const PROTOCOL: u8 = 17;

/// A datagram that arrived; `payload` is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Port of the sender; 0: it expects no answer.
    pub src_port: u16,
    /// Port of the receiver.
    pub dst_port: u16,
    /// The text.
    pub payload: &'a [u8],
}

/// Reads a datagram from the payload of an IP packet. Octets past the length field are ignored.
///
/// # Errors
/// [`Malformed`] when the length field is below 8 or above what is there (768-length).
pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let header = UdpHeaderSlice::from_slice(bytes).map_err(|_| Malformed::Truncated)?;
    let len = usize::from(header.length());
    if len < HEADER_LEN {
        return Err(Malformed::Structure);
    }
    let payload = bytes.get(HEADER_LEN..len).ok_or(Malformed::Truncated)?;
    Ok(Datagram { src_port: header.source_port(), dst_port: header.destination_port(), payload })
}

/// Is the checksum of a datagram that [`parse`] accepts right? Over IPv4 it may be absent; over IPv6 it must not
/// (RFC 8200 §8.1).
pub fn verify(src: IpAddr, dst: IpAddr, bytes: &[u8]) -> bool {
    let Ok(header) = UdpHeaderSlice::from_slice(bytes) else { return false };
    if header.checksum() == 0 {
        return src.is_ipv4();
    }
    let Some(datagram) = bytes.get(..usize::from(header.length())) else { return false };
    Sum::pseudo(src, dst, PROTOCOL, datagram.len()).with(datagram).is_valid()
}

/// A header for `payload_len` octets with the checksum field zero. `None` when they are too many for a datagram.
pub fn header(src_port: u16, dst_port: u16, payload_len: usize) -> Option<[u8; HEADER_LEN]> {
    let len = u16::try_from(payload_len + HEADER_LEN).ok()?;
    let mut header = [0; HEADER_LEN];
    header[0..2].copy_from_slice(&src_port.to_be_bytes());
    header[2..4].copy_from_slice(&dst_port.to_be_bytes());
    header[4..6].copy_from_slice(&len.to_be_bytes());
    Some(header)
}

/// Completes the checksum of a header that `payload` follows.
pub fn fill_checksum(header: &mut [u8; HEADER_LEN], src: IpAddr, dst: IpAddr, payload: &[u8]) {
    let sum = Sum::pseudo(src, dst, PROTOCOL, HEADER_LEN + payload.len()).with(&header[..6]).with(payload);
    // RFC 768: zero says that there is no checksum, so a sum of zero is sent as ones.
    let checksum = match sum.checksum() {
        0 => 0xffff,
        checksum => checksum,
    };
    header[6..8].copy_from_slice(&checksum.to_be_bytes());
}

/// Puts the sum of the pseudo header where the checksum is to stand: whoever completes it adds the rest.
pub fn fill_pseudo_checksum(header: &mut [u8; HEADER_LEN], src: IpAddr, dst: IpAddr, payload_len: usize) {
    let sum = Sum::pseudo(src, dst, PROTOCOL, HEADER_LEN + payload_len).folded();
    header[6..8].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::UdpHeader;

    const A: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2));

    fn datagram(src: IpAddr, dst: IpAddr, payload: &[u8]) -> Vec<u8> {
        let mut header = header(1000, 53, payload.len()).expect("short");
        fill_checksum(&mut header, src, dst, payload);
        [&header[..], payload].concat()
    }

    /// conformance: 768-length
    #[test]
    fn the_length_field_bounds_the_datagram() {
        let good = datagram(A, B, b"hello");
        let with_len = |len: u16| {
            let mut bytes = good.clone();
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
            bytes
        };
        for len in 0..8 {
            assert_eq!(parse(&with_len(len)), Err(Malformed::Structure), "{len}");
        }
        assert_eq!(parse(&with_len(14)), Err(Malformed::Truncated));
        assert_eq!(parse(&good[..7]), Err(Malformed::Truncated));
        let padded = [&good[..], b"padding"].concat();
        assert_eq!(parse(&padded).expect("valid").payload, b"hello");
        assert!(verify(A, B, &padded), "octets past the length are not summed");
    }

    /// conformance: 768-zero-as-ones
    #[test]
    fn a_checksum_of_zero_is_sent_as_ones() {
        let plain = datagram(A, B, &[0, 0]);
        // Data equal to the checksum itself makes the sum all ones.
        let bytes = datagram(A, B, &plain[6..8]);
        assert_eq!(bytes[6..8], [0xff, 0xff]);
        assert!(verify(A, B, &bytes));
    }

    /// conformance: 768-pad
    #[test]
    fn an_odd_octet_is_padded_for_the_sum_only() {
        let bytes = datagram(A, B, b"odd");
        assert_eq!(bytes.len(), 11);
        assert_eq!(bytes[4..6], 11u16.to_be_bytes());
        let (IpAddr::V4(a), IpAddr::V4(b)) = (A, B) else { unreachable!("both are IPv4") };
        let expected = UdpHeader::with_ipv4_checksum(
            1000,
            53,
            &etherparse::Ipv4Header::new(11, 64, etherparse::IpNumber::UDP, a.octets(), b.octets())
                .expect("valid"),
            b"odd",
        );
        assert_eq!(bytes[..8], expected.expect("short").to_bytes());
    }

    /// conformance: 8200-8.1-udp-zero
    #[test]
    fn only_ipv4_may_leave_the_checksum_out() {
        let (a6, b6): (IpAddr, IpAddr) =
            ("fd00::1".parse().expect("valid"), "fd00::2".parse().expect("valid"));
        let mut bytes = datagram(a6, b6, b"x");
        assert!(verify(a6, b6, &bytes));
        bytes[6..8].fill(0);
        assert!(!verify(a6, b6, &bytes));
        assert!(verify(A, B, &bytes));
    }

    #[test]
    fn a_flipped_bit_fails_the_checksum() {
        let good = datagram(A, B, b"hello");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bad).is_err() || !verify(A, B, &bad), "bit {bit}");
        }
    }

    #[test]
    fn too_long_a_payload_has_no_header() {
        assert!(header(1, 2, 65527).is_some());
        assert!(header(1, 2, 65528).is_none());
    }
}
