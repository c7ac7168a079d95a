//! Two devices joined by the impairment stages of both directions: reading, waiting until a packet is due, writing.
//!
//! Time is passed in. Nothing is allocated for a packet once as many were under way before.

use crate::base::{Duration, Instant};
use crate::link::impair::{Impair, Impairment, Stats};
use crate::link::{BUFFER, Device, DeviceError};
use crate::wire::packet::{TxMeta, TxPacket};
use rustix::event::{PollFd, PollFlags};

/// Packets read from one device, or written to it, before the other one has its turn: a burst of one direction must
/// not make those of the other late.
const ROUND: usize = 32;
/// Buffers that are kept for later packets at most.
const KEPT: usize = 8192;

/// The ends, and the directions that begin at each: the first is A, and from A to B.
pub const ENDS: [usize; 2] = [0, 1];

/// What went through one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Octets that went in.
    pub octets: u64,
    /// Octets that came out.
    pub delivered_octets: u64,
    /// Packets that the far device did not take.
    pub refused: u64,
    /// Packets that came out.
    pub sent: u64,
    /// The sum of the times that packets came out after they were due, and the longest of them.
    pub late: Duration,
    /// The longest of them.
    pub latest: Duration,
}

/// Two devices with a bad link between them.
pub struct Join {
    ends: [Device; 2],
    stages: [Impair; 2],
    traffic: [Traffic; 2],
    free: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

/// The end that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone(pub usize);

impl Join {
    /// Joins `a` and `b`; "up" in `impairment` is from A to B.
    pub fn new(a: Device, b: Device, impairment: &Impairment, seed: u64) -> Join {
        let (mut up, mut down) = impairment.stages(seed);
        up.count_resent();
        down.count_resent();
        Join {
            ends: [a, b],
            stages: [up, down],
            traffic: [Traffic::default(); 2],
            free: Vec::new(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Takes in what has arrived, a round from each end. Is there perhaps more?
    ///
    /// # Errors
    /// When an end is gone.
    pub fn take_in(&mut self, now: Instant) -> Result<bool, Gone> {
        let mut more = false;
        for from in ENDS {
            more |= self.take_in_from(from, now)?;
        }
        Ok(more)
    }

    fn take_in_from(&mut self, from: usize, now: Instant) -> Result<bool, Gone> {
        for _ in 0..ROUND {
            let len = match self.ends[from].recv(now, &mut self.buffer) {
                Ok(Some((len, _))) => len,
                Ok(None) => return Ok(false),
                Err(error) if error.is_final() => return Err(Gone(from)),
                // An interface that is down has nothing; it may come up again.
                Err(_) => return Ok(false),
            };
            let mut packet = self.free.pop().unwrap_or_default();
            packet.clear();
            packet.extend_from_slice(&self.buffer[..len]);
            self.traffic[from].octets += len as u64;
            if let Some(message) = self.stages[from].push(now, packet) {
                self.stages[1 - from].bounce(now, message);
            }
        }
        Ok(true)
    }

    /// Writes what is due, a round to each end. Is there perhaps more?
    ///
    /// # Errors
    /// When an end is gone.
    pub fn put_out(&mut self, now: Instant) -> Result<bool, Gone> {
        let mut more = false;
        for from in ENDS {
            more |= self.put_out_from(from, now)?;
        }
        Ok(more)
    }

    fn put_out_from(&mut self, from: usize, now: Instant) -> Result<bool, Gone> {
        let traffic = &mut self.traffic[from];
        for _ in 0..ROUND {
            let late = self.stages[from].next_timeout().map(|due| now.since(due)).unwrap_or_default();
            let Some(packet) = self.stages[from].pop(now) else { return Ok(false) };
            let whole = TxPacket { parts: [&packet, &[], &[], &[]], meta: TxMeta::default() };
            match self.ends[1 - from].send(now, &whole) {
                Ok(()) => {
                    traffic.sent += 1;
                    traffic.delivered_octets += packet.len() as u64;
                    traffic.late += late;
                    traffic.latest = traffic.latest.max(late);
                }
                Err(DeviceError::Gone) => return Err(Gone(1 - from)),
                Err(DeviceError::Down | DeviceError::Full | DeviceError::Refused(_)) => traffic.refused += 1,
            }
            if self.free.len() < KEPT {
                self.free.push(packet);
            }
        }
        Ok(true)
    }

    /// When the next packet is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.stages.iter().filter_map(Impair::next_timeout).min()
    }

    /// What happened in the direction that begins at `from`.
    pub fn told(&self, from: usize) -> (Stats, Traffic) {
        (self.stages[from].stats(), self.traffic[from])
    }

    /// What to wait for: a packet at either end.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let fds = self.ends.iter().filter_map(Device::poll_fd);
        fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::wire;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn send(device: &mut Device, now: Instant, octets: &[u8]) {
        let packet = TxPacket { parts: [octets, &[], &[], &[]], meta: TxMeta::default() };
        device.send(now, &packet).expect("room");
    }

    fn received(device: &mut Device, now: Instant) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; BUFFER];
        let mut all = Vec::new();
        while let Some((len, _)) = device.recv(now, &mut buffer).expect("alive") {
            all.push(buffer[..len].to_vec());
        }
        all
    }

    /// The hosts at both ends, and the join between them.
    fn joined(link: &str) -> (Device, Join, Device) {
        let (a, near) = wire(1500).expect("eventfd");
        let (far, b) = wire(1500).expect("eventfd");
        (a, Join::new(near, far, &link.parse().expect("valid"), 1), b)
    }

    fn turn(join: &mut Join, now: Instant) {
        while join.take_in(now).expect("alive") {}
        while join.put_out(now).expect("alive") {}
    }

    #[test]
    fn each_direction_has_its_own_delay() {
        let (mut a, mut join, mut b) = joined("up:delay=5ms,down:delay=7ms");
        send(&mut a, at(0), b"to b");
        send(&mut b, at(0), b"to a");
        turn(&mut join, at(0));
        assert_eq!(join.next_timeout(), Some(at(5)));
        turn(&mut join, at(4));
        assert_eq!(received(&mut b, at(4)), Vec::<Vec<u8>>::new());
        turn(&mut join, at(5));
        assert_eq!(received(&mut b, at(5)), [b"to b"]);
        assert_eq!(received(&mut a, at(5)), Vec::<Vec<u8>>::new());
        turn(&mut join, at(9));
        assert_eq!(received(&mut a, at(9)), [b"to a"]);
        assert_eq!(join.next_timeout(), None);
        let (stats, traffic) = join.told(1);
        assert_eq!((stats.offered, traffic.sent, traffic.octets, traffic.delivered_octets), (1, 1, 4, 4));
        assert_eq!((traffic.late, traffic.latest), (Duration::from_millis(2), Duration::from_millis(2)));
    }

    #[test]
    fn a_burst_waits_its_turn_and_goes_in_order() {
        let (mut a, mut join, mut b) = joined("delay=1ms");
        let many = ROUND as u8 * 2 + 1;
        (0..many).for_each(|number| send(&mut a, at(0), &[number]));
        assert!(join.take_in(at(0)).expect("alive"), "more than a round");
        turn(&mut join, at(0));
        assert!(join.put_out(at(1)).expect("alive"), "more than a round");
        turn(&mut join, at(1));
        assert_eq!(received(&mut b, at(1)).concat(), (0..many).collect::<Vec<u8>>());
    }

    #[test]
    fn buffers_are_used_again() {
        let (mut a, mut join, mut b) = joined("delay=1ms");
        for round in 0..10 {
            (0..20).for_each(|_| send(&mut a, at(round), &[0; 1400]));
            turn(&mut join, at(round));
            received(&mut b, at(round));
        }
        turn(&mut join, at(10));
        assert_eq!(join.free.len(), 40, "as many as were under way at once, in the rounds before and now");
    }

    #[test]
    fn a_narrow_link_answers_the_sender() {
        let (mut a, mut join, mut b) = joined("mtu=100");
        let mut large = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([10, 8, 0, 1], [10, 8, 0, 2], 64).udp(1, 2);
        builder.write(&mut large, &[0; 200]).expect("fits");
        send(&mut b, at(0), &large);
        turn(&mut join, at(0));
        assert_eq!(received(&mut b, at(0)).len(), 1, "the message");
        assert_eq!(received(&mut a, at(0)).len(), 0);
    }

    #[test]
    fn the_end_that_is_gone_is_named() {
        let (a, mut join, b) = joined("delay=1ms");
        drop(b);
        assert_eq!(join.take_in(at(0)), Err(Gone(1)));
        drop(a);
        assert_eq!(join.take_in(at(0)), Err(Gone(0)));
    }
}
