//! Whoever waits, drives.
//!
//! A thread that must wait and finds the role free takes it: it watches the device itself until its own condition is
//! met, or until it finds something for another thread and nothing for itself, so no packet waits for a second thread. If the role
//! is taken it sleeps on its own parker, and may inherit the role. The housekeeper attends only while nobody waits.

use super::attention::{Attention, LONG_REST, NO_TIME, Signals};
use super::batch;
use super::clock::{Clock, timeout};
use super::shard::{Role, Shard};
use super::wake::{Direction, Parker, this_thread};
use super::watch::PollerId;
use super::{Resolve, Running};
use crate::base::{Duration, Errno, Instant};
use crate::host::SocketId;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError, Weak};
use std::task::{Context, Waker};

/// What all handles of one stack share.
pub(crate) struct Shared {
    shard: Mutex<Shard>,
    contenders: AtomicU32,
    pub clock: Clock,
    pub running: OnceLock<Weak<Running>>,
    pub resolver: RwLock<Option<Arc<dyn Resolve>>>,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On<'a> {
    /// Sockets, each in one direction.
    Sockets(&'a [(SocketId, Direction)]),
    /// The last octet of a closing socket being acknowledged; `None`: of every closed one.
    Linger(Option<SocketId>),
    /// Anything a poller watches.
    Poller(PollerId),
    /// A future, which enrolls the waker of this parker itself.
    Task(&'a Arc<Parker>),
}

thread_local! {
    /// Does this thread hold a driver's role, or is it a housekeeper?
    static DRIVES: Cell<bool> = const { Cell::new(false) };
}

/// May this thread wait for the end of a housekeeper without waiting for itself?
pub(crate) fn may_join() -> bool {
    !DRIVES.get()
}

/// The shard, locked. Whoever was to be woken is woken after the lock is free.
pub(crate) struct Locked<'a> {
    guard: Option<MutexGuard<'a, Shard>>,
}

impl Deref for Locked<'_> {
    type Target = Shard;
    fn deref(&self) -> &Shard {
        self.guard.as_ref().expect("held until dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        self.guard.as_mut().expect("held until dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let wakes = self.take_wakes();
        self.guard = None;
        wakes.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    pub fn new(shard: Shard, clock: Clock) -> Shared {
        Shared {
            shard: Mutex::new(shard),
            contenders: AtomicU32::new(0),
            clock,
            running: OnceLock::new(),
            resolver: RwLock::new(None),
        }
    }

    pub fn lock(&self) -> Locked<'_> {
        let guard = match self.shard.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.contenders.fetch_add(1, Ordering::Relaxed);
                let guard = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
                self.contenders.fetch_sub(1, Ordering::Relaxed);
                guard
            }
        };
        Locked { guard: Some(guard) }
    }

    /// Between two rounds without a sleep: lets those in who wait for the lock.
    fn breathe(&self) {
        if self.contenders.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
    }

    /// A call that never waits.
    pub fn call<T>(&self, op: impl FnOnce(&mut Shard, Instant) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut shard = self.lock();
        if let Some(errno) = shard.ended {
            return Err(errno);
        }
        let now = self.clock.now();
        let result = op(&mut shard, now);
        self.settle(&mut shard, now);
        result
    }

    /// After a call that need not wait: its packets leave, or wait for the end of this thread's batch.
    fn settle(&self, shard: &mut Shard, now: Instant) {
        if batch::holds(self) {
            // What comes meanwhile waits too: it is answered when it is seen, not before.
            shard.announce();
            shard.leave_to_housekeeper(now);
        } else {
            shard.settle(now);
            shard.attend(now);
        }
    }

    /// Sends what is due.
    pub fn flush(&self) {
        let mut shard = self.lock();
        if shard.ended.is_none() {
            shard.settle(self.clock.now());
        }
    }

    /// What can still be had from a stack that has ended: data that had arrived.
    pub fn leftover<T>(&self, mut op: impl FnMut(&mut Shard, Instant) -> Result<T, Errno>) -> Option<T> {
        let mut shard = self.lock();
        shard.ended?;
        let now = self.clock.now();
        // Datagrams come after the error that the end has left.
        op(&mut shard, now).or_else(|_| op(&mut shard, now)).ok()
    }

    /// A call of a task: when `op` has nothing yet, the task is woken at the next change.
    pub fn poll<T>(
        &self,
        context: &mut Context<'_>,
        (socket, direction): (SocketId, Direction),
        op: impl FnOnce(&mut Shard, Instant) -> Result<Option<T>, Errno>,
    ) -> Result<Option<T>, Errno> {
        self.call(|shard, now| {
            let result = op(shard, now);
            if let Ok(None) = result {
                shard.enroll(socket, direction, context.waker());
            }
            result
        })
    }

    /// Tries `op` until it has a result, and sleeps or drives in between. `None` when the deadline passed first.
    pub fn wait<T>(
        &self,
        on: On<'_>,
        deadline: Option<Instant>,
        mut op: impl FnMut(&mut Shard, Instant) -> Result<Option<T>, Errno>,
    ) -> Result<Option<T>, Errno> {
        let mut shard = self.lock();
        let mut driver: Option<Driver> = None;
        if let On::Poller(_) = on {
            // It looks at the device although something may be ready: where something always is it would never drive, and
            // the housekeeper would do its work from another processor.
            driver = shard.take_role().map(Driver::new);
            if let Some(driver) = &mut driver {
                driver.drained = !shard.round_for_answers(Signals { device: true, ..Signals::default() });
            }
        }
        let mut bed: Option<Bed<'_>> = None;
        let result = loop {
            if let Some(errno) = shard.ended {
                break Err(errno);
            }
            if let Some(bed) = &bed {
                bed.make();
            }
            let now = self.clock.now();
            match op(&mut shard, now) {
                Ok(None) => {}
                done => break done,
            }
            if deadline.is_some_and(|at| at <= now) {
                break Ok(None);
            }
            // What `op` did may have made its own condition true (loopback): look again before sleeping.
            if shard.settle(now) {
                continue;
            }
            if driver.as_ref().is_some_and(|driver| driver.drained) && shard.steps_down() {
                driver = None;
            } else if driver.is_none() {
                driver = shard.take_role().map(Driver::new);
            }
            let bed = bed.get_or_insert_with(|| Bed::new(on));
            (shard, driver) = match driver {
                Some(driver) => driver.turn(self, shard, bed, deadline.map(|at| at.since(now))),
                None => self.sleep(shard, bed, deadline.map(|at| at.since(now))),
            };
        };
        let answers = matches!((on, &driver, &result), (On::Poller(_), Some(_), Ok(Some(_))));
        if shard.ended.is_none() && !answers {
            let now = self.clock.now();
            self.settle(&mut shard, now);
        }
        if driver.take().is_some() {
            shard.leave_role();
        }
        result
    }

    /// Sleeps until something that it waits for may have happened, or until it is to drive.
    fn sleep<'a>(
        &'a self,
        mut shard: Locked<'a>,
        bed: &Bed<'_>,
        left: Option<Duration>,
    ) -> (Locked<'a>, Option<Driver>) {
        bed.enroll(&mut shard);
        let sleeper = shard.go_to_sleep(&bed.waker);
        drop(shard);
        bed.parker.park(left.map(|left| std::time::Instant::now() + left.into()));
        let mut shard = self.lock();
        bed.dismiss(&mut shard);
        let heir = shard.wake_up(sleeper).map(Driver::new);
        (shard, heir)
    }

    /// One turn of the embedder's event loop: one bounded round, without waiting.
    pub fn turn(&self, attention: &Attention) -> Result<(), Errno> {
        let mut shard = self.lock();
        if let Some(errno) = shard.ended {
            return Err(errno);
        }
        // What this round makes ready the event loop looks at anyway.
        shard.told = true;
        shard.device_tells(true);
        let more = shard.round(attention.wait(Some(&NO_TIME)));
        shard.told = false;
        if more {
            shard.tell_reactor();
        }
        match shard.ended {
            Some(errno) => Err(errno),
            None => Ok(()),
        }
    }

    /// The housekeeper's life: sleeps until nobody drives and something happened.
    pub fn housekeep(&self, attention: &Attention) {
        DRIVES.set(true);
        let mut attending = true;
        loop {
            attention.sleep();
            loop {
                let mut shard = match self.shard.try_lock() {
                    // Somebody is at work, and need not be made to wake us at every turn: another look later will do.
                    Err(TryLockError::WouldBlock) if !attending => {
                        attention.rest(LONG_REST);
                        break;
                    }
                    Err(TryLockError::WouldBlock) => self.lock(),
                    Ok(guard) => Locked { guard: Some(guard) },
                    Err(TryLockError::Poisoned(poisoned)) => Locked { guard: Some(poisoned.into_inner()) },
                };
                // Whoever ends the stack takes the descriptors out of the shard.
                if shard.attention.is_none() {
                    return;
                }
                attending = shard.housekeeper_has_role();
                if !attending {
                    break;
                }
                shard.device_tells(true);
                let more = shard.round(attention.wait(Some(&NO_TIME)));
                drop(shard);
                if !more {
                    break;
                }
                self.breathe();
            }
        }
    }
}

/// Where a waiting thread sleeps, and what may wake it.
struct Bed<'a> {
    on: On<'a>,
    parker: Arc<Parker>,
    waker: Waker,
}

impl<'a> Bed<'a> {
    fn new(on: On<'a>) -> Bed<'a> {
        let parker = match on {
            On::Sockets(_) | On::Linger(_) | On::Poller(_) => this_thread(),
            On::Task(parker) => Arc::clone(parker),
        };
        Bed { on, waker: Waker::from(Arc::clone(&parker)), parker }
    }

    /// Forgets wakes that are about to be looked at. (A task's own are its business.)
    fn make(&self) {
        match self.on {
            On::Sockets(_) | On::Linger(_) | On::Poller(_) => drop(self.parker.take()),
            On::Task(_) => {}
        }
    }

    fn enroll(&self, shard: &mut Shard) {
        let waker = &self.waker;
        match self.on {
            On::Sockets(sockets) => sockets.iter().for_each(|&(id, way)| shard.enroll(id, way, waker)),
            On::Linger(socket) => shard.enroll_lingerer(socket, waker),
            On::Poller(poller) => {
                if let Some(poller) = shard.pollers.get_mut(poller) {
                    poller.enroll(waker);
                }
            }
            On::Task(_) => {}
        }
    }

    fn dismiss(&self, shard: &mut Shard) {
        let waker = &self.waker;
        match self.on {
            On::Sockets(sockets) => sockets.iter().for_each(|&(id, way)| shard.dismiss(id, way, waker)),
            On::Linger(socket) => shard.dismiss_lingerer(socket, waker),
            On::Poller(poller) => {
                if let Some(poller) = shard.pollers.get_mut(poller) {
                    poller.dismiss(waker);
                }
            }
            On::Task(_) => {}
        }
    }
}

/// A thread's term in the role.
struct Driver {
    term: u64,
    attention: Arc<Attention>,
    /// Was the device empty when we last looked?
    drained: bool,
}

impl Drop for Driver {
    fn drop(&mut self) {
        DRIVES.set(false);
        if std::thread::panicking() {
            self.attention.abandon(self.term);
        }
    }
}

impl Driver {
    fn new((term, attention): (u64, Arc<Attention>)) -> Driver {
        DRIVES.set(true);
        Driver { term, attention, drained: false }
    }

    /// Sleeps on the device if it was empty, then one round. The first turn looks before it sleeps. The role may be
    /// gone afterwards: the embedder's event loop has it, or the stack has ended.
    fn turn<'a>(
        mut self,
        shared: &'a Shared,
        mut shard: Locked<'a>,
        bed: &Bed<'_>,
        left: Option<Duration>,
    ) -> (Locked<'a>, Option<Driver>) {
        let mut signals = Signals { device: true, ..Signals::default() };
        if self.drained {
            // Others may make the condition true (loopback, shutdown): they must be able to wake us.
            bed.enroll(&mut shard);
            shard.device_tells(true);
            let mut spin = shard.spin;
            drop(shard);
            signals = bed.parker.drive(&self.attention, &mut spin, left.map(timeout).as_ref());
            shard = shared.lock();
            shard.spin = spin;
            bed.dismiss(&mut shard);
        } else if shared.contenders.load(Ordering::Relaxed) > 0 {
            drop(shard);
            shared.breathe();
            shard = shared.lock();
        }
        self.drained = !match bed.on {
            On::Poller(_) => shard.round_for_answers(signals),
            On::Sockets(_) | On::Linger(_) | On::Task(_) => shard.round(signals),
        };
        let mine = shard.role == Role::Thread(self.term);
        (shard, mine.then_some(self))
    }
}
