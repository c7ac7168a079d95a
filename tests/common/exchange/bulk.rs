//! Many segments at once, where a script would be too long.

use super::super::packet::Tcp;
use super::Exchange;
use tunstack::base::Duration;

impl Exchange {
    /// Takes all that the stack has sent, as the peer would see it.
    pub fn take_all(&mut self) -> Vec<Tcp> {
        let mut taken = Vec::new();
        while let Some((_, packet)) = self.outbox.pop_front() {
            let Some(tcp) = packet.tcp().cloned() else { continue };
            self.learn(&packet, &tcp);
            taken.push(tcp);
        }
        taken
    }

    /// Takes all that the stack has sent, only to know where it stands.
    pub fn ignore_but_learn(&mut self) -> &mut Exchange {
        self.take_all();
        self
    }

    /// The last TSval of the stack, if it sends any.
    pub fn latest_timestamp(&self) -> Option<u32> {
        Some(self.flow().last_ts).filter(|ts| *ts != 0)
    }

    /// SND.UNA of the stack.
    pub fn acked(&self) -> i64 {
        i64::from(self.view().map_or(0, |view| view.snd_una).wrapping_sub(self.flow().stack_isn.unwrap_or(0)))
    }

    /// Takes all that the stack has sent; gives how many octets of data that was.
    pub fn octets_sent(&mut self) -> u64 {
        self.take_all().iter().map(|tcp| tcp.payload.len() as u64).sum()
    }

    /// Time passes; what the stack sends meanwhile is seen by the peer and not by the script.
    #[track_caller]
    pub fn skip_taking(&mut self, time: Duration) -> Vec<Tcp> {
        self.step();
        self.run_to(self.now + time);
        self.take_all()
    }

    /// The sequence number after all that the stack has sent so far.
    pub fn stack_nxt(&self) -> i64 {
        self.flow().stack_nxt
    }

    /// The sequence number after all that the peer has sent so far.
    pub fn peer_nxt(&self) -> i64 {
        self.flow().peer_nxt
    }

    /// The peer sends `len` octets in order, in segments of at most 1000.
    #[track_caller]
    pub fn peer_sends(&mut self, len: i64) -> &mut Exchange {
        self.step();
        let end = self.peer_nxt() + len;
        while self.peer_nxt() < end {
            let (seq, ack) = (self.peer_nxt(), self.stack_nxt());
            let part = (end - seq).min(1000);
            self.peer(&format!("P. {seq}:{}({part}) ack {ack}", seq + part));
            self.take_all();
        }
        self
    }

    /// The peer sends until the stack's window is closed; gives how many octets it took.
    #[track_caller]
    pub fn fill_window(&mut self) -> i64 {
        self.step();
        let start = self.peer_nxt();
        for _ in 0..10_000 {
            let room = self.edge.expect("a window") - self.peer_nxt();
            if room <= 0 {
                self.skip_taking(Duration::from_millis(50));
                if self.edge == Some(self.peer_nxt()) {
                    return self.peer_nxt() - start;
                }
            }
            self.peer_sends(room.max(0));
        }
        self.fail("the window never closes")
    }
}
