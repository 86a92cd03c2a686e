//! Jobs between two nodes: what one process does with others that it has started on another node.
//!
//! Invariant: whatever must be fetched, compiled or connected is so before the clock starts.

use std::time::Instant;

use neurath::group;
use neurath::prelude::*;

use crate::{Drained, Flow, Latency, Measured, Return, Serve, echo, mayfly, measured, sink, source_to};

/// The node that people call so, which may still be on its way.
async fn node_named(name: &str) -> NodeId {
    loop {
        if let Some(node) = node(name).await {
            return node;
        }
        sleep(1.millis()).await;
    }
}

async fn started(starting: neurath::SpawnOn<impl neurath::Entry>) -> Pid {
    starting.await.unwrap_or_else(|error| panic!("{error}"))
}

/// `count` round trips, one after the other, each timed by itself.
pub(crate) async fn round_trips(name: &str, count: u64) -> Latency {
    let echo = started(echo::spawn_on(node_named(name).await)).await;
    let from = self_pid();
    let mut nanos = Vec::with_capacity(count as usize);
    // The first ones declare types and wake what sleeps.
    for n in 0..count + 100 {
        let since = Instant::now();
        send(echo, Serve::Number { from, n });
        recv::<Return>().await;
        nanos.push(since.elapsed().as_nanos() as u64);
    }
    kill(echo);
    nanos.drain(..100);
    exact(nanos)
}

fn exact(mut nanos: Vec<u64>) -> Latency {
    nanos.sort_unstable();
    let at = |percent: usize| nanos[(nanos.len() * percent).div_ceil(100).max(1) - 1];
    Latency { count: nanos.len() as u64, p50_ns: at(50), p99_ns: at(99), max_ns: at(100) }
}

/// `count` messages of `payload` bytes to a process over there, as fast as it takes them.
pub(crate) async fn one_way(name: &str, count: u64, payload: u32) -> Measured {
    let sink = started(sink::spawn_on(node_named(name).await, count, self_pid())).await;
    let since = Instant::now();
    source_to(sink, count, 0, payload).await;
    recv::<Drained>().await;
    measured(count, since)
}

/// Makes `count` round trips to an echo.
#[neurath::process(accepts(Return))]
pub async fn pinger(echo: Pid, count: u64, parent: Pid) {
    let from = self_pid();
    for n in 0..count {
        send(echo, Serve::Number { from, n });
        recv::<Return>().await;
    }
    kill(echo);
    send(parent, Drained);
}

/// `count` round trips by `pairs` pairs at once.
pub(crate) async fn pairs(name: &str, pairs: u32, count: u64) -> Measured {
    let node = node_named(name).await;
    let mut echoes = Vec::new();
    for _ in 0..pairs {
        echoes.push(started(echo::spawn_on(node)).await);
    }
    let each = count / u64::from(pairs);
    let since = Instant::now();
    for echo in echoes {
        pinger::spawn(echo, each, self_pid());
    }
    for _ in 0..pairs {
        recv::<Drained>().await;
    }
    measured(each * u64::from(pairs), since)
}

/// Starts `count` processes over there, each when the one before has ended.
pub(crate) async fn spawn_exit(name: &str, count: u64) -> Measured {
    let node = node_named(name).await;
    started(mayfly::spawn_on(node)).await;
    let since = Instant::now();
    for _ in 0..count {
        mayfly::spawn_on(node).monitor().await.unwrap_or_else(|error| panic!("{error}"));
        recv::<Down>().await;
    }
    measured(count, since)
}

/// A member of a group: says when it is one, and when it has heard `count` messages.
#[neurath::process(accepts(Flow))]
pub async fn member(group: String, count: u64, parent: Pid) {
    group::join(&group).await.unwrap_or_else(|error| panic!("{error}"));
    send(parent, Drained);
    for _ in 0..count {
        recv::<Flow>().await;
    }
    send(parent, Drained);
}

/// Sends a group of `members` over there so many messages that `count` are delivered.
pub(crate) async fn broadcast(name: &str, members: u32, count: u64) -> Measured {
    let node = node_named(name).await;
    let group = format!("bench-{}", self_pid());
    let each = count / u64::from(members);
    for _ in 0..members {
        started(member::spawn_on(node, group.clone(), each, self_pid())).await;
    }
    for _ in 0..members {
        recv::<Drained>().await;
    }
    while group::members(&group).await.len() < members as usize {
        sleep(1.millis()).await;
    }
    let since = Instant::now();
    for n in 0..each {
        group::send_all(&group, || Flow::Item(n)).await;
        flush().await;
    }
    for _ in 0..members {
        recv::<Drained>().await;
    }
    measured(each * u64::from(members), since)
}

/// What is said to a sentinel.
#[derive(Message)]
pub enum Watch {
    /// Start processes over there and have them watched.
    Begin {
        /// On which node.
        node: String,
        /// How many processes.
        processes: u32,
        /// Who watch each of them.
        watchers: u32,
        /// Monitors that each watcher has of each.
        monitors: u32,
        /// Told when all is set up.
        reply: ReplyTo<()>,
    },
    /// Answer when every monitor has fired.
    End {
        /// How many.
        reply: ReplyTo<u32>,
    },
}

/// Has processes watched of a node that is going to be gone.
#[neurath::process(accepts(Watch, Drained))]
pub async fn sentinel() {
    let Watch::Begin { node, processes, watchers, monitors, reply } = recv().await else { return };
    let node = node_named(&node).await;
    let mut pids = Vec::new();
    for _ in 0..processes {
        pids.push(started(echo::spawn_on(node)).await);
    }
    for _ in 0..watchers {
        watcher::spawn(pids.clone(), monitors, self_pid());
        recv::<Drained>().await;
    }
    reply.send(());
    for _ in 0..watchers {
        recv::<Drained>().await;
    }
    if let Watch::End { reply } = recv().await {
        reply.send(processes * watchers * monitors);
    }
}

/// Says when it watches these, and when all its monitors have fired.
#[neurath::process]
pub async fn watcher(pids: Vec<Pid>, monitors: u32, parent: Pid) {
    for pid in &pids {
        for _ in 0..monitors {
            monitor(*pid);
        }
        flush().await;
    }
    // Its answer says that the monitors, which went before, have arrived.
    for pid in &pids {
        ping(pid.node).await.unwrap_or_else(|error| panic!("{error}"));
    }
    send(parent, Drained);
    for _ in 0..pids.len() * monitors as usize {
        recv::<Down>().await;
    }
    send(parent, Drained);
}

/// Sends to a node that may have stopped, a message each millisecond.
#[neurath::process(accepts(Return))]
pub async fn nuisance(node: String) {
    let echo = started(echo::spawn_on(node_named(&node).await)).await;
    let from = self_pid();
    for n in 0.. {
        send(echo, Serve::Bytes { from, bytes: vec![7; 1024] });
        receive! {
            _back: Return => {},
            after 1.millis() => {},
        }
        if n % 64 == 0 {
            flush().await;
        }
    }
}
