use super::*;
use crate::base::Instant;
use crate::observe::script::{Paper, Script};
use crate::trace::Why;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::process::{Command, Stdio};

const EPOCH: Duration = Duration::new(1_700_000_000, 123_456_789);

fn captured(flush: bool, play: impl FnOnce(&mut Capture)) -> Vec<u8> {
    let paper = Paper::default();
    let mut capture = Capture::new(paper.clone(), "tun7", UNIX_EPOCH + EPOCH, flush).expect("a vector");
    play(&mut capture);
    capture.finish().expect("a vector");
    paper.bytes()
}

fn connection(capture: &mut Capture) {
    let mut script = Script::new(capture, 41234);
    script
        .handshake()
        .peer("P.", 1, 1, 77, TcpState::Established)
        .say(EventKind::Timer { timer: Timer::Retransmit, attempt: 2 })
        .us("P.", 1, 78, 5, Why::Retransmit, TcpState::Established)
        .dropped("P.", 1, 1, 77, crate::trace::Drop::Unacceptable);
}

/// Nanosecond time, flags and comment of each packet.
fn packets(bytes: &[u8]) -> Vec<(Duration, u32, String)> {
    let mut reader = PcapNgReader::new(bytes).expect("a section header");
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.expect("well formed") {
            Block::InterfaceDescription(interface) => {
                assert_eq!(interface.linktype, DataLink::RAW);
                assert!(interface.options.contains(&InterfaceDescriptionOption::IfName("tun7".into())));
                assert!(interface.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
            }
            Block::EnhancedPacket(packet) => {
                let mut found = (packet.timestamp, 0, String::new());
                for option in &packet.options {
                    match option {
                        EnhancedPacketOption::Flags(flags) => found.1 = *flags,
                        EnhancedPacketOption::Comment(text) => found.2 = text.to_string(),
                        other => panic!("{other:?}"),
                    }
                }
                packets.push(found);
            }
            other => panic!("{other:?}"),
        }
    }
    packets
}

#[test]
fn packets_carry_time_direction_and_comment() {
    let packets = packets(&captured(false, connection));
    assert_eq!(packets.len(), 6);
    let ways: Vec<u32> = packets.iter().map(|packet| packet.1).collect();
    assert_eq!(ways, [INBOUND, OUTBOUND, INBOUND, INBOUND, OUTBOUND, INBOUND]);
    assert_eq!(packets[0].0, EPOCH + Duration::from_nanos(5_020_000));
    let variables = "cwnd 14480, ssthresh unlimited, in flight 0, send window 64240, receive window 65160, \
                     srtt 90 us, rto 200 ms";
    let comments: Vec<&str> = packets.iter().map(|packet| packet.2.as_str()).collect();
    assert_eq!(comments[0], "taken; -> SYN-RECEIVED; SYN-RECEIVED: a segment (RFC 9293 §3.10.7)");
    assert_eq!(comments[1], "sent: answer to SYN; SYN-RECEIVED");
    assert_eq!(
        comments[2],
        format!("taken; SYN-RECEIVED -> ESTABLISHED; {variables}; ESTABLISHED: a segment (RFC 9293 §3.10.7)")
    );
    assert_eq!(
        comments[4],
        format!(
            "sent: retransmission timeout; ESTABLISHED; {variables}; timer: retransmission timeout, number 2"
        )
    );
    assert_eq!(comments[5], format!("dropped: sequence outside the window; ESTABLISHED; {variables}"));
}

#[test]
fn pipe_gets_every_packet_at_once() {
    let paper = Paper::default();
    let mut capture = Capture::new(paper.clone(), "tun7", UNIX_EPOCH, true).expect("a vector");
    let mut written = paper.bytes().len();
    assert!(written > 0, "a reader can begin before the first packet");
    for _ in 0..3 {
        Script::new(&mut capture, 1).handshake();
        assert!(paper.bytes().len() > written);
        written = paper.bytes().len();
    }
}

/// An output that takes the header and nothing more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.0 < buf.len() {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.0 -= buf.len();
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn full_disk_ends_the_capture_and_is_told_at_the_end() {
    let mut capture = Capture::new(Full(200), "tun7", UNIX_EPOCH, true).expect("room for the header");
    for _ in 0..5 {
        connection(&mut capture);
    }
    assert_eq!(capture.finish().expect_err("no room").raw_os_error(), Some(28));
}

#[test]
fn remarks_for_flows_without_packets_are_bounded() {
    let bytes = captured(false, |capture| {
        for port in 0..20_000 {
            let mut script = Script::new(capture, port);
            script.at = Instant::ZERO;
            script.say(EventKind::Timer { timer: Timer::KeepAlive, attempt: 1 });
        }
        assert!(capture.remarks.len() <= REMARKS_MAX);
    });
    assert!(packets(&bytes).is_empty());
}

/// What tshark reads from standard input; `None` when it is not installed.
fn tshark(bytes: &[u8], arguments: &[&str]) -> Option<String> {
    let mut child = Command::new("tshark")
        .args(["-r", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().expect("piped").write_all(bytes).expect("tshark reads all");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn tshark_reads_it_and_finds_checksums_good() {
    let bytes = captured(true, connection);
    let fields =
        ["frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "tcp.checksum.status"];
    let mut arguments = vec!["-o", "tcp.check_checksum:TRUE", "-T", "fields", "-E", "separator=,"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let Some(text) = tshark(&bytes, &arguments) else {
        assert!(std::env::var_os("CI").is_none(), "tshark is not installed");
        println!("skipped: tshark is not installed");
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].ends_with(",tun7,0x00000001,1") || lines[0].ends_with(",tun7,1,1"), "{text}");
    assert!(lines[0].contains("1700000000.128476789"), "{text}");
    let comments = tshark(&bytes, &["-T", "fields", "-e", "frame.comment"]).expect("installed");
    assert!(comments.contains("sent: retransmission timeout; ESTABLISHED; cwnd 14480"), "{comments}");
}
