//! Scripted exchanges: one rule, one dialogue.

mod acks;
mod close;
mod closed;
#[path = "../common/mod.rs"]
mod common;
mod congestion;
mod failure;
mod handshake;
mod icmp_errors;
mod nagle;
mod options;
mod reset;
mod rto;
mod state_table;
mod time_wait;
mod windows;
