//! Packets on their way into a TUN: small ones of one round are collected and leave in a row. Each takes the kernel's receive path along, and
//! that, and our own way to the next packet, go faster when they do not alternate.

use super::DeviceError;
use crate::wire::packet::TxPacket;
use rustix::fd::AsFd;
use rustix::io::{retry_on_intr, write, writev};
use std::io::IoSlice;

/// Larger ones go at once: copying them costs more than telling the kernel of each part.
const SMALL: usize = 2048;
/// Packets that wait for each other at most.
const MOST: usize = 64;

/// Packets that were handed over and have not left.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// One after the other, each behind its offload header where it has one.
    octets: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Outbox {
    /// Takes a packet, behind its offload `header`. It leaves with the next flush at the latest.
    pub fn push(&mut self, fd: &impl AsFd, header: &[u8], packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        let small = header.len() + packet.len() <= SMALL;
        // Order is kept.
        let flushed = if !small || self.ends.len() == MOST { self.flush(fd) } else { Ok(()) };
        if small {
            self.octets.extend_from_slice(header);
            packet.parts.iter().for_each(|part| self.octets.extend_from_slice(part));
            self.ends.push(self.octets.len());
            return flushed;
        }
        let [a, b, c, d] = packet.parts;
        let parts = [header, a, b, c, d].map(IoSlice::new);
        let parts = if header.is_empty() { &parts[1..] } else { &parts[..] };
        let written = retry_on_intr(|| writev(fd, parts));
        flushed.and(written.map(|_| ()).map_err(DeviceError::from_tun))
    }

    /// Sends all that waits. One packet that fails does not hold up the others; a failure is told.
    pub fn flush(&mut self, fd: &impl AsFd) -> Result<(), DeviceError> {
        let (mut result, mut start) = (Ok(()), 0);
        for end in self.ends.drain(..) {
            let packet = &self.octets[start..end];
            result = result.and(retry_on_intr(|| write(fd, packet)).map(|_| ()));
            start = end;
        }
        self.octets.clear();
        result.map_err(DeviceError::from_tun)
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
    fn packets_leave_whole_and_in_order() {
        let ((near, far), mut outbox) = (ends(), Outbox::default());
        for n in 0..3 {
            outbox.push(&near, b"head ", &packet([&[n], b"", b"text", &[n]])).expect("taken");
        }
        assert!(arrived(&far).is_empty(), "they wait for each other");
        outbox.flush(&near).expect("sent");
        let all: Vec<Vec<u8>> = (0..3).map(|n| [b"head ", &[n][..], b"text", &[n]].concat()).collect();
        assert_eq!(arrived(&far), all);
        // A large one does not wait, and nothing overtakes.
        let large = [7; SMALL + 1];
        outbox.push(&near, b"", &packet([b"first", b"", b"", b""])).expect("taken");
        outbox.push(&near, b"", &packet([&large, b"", b"", b"x"])).expect("taken");
        assert_eq!(arrived(&far), [b"first".to_vec(), [&large[..], b"x"].concat()]);
        outbox.flush(&near).expect("nothing to send");
        assert!(arrived(&far).is_empty());
    }

    #[test]
    fn many_packets_leave_in_rows() {
        let ((near, far), mut outbox) = (ends(), Outbox::default());
        for n in 0..150u8 {
            outbox.push(&near, b"", &packet([&[n], b"", b"", b""])).expect("taken");
        }
        assert_eq!(arrived(&far).len(), 150 - 150 % MOST);
        outbox.flush(&near).expect("sent");
        assert_eq!(arrived(&far).len(), 150 % MOST);
    }

    #[test]
    fn a_failure_is_told_and_nothing_waits_afterwards() {
        let ((near, far), mut outbox) = (ends(), Outbox::default());
        drop(far);
        for _ in 0..3 {
            outbox.push(&near, b"", &packet([b"a", b"", b"", b""])).expect("taken");
        }
        assert!(outbox.flush(&near).is_err());
        assert!(outbox.flush(&near).is_ok());
    }
}
