//! How long short flows take on a lossy path, beside smoltcp as the sender on the same path with the same seeds.

use super::smoltcp_peer::{Queues, smol};
use super::station::{PORT, SENDER, Station, world};
use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::cell::RefCell;
use tunstack::base::{Config, Duration, Instant};
use tunstack::sim::{Node, Outcome};

const LINK: &str = "rate=100mbit,delay=10ms,queue=250kib,up:loss=1%";
const OCTETS: u64 = 100_000;
const FLOWS: u64 = 200;

/// smoltcp that sends so much to its client, and then its FIN.
struct Smoltcp(RefCell<Inside>);

struct Inside {
    device: Queues,
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    left: usize,
}

impl Smoltcp {
    fn sender(octets: u64, congestion: tcp::CongestionControl) -> Smoltcp {
        let mut device = Queues::default();
        let mut iface =
            Interface::new(IfaceConfig::new(HardwareAddress::Ip), &mut device, smol(Instant::ZERO));
        iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(SENDER.into(), 24)).expect("room"));
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; 64 << 10]),
            tcp::SocketBuffer::new(vec![0; 1 << 20]),
        );
        socket.set_congestion_control(congestion);
        socket.listen(PORT).expect("free");
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Smoltcp(RefCell::new(Inside { device, iface, sockets, handle, left: octets as usize }))
    }
}

impl Inside {
    fn poll(&mut self, now: Instant) {
        loop {
            self.iface.poll(smol(now), &mut self.device, &mut self.sockets);
            let socket = self.sockets.get_mut::<tcp::Socket>(self.handle);
            if !socket.can_send() || self.left == 0 {
                break;
            }
            self.left -= socket
                .send(|room| {
                    let len = room.len().min(self.left);
                    (len, len)
                })
                .expect("it can");
            if self.left == 0 {
                socket.close();
            }
        }
    }
}

impl Node for Smoltcp {
    fn receive(&mut self, now: Instant, packet: &[u8]) {
        let inside = self.0.get_mut();
        inside.device.rx.push_back(packet.to_vec());
        inside.poll(now);
    }

    fn transmit(&mut self, _: Instant) -> Option<Vec<u8>> {
        self.0.get_mut().device.tx.pop_front()
    }

    fn advance(&mut self, now: Instant) {
        self.0.get_mut().poll(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let inside = &mut *self.0.borrow_mut();
        let at = inside.iface.poll_at(smol(Instant::ZERO), &inside.sockets)?;
        Some(Instant::from_nanos(u64::try_from(at.total_micros()).unwrap_or(0) * 1000))
    }
}

/// Milliseconds from the SYN to the last octet, for each seed, in order of length.
fn times(sender: impl Fn(u64) -> Box<dyn Node>) -> Vec<f64> {
    let mut times: Vec<f64> = (0..FLOWS)
        .map(|seed| {
            let receiver = Station::receiver(Config::default(), seed).checked();
            let (mut sim, _, receiver) = world(LINK, seed, sender(seed), receiver);
            let whole = |sim: &mut tunstack::sim::Sim| sim.node::<Station>(receiver).received().0 == OCTETS;
            assert_eq!(sim.run_until(Duration::from_secs(300), whole), Outcome::Met, "seed {seed}");
            sim.node::<Station>(receiver).received().1.as_nanos() as f64 / 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn quantile(times: &[f64], percent: usize) -> f64 {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[test]
fn short_flows_take_no_longer_than_those_of_smoltcp() {
    let ours = times(|seed| Box::new(Station::sender(Config::default(), seed, OCTETS).checked()));
    let reno = times(|_| Box::new(Smoltcp::sender(OCTETS, tcp::CongestionControl::Reno)));
    let cubic = times(|_| Box::new(Smoltcp::sender(OCTETS, tcp::CongestionControl::Cubic)));
    println!("{FLOWS} flows of {OCTETS} octets over {LINK}: milliseconds");
    for (name, times) in [("tunstack", &ours), ("smoltcp, reno", &reno), ("smoltcp, cubic", &cubic)] {
        println!(
            "{name:16} p50 {:7.1}  p95 {:7.1}  p99 {:7.1}",
            quantile(times, 50),
            quantile(times, 95),
            quantile(times, 99)
        );
    }
    for theirs in [&reno, &cubic] {
        for percent in [50, 95, 99] {
            assert!(quantile(&ours, percent) <= quantile(theirs, percent), "p{percent}");
        }
    }
}
