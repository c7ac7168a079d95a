//! Path MTU per destination (RFC 1191, RFC 8201), learned from ICMP messages that a transport believed.

use crate::base::{Config, Instant, KeyedState, Rng};
use core::net::IpAddr;
use std::collections::HashMap;

/// Destinations remembered at most.
const MAX_DESTINATIONS: usize = 1024;

/// Every IPv6 link takes packets of this size (RFC 8200 §5).
pub(super) const MIN_V6_MTU: u32 = 1280;

#[derive(Clone, Copy, Debug)]
struct Estimate {
    mtu: u32,
    /// The path takes less than we are willing to believe: packets must be cut on the way, so DF stays clear.
    is_locked: bool,
    expires: Instant,
}

/// What is known about paths that take less than the link.
#[derive(Debug)]
pub(super) struct PathMtus {
    estimates: HashMap<IpAddr, Estimate, KeyedState>,
}

impl PathMtus {
    pub(super) fn new(rng: &mut Rng) -> PathMtus {
        PathMtus { estimates: HashMap::with_hasher(KeyedState::new(rng)) }
    }

    fn find(&self, now: Instant, dst: IpAddr) -> Option<&Estimate> {
        // Most hosts know no narrow path: no hashing then.
        if self.estimates.is_empty() {
            return None;
        }
        self.estimates.get(&dst).filter(|estimate| now < estimate.expires)
    }

    /// The MTU that was learned, if it still counts.
    pub(super) fn get(&self, now: Instant, dst: IpAddr) -> Option<u32> {
        self.find(now, dst).map(|estimate| estimate.mtu)
    }

    /// Must packets to `dst` leave DF clear?
    pub(super) fn is_locked(&self, now: Instant, dst: IpAddr) -> bool {
        self.find(now, dst).is_some_and(|estimate| estimate.is_locked)
    }

    /// Only `mtu` octets get through to `dst`, of `current` that were thought to.
    pub(super) fn learn(&mut self, now: Instant, config: &Config, dst: IpAddr, mtu: u32, current: u32) {
        let (mtu, is_locked) = match dst {
            // RFC 1191 §3: never below 68; Linux stops at 552 and clears DF below.
            IpAddr::V4(_) if mtu < config.min_pmtu => (config.min_pmtu, true),
            // RFC 8201 §4: a report below 1280 is discarded.
            IpAddr::V6(_) if mtu < MIN_V6_MTU => return,
            IpAddr::V4(_) | IpAddr::V6(_) => (mtu, false),
        };
        // RFC 1191 §3, RFC 8201 §4: no message raises the estimate.
        if mtu > current || (mtu == current && !is_locked) {
            return;
        }
        self.make_room(now, dst);
        self.estimates.insert(dst, Estimate { mtu, is_locked, expires: now + config.mtu_expires });
    }

    fn make_room(&mut self, now: Instant, dst: IpAddr) {
        if self.estimates.len() < MAX_DESTINATIONS || self.estimates.contains_key(&dst) {
            return;
        }
        self.estimates.retain(|_, estimate| now < estimate.expires);
        if self.estimates.len() >= MAX_DESTINATIONS {
            let soonest = self.estimates.iter().min_by_key(|(dst, estimate)| (estimate.expires, **dst));
            if let Some(dst) = soonest.map(|(dst, _)| *dst) {
                self.estimates.remove(&dst);
            }
        }
    }
}

/// MTUs of real links, in descending order (RFC 1191 §7.1).
const PLATEAUS: [u32; 11] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// The MTU to try when a router dropped a packet of `total_len` octets and did not say what it takes.
pub(super) fn plateau_below(total_len: u32) -> u32 {
    PLATEAUS.into_iter().find(|plateau| *plateau < total_len).unwrap_or(68)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Duration;

    const A: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1));

    fn fresh() -> (PathMtus, Config, Instant) {
        (PathMtus::new(&mut Rng::from_seed(1)), Config::default(), Instant::from_nanos(5))
    }

    /// conformance: 1191-3-no-increase
    #[test]
    fn no_message_raises_the_estimate() {
        let (mut paths, config, now) = fresh();
        paths.learn(now, &config, A, 1400, 1500);
        paths.learn(now, &config, A, 1450, 1400);
        paths.learn(now, &config, A, 1600, 1400);
        assert_eq!(paths.get(now, A), Some(1400));
    }

    /// conformance: 1191-3-floor, 791-3.2-min-size
    #[test]
    fn below_the_floor_df_is_given_up_instead() {
        let (mut paths, config, now) = fresh();
        paths.learn(now, &config, A, 40, 1500);
        assert_eq!((paths.get(now, A), paths.is_locked(now, A)), (Some(552), true));
    }

    /// conformance: 8201-4-min
    #[test]
    fn a_report_below_1280_is_discarded() {
        let (mut paths, config, now) = fresh();
        let six: IpAddr = "fd00::1".parse().expect("valid");
        paths.learn(now, &config, six, 1279, 1500);
        assert_eq!(paths.get(now, six), None);
        paths.learn(now, &config, six, 1280, 1500);
        assert_eq!(paths.get(now, six), Some(1280));
    }

    /// conformance: 1191-6.3-raise, 8201-5.3-age, 8201-4-probe-up
    #[test]
    fn an_estimate_ages_after_ten_minutes() {
        let (mut paths, config, now) = fresh();
        paths.learn(now, &config, A, 1400, 1500);
        let later = now + Duration::from_secs(600);
        assert_eq!(paths.get(Instant::from_nanos(later.as_nanos() - 1), A), Some(1400));
        assert_eq!(paths.get(later, A), None);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_goes() {
        let (mut paths, config, mut now) = fresh();
        for n in 0..MAX_DESTINATIONS as u32 + 10 {
            now += Duration::from_millis(1);
            paths.learn(now, &config, IpAddr::from((n + 1).to_be_bytes()), 1400, 1500);
        }
        assert_eq!(paths.estimates.len(), MAX_DESTINATIONS);
        assert_eq!(paths.get(now, IpAddr::from(10u32.to_be_bytes())), None);
        assert_eq!(paths.get(now, IpAddr::from(11u32.to_be_bytes())), Some(1400));
    }

    /// conformance: 1191-3-old-router
    #[test]
    fn old_routers_are_guessed_by_the_plateau_table() {
        for (total_len, mtu) in [(1500, 1492), (1492, 1006), (65535, 32000), (9000, 8166), (68, 68), (40, 68)]
        {
            assert_eq!(plateau_below(total_len), mtu, "{total_len}");
        }
    }
}
