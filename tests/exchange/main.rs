//! Scripted exchanges: one rule, one dialogue.

#[path = "../common/mod.rs"]
mod common;
mod acks;
mod close;
mod closed;
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
