//! What must hold for a connection at any time, for tests and simulations.

use super::common::Common;
use super::congestion::Controller;
use super::connection::{Connection, State};
use super::synchronized::{Phase, Synchronized};
use super::timers::SendTimer;

impl Connection {
    /// Everything that must hold between two calls; `Err` says what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        match &self.state {
            State::SynSent(state) => {
                let runs = state.timer.due || state.is_deferred() || self.deadline().is_some();
                check(runs, "a SYN without a timer")
            }
            State::SynReceived(state) => {
                check(state.timer.due || self.deadline().is_some(), "a SYN-ACK without a timer")
            }
            State::Synchronized(state) => state.check_invariants(&self.common),
            State::TimeWait(_) => check(self.deadline().is_some(), "TIME-WAIT without an end"),
            State::Closed(_) => check(self.deadline().is_none(), "a timer in CLOSED"),
        }
    }
}

impl Synchronized {
    fn check_invariants(&self, common: &Common) -> Result<(), String> {
        let (snd, rcv) = (&self.snd, &self.rcv);
        let last = snd.data_end().add(u32::from(snd.fin));
        check(snd.una.at_or_before(snd.nxt), "SND.UNA is after SND.NXT")?;
        check(snd.nxt.at_or_before(last), "SND.NXT is after what was queued")?;
        check(
            snd.fin_acked() || snd.seq(snd.buffer.start()) == snd.una,
            "the send buffer does not begin at SND.UNA",
        )?;
        let flight = snd.flight();
        check(flight <= snd.max_wnd.saturating_add(1), "more in flight than any window allowed")?;
        check(snd.congestion.cwnd() >= snd.mss, "a congestion window below one segment")?;
        check(snd.buffer.len() <= 1 << 30, "the send buffer is beyond all bounds")?;
        let start = snd.offset(snd.una);
        snd.out.board.check(start..start + u64::from(flight))?;
        let armed = self.timers.send != SendTimer::Idle;
        check(flight == 0 || armed, "data or FIN in flight without a timer")?;
        let waits = snd.wants_to_send() && flight == 0 && !common.output_due;
        let paced = snd.out.pacer.wakes_at().is_some();
        check(!waits || armed || paced || self.timers.hold.is_some(), "data waits without a timer")?;
        check(self.rto_at().is_none() || flight > 0, "a timer for nothing in flight")?;
        check(rcv.last_ack_sent.at_or_before(rcv.nxt()), "acknowledged what did not come")?;
        check(rcv.wnd() < 1 << 30, "a receive window beyond 2^30")?;
        let ahead = rcv.buffer.ahead();
        check(
            ahead.first().is_none_or(|range| range.start > rcv.buffer.next_offset()),
            "in-order data kept as out of order",
        )?;
        let beyond = ahead.last().map_or(0, |range| range.end);
        check((beyond as i64) <= rcv.offset(rcv.window.edge()), "kept what lies beyond the window")?;
        let peer_done = matches!(self.phase, Phase::CloseWait | Phase::Closing | Phase::LastAck);
        check(rcv.eof == peer_done, "the phase does not fit the peer's FIN")?;
        let user_done = !matches!(self.phase, Phase::Established | Phase::CloseWait);
        check(snd.fin == user_done, "the phase does not fit our FIN")
    }
}

fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
