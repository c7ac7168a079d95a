//! Two hosts on a bad wire in virtual time, an application on each, and invariants after every step.

mod app;
mod invariants;
mod scenario;

use super::checker::Checker;
use super::offload;
use super::packet::{Packet, SYN};
use super::text::{self, Isns};
use super::wire::Wire;
pub use app::{App, Plan};
use invariants::Views;
pub use scenario::Scenario;
use std::net::{IpAddr, SocketAddr};
use tunstack::base::{Cidr, Config, Duration, Instant};
use tunstack::host::{Domain, Errno, Host, Link, RxMeta};

/// Two hosts, the wire between them, and what runs on them.
pub struct Pair {
    pub now: Instant,
    pub hosts: [Host; 2],
    pub wire: Wire,
    pub apps: [App; 2],
    checkers: [Checker; 2],
    views: [Views; 2],
    steps: u64,
    /// Every packet that left, by whom and when, if it is asked for.
    pub log: Option<Vec<(Instant, usize, Vec<u8>)>>,
    /// Print every packet, with the ISN of each end for relative numbers.
    told: Option<[u32; 2]>,
}

/// How a run ended, by end: octets received in full, or the error that its calls gave.
pub type Outcome = [Result<(), Errno>; 2];

impl Pair {
    /// Builds what the scenario says; the application on host 0 connects to the one on host 1.
    pub fn new(scenario: &Scenario) -> Pair {
        let addresses = addresses(scenario.v6);
        let mut checkers = addresses.map(|address| Checker::new(scenario.mtu as usize, &[address]));
        let views = [Views::default(), Views::default()];
        let hosts = [0, 1].map(|end| {
            let mut host = Host::new(scenario.configs[end].clone(), [scenario.seed as u8 ^ end as u8; 16]);
            let link = match scenario.offload[end] {
                true => Link {
                    max_packet: 65_535,
                    checksum_offload: true,
                    datagram_trains: true,
                    ..Link::plain(scenario.mtu)
                },
                false => Link::plain(scenario.mtu),
            };
            host.set_link(Instant::ZERO, link);
            let cidr = Cidr::new(addresses[end], if scenario.v6 { 64 } else { 24 }).expect("legal");
            host.add_address(cidr).expect("legal");
            cidr.broadcast().into_iter().for_each(|b| checkers[end].add_broadcast(b.into()));
            if scenario.traced {
                host.set_trace(Some(views[end].sink()));
            }
            host
        });
        let domain = if scenario.v6 { Domain::Inet6 } else { Domain::Inet };
        let ports = [scenario.simultaneous.then_some(4000), Some(80)];
        let local = |end: usize| SocketAddr::new(addresses[end], ports[end].unwrap_or(0));
        let apps =
            [0, 1].map(|end| App::new(domain, local(end), local(1 - end), scenario.plans[end].clone()));
        let mut pair = Pair {
            now: Instant::from_nanos(1_000_000_000),
            hosts,
            wire: Wire::new(scenario.faults.clone(), scenario.seed),
            apps,
            checkers,
            views,
            steps: 0,
            log: None,
            told: scenario.verbose.then_some([0; 2]),
        };
        for end in [1, 0] {
            pair.act(end, |app, host, now| app.start(host, now, end == 1 && !scenario.simultaneous));
        }
        pair
    }

    /// Runs until both applications are done or `limit` of time has passed.
    pub fn run(&mut self, limit: Duration) -> Outcome {
        let end = self.now + limit;
        while !self.apps.iter().all(App::is_done) {
            let Some(at) = self.next_event() else {
                panic!("deadlock at {:?}: {}", self.now, self.describe());
            };
            assert!(at <= end, "not done after {limit}: {}", self.describe());
            self.step(at);
        }
        [0, 1].map(|end| self.apps[end].outcome())
    }

    /// Lets the hosts forget their connections; then nothing may be left of them.
    pub fn settle(&mut self, limit: Duration) {
        let end = self.now + limit;
        while let Some(at) = self.next_event() {
            assert!(at <= end, "something still moves {limit} after the end: {}", self.describe());
            self.step(at);
        }
        for host in &self.hosts {
            let left: Vec<_> = host.sockets().into_iter().filter(|s| s.state != "LISTEN").collect();
            assert!(left.is_empty(), "left over: {left:?}");
        }
    }

    /// When something happens next.
    pub fn next_event(&self) -> Option<Instant> {
        let hosts = self.hosts.iter().filter_map(Host::next_timeout);
        let apps = self.apps.iter().filter_map(App::next_timeout);
        hosts.chain(apps).chain(self.wire.next_arrival()).min()
    }

    /// Everything that happens at `at`.
    pub fn step(&mut self, at: Instant) {
        self.steps += 1;
        assert!(self.steps < 20_000_000, "no end of steps: {}", self.describe());
        self.now = self.now.max(at);
        let now = self.now;
        let mut arrived = [Vec::new(), Vec::new()];
        for flying in self.wire.take(now) {
            self.tell(1 - flying.to, &flying.bytes, "arrives");
            self.checkers[flying.to].arrived(&flying.bytes);
            arrived[flying.to].push(flying.bytes);
        }
        for (end, packets) in arrived.into_iter().enumerate() {
            let host = &mut self.hosts[end];
            match host.link().checksum_offload {
                true => {
                    offload::glue(packets).iter().for_each(|(bytes, meta)| host.receive(now, bytes, *meta))
                }
                false => packets.iter().for_each(|bytes| host.receive(now, bytes, RxMeta::default())),
            }
        }
        for end in [0, 1] {
            if self.hosts[end].next_timeout().is_some_and(|deadline| deadline <= now) {
                self.checkers[end].acted();
                self.hosts[end].advance(now);
                let next = self.hosts[end].next_timeout();
                assert!(
                    next.is_none_or(|next| next > now),
                    "host {end} is not done with {next:?} at {now:?}"
                );
            }
            self.drain(end);
            self.act(end, |app, host, now| app.on_time(host, now));
        }
        invariants::check(&self.views[0], &self.views[1]);
    }

    /// Lets the application of one end act, and the host send what comes of it.
    fn act(&mut self, end: usize, call: impl FnOnce(&mut App, &mut Host, Instant)) {
        self.checkers[end].acted();
        call(&mut self.apps[end], &mut self.hosts[end], self.now);
        self.drain(end);
    }

    fn drain(&mut self, end: usize) {
        loop {
            while let Some(packet) = self.hosts[end].transmit(self.now) {
                let pieces = offload::cut(packet.to_vec(), packet.meta);
                for bytes in pieces.unwrap_or_else(|why| panic!("host {end} at {:?}: {why}", self.now)) {
                    self.tell(end, &bytes, "leaves");
                    if let Some(log) = &mut self.log {
                        log.push((self.now, end, bytes.clone()));
                    }
                    if let Err(fault) = self.checkers[end].sent(self.now, &bytes) {
                        panic!("host {end} at {:?}: {fault}", self.now);
                    }
                    self.wire.put(self.now, end, &bytes);
                }
            }
            let Some(event) = self.hosts[end].poll_event() else { break };
            self.checkers[end].acted();
            self.apps[end].on_event(&mut self.hosts[end], self.now, event);
        }
        self.checkers[end].settle();
        if let Err(what) = self.hosts[end].check_invariants() {
            panic!("host {end} at {:?}: {what}", self.now);
        }
    }

    fn tell(&mut self, from: usize, bytes: &[u8], what: &str) {
        let Some(isns) = &mut self.told else { return };
        let arrow = if from == 0 { "0 >  " } else { "  < 1" };
        match Packet::parse(bytes) {
            Ok(packet) => match packet.tcp() {
                Some(tcp) => {
                    if tcp.has(SYN) && what == "leaves" {
                        isns[from] = tcp.seq;
                    }
                    let numbers = Isns { sender: isns[from], other: isns[1 - from] };
                    println!("{:>14?} {arrow} {what:<7} {}", self.now, text::show(tcp, numbers));
                }
                None => println!("{:>14?} {arrow} {what:<7} {:?}", self.now, packet.body),
            },
            Err(why) => println!("{:>14?} {arrow} {what:<7} {why}", self.now),
        }
    }

    /// What can be said about both ends when something is wrong.
    pub fn describe(&self) -> String {
        let mut text =
            format!("{:?} carried {}, dropped {}", self.wire.faults, self.wire.carried, self.wire.dropped);
        for end in [0, 1] {
            text +=
                &format!("\n  {end}: {}\n     {:?}", self.apps[end].describe(), self.hosts[end].sockets());
            let info = self.apps[end].socket().map(|id| self.hosts[end].tcp_info(self.now, id));
            text += &format!("\n     {info:?}\n     next timeout {:?}", self.hosts[end].next_timeout());
        }
        text
    }
}

fn addresses(v6: bool) -> [IpAddr; 2] {
    match v6 {
        false => [[10, 9, 0, 1].into(), [10, 9, 0, 2].into()],
        true => [[0xfd09, 0, 0, 0, 0, 0, 0, 1].into(), [0xfd09, 0, 0, 0, 0, 0, 0, 2].into()],
    }
}

/// Settings that make a run short in virtual time without making it easier.
pub fn quick(config: &mut Config) {
    config.tcp_timewait_len = Duration::from_secs(2);
}
