//! What a sender spends its time on (`tcpi_busy_time`, `tcpi_rwnd_limited`, `tcpi_sndbuf_limited`): as Linux's `tcp_chrono`, one
//! clock that is charged to one account at a time. Milliseconds, for there is one of these in every connection.

use super::common::Common;
use super::pack::{pack_fields, pack_names};
use super::sender::Blocked;
use super::synchronized::Synchronized;
use crate::base::{Duration, Instant};

/// What holds data up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Nothing is queued or in flight.
    Idle,
    /// The path: data is in flight, or the congestion window is full.
    Busy,
    /// The peer's window.
    Window,
    /// The send buffer: it is full, and all of it is in flight.
    Buffer,
}

pack_names!(Account { Idle, Busy, Window, Buffer });

/// The clock and its accounts.
#[derive(Clone, Debug)]
pub(super) struct Chrono {
    account: Account,
    since: Instant,
    spent: [u32; 3],
    /// Nanoseconds that make no whole millisecond yet, whoever spent them.
    rest: u32,
}

pack_fields!(Chrono { account, since, spent, rest });

/// Microseconds with data to send, and those of them spent waiting for the peer's window and for room in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub busy: u64,
    pub window: u64,
    pub buffer: u64,
}

impl Chrono {
    pub fn new(now: Instant) -> Chrono {
        Chrono { account: Account::Idle, since: now, spent: [0; 3], rest: 0 }
    }

    /// From now on the time goes to `account`.
    pub fn charge(&mut self, account: Account, now: Instant) {
        if account == self.account {
            return;
        }
        if let Some(slot) = slot(self.account) {
            let spent = self.running(now) + Duration::from_nanos(u64::from(self.rest));
            self.rest = (spent.as_nanos() % 1_000_000) as u32;
            let millis = u32::try_from(spent.as_millis()).unwrap_or(u32::MAX);
            self.spent[slot] = self.spent[slot].saturating_add(millis);
        }
        (self.account, self.since) = (account, now);
    }

    /// All of it until now.
    pub fn spent(&self, now: Instant) -> Spent {
        let mut sums = self.spent.map(|millis| u64::from(millis) * 1000);
        if let Some(slot) = slot(self.account) {
            sums[slot] += self.running(now).as_micros();
        }
        Spent { busy: sums.iter().sum(), window: sums[1], buffer: sums[2] }
    }

    fn running(&self, now: Instant) -> Duration {
        now.since(self.since)
    }
}

fn slot(account: Account) -> Option<usize> {
    match account {
        Account::Idle => None,
        Account::Busy => Some(0),
        Account::Window => Some(1),
        Account::Buffer => Some(2),
    }
}

impl Synchronized {
    /// Everything that may go has gone, or something was acknowledged: what is it now that holds data up?
    pub fn charge_time(&mut self, common: &Common, now: Instant) {
        let snd = &self.snd;
        let full = !snd.is_writable(common.snd_buf, common.settings.notsent_lowat);
        let account = match snd.blocked {
            _ if snd.una == snd.nxt && snd.unsent() == 0 => Account::Idle,
            Blocked::Window | Blocked::Silly => Account::Window,
            Blocked::No if full && snd.unsent() == 0 => Account::Buffer,
            Blocked::No | Blocked::Cwnd | Blocked::Pace | Blocked::Nagle | Blocked::Cork | Blocked::Mark => {
                Account::Busy
            }
        };
        self.stats.chrono.charge(account, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_one_account_at_a_time() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut chrono = Chrono::new(at(0));
        for (ms, account) in
            [(10, Account::Busy), (30, Account::Window), (35, Account::Buffer), (36, Account::Idle)]
        {
            chrono.charge(account, at(ms));
            chrono.charge(account, at(ms));
        }
        assert_eq!(chrono.spent(at(90)), Spent { busy: 26_000, window: 5000, buffer: 1000 });
        chrono.charge(Account::Busy, at(100));
        assert_eq!(chrono.spent(at(107)).busy, 33_000);
    }

    #[test]
    fn many_short_times_add_up() {
        let mut chrono = Chrono::new(Instant::ZERO);
        for n in 0..1000 {
            let begin = Instant::ZERO + Duration::from_millis(n);
            chrono.charge(Account::Busy, begin);
            chrono.charge(Account::Idle, begin + Duration::from_micros(400));
        }
        assert_eq!(chrono.spent(Instant::ZERO + Duration::from_secs(2)).busy, 400_000);
    }
}
