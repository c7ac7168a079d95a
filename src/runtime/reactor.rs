//! Other people's event loops, and futures.

use super::attention::Attention;
use super::shard::Role;
use super::wake::Parker;
use super::{On, Shared, Stack};
use crate::base::Duration;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The driver's role in the hands of an event loop: one descriptor to wait for, one call to make when it is readable.
///
/// While it lives, nothing else processes packets and timers: threads blocked in calls of the same stack wait for
/// [`turn`](Reactor::turn). The thread of the event loop itself must use non-blocking calls only. The descriptor is
/// readable for whatever makes a socket ready: packets, time, calls of other threads, [`Poller::notify`].
///
/// [`Poller::notify`]: crate::socket::Poller::notify
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let stack = tunstack::runtime::Stack::builder().start()?;
/// # use std::os::fd::AsFd;
/// let reactor = stack.reactor()?;
/// let descriptor = reactor.as_fd(); // register it for reading, level-triggered
/// // … and whenever it is readable:
/// reactor.turn()?; // then look at the sockets, with `Poller::wait` and no time for instance
/// # let _ = descriptor;
/// # Ok(()) }
/// ```
pub struct Reactor {
    shared: Arc<Shared>,
    attention: Arc<Attention>,
}

impl Reactor {
    pub(super) fn new(stack: &Stack) -> io::Result<Reactor> {
        let shared = Arc::clone(stack.shared());
        let mut shard = shared.lock();
        if let Some(errno) = shard.ended {
            return Err(errno.into());
        }
        let attention = shard.take_role_for_reactor().ok_or(io::ErrorKind::ResourceBusy)?;
        drop(shard);
        Ok(Reactor { shared, attention })
    }

    /// Processes one bounded round of what there is now, without waiting. When there is more, the descriptor stays
    /// readable.
    ///
    /// # Errors
    /// `ENETDOWN` or `ENODEV` when the stack has ended. The descriptor then stays readable for ever: wait for it no more.
    pub fn turn(&self) -> io::Result<()> {
        Ok(self.shared.turn(&self.attention)?)
    }

    /// How long until the next deadline. (The descriptor becomes readable then, too.)
    pub fn next_timeout(&self) -> Option<std::time::Duration> {
        let at = self.shared.lock().next_timeout()?;
        Some(Duration::into(at.since(self.shared.clock.now())))
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.attention.as_driver_fd()
    }
}

impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let mut shard = self.shared.lock();
        if shard.role == Role::Reactor {
            shard.leave_role();
        }
    }
}

/// Runs a future to its end on this thread, which drives meanwhile.
pub(super) fn block_on<F: Future>(shared: &Shared, future: F) -> F::Output {
    let mut future = pin!(future);
    // Not the thread's own place: the future may make blocking calls.
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let woken = shared.wait(On::Task(&parker), None, |_, _| Ok(parker.take().then_some(())));
        if woken.is_err() {
            // The stack has ended; the future may still wait for other things.
            parker.park(None);
            parker.take();
        }
    }
}
