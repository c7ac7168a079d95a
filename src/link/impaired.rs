//! A device behind an impairment stage.
//!
//! Whole packets of wire size pass the stage, so the link it shows offers no offload.

use super::impair::{Impair, Impairment, Stats};
use super::{Device, DeviceError};
use crate::base::Instant;
use crate::wire::packet::{Link, RxMeta, TxMeta, TxPacket};

/// Packets read from the device below in one call at most; what is left makes its descriptor readable again.
const ROUND: usize = 64;

/// A device with a bad link behind it.
#[derive(Debug)]
pub struct Impaired {
    inner: Device,
    up: Impair,
    down: Impair,
}

impl Impaired {
    pub(super) fn new(inner: Device, impairment: &Impairment, seed: u64) -> Impaired {
        let (up, down) = impairment.stages(seed);
        Impaired { inner, up, down }
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
        if let Some(message) = self.up.push(now, packet.to_vec()) {
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
            let Some((len, _)) = self.inner.recv(now, buffer)? else {
                break;
            };
            if let Some(message) = self.down.push(now, buffer[..len].to_vec()) {
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
