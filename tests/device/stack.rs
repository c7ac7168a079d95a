//! A running stack on a TUN against the kernel's sockets, while the interface is disturbed.

use crate::harness::{Test, ip, private, test};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;
use tunstack::runtime::Stack;
use tunstack::socket::{TcpListener, TcpStream, UdpSocket};

pub const TESTS: &[Test] = &[
    test("stack::streams_both_ways", streams_both_ways),
    test("stack::survives_down_and_up", survives_down_and_up),
    test("stack::ipv6_comes_back", ipv6_comes_back),
    test("stack::follows_the_mtu", follows_the_mtu),
    test("stack::deleted_ends_every_socket", deleted_ends_every_socket),
    test("stack::dropped_leaves_nothing", dropped_leaves_nothing),
];

fn start() -> Stack {
    let addresses = ["10.9.0.2/24", "fd09::2/64"].map(|text| text.parse().expect("valid"));
    let builder = Stack::builder().address(addresses[0]).address(addresses[1]).tun("t0");
    builder.start().unwrap_or_else(|error| panic!("{error}"))
}

/// A connection that the kernel opened to the stack.
fn connected(stack: &Stack) -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind(stack, "10.9.0.2:0").expect("bind");
    let kernel = std::net::TcpStream::connect(listener.local_addr().expect("name")).expect("connect");
    let (ours, peer) = listener.accept().expect("accept");
    assert_eq!(peer, kernel.local_addr().expect("name"));
    kernel.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    ours.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    (kernel, ours)
}

/// Sends `octets` from one end, reads all of them at the other, and closes that direction.
fn transfer(mut from: impl Write + Send, mut to: impl Read, octets: usize, end: impl FnOnce() + Send) {
    let data: Vec<u8> = (0..octets).map(|n| (n % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            from.write_all(&data).expect("write");
            end();
        });
        let mut got = Vec::new();
        to.read_to_end(&mut got).expect("read");
        assert!(got == data, "{} of {octets} octets", got.len());
    });
}

fn streams_both_ways() {
    private();
    let stack = start();
    for (ours, theirs) in [("10.9.0.2:7", "10.9.0.1:0"), ("[fd09::2]:7", "[fd09::1]:0")] {
        let listener = TcpListener::bind(&stack, ours).expect("bind");
        let kernel = std::net::TcpStream::connect(ours).expect("connect");
        let (mine, _) = listener.accept().expect("accept");
        transfer(&kernel, &mine, 4 << 20, || kernel.shutdown(Shutdown::Write).expect("shutdown"));
        transfer(&mine, &kernel, 4 << 20, || mine.shutdown(Shutdown::Write).expect("shutdown"));
        let listener = std::net::TcpListener::bind(theirs).expect("bind");
        let mine = TcpStream::connect(&stack, listener.local_addr().expect("name")).expect("connect");
        let (kernel, _) = listener.accept().expect("accept");
        transfer(&kernel, &mine, 100_000, || kernel.shutdown(Shutdown::Write).expect("shutdown"));
        transfer(&mine, &kernel, 100_000, || mine.shutdown(Shutdown::Write).expect("shutdown"));
    }
    let refused = TcpStream::connect(&stack, "10.9.0.1:1").expect_err("nobody is there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let refused = std::net::TcpStream::connect("10.9.0.2:1").expect_err("nobody is here");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn survives_down_and_up() {
    private();
    let stack = start();
    let (mut kernel, mut ours) = connected(&stack);
    ours.write_all(b"before ").expect("write");
    ip("link set t0 down");
    ours.write_all(b"during ").expect("taken into the buffer");
    std::thread::sleep(Duration::from_millis(100));
    ip("link set t0 up");
    ours.write_all(b"after").expect("write");
    let mut text = [0; 19];
    kernel.read_exact(&mut text).expect("sent again");
    assert_eq!(&text, b"before during after");
    kernel.write_all(b"answer").expect("write");
    assert_eq!(ours.read(&mut text).expect("read"), 6);
}

/// The kernel takes the addresses of IPv6 away with the interface, and its routes; an interface of our own gets them back.
fn ipv6_comes_back() {
    private();
    let addresses = ["10.9.0.2/24", "fd09::2/64", "10.8.0.1/32"].map(|text| text.parse().expect("valid"));
    let builder = addresses.into_iter().fold(Stack::builder(), |builder, cidr| builder.address(cidr));
    let stack = builder.tun("t0").start().unwrap_or_else(|error| panic!("{error}"));
    let sockets = [("10.9.0.2", ""), ("10.8.0.1", ""), ("fd09::2", "-6 ")].map(|(address, family)| {
        let socket = UdpSocket::bind(&stack, (address, 7)).expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        (socket, address, family)
    });
    let works = |why: &str| {
        for (ours, address, family) in &sockets {
            let way = format!("{family}route get {address}");
            let mut tries = 0;
            while !ip_finds(&way) {
                tries += 1;
                assert!(tries < 500, "{why}: no way to {address}");
                std::thread::sleep(Duration::from_millis(10));
            }
            let any = if family.is_empty() { "0.0.0.0:0" } else { "[::]:0" };
            let kernel = std::net::UdpSocket::bind(any).expect("bind");
            kernel
                .send_to(b"there", (*address, 7))
                .unwrap_or_else(|error| panic!("{why}: {address}: {error}"));
            ours.recv(&mut [0; 8]).unwrap_or_else(|error| panic!("{why}: {address}: {error}"));
        }
    };
    works("at first");
    ip("link set t0 down");
    std::thread::sleep(Duration::from_millis(50));
    ip("link set t0 up");
    works("after down and up");
    ip("link set t0 mtu 576");
    std::thread::sleep(Duration::from_millis(50));
    ip("link set t0 mtu 1500");
    works("after an MTU without IPv6");
    ip("link set t0 down");
    ip("link set t0 up");
    works("after down and up too quick to be seen");
}

/// Does `ip` say that packets go out of t0?
fn ip_finds(words: &str) -> bool {
    let output = std::process::Command::new("ip").args(words.split_whitespace()).output().expect("ip");
    String::from_utf8_lossy(&output.stdout).contains("dev t0")
}

fn follows_the_mtu() {
    private();
    let stack = start();
    let (kernel, ours) = connected(&stack);
    (&ours).write_all(&[0; 10_000]).expect("write");
    ip("link set t0 mtu 1300");
    let mut first = [0; 10_000];
    (&kernel).read_exact(&mut first).expect("read");
    transfer(&ours, &kernel, 1 << 20, || ours.shutdown(Shutdown::Write).expect("shutdown"));
    assert_eq!(stack.link().mtu, 1300);
    ip("link set t0 mtu 9000");
    transfer(&kernel, &ours, 1 << 20, || kernel.shutdown(Shutdown::Write).expect("shutdown"));
    assert_eq!(stack.link().mtu, 9000);
}

fn deleted_ends_every_socket() {
    private();
    let stack = start();
    let (_kernel, mut ours) = connected(&stack);
    let listener = TcpListener::bind(&stack, "10.9.0.2:7").expect("bind");
    let datagrams = UdpSocket::bind(&stack, "10.9.0.2:7").expect("bind");
    let connecting = {
        let stack = stack.clone();
        std::thread::spawn(move || TcpStream::connect(&stack, "10.9.0.77:7").map(drop))
    };
    let ends: Vec<std::thread::JoinHandle<std::io::Result<()>>> = vec![
        std::thread::spawn(move || ours.read(&mut [0; 8]).map(drop)),
        std::thread::spawn(move || listener.accept().map(drop)),
        std::thread::spawn(move || datagrams.recv(&mut [0; 8]).map(drop)),
        connecting,
    ];
    std::thread::sleep(Duration::from_millis(50));
    ip("link del t0");
    for end in ends {
        let error = end.join().expect("thread").expect_err("the interface is gone");
        assert_eq!(error.raw_os_error(), Some(19), "ENODEV: {error}");
    }
    let later = UdpSocket::bind(&stack, "10.9.0.2:8").expect_err("for good");
    assert_eq!(later.raw_os_error(), Some(19), "{later}");
}

fn dropped_leaves_nothing() {
    private();
    let count = |folder: &str| std::fs::read_dir(folder).expect("procfs").count();
    let before = (count("/proc/self/task"), count("/proc/self/fd"));
    for _ in 0..20 {
        let stack = start();
        let (_kernel, ours) = connected(&stack);
        let reader = std::thread::spawn(move || (&ours).read(&mut [0; 8]).map(drop));
        std::thread::sleep(Duration::from_millis(2));
        drop(stack);
        assert!(!tunstack::link::exists("t0").expect("asked"), "the interface is gone");
        assert_eq!(reader.join().expect("thread").expect_err("ended").raw_os_error(), Some(100), "ENETDOWN");
    }
    assert_eq!((count("/proc/self/task"), count("/proc/self/fd")), before);
}
