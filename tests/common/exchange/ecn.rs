//! ECN bits in a dialogue.

use super::super::packet::Tcp;
use super::Exchange;

/// ECN field: the sender takes part.
pub const ECT_0: u8 = 2;
/// ECN field: congestion was met.
pub const CE: u8 = 3;

impl Exchange {
    /// The next packet of the peer arrives with these ECN bits.
    pub fn mark(&mut self, ecn: u8) -> &mut Exchange {
        self.mark = ecn;
        self
    }

    /// As `stack`, and the packet has these ECN bits.
    #[track_caller]
    pub fn stack_ecn(&mut self, ecn: u8, text: &str) -> Tcp {
        let found = self.outbox.front().map(|(_, packet)| packet.tos & 3);
        let tcp = self.stack(text);
        if found != Some(ecn) {
            self.fail(&format!("expected  {text}  with the ECN bits {ecn}, got {found:?}"));
        }
        tcp
    }
}
