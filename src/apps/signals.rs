//! SIGINT, SIGTERM and SIGHUP end a command in good order; a second one ends it at once.

use super::failure::{Failure, Outcome, plain};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::thread::JoinHandle;

/// Listens for signals while it lives.
pub struct Listening {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Calls `end` at the first signal.
///
/// # Errors
/// When the system has no room for the handlers.
pub fn on_end(end: impl Fn() + Send + 'static) -> Outcome<Listening> {
    let failed = |error: std::io::Error| Failure::run(format!("cannot listen for signals: {error}"));
    let wanted =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !outlives_terminal());
    let mut signals = Signals::new(wanted).map_err(failed)?;
    let handle = signals.handle();
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(128 + signal);
            }
            end();
        }
    });
    Ok(Listening { handle, thread: Some(thread.map_err(failed)?) })
}

/// Was it started to ignore SIGHUP, as by nohup(1)? (proc(5), `SigIgn`: the lowest bit is signal 1.)
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// A helper of the command that is process `parent`: whatever ends that one, even SIGKILL, ends this process.
///
/// # Errors
/// When the system refuses, or the other one has ended already.
pub fn end_with_parent(parent: i32) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| Failure::run(plain(&errno)))?;
    match getppid().is_some_and(|pid| pid.as_raw_pid() == parent) {
        true => Ok(()),
        false => Err(Failure::run("the parent process has ended")),
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
