//! When a segment that is not full may go: Nagle's algorithm (RFC 9293 §3.7.4), silly-window avoidance of the sender (§3.8.6.2.1),
//! corking.
//!
//! Nagle as Linux has it (Minshall's variant): a small segment waits only while another small one is unacknowledged.

use super::sender::{Blocked, Sender};
use super::settings::Settings;
use crate::base::Duration;

/// How long `TCP_CORK` and `MSG_MORE` may hold data (Linux).
pub(super) const CORK: Duration = Duration::from_millis(200);

/// The override timer of silly-window avoidance: as Linux probes, after one RTO, within RFC 9293's bounds (§3.8.6.2.1: 0.1 to 1.0 s).
pub(super) fn override_after(rto: Duration) -> Duration {
    rto.clamp(Duration::from_millis(100), Duration::from_secs(1))
}

impl Sender {
    /// May the last of the queue go although it fills no segment?
    pub fn may_send_partial(&self, settings: &Settings) -> Result<(), Blocked> {
        if self.fin || self.urgent.is_some() || self.push_once {
            return Ok(());
        }
        if settings.cork || self.more {
            return Err(Blocked::Cork);
        }
        let small_in_flight = self.small_end.after(self.una) && self.una != self.nxt;
        if settings.no_delay || !small_in_flight { Ok(()) } else { Err(Blocked::Nagle) }
    }

    /// More is queued than the peer's window of `room` octets takes, and that is no full segment: is it worth sending? From half of
    /// the largest window on (with Nagle: when nothing is in flight).
    pub fn may_fill_window(&self, room: u32, settings: &Settings) -> bool {
        let idle = self.una == self.nxt;
        self.push_once && idle || room >= self.max_wnd.div_ceil(2) && (settings.no_delay || idle)
    }
}
