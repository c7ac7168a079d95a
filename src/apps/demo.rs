//! `tunstack demo`: the stack with http and echo in a private namespace, a real client that talks to it, and the
//! ladder of every packet.

mod client;
mod sim;

pub(super) use client::find;

use super::cli;
use super::client::{is_closing, settle};
use super::device::{self, LadderTo, Running};
use super::failure::{Doing as _, Failure, Outcome};
use super::serve::Server;
use super::service::Service;
use crate::link::netns::Privilege;
use std::io;
use std::time::Duration;

/// How long connections may take to close once the client is done; with a bad link it takes a while.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs `tunstack demo`.
pub fn run(options: &cli::Demo) -> Outcome {
    if options.sim {
        return simulate(options);
    }
    if let Some(program) = options.client.first()
        && !client::find(program)
    {
        return Err(Failure::input(format!(
            "there is no program '{program}': give --client one that is in PATH, or its whole path"
        )));
    }
    let private = cli::Device { netns: true, ..options.device.clone() };
    let started = device::enter(&private).and_then(|privilege| {
        if private.dry_run {
            device::print_plan(&private, privilege, false)?;
            return Ok(None);
        }
        let running = device::start(&private, LadderTo::Output)?;
        Ok(Some((privilege.unwrap_or(Privilege::Own), running)))
    });
    match started {
        Ok(None) => Ok(()),
        Ok(Some((privilege, running))) => show(options, privilege, running),
        Err(failure) if failure.lacks_rights() && options.client.is_empty() && !options.shell => {
            errln!("tunstack: {failure}");
            errln!("tunstack: so here are two simulated hosts instead, as with --sim");
            simulate(options)
        }
        Err(failure) => Err(failure),
    }
}

fn simulate(options: &cli::Demo) -> Outcome {
    if options.device.dry_run {
        outln!("# two simulated hosts need no interface");
        return Ok(());
    }
    sim::run(&options.device)
}

fn show(options: &cli::Demo, privilege: Privilege, running: Running) -> Outcome {
    let ports = [(Service::Http, Service::Http.port()), (Service::Echo, Service::Echo.port())];
    let mut server = Server::new(&running.stack, &ports)?;
    let stop = server.stopper();
    let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || server.run());
    let thread = thread.doing("cannot start the server")?;
    let signals = super::signals::on_end({
        let readers = running.readers();
        move || {
            let _ = readers.finish();
            std::process::exit(130);
        }
    })?;
    introduce(options, privilege, &running);
    hold(options, "Enter starts the client: ");
    let result = client::run(options, &running);
    settle(&running.stack, SETTLE, |state| state == "ESTABLISHED" || is_closing(state));
    hold(options, "Enter ends the demo: ");
    stop.stop();
    // The server only fails when the stack ends, and then its client failed too.
    let _ = thread.join();
    drop(signals);
    let finished = running.finish();
    say(options, format_args!(""));
    let told = result?;
    say(options, format_args!("{told}"));
    finished
}

fn introduce(options: &cli::Demo, privilege: Privilege, running: &Running) {
    let stack: Vec<String> = running.setup.stack.iter().map(|cidr| cidr.address.to_string()).collect();
    let kernel: Vec<String> = running.setup.kernel.iter().map(|cidr| cidr.address.to_string()).collect();
    say(
        options,
        format_args!("tunstack at {}, with http on port 80 and echo on port 7", stack.join(" and ")),
    );
    say(options, format_args!("the kernel at {}, beyond {}", kernel.join(" and "), running.interface));
    let (enter, watch) = match privilege {
        Privilege::Own => ("sudo nsenter -n", "tcpdump"),
        // tcpdump insists on changing its user, and there is no other in a user namespace.
        Privilege::UserNamespace => ("nsenter -U --preserve-credentials -n", "tshark"),
    };
    let (id, interface) = (std::process::id(), &running.interface);
    say(options, format_args!("another terminal can watch: {enter} -t {id} {watch} -ni {interface}"));
    say(options, format_args!(""));
}

/// Prints a line where the ladder goes: standard output, or standard error while a capture has that.
fn say(options: &cli::Demo, line: std::fmt::Arguments<'_>) {
    if device::captures_to_output(&options.device) {
        errln!("{line}");
    } else {
        outln!("{line}");
    }
}

fn hold(options: &cli::Demo, prompt: &str) {
    if options.wait {
        err!("{prompt}");
        let _ = io::Write::flush(&mut io::stderr());
        let _ = io::stdin().read_line(&mut String::new());
    }
}

/// A client that failed.
fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::run(what)
}
