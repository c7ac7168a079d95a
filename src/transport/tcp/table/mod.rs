//! All connections and listeners of a host: demultiplexing, ports, timers, what is due.
//!
//! Nothing is done per packet that is linear in the number of connections. Invariants: every live four-tuple is in
//! `demux` once; a connection that is neither held by a socket nor by a listener is removed the moment it is CLOSED.

mod accept;
mod connections;
mod demux;
mod segments;

pub use segments::Arrival;

use super::connection::{Connection, Mtus};
use super::fast_open::client::{Ask, CookieCache};
use super::fast_open::server::CookieKeys;
use super::listener::{ListenOptions, Listener, ListenerId};
use super::syn_cookie::SynCookies;
use super::{IsnGenerator, Settings};
use crate::base::io::Readiness;
use crate::base::timers::{Armed, Timers};
use crate::base::{Errno, Instant, KeyedState, Rng};
use crate::trace::{Flow, TcpState, View};
use crate::transport::Env;
use crate::transport::ports::{Ports, ReuseRule};
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options};
use connections::Connections;
use core::net::{IpAddr, SocketAddr};
use demux::Demux;
use slotmap::SlotMap;
use std::collections::{HashMap, VecDeque};

slotmap::new_key_type! {
    /// A connection of one host.
    pub struct ConnId;
}

/// Who holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// In a listener's SYN queue.
    Embryo(ListenerId),
    /// In a listener's accept queue.
    Queued(ListenerId),
    /// A socket, by the owner's name for it.
    Socket(u64),
    /// Nobody any more: it finishes alone.
    Orphan,
}

struct Entry {
    conn: Connection,
    owner: Owner,
    opened: Instant,
    armed: Armed,
    /// In the queue of connections with something to send?
    dirty: bool,
    /// When something was done with it last.
    touched: Instant,
    /// In `demux`, and counted in `ports`?
    linked: bool,
    reuse_addr: bool,
    in_time_wait: bool,
    /// The listener among whose pending ones it counts (Fast Open).
    pending_of: Option<ListenerId>,
}

/// A segment that belongs to no connection, to be sent by the host: resets, mostly, and SYN cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// From where to where.
    pub flow: Flow,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK, when `flags` has ACK.
    pub ack: SeqNumber,
    /// Control bits.
    pub flags: Flags,
    /// The window field.
    pub window: u16,
    /// The options.
    pub options: Options,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
}

/// How a connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastOpen {
    /// In the ordinary way.
    No,
    /// With text on the SYN, if it may: the caller queues it before anything is sent.
    Now,
    /// The same, but the SYN waits for the first text.
    Deferred,
}

/// Replies kept at most until they are sent.
const MAX_REPLIES: usize = 1024;

/// TCP as a whole.
pub struct Tcp {
    connections: Connections,
    demux: Demux,
    listeners: SlotMap<ListenerId, Listener>,
    listening: HashMap<u16, Vec<ListenerId>, KeyedState>,
    /// Ports of bound sockets and connections; sockets are known by the owner's names.
    pub ports: Ports<u64>,
    isn: IsnGenerator,
    cookies: SynCookies,
    fast_open_keys: CookieKeys,
    servers: CookieCache,
    timers: Timers<ConnId>,
    dirty: VecDeque<ConnId>,
    wakes: VecDeque<(u64, Readiness)>,
    replies: VecDeque<Reply>,
    /// Oldest first; entries whose connection is gone are skipped.
    time_wait: VecDeque<ConnId>,
    time_wait_count: usize,
    orphans: usize,
}

impl Tcp {
    /// No connections yet.
    pub fn new(rng: &mut Rng) -> Tcp {
        Tcp {
            connections: Connections::default(),
            demux: Demux::new(rng),
            listeners: SlotMap::with_key(),
            listening: HashMap::with_hasher(KeyedState::new(rng)),
            ports: Ports::new(ReuseRule::UnlessListening, rng),
            isn: IsnGenerator::new(rng),
            cookies: SynCookies::new(rng),
            fast_open_keys: CookieKeys::new(rng),
            servers: CookieCache::new(rng),
            timers: Timers::default(),
            dirty: VecDeque::new(),
            wakes: VecDeque::new(),
            replies: VecDeque::new(),
            time_wait: VecDeque::new(),
            time_wait_count: 0,
            orphans: 0,
        }
    }

    // --- listeners ---------------------------------------------------------------------------------------------

    /// Begins to listen. RFC 9293 §3.10.1: nothing is sent, existing connections are not disturbed.
    pub fn listen(&mut self, options: ListenOptions) -> ListenerId {
        let port = options.local.port();
        let id = self.listeners.insert(Listener::new(options));
        self.listening.entry(port).or_default().push(id);
        id
    }

    /// The listener.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(id)
    }

    /// The listener, to change its options.
    pub fn listener_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.get_mut(id)
    }

    /// Takes the oldest finished connection for the socket that its owner calls `token`.
    pub fn accept(&mut self, id: ListenerId, token: u64) -> Option<ConnId> {
        let conn = self.listeners.get_mut(id)?.accept_queue.pop_front()?;
        self.connections.get_mut(conn)?.owner = Owner::Socket(token);
        Some(conn)
    }

    /// Ends a listener: half-open connections vanish (their last ACK finds a closed port), finished ones are reset.
    pub fn close_listener(&mut self, env: &mut Env<'_>, id: ListenerId) {
        let Some(listener) = self.listeners.remove(id) else { return };
        let port = listener.options.local.port();
        if let Some(ids) = self.listening.get_mut(&port) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.listening.remove(&port);
            }
        }
        for embryo in listener.embryos {
            self.remove(embryo);
        }
        for queued in listener.accept_queue {
            self.abort(env, queued);
        }
    }

    fn find_listener(&self, local: SocketAddr, remote: SocketAddr) -> Option<ListenerId> {
        let ids = self.listening.get(&local.port())?;
        let fit = |id: &ListenerId| self.listeners[*id].specificity(local.ip());
        let best = ids.iter().map(fit).max().filter(|best| *best > 0)?;
        // Several of the same rank share the port (SO_REUSEPORT): the peer's port decides.
        let group: Vec<ListenerId> = ids.iter().copied().filter(|id| fit(id) == best).collect();
        group.get(usize::from(remote.port()) % group.len()).copied()
    }

    // --- connections -------------------------------------------------------------------------------------------

    /// Opens a connection. A port of 0 in `local` takes an ephemeral one. Tells, too, whether its SYN may carry text (RFC 7413).
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when the four-tuple is in use or no port is left, `ENOBUFS` at `tcp_max_connections`.
    pub fn connect(
        &mut self,
        env: &mut Env<'_>,
        mut flow: Flow,
        socket: (u64, bool),
        settings: Settings,
        (mtus, fast_open): (Mtus, FastOpen),
    ) -> Result<(ConnId, bool), Errno> {
        if self.connections.len() >= env.config.tcp_max_connections as usize {
            return Err(Errno::ENOBUFS);
        }
        let Tcp { demux, connections, ports, .. } = self;
        let in_the_way = |flow: &Flow| demux.find(connections, flow);
        let may_go = |id: ConnId| {
            let may_go = connections.look(id, |entry| entry.conn.may_be_replaced(env.now, env.config));
            may_go.unwrap_or(true)
        };
        if flow.local.port() == 0 {
            let Flow { local, remote } = flow;
            let unused = |port| {
                in_the_way(&Flow { local: SocketAddr::new(local.ip(), port), remote }).is_none_or(may_go)
            };
            let port = ports.choose_for(env.config, local.ip(), remote, unused);
            flow.local.set_port(port.ok_or(Errno::EADDRNOTAVAIL)?);
        }
        let mut isn = self.isn.isn(env.now, &flow);
        if let Some(old) = in_the_way(&flow) {
            if !may_go(old) {
                return Err(Errno::EADDRNOTAVAIL);
            }
            let floor = connections.look(old, |entry| entry.conn.reopen_iss_floor().add(1));
            isn.iss = isn.iss.max(floor.unwrap_or(isn.iss));
            self.replace(env, old);
        }
        let (token, reuse_addr) = socket;
        let mut conn = Connection::connect(env, flow, isn, settings, mtus);
        let with_text = fast_open != FastOpen::No && {
            let ask = self.servers.ask(env.now, env.config, (flow.local.ip(), flow.remote.ip()));
            let with_text = matches!(ask, Ask::Text { .. });
            conn.try_fast_open(ask, with_text && fast_open == FastOpen::Deferred);
            with_text
        };
        env.counters.tcp_active_opens += 1;
        let id = self.insert(env.now, conn, Owner::Socket(token), reuse_addr);
        self.settle(env, id);
        Ok((id, with_text))
    }

    /// The connection, to work with it.
    pub fn get(&mut self, id: ConnId) -> Option<&Connection> {
        self.connections.get_mut(id).map(|entry| &entry.conn)
    }

    /// What `f` tells of the connection, which stays as it is.
    pub fn look<T>(&self, id: ConnId, f: impl FnOnce(&Connection) -> T) -> Option<T> {
        self.connections.look(id, |entry| f(&entry.conn))
    }

    /// The settings of the connection.
    pub fn settings(&self, id: ConnId) -> Option<&Settings> {
        self.connections.settings(id)
    }

    /// Calls `f` on the connection and takes note of what it changed. `None` when there is no such connection.
    pub fn with<T>(
        &mut self,
        env: &mut Env<'_>,
        id: ConnId,
        f: impl FnOnce(&mut Connection, &mut Env<'_>) -> T,
    ) -> Option<T> {
        let result = f(&mut self.connections.get_mut(id)?.conn, env);
        self.settle(env, id);
        Some(result)
    }

    /// The socket lets go of the connection, which finishes alone (or is reset if data was left unread).
    pub fn close(&mut self, env: &mut Env<'_>, id: ConnId) {
        self.orphan(id);
        if self.orphans > env.config.tcp_max_orphans as usize {
            env.counters.tcp_ext_abort_on_memory += 1;
            self.with(env, id, Connection::abort);
        } else {
            self.with(env, id, Connection::close);
        }
    }

    /// Resets the connection and lets go of it.
    pub fn abort(&mut self, env: &mut Env<'_>, id: ConnId) {
        self.orphan(id);
        self.with(env, id, Connection::abort);
    }

    fn orphan(&mut self, id: ConnId) {
        if let Some(entry) = self.connections.get_mut(id)
            && entry.owner != Owner::Orphan
        {
            entry.owner = Owner::Orphan;
            self.orphans += 1;
        }
    }

    /// Everything ends with `error`, without a packet.
    pub fn fail_all(&mut self, env: &mut Env<'_>, error: Errno) {
        let ids: Vec<ConnId> = self.connections.ids().collect();
        for id in ids {
            self.with(env, id, |conn, env| conn.fail(env, error));
        }
    }

    /// The link's MTU changed: `path_mtu` tells what it is now towards an address.
    pub fn path_mtu_changed(&mut self, env: &mut Env<'_>, path_mtu: impl Fn(IpAddr) -> u32) {
        let ids: Vec<ConnId> = self.connections.ids().collect();
        for id in ids {
            self.with(env, id, |conn, env| {
                let mtu = path_mtu(conn.flow().remote.ip());
                conn.set_path_mtu(env, mtu);
            });
        }
    }

    /// The key variables of the connection of this four-tuple.
    pub fn view(&self, flow: &Flow) -> Option<View> {
        let id = self.demux.find(&self.connections, flow)?;
        self.look(id, Connection::view)
    }

    /// Checks everything that must hold at any time.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        let check = |id: ConnId, entry: &Entry| {
            let flow = entry.conn.flow();
            entry.conn.check_invariants().map_err(|what| format!("{flow:?}: {what}"))?;
            if entry.linked != (self.demux.find(&self.connections, &flow) == Some(id)) {
                return Err(format!("{flow:?}: demultiplexing disagrees"));
            }
            Ok(())
        };
        self.connections
            .ids()
            .try_for_each(|id| self.connections.look(id, |entry| check(id, entry)).unwrap_or(Ok(())))
    }

    /// What `f` tells of each connection and the name of the socket that holds it.
    pub fn look_at_all<T>(&self, f: impl Fn(&Connection, Option<u64>) -> T) -> impl Iterator<Item = T> {
        self.connections.look_at_all(move |entry| match entry.owner {
            Owner::Socket(token) => f(&entry.conn, Some(token)),
            Owner::Embryo(_) | Owner::Queued(_) | Owner::Orphan => f(&entry.conn, None),
        })
    }

    /// Has any connection that no socket holds data or a FIN that its peer has not acknowledged?
    pub fn orphans_linger(&self) -> bool {
        // None of those is at rest.
        self.connections
            .at_work()
            .any(|entry| !matches!(entry.owner, Owner::Socket(_)) && entry.conn.lingers())
    }

    /// Octets of memory behind all connections.
    pub fn memory_octets(&self) -> usize {
        self.connections.memory_octets()
    }

    /// Packs all connections that can be.
    #[cfg(test)]
    pub fn pack_all(&mut self) {
        self.connections.pack_all();
    }

    fn insert(&mut self, now: Instant, conn: Connection, owner: Owner, reuse_addr: bool) -> ConnId {
        let flow = conn.flow();
        let entry = Entry {
            conn,
            owner,
            opened: now,
            armed: Armed::default(),
            dirty: false,
            touched: now,
            linked: true,
            reuse_addr,
            in_time_wait: false,
            pending_of: None,
        };
        let id = self.connections.insert(entry);
        self.demux.insert(&flow, id);
        self.ports.add_connection(flow.local, reuse_addr);
        id
    }

    /// Frees the four-tuple.
    fn unlink(&mut self, id: ConnId) {
        let Some(entry) = self.connections.get_mut(id) else { return };
        if core::mem::take(&mut entry.linked) {
            let flow = entry.conn.flow();
            self.ports.remove_connection(flow.local, entry.reuse_addr);
            self.demux.remove(&flow, id);
        }
    }

    fn remove(&mut self, id: ConnId) {
        self.unlink(id);
        let Some(entry) = self.connections.remove(id) else { return };
        match entry.owner {
            Owner::Embryo(listener) => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.embryos.remove(&id);
                }
            }
            Owner::Queued(listener) => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.accept_queue.retain(|other| *other != id);
                }
            }
            Owner::Orphan => self.orphans -= 1,
            Owner::Socket(_) => {}
        }
        self.time_wait_count -= usize::from(entry.in_time_wait);
        if let Some(listener) = entry.pending_of.and_then(|listener| self.listeners.get_mut(listener)) {
            listener.pending.count -= 1;
        }
    }

    /// Takes note of what a call changed: readiness, deadlines, output, and whether the connection moved on.
    fn settle(&mut self, env: &mut Env<'_>, id: ConnId) {
        let Some(entry) = self.connections.touch(env.now, id) else { return };
        let state = entry.conn.state();
        let wakes = entry.conn.take_wakes();
        if let Owner::Socket(token) = entry.owner
            && !wakes.is_empty()
        {
            self.wakes.push_back((token, wakes));
        }
        if let Some(lesson) = entry.conn.take_lesson() {
            let Flow { local, remote } = entry.conn.flow();
            self.servers.learn(env.now, (local.ip(), remote.ip()), lesson);
        }
        if let Some(listener) = entry.pending_of.take_if(|_| !entry.conn.is_opening())
            && let Some(listener) = self.listeners.get_mut(listener)
        {
            listener.pending.count -= 1;
        }
        self.timers.arm(&mut entry.armed, entry.conn.deadline(), id);
        if !entry.dirty && entry.conn.has_output() {
            entry.dirty = true;
            self.dirty.push_back(id);
        }
        match entry.owner {
            Owner::Embryo(listener) if !matches!(state, TcpState::SynReceived | TcpState::Closed) => {
                entry.owner = Owner::Queued(listener);
                self.finish_handshake(env, listener, id);
            }
            Owner::Embryo(_) | Owner::Orphan if state == TcpState::Closed && !entry.dirty => self.remove(id),
            Owner::Embryo(_) | Owner::Queued(_) | Owner::Socket(_) | Owner::Orphan => {}
        }
        match state {
            TcpState::Closed => self.unlink(id),
            TcpState::TimeWait => self.enter_time_wait(env, id),
            _ => {}
        }
    }

    fn finish_handshake(&mut self, env: &mut Env<'_>, listener: ListenerId, id: ConnId) {
        let Some(listener) = self.listeners.get_mut(listener) else { return };
        env.counters.tcp_passive_opens += 1;
        listener.embryos.remove(&id);
        listener.accept_queue.push_back(id);
        self.wakes.push_back((listener.options.token, Readiness::READABLE));
    }

    fn enter_time_wait(&mut self, env: &mut Env<'_>, id: ConnId) {
        let Some(entry) = self.connections.get_mut(id) else { return };
        if core::mem::replace(&mut entry.in_time_wait, true) {
            return;
        }
        self.time_wait.push_back(id);
        self.time_wait_count += 1;
        while self.time_wait_count > env.config.tcp_max_tw_buckets as usize {
            let Some(oldest) = self.time_wait.pop_front() else { break };
            if self.connections.look(oldest, |entry| entry.in_time_wait) == Some(true) {
                env.counters.tcp_ext_time_wait_overflow += 1;
                // RFC 9293 §3.10.5: ABORT in TIME-WAIT frees it silently.
                self.with(env, oldest, Connection::abort);
                self.forget_time_wait(oldest);
            }
        }
        while self.time_wait.front().is_some_and(|id| !self.connections.contains(*id)) {
            self.time_wait.pop_front();
        }
    }

    fn forget_time_wait(&mut self, id: ConnId) {
        if let Some(entry) = self.connections.get_mut(id)
            && core::mem::take(&mut entry.in_time_wait)
        {
            self.time_wait_count -= 1;
        }
    }

    // --- time, output, events ----------------------------------------------------------------------------------

    /// Fires every deadline that has passed.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        self.connections.sweep(env.now);
        while let Some((at, id)) = self.timers.pop_due(env.now) {
            let Some(entry) = self.connections.fired(id, at) else { continue };
            if entry.conn.deadline().is_some_and(|deadline| deadline <= env.now) {
                entry.conn.on_timeout(env);
            }
            self.settle(env, id);
        }
    }

    /// When to call [`Tcp::advance`] next at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.connections.next_timeout()].into_iter().flatten().min()
    }

    /// The connection whose turn it is to send, if any has something to send.
    pub fn first_dirty(&mut self) -> Option<ConnId> {
        while let Some(&id) = self.dirty.front() {
            if self.connections.get_mut(id).is_some_and(|entry| entry.conn.has_output()) {
                return Some(id);
            }
            self.sent_all(id);
        }
        None
    }

    /// Is there a connection that may have something to send?
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.replies.is_empty()
    }

    /// The first dirty connection has no more to send for now.
    fn sent_all(&mut self, id: ConnId) {
        self.dirty.pop_front();
        let Some(entry) = self.connections.get_mut(id) else { return };
        entry.dirty = false;
        self.timers.arm(&mut entry.armed, entry.conn.deadline(), id);
        let unheld = matches!(entry.owner, Owner::Orphan | Owner::Embryo(_));
        if entry.conn.state() == TcpState::Closed && unheld {
            self.remove(id);
        }
    }

    /// The connection, to build its next segment. [`Tcp::sent`] must follow.
    pub fn sender(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(id).map(|entry| &mut entry.conn)
    }

    /// A segment of the connection was built: its timers moved, it may have changed state.
    pub fn sent(&mut self, env: &mut Env<'_>, id: ConnId) {
        self.settle(env, id);
    }

    /// The next socket that became ready for something, by its owner's name, and for what.
    pub fn pop_wake(&mut self) -> Option<(u64, Readiness)> {
        self.wakes.pop_front()
    }
}
