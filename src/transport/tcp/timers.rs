//! The timers of a synchronized connection. Those that exclude each other are one: something is in flight, or the peer's window is
//! shut, or it is silly, or nothing happens at all.

use super::common::{Common, Next};
use super::nagle::{CORK, override_after};
use super::pack::{Pack, Packer, Unpacker, pack_fields};
use super::sender::Blocked;
use super::synchronized::Synchronized;
use crate::base::Instant;
use crate::trace::Timer;
use crate::transport::Env;

/// The timer of the sending half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendTimer {
    Idle,
    /// Something is in flight (RFC 6298).
    Retransmit {
        at: Instant,
    },
    /// Before that a probe goes (RFC 8985 §7).
    TailLossProbe {
        at: Instant,
        rto: Instant,
    },
    /// Before that losses are looked for (RFC 8985 §6.2 step 5).
    Reorder {
        at: Instant,
        rto: Instant,
    },
    /// Something waits for a window (RFC 9293 §3.8.6.1); `sent` probes went out since it closed.
    Persist {
        at: Instant,
        sent: u8,
    },
    /// Something waits for a better window (RFC 9293 §3.8.6.2.1), or for the end of a pause (RFC 3168 §6.1.2).
    Override {
        at: Instant,
    },
    /// Nothing waits; `sent` probes are unanswered (RFC 9293 §3.8.4).
    KeepAlive {
        at: Instant,
        sent: u8,
    },
}

/// A probe that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Window,
    KeepAlive,
}

/// All timers.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    pub send: SendTimer,
    /// When the peer was last heard.
    pub heard: Instant,
    /// Window probes since the peer was last heard.
    pub unanswered: u8,
    pub probe_due: Option<Probe>,
    /// End of corking.
    pub hold: Option<Instant>,
    /// End of an orphan's FIN-WAIT-2.
    pub fin_wait2: Option<Instant>,
}

impl Pack for SendTimer {
    fn pack(&self, to: &mut Packer<'_>) {
        // At rest there is no other.
        let keep_alive = if let SendTimer::KeepAlive { at, sent } = *self { Some((at, sent)) } else { None };
        keep_alive.pack(to);
    }
    fn unpack(from: &mut Unpacker<'_>) -> SendTimer {
        Option::unpack(from).map_or(SendTimer::Idle, |(at, sent)| SendTimer::KeepAlive { at, sent })
    }
}

pack_fields!(Timers { send, heard, unanswered, hold, fin_wait2; probe_due: None });

impl Timers {
    pub fn new(now: Instant) -> Timers {
        Timers {
            send: SendTimer::Idle,
            heard: now,
            unanswered: 0,
            probe_due: None,
            hold: None,
            fin_wait2: None,
        }
    }

    /// An acceptable segment came.
    pub fn on_heard(&mut self, now: Instant) {
        self.heard = now;
        self.unanswered = 0;
        if let SendTimer::KeepAlive { sent, .. } = &mut self.send {
            *sent = 0;
        }
    }

    /// Probes without an answer.
    pub fn probes_unanswered(&self) -> u32 {
        match self.send {
            SendTimer::KeepAlive { sent, .. } => u32::from(sent),
            SendTimer::Idle
            | SendTimer::Retransmit { .. }
            | SendTimer::TailLossProbe { .. }
            | SendTimer::Reorder { .. }
            | SendTimer::Persist { .. }
            | SendTimer::Override { .. } => u32::from(self.unanswered),
        }
    }

    /// The peer's window is no longer closed.
    pub fn on_window_opened(&mut self) {
        if let SendTimer::Persist { .. } = self.send {
            self.send = SendTimer::Idle;
        }
        self.probe_due = None;
        self.unanswered = 0;
    }

    fn send_deadline(&self) -> Option<Instant> {
        match self.send {
            SendTimer::Idle => None,
            SendTimer::Retransmit { at }
            | SendTimer::TailLossProbe { at, .. }
            | SendTimer::Reorder { at, .. }
            | SendTimer::Persist { at, .. }
            | SendTimer::Override { at }
            | SendTimer::KeepAlive { at, .. } => Some(at),
        }
    }
}

impl Synchronized {
    /// The earliest deadline.
    pub fn deadline(&self, common: &Common) -> Option<Instant> {
        let timers = &self.timers;
        // Until our SYN is acknowledged nothing but the SYN-ACK is sent again (Fast Open).
        let send = match self.is_opening() {
            true => self.syn_ack_deadline(common),
            false => timers.send_deadline(),
        };
        let user = self.user_deadline(common);
        let pace = self.snd.out.pacer.wakes_at();
        let mut first = send;
        for at in [self.rcv.ack.deadline(), timers.hold, timers.fin_wait2, user, pace] {
            if at.is_some_and(|at| first.is_none_or(|first| at < first)) {
                first = at;
            }
        }
        first
    }

    /// Fires what is over.
    pub fn on_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= env.now);
        let (user, ack, hold, fin_wait2) = (
            due(self.user_deadline(common)),
            due(self.rcv.ack.deadline()),
            due(self.timers.hold),
            due(self.timers.fin_wait2),
        );
        let opening = self.is_opening();
        let send = !opening && due(self.timers.send_deadline());
        let pace = due(self.snd.out.pacer.wakes_at());
        if user {
            return self.on_user_timeout(common, env);
        }
        if fin_wait2 {
            common.fired(env, Timer::FinWait2, 1);
            env.counters.tcp_ext_abort_on_linger += 1;
            return Next::Closed(None);
        }
        common.output_due |= ack || hold || send || pace;
        if pace {
            self.snd.out.pacer.on_wake();
        }
        if ack {
            common.fired(env, Timer::DelayedAck, 1);
            self.rcv.ack.on_timeout();
        }
        if hold {
            self.timers.hold = None;
            self.snd.push_once = true;
        }
        match (opening, send) {
            (true, _) => self.on_syn_ack_timeout(common, env),
            (false, true) => self.on_send_timeout(common, env),
            (false, false) => Next::Stay,
        }
    }

    fn on_send_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        match self.timers.send {
            SendTimer::Idle => Next::Stay,
            SendTimer::Retransmit { .. } => self.on_retransmit_timeout(common, env),
            SendTimer::TailLossProbe { .. } => self.on_probe_timeout(common, env),
            SendTimer::Reorder { rto, .. } => self.on_reorder_timeout(common, env, rto),
            SendTimer::Persist { sent, .. } => self.on_persist_timeout(common, env, sent),
            SendTimer::Override { .. } => {
                common.fired(env, Timer::Override, 1);
                self.timers.send = SendTimer::Idle;
                self.snd.push_once = true;
                self.ecn.paused = false;
                Next::Stay
            }
            SendTimer::KeepAlive { sent, .. } => self.on_keep_alive_timeout(common, env, sent),
        }
    }

    /// Everything that may go has gone: see to it that what could not go is not forgotten.
    pub fn end_round(&mut self, common: &mut Common, env: &mut Env) {
        let snd = &mut self.snd;
        let limited = snd.blocked == Blocked::Cwnd;
        snd.usage.on_round_end(snd.una, snd.nxt, limited);
        if snd.una == snd.nxt && !snd.wants_to_send() {
            snd.owed_since = None;
        } else {
            snd.owed_since.get_or_insert(env.now);
        }
        if snd.blocked == Blocked::Cork {
            self.timers.hold.get_or_insert(env.now + CORK);
        }
        self.charge_time(common, env.now);
        self.settle_send_timer(common, env);
    }

    fn settle_send_timer(&mut self, common: &mut Common, env: &mut Env) {
        let snd = &self.snd;
        if snd.una != snd.nxt {
            self.restart_retransmit_timer(env, false);
            return;
        }
        self.timers.send = match (snd.blocked, self.timers.send) {
            (Blocked::Window, SendTimer::Persist { at, sent }) => SendTimer::Persist { at, sent },
            // SHLD-29: first probe after one RTO.
            (Blocked::Window, _) => SendTimer::Persist { at: env.now + snd.rto.interval, sent: 0 },
            (Blocked::Silly | Blocked::Mark, SendTimer::Override { at }) => SendTimer::Override { at },
            (Blocked::Silly, _) => SendTimer::Override { at: env.now + override_after(snd.rto.interval) },
            (Blocked::Mark, _) => {
                SendTimer::Override { at: snd.last_sent.unwrap_or(env.now) + snd.rto.interval }
            }
            (Blocked::No | Blocked::Cwnd | Blocked::Pace | Blocked::Nagle | Blocked::Cork, timer) => {
                self.keep_alive_timer(common, timer)
            }
        };
    }
}
