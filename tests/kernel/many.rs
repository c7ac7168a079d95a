//! Many kernel connections at once.

use crate::harness::{Test, test};
use crate::world::{Ends, FAMILIES, LIMIT, descriptors, serve};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

pub const TESTS: &[Test] = &[
    test("many::a_thousand_at_once", a_thousand_at_once),
    test("many::a_thousand_after_each_other", a_thousand_after_each_other),
];

const COUNT: usize = 1000;

/// Asks for all of them before any is answered.
fn connect_all(ends: Ends, port: u16) -> Vec<TcpStream> {
    let family = if ends.stack.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let streams: Vec<TcpStream> = (0..COUNT)
        .map(|_| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(family, SocketType::STREAM, flags, None).expect("descriptors");
            assert_eq!(connect(&socket, &ends.at(port)), Err(Errno::INPROGRESS));
            socket.into()
        })
        .collect();
    let until = Instant::now() + LIMIT;
    for stream in &streams {
        ready(stream, PollFlags::OUT, until);
        assert!(stream.take_error().expect("asked").is_none(), "refused");
    }
    streams
}

fn ready(stream: &TcpStream, wanted: PollFlags, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    assert_eq!(poll(&mut [PollFd::new(stream, wanted)], Some(&left)), Ok(1), "not ready in time");
}

fn a_thousand_at_once() {
    descriptors(4096);
    let server = serve("echo");
    for ends in FAMILIES {
        let mut streams = connect_all(ends, 7);
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&(number as u64).to_be_bytes()).expect("room");
        }
        let until = Instant::now() + LIMIT;
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut answer = [0; 8];
            ready(stream, PollFlags::IN, until);
            stream.read_exact(&mut answer).expect("answered");
            assert_eq!(u64::from_be_bytes(answer), number as u64, "its own answer");
        }
        // All of them are still there.
        for stream in &mut streams {
            stream.write_all(b"again").expect("room");
        }
        for stream in &mut streams {
            let mut answer = [0; 5];
            ready(stream, PollFlags::IN, until);
            stream.read_exact(&mut answer).expect("answered");
            assert_eq!(&answer, b"again");
        }
    }
    server.end();
}

fn a_thousand_after_each_other() {
    let server = serve("echo");
    for ends in FAMILIES {
        for number in 0..COUNT as u64 {
            let mut stream = crate::world::connect(ends.at(7));
            stream.write_all(&number.to_be_bytes()).expect("sent");
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).expect("answered");
            assert_eq!(u64::from_be_bytes(answer), number);
        }
    }
    server.end();
}
