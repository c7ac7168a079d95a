//! The retransmission timer expires (RFC 6298 §5, RFC 9293 §3.8.3).

use super::ack::tell_congestion;
use super::common::{Common, Next};
use super::congestion::Controller;
use super::frto::Frto;
use super::rack::DUP_THRESHOLD;
use super::recovery::Mode;
use super::synchronized::Synchronized;
use super::timers::SendTimer;
use crate::base::{Duration, Errno, Instant};
use crate::trace::{Timer, Why};
use crate::transport::Env;

impl Synchronized {
    /// Nothing was acknowledged for an RTO.
    pub fn on_retransmit_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        if self.snd.wnd == 0 {
            return self.on_closed_window_timeout(common, env);
        }
        if self.gives_up(common, env) {
            return self.on_connection_timeout(common, env);
        }
        let recent = self.snd.out.rack.recent(&self.snd.patience()).filter(|_| self.snd.by_sack);
        let snd = &mut self.snd;
        let first = snd.rto.expiries == 0;
        env.counters.tcp_ext_timeouts += 1;
        match (snd.out.recovery.mode, snd.by_sack) {
            (Mode::Fast, false) => env.counters.tcp_ext_reno_failures += 1,
            (Mode::Fast, true) => env.counters.tcp_ext_sack_failures += 1,
            (Mode::Open | Mode::Cwr | Mode::Loss, _) => {}
        }
        // RFC 5682 §2.1 step 1, §3.1: not within another recovery, nor for a segment that timed out before.
        let calm = matches!(snd.out.recovery.mode, Mode::Open | Mode::Cwr)
            || !snd.una.before(snd.out.recovery.recover);
        snd.out.recovery.frto =
            if env.config.tcp_frto && calm { Frto::First { resent: snd.una.add(1) } } else { Frto::Off };
        // Without SACK so many duplicates would have told of a loss, had nothing been reordered before.
        if snd.out.recovery.mode == Mode::Open && snd.out.recovery.arrived >= DUP_THRESHOLD * snd.mss {
            snd.reordering.forget_degree();
        }
        snd.note_loss();
        let flight = snd.flight();
        snd.congestion.on_timeout(env.now, flight, first);
        if snd.out.recovery.mode != Mode::Loss || snd.out.recovery.undo.is_none() {
            snd.out.begin_undo(snd.una, snd.mss);
        }
        snd.out.recovery.on_timeout(snd.nxt);
        self.ecn.on_window_reduced(snd.nxt);
        // The peer holds what it SACKed; unless it also SACKed what it lacks, then it has thrown it away (RFC 2018 §8).
        if snd.out.board.is_sacked(snd.offset(snd.una)) {
            snd.out.board.forget_sacks();
        }
        snd.usage.reset(snd.nxt);
        snd.head_due = Some(Why::Retransmit);
        // RFC 8985 §6.3: the head, and what was not sent just now.
        let oldest = |age: Duration| Instant::from_nanos(env.now.as_nanos().saturating_sub(age.as_nanos()));
        snd.out.board.lose_all(recent.map(oldest));
        tell_congestion(common, env, &self.snd, "retransmission timeout");
        self.back_off(common, env, Timer::Retransmit);
        let expiries = u32::from(self.snd.rto.expiries);
        self.suspect_black_hole(common, env, expiries);
        Next::Stay
    }

    /// The window was shrunk to nothing over data in flight: the head serves as probe (MUST-35). As long as the peer answers, that is
    /// no failure (SHLD-17), and it says nothing about congestion.
    fn on_closed_window_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        let answered = self.timers.unanswered == 0;
        if answered {
            self.snd.rto.expiries = 0;
        } else if self.gives_up(common, env) || common.orphan && self.orphan_gives_up(env) {
            return self.on_connection_timeout(common, env);
        }
        self.timers.unanswered = self.timers.unanswered.saturating_add(1);
        env.counters.tcp_ext_win_probe += 1;
        self.snd.head_due = Some(Why::ZeroWindowProbe);
        self.back_off(common, env, Timer::Persist);
        Next::Stay
    }

    /// RFC 6298 §5.5, §5.6: doubled and started again.
    fn back_off(&mut self, common: &mut Common, env: &mut Env, timer: Timer) {
        let snd = &mut self.snd;
        snd.rto.on_expiry(&snd.rtt, env.config);
        snd.rtt.on_retransmit();
        let attempt = u32::from(snd.rto.expiries);
        self.timers.send = SendTimer::Retransmit { at: env.now + snd.rto.interval };
        // RFC 9293 §3.8.3 (SHLD-9): from R1 on the user can know.
        if attempt >= env.config.tcp_retries1 {
            common.soft_error.get_or_insert(Errno::ETIMEDOUT);
        }
        common.fired(env, timer, attempt);
    }

    /// Is R2 reached?
    fn gives_up(&self, common: &Common, env: &Env) -> bool {
        let limit = if common.orphan { env.config.tcp_orphan_retries } else { env.config.tcp_retries2 };
        u32::from(self.snd.rto.expiries) >= limit
    }

    /// The peer is given up: what trouble was known of says why, as on Linux.
    pub fn on_connection_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        env.counters.tcp_ext_abort_on_timeout += 1;
        Next::Closed(Some(common.soft_error.take().unwrap_or(Errno::ETIMEDOUT)))
    }
}
