//! All connections of a host: those at work as they are, most of those at rest packed.
//!
//! For each that comes to work, be it new or back, some others are looked at in turn, and those that did nothing for a while and have
//! nothing in hand are packed: while many are opened or used one after the other, few are unpacked at any time. What worked
//! together is looked at when a second has passed. Few connections are never touched.

use super::{ConnId, Entry, Owner};
use crate::base::timers::Armed;
use crate::base::{Duration, Instant};
use crate::trace::Flow;
use crate::transport::tcp::connection::Connection;
use crate::transport::tcp::pack::{Pack, Packer, Unpacker};
use crate::transport::tcp::settings::Settings;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Connections that are never packed for the sake of others.
const AT_WORK: usize = 128;
/// Others looked at for each that comes: more than come, so that those at work grow few.
const LOOKS: usize = 4;
/// For so long a connection has done nothing before it is packed: less often used, it may be packed and unpacked each time.
const QUIET: Duration = Duration::from_millis(10);
/// How long after one came all of them are looked at. Twice as long each time when none could be packed, up to a minute.
const SWEEP: Duration = Duration::from_secs(1);
const LONGEST_SWEEP: Duration = Duration::from_secs(64);
/// So many at once, and then the others have their turn first.
const SWEPT: usize = 1024;
const NEXT_TURN: Duration = Duration::from_millis(1);

/// Sizes of what is packed differ by so much: mostly it then fits where the same connection was before it last worked. (Eight octets of
/// each are the allocator's.)
const UNIT: usize = 64;

fn rounded(octets: usize) -> usize {
    (octets + 8).next_multiple_of(UNIT) - 8
}

/// A connection.
enum Place {
    /// Boxed: a table that has grown has room to spare, and entries are large.
    AtWork(Box<Entry>),
    /// Its settings, which others share, and the rest of it.
    AtRest(Arc<Settings>, Box<[u8]>),
}

/// All of them.
#[derive(Default)]
pub(super) struct Connections {
    places: SlotMap<ConnId, Place>,
    /// Those at work in the order in which they are looked at, and some that are gone.
    at_work: VecDeque<ConnId>,
    /// Where they are packed: what is kept has no room to spare.
    scratch: Vec<u8>,
    /// The time as far as it was told.
    now: Instant,
    sweep: Sweep,
}

/// When all are looked at.
#[derive(Default)]
struct Sweep {
    due: Option<Instant>,
    pause: Duration,
    /// So many are left to be looked at this time.
    left: usize,
    /// Could any be packed this time?
    of_use: bool,
}

impl Place {
    fn unpacked(settings: &Arc<Settings>, octets: &[u8]) -> Entry {
        Entry::unpack(settings, &mut Unpacker::new(octets))
    }

    fn octets(&self) -> usize {
        match self {
            Place::AtWork(entry) => size_of::<Entry>() - size_of::<Connection>() + entry.conn.memory_octets(),
            Place::AtRest(_, octets) => octets.len(),
        }
    }
}

impl Connections {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn contains(&self, id: ConnId) -> bool {
        self.places.contains_key(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.places.keys()
    }

    /// The connection, to work with it.
    #[inline]
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry> {
        if let Place::AtRest(..) = self.places.get(id)? {
            self.unpack(id);
        }
        match self.places.get_mut(id)? {
            Place::AtWork(entry) => Some(entry),
            Place::AtRest(..) => None,
        }
    }

    /// The connection, with which something was done at this moment.
    pub fn touch(&mut self, now: Instant, id: ConnId) -> Option<&mut Entry> {
        self.now = now;
        let entry = self.get_mut(id)?;
        entry.touched = now;
        Some(entry)
    }

    #[cold]
    fn unpack(&mut self, id: ConnId) {
        self.make_room();
        let Some(place) = self.places.get_mut(id) else { return };
        if let Place::AtRest(settings, octets) = place {
            let entry = Entry { touched: self.now, ..Place::unpacked(settings, octets) };
            *place = Place::AtWork(Box::new(entry));
            self.comes(id);
        }
    }

    /// What `f` tells of the connection, which stays as it is.
    pub fn look<T>(&self, id: ConnId, f: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.places.get(id).map(|place| look(place, f))
    }

    /// Those at work: of others there is nothing that is not told by their being at rest.
    pub fn at_work(&self) -> impl Iterator<Item = &Entry> {
        self.places.values().filter_map(|place| match place {
            Place::AtWork(entry) => Some(&**entry),
            Place::AtRest(..) => None,
        })
    }

    /// What `f` tells of each.
    pub fn look_at_all<T>(&self, f: impl Fn(&Entry) -> T) -> impl Iterator<Item = T> {
        self.places.values().map(move |place| look(place, &f))
    }

    /// Its settings.
    pub fn settings(&self, id: ConnId) -> Option<&Settings> {
        self.places.get(id).map(|place| match place {
            Place::AtWork(entry) => entry.conn.settings(),
            Place::AtRest(settings, _) => settings,
        })
    }

    /// Whom it connects.
    pub fn flow(&self, id: ConnId) -> Option<Flow> {
        self.places.get(id).map(|place| match place {
            Place::AtWork(entry) => entry.conn.flow(),
            Place::AtRest(_, octets) => head(octets).1,
        })
    }

    /// The connection, if its deadline is what fired `at` that moment.
    pub fn fired(&mut self, id: ConnId, at: Instant) -> Option<&mut Entry> {
        let live = match self.places.get_mut(id)? {
            Place::AtWork(entry) => entry.armed.fired(at),
            Place::AtRest(_, octets) => head(octets).0.fired(at),
        };
        let entry = if live { self.get_mut(id)? } else { return None };
        entry.armed = Armed::default();
        Some(entry)
    }

    /// Octets of memory behind all.
    pub fn memory_octets(&self) -> usize {
        self.places.values().map(Place::octets).sum()
    }

    pub fn insert(&mut self, entry: Entry) -> ConnId {
        self.make_room();
        let id = self.places.insert(Place::AtWork(Box::new(entry)));
        self.comes(id);
        id
    }

    /// Takes a connection out, unpacked.
    pub fn remove(&mut self, id: ConnId) -> Option<Box<Entry>> {
        self.get_mut(id)?;
        match self.places.remove(id)? {
            Place::AtWork(entry) => Some(entry),
            Place::AtRest(..) => None,
        }
    }

    fn comes(&mut self, id: ConnId) {
        self.at_work.push_back(id);
        if self.are_many() && (self.sweep.due.is_none() || self.sweep.pause > SWEEP) {
            (self.sweep.due, self.sweep.pause) = (Some(self.now + SWEEP), SWEEP);
        }
    }

    fn are_many(&self) -> bool {
        self.at_work.len() > AT_WORK
    }

    /// A connection comes to work: others may go to rest.
    fn make_room(&mut self) {
        for _ in 0..LOOKS {
            if !self.are_many() {
                return;
            }
            self.look_at_next();
        }
    }

    /// When to [`sweep`](Connections::sweep), if ever.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.sweep.due
    }

    /// Looks at all that are at work, if it is time.
    pub fn sweep(&mut self, now: Instant) {
        self.now = now;
        if self.sweep.due.is_none_or(|due| due > now) {
            return;
        }
        if self.sweep.left == 0 {
            (self.sweep.left, self.sweep.of_use) = (self.at_work.len(), false);
        }
        for _ in 0..self.sweep.left.min(SWEPT) {
            if self.are_many() {
                self.sweep.of_use |= self.look_at_next();
            }
            self.sweep.left -= 1;
        }
        let wait = match self.sweep.left {
            _ if !self.are_many() => None,
            0 if self.sweep.of_use => Some(SWEEP),
            0 => Some(self.sweep.pause.mul(2).min(LONGEST_SWEEP)),
            _ => Some(NEXT_TURN),
        };
        if wait.is_none() {
            self.sweep.left = 0;
            self.at_work.shrink_to(2 * AT_WORK);
        }
        if self.sweep.left == 0 {
            self.sweep.pause = wait.unwrap_or_default();
        }
        self.sweep.due = wait.map(|wait| now + wait);
    }

    /// True when one less is at work.
    fn look_at_next(&mut self) -> bool {
        let Some(id) = self.at_work.pop_front() else { return false };
        let Some(Place::AtWork(entry)) = self.places.get_mut(id) else { return true };
        if self.now.since(entry.touched) < QUIET || !entry.is_at_rest() {
            self.at_work.push_back(id);
            return false;
        }
        self.pack(id);
        true
    }

    fn pack(&mut self, id: ConnId) {
        let Some(place) = self.places.get_mut(id) else { return };
        if let Place::AtWork(entry) = place {
            entry.pack(&mut Packer::new(&mut self.scratch));
            self.scratch.resize(rounded(self.scratch.len()), 0);
            let octets = self.scratch[..].into();
            *place = Place::AtRest(Arc::clone(entry.conn.shared_settings()), octets);
        }
    }

    /// Packs all that can be.
    #[cfg(test)]
    pub fn pack_all(&mut self) {
        for id in core::mem::take(&mut self.at_work) {
            match self.places.get(id) {
                Some(Place::AtWork(entry)) if entry.is_at_rest() => self.pack(id),
                Some(Place::AtWork(_)) => self.at_work.push_back(id),
                Some(Place::AtRest(..)) | None => {}
            }
        }
    }
}

fn look<T>(place: &Place, f: impl FnOnce(&Entry) -> T) -> T {
    match place {
        Place::AtWork(entry) => f(entry),
        Place::AtRest(settings, octets) => f(&Place::unpacked(settings, octets)),
    }
}

impl Entry {
    /// Has it nothing in hand, so that all of it can be packed?
    fn is_at_rest(&self) -> bool {
        matches!(self.owner, Owner::Socket(_))
            && !self.dirty
            && self.linked
            && !self.in_time_wait
            && self.pending_of.is_none()
            && self.conn.is_at_rest()
    }

    /// All of it but the settings of its connection.
    fn pack(&self, to: &mut Packer<'_>) {
        // What fires for nothing need not fire.
        let armed = self.armed.at().filter(|_| self.conn.deadline().is_some());
        armed.pack(to);
        self.conn.pack(to);
        let token = if let Owner::Socket(token) = self.owner { token } else { 0 };
        [token >> 32, token & 0xffff_ffff].pack(to);
        self.reuse_addr.pack(to);
    }

    /// Reads what [`pack`](Entry::pack) wrote.
    fn unpack(settings: &Arc<Settings>, from: &mut Unpacker<'_>) -> Entry {
        let armed = Armed::from(Option::unpack(from));
        let conn = Connection::unpack(Arc::clone(settings), from);
        let [high, low]: [u64; 2] = Pack::unpack(from);
        Entry {
            conn,
            owner: Owner::Socket(high << 32 | low),
            // Only a listener wants to know.
            opened: Instant::ZERO,
            armed,
            dirty: false,
            touched: Instant::ZERO,
            linked: true,
            reuse_addr: Pack::unpack(from),
            in_time_wait: false,
            pending_of: None,
        }
    }
}

/// What a packed entry begins with: its deadline, and whom it connects.
fn head(octets: &[u8]) -> (Armed, Flow) {
    let mut from = Unpacker::new(octets);
    (Armed::from(Option::unpack(&mut from)), Flow::unpack(&mut from))
}
