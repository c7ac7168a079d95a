//! SEGMENT ARRIVES in the synchronized states (RFC 9293 §3.10.7.4): the checks in their order, one function each.
//!
//! Before them stands PAWS (RFC 7323 §5.3); within them RFC 5961's answers to blind attacks. A segment that fails a check changes
//! nothing.

use super::common::{Common, Next, Outcome};
use super::connection::SegmentMeta;
use super::synchronized::{Phase, Synchronized};
use crate::base::{Errno, Readiness};
use crate::trace::Drop;
use crate::transport::Env;
use crate::wire::tcp::{Flags, Segment};

use super::connection::Verdict;

/// What the sequence check says (RFC 9293 §3.10.7.4, first).
enum Acceptable {
    Yes,
    /// Text that a closed window refuses; the acknowledgment, URG and RST it carries count.
    HeaderOnly,
    No,
}

impl Synchronized {
    /// A segment arrived.
    pub fn on_segment(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
        meta: SegmentMeta,
    ) -> Outcome {
        self.stats.segs_in = self.stats.segs_in.wrapping_add(meta.segments(seg.payload.len()));
        if let Some(outcome) = self.on_repeated_syn(common, env, seg) {
            return outcome;
        }
        if let Some(outcome) = self.check_timestamps(common, env, seg) {
            return outcome;
        }
        if seg.flags.contains(Flags::RST) {
            return self.on_reset(common, env, seg);
        }
        let acceptable = self.check_sequence(seg);
        if let Acceptable::No = acceptable {
            return self.refuse(common, env, seg);
        }
        // Fourth, SYN: never resets anything (RFC 5961 §4.2).
        if seg.flags.contains(Flags::SYN) {
            return self.on_syn(common, env);
        }
        if let Some(outcome) = self.check_ack(common, env, seg) {
            return outcome;
        }
        self.timers.on_heard(env.now);
        if let (Some(ts), Some(option)) = (&mut self.rcv.timestamps, seg.options.timestamps) {
            ts.on_segment(option.value, seg.seq, self.rcv.last_ack_sent, env.now);
        }
        if !seg.payload.is_empty() {
            self.on_marked_text(common, seg, meta);
        }
        match self.on_ack(common, env, seg) {
            Next::Stay => {}
            next @ (Next::TimeWait | Next::Closed(_) | Next::Aborted(_)) => return Outcome::taken(next),
            Next::SynReceived(_) | Next::Synchronized(_) => {}
        }
        self.on_urgent_pointer(common, seg);
        match acceptable {
            Acceptable::HeaderOnly => {
                self.demand_duplicate_ack(common, seg);
                env.counters.tcp_ext_rcv_q_drop += 1;
                Outcome::dropped(Drop::Unacceptable)
            }
            Acceptable::Yes | Acceptable::No => self.on_text(common, env, seg, meta),
        }
    }

    /// PAWS (RFC 7323 §5.3 R1), before the sequence check; RST is exempt (§5.2).
    fn check_timestamps(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Option<Outcome> {
        let ts = self.rcv.timestamps.as_ref()?;
        if seg.flags.contains(Flags::RST) {
            return None;
        }
        match seg.options.timestamps {
            // RFC 7323 §3.2: drop silently what lacks the option; never abort for it. A SYN is answered further down.
            None if seg.flags.contains(Flags::SYN) => None,
            None => Some(Outcome::dropped(Drop::Ignored)),
            Some(option) if ts.is_old(option.value, env.now) => {
                env.counters.tcp_ext_paws_estab += 1;
                self.refuse(common, env, seg);
                Some(Outcome::dropped(Drop::OldTimestamp))
            }
            Some(_) => None,
        }
    }

    /// First: is any of it in the window?
    ///
    /// As on Linux the window's right edge is in it for what needs no room. That is where the acknowledgments of a peer stand that has
    /// filled the window: were they refused, two ends that have would never again learn what arrived.
    fn check_sequence(&self, seg: &Segment<'_>) -> Acceptable {
        let (nxt, wnd) = (self.rcv.nxt(), self.rcv.wnd());
        let edge = nxt.add(wnd);
        let in_window = |seq: crate::wire::seq::SeqNumber| seq.since(nxt).is_some_and(|ahead| ahead < wnd);
        match (seg.len(), wnd) {
            (0, 0) if seg.seq == nxt => Acceptable::Yes,
            (0, 0) => Acceptable::No,
            (0, _) if in_window(seg.seq) || seg.seq == edge => Acceptable::Yes,
            (0, _) => Acceptable::No,
            (_, _) if seg.seq == edge => Acceptable::HeaderOnly,
            (_, 0) => Acceptable::No,
            (len, _) if in_window(seg.seq) || in_window(seg.seq.add(len - 1)) => Acceptable::Yes,
            // It covers the whole window from before to beyond.
            (_, _) if seg.seq.before(nxt) && seg.end().after(nxt) => Acceptable::Yes,
            (_, _) => Acceptable::No,
        }
    }

    /// Not acceptable: answered by an acknowledgment of what is expected. Text always is (it may be a retransmission whose
    /// acknowledgment was lost, and its duplicate is reported); empty segments and SYNs only now and then, so that two ends that
    /// disagree do not answer each other for ever (RFC 5961 §7).
    fn refuse(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Outcome {
        if seg.flags.contains(Flags::SYN) {
            return self.on_syn(common, env);
        }
        // RFC 9293 §3.10.7.4: a FIN that comes again in TIME-WAIT's forerunners is acknowledged like text.
        if !seg.is_empty() {
            self.demand_duplicate_ack(common, seg);
        } else if common.may_answer(env) {
            // Probes of windows and keepalives are of this kind.
            self.rcv.ack.now();
            common.output_due = true;
        }
        Outcome::dropped(Drop::Unacceptable)
    }

    /// An acknowledgment for this very segment, reporting what of it had been received before (RFC 2883 §4).
    fn demand_duplicate_ack(&mut self, common: &mut Common, seg: &Segment<'_>) {
        let text = seg.seq.add(u32::from(seg.flags.contains(Flags::SYN)));
        let (left, nxt) = (self.rcv.offset(text), self.rcv.buffer.next_offset() as i64);
        let right = (left + seg.payload.len() as i64).min(nxt);
        self.rcv.demand_ack(None, (left < right).then_some(left..right));
        common.output_due = true;
    }

    fn on_syn(&mut self, common: &mut Common, env: &mut Env) -> Outcome {
        env.counters.tcp_ext_syn_challenge += 1;
        self.challenge(common, env);
        Outcome::dropped(Drop::ChallengedSyn)
    }

    /// Fifth, first half: is the acknowledgment possible at all?
    fn check_ack(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Option<Outcome> {
        if !seg.flags.contains(Flags::ACK) {
            return Some(Outcome::dropped(Drop::NoAck));
        }
        if let Some(outcome) = self.on_ack_of_syn(common, env, seg) {
            return Some(outcome);
        }
        // RFC 5961 §5.2: SND.UNA − MAX.SND.WND ≤ SEG.ACK ≤ SND.NXT; anything else was not meant for this connection.
        let oldest = self.snd.una.sub(self.snd.max_wnd);
        if seg.ack.before(oldest) || seg.ack.after(self.snd.nxt) {
            self.challenge(common, env);
            return Some(Outcome::dropped(Drop::AckInvalid));
        }
        None
    }

    /// Seventh: the text, then eighth: FIN.
    pub fn on_text(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
        meta: SegmentMeta,
    ) -> Outcome {
        if seg.is_empty() {
            return Outcome::TAKEN;
        }
        match self.phase {
            Phase::Established | Phase::FinWait1 | Phase::FinWait2 => {}
            // After the peer's FIN there is no text; what lies beyond it is ignored.
            Phase::CloseWait | Phase::Closing | Phase::LastAck => {
                self.demand_duplicate_ack(common, seg);
                return Outcome::dropped(Drop::Ignored);
            }
        }
        if !seg.payload.is_empty() {
            self.stats.data_segs_in = self.stats.data_segs_in.wrapping_add(meta.segments(seg.payload.len()));
        }
        let nxt = self.rcv.nxt();
        let text_end = seg.seq.add(seg.payload.len() as u32);
        if text_end.after(nxt) && self.nobody_reads(common) {
            // RFC 9293 §3.6.1 (SHLD-3): the user has closed, the peer must learn that its data is lost.
            env.counters.tcp_ext_abort_on_data += 1;
            let error = (!common.orphan).then_some(Errno::ECONNRESET);
            return Outcome { verdict: Verdict::Reset(Drop::Closed), next: Next::Closed(error) };
        }
        self.take_text(common, env, seg, meta);
        self.take_fin(common, env)
    }

    /// Is there nobody who could read? After close, and as on Linux after both directions were shut.
    fn nobody_reads(&self, common: &Common) -> bool {
        let closing = matches!(self.phase, Phase::FinWait1 | Phase::FinWait2);
        common.orphan || common.shut_read && closing
    }

    /// Trims to the window, stores in place, notes the FIN, decides how to acknowledge.
    fn take_text(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>, meta: SegmentMeta) {
        let start = self.rcv.offset(seg.seq);
        let end = start + seg.payload.len() as i64;
        let next = self.rcv.buffer.next_offset() as i64;
        let edge = self.rcv.offset(self.rcv.window.edge());
        let limit = self.rcv.fin.map_or(edge, |fin| edge.min(self.rcv.offset(fin)));
        let (from, to) = (start.max(next), end.min(limit));
        if seg.flags.contains(Flags::FIN) && end < edge && end >= next && self.rcv.fin.is_none() {
            self.rcv.fin = Some(self.rcv.seq(end));
        }
        let before = (start < next).then_some(start..end.min(next)).filter(|range| !range.is_empty());
        let segment =
            if meta.segment_size > 0 { u32::from(meta.segment_size) } else { seg.payload.len() as u32 };
        if from >= to {
            // Nothing new but perhaps a FIN.
            if before.is_some() || end > to || self.rcv.fin != Some(self.rcv.seq(next)) {
                self.rcv.demand_ack(None, before);
                common.output_due = true;
            }
            return;
        }
        let part = &seg.payload[(from - start) as usize..(to - start) as usize];
        self.measure_round_trip(common, env, seg);
        if from > next {
            self.keep_ahead(common, env, from as u64, part);
            return;
        }
        let filled = !self.rcv.buffer.ahead().is_empty();
        let overlap =
            self.rcv.buffer.ahead().overlap(from as u64..to as u64).map(|r| r.start as i64..r.end as i64);
        let gained = self.rcv.buffer.store(env.pool, from as u64, part);
        self.rcv.merge_demands();
        let duplicate = before.or(overlap);
        if filled || duplicate.is_some() || end > to {
            // RFC 5681 §4.2: a segment that fills all or part of a gap is acknowledged at once.
            self.rcv.ack.now();
        }
        if duplicate.is_some() {
            self.rcv.demand_ack(None, duplicate);
        }
        let rto = self.snd.rto.interval;
        self.measure_window(env.now);
        self.widen_window(common, part.len() as u32);
        self.rcv.ack.on_data(env.now, gained as u32, segment, env.config, rto);
        if seg.flags.contains(Flags::PSH) {
            self.rcv.ack.on_push();
        }
        common.output_due |= self.rcv.ack.due == super::delayed_ack::Due::Now;
        self.announce_urgent(common);
        if self.has_input(common) {
            common.wakes |= Readiness::READABLE;
        }
    }

    /// Text ahead of RCV.NXT is kept (SHLD-31) and acknowledged at once (RFC 5681 §4.2).
    fn keep_ahead(&mut self, common: &mut Common, env: &mut Env, offset: u64, part: &[u8]) {
        let range = offset..offset + part.len() as u64;
        let ahead = self.rcv.buffer.ahead();
        let duplicate = ahead.overlap(range.clone()).map(|r| r.start as i64..r.end as i64);
        // Every gap costs memory of its own: no more of them than the buffer justifies.
        let most = (common.receive_capacity() as usize / 512).max(64);
        common.output_due = true;
        if ahead.len() >= most && duplicate.is_none() {
            env.counters.tcp_ext_ofo_drop += 1;
            self.rcv.demand_ack(None, None);
            return;
        }
        if !ahead.contains(range) {
            env.counters.tcp_ext_ofo_queue += 1;
            self.rcv.buffer.store(env.pool, offset, part);
            self.widen_window(common, part.len() as u32);
        }
        self.rcv.demand_ack(Some(offset), duplicate);
        let Some(sack) = &mut self.rcv.sack else { return };
        sack.on_ahead(offset, &self.rcv.buffer);
    }

    /// The FIN counts once everything before it has arrived (RFC 9293 §3.10.7.4, eighth).
    fn take_fin(&mut self, common: &mut Common, env: &mut Env) -> Outcome {
        if self.rcv.eof || self.rcv.fin != Some(self.rcv.seq(self.rcv.buffer.next_offset() as i64)) {
            return Outcome::TAKEN;
        }
        self.rcv.eof = true;
        self.rcv.buffer.drop_ahead(env.pool);
        self.rcv.merge_demands();
        self.rcv.ack.now();
        common.output_due = true;
        common.wakes |= Readiness::READABLE | Readiness::READ_HANGUP;
        Outcome::taken(self.on_fin(common, env))
    }
}
