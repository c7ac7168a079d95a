//! Bulk both ways, half closed connections, and datagrams, between the kernel's sockets and ours.

use crate::harness::{Test, private, test};
use crate::world::{
    Ends, FAMILIES, Program, accept, connect, datagrams, eventually, feed, host, listener, on_both_devices,
    pattern, read_all, same, tunstack,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Output;

pub const TESTS: &[Test] = &[
    test("transfer::echoed", echoed),
    test("transfer::echoed_64_mib", echoed_64_mib),
    test("transfer::discarded", discarded),
    test("transfer::characters_without_end", characters_without_end),
    test("transfer::sent_by_the_stack", sent_by_the_stack),
    test("transfer::received_by_the_stack", received_by_the_stack),
    test("transfer::half_closed_by_the_kernel", half_closed_by_the_kernel),
    test("transfer::half_closed_by_the_stack", half_closed_by_the_stack),
    test("transfer::datagrams_of_all_sizes", datagrams_of_all_sizes),
    test("transfer::small_mtu", small_mtu),
    test("transfer::large_mtu", large_mtu),
];

const MIB: usize = 1 << 20;

/// Writes all of it from a thread of its own, then ends that direction, while this one reads.
fn exchange(stream: &TcpStream, data: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&*stream).write_all(data).expect("sent");
            stream.shutdown(Shutdown::Write).expect("open");
        });
        read_all(stream)
    })
}

fn echoed() {
    let data = pattern(8 * MIB);
    on_both_devices("echo", || {
        for ends in FAMILIES {
            same(&exchange(&connect(ends.at(7)), &data), &data, "echo");
        }
    });
}

/// Enough to go round every buffer many times.
fn echoed_64_mib() {
    let data = pattern(64 * MIB);
    on_both_devices("echo", || {
        for ends in FAMILIES {
            same(&exchange(&connect(ends.at(7)), &data), &data, "echo");
        }
    });
}

fn discarded() {
    let data = pattern(16 * MIB);
    on_both_devices("discard", || {
        for ends in FAMILIES {
            // Its end says that it took everything.
            assert_eq!(exchange(&connect(ends.at(9)), &data).len(), 0);
        }
    });
}

fn characters_without_end() {
    on_both_devices("chargen", || characters(16 * MIB));
}

fn characters(count: usize) {
    for ends in FAMILIES {
        let mut stream = connect(ends.at(19));
        let mut text = vec![0; count];
        stream.read_exact(&mut text).expect("no end");
        // RFC 864: lines of 72 characters, each begins one further in the ring of 95.
        for (number, line) in text.chunks_exact(74).enumerate() {
            assert_eq!(line[0], b' ' + (number % 95) as u8, "line {number}");
            assert_eq!(line[72..], *b"\r\n", "line {number}");
        }
        drop(stream);
    }
}

fn words_of(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// What the stack sends, with the kernel as server and as client.
fn sent_by_the_stack() {
    private();
    let data = pattern(4 * MIB);
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let port = 9000 + index as u16;
        let server = listener(port);
        let said = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let words = format!("send --tun tun0 - {}", ends.kernel_at(port));
                feed(&mut tunstack(&words), &data).expect("built with the tests")
            });
            let stream = accept(&server);
            same(&read_all(&stream), &data, "sent by the stack");
            drop(stream);
            words_of(&sender.join().expect("no panic"))
        });
        assert!(said.contains("sent 4194.3 kB"), "{said}");
        let mut sender = Program::beside("send --tun tun0 - --listen 9100", "waiting for a connection");
        let mut input = sender.input();
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                input.write_all(&data).expect("it reads");
                drop(input);
            });
            read_all(connect(ends.at(9100)))
        });
        same(&got, &data, "sent by the stack to a kernel client");
        let (code, said) = sender.finish();
        assert_eq!(code, Some(0), "{said}");
    }
}

fn received_by_the_stack() {
    private();
    let data = pattern(4 * MIB);
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let port = 9000 + index as u16;
        let server = listener(port);
        let output = std::thread::scope(|scope| {
            let words = format!("recv --tun tun0 - --from {}", ends.kernel_at(port));
            let receiver =
                scope.spawn(move || feed(&mut tunstack(&words), b"").expect("built with the tests"));
            accept(&server).write_all(&data).expect("sent");
            receiver.join().expect("no panic")
        });
        words_of(&output);
        same(&output.stdout, &data, "received by the stack");
        let mut receiver = Program::beside("recv --tun tun0 - --listen 9100", "waiting for a connection");
        let output = receiver.output();
        let got = std::thread::scope(|scope| {
            scope.spawn(|| connect(ends.at(9100)).write_all(&data).expect("sent"));
            read_all(output)
        });
        same(&got, &data, "received by the stack from a kernel client");
        let (code, said) = receiver.finish();
        assert_eq!(code, Some(0), "{said}");
        // As people write it, also where an IPv6 socket took it.
        assert!(said.contains(&format!("connection from {}:", host(ends.kernel))), "{said}");
    }
}

/// One connection through `listen` or `connect`: the kernel's end is `stream`, ours are the pipes of `program`.
fn end_first(mut program: Program, stream: TcpStream, kernel_first: bool) {
    let (there, back) = (pattern(MIB), pattern(MIB + 1)[1..].to_vec());
    let (mut input, mut output) = (program.input(), program.output());
    if kernel_first {
        (&stream).write_all(&there).expect("sent");
        stream.shutdown(Shutdown::Write).expect("open");
        same(&read_to(&mut output, there.len()), &there, "towards the stack");
        // The kernel has said everything; what comes from our pipe goes on.
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                input.write_all(&back).expect("it reads");
                drop(input);
            });
            read_all(&stream)
        });
        same(&got, &back, "towards the kernel, after its end");
    } else {
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                input.write_all(&back).expect("it reads");
                drop(input);
            });
            read_all(&stream)
        });
        same(&got, &back, "towards the kernel");
        // The stack has said everything; the kernel goes on.
        (&stream).write_all(&there).expect("sent");
        stream.shutdown(Shutdown::Write).expect("open");
        same(&read_all(output), &there, "towards the stack, after its end");
    }
    let (code, said) = program.finish();
    assert_eq!(code, Some(0), "{said}");
}

fn read_to(from: &mut impl Read, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    from.read_exact(&mut data).expect("so much came");
    data
}

fn both_roles(kernel_first: bool) {
    private();
    for (index, ends) in FAMILIES.into_iter().enumerate() {
        let waiting = Program::beside("listen --tun tun0 9100", "listening on TCP port 9100");
        end_first(waiting, connect(ends.at(9100)), kernel_first);
        let port = 9000 + index as u16;
        let server = listener(port);
        let calling = Program::beside(&format!("connect --tun tun0 {} {port}", ends.kernel), "connected");
        end_first(calling, accept(&server), kernel_first);
    }
}

fn half_closed_by_the_kernel() {
    both_roles(true);
    // The service that answers after the peer's end: all that was sent comes back, and then the end.
    let server = Program::beside("serve --tun tun0 echo", "serving");
    for ends in FAMILIES {
        let data = pattern(300_000);
        same(&exchange(&connect(ends.at(7)), &data), &data, "echo after half close");
    }
    server.end();
}

fn half_closed_by_the_stack() {
    both_roles(false);
}

fn echo_of_datagrams(ends: Ends, sizes: &[usize]) {
    let socket = datagrams(ends.at(7));
    let mut buffer = vec![0; 65_536];
    for size in sizes {
        let data = pattern(*size);
        // A datagram may get lost where the machine is short of time.
        let mut tries = 0;
        eventually("a datagram comes back", || {
            tries += 1;
            socket.send(&data).expect("sent");
            socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).expect("valid");
            socket.recv(&mut buffer).is_ok_and(|len| buffer[..len] == data[..])
        });
        assert!(tries <= 3, "{size} octets needed {tries} tries over {}", host(ends.stack));
    }
}

/// Whole, in fragments, empty, and the largest that there are.
fn datagrams_of_all_sizes() {
    on_both_devices("echo daytime", || {
        for ends in FAMILIES {
            echo_of_datagrams(ends, &[0, 1, 512, 1452, 1453, 1472, 1473, 4000, 20_000, 65_507]);
            let time = datagrams(ends.at(13));
            time.send(b"").expect("sent");
            let mut text = [0; 128];
            let len = time.recv(&mut text).expect("answered");
            assert!(text[..len].ends_with(b"\r\n"), "{:?}", &text[..len]);
        }
    });
}

fn through(words: &str, sizes: &[usize]) {
    let data = pattern(2 * MIB);
    on_both_devices(words, || {
        for ends in FAMILIES {
            same(&exchange(&connect(ends.at(7)), &data), &data, "echo");
            echo_of_datagrams(ends, sizes);
        }
    });
}

fn small_mtu() {
    through("echo --mtu 1280", &[1232, 1233, 1252, 1253, 9000]);
}

fn large_mtu() {
    through("echo --mtu 65535", &[9000, 65_487, 65_507]);
}
