//! Which connection a segment belongs to.

use super::ConnId;
use super::connections::Connections;
use crate::base::{KeyedState, Rng};
use crate::trace::Flow;
use crate::transport::tcp::isn::tuple;
use core::net::SocketAddr;
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
        let hash = self.hash(flow);
        let found = self.places.find(Place::spread(hash), |place| {
            place.hash == hash && connections.flow(place.id).is_some_and(|known| is_same(&known, flow))
        });
        found.map(|place| place.id)
    }

    /// Adds a connection whose four-tuple is not there yet.
    pub fn insert(&mut self, flow: &Flow, id: ConnId) {
        let hash = self.hash(flow);
        self.places.insert_unique(Place::spread(hash), Place { hash, id }, |place| Place::spread(place.hash));
    }

    /// Removes a connection.
    pub fn remove(&mut self, flow: &Flow, id: ConnId) {
        let hash = self.hash(flow);
        if let Ok(place) = self.places.find_entry(Place::spread(hash), |place| place.id == id) {
            place.remove();
        }
    }

    fn hash(&self, flow: &Flow) -> u32 {
        let hash = match (flow.local, flow.remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => {
                let ports = u32::from(local.port()) << 16 | u32::from(remote.port());
                let addresses = u64::from(local.ip().to_bits()) << 32 | u64::from(remote.ip().to_bits());
                self.hasher.hash_one((addresses, ports))
            }
            _ => self.hasher.hash_one(tuple(flow)),
        };
        hash as u32
    }
}

/// Scopes and flow labels do not tell connections apart.
fn is_same(a: &Flow, b: &Flow) -> bool {
    let ends = |flow: &Flow| [flow.local, flow.remote].map(|end| (end.ip(), end.port()));
    ends(a) == ends(b)
}
