//! The ACK field in the synchronized states (RFC 9293 §3.10.7.4, fifth): progress, duplicates, the send window.

use super::common::{Common, Next};
use super::congestion::{AckSample, Controller, RateSample};
use super::recovery::{Mode, OnDuplicate, OnNewAck};
use super::scoreboard::Delivery;
use super::sender::{Blocked, Sender};
use super::synchronized::Synchronized;
use super::timers::SendTimer;
use super::timestamps;
use crate::base::{Duration, Readiness};
use crate::trace::{EventKind, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, SackBlock, Segment};

/// Facts about one acknowledgment.
pub(super) struct AckContext {
    pub ack: SeqNumber,
    /// Octets of sequence space newly acknowledged.
    pub acked: u32,
    /// What it delivered, cumulatively and selectively.
    pub delivery: Delivery,
    /// Octets received twice that it reports (RFC 2883), if the copy may be ours.
    pub dsack: Option<SackBlock>,
    /// It answers something that the peer had already, whoever sent that twice.
    answers_duplicate: bool,
    /// Our timestamp that it echoes.
    pub echo: Option<u32>,
    /// It repeats an acknowledgment (RFC 5681 §2); with SACK: it reports something new.
    pub duplicate: bool,
    pub rate: Option<RateSample>,
    /// Round-trip time of the newest segment it delivers, if that was sent once.
    pub rtt: Option<Duration>,
    /// It tells of a mark (RFC 3168).
    pub ece: bool,
    /// SND.WND as this segment tells it.
    window: u32,
}

impl Synchronized {
    /// An acknowledgment within SND.UNA − MAX.SND.WND ..= SND.NXT.
    pub fn on_ack(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Next {
        if seg.is_empty() {
            env.counters.tcp_ext_pure_acks += 1;
        }
        let sending = self.snd.out.made().is_some();
        let context = self.take_ack(env, seg);
        // As Linux: MSG_MORE is a word about one push, and here comes the next.
        self.snd.more = false;
        if context.acked > 0 {
            self.on_progress(common, env, &context);
        }
        // An acknowledgment from a peer that only sends judges nothing of ours.
        if sending || context.dsack.is_some() || context.ece {
            self.judge_flight(common, env, &context);
        }
        let news = context.acked > 0 || context.delivery.sacked > 0;
        self.update_window(common, env, seg, &context);
        if self.snd.blocked != Blocked::No || news {
            common.output_due = true;
        }
        if self.snd.fin_acked() { self.on_fin_acked(common, env) } else { Next::Stay }
    }

    /// What it says of what is, or was, in flight.
    fn judge_flight(&mut self, common: &mut Common, env: &mut Env, context: &AckContext) {
        let reducing = self.snd.out.recovery.is_reducing();
        let lost = self.repair(common, env, context);
        if context.ece {
            self.on_ecn_echo(common, env, context);
        }
        self.tell_controller(env, context, lost, reducing);
        if context.acked > 0 || context.delivery.octets > 0 {
            self.restart_retransmit_timer(env, context.acked > 0);
        }
        if context.acked > 0 && self.snd.out.board.sacked() > 0 {
            self.suspect_reneging(env);
        }
        if self.snd.una == self.snd.nxt {
            self.snd.out.release(self.snd.una);
        }
    }

    /// Takes note of what arrived at the other end.
    fn take_ack(&mut self, env: &mut Env, seg: &Segment<'_>) -> AckContext {
        let ece = self.is_ecn_echo(seg);
        let snd = &mut self.snd;
        let by_sack = snd.by_sack;
        let acked = seg.ack.since(snd.una).unwrap_or(0);
        // RFC 7323 §2.3: the field is shifted, in everything but a SYN.
        let window = u32::from(seg.window) << snd.scale;
        let mut delivery = Delivery::default();
        let mut dsack = if by_sack { snd.take_sack(seg, &mut delivery) } else { None };
        let answers_duplicate = dsack.is_some();
        if let Some(block) = dsack {
            env.counters.tcp_ext_dsack_recv += 1;
            let segments = block.right.distance_from(block.left).div_ceil(snd.mss.max(1));
            self.stats.dsack_dups = self.stats.dsack_dups.saturating_add(segments);
            // As Linux: more of them than retransmissions, so it is the network that duplicates.
            if self.stats.dsack_dups > self.stats.retrans {
                env.counters.tcp_ext_dsack_ignored_dubious += 1;
                dsack = None;
            }
        }
        let outstanding = snd.una != snd.nxt && seg.ack == snd.una;
        let bare = seg.payload.is_empty() && !seg.flags.intersects(Flags::SYN | Flags::FIN);
        let duplicate = outstanding && if by_sack { delivery.sacked > 0 } else { bare && window == snd.wnd };
        if acked > 0 {
            let offset = snd.offset(seg.ack);
            snd.out.board.ack_below(offset, &mut delivery);
        }
        if !by_sack && (acked > 0 || duplicate) {
            let flight = snd.nxt.distance_from(seg.ack);
            delivery.octets = snd.out.recovery.deliver(acked, duplicate, flight, snd.mss);
        }
        let rtt = delivery.newest.filter(|newest| !newest.again).map(|newest| env.now.since(newest.stamp.at));
        if let Some(rtt) = rtt {
            snd.rtt.note(rtt, env.now);
        }
        let min_rtt = snd.rtt.min();
        let rate = snd.out.made().and_then(|out| out.rate.on_delivery(&delivery, env.now, min_rtt));
        if let Some(rate) = &rate {
            self.stats.on_rate(rate);
        }
        let segments = delivery.octets.div_ceil(snd.mss.max(1));
        // No more of them than were sent, into however many acknowledgments a peer cuts them.
        let sent = self.stats.data_segs_out.wrapping_add(1 + u32::from(snd.fin_sent()));
        let segments = segments.min(sent.wrapping_sub(self.stats.delivered));
        self.stats.delivered = self.stats.delivered.wrapping_add(segments);
        self.stats.delivered_ce = self.stats.delivered_ce.wrapping_add(if ece { segments } else { 0 });
        let in_use = self.rcv.timestamps.is_some();
        let echo = seg.options.timestamps.filter(|_| in_use).map(|option| option.echo);
        // After several timeouts an echo from before them mostly comes from a peer that has this, and whose acknowledgment was lost: it
        // tells neither a round trip nor that nothing else was lost. (With SACK its D-SACK tells so.)
        let blackout = !by_sack && snd.rto.expiries > 1;
        let echo = echo.filter(|echo| !blackout || !timestamps::before(*echo, snd.out.recovery.resent_at));
        AckContext {
            ack: seg.ack,
            acked,
            delivery,
            dsack,
            answers_duplicate,
            echo,
            duplicate,
            rate,
            rtt,
            ece,
            window,
        }
    }

    /// SND.UNA moves.
    fn on_progress(&mut self, common: &mut Common, env: &mut Env, context: &AckContext) {
        let snd = &mut self.snd;
        let offset = snd.offset(context.ack);
        snd.una = context.ack;
        snd.buffer.release(env.pool, offset);
        snd.urgent = snd.urgent.filter(|urgent| urgent.after(context.ack));
        snd.small_end = snd.small_end.max(context.ack);
        snd.head_due = None;
        // The peer is alive and takes data: nothing is held against it any more.
        snd.owed_since = (snd.una != snd.nxt || snd.wants_to_send()).then_some(env.now);
        common.soft_error = None;
        let sampled = self.sample_rtt(common, env, context);
        let snd = &mut self.snd;
        snd.rto.on_progress();
        if sampled {
            snd.rto.on_sample(&snd.rtt, env.config);
            snd.out.recovery.tail_loss.on_measured();
        }
        self.forget_old_reduction();
        if let Some(out) = self.snd.out.made() {
            out.rack.on_progress(context.ack);
        }
        self.check_mtu_probe(common, env, context.acked);
        self.relieve_writer(common, env);
        let writable = self.snd.is_writable(common.snd_buf, common.settings.notsent_lowat);
        if writable && !self.snd.was_writable {
            common.wakes |= Readiness::WRITABLE;
        }
        self.snd.was_writable = writable;
    }

    /// A round-trip sample, from timing or, where Karn's algorithm forbids it, from the echoed timestamp (RFC 7323 §4.1).
    fn sample_rtt(&mut self, common: &Common, env: &Env, context: &AckContext) -> bool {
        if self.snd.rtt.on_ack(context.ack, env.now) {
            return true;
        }
        let retransmitting = self.snd.rto.backoff > 0 || self.snd.out.recovery.mode != Mode::Open;
        // A duplicate changes no echo: beside a D-SACK it may be from before a time in which nothing got through.
        let echo = context.echo.filter(|_| retransmitting && !context.answers_duplicate);
        let sample = echo.and_then(|echo| timestamps::round_trip(env.now, &common.isn, echo));
        if let Some(sample) = sample {
            self.snd.rtt.sample(sample, env.now);
        }
        sample.is_some()
    }

    /// Finds and repairs losses, takes back what was for nothing. Octets newly found lost.
    fn repair(&mut self, common: &mut Common, env: &mut Env, context: &AckContext) -> u32 {
        if !self.snd.by_sack && context.acked > 0 {
            self.learn_reordering(env);
        }
        let undone = self.undo_if_needless(common, env, context) || self.judge_timeout(common, env, context);
        if self.snd.by_sack {
            return self.repair_by_sack(common, env, context);
        }
        if undone {
            return 0;
        }
        let was_due = self.snd.head_due.is_some();
        if context.acked > 0 {
            self.on_new_ack(common, env, context);
        } else if context.duplicate {
            self.on_duplicate(common, env);
        }
        if self.snd.head_due.is_some() && !was_due { self.snd.lose_head(env.now) } else { 0 }
    }

    /// Without SACK: did what was thought lost arrive by itself?
    fn learn_reordering(&mut self, env: &mut Env) {
        let snd = &mut self.snd;
        if let Some(segments) = snd.out.recovery.only_late(env.now, snd.rtt.min()) {
            snd.reordering.on_late(u64::from(segments) * u64::from(snd.mss), snd.mss);
            self.stats.reord_seen += 1;
            env.counters.tcp_ext_reno_reorder += 1;
        }
    }

    /// NewReno: SND.UNA moved.
    fn on_new_ack(&mut self, common: &Common, env: &mut Env, context: &AckContext) {
        let snd = &mut self.snd;
        let (una, mss, flight) = (snd.una, snd.mss, snd.flight());
        match snd.out.recovery.on_new_ack(una, context.acked, flight, &mut snd.congestion, mss) {
            OnNewAck::Grow => {}
            OnNewAck::Repaired => snd.congestion.on_recovered(env.now),
            OnNewAck::Recovered => {
                snd.congestion.on_recovered(env.now);
                tell_congestion(common, env, snd, "recovered");
            }
            OnNewAck::Partial => snd.head_due = Some(Why::PartialAckRetransmit),
        }
    }

    /// NewReno: a duplicate.
    fn on_duplicate(&mut self, common: &mut Common, env: &mut Env) {
        let snd = &mut self.snd;
        common.output_due = true;
        if snd.out.board.lost() > 0 {
            return; // what is missing is on its way already
        }
        // The next will tell of a loss.
        let threshold = snd.dup_threshold();
        if snd.out.recovery.dup_acks + 1 == threshold && self.is_lost_mtu_probe(common, env, 0) {
            return;
        }
        let snd = &mut self.snd;
        let (edges, sizes) = ((snd.una, snd.nxt), (threshold, snd.mss));
        match snd.out.recovery.on_duplicate(env.now, edges, &mut snd.congestion, sizes) {
            OnDuplicate::Nothing => {}
            OnDuplicate::FastRetransmit => {
                snd.head_due = Some(Why::FastRetransmit);
                snd.note_loss();
                self.ecn.on_window_reduced(snd.nxt);
                env.counters.tcp_ext_fast_retrans += 1;
                env.counters.tcp_ext_reno_recovery += 1;
                tell_congestion(common, env, snd, "third duplicate ack");
            }
        }
    }

    /// Congestion control learns what was delivered and lost.
    fn tell_controller(&mut self, env: &Env, context: &AckContext, lost: u32, was_reducing: bool) {
        let snd = &mut self.snd;
        if context.delivery.octets == 0 && lost == 0 && !context.duplicate {
            return;
        }
        let (cwnd, ssthresh) = (snd.congestion.cwnd(), snd.congestion.ssthresh());
        let window_in_use = snd.out.recovery.mode == Mode::Loss || snd.usage.allows_growth(cwnd, ssthresh);
        let sample = AckSample {
            now: env.now,
            acked: context.acked,
            delivered: context.delivery.octets,
            lost,
            in_flight: snd.pipe(),
            rtt: context.rtt,
            window_in_use: window_in_use && !context.ece,
            in_recovery: was_reducing || snd.out.recovery.is_reducing(),
            new_round: context.acked > 0 && snd.usage.new_round(snd.una, snd.nxt),
            rate: context.rate,
        };
        snd.congestion.on_ack(&sample);
        self.reduce_by_prr(context, lost);
    }

    /// RFC 9293 §3.10.7.4: only a segment that is not older than the last one that told the window may change it. One that moves
    /// SND.UNA is newer in any case, as on Linux: with the old window kept, the right edge would move beyond what the peer offered.
    fn update_window(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>, context: &AckContext) {
        let snd = &mut self.snd;
        if context.ack.before(snd.una) {
            return;
        }
        let newer = context.acked > 0
            || snd.wl1.before(seg.seq)
            || snd.wl1 == seg.seq && snd.wl2.at_or_before(context.ack);
        if !newer {
            return;
        }
        let opened = snd.wnd == 0 && context.window > 0;
        if snd.wnd != context.window {
            common.output_due = true;
        }
        snd.wnd = context.window;
        snd.max_wnd = snd.max_wnd.max(context.window);
        snd.wl1 = seg.seq;
        snd.wl2 = context.ack;
        if opened {
            self.timers.on_window_opened();
            // What it had SACKed may be gone as well, if the first of it is (RFC 2018 §8).
            if self.snd.out.board.is_sacked(self.snd.offset(self.snd.una)) {
                self.snd.out.board.forget_sacks();
            }
            // What was in flight when the window closed was refused: send it again at once, it is no sign of congestion.
            self.snd.resend_all();
            self.restart_retransmit_timer(env, true);
        }
    }

    /// RFC 6298 §5.2, §5.3: restarted by progress, stopped when all is acknowledged. Before the timeout stand, where they apply, the
    /// next look for losses or a tail loss probe (RFC 8985 §8: one timer at a time).
    pub fn restart_retransmit_timer(&mut self, env: &Env, restart: bool) {
        let running = self.rto_at();
        if self.snd.una == self.snd.nxt {
            if running.is_some() {
                self.timers.send = SendTimer::Idle;
            }
            return;
        }
        let rto = match running {
            Some(at) if !restart => at,
            Some(_) | None => env.now + self.snd.rto.interval,
        };
        self.timers.send = match (self.snd.out.recovery.reorder_at, self.timers.send) {
            (Some(at), _) if at < rto => SendTimer::Reorder { at, rto },
            (_, SendTimer::TailLossProbe { at, .. }) if !restart => SendTimer::TailLossProbe { at, rto },
            (_, SendTimer::Retransmit { .. }) if !restart => SendTimer::Retransmit { at: rto },
            (_, _) => self.probe_or_timeout(env, rto),
        };
    }

    /// New data went out: a probe, where one is scheduled, waits anew (RFC 8985 §7.2).
    pub fn postpone_probe(&mut self, env: &Env) {
        if let Some(rto) = self.rto_at()
            && self.snd.out.recovery.reorder_at.is_none()
        {
            self.timers.send = self.probe_or_timeout(env, rto);
        }
    }

    fn probe_or_timeout(&self, env: &Env, rto: crate::base::Instant) -> SendTimer {
        match self.probe_timeout(env).map(|wait| env.now + wait) {
            // At the time of the timeout a probe still goes first.
            Some(at) => SendTimer::TailLossProbe { at: at.min(rto), rto },
            None => SendTimer::Retransmit { at: rto },
        }
    }
}

impl Sender {
    /// Takes note of SACK blocks and gives the D-SACK among them, which can only be the first (RFC 2883 §4). Blocks outside of what is
    /// in flight and reversed ones tell nothing. In ascending order, so that one acknowledgment shows no reordering by itself.
    fn take_sack(&mut self, seg: &Segment<'_>, delivery: &mut Delivery) -> Option<SackBlock> {
        let blocks = &seg.options.sack;
        let inside = |inner: &SackBlock, outer: &SackBlock| {
            !inner.left.before(outer.left) && inner.right.at_or_before(outer.right)
        };
        let dsack = blocks.first().copied().filter(|first| {
            let below = first.right.at_or_before(seg.ack) && first.right.after(seg.ack.sub(self.max_wnd));
            first.left.before(first.right) && (below || blocks.get(1).is_some_and(|next| inside(first, next)))
        });
        let mut sane: arrayvec::ArrayVec<SackBlock, 4> = blocks
            .iter()
            .filter(|block| {
                block.left.before(block.right)
                    && block.left.after(seg.ack)
                    && !block.left.before(self.una)
                    && block.right.at_or_before(self.nxt)
            })
            .copied()
            .collect();
        sane.sort_by_key(|block| block.left.distance_from(self.una));
        for block in sane {
            let range = self.offset(block.left)..self.offset(block.right);
            self.out.board.sack(range, delivery);
        }
        dsack
    }
}

/// Tells the trace what happened to the congestion window.
pub(super) fn tell_congestion(common: &Common, env: &mut Env, snd: &Sender, why: &'static str) {
    let (cwnd, ssthresh) = (snd.congestion.cwnd(), snd.congestion.ssthresh());
    env.trace.emit(env.now, Some(common.flow), EventKind::Congestion { why, cwnd, ssthresh });
}
