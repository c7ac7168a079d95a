//! What a synchronized connection sends: one plan per segment, then the segment. Handlers only mark what is due; here it leaves.
//!
//! In this order: acknowledgments that single segments demanded, what is to be sent again, new data and FIN, probes, and last an
//! acknowledgment that found no ride.

use super::common::Common;
use super::congestion::{Controller, initial_window};
use super::connection::{Limits, Outgoing};
use super::delayed_ack::Due;
use super::frto::Frto;
use super::mtu_probing::Wish;
use super::recovery::Mode;
use super::sack::Demand;
use super::send_buffer::THREE_SLICES;
use super::sender::Blocked;
use super::synchronized::Synchronized;
use super::timers::Probe;
use super::timestamps;
use crate::trace::Why;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, SackBlock, Timestamps};
use arrayvec::ArrayVec;

/// A segment to be built.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub seq: SeqNumber,
    pub len: u32,
    pub fin: bool,
    pub push: bool,
    /// It was sent before.
    pub again: bool,
    pub why: Why,
    /// Payload of each wire segment.
    pub mss: u32,
    pub sack: ArrayVec<SackBlock, 4>,
}

impl Synchronized {
    /// The next segment, if one is due.
    pub fn next_segment<'a>(
        &'a mut self,
        common: &mut Common,
        env: &mut Env,
        limits: &Limits,
    ) -> Option<Outgoing<'a>> {
        let before = env.trace.is_on().then(|| self.view(common));
        if self.is_opening()
            && let Some(syn_ack) = self.next_syn_ack(common, env)
        {
            return Some(Outgoing { before, ..syn_ack });
        }
        match self.plan(common, env, limits) {
            Some(plan) => Some(Outgoing { before, ..self.emit(common, env, plan) }),
            None => {
                common.output_due = false;
                self.end_round(common, env);
                None
            }
        }
    }

    /// Ends the round at once where nothing more can come of it: most rounds are one segment, or an acknowledgment that asks for none.
    pub fn end_round_if_silent(&mut self, common: &mut Common, env: &mut Env) {
        if common.output_due && !self.is_opening() && !self.is_anything_due() {
            self.snd.blocked = Blocked::No;
            common.output_due = false;
            self.end_round(common, env);
        }
    }

    /// Could there be a plan?
    fn is_anything_due(&self) -> bool {
        let (snd, rcv) = (&self.snd, &self.rcv);
        snd.wants_to_send()
            || rcv.ack.due == Due::Now
            || rcv.challenge_due
            || rcv.sack.as_ref().is_some_and(|sack| !sack.due.is_empty())
            || snd.head_due.is_some()
            || snd.out.board.first_lost().is_some()
            || snd.out.recovery.tail_loss.due
            || self.timers.probe_due.is_some()
    }

    fn plan(&mut self, common: &mut Common, env: &mut Env, limits: &Limits) -> Option<Plan> {
        if let Some(plan) = self.plan_demanded_ack(env) {
            return Some(plan);
        }
        let sack = self.rcv.sack_blocks(&Demand::default(), self.rcv.sack_room());
        // SACK blocks leave less room for text (RFC 9293 §3.7.1).
        let taken = if sack.is_empty() { 0 } else { 4 + 8 * sack.len() as u32 };
        let mss = self.snd.mss.saturating_sub(taken).max(8);
        let plan = self.plan_tail_probe(mss).or_else(|| self.plan_again(env, mss));
        let plan = plan.or_else(|| self.plan_new(common, env, limits, mss));
        let plan = plan.or_else(|| self.plan_probe()).or_else(|| self.plan_ack(env));
        let plan = Plan { sack, ..plan? };
        Some(self.within_three_slices(plan))
    }

    /// A segment lends three slices of the buffer. More octets than these are always enough for can lie in more pieces, where some are
    /// the user's own and some are not: then it ends earlier, and a run of several segments with a whole one.
    fn within_three_slices(&self, plan: Plan) -> Plan {
        if plan.len <= THREE_SLICES {
            return plan;
        }
        let offset = self.snd.offset(plan.seq);
        match self.snd.buffer.contiguous(offset, plan.len as usize) as u32 {
            stored if stored < plan.len => {
                let whole = stored / plan.mss * plan.mss;
                Plan { len: if whole > 0 { whole } else { stored }, fin: false, push: false, ..plan }
            }
            _ => plan,
        }
    }

    // --- acknowledgments ---------------------------------------------------------------------------------------

    fn plan_demanded_ack(&mut self, env: &mut Env) -> Option<Plan> {
        let demand = self.rcv.sack.as_mut()?.due.pop_front()?;
        if let Some(duplicate) = &demand.duplicate {
            let below = duplicate.end <= self.rcv.buffer.next_offset() as i64;
            env.counters.tcp_ext_dsack_old_sent += u64::from(below);
            env.counters.tcp_ext_dsack_ofo_sent += u64::from(!below);
        }
        let sack = self.rcv.sack_blocks(&demand, self.rcv.sack_room());
        self.rcv.drop_idle_report();
        Some(Plan { sack, ..self.bare(self.snd.acceptable_seq(), Why::DuplicateAck) })
    }

    fn plan_ack(&mut self, env: &mut Env) -> Option<Plan> {
        let seq = self.snd.acceptable_seq();
        if core::mem::take(&mut self.rcv.challenge_due) {
            env.counters.tcp_ext_challenge_ack += 1;
            return Some(self.bare(seq, Why::Challenge));
        }
        match self.rcv.ack.due {
            Due::Now if self.rcv.ack.for_window => Some(self.bare(seq, Why::WindowUpdate)),
            Due::Now if self.rcv.ack.by_timer => {
                env.counters.tcp_ext_delayed_acks += 1;
                Some(self.bare(seq, Why::DelayedAck))
            }
            Due::Now => Some(self.bare(seq, Why::Ack)),
            Due::No | Due::Delayed(_) => None,
        }
    }

    /// A probe is empty and old on purpose: SEQ = SND.UNA − 1 makes the peer tell its window (RFC 9293 §3.8.4, §3.8.6.1).
    fn plan_probe(&mut self) -> Option<Plan> {
        let probe = self.timers.probe_due.take()?;
        let why = match probe {
            Probe::Window => Why::ZeroWindowProbe,
            Probe::KeepAlive => Why::KeepAlive,
        };
        Some(self.bare(self.snd.una.sub(1), why))
    }

    fn bare(&self, seq: SeqNumber, why: Why) -> Plan {
        Plan {
            seq,
            len: 0,
            fin: false,
            push: false,
            again: false,
            why,
            mss: self.snd.mss,
            sack: ArrayVec::new(),
        }
    }

    // --- data ----------------------------------------------------------------------------------------------------

    /// What is to be sent again: the head at once, the rest as the congestion window allows, without what the peer holds.
    fn plan_again(&mut self, env: &Env, mss: u32) -> Option<Plan> {
        if let Some(why) = self.snd.head_due.take() {
            let una = self.snd.una;
            return self.plan_resend(una, why, mss, true);
        }
        let from = self.snd.out.board.first_lost()?;
        // A closed window gets probes only.
        if self.snd.wnd == 0 || matches!(self.snd.out.recovery.frto, Frto::Second { .. }) {
            return None;
        }
        let plan = self.plan_resend(self.snd.seq(from), self.snd.out.recovery.why(), mss, false)?;
        // As full segments go, so that a timeout is followed by one segment however small.
        let pipe = self.snd.in_network();
        let full = pipe > 0 && pipe + mss > self.snd.congestion.cwnd();
        (!full && self.may_leave(env)).then_some(plan)
    }

    /// Is it time, as far as pacing is concerned?
    fn may_leave(&mut self, env: &Env) -> bool {
        let snd = &mut self.snd;
        snd.out.pacer.may_send(env.now, snd.congestion.pacing_rate(), snd.mss)
    }

    /// The probe of a tail: new data if there is any and the peer takes it, though the congestion window may not; else the last
    /// segment again (RFC 8985 §7.3).
    fn plan_tail_probe(&mut self, mss: u32) -> Option<Plan> {
        if !self.snd.out.recovery.tail_loss.due {
            return None;
        }
        self.snd.out.recovery.tail_loss.due = false;
        if self.snd.una == self.snd.nxt {
            return None;
        }
        let snd = &self.snd;
        let why = Why::TailLossProbe;
        let room = snd.unsent().min(snd.window_room()).min(mss);
        let plan = if room > 0 && (room == mss || room == snd.unsent()) {
            let offset = snd.offset(snd.nxt);
            let boundary =
                snd.buffer.boundary_after(offset).map_or(room, |at| room.min((at - offset) as u32));
            let push = snd.nxt.add(boundary) == snd.data_end();
            Plan {
                seq: snd.nxt,
                len: boundary,
                fin: false,
                push,
                again: false,
                why,
                mss,
                sack: ArrayVec::new(),
            }
        } else {
            let last = snd.out.board.last_flying()?;
            let size = (last.end - last.start) as u32;
            let fin = u32::from(snd.fin_sent());
            // Whole segments from the run's start on: the last begins here.
            let tail = (size - fin) % mss;
            let tail = if size == fin {
                0
            } else if tail == 0 {
                mss
            } else {
                tail
            };
            let start = last.end - u64::from(tail + fin).min(last.end - last.start);
            self.plan_resend(snd.seq(start), why, mss, true)?
        };
        let end = plan.seq.add(plan.len + u32::from(plan.fin));
        let again = !end.after(snd.nxt);
        let nxt = snd.nxt.max(end);
        self.snd.out.recovery.tail_loss.on_sent(nxt, again);
        Some(plan)
    }

    /// One segment from `seq` on: not across a hole's end, an EOR boundary or the peer's window.
    /// With `flying` also of what is in flight, else only of what is lost.
    fn plan_resend(&self, seq: SeqNumber, why: Why, mss: u32, flying: bool) -> Option<Plan> {
        let snd = &self.snd;
        let offset = snd.offset(seq);
        let sent_end = snd.data_end().min(snd.nxt);
        let mut len = sent_end.since(seq).unwrap_or(0).min(mss);
        let boundary = snd.buffer.boundary_after(offset).map(|at| (at - offset) as u32);
        len = len.min(boundary.unwrap_or(len));
        len = snd.out.board.sendable(offset, len, flying);
        // RFC 9293 §3.8.6 (SHLD-15, SHLD-16): what lies inside a shrunken window goes; with the window closed the head is the probe.
        // RFC 7323 §2.4: less than a granule beyond the edge is rounding.
        let granule = (1u32 << snd.scale) - 1;
        let allowed = snd.window_end().add(granule).since(seq).unwrap_or(0);
        if snd.wnd > 0 {
            len = len.min(allowed);
        }
        let fin = snd.fin_sent()
            && seq.add(len) == snd.data_end()
            && !snd.out.board.is_sacked(offset + u64::from(len));
        if len == 0 && !fin {
            return None;
        }
        let push = seq.add(len) == snd.data_end() || boundary == Some(len);
        Some(Plan { seq, len, fin, push, again: true, why, mss, sack: ArrayVec::new() })
    }

    /// New data, and the FIN after or with the last of it.
    fn plan_new(&mut self, common: &Common, env: &mut Env, limits: &Limits, mss: u32) -> Option<Plan> {
        self.snd.blocked = Blocked::No;
        let repairing =
            self.snd.out.board.lost() > 0 && !matches!(self.snd.out.recovery.frto, Frto::Second { .. });
        if repairing || !self.snd.wants_to_send() {
            return None;
        }
        self.restart_after_idle(env);
        match self.wish_of_mtu_search(common, env) {
            Wish::Probe(plan) if self.may_leave(env) => return Some(plan),
            Wish::Probe(_) => {
                self.forget_mtu_probe();
                self.snd.blocked = Blocked::Pace;
                return None;
            }
            Wish::Wait => {
                self.snd.blocked = Blocked::Cwnd;
                return None;
            }
            Wish::None => {}
        }
        let len = match self.new_data_len(common, env, limits, mss) {
            Ok(len) => len,
            Err(blocked) => {
                self.snd.blocked = blocked;
                return None;
            }
        };
        if !self.may_leave(env) {
            self.snd.blocked = Blocked::Pace;
            return None;
        }
        let snd = &self.snd;
        let end = snd.nxt.add(len);
        let last = end == snd.data_end();
        let fin = snd.fin && last && snd.window_room() > len;
        let over = snd.in_network() >= snd.congestion.cwnd();
        let why = match (len, over) {
            (0, _) => Why::Fin,
            (_, true) => Why::LimitedTransmit,
            (_, false) => Why::Data,
        };
        let boundary = snd.buffer.boundary_after(snd.offset(snd.nxt)) == Some(snd.offset(end));
        Some(Plan {
            seq: snd.nxt,
            len,
            fin,
            push: last || boundary,
            again: false,
            why,
            mss,
            sack: ArrayVec::new(),
        })
    }

    /// Octets of new data that may go in one packet now; zero for a FIN alone.
    fn new_data_len(&self, common: &Common, env: &Env, limits: &Limits, mss: u32) -> Result<u32, Blocked> {
        let snd = &self.snd;
        let (unsent, window) = (snd.unsent(), snd.window_room());
        if unsent == 0 {
            return if window > 0 { Ok(0) } else { Err(Blocked::Window) };
        }
        if self.ecn.paused {
            return Err(Blocked::Mark);
        }
        // The run of data that may share segments.
        let offset = snd.offset(snd.nxt);
        let run = snd.buffer.boundary_after(offset).map_or(unsent, |at| unsent.min((at - offset) as u32));
        let allowed = run.min(window).min(snd.cwnd_room());
        if allowed >= mss {
            // CWR belongs to one segment: none other goes with it.
            let most = if self.ecn.is_cwr_due() { mss } else { snd.burst(common, limits, mss) };
            let mut len = allowed.min(most) / mss * mss;
            let waits = !limits.cut_by_host && len < most && allowed < run;
            if waits && snd.is_worth_waiting(env, allowed) {
                return Err(if window < snd.cwnd_room() { Blocked::Window } else { Blocked::Cwnd });
            }
            let tail = run - len;
            let ends = tail < mss && allowed == run && run <= limits.max_payload;
            if most > mss && ends && self.may_end_run(common, run).is_ok() {
                len = run;
            }
            return Ok(len);
        }
        if allowed == run {
            return self.may_end_run(common, run).map(|()| run);
        }
        if window >= snd.cwnd_room().min(run) {
            return Err(Blocked::Cwnd);
        }
        match window {
            0 => Err(Blocked::Window),
            _ if snd.may_fill_window(window, &common.settings) => Ok(window),
            _ => Err(Blocked::Silly),
        }
    }

    /// May a segment that is not full end this run? Only the end of the whole queue waits for more.
    fn may_end_run(&self, common: &Common, run: u32) -> Result<(), Blocked> {
        if run < self.snd.unsent() { Ok(()) } else { self.snd.may_send_partial(&common.settings) }
    }

    /// After an idle RTO the old congestion window says nothing (RFC 5681 §4.1).
    ///
    /// conformance-deviation: 6928-2-restart
    /// A loss in the first flight does not lower later restart windows: as on Linux, ssthresh remembers it.
    fn restart_after_idle(&mut self, env: &Env) {
        let snd = &mut self.snd;
        let idle = snd.last_sent.is_some_and(|last| env.now.since(last) > snd.rto.interval);
        self.ecn.paused &= !idle;
        // A controller with a model of the path keeps it.
        let forgets = env.config.tcp_slow_start_after_idle && !snd.congestion.steers_recovery();
        if idle && forgets && snd.una == snd.nxt {
            // RFC 6928 §2: RFC 3390's window where the first one met a loss.
            let segments = if snd.rough_start { 0 } else { env.config.tcp_init_cwnd };
            let restart = initial_window(snd.mss, segments, 0);
            snd.congestion.restart(restart);
            snd.last_sent = Some(env.now);
        }
    }

    // --- the segment -----------------------------------------------------------------------------------------------

    fn emit<'a>(&'a mut self, common: &mut Common, env: &mut Env, plan: Plan) -> Outgoing<'a> {
        let seq_len = plan.len + u32::from(plan.fin);
        let mut flags = Flags::ACK;
        flags.set(Flags::PSH, plan.push && plan.len > 0);
        flags.set(Flags::FIN, plan.fin);
        let (ecn, ecn_flags) = self.mark(&plan);
        flags |= ecn_flags;
        let urgent = self.urgent_field(plan.seq);
        flags.set(Flags::URG, urgent.is_some());
        let timestamps = self
            .rcv
            .timestamps
            .map(|ts| Timestamps { value: timestamps::clock(env.now, &common.isn), echo: ts.recent });
        let options = Options { timestamps, sack: plan.sack.clone(), ..Options::default() };
        if seq_len > 0 {
            self.on_sent(common, env, &plan);
        }
        let window = self.advertise(common, env);
        self.rcv.ack.on_sent();
        self.rcv.last_ack_sent = self.rcv.nxt();
        self.count(env, &plan);
        self.end_round_if_silent(common, env);
        let offset = self.snd.offset(plan.seq);
        Outgoing {
            seq: plan.seq,
            ack: self.rcv.nxt(),
            flags,
            window,
            urgent: urgent.unwrap_or(0),
            options,
            payload: if plan.len > 0 { self.snd.buffer.slices(offset, plan.len as usize) } else { [&[]; 3] },
            segment_size: if plan.len > plan.mss { plan.mss as u16 } else { 0 },
            why: plan.why,
            ttl: common.settings.ttl,
            tos: common.settings.tos | ecn,
            dont_fragment: common.settings.discover_mtu,
            before: None,
        }
    }

    /// Text or FIN leaves: SND.NXT, timing, timers.
    fn on_sent(&mut self, common: &Common, env: &mut Env, plan: &Plan) {
        self.note_on_board(common, env, plan);
        let snd = &mut self.snd;
        let end = plan.seq.add(plan.len + u32::from(plan.fin));
        // RFC 6298 §5 (6298-5-not-early): the head does not go again sooner than one RTO after it went last, so whatever
        // sends it again restarts the timer (as Linux).
        let head_again = plan.seq == snd.una && !end.after(snd.nxt);
        if end.after(snd.nxt) {
            let first_segment = plan.seq.add((plan.len + u32::from(plan.fin)).min(plan.mss));
            snd.rtt.on_sent(first_segment, env.now);
            if !plan.len.is_multiple_of(plan.mss) {
                snd.small_end = snd.data_end().min(end);
                snd.push_once = false;
            }
            snd.nxt = end;
            snd.owed_since.get_or_insert(env.now);
            if plan.len > 0 {
                self.rcv.ack.on_data_sent(env.now, env.config);
            }
            if self.snd.unsent() == 0 {
                self.snd.push_once = false;
                self.timers.hold = None;
            }
            self.snd.was_writable = self.snd.is_writable(common.snd_buf, common.settings.notsent_lowat);
        } else {
            snd.rtt.on_retransmit();
            // As Linux: from here on the end of a probe is no proof that a packet of its size arrived.
            self.forget_mtu_probe();
        }
        self.snd.last_sent = Some(env.now);
        self.snd.usage.sent = true;
        // RFC 6298 §5.1: sending starts the timer if it does not run.
        let probe = plan.why == Why::TailLossProbe;
        self.restart_retransmit_timer(env, head_again && !probe);
        if !head_again && !probe {
            self.postpone_probe(env);
        }
    }

    /// The scoreboard and all that counts what is sent.
    fn note_on_board(&mut self, common: &Common, env: &Env, plan: &Plan) {
        let snd = &mut self.snd;
        let octets = plan.len + u32::from(plan.fin);
        let from = snd.offset(plan.seq);
        let range = from..from + u64::from(octets);
        let pipe = snd.out.board.pipe();
        let late = core::mem::take(&mut snd.offered_late);
        if snd.una == snd.nxt {
            snd.out.begin(env.now, snd.una, snd.buffer.start(), late);
        }
        let stamp = snd.out.rate.stamp(env.now, pipe + octets);
        snd.congestion.on_sent(env.now, octets, pipe);
        snd.out.pacer.on_sent(env.now, octets, snd.congestion.pacing_rate(), snd.mss);
        if snd.out.recovery.is_reducing() {
            snd.out.recovery.prr.on_sent(octets);
        }
        if plan.seq.add(octets).after(snd.nxt) {
            snd.out.board.on_sent(range, stamp);
            if let Frto::Second { left } = &mut snd.out.recovery.frto {
                *left = left.saturating_sub(octets.div_ceil(plan.mss));
            }
            return;
        }
        let timestamp = timestamps::clock(env.now, &common.isn);
        if snd.out.board.again() == 0 {
            snd.out.recovery.resent_at = timestamp;
        }
        snd.out.board.on_sent_again(range, stamp);
        if let Some(undo) = &mut snd.out.recovery.undo {
            undo.on_sent_again(octets, timestamp);
        }
        if let Frto::First { resent } = &mut snd.out.recovery.frto {
            *resent = resent.max(plan.seq.add(octets));
        }
    }

    fn count(&mut self, env: &mut Env, plan: &Plan) {
        let segments = plan.len.div_ceil(plan.mss.max(1)).max(1);
        let stats = &mut self.stats;
        stats.segs_out = stats.segs_out.wrapping_add(segments);
        if plan.len > 0 {
            stats.data_segs_out = stats.data_segs_out.wrapping_add(segments);
            stats.bytes_sent += u64::from(plan.len);
        }
        if plan.again {
            let fast = self.snd.by_sack && self.snd.out.recovery.mode == Mode::Fast;
            env.counters.tcp_ext_fast_retrans += u64::from(fast);
            stats.retrans = stats.retrans.wrapping_add(segments);
            stats.bytes_retrans += u64::from(plan.len);
            env.counters.tcp_retrans_segs += u64::from(segments);
        } else {
            env.counters.tcp_out_segs += u64::from(segments);
        }
    }
}
