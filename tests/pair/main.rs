//! Two hosts on a bad wire: whatever the wire does, the octets arrive, or both ends learn that they cannot.

#[path = "../common/mod.rs"]
mod common;
mod controllers;
mod flow_times;
mod goodput;
mod smoltcp_peer;
mod station;

use common::pair::Scenario;
use common::wire::Faults;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tunstack::base::Duration;

/// A link that swallows large packets without a word: with `tcp_mtu_probing` both ends find out, whatever else the wire does.
///
/// conformance: 4821-7.7-blackhole
#[test]
fn a_black_hole_is_found() {
    for seed in 0..10 {
        let mut scenario =
            Scenario { mtu: 1500, simultaneous: false, hopeless: false, ..Scenario::from_seed(seed) };
        let loss = if seed < 5 { 0.0 } else { 0.02 };
        let (delay, path_mtu) = (Duration::from_millis(10), Some(1290 + 10 * seed as usize));
        scenario.faults = Faults { loss, delay, path_mtu, silent: true, ..Faults::default() };
        for end in [0, 1] {
            scenario.configs[end].tcp_mtu_probing = 1 + seed as u32 % 2;
            (scenario.plans[end].send, scenario.plans[end].expect) = (400_000, 400_000);
            scenario.plans[end].pause = Duration::ZERO;
        }
        assert_eq!(scenario.run(), [Ok(()), Ok(())], "seed {seed}");
    }
}

/// Both ends had filled each other's windows and lost the acknowledgments: what told of them stood at the windows' edges.
#[test]
fn full_windows_do_not_lock_both_ends_out() {
    assert_eq!(Scenario::from_seed(44_789).run(), [Ok(()), Ok(())]);
}

/// Runs many seeds; `SEED=n` runs that one, `SEEDS=n` as many (2,000 unless told otherwise).
#[test]
fn every_seed_ends_well() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SEED") {
        let scenario = Scenario { verbose: true, ..Scenario::from_seed(seed) };
        println!("{scenario:#?}");
        println!("{:?}", scenario.run());
        return;
    }
    let (seeds, next) = (number("SEEDS").unwrap_or(2_000), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let errors = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| Scenario::from_seed(seed).run())) {
                        Ok(outcome) => {
                            errors
                                .fetch_add(u64::from(outcome.iter().any(Result::is_err)), Ordering::Relaxed);
                        }
                        Err(_) => failed.lock().expect("no panic while noting").push(seed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic while noting");
    println!(
        "{seeds} seeds, {} ended with a clean error where the wire was cut for good",
        errors.into_inner()
    );
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed: {failed:?}\nreplay with: SEED={} cargo test --test pair every_seed",
        failed.len(),
        failed[0]
    );
}
