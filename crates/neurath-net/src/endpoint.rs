//! The loop of an endpoint: everything that is not established yet, on one thread.
//!
//! It refuses to know what TLS and TCP are. Invariants: every dial is answered exactly once; what is half open is
//! bounded in number and time; a number for the poll is never given twice, so a late event means nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::handshake::{Failure, Handshake, Progress};
use crate::join::{JoinAnswer, JoinId, JoinRefusal, JoinRequest};
use crate::network::{Network, Target, Targets};
use crate::resolve::{Resolver, Wanted};
use crate::stream::Stream;
use crate::{Connection, Dial, DialError, Endpoint, Event, Handle, Limits, RefusedError, Security};

const LISTENER: u64 = 0;
const WAKER: u64 = 1;
const FIRST: u64 = 2;

/// Connections accepted before those that are half open get their turn.
const ACCEPTS_AT_A_TIME: usize = 64;
/// After the system refused to accept (it has no file descriptors left), it is asked again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Driver {
    poll: Poll,
    events: Events,
    network: Network,
    security: Arc<Security>,
    limits: Limits,
    resolver: Resolver,
    handle: Arc<Remote>,
    commands: Receiver<Command>,
    half_open: BTreeMap<u64, HalfOpen>,
    /// Those of `half_open` that were accepted, oldest first.
    accepted: BTreeSet<u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    next_number: u64,
    joins: usize,
    /// When to accept again.
    accept_at: Option<Instant>,
    ready: VecDeque<Event>,
    closed: bool,
}

struct HalfOpen {
    origin: Origin,
    /// None while a name is resolved.
    handshake: Option<Handshake>,
    deadline: Instant,
}

enum Origin {
    Accepted { from: String, joins: bool },
    Dialed(Dialing),
}

struct Dialing {
    dial: Dial,
    rest: VecDeque<Target>,
    ends: Instant,
    /// The most telling of the failures so far.
    error: Option<DialError>,
}

enum Command {
    Dial(Dial),
    Resolved(u64, Result<Vec<SocketAddr>, String>),
    Answer(JoinId, JoinAnswer),
    Close,
}

/// The [`Handle`] of a driver.
struct Remote {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    address: Option<String>,
}

impl Remote {
    /// A driver that is gone answers nobody.
    fn command(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Handle for Remote {
    fn dial(&self, dial: Dial) {
        self.command(Command::Dial(dial));
    }

    fn address(&self) -> Option<String> {
        self.address.clone()
    }

    fn answer_join(&self, id: JoinId, answer: JoinAnswer) {
        self.command(Command::Answer(id, answer));
    }

    fn close(&self) {
        self.command(Command::Close);
    }
}

impl Endpoint for Driver {
    fn next(&mut self, at_most: Option<Duration>) -> Option<Event> {
        let until = at_most.and_then(|at_most| Instant::now().checked_add(at_most));
        let mut polled = false;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.closed {
                self.take_commands();
                return Some(self.ready.pop_front().unwrap_or(Event::Closed));
            }
            let now = Instant::now();
            if polled && until.is_some_and(|until| until <= now) {
                return None;
            }
            let first = self.deadlines.first().map(|(at, _)| *at);
            let wakes = [until, first, self.accept_at].into_iter().flatten().min();
            self.turn(wakes.map(|at| at.saturating_duration_since(now)));
            polled = true;
        }
    }

    fn handle(&self) -> Arc<dyn Handle> {
        self.handle.clone()
    }
}

impl Driver {
    pub(crate) fn new(mut network: Network, security: Security, limits: Limits) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), token(WAKER))?);
        network.register(poll.registry(), token(LISTENER))?;
        if let Network::Memory { listening: Some(listening), .. } = &network {
            listening.wake_with(waker.clone());
        }
        let (sender, commands) = channel();
        let handle = Arc::new(Remote { commands: sender, waker, address: network.address() });
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            network,
            security: Arc::new(security),
            limits,
            resolver: Resolver::default(),
            handle,
            commands,
            half_open: BTreeMap::new(),
            accepted: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            next_number: FIRST,
            joins: 0,
            accept_at: Some(Instant::now()),
            ready: VecDeque::new(),
            closed: false,
        })
    }

    fn turn(&mut self, at_most: Option<Duration>) {
        match self.poll.poll(&mut self.events, at_most) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => return,
            // Without its poll an endpoint is of no use; whoever drives it is told.
            Err(_) => return self.close(),
        }
        let numbers: Vec<u64> = self.events.iter().map(|event| event.token().0 as u64).collect();
        let now = Instant::now();
        for number in numbers {
            match number {
                // A hub announces its connections with the waker.
                LISTENER | WAKER => self.accept_at = Some(now),
                number => self.advance(number),
            }
        }
        self.take_commands();
        if !self.closed && self.accept_at.is_some_and(|at| at <= now) {
            self.accept(now);
        }
        self.expire(Instant::now());
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Dial(dial) => self.dial(dial),
                Command::Resolved(number, found) => self.resolved(number, found),
                Command::Answer(id, answer) => self.answer(id.0, &answer),
                Command::Close => self.close(),
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.network.close();
        self.deadlines.clear();
        self.accepted.clear();
        for (_, half) in std::mem::take(&mut self.half_open) {
            if let Origin::Dialed(Dialing { dial, .. }) = half.origin {
                self.fail(dial.token, DialError::Closed { address: dial.address });
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_AT_A_TIME {
            match self.network.accept() {
                Ok((socket, from)) => {
                    if self.accepted.len() >= self.limits.half_open_max {
                        self.close_oldest();
                    }
                    let handshake = Handshake::accept(self.security.clone(), socket);
                    let deadline = after(now, self.limits.handshake_ms);
                    let number = self.number();
                    self.accepted.insert(number);
                    self.begin(number, Origin::Accepted { from, joins: false }, handshake, deadline);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.accept_at = None;
                    return;
                }
                // A connection that ended before it was accepted.
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(_) => {
                    self.close_oldest();
                    self.accept_at = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    fn close_oldest(&mut self) {
        if let Some(oldest) = self.accepted.first().copied() {
            self.end(oldest, Failure::Refused(RefusedError::Crowded { limit: self.limits.half_open_max }));
        }
    }

    fn dial(&mut self, dial: Dial) {
        let Dial { token, peer, address } = dial.clone();
        if self.closed {
            return self.fail(token, DialError::Closed { address });
        }
        if peer == self.security.node_id() {
            return self.fail(token, DialError::Itself { address });
        }
        if self.half_open.len() - self.accepted.len() >= self.limits.dials_max {
            return self.fail(token, DialError::TooMany { address, limit: self.limits.dials_max });
        }
        let ends = after(Instant::now(), self.limits.dial_ms);
        let mut dialing = Dialing { dial, rest: VecDeque::new(), ends, error: None };
        match self.network.targets(&address) {
            Ok(Targets::Known(targets)) => {
                dialing.rest = targets;
                self.try_next(dialing);
            }
            Ok(Targets::Name(address)) => {
                let number = self.number();
                let handle = self.handle.clone();
                self.insert(number, HalfOpen { origin: Origin::Dialed(dialing), handshake: None, deadline: ends });
                let answer = Box::new(move |found| handle.command(Command::Resolved(number, found)));
                self.resolver.ask(Wanted { address, until: ends, answer });
            }
            Err(error) => self.fail(token, error),
        }
    }

    fn resolved(&mut self, number: u64, found: Result<Vec<SocketAddr>, String>) {
        let Some(HalfOpen { origin: Origin::Dialed(mut dialing), .. }) = self.remove(number) else { return };
        let address = dialing.dial.address.clone();
        let allowed = match found {
            Ok(found) => self.network.allowed(&address, found),
            Err(why) => Err(DialError::Unresolved { address, why }),
        };
        match allowed {
            Ok(targets) => {
                dialing.rest = targets;
                self.try_next(dialing);
            }
            Err(error) => self.fail(dialing.dial.token, error),
        }
    }

    /// Tries the next address. Those that are left share the time that is left.
    fn try_next(&mut self, mut dialing: Dialing) {
        while let Some(target) = dialing.rest.pop_front() {
            match self.network.connect(&target) {
                Ok(socket) => {
                    let now = Instant::now();
                    let left = dialing.ends.saturating_duration_since(now);
                    let deadline = now + left / (dialing.rest.len() as u32 + 1);
                    let handshake = Handshake::dial(self.security.clone(), socket, dialing.dial.peer);
                    let number = self.number();
                    return self.begin(number, Origin::Dialed(dialing), handshake, deadline);
                }
                Err(source) => {
                    let address = dialing.dial.address.clone();
                    dialing.note(DialError::Unreachable { address, source });
                }
            }
        }
        let address = dialing.dial.address;
        let none = || DialError::Unreachable { address, source: ErrorKind::AddrNotAvailable.into() };
        self.fail(dialing.dial.token, dialing.error.unwrap_or_else(none));
    }

    fn begin(&mut self, number: u64, origin: Origin, mut handshake: Handshake, deadline: Instant) {
        let registered = match handshake.socket() {
            Some(socket) => {
                self.poll.registry().register(socket, token(number), Interest::READABLE | Interest::WRITABLE)
            }
            None => Err(ErrorKind::NotConnected.into()),
        };
        self.insert(number, HalfOpen { origin, handshake: Some(handshake), deadline });
        match registered {
            Ok(()) => self.advance(number),
            Err(e) => self.end(number, Failure::Unreachable(e)),
        }
    }

    /// Goes on with one that is half open.
    fn advance(&mut self, number: u64) {
        let Some(handshake) = self.half_open.get_mut(&number).and_then(|half| half.handshake.as_mut()) else { return };
        match handshake.advance() {
            Ok(Progress::Waits) => {}
            Ok(Progress::Established(stream)) => self.established(number, stream),
            Ok(Progress::Control(who, mut stream)) => {
                self.remove(number);
                self.release(&mut stream);
                // Without it a peer that is gone is noticed when it is next written to.
                let _ = stream.socket.keep_alive();
                self.ready.push_back(Event::Control { who, connection: Box::new(stream) });
            }
            Ok(Progress::Join(wire)) => self.join(number, wire),
            Ok(Progress::Answered) => drop(self.remove(number)),
            Err(failure) => self.end(number, failure),
        }
    }

    fn established(&mut self, number: u64, mut stream: Stream) {
        let Some(half) = self.remove(number) else { return };
        self.release(&mut stream);
        let connection: Box<dyn Connection> = Box::new(stream);
        self.ready.push_back(match half.origin {
            Origin::Accepted { .. } => Event::Accepted(connection),
            Origin::Dialed(dialing) => Event::Dialed { token: dialing.dial.token, connection },
        });
    }

    /// Takes a connection out of the poll. If that fails, the next owner's registration fails, and says so.
    fn release(&self, stream: &mut Stream) {
        let _ = self.poll.registry().deregister(stream);
    }

    fn join(&mut self, number: u64, wire: crate::join::WireRequest) {
        let now = Instant::now();
        let limit = after(now, self.limits.handshake_ms);
        let Some(half) = self.half_open.get_mut(&number) else { return };
        self.deadlines.remove(&(half.deadline, number));
        half.deadline = limit;
        self.deadlines.insert((limit, number));
        let Origin::Accepted { from, joins } = &mut half.origin else { return };
        if self.joins >= self.limits.joins_max {
            return self.answer(number, &JoinAnswer::Refused(JoinRefusal::Busy));
        }
        *joins = true;
        self.joins += 1;
        let request = JoinRequest::new(JoinId(number), from.clone(), wire);
        self.ready.push_back(Event::Join(request));
    }

    fn answer(&mut self, number: u64, answer: &JoinAnswer) {
        let Some(half) = self.half_open.get_mut(&number) else { return };
        let Some(handshake) = &mut half.handshake else { return };
        handshake.answer(answer);
        self.advance(number);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, number)) = self.deadlines.first().copied()
            && at <= now
        {
            let dialed = self.half_open.get(&number).is_some_and(|half| matches!(half.origin, Origin::Dialed(_)));
            let limit_ms = if dialed { self.limits.dial_ms } else { self.limits.handshake_ms };
            self.end(number, Failure::Refused(RefusedError::TimedOut { limit_ms }));
        }
    }

    /// One that is half open has failed.
    fn end(&mut self, number: u64, failure: Failure) {
        let Some(half) = self.remove(number) else { return };
        drop(half.handshake);
        match half.origin {
            Origin::Accepted { from, .. } => {
                let error = match failure {
                    Failure::Refused(error) => error,
                    Failure::WrongPeer(meant) => RefusedError::NotMeant { meant },
                    Failure::Unreachable(error) => RefusedError::Broken(error),
                };
                self.ready.push_back(Event::Refused { from, error });
            }
            Origin::Dialed(mut dialing) => {
                let address = dialing.dial.address.clone();
                let wanted = dialing.dial.peer;
                dialing.note(match failure {
                    Failure::Refused(RefusedError::TimedOut { limit_ms }) => DialError::TimedOut { address, limit_ms },
                    Failure::Refused(why) => DialError::Refused { address, why },
                    Failure::WrongPeer(found) => DialError::WrongPeer { address, wanted, found },
                    Failure::Unreachable(source) => DialError::Unreachable { address, source },
                });
                self.try_next(dialing);
            }
        }
    }

    fn fail(&mut self, token: u64, error: DialError) {
        self.ready.push_back(Event::DialFailed { token, error });
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn insert(&mut self, number: u64, half: HalfOpen) {
        self.deadlines.insert((half.deadline, number));
        self.half_open.insert(number, half);
    }

    fn remove(&mut self, number: u64) -> Option<HalfOpen> {
        let half = self.half_open.remove(&number)?;
        self.deadlines.remove(&(half.deadline, number));
        self.accepted.remove(&number);
        if matches!(half.origin, Origin::Accepted { joins: true, .. }) {
            self.joins -= 1;
        }
        Some(half)
    }
}

impl Dialing {
    /// Keeps the error that came furthest: who was met there says more than that nobody was.
    fn note(&mut self, error: DialError) {
        let rank = |error: &DialError| match error {
            DialError::WrongPeer { .. } | DialError::Refused { .. } => 2,
            DialError::TimedOut { .. } => 1,
            _ => 0,
        };
        if self.error.as_ref().is_none_or(|known| rank(known) <= rank(&error)) {
            self.error = Some(error);
        }
    }
}

fn token(number: u64) -> Token {
    Token(number as usize)
}

fn after(now: Instant, limit_ms: u64) -> Instant {
    now + Duration::from_millis(limit_ms.min(u64::from(u32::MAX)))
}
