//! `getsockopt` and `setsockopt`: names and limits as on Linux.

use super::calls::datagrams;
use super::sockets::{Kind, Options};
use super::{Domain, Errno, Host, Opt, OptName, SocketId, Type, seconds};
use crate::base::config::CongestionControl;
use crate::base::io::MtuDiscover;
use crate::base::{Config, Duration, Instant};
use crate::transport::tcp::{FAST_OPEN_CLIENT, Settings};
use core::net::IpAddr;
use std::sync::Arc;

/// Linux's least buffer sizes: `SOCK_MIN_RCVBUF` and `SOCK_MIN_SNDBUF`.
const MIN_RCV_BUF: u32 = 2304;
const MIN_SND_BUF: u32 = 4608;
/// Linux's bounds of `TCP_KEEPIDLE`, `TCP_KEEPINTVL` (seconds), `TCP_KEEPCNT`, `TCP_SYNCNT`.
const MAX_KEEP_SECS: u64 = 32767;
const MAX_KEEP_COUNT: u32 = 127;
/// Linux's bounds of `TCP_MAXSEG`.
const MAX_SEG_RANGE: core::ops::RangeInclusive<u32> = 88..=32767;

impl Host {
    /// `setsockopt(2)`.
    ///
    /// # Errors
    /// `EINVAL` for a value out of range, `ENOPROTOOPT` for an option of another kind of socket or one that can only
    /// be read, `EADDRNOTAVAIL` and `EADDRINUSE` for group memberships, `ENOENT`-like names as `EINVAL`.
    pub fn set_option(&mut self, now: Instant, id: SocketId, option: Opt) -> Result<(), Errno> {
        match option {
            Opt::AddMembership(group) => self.join(id, group),
            Opt::DropMembership(group) => self.leave(id, group),
            Opt::Mtu(_) | Opt::Error(_) | Opt::AcceptConn(_) => Err(Errno::ENOPROTOOPT),
            Opt::ReuseAddr(_) | Opt::ReusePort(_) | Opt::V6Only(_) | Opt::RecvErr(_) => {
                self.set_binding(id, option)
            }
            Opt::RcvBuf(octets) => self.set_rcv_buf(now, id, octets),
            Opt::UdpSegment(_) if !matches!(self.sockets.get(id)?.kind, Kind::Udp(_)) => {
                Err(Errno::ENOPROTOOPT)
            }
            Opt::Linger(_)
            | Opt::Broadcast(_)
            | Opt::DontRoute(_)
            | Opt::Priority(_)
            | Opt::MulticastTtl(_)
            | Opt::UdpSegment(_)
            | Opt::MulticastLoop(_)
            | Opt::RecvPktInfo(_)
            | Opt::RecvTtl(_)
            | Opt::RecvTos(_)
            | Opt::DeferAccept(_) => self.set_common(id, option),
            Opt::FastOpen(_) | Opt::FastOpenConnect(_) => self.set_fast_open(id, option),
            // RFC 3168: the two low bits belong to ECN, and of a connection to TCP.
            Opt::Tos(tos) if tos & 3 != 0 && self.sockets.get(id)?.kind() == Type::Stream => {
                self.set_option(now, id, Opt::Tos(tos & !3))
            }
            Opt::Tos(_) | Opt::Ttl(_) | Opt::MtuDiscover(_) | Opt::RcvLowat(_) | Opt::SndBuf(_) => {
                self.set_common(id, option.clone())?;
                match self.sockets.get(id)?.kind() {
                    Type::Stream => self.set_stream(now, id, option),
                    Type::Dgram | Type::Ping => Ok(()),
                }
            }
            Opt::KeepAlive(_) | Opt::OobInline(_) if self.sockets.get(id)?.kind() != Type::Stream => Ok(()),
            Opt::KeepAlive(_)
            | Opt::OobInline(_)
            | Opt::NoDelay(_)
            | Opt::Cork(_)
            | Opt::MaxSeg(_)
            | Opt::KeepIdle(_)
            | Opt::KeepIntvl(_)
            | Opt::KeepCnt(_)
            | Opt::SynCnt(_)
            | Opt::Linger2(_)
            | Opt::WindowClamp(_)
            | Opt::UserTimeout(_)
            | Opt::Congestion(_)
            | Opt::NotSentLowat(_) => self.set_stream(now, id, option),
            Opt::QuickAck(on) => {
                self.set_stream(now, id, option)?;
                self.set_quick_ack(now, id, on)
            }
        }
    }

    /// Not a lasting setting: it switches the connection's mode each time it is set.
    fn set_quick_ack(&mut self, now: Instant, id: SocketId, on: bool) -> Result<(), Errno> {
        let Host { common, tcp, sockets, .. } = self;
        if let Kind::Connection { id, .. } = sockets.get(id)?.kind {
            tcp.with(&mut common.env(now), id, |conn, _| conn.set_quick_ack(on));
        }
        Ok(())
    }

    /// Options that the socket itself keeps.
    fn set_common(&mut self, id: SocketId, option: Opt) -> Result<(), Errno> {
        let Host { common, tcp, sockets, .. } = self;
        let wmem_max = common.config.wmem_max;
        let socket = sockets.get_mut(id)?;
        let options = Arc::make_mut(&mut socket.options);
        match option {
            Opt::Linger(time) => options.linger = time,
            Opt::Broadcast(on) => options.broadcast = on,
            Opt::DontRoute(on) => options.dont_route = on,
            Opt::Priority(value) => options.priority = value,
            Opt::MulticastTtl(ttl) => options.multicast_ttl = ttl,
            Opt::UdpSegment(size) => options.udp_segment = size,
            Opt::MulticastLoop(on) => options.multicast_loop = on,
            Opt::RecvPktInfo(on) => options.recv_pktinfo = on,
            Opt::RecvTtl(on) => options.recv_ttl = on,
            Opt::RecvTos(on) => options.recv_tos = on,
            Opt::DeferAccept(time) => {
                options.defer_accept = time;
                if let Kind::Listener(key) = socket.kind
                    && let Some(listener) = tcp.listener_mut(key)
                {
                    listener.options.defer_accept = time;
                }
            }
            Opt::MtuDiscover(mode) => options.mtu_discover = mode,
            Opt::RcvLowat(octets) => options.rcv_lowat = octets.max(1),
            Opt::SndBuf(octets) => options.snd_buf = octets.min(wmem_max).max(MIN_SND_BUF / 2),
            // RFC 1122 §3.2.1.7: never a TTL of 0.
            Opt::Ttl(0) => return Err(Errno::EINVAL),
            Opt::Ttl(ttl) => options.ttl = ttl,
            Opt::Tos(tos) => options.tos = tos,
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// Before there is a connection, and of a listener at any time; limits as on Linux.
    fn set_fast_open(&mut self, id: SocketId, option: Opt) -> Result<(), Errno> {
        let Host { common, tcp, sockets, .. } = self;
        let socket = sockets.get_mut(id)?;
        let options = Arc::make_mut(&mut socket.options);
        match (option, &socket.kind) {
            (_, Kind::Udp(_) | Kind::Ping(_)) => return Err(Errno::ENOPROTOOPT),
            (Opt::FastOpen(limit), Kind::Fresh(_)) => {
                options.fast_open = limit.min(common.config.somaxconn);
            }
            (Opt::FastOpen(limit), Kind::Listener(key)) => {
                options.fast_open = limit.min(common.config.somaxconn);
                tcp.listener_mut(*key).ok_or(Errno::EINVAL)?.options.fast_open = options.fast_open;
            }
            (Opt::FastOpenConnect(_), _) if common.config.tcp_fastopen & FAST_OPEN_CLIENT == 0 => {
                return Err(Errno::EOPNOTSUPP);
            }
            (Opt::FastOpenConnect(on), Kind::Fresh(_)) => options.fast_open_connect = on,
            (_, Kind::Fresh(_) | Kind::Listener(_) | Kind::Connection { .. }) => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Options that decide who may share a port.
    fn set_binding(&mut self, id: SocketId, option: Opt) -> Result<(), Errno> {
        let bound = self.local_addr(id)?.port() != 0;
        let Host { sockets, udp, ping, tcp, .. } = self;
        let socket = sockets.get_mut(id)?;
        let options = Arc::make_mut(&mut socket.options);
        match option {
            Opt::ReuseAddr(on) => options.reuse_addr = on,
            Opt::ReusePort(on) => options.reuse_port = on,
            Opt::RecvErr(on) => options.recv_err = on,
            Opt::V6Only(_) if socket.domain == Domain::Inet => return Err(Errno::ENOPROTOOPT),
            Opt::V6Only(_) if bound => return Err(Errno::EINVAL),
            Opt::V6Only(on) => options.v6_only = on,
            _ => return Err(Errno::ENOPROTOOPT),
        }
        let Options { reuse_addr, reuse_port, v6_only, recv_err, .. } = *options;
        if let Some((table, key)) = datagrams(socket, udp, ping) {
            table.set_flags(
                key,
                crate::transport::datagram::Flags { reuse_addr, reuse_port, v6_only, recv_err },
            );
            return Ok(());
        }
        let port = match socket.kind {
            Kind::Fresh(ref fresh) => fresh.local.port(),
            Kind::Listener(key) => tcp.listener_mut(key).map_or(0, |listener| {
                listener.options.reuse_addr = reuse_addr;
                listener.options.local.port()
            }),
            Kind::Connection { .. } | Kind::Udp(_) | Kind::Ping(_) => 0,
        };
        tcp.ports.update(port, super::sockets::token(id), |binding| {
            binding.reuse_addr = reuse_addr;
            binding.reuse_port = reuse_port;
        });
        Ok(())
    }

    fn set_rcv_buf(&mut self, now: Instant, id: SocketId, octets: u32) -> Result<(), Errno> {
        // As Linux: half of what was asked for is bookkeeping, so the kernel doubles it; here no doubling is needed,
        // and reading the option back gives the doubled value all the same.
        let granted = octets.min(self.common.config.rmem_max).max(MIN_RCV_BUF / 2);
        let socket = self.sockets.get(id)?;
        if let Some((table, key)) = datagrams(socket, &mut self.udp, &mut self.ping) {
            table.get_mut(key).ok_or(Errno::EBADF)?.rcv_buf = granted.saturating_mul(2);
            return Ok(());
        }
        self.with_settings(now, id, |settings, _| {
            settings.rcv_buf = granted;
            settings.rcv_buf_locked = true;
            Ok(())
        })
    }

    fn set_stream(&mut self, now: Instant, id: SocketId, option: Opt) -> Result<(), Errno> {
        if self.sockets.get(id)?.kind() != Type::Stream {
            return Err(Errno::ENOPROTOOPT);
        }
        self.with_settings(now, id, |settings, config| set_setting(settings, config, option))
    }

    /// Changes the settings of a TCP socket, whatever it is at the moment.
    pub(super) fn with_settings(
        &mut self,
        now: Instant,
        id: SocketId,
        change: impl FnOnce(&mut Settings, &Config) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Host { common, tcp, sockets, .. } = self;
        match &mut sockets.get_mut(id)?.kind {
            Kind::Fresh(fresh) => change(&mut fresh.settings, &common.config)?,
            Kind::Listener(key) => {
                let listener = tcp.listener_mut(*key).ok_or(Errno::EINVAL)?;
                change(Arc::make_mut(&mut listener.options.settings), &common.config)?;
            }
            Kind::Connection { id, .. } => {
                let mut settings = tcp.settings(*id).ok_or(Errno::EINVAL)?.clone();
                change(&mut settings, &common.config)?;
                tcp.with(&mut common.env(now), *id, |conn, env| conn.apply(env, settings));
            }
            Kind::Udp(_) | Kind::Ping(_) => return Err(Errno::ENOPROTOOPT),
        }
        self.collect_events();
        Ok(())
    }

    fn join(&mut self, id: SocketId, group: IpAddr) -> Result<(), Errno> {
        let Host { net, sockets, udp, ping, .. } = self;
        let socket = sockets.get(id)?;
        if group.is_ipv6() && socket.domain == Domain::Inet {
            return Err(Errno::ENOPROTOOPT);
        }
        let (table, key) = datagrams(socket, udp, ping).ok_or(Errno::ENOPROTOOPT)?;
        let socket = table.get_mut(key).ok_or(Errno::EBADF)?;
        if socket.groups.contains(&group) {
            return Err(Errno::EADDRINUSE);
        }
        net.join(group)?;
        socket.groups.push(group);
        Ok(())
    }

    fn leave(&mut self, id: SocketId, group: IpAddr) -> Result<(), Errno> {
        let Host { net, sockets, udp, ping, .. } = self;
        let socket = sockets.get(id)?;
        if group.is_ipv6() && socket.domain == Domain::Inet {
            return Err(Errno::ENOPROTOOPT);
        }
        let (table, key) = datagrams(socket, udp, ping).ok_or(Errno::ENOPROTOOPT)?;
        let socket = table.get_mut(key).ok_or(Errno::EBADF)?;
        let at = socket.groups.iter().position(|joined| *joined == group).ok_or(Errno::EADDRNOTAVAIL)?;
        socket.groups.swap_remove(at);
        net.leave(group)
    }

    /// `getsockopt(2)`. Reading `Error` clears it.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an option of another kind of socket, `ENOTCONN` for `Mtu` without a peer.
    pub fn option(&mut self, id: SocketId, name: OptName) -> Result<Opt, Errno> {
        let socket = self.sockets.get(id)?;
        let o = &*socket.options;
        Ok(match name {
            OptName::ReuseAddr => Opt::ReuseAddr(o.reuse_addr),
            OptName::ReusePort => Opt::ReusePort(o.reuse_port),
            OptName::Linger => Opt::Linger(o.linger),
            OptName::Broadcast => Opt::Broadcast(o.broadcast),
            OptName::DontRoute => Opt::DontRoute(o.dont_route),
            OptName::Priority => Opt::Priority(o.priority),
            OptName::RcvLowat => Opt::RcvLowat(o.rcv_lowat),
            OptName::Tos => Opt::Tos(o.tos),
            OptName::Ttl => Opt::Ttl(o.ttl),
            OptName::MulticastTtl => Opt::MulticastTtl(o.multicast_ttl),
            OptName::UdpSegment if !matches!(socket.kind, Kind::Udp(_)) => return Err(Errno::ENOPROTOOPT),
            OptName::UdpSegment => Opt::UdpSegment(o.udp_segment),
            OptName::MulticastLoop => Opt::MulticastLoop(o.multicast_loop),
            // As Linux: a socket of IPv4 has no level of IPv6; setting says so otherwise.
            OptName::V6Only if socket.domain == Domain::Inet => return Err(Errno::EOPNOTSUPP),
            OptName::V6Only => Opt::V6Only(o.v6_only),
            OptName::MtuDiscover => Opt::MtuDiscover(o.mtu_discover),
            OptName::RecvErr => Opt::RecvErr(o.recv_err),
            OptName::RecvPktInfo => Opt::RecvPktInfo(o.recv_pktinfo),
            OptName::RecvTtl => Opt::RecvTtl(o.recv_ttl),
            OptName::RecvTos => Opt::RecvTos(o.recv_tos),
            OptName::DeferAccept => Opt::DeferAccept(o.defer_accept),
            OptName::FastOpen => Opt::FastOpen(o.fast_open),
            OptName::FastOpenConnect => Opt::FastOpenConnect(o.fast_open_connect),
            OptName::AcceptConn => Opt::AcceptConn(matches!(socket.kind, Kind::Listener(_))),
            OptName::Error => Opt::Error(self.take_error(id)?.map_or(0, Errno::code)),
            OptName::Mtu => Opt::Mtu(self.mtu_to_peer(id)?),
            OptName::RcvBuf | OptName::SndBuf => self.buffer_size(id, name)?,
            OptName::KeepAlive | OptName::OobInline if socket.kind() != Type::Stream => {
                if name == OptName::KeepAlive { Opt::KeepAlive(false) } else { Opt::OobInline(false) }
            }
            OptName::KeepAlive
            | OptName::OobInline
            | OptName::NoDelay
            | OptName::Cork
            | OptName::MaxSeg
            | OptName::KeepIdle
            | OptName::KeepIntvl
            | OptName::KeepCnt
            | OptName::SynCnt
            | OptName::Linger2
            | OptName::WindowClamp
            | OptName::QuickAck
            | OptName::UserTimeout
            | OptName::Congestion
            | OptName::NotSentLowat => self.stream_option(id, name)?,
        })
    }

    pub(super) fn settings(&self, id: SocketId) -> Result<&Settings, Errno> {
        match &self.sockets.get(id)?.kind {
            Kind::Fresh(fresh) => Ok(&fresh.settings),
            Kind::Listener(key) => {
                self.tcp.listener(*key).map(|listener| &*listener.options.settings).ok_or(Errno::EINVAL)
            }
            Kind::Connection { id, .. } => self.tcp.settings(*id).ok_or(Errno::EINVAL),
            Kind::Udp(_) | Kind::Ping(_) => Err(Errno::ENOPROTOOPT),
        }
    }

    fn stream_option(&self, id: SocketId, name: OptName) -> Result<Opt, Errno> {
        let s = self.settings(id)?;
        Ok(match name {
            OptName::KeepAlive => Opt::KeepAlive(s.keep_alive),
            OptName::OobInline => Opt::OobInline(s.oob_inline),
            OptName::NoDelay => Opt::NoDelay(s.no_delay),
            OptName::Cork => Opt::Cork(s.cork),
            OptName::KeepIdle => Opt::KeepIdle(s.keep_idle),
            OptName::KeepIntvl => Opt::KeepIntvl(s.keep_intvl),
            OptName::KeepCnt => Opt::KeepCnt(s.keep_cnt),
            OptName::SynCnt => Opt::SynCnt(s.syn_retries),
            OptName::Linger2 => Opt::Linger2(s.linger2),
            OptName::WindowClamp => Opt::WindowClamp(s.window_clamp),
            OptName::QuickAck => Opt::QuickAck(s.quick_ack),
            OptName::UserTimeout => Opt::UserTimeout(s.user_timeout),
            OptName::Congestion => Opt::Congestion(s.congestion.name().to_owned()),
            OptName::NotSentLowat => Opt::NotSentLowat(s.notsent_lowat),
            OptName::MaxSeg => Opt::MaxSeg(match self.look(id, |conn| conn.mss()) {
                Ok(mss) => mss,
                // As Linux before a connection: the default of RFC 9293 §3.7.1, or what was set.
                Err(_) if s.max_seg == 0 => 536,
                Err(_) => u32::from(s.max_seg),
            }),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    fn buffer_size(&mut self, id: SocketId, name: OptName) -> Result<Opt, Errno> {
        let socket = self.sockets.get(id)?;
        let receive = name == OptName::RcvBuf;
        if let Some((table, key)) = datagrams(socket, &mut self.udp, &mut self.ping) {
            let rcv_buf = table.get(key).ok_or(Errno::EBADF)?.rcv_buf;
            return Ok(if receive {
                Opt::RcvBuf(rcv_buf)
            } else {
                Opt::SndBuf(socket.options.snd_buf.saturating_mul(2))
            });
        }
        let s = self.settings(id)?;
        let tuned = self.look(id, |conn| conn.buffer_sizes());
        let (snd_buf, rcv_buf) = tuned.unwrap_or((s.snd_buf, s.rcv_buf));
        let shown = |octets: u32, locked| octets.saturating_mul(if locked { 2 } else { 1 });
        Ok(if receive {
            Opt::RcvBuf(shown(rcv_buf, s.rcv_buf_locked))
        } else {
            Opt::SndBuf(shown(snd_buf, s.snd_buf_locked))
        })
    }

    fn take_error(&mut self, id: SocketId) -> Result<Option<Errno>, Errno> {
        let now = self.common.now;
        let Host { common, tcp, sockets, udp, ping, .. } = self;
        let socket = sockets.get_mut(id)?;
        if let Some((table, key)) = datagrams(socket, udp, ping) {
            return Ok(table.get_mut(key).and_then(|socket| socket.take_error()));
        }
        Ok(match &mut socket.kind {
            Kind::Fresh(fresh) => fresh.error.take(),
            Kind::Connection { id, .. } => {
                tcp.with(&mut common.env(now), *id, |conn, _| conn.take_error()).flatten()
            }
            Kind::Listener(_) | Kind::Udp(_) | Kind::Ping(_) => None,
        })
    }

    fn mtu_to_peer(&self, id: SocketId) -> Result<u32, Errno> {
        let remote = match &self.sockets.get(id)?.kind {
            Kind::Connection { id, .. } => {
                return self.tcp.look(*id, |conn| conn.path_mtu()).ok_or(Errno::ENOTCONN);
            }
            Kind::Udp(key) => self.udp.get(*key).and_then(|socket| socket.remote),
            Kind::Ping(key) => self.ping.get(*key).and_then(|socket| socket.remote),
            Kind::Fresh(_) | Kind::Listener(_) => None,
        };
        remote.map(|remote| self.net.path_mtu(self.common.now, remote.ip())).ok_or(Errno::ENOTCONN)
    }
}

fn set_setting(s: &mut Settings, config: &Config, option: Opt) -> Result<(), Errno> {
    let in_range = |time: Duration| (1..=MAX_KEEP_SECS).contains(&time.as_secs());
    match option {
        Opt::KeepAlive(on) => s.keep_alive = on,
        Opt::OobInline(on) => s.oob_inline = on,
        Opt::NoDelay(on) => s.no_delay = on,
        Opt::Cork(on) => s.cork = on,
        Opt::QuickAck(on) => s.quick_ack = on,
        Opt::MaxSeg(0) => s.max_seg = 0,
        Opt::MaxSeg(octets) if MAX_SEG_RANGE.contains(&octets) => s.max_seg = octets as u16,
        Opt::KeepIdle(time) if in_range(time) => s.keep_idle = time,
        Opt::KeepIntvl(time) if in_range(time) => s.keep_intvl = time,
        Opt::KeepCnt(count) if (1..=MAX_KEEP_COUNT).contains(&count) => s.keep_cnt = count,
        Opt::SynCnt(count) if (1..=MAX_KEEP_COUNT).contains(&count) => s.syn_retries = count,
        // As Linux: never longer than the host's own limit of two minutes.
        Opt::Linger2(time) => s.linger2 = time.min(seconds(120)),
        Opt::WindowClamp(octets) => s.window_clamp = octets,
        Opt::UserTimeout(time) => s.user_timeout = time,
        Opt::NotSentLowat(octets) => s.notsent_lowat = octets,
        Opt::Congestion(name) => s.congestion = CongestionControl::from_name(&name).ok_or(Errno::ENOENT)?,
        Opt::RcvLowat(octets) => s.rcv_lowat = octets.max(1).min(s.rcv_buf),
        Opt::SndBuf(octets) => {
            s.snd_buf = octets.min(config.wmem_max).max(MIN_SND_BUF / 2);
            s.snd_buf_locked = true;
        }
        Opt::Ttl(ttl) => s.ttl = ttl,
        // RFC 3168: the two low bits belong to ECN.
        Opt::Tos(tos) => s.tos = tos & !3,
        Opt::MtuDiscover(mode) => s.discover_mtu = mode != MtuDiscover::Dont,
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}
