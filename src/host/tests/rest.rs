//! Connections at rest are packed: nobody is to see it but by the memory.

use super::*;
use crate::base::config::CongestionControl;
use crate::base::{Duration, Rng};

/// A connection from `a` to a listener of `b` at `server`: both ends.
fn connect(duo: &mut Duo, listener: SocketId, server: &str) -> (SocketId, SocketId) {
    let domain = if addr(server).is_ipv4() { Domain::Inet } else { Domain::Inet6 };
    let asks = duo.a.socket(domain, Type::Stream).expect("a socket");
    assert_eq!(duo.a.connect(duo.now, asks, Some(addr(server))), Err(Errno::EINPROGRESS));
    duo.settle();
    (asks, duo.b.accept(duo.now, listener).expect("connected").0)
}

fn listen(host: &mut Host, at: &str) -> SocketId {
    let domain = if addr(at).is_ipv4() { Domain::Inet } else { Domain::Inet6 };
    let listener = host.socket(domain, Type::Stream).expect("a socket");
    host.bind(listener, addr(at)).expect("free");
    host.listen(Instant::ZERO, listener, 64).expect("bound");
    listener
}

fn pass(duo: &mut Duo, time: Duration) {
    let until = duo.now + time;
    while let Some(at) = [duo.a.next_timeout(), duo.b.next_timeout()].into_iter().flatten().min()
        && at <= until
    {
        duo.now = duo.now.max(at);
        duo.a.advance(duo.now);
        duo.b.advance(duo.now);
        duo.settle();
    }
    duo.now = until;
}

/// All packets, and what `TCP_INFO` says in the end, of a long random exchange over several connections.
fn exchange(seed: u64, packs: bool) -> (Vec<Vec<u8>>, Vec<String>) {
    let mut duo = Duo::new();
    let mut rng = Rng::from_seed(seed);
    for host in [&mut duo.a, &mut duo.b] {
        let config = host.config_mut();
        config.tcp_congestion_control =
            if seed.is_multiple_of(3) { CongestionControl::Reno } else { CongestionControl::Cubic };
        (config.tcp_ecn, config.tcp_timestamps) = ((seed % 2) as u32, !seed.is_multiple_of(4));
    }
    let server = if seed.is_multiple_of(5) { "[fd00::2]:7" } else { "10.0.0.2:7" };
    let listener = listen(&mut duo.b, server);
    let ends: Vec<_> = (0..4).map(|_| connect(&mut duo, listener, server)).collect();
    if seed.is_multiple_of(2) {
        duo.b.set_option(duo.now, ends[0].1, Opt::KeepAlive(true)).expect("set");
    }
    let mut buf = vec![0; 100_000];
    for _ in 0..120 {
        let (ours, theirs) = ends[rng.below(4) as usize];
        let len = if rng.chance(0.2) { rng.below(60_000) } else { 1 + rng.below(3000) } as usize;
        let from_a = rng.chance(0.5);
        let (host, socket) = if from_a { (&mut duo.a, ours) } else { (&mut duo.b, theirs) };
        let _ = host.send(duo.now, socket, &buf[..len], MsgFlags::empty());
        duo.settle();
        if rng.chance(0.8) {
            let (host, socket) = if from_a { (&mut duo.b, theirs) } else { (&mut duo.a, ours) };
            let _ = host.recv(duo.now, socket, &mut buf, MsgFlags::empty());
            duo.settle();
        }
        if rng.chance(0.02) {
            let _ = duo.a.shutdown(duo.now, ours, Shutdown::Write);
            duo.settle();
        }
        let time = 1 << rng.below(38);
        pass(&mut duo, Duration::from_nanos(time));
        if packs {
            duo.a.pack_all();
            duo.b.pack_all();
            duo.a.check_invariants().and(duo.b.check_invariants()).expect("sound");
        }
    }
    let infos = ends.iter().flat_map(|(ours, theirs)| {
        [duo.a.tcp_info(duo.now, *ours), duo.b.tcp_info(duo.now, *theirs)].map(|info| format!("{info:?}"))
    });
    (duo.wire.clone(), infos.collect())
}

#[test]
fn a_connection_that_was_packed_goes_on_as_if_it_was_not() {
    for seed in 0..60 {
        let (packed, plain) = (exchange(seed, true), exchange(seed, false));
        assert!(plain.0.len() > 300, "an exchange");
        assert_eq!(packed.1, plain.1, "seed {seed}");
        assert!(packed.0 == plain.0, "seed {seed}");
    }
}

/// One octet there and one back, in so many microseconds.
fn trip(duo: &mut Duo, (ours, theirs): (SocketId, SocketId), micros: u64) {
    duo.now += Duration::from_micros(micros);
    assert_eq!(duo.a.send(duo.now, ours, b"x", MsgFlags::empty()), Ok(1));
    duo.settle();
    assert_eq!(take(&mut duo.b, duo.now, theirs).expect("asked").0, b"x");
    assert_eq!(duo.b.send(duo.now, theirs, b"y", MsgFlags::empty()), Ok(1));
    duo.settle();
    assert_eq!(take(&mut duo.a, duo.now, ours).expect("answered").0, b"y");
}

/// So many connections, each used once.
fn used(count: usize) -> (Duo, Vec<(SocketId, SocketId)>) {
    let mut duo = Duo::new();
    let listener = listen(&mut duo.b, "10.0.0.2:7");
    let mut ends = Vec::new();
    for _ in 0..count {
        let connection = connect(&mut duo, listener, "10.0.0.2:7");
        trip(&mut duo, connection, 100);
        ends.push(connection);
    }
    (duo, ends)
}

/// Octets of a connection: unpacked at least, packed at most, with what belongs to it.
const UNPACKED: usize = 900;
const PACKED: usize = 250;

/// While connections are opened and used one after the other, few of them are unpacked at any time.
#[test]
fn of_many_connections_those_that_do_nothing_take_little_memory() {
    let (mut duo, ends) = used(1000);
    assert!(duo.b.memory_octets() < 300 * 2 * UNPACKED + 1000 * PACKED, "{}", duo.b.memory_octets());
    // A segment, a call or a look wakes the one that it is for.
    let (first, last) = (ends[200], ends[201]);
    assert_eq!(duo.b.peer_addr(first.1), duo.a.local_addr(first.0));
    trip(&mut duo, first, 100);
    duo.b.close(duo.now, last.1).expect("open");
    duo.settle();
    assert_eq!(take(&mut duo.a, duo.now, last.0).expect("the end").0, b"");
    for connection in ends.into_iter().filter(|connection| *connection != last) {
        trip(&mut duo, connection, 100);
    }
    assert!(
        duo.b.memory_octets() < 300 * 2 * UNPACKED + 1000 * PACKED,
        "nobody keeps more for having worked once"
    );
}

/// What worked together is packed when it has done nothing for a while, and then nothing more is to be done.
#[test]
fn connections_that_worked_together_are_packed_after_a_while() {
    let (mut duo, ends) = used(1000);
    for connection in &ends {
        trip(&mut duo, *connection, 0);
    }
    let all = duo.b.memory_octets();
    assert!(all > 800 * UNPACKED, "{all} octets: they work");
    pass(&mut duo, Duration::from_secs(10));
    let rest = duo.b.memory_octets();
    assert!(rest < 128 * 2 * UNPACKED + 1000 * PACKED, "{rest} octets: they rest");
    assert_eq!(duo.b.next_timeout(), None);
    // Half closed, and with trouble that ended nothing: at rest all the same.
    for (ours, _) in &ends {
        duo.a.shutdown(duo.now, *ours, Shutdown::Write).expect("open");
        duo.settle();
    }
    pass(&mut duo, Duration::from_secs(10));
    for host in [&duo.a, &duo.b] {
        assert!(host.memory_octets() < 128 * 2 * UNPACKED + 1000 * PACKED, "half closed ones rest");
    }
}

/// More than are left alone, but each has something to do every few milliseconds.
#[test]
fn connections_at_work_are_not_packed() {
    let (mut duo, ends) = used(500);
    for connection in ends.iter().cycle().take(5000) {
        trip(&mut duo, *connection, 10);
    }
    assert!(duo.b.memory_octets() > 490 * UNPACKED, "{}", duo.b.memory_octets());
}

/// RFC 9293 §3.8.4: what was packed has its timer still.
#[test]
fn a_packed_connection_sends_its_keep_alives() {
    let mut duo = Duo::new();
    let listener = listen(&mut duo.b, "10.0.0.2:7");
    let (_, theirs) = connect(&mut duo, listener, "10.0.0.2:7");
    duo.b.set_option(duo.now, theirs, Opt::KeepAlive(true)).expect("set");
    pass(&mut duo, Duration::from_secs(10));
    duo.b.pack_all();
    let before = duo.wire.len();
    pass(&mut duo, Duration::from_secs(7100));
    assert_eq!(duo.wire.len(), before);
    pass(&mut duo, Duration::from_secs(200));
    assert_eq!(duo.wire.len(), before + 2, "a probe and its answer");
}
