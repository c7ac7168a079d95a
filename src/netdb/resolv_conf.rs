//! `resolv.conf(5)`: which name servers to ask, and how.

use super::services::lines;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// The resolver's configuration. `default()` is an empty file's: no server, so nothing can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers in the order in which they are asked; at most three are taken from a file (`MAXNS`).
    pub nameservers: Vec<SocketAddr>,
    /// Domains that are tried after a short name.
    pub search: Vec<String>,
    /// A name with this many dots is first tried as it is (`ndots`, 1).
    pub ndots: u32,
    /// How long one server is waited for (`timeout`, 5 s).
    pub timeout: Duration,
    /// How often the list of servers is gone through (`attempts`, 2).
    pub attempts: u32,
    /// Begin with another server at each look-up (`rotate`).
    pub rotate: bool,
    /// Ask over TCP from the start (`use-vc`).
    pub use_tcp: bool,
}

/// At most this many servers are taken from a file.
const MAX_SERVERS: usize = 3;
/// At most this many domains are searched.
const MAX_SEARCH: usize = 32;
/// The port of the domain service.
const PORT: u16 = 53;

impl Default for ResolvConf {
    fn default() -> ResolvConf {
        ResolvConf {
            nameservers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_tcp: false,
        }
    }
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`. What is not understood is passed over, limits are `resolv.conf(5)`'s.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for words in lines(text).filter(|words| !words[0].starts_with(';')) {
            let values = words[1..].iter().take_while(|word| !word.starts_with(';'));
            match words[0] {
                "nameserver" => values.take(1).for_each(|word| conf.add_server(word)),
                // The last of `domain` and `search` counts.
                "domain" => conf.search = values.take(1).map(|word| domain(word)).collect(),
                "search" => conf.search = values.take(MAX_SEARCH).map(|word| domain(word)).collect(),
                "options" => values.for_each(|word| conf.set_option(word)),
                _ => {}
            }
        }
        conf.search.retain(|domain| !domain.is_empty());
        conf
    }

    fn add_server(&mut self, word: &str) {
        // A scope names an interface of the kernel's; there is one link here.
        let address = word.split('%').next().and_then(|address| address.parse::<IpAddr>().ok());
        if let Some(address) = address
            && self.nameservers.len() < MAX_SERVERS
        {
            self.nameservers.push(SocketAddr::new(address, PORT));
        }
    }

    fn set_option(&mut self, word: &str) {
        let (name, value) = match word.split_once(':') {
            Some((name, value)) => (name, value.parse::<u32>().ok()),
            None => (word, None),
        };
        match (name, value) {
            ("ndots", Some(value)) => self.ndots = value.min(15),
            ("timeout", Some(value)) => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            ("attempts", Some(value)) => self.attempts = value.clamp(1, 5),
            ("rotate", None) => self.rotate = true,
            ("use-vc", None) => self.use_tcp = true,
            _ => {}
        }
    }

    /// The names to ask for, in order, when a program asks for `name` (`res_search`): a name with enough dots as it is
    /// and then with each search domain, another one the other way round, a name that ends in a dot only as it is.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let dots = name.matches('.').count();
        let mut candidates: Vec<String> =
            self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let position = if dots >= self.ndots as usize { 0 } else { candidates.len() };
        candidates.insert(position, name.to_owned());
        candidates
    }
}

fn domain(word: &str) -> String {
    word.trim_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_resolv_conf_5_says() {
        let conf = ResolvConf::parse(
            "; comment\n# comment\nnameserver 192.0.2.1 # first\nnameserver bad\nnameserver 2001:db8::1\n\
             nameserver fe80::1%eth0\nnameserver 192.0.2.4\ndomain old.example\nsearch a.example. b.example ; c\n\
             options ndots:2 timeout:3 attempts:9 rotate edns0 unknown:1\nsortlist 1.2.3.4\n",
        );
        let servers: Vec<String> = conf.nameservers.iter().map(|server| server.to_string()).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1]:53"]);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (2, 3, 5));
        assert!(conf.rotate && !conf.use_tcp);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
        assert_eq!(ResolvConf::parse("search x\ndomain y z").search, ["y"]);
        assert_eq!(ResolvConf::parse("options timeout:0 ndots:99 attempts:0 use-vc").timeout.as_secs(), 1);
    }

    #[test]
    fn names_are_searched_in_the_order_of_res_search() {
        let conf = ResolvConf { search: vec!["a".into(), "b.c".into()], ..ResolvConf::default() };
        assert_eq!(conf.candidates("host"), ["host.a", "host.b.c", "host"]);
        assert_eq!(conf.candidates("host.sub"), ["host.sub", "host.sub.a", "host.sub.b.c"]);
        assert_eq!(conf.candidates("host."), ["host"]);
        let far = ResolvConf { ndots: 2, ..conf };
        assert_eq!(far.candidates("x.y"), ["x.y.a", "x.y.b.c", "x.y"]);
        assert_eq!(ResolvConf::default().candidates("host"), ["host"]);
    }
}
