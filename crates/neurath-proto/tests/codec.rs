//! The codec: postcard's bytes, and refusal of all others.
#![cfg(feature = "std")]
#![allow(missing_docs, clippy::disallowed_types, reason = "programs may send hash maps")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use common::{Random, seeds};
use neurath_proto::cluster::{Answer, NodeInfo, Question};
use neurath_proto::data::{Data, DecodeError, DecodeFault, Reader, decode, encode};
use neurath_proto::notice::{Down, NameAnswer};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::schema::Opaque;
use neurath_proto::{Incarnation, NodeId, Pid, Ref, Schema, SchemaBuilder, Serial, Type};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The same bytes as postcard, read as postcard reads them, also when they are damaged.
fn check<T: Data + Serialize + DeserializeOwned + Debug>(random: &mut Random, value: T) {
    let bytes = encode(&value);
    assert_eq!(bytes, postcard::to_allocvec(&value).unwrap(), "{value:?}");
    assert_eq!(encode(&decode::<T>(&bytes).unwrap()), bytes, "{value:?}");
    Schema::of::<T>().check(&bytes).unwrap();
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..cut]).is_err());
    }
    let damaged = random.damaged(&bytes);
    let ours = decode::<T>(&damaged);
    let theirs = postcard::take_from_bytes::<T>(&damaged).ok().filter(|(_, rest)| rest.is_empty());
    match (ours, theirs) {
        (Ok(ours), Some((theirs, _))) => assert_eq!(encode(&ours), encode(&theirs)),
        (Err(_), None) => {}
        // Postcard takes the first of several characters, and loses the others.
        (Err(DecodeError { what: DecodeFault::BadChar, .. }), Some(_)) => {}
        (ours, theirs) => panic!("{damaged:?}: {ours:?}, but postcard says {theirs:?}"),
    }
    if decode::<T>(&damaged).is_ok() {
        Schema::of::<T>().check(&damaged).unwrap();
    }
}

macro_rules! check_all {
    ($random:ident: $($value:expr),* $(,)?) => { $(check($random, $value);)* };
}

#[test]
fn bytes_are_those_of_postcard() {
    seeds(2000, |random| {
        let n = random.number();
        let (text, bytes) = (random.text(), random.bytes(300));
        check_all!(random:
            (), n % 2 == 0, n as u8, n as i8, n as u16, n as i16, n as u32, n as i32, n, n as i64,
            u128::from(n) << 61, i128::from(n as i64) << 61, n as f32, f64::from_bits(n & !(0x7ff << 52)),
            char::from_u32(n as u32 % 0xd800).unwrap(), text.clone(), bytes.clone(), Box::new(n), Some(n),
            None::<String>, Some(Some(text.clone())), vec![n as i64; n as usize % 9], [n as u16, 1, 2],
            (n,), (n as u8, text.clone()), (1u8, n, text.clone(), Some(false), n as i8, 'x', 0.5f32, vec![n]),
            vec![vec![text.clone()]; 2], BTreeMap::from([(text.clone(), n), ("k".into(), 1)]),
            BTreeSet::from([n, 5]), HashMap::from([(n, text.clone())]), HashSet::from([text.clone()]),
            VecDeque::from(bytes.clone()), Ok::<u64, String>(n), Err::<u64, String>(text.clone()),
            Duration::new(n >> 1, n as u32 % 1_000_000_000), Range { start: n, end: 7 }, bytes[..bytes.len().min(3)].to_vec(),
        );
    });
}

#[test]
fn ids_and_reasons_come_back() {
    fn back<T: Data + PartialEq + Debug>(value: T) {
        let bytes = encode(&value);
        assert_eq!(decode::<T>(&bytes).unwrap(), value);
        Schema::of::<T>().check(&bytes).unwrap();
    }
    seeds(200, |random| {
        let (pid, text) = (random.pid(), random.text());
        back(pid);
        back(Ref(random.number()));
        let custom = ExitReason::Custom { type_name: text.clone(), schema: random.bytes(9), value: random.bytes(9) };
        for reason in [ExitReason::Killed { by: Some(pid) }, ExitReason::Disconnected, custom] {
            back(CallError::Down(reason.clone()));
            back(Down { monitor: Ref(1), pid, reason });
        }
        back(NameAnswer::Owner(pid));
    });
}

/// Guests are compiled against these bytes.
#[test]
fn questions_and_answers_have_golden_bytes() {
    fn golden<T: Data + PartialEq + Debug>(value: T, hex: &str) {
        let bytes = encode(&value);
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex, "{value:?}");
        Schema::of::<T>().check(&bytes).unwrap();
        assert_eq!(decode::<T>(&bytes).unwrap(), value);
        for cut in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..cut]).is_err(), "{value:?} cut at {cut}");
        }
    }
    let (node, name) = (NodeId(0x0102), "a".to_owned());
    let pid = Pid::new(node, Incarnation(3), Serial(4));
    let (monitor, group) = (Ref(300), "g".to_owned());
    golden(
        Question::Spawn { node, entry: name.clone(), arguments: vec![7, 8], link: true, monitor: false },
        "00020100000000000001610207080100",
    );
    golden(Question::Register { node, name: name.clone(), pid }, "010201000000000000016102010000000000000304");
    golden(Question::Unregister { node, name: name.clone() }, "0202010000000000000161");
    golden(Question::Whereis { node, name: name.clone() }, "0302010000000000000161");
    golden(Question::Ping { node }, "040201000000000000");
    golden(Question::Nodes, "05");
    golden(Question::MonitorNode { node }, "060201000000000000");
    golden(Question::DemonitorNode { monitor }, "07ac02");
    golden(Question::WatchNodes { on: true }, "0801");
    golden(Question::Join { group: group.clone() }, "090167");
    golden(Question::Leave { group: group.clone() }, "0a0167");
    golden(Question::Members { group }, "0b0167");
    golden(Answer::Done, "00");
    golden(Answer::Failed { why: name.clone() }, "010161");
    golden(Answer::Spawned { pid, monitor }, "0202010000000000000304ac02");
    golden(Answer::Name { answer: NameAnswer::TooMany }, "0304");
    golden(Answer::Pids { pids: vec![pid] }, "040102010000000000000304");
    golden(
        Answer::Nodes { nodes: vec![NodeInfo { node, incarnation: Incarnation(3), name }] },
        "05010201000000000000030161",
    );
    assert!(decode::<Question>(&[12]).is_err() && decode::<Answer>(&[6]).is_err());
}

#[test]
fn hostile_lengths_allocate_nothing() {
    let claim = encode(&u64::MAX);
    let fault = |result: Result<(), DecodeError>| result.unwrap_err().what;
    assert_eq!(fault(decode::<Vec<u8>>(&claim).map(drop)), DecodeFault::BadLength);
    assert_eq!(fault(decode::<String>(&claim).map(drop)), DecodeFault::BadLength);
    assert_eq!(fault(decode::<Vec<[u64; 64]>>(&claim).map(drop)), DecodeFault::BadLength);
    assert_eq!(fault(decode::<Vec<()>>(&claim).map(drop)), DecodeFault::BadLength);
    assert_eq!(decode::<Vec<()>>(&encode(&vec![(); 60_000])).unwrap().len(), 60_000);
    // Many lists of many nothings.
    let mut lists = encode(&100_000u64);
    (0..100_000).for_each(|_| lists.extend(encode(&60_000u64)));
    assert_eq!(fault(decode::<Vec<Vec<()>>>(&lists).map(drop)), DecodeFault::TooManyValues);
    assert!(Schema::of::<Vec<Vec<()>>>().check(&lists).is_err());
}

/// A list that nests as deep as its bytes say.
#[derive(Debug)]
struct List(Option<Box<List>>);

impl Data for List {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(Data::decode(reader)?))
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.tuple_structure::<Self>("List", |fields| fields.element::<Option<Box<List>>>())
    }
}

#[test]
fn depth_is_bounded_and_what_a_guest_reads_a_host_can_walk() {
    let deep = |count: usize| [vec![1; count], vec![0]].concat();
    let schema = Schema::of::<List>();
    assert!(decode::<List>(&deep(Reader::DEPTH_MAX)).is_ok());
    assert!(schema.check(&deep(Reader::DEPTH_MAX)).is_ok());
    assert_eq!(decode::<List>(&deep(Reader::DEPTH_MAX + 1)).unwrap_err().what, DecodeFault::TooDeep);
    assert!(decode::<List>(&vec![1; 1_000_000]).is_err());
}

#[test]
fn errors_say_what_and_where() {
    let error = |result: Result<(), DecodeError>| result.unwrap_err().to_string();
    assert_eq!(error(decode::<(u8, bool)>(&[1, 2]).map(drop)), "a flag is neither 0 nor 1 (at byte 2)");
    assert_eq!(error(decode::<u8>(&[1, 2]).map(drop)), "there are bytes left after the value (at byte 1)");
    assert_eq!(error(decode::<u16>(&[0xff, 0xff, 4]).map(drop)), "an integer is larger than its type (at byte 3)");
    assert_eq!(error(decode::<String>(&[1, 0xff]).map(drop)), "a string is not UTF-8 (at byte 2)");
    assert_eq!(error(decode::<Result<(), ()>>(&[2]).map(drop)), "`Result` has no variant number 2 (at byte 1)");
    assert_eq!(error(decode::<Pid>(&[0; 7]).map(drop)), "the bytes end within the value (at byte 0)");
}

#[test]
fn opaque_types_have_their_own_kinds() {
    assert_eq!(Schema::of::<Pid>().root, Type::Opaque(Opaque::Pid));
    assert_eq!(Schema::of::<Ref>().root, Type::Opaque(Opaque::Ref));
}

#[test]
fn maps_without_an_order_have_the_same_bytes_however_they_were_filled() {
    let names: Vec<String> = (0..100).map(|n| format!("name {n}")).collect();
    let forth: HashMap<String, u64> = names.iter().cloned().zip(0..100).collect();
    let mut back = HashMap::new();
    for (n, name) in (0..100u64).zip(&names).collect::<Vec<_>>().into_iter().rev() {
        back.insert(name.clone(), n);
    }
    assert_eq!(encode(&forth), encode(&back));
    assert_eq!(decode::<HashMap<String, u64>>(&encode(&forth)), Ok(back));
    let set: HashSet<String> = names.iter().rev().cloned().collect();
    assert_eq!(encode(&set), encode(&names.into_iter().collect::<HashSet<_>>()));
}
