//! What Wireshark thinks of us: nothing on a clean link is worth a remark, seen from both ends.

use crate::harness::{Test, private, skip, test};
use crate::world::{FAMILIES, Program, connect, pattern, read_all, run, same, tunstack};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const TESTS: &[Test] = &[test("wireshark::clean_link", clean_link)];

const MIB: usize = 1 << 20;
/// Checksums are looked at, and only what we build is dissected: some payload resembles protocols by chance.
const OPTIONS: &str = "-n -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE \
                       -d tcp.port==7,data -d tcp.port==9,data -d tcp.port==80,data";

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("tunstack-kernel-{}", std::process::id()));
        std::fs::create_dir(&path).expect("room");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// tcpdump on the kernel's side.
struct Tcpdump(Child);

impl Tcpdump {
    fn start(file: &Path) -> Tcpdump {
        let mut child = Command::new("tcpdump")
            .args(["-ni", "tun0", "-B", "65536", "-Z", "root", "--time-stamp-precision=nano", "-w"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| skip(&format!("tcpdump cannot be run: {error}")));
        let mut line = String::new();
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        while !line.contains("listening on") {
            assert!(lines.read_line(&mut line).expect("a pipe") > 0, "{line}");
        }
        child.stderr = Some(lines.into_inner());
        Tcpdump(child)
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("our child");
        let mut said = String::new();
        self.0.stderr.take().expect("piped").read_to_string(&mut said).expect("a pipe");
        assert!(said.contains("\n0 packets dropped by kernel"), "{said}");
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Numbers and remarks of the packets that the filter finds.
fn find(file: &Path, filter: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(OPTIONS.split_whitespace());
    command.args(["-Y", filter, "-T", "fields", "-e", "frame.number", "-e", "_ws.col.Info"]);
    let output = command.output().unwrap_or_else(|error| skip(&format!("tshark cannot be run: {error}")));
    assert!(output.status.success(), "{filter}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn nothing(file: &Path, filter: &str) {
    let found = find(file, filter);
    let first: Vec<&String> = found.iter().take(20).collect();
    assert!(found.is_empty(), "{}: {} packets are `{filter}`: {first:#?}", file.display(), found.len());
}

fn transfers(to: impl Fn(u16) -> SocketAddr) {
    let data = pattern(4 * MIB);
    // Towards the stack.
    let mut stream = connect(to(9));
    stream.write_all(&data).expect("sent");
    stream.shutdown(Shutdown::Write).expect("open");
    assert_eq!(read_all(stream), b"");
    // From the stack.
    let mut stream = connect(to(80));
    write!(stream, "GET /bytes/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", data.len())
        .expect("sent");
    let page = read_all(stream);
    assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n") && page.len() > data.len());
    // Both at once.
    let mut stream = connect(to(7));
    let got = std::thread::scope(|scope| {
        let mut sender = stream.try_clone().expect("descriptors");
        let data = &data[..MIB];
        scope.spawn(move || {
            sender.write_all(data).expect("sent");
            sender.shutdown(Shutdown::Write).expect("open");
        });
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("an end");
        got
    });
    same(&got, &data[..MIB], "echo");
}

fn clean_link() {
    private();
    // The kernel's tail loss probe repeats a segment after a few milliseconds without an ACK, so also where a busy machine
    // does not let the stack run; and with receive buffers for everything no window is ever full.
    for (name, value) in [("tcp_early_retrans", "0"), ("tcp_rmem", "4096 16777216 16777216")] {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value).unwrap_or_else(|error| skip(&format!("{path}: {error}")));
    }
    let folder = Folder::new();
    let (ours, kernels) = (folder.0.join("ours.pcapng"), folder.0.join("kernels.pcap"));
    let mut command = tunstack("serve discard http echo --tun tun0");
    // Nor does ours repeat what a busy kernel has not acknowledged yet.
    command
        .args(["--set", "tcp_rmem=4096 8388608 16777216", "--set", "tcp_early_retrans=0", "--capture"])
        .arg(&ours);
    let server = Program::run(&mut command, "serving");
    let tcpdump = Tcpdump::start(&kernels);
    for ends in FAMILIES {
        transfers(|port| ends.at(port));
        run("ping", &format!("-c 2 -i 0.05 -s 4000 {}", ends.stack));
    }
    tcpdump.end();
    server.end();
    for file in [&ours, &kernels] {
        // Not vacuous: three connections of each family, and all of the data.
        assert_eq!(find(file, "tcp.flags.syn == 1 && tcp.flags.ack == 0").len(), 6);
        assert!(find(file, "tcp.len > 0").len() > 8 * 4 * MIB / 16384);
        // Where a checksum comes out as zero, the kernel's software path writes 0xffff, as UDP wants it; for TCP that is the
        // same number in ones' complement, but Wireshark remarks on it. One packet in 65,536, and never one of ours.
        let ours = FAMILIES.map(|ends| format!("ip.src == {}", ends.stack));
        let ours = format!("({}) || ({})", ours[0], ours[1].replace("ip.", "ipv6."));
        nothing(file, &format!("tcp.checksum.status == 0 && (tcp.checksum != 0xffff || {ours})"));
        nothing(file, "ip.checksum.status == 0 || _ws.malformed");
        // A window that opens again is said with a segment of its own, as it must be (RFC 9293 §3.8.6.2.2).
        nothing(file, "tcp.analysis.flags && !tcp.analysis.window_update");
        nothing(file, "tcp.flags.reset == 1");
    }
    what_only_we_can_tell(&ours);
}

/// Each packet has a comment, a direction, the interface's name and nanoseconds.
fn what_only_we_can_tell(file: &Path) {
    nothing(file, "!frame.comment");
    nothing(file, "!(frame.interface_name == \"tun0\")");
    nothing(file, "!(frame.packet_flags_direction == 1) && !(frame.packet_flags_direction == 2)");
    // 1 is inbound: whatever comes from the kernel.
    nothing(file, "frame.packet_flags_direction == 1 && ip.src == 10.9.0.2");
    nothing(file, "frame.packet_flags_direction == 2 && ip.src == 10.9.0.1");
    assert!(find(file, "frame.comment contains \"SYN-RECEIVED -> ESTABLISHED\"").len() >= 6);
    let times = run("tshark", &format!("-n -r {} -c 50 -T fields -e frame.time_epoch", file.display()));
    assert!(times.lines().any(|time| !time.ends_with("000")), "nanoseconds: {times}");
}
