//! Echo requests, from the kernel's `ping` and from ours.

use crate::harness::{Test, ip, private, test};
use crate::world::{FAMILIES, feed, run, run_with, serve, tunstack};

pub const TESTS: &[Test] = &[
    test("ping::the_kernel_asks", the_kernel_asks),
    test("ping::in_fragments", in_fragments),
    test("ping::one_hop_is_enough", one_hop_is_enough),
    test("ping::the_stack_asks", the_stack_asks),
    test("ping::a_router_says_that_time_is_up", a_router_says_that_time_is_up),
    test("ping::nobody_there", nobody_there),
];

fn all_answered(words: &str, size: usize) {
    let said = run("ping", words);
    assert!(said.contains("3 packets transmitted, 3 received, 0% packet loss"), "{said}");
    // Eight octets of header.
    assert_eq!(said.matches(&format!("{} bytes from", size + 8)).count(), 3, "{said}");
}

fn the_kernel_asks() {
    let server = serve("echo");
    for ends in FAMILIES {
        all_answered(&format!("-c 3 -i 0.05 -W 10 {}", ends.stack), 56);
        all_answered(&format!("-c 3 -i 0.05 -W 10 -s 0 {}", ends.stack), 0);
        all_answered(&format!("-c 3 -i 0.05 -W 10 -s 1472 {}", ends.stack), 1472);
    }
    server.end();
}

/// Request and answer in fragments, up to the largest packet that IPv4 knows.
fn in_fragments() {
    let server = serve("echo");
    for ends in FAMILIES {
        for size in [1473, 4000, 65507] {
            all_answered(&format!("-c 3 -i 0.05 -W 10 -s {size} {}", ends.stack), size);
        }
    }
    server.end();
}

/// A host is the end of the way: TTL 1 reaches it, and its answer comes with a TTL of its own.
fn one_hop_is_enough() {
    let server = serve("echo");
    for ends in FAMILIES {
        let said = run("ping", &format!("-c 3 -i 0.05 -W 10 -t 1 {}", ends.stack));
        assert!(said.contains("3 received"), "{said}");
        assert_eq!(said.matches("ttl=64").count(), 3, "{said}");
    }
    server.end();
}

fn ours(words: &str) -> (bool, String) {
    let output = feed(&mut tunstack(&format!("ping --tun tun0 {words}")), b"").expect("built with the tests");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn the_stack_asks() {
    private();
    for ends in FAMILIES {
        for size in [0, 56, 4000] {
            let (good, said) = ours(&format!("-c 3 -i 0.05 -s {size} {}", ends.kernel));
            assert!(good && said.contains("3 received"), "{said}");
        }
    }
}

fn a_router_says_that_time_is_up() {
    private();
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{switch}"), "1").expect("root in here");
    }
    ip("tuntap add dev far0 mode tun");
    ip("address add 192.0.2.1/24 dev far0");
    ip("address add 2001:db8::1/64 dev far0 nodad");
    ip("link set far0 up");
    for (far, said_by, what) in
        [("192.0.2.9", "10.9.0.1", "Time to live exceeded"), ("2001:db8::9", "fd09::1", "Hop limit exceeded")]
    {
        let (good, said) = ours(&format!("-c 1 -t 1 {far}"));
        assert!(!good, "{said}");
        assert!(said.contains(&format!("From {said_by} icmp_seq=1 {what}\n")), "{said}");
    }
    // Off the way altogether.
    let (good, said) = ours("-c 1 198.51.100.1");
    assert!(!good && said.contains("From 10.9.0.1 icmp_seq=1 Destination network unreachable\n"), "{said}");
}

fn nobody_there() {
    let server = serve("echo");
    // The stack is a host, no router: what is for others is dropped in silence.
    ip("route add 192.0.2.0/24 via 10.9.0.2");
    let output = run_with("ping", "-c 1 -W 1 192.0.2.1", b"");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 packets transmitted, 0 received, 100% packet loss"), "{said}");
    server.end();
    // Without tunstack there is no route any more.
    private();
    let gone = run_with("ping", "-c 1 -W 1 10.9.0.2", b"");
    assert!(!gone.status.success());
}
