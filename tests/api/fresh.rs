//! Sockets that were just made.

use crate::world::WHILE;
use tunstack::socket::consts::*;

behaviours! {
    unknown_family: |world, log| {
        for family in [AF_UNSPEC, 1234, -1] {
            log.works(world.socket(family, SOCK_STREAM, 0));
        }
    }

    unknown_type: |world, log| {
        for kind in [0, 6, 9, 11, 15] {
            log.works(world.socket(AF_INET, kind, 0));
        }
    }

    seqpacket_is_not_for_tcp: |world, log| {
        log.works(world.socket(AF_INET, SOCK_SEQPACKET, 0));
        log.works(world.socket(AF_INET, SOCK_SEQPACKET, IPPROTO_TCP));
    }

    protocol_must_fit_the_type: |world, log| {
        log.works(world.socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
        log.works(world.socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
        log.works(world.socket(AF_INET, SOCK_STREAM, 250));
        log.works(world.socket(AF_INET6, SOCK_STREAM, IPPROTO_UDP));
    }

    protocol_may_be_named: |world, log| {
        log.works(world.socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
        log.works(world.socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));
        log.works(world.socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP));
        log.works(world.socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP));
    }

    tells_what_it_is: |world, log| {
        for socket in [world.tcp(), world.udp(), world.tcp6(), world.udp6()] {
            for option in [SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_ERROR] {
                log.call(socket.get(SOL_SOCKET, option));
            }
        }
    }

    nonblocking_from_the_start: |world, log| {
        let listener = world.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0).expect("socket");
        listener.listen(1).expect("listen");
        log.works(listener.accept());
        let udp = world.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0).expect("socket");
        log.call(udp.recv(1, 0));
    }

    stream_polls: |world, log| { log.text(&world.tcp().state()); }
    stream6_polls: |world, log| { log.text(&world.tcp6().state()); }
    datagram_polls: |world, log| { log.text(&world.udp().state()); }
    stream_name: |world, log| { log.call(world.tcp().getsockname()).call(world.tcp6().getsockname()); }
    datagram_name: |world, log| { log.call(world.udp().getsockname()).call(world.udp6().getsockname()); }
    stream_has_no_peer: |world, log| { log.call(world.tcp().getpeername()); }
    datagram_has_no_peer: |world, log| { log.call(world.udp().getpeername()); }
    stream_recv: |world, log| { log.call(world.tcp().recv(1, 0)).call(world.tcp().recv(0, 0)); }
    stream_peek: |world, log| { log.call(world.tcp().recv(1, MSG_PEEK)); }
    stream_recv_oob: |world, log| { log.call(world.tcp().recv(1, MSG_OOB)); }
    stream_send: |world, log| { log.call(world.tcp().send(b"x", 0)).call(world.tcp().send(b"", 0)); }
    stream_sendto: |world, log| {
        let to = world.listener().1;
        log.call(world.tcp().sendto(b"x", 0, to));
    }
    datagram_send: |world, log| { log.call(world.udp().send(b"x", 0)); }
    stream_shutdown: |world, log| {
        for how in [SHUT_RD, SHUT_WR, SHUT_RDWR, 3, -1] {
            log.call(world.tcp().shutdown(how));
        }
    }
    datagram_shutdown: |world, log| {
        for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
            log.call(world.udp().shutdown(how));
        }
    }
    stream_accept: |world, log| { log.works(world.tcp().accept()); }
    datagram_accept: |world, log| { log.works(world.udp().accept()); }
    datagram_listen: |world, log| { log.call(world.udp().listen(1)); }
    stream_readable_octets: |world, log| { log.call(world.tcp().bytes_readable()); }
    datagram_readable_octets: |world, log| { log.call(world.udp().bytes_readable()); }
    stream_at_mark: |world, log| { log.call(world.tcp().at_mark()); }
    datagram_waits_for_input: |world, log| { log.text(&world.udp().poll(POLLIN, WHILE)); }
    stream_disconnect: |world, log| { log.call(world.tcp().disconnect()); }
    datagram_disconnect: |world, log| { log.call(world.udp().disconnect()); }
}
