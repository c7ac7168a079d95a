//! Rules of the internet layer: addresses, fragments, identification, ICMP errors.

use super::super::packet::{Body, ICMP, ICMPV6, Packet, parse_body, sum};
use super::super::ranges::Ranges;
use super::{Check, Checker, Fault, Rule, ensure};
use std::collections::HashMap;
use std::net::IpAddr;
use tunstack::base::{Duration, Instant};

/// How long an ID that was used for a datagram that may be fragmented must not be used again; RFC 6864 §4.3 says one
/// maximum datagram lifetime, which is two minutes; a quick test never gets there.
const ID_LIFETIME: Duration = Duration::from_secs(120);

impl Checker {
    /// Rules of the IP header of every packet.
    pub(super) fn check_ip(&self, packet: &Packet) -> Check {
        let bytes = &packet.bytes;
        if packet.src.is_ipv4() {
            let header = usize::from(bytes[0] & 0x0f) * 4;
            ensure(sum(&[&bytes[..header]]) == 0, Rule::IpChecksum, || {
                "IPv4 header checksum is wrong".into()
            })?;
            ensure(bytes[6] & 0x80 == 0, Rule::Reserved, || "the reserved bit of IPv4 is set".into())?;
            let both = packet.df && packet.fragment.is_some();
            ensure(!both, Rule::Id, || "a fragment with DF".into())?;
        }
        ensure(packet.ttl > 0, Rule::Ttl, || "TTL is 0".into())?;
        ensure(self.addresses.contains(&packet.src), Rule::Source, || {
            format!("source {} is none of {:?}", packet.src, self.addresses)
        })?;
        let bad = packet.dst.is_unspecified() || (packet.dst.is_multicast() && packet.tcp().is_some());
        let bad = bad || (self.broadcasts.contains(&packet.dst) && packet.tcp().is_some());
        ensure(!bad, Rule::Destination, || format!("destination {}", packet.dst))
    }
}

/// Fragments and identifications that were sent.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    partial: HashMap<Key, Partial>,
    used: HashMap<Key, Instant>,
}

type Key = (IpAddr, IpAddr, u8, u32);

#[derive(Debug, Default)]
struct Partial {
    have: Ranges,
    octets: Vec<u8>,
    end: Option<usize>,
}

impl Fragments {
    /// Adds a fragment; gives the datagram once it is whole.
    pub(super) fn add(&mut self, packet: &Packet) -> Result<Option<Packet>, Fault> {
        let (offset, more) = packet.fragment.expect("only fragments come here");
        let payload = packet.payload();
        let key = (packet.src, packet.dst, packet.protocol, packet.id);
        let bad = |detail: &str| Fault { rule: Rule::Fragments, detail: detail.to_owned() };
        if payload.is_empty() || (more && !payload.len().is_multiple_of(8)) {
            return Err(bad("a fragment that is empty or no multiple of 8"));
        }
        let end = offset + payload.len();
        if end + packet.header_len > 65535 + 8 {
            return Err(bad("a fragment beyond the largest datagram"));
        }
        let partial = self.partial.entry(key).or_default();
        if partial.have.touches(offset as u32, end as u32) {
            return Err(bad("fragments overlap"));
        }
        if partial.end.is_some_and(|last| end > last || !more) {
            return Err(bad("a fragment after the last one"));
        }
        partial.have.add(offset as u32, end as u32);
        if !more {
            partial.end = Some(end);
        }
        partial.octets.resize(partial.octets.len().max(end), 0);
        partial.octets[offset..end].copy_from_slice(payload);
        let Some(end) = partial.end.filter(|end| partial.have.covers(0, *end as u32)) else {
            return Ok(None);
        };
        let octets = self.partial.remove(&key).map(|p| p.octets).unwrap_or_default();
        debug_assert_eq!(octets.len(), end);
        let mut whole = packet.clone();
        whole.bytes = [&packet.bytes[..packet.header_len], &octets[..]].concat();
        whole.body =
            parse_body(packet.protocol, &octets).map_err(|detail| Fault { rule: Rule::Structure, detail })?;
        Ok(Some(whole))
    }

    /// An ID that may meet fragments is not used twice within a datagram's lifetime (RFC 6864 §4.3).
    pub(super) fn check_id(&mut self, now: Instant, packet: &Packet) -> Check {
        if (packet.src.is_ipv4() && packet.df) || (packet.src.is_ipv6() && packet.fragment.is_none()) {
            return Ok(());
        }
        let key = (packet.src, packet.dst, packet.protocol, packet.id);
        let before = self.used.insert(key, now);
        let fresh = before.is_none_or(|before| now.since(before) >= ID_LIFETIME);
        ensure(fresh, Rule::Id, || format!("ID {} is used twice", packet.id))
    }
}

/// Rules of ICMP messages: an error quotes a packet that just came and that may be complained about (RFC 1122 §3.2.2,
/// RFC 4443 §2.4).
pub(super) fn check_icmp(packet: &Packet, recent: &[Packet], broadcasts: &[IpAddr]) -> Check {
    let Body::Icmp { kind, payload, .. } = &packet.body else { return Ok(()) };
    let v4 = packet.src.is_ipv4();
    let is_error = if v4 { matches!(kind, 3..=5 | 11 | 12) } else { *kind < 128 };
    ensure(packet.protocol == if v4 { ICMP } else { ICMPV6 }, Rule::IcmpError, || {
        "ICMP of the other IP".into()
    })?;
    if !is_error {
        return Ok(());
    }
    let longest = if v4 { 576 } else { 1280 };
    ensure(packet.bytes.len() <= longest, Rule::IcmpError, || {
        format!("an ICMP error of {} octets", packet.bytes.len())
    })?;
    let cause = recent.iter().find(|p| p.bytes.starts_with(payload));
    let Some(cause) = cause else {
        let unseen = recent.iter().any(|packet| packet.fragment.is_some());
        return ensure(unseen, Rule::IcmpError, || "an ICMP error about nothing that came".into());
    };
    let enough = payload.len() >= (cause.header_len + 8).min(cause.bytes.len());
    ensure(enough, Rule::IcmpError, || format!("quotes only {} octets", payload.len()))?;
    let about_error = match &cause.body {
        Body::Icmp { kind, .. } if v4 => matches!(kind, 3..=5 | 11 | 12),
        Body::Icmp { kind, .. } => *kind < 128,
        _ => false,
    };
    ensure(!about_error, Rule::IcmpError, || "an ICMP error about an ICMP error".into())?;
    let later = cause.fragment.is_some_and(|(offset, _)| offset > 0);
    ensure(!later, Rule::IcmpError, || "an ICMP error about a later fragment".into())?;
    let limited = matches!(cause.dst, IpAddr::V4(dst) if dst.is_broadcast());
    // Packet too big and an option that must be reported are the two exceptions of RFC 4443 §2.4 (e.3).
    let excepted = !v4 && (*kind == 2 || *kind == 4);
    let many = (cause.dst.is_multicast() && !excepted) || limited || broadcasts.contains(&cause.dst);
    ensure(!many, Rule::IcmpError, || format!("an ICMP error about a packet to {}", cause.dst))?;
    let source = cause.src.is_unspecified() || cause.src.is_multicast() || cause.src.is_loopback();
    ensure(!source && packet.dst == cause.src, Rule::IcmpError, || format!("sent to {}", packet.dst))
}
