//! The sample programs, each with the kernel on the other side.

use crate::harness::{Test, private, test};
use crate::program::{run, tunstack};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("samples::tcp_server", tcp_server),
    test("samples::tcp_client", tcp_client),
    test("samples::udp_server", udp_server),
    test("samples::udp_client", udp_client),
];

fn tcp_server() {
    private();
    let mut child = tunstack("sample tcp-server").spawn().expect("built");
    let mut lines =
        BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("listening on 10.9.0.2:5000"));
    for round in 0..2 {
        let mut stream = TcpStream::connect("10.9.0.2:5000").expect("it listens");
        stream.write_all(b"hello").expect("taken");
        let mut back = [0; 5];
        stream.read_exact(&mut back).expect("answered");
        assert_eq!(&back, b"hello");
        stream.shutdown(Shutdown::Write).expect("open");
        assert_eq!(stream.read(&mut back).expect("closed"), 0, "{round}");
        let said: Vec<String> = lines.by_ref().take(3).collect();
        assert!(said[0].starts_with("connection from 10.9.0.1:"), "{said:?}");
        assert!(said[1].ends_with("says \"hello\"") && said[2].ends_with("closed"), "{said:?}");
    }
    child.kill().expect("our child");
    child.wait().expect("our child");
}

fn tcp_client() {
    private();
    let listener = TcpListener::bind("0.0.0.0:5000").expect("free");
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text and then the end");
        stream.write_all(format!("you said {text}").as_bytes()).expect("taken");
    });
    let said = run("sample tcp-client");
    serving.join().expect("served");
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<&str> = said.output.lines().collect();
    assert!(
        lines[0].starts_with("connected from 10.9.0.2:") && lines[0].ends_with(" to 10.9.0.1:5000"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["you said hello, server"]);
    let said = run("sample tcp-client --port 5001");
    assert_eq!(
        (said.error.as_str(), said.code),
        ("tunstack: cannot talk with a server at 10.9.0.1:5001: Connection refused\n", Some(1))
    );
}

fn udp_server() {
    private();
    let mut child = tunstack("sample udp-server").spawn().expect("built");
    let mut lines =
        BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("waiting on 10.9.0.2:5000"));
    let socket = UdpSocket::bind("10.9.0.1:0").expect("free");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("any timeout");
    socket.send_to(b"hello", "10.9.0.2:5000").expect("sent");
    let mut back = [0; 100];
    assert_eq!(socket.recv(&mut back).expect("answered"), 5);
    assert!(lines.next().is_some_and(|line| line.ends_with("says \"hello\"")));
    child.kill().expect("our child");
    child.wait().expect("our child");
}

fn udp_client() {
    private();
    let socket = UdpSocket::bind("0.0.0.0:5000").expect("free");
    let serving = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        // The first question is lost; it asks again.
        socket.recv_from(&mut buffer).expect("it asks");
        let (n, from) = socket.recv_from(&mut buffer).expect("it asks again");
        socket.send_to(&buffer[..n], from).expect("sent");
    });
    let said = run("sample udp-client");
    serving.join().expect("served");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.output, "no answer to question 1\n10.9.0.1:5000 says hello, server\n");
}
