//! What few sockets have, apart from the others: of those there may be a million.

use crate::host::PacketInfo;
use crate::runtime::Direction;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Timeouts, a low water mark, a datagram in parts.
#[derive(Default)]
pub(super) struct Rare {
    /// Nanoseconds; 0: for ever.
    recv_timeout: AtomicU64,
    send_timeout: AtomicU64,
    /// 0: not set.
    pub recv_lowat: AtomicU32,
    /// Datagram that `MSG_MORE` has begun.
    pub corked: Mutex<Option<Corked>>,
}

impl Rare {
    pub fn timeout(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.recv_timeout,
            Direction::Write => &self.send_timeout,
        }
    }
}

/// A datagram that is not complete, with where it goes.
type Corked = (Option<SocketAddr>, PacketInfo, Vec<u8>);
