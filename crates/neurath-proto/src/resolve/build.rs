//! Comparing two schemas, once.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Mismatch, Node, NodeId, Part, Plan, Resolution, Step, WriterVariant, shortened};
use crate::schema::{DefKind, Field, Fields, Opaque, Schema, Type, Variant};

/// What the values are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Message,
    State,
}

impl Resolution {
    pub(super) fn build(writer: &Schema, reader: &Schema, purpose: Purpose) -> Result<Self, Mismatch> {
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
            return Err(Refused(format!("`{}` is written, and `{}` is read: names must agree", w.name, r.name)));
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
            // What is sent through it is written by the reader of the port.
            (Opaque::SendPort(w), Opaque::SendPort(r)) => {
                let Sides { writer, reader, flipped } = sides;
                let back = Sides { writer: reader, reader: writer, flipped: !flipped };
                self.at("(sent)", |this| this.resolve(back, r, w, depth)).map(drop)
            }
            (Opaque::Closure(w), Opaque::Closure(r)) | (Opaque::ReceivePort(w), Opaque::ReceivePort(r))
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
                None if this.purpose == Purpose::State && !sides.flipped => {
                    Err(Refused(format!("variant `{}` of the old state is unknown to the new one", variant.name)))
                }
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
            let are = if w.len() == 1 { "value without a name is" } else { "values without names are" };
            return Err(Refused(format!("{} {are} written, and {} read", w.len(), r.len())));
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
            format!("field `{name}` of the old state would be lost")
        } else {
            format!("field `{name}` is written, and its reader has no such field")
        }
    }

    fn missing(&self, sides: Sides<'_>, name: &str) -> String {
        if self.purpose == Purpose::State && !sides.flipped {
            format!("field `{name}` has no default, and the old state has no such field")
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
