//! Schemas, manifests, values and JSON.

use std::collections::BTreeMap;

use neurath_proto::data::{Data, decode, encode};
use neurath_proto::json::{example, from_json, to_json};
use neurath_proto::manifest::{Entry, EntryKind, Manifest};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::resolve::Resolution;
use neurath_proto::{Pid, Schema};

use crate::{piece, pieces};

type Nested = BTreeMap<String, Vec<(Option<i64>, Result<bool, String>)>>;

pub(super) fn schema(bytes: &[u8]) {
    let Ok(schema) = Schema::decode(bytes) else { return };
    assert_eq!(Schema::decode(&schema.encode()).as_ref(), Ok(&schema));
    let _ = schema.name();
    let _ = example(&schema);
}

pub(super) fn manifest(bytes: &[u8]) {
    let _ = Entry::from_bytes(bytes);
    let Ok(manifest) = Manifest::from_section(bytes) else { return };
    assert_eq!(Manifest::from_section(&manifest.to_section()).as_ref(), Ok(&manifest));
}

/// A value of types that are known, and of a schema that came along.
pub(super) fn value(bytes: &[u8]) {
    known::<ExitReason>(bytes);
    known::<CallError>(bytes);
    known::<Nested>(bytes);
    let Some((schema, value)) = piece(bytes) else { return };
    let Ok(schema) = Schema::decode(schema) else { return };
    let is_value = schema.check(value).is_ok();
    assert_eq!(is_value, to_json(&schema, value).is_ok());
}

fn known<T: Data + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    assert!(Schema::of::<T>().check(bytes).is_ok(), "{value:?}");
    assert_eq!(decode::<T>(&encode(&value)).as_ref(), Ok(&value));
}

/// A value from its writer's schema to its reader's.
pub(super) fn resolve(bytes: &[u8]) {
    let Some((writer, rest)) = piece(bytes) else { return };
    let Some((reader, value)) = piece(rest) else { return };
    let (Ok(writer), Ok(reader)) = (Schema::decode(writer), Schema::decode(reader)) else { return };
    let Ok(resolution) = Resolution::new(&writer, &reader) else { return };
    if let Ok(resolved) = resolution.apply(value) {
        assert!(reader.check(&resolved).is_ok(), "{writer:?} to {reader:?}: {value:?} became {resolved:?}");
    }
}

/// A schema and a text.
pub(super) fn json(bytes: &[u8]) {
    let Some((schema, text)) = piece(bytes) else { return };
    let Ok(schema) = Schema::decode(schema) else { return };
    let Ok(json) = serde_json::from_slice(text) else { return };
    if let Ok(value) = from_json(&schema, &json) {
        assert!(schema.check(&value).is_ok(), "{schema:?}: {json} became {value:?}");
        assert!(to_json(&schema, &value).is_ok(), "{schema:?}: {json} became {value:?}");
    }
}

fn schemas() -> Vec<Schema> {
    vec![
        Schema::of::<()>(),
        Schema::of::<(u8, i32, u64, bool, char)>(),
        Schema::of::<(f64, String, Pid)>(),
        Schema::of::<Vec<Option<u16>>>(),
        Schema::of::<Nested>(),
        Schema::of::<ExitReason>(),
        Schema::of::<Result<[u8; 4], CallError>>(),
    ]
}

fn nested() -> Nested {
    BTreeMap::from([("a".to_owned(), vec![(Some(-3), Ok(true)), (None, Err("no".to_owned()))])])
}

pub(super) fn schema_seeds() -> Vec<Vec<u8>> {
    schemas().iter().map(Schema::encode).collect()
}

pub(super) fn manifest_seeds() -> Vec<Vec<u8>> {
    let [arguments, state, message] = [Schema::of::<(u8, String)>(), Schema::of::<Nested>(), Schema::of::<u64>()];
    let entry = Entry {
        name: "counter".into(),
        path: "demo::Counter".into(),
        kind: EntryKind::Server,
        arguments,
        argument_names: vec!["from".into(), "name".into()],
        state,
        accepts: vec![message.clone()],
        call: Some(message.clone()),
        reply: Some(message),
        cast: None,
    };
    let manifest = |entries| Manifest {
        package: "demo".into(),
        version: "1.2.3".into(),
        sdk: "0.1.0".into(),
        entries,
        converters: Vec::new(),
    };
    vec![manifest(Vec::new()).to_section(), manifest(vec![entry.clone()]).to_section(), entry.to_bytes()]
}

pub(super) fn value_seeds() -> Vec<Vec<u8>> {
    let with = |schema: Schema, value: Vec<u8>| [pieces([&schema.encode()[..]]), value].concat();
    vec![
        encode(&nested()),
        encode(&ExitReason::Normal),
        with(Schema::of::<Nested>(), encode(&nested())),
        with(Schema::of::<(u8, i32, u64, bool, char)>(), encode(&(1u8, -2i32, 300u64, true, 'x'))),
        with(Schema::of::<Vec<Option<u16>>>(), encode(&vec![None, Some(700u16)])),
    ]
}

pub(super) fn resolve_seeds() -> Vec<Vec<u8>> {
    let values = [encode(&()), encode(&(1u8, -2i32, 300u64, true, 'x')), encode(&vec![None, Some(700u16)])];
    let with = |writer: Schema, reader: Schema, value: &[u8]| {
        [pieces([&writer.encode()[..], &reader.encode()[..]]), value.to_vec()].concat()
    };
    let mut seeds: Vec<_> =
        schemas().into_iter().zip(&values).map(|(schema, value)| with(schema.clone(), schema, value)).collect();
    seeds.push(with(Schema::of::<Vec<Option<u16>>>(), Schema::of::<Vec<Option<u64>>>(), &values[2]));
    seeds.push(with(Schema::of::<(u8, u16)>(), Schema::of::<(u64, i64)>(), &encode(&(1u8, 2u16))));
    seeds
}

pub(super) fn json_seeds() -> Vec<Vec<u8>> {
    let with = |schema: &Schema| [pieces([&schema.encode()[..]]), example(schema).to_string().into_bytes()].concat();
    schemas().iter().map(with).collect()
}
