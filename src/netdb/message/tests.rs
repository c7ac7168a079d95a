//! What may be believed in an answer, and what must not.

use super::*;
use crate::base::Rng;
use simple_dns::rdata::{A, AAAA, CNAME, PTR};
use simple_dns::{OPCODE, RCODE};

const NAME: &str = "www.example";

fn query(kind: Kind) -> Query {
    Query::new(0x1234, NAME, kind).expect("a valid name")
}

/// A well-formed answer to `query(A)`, changed by `change`.
fn reply<'a>(change: impl FnOnce(&mut Packet<'a>)) -> Vec<u8> {
    let mut packet = Packet::new_reply(0x1234);
    let name = Name::new(NAME).expect("valid");
    packet.questions.push(DnsQuestion::new(name, TYPE::A.into(), CLASS::IN.into(), false));
    change(&mut packet);
    packet.build_bytes_vec_compressed().expect("it fits")
}

fn record<'a>(name: &'a str, rdata: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(Name::new(name).expect("valid"), CLASS::IN, 60, rdata)
}

fn a<'a>(name: &'a str, last: u8) -> ResourceRecord<'a> {
    record(name, RData::A(A { address: u32::from_be_bytes([192, 0, 2, last]) }))
}

fn cname<'a>(name: &'a str, target: &'a str) -> ResourceRecord<'a> {
    record(name, RData::CNAME(CNAME(Name::new(target).expect("valid"))))
}

fn found(reply: &[u8]) -> Records {
    match query(Kind::A).read(reply) {
        Some(Answer::Found(records)) => records,
        other => panic!("expected records, got {other:?}"),
    }
}

#[test]
fn a_query_is_one_recursive_question() {
    let expected = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x1c\x00\x01";
    assert_eq!(query(Kind::Aaaa).message, expected);
}

#[test]
fn names_that_do_not_fit_are_not_asked_for() {
    let label = "a".repeat(64);
    let long = ["b".repeat(63), "b".repeat(63), "b".repeat(63), "b".repeat(62)].join(".");
    for bad in ["", ".", "a..b", ".a", "a.", &label, &long] {
        assert!(Query::new(1, bad, Kind::A).is_none(), "{bad:?}");
    }
    assert!(Query::new(1, &long[1..], Kind::A).is_some());
}

#[test]
fn addresses_of_the_name_are_taken_and_no_others() {
    let reply = reply(|packet| {
        packet.answers = vec![a(NAME, 1), a("evil.example", 66), a("WWW.Example", 2), a(NAME, 1)];
        packet.additional_records = vec![a(NAME, 67)];
    });
    let records = found(&reply);
    assert_eq!(records.addresses, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])]);
    assert_eq!((records.name.as_str(), records.aliases.len()), (NAME, 0));
}

#[test]
fn aliases_are_followed_to_their_end() {
    let reply = reply(|packet| {
        packet.answers = vec![a("c.example", 9), cname("b.example", "c.example"), cname(NAME, "b.example")];
    });
    let records = found(&reply);
    assert_eq!(records.name, "c.example");
    assert_eq!(records.aliases, [NAME, "b.example"]);
    assert_eq!(records.addresses, [IpAddr::from([192, 0, 2, 9])]);
}

#[test]
fn a_chain_that_is_too_long_or_a_loop_fails() {
    let looped = reply(|packet| packet.answers = vec![cname(NAME, "b.example"), cname("b.example", NAME)]);
    assert_eq!(query(Kind::A).read(&looped), Some(Answer::ServerFailure));

    let names: Vec<String> =
        (0..=MAX_ALIASES).map(|n| if n == 0 { NAME.into() } else { format!("n{n}.x") }).collect();
    let chain = |hops: usize| {
        reply(|packet| {
            packet.answers = (0..hops).map(|n| cname(&names[n], &names[n + 1])).collect();
            packet.answers.push(a(&names[hops], 5));
        })
    };
    assert_eq!(found(&chain(MAX_ALIASES)).addresses.len(), 1);
    let too_long = reply(|packet| {
        packet.answers = (0..MAX_ALIASES).map(|n| cname(&names[n], &names[n + 1])).collect();
        packet.answers.push(cname(&names[MAX_ALIASES], "end.x"));
        packet.answers.push(a("end.x", 5));
    });
    assert_eq!(query(Kind::A).read(&too_long), Some(Answer::ServerFailure));
}

#[test]
fn a_record_of_another_kind_is_no_data() {
    let v6 = record(NAME, RData::AAAA(AAAA { address: 1 }));
    assert_eq!(query(Kind::A).read(&reply(|packet| packet.answers = vec![v6])), Some(Answer::NoData));
    assert_eq!(query(Kind::A).read(&reply(|_| {})), Some(Answer::NoData));
}

/// RFC 5452 §9.1: an answer whose id, question or direction does not fit is as if it had not come.
#[test]
fn answers_to_other_questions_are_ignored() {
    let other_name =
        |packet: &mut Packet<'_>| packet.questions[0].qname = Name::new("x.example").expect("valid");
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("id", reply(|packet| packet.set_id(0x1235))),
        ("query bit", reply(|packet| packet.remove_flags(PacketFlag::RESPONSE))),
        ("opcode", reply(|packet| *packet.opcode_mut() = OPCODE::Notify)),
        ("no question", reply(|packet| packet.questions.clear())),
        ("two questions", reply(|packet| packet.questions.push(packet.questions[0].clone()))),
        ("type", reply(|packet| packet.questions[0].qtype = TYPE::AAAA.into())),
        ("class", reply(|packet| packet.questions[0].qclass = CLASS::CH.into())),
        ("name", reply(other_name)),
        ("empty", Vec::new()),
        ("header only", reply(|_| {})[..12].to_vec()),
    ];
    for (what, reply) in wrong {
        assert_eq!(query(Kind::A).read(&reply), None, "{what}");
    }
}

#[test]
fn response_codes_have_their_meaning() {
    let table = [
        (RCODE::FormatError, Answer::FormatError),
        (RCODE::ServerFailure, Answer::ServerFailure),
        (RCODE::NameError, Answer::NoSuchName),
        (RCODE::NotImplemented, Answer::ServerFailure),
        (RCODE::Refused, Answer::ServerFailure),
        (RCODE::YXDOMAIN, Answer::ServerFailure),
    ];
    for (code, answer) in table {
        assert_eq!(
            query(Kind::A).read(&reply(|packet| *packet.rcode_mut() = code)),
            Some(answer),
            "{code:?}"
        );
    }
}

#[test]
fn a_truncated_answer_is_not_parsed() {
    let mut cut = reply(|packet| {
        packet.answers = vec![a(NAME, 1)];
        packet.set_flags(PacketFlag::TRUNCATION);
    });
    cut.truncate(cut.len() - 3);
    assert_eq!(query(Kind::A).read(&cut), Some(Answer::Truncated));
}

#[test]
fn counts_that_lie_and_records_that_do_not_parse_are_a_servers_failure() {
    let good = reply(|packet| packet.answers = vec![a(NAME, 1)]);
    let mut lie = good.clone();
    lie[6..8].copy_from_slice(&[0xff, 0xff]);
    let mut more = good.clone();
    more[7] = 2;
    let mut self_pointer = good.clone();
    let owner = good.len() - 16;
    self_pointer[owner..owner + 2].copy_from_slice(&[0xc0, owner as u8]);
    for (what, reply) in [("count", lie), ("one missing", more), ("pointer to itself", self_pointer)] {
        assert_eq!(query(Kind::A).read(&reply), Some(Answer::ServerFailure), "{what}");
    }
    assert_eq!(query(Kind::A).read(&good[..good.len() - 1]), Some(Answer::ServerFailure));
}

#[test]
fn authority_and_additional_records_are_never_looked_at() {
    let mut odd = reply(|packet| packet.answers = vec![a(NAME, 1)]);
    odd[8..12].copy_from_slice(&[0, 9, 0, 9]);
    assert_eq!(found(&odd).addresses.len(), 1);
}

#[test]
fn names_of_an_address_are_host_names() {
    let reverse = reverse_name(IpAddr::from([192, 0, 2, 7]));
    assert_eq!(reverse, "7.2.0.192.in-addr.arpa");
    let query = Query::new(7, &reverse, Kind::Ptr).expect("valid");
    let mut packet = Packet::parse(&query.message).expect("our own query").into_reply();
    // RFC 2317: the reverse name may be an alias whose labels are no host name's.
    let zone = "7.0/25.2.0.192.in-addr.arpa";
    let ptr = |target| record(zone, RData::PTR(PTR(Name::new(target).expect("valid"))));
    packet.answers = vec![cname(&reverse, zone), ptr("a\\010b.example"), ptr("-x"), ptr("host_1.example")];
    let reply = packet.build_bytes_vec().expect("it fits");
    match query.read(&reply) {
        Some(Answer::Found(records)) => assert_eq!(records.names, ["host_1.example"]),
        other => panic!("expected a name, got {other:?}"),
    }
    assert_eq!(
        reverse_name("2001:db8::567:89ab".parse().expect("valid")),
        "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    );
    assert_eq!(reverse_name("::ffff:192.0.2.7".parse().expect("valid")), reverse);
}

#[test]
fn a_canonical_name_that_is_none_is_a_servers_failure() {
    let reply = reply(|packet| packet.answers = vec![cname(NAME, "a\\010b"), a("a\\010b", 1)]);
    assert_eq!(query(Kind::A).read(&reply), Some(Answer::ServerFailure));
}

#[test]
fn results_are_bounded() {
    let many = reply(|packet| packet.answers = (0..200).map(|n| a(NAME, n)).collect());
    assert_eq!(found(&many).addresses.len(), MAX_RESULTS);
}

#[test]
fn mutated_answers_never_panic() {
    let mut rng = Rng::from_seed(53);
    let good = reply(|packet| {
        packet.answers = vec![cname(NAME, "b.example"), a("b.example", 1), a("b.example", 2)];
        packet.name_servers = vec![a("ns.example", 3)];
    });
    let mut outcomes = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u32() as u8;
        }
        if rng.chance(0.2) {
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        }
        outcomes.insert(match query(Kind::A).read(&bytes) {
            None => "ignored",
            Some(Answer::Found(_)) => "found",
            Some(Answer::ServerFailure) => "failure",
            Some(_) => "other",
        });
    }
    assert_eq!(outcomes.len(), 4, "every outcome was reached: {outcomes:?}");
}
