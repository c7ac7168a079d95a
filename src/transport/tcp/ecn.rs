//! Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them.
//!
//! As a receiver, every acknowledgment tells of a mark until the sender says that it has slowed down. As a sender, new data is
//! marked as capable (pure acknowledgments, what goes again and probes are not), and a mark reduces the window once per window of
//! data. Accurate ECN (RFC 9768) is not here.

use super::ack::{AckContext, tell_congestion};
use super::common::{Common, Origin};
use super::congestion::{Controller, Signal};
use super::connection::SegmentMeta;
use super::output::Plan;
use super::pack::{pack_fields, pack_names};
use super::recovery::Mode;
use super::synchronized::Synchronized;
use crate::base::Config;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Segment};

/// The two bits of an ECN-setup SYN.
pub(super) const SETUP: Flags = Flags::ECE.union(Flags::CWR);
/// ECN field: the sender takes part (3168-5-ect).
const ECT_0: u8 = 2;
/// ECN field: congestion was met.
const CE: u8 = 3;

/// What a SYN of ours asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing.
    #[default]
    No,
    /// ECN.
    Yes,
    /// ECN, and then it went again without.
    Withdrawn,
}

/// What the SYNs agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Agreed {
    /// No ECN.
    #[default]
    No,
    /// A SYN without ECN went or came after one with it. The other end may know only the first, so its marks are told of; we send none
    /// that could be marked (RFC 3168 §6.1.1).
    Half,
    /// ECN both ways.
    Yes,
}

pack_names!(Agreed { No, Half, Yes });

impl Asked {
    /// A SYN leaves. As Linux, one that goes again asks no more: something on the path may not like it (RFC 3168 §6.1.1.1).
    ///
    /// conformance-deviation: 3168-6.1.1-retry
    /// As Linux, a SYN that is reset is not sent again: a closed port would be asked twice.
    pub fn on_syn(self, config: &Config, again: bool) -> Asked {
        match self {
            Asked::No if !again && config.tcp_ecn == 1 => Asked::Yes,
            Asked::Yes if again && config.tcp_ecn_fallback => Asked::Withdrawn,
            Asked::No | Asked::Yes | Asked::Withdrawn => self,
        }
    }

    /// Control bits of the SYN.
    pub fn flags(self) -> Flags {
        if self == Asked::Yes { SETUP } else { Flags::empty() }
    }

    /// A SYN-ACK answers. Both bits are no answer: some hosts send back whatever they find.
    pub fn on_syn_ack(self, flags: Flags) -> Agreed {
        match self {
            _ if flags & SETUP != Flags::ECE => Agreed::No,
            Asked::No => Agreed::No,
            Asked::Yes => Agreed::Yes,
            Asked::Withdrawn => Agreed::Half,
        }
    }

    /// A SYN crossed ours.
    pub fn on_crossing_syn(self, flags: Flags) -> Agreed {
        match self {
            _ if !flags.contains(SETUP) => Agreed::No,
            Asked::No => Agreed::No,
            Asked::Yes => Agreed::Yes,
            Asked::Withdrawn => Agreed::Half,
        }
    }
}

impl Agreed {
    /// A listener got a SYN (`tcp_ecn` 1 or 2: agree when asked).
    pub fn on_syn(origin: Origin, config: &Config, flags: Flags) -> Agreed {
        match origin {
            Origin::Passive if config.tcp_ecn > 0 && flags.contains(SETUP) => Agreed::Yes,
            Origin::Passive | Origin::Active => Agreed::No,
        }
    }

    /// The SYN came again; without ECN when the peer no longer dares.
    pub fn on_same_syn(&mut self, flags: Flags) {
        if *self == Agreed::Yes && !flags.contains(SETUP) {
            *self = Agreed::Half;
        }
    }

    /// Both SYNs crossed, and this is the peer's answer to ours.
    pub fn on_crossing_syn_ack(&mut self, flags: Flags) {
        if flags & SETUP != Flags::ECE {
            *self = Agreed::No;
        }
    }

    /// Control bits of the SYN-ACK.
    pub fn flags(self) -> Flags {
        if self == Agreed::Yes { Flags::ECE } else { Flags::empty() }
    }
}

/// ECN of a synchronized connection.
#[derive(Clone, Debug)]
pub(super) struct Ecn {
    agreed: Agreed,
    /// The peer has sent a packet that could have been marked.
    pub seen: bool,
    /// A mark came, and the sender has not yet said that it slowed down.
    echo: bool,
    /// The next new data says that the window was reduced.
    cwr_due: bool,
    /// What was in flight at the last reduction ends here: until it is acknowledged, another mark tells nothing new.
    reduced: SeqNumber,
    /// A window of one segment was marked: nothing new goes before a timer has fired.
    pub paused: bool,
}

pack_fields!(Ecn { agreed, seen, echo, cwr_due, reduced, paused });

impl Ecn {
    /// The handshake is complete.
    pub fn new(agreed: Agreed, iss: SeqNumber) -> Ecn {
        Ecn { agreed, seen: false, echo: false, cwr_due: false, reduced: iss, paused: false }
    }

    /// Control bits of a SYN-ACK that is still to go (Fast Open).
    pub fn syn_ack_flags(&self) -> Flags {
        self.agreed.flags()
    }

    /// The peer's SYN came again, and our answer goes again.
    pub fn on_repeated_syn(&mut self, flags: Flags) {
        self.agreed.on_same_syn(flags);
    }

    /// Did the SYNs agree on it?
    pub fn is_on(&self) -> bool {
        self.agreed != Agreed::No
    }

    /// Will the next new data carry CWR? It must be alone: CWR belongs to one segment, and who cuts super-segments may not know.
    pub fn is_cwr_due(&self) -> bool {
        self.cwr_due
    }

    /// Text in the window arrived; true when it should be acknowledged at once.
    fn on_text(&mut self, flags: Flags, tos: u8) -> bool {
        if self.agreed == Agreed::No {
            return false;
        }
        let slowed = flags.contains(Flags::CWR);
        self.echo &= !slowed;
        self.seen |= tos & 3 != 0;
        let marked = tos & 3 == CE && !core::mem::replace(&mut self.echo, true);
        // A sender that is marked may be down to one segment: it must not wait for a delayed acknowledgment.
        slowed || marked
    }

    /// ECN bits and control bits of a segment that leaves; `new` when it carries data that never went before.
    pub fn mark(&mut self, new: bool) -> (u8, Flags) {
        let mut flags = Flags::empty();
        flags.set(Flags::ECE, self.echo);
        if self.agreed != Agreed::Yes || !new {
            return (0, flags);
        }
        flags.set(Flags::CWR, core::mem::take(&mut self.cwr_due));
        (ECT_0, flags)
    }

    /// The last reduction is taken back.
    pub fn withdraw(&mut self) {
        self.cwr_due = false;
    }

    /// The window was reduced, for whatever reason: the peer is told, and marks of what is in flight tell nothing new.
    pub fn on_window_reduced(&mut self, nxt: SeqNumber) {
        self.cwr_due = self.agreed == Agreed::Yes;
        self.reduced = nxt;
    }
}

impl Synchronized {
    /// Text in the window, or a probe of a closed one, arrived: look at its mark.
    pub fn on_marked_text(&mut self, common: &mut Common, seg: &Segment<'_>, meta: SegmentMeta) {
        if self.ecn.on_text(seg.flags, meta.tos) {
            self.rcv.ack.quickly();
            self.rcv.ack.now();
            common.output_due = true;
        }
    }

    /// ECN bits and control bits of what `plan` describes.
    pub fn mark(&mut self, plan: &Plan) -> (u8, Flags) {
        let new = plan.len > 0 && !plan.again && !plan.seq.before(self.snd.nxt);
        self.ecn.mark(new)
    }

    /// Does the acknowledgment tell of a mark?
    pub fn is_ecn_echo(&self, seg: &Segment<'_>) -> bool {
        self.ecn.agreed == Agreed::Yes && seg.flags.contains(Flags::ECE)
    }

    /// An acknowledgment tells of a mark: the window is reduced as for a loss, once per window of data (RFC 3168 §6.1.2).
    pub fn on_ecn_echo(&mut self, common: &Common, env: &mut Env, context: &AckContext) {
        let snd = &mut self.snd;
        if !context.ack.after(self.ecn.reduced) || snd.out.recovery.mode != Mode::Open {
            return;
        }
        let least = snd.congestion.cwnd() <= snd.mss;
        if snd.by_sack && !least {
            snd.out.recovery.undo = None;
            self.begin_reduction(env, Mode::Cwr, Signal::Ecn, context.delivery.octets);
        } else {
            let cwnd = snd.congestion.cwnd();
            snd.out.recovery.undo = None;
            snd.congestion.on_congestion(env.now, Signal::Ecn, snd.flight() + context.acked);
            snd.congestion.set_cwnd(cwnd.min(snd.congestion.ssthresh()));
            self.ecn.on_window_reduced(snd.nxt);
            // What cannot be reduced further waits: the next segment goes after one timeout.
            self.ecn.paused = least;
        }
        tell_congestion(common, env, &self.snd, "a packet was marked");
    }

    /// SND.UNA moved: the memory of the last reduction stays comparable when sequence numbers wrap.
    pub fn forget_old_reduction(&mut self) {
        if self.snd.una.after(self.ecn.reduced) {
            self.ecn.reduced = self.snd.una.sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// conformance: 3168-6.1.1-reflect
    #[test]
    fn only_ece_alone_is_an_answer() {
        for (flags, agreed) in [
            (Flags::empty(), Agreed::No),
            (Flags::CWR, Agreed::No),
            (Flags::ECE | Flags::CWR, Agreed::No),
            (Flags::ECE, Agreed::Yes),
        ] {
            assert_eq!(Asked::Yes.on_syn_ack(flags | Flags::SYN | Flags::ACK), agreed);
            assert_eq!(Asked::No.on_syn_ack(flags), Agreed::No);
        }
    }
}
