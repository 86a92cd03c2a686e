//! From bytes to JSON.

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

use serde_json::{Map, Number, Value};

use super::{base64, is_text_key, may_be_null, object};
use crate::data::{Data, DecodeError, DecodeFault, Reader};
use crate::id::{Pid, Ref};
use crate::schema::{DefKind, Fields, NO_VARIANT, Opaque, RESERVED, Schema, Type, UNDEFINED, VALUE_DEPTH_MAX};

pub(super) fn write_value(
    schema: &Schema,
    ty: &Type,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<Value, DecodeError> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(reader.fault(DecodeFault::TooDeep));
    }
    reader.spend()?;
    let depth = depth + 1;
    Ok(match ty {
        Type::Option(some) => match bool::decode(reader)? {
            false => Value::Null,
            true => {
                let value = write_value(schema, some, reader, depth)?;
                if may_be_null(schema, some, 0) { object("some", value) } else { value }
            }
        },
        Type::Seq(item) => {
            let mut items = Vec::new();
            for _ in 0..reader.length()? {
                items.push(write_value(schema, item, reader, depth)?);
            }
            Value::Array(items)
        }
        Type::Array(item, length) => {
            let mut items = Vec::new();
            for _ in 0..*length {
                items.push(write_value(schema, item, reader, depth)?);
            }
            Value::Array(items)
        }
        Type::Map(key, value) => write_map(schema, key, value, reader, depth)?,
        Type::Tuple(elements) => write_elements(schema, elements, reader, depth)?,
        Type::Named(index) => {
            let def = schema.def(*index).ok_or_else(|| reader.fault(UNDEFINED))?;
            match &def.kind {
                DefKind::Struct(fields) => write_fields(schema, fields, reader, depth)?,
                DefKind::Enum(variants) => {
                    let index = u32::decode(reader)?;
                    let variant = variants.get(index as usize).ok_or_else(|| reader.fault(NO_VARIANT))?;
                    match &variant.fields {
                        Fields::Unit => variant.name.as_str().into(),
                        fields => object(&variant.name, write_fields(schema, fields, reader, depth)?),
                    }
                }
            }
        }
        leaf => write_leaf(leaf, reader)?,
    })
}

/// Out of the way of the recursion, so that its frames are small.
#[inline(never)]
fn write_leaf(ty: &Type, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Ok(match ty {
        Type::Unit => Value::Null,
        Type::Bool => bool::decode(reader)?.into(),
        Type::U8 => u8::decode(reader)?.into(),
        Type::I8 => i8::decode(reader)?.into(),
        Type::U16 => u16::decode(reader)?.into(),
        Type::U32 => u32::decode(reader)?.into(),
        Type::U64 => small_or_text_u64(u64::decode(reader)?),
        Type::U128 => u128::decode(reader)?.to_string().into(),
        Type::I16 => i16::decode(reader)?.into(),
        Type::I32 => i32::decode(reader)?.into(),
        Type::I64 => small_or_text_i64(i64::decode(reader)?),
        Type::I128 => i128::decode(reader)?.to_string().into(),
        Type::F32 => float(f32::decode(reader)?.into()),
        Type::F64 => float(f64::decode(reader)?),
        Type::Char => char::decode(reader)?.to_string().into(),
        Type::String => reader.str()?.into(),
        Type::Bytes => object("base64", base64::encoded(reader.bytes()?).into()),
        Type::Opaque(Opaque::Pid) => Pid::decode(reader)?.to_string().into(),
        Type::Opaque(Opaque::Ref) => small_or_text_u64(Ref::decode(reader)?.0),
        Type::Opaque(Opaque::ReplyTo(_) | Opaque::SendPort(_)) => {
            let (pid, reference) = <(Pid, Ref)>::decode(reader)?;
            let mut map = Map::new();
            map.insert("pid".to_owned(), pid.to_string().into());
            map.insert("ref".to_owned(), small_or_text_u64(reference.0));
            Value::Object(map)
        }
        Type::Opaque(_) => return Err(reader.fault(RESERVED)),
        Type::Option(_) | Type::Seq(_) | Type::Map(..) | Type::Tuple(_) | Type::Array(..) | Type::Named(_) => {
            unreachable!("it holds others")
        }
    })
}

/// Two equal keys cannot be one object; hostile bytes may hold them, and then pairs show both.
fn write_map(
    schema: &Schema,
    key: &Type,
    value: &Type,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<Value, DecodeError> {
    let mut pairs = Vec::new();
    for _ in 0..reader.length()? {
        let key = write_value(schema, key, reader, depth)?;
        pairs.push((key, write_value(schema, value, reader, depth)?));
    }
    if is_text_key(key) {
        let mut keys: Vec<&str> = pairs.iter().filter_map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if keys.windows(2).all(|pair| pair[0] != pair[1]) {
            let text = |key| match key {
                Value::String(text) => text,
                other => other.to_string(),
            };
            return Ok(Value::Object(pairs.into_iter().map(|(key, value)| (text(key), value)).collect()));
        }
    }
    Ok(Value::Array(pairs.into_iter().map(|(key, value)| Value::Array([key, value].into())).collect()))
}

fn write_elements(
    schema: &Schema,
    elements: &[Type],
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<Value, DecodeError> {
    elements
        .iter()
        .map(|element| write_value(schema, element, reader, depth))
        .collect::<Result<_, _>>()
        .map(Value::Array)
}

fn write_fields(schema: &Schema, fields: &Fields, reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    Ok(match fields {
        Fields::Unit => Value::Null,
        Fields::Tuple(elements) => match elements.as_slice() {
            [only] => write_value(schema, only, reader, depth)?,
            elements => write_elements(schema, elements, reader, depth)?,
        },
        Fields::Named(fields) => {
            let mut map = Map::new();
            for field in fields {
                map.insert(field.name.clone(), write_value(schema, &field.ty, reader, depth)?);
            }
            Value::Object(map)
        }
    })
}

/// Integers up to here are the same for every reader of JSON.
const EXACT_MAX: u64 = 1 << 53;

fn small_or_text_u64(value: u64) -> Value {
    if value <= EXACT_MAX { value.into() } else { value.to_string().into() }
}

fn small_or_text_i64(value: i64) -> Value {
    if value.unsigned_abs() <= EXACT_MAX { value.into() } else { value.to_string().into() }
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}
