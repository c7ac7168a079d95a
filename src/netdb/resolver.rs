//! The stub resolver (RFC 1034 §5.3.1, `resolv.conf(5)`) without any input or output of its own.
//!
//! A [`Lookup`] says what to send to which server and how long to wait; whoever runs it tells what came back. All
//! questions about one name (A and AAAA) are in flight together. Invariants: what is sent has a fresh random id for
//! each server; only the server asked last may answer; the number of messages is bounded by names × servers ×
//! attempts × questions. Answers are not cached and CNAMEs are not chased beyond one answer: servers do both.

use super::message::{Answer, Kind, Query, Records};
use super::{HostError, ResolvConf};
use crate::base::{Duration, Instant, Rng};
use core::net::SocketAddr;
use std::collections::VecDeque;

/// One look-up on its way.
#[derive(Debug)]
pub struct Lookup {
    conf: ResolvConf,
    rng: Rng,
    kinds: Vec<Kind>,
    /// Names still to be tried after the current one.
    names: VecDeque<String>,
    /// The name that is asked for now; empty when no name is.
    questions: Vec<Question>,
    /// Position in the walk through the servers, counted over all attempts.
    turn: u32,
    /// Which server the walk begins with (`rotate`).
    first: u32,
    deadline: Option<Instant>,
    failures: Failures,
    result: Option<Result<Records, HostError>>,
}

/// One question about the current name, at the current server.
#[derive(Debug)]
struct Question {
    query: Query,
    state: State,
    /// A server answered that it cannot answer.
    was_refused: bool,
}

#[derive(Debug)]
enum State {
    /// To be sent as a datagram.
    Due,
    /// Sent as a datagram.
    Sent,
    /// To be asked over TCP.
    Stream,
    /// On its way over TCP.
    Streaming,
    /// This server failed it.
    Failed,
    /// Answered by some server.
    Answered(Answer),
}

/// How the names tried so far failed (`res_search` decides by all of them).
#[derive(Debug, Default)]
struct Failures {
    /// Is the first name tried the one that was given, without a search domain?
    given_first: bool,
    as_given: Option<HostError>,
    no_data: bool,
    server_failure: bool,
    last: Option<HostError>,
}

/// How one name failed, the less telling the further down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    NoSuchName,
    NoData,
    FormatError,
    Refused,
    Silence,
}

/// What a look-up wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the message in a datagram, from a socket that is connected to the server and was bound to a fresh random
    /// port when the server changed.
    Send {
        /// Whom to ask.
        server: SocketAddr,
        /// The query.
        message: Vec<u8>,
    },
    /// Send the message over TCP (two octets of length before it), read one answer until the deadline.
    Stream {
        /// Whom to ask.
        server: SocketAddr,
        /// The query, without its length.
        message: Vec<u8>,
        /// When to give up.
        deadline: Instant,
    },
    /// Wait for a datagram until then.
    Wait(Instant),
    /// The look-up is over.
    Done(Result<Records, HostError>),
}

impl Lookup {
    /// A look-up of the addresses of a host, along the search list.
    pub fn host(conf: &ResolvConf, name: &str, kinds: &[Kind], rng: Rng) -> Lookup {
        let names = conf.candidates(name);
        let given_first = names[0] == name.strip_suffix('.').unwrap_or(name);
        let mut lookup = Lookup::new(conf, names, kinds, rng);
        lookup.failures.given_first = given_first;
        lookup
    }

    /// A look-up of the name of an address.
    pub fn address(conf: &ResolvConf, address: core::net::IpAddr, rng: Rng) -> Lookup {
        Lookup::new(conf, vec![super::message::reverse_name(address)], &[Kind::Ptr], rng)
    }

    fn new(conf: &ResolvConf, names: Vec<String>, kinds: &[Kind], mut rng: Rng) -> Lookup {
        let servers = conf.nameservers.len() as u64;
        let first = if conf.rotate { rng.below(servers) as u32 } else { 0 };
        let mut lookup = Lookup {
            conf: conf.clone(),
            rng,
            kinds: kinds.to_vec(),
            names: names.into(),
            questions: Vec::new(),
            turn: 0,
            first,
            deadline: None,
            failures: Failures::default(),
            result: None,
        };
        if lookup.conf.nameservers.is_empty() {
            // Nobody can be asked now; perhaps a server is configured later.
            lookup.result = Some(Err(HostError::TryAgain));
        } else {
            lookup.next_name();
        }
        lookup
    }

    /// What to do at `now`. To be called again after each step and each event.
    pub fn poll(&mut self, now: Instant) -> Step {
        loop {
            if let Some(result) = &self.result {
                return Step::Done(result.clone());
            }
            let server = self.server();
            let deadline = *self.deadline.get_or_insert(now + Duration::from(self.conf.timeout));
            if now >= deadline {
                self.next_server();
                continue;
            }
            if let Some(question) = self.question(|state| matches!(state, State::Due)) {
                question.state = State::Sent;
                return Step::Send { server, message: question.query.message.clone() };
            }
            if let Some(question) = self.question(|state| matches!(state, State::Stream)) {
                question.state = State::Streaming;
                let message = question.query.message.clone();
                let deadline = now + Duration::from(self.conf.timeout);
                self.deadline = Some(deadline);
                return Step::Stream { server, message, deadline };
            }
            if self.question(|state| matches!(state, State::Sent | State::Streaming)).is_some() {
                return Step::Wait(deadline);
            }
            if self.question(|state| matches!(state, State::Failed)).is_some() {
                self.next_server();
            } else {
                self.conclude();
            }
        }
    }

    /// A datagram came. One that is no answer from the server asked is ignored (RFC 5452 §9.1): false.
    pub fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        if self.result.is_some() || from != self.server() {
            return false;
        }
        let sent = self.questions.iter_mut().filter(|question| matches!(question.state, State::Sent));
        for question in sent {
            if let Some(answer) = question.query.read(datagram) {
                question.settle(answer);
                return true;
            }
        }
        false
    }

    /// The answer over TCP came, or the connection failed (`None`).
    pub fn on_stream(&mut self, reply: Option<&[u8]>) {
        if let Some(question) = self.question(|state| matches!(state, State::Streaming)) {
            match reply.and_then(|reply| question.query.read(reply)) {
                Some(Answer::Truncated) | None => question.state = State::Failed,
                Some(answer) => question.settle(answer),
            }
        }
    }

    /// The server cannot be reached: the datagrams to it were refused.
    pub fn on_unreachable(&mut self) {
        for question in &mut self.questions {
            if matches!(question.state, State::Due | State::Sent) {
                question.state = State::Failed;
            }
        }
    }

    fn server(&self) -> SocketAddr {
        let servers = &self.conf.nameservers;
        servers[(self.first + self.turn) as usize % servers.len()]
    }

    fn question(&mut self, is: impl Fn(&State) -> bool) -> Option<&mut Question> {
        self.questions.iter_mut().find(|question| is(&question.state))
    }

    /// Begins with the next name that can be asked for.
    fn next_name(&mut self) {
        self.questions.clear();
        (self.turn, self.deadline) = (0, None);
        while self.questions.is_empty() {
            let Some(name) = self.names.pop_front() else {
                self.result = Some(Err(self.failures.verdict()));
                return;
            };
            let state = || if self.conf.use_tcp { State::Stream } else { State::Due };
            for &kind in &self.kinds {
                if let Some(query) = Query::new(self.rng.next_u32() as u16, &name, kind) {
                    self.questions.push(Question { query, state: state(), was_refused: false });
                }
            }
        }
    }

    /// Puts the questions that are still open to the next server, or gives the name up after the last attempt.
    fn next_server(&mut self) {
        let servers = self.conf.nameservers.len() as u32;
        self.turn += 1;
        self.deadline = None;
        if self.turn >= servers * self.conf.attempts.max(1) {
            return self.conclude();
        }
        for question in &mut self.questions {
            if !matches!(question.state, State::Answered(_)) {
                // With one server the socket stays, and a late answer to the first datagram is as good.
                if servers > 1 {
                    question.query.set_id(self.rng.next_u32() as u16);
                }
                question.state = if self.conf.use_tcp { State::Stream } else { State::Due };
            }
        }
    }

    /// All questions about the current name are answered, or given up.
    fn conclude(&mut self) {
        let mut records: Option<Records> = None;
        let mut failure = None;
        for question in core::mem::take(&mut self.questions) {
            let was_refused = question.was_refused;
            match question.state {
                State::Answered(Answer::Found(found)) => records.get_or_insert_default().merge(found),
                state => failure = failure.max(Some(Failure::of(&state, was_refused))),
            }
        }
        if let Some(records) = records {
            // One family's failure does not hide the other's addresses.
            self.result = Some(Ok(records));
            return;
        }
        let failure = failure.unwrap_or(Failure::Silence);
        self.failures.add(failure);
        match failure {
            Failure::NoSuchName | Failure::NoData | Failure::Refused => self.next_name(),
            // No server answers at all, or none understands: other names would fare no better.
            Failure::Silence => self.result = Some(Err(HostError::TryAgain)),
            Failure::FormatError => self.result = Some(Err(HostError::NoRecovery)),
        }
    }
}

impl Question {
    fn settle(&mut self, answer: Answer) {
        self.state = match answer {
            Answer::Truncated => State::Stream,
            Answer::ServerFailure => {
                self.was_refused = true;
                State::Failed
            }
            answer => State::Answered(answer),
        };
    }
}

impl Failure {
    fn of(state: &State, was_refused: bool) -> Failure {
        match state {
            State::Answered(Answer::NoSuchName) => Failure::NoSuchName,
            State::Answered(Answer::NoData | Answer::Found(_)) => Failure::NoData,
            State::Answered(Answer::FormatError) => Failure::FormatError,
            State::Answered(Answer::ServerFailure | Answer::Truncated)
            | State::Due
            | State::Sent
            | State::Stream
            | State::Streaming
            | State::Failed => {
                if was_refused {
                    Failure::Refused
                } else {
                    Failure::Silence
                }
            }
        }
    }

    fn error(self) -> HostError {
        match self {
            Failure::NoSuchName => HostError::NotFound,
            Failure::NoData => HostError::NoData,
            Failure::FormatError => HostError::NoRecovery,
            Failure::Refused | Failure::Silence => HostError::TryAgain,
        }
    }
}

impl Failures {
    fn add(&mut self, failure: Failure) {
        if self.given_first && self.last.is_none() {
            self.as_given = Some(failure.error());
        }
        self.no_data |= failure == Failure::NoData;
        self.server_failure |= failure == Failure::Refused;
        self.last = Some(failure.error());
    }

    /// The error after all names failed, chosen as `res_search` does.
    fn verdict(&self) -> HostError {
        let searched = match (self.no_data, self.server_failure) {
            (true, _) => Some(HostError::NoData),
            (false, true) => Some(HostError::TryAgain),
            (false, false) => self.last,
        };
        self.as_given.or(searched).unwrap_or(HostError::NotFound)
    }
}

#[cfg(test)]
mod tests;
