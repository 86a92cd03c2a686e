//! The other nodes that belong to one shard: the sockets of their connections.
//!
//! What is said on them is a [`Peer`]'s business, which the simulator drives too. It refuses to know processes: what comes
//! in for them goes out as a [`News`], in order, when the shard asks for it. Invariant: a peer's clock is moved only when
//! what has come from it was read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};
use neurath_kernel::peer::Breach;
use neurath_kernel::session::{CloseReason, ConnectionId, DialId, EndCause, EndReason, Origin, SessionInfo, Violation};
use neurath_kernel::{Peer, PeerEffect, Signal, Types};
use neurath_net::Connection;
use neurath_proto::{Incarnation, NodeId};

use super::loader::Job;
use super::{Cluster, Unconfirmed};
use crate::shared::now_ms;
use crate::types::TypeTable;

/// Bytes that are read from a connection in one go.
const READ_BYTES: usize = 128 << 10;
/// Reads of one connection before others have their turn.
const READS: u32 = 4;
const WAKER: Token = Token(0);

/// What a shard learns from its peers.
pub(crate) enum News {
    /// For the kernel.
    Signal(Signal),
    /// It could not be sent: why.
    Unsent(Signal, String),
    /// It is not known to have arrived: why.
    Unconfirmed(Signal, String),
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
    peers: BTreeMap<NodeId, Neighbor>,
    tokens: HashMap<Token, (NodeId, ConnectionId)>,
    last_token: usize,
    /// Peers that have something to do, each once.
    dirty: VecDeque<NodeId>,
    /// Peers that have done it, and were not asked yet what came of it.
    speaking: VecDeque<NodeId>,
    /// What is to be said of nodes that are no peers.
    news: VecDeque<News>,
    buffer: Vec<u8>,
    next_deadline: Option<u64>,
}

/// A peer and the connections to it.
struct Neighbor {
    peer: Peer,
    links: BTreeMap<ConnectionId, Link>,
    last_connection: u64,
    /// Messages of processes that were not confirmed.
    unconfirmed: u64,
    dirty: bool,
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
    /// It is done with: closed, broken or finished by the peer.
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
            speaking: VecDeque::new(),
            news: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
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
            self.neighbor(node);
        }
        let Some(neighbor) = self.peers.get_mut(&node) else { return };
        mark(&mut self.dirty, node, neighbor);
        neighbor.peer.send(now, epoch, signal);
    }

    /// Something that this node itself says, encoded.
    pub(crate) fn post(&mut self, now: u64, node: NodeId, message: Vec<u8>) {
        if !self.peers.contains_key(&node) && !self.cluster.knows(node) {
            return;
        }
        // What does not go out is asked for again.
        let _ = self.neighbor(node).peer.post(now, message);
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
        let neighbor = self.neighbor(node);
        neighbor.last_connection += 1;
        let id = ConnectionId(neighbor.last_connection);
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
        neighbor.links.insert(id, link);
        neighbor.peer.session_mut().connected(now, id, if dialed { Origin::Dialed } else { Origin::Accepted });
        self.tokens.insert(token, (node, id));
        self.touch(node);
    }

    /// A node was not reached.
    pub(crate) fn dial_failed(&mut self, now: u64, node: NodeId, dial: DialId) {
        if let Some(neighbor) = self.peers.get_mut(&node) {
            neighbor.peer.session_mut().dial_failed(now, dial);
            self.touch(node);
        }
    }

    /// The association with a node is to end.
    pub(crate) fn end(&mut self, now: u64, node: NodeId, cause: EndCause) {
        if let Some(neighbor) = self.peers.get_mut(&node) {
            neighbor.peer.session_mut().end(now, cause);
            self.touch(node);
        }
    }

    // ---- what the shard asks ----

    /// The next thing that was learned, of what the last [`Peers::pump`] brought. Whatever else peers want is done on the way.
    pub(crate) fn next_news(&mut self, now: u64) -> Option<News> {
        if let Some(news) = self.news.pop_front() {
            return Some(news);
        }
        while let Some(node) = self.speaking.front().copied() {
            let neighbor = self.peers.get_mut(&node)?;
            while let Some(effect) = neighbor.peer.poll(now) {
                let news = match effect {
                    PeerEffect::Signal { signal, credit } => {
                        neighbor.peer.session_mut().consumed(now, credit);
                        Some(News::Signal(signal))
                    }
                    effect => neighbor.carry_out(now, node, effect, &self.cluster, &self.types),
                };
                if news.is_some() {
                    return news;
                }
            }
            self.speaking.pop_front();
            self.settle(node);
        }
        None
    }

    /// When something is due next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.next_deadline
    }

    /// Whether there is something to do before anything happens.
    pub(crate) fn is_busy(&self) -> bool {
        !self.dirty.is_empty() || !self.speaking.is_empty() || !self.news.is_empty()
    }

    /// Whether any connection is watched.
    pub(crate) fn has_connections(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// How the peers stand.
    pub(crate) fn info(&self) -> Vec<PeerInfo> {
        let info = |(node, neighbor): (&NodeId, &Neighbor)| PeerInfo {
            node: *node,
            session: neighbor.peer.session().info(),
            unconfirmed: neighbor.unconfirmed,
        };
        self.peers.iter().map(info).collect()
    }

    /// Waits until something happens to a connection, or the waker is used, or the time is over.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>) {
        // A signal of the system ends the wait early, which does no harm.
        let _ = self.poll.poll(&mut self.events, at_most);
        for event in &self.events {
            let Some((node, id)) = self.tokens.get(&event.token()).copied() else { continue };
            let Some(neighbor) = self.peers.get_mut(&node) else { continue };
            if let Some(link) = neighbor.links.get_mut(&id) {
                link.ending |= event.is_read_closed() || event.is_error();
                link.readable |= event.is_readable() || link.ending;
            }
            mark(&mut self.dirty, node, neighbor);
        }
    }

    /// Reads, lets peers do what is due, and writes. What came of it is there for [`Peers::next_news`].
    pub(crate) fn pump(&mut self, now: u64) {
        let due = self.next_deadline.is_some_and(|at| at <= now);
        if due {
            // Nobody is silent whose words have only not been read yet.
            self.wait(Some(Duration::ZERO));
            for (node, neighbor) in &mut self.peers {
                if neighbor.peer.session().next_deadline().is_some_and(|at| at <= now) {
                    mark(&mut self.dirty, *node, neighbor);
                }
            }
        }
        while let Some(node) = self.dirty.pop_front() {
            let Some(neighbor) = self.peers.get_mut(&node) else { continue };
            neighbor.dirty = false;
            neighbor.exchange(now, &mut self.buffer);
            self.speaking.push_back(node);
        }
        if due || self.next_deadline.is_none() {
            self.next_deadline = self.peers.values().filter_map(|it| it.peer.session().next_deadline()).min();
        }
    }

    /// A peer has said all that there was.
    fn settle(&mut self, node: NodeId) {
        let Some(neighbor) = self.peers.get_mut(&node) else { return };
        for token in neighbor.drop_broken(self.poll.registry()) {
            self.tokens.remove(&token);
        }
        let deadline = neighbor.peer.session().next_deadline();
        self.next_deadline = [self.next_deadline, deadline].into_iter().flatten().min();
        if neighbor.links.values().any(|link| link.readable) {
            mark(&mut self.dirty, node, neighbor);
        }
    }

    fn neighbor(&mut self, node: NodeId) -> &mut Neighbor {
        let (cluster, types, incarnation) = (&self.cluster, &self.types, self.incarnation);
        self.peers.entry(node).or_insert_with(|| Neighbor {
            peer: Peer::new(cluster.node, incarnation, node, cluster.session, types.clone()),
            links: BTreeMap::new(),
            last_connection: 0,
            unconfirmed: 0,
            dirty: false,
        })
    }

    fn touch(&mut self, node: NodeId) {
        if let Some(neighbor) = self.peers.get_mut(&node) {
            mark(&mut self.dirty, node, neighbor);
        }
    }
}

/// Notes that a peer has something to do.
fn mark(dirty: &mut VecDeque<NodeId>, node: NodeId, neighbor: &mut Neighbor) {
    if !neighbor.dirty {
        neighbor.dirty = true;
        dirty.push_back(node);
    }
}

impl Neighbor {
    /// Reads what has come and writes on; then its clock may be moved.
    fn exchange(&mut self, now: u64, buffer: &mut [u8]) {
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        for id in ids {
            self.read(now, id, buffer);
            self.write(now, id);
        }
        self.peer.session_mut().advance(now);
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
                    self.peer.session_mut().received(now, id, &buffer[..length]);
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
                let session = self.peer.session_mut();
                session.reuse(std::mem::take(&mut link.pending));
                session.written(now, id);
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
        self.peer.session_mut().closed(now, id);
    }

    /// Drops the connections that are done with; their tokens.
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

    /// Does what the peer wants, or says what is to be told of it.
    fn carry_out(
        &mut self,
        now: u64,
        node: NodeId,
        effect: PeerEffect,
        cluster: &Cluster,
        types: &TypeTable,
    ) -> Option<News> {
        let job = match effect {
            PeerEffect::Signal { signal, .. } => return Some(News::Signal(signal)),
            PeerEffect::Gossip(packet) => return Some(News::Gossip(node, packet)),
            PeerEffect::Unsent { signal, why } => return Some(News::Unsent(signal, why.to_string())),
            PeerEffect::Unconfirmed { signal, association, reason, maybe_delivered } => {
                let reason = describe(reason, cluster.failure(node));
                let why = format!("not confirmed: {reason}");
                if let Signal::Message(envelope) = &signal {
                    cluster.note_unconfirmed(Unconfirmed {
                        at_ms: now_ms(),
                        from: envelope.from,
                        to: envelope.to,
                        type_name: types.name(envelope.schema),
                        association: association.map(|association| association.0),
                        maybe_delivered,
                        reason,
                    });
                }
                return Some(News::Unconfirmed(signal, why));
            }
            PeerEffect::Up { incarnation, .. } => {
                let name = cluster.name_of(node);
                return Some(News::Node(NodeNews::Up { node, incarnation, name }));
            }
            PeerEffect::Down { reason, epoch, unconfirmed, .. } => {
                let (name, why) = (cluster.name_of(node), describe(reason, cluster.failure(node)));
                self.unconfirmed += unconfirmed;
                match reason {
                    EndReason::Violation(_) | EndReason::EndedHere(EndCause::Overfull | EndCause::TooLong) => {
                        tracing::warn!(%node, name, why, unconfirmed, "an association has ended");
                    }
                    _ => tracing::info!(%node, name, why, unconfirmed, "an association has ended"),
                }
                return Some(News::Node(NodeNews::Down { node, why, epoch: Some(epoch) }));
            }
            PeerEffect::Full => return Some(News::Node(NodeNews::Full(node))),
            PeerEffect::Drained => return Some(News::Node(NodeNews::Drained(node))),
            PeerEffect::Broken(why) => {
                let name = cluster.name_of(node);
                tracing::warn!(%node, name, %why, "a node broke the protocol; the association with it is ended");
                return None;
            }
            PeerEffect::Dial(dial) => {
                if !cluster.dial(node, dial) {
                    self.peer.session_mut().dial_failed(now, dial);
                }
                return None;
            }
            PeerEffect::Write { connection, bytes } => {
                match self.links.get_mut(&connection) {
                    Some(link) => {
                        (link.pending, link.at, link.writing) = (bytes, 0, true);
                        self.write(now, connection);
                    }
                    None => self.peer.session_mut().closed(now, connection),
                }
                return None;
            }
            PeerEffect::Close { connection, reason, last } => {
                match reason {
                    CloseReason::Violation(why @ Violation::OldIncarnation { .. }) => {
                        tracing::warn!(%node, name = cluster.name_of(node), %why, "a node is not let in");
                    }
                    _ => tracing::debug!(%node, name = cluster.name_of(node), ?reason, "a connection is closed"),
                }
                if let Some(link) = self.links.get_mut(&connection) {
                    link.close(&last);
                }
                return None;
            }
            PeerEffect::Fetch { artifact, offset } => Job::Fetch { node, artifact, offset },
            PeerEffect::Piece { artifact, offset, length, bytes } => {
                Job::Piece { node, artifact, offset, length, bytes }
            }
            PeerEffect::Absent { artifact } => Job::Absent { node, artifact },
        };
        if cluster.loader.push(job).is_err() {
            self.peer.broke(now, Breach::Greedy("modules"));
        }
        None
    }
}

impl Link {
    /// Writes what may still be written, and no more.
    fn close(&mut self, last: &[u8]) {
        self.pending.extend_from_slice(last);
        // What does not fit any more the peer learns on the next connection.
        let _ = self.push();
        let _ = self.connection.finish();
        (self.broken, self.readable, self.writing) = (true, false, false);
    }

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

fn describe(reason: EndReason, failure: Option<String>) -> String {
    match (reason, failure) {
        (EndReason::GraceOver | EndReason::Unreachable, Some(failure)) => format!("{reason}: {failure}"),
        _ => reason.to_string(),
    }
}
