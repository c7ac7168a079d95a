//! ICMP errors and path MTU (RFC 9293 §3.9.2.2, RFC 5927, RFC 1191 §6, RFC 8201 §5).

use super::common::Common;
use super::congestion::Controller;
use super::synchronized::{Synchronized, effective_mss};
use crate::base::Errno;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;

impl Synchronized {
    /// An ICMP error quotes `seq`. In these states every error is soft (RFC 5927 §5.2); false when the quote is of nothing in flight
    /// (§4.1).
    pub fn on_icmp(
        &mut self,
        common: &mut Common,
        env: &mut Env,
        error: Errno,
        mtu: Option<u32>,
        seq: SeqNumber,
    ) -> bool {
        if seq.before(self.snd.una) || !seq.before(self.snd.nxt) {
            return false;
        }
        match mtu {
            // conformance-deviation: 5927-7.2-pmtu-delay
            // Believed at once, as Linux does: the quote must name octets in flight and a packet larger than the MTU it tells.
            Some(mtu) if mtu < common.path_mtu => {
                common.path_mtu = mtu;
                self.on_path_mtu(common, env, true);
            }
            Some(_) => {}
            None => common.soft_error = Some(error),
        }
        true
    }

    /// `common.path_mtu` changed. With `resend`, what is in flight was too large: it goes again at once in smaller segments, and the
    /// congestion window keeps its number of segments (RFC 5681 §3.1, RFC 8201 §5.4: no sign of congestion).
    pub fn on_path_mtu(&mut self, common: &mut Common, env: &mut Env, resend: bool) {
        self.bound_mtu_search(common, env);
        let limit = self.packet_limit(common);
        let mss = effective_mss(common, limit, self.snd.peer_mss, self.rcv.timestamps.is_some());
        let smaller = mss < self.snd.mss;
        if mss == self.snd.mss {
            return;
        }
        self.snd.mss = mss;
        self.snd.congestion.set_mss(mss);
        common.output_due = true;
        if resend && smaller {
            self.snd.resend_all();
            self.restart_retransmit_timer(env, true);
        }
    }
}
