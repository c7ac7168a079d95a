//! How fast data gets over bad paths at 100 Mbit/s, in virtual time: a reduced matrix of `scripts/recovery-bench`, with a
//! bound for each cell below which the sender has become worse.

use super::station::{Station, world};
use tunstack::base::{Config, Duration};
use tunstack::sim::Outcome;

const RATE: u64 = 100_000_000;

/// A path, and what has to get over it.
struct Cell {
    rtt_ms: u64,
    /// Conditions of the data's direction besides rate, delay and queue.
    data: &'static str,
    /// The queue in hundredths of the bandwidth-delay product.
    queue: u64,
    seconds: u64,
    seeds: u64,
    /// Mbit/s that must be reached on average.
    least: f64,
}

/// About five sixths of what is reached with the defaults. Without loss nothing is left to chance, and one seed is enough.
const CELLS: [Cell; 6] = [
    Cell { rtt_ms: 20, data: "", queue: 100, seconds: 5, seeds: 1, least: 80.0 },
    Cell { rtt_ms: 100, data: "", queue: 100, seconds: 15, seeds: 1, least: 78.0 },
    Cell { rtt_ms: 20, data: "loss=0.1%", queue: 100, seconds: 8, seeds: 2, least: 26.0 },
    Cell { rtt_ms: 20, data: "loss=1%", queue: 50, seconds: 15, seeds: 3, least: 6.5 },
    Cell { rtt_ms: 20, data: "loss=3%,reorder=1%/5", queue: 100, seconds: 20, seeds: 3, least: 3.2 },
    Cell { rtt_ms: 1, data: "loss=1%", queue: 400, seconds: 2, seeds: 2, least: 78.0 },
];

/// Buffers that are no bound on these paths.
fn config() -> Config {
    let mut config = Config::default();
    for name in ["tcp_rmem", "tcp_wmem"] {
        config.set(name, "4096 8388608 8388608").expect("valid");
    }
    config
}

/// Mbit/s that the receiver's program got.
fn goodput(cell: &Cell, seed: u64) -> f64 {
    let half = cell.rtt_ms * 500;
    let bdp = RATE / 8 * cell.rtt_ms / 1000;
    let queue = (bdp * cell.queue / 100).max(3000);
    let link = format!(
        "rate={RATE}bit,delay={half}us,up:queue={queue}b,down:queue=1mib,{}",
        cell.data
            .split(',')
            .filter(|item| !item.is_empty())
            .map(|item| format!("up:{item}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let sender = Box::new(Station::sender(config(), seed, u64::MAX));
    let (mut sim, _, receiver) = world(&link, seed, sender, Station::receiver(config(), seed));
    let outcome = sim.run_until(Duration::from_secs(cell.seconds), |_| false);
    assert_eq!(outcome, Outcome::OutOfTime, "data without end");
    sim.node::<Station>(receiver).received().0 as f64 * 8e-6 / cell.seconds as f64
}

#[test]
fn goodput_keeps_its_bounds() {
    let mut below = Vec::new();
    std::thread::scope(|scope| {
        let runs: Vec<_> = CELLS
            .iter()
            .map(|cell| {
                scope.spawn(move || (1..=cell.seeds).map(|seed| goodput(cell, seed)).collect::<Vec<f64>>())
            })
            .collect();
        for (cell, run) in CELLS.iter().zip(runs) {
            let reached = run.join().expect("no panic");
            let mean = reached.iter().sum::<f64>() / cell.seeds as f64;
            let what = format!("{} ms, {} BDP, {:22}", cell.rtt_ms, cell.queue as f64 / 100.0, cell.data);
            let line = format!("{what:38} {mean:6.2} Mbit/s of at least {:.1}  {reached:.1?}", cell.least);
            println!("{line}");
            if mean < cell.least {
                below.push(line);
            }
        }
    });
    assert!(below.is_empty(), "slower than before:\n{}", below.join("\n"));
}
