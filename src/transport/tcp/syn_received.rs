//! SYN-RECEIVED (RFC 9293 §3.10.7.2, §3.10.7.4): small, because anyone can make us have many of them.

use super::common::{Common, Next, Origin, Outcome};
use super::connection::{Outgoing, Verdict};
use super::handshake::{self, SynTimer};
use super::reset::PendingReset;
use super::synchronized::{Agreement, Early, Start, Synchronized};
use crate::base::{Duration, Errno};
use crate::trace::{Drop, TcpState, Timer, View, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{FastOpenCookie, Flags, Options, Segment};

/// A SYN came, our SYN-ACK is due or out.
#[derive(Debug)]
pub(super) struct SynReceived {
    irs: SeqNumber,
    agreement: Agreement,
    /// Window of the SYN, not scaled.
    window: u16,
    pub timer: SynTimer,
    challenge_due: bool,
    pub early: Option<Box<Early>>,
    /// A Fast Open cookie for the peer's next connection (RFC 7413 §4.2.1), on the first SYN-ACK.
    pub cookie: Option<Box<FastOpenCookie>>,
}

impl SynReceived {
    /// The SYN-ACK is due. Text on the SYN is left for retransmission.
    pub fn new(syn: &Segment<'_>, agreement: Agreement, early: Option<Box<Early>>) -> SynReceived {
        SynReceived {
            irs: syn.seq,
            agreement,
            window: syn.window,
            timer: SynTimer::start(),
            challenge_due: false,
            early,
            cookie: None,
        }
    }

    /// A segment arrived. When it completes the handshake and is no SYN, it is still to be processed by the new state.
    pub fn on_segment(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Outcome {
        let (nxt, wnd) = (self.irs.add(1), common.initial_window());
        let iss_acked = seg.flags.contains(Flags::ACK) && seg.ack == common.isn.iss.add(1);
        let rst = seg.flags.contains(Flags::RST);
        let syn = seg.flags.contains(Flags::SYN);
        if let (Some(ts), Some(option), false) = (&self.agreement.timestamps, seg.options.timestamps, rst)
            && ts.is_old(option.value, env.now)
        {
            env.counters.tcp_ext_paws_estab += 1;
            self.challenge(common, env);
            return Outcome::dropped(Drop::OldTimestamp);
        }
        if self.agreement.timestamps.is_some() && seg.options.timestamps.is_none() && !rst && !syn {
            return Outcome::dropped(Drop::Ignored);
        }
        if syn && !rst && seg.seq == self.irs {
            return self.on_same_syn(common, env, seg, iss_acked);
        }
        let in_window = |seq: SeqNumber| seq.since(nxt).is_some_and(|ahead| ahead < wnd);
        if rst {
            return self.on_reset(common, env, seg, in_window(seg.seq));
        }
        if !in_window(seg.seq) {
            self.challenge(common, env);
            return Outcome::dropped(Drop::Unacceptable);
        }
        match (syn, common.origin) {
            // Back to LISTEN, which takes a new SYN; what else comes with it is dropped.
            (true, Origin::Passive) if seg.flags.intersects(Flags::ACK | Flags::FIN) => {
                return Outcome { verdict: Verdict::Dropped(Drop::AckInvalid), next: Next::Closed(None) };
            }
            (true, Origin::Passive) => return Outcome { verdict: Verdict::Reopen, next: Next::Stay },
            (true, Origin::Active) => {
                env.counters.tcp_ext_syn_challenge += 1;
                self.challenge(common, env);
                return Outcome::dropped(Drop::ChallengedSyn);
            }
            (false, Origin::Active | Origin::Passive) => {}
        }
        if !seg.flags.contains(Flags::ACK) {
            return Outcome::dropped(Drop::NoAck);
        }
        if !iss_acked || !self.timer.is_sent() {
            return Outcome::reset(Drop::AckInvalid);
        }
        self.complete(common, env, seg)
    }

    /// The SYN came again: its answer was lost. Or, after a simultaneous open, it is the peer's SYN-ACK (RFC 9293 §3.5, figure 8).
    fn on_same_syn(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
        iss_acked: bool,
    ) -> Outcome {
        if common.origin == Origin::Active && iss_acked {
            self.agreement.ecn.on_crossing_syn_ack(seg.flags);
            return self.complete(common, env, seg);
        }
        self.agreement.ecn.on_same_syn(seg.flags);
        if common.may_challenge(env) {
            self.timer.due = true;
            common.output_due = true;
        }
        Outcome::TAKEN
    }

    fn on_reset(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
        in_window: bool,
    ) -> Outcome {
        if seg.seq == self.irs.add(1) {
            env.counters.tcp_ext_embryonic_rsts += 1;
            // MUST-11: back to LISTEN without a word, or the open is refused.
            let error = match common.origin {
                Origin::Passive => None,
                Origin::Active => Some(Errno::ECONNREFUSED),
            };
            return Outcome::taken(Next::Closed(error));
        }
        if in_window {
            self.challenge(common, env);
            return Outcome::dropped(Drop::ChallengedReset);
        }
        Outcome::dropped(Drop::Unacceptable)
    }

    fn challenge(&mut self, common: &mut Common, env: &mut Env) {
        if common.may_challenge(env) {
            self.challenge_due = true;
            common.output_due = true;
        }
    }

    /// Our SYN is acknowledged: ESTABLISHED.
    fn complete(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Outcome {
        let syn = seg.flags.contains(Flags::SYN);
        let shift = self.agreement.scale.map_or(0, |(peer, _)| if syn { 0 } else { peer });
        let rtt = self.timer.round_trip(common, env.now, seg, self.agreement.timestamps.is_some());
        common.moved(
            env,
            TcpState::SynReceived,
            TcpState::Established,
            "our SYN is acknowledged",
            "RFC 9293 §3.10.7.4",
        );
        let start = Start {
            irs: self.irs,
            rcv_wnd: common.initial_window(),
            snd_wnd: u32::from(seg.window) << shift,
            wl1: seg.seq,
            agreement: self.agreement.clone(),
            rtt,
            syn_losses: u32::from(self.timer.retransmits),
            early: self.early.take(),
        };
        Outcome::taken(Next::Synchronized(Box::new(Synchronized::new(common, env, start))))
    }

    /// The SYN-ACK or a challenge, if due.
    pub fn next_segment<'a>(&mut self, common: &mut Common, env: &mut Env) -> Option<Outgoing<'a>> {
        let before = env.trace.is_on().then(|| self.view(common, env.config.tcp_initial_rto_ms));
        let ts = self.agreement.timestamps.map(|ts| handshake::stamp(env.now, &common.isn, ts.recent));
        let ack = Some(self.irs.add(1));
        if core::mem::take(&mut self.challenge_due) {
            env.counters.tcp_out_segs += 1;
            env.counters.tcp_ext_challenge_ack += 1;
            let options = Options { timestamps: ts, ..Options::default() };
            let seq = common.isn.iss.add(u32::from(self.timer.is_sent()));
            let challenge = handshake::bare(common, seq, ack, Flags::ACK, options, Why::Challenge);
            let shift = self.agreement.scale.map_or(0, |(_, own)| own);
            return Some(Outgoing { before, window: challenge.window >> shift, ..challenge });
        }
        common.output_due = false;
        if !self.timer.due {
            return None;
        }
        let again = self.timer.is_sent();
        self.timer.on_sent(env.now, env.config);
        if again {
            env.counters.tcp_retrans_segs += 1;
        } else {
            env.counters.tcp_out_segs += 1;
        }
        // Only what was offered is answered (RFC 7323 §2.2, §3.2; RFC 2018 §2).
        let options = Options {
            mss: Some(common.own_mss()),
            window_scale: self.agreement.scale.map(|(_, own)| own),
            sack_permitted: self.agreement.sack,
            timestamps: ts,
            fast_open: self.cookie.take().map(|cookie| *cookie).filter(|_| !again),
            ..Options::default()
        };
        let why = if again { Why::Retransmit } else { Why::SynAck };
        let flags = Flags::SYN | Flags::ACK | self.agreement.ecn.flags();
        let syn_ack = handshake::bare(common, common.isn.iss, ack, flags, options, why);
        Some(Outgoing { before, ..syn_ack })
    }

    /// The SYN-ACK was not answered.
    pub fn on_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        let patience = common.settings.user_timeout;
        let retries = handshake::retries(common, env.config);
        if !self.timer.on_timeout(env.now, retries, patience) {
            return Next::Closed(match common.origin {
                Origin::Active => Some(common.soft_error.take().unwrap_or(Errno::ETIMEDOUT)),
                Origin::Passive => None,
            });
        }
        if self.timer.due {
            env.counters.tcp_ext_timeouts += 1;
            common.output_due = true;
            common.fired(env, Timer::SynAck, u32::from(self.timer.retransmits));
        }
        Next::Stay
    }

    /// The reset that ends it (RFC 9293 §3.10.5).
    pub fn pending_reset(&self, common: &Common) -> PendingReset {
        PendingReset {
            seq: common.isn.iss.add(1),
            ack: self.irs.add(1),
            echo: self.agreement.timestamps.map(|ts| ts.recent),
        }
    }

    /// The key variables.
    pub fn view(&self, common: &Common, rto: Duration) -> View {
        let nxt = common.isn.iss.add(u32::from(self.timer.is_sent()));
        View {
            state: TcpState::SynReceived,
            iss: common.isn.iss.0,
            irs: self.irs.0,
            snd_una: common.isn.iss.0,
            snd_nxt: nxt.0,
            snd_wnd: u32::from(self.window),
            rcv_nxt: self.irs.add(1).0,
            rcv_wnd: common.initial_window(),
            cwnd: 0,
            ssthresh: u32::MAX,
            srtt: None,
            rto: rto.backed_off(u32::from(self.timer.retransmits)),
        }
    }
}
