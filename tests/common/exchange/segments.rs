//! Segments of a dialogue: built from the script, compared with it, shown.

use super::super::packet::{self, ACK, Body, Packet, RST, SYN, Tcp, TcpOption};
use super::super::text::{self, Isns, SegmentText};
use super::{Exchange, pattern};
use std::net::SocketAddr;

impl Exchange {
    pub(super) fn build(&mut self, spec: &SegmentText) -> Tcp {
        let isns = self.isns(false);
        let clock = (self.peer_clock(), self.flow().last_ts);
        let flow = &self.flows[self.current];
        let options = match &spec.options {
            Some(options) => text::options_to_send(options, isns, clock),
            None if flow.peer_offered_ts && flow.stack_offered_ts && spec.flags & SYN == 0 => {
                packet::write_options(&[
                    TcpOption::Nop,
                    TcpOption::Nop,
                    TcpOption::Timestamps(clock.0, clock.1),
                ])
            }
            None => Vec::new(),
        };
        let seq = spec.seq.on_wire(isns.sender);
        let first = i64::from(seq.wrapping_sub(isns.sender) as i32) + i64::from(spec.flags & SYN != 0);
        let payload = spec
            .data
            .clone()
            .unwrap_or_else(|| (0..i64::from(spec.len)).map(|i| pattern(first + i)).collect());
        if spec.flags & SYN != 0 {
            let offered = text::has_timestamps(spec.options.as_deref().unwrap_or(&[]));
            let scales = text::has_scale(spec.options.as_deref().unwrap_or(&[]));
            self.flow_mut().peer_offered_ts = offered;
            self.flow_mut().peer_scales = scales;
        }
        let flow = self.flow();
        Tcp {
            src_port: flow.remote.port(),
            dst_port: flow.local.port(),
            seq,
            ack: spec.ack.map_or(0, |ack| ack.on_wire(isns.other)),
            flags: spec.flags,
            window: spec.win.unwrap_or(flow.window),
            urgent: spec.urg.unwrap_or(0),
            options,
            payload,
        }
    }

    /// Takes from a segment of the stack what the dialogue must know to go on.
    pub(super) fn learn(&mut self, packet: &Packet, tcp: &Tcp) {
        let flow = self.flow_mut();
        if flow.local.port() == 0 {
            flow.local = SocketAddr::new(packet.src, tcp.src_port);
        }
        let options = tcp.walk().unwrap_or_default();
        let timestamps = options.iter().find_map(|option| match option {
            TcpOption::Timestamps(value, _) => Some(*value),
            _ => None,
        });
        let scale = options.iter().find_map(|option| match option {
            TcpOption::Scale(shift) => Some(*shift),
            _ => None,
        });
        if tcp.has(SYN) {
            flow.stack_isn.get_or_insert(tcp.seq);
            flow.stack_offered_ts = timestamps.is_some();
            flow.stack_scale = scale.filter(|_| flow.peer_scales).unwrap_or(0);
        }
        if let Some(isn) = flow.stack_isn {
            let end = i64::from(tcp.seq.wrapping_sub(isn) as i32) + i64::from(tcp.seq_len());
            flow.stack_nxt = flow.stack_nxt.max(end);
        }
        if tcp.has(ACK) && !tcp.has(RST) {
            let shift = if tcp.has(SYN) { 0 } else { flow.stack_scale };
            self.edge =
                Some(i64::from(tcp.ack.wrapping_sub(flow.peer_isn)) + (i64::from(tcp.window) << shift));
        }
        let flow = self.flow_mut();
        flow.last_ts = timestamps.unwrap_or(flow.last_ts);
    }

    pub(super) fn matches(&self, spec: &SegmentText, packet: &Packet, tcp: &Tcp) -> Result<(), String> {
        let flow = self.flow();
        let isns = self.isns(true);
        let ends = (SocketAddr::new(packet.src, tcp.src_port), SocketAddr::new(packet.dst, tcp.dst_port));
        let unlike = |what: &str| Err(format!("the {what} differs"));
        if ends != (flow.local, flow.remote) {
            return Err(format!("it goes from {} to {}", ends.0, ends.1));
        }
        if tcp.flags != spec.flags {
            return unlike("set of flags");
        }
        if tcp.seq != spec.seq.on_wire(isns.sender) {
            return unlike("sequence number");
        }
        if tcp.payload.len() as u32 != spec.len {
            return unlike("length");
        }
        if tcp.has(ACK) && spec.ack.map(|ack| ack.on_wire(isns.other)) != Some(tcp.ack) {
            return unlike("acknowledgment");
        }
        if spec.win.is_some_and(|win| win != tcp.window) {
            return unlike("window");
        }
        if spec.urg.is_some_and(|urg| urg != tcp.urgent) {
            return unlike("urgent pointer");
        }
        if let Some(options) = &spec.options
            && !text::options_match(options, &tcp.walk()?, isns)
        {
            return unlike("option list");
        }
        match &spec.data {
            Some(data) if *data != tcp.payload => unlike("data"),
            None if tcp.payload.is_empty() => Ok(()),
            None => {
                let first = tcp.seq.wrapping_add(u32::from(tcp.has(SYN)));
                let start = first.wrapping_sub(isns.sender).wrapping_sub(1) as usize;
                match flow.written.get(start..start + tcp.payload.len()) {
                    Some(written) if written == tcp.payload => Ok(()),
                    _ => Err("the data is not what was written there".into()),
                }
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn show(&self, packet: &Packet) -> String {
        let (src, dst) = (packet.src, packet.dst);
        match &packet.body {
            Body::Tcp(tcp) => {
                let ends = (SocketAddr::new(src, tcp.src_port), SocketAddr::new(dst, tcp.dst_port));
                let flow = self.flow();
                let unborn = flow.local.port() == 0;
                let local = if unborn && ends.1 == flow.remote { ends.0 } else { flow.local };
                match ends {
                    ends if ends == (local, flow.remote) => {
                        let mut isns = self.isns(true);
                        if tcp.has(SYN) && flow.stack_isn.is_none() {
                            isns.sender = tcp.seq;
                        }
                        text::show(tcp, isns)
                    }
                    ends if ends == (flow.remote, local) => text::show(tcp, self.isns(false)),
                    _ => {
                        format!("{} > {}: {}", ends.0, ends.1, text::show(tcp, Isns { sender: 0, other: 0 }))
                    }
                }
            }
            Body::Udp { src_port, dst_port, payload } => {
                format!("{src}:{src_port} > {dst}:{dst_port}: UDP, {} octets", payload.len())
            }
            Body::Icmp { kind, code, payload, .. } => {
                format!("{src} > {dst}: ICMP {kind}/{code}, {} octets", payload.len())
            }
            Body::Fragment => format!("{src} > {dst}: fragment {:?} of {}", packet.fragment, packet.id),
            Body::Other => format!("{src} > {dst}: protocol {}", packet.protocol),
        }
    }
}
