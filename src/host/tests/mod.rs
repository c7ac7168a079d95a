//! The socket calls of a host without TCP: datagrams, ping sockets, names, errors; and connections at rest.

mod datagrams;
mod errors;
mod rest;
mod strays;

use super::*;
use core::net::SocketAddr;

/// Two hosts on one wire, 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2. `a` has a second address of each family.
pub(super) struct Duo {
    pub a: Host,
    pub b: Host,
    pub now: Instant,
    /// Every packet that crossed the wire.
    pub wire: Vec<Vec<u8>>,
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl Duo {
    pub fn new() -> Duo {
        let host = |seed: u8, addresses: &[&str]| {
            let mut host = Host::new(Config::default(), [seed; 16]);
            for address in addresses {
                host.add_address(address.parse().expect("an address")).expect("a new one");
            }
            host
        };
        Duo {
            a: host(1, &["10.0.0.1/24", "10.0.0.11/24", "fd00::1/64", "fd00::11/64"]),
            b: host(2, &["10.0.0.2/24", "fd00::2/64"]),
            now: Instant::from_nanos(1_000_000_000),
            wire: Vec::new(),
        }
    }

    /// Carries packets until both are silent.
    pub fn settle(&mut self) {
        loop {
            let before = self.wire.len();
            for forward in [true, false] {
                let (from, to) =
                    if forward { (&mut self.a, &mut self.b) } else { (&mut self.b, &mut self.a) };
                while let Some(packet) = from.transmit(self.now).map(|packet| packet.to_vec()) {
                    to.receive(self.now, &packet, RxMeta::default());
                    self.wire.push(packet);
                }
            }
            if self.wire.len() == before {
                return;
            }
        }
    }
}

/// A UDP socket bound to `local`.
pub(super) fn udp(host: &mut Host, local: &str) -> SocketId {
    let local = addr(local);
    let domain = if local.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
    let id = host.socket(domain, Type::Dgram).expect("a socket");
    host.bind(id, local).expect("free");
    id
}

/// What a socket receives next.
pub(super) fn take(host: &mut Host, now: Instant, id: SocketId) -> Result<(Vec<u8>, Received), Errno> {
    let mut buf = [0; 70_000];
    let got = host.recv(now, id, &mut buf, MsgFlags::empty())?;
    Ok((buf[..got.len].to_vec(), got))
}

pub(super) fn send_to(duo: &mut Duo, id: SocketId, data: &[u8], to: &str) -> Result<usize, Errno> {
    let sent = duo.a.send_to(duo.now, id, data, Some(addr(to)), PacketInfo::default());
    duo.settle();
    sent
}
