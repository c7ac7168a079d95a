//! TCP (RFC 9293): one [`Connection`] is the whole protocol of one connection; the table beside it finds it.

mod connection;
mod isn;
mod settings;

pub use connection::{Connection, Isn, Limits, Outgoing, Read, SegmentMeta, Verdict};
pub use isn::IsnGenerator;
pub use settings::{Settings, TcpInfo};
