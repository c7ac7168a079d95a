//! Recycled buffer memory: chunks of two sizes, and buffers for whole packets, kept for the next user up to a bound.
//!
//! Small chunks serve connections that exchange messages, large ones bulk transfer (three of them hold any 64 KiB run).
//! A packet's buffer is shared between whoever reads packets into it and the connection that keeps the text of a large
//! one where it is. All are zeroed once, when they are made; what a user leaves in them is never read by the next one.

use bytes::Bytes;
use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

/// One piece of buffer memory, [`Pool::SMALL`] or [`Pool::LARGE`] octets.
pub type Chunk = Box<[u8]>;

/// Memory for one packet of any size.
#[derive(Clone, Debug)]
pub struct PacketBuf(Arc<Chunk>);

impl PacketBuf {
    /// Octets of it: more than the largest packet has.
    pub const LEN: usize = 64 << 10;

    /// The memory, to be written; `None` while anybody keeps what is in it.
    pub fn octets_mut(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(|chunk| &mut chunk[..])
    }
}

/// A part of a packet's memory that somebody outside keeps.
struct Part {
    packet: PacketBuf,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.packet[self.range.clone()]
    }
}

impl core::ops::Deref for PacketBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// What waits for a user.
#[derive(Debug, Default)]
pub struct Pool {
    small: Vec<Chunk>,
    large: Vec<Chunk>,
    packets: Vec<PacketBuf>,
    /// Parts of these were handed out for good; they come back when nobody keeps any more. Oldest first.
    lent: VecDeque<PacketBuf>,
    /// Where the packet lies that is being processed, when that may be kept.
    arriving: Option<PacketBuf>,
}

impl Pool {
    /// Octets of a small chunk.
    pub const SMALL: usize = 4 << 10;
    /// Octets of a large chunk.
    pub const LARGE: usize = 32 << 10;
    /// Octets of each kind that are kept at most.
    const KEEP: usize = 4 << 20;

    /// A small chunk with any contents.
    pub fn take_small(&mut self) -> Chunk {
        self.small.pop().unwrap_or_else(|| vec![0; Pool::SMALL].into_boxed_slice())
    }

    /// A large chunk with any contents.
    pub fn take_large(&mut self) -> Chunk {
        self.large.pop().unwrap_or_else(|| vec![0; Pool::LARGE].into_boxed_slice())
    }

    /// Takes a chunk back.
    pub fn give(&mut self, chunk: Chunk) {
        let list = if chunk.len() == Pool::SMALL { &mut self.small } else { &mut self.large };
        if (list.len() + 1) * chunk.len() <= Pool::KEEP {
            list.push(chunk);
        }
    }

    /// Memory for a packet, with any contents.
    pub fn take_packet(&mut self) -> PacketBuf {
        if let Some(packet) = self.packets.pop() {
            return packet;
        }
        let back = self.lent.iter_mut().position(|packet| packet.octets_mut().is_some());
        let back = back.and_then(|place| self.lent.remove(place));
        back.unwrap_or_else(|| PacketBuf(Arc::new(vec![0; PacketBuf::LEN].into_boxed_slice())))
    }

    /// Part of a packet's memory, to be kept by somebody outside for as long as they want.
    pub fn lend(&mut self, packet: &PacketBuf, range: Range<usize>) -> Bytes {
        if !self.lent.iter().any(|known| Arc::ptr_eq(&known.0, &packet.0)) {
            if (self.lent.len() + 1) * PacketBuf::LEN > Pool::KEEP {
                self.lent.pop_front();
            }
            self.lent.push_back(packet.clone());
        }
        Bytes::from_owner(Part { packet: packet.clone(), range })
    }

    /// Takes a packet's memory back, unless somebody else keeps it still.
    pub fn give_packet(&mut self, mut packet: PacketBuf) {
        if packet.octets_mut().is_some() && (self.packets.len() + 1) * PacketBuf::LEN <= Pool::KEEP {
            self.packets.push(packet);
        }
    }

    /// A packet in `packet` is about to be processed (`None`: it was): its text may be kept where it is.
    pub fn set_arriving(&mut self, packet: Option<&PacketBuf>) {
        self.arriving = packet.cloned();
    }

    /// Memory to be kept, and where in it `data` lies; `None` when that is elsewhere, or would keep more unused than used.
    pub fn adopt(&self, data: &[u8]) -> Option<(PacketBuf, Range<usize>)> {
        let packet = self.arriving.as_ref().filter(|packet| data.len() >= packet.len() / 2)?;
        let from = (data.as_ptr().addr()).checked_sub(packet.as_ptr().addr())?;
        (from + data.len() <= packet.len()).then(|| (packet.clone(), from..from + data.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_and_what_is_kept_is_bounded() {
        let mut pool = Pool::default();
        let mut chunk = pool.take_small();
        assert_eq!(chunk.len(), Pool::SMALL);
        chunk[0] = 7;
        pool.give(chunk);
        assert_eq!(pool.take_small()[0], 7, "the same chunk again");
        for _ in 0..1000 {
            pool.give(vec![0; Pool::LARGE].into_boxed_slice());
        }
        assert_eq!(pool.large.len(), Pool::KEEP / Pool::LARGE);
    }

    #[test]
    fn what_was_lent_comes_back_when_nobody_keeps_it() {
        let mut pool = Pool::default();
        let mut packet = pool.take_packet();
        packet.octets_mut().expect("nobody else has it")[..4].copy_from_slice(b"text");
        let parts = [pool.lend(&packet, 0..2), pool.lend(&packet, 2..4)];
        pool.give_packet(packet);
        let other = pool.take_packet();
        assert_ne!(other[..4], *b"text", "it is kept outside");
        assert_eq!(parts.concat(), b"text");
        drop(parts);
        assert_eq!(pool.take_packet()[..4], *b"text", "the same memory again");
        let (mut one, mut other) = (pool.take_packet(), pool.take_packet());
        one.octets_mut().expect("nobody else has it")[0] = 1;
        other.octets_mut().expect("nobody else has it")[0] = 2;
        let parts: Vec<Bytes> =
            (0..6).map(|n| pool.lend(if n % 2 == 0 { &one } else { &other }, n..n + 1)).collect();
        drop((one, other, parts));
        let mut again = [pool.take_packet()[0], pool.take_packet()[0]];
        again.sort_unstable();
        assert_eq!(again, [1, 2], "in whatever order they were lent");
        for _ in 0..1000 {
            let packet = pool.take_packet();
            core::mem::forget(pool.lend(&packet, 0..1));
        }
        assert_eq!(pool.lent.len(), Pool::KEEP / PacketBuf::LEN, "what never comes back is forgotten");
    }

    #[test]
    fn large_texts_are_kept_where_they_are_and_the_memory_comes_back() {
        let mut pool = Pool::default();
        let mut packet = pool.take_packet();
        packet.octets_mut().expect("nobody else has it")[100] = 7;
        assert!(pool.adopt(&packet[40..]).is_none(), "not lent");
        pool.set_arriving(Some(&packet));
        assert!(pool.adopt(&packet[40..1040]).is_none(), "it would keep much for little");
        assert!(pool.adopt(&[7; PacketBuf::LEN]).is_none(), "elsewhere");
        let (kept, range) = pool.adopt(&packet[40..40_000]).expect("most of it");
        pool.set_arriving(None);
        assert_eq!((range.clone(), kept[range][60]), (40..40_000, 7));
        assert!(packet.octets_mut().is_none(), "must not be written now");
        drop(packet);
        pool.give_packet(kept);
        let again = pool.take_packet();
        assert_eq!(again[100], 7, "the same memory again");
        let second = again.clone();
        pool.give_packet(again);
        assert!(pool.packets.is_empty(), "somebody keeps it");
        pool.give_packet(second);
        assert_eq!(pool.packets.len(), 1);
    }
}
