//! What the tests of the core share: packets read and built without the stack's own code, a checker that every sent
//! packet passes, the scripted dialogue, and two hosts on a simulated wire.
#![allow(dead_code)] // each test binary uses a part of it

pub mod checker;
pub mod exchange;
pub mod offload;
pub mod packet;
pub mod pair;
pub mod ranges;
pub mod text;
pub mod wire;

#[allow(unused_imports)]
pub use exchange::Exchange;
#[allow(unused_imports)]
pub use tunstack::base::{Config, Duration, Errno, Instant};

/// So many milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many seconds.
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
