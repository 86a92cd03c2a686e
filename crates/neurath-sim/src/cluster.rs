//! Nodes with a peer for each other node, a network between them, and a clock that only events move.
//!
//! It does what a node's driver does with what its peers want, and tells the checkers what it sees. Invariant: events
//! happen in the order of their times, and those of one time in the order in which they were scheduled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use neurath_kernel::peer::Unsent;
use neurath_kernel::session::{ConnectionId, Credit, DialId, EndCause, EndReason, Origin, Unconfirmed};
use neurath_kernel::{MembershipConfig, Peer, PeerEffect, Session, SessionConfig};
use neurath_proto::frame::Association;
use neurath_proto::id::{Incarnation, NodeId};

use crate::check::members::Roster;
use crate::check::processes::Ledger;
use crate::check::{Checker, Side};
use crate::network::{End, Event as NetworkEvent, MS, Network, Quality};
use crate::rng::Rng;
use crate::vocabulary::Vocabulary;
use processes::News;

mod hostile;
pub mod letters;
mod members;
pub mod processes;

/// After an end of the grace time the session has ended the association within this.
const GRACE_SLACK_NS: u64 = MS;

/// Something that happens at a time.
#[derive(Debug)]
enum Event {
    Network(NetworkEvent),
    DialFailed { side: Side, dial: DialId },
    Consumed { side: Side, credit: Credit },
    Wake(Side),
    WakeMembership { node: usize, life: u32 },
    Join { node: usize, life: u32 },
    Exit { node: usize, life: u32 },
    Shard { node: usize, life: u32, shard: usize },
    Restart(usize),
    Go(usize),
}

struct Node {
    life: u32,
    alive: bool,
    /// It stands still; what happens to it waits.
    stopped: bool,
    waiting: VecDeque<Event>,
    /// When it last began to run.
    runs_since: u64,
    sessions: BTreeMap<usize, Member>,
    membership: Option<members::Driven>,
    shards: Vec<processes::Shard>,
    /// How long a message that has arrived lies before it is consumed.
    consume_max_ns: u64,
}

/// A peer and what its driver keeps beside it.
struct Member {
    peer: Peer,
    /// For which time it is to be woken.
    wake: Option<u64>,
    /// Connections with a write under way.
    writing: BTreeMap<ConnectionId, bool>,
    /// Since when the open association has no live connection.
    lost_at: Option<u64>,
    /// Letters of the association that has just ended.
    given_back: Vec<Unconfirmed>,
}

/// See the module.
pub struct Cluster {
    /// The time.
    pub now: u64,
    /// All that is random.
    pub rng: Rng,
    /// What is promised of sessions.
    pub checker: Checker,
    /// What is promised of membership.
    pub roster: Roster,
    /// What is promised of processes.
    pub ledger: Ledger,
    /// The network.
    pub network: Network,
    /// What arrived last, if someone collects it.
    pub arrivals: Option<Vec<letters::Arrival>>,
    config: SessionConfig,
    nodes: Vec<Node>,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    /// Pairs that cannot connect, with the time until then.
    parted: BTreeMap<(usize, usize), u64>,
    dial_fails_percent: u64,
    gossip: Option<MembershipConfig>,
    /// Associations that are to be ended by the time that a membership has said all.
    ending: BTreeSet<(Side, Association)>,
    hostile: Option<hostile::Hostile>,
    society: Option<processes::Society>,
    vocabulary: Arc<Vocabulary>,
}

impl Cluster {
    /// So many nodes in their first lives.
    pub fn new(nodes: usize, config: SessionConfig, quality: Quality, rng: Rng) -> Self {
        let node = || Node {
            life: 1,
            alive: true,
            stopped: false,
            waiting: VecDeque::new(),
            runs_since: 0,
            sessions: BTreeMap::new(),
            membership: None,
            shards: Vec::new(),
            consume_max_ns: 0,
        };
        Self {
            now: 0,
            rng,
            checker: Checker::default(),
            roster: Roster::default(),
            ledger: Ledger::default(),
            network: Network::new(quality),
            arrivals: None,
            config,
            nodes: (0..nodes).map(|_| node()).collect(),
            events: BTreeMap::new(),
            scheduled: 0,
            parted: BTreeMap::new(),
            dial_fails_percent: 0,
            gossip: None,
            ending: BTreeSet::new(),
            hostile: None,
            society: None,
            vocabulary: Arc::default(),
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The identity of a node: in another order than the numbers.
    pub fn id(node: usize) -> NodeId {
        NodeId((node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// This side, if the node is alive and moves.
    pub fn side(&self, node: usize, peer: usize) -> Option<Side> {
        let it = &self.nodes[node];
        (it.alive && !it.stopped).then_some(Side { node, life: it.life, peer })
    }

    fn is_current(&self, side: Side) -> bool {
        let node = &self.nodes[side.node];
        node.alive && node.life == side.life
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    // ---- running ----

    /// Lets happen what happens until then.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn run_until(&mut self, until: u64) -> Result<(), String> {
        loop {
            for (at, event) in self.network.take_scheduled() {
                self.schedule(at, Event::Network(event));
            }
            match self.events.first_entry() {
                Some(entry) if entry.key().0 <= until => {
                    let ((at, _), event) = entry.remove_entry();
                    self.now = self.now.max(at);
                    self.happen(event)?;
                }
                _ => break,
            }
        }
        self.now = until;
        self.check_grace()
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let node = match &event {
            Event::Network(
                NetworkEvent::Up(end)
                | NetworkEvent::Arrived(end, _)
                | NetworkEvent::Written(end)
                | NetworkEvent::Closed(end),
            ) => self.network.owner(*end).map(|(node, _)| node),
            Event::DialFailed { side, .. } | Event::Consumed { side, .. } | Event::Wake(side) => Some(side.node),
            Event::WakeMembership { node, .. }
            | Event::Join { node, .. }
            | Event::Exit { node, .. }
            | Event::Shard { node, .. } => Some(*node),
            Event::Restart(_) | Event::Go(_) => None,
        };
        if let Some(node) = node
            && self.nodes[node].stopped
        {
            self.nodes[node].waiting.push_back(event);
            return Ok(());
        }
        match event {
            Event::Network(event) => self.network_event(event),
            Event::DialFailed { side, dial } => self.with(side, |session, now| session.dial_failed(now, dial)),
            Event::Consumed { side, credit } => self.with(side, |session, now| session.consumed(now, credit)),
            Event::Wake(side) => {
                let member =
                    self.is_current(side).then(|| self.nodes[side.node].sessions.get_mut(&side.peer)).flatten();
                match member {
                    Some(member) if member.wake.is_some_and(|wake| wake <= self.now) => {
                        member.wake = None;
                        self.with(side, |session, now| session.advance(now))
                    }
                    _ => Ok(()),
                }
            }
            Event::WakeMembership { node, life } => self.wake_membership(node, life),
            Event::Join { node, life } => self.join(node, life),
            Event::Exit { node, life } => self.exit(node, life),
            Event::Shard { node, life, shard } => self.run_shard(node, life, shard),
            Event::Restart(node) if self.nodes[node].alive => Ok(()),
            Event::Restart(node) => {
                self.nodes[node].alive = true;
                self.nodes[node].runs_since = self.now;
                self.begin_shards(node);
                self.begin_membership(node)
            }
            Event::Go(node) => self.go(node),
        }
    }

    fn network_event(&mut self, event: NetworkEvent) -> Result<(), String> {
        let (NetworkEvent::Up(end)
        | NetworkEvent::Arrived(end, _)
        | NetworkEvent::Written(end)
        | NetworkEvent::Closed(end)) = event;
        let Some((node, life)) = self.network.owner(end) else { return Ok(()) };
        let Some(peer) = self.network.peer(end) else { return Ok(()) };
        let Some(event) = self.network.accept(self.now, event, &mut self.rng) else { return Ok(()) };
        let side = Side { node, life, peer };
        let connection = connection(end);
        match event {
            NetworkEvent::Up(_) => {
                let origin = if end.side == 0 { Origin::Dialed } else { Origin::Accepted };
                self.with(side, |session, now| session.connected(now, connection, origin))
            }
            NetworkEvent::Arrived(_, bytes) => {
                self.with(side, |session, now| session.received(now, connection, &bytes))
            }
            NetworkEvent::Written(_) => {
                if let Some(member) = self.nodes[node].sessions.get_mut(&peer) {
                    member.writing.insert(connection, false);
                }
                self.with(side, |session, now| session.written(now, connection))
            }
            NetworkEvent::Closed(_) => self.with(side, |session, now| session.closed(now, connection)),
        }
    }

    /// Gives a session an input, and does what it then wants.
    fn with(&mut self, side: Side, input: impl FnOnce(&mut Session, u64)) -> Result<(), String> {
        if !self.is_current(side) {
            return Ok(());
        }
        let now = self.now;
        input(self.member(side).peer.session_mut(), now);
        self.effects(side)
    }

    fn member(&mut self, side: Side) -> &mut Member {
        let (config, vocabulary) = (self.config, &self.vocabulary);
        self.nodes[side.node].sessions.entry(side.peer).or_insert_with(|| {
            let (node, peer) = (Self::id(side.node), Self::id(side.peer));
            Member {
                peer: Peer::new(node, Incarnation(side.life), peer, config, vocabulary.clone()),
                wake: None,
                writing: BTreeMap::new(),
                lost_at: None,
                given_back: Vec::new(),
            }
        })
    }

    fn effects(&mut self, side: Side) -> Result<(), String> {
        let now = self.now;
        while let Some(effect) = self.member(side).peer.poll(now) {
            self.effect(side, effect)?;
        }
        let info = self.member(side).peer.session().info();
        self.checker.bounds(side, &info, &self.config)?;
        let member = self.member(side);
        let is_lost = info.association.is_some() && info.live.is_none();
        member.lost_at = is_lost.then(|| member.lost_at.unwrap_or(now));
        if let Some(deadline) = member.peer.session().next_deadline()
            && member.wake.is_none_or(|wake| deadline < wake)
        {
            if deadline <= now {
                return Err(format!(
                    "{side:?}: something is due at {deadline}, and it was just asked at {now}: {info:?}"
                ));
            }
            member.wake = Some(deadline);
            self.schedule(deadline, Event::Wake(side));
        }
        Ok(())
    }

    fn effect(&mut self, side: Side, effect: PeerEffect) -> Result<(), String> {
        let (now, peer) = (self.now, Self::id(side.peer));
        match effect {
            PeerEffect::Dial(dial) => self.dial(side, dial),
            PeerEffect::Write { connection, bytes } => {
                if self.member(side).writing.insert(connection, true) == Some(true) {
                    return Err(format!("{side:?}: a second write on {connection:?} before the first is done"));
                }
                let bytes = self.spoil(side, bytes);
                self.network.write(now, end(connection), &bytes, &mut self.rng);
            }
            PeerEffect::Close { connection, last, .. } => {
                self.member(side).writing.remove(&connection);
                self.network.close(now, end(connection), &last, &mut self.rng);
            }
            PeerEffect::Up { association, incarnation } => {
                if !self.is_hostile(side.node) {
                    self.checker.up(side, association, incarnation.0)?;
                }
                self.peer_news(side, News::Up(peer, incarnation));
                self.with_membership(side.node, |membership, now| membership.association_up(now, peer, incarnation))?;
            }
            PeerEffect::Signal { signal, credit } => {
                let at = now + self.rng.within(0..=self.nodes[side.node].consume_max_ns);
                self.schedule(at, Event::Consumed { side, credit });
                if self.society.is_some() { self.peer_signal(side, signal) } else { self.letter(side, signal)? }
            }
            PeerEffect::Gossip(packet) => self.packet(side, &packet)?,
            PeerEffect::Unconfirmed { signal, maybe_delivered, .. } => {
                if self.society.is_some() {
                    self.peer_unconfirmed(side, signal, maybe_delivered);
                } else {
                    self.letter_given_back(side, signal, maybe_delivered);
                }
            }
            PeerEffect::Down { association, reason, epoch, .. } => {
                self.peer_news(side, News::Down(peer, epoch));
                self.ended(side, association, &reason)?;
            }
            PeerEffect::Unsent { why: Unsent::TooLong { .. }, .. } if self.is_between_honest(side) => {
                return Err(format!("{side:?}: equal nodes refuse messages"));
            }
            // Who sends letters sees at once that one was not taken.
            PeerEffect::Unsent { signal, why } if self.society.is_some() => self.peer_unsent(side, signal, why),
            PeerEffect::Unsent { .. } => {}
            PeerEffect::Full | PeerEffect::Drained if self.is_hostile(side.node) => {}
            PeerEffect::Full => {
                self.checker.pressure(side, true)?;
                self.peer_news(side, News::Full(peer));
            }
            PeerEffect::Drained => {
                self.checker.pressure(side, false)?;
                self.peer_news(side, News::Drained(peer));
            }
            _ if !self.is_between_honest(side) => {}
            PeerEffect::Broken(_) | PeerEffect::Fetch { .. } | PeerEffect::Piece { .. } | PeerEffect::Absent { .. } => {
                return Err(format!("{side:?}: an honest peer does not say so: {effect:?}"));
            }
        }
        Ok(())
    }

    fn ended(&mut self, side: Side, association: Option<Association>, reason: &EndReason) -> Result<(), String> {
        let lost_at = self.member(side).lost_at.take();
        if *reason == EndReason::GraceOver {
            let early = lost_at.is_none_or(|at| self.now < at + self.config.grace_ns);
            // It has been without a connection since before it was last looked at, at most.
            if early {
                return Err(format!("{side:?}: the grace time is over, and the connection was lost at {lost_at:?}"));
            }
        }
        let given_back = std::mem::take(&mut self.member(side).given_back);
        if !self.is_hostile(side.node) {
            self.checker.ended(side, association, reason, &given_back, !self.is_hostile(side.peer))?;
        }
        if association.is_some() {
            let peer = Self::id(side.peer);
            self.with_membership(side.node, |membership, now| membership.association_ended(now, peer))?;
        }
        Ok(())
    }

    /// No association outlives its grace time.
    fn check_grace(&self) -> Result<(), String> {
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive && !node.stopped) {
            for (peer, member) in &node.sessions {
                if member.lost_at.is_some_and(|at| at + self.config.grace_ns + GRACE_SLACK_NS < self.now) {
                    let info = member.peer.session().info();
                    return Err(format!("nodes {number} and {peer}: an association outlives its grace time: {info:?}"));
                }
            }
        }
        Ok(())
    }

    fn dial(&mut self, side: Side, dial: DialId) {
        let parted = self.is_parted(side.node, side.peer);
        let fails = parted || !self.nodes[side.peer].alive || self.rng.chance(self.dial_fails_percent);
        if !fails {
            self.connect(side);
        } else if self.rng.chance(70) {
            let at = self.now + self.rng.within(1..=500 * MS);
            self.schedule(at, Event::DialFailed { side, dial });
        }
        // Otherwise nothing is ever heard of it.
    }

    /// Makes a connection, asked for or not.
    pub fn connect(&mut self, side: Side) {
        let to = (side.peer, self.nodes[side.peer].life);
        if self.nodes[side.peer].alive {
            self.network.connect(self.now, (side.node, side.life), to, &mut self.rng);
        }
    }

    // ---- what happens to nodes ----

    /// Ends the association of this side.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn end(&mut self, side: Side, cause: EndCause) -> Result<(), String> {
        self.with(side, |session, now| session.end(now, cause))
    }

    /// Ends a life; another one begins after a while, or never.
    pub fn crash(&mut self, node: usize, down_ns: Option<u64>) {
        let it = &mut self.nodes[node];
        if !it.alive || it.stopped {
            return;
        }
        it.alive = false;
        it.life += 1;
        it.sessions.clear();
        it.membership = None;
        let ended = it.life - 1;
        self.crash_shards(node, ended);
        self.network.crash(self.now, node, &mut self.rng);
        self.roster.ended(node, self.now);
        if let Some(down_ns) = down_ns {
            self.schedule(self.now + down_ns, Event::Restart(node));
        }
    }

    /// Stops a node for a while, as a debugger does.
    pub fn stop(&mut self, node: usize, for_ns: u64) {
        if self.nodes[node].alive && !self.nodes[node].stopped {
            self.nodes[node].stopped = true;
            self.schedule(self.now + for_ns, Event::Go(node));
        }
    }

    fn go(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].stopped = false;
        self.nodes[node].runs_since = self.now;
        let waiting = std::mem::take(&mut self.nodes[node].waiting);
        waiting.into_iter().try_for_each(|event| self.happen(event))
    }

    /// How long messages lie at a node before they are consumed.
    pub fn set_consume_max(&mut self, node: usize, ns: u64) {
        self.nodes[node].consume_max_ns = ns;
    }

    /// How many attempts of a hundred fail for no reason.
    pub fn set_dial_fails(&mut self, percent: u64) {
        self.dial_fails_percent = percent;
    }

    /// Parts two nodes for a while: their connections fall silent or break, and they make no new ones.
    pub fn part(&mut self, a: usize, b: usize, for_ns: u64) {
        let breaks = self.rng.chance(50);
        for wire in self.network.between(a, b) {
            if breaks {
                self.network.cut(self.now, wire, &mut self.rng);
            } else {
                self.network.swallow(wire, 0);
                self.network.swallow(wire, 1);
            }
        }
        self.parted.insert((a.min(b), a.max(b)), self.now + for_ns);
    }

    fn is_parted(&self, a: usize, b: usize) -> bool {
        self.parted.get(&(a.min(b), a.max(b))).is_some_and(|until| *until > self.now)
    }

    /// Ends all partings.
    pub fn heal(&mut self) {
        self.parted.clear();
        self.dial_fails_percent = 0;
    }

    /// When all is quiet: every letter has arrived or was given back.
    ///
    /// # Errors
    /// One was not.
    pub fn check_letters(&self) -> Result<(), String> {
        self.checker.quiet(|side| self.is_current(side))
    }

    /// When all is quiet: nothing is under way, and both sides of each pair hold the same connection and association.
    ///
    /// # Errors
    /// They do not.
    pub fn check_quiet(&self) -> Result<(), String> {
        self.check_letters()?;
        let honest = |node: usize| self.nodes[node].alive && !self.is_hostile(node);
        for (number, node) in self.nodes.iter().enumerate().filter(|(number, _)| honest(*number)) {
            for (peer, member) in node.sessions.iter().filter(|(peer, _)| !self.is_hostile(**peer)) {
                let mine = member.peer.session().info();
                let theirs = self.nodes[*peer].sessions.get(&number).map(|member| member.peer.session().info());
                let theirs = theirs.unwrap_or_default();
                let wire = |info: &neurath_kernel::session::SessionInfo| info.live.map(|live| end(live).wire);
                let agree = mine.association == theirs.association && wire(&mine) == wire(&theirs);
                let idle = mine.held_messages == 0 && mine.unconsumed_bytes == 0 && mine.handshakes == 0 && !mine.full;
                if !agree || !idle || mine.association.is_some() != mine.live.is_some() {
                    return Err(format!("nodes {number} and {peer} do not come to rest: {mine:?} and {theirs:?}"));
                }
            }
        }
        Ok(())
    }
}

/// The two ends of one connection have numbers of their own, as in two nodes.
fn connection(end: End) -> ConnectionId {
    ConnectionId(end.wire * 2 + end.side as u64)
}

fn end(connection: ConnectionId) -> End {
    End { wire: connection.0 / 2, side: (connection.0 % 2) as usize }
}
