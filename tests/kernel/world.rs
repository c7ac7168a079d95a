//! A namespace with the kernel on one side of a TUN device and tunstack on the other.

use crate::harness::{private, skip};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tunstack::link::Offload;
use tunstack::runtime::Stack;

/// Longest time that any single thing may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The two sides of one address family.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub stack: IpAddr,
    pub kernel: IpAddr,
}

const V4: Ends =
    Ends { stack: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)), kernel: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)) };
const V6: Ends = Ends {
    stack: IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2)),
    kernel: IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1)),
};
/// Both families; every test goes through both.
pub const FAMILIES: [Ends; 2] = [V4, V6];

/// Both devices, as the command line names them; whatever moves much data goes through both.
pub const DEVICES: [&str; 2] = ["--offload on", "--offload off"];

impl Ends {
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.stack, port)
    }

    /// The kernel's side, as seen by the stack.
    pub fn kernel_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.kernel, port)
    }

    /// The stack's address as it stands in a URL.
    pub fn host(&self) -> String {
        host(self.stack)
    }
}

pub fn host(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// A `tunstack` process.
pub struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts it in a fresh namespace and waits until it has said `ready`.
    pub fn start(words: &str, ready: &str) -> Program {
        private();
        Program::beside(words, ready)
    }

    /// The same in the namespace that this process is in already.
    pub fn beside(words: &str, ready: &str) -> Program {
        Program::run(&mut tunstack(words), ready)
    }

    /// The same with a command that may have words with spaces.
    pub fn run(command: &mut Command, ready: &str) -> Program {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("built with the tests");
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let said: Arc<Mutex<String>> = Arc::default();
        let kept = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = kept.lock().expect("no panic");
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut program = Program { child, said, reader: Some(reader) };
        program.wait_for(ready);
        program
    }

    /// Waits until it has said this.
    pub fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + LIMIT;
        while !self.said().contains(text) {
            let ended = self.child.try_wait().expect("our child");
            assert!(ended.is_none(), "tunstack ended with {ended:?}: {}", self.said());
            assert!(Instant::now() < until, "tunstack never said {text:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    pub fn input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("piped, and not taken before")
    }

    pub fn output(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("piped, and not taken before")
    }

    /// Waits for its own end: the exit code and all that it said.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + LIMIT;
        let status = loop {
            match self.child.try_wait().expect("our child") {
                Some(status) => break status,
                None => assert!(Instant::now() < until, "tunstack does not end: {}", self.said()),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reads only");
        }
        (status.code(), self.said())
    }

    /// Ends it as Ctrl-C does; that must be an end in good order.
    pub fn end(self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("our child");
        let (code, said) = self.finish();
        assert_eq!(code, Some(0), "{said}");
        said
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of no account when it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs tunstack with its own TUN device in this namespace.
pub fn tunstack(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunstack"));
    command.args(words.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// `tunstack serve` in a fresh namespace.
pub fn serve(words: &str) -> Program {
    Program::start(&format!("serve --tun tun0 {words}"), "serving")
}

/// Runs the test with `tunstack serve` on each device, in a fresh namespace.
pub fn on_both_devices(words: &str, test: impl Fn()) {
    private();
    for device in DEVICES {
        let server = Program::beside(&format!("serve --tun tun0 {words} {device}"), "serving");
        test();
        server.end();
    }
}

/// The stack in this process, in a fresh namespace.
pub fn library() -> Stack {
    private();
    on_device(Offload::Auto)
}

/// The stack in this process and namespace.
pub fn on_device(offload: Offload) -> Stack {
    Stack::builder()
        .offload(offload)
        .address("10.9.0.2/24".parse().expect("valid"))
        .address("fd09::2/64".parse().expect("valid"))
        .tun("tun0")
        .start()
        .expect("a private namespace")
}

/// Runs an outside program with this input, to its end; skips the test where it is not installed.
pub fn run_with(program: &str, words: &str, input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(words.split_whitespace());
    feed(&mut command, input).unwrap_or_else(|error| skip(&format!("{program} cannot be run: {error}")))
}

/// Runs a command to its end with this input.
pub fn feed(command: &mut Command, input: &[u8]) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut to = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Whoever ends early does not want the rest.
            let _ = to.write_all(input);
        });
        child.wait_with_output()
    })
}

/// The standard output of an outside program that must succeed.
pub fn run(program: &str, words: &str) -> String {
    succeeded(run_with(program, words, b""), &format!("{program} {words}"))
}

pub fn succeeded(output: Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {:?}\n{text}{complaint}", output.status);
    text
}

/// A kernel connection that never waits longer than [`LIMIT`].
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream =
        TcpStream::connect_timeout(&to, LIMIT).unwrap_or_else(|error| panic!("connecting to {to}: {error}"));
    patient(stream)
}

/// The next connection to a kernel listener.
pub fn accept(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().expect("a connection").0)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).expect("valid");
    stream.set_write_timeout(Some(LIMIT)).expect("valid");
    stream
}

/// A kernel datagram socket connected to `to`.
pub fn datagrams(to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).expect("a port");
    socket.connect(to).expect("a route");
    socket.set_read_timeout(Some(LIMIT)).expect("valid");
    socket
}

/// A kernel listener that both families reach.
pub fn listener(port: u16) -> TcpListener {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("free")
}

/// Octets in which every shift, loss or repetition shows.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut data = Vec::with_capacity(len + 8);
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(len);
    data
}

/// Equal? Without printing megabytes when not.
pub fn same(got: &[u8], sent: &[u8], what: &str) {
    let differs = got.iter().zip(sent).position(|(got, sent)| got != sent);
    assert!(
        got == sent,
        "{what}: {} octets came, {} were sent, first difference at {differs:?}",
        got.len(),
        sent.len()
    );
}

pub fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut data = Vec::new();
    from.read_to_end(&mut data).expect("an end in good order");
    data
}

/// Waits until `is_so`.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Room for this many descriptors, for this process and those that it starts.
pub fn descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let limits = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|most| most.max(wanted)) };
        if let Err(error) = setrlimit(Resource::Nofile, limits) {
            skip(&format!("{wanted} open files: {error}"));
        }
    }
}
