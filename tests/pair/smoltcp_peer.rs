//! Another implementation as the peer, in memory: smoltcp in both roles, both directions, IPv4 and IPv6, on a clean and on a
//! bad wire.

use crate::common::checker::Checker;
use crate::common::pair::{App, Plan};
use crate::common::wire::{Faults, Wire};
use crate::common::{ms, secs};
use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use tunstack::base::{Cidr, Config, Duration, Instant};
use tunstack::host::{Domain, Host, Link, RxMeta};

const MTU: usize = 1500;

/// Packets to and from smoltcp.
#[derive(Default)]
pub struct Queues {
    pub rx: VecDeque<Vec<u8>>,
    pub tx: VecDeque<Vec<u8>>,
}

pub struct Rx(Vec<u8>);
pub struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let result = f(&mut bytes);
        self.0.push_back(bytes);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Rx, Tx<'_>)> {
        self.rx.pop_front().map(|bytes| (Rx(bytes), Tx(&mut self.tx)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// smoltcp with one socket that sends a stream and checks the one it receives.
struct Other {
    device: Queues,
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    send: usize,
    sent: usize,
    received: Vec<u8>,
    closing: bool,
}

pub fn smol(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(now.as_micros() as i64)
}

/// The octet at a place of smoltcp's stream; `App` knows the same rule for the port of its peer.
fn octet(port: u16, place: usize) -> u8 {
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) as u8 ^ port as u8
}

impl Other {
    fn new(now: Instant, address: IpAddr, send: usize) -> Other {
        let mut device = Queues::default();
        let mut iface = Interface::new(IfaceConfig::new(HardwareAddress::Ip), &mut device, smol(now));
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(address.into(), prefix)).expect("room"));
        let buffer = || tcp::SocketBuffer::new(vec![0; 60_000]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Other { device, iface, sockets, handle, send, sent: 0, received: Vec::new(), closing: false }
    }

    /// Lets it work and its socket send, receive and close.
    fn poll(&mut self, now: Instant, local_port: u16) {
        loop {
            self.iface.poll(smol(now), &mut self.device, &mut self.sockets);
            let socket = self.sockets.get_mut::<tcp::Socket>(self.handle);
            let mut busy = false;
            while socket.can_recv() {
                let taken = socket.recv(|data| (data.len(), data.to_vec())).expect("it can");
                self.received.extend(taken);
                busy = true;
            }
            while socket.can_send() && self.sent < self.send {
                let end = (self.sent + 4_000).min(self.send);
                let data: Vec<u8> = (self.sent..end).map(|i| octet(local_port, i)).collect();
                self.sent += socket.send_slice(&data).expect("it can");
                busy = true;
            }
            let open = socket.may_send();
            if open && self.sent == self.send && !self.closing {
                socket.close();
                (self.closing, busy) = (true, true);
            }
            if !busy {
                break;
            }
        }
    }

    fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let at = self.iface.poll_at(smol(now), &self.sockets)?;
        Some(now.max(Instant::from_nanos(at.total_micros() as u64 * 1_000)))
    }

    fn state(&mut self) -> tcp::State {
        self.sockets.get_mut::<tcp::Socket>(self.handle).state()
    }
}

struct Case {
    v6: bool,
    /// smoltcp connects.
    they_connect: bool,
    /// Octets from us, octets from them.
    sizes: [usize; 2],
    faults: Faults,
    seed: u64,
}

/// Runs a case to its end: all octets arrived both ways and both sides closed.
fn run(case: &Case) {
    let (ours, theirs): (IpAddr, IpAddr) = match case.v6 {
        false => ([10, 9, 0, 1].into(), [10, 9, 0, 2].into()),
        true => ([0xfd09, 0, 0, 0, 0, 0, 0, 1].into(), [0xfd09, 0, 0, 0, 0, 0, 0, 2].into()),
    };
    let mut now = Instant::from_nanos(1_000_000_000);
    let mut host = Host::new(Config::default(), [case.seed as u8; 16]);
    host.set_link(now, Link::plain(MTU as u32));
    host.add_address(Cidr::new(ours, if case.v6 { 64 } else { 24 }).expect("legal")).expect("legal");
    let mut checker = Checker::new(MTU, &[ours]);
    let mut wire = Wire::new(case.faults.clone(), case.seed);
    let mut other = Other::new(now, theirs, case.sizes[1]);
    let plan = Plan {
        fast_open: false,
        send: case.sizes[0],
        expect: case.sizes[1],
        write: 5_000,
        read: 3_000,
        pause: Duration::ZERO,
        close_late: false,
        options: Vec::new(),
    };
    let domain = if case.v6 { Domain::Inet6 } else { Domain::Inet };
    let (local, remote) = (SocketAddr::new(ours, 2000), SocketAddr::new(theirs, 3000));
    let mut app = App::new(domain, local, remote, plan);
    let socket = other.sockets.get_mut::<tcp::Socket>(other.handle);
    if case.they_connect {
        socket.connect(other.iface.context(), (local.ip(), local.port()), remote.port()).expect("connect");
    } else {
        socket.listen(remote.port()).expect("listen");
    }
    checker.acted();
    app.start(&mut host, now, case.they_connect);
    let limit = now + secs(3600);
    loop {
        drain(now, &mut host, &mut checker, &mut wire, &mut app);
        other.poll(now, remote.port());
        other.device.tx.drain(..).for_each(|bytes| wire.put(now, 1, &bytes));
        let theirs_done = matches!(other.state(), tcp::State::Closed | tcp::State::TimeWait);
        if app.is_done() && theirs_done {
            break;
        }
        let next = [host.next_timeout(), app.next_timeout(), wire.next_arrival(), other.next_timeout(now)];
        let Some(at) = next.into_iter().flatten().min() else {
            panic!("deadlock: {}, they are in {:?}", app.describe(), other.state());
        };
        assert!(at < limit, "no end: {}, they are in {:?}", app.describe(), other.state());
        now = now.max(at);
        for flying in wire.take(now) {
            match flying.to {
                0 => {
                    checker.arrived(&flying.bytes);
                    host.receive(now, &flying.bytes, RxMeta::default());
                }
                _ => other.device.rx.push_back(flying.bytes),
            }
        }
        checker.acted();
        if host.next_timeout().is_some_and(|deadline| deadline <= now) {
            host.advance(now);
        }
        app.on_time(&mut host, now);
    }
    assert_eq!(app.outcome(), Ok(()), "{}", app.describe());
    assert_eq!(app.received(), case.sizes[1]);
    let expected: Vec<u8> = (0..case.sizes[0]).map(|i| octet(local.port(), i)).collect();
    assert!(other.received == expected, "smoltcp received something else");
}

fn drain(now: Instant, host: &mut Host, checker: &mut Checker, wire: &mut Wire, app: &mut App) {
    loop {
        while let Some(packet) = host.transmit(now) {
            let bytes = packet.to_vec();
            checker.sent(now, &bytes).unwrap_or_else(|fault| panic!("at {now:?}: {fault}"));
            wire.put(now, 0, &bytes);
        }
        let Some(event) = host.poll_event() else { break };
        checker.acted();
        app.on_event(host, now, event);
    }
    checker.settle();
}

/// Both roles, both directions and both at once, IPv4 and IPv6.
fn all_cases(faults: &Faults, sizes: &[[usize; 2]], seeds: u64) {
    for v6 in [false, true] {
        for they_connect in [false, true] {
            for sizes in sizes {
                for seed in 0..seeds {
                    run(&Case { v6, they_connect, sizes: *sizes, faults: faults.clone(), seed });
                }
            }
        }
    }
}

const SIZES: [[usize; 2]; 5] = [[0, 0], [1, 1], [300_000, 0], [0, 300_000], [200_000, 200_000]];

#[test]
fn smoltcp_on_a_clean_wire() {
    all_cases(&Faults { delay: ms(10), ..Faults::default() }, &SIZES, 1);
}

#[test]
fn smoltcp_on_a_wire_that_loses() {
    all_cases(&Faults { delay: ms(10), loss: 0.05, ..Faults::default() }, &SIZES, 4);
}

#[test]
fn smoltcp_on_a_wire_that_does_everything_wrong() {
    let faults = Faults {
        delay: ms(5),
        loss: 0.03,
        duplicate: 0.05,
        reorder: 0.1,
        hold: ms(30),
        corrupt: 0.02,
        ..Faults::default()
    };
    all_cases(&faults, &SIZES, 4);
}
