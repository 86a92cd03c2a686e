//! Running processes in an ordinary native test: [`run`].
//!
//! A small host for one thread, with virtual time. It keeps the rules of mailboxes, receives, links,
//! monitors, names and timers, so that programs can be tested under a debugger in microseconds. What a
//! process asks for takes effect at once instead of at its safe point, types must be equal instead of
//! resolvable, and there is never newer code.
//!
//! Invariant: the host is borrowed only within one host function, never while a process runs.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use neurath_proto::abi::{PollStatus, SendStatus, StartMode, TakeStatus, spawn_flags, take_flags};
use neurath_proto::cluster::{Answer, NodeDown, NodeInfo, Question};
use neurath_proto::envelope::Class;
use neurath_proto::id::{Incarnation, NodeId, Serial};
use neurath_proto::name::check_process_name;
use neurath_proto::notice::{Down, Exit, NameAnswer};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Data, Pid, Ref, data};

use crate::entry::Entry;
use crate::executor::{self, Executor, Root};
use crate::sys::{Spawned, TypeTag, Wanted};
use bytes::{mismatch, reason_from, write, write_failure};

mod bytes;

/// Runs a future as a process of a world of its own, with all the processes that it starts, and gives
/// back what it makes.
///
/// Time is virtual: when every process waits, the clock goes on to the next deadline.
///
/// # Panics
/// Any of the processes panics, or all of them wait for something that cannot come.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Tally { Increment(i64), Get(ReplyTo<i64>) }
///
/// #[neurath::process(accepts(Tally))]
/// async fn counter(mut sum: i64) {
///     loop {
///         match recv::<Tally>().await {
///             Tally::Increment(n) => sum += n,
///             Tally::Get(reply) => reply.send(sum),
///         }
///     }
/// }
///
/// # fn main() {
/// let sum = neurath::testing::run(async {
///     let pid = counter::spawn(40);
///     send(pid, Tally::Increment(2));
///     sleep(1.secs()).await; // takes no time
///     ask(pid, Tally::Get).await
/// });
/// assert_eq!(sum, Ok(42));
/// # }
/// ```
pub fn run<F>(future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let outer = HOST.with(|host| host.replace(Some(Host::default())));
    let _restore = Restore(outer);
    let output = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&output);
    let main = host("run", |host| {
        let root: Root = Box::pin(async move {
            let made = future.await;
            *slot.borrow_mut() = Some(made);
        });
        host.spawn("main", root, 0).pid
    });
    while host("run", |host| host.processes.contains_key(&main)) {
        step();
    }
    let made = output.borrow_mut().take();
    match made {
        Some(made) => made,
        None => {
            let why = host("run", |host| host.last_reason.take());
            panic!("the main process ended: {}", why.unwrap_or(ExitReason::Normal))
        }
    }
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Hands the state of a server or supervisor that waits for its next message over to the entry `E`, as an upgrade does.
///
/// The state of `E` must be of the same type: there are no converters here.
///
/// # Panics
/// The process does not run, or is no server between two messages, or `E` does not take its state.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Get;
///
/// #[derive(State)]
/// struct Tally { sum: i64 }
///
/// #[neurath::server]
/// impl Server for Tally {
///     type Call = Get;
///     type Reply = i64;
///     fn init(sum: i64) -> Self { Tally { sum } }
///     async fn call(&mut self, _: Get) -> i64 { self.sum }
/// }
///
/// # fn main() {
/// neurath::testing::run(async {
///     let tally = Tally::spawn(42);
///     sleep(1.secs()).await;
///     neurath::testing::upgrade::<Tally>(tally);
///     assert_eq!(call::<i64>(tally, Get).await, Ok(42));
/// });
/// # }
/// ```
pub fn upgrade<E: Entry>(pid: Pid) {
    let state = host("upgrade", |host| {
        let executor = host.processes.get(&pid).and_then(|process| process.executor.as_ref());
        let source = executor.and_then(|executor| executor.state());
        let source = source.unwrap_or_else(|| panic!("{pid} is no server that waits for its next message"));
        let mut state = Vec::new();
        // SAFETY: the process waits, so nobody is changing its state.
        unsafe { (source.encode)(source.state, &mut state) };
        state
    });
    match E::boot(&state, StartMode::Resume) {
        Ok(root) => host("upgrade", |host| host.exchange(pid, root)),
        Err(error) => panic!("`{}` does not take the state of {pid}: {error}", E::NAME),
    }
}

/// How many messages to channels were refused so far in the current world.
///
/// # Panics
/// There is none: see [`run`].
pub fn refused() -> u64 {
    host("refused", |host| host.refused)
}

/// The time of the current world.
pub(crate) fn now_ms() -> u64 {
    host("now", |host| host.now / 1_000_000)
}

/// Puts the outer world back, also when a test fails.
struct Restore(Option<Host>);

impl Drop for Restore {
    fn drop(&mut self) {
        let inner = HOST.with(|host| host.replace(None));
        // Futures drop here, and what they drop may look for a host: it must not find the outer one.
        drop(inner);
        HOST.with(|host| host.replace(self.0.take()));
    }
}

/// What unwinds a process that has called `exit`.
pub(crate) struct Exited;

/// The host of this thread.
pub(crate) fn host<R>(what: &str, f: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with(|host| match &mut *host.borrow_mut() {
        Some(host) => f(host),
        None => crate::sys::nobody(what),
    })
}

/// The host of this thread, if there is one that is not being used or dropped.
pub(crate) fn if_host(f: impl FnOnce(&mut Host)) {
    let _ = HOST.try_with(|host| {
        if let Ok(mut host) = host.try_borrow_mut()
            && let Some(host) = &mut *host
        {
            f(host);
        }
    });
}

/// Runs one process once, or lets time go on.
fn step() {
    let Some((pid, turn, state)) = host("run", Host::next_turn) else { return };
    executor::with(|executor| executor.swap(&state));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        executor::with(|executor| match turn {
            Turn::Start(root) => executor.start(root),
            Turn::Wake(receive) => executor.poll(receive),
        })
    }));
    executor::with(|executor| executor.swap(&state));
    let ended = match outcome {
        Ok(PollStatus::Pending) => None,
        Ok(_) => Some(ExitReason::Normal),
        Err(panic) => Some(reason_of(panic)),
    };
    let dead = host("run", |host| {
        if let Some(process) = host.processes.get_mut(&pid) {
            process.executor = Some(state);
        }
        if let Some(reason) = ended {
            host.end(pid, reason);
        }
        // What the futures of the dead cancel is not another process's.
        host.current = Pid::default();
        std::mem::take(&mut host.dead)
    });
    drop(dead);
}

/// The reason in a process's `exit`; any other panic fails the test.
fn reason_of(panic: Box<dyn Any + Send>) -> ExitReason {
    if panic.is::<Exited>() {
        return host("exit", |host| host.exiting.take()).unwrap_or(ExitReason::Normal);
    }
    resume_unwind(panic)
}

enum Turn {
    Start(Root),
    Wake(u64),
}

struct Message {
    seq: u64,
    from: Pid,
    class: Class,
    reference: Ref,
    schema: Vec<u8>,
    payload: Vec<u8>,
}

impl Message {
    /// The channel that it was sent to, if it was.
    fn channel(&self) -> Ref {
        if self.class == Class::Port { self.reference } else { Ref::NONE }
    }
}

struct Waiting {
    schemas: Vec<Vec<u8>>,
    reference: Ref,
    channel: Ref,
    after_seq: u64,
    deadline: u64,
    /// The message it was woken for.
    offer: u64,
}

enum Call {
    Open { callee: Pid },
    Answered(Message),
    Failed(CallError),
}

#[derive(Default)]
struct Process {
    entry: &'static str,
    /// Away while the process runs.
    executor: Option<Box<Executor>>,
    mailbox: VecDeque<Message>,
    last_seq: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Deadlines of receives that were looked at and may go on.
    deadlines: BTreeMap<u64, u64>,
    calls: BTreeMap<Ref, Call>,
    /// Those that are open, and the schema that is read from each.
    channels: BTreeMap<Ref, Vec<u8>>,
    links: BTreeSet<Pid>,
    watchers: BTreeMap<Ref, Pid>,
    traps_exit: bool,
}

struct Timer {
    at: u64,
    to: Pid,
    message: Message,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Host {
    now: u64,
    last_ref: u64,
    last_serial: u64,
    current: Pid,
    processes: BTreeMap<Pid, Process>,
    turns: VecDeque<(Pid, Turn)>,
    timers: BTreeMap<Ref, Timer>,
    names: BTreeMap<String, Pid>,
    /// Messages to channels that were closed, or of another type.
    refused: u64,
    groups: BTreeMap<String, BTreeSet<Pid>>,
    exiting: Option<ExitReason>,
    last_reason: Option<ExitReason>,
    /// Dropped outside the host, because futures call it when they drop.
    dead: Vec<Process>,
}

impl Host {
    pub(crate) fn current(&self) -> Pid {
        self.current
    }

    pub(crate) fn reference(&mut self) -> Ref {
        self.last_ref += 1;
        Ref::new(1, self.last_ref)
    }

    fn me(&mut self) -> &mut Process {
        let current = self.current;
        self.processes.get_mut(&current).expect("a process that runs is alive")
    }

    fn next_turn(&mut self) -> Option<(Pid, Turn, Box<Executor>)> {
        let Some((pid, turn)) = self.turns.pop_front() else {
            self.pass_time();
            return None;
        };
        let process = self.processes.get_mut(&pid)?;
        if let Turn::Wake(receive) = turn
            && !process.waiting.contains_key(&receive)
        {
            return None;
        }
        self.current = pid;
        let executor = process.executor.take().expect("one process runs at a time");
        Some((pid, turn, executor))
    }

    /// Goes on to the next deadline.
    fn pass_time(&mut self) {
        let timers = self.timers.values().map(|timer| timer.at);
        let deadlines = self.processes.values().flat_map(|process| process.waiting.values()).map(|w| w.deadline);
        let next = timers.chain(deadlines).filter(|at| *at != u64::MAX).min();
        let Some(next) = next else {
            let waiting: Vec<&str> = self.processes.values().map(|process| process.entry).collect();
            panic!("every process waits for something that cannot come: {}", waiting.join(", "))
        };
        self.now = self.now.max(next);
        let due: Vec<Ref> = self.timers.iter().filter(|(_, timer)| timer.at <= self.now).map(|(r, _)| *r).collect();
        for timer in due {
            let Timer { to, message, .. } = self.timers.remove(&timer).expect("it was just there");
            self.deliver(to, message);
        }
        for (pid, process) in &self.processes {
            let late = process.waiting.iter().filter(|(_, waiting)| waiting.deadline <= self.now);
            self.turns.extend(late.map(|(receive, _)| (*pid, Turn::Wake(*receive))));
        }
    }

    fn message(&self, class: Class, reference: Ref, tag: TypeTag, payload: &[u8]) -> Message {
        Message { seq: 0, from: self.current, class, reference, schema: tag.schema(), payload: payload.to_vec() }
    }

    pub(crate) fn send(&mut self, to: Pid, class: Class, reference: Ref, tag: TypeTag, payload: &[u8]) -> SendStatus {
        let message = self.message(class, reference, tag, payload);
        if matches!(class, Class::Call | Class::Message) && reference.is_some() {
            let alive = self.processes.contains_key(&to);
            let call =
                if alive { Call::Open { callee: to } } else { Call::Failed(CallError::Down(ExitReason::NoProcess)) };
            self.me().calls.insert(reference, call);
        }
        self.deliver(to, message);
        SendStatus::Queued
    }

    fn deliver(&mut self, to: Pid, mut message: Message) {
        let Some(process) = self.processes.get_mut(&to) else { return };
        if message.class == Class::Reply {
            let reference = message.reference;
            if let Some(call @ Call::Open { .. }) = process.calls.get_mut(&reference) {
                *call = Call::Answered(message);
                self.wake_answer(to, reference);
            }
            return;
        }
        if message.class == Class::Port && process.channels.get(&message.reference) != Some(&message.schema) {
            self.refused += 1;
            return;
        }
        process.last_seq += 1;
        message.seq = process.last_seq;
        let wanted = process.waiting.iter_mut().find(|(_, w)| w.offer == 0 && w.wants(&message));
        if let Some((receive, waiting)) = wanted {
            waiting.offer = message.seq;
            self.turns.push_back((to, Turn::Wake(*receive)));
        }
        process.mailbox.push_back(message);
    }

    fn wake_answer(&mut self, pid: Pid, reference: Ref) {
        let Some(process) = self.processes.get(&pid) else { return };
        let waiting = process.waiting.iter().find(|(_, waiting)| waiting.reference == reference);
        if let Some((receive, _)) = waiting {
            self.turns.push_back((pid, Turn::Wake(*receive)));
        }
    }

    fn answer(&mut self, answer: &Answer) -> Ref {
        let reference = self.reference();
        let message = self.message(Class::Reply, reference, TypeTag::of::<Answer>(), &data::encode(answer));
        self.me().calls.insert(reference, Call::Answered(message));
        reference
    }

    pub(crate) fn nothing_newer(&mut self) -> Ref {
        let reference = self.reference();
        let message = self.message(Class::Reply, reference, TypeTag::of::<()>(), &[]);
        self.me().calls.insert(reference, Call::Answered(message));
        reference
    }

    pub(crate) fn take(&mut self, receive: u64, wanted: &Wanted<'_>, buffer: &mut [u8]) -> TakeStatus {
        let now = self.now;
        let current = self.current;
        let me = self.me();
        if wanted.flags & take_flags::YIELD != 0 {
            if me.waiting.remove(&receive).is_some() {
                return TakeStatus::TimedOut;
            }
            me.waiting.insert(receive, Waiting::nothing());
            self.turns.push_back((current, Turn::Wake(receive)));
            return TakeStatus::Pending;
        }
        let mut schemas: Vec<Vec<u8>> = wanted.tags.iter().map(|tag| tag.schema()).collect();
        let is_channel = wanted.flags & take_flags::CHANNEL != 0;
        if is_channel && wanted.flags & take_flags::OPEN != 0 {
            me.channels.insert(wanted.reference, schemas.remove(0));
            return TakeStatus::TimedOut;
        }
        let (awaited, channel) = if is_channel { (Ref::NONE, wanted.reference) } else { (wanted.reference, Ref::NONE) };
        let before = me.waiting.remove(&receive).map(|waiting| waiting.deadline);
        let deadline = before.or(me.deadlines.remove(&receive)).unwrap_or(now.saturating_add(wanted.timeout_ns));
        if awaited.is_some() {
            match me.calls.remove(&awaited) {
                Some(Call::Answered(message)) if schemas[0] == message.schema => {
                    let status = write(&message, 0, buffer);
                    if status == TakeStatus::BufferTooSmall {
                        me.calls.insert(awaited, Call::Answered(message));
                    }
                    return status;
                }
                Some(Call::Answered(message)) => {
                    let error = mismatch(&message.schema, &schemas[0]);
                    return write_failure(&error, buffer);
                }
                Some(Call::Failed(error)) => return write_failure(&error, buffer),
                Some(open) => {
                    me.calls.insert(awaited, open);
                }
                None => return write_failure(&CallError::NotSent("nothing was asked".into()), buffer),
            }
        } else {
            let offered: BTreeSet<u64> = me.waiting.values().map(|waiting| waiting.offer).collect();
            let found = me.mailbox.iter().enumerate().find_map(|(at, message)| {
                let index = schemas.iter().position(|schema| *schema == message.schema)?;
                let is_here = message.channel() == channel && message.seq > wanted.after_seq;
                let is_free = is_here && !offered.contains(&message.seq);
                is_free.then_some((at, index))
            });
            if let Some((at, index)) = found {
                let status = write(&me.mailbox[at], index as u32, buffer);
                if wanted.flags & take_flags::LOOK != 0 {
                    me.deadlines.insert(receive, deadline);
                } else if status == TakeStatus::Ready {
                    me.mailbox.remove(at);
                }
                return status;
            }
        }
        if deadline <= now {
            self.give_up(awaited);
            return TakeStatus::TimedOut;
        }
        let (reference, after_seq) = (awaited, wanted.after_seq);
        me.waiting.insert(receive, Waiting { schemas, reference, channel, after_seq, deadline, offer: 0 });
        TakeStatus::Pending
    }

    pub(crate) fn close_channel(&mut self, channel: Ref) {
        let Some(me) = self.processes.get_mut(&self.current) else { return };
        me.channels.remove(&channel);
        let before = me.mailbox.len();
        me.mailbox.retain(|message| message.channel() != channel);
        self.refused += (before - me.mailbox.len()) as u64;
    }

    pub(crate) fn accept(&mut self, receive: u64, seq: u64) -> bool {
        let me = self.me();
        me.deadlines.remove(&receive);
        let Some(at) = me.mailbox.iter().position(|message| message.seq == seq) else { return false };
        me.mailbox.remove(at);
        true
    }

    pub(crate) fn cancel(&mut self, receive: u64) {
        let current = self.current;
        let Some(me) = self.processes.get_mut(&current) else { return };
        me.deadlines.remove(&receive);
        let Some(gone) = me.waiting.remove(&receive) else { return };
        me.calls.remove(&gone.reference);
        let offered = me.mailbox.iter().find(|message| gone.offer != 0 && message.seq == gone.offer);
        let Some(message) = offered else { return };
        let next = me.waiting.iter_mut().find(|(_, waiting)| waiting.offer == 0 && waiting.wants(message));
        if let Some((receive, waiting)) = next {
            waiting.offer = message.seq;
            self.turns.push_back((current, Turn::Wake(*receive)));
        }
    }

    /// The process waits for an answer no longer.
    pub(crate) fn give_up(&mut self, reference: Ref) {
        if let Some(me) = self.processes.get_mut(&self.current) {
            me.calls.remove(&reference);
        }
    }

    pub(crate) fn send_after(&mut self, nanos: u64, to: Pid, tag: TypeTag, payload: &[u8]) -> Ref {
        let timer = self.reference();
        let message = self.message(Class::Message, Ref::NONE, tag, payload);
        self.timers.insert(timer, Timer { at: self.now.saturating_add(nanos), to, message });
        timer
    }

    pub(crate) fn cancel_timer(&mut self, timer: Ref) -> bool {
        self.timers.remove(&timer).is_some()
    }

    pub(crate) fn spawn(&mut self, entry: &'static str, root: Root, flags: u32) -> Spawned {
        self.last_serial += 1;
        let pid = Pid::new(NodeId(1), Incarnation(1), Serial(self.last_serial));
        let process = Process { entry, executor: Some(Box::new(Executor::new())), ..Process::default() };
        self.processes.insert(pid, process);
        self.turns.push_back((pid, Turn::Start(root)));
        if flags & spawn_flags::LINK != 0 {
            self.link(pid);
        }
        let monitor = if flags & spawn_flags::MONITOR != 0 { self.monitor(pid) } else { Ref::NONE };
        Spawned { pid, monitor }
    }

    /// Other code goes on as this process.
    fn exchange(&mut self, pid: Pid, root: Root) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let old = process.executor.replace(Box::new(Executor::new()));
        process.waiting.clear();
        process.deadlines.clear();
        process.calls.clear();
        process.channels.clear();
        let before = process.mailbox.len();
        process.mailbox.retain(|message| message.class != Class::Port);
        self.refused += (before - process.mailbox.len()) as u64;
        self.dead.push(Process { executor: old, ..Process::default() });
        self.turns.retain(|(other, _)| *other != pid);
        self.turns.push_back((pid, Turn::Start(root)));
    }

    pub(crate) fn set_reason(&mut self, tag: TypeTag, reason: &[u8]) {
        self.exiting = Some(reason_from(tag, reason));
    }

    pub(crate) fn exit_process(&mut self, to: Pid, tag: TypeTag, reason: &[u8]) {
        self.signal(self.current, to, reason_from(tag, reason));
    }

    pub(crate) fn kill(&mut self, to: Pid) {
        self.end(to, ExitReason::Killed { by: Some(self.current) });
    }

    pub(crate) fn link(&mut self, to: Pid) {
        let current = self.current;
        match self.processes.get_mut(&to) {
            Some(process) => {
                process.links.insert(current);
                self.me().links.insert(to);
            }
            None => self.signal(to, current, ExitReason::NoProcess),
        }
    }

    pub(crate) fn unlink(&mut self, to: Pid) {
        let current = self.current;
        self.me().links.remove(&to);
        if let Some(process) = self.processes.get_mut(&to) {
            process.links.remove(&current);
        }
    }

    pub(crate) fn monitor(&mut self, to: Pid) -> Ref {
        let (monitor, current) = (self.reference(), self.current);
        match self.processes.get_mut(&to) {
            Some(process) => {
                process.watchers.insert(monitor, current);
            }
            None => self.notice(to, current, &Down { monitor, pid: to, reason: ExitReason::NoProcess }),
        }
        monitor
    }

    pub(crate) fn demonitor(&mut self, monitor: Ref) {
        for process in self.processes.values_mut() {
            process.watchers.remove(&monitor);
        }
        let schema = TypeTag::of::<Down>().schema();
        self.me().mailbox.retain(|message| {
            message.schema != schema || data::decode::<Down>(&message.payload).is_ok_and(|down| down.monitor != monitor)
        });
    }

    pub(crate) fn trap_exit(&mut self, on: bool) {
        self.me().traps_exit = on;
    }

    /// There is one node here: all questions are about it, and any other cannot be reached.
    pub(crate) fn ask(&mut self, question: &Question) -> Ref {
        let me = self.current;
        let asked = match question {
            Question::Spawn { node, .. }
            | Question::Register { node, .. }
            | Question::Unregister { node, .. }
            | Question::Whereis { node, .. }
            | Question::Ping { node }
            | Question::MonitorNode { node } => *node,
            _ => me.node,
        };
        if asked != me.node {
            let reference = self.reference();
            if let Question::MonitorNode { node } = *question {
                let reason = "a test has one node".into();
                let from = Pid::new(node, Incarnation(0), Serial(0));
                self.notice(from, me, &NodeDown { monitor: reference, node, reason });
            }
            self.me().calls.insert(reference, Call::Failed(CallError::Down(ExitReason::Disconnected)));
            return reference;
        }
        let answer = match question {
            Question::Spawn { .. } => Answer::Failed { why: "a test starts processes on its own node: `spawn`".into() },
            Question::Register { name, pid, .. } => Answer::Name { answer: self.register(name, *pid) },
            Question::Unregister { name, .. } => {
                let had = self.names.remove(name).is_some();
                Answer::Name { answer: if had { NameAnswer::Done } else { NameAnswer::Unknown } }
            }
            Question::Whereis { name, .. } => {
                let owner = self.names.get(name).copied();
                Answer::Name { answer: owner.map_or(NameAnswer::Unknown, NameAnswer::Owner) }
            }
            Question::Nodes => {
                let own = NodeInfo { node: me.node, incarnation: me.incarnation, name: "test".into() };
                Answer::Nodes { nodes: vec![own] }
            }
            Question::Join { group } => match check_process_name(group) {
                Ok(()) => {
                    self.groups.entry(group.clone()).or_default().insert(me);
                    Answer::Done {}
                }
                Err(why) => Answer::Failed { why: why.into() },
            },
            Question::Leave { group } => {
                self.groups.entry(group.clone()).or_default().remove(&me);
                Answer::Done {}
            }
            Question::Members { group } => {
                Answer::Pids { pids: self.groups.get(group).into_iter().flatten().copied().collect() }
            }
            Question::Ping { .. }
            | Question::MonitorNode { .. }
            | Question::DemonitorNode { .. }
            | Question::WatchNodes { .. } => Answer::Done {},
        };
        self.answer(&answer)
    }

    fn register(&mut self, name: &str, pid: Pid) -> NameAnswer {
        match self.names.get(name) {
            Some(owner) => NameAnswer::Owner(*owner),
            None if !self.processes.contains_key(&pid) => NameAnswer::NoProcess,
            None => {
                self.names.insert(name.into(), pid);
                NameAnswer::Done
            }
        }
    }

    fn notice<T: Data>(&mut self, from: Pid, to: Pid, notice: &T) {
        let payload = data::encode(notice);
        let message = self.message(Class::Notice, Ref::NONE, TypeTag::of::<T>(), &payload);
        self.deliver(to, Message { from, ..message });
    }

    /// A linked process ended, or somebody asks for an exit.
    fn signal(&mut self, from: Pid, to: Pid, reason: ExitReason) {
        let Some(process) = self.processes.get(&to) else { return };
        if process.traps_exit {
            self.notice(from, to, &Exit { from, reason });
        } else if !reason.is_normal() {
            self.end(to, reason);
        }
    }

    fn end(&mut self, pid: Pid, reason: ExitReason) {
        let Some(mut process) = self.processes.remove(&pid) else { return };
        self.names.retain(|_, owner| *owner != pid);
        for members in self.groups.values_mut() {
            members.remove(&pid);
        }
        for (monitor, watcher) in std::mem::take(&mut process.watchers) {
            self.notice(pid, watcher, &Down { monitor, pid, reason: reason.clone() });
        }
        let mut failed = Vec::new();
        for (caller, other) in &mut self.processes {
            for (reference, call) in &mut other.calls {
                if matches!(call, Call::Open { callee } if *callee == pid) {
                    *call = Call::Failed(CallError::Down(reason.clone()));
                    failed.push((*caller, *reference));
                }
            }
            other.links.remove(&pid);
        }
        for (caller, reference) in failed {
            self.wake_answer(caller, reference);
        }
        for linked in std::mem::take(&mut process.links) {
            self.signal(pid, linked, reason.clone());
        }
        self.last_reason = Some(reason);
        self.dead.push(process);
    }
}

impl Waiting {
    fn nothing() -> Self {
        let (schemas, reference, channel) = (Vec::new(), Ref::NONE, Ref::NONE);
        Self { schemas, reference, channel, after_seq: 0, deadline: u64::MAX, offer: 0 }
    }

    fn wants(&self, message: &Message) -> bool {
        !self.reference.is_some()
            && self.channel == message.channel()
            && message.seq > self.after_seq
            && self.schemas.contains(&message.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReplyTo, ask, call, recv, self_pid, sleep};
    use std::time::Duration;

    fn open_calls() -> usize {
        host("a test", |host| host.me().calls.len())
    }

    #[test]
    fn requests_that_nobody_waits_for_leave_no_call_open() {
        run(async {
            drop(call::<u32>(self_pid(), 1u32));
            assert_eq!(open_calls(), 0, "dropped at once");

            let late = call::<u32>(self_pid(), 2u32).within(Duration::from_secs(1));
            assert_eq!((late.await, open_calls()), (Err(CallError::TimedOut), 0));

            let given_up = call::<u32>(self_pid(), 3u32).without_deadline();
            let mut given_up = Box::pin(given_up);
            let poll = std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context)));
            assert!(poll.await.is_pending());
            assert_eq!(open_calls(), 1);
            drop(given_up);
            assert_eq!(open_calls(), 0, "dropped while it waited");

            let answered = ask(self_pid(), |reply: ReplyTo<u32>| reply);
            recv::<ReplyTo<u32>>().await.send(4);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(open_calls(), 1);
            drop(answered);
            assert_eq!(open_calls(), 0, "dropped with its answer");
        });
    }
}
