//! TCP (RFC 9293).

mod settings;

pub use settings::{Settings, TcpInfo};
