//! The load on servers while their code changes: processes of version 1, which stay so.
//!
//! Invariant: nobody else asks those servers, so their counts say what was lost and what came twice.

use std::time::Instant;

use neurath::prelude::*;

use crate::{BenchAnswer, Count, Histogram, Latency};

/// What is said to a load.
#[derive(Message)]
pub enum Load {
    /// Forget how long it took until now.
    Forget(ReplyTo<()>),
    /// Say what you saw, and end.
    Stop(ReplyTo<Seen>),
}

/// What a load saw.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Calls or casts made.
    pub sent: u64,
    /// Those of them that no server counted, and calls that failed.
    pub lost: u64,
    /// Those that a server counted twice.
    pub duplicated: u64,
    /// Answers by the second version or a later one.
    pub by_new: u64,
    /// From one answer to the next, since it was last told to forget.
    pub gaps: Latency,
}

/// Calls one server, again as soon as it has answered.
#[neurath::process(accepts(Load))]
pub async fn caller(server: Pid) {
    let mut seen = Seen::nothing();
    let mut gaps = Histogram::new();
    let mut calls = 0;
    let mut last = Instant::now();
    loop {
        seen.sent += 1;
        match call::<BenchAnswer>(server, seen.sent).within(30.secs()).await {
            Ok(answer) => {
                calls += 1;
                seen.count(calls, answer.calls);
                calls = answer.calls;
                seen.by_new += u64::from(answer.version > 1);
            }
            Err(error) => {
                error!("{server}: {error}");
                seen.lost += 1;
            }
        }
        let now = Instant::now();
        gaps.count((now - last).as_nanos() as u64);
        last = now;
        receive! {
            Load::Forget(reply) => {
                reply.send(());
                gaps = Histogram::new();
                last = Instant::now();
            },
            Load::Stop(reply) => {
                seen.gaps = gaps.latency();
                return reply.send(seen);
            },
            after 0.secs() => {},
        }
    }
}

/// Casts to servers in turn, 64 in a millisecond.
#[neurath::process(accepts(Load))]
pub async fn caster(servers: Vec<Pid>) {
    let mut seen = Seen::nothing();
    for server in servers.iter().cycle() {
        cast(*server, Count);
        seen.sent += 1;
        if !seen.sent.is_multiple_of(64) {
            continue;
        }
        receive! {
            Load::Forget(reply) => reply.send(()),
            Load::Stop(reply) => {
                seen.check(&servers).await;
                return reply.send(seen);
            },
            after 1.millis() => {},
        }
    }
}

impl Seen {
    fn nothing() -> Self {
        let gaps = Latency { count: 0, p50_ns: 0, p99_ns: 0, max_ns: 0 };
        Self { sent: 0, lost: 0, duplicated: 0, by_new: 0, gaps }
    }

    fn count(&mut self, expected: u64, found: u64) {
        self.lost += expected.saturating_sub(found);
        self.duplicated += found.saturating_sub(expected);
    }

    /// Compares what was cast to each server in turn with what it counted.
    async fn check(&mut self, servers: &[Pid]) {
        let count = servers.len() as u64;
        for (at, server) in servers.iter().enumerate() {
            let expected = self.sent / count + u64::from((at as u64) < self.sent % count);
            match call::<BenchAnswer>(*server, 0u64).within(30.secs()).await {
                Ok(answer) => {
                    self.count(expected, answer.casts);
                    self.by_new += u64::from(answer.version > 1);
                }
                Err(error) => {
                    error!("{server}: {error}");
                    self.lost += expected;
                }
            }
        }
    }
}
