//! Schemas: the shapes of types, as data.
//!
//! Invariant: two types have the same [`SchemaHash`] exactly if they have the same names, shapes and
//! defaults; a value written with a schema can be walked with nothing but that schema.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// The content hash of a schema: what stands for it on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SchemaHash(pub [u8; 16]);

/// The shape of a type, complete in itself.
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
    /// `u32`
    U32,
    /// `u64`, and `usize`
    U64,
    /// `u128`
    U128,
    /// `i16`
    I16,
    /// `i32`
    I32,
    /// `i64`, and `isize`
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
    /// Maps; keys in order of the map's iteration
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
    /// The sending end of a channel of this type: reserved.
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
