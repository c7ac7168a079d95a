//! A connection at rest in as few octets as it takes: most of what a connection knows is zero, small, or close to something else that it
//! knows.
//!
//! Every field is written in turn: numbers in groups of seven bits; sequence numbers as their distance from one of the last two, which
//! are mostly the peer's last and our own; moments as their distance from the last one. Of eight octets at a time those that are zero
//! are left out, and a bit for each says so.

use crate::base::{Duration, Errno, Instant};
use crate::trace::Flow;
use crate::wire::seq::SeqNumber;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// What other values are told by.
#[derive(Debug)]
struct Near {
    seqs: [SeqNumber; 2],
    at: u64,
}

impl Near {
    const NOTHING: Near = Near { seqs: [SeqNumber(0); 2], at: 0 };
}

/// Writes.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    octets: &'a mut Vec<u8>,
    /// Where the bits of the octets that follow are, and how many of them have come.
    mask: usize,
    count: u8,
    near: Near,
}

/// Reads what a [`Packer`] wrote.
#[derive(Debug)]
pub(super) struct Unpacker<'a> {
    octets: &'a [u8],
    mask: u8,
    count: u8,
    near: Near,
}

/// What can be packed.
pub(super) trait Pack: Sized {
    /// Writes it.
    fn pack(&self, to: &mut Packer<'_>);
    /// Reads it as it was written.
    fn unpack(from: &mut Unpacker<'_>) -> Self;
}

impl<'a> Packer<'a> {
    /// Writes into `octets`.
    pub fn new(octets: &'a mut Vec<u8>) -> Packer<'a> {
        octets.clear();
        Packer { octets, mask: 0, count: 8, near: Near::NOTHING }
    }

    fn octet(&mut self, octet: u8) {
        if self.count == 8 {
            (self.mask, self.count) = (self.octets.len(), 0);
            self.octets.push(0);
        }
        if octet != 0 {
            self.octets[self.mask] |= 1 << self.count;
            self.octets.push(octet);
        }
        self.count += 1;
    }

    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.octet(number as u8 | 0x80);
            number >>= 7;
        }
        self.octet(number as u8);
    }
}

impl<'a> Unpacker<'a> {
    pub fn new(octets: &'a [u8]) -> Unpacker<'a> {
        Unpacker { octets, mask: 0, count: 8, near: Near::NOTHING }
    }

    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.octets.split_first() else { return 0 };
        self.octets = rest;
        *first
    }

    fn octet(&mut self) -> u8 {
        if self.count == 8 {
            (self.mask, self.count) = (self.next(), 0);
        }
        let there = self.mask >> self.count & 1 == 1;
        self.count += 1;
        if there { self.next() } else { 0 }
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let octet = self.octet();
            number |= u64::from(octet & 0x7f) << shift;
            shift += 7;
            if octet < 0x80 || shift > 63 {
                return number;
            }
        }
    }
}

/// A number near zero, whatever its sign, as a small one.
fn fold(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unfold(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Pack for $type {
            fn pack(&self, to: &mut Packer<'_>) {
                to.number(u64::from(*self));
            }
            fn unpack(from: &mut Unpacker<'_>) -> $type {
                from.number() as $type
            }
        }
    )*};
}

numbers!(u8, u16, u64);

/// Many a `u32` is the largest while it is not known.
impl Pack for u32 {
    fn pack(&self, to: &mut Packer<'_>) {
        to.number(fold(i64::from(self.cast_signed())));
    }
    fn unpack(from: &mut Unpacker<'_>) -> u32 {
        unfold(from.number()) as u32
    }
}

impl Pack for i64 {
    fn pack(&self, to: &mut Packer<'_>) {
        to.number(fold(*self));
    }
    fn unpack(from: &mut Unpacker<'_>) -> i64 {
        unfold(from.number())
    }
}

impl Pack for bool {
    fn pack(&self, to: &mut Packer<'_>) {
        to.octet(u8::from(*self));
    }
    fn unpack(from: &mut Unpacker<'_>) -> bool {
        from.octet() != 0
    }
}

impl Pack for Errno {
    fn pack(&self, to: &mut Packer<'_>) {
        to.number(u64::from(self.code().unsigned_abs()));
    }
    fn unpack(from: &mut Unpacker<'_>) -> Errno {
        let code = from.number();
        let found = Errno::ALL.iter().find(|errno| u64::from(errno.code().unsigned_abs()) == code);
        found.copied().unwrap_or(Errno::EIO)
    }
}

impl Pack for Duration {
    fn pack(&self, to: &mut Packer<'_>) {
        to.number(self.as_nanos());
    }
    fn unpack(from: &mut Unpacker<'_>) -> Duration {
        Duration::from_nanos(from.number())
    }
}

impl Pack for Instant {
    fn pack(&self, to: &mut Packer<'_>) {
        let at = self.as_nanos();
        to.number(fold(at.wrapping_sub(to.near.at).cast_signed()));
        to.near.at = at;
    }
    fn unpack(from: &mut Unpacker<'_>) -> Instant {
        let distance = unfold(from.number()).cast_unsigned();
        from.near.at = from.near.at.wrapping_add(distance);
        Instant::from_nanos(from.near.at)
    }
}

impl Pack for SeqNumber {
    fn pack(&self, to: &mut Packer<'_>) {
        let distances = to.near.seqs.map(|near| fold(i64::from(self.0.wrapping_sub(near.0).cast_signed())));
        let which = usize::from(distances[1] < distances[0]);
        to.number(distances[which] << 1 | which as u64);
        to.near.seqs[which] = *self;
    }
    fn unpack(from: &mut Unpacker<'_>) -> SeqNumber {
        let number = from.number();
        let near = &mut from.near.seqs[usize::from(number & 1 == 1)];
        *near = SeqNumber(near.0.wrapping_add(unfold(number >> 1) as u32));
        *near
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, to: &mut Packer<'_>) {
        self.is_some().pack(to);
        if let Some(value) = self {
            value.pack(to);
        }
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<T> {
        bool::unpack(from).then(|| T::unpack(from))
    }
}

impl<T: Pack> Pack for Box<T> {
    fn pack(&self, to: &mut Packer<'_>) {
        (**self).pack(to);
    }
    fn unpack(from: &mut Unpacker<'_>) -> Box<T> {
        Box::new(T::unpack(from))
    }
}

impl<T: Pack, U: Pack> Pack for (T, U) {
    fn pack(&self, to: &mut Packer<'_>) {
        self.0.pack(to);
        self.1.pack(to);
    }
    fn unpack(from: &mut Unpacker<'_>) -> (T, U) {
        (T::unpack(from), U::unpack(from))
    }
}

impl<T: Pack, const N: usize> Pack for [T; N] {
    fn pack(&self, to: &mut Packer<'_>) {
        self.iter().for_each(|value| value.pack(to));
    }
    fn unpack(from: &mut Unpacker<'_>) -> [T; N] {
        core::array::from_fn(|_| T::unpack(from))
    }
}

impl Pack for SocketAddr {
    fn pack(&self, to: &mut Packer<'_>) {
        self.is_ipv6().pack(to);
        match self.ip() {
            IpAddr::V4(address) => address.octets().iter().for_each(|octet| to.octet(*octet)),
            IpAddr::V6(address) => address.octets().iter().for_each(|octet| to.octet(*octet)),
        }
        if let SocketAddr::V6(address) = self {
            (address.flowinfo(), address.scope_id()).pack(to);
        }
        self.port().to_be_bytes().iter().for_each(|octet| to.octet(*octet));
    }
    fn unpack(from: &mut Unpacker<'_>) -> SocketAddr {
        fn octets<const N: usize>(from: &mut Unpacker<'_>) -> [u8; N] {
            core::array::from_fn(|_| from.octet())
        }
        match bool::unpack(from) {
            false => {
                let address = Ipv4Addr::from(octets::<4>(from));
                SocketAddr::new(address.into(), u16::from_be_bytes(octets(from)))
            }
            true => {
                let address = Ipv6Addr::from(octets::<16>(from));
                let (flowinfo, scope_id) = Pack::unpack(from);
                SocketAddrV6::new(address, u16::from_be_bytes(octets(from)), flowinfo, scope_id).into()
            }
        }
    }
}

/// A type whose fields are packed one after the other, but for those that always have the same value at rest.
macro_rules! pack_fields {
    ($type:ident { $($field:ident),* $(; $($same:ident: $value:expr),*)? }) => {
        impl $crate::transport::tcp::pack::Pack for $type {
            fn pack(&self, to: &mut $crate::transport::tcp::pack::Packer<'_>) {
                $( $crate::transport::tcp::pack::Pack::pack(&self.$field, to); )*
            }
            fn unpack(from: &mut $crate::transport::tcp::pack::Unpacker<'_>) -> $type {
                $( let $field = $crate::transport::tcp::pack::Pack::unpack(from); )*
                $type { $($field,)* $($($same: $value),*)? }
            }
        }
    };
}

/// A type that is one of a few names.
macro_rules! pack_names {
    ($type:ident { $($name:ident),* }) => {
        impl $crate::transport::tcp::pack::Pack for $type {
            fn pack(&self, to: &mut $crate::transport::tcp::pack::Packer<'_>) {
                // No name is forgotten.
                match self { $($type::$name => {})* }
                let names = [$($type::$name),*];
                let place = names.iter().position(|name| name == self).unwrap_or_default();
                $crate::transport::tcp::pack::Pack::pack(&(place as u8), to);
            }
            fn unpack(from: &mut $crate::transport::tcp::pack::Unpacker<'_>) -> $type {
                let names = [$($type::$name),*];
                let place: u8 = $crate::transport::tcp::pack::Pack::unpack(from);
                names.get(usize::from(place)).copied().unwrap_or(names[0])
            }
        }
    };
}

pub(super) use {pack_fields, pack_names};

pack_fields!(Flow { local, remote });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use core::fmt::Debug;

    fn comes_back<T: Pack + PartialEq + Debug>(values: &[T]) -> usize {
        let mut octets = Vec::new();
        let mut packer = Packer::new(&mut octets);
        values.iter().for_each(|value| value.pack(&mut packer));
        let mut unpacker = Unpacker::new(&octets);
        values.iter().for_each(|value| assert_eq!(T::unpack(&mut unpacker), *value));
        assert!(unpacker.octets.is_empty());
        octets.len()
    }

    #[test]
    fn whatever_is_packed_comes_back() {
        let mut rng = Rng::from_seed(1);
        let mut any = || rng.below(u64::MAX) >> rng.below(64);
        for _ in 0..200 {
            let numbers: Vec<u64> = (0..20).map(|_| any()).collect();
            comes_back(&numbers);
            comes_back(&numbers.iter().map(|number| *number as u8).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| *number as u16).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| *number as u32).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| number.cast_signed()).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| Duration::from_nanos(*number)).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| Instant::from_nanos(*number)).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| SeqNumber(*number as u32)).collect::<Vec<_>>());
            comes_back(&numbers.iter().map(|number| number & 1 == 1).collect::<Vec<_>>());
            comes_back(
                &numbers.iter().map(|number| (number & 1 == 1).then_some(*number)).collect::<Vec<_>>(),
            );
        }
        comes_back(Errno::ALL);
        comes_back(&[u64::MAX, 0, 1]);
        comes_back(&[[u32::MAX, 0, 1 << 31]]);
        let addresses = ["10.0.0.1:65535", "0.0.0.0:0", "[fe80::1%3]:80", "[2001:db8::]:1"];
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().expect("valid")).collect();
        comes_back(&addresses);
    }

    #[test]
    fn what_is_zero_or_near_takes_little() {
        assert_eq!(comes_back(&[0u64; 64]), 8);
        assert_eq!(comes_back(&[u32::MAX; 8]), 9);
        let seqs = [0x1234_5678, 0x9abc_def0, 0x1234_5679, 0x9abc_def1, 0x1234_567a].map(SeqNumber);
        assert_eq!(comes_back(&seqs), 5 + 5 + 3 + 2);
        assert_eq!(comes_back(&[Instant::from_nanos(1 << 40); 8]), 6 + 2);
    }
}
