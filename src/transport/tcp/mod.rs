//! TCP (RFC 9293): one [`Connection`] is the whole protocol of one connection; the table beside it finds it.
//!
//! One module per mechanism. A [`Connection`] is what all its states share (`common`) and one state: `syn_sent`, `syn_received`,
//! `synchronized` (with a sender, a receiver and timers), `time_wait`.

mod ack;
mod burst;
mod chrono;
mod close;
mod common;
mod congestion;
mod connection;
mod delayed_ack;
mod ecn;
mod fast_open;
mod frto;
mod handshake;
mod in_flight;
mod input;
mod invariants;
mod isn;
mod keepalive;
mod listener;
mod mtu_probing;
mod nagle;
mod output;
mod pacing;
mod pack;
mod persist;
mod pmtu;
mod prr;
mod rack;
mod rate;
mod receiver;
mod recovery;
mod recv_buffer;
mod recv_tuning;
mod recv_window;
mod reset;
mod retransmit;
mod rto;
mod rtt;
mod sack;
mod sack_recovery;
mod scoreboard;
mod send_buffer;
mod send_tuning;
mod sender;
mod settings;
mod stats;
mod syn_cookie;
mod syn_received;
mod syn_sent;
mod synchronized;
mod table;
mod tail_loss;
#[cfg(test)]
mod tests;
mod time_wait;
mod timers;
mod timestamps;
mod undo;
mod urgent;
mod user;
mod user_timeout;
mod window_update;

pub use connection::{Connection, Isn, Limits, Mtus, Outgoing, Read, SegmentMeta, Verdict};
pub use fast_open::bits::{
    CLIENT as FAST_OPEN_CLIENT, SERVER as FAST_OPEN_SERVER, SERVER_ALL as FAST_OPEN_ALL,
};
pub use isn::IsnGenerator;
pub use listener::{ListenOptions, Listener, ListenerId};
pub use settings::{Settings, TcpInfo};
pub use table::{Arrival, ConnId, FastOpen, Reply, Tcp};
