//! Registered readiness: what a `Poller` keeps inside the shard.
//!
//! A watch is in the ready list at most once. Level-triggered watches stay in it until a look finds them not ready,
//! so one wait costs as much as there is to report, not as much as is registered.

use super::wake::{dismiss, enroll};
use crate::host::{Host, Readiness, SocketId};
use slotmap::{SecondaryMap, new_key_type};
use std::collections::VecDeque;
use std::task::Waker;

new_key_type! {
    /// A poller of one stack.
    pub(crate) struct PollerId;
}

/// How often a watch reports the same readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// As long as it lasts (`epoll`'s default).
    #[default]
    Level,
    /// Once for each change and each arrival (`EPOLLET`).
    Edge,
    /// Once, until it is changed again (`EPOLLONESHOT`).
    Oneshot,
}

/// One reported readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollEvent {
    /// The number given at registration.
    pub token: u64,
    /// What the socket is ready for, within what was asked for; errors and hang-ups are always told.
    pub readiness: Readiness,
}

/// How a socket is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub token: u64,
    pub interest: Readiness,
    pub trigger: Trigger,
    armed: bool,
    queued: bool,
    /// Which turn in the ready list is its own: one that it had before it was removed and added again is not.
    turn: u32,
}

impl Watch {
    pub fn new(token: u64, interest: Readiness, trigger: Trigger) -> Watch {
        let interest = interest | Readiness::ERROR | Readiness::HANGUP;
        Watch { token, interest, trigger, armed: true, queued: false, turn: 0 }
    }
}

/// The state of one poller.
#[derive(Debug, Default)]
pub(crate) struct PollerState {
    watches: SecondaryMap<SocketId, Watch>,
    /// Oldest first, each with the number of its turn.
    ready: VecDeque<(SocketId, u32)>,
    turns: u32,
    waiting: Vec<Waker>,
    pub notified: bool,
}

impl PollerState {
    /// Registers a watch; `false` when the socket has one here already.
    pub fn add(&mut self, socket: SocketId, watch: Watch) -> bool {
        let new = !self.watches.contains_key(socket);
        if new {
            self.watches.insert(socket, watch);
        }
        new
    }

    /// Changes the watch of a socket, and arms it again; `false` when it has none here.
    pub fn change(&mut self, socket: SocketId, watch: Watch) -> bool {
        let Some(known) = self.watches.get_mut(socket) else { return false };
        *known = Watch { queued: known.queued, turn: known.turn, ..watch };
        true
    }

    /// Removes the watch of a socket; `false` when it has none here.
    pub fn remove(&mut self, socket: SocketId) -> bool {
        self.watches.remove(socket).is_some()
    }

    /// A socket became ready for `readiness`: who is to be woken is added to `wakes`.
    pub fn on_ready(&mut self, socket: SocketId, readiness: Readiness, wakes: &mut Vec<Waker>) {
        let Some(watch) = self.watches.get_mut(socket) else { return };
        if !watch.armed || watch.queued || !watch.interest.intersects(readiness) {
            return;
        }
        self.turns = self.turns.wrapping_add(1);
        (watch.queued, watch.turn) = (true, self.turns);
        self.ready.push_back((socket, watch.turn));
        wakes.append(&mut self.waiting);
    }

    /// Reports at most `room` sockets that are ready now.
    pub fn collect(&mut self, host: &Host, room: usize, into: &mut Vec<PollEvent>) {
        for _ in 0..self.ready.len() {
            if into.len() == room {
                break;
            }
            let Some((socket, turn)) = self.ready.pop_front() else { break };
            let Some(watch) = self.watches.get_mut(socket).filter(|watch| watch.turn == turn) else {
                continue;
            };
            watch.queued = false;
            let readiness = host.readiness(socket) & watch.interest;
            if readiness.is_empty() || !watch.armed {
                continue;
            }
            match watch.trigger {
                Trigger::Level => {
                    watch.queued = true;
                    self.ready.push_back((socket, turn));
                }
                Trigger::Edge => {}
                Trigger::Oneshot => watch.armed = false,
            }
            into.push(PollEvent { token: watch.token, readiness });
        }
    }

    /// The sockets that are watched.
    pub fn sockets(&self) -> Vec<SocketId> {
        self.watches.keys().collect()
    }

    /// Somebody waits.
    pub fn enroll(&mut self, waker: &Waker) {
        enroll(&mut self.waiting, waker);
    }

    /// Somebody waits no more.
    pub fn dismiss(&mut self, waker: &Waker) {
        dismiss(&mut self.waiting, waker);
    }

    /// Everybody who waits is to look.
    pub fn wake_all(&mut self, wakes: &mut Vec<Waker>) {
        wakes.append(&mut self.waiting);
    }
}
