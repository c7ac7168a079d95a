//! `tunstack doctor`: what a stack needs on this machine, and the command that mends what is missing.

use super::cli;
use super::demo::find;
use super::device;
use super::failure::{Failure, Outcome, plain};
use crate::base::Cidr;
use crate::link::netns::{self, Privilege};
use crate::link::{Device, LinkError, Setup, check_addresses, check_node, check_right, exists};
use std::net::IpAddr;
use std::process::Command;

/// Programs that are good to have, and the packages of Debian and Ubuntu that bring them.
const TOOLS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("ping", "iputils-ping"),
    ("ncat", "ncat"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("iperf3", "iperf3"),
];

/// What one look at the machine found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// In order.
    Ok(String),
    /// Not in order, but the stack runs without.
    Hint(String),
    /// The stack does not run without.
    Missing(String),
}

/// Runs `tunstack doctor`.
pub fn run(options: &cli::Doctor) -> Outcome {
    device::enter(&options.device)?;
    let setup = device::setup(&options.device)?;
    let mut missing = 0;
    let mut section = |title: &str, findings: Vec<Finding>| {
        outln!("{title}");
        for finding in findings {
            match finding {
                Finding::Ok(text) => outln!("  OK    {text}"),
                Finding::Hint(text) => outln!("  --    {text}"),
                Finding::Missing(text) => {
                    missing += 1;
                    outln!("  MEND  {text}");
                }
            }
        }
    };
    section("to run here:", here(&options.device, &setup));
    section("to run in a private namespace (demo, --netns):", private());
    section("to reach beyond this machine:", beyond(&setup));
    section("tools:", tools());
    match missing {
        0 => Ok(()),
        1 => Err(Failure::run("one thing is to be mended, see above")),
        count => Err(Failure::run(format!("{count} things are to be mended, see above"))),
    }
}

fn here(options: &cli::Device, setup: &Setup) -> Vec<Finding> {
    let mut findings = vec![
        told(check_node(), "the device node /dev/net/tun can be opened"),
        told(check_right(), "interfaces can be made (CAP_NET_ADMIN)"),
        told(check_addresses(setup), &format!("the kernel leaves {} to the stack", joined(&setup.stack))),
    ];
    if findings.iter().any(|finding| matches!(finding, Finding::Missing(_))) {
        return findings;
    }
    // Everything at once: name, route, state, MTU.
    let name = options.tun.as_deref().unwrap_or_default();
    let there = options.tun.is_some() && exists(name).unwrap_or(false);
    match Device::tun(setup) {
        Ok(device) => {
            if let Err(failure) = device::check_mtu(options, &device) {
                findings.push(Finding::Missing(failure.to_string()));
                return findings;
            }
            let (name, mtu) = (device.name().unwrap_or_default().to_owned(), device.link().mtu);
            let what = if there { "can be attached to" } else { "can be made" };
            findings
                .push(Finding::Ok(format!("{name} {what}, is up and has a route to the stack, MTU {mtu}")));
            findings.push(path_mtu(mtu));
        }
        Err(error) => findings.push(Finding::Missing(plain(&error))),
    }
    findings
}

fn private() -> Vec<Finding> {
    vec![match netns::check() {
        Ok(Privilege::Own) => Finding::Ok("private namespaces can be made".to_owned()),
        Ok(Privilege::UserNamespace) => {
            Finding::Ok("private namespaces can be made, without any right".to_owned())
        }
        Err(error) => Finding::Hint(plain(&error)),
    }]
}

fn told(result: Result<(), LinkError>, fine: &str) -> Finding {
    match result {
        Ok(()) => Finding::Ok(fine.to_owned()),
        Err(error) => Finding::Missing(plain(&error)),
    }
}

/// Is there a smaller link on the way out?
fn path_mtu(mtu: u32) -> Finding {
    let Some(uplink) = uplink() else {
        return Finding::Ok("MTU: no default route, so no smaller link on the way out".to_owned());
    };
    let path = format!("/sys/class/net/{uplink}/mtu");
    match std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(theirs) if theirs < mtu => Finding::Hint(format!(
            "{uplink} has an MTU of {theirs}, less than {mtu}: --mtu {theirs} avoids detours for packets that go out there"
        )),
        Some(theirs) => Finding::Ok(format!("MTU {mtu} fits through {uplink} ({theirs})")),
        None => Finding::Hint(format!("the MTU of {uplink} cannot be read")),
    }
}

/// The interface of the kernel's default route.
fn uplink() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    default_interface(&table)
}

/// The interface of the default route in a table as `/proc/net/route` shows it.
fn default_interface(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, "00000000", _, _, _, _, _, "00000000", ..] => Some((*name).to_owned()),
            _ => None,
        }
    })
}

/// Forwarding and address translation. Nothing here is needed for talking with this machine.
fn beyond(setup: &Setup) -> Vec<Finding> {
    let uplink = uplink();
    let out = uplink.as_deref().unwrap_or("eth0");
    let mut findings = Vec::new();
    if uplink.is_none() {
        findings.push(Finding::Hint(
            "this machine has no default route itself: `ip route` shows what it has".to_owned(),
        ));
    }
    for v4 in [true, false] {
        let Some(cidr) = setup.stack.iter().find(|cidr| cidr.address.is_ipv4() == v4) else { continue };
        let (name, key) = match v4 {
            true => ("IPv4", "net.ipv4.ip_forward"),
            false => ("IPv6", "net.ipv6.conf.all.forwarding"),
        };
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let on = std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
        findings.push(match on {
            true => Finding::Ok(format!("the kernel forwards {name}")),
            false => Finding::Hint(format!("the kernel forwards no {name}: `sudo sysctl -w {key}=1`")),
        });
        findings.push(translation(*cidr, out));
    }
    findings
}

/// Does the kernel hide the stack's network behind an address that others can answer to?
fn translation(cidr: Cidr, out: &str) -> Finding {
    let (program, network) = match cidr.address {
        IpAddr::V4(_) => ("iptables", format!("{}/{}", cidr.network(), cidr.prefix)),
        IpAddr::V6(_) => ("ip6tables", format!("{}/{}", cidr.network(), cidr.prefix)),
    };
    let rules = Command::new(program).args(["-t", "nat", "-S", "POSTROUTING"]).output();
    match rules.is_ok_and(|output| translates(&String::from_utf8_lossy(&output.stdout), &network)) {
        true => Finding::Ok(format!("{network} is translated on the way out")),
        false => Finding::Hint(format!(
            "others cannot answer {network} unless they have a route or it is translated: \
             `sudo {program} -t nat -A POSTROUTING -s {network} -o {out} -j MASQUERADE`"
        )),
    }
}

/// Is there a rule for `network` among those that `iptables -S` prints?
fn translates(rules: &str, network: &str) -> bool {
    rules.lines().any(|rule| rule.contains("MASQUERADE") && (rule.contains(network) || !rule.contains("-s ")))
}

fn tools() -> Vec<Finding> {
    let (found, missing): (Vec<_>, Vec<_>) = TOOLS.iter().partition(|(tool, _)| find(tool));
    let mut findings = Vec::new();
    if !found.is_empty() {
        let names: Vec<&str> = found.iter().map(|(tool, _)| *tool).collect();
        findings.push(Finding::Ok(format!("found {}", names.join(", "))));
    }
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|(tool, _)| *tool).collect();
        let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        findings.push(Finding::Hint(format!(
            "not found {}: `sudo apt install {}`",
            names.join(", "),
            packages.join(" ")
        )));
    }
    findings
}

fn joined(addresses: &[Cidr]) -> String {
    addresses.iter().map(|cidr| cidr.address.to_string()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_route_is_found_in_the_kernels_table() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     eth1\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_interface(table).as_deref(), Some("eth1"));
        let header = table.lines().next().expect("a heading");
        assert_eq!(default_interface(header), None);
    }

    #[test]
    fn rules_of_translation_are_recognized() {
        let rules = "-P POSTROUTING ACCEPT\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n";
        assert!(translates(rules, "172.17.0.0/16"));
        assert!(!translates(rules, "10.9.0.0/24"));
        assert!(translates("-A POSTROUTING -o eth0 -j MASQUERADE\n", "10.9.0.0/24"));
    }
}
