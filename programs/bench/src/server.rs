//! A server to be upgraded by the thousand, and the load on it.

use std::time::Instant;

use neurath::prelude::*;

use crate::{Histogram, Latency};

/// Counts its calls.
#[derive(State)]
pub struct BenchServer {
    /// How many there were.
    pub count: u64,
    /// Something to carry over.
    pub ballast: Vec<u8>,
}

/// What it answers.
#[derive(Message)]
pub struct BenchAnswer {
    /// How many calls there were, this one included.
    pub count: u64,
    /// Which version counted.
    pub version: u32,
}

#[neurath::server]
impl Server for BenchServer {
    type Call = u64;
    type Reply = BenchAnswer;

    fn init(ballast: u32) -> Self {
        BenchServer { count: 0, ballast: vec![1; ballast as usize] }
    }

    async fn call(&mut self, _: u64) -> BenchAnswer {
        self.count += 1;
        BenchAnswer { count: self.count, version: 1 }
    }
}

/// Starts `count` servers.
#[neurath::function]
pub async fn bench_servers(count: u32, ballast: u32) -> Vec<Pid> {
    let mut servers = Vec::with_capacity(count as usize);
    for n in 1..=count {
        servers.push(BenchServer::spawn(ballast));
        if n % 1000 == 0 {
            flush().await;
        }
    }
    servers
}

/// What is said to a load.
#[derive(Message)]
pub enum Load {
    /// Say what you saw since you were last asked.
    Report(ReplyTo<Loaded>),
    /// Say it, and end.
    Stop(ReplyTo<Loaded>),
}

/// What a load saw.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Calls made.
    pub sent: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls that a server did not count, or failed.
    pub lost: u64,
    /// Calls that a server counted twice.
    pub duplicated: u64,
    /// Answers by the second version or a later one.
    pub by_new: u64,
    /// How long answers took.
    pub latency: Latency,
}

/// Calls servers in turn, as fast as they answer. It must be the only one that calls them, so that the
/// servers' counts say what was lost and what came twice.
#[neurath::process(accepts(Load))]
pub async fn bench_load(servers: Vec<Pid>) {
    let mut counts = vec![0u64; servers.len()];
    let mut loaded = Loaded::nothing();
    let mut histogram = Histogram::new();
    loop {
        for (server, count) in servers.iter().zip(&mut counts) {
            let since = Instant::now();
            loaded.sent += 1;
            match call::<BenchAnswer>(*server, *count).within(30.secs()).await {
                Ok(answer) => {
                    histogram.count(since.elapsed().as_nanos() as u64);
                    loaded.answered += 1;
                    loaded.by_new += u64::from(answer.version > 1);
                    *count += 1;
                    loaded.lost += count.saturating_sub(answer.count);
                    loaded.duplicated += answer.count.saturating_sub(*count);
                    *count = answer.count;
                }
                Err(error) => {
                    error!("{server}: {error}");
                    loaded.lost += 1;
                }
            }
            if !loaded.sent.is_multiple_of(64) && servers.len() > 1 {
                continue;
            }
            let (reply, goes_on) = receive! {
                Load::Report(reply) => (reply, true),
                Load::Stop(reply) => (reply, false),
                after 0.secs() => continue,
            };
            loaded.latency = histogram.latency();
            reply.send(std::mem::replace(&mut loaded, Loaded::nothing()));
            if !goes_on {
                return;
            }
            histogram = Histogram::new();
        }
    }
}

impl Loaded {
    fn nothing() -> Self {
        let latency = Latency { count: 0, p50_ns: 0, p99_ns: 0, max_ns: 0 };
        Self { sent: 0, answered: 0, lost: 0, duplicated: 0, by_new: 0, latency }
    }
}
