//! Octets that the user has sent and the peer has not acknowledged. They stay where `send` put them; segments lend slices.
//!
//! Positions are stream offsets: 0 is the octet after the SYN. Invariants: pieces lie end to end, none is empty, an empty buffer holds
//! no memory, and any [`THREE_SLICES`] octets lie in three pieces: of two neighbours one at least is full, or the user's.

use super::pack::pack_fields;
use crate::base::Queue;
use crate::base::io::Source;
use crate::base::pool::{Chunk, Pool};
use bytes::Bytes;
use std::collections::VecDeque;

/// So many octets of the user's own are worth keeping where they are.
const OWNED: usize = Pool::LARGE / 2;

/// Any so many octets lie in three slices.
pub(super) const THREE_SLICES: u32 = OWNED as u32;

/// The send buffer.
#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    pieces: Queue<Piece>,
    /// Offset of the first octet held.
    start: u64,
    /// Offset after the last octet held.
    end: u64,
    /// Ends of `MSG_EOR` writes that lie in the buffer: a segment may end there, not go across.
    boundaries: Option<Box<Boundaries>>,
}

/// Few connections have any: an idle one pays for a pointer.
#[derive(Debug, Default)]
struct Boundaries {
    ends: VecDeque<u64>,
}

/// Octets of `memory` in `from..to`, the first of which has offset `base`.
#[derive(Debug)]
struct Piece {
    base: u64,
    from: u32,
    to: u32,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    /// Copied.
    Chunk(Chunk),
    /// The user's own.
    Owned(Bytes),
}

impl Memory {
    fn octets(&self) -> &[u8] {
        match self {
            Memory::Chunk(chunk) => chunk,
            Memory::Owned(data) => data,
        }
    }
}

pack_fields!(SendBuffer { start, end; pieces: Queue::new(), boundaries: None });

impl SendBuffer {
    /// Does it hold nothing?
    pub fn is_at_rest(&self) -> bool {
        self.pieces.is_empty() && self.boundaries.is_none()
    }

    /// Offset of the first octet held.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset after the last octet held.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Octets held.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Adds the first `count` octets of `source` at the end.
    pub fn take(&mut self, pool: &mut Pool, source: Source<'_>, count: usize) {
        match source {
            Source::Slice(data) => self.push(pool, &data[..count]),
            Source::Owned(data) => match data.split_to(count) {
                few if few.len() < OWNED => self.push(pool, &few),
                many => self.keep(many),
            },
        }
    }

    /// Adds `data` at the end.
    fn push(&mut self, pool: &mut Pool, mut data: &[u8]) {
        while !data.is_empty() {
            let Some((room, to)) = self.pieces.back_mut().and_then(Piece::room) else {
                self.grow(pool, data.len());
                continue;
            };
            let count = room.len().min(data.len());
            room[..count].copy_from_slice(&data[..count]);
            *to += count as u32;
            self.end += count as u64;
            data = &data[count..];
        }
    }

    fn keep(&mut self, data: Bytes) {
        let to = data.len() as u32;
        self.pieces.push_back(Piece { base: self.end, from: 0, to, memory: Memory::Owned(data) });
        self.end += u64::from(to);
    }

    /// No segment may reach across the present end (`MSG_EOR`).
    pub fn mark_boundary(&mut self) {
        self.boundaries.get_or_insert_default().ends.push_back(self.end);
    }

    /// The first boundary after `offset`.
    pub fn boundary_after(&self, offset: u64) -> Option<u64> {
        let ends = &self.boundaries.as_ref()?.ends;
        ends.get(ends.partition_point(|end| *end <= offset)).copied()
    }

    /// Up to `len` octets from `offset` on, in at most three slices; less than `len` only when three do not hold them.
    pub fn slices(&self, offset: u64, len: usize) -> [&[u8]; 3] {
        let mut slices: [&[u8]; 3] = [&[]; 3];
        let (mut at, end) = (offset.max(self.start), (offset + len as u64).min(self.end));
        for (slot, piece) in slices.iter_mut().zip(self.pieces.iter_from(|piece| piece.end() <= offset)) {
            if at >= end {
                break;
            }
            let from = piece.from as usize + (at - piece.base) as usize;
            let to = piece.from as usize + (end.min(piece.end()) - piece.base) as usize;
            *slot = &piece.memory.octets()[from..to];
            at = piece.end();
        }
        slices
    }

    /// How many octets `slices` gives from `offset` on, when asked for `len`.
    pub fn contiguous(&self, offset: u64, len: usize) -> usize {
        self.slices(offset, len).iter().map(|slice| slice.len()).sum()
    }

    /// Everything before `offset` is acknowledged.
    pub fn release(&mut self, pool: &mut Pool, offset: u64) {
        let offset = offset.min(self.end);
        while let Some(piece) = self.pieces.front_mut() {
            if piece.end() > offset {
                if offset > piece.base {
                    piece.from += (offset - piece.base) as u32;
                    piece.base = offset;
                }
                break;
            }
            if let Some(Piece { memory: Memory::Chunk(chunk), .. }) = self.pieces.pop_front() {
                pool.give(chunk);
            }
        }
        self.start = self.start.max(offset);
        if let Some(Boundaries { ends }) = self.boundaries.as_deref_mut() {
            while ends.front().is_some_and(|end| *end <= self.start) {
                ends.pop_front();
            }
            self.boundaries.take_if(|boundaries| boundaries.ends.is_empty());
        }
    }

    /// Gives all memory back.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.release(pool, self.end);
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        self.pieces.iter().map(|piece| piece.memory.octets().len()).sum::<usize>()
            + self.pieces.memory_octets()
            + self
                .boundaries
                .as_ref()
                .map_or(0, |held| size_of::<Boundaries>() + held.ends.capacity() * size_of::<u64>())
    }

    /// A new piece at the end: small for a message on an idle connection, else large.
    fn grow(&mut self, pool: &mut Pool, coming: usize) {
        let small = self.pieces.is_empty() && coming <= Pool::SMALL;
        let chunk = if small { pool.take_small() } else { pool.take_large() };
        self.pieces.push_back(Piece { base: self.end, from: 0, to: 0, memory: Memory::Chunk(chunk) });
    }
}

impl Piece {
    fn end(&self) -> u64 {
        self.base + u64::from(self.to - self.from)
    }

    /// Where more fits behind the last octet, and the mark to move on; `None` when nothing does.
    fn room(&mut self) -> Option<(&mut [u8], &mut u32)> {
        match &mut self.memory {
            Memory::Chunk(chunk) if (self.to as usize) < chunk.len() => {
                Some((&mut chunk[self.to as usize..], &mut self.to))
            }
            Memory::Chunk(_) | Memory::Owned(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(from: u64, len: usize) -> Vec<u8> {
        (from..from + len as u64).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn any_64_kib_lie_in_three_slices() {
        let (mut buffer, mut pool) = (SendBuffer::default(), Pool::default());
        buffer.push(&mut pool, &bytes(0, 100));
        buffer.push(&mut pool, &bytes(100, 300_000));
        for offset in [0, 1, 99, 4095, 4096, 5000, 40_000, 100_001] {
            let slices = buffer.slices(offset, 65_536);
            assert_eq!(slices.concat(), bytes(offset, 65_536), "from {offset}");
            assert_eq!(buffer.contiguous(offset, 65_536), 65_536);
        }
        assert_eq!(buffer.slices(300_090, 100).concat(), bytes(300_090, 10));
    }

    #[test]
    fn many_octets_of_the_user_stay_where_they_are() {
        let (mut buffer, mut pool) = (SendBuffer::default(), Pool::default());
        let mut data = Bytes::from(bytes(0, 60_000));
        let place = data.as_ptr();
        buffer.take(&mut pool, Source::Owned(&mut data), 100);
        buffer.take(&mut pool, Source::Owned(&mut data), 40_000);
        buffer.take(&mut pool, Source::Owned(&mut data), 10_000);
        assert_eq!(data, bytes(50_100, 9_900), "the rest is the user's still");
        let slices = buffer.slices(0, 50_100);
        assert_eq!(slices.concat(), bytes(0, 50_100));
        assert_eq!(slices[1].as_ptr(), place.wrapping_add(100), "not copied");
        assert_eq!(slices.map(<[u8]>::len), [100, 40_000, 10_000], "few are");
        buffer.release(&mut pool, 40_100);
        assert_eq!(buffer.slices(40_100, 100_000).concat(), bytes(40_100, 10_000));
        buffer.release(&mut pool, 50_100);
        assert_eq!(buffer.memory_octets(), 0);
    }

    #[test]
    fn many_pieces_are_told_and_few_octets_lie_in_three() {
        let (mut buffer, mut pool) = (SendBuffer::default(), Pool::default());
        for n in 0..20 {
            buffer.push(&mut pool, &bytes(n * 16_394, 10));
            let mut data = Bytes::from(bytes(n * 16_394 + 10, OWNED));
            buffer.take(&mut pool, Source::Owned(&mut data), OWNED);
        }
        for offset in 0..buffer.end() - 65_536 {
            assert_eq!(buffer.contiguous(offset, THREE_SLICES as usize), THREE_SLICES as usize);
        }
        assert!(buffer.contiguous(5, 65_536) < 65_536);
        assert_eq!(buffer.slices(16_390, OWNED).concat(), bytes(16_390, OWNED));
    }

    #[test]
    fn released_memory_goes_back_and_the_rest_stays_in_place() {
        let (mut buffer, mut pool) = (SendBuffer::default(), Pool::default());
        buffer.push(&mut pool, &bytes(0, 100_000));
        buffer.release(&mut pool, 50_001);
        assert_eq!((buffer.start(), buffer.len()), (50_001, 49_999));
        assert_eq!(buffer.slices(50_001, 1000).concat(), bytes(50_001, 1000));
        buffer.release(&mut pool, 100_000);
        assert_eq!((buffer.len(), buffer.memory_octets()), (0, 0));
        buffer.push(&mut pool, &bytes(100_000, 10));
        assert_eq!(buffer.slices(100_000, 10).concat(), bytes(100_000, 10));
    }

    #[test]
    fn boundaries_are_found_and_forgotten() {
        let (mut buffer, mut pool) = (SendBuffer::default(), Pool::default());
        for _ in 0..3 {
            buffer.push(&mut pool, &[0; 10]);
            buffer.mark_boundary();
        }
        assert_eq!(buffer.boundary_after(0), Some(10));
        assert_eq!(buffer.boundary_after(10), Some(20));
        assert_eq!(buffer.boundary_after(30), None);
        buffer.release(&mut pool, 30);
        assert!(buffer.boundaries.is_none());
    }
}
