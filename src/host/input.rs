//! Packets that arrive: from the network layer to the transport they are for.

use super::{Host, PacketInfo, RxMeta};
use crate::base::pool::PacketBuf;
use crate::base::{Config, Instant};
use crate::network::{AddressKind, Delivery, IcmpErrorKind, QuotedError, Verdict};
use crate::trace::{Direction, Drop, EventKind, Flow, PacketEvent, Reason, View};
use crate::transport::datagram::{Datagram, QueuedError};
use crate::transport::tcp::{Arrival, Mtus, SegmentMeta};
use crate::wire::seq::SeqNumber;
use crate::wire::{tcp, udp, vnet};
use core::net::SocketAddr;

/// What is known about a packet once it was processed.
struct Outcome {
    reason: Reason,
    flow: Option<Flow>,
    before: Option<View>,
}

impl From<Reason> for Outcome {
    fn from(reason: Reason) -> Outcome {
        Outcome { reason, flow: None, before: None }
    }
}

impl From<Drop> for Outcome {
    fn from(drop: Drop) -> Outcome {
        Reason::Dropped(drop).into()
    }
}

impl Host {
    /// A packet arrived.
    pub fn receive(&mut self, now: Instant, packet: &[u8], meta: RxMeta) {
        self.process(now, packet, meta, true);
        self.collect_events();
    }

    /// The first `len` octets of `packet` arrived: as [`receive`](Host::receive), but a large text may be kept where it is.
    /// The memory is somebody else's then ([`PacketBuf::octets_mut`] gives none): [`Host::packet_buf`] has other.
    pub fn receive_kept(&mut self, now: Instant, packet: &PacketBuf, len: usize, meta: RxMeta) {
        // Nothing small is kept, so nothing need be shared.
        let large = len >= PacketBuf::LEN / 2;
        self.common.pool.set_arriving(large.then_some(packet));
        self.process(now, &packet[..len], meta, true);
        self.common.pool.set_arriving(None);
        self.collect_events();
    }

    /// Recycled memory for a packet to be read into.
    pub fn packet_buf(&mut self) -> PacketBuf {
        self.common.pool.take_packet()
    }

    /// A packet from the wire, or (`from_wire` false) from ourselves.
    pub(super) fn process(&mut self, now: Instant, packet: &[u8], meta: RxMeta, from_wire: bool) {
        self.strays.begin(from_wire);
        self.process_in_hand(now, packet, meta);
    }

    /// The same for a packet of which [`Strays`](super::strays::Strays) know where it comes from.
    pub(super) fn process_in_hand(&mut self, now: Instant, packet: &[u8], meta: RxMeta) {
        let from_wire = self.strays.is_from_wire();
        let verdict = self.net.receive(&mut self.common.env(now), packet, meta.checksum_trusted, from_wire);
        let outcome = match &verdict {
            Verdict::Deliver(delivery) => match delivery.protocol {
                tcp::PROTOCOL => self.deliver_tcp(now, delivery, meta),
                udp::PROTOCOL => self.deliver_udp(now, delivery, meta),
                _ => self.deliver_echo_reply(delivery, meta),
            },
            Verdict::IcmpError(quoted) => self.deliver_error(now, quoted, packet, meta),
            // Another host may be a member of the group.
            Verdict::Done(Reason::Dropped(Drop::NotOurs))
                if self.strays.may_go_on() && is_multicast(packet) =>
            {
                self.strays.hand_over(&mut self.common.counters, packet, meta);
                Reason::HandedOver.into()
            }
            Verdict::Done(reason) => (*reason).into(),
        };
        if self.common.trace.is_on() {
            let bytes = match &verdict {
                Verdict::Deliver(delivery) => &*delivery.packet,
                Verdict::IcmpError(_) | Verdict::Done(_) => packet,
            };
            self.trace_arrival(now, bytes, meta, outcome);
        }
    }

    fn trace_arrival(&mut self, now: Instant, bytes: &[u8], meta: RxMeta, outcome: Outcome) {
        let Outcome { reason, flow, before } = outcome;
        let after = flow.and_then(|flow| self.tcp.view(&flow));
        // Shown as a wire would carry it, whoever completes the checksum.
        let bytes = if meta.checksum_trusted { vnet::completed(bytes) } else { bytes.into() };
        let event = PacketEvent {
            direction: Direction::In,
            bytes: &[&bytes],
            segment_size: meta.segment_size,
            reason,
            before,
            after,
        };
        self.common.trace.emit(now, flow, EventKind::Packet(event));
    }

    fn deliver_tcp(&mut self, now: Instant, delivery: &Delivery<'_>, meta: RxMeta) -> Outcome {
        let Host { common, net, tcp, strays, .. } = self;
        let bytes = delivery.payload();
        common.counters.tcp_in_segs += 1;
        // RFC 9293 §3.9.2.3 (MUST-57): nothing sent to a group or to everybody opens a connection.
        if !delivery.to.is_local() {
            return Drop::BadDestination.into();
        }
        if !delivery.checksum_trusted && !tcp::verify(delivery.src, delivery.dst, bytes) {
            common.counters.tcp_in_csum_errors += 1;
            common.counters.tcp_in_errs += 1;
            return Drop::TransportChecksum.into();
        }
        let Ok(segment) = tcp::parse(bytes) else {
            common.counters.tcp_in_errs += 1;
            return Drop::Malformed.into();
        };
        let flow = Flow {
            local: SocketAddr::new(delivery.dst, segment.dst_port),
            remote: SocketAddr::new(delivery.src, segment.src_port),
        };
        if strays.may_go_on() && !tcp.awaits(now, &flow, &segment) {
            strays.hand_over(&mut common.counters, &delivery.packet, trusted(delivery, meta));
            return Outcome { reason: Reason::HandedOver, flow: Some(flow), before: None };
        }
        let before = if common.trace.is_on() { tcp.view(&flow) } else { None };
        let mtus = |config: &Config| Mtus {
            path: net.path_mtu(now, delivery.src),
            receive: net.receive_mtu(config, delivery.src),
        };
        let meta = SegmentMeta { tos: delivery.tos, segment_size: meta.segment_size };
        let arrival = Arrival { flow, segment: &segment, meta, mtus: &mtus };
        let reason = tcp.input(&mut common.env(now), &arrival);
        Outcome { reason, flow: Some(flow), before }
    }

    fn deliver_udp(&mut self, now: Instant, delivery: &Delivery<'_>, meta: RxMeta) -> Outcome {
        let Host { common, net, udp: table, strays, .. } = self;
        let bytes = delivery.payload();
        let parsed = udp::parse(bytes).ok().filter(|datagram| datagram.dst_port != 0);
        let Some(datagram) = parsed else {
            common.counters.udp_in_errors += 1;
            return Drop::Malformed.into();
        };
        if !delivery.checksum_trusted && !udp::verify(delivery.src, delivery.dst, bytes) {
            common.counters.udp_in_csum_errors += 1;
            common.counters.udp_in_errors += 1;
            return Drop::TransportChecksum.into();
        }
        let local = SocketAddr::new(delivery.dst, datagram.dst_port);
        let remote = SocketAddr::new(delivery.src, datagram.src_port);
        let sockets = match delivery.to {
            AddressKind::Broadcast | AddressKind::Multicast => table.find_all(local, remote),
            AddressKind::Own | AddressKind::Loopback | AddressKind::Unspecified | AddressKind::Remote => {
                table.find(local, remote).into_iter().collect()
            }
        };
        let mut reason = Reason::Taken;
        let for_many = matches!(delivery.to, AddressKind::Broadcast | AddressKind::Multicast);
        if strays.may_go_on() && (for_many || sockets.is_empty()) {
            strays.hand_over(&mut common.counters, &delivery.packet, trusted(delivery, meta));
            reason = Reason::HandedOver;
        } else if sockets.is_empty() {
            common.counters.udp_no_ports += 1;
            // RFC 1122 §4.1.3.1: the sender is told (never about broadcasts and groups: the network sees to that).
            net.send_error(&mut common.env(now), &delivery.packet, IcmpErrorKind::PortUnreachable);
            reason = Reason::Dropped(Drop::NoSocket);
        }
        // A super-segment is a train of datagrams under one header; an empty payload is one too.
        let size = if meta.segment_size > 0 { usize::from(meta.segment_size) } else { usize::MAX };
        let datagrams = datagram.payload.chunks(size).chain(datagram.payload.is_empty().then_some(&[][..]));
        for (socket, text) in sockets.iter().flat_map(|socket| datagrams.clone().map(|text| (*socket, text)))
        {
            let info = arrival(delivery);
            let copy = Datagram { from: remote, info, data: text.into() };
            if table.deliver(socket, copy) {
                common.counters.udp_in_datagrams += 1;
            } else {
                common.counters.udp_rcvbuf_errors += 1;
                common.counters.udp_in_errors += 1;
                reason = Reason::Dropped(Drop::QueueFull);
            }
        }
        Outcome { reason, flow: Some(Flow { local, remote }), before: None }
    }

    fn deliver_echo_reply(&mut self, delivery: &Delivery<'_>, meta: RxMeta) -> Outcome {
        let message = delivery.payload();
        let Some(&[high, low]) = message.get(4..6) else { return Drop::Truncated.into() };
        let local = SocketAddr::new(delivery.dst, u16::from_be_bytes([high, low]));
        let remote = SocketAddr::new(delivery.src, 0);
        let flow = Some(Flow { local, remote });
        let Some(socket) = self.ping.find(local, remote) else {
            if self.strays.may_go_on() {
                let Host { common, strays, .. } = self;
                strays.hand_over(&mut common.counters, &delivery.packet, trusted(delivery, meta));
                return Outcome { reason: Reason::HandedOver, flow, before: None };
            }
            return Outcome { reason: Reason::Dropped(Drop::NoSocket), flow, before: None };
        };
        let datagram = Datagram { from: remote, info: arrival(delivery), data: message.into() };
        let reason = match self.ping.deliver(socket, datagram) {
            true => Reason::Taken,
            false => Reason::Dropped(Drop::QueueFull),
        };
        Outcome { reason, flow, before: None }
    }

    /// An ICMP error goes to the socket that sent what it quotes; what quotes nothing of ours is not believed.
    fn deliver_error(
        &mut self,
        now: Instant,
        quoted: &QuotedError<'_>,
        packet: &[u8],
        meta: RxMeta,
    ) -> Outcome {
        let Some((ports, rest)) = quoted.transport.split_first_chunk::<4>() else {
            return Drop::Truncated.into();
        };
        let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
        let mut flow = Flow {
            local: SocketAddr::new(quoted.src, port(0)),
            remote: SocketAddr::new(quoted.dst, port(2)),
        };
        let before = if self.common.trace.is_on() { self.tcp.view(&flow) } else { None };
        let known = match (quoted.protocol, rest.first_chunk::<4>()) {
            (tcp::PROTOCOL, Some(seq)) => {
                let seq = SeqNumber(u32::from_be_bytes(*seq));
                // RFC 9293 §3.9.2.2 (MUST-56): a parameter problem is soft to TCP, hard to others on Linux.
                let unreachable = matches!((quoted.src.is_ipv4(), quoted.icmp_type), (true, 3) | (false, 1));
                let error = (quoted.error, quoted.hard && unreachable);
                let believed = |mtu| self.net.believed_mtu(&self.common.config, quoted.dst, mtu);
                let mtu = quoted.mtu.map(|mtu| believed(mtu).min(self.link.mtu));
                self.tcp.on_icmp(&mut self.common.env(now), flow, seq, error, mtu)
            }
            (udp::PROTOCOL, _) => self.udp.on_icmp(&flow, quoted.hard, queued(quoted, flow.remote)),
            (1 | 58, Some(&[high, low, ..])) => {
                flow.local.set_port(u16::from_be_bytes([high, low]));
                flow.remote.set_port(0);
                self.ping.on_icmp(&flow, quoted.hard, queued(quoted, flow.remote))
            }
            _ => false,
        };
        if !known && self.strays.may_go_on() {
            self.strays.hand_over(&mut self.common.counters, packet, meta);
            return Outcome { reason: Reason::HandedOver, flow: Some(flow), before };
        }
        if !known {
            self.common.counters.icmp_in_stale += 1;
            return Outcome { reason: Reason::Dropped(Drop::IcmpStale), flow: Some(flow), before };
        }
        if let Some(mtu) = quoted.mtu {
            self.net.learn_path_mtu(&mut self.common.env(now), quoted.dst, mtu);
        }
        Outcome { reason: Reason::Taken, flow: Some(flow), before }
    }
}

fn is_multicast(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(16).is_some_and(|octet| octet >> 4 == 0xe),
        Some(6) => packet.get(24) == Some(&0xff),
        _ => false,
    }
}

/// What is known of a packet that is handed over.
fn trusted(delivery: &Delivery<'_>, meta: RxMeta) -> RxMeta {
    RxMeta { checksum_trusted: delivery.checksum_trusted, ..meta }
}

fn arrival(delivery: &Delivery<'_>) -> PacketInfo {
    PacketInfo { local: Some(delivery.dst), ttl: Some(delivery.ttl), tos: Some(delivery.tos) }
}

fn queued(quoted: &QuotedError<'_>, destination: SocketAddr) -> QueuedError {
    QueuedError {
        errno: quoted.error,
        reporter: quoted.from,
        kind: (quoted.icmp_type, quoted.icmp_code),
        destination,
    }
}
