//! Packets without a device: from an embedder, over a channel or a callback, and between two stacks in one process.
//!
//! Each direction is a bounded queue with an eventfd, so it can be waited for like a device. A full queue refuses the
//! packet, as a device's does.

use super::{Device, DeviceError};
use crate::wire::packet::{Link, RxMeta, TxPacket};
use core::fmt;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Packets that wait in one direction at most.
const CAPACITY: usize = 4096;

/// A device whose packets an embedder carries, and the embedder's end of it. Dropping either end closes both.
///
/// ```
/// use tunstack::base::Instant;
/// use tunstack::link::channel;
///
/// let (mut device, port) = channel(1500)?;
/// port.send(*b"a packet")?;
/// let mut buffer = [0; 1500];
/// let (len, _meta) = device.recv(Instant::ZERO, &mut buffer)?.unwrap();
/// assert_eq!(&buffer[..len], b"a packet");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When no eventfd is to be had (`EMFILE`).
pub fn channel(mtu: u32) -> io::Result<(Device, Port)> {
    let (inward, outward) = (Queue::new()?, Queue::new()?);
    let device = Channel { link: Link::plain(mtu), inward: inward.clone(), outward: outward.clone() };
    Ok((Device::Channel(device), Port { injector: Injector(inward), outward }))
}

/// Two devices, each of which receives what the other sends.
///
/// # Errors
/// When no eventfd is to be had (`EMFILE`).
pub fn wire(mtu: u32) -> io::Result<(Device, Device)> {
    let (one, other) = (Queue::new()?, Queue::new()?);
    let link = Link::plain(mtu);
    let left = Channel { link, inward: one.clone(), outward: other.clone() };
    let right = Channel { link, inward: other, outward: one };
    Ok((Device::Channel(left), Device::Channel(right)))
}

/// A device that hands every packet to `output` and receives what the [`Injector`] is given. `output` runs in whatever
/// thread drives the stack and must not block.
///
/// # Errors
/// When no eventfd is to be had (`EMFILE`).
pub fn callback(
    mtu: u32,
    output: impl FnMut(&TxPacket<'_>) -> Result<(), DeviceError> + Send + 'static,
) -> io::Result<(Device, Injector)> {
    let inward = Queue::new()?;
    let device = Callback { link: Link::plain(mtu), inward: inward.clone(), output: Box::new(output) };
    Ok((Device::Callback(device), Injector(inward)))
}

/// One direction.
struct Queue {
    state: Mutex<State>,
    /// Readable while there is a packet, and for ever once closed.
    event: OwnedFd,
}

#[derive(Default)]
struct State {
    packets: VecDeque<Vec<u8>>,
    closed: bool,
}

impl Queue {
    fn new() -> io::Result<Arc<Queue>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Queue { state: Mutex::default(), event }))
    }

    // A thread that panicked in here left the queue whole: no invariant spans a call that can panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, packet: Vec<u8>) -> Result<(), DeviceError> {
        let mut state = self.state();
        if state.closed {
            return Err(DeviceError::Gone);
        }
        if state.packets.len() >= CAPACITY {
            return Err(DeviceError::Full);
        }
        state.packets.push_back(packet);
        if state.packets.len() == 1 {
            self.signal();
        }
        Ok(())
    }

    /// Takes the oldest packet; `Gone` once closed and empty.
    fn pop(&self) -> Result<Option<Vec<u8>>, DeviceError> {
        let mut state = self.state();
        let packet = state.packets.pop_front();
        if packet.is_none() && state.closed {
            return Err(DeviceError::Gone);
        }
        if packet.is_some() && state.packets.is_empty() && !state.closed {
            // Never fails: the counter is not zero.
            let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
        }
        Ok(packet)
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.signal();
    }

    fn signal(&self) {
        // Fails only at a count of 2^64 - 2, and then the descriptor is readable anyway.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Queue({} packets{})", state.packets.len(), if state.closed { ", closed" } else { "" })
    }
}

/// The stack's end of a channel or wire.
#[derive(Debug)]
pub struct Channel {
    link: Link,
    inward: Arc<Queue>,
    outward: Arc<Queue>,
}

impl Channel {
    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, RxMeta)>, DeviceError> {
        Ok(self.inward.pop()?.map(|packet| (fill(buffer, &packet), RxMeta::default())))
    }

    pub(super) fn send(&mut self, packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        self.outward.push(packet.to_vec())
    }

    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.inward.event.as_fd()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.inward.close();
        self.outward.close();
    }
}

/// Takes the packets of a [`Callback`] device.
type Output = Box<dyn FnMut(&TxPacket<'_>) -> Result<(), DeviceError> + Send>;

/// A device whose output goes to a function of the embedder's.
pub struct Callback {
    link: Link,
    inward: Arc<Queue>,
    output: Output,
}

impl Callback {
    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, RxMeta)>, DeviceError> {
        Ok(self.inward.pop()?.map(|packet| (fill(buffer, &packet), RxMeta::default())))
    }

    pub(super) fn send(&mut self, packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        (self.output)(packet)
    }

    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.inward.event.as_fd()
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.inward.close();
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("link", &self.link)
            .field("inward", &self.inward)
            .finish_non_exhaustive()
    }
}

/// Copies as much of `packet` as there is room for, as a TUN does.
fn fill(buffer: &mut [u8], packet: &[u8]) -> usize {
    let len = packet.len().min(buffer.len());
    buffer[..len].copy_from_slice(&packet[..len]);
    len
}

/// Gives packets to a stack.
#[derive(Clone, Debug)]
pub struct Injector(Arc<Queue>);

impl Injector {
    /// A packet for the stack, complete with checksums.
    ///
    /// # Errors
    /// [`DeviceError::Full`] when the stack does not keep up: the packet is lost. [`DeviceError::Gone`] when it ended.
    pub fn send(&self, packet: impl Into<Vec<u8>>) -> Result<(), DeviceError> {
        self.0.push(packet.into())
    }

    /// Ends the link: once the stack has read what is queued, all its sockets end with an error.
    pub fn close(&self) {
        self.0.close();
    }
}

/// The embedder's end of a [`channel`].
#[derive(Debug)]
pub struct Port {
    injector: Injector,
    outward: Arc<Queue>,
}

impl Port {
    /// A packet for the stack, complete with checksums.
    ///
    /// # Errors
    /// [`DeviceError::Full`] when the stack does not keep up: the packet is lost. [`DeviceError::Gone`] when it ended.
    pub fn send(&self, packet: impl Into<Vec<u8>>) -> Result<(), DeviceError> {
        self.injector.send(packet)
    }

    /// The next packet from the stack, if there is one now.
    ///
    /// # Errors
    /// [`DeviceError::Gone`] when the stack ended and everything was read.
    pub fn try_recv(&self) -> Result<Option<Vec<u8>>, DeviceError> {
        self.outward.pop()
    }

    /// The next packet from the stack; waits for it, at most `timeout`.
    ///
    /// # Errors
    /// [`DeviceError::Gone`] when the stack ended and everything was read.
    pub fn recv_timeout(&self, timeout: core::time::Duration) -> Result<Option<Vec<u8>>, DeviceError> {
        if let Some(packet) = self.try_recv()? {
            return Ok(Some(packet));
        }
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let mut fds = [PollFd::new(&self.outward.event, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.try_recv(),
            Err(errno) => Err(DeviceError::Refused(errno.into())),
        }
    }

    /// Another hand that gives packets to the stack.
    pub fn injector(&self) -> Injector {
        self.injector.clone()
    }
}

/// Readable while the stack has sent something that was not received here yet.
impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outward.event.as_fd()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.injector.close();
        self.outward.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Instant;

    const NOW: Instant = Instant::ZERO;

    fn readable(fd: BorrowedFd<'_>) -> bool {
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll") == 1
    }

    fn send(device: &mut Device, octets: &[u8]) -> Result<(), DeviceError> {
        device
            .send(NOW, &TxPacket { parts: [&octets[..1], &octets[1..], &[], &[]], meta: Default::default() })
    }

    #[test]
    fn a_wire_carries_both_ways_and_is_readable_only_while_it_holds_something() {
        let (mut left, mut right) = wire(1400).expect("eventfd");
        assert_eq!((left.link().mtu, right.link().max_packet), (1400, 1400));
        let mut buffer = [0; 64];
        assert!(matches!(right.recv(NOW, &mut buffer), Ok(None)));
        for _ in 0..2 {
            assert!(!readable(right.poll_fd().expect("fd")));
            send(&mut left, b"abc").expect("room");
            send(&mut left, b"de").expect("room");
            assert!(readable(right.poll_fd().expect("fd")) && !readable(left.poll_fd().expect("fd")));
            assert_eq!(right.recv(NOW, &mut buffer).expect("alive"), Some((3, RxMeta::default())));
            assert_eq!(&buffer[..3], b"abc");
            assert!(readable(right.poll_fd().expect("fd")));
            assert_eq!(right.recv(NOW, &mut buffer).expect("alive"), Some((2, RxMeta::default())));
        }
        send(&mut right, b"back").expect("room");
        drop(right);
        // What was sent before the end still arrives; then the end is told, and for ever.
        assert_eq!(left.recv(NOW, &mut buffer).expect("queued"), Some((4, RxMeta::default())));
        assert!(readable(left.poll_fd().expect("fd")));
        assert!(matches!(left.recv(NOW, &mut buffer), Err(DeviceError::Gone)));
        assert!(matches!(send(&mut left, b"x1"), Err(DeviceError::Gone)));
    }

    #[test]
    fn a_full_channel_refuses_and_recovers() {
        let (mut device, port) = channel(1500).expect("eventfd");
        for _ in 0..CAPACITY {
            send(&mut device, b"ab").expect("room");
        }
        assert!(matches!(send(&mut device, b"ab"), Err(DeviceError::Full)));
        assert_eq!(port.try_recv().expect("alive").as_deref(), Some(&b"ab"[..]));
        send(&mut device, b"ab").expect("room again");
        port.send(*b"hello").expect("room");
        let mut short = [0; 3];
        assert_eq!(device.recv(NOW, &mut short).expect("alive"), Some((3, RxMeta::default())));
        drop(port);
        assert!(matches!(device.recv(NOW, &mut short), Err(DeviceError::Gone)));
    }

    #[test]
    fn a_callback_gets_every_packet() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = sent.clone();
        let (mut device, injector) = callback(1500, move |packet| {
            log.lock().expect("whole").push(packet.to_vec());
            Ok(())
        })
        .expect("eventfd");
        send(&mut device, b"out").expect("taken");
        assert_eq!(*sent.lock().expect("whole"), [b"out".to_vec()]);
        injector.send(*b"in").expect("room");
        assert!(readable(device.poll_fd().expect("fd")));
        let mut buffer = [0; 8];
        assert_eq!(device.recv(NOW, &mut buffer).expect("alive"), Some((2, RxMeta::default())));
        drop(device);
        assert!(matches!(injector.send(*b"x"), Err(DeviceError::Gone)));
    }
}
