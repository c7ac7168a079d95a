//! How connections end, and what calls say then.

use crate::world::{SOON, Sock, WHILE, World};
use std::time::{Duration, Instant};
use tunstack::socket::consts::*;

/// A connection whose accepted side has received a reset.
fn reset(world: &World) -> Sock {
    let (client, server) = world.pair();
    client.set_linger(true, 0);
    drop(client);
    server.await_input();
    server
}

/// A connection whose accepted side has received FIN.
fn half_closed(world: &World) -> (Sock, Sock) {
    let (client, server) = world.pair();
    client.shutdown(SHUT_WR).expect("shutdown");
    server.await_input();
    (client, server)
}

behaviours! {
    end_of_stream: |world, log| {
        let (client, server) = world.pair();
        client.send(b"last", 0).expect("send");
        drop(client);
        log.call(server.recv(8, 0)).call(server.recv(8, 0)).call(server.recv(8, 0)).call(server.recv(8, MSG_PEEK));
    }
    peer_has_shut_polls: |world, log| {
        let (_client, server) = half_closed(world);
        log.text(&server.state()).call(server.recv(1, 0)).text(&server.state());
    }
    peer_has_shut_and_listens: |world, log| {
        let (client, server) = half_closed(world);
        log.call(server.send(b"still", 0)).call(client.recv(8, 0)).call(client.send(b"x", 0));
        log.text(&client.state());
    }
    both_have_shut_polls: |world, log| {
        let (client, server) = half_closed(world);
        server.shutdown(SHUT_WR).expect("shutdown");
        client.await_input();
        log.text(&client.state()).text(&server.state());
        log.call(client.recv(1, 0)).call(server.recv(1, 0)).call(client.send(b"x", 0));
    }
    own_shutdown_polls: |world, log| {
        for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
            let (client, _server) = world.pair();
            client.shutdown(how).expect("shutdown");
            log.text(&client.state());
        }
    }
    shut_twice: |world, log| {
        let (client, _server) = world.pair();
        log.call(client.shutdown(SHUT_WR)).call(client.shutdown(SHUT_WR)).call(client.shutdown(SHUT_RDWR));
    }
    shut_unknown: |world, log| {
        let (client, _server) = world.pair();
        log.call(client.shutdown(3)).call(client.shutdown(-1));
    }
    shut_writing: |world, log| {
        let (client, server) = world.pair();
        client.shutdown(SHUT_WR).expect("shutdown");
        log.call(client.send(b"x", 0)).call(client.send(b"", 0));
        log.call(server.send(b"y", 0)).call(client.recv(8, 0)).works(client.getpeername());
    }
    shut_reading: |world, log| {
        let (client, server) = world.pair();
        client.shutdown(SHUT_RD).expect("shutdown");
        log.call(client.recv(8, 0)).call(client.send(b"x", 0)).call(server.recv(8, 0));
    }
    shut_reading_then_data: |world, log| {
        let (client, server) = world.pair();
        client.shutdown(SHUT_RD).expect("shutdown");
        log.call(server.send(b"late", 0));
        std::thread::sleep(WHILE);
        log.call(client.recv(8, 0)).call(client.recv(8, 0));
    }
    shutdown_wakes_a_receiver: |world, log| {
        let (client, _server) = world.pair();
        let other = client.dup();
        let waiting = std::thread::spawn(move || other.recv(8, 0));
        std::thread::sleep(WHILE);
        client.shutdown(SHUT_RD).expect("shutdown");
        log.call(waiting.join().expect("thread"));
    }
    shutdown_wakes_a_sender: |world, log| {
        let (client, _server) = world.pair();
        client.fill();
        let other = client.dup();
        let waiting = std::thread::spawn(move || {
            // A loaded machine may still find room for a few.
            loop {
                if let Err(error) = other.send(b"x", 0) {
                    break std::io::Result::<()>::Err(error);
                }
            }
        });
        std::thread::sleep(WHILE);
        client.shutdown(SHUT_WR).expect("shutdown");
        log.call(waiting.join().expect("thread"));
    }
    shut_after_the_peer_closed: |world, log| {
        let (client, server) = world.pair();
        drop(client);
        server.await_input();
        log.call(server.recv(1, 0)).call(server.shutdown(SHUT_WR));
        std::thread::sleep(WHILE);
        log.call(server.shutdown(SHUT_RDWR)).works(server.getpeername());
    }
    reset_polls: |world, log| {
        let server = reset(world);
        log.text(&server.state()).call(server.recv(1, 0)).text(&server.state());
    }
    reset_then_received: |world, log| {
        let server = reset(world);
        log.call(server.recv(1, 0)).call(server.recv(1, 0)).call(server.send(b"x", 0));
    }
    reset_then_sent: |world, log| {
        let server = reset(world);
        log.call(server.send(b"x", 0)).call(server.send(b"x", 0)).call(server.recv(1, 0));
    }
    reset_then_asked: |world, log| {
        let server = reset(world);
        log.call(server.get(SOL_SOCKET, SO_ERROR)).call(server.get(SOL_SOCKET, SO_ERROR));
        log.call(server.recv(1, 0)).text(&server.state());
    }
    reset_has_no_peer: |world, log| {
        let server = reset(world);
        log.works(server.getpeername()).works(server.getsockname()).call(server.shutdown(SHUT_WR));
    }
    reset_after_data: |world, log| {
        let (client, server) = world.pair();
        client.send(b"data", 0).expect("send");
        server.await_input();
        client.set_linger(true, 0);
        drop(client);
        std::thread::sleep(WHILE);
        log.text(&server.state()).call(server.bytes_readable());
        log.call(server.recv(2, 0)).call(server.recv(8, 0)).call(server.recv(8, 0)).call(server.recv(8, 0));
    }
    reset_after_end_of_stream: |world, log| {
        let (client, server) = world.pair();
        drop(client);
        server.await_input();
        log.call(server.recv(1, 0)).call(server.send(b"x", 0));
        std::thread::sleep(WHILE);
        log.text(&server.state()).call(server.send(b"x", 0)).call(server.recv(1, 0)).call(server.send(b"x", 0));
    }
    reset_wakes_a_receiver: |world, log| {
        let (client, server) = world.pair();
        let waiting = std::thread::spawn(move || server.recv(8, 0));
        std::thread::sleep(WHILE);
        client.set_linger(true, 0);
        drop(client);
        log.call(waiting.join().expect("thread"));
    }
    unread_data_resets: |world, log| {
        let (client, server) = world.pair();
        client.send(b"never read", 0).expect("send");
        server.await_input();
        drop(server);
        client.await_input();
        log.call(client.recv(1, 0)).call(client.recv(1, 0));
    }
    unread_data_resets_also_with_linger: |world, log| {
        let (client, server) = world.pair();
        client.send(b"never read", 0).expect("send");
        server.await_input();
        server.set_linger(true, 5);
        let start = Instant::now();
        drop(server);
        log.note(start.elapsed() < Duration::from_secs(2));
        client.await_input();
        log.call(client.recv(1, 0));
    }
    data_to_a_closed_peer: |world, log| {
        let (client, server) = world.pair();
        drop(server);
        client.await_input();
        log.call(client.send(b"a", 0));
        std::thread::sleep(WHILE);
        log.call(client.send(b"b", 0)).call(client.send(b"c", 0));
    }
    linger_waits_for_the_peer: |world, log| {
        let (client, server) = world.pair();
        client.set_linger(true, 5);
        client.send(&vec![1; 200_000], 0).expect("send");
        let start = Instant::now();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            let mut got = 0;
            while let n @ 1.. = server.recvfrom(&mut vec![0; 1 << 20], 0).expect("recv").0 {
                got += n;
            }
            got
        });
        drop(client);
        log.note(start.elapsed() < Duration::from_secs(4)).note(reader.join().expect("reader"));
    }
    linger_gives_up: |world, log| {
        let (client, _server) = world.pair();
        client.fill();
        client.set_linger(true, 1);
        let start = Instant::now();
        drop(client);
        log.note(start.elapsed() >= Duration::from_millis(950)).note(start.elapsed() < Duration::from_secs(3));
    }
    close_sends_what_is_queued: |world, log| {
        let (client, server) = world.pair();
        client.send(&vec![1; 300_000], 0).expect("send");
        drop(client);
        let mut got = 0;
        while let n @ 1.. = server.recvfrom(&mut vec![0; 65536], 0).expect("recv").0 {
            got += n;
        }
        log.note(got);
    }
    one_handle_keeps_the_connection: |world, log| {
        let (client, server) = world.pair();
        let other = client.dup();
        drop(client);
        log.text(&server.poll(POLLIN, WHILE)).call(other.send(b"x", 0)).call(server.recv(8, 0));
        drop(other);
        log.text(&server.poll(POLLIN, SOON)).call(server.recv(8, 0));
    }
    simultaneous_close: |world, log| {
        let (client, server) = world.pair();
        log.call(client.shutdown(SHUT_WR)).call(server.shutdown(SHUT_WR));
        log.call(client.recv(1, 0)).call(server.recv(1, 0)).text(&client.state());
    }
    keepalive_on_a_closed_connection: |world, log| {
        let server = reset(world);
        log.call(server.set(SOL_SOCKET, SO_KEEPALIVE, 1)).call(server.get(SOL_SOCKET, SO_KEEPALIVE));
    }
    receiver_sees_data_before_the_end: |world, log| {
        let (client, server) = world.pair();
        client.send(b"abc", 0).expect("send");
        client.shutdown(SHUT_WR).expect("shutdown");
        server.await_input();
        std::thread::sleep(WHILE);
        log.text(&server.state()).call(server.recv(2, 0)).call(server.recv(2, 0)).call(server.recv(2, 0));
    }
    state_in_tcp_info: |world, log| {
        let state = |socket: &Sock| socket.getsockopt(IPPROTO_TCP, TCP_INFO).map(|info| info[0]);
        log.call(state(&world.tcp())).call(state(&world.listener().0));
        let (client, server) = world.pair();
        log.call(state(&client)).call(state(&server));
        client.shutdown(SHUT_WR).expect("shutdown");
        server.await_input();
        std::thread::sleep(WHILE);
        log.call(state(&client)).call(state(&server));
        server.shutdown(SHUT_WR).expect("shutdown");
        std::thread::sleep(WHILE);
        log.call(state(&client)).call(state(&server));
    }
}
