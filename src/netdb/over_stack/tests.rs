//! Look-ups between two stacks on a wire in memory: one asks, the other is the name server.

use super::*;
use crate::link;
use crate::netdb::{Files, GaiError, ResolvConf};
use crate::socket::TcpListener;
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::path::Path;
use std::thread;

/// A stack that asks and one that answers, dropped together.
struct Wire {
    client: Stack,
    server: Stack,
}

impl Wire {
    fn new() -> Wire {
        let (a, b) = link::wire(1500).expect("descriptors left");
        let stack = |device, v4: &str, v6: &str| {
            let builder = Stack::builder().device(device);
            let builder = builder.address(v4.parse().expect("valid")).address(v6.parse().expect("valid"));
            builder.start().expect("a stack on a wire starts")
        };
        Wire { client: stack(a, "10.9.0.2/24", "fd09::2/64"), server: stack(b, "10.9.0.1/24", "fd09::1/64") }
    }

    fn netdb(&self, servers: &[&str], change: impl FnOnce(&mut ResolvConf)) -> Netdb {
        Netdb::with(&self.client, sources(servers, change))
    }
}

/// No files, and these servers.
fn sources(servers: &[&str], change: impl FnOnce(&mut ResolvConf)) -> Sources {
    let mut conf = ResolvConf {
        nameservers: servers.iter().map(|server| server.parse().expect("valid")).collect(),
        ..ResolvConf::default()
    };
    change(&mut conf);
    Sources { files: Files::below(Path::new("/nonexistent")), resolv_conf: Some(conf) }
}

/// A server on UDP and TCP port 53 of `address`. Its threads end with the stack.
fn serve(stack: &Stack, address: &str) {
    let udp = UdpSocket::bind(stack, (address.parse::<IpAddr>().expect("valid"), 53)).expect("a free port");
    let tcp = TcpListener::bind(stack, (address.parse::<IpAddr>().expect("valid"), 53)).expect("a free port");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let reply = answer(&buffer[..length], true);
            if udp.send_to(&reply, from).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            let mut query = Vec::new();
            let asked = stream.read_exact(&mut length).and_then(|()| {
                query.resize(u16::from_be_bytes(length).into(), 0);
                stream.read_exact(&mut query)
            });
            if asked.is_ok() {
                let reply = answer(&query, false);
                let length = (reply.len() as u16).to_be_bytes();
                // In two writes: the reader must not count on one segment.
                let _ = stream.write_all(&length).and_then(|()| stream.write_all(&reply));
            }
        }
    });
}

fn answer(query: &[u8], is_datagram: bool) -> Vec<u8> {
    let mut packet = Packet::parse(query).expect("a query").into_reply();
    let question = packet.questions[0].clone();
    let count = match question.qname.to_string().as_str() {
        "one.test" => 1,
        "many.test" => 60,
        _ => 0,
    };
    if count == 0 {
        *packet.rcode_mut() = RCODE::NameError;
    }
    for n in 0..count {
        let rdata = match question.qtype {
            QTYPE::TYPE(TYPE::A) => RData::A(A { address: 0x0a09_0064 + n }),
            _ => RData::AAAA(AAAA { address: 0xfd09 << 112 | u128::from(0x64 + n) }),
        };
        packet.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, rdata));
    }
    if is_datagram && count > 10 {
        packet.answers.clear();
        packet.set_flags(PacketFlag::TRUNCATION);
    }
    packet.build_bytes_vec_compressed().expect("it fits")
}

fn find(netdb: &Netdb, name: &str) -> Result<Vec<String>, GaiError> {
    let hints = Hints { socktype: Some(SockType::Stream), ..Hints::default() };
    let list = netdb.getaddrinfo(Some(name), None, &hints)?;
    Ok(list.iter().map(|info| info.address.ip().to_string()).collect())
}

#[test]
fn names_are_asked_for_over_our_udp() {
    let wire = Wire::new();
    serve(&wire.server, "10.9.0.1");
    serve(&wire.server, "fd09::1");
    for server in ["10.9.0.1:53", "[fd09::1]:53"] {
        let netdb = wire.netdb(&[server], |_| {});
        assert_eq!(find(&netdb, "one.test").expect("found"), ["10.9.0.100", "fd09::64"], "{server}");
        assert_eq!(find(&netdb, "nosuch.test"), Err(GaiError::NoName), "{server}");
    }
}

#[test]
fn a_truncated_answer_comes_over_tcp() {
    let wire = Wire::new();
    serve(&wire.server, "10.9.0.1");
    let netdb = wire.netdb(&["10.9.0.1:53"], |_| {});
    let found = find(&netdb, "many.test").expect("found");
    assert_eq!(found.len(), 64, "as many as are taken");
    let netdb = wire.netdb(&["10.9.0.1:53"], |conf| conf.use_tcp = true);
    assert_eq!(find(&netdb, "one.test").expect("found").len(), 2);
}

#[test]
fn a_refusing_server_costs_no_time_and_a_silent_one_its_timeout() {
    let wire = Wire::new();
    serve(&wire.server, "10.9.0.1");
    // 5 s of timeout: only a refusal can be quicker.
    let netdb = wire.netdb(&["10.9.0.1:54", "10.9.0.1:53"], |_| {});
    let start = wire.client.now();
    assert_eq!(find(&netdb, "one.test").expect("found").len(), 2);
    assert!(wire.client.now().since(start) < Duration::from_secs(2), "ICMP port unreachable was heard");

    let silent =
        UdpSocket::bind(&wire.server, ("10.9.0.1".parse::<IpAddr>().expect("valid"), 55)).expect("free");
    let quick = |conf: &mut ResolvConf| conf.timeout = core::time::Duration::from_millis(50);
    let netdb = wire.netdb(&["10.9.0.1:55", "10.9.0.1:53"], quick);
    assert_eq!(find(&netdb, "one.test").expect("found").len(), 2);
    let netdb = wire.netdb(&["10.9.0.1:55"], quick);
    assert_eq!(find(&netdb, "one.test"), Err(GaiError::Again));
    drop(silent);
}

#[test]
fn no_way_to_any_server_ends_at_once() {
    let wire = Wire::new();
    let netdb = wire.netdb(&["192.0.2.1:53", "[2001:db8::1]:53"], |_| {});
    let start = wire.client.now();
    assert_eq!(find(&netdb, "one.test"), Err(GaiError::Again));
    assert!(wire.client.now().since(start) < Duration::from_secs(2));
}

#[test]
fn sockets_look_up_the_names_they_are_given() {
    let wire = Wire::new();
    serve(&wire.server, "10.9.0.1");
    let nowhere = UdpSocket::bind(&wire.client, "one.test:0").expect_err("no resolver yet");
    assert!(nowhere.to_string().contains("one.test"), "{nowhere}");
    wire.client.set_resolver(std::sync::Arc::new(sources(&["10.9.0.1:53"], |_| {})));
    let target = UdpSocket::bind(&wire.client, "localhost:0").expect("the name is known");
    assert!(target.local_addr().expect("bound").ip().is_loopback());
    let found = wire.client.lookup("one.test").expect("found");
    assert_eq!(found, [IpAddr::from([10, 9, 0, 100]), "fd09::64".parse::<IpAddr>().expect("valid")]);
    let error = wire.client.lookup("nosuch.test").expect_err("no such name");
    assert_eq!(GaiError::of(&error), Some(GaiError::NoName));
}

#[test]
fn a_look_up_keeps_no_stack_alive() {
    for use_tcp in [false, true] {
        let Wire { client, server } = Wire::new();
        let address: IpAddr = "10.9.0.1".parse().expect("valid");
        // The server hears the question and says nothing.
        let udp = UdpSocket::bind(&server, (address, 53)).expect("free");
        let tcp = TcpListener::bind(&server, (address, 53)).expect("free");
        let netdb = Netdb::with(&client, sources(&["10.9.0.1:53"], |conf| conf.use_tcp = use_tcp));
        let asking = thread::spawn(move || (find(&netdb, "one.test"), netdb));
        let _held = use_tcp.then(|| tcp.accept().expect("the question comes"));
        if !use_tcp {
            udp.recv(&mut [0; 512]).expect("the question comes");
        }
        let start = std::time::Instant::now();
        drop(client);
        let (result, _netdb) = asking.join().expect("no panic");
        assert_eq!(result, Err(GaiError::Again));
        assert!(start.elapsed() < core::time::Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

#[test]
fn a_stack_that_ended_answers_no_look_up() {
    let (device, far) = link::wire(1500).expect("descriptors left");
    drop(far);
    let stack = Stack::builder().device(device).address("10.9.0.2/24".parse().expect("valid")).start();
    let netdb = Netdb::with(&stack.expect("starts"), sources(&["10.9.0.1:53"], |conf| conf.attempts = 1));
    assert_eq!(find(&netdb, "one.test"), Err(GaiError::Again));
}
