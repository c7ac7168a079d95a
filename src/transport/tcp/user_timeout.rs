//! `TCP_USER_TIMEOUT` (RFC 9293 §3.8.3, §3.10.8): how long data may go unacknowledged, or wait for a window, before the connection
//! ends. It takes the place of R2. RFC 5482's option is neither sent nor obeyed.

use super::common::{Common, Next};
use super::synchronized::Synchronized;
use crate::base::{Errno, Instant};
use crate::trace::Timer;
use crate::transport::Env;

impl Synchronized {
    /// When the user's patience ends.
    pub fn user_deadline(&self, common: &Common) -> Option<Instant> {
        let limit = common.settings.user_timeout;
        let since = self.snd.owed_since.filter(|_| !limit.is_zero())?;
        Some(since + limit)
    }

    /// It ended.
    pub fn on_user_timeout(&mut self, common: &mut Common, env: &mut Env) -> Next {
        common.fired(env, Timer::UserTimeout, 1);
        env.counters.tcp_ext_abort_on_timeout += 1;
        common.soft_error = None;
        Next::Closed(Some(Errno::ETIMEDOUT))
    }
}
