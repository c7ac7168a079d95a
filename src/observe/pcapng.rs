//! The trace as a pcapng capture: raw IP packets, nanoseconds, direction, and one comment per packet that says what no
//! capture on the wire can know.

use crate::trace::{Direction, Event, EventKind, Flow, PacketEvent, Reason, Sink, TcpState, Timer, View};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Direction in `epb_flags`: bits 0 and 1.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Remarks kept for packets to come, at most.
const REMARKS_MAX: usize = 4096;

/// Writes every packet of a host to a capture.
pub struct Capture {
    writer: PcapNgWriter<BufWriter<Box<dyn Write + Send>>>,
    /// The host's time zero, since 1970.
    epoch: Duration,
    flush: bool,
    /// What happened to a flow since its last packet.
    remarks: HashMap<Flow, String>,
    /// The first error of the output; nothing is written after it.
    error: Option<io::Error>,
}

impl Capture {
    /// A capture of the interface called `name`, of a host whose time zero was at `epoch`. With `flush` each packet goes
    /// out at once, as a pipe needs it.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(
        output: impl Write + Send + 'static,
        name: &str,
        epoch: SystemTime,
        flush: bool,
    ) -> io::Result<Capture> {
        let application = concat!("tunstack ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(application.into())],
            ..SectionHeaderBlock::default()
        };
        let output: Box<dyn Write + Send> = Box::new(output);
        let mut writer =
            PcapNgWriter::with_section_header(BufWriter::new(output), section).map_err(io_error)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(name.to_owned().into()),
                // 10^-9 seconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        writer.write_pcapng_block(interface).map_err(io_error)?;
        if flush {
            writer.get_mut().flush()?;
        }
        let epoch = epoch.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Capture { writer, epoch, flush, remarks: HashMap::new(), error: None })
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// The first error of the output, also an earlier one.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.writer.get_mut().flush(),
        }
    }

    fn packet(&mut self, event: &Event<'_>, packet: &PacketEvent<'_>) -> io::Result<()> {
        let data: Cow<'_, [u8]> = match packet.bytes {
            [one] => Cow::Borrowed(one),
            parts => Cow::Owned(parts.concat()),
        };
        let remark = event.flow.and_then(|flow| self.remarks.remove(&flow));
        let flags = match packet.direction {
            Direction::In => INBOUND,
            Direction::Out => OUTBOUND,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: self.epoch + Duration::from_nanos(event.at.as_nanos()),
            original_len: data.len() as u32,
            data,
            options: vec![
                EnhancedPacketOption::Flags(flags),
                EnhancedPacketOption::Comment(comment(packet, remark.as_deref()).into()),
            ],
        };
        self.writer.write_block(&block.into_block()).map_err(io_error)?;
        if self.flush { self.writer.get_mut().flush() } else { Ok(()) }
    }

    fn remark(&mut self, flow: Option<Flow>, text: std::fmt::Arguments<'_>) {
        let Some(flow) = flow else { return };
        if self.remarks.len() >= REMARKS_MAX {
            self.remarks.clear();
        }
        let remarks = self.remarks.entry(flow).or_default();
        if remarks.len() < 1000 {
            let separator = if remarks.is_empty() { "" } else { "; " };
            let _ = write!(remarks, "{separator}{text}");
        }
    }
}

impl Sink for Capture {
    fn event(&mut self, event: &Event<'_>) {
        if self.error.is_some() {
            return;
        }
        match &event.kind {
            EventKind::Packet(packet) => self.error = self.packet(event, packet).err(),
            EventKind::State { from: _, to, why, rfc } => {
                self.remark(event.flow, format_args!("{to}: {why} ({rfc})"));
            }
            EventKind::Timer { timer: Timer::Override | Timer::DelayedAck, attempt: _ } => {}
            EventKind::Timer { timer, attempt } => {
                self.remark(event.flow, format_args!("timer: {timer}, number {attempt}"));
            }
            EventKind::Congestion { why, cwnd: _, ssthresh: _ } => {
                self.remark(event.flow, format_args!("{why}"))
            }
            EventKind::Ended { error } => {
                if let Some(flow) = event.flow {
                    self.remarks.remove(&flow);
                }
                if let Some(error) = error {
                    self.remark(event.flow, format_args!("ended with {error}"));
                }
            }
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Why the packet was sent or what became of it, the change of state, and the key variables.
fn comment(packet: &PacketEvent<'_>, remark: Option<&str>) -> String {
    let mut text = match packet.reason {
        Reason::Taken => "taken".to_owned(),
        Reason::HandedOver => "handed over".to_owned(),
        Reason::Dropped(drop) => format!("dropped: {drop}"),
        Reason::Sent(why) => format!("sent: {why}"),
    };
    if packet.segment_size > 0 {
        let _ = write!(text, "; super-segment of {} octets each", packet.segment_size);
    }
    let (before, after) = (packet.before.map(|view| view.state), packet.after.map(|view| view.state));
    match (before, after) {
        (Some(from), Some(to)) if from != to => drop(write!(text, "; {from} -> {to}")),
        (None, Some(to)) => drop(write!(text, "; -> {to}")),
        (_, Some(state)) => drop(write!(text, "; {state}")),
        (Some(from), None) => drop(write!(text, "; {from} -> CLOSED")),
        (None, None) => {}
    }
    if let Some(view) = packet.after.filter(|view| has_variables(view.state)) {
        text += &variables(&view);
    }
    if let Some(remark) = remark {
        let _ = write!(text, "; {remark}");
    }
    text
}

fn variables(view: &View) -> String {
    let flight = view.snd_nxt.wrapping_sub(view.snd_una);
    let ssthresh = match view.ssthresh {
        limit if limit >= i32::MAX as u32 => "unlimited".to_owned(),
        limit => limit.to_string(),
    };
    let srtt = view.srtt.map(|srtt| format!(", srtt {} us", srtt.as_micros())).unwrap_or_default();
    format!(
        "; cwnd {}, ssthresh {ssthresh}, in flight {flight}, send window {}, receive window {}{srtt}, rto {} ms",
        view.cwnd,
        view.snd_wnd,
        view.rcv_wnd,
        view.rto.as_millis()
    )
}

fn has_variables(state: TcpState) -> bool {
    match state {
        TcpState::Closed
        | TcpState::Listen
        | TcpState::SynSent
        | TcpState::SynReceived
        | TcpState::TimeWait => false,
        TcpState::Established
        | TcpState::FinWait1
        | TcpState::FinWait2
        | TcpState::CloseWait
        | TcpState::Closing
        | TcpState::LastAck => true,
    }
}

fn io_error(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
#[path = "pcapng/tests.rs"]
mod tests;
