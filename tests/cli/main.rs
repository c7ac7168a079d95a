//! The `tunstack` command as a person runs it: its words, its exit codes, and the real kernel as the other side.
//!
//! As in `tests/device`, each test runs in a process of its own, in a private namespace where it needs a network.

mod clients;
mod demo;
#[allow(dead_code)]
#[path = "../device/harness.rs"]
mod harness;
mod messages;
mod program;
mod samples;
mod serve;

fn main() -> std::process::ExitCode {
    let tests = [clients::TESTS, demo::TESTS, messages::TESTS, samples::TESTS, serve::TESTS].concat();
    let _copy = program::Copy::new();
    harness::main(&tests)
}
