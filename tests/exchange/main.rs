//! Scripted exchanges: one rule, one dialogue.

#[path = "../common/mod.rs"]
mod common;
mod state_table;
