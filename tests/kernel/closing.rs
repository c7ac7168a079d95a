//! Every order in which two ends can close, as both ends see it.

use crate::harness::{Test, test};
use crate::world::{
    Ends, FAMILIES, LIMIT, accept, connect, eventually, library, listener, pattern, read_all, same,
};
use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use tunstack::runtime::Stack;
use tunstack::socket as ours;

pub const TESTS: &[Test] = &[
    test("closing::kernel_first", kernel_first),
    test("closing::stack_first", stack_first),
    test("closing::both_at_once", both_at_once),
    test("closing::half_by_the_kernel", half_by_the_kernel),
    test("closing::half_by_the_stack", half_by_the_stack),
    test("closing::reset_by_the_kernel", reset_by_the_kernel),
    test("closing::reset_by_the_stack", reset_by_the_stack),
    test("closing::unread_by_the_kernel", unread_by_the_kernel),
    test("closing::unread_by_the_stack", unread_by_the_stack),
    test("closing::stack_dropped", stack_dropped),
];

/// One connection, both ends of it.
struct Both<'a> {
    stack: &'a Stack,
    kernel: TcpStream,
    ours: ours::TcpStream,
}

/// Runs `order` on a connection of each family, opened by the kernel and by the stack.
fn each(order: fn(Both<'_>)) {
    let stack = library();
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let port = 8000 + index as u16;
        order(opened_by_the_kernel(&stack, ends, port));
        gone(&stack, ends, port);
        order(opened_by_the_stack(&stack, ends, port));
        gone(&stack, ends, port);
    }
}

fn opened_by_the_kernel(stack: &Stack, ends: Ends, port: u16) -> Both<'_> {
    let listener = ours::TcpListener::bind(stack, ends.at(port)).expect("free");
    let kernel = connect(ends.at(port));
    let (ours, peer) = listener.accept().expect("a connection");
    assert_eq!(peer, kernel.local_addr().expect("bound"));
    patient(Both { stack, kernel, ours })
}

fn opened_by_the_stack(stack: &Stack, ends: Ends, port: u16) -> Both<'_> {
    let listener = listener(port);
    let ours = ours::TcpStream::connect(stack, ends.kernel_at(port)).expect("the kernel listens");
    let kernel = accept(&listener);
    patient(Both { stack, kernel, ours })
}

fn patient(both: Both<'_>) -> Both<'_> {
    both.ours.set_read_timeout(Some(LIMIT)).expect("valid");
    both
}

/// In the end neither side has more than TIME-WAIT of it.
fn gone(stack: &Stack, ends: Ends, port: u16) {
    eventually("the stack let go", || {
        let sockets = stack.sockets();
        sockets.iter().all(|socket| matches!(socket.state, "TIME-WAIT" | "CLOSED"))
    });
    eventually("the kernel let go", || kernel_states(ends, port).iter().all(|state| state == TIME_WAIT));
}

/// Numbers of `enum` in the kernel's `tcp_states.h`, as `/proc/net/tcp` shows them.
const TIME_WAIT: &str = "06";
const ESTABLISHED: &str = "01";
const FIN_WAIT_2: &str = "05";
const CLOSE_WAIT: &str = "08";

/// States of the kernel's connections to or from this port.
fn kernel_states(ends: Ends, port: u16) -> Vec<String> {
    // A dual-stack listener's connections are all in the second file.
    let files = if ends.kernel.is_ipv4() { &["tcp", "tcp6"][..] } else { &["tcp6"] };
    let port = format!(":{port:04X}");
    let mut states = Vec::new();
    for file in files {
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("proc");
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[1].ends_with(&port) || words[2].ends_with(&port) {
                states.push(words[3].to_owned());
            }
        }
    }
    states
}

fn states(both: &Both<'_>) -> Vec<&'static str> {
    let peer = both.kernel.local_addr().expect("bound");
    let canonical = |address: std::net::SocketAddr| (address.ip().to_canonical(), address.port());
    let of_this = |remote| canonical(remote) == canonical(peer);
    both.stack
        .sockets()
        .iter()
        .filter(|socket| socket.remote.is_some_and(of_this))
        .map(|socket| socket.state)
        .collect()
}

fn expect_state(both: &Both<'_>, state: &str) {
    eventually(state, || states(both) == [state]);
}

fn expect_kernel(both: &Both<'_>, state: &str) {
    let local = both.kernel.local_addr().expect("bound");
    let ends =
        FAMILIES.into_iter().find(|ends| ends.kernel == local.ip().to_canonical()).expect("one of the two");
    let port = both.kernel.peer_addr().expect("connected").port();
    let port = if port < 9000 { port } else { local.port() };
    eventually(state, || kernel_states(ends, port).iter().any(|found| found == state));
}

fn kernel_first() {
    each(|mut both| {
        both.kernel.write_all(b"last words").expect("sent");
        both.kernel.shutdown(Shutdown::Write).expect("open");
        assert_eq!(read_all(&both.ours), b"last words");
        expect_state(&both, "CLOSE-WAIT");
        expect_kernel(&both, FIN_WAIT_2);
        let (stack, kernel) = (both.stack, both.kernel);
        drop(both.ours);
        assert_eq!(read_all(&kernel), b"");
        // Whoever closes first waits; we have forgotten it at once.
        eventually("nothing is left", || stack.sockets().iter().all(|socket| socket.state == "TIME-WAIT"));
    });
}

fn stack_first() {
    each(|mut both| {
        both.ours.write_all(b"last words").expect("sent");
        both.ours.shutdown(Shutdown::Write).expect("open");
        assert_eq!(read_all(&both.kernel), b"last words");
        expect_state(&both, "FIN-WAIT-2");
        expect_kernel(&both, CLOSE_WAIT);
        both.kernel.shutdown(Shutdown::Write).expect("open");
        assert_eq!(read_all(&both.ours), b"");
        expect_state(&both, "TIME-WAIT");
    });
}

/// Both ends say FIN before they have heard the other's, again and again, and it is always an end in good order.
fn both_at_once() {
    for _ in 0..10 {
        let start = std::sync::Barrier::new(2);
        let stack = STACK.get_or_init(library);
        let both = opened_by_the_kernel(stack, FAMILIES[0], 8000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                both.kernel.shutdown(Shutdown::Write).expect("open");
            });
            start.wait();
            both.ours.shutdown(Shutdown::Write).expect("open");
        });
        assert_eq!(read_all(&both.ours), b"");
        assert_eq!(read_all(&both.kernel), b"");
        assert!(both.kernel.take_error().expect("asked").is_none());
    }
    gone(STACK.get_or_init(library), FAMILIES[0], 8000);
}

/// The stack of a test that makes many connections on one port.
static STACK: std::sync::OnceLock<Stack> = std::sync::OnceLock::new();

/// The kernel has said all; what we say after that still arrives.
fn half_by_the_kernel() {
    each(|mut both| {
        both.kernel.shutdown(Shutdown::Write).expect("open");
        assert_eq!(both.ours.read(&mut [0; 8]).expect("an end"), 0);
        let data = pattern(1 << 20);
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                (&both.ours).write_all(&data).expect("sent");
                both.ours.shutdown(Shutdown::Write).expect("open");
            });
            read_all(&both.kernel)
        });
        same(&got, &data, "after the kernel's end");
    });
}

fn half_by_the_stack() {
    each(|mut both| {
        both.ours.shutdown(Shutdown::Write).expect("open");
        assert_eq!(both.kernel.read(&mut [0; 8]).expect("an end"), 0);
        expect_state(&both, "FIN-WAIT-2");
        let data = pattern(1 << 20);
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                (&both.kernel).write_all(&data).expect("sent");
                both.kernel.shutdown(Shutdown::Write).expect("open");
            });
            read_all(&both.ours)
        });
        same(&got, &data, "after our end");
    });
}

fn reset_by_the_kernel() {
    each(|both| {
        expect_kernel(&both, ESTABLISHED);
        set_socket_linger(&both.kernel, Some(Duration::ZERO)).expect("valid");
        drop(both.kernel);
        let error = (&both.ours).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        // Told once; after that there is nothing to read and nobody to write to.
        assert_eq!((&both.ours).read(&mut [0; 8]).expect("an end"), 0);
        assert_eq!((&both.ours).write(b"x").expect_err("nobody").kind(), ErrorKind::BrokenPipe);
    });
}

fn reset_by_the_stack() {
    each(|both| {
        both.ours.set_linger(Some(Duration::ZERO)).expect("valid");
        drop(both.ours);
        let error = (&both.kernel).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    });
}

/// RFC 9293 §3.10.4 (RFC 1122 §4.2.2.13): whoever closes with octets unread says so with a reset.
fn unread_by_the_kernel() {
    each(|both| {
        (&both.ours).write_all(b"nobody wants this").expect("sent");
        both.kernel.set_read_timeout(Some(LIMIT)).expect("valid");
        assert_eq!(both.kernel.peek(&mut [0; 1]).expect("arrived"), 1);
        drop(both.kernel);
        let error = (&both.ours).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    });
}

fn unread_by_the_stack() {
    each(|both| {
        (&both.kernel).write_all(b"nobody wants this").expect("sent");
        assert_eq!(both.ours.peek(&mut [0; 1]).expect("arrived"), 1);
        drop(both.ours);
        let error = (&both.kernel).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    });
}

/// A stack that ends takes its interface with it: the kernel's connections have nobody to talk to any more.
fn stack_dropped() {
    let stack = library();
    let both = opened_by_the_kernel(&stack, FAMILIES[0], 8000);
    let (ours, kernel) = (both.ours, both.kernel);
    drop(stack);
    eventually("the interface is gone", || !tunstack::link::exists("tun0").expect("asked"));
    let error = (&ours).read(&mut [0; 8]).expect_err("no stack");
    assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN), "{error}");
    drop(kernel);
}
