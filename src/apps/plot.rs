//! `tunstack plot`: the congestion window over time, in a simulation, beside the RFCs' formulas.

use super::cli;
use super::device::wide;
use super::failure::{Doing as _, Failure, Outcome};
use crate::base::config::CongestionControl;
use crate::base::{Cidr, Config, Duration, Errno, Instant};
use crate::host::{Domain, Host, Link, MsgFlags, SocketId, Type};
use crate::link::impair::Impairment;
use crate::observe::{Curve, Curves, Formula, Shared, Windows};
use crate::sim::{NodeId, Sim};
use std::net::SocketAddr;

/// Losses on a path whose round trips do not vary, so that the curves show.
const LINK: &str = "delay=50ms,up:drop=data:300,up:drop=data:12000-12001,up:drop=data:24000,up:drop=data:40000,\
                    up:drop=data:60000";
const SECONDS: u64 = 30;
const ENDS: [&str; 2] = ["10.9.0.1/24", "10.9.0.2/24"];
const PORT: u16 = 9;
const MTU: u32 = 1500;
/// Octets of a full segment: the MTU less the headers with a timestamp option.
const MSS: u32 = 1448;
/// Points of a curve; more cannot be seen.
const POINTS: usize = 1500;

/// Runs `tunstack plot`.
pub fn run(options: &cli::Plot) -> Outcome {
    let link: Impairment = match &options.link {
        Some(link) => link.clone(),
        None => LINK.parse().map_err(Failure::run)?,
    };
    let seconds = options.seconds.unwrap_or(SECONDS);
    let wanted = match options.congestion.is_empty() {
        true => vec![CongestionControl::Reno, CongestionControl::Cubic],
        false => options.congestion.clone(),
    };
    let mut curves = Vec::new();
    for controller in wanted {
        let windows =
            simulated(controller, &link, options.seed.unwrap_or(1), Duration::from_secs(seconds))
                .map_err(|errno| Failure::run(format!("the simulated transfer failed: {}", errno.text())))?;
        curves.extend(drawn(controller, &windows));
    }
    let note = match &options.link {
        Some(link) => format!("over {link}; dashed: the formula"),
        None => "round trips of 100 ms, some losses; dashed: the formula".to_owned(),
    };
    let axes = ("seconds", "segments of 1448 octets");
    let svg = Curves { title: "Congestion window", note: &note, axes, curves }.svg();
    std::fs::write(&options.file, svg).doing(format_args!("cannot write {}", options.file.display()))?;
    outln!("{}: {seconds} simulated seconds", options.file.display());
    Ok(())
}

fn formula(controller: CongestionControl) -> Option<Formula> {
    match controller {
        CongestionControl::Reno => Some(Formula::Reno),
        CongestionControl::Cubic => Some(Formula::Cubic),
        CongestionControl::Bbr => None,
    }
}

/// The window, and the formula where there is one.
fn drawn(controller: CongestionControl, windows: &Windows) -> Vec<Curve> {
    let seconds = |at: Instant| at.as_nanos() as f64 / 1e9;
    let points: Vec<_> = windows
        .samples()
        .iter()
        .map(|sample| (seconds(sample.at), f64::from(sample.cwnd) / f64::from(MSS)))
        .collect();
    let mut curves =
        vec![Curve { name: controller.name().to_owned(), points: thinned(&points), dashed: false }];
    if let Some(formula) = formula(controller) {
        let points: Vec<_> = windows
            .expected(formula, MSS)
            .into_iter()
            .map(|(at, segments)| (seconds(at), segments))
            .collect();
        curves.push(Curve {
            name: format!("{}, formula", controller.name()),
            points: thinned(&points),
            dashed: true,
        });
    }
    curves
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().step_by(points.len().div_ceil(POINTS).max(1)).copied().collect()
}

/// Sends without end for so long, and tells the windows of the sender.
fn simulated(
    controller: CongestionControl,
    link: &Impairment,
    seed: u64,
    time: Duration,
) -> Result<Windows, Errno> {
    let windows = Shared::new(Windows::default());
    let mut sim = Sim::new(seed);
    let ends = ENDS.map(|address| {
        let mut config = Config::default();
        // Neither side's buffer is to be what limits the window.
        (config.tcp_rmem, config.tcp_wmem) = ([4096, 32 << 20, 32 << 20], [4096, 32 << 20, 32 << 20]);
        config.tcp_congestion_control = controller;
        let mut host = Host::new(config, wide(seed));
        host.set_link(Instant::ZERO, Link::plain(MTU));
        if address == ENDS[0] {
            host.set_trace(Some(Box::new(windows.clone())));
        }
        let cidr = address.parse::<Cidr>().ok().ok_or(Errno::EINVAL)?;
        host.add_address(cidr)?;
        Ok(sim.add_host(host))
    });
    let [sender, receiver]: [Result<NodeId, Errno>; 2] = ends;
    let (sender, receiver) = (sender?, receiver?);
    sim.connect(sender, receiver, link);
    transfer(&mut sim, sender, receiver, time)?;
    sim.host_mut(sender).set_trace(None);
    Ok(windows.with(std::mem::take))
}

fn transfer(sim: &mut Sim, sender: NodeId, receiver: NodeId, time: Duration) -> Result<(), Errno> {
    let now = sim.now();
    let server = SocketAddr::new(ENDS[1].parse::<Cidr>().map_err(|_| Errno::EINVAL)?.address, PORT);
    let host = sim.host_mut(receiver);
    let listener = host.socket(Domain::Inet, Type::Stream)?;
    host.bind(listener, server)?;
    host.listen(now, listener, 1)?;
    let host = sim.host_mut(sender);
    let client = host.socket(Domain::Inet, Type::Stream)?;
    match host.connect(now, client, Some(server)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    let mut accepted = None;
    let mut failed = None;
    let mut block = vec![0; 256 << 10];
    sim.run_until(time, |sim| {
        let work = |sim: &mut Sim| -> Result<(), Errno> {
            if sim.host_mut(receiver).poll_event().is_some() {
                take(sim, receiver, listener, &mut accepted, &mut block)?;
            }
            if sim.host_mut(sender).poll_event().is_some() {
                let now = sim.now();
                unless_waiting(loop {
                    if let Err(errno) = sim.host_mut(sender).send(now, client, &block, MsgFlags::empty()) {
                        break errno;
                    }
                })?;
            }
            Ok(())
        };
        failed = { work }(sim).err();
        failed.is_some()
    });
    failed.map_or(Ok(()), Err)
}

/// Accepts the connection, and reads all there is.
fn take(
    sim: &mut Sim,
    receiver: NodeId,
    listener: SocketId,
    accepted: &mut Option<SocketId>,
    block: &mut [u8],
) -> Result<(), Errno> {
    let now = sim.now();
    let host = sim.host_mut(receiver);
    let Some(id) = accepted.or_else(|| host.accept(now, listener).ok().map(|(id, _)| id)) else {
        return Ok(());
    };
    *accepted = Some(id);
    unless_waiting(loop {
        if let Err(errno) = host.recv(now, id, block, MsgFlags::empty()) {
            break errno;
        }
    })
}

/// Not yet connected, no room, or nothing there: all of that is no failure.
fn unless_waiting(errno: Errno) -> Result<(), Errno> {
    match errno {
        Errno::EAGAIN | Errno::ENOTCONN => Ok(()),
        errno => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole curve, from each recovery to the next loss, is within 15 % of the formula.
    #[test]
    fn windows_follow_the_formulas_of_the_rfcs() {
        let link: Impairment = LINK.parse().expect("valid");
        for controller in [CongestionControl::Reno, CongestionControl::Cubic] {
            let windows = simulated(controller, &link, 1, Duration::from_secs(24)).expect("a transfer");
            let expected = windows.expected(formula(controller).expect("one of them"), MSS);
            assert!(expected.len() > 200, "{controller:?}: only {} points", expected.len());
            let mut worst = (0.0, Instant::ZERO);
            for (at, segments) in expected {
                let index = windows.samples().partition_point(|sample| sample.at < at);
                let window = f64::from(windows.samples()[index].cwnd) / f64::from(MSS);
                let off = (window / segments - 1.0).abs();
                worst = if off > worst.0 { (off, at) } else { worst };
            }
            println!("{controller:?}: at most {:.1} % off, at {:?}", worst.0 * 100.0, worst.1);
            assert!(worst.0 < 0.15, "{controller:?}: {worst:?}");
        }
    }
}
