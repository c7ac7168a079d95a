//! What has no counterpart in the kernel's calls, or is the same there under another name.

use crate::world::addr;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use tunstack::runtime::Stack;
use tunstack::socket::consts::*;
use tunstack::socket::{
    AsSocket, PacketInfo, PollFd, Selected, Socket, TcpListener, TcpStream, UdpSocket, poll, select,
};

fn stack() -> Stack {
    Stack::builder().address("10.0.0.1/24".parse().expect("valid")).start().expect("start")
}

fn pair(stack: &Stack) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(stack, "127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(stack, listener.local_addr().expect("name")).expect("connect");
    (client, listener.accept().expect("accept").0)
}

#[test]
fn poll_watches_several_sockets() {
    let stack = stack();
    let (one, mut one_peer) = pair(&stack);
    let (other, _other_peer) = pair(&stack);
    let mut fds = [PollFd::new(&one, POLLIN), PollFd::new(&other, POLLIN)];
    let start = Instant::now();
    assert_eq!(poll(&mut fds, Some(Duration::from_millis(20))).expect("poll"), 0);
    assert!(start.elapsed() >= Duration::from_millis(20));
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10));
        one_peer.write_all(b"x").expect("write");
        one_peer
    });
    assert_eq!(poll(&mut fds, None).expect("poll"), 1);
    assert_eq!((fds[0].revents, fds[1].revents), (POLLIN, 0));
    drop(writer.join().expect("writer"));
    assert_eq!(poll(&mut [], Some(Duration::ZERO)).expect("nothing to wait for"), 0);
    let elsewhere = Stack::builder().start().expect("start");
    let stranger = UdpSocket::bind(&elsewhere, "127.0.0.1:0").expect("bind");
    let mut mixed = [PollFd::new(&one, POLLIN), PollFd::new(&stranger, POLLIN)];
    assert_eq!(poll(&mut mixed, None).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_socket_has_settings_by_name() {
    let stack = stack();
    let socket = Socket::new(&stack, AF_INET, SOCK_STREAM, 0).expect("socket");
    for name in tunstack::host::Host::socket_settings() {
        let text = socket.setting(name).expect("readable");
        if let Some(host) = stack.setting(name) {
            assert_eq!(text, host, "{name}");
        }
        socket.set_setting(name, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(socket.setting(name).expect("readable"), text, "{name}");
    }
    let steps = [
        ("tcp_keepalive_time", "9", IPPROTO_TCP, TCP_KEEPIDLE, 9),
        ("tcp_keepalive_intvl", "8", IPPROTO_TCP, TCP_KEEPINTVL, 8),
        ("tcp_keepalive_probes", "7", IPPROTO_TCP, TCP_KEEPCNT, 7),
        ("tcp_fin_timeout", "6", IPPROTO_TCP, TCP_LINGER2, 6),
        ("tcp_syn_retries", "5", IPPROTO_TCP, TCP_SYNCNT, 5),
        ("tcp_user_timeout", "1500", IPPROTO_TCP, TCP_USER_TIMEOUT, 1500),
        ("tcp_notsent_lowat", "4000", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4000),
        ("ip_default_ttl", "3", IPPROTO_IP, IP_TTL, 3),
        ("ip_no_pmtu_disc", "1", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT),
        ("tcp_rmem", "4096 8192 33554432", SOL_SOCKET, SO_RCVBUF, 8192),
        ("tcp_wmem", "4096 9000 4194304", SOL_SOCKET, SO_SNDBUF, 9000),
    ];
    for (name, text, level, option, number) in steps {
        let before = stack.setting(name);
        socket.set_setting(name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(socket.setting(name).expect("readable"), text, "{name}");
        assert_eq!(socket.getsockopt_int(level, option).expect("option"), number, "{name}");
        assert_eq!(stack.setting(name), before, "the host's is another");
    }
    socket.set_setting("tcp_congestion_control", "reno").expect("known");
    assert_eq!(&socket.getsockopt(IPPROTO_TCP, TCP_CONGESTION).expect("option")[..5], b"reno\0");
}

#[test]
fn a_setting_that_cannot_be_says_why() {
    let stack = stack();
    let (client, _server) = pair(&stack);
    let why = |name: &str, value: &str| {
        let error = client.set_setting(name, value).expect_err("impossible");
        (error.kind(), error.to_string())
    };
    let (kind, text) = why("tcp_syncookies", "1");
    assert!(
        kind == ErrorKind::InvalidInput && text.starts_with("a socket has no setting 'tcp_syncookies', but"),
        "{text}"
    );
    assert_eq!(
        why("tcp_keepalive_time", "x").1,
        "'x' is no value for tcp_keepalive_time: expected seconds, at least 1"
    );
    assert_eq!(why("tcp_user_timeout", "-1").1, "'-1' is no value for tcp_user_timeout: expected a number");
    let (_, text) = why("tcp_rmem", "1 2 3");
    assert!(text.contains("the host's least and most size"), "{text}");
    // A connection, at run time; and a socket of another kind.
    client.set_setting("tcp_user_timeout", "777").expect("taken");
    assert_eq!(client.user_timeout().expect("option"), Duration::from_millis(777));
    let datagrams = UdpSocket::bind(&stack, "127.0.0.1:0").expect("bind");
    datagrams.set_setting("ip_default_ttl", "9").expect("taken");
    assert_eq!(datagrams.ttl().expect("option"), 9);
    for name in ["tcp_keepalive_time", "tcp_rmem", "tcp_wmem"] {
        let value = stack.setting(name).expect("known");
        assert_eq!(datagrams.setting(name).expect_err("no stream").raw_os_error(), Some(92), "{name}");
        assert_eq!(
            datagrams.set_setting(name, &value).expect_err("no stream").raw_os_error(),
            Some(92),
            "{name}"
        );
    }
    // What is accepted inherits.
    let listener = TcpListener::bind(&stack, "127.0.0.1:0").expect("bind");
    listener.set_setting("tcp_keepalive_time", "11").expect("taken");
    let _client = TcpStream::connect(&stack, listener.local_addr().expect("name")).expect("connect");
    let (accepted, _) = listener.accept().expect("accept");
    assert_eq!(accepted.setting("tcp_keepalive_time").expect("readable"), "11");
}

#[test]
fn select_sorts_by_list() {
    let stack = stack();
    let (client, server) = pair(&stack);
    let lists: [&dyn AsSocket; 2] = [&client, &server];
    let none = select(&lists, &[], &lists, Some(Duration::from_millis(5))).expect("select");
    assert_eq!(none, Selected::default());
    client.send_oob(b"ab!").expect("send");
    let found = select(&lists, &lists, &lists, None).expect("select");
    assert_eq!(found, Selected { read: vec![1], write: vec![0, 1], except: vec![1] });
    let socket = Socket::new(&stack, AF_INET, SOCK_STREAM, 0).expect("socket");
    let other = socket.dup();
    socket.close().expect("close");
    assert_eq!(select(&[&other], &[], &[], None).unwrap_err().raw_os_error(), Some(9), "EBADF");
    let mut fds = [PollFd::new(&other, POLLIN)];
    assert_eq!(poll(&mut fds, None).expect("poll"), 1);
    assert_eq!(fds[0].revents, POLLNVAL);
    assert_eq!(other.send(b"x", 0).unwrap_err().raw_os_error(), Some(9), "EBADF");
    assert_eq!(other.close().unwrap_err().raw_os_error(), Some(9), "EBADF");
}

#[test]
fn a_number_instead_of_an_error() {
    let stack = stack();
    let listener = Socket::new(&stack, AF_INET, SOCK_STREAM, 0).expect("socket");
    listener.bind(addr("10.0.0.1:7")).expect("bind");
    listener.listen(5).expect("listen");
    let client = Socket::new(&stack, AF_INET, SOCK_STREAM, 0).expect("socket");
    assert_eq!(client.connect_ex(addr("10.0.0.1:8")), 111, "ECONNREFUSED");
    assert_eq!(client.connect_ex(addr("10.0.0.1:7")), 0);
    assert_eq!(client.connect_ex(addr("10.0.0.1:7")), 106, "EISCONN");
}

#[test]
fn one_timeout_for_every_call() {
    let stack = stack();
    let (client, _server) = pair(&stack);
    let socket = Socket::from(client);
    assert!(socket.getblocking());
    socket.settimeout(Some(Duration::from_millis(20)));
    let start = Instant::now();
    assert_eq!(socket.recv(&mut [0; 8], 0).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= Duration::from_millis(20) && socket.getblocking());
    socket.settimeout(Some(Duration::ZERO));
    assert!(!socket.getblocking());
    assert_eq!(socket.recv(&mut [0; 8], 0).unwrap_err().kind(), ErrorKind::WouldBlock);
    socket.settimeout(None);
    assert!(socket.getblocking());
    assert_eq!(socket.getsockopt(SOL_SOCKET, SO_RCVTIMEO).expect("timeout"), [0; 16]);
}

#[test]
fn faces_turn_into_each_other() {
    let stack = stack();
    let (client, mut server) = pair(&stack);
    let socket = Socket::from(client);
    assert_eq!(socket.send(b"x", 0).expect("send"), 1);
    assert!(UdpSocket::try_from(socket.dup()).is_err());
    let client = TcpStream::try_from(socket).expect("a stream");
    server.read_exact(&mut [0; 1]).expect("read");
    client.shutdown(std::net::Shutdown::Both).expect("shutdown");
}

#[test]
fn halves_go_to_two_owners() {
    let stack = stack();
    let (client, server) = pair(&stack);
    let (mut read, mut write) = client.into_split();
    write.write_all(b"question").expect("write");
    drop(write);
    let mut text = String::new();
    (&server).read_to_string(&mut text).expect("the end, by dropping the writing half");
    (&server).write_all(b"answer").expect("write");
    drop(server);
    read.read_to_string(&mut text).expect("read");
    assert_eq!(text, "questionanswer");
    let (one, other) = (pair(&stack), pair(&stack));
    let (read, write) = one.0.into_split();
    let (other_read, other_write) = other.0.into_split();
    let (read, other_write) = read.reunite(other_write).expect_err("of two streams");
    let whole = read.reunite(write).expect("of one stream");
    (&whole).write_all(b"still open").expect("write");
    other_read.reunite(other_write).expect("of one stream");
}

#[test]
fn incoming_may_own_its_listener() {
    let stack = stack();
    let listener = TcpListener::bind_with_backlog(&stack, "127.0.0.1:0", 2).expect("bind");
    let name = listener.local_addr().expect("name");
    let clients: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(&stack, name).expect("connect")).collect();
    let accepted: Vec<_> = listener.into_incoming().take(2).collect();
    assert!(accepted.iter().all(Result::is_ok) && clients.len() == 2);
    assert_eq!(TcpStream::connect(&stack, name).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// conformance: 1122-4.1.3.5-specdst
#[test]
fn a_datagram_tells_where_it_came_to() {
    let stack = stack();
    let receiver = UdpSocket::bind(&stack, "0.0.0.0:53").expect("bind");
    let sender = UdpSocket::bind(&stack, "0.0.0.0:0").expect("bind");
    sender.set_ttl(9).expect("ttl");
    let own = "10.0.0.1".parse().expect("valid");
    for to in ["127.0.0.1:53", "10.0.0.1:53"] {
        sender.send_to(b"x", to).expect("send");
        let (_, _, info) = receiver.recv_with_info(&mut [0; 8]).expect("recv");
        assert_eq!((info.local, info.ttl), (Some(addr(to).ip()), Some(9)));
    }
    let info = PacketInfo { local: Some(own), ttl: Some(3), tos: Some(0x20) };
    sender.send_with_info(b"x", "127.0.0.1:53", info).expect("send");
    let (_, from, seen) = receiver.recv_with_info(&mut [0; 8]).expect("recv");
    assert_eq!((from.ip(), seen.ttl, seen.tos), (own, Some(3), Some(0x20)));
    let foreign = PacketInfo { local: Some("192.0.2.9".parse().expect("valid")), ..PacketInfo::default() };
    let refused = sender.send_with_info(b"x", "127.0.0.1:53", foreign).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[test]
fn options_have_names_too() {
    let stack = stack();
    let (client, server) = pair(&stack);
    client.set_linger(Some(Duration::from_secs(2))).expect("linger");
    assert_eq!(client.linger().expect("linger"), Some(Duration::from_secs(2)));
    client.set_linger(None).expect("linger");
    client.set_keepalive(true).expect("keepalive");
    client.set_keepalive_idle(Duration::from_secs(30)).expect("idle");
    client.set_keepalive_interval(Duration::from_secs(5)).expect("interval");
    client.set_keepalive_count(4).expect("count");
    client.set_user_timeout(Duration::from_millis(9500)).expect("user timeout");
    assert_eq!(client.keepalive_idle().expect("idle"), Duration::from_secs(30));
    assert_eq!(client.keepalive_interval().expect("interval"), Duration::from_secs(5));
    assert_eq!((client.keepalive().expect("on"), client.keepalive_count().expect("count")), (true, 4));
    assert_eq!(client.user_timeout().expect("user timeout"), Duration::from_millis(9500));
    client.set_send_buffer_size(30_000).expect("size");
    client.set_recv_buffer_size(40_000).expect("size");
    assert_eq!(client.send_buffer_size().expect("size"), 60_000);
    assert_eq!(client.recv_buffer_size().expect("size"), 80_000);
    client.set_tos(0x10).expect("tos");
    assert_eq!(client.tos().expect("tos"), 0x10);
    let info = server.info().expect("info");
    assert_eq!((info.state, info.sack, info.timestamps), ("ESTABLISHED", true, true));
    let listener = TcpListener::bind(&stack, "[::]:7").expect("bind");
    assert!(!listener.only_v6().expect("option"));
}

#[test]
fn settings_change_at_run_time() {
    let stack = Stack::builder().setting("ip_default_ttl", "17").start().expect("start");
    assert_eq!(stack.setting("ip_default_ttl").as_deref(), Some("17"));
    assert_eq!(UdpSocket::bind(&stack, "127.0.0.1:0").expect("bind").ttl().expect("ttl"), 17);
    stack.set_setting("ip_default_ttl", "18").expect("set");
    assert_eq!(UdpSocket::bind(&stack, "127.0.0.1:0").expect("bind").ttl().expect("ttl"), 18);
    let error = stack.set_setting("ip_default_ttl", "0").unwrap_err();
    assert_eq!(error.to_string(), "'0' is no value for ip_default_ttl: expected 1 to 255");
    let error = Stack::builder().setting("no_such", "1").start().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::InvalidInput, "no setting is called 'no_such'".into())
    );
    let error = Stack::builder().address("224.0.0.1/24".parse().expect("valid")).start().unwrap_err();
    assert_eq!(error.to_string(), "224.0.0.1/24 is no address a host can have");
}

#[test]
fn a_stack_shows_what_it_is() {
    let stack = stack();
    let cidr = "fd00::1/64".parse().expect("valid");
    stack.add_address(cidr).expect("add");
    assert_eq!(stack.addresses(), ["10.0.0.1/24".parse().expect("valid"), cidr]);
    assert_eq!(
        stack.source_for("10.0.0.9".parse().expect("valid")).expect("on link").to_string(),
        "10.0.0.1"
    );
    assert_eq!(
        stack.source_for("192.0.2.1".parse().expect("valid")).unwrap_err().kind(),
        ErrorKind::NetworkUnreachable
    );
    stack
        .add_route("0.0.0.0/0".parse().expect("valid"), Some("10.0.0.254".parse().expect("valid")))
        .expect("route");
    assert_eq!(stack.gateways().0, Some("10.0.0.254".parse().expect("valid")));
    stack.source_for("192.0.2.1".parse().expect("valid")).expect("a route");
    let _pair = pair(&stack);
    let states: Vec<&str> = stack.sockets().iter().map(|line| line.state).collect();
    assert_eq!(states.iter().filter(|state| **state == "ESTABLISHED").count(), 2, "{states:?}");
    assert!(
        stack.counters().get("TcpPassiveOpens") == Some(1) && stack.now() > tunstack::base::Instant::ZERO
    );
    stack.remove_address(cidr).expect("remove");
    assert_eq!(stack.with_host(|host, _| Ok(host.addresses().len())).expect("alive"), 1);
}
