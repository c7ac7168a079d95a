//! Reading a run of segments as one packet, on devices that join none themselves.

use crate::base::Instant;
use crate::link::{Device, DeviceError};
use crate::wire::packet::RxMeta;
use crate::wire::run::Run;

/// What came of reading on after a packet.
pub(super) struct Gathered {
    /// The packet, and what joined it.
    pub len: usize,
    pub meta: RxMeta,
    pub packets: usize,
    /// Octets of the packet that followed and did not join, and what is known of it.
    pub ahead: Option<(usize, RxMeta)>,
    /// What the device said at the end, where that ended it: it is empty, or failed.
    pub end: Option<Result<(), DeviceError>>,
}

/// Reads what follows the packet of `len` octets in `buffer`. What does not join it goes to `next`.
pub(super) fn gather(
    device: &mut Device,
    now: Instant,
    buffer: &mut [u8],
    (len, meta): (usize, RxMeta),
    next: &mut [u8],
) -> Gathered {
    let link = device.link();
    let run = if link.checksum_offload { None } else { Run::begin(&buffer[..len]) };
    let Some(mut run) = run else { return Gathered { len, meta, packets: 1, ahead: None, end: None } };
    let (mut ahead, mut end) = (None, None);
    while let Some(room) = run.room(buffer, link.mtu as usize) {
        match device.recv(now, room) {
            Ok(Some((len, meta))) => {
                if let Some(other) = run.join(buffer, len) {
                    next[..other.len()].copy_from_slice(other);
                    ahead = Some((other.len(), meta));
                    run.uncover(buffer);
                    break;
                }
            }
            Ok(None) => {
                run.uncover(buffer);
                end = Some(Ok(()));
                break;
            }
            Err(error) => {
                run.uncover(buffer);
                end = Some(Err(error));
                break;
            }
        }
    }
    let packets = run.segments();
    let (len, meta) = run.end(buffer);
    Gathered { len, meta, packets, ahead, end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{BUFFER, Port, channel};
    use etherparse::PacketBuilder;

    fn segment(seq: u32) -> Vec<u8> {
        let mut packet = Vec::new();
        let made = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, seq, 500).ack(1);
        made.write(&mut packet, &[7; 1000]).expect("fits");
        packet
    }

    /// Reads the first packet and what follows it.
    fn read(device: &mut Device, port: &Port, packets: &[Vec<u8>]) -> (Gathered, Vec<u8>, Vec<u8>) {
        packets.iter().for_each(|packet| port.send(packet.clone()).expect("room"));
        let (mut buffer, mut next) = (vec![0; BUFFER], vec![0; BUFFER]);
        let first = device.recv(Instant::ZERO, &mut buffer).expect("works").expect("a packet");
        let read = gather(device, Instant::ZERO, &mut buffer, first, &mut next);
        buffer.truncate(read.len);
        next.truncate(read.ahead.map_or(0, |(len, _)| len));
        (read, next, buffer)
    }

    #[test]
    fn a_run_is_read_whole_and_what_ends_it_is_not_lost() {
        let (mut device, port) = channel(1500).expect("descriptors");
        let (run, other) = ([segment(0), segment(1000), segment(2000)], vec![0x45; 30]);
        let (read, ahead, bytes) =
            read(&mut device, &port, &[run.as_slice(), &[other.clone(), segment(3000)]].concat());
        assert_eq!((read.packets, read.meta.segment_size, ahead), (3, 1000, other));
        assert!(read.end.is_none(), "there is more");
        assert_eq!(bytes[40..], [7; 3000]);
        let mut buffer = vec![0; BUFFER];
        let next = device.recv(Instant::ZERO, &mut buffer).expect("works").expect("the last one");
        assert_eq!(buffer[..next.0], segment(3000));
    }

    #[test]
    fn an_empty_device_ends_a_run_and_leaves_it_whole() {
        let (mut device, port) = channel(1500).expect("descriptors");
        let (read, ahead, bytes) = read(&mut device, &port, &[segment(0)]);
        assert_eq!((read.packets, ahead, bytes), (1, Vec::new(), segment(0)));
        assert!(matches!(read.end, Some(Ok(()))));
    }
}
