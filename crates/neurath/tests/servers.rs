//! Servers: answers that come later, time, order, and what nobody takes. In the host for tests.
#![allow(missing_docs)]

use neurath::Exit;
use neurath::prelude::*;
use neurath::testing::{run, upgrade};

// ---- deferred answers ----

#[derive(Message)]
enum Desk {
    Wait,
    Leave(String),
    Hand(Pid),
}

#[derive(State)]
struct Waiting {
    reply: Vec<ReplyTo<String>>,
}

#[neurath::server]
impl Server for Waiting {
    type Call = Desk;
    type Reply = String;

    fn init() -> Self {
        Waiting { reply: Vec::new() }
    }

    async fn call(&mut self, desk: Desk, reply: ReplyTo<String>) {
        match desk {
            Desk::Wait => self.reply.push(reply),
            Desk::Leave(what) => {
                for (at, waiting) in self.reply.drain(..).enumerate() {
                    waiting.send(format!("{what} {at}"));
                }
                reply.send("thanks".into());
            }
            Desk::Hand(other) => drop(send(other, reply)),
        }
    }
}

#[test]
fn an_answer_may_come_with_a_later_message_and_after_an_upgrade() {
    run(async {
        let desk = Waiting::spawn();
        let (one, other) = (call::<String>(desk, Desk::Wait), call::<String>(desk, Desk::Wait));
        sleep(1.secs()).await;
        upgrade::<Waiting>(desk);
        assert_eq!(call(desk, Desk::Leave("letter".into())).await, Ok("thanks".to_string()));
        assert_eq!((one.await, other.await), (Ok("letter 0".into()), Ok("letter 1".into())));
    });
}

#[test]
fn somebody_else_may_answer_and_a_caller_hears_of_the_end_of_a_server_that_owes_an_answer() {
    run(async {
        let desk = Waiting::spawn();
        let asked = call::<String>(desk, Desk::Hand(self_pid()));
        recv::<ReplyTo<String>>().await.send("from elsewhere".into());
        assert_eq!(asked.await, Ok("from elsewhere".into()));

        let owed = call::<String>(desk, Desk::Wait).without_deadline();
        sleep(1.secs()).await;
        kill(desk);
        assert!(matches!(owed.await, Err(CallError::Down(ExitReason::Killed { .. }))));
    });
}

#[derive(Message)]
struct Halve(u32);

#[derive(State)]
struct Halving;

#[neurath::server]
impl Server for Halving {
    type Call = Halve;
    type Reply = Option<u32>;

    fn init() -> Self {
        Halving
    }

    async fn call(&mut self, Halve(n): Halve) -> Option<u32> {
        let small = u8::try_from(n).ok()?;
        if small % 2 == 1 {
            return None;
        }
        sleep(1.millis()).await;
        Some(n / 2)
    }
}

#[test]
fn an_answer_that_is_returned_may_be_returned_early() {
    run(async {
        let server = Halving::spawn();
        for (n, half) in [(4, Some(2)), (5, None), (400, None)] {
            assert_eq!(call::<Option<u32>>(server, Halve(n)).await, Ok(half));
        }
    });
}

// ---- time ----

#[derive(Message)]
enum Tick {
    Once,
    Again,
}

#[derive(Message)]
enum Set {
    After(u64),
    Every(u64),
    Cancel(String),
    Busy(u64),
}

#[derive(State)]
struct Clock {
    timers: Timers,
    seen: Vec<String>,
    idle_ms: u64,
}

#[neurath::server]
impl Server for Clock {
    type Call = ();
    type Reply = Vec<String>;
    type Cast = Set;

    fn init(idle_ms: u64) -> Self {
        Clock { timers: Timers::new(), seen: Vec::new(), idle_ms }
    }

    async fn call(&mut self, (): ()) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    async fn cast(&mut self, set: Set) {
        match set {
            Set::After(ms) => self.timers.after("once", ms.millis(), Tick::Once),
            Set::Every(ms) => self.timers.every("again", ms.millis(), Tick::Again),
            Set::Cancel(name) => drop(self.timers.cancel(&name)),
            Set::Busy(ms) => sleep(ms.millis()).await,
        }
    }

    async fn fired(&mut self, fired: Fired<Tick>) {
        match self.timers.take(fired) {
            Some(Tick::Once) => self.seen.push("once".into()),
            Some(Tick::Again) => self.seen.push("again".into()),
            None => {}
        }
    }

    fn idle(&self) -> std::time::Duration {
        self.idle_ms.millis()
    }

    async fn timeout(&mut self) {
        self.seen.push("idle".into());
        self.idle_ms = 1_000_000;
    }
}

async fn seen(clock: Pid) -> Vec<String> {
    call(clock, ()).without_deadline().await.unwrap()
}

#[test]
fn a_server_without_messages_hears_of_it_once_its_time_is_over_and_each_message_begins_it_anew() {
    run(async {
        let clock = Clock::spawn(1_000);
        for _ in 0..5 {
            sleep(999.millis()).await;
            assert!(seen(clock).await.is_empty());
        }
        sleep(1_001.millis()).await;
        assert_eq!(seen(clock).await, ["idle"]);
        sleep(100.secs()).await;
        assert!(seen(clock).await.is_empty(), "the server has said another time");
    });
}

#[test]
fn timers_fire_once_or_again_and_again_also_after_an_upgrade() {
    run(async {
        let clock = Clock::spawn(u64::MAX);
        cast(clock, Set::After(1_000));
        cast(clock, Set::Every(300));
        sleep(500.millis()).await;
        upgrade::<Clock>(clock);
        sleep(550.millis()).await;
        assert_eq!(seen(clock).await, ["again", "again", "again", "once"]);
        sleep(1_000.millis()).await;
        assert_eq!(seen(clock).await, ["again", "again", "again"]);
        cast(clock, Set::Cancel("again".into()));
        sleep(10.secs()).await;
        assert!(seen(clock).await.is_empty());
    });
}

#[test]
fn a_timer_that_is_cancelled_or_set_anew_does_not_fire_even_if_its_message_waits() {
    run(async {
        let clock = Clock::spawn(u64::MAX);
        cast(clock, Set::After(100));
        // Its message comes while the server is busy, and behind it what makes it void.
        cast(clock, Set::Busy(200));
        cast(clock, Set::Cancel("once".into()));
        sleep(1.secs()).await;
        assert!(seen(clock).await.is_empty(), "cancelled");

        cast(clock, Set::After(100));
        cast(clock, Set::After(300));
        sleep(200.millis()).await;
        assert!(seen(clock).await.is_empty(), "set anew");
        sleep(200.millis()).await;
        assert_eq!(seen(clock).await, ["once"]);
    });
}

// ---- priorities ----

#[derive(Message)]
struct Usual(u32);

#[derive(Message)]
struct Urgent(u32);

#[derive(State)]
struct Ranked {
    seen: Vec<u32>,
}

#[neurath::server(priority(Urgent, Down))]
impl Server for Ranked {
    type Call = ();
    type Reply = Vec<u32>;

    fn init() -> Self {
        Ranked { seen: Vec::new() }
    }

    async fn call(&mut self, (): ()) -> Vec<u32> {
        sleep(1.secs()).await;
        std::mem::take(&mut self.seen)
    }

    async fn usual(&mut self, Usual(n): Usual) {
        self.seen.push(n);
    }

    async fn urgent(&mut self, Urgent(n): Urgent) {
        self.seen.push(n);
    }

    async fn down(&mut self, _: Down) {
        self.seen.push(1_000);
    }
}

#[test]
fn messages_with_priority_go_before_those_that_wait_and_keep_their_order() {
    run(async {
        let server = Ranked::spawn();
        // Both calls are there at once; what comes during the first is sorted before the second is taken.
        let (first, second) = (call::<Vec<u32>>(server, ()), call::<Vec<u32>>(server, ()));
        sleep(100.millis()).await;
        for n in 0..3 {
            send(server, Usual(n));
            send(server, Urgent(10 + n));
        }
        assert_eq!(first.await, Ok(vec![]));
        assert_eq!(second.await, Ok(vec![10, 11, 12]));
        assert_eq!(call(server, ()).await, Ok(vec![0u32, 1, 2]));
    });
}

// ---- what nobody takes ----

#[neurath::process]
async fn ends() {}

macro_rules! watching {
    ($name:ident $(, $options:meta)?) => {
        #[derive(State)]
        struct $name {
            count: u32,
        }

        #[neurath::server$(($options))?]
        impl Server for $name {
            type Call = u32;
            type Reply = u32;

            fn init() -> Self {
                trap_exit(true);
                monitor(ends::spawn());
                $name { count: 0 }
            }

            async fn call(&mut self, n: u32) -> u32 {
                let waits = {
                    let mut waits = 0;
                    loop {
                        receive! { _down: Down => waits += 1, after 0.secs() => break waits }
                    }
                };
                self.count += n + 100 * waits;
                self.count
            }
        }
    };
}

watching!(Logs);
watching!(Drops, unhandled = drop);
watching!(Exits, unhandled = exit);

#[derive(State)]
struct Handles {
    seen: Vec<(Pid, String)>,
}

#[neurath::server]
impl Server for Handles {
    type Call = ();
    type Reply = Vec<(Pid, String)>;

    fn init() -> Self {
        trap_exit(true);
        Handles { seen: Vec::new() }
    }

    async fn call(&mut self, (): ()) -> Vec<(Pid, String)> {
        self.seen.clone()
    }

    async fn unhandled(&mut self, notice: Unhandled) {
        self.seen.push((notice.from, notice.type_name));
    }
}

#[test]
fn notices_without_a_handler_are_dropped_or_end_the_server_or_are_handled_as_it_says() {
    run(async {
        for server in [Logs::spawn(), Drops::spawn()] {
            sleep(1.secs()).await;
            assert_eq!(call::<u32>(server, 1u32).await, Ok(1), "none is left in the mailbox");
        }
        let (_, watch) = Exits::spawn_monitor();
        let reason = receive! { down: Down if down.monitor == watch => down.reason };
        assert!(matches!(&reason, ExitReason::Custom { type_name, .. } if type_name == "Unhandled"), "{reason}");

        let server = Handles::spawn();
        sleep(1.secs()).await;
        exit_process(server, "why not".to_string());
        assert_eq!(call(server, ()).await, Ok(vec![(self_pid(), "Exit".to_string())]));
    });
}

// ---- hibernation ----

#[derive(State)]
struct Sleeper;

#[neurath::server]
impl Server for Sleeper {
    type Call = u32;
    type Reply = u32;

    fn init() -> Self {
        Sleeper
    }

    async fn call(&mut self, n: u32) -> u32 {
        hibernate();
        n
    }
}

#[test]
fn a_server_that_hibernates_answers_as_before() {
    run(async {
        let server = Sleeper::spawn();
        for n in 0..3u32 {
            assert_eq!(call(server, n).await, Ok(n));
            sleep(60.secs()).await;
        }
        let _: Option<Exit> = None;
    });
}
