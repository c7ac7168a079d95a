//! The `tunstack` command.

fn main() {}
