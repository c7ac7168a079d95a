//! Header codecs and checksums: pure functions between octets and values, no state.

pub mod packet;
pub mod seq;
pub mod tcp;
