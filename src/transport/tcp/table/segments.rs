//! Segments that arrive: to the connection they belong to, or to the rules of CLOSED and LISTEN.
//!
//! RFC 9293 §3.10.7.1 (CLOSED) and §3.10.7.2 (LISTEN); the other states are a connection's own.

use super::{ConnId, MAX_REPLIES, Owner, Reply, Tcp};
use crate::base::Errno;
use crate::trace::{Drop, Flow, Reason};
use crate::transport::Env;
use crate::transport::tcp::connection::{Connection, Mtus, SegmentMeta, Verdict};
use crate::transport::tcp::isn::tuple;
use crate::transport::tcp::listener::ListenerId;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Segment};
use std::sync::Arc;

impl Tcp {
    /// A segment arrived for one of our addresses. `mtus` are asked only for a SYN.
    pub fn input(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        segment: &Segment<'_>,
        meta: SegmentMeta,
        mtus: Mtus,
    ) -> Reason {
        let Some(&id) = self.demux.get(&tuple(&flow)) else {
            return self.input_without_connection(env, flow, segment, mtus);
        };
        if let Owner::Embryo(listener) = self.connections[id].owner
            && let Some(reason) = self.hold_back(env, listener, id, segment)
        {
            return reason;
        }
        let verdict = self.connections[id].conn.on_segment(env, segment, meta);
        self.settle(env, id);
        match verdict {
            Verdict::Taken => Reason::Taken,
            Verdict::Dropped(why) => Reason::Dropped(why),
            Verdict::Reset(why) => {
                self.reset(env, flow, segment);
                Reason::Dropped(why)
            }
            Verdict::Reopen => self.reopen(env, id, segment, mtus),
        }
    }

    /// A segment that would finish a handshake is dropped while the accept queue is full (the SYN-ACK is sent again
    /// and the peer tries again), and, with `TCP_DEFER_ACCEPT`, until it brings data.
    fn hold_back(
        &mut self,
        env: &mut Env<'_>,
        listener: ListenerId,
        id: ConnId,
        segment: &Segment<'_>,
    ) -> Option<Reason> {
        if segment.flags.intersects(Flags::SYN | Flags::RST) || !segment.flags.contains(Flags::ACK) {
            return None;
        }
        let listener = self.listeners.get(listener)?;
        if listener.is_full() {
            env.counters.tcp_ext_listen_overflows += 1;
            if env.config.tcp_abort_on_overflow {
                self.reset(env, self.connections[id].conn.flow(), segment);
                self.remove(id);
            }
            return Some(Reason::Dropped(Drop::ListenerFull));
        }
        let defer = listener.options.defer_accept;
        let age = env.now.since(self.connections[id].opened);
        (!defer.is_zero() && age < defer && segment.is_empty()).then_some(Reason::Dropped(Drop::Ignored))
    }

    /// RFC 9293 §3.10.7.1 and §3.10.7.2.
    fn input_without_connection(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        segment: &Segment<'_>,
        mtus: Mtus,
    ) -> Reason {
        if segment.flags.contains(Flags::RST) {
            return Reason::Dropped(Drop::NoSocket);
        }
        let Some(listener) = self.find_listener(flow.local, flow.remote) else {
            self.reset(env, flow, segment);
            return Reason::Dropped(Drop::NoSocket);
        };
        if segment.flags.contains(Flags::ACK) {
            self.reset(env, flow, segment);
            return Reason::Dropped(Drop::AckInvalid);
        }
        // A SYN with FIN is nonsense that Linux drops too.
        if !segment.flags.contains(Flags::SYN) || segment.flags.contains(Flags::FIN) {
            return Reason::Dropped(Drop::Ignored);
        }
        self.accept_syn(env, listener, flow, segment, mtus, None)
    }

    fn accept_syn(
        &mut self,
        env: &mut Env<'_>,
        listener: ListenerId,
        flow: Flow,
        segment: &Segment<'_>,
        mtus: Mtus,
        iss_above: Option<SeqNumber>,
    ) -> Reason {
        let options = &self.listeners[listener];
        if options.is_full() {
            env.counters.tcp_ext_listen_overflows += 1;
        }
        let no_room = self.connections.len() >= env.config.tcp_max_connections as usize;
        if no_room || options.has_no_room_for_syn(env.config) {
            env.counters.tcp_ext_listen_drops += 1;
            return Reason::Dropped(Drop::ListenerFull);
        }
        let mut isn = self.isn.isn(env.now, &flow);
        if let Some(floor) = iss_above {
            isn.iss = isn.iss.max(floor.add(1));
        }
        let (settings, reuse_addr) = (Arc::clone(&options.options.settings), options.options.reuse_addr);
        let conn = Connection::accept_syn(env, flow, isn, segment, settings, mtus);
        let id = self.insert(env.now, conn, Owner::Embryo(listener), reuse_addr);
        self.listeners[listener].embryos.insert(id);
        self.settle(env, id);
        Reason::Taken
    }

    /// A SYN that may open a new incarnation of a connection in TIME-WAIT (RFC 6191, RFC 9293 MAY-2), or one that
    /// replaces a half-open connection.
    fn reopen(&mut self, env: &mut Env<'_>, id: ConnId, segment: &Segment<'_>, mtus: Mtus) -> Reason {
        let conn = &self.connections[id].conn;
        let (flow, view, iss_above) = (conn.flow(), conn.view(), conn.reopen_iss_floor());
        let held = matches!(self.connections[id].owner, Owner::Socket(_));
        let Some(listener) = self.find_listener(flow.local, flow.remote) else {
            let (seq, ack) = (SeqNumber(view.snd_nxt), SeqNumber(view.rcv_nxt));
            self.replies.push_back(Reply { flow, seq, ack, flags: Flags::ACK });
            return Reason::Dropped(Drop::ChallengedSyn);
        };
        env.counters.tcp_ext_tw_recycled += u64::from(self.connections[id].in_time_wait);
        if held {
            self.with(env, id, Connection::abort);
            self.forget_time_wait(id);
            self.unlink(id);
        } else {
            self.remove(id);
        }
        self.accept_syn(env, listener, flow, segment, mtus, Some(iss_above))
    }

    /// RFC 9293 §3.5.2, §3.10.7.1: a reset in answer to `segment`, never to a reset. As on Linux without timestamps: it belongs to
    /// no connection that has agreed on them (7323-3.2-rst).
    fn reset(&mut self, env: &mut Env<'_>, flow: Flow, segment: &Segment<'_>) {
        if segment.flags.contains(Flags::RST) || self.replies.len() == MAX_REPLIES {
            return;
        }
        env.counters.tcp_out_rsts += 1;
        let reply = if segment.flags.contains(Flags::ACK) {
            Reply { flow, seq: segment.ack, ack: SeqNumber(0), flags: Flags::RST }
        } else {
            Reply { flow, seq: SeqNumber(0), ack: segment.end(), flags: Flags::RST | Flags::ACK }
        };
        self.replies.push_back(reply);
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
        let Some(&id) = self.demux.get(&tuple(&flow)) else { return false };
        self.with(env, id, |conn, env| conn.on_icmp(env, error.0, error.1, mtu, Some(seq))).unwrap_or(false)
    }
}
