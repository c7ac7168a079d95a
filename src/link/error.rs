//! What can go wrong when a link is made: one clear sentence and the command that mends it.

use core::fmt;
use core::net::IpAddr;
use std::io;

/// Why a device could not be opened, set up or found.
#[derive(Debug)]
pub enum LinkError {
    /// Not a name that an interface can have.
    BadName {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An MTU that no such interface can have.
    BadMtu {
        /// What was given.
        mtu: u32,
        /// Smallest possible here: 68, or 1280 with IPv6 (RFC 8200 §5).
        least: u32,
    },
    /// The device node is missing.
    NoNode,
    /// The device node is there and must not be opened by us.
    NodeDenied {
        /// The kernel's answer.
        source: io::Error,
    },
    /// No right to make or configure interfaces.
    NoRight,
    /// The interface is attached to another process.
    Busy {
        /// Its name.
        name: String,
    },
    /// The interface exists and is something else.
    NotTun {
        /// Its name.
        name: String,
    },
    /// The interface exists and was made for one queue where several are wanted, or for several where one is.
    Queues {
        /// Its name.
        name: String,
        /// It was made for several.
        several: bool,
    },
    /// There is no segmentation offload, and nothing else will do.
    NoOffload {
        /// What is missing.
        why: &'static str,
    },
    /// The file descriptor handed in is no TUN that can be used.
    BadFd {
        /// What is wrong with it.
        why: &'static str,
    },
    /// No interface of this name is in this network namespace.
    Missing {
        /// The name.
        name: String,
    },
    /// The interface that was attached to is down.
    Down {
        /// Its name.
        name: String,
    },
    /// The kernel answers for the stack's address itself.
    AddressClash {
        /// The address.
        address: IpAddr,
        /// The interface that holds it, when known.
        interface: Option<String>,
    },
    /// One address was given to both sides.
    SameAddress {
        /// The address.
        address: IpAddr,
    },
    /// The kernel sends packets for the stack elsewhere, or nowhere.
    NoRoute {
        /// The stack's address.
        address: IpAddr,
        /// The interface they should take.
        name: String,
        /// The interface they take now.
        instead: Option<String>,
    },
    /// The kernel reaches the stack's network through another interface.
    NetworkTaken {
        /// The stack's address.
        address: IpAddr,
        /// The other interface.
        interface: String,
    },
    /// IPv6 is switched off in this namespace.
    Ipv6Off,
    /// One step of the set-up failed.
    Step {
        /// The `ip` command that does the same.
        command: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A private namespace was asked for after threads had started.
    Threads {
        /// How many there are.
        count: usize,
    },
    /// The system does not let us make a private namespace.
    NoNamespace {
        /// What was being done.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another system call failed.
    System {
        /// What was being done.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl LinkError {
    /// For `map_err`: a failed system call, with what it was for.
    pub(super) fn system(what: &'static str) -> impl Fn(rustix::io::Errno) -> LinkError {
        move |errno| LinkError::System { what, source: errno.into() }
    }
}

/// How to run this very program with the right to make interfaces.
fn setcap() -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "tunstack".to_owned(), |path| path.display().to_string());
    format!("sudo setcap cap_net_admin+ep {program}")
}

/// The family flag that `ip` needs for this address.
fn family(address: IpAddr) -> &'static str {
    if address.is_ipv6() { " -6" } else { "" }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::BadName { name, why } => {
                write!(f, "'{name}' cannot name an interface: {why}; choose a name like tun0")
            }
            LinkError::BadMtu { mtu, least } => {
                write!(f, "an MTU of {mtu} is not possible here: choose {least} to 65535")
            }
            LinkError::NoNode => f.write_str(
                "/dev/net/tun does not exist: `sudo modprobe tun`, and in a container start it with \
                 `--device /dev/net/tun`",
            ),
            LinkError::NodeDenied { source } => write!(
                f,
                "/dev/net/tun cannot be opened by this user ({source}): run as root, or `sudo chmod 666 /dev/net/tun`"
            ),
            LinkError::NoRight => {
                write!(f, "no right to make a network interface (CAP_NET_ADMIN): run with sudo, or `{}`", setcap())
            }
            LinkError::Busy { name } => write!(
                f,
                "{name} is in use by another program: end that one (`sudo fuser -v /dev/net/tun` shows it) or choose \
                 another name"
            ),
            LinkError::NotTun { name } => write!(
                f,
                "{name} exists and is no TUN interface: choose another name, or \
                 `sudo ip tuntap add dev NAME mode tun`"
            ),
            LinkError::Queues { name, several: false } => write!(
                f,
                "{name} was made for one queue: make it with `sudo ip tuntap add dev {name} mode tun multi_queue`, or use \
                 one shard"
            ),
            LinkError::Queues { name, several: true } => write!(
                f,
                "{name} was made for several queues: use two shards or more, or choose another name"
            ),
            LinkError::BadFd { why } => write!(
                f,
                "the file descriptor is no TUN ({why}): open /dev/net/tun and TUNSETIFF with IFF_TUN | IFF_NO_PI"
            ),
            LinkError::NoOffload { why } => {
                write!(f, "no segmentation offload: {why}; do without it (`--offload auto` or `off`)")
            }
            LinkError::Missing { name } => {
                write!(f, "no interface {name} is in this network namespace: `sudo ip tuntap add dev {name} mode tun`, or give its MTU along with its descriptor")
            }
            LinkError::Down { name } => write!(f, "{name} is down: `sudo ip link set {name} up`"),
            LinkError::AddressClash { address, interface: Some(interface) } => write!(
                f,
                "{address} belongs to the kernel (interface {interface}), so packets for it never reach the stack: \
                 choose another address, or `sudo ip{} address del {address} dev {interface}`",
                family(*address)
            ),
            LinkError::AddressClash { address, interface: None } => write!(
                f,
                "{address} belongs to the kernel, so packets for it never reach the stack: choose another address \
                 (`ip{} route get {address}` shows why)",
                family(*address)
            ),
            LinkError::SameAddress { address } => {
                write!(f, "{address} is given to the kernel and to the stack: each side needs an address of its own")
            }
            LinkError::NoRoute { address, name, instead } => {
                match instead {
                    Some(other) => write!(f, "the kernel sends packets for {address} to {other}, not to {name}")?,
                    None => write!(f, "the kernel has no route to {address} through {name}")?,
                }
                write!(f, ": `sudo ip{} route add {address} dev {name}`", family(*address))
            }
            LinkError::NetworkTaken { address, interface } => write!(
                f,
                "the network of {address} is that of {interface} already: choose another one (`ip{} route` shows \
                 those in use)",
                family(*address)
            ),
            LinkError::Ipv6Off => {
                f.write_str("IPv6 is switched off here: `sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0`, or use IPv4 only")
            }
            LinkError::Step { command, source } => write!(f, "`{command}` failed: {source}"),
            LinkError::Threads { count } => write!(
                f,
                "a private namespace must be made before any thread starts, and there are {count}: make it first thing in main()"
            ),
            LinkError::NoNamespace { what, source } => write!(
                f,
                "no right to make a private namespace ({what}: {source}): run with sudo, or allow it with \
                 `sudo sysctl -w user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 \
                 kernel.apparmor_restrict_unprivileged_userns=0` (those of them that exist)"
            ),
            LinkError::System { what, source } => write!(f, "{what} failed: {source}"),
        }
    }
}

impl core::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            LinkError::NodeDenied { source }
            | LinkError::Step { source, .. }
            | LinkError::NoNamespace { source, .. }
            | LinkError::System { source, .. } => Some(source),
            LinkError::BadName { .. }
            | LinkError::BadMtu { .. }
            | LinkError::NoNode
            | LinkError::NoRight
            | LinkError::Busy { .. }
            | LinkError::NotTun { .. }
            | LinkError::Queues { .. }
            | LinkError::BadFd { .. }
            | LinkError::NoOffload { .. }
            | LinkError::Missing { .. }
            | LinkError::Down { .. }
            | LinkError::AddressClash { .. }
            | LinkError::SameAddress { .. }
            | LinkError::NoRoute { .. }
            | LinkError::NetworkTaken { .. }
            | LinkError::Ipv6Off
            | LinkError::Threads { .. } => None,
        }
    }
}
