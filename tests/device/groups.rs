//! Broadcast and multicast between the stack and the kernel over a TUN.

use crate::harness::{Test, private, test};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tunstack::runtime::Stack;
use tunstack::socket::UdpSocket;

pub const TESTS: &[Test] = &[
    test("groups::broadcast_both_ways", broadcast_both_ways),
    test("groups::multicast_both_ways", multicast_both_ways),
];

const SOON: Option<Duration> = Some(Duration::from_secs(10));

fn start() -> Stack {
    let addresses = ["10.9.0.2/24", "fd09::2/64"].map(|text| text.parse().expect("valid"));
    let builder = Stack::builder().address(addresses[0]).address(addresses[1]).tun("t0");
    builder.start().unwrap_or_else(|error| panic!("{error}"))
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("valid"), port)
}

/// One of ours and one of the kernel's, both on this port.
fn both(stack: &Stack, port: u16) -> (UdpSocket, std::net::UdpSocket) {
    let ours = UdpSocket::bind(stack, at("0.0.0.0", port)).expect("bind");
    let theirs = std::net::UdpSocket::bind(at("0.0.0.0", port)).expect("bind");
    ours.set_read_timeout(SOON).expect("timeout");
    theirs.set_read_timeout(SOON).expect("timeout");
    (ours, theirs)
}

fn broadcast_both_ways() {
    private();
    let stack = start();
    let (ours, theirs) = both(&stack, 7000);
    // With this address, so that the kernel knows by which interface the limited broadcast goes.
    let from = std::net::UdpSocket::bind("10.9.0.1:0").expect("bind");
    let mut buffer = [0; 16];
    let denied = from.send_to(b"x", "10.9.0.255:7000").expect_err("nobody may without permission");
    let also = ours.send_to(b"x", "10.9.0.255:7000").expect_err("nor here");
    assert_eq!(also.raw_os_error(), denied.raw_os_error());
    from.set_broadcast(true).expect("permission");
    ours.set_broadcast(true).expect("permission");
    for to in ["10.9.0.255", "255.255.255.255"] {
        from.send_to(to.as_bytes(), at(to, 7000)).expect("send");
        let (len, sender) = ours.recv_from(&mut buffer).expect("from the kernel");
        assert_eq!((&buffer[..len], sender), (to.as_bytes(), from.local_addr().expect("name")));
        // Its own copy comes to the sender's host as well.
        let (len, _) = theirs.recv_from(&mut buffer).expect("its own");
        assert_eq!(&buffer[..len], to.as_bytes());
        ours.send_to(to.as_bytes(), at(to, 7000)).expect("send");
        let (len, sender) = theirs.recv_from(&mut buffer).expect("from the stack");
        assert_eq!((&buffer[..len], sender), (to.as_bytes(), at("10.9.0.2", 7000)));
        let (len, _) = ours.recv_from(&mut buffer).expect("our own");
        assert_eq!(&buffer[..len], to.as_bytes());
    }
}

fn multicast_both_ways() {
    private();
    let stack = start();
    let (ours, theirs) = both(&stack, 7000);
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let to = SocketAddr::new(IpAddr::V4(group), 7000);
    let from = std::net::UdpSocket::bind("10.9.0.1:0").expect("bind");
    let mut buffer = [0; 16];
    // What went before came before.
    from.send_to(b"nobody", to).expect("send");
    from.send_to(b"direct", "10.9.0.2:7000").expect("send");
    assert_eq!(ours.recv(&mut buffer).expect("from the kernel"), 6);
    assert_eq!(&buffer[..6], b"direct", "not a member");
    ours.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).expect("join");
    from.send_to(b"joined", to).expect("send");
    let (len, sender) = ours.recv_from(&mut buffer).expect("from the kernel");
    assert_eq!((&buffer[..len], sender), (&b"joined"[..], from.local_addr().expect("name")));
    theirs.join_multicast_v4(&group, &Ipv4Addr::new(10, 9, 0, 1)).expect("join");
    ours.set_multicast_loop_v4(false).expect("set");
    ours.send_to(b"to all", to).expect("send");
    let (len, sender) = theirs.recv_from(&mut buffer).expect("from the stack");
    assert_eq!((&buffer[..len], sender), (&b"to all"[..], at("10.9.0.2", 7000)));
    ours.leave_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).expect("leave");
    from.set_multicast_loop_v4(false).expect("set");
    from.send_to(b"left", to).expect("send");
    from.send_to(b"direct", "10.9.0.2:7000").expect("send");
    let (len, _) = ours.recv_from(&mut buffer).expect("what follows");
    assert_eq!(&buffer[..len], b"direct", "neither its own copy nor what came after leaving");
}
