//! Beyond the kernel's own side: it routes to a host behind a smaller link, and its errors lead to the way through.

use crate::harness::{Test, ip, private, test};
use crate::world::{LIMIT, accept, pattern, read_all, same};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tunstack::link::netns::Namespace;
use tunstack::runtime::Stack;
use tunstack::socket as ours;

pub const TESTS: &[Test] = &[
    test("path::smaller_link_on_the_way", smaller_link_on_the_way),
    test("path::nobody_beyond_the_router", nobody_beyond_the_router),
];

const FAR: [&str; 2] = ["192.0.2.2", "fd77::2"];

/// A network namespace behind the one of this process, over a link that takes 1280 octets that way.
struct Far {
    namespace: Namespace,
    /// Stands for the namespace in the words of `ip`.
    holder: Child,
}

impl Drop for Far {
    fn drop(&mut self) {
        self.holder.kill().expect("our child");
        self.holder.wait().expect("our child");
    }
}

fn far() -> (Stack, Far) {
    private();
    let builder = Stack::builder().setting("tcp_syn_retries", "1");
    let stack = ["10.9.0.2/24", "fd09::2/64"]
        .iter()
        .fold(builder, |builder, address| builder.address(address.parse().expect("valid")));
    let stack = ["10.9.0.1", "fd09::1"]
        .iter()
        .fold(stack, |builder, gateway| builder.gateway(gateway.parse().expect("valid")));
    let stack = stack.tun("tun0").start().expect("a private namespace");
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{switch}"), "1").expect("ours in here");
    }
    let namespace = Namespace::new().expect("root in here");
    let mut holder = Command::new("sleep");
    namespace.enter_in(holder.arg("100")).expect("descriptors");
    let far = Far { namespace, holder: holder.spawn().expect("sleep") };
    ip(&format!("link add up0 mtu 1280 type veth peer name far0 netns {}", far.holder.id()));
    ip("address add 192.0.2.1/24 dev up0");
    ip("-6 address add fd77::1/64 dev up0 nodad");
    ip("link set up0 up");
    let there = || {
        ip("address add 192.0.2.2/24 dev far0");
        ip("-6 address add fd77::2/64 dev far0 nodad");
        ip("link set far0 up");
        ip("route add 10.9.0.0/24 via 192.0.2.1");
        ip("-6 route add fd09::/64 via fd77::1");
    };
    far.namespace.run(there).expect("root in here");
    (stack, far)
}

fn smaller_link_on_the_way() {
    let (stack, far) = far();
    for address in FAR {
        let at = SocketAddr::new(address.parse().expect("valid"), 9000);
        let listener = far.namespace.run(|| TcpListener::bind(at)).expect("root in here").expect("free");
        let stream = ours::TcpStream::connect(&stack, at).expect("there");
        assert!(stream.info().expect("open").snd_mss > 1280, "nobody knows yet");
        let data = pattern(1 << 20);
        let got = std::thread::scope(|scope| {
            let reading = scope.spawn(|| read_all(accept(&listener)));
            std::io::Write::write_all(&mut &stream, &data).expect("taken");
            stream.shutdown(std::net::Shutdown::Write).expect("open");
            reading.join().expect("no panic")
        });
        same(&got, &data, address);
        let mss = stream.info().expect("open").snd_mss;
        assert!(mss <= 1280 - 40, "{address}: {mss}");

        // The path is known: a datagram is cut to what it takes.
        let there = far.namespace.run(|| UdpSocket::bind(at)).expect("root in here").expect("free");
        there.set_read_timeout(Some(LIMIT)).expect("valid");
        let any: IpAddr = if at.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let here = ours::UdpSocket::bind(&stack, (any, 0)).expect("free");
        let mut buffer = [0; 4096];
        here.send_to(&data[..4000], at).expect("sent");
        assert_eq!(there.recv(&mut buffer).expect("put together"), 4000);
        assert!(buffer[..4000] == data[..4000]);
    }
    let counters = stack.counters();
    assert!(counters.icmp_in_dest_unreachs > 0 && counters.icmp6_in_pkt_too_bigs > 0, "the router told");
}

/// The router's errors say why there was no answer, and end nothing before its time (RFC 9293 §3.9.2.2).
fn nobody_beyond_the_router() {
    let (stack, _far) = far();
    // The kernel has no route there.
    for address in ["198.51.100.1", "fd99::1"] {
        let at = SocketAddr::new(address.parse().expect("valid"), 9);
        let begin = Instant::now();
        let error = ours::TcpStream::connect(&stack, at).expect_err("nobody");
        assert!(begin.elapsed() > Duration::from_secs(2), "one SYN and a second one");
        assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable, "{address}: {error}");
    }
}
