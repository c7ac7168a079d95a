//! Header codecs and checksums: pure functions between octets and values, no state.
//!
//! `etherparse` slices headers; what it leaves out (checksums, TCP options, option and header chains) is here.

pub mod checksum;
pub mod icmp;
pub mod ip;
pub mod packet;
pub mod seq;
pub mod tcp;
pub mod udp;

use crate::trace::Drop;

/// Why octets are not what they were taken for. Checksums are verified apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They end before the header or the payload that it announces.
    Truncated,
    /// A field has a value that no header can have.
    Structure,
}

impl From<Malformed> for Drop {
    fn from(malformed: Malformed) -> Drop {
        match malformed {
            Malformed::Truncated => Drop::Truncated,
            Malformed::Structure => Drop::Malformed,
        }
    }
}
