//! `tunstack ifconfig`: the interface, its addresses and the counters.

use super::cli;
use super::device::{self, LadderTo};
use super::failure::Outcome;
use crate::base::{Cidr, Counters};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Runs `tunstack ifconfig`.
pub fn run(options: &cli::Ifconfig) -> Outcome {
    device::keep_output_free(&options.device)?;
    let running = device::start(&options.device, LadderTo::Nowhere)?;
    let stack = &running.stack;
    let (v4, v6) = stack.gateways();
    let gateways: Vec<IpAddr> = [v4, v6].into_iter().flatten().collect();
    out!("{}", interface_text(&running.interface, stack.link().mtu, &running.setup.stack, &gateways));
    for peer in &running.setup.kernel {
        outln!("        kernel's side {peer}");
    }
    out!(
        "{}",
        interface_text(
            "lo",
            65_535,
            &["127.0.0.1/8", "::1/128"].map(|text| text.parse().expect("valid")),
            &[]
        )
    );
    out!("{}", counters_text(&stack.counters(), options.all));
    running.finish()
}

fn interface_text(name: &str, mtu: u32, addresses: &[Cidr], gateways: &[IpAddr]) -> String {
    let mut text = format!("{name}: mtu {mtu}\n");
    for cidr in addresses {
        let network = cidr.network();
        let line = match cidr.address {
            IpAddr::V4(address) => {
                let mask =
                    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(cidr.prefix)).unwrap_or(0));
                let broadcast =
                    cidr.broadcast().map(|broadcast| format!("  broadcast {broadcast}")).unwrap_or_default();
                format!("inet {address}  netmask {mask}  network {network}{broadcast}")
            }
            IpAddr::V6(address) => format!("inet6 {address}  prefixlen {}  network {network}", cidr.prefix),
        };
        let _ = writeln!(text, "        {line}");
    }
    for gateway in gateways {
        let _ = writeln!(text, "        gateway {gateway}");
    }
    text
}

fn counters_text(counters: &Counters, all: bool) -> String {
    let shown: Vec<_> = counters.iter().filter(|(_, value)| all || *value != 0).collect();
    if shown.is_empty() {
        return "counters: all zero\n".to_owned();
    }
    let mut text = "counters:\n".to_owned();
    for (name, value) in shown {
        let _ = writeln!(text, "        {name:<32} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_shows_mask_network_and_broadcast() {
        let addresses = ["10.9.5.2/22", "fd09::2/64", "10.0.0.1/31"].map(|text| text.parse().expect("valid"));
        let gateways = ["10.9.4.1".parse().expect("valid")];
        assert_eq!(
            interface_text("tun0", 1500, &addresses, &gateways),
            "tun0: mtu 1500\n\
             \x20       inet 10.9.5.2  netmask 255.255.252.0  network 10.9.4.0  broadcast 10.9.7.255\n\
             \x20       inet6 fd09::2  prefixlen 64  network fd09::\n\
             \x20       inet 10.0.0.1  netmask 255.255.255.254  network 10.0.0.0\n\
             \x20       gateway 10.9.4.1\n"
        );
    }

    #[test]
    fn zero_counters_are_shown_on_demand() {
        let mut counters = Counters::default();
        assert_eq!(counters_text(&counters, false), "counters: all zero\n");
        counters.tcp_in_segs = 3;
        assert_eq!(counters_text(&counters, false).lines().count(), 2);
        assert!(counters_text(&counters, true).lines().count() > 50);
    }
}
