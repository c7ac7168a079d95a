//! SYNs that reach a listener (RFC 9293 §3.10.7.2): a half-open connection, a SYN cookie where there is no room for one, or a new
//! incarnation of a connection in TIME-WAIT.

use super::segments::Arrival;
use super::{ConnId, Entry, MAX_REPLIES, Owner, Reply, Tcp};
use crate::trace::{Drop, Reason, TcpState};
use crate::transport::Env;
use crate::transport::tcp::connection::Connection;
use crate::transport::tcp::listener::ListenerId;
use crate::transport::tcp::syn_cookie;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::Flags;
use std::sync::Arc;

impl Tcp {
    /// A SYN for a listener; `iss_above` when it reopens an old connection.
    pub(super) fn accept_syn(
        &mut self,
        env: &mut Env<'_>,
        listener: ListenerId,
        arrival: &Arrival<'_>,
        iss_above: Option<SeqNumber>,
    ) -> Reason {
        let Arrival { flow, segment, meta, mtus } = *arrival;
        let options = &self.listeners[listener];
        let overflow = options.is_full();
        env.counters.tcp_ext_listen_overflows += u64::from(overflow);
        if overflow || self.connections.len() >= env.config.tcp_max_connections as usize {
            return drop_syn(env);
        }
        let queue_full = options.is_syn_queue_full(env.config);
        // A cookie cannot be above the numbers of an old connection; as on Linux there is always room for what reopens one.
        if iss_above.is_none() && (queue_full || env.config.tcp_syncookies == 2) {
            return self.answer_with_cookie(env, listener, arrival);
        }
        let mut isn = self.isn.isn(env.now, &flow);
        if let Some(floor) = iss_above {
            isn.iss = isn.iss.max(floor.add(1));
        }
        let (settings, reuse_addr) = (Arc::clone(&options.options.settings), options.options.reuse_addr);
        let decision = self.fast_open_keys.decide(env, &mut self.listeners[listener], &flow, segment);
        if decision.accept {
            let syn = (segment, meta);
            let mtus = mtus(env.config);
            let conn = Connection::accept_fast(env, (flow, isn), syn, decision, settings, mtus);
            let id = self.insert(env.now, conn, Owner::Queued(listener), reuse_addr);
            if let Some(entry) = self.connections.get_mut(id) {
                entry.pending_of = Some(listener);
                self.listeners[listener].pending.count += 1;
            }
            self.finish_handshake(env, listener, id);
            self.settle(env, id);
            return Reason::Taken;
        }
        let mut conn = Connection::accept_syn(env, flow, isn, segment, settings, mtus(env.config));
        conn.offer_cookie(decision.cookie);
        let id = self.insert(env.now, conn, Owner::Embryo(listener), reuse_addr);
        self.listeners[listener].embryos.insert(id);
        self.settle(env, id);
        Reason::Taken
    }

    /// RFC 4987 §3.6: there is no room to remember this SYN, so its answer must do that.
    fn answer_with_cookie(
        &mut self,
        env: &mut Env<'_>,
        listener: ListenerId,
        arrival: &Arrival<'_>,
    ) -> Reason {
        if env.config.tcp_syncookies == 0 {
            env.counters.tcp_ext_req_q_full_drop += 1;
            return drop_syn(env);
        }
        env.counters.tcp_ext_req_q_full_do_cookies += 1;
        let Arrival { flow, segment, mtus, .. } = *arrival;
        let listener = &mut self.listeners[listener];
        let ends = (flow, self.isn.isn(env.now, &flow));
        let answer = self.cookies.answer(env, segment, ends, &listener.options.settings, mtus(env.config));
        let Some(answer) = answer.filter(|_| self.replies.len() < MAX_REPLIES) else {
            return drop_syn(env);
        };
        listener.last_cookie = Some(env.now);
        env.counters.tcp_ext_syncookies_sent += 1;
        env.counters.tcp_out_segs += 1;
        self.replies.push_back(answer);
        Reason::Taken
    }

    /// An acknowledgment for a listener, of which it knows no connection: good when it brings back a cookie.
    pub(super) fn accept_cookie(
        &mut self,
        env: &mut Env<'_>,
        listener_id: ListenerId,
        arrival: &Arrival<'_>,
    ) -> Option<Reason> {
        let Arrival { flow, segment, meta, mtus } = *arrival;
        let listener = &self.listeners[listener_id];
        // As Linux: nothing is looked at while no cookie is about.
        let awaited = syn_cookie::may_answer(listener.last_cookie, env.now);
        if !awaited || env.config.tcp_syncookies == 0 || segment.flags.contains(Flags::SYN) {
            return None;
        }
        let isn = self.isn.isn(env.now, &flow);
        let Some(syn) = self.cookies.recall(env.now, &isn, &flow, segment) else {
            env.counters.tcp_ext_syncookies_failed += 1;
            return None;
        };
        env.counters.tcp_ext_syncookies_recv += 1;
        let overflow = listener.is_full();
        env.counters.tcp_ext_listen_overflows += u64::from(overflow);
        if overflow && env.config.tcp_abort_on_overflow {
            return None;
        }
        if overflow || self.connections.len() >= env.config.tcp_max_connections as usize {
            return Some(drop_syn(env));
        }
        let (settings, reuse_addr) = (Arc::clone(&listener.options.settings), listener.options.reuse_addr);
        let isn = super::super::Isn { iss: segment.ack.sub(1), ..isn };
        let conn = Connection::from_cookie(env, (flow, isn), &syn, settings, mtus(env.config))?;
        let id = self.insert(env.now, conn, Owner::Embryo(listener_id), reuse_addr);
        self.with(env, id, |conn, env| {
            conn.on_segment(env, segment, meta);
            debug_assert_ne!(conn.state(), TcpState::SynReceived);
        });
        Some(Reason::Taken)
    }

    /// A SYN that may open a new incarnation of a connection in TIME-WAIT (RFC 6191, RFC 9293 MAY-2), or one that
    /// replaces a half-open connection.
    pub(super) fn reopen(&mut self, env: &mut Env<'_>, id: ConnId, arrival: &Arrival<'_>) -> Reason {
        let flow = arrival.flow;
        let old = self.look(id, |conn| (conn.view(), conn.reopen_iss_floor()));
        let Some((view, iss_above)) = old else { return Reason::Dropped(Drop::NoSocket) };
        let Some(listener) = self.find_listener(flow.local, flow.remote) else {
            let numbers = (SeqNumber(view.snd_nxt), SeqNumber(view.rcv_nxt));
            self.replies.push_back(Reply::bare(env.config, flow, numbers, Flags::ACK));
            return Reason::Dropped(Drop::ChallengedSyn);
        };
        self.replace(env, id);
        self.accept_syn(env, listener, arrival, Some(iss_above))
    }

    /// An old connection gives its four-tuple to a new one.
    pub(super) fn replace(&mut self, env: &mut Env<'_>, id: ConnId) {
        let Some(&mut Entry { owner, in_time_wait, .. }) = self.connections.get_mut(id) else { return };
        env.counters.tcp_ext_tw_recycled += u64::from(in_time_wait);
        if matches!(owner, Owner::Socket(_)) {
            self.with(env, id, Connection::abort);
            self.forget_time_wait(id);
            self.unlink(id);
        } else {
            self.remove(id);
        }
    }
}

fn drop_syn(env: &mut Env<'_>) -> Reason {
    env.counters.tcp_ext_listen_drops += 1;
    Reason::Dropped(Drop::ListenerFull)
}
