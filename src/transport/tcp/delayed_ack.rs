//! When to acknowledge (RFC 9293 §3.8.6.3, RFC 5681 §4.2), with Linux's refinements: the first segments are acknowledged at once so
//! that the peer's window opens, and a connection that answers what it receives delays in the hope of a ride.

use super::pack::pack_fields;
use crate::base::{Config, Duration, Instant};

/// Acknowledgments that go at once in the beginning, at most (Linux's `TCP_MAX_QUICKACKS`).
const QUICK: u8 = 16;

/// Is an acknowledgment due?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing to acknowledge.
    No,
    /// By then at the latest.
    Delayed(Instant),
    /// With the next output.
    Now,
}

/// Acknowledgment state of a receiver.
#[derive(Clone, Debug)]
pub(super) struct DelayedAck {
    pub due: Due,
    /// It is due only because the window opened.
    pub for_window: bool,
    /// The delay timer made it due.
    pub by_timer: bool,
    /// Acknowledgments that still go at once.
    quick: u8,
    /// What we receive is answered with data: hope for a ride.
    interactive: bool,
    /// Octets since the last acknowledgment.
    octets: u32,
    /// Segments since the last acknowledgment that look like the end of what the peer wrote: small ones, or pushed.
    pushed: u8,
    /// Largest segment seen: what counts as full-sized.
    pub segment: u32,
    /// When the last of it came.
    pub last_data: Option<Instant>,
}

pack_fields!(DelayedAck {
    for_window, by_timer, quick, interactive, octets, pushed, segment, last_data;
    due: Due::No
});

impl DelayedAck {
    /// `mss` is ours; full-sized is what the peer shows to be, from the default MSS on.
    pub fn new(mss: u16, window: u32) -> DelayedAck {
        let segment = u32::from(mss).min(536);
        let quick = (window / (2 * segment.max(1))).clamp(2, u32::from(QUICK)) as u8;
        DelayedAck {
            due: Due::No,
            for_window: false,
            by_timer: false,
            quick,
            interactive: false,
            octets: 0,
            pushed: 0,
            segment,
            last_data: None,
        }
    }

    /// `octets` of new data arrived in order, in segments of `segment` octets.
    pub fn on_data(&mut self, now: Instant, octets: u32, segment: u32, config: &Config, rto: Duration) {
        let small = segment < self.segment;
        self.pushed = self.pushed.saturating_add(u8::from(small));
        self.segment = self.segment.max(segment);
        self.octets = self.octets.saturating_add(octets);
        if self.last_data.is_some_and(|last| now.since(last) > rto) {
            self.quick = QUICK;
        }
        self.last_data = Some(now);
        // SHLD-19: two full-sized segments, in whatever pieces, are acknowledged.
        let enough = self.octets >= 2 * self.segment;
        let quick = self.quick > 0 && !self.interactive;
        match self.due {
            Due::Now => {}
            Due::No | Due::Delayed(_) if enough || quick => self.due = Due::Now,
            Due::No => self.due = Due::Delayed(now + config.tcp_delack_ms),
            Due::Delayed(_) => {}
        }
    }

    /// The segment bore PSH: however large, it ends what the peer wrote.
    pub fn on_push(&mut self) {
        self.pushed = self.pushed.max(1);
    }

    /// At once: data out of order, duplicates, FIN.
    pub fn now(&mut self) {
        self.due = Due::Now;
        self.for_window = false;
    }

    /// At once, and the next ones too: something is missing or the user asked for it.
    pub fn quickly(&mut self) {
        self.quick = self.quick.max(2);
        self.interactive = false;
    }

    /// Something is pending: let it go now.
    pub fn flush(&mut self) {
        if let Due::Delayed(_) = self.due {
            self.due = Due::Now;
        }
    }

    /// `TCP_QUICKACK` was switched.
    pub fn set_quick(&mut self, on: bool) {
        if on {
            self.quick = QUICK;
            self.flush();
        }
        self.interactive = !on;
    }

    /// The user has read, and `drained` the buffer or not. As Linux: a peer that has written something small may wait for
    /// the acknowledgment before it writes more (Nagle), so a reader that does not answer gives it at once.
    pub fn on_read(&mut self, drained: bool) {
        let pushed = self.pushed >= 2 || self.pushed == 1 && !self.interactive;
        if self.octets > self.segment || drained && pushed {
            self.flush();
        }
    }

    /// Because reading opened the window.
    pub fn for_window(&mut self) {
        self.for_window = self.due == Due::No;
        self.due = Due::Now;
    }

    /// An acknowledgment left, alone or with data.
    pub fn on_sent(&mut self) {
        if self.due != Due::No {
            self.quick = self.quick.saturating_sub(1);
        }
        self.due = Due::No;
        self.for_window = false;
        self.by_timer = false;
        self.octets = 0;
        self.pushed = 0;
    }

    /// Data was sent; soon after receiving some, it looks like an answer.
    pub fn on_data_sent(&mut self, now: Instant, config: &Config) {
        if self.last_data.is_some_and(|last| now.since(last) < config.tcp_delack_ms) {
            self.interactive = true;
        }
    }

    /// The delay is over.
    pub fn deadline(&self) -> Option<Instant> {
        match self.due {
            Due::Delayed(at) => Some(at),
            Due::No | Due::Now => None,
        }
    }

    /// The deadline passed: no ride came, so do not hope for the next one.
    pub fn on_timeout(&mut self) {
        self.due = Due::Now;
        self.by_timer = true;
        self.interactive = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTO: Duration = Duration::from_millis(200);

    fn patient() -> (DelayedAck, Config) {
        let mut ack = DelayedAck::new(1460, 65_535);
        ack.set_quick(false);
        (ack, Config::default())
    }

    /// conformance: 9293-SHLD-18, 9293-MUST-40
    #[test]
    fn a_lone_segment_waits_for_the_delay() {
        let (mut ack, config) = patient();
        ack.on_data(Instant::ZERO, 100, 100, &config, RTO);
        assert_eq!(ack.deadline(), Some(Instant::ZERO + Duration::from_millis(40)));
        ack.on_timeout();
        assert_eq!(ack.due, Due::Now);
    }

    /// conformance: 9293-SHLD-19
    #[test]
    fn two_full_segments_in_any_pieces_are_acknowledged() {
        let (mut ack, config) = patient();
        ack.on_data(Instant::ZERO, 1448, 1448, &config, RTO);
        assert_ne!(ack.due, Due::Now);
        ack.on_data(Instant::ZERO, 1448, 1448, &config, RTO);
        assert_eq!(ack.due, Due::Now, "full-sized is what the peer sends, here less than our MSS");
        ack.on_sent();
        for _ in 0..28 {
            ack.on_data(Instant::ZERO, 100, 100, &config, RTO);
        }
        assert_ne!(ack.due, Due::Now);
        ack.on_data(Instant::ZERO, 100, 100, &config, RTO);
        assert_eq!(ack.due, Due::Now);
    }

    #[test]
    fn the_first_segments_are_acknowledged_at_once_unless_answered() {
        let (mut ack, config) = (DelayedAck::new(1460, 65_535), Config::default());
        for _ in 0..16 {
            ack.on_data(Instant::ZERO, 1, 1, &config, RTO);
            assert_eq!(ack.due, Due::Now);
            ack.on_sent();
        }
        ack.on_data(Instant::ZERO, 1, 1, &config, RTO);
        assert_ne!(ack.due, Due::Now);
        let mut echo = DelayedAck::new(1460, 65_535);
        echo.on_data(Instant::ZERO, 1, 1, &config, RTO);
        echo.on_data_sent(Instant::ZERO, &config);
        echo.on_sent();
        echo.on_data(Instant::ZERO, 1, 1, &config, RTO);
        assert_ne!(echo.due, Due::Now);
    }
}
