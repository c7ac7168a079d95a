//! `tunstack demo`.

use crate::harness::{Node, Test, Who, private, test, test_as};
use crate::program::{Running, eventually, run, tunstack};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

pub const TESTS: &[Test] = &[
    test("demo::real_kernel", real_kernel),
    test_as("demo::real_kernel_rootless", Who::Nobody, Node::Open, real_kernel),
    test("demo::without_curl", without_curl),
    test("demo::another_client", another_client),
    test("demo::shell_and_wait", shell_and_wait),
    test("demo::watched", watched),
    test_as("demo::watched_rootless", Who::Nobody, Node::Open, watched),
    test("demo::bad_link", bad_link),
    test("demo::capture_to_a_pipe", capture_to_a_pipe),
    test("demo::simulated", simulated),
    test("demo::dry_run", dry_run),
    test_as("demo::without_rights_it_simulates", Who::Nobody, Node::Closed, without_rights_it_simulates),
];

/// The states of our end, in order, each once.
fn our_states(ladder: &str) -> Vec<&str> {
    let states = [
        "SYN-RECEIVED",
        "ESTABLISHED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "CLOSED",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
    ];
    let mut found: Vec<&str> = ladder
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2).filter(|word| states.contains(word)))
        .collect();
    found.dedup();
    found
}

fn real_kernel() {
    let said = run("demo");
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = &said.output;
    assert_eq!(
        our_states(text),
        ["SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"],
        "{text}"
    );
    for part in [
        "tunstack at 10.9.0.2",
        "nsenter",
        "<─ SYN     seq 0",
        "── SYN ACK seq 0 ack 1",
        "mss 1460, sack, timestamps",
        "closed in good order, by the peer first, so TIME-WAIT is the peer's",
        "nothing sent again",
        "http://10.9.0.2/",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

fn without_curl() {
    let output = tunstack("demo").env("PATH", "/nowhere").output().expect("built");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("the built-in kernel client got http://10.9.0.2/, 3"), "{text}");
    assert!(text.contains("closed in good order, by the peer first"), "{text}");
}

fn shell_and_wait() {
    let (reader, mut input) = std::io::pipe().expect("descriptors");
    // The first line starts the shell, the next are its, and the end of the input ends the wait after it.
    input.write_all(b"\n").expect("room");
    let mut command = tunstack("demo --shell --wait");
    command.env("SHELL", "/bin/sh").stdin(reader);
    let running = Running::from(command, "Enter starts the client: a shell: try `curl http://10.9.0.2/`");
    input.write_all(b"echo the stack is at $ADDR\nexit 7\n").expect("taken");
    drop(input);
    let (status, text, error) = running.end();
    assert!(status.success(), "{text}");
    assert!(text.contains("the stack is at 10.9.0.2\n"), "{text}");
    assert!(text.ends_with("the shell ended with exit code 7\n"), "{text}");
    assert!(error.contains("Enter ends the demo: "), "{error}");
}

/// What tcpdump and tshark say when they begin.
const LISTENS: [&str; 2] = ["listening on", "Capturing on"];

/// Whether a line of /proc/net/packet is of a socket that takes packets: it exists some milliseconds before, and the demo is over
/// in fewer.
fn is_bound(line: &str) -> bool {
    // sk RefCnt Type Proto Iface R Rmem …
    let words: Vec<&str> = line.split_whitespace().collect();
    words[3] != "0000" && words[4] != "0" && words[5] == "1"
}

/// The line for another terminal does what it says.
fn watched() {
    let mut demo =
        tunstack("demo --wait").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("built");
    let mut lines =
        BufReader::new(demo.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let line = lines.find_map(|line| line.strip_prefix("another terminal can watch: ").map(str::to_owned));
    let line = line.expect("told");
    let mut words = line.split_whitespace().filter(|word| *word != "sudo");
    let mut watch = Command::new(words.next().expect("a command"));
    // Without a place for its settings tshark complains.
    watch.args(words).args(["-c", "2"]).env("HOME", "/tmp").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = watch.spawn().expect("nsenter");
    let mut said =
        BufReader::new(watch.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    // It listens, or says why not.
    let mut last = String::new();
    let listens = said
        .by_ref()
        .inspect(|line| last.clone_from(line))
        .any(|line| LISTENS.iter().any(|word| line.contains(word)));
    // It goes on writing there.
    let reader = std::thread::spawn(move || said.count());
    let mut input = demo.stdin.take().expect("piped");
    if !listens {
        drop(input);
        demo.wait().expect("our child");
        crate::harness::skip(&format!("{line}: {last}"));
    }
    let sockets = format!("/proc/{}/net/packet", demo.id());
    eventually("a packet socket that is bound", || {
        std::fs::read_to_string(&sockets).is_ok_and(|text| text.lines().skip(1).any(is_bound))
    });
    input.write_all(b"\n").expect("waits");
    let output = watch.wait_with_output().expect("our child");
    reader.join().expect("read to its end");
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(seen.contains("10.9.0.1") && (seen.contains("[SYN]") || seen.contains("[S]")), "{seen}");
    drop(input);
    assert!(lines.any(|line| line.starts_with("curl http://10.9.0.2/ got")), "it went on");
    assert!(demo.wait().expect("our child").success());
}

fn another_client() {
    private();
    let mut command = tunstack("demo --client");
    command.args(["sh", "-c", "echo at $ADDR; exit 3"]);
    let output = command.output().expect("built");
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("at 10.9.0.2\n"), "{text}");
    assert_eq!(error, "tunstack: sh ended with exit code 3\n");
    assert_eq!(output.status.code(), Some(1));
}

fn bad_link() {
    let said = run("demo --link drop=syn-ack:1,delay=5ms --seed 7");
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<&str> = said.output.lines().map(str::trim).collect();
    let first = lines.iter().position(|line| line.contains("── SYN ACK")).expect("an answer to the SYN");
    // Its options, and then what the link did to it.
    assert_eq!(lines[first + 2], "lost on the way", "{}", said.output);
    assert!(said.output.contains("sent again"), "{}", said.output);
}

fn capture_to_a_pipe() {
    let output = tunstack("demo --capture -").output().expect("built");
    let ladder = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && ladder.contains("SYN ACK"), "{ladder}");
    let fields =
        ["-r", "-", "-T", "fields", "-e", "tcp.flags.str", "-e", "tcp.analysis.flags", "-e", "frame.comment"];
    let Some(text) = filter("tshark", &fields, &output.stdout) else {
        crate::harness::skip("tshark is not installed: apt install tshark");
    };
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert!(lines.len() >= 9, "{text}");
    assert!(lines.iter().all(|fields| fields[1].is_empty()), "a clean link has nothing to analyse: {text}");
    assert!(lines[0][2].starts_with("taken; -> SYN-RECEIVED"), "{text}");
    assert!(text.contains("sent: close") && text.contains("cwnd"), "{text}");
}

/// What a program makes of `input`; `None` when it is not installed.
fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    child.stdin.take().expect("piped").write_all(input).expect("reads all");
    let output = child.wait_with_output().expect("our child");
    assert!(output.status.success());
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn simulated() {
    let once = run("demo --sim --seed 3 --link loss=15%,delay=20ms");
    assert_eq!(once.code, Some(0), "{once:?}");
    assert!(once.output.contains("lost on the way") && once.output.contains("sent again"), "{}", once.output);
    let again = run("demo --sim --seed 3 --link loss=15%,delay=20ms");
    assert_eq!(once.output, again.output, "the same seed gives the same packets");
    let clean = run("demo --sim");
    assert_eq!(
        our_states(&clean.output),
        ["SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    );
    assert!(clean.output.contains("nothing sent again"), "{}", clean.output);
}

fn dry_run() {
    private();
    let said = run("demo --dry-run --addr 10.7.0.2/24 --tun t7");
    assert_eq!(said.code, Some(0));
    let begin = "unshare --net\nip link set lo up\nip tuntap add dev t7 mode tun\n";
    assert!(said.output.starts_with(begin), "{}", said.output);
    assert!(said.output.contains("ip address add 10.7.0.1/24 broadcast + dev t7\n"), "{}", said.output);
    assert!(!tunstack::link::exists("t7").expect("can be asked"), "nothing was made");
    // A shell that is fed with it does the same.
    let script = format!("{}ip -o address show\n", said.output);
    let mut shell = Command::new("bash");
    let mut shell =
        shell.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash");
    shell.stdin.take().expect("piped").write_all(script.as_bytes()).expect("read");
    let there = String::from_utf8(shell.wait_with_output().expect("our child").stdout).expect("text");
    assert!(there.contains("lo    inet 127.0.0.1/8") && there.contains("t7    inet 10.7.0.1/24"), "{there}");
    assert!(!tunstack::link::exists("t7").expect("can be asked"), "it was another namespace");
    assert_eq!(run("ifconfig --netns --dry-run").output.lines().next(), Some("unshare --net"));
    let queues = run("serve echo --shards 2 --dry-run").output;
    assert!(queues.starts_with("ip tuntap add dev tun0 mode tun multi_queue\n"), "{queues}");
    assert_eq!(run("demo --sim --dry-run").output, "# two simulated hosts need no interface\n");
}

fn without_rights_it_simulates() {
    let said = run("demo");
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut lines = said.error.lines();
    assert!(
        lines.next().is_some_and(|line| line.starts_with("tunstack: /dev/net/tun cannot be opened")),
        "{said:?}"
    );
    assert_eq!(lines.next(), Some("tunstack: so here are two simulated hosts instead, as with --sim"));
    assert!(said.output.contains("closed in good order"), "{}", said.output);
}
