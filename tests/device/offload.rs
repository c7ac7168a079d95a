//! Segmentation and checksum offload against the kernel: asked for, refused, handed in, used both ways, switched off.

use crate::harness::{Test, ip, private, skip, test};
use etherparse::{SlicedPacket, TransportSlice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use tunstack::base::Instant;
use tunstack::host::Link;
use tunstack::link::{BUFFER, Device, LinkEvent, Offload, Setup};
use tunstack::runtime::Stack;
use tunstack::socket::{TcpListener, TcpStream};

pub const TESTS: &[Test] = &[
    test("offload::there_unless_refused", there_unless_refused),
    test("offload::falls_back_without_headers", falls_back_without_headers),
    test("offload::falls_back_without_segmentation", falls_back_without_segmentation),
    test("offload::a_descriptor_handed_in", a_descriptor_handed_in),
    test("offload::every_attachment_sets_its_own", every_attachment_sets_its_own),
    test("offload::super_segments_both_ways", super_segments_both_ways),
    test("offload::wire_sizes_both_ways_without", wire_sizes_both_ways_without),
    test("offload::trains_of_datagrams", trains_of_datagrams),
    test("offload::impaired_is_of_wire_size", impaired_is_of_wire_size),
];

const OFF: Link = Link { mtu: 1500, max_packet: 1500, checksum_offload: false, datagram_trains: false };
const ON: Link = Link { mtu: 1500, max_packet: 65_535, checksum_offload: true, datagram_trains: true };

fn setup(offload: Offload) -> Setup {
    let addresses = ["10.9.0.2/24", "fd09::2/64"].map(|text| text.parse().expect("valid"));
    Setup { offload, ..Setup::new(addresses).named("t0") }
}

fn open(setup: &Setup) -> Device {
    Device::tun(setup).unwrap_or_else(|error| panic!("{error}"))
}

fn why(device: &Device) -> Option<&'static str> {
    let Device::Tun(tun) = device else { panic!("a TUN") };
    tun.offload_refused()
}

fn there_unless_refused() {
    private();
    for (wish, link) in [(Offload::Auto, ON), (Offload::On, ON), (Offload::Off, OFF)] {
        let mut device = open(&setup(wish));
        assert_eq!((device.link(), why(&device)), (link, None), "{wish:?}");
        ip("link set t0 mtu 1400");
        while device.poll_link_event() != Some(LinkEvent::MtuChanged(1400)) {}
        let most = if link == ON { 65_535 } else { 1400 };
        assert_eq!(device.link(), Link { mtu: 1400, max_packet: most, ..link });
    }
}

/// From now on the kernel refuses this `ioctl` when its argument is not zero, as one does that does not know it.
fn forbid(operation: libc::Ioctl) {
    let [nr, number, argument] = [0, 24, 32];
    let load = |at| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: at };
    let skip_unless = |value, jf| libc::sock_filter { code: 0x15, jt: 0, jf, k: value };
    let give = |k| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let program = [
        load(nr),
        skip_unless(libc::SYS_ioctl as u32, 4),
        load(number),
        skip_unless(operation as u32, 2),
        load(argument),
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: 0 },
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program outlives the call, which copies it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter)
    };
    if result != 0 {
        skip(&format!("system calls cannot be forbidden: {}", std::io::Error::last_os_error()));
    }
}

fn falls_back(operation: libc::Ioctl, reason: &str) {
    private();
    forbid(operation);
    let device = open(&setup(Offload::Auto));
    assert_eq!((device.link(), why(&device)), (OFF, Some(reason)));
    drop(device);
    let device = open(&setup(Offload::Off));
    assert_eq!((device.link(), why(&device)), (OFF, None), "not wished for");
    drop(device);
    let said = Device::tun(&setup(Offload::On)).expect_err("refused").to_string();
    assert_eq!(said, format!("no segmentation offload: {reason}; do without it (`--offload auto` or `off`)"));
}

fn falls_back_without_headers() {
    falls_back(libc::TUNGETFEATURES, "this kernel has no IFF_VNET_HDR");
}

fn falls_back_without_segmentation() {
    falls_back(libc::TUNSETOFFLOAD, "the kernel refuses TUNSETOFFLOAD");
}

fn descriptor(flags: libc::c_int) -> OwnedFd {
    let fd =
        OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/net/tun").expect("node"));
    // SAFETY: all zeroes are a valid `ifreq`; TUNSETIFF reads and writes one.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b't' as libc::c_char, b'0' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | flags) as libc::c_short;
        libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &mut request)
    };
    assert_eq!(result, 0, "a private namespace");
    fd
}

/// The header's length may have been set to another by whoever made it.
fn a_descriptor_handed_in() {
    private();
    let fd = descriptor(libc::IFF_VNET_HDR);
    // SAFETY: TUNSETVNETHDRSZ reads one `int`.
    assert_eq!(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &12) }, 0);
    ip("address add 10.9.0.1/24 dev t0");
    ip("-6 address add fd09::1/64 dev t0 nodad");
    ip("link set t0 up");
    let device = Device::from_fd(fd, None).expect("a TUN");
    assert_eq!(device.link(), ON);
    both_ways(device);
}

fn device_of(offload: Offload) -> Device {
    private();
    open(&setup(offload))
}

/// 8 MiB each way over both families. Gives the packets that crossed towards the stack and from it.
fn both_ways(device: Device) -> (u64, u64) {
    let builder = Stack::builder().address("10.9.0.2/24".parse().expect("valid")).device(device);
    let stack = builder.address("fd09::2/64".parse().expect("valid")).start().expect("possible");
    let data: Vec<u8> = (0..8u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for ours in ["10.9.0.2:7", "[fd09::2]:7"] {
        let listener = TcpListener::bind(&stack, ours).expect("bind");
        let kernel = std::net::TcpStream::connect(ours).expect("connect");
        let (mine, _) = listener.accept().expect("accept");
        carry(&kernel, &mine, &data, || kernel.shutdown(Shutdown::Write).expect("open"));
        carry(&mine, &kernel, &data, || mine.shutdown(Shutdown::Write).expect("open"));
    }
    let link = ip("-s link show t0");
    let numbers = |title: &str| {
        let (_, rest) = link.split_once(title).expect("statistics");
        let words: Vec<u64> =
            rest.lines().nth(1).expect("numbers").split_whitespace().map_while(|w| w.parse().ok()).collect();
        words[1]
    };
    // What the interface receives we have sent.
    (numbers("TX:"), numbers("RX:"))
}

fn carry(mut from: impl Write + Send, mut to: impl Read, data: &[u8], end: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            from.write_all(data).expect("write");
            end();
        });
        let mut got = Vec::new();
        to.read_to_end(&mut got).expect("read");
        assert!(got == data, "{} of {} octets", got.len(), data.len());
    });
}

fn super_segments_both_ways() {
    let (towards, from) = both_ways(device_of(Offload::On));
    // 16 MiB are 11,586 segments; each packet that crosses carries many, acknowledgments counted.
    assert!(towards < 5_000 && from < 5_000, "{towards} packets came, {from} left");
}

fn wire_sizes_both_ways_without() {
    let (towards, from) = both_ways(device_of(Offload::Off));
    assert!(towards > 11_000 && from > 11_000, "{towards} packets came, {from} left");
}

/// What one program left set on a lasting interface must not be what the next one gets.
fn every_attachment_sets_its_own() {
    private();
    ip("tuntap add dev t0 mode tun");
    ip("address add 10.9.0.1/24 dev t0");
    ip("-6 address add fd09::1/64 dev t0 nodad");
    ip("link set t0 txqueuelen 4000 up");
    for (offload, link) in [(Offload::Auto, ON), (Offload::Off, OFF), (Offload::On, ON), (Offload::Off, OFF)]
    {
        let mut device = open(&setup(offload));
        assert_eq!((device.link(), why(&device)), (link, None));
        let sizes = train(&mut device, &[1; 5000], "10.9.0.1", "10.9.0.2");
        assert_eq!(sizes.len(), if link == ON { 1 } else { 5 }, "{sizes:?}");
    }
}

/// Sends one train of datagrams of 1,000 octets; the sizes of the UDP packets that arrive, all with right checksums.
fn train(device: &mut Device, text: &[u8], kernel: &str, stack: &str) -> Vec<usize> {
    let (kernel, stack): (IpAddr, IpAddr) = (kernel.parse().expect("valid"), stack.parse().expect("valid"));
    let socket = UdpSocket::bind((kernel, 0)).expect("the kernel owns its side");
    cut_into(&socket, 1000);
    socket.send_to(text, (stack, 4000)).expect("a route");
    let (mut sizes, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    let now = Instant::ZERO;
    while sizes.iter().sum::<usize>() < text.len() {
        let Some((len, meta)) = device.recv(now, &mut buffer).expect("alive") else {
            let fd = device.poll_fd().expect("a TUN has one");
            let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
            assert_eq!(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)), Ok(1), "{sizes:?} came");
            continue;
        };
        let packet = SlicedPacket::from_ip(&buffer[..len]).expect("from the kernel");
        let Some(TransportSlice::Udp(udp)) = packet.transport else { continue };
        let ends = (buffer[12..16].try_into().expect("IPv4"), buffer[16..20].try_into().expect("IPv4"));
        let sum = udp.to_header().calc_checksum_ipv4_raw(ends.0, ends.1, udp.payload()).expect("short");
        assert!(
            meta.checksum_trusted || sum == udp.checksum(),
            "a checksum that is neither complete nor trusted"
        );
        sizes.push(udp.payload().len());
    }
    sizes
}

/// `UDP_SEGMENT`: what is sent at once leaves as a train of datagrams of this size.
fn cut_into(socket: &UdpSocket, size: libc::c_int) {
    // SAFETY: UDP_SEGMENT reads one `int`.
    let result = unsafe {
        let value = (&raw const size).cast();
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            value,
            size_of_val(&size) as u32,
        )
    };
    if result != 0 {
        skip(&format!("UDP_SEGMENT: {}", std::io::Error::last_os_error()));
    }
}

/// A train arrives as the datagrams that it is made of; one that is shorter ends it.
fn trains_of_datagrams() {
    let builder =
        Stack::builder().address("10.9.0.2/24".parse().expect("valid")).device(device_of(Offload::On));
    let stack = builder.address("fd09::2/64".parse().expect("valid")).start().expect("possible");
    for (ours, theirs) in [("10.9.0.2:9", "10.9.0.1:0"), ("[fd09::2]:9", "[fd09::1]:0")] {
        let mine = tunstack::socket::UdpSocket::bind(&stack, ours).expect("bind");
        mine.set_read_timeout(Some(Duration::from_secs(5))).expect("valid");
        let kernel = UdpSocket::bind(theirs).expect("ours");
        cut_into(&kernel, 1000);
        let text: Vec<u8> = (0..4300).map(|n| (n % 251) as u8).collect();
        kernel.send_to(&text, ours).expect("a route");
        let mut buffer = vec![0; BUFFER];
        for part in text.chunks(1000) {
            let (len, from) = mine.recv_from(&mut buffer).expect("it came");
            assert_eq!(from, kernel.local_addr().expect("bound"));
            assert!(buffer[..len] == *part, "{len} octets");
        }
        kernel.send_to(b"", ours).expect("a route");
        assert_eq!(mine.recv_from(&mut buffer).expect("it came").0, 0);
        // The other way: one packet for the device, five datagrams for the kernel.
        mine.set_segment_size(Some(1000)).expect("an option");
        let sent = || {
            let counters = stack.counters();
            (counters.ip_out_requests + counters.ip6_out_requests, counters.udp_out_datagrams)
        };
        let before = sent();
        mine.send_to(&text, kernel.local_addr().expect("bound")).expect("a route");
        assert_eq!(sent(), (before.0 + 1, before.1 + 5));
        kernel.set_read_timeout(Some(Duration::from_secs(5))).expect("valid");
        for part in text.chunks(1000) {
            let (len, from) = kernel.recv_from(&mut buffer).expect("it came");
            assert_eq!(from, mine.local_addr().expect("bound"));
            assert!(buffer[..len] == *part, "{len} octets");
        }
    }
    let refused = TcpStream::connect(&stack, "10.9.0.1:1").expect_err("nobody is there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn impaired_is_of_wire_size() {
    let device = device_of(Offload::On);
    let mut device = device.impaired(&"loss=0%".parse().expect("valid"), 1);
    assert_eq!(device.link(), OFF);
    assert_eq!(train(&mut device, &[7; 4300], "10.9.0.1", "10.9.0.2"), [1000, 1000, 1000, 1000, 300]);
}
