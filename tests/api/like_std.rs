//! The standard library's types beside ours: the same program, compiled twice.

use crate::world::{Log, WHILE};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;
use tunstack::runtime::Stack;

/// Makes connections and sockets of the standard library.
struct Std;

impl Std {
    fn listen(&self, at: &str) -> io::Result<std::net::TcpListener> {
        std::net::TcpListener::bind(at)
    }
    fn connect(&self, to: SocketAddr) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect(to)
    }
    fn connect_any(&self, to: &[SocketAddr]) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect(to)
    }
    fn connect_named(&self, to: &str) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect(to)
    }
    fn connect_timeout(&self, to: SocketAddr, timeout: Duration) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect_timeout(&to, timeout)
    }
    fn udp(&self, at: &str) -> io::Result<std::net::UdpSocket> {
        std::net::UdpSocket::bind(at)
    }
}

/// Makes them of a stack.
struct Ours(Stack);

impl Ours {
    fn listen(&self, at: &str) -> io::Result<tunstack::socket::TcpListener> {
        tunstack::socket::TcpListener::bind(&self.0, at)
    }
    fn connect(&self, to: SocketAddr) -> io::Result<tunstack::socket::TcpStream> {
        tunstack::socket::TcpStream::connect(&self.0, to)
    }
    fn connect_any(&self, to: &[SocketAddr]) -> io::Result<tunstack::socket::TcpStream> {
        tunstack::socket::TcpStream::connect(&self.0, to)
    }
    fn connect_named(&self, to: &str) -> io::Result<tunstack::socket::TcpStream> {
        tunstack::socket::TcpStream::connect(&self.0, to)
    }
    fn connect_timeout(&self, to: SocketAddr, timeout: Duration) -> io::Result<tunstack::socket::TcpStream> {
        tunstack::socket::TcpStream::connect_timeout(&self.0, &to, timeout)
    }
    fn udp(&self, at: &str) -> io::Result<tunstack::socket::UdpSocket> {
        tunstack::socket::UdpSocket::bind(&self.0, at)
    }
}

/// Kind and text of an error: what a program shows.
fn error<T>(result: io::Result<T>) -> String {
    result.map_or_else(|error| format!("{:?} {error}", error.kind()), |_| "fine".to_owned())
}

/// Makes a test of each program, which is compiled for the kernel and for the stack.
macro_rules! programs {
    ($($name:ident: |$net:ident, $log:ident| $body:block)*) => {
        $(#[test]
        fn $name() {
            let linux = {
                let ($net, mut log) = (Std, Log::default());
                let $log = &mut log;
                $body
                log.finish()
            };
            let here = {
                let stack = Stack::builder().start().expect("a stack");
                let ($net, mut log) = (Ours(stack), Log::default());
                let $log = &mut log;
                $body
                log.finish()
            };
            assert!(!linux.is_empty());
            crate::judge(stringify!($name), &linux, &here);
        })*
    };
}

/// A listener, a connection to it, and the accepted side.
macro_rules! pair {
    ($net:ident) => {{
        let listener = $net.listen("127.0.0.1:0").expect("listen");
        let client = $net.connect(listener.local_addr().expect("name")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        (listener, client, server)
    }};
}

programs! {
    std_addresses: |net, log| {
        let (listener, client, server) = pair!(net);
        log.note(client.peer_addr().expect("peer") == listener.local_addr().expect("name"));
        log.note(server.peer_addr().expect("peer") == client.local_addr().expect("name"));
        log.note(client.local_addr().expect("name").ip());
    }
    std_refused: |net, log| {
        let name = net.listen("127.0.0.1:0").expect("listen").local_addr().expect("name");
        log.text(&error(net.connect(name)));
        log.text(&error(net.connect_timeout(name, Duration::from_secs(1))));
    }
    std_first_address_that_answers: |net, log| {
        let closed = net.listen("127.0.0.1:0").expect("listen").local_addr().expect("name");
        let open = net.listen("127.0.0.1:0").expect("listen");
        let name = open.local_addr().expect("name");
        log.note(net.connect_any(&[closed, name]).expect("connect").peer_addr().expect("peer") == name);
        log.text(&error(net.connect_any(&[closed, closed]))).text(&error(net.connect_any(&[])));
    }
    std_bad_address_text: |net, log| {
        for text in ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ""] {
            log.text(&error(net.connect_named(text)));
        }
    }
    std_literals_in_text: |net, log| {
        let listener = net.listen("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("name").port();
        log.text(&error(net.connect_named(&format!("127.0.0.1:{port}"))));
        let listener = net.listen("[::1]:0").expect("listen");
        let port = listener.local_addr().expect("name").port();
        log.text(&error(net.connect_named(&format!("[::1]:{port}"))));
    }
    std_zero_timeouts: |net, log| {
        let (_listener, client, _server) = pair!(net);
        log.text(&error(client.set_read_timeout(Some(Duration::ZERO))));
        log.text(&error(client.set_write_timeout(Some(Duration::ZERO))));
        let peer = client.peer_addr().expect("peer");
        log.text(&error(net.connect_timeout(peer, Duration::ZERO)));
        log.text(&error(net.udp("127.0.0.1:0").expect("bind").set_read_timeout(Some(Duration::ZERO))));
    }
    std_shortest_timeout: |net, log| {
        let (_listener, mut client, _server) = pair!(net);
        client.set_read_timeout(Some(Duration::from_nanos(1))).expect("timeout");
        log.note(client.read_timeout().expect("call").is_some_and(|time| time >= Duration::from_micros(1)));
        log.text(&error(client.read(&mut [0; 8])));
    }
    std_connect_timeout: |net, log| {
        let listener = net.listen("127.0.0.1:0").expect("listen");
        log.text(&error(net.connect_timeout(listener.local_addr().expect("name"), Duration::from_secs(5))));
    }
    std_timeouts_are_shared_by_clones: |net, log| {
        let (_listener, client, _server) = pair!(net);
        let other = client.try_clone().expect("clone");
        log.call(client.read_timeout()).call(client.write_timeout());
        client.set_read_timeout(Some(Duration::from_millis(1500))).expect("timeout");
        other.set_write_timeout(Some(Duration::from_millis(2500))).expect("timeout");
        log.call(other.read_timeout()).call(client.write_timeout());
        client.set_read_timeout(None).expect("timeout");
        log.call(other.read_timeout());
    }
    std_read_times_out: |net, log| {
        let (_listener, mut client, _server) = pair!(net);
        client.set_read_timeout(Some(Duration::from_millis(30))).expect("timeout");
        log.text(&error(client.read(&mut [0; 8]))).text(&error(client.peek(&mut [0; 8])));
    }
    std_nonblocking: |net, log| {
        let (listener, mut client, _server) = pair!(net);
        listener.set_nonblocking(true).expect("nonblocking");
        log.text(&error(listener.accept()));
        client.set_nonblocking(true).expect("nonblocking");
        log.text(&error(client.read(&mut [0; 8])));
        let mut other = client.try_clone().expect("clone");
        log.text(&error(other.read(&mut [0; 8])));
        client.set_nonblocking(false).expect("blocking");
        client.set_read_timeout(Some(Duration::from_millis(10))).expect("timeout");
        log.text(&error(other.read(&mut [0; 8])));
    }
    std_read_and_write: |net, log| {
        let (_listener, mut client, mut server) = pair!(net);
        log.call(client.write(b"hello")).call(client.flush());
        let mut buffer = [0; 8];
        log.call(server.peek(&mut buffer)).call(server.read(&mut buffer)).note(&buffer[..5]);
        (&server).write_all(b"by reference").expect("write");
        drop(server);
        let mut text = String::new();
        log.call((&client).read_to_string(&mut text)).note(text);
    }
    std_vectored: |net, log| {
        let (_listener, mut client, mut server) = pair!(net);
        log.call(client.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")]));
        let (mut one, mut other) = ([0; 2], [0; 8]);
        server.peek(&mut [0; 8]).expect("peek");
        log.call(server.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)]));
        log.note(one).note(&other[..3]);
    }
    std_shutdown: |net, log| {
        let (_listener, mut client, mut server) = pair!(net);
        log.call(client.shutdown(Shutdown::Write)).text(&error(client.write(b"x")));
        log.call(server.read(&mut [0; 8])).call(server.write(b"y")).call(client.read(&mut [0; 8]));
        log.call(client.shutdown(Shutdown::Read)).call(client.read(&mut [0; 8]));
        log.text(&error(client.shutdown(Shutdown::Both)));
    }
    std_broken_pipe: |net, log| {
        let (_listener, mut client, server) = pair!(net);
        drop(server);
        client.peek(&mut [0; 1]).expect("the end");
        log.text(&error(client.write(b"a")));
        std::thread::sleep(WHILE);
        log.text(&error(client.write(b"b")));
    }
    std_take_error: |net, log| {
        let (listener, client, _server) = pair!(net);
        log.note(listener.take_error().expect("call").is_none());
        log.note(client.take_error().expect("call").is_none());
        log.note(net.udp("127.0.0.1:0").expect("bind").take_error().expect("call").is_none());
    }
    std_options: |net, log| {
        let (listener, client, _server) = pair!(net);
        log.call(client.nodelay()).call(client.set_nodelay(true)).call(client.nodelay());
        log.call(client.ttl()).call(client.set_ttl(9)).call(client.ttl());
        log.call(listener.ttl()).call(listener.set_ttl(8)).call(listener.ttl());
        log.text(&error(client.set_ttl(0))).text(&error(client.set_ttl(256)));
    }
    std_incoming: |net, log| {
        let listener = net.listen("127.0.0.1:0").expect("listen");
        let name = listener.local_addr().expect("name");
        let clients: Vec<_> = (0..3).map(|_| net.connect(name).expect("connect")).collect();
        for (client, stream) in clients.iter().zip(listener.incoming()) {
            log.note(stream.expect("accept").peer_addr().expect("peer") == client.local_addr().expect("name"));
        }
    }
    std_address_in_use: |net, log| {
        let listener = net.listen("127.0.0.1:0").expect("listen");
        let name = listener.local_addr().expect("name").to_string();
        log.text(&error(net.listen(&name)));
        let socket = net.udp("127.0.0.1:0").expect("bind");
        log.text(&error(net.udp(&socket.local_addr().expect("name").to_string())));
        log.text(&error(net.listen("192.0.2.1:0")));
    }
    std_accept_from_several_threads: |net, log| {
        let listener = net.listen("127.0.0.1:0").expect("listen");
        let name = listener.local_addr().expect("name");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let listener = listener.try_clone().expect("clone");
                std::thread::spawn(move || {
                    let (mut stream, _) = listener.accept().expect("accept");
                    stream.write_all(b"x").expect("write");
                })
            })
            .collect();
        let mut clients: Vec<_> = (0..4).map(|_| net.connect(name).expect("connect")).collect();
        for client in &mut clients {
            log.call(client.read(&mut [0; 8]));
        }
        threads.into_iter().for_each(|thread| thread.join().expect("thread"));
    }
    std_udp: |net, log| {
        let a = net.udp("127.0.0.1:0").expect("bind");
        let b = net.udp("127.0.0.1:0").expect("bind");
        let (a_name, b_name) = (a.local_addr().expect("name"), b.local_addr().expect("name"));
        log.call(a.send_to(b"hello", b_name));
        let mut buffer = [0; 8];
        log.note(b.peek_from(&mut buffer).expect("peek") == (5, a_name));
        log.note(b.recv_from(&mut buffer).expect("recv") == (5, a_name));
        log.text(&error(a.send(b"x"))).text(&error(a.peer_addr()));
        log.call(a.connect(b_name)).call(a.send(b"hi")).call(b.recv(&mut buffer));
        log.note(a.peer_addr().expect("peer") == b_name);
        b.connect(a_name).expect("connect");
        b.send(b"back").expect("send");
        log.call(a.peek(&mut buffer)).call(a.recv(&mut buffer)).note(&buffer[..4]);
    }
    std_udp_errors: |net, log| {
        let socket = net.udp("127.0.0.1:0").expect("bind");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        log.text(&error(socket.recv_from(&mut [0; 8]))).text(&error(socket.recv(&mut [0; 8])));
        log.text(&error(socket.send_to(&vec![0; 70_000], socket.local_addr().expect("name"))));
        log.text(&error(socket.send_to(b"x", "255.255.255.255:9")));
        log.text(&error(socket.send_to(b"x", &[][..] as &[SocketAddr])));
        let closed = net.udp("127.0.0.1:0").expect("bind").local_addr().expect("name");
        socket.connect(closed).expect("connect");
        socket.send(b"x").expect("send");
        std::thread::sleep(WHILE);
        log.text(&error(socket.recv(&mut [0; 8])));
    }
    std_udp_options: |net, log| {
        let socket = net.udp("0.0.0.0:0").expect("bind");
        log.call(socket.broadcast()).call(socket.set_broadcast(true)).call(socket.broadcast());
        log.call(socket.ttl()).call(socket.set_ttl(7)).call(socket.ttl());
        log.call(socket.multicast_ttl_v4()).call(socket.set_multicast_ttl_v4(4)).call(socket.multicast_ttl_v4());
        log.call(socket.multicast_loop_v4()).call(socket.set_multicast_loop_v4(false));
        log.call(socket.multicast_loop_v4()).text(&error(socket.set_multicast_ttl_v4(256)));
        log.call(socket.read_timeout()).call(socket.write_timeout());
        let socket = net.udp("[::]:0").expect("bind");
        log.call(socket.multicast_loop_v6()).call(socket.set_multicast_loop_v6(false));
        log.call(socket.multicast_loop_v6());
    }
    std_ipv6_on_ipv4: |net, log| {
        let socket = net.udp("127.0.0.1:0").expect("bind");
        let group = "ff02::fb".parse().expect("group");
        log.text(&error(socket.join_multicast_v6(&group, 0))).text(&error(socket.leave_multicast_v6(&group, 0)));
        log.text(&error(socket.multicast_loop_v6())).text(&error(socket.set_multicast_loop_v6(true)));
        let listener = net.listen("127.0.0.1:0").expect("listen");
        #[allow(deprecated)]
        log.text(&error(listener.only_v6())).text(&error(listener.set_only_v6(true)));
    }
    std_udp_groups: |net, log| {
        let socket = net.udp("0.0.0.0:0").expect("bind");
        let (group, here) = (Ipv4Addr::new(224, 0, 0, 99), Ipv4Addr::LOCALHOST);
        log.text(&error(socket.leave_multicast_v4(&group, &here)));
        log.text(&error(socket.join_multicast_v4(&group, &here)));
        log.text(&error(socket.join_multicast_v4(&group, &here)));
        log.text(&error(socket.leave_multicast_v4(&group, &here)));
        log.text(&error(socket.join_multicast_v4(&Ipv4Addr::new(10, 1, 1, 1), &here)));
    }
    std_clone_keeps_the_connection: |net, log| {
        let (_listener, client, mut server) = pair!(net);
        let mut other = client.try_clone().expect("clone");
        drop(client);
        other.write_all(b"x").expect("write");
        log.call(server.read(&mut [0; 8]));
        drop(other);
        log.call(server.read(&mut [0; 8]));
    }
    std_read_to_end_of_a_reset: |net, log| {
        let (_listener, mut client, server) = pair!(net);
        client.write_all(b"unread").expect("write");
        server.peek(&mut [0; 8]).expect("peek");
        drop(server);
        std::thread::sleep(WHILE);
        let mut all = Vec::new();
        log.text(&error(client.read_to_end(&mut all))).note(all.len());
        log.note(client.read(&mut [0; 8]).map_err(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}
