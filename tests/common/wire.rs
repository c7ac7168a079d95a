//! A bad wire for tests: loss, duplication, reordering, corruption, delay, rate with a short queue, a narrow link that
//! answers with ICMP, and times when nothing passes. All of it from one seed.

use super::packet::{self, Body, Packet};
use tunstack::base::{Duration, Instant, Rng};

/// What happens to packets on their way; the same in both directions.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub loss: f64,
    pub duplicate: f64,
    /// Chance that a packet is held back for up to `hold`.
    pub reorder: f64,
    pub hold: Duration,
    /// Chance that one bit is turned over.
    pub corrupt: f64,
    pub delay: Duration,
    pub jitter: Duration,
    /// Octets per second, and octets that may wait; `None`: no limit.
    pub rate: Option<(u64, u64)>,
    /// A link on the way takes no more than this, and says so, unless it is silent.
    pub path_mtu: Option<usize>,
    pub silent: bool,
    /// Chance that a packet whose sender takes part in ECN is marked.
    pub mark: f64,
    /// Nothing passes from the first instant until the second.
    pub blackout: Option<(Instant, Instant)>,
}

/// A packet on its way.
#[derive(Debug)]
pub struct Flying {
    pub at: Instant,
    /// The end where it arrives.
    pub to: usize,
    pub bytes: Vec<u8>,
}

/// Both directions of a wire between the ends 0 and 1.
#[derive(Debug)]
pub struct Wire {
    pub faults: Faults,
    rng: Rng,
    flying: Vec<Flying>,
    /// When the last octet that was put on the wire has left the queue, by direction.
    busy_until: [Instant; 2],
    pub carried: u64,
    pub dropped: u64,
}

impl Wire {
    pub fn new(faults: Faults, seed: u64) -> Wire {
        Wire {
            faults,
            rng: Rng::from_seed(seed ^ 0x77_1e),
            flying: Vec::new(),
            busy_until: [Instant::ZERO; 2],
            carried: 0,
            dropped: 0,
        }
    }

    /// Puts a packet on the wire at end `from`.
    pub fn put(&mut self, now: Instant, from: usize, bytes: &[u8]) {
        let dark = self.faults.blackout.is_some_and(|(start, end)| now >= start && now < end);
        if dark || self.rng.chance(self.faults.loss) {
            self.dropped += 1;
            return;
        }
        if let Some(mtu) = self.faults.path_mtu.filter(|mtu| bytes.len() > *mtu) {
            self.dropped += 1;
            if let Some(error) = too_big(bytes, mtu).filter(|_| !self.faults.silent) {
                self.fly(now, from, error);
            }
            return;
        }
        let copies = 1 + u32::from(self.rng.chance(self.faults.duplicate));
        for _ in 0..copies {
            let mut copy = bytes.to_vec();
            let capable = if bytes[0] >> 4 == 4 { bytes[1] & 3 } else { bytes[1] >> 4 & 3 };
            if self.faults.mark > 0.0 && capable != 0 && self.rng.chance(self.faults.mark) {
                packet::set_ecn(&mut copy, 3);
            }
            if self.rng.chance(self.faults.corrupt) {
                let bit = self.rng.below(copy.len() as u64 * 8) as usize;
                copy[bit / 8] ^= 1 << (bit % 8);
            }
            self.send(now, from, copy);
        }
    }

    fn send(&mut self, now: Instant, from: usize, bytes: Vec<u8>) {
        let mut leaves = now;
        if let Some((rate, queue)) = self.faults.rate {
            let busy = &mut self.busy_until[from];
            let waiting = busy.since(now).as_nanos() as u128 * u128::from(rate) / 1_000_000_000;
            if waiting > u128::from(queue) {
                self.dropped += 1;
                return;
            }
            leaves = now.max(*busy) + Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / rate);
            *busy = leaves;
        }
        let jitter = Duration::from_nanos(self.rng.below(self.faults.jitter.as_nanos() + 1));
        let mut at = leaves + self.faults.delay + jitter;
        if self.rng.chance(self.faults.reorder) {
            at += Duration::from_nanos(self.rng.below(self.faults.hold.as_nanos() + 1));
        }
        self.carried += 1;
        self.fly(at, 1 - from, bytes);
    }

    fn fly(&mut self, at: Instant, to: usize, bytes: Vec<u8>) {
        // Kept in order of arrival; equal times keep the order of sending.
        let index = self.flying.partition_point(|flying| flying.at <= at);
        self.flying.insert(index, Flying { at, to, bytes });
    }

    /// When the next packet arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.flying.first().map(|flying| flying.at)
    }

    /// Takes what has arrived by `now`.
    pub fn take(&mut self, now: Instant) -> Vec<Flying> {
        let count = self.flying.partition_point(|flying| flying.at <= now);
        self.flying.drain(..count).collect()
    }
}

/// What a router says about a packet that does not fit its next link.
fn too_big(bytes: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let packet = Packet::parse(bytes).ok()?;
    if matches!(packet.body, Body::Icmp { .. }) {
        return None;
    }
    let quote = &bytes[..bytes.len().min(packet.header_len + 28)];
    let rest = (mtu as u32).to_be_bytes();
    Some(match packet.src.is_ipv4() {
        true => packet::icmp([192, 0, 2, 1].into(), packet.src, 3, 4, rest, quote),
        false => packet::icmp([0xfd99, 0, 0, 0, 0, 0, 0, 1].into(), packet.src, 2, 0, rest, quote),
    })
}
