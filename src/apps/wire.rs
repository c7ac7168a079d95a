//! `tunstack wire`: joins two network namespaces, or two TUN interfaces, by a link that is bad on purpose.
//!
//! Each end is a TUN of our own: what the kernel there sends into it passes the impairment stage and comes out at the
//! other end as it is, its TTL untouched. A kernel never waits for a TUN, it drops. So the interface's queue is made
//! long and drained at once, and packets are lost in the stage alone, where they are counted.

mod end;
mod join;

use super::cli;
use super::failure::{Failure, Outcome, plain};
use super::signals;
use crate::base::{Cidr, Duration, Instant};
use crate::link::impair::{Impairment, Stats};
use crate::link::netns::Namespace;
use crate::link::{Device, Offload, Setup, exists};
pub use end::End;
use join::{ENDS, Gone, Join, Traffic};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The interface in a namespace when no name is given.
const INTERFACE: &str = "wire0";
/// Packets that wait for us in the kernel at each end: more than a sender has in flight on a long fast path.
const QUEUE: u32 = 50_000;
/// How often the ends are looked at: a deleted namespace lives on while we are in it, and tells nobody.
const LOOK: Duration = Duration::from_secs(1);

/// One end with its device.
struct Attached {
    namespace: Option<Namespace>,
    interface: String,
    /// Packets that the kernel had dropped at the interface before.
    dropped: u64,
}

/// Runs `tunstack wire`.
pub fn run(options: &cli::Wire) -> Outcome {
    let link = link(options)?;
    refuse_one_address(options)?;
    let ends = [&options.a, &options.b];
    if options.dry_run {
        let v6 = super::device::ipv6_is_on();
        print_plan(options, &[setup(options, 0, v6)?, setup(options, 1, v6)?]);
        return Ok(());
    }
    let spaces = [ends[0].open()?, ends[1].open()?];
    refuse_one_namespace(options, &spaces)?;
    let v6 = have_ipv6(&spaces)?;
    let setups = [setup(options, 0, v6)?, setup(options, 1, v6)?];
    let [space_a, space_b] = spaces;
    let (a, at_a) = attach(&setups[0], space_a)?;
    let (b, at_b) = attach(&setups[1], space_b)?;
    let seed = options.seed.unwrap_or_else(super::device::random);
    let mut join = Join::new(a, b, &link, seed);
    let interfaces = [&at_a, &at_b].map(|at| at.interface.clone());
    errln!(
        "joined {} and {}, seed {seed}{}",
        described(ends[0], &setups[0], &interfaces[0]),
        described(ends[1], &setups[1], &interfaces[1]),
        match link.to_string() {
            text if text.is_empty() => String::new(),
            text => format!(": {text}"),
        }
    );
    let (ended, length) = carry(&mut join, [(ends[0], &at_a), (ends[1], &at_b)], options.seconds)?;
    let before = [at_a, at_b].map(|at| at.dropped_since());
    let told = ENDS.map(|from| Told::of(&join, from, before[from]));
    match options.json {
        true => outln!("{}", json(options, seed, length, &told)),
        false => told.iter().zip([(ends[0], ends[1]), (ends[1], ends[0])]).for_each(|(told, (from, to))| {
            out!("{}", told.text(&from.to_string(), &to.to_string()));
        }),
    }
    match ended {
        Ok(()) => Ok(()),
        Err(Lost::Interface(Gone(end))) => {
            Err(Failure::run(format!("{} is gone from {}", interfaces[end], ends[end])))
        }
        Err(Lost::Namespace(end)) => {
            Err(Failure::run(format!("{end} leads to its network namespace no more")))
        }
    }
}

/// The link's conditions in both directions.
fn link(options: &cli::Wire) -> Outcome<Impairment> {
    let mut items: Vec<String> = options.link.iter().cloned().collect();
    for (prefix, one_way) in [("up", &options.link_ab), ("down", &options.link_ba)] {
        let parts = one_way.iter().flat_map(|text| text.split(','));
        items.extend(
            parts.map(str::trim).filter(|item| !item.is_empty()).map(|item| format!("{prefix}:{item}")),
        );
    }
    items.join(",").parse().map_err(Failure::input)
}

/// The interface that one end is to have.
fn setup(options: &cli::Wire, end: usize, v6: bool) -> Outcome<Setup> {
    let (place, addresses, routes, option) = match end {
        0 => (&options.a, &options.a_addr, &options.a_route, "--a-addr"),
        _ => (&options.b, &options.b_addr, &options.b_route, "--b-addr"),
    };
    // What is lost or late are packets as a wire carries them.
    let queue = options.txqueuelen.unwrap_or(QUEUE);
    let mut setup = Setup { queue, offload: Offload::Off, ..Setup::new([]) };
    setup.mtu = options.mtu.unwrap_or(setup.mtu);
    setup.routes.clone_from(routes);
    setup.kernel.clone_from(addresses);
    match place {
        End::Tun(name) => {
            setup.name = Some(name.clone());
            if !options.dry_run && exists(name)? && !(addresses.is_empty() && routes.is_empty()) {
                return Err(Failure::input(format!(
                    "{name} exists and keeps its addresses and routes: leave {option} out, or choose another TUN"
                )));
            }
        }
        End::Named(_) | End::At(_) => {
            setup.name = Some(options.tun.clone().unwrap_or_else(|| INTERFACE.to_owned()));
            if addresses.is_empty() {
                setup.kernel = default_addresses(end, v6 && setup.mtu >= 1280);
            }
        }
    }
    setup.check()?;
    Ok(setup)
}

/// Is IPv6 on at both ends? Only then both get an address of it by default.
fn have_ipv6(spaces: &[Option<Namespace>; 2]) -> Outcome<bool> {
    spaces.iter().try_fold(true, |all, space| {
        let on = match space {
            Some(space) => space.run(super::device::ipv6_is_on)?,
            None => super::device::ipv6_is_on(),
        };
        Ok(all && on)
    })
}

fn default_addresses(end: usize, v6: bool) -> Vec<Cidr> {
    let texts = [[Some("10.8.0.1/24"), Some("fd08::1/64")], [Some("10.8.0.2/24"), Some("fd08::2/64")]];
    let wanted = texts[end].into_iter().flatten().filter(|text| v6 || !text.contains(':'));
    wanted.filter_map(|text| text.parse().ok()).collect()
}

fn print_plan(options: &cli::Wire, setups: &[Setup; 2]) {
    for (end, setup) in [&options.a, &options.b].into_iter().zip(setups) {
        let plan = setup.plan();
        plan.steps.iter().for_each(|step| outln!("{}", end.there(&step.command(&plan.name))));
    }
    outln!("# afterwards:");
    for (end, setup) in [&options.a, &options.b].into_iter().zip(setups) {
        outln!("{}", end.there(&setup.plan().undo()));
    }
}

/// Two ends with one address cannot reach each other.
fn refuse_one_address(options: &cli::Wire) -> Outcome {
    let mut ours = options.a_addr.iter().map(|cidr| cidr.address);
    match ours.find(|address| options.b_addr.iter().any(|cidr| cidr.address == *address)) {
        None => Ok(()),
        Some(address) => {
            let why =
                format!("{address} cannot be at both ends: choose another one for --a-addr or --b-addr");
            Err(Failure::input(why))
        }
    }
}

/// A kernel does not use a wire to reach itself.
fn refuse_one_namespace(options: &cli::Wire, spaces: &[Option<Namespace>; 2]) -> Outcome {
    let same = match spaces {
        [Some(a), Some(b)] => end::identity(a).is_some_and(|a| Some(a) == end::identity(b)),
        _ => options.a == options.b,
    };
    match same {
        false => Ok(()),
        true => Err(Failure::input(format!(
            "{} and {} are one and the same, and no kernel sends to itself over a wire: `sudo ip netns add other`",
            options.a, options.b
        ))),
    }
}

/// Makes or opens the TUN of one end.
fn attach(setup: &Setup, namespace: Option<Namespace>) -> Outcome<(Device, Attached)> {
    let make = || {
        Device::tun(setup).map(|device| {
            let name = device.name().unwrap_or_default().to_owned();
            (device, dropped_at(&name), name)
        })
    };
    let (device, dropped, interface) = match &namespace {
        Some(namespace) => namespace.run(make)??,
        None => make()?,
    };
    Ok((device, Attached { namespace, interface, dropped }))
}

impl Attached {
    /// Packets that the kernel dropped at the interface, before the wire saw them.
    fn dropped_since(self) -> u64 {
        let now = match &self.namespace {
            Some(namespace) => namespace.run(|| dropped_at(&self.interface)).unwrap_or_default(),
            None => dropped_at(&self.interface),
        };
        now.saturating_sub(self.dropped)
    }
}

/// What the interface of that name in this thread's namespace dropped when sending (proc(5), `/proc/net/dev`).
fn dropped_at(interface: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    line.and_then(|numbers| numbers.split_whitespace().nth(11)?.parse().ok()).unwrap_or_default()
}

fn described(end: &End, setup: &Setup, interface: &str) -> String {
    let addresses: Vec<IpAddr> = setup.kernel.iter().map(|cidr| cidr.address).collect();
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    match (end, addresses.is_empty()) {
        (End::Tun(_), true) => interface.to_owned(),
        (End::Tun(_), false) => format!("{interface} ({})", addresses.join(", ")),
        (End::Named(_) | End::At(_), _) => format!("{end} ({interface}: {})", addresses.join(", ")),
    }
}

/// Why a wire ends by itself.
enum Lost<'a> {
    Interface(Gone),
    Namespace(&'a End),
}

/// Carries packets until the time is over, a signal comes, or an end is gone.
fn carry<'a>(
    join: &mut Join,
    places: [(&'a End, &Attached); 2],
    seconds: Option<u64>,
) -> Outcome<(Result<(), Lost<'a>>, Duration)> {
    let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| Failure::run(plain(&errno)))?;
    let bell = stop.try_clone().map_err(|error| Failure::run(plain(&error)))?;
    let _listening = signals::on_end(move || {
        // Only a full counter could refuse, and then it rings already.
        let _ = rustix::io::write(&bell, &1u64.to_ne_bytes());
    })?;
    // A sleep ends 50 µs late by default, longer than a full-size packet takes at 1 Gbit/s. In vain where forbidden.
    let _ = rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1));
    let start = std::time::Instant::now();
    let now = || Instant::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let end = seconds.map(|seconds| Instant::ZERO + Duration::from_secs(seconds));
    let mut look = Instant::ZERO + LOOK;
    let ended = loop {
        let mut moved = || Ok(join.take_in(now())? | join.put_out(now())?);
        let more = match moved() {
            Ok(more) => more,
            Err(gone) => break Err(Lost::Interface(gone)),
        };
        if end.is_some_and(|end| end <= now()) {
            break Ok(());
        }
        if look <= now() {
            if let Some((end, _)) = places.into_iter().find(|(end, at)| end.left(at.namespace.as_ref())) {
                break Err(Lost::Namespace(end));
            }
            look = now() + LOOK;
        }
        let due = [join.next_timeout(), end, Some(look)].into_iter().flatten().min();
        let wait = if more { Some(Duration::ZERO) } else { due.map(|due| due.since(now())) };
        if wait_for(join, &stop, wait) {
            break Ok(());
        }
    };
    Ok((ended, now().since(Instant::ZERO)))
}

/// Sleeps until a packet comes or the time is over. Was the end asked for?
fn wait_for(join: &Join, stop: &OwnedFd, wait: Option<Duration>) -> bool {
    let mut fds: arrayvec::ArrayVec<PollFd<'_>, 3> = join.poll_fds().take(2).collect();
    fds.push(PollFd::new(stop, PollFlags::IN));
    let timeout = wait.map(|wait| Timespec {
        tv_sec: i64::try_from(wait.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (wait.as_nanos() % 1_000_000_000) as _,
    });
    // Interrupted: the loop looks again.
    let _ = poll(&mut fds, timeout.as_ref());
    fds.last().is_some_and(|stop| !stop.revents().is_empty())
}

/// What happened in one direction.
struct Told {
    stats: Stats,
    traffic: Traffic,
    /// Dropped by the kernel before the wire.
    before: u64,
}

impl Told {
    fn of(join: &Join, from: usize, before: u64) -> Told {
        let (stats, traffic) = join.told(from);
        Told { stats, traffic, before }
    }

    /// Losses, each with its cause.
    fn losses(&self) -> [(&'static str, u64); 7] {
        let Stats { lost, blacked_out, too_big, queue_full, scripted, .. } = self.stats;
        [
            ("chance", lost),
            ("queue", queue_full),
            ("script", scripted),
            ("blackout", blacked_out),
            ("mtu", too_big),
            ("refused", self.traffic.refused),
            ("kernel", self.before),
        ]
    }

    /// The same for other changes.
    fn changes(&self) -> [(&'static str, u64); 5] {
        let Stats { duplicated, reordered, corrupted, marked, resent, .. } = self.stats;
        [
            ("duplicated", duplicated),
            ("reordered", reordered),
            ("corrupted", corrupted),
            ("marked", marked),
            ("retransmissions", resent),
        ]
    }

    fn mean_late(&self) -> Duration {
        Duration::from_nanos(self.traffic.late.as_nanos() / self.traffic.sent.max(1))
    }

    fn text(&self, from: &str, to: &str) -> String {
        let mut text = format!(
            "{from} -> {to}: {} packets, {} octets in; {} packets, {} octets out",
            self.stats.offered, self.traffic.octets, self.traffic.sent, self.traffic.delivered_octets
        );
        let words = |cause: &str| match cause {
            "chance" => "lost by chance",
            "queue" => "dropped from the full queue",
            "script" => "dropped by script",
            "blackout" => "lost in a blackout",
            "mtu" => "too big",
            "refused" => "not taken by the far interface",
            _ => "dropped by the kernel before the wire (raise --txqueuelen)",
        };
        for (cause, count) in self.losses().into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, "; {count} {}", words(cause));
        }
        for (change, count) in self.changes().into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, "; {count} {change}");
        }
        let (mean, most) = (self.mean_late().as_micros(), self.traffic.latest.as_micros());
        let _ = writeln!(text, "; {mean} us late on average, {most} us at most");
        text
    }

    fn json(&self) -> String {
        let mut text = format!(
            "{{\"packets\": {}, \"octets\": {}, \"delivered\": {}, \"delivered_octets\": {}, \"losses\": {{",
            self.stats.offered, self.traffic.octets, self.traffic.sent, self.traffic.delivered_octets
        );
        let pairs = |pairs: &[(&str, u64)]| {
            pairs.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect::<Vec<_>>().join(", ")
        };
        let (mean, most) = (self.mean_late().as_micros(), self.traffic.latest.as_micros());
        let _ = write!(
            text,
            "{}}}, {}, \"late_us\": {mean}, \"latest_us\": {most}}}",
            pairs(&self.losses()),
            pairs(&self.changes())
        );
        text
    }
}

fn json(options: &cli::Wire, seed: u64, length: Duration, told: &[Told; 2]) -> String {
    // What a person typed may hold anything (RFC 8259 §7).
    let quoted = |end: &End| {
        let mut text = String::from('"');
        for c in end.to_string().chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_control() => {
                    let _ = write!(text, "\\u{:04x}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        text + "\""
    };
    format!(
        "{{\"a\": {}, \"b\": {}, \"seed\": {seed}, \"seconds\": {:.3}, \"a_to_b\": {}, \"b_to_a\": {}}}",
        quoted(&options.a),
        quoted(&options.b),
        length.as_secs_f64(),
        told[0].json(),
        told[1].json()
    )
}

#[cfg(test)]
mod tests;
