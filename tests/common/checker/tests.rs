//! The checker catches each fault: a good dialogue passes, and one packet of it made wrong fails under its own rule.

use super::super::packet::{self, ACK, ECE, FIN, PSH, RST, SYN, Tcp, TcpOption, URG};
use super::{Checker, Fault, Rule};
use std::net::{IpAddr, SocketAddr};
use tunstack::base::{Duration, Instant};

const OURS: u32 = 0xffff_fff0; // wraps within a few octets
const THEIRS: u32 = 5_000;

fn us() -> IpAddr {
    [10, 9, 0, 2].into()
}

fn them() -> IpAddr {
    [10, 9, 0, 1].into()
}

/// A dialogue seen by a checker: a modern handshake is behind it.
struct Scene {
    checker: Checker,
}

impl Scene {
    fn new() -> Scene {
        Scene { checker: Checker::new(1500, &[us()]) }
    }

    fn peer(&mut self, tcp: Tcp) -> &mut Scene {
        let tcp = Tcp { src_port: 40000, dst_port: 80, ..tcp };
        self.checker.arrived(&packet::tcp(them(), us(), &tcp));
        self
    }

    fn bytes(tcp: Tcp) -> Vec<u8> {
        packet::tcp(us(), them(), &Tcp { src_port: 80, dst_port: 40000, ..tcp })
    }

    fn send(&mut self, tcp: Tcp) -> Result<(), Fault> {
        self.checker.sent(Instant::ZERO, &Scene::bytes(tcp))
    }

    fn open(options: &[TcpOption], window: u16) -> Scene {
        let mut scene = Scene::new();
        scene.peer(Tcp {
            seq: THEIRS,
            flags: SYN,
            window,
            options: packet::write_options(options),
            ..Tcp::default()
        });
        let answer = Tcp {
            seq: OURS,
            ack: THEIRS + 1,
            flags: SYN | ACK,
            window: 1000,
            options: packet::write_options(&options.iter().map(reply).collect::<Vec<_>>()),
            ..Tcp::default()
        };
        scene.send(answer).expect("a good SYN-ACK");
        scene.peer(Tcp { seq: THEIRS + 1, ack: OURS.wrapping_add(1), flags: ACK, window, ..Tcp::default() });
        scene.checker.settle();
        scene
    }

    /// No options but MSS; the peer's window is 100, ours 1000.
    fn plain() -> Scene {
        Scene::open(&[TcpOption::Mss(1460)], 100)
    }

    fn modern() -> Scene {
        Scene::open(
            &[
                TcpOption::Mss(1460),
                TcpOption::SackOk,
                TcpOption::Timestamps(77, 0),
                TcpOption::Nop,
                TcpOption::Scale(2),
            ],
            100,
        )
    }
}

/// What we answer to an option of the peer's SYN.
fn reply(option: &TcpOption) -> TcpOption {
    match option {
        TcpOption::Timestamps(value, _) => TcpOption::Timestamps(500, *value),
        other => other.clone(),
    }
}

/// Data of ours at `seq` after the SYN, with the octets that belong there.
fn data(seq: u32, len: u32) -> Tcp {
    Tcp {
        seq: OURS.wrapping_add(seq),
        ack: THEIRS + 1,
        flags: PSH | ACK,
        window: 1000,
        payload: (seq..seq + len).map(|i| i as u8).collect(),
        ..Tcp::default()
    }
}

fn stamped(tcp: Tcp, value: u32, echo: u32) -> Tcp {
    let options = [TcpOption::Nop, TcpOption::Nop, TcpOption::Timestamps(value, echo)];
    Tcp { options: packet::write_options(&options), ..tcp }
}

fn sack(left: u32, right: u32) -> Tcp {
    let blocks = TcpOption::Sack(vec![(THEIRS + left, THEIRS + right)]);
    let options = [
        TcpOption::Nop,
        TcpOption::Nop,
        TcpOption::Timestamps(500, 77),
        TcpOption::Nop,
        TcpOption::Nop,
        blocks,
    ];
    Tcp { options: packet::write_options(&options), payload: Vec::new(), flags: ACK, ..data(1, 0) }
}

#[track_caller]
fn breaks(rule: Rule, result: Result<(), Fault>) -> Rule {
    match result {
        Err(fault) => assert_eq!(fault.rule, rule, "{fault}"),
        Ok(()) => panic!("{rule:?} was not noticed"),
    }
    rule
}

/// `bytes` with the IPv4 header changed and its checksum mended.
fn with_header(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut bytes);
    bytes[10..12].fill(0);
    let sum = packet::sum(&[&bytes[..20]]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn a_good_dialogue_passes() {
    let mut scene = Scene::plain();
    scene.send(data(1, 60)).expect("inside the window");
    scene.send(data(61, 40)).expect("up to the edge");
    scene.send(data(1, 100)).expect("again, joined");
    scene.peer(Tcp {
        seq: THEIRS + 1,
        ack: OURS.wrapping_add(101),
        flags: ACK | FIN,
        window: 50,
        ..Tcp::default()
    });
    let fin = Tcp { ack: THEIRS + 2, flags: FIN | ACK, window: 999, ..data(101, 0) };
    scene.send(fin.clone()).expect("FIN");
    scene.send(fin).expect("FIN again");

    let mut scene = Scene::modern();
    scene.send(stamped(data(1, 100), 500, 77)).expect("data");
    scene.peer(Tcp {
        seq: THEIRS + 11,
        flags: ACK,
        ack: OURS.wrapping_add(1),
        payload: vec![0; 5],
        ..Tcp::default()
    });
    scene.send(Tcp { seq: OURS.wrapping_add(101), ..sack(11, 16) }).expect("a block that came");
}

#[test]
fn faults_of_ip_are_caught() {
    let good = || Scene::bytes(data(1, 4));
    let sent = |bytes: &[u8]| Scene::plain().checker.sent(Instant::ZERO, bytes);
    sent(&good()).expect("good as it is");
    let mut broken = good();
    broken.push(0);
    breaks(Rule::Structure, sent(&broken));
    breaks(Rule::Structure, sent(&good()[..30]));
    breaks(Rule::Mtu, sent(&vec![0x45; 1501]));
    let mut broken = good();
    broken[10] ^= 1;
    breaks(Rule::IpChecksum, sent(&broken));
    let mut broken = good();
    broken[40] ^= 1;
    breaks(Rule::TransportChecksum, sent(&broken));
    breaks(Rule::Ttl, sent(&with_header(good(), |b| b[8] = 0)));
    breaks(Rule::Reserved, sent(&with_header(good(), |b| b[6] |= 0x80)));
    breaks(Rule::Id, sent(&with_header(good(), |b| b[6] |= 0x20)));
    let tcp = Tcp { src_port: 80, dst_port: 40000, ..data(1, 4) };
    breaks(Rule::Source, sent(&packet::tcp([10, 9, 0, 3].into(), them(), &tcp)));
    breaks(Rule::Destination, sent(&packet::tcp(us(), [224, 0, 0, 1].into(), &tcp)));
    breaks(Rule::Destination, sent(&packet::tcp(us(), [0, 0, 0, 0].into(), &tcp)));
}

#[test]
fn faults_of_udp_over_ipv6_are_caught() {
    let (us, them): (IpAddr, IpAddr) = ("fd09::2".parse().expect("v6"), "fd09::1".parse().expect("v6"));
    let mut checker = Checker::new(1500, &[us]);
    let good = packet::udp(SocketAddr::new(us, 7), SocketAddr::new(them, 9), b"abc");
    checker.sent(Instant::ZERO, &good).expect("good as it is");
    let mut absent = good.clone();
    absent[46..48].fill(0);
    breaks(Rule::TransportChecksum, checker.sent(Instant::ZERO, &absent));
    let mut short = good;
    short[45] -= 1;
    breaks(Rule::Structure, checker.sent(Instant::ZERO, &short));
}

#[test]
fn faults_of_fragments_are_caught() {
    let whole = packet::udp(SocketAddr::new(us(), 7), SocketAddr::new(them(), 9), &[7; 100]);
    let whole = packet::Packet::parse(&whole).expect("good");
    let payload = whole.payload().to_vec();
    let piece = |from: usize, to: usize, id: u16| {
        packet::fragment_v4(&whole, &payload[from..to], id, from, to < payload.len())
    };
    let scene = || Checker::new(1500, &[us()]);
    let mut checker = scene();
    checker.sent(Instant::ZERO, &piece(64, 108, 1)).expect("the last first");
    checker.sent(Instant::ZERO, &piece(0, 64, 1)).expect("completes it");
    let mut later = piece(0, 64, 1);
    checker.sent(Instant::ZERO + Duration::from_secs(1), &later).expect("only a part");
    let again = checker.sent(Instant::ZERO + Duration::from_secs(1), &piece(64, 108, 1));
    breaks(Rule::Id, again);
    let mut checker = scene();
    checker.sent(Instant::ZERO, &piece(0, 64, 2)).expect("a part");
    breaks(Rule::Fragments, checker.sent(Instant::ZERO, &piece(56, 108, 2)));
    breaks(Rule::Fragments, scene().sent(Instant::ZERO, &piece(0, 63, 3)));
    later[40] ^= 1;
    let mut checker = scene();
    checker.sent(Instant::ZERO, &later).expect("a part");
    breaks(Rule::TransportChecksum, checker.sent(Instant::ZERO, &piece(64, 108, 1)));
    let twice = packet::ip_with(us(), them(), packet::UDP, &payload, |header| header.dont_fragment = false);
    let mut checker = scene();
    checker.sent(Instant::ZERO, &twice).expect("once");
    breaks(Rule::Id, checker.sent(Instant::ZERO, &twice));
}

#[test]
fn faults_of_icmp_errors_are_caught() {
    let cause = packet::udp(SocketAddr::new(them(), 9), SocketAddr::new(us(), 7), &[7; 100]);
    let error = |about: &[u8]| packet::icmp(us(), them(), 3, 3, [0; 4], about);
    let check = |cause: &[u8], error: &[u8]| {
        let mut checker = Checker::new(1500, &[us()]);
        checker.arrived(cause);
        checker.sent(Instant::ZERO, error)
    };
    check(&cause, &error(&cause)).expect("good as it is");
    breaks(Rule::IcmpError, check(&cause, &error(&cause[..24])));
    breaks(Rule::IcmpError, Checker::new(1500, &[us()]).sent(Instant::ZERO, &error(&cause)));
    let about = packet::icmp(them(), us(), 11, 0, [0; 4], &cause);
    breaks(Rule::IcmpError, check(&about, &error(&about)));
    let broadcast = packet::udp(SocketAddr::new(them(), 9), "255.255.255.255:7".parse().expect("v4"), &[7]);
    breaks(Rule::IcmpError, check(&broadcast, &error(&broadcast)));
    let big = packet::udp(SocketAddr::new(them(), 9), SocketAddr::new(us(), 7), &[7; 1000]);
    breaks(Rule::IcmpError, check(&big, &error(&big)));
}

#[test]
fn faults_of_a_single_segment_are_caught() {
    let sent = |tcp: Tcp| Scene::plain().send(tcp);
    sent(data(1, 4)).expect("good as it is");
    breaks(Rule::Options, sent(Tcp { options: vec![254, 9, 0, 0], ..data(1, 4) }));
    breaks(Rule::Options, sent(Tcp { options: vec![0, 0, 0, 1], ..data(1, 4) }));
    breaks(Rule::Options, sent(Tcp { options: vec![4, 2, 4, 2], flags: SYN | ACK, ..data(0, 0) }));
    breaks(Rule::SynOptions, sent(Tcp { options: vec![2, 4, 5, 0], ..data(1, 4) }));
    breaks(Rule::SynOptions, sent(Tcp { options: vec![3, 3, 15, 0], flags: SYN | ACK, ..data(0, 0) }));
    breaks(Rule::Flags, sent(Tcp { flags: SYN | FIN, ..data(0, 0) }));
    breaks(Rule::Flags, sent(Tcp { flags: PSH, ..data(1, 4) }));
    breaks(Rule::Flags, sent(Tcp { flags: RST, ..data(1, 4) }));
    breaks(Rule::Flags, sent(Tcp { flags: ACK | ECE, ..data(1, 4) }));
    breaks(Rule::Flags, sent(Tcp { flags: RST, ..data(1, 0) }));
    breaks(Rule::Urgent, sent(Tcp { urgent: 1, ..data(1, 4) }));
    sent(Tcp { urgent: 1, flags: URG | ACK, ..data(1, 4) }).expect("urgent data");
    let mut scene = Scene::plain();
    let reserved = packet::ip(us(), them(), packet::TCP, &{
        let mut octets =
            packet::tcp_payload(us(), them(), &Tcp { src_port: 80, dst_port: 40000, ..data(1, 4) });
        octets[12] |= 0x02;
        let checksum = u16::from_be_bytes([octets[16], octets[17]]) - 0x0200;
        octets[16..18].copy_from_slice(&checksum.to_be_bytes());
        octets
    });
    breaks(Rule::Reserved, scene.checker.sent(Instant::ZERO, &reserved));
}

#[test]
fn faults_against_what_was_agreed_are_caught() {
    breaks(Rule::Negotiated, Scene::plain().send(stamped(data(1, 4), 1, 0)));
    breaks(Rule::Negotiated, Scene::modern().send(data(1, 4)));
    let mut scene = Scene::new();
    scene.peer(Tcp { seq: THEIRS, flags: SYN, ..Tcp::default() });
    let options = packet::write_options(&[TcpOption::Scale(7)]);
    let answer = Tcp { seq: OURS, ack: THEIRS + 1, flags: SYN | ACK, options, ..Tcp::default() };
    breaks(Rule::Negotiated, scene.send(answer));
    breaks(Rule::Timestamps, Scene::modern().send(stamped(data(1, 4), 499, 77)));
    breaks(Rule::Timestamps, Scene::modern().send(stamped(data(1, 4), 501, 78)));
    Scene::modern().send(stamped(data(1, 4), 501, 77)).expect("good as it is");
    breaks(Rule::Sack, Scene::modern().send(sack(11, 16)));
    let mut scene = Scene::modern();
    scene.peer(Tcp { seq: THEIRS + 11, payload: vec![0; 5], ..Tcp::default() });
    breaks(Rule::Sack, scene.send(sack(16, 11)));
    breaks(Rule::Sack, scene.send(sack(11, 17)));
    scene.send(sack(11, 16)).expect("good as it is");
    let mut scene = Scene::open(&[TcpOption::Mss(50)], 1000);
    breaks(Rule::Mss, scene.send(data(1, 51)));
    breaks(Rule::Mss, Scene::open(&[], 1000).send(data(1, 537)));
    Scene::open(&[], 1000).send(data(1, 536)).expect("good as it is");
}

#[test]
fn faults_of_the_stream_are_caught() {
    breaks(Rule::Sequence, Scene::plain().send(data(2, 4)));
    breaks(Rule::PeerWindow, Scene::plain().send(data(1, 101)));
    let mut scene = Scene::plain();
    scene.send(data(1, 50)).expect("good");
    let other = Tcp { payload: vec![0xee; 4], ..data(20, 4) };
    breaks(Rule::SameOctets, scene.send(other));
    breaks(Rule::Ack, Scene::plain().send(Tcp { ack: THEIRS + 2, ..data(1, 4) }));
    let mut scene = Scene::plain();
    scene.peer(Tcp {
        seq: THEIRS + 1,
        flags: ACK,
        ack: OURS.wrapping_add(1),
        window: 100,
        payload: vec![0; 9],
        ..Tcp::default()
    });
    scene.send(Tcp { ack: THEIRS + 10, window: 991, ..data(1, 4) }).expect("good");
    breaks(Rule::Ack, scene.send(Tcp { ack: THEIRS + 5, ..data(1, 4) }));
    breaks(Rule::WindowEdge, scene.send(Tcp { ack: THEIRS + 10, window: 990, ..data(1, 4) }));
    let mut scene = Scene::plain();
    scene.send(Tcp { flags: FIN | ACK, ..data(1, 4) }).expect("good");
    breaks(Rule::AfterFin, scene.send(data(5, 1)));
    breaks(Rule::AfterFin, scene.send(Tcp { flags: FIN | ACK, ..data(1, 3) }));
    let mut scene = Scene::modern();
    let scaled = |window| Tcp { window, ..stamped(data(1, 1), 500, 77) };
    scene.send(scaled(1000)).expect("1000 << 2 is beyond what the SYN-ACK said");
    breaks(Rule::WindowEdge, scene.send(scaled(998)));
    scene.send(scaled(1000)).expect("good as it is");
}

#[test]
fn faults_of_resets_are_caught() {
    let reset = Tcp { flags: RST, seq: OURS.wrapping_add(1), ..Tcp::default() };
    breaks(Rule::RstForRst, Scene::plain().send(reset.clone()));
    let mut scene = Scene::plain();
    scene.peer(Tcp { flags: RST | ACK, seq: 1, ack: OURS.wrapping_add(1), ..Tcp::default() });
    breaks(Rule::RstForRst, scene.send(reset.clone()));
    let mut scene = Scene::plain();
    scene.checker.acted();
    scene.send(reset.clone()).expect("the user aborts");
    breaks(Rule::RstSequence, scene.send(Tcp { seq: OURS.wrapping_add(77), ..reset.clone() }));
    let mut scene = Scene::new();
    scene.peer(Tcp { flags: ACK, seq: 9, ack: 7777, ..Tcp::default() });
    breaks(Rule::RstSequence, scene.send(Tcp { seq: 0, ..reset.clone() }));
    scene.send(Tcp { seq: 7777, ..reset.clone() }).expect("good as it is");
    let mut scene = Scene::new();
    scene.peer(Tcp { flags: SYN, seq: 9, payload: vec![0; 5], ..Tcp::default() });
    let answer = |ack| Tcp { flags: RST | ACK, seq: 0, ack, ..Tcp::default() };
    breaks(Rule::RstSequence, scene.send(answer(10)));
    scene.send(answer(15)).expect("SYN and data counted");
}

/// A rule that no test above breaks would be a rule that nobody knows to work.
#[test]
fn every_rule_has_its_fault() {
    let text = include_str!("tests.rs");
    for rule in Rule::ALL {
        assert!(text.contains(&format!("breaks(Rule::{rule:?}, ")), "{rule:?} is never broken");
    }
}
