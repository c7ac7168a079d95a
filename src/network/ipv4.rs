//! IPv4 packets that arrive (RFC 791, RFC 1122 §3.2.1): checked in the order of their headers, dropped and counted at the
//! first fault. Source-routed packets are dropped (RFC 7126 §4.3); other options are ignored.

use super::address::is_unicast_v4;
use super::reassembly::{Fragment, Key, Outcome, Whole};
use super::{AddressKind, Delivery, IcmpErrorKind, Network, Verdict, dropped};
use crate::network::Env;
use crate::trace::Drop;
use crate::wire::Malformed;
use crate::wire::checksum::checksum;
use crate::wire::ip::{self, V4_HEADER_LEN};
use std::borrow::Cow;

/// Where the protocol's number stands in the header.
const PROTOCOL_AT: u32 = 9;

impl Network {
    pub(super) fn receive_v4<'a>(
        &mut self,
        env: &mut Env<'_>,
        bytes: &'a [u8],
        trusted: bool,
        from_wire: bool,
    ) -> Verdict<'a> {
        env.counters.ip_in_receives += 1;
        let header = match ip::parse_v4(bytes) {
            Ok(header) => header,
            Err(malformed) => {
                match malformed {
                    Malformed::Truncated => env.counters.ip_ext_in_truncated_pkts += 1,
                    Malformed::Structure => env.counters.ip_in_hdr_errors += 1,
                }
                return dropped(malformed.into());
            }
        };
        if !header.checksum_is_valid() {
            env.counters.ip_in_hdr_errors += 1;
            env.counters.ip_ext_in_csum_errors += 1;
            return dropped(Drop::IpChecksum);
        }
        let c = &mut *env.counters;
        *match header.tos & 3 {
            0 => &mut c.ip_ext_in_no_ect_pkts,
            1 => &mut c.ip_ext_in_ect1_pkts,
            2 => &mut c.ip_ext_in_ect0_pkts,
            _ => &mut c.ip_ext_in_ce_pkts,
        } += 1;
        let to = match self.check_addresses_v4(env, &header, from_wire) {
            Ok(to) => to,
            Err(reason) => {
                env.counters.ip_in_addr_errors += 1;
                return dropped(reason);
            }
        };
        if let Err(fault) = check_options(header.options()) {
            return self.refuse_options(env, header.packet, fault);
        }
        if header.fragment.is_whole() {
            // RFC 6864 §4.1: the identification means nothing here.
            let delivery =
                Delivery { packet: Cow::Borrowed(header.packet), ..delivery(&header, to, trusted) };
            return self.dispatch(env, delivery, PROTOCOL_AT);
        }
        match self.reassemble_v4(env, &header, trusted) {
            Ok(whole) => self.deliver_whole_v4(env, whole, to),
            Err(reason) => dropped(reason),
        }
    }

    /// What the destination is to us, or why source or destination are refused (RFC 1122 §3.2.1.3).
    fn check_addresses_v4(
        &self,
        env: &mut Env<'_>,
        header: &ip::V4<'_>,
        from_wire: bool,
    ) -> Result<AddressKind, Drop> {
        let to = self.addresses.kind(header.dst.into());
        let from = self.addresses.kind(header.src.into());
        if from_wire && header.src == header.dst {
            env.counters.in_land += 1;
            return Err(Drop::Land);
        }
        if !is_unicast_v4(header.src) || from == AddressKind::Broadcast || (from_wire && from.is_local()) {
            env.counters.in_martians += 1;
            return Err(Drop::BadSource);
        }
        match to {
            AddressKind::Own => Ok(to),
            AddressKind::Loopback if !from_wire => Ok(to),
            AddressKind::Loopback | AddressKind::Unspecified => Err(Drop::BadDestination),
            AddressKind::Broadcast => {
                env.counters.ip_ext_in_bcast_pkts += 1;
                Ok(to)
            }
            AddressKind::Multicast if self.addresses.is_member(header.dst.into()) => {
                env.counters.ip_ext_in_mcast_pkts += 1;
                Ok(to)
            }
            AddressKind::Multicast | AddressKind::Remote => Err(Drop::NotOurs),
        }
    }

    fn refuse_options<'a>(&mut self, env: &mut Env<'_>, packet: &[u8], fault: OptionFault) -> Verdict<'a> {
        env.counters.ip_in_hdr_errors += 1;
        match fault {
            OptionFault::SourceRoute => {
                env.counters.in_source_routes += 1;
                dropped(Drop::UnknownOption)
            }
            OptionFault::Length { at } => {
                let pointer = (V4_HEADER_LEN + at) as u32;
                self.send_error(env, packet, IcmpErrorKind::ParameterProblem { code: 0, pointer });
                dropped(Drop::Malformed)
            }
        }
    }

    fn reassemble_v4(
        &mut self,
        env: &mut Env<'_>,
        header: &ip::V4<'_>,
        trusted: bool,
    ) -> Result<Whole, Drop> {
        env.counters.ip_reasm_reqds += 1;
        let payload = header.payload();
        let end = usize::from(header.fragment.offset) + payload.len();
        let is_ragged = header.fragment.more && !payload.len().is_multiple_of(8);
        // 1122-3.3.2-emtu-config, 791-3.2-reass-end.
        let largest = env.config.ip_emtu_r as usize;
        if payload.is_empty() || is_ragged || header.header_len + end > largest {
            env.counters.ip_reasm_fails += 1;
            return Err(Drop::FragmentBad);
        }
        let key = Key {
            src: header.src.into(),
            dst: header.dst.into(),
            protocol: header.protocol,
            id: header.fragment.id,
        };
        let head = &header.packet[..header.header_len];
        let fragment = Fragment { head, payload, info: header.fragment, ecn: header.tos & 3, trusted };
        match self.reassembly.add(env, key, fragment) {
            Outcome::Held => Err(Drop::FragmentHeld),
            Outcome::Refused(reason) => {
                env.counters.ip_reasm_fails += 1;
                if reason == Drop::FragmentOverlap {
                    env.counters.ip_ext_reasm_overlaps += 1;
                }
                Err(reason)
            }
            // The first fragment may have had more options than the others.
            Outcome::Complete(whole) if whole.head.len() + whole.payload.len() > largest => {
                env.counters.ip_reasm_fails += 1;
                Err(Drop::FragmentBad)
            }
            Outcome::Complete(whole) => {
                env.counters.ip_reasm_oks += 1;
                Ok(whole)
            }
        }
    }

    fn deliver_whole_v4<'a>(&mut self, env: &mut Env<'_>, whole: Whole, to: AddressKind) -> Verdict<'a> {
        let mut packet = whole.head;
        let header_len = packet.len();
        let total = (header_len + whole.payload.len()) as u16;
        packet[1] = packet[1] & !3 | whole.ecn;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[6..8].fill(0);
        packet[10..12].fill(0);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&whole.payload);
        let delivery = match ip::parse_v4(&packet) {
            Ok(header) => delivery(&header, to, whole.trusted),
            Err(malformed) => return dropped(malformed.into()),
        };
        let delivery = Delivery { packet: Cow::Owned(packet), ..delivery };
        self.dispatch(env, delivery, PROTOCOL_AT)
    }
}

/// The delivery of a packet, still to be put in.
fn delivery(header: &ip::V4<'_>, to: AddressKind, trusted: bool) -> Delivery<'static> {
    Delivery {
        packet: Cow::Borrowed(&[]),
        payload: header.header_len..header.packet.len(),
        src: header.src.into(),
        dst: header.dst.into(),
        protocol: header.protocol,
        ttl: header.ttl,
        tos: header.tos,
        to,
        checksum_trusted: trusted,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum OptionFault {
    /// A source route.
    SourceRoute,
    /// A length that cannot be, of the option at this place.
    Length { at: usize },
}

const END: u8 = 0;
const NOP: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Walks the options by their lengths (1122-3.2.1.8-ignore-unknown).
fn check_options(options: &[u8]) -> Result<(), OptionFault> {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        match kind {
            END => break,
            NOP => at += 1,
            _ => {
                let len = options.get(at + 1).map_or(0, |len| usize::from(*len));
                if len < 2 || at + len > options.len() {
                    return Err(OptionFault::Length { at });
                }
                if kind == LOOSE_SOURCE_ROUTE || kind == STRICT_SOURCE_ROUTE {
                    return Err(OptionFault::SourceRoute);
                }
                at += len;
            }
        }
    }
    Ok(())
}
