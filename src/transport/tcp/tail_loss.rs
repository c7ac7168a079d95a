//! Tail loss probe (RFC 8985 §7): when acknowledgments stay away, one segment is sent before the retransmission timeout, so that
//! the answer shows what is lost.

use super::common::{Common, Next};
use super::recovery::Mode;
use super::synchronized::Synchronized;
use super::timers::SendTimer;
use crate::base::{Duration, Instant};
use crate::trace::Timer;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;

/// The longest that a peer delays its acknowledgment (WCDelAckT; Linux's TCP_RTO_MIN).
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);

/// Least patience, for the sake of paths shorter than any scheduler's (Linux's TCP_TIMEOUT_MIN).
const LEAST: Duration = Duration::from_millis(2);

/// TLP.end_seq and TLP.is_retrans.
#[derive(Clone, Debug, Default)]
pub(super) struct TailLoss {
    /// A probe is out: SND.NXT after it, and whether it was old data.
    outstanding: Option<(SeqNumber, bool)>,
    /// No round trip was measured since the last probe.
    unmeasured: bool,
    /// A probe is to be sent.
    pub due: bool,
}

impl TailLoss {
    /// No probe.
    pub const NONE: TailLoss = TailLoss { outstanding: None, unmeasured: false, due: false };

    /// May a probe be scheduled (§7.3)?
    pub fn may_probe(&self) -> bool {
        self.outstanding.is_none() && !self.unmeasured
    }

    /// Is a probe out whose answer is still to be judged?
    pub fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// Is old data out as a probe?
    pub fn resent(&self) -> bool {
        self.outstanding.is_some_and(|(_, again)| again)
    }

    /// The probe was sent.
    pub fn on_sent(&mut self, nxt: SeqNumber, again: bool) {
        *self = TailLoss { outstanding: Some((nxt, again)), unmeasured: true, due: false };
    }

    /// A round trip was measured.
    pub fn on_measured(&mut self) {
        self.unmeasured = false;
    }

    /// No probe is outstanding or due any more.
    pub fn end(&mut self) {
        self.outstanding = None;
        self.due = false;
    }

    /// An acknowledgment of `ack` came (§7.4.2): did the probe repair the only loss? `dsack`: it reports a duplicate; `bare`: it tells
    /// nothing new, so both copies had arrived.
    pub fn on_ack(&mut self, ack: SeqNumber, dsack: bool, bare: bool) -> bool {
        let Some((end, again)) = self.outstanding else { return false };
        if ack.before(end) {
            return false;
        }
        let repaired = again && !dsack && ack.after(end);
        if !again || dsack || bare || repaired {
            self.end();
        }
        repaired
    }
}

impl Synchronized {
    /// When a probe is to be sent, if one may be (§7.2).
    pub fn probe_timeout(&self, env: &Env) -> Option<Duration> {
        let snd = &self.snd;
        let repairing = matches!(snd.out.recovery.mode, Mode::Fast | Mode::Loss);
        let calm = !repairing && snd.out.board.sacked() == 0 && snd.out.board.lost() == 0;
        let wanted = env.config.tcp_early_retrans && self.rcv.sack_permitted && snd.wnd > 0;
        if !calm || !wanted || !snd.out.recovery.tail_loss.may_probe() {
            return None;
        }
        let Some(srtt) = snd.rtt.srtt() else { return Some(Duration::from_secs(1)) };
        let alone = snd.flight() <= snd.mss;
        Some(srtt.mul(2).max(LEAST) + if alone { MAX_ACK_DELAY } else { Duration::ZERO })
    }

    /// The probe timer fired (§7.3).
    pub fn on_probe_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        self.snd.out.recovery.tail_loss.due = true;
        env.counters.tcp_ext_loss_probes += 1;
        common.fired(env, Timer::TailLossProbe, 1);
        self.timers.send = SendTimer::Retransmit { at: env.now + self.snd.rto.interval };
        Next::Stay
    }

    /// Is the sender's timer one that stands for a later retransmission timeout? When that is.
    pub fn rto_at(&self) -> Option<Instant> {
        match self.timers.send {
            SendTimer::Retransmit { at } => Some(at),
            SendTimer::TailLossProbe { rto, .. } | SendTimer::Reorder { rto, .. } => Some(rto),
            SendTimer::Idle
            | SendTimer::Persist { .. }
            | SendTimer::Override { .. }
            | SendTimer::KeepAlive { .. } => None,
        }
    }
}
