//! A storm of broken packets: no panic, bounded memory, and whoever has nothing to do with it goes on undisturbed.
//!
//! Packets near to what each state expects are mutated; most have their checksums mended, so that they reach TCP.
//! `PACKETS=n` sets how many (250,000 unless told otherwise), `SEED=n` where the numbers begin.

#[path = "../common/mod.rs"]
mod common;
mod mutate;

use common::exchange::{Exchange, Setup};
use common::{ms, secs};
use mutate::Mutator;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tunstack::base::Rng;
use tunstack::host::{MsgFlags, Opt, Shutdown};
use tunstack::trace::TcpState;

const STATES: [TcpState; 11] = [
    TcpState::Closed,
    TcpState::Listen,
    TcpState::SynSent,
    TcpState::SynReceived,
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::Closing,
    TcpState::LastAck,
    TcpState::TimeWait,
];

/// Packets that one host gets before the next begins.
const ROUND: u64 = 100;

/// Memory that the connections of a round may hold: the buffers of two, and change.
const MEMORY_LIMIT: usize = 2 << 20;

/// What the whole run may leave in the process's memory.
const RESIDENT_LIMIT: i64 = 64 << 20;

/// Octets of memory that the process has, as the kernel counts them.
fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<i64>().ok()).unwrap_or(0) * 4096
}

#[derive(Default)]
struct Tally {
    packets: u64,
    reached_tcp: u64,
    states: BTreeMap<&'static str, u64>,
    answered: u64,
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn a_storm_of_broken_packets_harms_nobody() {
    let packets = env("PACKETS", 250_000);
    let first = env("SEED", 0);
    let mut tally = Tally::default();
    let resident_before = resident();
    let mut seed = first;
    while tally.packets < packets {
        seed += 1;
        if catch_unwind(AssertUnwindSafe(|| storm(seed, &mut tally))).is_err() {
            panic!("round {seed} failed; replay with: SEED={} PACKETS=1 cargo test --test storm", seed - 1);
        }
    }
    let grown = resident() - resident_before;
    println!("{} KiB more in memory than before", grown / 1024);
    assert!(grown < RESIDENT_LIMIT, "{grown} octets more in memory than before");
    println!("{} packets, {} reached TCP, {} answers", tally.packets, tally.reached_tcp, tally.answered);
    for (state, count) in &tally.states {
        println!("{count:>10} in {state}");
    }
    assert!(
        tally.reached_tcp * 2 >= tally.packets,
        "only {} of {} reached TCP",
        tally.reached_tcp,
        tally.packets
    );
    for state in STATES.iter().filter(|state| !matches!(state, TcpState::Closed | TcpState::Listen)) {
        assert!(tally.states.contains_key(state.name()), "no packet met {state}");
    }
}

fn setup(rng: &mut Rng) -> Setup {
    let mut setup = Setup::new().seed(rng.next_u32() as u8).backlog(4);
    if rng.chance(0.3) {
        setup = setup.v6();
    }
    if rng.chance(0.6) {
        setup = setup.modern(rng.below(15) as u8);
    }
    if rng.chance(0.3) {
        // Every listener takes text on SYNs, without a cookie.
        setup = setup.config(|config| config.tcp_fastopen = 0x603);
    }
    setup.peer_isn(rng.next_u32())
}

/// One host, brought to a state, with an innocent connection beside; then the storm.
fn storm(seed: u64, tally: &mut Tally) {
    let mut rng = Rng::from_seed(seed);
    let state = STATES[(seed % STATES.len() as u64) as usize];
    let (mut x, _) = setup(&mut rng).in_state(state);
    if rng.chance(0.2) {
        x.host.config_mut().tcp_syncookies = 2;
    }
    let innocent = Innocent::arrive(&mut x);
    x.only_single_packets();
    let mut mutator = Mutator::new(seed);
    let before = x.host.counters().tcp_in_segs;
    let mut dead = 0;
    for _ in 0..ROUND {
        let name = match (x.state(), x.listener) {
            ("CLOSED", Some(_)) => "LISTEN",
            (name, _) => name,
        };
        *tally.states.entry(name).or_default() += 1;
        // The storm has ended what it came for: on to the next.
        dead += u32::from(
            matches!(name, "CLOSED" | "LISTEN") && !matches!(state, TcpState::Closed | TcpState::Listen),
        );
        if dead > 5 {
            break;
        }
        let bytes = mutator.packet(&x);
        x.inject(&bytes);
        while x.try_next().is_some() {
            tally.answered += 1;
        }
        act(&mut x, &mut rng);
        x.ignore();
        let memory = x.host.memory_octets();
        assert!(memory < MEMORY_LIMIT, "{memory} octets held after {} packets", tally.packets);
        let sockets = x.host.sockets().len();
        assert!(sockets < 4 + 2 * ROUND as usize, "{sockets} sockets");
        tally.packets += 1;
    }
    tally.reached_tcp += x.host.counters().tcp_in_segs - before;
    innocent.goes_on(&mut x);
}

/// Now and then the user does something, or time passes.
fn act(x: &mut Exchange, rng: &mut Rng) {
    match rng.below(24) {
        0 => {
            x.skip(ms(rng.below(300)));
        }
        1 => {
            x.skip(secs(rng.below(3)));
        }
        2 if x.listener.is_some() => {
            if let Ok((id, _)) = x.try_accept() {
                x.sock = Some(id);
            }
        }
        3..=5 if x.sock.is_some() => {
            let _ = x.try_read(rng.below(5_000) as usize);
        }
        6..=7 if x.sock.is_some() => {
            let _ = x.try_write(&vec![7; rng.below(5_000) as usize], MsgFlags::empty());
        }
        8 if x.sock.is_some() && rng.chance(0.1) => {
            let id = x.id();
            let _ = x.user("shutdown", |host, now| host.shutdown(now, id, Shutdown::Write));
        }
        9 if x.sock.is_some() && rng.chance(0.1) => {
            let id = x.id();
            let on = rng.chance(0.5);
            let _ = x.user("NODELAY", |host, now| host.set_option(now, id, Opt::NoDelay(on)));
        }
        10 if x.sock.is_some() && rng.chance(0.05) => {
            let id = x.id();
            let _ = x.user("close", |host, now| host.close(now, id));
            x.sock = None;
        }
        _ => {}
    }
}

/// A connection from another address that the storm does not name.
struct Innocent {
    socket: tunstack::host::SocketId,
}

impl Innocent {
    fn arrive(x: &mut Exchange) -> Innocent {
        let (id, _) = x.bystander();
        Innocent { socket: id }
    }

    /// Data still goes both ways, to the octet.
    fn goes_on(&self, x: &mut Exchange) {
        x.bystander_works(self.socket);
    }
}
