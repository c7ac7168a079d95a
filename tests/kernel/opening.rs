//! SYN cookies and Fast Open with the real kernel at the other end.

use crate::harness::{Test, skip, test};
use crate::world::{Ends, FAMILIES, LIMIT, accept, connect, library, pattern, read_all, same};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, socket_with};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tunstack::runtime::Stack;
use tunstack::socket as ours;

pub const TESTS: &[Test] = &[
    test("opening::cookies_of_the_stack", cookies_of_the_stack),
    test("opening::cookies_of_the_kernel", cookies_of_the_kernel),
    test("opening::served_during_a_flood", served_during_a_flood),
    test("opening::fast_open_to_the_stack", fast_open_to_the_stack),
    test("opening::fast_open_to_the_kernel", fast_open_to_the_kernel),
];

/// Sets a setting of the kernel in this namespace.
fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv4/{name}");
    std::fs::write(&path, value).unwrap_or_else(|error| skip(&format!("{path}: {error}")));
}

/// A TCP option with a number, which nothing else sets.
fn set(socket: &impl AsFd, name: i32, value: i32) {
    let size = size_of::<i32>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer and the length are those of a live number.
    let result = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, name, (&raw const value).cast(), size) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Kernel's `tcpi_options` of a socket.
fn options(socket: &impl AsFd) -> u8 {
    let mut info = [0u8; 104];
    let mut size = info.len() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    let at = info.as_mut_ptr().cast();
    // SAFETY: the pointer and the length are those of a live buffer.
    let result = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut size) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    info[5]
}

/// `TCPI_OPT_*` of `<linux/tcp.h>`.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const SCALE: u8 = 4;
const SYN_DATA: u8 = 32;

/// A counter of the kernel in this namespace.
fn counted(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").expect("Linux has it");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("TcpExt:")).collect();
    let mut pairs = lines[0].split_whitespace().zip(lines[1].split_whitespace());
    pairs.find(|(found, _)| *found == name).and_then(|(_, value)| value.parse().ok()).expect("a counter")
}

/// A listener of ours whose connections give back what they get, until the stack ends.
fn echo(stack: &Stack, at: SocketAddr, backlog: u32) -> ours::TcpListener {
    let listener = ours::TcpListener::bind_with_backlog(stack, at, backlog).expect("free");
    let handle = listener.try_clone().expect("alive");
    std::thread::spawn(move || {
        for stream in handle.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || {
                // Whoever ends early has had enough.
                let _ = std::io::copy(&mut &stream, &mut &stream);
            });
        }
    });
    listener
}

fn echoed(mut stream: TcpStream, data: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(data).expect("sent");
            stream.shutdown(Shutdown::Write).expect("open");
        });
        same(&read_all(&stream), data, "echo");
    });
    stream.flush().expect("nothing is held back");
}

/// Every connection opens with a cookie; what the kernel offers is kept where timestamps can carry it.
fn cookies_of_the_stack() {
    let stack = library();
    stack.set_setting("tcp_syncookies", "2").expect("a setting");
    // A probe of the kernel's that comes after the end of its connection looks like the answer to a cookie nobody sent.
    sysctl("tcp_early_retrans", "0");
    let data = pattern(1 << 20);
    for ends in FAMILIES {
        let _listener = echo(&stack, ends.at(7), 16);
        for (timestamps, kept) in [("1", TIMESTAMPS | SACK | SCALE), ("0", 0)] {
            sysctl("tcp_timestamps", timestamps);
            let stream = connect(ends.at(7));
            assert_eq!(options(&stream) & 7, kept);
            echoed(stream, &data);
        }
    }
    let counters = stack.counters();
    assert_eq!((counters.tcp_ext_syncookies_sent, counters.tcp_ext_syncookies_recv), (4, 4));
    // So does what the kernel sends again because the machine stood still for its whole timeout; nothing else may.
    let (failed, again) = (counters.tcp_ext_syncookies_failed, counted("TCPTimeouts"));
    assert!(failed <= again, "{failed} answers refused, and the kernel sent again {again} times");
}

fn cookies_of_the_kernel() {
    let stack = library();
    sysctl("tcp_syncookies", "2");
    for ends in FAMILIES {
        let listener = crate::world::listener(0);
        let port = listener.local_addr().expect("bound").port();
        let client = ours::TcpStream::connect(&stack, ends.kernel_at(port)).expect("a cookie is a SYN-ACK");
        let kernel = accept(&listener);
        (&client).write_all(b"hello").expect("sent");
        let mut word = [0; 5];
        (&kernel).read_exact(&mut word).expect("arrived");
        let info = client.info().expect("open");
        assert!(info.timestamps && info.sack && info.window_scaling);
    }
    assert_eq!(counted("SyncookiesRecv"), 2);
}

/// SYNs from addresses that nobody has, about 20,000 in a second, until `over`.
fn flood(to: SocketAddr, over: &AtomicBool) -> u32 {
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
        .unwrap_or_else(|error| skip(&format!("raw socket: {error}")));
    let SocketAddr::V4(to) = to else { unreachable!("the flood is IPv4's") };
    let mut sent = 0u32;
    while !over.load(Ordering::Relaxed) {
        let source = Ipv4Addr::new(10, 9, 0, 3 + (sent % 250) as u8);
        let segment = tunstack::wire::tcp::Segment {
            src_port: 1024 + (sent / 250 % 60_000) as u16,
            dst_port: to.port(),
            seq: tunstack::wire::seq::SeqNumber(sent.wrapping_mul(0x9e37_79b9)),
            ack: Default::default(),
            flags: tunstack::wire::tcp::Flags::SYN,
            window: 65_535,
            urgent: 0,
            options: tunstack::wire::tcp::Options { mss: Some(1460), ..Default::default() },
            payload: &[],
        };
        let mut header = [0; tunstack::wire::tcp::MAX_HEADER_LEN];
        let len = tunstack::wire::tcp::emit_header(&mut header, &segment);
        tunstack::wire::tcp::fill_checksum(&mut header[..len], source.into(), (*to.ip()).into(), &[]);
        // The kernel fills in the length, the identification and the checksum.
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend(source.octets());
        packet.extend(to.ip().octets());
        packet.extend(&header[..len]);
        let destination = std::net::SocketAddrV4::new(*to.ip(), 0);
        // One that is lost is no loss.
        let _ = rustix::net::sendto(&socket, &packet, SendFlags::DONTWAIT, &destination);
        sent += 1;
        // What finds the device's queue full is lost, and not only SYNs: some room is left.
        if sent.is_multiple_of(100) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    sent
}

/// Kernel clients come and go while a flood fills the queue of the listener.
fn served_during_a_flood() {
    let stack = library();
    let ends = FAMILIES[0];
    let _listener = echo(&stack, ends.at(7), 64);
    let over = AtomicBool::new(false);
    let data = pattern(20_000);
    std::thread::scope(|scope| {
        let flooder = scope.spawn(|| flood(ends.at(7), &over));
        crate::world::eventually("the queue is full", || stack.counters().tcp_ext_syncookies_sent > 1000);
        for _ in 0..50 {
            let stream = connect(ends.at(7));
            assert_eq!(options(&stream) & 7, TIMESTAMPS | SACK | SCALE);
            // A cookie comes back with the first octet after the SYN or not at all: until it has, nothing else is sent.
            let mut word = [0; 5];
            (&stream).write_all(b"hello").expect("sent");
            (&stream).read_exact(&mut word).expect("answered");
            echoed(stream, &data);
        }
        over.store(true, Ordering::Relaxed);
        let sent = flooder.join().expect("no panic");
        assert!(sent > 1000, "{sent} SYNs");
    });
    let counters = stack.counters();
    assert!(counters.tcp_ext_syncookies_recv >= 40, "{} by cookie", counters.tcp_ext_syncookies_recv);
    let half_open = stack.sockets().iter().filter(|socket| socket.state == "SYN-RECEIVED").count();
    assert!(half_open <= 65, "{half_open} half open");
}

/// A kernel socket that leaves its SYN to the first write.
fn eager(ends: Ends, port: u16) -> TcpStream {
    let family = if ends.stack.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("descriptors");
    set(&socket, libc::TCP_FASTOPEN_CONNECT, 1);
    rustix::net::connect(&socket, &ends.at(port)).expect("now or later");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).expect("valid");
    stream
}

fn fast_open_to_the_stack() {
    let stack = library();
    stack.set_setting("tcp_fastopen", "3").expect("a setting");
    sysctl("tcp_fastopen", "1");
    let data = pattern(100_000);
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let listener = echo(&stack, ends.at(7), 64);
        listener.set_fast_open(16).expect("an option");
        assert_eq!(listener.fast_open().expect("an option"), 16);
        // The first connection gets a cookie, the others use it.
        for round in 0..4 {
            let mut stream = eager(ends, 7);
            stream.write_all(b"GET it").expect("sent");
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).expect("answered");
            assert_eq!(&answer, b"GET it");
            assert_eq!(options(&stream) & SYN_DATA != 0, round > 0, "round {round}");
            echoed(stream, &data);
        }
        assert_eq!(stack.counters().tcp_ext_fast_open_cookie_reqd, 1 + index as u64);
        assert_eq!(stack.counters().tcp_ext_fast_open_passive, 3 * (1 + index as u64));
    }
    assert_eq!(stack.counters().tcp_ext_fast_open_passive_fail, 0);
}

fn fast_open_to_the_kernel() {
    let stack = library();
    sysctl("tcp_fastopen", "2");
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let listener: TcpListener = crate::world::listener(0);
        set(&listener, libc::TCP_FASTOPEN, 16);
        let port = listener.local_addr().expect("bound").port();
        let text = pattern(5000);
        for round in 0..4 {
            let client = ours::TcpStream::connect_with(&stack, ends.kernel_at(port), &text).expect("answers");
            let mut kernel = accept(&listener);
            let mut got = vec![0; text.len()];
            kernel.read_exact(&mut got).expect("arrived");
            same(&got, &text, "what went with the SYN and after it");
            assert_eq!(client.info().expect("open").syn_data, round > 0, "round {round}");
            kernel.write_all(b"thanks").expect("sent");
            let mut answer = [0; 6];
            (&client).read_exact(&mut answer).expect("answered");
        }
        // BSD's way, in one call.
        let socket = ours::Socket::new(
            &stack,
            if ends.stack.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 },
            libc::SOCK_STREAM,
            0,
        )
        .expect("a socket");
        let sent = socket.sendto(&text, libc::MSG_FASTOPEN, ends.kernel_at(port)).expect("answers");
        assert_eq!(sent, text.len());
        assert!(socket.tcp_info().expect("open").syn_data);
        assert_eq!(stack.counters().tcp_ext_fast_open_active, 4 * (1 + index as u64));
    }
    assert_eq!((counted("TCPFastOpenPassive"), counted("TCPFastOpenPassiveFail")), (8, 0));
}
