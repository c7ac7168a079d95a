//! Joins the stack and the kernel's loopback, port to port, so that a program that knows only the kernel's sockets can
//! be at the stack's end: for iperf3.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use tunstack::runtime::Stack;
use tunstack::socket as ours;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whoever connects to `port` of the stack gets to the program that listens on `port` of the kernel's loopback.
pub fn inward(stack: &Stack, port: u16) {
    let listener = ours::TcpListener::bind(stack, ("::", port)).expect("free");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            join(stream, TcpStream::connect((LOCAL, port)).expect("the program listens"));
        }
    });
    for any in ["0.0.0.0", "::"] {
        let socket = match any {
            "0.0.0.0" => ours::UdpSocket::bind(stack, (any, port)).expect("free"),
            _ => only_v6(stack, port),
        };
        std::thread::spawn(move || datagrams_inward(&Arc::new(socket), port));
    }
}

fn only_v6(stack: &Stack, port: u16) -> ours::UdpSocket {
    use ours::consts::{AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_DGRAM};
    let socket = ours::Socket::new(stack, AF_INET6, SOCK_DGRAM, 0).expect("a socket");
    socket.setsockopt_int(IPPROTO_IPV6, IPV6_V6ONLY, 1).expect("valid");
    socket.bind(format!("[::]:{port}").parse().expect("valid")).expect("free");
    ours::UdpSocket::try_from(socket).expect("a datagram socket")
}

/// Each peer gets a kernel socket of its own.
fn datagrams_inward(socket: &Arc<ours::UdpSocket>, port: u16) {
    let mut flows: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let flow = flows.entry(from).or_insert_with(|| {
            let flow = UdpSocket::bind((LOCAL, 0)).expect("a port");
            flow.connect((LOCAL, port)).expect("a route");
            let (back, answers) = (Arc::clone(socket), flow.try_clone().expect("descriptors"));
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(len) = answers.recv(&mut buffer) {
                    if back.send_to(&buffer[..len], from).is_err() {
                        break;
                    }
                }
            });
            flow
        });
        // A program that is gone takes nothing.
        let _ = flow.send(&buffer[..len]);
    }
}

/// Whoever connects to `port` of the kernel's loopback gets, from the stack, to `to`.
pub fn outward(stack: &Stack, port: u16, to: SocketAddr) {
    let listener = std::net::TcpListener::bind((LOCAL, port)).expect("free");
    let tcp = stack.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            join(
                ours::TcpStream::connect(&tcp, to).expect("the program listens"),
                stream.expect("descriptors"),
            );
        }
    });
    let local = UdpSocket::bind((LOCAL, port)).expect("free");
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let stack = stack.clone();
    std::thread::spawn(move || {
        let mut flows: HashMap<SocketAddr, ours::UdpSocket> = HashMap::new();
        let mut buffer = vec![0; 65_536];
        while let Ok((len, from)) = local.recv_from(&mut buffer) {
            let flow = flows.entry(from).or_insert_with(|| {
                let flow = ours::UdpSocket::bind(&stack, (any, 0)).expect("a port");
                flow.connect(to).expect("a route");
                let (back, answers) =
                    (local.try_clone().expect("descriptors"), flow.try_clone().expect("a socket"));
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(len) = answers.recv(&mut buffer) {
                        if back.send_to(&buffer[..len], from).is_err() {
                            break;
                        }
                    }
                });
                flow
            });
            let _ = flow.send(&buffer[..len]);
        }
    });
}

/// Copies both ways until both have ended.
fn join(ours: ours::TcpStream, kernel: TcpStream) {
    let (ours_too, kernel_too) =
        (ours.try_clone().expect("a socket"), kernel.try_clone().expect("descriptors"));
    std::thread::spawn(move || {
        copy(&ours_too, &kernel_too);
        let _ = kernel_too.shutdown(Shutdown::Write);
    });
    std::thread::spawn(move || {
        copy(&kernel, &ours);
        let _ = ours.shutdown(Shutdown::Write);
    });
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
}
