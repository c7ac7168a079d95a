//! Registered readiness: thousands of sockets in one thread, each wait as dear as what it reports.

use super::AsSocket;
use crate::base::Errno;
use crate::host::Readiness;
use crate::runtime::{On, PollEvent, PollerId, PollerState, Shard, Shared, Stack, Trigger, Watch};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Watches many sockets of one stack. The thread in [`wait`](Poller::wait) drives the stack.
///
/// A socket that is closed leaves by itself. Several threads may wait on one poller.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let stack = tunstack::runtime::Stack::builder().start()?;
/// use tunstack::socket::{Poller, Readiness, Trigger, UdpSocket};
///
/// let socket = UdpSocket::bind(&stack, "127.0.0.1:0")?;
/// let poller = Poller::new(&stack)?;
/// poller.add(&socket, 42, Readiness::READABLE, Trigger::Level)?;
/// socket.send_to(b"to myself", socket.local_addr()?)?;
/// let mut events = Vec::with_capacity(16);
/// poller.wait(&mut events, None)?;
/// assert_eq!(events[0].token, 42);
/// # Ok(()) }
/// ```
pub struct Poller {
    shared: Arc<Shared>,
    id: PollerId,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Poller").field(&self.id).finish()
    }
}

impl Poller {
    /// A poller for sockets of `stack`.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn new(stack: &Stack) -> io::Result<Poller> {
        let shared = Arc::clone(stack.shared());
        let id = shared.call(|shard, _| Ok(shard.pollers.insert(PollerState::default())))?;
        Ok(Poller { shared, id })
    }

    /// Watches a socket: `wait` reports `token` when it is ready for any of `interest`, or failed.
    ///
    /// # Errors
    /// `AlreadyExists` when it is watched, `EINVAL` for a socket of another stack.
    pub fn add(
        &self,
        socket: &impl AsSocket,
        token: u64,
        interest: Readiness,
        trigger: Trigger,
    ) -> io::Result<()> {
        let id = self.own(socket)?;
        let added = self.shared.call(|shard, _| {
            let added = self.state(shard)?.add(id, Watch::new(token, interest, trigger));
            if added {
                shard.add_watch(self.id, id);
            }
            Ok(added)
        })?;
        if added { Ok(()) } else { Err(io::ErrorKind::AlreadyExists.into()) }
    }

    /// Changes what is watched; arms a oneshot watch again.
    ///
    /// # Errors
    /// `NotFound` when the socket is not watched.
    pub fn modify(
        &self,
        socket: &impl AsSocket,
        token: u64,
        interest: Readiness,
        trigger: Trigger,
    ) -> io::Result<()> {
        let id = self.own(socket)?;
        let found = self.shared.call(|shard, _| {
            let found = self.state(shard)?.change(id, Watch::new(token, interest, trigger));
            if found {
                shard.look(self.id, id);
            }
            Ok(found)
        })?;
        if found { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Watches a socket no more.
    ///
    /// # Errors
    /// `NotFound` when the socket is not watched.
    pub fn delete(&self, socket: &impl AsSocket) -> io::Result<()> {
        let id = self.own(socket)?;
        let found = self.shared.call(|shard, _| {
            let found = self.state(shard)?.remove(id);
            shard.remove_watch(self.id, id);
            Ok(found)
        })?;
        if found { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Waits until a watched socket is ready and replaces what is in `events`, up to its capacity (at least one).
    /// Returns how many there are: 0 after `timeout` or [`notify`](Poller::notify). `None` waits for ever.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn wait(&self, events: &mut Vec<PollEvent>, timeout: Option<Duration>) -> io::Result<usize> {
        events.clear();
        let room = events.capacity().max(1);
        let deadline = timeout.map(|timeout| self.shared.clock.now() + timeout.into());
        self.shared.wait(On::Poller(self.id), deadline, |shard, _| {
            let state = shard.pollers.get_mut(self.id).ok_or(Errno::EBADF)?;
            state.collect(&shard.host, room, events);
            let notified = std::mem::take(&mut state.notified);
            Ok((notified || !events.is_empty()).then_some(()))
        })?;
        Ok(events.len())
    }

    /// Ends a wait of another thread, or the next one.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn notify(&self) -> io::Result<()> {
        Ok(self.shared.call(|shard, _| {
            shard.wake_poller(self.id);
            Ok(())
        })?)
    }

    fn own(&self, socket: &impl AsSocket) -> io::Result<crate::host::SocketId> {
        let inner = socket.handle().0;
        if !Arc::ptr_eq(&inner.shared, &self.shared) {
            return Err(Errno::EINVAL.into());
        }
        if inner.is_closed() {
            return Err(Errno::EBADF.into());
        }
        Ok(inner.id)
    }

    fn state<'a>(&self, shard: &'a mut Shard) -> Result<&'a mut PollerState, Errno> {
        shard.pollers.get_mut(self.id).ok_or(Errno::EBADF)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        let mut shard = self.shared.lock();
        let Some(state) = shard.pollers.remove(self.id) else { return };
        for socket in state.sockets() {
            shard.remove_watch(self.id, socket);
        }
    }
}
