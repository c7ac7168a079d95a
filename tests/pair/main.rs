//! Two hosts on a bad wire: whatever the wire does, the octets arrive, or both ends learn that they cannot.

#[path = "../common/mod.rs"]
mod common;
mod controllers;
mod flow_times;
mod goodput;
mod smoltcp_peer;
mod station;

use common::pair::{Pair, Scenario};
use common::wire::Faults;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tunstack::base::{Duration, Instant};

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

/// When, by whom, what.
type Left = (Instant, usize, Vec<u8>);

/// Clears the window and the checksum over it.
fn forget_window(bytes: &mut [u8]) {
    let ip = if bytes[0] >> 4 == 4 { usize::from(bytes[0] & 15) * 4 } else { 40 };
    if let Some(fields) = bytes.get_mut(ip + 14..ip + 18) {
        fields.fill(0);
    }
}

/// Without a trace, full segments in a row are planned at once and cut afterwards: what leaves is the same to the octet.
#[test]
fn runs_are_what_single_segments_would_be() {
    let mut full = 0;
    for seed in 0..400 {
        let [single, cut] = [true, false].map(|traced| {
            let scenario = Scenario { traced, offload: [false; 2], ..Scenario::from_seed(seed) };
            let mut pair = Pair::new(&scenario);
            pair.log = Some(Vec::new());
            let end = pair.now + Duration::from_secs(60);
            while let Some(at) = pair.next_event().filter(|at| *at <= end) {
                pair.step(at);
            }
            pair.log.take().expect("kept")
        });
        // A window that is counted in granules may be told one granule later.
        let same = |a: &Left, b: &Left| {
            let (mut a, mut b) = (a.clone(), b.clone());
            [&mut a, &mut b].into_iter().for_each(|(_, _, bytes)| forget_window(bytes));
            a == b
        };
        let difference = single.iter().zip(&cut).position(|(a, b)| !same(a, b));
        assert_eq!(difference.map(|at| (&single[at], &cut[at])), None, "seed {seed}");
        assert_eq!(single.len(), cut.len(), "seed {seed}");
        full += single.windows(2).filter(|two| two[0].2.len() > 500 && two[0].0 == two[1].0).count();
    }
    assert!(full > 10_000, "{full} large packets left with others");
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
