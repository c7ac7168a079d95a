//! All connections of a host: those at work as they are, most of those at rest packed.
//!
//! Who opens connections pays for packing: for each that comes, be it new or back at work, some others are looked at in turn, and those
//! that did nothing since they were last looked at, and have nothing in hand, are packed. So no timer is needed, few connections are
//! never touched, and what is unpacked are those at work and a few more.

use super::{ConnId, Entry, Owner};
use crate::base::Instant;
use crate::base::timers::Armed;
use crate::trace::Flow;
use crate::transport::tcp::connection::Connection;
use crate::transport::tcp::pack::{Pack, Packer, Unpacker};
use crate::transport::tcp::settings::Settings;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Connections that are never packed for the sake of others.
const AT_WORK: usize = 128;
/// Others looked at for each that comes: more than the two looks that each needs.
const LOOKS: usize = 4;

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
            Place::AtWork(entry) => {
                entry.rests = false;
                Some(entry)
            }
            Place::AtRest(..) => None,
        }
    }

    #[cold]
    fn unpack(&mut self, id: ConnId) {
        self.make_room();
        let Some(place) = self.places.get_mut(id) else { return };
        if let Place::AtRest(settings, octets) = place {
            *place = Place::AtWork(Box::new(Place::unpacked(settings, octets)));
            self.at_work.push_back(id);
        }
    }

    /// What `f` tells of the connection, which stays as it is.
    pub fn look<T>(&self, id: ConnId, f: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.places.get(id).map(|place| look(place, f))
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
        self.at_work.push_back(id);
        id
    }

    /// Takes a connection out, which is at work.
    pub fn remove(&mut self, id: ConnId) -> Option<Box<Entry>> {
        self.get_mut(id)?;
        match self.places.remove(id)? {
            Place::AtWork(entry) => Some(entry),
            Place::AtRest(..) => None,
        }
    }

    /// A connection comes to work: others may go to rest.
    fn make_room(&mut self) {
        for _ in 0..LOOKS {
            if self.at_work.len() <= AT_WORK {
                return;
            }
            self.look_at_next();
        }
    }

    fn look_at_next(&mut self) {
        let Some(id) = self.at_work.pop_front() else { return };
        let Some(Place::AtWork(entry)) = self.places.get_mut(id) else { return };
        if !core::mem::replace(&mut entry.rests, true) || !entry.is_at_rest() {
            self.at_work.push_back(id);
            return;
        }
        self.pack(id);
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
            rests: false,
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
