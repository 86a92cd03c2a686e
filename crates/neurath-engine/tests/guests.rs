//! What guests may do, what ends them, and that nothing they do reaches further (G8, G10).
#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Next, Recorder, artifact, artifact_with, compile, config, engine, guest, instance, manifest};
use neurath_engine::{Engine, EngineConfig, Fault, Instance, Ticker};
use neurath_proto::abi::{MessageHead, PollStatus, ReceiveId, StartMode};

/// A guest whose poll is this code; its memory holds a pid at 0, a text at 100 and a spec at 200.
fn polling(code: &str) -> Instance<Recorder> {
    polling_with(code, "")
}

fn polling_with(code: &str, more: &str) -> Instance<Recorder> {
    instance(&format!(
        r#"
        (data (i32.const 0) "\22\11\00\00\00\00\00\00\2c\00\00\00\00\00\00\00\03\00\00\00\00\00\00\00")
        (data (i32.const 100) "a name")
        (data (i32.const 200) "\01\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\03\00\00\00\00\00\00\00\2c\01\00\00\02\00\00\00\01\00\00\00\00\00\00\00")
        (data (i32.const 300) "\07\00\00\00\08\00\00\00")
        (func (export "neurath_poll") (param i64) (result i32) {code})
        {more}
        "#
    ))
}

fn poll(instance: &mut Instance<Recorder>) -> Result<PollStatus, Fault> {
    instance.poll(ReceiveId(1))
}

#[track_caller]
fn trapped(result: Result<PollStatus, Fault>) -> String {
    match result {
        Err(Fault::Trap { message }) => message,
        other => panic!("expected a trap and got {other:?}"),
    }
}

#[test]
fn every_import_hands_the_host_what_the_guest_meant() {
    let text = "(i32.const 100) (i32.const 6)";
    let cases = [
        (
            format!("(call $send (i32.const 0) (i32.const 2) (i64.const 9) (i32.const 5) {text})"),
            "send 44 Call 9 5 [97, 32, 110, 97, 109, 101]",
            0,
        ),
        (
            format!("(i32.wrap_i64 (call $send_after (i64.const 8) (i32.const 0) (i32.const 5) {text}))"),
            "send_after 8 44 5 [97, 32, 110, 97, 109, 101]",
            -2,
        ),
        ("(call $cancel_timer (i64.const 3))".into(), "cancel_timer 3", 1),
        ("(call $declare (i32.const 4) (i32.const 100) (i32.const 1)) (i32.const 0)".into(), "declare 4 [97]", 0),
        ("(call $accept (i64.const 3) (i64.const 4))".into(), "accept 3 4", 1),
        ("(call $cancel (i64.const 3)) (i32.const 0)".into(), "cancel 3", 0),
        ("(i32.wrap_i64 (call $reference))".into(), "reference", 99),
        (
            format!("(call $spawn {text} (i32.const 100) (i32.const 1) (i32.const 3) (i32.const 400))"),
            "spawn a name [97] true true",
            0,
        ),
        (
            "(call $exit_process (i32.const 0) (i32.const 5) (i32.const 100) (i32.const 1))".into(),
            "exit_process 44 5 [97]",
            0,
        ),
        ("(call $kill (i32.const 0)) (i32.const 0)".into(), "kill 44", 0),
        ("(call $link (i32.const 0)) (i32.const 0)".into(), "link 44", 0),
        ("(call $unlink (i32.const 0)) (i32.const 0)".into(), "unlink 44", 0),
        ("(i32.wrap_i64 (call $monitor (i32.const 0)))".into(), "monitor 44", 6),
        ("(call $demonitor (i64.const 3)) (i32.const 0)".into(), "demonitor 3", 0),
        ("(call $trap_exit (i32.const 1)) (i32.const 0)".into(), "trap_exit true", 0),
        (
            "(i32.store8 (i32.const 100) (i32.const 5)) (i32.wrap_i64 (call $ask (i32.const 100) (i32.const 1)))"
                .into(),
            "ask Nodes",
            3,
        ),
        (
            format!("(i32.wrap_i64 (call $become_latest {text} (i32.const 5) (i32.const 100) (i32.const 1)))"),
            "become_latest a name 5 [97]",
            4,
        ),
        (format!("(call $log (i32.const 5) {text}) (i32.const 0)"), "log 5 a name", 0),
        ("(call $fail (i32.const 100) (i32.const 1)) (i32.const 0)".into(), "failed a", 0),
        (
            format!("(call $panic {text} (i32.const 100) (i32.const 1) (i32.const 7) (i32.const 8)) (i32.const 0)"),
            "panicked a name a:7:8",
            0,
        ),
    ];
    for (code, call, result) in cases {
        // The result comes out as the first word of a log line's length: through the state of the host.
        let mut instance = polling_with(
            &format!("(call $keep (block (result i32) {code})) (i32.const 0)"),
            "(func $keep (param i32) (call $cancel (i64.extend_i32_s (local.get 0))))",
        );
        assert_eq!(poll(&mut instance), Ok(PollStatus::Pending), "{code}");
        assert_eq!(instance.host().calls[0], call);
        assert_eq!(instance.host().calls[1], format!("cancel {}", i64::from(result) as u64), "{code}");
    }
}

#[test]
fn spawn_and_self_pid_write_what_they_say() {
    let mut instance = polling(
        "(drop (call $spawn (i32.const 100) (i32.const 6) (i32.const 100) (i32.const 0) (i32.const 0) (i32.const 400)))
         (call $self_pid (i32.const 500))
         (call $cancel (i64.load (i32.const 408)))
         (call $cancel (i64.load (i32.const 424)))
         (call $cancel (i64.load (i32.const 508)))
         (i32.const 1)",
    );
    assert_eq!(poll(&mut instance), Ok(PollStatus::Finished));
    assert_eq!(instance.host().calls, ["spawn a name [] false false", "cancel 44", "cancel 5", "cancel 55"]);
}

#[test]
fn pointers_outside_of_the_memory_end_the_guest_by_name() {
    // -1 is the last address of all; 65530 begins inside and ends outside.
    for at in ["-1", "65530"] {
        let (p, good) = (format!("(i32.const {at})"), "(i32.const 0)");
        let len = "(i32.const 7)";
        let cases = [
            ("send", format!("(drop (call $send {p} {good} (i64.const 0) {good} {good} {len}))")),
            ("send", format!("(drop (call $send {good} {good} (i64.const 0) {good} {p} {len}))")),
            ("send", format!("(drop (call $send {good} {good} (i64.const 0) {good} {len} (i32.const -1)))")),
            ("send_after", format!("(drop (call $send_after (i64.const 0) {p} {good} {good} {len}))")),
            ("send_after", format!("(drop (call $send_after (i64.const 0) {good} {good} {p} {len}))")),
            ("declare", format!("(call $declare {good} {p} {len})")),
            ("take", format!("(drop (call $take (i64.const 0) {p} (i32.const 400) (i32.const 100)))")),
            ("take", format!("(drop (call $take (i64.const 0) (i32.const 200) {p} (i32.const 100)))")),
            (
                "take",
                format!(
                    "(i32.store (i32.const 224) {p}) (drop (call $take (i64.const 0) (i32.const 200) (i32.const 400) (i32.const 100)))"
                ),
            ),
            ("spawn", format!("(drop (call $spawn {p} {len} {good} {good} {good} {good}))")),
            ("spawn", format!("(drop (call $spawn {good} {len} {p} {len} {good} {good}))")),
            ("spawn", format!("(drop (call $spawn {good} {len} {good} {good} {good} {p}))")),
            ("exit", format!("(call $exit {good} {p} {len})")),
            ("exit_process", format!("(drop (call $exit_process {p} {good} {good} {len}))")),
            ("exit_process", format!("(drop (call $exit_process {good} {good} {p} {len}))")),
            ("kill", format!("(call $kill {p})")),
            ("link", format!("(call $link {p})")),
            ("unlink", format!("(call $unlink {p})")),
            ("monitor", format!("(drop (call $monitor {p}))")),
            ("ask", format!("(drop (call $ask {p} {len}))")),
            ("self_pid", format!("(call $self_pid {p})")),
            ("become_latest", format!("(drop (call $become_latest {p} {len} {good} {good} {good}))")),
            ("become_latest", format!("(drop (call $become_latest {good} {len} {good} {p} {len}))")),
            ("log", format!("(call $log (i32.const 1) {p} {len})")),
            ("panic", format!("(call $panic {p} {len} {good} {good} {good} {good})")),
            ("panic", format!("(call $panic {good} {len} {p} {len} {good} {good})")),
            ("fail", format!("(call $fail {p} {len})")),
        ];
        for (name, code) in cases {
            let mut instance = polling(&format!("{code} (i32.const 0)"));
            let message = trapped(poll(&mut instance));
            assert!(message.contains(&format!("neurath.{name}: ")), "{code}: {message}");
            assert!(message.contains("not inside the memory of 65536 bytes"), "{code}: {message}");
            assert!(instance.host().calls.is_empty(), "{code}: {:?}", instance.host().calls);
        }
    }
}

#[test]
fn values_that_mean_nothing_end_the_guest_by_name() {
    let cases = [
        (
            "(drop (call $send (i32.const 0) (i32.const 6) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
            "6 is no valid class",
        ),
        (
            "(drop (call $spawn (i32.const 100) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)))",
            "4 is no valid flags",
        ),
        ("(call $trap_exit (i32.const 2))", "2 is no valid switch"),
        ("(call $log (i32.const 0) (i32.const 0) (i32.const 0))", "0 is no valid level"),
        ("(call $log (i32.const 6) (i32.const 0) (i32.const 0))", "6 is no valid level"),
        (
            "(i32.store (i32.const 228) (i32.const 65)) (drop (call $take (i64.const 0) (i32.const 200) (i32.const 400) (i32.const 100)))",
            "65 is no valid number of tags",
        ),
        (
            "(i32.store (i32.const 228) (i32.const -1)) (drop (call $take (i64.const 0) (i32.const 200) (i32.const 400) (i32.const 100)))",
            "no valid number of tags",
        ),
        ("(drop (call $take (i64.const 0) (i32.const 200) (i32.const 400) (i32.const 55)))", "55 is no valid capacity"),
        (
            "(i32.store8 (i32.const 100) (i32.const 255)) (drop (call $become_latest (i32.const 100) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)))",
            "a name is not UTF-8",
        ),
        (
            "(drop (call $become_latest (i32.const 100) (i32.const 1025) (i32.const 0) (i32.const 0) (i32.const 0)))",
            "1025 bytes are more than the 1024",
        ),
        ("(drop (call $ask (i32.const 100) (i32.const 6)))", "neurath.ask: these bytes are no question"),
        ("(call $exit (i32.const 66) (i32.const 0) (i32.const 0))", "declare its schema first"),
    ];
    for (code, expected) in cases {
        let mut instance = polling(&format!("{code} (i32.const 0)"));
        let polled = poll(&mut instance);
        assert!(polled.is_err(), "{code}: {polled:?}");
        let message = trapped(polled);
        assert!(message.contains(expected), "{code}: {message}");
    }
}

#[test]
fn take_writes_head_and_payload_and_says_what_it_could_not() {
    let code =
        "(call $cancel (i64.extend_i32_u (call $take (i64.const 3) (i32.const 200) (i32.const 400) (i32.const 60))))
        (call $log (i32.const 1) (i32.const 456) (i32.load (i32.const 448)))
        (call $cancel (i64.load32_u (i32.const 444)))
        (call $cancel (i64.load32_u (i32.const 448)))
        (call $cancel (i64.load (i32.const 400)))
        (i32.const 0)";
    let run = |next: Option<Next>, message: Option<&[u8]>| {
        let mut instance = polling(code);
        instance.host_mut().next = next;
        instance.host_mut().mailbox.extend(message.map(<[u8]>::to_vec));
        (poll(&mut instance), instance.recycle().calls)
    };
    let (status, calls) = run(None, Some(b"abcd"));
    assert_eq!(status, Ok(PollStatus::Pending));
    assert_eq!(
        calls[0],
        "take 3 TakeSpec { after_seq: 1, reference: 2, timeout_ns: 3, tags: 300, tag_count: 2, flags: 1, reserved: 0 } [Tag(7), Tag(8)] 4"
    );
    assert_eq!(calls[1..], ["cancel 1", "log 1 abcd", "cancel 0", "cancel 4", "cancel 7"]);
    assert_eq!(run(None, None).1[1], "cancel 0");
    assert_eq!(run(Some(Next::TimedOut), None).1[1], "cancel 2");
    assert_eq!(run(Some(Next::NeedSchema(1)), None).1[1..], ["cancel 4", "log 1 ", "cancel 1", "cancel 0", "cancel 0"]);
    assert_eq!(run(Some(Next::Failed(b"no")), None).1[1..3], ["cancel 5", "log 1 no"]);
    // Too large: the head says how much room is needed.
    let large = run(None, Some(b"abcde")).1;
    assert_eq!((large[1].as_str(), large[4].as_str()), ("cancel 3", "cancel 5"));
    assert_eq!(run(Some(Next::TooLarge(1000)), None).1[4], "cancel 1000");
    assert_eq!(MessageHead::SIZE, 56);
}

#[test]
fn each_way_to_end_is_its_own_fault() {
    let cases = [
        ("(call $exit (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 0)", Fault::Exited),
        (
            "(call $declare (i32.const 0) (i32.const 110) (i32.const 1)) (i32.const 0)",
            Fault::Stopped("no schema".into()),
        ),
        (
            "(call $panic (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) unreachable",
            Fault::Panic,
        ),
    ];
    for (code, expected) in cases {
        let mut instance = polling_with(code, "(data (i32.const 110) \"\\ff\")");
        assert_eq!(poll(&mut instance), Err(expected), "{code}");
        assert_eq!(poll(&mut instance), Err(Fault::Unusable));
        assert!(!instance.is_usable());
        assert!(instance.reset());
        assert!(poll(&mut instance).is_err_and(|fault| fault != Fault::Unusable));
    }
    let mut instance = instance("");
    assert_eq!(instance.start("other", &[], StartMode::Fresh), Err(Fault::Missing { what: "entry `other`".into() }));
    assert!(matches!(instance.convert("other", &[]), Err(Fault::Missing { .. })));
    assert!(matches!(instance.state(), Err(Fault::Missing { .. })));
}

#[test]
fn traps_are_faults_that_name_the_function() {
    let cases = [
        ("unreachable", "unreachable"),
        ("(i32.div_u (i32.const 1) (i32.load (i32.const 60000)))", "divide by zero"),
        ("(i32.load (i32.const -4))", "out of bounds memory access"),
        ("(i32.load (i32.const 65533))", "out of bounds memory access"),
        ("(i32.load offset=4294967295 (i32.const -1))", "out of bounds memory access"),
        ("(call $deep (i32.const 0))", "the stack overflowed"),
        ("(call_indirect (result i32) (i32.const 5))", "undefined element"),
        ("(call_indirect (result i32) (i32.const 0))", "uninitialized element"),
        ("(memory.fill (i32.const 65530) (i32.const 1) (i32.const 7)) (i32.const 0)", "out of bounds memory access"),
        ("(i32.trunc_f32_s (f32.const nan))", "invalid conversion"),
    ];
    for (code, expected) in cases {
        let mut instance = polling_with(
            &format!("(call $culprit)) (func $culprit (result i32) {code}"),
            "(table 2 funcref) (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
        );
        let message = trapped(poll(&mut instance));
        assert!(message.contains(expected), "{code}: {message}");
        let place = if code.contains("deep") { "`deep`" } else { "`culprit`" };
        assert!(message.contains(place), "{code}: {message}");
    }
}

#[test]
fn a_stack_below_address_0_has_overflowed() {
    // The stack pointer as the last function left it; what that one may use below it without moving it is 128 bytes.
    for (pointer, overflowed) in [(-32, true), (96, true), (128, false), (1024, false)] {
        let mut instance = polling_with(
            &format!("(global.set $pointer (i32.const {pointer})) (i32.load (i32.const -128))"),
            "(global $pointer (mut i32) (i32.const 4096))",
        );
        let expected = if overflowed { "the stack overflowed in" } else { "out of bounds memory access in" };
        let message = trapped(poll(&mut instance));
        assert!(message.starts_with(expected), "{pointer}: {message}");
    }
    // Where no stack begins, the first global is no stack pointer.
    let mut instance = polling_with("(i32.load (i32.const -128))", "(global $count (mut i32) (i32.const 3))");
    assert!(trapped(poll(&mut instance)).starts_with("out of bounds memory access in"));
}

#[test]
fn an_endless_loop_goes_on_as_long_as_its_host_lets_it() {
    let engine = engine();
    let module = compile(
        &engine,
        &artifact(&guest("(func (export \"neurath_poll\") (param i64) (result i32) (loop (br 0)) (i32.const 0))")),
    );
    let mut instance = Instance::new(&module, Recorder { stop_at_tick: 20, ..Recorder::default() }).expect("room");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.tick();
                std::thread::yield_now();
            }
        });
        assert_eq!(poll(&mut instance), Err(Fault::Stopped("killed".into())));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(instance.host().ticks, 20);
    // The count begins anew with the next call.
    instance.reset();
    let _ticker = Ticker::start(&engine, Ticker::PERIOD).expect("a thread");
    instance.host_mut().stop_at_tick = 1;
    assert_eq!(poll(&mut instance), Err(Fault::Stopped("killed".into())));
    assert_eq!(instance.host().ticks, 1);
}

#[test]
fn an_instance_may_run_on_any_thread_between_two_polls() {
    let mut instance = polling(
        "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (call $cancel (i64.load32_u (i32.const 0))) (i32.const 0)",
    );
    for _ in 0..4 {
        instance = std::thread::spawn(move || {
            poll(&mut instance).expect("polls");
            instance
        })
        .join()
        .expect("no panic");
    }
    assert_eq!(instance.host().calls.last().map(String::as_str), Some(&*format!("cancel {}", 0x1122 + 4)));
}

#[test]
fn memory_hunger_ends_at_the_limit_and_not_in_the_node() {
    let config = EngineConfig { memory_bytes_max: 5 << 20, ..config() };
    let engine = Engine::new(config).expect("an engine");
    let module = compile(&engine, &artifact(&guest(
        "(func (export \"neurath_poll\") (param i64) (result i32)
            (loop
              (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
                (then (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 7)) (br 1))))
            (call $cancel (i64.extend_i32_u (memory.size)))
            (call $cancel (i64.extend_i32_s (memory.grow (i32.const -1))))
            (i32.const 0))",
    )));
    let mut instance = Instance::new(&module, Recorder::default()).expect("room");
    assert_eq!(poll(&mut instance), Ok(PollStatus::Pending));
    assert_eq!(instance.host().calls, ["cancel 80".to_string(), format!("cancel {}", u64::MAX)]);
    assert_eq!(instance.memory_bytes(), 5 << 20);
    // A limit of its own.
    assert!(instance.reset());
    assert_eq!(instance.memory_bytes(), 1 << 16);
    instance.set_memory_bytes_max(1 << 20);
    assert_eq!(poll(&mut instance), Ok(PollStatus::Pending));
    assert_eq!(instance.memory_bytes(), 1 << 20);
}

#[test]
fn tables_grow_to_their_limit_only() {
    let mut config = config();
    config.module.table_elements_max = 100;
    let engine = Engine::new(config).expect("an engine");
    let module = compile(
        &engine,
        &artifact(&guest(
            "(table 10 funcref)
         (func (export \"neurath_poll\") (param i64) (result i32)
            (call $cancel (i64.extend_i32_s (table.grow (ref.null func) (i32.const 90))))
            (call $cancel (i64.extend_i32_s (table.grow (ref.null func) (i32.const 1))))
            (i32.const 0))",
        )),
    );
    let mut instance = Instance::new(&module, Recorder::default()).expect("room");
    assert_eq!(poll(&mut instance), Ok(PollStatus::Pending));
    assert_eq!(instance.host().calls, ["cancel 10".to_string(), format!("cancel {}", u64::MAX)]);
}

#[test]
fn arguments_states_and_converters_pass_through_the_guests_memory() {
    let body = r#"
        (func (export "neurath_alloc") (param i32) (result i32) (call $cancel (i64.extend_i32_u (local.get 0))) (i32.const 4096))
        (func (export "neurath:start:main") (param i32 i32 i32) (result i32)
          (call $log (i32.const 1) (local.get 0) (local.get 1)) (local.get 2))
        (func (export "neurath:convert:twice") (param i32 i32) (result i64)
          (memory.copy (i32.add (local.get 0) (local.get 1)) (local.get 0) (local.get 1))
          (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (i32.mul (local.get 1) (i32.const 2)))))
        (func (export "neurath:convert:never") (param i32 i32) (result i64) (call $fail (local.get 0) (local.get 1)) (i64.const 0))
        (func (export "neurath_state") (result i64) (i64.const 0x0000100000000003))
    "#;
    let artifact = artifact_with(&guest(body), &manifest(&["main"], &["twice", "never"]));
    let mut instance = Instance::new(&compile(&engine(), &artifact), Recorder::default()).expect("room");
    assert_eq!(instance.start("main", b"hello", StartMode::Fresh), Ok(PollStatus::Pending));
    assert_eq!(instance.start("main", b"again", StartMode::Resume), Ok(PollStatus::Finished));
    assert_eq!(instance.host().calls, ["cancel 5", "log 1 hello", "cancel 5", "log 1 again"]);
    assert_eq!(instance.state(), Ok(b"aga".to_vec()));
    assert_eq!(instance.convert("twice", b"xyz"), Ok(b"xyzxyz".to_vec()));
    assert_eq!(instance.convert("never", b"bad"), Err(Fault::Failed));
    assert_eq!(instance.host().calls.last().map(String::as_str), Some("failed bad"));
    assert_eq!(instance.state(), Err(Fault::Unusable));
}

#[test]
fn a_guest_that_answers_nonsense_is_ended() {
    let cases = [
        ("(func (export \"neurath_poll\") (param i64) (result i32) i32.const 9)", "status 9"),
        (
            "(func (export \"neurath_alloc\") (param i32) (result i32) i32.const -1)",
            "`neurath_alloc` gave 3 bytes at 4294967295",
        ),
        (
            "(func (export \"neurath_alloc\") (param i32) (result i32) i32.const 65534)",
            "`neurath_alloc` gave 3 bytes at 65534",
        ),
        ("(func (export \"neurath_state\") (result i64) i64.const -1)", "the state: 4294967295 bytes at 4294967295"),
        ("(func (export \"neurath_state\") (result i64) i64.const 0xffff00000002)", "the state: 2 bytes at 65535"),
    ];
    for (body, expected) in cases {
        let mut instance = instance(body);
        let results = [
            poll(&mut instance).map(drop),
            instance.start("main", b"abc", StartMode::Fresh).map(drop),
            instance.state().map(drop),
        ];
        let faults: Vec<String> = results.iter().filter_map(|r| r.as_ref().err()).map(ToString::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{body}: {faults:?}");
    }
}

#[test]
fn a_state_beyond_the_limit_is_refused_by_size() {
    let config = EngineConfig { state_bytes_max: 1000, ..config() };
    let module = compile(
        &Engine::new(config).expect("an engine"),
        &artifact(&guest("(func (export \"neurath_state\") (result i64) i64.const 1001)")),
    );
    let mut instance = Instance::new(&module, Recorder::default()).expect("room");
    assert_eq!(instance.state(), Err(Fault::TooLarge { what: "the state", bytes: 1001, limit: 1000 }));
}

const WASI: &str = r#"
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
"#;

fn wasi(code: &str) -> Instance<Recorder> {
    let text = guest(&format!(
        "(data (i32.const 100) \"\\c8\\00\\00\\00\\05\\00\\00\\00\\cd\\00\\00\\00\\06\\00\\00\\00\")
         (data (i32.const 200) \"hello, world\")
         (func (export \"neurath_poll\") (param i64) (result i32) {code} (i32.const 0))"
    ));
    let text = text.replacen("(module", &format!("(module {WASI}"), 1);
    Instance::new(&compile(&engine(), &artifact(&text)), Recorder { time_ns: 1234, ..Recorder::default() })
        .expect("room")
}

#[test]
fn wasi_gives_the_hosts_clock_random_numbers_and_streams_and_nothing_else() {
    let shown = |code: &str| format!("(call $cancel (i64.extend_i32_u {code}))");
    let cases = [
        ("(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 300))", 0, vec!["clock Real"]),
        ("(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 300))", 0, vec!["clock Monotonic"]),
        ("(call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 300))", 28, vec![]),
        ("(call $clock_res_get (i32.const 1) (i32.const 300))", 0, vec![]),
        ("(call $random_get (i32.const 300) (i32.const 8))", 0, vec!["random 8"]),
        (
            "(call $fd_write (i32.const 1) (i32.const 100) (i32.const 2) (i32.const 300))",
            0,
            vec!["output 1 hello", "output 1 , worl"],
        ),
        ("(call $fd_write (i32.const 3) (i32.const 100) (i32.const 2) (i32.const 300))", 8, vec![]),
        ("(call $fd_write (i32.const 1) (i32.const 100) (i32.const 1025) (i32.const 300))", 28, vec![]),
        ("(call $fd_prestat_get (i32.const 3) (i32.const 300))", 8, vec![]),
        ("(call $fd_fdstat_get (i32.const 2) (i32.const 300))", 0, vec![]),
        ("(call $fd_fdstat_get (i32.const 3) (i32.const 300))", 8, vec![]),
        ("(call $environ_sizes_get (i32.const 300) (i32.const 304))", 0, vec![]),
        ("(call $environ_get (i32.const 300) (i32.const 304))", 0, vec![]),
        ("(call $sched_yield)", 0, vec![]),
        (
            "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0))",
            76,
            vec![],
        ),
        ("(call $poll_oneoff (i32.const 200) (i32.const 300) (i32.const 0) (i32.const 400))", 28, vec![]),
        ("(call $poll_oneoff (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400))", 52, vec![]),
    ];
    for (code, errno, mut calls) in cases {
        let mut instance = wasi(&shown(code));
        assert_eq!(poll(&mut instance), Ok(PollStatus::Pending), "{code}");
        let errno = format!("cancel {errno}");
        calls.push(&errno);
        assert_eq!(instance.host().calls, calls, "{code}");
    }
    let mut instance = wasi(
        "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 300))) (call $cancel (i64.load (i32.const 300)))",
    );
    assert_eq!(poll(&mut instance), Ok(PollStatus::Pending));
    assert_eq!(instance.host().calls[1], "cancel 1234");
}

#[test]
fn wasi_functions_that_would_hold_or_end_the_node_stop_the_guest_with_advice() {
    let mut instance =
        wasi("(drop (call $poll_oneoff (i32.const 1000) (i32.const 300) (i32.const 1) (i32.const 400)))");
    let Err(Fault::Stopped(why)) = poll(&mut instance) else { panic!("it was not stopped") };
    assert!(why.contains("neurath::sleep(..).await"), "{why}");
    let mut instance = wasi("(call $proc_exit (i32.const 3))");
    let Err(Fault::Stopped(why)) = poll(&mut instance) else { panic!("it was not stopped") };
    assert!(why.contains("proc_exit(3)"), "{why}");
    for code in [
        "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -8)))",
        "(drop (call $clock_res_get (i32.const 0) (i32.const -8)))",
        "(drop (call $random_get (i32.const 65535) (i32.const 2)))",
        "(drop (call $fd_write (i32.const 1) (i32.const -8) (i32.const 2) (i32.const 300)))",
        "(drop (call $fd_write (i32.const 1) (i32.const 100) (i32.const 2) (i32.const -1)))",
        "(i32.store (i32.const 104) (i32.const -1)) (drop (call $fd_write (i32.const 1) (i32.const 100) (i32.const 2) (i32.const 300)))",
        "(drop (call $fd_fdstat_get (i32.const 1) (i32.const -1)))",
        "(drop (call $environ_sizes_get (i32.const 0) (i32.const -1)))",
        "(drop (call $poll_oneoff (i32.const -1) (i32.const 0) (i32.const 1) (i32.const 0)))",
    ] {
        let message = trapped(poll(&mut wasi(code)));
        assert!(message.contains("not inside the memory"), "{code}: {message}");
    }
}

#[test]
fn random_numbers_and_text_are_bounded() {
    let mut instance = wasi(
        "(drop (memory.grow (i32.const 32))) (call $cancel (i64.extend_i32_u (call $random_get (i32.const 0) (i32.const 1048577)))) (call $log (i32.const 1) (i32.const 1000) (i32.const 100000))",
    );
    assert_eq!(poll(&mut instance), Ok(PollStatus::Pending));
    assert_eq!(instance.host().calls[0], "cancel 28");
    assert_eq!(instance.host().calls[1].len(), "log 1 ".len() + (16 << 10));
}
