//! Hosts with the same addresses: packets that come to the wrong one.

use super::*;

/// Shards of 10.0.0.1, and the peer 10.0.0.2 whose packets all come to the first of them.
struct Ring {
    shards: Vec<Host>,
    peer: Host,
    now: Instant,
    /// What the shards sent to the peer.
    sent: Vec<Vec<u8>>,
}

impl Ring {
    fn new(count: u16) -> Ring {
        let host = |address: &str, seed: u8| {
            let mut host = Host::new(Config::default(), [seed; 16]);
            host.add_address(address.parse().expect("an address")).expect("a new one");
            host
        };
        let mut shards: Vec<Host> = (0..count).map(|index| host("10.0.0.1/24", index as u8)).collect();
        shards.iter_mut().zip(0..).for_each(|(shard, index)| shard.set_shard(index, count));
        let now = Instant::from_nanos(1_000_000_000);
        Ring { shards, peer: host("10.0.0.2/24", 99), now, sent: Vec::new() }
    }

    /// Carries packets until all are silent: the peer's to the first shard, strays around the ring.
    fn settle(&mut self) {
        let mut busy = true;
        while core::mem::take(&mut busy) {
            while let Some(packet) = self.peer.transmit(self.now).map(|packet| packet.to_vec()) {
                self.shards[0].receive(self.now, &packet, RxMeta::default());
                busy = true;
            }
            for index in 0..self.shards.len() {
                while let Some(packet) = self.shards[index].transmit(self.now).map(|packet| packet.to_vec()) {
                    self.peer.receive(self.now, &packet, RxMeta::default());
                    self.sent.push(packet);
                    busy = true;
                }
                while let Some(stray) = self.shards[index].poll_stray() {
                    let next = (index + 1) % self.shards.len();
                    self.shards[next].receive_stray(self.now, &stray);
                    busy = true;
                }
            }
        }
    }

    fn counted(&self, name: &str) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.counters().get(name).expect("a counter")).collect()
    }
}

/// A listening socket.
fn listen(host: &mut Host, now: Instant, local: &str) -> SocketId {
    let id = host.socket(Domain::Inet, Type::Stream).expect("a socket");
    host.bind(id, addr(local)).expect("free");
    host.listen(now, id, 8).expect("bound");
    id
}

#[test]
fn a_connection_of_any_shard_gets_its_segments() {
    for owner in 0..3 {
        let mut ring = Ring::new(3);
        let now = ring.now;
        let listener = listen(&mut ring.peer, now, "10.0.0.2:80");
        let shard = &mut ring.shards[owner];
        let id = shard.socket(Domain::Inet, Type::Stream).expect("a socket");
        assert_eq!(shard.connect(now, id, Some(addr("10.0.0.2:80"))), Err(Errno::EINPROGRESS));
        ring.settle();
        let (accepted, _) = ring.peer.accept(now, listener).expect("connected");
        ring.peer.send(now, accepted, b"hello", MsgFlags::empty()).expect("room");
        ring.settle();
        assert_eq!(take(&mut ring.shards[owner], now, id).expect("data").0, b"hello");
        let strays = ring.counted("TunstackStraysIn");
        let passed = (0..3).map(|index| index != 0 && index <= owner).collect::<Vec<bool>>();
        assert_eq!(strays.iter().map(|count| *count > 0).collect::<Vec<_>>(), passed, "{owner}: {strays:?}");
        assert_eq!(ring.counted("TcpOutRsts"), [0; 3]);
    }
}

#[test]
fn what_nobody_awaits_is_answered_once() {
    let mut ring = Ring::new(4);
    let now = ring.now;
    let id = ring.peer.socket(Domain::Inet, Type::Stream).expect("a socket");
    assert_eq!(ring.peer.connect(now, id, Some(addr("10.0.0.1:80"))), Err(Errno::EINPROGRESS));
    let closed = udp(&mut ring.peer, "10.0.0.2:9");
    ring.peer.connect(now, closed, Some(addr("10.0.0.1:9"))).expect("no packet");
    ring.peer.send(now, closed, b"x", MsgFlags::empty()).expect("sent");
    ring.settle();
    assert_eq!(ring.counted("TcpOutRsts"), [0, 0, 0, 1]);
    assert_eq!(ring.counted("UdpNoPorts"), [0, 0, 0, 1]);
    assert_eq!(ring.sent.len(), 2, "a reset and an unreachable");
    assert_eq!(ring.peer.option(id, OptName::Error), Ok(Opt::Error(Errno::ECONNREFUSED.code())));
}

/// The second shard's connection sends into the first one, which listens on the same port and has cookies out.
#[test]
fn no_innocent_connection_is_reset_by_the_shard_that_its_segment_strays_to() {
    let mut ring = Ring::new(2);
    let now = ring.now;
    let listener = listen(&mut ring.shards[1], now, "10.0.0.1:80");
    let id = ring.peer.socket(Domain::Inet, Type::Stream).expect("a socket");
    assert_eq!(ring.peer.connect(now, id, Some(addr("10.0.0.1:80"))), Err(Errno::EINPROGRESS));
    ring.settle();
    let (accepted, _) = ring.shards[1].accept(now, listener).expect("connected");
    ring.shards[0].config_mut().tcp_syncookies = 2;
    listen(&mut ring.shards[0], now, "10.0.0.1:80");
    let other = ring.peer.socket(Domain::Inet, Type::Stream).expect("a socket");
    assert_eq!(ring.peer.connect(now, other, Some(addr("10.0.0.1:80"))), Err(Errno::EINPROGRESS));
    ring.settle();
    assert_eq!(ring.counted("TcpExtSyncookiesRecv"), [1, 0], "and the cookie comes back to who sent it");
    ring.peer.send(now, id, b"data", MsgFlags::empty()).expect("room");
    ring.settle();
    assert_eq!(take(&mut ring.shards[1], now, accepted).expect("data").0, b"data");
    assert_eq!(ring.counted("TcpOutRsts"), [0, 0]);
}

#[test]
fn datagrams_errors_and_echo_replies_find_their_socket() {
    let mut ring = Ring::new(3);
    let now = ring.now;
    let theirs = udp(&mut ring.peer, "10.0.0.2:7");
    let ours = udp(&mut ring.shards[2], "10.0.0.1:7");
    // In fragments, put together by the first shard.
    let large = vec![7; 5000];
    ring.peer.send_to(now, theirs, &large, Some(addr("10.0.0.1:7")), PacketInfo::default()).expect("sent");
    ring.settle();
    assert_eq!(take(&mut ring.shards[2], now, ours).expect("whole").0, large);
    let refused = udp(&mut ring.shards[1], "10.0.0.1:8");
    ring.shards[1].connect(now, refused, Some(addr("10.0.0.2:88"))).expect("no packet");
    ring.shards[1].send(now, refused, b"x", MsgFlags::empty()).expect("sent");
    ring.settle();
    assert_eq!(take(&mut ring.shards[1], now, refused).map(|_| ()), Err(Errno::ECONNREFUSED));
    assert_eq!(ring.counted("IcmpInErrors"), [0; 3]);
}

#[test]
fn groups_are_of_all_shards() {
    let mut ring = Ring::new(3);
    let now = ring.now;
    let all: Vec<SocketId> = ring.shards.iter_mut().map(|shard| udp(shard, "0.0.0.0:7")).collect();
    let theirs = udp(&mut ring.peer, "10.0.0.2:7");
    ring.peer.set_option(now, theirs, Opt::Broadcast(true)).expect("an option");
    ring.peer.send_to(now, theirs, b"all", Some(addr("10.0.0.255:7")), PacketInfo::default()).expect("sent");
    ring.settle();
    for (shard, id) in ring.shards.iter_mut().zip(all) {
        assert_eq!(take(shard, now, id).expect("a copy").0, b"all");
        assert_eq!(take(shard, now, id).map(|_| ()), Err(Errno::EAGAIN), "and no second one");
    }
}

#[test]
fn a_member_in_any_shard_gets_what_is_for_its_group() {
    let mut ring = Ring::new(3);
    let now = ring.now;
    let member = udp(&mut ring.shards[2], "0.0.0.0:7");
    ring.shards[2]
        .set_option(now, member, Opt::AddMembership("239.1.2.3".parse().expect("valid")))
        .expect("joins");
    let theirs = udp(&mut ring.peer, "10.0.0.2:7");
    ring.peer.send_to(now, theirs, b"all", Some(addr("239.1.2.3:7")), PacketInfo::default()).expect("sent");
    ring.settle();
    assert_eq!(take(&mut ring.shards[2], now, member).expect("came").0, b"all");
}

#[test]
fn each_shard_has_ports_of_its_own() {
    for count in [1, 2, 3, 7] {
        let ring = Ring::new(count);
        let ranges: Vec<[u32; 2]> =
            ring.shards.iter().map(|shard| shard.config().ip_local_port_range).collect();
        let [low, high] = Config::default().ip_local_port_range;
        assert_eq!((ranges[0][0], ranges[ranges.len() - 1][1]), (low, high), "{count}");
        assert!(ranges.windows(2).all(|pair| pair[0][1] + 1 == pair[1][0]), "{ranges:?}");
    }
}

#[test]
fn strays_that_nobody_fetches_are_bounded() {
    let mut ring = Ring::new(2);
    let now = ring.now;
    let theirs = udp(&mut ring.peer, "10.0.0.2:7");
    for _ in 0..300 {
        ring.peer.send_to(now, theirs, b"x", Some(addr("10.0.0.1:7")), PacketInfo::default()).expect("sent");
        while let Some(packet) = ring.peer.transmit(now).map(|packet| packet.to_vec()) {
            ring.shards[0].receive(now, &packet, RxMeta::default());
        }
    }
    let waiting = core::iter::from_fn(|| ring.shards[0].poll_stray()).count();
    assert_eq!((waiting, ring.counted("TunstackStrayDrops")[0]), (256, 44));
}
