//! Octets that arrived, in place: what is in order and not yet read, and what came ahead of it.
//!
//! Positions are stream offsets: 0 is the octet after the peer's SYN. Each octet goes straight to its place in a grid of small
//! chunks; out of order only ranges are tracked. Overlaps: the first copy wins. Invariants: `read ≤ next`, every range of
//! `ahead` begins after `next`, and an empty buffer holds no memory. The caller bounds offsets by the window it advertised, which
//! bounds the memory.

use crate::base::RangeSet;
use crate::base::pool::{Chunk, Pool};
use core::ops::Range;
use std::collections::VecDeque;

/// Octets of one cell of the grid.
const CELL: u64 = Pool::SMALL as u64;

/// The receive buffer.
#[derive(Debug, Default)]
pub(super) struct RecvBuffer {
    /// Offset of the first octet of the first cell.
    base: u64,
    cells: VecDeque<Option<Chunk>>,
    /// The next octet that the user reads.
    read: u64,
    /// The next octet expected: RCV.NXT.
    next: u64,
    ahead: RangeSet,
}

impl RecvBuffer {
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
        &self.ahead
    }

    /// Stores `data` at `offset ≥ next`, except where something is already; returns how far `next` moved.
    pub fn store(&mut self, pool: &mut Pool, offset: u64, data: &[u8]) -> u64 {
        debug_assert!(offset >= self.next);
        let whole = offset..offset + data.len() as u64;
        if self.cells.is_empty() {
            self.base = self.next;
        }
        let mut at = whole.start;
        while let Some(gap) = self.ahead.gap(at..whole.end) {
            at = gap.end;
            let part = (gap.start - offset) as usize..(gap.end - offset) as usize;
            self.write(pool, gap.start, &data[part]);
        }
        if whole.start > self.next {
            self.ahead.insert(whole);
            return 0;
        }
        let before = self.next;
        self.next = whole.end;
        if let Some(joined) = self.ahead.range_at(self.next) {
            self.next = joined.end;
        }
        self.ahead.remove_below(self.next);
        if self.ahead.is_empty() {
            self.ahead.clear();
        }
        self.next - before
    }

    /// Copies unread octets from `offset` on into `buf`; returns how many.
    pub fn peek(&self, offset: u64, buf: &mut [u8]) -> usize {
        let (mut at, end) = (offset, (offset + buf.len() as u64).min(self.next));
        let mut done = 0;
        while at < end {
            let (cell, within) = self.place(at);
            let count = ((CELL as usize - within) as u64).min(end - at) as usize;
            if let Some(Some(chunk)) = self.cells.get(cell) {
                buf[done..done + count].copy_from_slice(&chunk[within..within + count]);
            }
            done += count;
            at += count as u64;
        }
        done
    }

    /// The user has taken everything before `offset`.
    pub fn consume(&mut self, pool: &mut Pool, offset: u64) {
        self.read = offset.clamp(self.read, self.next);
        if self.read == self.next && self.ahead.is_empty() {
            for chunk in self.cells.drain(..).flatten() {
                pool.give(chunk);
            }
            self.cells = VecDeque::new();
            return;
        }
        while self.base + CELL <= self.read {
            if let Some(Some(chunk)) = self.cells.pop_front() {
                pool.give(chunk);
            }
            self.base += CELL;
        }
    }

    /// Gives all memory back; what was not read is gone.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.drop_ahead(pool);
        self.consume(pool, self.next);
    }

    /// Forgets what came ahead; nothing will fill the gaps any more.
    pub fn drop_ahead(&mut self, pool: &mut Pool) {
        self.ahead.clear();
        self.consume(pool, self.read);
    }

    /// The range of `ahead` around `offset`.
    pub fn block_at(&self, offset: u64) -> Option<Range<u64>> {
        self.ahead.range_at(offset)
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        self.cells.iter().flatten().map(|chunk| chunk.len()).sum::<usize>()
            + self.cells.capacity() * size_of::<Option<Chunk>>()
            + self.ahead.len() * size_of::<Range<u64>>()
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
