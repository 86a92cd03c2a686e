//! Envelopes: what is in flight between two processes.
//!
//! Invariant: an envelope is complete by itself. Whoever holds one can route it, count it, refuse it
//! and answer its sender without asking anyone.

use alloc::vec::Vec;

use crate::id::{Pid, Ref};
use crate::schema::SchemaHash;

/// What kind of thing an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Class {
    /// A plain message. Its ref, if any, is that of the one `ReplyTo` inside.
    Message = 0,
    /// A request to a server that wants no answer.
    Cast = 1,
    /// A request that wants an answer under its ref.
    Call = 2,
    /// An answer.
    Reply = 3,
    /// Something the runtime says: a monitor fired, a linked process ended.
    Notice = 4,
    /// A message to a channel of the receiver, which its ref names.
    Port = 5,
}

impl Class {
    /// The class with this number, if there is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        let all = [Self::Message, Self::Cast, Self::Call, Self::Reply, Self::Notice, Self::Port];
        all.into_iter().find(|c| *c as u32 == raw)
    }
}

/// The number of a trace that a message belongs to; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TraceId(pub u64);

/// The fencing number of a process's present owner: each change of owner makes it larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Epoch(pub u32);

/// A schema as this node numbers it. Never on the wire: there a [`SchemaHash`] stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SchemaId(pub u32);

/// Something that travels beside a payload because it is large or counted: the payload holds its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A process image, by the hash of its content.
    Image([u8; 32]),
    /// A module version, by the hash of its artifact.
    Code([u8; 32]),
    /// The sending or receiving end of a channel.
    Port(Pid, Ref),
}

/// What travels beside one payload; `None` is nothing, so that the usual envelope stays small.
pub type Attachments = Option<alloc::boxed::Box<[Attachment]>>;

/// One message in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What kind of thing it is.
    pub class: Class,
    /// Who sent it; a notice comes from the process that it is about.
    pub from: Pid,
    /// Who is to have it.
    pub to: Pid,
    /// The owner epoch of the sender when it was committed.
    pub epoch: Epoch,
    /// See [`Class`].
    pub reference: Ref,
    /// The schema that the payload was written with.
    pub schema: SchemaId,
    /// The trace it belongs to.
    pub trace: TraceId,
    /// The encoded value.
    pub payload: Payload,
    /// What travels beside the payload; nearly always nothing.
    pub attachments: Attachments,
}

impl Envelope {
    /// Whether its sender can wait for an answer to it.
    pub fn wants_answer(&self) -> bool {
        self.reference.is_some() && matches!(self.class, Class::Call | Class::Message)
    }
}

/// Bytes of an encoded value; up to [`Payload::INLINE`] of them are held in place.
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; Payload::INLINE]),
    Heap(alloc::boxed::Box<[u8]>),
    /// What stands behind the first bytes of something longer.
    Tail(Vec<u8>, u32),
}

impl Payload {
    /// Payloads up to this many bytes need no allocation.
    pub const INLINE: usize = 46;
    /// Bytes that a payload may keep beside its own.
    const HEAD_MAX: usize = 256;

    /// A copy of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= Self::INLINE {
            let mut inline = [0; Self::INLINE];
            inline[..bytes.len()].copy_from_slice(bytes);
            Self(Repr::Inline(bytes.len() as u8, inline))
        } else {
            Self(Repr::Heap(bytes.into()))
        }
    }

    /// What of `bytes` stands behind the first `at`, without a copy unless it is small or what stands before it is long.
    pub fn tail(bytes: Vec<u8>, at: usize) -> Self {
        let length = bytes.len().saturating_sub(at);
        if length <= Self::INLINE || at > Self::HEAD_MAX || bytes.capacity() > bytes.len() + Self::HEAD_MAX {
            return Self::new(bytes.get(at..).unwrap_or_default());
        }
        Self(Repr::Tail(bytes, at as u32))
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
            Repr::Tail(bytes, at) => &bytes[*at as usize..],
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= Self::INLINE { Self::new(&bytes) } else { Self(Repr::Heap(bytes.into())) }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Payload {}

impl core::fmt::Debug for Payload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Payload({} B)", self.len())
    }
}

/// The twin of [`SchemaId`] that crosses nodes.
pub type WireSchema = SchemaHash;
