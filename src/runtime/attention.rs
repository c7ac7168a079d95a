//! What a thread sleeps on while it watches the device: one epoll for whoever drives, one for the housekeeper.
//!
//! The driver's epoll holds the device, the timer and the wake fd. The housekeeper's epoll holds the driver's, with
//! an interest that is off while somebody drives, so the device is never watched twice. A driver that leaves sees to it
//! that the rest timer runs: the housekeeper takes over when nobody drove until it ran off. A thread that soon waits
//! again finds the role still warm, and what arrived meanwhile has woken nobody (waking a thread costs more than
//! processing its packet).

use super::clock::timeout;
use crate::base::Duration;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// What made a sleeper wake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// The device has packets.
    pub device: bool,
    /// Something happened to the link.
    pub link: bool,
    /// The timer ran off.
    pub timer: bool,
    /// Somebody asked for attention.
    pub kick: bool,
}

/// Only look.
pub(crate) const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How long a device may be unattended while a thread that drove it is busy with what it got.
pub(crate) const REST: Duration = Duration::from_micros(200);

/// The same for threads that were found to come back.
pub(crate) const LONG_REST: Duration = Duration::from_millis(1);

const DEVICE: u64 = 0;
const LINK: u64 = 1;
const TIMER: u64 = 2;
const KICK: u64 = 3;

/// How long a driver looks before it sleeps: about what it takes to wake a thread on another processor and back.
const SPIN: core::time::Duration = core::time::Duration::from_micros(80);
/// Waits that go without at most, after looking was in vain.
const PATIENCE: u32 = 1024;

/// Whether something is worth trying that costs when it is in vain: to look for a while before sleeping saves two wake-ups where something
/// mostly comes soon, else it takes the processor from whoever else wants it, perhaps from the very peer that is waited for. So
/// it must prove itself: each time in vain doubles the number of times that go without, each success halves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    skip: u32,
    vain: u32,
}

impl Trial {
    /// It is tried at first; looking also by a thread with one processor: what it waits for may come from another one.
    pub fn new() -> Trial {
        Trial { skip: 0, vain: 1 }
    }

    /// Is it to be tried this time?
    pub fn is_due(&mut self) -> bool {
        let due = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        due
    }

    pub fn on_result(&mut self, found: bool) {
        if found {
            self.vain = (self.vain / 2).max(1);
        } else {
            self.skip = self.vain;
            self.vain = (self.vain * 2).min(PATIENCE);
        }
    }
}

/// The descriptors of one stack.
#[derive(Debug)]
pub(crate) struct Attention {
    driver: OwnedFd,
    housekeeper: OwnedFd,
    timer: OwnedFd,
    rest: OwnedFd,
    kick: OwnedFd,
    /// The term of a thread that panicked while it drove; zero: none did.
    abandoned: AtomicU64,
}

impl Attention {
    /// Fresh descriptors; the housekeeper attends.
    pub fn new() -> io::Result<Attention> {
        let timer =
            || timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK);
        let attention = Attention {
            driver: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            housekeeper: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: timer()?,
            rest: timer()?,
            kick: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            abandoned: AtomicU64::new(0),
        };
        attention.watch(attention.timer.as_fd(), TIMER)?;
        attention.watch(attention.kick.as_fd(), KICK)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&attention.housekeeper, &attention.driver, data, epoll::EventFlags::IN)?;
        epoll::add(&attention.housekeeper, &attention.rest, data, epoll::EventFlags::IN)?;
        Ok(attention)
    }

    fn watch(&self, fd: BorrowedFd<'_>, tag: u64) -> io::Result<()> {
        Ok(epoll::add(&self.driver, fd, epoll::EventData::new_u64(tag), epoll::EventFlags::IN)?)
    }

    /// Watches a device for packets.
    pub fn watch_device(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.watch(fd, DEVICE)
    }

    /// Switches what [`watch_device`](Attention::watch_device) asked for on or off.
    pub fn device_tells(&self, fd: BorrowedFd<'_>, tells: bool) {
        let flags = if tells { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let result = epoll::modify(&self.driver, fd, epoll::EventData::new_u64(DEVICE), flags);
        debug_assert!(result.is_ok(), "epoll_ctl: {result:?}");
    }

    /// Watches for news about the link.
    pub fn watch_link(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.watch(fd, LINK)
    }

    /// Stops watching `fd`.
    pub fn forget(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.driver, fd);
    }

    /// Sleeps until something happens, as the driver.
    pub fn wait(&self, timeout: Option<&Timespec>) -> Signals {
        let mut events: [std::mem::MaybeUninit<epoll::Event>; 4] = [std::mem::MaybeUninit::uninit(); 4];
        let mut signals = Signals::default();
        // An interrupted wait is a wait that ended early: every caller looks at its condition again.
        let Ok((events, _)) = epoll::wait(&self.driver, &mut events, timeout) else { return signals };
        for event in events {
            match event.data.u64() {
                DEVICE => signals.device = true,
                LINK => signals.link = true,
                TIMER => signals.timer = true,
                _ => signals.kick = true,
            }
        }
        signals
    }

    /// As [`wait`](Attention::wait), after a look around where that pays.
    pub fn wait_spinning(&self, spin: &mut Trial, timeout: Option<&Timespec>) -> Signals {
        if timeout == Some(&NO_TIME) || !spin.is_due() {
            return self.wait(timeout);
        }
        let start = std::time::Instant::now();
        loop {
            let signals = self.wait(Some(&NO_TIME));
            let found = signals != Signals::default();
            if found || start.elapsed() >= SPIN {
                spin.on_result(found);
                return if found { signals } else { self.wait(timeout) };
            }
        }
    }

    /// Sleeps as the housekeeper: until something happened that it is to attend, or a rest is over.
    pub fn sleep(&self) {
        let mut events: [std::mem::MaybeUninit<epoll::Event>; 1] = [std::mem::MaybeUninit::uninit(); 1];
        let _ = epoll::wait(&self.housekeeper, &mut events, None);
        drain(&self.rest);
    }

    /// The role is free and still warm: the housekeeper wakes after `time` to see whether anybody came back for it.
    pub fn rest(&self, time: Duration) {
        let value = Itimerspec { it_interval: NO_TIME, it_value: timeout(time) };
        let result = timerfd_settime(&self.rest, TimerfdTimerFlags::empty(), &value);
        debug_assert!(result.is_ok(), "timerfd_settime: {result:?}");
    }

    /// The thread that drives panics: the housekeeper is to take the role from it.
    pub fn abandon(&self, term: u64) {
        self.abandoned.store(term, Ordering::Release);
        self.rest(REST);
    }

    /// Did the thread of this term panic?
    pub fn is_abandoned(&self, term: u64) -> bool {
        self.abandoned.load(Ordering::Acquire) == term
    }

    /// Switches the housekeeper's interest on or off.
    pub fn housekeeper_attends(&self, attends: bool) {
        let flags = if attends { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let result = epoll::modify(&self.housekeeper, &self.driver, epoll::EventData::new_u64(0), flags);
        debug_assert!(result.is_ok(), "epoll_ctl: {result:?}");
    }

    /// Wakes whoever attends.
    pub fn kick(&self) {
        let _ = write(&self.kick, &1u64.to_ne_bytes());
    }

    /// Takes back a kick.
    pub fn clear_kick(&self) {
        drain(&self.kick);
    }

    /// Lets the timer run off at `at` (monotonic time).
    pub fn arm(&self, at: Timespec) {
        // All zero would disarm the timer; a deadline in the past fires at once.
        let at = if at == NO_TIME { Timespec { tv_sec: 0, tv_nsec: 1 } } else { at };
        let value = Itimerspec { it_interval: NO_TIME, it_value: at };
        let result = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value);
        debug_assert!(result.is_ok(), "timerfd_settime: {result:?}");
    }

    /// Takes note that the timer ran off.
    pub fn clear_timer(&self) {
        drain(&self.timer);
    }

    /// The descriptor that is readable when the stack wants a turn.
    pub fn as_driver_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

fn drain(fd: &OwnedFd) {
    let mut count = [0u8; 8];
    while let Err(Errno::INTR) = read(fd, &mut count) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn housekeeper_would_wake(attention: &Attention) -> bool {
        let mut fds = [PollFd::new(&attention.housekeeper, PollFlags::IN)];
        poll(&mut fds, Some(&NO_TIME)).expect("poll") == 1
    }

    #[test]
    fn housekeeper_wakes_only_while_it_attends_and_at_once_when_something_waits() {
        let attention = Attention::new().expect("descriptors");
        assert!(!housekeeper_would_wake(&attention));
        attention.kick();
        assert!(housekeeper_would_wake(&attention));
        attention.housekeeper_attends(false);
        assert!(!housekeeper_would_wake(&attention));
        assert_eq!(attention.wait(None), Signals { kick: true, ..Signals::default() });
        attention.housekeeper_attends(true);
        assert!(housekeeper_would_wake(&attention), "a signal that is already there wakes at once");
        attention.clear_kick();
        assert!(!housekeeper_would_wake(&attention));
        assert_eq!(attention.wait(Some(&NO_TIME)), Signals::default());
    }

    /// What is found counts; what is not makes the waits that go without more and more, up to a bound.
    #[test]
    fn looking_must_prove_itself() {
        let attention = Attention::new().expect("descriptors");
        let mut spin = Trial::new();
        attention.kick();
        for _ in 0..100 {
            assert!(attention.wait_spinning(&mut spin, None).kick);
            assert_eq!((spin.skip, spin.vain), (0, 1));
        }
        attention.clear_kick();
        let short = Timespec { tv_sec: 0, tv_nsec: 1000 };
        let mut looks = Vec::new();
        for wait in 0..40 {
            let due = spin.skip == 0;
            assert_eq!(attention.wait_spinning(&mut spin, Some(&short)), Signals::default());
            looks.extend(due.then_some(wait));
        }
        assert_eq!(looks, [0, 2, 5, 10, 19, 36]);
        for _ in 0..20 {
            spin.on_result(false);
        }
        assert_eq!(spin.skip, PATIENCE);
        spin.on_result(true);
        assert_eq!(spin.vain, PATIENCE / 2);
    }

    #[test]
    fn a_rest_ends_by_itself() {
        let attention = Attention::new().expect("descriptors");
        attention.housekeeper_attends(false);
        attention.rest(REST);
        attention.sleep();
        assert!(!housekeeper_would_wake(&attention));
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once() {
        let attention = Attention::new().expect("descriptors");
        attention.arm(NO_TIME);
        assert!(attention.wait(None).timer);
        attention.clear_timer();
        assert!(!attention.wait(Some(&NO_TIME)).timer);
    }
}
