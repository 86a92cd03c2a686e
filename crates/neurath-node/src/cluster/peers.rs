//! The other nodes that belong to one shard: their sessions, connections and schemas.
//!
//! It refuses to know processes: what comes in for them goes out as a [`News`], in order. Invariants: what a peer says
//! is checked before it becomes news; a schema is declared before the first message of its type, in every association.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};
use neurath_kernel::session::wire::{self, WireTypes};
use neurath_kernel::session::{
    CloseReason, ConnectionId, DialId, EndCause, EndReason, Origin, Outbound, SendError, SessionInfo, Violation,
};
use neurath_kernel::{NodeMessage, Session, SessionEffect, Signal, node_itself};
use neurath_net::Connection;
use neurath_proto::envelope::{Envelope, SchemaId};
use neurath_proto::frame::PART_BYTES_MAX;
use neurath_proto::{Incarnation, NodeId, Schema, SchemaHash};

use super::loader::{Job, PIECE};
use super::{Cluster, Unconfirmed};
use crate::shared::now_ms;
use crate::types::TypeTable;

/// Bytes that are read from a connection in one go.
const READ_BYTES: usize = 128 << 10;
/// Reads of one connection before others have their turn.
const READS: u32 = 4;
/// A schema that a peer declares has at most this many bytes.
const SCHEMA_BYTES_MAX: usize = 1 << 16;
/// A peer may declare so many schemas in one association.
const SCHEMAS_MAX: usize = 1 << 16;
/// A schema is declared in pieces of this size: each must fit into one part.
const SCHEMA_PIECE: usize = 12 << 10;
const WAKER: Token = Token(0);

/// What a shard learns from its peers.
pub(crate) enum News {
    /// For the kernel.
    Signal(Signal),
    /// It could not be sent, or is not known to have arrived: why.
    Unsent(Signal, String),
    /// For all shards.
    Node(NodeNews),
    /// For membership.
    Gossip(NodeId, Vec<u8>),
}

/// What all shards are told of a node.
#[derive(Clone, Debug)]
pub enum NodeNews {
    /// An association with it is open.
    Up {
        /// Which.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// What people call it.
        name: String,
    },
    /// It has ended.
    Down {
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
        /// How many have ended by now; `None`: it is not even known.
        epoch: Option<u64>,
    },
    /// Its queue is full.
    Full(NodeId),
    /// It is not any more.
    Drained(NodeId),
    /// What people call it.
    Named(NodeId, String),
}

/// See the module.
pub(crate) struct Peers {
    cluster: Arc<Cluster>,
    types: Arc<TypeTable>,
    incarnation: Incarnation,
    poll: Poll,
    events: Events,
    peers: BTreeMap<NodeId, Peer>,
    tokens: HashMap<Token, (NodeId, ConnectionId)>,
    last_token: usize,
    /// Peers that have something to do, each once.
    dirty: VecDeque<NodeId>,
    news: VecDeque<News>,
    buffer: Vec<u8>,
    /// What is being encoded, but for its payload.
    head: Vec<u8>,
    next_deadline: Option<u64>,
}

struct Peer {
    session: Session,
    links: BTreeMap<ConnectionId, Link>,
    last_connection: u64,
    /// The schemas that were, by their numbers.
    declared: Vec<Option<SchemaHash>>,
    known: BTreeMap<SchemaHash, SchemaId>,
    /// The beginning of a schema that is being declared.
    begun: Vec<u8>,
    /// Counts associations that ended, so that what a shard says in one does not get into the next.
    epoch: u64,
    /// Messages of processes that were not confirmed.
    unconfirmed: u64,
    dirty: bool,
    /// It broke the protocol: nothing more is taken from it in this association.
    broken: bool,
}

struct Link {
    connection: Box<dyn Connection>,
    token: Token,
    pending: Vec<u8>,
    at: usize,
    writing: bool,
    readable: bool,
    /// The peer has said all that it will, or it is broken: what is left is read to its end.
    ending: bool,
    /// The session has been told that it is broken, or finished by the peer.
    broken: bool,
}

/// How a peer stands, for listings.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Who.
    pub node: NodeId,
    /// Its session.
    pub session: SessionInfo,
    /// Messages of processes that were not confirmed, of all that its session has given back.
    pub unconfirmed: u64,
}

/// The schemas of a peer, as this node numbers them.
struct PeerTypes<'a>(&'a TypeTable, &'a BTreeMap<SchemaHash, SchemaId>);

impl WireTypes for PeerTypes<'_> {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        self.0.hash(schema)
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        self.1.get(&hash).copied()
    }
}

/// The schemas of this node; those that were declared without asking the table.
struct DeclaredTypes<'a>(&'a TypeTable, &'a [Option<SchemaHash>]);

impl WireTypes for DeclaredTypes<'_> {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        self.1.get(schema.0 as usize).copied().flatten().unwrap_or_else(|| self.0.hash(schema))
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        self.0.id(hash)
    }
}

impl Peers {
    /// No peers yet; what wakes the shard is given back.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        types: Arc<TypeTable>,
        incarnation: Incarnation,
    ) -> io::Result<(Box<Self>, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let peers = Self {
            cluster,
            types,
            incarnation,
            poll,
            events: Events::with_capacity(256),
            peers: BTreeMap::new(),
            tokens: HashMap::new(),
            last_token: WAKER.0,
            dirty: VecDeque::new(),
            news: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            head: Vec::new(),
            next_deadline: None,
        };
        Ok((Box::new(peers), waker))
    }

    // ---- what the shard says ----

    /// A signal of one of this node's shards, which has seen `epoch` associations with the node end.
    pub(crate) fn send(&mut self, now: u64, node: NodeId, epoch: u64, signal: Signal) {
        if !self.peers.contains_key(&node) {
            if !self.cluster.knows(node) {
                let why = format!("no node {node} is known to this cluster");
                self.news.push_back(News::Unsent(signal, why.clone()));
                return self.news.push_back(News::Node(NodeNews::Down { node, why, epoch: None }));
            }
            self.peer(node);
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if epoch < peer.epoch {
            let why = "the association with its node had ended".to_owned();
            return self.news.push_back(News::Unsent(signal, why));
        }
        mark(&mut self.dirty, node, peer);
        let may_fail = signal.may_fail();
        if let Some(schema) = schema_of(&signal)
            && let Err(error) = peer.declare(now, &self.types, schema)
        {
            self.news.push_back(News::Unsent(signal, why_not(&error)));
            return self.refused(now, node, may_fail);
        }
        let from = signal.sender().unwrap_or(node_itself(self.cluster.node));
        self.head.clear();
        self.head.push(NodeMessage::SIGNAL);
        let types = DeclaredTypes(&self.types, &peer.declared);
        let payload = wire::encode_owned(signal, &types, &mut self.head);
        if let Err(error) = peer.session.queue(now, from, Outbound::new(&self.head, payload)) {
            let why = why_not(&error);
            let (SendError::TooLong { bytes, .. } | SendError::Full { bytes }) = error;
            if let Some(signal) = decode_own(&bytes, &self.types) {
                self.news.push_back(News::Unsent(signal, why));
            }
            self.refused(now, node, may_fail);
        }
    }

    /// Something has found no room. If nobody can be told of it, the association ends, so that nobody waits for it.
    fn refused(&mut self, now: u64, node: NodeId, may_fail: bool) {
        if may_fail {
            self.pump_now(now, node);
        } else {
            let name = self.cluster.name_of(node);
            tracing::warn!(%node, name, "the association with a node is ended: more waits for it than can be kept");
            self.end(now, node, EndCause::Overfull);
        }
    }

    /// Something that this node itself says, encoded: it goes first, unless it is long.
    pub(crate) fn post(&mut self, now: u64, node: NodeId, message: Vec<u8>) {
        if !self.peers.contains_key(&node) && !self.cluster.knows(node) {
            return;
        }
        let from = node_itself(self.cluster.node);
        let peer = self.peer(node);
        let long = message.len() > PART_BYTES_MAX;
        // What does not go out is asked for again.
        let _ = if long { peer.session.queue(now, from, message) } else { peer.session.queue_first(now, message) };
        self.touch(node);
    }

    /// There is a connection to a node.
    pub(crate) fn connected(&mut self, now: u64, node: NodeId, mut connection: Box<dyn Connection>, dialed: bool) {
        self.last_token += 1;
        let token = Token(self.last_token);
        if let Err(error) =
            self.poll.registry().register(&mut connection, token, Interest::READABLE | Interest::WRITABLE)
        {
            tracing::error!(%node, name = self.cluster.name_of(node), %error, "a connection cannot be watched");
            return;
        }
        let peer = self.peer(node);
        peer.last_connection += 1;
        let id = ConnectionId(peer.last_connection);
        let link = Link {
            connection,
            token,
            pending: Vec::new(),
            at: 0,
            writing: false,
            readable: true,
            ending: false,
            broken: false,
        };
        peer.links.insert(id, link);
        peer.session.connected(now, id, if dialed { Origin::Dialed } else { Origin::Accepted });
        self.tokens.insert(token, (node, id));
        self.pump_now(now, node);
    }

    /// A node was not reached.
    pub(crate) fn dial_failed(&mut self, now: u64, node: NodeId, dial: DialId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.session.dial_failed(now, dial);
            self.pump_now(now, node);
        }
    }

    /// The association with a node is to end.
    pub(crate) fn end(&mut self, now: u64, node: NodeId, cause: EndCause) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.session.end(now, cause);
            self.pump_now(now, node);
        }
    }

    // ---- what the shard asks ----

    /// The next thing that was learned.
    pub(crate) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// When something is due next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.next_deadline
    }

    /// Whether there is something to do before anything happens.
    pub(crate) fn is_busy(&self) -> bool {
        !self.dirty.is_empty() || !self.news.is_empty()
    }

    /// Whether any connection is watched.
    pub(crate) fn has_connections(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// How the peers stand.
    pub(crate) fn info(&self) -> Vec<PeerInfo> {
        self.peers
            .iter()
            .map(|(node, peer)| PeerInfo { node: *node, session: peer.session.info(), unconfirmed: peer.unconfirmed })
            .collect()
    }

    /// Waits until something happens to a connection, or the waker is used, or the time is over.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>) {
        // A signal of the system ends the wait early, which does no harm.
        let _ = self.poll.poll(&mut self.events, at_most);
        for event in &self.events {
            let Some((node, id)) = self.tokens.get(&event.token()).copied() else { continue };
            let Some(peer) = self.peers.get_mut(&node) else { continue };
            if let Some(link) = peer.links.get_mut(&id) {
                link.ending |= event.is_read_closed() || event.is_error();
                link.readable |= event.is_readable() || link.ending;
            }
            mark(&mut self.dirty, node, peer);
        }
    }

    /// Reads, lets sessions do what is due, and writes.
    pub(crate) fn pump(&mut self, now: u64) {
        let due = self.next_deadline.is_some_and(|at| at <= now);
        if due {
            // Nobody is silent whose words have only not been read yet.
            self.wait(Some(Duration::ZERO));
            for (node, peer) in &mut self.peers {
                if peer.session.next_deadline().is_some_and(|at| at <= now) {
                    mark(&mut self.dirty, *node, peer);
                }
            }
        }
        for _ in 0..self.dirty.len() {
            let Some(node) = self.dirty.pop_front() else { break };
            self.pump_one(now, node);
        }
        if due || self.next_deadline.is_none() {
            self.next_deadline = self.peers.values().filter_map(|peer| peer.session.next_deadline()).min();
        }
    }

    /// What may end an association is followed by this at once: what is sent next has to know of it.
    fn pump_now(&mut self, now: u64, node: NodeId) {
        self.wait(Some(Duration::ZERO));
        self.pump_one(now, node);
    }

    fn pump_one(&mut self, now: u64, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.dirty = false;
        let ids: Vec<ConnectionId> = peer.links.keys().copied().collect();
        for id in ids {
            peer.read(now, id, &mut self.buffer);
            peer.write(now, id);
        }
        peer.session.advance(now);
        while let Some(effect) = peer.session.poll_effect() {
            let mut out = Out { cluster: &self.cluster, types: &self.types, news: &mut self.news, node, now };
            if let Some(token) = peer.carry_out(effect, &mut out, self.poll.registry()) {
                self.tokens.remove(&token);
            }
        }
        for token in peer.drop_broken(self.poll.registry()) {
            self.tokens.remove(&token);
        }
        let deadline = peer.session.next_deadline();
        self.next_deadline = match (self.next_deadline, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if peer.links.values().any(|link| link.readable) {
            mark(&mut self.dirty, node, peer);
        }
    }

    fn peer(&mut self, node: NodeId) -> &mut Peer {
        let (cluster, incarnation) = (&self.cluster, self.incarnation);
        self.peers.entry(node).or_insert_with(|| Peer {
            session: Session::new(cluster.node, incarnation, node, cluster.session),
            links: BTreeMap::new(),
            last_connection: 0,
            declared: Vec::new(),
            known: BTreeMap::new(),
            begun: Vec::new(),
            epoch: 0,
            unconfirmed: 0,
            dirty: false,
            broken: false,
        })
    }

    fn touch(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            mark(&mut self.dirty, node, peer);
        }
    }
}

/// Notes that a peer has something to do.
fn mark(dirty: &mut VecDeque<NodeId>, node: NodeId, peer: &mut Peer) {
    if !peer.dirty {
        peer.dirty = true;
        dirty.push_back(node);
    }
}

/// What a peer needs to carry something out.
struct Out<'a> {
    cluster: &'a Cluster,
    types: &'a TypeTable,
    news: &'a mut VecDeque<News>,
    node: NodeId,
    now: u64,
}

impl Out<'_> {
    /// What people call the node.
    fn name(&self) -> String {
        self.cluster.name_of(self.node)
    }

    /// Gives the loader something to do for a peer, who breaks the protocol with more than finds room.
    fn load(&self, job: Job) -> Result<(), String> {
        self.cluster.loader.push(job).map_err(|_| "it asks for more modules than can be looked after".into())
    }
}

impl Peer {
    /// Declares a schema, unless it has been; an error if what needs it cannot go out either.
    fn declare(&mut self, now: u64, types: &TypeTable, schema: SchemaId) -> Result<(), SendError> {
        let at = schema.0 as usize;
        if let Some(Some(_)) = self.declared.get(at) {
            return Ok(());
        }
        let bytes = types.schema(schema).map(|schema| schema.encode()).unwrap_or_default();
        let mut pieces = bytes.chunks(SCHEMA_PIECE).enumerate().peekable();
        while let Some((index, bytes)) = pieces.next() {
            let message = NodeMessage::Schema { more: pieces.peek().is_some(), bytes };
            if let Err(error) = self.session.queue_first(now, message.encode()) {
                if index > 0 {
                    // The peer would take the next schema for the rest of this one.
                    self.session.end(now, EndCause::Overfull);
                }
                return Err(error);
            }
        }
        self.declared.resize(self.declared.len().max(at + 1), None);
        self.declared[at] = Some(types.hash(schema));
        Ok(())
    }

    fn read(&mut self, now: u64, id: ConnectionId, buffer: &mut [u8]) {
        for _ in 0..READS {
            let Some(link) = self.links.get_mut(&id) else { return };
            if !link.readable {
                return;
            }
            match link.connection.read(buffer) {
                Ok(0) => return self.lose(now, id),
                Ok(length) => {
                    link.readable = link.ending || !link.connection.is_emptied();
                    self.session.received(now, id, &buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => link.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.lose(now, id),
            }
        }
    }

    /// Writes what waits; tells the session when all of it is with the system.
    fn write(&mut self, now: u64, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.writing {
            return;
        }
        match link.push() {
            Ok(true) => {
                (link.writing, link.at) = (false, 0);
                self.session.reuse(std::mem::take(&mut link.pending));
                self.session.written(now, id);
            }
            Ok(false) => {}
            Err(_) => self.lose(now, id),
        }
    }

    /// A connection is broken, or the peer has finished it.
    fn lose(&mut self, now: u64, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            (link.broken, link.readable, link.writing) = (true, false, false);
        }
        self.session.closed(now, id);
    }

    /// Drops the connections that are broken; their tokens.
    fn drop_broken(&mut self, registry: &mio::Registry) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.links.retain(|_, link| {
            if link.broken {
                // It is dropped anyway.
                let _ = registry.deregister(&mut link.connection);
                tokens.push(link.token);
            }
            !link.broken
        });
        tokens
    }

    /// Does what the session wants; the tokens that are free again.
    fn carry_out(&mut self, effect: SessionEffect, out: &mut Out<'_>, registry: &mio::Registry) -> Option<Token> {
        let (node, now) = (out.node, out.now);
        match effect {
            SessionEffect::Dial(dial) => {
                if !out.cluster.dial(node, dial) {
                    self.session.dial_failed(now, dial);
                }
            }
            SessionEffect::Write { connection, bytes } => match self.links.get_mut(&connection) {
                Some(link) => {
                    (link.pending, link.at, link.writing) = (bytes, 0, true);
                    self.write(now, connection);
                }
                None => self.session.closed(now, connection),
            },
            SessionEffect::Close { connection, reason, last } => {
                let mut link = self.links.remove(&connection)?;
                match reason {
                    CloseReason::Violation(why @ Violation::OldIncarnation { .. }) => {
                        tracing::warn!(%node, name = out.name(), %why, "a node is not let in");
                    }
                    _ => tracing::debug!(%node, name = out.name(), ?reason, "a connection is closed"),
                }
                link.pending.extend_from_slice(&last);
                // What does not fit any more the peer learns on the next connection.
                let _ = link.push();
                let _ = link.connection.finish();
                let _ = registry.deregister(&mut link.connection);
                return Some(link.token);
            }
            SessionEffect::Up { incarnation, .. } => {
                let name = out.name();
                out.news.push_back(News::Node(NodeNews::Up { node, incarnation, name }));
            }
            SessionEffect::Deliver { bytes, credit } => {
                if !self.broken
                    && let Err(why) = self.deliver(bytes, out)
                {
                    self.broken = true;
                    let name = out.name();
                    tracing::warn!(%node, name, why, "a node broke the protocol; the association with it is ended");
                    self.session.end(now, EndCause::PeerMisbehaved);
                }
                self.session.consumed(now, credit);
            }
            SessionEffect::Ended { association, reason, unconfirmed } => {
                self.epoch += 1;
                self.declared.clear();
                self.known.clear();
                self.begun.clear();
                self.broken = false;
                let why = describe(reason, out.cluster.failure(node));
                if let EndReason::Violation(_) = reason {
                    let name = out.name();
                    tracing::warn!(%node, name, why, "a node broke the protocol; the association with it has ended");
                }
                let mut messages = 0_u64;
                for lost in &unconfirmed {
                    let Some(signal) = decode_own(&lost.bytes, out.types) else { continue };
                    if let Signal::Message(envelope) = &signal {
                        messages += 1;
                        out.cluster.note_unconfirmed(Unconfirmed {
                            at_ms: now_ms(),
                            from: envelope.from,
                            to: envelope.to,
                            type_name: neurath_kernel::Types::name(out.types, envelope.schema),
                            association: association.map(|a| a.0),
                            maybe_delivered: lost.maybe_delivered,
                            reason: why.clone(),
                        });
                        if !envelope.wants_answer() {
                            let why = format!("not confirmed: {why}");
                            out.news.push_back(News::Unsent(signal, why));
                        }
                    }
                }
                self.unconfirmed += messages;
                if !matches!(reason, EndReason::Violation(_)) {
                    tracing::info!(%node, name = out.name(), why, unconfirmed = messages, "an association has ended");
                }
                out.news.push_back(News::Node(NodeNews::Down { node, why, epoch: Some(self.epoch) }));
            }
            SessionEffect::Refused { messages, limit_bytes } => {
                for refused in messages {
                    if let Some(signal) = decode_own(&refused.bytes, out.types) {
                        let why = format!("its node takes messages of at most {limit_bytes} bytes");
                        out.news.push_back(News::Unsent(signal, why));
                    }
                }
            }
            SessionEffect::Full => out.news.push_back(News::Node(NodeNews::Full(node))),
            SessionEffect::Drained => out.news.push_back(News::Node(NodeNews::Drained(node))),
        }
        None
    }

    /// A message has come.
    fn deliver(&mut self, bytes: Vec<u8>, out: &mut Out<'_>) -> Result<(), String> {
        let node = out.node;
        let news = match NodeMessage::decode(&bytes).ok_or("it sent a message of no kind")? {
            NodeMessage::Signal(_) => {
                let types = PeerTypes(out.types, &self.known);
                let signal = wire::decode_owned(bytes, NodeMessage::SIGNAL_AT, &types).map_err(|e| e.to_string())?;
                if !signal.is_between(node, out.cluster.node) {
                    return Err("it spoke for a process that is not its own, or to one that is not of this node".into());
                }
                News::Signal(signal)
            }
            NodeMessage::Schema { more, bytes } => return self.learn_schema(more, bytes, out.types),
            NodeMessage::Gossip(bytes) => News::Gossip(node, bytes.to_vec()),
            NodeMessage::Fetch { artifact, offset } => return out.load(Job::Fetch { node, artifact, offset }),
            NodeMessage::Piece { bytes, .. } if bytes.len() > PIECE => {
                return Err(format!("it sent a piece of a module with more than {PIECE} bytes"));
            }
            NodeMessage::Piece { artifact, offset, length, bytes } => {
                return out.load(Job::Piece { node, artifact, offset, length, bytes: bytes.to_vec() });
            }
            NodeMessage::Absent { artifact } => return out.load(Job::Absent { node, artifact }),
        };
        out.news.push_back(news);
        Ok(())
    }

    fn learn_schema(&mut self, more: bool, bytes: &[u8], types: &TypeTable) -> Result<(), String> {
        if self.begun.len() + bytes.len() > SCHEMA_BYTES_MAX || self.known.len() >= SCHEMAS_MAX {
            return Err(format!("it declared a schema beyond {SCHEMA_BYTES_MAX} bytes, or more than {SCHEMAS_MAX}"));
        }
        self.begun.extend_from_slice(bytes);
        if more {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.begun);
        let schema = Schema::decode(&bytes).map_err(|error| format!("it declared what is no schema: {error}"))?;
        let hash = schema.hash();
        let id = types.intern(schema).map_err(|error| error.to_string())?;
        self.known.insert(hash, id);
        Ok(())
    }
}

impl Link {
    /// Writes on; whether all is with the system.
    fn push(&mut self) -> io::Result<bool> {
        while self.at < self.pending.len() {
            match self.connection.write(&self.pending[self.at..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.at += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self.connection.flush() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The schema that must be declared before a signal, if it has one.
fn schema_of(signal: &Signal) -> Option<SchemaId> {
    match signal {
        Signal::Message(Envelope { schema, .. }) | Signal::TimerFired { envelope: Envelope { schema, .. }, .. } => {
            Some(*schema)
        }
        _ => None,
    }
}

/// A signal that this node has encoded itself.
fn decode_own(bytes: &[u8], types: &TypeTable) -> Option<Signal> {
    match NodeMessage::decode(bytes)? {
        NodeMessage::Signal(bytes) => wire::decode(bytes, types).ok(),
        _ => None,
    }
}

fn why_not(error: &SendError) -> String {
    match error {
        SendError::TooLong { limit_bytes, .. } => format!("its node takes messages of at most {limit_bytes} bytes"),
        SendError::Full { .. } => "as much as may be waits for its node already".to_owned(),
    }
}

fn describe(reason: EndReason, failure: Option<String>) -> String {
    match (reason, failure) {
        (EndReason::GraceOver | EndReason::Unreachable, Some(failure)) => format!("{reason}: {failure}"),
        _ => reason.to_string(),
    }
}
