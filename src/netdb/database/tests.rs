//! The look-ups over files of their own and a scripted name server. Tables hold what Python's `socket` module, over
//! glibc, gives for the same arguments.

use super::*;
use crate::base::Instant;
use crate::netdb::SockType;
use crate::netdb::resolver::Step;
use simple_dns::rdata::{A, AAAA, CNAME, PTR, RData};
use simple_dns::{CLASS, Name, Packet, QTYPE, RCODE, ResourceRecord, TYPE};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A network whose server answers from a small zone and remembers what it was asked.
#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<String>>>,
    addresses: Vec<IpAddr>,
}

impl Network for Script {
    fn run(&self, mut lookup: Lookup) -> Result<Records, HostError> {
        let mut answers = Vec::new();
        loop {
            match lookup.poll(Instant::ZERO) {
                Step::Send { server, message } => answers.push((server, self.answer(&message))),
                Step::Stream { message, .. } => lookup.on_stream(Some(&self.answer(&message))),
                Step::Wait(_) => {
                    let (server, answer) = answers.pop().expect("something is to come");
                    assert!(lookup.on_datagram(server, &answer));
                }
                Step::Done(result) => return result,
            }
        }
    }

    fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        if destination.is_loopback() {
            return Some(destination);
        }
        let family = Family::of(destination);
        self.addresses.iter().copied().find(|&own| Family::of(own) == family)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.clone()
    }

    fn scope_of(&self, interface: &str) -> Option<u32> {
        (interface == "tun0").then_some(1)
    }
}

impl Script {
    fn answer(&self, message: &[u8]) -> Vec<u8> {
        let mut packet = Packet::parse(message).expect("a query").into_reply();
        let question = packet.questions[0].clone();
        let name = question.qname.to_string();
        self.asked.lock().expect("no panic").push(name.clone());
        let mut known = true;
        let rdata = match (name.as_str(), question.qtype) {
            ("both.example" | "both.corp.example", QTYPE::TYPE(TYPE::A)) => vec![v4(1)],
            ("both.example" | "both.corp.example", QTYPE::TYPE(TYPE::AAAA)) => vec![v6(1)],
            ("four.example", QTYPE::TYPE(TYPE::A)) => vec![v4(4), v4(5)],
            ("four.example" | "empty.example", _) => vec![],
            ("broken.example", _) => {
                *packet.rcode_mut() = RCODE::ServerFailure;
                vec![]
            }
            ("alias.example", QTYPE::TYPE(TYPE::A)) => {
                let target = Name::new("four.example").expect("valid");
                packet.answers.push(ResourceRecord::new(target.clone(), CLASS::IN, 1, v4(4)));
                vec![RData::CNAME(CNAME(target))]
            }
            ("1.113.0.203.in-addr.arpa", QTYPE::TYPE(TYPE::PTR)) => ["short", "full.example"]
                .map(|name| RData::PTR(PTR(Name::new(name).expect("valid"))))
                .to_vec(),
            ("9.113.0.203.in-addr.arpa", _) => {
                *packet.rcode_mut() = RCODE::ServerFailure;
                vec![]
            }
            _ => {
                known = false;
                vec![]
            }
        };
        if !known {
            *packet.rcode_mut() = RCODE::NameError;
        }
        for rdata in rdata {
            packet.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, rdata));
        }
        packet.build_bytes_vec_compressed().expect("it fits")
    }
}

fn v4(last: u8) -> RData<'static> {
    RData::A(A { address: u32::from_be_bytes([203, 0, 113, last]) })
}

fn v6(last: u8) -> RData<'static> {
    RData::AAAA(AAAA { address: 0x2001_0db8 << 96 | u128::from(last) })
}

/// A directory that is gone with the value.
struct Root(PathBuf);

impl Root {
    fn new(files: &[(&str, &str)]) -> Root {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("tunstack-netdb-{}-{number}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        Root(root)
    }

    fn sources(&self) -> Sources {
        Sources { files: Files::below(&self.0), resolv_conf: None }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const HOSTS: &str =
    "127.0.0.1 localhost\n10.9.0.1 gate.corp.example gate\nfd09::1 gate.corp.example\n10.9.0.7 dotless\n";

struct World {
    netdb: Netdb,
    script: Script,
    _root: Root,
}

fn world() -> World {
    let root = Root::new(&[
        ("etc/hosts", HOSTS),
        ("etc/resolv.conf", "nameserver 192.0.2.53\nsearch corp.example"),
        ("proc/sys/kernel/hostname", "dotless\n"),
    ]);
    let script = Script {
        addresses: vec![IpAddr::from([10, 9, 0, 2]), "2001:db8::2".parse().expect("valid")],
        ..Script::default()
    };
    let netdb = Netdb::over(Box::new(script.clone()), root.sources());
    World { netdb, script, _root: root }
}

/// The result of `getaddrinfo` as one line: `address:port/type/protocol` each.
fn gai(netdb: &Netdb, host: Option<&str>, service: Option<&str>, hints: Hints) -> Result<String, GaiError> {
    let list = netdb.getaddrinfo(host, service, &hints)?;
    let shown = list.iter().map(|info| {
        let kind = match info.socktype {
            SockType::Stream => 's',
            SockType::Dgram => 'd',
            SockType::Raw => 'r',
        };
        assert_eq!(Family::of(info.address.ip()), info.family);
        format!("{}/{kind}/{}", info.address, info.protocol)
    });
    Ok(shown.collect::<Vec<_>>().join(" "))
}

fn hints(family: u8, socktype: u8, protocol: u8, flags: u32) -> Hints {
    Hints {
        flags: AiFlags::from_bits_retain(flags),
        family: [None, Some(Family::Inet), Some(Family::Inet6)][usize::from(family)],
        socktype: [None, Some(SockType::Stream), Some(SockType::Dgram), Some(SockType::Raw)]
            [usize::from(socktype)],
        protocol,
    }
}

/// host, service, (family, type, protocol, flags), result.
type Row<'a> = (&'a str, &'a str, (u8, u8, u8, u32), Result<&'a str, GaiError>);

#[test]
fn numeric_arguments_give_what_glibc_gives() {
    use GaiError::{AddrFamily, BadFlags, NoName, Service, SockType};
    let all = "127.0.0.1:80/s/6 127.0.0.1:80/d/17 127.0.0.1:80/r/0";
    let table: &[Row<'_>] = &[
        (
            "-",
            "80",
            (0, 0, 0, 0),
            Ok("[::1]:80/s/6 [::1]:80/d/17 [::1]:80/r/0 127.0.0.1:80/s/6 127.0.0.1:80/d/17 127.0.0.1:80/r/0"),
        ),
        ("-", "http", (0, 0, 0, 1), Ok("0.0.0.0:80/s/6 [::]:80/s/6")),
        ("127.1", "http", (0, 0, 0, 0), Ok("127.0.0.1:80/s/6")),
        ("0x7f.1", "80", (0, 0, 0, 0), Ok(all)),
        ("127.0.0.1", "-1", (0, 0, 0, 0), Err(Service)),
        ("::1", "80", (0, 1, 0, 0), Ok("[::1]:80/s/6")),
        ("::1", "80", (1, 0, 0, 0), Err(AddrFamily)),
        ("127.0.0.1", "80", (2, 0, 0, 0), Err(AddrFamily)),
        ("127.0.0.1", "80", (2, 1, 0, 8), Ok("[::ffff:127.0.0.1]:80/s/6")),
        ("::ffff:1.2.3.4", "80", (1, 1, 0, 0), Ok("1.2.3.4:80/s/6")),
        ("127.0.0.1", "nosuch", (0, 0, 0, 0), Err(Service)),
        ("127.0.0.1", "http", (0, 2, 0, 0), Err(Service)),
        ("127.0.0.1", "http", (0, 3, 0, 0), Err(Service)),
        ("127.0.0.1", "80", (0, 3, 0, 0), Err(Service)),
        ("127.0.0.1", "80", (0, 3, 1, 0), Err(Service)),
        ("127.0.0.1", "-", (0, 3, 1, 0), Ok("127.0.0.1:0/r/1")),
        ("127.0.0.1", "80", (0, 1, 17, 0), Err(SockType)),
        ("127.0.0.1", "80", (0, 0, 17, 0), Ok("127.0.0.1:80/d/17")),
        ("127.0.0.1", "80", (0, 0, 99, 0), Err(Service)),
        ("x", "80", (0, 0, 0, 4), Err(NoName)),
        ("127.0.0.1", "http", (0, 0, 0, 0x400), Err(NoName)),
        ("-", "-", (0, 0, 0, 0), Err(NoName)),
        ("-", "80", (0, 0, 0, 2), Err(BadFlags)),
        ("1.2.3.4", "80", (0, 1, 0, 0x10000), Err(BadFlags)),
        ("127.0.0.1 ", "80", (0, 1, 0, 4), Err(NoName)),
        ("fe80::1%3", "80", (0, 1, 0, 0), Ok("[fe80::1%3]:80/s/6")),
        ("fe80::1%zz", "80", (0, 1, 0, 0), Err(NoName)),
        ("fe80::1%", "80", (0, 1, 0, 0), Err(NoName)),
        ("fe80::1%tun0", "80", (0, 1, 0, 0), Ok("[fe80::1%1]:80/s/6")),
        ("ff02::1%tun0", "80", (0, 1, 0, 0), Ok("[ff02::1%1]:80/s/6")),
        ("2001:db8::1%tun0", "80", (0, 1, 0, 0), Err(NoName)),
        ("2001:db8::1%1", "80", (0, 1, 0, 0), Ok("[2001:db8::1%1]:80/s/6")),
        ("*", "80", (0, 1, 0, 0), Ok("[::1]:80/s/6 127.0.0.1:80/s/6")),
        ("1.2.3.4", "*", (0, 1, 0, 0), Ok("1.2.3.4:0/s/6")),
        ("*", "*", (0, 1, 0, 0), Err(NoName)),
        ("-bad", "80", (0, 1, 0, 0), Err(NoName)),
        ("127.0.0.1 ", "80", (0, 1, 0, 0), Err(NoName)),
        (" 127.0.0.1", "80", (0, 1, 0, 0), Err(NoName)),
        ("a b", "80", (0, 1, 0, 0), Err(NoName)),
        ("*.x", "80", (0, 1, 0, 0), Err(NoName)),
        ("a%b", "80", (0, 1, 0, 0), Err(NoName)),
        ("1.2.3.4", "", (0, 1, 0, 0), Ok("1.2.3.4:0/s/6")),
        ("1.2.3.4", " 80", (0, 1, 0, 0), Ok("1.2.3.4:80/s/6")),
        ("1.2.3.4", "+80", (0, 1, 0, 0), Ok("1.2.3.4:80/s/6")),
        ("1.2.3.4", "0x50", (0, 1, 0, 0), Err(Service)),
        ("1.2.3.4", "80 ", (0, 1, 0, 0), Err(Service)),
        // glibc would cut this to port 4464.
        ("1.2.3.4", "70000", (0, 1, 0, 0), Err(Service)),
        ("1.2.3.4", "domain", (0, 0, 0, 0), Ok("1.2.3.4:53/s/6 1.2.3.4:53/d/17")),
        ("1.2.3.4", "ssh", (0, 0, 6, 0), Ok("1.2.3.4:22/s/6")),
        ("1.2.3.4", "ssh", (0, 0, 17, 0), Err(Service)),
        ("", "80", (0, 1, 0, 0), Err(NoName)),
        ("bücher.example", "80", (0, 1, 0, 0), Err(GaiError::IdnEncode)),
    ];
    let world = world();
    for &(host, service, (family, socktype, protocol, flags), expected) in table {
        let optional = |text| if text == "-" { None } else { Some(text) };
        let hints = hints(family, socktype, protocol, flags);
        let result = gai(&world.netdb, optional(host), optional(service), hints);
        assert_eq!(result.as_deref(), expected.as_ref().copied(), "{host:?} {service:?} {hints:?}");
    }
    assert!(world.script.asked.lock().expect("no panic").is_empty(), "nothing was asked for in the DNS");
}

#[test]
fn names_come_from_the_hosts_file_then_from_the_dns() {
    use GaiError::{Again, NoData, NoName};
    let stream = (0, 1, 0, 0);
    let table: &[Row<'_>] = &[
        ("localhost", "80", stream, Ok("127.0.0.1:80/s/6")),
        ("a.localhost", "80", stream, Ok("[::1]:80/s/6 127.0.0.1:80/s/6")),
        ("gate", "80", (1, 1, 0, 0), Ok("10.9.0.1:80/s/6")),
        ("GATE.corp.example.", "80", (2, 1, 0, 0), Ok("[fd09::1]:80/s/6")),
        ("both.example", "80", stream, Ok("[2001:db8::1]:80/s/6 203.0.113.1:80/s/6")),
        ("both", "80", (1, 1, 0, 0), Ok("203.0.113.1:80/s/6")),
        ("four.example", "80", stream, Ok("203.0.113.4:80/s/6 203.0.113.5:80/s/6")),
        ("four.example", "80", (2, 1, 0, 0), Err(NoData)),
        ("four.example", "80", (2, 1, 0, 8), Ok("[::ffff:203.0.113.4]:80/s/6 [::ffff:203.0.113.5]:80/s/6")),
        ("both.example", "80", (2, 1, 0, 8), Ok("[2001:db8::1]:80/s/6")),
        ("both.example", "80", (2, 1, 0, 0x18), Ok("[2001:db8::1]:80/s/6 [::ffff:203.0.113.1]:80/s/6")),
        ("empty.example", "80", stream, Err(NoData)),
        ("broken.example", "80", stream, Err(Again)),
        ("nosuch.example", "80", stream, Err(NoName)),
        ("a..b", "80", stream, Err(NoName)),
        ("127.0.0.1 ", "80", stream, Err(NoName)),
    ];
    let world = world();
    for &(host, service, (family, socktype, protocol, flags), expected) in table {
        let hints = hints(family, socktype, protocol, flags);
        let result = gai(&world.netdb, Some(host), Some(service), hints);
        assert_eq!(result.as_deref(), expected.as_ref().copied(), "{host:?} {hints:?}");
    }
    let asked = world.script.asked.lock().expect("no panic");
    assert!(!asked.iter().any(|name| name.contains("local") || name.starts_with("gate")), "{asked:?}");
}

#[test]
fn the_canonical_name_stands_in_the_first_entry() {
    let world = world();
    let table = [
        ("1.2.3.4", "1.2.3.4"),
        ("gate", "gate.corp.example"),
        ("alias.example", "four.example"),
        ("localhost", "localhost"),
    ];
    for (host, expected) in table {
        let list = world.netdb.getaddrinfo(Some(host), None, &hints(0, 0, 0, 2)).expect("found");
        assert_eq!(list[0].canonname.as_deref(), Some(expected), "{host}");
        assert!(list.len() >= 3 && list[1..].iter().all(|info| info.canonname.is_none()));
    }
}

#[test]
fn addrconfig_asks_only_for_families_the_stack_has() {
    let mut world = world();
    let run = |world: &World, family| {
        gai(&world.netdb, Some("both.example"), None, hints(family, 1, 0, 0x20)).map(|text| text.len())
    };
    let one_family = Script { addresses: vec![IpAddr::from([10, 9, 0, 2])], ..Script::default() };
    world.netdb.network = Box::new(one_family.clone());
    assert_eq!(run(&world, 0), Ok("203.0.113.1:0/s/6".len()));
    assert_eq!(one_family.asked.lock().expect("no panic").as_slice(), ["both.example"]);
    assert_eq!(run(&world, 2), Err(GaiError::NoName));
    let none = Script { addresses: vec![IpAddr::from([127, 0, 0, 1])], ..Script::default() };
    world.netdb.network = Box::new(none);
    assert_eq!(run(&world, 0).map(|length| length > 20), Ok(true), "both families where there is neither");
}

#[test]
fn gethostbyname_gives_ipv4_and_its_own_errors() {
    let netdb = &world().netdb;
    let table: &[(&str, Result<&str, HostError>)] = &[
        ("1.2", Ok("1.0.0.2")),
        ("", Ok("0.0.0.0")),
        ("<broadcast>", Ok("255.255.255.255")),
        ("gate", Ok("10.9.0.1")),
        ("both.example", Ok("203.0.113.1")),
        ("empty.example", Err(HostError::NoData)),
        ("nosuch.example", Err(HostError::NotFound)),
        ("broken.example", Err(HostError::TryAgain)),
        ("-broken.example", Err(HostError::NotFound)),
        ("broken_.example", Err(HostError::NotFound)),
    ];
    for &(name, expected) in table {
        let result = netdb.gethostbyname(name).map(|address| address.to_string());
        assert_eq!(result.as_deref(), expected.as_ref().copied(), "{name}");
    }
    let alias = netdb.gethostbyname_ex("alias.example").expect("found");
    assert_eq!(
        (alias.name.as_str(), alias.aliases.as_slice()),
        ("four.example", &["alias.example".to_owned()][..])
    );
}

#[test]
fn an_address_has_a_name() {
    let netdb = &world().netdb;
    let by = |text: &str| netdb.gethostbyaddr(text.parse().expect("valid"));
    let gate = by("10.9.0.1").expect("in the hosts file");
    assert_eq!(
        (gate.name.as_str(), gate.aliases.as_slice()),
        ("gate.corp.example", &["gate".to_owned()][..])
    );
    let public = by("203.0.113.1").expect("in the DNS");
    assert_eq!(
        (public.name.as_str(), public.aliases.as_slice()),
        ("short", &["full.example".to_owned()][..])
    );
    assert_eq!(public.addresses, [IpAddr::from([203, 0, 113, 1])]);
    assert_eq!(by("203.0.113.2"), Err(HostError::NotFound));
    assert_eq!(by("203.0.113.9"), Err(HostError::TryAgain));
}

#[test]
fn getfqdn_is_pythons() {
    let netdb = &world().netdb;
    let table = [
        ("gate", "gate.corp.example"),
        ("10.9.0.1", "gate.corp.example"),
        ("203.0.113.1", "full.example"),
        ("nosuch.example", "nosuch.example"),
        ("", "dotless"),
        ("0.0.0.0", "dotless"),
    ];
    for (name, expected) in table {
        assert_eq!(netdb.getfqdn(name), expected, "{name}");
    }
}

#[test]
fn getnameinfo_falls_back_to_numbers_unless_a_name_is_required() {
    let netdb = &world().netdb;
    let (n_host, n_serv, nofqdn, namereqd, dgram) = (1, 2, 4, 8, 16);
    type Row<'a> = (&'a str, u32, Result<(&'a str, &'a str), GaiError>);
    let table: &[Row<'_>] = &[
        ("10.9.0.1:80", 0, Ok(("gate.corp.example", "http"))),
        ("[::ffff:10.9.0.1]:80", 0, Ok(("gate.corp.example", "http"))),
        ("10.9.0.1:80", n_host | n_serv, Ok(("10.9.0.1", "80"))),
        ("203.0.113.2:53", 0, Ok(("203.0.113.2", "domain"))),
        ("203.0.113.2:53", namereqd, Err(GaiError::NoName)),
        ("203.0.113.2:53", namereqd | n_host, Err(GaiError::NoName)),
        ("203.0.113.9:53", 0, Err(GaiError::Again)),
        ("10.9.0.1:123", n_host, Ok(("10.9.0.1", "123"))),
        ("10.9.0.1:123", n_host | dgram, Ok(("10.9.0.1", "ntp"))),
        ("10.9.0.1:65000", nofqdn, Ok(("gate.corp.example", "65000"))),
        ("[fe80::1%7]:22", n_host, Ok(("fe80::1%7", "ssh"))),
        ("10.9.0.1:80", 0x100, Err(GaiError::BadFlags)),
    ];
    for &(address, flags, expected) in table {
        let result = netdb.getnameinfo(address.parse().expect("valid"), NiFlags::from_bits_retain(flags));
        let result = result.as_ref().map(|(host, service)| (host.as_str(), service.as_str())).map_err(|e| *e);
        assert_eq!(result, expected, "{address} {flags}");
    }
}

#[test]
fn the_local_domain_is_left_out_on_request() {
    let root = Root::new(&[("etc/hosts", HOSTS), ("proc/sys/kernel/hostname", "me.corp.example")]);
    let netdb = Netdb::over(Box::new(Script::default()), root.sources());
    let name = netdb.getnameinfo("10.9.0.1:80".parse().expect("valid"), NiFlags::NOFQDN).expect("found");
    assert_eq!(name.0, "gate");
    assert_eq!(netdb.resolv_conf().search, ["corp.example"], "the domain of the host's name is searched");
}

#[test]
fn tables_are_built_in_where_files_are_absent_and_replaced_where_present() {
    let world = world();
    assert_eq!(world.netdb.getservbyname("mysql", Some("tcp")).expect("built in").port, 3306);
    assert_eq!(world.netdb.getservbyport(22, Some("tcp")).expect("built in").name, "ssh");
    assert_eq!(world.netdb.getprotobyname("icmp").expect("built in").number, 1);
    assert_eq!(world.netdb.gethostname(), "dotless");
    let root = Root::new(&[("etc/services", "mine 4000/tcp\n"), ("etc/protocols", "odd 200\n")]);
    let netdb = Netdb::over(Box::new(Script::default()), root.sources());
    assert_eq!(netdb.getservbyname("mine", None).expect("in the file").port, 4000);
    assert_eq!(netdb.getservbyname("ssh", None), None);
    assert_eq!((netdb.services().len(), netdb.protocols()[0].number), (1, 200));
    assert_eq!(netdb.gethostname(), "localhost");
}

#[test]
fn the_machines_own_loopback_is_no_name_server_of_the_stack() {
    let stub = ("etc/resolv.conf", "nameserver 127.0.0.53\noptions ndots:3");
    let upstream = ("run/systemd/resolve/resolv.conf", "nameserver 192.0.2.1\nnameserver 192.0.2.2");
    let servers = |files: &[(&str, &str)]| {
        let root = Root::new(files);
        let netdb = Netdb::over(Box::new(Script::default()), root.sources());
        let conf = netdb.resolv_conf();
        (conf.ndots, conf.nameservers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>())
    };
    assert_eq!(servers(&[stub, upstream]), (3, vec!["192.0.2.1".into(), "192.0.2.2".into()]));
    assert_eq!(servers(&[stub]), (3, vec!["127.0.0.53".into()]));
}
