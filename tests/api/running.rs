//! Stacks as a whole: wires between them, many threads, nothing left behind, nothing used while idle.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tunstack::link::wire;
use tunstack::runtime::{PollEvent, Stack, Trigger};
use tunstack::socket::{Poller, Readiness, TcpListener, TcpStream, UdpSocket};

/// Two stacks on a wire in memory.
fn pair() -> (Stack, Stack) {
    let (left, right) = wire(1500).expect("wire");
    let start = |address: &str, device| {
        let cidr = address.parse().expect("address");
        Stack::builder().address(cidr).device(device).start().expect("start")
    };
    (start("10.0.0.1/24", left), start("10.0.0.2/24", right))
}

/// A connection over a wire.
fn connected(one: &Stack, other: &Stack) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(other, "10.0.0.2:0").expect("bind");
    let client = TcpStream::connect(one, listener.local_addr().expect("name")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, server)
}

/// Runs one test of this file in a process of its own, where nothing else uses threads, descriptors or time.
fn alone(name: &str) -> bool {
    const INSIDE: &str = "TUNSTACK_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let name = format!("running::{name}");
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
    one_round(0);
    let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
    // A wire connects two stacks: 500 rounds are 1,000 stacks.
    (0..500).for_each(one_round);
    assert_eq!(count("/proc/self/task"), threads, "threads");
    assert_eq!(count("/proc/self/fd"), descriptors, "descriptors");
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
    assert_eq!((count("/proc/self/task"), count("/proc/self/fd")), (threads, descriptors));
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
fn one_thread_serves_a_thousand_connections() {
    let (one, other) = pair();
    let listener = TcpListener::bind(&other, "10.0.0.2:7").expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    const CLIENTS: u64 = 1000;
    let server = std::thread::spawn(move || {
        let poller = Poller::new(&other).expect("poller");
        poller.add(&listener, 0, Readiness::READABLE, Trigger::Level).expect("add");
        let mut streams: HashMap<u64, TcpStream> = HashMap::new();
        let mut events: Vec<PollEvent> = Vec::with_capacity(64);
        let (mut next, mut closed) = (1, 0);
        while closed < CLIENTS {
            assert!(poller.wait(&mut events, Some(Duration::from_secs(20))).expect("wait") > 0, "stalled");
            for event in &events {
                if event.token == 0 {
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true).expect("nonblocking");
                        poller.add(&stream, next, Readiness::READABLE, Trigger::Edge).expect("add");
                        streams.insert(next, stream);
                        next += 1;
                    }
                    continue;
                }
                let Some(stream) = streams.get_mut(&event.token) else { continue };
                let mut buffer = [0; 256];
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => {
                            streams.remove(&event.token);
                            closed += 1;
                            break;
                        }
                        Ok(n) => stream.write_all(&buffer[..n]).expect("write"),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    });
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(&one, "10.0.0.2:7").expect("connect")).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("client {n}").as_bytes()).expect("write");
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let mut buffer = [0; 64];
        let len = client.read(&mut buffer).expect("read");
        assert_eq!(buffer[..len], *format!("client {n}").as_bytes());
    }
    drop(clients);
    server.join().expect("server");
}

#[test]
fn a_poller_reports_level_edge_and_once() {
    let stack = Stack::builder().start().expect("start");
    let listener = TcpListener::bind(&stack, "127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(&stack, listener.local_addr().expect("name")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    let poller = Poller::new(&stack).expect("poller");
    let mut events = Vec::with_capacity(8);
    let mut look = || {
        poller.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        events.iter().map(|event| event.token).collect::<Vec<_>>()
    };
    poller.add(&server, 1, Readiness::READABLE, Trigger::Level).expect("add");
    assert_eq!(
        poller.add(&server, 2, Readiness::READABLE, Trigger::Level).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(look(), []);
    (&client).write_all(b"ab").expect("write");
    assert_eq!((look(), look()), (vec![1], vec![1]));
    poller.modify(&server, 3, Readiness::READABLE, Trigger::Edge).expect("modify");
    assert_eq!((look(), look()), (vec![3], vec![]));
    (&client).write_all(b"cd").expect("write");
    assert_eq!((look(), look()), (vec![3], vec![]));
    poller.modify(&server, 4, Readiness::READABLE | Readiness::WRITABLE, Trigger::Oneshot).expect("modify");
    assert_eq!((look(), look()), (vec![4], vec![]));
    (&client).write_all(b"ef").expect("write");
    assert_eq!(look(), [], "not armed");
    poller.modify(&server, 5, Readiness::READABLE, Trigger::Oneshot).expect("modify");
    assert_eq!(look(), [5]);
    poller.notify().expect("notify");
    let mut none = Vec::new();
    assert_eq!(poller.wait(&mut none, None).expect("wait"), 0);
    poller.delete(&server).expect("delete");
    assert_eq!(poller.delete(&server).unwrap_err().kind(), ErrorKind::NotFound);
    poller.add(&server, 6, Readiness::READABLE, Trigger::Level).expect("add");
    drop(server);
    assert_eq!(look(), [], "a closed socket leaves by itself");
}

#[test]
fn an_event_loop_of_somebody_elses_drives() {
    let (one, other) = pair();
    let listener = TcpListener::bind(&other, "10.0.0.2:7").expect("bind");
    let reactor = other.reactor().expect("reactor");
    assert_eq!(other.reactor().map(drop).unwrap_err().kind(), ErrorKind::ResourceBusy);
    // Nobody turns: nobody answers.
    let nobody =
        TcpStream::connect_timeout(&one, &"10.0.0.2:7".parse().expect("addr"), Duration::from_millis(40));
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::TimedOut);
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(&one, "10.0.0.2:7").expect("connect");
        stream.write_all(b"hello").expect("write");
        stream.read(&mut [0; 8]).expect("the end")
    });
    listener.set_nonblocking(true).expect("nonblocking");
    let mut server: Option<TcpStream> = None;
    let mut got = Vec::new();
    while got.len() < 5 {
        let mut fds = [rustix::event::PollFd::new(&reactor, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&limit)).expect("poll"), 1, "the descriptor tells");
        reactor.turn();
        if server.is_none() {
            server = listener.accept().ok().map(|(stream, _)| stream);
        }
        if let Some(stream) = &mut server {
            stream.set_nonblocking(true).expect("nonblocking");
            let mut buffer = [0; 8];
            if let Ok(n) = stream.read(&mut buffer) {
                got.extend_from_slice(&buffer[..n]);
            }
        }
    }
    assert_eq!(got, b"hello");
    // The role goes back: the housekeeper sends the FIN's acknowledgments.
    drop(reactor);
    drop(server);
    assert_eq!(client.join().expect("client"), 0);
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
fn tasks_are_woken_whoever_drives() {
    let (one, other) = pair();
    let listener = TcpListener::bind(&other, "10.0.0.2:7").expect("bind");
    // One side drives in `block_on`; on the other the housekeeper does, and a plain executor of one task sleeps.
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    let server = std::thread::spawn(move || {
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut task = Box::pin(async {
            let (stream, _) = listener.accept_async().await?;
            stream.set_nodelay(true)?;
            let mut buffer = [0; 1000];
            let mut total = 0;
            while let n @ 1.. = stream.read_async(&mut buffer).await? {
                stream.write_all_async(&buffer[..n]).await?;
                total += n;
            }
            std::io::Result::Ok(total)
        });
        loop {
            match task.as_mut().poll(&mut context) {
                std::task::Poll::Ready(result) => return result.expect("echo"),
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    });
    let back = one.block_on(async {
        let stream = TcpStream::connect_async(&one, "10.0.0.2:7".parse().expect("addr")).await?;
        let mut buffer = [0; 5000];
        let mut back = 0;
        for _ in 0..200 {
            stream.write_all_async(&[7; 3000]).await?;
            let mut left = 3000;
            while left > 0 {
                let n = stream.read_async(&mut buffer).await?;
                assert!(buffer[..n].iter().all(|octet| *octet == 7));
                left -= n;
                back += n;
            }
        }
        std::io::Result::Ok(back)
    });
    assert_eq!(back.expect("echo"), 600_000);
    assert_eq!(server.join().expect("server"), 600_000);
    let refused = one.block_on(TcpStream::connect_async(&one, "10.0.0.2:9".parse().expect("addr")));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_task_is_woken_by_what_another_thread_does() {
    let stack = Stack::builder().start().expect("start");
    let socket = UdpSocket::bind(&stack, "127.0.0.1:0").expect("bind");
    let name = socket.local_addr().expect("name");
    let sender = UdpSocket::bind(&stack, "127.0.0.1:0").expect("bind");
    let sending = std::thread::spawn(move || {
        for _ in 0..100 {
            std::thread::sleep(Duration::from_micros(300));
            sender.send_to(b"x", name).expect("send");
        }
    });
    stack.block_on(async {
        for _ in 0..100 {
            assert_eq!(socket.recv_from_async(&mut [0; 8]).await.expect("recv").0, 1);
        }
    });
    sending.join().expect("sender");
}

#[test]
fn settling_waits_until_the_peer_has_everything() {
    let (one, other) = pair();
    let (mut client, mut server) = connected(&one, &other);
    assert!(one.settle(Duration::ZERO), "nothing is on its way");
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
                                reactor.turn();
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
