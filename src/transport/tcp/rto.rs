//! The retransmission timeout (RFC 6298).
//!
//! As Linux, the floor (`tcp_rto_min_us`, 200 ms) bounds the variance term, so RTO = SRTT + max(floor, 4·RTTVAR): a delayed
//! acknowledgment never meets a timeout, however steady the path.

use super::rtt::{Estimate, GRANULARITY, Rtt};
use crate::base::{Config, Duration};

/// Timeout state that outlives single segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Rto {
    /// Doublings in force (RFC 6298 §5.5).
    pub backoff: u8,
    /// Expiries in a row without progress; compared with R1 and R2 (RFC 9293 §3.8.3).
    pub expiries: u8,
    /// The SYN timed out and nothing was measured: start data with 3 s (RFC 6298 §5.7).
    pub after_syn_loss: bool,
}

impl Rto {
    /// The timeout in force.
    pub fn interval(&self, rtt: &Rtt, config: &Config) -> Duration {
        self.base(rtt, config).backed_off(u32::from(self.backoff)).min(config.tcp_rto_max_ms)
    }

    /// The timeout before backoff.
    pub fn base(&self, rtt: &Rtt, config: &Config) -> Duration {
        let rto = match rtt.estimate {
            // RFC 6298 §2.1 and §5.7.
            Estimate::NoSample if self.after_syn_loss => config.tcp_initial_rto_ms.max(Duration::from_secs(3)),
            Estimate::NoSample => config.tcp_initial_rto_ms,
            // conformance-deviation: 6298-2.4-min
            // The floor is 200 ms as on Linux; set tcp_rto_min_us to 1000000 for the RFC's second.
            Estimate::Measured { srtt, rttvar } => {
                srtt + rttvar.mul(4).max(GRANULARITY).max(config.tcp_rto_min_us)
            }
        };
        // RFC 6298 §2.5: the ceiling is at least 60 s.
        rto.min(config.tcp_rto_max_ms)
    }

    /// The timer expired: double (RFC 6298 §5.5).
    pub fn on_expiry(&mut self) {
        self.backoff = self.backoff.saturating_add(1).min(30);
        self.expiries = self.expiries.saturating_add(1);
    }

    /// New data was acknowledged: whatever was counted against the peer is forgiven.
    pub fn on_progress(&mut self) {
        self.expiries = 0;
    }

    /// A valid sample came: recompute without backoff (RFC 6298 §5, "collapse").
    pub fn on_sample(&mut self) {
        self.backoff = 0;
        self.after_syn_loss = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// conformance: 6298-2.1-initial, 6298-5.7-syn
    #[test]
    fn without_a_sample_one_second_or_three_after_a_lost_syn() {
        let (mut rto, rtt, config) = (Rto::default(), Rtt::default(), Config::default());
        assert_eq!(rto.interval(&rtt, &config), ms(1000));
        rto.after_syn_loss = true;
        assert_eq!(rto.interval(&rtt, &config), ms(3000));
    }

    /// conformance: 6298-5.5-double, 6298-2.5-max, 6298-5-collapse
    #[test]
    fn backoff_doubles_to_the_ceiling_and_ends_with_a_sample() {
        let (mut rto, mut rtt, config) = (Rto::default(), Rtt::default(), Config::default());
        let intervals: Vec<u64> = (0..10)
            .map(|_| {
                let interval = rto.interval(&rtt, &config).as_secs();
                rto.on_expiry();
                interval
            })
            .collect();
        assert_eq!(intervals, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
        rtt.sample(ms(50));
        rto.on_sample();
        assert_eq!(rto.interval(&rtt, &config), ms(250));
    }

    /// conformance: 6298-2.2-first, 6298-4-granularity
    #[test]
    fn variance_has_a_floor() {
        let (rto, mut rtt, mut config) = (Rto::default(), Rtt::default(), Config::default());
        rtt.sample(ms(100));
        assert_eq!(rto.interval(&rtt, &config), ms(300));
        config.tcp_rto_min_us = ms(1);
        for _ in 0..1000 {
            rtt.sample(ms(100));
        }
        assert!(rto.interval(&rtt, &config) > ms(100), "a steady path still leaves the granularity");
        config.tcp_rto_min_us = ms(1000);
        assert!(rto.interval(&rtt, &config) >= ms(1000));
    }
}
