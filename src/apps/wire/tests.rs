use super::*;
use crate::apps::cli::{Cli, Command, Wire};
use clap::Parser as _;

fn options(words: &str) -> Wire {
    let words = ["tunstack", "wire"].into_iter().chain(words.split(' '));
    match Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Wire(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ends_are_names_paths_and_interfaces() {
    let options = options("red /proc/7/ns/net");
    assert_eq!((options.a, options.b), (End::Named("red".to_owned()), End::At("/proc/7/ns/net".into())));
    assert_eq!("tun:t0".parse::<End>().expect("valid"), End::Tun("t0".to_owned()));
    "tun:a b".parse::<End>().expect_err("no name of an interface");
}

#[test]
fn one_way_conditions_come_on_top_of_those_for_both() {
    let of = |words: &str| link(&options(words)).expect("valid").to_string();
    assert_eq!(of("a b"), "");
    assert_eq!(
        of("a b --link delay=5ms,rate=10mbit --link-ab loss=1%,drop=data:3 --link-ba rate=1mbit"),
        "up:loss=1%,delay=5ms,up:rate=10mbit,down:rate=1mbit,up:drop=data:3"
    );
    assert_eq!(of("a b --link up:delay=5ms --link-ba delay=7ms"), "up:delay=5ms,down:delay=7ms");
}

#[test]
fn namespaces_get_addresses_and_existing_interfaces_keep_theirs() {
    let addresses = |words: &str, end: usize| {
        let setup = setup(&options(words), end, true).expect("possible");
        let addresses: Vec<String> = setup.kernel.iter().map(Cidr::to_string).collect();
        (setup.name.expect("named"), addresses.join(" "))
    };
    assert!(addresses("a b", 0).1.starts_with("10.8.0.1/24"));
    assert!(addresses("a b", 1).1.starts_with("10.8.0.2/24"));
    assert_eq!(addresses("a b --mtu 1000", 1), ("wire0".to_owned(), "10.8.0.2/24".to_owned()));
    assert_eq!(
        addresses("a b --tun w --b-addr 192.0.2.7/30 --dry-run", 1),
        ("w".to_owned(), "192.0.2.7/30".to_owned())
    );
    let v4 = setup(&options("a b"), 0, false).expect("possible").kernel;
    assert_eq!(v4.iter().map(Cidr::to_string).collect::<Vec<_>>(), ["10.8.0.1/24"]);
    assert_eq!(addresses("tun:t0 b --dry-run", 0), ("t0".to_owned(), String::new()));
}

#[test]
fn what_happened_is_told_with_its_causes() {
    let told = Told {
        stats: Stats { offered: 10, lost: 2, queue_full: 1, reordered: 3, ..Stats::default() },
        traffic: Traffic {
            octets: 1000,
            sent: 7,
            delivered_octets: 700,
            late: Duration::from_micros(70),
            latest: Duration::from_micros(40),
            ..Traffic::default()
        },
        before: 0,
    };
    assert_eq!(
        told.text("red", "blue"),
        "red -> blue: 10 packets, 1000 octets in; 7 packets, 700 octets out; 2 lost by chance; \
         1 dropped from the full queue; 3 reordered; 10 us late on average, 40 us at most\n"
    );
    assert_eq!(
        told.json(),
        "{\"packets\": 10, \"octets\": 1000, \"delivered\": 7, \"delivered_octets\": 700, \"losses\": \
         {\"chance\": 2, \"queue\": 1, \"script\": 0, \"blackout\": 0, \"mtu\": 0, \"refused\": 0, \"kernel\": 0}, \
         \"duplicated\": 0, \"reordered\": 3, \"corrupted\": 0, \"marked\": 0, \"retransmissions\": 0, \
         \"late_us\": 10, \"latest_us\": 40}"
    );
}

#[test]
fn names_stay_json_strings() {
    let mut options = options("a b");
    (options.a, options.b) = (End::Named("r'é".to_owned()), End::At("/x\"\\\n".into()));
    let told = || Told { stats: Stats::default(), traffic: Traffic::default(), before: 0 };
    let text = json(&options, 1, Duration::ZERO, &[told(), told()]);
    assert!(text.starts_with(r#"{"a": "r'é", "b": "/x\"\\\u000a", "seed": 1"#), "{text}");
}
