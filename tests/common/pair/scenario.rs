//! What happens in a run, drawn from its seed.

use super::super::wire::Faults;
use super::{Outcome, Pair, Plan, quick};
use tunstack::base::{Config, Duration, Instant, Rng};
use tunstack::host::{Errno, Opt};

/// A run: everything that is drawn from the seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub v6: bool,
    pub mtu: u32,
    pub faults: Faults,
    pub configs: [Config; 2],
    pub plans: [Plan; 2],
    /// Both ends connect at the same time.
    pub simultaneous: bool,
    /// The fault lasts longer than the user timeout: an error is the right end.
    pub hopeless: bool,
    /// Which ends have a device with segmentation offload.
    pub offload: [bool; 2],
    /// The hosts have a trace, and build each segment by itself.
    pub traced: bool,
    /// Print every packet.
    pub verbose: bool,
}

fn millis(rng: &mut Rng, low: u64, high: u64) -> Duration {
    Duration::from_millis(low + rng.below(high - low + 1))
}

impl Scenario {
    /// The run of this seed.
    pub fn from_seed(seed: u64) -> Scenario {
        let rng = &mut Rng::from_seed(seed);
        let v6 = rng.chance(0.3);
        let least = if v6 { 1280 } else { 576 };
        let mtu = if rng.chance(0.5) { 1500 } else { least + rng.below(u64::from(9001 - least)) as u32 };
        let hopeless = rng.chance(0.03);
        let mut faults = faults(rng);
        if mtu > least + 8 && rng.chance(0.15) {
            faults.path_mtu = Some((least as u64 + rng.below(u64::from(mtu - least))) as usize);
        }
        if hopeless {
            let start = Instant::from_nanos(1_000_000_000) + millis(rng, 0, 2000);
            faults.blackout = Some((start, start + Duration::from_secs(3600)));
        }
        let sizes = [size(rng), size(rng)];
        let mut plans = [0, 1].map(|end| plan(rng, sizes[end], sizes[1 - end], hopeless));
        // One end may wait for the other's FIN; both would wait for ever.
        plans[rng.below(2) as usize].close_late = rng.chance(0.3);
        let mut configs = [0, 1].map(|_| config(rng));
        // Of a SYN that comes twice, the second opens a connection that nobody asked for, once the first is over.
        let repeats = faults.duplicate > 0.0 || faults.reorder > 0.0;
        if !repeats && Rng::from_seed(!seed).chance(0.5) {
            configs.iter_mut().for_each(|config| config.tcp_fastopen = 0x207);
            plans.iter_mut().for_each(|plan| {
                plan.fast_open = true;
                plan.options.push(Opt::FastOpen(4));
            });
        }
        faults.mark = if seed.is_multiple_of(4) { 0.1 } else { 0.0 };
        for config in &mut configs {
            (config.tcp_ecn, config.tcp_mtu_probing) = (1 + (seed % 2) as u32, (seed % 3) as u32);
        }
        Scenario {
            seed,
            v6,
            mtu,
            faults,
            configs,
            plans,
            simultaneous: rng.chance(0.08),
            hopeless,
            offload: [0, 1].map(|_| rng.chance(0.4)),
            traced: true,
            verbose: false,
        }
    }

    /// Runs it and judges how it ended.
    pub fn run(&self) -> Outcome {
        let mut pair = Pair::new(self);
        if self.hopeless {
            return self.run_hopeless(&mut pair);
        }
        let outcome = pair.run(Duration::from_secs(4 * 3600));
        assert_eq!(outcome, [Ok(()), Ok(())], "an error without a reason: {}", pair.describe());
        for end in [0, 1] {
            assert_eq!(pair.apps[end].received(), self.plans[1 - end].send, "octets received by {end}");
        }
        pair.settle(Duration::from_secs(3600));
        outcome
    }

    /// The wire is cut for good: both ends have a user timeout, so whoever waits for an answer learns of it; one that waits for
    /// nothing cannot know.
    fn run_hopeless(&self, pair: &mut Pair) -> Outcome {
        let end = pair.now + Duration::from_secs(1800);
        while let Some(at) = pair.next_event().filter(|at| *at <= end) {
            pair.step(at);
        }
        for end in [0, 1] {
            let app = &mut pair.apps[end];
            match (app.is_done(), app.socket()) {
                (true, _) => {}
                (false, Some(id)) => {
                    assert!(!pair.hosts[end].lingers(id), "{end} waits for ever: {}", pair.describe());
                    app.abandon(&mut pair.hosts[end], pair.now);
                }
                (false, None) => {} // nobody ever came
            }
            if let Err(error) = pair.apps[end].outcome() {
                let clean = matches!(
                    error,
                    Errno::ETIMEDOUT
                        | Errno::ECONNRESET
                        | Errno::EPIPE
                        | Errno::EHOSTUNREACH
                        | Errno::ECONNREFUSED
                );
                assert!(clean, "{end} ended with {error}");
            }
        }
        [0, 1].map(|end| pair.apps[end].outcome())
    }
}

fn size(rng: &mut Rng) -> usize {
    match rng.below(10) {
        0 => 0,
        1..=3 => rng.below(3_000) as usize,
        4..=8 => rng.below(60_000) as usize,
        _ => rng.below(600_000) as usize,
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let mut faults = Faults { delay: millis(rng, 0, 60), ..Faults::default() };
    if rng.chance(0.5) {
        faults.loss = rng.unit() * 0.12;
    }
    if rng.chance(0.3) {
        faults.duplicate = rng.unit() * 0.2;
    }
    if rng.chance(0.4) {
        (faults.reorder, faults.hold) = (rng.unit() * 0.3, millis(rng, 1, 120));
    }
    if rng.chance(0.3) {
        faults.corrupt = rng.unit() * 0.08;
    }
    if rng.chance(0.3) {
        faults.jitter = millis(rng, 1, 40);
    }
    if rng.chance(0.2) {
        faults.rate = Some((20_000 + rng.below(2_000_000), 9_001 + rng.below(60_000)));
    }
    if rng.chance(0.15) {
        let start = Instant::from_nanos(1_000_000_000) + millis(rng, 0, 3000);
        faults.blackout = Some((start, start + millis(rng, 100, 25_000)));
    }
    faults
}

fn plan(rng: &mut Rng, send: usize, expect: usize, hopeless: bool) -> Plan {
    let mut options = Vec::new();
    if rng.chance(0.3) {
        options.push(Opt::NoDelay(true));
    }
    if rng.chance(0.3) {
        options.push(Opt::RcvBuf(2_304 + rng.below(30_000) as u32));
    }
    if rng.chance(0.3) {
        options.push(Opt::SndBuf(4_608 + rng.below(30_000) as u32));
    }
    let controllers = ["cubic", "reno", "bbr"];
    options.push(Opt::Congestion(controllers[rng.below(3) as usize].to_owned()));
    if hopeless {
        options.push(Opt::UserTimeout(millis(rng, 1_000, 30_000)));
    }
    // A slow reader must not take a day for its octets.
    let pause = if rng.chance(0.25) && expect < 60_000 { millis(rng, 1, 400) } else { Duration::ZERO };
    Plan {
        send,
        expect,
        write: 1 + rng.below(20_000) as usize,
        read: if pause.is_zero() { 1 + rng.below(20_000) as usize } else { 500 + rng.below(8_000) as usize },
        pause,
        close_late: false,
        options,
        fast_open: false,
    }
}

fn config(rng: &mut Rng) -> Config {
    let mut config = Config::default();
    quick(&mut config);
    // An orphan must not give up before the wire mends: nobody would tell the peer, which has nothing to send.
    config.tcp_orphan_retries = config.tcp_retries2;
    // With a tenth of all packets lost nine SYNs in a row are lost now and then: no chance may end a run.
    config.tcp_syn_retries = 20;
    config.tcp_synack_retries = 20;
    config.tcp_timestamps = rng.chance(0.7);
    config.tcp_sack = rng.chance(0.7);
    config.tcp_window_scaling = rng.chance(0.7);
    config
}
