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

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::mem::discriminant;

use crate::data::{Data, DecodeError, DecodeFault, Reader, put_varint, put_varint_u128, zigzag_u128};
use crate::schema::{DefKind, Field, Fields, NO_VARIANT, Opaque, Schema, Type, VALUE_DEPTH_MAX, Variant, skip_leaf};

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
            .map_err(|refusal| self.mismatch(*refusal.0))?;
        Ok(out)
    }

    fn mismatch(&self, refusal: Inner) -> Mismatch {
        let mut path = self.writer.clone();
        for step in refusal.path.iter().rev() {
            path.push_str(step);
        }
        Mismatch {
            writer: self.writer.clone(),
            reader: self.reader.clone(),
            path: shortened(&path),
            message: refusal.message,
        }
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

impl WriterVariant {
    #[cold]
    fn below(&self, refusal: Refusal) -> Refusal {
        refusal.below(&format!(".{}", self.name))
    }

    #[cold]
    fn unknown(&self) -> Refusal {
        self.below(Refusal::new(format!("the reader does not know variant `{}`", self.name)))
    }
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Message,
    State,
}

impl Resolution {
    fn build(writer: &Schema, reader: &Schema, purpose: Purpose) -> Result<Self, Mismatch> {
        let (writer_name, reader_name) = (writer.name(), reader.name());
        let mut builder = Builder {
            purpose,
            nodes: Vec::new(),
            known: BTreeMap::new(),
            path: writer_name.clone(),
            partial: Vec::new(),
            effort_left: Builder::EFFORT_MAX,
        };
        match builder.resolve(Sides { writer, reader, flipped: false }, &writer.root, &reader.root, 0) {
            Ok(root) => {
                let Builder { mut nodes, partial, .. } = builder;
                mark_identities(&mut nodes);
                Ok(Self { nodes, root, writer: writer_name, reader: reader_name, partial })
            }
            Err(Refused(message)) => {
                Err(Mismatch { writer: writer_name, reader: reader_name, path: shortened(&builder.path), message })
            }
        }
    }
}

/// A node is an identity if it and all below it are plain. Recursive ones hold each other up, so this
/// starts from those that are not, and takes it from all above them.
fn mark_identities(nodes: &mut [Node]) {
    let mut above: Vec<Vec<NodeId>> = alloc::vec![Vec::new(); nodes.len()];
    let mut changed = Vec::new();
    for (index, node) in nodes.iter_mut().enumerate() {
        node.identity = node.step.is_plain();
        if !node.identity {
            changed.push(index as NodeId);
        }
        node.step.children(&mut |child| above[child as usize].push(index as NodeId));
    }
    while let Some(index) = changed.pop() {
        for parent in &above[index as usize] {
            if core::mem::replace(&mut nodes[*parent as usize].identity, false) {
                changed.push(*parent);
            }
        }
    }
}

/// The two schemas at one point. Behind a `ReplyTo` they change sides.
#[derive(Clone, Copy)]
struct Sides<'s> {
    writer: &'s Schema,
    reader: &'s Schema,
    flipped: bool,
}

/// Why construction ended; the builder's path says where.
struct Refused(String);

struct Builder {
    purpose: Purpose,
    nodes: Vec<Node>,
    /// Pairs of named types that are done or under way: what ends recursion.
    known: BTreeMap<(bool, u32, u32), NodeId>,
    path: String,
    partial: Vec<String>,
    /// Bounds the time and memory that two schemas can ask for.
    effort_left: usize,
}

impl Builder {
    const EFFORT_MAX: usize = 1 << 18;
    /// Types may lie this deep in each other before a named type is met again.
    const DEPTH_MAX: usize = 192;

    fn resolve(&mut self, sides: Sides<'_>, w: &Type, r: &Type, depth: usize) -> Result<NodeId, Refused> {
        if depth >= Self::DEPTH_MAX {
            return Err(Refused("types are nested too deep to be compared".into()));
        }
        self.spend()?;
        let depth = depth + 1;
        let step = match (w, r) {
            (Type::Named(wi), Type::Named(ri)) => return self.resolve_named(sides, *wi, *ri, depth),
            (Type::Opaque(w), Type::Opaque(r)) => {
                self.resolve_opaque(sides, w, r, depth)?;
                Step::Copy(Type::Opaque(w.clone()))
            }
            (Type::Tuple(w), Type::Tuple(r)) => Step::Struct(self.resolve_elements(sides, w, r, depth)?),
            (Type::Unit, Type::Tuple(none)) | (Type::Tuple(none), Type::Unit) if none.is_empty() => {
                Step::Copy(Type::Unit)
            }
            (Type::Option(w), Type::Option(r)) => Step::Option(self.resolve(sides, w, r, depth)?),
            (w, Type::Option(r)) => Step::Wrap(self.resolve(sides, w, r, depth)?),
            (Type::Seq(item), Type::Bytes) | (Type::Bytes, Type::Seq(item)) if **item == Type::U8 => {
                Step::Copy(Type::Bytes)
            }
            (Type::Seq(w), Type::Seq(r)) => Step::Seq(self.at("[]", |this| this.resolve(sides, w, r, depth))?),
            (Type::Bytes, Type::Seq(r)) => Step::Seq(self.at("[]", |this| this.resolve(sides, &Type::U8, r, depth))?),
            (Type::Seq(w), Type::Bytes) => Step::Seq(self.at("[]", |this| this.resolve(sides, w, &Type::U8, depth))?),
            (Type::Array(w, wn), Type::Array(r, rn)) if wn == rn => {
                Step::Array(self.at("[]", |this| this.resolve(sides, w, r, depth))?, *wn)
            }
            (Type::Map(wk, wv), Type::Map(rk, rv)) => {
                let key = self.at("[key]", |this| this.resolve(sides, wk, rk, depth))?;
                Step::Map(key, self.at("[]", |this| this.resolve(sides, wv, rv, depth))?)
            }
            (Type::F32, Type::F64) => Step::WidenFloat,
            (w, r) => resolve_leaf(w, r).ok_or_else(|| refused_types(sides, w, r))?,
        };
        Ok(self.add(step))
    }

    fn resolve_named(&mut self, sides: Sides<'_>, wi: u32, ri: u32, depth: usize) -> Result<NodeId, Refused> {
        if let Some(node) = self.known.get(&(sides.flipped, wi, ri)) {
            return Ok(*node);
        }
        let (Some(w), Some(r)) = (sides.writer.def(wi), sides.reader.def(ri)) else {
            return Err(Refused("the schema lacks one of its types".into()));
        };
        if w.name != r.name {
            return Err(Refused(format!("it is a `{}`, and a `{}` is read: names must agree", w.name, r.name)));
        }
        // The place is taken first: what lies below may lead back here.
        let node = self.add(Step::Copy(Type::Unit));
        self.known.insert((sides.flipped, wi, ri), node);
        let step = match (&w.kind, &r.kind) {
            (DefKind::Struct(w), DefKind::Struct(r)) => Step::Struct(self.resolve_fields(sides, w, r, depth)?),
            (DefKind::Enum(w), DefKind::Enum(r)) => Step::Enum(self.resolve_variants(sides, w, r, depth)?),
            (DefKind::Struct(_), DefKind::Enum(_)) => {
                return Err(Refused(format!("`{}` is written as a struct, and read as an enum", w.name)));
            }
            (DefKind::Enum(_), DefKind::Struct(_)) => {
                return Err(Refused(format!("`{}` is written as an enum, and read as a struct", w.name)));
            }
        };
        self.nodes[node as usize].step = step;
        Ok(node)
    }

    fn resolve_opaque(&mut self, sides: Sides<'_>, w: &Opaque, r: &Opaque, depth: usize) -> Result<(), Refused> {
        match (w, r) {
            (Opaque::ReplyTo(w), Opaque::ReplyTo(r)) => {
                let Sides { writer, reader, flipped } = sides;
                let back = Sides { writer: reader, reader: writer, flipped: !flipped };
                self.at("(answer)", |this| this.resolve(back, r, w, depth)).map(drop)
            }
            (Opaque::Closure(w), Opaque::Closure(r))
            | (Opaque::SendPort(w), Opaque::SendPort(r))
            | (Opaque::ReceivePort(w), Opaque::ReceivePort(r))
                if sides.writer.type_name(w).to_string() == sides.reader.type_name(r).to_string() =>
            {
                Ok(())
            }
            (w, r) if w == r => Ok(()),
            (w, r) => Err(refused_types(sides, &Type::Opaque(w.clone()), &Type::Opaque(r.clone()))),
        }
    }

    fn resolve_variants(
        &mut self,
        sides: Sides<'_>,
        w: &[Variant],
        r: &[Variant],
        depth: usize,
    ) -> Result<Vec<WriterVariant>, Refused> {
        let by_name: BTreeMap<&str, (u32, &Fields)> =
            (0..).zip(r).map(|(index, variant)| (variant.name.as_str(), (index, &variant.fields))).collect();
        if !w.is_empty() && !w.iter().any(|variant| by_name.contains_key(variant.name.as_str())) {
            return Err(Refused("they have no variant in common".into()));
        }
        let mut steps = Vec::with_capacity(w.len());
        for variant in w {
            self.spend()?;
            let known = self.at_name(&variant.name, |this| match by_name.get(variant.name.as_str()) {
                Some((index, fields)) => {
                    Ok(Some((*index, this.resolve_fields(sides, &variant.fields, fields, depth)?)))
                }
                None if this.purpose == Purpose::State && !sides.flipped => Err(Refused(format!(
                    "variant `{}` of the old state is unknown to the new one: write a converter",
                    variant.name
                ))),
                None => {
                    if this.partial.len() < Resolution::PARTIAL_MAX {
                        this.partial.push(shortened(&this.path));
                    }
                    Ok(None)
                }
            })?;
            steps.push(WriterVariant { name: variant.name.as_str().into(), known });
        }
        Ok(steps)
    }

    fn resolve_fields(&mut self, sides: Sides<'_>, w: &Fields, r: &Fields, depth: usize) -> Result<Plan, Refused> {
        match (w, r) {
            (Fields::Tuple(w), r @ (Fields::Tuple(_) | Fields::Unit)) => {
                self.resolve_elements(sides, w, elements(r), depth)
            }
            (Fields::Unit, Fields::Tuple(r)) => self.resolve_elements(sides, &[], r, depth),
            (Fields::Tuple(w), Fields::Named(_)) if !w.is_empty() => {
                Err(Refused("its fields are written without names, and read by name".into()))
            }
            (Fields::Named(_), Fields::Tuple(r)) if !r.is_empty() => {
                Err(Refused("its fields are written with names, and read by position".into()))
            }
            (w, r) => self.resolve_by_name(sides, named(w), named(r), depth),
        }
    }

    fn resolve_elements(&mut self, sides: Sides<'_>, w: &[Type], r: &[Type], depth: usize) -> Result<Plan, Refused> {
        if w.len() != r.len() {
            return Err(Refused(format!("{} values without names are written, and {} are read", w.len(), r.len())));
        }
        let mut plan = Plan { in_order: true, ..Plan::default() };
        for (index, (w_type, r_type)) in w.iter().zip(r).enumerate() {
            self.spend()?;
            let step = if w.len() == 1 { String::new() } else { format!(".{index}") };
            let node = self.at(&step, |this| this.resolve(sides, w_type, r_type, depth))?;
            plan.written.push((step.into(), node));
            plan.parts.push(Part::Written(index));
        }
        Ok(plan)
    }

    fn resolve_by_name(&mut self, sides: Sides<'_>, w: &[Field], r: &[Field], depth: usize) -> Result<Plan, Refused> {
        let readers: BTreeMap<&str, &Field> = r.iter().map(|field| (field.name.as_str(), field)).collect();
        let writers: BTreeMap<&str, usize> =
            w.iter().enumerate().map(|(index, field)| (field.name.as_str(), index)).collect();
        let mut plan = Plan { in_order: true, ..Plan::default() };
        for field in w {
            self.spend()?;
            let node = self.at_name(&field.name, |this| match readers.get(field.name.as_str()) {
                Some(reader) => this.resolve(sides, &field.ty, &reader.ty, depth),
                None => Err(Refused(this.lost(sides, &field.name))),
            })?;
            plan.written.push((format!(".{}", field.name).into(), node));
        }
        let mut next = 0;
        for field in r {
            self.spend()?;
            plan.parts.push(match (writers.get(field.name.as_str()), &field.default) {
                (Some(index), _) => {
                    plan.in_order &= *index == next;
                    next += 1;
                    Part::Written(*index)
                }
                (None, Some(default)) => Part::Default(default.as_slice().into()),
                (None, None) => {
                    return self.at_name(&field.name, |this| Err(Refused(this.missing(sides, &field.name))));
                }
            });
        }
        Ok(plan)
    }

    fn lost(&self, sides: Sides<'_>, name: &str) -> String {
        if self.purpose == Purpose::State && !sides.flipped {
            format!("field `{name}` of the old state would be lost: write a converter")
        } else {
            format!("field `{name}` is written, and its reader has no such field")
        }
    }

    fn missing(&self, sides: Sides<'_>, name: &str) -> String {
        if self.purpose == Purpose::State && !sides.flipped {
            format!("the old state has no field `{name}`: give it `#[neurath(default)]`, or write a converter")
        } else {
            format!("field `{name}` is not written, and has no default")
        }
    }

    fn add(&mut self, step: Step) -> NodeId {
        self.nodes.push(Node { step, identity: false });
        self.nodes.len() as NodeId - 1
    }

    fn spend(&mut self) -> Result<(), Refused> {
        self.effort_left =
            self.effort_left.checked_sub(1).ok_or_else(|| Refused("types are too large to be compared".into()))?;
        Ok(())
    }

    /// Does something one step further; the path stays there if it is refused.
    fn at<T>(&mut self, step: &str, inner: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        let before = self.path.len();
        self.path.push_str(step);
        let value = inner(self)?;
        self.path.truncate(before);
        Ok(value)
    }

    fn at_name<T>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        let before = self.path.len();
        self.path.push('.');
        self.path.push_str(name);
        let value = inner(self)?;
        self.path.truncate(before);
        Ok(value)
    }
}

fn elements(fields: &Fields) -> &[Type] {
    match fields {
        Fields::Tuple(elements) => elements,
        Fields::Unit | Fields::Named(_) => &[],
    }
}

fn named(fields: &Fields) -> &[Field] {
    match fields {
        Fields::Named(fields) => fields,
        Fields::Unit | Fields::Tuple(_) => &[],
    }
}

fn refused_types(sides: Sides<'_>, w: &Type, r: &Type) -> Refused {
    let (w_name, r_name) = (sides.writer.type_name(w), sides.reader.type_name(r));
    let mut message = format!("`{w_name}` cannot become `{r_name}`");
    if integer(w).is_some() && integer(r).is_some() {
        message.push_str(" without loss");
    }
    Refused(message)
}

/// Signedness and bits.
fn integer(ty: &Type) -> Option<(bool, u32)> {
    Some(match ty {
        Type::U8 => (false, 8),
        Type::U16 => (false, 16),
        Type::U32 => (false, 32),
        Type::U64 => (false, 64),
        Type::U128 => (false, 128),
        Type::I8 => (true, 8),
        Type::I16 => (true, 16),
        Type::I32 => (true, 32),
        Type::I64 => (true, 64),
        Type::I128 => (true, 128),
        _ => return None,
    })
}

fn resolve_leaf(w: &Type, r: &Type) -> Option<Step> {
    if let (Some((w_signed, w_bits)), Some((r_signed, r_bits))) = (integer(w), integer(r)) {
        return if w == r || (w_signed == r_signed && 8 < w_bits && w_bits < r_bits) {
            // Varints of one signedness have the same bytes, whatever the width.
            Some(Step::Copy(w.clone()))
        } else if w_bits < r_bits && (r_signed || !w_signed) {
            Some(Step::Widen { from: w.clone(), signed: r_signed })
        } else {
            None
        };
    }
    (w == r).then(|| Step::Copy(w.clone()))
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

/// Why one value was refused; the steps of its path are in reverse.
struct Refusal(Box<Inner>);

struct Inner {
    message: String,
    path: Vec<Box<str>>,
}

impl Refusal {
    #[cold]
    fn new(message: String) -> Self {
        Self(Box::new(Inner { message, path: Vec::new() }))
    }

    #[cold]
    fn below(mut self, step: &str) -> Self {
        self.0.path.push(step.into());
        self
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(error.to_string())
    }
}

impl Resolution {
    /// Converts one value. Without `out` it is only read.
    fn convert(
        &self,
        node: NodeId,
        reader: &mut Reader<'_>,
        mut out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        if depth >= VALUE_DEPTH_MAX {
            return Err(reader.fault(DecodeFault::TooDeep).into());
        }
        reader.spend()?;
        let node = &self.nodes[node as usize];
        if node.identity {
            let before = reader.left();
            self.convert_step(&node.step, reader, None, depth + 1)?;
            put(&before[..before.len() - reader.left().len()], &mut out)
        } else {
            self.convert_step(&node.step, reader, out, depth + 1)
        }
    }

    fn convert_step(
        &self,
        step: &Step,
        reader: &mut Reader<'_>,
        mut out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        match step {
            Step::Copy(_) | Step::Widen { .. } | Step::WidenFloat => convert_leaf(step, reader, out)?,
            Step::Wrap(some) => {
                put(&[1], &mut out)?;
                self.convert(*some, reader, out, depth)?;
            }
            Step::Option(some) => {
                let is_some = bool::decode(reader)?;
                put(&[u8::from(is_some)], &mut out)?;
                if is_some {
                    self.convert(*some, reader, out, depth)?;
                }
            }
            Step::Seq(item) => {
                let length = self.convert_length(reader, &mut out)?;
                for _ in 0..length {
                    self.convert(*item, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[]"))?;
                }
            }
            Step::Map(key, value) => {
                let length = self.convert_length(reader, &mut out)?;
                for _ in 0..length {
                    self.convert(*key, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[key]"))?;
                    self.convert(*value, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[]"))?;
                }
            }
            Step::Array(item, length) => {
                for _ in 0..*length {
                    self.convert(*item, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[]"))?;
                }
            }
            Step::Struct(plan) => self.convert_fields(plan, reader, out, depth)?,
            Step::Enum(variants) => {
                let index = u32::decode(reader)?;
                let variant = variants.get(index as usize).ok_or_else(|| Refusal::from(reader.fault(NO_VARIANT)))?;
                let Some((reader_index, plan)) = &variant.known else { return Err(variant.unknown()) };
                if let Some(out) = out.as_deref_mut() {
                    put_varint(u64::from(*reader_index), out);
                }
                if let Err(refusal) = self.convert_fields(plan, reader, out, depth) {
                    return Err(variant.below(refusal));
                }
            }
        }
        Ok(())
    }

    fn convert_field(
        &self,
        (step, node): &(Box<str>, NodeId),
        reader: &mut Reader<'_>,
        out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        match self.convert(*node, reader, out, depth) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(refusal.below(step)),
        }
    }

    fn convert_length(&self, reader: &mut Reader<'_>, out: &mut Option<&mut Vec<u8>>) -> Result<usize, Refusal> {
        let length = reader.length()?;
        if let Some(out) = out {
            put_varint(length as u64, out);
        }
        Ok(length)
    }

    fn convert_fields(
        &self,
        plan: &Plan,
        reader: &mut Reader<'_>,
        out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        let Some(out) = out else {
            for written in &plan.written {
                self.convert_field(written, reader, None, depth)?;
            }
            return Ok(());
        };
        if plan.in_order {
            for part in &plan.parts {
                match part {
                    Part::Written(index) => self.convert_field(&plan.written[*index], reader, Some(out), depth)?,
                    Part::Default(bytes) => put(bytes, &mut Some(out))?,
                }
            }
            return Ok(());
        }
        // Converted in the writer's order, then put into the reader's.
        let start = out.len();
        let mut ends = Vec::with_capacity(plan.written.len() + 1);
        ends.push(0);
        for written in &plan.written {
            self.convert_field(written, reader, Some(out), depth)?;
            ends.push(out.len() - start);
        }
        let converted = out.split_off(start);
        for part in &plan.parts {
            match part {
                Part::Written(index) => out.extend_from_slice(&converted[ends[*index]..ends[index + 1]]),
                Part::Default(bytes) => put(bytes, &mut Some(out))?,
            }
        }
        Ok(())
    }
}

/// Appends within the bound.
fn put(bytes: &[u8], out: &mut Option<&mut Vec<u8>>) -> Result<(), Refusal> {
    let Some(out) = out else { return Ok(()) };
    if out.len() + bytes.len() > Resolution::OUTPUT_MAX {
        let mut message = String::new();
        let _ = write!(message, "converted, the value is larger than {} bytes", Resolution::OUTPUT_MAX);
        return Err(Refusal::new(message));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// Out of the way of the recursion, so that its frames are small.
#[inline(never)]
fn convert_leaf(step: &Step, reader: &mut Reader<'_>, mut out: Option<&mut Vec<u8>>) -> Result<(), Refusal> {
    match step {
        Step::Copy(ty) => {
            // Always an identity: whoever asked copies.
            skip_leaf(ty, reader)?;
        }
        Step::Widen { from, signed } => {
            let value = match from {
                Type::U8 => i128::from(reader.byte()?),
                Type::I8 => i128::from(reader.byte()? as i8),
                Type::U16 => u16::decode(reader)?.into(),
                Type::U32 => u32::decode(reader)?.into(),
                _ => u64::decode(reader)?.into(),
            };
            if let Some(out) = out {
                put_varint_u128(if *signed { zigzag_u128(value) } else { value as u128 }, out);
            }
        }
        Step::WidenFloat => {
            let value = f64::from(f32::decode(reader)?);
            put(&value.to_le_bytes(), &mut out)?;
        }
        _ => unreachable!("it has others below"),
    }
    Ok(())
}
