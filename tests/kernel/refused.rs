//! Ports on which nobody listens, both ways, and what traceroute relies on.

use crate::harness::{Test, test};
use crate::world::{FAMILIES, connect, datagrams, eventually, feed, library, serve, tunstack};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tunstack::socket as ours;

pub const TESTS: &[Test] = &[
    test("refused::tcp_of_the_stack", tcp_of_the_stack),
    test("refused::tcp_of_the_kernel", tcp_of_the_kernel),
    test("refused::udp_of_the_stack", udp_of_the_stack),
    test("refused::udp_of_the_kernel", udp_of_the_kernel),
    test("refused::traceroute_reaches_its_end", traceroute_reaches_its_end),
    test("refused::the_command_says_so", the_command_says_so),
];

fn tcp_of_the_stack() {
    let server = serve("echo");
    for ends in FAMILIES {
        let error = TcpStream::connect(ends.at(4444)).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        // And where somebody listens nothing is the worse for it.
        let mut stream = connect(ends.at(7));
        stream.write_all(b"still here").expect("sent");
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"still here");
    }
    server.end();
}

fn tcp_of_the_kernel() {
    let stack = library();
    for ends in FAMILIES {
        let error = ours::TcpStream::connect(&stack, ends.kernel_at(4444)).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    }
}

/// The kernel turns our port unreachable into the error of the socket that asked.
fn udp_of_the_stack() {
    let server = serve("echo");
    for ends in FAMILIES {
        let socket = datagrams(ends.at(4444));
        socket.send(b"anybody?").expect("sent");
        let error = socket.recv(&mut [0; 16]).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
    server.end();
}

/// And we turn the kernel's into the same error.
fn udp_of_the_kernel() {
    let stack = library();
    for ends in FAMILIES {
        let any: SocketAddr =
            if ends.kernel.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("valid");
        let socket = ours::UdpSocket::bind(&stack, any).expect("a port");
        socket.connect(ends.kernel_at(4444)).expect("a route");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("valid");
        socket.send(b"anybody?").expect("sent");
        let error = socket.recv(&mut [0; 16]).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        // Told once; the socket lives on.
        socket.send(b"anybody?").expect("sent");
    }
}

/// traceroute sends datagrams to unlikely ports with TTL 1, 2, …: whoever is at the end says port unreachable.
fn traceroute_reaches_its_end() {
    let server = serve("echo");
    for ends in FAMILIES {
        for port in 33434..33437 {
            let socket = datagrams(ends.at(port));
            if ends.stack.is_ipv4() {
                socket.set_ttl(1).expect("valid");
            } else {
                rustix::net::sockopt::set_ipv6_unicast_hops(&socket, Some(1)).expect("valid");
            }
            socket.send(&[0x40; 32]).expect("sent");
            let error = socket.recv(&mut [0; 16]).expect_err("nobody listens");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "port {port}: {error}");
        }
    }
    server.end();
}

fn the_command_says_so() {
    crate::harness::private();
    for ends in FAMILIES {
        let words = format!("connect --tun tun0 {} 4444", ends.kernel);
        let output = feed(&mut tunstack(&words), b"").expect("built with the tests");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("Connection refused: is a server listening there?"), "{said}");
    }
    // The device went with each of them.
    eventually("tun0 is gone", || !tunstack::link::exists("tun0").expect("asked"));
}
