//! Datagrams.

use crate::world::{SOON, Sock, WHILE, World, addr};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tunstack::socket::consts::*;

/// Two bound sockets, the first connected to the second.
fn connected(world: &World) -> (Sock, Sock) {
    let (other, name) = world.udp_at("127.0.0.1:0");
    let (one, _) = world.udp_at("127.0.0.1:0");
    one.connect(name).expect("connect");
    (one, other)
}

/// A UDP port where nobody is.
fn nobody(world: &World) -> SocketAddr {
    world.udp_at("127.0.0.1:0").1
}

behaviours! {
    datagram_to_and_fro: |world, log| {
        let (a, a_name) = world.udp_at("127.0.0.1:0");
        let (b, b_name) = world.udp_at("127.0.0.1:0");
        log.call(a.sendto(b"question", 0, b_name));
        let (n, from) = b.recvfrom(&mut [0; 64], 0).expect("recv");
        log.note(n).note(from == Some(a_name)).call(b.sendto(b"answer", 0, a_name)).call(a.recv(64, 0));
    }
    datagram_over_ipv6: |world, log| {
        let (a, _) = world.udp_at("[::1]:0");
        let (b, b_name) = world.udp_at("[::1]:0");
        log.call(a.sendto(b"six", 0, b_name)).call(b.recv(64, 0));
    }
    datagram_to_dual_stack: |world, log| {
        let (a, _) = world.udp_at("127.0.0.1:0");
        let (b, b_name) = world.udp_at("[::]:0");
        a.sendto(b"x", 0, (std::net::Ipv4Addr::LOCALHOST, b_name.port()).into()).expect("send");
        let (_, from) = b.recvfrom(&mut [0; 64], 0).expect("recv");
        let from = from.expect("sender");
        log.note(from.ip()).call(b.sendto(b"back", 0, from)).call(a.recv(64, 0));
    }
    datagrams_keep_their_borders: |world, log| {
        let (a, b) = connected(world);
        for text in [&b"one"[..], b"", b"three"] {
            log.call(a.send(text, 0));
        }
        b.await_input();
        std::thread::sleep(WHILE);
        log.call(b.bytes_readable()).call(b.recv(64, 0)).call(b.bytes_readable()).call(b.recv(64, 0)).call(b.recv(64, 0));
    }
    datagram_is_cut: |world, log| {
        let (a, b) = connected(world);
        a.send(b"abcdef", 0).expect("send");
        a.send(b"next", 0).expect("send");
        log.call(b.recv(3, 0)).call(b.recv(64, 0));
    }
    datagram_is_cut_and_told: |world, log| {
        let (a, b) = connected(world);
        a.send(b"abcdef", 0).expect("send");
        a.send(b"abcdef", 0).expect("send");
        log.call(b.recv(3, MSG_TRUNC));
        let (mut one, mut other) = ([0; 2], [0; 2]);
        log.call(b.recvmsg([&mut one, &mut other], 0)).note([one, other]);
    }
    datagram_in_pieces: |world, log| {
        let (a, b) = connected(world);
        log.call(a.sendmsg([b"hel", b"lo"], 0)).call(b.recv(64, 0));
        a.send(b"hello", 0).expect("send");
        let (mut one, mut other) = ([0; 2], [0; 8]);
        log.call(b.recvmsg([&mut one, &mut other], 0)).note(one).note(&other[..3]);
    }
    datagram_shut_without_a_peer: |world, log| {
        for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
            let (socket, name) = world.udp_at("127.0.0.1:0");
            let other = socket.dup();
            let (waiting, soon) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || waiting.send(other.recv(8, 0)));
            std::thread::sleep(WHILE);
            log.call(socket.shutdown(how)).text(&socket.state());
            log.note(soon.recv_timeout(WHILE).map(|received| received.expect("no error")));
            log.call(socket.sendto(b"x", 0, name));
            socket.shutdown(SHUT_RD).expect_err("no peer");
            thread.join().expect("thread").ok();
        }
    }
    datagram_peeked: |world, log| {
        let (a, b) = connected(world);
        a.send(b"abc", 0).expect("send");
        log.call(b.recv(64, MSG_PEEK)).call(b.recv(1, MSG_PEEK)).call(b.recv(64, 0));
    }
    datagram_buffer_of_nothing: |world, log| {
        let (a, b) = connected(world);
        a.send(b"abc", 0).expect("send");
        a.send(b"def", 0).expect("send");
        log.call(b.recv(0, 0)).call(b.recv(64, 0));
    }
    datagram_receive_does_not_wait: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        log.call(socket.recv(1, MSG_DONTWAIT));
        socket.setblocking(false);
        log.call(socket.recv(1, 0)).call(socket.recv(1, MSG_PEEK));
    }
    datagram_receive_times_out: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        socket.set_timeout(SO_RCVTIMEO, 40);
        let start = Instant::now();
        log.call(socket.recv(1, 0)).note(start.elapsed() >= Duration::from_millis(40));
    }
    datagram_waitall_means_nothing: |world, log| {
        let (a, b) = connected(world);
        a.send(b"abc", 0).expect("send");
        a.send(b"def", 0).expect("send");
        log.call(b.recv(6, MSG_WAITALL)).call(b.recv(6, 0));
    }
    datagram_sizes: |world, log| {
        let (a, b) = connected(world);
        log.call(a.send(&vec![1; 65507], 0)).call(b.recvfrom(&mut vec![0; 70_000], 0).map(|(n, _)| n));
        log.call(a.send(&vec![1; 65508], 0)).call(a.send(&vec![1; 100_000], 0));
    }
    datagram_sizes_over_ipv6: |world, log| {
        let (a, _) = world.udp_at("[::1]:0");
        let (b, name) = world.udp_at("[::1]:0");
        log.call(a.sendto(&vec![1; 65527], 0, name)).call(b.recvfrom(&mut vec![0; 70_000], 0).map(|(n, _)| n));
        log.call(a.sendto(&vec![1; 65528], 0, name));
    }
    datagram_without_address: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        log.call(socket.send(b"x", 0)).call(socket.sendmsg([b"x", b"y"], 0));
    }
    datagram_names_itself_when_it_sends: |world, log| {
        let socket = world.udp();
        let (_other, name) = world.udp_at("127.0.0.1:0");
        socket.sendto(b"x", 0, name).expect("send");
        let own = socket.getsockname().expect("name");
        log.note(own.ip()).note(own.port() > 0);
    }
    datagram_names_itself_when_it_connects: |world, log| {
        let socket = world.udp();
        let (_other, name) = world.udp_at("127.0.0.1:0");
        socket.connect(name).expect("connect");
        let own = socket.getsockname().expect("name");
        log.note(own.ip()).note(own.port() > 0).note(socket.getpeername().expect("peer") == name);
    }
    datagram_to_port_zero: |world, log| {
        log.call(world.udp().sendto(b"x", 0, addr("127.0.0.1:0"))).call(world.udp().connect(addr("127.0.0.1:0")));
    }
    datagram_to_the_unspecified_address: |world, log| {
        let (other, name) = world.udp_at("127.0.0.1:0");
        let to = (std::net::Ipv4Addr::UNSPECIFIED, name.port()).into();
        log.call(world.udp().sendto(b"x", 0, to)).text(&other.poll(POLLIN, WHILE));
    }
    datagram_to_the_other_family: |world, log| {
        log.call(world.udp().sendto(b"x", 0, addr("[::1]:9"))).call(world.udp().connect(addr("[::1]:9")));
    }
    datagram_broadcast_needs_permission: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        log.call(socket.sendto(b"x", 0, addr("255.255.255.255:9"))).call(socket.connect(addr("255.255.255.255:9")));
    }
    datagram_out_of_band: |world, log| {
        let (a, b) = connected(world);
        log.call(a.send(b"x", MSG_OOB));
        a.send(b"x", 0).expect("send");
        b.await_input();
        log.call(b.recv(8, MSG_OOB));
    }
    datagram_more: |world, log| {
        let (a, b) = connected(world);
        log.call(a.send(b"one ", MSG_MORE)).text(&b.poll(POLLIN, WHILE)).call(a.send(b"two", 0));
        log.text(&b.poll(POLLIN, SOON)).call(b.recv(64, 0));
    }
    connected_hears_only_its_peer: |world, log| {
        let (a, b) = connected(world);
        let a_name = a.getsockname().expect("name");
        let (stranger, _) = world.udp_at("127.0.0.1:0");
        stranger.sendto(b"stranger", 0, a_name).expect("send");
        log.text(&a.poll(POLLIN, WHILE)).call(b.sendto(b"friend", 0, a_name)).call(a.recv(64, 0));
    }
    connected_sends_elsewhere: |world, log| {
        let (a, b) = connected(world);
        let (other, name) = world.udp_at("127.0.0.1:0");
        log.call(a.sendto(b"x", 0, name)).call(other.recv(8, 0)).call(a.send(b"y", 0)).call(b.recv(8, 0));
    }
    connected_to_another: |world, log| {
        let (a, _b) = connected(world);
        let (other, name) = world.udp_at("127.0.0.1:0");
        log.call(a.connect(name)).call(a.send(b"x", 0)).call(other.recv(8, 0));
    }
    disconnected: |world, log| {
        let (a, _b) = connected(world);
        let port = a.getsockname().expect("name").port();
        log.call(a.disconnect()).call(a.getpeername()).call(a.send(b"x", 0));
        let own = a.getsockname().expect("name");
        log.note(own.ip()).note(own.port() == port);
    }
    disconnected_after_automatic_name: |world, log| {
        let socket = world.udp();
        let (_other, name) = world.udp_at("127.0.0.1:0");
        socket.connect(name).expect("connect");
        socket.disconnect().expect("disconnect");
        let own = socket.getsockname().expect("name");
        log.note(own.ip()).note(own.port() == 0);
    }
    unreachable_port_is_told_to_the_connected: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        socket.connect(nobody(world)).expect("connect");
        log.call(socket.send(b"x", 0)).text(&socket.poll(POLLIN, SOON)).text(&socket.state());
        log.call(socket.recv(8, 0)).text(&socket.state()).call(socket.recv(8, MSG_DONTWAIT));
    }
    unreachable_port_fails_the_next_send: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        socket.connect(nobody(world)).expect("connect");
        log.call(socket.send(b"x", 0));
        std::thread::sleep(WHILE);
        log.call(socket.send(b"y", 0)).call(socket.get(SOL_SOCKET, SO_ERROR));
    }
    unreachable_port_in_so_error: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        socket.connect(nobody(world)).expect("connect");
        socket.send(b"x", 0).expect("send");
        std::thread::sleep(WHILE);
        log.call(socket.get(SOL_SOCKET, SO_ERROR)).call(socket.get(SOL_SOCKET, SO_ERROR));
    }
    unreachable_port_is_not_told_to_the_unconnected: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        log.call(socket.sendto(b"x", 0, nobody(world)));
        std::thread::sleep(WHILE);
        log.text(&socket.state()).call(socket.recv(8, MSG_DONTWAIT)).call(socket.sendto(b"x", 0, nobody(world)));
    }
    unreachable_port_wakes_a_receiver: |world, log| {
        let (socket, _) = world.udp_at("127.0.0.1:0");
        socket.connect(nobody(world)).expect("connect");
        let other = socket.dup();
        let waiting = std::thread::spawn(move || other.recv(8, 0));
        std::thread::sleep(WHILE);
        log.call(socket.send(b"x", 0)).call(waiting.join().expect("thread"));
    }
    connected_shuts: |world, log| {
        let (a, b) = connected(world);
        log.call(a.shutdown(SHUT_WR)).call(a.send(b"x", 0)).text(&a.state());
        log.call(a.shutdown(SHUT_RD)).call(a.recv(8, 0)).text(&a.state());
        log.call(b.sendto(b"x", 0, a.getsockname().expect("name")));
    }
    shutdown_wakes_a_datagram_receiver: |world, log| {
        let (a, _b) = connected(world);
        let other = a.dup();
        let waiting = std::thread::spawn(move || other.recv(8, 0));
        std::thread::sleep(WHILE);
        log.call(a.shutdown(SHUT_RD)).call(waiting.join().expect("thread"));
    }
    datagram_to_oneself: |world, log| {
        let (socket, name) = world.udp_at("127.0.0.1:0");
        log.call(socket.sendto(b"me", 0, name)).call(socket.recv(8, 0));
        log.call(socket.connect(name)).call(socket.send(b"again", 0)).call(socket.recv(8, 0));
    }
    datagram_polls: |world, log| {
        let (a, b) = connected(world);
        log.text(&a.state()).text(&b.state());
        a.send(b"x", 0).expect("send");
        b.await_input();
        log.text(&b.state()).call(b.recv(8, 0)).text(&b.state());
    }
    most_specific_socket_gets_it: |world, log| {
        let reuse = |at: SocketAddr| {
            let socket = world.udp();
            socket.set(SOL_SOCKET, SO_REUSEADDR, 1).expect("reuse");
            socket.bind(at).expect("bind");
            socket
        };
        let wide = reuse(addr("0.0.0.0:0"));
        let port = wide.getsockname().expect("name").port();
        let here = (std::net::Ipv4Addr::LOCALHOST, port).into();
        let narrow = reuse(here);
        let (sender, sender_name) = world.udp_at("127.0.0.1:0");
        sender.sendto(b"narrow", 0, here).expect("send");
        log.call(narrow.recv(64, 0));
        let connected = reuse(here);
        connected.connect(sender_name).expect("connect");
        sender.sendto(b"connected", 0, here).expect("send");
        log.call(connected.recv(64, 0));
        sender.sendto(b"wide", 0, (std::net::Ipv4Addr::new(127, 0, 0, 9), port).into()).expect("send");
        log.call(wide.recv(64, 0)).call(narrow.recv(64, MSG_DONTWAIT));
    }
    full_queue_drops: |world, log| {
        let (b, name) = world.udp_at("127.0.0.1:0");
        b.set(SOL_SOCKET, SO_RCVBUF, 10_000).expect("rcvbuf");
        let (a, _) = world.udp_at("127.0.0.1:0");
        for _ in 0..200 {
            a.sendto(&[0; 1000], 0, name).expect("send");
        }
        std::thread::sleep(WHILE);
        let mut got = 0;
        while b.recv(2000, MSG_DONTWAIT).is_ok() {
            got += 1;
        }
        log.note(got > 2 && got < 50).call(a.sendto(b"again", 0, name)).call(b.recv(64, 0));
    }
}
