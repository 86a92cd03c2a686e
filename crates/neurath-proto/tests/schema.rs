//! The durable formats of schemas and manifests: golden bytes, canonical forms, hostile bytes.
#![allow(missing_docs)]

mod common;

use common::{random_schema, schema, seeds};
use neurath_proto::Schema;
use neurath_proto::data::encode;
use neurath_proto::manifest::{Converter, Entry, EntryKind, MANIFEST_MAX, Manifest, ManifestError};
use neurath_proto::reason::CallError;
use neurath_proto::schema::{Def, DefKind, Field, Fields, SchemaError, Type};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const TALLY: &str = "enum Tally { Increment(i64), Get(ReplyTo<i64>), Log { to: Option<Pid>, at: u8 = 07 }, Upgrade }";
const TALLY_BYTES: &str = concat!(
    "01",   // version
    "1600", // the root: definition 0
    "01",   // one definition
    "0554616c6c79",
    "01",
    "04", // Tally, an enum of four
    "09496e6372656d656e74",
    "01",
    "01",
    "0a",
    "03476574",
    "01",
    "01",
    "220a",
    "034c6f67",
    "02",
    "02",
    "02746f",
    "1120",
    "00",
    "026174",
    "02",
    "010107",
    "0755706772616465",
    "00",
);

#[test]
fn the_bytes_of_a_schema_stay_as_they_are() {
    assert_eq!(hex(&schema(TALLY).encode()), TALLY_BYTES);
    let every = schema(
        "((), bool, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, char, String, Bytes, Option<u8>,
         Vec<i8>, Map<u8, i8>, (u8,), [u8; 300], A, Pid, Ref, ReplyTo<u8>) where struct A",
    );
    assert_eq!(
        hex(&every.encode()),
        "01141a000102030405060708090a0b0c0d0e0f1011021207130207140102\
         15ac0202160020212202010141\
         0000"
    );
}

#[cfg(feature = "hash")]
#[test]
fn the_hash_of_a_schema_stays_as_it_is() {
    let tally = schema(TALLY);
    assert_eq!(tally.hash().to_string(), hex(&blake3::hash(&tally.encode()).as_bytes()[..16]));
    assert_eq!(schema("i64").hash().to_string(), GOLDEN_HASH_OF_I64);
}
#[cfg(feature = "hash")]
const GOLDEN_HASH_OF_I64: &str = "7333b2fdd2a3c93659ca115b4ae4aa78";

#[test]
fn equal_shapes_have_one_canonical_form() {
    // B and C are met in another order, one is there twice, and one is not reached.
    let one = Schema {
        root: Type::Named(3),
        defs: vec![
            Def { name: "C".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::Named(3)])) },
            Def { name: "B".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::Named(0)])) },
            Def { name: "Lost".into(), kind: DefKind::Struct(Fields::Unit) },
            Def { name: "A".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::Named(1), Type::Named(4)])) },
            Def { name: "C".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::Named(5)])) },
            Def { name: "A".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::Named(1), Type::Named(4)])) },
        ],
    };
    let other = schema("struct A(B, C) struct B(C) struct C(A)");
    assert_eq!(Schema::decode(&one.encode()).unwrap(), other);
    // Two of one name that differ stay two.
    let two = Schema {
        root: Type::Tuple(vec![Type::Named(0), Type::Named(1)]),
        defs: vec![
            Def { name: "A".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::U8])) },
            Def { name: "A".into(), kind: DefKind::Struct(Fields::Tuple(vec![Type::U16])) },
        ],
    };
    assert_eq!(Schema::decode(&two.encode()).unwrap(), two);
}

#[test]
fn schemas_come_back_and_hostile_bytes_are_refused() {
    seeds(3000, |random| {
        let schema = random_schema(random);
        let bytes = schema.encode();
        assert_eq!(Schema::decode(&bytes).unwrap(), schema);
        for cut in 0..bytes.len() {
            assert!(Schema::decode(&bytes[..cut]).is_err());
        }
        for _ in 0..8 {
            let damaged = if random.one_in(2) { random.damaged(&bytes) } else { random.bytes(60) };
            if let Ok(other) = Schema::decode(&damaged) {
                // What was let in is canonical, can be shown, and can be walked.
                assert_eq!(Schema::decode(&other.encode()).unwrap(), other);
                let _ = (other.to_string(), other.name(), other.check(&random.bytes(20)));
            }
        }
    });
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let refused = |schema: &Schema| Schema::decode(&schema.encode()).unwrap_err().to_string();
    let of = |kind| Schema { root: Type::Named(0), defs: vec![Def { name: "A".into(), kind }] };
    assert!(refused(&Schema { root: Type::Named(0), defs: vec![] }).contains("does not define"));
    assert!(refused(&of(DefKind::Struct(Fields::Tuple(vec![Type::Named(9)])))).contains("does not define"));
    let mut deep = Type::U8;
    (0..70).for_each(|_| deep = Type::Option(Box::new(deep.clone())));
    assert!(refused(&Schema { root: deep, defs: vec![] }).contains("nested"));
    let field = |default: &[u8]| Field { name: "x".into(), ty: Type::U8, default: Some(default.into()) };
    assert!(refused(&of(DefKind::Struct(Fields::Named(vec![field(&[1, 2])])))).contains("default"));
    assert!(refused(&of(DefKind::Struct(Fields::Named(vec![field(&[1]), field(&[1])])))).contains("one name"));
    let mut named = schema("struct A");
    named.defs[0].name = "\u{1b}[2J".into();
    assert!(refused(&named).contains("control character"));
    assert_eq!(Schema::decode(&[2, 0, 0]), Err(SchemaError::WrongVersion { found: 2 }));
    let long = vec![1; Schema::BYTES_MAX + 1];
    assert_eq!(Schema::decode(&long), Err(SchemaError::TooLarge { bytes: long.len() }));
}

#[test]
fn a_schema_reads_like_its_source() {
    let text =
        "(Pid, List)\n\nenum List {\n    Nil,\n    Cons(u8, List),\n    Named {\n        x: Vec<u8> = ..,\n    },\n}";
    assert_eq!(
        schema("(Pid, List) where enum List { Nil, Cons(u8, List), Named { x: Bytes = 00 } }").to_string(),
        text
    );
    assert_eq!(schema("Map<String, [Option<u8>; 3]>").name(), "Map<String, [Option<u8>; 3]>");
    assert_eq!(Schema::of::<CallError>().name(), "CallError");
    assert_eq!(Schema::of::<(i64, String)>().name(), "(i64, String)");
    assert_eq!(Schema::of::<Box<(u8,)>>().name(), "(u8,)");
}

fn manifest() -> Manifest {
    Manifest {
        package: "counter".into(),
        version: "1.0.0".into(),
        sdk: "0.1.0".into(),
        entries: vec![Entry {
            name: "counter".into(),
            path: "counter::counter".into(),
            kind: EntryKind::Process,
            arguments: schema("(i64,)"),
            argument_names: vec!["sum".into()],
            state: schema("(i64,)"),
            accepts: vec![schema("enum Tally { Up }")],
            call: None,
            reply: None,
            cast: Some(schema("u8")),
        }],
        converters: vec![Converter { name: "from_v1".into(), entry: None, from: schema("u8"), to: schema("struct S") }],
    }
}

#[test]
fn the_bytes_of_a_manifest_stay_as_they_are() {
    let bytes = manifest().to_section();
    assert_eq!(hex(&bytes), GOLDEN_MANIFEST);
    assert_eq!(Manifest::from_section(&bytes).unwrap(), manifest());
    let Manifest { entries, converters, .. } = manifest();
    assert_eq!(Entry::from_bytes(&entries[0].to_bytes()).unwrap(), entries[0]);
    assert_eq!(Converter::from_bytes(&converters[0].to_bytes()).unwrap(), converters[0]);
}
const GOLDEN_MANIFEST: &str = concat!(
    "4e525448",                                           // NRTH
    "01000000",                                           // the ABI's version
    "07636f756e74657205312e302e3005302e312e30",           // package, version, SDK
    "01",                                                 // one entry
    "07636f756e74657210636f756e7465723a3a636f756e746572", // name and path
    "00",                                                 // a process
    "050114010a00",                                       // arguments
    "010373756d",                                         // their names
    "050114010a00",                                       // state
    "0110011600010554616c6c79010102557000",               // accepts
    "00000103010200",                                     // no call, no reply, a cast
    "01",                                                 // one converter
    "0766726f6d5f763100",                                 // its name, for any entry
    "03010200",                                           // from
    "080116000101530000",                                 // to
);

#[test]
fn a_section_that_is_none_or_of_another_abi_is_refused_by_name() {
    let good = manifest().to_section();
    assert_eq!(Manifest::from_section(b""), Err(ManifestError::NotASection));
    assert_eq!(Manifest::from_section(b"NRT"), Err(ManifestError::NotASection));
    assert_eq!(Manifest::from_section(b"\0asm\x01\0\0\0"), Err(ManifestError::NotASection));
    let mut newer = good.clone();
    newer[4] = 9;
    assert_eq!(Manifest::from_section(&newer), Err(ManifestError::WrongAbi { found: 9, supported: 1 }));
    let mut long = good.clone();
    long.resize(MANIFEST_MAX + 1, 0);
    assert_eq!(Manifest::from_section(&long), Err(ManifestError::TooLarge { bytes: long.len() }));
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(Manifest::from_section(&longer), Err(ManifestError::Damaged(_))));
    // An argument without a name.
    let mut entry = manifest().entries.remove(0);
    entry.argument_names.clear();
    assert!(matches!(Entry::from_bytes(&encode(&entry)), Err(ManifestError::Damaged(_))));
}

#[test]
fn hostile_manifests_are_refused() {
    let good = manifest().to_section();
    for cut in 0..good.len() {
        assert!(Manifest::from_section(&good[..cut]).is_err());
    }
    seeds(5000, |random| {
        if let Ok(manifest) = Manifest::from_section(&random.damaged(&good)) {
            assert_eq!(Manifest::from_section(&manifest.to_section()).unwrap(), manifest);
        }
    });
}
