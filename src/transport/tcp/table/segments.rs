//! Segments that arrive: to the connection they belong to, or to the rules of CLOSED and LISTEN.
//!
//! RFC 9293 §3.10.7.1 (CLOSED) and §3.10.7.2 (LISTEN); the other states are a connection's own.

use super::{ConnId, Entry, MAX_REPLIES, Owner, Reply, Tcp};
use crate::base::{Config, Errno, Instant};
use crate::trace::{Drop, Flow, Reason};
use crate::transport::Env;
use crate::transport::tcp::connection::{Mtus, SegmentMeta, Verdict};
use crate::transport::tcp::listener::ListenerId;
use crate::transport::tcp::syn_cookie;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment};

/// A segment for one of our addresses.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// Between whom.
    pub flow: Flow,
    /// What it says.
    pub segment: &'a Segment<'a>,
    /// What the IP layer knows about it.
    pub meta: SegmentMeta,
    /// The packet sizes between the two, asked for only where a connection begins.
    pub mtus: &'a dyn Fn(&Config) -> Mtus,
}

impl Reply {
    /// A segment without window, options and text.
    pub(super) fn bare(
        config: &Config,
        flow: Flow,
        (seq, ack): (SeqNumber, SeqNumber),
        flags: Flags,
    ) -> Reply {
        let ttl = config.ip_default_ttl.min(255) as u8;
        Reply { flow, seq, ack, flags, window: 0, options: Options::default(), ttl, tos: 0 }
    }
}

impl Tcp {
    /// A segment arrived.
    pub fn input(&mut self, env: &mut Env<'_>, arrival: &Arrival<'_>) -> Reason {
        let Arrival { flow, segment, meta, .. } = *arrival;
        let Some(id) = self.demux.find(&self.connections, &flow) else {
            return self.input_without_connection(env, arrival);
        };
        let Some(&mut Entry { owner, opened, pending_of, .. }) = self.connections.get_mut(id) else {
            return Reason::Dropped(Drop::NoSocket);
        };
        if let Owner::Embryo(listener) = owner
            && let Some(reason) = self.hold_back(env, listener, (id, opened), arrival)
        {
            return reason;
        }
        let Some(entry) = self.connections.get_mut(id) else { return Reason::Dropped(Drop::NoSocket) };
        let verdict = entry.conn.on_segment(env, segment, meta);
        self.settle(env, id);
        if segment.flags.contains(Flags::RST)
            && let Some(listener) = pending_of.and_then(|listener| self.listeners.get_mut(listener))
            && self.connections.get_mut(id).is_none_or(|entry| entry.conn.is_closed())
        {
            listener.pending.on_reset(env.now);
        }
        match verdict {
            Verdict::Taken => Reason::Taken,
            Verdict::Dropped(why) => Reason::Dropped(why),
            Verdict::Reset(why) => {
                self.reset(env, flow, segment);
                Reason::Dropped(why)
            }
            Verdict::Reopen => self.reopen(env, id, arrival),
        }
    }

    /// Is there somebody for this segment: its connection, or a listener for its SYN or for the cookie that it brings back?
    pub fn awaits(&self, now: Instant, flow: &Flow, segment: &Segment<'_>) -> bool {
        if self.demux.find(&self.connections, flow).is_some() {
            return true;
        }
        let Some(listener) = self.find_listener(flow.local, flow.remote) else { return false };
        let opens = segment.flags & (Flags::SYN | Flags::ACK | Flags::RST) == Flags::SYN;
        let cookie = || {
            syn_cookie::may_answer(self.listeners[listener].last_cookie, now)
                && self.cookies.recall(now, &self.isn.isn(now, flow), flow, segment).is_some()
        };
        opens || cookie()
    }

    /// A segment that would finish a handshake is dropped while the accept queue is full (the SYN-ACK is sent again
    /// and the peer tries again), and, with `TCP_DEFER_ACCEPT`, until it brings data.
    fn hold_back(
        &mut self,
        env: &mut Env<'_>,
        listener: ListenerId,
        (id, opened): (ConnId, Instant),
        arrival: &Arrival<'_>,
    ) -> Option<Reason> {
        let Arrival { flow, segment, .. } = *arrival;
        if segment.flags.intersects(Flags::SYN | Flags::RST) || !segment.flags.contains(Flags::ACK) {
            return None;
        }
        let listener = self.listeners.get(listener)?;
        if listener.is_full() {
            env.counters.tcp_ext_listen_overflows += 1;
            if env.config.tcp_abort_on_overflow {
                self.reset(env, flow, segment);
                self.remove(id);
            }
            return Some(Reason::Dropped(Drop::ListenerFull));
        }
        let defer = listener.options.defer_accept;
        let age = env.now.since(opened);
        (!defer.is_zero() && age < defer && segment.is_empty()).then_some(Reason::Dropped(Drop::Ignored))
    }

    /// RFC 9293 §3.10.7.1 and §3.10.7.2.
    fn input_without_connection(&mut self, env: &mut Env<'_>, arrival: &Arrival<'_>) -> Reason {
        let Arrival { flow, segment, .. } = *arrival;
        if segment.flags.contains(Flags::RST) {
            return Reason::Dropped(Drop::NoSocket);
        }
        let Some(listener) = self.find_listener(flow.local, flow.remote) else {
            self.reset(env, flow, segment);
            return Reason::Dropped(Drop::NoSocket);
        };
        if segment.flags.contains(Flags::ACK) {
            return self.accept_cookie(env, listener, arrival).unwrap_or_else(|| {
                self.reset(env, flow, segment);
                Reason::Dropped(Drop::AckInvalid)
            });
        }
        // A SYN with FIN is nonsense that Linux drops too.
        if !segment.flags.contains(Flags::SYN) || segment.flags.contains(Flags::FIN) {
            return Reason::Dropped(Drop::Ignored);
        }
        self.accept_syn(env, listener, arrival, None)
    }

    /// RFC 9293 §3.5.2, §3.10.7.1: a reset in answer to `segment`, never to a reset. As on Linux without timestamps: it belongs to
    /// no connection that has agreed on them (7323-3.2-rst).
    pub(super) fn reset(&mut self, env: &mut Env<'_>, flow: Flow, segment: &Segment<'_>) {
        if segment.flags.contains(Flags::RST) || self.replies.len() == MAX_REPLIES {
            return;
        }
        env.counters.tcp_out_rsts += 1;
        let (seq, ack, flags) = if segment.flags.contains(Flags::ACK) {
            (segment.ack, SeqNumber(0), Flags::RST)
        } else {
            (SeqNumber(0), segment.end(), Flags::RST | Flags::ACK)
        };
        self.replies.push_back(Reply::bare(env.config, flow, (seq, ack), flags));
    }

    /// The next segment that belongs to no connection.
    pub fn pop_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// An ICMP error that quotes a segment of ours. `false` when it quotes nothing in flight (RFC 5927 §4.1).
    pub fn on_icmp(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        seq: SeqNumber,
        error: (Errno, bool),
        mtu: Option<u32>,
    ) -> bool {
        let Some(id) = self.demux.find(&self.connections, &flow) else { return false };
        self.with(env, id, |conn, env| conn.on_icmp(env, error.0, error.1, mtu, Some(seq))).unwrap_or(false)
    }
}
