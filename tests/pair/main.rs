//! Two hosts on a bad wire: whatever the wire does, the octets arrive, or both ends learn that they cannot.

#[path = "../common/mod.rs"]
mod common;
mod controllers;
mod flow_times;
mod goodput;
mod smoltcp_peer;
mod station;

use common::pair::Scenario;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
