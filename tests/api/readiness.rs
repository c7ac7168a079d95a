//! Other ways to wait than in a call: the poller, an event loop of somebody else's, tasks.

use crate::wires::pair;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use tunstack::link::channel;
use tunstack::runtime::{PollEvent, Reactor, Stack, Trigger};
use tunstack::socket::{Poller, Readiness, TcpListener, TcpStream, UdpSocket};

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
    poller.delete(&server).expect("delete");
    poller.add(&server, 7, Readiness::READABLE, Trigger::Level).expect("add");
    assert_eq!((look(), look()), (vec![7], vec![7]), "once each, also when it was in the list before");
    drop(server);
    assert_eq!(look(), [], "a closed socket leaves by itself");
}

/// Is the descriptor of an event loop readable within so many seconds?
fn readable(reactor: &Reactor, secs: i64) -> bool {
    let mut fds = [rustix::event::PollFd::new(reactor, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: secs, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&limit)).expect("poll") == 1
}

#[test]
fn what_other_threads_make_ready_reaches_an_event_loop() {
    let stack = Stack::builder().start().expect("start");
    let receiver = UdpSocket::bind(&stack, "127.0.0.1:1000").expect("bind");
    let sender = UdpSocket::bind(&stack, "127.0.0.1:1001").expect("bind");
    let poller = Poller::new(&stack).expect("poller");
    poller.add(&receiver, 1, Readiness::READABLE, Trigger::Edge).expect("add");
    let reactor = stack.reactor().expect("reactor");
    let mut events = Vec::with_capacity(4);
    let mut look = || poller.wait(&mut events, Some(Duration::ZERO)).expect("wait");
    let quiet = |why| {
        while readable(&reactor, 0) {
            reactor.turn().expect("turn");
        }
        assert!(!readable(&reactor, 0), "{why}");
    };
    quiet("nothing happened");
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send_to(b"x", "127.0.0.1:1000").expect("send"));
        assert!(readable(&reactor, 10), "a datagram from another thread, inside the stack");
    });
    quiet("a turn takes the news");
    assert_eq!(look(), 1);
    std::thread::scope(|scope| {
        scope.spawn(|| poller.notify().expect("notify"));
        assert!(readable(&reactor, 10), "notify");
    });
    quiet("told once");
    assert_eq!(look(), 0);
    let listener = TcpListener::bind(&stack, "127.0.0.1:5").expect("bind");
    poller.add(&listener, 2, Readiness::READABLE, Trigger::Edge).expect("add");
    quiet("nobody connects");
    std::thread::scope(|scope| {
        scope.spawn(|| TcpStream::connect(&stack, "127.0.0.1:5").expect("connect"));
        assert!(readable(&reactor, 10), "a connection from another thread");
        quiet("all done");
        assert_eq!(look(), 1);
        listener.accept().expect("accept");
    });
    poller.add(&receiver, 1, Readiness::READABLE, Trigger::Level).expect_err("watched");
    poller.modify(&receiver, 1, Readiness::READABLE, Trigger::Level).expect("modify");
    assert!(readable(&reactor, 0), "it is ready already");
}

#[test]
fn a_turn_is_one_bounded_round() {
    let (device, port) = channel(1500).expect("channel");
    let stack = Stack::builder().address("10.0.0.1/24".parse().expect("address")).device(device);
    let stack = stack.start().expect("start");
    let reactor = stack.reactor().expect("reactor");
    const PACKETS: u64 = 1000;
    for _ in 0..PACKETS {
        port.send([0x45; 40]).expect("send");
    }
    let mut turns = 0;
    while readable(&reactor, 0) {
        let before = stack.counters().ip_in_receives;
        reactor.turn().expect("turn");
        assert!(stack.counters().ip_in_receives - before <= 64, "a bounded round");
        turns += 1;
    }
    assert_eq!(stack.counters().ip_in_receives, PACKETS, "the descriptor tells until all is processed");
    assert!(turns < 40, "{turns} turns");
}

/// A poller that found the device full need not be told of packets; an event loop that comes after it must be.
#[test]
fn an_event_loop_takes_over_from_a_busy_poller() {
    const PACKETS: u64 = 200;
    for _ in 0..50 {
        let (device, port) = channel(1500).expect("channel");
        let stack = Stack::builder().address("10.0.0.1/24".parse().expect("address")).device(device);
        let stack = stack.start().expect("start");
        let poller = Poller::new(&stack).expect("poller");
        let mut events = Vec::new();
        let mut look = || poller.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        look();
        for _ in 0..PACKETS {
            port.send([0x45; 40]).expect("send");
        }
        look();
        let reactor = stack.reactor().expect("reactor");
        // The housekeeper may have been at it as well.
        if stack.counters().ip_in_receives < PACKETS {
            assert!(readable(&reactor, 1), "packets wait");
            return;
        }
    }
    panic!("no try left packets to the event loop");
}

#[test]
fn packets_of_a_batch_leave_together() {
    let (device, port) = channel(1500).expect("channel");
    let stack = Stack::builder().address("10.0.0.1/24".parse().expect("address")).device(device);
    let stack = stack.start().expect("start");
    let socket = UdpSocket::bind(&stack, "10.0.0.1:7").expect("bind");
    let send = |octet| socket.send_to(&[octet], "10.0.0.2:7").expect("send");
    let came =
        || std::iter::from_fn(|| port.try_recv().expect("open")).map(|packet| packet[28]).collect::<Vec<_>>();
    // A round that is due meanwhile sends what there is, so one try may not show it.
    let waits = (0..100).any(|_| {
        let batch = stack.batch();
        send(1);
        drop(stack.batch());
        send(2);
        let early = came();
        drop(batch);
        assert_eq!([early.clone(), came()].concat(), [1, 2], "all of it, when the batch is over");
        early.is_empty()
    });
    assert!(waits, "nothing leaves while the batch is open");
    // Its own thread sleeps: what is due may be what it waits for.
    let batch = stack.batch();
    send(3);
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(came(), [3]);
    drop(batch);
    send(4);
    assert_eq!(came(), [4], "without a batch at once");
    // A batch is of one stack.
    let other = Stack::builder().start().expect("start");
    let _batch = other.batch();
    send(5);
    assert_eq!(came(), [5]);
}

#[test]
fn an_event_loop_learns_of_the_end() {
    let (one, other) = pair();
    let reactor = one.reactor().expect("reactor");
    reactor.turn().expect("turn");
    drop(other);
    assert!(readable(&reactor, 10), "the other end of the wire is gone");
    assert_eq!(reactor.turn().expect_err("the end").raw_os_error(), Some(19), "ENODEV");
    assert_eq!(reactor.turn().expect_err("still").raw_os_error(), Some(19), "ENODEV");
    let stack = Stack::builder().start().expect("start");
    let reactor = stack.reactor().expect("reactor");
    drop(stack);
    assert!(readable(&reactor, 10), "the stack is gone");
    assert_eq!(reactor.turn().expect_err("the end").kind(), ErrorKind::NetworkDown);
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
        assert!(readable(&reactor, 10), "the descriptor tells");
        reactor.turn().expect("turn");
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
