//! TCP (RFC 9293): one [`Connection`] is the whole protocol of one connection; the table beside it finds it.

mod connection;
mod isn;
mod listener;
mod settings;
mod table;

pub use connection::{Connection, Isn, Limits, Outgoing, Read, SegmentMeta, Verdict};
pub use isn::IsnGenerator;
pub use listener::{ListenOptions, Listener, ListenerId};
pub use settings::{Settings, TcpInfo};
pub use table::{ConnId, Reply, Tcp};
