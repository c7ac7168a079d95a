//! The look-up as a dialogue in virtual time: what it asks of whom, and what it makes of what comes back.

use super::super::message::MAX_RESULTS;
use super::*;
use core::net::IpAddr;
use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// A look-up and what it sent last.
struct Talk {
    lookup: Lookup,
    now: Instant,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

fn conf(text: &str) -> ResolvConf {
    ResolvConf::parse(text)
}

fn one_server() -> ResolvConf {
    conf("nameserver 192.0.2.53")
}

fn two_servers() -> ResolvConf {
    conf("nameserver 192.0.2.53\nnameserver 2001:db8::53\noptions timeout:2 attempts:2")
}

impl Talk {
    fn host(conf: &ResolvConf, name: &str) -> Talk {
        let kinds = [Kind::A, Kind::Aaaa];
        Talk { lookup: Lookup::host(conf, name, &kinds, Rng::from_seed(1)), now: Instant::ZERO, sent: vec![] }
    }

    /// Sends what is due and returns the step after that.
    fn run(&mut self) -> Step {
        self.sent.clear();
        loop {
            match self.lookup.poll(self.now) {
                Step::Send { server, message } => self.sent.push((server, message)),
                other => return other,
            }
        }
    }

    /// The question of the message sent as number `index` of this round: name and type.
    fn asked(&self, index: usize) -> (String, QTYPE) {
        question(&self.sent[index].1)
    }

    /// Answers the message sent as number `index`, from the server it went to.
    fn answer(&mut self, index: usize, change: impl FnOnce(&mut Packet<'_>)) {
        let (server, message) = self.sent[index].clone();
        assert!(self.lookup.on_datagram(server, &reply(&message, change)), "the answer was taken");
    }

    fn wait_out(&mut self) {
        match self.lookup.poll(self.now) {
            Step::Wait(until) => self.now = until,
            other => panic!("expected to wait, got {other:?}"),
        }
    }

    fn done(&mut self) -> Result<Records, HostError> {
        match self.run() {
            Step::Done(result) => result,
            other => panic!("expected the end, got {other:?}"),
        }
    }
}

fn question(message: &[u8]) -> (String, QTYPE) {
    let packet = Packet::parse(message).expect("a query");
    (packet.questions[0].qname.to_string(), packet.questions[0].qtype)
}

fn reply(message: &[u8], change: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let mut packet = Packet::parse(message).expect("a query").into_reply();
    change(&mut packet);
    packet.build_bytes_vec_compressed().expect("it fits")
}

/// An address record of the kind asked for.
fn address(packet: &mut Packet<'_>) {
    let rdata = match packet.questions[0].qtype {
        QTYPE::TYPE(TYPE::A) => RData::A(A { address: 0xc000_0207 }),
        QTYPE::TYPE(TYPE::AAAA) => RData::AAAA(AAAA { address: 0x2001_0db8 << 96 | 7 }),
        _ => RData::PTR(PTR(Name::new("host.example").expect("valid"))),
    };
    packet.answers.push(ResourceRecord::new(packet.questions[0].qname.clone(), CLASS::IN, 1, rdata));
}

fn rcode(code: RCODE) -> impl Fn(&mut Packet<'_>) {
    move |packet| *packet.rcode_mut() = code
}

fn no_data(_: &mut Packet<'_>) {}

#[test]
fn both_families_are_asked_at_once_and_gathered() {
    let mut talk = Talk::host(&one_server(), "host.example");
    assert_eq!(talk.run(), Step::Wait(Instant::ZERO + Duration::from_secs(5)));
    assert_eq!(talk.sent.len(), 2);
    assert_eq!(talk.sent[0].0, "192.0.2.53:53".parse().expect("valid"));
    assert_eq!(talk.asked(0), ("host.example".into(), TYPE::A.into()));
    assert_eq!(talk.asked(1), ("host.example".into(), TYPE::AAAA.into()));
    assert_ne!(talk.sent[0].1[..2], talk.sent[1].1[..2], "each question has an id of its own");
    talk.answer(1, address);
    assert!(matches!(talk.lookup.poll(talk.now), Step::Wait(_)));
    talk.answer(0, address);
    let records = talk.done().expect("found");
    let expected: [IpAddr; 2] = ["2001:db8::7".parse().expect("valid"), IpAddr::from([192, 0, 2, 7])];
    assert!(expected.iter().all(|address| records.addresses.contains(address)));
    assert_eq!(records.name, "host.example");
}

#[test]
fn one_family_is_enough() {
    let mut talk = Talk::host(&one_server(), "host.example");
    talk.run();
    talk.answer(0, address);
    talk.answer(1, no_data);
    assert_eq!(talk.done().expect("found").addresses, [IpAddr::from([192, 0, 2, 7])]);
}

#[test]
fn outcomes_have_their_errors() {
    use HostError::{NoData, NoRecovery, NotFound, TryAgain};
    let table: [(RCODE, RCODE, HostError); 5] = [
        (RCODE::NameError, RCODE::NameError, NotFound),
        (RCODE::NoError, RCODE::NoError, NoData),
        (RCODE::NoError, RCODE::NameError, NoData),
        (RCODE::FormatError, RCODE::FormatError, NoRecovery),
        (RCODE::NoError, RCODE::ServerFailure, TryAgain),
    ];
    for (first, second, expected) in table {
        let mut talk = Talk::host(&one_server(), "host.example");
        talk.run();
        talk.answer(0, rcode(first));
        talk.answer(1, rcode(second));
        let mut result = talk.run();
        // A server failure is tried once more (two attempts).
        if !talk.sent.is_empty() {
            assert_eq!(talk.sent.len(), 1, "only the failed question is asked again");
            talk.answer(0, rcode(second));
            result = talk.run();
        }
        assert_eq!(result, Step::Done(Err(expected)), "{first:?} {second:?}");
    }
}

#[test]
fn no_server_means_try_again() {
    assert_eq!(Talk::host(&conf(""), "host").done(), Err(HostError::TryAgain));
}

#[test]
fn names_that_cannot_be_asked_are_not_found() {
    for name in ["a..b", ".", "..", &"x".repeat(70)] {
        assert_eq!(Talk::host(&one_server(), name).done(), Err(HostError::NotFound), "{name:?}");
    }
}

#[test]
fn servers_are_asked_in_turn_for_all_attempts_and_then_given_up() {
    let mut talk = Talk::host(&two_servers(), "host.example");
    let mut servers = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let result = loop {
        match talk.run() {
            Step::Wait(until) => {
                assert_eq!(until.since(talk.now), Duration::from_secs(2));
                servers.push(talk.sent[0].0.to_string());
                ids.extend(talk.sent.iter().map(|(_, message)| [message[0], message[1]]));
                talk.now = until;
            }
            other => break other,
        }
    };
    assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.53:53", "[2001:db8::53]:53"]);
    assert_eq!(ids.len(), 8, "a fresh id for each server");
    assert_eq!(result, Step::Done(Err(HostError::TryAgain)));
}

#[test]
fn a_late_answer_to_the_first_datagram_counts_while_the_server_is_the_same() {
    let mut talk = Talk::host(&one_server(), "host.example");
    talk.run();
    let first = talk.sent.clone();
    talk.wait_out();
    talk.run();
    for (server, message) in first {
        assert!(talk.lookup.on_datagram(server, &reply(&message, address)));
    }
    assert_eq!(talk.done().expect("found").addresses.len(), 2);
}

#[test]
fn another_server_is_asked_only_for_what_is_missing() {
    let mut talk = Talk::host(&two_servers(), "host.example");
    talk.run();
    talk.answer(0, address);
    talk.answer(1, rcode(RCODE::Refused));
    talk.run();
    assert_eq!(talk.sent.len(), 1);
    assert_eq!(talk.asked(0).1, TYPE::AAAA.into());
    talk.answer(0, address);
    assert_eq!(talk.done().expect("found").addresses.len(), 2);
}

#[test]
fn a_refused_port_moves_on_at_once() {
    let mut talk = Talk::host(&two_servers(), "host.example");
    talk.run();
    talk.lookup.on_unreachable();
    talk.run();
    assert_eq!(talk.now, Instant::ZERO);
    assert_eq!(talk.sent[0].0.to_string(), "[2001:db8::53]:53");
}

#[test]
fn answers_that_do_not_fit_change_nothing() {
    let mut talk = Talk::host(&two_servers(), "host.example");
    let step = talk.run();
    let (server, message) = talk.sent[0].clone();
    let good = reply(&message, address);
    let mut wrong_id = good.clone();
    wrong_id[0] ^= 0x80;
    let other_question = reply(&message, |packet| {
        packet.questions[0].qname = Name::new("evil.example").expect("valid");
        address(packet);
    });
    assert!(!talk.lookup.on_datagram("192.0.2.53:54".parse().expect("valid"), &good), "port");
    assert!(!talk.lookup.on_datagram("192.0.2.54:53".parse().expect("valid"), &good), "address");
    assert!(!talk.lookup.on_datagram(server, &wrong_id), "id");
    assert!(!talk.lookup.on_datagram(server, &other_question), "question");
    assert!(!talk.lookup.on_datagram(server, &message), "our own query, echoed");
    assert_eq!(talk.lookup.poll(talk.now), step);
    assert!(talk.lookup.on_datagram(server, &good));
    assert!(!talk.lookup.on_datagram(server, &good), "a second answer to the same question");
}

#[test]
fn the_server_before_this_one_may_not_answer_any_more() {
    let mut talk = Talk::host(&two_servers(), "host.example");
    talk.run();
    let (server, message) = talk.sent[0].clone();
    talk.wait_out();
    talk.run();
    assert!(!talk.lookup.on_datagram(server, &reply(&message, address)));
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    let mut talk = Talk::host(&one_server(), "host.example");
    talk.run();
    talk.answer(0, |packet| packet.set_flags(PacketFlag::TRUNCATION));
    let Step::Stream { server, message, deadline } = talk.run() else { panic!("expected a stream") };
    assert_eq!((server, deadline), (talk.lookup.server(), Instant::ZERO + Duration::from_secs(5)));
    assert_eq!(question(&message), ("host.example".into(), TYPE::A.into()));
    let long = reply(&message, |packet| {
        for n in 0..100 {
            let rdata = RData::A(A { address: 0xc000_0200 + n });
            let name = packet.questions[0].qname.clone();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 1, rdata));
        }
    });
    talk.lookup.on_stream(Some(&long));
    let (server, aaaa) = (server, reply_to_second(&mut talk));
    assert!(talk.lookup.on_datagram(server, &aaaa));
    assert_eq!(talk.done().expect("found").addresses.len(), MAX_RESULTS);
}

/// The query for AAAA was sent before the stream step; rebuild it from the look-up itself.
fn reply_to_second(talk: &mut Talk) -> Vec<u8> {
    reply(&talk.lookup.questions[1].query.message.clone(), no_data)
}

#[test]
fn a_stream_that_fails_or_is_truncated_again_moves_on() {
    for garbage in [None, Some(false), Some(true)] {
        let mut talk = Talk::host(&two_servers(), "host.example");
        talk.run();
        talk.answer(1, no_data);
        talk.answer(0, |packet| packet.set_flags(PacketFlag::TRUNCATION));
        let Step::Stream { message, .. } = talk.run() else { panic!("expected a stream") };
        let truncated = reply(&message, |packet| packet.set_flags(PacketFlag::TRUNCATION));
        talk.lookup.on_stream(garbage.map(|t| if t { &truncated[..] } else { &b"\0\0"[..] }));
        talk.run();
        assert_eq!(talk.sent.len(), 1, "{garbage:?}");
        assert_eq!(talk.sent[0].0.to_string(), "[2001:db8::53]:53");
    }
}

#[test]
fn use_vc_asks_over_tcp_from_the_start() {
    let mut talk = Talk::host(&conf("nameserver 192.0.2.53\noptions use-vc"), "host.example");
    for _ in 0..2 {
        let Step::Stream { message, .. } = talk.run() else { panic!("expected a stream") };
        assert!(talk.sent.is_empty());
        talk.lookup.on_stream(Some(&reply(&message, address)));
    }
    assert_eq!(talk.done().expect("found").addresses.len(), 2);
}

#[test]
fn the_search_list_is_walked() {
    let conf = conf("nameserver 192.0.2.53\nsearch a.example b.example");
    let mut talk = Talk::host(&conf, "host");
    let mut names = Vec::new();
    while let Step::Wait(_) = talk.run() {
        names.push(talk.asked(0).0);
        let is_b = names.len() == 2;
        for index in 0..2 {
            talk.answer(
                index,
                |packet| if is_b { address(packet) } else { *packet.rcode_mut() = RCODE::NameError },
            );
        }
    }
    assert_eq!(names, ["host.a.example", "host.b.example"]);
    assert_eq!(talk.done().expect("found").name, "host.b.example");
}

/// The error of a search: `res_search` prefers the verdict on the name as given when it was tried first, else says
/// that some name existed without data, else that some server failed.
#[test]
fn the_verdict_of_a_search_is_res_searchs() {
    let conf = conf("nameserver 192.0.2.53\nsearch a.example\noptions attempts:1");
    let table = [
        ("host", [RCODE::NoError, RCODE::NameError], HostError::NoData),
        ("host", [RCODE::ServerFailure, RCODE::NameError], HostError::TryAgain),
        ("host", [RCODE::NameError, RCODE::NameError], HostError::NotFound),
        ("host.sub", [RCODE::NameError, RCODE::NoError], HostError::NotFound),
        ("host.sub", [RCODE::NoError, RCODE::NameError], HostError::NoData),
    ];
    for (name, codes, expected) in table {
        let mut talk = Talk::host(&conf, name);
        for code in codes {
            talk.run();
            talk.answer(0, rcode(code));
            talk.answer(1, rcode(code));
        }
        assert_eq!(talk.done(), Err(expected), "{name} {codes:?}");
    }
}

#[test]
fn silence_ends_the_search() {
    let mut talk = Talk::host(&conf("nameserver 192.0.2.53\nsearch a b c\noptions attempts:1"), "host");
    talk.run();
    talk.wait_out();
    assert_eq!(talk.done(), Err(HostError::TryAgain));
}

#[test]
fn rotation_begins_with_any_server() {
    let text = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\noptions rotate";
    let first =
        |seed| match Lookup::host(&conf(text), "x", &[Kind::A], Rng::from_seed(seed)).poll(Instant::ZERO) {
            Step::Send { server, .. } => server,
            other => panic!("expected a datagram, got {other:?}"),
        };
    assert_eq!((0..50).map(first).collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn the_name_of_an_address_is_asked_for_without_search() {
    let conf = conf("nameserver 192.0.2.53\nsearch a.example");
    let lookup = Lookup::address(&conf, IpAddr::from([192, 0, 2, 7]), Rng::from_seed(1));
    let mut talk = Talk { lookup, now: Instant::ZERO, sent: vec![] };
    talk.run();
    assert_eq!(talk.asked(0), ("7.2.0.192.in-addr.arpa".into(), TYPE::PTR.into()));
    talk.answer(0, address);
    assert_eq!(talk.done().expect("found").names, ["host.example"]);
}

/// Whatever comes in whatever order: the look-up ends, after no more messages than it may send.
#[test]
fn hostile_input_cannot_keep_a_look_up_alive() {
    for seed in 0..300 {
        let mut rng = Rng::from_seed(seed);
        let mut conf = two_servers();
        conf.search = vec!["a".into(), "b".into()];
        let mut talk = Talk::host(&conf, "host");
        let (mut steps, mut sends) = (0, 0);
        loop {
            steps += 1;
            assert!(steps < 5_000, "seed {seed} does not end");
            match talk.lookup.poll(talk.now) {
                Step::Done(_) => break,
                Step::Send { server, message } => {
                    sends += 1;
                    talk.sent.push((server, message));
                }
                Step::Stream { message, .. } => {
                    let answer = mutated(&mut rng, &message);
                    talk.lookup.on_stream(rng.chance(0.7).then_some(&answer[..]));
                }
                Step::Wait(until) => match rng.below(8) {
                    0 => talk.now = until,
                    1 => talk.lookup.on_unreachable(),
                    _ => {
                        let index = rng.below(talk.sent.len() as u64) as usize;
                        let (server, message) = talk.sent[index].clone();
                        talk.lookup.on_datagram(server, &mutated(&mut rng, &message));
                    }
                },
            }
        }
        assert!(sends <= 3 * 2 * 2 * 2, "names × servers × attempts × questions, seed {seed}: {sends}");
    }
}

fn mutated(rng: &mut Rng, message: &[u8]) -> Vec<u8> {
    let codes = [RCODE::NoError, RCODE::ServerFailure, RCODE::NameError, RCODE::Refused, RCODE::FormatError];
    let code = codes[rng.below(5) as usize];
    let truncated = rng.chance(0.3);
    let mut bytes = reply(message, |packet| {
        *packet.rcode_mut() = code;
        if truncated {
            packet.set_flags(PacketFlag::TRUNCATION);
        }
        if code == RCODE::NoError {
            address(packet);
        }
    });
    if rng.chance(0.5) {
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] = rng.next_u32() as u8;
    }
    bytes
}
