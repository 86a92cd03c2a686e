//! What this node says to one other: exactly once and in order, across broken connections.
//!
//! It knows neither sockets nor clocks nor what messages mean. Inputs and a time come in ([`Session::send`],
//! [`Session::received`], …), [`Session::poll_effect`] says what is to be done.
//!
//! **Association.** Messages go through a numbered association. It outlives its connections: frames are numbered,
//! kept until they are acknowledged, and sent again on the next connection. It ends when it had no connection for the
//! grace time, when the peer has another incarnation, has ended it or breaks the protocol; what was not acknowledged
//! is then given back as unconfirmed. Each side ends it for itself, once.
//!
//! **Who decides.** Both sides may dial, at once and often. The node with the smaller id *leads* the pair: it alone
//! numbers associations and says which connection is the live one (`Welcome`). The other follows the welcome with the
//! highest generation. So both hold the same one to be live, whatever was dialed and however it overlapped.
//!
//! Invariants: a connection carries one association for all its life, so an old frame cannot be taken for a new one;
//! bytes of a connection that was closed or superseded are not read; one session's state is of one peer only.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use neurath_proto::Pid;
use neurath_proto::frame::{Association, Generation, Hello};
use neurath_proto::id::{Incarnation, NodeId};

use connections::{Connection, Stage};
use incoming::Incoming;
use outgoing::Outgoing;

pub use types::{
    CloseReason, ConnectionId, Credit, DialId, EndCause, EndReason, Origin, Outbound, SendError, SessionConfig,
    SessionEffect, SessionInfo, Unconfirmed, Violation,
};

mod connections;
mod incoming;
pub mod message;
mod outgoing;
mod types;
pub mod wire;

/// See the module.
pub struct Session {
    node: NodeId,
    incarnation: Incarnation,
    peer: NodeId,
    config: SessionConfig,
    now: u64,
    /// The latest life of the peer that was heard of.
    peer_incarnation: Incarnation,
    /// The highest association that was ever open here; that of `open`, if there is one.
    highest: Association,
    open: Option<Open>,
    outgoing: Outgoing,
    /// Messages wait for an association until then.
    wanted_until: Option<u64>,
    connections: BTreeMap<ConnectionId, Connection>,
    live: Option<ConnectionId>,
    /// That of the live connection, or of the last that was.
    generation: Generation,
    dial: Dial,
    effects: VecDeque<SessionEffect>,
    /// For the next write.
    spare: Vec<u8>,
    opened: u64,
    ended: u64,
    unconfirmed: u64,
}

/// An open association.
struct Open {
    incoming: Incoming,
    /// It has no connection and ends then.
    grace_until: Option<u64>,
}

/// Attempts to reach the peer.
struct Dial {
    /// The last one.
    id: DialId,
    /// It is under way, and given up then.
    until: Option<u64>,
    /// The next one is not before this.
    not_before: u64,
    /// The pause after the next failure.
    backoff_ns: u64,
}

impl Session {
    /// A session of this life of `node` with `peer`; it does nothing until something is sent or someone connects.
    pub fn new(node: NodeId, incarnation: Incarnation, peer: NodeId, config: SessionConfig) -> Self {
        Self {
            node,
            incarnation,
            peer,
            config,
            now: 0,
            peer_incarnation: Incarnation(0),
            highest: Association(0),
            open: None,
            outgoing: Outgoing::new(config),
            wanted_until: None,
            connections: BTreeMap::new(),
            live: None,
            generation: Generation(0),
            dial: Dial { id: DialId(0), until: None, not_before: 0, backoff_ns: config.backoff_min_ns },
            effects: VecDeque::new(),
            spare: Vec::new(),
            opened: 0,
            ended: 0,
            unconfirmed: 0,
        }
    }

    // ---- messages ----

    /// Accepts a message of process `from`. It goes out in its turn, after the earlier ones of `from`.
    ///
    /// # Errors
    /// It is too long, or senders went on long after [`SessionEffect::Full`].
    pub fn send(&mut self, now: u64, from: Pid, message: impl Into<Outbound>) -> Result<(), SendError> {
        self.tick(now);
        self.queue(now, from, message)?;
        self.act();
        Ok(())
    }

    /// As [`Session::send`], and it goes out with the next [`Session::advance`]: what is queued until then goes out
    /// together. Nothing that is due happens before that: an association that is to end takes this along, since whoever
    /// says it does not know of the end yet.
    ///
    /// # Errors
    /// As those of [`Session::send`].
    pub fn queue(&mut self, now: u64, from: Pid, message: impl Into<Outbound>) -> Result<(), SendError> {
        self.now = self.now.max(now);
        let filled = self.outgoing.push(from, message.into())?;
        self.queued(filled);
        Ok(())
    }

    /// As [`Session::queue`], for what the nodes themselves say: it overtakes whatever has not begun to go out, and is
    /// overtaken by nothing that is queued later. At most one part.
    ///
    /// # Errors
    /// As those of [`Session::send`].
    pub fn queue_first(&mut self, now: u64, bytes: Vec<u8>) -> Result<(), SendError> {
        self.now = self.now.max(now);
        let filled = self.outgoing.push_first(bytes.into())?;
        self.queued(filled);
        Ok(())
    }

    fn queued(&mut self, filled: bool) {
        if filled {
            self.effects.push_back(SessionEffect::Full);
        }
        if self.open.is_none() && self.wanted_until.is_none() {
            self.wanted_until = Some(self.now.saturating_add(self.config.grace_ns));
        }
    }

    /// A delivered message has found its place: the peer may send as much again.
    pub fn consumed(&mut self, now: u64, credit: Credit) {
        self.tick(now);
        let Some(open) = &mut self.open else { return };
        open.incoming.consumed(self.now, credit);
        // It changes nothing else, and most of it the peer is told later.
        if open.incoming.tell_until().is_some_and(|until| until <= self.now) {
            self.act();
        }
    }

    /// Ends the association, as when the peer is known to be gone or this node leaves; the peer is told if it can be.
    pub fn end(&mut self, now: u64, cause: EndCause) {
        self.tick(now);
        self.end_association(EndReason::EndedHere(cause));
        self.act();
    }

    // ---- connections ----

    /// There is a connection to the peer, whose identity the transport has checked.
    pub fn connected(&mut self, now: u64, connection: ConnectionId, origin: Origin) {
        self.tick(now);
        if origin == Origin::Dialed {
            self.dial.until = None;
        }
        self.begin_handshake(connection, origin);
        self.act();
    }

    /// There is none.
    pub fn dial_failed(&mut self, now: u64, dial: DialId) {
        self.tick(now);
        if dial == self.dial.id && self.dial.until.take().is_some() {
            self.back_off();
        }
        self.act();
    }

    /// Bytes have arrived.
    pub fn received(&mut self, now: u64, connection: ConnectionId, bytes: &[u8]) {
        self.tick(now);
        self.read(connection, bytes);
        self.act();
    }

    /// What was to be written on a connection is written.
    pub fn written(&mut self, now: u64, connection: ConnectionId) {
        self.tick(now);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.writing = false;
        }
        self.act();
    }

    /// Gives the buffer of a [`SessionEffect::Write`] back, before it is said that it is written: what is to be written at
    /// once then needs none of its own.
    pub fn reuse(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spare = buffer;
    }

    /// A connection is broken, or the peer has closed it.
    pub fn closed(&mut self, now: u64, connection: ConnectionId) {
        self.tick(now);
        self.lose(connection);
        self.act();
    }

    // ---- time and effects ----

    /// Moves the clock; what was due happens. What has arrived by then must have been given to [`Session::received`]: only
    /// here is it judged whether the peer was silent.
    pub fn advance(&mut self, now: u64) {
        self.tick(now);
        self.drop_overdue_connections();
        self.act();
    }

    /// When [`Session::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<u64> {
        let open = self.open.as_ref();
        let carried = self.live.is_some();
        let grace = open.and_then(|open| open.grace_until);
        let ack = open.and_then(|open| open.incoming.tell_until()).filter(|_| carried && !self.is_writing());
        let dial = match self.dial.until {
            Some(until) => Some(until),
            None => self.wants_connection().then_some(self.dial.not_before),
        };
        let connections = self.connections.values().map(|connection| connection.deadline(&self.config));
        connections.chain([grace, ack, dial, self.wanted_until].into_iter().flatten()).min()
    }

    /// The next thing to be done, in order.
    pub fn poll_effect(&mut self) -> Option<SessionEffect> {
        self.effects.pop_front()
    }

    /// How many associations have ended, or did not come about in time: so many [`SessionEffect::Ended`] there were, or are
    /// still to be polled.
    #[inline]
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// How it stands.
    pub fn info(&self) -> SessionInfo {
        let mut info = SessionInfo {
            association: self.open.is_some().then_some(self.highest),
            live: self.live,
            handshakes: self.connections.len() - usize::from(self.live.is_some()),
            opened: self.opened,
            unconfirmed: self.unconfirmed,
            ..SessionInfo::default()
        };
        self.outgoing.report(&mut info);
        if let Some(open) = &self.open {
            open.incoming.report(&mut info);
        }
        info
    }

    /// Lets happen what is due.
    fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
        let now = self.now;
        let due = |until: Option<u64>| until.is_some_and(|until| until <= now);
        if due(self.dial.until) {
            self.dial.until = None;
            self.back_off();
        }
        if due(self.open.as_ref().and_then(|open| open.grace_until)) {
            self.end_association(EndReason::GraceOver);
        }
        if due(self.wanted_until) {
            self.end_association(EndReason::Unreachable);
        }
    }

    /// Does what the new state asks for.
    fn act(&mut self) {
        if self.outgoing.take_drained() {
            self.effects.push_back(SessionEffect::Drained);
        }
        if self.wants_connection() && self.dial.until.is_none() && self.dial.not_before <= self.now {
            self.dial.id.0 += 1;
            self.dial.until = Some(self.now.saturating_add(self.config.dial_ns));
            self.effects.push_back(SessionEffect::Dial(self.dial.id));
        }
        self.flush();
    }

    fn wants_connection(&self) -> bool {
        self.connections.is_empty() && (self.open.is_some() || !self.outgoing.is_empty())
    }

    fn back_off(&mut self) {
        let backoff = self.dial.backoff_ns;
        self.dial.not_before = self.now.saturating_add(backoff);
        self.dial.backoff_ns = backoff.saturating_mul(2).min(self.config.backoff_max_ns);
    }

    // ---- associations ----

    /// Whether this node decides for the pair.
    fn leads(&self) -> bool {
        self.node < self.peer
    }

    fn open_association(&mut self, association: Association, hello: &Hello) {
        self.highest = association;
        self.open = Some(Open { incoming: Incoming::new(association, &self.config), grace_until: None });
        self.opened += 1;
        self.wanted_until = None;
        let refused = self.outgoing.open(hello.limits);
        self.effects.push_back(SessionEffect::Up { association, incarnation: self.peer_incarnation });
        if !refused.is_empty() {
            let limit_bytes = hello.limits.message_bytes_max;
            self.effects.push_back(SessionEffect::Refused { messages: refused, limit_bytes });
        }
    }

    /// Ends what is open or wanted; nothing if neither is.
    fn end_association(&mut self, reason: EndReason) {
        let was_open = self.open.take().is_some();
        if !was_open && self.wanted_until.is_none() {
            return;
        }
        self.ended += 1;
        self.wanted_until = None;
        if let Some(live) = self.live {
            let close = match reason {
                EndReason::Violation(violation) => CloseReason::Violation(violation),
                _ => CloseReason::AssociationEnded,
            };
            self.close(live, close);
        }
        let unconfirmed = self.outgoing.take_all();
        self.unconfirmed += unconfirmed.len() as u64;
        let association = was_open.then_some(self.highest);
        self.effects.push_back(SessionEffect::Ended { association, reason, unconfirmed });
    }

    fn is_writing(&self) -> bool {
        self.live.and_then(|live| self.connections.get(&live)).is_some_and(|live| live.writing)
    }

    fn hello(&self) -> Hello {
        let open = self.open.as_ref();
        Hello {
            from: self.node,
            to: self.peer,
            incarnation: self.incarnation,
            peer_incarnation: if open.is_some() { self.peer_incarnation } else { Incarnation(0) },
            association: self.highest,
            open: open.is_some(),
            received: open.map(|open| open.incoming.received()).unwrap_or_default(),
            live: if self.live.is_some() { self.generation } else { Generation(0) },
            limits: self.config.limits,
        }
    }

    fn stage_of(&self, connection: ConnectionId) -> Option<Stage> {
        self.connections.get(&connection).map(|connection| connection.stage)
    }
}
