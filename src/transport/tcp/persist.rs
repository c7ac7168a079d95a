//! Probing a closed window (RFC 9293 §3.8.6.1): after one RTO, then twice as long each time, for as long as the peer answers.

use super::common::{Common, Next};
use super::synchronized::Synchronized;
use super::timers::{Probe, SendTimer};
use crate::trace::Timer;
use crate::transport::Env;

impl Synchronized {
    /// The persist timer fired; `sent` probes went before.
    pub fn on_persist_timeout(&mut self, common: &mut Common, env: &mut Env, sent: u8) -> Next {
        // MUST-37: as long as probes are answered the connection stays; unanswered they count like retransmissions.
        let unanswered = u32::from(self.timers.unanswered);
        let silent = unanswered >= env.config.tcp_retries2;
        if silent || common.orphan && u32::from(sent) >= env.config.tcp_orphan_retries {
            return self.on_connection_timeout(common, env);
        }
        let sent = sent.saturating_add(1);
        self.timers.unanswered = self.timers.unanswered.saturating_add(1);
        self.timers.probe_due = Some(Probe::Window);
        env.counters.tcp_ext_win_probe += 1;
        // SHLD-30: doubled; an acknowledgment that leaves the window closed does not start over.
        let base = self.snd.rto.base(&self.snd.rtt, env.config);
        let interval = base.backed_off(u32::from(sent)).min(env.config.tcp_rto_max_ms);
        self.timers.send = SendTimer::Persist { at: env.now + interval, sent };
        common.fired(env, Timer::Persist, u32::from(sent));
        Next::Stay
    }

    /// An orphan does not probe for ever, answered or not: its memory is held for nobody.
    pub fn orphan_gives_up(&self, env: &Env) -> bool {
        u32::from(self.snd.rto.backoff) >= env.config.tcp_orphan_retries
    }
}
