use super::*;
use crate::link::impair::Share;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Sends what it is told to, answers a packet whose first payload octet is above zero with one of one less, and can
/// have a timer.
#[derive(Default)]
struct Toy {
    address: [u8; 4],
    out: VecDeque<Vec<u8>>,
    seen: Vec<(u64, u8)>,
    timer: Option<Instant>,
    fired: Vec<u64>,
    stuck: bool,
}

fn packet(source: [u8; 4], destination: [u8; 4], count: u8) -> Vec<u8> {
    let mut packet = vec![0x45];
    packet.resize(12, 0);
    packet.extend_from_slice(&source);
    packet.extend_from_slice(&destination);
    packet.push(count);
    packet
}

impl Node for Toy {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let count = bytes.get(20).copied().unwrap_or(0);
        self.seen.push((now.as_millis(), count));
        if count > 0 {
            let back = [bytes[12], bytes[13], bytes[14], bytes[15]];
            self.out.push_back(packet(self.address, back, count - 1));
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    fn advance(&mut self, now: Instant) {
        self.fired.push(now.as_millis());
        if !self.stuck {
            self.timer = None;
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timer
    }

    fn wants(&self, destination: IpAddr) -> bool {
        destination == IpAddr::from(self.address)
    }
}

fn toy(last: u8) -> Box<Toy> {
    Box::new(Toy { address: [10, 0, 0, last], ..Toy::default() })
}

fn pair(link: &str) -> (Sim, NodeId, NodeId) {
    let mut sim = Sim::new(7);
    let (a, b) = (sim.add_node(toy(1)), sim.add_node(toy(2)));
    sim.connect(a, b, &link.parse().expect("valid"));
    (sim, a, b)
}

fn send(sim: &mut Sim, from: NodeId, to: u8, count: u8) {
    let toy = sim.node_mut::<Toy>(from);
    let bytes = packet(toy.address, [10, 0, 0, to], count);
    toy.out.push_back(bytes);
}

#[test]
fn packets_take_the_delay_of_their_direction_and_time_jumps() {
    let (mut sim, a, b) = pair("up:delay=20ms,down:delay=5ms");
    send(&mut sim, a, 2, 4);
    let outcome = sim.run_until(Duration::from_secs(1000), |_| false);
    assert_eq!((outcome, sim.now().as_millis()), (Outcome::Idle, 70));
    assert_eq!(sim.node::<Toy>(b).seen, [(20, 4), (45, 2), (70, 0)]);
    assert_eq!(sim.node::<Toy>(a).seen, [(25, 3), (50, 1)]);
    assert_eq!((sim.stats(a).delivered, sim.stats(b).delivered), (3, 2));
    assert!(!sim.step());
}

#[test]
fn a_run_ends_at_its_condition_or_its_time() {
    let (mut sim, a, b) = pair("delay=10ms");
    send(&mut sim, a, 2, 200);
    let third = |sim: &mut Sim| sim.node::<Toy>(b).seen.len() == 3;
    assert_eq!(sim.run_until(Duration::from_millis(45), third), Outcome::OutOfTime);
    assert_eq!(sim.now().as_millis(), 45);
    assert_eq!(sim.run_until(Duration::from_millis(45), third), Outcome::Met);
    assert_eq!(sim.now().as_millis(), 50);
    sim.run_for(Duration::from_millis(25));
    assert_eq!((sim.now().as_millis(), sim.node::<Toy>(b).seen.len()), (75, 4));
}

#[test]
fn timers_fire_at_their_time_and_after_packets_of_the_same_time() {
    let (mut sim, a, b) = pair("delay=10ms");
    send(&mut sim, a, 2, 0);
    sim.node_mut::<Toy>(b).timer = Some(Instant::ZERO + Duration::from_millis(10));
    sim.node_mut::<Toy>(a).timer = Some(Instant::ZERO + Duration::from_secs(3600));
    let order = Rc::new(RefCell::new(Vec::new()));
    let log = order.clone();
    sim.on_step(move |sim| {
        let toy = sim.node::<Toy>(b);
        log.borrow_mut().push((toy.seen.len(), toy.fired.len()));
    });
    assert_eq!(sim.run_until(Duration::from_secs(7200), |_| false), Outcome::Idle);
    assert_eq!(sim.node::<Toy>(b).fired, [10]);
    assert_eq!(sim.node::<Toy>(a).fired, [3_600_000]);
    assert!(order.borrow().contains(&(1, 0)) && !order.borrow().contains(&(0, 1)));
}

#[test]
fn hooks_see_every_packet_and_every_step() {
    let (mut sim, a, b) = pair("drop=packet:2");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    sim.on_packet(move |sighting| {
        log.borrow_mut().push((sighting.node, sighting.passage, sighting.bytes[20]));
    });
    let steps = Rc::new(RefCell::new(0));
    let count = steps.clone();
    sim.on_step(move |_| *count.borrow_mut() += 1);
    send(&mut sim, a, 2, 2);
    sim.run_for(Duration::from_secs(1));
    use Passage::{Arrived, Sent};
    // The second packet of each direction is dropped: a's answer to b's answer never arrives.
    assert_eq!(*seen.borrow(), [(a, Sent, 2), (b, Arrived, 2), (b, Sent, 1), (a, Arrived, 1), (a, Sent, 0)]);
    assert_eq!(*steps.borrow(), sim.steps());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut sim = Sim::new(seed);
        let (a, b) = (sim.add_node(toy(1)), sim.add_node(toy(2)));
        sim.connect(a, b, &"loss=5%,jitter=3ms,delay=4ms,dup=5%".parse().expect("valid"));
        let log = Rc::new(RefCell::new(Vec::new()));
        let sink = log.clone();
        sim.on_packet(move |sighting| {
            sink.borrow_mut().push((sighting.at, sighting.node, sighting.bytes.to_vec()))
        });
        for _ in 0..20 {
            send(&mut sim, a, 2, 30);
        }
        sim.run_for(Duration::from_secs(5));
        (log.take(), sim.steps())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn many_nodes_share_a_wire_and_get_what_they_want() {
    let mut sim = Sim::new(1);
    let ids: Vec<NodeId> = (1..=4).map(|last| sim.add_node(toy(last))).collect();
    let wire = sim.connect(ids[0], ids[1], &Impairment::default());
    sim.join(ids[2], wire, Conditions { loss: Share::ALL, ..Conditions::default() });
    sim.join(ids[3], wire, Conditions::default());
    send(&mut sim, ids[0], 4, 1);
    send(&mut sim, ids[2], 1, 0);
    sim.run_for(Duration::from_secs(1));
    let counts: Vec<usize> = ids.iter().map(|id| sim.node::<Toy>(*id).seen.len()).collect();
    assert_eq!(counts, [1, 0, 0, 1]);
    sim.set_conditions(ids[2], Conditions::default());
    send(&mut sim, ids[2], 1, 0);
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.node::<Toy>(ids[0]).seen.len(), 2);
}

#[test]
fn a_narrow_wire_answers_the_sender() {
    let (mut sim, a, b) = pair("mtu=100");
    let mut large = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2);
    builder.write(&mut large, &[0; 200]).expect("fits");
    sim.node_mut::<Toy>(a).out.push_back(large);
    sim.run_for(Duration::from_secs(1));
    // ICMP type 3 comes back at once.
    assert_eq!(sim.node::<Toy>(a).seen.first(), Some(&(0, 3)));
    assert!(sim.node::<Toy>(b).seen.iter().all(|(_, count)| *count < 3));
    assert_eq!(sim.stats(a).too_big, 1);
}

#[test]
#[should_panic(expected = "no end of events")]
fn a_clock_that_stands_still_is_found() {
    let (mut sim, a, _) = pair("");
    sim.node_mut::<Toy>(a).stuck = true;
    sim.node_mut::<Toy>(a).timer = Some(Instant::ZERO);
    sim.run_for(Duration::from_secs(1));
}

/// A host with this address and a bound UDP socket.
fn host(sim: &mut Sim, last: u8) -> (NodeId, crate::host::SocketId) {
    use crate::host::{Config, Domain, Type};
    let mut host = Host::new(Config::default(), [last; 16]);
    host.add_address(format!("10.0.0.{last}/24").parse().expect("valid")).expect("possible");
    let socket = host.socket(Domain::Inet, Type::Dgram).expect("a socket");
    host.bind(socket, ([0, 0, 0, 0], 9).into()).expect("free");
    (sim.add_host(host), socket)
}

fn received(sim: &mut Sim, (id, socket): (NodeId, crate::host::SocketId)) -> Vec<Vec<u8>> {
    let now = sim.now();
    let mut buffer = [0; 2000];
    let host = sim.host_mut(id);
    std::iter::from_fn(|| {
        host.recv(now, socket, &mut buffer, Default::default()).ok().map(|got| buffer[..got.len].to_vec())
    })
    .collect()
}

#[test]
fn hosts_talk_over_a_lossy_wire() {
    let mut sim = Sim::new(3);
    let (a, b) = (host(&mut sim, 1), host(&mut sim, 2));
    sim.connect(a.0, b.0, &"up:loss=25%,delay=10ms".parse().expect("valid"));
    for n in 0..100 {
        let now = sim.now();
        let to = ([10, 0, 0, 2], 9).into();
        sim.host_mut(a.0).send_to(now, a.1, &[n], Some(to), Default::default()).expect("room");
        sim.run_for(Duration::from_millis(1));
    }
    let outcome =
        sim.run_until(Duration::from_secs(1), |sim| sim.stats(a.0).delivered + sim.stats(a.0).lost == 100);
    assert_eq!(outcome, Outcome::Met);
    let got = received(&mut sim, b);
    assert_eq!(got.len() as u64, sim.stats(a.0).delivered);
    assert!((60..90).contains(&got.len()) && got.is_sorted(), "{got:?}");
}

#[test]
fn a_broadcast_reaches_all_hosts_on_the_wire_and_a_datagram_one() {
    let mut sim = Sim::new(4);
    let all = [host(&mut sim, 1), host(&mut sim, 2), host(&mut sim, 3)];
    let wire = sim.connect(all[0].0, all[1].0, &Impairment::default());
    sim.join(all[2].0, wire, Conditions::default());
    let (from, socket) = all[0];
    let now = sim.now();
    sim.host_mut(from).set_option(now, socket, crate::host::Opt::Broadcast(true)).expect("allowed");
    for (to, text) in [([10, 0, 0, 255], b"all"), ([10, 0, 0, 3], b"one")] {
        sim.host_mut(from)
            .send_to(now, socket, text, Some((to, 9).into()), Default::default())
            .expect("room");
    }
    sim.run_for(Duration::from_secs(1));
    assert_eq!(received(&mut sim, all[1]), [b"all".to_vec()]);
    assert_eq!(received(&mut sim, all[2]), [b"all".to_vec(), b"one".to_vec()]);
}
