//! A running host: attached to a device, driven by real time, reachable from many threads.
//!
//! The only home of threads, clocks and system calls. One mutex guards a [`Host`] with its device; it is never held
//! across a blocking call. **Whoever waits, drives**: a thread that must wait watches the device itself, so no packet
//! waits for a second thread. A housekeeper thread attends while nobody waits. There is no tick: an idle stack uses no
//! processor time, also with threads sitting in `recv`.

mod attention;
mod batch;
mod builder;
mod clock;
mod driver;
mod error;
mod gather;
mod reactor;
mod shard;
mod siblings;
mod slots;
mod wake;
mod watch;

use crate::base::{Cidr, Counters, Errno, Instant};
use crate::host::{Host, Link, SocketSnapshot};
use crate::link::Device;
use crate::trace::Sink;
pub use batch::Batch;
pub use builder::Builder;
pub(crate) use driver::{On, Shared};
pub use reactor::Reactor;
pub(crate) use shard::Shard;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
pub(crate) use wake::Direction;
pub use watch::{PollEvent, Trigger};
pub(crate) use watch::{PollerId, PollerState, Watch};

/// Looks names up for the sockets of a stack.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`, best first. Literals never get here.
    ///
    /// # Errors
    /// Whatever kept the name from being found; `NotFound` when it does not exist or has no address.
    fn resolve(&self, stack: &Stack, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// A handle on a running host. Clones are handles on the same one.
///
/// Dropping the last handle ends everything: no thread, descriptor or interface is left. Sockets do not keep a stack
/// alive; their calls then fail with `ENETDOWN`.
///
/// ```no_run
/// use std::io::{Read, Write};
/// use tunstack::{runtime::Stack, socket::TcpListener};
///
/// # fn main() -> std::io::Result<()> {
/// let stack = Stack::builder().address("10.9.0.2/24".parse().unwrap()).tun("tun0").start()?;
/// let listener = TcpListener::bind(&stack, "10.9.0.2:7")?;
/// for stream in listener.incoming() {
///     let mut stream = stream?;
///     let mut buffer = [0; 4096];
///     while let n @ 1.. = stream.read(&mut buffer)? {
///         stream.write_all(&buffer[..n])?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Stack {
    running: Arc<Running>,
}

/// Ends the stack when dropped.
pub(crate) struct Running {
    shared: Arc<Shared>,
    housekeeper: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
        let housekeeper = self.housekeeper.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(housekeeper) = housekeeper
            && driver::may_join()
        {
            // It may have panicked; there is nobody left to tell.
            let _ = housekeeper.join();
        }
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl Stack {
    /// How to start one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Makes `host` run on `device`.
    pub(crate) fn run(host: Host, device: Option<Device>) -> io::Result<Stack> {
        let clock = clock::Clock::start();
        Stack::run_shard(Shard::new(host, device, clock)?, clock)
    }

    /// Makes each host run on its queue of one device.
    pub(crate) fn run_shards(queues: Vec<(Host, Device)>) -> io::Result<Vec<Stack>> {
        let clock = clock::Clock::start();
        let shards: io::Result<Vec<Shard>> =
            queues.into_iter().map(|(host, device)| Shard::new(host, Some(device), clock)).collect();
        let mut shards = shards?;
        let inboxes: Vec<_> =
            shards.iter().filter_map(|shard| shard.attention.clone()).map(siblings::Inbox::new).collect();
        for (shard, siblings) in shards.iter_mut().zip(siblings::Siblings::ring(&inboxes)) {
            shard.siblings = Some(siblings);
        }
        shards.into_iter().map(|shard| Stack::run_shard(shard, clock)).collect()
    }

    fn run_shard(mut shard: Shard, clock: clock::Clock) -> io::Result<Stack> {
        shard.settle(clock.now());
        let attention = shard.attention.clone();
        let shared = Arc::new(Shared::new(shard, clock));
        let thread = std::thread::Builder::new().name("tunstack".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let Some(attention) = attention else { return };
                let work = AssertUnwindSafe(|| shared.housekeep(&attention));
                // An embedder's callback, waker or sink panicked here: whoever uses the stack is told, as if its interface had gone.
                if catch_unwind(work).is_err() {
                    shared.lock().end(Errno::ENODEV);
                }
            }
        })?;
        let running =
            Arc::new(Running { shared: Arc::clone(&shared), housekeeper: Mutex::new(Some(thread)) });
        let _ = shared.running.set(Arc::downgrade(&running));
        Ok(Stack { running })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }

    /// The stack behind a socket.
    pub(crate) fn of(shared: &Shared) -> io::Result<Stack> {
        let running = shared.running.get().and_then(std::sync::Weak::upgrade);
        running.map(|running| Stack { running }).ok_or_else(|| Errno::ENETDOWN.into())
    }

    /// Runs `f` on the host itself, at this moment. Other threads wait meanwhile; `f` must not call the stack.
    ///
    /// # Errors
    /// `ENETDOWN` and the like when the stack has ended, else what `f` gives.
    pub fn with_host<T>(&self, f: impl FnOnce(&mut Host, Instant) -> Result<T, Errno>) -> io::Result<T> {
        Ok(self.shared().call(|shard, now| f(&mut shard.host, now))?)
    }

    /// Begins a batch: until it is dropped, the packets that this thread's calls bring about wait for each other; they leave
    /// before if a call sleeps, a round falls due, there were many calls, or a millisecond or two have passed. For a loop that answers
    /// many sockets: packets in a row cost less than packets here and there. A thread has one batch at a time; a second one does
    /// nothing.
    pub fn batch(&self) -> Batch<'_> {
        Batch::open(self.shared())
    }

    /// Time since the stack started: what traces and snapshots show.
    pub fn now(&self) -> Instant {
        self.shared().clock.now()
    }

    /// The addresses of the stack.
    pub fn addresses(&self) -> Vec<Cidr> {
        self.shared().lock().host.addresses().to_vec()
    }

    /// Adds an address with its on-link prefix.
    ///
    /// # Errors
    /// `EINVAL` for an address that no host can have.
    pub fn add_address(&self, cidr: Cidr) -> io::Result<()> {
        self.with_host(|host, _| host.add_address(cidr))
    }

    /// Removes an address.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when the stack does not have it.
    pub fn remove_address(&self, cidr: Cidr) -> io::Result<()> {
        self.with_host(|host, _| host.remove_address(cidr))
    }

    /// Adds a route to `destination` through `gateway` (`None`: directly).
    ///
    /// # Errors
    /// `ENETUNREACH` when the gateway cannot be reached.
    pub fn add_route(&self, destination: Cidr, gateway: Option<IpAddr>) -> io::Result<()> {
        self.with_host(|host, _| host.add_route(destination, gateway))
    }

    /// The default gateway of each family.
    pub fn gateways(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        self.shared().lock().host.gateways()
    }

    /// The address that a packet to `destination` would be sent from.
    ///
    /// # Errors
    /// `ENETUNREACH` without a route.
    pub fn source_for(&self, destination: IpAddr) -> io::Result<IpAddr> {
        self.with_host(|host, _| host.source_for(destination))
    }

    /// The name of the interface that the stack is on, if it is on one.
    pub fn link_name(&self) -> Option<String> {
        self.shared().lock().device_name().map(str::to_owned)
    }

    /// What the stack knows about its link.
    pub fn link(&self) -> Link {
        self.shared().lock().host.link()
    }

    /// The counters at this moment.
    pub fn counters(&self) -> Counters {
        self.shared().lock().host.counters().clone()
    }

    /// All sockets and connections at this moment, as `ss -a` lists them.
    pub fn sockets(&self) -> Vec<SocketSnapshot> {
        self.shared().lock().host.sockets()
    }

    /// The setting called `name`, as text; see [`Config::NAMES`](crate::base::Config::NAMES).
    pub fn setting(&self, name: &str) -> Option<String> {
        self.shared().lock().host.config().get(name)
    }

    /// Changes a setting. What exists already keeps what it took from it when it was made.
    ///
    /// # Errors
    /// `InvalidInput`, with a sentence that says what is accepted.
    pub fn set_setting(&self, name: &str, value: &str) -> io::Result<()> {
        let result = self.shared().lock().host.config_mut().set(name, value);
        result.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// Sends the trace to `sink`, or switches it off. The sink is called with the stack locked: it must not call it.
    pub fn set_trace(&self, sink: Option<Box<dyn Sink>>) {
        self.shared().lock().host.set_trace(sink);
    }

    /// Lets `resolver` look up the names given to the sockets of this stack.
    pub fn set_resolver(&self, resolver: Arc<dyn Resolve>) {
        *self.shared().resolver.write().unwrap_or_else(PoisonError::into_inner) = Some(resolver);
    }

    /// The addresses of `name`: by the resolver, or of `localhost` without one.
    ///
    /// # Errors
    /// `NotFound` when the name does not exist or has no address; of `netdb`'s resolver also `TimedOut` when no server gave
    /// an answer, so that another try may help.
    pub fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let resolver = self.shared().resolver.read().unwrap_or_else(PoisonError::into_inner).clone();
        match resolver {
            Some(resolver) => resolver.resolve(self, name),
            None if name.eq_ignore_ascii_case("localhost") => {
                Ok(vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()])
            }
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("cannot look up '{name}': this stack has no resolver (netdb::install gives it one)"),
            )),
        }
    }

    /// Gives the driver's role to an event loop of the embedder's: while the [`Reactor`] lives, packets and timers
    /// are processed in its `turn()` only.
    ///
    /// # Errors
    /// `ResourceBusy` when there is one already, `ENETDOWN` when the stack has ended.
    pub fn reactor(&self) -> io::Result<Reactor> {
        Reactor::new(self)
    }

    /// Waits, at most for `limit`, until the peers of all connections that were closed have everything. A program that
    /// is about to end calls this: dropping the stack cuts what is still on its way. True when nothing was.
    pub fn settle(&self, limit: std::time::Duration) -> bool {
        let deadline = self.now() + limit.into();
        let op = |shard: &mut Shard, _| Ok((!shard.host.orphans_linger()).then_some(()));
        self.shared().wait(On::Linger(None), Some(deadline), op) == Ok(Some(()))
    }

    /// Runs a future to its end; the thread drives the stack while the future waits.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        reactor::block_on(self.shared(), future)
    }
}

impl Shared {
    /// Ends the stack: its device is closed, its housekeeper leaves, every call fails.
    fn stop(&self) {
        let mut shard = self.lock();
        shard.end(Errno::ENETDOWN);
        shard.role = shard::Role::Housekeeper;
        if let Some(attention) = shard.attention.take() {
            attention.kick();
            attention.housekeeper_attends(true);
        }
    }
}
