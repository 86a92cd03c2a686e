//! Encoded values as JSON and back, driven by their schema.
//!
//! | type | JSON | also accepted |
//! |---|---|---|
//! | `()`, unit structs | `null` | `[]`, `{}` for structs |
//! | `bool`, `String` | themselves | |
//! | integers up to 32 bits | numbers | strings of digits |
//! | `u64`, `i64` | numbers within ±2^53, otherwise strings of digits | either |
//! | `u128`, `i128` | strings of digits | numbers |
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

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde_json::{Map, Number, Value};

use crate::data::{Data, DecodeError, DecodeFault, Reader, put_varint};
use crate::id::{Pid, Ref};
use crate::schema::{
    Def, DefKind, Field, Fields, NO_VARIANT, Opaque, RESERVED, Schema, Type, UNDEFINED, VALUE_DEPTH_MAX,
};

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
    let value = write(schema, &schema.root, &mut reader, 0)?;
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
    let mut parser = Parser { schema, out: Vec::new(), path: schema.name(), reply, filled: 0 };
    match parser.value(&schema.root, json, 0) {
        Ok(()) => Ok((parser.out, parser.filled)),
        Err(message) => Err(JsonError { path: parser.path, message }),
    }
}

/// A value of that type, for help texts: the shortest that shows its form.
pub fn example(schema: &Schema) -> Value {
    Examples { schema, effort_left: 4096, open: Vec::new() }.value(&schema.root)
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

fn write(schema: &Schema, ty: &Type, reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(reader.fault(DecodeFault::TooDeep));
    }
    reader.spend()?;
    let depth = depth + 1;
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
        Type::Bytes => object("base64", base64(reader.bytes()?).into()),
        Type::Option(some) => match bool::decode(reader)? {
            false => Value::Null,
            true => {
                let value = write(schema, some, reader, depth)?;
                if may_be_null(schema, some, 0) { object("some", value) } else { value }
            }
        },
        Type::Seq(item) => {
            let mut items = Vec::new();
            for _ in 0..reader.length()? {
                items.push(write(schema, item, reader, depth)?);
            }
            Value::Array(items)
        }
        Type::Array(item, length) => {
            let mut items = Vec::new();
            for _ in 0..*length {
                items.push(write(schema, item, reader, depth)?);
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
        Type::Opaque(Opaque::Pid) => Pid::decode(reader)?.to_string().into(),
        Type::Opaque(Opaque::Ref) => small_or_text_u64(Ref::decode(reader)?.0),
        Type::Opaque(Opaque::ReplyTo(_)) => {
            let (pid, reference) = <(Pid, Ref)>::decode(reader)?;
            let mut map = Map::new();
            map.insert("pid".to_owned(), pid.to_string().into());
            map.insert("ref".to_owned(), small_or_text_u64(reference.0));
            Value::Object(map)
        }
        Type::Opaque(_) => return Err(reader.fault(RESERVED)),
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
        let key = write(schema, key, reader, depth)?;
        pairs.push((key, write(schema, value, reader, depth)?));
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
    elements.iter().map(|element| write(schema, element, reader, depth)).collect::<Result<_, _>>().map(Value::Array)
}

fn write_fields(schema: &Schema, fields: &Fields, reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    Ok(match fields {
        Fields::Unit => Value::Null,
        Fields::Tuple(elements) => match elements.as_slice() {
            [only] => write(schema, only, reader, depth)?,
            elements => write_elements(schema, elements, reader, depth)?,
        },
        Fields::Named(fields) => {
            let mut map = Map::new();
            for field in fields {
                map.insert(field.name.clone(), write(schema, &field.ty, reader, depth)?);
            }
            Value::Object(map)
        }
    })
}

struct Parser<'s> {
    schema: &'s Schema,
    out: Vec<u8>,
    /// Where it is; it stays there when something is wrong.
    path: String,
    reply: Option<(Pid, Ref)>,
    filled: usize,
}

type Parsed = Result<(), String>;

impl Parser<'_> {
    fn at(&mut self, step: &str, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let before = self.path.len();
        self.path.push_str(step);
        inner(self)?;
        self.path.truncate(before);
        Ok(())
    }

    fn expected<T>(&self, what: &str, ty: &Type, found: &Value) -> Result<T, String> {
        Err(format!("expected {what} ({}), found {}", self.schema.type_name(ty), described(found)))
    }

    fn value(&mut self, ty: &Type, json: &Value, depth: usize) -> Parsed {
        if depth >= VALUE_DEPTH_MAX {
            return Err("the value is nested too deep".into());
        }
        let depth = depth + 1;
        let schema = self.schema;
        match (ty, json) {
            (Type::Unit, Value::Null) => {}
            (Type::Unit, Value::Array(none)) if none.is_empty() => {}
            (Type::Unit, _) => return self.expected("null", ty, json),
            (Type::Bool, Value::Bool(value)) => value.encode(&mut self.out),
            (Type::Bool, _) => return self.expected("true or false", ty, json),
            (
                Type::U8
                | Type::I8
                | Type::U16
                | Type::U32
                | Type::U64
                | Type::U128
                | Type::I16
                | Type::I32
                | Type::I64
                | Type::I128,
                _,
            ) => self.integer(ty, json)?,
            (Type::F32 | Type::F64, _) => self.float(ty, json)?,
            (Type::Char, Value::String(text)) if text.chars().count() == 1 => text.encode(&mut self.out),
            (Type::Char, _) => return self.expected("a string of one character", ty, json),
            (Type::String, Value::String(text)) => text.encode(&mut self.out),
            (Type::String, _) => return self.expected("a string", ty, json),
            (Type::Bytes, _) => self.bytes(json)?,
            (Type::Option(_), Value::Null) => self.out.push(0),
            (Type::Option(some), _) => {
                self.out.push(1);
                let inner = match json {
                    Value::Object(map) if map.len() == 1 && may_be_null(schema, some, 0) => map.get("some"),
                    _ => None,
                };
                self.value(some, inner.unwrap_or(json), depth)?;
            }
            (Type::Seq(item), Value::Array(items)) => {
                put_varint(items.len() as u64, &mut self.out);
                self.items(item, items, depth)?;
            }
            (Type::Seq(_), _) => return self.expected("an array", ty, json),
            (Type::Array(item, length), Value::Array(items)) if items.len() == *length as usize => {
                self.items(item, items, depth)?;
            }
            (Type::Array(_, length), _) => return self.expected(&format!("an array of {length}"), ty, json),
            (Type::Map(key, value), _) => self.map(ty, key, value, json, depth)?,
            (Type::Tuple(elements), _) => self.elements(elements, json, depth)?,
            (Type::Named(index), _) => {
                let def = schema.def(*index).ok_or("the schema lacks one of its types")?;
                self.named(def, json, depth)?;
            }
            (Type::Opaque(Opaque::Pid), Value::String(text)) => match text.parse::<Pid>() {
                Ok(pid) => pid.encode(&mut self.out),
                Err(error) => return Err(error.to_string()),
            },
            (Type::Opaque(Opaque::Pid), _) => return self.expected("a string with a pid", ty, json),
            (Type::Opaque(Opaque::Ref), _) => self.integer(&Type::U64, json)?,
            (Type::Opaque(Opaque::ReplyTo(_)), _) => self.reply_to(ty, json)?,
            (Type::Opaque(_), _) => return Err(format!("a {} cannot be written as JSON", schema.type_name(ty))),
        }
        Ok(())
    }

    fn integer(&mut self, ty: &Type, json: &Value) -> Parsed {
        let text;
        let digits = match json {
            Value::String(digits) => digits.as_str(),
            Value::Number(number) if !number.is_f64() => {
                text = number.to_string();
                &text
            }
            _ => return self.expected("an integer", ty, json),
        };
        let out = &mut self.out;
        macro_rules! parse {
            ($type:ty) => {
                digits.parse::<$type>().map(|value| value.encode(out)).map_err(drop)
            };
        }
        let parsed = match ty {
            Type::U8 => parse!(u8),
            Type::I8 => parse!(i8),
            Type::U16 => parse!(u16),
            Type::U32 => parse!(u32),
            Type::U64 => parse!(u64),
            Type::U128 => parse!(u128),
            Type::I16 => parse!(i16),
            Type::I32 => parse!(i32),
            Type::I64 => parse!(i64),
            _ => parse!(i128),
        };
        parsed.or_else(|()| self.expected("an integer", ty, json))
    }

    fn float(&mut self, ty: &Type, json: &Value) -> Parsed {
        let value = match json {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.as_str() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            _ => None,
        };
        match (value, ty) {
            (None, _) => return self.expected("a number, \"NaN\", \"Infinity\" or \"-Infinity\"", ty, json),
            (Some(value), Type::F32) if value.is_finite() && !(value as f32).is_finite() => {
                return self.expected("a smaller number", ty, json);
            }
            (Some(value), Type::F32) => (value as f32).encode(&mut self.out),
            (Some(value), _) => value.encode(&mut self.out),
        }
        Ok(())
    }

    fn bytes(&mut self, json: &Value) -> Parsed {
        match json {
            Value::String(text) => text.encode(&mut self.out),
            Value::Array(items) => {
                put_varint(items.len() as u64, &mut self.out);
                self.items(&Type::U8, items, 0)?;
            }
            Value::Object(map) if map.len() == 1 && map.contains_key("base64") => {
                let text = map["base64"].as_str().ok_or("expected a string of base64")?;
                unbase64(text).ok_or("expected base64 (RFC 4648, with padding)")?.encode(&mut self.out);
            }
            _ => return self.expected("{\"base64\": \"...\"}, an array of bytes or a string", &Type::Bytes, json),
        }
        Ok(())
    }

    fn items(&mut self, item: &Type, items: &[Value], depth: usize) -> Parsed {
        items
            .iter()
            .enumerate()
            .try_for_each(|(i, json)| self.at(&format!("[{i}]"), |this| this.value(item, json, depth)))
    }

    fn map(&mut self, ty: &Type, key: &Type, value: &Type, json: &Value, depth: usize) -> Parsed {
        match json {
            Value::Object(map) if is_text_key(key) => {
                put_varint(map.len() as u64, &mut self.out);
                for (name, json) in map {
                    self.at(&format!("[{name:?}]"), |this| {
                        this.value(key, &Value::String(name.clone()), depth)?;
                        this.value(value, json, depth)
                    })?;
                }
            }
            Value::Array(pairs) => {
                put_varint(pairs.len() as u64, &mut self.out);
                for (i, pair) in pairs.iter().enumerate() {
                    self.at(&format!("[{i}]"), |this| match pair.as_array().map(Vec::as_slice) {
                        Some([key_json, value_json]) => {
                            this.at("[key]", |this| this.value(key, key_json, depth))?;
                            this.value(value, value_json, depth)
                        }
                        _ => Err(format!("expected a pair [key, value], found {}", described(pair))),
                    })?;
                }
            }
            _ if is_text_key(key) => return self.expected("an object", ty, json),
            _ => return self.expected("an array of pairs [key, value]", ty, json),
        }
        Ok(())
    }

    fn elements(&mut self, elements: &[Type], json: &Value, depth: usize) -> Parsed {
        match json {
            Value::Array(items) if items.len() == elements.len() => elements
                .iter()
                .zip(items)
                .enumerate()
                .try_for_each(|(i, (ty, json))| self.at(&format!(".{i}"), |this| this.value(ty, json, depth))),
            _ => Err(format!("expected an array of {}, found {}", elements.len(), described(json))),
        }
    }

    fn named(&mut self, def: &Def, json: &Value, depth: usize) -> Parsed {
        let variants = match &def.kind {
            DefKind::Struct(fields) => return self.fields(&def.name, fields, json, depth),
            DefKind::Enum(variants) => variants,
        };
        let (name, inner) = match json {
            Value::String(name) => (name, None),
            Value::Object(map) => match map.iter().next() {
                Some((name, value)) if map.len() == 1 => (name, Some(value)),
                _ => return Err(format!("expected one variant of {}, found {}", def.name, described(json))),
            },
            _ => {
                return Err(format!(
                    "expected a variant of {}: \"Name\" or {{\"Name\": ..}}, found {}",
                    def.name,
                    described(json)
                ));
            }
        };
        let Some((index, variant)) = (0u32..).zip(variants).find(|(_, variant)| variant.name == *name) else {
            let names = variants.iter().map(|variant| variant.name.as_str());
            return Err(format!("`{}` has no variant `{name}`; {}", def.name, meant(name, names)));
        };
        index.encode(&mut self.out);
        self.at(&format!(".{name}"), |this| match (&variant.fields, inner) {
            (Fields::Unit, None) => Ok(()),
            (fields, Some(inner)) => this.fields(name, fields, inner, depth),
            (Fields::Named(_), None) => this.fields(name, &variant.fields, &Value::Object(Map::new()), depth),
            // A variant that holds nothing but an open reply may be given by its name.
            (Fields::Tuple(elements), None) => match elements.as_slice() {
                [only @ Type::Opaque(Opaque::ReplyTo(_))] => this.value(only, &Value::Null, depth),
                _ => {
                    Err(format!("expected {{\"{name}\": ..}} with its {}, found only the name", plural(elements.len())))
                }
            },
        })
    }

    fn fields(&mut self, name: &str, fields: &Fields, json: &Value, depth: usize) -> Parsed {
        match (fields, json) {
            (Fields::Unit, Value::Null) => Ok(()),
            (Fields::Unit, Value::Array(none)) if none.is_empty() => Ok(()),
            (Fields::Unit, Value::Object(none)) if none.is_empty() => Ok(()),
            (Fields::Unit, _) => Err(format!("expected null, since `{name}` has no fields, found {}", described(json))),
            (Fields::Tuple(elements), _) => match elements.as_slice() {
                [only] => self.value(only, json, depth),
                elements => self.elements(elements, json, depth),
            },
            (Fields::Named(fields), Value::Object(map)) => {
                if let Some(unknown) = map.keys().find(|key| !fields.iter().any(|field| field.name == **key)) {
                    let names = fields.iter().map(|field| field.name.as_str());
                    return Err(format!("`{name}` has no field `{unknown}`; {}", meant(unknown, names)));
                }
                fields.iter().try_for_each(|field| self.field(name, field, map.get(&field.name), depth))
            }
            (Fields::Named(_), _) => {
                Err(format!("expected an object with the fields of `{name}`, found {}", described(json)))
            }
        }
    }

    fn field(&mut self, owner: &str, field: &Field, json: Option<&Value>, depth: usize) -> Parsed {
        match (json, &field.default, &field.ty) {
            (Some(json), ..) => {
                return self.at(&format!(".{}", field.name), |this| this.value(&field.ty, json, depth));
            }
            (None, Some(default), _) => self.out.extend_from_slice(default),
            (None, None, Type::Option(_)) => self.out.push(0),
            (None, None, ty @ Type::Opaque(Opaque::ReplyTo(_))) => {
                return self.at(&format!(".{}", field.name), |this| this.value(ty, &Value::Null, depth));
            }
            (None, None, ty) => {
                return Err(format!("field `{}` of `{owner}` is missing ({})", field.name, self.schema.type_name(ty)));
            }
        }
        Ok(())
    }

    fn reply_to(&mut self, ty: &Type, json: &Value) -> Parsed {
        match json {
            Value::Null => {}
            Value::String(open) if open == "_" => {}
            Value::Object(map) if map.len() == 2 && map.contains_key("pid") && map.contains_key("ref") => {
                self.at(".pid", |this| this.value(&Type::Opaque(Opaque::Pid), &map["pid"], 0))?;
                return self.at(".ref", |this| this.value(&Type::Opaque(Opaque::Ref), &map["ref"], 0));
            }
            _ => return self.expected("null, for the caller itself, or {\"pid\": .., \"ref\": ..}", ty, json),
        }
        let reply = self.reply.ok_or("an answer is wanted here, and nobody waits for one: use a call")?;
        reply.encode(&mut self.out);
        self.filled += 1;
        Ok(())
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "value" } else { "values" }
}

/// What was found, in a few words.
fn described(json: &Value) -> String {
    match json {
        Value::Null => "null".into(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 40 => format!("a string {text:?}"),
        Value::String(_) => "a long string".into(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(map) => match map.keys().next() {
            None => "an empty object".into(),
            Some(key) if map.len() == 1 => format!("an object with {key:?}"),
            Some(_) => format!("an object of {}", map.len()),
        },
    }
}

/// Which of `names` was meant, or which there are.
fn meant<'n>(found: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let close = names.clone().map(|name| (distance(found, name), name)).min();
    match close {
        Some((distance, name)) if distance <= 2.max(found.len() / 3) && distance < name.len() => {
            format!("did you mean `{name}`?")
        }
        Some(_) => {
            let mut list: Vec<String> = names.clone().take(12).map(|name| format!("`{name}`")).collect();
            if names.count() > list.len() {
                list.push("…".into());
            }
            format!("it has {}", list.join(", "))
        }
        None => "it has none".into(),
    }
}

/// Levenshtein's distance without regard to case; far apart for names that are too long to be meant.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

struct Examples<'s> {
    schema: &'s Schema,
    effort_left: usize,
    /// The definitions that the present value lies in: what recursion must avoid.
    open: Vec<u32>,
}

impl Examples<'_> {
    fn value(&mut self, ty: &Type) -> Value {
        if self.effort_left == 0 || self.open.len() >= 32 {
            return Value::Null;
        }
        self.effort_left -= 1;
        match ty {
            Type::Unit => Value::Null,
            Type::Bool => false.into(),
            Type::U8
            | Type::I8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Opaque(Opaque::Ref) => 0.into(),
            Type::U128 | Type::I128 => "0".into(),
            Type::F32 | Type::F64 => 0.0.into(),
            Type::Char => "x".into(),
            Type::String => "text".into(),
            Type::Bytes => object("base64", "".into()),
            Type::Option(some) => {
                if self.leads_back(some) {
                    return Value::Null;
                }
                let value = self.value(some);
                if may_be_null(self.schema, some, 0) { object("some", value) } else { value }
            }
            Type::Seq(item) if self.leads_back(item) => Value::Array(Vec::new()),
            Type::Seq(item) => Value::Array([self.value(item)].into()),
            Type::Map(key, value) if self.leads_back(key) || self.leads_back(value) => {
                if is_text_key(key) {
                    Value::Object(Map::new())
                } else {
                    Value::Array(Vec::new())
                }
            }
            Type::Map(key, value) => match (self.value(key), self.value(value)) {
                (Value::String(key_text), value) if is_text_key(key) => object(&key_text, value),
                (key, value) => Value::Array([Value::Array([key, value].into())].into()),
            },
            Type::Tuple(elements) => Value::Array(elements.iter().map(|element| self.value(element)).collect()),
            Type::Array(item, length) => {
                let shown = (*length as usize).min(self.effort_left);
                Value::Array((0..shown).map(|_| self.value(item)).collect())
            }
            Type::Named(index) => {
                let Some(def) = self.schema.def(*index) else { return Value::Null };
                self.open.push(*index);
                let value = match &def.kind {
                    DefKind::Struct(fields) => self.fields(fields),
                    DefKind::Enum(variants) => {
                        // One that does not lead back here, if there is one.
                        let ends = variants.iter().find(|variant| !self.fields_lead_back(&variant.fields));
                        match ends.or(variants.first()) {
                            None => Value::Null,
                            Some(variant) if variant.fields == Fields::Unit => variant.name.as_str().into(),
                            Some(variant) => object(&variant.name, self.fields(&variant.fields)),
                        }
                    }
                };
                self.open.pop();
                value
            }
            Type::Opaque(Opaque::Pid) => Pid::default().to_string().into(),
            Type::Opaque(_) => Value::Null,
        }
    }

    fn fields(&mut self, fields: &Fields) -> Value {
        match fields {
            Fields::Unit => Value::Null,
            Fields::Tuple(elements) => match elements.as_slice() {
                [only] => self.value(only),
                elements => Value::Array(elements.iter().map(|element| self.value(element)).collect()),
            },
            Fields::Named(fields) => {
                Value::Object(fields.iter().map(|field| (field.name.clone(), self.value(&field.ty))).collect())
            }
        }
    }

    fn leads_back(&self, ty: &Type) -> bool {
        match ty {
            Type::Named(index) => self.open.contains(index),
            Type::Option(_) | Type::Seq(_) | Type::Map(..) => false,
            Type::Array(item, _) => self.leads_back(item),
            Type::Tuple(elements) => elements.iter().any(|element| self.leads_back(element)),
            _ => false,
        }
    }

    fn fields_lead_back(&self, fields: &Fields) -> bool {
        match fields {
            Fields::Unit => false,
            Fields::Tuple(elements) => elements.iter().any(|element| self.leads_back(element)),
            Fields::Named(fields) => fields.iter().any(|field| self.leads_back(&field.ty)),
        }
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { BASE64[digit as usize].into() } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in digits.as_bytes().chunks(4) {
        let mut group = 0u32;
        for digit in chunk {
            let value = BASE64.iter().position(|known| known == digit)?;
            group = group << 6 | value as u32;
        }
        group <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}
