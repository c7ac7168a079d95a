//! Stacks from their start to their end: nothing used while idle, nothing left behind, named errors for who still waits.

use crate::wires::{connected, pair};
use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};
use tunstack::runtime::{Stack, Trigger};
use tunstack::socket::{Poller, Readiness, TcpListener, TcpStream, UdpSocket};

/// Runs one test of this file in a process of its own, where nothing else uses threads, descriptors or time.
fn alone(name: &str) -> bool {
    const INSIDE: &str = "TUNSTACK_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let name = format!("lifetime::{name}");
    let output = Command::new(program)
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("procfs").count()
}

#[test]
fn an_mtu_that_cannot_be_is_refused_without_a_device_too() {
    let start = |address: &str, mtu| {
        let builder = Stack::builder().address(address.parse().expect("address")).mtu(mtu);
        builder.start().map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(start("10.9.0.2/24", 68), Ok(()));
    assert_eq!(start("fd09::2/64", 1280), Ok(()));
    for (address, mtu, least) in
        [("10.9.0.2/24", 0, 68), ("10.9.0.2/24", 70_000, 68), ("fd09::2/64", 1279, 1280)]
    {
        let expected = format!("an MTU of {mtu} is not possible here: choose {least} to 65535");
        assert_eq!(start(address, mtu), Err(expected));
    }
}

#[test]
fn dropping_the_stack_ends_blocked_calls_with_a_named_error() {
    let (one, other) = pair();
    let listener = TcpListener::bind(&other, "10.0.0.2:7").expect("bind");
    let stream = TcpStream::connect(&one, "10.0.0.2:7").expect("connect");
    let accepting = std::thread::spawn(move || {
        let _first = listener.accept().expect("the connection");
        listener.accept().expect_err("the stack ends").raw_os_error()
    });
    let reading = std::thread::spawn(move || {
        let mut buffer = [0; 8];
        let first = (&stream).read(&mut buffer).expect_err("the stack ends").raw_os_error();
        (first, (&stream).write(b"x").expect_err("still").raw_os_error(), stream.local_addr().is_err())
    });
    std::thread::sleep(Duration::from_millis(50));
    drop(one);
    assert_eq!(reading.join().expect("reader"), (Some(100), Some(100), true), "ENETDOWN");
    // The other end of the wire is gone with it.
    assert_eq!(accepting.join().expect("acceptor"), Some(19), "ENODEV");
    drop(other);
}

#[test]
fn a_thousand_stacks_leave_nothing() {
    if !alone("a_thousand_stacks_leave_nothing") {
        return;
    }
    let one_round = |round: usize| {
        let (one, other) = pair();
        let (mut client, mut server) = connected(&one, &other);
        client.write_all(b"x").expect("write");
        server.read_exact(&mut [0; 1]).expect("read");
        let datagrams = UdpSocket::bind(&one, "10.0.0.1:0").expect("bind");
        let poller = Poller::new(&other).expect("poller");
        poller.add(&server, 1, Readiness::READABLE, Trigger::Level).expect("add");
        match round % 3 {
            // Sockets first, stack first, or somebody still waits.
            0 => drop((client, server, datagrams, poller)),
            1 => drop((one, other)),
            _ => {
                let waiting = std::thread::spawn(move || server.read(&mut [0; 1]).is_err());
                std::thread::sleep(Duration::from_millis(1));
                drop((one, other));
                assert!(waiting.join().expect("waiter"));
            }
        }
    };
    let threads = count("/proc/self/task");
    one_round(0);
    let descriptors = count("/proc/self/fd");
    // A wire connects two stacks: 500 rounds are 1,000 stacks.
    (0..500).for_each(one_round);
    assert_eq!(threads_left(threads), threads, "threads");
    assert_eq!(count("/proc/self/fd"), descriptors, "descriptors");
}

/// How many threads there are, once those that have ended are gone from /proc: the kernel shows them a moment longer than `join`
/// waits. One that never ends is still there after a second.
fn threads_left(expected: usize) -> usize {
    let patience = Instant::now() + Duration::from_secs(1);
    while count("/proc/self/task") != expected && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    count("/proc/self/task")
}

#[test]
fn sockets_that_outlive_their_stack_hold_nothing() {
    if !alone("sockets_that_outlive_their_stack_hold_nothing") {
        return;
    }
    let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
    let sockets: Vec<UdpSocket> = (0..50)
        .map(|_| {
            let stack = Stack::builder().start().expect("start");
            UdpSocket::bind(&stack, "127.0.0.1:0").expect("bind")
        })
        .collect();
    assert_eq!((threads_left(threads), count("/proc/self/fd")), (threads, descriptors));
    for socket in sockets {
        assert_eq!(socket.send_to(b"x", "127.0.0.1:9").expect_err("no stack").kind(), ErrorKind::NetworkDown);
    }
}

#[test]
fn an_idle_stack_uses_no_processor_time_with_threads_in_recv() {
    if !alone("an_idle_stack_uses_no_processor_time_with_threads_in_recv") {
        return;
    }
    let (one, other) = pair();
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (client, server) = connected(&one, &other);
        for mut stream in [client, server] {
            threads.push(std::thread::spawn(move || stream.read(&mut [0; 8]).is_err()));
        }
    }
    let idle = Stack::builder().start().expect("start");
    // Until the last delayed acknowledgment is out.
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu();
    std::thread::sleep(Duration::from_secs(2));
    let used = cpu() - before;
    drop((one, other, idle));
    assert!(threads.into_iter().all(|thread| thread.join().expect("reader")));
    assert!(used < Duration::from_millis(2), "{used:?} in two idle seconds");
}

#[test]
fn settling_waits_until_the_peer_has_everything() {
    let (one, other) = pair();
    let (mut client, mut server) = connected(&one, &other);
    assert!(one.settle(Duration::ZERO), "nothing is on its way");
    client.set_send_buffer_size(500_000).expect("a size");
    client.write_all(&[1; 400_000]).expect("write");
    drop(client);
    assert!(!one.settle(Duration::from_millis(20)), "nobody reads");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        server.read_to_end(&mut all).map(|_| all.len())
    });
    assert!(one.settle(Duration::from_secs(20)));
    assert_eq!(reader.join().expect("reader").expect("everything, and its end"), 400_000);
}

#[test]
fn what_had_arrived_outlives_the_link() {
    let (one, other) = pair();
    let (mut client, mut server) = connected(&one, &other);
    let datagrams = UdpSocket::bind(&other, "10.0.0.2:53").expect("bind");
    let sender = UdpSocket::bind(&one, "10.0.0.1:0").expect("bind");
    client.write_all(b"stream").expect("write");
    sender.send_to(b"datagram", "10.0.0.2:53").expect("send");
    server.peek(&mut [0; 1]).expect("arrived");
    datagrams.peek_from(&mut [0; 1]).expect("arrived");
    drop(one);
    let mut buffer = [0; 16];
    // The link is gone at the latest when a call says so.
    while server.write(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(server.read(&mut buffer).expect("the data"), 6);
    assert_eq!(datagrams.recv(&mut buffer).expect("the data"), 8);
    assert_eq!(server.read(&mut buffer).expect_err("the end").raw_os_error(), Some(19), "ENODEV");
    assert_eq!(datagrams.recv(&mut buffer).expect_err("the end").raw_os_error(), Some(19), "ENODEV");
}
