//! What a device with segmentation offload does, for tests: super-segments that a host sends are cut to what a wire
//! carries (and each piece is judged), segments that arrive together are put together.

use super::packet::{self, CWR, FIN, PSH, Packet, RST, SYN, Tcp, URG, pseudo, sum, transport_checksum_ok};
use tunstack::host::{RxMeta, TxMeta};

/// What a device must be told that is to complete a checksum: where, and the sum of the pseudo header.
fn check_partial(packet: &Packet, (start, offset): (u16, u16)) -> Result<(), String> {
    let payload = packet.payload();
    let right = packet.protocol == packet::TCP && usize::from(start) == packet.header_len && offset == 16;
    let wanted = !sum(&[&pseudo(packet.src, packet.dst, packet.protocol, payload.len())]);
    let found = u16::from_be_bytes([payload[16], payload[17]]);
    match (right, found == wanted) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("sum of the pseudo header {found:#06x}, must be {wanted:#06x}")),
        (false, _) => Err(format!("checksum at {start}+{offset}, protocol {}", packet.protocol)),
    }
}

/// The packets that a wire carries for what the host gave to its device.
pub fn cut(bytes: Vec<u8>, meta: TxMeta) -> Result<Vec<Vec<u8>>, String> {
    let Some(checksum) = meta.checksum else {
        return match meta.segment_size {
            0 => Ok(vec![bytes]),
            _ => Err("a super-segment whose checksum says that it is complete".into()),
        };
    };
    let packet = Packet::parse(&bytes)?;
    check_partial(&packet, checksum)?;
    let whole = packet.tcp().expect("checked");
    if meta.segment_size == 0 {
        return Ok(vec![rebuild(&packet, whole)]);
    }
    let size = usize::from(meta.segment_size);
    let alone = SYN | RST | URG;
    if whole.payload.len() <= size || whole.flags & alone != 0 {
        return Err(format!(
            "{} octets in segments of {size}, flags {:#x}",
            whole.payload.len(),
            whole.flags
        ));
    }
    // Segments cut from it would share or reuse identifications (RFC 6864 §4.2).
    if packet.src.is_ipv4() && !packet.df {
        return Err("a super-segment without DF".into());
    }
    let last = whole.payload.len().div_ceil(size) - 1;
    let pieces = whole.payload.chunks(size).enumerate().map(|(index, text)| {
        let not_here = if index == last { 0 } else { FIN | PSH } | if index == 0 { 0 } else { CWR };
        let (seq, flags) = (whole.seq.wrapping_add((index * size) as u32), whole.flags & !not_here);
        rebuild(&packet, &Tcp { seq, flags, payload: text.to_vec(), ..whole.clone() })
    });
    Ok(pieces.collect())
}

/// The packet with this segment in it, all lengths and checksums made anew.
fn rebuild(packet: &Packet, tcp: &Tcp) -> Vec<u8> {
    let mut bytes = packet.bytes[..packet.header_len].to_vec();
    bytes.extend(packet::tcp_payload(packet.src, packet.dst, tcp));
    let len = bytes.len() as u16;
    match packet.src.is_ipv4() {
        true => {
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[10..12].fill(0);
            let checksum = sum(&[&bytes[..packet.header_len]]);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        false => bytes[4..6].copy_from_slice(&(len - 40).to_be_bytes()),
    }
    bytes
}

/// Puts packets that arrive at one moment together, as a kernel's receive offload does: segments that follow each other
/// with nothing else to tell.
pub fn glue(arrived: Vec<Vec<u8>>) -> Vec<(Vec<u8>, RxMeta)> {
    let mut out: Vec<(Vec<u8>, RxMeta)> = Vec::new();
    let mut open: Option<(Packet, Tcp, usize)> = None;
    let close = |open: &mut Option<(Packet, Tcp, usize)>, out: &mut Vec<(Vec<u8>, RxMeta)>| {
        if let Some((packet, tcp, size)) = open.take() {
            let segment_size = if tcp.payload.len() > size { size as u16 } else { 0 };
            let mut bytes = rebuild(&packet, &tcp);
            // What the checksum field holds is of no account.
            let at = packet.header_len + 16;
            bytes[at..at + 2].fill(0x5a);
            out.push((bytes, RxMeta { checksum_trusted: true, segment_size }));
        }
    };
    for bytes in arrived {
        let Some((packet, tcp)) = candidate(&bytes) else {
            close(&mut open, &mut out);
            out.push((bytes, RxMeta::default()));
            continue;
        };
        if let Some((first, whole, size)) = &mut open
            && follows(first, whole, *size, &packet, &tcp)
        {
            whole.payload.extend(&tcp.payload);
            whole.flags |= tcp.flags;
            // A short one is the last.
            if tcp.payload.len() < *size || tcp.has(PSH) {
                close(&mut open, &mut out);
            }
            continue;
        }
        close(&mut open, &mut out);
        let size = tcp.payload.len();
        open = Some((packet, tcp, size));
    }
    close(&mut open, &mut out);
    out
}

/// A segment with text that a device would vouch for.
fn candidate(bytes: &[u8]) -> Option<(Packet, Tcp)> {
    let packet = Packet::parse(bytes).ok()?;
    let tcp = packet.tcp()?.clone();
    let right = transport_checksum_ok(packet.src, packet.dst, packet.protocol, packet.payload())
        && (packet.src.is_ipv6() || sum(&[&bytes[..packet.header_len]]) == 0);
    (right && !tcp.payload.is_empty() && tcp.flags & (SYN | FIN | RST | URG) == 0).then_some((packet, tcp))
}

fn follows(first: &Packet, whole: &Tcp, size: usize, packet: &Packet, tcp: &Tcp) -> bool {
    let head = |packet: &Packet| (packet.src, packet.dst, packet.tos, packet.ttl, packet.df);
    let said = |tcp: &Tcp| (tcp.src_port, tcp.dst_port, tcp.ack, tcp.window, tcp.options.clone());
    head(first) == head(packet)
        && said(whole) == said(tcp)
        && !whole.has(PSH)
        && whole.seq.wrapping_add(whole.payload.len() as u32) == tcp.seq
        && tcp.payload.len() <= size
        && whole.payload.len() + tcp.payload.len() < 65_000
}
