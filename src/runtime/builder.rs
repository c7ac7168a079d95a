//! How a stack is started.

use super::Stack;
use crate::base::{Cidr, Config, Instant};
use crate::host::{Host, Link};
use crate::link::{Device, Offload, Setup};
use crate::trace::Sink;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where packets come from.
enum Source {
    None,
    Device(Device),
    Tun(String),
}

/// MTU of a stack without a device.
const LOOPBACK_MTU: u32 = 65_535;

/// Collects what a [`Stack`] needs to start.
#[must_use]
pub struct Builder {
    addresses: Vec<Cidr>,
    gateways: Vec<IpAddr>,
    routes: Vec<(Cidr, Option<IpAddr>)>,
    config: Config,
    settings: Vec<(String, String)>,
    seed: Option<[u8; 16]>,
    trace: Option<Box<dyn Sink>>,
    source: Source,
    mtu: Option<u32>,
    offload: Option<Offload>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            addresses: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
            config: Config::default(),
            settings: Vec::new(),
            seed: None,
            trace: None,
            source: Source::None,
            mtu: None,
            offload: None,
        }
    }

    /// An address of the stack with its on-link prefix; may be given several times.
    pub fn address(mut self, cidr: Cidr) -> Builder {
        self.addresses.push(cidr);
        self
    }

    /// The default gateway; one of each family.
    pub fn gateway(mut self, gateway: IpAddr) -> Builder {
        self.gateways.push(gateway);
        self
    }

    /// A route to `destination` through `gateway` (`None`: directly).
    pub fn route(mut self, destination: Cidr, gateway: Option<IpAddr>) -> Builder {
        self.routes.push((destination, gateway));
        self
    }

    /// Starts from these settings instead of Linux's.
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// Changes a setting by name; see [`Config::NAMES`].
    pub fn setting(mut self, name: &str, value: &str) -> Builder {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the stack's randomness predictable. Never do this on a real network.
    pub fn seed(mut self, seed: [u8; 16]) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Sends the trace to `sink`. It is called with the stack locked: it must not call the stack.
    pub fn trace(mut self, sink: Box<dyn Sink>) -> Builder {
        self.trace = Some(sink);
        self
    }

    /// Runs on the TUN interface of this name: attaches to it where it exists, else makes it and sets it up for the
    /// stack's addresses (the kernel's side gets the first other address of each prefix).
    pub fn tun(mut self, name: &str) -> Builder {
        self.source = Source::Tun(name.to_owned());
        self
    }

    /// Runs on any other device: a descriptor, a channel, a callback, a wire in memory, an impaired link. Without a
    /// device the stack only talks to itself.
    pub fn device(mut self, device: Device) -> Builder {
        self.source = Source::Device(device);
        self
    }

    /// Largest packet in octets, of an interface that [`tun`](Builder::tun) makes or a stack without a device.
    pub fn mtu(mut self, mtu: u32) -> Builder {
        self.mtu = Some(mtu);
        self
    }

    /// Segmentation offload of an interface that [`tun`](Builder::tun) opens. By itself there is some where the kernel
    /// has it, except with a [`trace`](Builder::trace): its readers see packets of wire size.
    pub fn offload(mut self, offload: Offload) -> Builder {
        self.offload = Some(offload);
        self
    }

    /// Starts the stack.
    ///
    /// # Errors
    /// `InvalidInput` for settings, addresses and routes that cannot be; what the system says when it has no
    /// descriptor or thread left; a [`LinkError`](crate::link::LinkError) inside when the interface cannot be had or
    /// the MTU cannot be.
    pub fn start(mut self) -> io::Result<Stack> {
        let device = match std::mem::replace(&mut self.source, Source::None) {
            Source::None => {
                let mut setup = Setup::new(self.addresses.iter().copied());
                setup.mtu = self.mtu.unwrap_or(LOOPBACK_MTU);
                setup.check().map_err(io::Error::other)?;
                None
            }
            Source::Device(device) => Some(device),
            Source::Tun(name) => {
                let mut setup = Setup::new(self.addresses.iter().copied()).named(&name);
                setup.mtu = self.mtu.unwrap_or(setup.mtu);
                let by_itself = if self.trace.is_some() { Offload::Off } else { Offload::Auto };
                setup.offload = self.offload.unwrap_or(by_itself);
                Some(Device::tun(&setup).map_err(io::Error::other)?)
            }
        };
        let link = match &device {
            Some(device) => device.link(),
            None => Link::plain(self.mtu.unwrap_or(LOOPBACK_MTU)),
        };
        let seed = self.seed.map_or_else(random_seed, Ok)?;
        let mut host = self.host(link, seed)?;
        host.set_trace(self.trace);
        Stack::run(host, device)
    }

    /// Starts one stack for each of `queues`, which belong to one interface ([`Device::tun_queues`]). All have the same addresses and
    /// nothing in common besides: each can be driven by a thread of its own. A listener on each of them gets the connections of its
    /// queue, as with `SO_REUSEPORT`; packets that surface at the wrong queue go on to the others, which costs little and is counted
    /// (`TunstackStraysIn`). Each chooses ports from its part of the ephemeral range. They are to end together.
    ///
    /// # Errors
    /// As [`start`](Builder::start); `InvalidInput` for a [`trace`](Builder::trace), which is of one stack.
    pub fn start_shards(self, queues: Vec<Device>) -> io::Result<Vec<Stack>> {
        if self.trace.is_some() || !matches!(self.source, Source::None) {
            return Err(invalid("shards have no trace and no device besides their queues".to_owned()));
        }
        let count =
            u16::try_from(queues.len()).map_err(|_| invalid("65535 shards are the most".to_owned()))?;
        let mut shards = Vec::new();
        for (index, device) in (0..count).zip(queues) {
            let mut seed = self.seed.map_or_else(random_seed, Ok)?;
            // From one seed different randomness for each.
            seed[15] ^= index as u8;
            seed[14] ^= (index >> 8) as u8;
            let mut host = self.host(device.link(), seed)?;
            let [low, high] = host.config().ip_local_port_range;
            if high - low + 1 < u32::from(count) {
                return Err(invalid(format!("{count} shards need as many ports: widen ip_local_port_range")));
            }
            host.set_shard(index, count);
            shards.push((host, device));
        }
        Stack::run_shards(shards)
    }

    /// A host with all that was asked for but its trace.
    fn host(&self, link: Link, seed: [u8; 16]) -> io::Result<Host> {
        let mut config = self.config.clone();
        for (name, value) in &self.settings {
            config.set(name, value).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        }
        let mut host = Host::new(config, seed);
        host.set_link(Instant::ZERO, link);
        for cidr in &self.addresses {
            host.add_address(*cidr).map_err(|_| invalid(format!("{cidr} is no address a host can have")))?;
        }
        let defaults = self.gateways.iter().map(|gateway| (default_route(*gateway), Some(*gateway)));
        for (destination, gateway) in self.routes.iter().copied().chain(defaults) {
            host.add_route(destination, gateway).map_err(|errno| {
                let through = gateway.map(|gateway| format!(" through {gateway}")).unwrap_or_default();
                invalid(format!("cannot route {destination}{through}: {}", errno.text()))
            })?;
        }
        Ok(host)
    }
}

fn default_route(gateway: IpAddr) -> Cidr {
    let address = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Cidr { address, prefix: 0 }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn random_seed() -> io::Result<[u8; 16]> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}
