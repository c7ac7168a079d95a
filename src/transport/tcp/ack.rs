//! The ACK field in the synchronized states (RFC 9293 §3.10.7.4, fifth): progress, duplicates, the send window.

use super::common::{Common, Next};
use super::congestion::{AckSample, Controller};
use super::recovery::{Mode, OnDuplicate, OnNewAck};
use super::sender::{Blocked, Sender};
use super::synchronized::Synchronized;
use super::timers::SendTimer;
use super::timestamps;
use crate::base::Readiness;
use crate::trace::{EventKind, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Segment};

/// Facts about one acknowledgment.
struct AckContext {
    ack: SeqNumber,
    /// Octets of sequence space newly acknowledged.
    acked: u32,
    /// It reports octets that no acknowledgment had reported.
    new_sack: bool,
    /// SND.WND as this segment tells it.
    window: u32,
}

impl Synchronized {
    /// An acknowledgment within SND.UNA − MAX.SND.WND ..= SND.NXT.
    pub fn on_ack(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Next {
        if seg.is_empty() {
            env.counters.tcp_ext_pure_acks += 1;
        }
        let context = AckContext {
            ack: seg.ack,
            acked: seg.ack.since(self.snd.una).unwrap_or(0),
            new_sack: self.rcv.sack_permitted && self.snd.take_sack(seg),
            // RFC 7323 §2.3: the field is shifted, in everything but a SYN.
            window: u32::from(seg.window) << self.snd.scale,
        };
        if context.acked > 0 {
            self.on_progress(common, env, seg, &context);
        } else if self.is_duplicate(seg, &context) {
            self.on_duplicate(common, env);
        }
        self.update_window(common, env, seg, &context);
        if self.snd.blocked != Blocked::No || context.acked > 0 || context.new_sack {
            common.output_due = true;
        }
        if self.snd.fin_acked() { self.on_fin_acked(common, env) } else { Next::Stay }
    }

    /// SND.UNA moves.
    fn on_progress(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>, context: &AckContext) {
        let snd = &mut self.snd;
        let offset = snd.offset(context.ack);
        snd.una = context.ack;
        snd.buffer.release(env.pool, offset);
        snd.sacked.remove_below(offset);
        if snd.sacked.is_empty() {
            snd.sacked.clear();
        }
        snd.urgent = snd.urgent.filter(|urgent| urgent.after(context.ack));
        snd.small_end = snd.small_end.max(context.ack);
        if let Some(resend) = &mut snd.resend {
            resend.from = resend.from.max(context.ack);
        }
        snd.resend = snd.resend.filter(|resend| resend.from.before(resend.to));
        snd.head_due = None;
        // The peer is alive and takes data: nothing is held against it any more.
        snd.owed_since = (snd.una != snd.nxt || snd.wants_to_send()).then_some(env.now);
        common.soft_error = None;
        let sampled = self.sample_rtt(common, env, seg, context);
        let snd = &mut self.snd;
        snd.rto.on_progress();
        if sampled {
            snd.rto.on_sample(&snd.rtt, env.config);
        }
        self.grow_or_recover(common, env, context);
        self.restart_retransmit_timer(env.now, true);
        let writable = self.snd.is_writable(common.settings.snd_buf, common.settings.notsent_lowat);
        if writable && !self.snd.was_writable {
            common.wakes |= Readiness::WRITABLE;
        }
        self.snd.was_writable = writable;
    }

    /// A round-trip sample, from timing or, where Karn's algorithm forbids it, from the echoed timestamp (RFC 7323 §4.1).
    fn sample_rtt(&mut self, common: &Common, env: &Env, seg: &Segment<'_>, context: &AckContext) -> bool {
        if self.snd.rtt.on_ack(context.ack, env.now) {
            return true;
        }
        let retransmitting = self.snd.rto.backoff > 0 || self.snd.recovery.mode != Mode::Open;
        let echo = seg.options.timestamps.filter(|_| self.rcv.timestamps.is_some() && retransmitting);
        let sample = echo.and_then(|option| timestamps::round_trip(env.now, &common.isn, option.echo));
        if let Some(sample) = sample {
            self.snd.rtt.sample(sample);
        }
        sample.is_some()
    }

    /// Congestion control and recovery.
    fn grow_or_recover(&mut self, common: &Common, env: &mut Env, context: &AckContext) {
        let snd = &mut self.snd;
        let (flight, mss) = (snd.flight(), snd.mss);
        let used = snd.recovery.mode == Mode::Loss
            || snd.usage.allows_growth(snd.congestion.cwnd(), snd.congestion.ssthresh());
        match snd.recovery.on_new_ack(snd.una, context.acked, flight, &mut snd.congestion, mss) {
            OnNewAck::Grow => {
                let prior_in_flight = flight + context.acked;
                let in_recovery = false;
                snd.congestion.on_ack(&AckSample {
                    now: env.now,
                    acked: context.acked,
                    delivered: context.acked,
                    lost: 0,
                    prior_in_flight,
                    in_flight: flight,
                    rtt: None,
                    window_in_use: used,
                    in_recovery,
                    new_round: false,
                    rate: None,
                });
            }
            OnNewAck::Recovered => tell_congestion(common, env, snd, "recovered"),
            OnNewAck::Partial => snd.head_due = Some(Why::PartialAckRetransmit),
        }
    }

    /// RFC 5681 §2: outstanding data, no data, no SYN or FIN, the same number and window. With SACK: any acknowledgment that
    /// reports something new (RFC 3042 §2).
    fn is_duplicate(&self, seg: &Segment<'_>, context: &AckContext) -> bool {
        let outstanding = self.snd.una != self.snd.nxt && context.ack == self.snd.una;
        if self.rcv.sack_permitted {
            return outstanding && context.new_sack;
        }
        let bare = seg.payload.is_empty() && !seg.flags.intersects(Flags::SYN | Flags::FIN);
        outstanding && bare && context.window == self.snd.wnd
    }

    fn on_duplicate(&mut self, common: &mut Common, env: &mut Env) {
        let snd = &mut self.snd;
        common.output_due = true;
        if snd.resend.is_some() {
            return; // what is missing is on its way already
        }
        let by_sack = self.rcv.sack_permitted;
        let todo = snd.recovery.on_duplicate(snd.una, snd.nxt, by_sack, &mut snd.congestion, snd.mss);
        match todo {
            OnDuplicate::Nothing => {}
            OnDuplicate::FastRetransmit => {
                snd.head_due = Some(Why::FastRetransmit);
                snd.note_loss();
                env.counters.tcp_ext_fast_retrans += 1;
                env.counters.tcp_ext_reno_recovery += 1;
                tell_congestion(common, env, snd, "third duplicate ack");
            }
        }
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
            // What was in flight when the window closed was refused: send it again at once, it is no sign of congestion.
            self.snd.resend_all(Why::Retransmit);
            self.restart_retransmit_timer(env.now, true);
        }
    }

    /// RFC 6298 §5.2, §5.3: restarted by progress, stopped when all is acknowledged.
    pub fn restart_retransmit_timer(&mut self, now: crate::base::Instant, restart: bool) {
        let armed = matches!(self.timers.send, SendTimer::Retransmit { .. });
        if self.snd.una == self.snd.nxt {
            if armed {
                self.timers.send = SendTimer::Idle;
            }
        } else if restart || !armed {
            self.timers.send = SendTimer::Retransmit { at: now + self.snd.rto.interval };
        }
    }
}

impl Sender {
    /// Takes note of SACK blocks; true when one of them tells of new octets. Blocks outside of what is in flight, reversed ones and
    /// reports of duplicates (RFC 2883 §5, judged against the acknowledgment in the same segment) tell nothing.
    fn take_sack(&mut self, seg: &Segment<'_>) -> bool {
        let mut news = false;
        for block in &seg.options.sack {
            let sane = block.left.before(block.right)
                && block.left.after(seg.ack)
                && !block.left.before(self.una)
                && block.right.at_or_before(self.nxt);
            if sane {
                let range = self.offset(block.left)..self.offset(block.right);
                if !self.sacked.contains(range.clone()) {
                    self.sacked.insert(range);
                    news = true;
                }
            }
        }
        news
    }
}

/// Tells the trace what happened to the congestion window.
pub(super) fn tell_congestion(common: &Common, env: &mut Env, snd: &Sender, why: &'static str) {
    let (cwnd, ssthresh) = (snd.congestion.cwnd(), snd.congestion.ssthresh());
    env.trace.emit(env.now, Some(common.flow), EventKind::Congestion { why, cwnd, ssthresh });
}
