//! What a session is told, what it says, and why it refuses.

use alloc::vec::Vec;
use core::fmt;

use neurath_proto::Pid;
use neurath_proto::envelope::Payload;
use neurath_proto::frame::{Association, FrameError, FrameNumber, Lane, Limits};
use neurath_proto::id::{Incarnation, NodeId};
use smallvec::SmallVec;

/// A connection, as the driver numbers it: never the same number twice for one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One attempt to reach the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// A message as it is sent: some bytes, and a payload behind them that was moved here, not copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    head: SmallVec<[u8; Outbound::HEAD]>,
    tail: Payload,
}

impl Outbound {
    /// Heads up to this long, which most signals have, need no allocation.
    const HEAD: usize = 80;

    /// `head`, and behind it `tail`.
    pub fn new(head: &[u8], tail: Payload) -> Self {
        Self { head: SmallVec::from_slice(head), tail }
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// The bytes from `at` on, `length` of them.
    pub(super) fn append_to(&self, out: &mut Vec<u8>, at: usize, length: usize) {
        let split = self.head.len();
        let end = at + length;
        out.extend_from_slice(&self.head[at.min(split)..end.min(split)]);
        out.extend_from_slice(&self.tail.as_slice()[at.saturating_sub(split)..end.saturating_sub(split)]);
    }

    /// All of it in one piece.
    pub fn into_vec(self) -> Vec<u8> {
        let mut bytes = self.head.into_vec();
        bytes.extend_from_slice(self.tail.as_slice());
        bytes
    }
}

impl From<Vec<u8>> for Outbound {
    fn from(bytes: Vec<u8>) -> Self {
        Self { head: SmallVec::from_vec(bytes), tail: Payload::default() }
    }
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node.
    Dialed,
    /// The peer.
    Accepted,
}

/// Times and limits of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// What this node takes; the grants are the windows of flow control.
    pub limits: Limits,
    /// How long an association lives without a connection, and messages wait for the first one.
    pub grace_ns: u64,
    /// How long a connection may take to become the live one.
    pub handshake_ns: u64,
    /// How long the driver may take to make a connection.
    pub dial_ns: u64,
    /// The pause after a first failed attempt; it doubles with each further one.
    pub backoff_min_ns: u64,
    /// Its bound; a connection that lived longer than this ends the doubling.
    pub backoff_max_ns: u64,
    /// A peer that was silent for so long is asked whether it is there.
    pub ping_after_ns: u64,
    /// A connection on which the peer was silent for so long is dropped.
    pub silence_max_ns: u64,
    /// What arrived is acknowledged after at most this.
    pub ack_delay_ns: u64,
    /// So many bytes are acknowledged at once.
    pub ack_bytes: u64,
    /// So many frames are acknowledged at once.
    pub ack_frames: u64,
    /// Frames that may be unacknowledged; beyond that messages wait uncut.
    pub sent_frames_max: usize,
    /// Bytes of messages in unacknowledged frames; beyond that messages wait uncut.
    pub sent_bytes_max: usize,
    /// Bytes accepted and not acknowledged at which [`SessionEffect::Full`] asks to hold senders back. At four times
    /// this a message is refused.
    pub held_bytes_max: u64,
    /// One write is ended when it has so many bytes; a frame is not cut for it, so that it is up to a frame longer.
    pub write_bytes: usize,
    /// Connections of each origin, beside the live one, that may be on their way to become it. Beyond that the oldest is
    /// closed.
    pub handshakes_max: usize,
}

impl SessionConfig {
    /// Bytes accepted and not acknowledged at which a message is refused.
    pub fn held_bytes_limit(&self) -> u64 {
        self.held_bytes_max.saturating_mul(4)
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        const MS: u64 = 1_000_000;
        Self {
            limits: Limits { message_bytes_max: 2 << 20, small_window_bytes: 2 << 20, large_window_bytes: 8 << 20 },
            grace_ns: 30_000 * MS,
            handshake_ns: 10_000 * MS,
            dial_ns: 10_000 * MS,
            backoff_min_ns: 50 * MS,
            backoff_max_ns: 5_000 * MS,
            ping_after_ns: 5_000 * MS,
            silence_max_ns: 15_000 * MS,
            ack_delay_ns: 10 * MS,
            ack_bytes: 256 << 10,
            ack_frames: 256,
            sent_frames_max: 1 << 14,
            sent_bytes_max: 4 << 20,
            held_bytes_max: 8 << 20,
            // With one more frame it still fits into one segment of a loopback interface, 65,483 bytes. What a write leaves
            // over becomes a segment of its own, and slows a fast connection down to a quarter.
            write_bytes: 44 << 10,
            handshakes_max: 4,
        }
    }
}

/// What a session wants done or has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// Make a connection to the peer; answered by `connected` or `dial_failed`.
    Dial(DialId),
    /// Write all of this; answered by `written`. There is one such write for a connection at a time.
    Write {
        /// Where.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close a connection; the session has forgotten it, and what still comes from it is not read.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
        /// What may still be written before, behind what is being written.
        last: Vec<u8>,
    },
    /// An association is open.
    Up {
        /// Its number.
        association: Association,
        /// The life of the peer that it is with.
        incarnation: Incarnation,
    },
    /// A message has arrived. When it lies in its mailbox, `consumed` gives the credit back.
    Deliver {
        /// The message.
        bytes: Vec<u8>,
        /// What it holds of the peer's grant.
        credit: Credit,
    },
    /// An association has ended, or (`None`) none came about in time. Once for each that was up.
    Ended {
        /// Its number.
        association: Option<Association>,
        /// Why.
        reason: EndReason,
        /// What was accepted for it and not acknowledged, in the order accepted.
        unconfirmed: Vec<Unconfirmed>,
    },
    /// The peer takes no messages so long as these; they waited for its first hello and were not sent.
    Refused {
        /// They.
        messages: Vec<Unconfirmed>,
        /// What it takes.
        limit_bytes: u32,
    },
    /// Hold back who sends to this peer.
    Full,
    /// Let them go on.
    Drained,
}

/// What a delivered message holds of what was granted to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    pub(super) association: Association,
    pub(super) large: bool,
    pub(super) charge: u64,
}

/// A message that is not known to have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Who sent it; `None` is the node itself.
    pub from: Option<Pid>,
    /// The message.
    pub bytes: Vec<u8>,
    /// Whether it may have arrived all the same: a part of it was given to a connection.
    pub maybe_delivered: bool,
}

/// Why an association ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// There was no connection for the grace time.
    GraceOver,
    /// No association came about within the grace time.
    Unreachable,
    /// The peer has begun another life.
    PeerRestarted {
        /// That life.
        incarnation: Incarnation,
    },
    /// The peer has ended it, or does not know it any more.
    PeerEnded,
    /// The peer broke the protocol.
    Violation(Violation),
    /// This node ended it.
    EndedHere(EndCause),
}

/// Why this node ends an association itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The peer has said that it leaves.
    PeerLeft,
    /// Membership holds the peer to be down.
    PeerDown,
    /// The peer has begun another life.
    PeerRestarted,
    /// The peer has said what it may not.
    PeerMisbehaved,
    /// More waits for the peer than can be kept, and it cannot be left out.
    Overfull,
    /// Something is longer than the peer takes, and it cannot be left out.
    TooLong,
    /// Someone wanted it.
    Asked,
    /// This node leaves.
    Leaving,
}

/// Why the session closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection is the live one now.
    Superseded,
    /// The live one is as good.
    Redundant,
    /// It did not become the live one in time.
    HandshakeTimeout,
    /// The peer was silent.
    Silent,
    /// Too many connections were on their way to become the live one.
    TooMany,
    /// What the peer decided on it is out of date.
    Stale,
    /// Its association has ended.
    AssociationEnded,
    /// The peer broke the protocol.
    Violation(Violation),
}

/// How a peer can break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The bytes are no frames.
    Frame(FrameError),
    /// Another node speaks than the connection leads to.
    WrongNode {
        /// It.
        found: NodeId,
    },
    /// Another node is meant than this.
    NotMeant {
        /// That one.
        found: NodeId,
    },
    /// The peer speaks from a life that is over.
    OldIncarnation {
        /// That life.
        found: Incarnation,
    },
    /// A frame came where it has no place.
    Unexpected,
    /// A frame is missing.
    Gap {
        /// The next one.
        expected: FrameNumber,
        /// What came.
        found: FrameNumber,
    },
    /// It acknowledges what was never sent.
    AcknowledgedUnsent {
        /// What it acknowledges.
        received: FrameNumber,
    },
    /// It sends more than was granted.
    BeyondGrant,
    /// A message is longer than this node takes.
    TooLong,
    /// A part belongs to no message, or to two.
    Lane(Lane),
    /// The parts of a message are not as long as it.
    PartLength,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "{error}"),
            Self::WrongNode { found } => write!(f, "node {found} is at the other end"),
            Self::NotMeant { found } => write!(f, "the peer means node {found}"),
            Self::OldIncarnation { found } => {
                write!(
                    f,
                    "the peer speaks from its incarnation {}, and a later one is known: it was started from an old copy of its \
                     directory, or twice; stop it, write the later number into `incarnation` there, and start it again",
                    found.0
                )
            }
            Self::Unexpected => f.write_str("a frame has no place here"),
            Self::Gap { expected, found } => write!(f, "frame {} came in place of {}", found.0, expected.0),
            Self::AcknowledgedUnsent { received } => write!(f, "frame {} was acknowledged and never sent", received.0),
            Self::BeyondGrant => f.write_str("the peer sends more than it was granted"),
            Self::TooLong => f.write_str("a message is longer than this node takes"),
            Self::Lane(lane) => write!(f, "lane {} has no message, or has one already", lane.0),
            Self::PartLength => f.write_str("the parts of a message are not as long as it"),
        }
    }
}

impl core::error::Error for Violation {}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GraceOver => f.write_str("it had no connection for the grace time"),
            Self::Unreachable => f.write_str("the node could not be reached within the grace time"),
            Self::PeerRestarted { incarnation } => write!(f, "the node has begun incarnation {}", incarnation.0),
            Self::PeerEnded => f.write_str("the node has ended it, or does not know it any more"),
            Self::Violation(violation) => write!(f, "the node broke the protocol: {violation}"),
            Self::EndedHere(cause) => f.write_str(match cause {
                EndCause::PeerLeft => "the node has left",
                EndCause::PeerDown => "the node did not answer, and is held to be down",
                EndCause::PeerRestarted => "the node has begun another life",
                EndCause::PeerMisbehaved => "the node broke the protocol",
                EndCause::Overfull => "more waited for the node than can be kept",
                EndCause::TooLong => "something that someone waits for is longer than the node takes",
                EndCause::Asked => "someone ended it here",
                EndCause::Leaving => "this node leaves",
            }),
        }
    }
}

/// Why a message was not accepted. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The peer takes no message so long.
    TooLong {
        /// The message.
        bytes: Vec<u8>,
        /// What it takes.
        limit_bytes: u32,
    },
    /// Its senders went on long after they should have been held back.
    Full {
        /// The message.
        bytes: Vec<u8>,
    },
}

/// How a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionInfo {
    /// The association that is open.
    pub association: Option<Association>,
    /// The live connection.
    pub live: Option<ConnectionId>,
    /// Connections on their way to become the live one.
    pub handshakes: usize,
    /// Messages accepted and not acknowledged.
    pub held_messages: usize,
    /// What they cost.
    pub held_bytes: u64,
    /// Frames sent and not acknowledged.
    pub sent_frames: usize,
    /// Bytes of messages in them.
    pub sent_bytes: usize,
    /// Whether senders are held back.
    pub full: bool,
    /// Frames received in order.
    pub received_frames: u64,
    /// Messages unfinished, or delivered and not consumed, as they are charged.
    pub unconsumed_bytes: u64,
    /// Associations that were opened.
    pub opened: u64,
    /// Messages that were given back unconfirmed.
    pub unconfirmed: u64,
}
