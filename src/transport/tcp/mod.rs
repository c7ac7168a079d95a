//! TCP (RFC 9293).

mod isn;
mod settings;

pub use isn::IsnGenerator;
pub use settings::{Settings, TcpInfo};
