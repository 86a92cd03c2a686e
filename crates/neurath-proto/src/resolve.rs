//! Resolution: how a value that was written with one schema is read with another (guarantee G7).
//!
//! Writer and reader meet by name, as in Avro. Everything written must exist in the reader, and what the
//! reader has beyond that must have a default:
//!
//! | writer | reader | |
//! |---|---|---|
//! | a named type | one of the same name and kind | by its fields or variants |
//! | fields with names | fields with names, in any order | a field that only the reader has needs a default |
//! | fields without names, tuples | as many | by position |
//! | an enum | an enum | by the variants' names; see below |
//! | an integer | a wider one, or the same | `u32` into `i64` too, since nothing is lost |
//! | `f32` | `f64` | |
//! | `T` | `Option<U>` | as `Some` |
//! | `ReplyTo<A>` | `ReplyTo<B>` | the answer flows back: `B` must resolve to `A` |
//! | containers | of the same kind | by what they hold |
//!
//! A variant that only the writer has is no obstacle as long as it is not used: a new client talks to an
//! old server. [`Resolution::partial`] lists such variants; a value that uses one is refused. A state must
//! convert as a whole: for it they are refused at once.
//!
//! This module decides and converts. It never knows who asks: the plan of an upgrade, a mailbox, a call.
//!
//! Invariant: a resolution is total on hostile bytes, in bounded time and memory: it converts or refuses.

mod build;
mod convert;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem::discriminant;

use crate::data::Reader;
use crate::schema::{Schema, Type};
use build::Purpose;
use convert::Refusal;

/// Why a value cannot be read, with names and the path of the first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The type that was written.
    pub writer: String,
    /// The type that was to read it.
    pub reader: String,
    /// Where they first differ, from the root: `Order.lines[].price`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, reader, path, message } = self;
        write!(f, "`{writer}` cannot be read as `{reader}`: at {path}: {message}")
    }
}

impl core::error::Error for Mismatch {}

/// How values of one schema become values of another. Made once for a pair, then applied to each value.
#[derive(Clone, Debug)]
pub struct Resolution {
    nodes: Vec<Node>,
    root: NodeId,
    writer: String,
    reader: String,
    partial: Vec<String>,
}

impl Resolution {
    /// A converted value may have this many bytes.
    pub const OUTPUT_MAX: usize = 1 << 26;
    /// At most this many variants are listed by [`Resolution::partial`].
    pub const PARTIAL_MAX: usize = 256;

    /// How values of `writer` become values of `reader`.
    ///
    /// # Errors
    /// They cannot.
    pub fn new(writer: &Schema, reader: &Schema) -> Result<Self, Mismatch> {
        Self::build(writer, reader, Purpose::Message)
    }

    /// The same for a state, which must convert as a whole: a variant that the reader lacks is refused,
    /// whether it is used or not. (Answers that a state waits for are like messages.)
    ///
    /// # Errors
    /// It would lose something, or cannot be converted at all.
    pub fn for_state(writer: &Schema, reader: &Schema) -> Result<Self, Mismatch> {
        Self::build(writer, reader, Purpose::State)
    }

    /// Whether the writer's bytes can be used as they are.
    #[inline]
    pub fn is_identity(&self) -> bool {
        self.nodes[self.root as usize].identity
    }

    /// The paths of the writer's variants that the reader lacks: values that use them are refused.
    pub fn partial(&self) -> &[String] {
        &self.partial
    }

    /// The reader's bytes for the value that is `bytes` for the writer. Where
    /// [`Resolution::is_identity`] holds this only checks them.
    ///
    /// # Errors
    /// The bytes are not a value of the writer, or one that the reader cannot hold.
    pub fn apply(&self, bytes: &[u8]) -> Result<Vec<u8>, Mismatch> {
        let mut reader = Reader::new(bytes);
        let mut out = Vec::with_capacity(bytes.len() + 16);
        self.convert(self.root, &mut reader, Some(&mut out), 0)
            .and_then(|()| reader.finish().map_err(Refusal::from))
            .map_err(|refusal| self.mismatch(refusal))?;
        Ok(out)
    }

    fn mismatch(&self, refusal: Refusal) -> Mismatch {
        let (path, message) = refusal.into_parts(&self.writer);
        Mismatch { writer: self.writer.clone(), reader: self.reader.clone(), path: shortened(&path), message }
    }
}

/// Whether a value of `writer` is meant for `reader` at all: named types are told apart by their names,
/// others by their structure. If so, a mismatch is an error; if not, it is another message.
pub fn same_name(writer: &Schema, reader: &Schema) -> bool {
    fn same(writer: &Schema, w: &Type, reader: &Schema, r: &Type) -> bool {
        let inner = |w, r| same(writer, w, reader, r);
        match (w, r) {
            (Type::Named(w), Type::Named(r)) => match (writer.def(*w), reader.def(*r)) {
                (Some(w), Some(r)) => w.name == r.name,
                _ => false,
            },
            (Type::Option(w), Type::Option(r)) | (Type::Seq(w), Type::Seq(r)) => inner(w, r),
            (Type::Map(wk, wv), Type::Map(rk, rv)) => inner(wk, rk) && inner(wv, rv),
            (Type::Tuple(w), Type::Tuple(r)) => w.len() == r.len() && w.iter().zip(r).all(|(w, r)| inner(w, r)),
            (Type::Array(w, _), Type::Array(r, _)) => inner(w, r),
            (Type::Opaque(w), Type::Opaque(r)) => discriminant(w) == discriminant(r),
            _ => discriminant(w) == discriminant(r),
        }
    }
    same(writer, &writer.root, reader, &reader.root)
}

/// Index of a node.
type NodeId = u32;

#[derive(Clone, Debug)]
struct Node {
    step: Step,
    /// The writer's bytes are the reader's.
    identity: bool,
}

/// What is done with one value.
#[derive(Clone, Debug)]
enum Step {
    /// A value that holds no other is copied.
    Copy(Type),
    /// An integer of this type becomes a varint, zigzag or not.
    Widen {
        from: Type,
        signed: bool,
    },
    /// An `f32` becomes an `f64`.
    WidenFloat,
    /// The value becomes `Some` of it.
    Wrap(NodeId),
    Option(NodeId),
    Seq(NodeId),
    Map(NodeId, NodeId),
    Array(NodeId, u32),
    Struct(Plan),
    /// By the writer's index; the reader's index comes with the plan.
    Enum(Vec<WriterVariant>),
}

/// What is done with a variant of the writer.
#[derive(Clone, Debug)]
struct WriterVariant {
    name: Box<str>,
    /// The reader's index of it, and its fields; `None` if the reader lacks it.
    known: Option<(u32, Plan)>,
}

/// What is done with the fields of a struct or variant.
#[derive(Clone, Debug, Default)]
struct Plan {
    /// In the writer's order, each with its step in a path.
    written: Vec<(Box<str>, NodeId)>,
    /// In the reader's order.
    parts: Vec<Part>,
    /// The written ones among the parts come in the writer's order.
    in_order: bool,
}

#[derive(Clone, Debug)]
enum Part {
    /// The writer's field of this index.
    Written(usize),
    /// The reader's default.
    Default(Box<[u8]>),
}

impl Step {
    /// The nodes below.
    fn children(&self, visit: &mut impl FnMut(NodeId)) {
        match self {
            Self::Copy(_) | Self::Widen { .. } | Self::WidenFloat => {}
            Self::Wrap(node) | Self::Option(node) | Self::Seq(node) | Self::Array(node, _) => visit(*node),
            Self::Map(key, value) => {
                visit(*key);
                visit(*value);
            }
            Self::Struct(plan) => plan.written.iter().for_each(|(_, node)| visit(*node)),
            Self::Enum(variants) => {
                for (_, plan) in variants.iter().filter_map(|variant| variant.known.as_ref()) {
                    plan.written.iter().for_each(|(_, node)| visit(*node));
                }
            }
        }
    }

    /// Whether bytes stay the same here, if they do below.
    fn is_plain(&self) -> bool {
        match self {
            Self::Copy(_) | Self::Option(_) | Self::Seq(_) | Self::Map(..) | Self::Array(..) => true,
            Self::Widen { .. } | Self::WidenFloat | Self::Wrap(_) => false,
            Self::Struct(plan) => plan.is_plain(),
            Self::Enum(variants) => (0..).zip(variants).all(|(index, variant)| match &variant.known {
                Some((reader_index, plan)) => *reader_index == index && plan.is_plain(),
                None => false,
            }),
        }
    }
}

impl Plan {
    fn is_plain(&self) -> bool {
        self.in_order && self.parts.len() == self.written.len()
    }
}

/// A path for people: its end is cut if it is monstrous.
fn shortened(path: &str) -> String {
    const CHARS_MAX: usize = 512;
    let mut short: String = path.chars().take(CHARS_MAX).collect();
    if short.len() < path.len() {
        short.push('…');
    }
    short
}
