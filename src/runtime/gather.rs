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
    /// What the device said at the end, where that ended it: it is empty, or failed.
    pub end: Option<Result<(), DeviceError>>,
}

/// Reads what follows the packet of `len` octets in `buffer`. What does not join it goes to `ahead`, with what is known of it.
pub(super) fn gather(
    device: &mut Device,
    now: Instant,
    buffer: &mut [u8],
    (len, meta): (usize, RxMeta),
    ahead: &mut Option<(Vec<u8>, RxMeta)>,
) -> Gathered {
    let link = device.link();
    let run = if link.checksum_offload { None } else { Run::begin(&buffer[..len]) };
    let Some(mut run) = run else { return Gathered { len, meta, packets: 1, end: None } };
    let mut end = None;
    while let Some(room) = run.room(buffer, link.mtu as usize) {
        match device.recv(now, room) {
            Ok(Some((len, meta))) => {
                if let Some(other) = run.join(buffer, len) {
                    *ahead = Some((other.to_vec(), meta));
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
    let packets = run.segments() + usize::from(ahead.is_some());
    let (len, meta) = run.end(buffer);
    Gathered { len, meta, packets, end }
}
