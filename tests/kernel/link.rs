//! What happens to the interface while data runs over it.

use crate::harness::{Test, ip, test};
use crate::world::{FAMILIES, Program, connect, library, pattern, read_all, same, serve};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use tunstack::base::Errno;
use tunstack::socket as ours;

pub const TESTS: &[Test] = &[
    test("link::deleted_under_a_server", deleted_under_a_server),
    test("link::deleted_under_sockets", deleted_under_sockets),
    test("link::down_for_a_while", down_for_a_while),
    test("link::attached_and_left", attached_and_left),
];

/// Some of an endless transfer, so that it surely runs.
fn running(stream: &mut TcpStream) {
    stream.read_exact(&mut vec![0; 1 << 20]).expect("no end");
}

fn deleted_under_a_server() {
    let server = serve("chargen discard echo");
    let mut stream = connect(FAMILIES[0].at(19));
    running(&mut stream);
    ip("link delete tun0");
    let (code, said) = server.finish();
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("tun0 was deleted, and the stack ended with it"), "{said}");
}

/// Every call on every socket, waiting or not, ends with the same named error.
fn deleted_under_sockets() {
    let stack = library();
    let listener = ours::TcpListener::bind(&stack, FAMILIES[0].at(8000)).expect("free");
    let kernel = connect(FAMILIES[0].at(8000));
    let stream = listener.accept().expect("a connection").0;
    let reader = stream.try_clone().expect("a socket");
    let datagrams = ours::UdpSocket::bind(&stack, "0.0.0.0:8001").expect("free");
    let gone = [Errno::ENODEV, Errno::ENETDOWN].map(|errno| Some(errno.code()));
    let endings: Vec<std::io::Error> = std::thread::scope(|scope| {
        let waiting = [
            scope.spawn(|| {
                loop {
                    if let Err(error) = (&stream).write(&[0; 65_536]) {
                        return error;
                    }
                }
            }),
            scope.spawn(|| (&reader).read(&mut [0; 8]).expect_err("nothing comes")),
            scope.spawn(|| listener.accept().map(drop).expect_err("nobody comes")),
            scope.spawn(|| datagrams.recv(&mut [0; 8]).expect_err("nothing comes")),
        ];
        let mut first = kernel.try_clone().expect("descriptors");
        running(&mut first);
        std::thread::sleep(Duration::from_millis(100));
        ip("link delete tun0");
        waiting.map(|thread| thread.join().expect("no panic")).into()
    });
    for error in &endings {
        assert!(gone.contains(&error.raw_os_error()), "{error}: {endings:?}");
    }
    let again = ours::TcpStream::connect(&stack, FAMILIES[0].kernel_at(8000)).expect_err("no link");
    assert!(gone.contains(&again.raw_os_error()), "{again}");
}

/// An interface that is down loses packets; nothing else is lost.
fn down_for_a_while() {
    let server = serve("echo");
    let data = pattern(8 << 20);
    let stream = connect(FAMILIES[0].at(7));
    let got = std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&data).expect("sent");
            stream.shutdown(Shutdown::Write).expect("open");
        });
        let mut first = vec![0; 1 << 20];
        (&stream).read_exact(&mut first).expect("it runs");
        ip("link set tun0 down");
        std::thread::sleep(Duration::from_millis(700));
        ip("link set tun0 up");
        first.extend(read_all(&stream));
        first
    });
    same(&got, &data, "after a link that was down");
    server.end();
}

/// A device that was there before is there afterwards, as it was.
fn attached_and_left() {
    crate::harness::private();
    ip("tuntap add dev tun5 mode tun");
    ip("address add 10.9.0.1/24 dev tun5");
    ip("link set tun5 up");
    let server = Program::beside("serve --tun tun5 --addr 10.9.0.2/24 echo", "serving");
    let mut stream = connect(FAMILIES[0].at(7));
    stream.write_all(b"hello").expect("sent");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("answered");
    drop(stream);
    server.end();
    assert!(ip("address show dev tun5").contains("10.9.0.1/24"));
    let refused =
        TcpStream::connect_timeout(&FAMILIES[0].at(7), Duration::from_millis(300)).expect_err("gone");
    assert!(matches!(
        refused.kind(),
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    ));
}
