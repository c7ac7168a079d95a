//! A host with its device and everybody who waits for it: what the one mutex guards.

mod role;

use super::attention::{Attention, Signals, Trial};
use super::clock::Clock;
use super::gather::{Gathered, gather};
use super::siblings::Siblings;
use super::slots::Slots;
use super::wake::{Direction, dismiss, enroll};
use super::watch::{PollerId, PollerState};
use crate::base::{Duration, Errno, Instant};
use crate::host::{Host, PacketBuf, RxMeta, SocketId};
use crate::link::{Device, DeviceError, LinkEvent};
use slotmap::{DenseSlotMap, SecondaryMap, SlotMap, new_key_type};
use std::io;
use std::sync::Arc;
use std::task::Waker;

pub(crate) use role::Role;

/// Packets read in one round at most, so that nobody waits long for the lock; a run of segments may go beyond it.
const ROUND_PACKETS: usize = 64;
/// Octets read in one round at most.
const ROUND_OCTETS: usize = 512 << 10;
/// A call looks at a device that nobody watches when this long nobody did: while one thread calls and calls, the
/// housekeeper need not come between.
const UNWATCHED: Duration = Duration::from_micros(50);

/// Packets read before any of them is processed; or so many octets of them.
const ROW: usize = 16;
const ROW_OCTETS: usize = 8 << 10;

new_key_type! {
    /// A thread that sleeps and could drive.
    pub(crate) struct SleeperId;
}

/// A blocked thread; `term` is set when the role was handed to it.
#[derive(Debug)]
struct Sleeper {
    waker: Waker,
    term: Option<u64>,
}

/// A packet that was read.
#[derive(Debug)]
struct Arrival {
    /// In which buffer.
    place: usize,
    len: usize,
    meta: RxMeta,
    /// It was joined of so many.
    packets: usize,
}

/// What the mutex guards.
pub(crate) struct Shard {
    pub host: Host,
    pub pollers: SlotMap<PollerId, PollerState>,
    /// Why nothing works any more.
    pub ended: Option<Errno>,
    pub role: Role,
    pub attention: Option<Arc<Attention>>,
    /// Does the embedder's event loop know that there is something to look at?
    pub told: bool,
    /// Other shards of the same device.
    pub siblings: Option<Siblings>,
    device: Option<Device>,
    /// Where packets are read, and those that were.
    buffers: Vec<PacketBuf>,
    row: Vec<Arrival>,
    /// The device does not tell of its packets: there are always some, and telling costs with each.
    untold: bool,
    clock: Clock,
    armed: Option<Instant>,
    terms: u64,
    /// The rest timer runs: the housekeeper will look.
    resting: bool,
    /// Since when what is due is left to a thread's batch.
    left_since: Option<Instant>,
    /// `terms` when it looked last.
    seen_terms: u64,
    /// When a round was last made.
    last_round: Instant,
    /// When a thread that does not drive last called.
    last_call: Instant,
    /// Is it worth looking before sleeping?
    pub spin: Trial,
    /// Is the role worth leaving to nobody for a moment, although another thread sleeps?
    absence: Trial,
    /// Since when that is so.
    left_sleepers: Option<Instant>,
    /// When the rest timer runs off.
    rest_ends: Instant,
    slots: SecondaryMap<SocketId, Slots>,
    sleepers: DenseSlotMap<SleeperId, Sleeper>,
    /// Threads that wait until the peer of a closing socket (`None`: of every closed one) has everything.
    lingering: Vec<(Option<SocketId>, Waker)>,
    wakes: Vec<Waker>,
}

impl Shard {
    pub fn new(host: Host, device: Option<Device>, clock: Clock) -> io::Result<Shard> {
        let attention = Attention::new()?;
        if let Some(fd) = device.as_ref().and_then(Device::poll_fd) {
            attention.watch_device(fd)?;
        }
        if let Some(fd) = device.as_ref().and_then(Device::events_fd) {
            attention.watch_link(fd)?;
        }
        Ok(Shard {
            host,
            pollers: SlotMap::with_key(),
            ended: None,
            role: Role::Housekeeper,
            attention: Some(Arc::new(attention)),
            told: false,
            siblings: None,
            device,
            buffers: Vec::new(),
            row: Vec::new(),
            untold: false,
            clock,
            armed: None,
            terms: 0,
            resting: false,
            left_since: None,
            seen_terms: 0,
            last_round: Instant::ZERO,
            last_call: Instant::ZERO,
            spin: Trial::new(),
            absence: Trial::new(),
            left_sleepers: None,
            rest_ends: Instant::ZERO,
            slots: SecondaryMap::new(),
            sleepers: DenseSlotMap::with_key(),
            lingering: Vec::new(),
            wakes: Vec::new(),
        })
    }

    // --- packets and time --------------------------------------------------------------------------------------

    /// One bounded round: deadlines, packets, what follows from them. True when the device may have more.
    pub fn round(&mut self, signals: Signals) -> bool {
        let more = self.take_in(signals);
        self.settle(self.last_round);
        more
    }

    /// A round for a thread that answers what is ready now: what the packets make due leaves with its answers. It calls again soon, and
    /// until then the housekeeper sees to it. A trace shows what each packet demands, so there it leaves at once.
    pub fn round_for_answers(&mut self, signals: Signals) -> bool {
        // What was left to answers that never came.
        self.transmit(self.clock.now());
        let more = self.take_in(signals);
        self.hand_over_strays();
        match self.host.is_traced() {
            true => self.settle(self.last_round),
            false => self.announce(),
        };
        more
    }

    /// Deadlines and packets. True when the device may have more.
    fn take_in(&mut self, signals: Signals) -> bool {
        if let Some(attention) = &self.attention {
            if signals.timer {
                attention.clear_timer();
                self.armed = None;
            }
            // The last kick stays: it tells everybody, one after the other, that this is the end.
            if signals.kick && self.ended.is_none() {
                attention.clear_kick();
            }
        }
        let now = self.clock.now();
        self.last_round = now;
        if self.host.next_timeout().is_some_and(|at| at <= now) {
            self.host.advance(now);
        }
        // A stage that delays packets gives them when their time has come, whatever the descriptor says.
        let due = self.device.as_ref().and_then(Device::next_timeout).is_some_and(|at| at <= now);
        let more = (signals.device || due) && self.drain(now);
        if signals.link {
            self.hear_link(now);
        }
        for stray in self.siblings.iter().flat_map(Siblings::arrived) {
            self.host.receive_stray(now, &stray);
        }
        if more {
            self.device_tells(false);
        }
        more
    }

    /// The device is to wake whoever sleeps, or need not, for somebody looks at it anyway. Before a sleep it must.
    pub fn device_tells(&mut self, tells: bool) {
        if self.untold == tells
            && let (Some(attention), Some(fd)) =
                (&self.attention, self.device.as_ref().and_then(Device::poll_fd))
        {
            attention.device_tells(fd, tells);
            self.untold = !tells;
        }
    }

    /// A call of a thread that does not drive: a round now and then, while nobody else is to make one. A thread that calls and
    /// calls takes that over from the housekeeper, with which it would only fight for the lock.
    pub fn attend(&mut self, now: Instant) {
        let since_call = now.since(std::mem::replace(&mut self.last_call, now));
        match (self.role, &self.attention) {
            (Role::Nobody, _) => {}
            (Role::Housekeeper, Some(attention)) if since_call < UNWATCHED => {
                attention.housekeeper_attends(false);
                self.leave_role_for_a_moment();
            }
            (Role::Housekeeper | Role::Thread(_) | Role::Reactor, _) => return,
        }
        if now.since(self.last_round) >= UNWATCHED {
            self.terms += 1;
            self.round(Signals { device: true, ..Signals::default() });
        }
    }

    fn drain(&mut self, now: Instant) -> bool {
        let (mut packets, mut octets) = (0, 0);
        while self.device.is_some() {
            if packets >= ROUND_PACKETS || octets >= ROUND_OCTETS {
                return true;
            }
            let end = self.read_row(now);
            for Arrival { place, len, meta, packets: joined } in self.row.drain(..) {
                self.host.receive_kept(now, &self.buffers[place], len, meta);
                packets += joined;
                octets += len;
            }
            match end {
                None => {}
                Some(Ok(())) => return false,
                Some(Err(error)) => {
                    self.on_device_error(now, &error);
                    return false;
                }
            }
        }
        false
    }

    /// Reads packets in a row: reading, which is the kernel's, and processing go faster when they do not alternate. Few large ones are a row.
    /// What the device said at the end, where that ended it: it is empty, or failed.
    fn read_row(&mut self, now: Instant) -> Option<Result<(), DeviceError>> {
        let mut octets = 0;
        while self.row.len() < ROW && octets < ROW_OCTETS {
            let (place, traced) = (self.row.len(), self.host.is_traced());
            for buffer in place..place + 2 {
                self.make_room(buffer);
            }
            let device = self.device.as_mut()?;
            let [room, next] = &mut self.buffers[place..place + 2] else { return None };
            let (room, next) = (room.octets_mut()?, next.octets_mut()?);
            let (len, meta) = match device.recv(now, room) {
                Ok(Some(read)) => read,
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            };
            // A trace shows each packet as it came.
            let read = match traced {
                true => Gathered { len, meta, packets: 1, ahead: None, end: None },
                false => gather(device, now, room, (len, meta), next),
            };
            octets += read.len;
            self.row.push(Arrival { place, len: read.len, meta: read.meta, packets: read.packets });
            if let Some((len, meta)) = read.ahead {
                self.row.push(Arrival { place: place + 1, len, meta, packets: 1 });
            }
            if read.end.is_some() {
                return read.end;
            }
        }
        None
    }

    /// Sees to it that a packet can be read there. (A connection keeps what was read last.)
    fn make_room(&mut self, place: usize) {
        match self.buffers.get_mut(place) {
            None => self.buffers.push(self.host.packet_buf()),
            Some(buffer) => {
                if buffer.octets_mut().is_none() {
                    *buffer = self.host.packet_buf();
                }
            }
        }
    }

    fn on_device_error(&mut self, now: Instant, error: &DeviceError) {
        self.host.counters_mut().device_errors += 1;
        match error {
            DeviceError::Gone => self.end(error.errno()),
            DeviceError::Down => self.hear_link(now),
            // A device that takes no more is a link that loses: TCP sends again.
            DeviceError::Full | DeviceError::Refused(_) => {}
        }
    }

    /// An interface that is down loses packets until it comes up again; one that is gone ends the stack.
    fn hear_link(&mut self, now: Instant) {
        while let Some(event) = self.device.as_mut().and_then(Device::poll_link_event) {
            match event {
                LinkEvent::Up | LinkEvent::Down => {}
                LinkEvent::MtuChanged(_) => {
                    if let Some(device) = &self.device {
                        self.host.set_link(now, device.link());
                    }
                }
                LinkEvent::Deleted => self.end(Errno::ENODEV),
            }
        }
    }

    /// After any input: sends what is due, tells who waits, sets the timer. True when any socket became ready.
    pub fn settle(&mut self, now: Instant) -> bool {
        self.left_since = None;
        self.transmit(now);
        self.hand_over_strays();
        let news = self.announce();
        if let (Some(at), Some(attention)) = (self.next_timeout(), &self.attention)
            && self.armed.is_none_or(|armed| at < armed)
        {
            // A deadline that moved later does not re-arm: the timer then fires once for nothing.
            attention.arm(self.clock.absolute(at));
            self.armed = Some(at);
        }
        news
    }

    fn hand_over_strays(&mut self) {
        let Some(siblings) = &self.siblings else { return };
        while let Some(stray) = self.host.poll_stray() {
            if !siblings.hand_over(stray) {
                self.host.counters_mut().stray_drops += 1;
            }
        }
    }

    /// Tells who waits. True when any socket became ready.
    pub fn announce(&mut self) -> bool {
        let news = self.publish();
        if news {
            self.tell_reactor();
        }
        news
    }

    /// The name of the interface below.
    pub fn device_name(&self) -> Option<&str> {
        self.device.as_ref()?.name()
    }

    /// The next deadline, of the host or of its device.
    pub fn next_timeout(&self) -> Option<Instant> {
        let device = self.device.as_ref().and_then(Device::next_timeout);
        [self.host.next_timeout(), device].into_iter().flatten().min()
    }

    fn transmit(&mut self, now: Instant) {
        let mut sent = Ok(());
        while let Some(packet) = self.host.transmit(now) {
            if let Some(device) = &mut self.device {
                sent = sent.and(device.push(now, &packet));
            }
        }
        if let Some(device) = &mut self.device {
            sent = sent.and(device.flush());
        }
        if let Err(error) = sent {
            self.on_device_error(now, &error);
        }
    }

    fn publish(&mut self) -> bool {
        let mut news = false;
        while let Some(event) = self.host.poll_event() {
            news = true;
            let Some(slots) = self.slots.get_mut(event.socket) else { continue };
            for direction in [Direction::Read, Direction::Write] {
                if direction.wakes().intersects(event.readiness) {
                    slots.take(direction, &mut self.wakes);
                }
            }
            for poller in slots.pollers() {
                if let Some(poller) = self.pollers.get_mut(poller) {
                    poller.on_ready(event.socket, event.readiness, &mut self.wakes);
                }
            }
        }
        if !self.lingering.is_empty() {
            let (host, wakes) = (&self.host, &mut self.wakes);
            self.lingering.retain(|(socket, waker)| {
                let lingers = socket.map_or_else(|| host.orphans_linger(), |id| host.lingers(id));
                if !lingers {
                    wakes.push(waker.clone());
                }
                lingers
            });
        }
        news
    }

    /// Nothing works any more: every call on every socket gives `errno` from now on.
    pub fn end(&mut self, errno: Errno) {
        if self.ended.is_some() {
            return;
        }
        let now = self.clock.now();
        if errno != Errno::ENODEV {
            // What was left to answers that do not come.
            self.transmit(now);
        }
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(errno);
        self.host.fail_all(now, errno);
        self.publish();
        if let (Some(device), Some(attention)) = (self.device.take(), &self.attention) {
            [device.poll_fd(), device.events_fd()].into_iter().flatten().for_each(|fd| attention.forget(fd));
        }
        if let Some(attention) = &self.attention {
            attention.kick();
        }
        for slots in self.slots.values_mut() {
            slots.take(Direction::Read, &mut self.wakes);
            slots.take(Direction::Write, &mut self.wakes);
        }
        for poller in self.pollers.values_mut() {
            poller.wake_all(&mut self.wakes);
        }
        self.wakes.extend(self.lingering.drain(..).map(|(_, waker)| waker));
    }

    // --- who waits ---------------------------------------------------------------------------------------------

    pub fn enroll(&mut self, socket: SocketId, direction: Direction, waker: &Waker) {
        if let Some(entry) = self.slots.entry(socket) {
            enroll(entry.or_default().more.get_or_insert_default().list(direction), waker);
        }
    }

    pub fn dismiss(&mut self, socket: SocketId, direction: Direction, waker: &Waker) {
        if let Some(more) = self.slots.get_mut(socket).and_then(|slots| slots.more.as_mut()) {
            dismiss(more.list(direction), waker);
        }
    }

    pub fn enroll_lingerer(&mut self, socket: Option<SocketId>, waker: &Waker) {
        self.lingering.push((socket, waker.clone()));
    }

    pub fn dismiss_lingerer(&mut self, socket: Option<SocketId>, waker: &Waker) {
        self.lingering.retain(|(id, known)| *id != socket || !known.will_wake(waker));
    }

    pub fn add_watch(&mut self, poller: PollerId, socket: SocketId) {
        if let Some(entry) = self.slots.entry(socket) {
            entry.or_default().add_poller(poller);
        }
        self.look(poller, socket);
    }

    /// Is the socket ready already?
    pub fn look(&mut self, poller: PollerId, socket: SocketId) {
        let readiness = self.host.readiness(socket);
        if let Some(poller) = self.pollers.get_mut(poller) {
            poller.on_ready(socket, readiness, &mut self.wakes);
        }
        if !readiness.is_empty() {
            self.tell_reactor();
        }
    }

    pub fn remove_watch(&mut self, poller: PollerId, socket: SocketId) {
        if let Some(slots) = self.slots.get_mut(socket) {
            slots.remove_poller(poller);
        }
    }

    /// The socket is gone: nobody is told about it any more, and who still waited looks again.
    pub fn forget(&mut self, socket: SocketId) {
        let Some(mut slots) = self.slots.remove(socket) else { return };
        slots.take(Direction::Read, &mut self.wakes);
        slots.take(Direction::Write, &mut self.wakes);
        for poller in slots.pollers() {
            if let Some(poller) = self.pollers.get_mut(poller) {
                poller.remove(socket);
            }
        }
    }

    pub fn wake_poller(&mut self, poller: PollerId) {
        if let Some(poller) = self.pollers.get_mut(poller) {
            poller.notified = true;
            poller.wake_all(&mut self.wakes);
        }
        self.tell_reactor();
    }

    pub fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakes)
    }
}
