//! Sending: headers, fragments, and the queue of finished packets.

use super::{AddressKind, IpOut, Network, Outgoing};
use crate::base::io::MtuDiscover;
use crate::base::{Counters, Errno, Key, Rng};
use crate::network::Env;
use crate::trace::Flow;
use crate::wire::ip::{self, FRAGMENT_HEADER_LEN, FragmentInfo, V4_HEADER_LEN, V6_HEADER_LEN};
use crate::wire::packet::TxMeta;
use crate::wire::{icmp, ip::FRAGMENT};
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

/// Octets that may wait, overhead included.
const QUEUE_OCTETS: usize = 4 << 20;
/// What a waiting packet costs besides its octets.
const PACKET_OVERHEAD: usize = 256;
/// Buffers kept for reuse, and the largest that is.
const KEPT_BUFFERS: usize = 64;
const KEPT_CAPACITY: usize = 4096;

/// Finished packets that wait for the device.
#[derive(Debug, Default)]
pub(super) struct Output {
    queue: VecDeque<Outgoing>,
    octets: usize,
    spare: Vec<Vec<u8>>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let packet = self.queue.pop_front()?;
        self.octets -= packet.bytes.len() + PACKET_OVERHEAD;
        Some(packet)
    }

    pub(super) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < KEPT_BUFFERS && bytes.capacity() <= KEPT_CAPACITY {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    fn has_room(&self, packets: usize, octets: usize) -> bool {
        self.octets + octets + packets * PACKET_OVERHEAD <= QUEUE_OCTETS
    }

    fn push(&mut self, out: &IpOut, loopback: bool, parts: &[&[u8]]) {
        self.push_with(out, loopback, TxMeta::default(), parts);
    }

    fn push_with(&mut self, out: &IpOut, loopback: bool, meta: TxMeta, parts: &[&[u8]]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.reserve_exact(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        self.octets += bytes.len() + PACKET_OVERHEAD;
        self.queue.push_back(Outgoing { bytes, why: out.why, flow: out.flow, meta, loopback });
    }
}

/// Flow labels: the same for all packets of a flow, unpredictable from outside (RFC 6437 §3).
#[derive(Debug)]
pub(super) struct FlowLabels(Key);

impl FlowLabels {
    pub(super) fn new(rng: &mut Rng) -> FlowLabels {
        FlowLabels(rng.key())
    }

    fn of(&self, protocol: u8, flow: Option<Flow>) -> u32 {
        let Some(Flow { local: SocketAddr::V6(local), remote: SocketAddr::V6(remote) }) = flow else {
            return 0;
        };
        let mut bytes = [0; 37];
        bytes[..16].copy_from_slice(&local.ip().octets());
        bytes[16..32].copy_from_slice(&remote.ip().octets());
        bytes[32..34].copy_from_slice(&local.port().to_be_bytes());
        bytes[34..36].copy_from_slice(&remote.port().to_be_bytes());
        bytes[36] = protocol;
        (self.0.hash(&bytes) & 0xf_ffff) as u32
    }
}

impl Network {
    /// Puts a transport's finished payload on the way: one packet, or fragments.
    ///
    /// # Errors
    /// `EMSGSIZE` when it does not fit and must not be cut; `ENETUNREACH` without a route; `EADDRNOTAVAIL` when the
    /// source is not ours; `ENOBUFS` when the queue is full; `EINVAL` for TTL 0, mixed families, or a destination
    /// that is none.
    pub fn send(&mut self, env: &mut Env<'_>, out: &IpOut, payload: &[&[u8]]) -> Result<(), Errno> {
        let len = payload.iter().map(|part| part.len()).sum();
        let kind = self.check_ends(env, out)?;
        let header_len = if out.dst.is_ipv4() { V4_HEADER_LEN } else { V6_HEADER_LEN };
        let longest = 65535 - if out.dst.is_ipv4() { header_len } else { 0 };
        if len > longest {
            return Err(Errno::EMSGSIZE);
        }
        let loops = kind.is_local();
        let copies = !loops && self.loops_back(out, kind);
        // RFC 4291 §2.7.1: what is sent to the interface-local scope stays in the host.
        let leaves = !loops && !is_interface_local(out.dst);
        let mtu = if loops { u32::MAX } else { self.mtu_for(env, out) };
        if leaves && header_len + len > mtu as usize {
            self.send_fragments(env, out, &payload.concat(), mtu as usize)?;
        } else if leaves || loops {
            self.send_whole(env, out, payload, len, loops)?;
        }
        if copies {
            // A copy that finds no room is no failure of the packet that left.
            if self.send_whole(env, out, payload, len, true).is_err() {
                env.counters.loopback_drops += 1;
            }
        }
        count_icmp(env.counters, out, payload);
        Ok(())
    }

    /// Puts a train of datagrams on the way, which the device cuts into `segment_size` octets of `data` each; `header` is UDP's, with the
    /// sum of the pseudo header for its checksum. The caller has asked [`takes_train`](Network::takes_train).
    ///
    /// # Errors
    /// As [`send`](Network::send).
    pub fn send_train(
        &mut self,
        env: &mut Env<'_>,
        out: &IpOut,
        (header, data): (&[u8], &[u8]),
        segment_size: u16,
    ) -> Result<(), Errno> {
        self.check_ends(env, out)?;
        let len = header.len() + data.len();
        if !self.output.has_room(1, len + V6_HEADER_LEN) {
            return Err(no_room(env, out));
        }
        let mut ip = [0; V6_HEADER_LEN];
        let ip_len = self.write_header(env, out, len, &mut ip);
        // The checksum field of a UDP header is at octet 6.
        let meta = TxMeta { checksum: Some((ip_len as u16, 6)), segment_size };
        self.output.push_with(out, false, meta, &[&ip[..ip_len], header, data]);
        Ok(())
    }

    /// Can what goes to this destination be cut by the device? Not without DF: whoever cuts would use identifications that we use too
    /// (RFC 6864 §4.2).
    pub fn takes_train(&self, env: &Env<'_>, out: &IpOut) -> bool {
        let whole = match out.discover {
            MtuDiscover::Dont => false,
            MtuDiscover::Want => !self.paths.is_locked(env.now, out.dst),
            MtuDiscover::Do | MtuDiscover::Probe => true,
        };
        whole && self.kind(out.dst) == AddressKind::Remote
    }

    /// Octets that one datagram to this destination may carry in one packet, UDP header and all.
    pub fn room_for_datagram(&self, env: &Env<'_>, out: &IpOut) -> usize {
        let header = if out.dst.is_ipv4() { V4_HEADER_LEN } else { V6_HEADER_LEN };
        let mtu = if self.kind(out.dst).is_local() { u32::MAX } else { self.mtu_for(env, out) };
        (mtu as usize).saturating_sub(header)
    }

    /// So many packets to `dst` more leave with a header like the last one.
    pub fn count_more(&self, env: &mut Env, dst: IpAddr, packets: u64) {
        match dst {
            IpAddr::V4(_) => env.counters.ip_out_requests += packets,
            IpAddr::V6(_) => env.counters.ip6_out_requests += packets,
        }
    }

    /// Writes only the IP header of a packet that the caller sends whole, and counts it. Returns its length.
    ///
    /// The caller sees to it that the ends are in order: this is for connections, whose ends were checked when they
    /// were opened.
    pub fn write_header(
        &mut self,
        env: &mut Env<'_>,
        out: &IpOut,
        payload_len: usize,
        buf: &mut [u8; V6_HEADER_LEN],
    ) -> usize {
        debug_assert!(out.ttl > 0 && payload_len <= 65535);
        match (out.src, out.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                env.counters.ip_out_requests += 1;
                let df = match out.discover {
                    MtuDiscover::Dont => false,
                    MtuDiscover::Want => !self.paths.is_locked(env.now, out.dst),
                    MtuDiscover::Do | MtuDiscover::Probe => true,
                };
                // RFC 6864 §4.1: an atomic packet may have any identification, so it gets none.
                let id = if df { 0 } else { self.identifications.next(out.src, out.dst, out.protocol) };
                let header = ip::emit_v4(&ip::V4Fields {
                    src,
                    dst,
                    protocol: out.protocol,
                    ttl: out.ttl,
                    tos: out.tos,
                    df,
                    fragment: FragmentInfo { offset: 0, more: false, id },
                    payload_len: payload_len as u16,
                });
                buf[..V4_HEADER_LEN].copy_from_slice(&header);
                V4_HEADER_LEN
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                env.counters.ip6_out_requests += 1;
                *buf = ip::emit_v6(&ip::V6Fields {
                    src,
                    dst,
                    next_header: out.protocol,
                    hop_limit: out.ttl,
                    traffic_class: out.tos,
                    flow_label: self.flow_labels.of(out.protocol, out.flow),
                    payload_len: payload_len as u16,
                });
                V6_HEADER_LEN
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                debug_assert!(false, "ends of two families");
                0
            }
        }
    }

    /// May a packet go from this source to this destination? Says what the destination is.
    fn check_ends(&self, env: &mut Env<'_>, out: &IpOut) -> Result<AddressKind, Errno> {
        // RFC 1122 §3.2.1.7 (1122-3.2.1.7-ttl-zero-tx).
        if out.ttl == 0 || out.src.is_ipv4() != out.dst.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        let kind = self.addresses.kind(out.dst);
        if kind == AddressKind::Unspecified {
            return Err(Errno::EINVAL);
        }
        if !kind.is_local() && !self.has_route(out.dst) {
            *if out.dst.is_ipv4() {
                &mut env.counters.ip_out_no_routes
            } else {
                &mut env.counters.ip6_out_no_routes
            } += 1;
            return Err(Errno::ENETUNREACH);
        }
        match self.addresses.kind(out.src) {
            AddressKind::Own => Ok(kind),
            // 1122-3.2.1.3-loopback: a loopback address never appears outside.
            AddressKind::Loopback if kind.is_local() => Ok(kind),
            AddressKind::Loopback => Err(Errno::EINVAL),
            AddressKind::Unspecified
            | AddressKind::Broadcast
            | AddressKind::Multicast
            | AddressKind::Remote => Err(Errno::EADDRNOTAVAIL),
        }
    }

    /// Do our own sockets get a copy?
    fn loops_back(&self, out: &IpOut, kind: AddressKind) -> bool {
        match kind {
            AddressKind::Broadcast => true,
            AddressKind::Multicast => out.multicast_loop && self.addresses.is_member(out.dst),
            AddressKind::Unspecified | AddressKind::Loopback | AddressKind::Own | AddressKind::Remote => {
                false
            }
        }
    }

    fn mtu_for(&self, env: &Env<'_>, out: &IpOut) -> u32 {
        match out.discover {
            MtuDiscover::Probe => self.link_mtu,
            MtuDiscover::Dont | MtuDiscover::Want | MtuDiscover::Do => self.path_mtu(env.now, out.dst),
        }
    }

    fn send_whole(
        &mut self,
        env: &mut Env<'_>,
        out: &IpOut,
        payload: &[&[u8]],
        len: usize,
        loopback: bool,
    ) -> Result<(), Errno> {
        if !self.output.has_room(1, len + V6_HEADER_LEN) {
            return Err(no_room(env, out));
        }
        let mut header = [0; V6_HEADER_LEN];
        let header_len = self.write_header(env, out, len, &mut header);
        match *payload {
            [a] => self.output.push(out, loopback, &[&header[..header_len], a]),
            [a, b] => self.output.push(out, loopback, &[&header[..header_len], a, b]),
            _ => self.output.push(out, loopback, &[&header[..header_len], &payload.concat()]),
        }
        Ok(())
    }

    fn send_fragments(
        &mut self,
        env: &mut Env<'_>,
        out: &IpOut,
        payload: &[u8],
        mtu: usize,
    ) -> Result<(), Errno> {
        let v4 = out.dst.is_ipv4();
        match out.discover {
            // Linux's default for datagrams: DF while they fit, fragments when they do not.
            MtuDiscover::Dont | MtuDiscover::Want => {}
            MtuDiscover::Do | MtuDiscover::Probe => {
                *if v4 { &mut env.counters.ip_frag_fails } else { &mut env.counters.ip6_frag_fails } += 1;
                return Err(Errno::EMSGSIZE);
            }
        }
        let header_len = if v4 { V4_HEADER_LEN } else { V6_HEADER_LEN + FRAGMENT_HEADER_LEN };
        // RFC 791 §3.2, RFC 8200 §4.5: all pieces but the last are multiples of 8 octets.
        let room = (mtu.saturating_sub(header_len) & !7).max(8);
        let pieces = payload.len().div_ceil(room);
        if !self.output.has_room(pieces, payload.len() + pieces * header_len) {
            return Err(no_room(env, out));
        }
        let id = self.identifications.next(out.src, out.dst, if v4 { out.protocol } else { FRAGMENT });
        for (n, piece) in payload.chunks(room).enumerate() {
            let info = FragmentInfo { offset: (n * room) as u16, more: n + 1 < pieces, id };
            self.push_fragment(out, info, piece);
        }
        let c = &mut *env.counters;
        let (requests, oks, creates) = if v4 {
            (&mut c.ip_out_requests, &mut c.ip_frag_oks, &mut c.ip_frag_creates)
        } else {
            (&mut c.ip6_out_requests, &mut c.ip6_frag_oks, &mut c.ip6_frag_creates)
        };
        *requests += 1;
        *oks += 1;
        *creates += pieces as u64;
        Ok(())
    }

    fn push_fragment(&mut self, out: &IpOut, fragment: FragmentInfo, piece: &[u8]) {
        match (out.src, out.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header = ip::emit_v4(&ip::V4Fields {
                    src,
                    dst,
                    protocol: out.protocol,
                    ttl: out.ttl,
                    tos: out.tos,
                    df: false,
                    fragment,
                    payload_len: piece.len() as u16,
                });
                self.output.push(out, false, &[&header, piece]);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = ip::emit_v6(&ip::V6Fields {
                    src,
                    dst,
                    next_header: FRAGMENT,
                    hop_limit: out.ttl,
                    traffic_class: out.tos,
                    flow_label: self.flow_labels.of(out.protocol, out.flow),
                    payload_len: (FRAGMENT_HEADER_LEN + piece.len()) as u16,
                });
                let extension = ip::emit_fragment_header(fragment, out.protocol);
                self.output.push(out, false, &[&header, &extension, piece]);
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                debug_assert!(false, "ends of two families");
            }
        }
    }
}

fn is_interface_local(dst: IpAddr) -> bool {
    matches!(dst, IpAddr::V6(dst) if dst.segments()[0] & 0xff0f == 0xff01)
}

fn no_room(env: &mut Env<'_>, out: &IpOut) -> Errno {
    *if out.dst.is_ipv4() {
        &mut env.counters.ip_out_discards
    } else {
        &mut env.counters.ip6_out_discards
    } += 1;
    Errno::ENOBUFS
}

/// Counts an ICMP message that is on its way.
fn count_icmp(counters: &mut Counters, out: &IpOut, payload: &[&[u8]]) {
    let icmp_type = payload.iter().find_map(|part| part.first());
    match (out.protocol, icmp_type) {
        (icmp::PROTOCOL_V4, Some(icmp_type)) => {
            counters.icmp_out_msgs += 1;
            match icmp_type {
                0 => counters.icmp_out_echo_reps += 1,
                3 => counters.icmp_out_dest_unreachs += 1,
                8 => counters.icmp_out_echos += 1,
                11 => counters.icmp_out_time_excds += 1,
                12 => counters.icmp_out_parm_probs += 1,
                _ => {}
            }
        }
        (icmp::PROTOCOL_V6, Some(icmp_type)) => {
            counters.icmp6_out_msgs += 1;
            match icmp_type {
                1 => counters.icmp6_out_dest_unreachs += 1,
                3 => counters.icmp6_out_time_excds += 1,
                4 => counters.icmp6_out_parm_problems += 1,
                128 => counters.icmp6_out_echos += 1,
                129 => counters.icmp6_out_echo_replies += 1,
                _ => {}
            }
        }
        _ => {}
    }
}
