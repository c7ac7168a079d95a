//! Several stacks with the same addresses, each with a queue of one interface.

use crate::harness::{Test, ip, private, test};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tunstack::link::{Device, Injector, Offload, Setup, callback};
use tunstack::runtime::Stack;
use tunstack::socket::{TcpListener, TcpStream, UdpSocket};

pub const TESTS: &[Test] = &[
    test("shards::one_two_and_four_serve_the_kernel", one_two_and_four_serve_the_kernel),
    test("shards::any_of_them_connects", any_of_them_connects),
    test("shards::packets_may_come_to_any_of_them", packets_may_come_to_any_of_them),
    test("shards::too_few_ports_are_told", too_few_ports_are_told),
    test("shards::an_interface_in_use_is_told", an_interface_in_use_is_told),
    test("shards::an_interface_for_one_queue_is_told", an_interface_for_one_queue_is_told),
];

const SOON: Option<Duration> = Some(Duration::from_secs(20));
const ADDRESSES: [&str; 2] = ["10.9.0.2/24", "fd09::2/64"];

fn setup(offload: Offload) -> Setup {
    Setup { offload, ..Setup::new(ADDRESSES.map(|text| text.parse().expect("valid"))).named("t0") }
}

fn start(queues: Vec<Device>) -> Vec<Stack> {
    let builder = ADDRESSES
        .iter()
        .fold(Stack::builder(), |builder, text| builder.address(text.parse().expect("valid")));
    builder.start_shards(queues).unwrap_or_else(|error| panic!("{error}"))
}

fn open(count: usize, offload: Offload) -> Vec<Stack> {
    start(Device::tun_queues(&setup(offload), count).unwrap_or_else(|error| panic!("{error}")))
}

/// Echoes on port 7 of a shard, each connection in a thread; counts them.
fn echo(stack: &Stack, accepted: &Arc<AtomicUsize>) {
    let listener = TcpListener::bind(stack, "0.0.0.0:7").expect("bind");
    let accepted = Arc::clone(accepted);
    std::thread::spawn(move || {
        // Ends with the stack.
        while let Ok((stream, _)) = listener.accept() {
            accepted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let (mut stream, mut buffer) = (stream, vec![0; 64 << 10]);
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..n]).expect("echo");
                }
            });
        }
    });
}

fn exchange(mut stream: impl Read + Write, seed: u8, len: usize) {
    let data: Vec<u8> = (0..len).map(|at| (at / 251) as u8 ^ seed).collect();
    let mut back = vec![0; len];
    for (sent, got) in data.chunks(10_000).zip(back.chunks_mut(10_000)) {
        stream.write_all(sent).expect("write");
        stream.read_exact(got).expect("read");
    }
    assert_eq!(back, data);
}

fn one_two_and_four_serve_the_kernel() {
    private();
    for (count, offload) in [(1, Offload::Auto), (2, Offload::Auto), (4, Offload::Auto), (4, Offload::Off)] {
        let stacks = open(count, offload);
        let accepted: Vec<Arc<AtomicUsize>> = stacks.iter().map(|_| Arc::default()).collect();
        stacks.iter().zip(&accepted).for_each(|(stack, accepted)| echo(stack, accepted));
        let streams: Vec<std::net::TcpStream> = (0..64)
            .map(|_| std::net::TcpStream::connect("10.9.0.2:7").expect("some shard listens"))
            .inspect(|stream| stream.set_read_timeout(SOON).expect("timeout"))
            .collect();
        for (seed, stream) in (0u8..).zip(&streams) {
            exchange(stream, seed, if seed % 16 == 0 { 500_000 } else { 3000 });
        }
        let accepted: Vec<usize> = accepted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(accepted.iter().sum::<usize>(), 64);
        // 64 flows that all hash to three of four queues: once in a hundred million runs.
        assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
        let refused = std::net::TcpStream::connect("10.9.0.2:8").expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

fn any_of_them_connects() {
    private();
    let stacks = open(4, Offload::Auto);
    let listener = std::net::TcpListener::bind("10.9.0.1:80").expect("bind");
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(16) {
            let (mut stream, mut buffer) = (stream.expect("accept"), [0; 10_000]);
            while let n @ 1.. = stream.read(&mut buffer).expect("read") {
                stream.write_all(&buffer[..n]).expect("write");
            }
        }
    });
    let mut ports = Vec::new();
    for (seed, stack) in (0u8..16).zip(stacks.iter().cycle()) {
        let stream = TcpStream::connect(stack, "10.9.0.1:80").expect("the kernel listens");
        stream.set_read_timeout(SOON).expect("timeout");
        ports.push(stream.local_addr().expect("name").port());
        exchange(&stream, seed, 20_000);
    }
    server.join().expect("no panic");
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 16, "no two took the same port");
}

/// A device whose packets go to `to`, and what gives it some.
fn routed(to: impl Fn(Vec<u8>) + Send + 'static) -> (Device, Injector) {
    let (device, injector) = callback(1500, move |packet| {
        to(packet.parts.concat());
        Ok(())
    })
    .expect("an eventfd");
    (device, injector)
}

/// Each packet comes to another shard than the one before, whomever it is for.
fn packets_may_come_to_any_of_them() {
    let peer: Arc<Mutex<Option<Injector>>> = Arc::default();
    let (queues, injectors): (Vec<Device>, Vec<Injector>) = (0..3)
        .map(|_| {
            let peer = Arc::clone(&peer);
            routed(move |packet| {
                let peer = peer.lock().expect("no panic");
                peer.as_ref().expect("there from the start").send(packet).expect("room");
            })
        })
        .unzip();
    let turn = AtomicUsize::new(0);
    let (device, injector) = routed(move |packet| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        injectors[turn % injectors.len()].send(packet).expect("room");
    });
    *peer.lock().expect("no panic") = Some(injector);
    let client = Stack::builder()
        .address("10.9.0.1/24".parse().expect("valid"))
        .device(device)
        .start()
        .expect("starts");
    let stacks = start(queues);
    // One of them listens, another one connects, the third one has a datagram socket.
    let accepted = Arc::default();
    echo(&stacks[1], &accepted);
    let local: SocketAddr = "10.9.0.1:80".parse().expect("valid");
    let listener = TcpListener::bind(&client, local).expect("bind");
    let datagrams = UdpSocket::bind(&stacks[0], "10.9.0.2:7").expect("bind");
    for seed in 0..4 {
        let stream = TcpStream::connect(&client, "10.9.0.2:7").expect("a shard listens");
        stream.set_read_timeout(SOON).expect("timeout");
        exchange(&stream, seed, 100_000);
        let ours = TcpStream::connect(&stacks[2], local).expect("the client listens");
        let (mut theirs, _) = listener.accept().expect("connected");
        theirs.write_all(&[seed; 5000]).expect("write");
        ours.set_read_timeout(SOON).expect("timeout");
        let mut got = [0; 5000];
        (&ours).read_exact(&mut got).expect("read");
        assert_eq!(got, [seed; 5000]);
        let socket = UdpSocket::bind(&client, "10.9.0.1:0").expect("bind");
        socket.send_to(&[seed], "10.9.0.2:7").expect("send");
        datagrams.set_read_timeout(SOON).expect("timeout");
        assert_eq!(datagrams.recv_from(&mut got).expect("came").0, 1);
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 4);
    let count =
        |name: &str| -> u64 { stacks.iter().map(|stack| stack.counters().get(name).expect("known")).sum() };
    assert!(count("TunstackStraysIn") > 100, "{}", count("TunstackStraysIn"));
    assert_eq!((count("TcpOutRsts"), count("TunstackStrayDrops")), (0, 0));
}

fn too_few_ports_are_told() {
    let queues = (0..3).map(|_| routed(|_| ()).0).collect();
    let builder = Stack::builder().address("10.9.0.2/24".parse().expect("valid"));
    let why =
        builder.setting("ip_local_port_range", "50000 50001").start_shards(queues).expect_err("three of two");
    assert_eq!(why.to_string(), "3 shards need as many ports: widen ip_local_port_range");
}

fn an_interface_in_use_is_told() {
    private();
    let _first = open(2, Offload::Off);
    let mtu = || ip("-o link show t0");
    let before = mtu();
    let again = Setup { mtu: 1300, ..setup(Offload::Off) };
    let why = Device::tun_queues(&again, 2).map(|_| ()).expect_err("in use").to_string();
    assert!(why.starts_with("t0 is in use by another program"), "{why}");
    assert_eq!(mtu(), before, "and left alone");
}

fn an_interface_for_one_queue_is_told() {
    private();
    let why = |count| {
        Device::tun_queues(&setup(Offload::Off), count).map(|_| ()).expect_err("cannot be").to_string()
    };
    ip("tuntap add dev t0 mode tun");
    assert!(why(2).starts_with("t0 was made for one queue: make it with `sudo ip tuntap add"), "{}", why(2));
    ip("tuntap del dev t0 mode tun");
    ip("tuntap add dev t0 mode tun multi_queue");
    assert!(why(1).starts_with("t0 was made for several queues"), "{}", why(1));
}
