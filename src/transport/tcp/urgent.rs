//! Urgent data (RFC 9293 §3.8.5, RFC 6093), with Linux's socket face: the last urgent octet is taken out of the stream unless
//! `SO_OOBINLINE` is set. New programs should not use it (SHLD-13).
//!
//! The pointer is a mark in sequence space, never a length: it moves forward only, and data is delivered whether or not it is set.

use super::synchronized::{Phase, Synchronized};
use crate::base::{Errno, Readiness};
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Segment};

use super::common::Common;

/// The urgent octet that the peer marked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Urgent {
    /// Its stream offset.
    pub at: u64,
    /// Was it fetched with `MSG_OOB`?
    pub fetched: bool,
    /// Was the user told that it can be fetched?
    pub announced: bool,
}

impl Synchronized {
    /// RFC 9293 §3.10.7.4, sixth check. Returns whether the mark moved.
    pub fn on_urgent_pointer(&mut self, common: &mut Common, seg: &Segment<'_>) {
        // After the peer's FIN the pointer means nothing; a zero pointer comes from middleboxes (RFC 6093 §3.4).
        let receiving = matches!(self.phase, Phase::Established | Phase::FinWait1 | Phase::FinWait2);
        if !seg.flags.contains(Flags::URG) || seg.urgent == 0 || !receiving {
            return;
        }
        // MUST-62: the pointer names the octet after the urgent data.
        let octet = seg.seq.add(u32::from(seg.urgent) - 1);
        let offset = self.rcv.offset(octet);
        let Ok(at) = u64::try_from(offset) else { return };
        let passed = at < self.rcv.buffer.read_offset() || at < self.rcv.buffer.next_offset();
        if passed || self.rcv.urgent.as_ref().is_some_and(|urgent| at <= urgent.at) {
            return;
        }
        self.rcv.urgent = Some(Box::new(Urgent { at, fetched: false, announced: false }));
        // MUST-32: told when it newly appears and when it advances, also while the octet itself is on its way.
        common.wakes |= Readiness::PRIORITY;
    }

    /// New data is in order: the urgent octet may be among it.
    pub fn announce_urgent(&mut self, common: &mut Common) {
        let next = self.rcv.buffer.next_offset();
        if let Some(urgent) = &mut self.rcv.urgent
            && urgent.at < next
            && !urgent.announced
        {
            urgent.announced = true;
            common.wakes |= Readiness::PRIORITY;
        }
    }

    /// Is there an urgent octet to fetch?
    pub fn urgent_ready(&self) -> bool {
        self.rcv
            .urgent
            .as_ref()
            .is_some_and(|urgent| !urgent.fetched && urgent.at < self.rcv.buffer.next_offset())
    }

    /// `recv` with `MSG_OOB`, as Linux's `tcp_recv_urg`.
    pub fn fetch_urgent(&mut self, common: &Common, buf: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let Some(urgent) = &mut self.rcv.urgent else { return Err(Errno::EINVAL) };
        if common.settings.oob_inline || urgent.fetched {
            return Err(Errno::EINVAL);
        }
        if urgent.at >= self.rcv.buffer.next_offset() {
            return if self.rcv.eof { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let room = buf.len().min(1);
        let count = self.rcv.buffer.peek(urgent.at, &mut buf[..room]);
        urgent.fetched |= !peek;
        Ok(count)
    }

    /// Is the next octet to be read the urgent one (`SIOCATMARK`)?
    pub fn at_mark(&self) -> bool {
        self.rcv.urgent.as_ref().is_some_and(|urgent| urgent.at == self.rcv.buffer.read_offset())
    }

    /// The urgent pointer of a segment at `seq`, if it must carry one (RFC 9293 §3.10.2).
    pub fn urgent_field(&self, seq: SeqNumber) -> Option<u16> {
        let distance = self.snd.urgent?.since(seq).filter(|distance| *distance > 0)?;
        Some(distance.min(65_535) as u16)
    }
}
