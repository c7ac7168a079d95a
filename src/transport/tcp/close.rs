//! Closing (RFC 9293 §3.6): our FIN, the peer's, and which state they lead to.

use super::common::{Common, Next};
use super::synchronized::{Phase, Synchronized};
use crate::base::Readiness;
use crate::transport::Env;

impl Synchronized {
    /// The user sends no more: FIN follows what is queued (RFC 9293 §3.10.4).
    pub fn shut_write(&mut self, common: &mut Common, env: &mut Env) {
        if self.snd.fin {
            return;
        }
        let (phase, why) = match self.phase {
            Phase::Established => (Phase::FinWait1, "user closed"),
            Phase::CloseWait => (Phase::LastAck, "user closed after the peer"),
            Phase::FinWait1 | Phase::FinWait2 | Phase::Closing | Phase::LastAck => return,
        };
        self.snd.fin = true;
        self.snd.more = false;
        common.output_due = true;
        common.wakes |= Readiness::WRITABLE;
        self.enter(common, env, phase, why, "RFC 9293 §3.10.4");
    }

    /// The peer acknowledged our FIN (RFC 9293 §3.10.7.4, fifth).
    pub fn on_fin_acked(&mut self, common: &mut Common, env: &mut Env) -> Next {
        match self.phase {
            Phase::FinWait1 => {
                self.enter(common, env, Phase::FinWait2, "our FIN is acknowledged", "RFC 9293 §3.10.7.4");
                self.await_peer_fin(common, env);
                Next::Stay
            }
            Phase::Closing => Next::TimeWait,
            Phase::LastAck => Next::Closed(None),
            Phase::Established | Phase::CloseWait | Phase::FinWait2 => Next::Stay,
        }
    }

    /// The peer's FIN was reached (RFC 9293 §3.10.7.4, eighth).
    pub fn on_fin(&mut self, common: &mut Common, env: &mut Env) -> Next {
        match self.phase {
            Phase::Established => {
                self.enter(common, env, Phase::CloseWait, "peer closed", "RFC 9293 §3.10.7.4");
                Next::Stay
            }
            Phase::FinWait1 => {
                self.enter(common, env, Phase::Closing, "FINs crossed", "RFC 9293 §3.10.7.4");
                Next::Stay
            }
            Phase::FinWait2 => Next::TimeWait,
            Phase::CloseWait | Phase::Closing | Phase::LastAck => Next::Stay,
        }
    }

    /// A connection without a user does not wait for ever in FIN-WAIT-2.
    pub fn await_peer_fin(&mut self, common: &Common, env: &Env) {
        if common.orphan && self.phase == Phase::FinWait2 {
            self.timers.fin_wait2 = Some(env.now + common.settings.linger2);
        }
    }
}
