//! The receiving half of a synchronized connection: RFC 9293's RCV variables and what stands behind them.

use super::delayed_ack::DelayedAck;
use super::pack::pack_fields;
use super::recv_buffer::RecvBuffer;
use super::recv_tuning::RecvTuning;
use super::recv_window::{RecvWindow, Room};
use super::sack::{Demand, SackReport};
use super::timestamps::Timestamps;
use super::urgent::Urgent;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::SackBlock;
use arrayvec::ArrayVec;
use core::ops::Range;

/// RCV.
#[derive(Debug)]
pub(super) struct Receiver {
    pub irs: SeqNumber,
    pub buffer: RecvBuffer,
    /// The peer's FIN, once one was seen.
    pub fin: Option<SeqNumber>,
    /// The FIN was reached: there will be no more.
    pub eof: bool,
    pub window: RecvWindow,
    /// The window is never advertised larger (`rcv_ssthresh`).
    pub ssthresh: u32,
    pub tuning: Option<Box<RecvTuning>>,
    /// The MSS that we announced.
    pub mss: u16,
    /// Last.ACK.sent (RFC 7323 §4.3).
    pub last_ack_sent: SeqNumber,
    pub ack: DelayedAck,
    /// A challenge acknowledgment is due (RFC 5961).
    pub challenge_due: bool,
    /// In use on this connection; TS.Recent.
    pub timestamps: Option<Timestamps>,
    pub sack_permitted: bool,
    pub sack: Option<Box<SackReport>>,
    pub urgent: Option<Box<Urgent>>,
}

pack_fields!(Receiver {
    irs, buffer, fin, eof, window, ssthresh, tuning, mss, last_ack_sent, ack, challenge_due, timestamps, sack_permitted;
    sack: None, urgent: None
});

impl Receiver {
    /// RCV.NXT.
    pub fn nxt(&self) -> SeqNumber {
        self.seq(self.buffer.next_offset() as i64).add(u32::from(self.eof))
    }

    /// RCV.WND.
    pub fn wnd(&self) -> u32 {
        self.window.octets(self.nxt())
    }

    /// The sequence number of a stream offset; offset 0 follows the SYN.
    pub fn seq(&self, offset: i64) -> SeqNumber {
        self.irs.add(1).add(offset as u32)
    }

    /// The stream offset of a sequence number near RCV.NXT; negative before the stream.
    pub fn offset(&self, seq: SeqNumber) -> i64 {
        let next = self.buffer.next_offset() as i64;
        next + i64::from(seq.0.wrapping_sub(self.seq(next).0) as i32)
    }

    /// The MSS that we announced, less the options of every segment: what a full segment brings.
    pub fn payload_mss(&self) -> u32 {
        u32::from(self.mss).saturating_sub(if self.timestamps.is_some() { 12 } else { 0 }).max(1)
    }

    /// Octets free beyond RCV.NXT in a buffer of `capacity`.
    pub fn free(&self, capacity: u32) -> u32 {
        capacity.saturating_sub(self.buffer.unread() as u32)
    }

    /// What a buffer of `capacity` allows to be advertised; the step is RFC 9293 §3.8.6.2.2's.
    pub fn room(&self, capacity: u32) -> Room {
        let free = self.free(capacity);
        let memory = capacity.saturating_add(capacity.max(16 << self.window.scale));
        let limit = memory.saturating_sub(self.buffer.unread() as u32);
        Room { free, limit, offer: free.min(self.ssthresh), step: u32::from(self.mss).min(capacity / 2) }
    }

    /// A segment demands an acknowledgment of its own.
    pub fn demand_ack(&mut self, trigger: Option<u64>, duplicate: Option<Range<i64>>) {
        let duplicate = duplicate.filter(|_| self.sack_permitted);
        self.sack.get_or_insert_default().demand(Demand { trigger, duplicate });
        self.ack.quickly();
    }

    /// RCV.NXT moved: what was demanded for older numbers is answered by one acknowledgment of the new one; a report of
    /// duplicates is kept.
    pub fn merge_demands(&mut self) {
        if let Some(sack) = &mut self.sack {
            let last = sack.due.drain(..).rfind(|demand| demand.duplicate.is_some());
            sack.due.extend(last.map(|demand| Demand { trigger: None, ..demand }));
        }
        self.drop_idle_report();
    }

    /// The report takes memory only while there is something to report.
    pub fn drop_idle_report(&mut self) {
        if self.buffer.ahead().is_empty() && self.sack.as_ref().is_some_and(|sack| sack.due.is_empty()) {
            self.sack = None;
        }
    }

    /// SACK blocks for a segment that answers `demand`, at most `room`.
    pub fn sack_blocks(&self, demand: &Demand, room: usize) -> ArrayVec<SackBlock, 4> {
        match &self.sack {
            Some(sack) if self.sack_permitted => sack
                .blocks(&self.buffer, demand, room)
                .into_iter()
                .map(|block| SackBlock { left: self.seq(block.start), right: self.seq(block.end) })
                .collect(),
            Some(_) | None => ArrayVec::new(),
        }
    }

    /// SACK blocks that fit beside timestamps (RFC 2018 §3).
    pub fn sack_room(&self) -> usize {
        if self.timestamps.is_some() { 3 } else { 4 }
    }
}
