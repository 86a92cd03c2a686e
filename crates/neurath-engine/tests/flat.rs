//! Versions come and go, and nothing of them stays (G6). Alone in its process, because it counts mappings.
#![allow(missing_docs)]

mod common;

use common::{Recorder, artifact, compile, engine, guest};
use neurath_engine::Instance;
use neurath_proto::abi::{ReceiveId, StartMode};

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("Linux").lines().count()
}

#[test]
fn thousands_of_versions_leave_neither_code_nor_memory_behind() {
    let engine = engine();
    let version = |n: u32| {
        let body = format!(
            "(memory (export \"memory\") 1) (data (i32.const 0) \"version {n}\")
             (func (export \"neurath_poll\") (param i64) (result i32) (drop (memory.grow (i32.const 9))) (i32.const {}))",
            n % 2
        );
        let module = compile(&engine, &artifact(&guest(&body)));
        let mut instance = Instance::new(&module, Recorder::default()).expect("room");
        instance.start("main", &[], StartMode::Fresh).expect("starts");
        instance.poll(ReceiveId(1)).expect("polls");
        instance.recycle();
        assert_eq!(module.idle(), 1);
    };
    (0..200).for_each(&version);
    let before = mappings();
    (200..2200).for_each(&version);
    assert_eq!(engine.memories(), 0);
    // The allocator may have taken a few more; two thousand versions would have taken thousands.
    assert!(mappings() < before + 100, "{before} mappings became {}", mappings());
}
