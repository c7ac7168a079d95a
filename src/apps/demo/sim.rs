//! The demo on two simulated hosts: the same protocols, a made-up wire, time that only this moves.

use super::cli;
use crate::apps::device::{Readers, captures_to_output, random, wide};
use crate::apps::failure::{Failure, Outcome};
use crate::base::{Cidr, Config, Duration, Errno};
use crate::host::{Domain, Host, Link, MsgFlags, Readiness, SocketId, Type};
use crate::link::impair::Impairment;
use crate::observe::{Ladder, Recorder, Shared, Style, Tee, ladder_of_both};
use crate::sim::{NodeId, Sim};
use std::io;
use std::net::SocketAddr;

const SERVER: &str = "10.9.0.2/24";
const CLIENT: &str = "10.9.0.1/24";
/// The link when none is asked for: a delay, so that the ladder has time in it.
const LINK: &str = "delay=10ms";
/// What the two say to each other.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 10.9.0.2\r\nConnection: close\r\n\r\n";
const ANSWER_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3000\r\n\r\n";
const ANSWER_BODY: usize = 3000;
/// Simulated time after which it is over, whatever happened.
const LIMIT: Duration = Duration::from_secs(600);

/// Shows a request over HTTP between two hosts of ours.
///
/// # Errors
/// When settings are wrong, or the request failed on a link that is too bad.
pub fn run(options: &cli::Device) -> Outcome {
    let seed = options.seed.unwrap_or_else(random);
    let link: Impairment = match &options.link {
        Some(link) => link.clone(),
        None => LINK.parse().map_err(Failure::run)?,
    };
    // The capture is the server's; the ladder is drawn afterwards from what both recorded.
    let (readers, tee) =
        Readers::open(&cli::Device { ladder: false, ..options.clone() }, super::LadderTo::Nowhere, "sim0")?;
    let (ours, theirs) = (Shared::new(Recorder::default()), Shared::new(Recorder::default()));
    let mut sim = Sim::new(seed);
    let server = sim.add_host(host(options, SERVER, seed ^ 1, tee.with(ours.clone()))?);
    let client = sim.add_host(host(options, CLIENT, seed ^ 2, Tee::new().with(theirs.clone()))?);
    sim.connect(server, client, &link);
    let mut talk = Talk::begin(&mut sim, server, client).map_err(broken)?;
    let result = talk.run(&mut sim);
    let style = if captures_to_output(options) { Style::of(&io::stderr()) } else { Style::of(&io::stdout()) };
    let output: Box<dyn io::Write + Send> =
        if captures_to_output(options) { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let mut ladder = Ladder::new(output, style).with_names("server", "client");
    ours.with(|ours| theirs.with(|theirs| ladder_of_both(&mut ladder, ours, theirs)));
    ladder.finish();
    readers.finish()?;
    if options.seed.is_none() && options.link.is_some() {
        errln!("the same again: --seed {seed}");
    }
    let received = result.map_err(broken)?;
    errln!("the client got {received} bytes; all of it was simulated");
    Ok(())
}

fn broken(errno: Errno) -> Failure {
    Failure::run(format!("the simulated request failed: {}", errno.text()))
}

fn host(options: &cli::Device, address: &str, seed: u64, trace: Tee) -> Outcome<Host> {
    let mut config = Config::default();
    for (name, value) in &options.set {
        config.set(name, value).map_err(Failure::input)?;
    }
    let mut host = Host::new(config, wide(seed));
    host.set_link(crate::base::Instant::ZERO, Link::plain(options.mtu.unwrap_or(1500)));
    host.set_trace(trace.into_sink());
    let cidr: Cidr = address.parse().map_err(Failure::run)?;
    host.add_address(cidr).map_err(broken)?;
    Ok(host)
}

/// A client and a server with one connection.
struct Talk {
    server: NodeId,
    client: NodeId,
    listener: SocketId,
    accepted: Option<SocketId>,
    connection: Option<SocketId>,
    asked: bool,
    /// A program takes a moment between what it sees and what it does, so that the stack's own answer goes out first:
    /// whether that moment is over for the client's request, and for the server's end.
    client_saw: bool,
    server_saw_end: bool,
    /// What is still to be answered.
    answer: Vec<u8>,
    request: Vec<u8>,
    received: usize,
}

impl Talk {
    fn begin(sim: &mut Sim, server: NodeId, client: NodeId) -> Result<Talk, Errno> {
        let now = sim.now();
        let address = SocketAddr::from(([10, 9, 0, 2], 80));
        let host = sim.host_mut(server);
        let listener = host.socket(Domain::Inet, Type::Stream)?;
        host.bind(listener, address)?;
        host.listen(now, listener, 5)?;
        let host = sim.host_mut(client);
        let connection = host.socket(Domain::Inet, Type::Stream)?;
        match host.connect(now, connection, Some(address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        Ok(Talk {
            server,
            client,
            listener,
            accepted: None,
            connection: Some(connection),
            asked: false,
            client_saw: false,
            server_saw_end: false,
            answer: Vec::new(),
            request: Vec::new(),
            received: 0,
        })
    }

    /// Runs until both ends are closed; how many octets the client received.
    fn run(&mut self, sim: &mut Sim) -> Result<usize, Errno> {
        let end = sim.now() + LIMIT;
        let mut result = Ok(());
        while result.is_ok() && sim.now() < end {
            result = self.act(sim);
            if !sim.step() {
                break;
            }
        }
        result.map(|()| self.received)
    }

    /// What the two programs do when their sockets are ready. Hosts are touched only then, so that time can pass.
    fn act(&mut self, sim: &mut Sim) -> Result<(), Errno> {
        let ready = |sim: &Sim, node, id: Option<SocketId>, what: Readiness| {
            id.filter(|id| sim.host(node).readiness(*id).intersects(what | Readiness::ERROR))
        };
        let now = sim.now();
        if self.accepted.is_none()
            && ready(sim, self.server, Some(self.listener), Readiness::READABLE).is_some()
        {
            self.accepted = Some(sim.host_mut(self.server).accept(now, self.listener)?.0);
        }
        if let (true, Some(id)) = (self.server_saw_end, self.accepted) {
            self.accepted = None;
            sim.host_mut(self.server).close(now, id)?;
        } else if let Some(id) = ready(sim, self.server, self.accepted, Readiness::READABLE) {
            self.serve(sim, id)?;
        }
        if !self.answer.is_empty()
            && let Some(id) = ready(sim, self.server, self.accepted, Readiness::WRITABLE)
        {
            let sent = sim.host_mut(self.server).send(now, id, &self.answer, MsgFlags::empty())?;
            self.answer.drain(..sent);
        }
        if !self.asked
            && let Some(id) = ready(sim, self.client, self.connection, Readiness::WRITABLE)
        {
            if self.client_saw {
                sim.host_mut(self.client).send(now, id, REQUEST, MsgFlags::empty())?;
                self.asked = true;
            }
            self.client_saw = true;
        }
        if let Some(id) = ready(sim, self.client, self.connection, Readiness::READABLE) {
            self.read_answer(sim, id)?;
        }
        Ok(())
    }

    fn serve(&mut self, sim: &mut Sim, id: SocketId) -> Result<(), Errno> {
        let now = sim.now();
        let host = sim.host_mut(self.server);
        let mut buffer = [0; 2048];
        let len = host.recv(now, id, &mut buffer, MsgFlags::empty())?.len;
        if len == 0 {
            self.server_saw_end = true;
            return Ok(());
        }
        self.request.extend_from_slice(&buffer[..len]);
        if self.request.ends_with(b"\r\n\r\n") {
            self.answer = [ANSWER_HEAD, &[b'x'; ANSWER_BODY]].concat();
        }
        Ok(())
    }

    fn read_answer(&mut self, sim: &mut Sim, id: SocketId) -> Result<(), Errno> {
        let now = sim.now();
        let host = sim.host_mut(self.client);
        let mut buffer = [0; 2048];
        self.received += host.recv(now, id, &mut buffer, MsgFlags::empty())?.len;
        if self.received == ANSWER_HEAD.len() + ANSWER_BODY {
            self.connection = None;
            return host.close(now, id);
        }
        Ok(())
    }
}
