//! What the benchmarks run. Each job starts what it needs, measures with its own clock and answers with what it
//! found, so that the outside adds nothing to the time.

use std::time::Instant;

use neurath::prelude::*;

pub mod kernels;
mod load;
mod remote;
mod server;

pub use load::{Load, Seen, caller, caster};
pub use measure::{Histogram, Latency};
pub use remote::{Watch, member, nuisance, pinger, sentinel, watcher};
pub use server::{BenchAnswer, BenchServer, Count, Order, keeper};

/// How long so many things took.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How many things.
    pub count: u64,
    /// How long they took together.
    pub nanos: u64,
}

/// What can be measured.
#[derive(Message)]
#[expect(missing_docs, reason = "the functions that do them say it")]
pub enum Job {
    RoundTrips { count: u64, payload: u32, reply: ReplyTo<Measured> },
    RoundTripLatency { count: u64, payload: u32, reply: ReplyTo<Latency> },
    OneWay { senders: u32, count: u64, window: u32, payload: u32, reply: ReplyTo<Measured> },
    Ring { size: u32, laps: u64, reply: ReplyTo<Measured> },
    SpawnExit { count: u64, reply: ReplyTo<Measured> },
    SpawnExitBatch { count: u64, batch: u32, reply: ReplyTo<Measured> },
    Idlers { count: u64, reply: ReplyTo<Measured> },
    Fib { n: u64, reply: ReplyTo<(u64, u64)> },
    Nbody { steps: u64, reply: ReplyTo<(u64, f64)> },
    Sha256 { len: u32, reply: ReplyTo<(u64, u32)> },
    RemoteRoundTrips { node: String, count: u64, reply: ReplyTo<Latency> },
    RemoteOneWay { node: String, count: u64, payload: u32, reply: ReplyTo<Measured> },
    RemotePairs { node: String, pairs: u32, count: u64, reply: ReplyTo<Measured> },
    RemoteSpawn { node: String, count: u64, reply: ReplyTo<Measured> },
    Broadcast { node: String, members: u32, count: u64, reply: ReplyTo<Measured> },
}

/// Does one job.
#[neurath::process(accepts(Job, Return, Drained, Token))]
pub async fn bench() {
    match recv().await {
        Job::RoundTrips { count, payload, reply } => reply.send(round_trips(count, payload).await),
        Job::RoundTripLatency { count, payload, reply } => reply.send(round_trip_latency(count, payload).await),
        Job::OneWay { senders, count, window, payload, reply } => {
            reply.send(one_way(senders, count, window, payload).await);
        }
        Job::Ring { size, laps, reply } => reply.send(ring(size, laps).await),
        Job::SpawnExit { count, reply } => reply.send(spawn_exit(count).await),
        Job::SpawnExitBatch { count, batch, reply } => reply.send(spawn_exit_batch(count, batch).await),
        Job::Idlers { count, reply } => reply.send(idlers(count).await),
        Job::Fib { n, reply } => reply.send(compute_fib(n)),
        Job::Nbody { steps, reply } => reply.send(compute_nbody(steps)),
        Job::Sha256 { len, reply } => reply.send(compute_sha256(len)),
        Job::RemoteRoundTrips { node, count, reply } => reply.send(remote::round_trips(&node, count).await),
        Job::RemoteOneWay { node, count, payload, reply } => reply.send(remote::one_way(&node, count, payload).await),
        Job::RemotePairs { node, pairs, count, reply } => reply.send(remote::pairs(&node, pairs, count).await),
        Job::RemoteSpawn { node, count, reply } => reply.send(remote::spawn_exit(&node, count).await),
        Job::Broadcast { node, members, count, reply } => reply.send(remote::broadcast(&node, members, count).await),
    }
}

fn measured(count: u64, since: Instant) -> Measured {
    Measured { count, nanos: since.elapsed().as_nanos() as u64 }
}

// ---- round trips ----

/// What the echo takes.
#[derive(Message)]
pub enum Serve {
    /// Comes back as a number.
    Number {
        /// To whom.
        from: Pid,
        /// Which.
        n: u64,
    },
    /// Comes back as bytes.
    Bytes {
        /// To whom.
        from: Pid,
        /// Which.
        bytes: Vec<u8>,
    },
}

/// What comes back.
#[derive(Message)]
pub enum Return {
    /// The number.
    Number(u64),
    /// The bytes.
    Bytes(Vec<u8>),
}

/// Sends back what it gets.
#[neurath::process(accepts(Serve))]
pub async fn echo() {
    loop {
        match recv::<Serve>().await {
            Serve::Number { from, n } => send(from, Return::Number(n)),
            Serve::Bytes { from, bytes } => send(from, Return::Bytes(bytes)),
        };
    }
}

/// `count` round trips to an echo, one after the other; with `payload` bytes, or with a number if that is 0.
async fn round_trips(count: u64, payload: u32) -> Measured {
    let echo = echo::spawn();
    let from = self_pid();
    let since = Instant::now();
    if payload == 0 {
        for n in 0..count {
            send(echo, Serve::Number { from, n });
            recv::<Return>().await;
        }
    } else {
        let mut bytes = vec![7; payload as usize];
        for _ in 0..count {
            send(echo, Serve::Bytes { from, bytes });
            bytes = match recv().await {
                Return::Bytes(bytes) => bytes,
                Return::Number(_) => Vec::new(),
            };
        }
    }
    let measured = measured(count, since);
    kill(echo);
    measured
}

/// The same, each round trip timed by itself.
async fn round_trip_latency(count: u64, payload: u32) -> Latency {
    let echo = echo::spawn();
    let from = self_pid();
    let mut bytes = vec![7; payload as usize];
    let mut histogram = Histogram::new();
    for n in 0..count {
        let since = Instant::now();
        send(echo, if payload == 0 { Serve::Number { from, n } } else { Serve::Bytes { from, bytes } });
        bytes = match recv().await {
            Return::Bytes(bytes) => bytes,
            Return::Number(_) => Vec::new(),
        };
        histogram.count(since.elapsed().as_nanos() as u64);
    }
    kill(echo);
    histogram.latency()
}

// ---- one way ----

/// What a sink takes.
#[derive(Message)]
pub enum Flow {
    /// One message.
    Item(u64),
    /// One message of some size.
    Bytes(Vec<u8>),
    /// Everything up to here has been read: say so.
    Ack(Pid),
}

/// A window's worth may be sent.
#[derive(Message)]
pub struct More;

/// All of it has arrived.
#[derive(Message)]
pub struct Drained;

/// Takes `count` messages and says so.
#[neurath::process(accepts(Flow))]
pub async fn sink(count: u64, parent: Pid) {
    let mut left = count;
    while left > 0 {
        match recv::<Flow>().await {
            Flow::Item(_) | Flow::Bytes(_) => left -= 1,
            Flow::Ack(source) => {
                send(source, More);
            }
        }
    }
    send(parent, Drained);
}

/// Sends `count` messages, never more than `window` of them unread; with a window of 0, as many as the sink takes.
#[neurath::process(accepts(More))]
pub async fn source(sink: Pid, count: u64, window: u32, payload: u32) {
    source_to(sink, count, window, payload).await;
}

async fn source_to(sink: Pid, count: u64, window: u32, payload: u32) {
    let bytes = vec![7u8; payload as usize];
    let me = self_pid();
    let mut credit = window;
    for n in 0..count {
        if credit == 1 {
            send(sink, Flow::Ack(me));
            recv::<More>().await;
            credit = window;
        }
        credit = credit.saturating_sub(1);
        let item = || if payload == 0 { Flow::Item(n) } else { Flow::Bytes(bytes.clone()) };
        while !send(sink, item()).is_queued() {
            flush().await;
        }
    }
}

/// `count` messages from `senders` processes to one.
async fn one_way(senders: u32, count: u64, window: u32, payload: u32) -> Measured {
    let each = count / u64::from(senders);
    let count = each * u64::from(senders);
    let since = Instant::now();
    let sink = sink::spawn(count, self_pid());
    for _ in 0..senders {
        source::spawn(sink, each, window, payload);
    }
    recv::<Drained>().await;
    measured(count, since)
}

// ---- ring ----

/// Goes round.
#[derive(Message)]
pub struct Token(u64);

/// Passes tokens on, as long as they have hops left.
#[neurath::process(accepts(Token))]
pub async fn ring_node(next: Pid) {
    loop {
        let Token(hops) = recv().await;
        send(next, Token(hops.saturating_sub(1)));
        if hops <= 1 {
            return;
        }
    }
}

/// Sends a token `laps` times round a ring of `size` processes, this one among them.
async fn ring(size: u32, laps: u64) -> Measured {
    let mut next = self_pid();
    for _ in 1..size {
        next = ring_node::spawn(next);
    }
    // The ring is built before the clock starts.
    sleep(50.millis()).await;
    let since = Instant::now();
    for _ in 0..laps {
        send(next, Token(u64::MAX));
        recv::<Token>().await;
    }
    let measured = measured(laps * u64::from(size), since);
    send(next, Token(1));
    measured
}

// ---- processes ----

/// Ends at once.
#[neurath::process]
pub async fn mayfly() {}

/// Waits for something that does not come.
#[neurath::process(accepts(Token))]
pub async fn idle() {
    recv::<Token>().await;
}

/// Starts `count` processes, each when the one before has ended.
async fn spawn_exit(count: u64) -> Measured {
    let since = Instant::now();
    for _ in 0..count {
        mayfly::spawn_monitor();
        recv::<Down>().await;
    }
    measured(count, since)
}

/// Starts `count` processes, `batch` of them at a time.
async fn spawn_exit_batch(count: u64, batch: u32) -> Measured {
    let since = Instant::now();
    let mut done = 0;
    while done < count {
        for _ in 0..batch {
            mayfly::spawn_monitor();
        }
        for _ in 0..batch {
            recv::<Down>().await;
        }
        done += u64::from(batch);
    }
    measured(done, since)
}

/// Starts `count` processes that wait, and says how long that took; they stay.
async fn idlers(count: u64) -> Measured {
    let since = Instant::now();
    for n in 1..=count {
        idle::spawn();
        if n % 1000 == 0 {
            flush().await;
        }
    }
    measured(count, since)
}

// ---- computation ----

/// [`kernels::fib`] of `n`: the time, and the result.
fn compute_fib(n: u64) -> (u64, u64) {
    let since = Instant::now();
    let result = kernels::fib(std::hint::black_box(n));
    (since.elapsed().as_nanos() as u64, result)
}

/// [`kernels::nbody`] for `steps`: the time, and the result.
fn compute_nbody(steps: u64) -> (u64, f64) {
    let since = Instant::now();
    let result = kernels::nbody(std::hint::black_box(steps));
    (since.elapsed().as_nanos() as u64, result)
}

/// [`kernels::sha256`] of `len` times the letter a: the time, and the first word of the result.
fn compute_sha256(len: u32) -> (u64, u32) {
    let data = vec![b'a'; len as usize];
    let since = Instant::now();
    let result = kernels::sha256(std::hint::black_box(&data));
    (since.elapsed().as_nanos() as u64, result[0])
}
