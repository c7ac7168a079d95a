//! What packets make due leaves with the answers to them.

use crate::wires::{connected, pair};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tunstack::runtime::{PollEvent, Stack, Trigger};
use tunstack::socket::{Poller, Readiness, TcpListener, TcpStream, UdpSocket};

/// A poller for one socket.
fn watching(stack: &Stack, socket: &TcpStream) -> Poller {
    let poller = Poller::new(stack).expect("poller");
    poller.add(socket, 1, Readiness::READABLE, Trigger::Level).expect("add");
    poller
}

/// Waits until the socket has something.
fn wait(poller: &Poller) {
    let mut events: Vec<PollEvent> = Vec::with_capacity(4);
    assert_eq!(poller.wait(&mut events, None).expect("an event"), 1);
}

/// Fresh connections, on which each octet is acknowledged at once if it is acknowledged alone.
#[test]
fn an_answer_in_a_batch_carries_the_acknowledgment() {
    const VISITS: u64 = 100;
    let (one, other) = pair();
    let mut sent = 0;
    for _ in 0..VISITS {
        let before = other.counters().tcp_out_segs;
        let (mut client, mut server) = connected(&one, &other);
        server.set_nonblocking(true).expect("set");
        let poller = watching(&other, &server);
        let asking = std::thread::spawn(move || {
            client.write_all(b"?").expect("sent");
            let mut answer = [0];
            client.read_exact(&mut answer).expect("answered");
            client
        });
        wait(&poller);
        let batch = other.batch();
        let mut question = [0; 2];
        assert_eq!(server.read(&mut question).expect("asked"), 1);
        server.write_all(&question[..1]).expect("sent");
        drop(batch);
        let client = asking.join().expect("answered");
        // How they part is not counted.
        sent += other.counters().tcp_out_segs - before;
        client.set_linger(Some(Duration::ZERO)).expect("set");
    }
    // SYN-ACK and answer. Somebody else may come between on a busy machine, but not always.
    assert!(sent < VISITS * 5 / 2, "{sent} segments for {VISITS} answers");
}

#[test]
fn a_thread_that_does_not_answer_holds_nothing_back_for_long() {
    let (one, other) = pair();
    let (mut client, server) = connected(&one, &other);
    let poller = watching(&other, &server);
    client.write_all(b"?").expect("sent");
    wait(&poller);
    // This thread makes no call on `other` now.
    let until = Instant::now() + Duration::from_secs(5);
    while client.info().expect("open").unacked > 0 {
        assert!(Instant::now() < until, "not acknowledged");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(client.info().expect("open").rtt < 150_000, "long before the peer would send again");
    // Nor does one that only ever waits.
    server.set_nonblocking(true).expect("set");
    let before = other.counters().tcp_out_segs;
    client.write_all(b"?").expect("sent");
    for _ in 0..3 {
        wait(&poller);
    }
    assert!(other.counters().tcp_out_segs > before, "the second wait sends what the first one left");
    assert_eq!((&server).read(&mut [0; 8]).expect("both"), 2);
    assert_eq!((&server).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// What a poller's round has left is not forgotten by the event loop that comes after it.
#[test]
fn an_event_loop_sends_what_is_left() {
    let (one, other) = pair();
    let (mut client, server) = connected(&one, &other);
    let poller = watching(&other, &server);
    let before = other.counters().tcp_out_segs;
    client.write_all(b"?").expect("sent");
    wait(&poller);
    let _reactor = other.reactor().expect("the role is free");
    assert!(other.counters().tcp_out_segs > before);
}

/// The reader waits, and so drives, when the writer's batch begins; the batch is held until the reader has what was written in it.
#[test]
fn a_batch_withholds_nothing_from_who_waits_already() {
    let stack = Stack::builder().address("10.0.0.2/24".parse().expect("valid")).start().expect("no device");
    let (mut client, mut server) = connected(&stack, &stack);
    for _ in 0..3 {
        let (tell, told) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            let mut octet = [0];
            client.read_exact(&mut octet).expect("written");
            let _ = tell.send(());
            client
        });
        // Until it sleeps; if it does not yet, the test is easier.
        std::thread::sleep(Duration::from_millis(20));
        let batch = stack.batch();
        server.write_all(b"!").expect("taken");
        told.recv_timeout(Duration::from_millis(500)).expect("while the batch is held");
        drop(batch);
        client = reading.join().expect("read");
    }
}

/// A thread for each connection: the one that is served takes over from the one that waits for others, and is not woken by it each time.
#[test]
fn a_thread_finds_its_packets_itself_although_another_waits_longer() {
    const TRIPS: u64 = 2000;
    let (one, other) = pair();
    let listener = TcpListener::bind(&other, "10.0.0.2:99").expect("bound");
    let (tell, told) = std::sync::mpsc::channel();
    let accepting = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero()).expect("asked");
        let (mut stream, _) = listener.accept().expect("a client");
        let echo = std::thread::spawn(move || {
            let mut octet = [0];
            while stream.read(&mut octet).is_ok_and(|n| n > 0) && stream.write_all(&octet).is_ok() {}
        });
        // It waits for a second one meanwhile.
        listener.accept().expect("another client");
        echo.join().expect("the end");
    });
    let thread = told.recv().expect("started");
    let mut client = TcpStream::connect(&one, "10.0.0.2:99").expect("connected");
    let mut trip = || {
        client.write_all(b"x").expect("sent");
        client.read_exact(&mut [0]).expect("answered");
    };
    (0..10).for_each(|_| trip());
    let before = sleeps(thread);
    (0..TRIPS).for_each(|_| trip());
    let woken = sleeps(thread) - before;
    assert!(woken < TRIPS / 4, "woken {woken} times in {TRIPS} round trips of another thread");
    drop(client);
    drop(TcpStream::connect(&one, "10.0.0.2:99").expect("connected"));
    accepting.join().expect("both were served");
}

/// A thread that was served goes on with something else, and sends now and then: one that sleeps beside it gets its packets all the same.
#[test]
fn a_thread_that_is_busy_elsewhere_holds_up_nobody() {
    let (one, other) = pair();
    for _ in 0..5 {
        let (mut first, mut served) = connected(&one, &other);
        let (mut second, mut sleeping) = connected(&one, &other);
        let over = Arc::new(AtomicBool::new(false));
        let busy = std::thread::spawn({
            let (other, over) = (other.clone(), over.clone());
            move || {
                served.read_exact(&mut [0]).expect("asked");
                let socket = UdpSocket::bind(&other, "10.0.0.2:0").expect("bound");
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    let batch = other.batch();
                    let _ = socket.send_to(b"x", "10.0.0.1:9");
                    let until = Instant::now() + Duration::from_micros(300);
                    while Instant::now() < until {}
                    drop(batch);
                    calls += 1;
                }
                calls
            }
        });
        // It drives, and the other one sleeps.
        let a_moment = || std::thread::sleep(Duration::from_millis(2));
        a_moment();
        let echo = std::thread::spawn(move || {
            let mut octet = [0];
            sleeping.read_exact(&mut octet).expect("asked");
            sleeping.write_all(&octet).expect("answered");
        });
        a_moment();
        first.write_all(b"!").expect("sent");
        std::thread::sleep(Duration::from_micros(700));
        second.write_all(b"?").expect("sent");
        second.read_exact(&mut [0]).expect("answered");
        over.store(true, Ordering::Relaxed);
        echo.join().expect("served");
        let calls = busy.join().expect("told");
        assert!(calls < 80, "{calls} calls later");
    }
}

/// How often a thread of this process has slept.
fn sleeps(thread: std::num::NonZero<i32>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).expect("running");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}
