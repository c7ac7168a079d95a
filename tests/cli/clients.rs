//! The clients, with the kernel's sockets as servers.

use crate::harness::{Test, private, test};
use crate::program::{Running, refuses, run, run_with, tunstack};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("clients::ping", ping),
    test("clients::ping_everybody", ping_everybody),
    test("clients::ifconfig", ifconfig),
    test("clients::get", get),
    test("clients::get_redirected", get_redirected),
    test("clients::get_from_a_silent_server", get_from_a_silent_server),
    test("clients::connect", connect),
    test("clients::connect_refused", connect_refused),
    test("clients::connect_udp", connect_udp),
    test("clients::listen", listen),
    test("clients::listen_udp", listen_udp),
    test("clients::send_and_recv", send_and_recv),
    test("clients::chat_in_a_room", chat_in_a_room),
    test("clients::chat_in_a_group", chat_in_a_group),
    test("clients::resolve_and_services", resolve_and_services),
    test("clients::doctor", doctor),
];

/// A server of the kernel at `10.9.0.1:port`, which exists once tunstack's interface does: so it listens everywhere.
fn server<T: Send + 'static>(
    port: u16,
    serve: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("free");
    std::thread::spawn(move || serve(listener))
}

fn ping() {
    private();
    for host in ["10.9.0.1", "fd09::1"] {
        let said = run(&format!("ping -c 3 -i 0.05 {host}"));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(
            said.output.contains(&format!("64 bytes from {host}: icmp_seq=3 ttl=64 time=")),
            "{}",
            said.output
        );
        assert!(said.output.contains("3 packets transmitted, 3 received, 0% packet loss"), "{}", said.output);
    }
    let said = run("ping -c 1 -s 4000 10.9.0.1");
    assert!(said.output.contains("4008 bytes from 10.9.0.1"), "in fragments: {}", said.output);
    let said = run("ping -c 2 -i 0.05 10.9.0.77");
    assert_eq!(said.code, Some(1));
    assert!(said.output.contains("2 packets transmitted, 0 received, 100% packet loss"), "{}", said.output);
    assert_eq!(
        said.error,
        "tunstack: 10.9.0.77 does not answer: `tunstack doctor` shows what may be in the way\n"
    );
}

fn ping_everybody() {
    private();
    refuses(
        "ping -c 1 10.9.0.255",
        "10.9.0.255 is a broadcast address: --broadcast pings everybody on that network",
    );
    std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts", "0").expect("ours in here");
    let said = run("ping -c 2 -i 0.05 -b 10.9.0.255");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.output.contains("64 bytes from 10.9.0.1: icmp_seq=2 ttl=64 time="), "{}", said.output);
}

fn ifconfig() {
    private();
    let said = run("ifconfig --addr 10.9.4.2/22 --tun t7 --mtu 1400");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.output.starts_with(
            "t7: mtu 1400\n        inet 10.9.4.2  netmask 255.255.252.0  network 10.9.4.0  broadcast 10.9.7.255\n        gateway 10.9.4.1\n"
        ),
        "{}",
        said.output
    );
    assert!(run("ifconfig --all").output.contains("TcpRetransSegs"));
}

/// Reads a request and gives this answer.
fn answer(listener: &TcpListener, answer: &[u8]) -> String {
    let (mut stream, _) = listener.accept().expect("somebody comes");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).expect("a whole request");
        request.push(octet[0]);
    }
    stream.write_all(answer).expect("taken");
    String::from_utf8(request).expect("text")
}

fn get() {
    private();
    let serving = server(8000, |listener| {
        let first = answer(&listener, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, cut");
        answer(
            &listener,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n, w\r\n0\r\n\r\n",
        );
        answer(&listener, b"HTTP/1.0 200 OK\r\n\r\nto the end");
        answer(&listener, b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nsorry");
        answer(&listener, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut");
        answer(&listener, b"SSH-2.0-OpenSSH\r\n\r\n");
        first
    });
    assert_eq!(run("get http://10.9.0.1:8000/a?b").output, "hello");
    assert_eq!(run("get http://10.9.0.1:8000/").output, "hello, w");
    let said = run("get -i 10.9.0.1:8000");
    assert_eq!(said.output, "HTTP/1.0 200 OK\n\nto the end");
    let said = run("get http://10.9.0.1:8000/");
    assert_eq!((said.output.as_str(), said.code), ("sorry", Some(1)));
    assert_eq!(said.error, "tunstack: the server says 404 Not Found\n");
    let said = run("get http://10.9.0.1:8000/");
    assert_eq!(said.error, "tunstack: the server closed the connection in the middle of the answer\n");
    assert_eq!(
        run("get http://10.9.0.1:8000/").error,
        "tunstack: the answer is no HTTP/1: the first line is malformed\n"
    );
    let request = serving.join().expect("served");
    assert!(request.starts_with("GET /a?b HTTP/1.1\r\nHost: 10.9.0.1:8000\r\n"), "{request}");
}

fn get_from_a_silent_server() {
    private();
    let serving = server(8000, |listener| {
        let mut request = Vec::new();
        listener.accept().expect("somebody comes").0.read_to_end(&mut request).map(|_| request)
    });
    let said = run("get -w 1 http://10.9.0.1:8000/");
    assert_eq!(
        (said.error.as_str(), said.code),
        ("tunstack: the server said nothing for 1 s: --timeout gives it more\n", Some(1))
    );
    assert!(serving.join().expect("served").expect("a request").starts_with(b"GET / "));
}

fn get_redirected() {
    private();
    let serving = server(8000, |listener| {
        answer(&listener, b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
        let request = answer(&listener, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere");
        for _ in 0..6 {
            answer(&listener, b"HTTP/1.1 301 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
        }
        request
    });
    assert_eq!(run("get http://10.9.0.1:8000/").output, "here");
    let said = run("get http://10.9.0.1:8000/");
    assert!(said.error.ends_with("tunstack: gave up after 5 redirections\n"), "{said:?}");
    assert!(serving.join().expect("served").starts_with("GET /other "));
}

fn connect() {
    private();
    let serving = server(9001, |listener| {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut text = String::new();
        // Half a close: everything is read before anything is said.
        stream.read_to_string(&mut text).expect("text and then the end");
        stream.write_all(text.to_uppercase().as_bytes()).expect("taken");
    });
    let said = run_with("connect 10.9.0.1 9001", b"over the wire\n");
    assert_eq!((said.output.as_str(), said.code), ("OVER THE WIRE\n", Some(0)), "{said:?}");
    assert_eq!(said.error, "connected to 10.9.0.1:9001\n");
    serving.join().expect("served");
}

fn connect_refused() {
    private();
    let said = run("connect 10.9.0.1 9");
    assert_eq!(
        (said.error.as_str(), said.code),
        (
            "tunstack: cannot connect to 10.9.0.1:9: Connection refused: is a server listening there?\n",
            Some(1)
        )
    );
    let said = run("connect 10.9.0.1 no-such-service");
    assert_eq!(said.code, Some(2));
    assert!(
        said.error.starts_with("tunstack: 'no-such-service' is no port and no tcp service"),
        "{}",
        said.error
    );
}

fn connect_udp() {
    private();
    let socket = UdpSocket::bind("0.0.0.0:9002").expect("free");
    let serving = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        let (n, from) = socket.recv_from(&mut buffer).expect("somebody asks");
        socket.send_to(&buffer[..n].to_ascii_uppercase(), from).expect("sent");
    });
    let said = run_with("connect -u -w 1 10.9.0.1 9002", b"datagram\n");
    assert_eq!((said.output.as_str(), said.code), ("DATAGRAM\n", Some(0)), "{said:?}");
    serving.join().expect("served");
    let said = run_with("connect -u -w 5 10.9.0.1 9003", b"nobody\n");
    assert_eq!(said.error, "tunstack: 10.9.0.1:9003 answers that nobody listens there\n");
}

fn listen() {
    private();
    let mut command = tunstack("listen 9004");
    let mut listening = Running::from(
        {
            command.stdin(Stdio::piped());
            command
        },
        "listening on TCP port 9004",
    );
    listening.input().write_all(b"from here\n").expect("taken");
    let mut stream = TcpStream::connect("10.9.0.2:9004").expect("it listens");
    stream.write_all(b"from there\n").expect("taken");
    let mut said = [0; 10];
    stream.read_exact(&mut said).expect("what was typed before anybody came");
    assert_eq!(&said, b"from here\n");
    // Our end ends the other side's too.
    stream.shutdown(Shutdown::Write).expect("open");
    assert_eq!(stream.read(&mut said).expect("closed"), 0);
    let (status, output, error) = listening.end();
    assert!(status.success(), "{error}");
    assert_eq!(output, "from there\n");
}

fn listen_udp() {
    private();
    let mut command = tunstack("listen -u 9005");
    let mut listening = Running::from(
        {
            command.stdin(Stdio::piped());
            command
        },
        "listening on UDP port 9005",
    );
    let socket = UdpSocket::bind("10.9.0.1:0").expect("free");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("any timeout");
    socket.send_to(b"question", "10.9.0.2:9005").expect("sent");
    // Whoever sent last is answered; that one must have been heard first.
    std::thread::sleep(Duration::from_millis(300));
    listening.input().write_all(b"answer").expect("taken");
    let mut buffer = [0; 100];
    let n = socket.recv(&mut buffer).expect("an answer");
    assert_eq!(&buffer[..n], b"answer");
}

fn send_and_recv() {
    private();
    let path = std::env::temp_dir().join(format!("tunstack-send-{}", std::process::id()));
    let data: Vec<u8> = (0..4_194_304u32).map(|i| (i * 31 + i / 65_537) as u8).collect();
    std::fs::write(&path, &data).expect("room");
    let digest = sha256(&path);

    let expected = data.clone();
    let serving = server(9006, move |listener| {
        let mut got = Vec::new();
        listener.accept().expect("somebody comes").0.read_to_end(&mut got).expect("to the end");
        assert!(got == expected, "{} octets", got.len());
    });
    let said = run(&format!("send {} 10.9.0.1:9006", path.display()));
    serving.join().expect("received all");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.error.contains("sent 4194.3 kB in "), "{}", said.error);
    assert!(said.error.ends_with(&format!("SHA-256 {digest}\n")), "{}", said.error);

    let received = path.with_extension("back");
    let receiving = Running::start(
        &format!("recv {} --listen 9007", received.display()),
        "waiting for a connection to 10.9.0.2:9007",
    );
    let mut stream = TcpStream::connect("10.9.0.2:9007").expect("it waits");
    stream.write_all(&data).expect("taken");
    drop(stream);
    let (status, _, error) = receiving.end();
    assert!(status.success(), "{error}");
    assert!(error.ends_with(&format!("SHA-256 {digest}\n")), "{error}");
    assert!(std::fs::read(&received).expect("written") == data);
    std::fs::remove_file(&path).expect("ours");
    std::fs::remove_file(&received).expect("ours");
}

fn sha256(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("coreutils");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

fn chat_in_a_room() {
    private();
    let serving = server(5222, |listener| {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut text = Vec::new();
        while !text.ends_with(b"hello\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).expect("more comes");
            text.push(octet[0]);
        }
        stream.write_all(b"<bob> hi \x1b[31mann\n").expect("taken");
        String::from_utf8(text).expect("text")
    });
    let said = run_with("chat 10.9.0.1 --name ann --room garden", b"hello\n");
    assert_eq!(serving.join().expect("served"), "/name ann\n/join garden\nhello\n");
    assert_eq!(said.output, "<bob> hi [31mann\n");
}

fn chat_in_a_group() {
    private();
    let mut command = tunstack("chat --group --name ann");
    let mut chatting = Running::from(
        {
            command.stdin(Stdio::piped());
            command
        },
        "talking as ann",
    );
    let group = UdpSocket::bind("0.0.0.0:5223").expect("free");
    group.set_read_timeout(Some(Duration::from_secs(10))).expect("any timeout");
    group.send_to(b"<bob> hi\n", "10.9.0.2:5223").expect("sent");
    let mut input = chatting.input();
    input.write_all(b"hello all\n").expect("taken");
    let mut heard = String::new();
    while !heard.contains("hello all") {
        let mut buffer = [0; 100];
        let (n, from) = group.recv_from(&mut buffer).expect("a broadcast");
        assert_eq!(from.to_string(), "10.9.0.2:5223");
        heard += &String::from_utf8_lossy(&buffer[..n]);
    }
    assert!(heard.ends_with("<ann> hello all"), "{heard}");
    drop(input);
    let (status, output, error) = chatting.end();
    assert!(status.success(), "{error}");
    assert_eq!(output, "10.9.0.1 <bob> hi\n");
}

fn resolve_and_services() {
    private();
    let said = run("resolve localhost");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.output.contains("127.0.0.1"), "{}", said.output);
    let said = run("resolve no-such-name.invalid --server 10.9.0.1");
    assert_eq!(said.code, Some(1));
    assert!(said.error.starts_with("tunstack: no-such-name.invalid: "), "{}", said.error);
    assert!(run("services ssh").output.starts_with("ssh                  22/tcp"));
    assert!(run("services 3306").output.starts_with("mysql "));
    let said = run("services no-such");
    assert_eq!(
        (said.error.as_str(), said.code),
        (
            "tunstack: no well-known service is called or has the port 'no-such': `tunstack services` lists all\n",
            Some(1)
        )
    );
}

fn doctor() {
    private();
    let said = run("doctor --tun t7");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.output.contains("  OK    t7 can be made, is up and has a route to the stack, MTU 1500\n"),
        "{}",
        said.output
    );
    assert!(!tunstack::link::exists("t7").expect("can be asked"), "nothing is left");
    assert!(said.output.contains("iptables -t nat -A POSTROUTING -s 10.9.0.0/24"), "{}", said.output);
    crate::harness::ip("address add 10.9.0.2/32 dev lo");
    let said = run("doctor");
    assert_eq!(said.code, Some(1));
    assert!(said.output.contains("  MEND  10.9.0.2 belongs to the kernel"), "{}", said.output);
    for words in ["tuntap add dev t8 mode tun", "address add 10.8.0.1/24 dev t8", "link set t8 up mtu 1400"] {
        crate::harness::ip(words);
    }
    let said = run("doctor --tun t8 --addr 10.8.0.2/24 --mtu 1500");
    assert_eq!(said.code, Some(1));
    assert!(
        said.output.contains("  MEND  t8 exists and has an MTU of 1400: leave --mtu out"),
        "{}",
        said.output
    );
}
