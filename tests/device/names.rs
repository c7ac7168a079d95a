//! Names over our own UDP and TCP, asked of a real name server: dnsmasq on the kernel's side of the device.

use super::harness::{self, Test, test};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tunstack::netdb::{
    AiFlags, Family, Files, GaiError, Hints, HostError, Netdb, ResolvConf, SockType, Sources,
};
use tunstack::runtime::Stack;
use tunstack::socket::{TcpListener, TcpStream};

pub const TESTS: &[Test] = &[
    test("dnsmasq_answers_over_both_families", answers),
    test("dnsmasq_outcomes_have_their_errors", outcomes),
    test("dnsmasq_sends_long_answers_over_tcp", long_answers),
    test("dnsmasq_names_addresses", reverse),
    test("dnsmasq_is_found_after_dead_servers", dead_servers),
    test("dnsmasq_completes_short_names", search),
    test("dnsmasq_serves_names_given_to_sockets", sockets),
];

/// A name server that ends with the test.
struct Dnsmasq(Child);

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct World {
    stack: Stack,
    _server: Dnsmasq,
}

/// A namespace with a stack and a name server in it, up and answering.
fn world() -> World {
    harness::private();
    let address = |text: &str| text.parse().expect("valid");
    let stack = Stack::builder()
        .address(address("10.9.0.2/24"))
        .address(address("fd09::2/64"))
        .tun("tun0")
        .start()
        .unwrap_or_else(|error| harness::skip(&error.to_string()));
    let server = dnsmasq();
    let up = Instant::now() + Duration::from_secs(20);
    while find(&netdb(&stack, &["10.9.0.1:53"]), "one.test").is_err() {
        assert!(Instant::now() < up, "dnsmasq does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    World { stack, _server: server }
}

fn dnsmasq() -> Dnsmasq {
    let many = (0..60).map(|n| format!("--host-record=many.test,10.9.1.{n}"));
    let words = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--group=root",
        "--pid-file=",
        "--log-facility=-",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=10.9.0.1,fd09::1",
        "--local=/test/",
        "--host-record=one.test,10.9.0.50,fd09::50",
        "--host-record=six.test,fd09::66",
        "--cname=alias.test,one.test",
    ];
    let child =
        Command::new("dnsmasq").args(words).args(many).stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
            harness::skip(&format!("dnsmasq cannot be run ({error}): apt install dnsmasq-base"))
        });
    Dnsmasq(child)
}

fn conf(servers: &[&str]) -> ResolvConf {
    ResolvConf {
        nameservers: servers.iter().map(|server| server.parse().expect("valid")).collect(),
        timeout: Duration::from_millis(500),
        ..ResolvConf::default()
    }
}

fn sources(conf: ResolvConf) -> Sources {
    Sources { files: Files::below("/nonexistent".as_ref()), resolv_conf: Some(conf) }
}

fn netdb(stack: &Stack, servers: &[&str]) -> Netdb {
    Netdb::with(stack, sources(conf(servers)))
}

fn hints(family: Option<Family>) -> Hints {
    Hints { flags: AiFlags::CANONNAME, family, socktype: Some(SockType::Stream), protocol: 0 }
}

fn find(netdb: &Netdb, name: &str) -> Result<Vec<String>, GaiError> {
    let list = netdb.getaddrinfo(Some(name), Some("80"), &hints(None))?;
    Ok(list.iter().map(|info| info.address.to_string()).collect())
}

fn answers() {
    let world = world();
    for server in ["10.9.0.1:53", "[fd09::1]:53"] {
        let netdb = netdb(&world.stack, &[server]);
        assert_eq!(find(&netdb, "one.test").expect("found"), ["10.9.0.50:80", "[fd09::50]:80"], "{server}");
        let alias = netdb.getaddrinfo(Some("alias.test"), None, &hints(Some(Family::Inet))).expect("found");
        assert_eq!(alias[0].canonname.as_deref(), Some("one.test"));
        let host = netdb.gethostbyname_ex("alias.test").expect("found");
        assert_eq!((host.name.as_str(), host.aliases), ("one.test", vec!["alias.test".to_owned()]));
        assert_eq!(netdb.gethostbyname("one.test").expect("found").to_string(), "10.9.0.50");
    }
}

fn outcomes() {
    let world = world();
    let netdb = netdb(&world.stack, &["10.9.0.1:53"]);
    assert_eq!(find(&netdb, "nosuch.test"), Err(GaiError::NoName));
    let four = netdb.getaddrinfo(Some("six.test"), None, &hints(Some(Family::Inet)));
    assert_eq!(four, Err(GaiError::NoData));
    assert_eq!(netdb.gethostbyname("six.test"), Err(HostError::NoData));
    // Without a server above it, dnsmasq refuses what is not its own.
    assert_eq!(find(&netdb, "elsewhere.example"), Err(GaiError::Again));
    assert_eq!(netdb.gethostbyaddr(IpAddr::from([10, 9, 0, 99])), Err(HostError::TryAgain));
}

fn long_answers() {
    let world = world();
    let found = find(&netdb(&world.stack, &["10.9.0.1:53"]), "many.test").expect("found");
    assert_eq!(found.len(), 60, "an answer of more than 512 octets is whole");
    let over_tcp = ResolvConf { use_tcp: true, ..conf(&["[fd09::1]:53"]) };
    let found = find(&Netdb::with(&world.stack, sources(over_tcp)), "one.test").expect("found");
    assert_eq!(found.len(), 2);
}

fn reverse() {
    let world = world();
    let netdb = netdb(&world.stack, &["10.9.0.1:53"]);
    for address in ["10.9.0.50", "fd09::50"] {
        let host = netdb.gethostbyaddr(address.parse().expect("valid")).expect("found");
        assert_eq!((host.name.as_str(), host.addresses[0].to_string().as_str()), ("one.test", address));
    }
    assert_eq!(netdb.getfqdn("10.9.0.50"), "one.test");
    let name = netdb.getnameinfo("[fd09::66]:80".parse().expect("valid"), Default::default());
    assert_eq!(name, Ok(("six.test".to_owned(), "http".to_owned())));
}

fn dead_servers() {
    let world = world();
    // A port where nobody listens is known at once, an address where nobody is after the timeout.
    let start = Instant::now();
    let patient = ResolvConf { timeout: Duration::from_secs(20), ..conf(&["10.9.0.1:54", "10.9.0.1:53"]) };
    assert!(find(&Netdb::with(&world.stack, sources(patient)), "one.test").is_ok());
    assert!(start.elapsed() < Duration::from_secs(10), "the refusal was heard");
    assert!(find(&netdb(&world.stack, &["10.9.0.77:53", "10.9.0.1:53"]), "one.test").is_ok());
    assert_eq!(find(&netdb(&world.stack, &["10.9.0.77:53"]), "one.test"), Err(GaiError::Again));
}

fn search() {
    let world = world();
    let short = ResolvConf { search: vec!["nosuch.test".into(), "test".into()], ..conf(&["10.9.0.1:53"]) };
    let netdb = Netdb::with(&world.stack, sources(short));
    let found = netdb.getaddrinfo(Some("one"), None, &hints(None)).expect("found");
    assert_eq!(found[0].canonname.as_deref(), Some("one.test"));
    assert_eq!(find(&netdb, "one."), Err(GaiError::Again), "an absolute name is not searched for");
}

fn sockets() {
    let world = world();
    world.stack.set_resolver(std::sync::Arc::new(sources(conf(&["10.9.0.1:53"]))));
    let listener = TcpListener::bind(&world.stack, "10.9.0.2:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    assert_eq!(world.stack.lookup("one.test").expect("found").len(), 2);
    let stream = TcpStream::connect(&world.stack, ("localhost", port));
    assert!(stream.is_err(), "nobody listens on loopback");
    let error = TcpStream::connect(&world.stack, "nosuch.test:80").expect_err("no such name");
    assert_eq!(GaiError::of(&error), Some(GaiError::NoName));
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(error.to_string(), "failed to lookup address information: Name or service not known");
    // Without a server above it, dnsmasq refuses what is not its own.
    let error = world.stack.lookup("elsewhere.example").expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    let name = world.stack.link_name().expect("an interface");
    let found = netdb(&world.stack, &[]).getaddrinfo(Some(&format!("fe80::1%{name}")), None, &hints(None));
    assert_eq!(found.expect("numeric")[0].address.ip().to_string(), "fe80::1");
}
