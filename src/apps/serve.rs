//! `tunstack serve`: the services over TCP and UDP, thousands of connections in one thread.

mod connection;
mod page;
mod udp;

use super::chat::Rooms;
use super::cli;
use super::client::shown;
use super::device::{self, LadderTo};
use super::failure::{Failure, Outcome, plain};
use super::service::{Service, chargen_pattern};
use crate::base::Errno;
use crate::host::Readiness;
use crate::link::Setup;
use crate::runtime::{PollEvent, Stack, Trigger};
use crate::socket::{Poller, TcpListener, TcpStream};
use bytes::Bytes;
use connection::{Connection, Turn};
use slotmap::{Key as _, KeyData, SlotMap};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use udp::Datagrams;

/// Octets moved at once.
pub(super) const BLOCK: usize = 64 << 10;
/// Events whose answers leave together: enough to save, and soon enough that clients are not idle.
const BATCH: usize = 32;
/// Events taken from the poller at once.
const EVENTS: usize = 256;
/// How long the peer has for its FIN after ours, before it is left to the stack.
const LINGER: Duration = Duration::from_secs(2);
/// Connections accepted from one listener before others get their turn.
const ACCEPTS: usize = 64;

/// Runs `tunstack serve` until SIGINT or SIGTERM.
pub fn run(options: &cli::Serve) -> Outcome {
    if let Some(parent) = options.with_parent {
        super::signals::end_with_parent(parent)?;
    }
    let ports = ports(options)?;
    if let Some(root) = &options.root
        && !root.is_dir()
    {
        return Err(Failure::input(format!("{} is no folder: give --root one that exists", root.display())));
    }
    if options.shards > 1 {
        return run_shards(options, &ports);
    }
    let running = device::start(&options.device, LadderTo::Nowhere)?;
    let interface = running.interface.clone();
    let result = serve(options, &ports, std::slice::from_ref(&running.stack), (&running.setup, &interface));
    let finished = running.finish();
    result?;
    finished
}

fn run_shards(options: &cli::Serve, ports: &[(Service, u16)]) -> Outcome {
    if ports.iter().any(|(service, _)| *service == Service::Chat) {
        return Err(Failure::input("chat has all its members in one stack: leave out --shards, or chat"));
    }
    let (stacks, interface, setup) = device::start_shards(&options.device, options.shards)?;
    serve(options, ports, &stacks, (&setup, &interface))
}

/// Serves on each stack from a thread of its own, until a signal or the end of the stacks.
fn serve(
    options: &cli::Serve,
    ports: &[(Service, u16)],
    stacks: &[Stack],
    (setup, interface): (&Setup, &str),
) -> Outcome {
    let mut servers = Vec::new();
    for stack in stacks {
        let mut server = Server::new(stack, ports)?;
        server.root.clone_from(&options.root);
        server.verbose = options.verbose;
        servers.push(server);
    }
    let stoppers: Vec<Stopper> = servers.iter().map(Server::stopper).collect();
    let signals = super::signals::on_end(move || stoppers.iter().for_each(Stopper::stop))?;
    let addresses: Vec<String> = setup.stack.iter().map(|cidr| cidr.address.to_string()).collect();
    let names: Vec<String> =
        ports.iter().map(|(service, port)| format!("{} {port}", service.name())).collect();
    let shards = if stacks.len() > 1 { format!(", {} shards", stacks.len()) } else { String::new() };
    errln!("serving {} on {} ({interface}{shards})", names.join(", "), addresses.join(" and "));
    let mut own = servers.pop();
    // Packets come to any of them: where one ends, all end.
    let all: Vec<Stopper> = servers.iter().chain(&own).map(Server::stopper).collect();
    let run = |server: &mut Server| {
        let _ending = Ending(&all);
        server.run()
    };
    let results = std::thread::scope(|scope| {
        let others: Vec<_> = servers.iter_mut().map(|server| scope.spawn(|| run(server))).collect();
        let own = own.as_mut().map_or(Ok(()), run);
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        others.chain([own]).collect::<Vec<io::Result<()>>>()
    });
    drop(signals);
    results.into_iter().collect::<io::Result<()>>().map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::ENODEV.code() => {
            Failure::run(format!("{interface} was deleted, and the stack ended with it"))
        }
        _ => Failure::run(format!("the stack ended: {}", plain(&error))),
    })
}

/// Each service once, with its port.
fn ports(options: &cli::Serve) -> Outcome<Vec<(Service, u16)>> {
    let mut ports: Vec<(Service, u16)> = Vec::new();
    for service in &options.services {
        if ports.iter().all(|(known, _)| known != service) {
            let given = options.port.iter().rev().find(|(named, _)| named == service);
            ports.push((*service, given.map_or(service.port(), |(_, port)| *port)));
        }
    }
    for (service, port) in &options.port {
        if !options.services.contains(service) {
            return Err(Failure::input(format!(
                "--port {0}={port} is for a service that is not offered: add {0} to the services",
                service.name()
            )));
        }
    }
    Ok(ports)
}

slotmap::new_key_type! {
    /// A connection. As a number, which is how the poller and the chat know it, it is above 2^32.
    struct ConnectionId;
}

/// The services of one stack.
pub struct Server {
    stack: Stack,
    poller: Arc<Poller>,
    stop: Arc<AtomicBool>,
    listeners: Vec<(TcpListener, Service)>,
    datagrams: Vec<Datagrams>,
    connections: SlotMap<ConnectionId, Connection>,
    /// Connections that wait for the peer's FIN, and until when.
    lingering: VecDeque<(Instant, u64)>,
    rooms: Rooms,
    pattern: Bytes,
    scratch: Vec<u8>,
    root: Option<PathBuf>,
    verbose: bool,
}

/// Ends a [`Server`] from elsewhere.
#[derive(Clone)]
pub struct Stopper {
    poller: Arc<Poller>,
    stop: Arc<AtomicBool>,
}

impl Stopper {
    /// The server stops soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // Without a stack there is nothing to stop.
        let _ = self.poller.notify();
    }
}

/// Ends servers when it is dropped, however its own one ended.
struct Ending<'a>(&'a [Stopper]);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Stopper::stop);
    }
}

impl Server {
    /// Opens the services' ports.
    ///
    /// # Errors
    /// When a port is in use.
    pub fn new(stack: &Stack, ports: &[(Service, u16)]) -> Outcome<Server> {
        let failed = |error: io::Error| Failure::run(plain(&error));
        let mut server = Server {
            stack: stack.clone(),
            poller: Arc::new(Poller::new(stack).map_err(failed)?),
            stop: Arc::default(),
            listeners: Vec::new(),
            datagrams: Vec::new(),
            connections: SlotMap::with_key(),
            lingering: VecDeque::new(),
            rooms: Rooms::default(),
            pattern: chargen_pattern().into(),
            scratch: vec![0; BLOCK],
            root: None,
            verbose: false,
        };
        for (service, port) in ports {
            server.open(*service, *port).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Failure::input(format!(
                    "port {port} is in use: choose another for {0}, as --port {0}={1}",
                    service.name(),
                    port.checked_add(8000).unwrap_or(8000)
                )),
                _ => {
                    Failure::run(format!("cannot offer {} on port {port}: {}", service.name(), plain(&error)))
                }
            })?;
        }
        Ok(server)
    }

    /// Ends this server from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { poller: Arc::clone(&self.poller), stop: Arc::clone(&self.stop) }
    }

    fn open(&mut self, service: Service, port: u16) -> io::Result<()> {
        // An IPv6 socket takes IPv4 too.
        let listener = TcpListener::bind_with_backlog(&self.stack, any(port), 4096)?;
        // Answers leave at once. Characters without end fill their segments instead. Set here, all connections share it.
        listener.set_nodelay(service != Service::Chargen)?;
        listener.set_nonblocking(true)?;
        self.listeners.push((listener, service));
        if service.has_udp() {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            self.datagrams.push(Datagrams::open(&self.stack, v4, service)?);
            self.datagrams.push(Datagrams::open(&self.stack, any(port), service)?);
        }
        Ok(())
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// When the stack ends.
    pub fn run(&mut self) -> io::Result<()> {
        for (token, (listener, _)) in self.listeners.iter().enumerate() {
            self.poller.add(listener, token as u64, Readiness::READABLE, Trigger::Level)?;
        }
        for (index, datagrams) in self.datagrams.iter().enumerate() {
            let token = (self.listeners.len() + index) as u64;
            self.poller.add(&datagrams.socket, token, Readiness::READABLE, Trigger::Level)?;
        }
        let mut events = Vec::with_capacity(EVENTS);
        let stack = self.stack.clone();
        while !self.stop.load(Ordering::Acquire) {
            let first =
                self.lingering.front().map(|(until, _)| until.saturating_duration_since(Instant::now()));
            self.poller.wait(&mut events, first)?;
            for events in events.chunks(BATCH) {
                let _batch = stack.batch();
                for event in events {
                    self.on_event(*event)?;
                }
            }
            while let Some((until, token)) = self.lingering.pop_front() {
                if until > Instant::now() {
                    self.lingering.push_front((until, token));
                    break;
                }
                self.end(token)?;
            }
        }
        Ok(())
    }

    /// Listeners and datagram sockets have the tokens from zero on, connections their own numbers.
    fn on_event(&mut self, event: PollEvent) -> io::Result<()> {
        let index = event.token as usize;
        let listeners = self.listeners.len();
        if index < listeners {
            return self.accept(index);
        }
        if let Some(datagrams) = self.datagrams.get(index - listeners) {
            datagrams.serve(&self.pattern, &mut self.scratch);
            return Ok(());
        }
        self.turn(event.token)
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        for _ in 0..ACCEPTS {
            let (listener, service) = &self.listeners[index];
            match listener.accept() {
                Ok((stream, peer)) => {
                    let service = *service;
                    self.begin(stream, peer, service)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A connection that died in the queue; the next one may live (as accept(2) advises).
                Err(error) if self.ended() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, service: Service) -> io::Result<()> {
        self.log(format_args!("{} from {} came", service.name(), shown(peer)));
        let mut connection = match Connection::begin(stream, service) {
            Ok(connection) => connection,
            Err(error) if self.ended() => return Err(error),
            Err(_) => return Ok(()),
        };
        let interest = connection.interest();
        connection.watched = interest;
        let id = self.connections.insert(connection);
        let token = id.data().as_ffi();
        self.poller.add(&self.connections[id].stream, token, interest, Trigger::Level)?;
        if service == Service::Chat {
            let reaction = self.rooms.enter(token);
            self.say(reaction.say)?;
        }
        // What it asks has often come with the end of the handshake.
        self.turn(token)
    }

    /// Lets a connection do what it can now.
    fn turn(&mut self, token: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(id_of(token)) else { return Ok(()) };
        let mut lines = Vec::new();
        let was_finished = connection.finished;
        let root = self.root.as_deref();
        let turn =
            connection.turn(&self.pattern, &mut self.scratch, root, &mut |line| lines.push(line.to_owned()));
        let mut over = turn == Turn::Over;
        if connection.finished && !was_finished {
            self.lingering.push_back((Instant::now() + LINGER, token));
        }
        for line in lines {
            let reaction = self.rooms.line(token, &line);
            over |= reaction.quit;
            self.say(reaction.say)?;
        }
        if over { self.end(token) } else { self.watch(token) }
    }

    /// Queues lines of the chat for its members.
    fn say(&mut self, lines: Vec<(u64, String)>) -> io::Result<()> {
        for (token, line) in lines {
            let Some(connection) = self.connections.get_mut(id_of(token)) else { continue };
            match connection.say(&line) {
                Turn::Goes => self.watch(token)?,
                // A member who does not read must not make the others wait.
                Turn::Over => self.end(token)?,
            }
        }
        Ok(())
    }

    /// Tells the poller what a connection waits for now.
    fn watch(&mut self, token: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(id_of(token)) else { return Ok(()) };
        let interest = connection.interest();
        if interest == connection.watched {
            return Ok(());
        }
        connection.watched = interest;
        self.poller.modify(&connection.stream, token, interest, Trigger::Level)
    }

    fn end(&mut self, token: u64) -> io::Result<()> {
        let Some(connection) = self.connections.remove(id_of(token)) else { return Ok(()) };
        if self.verbose {
            // One that was reset has no other end any more.
            let peer = connection
                .stream
                .peer_addr()
                .map_or_else(|_| "a peer".to_owned(), |peer| shown(peer).to_string());
            self.log(format_args!("{} from {peer} went", connection.service.name()));
        }
        // A closed socket leaves the poller by itself.
        drop(connection);
        let reaction = self.rooms.leave(token);
        self.say(reaction.say)
    }

    /// Is the stack gone? Then every call fails, and serving is over.
    fn ended(&self) -> bool {
        self.stack.with_host(|_, _| Ok(())).is_err()
    }

    fn log(&self, what: std::fmt::Arguments<'_>) {
        if self.verbose {
            errln!("{what}");
        }
    }
}

fn id_of(token: u64) -> ConnectionId {
    KeyData::from_ffi(token).into()
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)
}

#[cfg(test)]
#[path = "serve/tests.rs"]
mod tests;
