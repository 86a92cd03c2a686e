//! From JSON to bytes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value};

use super::{JsonError, base64, is_text_key, may_be_null};
use crate::data::{Data, put_varint};
use crate::id::{Pid, Ref};
use crate::schema::{Def, DefKind, Field, Fields, Opaque, Schema, Type, VALUE_DEPTH_MAX, Variant};

/// The bytes, and how many replies were filled in.
pub(super) fn whole(schema: &Schema, json: &Value, reply: Option<(Pid, Ref)>) -> Result<(Vec<u8>, usize), JsonError> {
    let mut parser = Parser { schema, out: Vec::new(), path: schema.name(), reply, filled: 0 };
    match parser.value(&schema.root, json, 0) {
        Ok(()) => Ok((parser.out, parser.filled)),
        Err(message) => Err(JsonError { path: parser.path, message }),
    }
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
            (Type::Array(..), _) => return self.expected("an array of that length", ty, json),
            (Type::Map(key, value), _) => self.map(ty, key, value, json, depth)?,
            (Type::Tuple(elements), _) => self.elements(elements, json, depth)?,
            (Type::Named(index), _) => {
                let def = schema.def(*index).ok_or("the schema lacks one of its types")?;
                self.named(def, json, depth)?;
            }
            _ => self.leaf(ty, json)?,
        }
        Ok(())
    }

    /// Out of the way of the recursion, so that its frames are small.
    #[inline(never)]
    fn leaf(&mut self, ty: &Type, json: &Value) -> Parsed {
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
            (Type::Opaque(Opaque::Pid), Value::String(text)) => match text.parse::<Pid>() {
                Ok(pid) => pid.encode(&mut self.out),
                Err(error) => return Err(error.to_string()),
            },
            (Type::Opaque(Opaque::Pid), _) => return self.expected("a string with a pid", ty, json),
            (Type::Opaque(Opaque::Ref), _) => self.integer(&Type::U64, json)?,
            (Type::Opaque(Opaque::ReplyTo(_)), _) => self.reply_to(ty, json)?,
            (Type::Opaque(Opaque::SendPort(_)), Value::Object(map))
                if map.len() == 2 && map.contains_key("pid") && map.contains_key("ref") =>
            {
                self.pid_and_ref(map)?;
            }
            (Type::Opaque(Opaque::SendPort(_)), _) => {
                return self.expected("{\"pid\": .., \"ref\": ..}", ty, json);
            }
            (Type::Opaque(_), _) => return Err(format!("`{}` cannot be written as JSON", self.schema.type_name(ty))),
            _ => unreachable!("it holds others"),
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
            // Larger ones lose their last digits when JSON is read.
            Value::Number(number) if number.as_f64().is_some_and(|value| value.abs() >= (1u64 << 63) as f64) => {
                return Err(format!(
                    "expected an integer ({}), found a number beyond 64 bits: write its digits as a string",
                    self.schema.type_name(ty)
                ));
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
                base64::decoded(text).ok_or("expected base64 (RFC 4648, with padding)")?.encode(&mut self.out);
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
        if is_duration(def)
            && let Some(nanos) = json.get("nanos").and_then(Value::as_u64)
            && nanos >= 1_000_000_000
        {
            return Err(format!("expected fewer than 1000000000 `nanos`, found {nanos}: whole seconds are `secs`"));
        }
        let variants = match &def.kind {
            DefKind::Struct(fields) => return self.fields(&def.name, fields, json, depth),
            DefKind::Enum(variants) => variants,
        };
        let (index, variant, inner) = variant_of(def, variants, json)?;
        let name = &variant.name;
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
                    let unknown_shown: String = unknown.chars().take(60).collect();
                    return Err(format!("`{name}` has no field `{unknown_shown}`; {}", meant(unknown, names)));
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

    fn pid_and_ref(&mut self, map: &Map<String, Value>) -> Parsed {
        self.at(".pid", |this| this.value(&Type::Opaque(Opaque::Pid), &map["pid"], 0))?;
        self.at(".ref", |this| this.value(&Type::Opaque(Opaque::Ref), &map["ref"], 0))
    }

    fn reply_to(&mut self, ty: &Type, json: &Value) -> Parsed {
        match json {
            Value::Null => {}
            Value::String(open) if open == "_" => {}
            Value::Object(map) if map.len() == 2 && map.contains_key("pid") && map.contains_key("ref") => {
                return self.pid_and_ref(map);
            }
            _ => return self.expected("null, for the caller itself, or {\"pid\": .., \"ref\": ..}", ty, json),
        }
        let reply = self.reply.ok_or("an answer is wanted here, and nobody waits for one: use a call")?;
        reply.encode(&mut self.out);
        self.filled += 1;
        Ok(())
    }
}

/// Whether it describes a `Duration`, which is not what any two numbers make.
fn is_duration(def: &Def) -> bool {
    let DefKind::Struct(Fields::Named(fields)) = &def.kind else { return false };
    let of = |field: &Field, name, ty| field.name == name && field.ty == ty;
    def.name == "Duration"
        && matches!(fields.as_slice(), [secs, nanos] if of(secs, "secs", Type::U64) && of(nanos, "nanos", Type::U32))
}

/// The variant that `json` names, its index, and what stands for its fields.
fn variant_of<'s, 'j>(
    def: &Def,
    variants: &'s [Variant],
    json: &'j Value,
) -> Result<(u32, &'s Variant, Option<&'j Value>), String> {
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
        let shown: String = name.chars().take(60).collect();
        return Err(format!("`{}` has no variant `{shown}`; {}", def.name, meant(name, names)));
    };
    Ok((index, variant, inner))
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
pub(super) fn meant<'n>(found: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
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
