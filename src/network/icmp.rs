//! ICMP (RFC 792, RFC 1122 §3.2.2) and ICMPv6 (RFC 4443): echo answered, errors read and sent.
//!
//! Source quench (RFC 6633), redirects, neighbour and router discovery mean nothing on this link and are ignored.

use super::path_mtu::{MIN_V6_MTU, plateau_below};
use super::{AddressKind, Delivery, IcmpErrorKind, IpOut, Network, QuotedError, Verdict, dropped};
use crate::base::io::MtuDiscover;
use crate::base::{Config, Duration, Errno, Instant};
use crate::network::Env;
use crate::trace::{Drop, Reason, Why};
use crate::wire::icmp::{self, Kind, Message};
use crate::wire::ip::{self, V4_HEADER_LEN, V6_HEADER_LEN};
use crate::wire::{tcp, udp};
use core::net::IpAddr;
use std::borrow::Cow;

/// Octets of the whole packet that an ICMP error over IPv4 fills at most (RFC 1812 §4.3.2.3).
const MAX_V4_ERROR: usize = 576;
/// Octets of transport that a quote must have for its owner to be found (792-short).
const MIN_QUOTE: usize = 8;

/// The rate limit of errors (RFC 4443 §2.4(f), RFC 1812 §4.3.2.8): a token bucket, kept as the time at which it would be
/// full again.
#[derive(Debug, Default)]
pub(super) struct ErrorBudget {
    full_at: Instant,
}

impl ErrorBudget {
    fn take(&mut self, now: Instant, config: &Config) -> bool {
        let (rate, burst) = (u64::from(config.icmp_msgs_per_sec), u64::from(config.icmp_msgs_burst));
        if rate == 0 || burst == 0 {
            return false;
        }
        let interval = Duration::from_secs(1).div(rate);
        let full_at = self.full_at.max(now) + interval;
        let has_token = full_at <= now + interval.mul(burst);
        if has_token {
            self.full_at = full_at;
        }
        has_token
    }
}

impl Network {
    pub(super) fn receive_icmp<'a>(&mut self, env: &mut Env<'_>, delivery: Delivery<'a>) -> Verdict<'a> {
        let v4 = delivery.src.is_ipv4();
        *if v4 { &mut env.counters.icmp_in_msgs } else { &mut env.counters.icmp6_in_msgs } += 1;
        let bytes = delivery.payload();
        if !delivery.checksum_trusted && !icmp::verify(delivery.src, delivery.dst, bytes) {
            *if v4 {
                &mut env.counters.icmp_in_csum_errors
            } else {
                &mut env.counters.icmp6_in_csum_errors
            } += 1;
            return malformed(env, v4, Drop::TransportChecksum);
        }
        let message = match if v4 { icmp::parse_v4(bytes) } else { icmp::parse_v6(bytes) } {
            Ok(message) => message,
            Err(fault) => return malformed(env, v4, fault.into()),
        };
        count_in(env, v4, message.kind);
        match message.kind {
            Kind::EchoRequest { id, seq } => {
                let reply = Kind::EchoReply { id, seq };
                let answered = self.answer_echo(env, &delivery, reply, message.body);
                Verdict::Done(answered)
            }
            Kind::EchoReply { .. } => Verdict::Deliver(delivery),
            Kind::Unreachable { .. }
            | Kind::FragmentationNeeded { .. }
            | Kind::PacketTooBig { .. }
            | Kind::TimeExceeded { .. }
            | Kind::ParameterProblem { .. } => self.receive_error(env, delivery),
            // RFC 4443 §2.4(a): an error of a type to come still goes to whom it concerns.
            Kind::Unknown { kind, .. } if !v4 && kind < 128 => self.receive_error(env, delivery),
            Kind::SourceQuench | Kind::Redirect | Kind::Neighbour | Kind::Unknown { .. } => {
                dropped(Drop::IcmpIgnored)
            }
        }
    }

    fn answer_echo(&mut self, env: &mut Env<'_>, to: &Delivery<'_>, reply: Kind, data: &[u8]) -> Reason {
        let is_for_us_alone = to.to.is_local();
        if env.config.icmp_echo_ignore_all || (!is_for_us_alone && env.config.icmp_echo_ignore_broadcasts) {
            return Reason::Dropped(Drop::IcmpIgnored);
        }
        // RFC 1122 §3.2.2.6, RFC 4443 §2.2: from the address that was asked, if it is ours alone.
        let src = if is_for_us_alone { Ok(to.dst) } else { self.source_for(to.src) };
        let Ok(src) = src else { return Reason::Dropped(Drop::IcmpIgnored) };
        let Some(header) = icmp::header(reply, src, to.src, data) else {
            return Reason::Dropped(Drop::IcmpIgnored);
        };
        let out = IpOut {
            src,
            dst: to.src,
            protocol: to.protocol,
            ttl: env.config.ip_default_ttl as u8,
            tos: to.tos,
            discover: MtuDiscover::Dont,
            multicast_loop: false,
            why: Why::EchoReply,
            flow: None,
        };
        match self.send(env, &out, &[&header, data]) {
            Ok(()) => Reason::Taken,
            Err(Errno::ENETUNREACH) => Reason::Dropped(Drop::NoRoute),
            Err(_) => Reason::Dropped(Drop::NoRoom),
        }
    }

    /// Reads an error about a packet of ours; whether we sent that packet is the transport's to say.
    fn receive_error<'a>(&mut self, env: &mut Env<'_>, delivery: Delivery<'a>) -> Verdict<'a> {
        let v4 = delivery.src.is_ipv4();
        let parse = if v4 { icmp::parse_v4 } else { icmp::parse_v6 };
        let Ok(message) = parse(delivery.payload()) else { return malformed(env, v4, Drop::Malformed) };
        let Some((error, hard)) = error_of(v4, &message) else { return dropped(Drop::IcmpIgnored) };
        let quoted = ip::parse_quoted(message.body)
            .filter(|quoted| quoted.src.is_ipv4() == v4 && quoted.transport.len() >= MIN_QUOTE);
        let Some(quoted) = quoted else { return malformed(env, v4, Drop::Truncated) };
        let known = [tcp::PROTOCOL, udp::PROTOCOL, icmp_protocol(v4)].contains(&quoted.protocol);
        if !delivery.to.is_local() || !self.is_local(quoted.src) || !known {
            env.counters.icmp_in_stale += 1;
            return dropped(Drop::IcmpStale);
        }
        let mtu = match next_hop_mtu(&message, quoted.total_len) {
            NextHop::Takes(mtu) => Some(mtu),
            NextHop::Untold => None,
            NextHop::Impossible => {
                env.counters.icmp_in_stale += 1;
                return dropped(Drop::IcmpIgnored);
            }
        };
        let (icmp_type, icmp_code) = (message.icmp_type, message.code);
        let (src, dst, protocol) = (quoted.src, quoted.dst, quoted.protocol);
        let skipped = offset_in(&delivery.packet, quoted.transport);
        let until = skipped + quoted.transport.len();
        let from = delivery.src;
        let transport = match delivery.packet {
            Cow::Borrowed(packet) => Cow::Borrowed(&packet[skipped..until]),
            Cow::Owned(packet) => Cow::Owned(packet[skipped..until].to_vec()),
        };
        Verdict::IcmpError(QuotedError {
            from,
            src,
            dst,
            protocol,
            transport,
            error,
            hard,
            mtu,
            icmp_type,
            icmp_code,
        })
    }

    /// Sends an ICMP error about a whole IP packet that arrived, unless a rule or the rate limit forbids it.
    pub fn send_error(&mut self, env: &mut Env<'_>, about: &[u8], kind: IcmpErrorKind) {
        let Some((asker, asked)) = self.may_report(about, kind) else { return };
        // Nobody floods himself: as on Linux there is no limit inside the host.
        if !self.is_local(asker) && !self.error_budget.take(env.now, env.config) {
            env.counters.icmp_out_rate_limit_global += 1;
            return;
        }
        let v4 = asker.is_ipv4();
        // RFC 1122 §3.2.2, RFC 4443 §2.2: from the address that the packet went to, if it is ours alone.
        let src = if self.is_local(asked) { Ok(asked) } else { self.source_for(asker) };
        let Ok(src) = src else { return };
        let room = if v4 { MAX_V4_ERROR - V4_HEADER_LEN } else { MIN_V6_MTU as usize - V6_HEADER_LEN };
        let quote = &about[..about.len().min(room - icmp::HEADER_LEN)];
        let Some(header) = icmp::header(message_of(v4, kind), src, asker, quote) else { return };
        let out = IpOut {
            src,
            dst: asker,
            protocol: icmp_protocol(v4),
            ttl: env.config.ip_default_ttl as u8,
            tos: 0,
            discover: MtuDiscover::Dont,
            multicast_loop: false,
            why: Why::IcmpError,
            flow: None,
        };
        // An error that finds no room or no way is no one's loss; both are counted.
        let _ = self.send(env, &out, &[&header, quote]);
    }

    /// Source and destination of `about`, if an error about it may be sent at all (RFC 1122 §3.2.2, RFC 4443 §2.4(e)).
    fn may_report(&self, about: &[u8], kind: IcmpErrorKind) -> Option<(IpAddr, IpAddr)> {
        let (src, dst): (IpAddr, IpAddr) = match about.first()? >> 4 {
            4 => {
                let header = ip::parse_v4(about).ok()?;
                let is_error = header.protocol == icmp::PROTOCOL_V4
                    && !header.payload().first().is_some_and(|icmp_type| is_query_v4(*icmp_type));
                if header.fragment.offset != 0 || is_error || header.src.octets()[0] >= 240 {
                    return None;
                }
                (header.src.into(), header.dst.into())
            }
            6 => {
                let header = ip::parse_v6(about).ok()?;
                if is_error_v6(&header) {
                    return None;
                }
                (header.src.into(), header.dst.into())
            }
            _ => return None,
        };
        let is_option_10 = matches!(kind, IcmpErrorKind::ParameterProblem { code: 2, .. }) && src.is_ipv6();
        let may_be_asked = match self.kind(dst) {
            AddressKind::Own | AddressKind::Loopback => true,
            AddressKind::Multicast => is_option_10,
            AddressKind::Unspecified | AddressKind::Broadcast | AddressKind::Remote => false,
        };
        let may_be_told = match self.kind(src) {
            AddressKind::Own | AddressKind::Remote => true,
            AddressKind::Loopback => self.is_local(dst),
            AddressKind::Unspecified | AddressKind::Broadcast | AddressKind::Multicast => false,
        };
        (may_be_asked && may_be_told).then_some((src, dst))
    }
}

/// Where `part` begins in `whole`, of which it is a piece.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn icmp_protocol(v4: bool) -> u8 {
    if v4 { icmp::PROTOCOL_V4 } else { icmp::PROTOCOL_V6 }
}

fn malformed<'a>(env: &mut Env<'_>, v4: bool, reason: Drop) -> Verdict<'a> {
    *if v4 { &mut env.counters.icmp_in_errors } else { &mut env.counters.icmp6_in_errors } += 1;
    dropped(reason)
}

/// Echo, timestamp, information, mask: types whose messages are no errors.
fn is_query_v4(icmp_type: u8) -> bool {
    matches!(icmp_type, 0 | 8 | 13..=18)
}

/// Is it, or might it be, an ICMPv6 error or a redirect?
fn is_error_v6(header: &ip::V6<'_>) -> bool {
    let payload = &header.packet[V6_HEADER_LEN..];
    let Some(upper) = ip::skip_extensions(header.next_header, payload) else { return false };
    let icmp_type = payload.get(upper.at).filter(|_| upper.is_first);
    // RFC 4443 §2.1: errors have types below 128.
    upper.protocol == icmp::PROTOCOL_V6
        && icmp_type.is_none_or(|icmp_type| *icmp_type < 128 || *icmp_type == 137)
}

fn message_of(v4: bool, kind: IcmpErrorKind) -> Kind {
    match kind {
        IcmpErrorKind::PortUnreachable => Kind::Unreachable { code: if v4 { 3 } else { 4 } },
        IcmpErrorKind::ProtocolUnreachable { .. } if v4 => Kind::Unreachable { code: 2 },
        IcmpErrorKind::ProtocolUnreachable { pointer } => Kind::ParameterProblem { code: 1, pointer },
        IcmpErrorKind::ReassemblyTimeout => Kind::TimeExceeded { code: 1 },
        IcmpErrorKind::ParameterProblem { code, pointer } => Kind::ParameterProblem { code, pointer },
    }
}

/// What a router said about the next hop.
enum NextHop {
    Takes(u32),
    /// The message is not about size.
    Untold,
    /// It would have taken the packet that it dropped.
    Impossible,
}

fn next_hop_mtu(message: &Message<'_>, quoted_len: u32) -> NextHop {
    let mtu = match message.kind {
        // RFC 1191 §5: routers that do not tell.
        Kind::FragmentationNeeded { mtu: 0 } => plateau_below(quoted_len),
        Kind::FragmentationNeeded { mtu } => u32::from(mtu),
        Kind::PacketTooBig { mtu } => mtu,
        Kind::EchoRequest { .. }
        | Kind::EchoReply { .. }
        | Kind::Unreachable { .. }
        | Kind::TimeExceeded { .. }
        | Kind::ParameterProblem { .. }
        | Kind::SourceQuench
        | Kind::Redirect
        | Kind::Neighbour
        | Kind::Unknown { .. } => return NextHop::Untold,
    };
    // RFC 5927 §7.2 (5927-7.2-pmtu-size); RFC 8201 §4 for reports below 1280.
    let is_too_small = matches!(message.kind, Kind::PacketTooBig { mtu } if mtu < MIN_V6_MTU);
    if mtu >= quoted_len || is_too_small { NextHop::Impossible } else { NextHop::Takes(mtu) }
}

/// The error number of an ICMP error and whether it is hard, as Linux has them (`icmp_err_convert`,
/// `icmpv6_err_convert`). `None` for codes that nobody defined.
fn error_of(v4: bool, message: &Message<'_>) -> Option<(Errno, bool)> {
    match message.kind {
        Kind::Unreachable { code } if v4 => unreachable_v4(code),
        Kind::Unreachable { code } => Some(unreachable_v6(code)),
        Kind::FragmentationNeeded { .. } | Kind::PacketTooBig { .. } => Some((Errno::EMSGSIZE, false)),
        Kind::TimeExceeded { .. } => Some((Errno::EHOSTUNREACH, false)),
        Kind::ParameterProblem { .. } => Some((Errno::EPROTO, true)),
        Kind::Unknown { .. } => Some((Errno::EPROTO, false)),
        Kind::EchoRequest { .. }
        | Kind::EchoReply { .. }
        | Kind::SourceQuench
        | Kind::Redirect
        | Kind::Neighbour => None,
    }
}

fn unreachable_v4(code: u8) -> Option<(Errno, bool)> {
    Some(match code {
        0 | 11 => (Errno::ENETUNREACH, false),
        1 | 12 => (Errno::EHOSTUNREACH, false),
        2 => (Errno::ENOPROTOOPT, true),
        3 => (Errno::ECONNREFUSED, true),
        5 => (Errno::EOPNOTSUPP, false),
        6 | 9 => (Errno::ENETUNREACH, true),
        7 => (Errno::EHOSTDOWN, true),
        8 => (Errno::ENONET, true),
        10 | 13 | 14 | 15 => (Errno::EHOSTUNREACH, true),
        _ => return None,
    })
}

fn unreachable_v6(code: u8) -> (Errno, bool) {
    match code {
        0 => (Errno::ENETUNREACH, false),
        1 | 5 | 6 => (Errno::EACCES, true),
        2 | 3 => (Errno::EHOSTUNREACH, false),
        4 => (Errno::ECONNREFUSED, true),
        _ => (Errno::EPROTO, true),
    }
}

fn count_in(env: &mut Env<'_>, v4: bool, kind: Kind) {
    let c = &mut *env.counters;
    let counter = match kind {
        Kind::EchoRequest { .. } if v4 => &mut c.icmp_in_echos,
        Kind::EchoRequest { .. } => &mut c.icmp6_in_echos,
        Kind::EchoReply { .. } if v4 => &mut c.icmp_in_echo_reps,
        Kind::EchoReply { .. } => &mut c.icmp6_in_echo_replies,
        Kind::FragmentationNeeded { .. } => &mut c.icmp_in_dest_unreachs,
        Kind::Unreachable { .. } if v4 => &mut c.icmp_in_dest_unreachs,
        Kind::Unreachable { .. } => &mut c.icmp6_in_dest_unreachs,
        Kind::PacketTooBig { .. } => &mut c.icmp6_in_pkt_too_bigs,
        Kind::TimeExceeded { .. } if v4 => &mut c.icmp_in_time_excds,
        Kind::TimeExceeded { .. } => &mut c.icmp6_in_time_excds,
        Kind::ParameterProblem { .. } if v4 => &mut c.icmp_in_parm_probs,
        Kind::ParameterProblem { .. } => &mut c.icmp6_in_parm_problems,
        // RFC 6633 §8: a source quench is suspicious, so it is counted.
        Kind::SourceQuench => &mut c.icmp_in_src_quenchs,
        Kind::Redirect if v4 => &mut c.icmp_in_redirects,
        Kind::Redirect | Kind::Neighbour => &mut c.icmp6_in_neighbour,
        Kind::Unknown { .. } => &mut c.icmp_in_unknown,
    };
    *counter += 1;
}
