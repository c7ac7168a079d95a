//! Scripted exchanges: one rule, one dialogue.

#[path = "../common/mod.rs"]
mod common;
mod close;
mod closed;
mod handshake;
mod options;
mod state_table;
