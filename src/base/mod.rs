//! What every layer uses and no protocol owns: time, randomness, counters, settings, byte storage.

pub mod cidr;
pub mod config;
pub mod counters;
pub mod errno;
pub mod io;
pub mod pool;
pub mod queue;
pub mod range_set;
pub mod rng;
pub mod time;
pub mod timers;

pub use cidr::Cidr;
pub use config::Config;
pub use counters::Counters;
pub use errno::Errno;
pub use io::{MsgFlags, Readiness};
pub use pool::Pool;
pub use queue::Queue;
pub use range_set::RangeSet;
pub use rng::{Key, KeyedState, Rng};
pub use time::{Duration, Instant};
