//! Keepalive (RFC 9293 §3.8.4): off unless asked for, only while nothing is outstanding, empty probes, several of them.

use super::common::{Common, Next};
use super::synchronized::Synchronized;
use super::timers::{Probe, SendTimer};
use crate::base::{Errno, Instant};
use crate::trace::Timer;
use crate::transport::Env;

impl Synchronized {
    /// The timer of a connection that has nothing to do; `timer` is what ran until now.
    pub fn keep_alive_timer(&self, common: &Common, timer: SendTimer) -> SendTimer {
        match timer {
            _ if !common.settings.keep_alive => SendTimer::Idle,
            SendTimer::KeepAlive { at, sent } => SendTimer::KeepAlive { at, sent },
            SendTimer::Idle
            | SendTimer::Retransmit { .. }
            | SendTimer::TailLossProbe { .. }
            | SendTimer::Reorder { .. }
            | SendTimer::Persist { .. }
            | SendTimer::Override { .. } => SendTimer::KeepAlive { at: self.probe_time(common), sent: 0 },
        }
    }

    /// When the peer has been silent for long enough.
    fn probe_time(&self, common: &Common) -> Instant {
        self.timers.heard + common.settings.keep_idle
    }

    /// The keepalive timer fired after `sent` unanswered probes.
    pub fn on_keep_alive_timeout(&mut self, common: &mut Common, env: &mut Env, sent: u8) -> Next {
        // MUST-26: traffic since the timer was set postpones it by a full interval.
        let at = self.probe_time(common);
        if sent == 0 && at > env.now {
            self.timers.send = SendTimer::KeepAlive { at, sent };
            return Next::Stay;
        }
        let limit = common.settings.user_timeout;
        let dead = if limit.is_zero() {
            u32::from(sent) >= common.settings.keep_cnt
        } else {
            sent > 0 && env.now.since(self.timers.heard) >= limit
        };
        if dead {
            // As Linux: the peer gets a reset, in case it is only our path that is dead.
            env.counters.tcp_ext_abort_on_timeout += 1;
            return Next::Aborted(Some(common.soft_error.take().unwrap_or(Errno::ETIMEDOUT)));
        }
        let sent = sent.saturating_add(1);
        self.timers.probe_due = Some(Probe::KeepAlive);
        env.counters.tcp_ext_keep_alive += 1;
        self.timers.send = SendTimer::KeepAlive { at: env.now + common.settings.keep_intvl, sent };
        common.fired(env, Timer::KeepAlive, u32::from(sent));
        Next::Stay
    }
}
