//! Packets at the border of a host, with the metadata that travels beside them: what `host` and `link` hand each other.

/// What a device knows about a packet that it read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMeta {
    /// The transport checksum needs no check: the device did it, or the packet never left this machine.
    pub checksum_trusted: bool,
    /// Payload octets of each wire segment when the packet is a super-segment, else 0.
    pub segment_size: u16,
}

/// What a device has to know about a packet that it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxMeta {
    /// Where the transport header begins, and where in it the checksum is to be stored by the device;
    /// `None`: the checksum is complete.
    pub checksum: Option<(u16, u16)>,
    /// Payload octets of each wire segment when the packet is a super-segment, else 0.
    pub segment_size: u16,
}

/// What a host must know about the link below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Largest IP packet on the wire, in octets.
    pub mtu: u32,
    /// Largest packet that may be handed over at once; more than `mtu` when the device cuts super-segments.
    pub max_packet: u32,
    /// The device completes transport checksums.
    pub checksum_offload: bool,
    /// The device cuts trains of datagrams as well as super-segments of TCP.
    pub datagram_trains: bool,
}

impl Link {
    /// A link that takes packets of up to `mtu` octets as they are.
    pub fn plain(mtu: u32) -> Link {
        Link { mtu, max_packet: mtu, checksum_offload: false, datagram_trains: false }
    }
}

/// A packet to send: headers and payload slices, lent until the next call.
#[derive(Clone, Copy, Debug)]
pub struct TxPacket<'a> {
    /// The packet in pieces, in order; some may be empty.
    pub parts: [&'a [u8]; 4],
    /// What the device has to know.
    pub meta: TxMeta,
}

impl<'a> TxPacket<'a> {
    /// Octets of the whole packet.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packet in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts.concat()
    }
}
