//! Packets on their way into a TUN: those of one round are collected, and leave in order with one system call where there is a
//! [`Ring`]. Without it each leaves by a call of its own.

use super::DeviceError;
use super::ring::{self, Ring};
use crate::wire::packet::TxPacket;
use arrayvec::ArrayVec;
use rustix::fd::AsFd;
use rustix::io::{Errno, retry_on_intr, write, writev};
use std::io::IoSlice;

/// Larger ones go at once: copying them costs more than a call does.
const SMALL: usize = 2048;

/// Packets that were handed over and have not left.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// One after the other, each behind its offload header where it has one.
    octets: Vec<u8>,
    /// Where each ends.
    ends: ArrayVec<usize, { ring::MOST }>,
}

impl Outbox {
    /// Takes a packet, behind its offload `header`. It leaves with the next flush at the latest.
    pub fn push(
        &mut self,
        fd: &impl AsFd,
        ring: &mut Option<Ring>,
        header: &[u8],
        packet: &TxPacket<'_>,
    ) -> Result<(), DeviceError> {
        if header.len() + packet.len() > SMALL {
            // Order is kept.
            let flushed = self.flush(fd, ring);
            let [a, b, c, d] = packet.parts;
            let parts = [header, a, b, c, d].map(IoSlice::new);
            let parts = if header.is_empty() { &parts[1..] } else { &parts[..] };
            let written = retry_on_intr(|| writev(fd, parts));
            return flushed.and(written.map(|_| ()).map_err(DeviceError::from_tun));
        }
        let flushed = if self.ends.is_full() { self.flush(fd, ring) } else { Ok(()) };
        self.octets.extend_from_slice(header);
        packet.parts.iter().for_each(|part| self.octets.extend_from_slice(part));
        self.ends.push(self.octets.len());
        flushed
    }

    /// Sends all that waits. One packet that fails does not hold up the others; a failure is told.
    pub fn flush(&mut self, fd: &impl AsFd, ring: &mut Option<Ring>) -> Result<(), DeviceError> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        // What has not left with the ring leaves without.
        let mut left: ArrayVec<bool, { ring::MOST }> = self.ends.iter().map(|_| true).collect();
        if let Some(open) = ring.as_mut().filter(|_| self.ends.len() > 1) {
            let mut able = true;
            let tell = |number: usize, done: Result<usize, Errno>| match done {
                Err(errno) if ring::is_unable(errno) => able = false,
                done => {
                    left[number] = false;
                    result = result.and(done.map(|_| ()));
                }
            };
            // SAFETY: after a failure the octets are leaked.
            if unsafe { open.write(fd, self.packets(), tell) }.is_err() {
                able = false;
                self.octets = core::mem::take(&mut self.octets).leak().to_vec();
            }
            if !able {
                *ring = None;
            }
        }
        for (packet, _) in self.packets().zip(&left).filter(|(_, left)| **left) {
            result = result.and(retry_on_intr(|| write(fd, packet)).map(|_| ()));
        }
        self.octets.clear();
        self.ends.clear();
        result.map_err(DeviceError::from_tun)
    }

    fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.octets[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::TxMeta;
    use rustix::fd::OwnedFd;
    use rustix::io::read;
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    /// A pipe of packets.
    fn ends() -> (OwnedFd, OwnedFd) {
        let (far, near) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).expect("a pipe");
        fcntl_setpipe_size(&near, 1 << 20).expect("room");
        (near, far)
    }

    fn packet<'a>(parts: [&'a [u8]; 4]) -> TxPacket<'a> {
        TxPacket { parts, meta: TxMeta::default() }
    }

    fn arrived(far: &OwnedFd) -> Vec<Vec<u8>> {
        let mut buffer = [0; 8192];
        core::iter::from_fn(|| read(far, &mut buffer).ok().map(|len| buffer[..len].to_vec())).collect()
    }

    #[test]
    fn packets_leave_whole_and_in_order_with_a_ring_and_without() {
        for ringed in [false, true] {
            let (near, far) = ends();
            let mut ring = if ringed { Ring::open() } else { None };
            let mut outbox = Outbox::default();
            for n in 0..3 {
                outbox.push(&near, &mut ring, b"head ", &packet([&[n], b"", b"text", &[n]])).expect("taken");
            }
            assert!(arrived(&far).is_empty(), "they wait for each other");
            outbox.flush(&near, &mut ring).expect("sent");
            let all: Vec<Vec<u8>> = (0..3).map(|n| [b"head ", &[n][..], b"text", &[n]].concat()).collect();
            assert_eq!(arrived(&far), all);
            // A large one does not wait, and nothing overtakes.
            let large = [7; SMALL + 1];
            outbox.push(&near, &mut ring, b"", &packet([b"first", b"", b"", b""])).expect("taken");
            outbox.push(&near, &mut ring, b"", &packet([&large, b"", b"", b"x"])).expect("taken");
            assert_eq!(arrived(&far), [b"first".to_vec(), [&large[..], b"x"].concat()]);
            outbox.flush(&near, &mut ring).expect("nothing to send");
            assert!(arrived(&far).is_empty());
        }
    }

    #[test]
    fn many_packets_leave_in_batches() {
        for ringed in [false, true] {
            let ((near, far), mut outbox) = (ends(), Outbox::default());
            let mut ring = if ringed { Ring::open() } else { None };
            for n in 0..100u8 {
                outbox.push(&near, &mut ring, b"", &packet([&[n], b"", b"", b""])).expect("taken");
            }
            assert_eq!(arrived(&far).len(), 100 - 100 % ring::MOST);
            outbox.flush(&near, &mut ring).expect("sent");
            assert_eq!(arrived(&far).len(), 100 % ring::MOST);
        }
    }

    /// A named pipe takes nothing through a ring that is to be done at once, as a TUN before Linux 6.4.
    #[test]
    fn a_file_that_a_ring_cannot_write_is_written_without() {
        let path = std::env::temp_dir().join(format!("tunstack-outbox-{}", std::process::id()));
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a named pipe");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK;
        let pipe = rustix::fs::open(&path, flags, mode).expect("opened");
        std::fs::remove_file(&path).expect("ours");
        let (mut outbox, mut ring) = (Outbox::default(), Ring::open());
        for part in [b"one ", b"two ", b"thre"] {
            outbox.push(&pipe, &mut ring, b"", &packet([part, b"", b"", b""])).expect("taken");
        }
        outbox.flush(&pipe, &mut ring).expect("sent");
        assert_eq!(arrived(&pipe).concat(), b"one two thre");
    }

    #[test]
    fn a_failure_is_told_and_nothing_waits_afterwards() {
        for ringed in [false, true] {
            let (near, far) = ends();
            let mut ring = if ringed { Ring::open() } else { None };
            drop(far);
            let mut outbox = Outbox::default();
            for _ in 0..3 {
                outbox.push(&near, &mut ring, b"", &packet([b"a", b"", b"", b""])).expect("taken");
            }
            assert!(outbox.flush(&near, &mut ring).is_err());
            assert!(outbox.flush(&near, &mut ring).is_ok());
        }
    }
}
