//! What the internet layer does with packets: inject one, look at the verdict and at what comes out.
//!
//! Stimuli are built and answers are checked with `etherparse`, independently of `wire`.

mod echo;
mod errors_received;
mod errors_sent;
mod extensions;
mod fragments;
mod ipv4;
mod ipv6;
mod overlaps;
mod sending;
mod storm;

use super::*;
use crate::base::io::MtuDiscover;
use crate::base::{Counters, Duration, Pool};
use crate::trace::{Tracer, Why};
use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host at 10.9.0.2/24 and fd09::2/64, on a link of 1500 octets, with default routes.
pub(super) struct Lab {
    pub(super) net: Network,
    pub(super) config: Config,
    pub(super) counters: Counters,
    pub(super) now: Instant,
    rng: Rng,
    pool: Pool,
    trace: Tracer,
    budget: u32,
}

pub(super) const US: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(super) const US6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
pub(super) const PEER6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
pub(super) const UDP: u8 = 17;

impl Lab {
    pub(super) fn new() -> Lab {
        Lab::with_seed(1)
    }

    pub(super) fn with_seed(seed: u64) -> Lab {
        let mut rng = Rng::from_seed(seed);
        let mut net = Network::new(&mut rng);
        for address in ["10.9.0.2/24", "fd09::2/64"] {
            net.add_address(address.parse().expect("valid")).expect("possible");
        }
        net.add_route("0.0.0.0/0".parse().expect("valid"), Some(PEER.into())).expect("possible");
        net.add_route("::/0".parse().expect("valid"), Some(PEER6.into())).expect("possible");
        Lab {
            net,
            config: Config { icmp_msgs_burst: 1000, ..Config::default() },
            counters: Counters::default(),
            now: Instant::from_nanos(1_000_000_000),
            rng,
            pool: Pool::default(),
            trace: Tracer::default(),
            budget: 0,
        }
    }

    /// Calls the network with everything it is handed.
    pub(super) fn with<T>(&mut self, call: impl FnOnce(&mut Network, &mut Env<'_>) -> T) -> T {
        let mut env = Env {
            now: self.now,
            config: &self.config,
            counters: &mut self.counters,
            rng: &mut self.rng,
            pool: &mut self.pool,
            trace: &mut self.trace,
            challenge_budget: &mut self.budget,
        };
        call(&mut self.net, &mut env)
    }

    /// A packet from the link.
    pub(super) fn inject<'a>(&mut self, packet: &'a [u8]) -> Verdict<'a> {
        self.with(|net, env| net.receive(env, packet, false, true))
    }

    /// A packet from the link that must be dropped without an answer.
    #[track_caller]
    pub(super) fn refuse(&mut self, packet: &[u8], reason: Drop) {
        assert_eq!(self.inject(packet), Verdict::Done(Reason::Dropped(reason)));
        assert_eq!(self.sent(), Vec::<Vec<u8>>::new(), "silence");
    }

    /// A packet from the link that must reach a transport; returns what that gets.
    #[track_caller]
    pub(super) fn deliver<'a>(&mut self, packet: &'a [u8]) -> Delivery<'a> {
        match self.inject(packet) {
            Verdict::Deliver(delivery) => delivery,
            other => panic!("not delivered: {other:?}"),
        }
    }

    /// What went to the link since the last call, each packet checked.
    #[track_caller]
    pub(super) fn sent(&mut self) -> Vec<Vec<u8>> {
        let out: Vec<Outgoing> = std::iter::from_fn(|| self.net.pop_output()).collect();
        let to_wire: Vec<_> = out.into_iter().filter(|out| !out.loopback).map(|out| out.bytes).collect();
        to_wire.iter().for_each(|packet| self.check(packet));
        to_wire
    }

    /// The one packet that went to the link.
    #[track_caller]
    pub(super) fn sent_one(&mut self) -> Vec<u8> {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "one packet: {sent:?}");
        sent.remove(0)
    }

    /// What is true of every packet that leaves.
    #[track_caller]
    fn check(&self, packet: &[u8]) {
        assert!(packet.len() <= self.net.link_mtu as usize, "within the MTU");
        let own = |address: IpAddr| self.net.addresses().iter().any(|own| own.address == address);
        if packet[0] >> 4 == 4 {
            let header = etherparse::Ipv4HeaderSlice::from_slice(packet).expect("a header").to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len), packet.len());
            assert_eq!(packet[6] & 0x80, 0, "reserved flag");
            assert!(header.time_to_live > 0 && own(IpAddr::from(header.source)));
        } else {
            let header = etherparse::Ipv6HeaderSlice::from_slice(packet).expect("a header").to_header();
            assert_eq!(usize::from(header.payload_length) + 40, packet.len());
            assert!(header.hop_limit > 0 && own(IpAddr::from(header.source)));
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.with(|net, env| net.advance(env));
    }

    /// Sends `len` octets of UDP-like payload, as a datagram socket would.
    pub(super) fn send(&mut self, dst: IpAddr, len: usize, discover: MtuDiscover) -> Result<Vec<u8>, Errno> {
        let payload = pattern(len);
        let src = self.net.source_for(dst)?;
        let out = out(src, dst, discover);
        self.with(|net, env| net.send(env, &out, &[&payload[..len / 3], &payload[len / 3..]]))?;
        Ok(payload)
    }
}

/// A packet to be sent with usual values.
pub(super) fn out(src: IpAddr, dst: IpAddr, discover: MtuDiscover) -> IpOut {
    IpOut {
        src,
        dst,
        protocol: UDP,
        ttl: 64,
        tos: 0,
        discover,
        multicast_loop: true,
        why: Why::Datagram,
        flow: None,
    }
}

/// Octets that are not all alike.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

/// An IPv4 header, to be changed and finished by [`v4_with`].
pub(super) fn header4(protocol: u8) -> Ipv4Header {
    Ipv4Header::new(0, 64, IpNumber(protocol), PEER.octets(), US.octets()).expect("short")
}

/// The packet of a header and its payload, lengths and checksum made right.
pub(super) fn v4_with(mut header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    header.set_payload_len(payload.len()).expect("short");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

/// A packet from the peer to us.
pub(super) fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with(header4(protocol), payload)
}

/// A packet with other ends.
pub(super) fn v4_from_to(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with(Ipv4Header { source: src.octets(), destination: dst.octets(), ..header4(protocol) }, payload)
}

/// Makes the header checksum right again after a header was changed by hand.
pub(super) fn mend4(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let len = usize::from(packet[0] & 15) * 4;
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&packet[..len]).ones_complement().to_be();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An IPv6 packet from the peer to us, whose first header has the type `next`.
pub(super) fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    v6_from_to(PEER6, US6, next, payload)
}

/// An IPv6 packet with other ends.
pub(super) fn v6_from_to(src: Ipv6Addr, dst: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: payload.len() as u16,
        next_header: IpNumber(next),
        hop_limit: 64,
        source: src.octets(),
        destination: dst.octets(),
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A UDP datagram as a payload; its checksum is the transport's to look at.
pub(super) fn udp(len: usize) -> Vec<u8> {
    let header = etherparse::UdpHeader {
        source_port: 1000,
        destination_port: 9,
        length: (8 + len) as u16,
        checksum: 1,
    };
    [&header.to_bytes()[..], &pattern(len)].concat()
}

/// An ICMP message over IPv4 with its checksum right.
pub(super) fn icmp4(icmp_type: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = [&[icmp_type, code, 0, 0], &rest[..], body].concat();
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&message).ones_complement().to_be();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An ICMPv6 message between two ends with its checksum right.
pub(super) fn icmp6(src: Ipv6Addr, dst: Ipv6Addr, kind: (u8, u8), rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind.0, kind.1, 0, 0], &rest[..], body].concat();
    let sum = sum6(src, dst, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The checksum of an ICMPv6 message: 0 when it has the right one.
pub(super) fn sum6(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> u16 {
    etherparse::checksum::Sum16BitWords::new()
        .add_16bytes(src.octets())
        .add_16bytes(dst.octets())
        .add_4bytes((message.len() as u32).to_be_bytes())
        .add_4bytes([0, 0, 0, 58])
        .add_slice(message)
        .ones_complement()
        .to_be()
}

/// An echo request from the peer.
pub(super) fn ping4(data: &[u8]) -> Vec<u8> {
    v4(1, &icmp4(8, 0, [0x12, 0x34, 0, 7], data))
}

/// An echo request from the peer over IPv6.
pub(super) fn ping6(data: &[u8]) -> Vec<u8> {
    v6(58, &icmp6(PEER6, US6, (128, 0), [0x12, 0x34, 0, 7], data))
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn ip4(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

pub(super) fn ip6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

const TAKEN: Verdict<'static> = Verdict::Done(Reason::Taken);
