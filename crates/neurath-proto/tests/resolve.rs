//! The resolver: what fits, what does not and where, and that nothing it is given makes it fall over.
#![allow(missing_docs)]

mod common;

use common::{Random, evolved, random_schema, random_value, schema, seeds};
use neurath_proto::data::encode;
use neurath_proto::resolve::{Resolution, same_name};
use neurath_proto::schema::Schema;

#[track_caller]
fn check_refused(writer: &str, reader: &str, expected: &str) {
    let mismatch = Resolution::new(&schema(writer), &schema(reader)).unwrap_err();
    assert_eq!(format!("{}: {}", mismatch.path, mismatch.message), expected);
}

#[track_caller]
fn check_converted(writer: &str, reader: &str, written: &[u8], read: &[u8]) {
    let (writer, reader) = (schema(writer), schema(reader));
    let resolution = Resolution::new(&writer, &reader).unwrap();
    assert!(!resolution.is_identity());
    let converted = resolution.apply(written).unwrap();
    assert_eq!(converted, read);
    reader.check(&converted).unwrap();
    for cut in 0..written.len() {
        assert!(resolution.apply(&written[..cut]).is_err(), "{cut} bytes of {written:?}");
    }
}

#[track_caller]
fn check_identity(writer: &str, reader: &str) {
    assert!(Resolution::new(&schema(writer), &schema(reader)).unwrap().is_identity());
    assert!(Resolution::for_state(&schema(writer), &schema(reader)).unwrap().is_identity());
}

#[test]
fn the_first_difference_is_named_with_its_path() {
    let order = "struct Order { id: u32, lines: Vec<Line> } struct Line { price: u64 }";
    check_refused(
        order,
        "struct Order { id: u32, lines: Vec<Line> } struct Line { price: u32 }",
        "Order.lines[].price: `u64` cannot become `u32` without loss",
    );
    check_refused(
        order,
        "struct Order { id: u32, lines: Vec<Line> } struct Line { price: u64, count: u8 }",
        "Order.lines[].count: field `count` is not written, and has no default",
    );
    check_refused(
        order,
        "struct Order { lines: Vec<Line> } struct Line { price: u64 }",
        "Order.id: field `id` is written, and its reader has no such field",
    );
    check_refused(
        order,
        "struct Order { id: u32, lines: Vec<Item> } struct Item { price: u64 }",
        "Order.lines[]: `Line` is written, and `Item` is read: names must agree",
    );
    check_refused("(i64, String)", "(i64, bool)", "(i64, String).1: `String` cannot become `bool`");
    check_refused("(i64, u8)", "(i64,)", "(i64, u8): 2 values without names are written, and 1 read");
    check_refused("Map<String, u8>", "Map<u8, u8>", "Map<String, u8>[key]: `String` cannot become `u8`");
    check_refused("Map<u8, i8>", "Map<u8, u8>", "Map<u8, i8>[]: `i8` cannot become `u8` without loss");
    check_refused("[u8; 3]", "[u8; 4]", "[u8; 3]: `[u8; 3]` cannot become `[u8; 4]`");
    check_refused("Option<u8>", "u8", "Option<u8>: `Option<u8>` cannot become `u8`");
    check_refused("f64", "f32", "f64: `f64` cannot become `f32`");
    check_refused("i8", "u64", "i8: `i8` cannot become `u64` without loss");
    check_refused("struct A", "enum A { X }", "A: `A` is written as a struct, and read as an enum");
    check_refused("struct A(u8)", "struct A { x: u8 }", "A: its fields are written without names, and read by name");
    check_refused("enum A { X(u8) }", "enum A { X(String) }", "A.X: `u8` cannot become `String`");
    check_refused("enum A { X(u8, u8) }", "enum A { X(u8, bool) }", "A.X.1: `u8` cannot become `bool`");
    check_refused("enum A { X }", "enum A { Y }", "A: they have no variant in common");
}

#[test]
fn an_answer_flows_the_other_way() {
    let asks = |answer: &str| schema(&format!("enum Ask {{ Get(ReplyTo<{answer}>) }}"));
    assert!(Resolution::new(&asks("i64"), &asks("i32")).unwrap().is_identity());
    let mismatch = Resolution::new(&asks("i32"), &asks("i64")).unwrap_err();
    assert_eq!(mismatch.path, "Ask.Get(answer)");
    assert_eq!(mismatch.message, "`i64` cannot become `i32` without loss");
}

#[test]
fn what_is_sent_through_a_port_flows_the_other_way() {
    let ports = |value: &str| schema(&format!("struct Ping {{ pongs: SendPort<{value}> }}"));
    assert!(Resolution::new(&ports("i64"), &ports("i32")).unwrap().is_identity());
    let mismatch = Resolution::new(&ports("i32"), &ports("i64")).unwrap_err();
    assert_eq!(mismatch.path, "Ping.pongs(sent)");
    assert_eq!(mismatch.message, "`i64` cannot become `i32` without loss");
}

#[test]
fn a_state_converts_as_a_whole() {
    let refused = |writer: &str, reader: &str| {
        let mismatch = Resolution::for_state(&schema(writer), &schema(reader)).unwrap_err();
        format!("{}: {}", mismatch.path, mismatch.message)
    };
    assert_eq!(
        refused("struct S { x: u8, y: u8 }", "struct S { y: u8 }"),
        "S.x: field `x` of the old state would be lost"
    );
    assert_eq!(
        refused("struct S { x: u8 }", "struct S { x: u8, y: u8 }"),
        "S.y: field `y` has no default, and the old state has no such field"
    );
    assert_eq!(
        refused("enum S { A, B }", "enum S { A }"),
        "S.B: variant `B` of the old state is unknown to the new one"
    );
    assert!(Resolution::for_state(&schema("struct S { x: u8 }"), &schema("struct S { y: u8 = 00, x: u8 }")).is_ok());
}

#[test]
fn a_variant_that_the_reader_lacks_is_refused_only_when_it_is_used() {
    let writer = schema("enum Tally { Reset(u8), Get, Deep(Inner) } enum Inner { Old, New }");
    let reader = schema("enum Tally { Get, Deep(Inner) } enum Inner { Old }");
    let resolution = Resolution::new(&writer, &reader).unwrap();
    assert_eq!(resolution.partial(), ["Tally.Reset", "Tally.Deep.New"]);
    assert_eq!(resolution.apply(&[1]).unwrap(), [0]);
    assert_eq!(resolution.apply(&[2, 0]).unwrap(), [1, 0]);
    let mismatch = resolution.apply(&[0, 1]).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "`Tally` cannot be read as `Tally`: at Tally.Reset: the reader does not know variant `Reset`"
    );
    assert_eq!(resolution.apply(&[2, 1]).unwrap_err().path, "Tally.Deep.New");
}

#[test]
fn what_differs_only_in_names_of_places_is_converted() {
    check_converted("struct A { x: u8, y: String }", "struct A { y: String, x: u8 }", b"\x07\x01s", b"\x01s\x07");
    check_converted("struct A { x: u8 }", "struct A { n: u16 = 8001, x: u8, s: String = 00 }", &[7], &[0x80, 1, 7, 0]);
    check_converted("struct A { x: u8, y: u8 }", "struct A { y: u8, d: u8 = 2a, x: u8 }", &[1, 2], &[2, 42, 1]);
    check_converted("enum A { X(u8), Y }", "enum A { Y, X(u8) }", &[0, 7], &[1, 7]);
    check_converted("enum A { X }", "enum A { X { loud: bool = 01 } }", &[0], &[0, 1]);
    check_converted("u8", "Option<u8>", &[7], &[1, 7]);
    check_converted("Vec<u8>", "Vec<u16>", &[2, 7, 200], &[2, 7, 200, 1]);
    check_converted("Bytes", "Vec<i16>", &[1, 200], &[1, 0x90, 3]);
    check_converted("u32", "i64", &encode(&u32::MAX), &encode(&i64::from(u32::MAX)));
    check_converted("u64", "i128", &encode(&u64::MAX), &encode(&i128::from(u64::MAX)));
    check_converted("i8", "i64", &encode(&-1i8), &encode(&-1i64));
    check_converted("f32", "f64", &encode(&0.5f32), &encode(&0.5f64));
    check_converted(
        "struct List { head: u8, tail: Option<List> }",
        "struct List { tail: Option<List>, head: u16 }",
        &[1, 1, 200, 0],
        &[1, 0, 200, 1, 1],
    );
}

#[test]
fn what_has_the_same_bytes_is_left_alone() {
    check_identity("i64", "i64");
    check_identity("u16", "u64");
    check_identity("i16", "i128");
    check_identity("Vec<u8>", "Bytes");
    check_identity("enum A { X(u8), Y }", "enum A { X(u8), Y, Z }");
    check_identity("struct List { tail: Option<List> }", "struct List { tail: Option<List> }");
    check_identity("struct A", "struct A {}");
    check_identity("enum A {}", "enum A { X }");
}

#[test]
fn recursion_that_changes_deep_down_is_seen_from_the_top() {
    let writer = schema("struct A { b: Option<B>, s: u8 } struct B { a: Vec<A>, c: C } struct C(u8)");
    let reader = schema("struct A { b: Option<B>, s: u8 } struct B { a: Vec<A>, c: C } struct C(u16)");
    let resolution = Resolution::new(&writer, &reader).unwrap();
    assert!(!resolution.is_identity());
    assert_eq!(resolution.apply(&[1, 1, 0, 5, 200, 6]).unwrap(), [1, 1, 0, 5, 200, 1, 6]);
}

#[test]
fn messages_are_told_apart_by_name() {
    let same = |a: &str, b: &str| same_name(&schema(a), &schema(b));
    assert!(same("struct A(u8)", "enum A { X }"));
    assert!(!same("struct A(u8)", "struct B(u8)"));
    assert!(same("(i64, String)", "(i64, String)"));
    assert!(!same("i64", "String"));
    assert!(same("Option<A> where struct A", "Option<A> where struct A(u8)"));
    assert!(!same("Option<A> where struct A", "Option<B> where struct B"));
}

#[test]
fn a_random_schema_is_the_identity_of_itself() {
    seeds(400, |random| {
        let schema = random_schema(random);
        let resolution = Resolution::for_state(&schema, &schema).unwrap();
        assert!(resolution.is_identity() && resolution.partial().is_empty());
        assert!(same_name(&schema, &schema));
        for _ in 0..4 {
            let Some(bytes) = random_value(random, &schema) else { return };
            schema.check(&bytes).unwrap();
            assert_eq!(resolution.apply(&bytes).unwrap(), bytes);
        }
    });
}

#[test]
fn every_allowed_change_gives_values_of_the_reader() {
    seeds(2000, |random| {
        let writer = random_schema(random);
        let reader = evolved(random, &writer);
        let resolution = match Resolution::new(&writer, &reader) {
            Ok(resolution) => resolution,
            // Answers, and what goes through ports, flow the other way, where widening is narrowing.
            Err(mismatch) if ["(answer)", "(sent)"].iter().any(|turn| mismatch.path.contains(turn)) => return,
            Err(mismatch) => panic!("{mismatch}\n{writer}\n{reader}"),
        };
        for _ in 0..4 {
            let Some(bytes) = random_value(random, &writer) else { return };
            let converted = resolution.apply(&bytes).unwrap();
            reader.check(&converted).unwrap();
            if resolution.is_identity() {
                assert_eq!(converted, bytes);
            }
            for cut in 0..bytes.len() {
                assert!(resolution.apply(&bytes[..cut]).is_err());
            }
        }
    });
}

#[test]
fn hostile_bytes_are_converted_or_refused() {
    seeds(3000, |random| {
        let writer = random_schema(random);
        let reader = if random.one_in(2) { evolved(random, &writer) } else { random_schema(random) };
        let Ok(resolution) = Resolution::new(&writer, &reader) else { return };
        let good = random_value(random, &writer).unwrap_or_default();
        for _ in 0..8 {
            let bytes = if random.one_in(2) { random.damaged(&good) } else { random.bytes(40) };
            if let Ok(converted) = resolution.apply(&bytes) {
                writer.check(&bytes).unwrap();
                reader.check(&converted).unwrap();
            }
        }
    });
}

#[test]
fn schemas_that_explode_are_bounded() {
    // Each struct has eight of the next: 8^30 values of no bytes at all.
    let bomb = |last: &str| {
        let mut text = String::new();
        for i in 0..30 {
            let next = format!("T{}", i + 1);
            text += &format!("struct T{i}({}) ", [next.as_str(); 8].join(","));
        }
        schema(&format!("{text} struct T30{last}"))
    };
    let (unit, byte) = (bomb(""), bomb("(u8)"));
    assert!(unit.check(&[]).is_err());
    assert!(byte.check(&[0; 100]).is_err());
    assert!(Resolution::new(&unit, &unit).unwrap().apply(&[]).is_err());
    // Arrays of nothing.
    let arrays = schema("[[[(); 4000000000]; 4000000000]; 4000000000]");
    assert!(arrays.check(&[]).is_err());
    // Few bytes that become many.
    let writer = schema("Vec<A> where struct A { x: u8 }");
    let default = "00".repeat(8000);
    let reader = schema(&format!("Vec<A> where struct A {{ x: u8, y: [u8; 8000] = {default} }}"));
    let resolution = Resolution::new(&writer, &reader).unwrap();
    let mut bytes = encode(&100_000u32);
    bytes.extend(vec![0; 100_000]);
    assert!(resolution.apply(&bytes).unwrap_err().message.contains("larger than"));
    // A type that only contains itself, and a deep list.
    let endless = schema("struct A { a: A }");
    assert!(endless.check(&[]).is_err());
    assert!(Resolution::new(&endless, &endless).unwrap().apply(&[]).is_err());
    let list = schema("struct List { tail: Option<List>, x: u8 }");
    let wider = schema("struct List { x: u16, tail: Option<List> }");
    assert!(Resolution::new(&list, &wider).unwrap().apply(&[1; 100_000]).is_err());
    assert!(list.check(&[1; 100_000]).is_err());
}

#[test]
fn long_cycles_of_different_length_are_bounded() {
    // All types have one name, so each pair must be compared: 31 × 37 of them, one below the other.
    let cycle = |length: usize, last: &str| {
        use neurath_proto::schema::{Def, DefKind, Fields, Type};
        let def = |next: u32| Def {
            name: "A".into(),
            kind: DefKind::Struct(Fields::Tuple(vec![Type::Option(Box::new(Type::Named(next)))])),
        };
        let mut defs: Vec<Def> = (0..length as u32).map(|i| def((i + 1) % length as u32)).collect();
        // What keeps them from being merged into one.
        defs[0].name = last.into();
        Schema { root: Type::Named(0), defs }
    };
    let _ = Resolution::new(&cycle(31, "A"), &cycle(37, "A"));
    let mismatch = Resolution::new(&cycle(1000, "A"), &cycle(1000, "A")).unwrap_err();
    assert!(mismatch.message.contains("nested too deep"), "{mismatch}");
}

#[test]
fn a_resolution_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Resolution>();
    let _ = Random::new(0);
}
