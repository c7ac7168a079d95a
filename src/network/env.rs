//! What a protocol is handed with every call.

use crate::base::{Config, Counters, Instant, Pool, Rng};
use crate::trace::Tracer;

/// What every call into a protocol is handed: time, settings, and where to count, draw and tell.
pub struct Env<'a> {
    /// The time of this call; one reading per batch.
    pub now: Instant,
    /// The host's settings.
    pub config: &'a Config,
    /// The host's counters.
    pub counters: &'a mut Counters,
    /// The host's randomness.
    pub rng: &'a mut Rng,
    /// Where buffers get their memory and give it back.
    pub pool: &'a mut Pool,
    /// The host's trace.
    pub trace: &'a mut Tracer,
    /// Challenge acknowledgments still allowed in this second (RFC 5961 §7).
    pub challenge_budget: &'a mut u32,
}
