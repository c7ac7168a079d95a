//! Private namespaces: made, entered, shared with other programs, and gone without a trace.

use crate::harness::{NOBODY, Node, Test, Who, private, skip, test, test_as, this_program};
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use tunstack::link::netns::{self, Namespace, Privilege, enter_private};
use tunstack::link::{LinkError, Setup, Tun, exists};

pub const TESTS: &[Test] = &[
    test("netns::loopback_works", loopback_works),
    test_as("netns::root_needs_no_user_namespace", Who::Root, Node::AsIs, root_needs_no_user_namespace),
    test_as("netns::nobody_becomes_root_of_its_own", Who::Nobody, Node::Open, nobody_becomes_root_of_its_own),
    test("netns::others_are_separate", others_are_separate),
    test_as("netns::others_are_separate_rootless", Who::Nobody, Node::Open, others_are_separate),
    test("netns::forbidden", forbidden),
    test("netns::nothing_is_left_after_kill", nothing_is_left_after_kill),
    test_as(
        "netns::nothing_is_left_after_kill_rootless",
        Who::Nobody,
        Node::Open,
        nothing_is_left_after_kill,
    ),
    test("netns::child", child_that_waits),
    test_as("netns::child_rootless", Who::Nobody, Node::Open, child_that_waits),
];

fn loopback_works() {
    private();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).expect("loopback is up");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("reachable");
        drop(listener.accept().expect("connected"));
        assert_eq!(client.read(&mut [0; 8]).expect("closed"), 0);
    }
}

fn root_needs_no_user_namespace() {
    let before = std::fs::metadata("/proc/self/ns/user").expect("proc").ino();
    assert_eq!(private(), Privilege::Own);
    assert_eq!(std::fs::metadata("/proc/self/ns/user").expect("proc").ino(), before);
}

fn nobody_becomes_root_of_its_own() {
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
    assert_eq!(private(), Privilege::UserNamespace);
    assert!(rustix::process::geteuid().is_root() && rustix::process::getegid().is_root());
    let tun =
        Tun::open(&Setup::new(["10.9.0.2/24".parse().expect("valid")]).named("t0")).expect("root in here");
    assert!(tun.was_made() && tun.is_up());
    // A program started in here keeps the right to see and change this network.
    let mut command = Command::new("ip");
    let output = command.args(["link", "set", "t0", "mtu", "1400"]).output().expect("iproute2");
    assert!(output.status.success(), "{output:?}");
}

fn others_are_separate() {
    private();
    let (here, there) = (Namespace::current().expect("proc"), Namespace::new().expect("root in here"));
    let _tun = there.run(|| Tun::open(&Setup::new([]).named("t0"))).expect("entered").expect("root in there");
    assert!(there.run(|| exists("t0").expect("asked")).expect("entered"));
    assert!(!exists("t0").expect("asked"), "the interface is only over there");
    // The same port in both; a program started over there finds the one over there.
    let ours = UdpSocket::bind("127.0.0.1:7777").expect("free");
    let theirs = there.run(|| UdpSocket::bind("127.0.0.1:7777")).expect("entered").expect("free there too");
    let mut command = Command::new("sh");
    command.args(["-c", "cat /proc/net/dev"]);
    there.enter_in(&mut command).expect("descriptors");
    let output = command.output().expect("sh");
    assert!(String::from_utf8_lossy(&output.stdout).contains("t0:"), "{output:?}");
    assert!(!std::fs::read_to_string("/proc/thread-self/net/dev").expect("proc").contains("t0:"));
    let send = || UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", "127.0.0.1:7777"));
    there.run(send).expect("entered").expect("sent");
    theirs.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("valid");
    assert_eq!(theirs.recv(&mut [0; 8]).expect("arrived there"), 1);
    ours.set_nonblocking(true).expect("valid");
    assert!(ours.recv(&mut [0; 8]).is_err(), "nothing arrived here");
    drop((here, there));
}

/// Where no more namespaces may be made the refusal says so.
fn forbidden() {
    private();
    // A user namespace of its own limits what can be made below it.
    if rustix::process::geteuid().is_root() && private_user_namespace().is_err() {
        skip("no user namespace to set a limit in");
    }
    for limit in ["max_net_namespaces", "max_user_namespaces"] {
        if let Err(error) = std::fs::write(format!("/proc/sys/user/{limit}"), "0") {
            skip(&format!("{limit}: {error}"));
        }
    }
    let error = enter_private().expect_err("no namespaces left");
    assert!(matches!(error, LinkError::NoNamespace { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("no right to make a private namespace (unshare(CLONE_NEWUSER | CLONE_NEWNET): "),
        "{said}"
    );
    assert!(
        said.contains("run with sudo, or allow it with `sudo sysctl -w user.max_user_namespaces="),
        "{said}"
    );
    assert!(matches!(netns::check(), Err(LinkError::NoNamespace { .. })));
}

/// Makes a user namespace around this process, in which it is root again.
fn private_user_namespace() -> std::io::Result<()> {
    // SAFETY: a system call without pointers, in a process of one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    std::fs::write("/proc/self/uid_map", "0 0 1")
}

/// Makes a namespace with an interface in it, says which, and waits to be killed.
fn child_that_waits() {
    if std::env::var_os("TUNSTACK_WAIT").is_none() {
        return;
    }
    private();
    let _tun =
        Tun::open(&Setup::new(["10.9.0.2/24".parse().expect("valid")]).named("gone0")).expect("root in here");
    println!("{}", std::fs::metadata("/proc/self/ns/net").expect("proc").ino());
    std::thread::park();
}

fn nothing_is_left_after_kill() {
    let interfaces = || std::fs::read_to_string("/proc/self/net/dev").expect("proc").lines().count();
    let before = interfaces();
    let mut child = start_child();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it tells");
    let inode: u64 = match line.trim().parse() {
        Ok(inode) => inode,
        Err(_) => skip(line.trim().trim_start_matches("skip: ")),
    };
    assert!(holders(inode) >= 1, "it lives");
    child.kill().expect("our child");
    child.wait().expect("our child");
    assert_eq!(holders(inode), 0, "no process and no mount holds the namespace");
    assert_eq!(interfaces(), before);
    assert!(!exists("gone0").expect("asked"));
}

fn start_child() -> Child {
    let name = "netns::child";
    let mut command = Command::new(this_program());
    command
        .args(["--child", name])
        .env("TUNSTACK_WAIT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("ourselves")
}

/// Processes in, and mounts of, the network namespace with this inode.
fn holders(inode: u64) -> usize {
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let inside = processes.filter(|entry| {
        std::fs::metadata(entry.path().join("ns/net")).is_ok_and(|metadata| metadata.ino() == inode)
    });
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("proc");
    inside.count() + mounts.matches(&format!("net:[{inode}]")).count()
}
