//! TIME-WAIT (RFC 9293 §3.6.1, §3.10.7.4; RFC 6191; RFC 1337): a small record that answers for the connection for 2 MSL.

use super::common::Common;
use super::connection::{Limits, Outgoing, Verdict};
use super::synchronized::Synchronized;
use super::timestamps::{self, Timestamps};
use crate::base::{Duration, Instant};
use crate::trace::{Drop, TcpState, Timer, View, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment};

/// How long the peer must have been silent before its ports are used again (Linux's `tcp_tw_reuse_delay`).
const REUSE_DELAY: Duration = Duration::from_secs(1);

/// What remains of a connection.
#[derive(Clone, Debug)]
pub(super) struct TimeWait {
    irs: SeqNumber,
    pub snd_nxt: SeqNumber,
    snd_wnd: u32,
    pub rcv_nxt: SeqNumber,
    rcv_wnd: u32,
    scale: u8,
    timestamps: Option<Timestamps>,
    pub expires: Instant,
    ack_due: Option<Why>,
}

impl TimeWait {
    /// The record of a connection that ends now.
    pub fn new(sync: &Synchronized, env: &Env) -> TimeWait {
        let pending = sync.rcv.ack.due != super::delayed_ack::Due::No;
        TimeWait {
            irs: sync.rcv.irs,
            snd_nxt: sync.snd.nxt,
            snd_wnd: sync.snd.wnd,
            rcv_nxt: sync.rcv.nxt(),
            rcv_wnd: sync.rcv.wnd(),
            scale: sync.rcv.window.scale,
            timestamps: sync.rcv.timestamps,
            expires: env.now + env.config.tcp_timewait_len,
            ack_due: pending.then_some(Why::Ack),
        }
    }

    /// A segment arrived.
    pub fn on_segment(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Verdict {
        // RFC 1337 §3 (F1): resets are ignored, so that an old duplicate's answer cannot end TIME-WAIT early.
        if seg.flags.contains(Flags::RST) {
            return Verdict::Dropped(Drop::Ignored);
        }
        if seg.flags.contains(Flags::SYN) && !seg.flags.contains(Flags::ACK) && self.may_reopen(seg, env.now)
        {
            return Verdict::Reopen;
        }
        let old = match (&self.timestamps, seg.options.timestamps) {
            (Some(ts), Some(option)) => ts.is_old(option.value, env.now),
            (Some(_), None) | (None, _) => false,
        };
        let fin = seg.flags.contains(Flags::FIN) && seg.end() == self.rcv_nxt;
        if fin && !old && !seg.flags.contains(Flags::SYN) {
            // The peer did not get our last acknowledgment: again, and 2 MSL from now.
            self.expires = env.now + env.config.tcp_timewait_len;
            if let Some(option) = seg.options.timestamps.filter(|_| self.timestamps.is_some()) {
                self.timestamps = Some(Timestamps { recent: option.value, recent_at: env.now });
            }
            self.ack_due = Some(Why::Ack);
            common.output_due = true;
            return Verdict::Taken;
        }
        // Everything else that takes sequence space or is off is acknowledged now and then; a plain acknowledgment is not.
        let exact = seg.is_empty() && seg.seq == self.rcv_nxt && seg.ack.at_or_before(self.snd_nxt);
        if !exact && common.may_challenge(env) {
            self.ack_due = Some(Why::Challenge);
            common.output_due = true;
        }
        match (old, seg.flags.contains(Flags::SYN)) {
            (true, _) => Verdict::Dropped(Drop::OldTimestamp),
            (false, true) => Verdict::Dropped(Drop::ChallengedSyn),
            (false, false) => Verdict::Dropped(Drop::Ignored),
        }
    }

    /// May this SYN open a new incarnation (RFC 6191 §2)?
    fn may_reopen(&self, seg: &Segment<'_>, now: Instant) -> bool {
        // Above the last number that the peer used, its FIN's.
        let higher = !seg.seq.before(self.rcv_nxt);
        match (&self.timestamps, seg.options.timestamps) {
            (Some(ts), Some(option)) if ts.is_old(option.value, now) => false,
            (Some(ts), Some(option)) => higher || timestamps::before(ts.recent, option.value),
            (Some(_), None) | (None, None) => higher,
            (None, Some(_)) => true,
        }
    }

    /// May a connection that we open take its place? With timestamps, once they have moved on: what is left of the old one then fails
    /// the peer's PAWS check (RFC 7323 §5.3), and the peer, should it still be there, takes the larger one (RFC 6191 §2).
    pub fn may_be_replaced(&self, now: Instant) -> bool {
        self.timestamps.is_some_and(|ts| now.since(ts.recent_at) > REUSE_DELAY)
    }

    /// The acknowledgment, if one is due.
    pub fn next_segment<'a>(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        _limits: &Limits,
    ) -> Option<Outgoing<'a>> {
        common.output_due = false;
        let why = self.ack_due.take()?;
        env.counters.tcp_out_segs += 1;
        env.counters.tcp_ext_challenge_ack += u64::from(why == Why::Challenge);
        let timestamps = self.timestamps.map(|ts| crate::wire::tcp::Timestamps {
            value: timestamps::clock(env.now, &common.isn),
            echo: ts.recent,
        });
        Some(Outgoing {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: (self.rcv_wnd >> self.scale).min(65_535) as u16,
            urgent: 0,
            options: Options { timestamps, ..Options::default() },
            payload: [&[]; 3],
            segment_size: 0,
            why,
            ttl: common.settings.ttl,
            tos: common.settings.tos,
            dont_fragment: common.settings.discover_mtu,
            before: env.trace.is_on().then(|| self.view(common)),
        })
    }

    /// Is it over?
    pub fn on_timeout(&self, common: &Common, env: &mut Env) -> bool {
        let over = self.expires <= env.now;
        if over {
            common.fired(env, Timer::TimeWait, 1);
        }
        over
    }

    /// The key variables.
    pub fn view(&self, common: &Common) -> View {
        View {
            state: TcpState::TimeWait,
            iss: common.isn.iss.0,
            irs: self.irs.0,
            snd_una: self.snd_nxt.0,
            snd_nxt: self.snd_nxt.0,
            snd_wnd: self.snd_wnd,
            rcv_nxt: self.rcv_nxt.0,
            rcv_wnd: self.rcv_wnd,
            cwnd: 0,
            ssthresh: 0,
            srtt: None,
            rto: Duration::ZERO,
        }
    }
}
