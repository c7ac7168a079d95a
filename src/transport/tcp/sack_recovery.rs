//! Loss recovery with SACK: RACK finds what is lost (RFC 8985), PRR steers the window (RFC 9937), and what turns out to have been for
//! nothing is taken back.

use super::ack::{AckContext, tell_congestion};
use super::common::{Common, Next};
use super::congestion::{Controller, LostSample, Signal};
use super::frto::{FrtoAck, OnAck};
use super::prr::{Prr, PrrAck};
use super::rack::Patience;
use super::recovery::Mode;
use super::scoreboard::{Found, Stamp};
use super::sender::Sender;
use super::synchronized::Synchronized;
use super::timers::SendTimer;
use super::timestamps;
use crate::base::{Duration, Instant};
use crate::trace::Timer;
use crate::transport::Env;

/// Least patience with a peer that seems to have thrown away what it had SACKed (Linux).
const RENEGING: Duration = Duration::from_millis(10);

impl Synchronized {
    /// Everything but what is taken back. Octets newly found lost.
    pub fn repair_by_sack(&mut self, common: &mut Common, env: &mut Env, context: &AckContext) -> u32 {
        let snd = &mut self.snd;
        // RFC 7323 §4.3: what arrives out of order changes no echo, so one beside a SACK block says nothing of its segment.
        let una = snd.offset(snd.una);
        let echo = context.echo.filter(|_| context.delivery.newest.is_some_and(|newest| newest.end <= una));
        let out = &mut *snd.out;
        if context.dsack.is_some() {
            out.rack.on_dsack(&mut snd.reordering, snd.una, snd.nxt);
        }
        let isn = common.isn;
        let sent_after =
            |sent| echo.is_some_and(|echo| timestamps::before(echo, timestamps::clock(sent, &isn)));
        let times = (env.now, snd.rtt.min());
        let late = out.rack.on_delivery(&mut snd.reordering, &context.delivery, snd.mss, times, sent_after);
        env.counters.tcp_ext_sack_reorder += u64::from(late);
        self.stats.reord_seen += u32::from(late);
        self.judge_probe(common, env, context);
        self.end_if_recovered(common, env);
        let found = self.find_losses(env.now);
        self.on_losses(common, env, found, context.delivery.octets);
        found.lost
    }

    /// Runs RACK; when to look again is noted.
    fn find_losses(&mut self, now: Instant) -> Found {
        let patience = self.snd.patience();
        let out = &mut *self.snd.out;
        let found = out.rack.detect(&mut out.board, &patience, now);
        out.recovery.reorder_at = found.wait;
        out.rate.lost += u64::from(found.lost);
        if let Some(last) = found.last {
            self.snd.tell_lost(now, last);
        }
        found
    }

    /// Losses are a sign of congestion, once in a round trip. `delivered` octets came with the same acknowledgment.
    fn on_losses(&mut self, common: &mut Common, env: &mut Env, found: Found, delivered: u32) {
        if found.lost == 0 || self.is_lost_mtu_probe(common, env, found.lost) {
            return;
        }
        let recovery = &self.snd.out.recovery;
        match recovery.mode {
            Mode::Open => {
                env.counters.tcp_ext_sack_recovery += 1;
                self.snd.note_loss();
                self.snd.out.begin_undo(self.snd.una, self.snd.mss);
                self.begin_reduction(env, Mode::Fast, Signal::Loss, delivered);
                tell_congestion(common, env, &self.snd, "loss found");
            }
            // The window sinks already for this flight, as on Linux; for a mark or a probe's repair, which are never for nothing.
            Mode::Cwr => {
                env.counters.tcp_ext_sack_recovery += 1;
                self.snd.note_loss();
                let recovery = &mut self.snd.out.recovery;
                (recovery.mode, recovery.undo) = (Mode::Fast, None);
                tell_congestion(common, env, &self.snd, "loss found");
            }
            // RFC 8985 §9.3, RFC 5681 §4.3: the loss of a retransmission is a second sign.
            Mode::Fast if found.lost_again.is_some_and(|sent| sent >= recovery.began) => {
                env.counters.tcp_ext_lost_retransmit += 1;
                self.snd.out.recovery.undo = None;
                self.begin_reduction(env, Mode::Fast, Signal::Loss, delivered);
                tell_congestion(common, env, &self.snd, "a retransmission was lost");
            }
            Mode::Fast | Mode::Loss => {}
        }
    }

    /// The window is to sink to a new ssthresh by PRR.
    pub fn begin_reduction(&mut self, env: &Env, mode: Mode, signal: Signal, delivered: u32) {
        let snd = &mut self.snd;
        // RFC 9937 §6.1: SND.NXT − SND.UNA without what was SACKed before this acknowledgment, and with all that it delivers.
        let recover_fs = snd.flight().saturating_sub(snd.out.board.sacked()) + delivered;
        // FlightSize (RFC 5681 §3.1) counts what is SACKed, and what limited transmit sent beyond the window does not.
        let flight = recover_fs.max(snd.flight().min(snd.congestion.cwnd()));
        snd.congestion.on_congestion(env.now, signal, flight);
        let recovery = &mut snd.out.recovery;
        recovery.mode = mode;
        recovery.recover = snd.nxt;
        recovery.began = env.now;
        recovery.tail_loss.end();
        recovery.prr = Prr::begin(recover_fs);
        self.ecn.on_window_reduced(snd.nxt);
    }

    /// PRR sets the window after each acknowledgment while it sinks.
    pub fn reduce_by_prr(&mut self, context: &AckContext, lost: u32) {
        let safe = context.acked > 0 && lost == 0;
        self.apply_prr(context.delivery.octets, safe);
    }

    fn apply_prr(&mut self, delivered: u32, safe: bool) {
        let snd = &mut self.snd;
        let newreno = snd.out.recovery.mode == Mode::Fast && !snd.by_sack;
        if !snd.out.recovery.is_reducing() || newreno || snd.congestion.steers_recovery() {
            return;
        }
        let (in_flight, ssthresh) = (snd.out.board.pipe(), snd.congestion.ssthresh());
        let ack = PrrAck { delivered, in_flight, ssthresh, safe, mss: snd.mss };
        if let Some(cwnd) = snd.out.recovery.prr.on_ack(&ack) {
            snd.congestion.set_cwnd(cwnd);
        }
    }

    /// The cumulative acknowledgment passed RecoveryPoint (RFC 6675 §5 A, RFC 9937 §6.4).
    fn end_if_recovered(&mut self, common: &Common, env: &mut Env) {
        let snd = &mut self.snd;
        if snd.out.recovery.mode == Mode::Open {
            // Kept near, so that it stays comparable when sequence numbers wrap.
            let recovery = &mut snd.out.recovery;
            recovery.recover = recovery.recover.max(snd.una.sub(1));
            recovery.undo = recovery.undo.filter(|undo| undo.may_come_until(snd.una));
            return;
        }
        if snd.una.before(snd.out.recovery.recover) {
            return;
        }
        let mode = core::mem::replace(&mut snd.out.recovery.mode, Mode::Open);
        snd.reordering.on_recovered();
        if let Some(undo) = &mut snd.out.recovery.undo {
            undo.on_recovered(snd.nxt);
        }
        // A controller that was chosen meanwhile may know of no threshold yet.
        let known = snd.congestion.ssthresh() < u32::MAX;
        if mode != Mode::Loss && known && !snd.congestion.steers_recovery() {
            snd.congestion.set_cwnd(snd.congestion.ssthresh());
        }
        snd.congestion.on_recovered(env.now);
        tell_congestion(common, env, snd, "recovered");
    }

    /// A probe's answer: did it repair a loss that would have gone unnoticed (RFC 8985 §7.4.2)?
    fn judge_probe(&mut self, common: &Common, env: &mut Env, context: &AckContext) {
        let bare = context.acked == 0 && context.delivery.octets == 0;
        let dsack = context.dsack.is_some();
        if self.snd.out.recovery.tail_loss.on_ack(context.ack, dsack, bare)
            && matches!(self.snd.out.recovery.mode, Mode::Open | Mode::Cwr)
        {
            env.counters.tcp_ext_loss_probe_recovery += 1;
            self.snd.out.recovery.undo = None;
            self.begin_reduction(env, Mode::Cwr, Signal::Loss, context.delivery.octets);
            tell_congestion(common, env, &self.snd, "a probe repaired a loss");
        }
    }

    /// The last reduction was for nothing: the window is what it was (RFC 4015 §2, RFC 3708).
    pub fn undo_if_needless(&mut self, common: &Common, env: &mut Env, context: &AckContext) -> bool {
        let snd = &mut self.snd;
        let mode = snd.out.recovery.mode;
        let Some(undo) = snd.out.recovery.undo.as_mut() else { return false };
        if let Some(block) = context.dsack {
            undo.on_dsack(block.left, block.right);
        }
        let by_dsack = context.dsack.is_some() && undo.all_came_twice();
        let by_echo = context.acked > 0 && mode != Mode::Open && undo.is_of_original(context.echo);
        if !by_dsack && !by_echo {
            return false;
        }
        match (mode, by_dsack) {
            (_, true) => env.counters.tcp_ext_dsack_undo += 1,
            (Mode::Loss, false) => env.counters.tcp_ext_loss_undo += 1,
            (_, false) => env.counters.tcp_ext_full_undo += 1,
        }
        self.undo(common, env, "a retransmission was needless");
        true
    }

    fn undo(&mut self, common: &Common, env: &mut Env, why: &'static str) {
        let snd = &mut self.snd;
        if snd.out.recovery.mode == Mode::Loss {
            env.counters.tcp_ext_spurious_rtos += 1;
        }
        snd.congestion.undo();
        self.ecn.withdraw();
        snd.out.board.find_again();
        snd.reordering.seen = true;
        snd.head_due = None;
        let recovery = &mut snd.out.recovery;
        (recovery.mode, recovery.undo) = (Mode::Open, None);
        recovery.recover = snd.una;
        (recovery.dup_acks, recovery.arrived) = (0, 0);
        snd.rto.backoff = 0;
        snd.rto.refresh(&snd.rtt, env.config);
        tell_congestion(common, env, snd, why);
    }

    /// F-RTO: was the retransmission timeout spurious? True when so; all is as before it.
    pub fn judge_timeout(&mut self, common: &Common, env: &mut Env, context: &AckContext) -> bool {
        let snd = &mut self.snd;
        if snd.out.recovery.mode != Mode::Loss {
            return false;
        }
        let recover = snd.out.recovery.recover;
        let below = |offset: u64| snd.seq(offset).before(recover);
        let original = snd.by_sack && context.delivery.lowest_original.is_some_and(below);
        let ack = FrtoAck {
            una: snd.una,
            recover,
            advanced: context.acked > 0,
            duplicate: context.duplicate,
            original,
            may_send_new: snd.unsent() > 0 && snd.window_room() > 0,
        };
        match snd.out.recovery.frto.on_ack(&ack) {
            OnAck::Undecided => false,
            OnAck::Real => {
                // RFC 5682 §2.1 step 3a: at most three segments.
                let most = 3 * snd.mss;
                snd.congestion.set_cwnd(snd.congestion.cwnd().min(most));
                false
            }
            OnAck::Spurious => {
                self.undo(common, env, "the timeout was spurious");
                true
            }
        }
    }

    /// The time has come to look for losses without an acknowledgment (RFC 8985 §6.2 step 5).
    pub fn on_reorder_timeout(&mut self, common: &mut Common, env: &mut Env, rto: Instant) -> Next {
        common.fired(env, Timer::Reorder, 1);
        self.timers.send = SendTimer::Retransmit { at: rto };
        let found = self.find_losses(env.now);
        self.on_losses(common, env, found, 0);
        self.apply_prr(0, false);
        self.restart_retransmit_timer(env, false);
        Next::Stay
    }

    /// SND.UNA moved to where the peer had said that it holds something: it has thrown that away (RFC 2018 §8), or a later acknowledgment
    /// says otherwise. As Linux (`tcp_check_sack_reneging`), half a round trip is waited for that.
    pub fn suspect_reneging(&mut self, env: &Env) {
        let snd = &self.snd;
        if snd.out.board.is_sacked(snd.offset(snd.una)) {
            let wait = snd.rtt.srtt().unwrap_or_default().div(2).max(RENEGING);
            self.timers.send = SendTimer::Retransmit { at: env.now + wait };
        }
    }
}

impl Sender {
    /// A run that was sent with this stamp is lost, octets of it.
    fn tell_lost(&mut self, now: Instant, (stamp, octets): (Stamp, u32)) {
        let lost = u32::try_from(self.out.rate.lost.saturating_sub(stamp.lost)).unwrap_or(u32::MAX);
        let (tx_in_flight, app_limited) = (stamp.in_flight, stamp.app_limited);
        self.congestion.on_lost(&LostSample { now, octets, tx_in_flight, lost, app_limited });
    }

    /// NewReno found the segment at SND.UNA lost. Its octets.
    pub fn lose_head(&mut self, now: Instant) -> u32 {
        let Some(stamp) = self.out.board.head() else { return 0 };
        let octets = self.mss.min(self.flight());
        self.out.rate.lost += u64::from(octets);
        self.tell_lost(now, (stamp, octets));
        octets
    }

    /// How long to wait for what may only be reordered.
    pub fn patience(&self) -> Patience {
        Patience {
            reordering: self.reordering,
            in_recovery: matches!(self.out.recovery.mode, Mode::Fast | Mode::Loss),
            sacked: self.out.board.sacked(),
            mss: self.mss,
            min_rtt: self.rtt.min(),
            srtt: self.rtt.srtt(),
        }
    }
}
