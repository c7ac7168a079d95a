//! The `tunstack` command.

fn main() -> std::process::ExitCode {
    tunstack::apps::main()
}
