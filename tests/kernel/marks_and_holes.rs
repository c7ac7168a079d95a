//! Paths that mark, and paths that swallow: ECN and the search for the path MTU, with the kernel at the other end.

use crate::harness::{Test, private, test};
use crate::world::{
    FAMILIES, Program, accept, connect, feed, listener, pattern, read_all, run, same, serve, tunstack,
};
use std::io::{Read, Write};
use std::net::Shutdown;

pub const TESTS: &[Test] = &[
    test("marks_and_holes::ecn_asked_for_by_the_kernel", ecn_asked_for_by_the_kernel),
    test("marks_and_holes::ecn_asked_for_by_the_stack", ecn_asked_for_by_the_stack),
    test("marks_and_holes::marks_instead_of_losses", marks_instead_of_losses),
    test("marks_and_holes::a_black_hole_under_a_server", a_black_hole_under_a_server),
    test("marks_and_holes::a_large_window", a_large_window),
];

const MIB: usize = 1 << 20;

/// What `ss` tells about the kernel's connections to or from this port.
fn options_of(port: u16) -> String {
    run("ss", &format!("-tinoHO ( sport = :{port} or dport = :{port} )"))
}

fn ecn_asked_for_by_the_kernel() {
    let server = serve("echo");
    std::fs::write("/proc/sys/net/ipv4/tcp_ecn", "1").expect("a namespace of our own");
    let data = pattern(MIB);
    for ends in FAMILIES {
        let stream = connect(ends.at(7));
        (&stream).write_all(&data[..1000]).expect("sent");
        let mut got = vec![0; 1000];
        (&stream).read_exact(&mut got).expect("echoed");
        let told = options_of(7);
        assert!(told.contains(" ecn ") && told.contains(" ecnseen "), "{told}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&data[1000..]).expect("sent");
                stream.shutdown(Shutdown::Write).expect("open");
            });
            got.extend(read_all(&stream));
        });
        same(&got, &data, "echoed with ECN");
    }
    server.end();
}

fn ecn_asked_for_by_the_stack() {
    private();
    let data = pattern(MIB);
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let port = 9000 + index as u16;
        let server = listener(port);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let words = format!("send --tun tun0 - {} --set tcp_ecn=1", ends.kernel_at(port));
                feed(&mut tunstack(&words), &data).expect("built with the tests")
            });
            let mut stream = accept(&server);
            let mut got = vec![0; 1000];
            stream.read_exact(&mut got).expect("it comes");
            let told = options_of(port);
            assert!(told.contains(" ecn ") && told.contains(" ecnseen "), "{told}");
            got.extend(read_all(&stream));
            same(&got, &data, "sent with ECN");
            drop(stream);
            assert_eq!(sender.join().expect("no panic").status.code(), Some(0));
        });
    }
}

/// A counter of the kernel in this namespace.
fn kernel_counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("there");
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks(2).flat_map(|two| two[0].split(' ').zip(two[1].split(' ')));
    pairs.filter(|(known, _)| *known == name).find_map(|(_, value)| value.parse().ok()).expect("a counter")
}

/// A queue marks long before it is full: both senders slow down, and nothing is lost.
fn marks_instead_of_losses() {
    let server = serve("chargen discard --link rate=40mbit,queue=400,mark=20,delay=10ms");
    std::fs::write("/proc/sys/net/ipv4/tcp_ecn", "1").expect("a namespace of our own");
    // A controller that does not heed marks would show nothing.
    std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "reno").expect("every kernel has it");
    for ends in FAMILIES {
        let mut text = vec![0; 4 * MIB];
        connect(ends.at(19)).read_exact(&mut text).expect("no end");
        let stream = connect(ends.at(9));
        (&stream).write_all(&text).expect("sent");
        let told = options_of(9);
        assert!(told.contains("delivered_ce:") && !told.contains("retrans:"), "{told}");
        stream.shutdown(Shutdown::Write).expect("open");
        read_all(&stream);
    }
    assert!(kernel_counter("InCEPkts") > 0, "the stack's packets were marked");
    assert_eq!(kernel_counter("TCPOFOQueue"), 0, "and none was lost");
    server.end();
}

/// Everything above 1,400 octets vanishes on the way to the kernel, and no router says so.
fn a_black_hole_under_a_server() {
    let server = serve("chargen --set tcp_mtu_probing=1 --link mtu=1400/silent");
    for ends in FAMILIES {
        let mut text = vec![0; 4 * MIB];
        connect(ends.at(19)).read_exact(&mut text).expect("the stack finds out");
    }
    server.end();
}

/// Over 200 ms a window of 128 KiB makes 0.66 MB/s at most: it must grow, and so must the send buffer.
fn a_large_window() {
    let server: Program = serve("echo discard chargen --link delay=100ms");
    for ends in FAMILIES {
        let stream = connect(ends.at(9));
        let data = pattern(8 * MIB);
        let begin = std::time::Instant::now();
        (&stream).write_all(&data).expect("sent");
        stream.shutdown(Shutdown::Write).expect("open");
        assert_eq!(read_all(&stream).len(), 0);
        let rate = data.len() as f64 / begin.elapsed().as_secs_f64();
        let begin = std::time::Instant::now();
        let mut text = vec![0; 8 * MIB];
        connect(ends.at(19)).read_exact(&mut text).expect("no end");
        let back = text.len() as f64 / begin.elapsed().as_secs_f64();
        assert!(rate > 1e6 && back > 1e6, "{rate} and {back} octets per second");
    }
    server.end();
}
