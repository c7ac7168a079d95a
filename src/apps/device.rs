//! From the command line to a running stack, and back: the interface, the addresses, the readers of the trace.

use super::cli;
use super::failure::{Doing as _, Failure, Outcome, plain};
use crate::base::{Cidr, Errno};
use crate::link::netns::{Privilege, enter_private};
use crate::link::{Device, Offload, Setup, exists};
use crate::observe::{Capture, Ladder, Shared, Style, Tee};
use crate::runtime::{Builder, Stack};
use crate::trace::Direction;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::SystemTime;

/// Addresses of the stack when none are given.
const DEFAULT_V4: &str = "10.9.0.2/24";
const DEFAULT_V6: &str = "fd09::2/64";

/// A running stack with what reads its trace.
pub struct Running {
    /// The stack.
    pub stack: Stack,
    /// The name of its interface.
    pub interface: String,
    /// Addresses of both sides.
    pub setup: Setup,
    readers: Readers,
}

/// The readers that the command line asks for.
#[derive(Clone, Default)]
pub struct Readers {
    ladder: Option<Shared<Ladder>>,
    capture: Option<Shared<Capture>>,
}

/// Where the ladder goes, when one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LadderTo {
    /// Nowhere.
    Nowhere,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Moves this process into a private network namespace if that was asked for. Must come before any thread.
///
/// # Errors
/// What keeps it from having one.
pub fn enter(options: &cli::Device) -> Outcome<Option<Privilege>> {
    match options.netns {
        true => Ok(Some(enter_private()?)),
        false => Ok(None),
    }
}

/// The interface and the addresses that were asked for.
///
/// # Errors
/// What cannot be.
pub fn setup(options: &cli::Device) -> Outcome<Setup> {
    let there = match &options.tun {
        Some(name) => {
            crate::link::check_name(name)?;
            exists(name)?
        }
        None => false,
    };
    if there && options.addr.is_empty() {
        let name = options.tun.as_deref().unwrap_or_default();
        return Err(Failure::input(format!(
            "{name} exists already, so say which address behind it is the stack's: --addr {DEFAULT_V4}"
        )));
    }
    let stack = if options.addr.is_empty() { default_addresses() } else { options.addr.clone() };
    stack.iter().chain(&options.peer).try_for_each(check_host)?;
    let twice = stack
        .iter()
        .enumerate()
        .find(|(at, cidr)| stack[..*at].iter().any(|other| other.address == cidr.address));
    if let Some((_, cidr)) = twice {
        return Err(Failure::input(format!("--addr {} is given twice: leave one out", cidr.address)));
    }
    let mut setup = Setup::new(stack);
    setup.name.clone_from(&options.tun);
    let given =
        |cidr: &Cidr| options.peer.iter().any(|peer| peer.address.is_ipv4() == cidr.address.is_ipv4());
    setup.kernel.retain(|cidr| !given(cidr));
    setup.kernel.extend(&options.peer);
    if !there {
        check_reachable(&setup)?;
    }
    if let Some(mtu) = options.mtu {
        setup.mtu = mtu;
    }
    setup.check()?;
    check_families(options, &setup)?;
    check_gateways(options, &setup)?;
    Ok(setup)
}

/// Peers and gateways are of use to stack addresses of their family only.
fn check_families(options: &cli::Device, setup: &Setup) -> Outcome {
    let peers = options.peer.iter().map(|cidr| ("--peer", cidr.address));
    let mut all = peers.chain(options.gateway.iter().map(|gateway| ("--gateway", *gateway)));
    let lonely =
        all.find(|(_, theirs)| !setup.stack.iter().any(|ours| ours.address.is_ipv4() == theirs.is_ipv4()));
    match lonely {
        Some((option, address)) => Err(Failure::input(format!(
            "the stack has no address of the family of {address}: leave {option} out, or add one, like --addr {}",
            if address.is_ipv4() { DEFAULT_V4 } else { DEFAULT_V6 }
        ))),
        None => Ok(()),
    }
}

/// A gateway is another host that is reached without one.
fn check_gateways(options: &cli::Device, setup: &Setup) -> Outcome {
    for (at, gateway) in options.gateway.iter().enumerate() {
        let ours = || setup.stack.iter().filter(|ours| ours.address.is_ipv4() == gateway.is_ipv4());
        if ours().any(|ours| ours.address == *gateway) {
            return Err(Failure::input(format!(
                "--gateway {gateway} is the stack itself: name another host of its network"
            )));
        }
        let near = setup.stack.iter().any(|ours| ours.contains(*gateway));
        if !near && !setup.kernel.iter().any(|peer| peer.address == *gateway) {
            let network = ours().map(|ours| format!("{}/{}", ours.network(), ours.prefix)).next();
            return Err(Failure::input(format!(
                "--gateway {gateway} is on no network of the stack: choose one in {}",
                network.unwrap_or_default()
            )));
        }
        if options.gateway[..at].iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
            let family = if gateway.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(Failure::input(format!("--gateway is given twice for {family}: leave one out")));
        }
    }
    Ok(())
}

/// An address alone in its prefix leaves none for the kernel's side, and from nowhere no packet comes.
fn check_reachable(setup: &Setup) -> Outcome {
    let v4 = |cidr: &Cidr| cidr.address.is_ipv4();
    let lonely = setup.stack.iter().find(|cidr| !setup.kernel.iter().any(|kernel| v4(kernel) == v4(cidr)));
    match lonely {
        Some(cidr) if cidr.prefix == if v4(cidr) { 32 } else { 128 } => Err(Failure::input(format!(
            "{cidr} leaves no address for the kernel's side: write {}/{}, or give it one with --peer",
            cidr.address,
            if v4(cidr) { 24 } else { 64 }
        ))),
        _ => Ok(()),
    }
}

/// Prints what would be done: the private namespace of that kind, if one was entered, and the interface.
///
/// # Errors
/// As [`setup`].
pub fn print_plan(options: &cli::Device, namespace: Option<Privilege>, several_queues: bool) -> Outcome {
    let setup = Setup { several_queues, ..setup(options)? };
    if let Some(privilege) = namespace {
        // What follows is for the shell that this starts.
        outln!("{}", privilege.command());
        outln!("ip link set lo up");
    }
    let name = setup.name.clone().unwrap_or_default();
    if options.tun.is_some() && exists(&name)? {
        outln!("# {name} exists: tunstack attaches to it and configures nothing");
        return Ok(());
    }
    let plan = setup.plan();
    out!("{plan}");
    match namespace {
        Some(_) => outln!("# at the end: exit, and the namespace is gone with all that is in it"),
        None => outln!("# at the end: {}", plan.undo()),
    }
    Ok(())
}

/// Starts the stack that was asked for. `ladder` says where the ladder goes, if not to standard error by `--ladder`.
///
/// # Errors
/// One sentence about what is in the way, with the mend.
pub fn start(options: &cli::Device, ladder: LadderTo) -> Outcome<Running> {
    let mut setup = setup(options)?;
    setup.offload = offload(options, ladder)?;
    let device = Device::tun(&setup)?;
    let interface = settle_interface(options, &mut setup, &device)?;
    let (readers, tee) = Readers::open(options, ladder, &interface)?;
    let device = match &options.link {
        Some(impairment) => {
            let device = device.impaired(impairment, options.seed.unwrap_or_else(random));
            readers.hear_of_losses(device)
        }
        None => device,
    };
    let mut builder = builder(options, &setup).device(device);
    if let Some(sink) = tee.into_sink() {
        builder = builder.trace(sink);
    }
    let stack = builder.start().map_err(|error| Failure::input(plain(&error)))?;
    Ok(Running { stack, interface, setup, readers })
}

/// Starts so many stacks on queues of one interface; gives its name and the addresses, too.
///
/// # Errors
/// As [`start`], and for what is of one stack only.
pub fn start_shards(options: &cli::Device, count: u16) -> Outcome<(Vec<Stack>, String, Setup)> {
    let single = [
        ("--ladder", options.ladder),
        ("--capture", options.capture.is_some()),
        ("--link", options.link.is_some()),
    ];
    if let Some((name, _)) = single.iter().find(|(_, given)| *given) {
        return Err(Failure::input(format!("{name} is for one stack: leave out --shards, or {name}")));
    }
    let mut setup = setup(options)?;
    setup.offload = offload(options, LadderTo::Nowhere)?;
    let queues = Device::tun_queues(&setup, count.into())?;
    let interface = settle_interface(options, &mut setup, &queues[0])?;
    let stacks =
        builder(options, &setup).start_shards(queues).map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::EMFILE.code() => {
                Failure::input("too many open files: `ulimit -n 8192`, or fewer --shards")
            }
            _ => Failure::input(plain(&error)),
        })?;
    Ok((stacks, interface, setup))
}

/// What the interface turned out to be; its name.
fn settle_interface(options: &cli::Device, setup: &mut Setup, device: &Device) -> Outcome<String> {
    let interface = device.name().unwrap_or("tun").to_owned();
    if let Device::Tun(tun) = device
        && let Some(why) = tun.offload_refused()
    {
        errln!("{interface} goes without segmentation offload: {why}");
    }
    check_mtu(options, device)?;
    if !was_made(device) {
        // Nothing was configured: the kernel's side has the addresses that it has.
        setup.kernel.clone_from(&options.peer);
    }
    Ok(interface)
}

/// A stack as it was asked for, without its device.
fn builder(options: &cli::Device, setup: &Setup) -> Builder {
    let mut builder = Stack::builder();
    for cidr in &setup.stack {
        builder = builder.address(*cidr);
    }
    for peer in &setup.kernel {
        if !setup.stack.iter().any(|ours| ours.contains(peer.address)) {
            builder = builder.route(alone(peer.address), None);
        }
    }
    for gateway in gateways(options, setup) {
        builder = builder.gateway(gateway);
    }
    for (name, value) in &options.set {
        builder = builder.setting(name, value);
    }
    match options.seed {
        Some(seed) => builder.seed(wide(seed)),
        None => builder,
    }
}

/// Whoever looks at packets wants those that a wire would carry.
fn offload(options: &cli::Device, ladder: LadderTo) -> Outcome<Offload> {
    let looked_at = options.ladder || options.capture.is_some() || ladder != LadderTo::Nowhere;
    match options.offload {
        cli::Offload::On if options.link.is_some() => Err(Failure::input(
            "--link makes packets of wire size, which is without offload: leave out --offload on",
        )),
        cli::Offload::On => Ok(Offload::On),
        cli::Offload::Auto if !looked_at && options.link.is_none() => Ok(Offload::Auto),
        cli::Offload::Auto | cli::Offload::Off => Ok(Offload::Off),
    }
}

fn was_made(device: &Device) -> bool {
    matches!(device, Device::Tun(tun) if tun.was_made())
}

/// An interface that existed before has the MTU that it has.
///
/// # Errors
/// When another one was asked for.
pub fn check_mtu(options: &cli::Device, device: &Device) -> Outcome {
    let (name, mtu) = (device.name().unwrap_or_default(), device.link().mtu);
    match options.mtu {
        Some(wish) if wish != mtu && !was_made(device) => Err(Failure::input(format!(
            "{name} exists and has an MTU of {mtu}: leave --mtu out, or `sudo ip link set {name} mtu {wish}`"
        ))),
        _ => Ok(()),
    }
}

impl Running {
    /// The address of the stack that programs are told first.
    pub fn address(&self) -> IpAddr {
        self.setup.stack[0].address
    }

    /// The readers, for whoever ends the process on another path.
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Ends the stack, and then its readers with their summaries.
    ///
    /// # Errors
    /// When the capture could not be written.
    pub fn finish(self) -> Outcome {
        self.stack.set_trace(None);
        drop(self.stack);
        self.readers.finish()
    }
}

impl Readers {
    /// Opens what `options` ask for, and the tee that feeds it.
    ///
    /// # Errors
    /// When the capture cannot be written.
    pub fn open(options: &cli::Device, ladder: LadderTo, interface: &str) -> Outcome<(Readers, Tee)> {
        let to = match ladder {
            LadderTo::Nowhere if options.ladder => LadderTo::Error,
            LadderTo::Output if captures_to_output(options) => LadderTo::Error,
            LadderTo::Nowhere | LadderTo::Output | LadderTo::Error => ladder,
        };
        let ladder = match to {
            LadderTo::Nowhere => None,
            LadderTo::Output => Some(Ladder::new(io::stdout(), Style::of(&io::stdout()))),
            LadderTo::Error => Some(Ladder::new(io::stderr(), Style::of(&io::stderr()))),
        };
        // In a private namespace there is nobody else.
        let other = if options.netns { "Linux kernel" } else { "other end" };
        let ladder = ladder.map(|ladder| Shared::new(ladder.with_names("tunstack", other)));
        let capture = options.capture.as_deref().map(|path| open_capture(path, interface)).transpose()?;
        let mut tee = Tee::new();
        if let Some(ladder) = &ladder {
            tee = tee.with(ladder.clone());
        }
        if let Some(capture) = &capture {
            tee = tee.with(capture.clone());
        }
        Ok((Readers { ladder, capture }, tee))
    }

    /// Lets the ladder know what a bad link loses.
    fn hear_of_losses(&self, mut device: Device) -> Device {
        if let (Device::Impaired(stage), Some(ladder)) = (&mut device, self.ladder.clone()) {
            stage.on_loss(move |at, up, packet| {
                let direction = if up { Direction::Out } else { Direction::In };
                ladder.with(|ladder| ladder.lost(at, direction, packet));
            });
        }
        device
    }

    /// Writes summaries, and what is still in memory.
    ///
    /// # Errors
    /// When the capture could not be written.
    pub fn finish(&self) -> Outcome {
        if let Some(ladder) = &self.ladder {
            ladder.with(Ladder::finish);
        }
        match self.capture.as_ref().map(|capture| capture.with(Capture::finish)) {
            // Whoever read the pipe had enough.
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(result) => result.doing("the capture is incomplete"),
            None => Ok(()),
        }
    }
}

/// Does the capture go to standard output?
pub fn captures_to_output(options: &cli::Device) -> bool {
    options.capture.as_deref() == Some(Path::new("-"))
}

/// Refuses a capture on standard output to a command that writes there itself.
///
/// # Errors
/// Says so.
pub fn keep_output_free(options: &cli::Device) -> Outcome {
    match captures_to_output(options) {
        true => Err(Failure::input(
            "--capture - needs standard output for itself, and this command writes there: use --capture FILE",
        )),
        false => Ok(()),
    }
}

fn open_capture(path: &Path, interface: &str) -> Outcome<Shared<Capture>> {
    let output: (Box<dyn Write + Send>, bool) = if path == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Failure::input(
                "--capture - would write packets to this terminal: pipe it on, as `| tcpdump -nr -` or `| tshark -r -`",
            ));
        }
        (Box::new(io::stdout()), true)
    } else {
        let file = File::create(path).map_err(|error| {
            Failure::input(format!(
                "cannot write {}: {}: choose another --capture",
                path.display(),
                plain(&error)
            ))
        })?;
        let flush = !file.metadata().is_ok_and(|metadata| metadata.is_file());
        (Box::new(file), flush)
    };
    let (output, flush) = output;
    let capture =
        Capture::new(output, interface, SystemTime::now(), flush).doing("cannot begin the capture")?;
    Ok(Shared::new(capture))
}

/// The gateways given, and for the other family the kernel's side.
fn gateways(options: &cli::Device, setup: &Setup) -> Vec<IpAddr> {
    let mut gateways = options.gateway.clone();
    for cidr in &setup.kernel {
        if !gateways.iter().any(|known| known.is_ipv4() == cidr.address.is_ipv4()) {
            gateways.push(cidr.address);
        }
    }
    gateways
}

/// A prefix with this address alone in it.
fn alone(address: IpAddr) -> Cidr {
    Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
}

fn default_addresses() -> Vec<Cidr> {
    let v6 = ipv6_is_on();
    let texts = [DEFAULT_V4].into_iter().chain(v6.then_some(DEFAULT_V6));
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Does the kernel have IPv6 here?
pub fn ipv6_is_on() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|text| text.trim() == "0")
}

/// RFC 1122 §3.2.1.3, RFC 4291 §2.5: neither unspecified, loopback, multicast, broadcast, nor the network as a whole
/// (or any of its routers, RFC 4291 §2.6.1).
fn check_host(cidr: &Cidr) -> Outcome {
    let address = cidr.address;
    let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || cidr.broadcast() == Some(v4));
    if special || broadcast {
        let like = if address.is_ipv4() { DEFAULT_V4 } else { DEFAULT_V6 };
        return Err(Failure::input(format!(
            "{address} is no address that a host can have: choose one like {like}"
        )));
    }
    let host = match cidr.network() {
        IpAddr::V4(network) if cidr.prefix < 31 => IpAddr::V4(Ipv4Addr::from_bits(network.to_bits() | 2)),
        IpAddr::V6(network) if cidr.prefix < 127 => IpAddr::V6(Ipv6Addr::from_bits(network.to_bits() | 2)),
        _ => return Ok(()),
    };
    match address == cidr.network() {
        true => Err(Failure::input(format!(
            "{cidr} is the network itself: choose an address in it, like {host}/{}",
            cidr.prefix
        ))),
        false => Ok(()),
    }
}

/// A seed of the length that the stack takes.
pub fn wide(seed: u64) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[..8].copy_from_slice(&seed.to_le_bytes());
    wide
}

/// A seed of our own.
pub fn random() -> u64 {
    let mut seed = [0; 8];
    // Without randomness from the system the link is bad in the same way each time, which is bad enough.
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(addr: &[&str], peer: &[&str]) -> cli::Device {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("valid")).collect();
        cli::Device { addr: all(addr), peer: all(peer), ..cli::Device::default() }
    }

    #[test]
    fn family_without_a_peer_gets_the_default_one() {
        let both = setup(&options(&["10.9.0.2/24", "fd09::2/64"], &["10.9.0.7/24"])).expect("possible");
        let kernel: Vec<String> = both.kernel.iter().map(Cidr::to_string).collect();
        assert_eq!(kernel, ["fd09::1/64", "10.9.0.7/24"]);
    }

    #[test]
    fn network_is_no_host() {
        let said =
            |addr: &str| setup(&options(&[addr], &[])).map(|_| ()).map_err(|failure| failure.to_string());
        let network = |cidr: &str, like: &str| {
            Err(format!("{cidr} is the network itself: choose an address in it, like {like}"))
        };
        assert_eq!(said("10.9.0.0/24"), network("10.9.0.0/24", "10.9.0.2/24"));
        assert_eq!(said("10.9.0.4/30"), network("10.9.0.4/30", "10.9.0.6/30"));
        assert_eq!(said("fd09::/64"), network("fd09::/64", "fd09::2/64"));
        // RFC 3021, RFC 6164: of two addresses both are hosts.
        assert_eq!((said("10.9.0.4/31"), said("fd09::/127")), (Ok(()), Ok(())));
        let peer = setup(&options(&["10.9.0.2/24"], &["10.9.0.255/24"])).expect_err("broadcast");
        assert!(peer.message().starts_with("10.9.0.255 is no address"), "{peer}");
    }

    #[test]
    fn address_given_twice_is_told() {
        let twice = setup(&options(&["10.9.0.2/24", "10.9.0.2/16"], &[])).expect_err("twice");
        assert_eq!(twice.message(), "--addr 10.9.0.2 is given twice: leave one out");
    }

    #[test]
    fn gateway_must_be_a_neighbour() {
        let said = |gateways: &[&str]| {
            let gateway = gateways.iter().map(|text| text.parse().expect("valid")).collect();
            let options = cli::Device { gateway, ..options(&["10.9.0.2/24"], &["10.8.0.1/24"]) };
            setup(&options).map_or_else(|failure| failure.to_string(), |_| "fine".to_owned())
        };
        assert_eq!(said(&["10.9.0.7"]), "fine");
        assert_eq!(said(&["10.8.0.1"]), "fine");
        assert_eq!(
            said(&["10.77.0.1"]),
            "--gateway 10.77.0.1 is on no network of the stack: choose one in 10.9.0.0/24"
        );
        assert_eq!(
            said(&["10.9.0.2"]),
            "--gateway 10.9.0.2 is the stack itself: name another host of its network"
        );
        assert_eq!(said(&["10.9.0.7", "10.9.0.8"]), "--gateway is given twice for IPv4: leave one out");
        assert_eq!(
            said(&["fd09::1"]),
            "the stack has no address of the family of fd09::1: leave --gateway out, or add one, like --addr fd09::2/64"
        );
        let peer = setup(&options(&["fd09::2/64"], &["10.9.0.1/24"])).expect_err("no IPv4");
        assert!(peer.message().ends_with("leave --peer out, or add one, like --addr 10.9.0.2/24"), "{peer}");
    }

    #[test]
    fn address_alone_in_its_prefix_needs_a_peer() {
        let lonely = setup(&options(&["10.9.0.2/32"], &[])).expect_err("unreachable");
        assert!(lonely.message().contains("write 10.9.0.2/24"), "{lonely}");
        setup(&options(&["10.9.0.2/32"], &["10.9.0.1/32"])).expect("reached from the peer");
    }
}
