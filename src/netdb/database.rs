//! The look-ups themselves: files first, then the DNS.

use super::addrinfo::{AddrInfo, AiFlags, Hints, NiFlags, Node, combine, node, ways};
use super::inet::{Family, aton_exact, inet_ntop};
use super::message::{Kind, Records};
use super::resolver::Lookup;
use super::services::{self, Protocol, Service};
use super::{GaiError, Host, HostError, ResolvConf, hosts, order};
use crate::base::Rng;
use bitflags::Flags;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the files are that names and services come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Hosts (`/etc/hosts`).
    pub hosts: PathBuf,
    /// Services (`/etc/services`); a built-in table where it is absent.
    pub services: PathBuf,
    /// Protocols (`/etc/protocols`); a built-in table where it is absent.
    pub protocols: PathBuf,
    /// Name servers (`/etc/resolv.conf`).
    pub resolv_conf: PathBuf,
    /// Name servers to use where `resolv_conf` names only the machine's own loopback, which is not the stack's
    /// (`/run/systemd/resolve/resolv.conf`).
    pub upstream_resolv_conf: PathBuf,
    /// The host's name (`/proc/sys/kernel/hostname`).
    pub hostname: PathBuf,
}

impl Default for Files {
    fn default() -> Files {
        Files::below(Path::new("/"))
    }
}

impl Files {
    /// The usual paths below another root.
    pub fn below(root: &Path) -> Files {
        Files {
            hosts: root.join("etc/hosts"),
            services: root.join("etc/services"),
            protocols: root.join("etc/protocols"),
            resolv_conf: root.join("etc/resolv.conf"),
            upstream_resolv_conf: root.join("run/systemd/resolve/resolv.conf"),
            hostname: root.join("proc/sys/kernel/hostname"),
        }
    }
}

/// What the look-ups need of a network: a running stack, or a script in tests.
pub(super) trait Network: Send + Sync {
    /// Asks the name servers.
    fn run(&self, lookup: Lookup) -> Result<Records, HostError>;
    /// The address a packet to `destination` would leave from.
    fn source_for(&self, destination: IpAddr) -> Option<IpAddr>;
    /// The addresses of the host that others can reach.
    fn addresses(&self) -> Vec<IpAddr>;
    /// The scope number of the interface of this name.
    fn scope_of(&self, interface: &str) -> Option<u32>;
}

/// Where names come from: the system's files, unless told otherwise. Given to
/// [`Stack::set_resolver`](crate::runtime::Stack::set_resolver), it looks up the names that sockets are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The files.
    pub files: Files,
    /// Name servers to ask instead of those that the files tell.
    pub resolv_conf: Option<ResolvConf>,
}

/// Names and services as one stack sees them. Files are read anew at each call, so a change shows at once.
pub struct Netdb {
    network: Box<dyn Network>,
    sources: Sources,
}

impl core::fmt::Debug for Netdb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Netdb").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// The text of a file, empty where there is none.
fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The text of a file, or the built-in table where there is no such file.
fn read_or(path: &Path, built_in: &str) -> String {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => built_in.to_owned(),
    }
}

impl Netdb {
    pub(super) fn over(network: Box<dyn Network>, sources: Sources) -> Netdb {
        Netdb { network, sources }
    }

    /// The configuration in force: which servers are asked, and how.
    pub fn resolv_conf(&self) -> ResolvConf {
        if let Some(conf) = &self.sources.resolv_conf {
            return conf.clone();
        }
        let mut conf = ResolvConf::parse(&read(&self.sources.files.resolv_conf));
        if !conf.nameservers.is_empty() && conf.nameservers.iter().all(|server| server.ip().is_loopback()) {
            let upstream = ResolvConf::parse(&read(&self.sources.files.upstream_resolv_conf));
            if !upstream.nameservers.is_empty() {
                conf.nameservers = upstream.nameservers;
            }
        }
        if conf.search.is_empty()
            && let Some((_, domain)) = self.gethostname().split_once('.')
        {
            conf.search.push(domain.to_owned());
        }
        conf
    }

    /// The name of this host.
    pub fn gethostname(&self) -> String {
        let name = read(&self.sources.files.hostname);
        match name.trim() {
            "" => "localhost".to_owned(),
            name => name.to_owned(),
        }
    }

    /// The first IPv4 address of a host. Python's two special names are understood: the empty one is the wildcard,
    /// `<broadcast>` the limited broadcast address.
    ///
    /// # Errors
    /// [`HostError`] as in `h_errno`.
    pub fn gethostbyname(&self, name: &str) -> Result<Ipv4Addr, HostError> {
        let host = self.gethostbyname_ex(name)?;
        let first = host.addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        first.ok_or(HostError::NoData)
    }

    /// Canonical name, aliases and all IPv4 addresses of a host. Blocks while name servers are asked.
    ///
    /// # Errors
    /// [`HostError`] as in `h_errno`.
    pub fn gethostbyname_ex(&self, name: &str) -> Result<Host, HostError> {
        let numeric = match name {
            "" => Some(Ipv4Addr::UNSPECIFIED),
            "<broadcast>" => Some(Ipv4Addr::BROADCAST),
            name => aton_exact(name),
        };
        match numeric {
            Some(v4) => Ok(Host { name: name.to_owned(), aliases: vec![], addresses: vec![v4.into()] }),
            None => self.find(name, &[Kind::A]),
        }
    }

    /// Name and aliases of the host that has this address. Blocks while name servers are asked.
    ///
    /// # Errors
    /// [`HostError`] as in `h_errno`.
    pub fn gethostbyaddr(&self, address: IpAddr) -> Result<Host, HostError> {
        if let Some(host) = hosts::by_address(&read(&self.sources.files.hosts), address) {
            return Ok(host);
        }
        let conf = self.resolv_conf();
        let records = self.network.run(Lookup::address(&conf, address, fresh_rng()))?;
        let mut names = records.names.into_iter();
        let name = names.next().ok_or(HostError::NoData)?;
        Ok(Host { name, aliases: names.collect(), addresses: vec![address] })
    }

    /// The fully qualified name of a host, as Python's `getfqdn` finds it: the first name with a dot among those of
    /// its address, else its name there, else `name` itself. An empty name is this host.
    pub fn getfqdn(&self, name: &str) -> String {
        let own;
        let name = match name.trim() {
            "" | "0.0.0.0" | "::" => {
                own = self.gethostname();
                own.as_str()
            }
            name => name,
        };
        let hints = Hints { socktype: Some(super::SockType::Stream), ..Hints::default() };
        let address =
            self.getaddrinfo(Some(name), None, &hints).ok().and_then(|list| Some(list.first()?.address.ip()));
        match address.map(|address| self.gethostbyaddr(address)) {
            Some(Ok(host)) => {
                let mut names = std::iter::once(&host.name).chain(&host.aliases);
                names.find(|name| name.contains('.')).unwrap_or(&host.name).clone()
            }
            Some(Err(_)) | None => name.to_owned(),
        }
    }

    /// The addresses at which a service of a host is reached, best first (RFC 3493 §6.1, RFC 6724). Without a host:
    /// loopback, or with [`AiFlags::PASSIVE`] the wildcard addresses. Blocks while name servers are asked.
    ///
    /// # Errors
    /// [`GaiError`], chosen as glibc does.
    pub fn getaddrinfo(
        &self,
        host: Option<&str>,
        service: Option<&str>,
        hints: &Hints,
    ) -> Result<Vec<AddrInfo>, GaiError> {
        // As glibc: an asterisk stands for nothing.
        let given = |text: &&str| *text != "*";
        let (host, service) = (host.filter(given), service.filter(given));
        if host.is_none() && service.is_none() {
            return Err(GaiError::NoName);
        }
        if hints.flags.contains_unknown_bits() || host.is_none() && hints.flags.contains(AiFlags::CANONNAME) {
            return Err(GaiError::BadFlags);
        }
        let hints = self.narrow(hints)?;
        let table = match service {
            Some(_) => self.services_text(),
            None => String::new(),
        };
        let ways = ways(&hints, service, &table)?;
        let (addresses, scope, name) = match node(&hints, host, |name| self.network.scope_of(name))? {
            Node::Known(addresses, scope) => (addresses, scope, host.map(str::to_owned)),
            Node::Name(name) => {
                let found = self.addresses_of(name, &hints)?;
                (found.addresses, 0, Some(found.name))
            }
        };
        let canonname = name.filter(|_| hints.flags.contains(AiFlags::CANONNAME));
        Ok(combine(&addresses, scope, &ways, canonname))
    }

    /// `AI_ADDRCONFIG`: with addresses of one family only, the other is not asked for.
    fn narrow(&self, hints: &Hints) -> Result<Hints, GaiError> {
        let mut hints = *hints;
        if !hints.flags.contains(AiFlags::ADDRCONFIG) {
            return Ok(hints);
        }
        let own = self.network.addresses();
        let has = |family| own.iter().any(|&a| Family::of(a) == family && !a.is_loopback());
        match (hints.family, has(Family::Inet), has(Family::Inet6)) {
            (None, true, false) => hints.family = Some(Family::Inet),
            (None, false, true) => hints.family = Some(Family::Inet6),
            (Some(Family::Inet), false, _) | (Some(Family::Inet6), _, false) => return Err(GaiError::NoName),
            (None, true, true) | (None, false, false) => {}
            (Some(Family::Inet), true, _) | (Some(Family::Inet6), _, true) => {}
        }
        Ok(hints)
    }

    /// Looks a name up and orders what was found.
    fn addresses_of(&self, name: &str, hints: &Hints) -> Result<Host, GaiError> {
        let may_map = hints.family == Some(Family::Inet6) && hints.flags.contains(AiFlags::V4MAPPED);
        let kinds: &[Kind] = match hints.family {
            Some(Family::Inet) => &[Kind::A],
            Some(Family::Inet6) if !may_map => &[Kind::Aaaa],
            Some(Family::Inet6) | None => &[Kind::A, Kind::Aaaa],
        };
        let mut host = self.find(name, kinds).map_err(HostError::gai)?;
        if may_map {
            let has_v6 = host.addresses.iter().any(IpAddr::is_ipv6);
            let keep_v4 = !has_v6 || hints.flags.contains(AiFlags::ALL);
            host.addresses.retain(|address| address.is_ipv6() || keep_v4);
        }
        order::sort(&mut host.addresses, |destination| self.network.source_for(destination));
        if may_map {
            host.addresses.iter_mut().for_each(|address| *address = IpAddr::V6(mapped(*address)));
        }
        Ok(host)
    }

    /// Hosts file, `localhost`, DNS, in this order.
    fn find(&self, name: &str, kinds: &[Kind]) -> Result<Host, HostError> {
        let wanted = |address: &IpAddr| {
            kinds.contains(match address {
                IpAddr::V4(_) => &Kind::A,
                IpAddr::V6(_) => &Kind::Aaaa,
            })
        };
        let local = hosts::by_name(&read(&self.sources.files.hosts), name).or_else(|| localhost(name));
        if let Some(mut host) = local {
            host.addresses.retain(wanted);
            if !host.addresses.is_empty() {
                return Ok(host);
            }
        }
        if !may_be_asked(name) {
            return Err(HostError::NotFound);
        }
        let conf = self.resolv_conf();
        let records = self.network.run(Lookup::host(&conf, name, kinds, fresh_rng()))?;
        let Records { name, aliases, addresses, names: _ } = records;
        Ok(Host { name, aliases, addresses })
    }

    /// The name of an address and of a port's service; numbers where there is no name.
    ///
    /// # Errors
    /// [`GaiError::NoName`] with [`NiFlags::NAMEREQD`] and no name, [`GaiError::Again`] when no server answers,
    /// [`GaiError::BadFlags`].
    pub fn getnameinfo(&self, address: SocketAddr, flags: NiFlags) -> Result<(String, String), GaiError> {
        if flags.contains_unknown_bits() {
            return Err(GaiError::BadFlags);
        }
        let host = if flags.contains(NiFlags::NUMERICHOST) {
            None
        } else {
            match self.gethostbyaddr(address.ip().to_canonical()) {
                Ok(host) => Some(host.name),
                Err(HostError::TryAgain) => return Err(GaiError::Again),
                Err(HostError::NotFound | HostError::NoRecovery | HostError::NoData) => None,
            }
        };
        let host = match host {
            Some(name) if flags.contains(NiFlags::NOFQDN) => self.without_local_domain(name),
            Some(name) => name,
            None if flags.contains(NiFlags::NAMEREQD) => return Err(GaiError::NoName),
            None => numeric(address),
        };
        let protocol = if flags.contains(NiFlags::DGRAM) { "udp" } else { "tcp" };
        let service = if flags.contains(NiFlags::NUMERICSERV) {
            None
        } else {
            self.getservbyport(address.port(), Some(protocol)).map(|service| service.name)
        };
        Ok((host, service.unwrap_or_else(|| address.port().to_string())))
    }

    fn without_local_domain(&self, name: String) -> String {
        let own = self.getfqdn("");
        let domain = own.split_once('.').map(|(_, domain)| domain);
        match name.split_once('.') {
            Some((host, rest)) if domain.is_some_and(|domain| domain.eq_ignore_ascii_case(rest)) => {
                host.to_owned()
            }
            _ => name,
        }
    }

    fn services_text(&self) -> String {
        read_or(&self.sources.files.services, services::BUILT_IN_SERVICES)
    }

    fn protocols_text(&self) -> String {
        read_or(&self.sources.files.protocols, services::BUILT_IN_PROTOCOLS)
    }

    /// The service of this name, of any protocol where none is given.
    pub fn getservbyname(&self, name: &str, protocol: Option<&str>) -> Option<Service> {
        services::service_by_name(&self.services_text(), name, protocol)
    }

    /// The service on this port, of any protocol where none is given.
    pub fn getservbyport(&self, port: u16, protocol: Option<&str>) -> Option<Service> {
        services::service_by_port(&self.services_text(), port, protocol)
    }

    /// The protocol of this name.
    pub fn getprotobyname(&self, name: &str) -> Option<Protocol> {
        services::protocol_by_name(&self.protocols_text(), name)
    }

    /// All services, in the order of the file.
    pub fn services(&self) -> Vec<Service> {
        services::services(&self.services_text()).collect()
    }

    /// All protocols, in the order of the file.
    pub fn protocols(&self) -> Vec<Protocol> {
        services::protocols(&self.protocols_text()).collect()
    }
}

/// Is it the name of a host, as glibc checks before it asks a server? Underscores and escapes may be in it.
fn may_be_asked(name: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.\\".contains(&octet);
    !name.starts_with('-') && name.bytes().all(fits)
}

/// RFC 6761 §6.3: `localhost` and names below it are loopback and never asked for in the DNS.
fn localhost(name: &str) -> Option<Host> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let last = bare.rsplit('.').next()?;
    last.eq_ignore_ascii_case("localhost").then(|| Host {
        name: bare.to_owned(),
        aliases: Vec::new(),
        addresses: vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
    })
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The text of an address, with the scope of a link-local one.
fn numeric(address: SocketAddr) -> String {
    let text = inet_ntop(address.ip());
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{text}%{}", v6.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => text,
    }
}

/// Ids that nobody can guess (RFC 5452 §4.3). Without the system's randomness there is no safe way to ask.
fn fresh_rng() -> Rng {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).expect("the system's source of randomness works");
    Rng::new(seed)
}

#[cfg(test)]
mod tests;
