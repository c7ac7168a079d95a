//! Real TUN devices, the real kernel as the peer, in private namespaces of their own.
//!
//! Each test runs in a process of its own, because a namespace is entered before any thread starts. A test that the
//! machine does not allow is skipped with the reason; with `CI=true` a skip is a failure.

mod groups;
mod harness;
mod link;
mod messages;
mod names;
mod netns;
mod offload;
mod shards;
mod stack;

fn main() -> std::process::ExitCode {
    let tests: Vec<harness::Test> = [
        groups::TESTS,
        link::TESTS,
        messages::TESTS,
        names::TESTS,
        netns::TESTS,
        offload::TESTS,
        shards::TESTS,
        stack::TESTS,
    ]
    .concat();
    harness::main(&tests)
}
