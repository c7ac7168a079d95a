//! Service and protocol names: `/etc/services` and `/etc/protocols`, or the built-in tables where they are absent.

/// A service as `getservbyname` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The official name.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// The port, in host order.
    pub port: u16,
    /// The protocol's name, `tcp` or `udp` mostly.
    pub protocol: String,
}

/// A protocol as `getprotobyname` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The official name.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Its number in the IP header.
    pub number: u8,
}

/// The services of a machine without `/etc/services`.
pub(super) const BUILT_IN_SERVICES: &str = include_str!("services.txt");
/// The protocols of a machine without `/etc/protocols`.
pub(super) const BUILT_IN_PROTOCOLS: &str = include_str!("protocols.txt");

/// The words of each line that has any; `#` begins a comment.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split('#').next().unwrap_or("")).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (!words.is_empty()).then_some(words)
    })
}

/// The entries of a text in the syntax of `/etc/services`. Lines that are none are passed over, as in C.
pub fn services(text: &str) -> impl Iterator<Item = Service> {
    lines(text).filter_map(|words| {
        let (name, rest) = words.split_first()?;
        let (port_protocol, aliases) = rest.split_first()?;
        let (port, protocol) = port_protocol.split_once('/')?;
        Some(Service {
            name: (*name).to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            port: port.parse().ok()?,
            protocol: protocol.to_owned(),
        })
    })
}

/// The entries of a text in the syntax of `/etc/protocols`.
pub fn protocols(text: &str) -> impl Iterator<Item = Protocol> {
    lines(text).filter_map(|words| {
        let (name, rest) = words.split_first()?;
        let (number, aliases) = rest.split_first()?;
        Some(Protocol {
            name: (*name).to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            number: number.parse().ok()?,
        })
    })
}

/// The first service of this name or alias, of this protocol if one is given.
pub(super) fn service_by_name(text: &str, name: &str, protocol: Option<&str>) -> Option<Service> {
    services(text).find(|service| {
        protocol.is_none_or(|wanted| wanted == service.protocol)
            && (service.name == name || service.aliases.iter().any(|alias| alias == name))
    })
}

/// The first service on this port, of this protocol if one is given.
pub(super) fn service_by_port(text: &str, port: u16, protocol: Option<&str>) -> Option<Service> {
    services(text)
        .find(|service| service.port == port && protocol.is_none_or(|wanted| wanted == service.protocol))
}

/// The protocol of this name or alias.
pub(super) fn protocol_by_name(text: &str, name: &str) -> Option<Protocol> {
    protocols(text)
        .find(|protocol| protocol.name == name || protocol.aliases.iter().any(|alias| alias == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_services_have_the_well_known_ports() {
        let table = [
            ("ssh", "tcp", 22),
            ("mysql", "tcp", 3306),
            ("http", "tcp", 80),
            ("www", "tcp", 80),
            ("https", "tcp", 443),
            ("https", "udp", 443),
            ("domain", "tcp", 53),
            ("domain", "udp", 53),
            ("echo", "udp", 7),
            ("discard", "tcp", 9),
            ("daytime", "udp", 13),
            ("chargen", "tcp", 19),
            ("ftp", "tcp", 21),
            ("telnet", "tcp", 23),
            ("smtp", "tcp", 25),
            ("mail", "tcp", 25),
            ("pop3", "tcp", 110),
            ("imap", "tcp", 143),
            ("ntp", "udp", 123),
            ("postgresql", "tcp", 5432),
            ("snmp", "udp", 161),
        ];
        for (name, protocol, port) in table {
            let found = service_by_name(BUILT_IN_SERVICES, name, Some(protocol)).map(|s| s.port);
            assert_eq!(found, Some(port), "{name}/{protocol}");
        }
        assert!(services(BUILT_IN_SERVICES).count() >= 100);
        assert_eq!(service_by_name(BUILT_IN_SERVICES, "ssh", Some("udp")), None);
        assert_eq!(service_by_name(BUILT_IN_SERVICES, "SSH", None), None);
    }

    #[test]
    fn every_line_of_the_built_in_tables_is_an_entry() {
        assert_eq!(services(BUILT_IN_SERVICES).count(), lines(BUILT_IN_SERVICES).count());
        assert_eq!(protocols(BUILT_IN_PROTOCOLS).count(), lines(BUILT_IN_PROTOCOLS).count());
    }

    #[test]
    fn a_services_file_is_read_with_comments_aliases_and_rubbish() {
        let text = "# head\nalpha 100/tcp a1 a2 # tail\nbad\nworse x/tcp\nwide 70000/tcp\n beta\t200/udp\n\nalpha 100/udp";
        let all: Vec<Service> = services(text).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].aliases, ["a1", "a2"]);
        let by_alias = service_by_name(text, "a2", None).expect("an alias is a name");
        assert_eq!((by_alias.name.as_str(), by_alias.protocol.as_str()), ("alpha", "tcp"));
        assert_eq!(service_by_port(text, 200, None).expect("listed").name, "beta");
        assert_eq!(service_by_port(text, 200, Some("tcp")), None);
        assert_eq!(service_by_port(text, 100, Some("udp")).expect("listed").protocol, "udp");
    }

    #[test]
    fn protocols_are_found_by_name_and_alias() {
        for (name, number) in [("tcp", 6), ("UDP", 17), ("icmp", 1), ("ipv6-icmp", 58), ("IPv6-ICMP", 58)] {
            let found = protocol_by_name(BUILT_IN_PROTOCOLS, name).map(|p| p.number);
            assert_eq!(found, Some(number), "{name}");
        }
        assert_eq!(protocol_by_name(BUILT_IN_PROTOCOLS, "nosuch"), None);
    }
}
