//! The command line: what can be asked for, as values.

use super::bench::{Contestant, PeerKind};
use super::service::Service;
use super::wire::End;
use crate::base::config::CongestionControl;
use crate::base::{Cidr, Config};
use crate::link::impair::Impairment;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

/// A complete TCP/IP host in user space, on a TUN device.
#[derive(Debug, Parser)]
#[command(name = "tunstack", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the stack at work: a real client talks to it, and every packet is explained
    Demo(Demo),
    /// Offer services: echo, discard, daytime, chargen, http, chat
    Serve(Serve),
    /// Show addresses, mask, network, broadcast, gateway, MTU and counters
    Ifconfig(Ifconfig),
    /// Open a connection and join it to standard input and output (like nc)
    Connect(Connect),
    /// Wait for a connection and join it to standard input and output (like nc -l)
    Listen(Listen),
    /// Fetch a page or file over HTTP
    Get(Get),
    /// Send a file
    Send(Send),
    /// Receive a file
    Recv(Recv),
    /// Talk with others: in the rooms of a chat server, or as a group by broadcast
    Chat(Chat),
    /// Is a host there, and how far away is it?
    Ping(Ping),
    /// Look up names and addresses
    Resolve(Resolve),
    /// List the well-known services, or look one up by name or port
    Services(Services),
    /// Check what a stack needs on this machine, with the command that mends what is missing
    Doctor(Doctor),
    /// Run one of the small sample programs that every course teaches
    Sample(Sample),
    /// Join two network namespaces by a bad link (a netem of its own, with a seed)
    Wire(Wire),
    /// Measure how fast the stack is on this machine, beside the kernel and smoltcp
    Bench(Bench),
    /// Draw the congestion window of a simulated transfer beside the RFCs' formulas (SVG)
    Plot(Plot),
    /// A server that `bench` measures
    #[command(hide = true)]
    BenchPeer(BenchPeer),
}

/// The interface, the addresses and the link of the stack.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Stack")]
pub struct Device {
    /// Interface: attached to as it is where it exists, else made and removed again [default: a free tunN]
    #[arg(long, value_name = "NAME")]
    pub tun: Option<String>,
    /// Address of the stack with its prefix; may be repeated [default: 10.9.0.2/24 and fd09::2/64]
    #[arg(long, value_name = "CIDR")]
    pub addr: Vec<Cidr>,
    /// Address of the kernel's side; may be repeated [default: the first free one of each prefix]
    #[arg(long, value_name = "CIDR")]
    pub peer: Vec<Cidr>,
    /// Default gateway; may be repeated for the other family [default: the kernel's side]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    pub gateway: Vec<IpAddr>,
    /// Largest packet in octets [default: 1500]
    #[arg(long, value_name = "N", value_parser = mtu)]
    pub mtu: Option<u32>,
    /// Print the `ip` commands instead of running
    #[arg(long)]
    pub dry_run: bool,
    /// Change a setting, as tcp_rmem='4096 65536 1048576'; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Write all packets to a pcapng file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Draw every packet on standard error
    #[arg(long)]
    pub ladder: bool,
    /// Make the link bad, as loss=10%,delay=20ms
    #[arg(long, value_name = "SPEC")]
    pub link: Option<Impairment>,
    /// Make chance repeatable
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// Run in a private network namespace
    #[arg(long)]
    pub netns: bool,
    /// Segmentation offload [default: on where the kernel has it and no packets are shown, captured or lost]
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Offload::Auto, hide_default_value = true)]
    pub offload: Offload,
}

/// Segmentation offload of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Offload {
    /// Where the kernel has it, unless packets of wire size are looked at
    #[default]
    Auto,
    /// Or nothing; captures show super-segments
    On,
    /// None
    Off,
}

/// `tunstack demo`.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// Two simulated hosts instead of the real kernel: no rights needed
    #[arg(long)]
    pub sim: bool,
    /// Another client; $ADDR in it is the stack's address
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, conflicts_with_all = ["sim", "shell"])]
    pub client: Vec<String>,
    /// A shell in which the stack can be reached
    #[arg(long, conflicts_with = "sim")]
    pub shell: bool,
    /// Hold until Enter, so that another terminal can watch
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Services to offer
    #[arg(required = true, value_enum, value_name = "SERVICE")]
    pub services: Vec<Service>,
    /// Another port for a service, as http=8080; may be repeated
    #[arg(long, value_name = "SERVICE=N", value_parser = service_port)]
    pub port: Vec<(Service, u16)>,
    /// Files that http gives out [default: a page about the stack]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Say who comes and goes
    #[arg(short, long)]
    pub verbose: bool,
    /// So many stacks with the same addresses, each with a queue of the interface and a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = shards)]
    pub shards: u16,
    /// End when this process does, which is our parent
    #[arg(long, hide = true)]
    pub with_parent: Option<i32>,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack ifconfig`.
#[derive(Args, Clone, Debug)]
pub struct Ifconfig {
    /// Also the counters that are zero
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack connect`.
#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// Host name or address
    pub host: String,
    /// Port or service name
    pub port: String,
    /// UDP instead of TCP
    #[arg(short, long)]
    pub udp: bool,
    /// Give up after so many seconds without a connection, or (UDP) without an answer
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack listen`.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Port or service name
    pub port: String,
    /// UDP instead of TCP
    #[arg(short, long)]
    pub udp: bool,
    /// Take one connection after another
    #[arg(short, long, conflicts_with = "udp")]
    pub keep: bool,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack get`.
#[derive(Args, Clone, Debug)]
pub struct Get {
    /// What to fetch, as http://10.9.0.1/index.html
    pub url: String,
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show the answer's head too
    #[arg(short, long)]
    pub include: bool,
    /// Give up after so many seconds without a connection or without a word from the server
    #[arg(short = 'w', long, value_name = "SECONDS", default_value_t = 30, value_parser = seconds)]
    pub timeout: u64,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack send`.
#[derive(Args, Clone, Debug)]
pub struct Send {
    /// File to send; - is standard input
    pub file: PathBuf,
    /// Where to, as HOST:PORT
    pub to: Option<String>,
    /// Wait on this port for the receiver to connect
    #[arg(long, value_name = "PORT", value_parser = port, conflicts_with = "to")]
    pub listen: Option<u16>,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack recv`.
#[derive(Args, Clone, Debug)]
pub struct Recv {
    /// File to write; - is standard output
    pub file: PathBuf,
    /// Connect there, as HOST:PORT, instead of waiting
    #[arg(long, value_name = "HOST:PORT")]
    pub from: Option<String>,
    /// Port to wait on
    #[arg(long, value_name = "PORT", default_value_t = 9000, value_parser = port, conflicts_with = "from")]
    pub listen: u16,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack chat`.
#[derive(Args, Clone, Debug)]
pub struct Chat {
    /// Chat server, as HOST or HOST:PORT
    pub server: Option<String>,
    /// No server: talk with everybody on the network by UDP broadcast
    #[arg(long, conflicts_with = "server")]
    pub group: bool,
    /// Name to be known by
    #[arg(long)]
    pub name: Option<String>,
    /// Room to begin in
    #[arg(long, default_value = "lobby")]
    pub room: String,
    /// Port of the group
    #[arg(long, default_value_t = super::chat::GROUP_PORT, value_parser = port)]
    pub port: u16,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack ping`.
#[derive(Args, Clone, Debug)]
pub struct Ping {
    /// Host name or address
    pub host: String,
    /// How many requests [default: until Ctrl-C]
    #[arg(short, long, value_parser = ping_count)]
    pub count: Option<u32>,
    /// Seconds between them
    #[arg(short, long, default_value_t = 1.0, value_parser = interval)]
    pub interval: f64,
    /// Octets of payload
    #[arg(short, long, default_value_t = 56, value_parser = ping_size)]
    pub size: u32,
    /// TTL or hop limit
    #[arg(short, long, value_parser = ttl)]
    pub ttl: Option<u8>,
    /// Allow a broadcast address: everybody on the network answers
    #[arg(short, long)]
    pub broadcast: bool,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack resolve`.
#[derive(Args, Clone, Debug)]
pub struct Resolve {
    /// Names, or addresses to find the names of
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Ask this name server [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    pub server: Option<IpAddr>,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack services`.
#[derive(Args, Clone, Debug)]
pub struct Services {
    /// Name or port; all services when absent
    pub which: Option<String>,
}

/// `tunstack doctor`.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack sample`.
#[derive(Args, Clone, Debug)]
pub struct Sample {
    /// Which program
    #[arg(value_enum)]
    pub program: SampleProgram,
    /// Server address [default: the stack's own, or the kernel's side for a client]
    #[arg(value_parser = ip_address)]
    pub host: Option<IpAddr>,
    /// Port
    #[arg(long, default_value_t = 5000, value_parser = port)]
    pub port: u16,
    #[command(flatten)]
    pub device: Device,
}

/// `tunstack wire`.
#[derive(Args, Clone, Debug)]
pub struct Wire {
    /// One end: a namespace by name or as /proc/PID/ns/net, or tun:NAME for a TUN here
    pub a: End,
    /// The other end
    pub b: End,
    /// Address of A's end with its prefix; may be repeated [default: 10.8.0.1/24 and fd08::1/64]
    #[arg(long, value_name = "CIDR")]
    pub a_addr: Vec<Cidr>,
    /// Address of B's end with its prefix; may be repeated [default: 10.8.0.2/24 and fd08::2/64]
    #[arg(long, value_name = "CIDR")]
    pub b_addr: Vec<Cidr>,
    /// Another network that A reaches over the wire; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub a_route: Vec<Cidr>,
    /// Another network that B reaches over the wire; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub b_route: Vec<Cidr>,
    /// Make the link bad both ways, as rate=100mbit,queue=100,delay=10ms,loss=1%
    #[arg(long, value_name = "SPEC", value_parser = link_text)]
    pub link: Option<String>,
    /// Only from A to B
    #[arg(long, value_name = "SPEC", value_parser = one_way)]
    pub link_ab: Option<String>,
    /// Only from B to A
    #[arg(long, value_name = "SPEC", value_parser = one_way)]
    pub link_ba: Option<String>,
    /// Make chance repeatable
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// End after so long [default: at Ctrl-C]
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub seconds: Option<u64>,
    /// Name of the interface in a namespace [default: wire0]
    #[arg(long, value_name = "NAME")]
    pub tun: Option<String>,
    /// Largest packet in octets [default: 1500]
    #[arg(long, value_name = "N", value_parser = mtu)]
    pub mtu: Option<u32>,
    /// Packets that the kernel keeps for the wire at each end [default: 50000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub txqueuelen: Option<u32>,
    /// Tell what happened as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the `ip` commands instead of running
    #[arg(long)]
    pub dry_run: bool,
}

/// `tunstack bench`.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// One short round
    #[arg(long)]
    pub quick: bool,
    /// Seconds of each measurement [default: 2]
    #[arg(long, value_name = "N", value_parser = bench_seconds, allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Rounds, each with all contestants in turn; medians are shown [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// Idle connections whose memory is measured, 1000 or more, 0 for none [default: 10000]
    #[arg(long, value_name = "N", value_parser = idle_connections)]
    pub connections: Option<u32>,
    /// Only these, and the kernel to compare with; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    pub only: Vec<Contestant>,
    /// Largest packet in octets [default: 1500]
    #[arg(long, value_name = "N", value_parser = mtu)]
    pub mtu: Option<u32>,
    /// Write the results to NAME.json and NAME.svg
    #[arg(long, value_name = "NAME", default_value = "tunstack-bench")]
    pub out: PathBuf,
}

/// `tunstack plot`.
#[derive(Args, Clone, Debug)]
pub struct Plot {
    /// Where to draw it
    #[arg(default_value = "cwnd.svg")]
    pub file: PathBuf,
    /// Congestion control; may be repeated [default: reno and cubic]
    #[arg(long, value_name = "NAME", value_parser = congestion)]
    pub congestion: Vec<CongestionControl>,
    /// The link, as rate=10mbit,queue=50,delay=20ms; up is the data's way [default: 100 ms, and some losses]
    #[arg(long, value_name = "SPEC")]
    pub link: Option<Impairment>,
    /// Simulated time [default: 30]
    #[arg(long, value_name = "N", value_parser = plot_seconds)]
    pub seconds: Option<u64>,
    /// Make chance repeatable [default: 1]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
}

/// `tunstack bench-peer`: a server in the namespace of this process.
#[derive(Args, Clone, Debug)]
pub struct BenchPeer {
    #[arg(value_enum)]
    pub kind: PeerKind,
    #[arg(long)]
    pub with_parent: i32,
    #[arg(long)]
    pub addr: Cidr,
    #[arg(long)]
    pub peer: Cidr,
    #[arg(long)]
    pub mtu: u32,
}

/// The sample programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SampleProgram {
    /// socket, bind, listen, accept, recv, send, close
    TcpServer,
    /// socket, connect, send, recv, close
    TcpClient,
    /// socket, bind, recvfrom, sendto
    UdpServer,
    /// socket, sendto, recvfrom
    UdpClient,
}

fn ip_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is no IP address, like 10.9.0.1 or fd09::1"))
}

fn mtu(text: &str) -> Result<u32, String> {
    let mtu = text.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
    mtu.ok_or_else(|| format!("'{text}' is no MTU: choose 68 to 65535, or from 1280 with IPv6"))
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is no seed: choose a whole number, like 7"))
}

/// Conditions of a link that were found to make sense.
fn link_text(text: &str) -> Result<String, String> {
    text.parse::<Impairment>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The same for one direction alone.
fn one_way(text: &str) -> Result<String, String> {
    let directed = |item: &str| item.trim().starts_with("up:") || item.trim().starts_with("down:");
    match text.split(',').find(|item| directed(item)) {
        Some(item) => {
            Err(format!("'{item}' names a direction, and this is one already: leave up: and down: out"))
        }
        None => link_text(text),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| format!("'{text}' is no time: give whole seconds, like 5"))
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("'{text}' is no port: choose 1 to 65535"))
}

fn ttl(text: &str) -> Result<u8, String> {
    let ttl = text.parse().ok().filter(|ttl| *ttl > 0);
    ttl.ok_or_else(|| format!("'{text}' is no TTL or hop limit: choose 1 to 255"))
}

fn congestion(text: &str) -> Result<CongestionControl, String> {
    let names = || CongestionControl::ALL.map(CongestionControl::name).join(", ");
    CongestionControl::from_name(text)
        .ok_or_else(|| format!("there is no congestion control '{text}': choose {}", names()))
}

fn plot_seconds(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.ok_or_else(|| format!("'{text}' is no time to simulate: give whole seconds from 1 to 3600"))
}

/// Memory is told in pages: of a few connections it shows nothing.
fn idle_connections(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count @ (0 | 1000..=50_000)) => Ok(count),
        Ok(_) | Err(_) => Err(format!("'{text}' is no number from 1000 to 50000, or 0 for none")),
    }
}

fn bench_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("'{text}' is no time to measure for: give seconds from 0.1 to 600")),
    }
}

fn ping_size(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().filter(|size| *size <= 65_527);
    size.ok_or_else(|| format!("'{text}' is no size of a request: choose 0 to 65507, or to 65527 with IPv6"))
}

fn ping_count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("'{text}' is no number of requests: choose from 1 to {}", u32::MAX))
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("'{text}' is no time between two requests: give seconds, like 0.2 or 1")),
    }
}

/// `NAME=VALUE`, tried on a default configuration so that a mistake shows before anything is made.
fn setting(text: &str) -> Result<(String, String), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("'{text}' sets nothing: write NAME=VALUE, like tcp_sack=0"));
    };
    match Config::default().set(name, value) {
        Ok(()) => Ok((name.to_owned(), value.to_owned())),
        Err(error) => {
            let near = Config::NAMES.iter().map(|(known, _)| *known).filter(|known| is_near(known, name));
            match near.collect::<Vec<_>>().join(", ") {
                near if near.is_empty() || Config::default().get(name).is_some() => Err(error.to_string()),
                near => Err(format!("{error}; there is {near}")),
            }
        }
    }
}

/// Do two names share most of their words?
fn is_near(known: &str, asked: &str) -> bool {
    let words: Vec<&str> = asked.split(['_', '.']).filter(|word| word.len() > 2).collect();
    !words.is_empty() && words.iter().all(|word| known.contains(word))
}

/// As many queues as the kernel gives a TUN.
fn shards(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|count| (1..=256).contains(count)).ok_or_else(|| "expected 1 to 256".to_owned())
}

fn service_port(text: &str) -> Result<(Service, u16), String> {
    let mistake = || format!("'{text}' gives no service a port: write SERVICE=N, like http=8080");
    let (name, port) = text.split_once('=').ok_or_else(mistake)?;
    let service = Service::from_str(name, true).map_err(|_| {
        let all: Vec<&str> = Service::ALL.iter().map(|service| service.name()).collect();
        format!("there is no service '{name}': choose {}", all.join(", "))
    })?;
    Ok((service, self::port(port)?))
}

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
