//! Packets that leave: finished ones of the network layer, and TCP segments built at the moment they go.

use super::cut::Cut;
use super::{Host, RxMeta, TxMeta, TxPacket};
use crate::base::Instant;
use crate::base::io::MtuDiscover;
use crate::network::{Env, IpOut, Network};
use crate::trace::{Direction, EventKind, Flow, PacketEvent, Reason, View, Why};
use crate::transport::tcp::{ConnId, Connection, Limits, Outgoing, Reply};
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{self, Segment};
use crate::wire::vnet;
use std::collections::VecDeque;

/// Room for an IPv6 and a TCP header of the largest size.
const HEADERS: usize = 40 + tcp::MAX_HEADER_LEN;

/// Largest packet that we cut ourselves.
const MOST: u32 = 65_535;

/// Segments to ourselves that may wait at once.
const LOOPBACK_QUEUE: usize = 4096;

/// Where the packet that is lent to the caller lives until the next call.
#[derive(Debug)]
pub(super) struct Scratch {
    packet: Vec<u8>,
    headers: [u8; HEADERS],
    /// What is left of a run whose headers these are.
    cut: Option<Cut>,
    loopback: VecDeque<Vec<u8>>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { packet: Vec::new(), headers: [0; HEADERS], cut: None, loopback: VecDeque::new() }
    }
}

impl Scratch {
    /// What is left of a run would be too large now: it is lost, and sent again like all that is.
    pub fn drop_run(&mut self) {
        self.cut = None;
    }
}

/// The packet that was chosen, by value, so that the choice can be repeated before anything is lent.
enum Chosen {
    /// It is in `scratch.packet`.
    Whole { meta: TxMeta },
    /// Headers are in `scratch.headers`, the text is in the connection's send buffer.
    Segment { id: ConnId, headers: usize, seq: SeqNumber, len: usize, meta: TxMeta },
}

impl Host {
    /// The next packet to send, if any. Call until `None` after every batch of input. Packets to ourselves go round
    /// inside.
    pub fn transmit(&mut self, now: Instant) -> Option<TxPacket<'_>> {
        match self.choose(now)? {
            Chosen::Whole { meta } => Some(TxPacket { parts: [&self.scratch.packet, &[], &[], &[]], meta }),
            Chosen::Segment { id, headers, seq, len, meta } => {
                let [a, b, c] = self.tcp.get(id).map_or([&[][..]; 3], |conn| conn.payload(seq, len));
                Some(TxPacket { parts: [&self.scratch.headers[..headers], a, b, c], meta })
            }
        }
    }

    /// Is there, as far as is known now, anything for [`Host::transmit`] to send? May be true once too often.
    pub fn has_output(&self) -> bool {
        self.net.has_output()
            || self.tcp.has_dirty()
            || self.scratch.cut.is_some()
            || !self.scratch.loopback.is_empty()
    }

    fn choose(&mut self, now: Instant) -> Option<Chosen> {
        loop {
            if let Some(chosen) = self.next_of_run() {
                return Some(chosen);
            }
            if let Some(packet) = self.scratch.loopback.pop_front() {
                self.process(now, &packet, TRUSTED, false);
                self.net.recycle(packet);
                self.collect_events();
                continue;
            }
            if let Some(packet) = self.net.pop_output() {
                self.trace_departure(now, &packet);
                if packet.loopback {
                    self.scratch.loopback.push_back(packet.bytes);
                    continue;
                }
                let used = core::mem::replace(&mut self.scratch.packet, packet.bytes);
                self.net.recycle(used);
                return Some(Chosen::Whole { meta: packet.meta });
            }
            if let Some(reply) = self.tcp.pop_reply() {
                self.send_reply(now, reply);
                continue;
            }
            let id = self.tcp.first_dirty()?;
            if let Some(chosen) = self.build_segment(now, id) {
                return Some(chosen);
            }
        }
    }

    fn trace_departure(&mut self, now: Instant, packet: &crate::network::Outgoing) {
        if self.common.trace.is_on() {
            let reason = Reason::Sent(packet.why);
            let direction = Direction::Out;
            // Shown as a wire would carry it, whoever completes the checksum.
            let partial = packet.meta.checksum.is_some();
            let bytes = if partial { vnet::completed(&packet.bytes) } else { (&packet.bytes[..]).into() };
            let (bytes, segment_size) = (&[&*bytes][..], packet.meta.segment_size);
            let event = PacketEvent { direction, bytes, segment_size, reason, before: None, after: None };
            self.common.trace.emit(now, packet.flow, EventKind::Packet(event));
        }
    }

    /// A segment that belongs to no connection goes through the network layer like a datagram.
    fn send_reply(&mut self, now: Instant, reply: Reply) {
        let Reply { flow, seq, ack, flags, window, options, ttl, tos } = reply;
        let segment = Segment {
            src_port: flow.local.port(),
            dst_port: flow.remote.port(),
            seq,
            ack,
            flags,
            window,
            urgent: 0,
            options,
            payload: &[],
        };
        let why = match flags {
            flags if flags.contains(tcp::Flags::RST) => Why::Reset,
            flags if flags.contains(tcp::Flags::SYN) => Why::SynCookie,
            _ => Why::Challenge,
        };
        let (src, dst) = (flow.local.ip(), flow.remote.ip());
        let mut header = [0; tcp::MAX_HEADER_LEN];
        let len = tcp::emit_header(&mut header, &segment);
        tcp::fill_checksum(&mut header[..len], src, dst, &[]);
        let out = IpOut {
            src,
            dst,
            protocol: tcp::PROTOCOL,
            ttl,
            tos,
            discover: MtuDiscover::Want,
            multicast_loop: false,
            why,
            flow: Some(flow),
        };
        // A full queue drops it: the peer asks again.
        let _ = self.net.send(&mut self.common.env(now), &out, &[&header[..len]]);
    }

    /// The next segment of a run that is being cut.
    fn next_of_run(&mut self) -> Option<Chosen> {
        let mut cut = self.scratch.cut.take()?;
        let Cut { id, seq, headers, .. } = cut;
        let len = cut.len();
        let text = self.tcp.get(id)?.payload(seq, len);
        // What was given up meanwhile need not go.
        if text.iter().map(|part| part.len()).sum::<usize>() != len {
            return None;
        }
        cut.advance(&mut self.scratch.headers, &text);
        self.scratch.cut = (cut.left > 0).then_some(cut);
        Some(Chosen::Segment { id, headers, seq, len, meta: TxMeta::default() })
    }

    /// The next segment of a connection; `None` when it has none after all, or it went to ourselves.
    fn build_segment(&mut self, now: Instant, id: ConnId) -> Option<Chosen> {
        let link = self.link;
        let Host { common, net, tcp, scratch, .. } = self;
        let flow = tcp.get(id)?.flow();
        // RFC 8201 §5.2: what anyone learned of the path counts for all, also that it was too long ago.
        let (local, path_mtu) = net.path(now, flow.remote.ip());
        // The device cuts super-segments, or we do, unless somebody wants to see each plan. Ourselves we have no need of them: the
        // loopback MTU is large.
        let cut_by_host = link.max_packet <= link.mtu;
        let whole = local || cut_by_host && common.trace.is_on();
        let most = if cut_by_host { MOST } else { link.max_packet };
        let limits = Limits { max_payload: if whole { 0 } else { most - HEADERS as u32 }, cut_by_host };
        let complete = local || !link.checksum_offload;
        let mut env = common.env(now);
        if tcp.get(id).is_some_and(|conn| conn.path_mtu() != path_mtu) {
            tcp.with(&mut env, id, |conn, env| conn.set_path_mtu(env, path_mtu));
        }
        let Some(out) = tcp.sender(id)?.next_segment(&mut env, &limits) else {
            tcp.sent(&mut env, id);
            return None;
        };
        let (seq, why, before, segment_size) = (out.seq, out.why, out.before, out.segment_size);
        let len = out.payload.iter().map(|part| part.len()).sum();
        if cut_by_host && segment_size > 0 {
            let flags = out.flags;
            let (ip, headers) = write_headers(net, &mut env, &mut scratch.headers, &flow, &out, None);
            let (src, dst) = (flow.local.ip(), flow.remote.ip());
            let size = usize::from(segment_size);
            scratch.cut = Some(Cut { id, src, dst, seq, left: len, size, ip, headers, flags });
            net.count_more(&mut env, dst, len.div_ceil(size) as u64 - 1);
            tcp.sent(&mut env, id);
            return self.next_of_run();
        }
        let (ip, headers) = write_headers(net, &mut env, &mut scratch.headers, &flow, &out, Some(complete));
        // The checksum field of a TCP header is at octet 16.
        let meta = TxMeta { checksum: (!complete).then_some((ip as u16, 16)), segment_size };
        tcp.sent(&mut env, id);
        if !local && !self.common.trace.is_on() {
            return Some(Chosen::Segment { id, headers, seq, len, meta });
        }
        let view = if self.common.trace.is_on() { self.tcp.look(id, Connection::view) } else { None };
        let text = self.tcp.get(id).map_or([&[][..]; 3], |conn| conn.payload(seq, len));
        let parts = [&self.scratch.headers[..headers], text[0], text[1], text[2]];
        if self.common.trace.is_on() {
            // Shown as a wire would carry it, whoever completes the checksum.
            let whole = (!complete).then(|| vnet::completed(&parts.concat()).into_owned());
            let shown = whole.as_ref().map_or(parts, |whole| [&whole[..], &[], &[], &[]]);
            let event = segment_event(&shown, segment_size, why, before, view);
            self.common.trace.emit(now, Some(flow), EventKind::Packet(event));
        }
        if !local {
            return Some(Chosen::Segment { id, headers, seq, len, meta });
        }
        if self.scratch.loopback.len() < LOOPBACK_QUEUE {
            let packet = parts.concat();
            self.scratch.loopback.push_back(packet);
        } else {
            self.common.counters.loopback_drops += 1;
        }
        None
    }
}

/// What a packet of our own brings along: nothing could have damaged it.
const TRUSTED: RxMeta = RxMeta { checksum_trusted: true, segment_size: 0 };

fn segment_event<'a>(
    parts: &'a [&'a [u8]],
    segment_size: u16,
    why: Why,
    before: Option<View>,
    after: Option<View>,
) -> PacketEvent<'a> {
    let reason = Reason::Sent(why);
    PacketEvent { direction: Direction::Out, bytes: parts, segment_size, reason, before, after }
}

/// Writes both headers and returns the octets of the first and of both; with a complete checksum, with the pseudo header's sum, or with
/// none (`None`).
fn write_headers(
    net: &mut Network,
    env: &mut Env<'_>,
    buf: &mut [u8; HEADERS],
    flow: &Flow,
    out: &Outgoing<'_>,
    complete: Option<bool>,
) -> (usize, usize) {
    let (src, dst) = (flow.local.ip(), flow.remote.ip());
    let segment = Segment {
        src_port: flow.local.port(),
        dst_port: flow.remote.port(),
        seq: out.seq,
        ack: out.ack,
        flags: out.flags,
        window: out.window,
        urgent: out.urgent,
        options: out.options.clone(),
        payload: &[],
    };
    let payload_len: usize = out.payload.iter().map(|part| part.len()).sum();
    let mut header = [0; tcp::MAX_HEADER_LEN];
    let tcp_len = tcp::emit_header(&mut header, &segment);
    let header = &mut header[..tcp_len];
    match complete {
        Some(true) => tcp::fill_checksum(header, src, dst, &out.payload),
        Some(false) => tcp::fill_pseudo_checksum(header, src, dst, payload_len),
        None => {}
    }
    let ip = IpOut {
        src,
        dst,
        protocol: tcp::PROTOCOL,
        ttl: out.ttl,
        tos: out.tos,
        discover: if out.dont_fragment { MtuDiscover::Do } else { MtuDiscover::Dont },
        multicast_loop: false,
        why: out.why,
        flow: Some(*flow),
    };
    let mut ip_header = [0; 40];
    let ip_len = net.write_header(env, &ip, tcp_len + payload_len, &mut ip_header);
    buf[..ip_len].copy_from_slice(&ip_header[..ip_len]);
    buf[ip_len..ip_len + tcp_len].copy_from_slice(header);
    (ip_len, ip_len + tcp_len)
}
