//! Corners: what calls say after the end, at the urgent mark, and before there is a peer.

use crate::world::{SOON, Sock, WHILE, World, addr};
use std::thread::sleep;
use tunstack::socket::consts::*;

/// A connection whose connecting side is in TIME-WAIT.
fn in_time_wait(world: &World) -> (Sock, Sock) {
    let (client, server) = world.pair();
    client.shutdown(SHUT_WR).expect("shutdown");
    server.await_input();
    server.shutdown(SHUT_WR).expect("shutdown");
    client.await_input();
    sleep(WHILE);
    (client, server)
}

/// "ab", an urgent "!" and "cd" have arrived.
fn with_mark(world: &World) -> (Sock, Sock) {
    let (client, server) = world.pair();
    client.send(b"ab", 0).expect("send");
    client.send(b"!", MSG_OOB).expect("send");
    client.send(b"cd", 0).expect("send");
    server.poll(POLLPRI, SOON);
    sleep(WHILE);
    (client, server)
}

/// A socket whose connect was refused, which nobody has asked about.
fn refused(world: &World) -> Sock {
    let client = world.tcp();
    client.setblocking(false);
    let to = world.closed_port();
    client.connect(to).expect_err("in progress");
    client.poll(POLLOUT, SOON);
    client
}

behaviours! {
    unread_urgent_octet_and_the_end: |world, log| {
        let (client, server) = world.pair();
        client.send(b"!", MSG_OOB).expect("send");
        server.poll(POLLPRI, SOON);
        drop(client);
        server.await_input();
        sleep(WHILE);
        log.text(&server.state()).call(server.bytes_readable()).call(server.recv(8, 0)).text(&server.state());
        log.call(server.recv(1, MSG_OOB)).call(server.recv(8, 0));
    }
    unread_urgent_octet_and_close: |world, log| {
        let (client, server) = world.pair();
        client.send(b"!", MSG_OOB).expect("send");
        server.poll(POLLPRI, SOON);
        drop(server);
        client.await_input();
        log.call(client.recv(1, 0)).call(client.recv(1, 0));
    }
    fetched_urgent_octet_and_close: |world, log| {
        let (client, server) = world.pair();
        client.send(b"!", MSG_OOB).expect("send");
        server.poll(POLLPRI, SOON);
        log.call(server.recv(1, MSG_OOB));
        drop(server);
        client.await_input();
        log.call(client.recv(1, 0)).call(client.recv(1, 0));
    }
    error_after_the_peers_end: |world, log| {
        let (client, server) = world.pair();
        server.send(b"unread", 0).expect("send");
        client.await_input();
        client.shutdown(SHUT_WR).expect("shutdown");
        server.await_input();
        drop(client);
        server.poll(POLLERR, SOON);
        log.call(server.recv(1, 0)).call(server.recv(1, 0)).call(server.send(b"x", 0)).call(server.send(b"x", 0));
    }
    data_for_a_socket_shut_both_ways: |world, log| {
        let (client, server) = world.pair();
        client.shutdown(SHUT_RDWR).expect("shutdown");
        server.await_input();
        log.call(server.send(b"late", 0));
        client.poll(POLLERR, SOON);
        sleep(WHILE);
        log.text(&client.state()).call(client.recv(1, 0)).call(client.recv(1, 0)).text(&server.state());
        log.call(server.recv(1, 0)).call(server.send(b"x", 0));
    }
    more_and_then_input: |world, log| {
        let (client, server) = world.pair();
        client.send(b"more", MSG_MORE).expect("send");
        sleep(WHILE);
        log.text(&server.state());
        server.send(b"one", 0).expect("send");
        sleep(WHILE);
        log.text(&server.state());
        log.call(client.recv(8, 0));
        sleep(WHILE);
        log.text(&server.state());
    }
    more_and_then_an_acknowledgment: |world, log| {
        let (client, server) = world.pair();
        client.send(b"some", 0).expect("send");
        client.send(b"more", MSG_MORE).expect("send");
        sleep(WHILE);
        log.call(server.recv(16, 0));
        sleep(3 * WHILE);
        log.text(&server.state());
    }
    disconnected_in_time_wait: |world, log| {
        let (client, _server) = in_time_wait(world);
        log.call(client.disconnect()).works(client.getpeername()).call(client.recv(1, 0)).text(&client.state());
        let (again, to) = world.listener();
        log.call(client.connect(to)).works(again.accept());
    }
    disconnected_listener: |world, log| {
        let (listener, to) = world.listener();
        listener.setblocking(false);
        log.call(listener.disconnect()).text(&listener.state()).call(listener.get(SOL_SOCKET, SO_ACCEPTCONN));
        log.note(listener.getsockname().expect("name") == to).works(listener.accept());
        log.call(world.tcp().connect(to)).call(listener.listen(1)).works(listener.accept());
    }
    disconnected_connection: |world, log| {
        let (client, server) = world.pair();
        log.call(client.disconnect()).text(&client.state()).call(client.recv(1, 0)).call(client.send(b"x", 0));
        log.call(client.get(SOL_SOCKET, SO_ERROR)).works(client.getpeername());
        server.await_input();
        log.call(server.recv(1, 0));
    }
    disconnected_bound_connection: |world, log| {
        let (_listener, to) = world.listener();
        let client = world.tcp();
        client.bind(addr("127.0.0.1:0")).expect("bind");
        let name = client.getsockname().expect("name");
        client.connect(to).expect("connect");
        log.call(client.disconnect()).note(client.getsockname().expect("name") == name);
    }
    disconnected_datagram_port_bound: |world, log| {
        let (_peer, to) = world.udp_at("127.0.0.1:0");
        let socket = world.udp();
        socket.bind(addr("0.0.0.0:0")).expect("bind");
        socket.connect(to).expect("connect");
        log.call(socket.disconnect()).note(socket.getsockname().expect("name").ip());
        socket.connect(to).expect("connect");
        log.call(socket.disconnect()).note(socket.getsockname().expect("name").port() != 0);
    }
    end_of_stream_after_a_refused_send: |world, log| {
        let (client, server) = world.pair();
        drop(client);
        server.await_input();
        log.call(server.send(b"x", 0));
        sleep(WHILE);
        log.call(server.send(b"x", 0)).call(server.recv(8, 0)).call(server.recv(8, 0));
    }
    end_of_stream_after_data_and_a_refused_send: |world, log| {
        let (client, server) = world.pair();
        client.send(b"data", 0).expect("send");
        drop(client);
        server.await_input();
        sleep(WHILE);
        log.call(server.send(b"x", 0));
        sleep(WHILE);
        log.call(server.send(b"x", 0)).call(server.recv(8, 0)).call(server.recv(8, 0));
    }
    name_after_a_refused_connect: |world, log| {
        let client = refused(world);
        let name = client.getsockname().expect("name");
        log.note(name.ip()).note(name.port() == 0);
    }
    peer_in_time_wait: |world, log| {
        let (client, server) = in_time_wait(world);
        log.works(client.getpeername()).works(server.getpeername()).call(client.recv(1, 0));
        log.works(client.getpeername()).works(client.getsockname());
    }
    octets_to_the_mark: |world, log| {
        let (_client, server) = with_mark(world);
        log.call(server.bytes_readable()).call(server.recv(1, 0)).call(server.bytes_readable());
        log.call(server.recv(1, 0)).call(server.bytes_readable()).call(server.at_mark());
        log.call(server.recv(1, 0)).call(server.bytes_readable()).call(server.at_mark());
    }
    octets_to_the_mark_in_line: |world, log| {
        let (client, server) = world.pair();
        server.set(SOL_SOCKET, SO_OOBINLINE, 1).expect("inline");
        client.send(b"ab", 0).expect("send");
        client.send(b"!", MSG_OOB).expect("send");
        client.send(b"cd", 0).expect("send");
        server.poll(POLLPRI, SOON);
        sleep(WHILE);
        log.call(server.bytes_readable()).call(server.recv(2, 0)).call(server.bytes_readable());
        log.call(server.recv(1, 0)).call(server.bytes_readable());
    }
    only_the_mark: |world, log| {
        let (client, server) = world.pair();
        client.send(b"!", MSG_OOB).expect("send");
        server.poll(POLLPRI, SOON);
        log.call(server.bytes_readable()).text(&server.state()).call(server.recv(1, MSG_OOB));
        log.call(server.bytes_readable()).text(&server.state()).call(server.recv(1, MSG_DONTWAIT));
    }
    low_water_mark_at_the_mark: |world, log| {
        for lowat in [1, 2, 3, 4, 5] {
            let (_client, server) = with_mark(world);
            server.set(SOL_SOCKET, SO_RCVLOWAT, lowat).expect("lowat");
            log.text(&server.state()).call(server.recv(2, MSG_DONTWAIT)).text(&server.state());
        }
    }
    low_water_mark_with_the_mark_last: |world, log| {
        for lowat in [2, 3] {
            let (client, server) = world.pair();
            server.set(SOL_SOCKET, SO_RCVLOWAT, lowat).expect("lowat");
            client.send(b"ab!", MSG_OOB).expect("send");
            server.poll(POLLPRI, SOON);
            log.text(&server.state()).call(server.recv(1, MSG_OOB)).text(&server.state());
        }
    }
    more_without_a_destination: |world, log| {
        let socket = world.udp();
        log.call(socket.send(b"x", MSG_MORE)).call(socket.send(b"y", 0));
        let (peer, to) = world.udp_at("127.0.0.1:0");
        log.call(socket.sendto(b"z", 0, to));
        sleep(WHILE);
        log.call(peer.recv(8, MSG_DONTWAIT));
    }
    more_to_port_zero: |world, log| {
        let socket = world.udp();
        log.call(socket.sendto(b"x", MSG_MORE, addr("127.0.0.1:0")));
        let (peer, to) = world.udp_at("127.0.0.1:0");
        log.call(socket.sendto(b"z", 0, to));
        sleep(WHILE);
        log.call(peer.recv(8, MSG_DONTWAIT));
    }
    more_on_a_shut_datagram_socket: |world, log| {
        let (_peer, to) = world.udp_at("127.0.0.1:0");
        let socket = world.udp();
        socket.connect(to).expect("connect");
        socket.shutdown(SHUT_WR).expect("shutdown");
        log.call(socket.send(b"x", MSG_MORE)).call(socket.send(b"x", 0));
    }
    more_gives_a_port: |world, log| {
        let (_peer, to) = world.udp_at("127.0.0.1:0");
        let socket = world.udp();
        log.call(socket.sendto(b"x", MSG_MORE, to)).note(socket.getsockname().expect("name").port() != 0);
    }
    shut_datagram_socket_without_waiting: |world, log| {
        let (peer, to) = world.udp_at("127.0.0.1:0");
        let socket = world.udp();
        socket.connect(to).expect("connect");
        let name = socket.getsockname().expect("name");
        socket.shutdown(SHUT_RD).expect("shutdown");
        log.call(socket.recv(1, MSG_DONTWAIT)).call(socket.recv(1, 0));
        socket.setblocking(false);
        log.call(socket.recv(1, 0)).call(socket.recv(1, MSG_PEEK)).text(&socket.state());
        log.call(peer.sendto(b"late", 0, name));
        sleep(WHILE);
        log.call(socket.recv(8, 0)).call(socket.recv(8, 0));
    }
    urgent_octet_of_a_listener: |world, log| {
        let (listener, _) = world.listener();
        log.call(listener.recv(1, MSG_OOB)).call(listener.recv(1, 0)).call(listener.at_mark());
        log.call(listener.recv(1, MSG_OOB | MSG_PEEK)).call(listener.send(b"x", MSG_OOB));
        log.call(world.tcp().recv(1, MSG_OOB)).call(world.tcp().send(b"x", MSG_OOB));
    }
    mark_of_a_datagram_socket: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        log.call(socket.at_mark()).call(world.udp6().at_mark());
    }
    error_before_listen: |world, log| {
        let client = refused(world);
        log.call(client.listen(1)).call(client.get(SOL_SOCKET, SO_ERROR)).text(&client.state());
    }
    urgent_datagram_gives_no_port: |world, log| {
        let (_peer, to) = world.udp_at("127.0.0.1:0");
        let socket = world.udp();
        log.call(socket.sendto(b"x", MSG_OOB, to)).note(socket.getsockname().expect("name").port() == 0);
        log.call(socket.send(b"x", MSG_OOB)).call(socket.sendto(b"x", MSG_OOB | MSG_MORE, to));
        log.call(socket.send(b"x", 0)).note(socket.getsockname().expect("name").port() == 0);
    }
}
