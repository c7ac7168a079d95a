//! A device behind an impairment stage.
//!
//! Whole packets of wire size pass the stage, so the link it shows offers no offload.

use super::impair::{Impair, Impairment, Stats};
use super::{Device, DeviceError};
use crate::base::Instant;
use crate::wire::packet::{Link, RxMeta, TxMeta, TxPacket};
use crate::wire::vnet;

/// Packets read from the device below in one call at most; what is left makes its descriptor readable again.
const ROUND: usize = 64;

/// A device with a bad link behind it.
#[derive(Debug)]
pub struct Impaired {
    inner: Device,
    up: Impair,
    down: Impair,
    on_loss: OnLoss,
}

/// Hears of a lost packet: when, whether it came from the stack, and the packet.
type Tell = dyn FnMut(Instant, bool, &[u8]) + Send;

/// Whoever wants to hear of every packet that the link loses.
#[derive(Default)]
struct OnLoss(Option<Box<Tell>>);

impl core::fmt::Debug for OnLoss {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if self.0.is_some() { "OnLoss" } else { "None" })
    }
}

impl Impaired {
    pub(super) fn new(mut inner: Device, impairment: &Impairment, seed: u64) -> Impaired {
        inner.switch_offload_off();
        let (up, down) = impairment.stages(seed);
        Impaired { inner, up, down, on_loss: OnLoss::default() }
    }

    /// The device below.
    pub fn inner(&self) -> &Device {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut Device {
        &mut self.inner
    }

    /// What happened to packets of the stack, and to packets for it.
    pub fn stats(&self) -> (Stats, Stats) {
        (self.up.stats(), self.down.stats())
    }

    /// Calls `tell` for every packet that the link loses from now on: with the time, whether it came from the stack
    /// (and not for it), and the packet.
    pub fn on_loss(&mut self, tell: impl FnMut(Instant, bool, &[u8]) + Send + 'static) {
        self.on_loss = OnLoss(Some(Box::new(tell)));
    }

    /// Changes the conditions for packets to come.
    pub fn set(&mut self, impairment: &Impairment) {
        self.up.set_conditions(impairment.up.clone());
        self.down.set_conditions(impairment.down.clone());
    }

    pub(super) fn link(&self) -> Link {
        Link::plain(self.inner.link().mtu)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.up.next_timeout(), self.down.next_timeout()].into_iter().flatten().min()
    }

    pub(super) fn send(&mut self, now: Instant, packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        let packet = packet.to_vec();
        if let Some(message) = push(&mut self.up, &mut self.on_loss, now, true, packet) {
            self.down.bounce(now, message);
        }
        self.flush(now)
    }

    pub(super) fn recv(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
    ) -> Result<Option<(usize, RxMeta)>, DeviceError> {
        let end = self.take_in(now, buffer);
        let flushed = self.flush(now);
        let Some(packet) = self.down.pop(now) else {
            // Told only after everything that had arrived before it.
            return match self.down.next_timeout() {
                None => end.and(flushed).map(|()| None),
                Some(_) => Ok(None),
            };
        };
        let len = packet.len().min(buffer.len());
        buffer[..len].copy_from_slice(&packet[..len]);
        Ok(Some((len, RxMeta::default())))
    }

    /// Moves what has arrived into the stage; `buffer` is for use meanwhile.
    fn take_in(&mut self, now: Instant, buffer: &mut [u8]) -> Result<(), DeviceError> {
        for _ in 0..ROUND {
            let Some((len, meta)) = self.inner.recv(now, buffer)? else {
                break;
            };
            // Left in the kernel from before offload was switched off: lost.
            if meta.segment_size > 0 {
                continue;
            }
            let packet = match meta.checksum_trusted {
                true => vnet::completed(&buffer[..len]).into_owned(),
                false => buffer[..len].to_vec(),
            };
            if let Some(message) = push(&mut self.down, &mut self.on_loss, now, false, packet) {
                self.up.bounce(now, message);
            }
        }
        Ok(())
    }

    /// Sends what is due.
    fn flush(&mut self, now: Instant) -> Result<(), DeviceError> {
        let mut result = Ok(());
        while let Some(packet) = self.up.pop(now) {
            let packet = TxPacket { parts: [&packet, &[], &[], &[]], meta: TxMeta::default() };
            // One packet that fails does not hold up the others.
            result = result.and(self.inner.send(now, &packet));
        }
        result
    }
}

/// Puts a packet into a stage, and tells whoever wants to know when it is lost there.
fn push(
    stage: &mut Impair,
    on_loss: &mut OnLoss,
    now: Instant,
    up: bool,
    packet: Vec<u8>,
) -> Option<Vec<u8>> {
    let Some(tell) = &mut on_loss.0 else { return stage.push(now, packet) };
    let lost =
        |stats: Stats| stats.lost + stats.blacked_out + stats.too_big + stats.queue_full + stats.scripted;
    let before = lost(stage.stats());
    let copy = packet.clone();
    let message = stage.push(now, packet);
    if lost(stage.stats()) > before {
        tell(now, up, &copy);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Duration;
    use crate::link::{BUFFER, wire};

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn packet(octets: &[u8]) -> TxPacket<'_> {
        TxPacket { parts: [octets, &[], &[], &[]], meta: TxMeta::default() }
    }

    #[test]
    fn losses_are_told_each_way() {
        let (near, mut far) = wire(1500).expect("eventfd");
        let mut near = near.impaired(&"up:drop=packet:2,down:drop=packet:1".parse().expect("valid"), 1);
        let (tell, told) = std::sync::mpsc::channel();
        let Device::Impaired(stage) = &mut near else { panic!("impaired") };
        stage.on_loss(move |now, up, packet| tell.send((now, up, packet.to_vec())).expect("heard"));
        for (time, octets) in [(1, b"a"), (2, b"b"), (3, b"c")] {
            near.send(at(time), &packet(octets)).expect("room");
        }
        far.send(at(4), &packet(b"d")).expect("room");
        assert_eq!(near.recv(at(5), &mut vec![0; BUFFER]).expect("alive"), None);
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, [(at(2), true, b"b".to_vec()), (at(5), false, b"d".to_vec())]);
    }

    #[test]
    fn packets_leave_and_arrive_when_they_are_due() {
        let (near, mut far) = wire(1500).expect("eventfd");
        let mut near = near.impaired(&"up:delay=5ms,down:delay=7ms".parse().expect("valid"), 1);
        let mut buffer = vec![0; BUFFER];
        near.send(at(0), &packet(b"up")).expect("room");
        assert_eq!(far.recv(at(0), &mut buffer).expect("alive"), None);
        assert_eq!(near.next_timeout(), Some(at(5)));
        assert_eq!(near.recv(at(5), &mut buffer).expect("alive"), None);
        assert_eq!(far.recv(at(5), &mut buffer).expect("alive").map(|(len, _)| len), Some(2));
        far.send(at(6), &packet(b"down")).expect("room");
        assert_eq!(near.recv(at(6), &mut buffer).expect("alive"), None);
        assert_eq!(near.next_timeout(), Some(at(13)));
        assert_eq!(near.recv(at(13), &mut buffer).expect("alive").map(|(len, _)| len), Some(4));
        assert_eq!(near.next_timeout(), None);
    }

    #[test]
    fn a_narrow_path_answers_both_sides() {
        let (near, mut far) = wire(1500).expect("eventfd");
        let mut near = near.impaired(&"mtu=100".parse().expect("valid"), 1);
        let mut large = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64).udp(1, 2);
        builder.write(&mut large, &[0; 200]).expect("fits");
        let mut buffer = vec![0; BUFFER];
        near.send(at(0), &packet(&large)).expect("room");
        assert!(near.recv(at(0), &mut buffer).expect("alive").is_some(), "the stack is told");
        assert_eq!(buffer[9], 1, "by ICMP");
        far.send(at(0), &packet(&large)).expect("room");
        assert_eq!(near.recv(at(0), &mut buffer).expect("alive"), None);
        assert!(far.recv(at(0), &mut buffer).expect("alive").is_some(), "the other side is told");
        assert_eq!(buffer[9], 1, "by ICMP");
    }

    #[test]
    fn the_end_is_told_after_what_came_before_it() {
        let (near, mut far) = wire(1500).expect("eventfd");
        let mut near = near.impaired(&"delay=5ms".parse().expect("valid"), 1);
        far.send(at(0), &packet(b"last")).expect("room");
        drop(far);
        let mut buffer = vec![0; BUFFER];
        assert_eq!(near.recv(at(0), &mut buffer).expect("something is under way"), None);
        assert!(near.recv(at(5), &mut buffer).expect("alive").is_some());
        assert!(near.recv(at(5), &mut buffer).expect_err("gone").is_final());
    }
}
