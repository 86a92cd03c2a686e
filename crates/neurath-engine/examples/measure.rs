//! Measures what the engine costs: a poll, a spawn, a capture, a live process.
//!
//! `cargo run --release -p neurath-engine --example measure [processes] [guest.wasm entry arguments-in-hex]`

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{OTHER, SELF, guest};
use neurath_engine::{
    Clock, Engine, EngineConfig, EntryIndex, Host, Identity, Instance, Stop, Taken, describe, prepare,
};
use neurath_proto::abi::{MessageHead, ReceiveId, SendStatus, StartMode, Tag, TakeSpec};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::Class;
use neurath_proto::{Pid, Ref};

/// Has always a message, or never, and counts what is sent.
#[derive(Default)]
struct Busy {
    /// Whether there is nothing to take.
    idle: bool,
    sent: u64,
    bytes: u64,
}

impl Host for Busy {
    fn send(&mut self, _: Pid, _: Class, _: Ref, _: Tag, payload: &[u8]) -> SendStatus {
        self.sent += 1;
        self.bytes += payload.len() as u64;
        SendStatus::Queued
    }
    fn send_after(&mut self, _: u64, _: Pid, _: Tag, _: &[u8]) -> Result<Ref, SendStatus> {
        Ok(Ref(1))
    }
    fn cancel_timer(&mut self, _: Ref) -> bool {
        true
    }
    fn declare(&mut self, _: Tag, _: &[u8]) -> Result<(), Stop> {
        Ok(())
    }
    fn take(&mut self, _: ReceiveId, _: &TakeSpec, _: &[Tag], _: usize) -> Taken<'_> {
        if self.idle {
            return Taken::Pending;
        }
        Taken::Message(MessageHead { seq: self.sent, from: OTHER, ..MessageHead::default() }, b"hello, process")
    }
    fn accept(&mut self, _: ReceiveId, _: u64) -> bool {
        true
    }
    fn cancel(&mut self, _: ReceiveId) {}
    fn reference(&mut self) -> Ref {
        Ref(1)
    }
    fn spawn(&mut self, _: &str, _: &[u8], _: bool, _: bool) -> Result<(Pid, Ref), Stop> {
        Ok((OTHER, Ref(1)))
    }
    fn exit(&mut self, _: Tag, _: &[u8]) -> SendStatus {
        SendStatus::Queued
    }
    fn exit_process(&mut self, _: Pid, _: Tag, _: &[u8]) -> SendStatus {
        SendStatus::Queued
    }
    fn kill(&mut self, _: Pid) {}
    fn link(&mut self, _: Pid) {}
    fn unlink(&mut self, _: Pid) {}
    fn monitor(&mut self, _: Pid) -> Ref {
        Ref(1)
    }
    fn demonitor(&mut self, _: Ref) {}
    fn trap_exit(&mut self, _: bool) {}
    fn ask(&mut self, _: Question) -> Ref {
        Ref::NONE
    }
    fn self_pid(&self) -> Pid {
        SELF
    }
    fn become_latest(&mut self, _: &str, _: Tag, _: &[u8]) -> Result<Ref, SendStatus> {
        Ok(Ref(1))
    }
    fn log(&mut self, _: u32, _: &str) {}
    fn panicked(&mut self, _: &str, _: &str) {}
    fn failed(&mut self, _: &str) {}
    fn output(&mut self, _: u32, _: &[u8]) {}
    fn clock(&mut self, _: Clock) -> u64 {
        0
    }
    fn random(&mut self, _: &mut [u8]) {}
    fn overrun(&mut self, _: u64) -> Result<(), Stop> {
        Ok(())
    }
}

/// Takes one message and sends it on at each poll; its stack, data and heap lie in four pages.
const ECHO: &str = r#"
(memory (export "memory") 17)
(global $stack (mut i32) (i32.const 65536))
(data (i32.const 65536) "constants")
(data (i32.const 70000) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\ff\ff\ff\ff\ff\ff\ff\ff\00\20\01\00\01\00\00\00\00\00\00\00\00\00\00\00")
(func (export "neurath:start:main") (param i32 i32 i32) (result i32)
  (global.set $stack (i32.sub (global.get $stack) (i32.const 64)))
  (i32.store (global.get $stack) (local.get 1))
  (i32.store (i32.const 80000) (local.get 2))
  (i32.const 0))
(func (export "neurath_poll") (param $receive i64) (result i32)
  (if (i32.ne (i32.const 1) (call $take (local.get $receive) (i32.const 70000) (i32.const 80000) (i32.const 512)))
    (then unreachable))
  (drop (call $send (i32.const 80016) (i32.const 0) (i64.const 0) (i32.const 1)
    (i32.const 80056) (i32.load (i32.const 80048))))
  (i32.const 0))
(func (export "neurath_poll_only") (param i64) (result i32) (i32.const 0))
"#;

const IDLE: &str = "(func (export \"neurath_poll\") (param i64) (result i32) i32.const 0)";

/// Nanoseconds that this thread has computed: on a busy machine the clock on the wall counts others too.
fn computed_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn per(name: &str, count: u64, mut f: impl FnMut()) {
    for _ in 0..count / 10 {
        f();
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = computed_ns();
        for _ in 0..count {
            f();
        }
        best = best.min((computed_ns() - start) as f64 / count as f64);
    }
    println!("{name:44} {best:9.1} ns");
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024
    };
    field("VmRSS:") + field("VmPTE:")
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count()
}

fn main() {
    let processes: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    println!("the kernel reports touched pages: {}", engine.sees_pages());
    let artifact = common::artifact(&guest(ECHO));
    let prepared = prepare(&artifact, &engine.config().module).expect("accepted");
    let module = engine.compile::<Busy>(&prepared).expect("compiles");
    let idle_artifact = common::artifact(&guest(IDLE));
    let idle = engine.compile::<Busy>(&prepare(&idle_artifact, &engine.config().module).expect("ok")).expect("ok");

    let mut nothing = Instance::new(&idle, Busy::default()).expect("room");
    per("poll that does nothing", 2_000_000, || {
        nothing.poll(ReceiveId(1)).expect("polls");
    });
    let mut echo = Instance::new(&module, Busy::default()).expect("room");
    echo.start_entry(EntryIndex(0), &[], StartMode::Fresh).expect("starts");
    per("poll with one take and one send", 2_000_000, || {
        echo.poll(ReceiveId(1)).expect("polls");
    });
    per("spawn, start, recycle (empty guest)", 200_000, || {
        let mut instance = Instance::new(&idle, Busy::default()).expect("room");
        instance.start_entry(EntryIndex(0), &[], StartMode::Fresh).expect("starts");
        instance.recycle();
    });
    per("spawn, start, recycle (four pages)", 200_000, || {
        let mut instance = Instance::new(&module, Busy::default()).expect("room");
        instance.start_entry(EntryIndex(0), &[], StartMode::Fresh).expect("starts");
        instance.recycle();
    });
    per("spawn, start, poll, recycle (four pages)", 200_000, || {
        let mut instance = Instance::new(&module, Busy::default()).expect("room");
        instance.start_entry(EntryIndex(0), &[], StartMode::Fresh).expect("starts");
        instance.poll(ReceiveId(1)).expect("polls");
        instance.recycle();
    });
    per("spawn, start, drop (no pool)", 20_000, || {
        module.set_keeps_idle(false);
        let mut instance = Instance::new(&module, Busy::default()).expect("room");
        instance.start_entry(EntryIndex(0), &[], StartMode::Fresh).expect("starts");
    });
    let mut image = echo.capture().expect("captures");
    per("capture", 20_000, || image = echo.capture().expect("captures"));
    per("restore", 20_000, || echo.restore(&image).expect("restores"));
    println!("an image has {} bytes", image.as_bytes().len());

    let (before, maps) = (resident(), mappings());
    let mut live = Vec::with_capacity(processes);
    let start = computed_ns();
    for _ in 0..processes {
        let mut instance = Instance::new(&module, Busy::default()).expect("room");
        instance.start_entry(EntryIndex(0), &[], StartMode::Fresh).expect("starts");
        instance.poll(ReceiveId(1)).expect("polls");
        live.push(instance);
    }
    println!(
        "{processes} live processes: {} bytes each with page tables, {} more mappings, {:.1} us each to start",
        (resident() - before) / processes,
        mappings() - maps,
        (computed_ns() - start) as f64 / 1000.0 / processes as f64
    );
    let start = computed_ns();
    for instance in &mut live {
        instance.poll(ReceiveId(1)).expect("polls");
    }
    println!("poll of each in turn: {} ns", (computed_ns() - start) / processes as u64);
    let start = computed_ns();
    drop(live);
    println!("drop: {:.1} us each", (computed_ns() - start) as f64 / 1000.0 / processes as f64);

    let mut more = std::env::args().skip(2);
    if let (Some(path), Some(entry), arguments) = (more.next(), more.next(), more.next().unwrap_or_default()) {
        let arguments: Vec<u8> = (0..arguments.len() / 2)
            .map(|i| u8::from_str_radix(&arguments[2 * i..2 * i + 2], 16).expect("hexadecimal digits"))
            .collect();
        built(&engine, &path, &entry, &arguments, processes);
    }
}

/// What a guest costs that the compiler made.
fn built(engine: &Engine, path: &str, entry: &str, arguments: &[u8], processes: usize) {
    println!("\n{path}, entry {entry}");
    let wasm = std::fs::read(path).expect("a readable module");
    let identity = Identity { package: "guest".into(), version: "0.1.0".into(), sdk: "0.1.0".into() };
    let start = Instant::now();
    let artifact = describe(engine, &wasm, &identity).expect("it describes itself");
    println!("described in {:?}: {} bytes", start.elapsed(), artifact.len());
    let start = Instant::now();
    let prepared = prepare(&artifact, &engine.config().module).expect("accepted");
    println!("prepared in {:?}; hidden state: {:?}", start.elapsed(), prepared.hidden_state());
    let start = Instant::now();
    let module = engine.compile::<Busy>(&prepared).expect("compiles");
    println!(
        "compiled in {:?}: {} bytes of code, {} bytes of memory to begin with",
        start.elapsed(),
        module.code_bytes(),
        module.initial_memory_bytes()
    );
    let index = module.entry(entry).expect("the entry exists");
    let new = || Instance::new(&module, Busy { idle: true, ..Busy::default() }).expect("room");
    let mut one = new();
    println!("it starts: {:?}", one.start_entry(index, arguments, StartMode::Fresh));
    println!("its image has {} bytes", one.capture().expect("captures").as_bytes().len());
    per("spawn, start, recycle", 100_000, || {
        let mut instance = new();
        instance.start_entry(index, arguments, StartMode::Fresh).expect("starts");
        instance.recycle();
    });
    let before = resident();
    let mut live = Vec::with_capacity(processes);
    for _ in 0..processes {
        let mut instance = new();
        instance.start_entry(index, arguments, StartMode::Fresh).expect("starts");
        live.push(instance);
    }
    println!("{processes} live processes: {} bytes each with page tables", (resident() - before) / processes);
}
