//! What the derives make, against `neurath-proto` alone: this crate plays the part of `neurath`.
#![allow(missing_docs)]

extern crate self as neurath;

#[doc(hidden)]
pub mod __private {
    pub use neurath_proto as proto;
    pub use std::vec::Vec;
}

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use neurath_macros::{Message, State};
use neurath_proto::data::{Data, decode, encode};
use neurath_proto::{Pid, Schema};
use serde::{Deserialize, Serialize};

#[track_caller]
fn round_trip<T: Data + PartialEq + Debug>(value: T, bytes: &[u8]) {
    assert_eq!(encode(&value), bytes);
    assert_eq!(decode::<T>(bytes).unwrap(), value);
    Schema::of::<T>().check(bytes).unwrap();
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..cut]).is_err());
    }
}

#[derive(Message, Debug, PartialEq)]
enum Tally {
    Increment(i64),
    Get { who: Pid, r#loud: bool },
    Both(u8, String),
    Upgrade,
}

#[derive(State, Debug, PartialEq)]
#[neurath(name = "Account")]
struct AccountV2 {
    owner: String,
    #[neurath(default = 100)]
    cents: u16,
    #[neurath(default)]
    notes: Vec<String>,
    #[neurath(name = "kind")]
    r#type: u8,
}

#[derive(Message, Debug, PartialEq)]
struct Pair(u8, u8);
#[derive(Message, Debug, PartialEq)]
struct Marker;
#[derive(Message, Debug, PartialEq)]
enum Never {}

#[derive(Message, Debug, PartialEq)]
struct Tree<K: Ord, V>
where
    V: Clone,
{
    value: V,
    children: BTreeMap<K, Tree<K, V>>,
    parent: Option<Box<Tree<K, V>>>,
    marker: PhantomData<K>,
}

#[derive(Message, Debug, PartialEq)]
struct Buffer<const N: usize>([u8; N]);

#[test]
fn bytes_are_those_of_postcard() {
    round_trip(Tally::Increment(-1), &[0, 1]);
    round_trip(Tally::Both(7, "x".into()), &[2, 7, 1, b'x']);
    round_trip(Tally::Upgrade, &[3]);
    round_trip(Pair(1, 2), &[1, 2]);
    round_trip(Marker, &[]);
    round_trip(Buffer([1, 2, 3]), &[1, 2, 3]);
    let account = AccountV2 { owner: "o".into(), cents: 300, notes: vec![], r#type: 4 };
    round_trip(account, &[1, b'o', 0xac, 0x02, 0, 4]);
    let leaf = Tree { value: 1u8, children: BTreeMap::new(), parent: None, marker: PhantomData };
    let tree = Tree { value: 2, children: [(9u8, leaf)].into(), parent: None, marker: PhantomData };
    round_trip(tree, &[2, 1, 9, 1, 0, 0, 0]);
}

#[test]
fn a_variant_that_does_not_exist_is_refused_by_name() {
    let error = decode::<Tally>(&[4]).unwrap_err().to_string();
    assert!(error.contains("`Tally` has no variant number 4"), "{error}");
    assert!(decode::<Never>(&[0]).is_err());
}

#[test]
fn schemas_read_like_the_source() {
    assert_eq!(
        Schema::of::<Tally>().to_string(),
        "enum Tally {
    Increment(i64),
    Get {
        who: Pid,
        loud: bool,
    },
    Both(u8, String),
    Upgrade,
}"
    );
    assert_eq!(
        Schema::of::<AccountV2>().to_string(),
        "struct Account {
    owner: String,
    cents: u16 = ..,
    notes: Vec<String> = ..,
    kind: u8,
}"
    );
    assert_eq!(Schema::of::<Tree<u8, String>>().name(), "Tree");
    assert_eq!(Schema::of::<Pair>().to_string(), "struct Pair(u8, u8);");
    assert_eq!(Schema::of::<Marker>().to_string(), "struct Marker;");
    assert_eq!(Schema::of::<Never>().to_string(), "enum Never {}");
    assert_eq!(Schema::of::<Buffer<3>>().to_string(), "struct Buffer([u8; 3]);");
}

#[test]
fn an_enum_may_have_more_variants_than_fit_one_byte() {
    macro_rules! many {
        ($($name:ident)*) => {
            #[derive(Message, Debug, PartialEq, Clone, Copy)]
            enum Many { $($name),* }
            const ALL: &[Many] = &[$(Many::$name),*];
        };
    }
    many!(A0 A1 A2 A3 A4 A5 A6 A7 A8 A9 AA AB AC AD AE AF B0 B1 B2 B3 B4 B5 B6 B7 B8 B9 BA BB BC BD BE BF
        C0 C1 C2 C3 C4 C5 C6 C7 C8 C9 CA CB CC CD CE CF D0 D1 D2 D3 D4 D5 D6 D7 D8 D9 DA DB DC DD DE DF
        E0 E1 E2 E3 E4 E5 E6 E7 E8 E9 EA EB EC ED EE EF F0 F1 F2 F3 F4 F5 F6 F7 F8 F9 FA FB FC FD FE FF
        G0 G1 G2 G3 G4 G5 G6 G7 G8 G9 GA GB GC GD GE GF H0 H1 H2 H3 H4 H5 H6 H7 H8 H9 HA HB HC HD HE HF
        I0 I1 I2 I3);
    assert_eq!(encode(&Many::I0), [0x80, 1]);
    for value in ALL {
        assert_eq!(decode::<Many>(&encode(value)).unwrap(), *value);
    }
}

/// One declaration for both codecs.
#[derive(Message, Serialize, Deserialize, Debug, PartialEq, Clone)]
enum Twin {
    Unit,
    New(i32),
    Many(u8, Option<String>, Vec<u64>),
    Named { r#type: f64, inner: Box<Twin>, map: BTreeMap<String, (char, i128)> },
    Empty {},
    None(),
}

#[derive(State, Serialize, Deserialize, Debug, PartialEq)]
struct Whole<T> {
    unit: (),
    twins: Vec<T>,
    bytes: [u16; 3],
}

#[test]
fn a_derive_and_serde_with_postcard_give_the_same_bytes() {
    let mut twin = Twin::Unit;
    let mut twins = vec![Twin::Empty {}, Twin::None()];
    for n in 0..100u64 {
        twins.push(twin.clone());
        twin = match n % 3 {
            0 => Twin::New((n * 7919) as i32 - 300_000),
            1 => Twin::Many(n as u8, (n % 2 == 0).then(|| "ß".repeat(n as usize)), vec![n << n.min(50); 3]),
            _ => Twin::Named {
                r#type: n as f64 / 7.0,
                inner: Box::new(twin),
                map: BTreeMap::from([("k".to_owned(), ('\u{1f980}', -i128::from(n) << 70))]),
            },
        };
    }
    let whole = Whole { unit: (), twins, bytes: [0, 127, 65535] };
    let bytes = encode(&whole);
    assert_eq!(bytes, postcard::to_allocvec(&whole).unwrap());
    assert_eq!(decode::<Whole<Twin>>(&bytes).unwrap(), whole);
    Schema::of::<Whole<Twin>>().check(&bytes).unwrap();
}
