//! `struct tcp_info` in octets, as `getsockopt(TCP_INFO)` gives it.

use crate::host::TcpInfo;

/// Linux's numbers of the states. To Linux a socket whose connection is in TIME-WAIT is a closed one.
fn state_number(name: &str) -> u8 {
    const STATES: [&str; 11] = [
        "ESTABLISHED",
        "SYN-SENT",
        "SYN-RECEIVED",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "(TIME-WAIT)",
        "CLOSED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
    ];
    STATES.iter().position(|state| *state == name).and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(7)
}

fn micros(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

/// The structure up to `tcpi_rcv_ooopack`; fields that the stack does not have are zero.
pub(crate) fn encode(info: &TcpInfo) -> Vec<u8> {
    let small = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    // TCPI_OPT_TIMESTAMPS and its followers, bit by bit.
    let flags = [info.timestamps, info.sack, info.window_scaling, info.ecn, info.ecn_seen, info.syn_data];
    let options = flags.iter().rev().fold(0, |octet, flag| octet << 1 | u8::from(*flag));
    let scales = info.snd_wscale & 0xf | (info.rcv_wscale & 0xf) << 4;
    let mut octets = vec![
        state_number(info.state),
        info.ca_state,
        small(info.retransmits),
        small(info.probes),
        small(info.backoff),
        options,
        scales,
        u8::from(info.app_limited) | (info.fast_open_client_fail & 3) << 1,
    ];
    let words = [
        micros(info.rto),
        micros(info.ato),
        info.snd_mss,
        info.rcv_mss,
        info.unacked,
        info.sacked,
        info.lost,
        info.retrans,
        0,
        info.last_data_sent,
        0,
        info.last_data_recv,
        info.last_ack_recv,
        info.pmtu,
        info.rcv_ssthresh,
        micros(info.rtt),
        micros(info.rttvar),
        info.snd_ssthresh,
        info.snd_cwnd,
        info.advmss,
        info.reordering,
        micros(info.rcv_rtt),
        info.rcv_space,
        info.total_retrans,
    ];
    words.iter().for_each(|word| octets.extend(word.to_ne_bytes()));
    // Pacing rates, then what was acknowledged and received.
    let longs = [info.pacing_rate, u64::MAX, info.bytes_acked, info.bytes_received];
    longs.iter().for_each(|long| octets.extend(long.to_ne_bytes()));
    let words = [
        info.segs_out,
        info.segs_in,
        info.notsent_bytes,
        micros(info.min_rtt),
        info.data_segs_in,
        info.data_segs_out,
    ];
    words.iter().for_each(|word| octets.extend(word.to_ne_bytes()));
    // Delivery rate and the three busy times.
    let longs = [info.delivery_rate, info.busy_time, info.rwnd_limited, info.sndbuf_limited];
    longs.iter().for_each(|long: &u64| octets.extend(long.to_ne_bytes()));
    [info.delivered, info.delivered_ce].iter().for_each(|word| octets.extend(word.to_ne_bytes()));
    let longs = [info.bytes_sent, info.bytes_retrans];
    longs.iter().for_each(|long| octets.extend(long.to_ne_bytes()));
    [info.dsack_dups, info.reord_seen, info.rcv_ooopack, info.snd_wnd, info.rcv_wnd]
        .iter()
        .for_each(|word| octets.extend(word.to_ne_bytes()));
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_linux_has_them() {
        let info = TcpInfo {
            state: "CLOSE-WAIT",
            rtt: 1234,
            snd_cwnd: 10,
            ca_state: 3,
            delivered: 5,
            reordering: 6,
            busy_time: 11,
            reord_seen: 1,
            bytes_acked: 77,
            bytes_sent: 88,
            rcv_ooopack: 3,
            rcv_wnd: 9,
            syn_data: true,
            fast_open_client_fail: 2,
            ..TcpInfo::default()
        };
        let octets = encode(&info);
        let word = |at: usize| u32::from_ne_bytes(octets[at..at + 4].try_into().expect("four"));
        // Offsets of <linux/tcp.h> on 64-bit Linux.
        assert_eq!((octets[0], octets[1], octets[5], octets[7]), (8, 3, 32, 4));
        assert_eq!((word(88), word(168), word(192), word(220)), (6, 11, 5, 1));
        assert_eq!((word(68), word(80)), (1234, 10));
        assert_eq!((word(120), word(200), word(224), word(232)), (77, 88, 3, 9));
        assert_eq!(octets.len(), 236);
    }
}
