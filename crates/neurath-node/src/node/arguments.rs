//! The arguments of a start, from JSON: an array in the entry's order, an object by their names, or the only one.
//!
//! Invariant: an error names the argument that it is about.

use neurath_proto::json::{JsonError, from_json, meant};
use neurath_proto::manifest::Entry;
use neurath_proto::schema::{DefKind, Fields, Type};
use serde_json::Value;

use crate::error::NodeError;

/// The encoded tuple of all arguments.
pub(super) fn encode_arguments(entry: &Entry, arguments: &Value) -> Result<Vec<u8>, NodeError> {
    let names = &entry.argument_names;
    let array = match arguments {
        Value::Array(_) => arguments.clone(),
        Value::Null if names.is_empty() => Value::Array(Vec::new()),
        Value::Object(map) if map.keys().all(|key| names.contains(key)) => {
            Value::Array(names.iter().map(|name| map.get(name).cloned().unwrap_or(Value::Null)).collect())
        }
        single => Value::Array(vec![single.clone()]),
    };
    let try_one = |value: &Value| from_json(&entry.arguments, value);
    try_one(&array)
        .or_else(|error| {
            // Of two readings the one that came further is what was meant.
            let further = |other: JsonError| if other.path.len() > error.path.len() { other } else { error };
            try_one(&Value::Array(vec![arguments.clone()])).map_err(further)
        })
        .map_err(|error| NodeError::Json {
            what: format!("the arguments of `{}`", entry.name),
            source: by_name(entry, arguments)
                .unwrap_or_else(|| JsonError { path: argument_path(entry, &error.path), message: error.message }),
            wanted: match names.as_slice() {
                [] => "no arguments".into(),
                names => format!("[{}] of type {}", names.join(", "), entry.arguments.name()),
            },
        })
}

/// What is wrong with the arguments as a whole: some are missing, or there are none of that name.
fn by_name(entry: &Entry, arguments: &Value) -> Option<JsonError> {
    let names = &entry.argument_names;
    let error = |message| Some(JsonError { path: entry.name.clone(), message });
    if names.is_empty() {
        return error("it takes no arguments".into());
    }
    let given = match arguments {
        Value::Null => None,
        Value::Object(map) if !map.keys().any(|key| names.contains(key)) && is_object(entry) => return None,
        Value::Object(map) => Some(map),
        _ => return None,
    };
    let mut keys = given.into_iter().flatten().map(|(key, _)| key);
    if let Some(unknown) = keys.find(|key| !names.contains(key)) {
        let shown: String = unknown.chars().take(60).collect();
        let meant = meant(unknown, names.iter().map(String::as_str));
        return error(format!("there is no argument `{shown}`; {meant}"));
    }
    let missing = (0..)
        .zip(names)
        .filter(|(at, name)| !given.is_some_and(|map| map.contains_key(*name)) && !may_be_left_out(entry, *at));
    let missing: Vec<String> = missing.map(|(_, name)| format!("`{name}`")).collect();
    match missing.as_slice() {
        [] => None,
        [one] => error(format!("the argument {one} is missing")),
        several => error(format!("the arguments {} are missing", several.join(", "))),
    }
}

fn types(entry: &Entry) -> &[Type] {
    match &entry.arguments.root {
        Type::Tuple(types) => types,
        _ => &[],
    }
}

fn may_be_left_out(entry: &Entry, at: usize) -> bool {
    matches!(types(entry).get(at), Some(Type::Option(_) | Type::Unit))
}

/// Whether an object may be meant as the only argument.
fn is_object(entry: &Entry) -> bool {
    match types(entry) {
        [Type::Named(index)] => match entry.arguments.defs.get(*index as usize).map(|def| &def.kind) {
            Some(DefKind::Struct(fields)) => !matches!(fields, Fields::Unit),
            Some(DefKind::Enum(_)) => true,
            None => false,
        },
        [only] => matches!(only, Type::Map(..) | Type::Option(_) | Type::Bytes | Type::Opaque(_)),
        _ => false,
    }
}

/// The path with the argument's name, where it begins with the tuple of them all: `(i64,).0` is `sum`.
fn argument_path(entry: &Entry, path: &str) -> String {
    let named = || {
        let (index, rest) = path.strip_prefix(&entry.arguments.name())?.strip_prefix('.').map(|inner| {
            let end = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(inner.len());
            inner.split_at(end)
        })?;
        Some(format!("{}{rest}", entry.argument_names.get(index.parse::<usize>().ok()?)?))
    };
    named().unwrap_or_else(|| path.to_owned())
}
