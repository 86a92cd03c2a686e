//! Guests written by hand, and a host that records what they ask for.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::VecDeque;
use std::sync::Arc;

use neurath_engine::{Clock, Engine, EngineConfig, Host, Instance, Module, Stop, Taken, prepare, with_section};
use neurath_proto::abi::{MessageHead, ReceiveId, SendStatus, Tag, TakeSpec};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::Class;
use neurath_proto::manifest::{Converter, Entry, EntryKind, Manifest};
use neurath_proto::{Incarnation, NodeId, Pid, Ref, Schema, Serial, Type};

/// What a guest asked for, in words; and what it is given.
#[derive(Debug, Default)]
pub struct Recorder {
    pub calls: Vec<String>,
    pub mailbox: VecDeque<Vec<u8>>,
    pub next: Option<Next>,
    /// The tick at which the guest is stopped; 0 is never.
    pub stop_at_tick: u64,
    pub ticks: u64,
    pub time_ns: u64,
}

/// What the next `take` gives in place of the mailbox.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    TimedOut,
    NeedSchema(u32),
    TooLarge(usize),
    Failed(&'static [u8]),
}

pub const OTHER: Pid = Pid::new(NodeId(0x1122), Incarnation(3), Serial(44));
pub const SELF: Pid = Pid::new(NodeId(0x1122), Incarnation(3), Serial(55));

impl Recorder {
    fn note(&mut self, call: String) {
        self.calls.push(call);
    }
}

impl Host for Recorder {
    fn send(&mut self, to: Pid, class: Class, reference: Ref, tag: Tag, payload: &[u8]) -> SendStatus {
        self.note(format!("send {} {class:?} {} {} {payload:?}", to.serial.0, reference.0, tag.0));
        SendStatus::Queued
    }
    fn send_after(&mut self, delay_ns: u64, to: Pid, tag: Tag, payload: &[u8]) -> Result<Ref, SendStatus> {
        self.note(format!("send_after {delay_ns} {} {} {payload:?}", to.serial.0, tag.0));
        Err(SendStatus::OutboxFull)
    }
    fn cancel_timer(&mut self, timer: Ref) -> bool {
        self.note(format!("cancel_timer {}", timer.0));
        true
    }
    fn declare(&mut self, tag: Tag, schema: &[u8]) -> Result<(), Stop> {
        self.note(format!("declare {} {schema:?}", tag.0));
        if schema == [255] { Err(Stop("no schema".into())) } else { Ok(()) }
    }
    fn take(&mut self, receive: ReceiveId, spec: &TakeSpec, tags: &[Tag], room: usize) -> Taken<'_> {
        self.calls.push(format!("take {} {spec:?} {tags:?} {room}", receive.0));
        match self.next.take() {
            Some(Next::TimedOut) => return Taken::TimedOut,
            Some(Next::NeedSchema(index)) => return Taken::NeedSchema(index),
            Some(Next::TooLarge(bytes)) => return Taken::TooLarge(bytes),
            Some(Next::Failed(bytes)) => return Taken::Failed(bytes),
            None => {}
        }
        match self.mailbox.front() {
            None => Taken::Pending,
            Some(message) if message.len() > room => Taken::TooLarge(message.len()),
            Some(message) => Taken::Message(MessageHead { seq: 7, from: OTHER, ..MessageHead::default() }, message),
        }
    }
    fn accept(&mut self, receive: ReceiveId, seq: u64) -> bool {
        self.note(format!("accept {} {seq}", receive.0));
        true
    }
    fn cancel(&mut self, receive: ReceiveId) {
        self.note(format!("cancel {}", receive.0));
    }
    fn reference(&mut self) -> Ref {
        self.note("reference".into());
        Ref(99)
    }
    fn spawn(&mut self, entry: &str, arguments: &[u8], link: bool, monitor: bool) -> Result<(Pid, Ref), Stop> {
        self.note(format!("spawn {entry} {arguments:?} {link} {monitor}"));
        Ok((OTHER, Ref(5)))
    }
    fn exit(&mut self, tag: Tag, reason: &[u8]) -> SendStatus {
        self.note(format!("exit {} {reason:?}", tag.0));
        if tag.0 == 66 { SendStatus::NeedSchema } else { SendStatus::Queued }
    }
    fn exit_process(&mut self, to: Pid, tag: Tag, reason: &[u8]) -> SendStatus {
        self.note(format!("exit_process {} {} {reason:?}", to.serial.0, tag.0));
        SendStatus::Queued
    }
    fn kill(&mut self, to: Pid) {
        self.note(format!("kill {}", to.serial.0));
    }
    fn link(&mut self, to: Pid) {
        self.note(format!("link {}", to.serial.0));
    }
    fn unlink(&mut self, to: Pid) {
        self.note(format!("unlink {}", to.serial.0));
    }
    fn monitor(&mut self, to: Pid) -> Ref {
        self.note(format!("monitor {}", to.serial.0));
        Ref(6)
    }
    fn demonitor(&mut self, monitor: Ref) {
        self.note(format!("demonitor {}", monitor.0));
    }
    fn trap_exit(&mut self, on: bool) {
        self.note(format!("trap_exit {on}"));
    }
    fn ask(&mut self, question: Question) -> Ref {
        self.note(format!("ask {question:?}"));
        Ref(3)
    }
    fn self_pid(&self) -> Pid {
        SELF
    }
    fn become_latest(&mut self, entry: &str, tag: Tag, state: &[u8]) -> Result<Ref, SendStatus> {
        self.note(format!("become_latest {entry} {} {state:?}", tag.0));
        Ok(Ref(4))
    }
    fn log(&mut self, level: u32, line: &str) {
        self.note(format!("log {level} {line}"));
    }
    fn panicked(&mut self, message: &str, location: &str) {
        self.note(format!("panicked {message} {location}"));
    }
    fn failed(&mut self, message: &str) {
        self.note(format!("failed {message}"));
    }
    fn output(&mut self, stream: u32, bytes: &[u8]) {
        self.note(format!("output {stream} {}", String::from_utf8_lossy(bytes)));
    }
    fn clock(&mut self, clock: Clock) -> u64 {
        self.note(format!("clock {clock:?}"));
        self.time_ns
    }
    fn random(&mut self, bytes: &mut [u8]) {
        self.note(format!("random {}", bytes.len()));
        bytes.fill(4);
    }
    fn overrun(&mut self, ticks: u64) -> Result<(), Stop> {
        self.ticks = ticks;
        if ticks == self.stop_at_tick { Err(Stop("killed".into())) } else { Ok(()) }
    }
}

/// All imports of `neurath`, one page of memory, and the exports that every guest has, if the body
/// does not define them itself.
pub fn guest(body: &str) -> String {
    let mut text = String::from("(module\n");
    text.push_str(IMPORTS);
    if !body.contains("(memory (") {
        text.push_str("(memory (export \"memory\") 1)\n");
    }
    if !body.contains("\"neurath_alloc\"") {
        text.push_str("(func (export \"neurath_alloc\") (param i32) (result i32) i32.const 1024)\n");
    }
    if !body.contains("\"neurath_poll\"") {
        text.push_str("(func (export \"neurath_poll\") (param i64) (result i32) i32.const 0)\n");
    }
    if !body.contains("\"neurath:start:main\"") {
        text.push_str("(func (export \"neurath:start:main\") (param i32 i32 i32) (result i32) i32.const 0)\n");
    }
    text + body + ")"
}

pub const IMPORTS: &str = r#"
(import "neurath" "send" (func $send (param i32 i32 i64 i32 i32 i32) (result i32)))
(import "neurath" "send_after" (func $send_after (param i64 i32 i32 i32 i32) (result i64)))
(import "neurath" "cancel_timer" (func $cancel_timer (param i64) (result i32)))
(import "neurath" "declare" (func $declare (param i32 i32 i32)))
(import "neurath" "take" (func $take (param i64 i32 i32 i32) (result i32)))
(import "neurath" "accept" (func $accept (param i64 i64) (result i32)))
(import "neurath" "cancel" (func $cancel (param i64)))
(import "neurath" "reference" (func $reference (result i64)))
(import "neurath" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "neurath" "exit" (func $exit (param i32 i32 i32)))
(import "neurath" "exit_process" (func $exit_process (param i32 i32 i32 i32) (result i32)))
(import "neurath" "kill" (func $kill (param i32)))
(import "neurath" "link" (func $link (param i32)))
(import "neurath" "unlink" (func $unlink (param i32)))
(import "neurath" "monitor" (func $monitor (param i32) (result i64)))
(import "neurath" "demonitor" (func $demonitor (param i64)))
(import "neurath" "trap_exit" (func $trap_exit (param i32)))
(import "neurath" "ask" (func $ask (param i32 i32) (result i64)))
(import "neurath" "self_pid" (func $self_pid (param i32)))
(import "neurath" "become_latest" (func $become_latest (param i32 i32 i32 i32 i32) (result i64)))
(import "neurath" "log" (func $log (param i32 i32 i32)))
(import "neurath" "panic" (func $panic (param i32 i32 i32 i32 i32 i32)))
(import "neurath" "fail" (func $fail (param i32 i32)))
"#;

pub fn entry(name: &str, kind: EntryKind) -> Entry {
    let unit = || Schema { root: Type::Unit, defs: Vec::new() };
    Entry {
        name: name.into(),
        path: format!("test@0.1.0#{name}"),
        kind,
        arguments: unit(),
        argument_names: Vec::new(),
        state: unit(),
        accepts: Vec::new(),
        call: None,
        reply: None,
        cast: None,
    }
}

pub fn converter(name: &str) -> Converter {
    let unit = || Schema { root: Type::Unit, defs: Vec::new() };
    Converter { name: name.into(), entry: None, from: unit(), to: unit() }
}

pub fn manifest(entries: &[&str], converters: &[&str]) -> Manifest {
    Manifest {
        package: "test".into(),
        version: "0.1.0".into(),
        sdk: "0.1.0".into(),
        entries: entries.iter().map(|name| entry(name, EntryKind::Process)).collect(),
        converters: converters.iter().map(|name| converter(name)).collect(),
    }
}

/// The text as an artifact with the one entry `main`.
pub fn artifact(text: &str) -> Vec<u8> {
    artifact_with(text, &manifest(&["main"], &[]))
}

pub fn artifact_with(text: &str, manifest: &Manifest) -> Vec<u8> {
    let wasm = wat::parse_str(text).expect("the test's text is valid");
    with_section(&wasm, &manifest.to_section()).expect("the test's module is valid")
}

pub fn config() -> EngineConfig {
    EngineConfig { mapping_bytes: 1 << 36, ..EngineConfig::default() }
}

pub fn engine() -> Engine {
    Engine::new(config()).expect("an engine")
}

pub fn compile(engine: &Engine, artifact: &[u8]) -> Arc<Module<Recorder>> {
    let prepared = prepare(artifact, &engine.config().module).expect("the test's module is accepted");
    engine.compile(&prepared).expect("the test's module compiles")
}

/// An instance of the guest with this body.
pub fn instance(body: &str) -> Instance<Recorder> {
    let module = compile(&engine(), &artifact(&guest(body)));
    Instance::new(&module, Recorder::default()).expect("room")
}
