//! The application layer: sample programs and the commands of the binary.

/// `print!` for commands: when nobody reads any more, the command ends in silence.
macro_rules! out {
    ($($text:tt)*) => { $crate::apps::print(format_args!($($text)*)) };
}
/// `println!` likewise.
macro_rules! outln {
    () => { out!("\n") };
    ($($text:tt)*) => { out!("{}\n", format_args!($($text)*)) };
}
/// `eprint!` likewise, but a command without readers there goes on.
macro_rules! err {
    ($($text:tt)*) => { $crate::apps::print_error(format_args!($($text)*)) };
}
/// `eprintln!` likewise.
macro_rules! errln {
    ($($text:tt)*) => { err!("{}\n", format_args!($($text)*)) };
}

mod bench;
pub mod chat;
mod cli;
mod client;
mod demo;
mod device;
mod doctor;
pub mod failure;
mod get;
pub mod http;
mod ifconfig;
mod names;
mod netcat;
mod ping;
mod plot;
pub mod samples;
mod serve;
mod service;
mod signals;
mod talk;
mod transfer;
mod wire;

use clap::Parser as _;
use cli::{Cli, Command};
use failure::{Outcome, usage};
use std::process::ExitCode;

/// The `tunstack` command: does what the command line asks for.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error)
            if !error.use_stderr()
                || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            error.exit()
        }
        Err(error) => return fail(&usage(&error)),
    };
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

/// Writes to standard output, and ends the process when that cannot be.
fn print(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    match output.write_fmt(text).and_then(|()| output.flush()) {
        Ok(()) => {}
        // As SIGPIPE would: 128 + 13.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(141),
        Err(error) => {
            errln!("tunstack: cannot write to standard output: {}", failure::plain(&error));
            std::process::exit(1);
        }
    }
}

/// Writes to standard error, where there may be no reader.
fn print_error(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_fmt(text);
}

fn fail(failure: &failure::Failure) -> ExitCode {
    errln!("tunstack: {failure}");
    ExitCode::from(failure.code())
}

fn run(command: &Command) -> Outcome {
    if let Some(device) = device_of(command) {
        let namespace = device::enter(device)?;
        if device.dry_run {
            let several_queues = matches!(command, Command::Serve(options) if options.shards > 1);
            return device::print_plan(device, namespace, several_queues);
        }
    }
    match command {
        Command::Serve(options) => serve::run(options),
        Command::Connect(options) => netcat::run_connect(options),
        Command::Listen(options) => netcat::run_listen(options),
        Command::Get(options) => get::run(options),
        Command::Send(options) => transfer::run_send(options),
        Command::Recv(options) => transfer::run_recv(options),
        Command::Chat(options) => talk::run(options),
        Command::Ifconfig(options) => ifconfig::run(options),
        Command::Ping(options) => ping::run(options),
        Command::Resolve(options) => names::run_resolve(options),
        Command::Services(options) => names::run_services(options),
        Command::Sample(options) => samples::run(options),
        Command::Demo(options) => demo::run(options),
        Command::Doctor(options) => doctor::run(options),
        Command::Wire(options) => wire::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Plot(options) => plot::run(options),
        Command::BenchPeer(options) => bench::run_peer(options),
    }
}

/// The device options of a command that has some.
fn device_of(command: &Command) -> Option<&cli::Device> {
    match command {
        // These have their own way with the device.
        Command::Demo(_)
        | Command::Doctor(_)
        | Command::Services(_)
        | Command::Wire(_)
        | Command::Bench(_)
        | Command::BenchPeer(_)
        | Command::Plot(_) => None,
        Command::Serve(options) => Some(&options.device),
        Command::Ifconfig(options) => Some(&options.device),
        Command::Connect(options) => Some(&options.device),
        Command::Listen(options) => Some(&options.device),
        Command::Get(options) => Some(&options.device),
        Command::Send(options) => Some(&options.device),
        Command::Recv(options) => Some(&options.device),
        Command::Chat(options) => Some(&options.device),
        Command::Ping(options) => Some(&options.device),
        Command::Resolve(options) => Some(&options.device),
        Command::Sample(options) => Some(&options.device),
    }
}
