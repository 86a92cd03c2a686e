//! Supervisors: what they promise, in the host for tests.
#![allow(missing_docs)]

use neurath::prelude::*;
use neurath::supervisor::{
    self, Child, ChildError, Exhausted, LinkEnded, Refusal, Shutdown, StartFailed, Stop, Supervision, Supervisor,
};
use neurath::testing::{run, upgrade};
use neurath::{Entry, Exit};

/// Reports everything to the test, in order.
#[derive(Message, Debug, PartialEq, Clone)]
enum Seen {
    Up(String, Pid),
    Down(String),
}

#[derive(Message)]
enum Order {
    Fail,
    Return,
}

#[derive(Message, Debug, PartialEq)]
struct Failure;

/// Says that it is up; at its end, if it hears of it, that it is down, after `linger_ms`.
#[neurath::process(accepts(Order, Exit))]
async fn worker(name: String, test: Pid, linger_ms: u64) {
    trap_exit(true);
    send(test, Seen::Up(name.clone(), self_pid()));
    receive! {
        order: Order => match order {
            Order::Fail => exit(Failure),
            Order::Return => {}
        },
        exit: Exit => {
            sleep(linger_ms.millis()).await;
            send(test, Seen::Down(name));
            drop(exit);
            neurath::exit(Shutdown);
        }
    }
}

/// Needs a second for its `init`, and fails there if it is told to.
#[derive(State)]
struct Slow {
    test: Pid,
}

#[neurath::server]
impl Server for Slow {
    async fn init(test: Pid, fails: bool) -> Result<Self, Failure> {
        send(test, Seen::Up("slow init".into(), self_pid()));
        sleep(1.secs()).await;
        if fails { Err(Failure) } else { Ok(Slow { test }) }
    }
}

fn child(name: &str, test: Pid) -> Child {
    Child::of::<worker>(name, (name.into(), test, 0))
}

fn three(supervisor: Supervisor, test: Pid) -> Supervisor {
    ["a", "b", "c"].into_iter().fold(supervisor, |supervisor, name| supervisor.child(child(name, test)))
}

#[neurath::supervisor]
fn one_for_one(test: Pid) -> Supervisor {
    three(Supervisor::one_for_one(), test)
}

#[neurath::supervisor]
fn one_for_all(test: Pid) -> Supervisor {
    three(Supervisor::one_for_all(), test)
}

#[neurath::supervisor]
fn rest_for_one(test: Pid) -> Supervisor {
    three(Supervisor::rest_for_one(), test)
}

/// What is reported next, as text: `+a` is up, `-a` is down.
async fn seen() -> String {
    receive! {
        seen: Seen => match seen {
            Seen::Up(name, _) => format!("+{name}"),
            Seen::Down(name) => format!("-{name}"),
        },
        after 100.secs() => "nothing".into(),
    }
}

async fn all_seen(count: usize) -> String {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(seen().await);
    }
    all.join(" ")
}

/// Nothing more is reported.
async fn quiet() {
    receive! { seen: Seen => panic!("unexpected: {seen:?}"), after 100.secs() => {} }
}

async fn pid_of(supervisor: Pid, id: &str) -> Pid {
    let children = supervisor::which_children(supervisor).await.unwrap();
    let child = children.into_iter().find(|child| child.id.as_deref() == Some(id)).unwrap();
    child.pid.unwrap()
}

async fn end_of(watch: Ref) -> ExitReason {
    receive! { down: Down if down.monitor == watch => down.reason }
}

fn is<T: Data + PartialEq>(reason: &ExitReason, expected: &T) -> bool {
    matches!(reason, ExitReason::Custom { value, schema, .. }
        if *schema == neurath_schema::<T>() && *value == encoded(expected))
}

fn encoded<T: Data>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

fn neurath_schema<T: Data>() -> Vec<u8> {
    neurath::__private::Schema::of::<T>().encode()
}

// ---- strategies ----

#[test]
fn one_for_one_restarts_the_child_that_failed_and_no_other() {
    run(async {
        let top = one_for_one::spawn(self_pid());
        assert_eq!(all_seen(3).await, "+a +b +c");
        let (a, b) = (pid_of(top, "a").await, pid_of(top, "b").await);
        send(b, Order::Fail);
        assert_eq!(seen().await, "+b");
        assert_eq!(pid_of(top, "a").await, a);
        assert_ne!(pid_of(top, "b").await, b);
        quiet().await;
    });
}

#[test]
fn one_for_all_stops_the_others_in_reverse_order_and_starts_all() {
    run(async {
        let top = one_for_all::spawn(self_pid());
        assert_eq!(all_seen(3).await, "+a +b +c");
        send(pid_of(top, "b").await, Order::Fail);
        assert_eq!(all_seen(5).await, "-c -a +a +b +c");
        quiet().await;
    });
}

#[test]
fn rest_for_one_restarts_those_that_were_started_after_it() {
    run(async {
        let top = rest_for_one::spawn(self_pid());
        assert_eq!(all_seen(3).await, "+a +b +c");
        let a = pid_of(top, "a").await;
        send(pid_of(top, "b").await, Order::Fail);
        assert_eq!(all_seen(3).await, "-c +b +c");
        assert_eq!(pid_of(top, "a").await, a);
        quiet().await;
    });
}

#[test]
fn children_of_one_group_that_fail_together_are_restarted_together() {
    run(async {
        let top = one_for_all::spawn(self_pid());
        assert_eq!(all_seen(3).await, "+a +b +c");
        let (a, b) = (pid_of(top, "a").await, pid_of(top, "b").await);
        // Both have ended before the supervisor hears of the first, and only one restart is allowed.
        send(a, Order::Fail);
        send(b, Order::Fail);
        assert_eq!(all_seen(4).await, "-c +a +b +c");
        quiet().await;
        assert_eq!(supervisor::count_children(top).await.unwrap().restarts, 1);
    });
}

// ---- restart kinds ----

#[neurath::supervisor]
fn kinds(test: Pid) -> Supervisor {
    Supervisor::one_for_one()
        .intensity(100, 1.secs())
        .child(child("permanent", test))
        .child(child("transient", test).transient())
        .child(child("temporary", test).temporary())
}

#[test]
fn a_permanent_child_is_always_restarted_a_transient_one_after_a_failure_a_temporary_one_never() {
    run(async {
        let top = kinds::spawn(self_pid());
        all_seen(3).await;
        send(pid_of(top, "permanent").await, Order::Return);
        assert_eq!(seen().await, "+permanent");
        send(pid_of(top, "permanent").await, Order::Fail);
        assert_eq!(seen().await, "+permanent");

        send(pid_of(top, "transient").await, Order::Fail);
        assert_eq!(seen().await, "+transient");
        send(pid_of(top, "transient").await, Order::Return);
        quiet().await;
        // It is known, but down; so it is after `Shutdown`.
        supervisor::restart_child(top, "transient").await.unwrap();
        assert_eq!(seen().await, "+transient");
        exit_process(pid_of(top, "transient").await, Shutdown);
        assert_eq!(seen().await, "-transient");
        quiet().await;

        send(pid_of(top, "temporary").await, Order::Fail);
        quiet().await;
        let names: Vec<_> =
            supervisor::which_children(top).await.unwrap().into_iter().filter_map(|child| child.id).collect();
        assert_eq!(names, ["permanent", "transient"]);
    });
}

#[neurath::supervisor]
fn all_with_a_temporary_one(test: Pid) -> Supervisor {
    Supervisor::one_for_all().child(child("a", test)).child(child("temporary", test).temporary())
}

#[test]
fn a_temporary_child_that_is_stopped_with_others_does_not_come_back() {
    run(async {
        let top = all_with_a_temporary_one::spawn(self_pid());
        all_seen(2).await;
        send(pid_of(top, "a").await, Order::Fail);
        assert_eq!(all_seen(2).await, "-temporary +a");
        quiet().await;
        assert_eq!(supervisor::count_children(top).await.unwrap().specs, 1);
    });
}

// ---- intensity ----

#[test]
fn one_restart_too_many_stops_the_children_and_names_the_last_one() {
    run(async {
        // One in five seconds, if nothing else is said.
        let (top, watch) = one_for_one::spawn_monitor(self_pid());
        all_seen(3).await;
        send(pid_of(top, "b").await, Order::Fail);
        assert_eq!(seen().await, "+b");
        sleep(4.secs()).await;
        send(pid_of(top, "b").await, Order::Fail);
        assert_eq!(all_seen(2).await, "-c -a");
        let reason = end_of(watch).await;
        let failure = ExitReason::Custom {
            type_name: "Failure".into(),
            schema: neurath_schema::<Failure>(),
            value: encoded(&Failure),
        };
        let expected = Exhausted { child: "b".into(), last_reason: failure, restarts: 1, period_ms: 5_000 };
        assert!(is(&reason, &expected), "{reason}");
    });
}

#[test]
fn restarts_that_are_further_apart_than_the_period_are_no_excess() {
    run(async {
        let top = one_for_one::spawn(self_pid());
        all_seen(3).await;
        for _ in 0..10 {
            sleep(5.secs()).await;
            send(pid_of(top, "b").await, Order::Fail);
            assert_eq!(seen().await, "+b");
        }
        assert_eq!(supervisor::count_children(top).await.unwrap().restarts, 10);
    });
}

// ---- starting and stopping ----

#[neurath::supervisor]
fn slow_start(test: Pid, fails: bool) -> Supervisor {
    Supervisor::one_for_one()
        .child(child("a", test))
        .child(Child::of::<Slow>("slow", (test, fails)))
        .child(child("b", test))
}

#[test]
fn the_next_child_starts_when_the_init_of_the_one_before_is_done() {
    run(async {
        slow_start::spawn(self_pid(), false);
        assert_eq!(all_seen(2).await, "+a +slow init");
        receive! { seen: Seen => panic!("too early: {seen:?}"), after 999.millis() => {} }
        assert_eq!(seen().await, "+b");
    });
}

#[test]
fn a_child_that_does_not_start_stops_those_before_it_and_is_the_reason() {
    run(async {
        let (_, watch) = slow_start::spawn_monitor(self_pid(), true);
        assert_eq!(all_seen(3).await, "+a +slow init -a");
        let reason = end_of(watch).await;
        assert!(matches!(&reason, ExitReason::Custom { type_name, .. } if type_name == "StartFailed"), "{reason}");
        quiet().await;
    });
}

#[neurath::process]
async fn starts_late(after_ms: u64) {
    sleep(after_ms.millis()).await;
    supervisor::started();
    sleep(1_000.secs()).await;
}

#[neurath::supervisor]
fn late(after_ms: u64, test: Pid) -> Supervisor {
    Supervisor::one_for_one()
        .child(Child::of::<starts_late>("late", (after_ms,)).acknowledges().start_within(2.secs()))
        .child(child("b", test))
}

#[test]
fn a_process_that_acknowledges_is_waited_for_and_killed_when_its_time_is_over() {
    run(async {
        late::spawn(1_999, self_pid());
        receive! { seen: Seen => panic!("too early: {seen:?}"), after 1_998.millis() => {} }
        assert_eq!(seen().await, "+b");
        let (_, watch) = late::spawn_monitor(2_001, self_pid());
        let reason = end_of(watch).await;
        let why = ExitReason::NotStarted { message: "it had not started within 2000 ms".into() };
        assert!(is(&reason, &StartFailed { child: "late".into(), reason: why }), "{reason}");
    });
}

#[test]
fn a_supervisor_that_is_asked_to_exit_stops_its_children_in_reverse_order() {
    run(async {
        let (top, watch) = one_for_one::spawn_monitor(self_pid());
        all_seen(3).await;
        exit_process(top, Shutdown);
        assert_eq!(all_seen(3).await, "-c -b -a");
        assert!(is(&end_of(watch).await, &Shutdown));
    });
}

#[neurath::process]
async fn parent(test: Pid, tell: Pid) {
    let top = one_for_one::spawn_link(test);
    send(tell, top);
    recv::<Order>().await;
    exit(Failure);
}

#[test]
fn a_supervisor_ends_with_its_parent_and_its_children_with_it() {
    run(async {
        let me = self_pid();
        let parent = parent::spawn(me, me);
        let top: Pid = recv().await;
        let watch = monitor(top);
        all_seen(3).await;
        send(parent, Order::Fail);
        assert_eq!(all_seen(3).await, "-c -b -a");
        let reason = end_of(watch).await;
        assert!(matches!(&reason, ExitReason::Custom { type_name, .. } if type_name == "LinkEnded"), "{reason}");
        let _ = LinkEnded { pid: parent, reason };
    });
}

#[neurath::supervisor]
fn stops(test: Pid, stop: Stop) -> Supervisor {
    Supervisor::one_for_one().child(Child::of::<worker>("lingers", ("lingers".into(), test, 3_000)).stop(stop))
}

#[test]
fn a_child_is_asked_to_exit_and_killed_when_its_time_is_over() {
    for (stop, says_so, after_ms) in [
        (Stop::Within { ms: 3_001 }, true, 3_000),
        (Stop::Within { ms: 2_000 }, false, 2_000),
        (Stop::Kill, false, 0),
        (Stop::Infinity, true, 3_000),
    ] {
        run(async move {
            let (top, watch) = stops::spawn_monitor(self_pid(), stop);
            assert_eq!(seen().await, "+lingers");
            exit_process(top, Shutdown);
            receive! {
                down: Down if down.monitor == watch => panic!("{stop:?}: too early: {down:?}"),
                after (after_ms - u64::from(after_ms > 0)).millis() => {}
            }
            receive! { down: Down if down.monitor == watch => drop(down), after 2.millis() => panic!("{stop:?}: too late") }
            receive! { seen: Seen => assert!(says_so, "{stop:?} {seen:?}"), after 0.secs() => assert!(!says_so, "{stop:?}") }
        });
    }
}

// ---- delays ----

#[neurath::supervisor]
fn delays(test: Pid) -> Supervisor {
    Supervisor::one_for_one()
        .intensity(100, 3.secs())
        .child(child("fixed", test).restart_after(2.secs()))
        .child(child("doubled", test).backoff(1.secs(), 5.secs()))
}

#[test]
fn a_delayed_restart_waits_and_a_backoff_doubles_up_to_its_limit_and_begins_again() {
    run(async {
        let top = delays::spawn(self_pid());
        all_seen(2).await;
        for _ in 0..2 {
            send(pid_of(top, "fixed").await, Order::Fail);
            receive! { seen: Seen => panic!("too early: {seen:?}"), after 1_999.millis() => {} }
            assert_eq!(seen().await, "+fixed");
        }
        for (round, delay_ms) in [1_000, 2_000, 4_000, 5_000, 5_000].into_iter().enumerate() {
            send(pid_of(top, "doubled").await, Order::Fail);
            receive! { seen: Seen => panic!("{round}: too early: {seen:?}"), after (delay_ms - 1).millis() => {} }
            receive! { seen: Seen => drop(seen), after 2.millis() => panic!("{round}: too late") }
        }
        sleep(6.secs()).await;
        send(pid_of(top, "doubled").await, Order::Fail);
        receive! { seen: Seen => drop(seen), after 1_001.millis() => panic!("it lived long enough to begin again") }
    });
}

#[test]
fn a_child_that_waits_for_its_restart_can_be_terminated_and_its_delay_is_void() {
    run(async {
        let top = delays::spawn(self_pid());
        all_seen(2).await;
        send(pid_of(top, "fixed").await, Order::Fail);
        sleep(1.secs()).await;
        let refused = supervisor::restart_child(top, "fixed").await;
        assert_eq!(refused, Err(ChildError::Refused(Refusal::Restarting)));
        supervisor::terminate_child(top, "fixed").await.unwrap();
        quiet().await;
        supervisor::restart_child(top, "fixed").await.unwrap();
        assert_eq!(seen().await, "+fixed");
    });
}

#[derive(State)]
struct FailsTwice;

#[neurath::server]
impl Server for FailsTwice {
    async fn init(test: Pid, counter: Pid) -> Result<Self, Failure> {
        let count: u64 = ask(counter, |reply: ReplyTo<u64>| reply).await.unwrap_or(0);
        send(test, Seen::Up(format!("try {count}"), self_pid()));
        if count == 2 || count == 3 { Err(Failure) } else { Ok(FailsTwice) }
    }
}

#[neurath::process(accepts(ReplyTo<u64>))]
async fn counter(mut count: u64) {
    loop {
        count += 1;
        recv::<ReplyTo<u64>>().await.send(count);
    }
}

#[neurath::supervisor]
fn tries_again(test: Pid, counter: Pid, restarts: u32) -> Supervisor {
    Supervisor::one_for_one().intensity(restarts, 60.secs()).child(Child::of::<FailsTwice>("x", (test, counter)))
}

#[test]
fn a_restart_that_fails_is_tried_again_and_counts() {
    run(async {
        let top = tries_again::spawn(self_pid(), counter::spawn(0), 3);
        assert_eq!(seen().await, "+try 1");
        sleep(1.secs()).await;
        kill(pid_of(top, "x").await);
        assert_eq!(all_seen(3).await, "+try 2 +try 3 +try 4");
        assert_eq!(supervisor::count_children(top).await.unwrap().restarts, 3);

        let (top, watch) = tries_again::spawn_monitor(self_pid(), counter::spawn(0), 2);
        assert_eq!(seen().await, "+try 1");
        sleep(1.secs()).await;
        kill(pid_of(top, "x").await);
        assert_eq!(all_seen(2).await, "+try 2 +try 3");
        assert!(matches!(end_of(watch).await, ExitReason::Custom { type_name, .. } if type_name == "Exhausted"));
    });
}

// ---- children that come and go ----

#[test]
fn children_are_added_terminated_restarted_and_deleted() {
    run(async {
        let me = self_pid();
        let top = one_for_one::spawn(me);
        all_seen(3).await;
        let d = supervisor::start_child(top, child("d", me)).await.unwrap();
        assert_eq!(seen().await, "+d");
        let refused = |refusal| Err::<Pid, _>(ChildError::Refused(refusal));
        assert_eq!(supervisor::start_child(top, child("d", me)).await, refused(Refusal::AlreadyStarted(d)));
        assert_eq!(supervisor::restart_child(top, "d").await, refused(Refusal::Running(d)));
        assert!(supervisor::delete_child(top, "d").await.is_err());

        supervisor::terminate_child(top, "d").await.unwrap();
        assert_eq!(seen().await, "-d");
        supervisor::terminate_child(top, "d").await.unwrap();
        assert_eq!(supervisor::start_child(top, child("d", me)).await, refused(Refusal::AlreadyPresent));
        let again = supervisor::restart_child(top, "d").await.unwrap();
        assert_eq!(seen().await, "+d");
        supervisor::terminate_child(top, again).await.unwrap();
        assert_eq!(seen().await, "-d");
        supervisor::delete_child(top, "d").await.unwrap();
        assert_eq!(supervisor::restart_child(top, "d").await, refused(Refusal::NotFound("d".into())));
        quiet().await;
        assert_eq!(supervisor::count_children(top).await.unwrap().specs, 3);
    });
}

#[test]
fn what_the_supervisor_does_not_know_or_cannot_read_is_refused() {
    run(async {
        let top = one_for_one::spawn(self_pid());
        let unknown = supervisor::start_child(top, Child::of::<counter>("n", (0,))).await;
        assert_eq!(unknown, Err(ChildError::Refused(Refusal::UnknownEntry("counter".into()))));
        let template = supervisor::start_from_template(top, 1u32).await;
        assert!(matches!(template, Err(ChildError::Refused(Refusal::WrongKind(_)))));

        let mut spec = child("x", self_pid()).into_spec();
        (spec.schema, spec.arguments) = (neurath_schema::<(u32,)>(), vec![1]);
        let answer = call(top, supervisor::Request::Start { child: spec }).await.unwrap();
        assert!(matches!(answer, supervisor::Answer::Refused(Refusal::BadArguments(_))), "{answer:?}");
        let failing = supervisor::start_child(slow_start::spawn(self_pid(), false), slow(true)).await;
        assert!(matches!(failing, Err(ChildError::Refused(Refusal::NotStarted(_)))), "{failing:?}");
    });
}

fn slow(fails: bool) -> Child {
    Child::of::<Slow>("another", (self_pid(), fails))
}

#[neurath::supervisor]
fn simple(test: Pid, prefix: String, temporary: bool) -> Supervisor {
    Supervisor::simple(move |name: String| {
        let child = Child::of::<worker>("", (format!("{prefix}{name}"), test, 10));
        if temporary { child.temporary() } else { child.transient() }
    })
    .intensity(3, 5.secs())
}

#[test]
fn a_simple_supervisor_has_any_number_of_children_of_its_template() {
    run(async {
        let (top, watch) = simple::spawn_monitor(self_pid(), "x".into(), false);
        let one = supervisor::start_from_template(top, "1".to_string()).await.unwrap();
        let two = supervisor::start_from_template(top, "2".to_string()).await.unwrap();
        assert_eq!(all_seen(2).await, "+x1 +x2");
        send(one, Order::Fail);
        assert_eq!(seen().await, "+x1");
        send(two, Order::Return);
        quiet().await;
        assert_eq!(supervisor::count_children(top).await.unwrap().specs, 1);
        assert_eq!(
            supervisor::terminate_child(top, two).await,
            Err(ChildError::Refused(Refusal::NotFound(two.into())))
        );
        assert!(matches!(
            supervisor::start_from_template(top, 5u32).await,
            Err(ChildError::Refused(Refusal::BadArguments(_)))
        ));
        for n in 3..6 {
            supervisor::start_from_template(top, n.to_string()).await.unwrap();
        }
        all_seen(3).await;
        exit_process(top, Shutdown);
        // All at once: none waits for another.
        receive! { down: Down if down.monitor == watch => drop(down), after 11.millis() => panic!("one after the other") }
        all_seen(4).await;
    });
}

#[test]
fn thousands_of_children_of_a_template_come_and_go() {
    const COUNT: u64 = 2_000;
    run(async {
        let (top, watch) = simple::spawn_monitor(self_pid(), String::new(), true);
        let mut pids = Vec::new();
        for n in 0..COUNT {
            pids.push(supervisor::start_from_template(top, n.to_string()).await.unwrap());
        }
        assert_eq!(supervisor::which_children(top).await.unwrap().len(), COUNT as usize);
        for pid in pids.iter().step_by(2) {
            send(*pid, Order::Fail);
        }
        sleep(1.secs()).await;
        let count = supervisor::count_children(top).await.unwrap();
        assert_eq!((count.specs, count.active), (COUNT / 2, COUNT / 2));
        exit_process(top, Shutdown);
        end_of(watch).await;
    });
}

#[neurath::process]
async fn deaf() {
    trap_exit(true);
    sleep(1_000.secs()).await;
}

#[neurath::supervisor]
fn of_deaf_ones() -> Supervisor {
    Supervisor::simple(|(): ()| Child::of::<deaf>("", ()).stop_within(2.secs()))
}

#[test]
fn children_of_a_template_that_do_not_listen_are_killed_after_one_deadline_for_all() {
    run(async {
        let (top, watch) = of_deaf_ones::spawn_monitor();
        for _ in 0..5 {
            supervisor::start_from_template(top, ()).await.unwrap();
        }
        exit_process(top, Shutdown);
        receive! { down: Down if down.monitor == watch => panic!("too early: {down:?}"), after 1_999.millis() => {} }
        receive! { down: Down if down.monitor == watch => drop(down), after 2.millis() => panic!("too late") }
    });
}

#[neurath::supervisor]
fn tree(test: Pid) -> Supervisor {
    Supervisor::one_for_one().child(Child::of::<one_for_all>("inner", (test,))).child(child("d", test))
}

#[test]
fn supervisors_have_supervisors_and_numbers_are_kept() {
    run(async {
        let top = tree::spawn(self_pid());
        assert_eq!(all_seen(4).await, "+a +b +c +d");
        let count = supervisor::count_children(top).await.unwrap();
        assert_eq!((count.specs, count.active, count.supervisors, count.workers), (2, 2, 1, 1));
        sleep(7.secs()).await;
        send(pid_of(top, "d").await, Order::Fail);
        assert_eq!(seen().await, "+d");
        let children = supervisor::which_children(top).await.unwrap();
        assert!(children[0].is_supervisor && !children[1].is_supervisor);
        assert_eq!((children[0].restarts, children[1].restarts), (0, 1));
        assert_eq!((children[0].up_since_ms, children[1].up_since_ms), (Some(0), Some(7_000)));
        assert!(children[1].last_reason.as_ref().is_some_and(|reason| is(reason, &Failure)));
        exit_process(top, Shutdown);
        assert_eq!(all_seen(4).await, "-d -c -b -a");
    });
}

// ---- upgrades ----

#[neurath::supervisor]
fn newer(test: Pid) -> Supervisor {
    Supervisor::one_for_one()
        .child(Child::of::<worker>("a", ("new a".into(), test, 0)))
        .child(Child::of::<worker>("d", ("new d".into(), test, 0)))
}

#[test]
fn an_upgraded_supervisor_keeps_its_children_starts_new_ones_and_restarts_by_its_new_list() {
    run(async {
        let me = self_pid();
        let top = one_for_one::spawn(me);
        all_seen(3).await;
        supervisor::start_child(top, child("later", me)).await.unwrap();
        assert_eq!(seen().await, "+later");
        let before = supervisor::which_children(top).await.unwrap();
        upgrade::<newer>(top);
        assert_eq!(seen().await, "+new d");
        let after = supervisor::which_children(top).await.unwrap();
        assert_eq!(before[..], after[..4], "nothing of the old ones has changed");
        send(pid_of(top, "a").await, Order::Fail);
        assert_eq!(seen().await, "+new a");
        quiet().await;
        exit_process(top, Shutdown);
        assert_eq!(all_seen(5).await, "-new d -later -c -b -new a");
    });
}

#[neurath::supervisor]
fn delays_newer(test: Pid) -> Supervisor {
    delays(test)
}

#[test]
fn a_restart_that_waits_for_its_delay_comes_after_an_upgrade_too() {
    run(async {
        let top = delays::spawn(self_pid());
        all_seen(2).await;
        send(pid_of(top, "fixed").await, Order::Fail);
        sleep(1.secs()).await;
        upgrade::<delays_newer>(top);
        receive! { seen: Seen => panic!("too early: {seen:?}"), after 999.millis() => {} }
        assert_eq!(seen().await, "+fixed");
        quiet().await;
    });
}

#[neurath::supervisor]
fn simple_newer(test: Pid, prefix: String, temporary: bool) -> Supervisor {
    simple(test, format!("new {prefix}"), temporary)
}

#[test]
fn children_of_a_template_are_restarted_through_the_newer_template() {
    run(async {
        let top = simple::spawn(self_pid(), "x".into(), false);
        let one = supervisor::start_from_template(top, "1".to_string()).await.unwrap();
        assert_eq!(seen().await, "+x1");
        upgrade::<simple_newer>(top);
        sleep(1.secs()).await;
        send(one, Order::Fail);
        assert_eq!(seen().await, "+new x1");
    });
}

#[test]
fn the_state_is_plain_data_with_the_arguments_as_they_are() {
    assert_eq!(one_for_one::describe().state, neurath::__private::Schema::of::<Supervision<(Pid,)>>());
    let entry = one_for_one::describe();
    assert!(entry.call.is_some() && entry.reply.is_some());
    let schema = neurath::__private::Schema::of::<Supervision<(Pid,)>>();
    let text = neurath::__private::Schema::decode(&schema.encode()).unwrap();
    assert_eq!(text, schema);
}
