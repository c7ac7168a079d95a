//! `tunstack wire`: two kernels, each in a namespace of its own, and the bad link between them.

use crate::harness::{Test, ip, private, test};
use crate::world::{LIMIT, Program, connect, eventually, feed, read_all, succeeded};
use rustix::fd::{AsFd, AsRawFd};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tunstack::link::impair::Impairment;
use tunstack::link::netns::Namespace;

pub const TESTS: &[Test] = &[
    test("wire::delay_is_the_round_trip", delay_is_the_round_trip),
    test("wire::rate_is_what_arrives", rate_is_what_arrives),
    test("wire::a_seed_loses_the_same_packets", a_seed_loses_the_same_packets),
    test("wire::an_end_that_goes_away_is_named", an_end_that_goes_away_is_named),
    test("wire::ends_when_a_namespace_is_gone", ends_when_a_namespace_is_gone),
    test("wire::leads_to_a_stack_behind_an_end", leads_to_a_stack_behind_an_end),
];

/// Two namespaces with nothing in them, and the words that name them to `tunstack wire`.
struct Two {
    a: Namespace,
    b: Namespace,
    words: String,
}

fn two() -> Two {
    private();
    let [a, b] = [0, 1].map(|_| Namespace::new().expect("root in here"));
    let path = |space: &Namespace| format!("/proc/{}/fd/{}", std::process::id(), space.as_fd().as_raw_fd());
    let words = format!("wire {} {}", path(&a), path(&b));
    Two { a, b, words }
}

impl Two {
    fn wire(&self, words: &str) -> Program {
        Program::beside(&format!("{} {words}", self.words), "joined")
    }
}

/// Runs a program in a namespace.
fn inside(space: &Namespace, program: &str, words: &str) -> String {
    let mut command = Command::new(program);
    command.args(words.split_whitespace());
    space.enter_in(&mut command).expect("descriptors");
    match feed(&mut command, b"") {
        Ok(output) => succeeded(output, &format!("{program} {words}")),
        Err(error) => crate::harness::skip(&format!("{program} cannot be run: {error}")),
    }
}

/// What stands behind the colon of a name in the JSON that `text` is.
fn number(text: &str, name: &str) -> u64 {
    let rest = text.split(&format!("\"{name}\": ")).nth(1).unwrap_or_else(|| panic!("{name}: {text}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

fn delay_is_the_round_trip() {
    let two = two();
    let wire = two.wire("--link delay=15ms --link-ba delay=25ms --seed 1");
    for address in ["10.8.0.2", "fd08::2"] {
        let said = inside(&two.a, "ping", &format!("-c 20 -i 0.02 -W 10 {address}"));
        assert!(said.contains("20 received, 0% packet loss"), "{said}");
        assert_eq!(said.matches("ttl=64").count(), 20, "the wire is no router: {said}");
        let times =
            said.lines().find_map(|line| line.split_once(" = ").map(|(_, times)| times)).expect("a summary");
        let least: f64 = times.split('/').next().expect("minimum").parse().expect("a number");
        assert!((40.0..44.0).contains(&least), "{said}");
    }
    wire.end();
    let left = two.a.run(|| ip("link show")).expect("ours");
    assert!(!left.contains("wire0"), "{left}");
}

/// A queue that never runs dry, so that only the line's rate shows, however busy the machine is.
fn rate_is_what_arrives() {
    const SENT: u32 = 3000;
    const PAYLOAD: usize = 1472;
    let two = two();
    let wire = two.wire("--link rate=24mbit,queue=8mib,delay=1ms --seed 1");
    let to = two.b.run(|| UdpSocket::bind("10.8.0.2:5000").expect("free")).expect("ours");
    let from = two.a.run(|| UdpSocket::bind("10.8.0.1:0").expect("free")).expect("ours");
    to.set_read_timeout(Some(Duration::from_millis(500))).expect("valid");
    let arrivals = std::thread::spawn(move || {
        let mut datagram = [0; PAYLOAD];
        let mut arrivals = Vec::new();
        while let Ok(len) = to.recv(&mut datagram) {
            assert_eq!(len, PAYLOAD);
            arrivals.push((u32::from_be_bytes(*datagram.first_chunk().expect("longer")), Instant::now()));
        }
        arrivals
    });
    for number in 0..SENT {
        let mut datagram = [0; PAYLOAD];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        from.send_to(&datagram, "10.8.0.2:5000").expect("queued");
    }
    let arrivals = arrivals.join().expect("no panic");
    wire.end();
    let (first, from) = arrivals[0];
    let (last, to) = arrivals[arrivals.len() - 1];
    assert!(arrivals.is_sorted_by_key(|(number, _)| *number), "a queue keeps the order");
    assert!(last > SENT / 2, "only {} of {SENT}", arrivals.len());
    // Each with its 28 octets of headers.
    let rate = f64::from(last - first) * (PAYLOAD + 28) as f64 * 8.0 / (to - from).as_secs_f64();
    assert!((24e6 * 0.97..24e6 * 1.03).contains(&rate), "{rate} bits per second");
}

/// All losses follow from the seed: the same count as the stage alone loses, and none elsewhere.
fn a_seed_loses_the_same_packets() {
    const SENT: u64 = 3000;
    let link = "loss=5%,burst=1%/20%,dup=2%";
    let two = two();
    let mut wire =
        two.wire(&format!("--link-ab {link} --a-addr 10.8.0.1/24 --b-addr 10.8.0.2/24 --seed 42 --json"));
    let to = two.b.run(|| UdpSocket::bind("10.8.0.2:5000").expect("free")).expect("ours");
    let from = two.a.run(|| UdpSocket::bind("10.8.0.1:0").expect("free")).expect("ours");
    to.set_read_timeout(Some(Duration::from_secs(2))).expect("valid");
    let counted = std::thread::spawn(move || {
        let mut count = 0;
        while to.recv(&mut [0; 2000]).is_ok() {
            count += 1;
        }
        count
    });
    for number in 0..SENT {
        from.send_to(&number.to_be_bytes(), "10.8.0.2:5000").expect("queued");
        // The receiver's buffer is no part of the test.
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let count: u64 = counted.join().expect("no panic");
    let output = wire.output();
    wire.end();
    let told = String::from_utf8(read_all(output)).expect("text");
    let there = told.split("\"b_to_a\"").next().expect("the first direction");
    let packets = number(there, "packets");

    let impairment: Impairment = link.parse().expect("valid");
    let (mut stage, _) = impairment.stages(42);
    for _ in 0..packets {
        assert_eq!(stage.push(tunstack::base::Instant::ZERO, vec![0; 36]), None);
    }
    let expected = stage.stats();
    assert_eq!(
        (number(there, "chance"), number(there, "duplicated")),
        (expected.lost, expected.duplicated),
        "{told}"
    );
    for cause in ["queue", "script", "blackout", "mtu", "refused", "kernel"] {
        assert_eq!(number(there, cause), 0, "{cause}: {told}");
    }
    // Perhaps the kernel had something to say of its own.
    assert!(packets >= SENT && packets - SENT < 10, "{told}");
    let delivered = packets - expected.lost + expected.duplicated;
    assert!(
        (delivered - (packets - SENT)..=delivered).contains(&count),
        "{count} of {delivered} came: {told}"
    );
}

fn an_end_that_goes_away_is_named() {
    let two = two();
    let wire = two.wire("--tun w7");
    two.b.run(|| ip("link delete w7")).expect("ours");
    let (code, said) = wire.finish();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.lines().last().is_some_and(|line| line.starts_with("tunstack: w7 is gone from /proc/")),
        "{said}"
    );
}

/// A namespace that nobody is in any more lives on while the wire has an interface in it.
fn ends_when_a_namespace_is_gone() {
    private();
    let a = Namespace::new().expect("root in here");
    let mut holder = Command::new("unshare");
    holder.args(["--net", "sh", "-c", "echo in; exec sleep 60"]).stdout(Stdio::piped());
    let mut holder = holder.spawn().expect("util-linux");
    let mut said = [0; 3];
    holder.stdout.as_mut().expect("piped").read_exact(&mut said).expect("its word");
    let words = format!(
        "wire /proc/{}/fd/{} /proc/{}/ns/net",
        std::process::id(),
        a.as_fd().as_raw_fd(),
        holder.id()
    );
    let wire = Program::beside(&words, "joined");
    holder.kill().expect("our child");
    holder.wait().expect("our child");
    let (code, said) = wire.finish();
    assert_eq!(code, Some(1), "{said}");
    let last = format!("tunstack: /proc/{}/ns/net leads to its network namespace no more", holder.id());
    assert_eq!(said.lines().last(), Some(&*last), "{said}");
}

/// A kernel at one end, and at the other one that passes packets on to tunstack.
fn leads_to_a_stack_behind_an_end() {
    let two = two();
    let wire = two.wire("--link delay=1ms --a-route 10.9.0.0/24");
    let forward = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root in here");
    two.b.run(forward).expect("ours");
    let mut serve = crate::world::tunstack("serve echo --tun tun0 --addr 10.9.0.2/24");
    two.b.enter_in(&mut serve).expect("descriptors");
    let server = Program::run(&mut serve, "serving");
    let mut stream: TcpStream = two.a.run(|| connect(SocketAddr::from(([10, 9, 0, 2], 7)))).expect("ours");
    stream.set_read_timeout(Some(LIMIT)).expect("valid");
    stream.write_all(b"over the wire").expect("taken");
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(read_all(&mut stream), b"over the wire");
    server.end();
    wire.end();
    eventually("the interface is gone", || !two.a.run(|| ip("link show")).expect("ours").contains("wire0"));
}
