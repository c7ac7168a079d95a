//! curl, ncat and iperf3 at the other end.

use crate::harness::{Test, private, skip, test};
use crate::relay;
use crate::world::{
    FAMILIES, Program, eventually, feed, host, library, on_both_devices, on_device, pattern, run, run_with,
    same, serve, succeeded, tunstack,
};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use tunstack::link::Offload;

pub const TESTS: &[Test] = &[
    test("programs::curl_gets_pages", curl_gets_pages),
    test("programs::curl_gets_a_long_file", curl_gets_a_long_file),
    test("programs::we_get_from_a_python_server", we_get_from_a_python_server),
    test("programs::ncat_echoed", ncat_echoed),
    test("programs::ncat_calls_us", ncat_calls_us),
    test("programs::we_call_ncat", we_call_ncat),
    test("programs::ncat_datagrams", ncat_datagrams),
    test("programs::iperf3_towards_the_stack", iperf3_towards_the_stack),
    test("programs::iperf3_from_the_stack", iperf3_from_the_stack),
    test("programs::iperf3_from_the_stack_plain", iperf3_from_the_stack_plain),
    test("programs::iperf3_datagrams", iperf3_datagrams),
];

const CURL: &str = "--silent --show-error --globoff --noproxy * --max-time 30";

/// Does anybody listen on this port of the kernel?
fn listens(port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|file| {
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("proc");
        table.lines().skip(1).any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[1].ends_with(&port) && words[3] == "0A"
        })
    })
}

/// A server program of the kernel's side that ends with the test.
struct Server(Child);

impl Server {
    fn start(program: &str, words: &str) -> Server {
        Server::with(program, words, Stdio::null)
    }

    /// One that is talked with over pipes.
    fn spawn(program: &str, words: &str) -> Server {
        Server::with(program, words, Stdio::piped)
    }

    fn with(program: &str, words: &str, pipe: fn() -> Stdio) -> Server {
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).stdin(pipe()).stdout(pipe()).stderr(Stdio::null());
        Server(command.spawn().unwrap_or_else(|error| skip(&format!("{program} cannot be run: {error}"))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn curl_gets_pages() {
    let server = serve("http");
    for ends in FAMILIES {
        let url = format!("http://{}/", ends.host());
        assert!(run("curl", &format!("{CURL} {url}")).contains("<h1>Hello from tunstack</h1>"));
        // Two requests on one connection, then one that finds nothing.
        let two = run("curl", &format!("{CURL} -w [%{{num_connects}}] {url}time {url}time"));
        assert_eq!(two.matches("GMT").count(), 2, "{two}");
        assert!(two.contains("[1]") && two.contains("[0]"), "one connection for both: {two}");
        let none = run("curl", &format!("{CURL} -o /dev/null -w %{{http_code}} {url}nothing"));
        assert_eq!(none, "404");
        assert!(run("curl", &format!("{CURL} --head {url}")).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    server.end();
}

/// As long as the usual send buffer many times over.
fn curl_gets_a_long_file() {
    let folder = std::env::temp_dir().join(format!("tunstack-kernel-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("room");
    let data = pattern(10_000_000);
    std::fs::write(folder.join("file"), &data).expect("room");
    on_both_devices(&format!("http --root {}", folder.display()), || {
        for ends in FAMILIES {
            let got = run_with("curl", &format!("{CURL} http://{}/file", ends.host()), b"");
            same(&got.stdout, &data, "the file");
        }
    });
    std::fs::remove_dir_all(&folder).expect("ours");
}

fn we_get_from_a_python_server() {
    private();
    let folder = std::env::temp_dir().join(format!("tunstack-kernel-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("room");
    let data = pattern(3_000_000);
    std::fs::write(folder.join("file"), &data).expect("room");
    let words = format!("-m http.server --bind :: --directory {} 8080", folder.display());
    let _server = Server::start("python3", &words);
    eventually("python listens", || listens(8080));
    for ends in FAMILIES {
        let words = format!("get --tun tun0 http://{}:8080/file", host(ends.kernel));
        let output = feed(&mut tunstack(&words), b"").expect("built with the tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        same(&output.stdout, &data, "the file");
    }
    std::fs::remove_dir_all(&folder).expect("ours");
}

/// ncat ends its direction at the end of its input and goes on reading: a half closed connection.
fn ncat_echoed() {
    let server = serve("echo");
    let data = pattern(1 << 20);
    for ends in FAMILIES {
        let output = run_with("ncat", &format!("{} 7", ends.stack), &data);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        same(&output.stdout, &data, "ncat through echo");
    }
    server.end();
}

fn ncat_calls_us() {
    private();
    let (there, back) = (pattern(500_000), pattern(400_000));
    for ends in FAMILIES {
        let mut us = Program::beside("listen --tun tun0 9100", "listening");
        let (mut input, mut output) = (us.input(), us.output());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                input.write_all(&back).expect("it reads");
                drop(input);
            });
            let reader = scope.spawn(move || {
                let mut got = Vec::new();
                output.read_to_end(&mut got).expect("a pipe");
                got
            });
            let said = run_with("ncat", &format!("{} 9100", ends.stack), &there);
            same(&said.stdout, &back, "towards ncat");
            same(&reader.join().expect("no panic"), &there, "from ncat");
        });
        let (code, said) = us.finish();
        assert_eq!(code, Some(0), "{said}");
    }
}

/// With `--recv-only` ncat ends its direction before anything came: that must not keep our file from being sent.
fn we_call_ncat() {
    private();
    let (there, back) = (pattern(500_000), pattern(400_000));
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let turns = [("", &there[..], &back[..]), ("--recv-only", &there, &[]), ("--send-only", &[], &back)];
        for (turn, (flag, ours, theirs)) in turns.into_iter().enumerate() {
            let port = 9000 + 3 * index as u16 + turn as u16;
            let version = if ends.kernel.is_ipv4() { 4 } else { 6 };
            let words = format!("-{version} {flag} --listen {port}");
            std::thread::scope(|scope| {
                let server = scope.spawn(|| run_with("ncat", &words, theirs));
                eventually("ncat listens", || listens(port));
                let words = format!("connect --tun tun0 {} {port}", ends.kernel);
                let output = feed(&mut tunstack(&words), ours).expect("built with the tests");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                same(&output.stdout, theirs, "from ncat");
                same(&server.join().expect("no panic").stdout, ours, "towards ncat");
            });
        }
    }
}

/// ncat over UDP ends with its input, so that stays open until the answer is there.
fn ncat_datagrams() {
    let server = serve("echo");
    for ends in FAMILIES {
        let mut ncat = Server::spawn("ncat", &format!("--udp {} 7", ends.stack));
        ncat.0.stdin.as_mut().expect("piped").write_all(b"a datagram").expect("it reads");
        let mut got = [0; 10];
        ncat.0.stdout.as_mut().expect("piped").read_exact(&mut got).expect("printed");
        assert_eq!(&got, b"a datagram");
    }
    server.end();
    private();
    for ends in FAMILIES {
        let mut us = Program::beside("listen --tun tun0 --udp 9100", "listening");
        let (mut input, mut output) = (us.input(), us.output());
        let mut ncat = Server::spawn("ncat", &format!("--udp {} 9100", ends.stack));
        ncat.0.stdin.as_mut().expect("piped").write_all(b"from ncat").expect("it reads");
        let mut got = [0; 9];
        output.read_exact(&mut got).expect("printed");
        assert_eq!(&got, b"from ncat");
        input.write_all(b"to ncat").expect("it reads");
        let mut got = [0; 7];
        ncat.0.stdout.as_mut().expect("piped").read_exact(&mut got).expect("printed");
        assert_eq!(&got, b"to ncat");
        drop((input, us));
        eventually("tun0 is gone", || !tunstack::link::exists("tun0").expect("asked"));
    }
}

/// One test of iperf3, with a server of its own: one that goes on to the next test does not listen for a moment.
/// The last lines of the client say what the receiver got.
fn iperf3(bind: &str, words: &str) -> String {
    eventually("the port is free", || !listens(5201));
    let _server = Server::start("iperf3", &format!("--server --one-off {bind} --port 5201"));
    eventually("iperf3 listens", || listens(5201));
    let said = succeeded(run_with("iperf3", words, b""), &format!("iperf3 {words}"));
    let receiver = said.lines().rev().find(|line| line.contains("receiver")).expect("a summary").to_owned();
    assert!(!receiver.contains(" 0.00 bits/sec"), "{said}");
    println!("iperf3 {words}: {receiver}");
    receiver
}

/// An iperf3 server behind the stack: its sockets are the kernel's, the connection is ours.
fn iperf3_towards_the_stack() {
    private();
    for offload in [Offload::On, Offload::Off] {
        let stack = on_device(offload);
        relay::inward(&stack, 5201);
        for ends in FAMILIES {
            for direction in ["", "--reverse", "--bidir", "--parallel 4"] {
                iperf3("--bind 127.0.0.1", &format!("--client {} --bytes 16M {direction}", ends.stack));
            }
        }
    }
}

fn iperf3_from_the_stack() {
    iperf3_from(Offload::On);
}

fn iperf3_from_the_stack_plain() {
    iperf3_from(Offload::Off);
}

fn iperf3_from(offload: Offload) {
    private();
    let stack = on_device(offload);
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let port = 5301 + index as u16;
        relay::outward(&stack, port, ends.kernel_at(5201));
        for direction in ["", "--reverse"] {
            iperf3("", &format!("--client 127.0.0.1 --port {port} --bytes 16M {direction}"));
        }
    }
}

fn iperf3_datagrams() {
    let stack = library();
    relay::inward(&stack, 5201);
    for ends in FAMILIES {
        for direction in ["", "--reverse"] {
            let words =
                format!("--client {} --udp --bitrate 8M --time 1 --length 1200 {direction}", ends.stack);
            let said = iperf3("--bind 127.0.0.1", &words);
            let lost: f64 = said
                .split_once('(')
                .and_then(|(_, rest)| rest.split_once('%'))
                .and_then(|(share, _)| share.parse().ok())
                .expect("a share of lost datagrams");
            assert!(lost < 20.0, "{said}");
        }
    }
}
