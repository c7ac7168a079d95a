//! Octets over a connection.

use crate::world::{SOON, WHILE};
use std::time::{Duration, Instant};
use tunstack::socket::consts::*;

behaviours! {
    send_and_receive: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"hello", 0)).call(server.recv(64, 0));
        log.call(server.send(b"back", 0)).call(client.recv(64, 0));
    }
    received_in_pieces: |world, log| {
        let (client, server) = world.pair();
        client.send(b"hello", 0).expect("send");
        log.call(server.recv(2, 0)).call(server.recv(2, 0)).call(server.recv(2, 0));
    }
    sends_are_joined: |world, log| {
        let (client, server) = world.pair();
        for part in [&b"a"[..], b"bc", b"def"] {
            client.send(part, 0).expect("send");
        }
        log.call(server.recv(6, MSG_WAITALL));
    }
    nothing_sent: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"", 0)).text(&server.poll(POLLIN, WHILE));
    }
    nothing_asked: |world, log| {
        let (client, server) = world.pair();
        log.call(server.recv(0, MSG_DONTWAIT));
        client.send(b"x", 0).expect("send");
        server.await_input();
        log.call(server.recv(0, 0)).call(server.recv(8, 0));
    }
    no_data_does_not_wait: |world, log| {
        let (client, _server) = world.pair();
        log.call(client.recv(1, MSG_DONTWAIT)).call(client.recv(1, MSG_DONTWAIT | MSG_PEEK));
        client.setblocking(false);
        log.call(client.recv(1, 0)).call(client.recv(4, MSG_WAITALL));
    }
    receive_times_out: |world, log| {
        let (client, _server) = world.pair();
        client.set_timeout(SO_RCVTIMEO, 50);
        let start = Instant::now();
        log.call(client.recv(1, 0)).note(start.elapsed() >= Duration::from_millis(50));
        log.note(start.elapsed() < Duration::from_secs(2));
        log.call(client.recv(1, MSG_PEEK)).call(client.recv(1, MSG_WAITALL));
    }
    receive_waits_for_a_late_sender: |world, log| {
        let (client, server) = world.pair();
        let waiting = std::thread::spawn(move || server.recv(8, 0));
        std::thread::sleep(WHILE);
        client.send(b"late", 0).expect("send");
        log.call(waiting.join().expect("thread"));
    }
    peek_leaves_the_data: |world, log| {
        let (client, server) = world.pair();
        client.send(b"hello", 0).expect("send");
        log.call(server.recv(3, MSG_PEEK)).call(server.recv(8, MSG_PEEK)).call(server.recv(8, 0));
    }
    peek_waits: |world, log| {
        let (client, server) = world.pair();
        let waiting = std::thread::spawn(move || (server.recv(8, MSG_PEEK), server.recv(8, 0)));
        std::thread::sleep(WHILE);
        client.send(b"late", 0).expect("send");
        let (peeked, read) = waiting.join().expect("thread");
        log.call(peeked).call(read);
    }
    waitall_fills_the_buffer: |world, log| {
        let (client, server) = world.pair();
        let waiting = std::thread::spawn(move || (server.recv(6, MSG_WAITALL), server.recv(6, 0)));
        for part in [&b"ab"[..], b"cd", b"efg"] {
            client.send(part, 0).expect("send");
            std::thread::sleep(Duration::from_millis(5));
        }
        let (all, rest) = waiting.join().expect("thread");
        log.call(all).call(rest);
    }
    waitall_ends_with_the_stream: |world, log| {
        let (client, server) = world.pair();
        client.send(b"abc", 0).expect("send");
        drop(client);
        log.call(server.recv(6, MSG_WAITALL)).call(server.recv(6, MSG_WAITALL));
    }
    waitall_times_out_with_what_is_there: |world, log| {
        let (client, server) = world.pair();
        client.send(b"abc", 0).expect("send");
        server.set_timeout(SO_RCVTIMEO, 40);
        log.call(server.recv(6, MSG_WAITALL)).call(server.recv(6, MSG_WAITALL));
    }
    waitall_with_dontwait: |world, log| {
        let (client, server) = world.pair();
        client.send(b"abc", 0).expect("send");
        server.await_input();
        log.call(server.recv(6, MSG_WAITALL | MSG_DONTWAIT));
    }
    waitall_and_peek: |world, log| {
        let (client, server) = world.pair();
        let waiting = std::thread::spawn(move || (server.recv(4, MSG_WAITALL | MSG_PEEK), server.recv(9, 0)));
        client.send(b"ab", 0).expect("send");
        std::thread::sleep(WHILE);
        client.send(b"cd", 0).expect("send");
        let (peeked, read) = waiting.join().expect("thread");
        log.call(peeked).call(read);
    }
    waitall_and_reset: |world, log| {
        let (client, server) = world.pair();
        client.send(b"abc", 0).expect("send");
        server.await_input();
        client.set_linger(true, 0);
        drop(client);
        std::thread::sleep(WHILE);
        log.call(server.recv(6, MSG_WAITALL)).call(server.recv(6, MSG_WAITALL));
    }
    low_water_mark: |world, log| {
        let (client, server) = world.pair();
        server.set(SOL_SOCKET, SO_RCVLOWAT, 4).expect("lowat");
        client.send(b"ab", 0).expect("send");
        log.text(&server.poll(POLLIN, WHILE)).call(server.recv(8, MSG_DONTWAIT | MSG_PEEK));
        client.send(b"cd", 0).expect("send");
        log.text(&server.poll(POLLIN, SOON)).call(server.recv(8, 0));
    }
    low_water_mark_holds_a_receiver: |world, log| {
        let (client, server) = world.pair();
        server.set(SOL_SOCKET, SO_RCVLOWAT, 4).expect("lowat");
        let waiting = std::thread::spawn(move || server.recv(8, 0));
        std::thread::sleep(WHILE);
        client.send(b"abcd", 0).expect("send");
        log.call(waiting.join().expect("thread"));
    }
    low_water_mark_and_timeout: |world, log| {
        let (client, server) = world.pair();
        server.set(SOL_SOCKET, SO_RCVLOWAT, 4).expect("lowat");
        server.set_timeout(SO_RCVTIMEO, 40);
        client.send(b"ab", 0).expect("send");
        log.call(server.recv(8, 0)).call(server.recv(8, 0));
    }
    truncating_receive_discards: |world, log| {
        let (client, server) = world.pair();
        client.send(b"abcdef", 0).expect("send");
        server.await_input();
        let mut two = [b'-'; 2];
        let n = match &server {
            crate::world::Sock::Kernel(socket) => socket.recv(&mut two, MSG_TRUNC),
            crate::world::Sock::Stack(socket) => socket.recv(&mut two, MSG_TRUNC),
        };
        log.call(n).note(String::from_utf8_lossy(&two)).call(server.recv(8, 0));
    }
    octets_readable: |world, log| {
        let (client, server) = world.pair();
        log.call(server.bytes_readable());
        client.send(b"hello", 0).expect("send");
        server.await_input();
        log.call(server.bytes_readable()).call(server.recv(2, 0)).call(server.bytes_readable());
        drop(client);
        std::thread::sleep(WHILE);
        log.call(server.bytes_readable()).call(server.recv(8, 0)).call(server.bytes_readable());
    }
    polls_with_data: |world, log| {
        let (client, server) = world.pair();
        log.text(&server.state());
        client.send(b"x", 0).expect("send");
        server.await_input();
        log.text(&server.state()).call(server.recv(1, 0)).text(&server.state());
    }
    address_of_a_connection_is_ignored: |world, log| {
        let (client, server) = world.pair();
        log.call(client.sendto(b"x", 0, crate::world::addr("192.0.2.1:9"))).call(server.recv(8, 0));
    }
    connection_tells_no_sender: |world, log| {
        let (client, server) = world.pair();
        client.send(b"x", 0).expect("send");
        log.call(server.recvfrom(&mut [0; 8], 0));
    }
    message_in_pieces: |world, log| {
        let (client, server) = world.pair();
        log.call(client.sendmsg([b"hel", b"lo"], 0));
        server.await_input();
        let (mut a, mut b) = ([0; 2], [0; 8]);
        log.call(server.recvmsg([&mut a, &mut b], 0)).note(a).note(&b[..3]);
    }
    more_to_come: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"first ", MSG_MORE)).call(client.send(b"second", 0));
        log.call(server.recv(12, MSG_WAITALL));
    }
    more_to_come_waits_a_while: |world, log| {
        let (client, server) = world.pair();
        client.send(b"first", MSG_MORE).expect("send");
        log.text(&server.poll(POLLIN, WHILE)).text(&server.poll(POLLIN, SOON)).call(server.recv(8, 0));
    }
    corked: |world, log| {
        let (client, server) = world.pair();
        client.set(IPPROTO_TCP, TCP_CORK, 1).expect("cork");
        client.send(b"a", 0).expect("send");
        client.send(b"b", 0).expect("send");
        log.text(&server.poll(POLLIN, WHILE));
        client.set(IPPROTO_TCP, TCP_CORK, 0).expect("uncork");
        log.text(&server.poll(POLLIN, SOON)).call(server.recv(8, 0));
    }
    end_of_record: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"one", MSG_EOR)).call(client.send(b"two", MSG_EOR));
        log.call(server.recv(6, MSG_WAITALL));
    }
    no_signal: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"x", MSG_NOSIGNAL)).call(server.recv(8, 0));
    }
    unknown_flags_are_ignored: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"x", 0x0400_0000)).call(server.recv(8, 0x0008_0000));
    }
    full_send_buffer: |world, log| {
        let (client, server) = world.pair();
        client.setblocking(false);
        let block = vec![b'x'; 100_000];
        let mut sent = 0;
        let error = loop {
            match client.send(&block, 0) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        log.text(&crate::world::name_of(&error)).text(&client.state()).note(sent > 100_000);
        let mut got = 0;
        while got < sent {
            got += server.recvfrom(&mut vec![0; 1 << 20], 0).expect("recv").0;
        }
        log.note(got == sent).text(&client.poll(POLLOUT, SOON));
    }
    send_times_out: |world, log| {
        let (client, _server) = world.pair();
        client.fill();
        client.set_timeout(SO_SNDTIMEO, 50);
        // A loaded machine may still find room for a few.
        loop {
            let start = Instant::now();
            if let Err(error) = client.send(b"x", 0) {
                log.text(&crate::world::name_of(&error)).note(start.elapsed() >= Duration::from_millis(50));
                break;
            }
        }
    }
    timed_out_send_tells_what_it_took: |world, log| {
        let (client, server) = world.pair();
        client.set_timeout(SO_SNDTIMEO, 100);
        let sent = client.send(&vec![0; 64 << 20], 0).expect("a part");
        log.note(sent > 0 && sent < 64 << 20);
        drop(client);
        let mut got = 0;
        while let n @ 1.. = server.recvfrom(&mut vec![0; 1 << 20], 0).expect("recv").0 {
            got += n;
        }
        log.note(got == sent);
    }
    blocking_send_takes_everything: |world, log| {
        let (client, server) = world.pair();
        let sending = std::thread::spawn(move || client.send(&vec![7; 20 << 20], 0));
        let mut got = 0;
        while let n @ 1.. = server.recvfrom(&mut vec![0; 1 << 20], 0).expect("recv").0 {
            got += n;
        }
        log.call(sending.join().expect("thread")).note(got);
    }
    nonblocking_send_takes_a_part: |world, log| {
        let (client, _server) = world.pair();
        client.setblocking(false);
        let n = client.send(&vec![0; 64 << 20], 0).expect("a part");
        log.note(n > 0 && n < 64 << 20);
        let (client, _server) = world.pair();
        let n = client.send(&vec![0; 64 << 20], MSG_DONTWAIT).expect("a part");
        log.note(n > 0 && n < 64 << 20);
    }
    a_megabyte_both_ways: |world, log| {
        let (client, server) = world.pair();
        let data: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 241) as u8).collect();
        let sent = data.clone();
        let echo = std::thread::spawn(move || {
            let mut buf = vec![0; 65536];
            while let n @ 1.. = server.recvfrom(&mut buf, 0).expect("recv").0 {
                server.send(&buf[..n], 0).expect("send");
            }
        });
        let back = client.dup();
        let sending = std::thread::spawn(move || {
            client.send(&sent, 0).expect("send");
            client.shutdown(SHUT_WR).expect("shutdown");
        });
        let mut got = Vec::new();
        let mut buf = vec![0; 65536];
        while let n @ 1.. = back.recvfrom(&mut buf, 0).expect("recv").0 {
            got.extend_from_slice(&buf[..n]);
        }
        sending.join().expect("sender");
        echo.join().expect("echo");
        log.note(got.len()).note(got == data);
    }

    urgent_octet: |world, log| {
        let (client, server) = world.pair();
        log.call(client.send(b"ab!", MSG_OOB)).text(&server.poll(POLLPRI, SOON));
        log.text(&server.state());
        log.call(server.recv(8, MSG_OOB)).call(server.recv(8, MSG_OOB));
        log.call(server.recv(8, 0)).text(&server.state());
    }
    urgent_octet_after_data: |world, log| {
        let (client, server) = world.pair();
        client.send(b"ab", 0).expect("send");
        client.send(b"!", MSG_OOB).expect("send");
        client.send(b"cd", 0).expect("send");
        log.text(&server.poll(POLLPRI, SOON));
        std::thread::sleep(WHILE);
        log.call(server.at_mark()).call(server.recv(8, 0)).call(server.at_mark());
        log.call(server.recv(1, MSG_OOB)).call(server.recv(8, 0)).call(server.at_mark());
    }
    urgent_octet_skipped: |world, log| {
        let (client, server) = world.pair();
        client.send(b"ab", 0).expect("send");
        client.send(b"!", MSG_OOB).expect("send");
        client.send(b"cd", 0).expect("send");
        log.text(&server.poll(POLLPRI, SOON));
        std::thread::sleep(WHILE);
        log.call(server.recv(8, 0)).call(server.recv(8, 0)).call(server.recv(1, MSG_OOB));
    }
    urgent_octet_in_line: |world, log| {
        let (client, server) = world.pair();
        server.set(SOL_SOCKET, SO_OOBINLINE, 1).expect("inline");
        client.send(b"ab", 0).expect("send");
        client.send(b"!", MSG_OOB).expect("send");
        log.text(&server.poll(POLLPRI, SOON));
        std::thread::sleep(WHILE);
        log.call(server.recv(1, MSG_OOB)).call(server.recv(8, 0)).call(server.at_mark());
        log.call(server.recv(8, 0)).call(server.at_mark());
    }
    urgent_octet_peeked: |world, log| {
        let (client, server) = world.pair();
        client.send(b"!", MSG_OOB).expect("send");
        log.text(&server.poll(POLLPRI, SOON));
        log.call(server.recv(1, MSG_OOB | MSG_PEEK)).call(server.recv(1, MSG_OOB));
        log.call(server.recv(1, MSG_OOB));
    }
    second_urgent_octet: |world, log| {
        let (client, server) = world.pair();
        client.send(b"1", MSG_OOB).expect("send");
        log.text(&server.poll(POLLPRI, SOON));
        client.send(b"2", MSG_OOB).expect("send");
        std::thread::sleep(WHILE);
        log.call(server.recv(1, MSG_OOB)).call(server.recv(8, MSG_DONTWAIT)).call(server.recv(8, MSG_DONTWAIT));
    }
    no_urgent_octet: |world, log| {
        let (client, server) = world.pair();
        log.call(server.recv(1, MSG_OOB));
        client.send(b"x", 0).expect("send");
        server.await_input();
        log.call(server.recv(1, MSG_OOB)).call(server.at_mark());
    }
}
