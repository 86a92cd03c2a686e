//! A server to be upgraded by the thousand. What asks it is in `load.rs`.

use neurath::prelude::*;

/// Counts what it is asked.
#[derive(State)]
pub struct BenchServer {
    /// How many calls there were.
    pub calls: u64,
    /// How many casts.
    pub casts: u64,
    /// Something to carry over.
    pub ballast: Vec<u8>,
}

/// What it is told.
#[derive(Message)]
pub struct Count;

/// What it answers.
#[derive(Message)]
pub struct BenchAnswer {
    /// How many calls there were, this one included.
    pub calls: u64,
    /// How many casts.
    pub casts: u64,
    /// Which version counted.
    pub version: u32,
}

#[neurath::server]
impl Server for BenchServer {
    type Call = u64;
    type Reply = BenchAnswer;
    type Cast = Count;

    fn init(ballast: u32) -> Self {
        BenchServer { calls: 0, casts: 0, ballast: vec![1; ballast as usize] }
    }

    async fn call(&mut self, _: u64) -> BenchAnswer {
        self.calls += 1;
        BenchAnswer { calls: self.calls, casts: self.casts, version: 1 }
    }

    async fn cast(&mut self, _: Count) {
        self.casts += 1;
    }
}

/// What a keeper is told.
#[derive(Message)]
pub enum Order {
    /// Start servers.
    Start {
        /// How many.
        count: u32,
        /// Bytes that each carries.
        ballast: u32,
        /// Where their pids go.
        reply: ReplyTo<Vec<Pid>>,
    },
    /// End these, and then yourself.
    End {
        /// Which.
        servers: Vec<Pid>,
        /// Told when it is done.
        reply: ReplyTo<()>,
    },
}

/// Starts and ends servers. They are on its shard.
#[neurath::process(accepts(Order))]
pub async fn keeper() {
    loop {
        match recv().await {
            Order::Start { count, ballast, reply } => {
                let mut servers = Vec::with_capacity(count as usize);
                for n in 1..=count {
                    servers.push(BenchServer::spawn(ballast));
                    if n % 1000 == 0 {
                        flush().await;
                    }
                }
                reply.send(servers);
            }
            Order::End { servers, reply } => {
                for some in servers.chunks(1000) {
                    some.iter().for_each(|server| kill(*server));
                    flush().await;
                }
                return reply.send(());
            }
        }
    }
}
