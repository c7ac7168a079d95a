//! Resets and challenges (RFC 9293 §3.5.2, §3.5.3, §3.10.7.4; RFC 5961).

use super::common::{Common, Next, Outcome};
use super::connection::Isn;
use super::synchronized::{Phase, Synchronized};
use super::timestamps;
use crate::base::{Errno, Instant};
use crate::trace::Drop;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Options, Segment, Timestamps};

/// A reset that is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendingReset {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    /// TS.Recent, when timestamps are in use (RFC 7323 §3.2).
    pub echo: Option<u32>,
}

impl PendingReset {
    /// The options it carries.
    pub fn options(&self, now: Instant, isn: &Isn) -> Options {
        let timestamps = self.echo.map(|echo| Timestamps { value: timestamps::clock(now, isn), echo });
        Options { timestamps, ..Options::default() }
    }
}

impl Synchronized {
    /// Second: the RST bit. Exactly at RCV.NXT it resets, elsewhere in the window it is challenged, outside it is nothing
    /// (RFC 5961 §3.2). This holds with a closed window too (MUST-66), and text in a RST means nothing (SHLD-2).
    pub fn on_reset(&mut self, common: &mut Common, env: &mut Env, seg: &Segment<'_>) -> Outcome {
        let nxt = self.rcv.nxt();
        if seg.seq == nxt {
            let error = match self.phase {
                Phase::Established | Phase::FinWait1 | Phase::FinWait2 => Some(Errno::ECONNRESET),
                // As Linux: the peer had finished, so it is our sending that fails.
                Phase::CloseWait => Some(Errno::EPIPE),
                Phase::Closing | Phase::LastAck => None,
            };
            return Outcome::taken(Next::Closed(error));
        }
        if seg.seq.since(nxt).is_some_and(|ahead| ahead < self.rcv.wnd()) {
            self.challenge(common, env);
            return Outcome::dropped(Drop::ChallengedReset);
        }
        Outcome::dropped(Drop::Unacceptable)
    }

    /// An acknowledgment of what is expected, unless one was sent a moment ago.
    pub fn challenge(&mut self, common: &mut Common, env: &mut Env) {
        if common.may_challenge(env) {
            self.rcv.challenge_due = true;
            common.output_due = true;
        }
    }

    /// The reset that ends this connection (RFC 9293 §3.10.5): SEQ = SND.NXT.
    pub fn pending_reset(&self) -> PendingReset {
        PendingReset {
            seq: self.snd.acceptable_seq(),
            ack: self.rcv.nxt(),
            echo: self.rcv.timestamps.map(|ts| ts.recent),
        }
    }
}
