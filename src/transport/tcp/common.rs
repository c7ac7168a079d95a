//! What every state of a connection shares: who talks to whom, the settings, what the user must learn.

use super::connection::{Isn, Mtus, Verdict};
use super::pack::{Pack, Packer, Unpacker, pack_fields, pack_names};
use super::recv_buffer::RecvBuffer;
use super::settings::Settings;
use super::syn_received::SynReceived;
use super::synchronized::Synchronized;
use crate::base::{Errno, Instant, Readiness};
use crate::trace::{Drop, EventKind, Flow, TcpState, Timer};
use crate::transport::Env;
use std::sync::Arc;

/// Who sent the first SYN (RFC 9293 §3.5, MUST-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// We did.
    Active,
    /// The peer did.
    Passive,
}

pack_names!(Origin { Active, Passive });
pack_fields!(Isn { iss, ts_offset });

/// What every state shares.
#[derive(Debug)]
pub(super) struct Common {
    pub flow: Flow,
    /// Shared by all connections of a listener that changed none.
    pub settings: Arc<Settings>,
    pub isn: Isn,
    pub origin: Origin,
    /// Largest IP packet to the destination.
    pub path_mtu: u32,
    /// Octets that the send buffer may hold at the moment.
    pub snd_buf: u32,
    /// Octets that the receive buffer may hold at the moment.
    pub rcv_buf: u32,
    /// Largest IP packet that we can receive from there.
    receive_mtu: u32,
    /// The user has closed.
    pub orphan: bool,
    /// The user has shut the receiving side.
    pub shut_read: bool,
    /// Reported by the next call, once.
    pub error: Option<Errno>,
    /// Trouble that did not end the connection.
    pub soft_error: Option<Errno>,
    /// Readiness edges not yet fetched.
    pub wakes: Readiness,
    /// `next_segment` may have something to send.
    pub output_due: bool,
    /// When the last answer to an invalid segment was due (RFC 5961 §7).
    pub last_challenge: Option<Instant>,
    /// Data that outlived the synchronized states and is still to be read.
    pub unread: Option<Box<RecvBuffer>>,
    /// The peer's FIN had come when the synchronized states ended.
    pub peer_done: bool,
}

/// What a handler decided about the connection as a whole.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing changes, or only within the state.
    Stay,
    /// A SYN crossed ours.
    SynReceived(SynReceived),
    /// The handshake is complete.
    Synchronized(Box<Synchronized>),
    /// Both FINs are acknowledged and ours was first.
    TimeWait,
    /// It is over, with what the user gets to know of it.
    Closed(Option<Errno>),
    /// It is over, and the peer is told with a reset.
    Aborted(Option<Errno>),
}

/// What became of a segment, and of the connection through it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub verdict: Verdict,
    pub next: Next,
}

impl Outcome {
    /// Used, and the connection goes on.
    pub const TAKEN: Outcome = Outcome { verdict: Verdict::Taken, next: Next::Stay };

    /// Used, with consequences.
    pub fn taken(next: Next) -> Outcome {
        Outcome { verdict: Verdict::Taken, next }
    }

    /// Not used.
    pub fn dropped(why: Drop) -> Outcome {
        Outcome { verdict: Verdict::Dropped(why), next: Next::Stay }
    }

    /// Not used, and to be answered with a reset.
    pub fn reset(why: Drop) -> Outcome {
        Outcome { verdict: Verdict::Reset(why), next: Next::Stay }
    }
}

impl Common {
    /// A connection begins.
    pub fn new(flow: Flow, isn: Isn, origin: Origin, settings: Arc<Settings>, mtus: Mtus) -> Common {
        Common {
            flow,
            snd_buf: settings.snd_buf,
            rcv_buf: settings.rcv_buf,
            settings,
            isn,
            origin,
            path_mtu: mtus.path,
            receive_mtu: mtus.receive,
            orphan: false,
            shut_read: false,
            error: None,
            soft_error: None,
            wakes: Readiness::empty(),
            output_due: true,
            last_challenge: None,
            unread: None,
            peer_done: false,
        }
    }

    /// Is there nothing in it but what is packed?
    pub fn is_at_rest(&self) -> bool {
        !self.orphan
            && self.error.is_none()
            && self.wakes.is_empty()
            && !self.output_due
            && self.unread.is_none()
            && !self.peer_done
    }

    /// Writes all but the settings, the flow first.
    pub fn pack(&self, to: &mut Packer<'_>) {
        // None is forgotten: those without a name are kept elsewhere, or always the same at rest.
        let Common {
            flow,
            settings: _,
            isn,
            origin,
            path_mtu,
            snd_buf,
            rcv_buf,
            receive_mtu,
            orphan: _,
            shut_read,
            error: _,
            soft_error,
            wakes: _,
            output_due: _,
            last_challenge,
            unread: _,
            peer_done: _,
        } = self;
        flow.pack(to);
        isn.pack(to);
        origin.pack(to);
        [*path_mtu, *receive_mtu, *snd_buf, *rcv_buf].pack(to);
        shut_read.pack(to);
        last_challenge.pack(to);
        soft_error.pack(to);
    }

    /// Reads what [`pack`](Common::pack) wrote.
    pub fn unpack(settings: Arc<Settings>, from: &mut Unpacker<'_>) -> Common {
        let (flow, isn, origin) = (Flow::unpack(from), Isn::unpack(from), Origin::unpack(from));
        let [path, receive, snd_buf, rcv_buf] = Pack::unpack(from);
        Common {
            snd_buf,
            rcv_buf,
            shut_read: Pack::unpack(from),
            last_challenge: Pack::unpack(from),
            soft_error: Pack::unpack(from),
            output_due: false,
            ..Common::new(flow, isn, origin, settings, Mtus { path, receive })
        }
    }

    /// Octets of IP and TCP header without options.
    pub fn header_octets(&self) -> u32 {
        if self.flow.remote.is_ipv4() { 40 } else { 60 }
    }

    /// The MSS that we announce: what we can receive, options not subtracted (RFC 9293 §3.7.1), whatever the path takes in the
    /// other direction (RFC 1191 §6.4).
    pub fn own_mss(&self) -> u16 {
        let fits = self.receive_mtu.saturating_sub(self.header_octets()).clamp(1, 65_535) as u16;
        if self.settings.max_seg == 0 { fits } else { fits.min(self.settings.max_seg) }
    }

    /// The MSS of a peer that announces none (RFC 9293 §3.7.1, MUST-15).
    pub fn default_mss(&self) -> u16 {
        if self.flow.remote.is_ipv4() { 536 } else { 1220 }
    }

    /// Window announced in a SYN: as Linux a whole number of segments that fits the unscaled field.
    pub fn initial_window(&self) -> u32 {
        let mss = u32::from(self.own_mss());
        let window = self.receive_capacity().min(65_535);
        if window > mss { window / mss * mss } else { window }
    }

    /// Octets that may wait to be read.
    pub fn receive_capacity(&self) -> u32 {
        let clamp = if self.settings.window_clamp == 0 { u32::MAX } else { self.settings.window_clamp };
        self.rcv_buf.min(clamp).min((1 << 30) - 1)
    }

    /// May another answer to an invalid segment be sent, as far as this connection is concerned (RFC 5961 §7)?
    pub fn may_answer(&mut self, env: &mut Env) -> bool {
        let limit = env.config.tcp_invalid_ratelimit;
        let soon = self.last_challenge.is_some_and(|last| env.now.since(last) < limit);
        if soon {
            env.counters.tcp_ext_ack_skipped_challenge += 1;
        } else {
            self.last_challenge = Some(env.now);
        }
        !soon
    }

    /// May another challenge be sent: as far as this connection and the whole host are concerned (RFC 5961 §7)?
    pub fn may_challenge(&mut self, env: &mut Env) -> bool {
        if *env.challenge_budget == 0 {
            env.counters.tcp_ext_ack_skipped_challenge += 1;
            return false;
        }
        let may = self.may_answer(env);
        *env.challenge_budget -= u32::from(may);
        may
    }

    /// The state changed: counted and told.
    pub fn moved(&self, env: &mut Env, from: TcpState, to: TcpState, why: &'static str, rfc: &'static str) {
        let established = |state| matches!(state, TcpState::Established | TcpState::CloseWait);
        if established(to) && !established(from) {
            env.counters.tcp_curr_estab += 1;
        } else if established(from) && !established(to) {
            env.counters.tcp_curr_estab = env.counters.tcp_curr_estab.saturating_sub(1);
        }
        if to == TcpState::Closed {
            match from {
                TcpState::Established | TcpState::CloseWait => env.counters.tcp_estab_resets += 1,
                TcpState::SynSent | TcpState::SynReceived => env.counters.tcp_attempt_fails += 1,
                TcpState::TimeWait => env.counters.tcp_ext_tw += 1,
                TcpState::Closed
                | TcpState::Listen
                | TcpState::FinWait1
                | TcpState::FinWait2
                | TcpState::Closing
                | TcpState::LastAck => {}
            }
        }
        env.trace.emit(env.now, Some(self.flow), EventKind::State { from, to, why, rfc });
    }

    /// A timer fired.
    pub fn fired(&self, env: &mut Env, timer: Timer, attempt: u32) {
        env.trace.emit(env.now, Some(self.flow), EventKind::Timer { timer, attempt });
    }
}
