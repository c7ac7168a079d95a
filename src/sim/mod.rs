//! Several hosts on simulated wires in virtual time.
//!
//! One seed decides everything that chance decides. Time jumps from one event to the next, so hours pass in
//! milliseconds and two runs are the same packet for packet. Hooks see every packet and every step, which is where
//! tests put the packet checker and the invariants.
//!
//! ```no_run
//! use tunstack::base::{Config, Duration};
//! use tunstack::host::Host;
//! use tunstack::sim::{Outcome, Sim};
//!
//! let mut sim = Sim::new(7);
//! let a = sim.add_host(Host::new(Config::default(), [1; 16]));
//! let b = sim.add_host(Host::new(Config::default(), [2; 16]));
//! sim.connect(a, b, &"loss=1%,delay=20ms".parse().unwrap());
//! // … add addresses, open sockets on sim.host_mut(a) and sim.host_mut(b) …
//! let outcome = sim.run_until(Duration::from_secs(60), |sim| sim.host(b).counters().tcp_in_segs > 100);
//! assert_eq!(outcome, Outcome::Met);
//! ```

mod node;

use crate::base::{Duration, Instant, Rng};
use crate::host::Host;
use crate::link::impair::{Conditions, Impair, Impairment, Stats};
use core::any::Any;
use core::net::IpAddr;
pub use node::Node;

/// Packets that one node sends, or receives, in one step at most; as many as a driver handles in a round.
const ROUND: usize = 64;
/// Steps without time passing after which two nodes are thought to chase each other for ever. On a wire without delay a
/// whole transfer takes no time, so it is many.
const STEPS_AT_ONE_TIME: u32 = 10_000_000;
/// A timer that fires counts as so many steps: it has no reason to fire again at the same time.
const STEPS_OF_TIMER: u32 = 1000;

/// A node of a [`Sim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// A wire of a [`Sim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(usize);

/// A packet at one end of a wire.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// When.
    pub at: Instant,
    /// Where.
    pub node: NodeId,
    /// Which way.
    pub passage: Passage,
    /// The packet.
    pub bytes: &'a [u8],
}

/// Which way a packet went at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The node sent it; the wire may still lose it.
    Sent,
    /// It arrived at the node, damage and all.
    Arrived,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition was met.
    Met,
    /// Nothing is left that could ever happen.
    Idle,
    /// The time ran out.
    OutOfTime,
}

type PacketHook = Box<dyn FnMut(&Sighting<'_>)>;
type StepHook = Box<dyn FnMut(&mut Sim)>;

/// Hosts, wires between them, and a clock that only this moves.
pub struct Sim {
    now: Instant,
    rng: Rng,
    nodes: Vec<Slot>,
    wires: usize,
    steps: u64,
    steps_at_now: u32,
    on_packet: Option<PacketHook>,
    on_step: Option<StepHook>,
}

/// A node with its way onto its wire.
struct Slot {
    node: Box<dyn Node>,
    wire: Option<WireId>,
    egress: Impair,
    /// May it have something to send?
    stirred: bool,
}

impl Sim {
    /// An empty world at time zero.
    pub fn new(seed: u64) -> Sim {
        Sim {
            now: Instant::ZERO,
            rng: Rng::from_seed(seed),
            nodes: Vec::new(),
            wires: 0,
            steps: 0,
            steps_at_now: 0,
            on_packet: None,
            on_step: None,
        }
    }

    /// Adds a host. It must have been given no time later than now.
    pub fn add_host(&mut self, host: Host) -> NodeId {
        self.add_node(Box::new(host))
    }

    /// Adds a node of any kind.
    pub fn add_node(&mut self, node: Box<dyn Node>) -> NodeId {
        let egress = Impair::new(Conditions::default(), Rng::new(self.rng.key().0));
        self.nodes.push(Slot { node, wire: None, egress, stirred: true });
        NodeId(self.nodes.len() - 1)
    }

    /// Lays a wire between two nodes: `up` of the impairment is from `a` to `b`. Before it has a wire, what a node
    /// sends is lost.
    pub fn connect(&mut self, a: NodeId, b: NodeId, impairment: &Impairment) -> WireId {
        let wire = WireId(self.wires);
        self.wires += 1;
        self.join(a, wire, impairment.up.clone());
        self.join(b, wire, impairment.down.clone());
        wire
    }

    /// Puts another node on a wire. Where more than two are on it, a packet goes to those that want its destination.
    /// `conditions` are those of packets that this node sends.
    pub fn join(&mut self, node: NodeId, wire: WireId, conditions: Conditions) {
        let slot = &mut self.nodes[node.0];
        slot.wire = Some(wire);
        slot.egress.set_conditions(conditions);
    }

    /// Changes what happens to packets that `node` sends from now on.
    pub fn set_conditions(&mut self, node: NodeId, conditions: Conditions) {
        self.nodes[node.0].egress.set_conditions(conditions);
    }

    /// What happened to the packets that `node` sent.
    pub fn stats(&self, node: NodeId) -> Stats {
        self.nodes[node.0].egress.stats()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Steps done so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The host at `id`.
    ///
    /// # Panics
    /// When the node is no [`Host`].
    pub fn host(&self, id: NodeId) -> &Host {
        self.node(id)
    }

    /// The host at `id`, to call its sockets. Pass [`Sim::now`] as the time.
    ///
    /// # Panics
    /// When the node is no [`Host`].
    pub fn host_mut(&mut self, id: NodeId) -> &mut Host {
        self.node_mut(id)
    }

    /// The node at `id` as what it is.
    ///
    /// # Panics
    /// When the node is no `T`.
    pub fn node<T: Node>(&self, id: NodeId) -> &T {
        let node: &dyn Any = &*self.nodes[id.0].node;
        node.downcast_ref().expect("the node is of this type")
    }

    /// The node at `id` as what it is, to change it.
    ///
    /// # Panics
    /// When the node is no `T`.
    pub fn node_mut<T: Node>(&mut self, id: NodeId) -> &mut T {
        let slot = &mut self.nodes[id.0];
        slot.stirred = true;
        let node: &mut dyn Any = &mut *slot.node;
        node.downcast_mut().expect("the node is of this type")
    }

    /// Calls `hook` for every packet that is sent or arrives.
    pub fn on_packet(&mut self, hook: impl FnMut(&Sighting<'_>) + 'static) {
        self.on_packet = Some(Box::new(hook));
    }

    /// Calls `hook` after every step.
    pub fn on_step(&mut self, hook: impl FnMut(&mut Sim) + 'static) {
        self.on_step = Some(Box::new(hook));
    }

    /// Does the next thing: one node sends what it has, or packets due now arrive at one node, or the time moves on to
    /// the next event. `false` when nothing will ever happen again without a call from outside.
    ///
    /// # Panics
    /// When very many steps have passed without any time: some nodes chase each other.
    pub fn step(&mut self) -> bool {
        self.step_before(None)
    }

    /// Steps until `condition` holds, at most for `limit`. The condition is looked at before the first step and after
    /// each one.
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut Sim) -> bool) -> Outcome {
        let end = self.now + limit;
        loop {
            if condition(self) {
                return Outcome::Met;
            }
            if !self.step_before(Some(end)) {
                let idle = self.next_event().is_none();
                self.now = if idle { self.now } else { end };
                return if idle { Outcome::Idle } else { Outcome::OutOfTime };
            }
        }
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step_before(Some(end)) {}
        self.move_clock(end);
    }

    /// A step that does not move the clock beyond `end`; `false` when there is none.
    fn step_before(&mut self, end: Option<Instant>) -> bool {
        let done = self.send_one_round() || self.deliver_one_round();
        if !done && self.fire_timers() {
            self.steps_at_now += STEPS_OF_TIMER;
        } else if !done {
            let next = self.next_event().filter(|next| end.is_none_or(|end| *next <= end));
            let Some(next) = next else {
                return false;
            };
            self.move_clock(next);
        }
        self.steps += 1;
        self.steps_at_now += 1;
        assert!(self.steps_at_now < STEPS_AT_ONE_TIME, "no end of events at {:?}", self.now);
        if let Some(mut hook) = self.on_step.take() {
            hook(self);
            self.on_step.get_or_insert(hook);
        }
        true
    }

    /// The first node with something to send sends a round.
    fn send_one_round(&mut self) -> bool {
        let Sim { now, nodes, on_packet, .. } = self;
        for (index, slot) in nodes.iter_mut().enumerate().filter(|(_, slot)| slot.stirred) {
            let mut sent = 0;
            while sent < ROUND
                && let Some(packet) = slot.node.transmit(*now)
            {
                sent += 1;
                sighted(on_packet, *now, NodeId(index), Passage::Sent, &packet);
                if slot.wire.is_some()
                    && let Some(message) = slot.egress.push(*now, packet)
                {
                    sighted(on_packet, *now, NodeId(index), Passage::Arrived, &message);
                    slot.node.receive(*now, &message);
                }
            }
            if sent > 0 {
                return true;
            }
            slot.stirred = false;
        }
        false
    }

    /// Packets of the first node that has some due arrive where they go.
    fn deliver_one_round(&mut self) -> bool {
        for from in 0..self.nodes.len() {
            let Some(packet) = self.nodes[from].egress.pop(self.now) else {
                continue;
            };
            self.deliver(from, &packet);
            for _ in 1..ROUND {
                let Some(packet) = self.nodes[from].egress.pop(self.now) else {
                    break;
                };
                self.deliver(from, &packet);
            }
            return true;
        }
        false
    }

    fn deliver(&mut self, from: usize, packet: &[u8]) {
        let Sim { now, nodes, on_packet, .. } = self;
        let wire = nodes[from].wire;
        let shared = nodes.iter().filter(|slot| slot.wire == wire).count() > 2;
        let destination = destination(packet);
        for (index, slot) in nodes.iter_mut().enumerate().filter(|(_, slot)| slot.wire == wire) {
            if index == from
                || (shared && !destination.is_some_and(|destination| slot.node.wants(destination)))
            {
                continue;
            }
            sighted(on_packet, *now, NodeId(index), Passage::Arrived, packet);
            slot.node.receive(*now, packet);
            slot.stirred = true;
        }
    }

    /// The first node whose deadline has passed is told.
    fn fire_timers(&mut self) -> bool {
        let now = self.now;
        let due = self.nodes.iter_mut().find(|slot| slot.node.next_timeout().is_some_and(|due| due <= now));
        let Some(slot) = due else {
            return false;
        };
        slot.node.advance(now);
        slot.stirred = true;
        true
    }

    /// When the next thing happens, if anything ever does.
    fn next_event(&self) -> Option<Instant> {
        self.nodes
            .iter()
            .flat_map(|slot| [slot.node.next_timeout(), slot.egress.next_timeout()])
            .flatten()
            .min()
    }

    fn move_clock(&mut self, to: Instant) {
        if self.now < to {
            self.now = to;
            self.steps_at_now = 0;
        }
    }
}

impl core::fmt::Debug for Sim {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sim")
            .field("now", &self.now)
            .field("nodes", &self.nodes.len())
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

fn sighted(hook: &mut Option<PacketHook>, at: Instant, node: NodeId, passage: Passage, bytes: &[u8]) {
    if let Some(hook) = hook {
        hook(&Sighting { at, node, passage, bytes });
    }
}

/// Where a packet goes; `None` when it does not say.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
