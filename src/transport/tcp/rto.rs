//! The retransmission timeout (RFC 6298).
//!
//! As Linux, the floor (`tcp_rto_min_us`, 200 ms) bounds the variance term, so RTO = SRTT + max(floor, 4·RTTVAR): a delayed
//! acknowledgment never meets a timeout, however steady the path.

use super::pack::pack_fields;
use super::rtt::{Estimate, GRANULARITY, Rtt};
use crate::base::{Config, Duration};

/// Timeout state that outlives single segments.
#[derive(Clone, Debug)]
pub(super) struct Rto {
    /// The timeout in force.
    pub interval: Duration,
    /// Doublings in force (RFC 6298 §5.5).
    pub backoff: u8,
    /// Expiries in a row without progress; compared with R1 and R2 (RFC 9293 §3.8.3).
    pub expiries: u8,
    /// The SYN timed out and nothing was measured: start data with 3 s (RFC 6298 §5.7).
    pub after_syn_loss: bool,
}

pack_fields!(Rto { interval, backoff, expiries, after_syn_loss });

impl Rto {
    /// Before any sample.
    pub fn new(config: &Config, after_syn_loss: bool) -> Rto {
        let mut rto = Rto { interval: Duration::ZERO, backoff: 0, expiries: 0, after_syn_loss };
        rto.refresh(&Rtt::default(), config);
        rto
    }

    /// Computes the timeout anew.
    pub fn refresh(&mut self, rtt: &Rtt, config: &Config) {
        self.interval = self.base(rtt, config).backed_off(u32::from(self.backoff)).min(config.tcp_rto_max_ms);
    }

    /// The timeout before backoff.
    pub fn base(&self, rtt: &Rtt, config: &Config) -> Duration {
        let rto = match rtt.estimate {
            // RFC 6298 §2.1 and §5.7.
            Estimate::NoSample if self.after_syn_loss => {
                config.tcp_initial_rto_ms.max(Duration::from_secs(3))
            }
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
    pub fn on_expiry(&mut self, rtt: &Rtt, config: &Config) {
        self.backoff = self.backoff.saturating_add(1).min(30);
        self.expiries = self.expiries.saturating_add(1);
        self.refresh(rtt, config);
    }

    /// New data was acknowledged: whatever was counted against the peer is forgiven.
    pub fn on_progress(&mut self) {
        self.expiries = 0;
    }

    /// A valid sample came: recompute without backoff (RFC 6298 §5, "collapse").
    pub fn on_sample(&mut self, rtt: &Rtt, config: &Config) {
        self.backoff = 0;
        self.after_syn_loss = false;
        self.refresh(rtt, config);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Instant;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// conformance: 6298-2.1-initial, 6298-5.7-syn
    #[test]
    fn without_a_sample_one_second_or_three_after_a_lost_syn() {
        let config = Config::default();
        assert_eq!(Rto::new(&config, false).interval, ms(1000));
        assert_eq!(Rto::new(&config, true).interval, ms(3000));
    }

    /// conformance: 6298-5.5-double, 6298-2.5-max, 6298-5-collapse
    #[test]
    fn backoff_doubles_to_the_ceiling_and_ends_with_a_sample() {
        let (config, mut rtt) = (Config::default(), Rtt::default());
        let mut rto = Rto::new(&config, false);
        let intervals: Vec<u64> = (0..10)
            .map(|_| {
                let interval = rto.interval.as_secs();
                rto.on_expiry(&rtt, &config);
                interval
            })
            .collect();
        assert_eq!(intervals, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
        rtt.sample(ms(50), Instant::ZERO);
        rto.on_sample(&rtt, &config);
        assert_eq!(rto.interval, ms(250));
    }

    /// conformance: 6298-2.2-first, 6298-4-granularity
    #[test]
    fn variance_has_a_floor() {
        let (mut config, mut rtt) = (Config::default(), Rtt::default());
        let mut rto = Rto::new(&config, false);
        rtt.sample(ms(100), Instant::ZERO);
        rto.refresh(&rtt, &config);
        assert_eq!(rto.interval, ms(300));
        config.tcp_rto_min_us = ms(1);
        for _ in 0..1000 {
            rtt.sample(ms(100), Instant::ZERO);
        }
        rto.refresh(&rtt, &config);
        assert!(rto.interval > ms(100), "a steady path still leaves the granularity");
        config.tcp_rto_min_us = ms(1000);
        rto.refresh(&rtt, &config);
        assert!(rto.interval >= ms(1000));
    }
}
