//! What tests and the demo run on several nodes.

use neurath::group;
use neurath::prelude::*;

/// What an agent is told.
#[derive(Message)]
#[expect(missing_docs, reason = "the functions that do them say it")]
pub enum Task {
    Nodes {
        reply: ReplyTo<Vec<String>>,
    },
    Ping {
        node: String,
        reply: ReplyTo<String>,
    },
    /// Starts an echo there, linked and watched.
    Spawn {
        node: String,
        reply: ReplyTo<Result<Pid, String>>,
    },
    /// Asks an echo.
    Ask {
        echo: Pid,
        n: u64,
        reply: ReplyTo<Result<u64, String>>,
    },
    Monitor {
        pid: Pid,
    },
    MonitorNode {
        node: String,
    },
    WatchNodes {
        on: bool,
    },
    Register {
        node: String,
        name: String,
        pid: Pid,
        reply: ReplyTo<String>,
    },
    Whereis {
        node: String,
        name: String,
        reply: ReplyTo<Option<Pid>>,
    },
    Join {
        group: String,
        reply: ReplyTo<String>,
    },
    Members {
        group: String,
        reply: ReplyTo<Vec<Pid>>,
    },
    Kill {
        pid: Pid,
    },
    /// What it was told by the runtime, in order.
    Events {
        reply: ReplyTo<Vec<String>>,
    },
    /// Sends something that no echo takes.
    Alien {
        pid: Pid,
    },
}

/// Does as it is told, and notes what the runtime tells it.
#[neurath::process(accepts(Task, Down, Exit, NodeDown, NodeUp, NotDelivered))]
pub async fn agent() {
    trap_exit(true);
    let mut events = Vec::new();
    loop {
        receive! {
            task: Task => perform(task, &events).await,
            down: Down => events.push(format!("down {}", down.reason)),
            exit: Exit => events.push(format!("exit {}", exit.reason)),
            down: NodeDown => events.push(format!("node down {}", down.reason)),
            up: NodeUp => events.push(format!("node up {}", up.name)),
            lost: NotDelivered => events.push(format!("not delivered {}: {}", lost.type_name, lost.reason)),
        }
    }
}

async fn perform(task: Task, events: &[String]) {
    match task {
        Task::Nodes { reply } => reply.send(nodes().await.into_iter().map(|info| info.name).collect()),
        Task::Ping { node, reply } => reply.send(in_words(ping(find(&node).await).await)),
        Task::Spawn { node, reply } => {
            let started = echo::spawn_on(find(&node).await).link().monitor().await;
            reply.send(started.map(|(pid, _)| pid).map_err(|error| error.to_string()));
        }
        Task::Ask { echo, n, reply } => {
            let answer = ask(echo, |reply| Question::Echo { n, reply }).await;
            reply.send(answer.map_err(|error| error.to_string()));
        }
        Task::Monitor { pid } => drop(monitor(pid)),
        Task::MonitorNode { node } => drop(monitor_node(find(&node).await)),
        Task::WatchNodes { on } => watch_nodes(on),
        Task::Register { node, name, pid, reply } => {
            reply.send(in_words(register_on(find(&node).await, &name, pid).await));
        }
        Task::Whereis { node, name, reply } => {
            reply.send(whereis_on(find(&node).await, &name).await.ok().flatten());
        }
        Task::Join { group, reply } => reply.send(in_words(group::join(&group).await)),
        Task::Members { group, reply } => reply.send(group::members(&group).await),
        Task::Kill { pid } => kill(pid),
        Task::Events { reply } => reply.send(events.to_vec()),
        Task::Alien { pid } => drop(send(pid, Alien { n: 1 })),
    }
}

/// The node that people call so; without one, a node that is none.
async fn find(name: &str) -> NodeId {
    node(name).await.unwrap_or(NodeId(1))
}

fn in_words<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "ok".into())
}

/// What nobody takes.
#[derive(Message)]
pub struct Alien {
    n: u64,
}

/// What an echo takes.
#[derive(Message)]
pub enum Question {
    /// Comes back.
    Echo {
        /// What.
        n: u64,
        /// To whom.
        reply: ReplyTo<u64>,
    },
    /// Ends it with a panic.
    Fail,
}

/// Says what it hears.
#[neurath::process(accepts(Question))]
pub async fn echo() {
    loop {
        match recv().await {
            Question::Echo { n, reply } => reply.send(n),
            Question::Fail => panic!("told to"),
        }
    }
}

/// One of many.
#[derive(Message)]
pub struct Numbered {
    /// From 0.
    pub n: u64,
    /// As long as that.
    pub padding: Vec<u8>,
}

/// What a source and a sink are asked.
#[derive(Message)]
pub enum Stream {
    /// A source: send so many, each with so many bytes.
    Go {
        /// How many.
        count: u64,
        /// Bytes of each.
        padding: u32,
    },
    /// How many were sent.
    Sent {
        /// To whom.
        reply: ReplyTo<u64>,
    },
    /// What has come so far.
    Seen {
        /// To whom.
        reply: ReplyTo<Seen>,
    },
}

/// What a sink has seen.
#[derive(Message, Clone, Default)]
pub struct Seen {
    /// Messages.
    pub count: u64,
    /// Those that came in another order than they were sent.
    pub misplaced: u64,
    /// Those that came twice.
    pub again: u64,
    /// The one that is awaited.
    pub next: u64,
}

/// Sends numbered messages to a sink.
#[neurath::process(accepts(Stream, Down))]
pub async fn source(sink: Pid) {
    let mut sent = 0;
    monitor(sink);
    loop {
        receive! {
            order: Stream => match order {
                Stream::Go { count, padding } => {
                    for _ in 0..count {
                        // What one step may send is bounded: the rest goes in the next one.
                        while !send(sink, Numbered { n: sent, padding: vec![7; padding as usize] }).is_queued() {
                            flush().await;
                        }
                        sent += 1;
                    }
                }
                Stream::Sent { reply } => reply.send(sent),
                Stream::Seen { reply } => reply.send(Seen::default()),
            },
            down: Down => info!("{} is gone: {}", down.pid, down.reason),
        }
    }
}

/// Counts what comes from one source.
#[neurath::process(accepts(Numbered, Stream))]
pub async fn sink() {
    let mut seen = Seen::default();
    loop {
        receive! {
            message: Numbered => {
                seen.count += 1;
                if message.n < seen.next {
                    seen.again += 1;
                } else if message.n > seen.next {
                    seen.misplaced += 1;
                }
                seen.next = message.n + 1;
            },
            order: Stream => if let Stream::Seen { reply } = order {
                reply.send(seen.clone());
            },
        }
    }
}
