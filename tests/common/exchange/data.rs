//! Many segments at once, and what the host knows about a connection: for dialogues about windows and timers.

use super::super::packet::{SYN, Tcp, TcpOption};
use super::Exchange;
use std::ops::Range;

impl Exchange {
    /// Everything that the stack has sent on this connection and the script has not looked at, as ranges of octets.
    /// Every segment must carry data.
    #[track_caller]
    pub fn data(&mut self) -> Vec<Range<i64>> {
        self.step();
        let mut ranges = Vec::new();
        while let Some((_, packet)) = self.outbox.pop_front() {
            let Some(tcp) = packet.tcp().filter(|tcp| !tcp.payload.is_empty()).cloned() else {
                self.fail(&format!("expected data, got  {}", self.show(&packet)));
            };
            self.learn(&packet, &tcp);
            let start = i64::from(tcp.seq.wrapping_sub(self.isns(true).sender) as i32);
            ranges.push(start..start + tcp.payload.len() as i64);
        }
        ranges
    }

    /// The stack has sent these segments of equal length `len` and nothing else: the first at `first`, `count` of them.
    #[track_caller]
    pub fn sends(&mut self, first: i64, count: usize, len: i64) -> &mut Exchange {
        let sent = self.data();
        let expected: Vec<Range<i64>> =
            (0..count as i64).map(|i| first + i * len..first + (i + 1) * len).collect();
        if sent != expected {
            self.fail(&format!("expected {count} segments of {len} octets from {first}, got {sent:?}"));
        }
        self
    }

    /// The peer sends the same segment so many times, one by one.
    #[track_caller]
    pub fn peer_times(&mut self, count: usize, text: &str) -> &mut Exchange {
        for _ in 0..count {
            self.peer(text);
        }
        self
    }

    /// The congestion window in segments.
    #[track_caller]
    pub fn cwnd(&self) -> u32 {
        self.info().snd_cwnd
    }

    /// The slow start threshold in segments.
    #[track_caller]
    pub fn ssthresh(&self) -> u32 {
        self.info().snd_ssthresh
    }

    /// The counter of this Linux name.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        self.host.counters().get(name).unwrap_or_else(|| self.fail(&format!("no counter {name}")))
    }

    /// The peer's ISN, and that of the stack.
    pub fn initial_numbers(&self) -> (u32, u32) {
        (self.flow().peer_isn, self.flow().stack_isn.unwrap_or(0))
    }
}

/// TSval and TSecr of a segment.
pub fn timestamps(tcp: &Tcp) -> Option<(u32, u32)> {
    tcp.walk().ok()?.into_iter().find_map(|option| match option {
        TcpOption::Timestamps(value, echo) => Some((value, echo)),
        _ => None,
    })
}

/// The window scale that a SYN offers.
pub fn scale(syn: &Tcp) -> Option<u8> {
    assert!(syn.has(SYN));
    syn.walk().ok()?.into_iter().find_map(|option| match option {
        TcpOption::Scale(shift) => Some(shift),
        _ => None,
    })
}
