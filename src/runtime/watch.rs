//! Registered readiness: what a `Poller` keeps inside the shard.
//!
//! A watch is in the ready list at most once. Level-triggered watches stay in it until a look finds them not ready,
//! so one wait costs as much as there is to report, not as much as is registered.

use super::wake::{dismiss, enroll};
use crate::host::{Host, Readiness, SocketId};
use slotmap::{SecondaryMap, SlotMap, new_key_type};
use std::collections::VecDeque;
use std::task::Waker;

new_key_type! {
    /// A poller of one stack.
    pub(crate) struct PollerId;
    /// A registration with one poller.
    pub(crate) struct WatchId;
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

/// What is watched, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub socket: SocketId,
    pub token: u64,
    pub interest: Readiness,
    pub trigger: Trigger,
    queued: bool,
    armed: bool,
}

impl Watch {
    pub fn new(socket: SocketId, token: u64, interest: Readiness, trigger: Trigger) -> Watch {
        let interest = interest | Readiness::ERROR | Readiness::HANGUP;
        Watch { socket, token, interest, trigger, queued: false, armed: true }
    }
}

/// The state of one poller.
#[derive(Debug, Default)]
pub(crate) struct PollerState {
    watches: SlotMap<WatchId, Watch>,
    ready: VecDeque<WatchId>,
    by_socket: SecondaryMap<SocketId, WatchId>,
    waiting: Vec<Waker>,
    pub notified: bool,
}

impl PollerState {
    /// Registers a watch; `None` when the socket has one here already.
    pub fn add(&mut self, watch: Watch) -> Option<WatchId> {
        if self.by_socket.contains_key(watch.socket) {
            return None;
        }
        let id = self.watches.insert(watch);
        self.by_socket.insert(watch.socket, id);
        Some(id)
    }

    /// Changes the watch of a socket, and arms it again.
    pub fn change(&mut self, watch: Watch) -> Option<WatchId> {
        let id = *self.by_socket.get(watch.socket)?;
        let known = self.watches.get_mut(id)?;
        *known = Watch { queued: known.queued, ..watch };
        Some(id)
    }

    /// Removes the watch of a socket.
    pub fn remove(&mut self, socket: SocketId) -> Option<WatchId> {
        let id = self.by_socket.remove(socket)?;
        self.watches.remove(id);
        Some(id)
    }

    /// A socket became ready for `readiness`: who is to be woken is added to `wakes`.
    pub fn on_ready(&mut self, id: WatchId, readiness: Readiness, wakes: &mut Vec<Waker>) {
        let Some(watch) = self.watches.get_mut(id) else { return };
        if !watch.armed || watch.queued || !watch.interest.intersects(readiness) {
            return;
        }
        watch.queued = true;
        self.ready.push_back(id);
        wakes.append(&mut self.waiting);
    }

    /// Reports at most `room` sockets that are ready now.
    pub fn collect(&mut self, host: &Host, room: usize, into: &mut Vec<PollEvent>) {
        for _ in 0..self.ready.len() {
            if into.len() == room {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            let Some(watch) = self.watches.get_mut(id) else { continue };
            watch.queued = false;
            let readiness = host.readiness(watch.socket) & watch.interest;
            if readiness.is_empty() || !watch.armed {
                continue;
            }
            match watch.trigger {
                Trigger::Level => {
                    watch.queued = true;
                    self.ready.push_back(id);
                }
                Trigger::Edge => {}
                Trigger::Oneshot => watch.armed = false,
            }
            into.push(PollEvent { token: watch.token, readiness });
        }
    }

    /// The sockets that are watched.
    pub fn sockets(&self) -> Vec<SocketId> {
        self.by_socket.keys().collect()
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
