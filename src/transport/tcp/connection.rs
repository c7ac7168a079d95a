//! One connection from SYN-SENT or SYN-RECEIVED to CLOSED: its states, and what the table and the socket call.

use super::common::{Common, Next, Origin};
use super::handshake;
use super::pack::{Pack as _, Packer, Unpacker};
use super::reset::PendingReset;
use super::settings::{Settings, TcpInfo};
use super::syn_received::SynReceived;
use super::syn_sent::SynSent;
use super::synchronized::Synchronized;
use super::time_wait::TimeWait;
use crate::base::{Config, Duration, Errno, Instant, Readiness};
use crate::trace::{Drop, EventKind, Flow, TcpState, View, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment};
use std::sync::Arc;

/// What a connection starts its numbers from; chosen by the table (RFC 6528, RFC 7323 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isn {
    /// Initial send sequence number.
    pub iss: SeqNumber,
    /// Added to the millisecond clock in timestamps; the same for the same pair of sockets.
    pub ts_offset: u32,
}

/// What the IP layer knows about a segment that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentMeta {
    /// TOS or traffic class of the packet, with the ECN bits.
    pub tos: u8,
    /// Payload octets of each wire segment when this is a super-segment, else 0.
    pub segment_size: u16,
}

impl SegmentMeta {
    /// Wire segments that `text` octets came in.
    pub fn segments(&self, text: usize) -> u32 {
        match usize::from(self.segment_size) {
            0 => 1,
            size => text.div_ceil(size).max(1) as u32,
        }
    }
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was used.
    Taken,
    /// It was not; the connection does whatever has to be answered.
    Dropped(Drop),
    /// It was not, and the table answers it with a reset (RFC 9293 §3.10.7.1).
    Reset(Drop),
    /// A SYN that may open a new incarnation: the table replaces this connection, with an ISS above
    /// [`Connection::reopen_iss_floor`].
    Reopen,
}

/// Sizes of IP packets, headers included, between us and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtus {
    /// Largest that reaches the peer.
    pub path: u32,
    /// Largest that we can receive.
    pub receive: u32,
}

/// What a packet may carry at most, beside the MSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload octets of a super-segment that the device cuts; below two segments, none are built.
    pub max_payload: u32,
    /// The host cuts them instead: they are planned just as single segments would be.
    pub cut_by_host: bool,
}

/// A segment to send; the payload is lent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; zero without `Flags::ACK`.
    pub ack: SeqNumber,
    /// Control bits. Of a super-segment's, PSH and FIN belong to the last segment.
    pub flags: Flags,
    /// The window field as on the wire.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The options.
    pub options: Options,
    /// The text in up to three pieces, in order; some may be empty.
    pub payload: [&'a [u8]; 3],
    /// Payload octets of each wire segment when this is a super-segment, else 0.
    pub segment_size: u16,
    /// Why it is sent.
    pub why: Why,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class, with the ECN bits.
    pub tos: u8,
    /// Set DF (IPv4).
    pub dont_fragment: bool,
    /// The connection before this segment; only when the trace is on.
    pub before: Option<View>,
}

/// What a receive call got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Octets written to the buffer (with `MsgFlags::TRUNC`: thrown away).
    pub len: usize,
    /// It was the urgent octet.
    pub oob: bool,
}

/// One TCP connection.
///
/// Handlers change state and mark work as due; only [`next_segment`](Connection::next_segment) builds segments. After any call: drain
/// `next_segment`, then look at `take_wakes` and `deadline`. Once `is_closed`, and nothing is left to send, a connection without a
/// user can be dropped.
#[derive(Debug)]
pub struct Connection {
    pub(super) common: Common,
    pub(super) state: State,
}

/// The states, each with the data of that state alone.
#[derive(Debug)]
pub(super) enum State {
    SynSent(SynSent),
    SynReceived(Box<SynReceived>),
    Synchronized(Box<Synchronized>),
    TimeWait(Box<TimeWait>),
    Closed(Closed),
}

/// What is left when it is over.
#[derive(Debug)]
pub(super) struct Closed {
    reset: Option<PendingReset>,
    /// The variables at the end.
    last: Box<View>,
}

#[allow(clippy::too_many_arguments)]
impl Connection {
    /// Active open: the SYN is due.
    pub fn connect(
        env: &mut Env,
        flow: Flow,
        isn: Isn,
        settings: impl Into<Arc<Settings>>,
        mtus: Mtus,
    ) -> Connection {
        let common = Common::new(flow, isn, Origin::Active, settings.into(), mtus);
        common.moved(env, TcpState::Closed, TcpState::SynSent, "user opens", "RFC 9293 §3.10.1");
        Connection { common, state: State::SynSent(SynSent::new()) }
    }

    /// Passive open from a valid SYN: SYN-RECEIVED, the SYN-ACK is due.
    pub fn accept_syn(
        env: &mut Env,
        flow: Flow,
        isn: Isn,
        syn: &Segment<'_>,
        settings: impl Into<Arc<Settings>>,
        mtus: Mtus,
    ) -> Connection {
        let common = Common::new(flow, isn, Origin::Passive, settings.into(), mtus);
        common.moved(env, TcpState::Listen, TcpState::SynReceived, "SYN arrived", "RFC 9293 §3.10.7.2");
        let agreement = handshake::agree(&common, env, syn);
        Connection { common, state: State::SynReceived(Box::new(SynReceived::new(syn, agreement, None))) }
    }

    /// Its SYN-ACK was sent when nothing was kept of it (RFC 4987 §3.6).
    pub(super) fn syn_ack_was_a_cookie(&mut self, now: Instant) {
        if let State::SynReceived(state) = &mut self.state {
            state.timer = handshake::SynTimer::sent_statelessly(now);
            self.common.output_due = false;
        }
    }

    // --- events --------------------------------------------------------------------------------------------------

    /// A segment arrived.
    pub fn on_segment(&mut self, env: &mut Env, seg: &Segment<'_>, meta: SegmentMeta) -> Verdict {
        let common = &mut self.common;
        let outcome = match &mut self.state {
            State::SynSent(state) => state.on_segment(common, env, seg, meta),
            State::SynReceived(state) => state.on_segment(common, env, seg),
            State::Synchronized(state) => state.on_segment(common, env, seg, meta),
            State::TimeWait(state) => return state.on_segment(common, env, seg),
            State::Closed(_) => return Verdict::Reset(Drop::Closed),
        };
        // What completes a handshake may bring text, too.
        let again = matches!(self.state, State::SynReceived(_))
            && matches!(outcome.next, Next::Synchronized(_))
            && !seg.flags.contains(Flags::SYN);
        self.follow(env, outcome.next);
        if let State::Synchronized(state) = &mut self.state {
            state.end_round_if_silent(&mut self.common, env);
        }
        if again { self.on_segment(env, seg, meta) } else { outcome.verdict }
    }

    /// An ICMP error arrived that quotes this connection. `mtu` only for "fragmentation needed" and "packet too big".
    /// False: the quote was of nothing in flight, and nothing was done.
    pub fn on_icmp(
        &mut self,
        env: &mut Env,
        error: Errno,
        hard: bool,
        mtu: Option<u32>,
        quoted_seq: Option<SeqNumber>,
    ) -> bool {
        let Some(seq) = quoted_seq else { return false };
        let common = &mut self.common;
        let (sent, opening) = match &mut self.state {
            State::SynSent(state) => (state.timer.is_sent(), true),
            State::SynReceived(state) => (state.timer.is_sent(), false),
            State::Synchronized(state) => return state.on_icmp(common, env, error, mtu, seq),
            State::TimeWait(_) | State::Closed(_) => return false,
        };
        // RFC 5927 §4.1: only the SYN is in flight.
        if !sent || seq != common.isn.iss {
            return false;
        }
        match mtu {
            Some(mtu) => common.path_mtu = common.path_mtu.min(mtu),
            // SHLD-26: hard errors end an attempt to open, and nothing else.
            None if hard && opening => self.end(env, Some(error), None),
            None => common.soft_error = Some(error),
        }
        true
    }

    /// The path to the destination takes other packet sizes from now on.
    pub fn set_path_mtu(&mut self, env: &mut Env, path_mtu: u32) {
        self.common.path_mtu = path_mtu;
        match &mut self.state {
            State::Synchronized(state) => state.on_path_mtu(&mut self.common, env, false),
            State::SynSent(_) | State::SynReceived(_) | State::TimeWait(_) | State::Closed(_) => {}
        }
    }

    /// Some deadline has passed.
    pub fn on_timeout(&mut self, env: &mut Env) {
        if self.deadline().is_none_or(|deadline| deadline > env.now) {
            return;
        }
        let common = &mut self.common;
        let next = match &mut self.state {
            State::SynSent(state) => state.on_timeout(common, env),
            State::SynReceived(state) => state.on_timeout(common, env),
            State::Synchronized(state) => state.on_timeout(common, env),
            State::TimeWait(state) if state.on_timeout(common, env) => Next::Closed(None),
            State::TimeWait(_) | State::Closed(_) => Next::Stay,
        };
        self.follow(env, next);
    }

    /// When to call `on_timeout` at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::SynSent(state) => state.timer.deadline(self.common.settings.user_timeout),
            State::SynReceived(state) => state.timer.deadline(self.common.settings.user_timeout),
            State::Synchronized(state) => state.deadline(&self.common),
            State::TimeWait(state) => Some(state.expires),
            State::Closed(_) => None,
        }
    }

    // --- output --------------------------------------------------------------------------------------------------

    /// Might `next_segment` have something? True at most once too often.
    pub fn has_output(&self) -> bool {
        self.common.output_due
    }

    /// The next segment to send. Call until `None` after every batch of input.
    pub fn next_segment(&mut self, env: &mut Env, limits: &Limits) -> Option<Outgoing<'_>> {
        if !self.common.output_due {
            return None;
        }
        let common = &mut self.common;
        match &mut self.state {
            State::SynSent(state) => state.next_segment(common, env),
            State::SynReceived(state) => state.next_segment(common, env),
            State::Synchronized(state) => state.next_segment(common, env, limits),
            State::TimeWait(state) => state.next_segment(common, env, limits),
            State::Closed(state) => {
                common.output_due = false;
                let reset = state.reset.take()?;
                env.counters.tcp_out_rsts += 1;
                let (flags, options) = (Flags::RST | Flags::ACK, reset.options(env.now, &common.isn));
                let out = handshake::bare(common, reset.seq, Some(reset.ack), flags, options, Why::Reset);
                Some(Outgoing { before: env.trace.is_on().then_some(*state.last), window: 0, ..out })
            }
        }
    }

    /// The text of a segment that `next_segment` just built, again: `len` octets from `seq`. Empty pieces for a segment
    /// without text. The host looks at it a second time, after the segment's headers are written.
    pub fn payload(&self, seq: SeqNumber, len: usize) -> [&[u8]; 3] {
        match &self.state {
            State::Synchronized(state) if len > 0 => state.snd.buffer.slices(state.snd.offset(seq), len),
            State::SynSent(state) if len > 0 => state.text(len),
            State::Synchronized(_)
            | State::SynSent(_)
            | State::SynReceived(_)
            | State::TimeWait(_)
            | State::Closed(_) => [&[]; 3],
        }
    }

    // --- changes of state ----------------------------------------------------------------------------------------

    /// Does what a handler decided.
    pub(super) fn follow(&mut self, env: &mut Env, next: Next) {
        match next {
            Next::Stay => {}
            Next::SynReceived(state) => {
                let (from, to) = (TcpState::SynSent, TcpState::SynReceived);
                self.common.moved(env, from, to, "SYNs crossed", "RFC 9293 §3.10.7.3");
                self.state = State::SynReceived(Box::new(state));
                self.common.output_due = true;
            }
            Next::Synchronized(state) => {
                self.state = State::Synchronized(state);
                self.common.soft_error = None; // the trouble is over: SO_ERROR must tell of success
                self.common.wakes |= Readiness::WRITABLE;
            }
            Next::TimeWait => self.enter_time_wait(env),
            Next::Closed(error) => self.end(env, error, None),
            Next::Aborted(error) => {
                let reset = self.pending_reset();
                self.end(env, error, reset);
            }
        }
    }

    fn enter_time_wait(&mut self, env: &mut Env) {
        let State::Synchronized(state) = &mut self.state else { return };
        let from = state.phase.state();
        let record = TimeWait::new(state, env);
        self.common.moved(env, from, TcpState::TimeWait, "both FINs are acknowledged", "RFC 9293 §3.10.7.4");
        self.keep_unread(env);
        self.state = State::TimeWait(Box::new(record));
        self.common.output_due = true;
        self.common.wakes |= self.readiness();
    }

    /// Goes to CLOSED. The user, if there still is one, learns of `error` once.
    pub(super) fn end(&mut self, env: &mut Env, error: Option<Errno>, reset: Option<PendingReset>) {
        let from = self.state();
        if from == TcpState::Closed {
            return;
        }
        let why = match (error, &reset) {
            (Some(error), _) => error.text(),
            (None, Some(_)) => "aborted",
            (None, None) => "done",
        };
        let last = Box::new(View { state: TcpState::Closed, ..self.view() });
        self.common.moved(env, from, TcpState::Closed, why, "RFC 9293 §3.10");
        let error_name = error.map(Errno::name);
        env.trace.emit(env.now, Some(self.common.flow), EventKind::Ended { error: error_name });
        self.keep_unread(env);
        self.common.soft_error = None;
        self.common.output_due = reset.is_some();
        self.state = State::Closed(Closed { reset, last });
        if !self.common.orphan {
            self.common.error = error.or(self.common.error);
            self.common.wakes |= self.readiness();
        }
    }

    /// The buffers of a synchronized state go; what is in order and unread stays for the user, if there is one.
    fn keep_unread(&mut self, env: &mut Env) {
        match &mut self.state {
            State::Synchronized(state) => {
                state.snd.buffer.clear(env.pool);
                state.rcv.buffer.drop_ahead(env.pool);
                self.common.peer_done = state.rcv.eof;
                if self.common.orphan {
                    state.rcv.buffer.clear(env.pool);
                } else if state.rcv.buffer.unread() > 0 {
                    self.common.unread = Some(Box::new(core::mem::take(&mut state.rcv.buffer)));
                }
            }
            State::SynSent(SynSent { early: Some(early), .. }) => early.buffer.clear(env.pool),
            State::SynReceived(state) => {
                if let Some(early) = &mut state.early {
                    early.buffer.clear(env.pool);
                }
            }
            State::SynSent(_) => {}
            State::TimeWait(_) | State::Closed(_) => {}
        }
    }

    /// The reset for an abort in this state (RFC 9293 §3.10.5).
    pub(super) fn pending_reset(&self) -> Option<PendingReset> {
        match &self.state {
            State::SynReceived(state) if state.timer.is_sent() => Some(state.pending_reset(&self.common)),
            State::Synchronized(state) => state.phase.is_reset_by_abort().then(|| state.pending_reset()),
            State::SynSent(_) | State::SynReceived(_) | State::TimeWait(_) | State::Closed(_) => None,
        }
    }

    // --- rest ----------------------------------------------------------------------------------------------------

    /// Has it nothing in hand, so that all of it can be packed?
    pub(super) fn is_at_rest(&self) -> bool {
        match &self.state {
            State::Synchronized(state) => self.common.is_at_rest() && state.is_at_rest(),
            State::SynSent(_) | State::SynReceived(_) | State::TimeWait(_) | State::Closed(_) => false,
        }
    }

    /// Writes a connection at rest, all but its settings, the flow first.
    pub(super) fn pack(&self, to: &mut Packer<'_>) {
        self.common.pack(to);
        if let State::Synchronized(state) = &self.state {
            state.pack(to);
        }
    }

    /// Reads what [`pack`](Connection::pack) wrote.
    pub(super) fn unpack(settings: Arc<Settings>, from: &mut Unpacker<'_>) -> Connection {
        let common = Common::unpack(settings, from);
        Connection { common, state: State::Synchronized(Box::unpack(from)) }
    }

    /// The settings, to be kept where others share them.
    pub(super) fn shared_settings(&self) -> &Arc<Settings> {
        &self.common.settings
    }

    // --- questions -----------------------------------------------------------------------------------------------

    /// The two ends.
    pub fn flow(&self) -> Flow {
        self.common.flow
    }

    /// Largest payload of a segment at the moment (`TCP_MAXSEG` as read).
    pub fn mss(&self) -> u32 {
        match &self.state {
            State::Synchronized(state) => state.snd.mss,
            State::SynSent(_) | State::SynReceived(_) | State::TimeWait(_) | State::Closed(_) => {
                u32::from(self.common.own_mss())
            }
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.common.settings
    }

    /// The state, as RFC 9293 names it.
    pub fn state(&self) -> TcpState {
        match &self.state {
            State::SynSent(_) => TcpState::SynSent,
            State::SynReceived(_) => TcpState::SynReceived,
            State::Synchronized(state) => state.state(),
            State::TimeWait(_) => TcpState::TimeWait,
            State::Closed(_) => TcpState::Closed,
        }
    }

    /// The key variables.
    pub fn view(&self) -> View {
        match &self.state {
            State::SynSent(state) => state.view(&self.common, Duration::from_secs(1)),
            State::SynReceived(state) => state.view(&self.common, Duration::from_secs(1)),
            State::Synchronized(state) => state.view(&self.common),
            State::TimeWait(state) => state.view(&self.common),
            State::Closed(state) => *state.last,
        }
    }

    /// The connection as `getsockopt(TCP_INFO)` tells it.
    pub fn info(&self, now: Instant) -> TcpInfo {
        match &self.state {
            State::Synchronized(state) => state.info(&self.common, now),
            State::SynSent(_) | State::SynReceived(_) | State::TimeWait(_) | State::Closed(_) => TcpInfo {
                state: self.state().name(),
                pmtu: self.common.path_mtu,
                advmss: u32::from(self.common.own_mss()),
                rto: self.view().rto.as_micros(),
                ..TcpInfo::default()
            },
        }
    }

    /// Has the user closed it?
    pub fn is_orphan(&self) -> bool {
        self.common.orphan
    }

    /// Is it over: CLOSED, no timer runs (a last reset may still be due)?
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Was it opened by a peer's SYN?
    pub fn is_passive(&self) -> bool {
        self.common.origin == Origin::Passive
    }

    /// Octets that the send and the receive buffer may hold at the moment.
    pub fn buffer_sizes(&self) -> (u32, u32) {
        (self.common.snd_buf, self.common.rcv_buf)
    }

    /// Largest IP packet to the destination, as known here.
    pub fn path_mtu(&self) -> u32 {
        self.common.path_mtu
    }

    /// May a new connection of ours to the same port of the peer take its place (`tcp_tw_reuse`)?
    pub fn may_be_replaced(&self, now: Instant, config: &Config) -> bool {
        let Flow { local, remote } = self.common.flow;
        let looped = local.ip().is_loopback() && remote.ip().is_loopback();
        match &self.state {
            State::TimeWait(state) if config.tcp_tw_reuse == 1 || config.tcp_tw_reuse == 2 && looped => {
                state.may_be_replaced(now)
            }
            State::SynSent(_)
            | State::SynReceived(_)
            | State::Synchronized(_)
            | State::TimeWait(_)
            | State::Closed(_) => false,
        }
    }

    /// A new incarnation's ISS must lie above this (RFC 9293 §3.6.1, RFC 6191 §2).
    pub fn reopen_iss_floor(&self) -> SeqNumber {
        // As Linux, a full window above what was sent: old duplicates are then out of the new window, too.
        SeqNumber(self.view().snd_nxt).add(65_535)
    }

    /// Octets of memory it holds.
    pub fn memory_octets(&self) -> usize {
        let state = match &self.state {
            State::SynSent(state) => state.early.as_ref().map_or(0, |early| early.buffer.memory_octets()),
            State::SynReceived(state) => {
                let early = state.early.as_ref().map_or(0, |early| early.buffer.memory_octets());
                size_of::<SynReceived>() + early
            }
            State::Synchronized(state) => state.memory_octets(),
            State::TimeWait(_) => size_of::<TimeWait>(),
            State::Closed(_) => size_of::<View>(),
        };
        let unread = self.common.unread.as_ref().map_or(0, |buffer| buffer.memory_octets());
        size_of::<Connection>() + state + unread
    }
}
