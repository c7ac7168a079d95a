//! Socket options by Linux's numbers: what `getsockopt` and `setsockopt` take, between octets and [`Opt`].

use crate::base::{Duration, Errno};
use crate::host::{Domain, MtuDiscover, Opt, OptName, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The numbers of the BSD calls, as on Linux.
pub mod consts {
    pub use libc::{
        AF_INET, AF_INET6, AF_UNSPEC, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_MTU, IP_MTU_DISCOVER,
        IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_PKTINFO, IP_PMTUDISC_DO, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE,
        IP_PMTUDISC_WANT, IP_RECVERR, IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, IPPROTO_ICMP, IPPROTO_ICMPV6,
        IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP,
        IPV6_MTU, IPV6_MTU_DISCOVER, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_RECVERR,
        IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_UNICAST_HOPS, IPV6_V6ONLY,
        MSG_CTRUNC, MSG_DONTWAIT, MSG_EOR, MSG_ERRQUEUE, MSG_FASTOPEN, MSG_MORE, MSG_NOSIGNAL, MSG_OOB,
        MSG_PEEK, MSG_TRUNC, MSG_WAITALL, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP,
        SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ACCEPTCONN, SO_BROADCAST, SO_DOMAIN, SO_DONTROUTE, SO_ERROR,
        SO_KEEPALIVE, SO_LINGER, SO_OOBINLINE, SO_PRIORITY, SO_PROTOCOL, SO_RCVBUF, SO_RCVLOWAT, SO_RCVTIMEO,
        SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SO_SNDLOWAT, SO_SNDTIMEO, SO_TYPE, SOCK_CLOEXEC, SOCK_DGRAM,
        SOCK_NONBLOCK, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, SOL_TCP, TCP_CONGESTION, TCP_CORK,
        TCP_DEFER_ACCEPT, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_INFO, TCP_KEEPCNT, TCP_KEEPIDLE,
        TCP_KEEPINTVL, TCP_LINGER2, TCP_MAXSEG, TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_QUICKACK, TCP_SYNCNT,
        TCP_USER_TIMEOUT, TCP_WINDOW_CLAMP, UDP_SEGMENT,
    };
}
use consts::*;

/// How an option's octets look.
#[derive(Clone, Copy)]
enum Form {
    Flag(fn(bool) -> Opt),
    Number(fn(u32) -> Opt),
    /// 0 to 255; -1 is the default.
    Octet(fn(u8) -> Opt),
    /// Any number, of which the low eight bits count.
    LowOctet(fn(u8) -> Opt),
    /// 0 or 1, and nothing else.
    Bit(fn(bool) -> Opt),
    /// 0 to 65535.
    Short(fn(u16) -> Opt),
    Secs(fn(Duration) -> Opt),
    DeferAccept,
    Linger2,
    NotSentLowat,
    Millis(fn(Duration) -> Opt),
    Linger,
    Name,
    MtuDiscover,
    Group4(fn(IpAddr) -> Opt),
    Group6(fn(IpAddr) -> Opt),
    /// Reading only.
    ReadOnly,
}

/// The option behind a level and a number.
fn find(level: i32, name: i32) -> Option<(OptName, Form)> {
    use Form::{Flag, Linger, Millis, Name, Number, Octet, ReadOnly, Secs};
    Some(match (level, name) {
        (SOL_SOCKET, SO_REUSEADDR) => (OptName::ReuseAddr, Flag(Opt::ReuseAddr)),
        (SOL_SOCKET, SO_REUSEPORT) => (OptName::ReusePort, Flag(Opt::ReusePort)),
        (SOL_SOCKET, SO_KEEPALIVE) => (OptName::KeepAlive, Flag(Opt::KeepAlive)),
        (SOL_SOCKET, SO_LINGER) => (OptName::Linger, Linger),
        (SOL_SOCKET, SO_BROADCAST) => (OptName::Broadcast, Flag(Opt::Broadcast)),
        (SOL_SOCKET, SO_OOBINLINE) => (OptName::OobInline, Flag(Opt::OobInline)),
        (SOL_SOCKET, SO_DONTROUTE) => (OptName::DontRoute, Flag(Opt::DontRoute)),
        (SOL_SOCKET, SO_SNDBUF) => (OptName::SndBuf, Number(Opt::SndBuf)),
        (SOL_SOCKET, SO_RCVBUF) => (OptName::RcvBuf, Number(Opt::RcvBuf)),
        (SOL_SOCKET, SO_RCVLOWAT) => (OptName::RcvLowat, Number(Opt::RcvLowat)),
        (SOL_SOCKET, SO_PRIORITY) => (OptName::Priority, Number(Opt::Priority)),
        (SOL_SOCKET, SO_ERROR) => (OptName::Error, ReadOnly),
        (SOL_SOCKET, SO_ACCEPTCONN) => (OptName::AcceptConn, ReadOnly),
        (IPPROTO_TCP, TCP_NODELAY) => (OptName::NoDelay, Flag(Opt::NoDelay)),
        (IPPROTO_TCP, TCP_CORK) => (OptName::Cork, Flag(Opt::Cork)),
        (IPPROTO_TCP, TCP_MAXSEG) => (OptName::MaxSeg, Number(Opt::MaxSeg)),
        (IPPROTO_TCP, TCP_KEEPIDLE) => (OptName::KeepIdle, Secs(Opt::KeepIdle)),
        (IPPROTO_TCP, TCP_KEEPINTVL) => (OptName::KeepIntvl, Secs(Opt::KeepIntvl)),
        (IPPROTO_TCP, TCP_KEEPCNT) => (OptName::KeepCnt, Number(Opt::KeepCnt)),
        (IPPROTO_TCP, TCP_SYNCNT) => (OptName::SynCnt, Number(Opt::SynCnt)),
        (IPPROTO_TCP, TCP_LINGER2) => (OptName::Linger2, Form::Linger2),
        (IPPROTO_TCP, TCP_DEFER_ACCEPT) => (OptName::DeferAccept, Form::DeferAccept),
        (IPPROTO_TCP, TCP_FASTOPEN) => (OptName::FastOpen, Number(Opt::FastOpen)),
        (IPPROTO_TCP, TCP_FASTOPEN_CONNECT) => (OptName::FastOpenConnect, Form::Bit(Opt::FastOpenConnect)),
        (IPPROTO_TCP, TCP_WINDOW_CLAMP) => (OptName::WindowClamp, Number(Opt::WindowClamp)),
        (IPPROTO_TCP, TCP_QUICKACK) => (OptName::QuickAck, Flag(Opt::QuickAck)),
        (IPPROTO_TCP, TCP_USER_TIMEOUT) => (OptName::UserTimeout, Millis(Opt::UserTimeout)),
        (IPPROTO_TCP, TCP_CONGESTION) => (OptName::Congestion, Name),
        (IPPROTO_TCP, TCP_NOTSENT_LOWAT) => (OptName::NotSentLowat, Form::NotSentLowat),
        (IPPROTO_UDP, UDP_SEGMENT) => (OptName::UdpSegment, Form::Short(Opt::UdpSegment)),
        (IPPROTO_IP, IP_TOS) => (OptName::Tos, Form::LowOctet(Opt::Tos)),
        (IPPROTO_IPV6, IPV6_TCLASS) => (OptName::Tos, Octet(Opt::Tos)),
        (IPPROTO_IP, IP_TTL) | (IPPROTO_IPV6, IPV6_UNICAST_HOPS) => (OptName::Ttl, Octet(Opt::Ttl)),
        (IPPROTO_IP, IP_MULTICAST_TTL) | (IPPROTO_IPV6, IPV6_MULTICAST_HOPS) => {
            (OptName::MulticastTtl, Octet(Opt::MulticastTtl))
        }
        (IPPROTO_IP, IP_MULTICAST_LOOP) => (OptName::MulticastLoop, Flag(Opt::MulticastLoop)),
        (IPPROTO_IPV6, IPV6_MULTICAST_LOOP) => (OptName::MulticastLoop, Form::Bit(Opt::MulticastLoop)),
        (IPPROTO_IP, IP_MTU_DISCOVER) | (IPPROTO_IPV6, IPV6_MTU_DISCOVER) => {
            (OptName::MtuDiscover, Form::MtuDiscover)
        }
        (IPPROTO_IP, IP_RECVERR) | (IPPROTO_IPV6, IPV6_RECVERR) => (OptName::RecvErr, Flag(Opt::RecvErr)),
        (IPPROTO_IP, IP_PKTINFO) | (IPPROTO_IPV6, IPV6_RECVPKTINFO) => {
            (OptName::RecvPktInfo, Flag(Opt::RecvPktInfo))
        }
        (IPPROTO_IP, IP_RECVTTL) | (IPPROTO_IPV6, IPV6_RECVHOPLIMIT) => {
            (OptName::RecvTtl, Flag(Opt::RecvTtl))
        }
        (IPPROTO_IP, IP_RECVTOS) | (IPPROTO_IPV6, IPV6_RECVTCLASS) => (OptName::RecvTos, Flag(Opt::RecvTos)),
        (IPPROTO_IP, IP_MTU) | (IPPROTO_IPV6, IPV6_MTU) => (OptName::Mtu, ReadOnly),
        (IPPROTO_IPV6, IPV6_V6ONLY) => (OptName::V6Only, Flag(Opt::V6Only)),
        _ => return None,
    })
}

/// Options that only change something.
fn find_action(level: i32, name: i32) -> Option<Form> {
    Some(match (level, name) {
        (IPPROTO_IP, IP_ADD_MEMBERSHIP) => Form::Group4(Opt::AddMembership),
        (IPPROTO_IP, IP_DROP_MEMBERSHIP) => Form::Group4(Opt::DropMembership),
        (IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP) => Form::Group6(Opt::AddMembership),
        (IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP) => Form::Group6(Opt::DropMembership),
        _ => return None,
    })
}

/// The kind of socket an option is for.
#[derive(Clone, Copy)]
pub(crate) struct Of {
    pub domain: Domain,
    pub kind: Type,
    /// What a TTL of -1 asks for.
    pub default_ttl: u8,
}

impl Of {
    /// Does a socket of this kind have options of this level?
    fn has(self, level: i32) -> bool {
        match level {
            SOL_SOCKET | IPPROTO_IP => true,
            IPPROTO_TCP => self.kind == Type::Stream,
            IPPROTO_UDP => self.kind == Type::Dgram,
            IPPROTO_IPV6 => self.domain == Domain::Inet6,
            _ => false,
        }
    }

    /// Groups are for datagrams.
    fn refuses_groups(self, level: i32, name: i32) -> Option<Errno> {
        if self.kind != Type::Stream {
            return None;
        }
        match (level, name) {
            (IPPROTO_IP, IP_MULTICAST_TTL) => Some(Errno::EINVAL),
            (IPPROTO_IPV6, IPV6_MULTICAST_HOPS) => Some(Errno::ENOPROTOOPT),
            (IPPROTO_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP)
            | (IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP | IPV6_DROP_MEMBERSHIP) => Some(Errno::EPROTO),
            _ => None,
        }
    }
}

fn int(value: &[u8]) -> Result<i32, Errno> {
    let first = value.first_chunk::<4>().ok_or(Errno::EINVAL)?;
    Ok(i32::from_ne_bytes(*first))
}

/// The option that `setsockopt(level, name, value)` means.
///
/// # Errors
/// `ENOPROTOOPT` for an option that does not exist, `EINVAL` for octets that are no value of it.
pub(crate) fn decode(of: Of, level: i32, name: i32, value: &[u8]) -> Result<Opt, Errno> {
    let known = find(level, name).map(|(_, form)| form).or_else(|| find_action(level, name));
    let form = known.filter(|_| of.has(level)).ok_or(Errno::ENOPROTOOPT)?;
    if let Some(errno) = of.refuses_groups(level, name) {
        return Err(errno);
    }
    Ok(match form {
        Form::Flag(make) => make(int_or_octet(level, value)? != 0),
        Form::Number(make) => make(u32::try_from(int(value)?).map_err(|_| Errno::EINVAL)?),
        Form::Short(make) => make(u16::try_from(int(value)?).map_err(|_| Errno::EINVAL)?),
        Form::Octet(make) => match (int_or_octet(level, value)?, name) {
            (-1, IP_TTL | IPV6_UNICAST_HOPS) => make(of.default_ttl),
            (-1, IP_MULTICAST_TTL | IPV6_MULTICAST_HOPS) => make(1),
            (-1, _) => make(0),
            (number, _) => make(u8::try_from(number).map_err(|_| Errno::EINVAL)?),
        },
        Form::LowOctet(make) => make(int_or_octet(level, value)?.to_le_bytes()[0]),
        Form::Bit(make) => match int(value)? {
            0 => make(false),
            1 => make(true),
            _ => return Err(Errno::EINVAL),
        },
        Form::DeferAccept => Opt::DeferAccept(deferral(unsigned(value)?)),
        // As Linux: 0 is the default, a negative number no time at all.
        Form::Linger2 => Opt::Linger2(match int(value)? {
            ..0 => Duration::ZERO,
            0 => LINGER2,
            secs => Duration::from_secs(u64::from(secs.unsigned_abs())),
        }),
        // As Linux: 0 is no limit.
        Form::NotSentLowat => Opt::NotSentLowat(match int(value)?.cast_unsigned() {
            0 => u32::MAX,
            octets => octets,
        }),
        Form::Secs(make) => make(Duration::from_secs(unsigned(value)?)),
        Form::Millis(make) => make(Duration::from_millis(unsigned(value)?)),
        Form::Linger => {
            let on = int(value)? != 0;
            // As Linux: read as unsigned, so a negative time is as good as none.
            let secs = int(value.get(4..).ok_or(Errno::EINVAL)?)?.cast_unsigned();
            Opt::Linger(on.then_some(Duration::from_secs(u64::from(secs))))
        }
        Form::Name if value.is_empty() => return Err(Errno::EINVAL),
        Form::Name => {
            let text = value.split(|octet| *octet == 0).next().unwrap_or_default();
            Opt::Congestion(String::from_utf8_lossy(text).into_owned())
        }
        Form::MtuDiscover => Opt::MtuDiscover(match int(value)? {
            IP_PMTUDISC_DONT => MtuDiscover::Dont,
            IP_PMTUDISC_WANT => MtuDiscover::Want,
            IP_PMTUDISC_DO => MtuDiscover::Do,
            IP_PMTUDISC_PROBE => MtuDiscover::Probe,
            _ => return Err(Errno::EINVAL),
        }),
        Form::Group4(make) => {
            let group = value.first_chunk::<4>().filter(|_| value.len() >= 8).ok_or(Errno::EINVAL)?;
            make(Ipv4Addr::from(*group).into())
        }
        Form::Group6(make) => {
            let group = value.first_chunk::<16>().filter(|_| value.len() >= 20).ok_or(Errno::EINVAL)?;
            make(Ipv6Addr::from(*group).into())
        }
        Form::ReadOnly => return Err(Errno::ENOPROTOOPT),
    })
}

fn unsigned(value: &[u8]) -> Result<u64, Errno> {
    u64::try_from(int(value)?).map_err(|_| Errno::EINVAL)
}

/// Options of IP may be one octet long, as many programs give them.
fn int_or_octet(level: i32, value: &[u8]) -> Result<i32, Errno> {
    match value {
        [one] if level == IPPROTO_IP => Ok(i32::from(*one)),
        value => int(value),
    }
}

/// The default of `TCP_LINGER2`.
const LINGER2: Duration = Duration::from_secs(60);

/// `TCP_DEFER_ACCEPT` counts retransmissions of the SYN-ACK: the time is rounded up to 1, 3, 7, 15, … seconds, with
/// steps of at most two minutes.
fn deferral(secs: u64) -> Duration {
    let (mut time, mut step) = (0, 1u64);
    while time < secs {
        time += step;
        step = (step * 2).min(120);
    }
    Duration::from_secs(time)
}

/// The option that `getsockopt(level, name)` asks for.
///
/// # Errors
/// `ENOPROTOOPT` for an option that does not exist, `EOPNOTSUPP` for a level that this kind of socket does not have.
pub(crate) fn name(of: Of, level: i32, name: i32) -> Result<OptName, Errno> {
    if !of.has(level) {
        return Err(Errno::EOPNOTSUPP);
    }
    find(level, name).map(|(name, _)| name).ok_or(Errno::ENOPROTOOPT)
}

/// The octets of an option's value.
pub(crate) fn encode(option: Opt) -> Vec<u8> {
    let number = match option {
        Opt::ReuseAddr(on)
        | Opt::ReusePort(on)
        | Opt::KeepAlive(on)
        | Opt::Broadcast(on)
        | Opt::OobInline(on)
        | Opt::DontRoute(on)
        | Opt::NoDelay(on)
        | Opt::Cork(on)
        | Opt::QuickAck(on)
        | Opt::MulticastLoop(on)
        | Opt::V6Only(on)
        | Opt::RecvErr(on)
        | Opt::RecvPktInfo(on)
        | Opt::RecvTtl(on)
        | Opt::RecvTos(on)
        | Opt::FastOpenConnect(on)
        | Opt::AcceptConn(on) => u64::from(on),
        Opt::SndBuf(n)
        | Opt::RcvBuf(n)
        | Opt::RcvLowat(n)
        | Opt::Priority(n)
        | Opt::MaxSeg(n)
        | Opt::KeepCnt(n)
        | Opt::SynCnt(n)
        | Opt::WindowClamp(n)
        | Opt::FastOpen(n)
        | Opt::Mtu(n) => u64::from(n),
        Opt::Tos(n) | Opt::Ttl(n) | Opt::MulticastTtl(n) => u64::from(n),
        Opt::UdpSegment(n) => u64::from(n),
        Opt::NotSentLowat(u32::MAX) => 0,
        Opt::NotSentLowat(n) => u64::from(n),
        Opt::Linger2(Duration::ZERO) => u64::from(u32::MAX),
        Opt::KeepIdle(time) | Opt::KeepIntvl(time) | Opt::Linger2(time) | Opt::DeferAccept(time) => {
            time.as_secs()
        }
        Opt::UserTimeout(time) => time.as_millis(),
        Opt::MtuDiscover(mode) => u64::from(match mode {
            MtuDiscover::Dont => IP_PMTUDISC_DONT.unsigned_abs(),
            MtuDiscover::Want => IP_PMTUDISC_WANT.unsigned_abs(),
            MtuDiscover::Do => IP_PMTUDISC_DO.unsigned_abs(),
            MtuDiscover::Probe => IP_PMTUDISC_PROBE.unsigned_abs(),
        }),
        Opt::Error(code) => u64::from(code.unsigned_abs()),
        Opt::Linger(time) => {
            let secs = time.map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
            return [u32::from(time.is_some()), secs].map(u32::to_ne_bytes).concat();
        }
        Opt::Congestion(name) => {
            // TCP_CA_NAME_MAX octets, padded with zeros.
            let mut octets = name.into_bytes();
            octets.resize(16, 0);
            return octets;
        }
        Opt::AddMembership(_) | Opt::DropMembership(_) => 0,
    };
    // `u32::MAX` reads as -1, as Linux shows it.
    u32::try_from(number).unwrap_or(u32::MAX).to_ne_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Of = Of { domain: Domain::Inet, kind: Type::Stream, default_ttl: 64 };
    const UDP: Of = Of { kind: Type::Dgram, ..TCP };

    #[test]
    fn values_have_linuxs_form() {
        let linger = [1i32, 5].map(i32::to_ne_bytes).concat();
        let option = decode(TCP, SOL_SOCKET, SO_LINGER, &linger).expect("linger");
        assert_eq!(option, Opt::Linger(Some(Duration::from_secs(5))));
        assert_eq!(encode(option), linger);
        let option = decode(TCP, IPPROTO_TCP, TCP_USER_TIMEOUT, &1500i32.to_ne_bytes());
        assert_eq!(option, Ok(Opt::UserTimeout(Duration::from_millis(1500))));
        assert_eq!(decode(TCP, IPPROTO_IP, IP_TTL, &[7]), Ok(Opt::Ttl(7)));
        assert_eq!(encode(Opt::Congestion("reno".into())).len(), 16);
        let group = [[224, 0, 0, 9], [0; 4]].concat();
        let joined = decode(UDP, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group);
        assert_eq!(joined, Ok(Opt::AddMembership(Ipv4Addr::new(224, 0, 0, 9).into())));
    }

    #[test]
    fn wrong_options_get_linuxs_errors() {
        let one = 1i32.to_ne_bytes();
        assert_eq!(decode(TCP, SOL_SOCKET, 9999, &one), Err(Errno::ENOPROTOOPT));
        assert_eq!(decode(TCP, SOL_SOCKET, SO_ERROR, &one), Err(Errno::ENOPROTOOPT));
        assert_eq!(decode(TCP, SOL_SOCKET, SO_KEEPALIVE, &[1]), Err(Errno::EINVAL));
        assert_eq!(decode(TCP, IPPROTO_IPV6, IPV6_V6ONLY, &one), Err(Errno::ENOPROTOOPT));
        assert_eq!(name(TCP, 12345, 1), Err(Errno::EOPNOTSUPP));
    }
}
