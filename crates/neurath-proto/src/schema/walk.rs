//! Walking a value with nothing but its schema.
//!
//! Invariant: the work is bounded by the number of bytes, whatever the schema says, and so is the depth.

use super::{DefKind, Fields, Opaque, Schema, Type};
use crate::data::{Data, DecodeError, DecodeFault, Reader};
use crate::id::{Pid, Ref};

/// How deep a value may lie in its schema; deeper than any that a guest's decoder lets in.
pub(crate) const VALUE_DEPTH_MAX: usize = 320;

impl Schema {
    /// Demands that `bytes` are one value of this type.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        skip(self, &self.root, &mut reader)?;
        reader.finish()
    }
}

/// Reads past one value of type `ty`.
pub(crate) fn skip(schema: &Schema, ty: &Type, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    skip_type(schema, ty, reader, 0)
}

fn skip_type(schema: &Schema, ty: &Type, reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(reader.fault(DecodeFault::TooDeep));
    }
    reader.spend()?;
    match ty {
        Type::Option(some) => {
            if bool::decode(reader)? {
                skip_type(schema, some, reader, depth + 1)?;
            }
        }
        Type::Seq(item) => {
            for _ in 0..reader.length()? {
                skip_type(schema, item, reader, depth + 1)?;
            }
        }
        Type::Map(key, value) => {
            for _ in 0..reader.length()? {
                skip_type(schema, key, reader, depth + 1)?;
                skip_type(schema, value, reader, depth + 1)?;
            }
        }
        Type::Tuple(elements) => {
            for element in elements {
                skip_type(schema, element, reader, depth + 1)?;
            }
        }
        Type::Array(item, length) => {
            for _ in 0..*length {
                skip_type(schema, item, reader, depth + 1)?;
            }
        }
        Type::Named(index) => {
            let def = schema.def(*index).ok_or_else(|| reader.fault(UNDEFINED))?;
            match &def.kind {
                DefKind::Struct(fields) => skip_fields(schema, fields, reader, depth)?,
                DefKind::Enum(variants) => {
                    let index = u32::decode(reader)?;
                    let variant = variants.get(index as usize).ok_or_else(|| reader.fault(NO_VARIANT))?;
                    skip_fields(schema, &variant.fields, reader, depth)?;
                }
            }
        }
        leaf => skip_leaf(leaf, reader)?,
    }
    Ok(())
}

fn skip_fields(schema: &Schema, fields: &Fields, reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    match fields {
        Fields::Unit => {}
        Fields::Tuple(elements) => {
            for element in elements {
                skip_type(schema, element, reader, depth + 1)?;
            }
        }
        Fields::Named(fields) => {
            for field in fields {
                skip_type(schema, &field.ty, reader, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// A schema that was built by hand refers to a definition that it lacks.
pub(crate) const UNDEFINED: DecodeFault = DecodeFault::Invalid("the schema lacks one of its types");
/// The value's variant is not in its schema.
pub(crate) const NO_VARIANT: DecodeFault = DecodeFault::Invalid("an enum has no variant of this number");
/// The value is of a kind that is reserved.
pub(crate) const RESERVED: DecodeFault = DecodeFault::Invalid("closures, continuations and receive ports are reserved");

/// Reads past a value that holds no other.
pub(crate) fn skip_leaf(ty: &Type, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match ty {
        Type::Unit => {}
        Type::Bool => drop(bool::decode(reader)?),
        Type::U8 | Type::I8 => drop(reader.byte()?),
        Type::U16 | Type::I16 => drop(u16::decode(reader)?),
        Type::U32 | Type::I32 => drop(u32::decode(reader)?),
        Type::U64 | Type::I64 => drop(u64::decode(reader)?),
        Type::U128 | Type::I128 => drop(u128::decode(reader)?),
        Type::F32 => drop(reader.take(4)?),
        Type::F64 => drop(reader.take(8)?),
        Type::Char => drop(char::decode(reader)?),
        Type::String => drop(reader.str()?),
        Type::Bytes => drop(reader.bytes()?),
        Type::Opaque(Opaque::Pid) => drop(Pid::decode(reader)?),
        Type::Opaque(Opaque::Ref) => drop(Ref::decode(reader)?),
        Type::Opaque(Opaque::ReplyTo(_) | Opaque::SendPort(_)) => drop(<(Pid, Ref)>::decode(reader)?),
        Type::Opaque(Opaque::Closure(_) | Opaque::Continuation | Opaque::ReceivePort(_)) => {
            return Err(reader.fault(RESERVED));
        }
        Type::Option(_) | Type::Seq(_) | Type::Map(..) | Type::Tuple(_) | Type::Array(..) | Type::Named(_) => {
            unreachable!("it holds others")
        }
    }
    Ok(())
}
