//! `tunstack resolve` and `tunstack services`: names, addresses and the well-known ports.

use super::cli;
use super::client::Client;
use super::failure::{Doing as _, Failure, Outcome};
use crate::netdb::{AiFlags, Hints, Netdb, ResolvConf, Service, SockType, Sources};
use crate::runtime::Stack;
use std::net::{IpAddr, SocketAddr};

/// Runs `tunstack resolve`.
pub fn run_resolve(options: &cli::Resolve) -> Outcome {
    let client = Client::start(&options.device, true)?;
    let mut netdb = Netdb::new(client.stack());
    if let Some(server) = options.server {
        let conf = ResolvConf { nameservers: vec![SocketAddr::new(server, 53)], ..netdb.resolv_conf() };
        netdb = Netdb::with(client.stack(), Sources { resolv_conf: Some(conf), ..Sources::default() });
    }
    let failed: Vec<String> = options.names.iter().filter_map(|name| show(&netdb, name).err()).collect();
    client.finish()?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::run(failed.join("; "))) }
}

/// Prints what is known about a name or an address.
fn show(netdb: &Netdb, name: &str) -> Result<(), String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        let host = netdb.gethostbyaddr(address).map_err(|error| format!("{address}: {error}"))?;
        outln!("{address} is {}{}", host.name, aliases(&host.aliases));
        return Ok(());
    }
    let hints = Hints { flags: AiFlags::CANONNAME, socktype: Some(SockType::Stream), ..Hints::default() };
    let found = netdb.getaddrinfo(Some(name), None, &hints).map_err(|error| format!("{name}: {error}"))?;
    let canonical =
        found.first().and_then(|info| info.canonname.clone()).filter(|canonical| canonical != name);
    match canonical {
        Some(canonical) => outln!("{name} is {canonical}"),
        None => outln!("{name}"),
    }
    found.iter().for_each(|info| outln!("        {}", info.address.ip()));
    Ok(())
}

/// Runs `tunstack services`. It needs no network, so its stack talks only to itself.
pub fn run_services(options: &cli::Services) -> Outcome {
    let stack = Stack::builder().start().doing("cannot start a stack")?;
    let netdb = Netdb::new(&stack);
    let found: Vec<Service> = match &options.which {
        None => netdb.services(),
        Some(which) => match which.parse() {
            Ok(port) => netdb.services().into_iter().filter(|service| service.port == port).collect(),
            Err(_) => {
                let is = |service: &Service| service.name == *which || service.aliases.contains(which);
                netdb.services().into_iter().filter(is).collect()
            }
        },
    };
    for service in &found {
        let port = format!("{}/{}", service.port, service.protocol);
        outln!("{:<20} {port:<12}{}", service.name, aliases(&service.aliases));
    }
    match (&options.which, found.is_empty()) {
        (Some(which), true) => Err(Failure::run(format!(
            "no well-known service is called or has the port '{which}': `tunstack services` lists all"
        ))),
        _ => Ok(()),
    }
}

fn aliases(aliases: &[String]) -> String {
    if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) }
}
