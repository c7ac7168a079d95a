//! Several reads or writes of a TUN with one system call, through io_uring.
//!
//! Each is to be done at once or not at all, so nothing is under way after a call.

use core::fmt;
use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

/// Does this say that the kernel knows no such operation on a TUN? Up to Linux 6.3 none can be done at once there.
pub(super) fn is_unable(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::INVAL)
}

/// Reads or writes in one call at most.
pub(super) const MOST: usize = 32;

/// A file without a position has no offset.
const NO_OFFSET: u64 = u64::MAX;
/// That the file does not block is not enough: io_uring would wait for it instead.
const AT_ONCE: i32 = libc::RWF_NOWAIT;

pub(super) struct Ring(IoUring);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    /// `None` where the kernel or a sandbox does not let us. No file is registered: an interface would outlive its process by as long as
    /// the kernel takes to tidy the ring up.
    pub fn open() -> Option<Ring> {
        IoUring::builder().build(MOST as u32).ok().map(Ring)
    }

    /// Writes `packets`, [`MOST`] at most, in order, and tells what came of each. One that fails does not hold up the others.
    ///
    /// # Safety
    /// After an error the octets must stay where they are for good.
    pub unsafe fn write<'a>(
        &mut self,
        fd: &impl AsFd,
        packets: impl Iterator<Item = &'a [u8]>,
        tell: impl FnMut(usize, Result<usize, Errno>),
    ) -> Result<(), Errno> {
        let fd = types::Fd(fd.as_fd().as_raw_fd());
        let entry = |packet: &[u8]| opcode::Write::new(fd, packet.as_ptr(), packet.len() as u32);
        let entries = packets.map(|packet| entry(packet).offset(NO_OFFSET).rw_flags(AT_ONCE).build());
        // SAFETY: the octets outlive this call, and after a failure the caller keeps them.
        unsafe { self.run(entries, tell) }
    }

    /// Reads a packet into each of `slots`, [`MOST`] at most, and tells what came of it.
    ///
    /// # Safety
    /// After an error the octets must stay where they are for good.
    pub unsafe fn read<'a>(
        &mut self,
        fd: &impl AsFd,
        slots: impl Iterator<Item = &'a mut [u8]>,
        tell: impl FnMut(usize, Result<usize, Errno>),
    ) -> Result<(), Errno> {
        let fd = types::Fd(fd.as_fd().as_raw_fd());
        let entry = |slot: &mut [u8]| opcode::Read::new(fd, slot.as_mut_ptr(), slot.len() as u32);
        let entries = slots.map(|slot| entry(slot).offset(NO_OFFSET).rw_flags(AT_ONCE).build());
        // SAFETY: as above, and each slot is borrowed alone.
        unsafe { self.run(entries, tell) }
    }

    /// Submits and waits for all.
    ///
    /// # Safety
    /// What the entries point to must outlive this call; after an error, everything.
    unsafe fn run(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        mut tell: impl FnMut(usize, Result<usize, Errno>),
    ) -> Result<(), Errno> {
        let mut left = 0;
        for (number, entry) in entries.enumerate() {
            // SAFETY: promised by the caller.
            unsafe { self.0.submission().push(&entry.user_data(number as u64)) }.map_err(|_| Errno::BUSY)?;
            left += 1;
        }
        while left > 0 {
            match self.0.submit_and_wait(left).map_err(|error| Errno::from_io_error(&error)) {
                Ok(_) | Err(Some(Errno::INTR)) => {}
                Err(errno) => return Err(errno.unwrap_or(Errno::IO)),
            }
            for completion in self.0.completion() {
                let result = completion.result();
                let done = usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
                tell(completion.user_data() as usize, done);
                left -= 1;
            }
        }
        Ok(())
    }
}
