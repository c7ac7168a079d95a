//! TUN devices against the kernel: set up, used, disturbed, undone.

use crate::harness::{Node, Test, Who, ip, private, test, test_as};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::time::Duration;
use tunstack::base::Instant;
use tunstack::host::TxPacket;
use tunstack::link::{BUFFER, Device, DeviceError, LinkEvent, Setup, Tun, exists, netns};

pub const TESTS: &[Test] = &[
    test("link::made_and_undone", made_and_undone),
    test_as("link::made_and_undone_rootless", Who::Nobody, Node::Open, made_and_undone),
    test("link::the_plan_is_what_is_done", the_plan_is_what_is_done),
    test("link::datagrams_both_ways", datagrams_both_ways),
    test_as("link::datagrams_both_ways_rootless", Who::Nobody, Node::Open, datagrams_both_ways),
    test("link::routes_lead_here", routes_lead_here),
    test("link::a_long_queue", a_long_queue),
    test("link::attached_and_left_alone", attached_and_left_alone),
    test("link::a_descriptor_handed_in", a_descriptor_handed_in),
    test("link::a_descriptor_from_elsewhere", a_descriptor_from_elsewhere),
    test("link::down_and_up", down_and_up),
    test("link::mtu_changed", mtu_changed),
    test("link::deleted", deleted),
    test("link::moved_away", moved_away),
    test("link::many_changes_at_once", many_changes_at_once),
    test("link::impaired", impaired),
    test("link::the_first_free_name", the_first_free_name),
];

const NOW: Instant = Instant::ZERO;

fn setup(addresses: &[&str]) -> Setup {
    Setup::new(addresses.iter().map(|text| text.parse().expect("valid")))
}

/// Opens a device where that must be possible.
fn open(setup: &Setup) -> Device {
    Device::tun(setup).unwrap_or_else(|error| panic!("{error}"))
}

fn wait_for(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "nothing came in five seconds");
}

/// The next UDP packet, whole.
fn datagram(device: &mut Device) -> Vec<u8> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match device.recv(NOW, &mut buffer).expect("alive") {
            None => wait_for(device.poll_fd().expect("a TUN has one")),
            // The kernel has things of its own to say, such as multicast reports.
            Some((len, _)) if is_udp(&buffer[..len]) => return buffer[..len].to_vec(),
            Some(_) => {}
        }
    }
}

fn is_udp(packet: &[u8]) -> bool {
    matches!(SlicedPacket::from_ip(packet).expect("from the kernel").transport, Some(TransportSlice::Udp(_)))
}

fn send(device: &mut Device, packet: &[u8]) -> Result<(), DeviceError> {
    let (head, tail) = packet.split_at(20);
    device.send(NOW, &TxPacket { parts: [head, &[], tail, &[]], meta: Default::default() })
}

fn next_event(device: &mut Device) -> LinkEvent {
    loop {
        if let Some(event) = device.poll_link_event() {
            return event;
        }
        wait_for(device.events_fd().expect("a TUN has one"));
    }
}

/// A datagram from the stack's address to the socket.
fn to_kernel(from: IpAddr, to: SocketAddr, text: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = match (from, to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        other => panic!("two families: {other:?}"),
    };
    builder.udp(4000, to.port()).write(&mut packet, text).expect("fits");
    packet
}

/// An echo over the device: the kernel's socket sends to the stack's address, and gets an answer.
fn echo(device: &mut Device, kernel: &str, stack: &str) {
    let (kernel, stack): (IpAddr, IpAddr) = (kernel.parse().expect("valid"), stack.parse().expect("valid"));
    let socket = UdpSocket::bind((kernel, 0)).expect("the kernel owns its side");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("valid");
    socket.send_to(b"hello", (stack, 4000)).expect("a route");
    let packet = datagram(device);
    let sliced = SlicedPacket::from_ip(&packet).expect("whole");
    let (from, to) = match sliced.net.as_ref().expect("IP") {
        NetSlice::Ipv4(ip) => {
            (IpAddr::V4(ip.header().source_addr()), IpAddr::V4(ip.header().destination_addr()))
        }
        NetSlice::Ipv6(ip) => {
            (IpAddr::V6(ip.header().source_addr()), IpAddr::V6(ip.header().destination_addr()))
        }
        NetSlice::Arp(_) => panic!("no ARP on this link"),
    };
    assert_eq!((from, to), (kernel, stack));
    assert!(packet.ends_with(b"hello"));
    send(device, &to_kernel(stack, socket.local_addr().expect("bound"), b"answer")).expect("up");
    let mut buffer = [0; 64];
    let (len, peer) = socket.recv_from(&mut buffer).expect("the kernel took it");
    assert_eq!((&buffer[..len], peer), (&b"answer"[..], SocketAddr::new(stack, 4000)));
}

fn made_and_undone() {
    private();
    let device = open(&setup(&["10.9.0.2/24", "fd09::2/64"]).named("t0"));
    assert_eq!((device.name(), device.link().mtu), (Some("t0"), 1500));
    assert!(exists("t0").expect("asked"));
    assert!(std::fs::read_to_string("/proc/self/net/route").expect("proc").contains("t0"));
    drop(device);
    assert!(!exists("t0").expect("asked"), "gone with its descriptor");
    let routes = std::fs::read_to_string("/proc/self/net/route").expect("proc");
    assert!(!routes.contains("t0"), "{routes}");
}

/// What is done equals what `--dry-run` prints: the same state results from both.
fn the_plan_is_what_is_done() {
    private();
    let mut wish = setup(&["10.9.0.2/24", "fd09::2/64", "10.8.0.1"]).named("t0");
    (wish.mtu, wish.queue) = (1400, 123);
    wish.routes = vec!["172.16.0.0/12".parse().expect("valid"), "fd0a::/32".parse().expect("valid")];
    let state = || {
        let link = ip("-o -d link show t0");
        let words = ["mtu 1400", "qlen 123", "addrgenmode none", "UP"];
        for word in words {
            assert!(link.contains(word), "{word}: {link}");
        }
        let addresses = ip("-o address show dev t0").replace("forever", "");
        let lines: Vec<&str> = addresses.lines().map(|line| line.split_once(':').expect("index").1).collect();
        format!("{lines:?}\n{}\n{}", ip("route show dev t0"), ip("-6 route show dev t0"))
    };
    let device = open(&wish);
    let ours = state();
    drop(device);
    for command in wish.plan().to_string().lines() {
        ip(command.strip_prefix("ip ").expect("an ip command"));
    }
    // Without anybody attached the interface has no carrier; that is all that may differ.
    let theirs = state().replace("linkdown ", "").replace("linkdown", "");
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeeze(&ours), squeeze(&theirs));
    ip(wish.plan().undo().strip_prefix("ip ").expect("an ip command"));
    assert!(!exists("t0").expect("asked"));
}

fn datagrams_both_ways() {
    private();
    let mut device = open(&setup(&["10.9.0.2/24", "fd09::2/64"]));
    assert!(matches!(device.recv(NOW, &mut [0; BUFFER]), Ok(None | Some(_))));
    echo(&mut device, "10.9.0.1", "10.9.0.2");
    echo(&mut device, "fd09::1", "fd09::2");
}

fn routes_lead_here() {
    private();
    let mut wish = setup(&["10.9.0.2/24", "10.77.0.1/32", "fd77::1"]);
    wish.kernel.push("fd09::1/64".parse().expect("valid"));
    wish.routes.push("192.168.0.0/16".parse().expect("valid"));
    let mut device = open(&wish);
    echo(&mut device, "10.9.0.1", "10.77.0.1");
    echo(&mut device, "10.9.0.1", "192.168.4.5");
    echo(&mut device, "fd09::1", "fd77::1");
}

/// conformance of the set-up to measure: a queue of 4000 holds 3000 packets that nobody reads; the kernel's 500 do not.
fn a_long_queue() {
    private();
    for (queue, least, most) in [(4000, 3000, 3000), (500, 400, 520)] {
        let mut device = open(&Setup { queue, ..setup(&["10.9.0.2/24"]) });
        let socket = UdpSocket::bind("10.9.0.1:0").expect("ours");
        for _ in 0..3000 {
            // ENOBUFS when the queue is full is what is measured.
            let _ = socket.send_to(&[1; 100], "10.9.0.2:9");
        }
        let mut count = 0;
        let mut buffer = vec![0; BUFFER];
        while let Some((len, _)) = device.recv(NOW, &mut buffer).expect("alive") {
            count += u32::from(is_udp(&buffer[..len]));
        }
        assert!((least..=most).contains(&count), "{count} of 3000 with a queue of {queue}");
    }
}

fn attached_and_left_alone() {
    private();
    ip("tuntap add dev t0 mode tun");
    ip("address add 10.9.0.1/24 dev t0");
    ip("link set t0 mtu 1300 txqueuelen 77 up");
    // The addresses only: a carrier comes and goes with whoever attaches.
    let before = ip("-o -4 address show dev t0");
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0"));
    let Device::Tun(tun) = &device else { panic!("a TUN") };
    assert!(!tun.was_made());
    assert_eq!(device.link().mtu, 1300, "the interface's, not the wish");
    echo(&mut device, "10.9.0.1", "10.9.0.2");
    drop(device);
    assert_eq!(ip("-o -4 address show dev t0"), before);
    assert!(ip("-o link show t0").contains("mtu 1300") && ip("-o link show t0").contains("qlen 77"));
}

fn a_descriptor_handed_in() {
    private();
    let iface = tun_tap::Iface::without_packet_info("fd%d", tun_tap::Mode::Tun).expect("a private namespace");
    let name = iface.name().to_owned();
    ip(&format!("address add 10.9.0.1/24 dev {name}"));
    ip(&format!("link set {name} mtu 1234 up"));
    // SAFETY: the descriptor is open and `iface` gives it up.
    let fd = unsafe { std::os::fd::OwnedFd::from_raw_fd(iface.into_raw_fd()) };
    let mut device = Device::from_fd(fd, None).expect("a plain TUN");
    assert_eq!((device.name(), device.link().mtu), (Some(&name[..]), 1234));
    assert!(matches!(device.recv(NOW, &mut [0; BUFFER]), Ok(None | Some(_))), "it does not block");
    echo(&mut device, "10.9.0.1", "10.9.0.2");
    ip(&format!("link set {name} down"));
    assert_eq!(next_event(&mut device), LinkEvent::Down);
}

/// A descriptor of an interface in another namespace, where one of the same name is here too.
fn a_descriptor_from_elsewhere() {
    private();
    let _here = open(&setup(&["10.9.0.2/24"]).named("t0"));
    let there = netns::Namespace::new().expect("root in here");
    let open = || {
        let iface = tun_tap::Iface::without_packet_info("t0", tun_tap::Mode::Tun).expect("root in there");
        ip("address add 10.9.0.1/24 dev t0");
        ip("link set t0 mtu 1300 up");
        // SAFETY: the descriptor is open and `iface` gives it up.
        unsafe { std::os::fd::OwnedFd::from_raw_fd(iface.into_raw_fd()) }
    };
    let fd = there.run(open).expect("entered");
    let said =
        Device::from_fd(fd.try_clone().expect("room"), None).expect_err("not the one here").to_string();
    assert!(
        said.contains("no interface t0 is in this network namespace") && said.contains("give its MTU"),
        "{said}"
    );
    let mut device = Device::from_fd(fd, Some(1300)).expect("a plain TUN");
    assert_eq!((device.link().mtu, device.poll_link_event()), (1300, None));
    assert!(device.events_fd().is_none());
    there.run(|| echo(&mut device, "10.9.0.1", "10.9.0.2")).expect("entered");
}

fn down_and_up() {
    private();
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0"));
    assert_eq!(device.poll_link_event(), None, "nothing has happened yet");
    let socket = UdpSocket::bind("0.0.0.0:0").expect("ours");
    let to = SocketAddr::new("10.9.0.1".parse().expect("valid"), socket.local_addr().expect("bound").port());
    let packet = to_kernel("10.9.0.2".parse().expect("valid"), to, b"x");
    send(&mut device, &packet).expect("up");
    ip("link set t0 down");
    assert_eq!(next_event(&mut device), LinkEvent::Down);
    let error = send(&mut device, &packet).expect_err("down");
    assert!(matches!(error, DeviceError::Down) && !error.is_final(), "{error:?}");
    assert_eq!(error.to_string(), "the interface is down");
    let mut buffer = vec![0; BUFFER];
    while device.recv(NOW, &mut buffer).expect("reading goes on").is_some() {}
    ip("link set t0 up");
    assert_eq!(next_event(&mut device), LinkEvent::Up);
    send(&mut device, &packet).expect("up again");
    let Device::Tun(tun) = &device else { panic!("a TUN") };
    assert!(tun.is_up());
}

fn mtu_changed() {
    private();
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0"));
    ip("link set t0 mtu 9000");
    assert_eq!(next_event(&mut device), LinkEvent::MtuChanged(9000));
    assert_eq!(device.link().mtu, 9000);
    ip("link set t0 mtu 68");
    assert_eq!(next_event(&mut device), LinkEvent::MtuChanged(68));
    ip("link set t0 txqueuelen 9");
    assert_eq!(device.poll_link_event(), None, "news about other things are none");
}

fn deleted() {
    private();
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0"));
    ip("link del t0");
    wait_for(device.events_fd().expect("a TUN has one"));
    // It goes down first.
    assert_eq!(next_event(&mut device), LinkEvent::Down);
    assert_eq!(next_event(&mut device), LinkEvent::Deleted);
    let fd = device.poll_fd().expect("a TUN has one");
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).expect("poll");
    assert!(fds[0].revents().contains(PollFlags::ERR));
    let error = device.recv(NOW, &mut [0; BUFFER]).expect_err("gone");
    assert!(error.is_final() && error.errno() == tunstack::host::Errno::ENODEV, "{error:?}");
    assert_eq!(error.to_string(), "the interface is gone");
    let packet = to_kernel("10.9.0.2".parse().expect("valid"), "10.9.0.1:9".parse().expect("valid"), b"x");
    assert!(send(&mut device, &packet).expect_err("gone").is_final());
}

/// Moved to another namespace it seems deleted from here, and works all the same.
fn moved_away() {
    private();
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0"));
    let there = netns::Namespace::new().expect("root in here");
    let mut command = std::process::Command::new("sleep");
    command.arg("60");
    there.enter_in(&mut command).expect("descriptors");
    let mut sleeper = command.spawn().expect("sleep");
    ip(&format!("link set t0 netns {}", sleeper.id()));
    assert!(!exists("t0").expect("asked"));
    let mut events = Vec::new();
    while let Some(event) = device.poll_link_event() {
        events.push(event);
    }
    assert!(!events.contains(&LinkEvent::Deleted), "{events:?}");
    there
        .run(|| {
            ip("address add 10.9.0.1/24 dev t0");
            ip("link set t0 up");
            echo(&mut device, "10.9.0.1", "10.9.0.2");
        })
        .expect("entered");
    sleeper.kill().expect("our child");
    sleeper.wait().expect("our child");
}

/// More news than the socket holds: the last state is told all the same.
fn many_changes_at_once() {
    private();
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0"));
    let script = "i=0; while [ $i -lt 400 ]; do echo link set t0 mtu $((1000 + i % 7)); i=$((i + 1)); done | ip -batch -; \
                  ip link set t0 mtu 1111; ip link set t0 down";
    let status = std::process::Command::new("sh").args(["-c", script]).status().expect("sh");
    assert!(status.success());
    let mut events = Vec::new();
    while events.last() != Some(&LinkEvent::Down) {
        events.push(next_event(&mut device));
    }
    assert!(events.contains(&LinkEvent::MtuChanged(1111)), "{events:?}");
    assert_eq!(device.link().mtu, 1111);
    assert_eq!(device.poll_link_event(), None);
}

fn impaired() {
    private();
    let conditions = "delay=30ms,down:drop=udp:1".parse().expect("valid");
    let mut device = open(&setup(&["10.9.0.2/24"]).named("t0")).impaired(&conditions, 7);
    assert_eq!((device.name(), device.next_timeout()), (Some("t0"), None));
    let socket = UdpSocket::bind("10.9.0.1:0").expect("ours");
    for text in [b"one", b"two"] {
        socket.send_to(text, "10.9.0.2:9").expect("a route");
    }
    let mut buffer = vec![0; BUFFER];
    wait_for(device.poll_fd().expect("a TUN has one"));
    let (zero, late) = (Instant::ZERO, Instant::ZERO + tunstack::base::Duration::from_millis(30));
    assert_eq!(device.recv(zero, &mut buffer).expect("alive"), None);
    assert_eq!(device.next_timeout(), Some(late));
    let mut texts = Vec::new();
    while let Some((len, _)) = device.recv(late, &mut buffer).expect("alive") {
        if is_udp(&buffer[..len]) {
            texts.push(buffer[len - 3..len].to_vec());
        }
    }
    assert_eq!(texts, [b"two".to_vec()]);
    // Towards the kernel too: nothing leaves before its time.
    socket.set_nonblocking(true).expect("valid");
    let packet = to_kernel("10.9.0.2".parse().expect("valid"), socket.local_addr().expect("bound"), b"back");
    device
        .send(late, &TxPacket { parts: [&packet, &[], &[], &[]], meta: Default::default() })
        .expect("queued");
    assert!(socket.recv(&mut [0; 8]).is_err());
    let due = device.next_timeout().expect("under way");
    assert_eq!(due, late + tunstack::base::Duration::from_millis(30));
    assert_eq!(device.recv(due, &mut buffer).expect("alive"), None);
    assert_eq!(socket.recv(&mut [0; 8]).expect("it left"), 4);
    let Device::Impaired(stage) = &device else { panic!("impaired") };
    assert_eq!((stage.stats().0.delivered, stage.stats().1.scripted), (1, 1));
}

fn the_first_free_name() {
    private();
    let (first, second) = (open(&setup(&["10.9.0.2/24"])), open(&setup(&["10.8.0.2/24"])));
    assert_eq!((first.name(), second.name()), (Some("tun0"), Some("tun1")));
    let Device::Tun(tun) = &first else { panic!("a TUN") };
    assert!(Tun::open(&setup(&["10.7.0.2/24"]).named("tun1")).is_err());
    assert!(tun.as_fd().try_clone_to_owned().is_ok());
}
