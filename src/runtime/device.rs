//! A wire in memory between two stacks, until `link` brings the real devices.

use crate::host::{Link, RxMeta, TxPacket};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

const QUEUE_PACKETS: usize = 1000;

#[derive(Debug)]
struct Queue {
    packets: Mutex<VecDeque<Vec<u8>>>,
    arrived: OwnedFd,
}

/// One end of a wire.
#[derive(Debug)]
pub struct Device {
    input: Arc<Queue>,
    output: Arc<Queue>,
    mtu: u32,
}

impl Device {
    /// The two ends of a wire.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn wire(mtu: u32) -> io::Result<(Device, Device)> {
        let queue = || -> io::Result<Arc<Queue>> {
            let arrived = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Arc::new(Queue { packets: Mutex::default(), arrived }))
        };
        let (a, b) = (queue()?, queue()?);
        let end = |input: &Arc<Queue>, output: &Arc<Queue>| Device {
            input: Arc::clone(input),
            output: Arc::clone(output),
            mtu,
        };
        Ok((end(&a, &b), end(&b, &a)))
    }

    pub(crate) fn link(&self) -> Link {
        Link::plain(self.mtu)
    }

    pub(crate) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.input.arrived.as_fd()
    }

    pub(crate) fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, RxMeta)>> {
        let mut packets = self.input.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(packet) = packets.pop_front() else {
            let _ = rustix::io::read(&self.input.arrived, &mut [0u8; 8]);
            return Ok(None);
        };
        let len = packet.len().min(buf.len());
        buf[..len].copy_from_slice(&packet[..len]);
        Ok(Some((len, RxMeta::default())))
    }

    pub(crate) fn send(&mut self, packet: &TxPacket<'_>) -> io::Result<()> {
        let mut packets = self.output.packets.lock().unwrap_or_else(PoisonError::into_inner);
        if packets.len() == QUEUE_PACKETS {
            return Err(io::ErrorKind::StorageFull.into());
        }
        packets.push_back(packet.to_vec());
        if packets.len() == 1 {
            let _ = rustix::io::write(&self.output.arrived, &1u64.to_ne_bytes());
        }
        Ok(())
    }
}
