//! `poll` and `select` over sockets of one stack.

use super::consts::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP};
use super::inner::Inner;
use super::{AsSocket, Handle};
use crate::base::Errno;
use crate::host::{Readiness, SocketId};
use crate::runtime::{Direction, On, Shard};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One socket in a call of [`poll`].
#[derive(Debug)]
pub struct PollFd<'a> {
    socket: Handle<'a>,
    /// What to wait for: `POLLIN`, `POLLOUT`, `POLLPRI`, `POLLRDHUP`.
    pub events: i16,
    /// What happened; `POLLERR`, `POLLHUP` and `POLLNVAL` come unasked.
    pub revents: i16,
}

impl<'a> PollFd<'a> {
    /// Asks for `events` of a socket.
    pub fn new(socket: &'a impl AsSocket, events: i16) -> PollFd<'a> {
        PollFd { socket: socket.handle(), events, revents: 0 }
    }

    fn inner(&self) -> &'a Arc<Inner> {
        self.socket.0
    }
}

const BITS: [(Readiness, i16); 6] = [
    (Readiness::READABLE, POLLIN),
    (Readiness::WRITABLE, POLLOUT),
    (Readiness::PRIORITY, POLLPRI),
    (Readiness::ERROR, POLLERR),
    (Readiness::HANGUP, POLLHUP),
    (Readiness::READ_HANGUP, POLLRDHUP),
];

/// `poll(2)`'s bits of a readiness.
fn poll_bits(readiness: Readiness) -> i16 {
    BITS.iter().filter(|(bit, _)| readiness.contains(*bit)).fold(0, |bits, (_, poll)| bits | poll)
}

/// Waits until one of `fds` is ready, and says how many are. `None` waits for ever, zero only looks.
///
/// # Errors
/// `EINVAL` when the sockets are not all of one stack; when the stack has ended.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let sockets: Vec<&Arc<Inner>> = fds.iter().map(PollFd::inner).collect();
    let ready = wait_for(&sockets, timeout, |shard| {
        let mut ready = 0;
        for fd in &mut *fds {
            fd.revents = look(shard, fd.inner()) & (fd.events | POLLERR | POLLHUP | POLLNVAL);
            ready += usize::from(fd.revents != 0);
        }
        Ok((ready > 0).then_some(ready))
    })?;
    Ok(ready.unwrap_or(0))
}

/// Waits until `look` finds something about any of `sockets`.
fn wait_for<T>(
    sockets: &[&Arc<Inner>],
    timeout: Option<Duration>,
    mut look: impl FnMut(&Shard) -> Result<Option<T>, Errno>,
) -> Result<Option<T>, Errno> {
    let Some(first) = sockets.first() else {
        std::thread::sleep(timeout.unwrap_or(Duration::MAX));
        return Ok(None);
    };
    let shared = &first.shared;
    if sockets.iter().any(|socket| !Arc::ptr_eq(&socket.shared, shared)) {
        return Err(Errno::EINVAL);
    }
    let deadline = timeout.map(|timeout| shared.clock.now() + timeout.into());
    let both = [Direction::Read, Direction::Write];
    let slots: Vec<(SocketId, Direction)> =
        sockets.iter().flat_map(|socket| both.map(|direction| (socket.id, direction))).collect();
    shared.wait(On::Sockets(&slots), deadline, |shard, _| look(shard))
}

/// What `poll(2)` says about a socket now.
fn look(shard: &Shard, socket: &Inner) -> i16 {
    if socket.is_closed() { POLLNVAL } else { poll_bits(shard.host.readiness(socket.id)) }
}

/// What [`select`] found: positions in the three lists that it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Sockets from which receiving or accepting will not wait.
    pub read: Vec<usize>,
    /// Sockets on which sending will not wait.
    pub write: Vec<usize>,
    /// Sockets with urgent data.
    pub except: Vec<usize>,
}

/// Waits until a socket of `read` can be read, one of `write` written or one of `except` has urgent data. `None` waits
/// for ever, zero only looks.
///
/// # Errors
/// As [`poll`]; `EBADF` for a closed socket.
pub fn select(
    read: &[&dyn AsSocket],
    write: &[&dyn AsSocket],
    except: &[&dyn AsSocket],
    timeout: Option<Duration>,
) -> io::Result<Selected> {
    let all: Vec<&Arc<Inner>> =
        [read, write, except].iter().flat_map(|list| list.iter().map(|socket| socket.handle().0)).collect();
    let selected = wait_for(&all, timeout, |shard| {
        if all.iter().any(|socket| socket.is_closed()) {
            return Err(Errno::EBADF);
        }
        // What Linux's select counts as readable, writable and exceptional.
        let pick = |list: &[&dyn AsSocket], mask: i16| -> Vec<usize> {
            let ready = |at: &usize| look(shard, list[*at].handle().0) & mask != 0;
            (0..list.len()).filter(ready).collect()
        };
        let selected = Selected {
            read: pick(read, POLLIN | POLLHUP | POLLERR),
            write: pick(write, POLLOUT | POLLERR),
            except: pick(except, POLLPRI),
        };
        Ok((selected != Selected::default()).then_some(selected))
    })?;
    Ok(selected.unwrap_or_default())
}
