//! Programs that misbehave, each in its own way. What they do must end them and nothing else.

use std::future::Future;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use neurath::prelude::*;
use neurath_proto::schema::{SchemaBuilder, Type};
use neurath_proto::{DecodeError, Reader};

mod odd;

/// What the rogues take, if they take anything.
#[derive(Message)]
pub struct Nudge(pub u64);

/// An answer of the wrong type.
#[derive(Message)]
pub struct Wrong {
    /// Nothing that anybody asked for.
    pub text: String,
}

/// What `answers_wrongly` is asked.
#[derive(Message)]
pub enum Question {
    /// Wants a number.
    Number(ReplyTo<u64>),
}

/// A reason of its own type.
#[derive(Message)]
pub struct Fed {
    /// With what.
    pub up: String,
}

/// Panics after `nudges` messages; at once if that is 0.
#[neurath::process]
pub async fn panics(nudges: u64) {
    for _ in 0..nudges {
        recv::<Nudge>().await;
    }
    panic!("as asked, after {nudges} nudges");
}

/// Sends a message and panics before that can have happened: the message must never arrive.
#[neurath::process]
pub async fn sends_and_panics(to: Pid) {
    send(to, Nudge(1));
    panic!("this poll leaves no trace");
}

/// Computes forever and never lets go.
#[neurath::process]
pub async fn spins() {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Wakes itself forever: busy, but it lets others have their turn.
#[neurath::process]
pub async fn wakes_itself() {
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await;
}

/// Takes memory, `chunk` bytes at a time, until there is none.
#[neurath::process]
pub async fn hungers(chunk: u32) {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1u8; chunk as usize]);
        yield_now().await;
        black_box(&hoard);
    }
}

/// Calls itself until the stack is gone.
#[neurath::process]
pub async fn recurses() {
    black_box(deeper(1));
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(n: u64) -> u64 {
    let room = black_box([n; 64]);
    deeper(n + 1).wrapping_add(room[(n % 64) as usize])
}

/// Executes an unreachable instruction, without a panic.
#[neurath::process]
pub async fn traps() {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
}

/// Reads outside its memory.
#[neurath::process]
pub async fn reads_outside() {
    #[cfg(target_family = "wasm")]
    {
        // SAFETY: none; the sandbox is to stop it.
        black_box(unsafe { std::ptr::read_volatile(0xffff_fff0 as *const u64) });
    }
}

/// Leaves the way a command does.
#[neurath::process]
pub async fn leaves(code: i32) {
    std::process::exit(code);
}

/// Ends with a reason of its own type.
#[neurath::process]
pub async fn fed_up() {
    exit(Fed { up: "with boats".into() });
}

/// Sends `count` messages to `to` without ever waiting; answers nobody.
#[neurath::process]
pub async fn floods(to: Pid, count: u64) {
    for n in 0..count {
        while !send(to, Nudge(n)).is_queued() {
            flush().await;
        }
    }
}

/// Sends itself more than its mailbox holds, and ends with how many were refused.
#[neurath::process]
pub async fn floods_itself(count: u64) {
    let mut refused = 0u64;
    for n in 0..count {
        match send(self_pid(), Nudge(n)) {
            Sent::Queued => {}
            Sent::OutboxFull => flush().await,
            Sent::MailboxFull | Sent::TooLarge => refused += 1,
        }
    }
    exit(Nudge(refused));
}

/// Gives a process a name that it did not ask for, links itself to it and watches it, for ever.
#[neurath::process]
pub async fn clings(to: Pid, name: String) {
    if let Err(why) = register(&name, to).await {
        panic!("no name for {to}: {why}");
    }
    link(to);
    monitor(to);
    sleep(std::time::Duration::MAX).await;
}

/// Never reads its mailbox.
#[neurath::process]
pub async fn deaf() {
    sleep(std::time::Duration::MAX).await;
}

/// Reads one message every `pause_ms`, of any kind that it knows.
#[neurath::process]
pub async fn slow(pause_ms: u64) {
    loop {
        recv::<Nudge>().await;
        sleep(pause_ms.millis()).await;
    }
}

/// Two of these that send each other more than their mailboxes hold wait for each other.
#[neurath::process]
pub async fn entangles(count: u64) {
    let Nudge(_) = recv().await;
    let Some(other) = whereis("entangled").await else { return };
    for n in 0..count {
        while !send(other, Nudge(n)).is_queued() {
            flush().await;
        }
    }
    flush().await;
}

/// Answers every question with something else.
#[neurath::process]
pub async fn answers_wrongly() {
    loop {
        let Question::Number(reply) = recv().await;
        let pid = reply.pid();
        send(pid, Wrong { text: "not a number".into() });
    }
}

/// Asks a server `count` times without waiting for any answer, then once more and waits.
#[neurath::process]
pub async fn asks_in_vain(to: Pid, count: u64) {
    for n in 0..count {
        drop(call::<u64>(to, 0u64));
        if n % 50 == 49 {
            flush().await;
        }
    }
    match call::<u64>(to, 0u64).without_deadline().await {
        Ok(answer) => info!("answered {answer} after {count} questions in vain"),
        Err(error) => panic!("after {count} questions in vain: {error}"),
    }
}

/// Sends one message of `len` bytes and ends with what became of it.
#[neurath::process]
pub async fn sends_much(to: Pid, len: u32) {
    let sent = send(to, vec![7u8; len as usize]);
    exit(format!("{sent:?}"));
}

/// Starts something that is not there.
#[neurath::process]
pub async fn starts_nothing() {
    raw::spawn("no such entry");
}

/// Gives the host pointers to nowhere.
#[neurath::process]
pub async fn lies_about_pointers(which: u32) {
    raw::lie(which);
}

/// Writes to standard output without end.
#[neurath::process]
pub async fn chatters(lines: u64) {
    for n in 0..lines {
        println!("line {n}");
    }
}

/// Sleeps as a thread does, which a process must not.
#[neurath::process]
pub async fn blocks() {
    #[expect(clippy::disallowed_methods, reason = "the host is to refuse it")]
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

/// Starts itself, twice, again and again.
#[neurath::process]
pub async fn multiplies(generations: u32) {
    if generations > 0 {
        multiplies::spawn(generations - 1);
        multiplies::spawn(generations - 1);
    }
}

/// A server that cannot be started: its `init` fails.
#[derive(State)]
pub struct Stillborn;

#[neurath::server]
impl Server for Stillborn {
    fn init() -> Result<Self, String> {
        Err("never meant to be".into())
    }
}

/// A server whose handlers panic on demand, and whose state is large.
#[derive(State)]
pub struct Fragile {
    /// How much it has handled.
    pub handled: u64,
    /// Ballast.
    pub ballast: Vec<u8>,
}

#[neurath::server]
impl Server for Fragile {
    type Call = u64;
    type Reply = u64;

    fn init(ballast: u32) -> Self {
        Fragile { handled: 0, ballast: vec![1; ballast as usize] }
    }

    async fn call(&mut self, n: u64) -> u64 {
        assert_ne!(n, 13, "thirteen is too much");
        self.handled += 1;
        n + 1
    }
}

#[cfg(target_family = "wasm")]
mod raw {
    //! The imports themselves, without the care that the SDK takes.

    #[link(wasm_import_module = "neurath")]
    unsafe extern "C" {
        #[link_name = "spawn"]
        fn host_spawn(name: usize, name_len: usize, args: usize, args_len: usize, flags: u32, out: usize) -> i32;
        #[link_name = "send"]
        fn host_send(to: usize, class: u32, reference: u64, tag: u32, ptr: usize, len: usize) -> i32;
        #[link_name = "take"]
        fn host_take(receive: u64, spec: usize, buffer: usize, capacity: usize) -> i32;
        #[link_name = "declare"]
        fn host_declare(tag: u32, ptr: usize, len: usize);
        #[link_name = "log"]
        fn host_log(level: u32, ptr: usize, len: usize);
    }

    pub(super) fn spawn(name: &str) {
        let mut out = [0u8; 32];
        // SAFETY: the pointers are good; only the name is not.
        unsafe { host_spawn(name.as_ptr() as usize, name.len(), 0, 0, 0, out.as_mut_ptr() as usize) };
    }

    pub(super) fn lie(which: u32) {
        let nowhere = u32::MAX as usize - 3;
        let garbage = [0xffu8; 64];
        // SAFETY: none; the host is to notice.
        unsafe {
            match which {
                0 => drop(host_send(nowhere, 0, 0, 1, nowhere, 8)),
                1 => drop(host_send(garbage.as_ptr() as usize, 99, 0, 1, garbage.as_ptr() as usize, 8)),
                2 => drop(host_take(1, nowhere, nowhere, usize::MAX)),
                3 => drop(host_take(1, garbage.as_ptr() as usize, garbage.as_ptr() as usize, 56)),
                4 => host_declare(1, garbage.as_ptr() as usize, garbage.len()),
                5 => host_log(3, garbage.as_ptr() as usize, garbage.len()),
                6 => drop(host_send(garbage.as_ptr() as usize, 0, 0, 1, 0, u32::MAX as usize)),
                _ => drop(host_spawn(nowhere, 16, nowhere, 16, 99, nowhere)),
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod raw {
    //! There is no ABI to break natively.

    pub(super) fn spawn(_: &str) {}

    pub(super) fn lie(_: u32) {}
}

/// Fills `bytes` of memory, sets a timer, is nudged three times, and says whether all is still as it was.
#[neurath::process(accepts(Nudge, Alarm))]
pub async fn remembers(bytes: u32) {
    let hoard: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
    for _ in 0..3 {
        recv::<Nudge>().await;
    }
    if let Err(why) = send_after(50.millis(), self_pid(), Alarm) {
        panic!("no timer: {why:?}");
    }
    recv::<Alarm>().await;
    let kept = black_box(&hoard).iter().enumerate().filter(|(n, byte)| **byte == *n as u8).count();
    info!("remembers 3 nudges, a timer, and all of its {kept} bytes");
}

/// What a timer of `remembers` says.
#[derive(Message)]
pub struct Alarm;

/// Is woken for a nudge and does something else first, each time another thing; logs whether all came in order.
#[neurath::process(accepts(Nudge, Alarm))]
pub async fn juggles(count: u64) {
    let mut numbers = Vec::new();
    for round in 0..count {
        let mut nudge = Box::pin(recv::<Nudge>());
        let mut alarm = Box::pin(recv::<Alarm>());
        let mut wakes = 0;
        let Nudge(number) = std::future::poll_fn(|context| {
            wakes += 1;
            match (wakes, round % 4) {
                // What came with the poll is not read: the next receive has it.
                (2, 0) => nudge = Box::pin(recv::<Nudge>()),
                // Another receive asks first.
                (2, 1) => assert!(alarm.as_mut().poll(context).is_pending(), "nobody rang"),
                // It is not even looked at before something else has come.
                (1, 2) => assert!(alarm.as_mut().poll(context).is_pending(), "nobody rang"),
                (2, 2) => {
                    assert!(send_after(1.millis(), self_pid(), Alarm).is_ok());
                    return Poll::Pending;
                }
                (3, 2) => assert!(alarm.as_mut().poll(context).is_ready(), "nobody rang"),
                _ => {}
            }
            nudge.as_mut().poll(context)
        })
        .await;
        numbers.push(number);
    }
    let in_order = numbers.iter().copied().eq(0..count);
    info!("juggled {count} nudges, in order: {in_order}");
}

/// A server that changes when its state is written: how often that was is what it answers.
#[derive(State)]
pub struct Sly {
    /// Counts.
    pub glances: Glances,
}

/// Counts how often it was written, beside itself.
pub struct Glances;

static GLANCES: AtomicU64 = AtomicU64::new(0);

impl Data for Glances {
    fn encode(&self, out: &mut Vec<u8>) {
        GLANCES.fetch_add(1, Ordering::Relaxed);
        ().encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        <()>::decode(reader).map(|()| Self)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        <()>::schema(builder)
    }
}

#[neurath::server]
impl Server for Sly {
    type Call = ();
    type Reply = u64;
    type Cast = Never;

    fn init() -> Self {
        Self { glances: Glances }
    }

    async fn call(&mut self, _nothing: ()) -> u64 {
        GLANCES.load(Ordering::Relaxed)
    }

    async fn cast(&mut self, cast: Never) {
        match cast {}
    }
}
