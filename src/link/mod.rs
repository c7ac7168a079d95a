//! Link layer: where packets come from and go to.
//!
//! A [`Device`] is a TUN interface, an embedder's channel or callback, one end of a wire between two stacks, or any of
//! these behind an impairment stage. All are used alike and never block. [`Setup`] says what interface is wanted,
//! [`netns`] makes private network namespaces to put it in, [`impair`] makes a link bad on purpose.
#![allow(unsafe_code)]

mod channel;
mod error;
pub mod impair;
mod impaired;
mod interface;
mod netlink;
pub mod netns;
mod offload;
mod outbox;
mod plan;
mod tun;

use crate::base::{Errno, Instant};
use crate::wire::packet::{Link, RxMeta, TxPacket};
pub use channel::{Callback, Channel, Injector, Port, callback, channel, wire};
use core::fmt;
pub use error::LinkError;
use impair::Impairment;
pub use impaired::Impaired;
pub use interface::LinkEvent;
pub use plan::{Offload, Plan, Setup, Step, check_name};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
pub use tun::{Tun, check_addresses, check_node, check_right, exists};

/// Octets of a buffer that holds any packet a device can give.
pub const BUFFER: usize = crate::base::pool::PacketBuf::LEN;

/// A source and sink of IP packets.
#[derive(Debug)]
pub enum Device {
    /// A TUN interface, made by us, found by name, or handed in as a descriptor.
    Tun(Tun),
    /// Packets from an embedder's [`Port`], or from the other end of a [`wire`].
    Channel(Channel),
    /// Packets from an embedder's [`Injector`], output to a function.
    Callback(Callback),
    /// Any of these, behind an impairment stage.
    Impaired(Box<Impaired>),
}

impl Device {
    /// Opens a TUN interface, see [`Tun::open`].
    ///
    /// # Errors
    /// [`LinkError`] names what is in the way and how to mend it.
    pub fn tun(setup: &Setup) -> Result<Device, LinkError> {
        Tun::open(setup).map(Device::Tun)
    }

    /// Opens `count` queues of one TUN interface, for [`Builder::start_shards`](crate::runtime::Builder::start_shards).
    ///
    /// # Errors
    /// As [`Device::tun`].
    pub fn tun_queues(setup: &Setup, count: usize) -> Result<Vec<Device>, LinkError> {
        Ok(Tun::open_queues(setup, count)?.into_iter().map(Device::Tun).collect())
    }

    /// Takes an open TUN descriptor, see [`Tun::from_fd`].
    ///
    /// # Errors
    /// [`LinkError::BadFd`] when it is something else.
    pub fn from_fd(fd: OwnedFd, mtu: Option<u32>) -> Result<Device, LinkError> {
        Tun::from_fd(fd, mtu).map(Device::Tun)
    }

    /// This device behind an impairment stage, all of whose chance comes from `seed`. Time zero of the stage (for
    /// blackouts) is [`Instant::ZERO`]. Offload ends: what is lost or late are packets of wire size.
    pub fn impaired(self, impairment: &Impairment, seed: u64) -> Device {
        Device::Impaired(Box::new(Impaired::new(self, impairment, seed)))
    }

    /// Reads one packet into `buffer` ([`BUFFER`] octets hold any); `None` when there is none now.
    ///
    /// # Errors
    /// See [`DeviceError`]; only [`DeviceError::Gone`] is final.
    pub fn recv(&mut self, now: Instant, buffer: &mut [u8]) -> Result<Option<(usize, RxMeta)>, DeviceError> {
        match self {
            Device::Tun(tun) => tun.recv(buffer),
            Device::Channel(channel) => channel.recv(buffer),
            Device::Callback(callback) => callback.recv(buffer),
            Device::Impaired(impaired) => impaired.recv(now, buffer),
        }
    }

    /// Writes one packet.
    ///
    /// # Errors
    /// See [`DeviceError`]; whichever it is, this packet is lost. Only [`DeviceError::Gone`] is final.
    pub fn send(&mut self, now: Instant, packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        let pushed = self.push(now, packet);
        pushed.and(self.flush())
    }

    /// Takes one packet, which leaves with the next [`flush`](Device::flush) at the latest: in a row they cost less.
    ///
    /// # Errors
    /// As [`Device::send`], of this packet or of one before it.
    pub fn push(&mut self, now: Instant, packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        match self {
            Device::Tun(tun) => tun.push(packet),
            Device::Channel(channel) => channel.send(packet),
            Device::Callback(callback) => callback.send(packet),
            Device::Impaired(impaired) => impaired.send(now, packet),
        }
    }

    /// Writes what was taken and waits.
    ///
    /// # Errors
    /// As [`Device::send`], of any of them; the others have left.
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        match self {
            Device::Tun(tun) => tun.flush(),
            // These take nothing that they do not send, or keep until its time comes.
            Device::Channel(_) | Device::Callback(_) | Device::Impaired(_) => Ok(()),
        }
    }

    /// When to call [`Device::recv`] at the latest although the descriptor is not readable: an impairment stage holds
    /// packets that are due then.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self {
            Device::Tun(_) | Device::Channel(_) | Device::Callback(_) => None,
            Device::Impaired(impaired) => impaired.next_timeout(),
        }
    }

    fn switch_offload_off(&mut self) {
        match self {
            Device::Tun(tun) => tun.switch_offload_off(),
            // None of these has any.
            Device::Channel(_) | Device::Callback(_) | Device::Impaired(_) => {}
        }
    }

    /// Readable when there is a packet. `POLLERR` or `POLLHUP` on it: try [`Device::recv`], it tells what happened.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Device::Tun(tun) => Some(tun.as_fd()),
            Device::Channel(channel) => Some(channel.poll_fd()),
            Device::Callback(callback) => Some(callback.poll_fd()),
            Device::Impaired(impaired) => impaired.inner().poll_fd(),
        }
    }

    /// What the link can do now.
    pub fn link(&self) -> Link {
        match self {
            Device::Tun(tun) => tun.link(),
            Device::Channel(channel) => channel.link(),
            Device::Callback(callback) => callback.link(),
            Device::Impaired(impaired) => impaired.link(),
        }
    }

    /// Readable when something happened to the interface; `None` for a device without such news.
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Device::Tun(tun) => tun.events_fd(),
            Device::Impaired(impaired) => impaired.inner().events_fd(),
            Device::Channel(_) | Device::Callback(_) => None,
        }
    }

    /// What happened to the interface, oldest first; `None` when nothing (more) did. Call until `None`, also after a
    /// packet failed with [`DeviceError::Down`]. [`Device::link`] is up to date afterwards.
    pub fn poll_link_event(&mut self) -> Option<LinkEvent> {
        match self {
            Device::Tun(tun) => tun.poll_link_event(),
            Device::Impaired(impaired) => impaired.inner_mut().poll_link_event(),
            Device::Channel(_) | Device::Callback(_) => None,
        }
    }

    /// The interface's name, for a device that has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Device::Tun(tun) => Some(tun.name()),
            Device::Impaired(impaired) => impaired.inner().name(),
            Device::Channel(_) | Device::Callback(_) => None,
        }
    }
}

/// Why a packet was not read or written.
#[derive(Debug)]
pub enum DeviceError {
    /// The interface is down. The packet is lost; the interface may come up again.
    Down,
    /// The interface was deleted, or the other end closed. Nothing will come or go any more.
    Gone,
    /// There is no room in the device. The packet is lost.
    Full,
    /// The device refused this packet for another reason.
    Refused(io::Error),
}

impl DeviceError {
    /// What the error of a system call on a TUN means.
    fn from_tun(errno: rustix::io::Errno) -> DeviceError {
        use rustix::io::Errno;
        match errno {
            Errno::IO => DeviceError::Down,
            Errno::BADFD | Errno::NODEV | Errno::NXIO | Errno::BADF => DeviceError::Gone,
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => DeviceError::Full,
            other => DeviceError::Refused(other.into()),
        }
    }

    /// The error that sockets report for it.
    pub fn errno(&self) -> Errno {
        match self {
            DeviceError::Down => Errno::ENETDOWN,
            DeviceError::Gone => Errno::ENODEV,
            DeviceError::Full => Errno::ENOBUFS,
            DeviceError::Refused(_) => Errno::EIO,
        }
    }

    /// Is this the end of the device?
    pub fn is_final(&self) -> bool {
        match self {
            DeviceError::Gone => true,
            DeviceError::Down | DeviceError::Full | DeviceError::Refused(_) => false,
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Down => f.write_str("the interface is down"),
            DeviceError::Gone => f.write_str("the interface is gone"),
            DeviceError::Full => f.write_str("the device has no room"),
            DeviceError::Refused(error) => write!(f, "the device refused the packet: {error}"),
        }
    }
}

impl core::error::Error for DeviceError {}

impl From<DeviceError> for io::Error {
    fn from(error: DeviceError) -> io::Error {
        io::Error::from_raw_os_error(error.errno().code())
    }
}
