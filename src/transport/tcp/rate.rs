//! Delivery rate: how fast the network delivers, from what each acknowledgment delivers and what was noted when that was sent
//! (draft-ietf-ccwg-bbr, "Delivery Rate Samples").

use super::congestion::RateSample;
use super::scoreboard::{Delivered, Delivery, Stamp};
use crate::base::{Duration, Instant};

/// C.delivered and its relatives.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryRate {
    /// Octets delivered and lost so far.
    pub delivered: u64,
    pub lost: u64,
    delivered_at: Instant,
    /// When the segment of the last sample was sent.
    first_sent_at: Instant,
    /// Until so much is delivered, samples tell what the application offered; zero: they do not.
    app_limited: u64,
}

impl DeliveryRate {
    /// Nothing delivered yet.
    pub const NEW: DeliveryRate = DeliveryRate {
        delivered: 0,
        lost: 0,
        delivered_at: Instant::ZERO,
        first_sent_at: Instant::ZERO,
        app_limited: 0,
    };

    /// Nothing is in flight: what was sent so far is delivered, and time begins anew. `app_limited`: what leaves now was offered when
    /// nothing else was left to send.
    pub fn restart(&mut self, now: Instant, delivered: u64, app_limited: bool) {
        self.delivered = self.delivered.max(delivered);
        self.first_sent_at = now;
        self.delivered_at = now;
        if app_limited {
            self.on_app_limited(0);
        }
    }

    /// What is noted with octets that leave now, `in_flight` with them.
    pub fn stamp(&self, now: Instant, in_flight: u32) -> Stamp {
        Stamp {
            at: now,
            delivered: self.delivered,
            lost: self.lost,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            in_flight,
            app_limited: self.app_limited > 0,
        }
    }

    /// An acknowledgment delivered something; gives the rate, unless it came sooner than any round trip can.
    pub fn on_delivery(
        &mut self,
        delivery: &Delivery,
        now: Instant,
        min_rtt: Option<Duration>,
    ) -> Option<RateSample> {
        if delivery.octets > 0 {
            self.delivered += u64::from(delivery.octets);
            self.delivered_at = now;
        }
        if self.app_limited > 0 && self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        let Delivered { stamp, .. } = delivery.newest?;
        self.first_sent_at = stamp.at;
        let sending = stamp.at.since(stamp.first_sent_at);
        let interval = sending.max(now.since(stamp.delivered_at));
        if interval.is_zero() || min_rtt.is_some_and(|min| interval < min) {
            return None;
        }
        Some(RateSample {
            delivered_total: self.delivered,
            prior_delivered: stamp.delivered,
            delivered: (self.delivered - stamp.delivered) as u32,
            interval,
            lost: (self.lost - stamp.lost) as u32,
            tx_in_flight: stamp.in_flight,
            app_limited: stamp.app_limited,
        })
    }

    /// The application offers more only now, and the window has room.
    pub fn on_app_limited(&mut self, in_flight: u32) {
        self.app_limited = (self.delivered + u64::from(in_flight)).max(1);
    }
}
