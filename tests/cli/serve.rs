//! `tunstack serve`, with the kernel's sockets as clients.

use crate::harness::{Node, Test, Who, ip, private, skip, test, test_as};
use crate::program::{Running, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("serve::classic_services_over_tcp", classic_services_over_tcp),
    test("serve::classic_services_over_udp", classic_services_over_udp),
    test("serve::udp_never_answers_services", udp_never_answers_services),
    test_as("serve::rootless", Who::Nobody, Node::Open, classic_services_over_tcp),
    test("serve::http", http),
    test("serve::files", files),
    test("serve::chat", chat),
    test("serve::attaches_and_configures_nothing", attaches_and_configures_nothing),
    test("serve::signals_end_it", signals_end_it),
    test("serve::deleted_interface", deleted_interface),
    test("serve::peer_in_another_network", peer_in_another_network),
    test("serve::thousand_connections", thousand_connections),
    test("serve::settings_are_taken", settings_are_taken),
];

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("any timeout");
    stream
}

fn classic_services_over_tcp() {
    private();
    let server = Running::start("serve echo discard daytime chargen", "serving");
    for host in ["10.9.0.2", "[fd09::2]"] {
        // Echo: everything comes back, also what is still under way when this end is closed.
        let mut echo = connect(&format!("{host}:7"));
        let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        let (mut writer, data) = (echo.try_clone().expect("descriptors"), sent.clone());
        let writing = std::thread::spawn(move || {
            writer.write_all(&data).expect("taken");
            writer.shutdown(Shutdown::Write).expect("open");
        });
        let mut back = Vec::new();
        echo.read_to_end(&mut back).expect("echoed to the end");
        writing.join().expect("wrote");
        assert!(back == sent, "{} of {} octets came back right", back.len(), sent.len());

        let mut daytime = connect(&format!("{host}:13"));
        let mut text = String::new();
        daytime.read_to_string(&mut text).expect("text and then the end");
        assert!(text.ends_with("-UTC\r\n") && text.lines().count() == 1, "{text:?}");

        let mut chargen = connect(&format!("{host}:19"));
        let mut first = vec![0; 200_000];
        chargen.read_exact(&mut first).expect("endless");
        assert!(
            first.starts_with(b" !\"#$%&'") && first[74..].starts_with(b"!\"#$%"),
            "the pattern of RFC 864"
        );
        assert_eq!(first[7030 * 5..][..7030], first[..7030]);
        // RFC 793 calls for an answer to our end: its own.
        chargen.shutdown(Shutdown::Write).expect("open");
        chargen.read_to_end(&mut Vec::new()).expect("it ends too");

        let mut discard = connect(&format!("{host}:9"));
        discard.write_all(&sent).expect("taken");
        discard.shutdown(Shutdown::Write).expect("open");
        assert_eq!(discard.read(&mut [0; 10]).expect("closed"), 0, "and it says nothing");
    }
    server.stop();
}

fn ask(from: &str, to: &str, data: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(from).expect("free");
    socket.set_read_timeout(Some(Duration::from_millis(1500))).expect("any timeout");
    socket.connect(to).expect("routed");
    socket.send(data).expect("sent");
    let mut buffer = [0; 65_536];
    socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec())
}

fn classic_services_over_udp() {
    private();
    let server = Running::start("serve echo discard daytime chargen", "serving");
    for (here, host) in [("10.9.0.1:0", "10.9.0.2"), ("[fd09::1]:0", "[fd09::2]")] {
        assert_eq!(ask(here, &format!("{host}:7"), b"hello").as_deref(), Some(&b"hello"[..]));
        let big = vec![b'x'; 4000];
        assert_eq!(ask(here, &format!("{host}:7"), &big), Some(big), "in fragments both ways");
        let time = ask(here, &format!("{host}:13"), b"").expect("an answer");
        assert!(time.ends_with(b"-UTC\r\n"));
        assert!(ask(here, &format!("{host}:19"), b"?").expect("an answer").len() <= 512);
        assert_eq!(ask(here, &format!("{host}:9"), b"nothing"), None);
    }
    server.stop();
}

fn udp_never_answers_services() {
    private();
    let server = Running::start("serve echo daytime chargen", "serving");
    for from in ["10.9.0.1:7", "10.9.0.1:13", "10.9.0.1:19"] {
        for to in ["10.9.0.2:7", "10.9.0.2:13", "10.9.0.2:19"] {
            let socket = UdpSocket::bind(from).expect("root in here");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("any timeout");
            socket.send_to(b"loop", to).expect("sent");
            assert!(socket.recv(&mut [0; 1000]).is_err(), "{to} answered {from}");
        }
    }
    assert!(ask("10.9.0.1:20", "10.9.0.2:7", b"no loop").is_some());
    server.stop();
}

fn curl(arguments: &[&str]) -> (i32, Vec<u8>) {
    let command =
        Command::new("curl").args(["-sS", "--noproxy", "*", "--max-time", "30"]).args(arguments).output();
    match command {
        Ok(output) => (output.status.code().unwrap_or(-1), output.stdout),
        Err(error) => skip(&format!("curl cannot be run ({error}): apt install curl")),
    }
}

fn http() {
    private();
    let server = Running::start("serve http --port http=8080", "http 8080");
    let (code, page) = curl(&["http://10.9.0.2:8080/"]);
    assert_eq!(code, 0);
    assert!(String::from_utf8_lossy(&page).contains("<h1>Hello from tunstack</h1>"));
    let (code, body) = curl(&["-g", "http://[fd09::2]:8080/bytes/3000001"]);
    assert_eq!((code, body.len()), (0, 3_000_001));
    assert!(body.iter().all(|octet| *octet == b'0'));
    let statistics = "%{http_code} %{num_connects}\n";
    let (code, text) = curl(&["-w", statistics, "http://10.9.0.2:8080/nothing", "http://10.9.0.2:8080/time"]);
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        code == 0 && text.contains("404 1\n") && text.ends_with("200 0\n"),
        "one connection for both: {text}"
    );
    let (code, text) = curl(&["-w", "%{http_code}", "-d", "x=1", "http://10.9.0.2:8080/"]);
    assert_eq!((code, text.as_slice()), (0, &b"only GET and HEAD\n405"[..]));
    server.stop();
}

fn files() {
    private();
    let folder = std::env::temp_dir().join(format!("tunstack-files-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("a")).expect("room");
    let data: Vec<u8> = (0..777_777u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(folder.join("a/b.bin"), &data).expect("room");
    std::fs::write(folder.join("index.html"), "start").expect("room");
    std::os::unix::fs::symlink("/etc/hosts", folder.join("link")).expect("room");
    let server = Running::start(&format!("serve http --root {}", folder.display()), "serving");
    assert_eq!(curl(&["http://10.9.0.2/a/b.bin"]).1, data);
    assert_eq!(curl(&["http://10.9.0.2/"]).1, b"start");
    for path in ["link", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd"] {
        let url = format!("http://10.9.0.2/{path}");
        let (_, code) = curl(&["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        assert_eq!(String::from_utf8_lossy(&code), "404", "{path}");
    }
    server.stop();
    std::fs::remove_dir_all(&folder).expect("ours");
}

fn chat() {
    private();
    let server = Running::start("serve chat", "serving");
    let mut ann = connect("10.9.0.2:5222");
    let mut bob = connect("[fd09::2]:5222");
    let read_until = |stream: &mut TcpStream, wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            let mut buffer = [0; 1000];
            let n = stream.read(&mut buffer).expect("more comes");
            assert!(n > 0, "{text}");
            text += &String::from_utf8_lossy(&buffer[..n]);
        }
        text
    };
    ann.write_all(b"/name ann\n").expect("taken");
    read_until(&mut ann, "is now called ann\n");
    bob.write_all(b"/name bob\n").expect("taken");
    read_until(&mut bob, "is now called bob\n");
    ann.write_all(b"hello ").expect("taken");
    ann.write_all(b"bob\r\n").expect("taken");
    assert!(read_until(&mut bob, "<ann> hello bob\n").lines().count() <= 3);
    ann.write_all(b"/quit\n").expect("taken");
    ann.read_to_end(&mut Vec::new()).expect("closed");
    read_until(&mut bob, "* ann left\n");
    server.stop();
}

fn attaches_and_configures_nothing() {
    private();
    ip("tuntap add dev t7 mode tun");
    ip("address add 10.7.0.1/24 dev t7");
    ip("link set t7 addrgenmode none mtu 1400");
    ip("link set t7 up");
    let before = ip("-d address show t7");
    let server =
        Running::start("serve echo discard chargen --tun t7 --addr 10.7.0.2/24 --offload off", "serving");
    let mut echo = connect("10.7.0.2:7");
    echo.write_all(b"attached").expect("taken");
    let mut back = [0; 8];
    echo.read_exact(&mut back).expect("echoed");
    server.stop();
    // Attached or not is the only difference.
    let without_state = |text: &str| {
        text.replace("state UNKNOWN", "")
            .replace("state DOWN", "")
            .replace("NO-CARRIER,", "")
            .replace(",LOWER_UP", "")
    };
    assert_eq!(without_state(&ip("-d address show t7")), without_state(&before));
}

fn deleted_interface() {
    private();
    let server = Running::start("serve echo --tun t7", "serving");
    ip("link del t7");
    let (status, _, error) = server.end();
    assert_eq!(
        (status.code(), error.as_str()),
        (Some(1), "tunstack: t7 was deleted, and the stack ended with it\n")
    );
}

/// The two ends of the link need no common prefix, and each finds the other.
fn peer_in_another_network() {
    private();
    for addresses in ["--addr 10.9.0.2/24 --peer 10.8.0.1/24", "--addr 10.9.0.2/32 --peer 10.9.0.1/32"] {
        let server = Running::start(&format!("serve echo {addresses}"), "serving");
        let ping = Command::new("ping").args(["-c", "1", "-W", "5", "10.9.0.2"]).output();
        match ping {
            Ok(said) => {
                assert!(said.status.success(), "{addresses}: {}", String::from_utf8_lossy(&said.stdout))
            }
            Err(error) => skip(&format!("ping cannot be run ({error}): apt install iputils-ping")),
        }
        let mut echo = connect("10.9.0.2:7");
        echo.write_all(b"hello").expect("taken");
        echo.read_exact(&mut [0; 5]).expect("echoed");
        drop(echo);
        server.stop();
    }
    let there = std::net::TcpListener::bind("0.0.0.0:8000").expect("free");
    let answering = std::thread::spawn(move || there.accept().expect("came").1.ip());
    let said =
        crate::program::run_with("connect 10.8.0.1 8000 -w 5 --addr 10.9.0.2/24 --peer 10.8.0.1/24", b"");
    assert!(said.error.starts_with("connected to 10.8.0.1:8000"), "{said:?}");
    assert_eq!(answering.join().expect("accepted"), std::net::Ipv4Addr::new(10, 9, 0, 2));
}

fn signals_end_it() {
    private();
    for signal in [Signal::INT, Signal::TERM] {
        let server = Running::start("serve echo --tun t7", "serving");
        let _open = connect("10.9.0.2:7");
        server.signal(signal);
        let (status, _, error) = server.end();
        assert!(status.success(), "{status} {error}");
        assert!(!tunstack::link::exists("t7").expect("can be asked"), "the interface is gone");
    }
}

fn thousand_connections() {
    private();
    const MANY: usize = 1000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 1200) {
        skip("this user may open fewer than 1200 files");
    }
    let more = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).expect("up to the maximum");
    let server = Running::start("serve echo", "serving");
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.id())).expect("it runs").count();
    let before = threads();
    let mut all: Vec<TcpStream> = (0..MANY).map(|_| connect("10.9.0.2:7")).collect();
    for (number, stream) in all.iter_mut().enumerate() {
        stream.write_all(&number.to_be_bytes()).expect("taken");
    }
    for (number, stream) in all.iter_mut().enumerate() {
        let mut back = [0; 8];
        stream.read_exact(&mut back).expect("echoed");
        assert_eq!(usize::from_be_bytes(back), number);
    }
    assert_eq!(threads(), before, "no thread for a connection");
    drop(all);
    eventually("new ones are served", || connect("10.9.0.2:7").write_all(b"x").is_ok());
    server.stop();
}

fn settings_are_taken() {
    private();
    let server = Running::start("serve echo --set tcp_timestamps=0 --set tcp_sack=0 --ladder", "serving");
    drop(connect("10.9.0.2:7"));
    std::thread::sleep(Duration::from_millis(100));
    let error = server.stop();
    let options = error.lines().skip_while(|line| !line.contains("SYN ACK")).nth(1).unwrap_or_default();
    assert_eq!(options.trim(), "mss 1460, wscale 10", "{error}");
    assert!(error.contains("closed in good order, by the peer first"), "{error}");
}
