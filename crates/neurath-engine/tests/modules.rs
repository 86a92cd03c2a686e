//! Which modules are accepted, which are refused and by what name, and that no bytes do harm (G8).
#![allow(missing_docs)]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::{Recorder, artifact, artifact_with, compile, config, engine, entry, guest, manifest};
use neurath_engine::{
    DescribeError, Engine, EngineConfig, EngineError, Fault, Identity, Instance, ModuleLimits, Origin, PrepareError,
    Ticker, describe, prepare, with_section,
};
use neurath_proto::abi::{ABI_VERSION, ReceiveId, StartMode};
use neurath_proto::manifest::{EntryKind, Manifest};

fn refusal(artifact: &[u8]) -> PrepareError {
    match prepare(artifact, &ModuleLimits::default()) {
        Err(error) => error,
        Ok(_) => panic!("it was accepted"),
    }
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let message = refusal(&artifact(text)).to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn an_accepted_module_says_what_it_is() {
    let wasm = artifact(&guest("(global $stack (mut i32) (i32.const 0))"));
    let prepared = prepare(&wasm, &ModuleLimits::default()).expect("accepted");
    assert_eq!(prepared.hash(), blake3::hash(&wasm).as_bytes());
    assert_eq!(prepared.manifest(), &manifest(&["main"], &[]));
    assert!(!prepared.changes_tables());
}

#[test]
fn what_is_no_module_of_ours_is_refused_by_name() {
    assert!(matches!(refusal(b""), PrepareError::NotWasm { .. }));
    assert!(refusal(b"\x7fELF....").to_string().contains("native ELF"));
    assert!(refusal(b"\0asm\x0d\0\x01\0").to_string().contains("component"));
    let bare = wat::parse_str(guest("")).expect("valid");
    assert!(matches!(refusal(&bare), PrepareError::NoManifest));
    let section = manifest(&["main"], &[]).to_section();
    let mut twice = with_section(&bare, &section).expect("valid");
    twice.extend_from_slice(&with_section(&wat::parse_str("(module)").expect("valid"), &section).expect("valid")[8..]);
    assert!(refusal(&twice).to_string().contains("2 sections"));
}

#[test]
fn a_module_with_any_bit_flipped_is_refused() {
    let good = artifact(&guest("(func (result i32) i32.const 77)"));
    let (mut bytes, mut damaged) = (good.clone(), 0);
    for bit in 0..good.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        damaged += usize::from(matches!(refusal(&bytes), PrepareError::Damaged));
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(damaged > good.len() * 7, "{damaged} of {} are found by the checksum", good.len() * 8);
    assert!(prepare(&bytes, &ModuleLimits::default()).is_ok());
}

#[test]
fn another_abi_is_refused_before_anything_else_is_decoded() {
    // Neither the rest of the manifest nor the module itself is of a kind that this version knows.
    let mut section = b"NRTH".to_vec();
    section.extend((ABI_VERSION + 1).to_le_bytes());
    section.extend([0xff; 9]);
    let wasm = wat::parse_str("(module (memory i64 1))").expect("valid");
    let message = refusal(&with_section(&wasm, &section).expect("valid")).to_string();
    assert!(message.contains(&format!("version {} of the guest ABI", ABI_VERSION + 1)), "{message}");
    let damaged = &manifest(&["main"], &[]).to_section()[..12];
    assert!(matches!(refusal(&with_section(&wasm, damaged).expect("valid")), PrepareError::Manifest { .. }));
}

#[test]
fn what_an_image_cannot_hold_or_nothing_can_stop_is_refused() {
    refused(&guest("(func $s) (start $s)"), "a start function");
    refused(&guest("(memory 1)"), "several memories");
    refused(&guest("(memory (export \"memory\") 1 1 shared)"), "a shared memory");
    refused(&guest("(memory (export \"memory\") i64 1)"), "a 64-bit memory");
    refused(&guest("(memory (export \"memory\") 1 (pagesize 1))"), "pages of its own size");
    refused(&guest("(global (mut funcref) (ref.null func))"), "mutable global 0 of type funcref");
    refused(&guest("(global externref (ref.null extern))"), "not valid for guests");
    refused(&guest("(tag $t) (func (throw $t))"), "not valid for guests");
    refused(&guest("(type $s (struct)) (func (drop (struct.new $s)))"), "not valid for guests");
    refused(&guest("(func (drop (i32.atomic.load (i32.const 0))))"), "not valid for guests");
    refused(
        &guest("(func (drop (f32x4.relaxed_min (v128.const i64x2 0 0) (v128.const i64x2 0 0))))"),
        "not valid for guests",
    );
}

#[test]
fn imports_are_those_of_neurath_and_wasi() {
    let with = |import: &str| guest("").replacen("(module", &format!("(module {import}"), 1);
    refused(
        &with("(import \"env\" \"puts\" (func (param i32) (result i32)))"),
        "imports `env.puts`, which does not exist",
    );
    refused(&with("(import \"neurath\" \"fork\" (func))"), "imports `neurath.fork`, which does not exist");
    refused(
        &with("(import \"neurath\" \"kill\" (func (param i64)))"),
        "imports `neurath.kill` as (i64) -> (), and it is (i32) -> ()",
    );
    refused(&with("(import \"neurath\" \"kill\" (global i32))"), "imports `neurath.kill`, which is no function");
    refused(&with("(import \"neurath\" \"memory\" (memory 1))"), "imports `neurath.memory`, which is no function");
}

#[test]
fn exports_that_will_be_called_must_be_there_and_have_their_types() {
    let without = |name: &str| guest("").replace(name, "other");
    refused(
        &without("\"neurath_poll\"").replace("other", "\"other\""),
        "`neurath_poll` is missing; it must be a function (i64) -> (i32)",
    );
    refused(&without("\"neurath_alloc\"").replace("other", "\"other\""), "`neurath_alloc` is missing");
    refused(&without("\"memory\"").replace("other", "\"other\""), "`memory` is missing");
    refused(&without("\"neurath:start:main\"").replace("other", "\"other\""), "`neurath:start:main` is missing");
    refused(
        &guest("(func (export \"neurath_poll\") (param i32) (result i32) i32.const 0)"),
        "`neurath_poll` is (i32) -> (i32)",
    );
    refused(&guest("(func (export \"_initialize\") (param i32))"), "`_initialize` is (i32) -> ()");
    refused(&guest("(func (export \"neurath_state\"))"), "`neurath_state` is () -> ()");
    refused(&guest("(global (export \"neurath:start:main\") i32 (i32.const 0))"), "`neurath:start:main` is missing");
    refused(
        &guest("(global (export \"neurath:global:7\") i32 (i32.const 0))"),
        "`neurath:global:7` has a name that the engine uses",
    );
    let server = Manifest { entries: vec![entry("main", EntryKind::Server)], ..manifest(&[], &[]) };
    let message = refusal(&artifact_with(&guest(""), &server)).to_string();
    assert!(message.contains("`neurath_state` is missing"), "{message}");
    let message = refusal(&artifact_with(&guest(""), &manifest(&["main"], &["old"]))).to_string();
    assert!(message.contains("`neurath:convert:old` is missing"), "{message}");
    let message = refusal(&artifact_with(&guest(""), &manifest(&["main", "main"], &[]))).to_string();
    assert!(message.contains("two entries `main`"), "{message}");
}

#[test]
fn modules_that_ask_for_too_much_are_refused_with_the_limit() {
    refused(&guest("(memory (export \"memory\") 257)"), "bytes of initial memory: 16842752, and the limit is 16777216");
    refused(&guest("(table 70000 funcref) (table 70000 funcref)"), "table elements: 140000, and the limit is 131072");
    refused(&guest(&"(global i32 (i32.const 0))".repeat(1001)), "globals: 1001, and the limit is 1000");
    refused(&guest(&"(func)".repeat(50_000)), "functions: 50003, and the limit is 50000");
    refused(
        &guest(&format!("(func {})", "(drop (i32.const 1000))".repeat(300_000))),
        "more code than is compiled in one piece",
    );
    let many: String = (0..1000).map(|_| "(import \"neurath\" \"kill\" (func (param i32)))").collect();
    refused(&guest("").replacen("(module", &format!("(module {many}"), 1), "imports: 1001");
    let limits = ModuleLimits { bytes_max: 100, ..ModuleLimits::default() };
    let error = prepare(&artifact(&guest("")), &limits).expect_err("too long");
    assert!(matches!(error, PrepareError::TooLarge { what: "bytes", limit: 100, .. }));
}

#[test]
fn a_hostile_name_cannot_flood_or_drive_a_terminal() {
    let name = format!("\\1b[2J{}", "x".repeat(50_000));
    let import = format!("(import \"env\" \"{name}\" (func))");
    let message = refusal(&artifact(&guest("").replacen("(module", &format!("(module {import}"), 1))).to_string();
    assert!(message.len() < 500 && !message.contains('\u{1b}'), "{message}");
    let body = format!(
        "(func $\"{name}\" unreachable) (func (export \"neurath_poll\") (param i64) (result i32) (call $\"{name}\") (i32.const 0))"
    );
    let module = compile(&engine(), &artifact(&guest(&body)));
    let mut instance = Instance::new(&module, Recorder::default()).expect("room");
    let message = instance.poll(ReceiveId(1)).expect_err("it traps").to_string();
    assert!(message.len() < 500 && !message.contains('\u{1b}') && message.contains("xxx"), "{message}");
}

#[test]
fn what_changes_beside_memory_and_globals_is_named() {
    for (instruction, code) in [
        ("table.set", "(table.set (i32.const 0) (ref.null func))"),
        ("table.grow", "(drop (table.grow (ref.null func) (i32.const 1)))"),
        ("table.fill", "(table.fill (i32.const 0) (ref.null func) (i32.const 1))"),
        ("table.copy", "(table.copy (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("table.init", "(table.init $e (i32.const 0) (i32.const 0) (i32.const 0))"),
        ("elem.drop", "(elem.drop $e)"),
        ("data.drop", "(data.drop $d)"),
    ] {
        let text = guest(&format!("(table 1 funcref) (elem $e funcref) (data $d \"x\") (func $f {code})"));
        let prepared = prepare(&artifact(&text), &ModuleLimits::default()).expect("accepted");
        assert_eq!(prepared.hidden_state().map(|state| state.instruction), Some(instruction));
    }
}

#[test]
fn every_import_that_is_accepted_links() {
    let preview1 = "args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get fd_advise fd_allocate \
        fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size \
        fd_filestat_set_times fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read fd_readdir fd_renumber fd_seek \
        fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link path_open \
        path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise \
        sched_yield random_get sock_accept sock_recv sock_send sock_shutdown";
    // The type of each comes out of the refusal of a wrong one.
    let imports: String = preview1
        .split_whitespace()
        .map(|name| {
            let wrong = format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func (param f32)))");
            let message =
                refusal(&artifact(&guest("").replacen("(module", &format!("(module {wrong}"), 1))).to_string();
            let ty = message.split("and it is (").nth(1).and_then(|rest| rest.split(';').next()).expect("a type");
            let (params, results) = ty.split_once(") -> (").expect("a type");
            let (params, results) = (params.replace(',', ""), results.trim_end_matches(')').replace(',', ""));
            format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func (param {params}) (result {results})))")
        })
        .collect();
    let module = compile(&engine(), &artifact(&guest("").replacen("(module", &format!("(module {imports}"), 1)));
    let mut instance = Instance::new(&module, Recorder::default()).expect("room");
    instance.start("main", &[], StartMode::Fresh).expect("starts");
}

/// Prepares the bytes and, if they are accepted, runs what they are. Anything but a panic is fine.
fn survive(engine: &Engine, bytes: &[u8]) -> bool {
    let Ok(prepared) = prepare(bytes, &engine.config().module) else { return false };
    let Ok(module) = engine.compile::<Recorder>(&prepared) else { return false };
    let host = Recorder { stop_at_tick: 3, ..Recorder::default() };
    let Ok(mut instance) = Instance::new(&module, host) else { return false };
    for call in 0..3 {
        let fault = match call {
            0 => instance.start("main", b"arguments", StartMode::Fresh).err(),
            1 => instance.poll(ReceiveId(1)).err(),
            _ => instance.state().err(),
        };
        assert!(instance.is_usable() || fault.is_some());
        if instance.is_usable() && instance.capture().is_ok_and(|image| instance.restore(&image).is_err()) {
            panic!("an image that was just captured was refused");
        }
    }
    instance.recycle();
    true
}

const RICH: &str = r#"
(table 3 funcref) (elem (i32.const 0) $helper)
(global $stack (mut i32) (i32.const 60000))
(data (i32.const 2000) "some data that the guest begins with")
(func $helper (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
(func (export "neurath_state") (result i64) (i64.const 0x000007d000000004))
(func (export "neurath_alloc") (param i32) (result i32)
  (global.set $stack (i32.sub (global.get $stack) (local.get 0))) (global.get $stack))
(func (export "neurath:start:main") (param i32 i32 i32) (result i32)
  (call $log (i32.const 3) (local.get 0) (local.get 1))
  (drop (call $send (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 1) (local.get 0) (local.get 1)))
  (i32.const 0))
(func (export "neurath_poll") (param i64) (result i32)
  (local $n i32)
  (loop
    (local.set $n (call_indirect (param i32) (result i32) (local.get $n) (i32.const 0)))
    (br_if 0 (i32.lt_u (local.get $n) (i32.const 10))))
  (i32.store (i32.const 4000) (local.get $n))
  (drop (call $take (local.get 0) (i32.const 3000) (i32.const 5000) (i32.const 200)))
  (i32.const 0))
"#;

fn ticker(engine: &Engine) -> Ticker {
    Ticker::start(engine, Duration::from_micros(50)).expect("a thread")
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error_or_a_guest_and_never_a_panic() {
    let engine = engine();
    let sound = artifact(&guest(RICH));
    assert!(survive(&engine, &sound));
    let _ticker = ticker(&engine);
    for length in 0..sound.len() {
        survive(&engine, &sound[..length]);
    }
    for bit in 0..sound.len().min(2048) * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        survive(&engine, &bytes);
    }
}

#[test]
fn random_damage_is_an_error_or_a_guest_and_never_a_panic() {
    let engine = engine();
    let sound = artifact(&guest(RICH));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let _ticker = ticker(&engine);
    for _ in 0..2000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random(8) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        if random(4) == 0 {
            let at = random(bytes.len());
            bytes.splice(at..at, (0..random(20)).map(|n| n as u8));
        }
        survive(&engine, &bytes);
    }
}

#[test]
fn native_code_comes_from_the_cache_unless_it_was_damaged() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("native");
    let config = EngineConfig { cache: Some(cache.clone()), ..config() };
    let wasm = artifact(&guest(RICH));
    let run = || {
        let module = compile(&Engine::new(config.clone()).expect("an engine"), &wasm);
        let mut instance = Instance::new(&module, Recorder::default()).expect("room");
        instance.start("main", b"x", StartMode::Fresh).expect("starts");
        assert_eq!(instance.state(), Ok(b"some".to_vec()));
        module.origin().clone()
    };
    assert_eq!([run(), run()], [Origin::CompiledAndKept, Origin::Cached]);
    let file = fs::read_dir(&cache).expect("reads").next().expect("a file").expect("reads").path();
    let sound = fs::read(&file).expect("reads");
    for damage in 0..20 {
        let mut bytes = sound.clone();
        match damage {
            0 => bytes.clear(),
            1 => bytes.truncate(sound.len() / 2),
            _ => bytes[damage * sound.len() / 20] ^= 0x10,
        }
        fs::write(&file, &bytes).expect("writes");
        assert_eq!([run(), run()], [Origin::CompiledAndKept, Origin::Cached], "damage {damage}");
    }
    // Code that was compiled with another configuration is not taken.
    let other = EngineConfig { stack_bytes_max: 256 << 10, ..config.clone() };
    compile(&Engine::new(other).expect("an engine"), &wasm);
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("ours");
    assert!(matches!(Engine::new(config), Err(EngineError::Cache(_))));
}

#[test]
fn native_code_is_gone_with_the_last_that_runs_it() {
    let engine = engine();
    let wasm = artifact(&guest(RICH));
    let module = compile(&engine, &wasm);
    let weak = Arc::downgrade(&module);
    let instance = Instance::new(&module, Recorder::default()).expect("room");
    Instance::new(&module, Recorder::default()).expect("room").recycle();
    drop(module);
    assert!(weak.upgrade().is_some());
    instance.recycle();
    assert!(weak.upgrade().is_none());
    assert_eq!(engine.memories(), 0);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A guest as the compiler makes it: it can describe itself, and has no manifest.
fn built(entry_name: &str, described: &[u8], more: &str) -> Vec<u8> {
    let packed = (3000_u64 << 32) | described.len() as u64;
    wat::parse_str(guest(&format!(
        "(data (i32.const 3000) \"{}\") (func (export \"neurath:describe:entry:{entry_name}\") (result i64) (i64.const {packed})) {more}",
        hex(described)
    )))
    .expect("valid")
}

fn identity() -> Identity {
    Identity { package: "test".into(), version: "0.1.0".into(), sdk: "0.1.0".into() }
}

#[test]
fn a_module_that_describes_itself_becomes_an_artifact() {
    let engine = engine();
    let converter = common::converter("old").to_bytes();
    let more = format!(
        "(data (i32.const 8000) \"{}\")
         (func (export \"neurath:describe:converter:old\") (result i64) (i64.const {}))
         (func (export \"neurath:convert:old\") (param i32 i32) (result i64) (i64.const 0))",
        hex(&converter),
        (8000_u64 << 32) | converter.len() as u64
    );
    let wasm = built("main", &entry("main", EntryKind::Process).to_bytes(), &more);
    let artifact = describe(&engine, &wasm, &identity()).expect("describes");
    assert_eq!(describe(&engine, &wasm, &identity()).expect("describes"), artifact);
    // An older section is replaced.
    assert_eq!(describe(&engine, &artifact, &identity()).expect("describes"), artifact);
    let prepared = prepare(&artifact, &engine.config().module).expect("accepted");
    assert_eq!(prepared.manifest(), &manifest(&["main"], &["old"]));
    assert!(artifact.starts_with(&wasm[..wasm.len() / 2]));
}

#[test]
fn a_module_that_cannot_describe_itself_is_refused_by_name() {
    let engine = engine();
    let fail = |wasm: &[u8]| describe(&engine, wasm, &identity()).expect_err("refused");
    let good = entry("main", EntryKind::Process).to_bytes();
    assert!(matches!(fail(&wat::parse_str(guest("")).expect("valid")), DescribeError::Nothing));
    assert!(fail(&built("other", &good, "")).to_string().contains("it is about `main`"));
    assert!(matches!(fail(&built("main", &good[..good.len() - 1], "")), DescribeError::Description { .. }));
    let more = "(func (export \"neurath:describe:entry:bad\") (result i64) unreachable)";
    assert!(matches!(fail(&built("main", &good, more)), DescribeError::Fault { fault: Fault::Trap { .. }, .. }));
    let more = "(func (export \"neurath:describe:entry:bad\") (result i64) (i64.const -1))";
    assert!(matches!(fail(&built("main", &good, more)), DescribeError::Fault { fault: Fault::Trap { .. }, .. }));
    let more = "(func (export \"neurath:describe:entry:bad\") (result i32) unreachable)";
    assert!(matches!(fail(&built("main", &good, more)), DescribeError::Prepare(PrepareError::Export { .. })));
    assert!(matches!(fail(b"no wasm"), DescribeError::Prepare(PrepareError::NotWasm { .. })));
}
