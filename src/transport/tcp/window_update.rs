//! The receiver's side of flow control: the window each segment advertises, and when reading is worth a segment of its own
//! (RFC 9293 §3.8.6.2.2).

use super::common::Common;
use super::synchronized::Synchronized;
use crate::transport::Env;

impl Synchronized {
    /// The window field of a segment that leaves now.
    pub fn advertise(&mut self, common: &Common, env: &mut Env) -> u16 {
        let capacity = common.receive_capacity();
        let (nxt, room) = (self.rcv.nxt(), self.rcv.room(capacity));
        let was_closed = self.rcv.window.is_closed(nxt);
        let field = self.rcv.window.advertise(nxt, room);
        if field == 0 && !was_closed {
            env.counters.tcp_ext_to_zero_window_adv += 1;
        } else if field > 0 && was_closed {
            env.counters.tcp_ext_from_zero_window_adv += 1;
        }
        field
    }

    /// The user has read: tell the peer if that opens the window by enough.
    pub fn on_read(&mut self, common: &mut Common, env: &Env) {
        self.right_size(common, env);
        let capacity = common.receive_capacity();
        let (nxt, room) = (self.rcv.nxt(), self.rcv.room(capacity));
        if !self.rcv.eof && self.rcv.window.wants_update(nxt, room) {
            self.rcv.ack.for_window();
            common.output_due = true;
        }
    }
}
