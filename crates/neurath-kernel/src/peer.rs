//! One other node, as the signals of this one meet it: what stands between kernels and a [`Session`].
//!
//! It owns the session, which schemas were declared to the peer and by it, and the count of associations that ended. It
//! refuses to know sockets, clocks, and who hears of what: inputs and a time come in, [`Peer::poll`] says what is to be done
//! and what was learned. The node and the simulator drive this same code.
//!
//! Invariants: a schema is declared before the first message of its type, in every association; what was said by someone
//! who had not heard of the end of an association does not get into the next one; what a peer says is checked before it
//! comes out, and after its first breach nothing more of the association does; nothing that someone waits for is dropped
//! while an association is open.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::{self, Vec};
use core::fmt;

use neurath_proto::envelope::{Class, Envelope, SchemaId};
use neurath_proto::frame::{Association, PART_BYTES_MAX};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::reason::CallError;
use neurath_proto::{Schema, SchemaHash};

use crate::session::message::Message;
use crate::session::wire::{self, WireTypes};
use crate::session::{
    CloseReason, ConnectionId, Credit, DialId, EndCause, EndReason, Outbound, SendError, Session, SessionConfig,
    SessionEffect, Unconfirmed,
};
use crate::signal::{Signal, node_itself};

#[cfg(test)]
mod tests;

/// A schema that a peer declares has at most this many bytes.
const SCHEMA_BYTES_MAX: usize = Schema::BYTES_MAX;
/// A peer may declare so many schemas in one association.
const SCHEMAS_MAX: usize = 1 << 16;
/// A schema is declared in pieces of this size: each must fit into one part.
pub const SCHEMA_PIECE_BYTES: usize = 12 << 10;
/// Bytes of a module in one message.
pub const MODULE_PIECE_BYTES: usize = 256 << 10;

/// The schemas that this node has numbered.
pub trait Schemas: WireTypes + Send + Sync {
    /// The schema with this number, encoded, as it is declared to others.
    fn encoded(&self, id: SchemaId) -> Vec<u8>;

    /// The number of a schema, which is a new one if it has none.
    ///
    /// # Errors
    /// Why it gets none.
    fn intern(&self, schema: Schema) -> Result<SchemaId, String>;
}

/// See the module.
pub struct Peer {
    node: NodeId,
    peer: NodeId,
    session: Session,
    schemas: Arc<dyn Schemas>,
    /// The schemas that were declared in this association, by their numbers.
    declared: Vec<Option<SchemaHash>>,
    /// Those that the peer has declared in it.
    known: BTreeMap<SchemaHash, SchemaId>,
    /// The beginning of a schema that the peer is declaring.
    begun: Vec<u8>,
    /// How many ends of associations have come out.
    epoch: u64,
    /// The peer broke the protocol: nothing more is taken from it in this association.
    broken: bool,
    effects: VecDeque<PeerEffect>,
    /// An association that has ended, and what of it has not come out yet.
    ending: Option<Ending>,
    /// A signal that is being encoded, but for its payload.
    head: Vec<u8>,
}

struct Ending {
    association: Option<Association>,
    reason: EndReason,
    /// How many messages of processes have come out.
    unconfirmed: u64,
    lost: vec::IntoIter<Unconfirmed>,
}

/// What is to be done, and what was learned, in order.
#[derive(Debug)]
pub enum PeerEffect {
    /// For the kernel. When it lies in its mailbox, [`Session::consumed`] gives the credit back.
    Signal {
        /// What a process of the peer says to one of this node, or the nodes to each other.
        signal: Signal,
        /// What it holds of the peer's grant.
        credit: Credit,
    },
    /// As [`SessionEffect::Dial`].
    Dial(DialId),
    /// As [`SessionEffect::Write`].
    Write {
        /// Where.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// As [`SessionEffect::Close`].
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
        /// What may still be written before, behind what is being written.
        last: Vec<u8>,
    },
    /// A signal was not sent: for [`Kernel::unsent`](crate::Kernel::unsent).
    Unsent {
        /// It.
        signal: Signal,
        /// Why.
        why: Unsent,
    },
    /// A signal was accepted and is not known to have arrived: for [`Kernel::unconfirmed`](crate::Kernel::unconfirmed).
    Unconfirmed {
        /// It.
        signal: Signal,
        /// The association that has ended, if one had come about.
        association: Option<Association>,
        /// Why it ended.
        reason: EndReason,
        /// Whether it may have arrived all the same.
        maybe_delivered: bool,
    },
    /// An association is open, for all shards.
    Up {
        /// Its number.
        association: Association,
        /// The life of the peer that it is with.
        incarnation: Incarnation,
    },
    /// It has ended, or none came about in time, for all shards.
    Down {
        /// Its number.
        association: Option<Association>,
        /// Why.
        reason: EndReason,
        /// How many have ended by now, this one among them: who has heard of it says so with what it sends.
        epoch: u64,
        /// How many messages of processes are not known to have arrived.
        unconfirmed: u64,
    },
    /// Hold back who sends to this peer, on all shards.
    Full,
    /// Let them go on.
    Drained,
    /// A packet of membership.
    Gossip(Vec<u8>),
    /// The peer wants a module.
    Fetch {
        /// BLAKE3 of it.
        artifact: [u8; 32],
        /// From here on.
        offset: u64,
    },
    /// A piece of a module, of at most [`MODULE_PIECE_BYTES`].
    Piece {
        /// BLAKE3 of the module.
        artifact: [u8; 32],
        /// Where it begins.
        offset: u64,
        /// Bytes of the whole.
        length: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// The peer does not have the module.
    Absent {
        /// BLAKE3 of it.
        artifact: [u8; 32],
    },
    /// The peer has broken the protocol: its association ends.
    Broken(Breach),
}

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// Whoever said it had not heard yet that the association had ended.
    Ended,
    /// The peer takes nothing so long.
    TooLong {
        /// What it takes.
        limit_bytes: u32,
    },
    /// Its senders went on long after they should have been held back.
    Full,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the association with its node had ended"),
            Self::TooLong { limit_bytes } => write!(f, "its node takes messages of at most {limit_bytes} bytes"),
            Self::Full => f.write_str("as much as may be waits for its node already"),
        }
    }
}

/// How a peer can break the protocol within messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A message is of no kind.
    NoMessage,
    /// A signal is none, or of a schema that was not declared.
    NoSignal(wire::WireError),
    /// A signal is said for a process that is not the peer's, or to one that is not of this node.
    SpeaksForOthers,
    /// A schema is too long, or one too many.
    SchemaBeyondLimits,
    /// What was declared is no schema, or cannot be taken: why.
    Schema(String),
    /// A piece of a module is too long.
    PieceTooLong,
    /// More is asked for than can be looked after: what.
    Greedy(&'static str),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMessage => f.write_str("it sent a message of no kind"),
            Self::NoSignal(error) => write!(f, "{error}"),
            Self::SpeaksForOthers => {
                f.write_str("it spoke for a process that is not its own, or to one that is not of this node")
            }
            Self::SchemaBeyondLimits => {
                write!(f, "it declared a schema beyond {SCHEMA_BYTES_MAX} bytes, or more than {SCHEMAS_MAX}")
            }
            Self::Schema(why) => write!(f, "it declared a schema that cannot be taken: {why}"),
            Self::PieceTooLong => write!(f, "it sent a piece of a module with more than {MODULE_PIECE_BYTES} bytes"),
            Self::Greedy(what) => write!(f, "it asks for more {what} than can be looked after"),
        }
    }
}

impl core::error::Error for Breach {}

/// The schemas of this node; those that were declared without asking the table.
struct Own<'a>(&'a dyn Schemas, &'a [Option<SchemaHash>]);

impl WireTypes for Own<'_> {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        self.1.get(schema.0 as usize).copied().flatten().unwrap_or_else(|| self.0.hash(schema))
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        self.0.id(hash)
    }
}

/// The schemas that the peer has declared, as this node numbers them.
struct Theirs<'a>(&'a dyn Schemas, &'a BTreeMap<SchemaHash, SchemaId>);

impl WireTypes for Theirs<'_> {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        self.0.hash(schema)
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        self.1.get(&hash).copied()
    }
}

impl Peer {
    /// What this life of `node` has with `peer`; it does nothing until something is sent or someone connects.
    pub fn new(
        node: NodeId,
        incarnation: Incarnation,
        peer: NodeId,
        config: SessionConfig,
        schemas: Arc<dyn Schemas>,
    ) -> Self {
        Self {
            node,
            peer,
            session: Session::new(node, incarnation, peer, config),
            schemas,
            declared: Vec::new(),
            known: BTreeMap::new(),
            begun: Vec::new(),
            epoch: 0,
            broken: false,
            effects: VecDeque::new(),
            ending: None,
            head: Vec::new(),
        }
    }

    /// How it stands, and when something is due.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// For what happens to its connections, for its clock and its end. What goes to the peer goes through [`Peer::send`] and
    /// [`Peer::post`], and what the session wants comes out of [`Peer::poll`].
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// How many ends of associations have come out as [`PeerEffect::Down`].
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    // ---- what this node says ----

    /// Takes a signal of someone who has heard of `epoch` ends of associations. It goes out with the next
    /// [`Session::advance`]. Whether it was taken; if not it comes out again, or if nobody could be told of that, the
    /// association ends.
    pub fn send(&mut self, now: u64, epoch: u64, signal: Signal) -> bool {
        if epoch < self.session.ended() {
            self.unsent(now, signal, Unsent::Ended);
            return false;
        }
        if let Some(schema) = schema_of(&signal)
            && let Err(error) = self.declare(now, schema)
        {
            self.unsent(now, signal, why(&error));
            return false;
        }
        let from = signal.sender().unwrap_or(node_itself(self.node));
        self.head.clear();
        self.head.push(Message::SIGNAL);
        let types = Own(&*self.schemas, &self.declared);
        let payload = wire::encode_owned(signal, &types, &mut self.head);
        match self.session.queue(now, from, Outbound::new(&self.head, payload)) {
            Ok(()) => true,
            Err(error) => {
                let why = why(&error);
                let (SendError::TooLong { bytes, .. } | SendError::Full { bytes }) = error;
                if let Some(signal) = self.decode_own(bytes) {
                    self.unsent(now, signal, why);
                }
                false
            }
        }
    }

    /// Takes an encoded [`Message`] that the node itself says: it goes first, unless it is long.
    ///
    /// # Errors
    /// As those of [`Session::send`]. Nobody else is told.
    pub fn post(&mut self, now: u64, message: Vec<u8>) -> Result<(), SendError> {
        if message.len() > PART_BYTES_MAX {
            self.session.queue(now, node_itself(self.node), message)
        } else {
            self.session.queue_first(now, message)
        }
    }

    /// Declares a schema, unless it has been; an error if what needs it cannot go out either.
    fn declare(&mut self, now: u64, schema: SchemaId) -> Result<(), SendError> {
        let at = schema.0 as usize;
        if let Some(Some(_)) = self.declared.get(at) {
            return Ok(());
        }
        let bytes = self.schemas.encoded(schema);
        let mut pieces = bytes.chunks(SCHEMA_PIECE_BYTES).enumerate().peekable();
        while let Some((index, bytes)) = pieces.next() {
            let message = Message::Schema { more: pieces.peek().is_some(), bytes };
            if let Err(error) = self.session.queue_first(now, message.encode()) {
                if index > 0 {
                    // The peer would take the next schema for the rest of this one.
                    self.end(now, EndCause::Overfull);
                }
                return Err(error);
            }
        }
        self.declared.resize(self.declared.len().max(at + 1), None);
        self.declared[at] = Some(self.schemas.hash(schema));
        Ok(())
    }

    /// Something has found no way. Whoever waits for an answer that is too long is told; if nobody can be told, the association
    /// ends, so that nobody waits for what was lost.
    fn unsent(&mut self, now: u64, signal: Signal, why: Unsent) {
        // Whoever wanted this link hears of the end, which cuts it. Told of it later, it could take that for a link that it
        // has asked for since: links have no refs.
        let is_cut = why == Unsent::Ended && matches!(signal, Signal::Link { .. });
        if signal.may_fail() && !is_cut {
            return self.effects.push_back(PeerEffect::Unsent { signal, why });
        }
        match why {
            // Its end cuts the ties of whoever waits.
            Unsent::Ended => {}
            Unsent::TooLong { limit_bytes } => match signal {
                Signal::Message(Envelope { class: Class::Reply, to, reference, .. }) => {
                    let why = format!("the caller's node takes messages of at most {limit_bytes} bytes");
                    let failed = Signal::CallFailed { to, reference, error: CallError::AnswerLost(why) };
                    // If it finds no way either, the association ends.
                    self.send(now, self.session.ended(), failed);
                }
                _ => self.end(now, EndCause::TooLong),
            },
            Unsent::Full => self.end(now, EndCause::Overfull),
        }
    }

    /// The peer has said only now that it takes nothing so long as this.
    fn refused(&mut self, now: u64, bytes: Vec<u8>, limit_bytes: u32) {
        if let Some(Message::Schema { .. }) = Message::decode(&bytes) {
            // What needs it would be no signal for the peer.
            return self.end(now, EndCause::TooLong);
        }
        if let Some(signal) = self.decode_own(bytes) {
            self.unsent(now, signal, Unsent::TooLong { limit_bytes });
        }
    }

    /// Ends the association that whatever has come out last belongs to; one that has ended is not taken for the next.
    fn end(&mut self, now: u64, cause: EndCause) {
        if self.epoch == self.session.ended() {
            self.session.end(now, cause);
        }
    }

    /// A signal that this node has encoded itself.
    fn decode_own(&self, bytes: Vec<u8>) -> Option<Signal> {
        match Message::decode(&bytes)? {
            Message::Signal(_) => wire::decode_owned(bytes, Message::SIGNAL_AT, &*self.schemas).ok(),
            _ => None,
        }
    }

    // ---- what the peer says ----

    /// The next thing to be done or learned, in order.
    pub fn poll(&mut self, now: u64) -> Option<PeerEffect> {
        loop {
            if let Some(ending) = self.ending.take() {
                return Some(self.tell_end(ending));
            }
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            match self.session.poll_effect()? {
                SessionEffect::Deliver { bytes, credit } if bytes.first() == Some(&Message::SIGNAL) && !self.broken => {
                    // Decoded when it is asked for, it lies in no other queue and is moved once.
                    match wire::decode_owned(bytes, Message::SIGNAL_AT, &Theirs(&*self.schemas, &self.known)) {
                        Ok(signal) if signal.is_between(self.peer, self.node) => {
                            return Some(PeerEffect::Signal { signal, credit });
                        }
                        Ok(_) => self.broke(now, Breach::SpeaksForOthers),
                        Err(error) => self.broke(now, Breach::NoSignal(error)),
                    }
                    self.session.consumed(now, credit);
                }
                SessionEffect::Deliver { bytes, credit } => {
                    self.session.consumed(now, credit);
                    match self.hear(&bytes) {
                        Ok(Some(effect)) => return Some(effect),
                        Ok(None) => {}
                        Err(breach) => self.broke(now, breach),
                    }
                }
                SessionEffect::Write { connection, bytes } => return Some(PeerEffect::Write { connection, bytes }),
                SessionEffect::Dial(dial) => return Some(PeerEffect::Dial(dial)),
                SessionEffect::Close { connection, reason, last } => {
                    return Some(PeerEffect::Close { connection, reason, last });
                }
                SessionEffect::Up { association, incarnation } => {
                    return Some(PeerEffect::Up { association, incarnation });
                }
                SessionEffect::Ended { association, reason, unconfirmed } => {
                    let lost = unconfirmed.into_iter();
                    self.ending = Some(Ending { association, reason, unconfirmed: 0, lost });
                }
                SessionEffect::Refused { messages, limit_bytes } => {
                    messages.into_iter().for_each(|refused| self.refused(now, refused.bytes, limit_bytes));
                }
                SessionEffect::Full => return Some(PeerEffect::Full),
                SessionEffect::Drained => return Some(PeerEffect::Drained),
            }
        }
    }

    /// What an association has lost, one after the other, and then its end.
    fn tell_end(&mut self, mut ending: Ending) -> PeerEffect {
        let Ending { association, reason, unconfirmed, .. } = ending;
        while let Some(Unconfirmed { bytes, maybe_delivered, .. }) = ending.lost.next() {
            if let Some(signal) = self.decode_own(bytes) {
                ending.unconfirmed += u64::from(matches!(signal, Signal::Message(_)));
                self.ending = Some(ending);
                return PeerEffect::Unconfirmed { signal, association, reason, maybe_delivered };
            }
        }
        self.epoch += 1;
        self.declared.clear();
        self.known.clear();
        self.begun.clear();
        self.broken = false;
        PeerEffect::Down { association, reason, epoch: self.epoch, unconfirmed }
    }

    /// The peer broke the protocol, within it or in what it asks for: its association ends.
    pub fn broke(&mut self, now: u64, breach: Breach) {
        self.broken = true;
        self.end(now, EndCause::PeerMisbehaved);
        self.effects.push_back(PeerEffect::Broken(breach));
    }

    /// A message has come that is for the node itself.
    fn hear(&mut self, bytes: &[u8]) -> Result<Option<PeerEffect>, Breach> {
        if self.broken {
            return Ok(None);
        }
        Ok(Some(match Message::decode(bytes).ok_or(Breach::NoMessage)? {
            Message::Schema { more, bytes } => {
                self.learn_schema(more, bytes)?;
                return Ok(None);
            }
            Message::Gossip(bytes) => PeerEffect::Gossip(bytes.to_vec()),
            Message::Fetch { artifact, offset } => PeerEffect::Fetch { artifact, offset },
            Message::Piece { bytes, .. } if bytes.len() > MODULE_PIECE_BYTES => return Err(Breach::PieceTooLong),
            Message::Piece { artifact, offset, length, bytes } => {
                PeerEffect::Piece { artifact, offset, length, bytes: bytes.to_vec() }
            }
            Message::Absent { artifact } => PeerEffect::Absent { artifact },
            // For processes.
            Message::Signal(_) => return Ok(None),
        }))
    }

    fn learn_schema(&mut self, more: bool, bytes: &[u8]) -> Result<(), Breach> {
        if self.begun.len() + bytes.len() > SCHEMA_BYTES_MAX || self.known.len() >= SCHEMAS_MAX {
            return Err(Breach::SchemaBeyondLimits);
        }
        self.begun.extend_from_slice(bytes);
        if more {
            return Ok(());
        }
        let bytes = core::mem::take(&mut self.begun);
        let schema = Schema::decode(&bytes).map_err(|error| Breach::Schema(error.to_string()))?;
        let id = self.schemas.intern(schema).map_err(Breach::Schema)?;
        self.known.insert(self.schemas.hash(id), id);
        Ok(())
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

fn why(error: &SendError) -> Unsent {
    match error {
        SendError::TooLong { limit_bytes, .. } => Unsent::TooLong { limit_bytes: *limit_bytes },
        SendError::Full { .. } => Unsent::Full,
    }
}
