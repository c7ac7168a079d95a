//! Who waits for what: one list of wakers per socket and direction, for blocked threads, pollers and tasks alike.

use super::attention::{Attention, NO_TIME, Signals, Trial};
use crate::host::Readiness;
use rustix::event::Timespec;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

/// The two directions of a socket that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// recv, accept.
    Read,
    /// send, connect.
    Write,
}

impl Direction {
    /// The readiness that ends a wait in this direction. An error or a hang-up ends both.
    pub fn wakes(self) -> Readiness {
        let both = Readiness::ERROR | Readiness::HANGUP;
        match self {
            Direction::Read => both | Readiness::READABLE | Readiness::PRIORITY | Readiness::READ_HANGUP,
            Direction::Write => both | Readiness::WRITABLE,
        }
    }
}

/// Adds `waker` unless it is there already.
pub(crate) fn enroll(list: &mut Vec<Waker>, waker: &Waker) {
    if !list.iter().any(|known| known.will_wake(waker)) {
        list.push(waker.clone());
    }
}

/// Removes `waker`, if it is there.
pub(crate) fn dismiss(list: &mut Vec<Waker>, waker: &Waker) {
    if let Some(at) = list.iter().position(|known| known.will_wake(waker)) {
        list.swap_remove(at);
    }
}

/// Where one thread sleeps. (Not `thread::park`: its token belongs to the user.)
#[derive(Debug, Default)]
pub(crate) struct Parker {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    notified: bool,
    place: Place,
}

/// What it takes to wake the thread.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Awake,
    Parked,
    Driving(Arc<Attention>),
}

impl Parker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until woken or until `deadline`. A wake that came before is not lost; it stays until [`Parker::take`].
    pub fn park(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        while !state.notified {
            state.place = Place::Parked;
            state = match deadline {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.place = Place::Awake;
    }

    /// Sleeps on the device, as the driver: a wake then kicks `attention`.
    pub fn drive(&self, attention: &Arc<Attention>, spin: &mut Trial, timeout: Option<&Timespec>) -> Signals {
        let mut state = self.lock();
        if !state.notified {
            state.place = Place::Driving(Arc::clone(attention));
        }
        let timeout = if state.notified { Some(&NO_TIME) } else { timeout };
        drop(state);
        let signals = attention.wait_spinning(spin, timeout);
        self.lock().place = Place::Awake;
        signals
    }

    /// Was it woken since this was last asked?
    pub fn take(&self) -> bool {
        std::mem::take(&mut self.lock().notified)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Parker>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Parker>) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.notified, true) {
            return;
        }
        match &state.place {
            Place::Awake => {}
            Place::Parked => self.wake.notify_one(),
            Place::Driving(attention) => attention.kick(),
        }
    }
}

thread_local! {
    static PARKER: Arc<Parker> = Arc::default();
}

/// The place where the calling thread sleeps.
pub(crate) fn this_thread() -> Arc<Parker> {
    // A thread that is being torn down gets a fresh one; it is as good.
    PARKER.try_with(Arc::clone).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_wake_before_the_sleep_is_not_lost_and_counts_once() {
        let parker = this_thread();
        let waker = Waker::from(Arc::clone(&parker));
        waker.wake_by_ref();
        waker.wake_by_ref();
        parker.park(None);
        assert!(parker.take());
        assert!(!parker.take());
        let before = Instant::now();
        parker.park(Some(before + Duration::from_millis(5)));
        assert!(before.elapsed() >= Duration::from_millis(5));
    }

    #[test]
    fn a_wake_reaches_a_thread_that_sleeps_on_the_device() {
        let parker = Arc::new(Parker::default());
        let attention = Arc::new(Attention::new().expect("descriptors"));
        std::thread::scope(|scope| {
            let driver = scope.spawn(|| parker.drive(&attention, &mut Trial::new(), None));
            Waker::from(Arc::clone(&parker)).wake();
            // Kicked out of its sleep, or never asleep.
            driver.join().expect("woken");
        });
        assert!(parker.take());
    }

    #[test]
    fn a_waker_is_listed_once() {
        let waker = Waker::from(this_thread());
        let mut list = Vec::new();
        enroll(&mut list, &waker);
        enroll(&mut list, &waker.clone());
        assert_eq!(list.len(), 1);
        dismiss(&mut list, &waker);
        assert!(list.is_empty());
    }
}
