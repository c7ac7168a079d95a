//! Octets that arrived: what is in order and not yet read, and what came ahead of it.
//!
//! Positions are stream offsets: 0 is the octet after the peer's SYN. In order the text of a large packet stays where the device
//! put it, small ones are copied together. What comes ahead goes to its place in a grid of small chunks. Overlaps: the first copy
//! wins. Invariants: `read ≤ next`; pieces lie end to end from `read` (or before) to `next`; every range of `ahead` begins after
//! `next`; an empty buffer holds no memory. The caller bounds offsets by the window it advertised, which bounds the memory.

use super::pack::pack_fields;
use crate::base::io::Target;
use crate::base::pool::{Chunk, PacketBuf, Pool};
use crate::base::{Queue, RangeSet};
use bytes::Bytes;
use core::ops::Range;
use std::collections::VecDeque;

/// Octets of one cell of the grid.
const CELL: u64 = Pool::SMALL as u64;

/// The receive buffer.
#[derive(Debug, Default)]
pub(super) struct RecvBuffer {
    pieces: Queue<Piece>,
    /// The next octet that the user reads.
    read: u64,
    /// The next octet expected: RCV.NXT.
    next: u64,
    ahead: Option<Box<Ahead>>,
}

/// Octets in order: those of `memory` in `from..to`, the first of which has offset `base`.
#[derive(Debug)]
struct Piece {
    base: u64,
    from: u32,
    to: u32,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    /// Texts copied together.
    Chunk(Chunk),
    /// The text of one packet, where the device put it.
    Packet(PacketBuf),
}

/// What came ahead: its ranges, and its octets in a grid whose first cell begins at `base`.
#[derive(Debug, Default)]
struct Ahead {
    base: u64,
    cells: VecDeque<Option<Chunk>>,
    ranges: RangeSet,
}

pack_fields!(RecvBuffer { read, next; pieces: Queue::new(), ahead: None });

impl RecvBuffer {
    /// Does it hold nothing?
    pub fn is_at_rest(&self) -> bool {
        self.pieces.is_empty() && self.ahead.is_none()
    }

    /// Offset of the next octet to be read.
    pub fn read_offset(&self) -> u64 {
        self.read
    }

    /// Offset of the next octet expected.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Octets in order and not read.
    pub fn unread(&self) -> usize {
        (self.next - self.read) as usize
    }

    /// What came ahead of the next octet expected.
    pub fn ahead(&self) -> &RangeSet {
        static NONE: RangeSet = RangeSet::new();
        self.ahead.as_ref().map_or(&NONE, |ahead| &ahead.ranges)
    }

    /// The range of `ahead` around `offset`.
    pub fn block_at(&self, offset: u64) -> Option<Range<u64>> {
        self.ahead().range_at(offset)
    }

    /// Stores `data` at `offset ≥ next`, except where something is already; returns how far `next` moved.
    pub fn store(&mut self, pool: &mut Pool, offset: u64, data: &[u8]) -> u64 {
        debug_assert!(offset >= self.next);
        let before = self.next;
        match self.ahead.take() {
            None if offset == self.next => self.append(pool, data),
            Some(ahead) if offset == self.next => self.fill(pool, ahead, data),
            ahead => {
                let mut ahead =
                    ahead.unwrap_or_else(|| Box::new(Ahead { base: self.next, ..Ahead::default() }));
                ahead.store(pool, offset, data);
                self.ahead = Some(ahead);
            }
        }
        self.next - before
    }

    /// Gives up to `most` unread octets from `offset` on; returns how many.
    pub fn give(&self, pool: &mut Pool, offset: u64, most: usize, target: Target<'_>) -> usize {
        match target {
            Target::Slice(buf) => self.peek(offset, &mut buf[..most]),
            Target::Owned(data, _) => {
                *data = self.share(pool, offset, most);
                data.len()
            }
        }
    }

    /// The octets of the piece at `offset`, up to `most`: those of a packet stay where they are.
    fn share(&self, pool: &mut Pool, offset: u64, most: usize) -> Bytes {
        let Some(piece) = self.pieces.iter_from(|piece| piece.end() <= offset).next() else {
            return Bytes::new();
        };
        let range = offset..piece.end().min(offset + most as u64);
        match &piece.memory {
            Memory::Chunk(_) => Bytes::copy_from_slice(piece.octets(range)),
            Memory::Packet(packet) => pool.lend(packet, piece.places(range)),
        }
    }

    /// Copies unread octets from `offset` on into `buf`; returns how many.
    pub fn peek(&self, offset: u64, buf: &mut [u8]) -> usize {
        let (mut at, end) = (offset.max(self.read), (offset + buf.len() as u64).min(self.next));
        let mut done = 0;
        let past = at;
        for piece in self.pieces.iter_from(|piece| piece.end() <= past) {
            if at >= end {
                break;
            }
            let part = piece.octets(at..end.min(piece.end()));
            buf[done..done + part.len()].copy_from_slice(part);
            done += part.len();
            at = piece.end();
        }
        done
    }

    /// The user has taken everything before `offset`.
    pub fn consume(&mut self, pool: &mut Pool, offset: u64) {
        self.read = offset.clamp(self.read, self.next);
        let read = self.read;
        while self.pieces.front().is_some_and(|piece| piece.end() <= read) {
            if let Some(piece) = self.pieces.pop_front() {
                piece.memory.give(pool);
            }
        }
    }

    /// Gives all memory back; what was not read is gone.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.drop_ahead(pool);
        self.consume(pool, self.next);
    }

    /// Forgets what came ahead; nothing will fill the gaps any more.
    pub fn drop_ahead(&mut self, pool: &mut Pool) {
        if let Some(ahead) = self.ahead.take() {
            ahead.give(pool);
        }
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        self.pieces.iter().map(|piece| piece.memory.octets().len()).sum::<usize>()
            + self.pieces.memory_octets()
            + self.ahead.as_ref().map_or(0, |ahead| ahead.memory_octets())
    }

    /// Adds what is next, with nothing ahead of it.
    fn append(&mut self, pool: &mut Pool, data: &[u8]) {
        match pool.adopt(data) {
            Some((packet, Range { start, end })) => {
                let memory = Memory::Packet(packet);
                self.pieces.push_back(Piece { base: self.next, from: start as u32, to: end as u32, memory });
                self.next += data.len() as u64;
            }
            None => self.copy(pool, data),
        }
    }

    fn copy(&mut self, pool: &mut Pool, mut data: &[u8]) {
        while !data.is_empty() {
            let Some((room, to)) = self.pieces.back_mut().and_then(Piece::room) else {
                // A small chunk for a message on an idle connection, else a large one.
                let small = self.pieces.is_empty() && data.len() <= Pool::SMALL;
                let chunk = if small { pool.take_small() } else { pool.take_large() };
                let memory = Memory::Chunk(chunk);
                self.pieces.push_back(Piece { base: self.next, from: 0, to: 0, memory });
                continue;
            };
            let count = room.len().min(data.len());
            room[..count].copy_from_slice(&data[..count]);
            *to += count as u32;
            self.next += count as u64;
            data = &data[count..];
        }
    }

    /// Adds what is next where something is ahead: that is not overwritten, and follows where it now touches.
    fn fill(&mut self, pool: &mut Pool, mut ahead: Box<Ahead>, data: &[u8]) {
        let (start, end) = (self.next, self.next + data.len() as u64);
        loop {
            if let Some(block) = ahead.ranges.range_at(self.next) {
                ahead.ranges.remove_below(block.end);
                ahead.move_into(self, pool, block);
            } else if self.next < end {
                let gap = ahead.ranges.gap(self.next..end).unwrap_or(self.next..end);
                self.copy(pool, &data[(gap.start - start) as usize..(gap.end - start) as usize]);
            } else {
                break;
            }
        }
        match ahead.ranges.is_empty() {
            true => ahead.give(pool),
            false => {
                ahead.drop_below(pool, self.next);
                self.ahead = Some(ahead);
            }
        }
    }
}

impl Piece {
    fn end(&self) -> u64 {
        self.base + u64::from(self.to - self.from)
    }

    /// The octets with these offsets, which are here.
    fn octets(&self, range: Range<u64>) -> &[u8] {
        &self.memory.octets()[self.places(range)]
    }

    /// Where in the memory they are.
    fn places(&self, range: Range<u64>) -> Range<usize> {
        let place = |offset: u64| self.from as usize + (offset - self.base) as usize;
        place(range.start)..place(range.end)
    }

    /// Where more fits behind the last octet, and the mark to move on; `None` when nothing does.
    fn room(&mut self) -> Option<(&mut [u8], &mut u32)> {
        match &mut self.memory {
            Memory::Chunk(chunk) if (self.to as usize) < chunk.len() => {
                Some((&mut chunk[self.to as usize..], &mut self.to))
            }
            Memory::Chunk(_) | Memory::Packet(_) => None,
        }
    }
}

impl Memory {
    fn octets(&self) -> &[u8] {
        match self {
            Memory::Chunk(chunk) => chunk,
            Memory::Packet(packet) => packet,
        }
    }

    fn give(self, pool: &mut Pool) {
        match self {
            Memory::Chunk(chunk) => pool.give(chunk),
            Memory::Packet(packet) => pool.give_packet(packet),
        }
    }
}

impl Ahead {
    /// Puts octets in their place, except where something is.
    fn store(&mut self, pool: &mut Pool, offset: u64, data: &[u8]) {
        let whole = offset..offset + data.len() as u64;
        let mut at = whole.start;
        while let Some(gap) = self.ranges.gap(at..whole.end) {
            at = gap.end;
            self.write(pool, gap.start, &data[(gap.start - offset) as usize..(gap.end - offset) as usize]);
        }
        self.ranges.insert(whole);
    }

    fn write(&mut self, pool: &mut Pool, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (cell, within) = self.place(offset + done as u64);
            let count = (CELL as usize - within).min(data.len() - done);
            if self.cells.len() <= cell {
                self.cells.resize_with(cell + 1, || None);
            }
            let chunk = self.cells[cell].get_or_insert_with(|| pool.take_small());
            chunk[within..within + count].copy_from_slice(&data[done..done + count]);
            done += count;
        }
    }

    /// Copies a range that is here, and next there.
    fn move_into(&self, buffer: &mut RecvBuffer, pool: &mut Pool, range: Range<u64>) {
        let mut at = buffer.next;
        while at < range.end {
            let (cell, within) = self.place(at);
            let count = (CELL as usize - within).min((range.end - at) as usize);
            // There is no range without its cells.
            let Some(Some(chunk)) = self.cells.get(cell) else { return };
            buffer.copy(pool, &chunk[within..within + count]);
            at += count as u64;
        }
    }

    fn drop_below(&mut self, pool: &mut Pool, offset: u64) {
        while self.base + CELL <= offset {
            if let Some(Some(chunk)) = self.cells.pop_front() {
                pool.give(chunk);
            }
            self.base += CELL;
        }
    }

    fn give(self, pool: &mut Pool) {
        self.cells.into_iter().flatten().for_each(|chunk| pool.give(chunk));
    }

    fn memory_octets(&self) -> usize {
        self.cells.iter().flatten().map(|chunk| chunk.len()).sum::<usize>()
            + self.cells.capacity() * size_of::<Option<Chunk>>()
            + self.ranges.len() * size_of::<Range<u64>>()
            + size_of::<Ahead>()
    }

    fn place(&self, offset: u64) -> (usize, usize) {
        let distance = offset - self.base;
        ((distance / CELL) as usize, (distance % CELL) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn bytes(range: Range<u64>) -> Vec<u8> {
        range.map(|i| (i * 7 % 253) as u8).collect()
    }

    #[test]
    fn in_order_data_is_read_and_leaves_nothing_behind() {
        let (mut buffer, mut pool) = (RecvBuffer::default(), Pool::default());
        assert_eq!(buffer.store(&mut pool, 0, &bytes(0..10_000)), 10_000);
        let mut buf = vec![0; 6000];
        assert_eq!(buffer.peek(0, &mut buf), 6000);
        buffer.consume(&mut pool, 6000);
        assert_eq!(buf, bytes(0..6000));
        assert_eq!(buffer.peek(6000, &mut buf), 4000);
        buffer.consume(&mut pool, 10_000);
        assert_eq!(buf[..4000], bytes(6000..10_000));
        assert_eq!(buffer.memory_octets(), 0);
    }

    /// conformance: 9293-3.10.7.4-overlap-consistent, 9293-SHLD-31
    #[test]
    fn any_order_and_overlap_of_slices_gives_the_stream() {
        let mut rng = Rng::from_seed(11);
        for round in 0..100 {
            let (mut buffer, mut pool) = (RecvBuffer::default(), Pool::default());
            let (mut got, total) = (Vec::new(), 20_000u64);
            while (got.len() as u64) < total {
                let start = rng.below(total).max(buffer.next_offset());
                let start = if rng.chance(0.3) { buffer.next_offset() } else { start };
                let end = (start + 1 + rng.below(4000)).min(total);
                buffer.store(&mut pool, start, &bytes(start..end));
                if rng.chance(0.3) {
                    let mut buf = vec![0; rng.below(5000) as usize];
                    let count = buffer.peek(buffer.read_offset(), &mut buf);
                    got.extend_from_slice(&buf[..count]);
                    buffer.consume(&mut pool, got.len() as u64);
                }
            }
            assert_eq!(got, bytes(0..total), "round {round}");
            assert_eq!(buffer.memory_octets(), 0);
        }
    }

    /// The text of packets that were read into memory that may be kept, in every order and with texts that are copied.
    #[test]
    fn large_texts_stay_where_they_are_whatever_comes_around_them() {
        let mut rng = Rng::from_seed(12);
        for _ in 0..50 {
            let (mut buffer, mut pool) = (RecvBuffer::default(), Pool::default());
            let (mut got, total) = (Vec::new(), 1_000_000u64);
            while (got.len() as u64) < total {
                let next = buffer.next_offset();
                let start = if rng.chance(0.8) { next } else { next + rng.below(100_000) };
                let end = (start + 1 + rng.below(64_000)).min(total);
                if start < end {
                    let mut packet = pool.take_packet();
                    let place = 40..40 + (end - start) as usize;
                    packet.octets_mut().expect("nobody else has it")[place.clone()]
                        .copy_from_slice(&bytes(start..end));
                    let kept =
                        start == next && buffer.ahead().is_empty() && place.len() >= PacketBuf::LEN / 2;
                    pool.set_arriving(Some(&packet));
                    buffer.store(&mut pool, start, &packet[place.clone()]);
                    pool.set_arriving(None);
                    assert_eq!(packet.octets_mut().is_none(), kept);
                    pool.give_packet(packet);
                }
                if rng.chance(0.4) {
                    let mut buf = vec![0; rng.below(100_000) as usize];
                    let count = buffer.peek(buffer.read_offset(), &mut buf);
                    got.extend_from_slice(&buf[..count]);
                    buffer.consume(&mut pool, got.len() as u64);
                }
                assert!(
                    buffer.memory_octets() <= 3 * buffer.unread() + 40 * 64_000,
                    "bounded by what is held"
                );
            }
            assert_eq!(got, bytes(0..total));
            assert_eq!(buffer.memory_octets(), 0);
        }
    }

    #[test]
    fn the_first_copy_of_an_octet_wins() {
        let (mut buffer, mut pool) = (RecvBuffer::default(), Pool::default());
        buffer.store(&mut pool, 2, b"cd");
        assert_eq!(buffer.store(&mut pool, 0, b"abXXe"), 5);
        let mut buf = [0; 5];
        buffer.peek(0, &mut buf);
        assert_eq!(&buf, b"abcde");
    }

    #[test]
    fn a_distant_octet_costs_one_cell() {
        let (mut buffer, mut pool) = (RecvBuffer::default(), Pool::default());
        buffer.store(&mut pool, 1 << 20, b"x");
        assert!(buffer.memory_octets() < 2 * CELL as usize + 8 * 512);
        buffer.drop_ahead(&mut pool);
        assert_eq!(buffer.memory_octets(), 0);
    }
}
