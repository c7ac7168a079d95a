//! Counters of a host, under the names that `nstat` shows for Linux; ours alone begin with `Tunstack`.

macro_rules! counters {
    ($($name:ident => $field:ident, $doc:literal;)*) => {
        /// Everything a host counts. Each field only ever grows.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $(#[doc = $doc] pub $field: u64),* }

        impl Counters {
            /// Linux name and value of each counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$field)),*].into_iter()
            }

            /// The value of the counter of this Linux name.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

counters! {
    IpInReceives => ip_in_receives, "IPv4 packets that arrived.";
    IpInHdrErrors => ip_in_hdr_errors, "IPv4 packets dropped for a malformed header.";
    IpInAddrErrors => ip_in_addr_errors, "IPv4 packets dropped for an address that is not ours or not legal.";
    IpInUnknownProtos => ip_in_unknown_protos, "IPv4 packets for a protocol we do not have.";
    IpInDiscards => ip_in_discards, "IPv4 packets dropped for lack of room.";
    IpInDelivers => ip_in_delivers, "IPv4 packets given to a transport.";
    IpOutRequests => ip_out_requests, "IPv4 packets sent.";
    IpOutDiscards => ip_out_discards, "IPv4 packets not sent for lack of room.";
    IpOutNoRoutes => ip_out_no_routes, "IPv4 packets without a route.";
    IpReasmTimeout => ip_reasm_timeout, "IPv4 reassemblies given up after their time.";
    IpReasmReqds => ip_reasm_reqds, "IPv4 fragments that arrived.";
    IpReasmOKs => ip_reasm_oks, "IPv4 datagrams reassembled.";
    IpReasmFails => ip_reasm_fails, "IPv4 reassemblies that failed.";
    IpFragOKs => ip_frag_oks, "IPv4 datagrams fragmented.";
    IpFragFails => ip_frag_fails, "IPv4 datagrams too big that must not be fragmented.";
    IpFragCreates => ip_frag_creates, "IPv4 fragments sent.";
    IpExtInCsumErrors => ip_ext_in_csum_errors, "IPv4 headers with a bad checksum.";
    IpExtInTruncatedPkts => ip_ext_in_truncated_pkts, "IPv4 packets shorter than they say.";
    IpExtReasmOverlaps => ip_ext_reasm_overlaps, "IPv4 datagrams dropped for overlapping fragments.";
    IpExtInBcastPkts => ip_ext_in_bcast_pkts, "IPv4 broadcasts that arrived.";
    IpExtInMcastPkts => ip_ext_in_mcast_pkts, "IPv4 multicasts that arrived.";
    Ip6InReceives => ip6_in_receives, "IPv6 packets that arrived.";
    Ip6InHdrErrors => ip6_in_hdr_errors, "IPv6 packets dropped for a malformed header.";
    Ip6InAddrErrors => ip6_in_addr_errors, "IPv6 packets dropped for an address that is not ours or not legal.";
    Ip6InUnknownProtos => ip6_in_unknown_protos, "IPv6 packets with an unknown next header.";
    Ip6InTruncatedPkts => ip6_in_truncated_pkts, "IPv6 packets shorter than they say.";
    Ip6InDiscards => ip6_in_discards, "IPv6 packets dropped for lack of room.";
    Ip6InDelivers => ip6_in_delivers, "IPv6 packets given to a transport.";
    Ip6OutRequests => ip6_out_requests, "IPv6 packets sent.";
    Ip6OutDiscards => ip6_out_discards, "IPv6 packets not sent for lack of room.";
    Ip6OutNoRoutes => ip6_out_no_routes, "IPv6 packets without a route.";
    Ip6ReasmTimeout => ip6_reasm_timeout, "IPv6 reassemblies given up after their time.";
    Ip6ReasmReqds => ip6_reasm_reqds, "IPv6 fragments that arrived.";
    Ip6ReasmOKs => ip6_reasm_oks, "IPv6 datagrams reassembled.";
    Ip6ReasmFails => ip6_reasm_fails, "IPv6 reassemblies that failed.";
    Ip6FragOKs => ip6_frag_oks, "IPv6 datagrams fragmented.";
    Ip6FragFails => ip6_frag_fails, "IPv6 datagrams too big that must not be fragmented.";
    Ip6FragCreates => ip6_frag_creates, "IPv6 fragments sent.";
    Ip6InMcastPkts => ip6_in_mcast_pkts, "IPv6 multicasts that arrived.";
    IpExtInNoECTPkts => ip_ext_in_no_ect_pkts, "IPv4 packets without ECN that arrived.";
    IpExtInECT1Pkts => ip_ext_in_ect1_pkts, "IPv4 packets marked ECT(1) that arrived.";
    IpExtInECT0Pkts => ip_ext_in_ect0_pkts, "IPv4 packets marked ECT(0) that arrived.";
    IpExtInCEPkts => ip_ext_in_ce_pkts, "IPv4 packets that met congestion (CE).";
    Ip6InNoECTPkts => ip6_in_no_ect_pkts, "IPv6 packets without ECN that arrived.";
    Ip6InECT1Pkts => ip6_in_ect1_pkts, "IPv6 packets marked ECT(1) that arrived.";
    Ip6InECT0Pkts => ip6_in_ect0_pkts, "IPv6 packets marked ECT(0) that arrived.";
    Ip6InCEPkts => ip6_in_ce_pkts, "IPv6 packets that met congestion (CE).";
    IcmpInMsgs => icmp_in_msgs, "ICMP messages that arrived.";
    IcmpInErrors => icmp_in_errors, "ICMP messages dropped as malformed.";
    IcmpInCsumErrors => icmp_in_csum_errors, "ICMP messages with a bad checksum.";
    IcmpInDestUnreachs => icmp_in_dest_unreachs, "ICMP destination unreachable that arrived.";
    IcmpInTimeExcds => icmp_in_time_excds, "ICMP time exceeded that arrived.";
    IcmpInParmProbs => icmp_in_parm_probs, "ICMP parameter problem that arrived.";
    IcmpInSrcQuenchs => icmp_in_src_quenchs, "ICMP source quench that arrived and was ignored (RFC 6633).";
    IcmpInRedirects => icmp_in_redirects, "ICMP redirects that arrived and were ignored.";
    IcmpInEchos => icmp_in_echos, "Echo requests that arrived.";
    IcmpInEchoReps => icmp_in_echo_reps, "Echo replies that arrived.";
    IcmpOutMsgs => icmp_out_msgs, "ICMP messages sent.";
    IcmpOutDestUnreachs => icmp_out_dest_unreachs, "ICMP destination unreachable sent.";
    IcmpOutTimeExcds => icmp_out_time_excds, "ICMP time exceeded sent.";
    IcmpOutParmProbs => icmp_out_parm_probs, "ICMP parameter problem sent.";
    IcmpOutEchos => icmp_out_echos, "Echo requests sent.";
    IcmpOutEchoReps => icmp_out_echo_reps, "Echo replies sent.";
    IcmpOutRateLimitGlobal => icmp_out_rate_limit_global, "ICMP errors not sent because of the rate limit.";
    Icmp6InMsgs => icmp6_in_msgs, "ICMPv6 messages that arrived.";
    Icmp6InErrors => icmp6_in_errors, "ICMPv6 messages dropped as malformed.";
    Icmp6InCsumErrors => icmp6_in_csum_errors, "ICMPv6 messages with a bad checksum.";
    Icmp6InDestUnreachs => icmp6_in_dest_unreachs, "ICMPv6 destination unreachable that arrived.";
    Icmp6InPktTooBigs => icmp6_in_pkt_too_bigs, "ICMPv6 packet too big that arrived.";
    Icmp6InTimeExcds => icmp6_in_time_excds, "ICMPv6 time exceeded that arrived.";
    Icmp6InParmProblems => icmp6_in_parm_problems, "ICMPv6 parameter problem that arrived.";
    Icmp6InEchos => icmp6_in_echos, "ICMPv6 echo requests that arrived.";
    Icmp6InEchoReplies => icmp6_in_echo_replies, "ICMPv6 echo replies that arrived.";
    Icmp6InNeighbour => icmp6_in_neighbour, "Neighbour, router and group messages that arrived and were ignored.";
    Icmp6OutMsgs => icmp6_out_msgs, "ICMPv6 messages sent.";
    Icmp6OutDestUnreachs => icmp6_out_dest_unreachs, "ICMPv6 destination unreachable sent.";
    Icmp6OutTimeExcds => icmp6_out_time_excds, "ICMPv6 time exceeded sent.";
    Icmp6OutParmProblems => icmp6_out_parm_problems, "ICMPv6 parameter problem sent.";
    Icmp6OutEchos => icmp6_out_echos, "ICMPv6 echo requests sent.";
    Icmp6OutEchoReplies => icmp6_out_echo_replies, "ICMPv6 echo replies sent.";
    TunstackInMartians => in_martians, "Packets from the link with a source that no other host can have.";
    TunstackInLand => in_land, "Packets from the link whose source is their destination.";
    TunstackInSourceRoutes => in_source_routes, "IPv4 packets dropped for a source route.";
    TunstackIp6ReasmOverlaps => ip6_reasm_overlaps, "IPv6 datagrams dropped for overlapping fragments.";
    TunstackIcmpInUnknown => icmp_in_unknown, "ICMP and ICMPv6 messages of a type that is not used here.";
    TunstackIcmpInStale => icmp_in_stale, "ICMP errors that quoted nothing in flight and were ignored (RFC 5927).";
    UdpInDatagrams => udp_in_datagrams, "UDP datagrams delivered.";
    UdpNoPorts => udp_no_ports, "UDP datagrams for a port nobody has.";
    UdpInErrors => udp_in_errors, "UDP datagrams dropped.";
    UdpInCsumErrors => udp_in_csum_errors, "UDP datagrams with a bad checksum.";
    UdpRcvbufErrors => udp_rcvbuf_errors, "UDP datagrams dropped for a full receive queue.";
    UdpSndbufErrors => udp_sndbuf_errors, "UDP datagrams not sent for a full send queue.";
    UdpOutDatagrams => udp_out_datagrams, "UDP datagrams sent.";
    TcpActiveOpens => tcp_active_opens, "Connections opened by us.";
    TcpPassiveOpens => tcp_passive_opens, "Connections opened by peers.";
    TcpAttemptFails => tcp_attempt_fails, "Connections that failed before they were established.";
    TcpEstabResets => tcp_estab_resets, "Established connections that were reset.";
    TcpCurrEstab => tcp_curr_estab, "Connections established now (the one that also falls).";
    TcpInSegs => tcp_in_segs, "Segments that arrived.";
    TcpOutSegs => tcp_out_segs, "Segments sent, without retransmissions.";
    TcpRetransSegs => tcp_retrans_segs, "Segments sent again.";
    TcpInErrs => tcp_in_errs, "Segments dropped as malformed.";
    TcpInCsumErrors => tcp_in_csum_errors, "Segments with a bad checksum.";
    TcpOutRsts => tcp_out_rsts, "Resets sent.";
    TcpExtListenOverflows => tcp_ext_listen_overflows, "Handshakes that found an accept queue full.";
    TcpExtListenDrops => tcp_ext_listen_drops, "SYNs dropped by a listener.";
    TcpExtTCPFastOpenActive => tcp_ext_fast_open_active, "SYNs of ours whose text was acknowledged (RFC 7413).";
    TcpExtTCPFastOpenActiveFail => tcp_ext_fast_open_active_fail, "SYNs of ours whose text was not acknowledged.";
    TcpExtTCPFastOpenPassive => tcp_ext_fast_open_passive, "SYNs whose text was taken.";
    TcpExtTCPFastOpenPassiveFail => tcp_ext_fast_open_passive_fail, "SYNs with a bad Fast Open cookie.";
    TcpExtTCPFastOpenListenOverflow => tcp_ext_fast_open_listen_overflow, "SYNs whose text found too many connections pending.";
    TcpExtTCPFastOpenCookieReqd => tcp_ext_fast_open_cookie_reqd, "SYNs that asked for a Fast Open cookie.";
    TcpExtTCPFastOpenPassiveAltKey => tcp_ext_fast_open_passive_alt_key, "SYNs with a cookie of the secret before the present one.";
    TcpExtTCPReqQFullDoCookies => tcp_ext_req_q_full_do_cookies, "SYNs answered with a cookie for a full SYN queue.";
    TcpExtTCPReqQFullDrop => tcp_ext_req_q_full_drop, "SYNs dropped for a full SYN queue.";
    TcpExtSyncookiesSent => tcp_ext_syncookies_sent, "SYN cookies sent.";
    TcpExtSyncookiesRecv => tcp_ext_syncookies_recv, "SYN cookies that came back.";
    TcpExtSyncookiesFailed => tcp_ext_syncookies_failed, "Acknowledgments that carried no valid SYN cookie.";
    TcpExtEmbryonicRsts => tcp_ext_embryonic_rsts, "Resets that ended a half-open connection.";
    TcpExtTW => tcp_ext_tw, "TIME-WAIT records that ended in time.";
    TcpExtTWRecycled => tcp_ext_tw_recycled, "TIME-WAIT records that gave their ports to a new connection.";
    TcpExtTCPTimeWaitOverflow => tcp_ext_time_wait_overflow, "TIME-WAIT records dropped for lack of room.";
    TcpExtPAWSEstab => tcp_ext_paws_estab, "Segments dropped for an old timestamp.";
    TcpExtDelayedACKs => tcp_ext_delayed_acks, "Acknowledgments sent by the delay timer.";
    TcpExtTCPPureAcks => tcp_ext_pure_acks, "Acknowledgments without data that arrived.";
    TcpExtTCPTimeouts => tcp_ext_timeouts, "Retransmission timeouts.";
    TcpExtTCPFastRetrans => tcp_ext_fast_retrans, "Segments sent again by fast retransmit.";
    TcpExtTCPRenoRecovery => tcp_ext_reno_recovery, "Fast recoveries without SACK.";
    TcpExtTCPSackRecovery => tcp_ext_sack_recovery, "Fast recoveries with SACK.";
    TcpExtTCPSackFailures => tcp_ext_sack_failures, "Timeouts during fast recovery with SACK.";
    TcpExtTCPLostRetransmit => tcp_ext_lost_retransmit, "Reductions for a lost retransmission.";
    TcpExtTCPSACKReorder => tcp_ext_sack_reorder, "Connections on which reordering was first seen.";
    TcpExtTCPRenoReorder => tcp_ext_reno_reorder, "Times that what duplicates made go again was only late, without SACK.";
    TcpExtTCPDSACKRecv => tcp_ext_dsack_recv, "D-SACKs that arrived.";
    TcpExtTCPDSACKIgnoredDubious => tcp_ext_dsack_ignored_dubious, "D-SACKs ignored because there were more than retransmissions.";
    TcpExtTCPDSACKUndo => tcp_ext_dsack_undo, "Reductions taken back because all came twice.";
    TcpExtTCPFullUndo => tcp_ext_full_undo, "Reductions taken back in fast recovery by timestamps.";
    TcpExtTCPLossUndo => tcp_ext_loss_undo, "Reductions taken back after a timeout by timestamps.";
    TcpExtTCPSpuriousRTOs => tcp_ext_spurious_rtos, "Retransmission timeouts that were for nothing.";
    TcpExtTCPLossProbes => tcp_ext_loss_probes, "Tail loss probes sent.";
    TcpExtTCPLossProbeRecovery => tcp_ext_loss_probe_recovery, "Losses repaired by a tail loss probe.";
    TcpExtTCPRenoFailures => tcp_ext_reno_failures, "Timeouts during fast recovery.";
    TcpExtTCPAbortOnData => tcp_ext_abort_on_data, "Connections reset because data came after close.";
    TcpExtTCPAbortOnClose => tcp_ext_abort_on_close, "Connections reset because they were closed with unread data.";
    TcpExtTCPAbortOnMemory => tcp_ext_abort_on_memory, "Connections reset for lack of room.";
    TcpExtTCPAbortOnTimeout => tcp_ext_abort_on_timeout, "Connections given up after their timeout.";
    TcpExtTCPAbortOnLinger => tcp_ext_abort_on_linger, "Orphans ended after their linger time.";
    TcpExtTCPChallengeACK => tcp_ext_challenge_ack, "Challenge acknowledgments sent (RFC 5961).";
    TcpExtTCPSYNChallenge => tcp_ext_syn_challenge, "SYNs in a synchronized state that were challenged.";
    TcpExtTCPOFOQueue => tcp_ext_ofo_queue, "Segments kept out of order.";
    TcpExtTCPOFODrop => tcp_ext_ofo_drop, "Out-of-order segments dropped for lack of room.";
    TcpExtTCPRcvQDrop => tcp_ext_rcv_q_drop, "Segments dropped beyond the window.";
    TcpExtTCPKeepAlive => tcp_ext_keep_alive, "Keepalive probes sent.";
    TcpExtTCPWinProbe => tcp_ext_win_probe, "Zero-window probes sent.";
    TcpExtTCPFromZeroWindowAdv => tcp_ext_from_zero_window_adv, "Windows that opened again after zero.";
    TcpExtTCPToZeroWindowAdv => tcp_ext_to_zero_window_adv, "Windows that closed to zero.";
    TcpExtTCPDSACKOldSent => tcp_ext_dsack_old_sent, "D-SACKs sent for old data (RFC 2883).";
    TcpExtTCPDSACKOfoSent => tcp_ext_dsack_ofo_sent, "D-SACKs sent for out-of-order data (RFC 2883).";
    TcpExtTCPACKSkippedChallenge => tcp_ext_ack_skipped_challenge, "Challenge acknowledgments not sent because of the limit.";
    TcpExtTCPMTUPFail => tcp_ext_mtup_fail, "Probes of the path MTU that were lost.";
    TcpExtTCPMTUPSuccess => tcp_ext_mtup_success, "Probes of the path MTU that arrived.";
    TunstackDeviceErrors => device_errors, "Packets that the device refused.";
    TunstackStraysIn => strays_in, "Packets that another host with the same addresses had no use for.";
    TunstackStrayDrops => stray_drops, "Packets for other hosts with the same addresses, dropped for a full queue.";
    TunstackLoopbackDrops => loopback_drops, "Packets to ourselves dropped for a full loopback queue.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_reached_by_their_linux_name() {
        let mut counters = Counters::default();
        counters.tcp_retrans_segs += 3;
        assert_eq!(counters.get("TcpRetransSegs"), Some(3));
        assert_eq!(counters.get("NoSuch"), None);
        assert!(counters.iter().any(|(name, value)| name == "TcpRetransSegs" && value == 3));
    }
}
