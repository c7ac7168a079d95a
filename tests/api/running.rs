//! Running stacks with many threads: whoever waits drives, and no wake-up is lost.

use crate::wires::{connected, pair};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tunstack::base::Errno;
use tunstack::runtime::{Stack, Trigger};
use tunstack::socket::{Poller, Readiness, TcpListener, TcpStream, UdpSocket};

#[test]
fn echo_over_a_wire() {
    let (one, other) = pair();
    let listener = TcpListener::bind(&other, "10.0.0.2:7").expect("bind");
    let server = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("accept");
        let mut buffer = [0; 4096];
        let mut total = 0;
        while let n @ 1.. = stream.read(&mut buffer).expect("read") {
            stream.write_all(&buffer[..n]).expect("write");
            total += n;
        }
        (total, peer)
    });
    let mut stream = TcpStream::connect(&one, "10.0.0.2:7").expect("connect");
    let data: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut reader = stream.try_clone().expect("clone");
    let sent = data.clone();
    let writer = std::thread::spawn(move || {
        stream.write_all(&sent).expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        stream.local_addr().expect("addr")
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).expect("read");
    assert!(back == data);
    let local = writer.join().expect("writer");
    assert_eq!(server.join().expect("server"), (data.len(), local));
}

#[test]
fn a_timeout_ends_a_wait_whoever_drives() {
    let (one, other) = pair();
    let (stream, _server) = connected(&one, &other);
    stream.set_read_timeout(Some(Duration::from_millis(30))).expect("timeout");
    std::thread::scope(|scope| {
        // One of them drives, the others sleep.
        for _ in 0..4 {
            scope.spawn(|| {
                let start = Instant::now();
                let error = (&stream).read(&mut [0; 8]).expect_err("nothing comes");
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert!((30..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
            });
        }
    });
}

#[test]
fn the_role_is_inherited() {
    let (one, other) = pair();
    let (stream, server) = connected(&one, &other);
    let (second, second_server) = connected(&one, &other);
    let impatient = std::thread::spawn(move || {
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
        (&stream).read(&mut [0; 8]).expect_err("nothing comes").kind()
    });
    std::thread::sleep(Duration::from_millis(20));
    // The second sleeps until the first leaves the role to it.
    let heir = std::thread::spawn(move || (&second).read(&mut [0; 8]).expect("read"));
    assert_eq!(impatient.join().expect("thread"), ErrorKind::WouldBlock);
    (&second_server).write_all(b"late").expect("write");
    assert_eq!(heir.join().expect("thread"), 4);
    drop(server);
}

#[test]
fn many_threads_on_one_stream_lose_nothing() {
    let (one, other) = pair();
    let (client, server) = connected(&one, &other);
    const WRITERS: usize = 4;
    const RECORDS: usize = 5_000;
    let seen = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = client.try_clone().expect("clone");
            scope.spawn(move || {
                for _ in 0..RECORDS {
                    (&client).write_all(&[writer as u8]).expect("write");
                }
            });
        }
        for _ in 0..3 {
            let (server, seen) = (server.try_clone().expect("clone"), Arc::clone(&seen));
            scope.spawn(move || {
                let mut buffer = [0; 128];
                while let n @ 1.. = (&server).read(&mut buffer).expect("read") {
                    if seen.fetch_add(n, Ordering::Relaxed) + n == WRITERS * RECORDS {
                        // The other readers wait for the end.
                        server.shutdown(std::net::Shutdown::Read).expect("shutdown");
                    }
                }
            });
        }
    });
    assert_eq!(seen.load(Ordering::Relaxed), WRITERS * RECORDS);
}

#[test]
fn no_wake_up_is_lost() {
    // Each exchange is a chance to lose a wake-up, in any of the roles: driver, sleeper, housekeeper.
    let (one, other) = pair();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            let (client, server) = connected(&one, &other);
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("nodelay");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
            }
            scope.spawn(move || {
                for _ in 0..2_000 {
                    let mut octet = [0; 1];
                    (&server).read_exact(&mut octet).expect("the question");
                    (&server).write_all(&octet).expect("write");
                }
            });
            scope.spawn(move || {
                for n in 0..2_000u32 {
                    (&client).write_all(&[n as u8]).expect("write");
                    let mut octet = [0; 1];
                    (&client).read_exact(&mut octet).expect("the answer");
                    assert_eq!(octet[0], n as u8);
                }
            });
        }
    });
}

#[test]
fn no_wake_up_is_lost_inside_one_stack() {
    let stack = Stack::builder().start().expect("start");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let listener = TcpListener::bind(&stack, "127.0.0.1:0").expect("bind");
            let name = listener.local_addr().expect("name");
            let client = TcpStream::connect(&stack, name).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
            }
            scope.spawn(move || {
                let mut octet = [0; 1];
                for _ in 0..3_000 {
                    (&server).read_exact(&mut octet).expect("the question");
                    (&server).write_all(&octet).expect("write");
                }
            });
            scope.spawn(move || {
                for n in 0..3_000u32 {
                    (&client).write_all(&[n as u8]).expect("write");
                    let mut octet = [0; 1];
                    (&client).read_exact(&mut octet).expect("the answer");
                    assert_eq!(octet[0], n as u8);
                }
            });
        }
    });
}

#[test]
fn names_go_through_the_resolver() {
    use std::net::{IpAddr, Ipv4Addr};
    struct Fixed;
    impl tunstack::runtime::Resolve for Fixed {
        fn resolve(&self, _: &Stack, name: &str) -> std::io::Result<Vec<IpAddr>> {
            match name {
                "server.test" => Ok(vec![Ipv4Addr::new(127, 0, 0, 9).into(), Ipv4Addr::LOCALHOST.into()]),
                _ => Err(ErrorKind::NotFound.into()),
            }
        }
    }
    let stack = Stack::builder().start().expect("start");
    stack.set_resolver(Arc::new(Fixed));
    let listener = TcpListener::bind(&stack, "127.0.0.1:80").expect("bind");
    // The first address refuses, the second answers.
    let client = TcpStream::connect(&stack, "server.test:80").expect("connect");
    assert_eq!(client.peer_addr().expect("peer"), listener.local_addr().expect("name"));
    assert_eq!(TcpStream::connect(&stack, ("other.test", 80)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_role_moves_about_and_nothing_is_lost() {
    let (one, other) = pair();
    let done = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Threads that take the role and leave it at odd times: short waits, pollers, event loops.
        for n in 0..3u64 {
            let (one, done) = (one.clone(), Arc::clone(&done));
            scope.spawn(move || {
                let idle = UdpSocket::bind(&one, "10.0.0.1:0").expect("bind");
                let poller = Poller::new(&one).expect("poller");
                poller.add(&idle, 1, Readiness::READABLE, Trigger::Level).expect("add");
                let mut events = Vec::with_capacity(4);
                let mut step = n + 1;
                while done.load(Ordering::Relaxed) == 0 {
                    step =
                        step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let pause = Duration::from_micros(1 + (step >> 33) % 700);
                    match (step >> 20) % 4 {
                        0 => {
                            idle.set_read_timeout(Some(pause)).expect("timeout");
                            idle.recv(&mut [0; 8]).expect_err("nothing comes");
                        }
                        1 => assert_eq!(poller.wait(&mut events, Some(pause)).expect("wait"), 0),
                        2 => {
                            if let Ok(reactor) = one.reactor() {
                                reactor.turn().expect("turn");
                            }
                        }
                        _ => std::thread::sleep(pause),
                    }
                }
            });
        }
        let (client, server) = connected(&one, &other);
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("nodelay");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        }
        scope.spawn(move || {
            let mut octet = [0; 1];
            while (&server).read(&mut octet).expect("the question") == 1 {
                (&server).write_all(&octet).expect("write");
            }
        });
        let start = Instant::now();
        for n in 0..3_000u32 {
            (&client).write_all(&[n as u8]).expect("write");
            let mut octet = [0; 1];
            let result = (&client).read_exact(&mut octet);
            if result.is_err() {
                done.store(1, Ordering::Relaxed);
            }
            result.expect("the answer");
            assert_eq!(octet[0], n as u8);
        }
        done.store(1, Ordering::Relaxed);
        println!("3,000 exchanges in {:?}", start.elapsed());
    });
}

/// A panic in what an embedder does to the host ends that thread and nothing else.
#[test]
fn a_panic_under_the_lock_stops_nobody_else() {
    let stack = Stack::builder().address("10.0.0.2/24".parse().expect("valid")).start().expect("no device");
    let (embedder, again) = (stack.clone(), stack.clone());
    let panicked = std::thread::spawn(move || {
        let _ = embedder.with_host(|_, _| -> Result<(), Errno> { panic!("on purpose") });
    });
    panicked.join().expect_err("it panicked");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut client, mut server) = connected(&again, &again);
        // Several times with nobody who drives in between, so that the housekeeper looks.
        for _ in 0..3 {
            client.write_all(b"?").expect("sent");
            server.read_exact(&mut [0]).expect("read");
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = tell.send(());
    });
    told.recv_timeout(Duration::from_secs(20)).expect("the stack goes on");
}

/// An echo request to 10.0.0.2, for a device whose answers a test makes panic.
fn ping() -> Vec<u8> {
    let mut ping =
        vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0, 0, 0, 0, 1, 0, 1];
    for (range, at) in [(0..20, 10), (20..28, 22)] {
        let sum = tunstack::wire::checksum::checksum(&ping[range]);
        ping[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    ping
}

/// Nor does one on the stack's own thread stop it without a word.
#[test]
fn a_panic_on_the_housekeeper_is_told() {
    let (device, injector) = tunstack::link::callback(1500, |_| panic!("on purpose")).expect("a device");
    let builder = Stack::builder().address("10.0.0.2/24".parse().expect("valid")).device(device);
    let stack = builder.start().expect("it starts");
    injector.send(ping()).expect("taken");
    let until = Instant::now() + Duration::from_secs(20);
    while stack.with_host(|_, _| Ok(())).is_ok() {
        assert!(Instant::now() < until, "nobody is told");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Nor does one of a thread that drives: the role goes on without it.
#[test]
fn a_panic_of_who_drives_leaves_the_role() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let (device, injector) =
        tunstack::link::callback(1500, move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("on purpose"),
            _ => Ok(()),
        })
        .expect("a device");
    let builder = Stack::builder().address("10.0.0.2/24".parse().expect("valid")).device(device);
    let stack = builder.start().expect("it starts");
    let driving = stack.clone();
    let driver = std::thread::spawn(move || {
        let listener = TcpListener::bind(&driving, "10.0.0.2:7").expect("free");
        drop(listener.accept());
    });
    std::thread::sleep(Duration::from_millis(50));
    injector.send(ping()).expect("taken");
    driver.join().expect_err("it drove, and panicked");
    injector.send(ping()).expect("taken");
    let until = Instant::now() + Duration::from_secs(20);
    while answered.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < until, "nobody drives");
        std::thread::sleep(Duration::from_millis(5));
    }
}
