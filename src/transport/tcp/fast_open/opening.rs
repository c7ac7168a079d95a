//! A server's connection that was handed out with its SYN (RFC 7413 §4.2.2): it receives and sends, and our SYN is not acknowledged.
//!
//! Until it is, the connection is in SYN-RECEIVED, and the SYN-ACK's timer is the only one that sends anything again. Invariant:
//! SND.UNA is ISS + 1, although the SYN before it is still in flight.

use super::FastOpenState;
use super::client::{Ask, Lesson};
use super::server::Decision;
use crate::base::{Errno, Instant};
use crate::trace::Flow;
use crate::trace::{Drop, TcpState, Timer, Why};
use crate::transport::Env;
use crate::transport::tcp::common::{Common, Next, Origin, Outcome};
use crate::transport::tcp::congestion::{Controller, initial_window};
use crate::transport::tcp::connection::{Connection, Isn, Mtus, Outgoing, SegmentMeta, State};
use crate::transport::tcp::handshake::{self, SynTimer};
use crate::transport::tcp::rto::Rto;
use crate::transport::tcp::settings::Settings;
use crate::transport::tcp::synchronized::{Phase, Start, Synchronized};
use crate::wire::tcp::{FastOpenCookie, Flags, Options, Segment};
use std::sync::Arc;

/// What is still to be done about our SYN.
#[derive(Debug)]
pub(in super::super) struct Opening {
    pub timer: SynTimer,
    /// Our shift, when both ends scale.
    scale: Option<u8>,
    /// For the first SYN-ACK.
    cookie: Option<FastOpenCookie>,
}

impl Connection {
    /// Passive open from a SYN whose text counts.
    pub(in super::super) fn accept_fast(
        env: &mut Env,
        (flow, isn): (Flow, Isn),
        (syn, meta): (&Segment<'_>, SegmentMeta),
        decision: Decision,
        settings: Arc<Settings>,
        mtus: Mtus,
    ) -> Connection {
        let mut common = Common::new(flow, isn, Origin::Passive, settings, mtus);
        common.moved(env, TcpState::Listen, TcpState::SynReceived, "SYN with a cookie", "RFC 7413 §4.2.2");
        let agreement = handshake::agree(&common, env, syn);
        let scale = agreement.scale.map(|(_, own)| own);
        let start = Start {
            irs: syn.seq,
            rcv_wnd: common.initial_window(),
            snd_wnd: u32::from(syn.window),
            wl1: syn.seq,
            agreement,
            rtt: None,
            syn_losses: 0,
            early: None,
        };
        let mut sync = Box::new(Synchronized::new(&mut common, env, start));
        let opening = Opening { timer: SynTimer::start(), scale, cookie: decision.cookie };
        sync.fast_open = Some(Box::new(FastOpenState::Opening(opening)));
        sync.stats.syn_data_acked = !syn.payload.is_empty();
        let text = Segment {
            seq: syn.seq.add(1),
            flags: syn.flags - Flags::SYN,
            options: Options::default(),
            ..syn.clone()
        };
        sync.on_urgent_pointer(&mut common, &text);
        sync.on_text(&mut common, env, &text, meta);
        Connection { common, state: State::Synchronized(sync) }
    }

    /// Tries Fast Open with the SYN that is due (RFC 7413 §4.2); `deferred`: that SYN waits for text.
    pub(in super::super) fn try_fast_open(&mut self, ask: Ask, deferred: bool) {
        if let State::SynSent(state) = &mut self.state {
            state.try_fast_open(ask, deferred);
            self.common.wakes |= self.readiness();
        }
    }

    /// A cookie for the peer's next connection goes with the SYN-ACK (RFC 7413 §4.2.1).
    pub(in super::super) fn offer_cookie(&mut self, cookie: Option<FastOpenCookie>) {
        if let State::SynReceived(state) = &mut self.state {
            state.cookie = cookie.map(Box::new);
        }
    }

    /// What Fast Open taught about the peer, once.
    pub(in super::super) fn take_lesson(&mut self) -> Option<Lesson> {
        let State::Synchronized(state) = &mut self.state else { return None };
        let learned = |fast_open: &mut Box<FastOpenState>| matches!(**fast_open, FastOpenState::Learned(_));
        match *state.fast_open.take_if(learned)? {
            FastOpenState::Learned(lesson) => Some(lesson),
            FastOpenState::Opening(_) => None,
        }
    }

    /// Was it handed out with its SYN, and our SYN is not acknowledged yet?
    pub(in super::super) fn is_opening(&self) -> bool {
        matches!(&self.state, State::Synchronized(state) if state.is_opening())
    }
}

impl Synchronized {
    fn opening(&self) -> Option<&Opening> {
        match self.fast_open.as_deref()? {
            FastOpenState::Opening(opening) => Some(opening),
            FastOpenState::Learned(_) => None,
        }
    }

    fn opening_mut(&mut self) -> Option<&mut Opening> {
        match self.fast_open.as_deref_mut()? {
            FastOpenState::Opening(opening) => Some(opening),
            FastOpenState::Learned(_) => None,
        }
    }

    /// Is our SYN not acknowledged yet?
    pub fn is_opening(&self) -> bool {
        self.opening().is_some()
    }

    /// The state as RFC 9293 names it.
    pub fn state(&self) -> TcpState {
        match self.phase {
            Phase::Established if self.is_opening() => TcpState::SynReceived,
            phase => phase.state(),
        }
    }

    /// The SYN came again: its answer was lost.
    pub fn on_repeated_syn(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
    ) -> Option<Outcome> {
        let repeated = seg.flags.contains(Flags::SYN)
            && !seg.flags.intersects(Flags::RST | Flags::ACK)
            && seg.seq == self.rcv.irs;
        self.opening().filter(|_| repeated)?;
        self.ecn.on_repeated_syn(seg.flags);
        let opening = self.opening_mut()?;
        if common.may_challenge(env) {
            opening.timer.due = true;
            common.output_due = true;
        }
        Some(Outcome::TAKEN)
    }

    /// Fifth, in SYN-RECEIVED: an acknowledgment of our SYN, and of more if more was sent, completes the handshake; any other is
    /// answered with a reset (RFC 9293 §3.10.7.4).
    pub fn on_ack_of_syn(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        seg: &Segment<'_>,
    ) -> Option<Outcome> {
        let timer = self.opening()?.timer.clone();
        if !timer.is_sent() || seg.ack.before(self.snd.una) || seg.ack.after(self.snd.nxt) {
            return Some(Outcome::reset(Drop::AckInvalid));
        }
        self.fast_open = None;
        if self.phase == Phase::Established {
            let (from, to) = (TcpState::SynReceived, TcpState::Established);
            common.moved(env, from, to, "our SYN is acknowledged", "RFC 9293 §3.10.7.4");
        }
        let losses = u32::from(timer.retransmits);
        let snd = &mut self.snd;
        if losses > 0 {
            // RFC 6298 §5.7, RFC 6928 §2.
            snd.rto = Rto::new(env.config, true);
            let initial = initial_window(snd.mss, env.config.tcp_init_cwnd, losses);
            snd.congestion.set_cwnd(snd.congestion.cwnd().min(initial));
        }
        if let Some(sample) = timer.round_trip(common, env.now, seg, self.rcv.timestamps.is_some()) {
            snd.rtt.sample(sample, env.now);
            snd.rto.on_sample(&snd.rtt, env.config);
        }
        // What was sent meanwhile is timed from now on.
        self.restart_retransmit_timer(env, true);
        common.output_due = true;
        if !seg.is_empty() || seg.ack != self.snd.una {
            return None;
        }
        // Of what followed the SYN it says nothing: it is no duplicate.
        let snd = &mut self.snd;
        snd.wnd = u32::from(seg.window) << snd.scale;
        snd.max_wnd = snd.max_wnd.max(snd.wnd);
        (snd.wl1, snd.wl2) = (seg.seq, seg.ack);
        if let (Some(ts), Some(option)) = (&mut self.rcv.timestamps, seg.options.timestamps) {
            ts.on_segment(option.value, seg.seq, self.rcv.last_ack_sent, env.now);
        }
        self.timers.on_heard(env.now);
        Some(Outcome::TAKEN)
    }

    /// The SYN-ACK, if it is due.
    pub fn next_syn_ack<'a>(&mut self, common: &Common, env: &mut Env) -> Option<Outgoing<'a>> {
        let flags = Flags::SYN | Flags::ACK | self.ecn.syn_ack_flags();
        let opening = self.opening_mut().filter(|opening| opening.timer.due)?;
        let again = opening.timer.is_sent();
        opening.timer.on_sent(env.now, env.config);
        // RFC 7413 §4.2.2: a SYN-ACK that goes again goes without the option.
        let fast_open = opening.cookie.take().filter(|_| !again);
        let scale = opening.scale;
        if again {
            env.counters.tcp_retrans_segs += 1;
        } else {
            env.counters.tcp_out_segs += 1;
        }
        let options = Options {
            mss: Some(common.own_mss()),
            window_scale: scale,
            sack_permitted: self.rcv.sack_permitted,
            timestamps: self.rcv.timestamps.map(|ts| handshake::stamp(env.now, &common.isn, ts.recent)),
            fast_open,
            ..Options::default()
        };
        let nxt = self.rcv.nxt();
        // The window of a SYN-ACK is not scaled; its edge stays where the first one had it.
        let window = self.rcv.wnd().min(65_535) as u16;
        self.rcv.ack.on_sent();
        self.rcv.last_ack_sent = nxt;
        let why = if again { Why::Retransmit } else { Why::SynAck };
        let syn_ack = handshake::bare(common, common.isn.iss, Some(nxt), flags, options, why);
        Some(Outgoing { window, ..syn_ack })
    }

    /// When the SYN-ACK is to be sent again, or the patience for its answer ends.
    pub fn syn_ack_deadline(&self, common: &Common) -> Option<Instant> {
        self.opening()?.timer.deadline(common.settings.user_timeout)
    }

    /// That time may have come.
    pub fn on_syn_ack_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        let Some(opening) = self.opening_mut() else { return Next::Stay };
        let retries = handshake::retries(common, env.config);
        if !opening.timer.on_timeout(env.now, retries, common.settings.user_timeout) {
            env.counters.tcp_ext_abort_on_timeout += 1;
            return Next::Closed(Some(Errno::ETIMEDOUT));
        }
        if opening.timer.due {
            env.counters.tcp_ext_timeouts += 1;
            common.output_due = true;
            common.fired(env, Timer::SynAck, u32::from(opening.timer.retransmits));
        }
        Next::Stay
    }
}
