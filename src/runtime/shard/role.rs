//! Who watches the device: how the role goes from thread to thread, and to the housekeeper and back.

use super::{Shard, Sleeper, SleeperId};
use crate::base::{Duration, Instant};
use crate::runtime::attention::{Attention, LONG_REST, REST};
use std::sync::Arc;
use std::task::Waker;

/// Who watches the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nobody waits; the housekeeper is interested.
    Housekeeper,
    /// A thread left a moment ago, and may be back before the housekeeper takes over.
    Nobody,
    /// A waiting thread, known by the number of its term.
    Thread(u64),
    /// The embedder's event loop.
    Reactor,
}

/// A thread that is back before is back at once: waking another one meanwhile would have taken about as long.
const ABSENCE: Duration = Duration::from_micros(100);

/// How long the role may be left while others sleep who could have it.
const BESIDE: Duration = Duration::from_micros(500);

impl Shard {
    /// Takes the role if it is free.
    pub fn take_role(&mut self) -> Option<(u64, Arc<Attention>)> {
        let attention = Arc::clone(self.attention.as_ref()?);
        match self.role {
            Role::Housekeeper => attention.housekeeper_attends(false),
            Role::Nobody => {}
            Role::Thread(_) | Role::Reactor => return None,
        }
        self.judge_absence();
        self.terms += 1;
        self.role = Role::Thread(self.terms);
        Some((self.terms, attention))
    }

    /// Gives the role to the embedder's event loop; a thread that drives finds it gone when it looks up.
    pub fn take_role_for_reactor(&mut self) -> Option<Arc<Attention>> {
        let attention = Arc::clone(self.attention.as_ref()?);
        match self.role {
            Role::Housekeeper => attention.housekeeper_attends(false),
            Role::Nobody => {}
            Role::Thread(_) => attention.kick(),
            Role::Reactor => return None,
        }
        // What was left to answers, and the timer: the descriptor would not tell of them.
        self.settle(self.clock.now());
        // The event loop looks at the descriptor before it makes a round.
        self.device_tells(true);
        self.role = Role::Reactor;
        self.left_sleepers = None;
        self.told = false;
        Some(attention)
    }

    /// Makes the descriptor of the embedder's event loop readable: something happened that no packet or timer tells.
    pub fn tell_reactor(&mut self) {
        if let (Role::Reactor, Some(attention)) = (self.role, &self.attention)
            && !std::mem::replace(&mut self.told, true)
        {
            attention.kick();
        }
    }

    /// Leaves the role: for a moment to nobody, or to another waiter, if there is one, where threads do not come back soon.
    pub fn leave_role(&mut self) {
        if self.ended.is_none() && !self.sleepers.is_empty() && !self.absence.is_due() {
            self.leave_role_to_heir();
        } else {
            self.leave_role_for_a_moment();
        }
    }

    /// The driver found nothing for itself. Is it to leave the role to the thread that it found something for? That one will wait again, and then
    /// finds its next packet itself: else each would have to be brought to it by another thread.
    pub fn steps_down(&mut self) -> bool {
        let woken = |sleeper: &Sleeper| self.wakes.iter().any(|waker| waker.will_wake(&sleeper.waker));
        let steps_down = self.sleepers.values().any(woken) && self.absence.is_due();
        if steps_down {
            self.leave_role_for_a_moment();
        }
        steps_down
    }

    pub(super) fn leave_role_for_a_moment(&mut self) {
        let now = self.clock.now();
        self.left_sleepers = (!self.sleepers.is_empty()).then_some(now);
        self.role = Role::Nobody;
        // A rest that runs already does, unless somebody sleeps and it is long: whoever looks then sees that somebody drove. (To set the
        // timer costs more than a packet where the machine is a virtual one.)
        let beside = self.left_sleepers.is_some();
        if !self.resting || beside && self.rest_ends > now + BESIDE {
            self.rest(if beside { BESIDE } else { REST });
            self.seen_terms = self.terms;
        }
    }

    /// The housekeeper is to look after so long.
    fn rest(&mut self, time: Duration) {
        let Some(attention) = &self.attention else { return };
        attention.rest(time);
        self.resting = true;
        self.rest_ends = self.clock.now() + time;
    }

    /// The role was left although somebody sleeps: was that for a moment only?
    fn judge_absence(&mut self) {
        if let Some(left) = self.left_sleepers.take() {
            self.absence.on_result(self.clock.now().since(left) < ABSENCE);
        }
    }

    /// False: there is none.
    fn leave_role_to_heir(&mut self) -> bool {
        let Some(sleeper) = self.sleepers.values_mut().next() else { return false };
        self.terms += 1;
        sleeper.term = Some(self.terms);
        self.wakes.push(sleeper.waker.clone());
        self.role = Role::Thread(self.terms);
        true
    }

    /// What is due may wait for the end of a thread's batch, but not for long: the housekeeper will look, whoever drives.
    pub fn leave_to_housekeeper(&mut self, now: Instant) {
        if self.left_since.is_some() || !self.host.has_output() {
            return;
        }
        self.left_since = Some(now);
        if !self.resting {
            self.rest(LONG_REST);
        }
    }

    /// The housekeeper looks: is the role its own? One that nobody came back for is now, unless somebody sleeps who can have it. While threads
    /// come and go it looks again later; while one thread sits on the device it does not.
    pub fn housekeeper_has_role(&mut self) -> bool {
        let driven = std::mem::replace(&mut self.seen_terms, self.terms) != self.terms;
        let now = self.clock.now();
        let waits = self.left_since.is_some_and(|since| now.since(since) < Duration::from_millis(1));
        if self.left_since.is_some() && !waits {
            self.settle(now);
        }
        let Some(attention) = self.attention.clone() else { return self.role == Role::Housekeeper };
        if matches!(self.role, Role::Thread(term) if attention.is_abandoned(term)) {
            self.role = Role::Nobody;
        }
        self.resting = false;
        match self.role {
            Role::Housekeeper => return true,
            Role::Nobody if self.left_sleepers.is_some_and(|left| now.since(left) < ABSENCE) => {
                self.rest(BESIDE);
                return false;
            }
            Role::Nobody if self.left_sleepers.is_some() => {
                self.judge_absence();
                self.leave_role_to_heir();
            }
            Role::Nobody | Role::Thread(_) | Role::Reactor => {}
        }
        match self.role {
            _ if waits => self.rest(LONG_REST),
            Role::Nobody | Role::Thread(_) if driven => {
                self.rest(if self.sleepers.is_empty() { LONG_REST } else { BESIDE });
            }
            Role::Nobody => {
                if !self.leave_role_to_heir() {
                    attention.housekeeper_attends(true);
                    self.role = Role::Housekeeper;
                    return true;
                }
            }
            Role::Housekeeper | Role::Thread(_) | Role::Reactor => {}
        }
        false
    }

    pub fn go_to_sleep(&mut self, waker: &Waker) -> SleeperId {
        self.sleepers.insert(Sleeper { waker: waker.clone(), term: None })
    }

    /// Awake again; the number of its term when the thread was handed the role meanwhile.
    pub fn wake_up(&mut self, id: SleeperId) -> Option<(u64, Arc<Attention>)> {
        let term = self.sleepers.remove(id)?.term?;
        let attention = Arc::clone(self.attention.as_ref()?);
        (self.role == Role::Thread(term)).then_some((term, attention))
    }
}
