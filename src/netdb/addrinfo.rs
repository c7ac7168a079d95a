//! The parts of `getaddrinfo` (RFC 3493 §6.1, POSIX) that need no network: arguments, numeric hosts, services.
//!
//! What POSIX leaves open is as in glibc. Different: a port number above 65535 is `EAI_SERVICE` instead of being cut
//! to 16 bits, and the only interface that an IPv6 scope can name is the stack's.

use super::inet::{Family, aton_exact};
use super::{GaiError, services};
use bitflags::bitflags;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

bitflags! {
    /// `ai_flags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AiFlags: u32 {
        /// The addresses are to be bound to: without a host, the wildcard addresses.
        const PASSIVE = 0x0001;
        /// Tell the canonical name.
        const CANONNAME = 0x0002;
        /// The host is a numeric address; nothing is looked up.
        const NUMERICHOST = 0x0004;
        /// IPv4-mapped addresses where an IPv6 socket is asked for and the host has no IPv6 address.
        const V4MAPPED = 0x0008;
        /// With `V4MAPPED`: IPv6 and mapped IPv4 addresses.
        const ALL = 0x0010;
        /// Only families of which the stack has an address.
        const ADDRCONFIG = 0x0020;
        /// The service is a port number; nothing is looked up.
        const NUMERICSERV = 0x0400;
    }
}

bitflags! {
    /// Flags of `getnameinfo`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct NiFlags: u32 {
        /// The address in numbers, no look-up.
        const NUMERICHOST = 0x01;
        /// The port in numbers, no look-up.
        const NUMERICSERV = 0x02;
        /// Only the host part of names in the local domain.
        const NOFQDN = 0x04;
        /// An address without a name is an error.
        const NAMEREQD = 0x08;
        /// The service is a datagram service.
        const DGRAM = 0x10;
    }
}

/// `ai_socktype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SockType {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_DGRAM`.
    Dgram,
    /// `SOCK_RAW`.
    Raw,
}

/// What kind of addresses is asked for. `default()` is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Flags.
    pub flags: AiFlags,
    /// One family, or both.
    pub family: Option<Family>,
    /// One socket type, or all.
    pub socktype: Option<SockType>,
    /// The protocol's number; 0 is any.
    pub protocol: u8,
}

/// One way to reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrInfo {
    /// Address family.
    pub family: Family,
    /// Socket type.
    pub socktype: SockType,
    /// Protocol number.
    pub protocol: u8,
    /// The host's canonical name: in the first entry, when asked for.
    pub canonname: Option<String>,
    /// Address and port.
    pub address: SocketAddr,
}

/// A socket type and protocol with the port of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub socktype: SockType,
    pub protocol: u8,
    pub port: u16,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a service argument says.
enum Port<'a> {
    None,
    Number(u16),
    Name(&'a str),
}

/// The ways to reach `service` that the hints allow.
pub(super) fn ways(hints: &Hints, service: Option<&str>, table: &str) -> Result<Vec<Way>, GaiError> {
    let known = [(SockType::Stream, TCP, "tcp"), (SockType::Dgram, UDP, "udp")];
    let wanted = |socktype, protocol| {
        hints.socktype.is_none_or(|wanted| wanted == socktype)
            && (hints.protocol == 0 || hints.protocol == protocol)
    };
    let mut allowed =
        known.into_iter().filter(|&(socktype, protocol, _)| wanted(socktype, protocol)).peekable();
    let raw = hints.socktype.is_none_or(|socktype| socktype == SockType::Raw);
    let port = port(hints, service)?;
    if allowed.peek().is_none() {
        return match (raw, port) {
            (true, Port::None) => {
                Ok(vec![Way { socktype: SockType::Raw, protocol: hints.protocol, port: 0 }])
            }
            // Raw sockets have no services.
            (true, Port::Number(_) | Port::Name(_)) => Err(GaiError::Service),
            (false, _) => Err(GaiError::SockType),
        };
    }
    let find = |(socktype, protocol, name)| {
        let port = match port {
            Port::None => 0,
            Port::Number(port) => port,
            Port::Name(service) => services::service_by_name(table, service, Some(name))?.port,
        };
        Some(Way { socktype, protocol, port })
    };
    let mut ways: Vec<Way> = allowed.filter_map(find).collect();
    match port {
        Port::Number(port) if raw && hints.protocol == 0 => {
            ways.push(Way { socktype: SockType::Raw, protocol: 0, port });
        }
        Port::None if raw && hints.protocol == 0 => {
            ways.push(Way { socktype: SockType::Raw, protocol: 0, port: 0 });
        }
        Port::None | Port::Number(_) | Port::Name(_) => {}
    }
    if ways.is_empty() { Err(GaiError::Service) } else { Ok(ways) }
}

/// A port number is read as `strtoul` reads it: white space and a sign may come before it.
fn port<'a>(hints: &Hints, service: Option<&'a str>) -> Result<Port<'a>, GaiError> {
    let Some(service) = service.filter(|service| !service.is_empty()) else { return Ok(Port::None) };
    let number = service.trim_start();
    let digits = number.strip_prefix('+').unwrap_or(number);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return digits.parse().map(Port::Number).map_err(|_| GaiError::Service);
    }
    if hints.flags.contains(AiFlags::NUMERICSERV) {
        return Err(GaiError::NoName);
    }
    Ok(Port::Name(service))
}

/// What a host argument says without any look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// These addresses, with a scope for link-local ones.
    Known(Vec<IpAddr>, u32),
    /// A name to look up.
    Name(&'a str),
}

/// Reads the host argument.
pub(super) fn node<'a>(
    hints: &Hints,
    host: Option<&'a str>,
    scope_of: impl Fn(&str) -> Option<u32>,
) -> Result<Node<'a>, GaiError> {
    let Some(host) = host else { return Ok(Node::Known(own(hints), 0)) };
    let (text, scope) = match host.split_once('%') {
        Some((text, scope)) if text.contains(':') => {
            let named = || if is_on_link(text) { scope_of(scope) } else { None };
            (text, scope.parse().ok().or_else(named).ok_or(GaiError::NoName)?)
        }
        _ => (host, 0),
    };
    let address = match text.parse::<Ipv6Addr>() {
        Ok(v6) => IpAddr::V6(v6),
        Err(_) => match aton_exact(text) {
            Some(v4) => IpAddr::V4(v4),
            None if hints.flags.contains(AiFlags::NUMERICHOST) || host.is_empty() => {
                return Err(GaiError::NoName);
            }
            None if !host.is_ascii() => return Err(GaiError::IdnEncode),
            None => return Ok(Node::Name(host)),
        },
    };
    let address = match (hints.family, address) {
        (None | Some(Family::Inet), IpAddr::V4(_)) | (None | Some(Family::Inet6), IpAddr::V6(_)) => address,
        (Some(Family::Inet6), IpAddr::V4(v4)) if hints.flags.contains(AiFlags::V4MAPPED) => {
            IpAddr::V6(v4.to_ipv6_mapped())
        }
        (Some(Family::Inet6), IpAddr::V4(_)) => return Err(GaiError::AddrFamily),
        (Some(Family::Inet), IpAddr::V6(v6)) => IpAddr::V4(v6.to_ipv4_mapped().ok_or(GaiError::AddrFamily)?),
    };
    Ok(Node::Known(vec![address], scope))
}

/// Does the address mean something on one link only? Only then may an interface be named with it.
fn is_on_link(text: &str) -> bool {
    text.parse().is_ok_and(|v6: Ipv6Addr| v6.is_unicast_link_local() || v6.segments()[0] & 0xff0f == 0xff02)
}

/// The addresses that no host stands for: the wildcards to bind to, or loopback.
fn own(hints: &Hints) -> Vec<IpAddr> {
    let (v4, v6) = if hints.flags.contains(AiFlags::PASSIVE) {
        (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
    } else {
        (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
    };
    match (hints.family, v4.is_unspecified()) {
        (Some(Family::Inet), _) => vec![v4.into()],
        (Some(Family::Inet6), _) => vec![v6.into()],
        (None, true) => vec![v4.into(), v6.into()],
        (None, false) => vec![v6.into(), v4.into()],
    }
}

/// Every address in every way.
pub(super) fn combine(
    addresses: &[IpAddr],
    scope: u32,
    ways: &[Way],
    canonname: Option<String>,
) -> Vec<AddrInfo> {
    let mut list: Vec<AddrInfo> = Vec::with_capacity(addresses.len() * ways.len());
    for &address in addresses {
        for &Way { socktype, protocol, port } in ways {
            let address = match address {
                IpAddr::V4(v4) => SocketAddr::from((v4, port)),
                IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
            };
            let family = Family::of(address.ip());
            list.push(AddrInfo { family, socktype, protocol, canonname: None, address });
        }
    }
    if let Some(first) = list.first_mut() {
        first.canonname = canonname;
    }
    list
}
