//! Processes, servers, functions, converters: what they promise, in the host for tests.
#![allow(missing_docs)]

use neurath::prelude::*;
use neurath::testing::run;
use neurath::{Entry, Level};

#[derive(Message, Debug, PartialEq)]
struct Stop;

#[derive(Message, Debug, PartialEq)]
struct OutOfStock {
    item: String,
}

#[neurath::process(accepts(Stop))]
async fn waits() {
    let Stop = recv().await;
}

#[neurath::process]
async fn gives_up(item: String, times: u32) {
    log(Level::Info, format_args!("giving up {times} times"));
    exit(OutOfStock { item })
}

#[derive(Message)]
enum Ask {
    Count,
    Slowly,
}

#[derive(Message, Debug, PartialEq)]
struct Count(u32);

#[derive(State)]
struct Watch {
    count: u32,
    #[neurath(default)]
    seen: Vec<Pid>,
}

#[neurath::server(name = "watchman")]
impl Server for Watch {
    type Call = Ask;
    type Reply = Count;

    async fn init(watched: Vec<Pid>) -> Result<Self, String> {
        if watched.is_empty() {
            return Err("nothing to watch".into());
        }
        yield_now().await;
        for pid in watched {
            monitor(pid);
        }
        Ok(Watch { count: 0, seen: Vec::new() })
    }

    async fn call(&mut self, ask: Ask) -> Count {
        if let Ask::Slowly = ask {
            sleep(10.secs()).await;
        }
        Count(self.count)
    }

    async fn down(&mut self, down: Down) {
        self.count += 1;
        self.seen.push(down.pid);
    }
}

#[neurath::function]
fn double(n: u64) -> u64 {
    n * 2
}

#[neurath::function]
async fn double_slowly(n: u64) -> u64 {
    sleep(60.secs()).await;
    double(n)
}

#[test]
fn a_server_handles_notices_besides_its_requests() {
    let count = run(async {
        let (one, other) = (waits::spawn(), waits::spawn());
        let server = Watch::spawn(vec![one, other]);
        sleep(1.secs()).await;
        send(one, Stop);
        kill(other);
        sleep(1.secs()).await;
        call::<Count>(server, Ask::Count).await
    });
    assert_eq!(count, Ok(Count(2)));
}

#[test]
fn an_init_that_fails_is_the_reason() {
    let reason = run(async {
        let (_, watch) = Watch::spawn_monitor(Vec::new());
        receive! { down: Down if down.monitor == watch => down.reason }
    });
    assert!(matches!(reason, ExitReason::Custom { type_name, .. } if type_name == "String"), "an init's error");
}

#[test]
fn a_call_ends_with_its_deadline_or_with_its_callee() {
    let (late, dead, died) = run(async {
        let waiter = waits::spawn();
        let server = Watch::spawn(vec![waiter]);
        let late = call::<Count>(server, Ask::Slowly).await;
        kill(waiter);
        let dead = call::<Count>(waiter, Ask::Count).await;
        let dying = call::<Count>(server, Ask::Slowly).without_deadline();
        exit_process(server, OutOfStock { item: "patience".into() });
        (late, dead, dying.await)
    });
    assert_eq!(late, Err(CallError::TimedOut));
    assert_eq!(dead, Err(CallError::Down(ExitReason::NoProcess)));
    assert!(matches!(died, Err(CallError::Down(ExitReason::Custom { .. }))), "{died:?}");
}

#[test]
fn a_typed_reason_reaches_links_and_monitors() {
    let (exit, down) = run(async {
        trap_exit(true);
        let linked = gives_up::spawn_link("boats".into(), 1);
        let exit: Exit = recv().await;
        assert_eq!(exit.from, linked);
        let watch = monitor(linked);
        let down: Down = recv().await;
        assert_eq!(down.monitor, watch);
        (exit.reason, down.reason)
    });
    let ExitReason::Custom { type_name, value, .. } = exit else { panic!("{exit:?}") };
    assert_eq!(type_name, "OutOfStock");
    let value: OutOfStock = neurath::__private::decode_all(&value).unwrap();
    assert_eq!(value.item, "boats");
    assert_eq!(down, ExitReason::NoProcess);
}

#[test]
fn a_demonitor_removes_what_has_come_already() {
    run(async {
        let pid = waits::spawn();
        let watch = monitor(pid);
        kill(pid);
        demonitor(watch);
        receive! {
            down: Down => panic!("{down:?}"),
            after 1.secs() => {}
        }
    });
}

#[test]
fn a_function_gives_its_result_to_whoever_asked() {
    let results = run(async {
        double::spawn(1);
        let (one, other) = (double_slowly::run(4), double::run(5));
        (one.await, other.await, double(6))
    });
    assert_eq!(results, (Ok(8), Ok(10), 12));
}

#[test]
fn names_are_unique_and_end_with_their_process() {
    run(async {
        let (one, other) = (waits::spawn(), waits::spawn());
        assert_eq!(whereis("waiter").await, None);
        assert_eq!(register("waiter", one).await, Ok(()));
        assert_eq!(register("waiter", other).await, Err(RegisterError::Taken(one)));
        assert_eq!(whereis("waiter").await, Some(one));
        kill(one);
        assert_eq!(whereis("waiter").await, None);
        assert_eq!(register("dead", one).await, Err(RegisterError::NoProcess));
        assert_eq!(register("waiter", other).await, Ok(()));
        assert!(unregister("waiter").await);
        assert!(!unregister("waiter").await);
    });
}

#[test]
fn a_timer_can_be_stopped() {
    run(async {
        let timer = send_after(1.secs(), self_pid(), Stop).unwrap();
        let late = send_after(2.secs(), self_pid(), Stop).unwrap();
        assert!(cancel_timer(timer));
        let Stop = recv().await;
        assert!(!cancel_timer(late));
    });
}

#[test]
fn an_answer_of_another_type_is_an_error() {
    let answer = run(async {
        let watched = waits::spawn();
        let server = Watch::spawn(vec![watched]);
        call::<String>(server, Ask::Count).await
    });
    assert!(
        matches!(answer, Err(CallError::Mismatch { writer, reader, .. }) if writer == "Count" && reader == "String")
    );
}

#[test]
fn entries_describe_themselves() {
    let entry = <Watch as Entry>::describe();
    assert_eq!(entry.name, "watchman");
    assert_eq!(entry.path, format!("neurath@{}#processes::Watch", env!("CARGO_PKG_VERSION")));
    assert_eq!(entry.argument_names, ["watched"]);
    assert_eq!(entry.state.name(), "Watch");
    assert_eq!(entry.accepts.len(), 1);
    assert!(entry.call.is_some() && entry.reply.is_some() && entry.cast.is_none());

    let entry = <gives_up as Entry>::describe();
    assert_eq!((entry.name.as_str(), entry.argument_names), ("gives_up", vec!["item".into(), "times".into()]));
    assert_eq!(entry.arguments, entry.state);
    assert_eq!(entry.arguments, neurath::__private::Schema::of::<(String, u32)>());
    assert!(entry.accepts.is_empty());

    let entry = <double as Entry>::describe();
    assert_eq!(entry.reply, Some(neurath::__private::Schema::of::<u64>()));
}

#[test]
#[should_panic = "not inside a Neurath process"]
fn outside_a_process_there_is_no_host() {
    send(Pid::default(), Stop);
}
