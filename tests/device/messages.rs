//! What a person reads when a link cannot be had: each refusal is brought about for real.

use crate::harness::{NOBODY, Node, Test, Who, ip, private, skip, test, test_as};
use std::os::fd::{AsRawFd, OwnedFd};
use tunstack::link::{Device, LinkError, Setup, Tun, check_addresses, check_node, check_right, netns};

pub const TESTS: &[Test] = &[
    test_as("messages::no_node", Who::Me, Node::Missing, no_node),
    test_as("messages::closed_node", Who::Nobody, Node::Closed, closed_node),
    test_as("messages::no_right", Who::Nobody, Node::Open, no_right),
    test_as("messages::owned_by_this_user", Who::Root, Node::Open, owned_by_this_user),
    test("messages::name_in_use", name_in_use),
    test("messages::something_else", something_else),
    test("messages::interface_down", interface_down),
    test("messages::no_route", no_route),
    test("messages::address_clash", address_clash),
    test("messages::network_taken", network_taken),
    test_as("messages::asked_before", Who::Nobody, Node::Closed, asked_before),
    test("messages::ipv6_off", ipv6_off),
    test("messages::failed_step", failed_step),
    test("messages::bad_descriptor", bad_descriptor),
    test("messages::threads", threads),
];

fn setup(address: &str) -> Setup {
    Setup::new([address.parse().expect("valid")])
}

/// What opening says, beginning and mend.
fn refusal(setup: &Setup) -> String {
    let said = Tun::open(setup).expect_err("refused").to_string();
    assert!(!said.contains('\n') && !said.ends_with('.'), "one sentence: {said}");
    said
}

#[track_caller]
fn says(said: &str, what: &str, mend: &str) {
    assert!(said.contains(what) && said.contains(mend), "{said}");
}

fn no_node() {
    says(&refusal(&setup("10.9.0.2/24")), "/dev/net/tun does not exist", "`sudo modprobe tun`");
}

fn closed_node() {
    let said = refusal(&setup("10.9.0.2/24"));
    says(
        &said,
        "/dev/net/tun cannot be opened by this user (Permission denied",
        "`sudo chmod 666 /dev/net/tun`",
    );
}

fn no_right() {
    let said = refusal(&setup("10.99.0.2/24").named("nobodys0"));
    says(&said, "no right to make a network interface (CAP_NET_ADMIN)", "`sudo setcap cap_net_admin+ep /");
}

/// A persistent interface with an owner needs no right at all; another's is refused.
fn owned_by_this_user() {
    private();
    for (name, owner) in [("mine0", NOBODY), ("other0", 1)] {
        ip(&format!("tuntap add dev {name} mode tun user {owner}"));
        ip(&format!("link set {name} up"));
    }
    ip("address add 10.9.0.1/24 dev mine0");
    // SAFETY: this process has one thread.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    let tun = Tun::open(&setup("10.9.0.2/24").named("mine0")).expect("ours");
    assert!(!tun.was_made());
    says(&refusal(&Setup::new([]).named("other0")), "no right", "run with sudo");
}

fn name_in_use() {
    private();
    let _first = open(&setup("10.9.0.2/24").named("t0"));
    says(
        &refusal(&setup("10.8.0.2/24").named("t0")),
        "t0 is in use by another program",
        "choose another name",
    );
}

fn something_else() {
    private();
    says(&refusal(&setup("10.9.0.2/24").named("lo")), "lo exists and is no TUN", "choose another name");
    ip("tuntap add dev tap7 mode tap");
    says(&refusal(&setup("10.9.0.2/24").named("tap7")), "tap7 exists and is no", "mode tun`");
}

fn interface_down() {
    private();
    ip("tuntap add dev t0 mode tun");
    ip("address add 10.9.0.1/24 dev t0");
    says(&refusal(&setup("10.9.0.2/24").named("t0")), "t0 is down", "`sudo ip link set t0 up`");
    ip("link set t0 up");
    open(&setup("10.9.0.2/24").named("t0"));
}

fn no_route() {
    private();
    ip("tuntap add dev t0 mode tun");
    ip("link set t0 up");
    let said = refusal(&setup("10.9.0.2/24").named("t0"));
    says(&said, "the kernel has no route to 10.9.0.2 through t0", "`sudo ip route add 10.9.0.2 dev t0`");
    let said = refusal(&setup("fd09::2/64").named("t0"));
    says(&said, "the kernel has no route to fd09::2 through t0", "`sudo ip -6 route add fd09::2 dev t0`");
    let other = open(&setup("10.9.0.3/24").named("other"));
    says(
        &refusal(&setup("10.9.0.2/24").named("t0")),
        "sends packets for 10.9.0.2 to other, not to t0",
        "dev t0`",
    );
    drop(other);
    ip("route add 10.9.0.2 dev t0");
    open(&setup("10.9.0.2/24").named("t0"));
}

fn address_clash() {
    private();
    ip("address add 10.9.0.2/24 dev lo");
    ip("-6 address add fd09::2/64 dev lo nodad");
    let said = refusal(&setup("10.9.0.2/16"));
    says(
        &said,
        "10.9.0.2 belongs to the kernel (interface lo), so packets for it never reach the stack",
        "choose another address, or `sudo ip address del 10.9.0.2 dev lo`",
    );
    says(
        &refusal(&setup("fd09::2/64")),
        "fd09::2 belongs to the kernel (interface lo)",
        "`sudo ip -6 address del",
    );
    // All of 127/8 is the kernel's, although only one address of it stands anywhere.
    says(&refusal(&setup("127.5.5.5/8")), "127.5.5.5 belongs to the kernel", "`ip route get 127.5.5.5`");
}

/// The stack's network is the one of another interface: packets would go there.
fn network_taken() {
    private();
    let _lan = open(&setup("10.9.0.77/24").named("lan0"));
    let said = refusal(&setup("10.9.0.2/24").named("t0"));
    says(&said, "the network of 10.9.0.2 is that of lan0 already: choose another one", "`ip route` shows");
    assert!(!tunstack::link::exists("t0").expect("asked"));
    // An address of its own inside that network is no conflict: its route is longer.
    open(&setup("10.9.0.2/32"));
}

/// The questions of `doctor` give the same answers, without making anything.
fn asked_before() {
    let said = |result: Result<(), LinkError>| result.expect_err("refused").to_string();
    says(&said(check_node()), "cannot be opened by this user", "chmod 666");
    says(&said(check_right()), "no right to make a network interface", "setcap");
    says(
        &said(check_addresses(&setup("127.0.0.1/8"))),
        "belongs to the kernel (interface lo)",
        "choose another",
    );
    check_addresses(&setup("10.99.0.2/24")).expect("free");
    let before = std::fs::read_link("/proc/self/ns/net").expect("proc");
    let possible = netns::check();
    assert_eq!(std::fs::read_link("/proc/self/ns/net").expect("proc"), before, "only tried");
    match (possible, netns::enter_private()) {
        (Ok(told), Ok(made)) => {
            assert_eq!(told, made);
            check_right().expect("root in here");
            assert_eq!(netns::check().expect("root in here"), netns::Privilege::Own);
        }
        (Err(told), Err(LinkError::NoNamespace { .. })) => {
            says(&told.to_string(), "no right to make a private namespace", "max_user_namespaces");
        }
        other => panic!("{other:?}"),
    }
}

fn ipv6_off() {
    private();
    let switch = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if let Err(error) = std::fs::write(switch, "1") {
        skip(&format!("{switch}: {error}"));
    }
    says(
        &refusal(&setup("fd09::2/64")),
        "IPv6 is switched off here",
        "`sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0`",
    );
    open(&setup("10.9.0.2/24"));
}

fn failed_step() {
    private();
    let mut twice = setup("10.9.0.2/24").named("t0");
    twice.routes = vec!["10.7.0.0/16".parse().expect("valid"); 2];
    says(&refusal(&twice), "`ip route add 10.7.0.0/16 dev t0` failed: File exists", "");
    assert!(!tunstack::link::exists("t0").expect("asked"), "what was made before the failure is gone");
}

fn bad_descriptor() {
    private();
    let node =
        || OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/net/tun").expect("node"));
    let bad = |fd: OwnedFd| Device::from_fd(fd, None).expect_err("refused").to_string();
    says(
        &bad(std::fs::File::open("/dev/null").expect("node").into()),
        "no TUN (not attached",
        "IFF_TUN | IFF_NO_PI",
    );
    says(&bad(node()), "no TUN (not attached to an interface)", "TUNSETIFF");
    let fd = node();
    // SAFETY: all zeroes are a valid `ifreq`; TUNSETIFF reads and writes one.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &mut request)
    };
    assert_eq!(result, 0, "a private namespace");
    says(&bad(fd), "it is a TAP", "IFF_TUN | IFF_NO_PI");
}

fn threads() {
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let error = netns::enter_private().expect_err("refused");
    assert!(matches!(error, LinkError::Threads { count: 2 }), "{error:?}");
    says(&error.to_string(), "before any thread starts, and there are 2", "first thing in main()");
    drop(stop);
    assert!(thread.join().expect("no panic").is_err());
}

/// Opens what must be possible.
fn open(setup: &Setup) -> Tun {
    Tun::open(setup).unwrap_or_else(|error| panic!("{error}"))
}
