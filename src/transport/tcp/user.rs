//! What a socket calls (RFC 9293 §3.9.1, §3.10.1 to §3.10.6): non-blocking, with Linux's error numbers and order of checks.

use super::common::Common;
use super::connection::{Connection, Read, State};
use super::delayed_ack::Due;
use super::handshake;
use super::rtt::Estimate;
use super::settings::Settings;
use super::synchronized::{Phase, Synchronized};
use super::timers::SendTimer;
use crate::base::io::{Source, Target};
use crate::base::{Errno, MsgFlags, Readiness};
use crate::transport::Env;

impl Connection {
    /// Queues data; returns how much was taken. Flags: `OOB`, `MORE`, `EOR`.
    ///
    /// # Errors
    /// The pending error, once; `EPIPE` after the sending side was shut; `EAGAIN` when the buffer is full.
    pub fn send(&mut self, env: &mut Env, data: Source<'_>, flags: MsgFlags) -> Result<usize, Errno> {
        if let Some(error) = self.common.error.take() {
            return Err(error);
        }
        let common = &mut self.common;
        match &mut self.state {
            State::SynSent(state) => {
                let sent = handshake::send_early(&mut state.early, common, env, data, flags)?;
                if state.is_deferred() {
                    state.timer.due = true;
                    common.output_due = true;
                }
                Ok(sent)
            }
            State::SynReceived(state) => handshake::send_early(&mut state.early, common, env, data, flags),
            State::Synchronized(state) => state.send(common, env, data, flags),
            State::TimeWait(_) | State::Closed(_) => Err(Errno::EPIPE),
        }
    }

    /// Takes received data. Flags: `PEEK`, `OOB`, `TRUNC` (throw away instead of copying).
    ///
    /// # Errors
    /// The pending error, once, when no data is left; `EAGAIN` when there is nothing yet; for `OOB` also `EINVAL`.
    pub fn recv(&mut self, env: &mut Env, into: Target<'_>, flags: MsgFlags) -> Result<Read, Errno> {
        let common = &mut self.common;
        let got = match &mut self.state {
            State::SynSent(_) | State::SynReceived(_) if flags.contains(MsgFlags::OOB) => {
                return Err(Errno::EINVAL);
            }
            State::SynSent(_) | State::SynReceived(_) => None,
            State::Synchronized(state) if flags.contains(MsgFlags::OOB) => {
                let Target::Slice(buf) = into else { return Err(Errno::EINVAL) };
                let len = state.fetch_urgent(common, buf, flags.contains(MsgFlags::PEEK))?;
                return Ok(Read { len, oob: len > 0 });
            }
            State::Synchronized(state) => state.recv(common, env, into, flags),
            State::TimeWait(_) | State::Closed(_) if flags.contains(MsgFlags::OOB) => {
                return Err(Errno::EINVAL);
            }
            State::TimeWait(_) | State::Closed(_) => common.recv_unread(env, into, flags),
        };
        match got {
            Some(len) => Ok(Read { len, oob: false }),
            // As Linux: after the peer's FIN an error is for those who send.
            None if self.peer_is_done() => Ok(Read::default()),
            None if self.is_at_end() && self.common.error.is_none() => Ok(Read::default()),
            None => Err(self.common.error.take().unwrap_or(Errno::EAGAIN)),
        }
    }

    /// Has the peer's FIN come, after everything before it?
    fn peer_is_done(&self) -> bool {
        match &self.state {
            State::SynSent(_) | State::SynReceived(_) => false,
            State::Synchronized(state) => state.rcv.eof,
            State::TimeWait(_) | State::Closed(_) => self.common.peer_done,
        }
    }

    /// Will nothing more come?
    fn is_at_end(&self) -> bool {
        match &self.state {
            State::SynSent(_) | State::SynReceived(_) => false,
            State::Synchronized(state) => state.rcv.eof || self.common.shut_read,
            State::TimeWait(_) | State::Closed(_) => true,
        }
    }

    /// Shuts one or both directions.
    ///
    /// # Errors
    /// `ENOTCONN` when the connection is over.
    pub fn shutdown(&mut self, env: &mut Env, read: bool, write: bool) -> Result<(), Errno> {
        let common = &mut self.common;
        match &mut self.state {
            // As Linux: an attempt to open ends.
            State::SynSent(_) => self.end(env, None, None),
            State::SynReceived(state) => {
                common.shut_read |= read;
                if write {
                    state.early.get_or_insert_default().shut_write = true;
                }
            }
            State::Synchronized(state) => {
                if read && !common.shut_read {
                    common.shut_read = true;
                    common.wakes |= Readiness::READABLE | Readiness::READ_HANGUP;
                }
                if write {
                    state.shut_write(common, env);
                }
                self.common.wakes |= self.readiness() & Readiness::HANGUP;
            }
            State::TimeWait(_) | State::Closed(_) => return Err(Errno::ENOTCONN),
        }
        Ok(())
    }

    /// The user is gone. Unread data makes it a reset (RFC 9293 §3.6.1, SHLD-3), else the connection ends in the background.
    pub fn close(&mut self, env: &mut Env) {
        self.common.orphan = true;
        self.common.error = None;
        if let Some(mut unread) = self.common.unread.take() {
            unread.clear(env.pool);
        }
        let common = &mut self.common;
        match &mut self.state {
            State::SynSent(_) => self.end(env, None, None),
            State::SynReceived(state) => state.early.get_or_insert_default().shut_write = true,
            State::Synchronized(state) if state.rcv.buffer.unread() > 0 => {
                env.counters.tcp_ext_abort_on_close += 1;
                let reset = self.pending_reset();
                self.end(env, None, reset);
            }
            State::Synchronized(state) => {
                state.shut_write(common, env);
                state.await_peer_fin(common, env);
            }
            State::TimeWait(_) | State::Closed(_) => {}
        }
    }

    /// Reset now; the user may or may not stay.
    pub fn abort(&mut self, env: &mut Env) {
        let reset = self.pending_reset();
        let error = match self.state {
            State::SynSent(_) | State::SynReceived(_) | State::Synchronized(_) => Some(Errno::ECONNRESET),
            State::TimeWait(_) | State::Closed(_) => None,
        };
        self.end(env, error, reset);
    }

    /// Ends with `error` and without a packet.
    pub fn fail(&mut self, env: &mut Env, error: Errno) {
        self.end(env, Some(error), None);
    }

    /// Settings were changed.
    pub fn apply(&mut self, env: &mut Env, settings: Settings) {
        let old = core::mem::replace(&mut self.common.settings, settings.into());
        let common = &mut self.common;
        let receive = |of: &Settings| (of.rcv_buf, of.rcv_buf_locked);
        let send = |of: &Settings| (of.snd_buf, of.snd_buf_locked);
        if receive(&common.settings) != receive(&old) {
            common.rcv_buf = common.settings.rcv_buf;
        }
        if send(&common.settings) != send(&old) {
            common.snd_buf = common.settings.snd_buf;
        }
        let State::Synchronized(state) = &mut self.state else { return };
        let new = &common.settings;
        let keep = |of: &Settings| (of.keep_alive, of.keep_idle, of.keep_intvl);
        if keep(new) != keep(&old)
            && let SendTimer::KeepAlive { .. } = state.timers.send
        {
            state.timers.send = SendTimer::Idle;
        }
        if old.cork && !new.cork {
            state.timers.hold = None;
        }
        if old.congestion != new.congestion {
            let snd = &mut state.snd;
            let rtt = match snd.rtt.estimate {
                Estimate::NoSample => None,
                Estimate::Measured { srtt, .. } => Some(srtt),
            };
            snd.congestion.switch(env, new.congestion, snd.mss, rtt);
        }
        // What a setting held back may go now; timers follow at the end of the round.
        common.output_due = true;
        let (linger2, rcv_buf) = (new.linger2, new.rcv_buf);
        if rcv_buf > old.rcv_buf {
            state.on_read(common, env);
        }
        if linger2 != old.linger2 && state.timers.fin_wait2.is_some() {
            state.await_peer_fin(common, env);
        }
        state.snd.was_writable = state.snd.is_writable(common.snd_buf, common.settings.notsent_lowat);
    }

    /// `TCP_QUICKACK` was set; each time counts, whatever it was before.
    pub fn set_quick_ack(&mut self, on: bool) {
        if let State::Synchronized(state) = &mut self.state {
            state.rcv.ack.set_quick(on);
            self.common.output_due = true;
        }
    }

    /// `SO_ERROR`: the pending error, else a soft one; cleared by reading.
    pub fn take_error(&mut self) -> Option<Errno> {
        self.common.error.take().or_else(|| self.common.soft_error.take())
    }

    /// The last soft error that no progress has cleared (RFC 9293 §3.9.1.8).
    pub fn soft_error(&self) -> Option<Errno> {
        self.common.soft_error
    }

    // --- questions -----------------------------------------------------------------------------------------------

    /// What `poll` reports now, as Linux's `tcp_poll`.
    pub fn readiness(&self) -> Readiness {
        let common = &self.common;
        let mut ready = match &self.state {
            // As Linux: whoever writes opens the connection.
            State::SynSent(state) if state.is_deferred() => Readiness::WRITABLE,
            State::SynSent(_) | State::SynReceived(_) => Readiness::empty(),
            State::Synchronized(state) => state.readiness(common),
            State::TimeWait(_) | State::Closed(_) => {
                Readiness::READABLE | Readiness::WRITABLE | Readiness::READ_HANGUP | Readiness::HANGUP
            }
        };
        ready.set(Readiness::ERROR, common.error.is_some());
        ready
    }

    /// Edges since the last call; data that joins data already readable is an edge too (`EPOLLET`).
    pub fn take_wakes(&mut self) -> Readiness {
        core::mem::take(&mut self.common.wakes)
    }

    /// `FIONREAD`.
    pub fn bytes_readable(&self) -> usize {
        match &self.state {
            State::Synchronized(state) => state.readable(&self.common),
            State::SynSent(_) | State::SynReceived(_) => 0,
            State::TimeWait(_) | State::Closed(_) => {
                self.common.unread.as_ref().map_or(0, |buffer| buffer.unread())
            }
        }
    }

    /// Octets queued and not acknowledged (`SIOCOUTQ`).
    pub fn bytes_unacked(&self) -> usize {
        match &self.state {
            State::Synchronized(state) => state.snd.buffer.len(),
            State::SynSent(state) => state.early.as_ref().map_or(0, |early| early.buffer.len()),
            State::SynReceived(state) => state.early.as_ref().map_or(0, |early| early.buffer.len()),
            State::TimeWait(_) | State::Closed(_) => 0,
        }
    }

    /// `SIOCATMARK`.
    pub fn at_mark(&self) -> bool {
        match &self.state {
            State::Synchronized(state) => state.at_mark(),
            State::SynSent(_) | State::SynReceived(_) | State::TimeWait(_) | State::Closed(_) => false,
        }
    }

    /// Has it data or a FIN that the peer has not acknowledged?
    pub fn lingers(&self) -> bool {
        match &self.state {
            State::SynSent(_) | State::TimeWait(_) | State::Closed(_) => false,
            State::SynReceived(_) => true,
            State::Synchronized(state) => {
                state.snd.buffer.len() > 0 || state.snd.fin && !state.snd.fin_acked()
            }
        }
    }
}

impl Common {
    /// Data that outlived the synchronized states.
    fn recv_unread(&mut self, env: &mut Env, into: Target<'_>, flags: MsgFlags) -> Option<usize> {
        let buffer = self.unread.as_mut()?;
        let read = buffer.read_offset();
        let room = into.len().min(buffer.unread());
        let trunc = flags.contains(MsgFlags::TRUNC);
        let len = if trunc { room } else { buffer.give(env.pool, read, room, into) };
        if !flags.contains(MsgFlags::PEEK) {
            buffer.consume(env.pool, read + len as u64);
            if buffer.unread() == 0 {
                self.unread = None;
            }
        }
        Some(len)
    }
}

impl Synchronized {
    fn send(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        data: Source<'_>,
        flags: MsgFlags,
    ) -> Result<usize, Errno> {
        let snd = &mut self.snd;
        if snd.fin {
            return Err(Errno::EPIPE);
        }
        let room = (common.snd_buf as usize).saturating_sub(snd.buffer.len());
        let held_back = snd.unsent() >= common.settings.notsent_lowat;
        if !data.is_empty() && (room == 0 || held_back) {
            snd.was_writable = false;
            return Err(Errno::EAGAIN);
        }
        let (count, all) = (room.min(data.len()), room >= data.len());
        snd.on_offer();
        snd.buffer.take(env.pool, data, count);
        snd.more = flags.contains(MsgFlags::MORE) && all;
        if flags.contains(MsgFlags::EOR) && all && count > 0 {
            snd.buffer.mark_boundary();
        }
        if flags.contains(MsgFlags::OOB) && count > 0 {
            // RFC 9293 §3.10.2: SND.UP is what follows the urgent data.
            snd.urgent = Some(snd.data_end());
        }
        snd.was_writable = snd.is_writable(common.snd_buf, common.settings.notsent_lowat);
        common.output_due = true;
        Ok(count)
    }

    /// Octets of data; `None` when there are none.
    fn recv(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        into: Target<'_>,
        flags: MsgFlags,
    ) -> Option<usize> {
        let buffer = &mut self.rcv.buffer;
        let (mut from, next) = (buffer.read_offset(), buffer.next_offset());
        let inline = common.settings.oob_inline;
        let mark = self.rcv.urgent.as_ref().map(|urgent| urgent.at).filter(|at| (from..next).contains(at));
        // Reading stops in front of the mark; from there the urgent octet is taken out of the stream, or read in line.
        let end = match mark {
            Some(at) if at > from => at,
            Some(_) if !inline => {
                from += 1;
                next
            }
            Some(_) | None => next,
        };
        let room = into.len().min((end - from) as usize);
        if from < end {
            let trunc = flags.contains(MsgFlags::TRUNC);
            let len = if trunc { room } else { buffer.give(env.pool, from, room, into) };
            if !flags.contains(MsgFlags::PEEK) && len > 0 {
                buffer.consume(env.pool, from + len as u64);
                self.forget_read_mark();
                self.rcv.ack.on_read(self.rcv.buffer.unread() == 0);
                common.output_due |= self.rcv.ack.due == Due::Now;
                self.on_read(common, env);
            }
            return Some(len);
        }
        if from > buffer.read_offset() && !flags.contains(MsgFlags::PEEK) {
            buffer.consume(env.pool, from);
            self.forget_read_mark();
        }
        None
    }

    fn forget_read_mark(&mut self) {
        let read = self.rcv.buffer.read_offset();
        self.rcv.urgent.take_if(|urgent| urgent.at < read);
    }

    /// Octets that a read would give, up to the urgent mark.
    pub fn readable(&self, common: &Common) -> usize {
        let (read, next) = (self.rcv.buffer.read_offset(), self.rcv.buffer.next_offset());
        let end = match &self.rcv.urgent {
            Some(urgent) if !common.settings.oob_inline && urgent.at >= read && urgent.at < next => urgent.at,
            Some(_) | None => next,
        };
        (end - read) as usize
    }

    /// Does what has come reach the low water mark? As on Linux the urgent octet counts unless it is the next one.
    pub fn has_input(&self, common: &Common) -> bool {
        let at_mark = !common.settings.oob_inline && self.at_mark();
        let target = (common.settings.rcv_lowat as usize).max(1) + usize::from(at_mark);
        self.rcv.buffer.unread() >= target
    }

    fn readiness(&self, common: &Common) -> Readiness {
        let mut ready = Readiness::empty();
        let peer_done = match self.phase {
            Phase::CloseWait | Phase::Closing | Phase::LastAck => true,
            Phase::Established | Phase::FinWait1 | Phase::FinWait2 => false,
        };
        let read_shut = peer_done || common.shut_read;
        ready.set(Readiness::READ_HANGUP, read_shut);
        ready.set(Readiness::HANGUP, read_shut && self.snd.fin);
        ready.set(Readiness::READABLE, read_shut || self.has_input(common));
        let writable = self.snd.is_writable(common.snd_buf, common.settings.notsent_lowat);
        ready.set(Readiness::WRITABLE, self.snd.fin || writable);
        ready.set(Readiness::PRIORITY, self.urgent_ready());
        ready
    }
}
