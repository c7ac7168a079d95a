//! Names of sockets: bind, and who may share a port.

use crate::world::{Sock, World, addr};
use std::net::SocketAddr;
use tunstack::socket::consts::*;

/// A second socket wants the port of a first one.
fn second(
    world: &World,
    first: (&str, i32, &[i32]),
    then: (&str, i32, &[i32]),
    listens: bool,
) -> std::io::Result<()> {
    let make = |(at, kind, options): (&str, i32, &[i32]), port: u16| -> std::io::Result<Sock> {
        let mut name: SocketAddr = addr(at);
        name.set_port(port);
        let family = if name.is_ipv4() { AF_INET } else { AF_INET6 };
        let socket = world.socket(family, kind, 0)?;
        for option in options {
            let level = if *option == IPV6_V6ONLY { IPPROTO_IPV6 } else { SOL_SOCKET };
            socket.set(level, *option, 1)?;
        }
        socket.bind(name)?;
        Ok(socket)
    };
    let one = make(first, 0).expect("the first one");
    if listens {
        one.listen(1).expect("listen");
    }
    let other = make(then, one.getsockname().expect("name").port())?;
    if listens { other.listen(1) } else { Ok(()) }
}

const TCP: i32 = SOCK_STREAM;
const UDP: i32 = SOCK_DGRAM;

behaviours! {
    port_zero_takes_a_free_port: |world, log| {
        for socket in [world.tcp(), world.udp()] {
            socket.bind(addr("127.0.0.1:0")).expect("bind");
            let name = socket.getsockname().expect("name");
            log.note(name.ip()).note(name.port() > 1023);
        }
    }
    wildcard_name: |world, log| {
        for (socket, at) in [(world.tcp(), "0.0.0.0:0"), (world.tcp6(), "[::]:0")] {
            socket.bind(addr(at)).expect("bind");
            log.note(socket.getsockname().expect("name").ip());
        }
    }
    bound_twice: |world, log| {
        for socket in [world.tcp(), world.udp()] {
            socket.bind(addr("127.0.0.1:0")).expect("bind");
            log.call(socket.bind(addr("127.0.0.1:0"))).call(socket.bind(addr("127.0.0.2:0")));
        }
    }
    all_of_127_is_ours: |world, log| { log.call(world.tcp().bind(addr("127.9.8.7:0"))); }
    foreign_address: |world, log| {
        log.call(world.tcp().bind(addr("192.0.2.1:0"))).call(world.udp().bind(addr("192.0.2.1:0")));
        log.call(world.tcp6().bind(addr("[2001:db8::1]:0")));
    }
    group_address: |world, log| {
        log.call(world.tcp().bind(addr("224.0.0.1:0"))).call(world.udp().bind(addr("224.0.0.1:0")));
    }
    limited_broadcast_address: |world, log| {
        log.call(world.tcp().bind(addr("255.255.255.255:0"))).call(world.udp().bind(addr("255.255.255.255:0")));
    }
    ipv6_address_on_ipv4_socket: |world, log| {
        log.call(world.tcp().bind(addr("[::1]:0"))).call(world.udp().bind(addr("[::1]:0")));
    }
    ipv4_address_on_ipv6_socket: |world, log| {
        log.call(world.tcp6().bind(addr("127.0.0.1:0")));
    }
    mapped_address: |world, log| {
        let socket = world.tcp6();
        log.call(socket.bind(addr("[::ffff:127.0.0.1]:0")));
        log.note(socket.getsockname().expect("name").ip());
        let only = world.tcp6();
        only.set(IPPROTO_IPV6, IPV6_V6ONLY, 1).expect("v6only");
        log.call(only.bind(addr("[::ffff:127.0.0.1]:0")));
    }
    connected_then_bound: |world, log| {
        let (client, _server) = world.pair();
        log.call(client.bind(addr("127.0.0.1:0")));
    }
    listening_then_bound: |world, log| {
        let (listener, _) = world.listener();
        log.call(listener.bind(addr("127.0.0.1:0")));
    }
    tcp_port_twice: |world, log| {
        log.call(second(world, ("127.0.0.1:0", TCP, &[]), ("127.0.0.1:0", TCP, &[]), false));
        log.call(second(world, ("127.0.0.1:0", TCP, &[]), ("127.0.0.1:0", TCP, &[SO_REUSEADDR]), false));
    }
    tcp_port_twice_with_reuseaddr: |world, log| {
        let reuse = &[SO_REUSEADDR][..];
        log.call(second(world, ("127.0.0.1:0", TCP, reuse), ("127.0.0.1:0", TCP, reuse), false));
        log.call(second(world, ("127.0.0.1:0", TCP, reuse), ("127.0.0.1:0", TCP, reuse), true));
    }
    tcp_port_twice_with_reuseport: |world, log| {
        let reuse = &[SO_REUSEPORT][..];
        log.call(second(world, ("127.0.0.1:0", TCP, reuse), ("127.0.0.1:0", TCP, reuse), true));
        log.call(second(world, ("127.0.0.1:0", TCP, &[]), ("127.0.0.1:0", TCP, reuse), true));
        log.call(second(world, ("127.0.0.1:0", TCP, reuse), ("127.0.0.1:0", TCP, &[]), true));
    }
    tcp_wildcard_and_address: |world, log| {
        log.call(second(world, ("0.0.0.0:0", TCP, &[]), ("127.0.0.1:0", TCP, &[]), false));
        log.call(second(world, ("127.0.0.1:0", TCP, &[]), ("0.0.0.0:0", TCP, &[]), false));
        let reuse = &[SO_REUSEADDR][..];
        log.call(second(world, ("0.0.0.0:0", TCP, reuse), ("127.0.0.1:0", TCP, reuse), true));
    }
    tcp_two_addresses: |world, log| {
        log.call(second(world, ("127.0.0.1:0", TCP, &[]), ("127.0.0.2:0", TCP, &[]), true));
    }
    tcp_and_udp_share_numbers: |world, log| {
        log.call(second(world, ("127.0.0.1:0", TCP, &[]), ("127.0.0.1:0", UDP, &[]), false));
    }
    dual_stack_conflict: |world, log| {
        log.call(second(world, ("[::]:0", TCP, &[]), ("0.0.0.0:0", TCP, &[]), true));
        log.call(second(world, ("0.0.0.0:0", TCP, &[]), ("[::]:0", TCP, &[]), true));
        log.call(second(world, ("[::]:0", UDP, &[]), ("0.0.0.0:0", UDP, &[]), false));
    }
    v6only_leaves_ipv4_alone: |world, log| {
        let only = &[IPV6_V6ONLY][..];
        log.call(second(world, ("[::]:0", TCP, only), ("0.0.0.0:0", TCP, &[]), true));
        log.call(second(world, ("0.0.0.0:0", TCP, &[]), ("[::]:0", TCP, only), true));
        log.call(second(world, ("[::]:0", UDP, only), ("0.0.0.0:0", UDP, &[]), false));
    }
    udp_port_twice: |world, log| {
        log.call(second(world, ("127.0.0.1:0", UDP, &[]), ("127.0.0.1:0", UDP, &[]), false));
        log.call(second(world, ("0.0.0.0:0", UDP, &[]), ("127.0.0.1:0", UDP, &[]), false));
        let reuse = &[SO_REUSEADDR][..];
        log.call(second(world, ("127.0.0.1:0", UDP, reuse), ("127.0.0.1:0", UDP, reuse), false));
        log.call(second(world, ("127.0.0.1:0", UDP, &[]), ("127.0.0.1:0", UDP, reuse), false));
        let both = &[SO_REUSEPORT][..];
        log.call(second(world, ("127.0.0.1:0", UDP, both), ("127.0.0.1:0", UDP, both), false));
    }
    port_is_free_after_close: |world, log| {
        let (listener, name) = world.listener();
        drop(listener);
        let again = world.tcp();
        log.call(again.bind(name)).call(again.listen(1));
    }
    port_of_a_live_connection: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.connect(name).expect("connect");
        let (_server, _) = listener.accept().expect("accept");
        drop(listener);
        log.call(world.tcp().bind(name));
        let reuse = world.tcp();
        reuse.set(SOL_SOCKET, SO_REUSEADDR, 1).expect("reuse");
        log.call(reuse.bind(name));
    }
    port_of_a_live_connection_with_reuseaddr: |world, log| {
        let (listener, name) = world.listener_with(|socket| {
            socket.set(SOL_SOCKET, SO_REUSEADDR, 1).expect("reuse");
        });
        let client = world.tcp();
        client.connect(name).expect("connect");
        let (_server, _) = listener.accept().expect("accept");
        drop(listener);
        let reuse = world.tcp();
        reuse.set(SOL_SOCKET, SO_REUSEADDR, 1).expect("reuse");
        log.call(reuse.bind(name)).call(reuse.listen(1));
    }
    port_in_time_wait: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.connect(name).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        // The server closes first, so its port waits.
        drop(server);
        client.await_input();
        log.call(client.recv(1, 0));
        drop(client);
        drop(listener);
        std::thread::sleep(crate::world::WHILE);
        log.call(world.tcp().bind(name));
    }
    port_in_time_wait_with_reuseaddr: |world, log| {
        let reuse = |socket: &Sock| socket.set(SOL_SOCKET, SO_REUSEADDR, 1).expect("reuse");
        let (listener, name) = world.listener_with(reuse);
        let client = world.tcp();
        client.connect(name).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        drop(server);
        client.await_input();
        log.call(client.recv(1, 0));
        drop(client);
        drop(listener);
        std::thread::sleep(crate::world::WHILE);
        let again = world.tcp();
        reuse(&again);
        log.call(again.bind(name)).call(again.listen(1));
    }
}
