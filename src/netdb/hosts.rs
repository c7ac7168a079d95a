//! The hosts file, as `hosts(5)` describes it.

use super::services::lines;
use core::net::IpAddr;

/// A host as `gethostbyname` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The canonical name.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Its addresses, best first.
    pub addresses: Vec<IpAddr>,
}

/// The lines of a hosts file: an address, its name and its aliases. Lines with no address or no name are passed over.
fn entries(text: &str) -> impl Iterator<Item = (IpAddr, Vec<&str>)> {
    lines(text).filter_map(|words| {
        let (address, names) = words.split_first()?;
        // A scope (`fe80::1%eth0`) names an interface of the kernel's and means nothing here.
        let address = address.split('%').next()?.parse().ok()?;
        (!names.is_empty()).then(|| (address, names.to_vec()))
    })
}

/// The host of this name: every address that any line gives it, named as the first such line does.
pub fn by_name(text: &str, name: &str) -> Option<Host> {
    let wanted = name.strip_suffix('.').unwrap_or(name);
    let mut host: Option<Host> = None;
    for (address, names) in entries(text) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(wanted)) {
            continue;
        }
        let host = host.get_or_insert_with(|| Host { name: names[0].to_owned(), ..Host::default() });
        for known in names {
            if known != host.name && !host.aliases.iter().any(|alias| alias == known) {
                host.aliases.push(known.to_owned());
            }
        }
        if !host.addresses.contains(&address) {
            host.addresses.push(address);
        }
    }
    host
}

/// The host with this address: the first line that has it.
pub fn by_address(text: &str, address: IpAddr) -> Option<Host> {
    let (_, names) = entries(text).find(|(known, _)| *known == address)?;
    let (name, aliases) = names.split_first()?;
    Some(Host {
        name: (*name).to_owned(),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        addresses: vec![address],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost # loopback\n\
        10.9.0.1\tgate.example gate\n10.9.0.3 gate.example second\nnonsense name\n10.9.0.9\nfe80::1%eth0 scoped\n";

    #[test]
    fn a_name_gathers_the_addresses_of_all_its_lines() {
        let gate = by_name(HOSTS, "GATE.example.").expect("listed");
        assert_eq!(gate.name, "gate.example");
        assert_eq!(gate.aliases, ["gate", "second"]);
        assert_eq!(gate.addresses, [IpAddr::from([10, 9, 0, 1]), IpAddr::from([10, 9, 0, 3])]);
        assert_eq!(by_name(HOSTS, "gate").expect("an alias").addresses.len(), 1);
        assert_eq!(by_name(HOSTS, "localhost").expect("listed").addresses.len(), 2);
        assert_eq!(by_name(HOSTS, "name"), None);
        assert!(by_name(HOSTS, "scoped").is_some());
    }

    #[test]
    fn an_address_has_the_names_of_its_first_line() {
        let host = by_address(HOSTS, "::1".parse().expect("valid")).expect("listed");
        assert_eq!(
            (host.name.as_str(), host.aliases.as_slice()),
            ("localhost", &["ip6-localhost".to_owned()][..])
        );
        assert_eq!(by_address(HOSTS, IpAddr::from([10, 9, 0, 9])), None);
    }
}
