//! Each congestion controller over whole hosts and a bottleneck, in virtual time: bulk data in one direction.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use tunstack::base::{Config, Duration, Errno, Instant};
use tunstack::host::{Domain, Host, Link, MsgFlags, Opt, OptName, SocketId, TcpInfo, Type};
use tunstack::sim::{NodeId, Passage, Sim};

const MTU: u32 = 1500;

/// A sender, a receiver and the path between them.
struct Bulk {
    sim: Sim,
    ends: [NodeId; 2],
    sockets: [SocketId; 2],
    received: u64,
    /// When the sender's packets with data left, and their sizes.
    sent: Rc<RefCell<Vec<(Instant, usize)>>>,
}

impl Bulk {
    fn new(controller: &str, link: &str) -> Bulk {
        Bulk::with(controller, link, &[("tcp_rmem", "4096 4000000 6000000")])
    }

    fn with(controller: &str, link: &str, settings: &[(&str, &str)]) -> Bulk {
        let mut sim = Sim::new(3);
        let addresses = ["10.0.0.1", "10.0.0.2"];
        let ends = addresses.map(|address| {
            let mut config = Config::default();
            config.set("tcp_congestion_control", controller).expect("a controller");
            settings.iter().for_each(|(name, value)| config.set(name, value).expect("valid"));
            let mut host = Host::new(config, [7; 16]);
            host.set_link(Instant::ZERO, Link::plain(MTU));
            host.add_address(format!("{address}/24").parse().expect("legal")).expect("legal");
            sim.add_host(host)
        });
        sim.connect(ends[0], ends[1], &link.parse().expect("a link"));
        let sent = Rc::new(RefCell::new(Vec::new()));
        let (log, sender) = (sent.clone(), ends[0]);
        sim.on_packet(move |seen| {
            if seen.node == sender && seen.passage == Passage::Sent && seen.bytes.len() > 100 {
                log.borrow_mut().push((seen.at, seen.bytes.len()));
            }
        });
        let now = sim.now();
        let server = SocketAddr::new(addresses[1].parse().expect("legal"), 80);
        let listener = sim.host_mut(ends[1]).socket(Domain::Inet, Type::Stream).expect("a socket");
        sim.host_mut(ends[1]).bind(listener, server).expect("free");
        sim.host_mut(ends[1]).listen(now, listener, 1).expect("listens");
        let client = sim.host_mut(ends[0]).socket(Domain::Inet, Type::Stream).expect("a socket");
        assert_eq!(sim.host_mut(ends[0]).connect(now, client, Some(server)), Err(Errno::EINPROGRESS));
        sim.run_for(Duration::from_secs(5));
        let now = sim.now();
        let (accepted, _) = sim.host_mut(ends[1]).accept(now, listener).expect("connected");
        Bulk { sim, ends, sockets: [client, accepted], received: 0, sent }
    }

    /// Octets per second that arrive while `time` passes.
    fn run(&mut self, time: Duration) -> f64 {
        let (data, mut buffer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let (end, before) = (self.sim.now() + time, self.received);
        while self.sim.now() < end {
            let now = self.sim.now();
            let host = self.sim.host_mut(self.ends[0]);
            while host.send(now, self.sockets[0], &data, MsgFlags::empty()).is_ok() {}
            self.sim.run_for(Duration::from_millis(1));
            let now = self.sim.now();
            let host = self.sim.host_mut(self.ends[1]);
            while let Ok(got) = host.recv(now, self.sockets[1], &mut buffer, MsgFlags::empty()) {
                self.received += got.len as u64;
            }
        }
        (self.received - before) as f64 / time.as_secs_f64()
    }

    fn info(&self) -> TcpInfo {
        self.sim.host(self.ends[0]).tcp_info(self.sim.now(), self.sockets[0]).expect("a connection")
    }

    fn controller(&mut self, name: &str) {
        let now = self.sim.now();
        let option = Opt::Congestion(name.to_owned());
        self.sim.host_mut(self.ends[0]).set_option(now, self.sockets[0], option).expect("a controller");
    }
}

/// Octets per second through the bottleneck of 10 Mbit/s, and what data gets of them at most: 1448 octets of 1500.
const RATE: usize = 1_250_000;
const MOST: f64 = RATE as f64 * 1448.0 / 1500.0;
/// 20 ms, one BDP of queue.
const PATH: &str = "delay=10ms,up:rate=10mbit,up:queue=25kib";

/// conformance: 9293-MAY-18
#[test]
fn each_fills_the_path() {
    for controller in ["cubic", "reno", "bbr"] {
        let mut bulk = Bulk::new(controller, PATH);
        bulk.run(Duration::from_secs(3));
        let share = bulk.run(Duration::from_secs(5)) / MOST;
        let info = bulk.info();
        assert!(share > 0.93, "{controller}: {share} {info:?}");
    }
}

/// conformance: bbr-draft-optional
#[test]
fn bbr_keeps_the_queue_short_and_stands_random_loss() {
    let deep = "delay=10ms,up:rate=10mbit,up:queue=200kib";
    let delay = |controller| {
        let mut bulk = Bulk::new(controller, deep);
        bulk.run(Duration::from_secs(3));
        let share = bulk.run(Duration::from_secs(4)) / MOST;
        assert!(share > 0.93, "{controller}: {share}");
        bulk.info().rtt
    };
    let (bbr, cubic) = (delay("bbr"), delay("cubic"));
    assert!(bbr < 30_000 && cubic > 2 * bbr, "microseconds of 20,000: BBR {bbr}, CUBIC {cubic}");
    let lossy = |controller| {
        let mut bulk = Bulk::new(controller, "delay=30ms,up:rate=10mbit,up:queue=75kib,up:loss=1%");
        bulk.run(Duration::from_secs(3));
        bulk.run(Duration::from_secs(10)) / MOST
    };
    let (bbr, cubic) = (lossy("bbr"), lossy("cubic"));
    assert!(bbr > 0.7 && bbr > 1.8 * cubic, "at 1 % loss: BBR {bbr}, CUBIC {cubic}");
}

/// Without SACK each duplicate tells of a segment delivered: the rate that BBR sees is the path's, and not that of what a recovery's last
/// acknowledgment covers at once.
#[test]
fn bbr_does_without_sack() {
    for timestamps in ["1", "0"] {
        let settings =
            [("tcp_sack", "0"), ("tcp_timestamps", timestamps), ("tcp_rmem", "4096 131072 131072")];
        let mut bulk = Bulk::with("bbr", PATH, &settings);
        bulk.run(Duration::from_secs(3));
        let share = bulk.run(Duration::from_secs(10)) / MOST;
        assert!(share > 0.6, "timestamps {timestamps}: {share} {:?}", bulk.info());
    }
}

/// conformance: bbr-draft-pacing
#[test]
fn bbr_spreads_what_cubic_sends_at_once() {
    let spread = |controller| {
        let mut bulk = Bulk::new(controller, PATH);
        bulk.run(Duration::from_millis(15));
        let sent = bulk.sent.borrow();
        assert_eq!(sent.len(), 10, "{controller}: the initial window");
        sent[9].0.since(sent[0].0)
    };
    assert_eq!(spread("cubic"), Duration::ZERO);
    // 10 segments at 2.77 times 10 per round trip of 20 ms, two at once.
    let first = spread("bbr");
    assert!(first > Duration::from_millis(4) && first < Duration::from_millis(8), "{first}");
    // And later no two milliseconds carry more than the pacing rate and a burst allow.
    let mut bulk = Bulk::new("bbr", PATH);
    bulk.run(Duration::from_secs(3));
    bulk.sent.borrow_mut().clear();
    bulk.run(Duration::from_secs(4));
    let sent = bulk.sent.borrow();
    let window = Duration::from_millis(10);
    for (n, (at, _)) in sent.iter().enumerate() {
        let octets: usize =
            sent[n..].iter().take_while(|(t, _)| t.since(*at) < window).map(|(_, len)| len).sum();
        assert!(
            octets < RATE / 100 * 125 / 100 + 2 * RATE / 1000 + 3000,
            "{octets} octets within 10 ms of {at:?}"
        );
    }
}

#[test]
fn the_controller_of_a_connection_can_be_changed_while_it_sends() {
    let mut bulk = Bulk::new("cubic", PATH);
    bulk.run(Duration::from_secs(2));
    for controller in ["reno", "bbr", "cubic", "bbr", "reno"] {
        let before = bulk.info().snd_cwnd;
        bulk.controller(controller);
        assert_eq!(bulk.info().snd_cwnd, before, "the window is taken over");
        let name = bulk.sim.host_mut(bulk.ends[0]).option(bulk.sockets[0], OptName::Congestion);
        assert_eq!(name, Ok(Opt::Congestion(controller.to_owned())));
        bulk.run(Duration::from_secs(1));
        let share = bulk.run(Duration::from_secs(2)) / MOST;
        assert!(share > 0.85, "{controller}: {share}");
    }
}
