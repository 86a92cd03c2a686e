//! The bytes of a schema.
//!
//! | bytes | meaning |
//! |---|---|
//! | `01` | the version of this format |
//! | type | the root |
//! | count, definitions | each a name, `00` fields or `01` count and variants; a variant is a name and fields |
//!
//! Fields are `00`; `01`, count and types; or `02`, count and triples of name, type, default (`00`, or
//! `01`, length and bytes). A type is a number from [`kind`] and what it needs. Counts, lengths and
//! indices are varints, names are strings, all as in postcard.
//!
//! Reading is for hostile bytes: what [`Schema::decode`] returns can be walked without further checks.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Def, DefKind, Field, Fields, Opaque, Schema, Type, Variant, canonical, skip};
use crate::data::{Data, DecodeError, DecodeFault, Reader, put_varint};

const VERSION: u8 = 1;
const NAME_MAX: usize = 256;

/// The numbers of types. They are never given to another.
mod kind {
    pub(super) const UNIT: u8 = 0;
    pub(super) const BOOL: u8 = 1;
    pub(super) const U8: u8 = 2;
    pub(super) const U16: u8 = 3;
    pub(super) const U32: u8 = 4;
    pub(super) const U64: u8 = 5;
    pub(super) const U128: u8 = 6;
    pub(super) const I8: u8 = 7;
    pub(super) const I16: u8 = 8;
    pub(super) const I32: u8 = 9;
    pub(super) const I64: u8 = 10;
    pub(super) const I128: u8 = 11;
    pub(super) const F32: u8 = 12;
    pub(super) const F64: u8 = 13;
    pub(super) const CHAR: u8 = 14;
    pub(super) const STRING: u8 = 15;
    pub(super) const BYTES: u8 = 16;
    pub(super) const OPTION: u8 = 17;
    pub(super) const SEQ: u8 = 18;
    pub(super) const MAP: u8 = 19;
    pub(super) const TUPLE: u8 = 20;
    pub(super) const ARRAY: u8 = 21;
    pub(super) const NAMED: u8 = 22;
    pub(super) const PID: u8 = 32;
    pub(super) const REF: u8 = 33;
    pub(super) const REPLY_TO: u8 = 34;
    pub(super) const CLOSURE: u8 = 35;
    pub(super) const CONTINUATION: u8 = 36;
    pub(super) const SEND_PORT: u8 = 37;
    pub(super) const RECEIVE_PORT: u8 = 38;
}

/// Why bytes are not a schema. Nothing else happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// There are more than [`Schema::BYTES_MAX`].
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// They are of a version of the format that is not known here.
    WrongVersion {
        /// That version.
        found: u8,
    },
    /// They break a rule of the format.
    Damaged(DecodeError),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(f, "a schema of {bytes} bytes is over the limit of {}", Schema::BYTES_MAX)
            }
            Self::WrongVersion { found } => {
                write!(f, "a schema of format {found}, where only {VERSION} is known")
            }
            Self::Damaged(error) => write!(f, "not a schema: {error}"),
        }
    }
}

impl core::error::Error for SchemaError {}

impl From<DecodeError> for SchemaError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error)
    }
}

impl Schema {
    /// The bytes of this schema; those of a canonical schema are canonical.
    pub fn encode(&self) -> Vec<u8> {
        let Self { root, defs } = self;
        let mut out = Vec::new();
        out.push(VERSION);
        put_type(root, &mut out);
        put_varint(defs.len() as u64, &mut out);
        for def in defs {
            put_def(def, &mut out);
        }
        out
    }

    /// The schema that `bytes` hold, in its canonical form.
    ///
    /// # Errors
    /// They are no schema, or one over the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, SchemaError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(SchemaError::TooLarge { bytes: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let found = reader.byte()?;
        if found != VERSION {
            return Err(SchemaError::WrongVersion { found });
        }
        let mut defs_named = 0;
        let root = get_type(&mut reader, &mut defs_named, 0)?;
        let count = reader.length()?;
        if count > Self::DEFS_MAX {
            return Err(reader.fault(DecodeFault::Invalid("a schema names too many types")).into());
        }
        let mut defs = Vec::with_capacity(count);
        for _ in 0..count {
            defs.push(get_def(&mut reader, &mut defs_named)?);
        }
        reader.finish()?;
        if defs_named as usize > count {
            return Err(reader.fault(DecodeFault::Invalid("a schema uses a type that it does not define")).into());
        }
        let schema = Self { root, defs };
        check_defaults(&schema)?;
        Ok(canonical::canonical(&schema))
    }

    /// What stands for this schema on the wire: the first half of the BLAKE3 hash of its bytes.
    #[cfg(feature = "hash")]
    pub fn hash(&self) -> super::SchemaHash {
        let whole = blake3::hash(&self.encode());
        super::SchemaHash(core::array::from_fn(|i| whole.as_bytes()[i]))
    }
}

/// A schema within other data is its bytes after their length.
impl Data for Schema {
    fn encode(&self, out: &mut Vec<u8>) {
        Schema::encode(self).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.bytes()?;
        Schema::decode(bytes).map_err(|_| reader.fault(DecodeFault::Invalid("a schema in it is damaged or too new")))
    }

    fn schema(_: &mut super::SchemaBuilder) -> Type {
        Type::Bytes
    }
}

/// Every default is a value of its field's type. All of them share one bound on the work.
fn check_defaults(schema: &Schema) -> Result<(), DecodeError> {
    let mut free_values = 1 << 20;
    for def in &schema.defs {
        let all: &mut dyn Iterator<Item = &Fields> = match &def.kind {
            DefKind::Struct(fields) => &mut core::iter::once(fields),
            DefKind::Enum(variants) => &mut variants.iter().map(|variant| &variant.fields),
        };
        for fields in all {
            let Fields::Named(fields) = fields else { continue };
            for field in fields {
                let Some(default) = &field.default else { continue };
                let mut reader = Reader::with_free_values(default, free_values);
                let whole = skip(schema, &field.ty, &mut reader).and_then(|()| reader.finish());
                whole.map_err(|_| reader.fault(DecodeFault::Invalid("a default is not a value of its field")))?;
                free_values = reader.free_values();
            }
        }
    }
    Ok(())
}

fn put_name(name: &str, out: &mut Vec<u8>) {
    put_varint(name.len() as u64, out);
    out.extend_from_slice(name.as_bytes());
}

fn put_types(types: &[Type], out: &mut Vec<u8>) {
    put_varint(types.len() as u64, out);
    for ty in types {
        put_type(ty, out);
    }
}

pub(super) fn put_def(def: &Def, out: &mut Vec<u8>) {
    let Def { name, kind } = def;
    put_name(name, out);
    match kind {
        DefKind::Struct(fields) => {
            out.push(0);
            put_fields(fields, out);
        }
        DefKind::Enum(variants) => {
            out.push(1);
            put_varint(variants.len() as u64, out);
            for Variant { name, fields } in variants {
                put_name(name, out);
                put_fields(fields, out);
            }
        }
    }
}

fn put_fields(fields: &Fields, out: &mut Vec<u8>) {
    match fields {
        Fields::Unit => out.push(0),
        Fields::Tuple(elements) => {
            out.push(1);
            put_types(elements, out);
        }
        Fields::Named(fields) => {
            out.push(2);
            put_varint(fields.len() as u64, out);
            for Field { name, ty, default } in fields {
                put_name(name, out);
                put_type(ty, out);
                default.encode(out);
            }
        }
    }
}

fn put_type(ty: &Type, out: &mut Vec<u8>) {
    let (number, inner) = match ty {
        Type::Unit => (kind::UNIT, None),
        Type::Bool => (kind::BOOL, None),
        Type::U8 => (kind::U8, None),
        Type::U16 => (kind::U16, None),
        Type::U32 => (kind::U32, None),
        Type::U64 => (kind::U64, None),
        Type::U128 => (kind::U128, None),
        Type::I8 => (kind::I8, None),
        Type::I16 => (kind::I16, None),
        Type::I32 => (kind::I32, None),
        Type::I64 => (kind::I64, None),
        Type::I128 => (kind::I128, None),
        Type::F32 => (kind::F32, None),
        Type::F64 => (kind::F64, None),
        Type::Char => (kind::CHAR, None),
        Type::String => (kind::STRING, None),
        Type::Bytes => (kind::BYTES, None),
        Type::Option(some) => (kind::OPTION, Some(some)),
        Type::Seq(item) => (kind::SEQ, Some(item)),
        Type::Map(key, value) => {
            out.push(kind::MAP);
            put_type(key, out);
            return put_type(value, out);
        }
        Type::Tuple(elements) => {
            out.push(kind::TUPLE);
            return put_types(elements, out);
        }
        Type::Array(item, length) => {
            out.push(kind::ARRAY);
            put_varint(u64::from(*length), out);
            return put_type(item, out);
        }
        Type::Named(index) => {
            out.push(kind::NAMED);
            return put_varint(u64::from(*index), out);
        }
        Type::Opaque(Opaque::Pid) => (kind::PID, None),
        Type::Opaque(Opaque::Ref) => (kind::REF, None),
        Type::Opaque(Opaque::ReplyTo(answer)) => (kind::REPLY_TO, Some(answer)),
        Type::Opaque(Opaque::Closure(environment)) => (kind::CLOSURE, Some(environment)),
        Type::Opaque(Opaque::Continuation) => (kind::CONTINUATION, None),
        Type::Opaque(Opaque::SendPort(item)) => (kind::SEND_PORT, Some(item)),
        Type::Opaque(Opaque::ReceivePort(item)) => (kind::RECEIVE_PORT, Some(item)),
    };
    out.push(number);
    if let Some(inner) = inner {
        put_type(inner, out);
    }
}

/// A name may be shown on a terminal, so it holds nothing that moves the cursor.
fn get_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let name = reader.str()?;
    if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(reader.fault(DecodeFault::Invalid("a name is empty, too long, or holds a control character")));
    }
    Ok(name.into())
}

/// Reads a list of things of a byte or more each.
fn get_list<T>(
    reader: &mut Reader<'_>,
    mut get: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.length()?;
    (0..count).map(|_| get(reader)).collect()
}

fn get_def(reader: &mut Reader<'_>, named: &mut u32) -> Result<Def, DecodeError> {
    let name = get_name(reader)?;
    let kind = match reader.byte()? {
        0 => DefKind::Struct(get_fields(reader, named)?),
        1 => {
            let mut names = BTreeSet::new();
            DefKind::Enum(get_list(reader, |reader| {
                let name = get_distinct_name(reader, &mut names)?;
                Ok(Variant { name, fields: get_fields(reader, named)? })
            })?)
        }
        other => return Err(reader.bad_variant("DefKind", other.into())),
    };
    Ok(Def { name, kind })
}

fn get_distinct_name(reader: &mut Reader<'_>, names: &mut BTreeSet<String>) -> Result<String, DecodeError> {
    let name = get_name(reader)?;
    if !names.insert(name.clone()) {
        return Err(reader.fault(DecodeFault::Invalid("two fields or variants have one name")));
    }
    Ok(name)
}

fn get_fields(reader: &mut Reader<'_>, named: &mut u32) -> Result<Fields, DecodeError> {
    Ok(match reader.byte()? {
        0 => Fields::Unit,
        1 => Fields::Tuple(get_list(reader, |reader| get_type(reader, named, 0))?),
        2 => {
            let mut names = BTreeSet::new();
            Fields::Named(get_list(reader, |reader| {
                let name = get_distinct_name(reader, &mut names)?;
                Ok(Field { name, ty: get_type(reader, named, 0)?, default: Data::decode(reader)? })
            })?)
        }
        other => return Err(reader.bad_variant("Fields", other.into())),
    })
}

/// Reads a type; `named` becomes one more than the largest index of a definition.
fn get_type(reader: &mut Reader<'_>, named: &mut u32, depth: usize) -> Result<Type, DecodeError> {
    if depth >= Schema::DEPTH_MAX {
        return Err(reader.fault(DecodeFault::TooDeep));
    }
    let mut inner = |reader: &mut Reader<'_>| get_type(reader, named, depth + 1);
    let mut boxed = |reader: &mut Reader<'_>| inner(reader).map(Box::new);
    Ok(match reader.byte()? {
        kind::UNIT => Type::Unit,
        kind::BOOL => Type::Bool,
        kind::U8 => Type::U8,
        kind::U16 => Type::U16,
        kind::U32 => Type::U32,
        kind::U64 => Type::U64,
        kind::U128 => Type::U128,
        kind::I8 => Type::I8,
        kind::I16 => Type::I16,
        kind::I32 => Type::I32,
        kind::I64 => Type::I64,
        kind::I128 => Type::I128,
        kind::F32 => Type::F32,
        kind::F64 => Type::F64,
        kind::CHAR => Type::Char,
        kind::STRING => Type::String,
        kind::BYTES => Type::Bytes,
        kind::OPTION => Type::Option(boxed(reader)?),
        kind::SEQ => Type::Seq(boxed(reader)?),
        kind::MAP => Type::Map(boxed(reader)?, boxed(reader)?),
        kind::TUPLE => Type::Tuple(get_list(reader, inner)?),
        kind::ARRAY => {
            let length = u32::decode(reader)?;
            Type::Array(boxed(reader)?, length)
        }
        kind::NAMED => {
            let index = u32::decode(reader)?;
            if index as usize >= Schema::DEFS_MAX {
                return Err(reader.fault(DecodeFault::Invalid("a schema names too many types")));
            }
            *named = (*named).max(index + 1);
            Type::Named(index)
        }
        kind::PID => Type::Opaque(Opaque::Pid),
        kind::REF => Type::Opaque(Opaque::Ref),
        kind::REPLY_TO => Type::Opaque(Opaque::ReplyTo(boxed(reader)?)),
        kind::CLOSURE => Type::Opaque(Opaque::Closure(boxed(reader)?)),
        kind::CONTINUATION => Type::Opaque(Opaque::Continuation),
        kind::SEND_PORT => Type::Opaque(Opaque::SendPort(boxed(reader)?)),
        kind::RECEIVE_PORT => Type::Opaque(Opaque::ReceivePort(boxed(reader)?)),
        other => return Err(reader.bad_variant("Type", other.into())),
    })
}
