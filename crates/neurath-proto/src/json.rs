//! Encoded values as JSON and back, driven by their schema.
//!
//! | type | JSON | also accepted |
//! |---|---|---|
//! | `()`, unit structs | `null` | `[]`, `{}` for structs |
//! | `bool`, `String` | themselves | |
//! | integers up to 32 bits | numbers | strings of digits |
//! | `u64`, `i64` | numbers within ±2^53, otherwise strings of digits | either |
//! | `u128`, `i128` | strings of digits | numbers within 64 bits |
//! | `f32`, `f64` | numbers; `"NaN"`, `"Infinity"`, `"-Infinity"` | |
//! | `char` | a string of one character | |
//! | `Vec<u8>` | `{"base64": "..."}` | an array of numbers; a string, for its UTF-8 |
//! | `Option<T>` | `null` or the value; where the value itself may be `null`: `{"some": value}` | `{"some": value}` there only |
//! | sequences, tuples, arrays | arrays | |
//! | maps with `String` or `char` keys | objects | an array of `[key, value]` pairs |
//! | other maps | an array of `[key, value]` pairs | |
//! | structs with named fields | objects; the order is free | without fields that have a default or are an `Option` |
//! | structs with one field without a name | that field | |
//! | structs with several of them | arrays | |
//! | a variant without fields | `"Name"` | `{"Name": null}` |
//! | a variant with one field without a name | `{"Name": value}` | |
//! | a variant with several | `{"Name": [..]}` | |
//! | a variant with named fields | `{"Name": {..}}` | |
//! | `Pid` | its text | |
//! | `Ref` | like `u64` | |
//! | `ReplyTo<T>` | `{"pid": .., "ref": ..}` | `null`, `"_"` or, as a field, nothing: the caller's own address |
//!
//! It knows nothing of files, terminals or protocols.
//!
//! Invariant: what [`to_json`] gives, [`from_json`] takes, and the value is the same.

mod base64;
mod example;
mod read;
mod write;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde_json::{Map, Value};

use crate::data::{DecodeError, Reader};
use crate::id::{Pid, Ref};
use crate::schema::{DefKind, Fields, Opaque, Schema, Type};

/// Why JSON is not a value of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Where, from the root: `Order.lines[2].price`.
    pub path: String,
    /// What was expected there, and what was found.
    pub message: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.path, self.message)
    }
}

impl core::error::Error for JsonError {}

/// The value that `bytes` hold, as JSON.
///
/// # Errors
/// They are not one value of that type.
pub fn to_json(schema: &Schema, bytes: &[u8]) -> Result<Value, DecodeError> {
    // A value of JSON takes memory, whether it took bytes or not.
    let mut reader = Reader::with_free_values(bytes, bytes.len().saturating_mul(8).saturating_add(1 << 16));
    let value = write::write_value(schema, &schema.root, &mut reader, 0)?;
    reader.finish()?;
    Ok(value)
}

/// The encoded value that `json` stands for.
///
/// # Errors
/// It is no value of that type, or one that holds a `ReplyTo`: that wants [`from_json_with`].
pub fn from_json(schema: &Schema, json: &Value) -> Result<Vec<u8>, JsonError> {
    from_json_with(schema, json, None).map(|(bytes, _)| bytes)
}

/// The encoded value that `json` stands for, with `reply` for each `ReplyTo` that is left open; and how
/// many were. A call wants exactly one.
///
/// # Errors
/// It is no value of that type, or a `ReplyTo` is open and there is no `reply`.
pub fn from_json_with(schema: &Schema, json: &Value, reply: Option<(Pid, Ref)>) -> Result<(Vec<u8>, usize), JsonError> {
    read::whole(schema, json, reply)
}

/// A value of that type, for help texts: the shortest that shows its form.
pub fn example(schema: &Schema) -> Value {
    example::of(schema)
}

/// Which of `names` was meant by `found`, or which there are: `did you mean ..?`, `it has ..`.
pub fn meant<'n>(found: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    read::meant(found, names)
}

/// Whether `null` is a value of the type, so that an option of it needs another form.
fn may_be_null(schema: &Schema, ty: &Type, depth: usize) -> bool {
    if depth >= 64 {
        return true;
    }
    match ty {
        Type::Unit | Type::Option(_) | Type::Opaque(Opaque::ReplyTo(_)) => true,
        Type::Named(index) => match schema.def(*index).map(|def| &def.kind) {
            Some(DefKind::Struct(Fields::Unit)) => true,
            Some(DefKind::Struct(Fields::Tuple(elements))) if elements.len() == 1 => {
                may_be_null(schema, &elements[0], depth + 1)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Maps with such keys are objects.
fn is_text_key(ty: &Type) -> bool {
    matches!(ty, Type::String | Type::Char)
}

fn object(key: &str, value: Value) -> Value {
    let mut map = Map::new();
    map.insert(key.to_owned(), value);
    Value::Object(map)
}
