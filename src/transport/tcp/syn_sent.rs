//! SYN-SENT (RFC 9293 §3.10.7.3).

use super::common::{Common, Next, Outcome};
use super::connection::{Outgoing, SegmentMeta, Verdict};
use super::ecn::Asked;
use super::fast_open::client::Attempt;
use super::handshake::{self, SynTimer};
use super::syn_received::SynReceived;
use super::synchronized::{Early, Start, Synchronized};
use crate::base::{Duration, Errno};
use crate::trace::{Drop, TcpState, Timer, View, Why};
use crate::transport::Env;
use crate::wire::tcp::{Flags, Options, Segment};

/// Our SYN is out, nothing came back.
#[derive(Debug)]
pub(super) struct SynSent {
    pub timer: SynTimer,
    pub early: Option<Box<Early>>,
    /// Fast Open, when it is tried.
    pub attempt: Option<Box<Attempt>>,
    ecn: Asked,
}

impl SynSent {
    /// The SYN is due.
    pub fn new() -> SynSent {
        SynSent { timer: SynTimer::start(), early: None, attempt: None, ecn: Asked::No }
    }

    /// A segment arrived.
    pub fn on_segment(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
        meta: SegmentMeta,
    ) -> Outcome {
        let has_ack = seg.flags.contains(Flags::ACK);
        // First, ACK: SND.UNA < SEG.ACK ≤ SND.NXT leaves one value unless the SYN carried text.
        let taken = seg.ack.since(common.isn.iss.add(1));
        let good_ack =
            has_ack && self.timer.is_sent() && taken.is_some_and(|octets| octets <= self.text_sent());
        if seg.flags.contains(Flags::RST) {
            // Second: a RST counts only if it acknowledges our SYN (RFC 9293 §3.5.3).
            if good_ack {
                return Outcome::taken(Next::Closed(Some(Errno::ECONNREFUSED)));
            }
            return Outcome::dropped(if has_ack { Drop::AckInvalid } else { Drop::Ignored });
        }
        if has_ack && !good_ack {
            return Outcome::reset(Drop::AckInvalid);
        }
        // Fifth: neither SYN nor RST.
        if !seg.flags.contains(Flags::SYN) {
            return Outcome::dropped(Drop::Ignored);
        }
        if good_ack {
            self.on_syn_ack(common, env, seg, meta)
        } else {
            self.on_crossing_syn(common, env, seg)
        }
    }

    fn on_syn_ack(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
        meta: SegmentMeta,
    ) -> Outcome {
        let mut agreement = handshake::agree(common, env, seg);
        agreement.ecn = self.ecn.on_syn_ack(seg.flags);
        let fast_open = self.end_attempt(common, env, seg);
        let rtt = self.timer.round_trip(common, env.now, seg, agreement.timestamps.is_some());
        common.moved(
            env,
            TcpState::SynSent,
            TcpState::Established,
            "our SYN is acknowledged",
            "RFC 9293 §3.10.7.3",
        );
        let start = Start {
            irs: seg.seq,
            rcv_wnd: common.initial_window(),
            snd_wnd: u32::from(seg.window),
            wl1: seg.seq,
            agreement,
            rtt,
            syn_losses: u32::from(self.timer.retransmits),
            early: self.early.take(),
        };
        let mut sync = Box::new(Synchronized::new(common, env, start));
        if let Some((learned, stats)) = fast_open {
            (sync.fast_open, sync.stats) = (Some(Box::new(learned)), stats);
        }
        sync.rcv.ack.now();
        if sync.snd.unsent() > 0 {
            // What waits to be sent carries the acknowledgment, unless the peer's window is closed: then it goes alone.
            common.output_due = true;
        }
        // Text, URG and FIN on the SYN-ACK are processed from the URG step on.
        let rest = Segment {
            seq: seg.seq.add(1),
            flags: seg.flags - Flags::SYN,
            options: Options::default(),
            ..seg.clone()
        };
        sync.on_urgent_pointer(common, &rest);
        let outcome = sync.on_text(common, env, &rest, meta);
        match outcome.next {
            Next::Stay => Outcome { verdict: Verdict::Taken, next: Next::Synchronized(sync) },
            Next::SynReceived(_)
            | Next::Synchronized(_)
            | Next::TimeWait
            | Next::Closed(_)
            | Next::Aborted(_) => outcome,
        }
    }

    /// Both ends sent a SYN (RFC 9293 §3.5, MUST-10). Text on it is left for retransmission.
    fn on_crossing_syn(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Outcome {
        let mut agreement = handshake::agree(common, env, seg);
        agreement.ecn = self.ecn.on_crossing_syn(seg.flags);
        common.output_due = true;
        Outcome::taken(Next::SynReceived(SynReceived::new(seg, agreement, self.early.take())))
    }

    /// The SYN, if it is due.
    pub fn next_segment<'a>(&'a mut self, common: &mut Common, env: &mut Env) -> Option<Outgoing<'a>> {
        common.output_due = false;
        if !self.timer.due {
            return None;
        }
        let before = env.trace.is_on().then(|| self.view(common, env.config.tcp_initial_rto_ms));
        let again = self.timer.retransmits > 0;
        self.timer.on_sent(env.now, env.config);
        self.ecn = self.ecn.on_syn(env.config, again);
        if again {
            env.counters.tcp_retrans_segs += 1;
        } else {
            env.counters.tcp_out_segs += 1;
        }
        let why = if again { Why::Retransmit } else { Why::Syn };
        let mut options = handshake::offer(common, env);
        // RFC 7413 §4.2.2: a SYN that goes again is an ordinary one.
        let len = if again { 0 } else { self.attempt_options(common, &mut options) };
        let syn = handshake::bare(common, common.isn.iss, None, Flags::SYN | self.ecn.flags(), options, why);
        Some(Outgoing { before, payload: self.text(len), ..syn })
    }

    /// The SYN was not answered.
    pub fn on_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        let patience = common.settings.user_timeout;
        let retries = handshake::retries(common, env.config);
        if !self.timer.on_timeout(env.now, retries, patience) {
            env.counters.tcp_ext_abort_on_timeout += 1;
            return Next::Closed(Some(common.soft_error.take().unwrap_or(Errno::ETIMEDOUT)));
        }
        if self.timer.due {
            env.counters.tcp_ext_timeouts += 1;
            common.output_due = true;
            let attempt = u32::from(self.timer.retransmits);
            // MUST-22: R1 applies to SYNs as well.
            if attempt >= env.config.tcp_retries1 {
                common.soft_error.get_or_insert(Errno::ETIMEDOUT);
            }
            common.fired(env, Timer::Retransmit, attempt);
        }
        Next::Stay
    }

    /// The key variables.
    pub fn view(&self, common: &Common, rto: Duration) -> View {
        let nxt = common.isn.iss.add(u32::from(self.timer.is_sent()) + self.text_sent());
        View {
            state: TcpState::SynSent,
            iss: common.isn.iss.0,
            irs: 0,
            snd_una: common.isn.iss.0,
            snd_nxt: nxt.0,
            snd_wnd: 0,
            rcv_nxt: 0,
            rcv_wnd: common.initial_window(),
            cwnd: 0,
            ssthresh: u32::MAX,
            srtt: None,
            rto: rto.backed_off(u32::from(self.timer.retransmits)),
        }
    }
}
