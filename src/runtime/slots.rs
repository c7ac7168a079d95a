//! Who waits for a socket.

use super::wake::Direction;
use super::watch::PollerId;
use std::task::Waker;

/// Who waits for one socket. Small while that is one poller, for there may be a million.
#[derive(Debug, Default)]
pub(super) struct Slots {
    poller: Option<PollerId>,
    pub more: Option<Box<More>>,
}

/// Threads and tasks that wait for one socket, and pollers beyond the first.
#[derive(Debug, Default)]
pub(super) struct More {
    read: Vec<Waker>,
    write: Vec<Waker>,
    pollers: Vec<PollerId>,
}

impl Slots {
    pub fn pollers(&self) -> impl Iterator<Item = PollerId> {
        let others = self.more.iter().flat_map(|more| &more.pollers);
        self.poller.iter().chain(others).copied()
    }

    pub fn add_poller(&mut self, poller: PollerId) {
        match self.poller {
            None => self.poller = Some(poller),
            Some(_) => self.more.get_or_insert_default().pollers.push(poller),
        }
    }

    pub fn remove_poller(&mut self, poller: PollerId) {
        self.poller.take_if(|known| *known == poller);
        if let Some(more) = &mut self.more {
            more.pollers.retain(|known| *known != poller);
        }
    }

    /// Hands over all who wait in one direction.
    pub fn take(&mut self, direction: Direction, wakes: &mut Vec<Waker>) {
        if let Some(more) = &mut self.more {
            wakes.append(more.list(direction));
        }
    }
}

impl More {
    pub fn list(&mut self, direction: Direction) -> &mut Vec<Waker> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}
