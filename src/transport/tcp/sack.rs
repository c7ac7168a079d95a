//! Selective acknowledgment, receiver's side (RFC 2018 §4, RFC 2883): which blocks an acknowledgment reports, and the
//! acknowledgments that each segment out of order or received twice gets for itself.

use super::recv_buffer::RecvBuffer;
use arrayvec::ArrayVec;
use core::ops::Range;
use std::collections::VecDeque;

/// Duplicate acknowledgments kept until the next output, at most.
const MAX_DUE: usize = 256;

/// One acknowledgment that a segment demanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Offset of the segment that demanded it, if it was kept out of order: its block goes first (RFC 2018 §4).
    pub trigger: Option<u64>,
    /// What had been received before: reported once, in front (RFC 2883 §4).
    pub duplicate: Option<Range<i64>>,
}

/// What to report; exists only while something is missing or was received twice.
#[derive(Debug, Default)]
pub(super) struct SackReport {
    /// Offsets in the blocks that last grew, latest first.
    recent: ArrayVec<u64, 4>,
    /// Acknowledgments not yet sent.
    pub due: VecDeque<Demand>,
}

impl SackReport {
    /// A segment at `offset` was kept out of order.
    pub fn on_ahead(&mut self, offset: u64, buffer: &RecvBuffer) {
        let block = buffer.block_at(offset);
        self.recent.retain(|other| !block.as_ref().is_some_and(|block| block.contains(other)));
        self.recent.truncate(3);
        self.recent.insert(0, offset);
    }

    /// A segment demands its own acknowledgment.
    pub fn demand(&mut self, demand: Demand) {
        if self.due.len() < MAX_DUE {
            self.due.push_back(demand);
        }
    }

    /// The blocks to report: what was received twice, the block of the trigger, then the latest others; `room` at most.
    pub fn blocks(&self, buffer: &RecvBuffer, demand: &Demand, room: usize) -> ArrayVec<Range<i64>, 4> {
        let mut blocks = ArrayVec::new();
        let room = room.min(4);
        blocks.extend(demand.duplicate.clone().into_iter().take(room));
        let duplicates = blocks.len();
        let latest = demand.trigger.iter().chain(&self.recent).filter_map(|at| buffer.block_at(*at));
        for block in latest.chain(buffer.ahead().iter()) {
            if blocks.len() >= room {
                break;
            }
            let block = block.start as i64..block.end as i64;
            if !blocks[duplicates..].contains(&block) {
                blocks.push(block);
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pool;

    fn keep(report: &mut SackReport, buffer: &mut RecvBuffer, pool: &mut Pool, offset: u64) {
        buffer.store(pool, offset, &[0; 100]);
        report.on_ahead(offset, buffer);
    }

    /// conformance: 2018-4-first-block, 2018-4-many
    #[test]
    fn the_latest_block_leads_and_the_latest_others_follow() {
        let (mut report, mut buffer, mut pool) =
            (SackReport::default(), RecvBuffer::default(), Pool::default());
        for offset in [300, 700, 500, 900, 1100] {
            keep(&mut report, &mut buffer, &mut pool, offset);
        }
        let demand = Demand { trigger: Some(1100), duplicate: None };
        let starts: Vec<i64> = report.blocks(&buffer, &demand, 3).iter().map(|block| block.start).collect();
        assert_eq!(starts, [1100, 900, 500]);
        keep(&mut report, &mut buffer, &mut pool, 600);
        let demand = Demand { trigger: Some(600), duplicate: None };
        let blocks = report.blocks(&buffer, &demand, 4);
        assert_eq!(blocks[0], 500..800, "neighbours are one block");
        assert_eq!(blocks.len(), 4);
    }

    /// conformance: 2883-4.2-within, 2883-4.1-below, 2883-4-first
    #[test]
    fn what_came_twice_is_reported_in_front_of_the_block_around_it() {
        let (mut report, mut buffer, mut pool) =
            (SackReport::default(), RecvBuffer::default(), Pool::default());
        keep(&mut report, &mut buffer, &mut pool, 300);
        keep(&mut report, &mut buffer, &mut pool, 700);
        let demand = Demand { trigger: Some(320), duplicate: Some(320..380) };
        assert_eq!(report.blocks(&buffer, &demand, 3).as_slice(), [320..380, 300..400, 700..800]);
        let below = Demand { trigger: None, duplicate: Some(-50..0) };
        assert_eq!(report.blocks(&buffer, &below, 2).as_slice(), [-50..0, 700..800]);
        assert_eq!(report.blocks(&buffer, &Demand::default(), 2).as_slice(), [700..800, 300..400]);
    }
}
