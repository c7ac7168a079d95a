//! Packets read ahead: where many small ones come at a time, they come with one system call, and so does the news that no more are
//! there.

use super::BUFFER;
use super::ring::{self, Ring};
use crate::wire::vnet;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::collections::VecDeque;

/// Octets of a slot: any packet and its offload header. Small packets touch little of it.
const SLOT: usize = vnet::LEN + BUFFER;
/// What is not larger is small: copying it costs next to nothing.
const SMALL: usize = 256;
/// So many small ones in a row make it worth reading ahead.
const MANY: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Slots, made when they are first needed.
    slots: Vec<u8>,
    /// What was read and not yet taken: the slot, and what came of it.
    read: VecDeque<(usize, Result<usize, Errno>)>,
    /// Small packets in a row since the device was last empty, and before that.
    row: usize,
    last_row: usize,
}

impl Inbox {
    /// The next packet, or the device's refusal, if it was read ahead or reading ahead is worth while.
    pub fn take(&mut self, fd: &impl AsFd, ring: &mut Option<Ring>) -> Option<Result<&[u8], Errno>> {
        if self.read.is_empty() && self.last_row >= MANY {
            self.fill(fd, ring);
        }
        let (slot, done) = self.read.pop_front()?;
        self.note(done);
        Some(done.map(|len| &self.slots[slot * SLOT..][..len]))
    }

    /// Is there nothing that was read ahead?
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// Takes note of what a read gave.
    pub fn note(&mut self, done: Result<usize, Errno>) {
        match done {
            Ok(len) if len <= SMALL => self.row += 1,
            Ok(_) => (self.row, self.last_row) = (0, 0),
            Err(_) => self.last_row = core::mem::take(&mut self.row),
        }
    }

    fn fill(&mut self, fd: &impl AsFd, ring: &mut Option<Ring>) {
        let Some(open) = ring else { return };
        // One more than came last time: it tells that the device is empty.
        let count = (self.last_row + 1).min(ring::MOST);
        if self.slots.is_empty() {
            self.slots = vec![0; ring::MOST * SLOT];
        }
        let Inbox { slots, read, .. } = self;
        let slots = slots.chunks_exact_mut(SLOT).take(count);
        // That there was nothing for one does not mean that nothing came for the next.
        let mut refusal = None;
        let tell = |slot, done| match done {
            Ok(_) => read.push_back((slot, done)),
            Err(errno) => refusal = refusal.filter(|known| *known != Errno::AGAIN).or(Some(errno)),
        };
        // SAFETY: after a failure the slots are leaked.
        let failed = unsafe { open.read(fd, slots, tell) }.is_err();
        if failed {
            self.slots = core::mem::take(&mut self.slots).leak().to_vec();
        }
        match refusal {
            refusal if failed || refusal.is_some_and(ring::is_unable) => *ring = None,
            Some(errno) => self.read.push_back((0, Err(errno))),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use rustix::io::{read, write};
    use rustix::pipe::{PipeFlags, pipe_with};

    /// Whatever comes at a time, small or large, each packet is read once and in order, and the end is told each time.
    #[test]
    fn all_that_came_is_read_in_order() {
        let (near, far) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).expect("a pipe of packets");
        let (mut inbox, mut ring, mut rng) = (Inbox::default(), Ring::open(), Rng::from_seed(1));
        let (mut buffer, mut ahead) = (vec![0; SLOT], 0);
        for round in 0..300 {
            let sizes = (0..rng.below(9)).map(|_| if rng.chance(0.02) { 2000 } else { 40 + rng.below(60) });
            let packets: Vec<Vec<u8>> = sizes.map(|size| vec![round as u8; size as usize]).collect();
            packets.iter().for_each(|packet| assert_eq!(write(&far, packet), Ok(packet.len())));
            let mut got = Vec::new();
            loop {
                let taken = inbox.take(&near, &mut ring).map(|done| done.map(<[u8]>::to_vec));
                ahead += usize::from(taken.is_some());
                let done = taken.unwrap_or_else(|| {
                    let done = read(&near, &mut buffer);
                    inbox.note(done);
                    done.map(|len| buffer[..len].to_vec())
                });
                match done {
                    Ok(packet) => got.push(packet),
                    Err(errno) => break assert_eq!(errno, Errno::AGAIN),
                }
            }
            assert_eq!(got, packets);
            assert!(inbox.is_empty());
        }
        // Where the kernel allows it at all.
        assert_eq!(ahead > 0, ring.is_some());
    }
}
