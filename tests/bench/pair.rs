//! Two hosts back to back: what one sends, the other receives at once. Packets travel as the driver hands them over.

use bytes::Bytes;
use std::net::SocketAddr;
use tunstack::base::{Config, Duration, Instant};
use tunstack::host::{Domain, Host, Link, MsgFlags, Opt, PacketBuf, SocketId, Type};

/// Of both links.
#[derive(Clone, Copy)]
pub enum Wire {
    Plain,
    /// Super-segments, and nobody looks at checksums.
    Offload,
}

/// Connections of [`Pair::connect`] that share one client address.
const PER_ADDRESS: usize = 20_000;

pub struct Pair {
    now: Instant,
    client: Host,
    server: Host,
    listener: SocketId,
    buffers: [PacketBuf; 2],
    offload: bool,
    /// Every so many packets to the server are lost; 0 for none.
    pub lose_one_in: u64,
    sent: u64,
}

impl Pair {
    pub fn new(wire: Wire) -> Pair {
        let offload = matches!(wire, Wire::Offload);
        let now = Instant::ZERO;
        let mut hosts = [1, 2].map(|number| {
            let mut host = Host::new(Config::default(), [number; 16]);
            let max_packet = if offload { 65535 } else { 1500 };
            host.set_link(now, Link { max_packet, checksum_offload: offload, ..Link::plain(1500) });
            host
        });
        hosts[1].add_address("10.0.0.1/8".parse().expect("valid")).expect("legal");
        let listener = hosts[1].socket(Domain::Inet, Type::Stream).expect("a socket");
        hosts[1].bind(listener, "0.0.0.0:7".parse().expect("valid")).expect("free");
        hosts[1].listen(now, listener, 4096).expect("bound");
        let buffers = [hosts[0].packet_buf(), hosts[1].packet_buf()];
        let [client, server] = hosts;
        Pair { now, client, server, listener, buffers, offload, lose_one_in: 0, sent: 0 }
    }

    /// So many connections, each as (client's socket, server's socket).
    pub fn connect(&mut self, count: usize) -> Vec<(SocketId, SocketId)> {
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let address = format!("10.0.1.{}", 1 + number / PER_ADDRESS);
            if number % PER_ADDRESS == 0 {
                self.client.add_address(format!("{address}/8").parse().expect("valid")).expect("legal");
            }
            let port = 1024 + (number % PER_ADDRESS) as u16;
            let local = SocketAddr::new(address.parse().expect("valid"), port);
            connections.push(self.open(Some(local)));
        }
        self.pass(Duration::from_millis(300));
        connections
    }

    /// A connection, from `local` where that is given, without Nagle's algorithm.
    fn open(&mut self, local: Option<SocketAddr>) -> (SocketId, SocketId) {
        let asks = self.client.socket(Domain::Inet, Type::Stream).expect("a socket");
        self.client.set_option(self.now, asks, Opt::NoDelay(true)).expect("set");
        if let Some(local) = local {
            self.client.bind(asks, local).expect("free");
        }
        // It answers when the handshake is done.
        let _ = self.client.connect(self.now, asks, Some("10.0.0.1:7".parse().expect("valid")));
        self.settle();
        let (answers, _) = self.server.accept(self.now, self.listener).expect("connected");
        self.server.set_option(self.now, answers, Opt::NoDelay(true)).expect("set");
        (asks, answers)
    }

    /// Lets time pass, with what falls due.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.advance(self.now);
        self.server.advance(self.now);
        self.settle();
    }

    /// Moves packets until both are silent.
    pub fn settle(&mut self) {
        loop {
            let Pair { now, client, server, buffers: [back, forth], offload, lose_one_in, sent, .. } = self;
            let lost = |sent: &mut u64| {
                *sent += 1;
                *lose_one_in != 0 && sent.is_multiple_of(*lose_one_in)
            };
            let moved = deliver(*now, client, server, forth, *offload, || lost(sent))
                + deliver(*now, server, client, back, *offload, || false);
            if moved == 0 {
                return;
            }
        }
    }

    /// One octet there and back.
    pub fn round_trip(&mut self, (asks, answers): (SocketId, SocketId)) {
        let mut octet = [1];
        self.now += Duration::from_micros(50);
        assert_eq!(self.client.send(self.now, asks, &octet, MsgFlags::empty()), Ok(1));
        self.settle();
        assert_eq!(recv(&mut self.server, self.now, answers, &mut octet), 1);
        assert_eq!(self.server.send(self.now, answers, &octet, MsgFlags::empty()), Ok(1));
        self.settle();
        assert_eq!(recv(&mut self.client, self.now, asks, &mut octet), 1);
    }

    /// So many octets from client to server, read there.
    pub fn bulk(&mut self, (from, to): (SocketId, SocketId), data: &[u8], into: &mut [u8]) {
        let (mut sent, mut received) = (0, 0);
        while received < data.len() {
            self.now += Duration::from_micros(10);
            sent += self.client.send(self.now, from, &data[sent..], MsgFlags::empty()).unwrap_or(0);
            self.settle();
            let n = recv(&mut self.server, self.now, to, into);
            received += n;
            if n == 0 {
                // A loss: whatever is waited for comes.
                let due =
                    [self.client.next_timeout(), self.server.next_timeout()].into_iter().flatten().min();
                let due = due.expect("something is waited for");
                let wait = if due > self.now { due.since(self.now) } else { Duration::from_micros(1) };
                self.pass(wait);
            }
        }
    }

    /// So many octets from client to server that are given away and taken.
    pub fn bulk_owned(&mut self, (from, to): (SocketId, SocketId), data: &Bytes) {
        let (mut left, mut received) = (data.clone(), 0);
        while received < data.len() {
            self.now += Duration::from_micros(10);
            let _ = self.client.send_owned(self.now, from, &mut left);
            self.settle();
            received += self.server.recv_owned(self.now, to, data.len()).map_or(0, |got| got.len());
        }
    }

    /// One octet to the server, which reads it.
    pub fn one_way(&mut self, (asks, answers): (SocketId, SocketId)) {
        let mut octet = [1];
        assert_eq!(self.client.send(self.now, asks, &octet, MsgFlags::empty()), Ok(1));
        self.settle();
        assert_eq!(recv(&mut self.server, self.now, answers, &mut octet), 1);
    }

    /// Connects, asks, is answered, closes.
    pub fn visit(&mut self) {
        let (asks, answers) = self.open(None);
        self.round_trip((asks, answers));
        self.client.close(self.now, asks).expect("open");
        self.settle();
        self.server.close(self.now, answers).expect("open");
        self.settle();
        // Time enough that TIME-WAIT gives its ports back.
        self.pass(Duration::from_millis(5));
    }
}

fn recv(host: &mut Host, now: Instant, socket: SocketId, into: &mut [u8]) -> usize {
    host.recv(now, socket, into, MsgFlags::empty()).map_or(0, |received| received.len)
}

/// Hands over all that `from` has to send. How many packets that was.
fn deliver(
    now: Instant,
    from: &mut Host,
    to: &mut Host,
    buffer: &mut PacketBuf,
    offload: bool,
    mut lost: impl FnMut() -> bool,
) -> usize {
    let mut moved = 0;
    while let Some(packet) = from.transmit(now) {
        moved += 1;
        if lost() {
            continue;
        }
        let room = loop {
            match buffer.octets_mut() {
                Some(room) => break room,
                None => *buffer = to.packet_buf(),
            }
        };
        let mut len = 0;
        for part in packet.parts {
            room[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        let meta =
            tunstack::host::RxMeta { checksum_trusted: offload, segment_size: packet.meta.segment_size };
        to.receive_kept(now, buffer, len, meta);
    }
    while from.poll_event().is_some() {}
    while to.poll_event().is_some() {}
    moved
}
