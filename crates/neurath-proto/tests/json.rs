//! JSON: the stated forms, both ways, and errors that name the path.
#![cfg(feature = "json")]
#![allow(missing_docs)]

mod common;

use common::{random_schema, random_value, schema, seeds};
use neurath_proto::data::encode;
use neurath_proto::json::{example, from_json, from_json_with, to_json};
use neurath_proto::{Incarnation, NodeId, Pid, Ref, Serial};
use serde_json::{Value, json};

/// `bytes` are shown as `shown`, and read back from it.
#[track_caller]
fn check(ty: &str, bytes: &[u8], shown: Value) {
    let schema = schema(ty);
    assert_eq!(to_json(&schema, bytes).unwrap(), shown);
    assert_eq!(from_json(&schema, &shown).unwrap(), bytes);
}

#[track_caller]
fn check_read(ty: &str, written: Value, bytes: &[u8]) {
    assert_eq!(from_json(&schema(ty), &written).unwrap(), bytes);
}

#[track_caller]
fn check_refused(ty: &str, written: Value, expected: &str) {
    assert_eq!(from_json(&schema(ty), &written).unwrap_err().to_string(), expected);
}

const TALLY: &str =
    "enum Tally { Increment(i64), Get(ReplyTo<i64>), Both(u8, String), Log { to: u8, at: u8 = 07 }, Upgrade }";

#[test]
fn every_type_has_its_form() {
    check(TALLY, &[0, 1], json!({"Increment": -1}));
    check(TALLY, &[2, 7, 1, b'x'], json!({"Both": [7, "x"]}));
    check(TALLY, &[3, 1, 2], json!({"Log": {"to": 1, "at": 2}}));
    check(TALLY, &[4], json!("Upgrade"));
    check("u64", &encode(&(1u64 << 53)), json!(9007199254740992u64));
    check("u64", &encode(&u64::MAX), json!("18446744073709551615"));
    check("i64", &encode(&i64::MIN), json!("-9223372036854775808"));
    check("u128", &encode(&5u128), json!("5"));
    check("i128", &encode(&i128::MIN), json!("-170141183460469231731687303715884105728"));
    check("f64", &encode(&f64::NAN), json!("NaN"));
    check("f32", &encode(&f32::NEG_INFINITY), json!("-Infinity"));
    check("f32", &encode(&0.1f32), json!(f64::from(0.1f32)));
    check("char", &encode(&'ß'), json!("ß"));
    check("Bytes", &encode(&b"hello".to_vec()), json!({"base64": "aGVsbG8="}));
    check("Option<u8>", &[1, 7], json!(7));
    check("Option<u8>", &[0], json!(null));
    check("Option<Option<u8>>", &[1, 0], json!({"some": null}));
    check("Option<Option<u8>>", &[1, 1, 7], json!({"some": 7}));
    check("Option<()>", &[1], json!({"some": null}));
    check("Map<String, u8>", &[1, 1, b'k', 7], json!({"k": 7}));
    check("Map<u8, u8>", &[1, 1, 7], json!([[1, 7]]));
    check("[u8; 2]", &[1, 2], json!([1, 2]));
    check("(u8, (), bool)", &[1, 0], json!([1, null, false]));
    check("struct A", &[], json!(null));
    check("struct A(u8)", &[1], json!(1));
    check("struct A(u8, u8)", &[1, 2], json!([1, 2]));
    check("struct A { x: u8 }", &[1], json!({"x": 1}));
    let pid = Pid::new(NodeId(0xc0ffee), Incarnation(1), Serial(42));
    check("Pid", &encode(&pid), json!("42@0000000000c0ffee.1"));
    check("Ref", &encode(&Ref(7)), json!(7));
    for ty in ["ReplyTo<u8>", "SendPort<u8>"] {
        check(ty, &encode(&(pid, Ref(7))), json!({"pid": "42@0000000000c0ffee.1", "ref": 7}));
    }
}

#[test]
fn other_forms_are_accepted() {
    check_read("i64", json!("-1"), &encode(&-1i64));
    check_read("u128", json!(5), &[5]);
    check_read("Bytes", json!([1, 2]), &[2, 1, 2]);
    check_read("Bytes", json!("hi"), b"\x02hi");
    check_read("Map<String, u8>", json!([["k", 7]]), &[1, 1, b'k', 7]);
    check_read("struct A { o: Option<u8>, x: u8 = 09 }", json!({}), &[0, 9]);
    check_read("enum A { X, Y { o: Option<u8> } }", json!("Y"), &[1, 0]);
    check_read("enum A { X }", json!({"X": null}), &[0]);
    check_read("Option<Option<u8>>", json!(7), &[1, 1, 7]);
    check_read("f64", json!(1), &encode(&1.0f64));
}

#[test]
fn errors_name_the_path_and_what_was_expected() {
    check_refused(
        TALLY,
        json!({"Increment": "x"}),
        "at Tally.Increment: expected an integer (i64), found a string \"x\"",
    );
    check_refused(
        TALLY,
        json!({"Increment": 1.5}),
        "at Tally.Increment: expected an integer (i64), found the number 1.5",
    );
    check_refused(TALLY, json!("Upgrad"), "at Tally: `Tally` has no variant `Upgrad`; did you mean `Upgrade`?");
    check_refused(
        TALLY,
        json!("Nonsense"),
        "at Tally: `Tally` has no variant `Nonsense`; it has `Increment`, `Get`, `Both`, `Log`, `Upgrade`",
    );
    check_refused(
        TALLY,
        json!("Increment"),
        "at Tally.Increment: expected {\"Increment\": ..} with its value, found only the name",
    );
    check_refused(
        TALLY,
        json!({"Log": {"to": 1, "att": 2}}),
        "at Tally.Log: `Log` has no field `att`; did you mean `at`?",
    );
    check_refused(TALLY, json!({"Log": {}}), "at Tally.Log: field `to` of `Log` is missing (u8)");
    check_refused(TALLY, json!({"Both": [1]}), "at Tally.Both: expected an array of 2, found an array of 1");
    check_refused(TALLY, json!({"Both": [1, 2]}), "at Tally.Both.1: expected a string (String), found the number 2");
    check_refused(
        TALLY,
        json!({"Get": null}),
        "at Tally.Get: an answer is wanted here, and nobody waits for one: use a call",
    );
    check_refused("u8", json!(256), "at u8: expected an integer (u8), found the number 256");
    check_refused(
        "struct O { lines: Vec<L> } struct L { price: u8 }",
        json!({"lines": [{"price": 1}, {"price": null}]}),
        "at O.lines[1].price: expected an integer (u8), found null",
    );
    check_refused("Bytes", json!({"base64": "a"}), "at Vec<u8>: expected base64 (RFC 4648, with padding)");
    check_refused("Pid", json!("x"), "at Pid: a pid looks like `42@00c3f2e1a5b4d697.1`: serial, node and incarnation");
    check_refused("f32", json!(1e300), "at f32: expected a smaller number (f32), found the number 1e+300");
}

#[test]
fn a_call_fills_in_its_own_address() {
    let own = (Pid::new(NodeId(1), Incarnation(2), Serial(3)), Ref(4));
    let filled = [&[1][..], &encode(&own)].concat();
    for written in [json!({"Get": null}), json!({"Get": "_"}), json!("Get")] {
        assert_eq!(from_json_with(&schema(TALLY), &written, Some(own)).unwrap(), (filled.clone(), 1));
    }
    let (_, count) = from_json_with(&schema(TALLY), &json!("Upgrade"), Some(own)).unwrap();
    assert_eq!(count, 0);
    let two = schema("struct A { a: ReplyTo<u8>, b: ReplyTo<u8> }");
    assert_eq!(from_json_with(&two, &json!({"a": "_"}), Some(own)).unwrap().1, 2);
}

#[test]
fn random_values_come_back() {
    seeds(3000, |random| {
        let schema = random_schema(random);
        for _ in 0..4 {
            let Some(bytes) = random_value(random, &schema) else { return };
            let json = to_json(&schema, &bytes).unwrap();
            assert_eq!(from_json(&schema, &json).unwrap(), bytes, "{json}\n{schema}");
            let text: Value = serde_json::from_str(&json.to_string()).unwrap();
            assert_eq!(from_json(&schema, &text).unwrap(), bytes, "{json}\n{schema}");
            let damaged = random.damaged(&bytes);
            let _ = to_json(&schema, &damaged).map(|json| from_json(&schema, &json));
            let _ = from_json(&random_schema(random), &json);
        }
    });
}

#[test]
fn examples_are_values() {
    assert_eq!(example(&schema(TALLY)), json!({"Increment": 0}));
    assert_eq!(
        example(&schema("struct A { s: String, l: Vec<u8>, t: Option<A> }")),
        json!({"s": "text", "l": [0], "t": null})
    );
    assert_eq!(example(&schema("enum T { Node(T, T), Leaf(u8) }")), json!({"Leaf": 0}));
    let own = Some((Pid::default(), Ref(1)));
    seeds(2000, |random| {
        let schema = random_schema(random);
        // A type that has no finite value has no example either.
        if random_value(random, &schema).is_some() {
            let json = example(&schema);
            let _ = from_json_with(&schema, &json, own);
        }
    });
}

#[test]
fn hostile_bytes_make_no_mountain_of_json() {
    assert!(to_json(&schema("Vec<()>"), &encode(&u32::MAX)).is_err());
    assert!(to_json(&schema("[(); 4000000000]"), &[]).is_err());
    assert!(to_json(&schema("struct A { a: A }"), &[]).is_err());
    let twice = [2, 1, b'k', 1, 1, b'k', 2];
    assert_eq!(to_json(&schema("Map<String, u8>"), &twice).unwrap(), json!([["k", 1], ["k", 2]]));
    let mut deep = json!(null);
    (0..2000).for_each(|_| deep = json!({"t": deep.take()}));
    assert!(from_json(&schema("struct A { t: Option<A> }"), &deep).is_err());
}

#[test]
fn what_no_reader_could_hold_is_refused() {
    let long: Value = serde_json::from_str("340282366920938463463374607431768211455").unwrap();
    check_refused(
        "u128",
        long,
        "at u128: expected an integer (u128), found a number beyond 64 bits: write its digits as a string",
    );
    check_refused(
        "struct Duration { secs: u64, nanos: u32 }",
        json!({"secs": 1, "nanos": 1_000_000_000}),
        "at Duration: expected fewer than 1000000000 `nanos`, found 1000000000: whole seconds are `secs`",
    );
    check_read(
        "struct Pause { secs: u64, nanos: u32 }",
        json!({"secs": 0, "nanos": 1_000_000_000}),
        &[0, 128, 148, 235, 220, 3],
    );
}
