//! `tunstack bench`: how fast the stack is on this machine, beside the kernel over veth and smoltcp over a plain TUN.
//!
//! Each contestant is a server process in a private namespace, and one client, the kernel's sockets, measures them all in
//! turn, round after round. Nothing outside is touched, and nothing is left behind.

mod blocking;
mod client;
mod kernel;
mod report;
mod smol;

use super::cli;
use super::failure::{Doing as _, Failure, Outcome, plain};
use super::signals::end_with_parent;
use crate::base::Cidr;
use crate::link::check_node;
use crate::link::netns::{Namespace, enter_private, join};
use clap::ValueEnum;
use report::Report;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ports of the services that every contestant has.
const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const SOURCE: u16 = 19;
/// The client's address, and the servers'.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
const PREFIX: u8 = 24;
/// Connections that ask at the same time, and that are opened at the same time.
const MANY: usize = 64;
const AT_ONCE: usize = 16;
/// Longest time that opening the idle connections may take.
const OPENING: Duration = Duration::from_secs(30);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contestant {
    /// The kernel in another namespace, over a pair of virtual Ethernet interfaces
    Kernel,
    /// smoltcp over a plain TUN
    Smoltcp,
    /// tunstack over a plain TUN
    Plain,
    /// tunstack with segmentation offload
    Offload,
    /// The same in two shards; measured only when it is asked for
    Shards,
}

impl Contestant {
    const ALL: [Contestant; 5] =
        [Contestant::Kernel, Contestant::Smoltcp, Contestant::Plain, Contestant::Offload, Contestant::Shards];

    fn name(self) -> &'static str {
        match self {
            Contestant::Kernel => "kernel-veth",
            Contestant::Smoltcp => "smoltcp",
            Contestant::Plain => "plain TUN",
            Contestant::Offload => "offload TUN",
            Contestant::Shards => "two shards",
        }
    }
}

/// A server that is not `tunstack serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    Kernel,
    Smoltcp,
    /// tunstack with a thread that blocks for each connection.
    Blocking,
}

/// What is measured.
struct Metric {
    /// In the JSON.
    name: &'static str,
    /// In the table.
    label: &'static str,
    less_is_better: bool,
    digits: usize,
}

const fn more(name: &'static str, label: &'static str, digits: usize) -> Metric {
    Metric { name, label, less_is_better: false, digits }
}

const fn less(name: &'static str, label: &'static str, digits: usize) -> Metric {
    Metric { name, label, less_is_better: true, digits }
}

const METRICS: [Metric; 12] = [
    more("to_gbit", "to it, Gbit/s", 2),
    more("from_gbit", "from it, Gbit/s", 2),
    less("p50_us", "round trip, us", 1),
    less("p50_one_cpu_us", "  both on one CPU, us", 1),
    less("p50_two_cpus_us", "  on two CPUs, us", 1),
    more("trips_64", "trips/s, 64 connections", 0),
    more("connections", "connections/s", 0),
    less("cpu_per_gb_to", "CPU s per GB, to it", 3),
    less("cpu_per_gb_from", "CPU s per GB, from it", 3),
    less("idle_octets", "octets/idle connection", 0),
    less("p50_blocking_one_cpu_us", "blocking, one CPU, us", 1),
    less("p50_blocking_two_cpus_us", "blocking, two CPUs, us", 1),
];

/// A value for each of [`METRICS`], as far as it could be measured.
type Measured = [Option<f64>; METRICS.len()];

/// Runs one of the servers that are measured.
pub fn run_peer(options: &cli::BenchPeer) -> Outcome {
    end_with_parent(options.with_parent)?;
    match options.kind {
        PeerKind::Kernel => kernel::serve(options.addr.address),
        PeerKind::Smoltcp => smol::serve(options),
        PeerKind::Blocking => blocking::serve(options),
    }
}

/// How it is to be measured.
struct Plan {
    time: Duration,
    connections: usize,
    mtu: u32,
}

/// Idle connections whose memory is measured, and how many will do.
const MANY_IDLE: usize = 10_000;
const FEW_IDLE: usize = 1000;
/// Connections that are measured in any case, and open files besides those of connections.
const LEAST: usize = MANY;
const SPARE: usize = 100;

/// Runs `tunstack bench`.
pub fn run(options: &cli::Bench) -> Outcome {
    let outputs = [".json", ".svg"].map(|ending| named(&options.out, ending));
    outputs.iter().try_for_each(|output| check_output(&options.out, output))?;
    check_node()?;
    enter_private()?;
    let (seconds, rounds) = if options.quick { (0.5, 1) } else { (2.0, 5) };
    let time = Duration::from_secs_f64(options.seconds.unwrap_or(seconds));
    let files = descriptors();
    let room = files.saturating_sub(SPARE);
    // Fewer tell less: what all connections share weighs more.
    let many = if options.quick { MANY_IDLE.min(room.max(FEW_IDLE)) } else { MANY_IDLE };
    let connections = options.connections.map_or(many, |count| count as usize);
    if connections.max(LEAST) > room {
        let needed = connections.max(LEAST) + SPARE;
        let fewer = if connections > LEAST { ", or fewer --connections" } else { "" };
        return Err(Failure::input(format!(
            "{files} open files are too few here: `ulimit -n {needed}`{fewer}"
        )));
    }
    let plan = Plan { time, connections, mtu: options.mtu.unwrap_or(1500) };
    let wanted = |who: &Contestant| match who {
        Contestant::Kernel => true,
        Contestant::Shards => options.only.contains(who),
        _ => options.only.is_empty() || options.only.contains(who),
    };
    let contestants: Vec<Contestant> = Contestant::ALL.into_iter().filter(wanted).collect();
    let mut report = Report { contestants, rounds: Vec::new(), seconds: time.as_secs_f64(), mtu: plan.mtu };
    let rounds = options.rounds.unwrap_or(rounds);
    let (shows_progress, mut failed) = (std::io::stderr().is_terminal(), false);
    let mut given_up = Vec::new();
    for round in 1..=rounds {
        let mut reached = Vec::new();
        for who in report.contestants.clone() {
            if given_up.contains(&who) {
                reached.push(Measured::default());
                continue;
            }
            if shows_progress {
                err!("\rround {round} of {rounds}: {:12}", who.name());
            }
            // Memory does not change from round to round, and ten thousand connections take their time.
            let idle = if round == 1 { plan.connections } else { 0 };
            let mut values = Measured::default();
            if let Err(failure) = measure(who, &plan, idle, &mut values) {
                let begin = if shows_progress { "\r" } else { "" };
                errln!("{begin}{} cannot be measured to the end: {failure}", who.name());
                // A kernel without veth is told of; the rest stands without it.
                failed |= who != Contestant::Kernel;
                if values.iter().all(Option::is_none) {
                    given_up.push(who);
                }
            }
            reached.push(values);
        }
        report.rounds.push(reached);
    }
    if shows_progress {
        err!("\r{:40}\r", "");
    }
    for (path, text) in outputs.iter().zip([report.json(), report.svg()]) {
        let written = std::fs::write(path, text).doing(format_args!("cannot write {}", path.display()));
        if written.is_err() {
            // Half of them are of no use. What cannot be removed stays.
            let _ = std::fs::remove_file(path);
        }
        written?;
    }
    out!("{}{}", report.table(), report.beside_smoltcp());
    outln!(
        "Rounds: {rounds}, medians; {:.1} s for each value; MTU {}; {} idle connections.\nx: times the kernel's.",
        time.as_secs_f64(),
        plan.mtu,
        plan.connections
    );
    outln!("{} and {} have it all.", outputs[0].display(), outputs[1].display());
    match failed {
        true => Err(Failure::run("not everything could be measured")),
        false => Ok(()),
    }
}

/// The name with an ending after all of it.
fn named(name: &Path, ending: &str) -> PathBuf {
    let mut whole = name.as_os_str().to_owned();
    whole.push(ending);
    whole.into()
}

/// Before minutes are spent: can the results be written? What is there already stays for now.
fn check_output(name: &Path, output: &Path) -> Outcome {
    let refused = |why: String| Failure::input(format!("{why}: choose another place with --out"));
    let is_folder = name.as_os_str().as_encoded_bytes().ends_with(b"/") || name.file_name().is_none();
    if is_folder {
        return Err(refused(format!("{} names a folder and no file", name.display())));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        return Err(Failure::input(format!("there is no folder {0}: `mkdir -p {0}`", folder.display())));
    }
    let is_new = !output.exists();
    match OpenOptions::new().append(true).create(true).open(output) {
        Ok(_) if is_new => {
            std::fs::remove_file(output).doing(format_args!("cannot write {}", output.display()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(refused(format!("cannot write {} ({})", output.display(), plain(&error)))),
    }
}

/// As many open files as the system allows.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// A server in its namespace.
struct Server {
    child: Child,
    client: Namespace,
    /// Keeps the far namespace while the server lives.
    _far: Option<Namespace>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(who: Contestant, mtu: u32) -> Outcome<Server> {
    start_as(who, false, mtu)
}

/// With `blocking`, tunstack as programs have it whose threads block.
fn start_as(who: Contestant, blocking: bool, mtu: u32) -> Outcome<Server> {
    let client = Namespace::new()?;
    client.run(tune)?;
    let program = std::env::current_exe().doing("cannot find this program")?;
    let mut command = Command::new(program);
    let (ours, theirs) = (Cidr { address: CLIENT, prefix: PREFIX }, Cidr { address: SERVER, prefix: PREFIX });
    let far = match who {
        Contestant::Kernel => {
            let far = Namespace::new()?;
            far.run(tune)?;
            join((&client, ours), (&far, theirs), "veth0", mtu)?;
            Some(far)
        }
        Contestant::Smoltcp | Contestant::Plain | Contestant::Offload | Contestant::Shards => None,
    };
    let peer = |command: &mut Command, kind: &str| {
        command.args(["bench-peer", kind]);
    };
    match who {
        Contestant::Kernel => peer(&mut command, "kernel"),
        Contestant::Smoltcp => peer(&mut command, "smoltcp"),
        Contestant::Offload if blocking => peer(&mut command, "blocking"),
        Contestant::Plain | Contestant::Offload | Contestant::Shards => {
            let offload = if who == Contestant::Plain { "off" } else { "on" };
            let shards = if who == Contestant::Shards { "2" } else { "1" };
            command.args(["serve", "echo", "discard", "chargen", "--tun", "tun0"]);
            command.args(["--offload", offload, "--shards", shards]);
        }
    }
    command.args(["--with-parent", &std::process::id().to_string()]);
    command.args(["--addr", &theirs.to_string(), "--peer", &ours.to_string(), "--mtu", &mtu.to_string()]);
    far.as_ref().unwrap_or(&client).enter_in(&mut command).doing("cannot start a server")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().doing("cannot start a server")?;
    let stderr = child.stderr.take();
    let server = Server { child, client, _far: far };
    if who != Contestant::Kernel {
        let mut line = String::new();
        stderr
            .map(|stderr| BufReader::new(stderr).read_line(&mut line))
            .transpose()
            .doing("no word from a server")?;
        if !line.contains("serving") {
            return Err(Failure::run(line.trim().trim_start_matches("tunstack: ")));
        }
    }
    let until = Instant::now() + Duration::from_secs(10);
    while server.client.run(|| client::connect(SERVER, ECHO))?.is_err() {
        if Instant::now() > until {
            return Err(Failure::run("its server does not answer"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// Lets a client open connections without end: no TIME-WAIT, many ports, a long queue. Where forbidden, fewer.
fn tune() {
    for (name, value) in [
        ("ipv4/tcp_max_tw_buckets", "0"),
        ("ipv4/ip_local_port_range", "2000 65000"),
        ("ipv4/tcp_max_syn_backlog", "8192"),
        ("core/somaxconn", "4096"),
    ] {
        let _ = std::fs::write(format!("/proc/sys/net/{name}"), value);
    }
}

/// All measurements of one contestant, in one process of its own.
fn measure(who: Contestant, plan: &Plan, idle: usize, values: &mut Measured) -> Outcome {
    let server = start(who, plan.mtu)?;
    let pid = server.child.id();
    let time = plan.time;
    let work = || -> Outcome {
        for (rate, cpu, bulk) in
            [(0, 7, client::bulk_to as fn(IpAddr, Duration) -> Outcome<f64>), (1, 8, client::bulk_from)]
        {
            let (before, begin) = (processor_time(pid), Instant::now());
            let octets = bulk(SERVER, time)?;
            let gigabytes = octets * begin.elapsed().as_secs_f64() / 1e9;
            values[rate] = Some(octets * 8.0 / 1e9);
            // Of the kernel's receiving and sending most is done outside of any process.
            values[cpu] = (who != Contestant::Kernel).then(|| (processor_time(pid) - before) / gigabytes);
        }
        values[2] = p50(&client::round_trips(SERVER, time)?);
        [values[3], values[4]] = placed_round_trips(pid, time)?;
        values[5] = Some(client::round_trips_on_many(SERVER, MANY, time)?);
        values[6] = Some(client::connections(SERVER, AT_ONCE, time)?);
        Ok(())
    };
    server.client.run(work)??;
    drop(server);
    // The kernel's server has no other way to wait: what it reached stands beside both.
    [values[10], values[11]] = match who {
        Contestant::Kernel => [values[3], values[4]],
        Contestant::Offload => {
            let server = start_as(who, true, plan.mtu)?;
            server.client.run(|| placed_round_trips(server.child.id(), time))??
        }
        Contestant::Smoltcp | Contestant::Plain | Contestant::Shards => [None; 2],
    };
    // In a fresh process: what others left behind is no idle connection's. The kernel's are in no process.
    if idle > 0 && who != Contestant::Kernel {
        values[9] = Some(idle_octets(who, plan, idle)?);
    }
    Ok(())
}

fn p50(times: &[Duration]) -> Option<f64> {
    times.get(times.len() / 2).map(|time| time.as_secs_f64() * 1e6)
}

/// Median round trips with client and server on one processor, and on two where there are two.
fn placed_round_trips(pid: u32, time: Duration) -> Outcome<[Option<f64>; 2]> {
    let all = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    let mut medians = [None; 2];
    for (median, (ours, theirs)) in medians.iter_mut().zip(placements(&all)) {
        place(pid, &theirs);
        let _ = sched_setaffinity(None, &ours);
        *median = p50(&client::round_trips(SERVER, time)?);
        let _ = sched_setaffinity(None, &all);
        place(pid, &all);
    }
    Ok(medians)
}

/// Octets of memory for each idle connection.
fn idle_octets(who: Contestant, plan: &Plan, count: usize) -> Outcome<f64> {
    let server = start(who, plan.mtu)?;
    let pid = server.child.id();
    server.client.run(|| {
        // The first ones make what all of them share.
        drop(client::idle(SERVER, MANY.min(count), OPENING)?);
        let before = resident(pid);
        let streams = client::idle(SERVER, count, OPENING)?;
        if streams.len() < count {
            return Err(Failure::run(format!(
                "only {} of {count} idle connections were opened",
                streams.len()
            )));
        }
        Ok((resident(pid) - before) / streams.len() as f64)
    })?
}

/// Both on one processor, and each on its own where there are two.
fn placements(all: &CpuSet) -> Vec<(CpuSet, CpuSet)> {
    let one = |cpu: usize| {
        let mut set = CpuSet::new();
        set.set(cpu);
        set
    };
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    match (cpus.next(), cpus.next()) {
        (Some(a), Some(b)) => vec![(one(a), one(a)), (one(a), one(b))],
        (Some(a), None) => vec![(one(a), one(a))],
        _ => Vec::new(),
    }
}

/// The threads of a process.
fn threads(pid: u32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Lets all threads of a process run only there. In vain for one that has just ended.
fn place(pid: u32, cpus: &CpuSet) {
    for thread in threads(pid).into_iter().filter_map(Pid::from_raw) {
        let _ = sched_setaffinity(Some(thread), cpus);
    }
}

/// Seconds that the threads of a process have run.
fn processor_time(pid: u32) -> f64 {
    let ran = |thread: i32| -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads(pid).into_iter().filter_map(ran).sum::<f64>() / 1e9
}

/// Octets of memory that a process has.
fn resident(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or_default() * 1024.0
}
