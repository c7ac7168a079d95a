//! Listening, connecting, accepting.

use crate::world::{SOON, WHILE, addr};
use std::time::{Duration, Instant};
use tunstack::socket::consts::*;

behaviours! {
    connects: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        log.call(client.connect(name));
        let (server, peer) = listener.accept().expect("accept");
        log.note(peer == client.getsockname().expect("name"));
        log.note(client.getpeername().expect("peer") == name);
        log.note(server.getsockname().expect("name") == name);
        log.note(server.getpeername().expect("peer") == peer);
        log.text(&client.state()).text(&server.state());
    }
    connects_over_ipv6: |world, log| {
        let listener = world.tcp6();
        listener.bind(addr("[::1]:0")).expect("bind");
        listener.listen(1).expect("listen");
        let client = world.tcp6();
        log.call(client.connect(listener.getsockname().expect("name")));
        let (_, peer) = listener.accept().expect("accept");
        log.note(peer.ip());
    }
    ipv4_reaches_a_dual_stack_listener: |world, log| {
        let listener = world.tcp6();
        listener.bind(addr("[::]:0")).expect("bind");
        listener.listen(1).expect("listen");
        let port = listener.getsockname().expect("name").port();
        let client = world.tcp();
        log.call(client.connect((std::net::Ipv4Addr::LOCALHOST, port).into()));
        let (server, peer) = listener.accept().expect("accept");
        log.note(peer.ip()).note(server.getsockname().expect("name").ip());
        log.call(server.send(b"hi", 0)).call(client.recv(8, 0));
    }
    ipv6_socket_reaches_ipv4_by_mapped_address: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp6();
        let mapped = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        log.call(client.connect((mapped, name.port()).into()));
        log.note(client.getsockname().expect("name").ip());
        log.note(listener.accept().expect("accept").1.ip());
    }
    v6only_does_not_reach_ipv4: |world, log| {
        let (_listener, name) = world.listener();
        let client = world.tcp6();
        client.set(IPPROTO_IPV6, IPV6_V6ONLY, 1).expect("v6only");
        let mapped = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        log.call(client.connect((mapped, name.port()).into()));
    }
    family_must_fit: |world, log| {
        let (_listener, name) = world.listener();
        log.call(world.tcp6().connect(name)).call(world.tcp().connect(addr("[::1]:9")));
    }
    refused: |world, log| {
        let client = world.tcp();
        log.call(client.connect(world.closed_port()));
        log.call(client.get(SOL_SOCKET, SO_ERROR)).text(&client.state());
        log.call(client.getpeername());
    }
    refused_then_accepted: |world, log| {
        let client = world.tcp();
        log.call(client.connect(world.closed_port()));
        let (listener, name) = world.listener();
        log.call(client.connect(name)).works(listener.accept());
    }
    refused_without_blocking: |world, log| {
        let client = world.tcp();
        client.setblocking(false);
        log.call(client.connect(world.closed_port()));
        log.text(&client.poll(POLLOUT, SOON)).text(&client.state());
        log.call(client.get(SOL_SOCKET, SO_ERROR)).call(client.get(SOL_SOCKET, SO_ERROR));
        log.text(&client.state());
    }
    refused_without_blocking_and_asked_again: |world, log| {
        let client = world.tcp();
        let nobody = world.closed_port();
        client.setblocking(false);
        log.call(client.connect(nobody)).text(&client.poll(POLLOUT, SOON));
        log.call(client.connect(nobody));
        log.call(client.connect(nobody)).text(&client.poll(POLLOUT, SOON));
    }
    refused_and_read: |world, log| {
        let client = world.tcp();
        client.setblocking(false);
        log.call(client.connect(world.closed_port())).text(&client.poll(POLLOUT, SOON));
        log.call(client.recv(1, 0)).call(client.recv(1, 0));
    }
    refused_and_written: |world, log| {
        let client = world.tcp();
        client.setblocking(false);
        log.call(client.connect(world.closed_port())).text(&client.poll(POLLOUT, SOON));
        log.call(client.send(b"x", 0)).call(client.send(b"x", 0));
    }
    without_blocking: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.setblocking(false);
        log.call(client.connect(name)).text(&client.poll(POLLOUT, SOON));
        log.call(client.get(SOL_SOCKET, SO_ERROR)).works(listener.accept());
        log.call(client.connect(name)).call(client.connect(name));
    }
    connected_twice: |world, log| {
        let (client, _server) = world.pair();
        log.call(client.connect(client.getpeername().expect("peer")));
    }
    port_zero: |world, log| {
        log.call(world.tcp().connect(addr("127.0.0.1:0")));
    }
    unspecified_address: |world, log| {
        let (_listener, name) = world.listener();
        log.call(world.tcp().connect((std::net::Ipv4Addr::UNSPECIFIED, name.port()).into()));
    }
    group: |world, log| { log.call(world.tcp().connect(addr("224.0.0.1:9"))); }
    limited_broadcast: |world, log| { log.call(world.tcp().connect(addr("255.255.255.255:9"))); }
    bound_before: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.bind(addr("127.0.0.5:0")).expect("bind");
        let bound = client.getsockname().expect("name");
        log.call(client.connect(name)).note(listener.accept().expect("accept").1 == bound);
    }
    to_oneself: |world, log| {
        let socket = world.tcp();
        socket.bind(addr("127.0.0.1:0")).expect("bind");
        let name = socket.getsockname().expect("name");
        log.call(socket.connect(name)).call(socket.send(b"me", 0)).call(socket.recv(8, 0));
    }
    full_backlog_times_out: |world, log| {
        let listener = world.tcp();
        listener.bind(addr("127.0.0.1:0")).expect("bind");
        listener.listen(0).expect("listen");
        let name = listener.getsockname().expect("name");
        let first = world.tcp();
        log.call(first.connect(name));
        let late = world.tcp();
        late.set_timeout(SO_SNDTIMEO, 60);
        let start = Instant::now();
        log.call(late.connect(name)).note(start.elapsed() >= Duration::from_millis(60));
        log.note(start.elapsed() < Duration::from_secs(2));
    }
    interrupted_attempt_goes_on: |world, log| {
        let listener = world.tcp();
        listener.bind(addr("127.0.0.1:0")).expect("bind");
        listener.listen(0).expect("listen");
        let name = listener.getsockname().expect("name");
        let first = world.tcp();
        log.call(first.connect(name));
        let late = world.tcp();
        late.set_timeout(SO_SNDTIMEO, 60);
        log.call(late.connect(name));
        late.setblocking(false);
        log.call(late.connect(name)).call(late.send(b"x", 0)).text(&late.state());
    }
    listener_polls: |world, log| {
        let (listener, name) = world.listener();
        log.text(&listener.state());
        let client = world.tcp();
        client.connect(name).expect("connect");
        log.text(&listener.poll(POLLIN, SOON)).text(&listener.state());
        log.works(listener.accept()).text(&listener.state());
    }
    listener_does_not_connect_or_carry: |world, log| {
        let (listener, name) = world.listener();
        log.call(listener.connect(name)).call(listener.recv(1, 0)).call(listener.send(b"x", 0));
        log.call(listener.getpeername()).call(listener.bytes_readable()).call(listener.at_mark());
        log.call(listener.get(SOL_SOCKET, SO_ACCEPTCONN));
    }
    listens_without_a_name: |world, log| {
        let listener = world.tcp();
        log.call(listener.listen(1));
        let name = listener.getsockname().expect("name");
        log.note(name.ip()).note(name.port() > 0);
    }
    listens_twice: |world, log| {
        let (listener, name) = world.listener();
        log.call(listener.listen(1)).call(listener.listen(-1)).call(world.tcp().connect(name));
    }
    connection_does_not_listen: |world, log| {
        let (client, _server) = world.pair();
        log.call(client.listen(1));
    }
    accept_does_not_wait: |world, log| {
        let (listener, _) = world.listener();
        listener.setblocking(false);
        log.works(listener.accept());
    }
    accept_times_out: |world, log| {
        let (listener, _) = world.listener();
        listener.set_timeout(SO_RCVTIMEO, 30);
        log.works(listener.accept());
    }
    accept_in_order: |world, log| {
        let (listener, name) = world.listener();
        let clients = [world.tcp(), world.tcp(), world.tcp()];
        clients.iter().for_each(|client| client.connect(name).expect("connect"));
        for client in &clients {
            log.note(listener.accept().expect("accept").1 == client.getsockname().expect("name"));
        }
    }
    accepted_connection_was_closed: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.connect(name).expect("connect");
        client.send(b"bye", 0).expect("send");
        drop(client);
        let (server, _) = listener.accept().expect("accept");
        log.call(server.recv(8, 0)).call(server.recv(8, 0)).works(server.getpeername());
    }
    accepted_connection_was_reset: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.connect(name).expect("connect");
        client.set_linger(true, 0);
        drop(client);
        std::thread::sleep(WHILE);
        listener.setblocking(false);
        let accepted = listener.accept();
        log.note(accepted.is_ok());
        if let Ok((server, _)) = accepted {
            log.call(server.recv(8, 0)).call(server.recv(8, 0)).works(server.getpeername());
        }
    }
    accepted_does_not_inherit_nonblocking: |world, log| {
        let (listener, name) = world.listener();
        listener.setblocking(false);
        let client = world.tcp();
        client.connect(name).expect("connect");
        log.text(&listener.poll(POLLIN, SOON));
        let (server, _) = listener.accept().expect("accept");
        server.set_timeout(SO_RCVTIMEO, 40);
        let start = Instant::now();
        log.call(server.recv(1, 0)).note(start.elapsed() >= Duration::from_millis(40));
    }
    accepted_inherits_timeouts: |world, log| {
        let (listener, name) = world.listener_with(|socket| socket.set_timeout(SO_RCVTIMEO, 1500));
        let client = world.tcp();
        client.connect(name).expect("connect");
        log.call(listener.accept().expect("accept").0.getsockopt(SOL_SOCKET, SO_RCVTIMEO));
    }
    accepted_inherits_options: |world, log| {
        let (listener, name) = world.listener_with(|socket| {
            socket.set(IPPROTO_TCP, TCP_NODELAY, 1).expect("nodelay");
            socket.set(SOL_SOCKET, SO_KEEPALIVE, 1).expect("keepalive");
            socket.set(IPPROTO_TCP, TCP_KEEPIDLE, 77).expect("keepidle");
            socket.set(SOL_SOCKET, SO_RCVBUF, 50_000).expect("rcvbuf");
            socket.set(SOL_SOCKET, SO_OOBINLINE, 1).expect("oobinline");
            socket.set(IPPROTO_IP, IP_TTL, 33).expect("ttl");
            socket.set_linger(true, 3);
        });
        let client = world.tcp();
        client.connect(name).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        log.call(server.get(IPPROTO_TCP, TCP_NODELAY)).call(server.get(SOL_SOCKET, SO_KEEPALIVE));
        log.call(server.get(IPPROTO_TCP, TCP_KEEPIDLE)).call(server.get(SOL_SOCKET, SO_RCVBUF));
        log.call(server.get(SOL_SOCKET, SO_OOBINLINE)).call(server.get(IPPROTO_IP, IP_TTL));
        log.call(server.getsockopt(SOL_SOCKET, SO_LINGER)).call(server.get(SOL_SOCKET, SO_ACCEPTCONN));
    }
    listener_is_shut: |world, log| {
        let (listener, name) = world.listener();
        log.call(listener.shutdown(SHUT_WR)).call(world.tcp().connect(name));
        log.call(listener.shutdown(SHUT_RD)).call(world.tcp().connect(name));
        listener.setblocking(false);
        log.works(listener.accept()).text(&listener.state());
    }
    shutting_a_listener_ends_a_waiting_accept: |world, log| {
        let (listener, _) = world.listener();
        let other = listener.dup();
        let waiting = std::thread::spawn(move || other.accept().map(drop));
        std::thread::sleep(WHILE);
        log.call(listener.shutdown(SHUT_RDWR)).call(waiting.join().expect("thread"));
    }
    shut_listener_listens_again: |world, log| {
        let (listener, _) = world.listener();
        listener.shutdown(SHUT_RDWR).expect("shutdown");
        log.call(listener.listen(1)).call(world.tcp().connect(listener.getsockname().expect("name")));
    }
    closing_a_listener_resets_who_waits: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.connect(name).expect("connect");
        drop(listener);
        client.await_input();
        log.call(client.recv(1, 0)).call(world.tcp().connect(name));
    }
    disconnected_stream_connects_again: |world, log| {
        let (listener, name) = world.listener();
        let client = world.tcp();
        client.connect(name).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        log.call(client.disconnect()).call(client.getpeername());
        server.await_input();
        log.call(server.recv(1, 0));
        log.call(client.connect(name)).works(listener.accept());
    }
    accept_deferred_while_listening: |world, log| {
        let (listener, name) = world.listener();
        listener.set(IPPROTO_TCP, TCP_DEFER_ACCEPT, 5).expect("defer");
        let client = world.tcp();
        client.connect(name).expect("connect");
        log.text(&listener.poll(POLLIN, WHILE));
        client.send(b"now", 0).expect("send");
        log.text(&listener.poll(POLLIN, SOON));
        log.call(listener.set(IPPROTO_TCP, TCP_DEFER_ACCEPT, 0));
        listener.accept().expect("accept");
        world.tcp().connect(name).expect("connect");
        log.text(&listener.poll(POLLIN, SOON));
    }
    port_shared_while_listening: |world, log| {
        let (listener, name) = world.listener();
        let other = world.tcp();
        other.set(SOL_SOCKET, SO_REUSEPORT, 1).expect("option");
        log.call(other.bind(name)).call(listener.set(SOL_SOCKET, SO_REUSEPORT, 1)).call(other.bind(name));
    }
    deferred_accept_waits_for_data: |world, log| {
        let (listener, name) = world.listener_with(|socket| {
            socket.set(IPPROTO_TCP, TCP_DEFER_ACCEPT, 5).expect("defer");
        });
        let client = world.tcp();
        client.connect(name).expect("connect");
        log.text(&listener.poll(POLLIN, WHILE));
        client.send(b"now", 0).expect("send");
        log.text(&listener.poll(POLLIN, SOON));
        log.call(listener.accept().expect("accept").0.recv(8, 0));
    }
}
