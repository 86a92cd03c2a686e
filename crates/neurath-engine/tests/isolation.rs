//! What a process begins with, and that it is all: images, recycling, capture and restore.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;

use common::{Recorder, artifact, compile, config, engine, guest};
use neurath_engine::{CompileError, Engine, EngineConfig, Fault, Image, ImageError, Instance, Module, prepare};
use neurath_proto::abi::{PollStatus, ReceiveId, StartMode};

/// Poll 0 writes secrets everywhere and grows; poll 1 reports the size, a sum over all memory, and the globals.
const SPY: &str = r#"
(global $a (mut i32) (i32.const 11))
(global $b (mut i64) (i64.const 12))
(global $c (mut f64) (f64.const 1.5))
(global $fixed i32 (i32.const 3))
(global $d (mut v128) (v128.const i64x2 1 2))
(data (i32.const 5000) "initial data")
(func (export "neurath_poll") (param $what i64) (result i32)
  (local $at i32) (local $sum i64)
  (if (i64.eqz (local.get $what))
    (then
      (drop (memory.grow (i32.const 9)))
      (memory.fill (i32.const 0) (i32.const 0x5a) (i32.mul (memory.size) (i32.const 65536)))
      (global.set $a (i32.const 101))
      (global.set $b (i64.const 102))
      (global.set $c (f64.const 2.5))
      (global.set $d (v128.const i64x2 3 4)))
    (else (if (i64.eq (local.get $what) (i64.const 2))
    (then
      (i32.store (i32.const 9000) (i32.add (i32.load (i32.const 9000)) (i32.const 1)))
      (i32.store8 (i32.const 5003) (i32.const 0))
      (global.set $a (i32.add (global.get $a) (i32.const 1))))
    (else
      (loop
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if 0 (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
      (call $cancel (i64.extend_i32_u (memory.size)))
      (call $cancel (local.get $sum))
      (call $cancel (i64.extend_i32_u (global.get $a)))
      (call $cancel (global.get $b))
      (call $cancel (i64.reinterpret_f64 (global.get $c)))
      (call $cancel (i64x2.extract_lane 1 (global.get $d)))))))
  (i32.const 0))
"#;

fn new(module: &Arc<Module<Recorder>>) -> Instance<Recorder> {
    Instance::new(module, Recorder::default()).expect("room")
}

fn seen(instance: &mut Instance<Recorder>) -> Vec<String> {
    instance.poll(ReceiveId(1)).expect("polls");
    std::mem::take(&mut instance.host_mut().calls)
}

#[test]
fn no_byte_of_one_process_is_seen_by_the_next() {
    for idle_instances_max in [0, 1, 10] {
        let engine = Engine::new(EngineConfig { idle_instances_max, ..config() }).expect("an engine");
        let module = compile(&engine, &artifact(&guest(SPY)));
        let expected = seen(&mut new(&module));
        for _ in 0..20 {
            let mut spy = new(&module);
            assert_eq!(seen(&mut spy), expected);
            spy.poll(ReceiveId(0)).expect("polls");
            assert_ne!(seen(&mut spy), expected);
            spy.recycle();
            assert!(module.idle() <= idle_instances_max);
        }
        // Nor by one of another module that gets the slot.
        let mut spy = new(&module);
        spy.poll(ReceiveId(0)).expect("polls");
        drop(spy);
        module.set_keeps_idle(false);
        let other = compile(&engine, &artifact(&guest(&SPY.replace("initial data", "............"))));
        let fresh = seen(&mut new(&other));
        assert_eq!(seen(&mut new(&other)), fresh);
    }
}

#[test]
fn a_process_that_trapped_leaves_nothing_behind() {
    let body = r#"(global $n (mut i32) (i32.const 0))
        (func (export "neurath_poll") (param i64) (result i32)
          (if (i32.or (global.get $n) (i32.load (i32.const 70000))) (then (return (i32.const 1))))
          (global.set $n (i32.const 1)) (i32.store (i32.const 70000) (i32.const 1)) unreachable)
        (memory (export "memory") 2)"#;
    let module = compile(&engine(), &artifact(&guest(body)));
    for _ in 0..5 {
        let mut instance = new(&module);
        assert!(matches!(instance.poll(ReceiveId(1)), Err(Fault::Trap { .. })));
        instance.recycle();
        assert_eq!(module.idle(), 1);
    }
}

#[test]
fn processes_that_live_at_the_same_time_share_nothing() {
    let module = compile(&engine(), &artifact(&guest(SPY)));
    let mut instances: Vec<_> = (0..50).map(|_| new(&module)).collect();
    let expected = seen(&mut instances[0]);
    for instance in instances.iter_mut().step_by(2) {
        instance.poll(ReceiveId(0)).expect("polls");
    }
    for instance in instances.iter_mut().skip(1).step_by(2) {
        assert_eq!(seen(instance), expected);
    }
}

#[test]
fn memories_are_given_back_with_the_last_instance() {
    let engine = engine();
    let module = compile(&engine, &artifact(&guest(SPY)));
    let instances: Vec<_> = (0..10).map(|_| new(&module)).collect();
    assert_eq!(engine.memories(), 10);
    drop(instances);
    assert_eq!(engine.memories(), 0);
    new(&module).recycle();
    assert_eq!(engine.memories(), 1);
    drop(module);
    assert_eq!(engine.memories(), 0);
}

const INITIALIZED: &str = r#"
(global $ready (mut i32) (i32.const 0))
(func (export "_initialize")
  (drop (memory.grow (i32.const 2)))
  (i32.store (i32.const 190000) (i32.const 77))
  (global.set $ready (i32.const 5)))
(func (export "neurath_poll") (param i64) (result i32)
  (call $cancel (i64.load32_u (i32.const 190000)))
  (call $cancel (i64.extend_i32_u (global.get $ready)))
  (i32.store (i32.const 190000) (i32.const 1))
  (global.set $ready (i32.const 1))
  (i32.const 0))
"#;

#[test]
fn every_process_begins_after_initialize() {
    for more in ["", "(table 1 funcref) (func $hidden (table.set (i32.const 0) (ref.null func)))"] {
        let module = compile(&engine(), &artifact(&guest(&format!("{INITIALIZED}{more}"))));
        assert_eq!(module.initial_memory_bytes(), 3 << 16);
        for _ in 0..3 {
            let (mut kept, mut recycled) = (new(&module), new(&module));
            assert_eq!(seen(&mut kept), ["cancel 77", "cancel 5"]);
            assert_eq!(seen(&mut recycled), ["cancel 77", "cancel 5"]);
            recycled.recycle();
        }
    }
}

#[test]
fn initialize_has_no_effects_and_comes_to_an_end() {
    let engine = engine();
    let fault = |body: &str| {
        let artifact = artifact(&guest(body));
        let prepared = prepare(&artifact, &engine.config().module).expect("accepted");
        match engine.compile::<Recorder>(&prepared) {
            Err(CompileError::Initialize { fault, .. }) => fault.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let sent = fault("(func (export \"_initialize\") (drop (call $reference)))");
    assert!(sent.contains("reference was called while the module was being initialized"), "{sent}");
    let panicked = fault(
        "(data (i32.const 0) \"why.rs\") (func (export \"_initialize\") (call $panic (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 6) (i32.const 1) (i32.const 2)) unreachable)",
    );
    assert!(panicked.contains("it panicked at why.rs:1:2: why"), "{panicked}");
    let _ticker = neurath_engine::Ticker::start(&engine, std::time::Duration::from_micros(10)).expect("a thread");
    let endless = fault("(func (export \"_initialize\") (loop (br 0)))");
    assert!(endless.contains("endless loop"), "{endless}");
}

#[test]
fn a_captured_process_goes_on_where_it_was_in_another_instance_and_another_engine() {
    let wasm = artifact(&guest(SPY));
    let module = compile(&engine(), &wasm);
    let mut original = new(&module);
    original.poll(ReceiveId(2)).expect("polls");
    let small = original.capture().expect("captures");
    assert!(small.as_bytes().len() < 300, "{}", small.as_bytes().len());
    let at_small = seen(&mut original);
    original.poll(ReceiveId(0)).expect("polls");
    let large = original.capture().expect("captures");
    let at_large = seen(&mut original);
    assert_eq!(large.memory_bytes(), 10 << 16);

    let elsewhere = compile(&engine(), &wasm);
    for image in [&small, &large, &small, &small, &large] {
        let expected = if image == &small { &at_small } else { &at_large };
        let image = Image::from_bytes(image.as_bytes().to_vec(), 64 << 20).expect("sound");
        assert_eq!(image.module(), elsewhere.hash());
        let mut fresh = new(&elsewhere);
        fresh.restore(&image).expect("restores");
        assert_eq!(&seen(&mut fresh), expected);
        original.restore(&image).expect("restores");
        assert_eq!(&seen(&mut original), expected);
        // The copy's image is the same to the byte.
        assert_eq!(fresh.capture().expect("captures"), original.capture().expect("captures"));
        fresh.poll(ReceiveId(0)).expect("polls");
        fresh.recycle();
    }
}

#[test]
fn a_fault_is_undone_by_restoring() {
    let module = compile(
        &engine(),
        &artifact(&guest(
            "(func (export \"neurath_poll\") (param i64) (result i32) (if (i64.eqz (local.get 0)) (then unreachable)) i32.const 1)",
        )),
    );
    let mut instance = new(&module);
    let image = instance.capture().expect("captures");
    assert!(instance.poll(ReceiveId(0)).is_err());
    assert_eq!(instance.capture(), Err(ImageError::Unusable));
    instance.restore(&image).expect("restores");
    assert_eq!(instance.poll(ReceiveId(1)), Ok(PollStatus::Finished));
}

#[test]
fn an_image_of_another_module_or_too_large_is_refused_and_nothing_changes() {
    let engine = Engine::new(EngineConfig { image_bytes_max: 100_000, ..config() }).expect("an engine");
    let module = compile(&engine, &artifact(&guest(SPY)));
    let other = compile(&engine, &artifact(&guest(INITIALIZED)));
    let mut instance = new(&module);
    let image = instance.capture().expect("captures");
    assert!(matches!(new(&other).restore(&image), Err(ImageError::Module { .. })));
    instance.poll(ReceiveId(0)).expect("polls");
    assert_eq!(instance.capture(), Err(ImageError::TooLarge { limit: 100_000 }));
    instance.poll(ReceiveId(1)).expect("still runs");
    // The memory of the image is more than this process may have.
    let roomy = compile(&common::engine(), &artifact(&guest(SPY)));
    let mut large = new(&roomy);
    large.poll(ReceiveId(0)).expect("polls");
    let image = large.capture().expect("captures");
    instance.set_memory_bytes_max(1 << 17);
    assert_eq!(instance.restore(&image), Err(ImageError::Memory { found: 10 << 16, limit: 1 << 17 }));
    assert!(instance.is_usable());
}

#[test]
fn hostile_images_are_errors_or_processes_and_never_panics() {
    let module = compile(&engine(), &artifact(&guest(SPY)));
    let mut instance = new(&module);
    instance.poll(ReceiveId(2)).expect("polls");
    let sound = instance.capture().expect("captures").into_bytes();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(image) = Image::from_bytes(bytes, 1 << 20) else { continue };
        if instance.restore(&image).is_ok() {
            instance.poll(ReceiveId(1)).expect("this guest cannot trap");
        }
    }
}

#[test]
fn a_process_whose_tables_change_is_not_captured() {
    let body = "(table 1 funcref) (func $f) (elem declare func $f) (func (export \"neurath_poll\") (param i64) (result i32) (table.set (i32.const 0) (ref.func $f)) (i32.const 0))";
    let module = compile(&engine(), &artifact(&guest(body)));
    let mut instance = new(&module);
    instance.poll(ReceiveId(1)).expect("polls");
    let Err(ImageError::HiddenState { state }) = instance.capture() else { panic!("captured") };
    assert!(state.contains("`table.set` in function 26"), "{state}");
    assert!(!instance.reset());
    instance.recycle();
    assert_eq!(module.idle(), 0);
}

#[test]
fn an_idle_instance_may_start_another_entry() {
    let body = r#"
        (func (export "neurath:start:other") (param i32 i32 i32) (result i32) i32.const 1)"#;
    let artifact = common::artifact_with(&guest(body), &common::manifest(&["main", "other"], &[]));
    let module = compile(&engine(), &artifact);
    for (entry, status) in
        [("main", PollStatus::Pending), ("other", PollStatus::Finished), ("main", PollStatus::Pending)]
    {
        let mut instance = new(&module);
        assert_eq!(instance.start(entry, &[], StartMode::Fresh), Ok(status));
        instance.recycle();
        assert_eq!(module.idle(), 1);
    }
}
