//! How much new data goes in one packet when the device cuts super-segments, and when it is worth waiting for more room (as
//! Linux's `tcp_tso_should_defer`): a packet costs about the same whatever it carries.

use super::common::Common;
use super::congestion::Controller as _;
use super::connection::Limits;
use super::sender::Sender;
use crate::base::Duration;
use crate::transport::Env;

/// A sender that paused this long has more to gain from sending at once.
const RECENT: Duration = Duration::from_millis(1);
/// Largest payload: an IP packet of 64 KiB less headers and options.
const MOST: u32 = 65_535 - 120;

impl Sender {
    /// Octets that one packet of new data may carry; one segment where there are no super-segments.
    pub fn burst(&self, common: &Common, limits: &Limits, mss: u32) -> u32 {
        // The urgent pointer is relative to each segment (RFC 9293 §3.8.5). Without DF whoever cuts a super-segment would use
        // identifications that we use too (RFC 6864 §4.2).
        let single = self.urgent.is_some()
            || !common.settings.discover_mtu
            || limits.max_payload < 2 * mss
            || limits.cut_by_host && self.congestion.pacing_rate().is_some();
        if single {
            return mss;
        }
        // What is paced leaves in pieces of a millisecond at most, and of two segments at least, as Linux's `tcp_tso_autosize`.
        let paced = self
            .congestion
            .pacing_rate()
            .map_or(MOST, |rate| u32::try_from(rate / 1000).unwrap_or(MOST).max(2 * mss));
        limits.max_payload.min(MOST).min(paced) / mss * mss
    }

    /// `allowed` octets may go now, less than a full burst and less than there are: will an acknowledgment soon allow more?
    pub fn is_worth_waiting(&self, env: &Env, allowed: u32) -> bool {
        let window = self.wnd.min(self.congestion.cwnd());
        let oldest = self.out.board.oldest_sent_at();
        let (Some(oldest), Some(srtt)) = (oldest, self.rtt.srtt()) else { return false };
        self.out.board.lost() == 0
            && self.out.board.sacked() == 0
            && self.last_sent.is_some_and(|last| env.now.since(last) < RECENT)
            // Enough is in flight that acknowledgments will come...
            && allowed < window / 3
            // ... and the next of them is not far.
            && env.now.since(oldest) >= srtt.div(2)
    }
}
