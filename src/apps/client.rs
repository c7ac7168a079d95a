//! What the clients share: finding the other side, joining a connection to the terminal, and ending in good order.

use super::cli;
use super::device::{self, LadderTo, Running};
use super::failure::{Failure, Outcome, plain};
use super::http::split_port;
use super::signals::{self, Listening};
use crate::netdb::{self, GaiError, Netdb};
use crate::runtime::Stack;
use crate::socket::TcpStream;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long closing connections may take at the end.
const SETTLE: Duration = Duration::from_secs(5);

/// A stack for a client: it can look names up, and SIGINT ends it with the summary of the ladder.
pub struct Client {
    running: Running,
    _signals: Listening,
}

impl Client {
    /// Starts it. With `writes_output` a capture must not go there too.
    ///
    /// # Errors
    /// What is in the way.
    pub fn start(options: &cli::Device, writes_output: bool) -> Outcome<Client> {
        let running = Client::running_with(options, writes_output)?;
        let readers = running.readers();
        let signals = signals::on_end(move || {
            let _ = readers.finish();
            std::process::exit(130);
        })?;
        Ok(Client { running, _signals: signals })
    }

    /// The same for a command that ends in its own way at SIGINT: `end` is called then.
    ///
    /// # Errors
    /// What is in the way.
    pub fn start_until(
        options: &cli::Device,
        writes_output: bool,
        end: impl Fn() + std::marker::Send + 'static,
    ) -> Outcome<Client> {
        let running = Client::running_with(options, writes_output)?;
        Ok(Client { running, _signals: signals::on_end(end)? })
    }

    fn running_with(options: &cli::Device, writes_output: bool) -> Outcome<Running> {
        if writes_output {
            device::keep_output_free(options)?;
        }
        let running = device::start(options, LadderTo::Nowhere)?;
        netdb::install(&running.stack);
        Ok(running)
    }

    /// The stack.
    pub fn stack(&self) -> &Stack {
        &self.running.stack
    }

    /// Interface and addresses.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Lets connections close, and ends.
    ///
    /// # Errors
    /// When the capture could not be written.
    pub fn finish(self) -> Outcome {
        settle(&self.running.stack, SETTLE, is_closing);
        self.running.finish()
    }
}

/// Waits until no socket is in a state of this kind, at most for `limit`.
pub fn settle(stack: &Stack, limit: Duration, unfinished: fn(&str) -> bool) {
    let until = Instant::now() + limit;
    while Instant::now() < until && stack.sockets().iter().any(|socket| unfinished(socket.state)) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Is a connection in this state on its way to be closed? TIME-WAIT is closed enough.
pub fn is_closing(state: &str) -> bool {
    matches!(state, "FIN-WAIT-1" | "FIN-WAIT-2" | "CLOSING" | "LAST-ACK" | "SYN-RECEIVED" | "CLOSE-WAIT")
}

/// The addresses of a host with a port, best first.
///
/// # Errors
/// When the name is not known.
pub fn addresses(stack: &Stack, host: &str, port: u16) -> Outcome<Vec<SocketAddr>> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match stack.lookup(host) {
        Ok(found) if !found.is_empty() => {
            Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        }
        Ok(_) => Err(Failure::run(format!("'{host}' has no address"))),
        Err(error) if GaiError::of(&error) == Some(GaiError::Again) => Err(Failure::run(format!(
            "cannot find '{host}': no name server gave an answer over this interface: give its address, or have a `nameserver` \
             line in /etc/resolv.conf that the stack can reach"
        ))),
        Err(error) => Err(Failure::run(format!("cannot find '{host}': {}", plain(&error)))),
    }
}

/// A port by number or service name.
///
/// # Errors
/// When it is neither.
pub fn port(stack: &Stack, text: &str, protocol: &str) -> Outcome<u16> {
    if let Ok(port @ 1..) = text.parse() {
        return Ok(port);
    }
    let service = Netdb::new(stack).getservbyname(text, Some(protocol));
    service.map(|service| service.port).ok_or_else(|| {
        Failure::input(format!(
            "'{text}' is no port and no {protocol} service: give 1 to 65535, or see `tunstack services`"
        ))
    })
}

/// Host and port of `HOST:PORT`.
///
/// # Errors
/// When the port is missing and there is no usual one.
pub fn host_and_port(text: &str, usual: Option<u16>) -> Outcome<(&str, u16)> {
    match split_port(text) {
        Some((host, port)) if !host.is_empty() && port.or(usual).is_some() => {
            Ok((host, port.or(usual).unwrap_or_default()))
        }
        _ => Err(Failure::input(format!(
            "'{text}' is no HOST:PORT: write it like 10.9.0.1:9000 or [fd09::1]:9000"
        ))),
    }
}

/// Connects to the first address that answers.
///
/// # Errors
/// What the last one said.
pub fn connect(stack: &Stack, to: &[SocketAddr], timeout: Option<Duration>) -> Outcome<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let mut tried = String::new();
    for address in to {
        let result = match timeout {
            Some(timeout) => TcpStream::connect_timeout(stack, address, timeout),
            None => TcpStream::connect(stack, *address),
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => (last, tried) = (error, address.to_string()),
        }
    }
    let mend = match last.kind() {
        io::ErrorKind::ConnectionRefused => ": is a server listening there?",
        io::ErrorKind::NetworkUnreachable => ": it is on no network of the stack, see --addr and --gateway",
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => {
            ": `tunstack doctor` shows what may be in the way"
        }
        _ => "",
    };
    Err(Failure::run(format!("cannot connect to {tried}: {}{mend}", plain(&last))))
}

/// Standard input, for one connection after another.
pub struct Keyboard {
    shared: Arc<(Mutex<Typing>, Condvar)>,
}

#[derive(Default)]
struct Typing {
    to: Option<TcpStream>,
    ended: bool,
}

impl Keyboard {
    /// Begins to read. What is typed before there is a connection waits.
    pub fn start() -> Keyboard {
        let shared: Arc<(Mutex<Typing>, Condvar)> = Arc::default();
        let typing = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let stream = Keyboard::stream(&typing);
                let n = io::stdin().read(&mut buffer).unwrap_or(0);
                if n == 0 {
                    let mut state = lock(&typing.0);
                    state.ended = true;
                    // The other direction goes on.
                    let _ = state.to.as_ref().unwrap_or(&stream).shutdown(Shutdown::Write);
                    typing.1.notify_all();
                    break;
                }
                let current = lock(&typing.0).to.as_ref().and_then(|stream| stream.try_clone().ok());
                if (&current.unwrap_or(stream)).write_all(&buffer[..n]).is_err() {
                    // Why it is gone, the reader of the other direction tells.
                    lock(&typing.0).to = None;
                    typing.1.notify_all();
                }
            }
        });
        Keyboard { shared }
    }

    fn stream(typing: &(Mutex<Typing>, Condvar)) -> TcpStream {
        let mut state = lock(&typing.0);
        loop {
            if let Some(stream) = state.to.as_ref().and_then(|stream| stream.try_clone().ok()) {
                return stream;
            }
            state = typing.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends what is typed to `stream`, and what comes from it to `output`, until the peer ends it.
    ///
    /// # Errors
    /// Those of the connection and of `output`.
    pub fn join(&self, stream: &TcpStream, output: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.attach(stream)?;
        let result = receive(stream, output);
        self.detach(stream);
        result
    }

    /// The same, but the peer's end is no end of what is to be sent: a file or pipe is sent whole. Only somebody at a
    /// terminal, who may never type again, is not waited for.
    ///
    /// # Errors
    /// Those of the connection and of `output`.
    pub fn join_whole(
        &self,
        stream: &TcpStream,
        output: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.attach(stream)?;
        let result = receive(stream, output);
        if result.is_ok() && !io::stdin().is_terminal() {
            let mut state = lock(&self.shared.0);
            while !state.ended && state.to.is_some() {
                state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        self.detach(stream);
        result
    }

    fn attach(&self, stream: &TcpStream) -> io::Result<()> {
        let mut state = lock(&self.shared.0);
        state.to = stream.try_clone().ok();
        if state.ended {
            stream.shutdown(Shutdown::Write)?;
        }
        self.shared.1.notify_all();
        Ok(())
    }

    fn detach(&self, stream: &TcpStream) {
        lock(&self.shared.0).to = None;
        // The thread that reads standard input may still hold the connection.
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Passes what comes on until the peer's end.
fn receive(stream: &TcpStream, mut output: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut stream, mut buffer) = (stream, vec![0; 64 << 10]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => output(&buffer[..n])?,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address as people write it: IPv4 without its IPv6 dress.
pub fn shown(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Writes to standard output at once.
///
/// # Errors
/// Those of standard output.
pub fn print_now(data: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(data)?;
    output.flush()
}
