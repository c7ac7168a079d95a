//! Scripted exchanges: one rule, one dialogue.

mod ack_corners;
mod acks;
mod blind_attacks;
mod close;
mod closed;
#[path = "../common/mod.rs"]
mod common;
mod congestion;
mod congestion_window;
mod failure;
mod fast_recovery;
mod handshake;
mod icmp_checks;
mod icmp_errors;
mod ip_fields;
mod limited_transmit;
mod nagle;
mod options;
mod paws;
mod records_and_sizes;
mod reset;
mod retransmission_timer;
mod rto;
mod sack_receiver;
mod sack_sender;
mod state_table;
mod syn_cookies;
mod time_wait;
mod time_wait_reuse;
mod timestamps;
mod udp;
mod urgent;
mod window_edges;
mod window_scale;
mod windows;
