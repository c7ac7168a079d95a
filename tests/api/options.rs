//! Options: defaults, values taken and refused.

use crate::world::{Log, Sock, addr};
use tunstack::socket::consts::*;

/// What an option shows at first and after each of `values`.
fn walk(log: &mut Log, socket: &Sock, (level, name): (i32, i32), values: &[i32]) {
    log.call(socket.get(level, name));
    for value in values {
        log.call(socket.set(level, name, *value)).call(socket.get(level, name));
    }
}

/// One behaviour for each option of a fresh socket.
macro_rules! options {
    ($($name:ident: $make:ident $level:ident $option:ident [$($value:expr),*];)*) => {
        behaviours! {
            $($name: |world, log| { walk(log, &world.$make(), ($level, $option), &[$($value),*]); })*
        }
    };
}

options! {
    option_reuseaddr: tcp SOL_SOCKET SO_REUSEADDR [1, 0, 7, -1];
    option_reuseport: tcp SOL_SOCKET SO_REUSEPORT [1, 0];
    option_keepalive: tcp SOL_SOCKET SO_KEEPALIVE [1, 0, 5];
    option_keepalive_of_udp: udp SOL_SOCKET SO_KEEPALIVE [1];
    option_broadcast: udp SOL_SOCKET SO_BROADCAST [1, 0];
    option_broadcast_of_tcp: tcp SOL_SOCKET SO_BROADCAST [1];
    option_oobinline: tcp SOL_SOCKET SO_OOBINLINE [1, 0];
    option_dontroute: udp SOL_SOCKET SO_DONTROUTE [1, 0];
    option_priority: tcp SOL_SOCKET SO_PRIORITY [3, 6, 0];
    option_rcvlowat: tcp SOL_SOCKET SO_RCVLOWAT [10, 0, 1];
    option_sndbuf: udp SOL_SOCKET SO_SNDBUF [20_000, 1, 100_000];
    option_rcvbuf: udp SOL_SOCKET SO_RCVBUF [20_000, 1, 100_000];
    option_sndbuf_of_tcp: tcp SOL_SOCKET SO_SNDBUF [20_000, 1, 100_000];
    option_rcvbuf_of_tcp: tcp SOL_SOCKET SO_RCVBUF [20_000, 1, 100_000];
    option_nodelay: tcp IPPROTO_TCP TCP_NODELAY [1, 0, 9];
    option_cork: tcp IPPROTO_TCP TCP_CORK [1, 0];
    option_maxseg: tcp IPPROTO_TCP TCP_MAXSEG [1000, 87, 88, 32767, 32768, 0, -1];
    option_keepidle: tcp IPPROTO_TCP TCP_KEEPIDLE [10, 0, 32767, 32768, -1];
    option_keepintvl: tcp IPPROTO_TCP TCP_KEEPINTVL [10, 0, 32767, 32768];
    option_keepcnt: tcp IPPROTO_TCP TCP_KEEPCNT [3, 0, 127, 128];
    option_syncnt: tcp IPPROTO_TCP TCP_SYNCNT [3, 0, 127, 128];
    option_linger2: tcp IPPROTO_TCP TCP_LINGER2 [10, 0, -1, 100_000];
    option_defer_accept: tcp IPPROTO_TCP TCP_DEFER_ACCEPT [1, 5, 0, 100];
    option_fastopen: tcp IPPROTO_TCP TCP_FASTOPEN [5, 0, 100_000, -1];
    option_fastopen_connect: tcp IPPROTO_TCP TCP_FASTOPEN_CONNECT [1, 0, 2, -1];
    option_window_clamp: tcp IPPROTO_TCP TCP_WINDOW_CLAMP [10_000, 0];
    option_quickack: tcp IPPROTO_TCP TCP_QUICKACK [0, 1];
    option_user_timeout: tcp IPPROTO_TCP TCP_USER_TIMEOUT [1500, 0, -1];
    option_notsent_lowat: tcp IPPROTO_TCP TCP_NOTSENT_LOWAT [16_384, 0, -1];
    option_tos: tcp IPPROTO_IP IP_TOS [0x10, 0xff, 0];
    option_tos_of_udp: udp IPPROTO_IP IP_TOS [0x10, 0xff, 0, 256];
    option_ttl: tcp IPPROTO_IP IP_TTL [1, 255, 0, 256, -1];
    option_multicast_ttl: udp IPPROTO_IP IP_MULTICAST_TTL [5, 0, 255, 256, -1];
    option_multicast_ttl_of_tcp: tcp IPPROTO_IP IP_MULTICAST_TTL [5];
    option_multicast_loop: udp IPPROTO_IP IP_MULTICAST_LOOP [0, 1, 2];
    option_mtu_discover: udp IPPROTO_IP IP_MTU_DISCOVER [0, 1, 2, 3, 9];
    option_recverr: udp IPPROTO_IP IP_RECVERR [1, 0];
    option_pktinfo: udp IPPROTO_IP IP_PKTINFO [1, 0];
    option_recvttl: udp IPPROTO_IP IP_RECVTTL [1, 0];
    option_recvtos: udp IPPROTO_IP IP_RECVTOS [1, 0];
    option_mtu_without_peer: udp IPPROTO_IP IP_MTU [];
    option_v6only: tcp6 IPPROTO_IPV6 IPV6_V6ONLY [1, 0];
    option_unicast_hops: tcp6 IPPROTO_IPV6 IPV6_UNICAST_HOPS [7, 255, 256, 0, -1];
    option_multicast_hops: udp6 IPPROTO_IPV6 IPV6_MULTICAST_HOPS [7, 255, 256, 0, -1];
    option_multicast_loop6: udp6 IPPROTO_IPV6 IPV6_MULTICAST_LOOP [0, 1, 2];
    option_tclass: tcp6 IPPROTO_IPV6 IPV6_TCLASS [0x20, 255, 256, -1];
    option_recvpktinfo6: udp6 IPPROTO_IPV6 IPV6_RECVPKTINFO [1, 0];
    option_recvhoplimit: udp6 IPPROTO_IPV6 IPV6_RECVHOPLIMIT [1, 0];
    option_recvtclass: udp6 IPPROTO_IPV6 IPV6_RECVTCLASS [1, 0];
    option_error_is_read_only: tcp SOL_SOCKET SO_ERROR [1];
    option_type_is_read_only: tcp SOL_SOCKET SO_TYPE [1];
    option_acceptconn_is_read_only: tcp SOL_SOCKET SO_ACCEPTCONN [1];
    option_sndlowat: tcp SOL_SOCKET SO_SNDLOWAT [1];
    option_ipv4_on_ipv6: tcp6 IPPROTO_IP IP_TTL [9];
    option_ipv6_on_ipv4: tcp IPPROTO_IPV6 IPV6_V6ONLY [1];
    option_defer_accept_on_udp: udp IPPROTO_TCP TCP_DEFER_ACCEPT [1];
    option_multicast_loop6_on_ipv4: udp IPPROTO_IPV6 IPV6_MULTICAST_LOOP [1];
    option_tcp_on_udp: udp IPPROTO_TCP TCP_NODELAY [1];
}

behaviours! {
    linger: |world, log| {
        let socket = world.tcp();
        log.call(socket.getsockopt(SOL_SOCKET, SO_LINGER));
        for (on, secs) in [(1, 5), (0, 9), (1, 0), (2, 3)] {
            socket.set_linger(on != 0, secs);
            log.call(socket.getsockopt(SOL_SOCKET, SO_LINGER));
        }
        log.call(socket.setsockopt(SOL_SOCKET, SO_LINGER, &[1, 0, 0, 0]));
    }
    linger_for_a_negative_time: |world, log| {
        let socket = world.tcp();
        log.call(socket.setsockopt(SOL_SOCKET, SO_LINGER, &[1i32, -1].map(i32::to_ne_bytes).concat()));
        // The time that Linux shows is what its counting of ticks leaves of it.
        log.note(socket.getsockopt(SOL_SOCKET, SO_LINGER).expect("option")[0]);
        log.call(socket.setsockopt(SOL_SOCKET, SO_LINGER, &[0i32, -1].map(i32::to_ne_bytes).concat()));
    }
    timeouts: |world, log| {
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            let socket = world.tcp();
            log.call(socket.getsockopt(SOL_SOCKET, option));
            socket.set_timeout(option, 2500);
            log.call(socket.getsockopt(SOL_SOCKET, option));
            let time = |secs: i64, micros: i64| [secs, micros].map(i64::to_ne_bytes).concat();
            log.call(socket.setsockopt(SOL_SOCKET, option, &time(0, 0)));
            log.call(socket.getsockopt(SOL_SOCKET, option));
            log.call(socket.setsockopt(SOL_SOCKET, option, &time(1, 1_000_000)));
            log.call(socket.setsockopt(SOL_SOCKET, option, &time(1, -1)));
            log.call(socket.setsockopt(SOL_SOCKET, option, &[0; 8]));
        }
    }
    negative_timeout_does_not_wait: |world, log| {
        let (client, _server) = world.pair();
        let time = [-1i64, 0].map(i64::to_ne_bytes).concat();
        log.call(client.setsockopt(SOL_SOCKET, SO_RCVTIMEO, &time)).call(client.recv(1, 0));
    }
    congestion_control: |world, log| {
        let socket = world.tcp();
        log.call(socket.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"reno"));
        log.call(socket.getsockopt(IPPROTO_TCP, TCP_CONGESTION).map(|name| String::from_utf8_lossy(&name).into_owned()));
        log.call(socket.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"nosuch"));
        log.call(socket.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b""));
    }
    v6only_after_bind: |world, log| {
        let socket = world.tcp6();
        socket.bind(addr("[::1]:0")).expect("bind");
        log.call(socket.set(IPPROTO_IPV6, IPV6_V6ONLY, 1)).call(socket.get(IPPROTO_IPV6, IPV6_V6ONLY));
    }
    unknown_options: |world, log| {
        for socket in [world.tcp(), world.udp()] {
            for (level, name) in [(SOL_SOCKET, 9999), (IPPROTO_TCP, 9999), (IPPROTO_IP, 9999), (12345, 1)] {
                log.call(socket.set(level, name, 1)).call(socket.getsockopt(level, name));
            }
        }
    }
    short_values: |world, log| {
        let socket = world.tcp();
        for (level, name) in [(SOL_SOCKET, SO_KEEPALIVE), (IPPROTO_TCP, TCP_NODELAY), (SOL_SOCKET, SO_SNDBUF)] {
            log.call(socket.setsockopt(level, name, &[1])).call(socket.setsockopt(level, name, &[]));
        }
        log.call(socket.setsockopt(IPPROTO_IP, IP_TTL, &[9])).call(socket.get(IPPROTO_IP, IP_TTL));
        log.call(socket.setsockopt(IPPROTO_IP, IP_TTL, &[]));
        log.call(world.tcp6().setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, &[1]));
    }
    options_of_a_connection: |world, log| {
        let (client, _server) = world.pair();
        walk(log, &client, (IPPROTO_TCP, TCP_NODELAY), &[1, 0]);
        walk(log, &client, (SOL_SOCKET, SO_KEEPALIVE), &[1, 0]);
        walk(log, &client, (IPPROTO_TCP, TCP_KEEPIDLE), &[30]);
        walk(log, &client, (IPPROTO_TCP, TCP_USER_TIMEOUT), &[900]);
        walk(log, &client, (IPPROTO_IP, IP_TOS), &[0x10]);
        walk(log, &client, (IPPROTO_TCP, TCP_FASTOPEN), &[5]);
        walk(log, &client, (IPPROTO_TCP, TCP_FASTOPEN_CONNECT), &[1]);
    }
    reuseport_after_bind: |world, log| {
        let socket = world.tcp();
        socket.bind(addr("127.0.0.1:0")).expect("bind");
        log.call(socket.set(SOL_SOCKET, SO_REUSEPORT, 1)).call(socket.set(SOL_SOCKET, SO_REUSEADDR, 1));
    }
    mtu_to_a_peer: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        let (_other, name) = world.udp_at("127.0.0.1:0");
        socket.connect(name).expect("connect");
        log.note(socket.get(IPPROTO_IP, IP_MTU).expect("mtu") > 1500);
    }
    group_membership: |world, log| {
        let (socket, _) = world.udp_at("0.0.0.0:0");
        let request = |group: [u8; 4]| [group, [127, 0, 0, 1]].concat();
        log.call(socket.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, &request([224, 0, 0, 99])));
        log.call(socket.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, &request([224, 0, 0, 99])));
        log.call(socket.setsockopt(IPPROTO_IP, IP_DROP_MEMBERSHIP, &request([224, 0, 0, 99])));
        log.call(socket.setsockopt(IPPROTO_IP, IP_DROP_MEMBERSHIP, &request([224, 0, 0, 99])));
        log.call(socket.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, &request([10, 0, 0, 1])));
        log.call(socket.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, &[224, 0, 0, 1]));
    }
    group_membership_of_tcp: |world, log| {
        let request = [[224, 0, 0, 99], [127, 0, 0, 1]].concat();
        log.call(world.tcp().setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, &request));
    }
}
