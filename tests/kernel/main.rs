//! The real kernel and well-known programs as the peer, in private namespaces: what users do, through the real command
//! and through the library, over IPv4 and IPv6.

#[allow(dead_code)]
#[path = "../device/harness.rs"]
mod harness;

mod bench;
mod closing;
mod link;
mod many;
mod marks_and_holes;
mod opening;
mod path;
mod ping;
mod programs;
mod refused;
mod relay;
mod transfer;
mod wire;
mod wireshark;
mod world;

fn main() -> std::process::ExitCode {
    let tests: Vec<harness::Test> = [
        ping::TESTS,
        programs::TESTS,
        transfer::TESTS,
        closing::TESTS,
        refused::TESTS,
        many::TESTS,
        opening::TESTS,
        link::TESTS,
        path::TESTS,
        marks_and_holes::TESTS,
        wireshark::TESTS,
        wire::TESTS,
        bench::TESTS,
    ]
    .concat();
    harness::main(&tests)
}
