//! Which connection a segment belongs to.

use super::ConnId;
use super::connections::Connections;
use crate::base::{KeyedState, Rng};
use crate::trace::Flow;
use crate::transport::tcp::isn::tuple;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Connections by four-tuple. The tuple itself is the connection's: here is only enough of its hash to pass by others.
#[derive(Debug)]
pub(super) struct Demux {
    hasher: KeyedState,
    places: HashTable<Place>,
}

#[derive(Debug)]
struct Place {
    hash: u32,
    id: ConnId,
}

impl Place {
    /// The table looks at both ends of 64 bits.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

impl Demux {
    /// Nothing yet, and a secret of its own: what a peer chooses must not make long chains.
    pub fn new(rng: &mut Rng) -> Demux {
        Demux { hasher: KeyedState::new(rng), places: HashTable::new() }
    }

    /// The connection of this four-tuple.
    pub fn find(&self, connections: &Connections, flow: &Flow) -> Option<ConnId> {
        let wanted = tuple(flow);
        let hash = self.hash(&wanted);
        let found = self.places.find(Place::spread(hash), |place| {
            place.hash == hash && connections.flow(place.id).is_some_and(|flow| tuple(&flow) == wanted)
        });
        found.map(|place| place.id)
    }

    /// Adds a connection whose four-tuple is not there yet.
    pub fn insert(&mut self, flow: &Flow, id: ConnId) {
        let hash = self.hash(&tuple(flow));
        self.places.insert_unique(Place::spread(hash), Place { hash, id }, |place| Place::spread(place.hash));
    }

    /// Removes a connection.
    pub fn remove(&mut self, flow: &Flow, id: ConnId) {
        let hash = self.hash(&tuple(flow));
        if let Ok(place) = self.places.find_entry(Place::spread(hash), |place| place.id == id) {
            place.remove();
        }
    }

    fn hash(&self, tuple: &[u8; 36]) -> u32 {
        self.hasher.hash_one(tuple) as u32
    }
}
