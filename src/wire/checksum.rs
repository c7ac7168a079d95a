//! The Internet checksum (RFC 1071) and the pseudo headers of RFC 9293 §3.1, RFC 768 and RFC 8200 §8.1.
//!
//! Words are added in the machine's byte order, several at a time, and swapped once at the end (RFC 1071 §2(B)).
#![allow(unsafe_code)]

use core::net::IpAddr;

/// A running ones' complement sum over slices that follow each other without gaps; odd lengths join correctly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Partial sum, network byte order, not folded.
    total: u64,
    /// Does the next octet stand at an odd place?
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const fn new() -> Sum {
        Sum { total: 0, odd: false }
    }

    /// The pseudo header of a transport message of `len` octets.
    pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Sum {
        let mut sum = Sum::new().address(src).address(dst);
        // RFC 8200 §8.1: the length has 32 bits; over IPv4 its upper half is zero.
        sum.total += (len as u64 >> 16) + (len as u64 & 0xffff) + u64::from(protocol);
        sum
    }

    fn address(self, address: IpAddr) -> Sum {
        match address {
            IpAddr::V4(a) => Sum { total: self.total + u64::from(a.to_bits()), ..self },
            IpAddr::V6(a) => self.with(&a.octets()),
        }
    }

    /// Adds the octets that follow.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Sum {
        if bytes.is_empty() {
            return self;
        }
        let sum = sum_words(bytes);
        // RFC 1071 §2(B): octets at odd places weigh the other way round.
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        self.total += u64::from(sum);
        self.odd ^= bytes.len() % 2 == 1;
        self
    }

    /// The folded sum, not complemented: what a checksum field holds when a device is to complete it.
    pub fn folded(self) -> u16 {
        fold(self.total)
    }

    /// The checksum: the complement of the sum.
    pub fn checksum(self) -> u16 {
        !fold(self.total)
    }

    /// Is this the sum of octets whose checksum field is right?
    pub fn is_valid(self) -> bool {
        fold(self.total) == 0xffff
    }
}

/// The checksum of octets that include no pseudo header.
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().with(bytes).checksum()
}

fn fold(mut sum: u64) -> u16 {
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Below this many octets the dispatch costs more than wide registers save.
const WIDE_FROM: usize = 128;

/// The folded sum of `bytes` as words in network byte order, an odd last octet padded with zero.
fn sum_words(bytes: &[u8]) -> u16 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE_FROM && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only feature that the function was compiled for.
        return unsafe { sum_words_avx2(bytes) };
    }
    match bytes.len() {
        0..WIDE_FROM => u16::from_be(fold(sum_few(bytes))),
        _ => sum_words_plain(bytes),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_words_avx2(bytes: &[u8]) -> u16 {
    sum_words_plain(bytes)
}

#[inline(always)]
fn sum_words_plain(bytes: &[u8]) -> u16 {
    // Eight lanes of 64 bits take 32-bit words; no packet is long enough to overflow them.
    let mut lanes = [0u64; 8];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
            *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }
    u16::from_be(fold(lanes.iter().sum::<u64>() + sum_few(blocks.remainder())))
}

/// The sum of less than a megabyte in the machine's byte order, not folded.
#[inline]
fn sum_few(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let (words, rest) = rest.as_chunks();
    let sum = sum + words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum::<u64>();
    sum + rest.first().map_or(0, |last| u64::from(u16::from_ne_bytes([*last, 0])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::checksum::Sum16BitWords;
    use proptest::prelude::*;

    fn oracle(bytes: &[u8]) -> u16 {
        Sum16BitWords::new().add_slice(bytes).ones_complement().to_be()
    }

    #[test]
    fn every_length_and_both_kernels_agree_with_another_implementation() {
        let bytes: Vec<u8> = (0..3000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in (0..700).chain([1459, 1460, 1461, 2999, 3000]) {
            assert_eq!(checksum(&bytes[..len]), oracle(&bytes[..len]), "{len}");
            assert_eq!(sum_words_plain(&bytes[..len]), sum_words(&bytes[..len]), "{len}");
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        let ones = vec![0xff; 1 << 20];
        assert_eq!(checksum(&ones), 0);
        assert!(Sum::new().with(&ones).with(&ones[1..]).with(&ones[..1]).is_valid());
    }

    proptest! {
        #[test]
        fn slices_join_like_one_piece(bytes: Vec<u8>, a: prop::sample::Index, b: prop::sample::Index) {
            let (a, b) = (a.index(bytes.len() + 1), b.index(bytes.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let joined = Sum::new().with(&bytes[..a]).with(&bytes[a..b]).with(&bytes[b..]);
            prop_assert_eq!(joined.checksum(), oracle(&bytes));
        }

        #[test]
        fn a_pseudo_header_is_the_octets_that_the_rfcs_draw(src: [u8; 16], dst: [u8; 16], data: Vec<u8>, protocol: u8) {
            let len = data.len() as u32;
            let six = [&src[..], &dst, &len.to_be_bytes(), &[0, 0, 0, protocol], &data].concat();
            let sum = Sum::pseudo(src.into(), dst.into(), protocol, data.len()).with(&data);
            prop_assert_eq!(sum.checksum(), oracle(&six));
            let four = [&src[..4], &dst[..4], &[0, protocol], &(len as u16).to_be_bytes(), &data].concat();
            let first4 = |b: &[u8; 16]| IpAddr::from([b[0], b[1], b[2], b[3]]);
            let sum = Sum::pseudo(first4(&src), first4(&dst), protocol, data.len()).with(&data);
            prop_assert_eq!(sum.checksum(), oracle(&four));
        }
    }
}
