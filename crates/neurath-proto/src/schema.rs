//! Schemas: the shapes of types, as data.
//!
//! Invariant: two types have the same [`SchemaHash`] exactly if they have the same names, shapes and
//! defaults; a value written with a schema can be walked with nothing but that schema.

mod canonical;
mod codec;
mod show;
mod walk;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::TypeId;

use crate::data::Data;

pub use codec::SchemaError;
pub(crate) use walk::{NO_VARIANT, VALUE_DEPTH_MAX, skip, skip_leaf};
#[cfg(feature = "json")]
pub(crate) use walk::{RESERVED, UNDEFINED};

/// The content hash of a schema: what stands for it on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SchemaHash(pub [u8; 16]);

/// The shape of a type, complete in itself.
///
/// [`Schema::of`] and [`Schema::decode`] give the canonical form, in which equal shapes are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The type that values have.
    pub root: Type,
    /// The named types in it; [`Type::Named`] is an index into this. Recursion goes through here.
    pub defs: Vec<Def>,
}

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `()`
    Unit,
    /// `bool`
    Bool,
    /// `u8`: one byte as it is.
    U8,
    /// `i8`: one byte as it is.
    I8,
    /// `u16`, and so on: postcard's varints; signed ones zigzag.
    U16,
    /// `u32`, and the `usize` of guests
    U32,
    /// `u64`, and the `usize` of hosts
    U64,
    /// `u128`
    U128,
    /// `i16`
    I16,
    /// `i32`, and the `isize` of guests
    I32,
    /// `i64`, and the `isize` of hosts
    I64,
    /// `i128`
    I128,
    /// `f32`: four bytes, little-endian.
    F32,
    /// `f64`: eight bytes, little-endian.
    F64,
    /// `char`: as a string of one character.
    Char,
    /// `String`
    String,
    /// `Vec<u8>` and byte slices: like a sequence of `u8`.
    Bytes,
    /// `Option<T>`
    Option(Box<Type>),
    /// `Vec<T>`, sets
    Seq(Box<Type>),
    /// Maps: keys in their order, those of a `HashMap` in the order of their bytes
    Map(Box<Type>, Box<Type>),
    /// Tuples
    Tuple(Vec<Type>),
    /// `[T; N]`
    Array(Box<Type>, u32),
    /// A struct or enum: index into [`Schema::defs`].
    Named(u32),
    /// Something whose inside is the runtime's business.
    Opaque(Opaque),
}

/// The kinds of values whose inside is the runtime's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// A pid: node, incarnation, serial.
    Pid,
    /// A ref.
    Ref,
    /// Where an answer of this type is to go: a pid and a ref.
    ReplyTo(Box<Type>),
    /// A closure with this environment: reserved.
    Closure(Box<Type>),
    /// A continuation: reserved.
    Continuation,
    /// The sending end of a channel of this type: a pid and a ref.
    SendPort(Box<Type>),
    /// The receiving end of a channel of this type: reserved.
    ReceivePort(Box<Type>),
}

/// A named type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Def {
    /// The type's own name, without a path: writer and reader are matched by it.
    pub name: String,
    /// What it is made of.
    pub kind: DefKind,
}

/// What a named type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefKind {
    /// A struct.
    Struct(Fields),
    /// An enum; a variant's index (varint `u32`) comes before its fields.
    Enum(Vec<Variant>),
}

/// The fields of a struct or a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields {
    /// None.
    Unit,
    /// By position.
    Tuple(Vec<Type>),
    /// By name.
    Named(Vec<Field>),
}

/// A field with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name: writer and reader are matched by it.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// The encoded value that a reader takes when the writer has no such field.
    pub default: Option<Vec<u8>>,
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name: writer and reader are matched by it.
    pub name: String,
    /// What it holds.
    pub fields: Fields,
}

impl Schema {
    /// An encoded schema may have this many bytes.
    pub const BYTES_MAX: usize = 1 << 16;
    /// A schema may name this many types.
    pub const DEFS_MAX: usize = 1024;
    /// Types without a name may lie this deep in each other.
    pub const DEPTH_MAX: usize = 64;

    /// The shape of `T`.
    pub fn of<T: Data>() -> Self {
        let mut builder = SchemaBuilder { defs: Vec::new(), known: Vec::new() };
        let root = T::schema(&mut builder);
        canonical::canonical(&Schema { root, defs: builder.defs })
    }

    /// The definition that [`Type::Named`] stands for, if there is one.
    pub(crate) fn def(&self, index: u32) -> Option<&Def> {
        self.defs.get(index as usize)
    }
}

/// Collects the named types that one type is made of, each once.
#[derive(Debug)]
pub struct SchemaBuilder {
    defs: Vec<Def>,
    known: Vec<(TypeId, u32)>,
}

impl SchemaBuilder {
    /// Describes `T` as a struct with named fields.
    pub fn structure<T: 'static>(&mut self, name: &str, describe: impl FnOnce(&mut NamedFields<'_>)) -> Type {
        self.define(TypeId::of::<T>(), name, |builder| DefKind::Struct(builder.named(describe)))
    }

    /// Describes `T` as a struct whose fields are told by their position.
    pub fn tuple_structure<T: 'static>(&mut self, name: &str, describe: impl FnOnce(&mut TupleFields<'_>)) -> Type {
        self.define(TypeId::of::<T>(), name, |builder| DefKind::Struct(builder.tuple(describe)))
    }

    /// Describes `T` as a struct without fields.
    pub fn unit_structure<T: 'static>(&mut self, name: &str) -> Type {
        self.define(TypeId::of::<T>(), name, |_| DefKind::Struct(Fields::Unit))
    }

    /// Describes `T` as an enum.
    pub fn enumeration<T: 'static>(&mut self, name: &str, describe: impl FnOnce(&mut Variants<'_>)) -> Type {
        self.define(TypeId::of::<T>(), name, |builder| {
            let mut variants = Variants { builder, variants: Vec::new() };
            describe(&mut variants);
            DefKind::Enum(variants.variants)
        })
    }

    /// The definition's place is taken before it is described: that ends recursion.
    fn define(&mut self, id: TypeId, name: &str, describe: impl FnOnce(&mut Self) -> DefKind) -> Type {
        if let Some((_, index)) = self.known.iter().find(|(known, _)| *known == id) {
            return Type::Named(*index);
        }
        let index = self.defs.len();
        self.known.push((id, index as u32));
        self.defs.push(Def { name: name.into(), kind: DefKind::Struct(Fields::Unit) });
        let kind = describe(self);
        self.defs[index].kind = kind;
        Type::Named(index as u32)
    }

    fn named(&mut self, describe: impl FnOnce(&mut NamedFields<'_>)) -> Fields {
        let mut fields = NamedFields { builder: self, fields: Vec::new() };
        describe(&mut fields);
        Fields::Named(fields.fields)
    }

    fn tuple(&mut self, describe: impl FnOnce(&mut TupleFields<'_>)) -> Fields {
        let mut fields = TupleFields { builder: self, elements: Vec::new() };
        describe(&mut fields);
        Fields::Tuple(fields.elements)
    }
}

/// Describes fields with names, in the order in which they are encoded.
#[derive(Debug)]
pub struct NamedFields<'b> {
    builder: &'b mut SchemaBuilder,
    fields: Vec<Field>,
}

impl NamedFields<'_> {
    /// A field that every writer must have written.
    pub fn field<T: Data>(&mut self, name: &str) {
        let ty = T::schema(self.builder);
        self.fields.push(Field { name: name.into(), ty, default: None });
    }

    /// A field that takes the value `encoded` where the writer has no such field.
    pub fn field_with_default<T: Data>(&mut self, name: &str, encoded: Vec<u8>) {
        let ty = T::schema(self.builder);
        self.fields.push(Field { name: name.into(), ty, default: Some(encoded) });
    }
}

/// Describes fields without names, in order.
#[derive(Debug)]
pub struct TupleFields<'b> {
    builder: &'b mut SchemaBuilder,
    elements: Vec<Type>,
}

impl TupleFields<'_> {
    /// The next field.
    pub fn element<T: Data>(&mut self) {
        let ty = T::schema(self.builder);
        self.elements.push(ty);
    }
}

/// Describes the variants of an enum, in the order of their indices.
#[derive(Debug)]
pub struct Variants<'b> {
    builder: &'b mut SchemaBuilder,
    variants: Vec<Variant>,
}

impl Variants<'_> {
    /// A variant without fields.
    pub fn unit(&mut self, name: &str) {
        self.variants.push(Variant { name: name.into(), fields: Fields::Unit });
    }

    /// A variant whose fields are told by their position.
    pub fn tuple(&mut self, name: &str, describe: impl FnOnce(&mut TupleFields<'_>)) {
        let fields = self.builder.tuple(describe);
        self.variants.push(Variant { name: name.into(), fields });
    }

    /// A variant whose fields have names.
    pub fn structure(&mut self, name: &str, describe: impl FnOnce(&mut NamedFields<'_>)) {
        let fields = self.builder.named(describe);
        self.variants.push(Variant { name: name.into(), fields });
    }
}
