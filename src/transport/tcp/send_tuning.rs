//! How much the send buffer takes: as Linux's `tcp_sndbuf_expand`, twice the congestion window, within `tcp_wmem`. A size that the user
//! has set is never tuned, and nothing shrinks.

use super::common::Common;
use super::congestion::Controller;
use super::synchronized::Synchronized;
use crate::transport::Env;

/// The initial window is always provided for, whatever the controller begins with (Linux's `TCP_INIT_CWND`).
const LEAST_SEGMENTS: u32 = 10;

/// What Linux reckons for a segment of `mss` octets, its own overhead included. Only octets count here, so the same size holds more.
fn octets_per_segment(mss: u32) -> u64 {
    u64::from(mss + 640).next_power_of_two() + 256
}

impl Synchronized {
    /// Makes the buffer suit the congestion window.
    pub fn expand_snd_buf(&self, common: &mut Common, env: &Env) {
        if common.settings.snd_buf_locked {
            return;
        }
        let snd = &self.snd;
        let segments = (snd.congestion.cwnd() / snd.mss.max(1)).max(LEAST_SEGMENTS);
        let mss = snd.mss.max(u32::from(snd.peer_mss));
        let suitable = 2 * u64::from(segments) * octets_per_segment(mss);
        let most = u64::from(env.config.tcp_wmem[2]);
        common.snd_buf = common.snd_buf.max(suitable.min(most) as u32);
    }

    /// Something was acknowledged: a user who found the buffer full, though it does not fill the congestion window, gets more.
    pub fn relieve_writer(&self, common: &mut Common, env: &Env) {
        if !self.snd.was_writable && self.snd.flight() < self.snd.congestion.cwnd() {
            self.expand_snd_buf(common, env);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_linux() {
        assert_eq!(20 * octets_per_segment(1460), 87_040);
        assert_eq!(20 * octets_per_segment(65_483), 2_626_560);
    }
}
