//! What the core costs, without devices, threads and clocks: two hosts that hand each other packets. `cargo bench --bench core`
//! measures time (criterion); with `--times NAME N` one benchmark runs N times and no more, for tools that count
//! instructions (`scripts/core-bench`), and with `--idle N` so many connections are held and their memory is told.

mod idle;
mod pair;

use criterion::{Criterion, Throughput};
use pair::{Pair, Wire};
use std::hint::black_box;
use tunstack::wire::checksum::checksum;

/// A benchmark: its name, octets of one turn, and what makes a turn of it.
struct Bench {
    name: &'static str,
    octets: u64,
    make: fn() -> Box<dyn FnMut()>,
}

const BENCHES: [Bench; 12] = [
    Bench { name: "round trip, 1 connection", octets: 0, make: || round_trips(1, 1) },
    Bench { name: "round trip, 64 connections in turn", octets: 0, make: || round_trips(64, 64) },
    Bench { name: "round trip, 1 of 100", octets: 0, make: || round_trips(100, 1) },
    Bench { name: "round trip, 1 of 100000", octets: 0, make: || round_trips(100_000, 1) },
    Bench { name: "visit: connect, round trip, close", octets: 0, make: visits },
    Bench { name: "64 KiB in segments of 1448", octets: 65_536, make: || bulk(Wire::Plain, 0) },
    Bench { name: "64 KiB at once", octets: 65_536, make: || bulk(Wire::Offload, 0) },
    Bench { name: "64 KiB at once, owned", octets: 65_536, make: owned },
    Bench { name: "64 KiB, 1 segment of 50 lost", octets: 65_536, make: || bulk(Wire::Plain, 50) },
    Bench { name: "100 deadlines of 10000", octets: 0, make: deadlines },
    Bench { name: "checksum of 1460", octets: 1460, make: || sums(1460) },
    Bench { name: "checksum of 65535", octets: 65_535, make: || sums(65_535) },
];

fn round_trips(connections: usize, busy: usize) -> Box<dyn FnMut()> {
    let mut pair = Pair::new(Wire::Plain);
    let connections = pair.connect(connections);
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % busy;
        pair.round_trip(connections[next]);
    })
}

fn visits() -> Box<dyn FnMut()> {
    let mut pair = Pair::new(Wire::Plain);
    pair.connect(1);
    Box::new(move || pair.visit())
}

fn bulk(wire: Wire, lose_one_in: u64) -> Box<dyn FnMut()> {
    let mut pair = Pair::new(wire);
    let connection = pair.connect(1)[0];
    let (data, mut into) = (vec![0x5a; 65_536], vec![0; 65_536]);
    // Windows and buffers have grown when it begins.
    for _ in 0..200 {
        pair.bulk(connection, &data, &mut into);
    }
    pair.lose_one_in = lose_one_in;
    Box::new(move || pair.bulk(connection, &data, &mut into))
}

/// The same without copies.
fn owned() -> Box<dyn FnMut()> {
    let mut pair = Pair::new(Wire::Offload);
    let connection = pair.connect(1)[0];
    let data = bytes::Bytes::from(vec![0x5a; 65_536]);
    let mut turn = move || pair.bulk_owned(connection, &data);
    (0..200).for_each(|_| turn());
    Box::new(turn)
}

/// Delayed acknowledgments of 100 connections, and nothing else of 10,000.
fn deadlines() -> Box<dyn FnMut()> {
    let mut pair = Pair::new(Wire::Plain);
    let connections = pair.connect(10_000);
    let mut next = 0;
    Box::new(move || {
        for _ in 0..100 {
            next = (next + 1) % connections.len();
            pair.one_way(connections[next]);
        }
        pair.pass(tunstack::base::Duration::from_millis(50));
    })
}

fn sums(octets: usize) -> Box<dyn FnMut()> {
    let data = vec![0x5a; octets];
    Box::new(move || {
        black_box(checksum(black_box(&data)));
    })
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [_, "--names", ..] => BENCHES.iter().for_each(|bench| println!("{}", bench.name)),
        [_, "--times", name, times, ..] => {
            let bench = BENCHES.iter().find(|bench| bench.name == name).expect("the name of a benchmark");
            let mut turn = (bench.make)();
            (0..times.parse().expect("a number")).for_each(|_: u64| turn());
        }
        [_, "--idle", count, ..] => hold(count.parse().expect("a number")),
        _ => measure(),
    }
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("core");
    for bench in &BENCHES {
        let mut turn = None;
        group.throughput(match bench.octets {
            0 => Throughput::Elements(1),
            octets => Throughput::Bytes(octets),
        });
        // Made when it is wanted: a filter may leave it out.
        group.bench_function(bench.name, |bencher| bencher.iter(turn.get_or_insert_with(bench.make)));
    }
    group.finish();
    criterion.final_summary();
}

/// Holds so many connections and tells what they take: of the whole process, by the kernel's account.
fn hold(count: u32) {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
        pages.expect("pages") * 4096
    };
    let mut clients = idle::Idle::new();
    let before = resident();
    clients.connect(count);
    let octets = resident() - before;
    println!("{count} connections: {} MiB, {} octets each", octets >> 20, octets / count as usize);
}
