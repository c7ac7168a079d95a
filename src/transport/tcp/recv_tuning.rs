//! How large the receive window becomes: Linux's dynamic right-sizing within `tcp_rmem`.
//!
//! The buffer grows to what the user takes in a round trip, with room for a sender that doubles its rate; the window follows what
//! arrives. No memory is taken for it: the buffer is a bound. A size that the user has set is never tuned, and nothing shrinks.

use super::common::Common;
use super::pack::pack_fields;
use super::receiver::Receiver;
use super::synchronized::Synchronized;
use super::timestamps;
use crate::base::{Duration, Instant};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::Segment;

/// Segments that a sender begins with, as far as a receiver knows (Linux's `TCP_INIT_CWND`).
const FIRST_SEGMENTS: u32 = 10;
/// Shorter segments do not widen the window, as on Linux.
const WORTH_WIDENING: u32 = 128;

/// What the receiver has measured, from the first text on that looks like part of a stream.
#[derive(Clone, Debug)]
pub(super) struct RecvTuning {
    /// Octets that the user took in the busiest round trip so far (`rcv_space`).
    pub space: u32,
    /// Round-trip time as the receiver sees it; zero before the first sample.
    pub rtt: Duration,
    /// The round trip that is counted: when it began, and at which stream offset of the reader, modulo 2^32.
    since: Instant,
    from: u32,
    /// The echo that was sampled last: one sample for each.
    last_echo: Option<u32>,
    /// The window that fills, for peers without timestamps: its end, and when it was first open.
    filling: Option<(SeqNumber, Instant)>,
}

pack_fields!(RecvTuning { space, rtt, since, from, last_echo, filling });

impl RecvTuning {
    fn new(space: u32, from: u32, now: Instant) -> RecvTuning {
        RecvTuning { space, rtt: Duration::ZERO, since: now, from, last_echo: None, filling: None }
    }

    /// A round trip that an echo tells.
    fn sample(&mut self, sample: Duration) {
        self.rtt = if self.rtt.is_zero() { sample } else { (self.rtt.mul(7) + sample).div(8) };
    }

    /// A whole window came in `sample`: a round trip takes no longer.
    fn sample_window(&mut self, sample: Duration) {
        if self.rtt.is_zero() || sample < self.rtt {
            self.rtt = sample.max(Duration::from_micros(1));
        }
    }

    /// The buffer that suits a user who took `copied` octets in a round trip: twice that and a little for losses, and more when the
    /// rate still grows, since what is advertised now is for the round trip after the next.
    fn suitable(&self, copied: u32, mss: u32) -> u64 {
        let window = 2 * u64::from(copied) + 16 * u64::from(mss);
        let grown = u64::from(copied - self.space);
        window.saturating_add(2 * (window.saturating_mul(grown) / u64::from(self.space.max(1))))
    }
}

impl Receiver {
    /// Octets that the user took in the busiest round trip, or what a sender begins with.
    pub fn space(&self) -> u32 {
        self.tuning
            .as_ref()
            .map_or(self.ssthresh.min(FIRST_SEGMENTS * self.payload_mss()), |tuning| tuning.space)
    }
}

impl Synchronized {
    /// Text arrived within the window: its timestamps tell the round trip.
    pub fn measure_round_trip(&mut self, common: &Common, env: &Env, seg: &Segment<'_>) {
        let rcv = &mut self.rcv;
        let (len, full) = (seg.payload.len() as u32, rcv.ack.segment);
        if rcv.tuning.is_none() && len < full {
            return;
        }
        let (space, from) = (rcv.space(), rcv.buffer.read_offset() as u32);
        let new = || Box::new(RecvTuning::new(space, from, env.now));
        let tuning = rcv.tuning.get_or_insert_with(new);
        let Some(option) = seg.options.timestamps.filter(|_| rcv.timestamps.is_some()) else { return };
        let new = tuning.last_echo.replace(option.echo) != Some(option.echo);
        if new
            && len >= full
            && let Some(sample) = timestamps::round_trip(env.now, &common.isn, option.echo)
        {
            tuning.sample(sample);
        }
    }

    /// RCV.NXT moved: has the window that was open at the last look been filled?
    pub fn measure_window(&mut self, now: Instant) {
        let (nxt, wnd) = (self.rcv.nxt(), self.rcv.wnd());
        let Some(tuning) = &mut self.rcv.tuning else { return };
        match tuning.filling {
            Some((end, _)) if nxt.before(end) => return,
            Some((_, began)) => tuning.sample_window(now.since(began)),
            None => {}
        }
        tuning.filling = Some((nxt.add(wnd), now));
    }

    /// `len` octets were stored: the window may become wider.
    pub fn widen_window(&mut self, common: &Common, len: u32) {
        let free = self.rcv.free(common.receive_capacity());
        if len >= WORTH_WIDENING {
            let room = free.saturating_sub(self.rcv.ssthresh);
            self.rcv.ssthresh += room.min(2 * len.max(self.rcv.payload_mss()));
        }
    }

    /// The user has read: once in a round trip, the buffer is made to suit what was taken.
    pub fn right_size(&mut self, common: &mut Common, env: &Env) {
        let (read, mss) = (self.rcv.buffer.read_offset() as u32, self.rcv.payload_mss());
        let Some(tuning) = &mut self.rcv.tuning else { return };
        if tuning.rtt.is_zero() || env.now.since(tuning.since) < tuning.rtt {
            return;
        }
        let copied = read.wrapping_sub(tuning.from);
        if copied > tuning.space {
            if env.config.tcp_moderate_rcvbuf && !common.settings.rcv_buf_locked {
                let most = u64::from(env.config.tcp_rmem[2]);
                common.rcv_buf = common.rcv_buf.max(tuning.suitable(copied, mss).min(most) as u32);
            }
            tuning.space = copied;
        }
        (tuning.since, tuning.from) = (env.now, read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_suits_a_sender_that_doubles() {
        let tuning = RecvTuning::new(14_480, 0, Instant::ZERO);
        // Linux's formula: 2·28960 + 16·1448 = 81088, and as much again twice since the rate has doubled.
        assert_eq!(tuning.suitable(28_960, 1448), 3 * 81_088);
        assert!(tuning.suitable(u32::MAX, u32::MAX) > 1 << 32, "no overflow");
    }

    #[test]
    fn window_fulls_give_the_least_and_echoes_the_mean() {
        let ms = Duration::from_millis;
        let mut tuning = RecvTuning::new(14_480, 0, Instant::ZERO);
        tuning.sample_window(ms(100));
        tuning.sample_window(ms(300));
        assert_eq!(tuning.rtt, ms(100));
        tuning.sample(ms(180));
        assert_eq!(tuning.rtt, ms(110));
    }
}
