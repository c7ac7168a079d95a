//! What is done to make an interface, as data: the same list is carried out, printed for `--dry-run`, and tested.
//!
//! Nothing has to be undone step by step: the interface is not persistent, so the kernel removes it with its addresses
//! and routes when our descriptor closes, however the process ends.

use super::LinkError;
use crate::base::Cidr;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Smallest MTU of an interface.
const MTU_LEAST: u32 = 68;
/// Smallest MTU with IPv6 (RFC 8200 §5).
const MTU_LEAST_V6: u32 = 1280;
/// Largest MTU of a TUN: the length field of an IP packet has 16 bits.
const MTU_MOST: u32 = 65535;
/// Longest name of an interface (`IFNAMSIZ` less the final zero). `tun-tap` would cut a longer one silently.
const NAME_MOST: usize = 15;

/// The interface a stack wants: which one, and both sides' addresses.
///
/// ```
/// use tunstack::link::Setup;
///
/// let setup = Setup::new(["10.9.0.2/24".parse().unwrap()]).named("tun7");
/// assert_eq!(setup.kernel, ["10.9.0.1/24".parse().unwrap()]);
/// print!("{}", setup.plan()); // the `ip` commands that do the same as `Device::tun(&setup)`
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Its name; `None` takes the first free one of tun0, tun1, …
    pub name: Option<String>,
    /// The stack's addresses. The kernel must not own them and needs a route to them.
    pub stack: Vec<Cidr>,
    /// Addresses of the kernel's side.
    pub kernel: Vec<Cidr>,
    /// More networks that the kernel is to reach through the stack.
    pub routes: Vec<Cidr>,
    /// Largest packet in octets.
    pub mtu: u32,
    /// Packets that wait for the stack in the kernel (`txqueuelen`). The kernel's 500 lose packets in every burst.
    pub queue: u32,
    /// Segmentation and checksum offload.
    pub offload: Offload,
    /// The interface is one for several queues (`IFF_MULTI_QUEUE`).
    pub several_queues: bool,
}

/// Segmentation and checksum offload of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// Where the kernel has it.
    #[default]
    Auto,
    /// Or nothing.
    On,
    /// None: packets of wire size with complete checksums, one by one.
    Off,
}

impl Setup {
    /// An interface for these stack addresses; the kernel's side gets the first other address of each prefix.
    pub fn new(stack: impl IntoIterator<Item = Cidr>) -> Setup {
        let stack: Vec<Cidr> = stack.into_iter().collect();
        let mut kernel: Vec<Cidr> = Vec::new();
        for cidr in &stack {
            if !kernel.iter().any(|done| done.contains(cidr.address)) {
                kernel.extend(kernel_side(*cidr, &stack));
            }
        }
        Setup {
            name: None,
            stack,
            kernel,
            routes: Vec::new(),
            mtu: 1500,
            queue: 4000,
            offload: Offload::Auto,
            several_queues: false,
        }
    }

    /// The same under this name.
    pub fn named(mut self, name: &str) -> Setup {
        self.name = Some(name.to_owned());
        self
    }

    /// Is everything in it possible?
    ///
    /// # Errors
    /// [`LinkError::BadName`], [`LinkError::BadMtu`] or [`LinkError::SameAddress`].
    pub fn check(&self) -> Result<(), LinkError> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        let v6 = self.kernel.iter().chain(&self.stack).any(|cidr| cidr.address.is_ipv6());
        let least = if v6 { MTU_LEAST_V6 } else { MTU_LEAST };
        if !(least..=MTU_MOST).contains(&self.mtu) {
            return Err(LinkError::BadMtu { mtu: self.mtu, least });
        }
        let both =
            self.stack.iter().find(|ours| self.kernel.iter().any(|theirs| theirs.address == ours.address));
        match both {
            Some(cidr) => Err(LinkError::SameAddress { address: cidr.address }),
            None => Ok(()),
        }
    }

    /// The steps that make the interface.
    pub fn plan(&self) -> Plan {
        let create = if self.several_queues { Step::CreateQueues } else { Step::Create };
        let mut steps = vec![create, Step::Mtu(self.mtu), Step::Queue(self.queue), Step::NoLinkLocal];
        steps.extend(self.kernel.iter().copied().map(Step::Address));
        steps.push(Step::Up);
        let unreached = |cidr: &&Cidr| !self.kernel.iter().any(|on_link| on_link.contains(cidr.address));
        steps.extend(self.stack.iter().filter(unreached).map(|cidr| Step::Route(host_route(cidr.address))));
        steps.extend(self.routes.iter().copied().map(Step::Route));
        Plan { name: self.name.clone().unwrap_or_else(|| "tun0".to_owned()), steps }
    }
}

/// One step of making an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the TUN.
    Create,
    /// Make it for several queues.
    CreateQueues,
    /// Set its MTU in octets.
    Mtu(u32),
    /// Set the length of its queue in packets.
    Queue(u32),
    /// No link-local address and no router solicitations.
    NoLinkLocal,
    /// Give the kernel's side an address.
    Address(Cidr),
    /// Bring it up.
    Up,
    /// Add a route through it.
    Route(Cidr),
}

impl Step {
    /// The `ip` command that does the same.
    pub fn command(&self, name: &str) -> String {
        match self {
            Step::Create => format!("ip tuntap add dev {name} mode tun"),
            Step::CreateQueues => format!("ip tuntap add dev {name} mode tun multi_queue"),
            Step::Mtu(mtu) => format!("ip link set {name} mtu {mtu}"),
            Step::Queue(packets) => format!("ip link set {name} txqueuelen {packets}"),
            Step::NoLinkLocal => format!("ip link set {name} addrgenmode none"),
            Step::Address(Cidr { address: IpAddr::V4(address), prefix }) => {
                format!("ip address add {address}/{prefix} broadcast + dev {name}")
            }
            Step::Address(cidr) => format!("ip -6 address add {cidr} dev {name} nodad"),
            Step::Up => format!("ip link set {name} up"),
            Step::Route(cidr) => {
                let family = if cidr.address.is_ipv6() { " -6" } else { "" };
                format!("ip{family} route add {}/{} dev {name}", cidr.network(), cidr.prefix)
            }
        }
    }
}

/// All steps for one interface. Shown as the `ip` commands that do the same, one on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The interface.
    pub name: String,
    /// What is done to it, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The command that undoes everything. Not needed after tunstack itself made the interface.
    pub fn undo(&self) -> String {
        format!("ip tuntap del dev {} mode tun", self.name)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{}", step.command(&self.name)))
    }
}

/// Can an interface have this name (`dev_valid_name` in the kernel)?
///
/// # Errors
/// [`LinkError::BadName`] says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), LinkError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_MOST {
        "it has more than 15 characters"
    } else if name == "." || name == ".." {
        "it is a directory"
    } else if name.contains('%') {
        "it has a % in it"
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        "it has a slash, a colon or white space in it"
    } else {
        return Ok(());
    };
    Err(LinkError::BadName { name: name.to_owned(), why })
}

/// The first host address of the prefix that the stack does not have; `None` when the prefix has no room.
fn kernel_side(cidr: Cidr, stack: &[Cidr]) -> Option<Cidr> {
    let (bits, room) = match cidr.address {
        IpAddr::V4(_) => (32 - cidr.prefix, cidr.prefix < 31),
        IpAddr::V6(_) => (128 - cidr.prefix, cidr.prefix < 127),
    };
    // With more than a bit for hosts the first address means the network (RFC 1122 §3.2.1.3) or any router (RFC 4291
    // §2.6.1), and the last of IPv4 is the broadcast address.
    let (first, last) = match (bits, room) {
        (0, _) => return None,
        (_, false) => (0, 1),
        (_, true) => (1, (1u128 << bits.min(16)) - 2),
    };
    (first..=last)
        .map(|host| match cidr.network() {
            IpAddr::V4(network) => IpAddr::V4(Ipv4Addr::from_bits(network.to_bits() | host as u32)),
            IpAddr::V6(network) => IpAddr::V6(Ipv6Addr::from_bits(network.to_bits() | host)),
        })
        .find(|address| !stack.iter().any(|ours| ours.address == *address))
        .and_then(|address| Cidr::new(address, cidr.prefix))
}

/// The route to one address alone.
fn host_route(address: IpAddr) -> Cidr {
    Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("valid")
    }

    #[test]
    fn the_kernel_gets_the_first_free_address_of_each_prefix() {
        let kernel = |stack: &[&str]| {
            let setup = Setup::new(stack.iter().map(|text| cidr(text)));
            setup.kernel.iter().map(Cidr::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kernel(&["10.9.0.2/24"]), "10.9.0.1/24");
        assert_eq!(kernel(&["10.9.0.1/24"]), "10.9.0.2/24");
        assert_eq!(kernel(&["10.9.0.1/24", "10.9.0.2/24", "fd09::2/64"]), "10.9.0.3/24 fd09::1/64");
        assert_eq!(kernel(&["10.9.0.0/31"]), "10.9.0.1/31");
        assert_eq!(kernel(&["10.9.0.7/32", "fd09::2"]), "");
        assert_eq!(kernel(&["10.9.0.1/30", "10.9.0.2/30"]), "");
        assert_eq!(kernel(&["fd09::1/127"]), "fd09::/127");
        assert_eq!(kernel(&["8.8.8.8/0"]), "0.0.0.1/0");
    }

    #[test]
    fn the_plan_prints_as_commands() {
        let mut setup =
            Setup::new([cidr("10.9.0.2/24"), cidr("fd09::2/64"), cidr("10.8.0.1/32")]).named("t7");
        setup.routes.push(cidr("172.16.5.0/16"));
        setup.check().expect("possible");
        let expected = "\
ip tuntap add dev t7 mode tun
ip link set t7 mtu 1500
ip link set t7 txqueuelen 4000
ip link set t7 addrgenmode none
ip address add 10.9.0.1/24 broadcast + dev t7
ip -6 address add fd09::1/64 dev t7 nodad
ip link set t7 up
ip route add 10.8.0.1/32 dev t7
ip route add 172.16.0.0/16 dev t7
";
        assert_eq!(setup.plan().to_string(), expected);
        assert_eq!(setup.plan().undo(), "ip tuntap del dev t7 mode tun");
    }

    #[test]
    fn impossible_wishes_are_refused_with_the_mend() {
        let message = |setup: Setup| setup.check().expect_err("impossible").to_string();
        let v4 = || Setup::new([cidr("10.9.0.2/24")]);
        for (name, why) in [
            ("", "it is empty"),
            ("interface-name-16", "more than 15 characters"),
            ("a/b", "a slash"),
            ("a b", "white space"),
            ("tun%d", "a %"),
            ("..", "a directory"),
        ] {
            let said = message(v4().named(name));
            assert!(said.contains(why) && said.ends_with("choose a name like tun0"), "{said}");
        }
        v4().named("fifteen-letters").check().expect("longest name");
        let mtu = |mtu| Setup { mtu, ..v4() };
        mtu(68).check().expect("least");
        mtu(65535).check().expect("most");
        assert_eq!(message(mtu(67)), "an MTU of 67 is not possible here: choose 68 to 65535");
        assert_eq!(message(mtu(65536)), "an MTU of 65536 is not possible here: choose 68 to 65535");
        let v6 = Setup { mtu: 1279, ..Setup::new([cidr("fd09::2/64")]) };
        assert_eq!(message(v6), "an MTU of 1279 is not possible here: choose 1280 to 65535");
        let same = Setup { kernel: vec![cidr("10.9.0.2/24")], ..v4() };
        assert_eq!(
            message(same),
            "10.9.0.2 is given to the kernel and to the stack: each side needs an address of its own"
        );
    }
}
