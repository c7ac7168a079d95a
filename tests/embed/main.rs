//! What an embedder builds: the library alone, without the command line. `scripts/test` runs this with
//! `--no-default-features`.

use std::io::{Read, Write};
use std::net::Shutdown;
use tunstack::link::wire;
use tunstack::runtime::Stack;
use tunstack::socket::{TcpListener, TcpStream, UdpSocket};

/// Both ends of a stream and a datagram, on two stacks.
fn exchange(one: &Stack, other: &Stack) {
    let listener = TcpListener::bind(other, "10.9.0.2:7").expect("bind");
    let echo = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept");
        std::io::copy(&mut &stream, &mut &stream).expect("echo")
    });
    let mut stream = TcpStream::connect(one, "10.9.0.2:7").expect("connect");
    stream.write_all(&[7; 100_000]).expect("write");
    stream.shutdown(Shutdown::Write).expect("shutdown");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("read");
    assert!(back == [7; 100_000]);
    assert_eq!(echo.join().expect("server"), 100_000);
    let server = UdpSocket::bind(other, "10.9.0.2:9").expect("bind");
    let client = UdpSocket::bind(one, "0.0.0.0:0").expect("bind");
    client.send_to(b"datagram", "10.9.0.2:9").expect("send");
    assert_eq!(server.recv(&mut [0; 16]).expect("recv"), 8);
}

fn stack(address: &str) -> tunstack::runtime::Builder {
    Stack::builder().address(address.parse().expect("valid"))
}

#[test]
fn two_stacks_in_one_program() {
    let (left, right) = wire(1500).expect("wire");
    let one = stack("10.9.0.1/24").device(left).start().expect("start");
    let other = stack("10.9.0.2/24").device(right).start().expect("start");
    exchange(&one, &other);
}

#[test]
fn a_stack_that_talks_to_itself() {
    let one = stack("10.9.0.2/24").start().expect("start");
    exchange(&one, &one);
}

#[test]
fn a_name_that_no_interface_can_have() {
    let error = stack("10.9.0.2/24").tun("a name that cannot be").start().expect_err("refused");
    assert!(error.to_string().contains("choose a name like tun0"), "{error}");
}
