//! IPv6 packets that arrive (RFC 8200): addresses, the chain of extension headers in order, fragments.
//!
//! Fragments with overlaps are dropped without a word (RFC 5722), atomic ones are packets like others (RFC 6946).
//! No routing type is known, and no option besides padding and router alert.

use super::address::is_unicast_v6;
use super::path_mtu::MIN_V6_MTU;
use super::reassembly::{Fragment, Key, Outcome, Whole};
use super::{AddressKind, Delivery, IcmpErrorKind, Network, Verdict, dropped};
use crate::network::Env;
use crate::trace::{Drop, Reason};
use crate::wire::ip::{self, FRAGMENT_HEADER_LEN, FragmentInfo, V6_HEADER_LEN};
use crate::wire::{Malformed, icmp, tcp, udp};
use std::borrow::Cow;

/// Extension headers that a packet may have (8200-4-chain-bounds).
const MAX_EXTENSIONS: usize = 8;
/// Where the type of the first header stands.
const NEXT_HEADER_AT: usize = 6;
/// Where the payload length stands.
const PAYLOAD_LENGTH_AT: u32 = 4;

/// Parameter problem codes (RFC 4443 §3.4, RFC 7112 §5).
const ERRONEOUS_FIELD: u8 = 0;
const UNKNOWN_NEXT_HEADER: u8 = 1;
const UNKNOWN_OPTION: u8 = 2;
const INCOMPLETE_CHAIN: u8 = 3;

impl Network {
    pub(super) fn receive_v6<'a>(
        &mut self,
        env: &mut Env<'_>,
        bytes: &'a [u8],
        trusted: bool,
        from_wire: bool,
    ) -> Verdict<'a> {
        env.counters.ip6_in_receives += 1;
        let header = match ip::parse_v6(bytes) {
            Ok(header) => header,
            Err(malformed) => {
                match malformed {
                    Malformed::Truncated => env.counters.ip6_in_truncated_pkts += 1,
                    Malformed::Structure => env.counters.ip6_in_hdr_errors += 1,
                }
                return dropped(malformed.into());
            }
        };
        let c = &mut *env.counters;
        *match header.traffic_class & 3 {
            0 => &mut c.ip6_in_no_ect_pkts,
            1 => &mut c.ip6_in_ect1_pkts,
            2 => &mut c.ip6_in_ect0_pkts,
            _ => &mut c.ip6_in_ce_pkts,
        } += 1;
        // RFC 8200 §5: IPv6 is off on a link that cannot carry it.
        if from_wire && self.link_mtu < MIN_V6_MTU {
            env.counters.ip6_in_discards += 1;
            return dropped(Drop::NotOurs);
        }
        let to = match self.check_addresses_v6(env, &header, from_wire) {
            Ok(to) => to,
            Err(reason) => {
                env.counters.ip6_in_addr_errors += 1;
                return dropped(reason);
            }
        };
        match walk(header.packet) {
            Ok(Walked::Upper(upper)) => {
                let delivery = delivery(&header, &upper, to, trusted);
                let delivery = Delivery { packet: Cow::Borrowed(header.packet), ..delivery };
                self.dispatch(env, delivery, upper.named_at as u32)
            }
            Ok(Walked::Fragment(place)) => match self.reassemble_v6(env, &header, place, trusted) {
                Ok(whole) => self.receive_whole_v6(env, whole, to),
                Err(reason) => dropped(reason),
            },
            Err(fault) => self.refuse_v6(env, header.packet, to, fault),
        }
    }

    /// What the destination is to us, or why source or destination are refused (RFC 4291 §2.5, §2.7).
    fn check_addresses_v6(
        &self,
        env: &mut Env<'_>,
        header: &ip::V6<'_>,
        from_wire: bool,
    ) -> Result<AddressKind, Drop> {
        let to = self.addresses.kind(header.dst.into());
        let from = self.addresses.kind(header.src.into());
        if from_wire && header.src == header.dst {
            env.counters.in_land += 1;
            return Err(Drop::Land);
        }
        if !is_unicast_v6(header.src) || (from_wire && from.is_local()) {
            env.counters.in_martians += 1;
            return Err(Drop::BadSource);
        }
        match to {
            AddressKind::Own => Ok(to),
            AddressKind::Loopback if !from_wire => Ok(to),
            AddressKind::Loopback | AddressKind::Unspecified => Err(Drop::BadDestination),
            AddressKind::Multicast if self.addresses.is_member(header.dst.into()) => {
                env.counters.ip6_in_mcast_pkts += 1;
                Ok(to)
            }
            AddressKind::Remote if header.dst.to_ipv4_mapped().is_some() => Err(Drop::BadDestination),
            AddressKind::Multicast | AddressKind::Broadcast | AddressKind::Remote => Err(Drop::NotOurs),
        }
    }

    fn refuse_v6<'a>(
        &mut self,
        env: &mut Env<'_>,
        packet: &[u8],
        to: AddressKind,
        fault: Fault,
    ) -> Verdict<'a> {
        match fault {
            // RFC 8200 §4.7: nothing follows, and that is no fault.
            Fault::NothingFollows => Verdict::Done(Reason::Taken),
            Fault::Silent(reason) => {
                env.counters.ip6_in_hdr_errors += 1;
                dropped(reason)
            }
            Fault::Problem { code, pointer, unicast_only } => {
                let unknown = code == UNKNOWN_NEXT_HEADER;
                *if unknown {
                    &mut env.counters.ip6_in_unknown_protos
                } else {
                    &mut env.counters.ip6_in_hdr_errors
                } += 1;
                if !(unicast_only && to == AddressKind::Multicast) {
                    self.send_error(env, packet, IcmpErrorKind::ParameterProblem { code, pointer });
                }
                dropped(match code {
                    UNKNOWN_NEXT_HEADER => Drop::UnknownProtocol,
                    UNKNOWN_OPTION => Drop::UnknownOption,
                    _ => Drop::Malformed,
                })
            }
        }
    }

    fn reassemble_v6(
        &mut self,
        env: &mut Env<'_>,
        header: &ip::V6<'_>,
        place: Place,
        trusted: bool,
    ) -> Result<Whole, Drop> {
        env.counters.ip6_reasm_reqds += 1;
        let (head, payload) = header.packet.split_at(place.at + FRAGMENT_HEADER_LEN);
        if let Some((code, pointer)) = fragment_fault(&place, payload) {
            env.counters.ip6_in_hdr_errors += 1;
            env.counters.ip6_reasm_fails += 1;
            self.send_error(env, header.packet, IcmpErrorKind::ParameterProblem { code, pointer });
            return Err(Drop::FragmentBad);
        }
        let whole_len = place.at - V6_HEADER_LEN + usize::from(place.info.offset) + payload.len();
        if payload.is_empty() || whole_len > env.config.ip_emtu_r as usize {
            env.counters.ip6_reasm_fails += 1;
            return Err(Drop::FragmentBad);
        }
        let key = Key { src: header.src.into(), dst: header.dst.into(), protocol: 0, id: place.info.id };
        let fragment = Fragment { head, payload, info: place.info, ecn: header.traffic_class & 3, trusted };
        match self.reassembly.add(env, key, fragment) {
            Outcome::Held => Err(Drop::FragmentHeld),
            Outcome::Refused(reason) => {
                env.counters.ip6_reasm_fails += 1;
                if reason == Drop::FragmentOverlap {
                    env.counters.ip6_reasm_overlaps += 1;
                }
                Err(reason)
            }
            Outcome::Complete(whole) => {
                env.counters.ip6_reasm_oks += 1;
                Ok(whole)
            }
        }
    }

    /// A packet that was put together takes its way through the headers that came in its pieces.
    fn receive_whole_v6<'a>(&mut self, env: &mut Env<'_>, whole: Whole, to: AddressKind) -> Verdict<'a> {
        let mut packet = whole.head;
        // The fragment header goes, and what it announced is announced in its place (8200-4.5-nh-first).
        let Ok(Walked::Fragment(place)) = walk(&packet) else { return dropped(Drop::FragmentBad) };
        packet[place.named_at] = place.next;
        packet.truncate(place.at);
        packet.extend_from_slice(&whole.payload);
        // 8200-4.5-length-formula; more than 16 bits were refused fragment by fragment.
        let Ok(payload_len) = u16::try_from(packet.len() - V6_HEADER_LEN) else {
            return dropped(Drop::FragmentBad);
        };
        packet[1] = packet[1] & !0x30 | whole.ecn << 4;
        packet[4..6].copy_from_slice(&payload_len.to_be_bytes());
        let upper = match walk(&packet) {
            Ok(Walked::Upper(upper)) => upper,
            // Fragments of fragments serve no purpose but trouble.
            Ok(Walked::Fragment(_)) => return dropped(Drop::FragmentBad),
            Err(fault) => return self.refuse_v6(env, &packet, to, fault),
        };
        let delivery = match ip::parse_v6(&packet) {
            Ok(header) => delivery(&header, &upper, to, whole.trusted),
            Err(malformed) => return dropped(malformed.into()),
        };
        let delivery = Delivery { packet: Cow::Owned(packet), ..delivery };
        self.dispatch(env, delivery, upper.named_at as u32)
    }
}

/// The delivery of a packet, still to be put in.
fn delivery(header: &ip::V6<'_>, upper: &Upper, to: AddressKind, trusted: bool) -> Delivery<'static> {
    Delivery {
        packet: Cow::Borrowed(&[]),
        payload: upper.at..header.packet.len(),
        src: header.src.into(),
        dst: header.dst.into(),
        protocol: upper.protocol,
        ttl: header.hop_limit,
        tos: header.traffic_class,
        to,
        checksum_trusted: trusted,
    }
}

/// What RFC 8200 §4.5 wants to be reported about a fragment: code and pointer of the parameter problem.
fn fragment_fault(place: &Place, payload: &[u8]) -> Option<(u8, u32)> {
    if place.info.more && !payload.len().is_multiple_of(8) {
        return Some((ERRONEOUS_FIELD, PAYLOAD_LENGTH_AT));
    }
    let whole_len = place.at - V6_HEADER_LEN + usize::from(place.info.offset) + payload.len();
    if whole_len > 65535 {
        return Some((ERRONEOUS_FIELD, place.at as u32 + 2));
    }
    (place.info.offset == 0 && !has_whole_chain(place.next, payload)).then_some((INCOMPLETE_CHAIN, 0))
}

/// Does a first fragment hold all headers through the upper-layer's (8200-4.5-first-incomplete)?
fn has_whole_chain(next: u8, payload: &[u8]) -> bool {
    let Some(upper) = ip::skip_extensions(next, payload) else { return false };
    let header_len = match upper.protocol {
        tcp::PROTOCOL => tcp::HEADER_LEN,
        udp::PROTOCOL => udp::HEADER_LEN,
        icmp::PROTOCOL_V6 => icmp::HEADER_LEN,
        _ => 0,
    };
    payload.len() >= upper.at + header_len
}

/// Where the chain of headers led.
#[derive(Debug, PartialEq, Eq)]
enum Walked {
    Upper(Upper),
    Fragment(Place),
}

/// An upper-layer header.
#[derive(Debug, PartialEq, Eq)]
struct Upper {
    protocol: u8,
    /// Where it begins.
    at: usize,
    /// Where its type stands.
    named_at: usize,
}

/// A fragment header that needs reassembly.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Where it begins.
    at: usize,
    /// Where its type stands.
    named_at: usize,
    info: FragmentInfo,
    /// Type of what is fragmented.
    next: u8,
}

/// Why the chain ends early.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    NothingFollows,
    Silent(Drop),
    Problem { code: u8, pointer: u32, unicast_only: bool },
}

fn problem(code: u8, pointer: usize) -> Fault {
    Fault::Problem { code, pointer: pointer as u32, unicast_only: false }
}

/// Processes the extension headers of a whole packet strictly in order (8200-4-order).
fn walk(packet: &[u8]) -> Result<Walked, Fault> {
    let (mut named_at, mut at) = (NEXT_HEADER_AT, V6_HEADER_LEN);
    for _ in 0..=MAX_EXTENSIONS {
        let next = *packet.get(named_at).ok_or(Fault::Silent(Drop::Truncated))?;
        let len = match next {
            ip::HOP_BY_HOP if named_at == NEXT_HEADER_AT => walk_options(packet, at)?,
            // RFC 8200 §4: anywhere else hop-by-hop options are as good as unknown.
            ip::HOP_BY_HOP => return Err(problem(UNKNOWN_NEXT_HEADER, named_at)),
            ip::DESTINATION_OPTIONS => walk_options(packet, at)?,
            ip::ROUTING => walk_routing(packet, at)?,
            ip::FRAGMENT => {
                let rest = packet.get(at..).unwrap_or_default();
                let (info, next) =
                    ip::parse_fragment_header(rest).map_err(|malformed| Fault::Silent(malformed.into()))?;
                if !info.is_whole() {
                    return Ok(Walked::Fragment(Place { at, named_at, info, next }));
                }
                FRAGMENT_HEADER_LEN
            }
            ip::NO_NEXT_HEADER => return Err(Fault::NothingFollows),
            protocol => return Ok(Walked::Upper(Upper { protocol, at, named_at })),
        };
        named_at = at;
        at += len;
    }
    Err(Fault::Silent(Drop::Malformed))
}

/// Length of the header at `at`, which lies wholly in the packet.
fn extension_len(packet: &[u8], at: usize) -> Result<usize, Fault> {
    let len = packet.get(at + 1).map(|units| 8 + 8 * usize::from(*units));
    len.filter(|len| at + len <= packet.len()).ok_or(Fault::Silent(Drop::Truncated))
}

fn walk_routing(packet: &[u8], at: usize) -> Result<usize, Fault> {
    let len = extension_len(packet, at)?;
    // RFC 8200 §4.4, RFC 5095: no type is known, so none may have segments left.
    if packet[at + 3] != 0 { Err(problem(ERRONEOUS_FIELD, at + 2)) } else { Ok(len) }
}

const PAD1: u8 = 0;
const PADN: u8 = 1;
const ROUTER_ALERT: u8 = 5;

/// Options of a hop-by-hop or destination options header (RFC 8200 §4.2).
fn walk_options(packet: &[u8], header_at: usize) -> Result<usize, Fault> {
    let len = extension_len(packet, header_at)?;
    let end = header_at + len;
    let mut at = header_at + 2;
    while at < end {
        let kind = packet[at];
        if kind == PAD1 {
            at += 1;
            continue;
        }
        let next = at + 2 + usize::from(*packet[..end].get(at + 1).ok_or(Fault::Silent(Drop::Malformed))?);
        if next > end {
            return Err(Fault::Silent(Drop::Malformed));
        }
        if !matches!(kind, PADN | ROUTER_ALERT) {
            unknown_option(kind, at)?;
        }
        at = next;
    }
    Ok(len)
}

/// What the two highest bits of an unknown option's type want (RFC 8200 §4.2).
fn unknown_option(kind: u8, at: usize) -> Result<(), Fault> {
    match kind >> 6 {
        0 => Ok(()),
        1 => Err(Fault::Silent(Drop::UnknownOption)),
        2 => Err(Fault::Problem { code: UNKNOWN_OPTION, pointer: at as u32, unicast_only: false }),
        _ => Err(Fault::Problem { code: UNKNOWN_OPTION, pointer: at as u32, unicast_only: true }),
    }
}
