//! What the API shows of a running node: its shards, and what happens to processes.

use neurath_kernel::trace::{Happened, Post, TraceEvent};
use neurath_proto::envelope::{Class, SchemaId};
use serde::{Deserialize, Serialize};

use crate::ShardLoad;

/// The shards of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardsView {
    /// How long the node has run.
    pub uptime_ms: u64,
    /// By number.
    pub shards: Vec<ShardView>,
}

/// A shard. Counts are since the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardView {
    /// Its number.
    pub shard: u32,
    /// Time in which it did not sleep.
    pub busy_us: u64,
    /// Processes that live.
    pub processes: u64,
    /// Those that wait for their turn.
    pub runnable: u64,
    /// Those that are kept as images.
    pub hibernating: u64,
    /// Those that keep a thread because they compute on and on.
    pub threads_kept: u64,
    /// Messages that wait in mailboxes.
    pub mailbox_messages: u64,
    /// Their bytes.
    pub mailbox_bytes: u64,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
    /// Bytes of images.
    pub image_bytes: u64,
    /// Processes that were started.
    pub spawned: u64,
    /// Processes that have ended, normally and otherwise.
    pub ended: u64,
    /// Turns that processes had.
    pub turns: u64,
    /// Messages that processes sent.
    pub sent: u64,
    /// Messages that were put into mailboxes.
    pub received: u64,
    /// Messages that their readers did not take.
    pub refused: u64,
    /// Messages that found nobody in time.
    pub undeliverable: u64,
}

impl From<ShardLoad> for ShardView {
    fn from(load: ShardLoad) -> Self {
        let ShardLoad { shard, totals, held, bodies, threads_kept, busy_ns } = load;
        Self {
            shard,
            busy_us: busy_ns / 1_000,
            processes: held.processes,
            runnable: held.runnable,
            hibernating: bodies.hibernating,
            threads_kept,
            mailbox_messages: held.mailbox_messages,
            mailbox_bytes: held.mailbox_bytes,
            memory_bytes: bodies.memory_bytes,
            image_bytes: bodies.image_bytes,
            spawned: totals.spawned,
            ended: totals.ended_normally + totals.ended_abnormally,
            turns: totals.turns,
            sent: totals.sent,
            received: totals.received,
            refused: totals.refused,
            undeliverable: totals.undeliverable,
        }
    }
}

/// What to trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceRequest {
    /// Pids or names.
    pub targets: Vec<String>,
    /// Every process, in place of `targets`.
    pub all: bool,
    /// Kinds of events; none named is all.
    pub events: Vec<String>,
    /// Only what has to do with this process as well.
    pub peer: Option<String>,
    /// Events of one second; the rest is left out.
    pub rate_per_s: Option<u32>,
}

/// A line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all lines are events, and each is written at once")]
pub enum TraceLine {
    /// It has begun.
    Tracing(TracingView),
    /// Something happened.
    Event(EventView),
    /// So many events were left out here.
    LeftOut(u64),
}

/// The first line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracingView {
    /// The processes; `null` is all.
    pub pids: Option<Vec<String>>,
    /// Events of one second that are shown.
    pub rate_per_s: u32,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What: `sent`, `died`, …
    pub kind: String,
    /// The process; without one it is about a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// The other process of it: the receiver of what was sent, the parent of what was spawned, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Of a message: `message`, `cast`, `call`, `reply` or `notice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Of a message, its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Of a message, the bytes of its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The name that it got or lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The code that it runs from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The entry that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The node that came or went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl EventView {
    /// An event, with the names of types that the node has numbered.
    pub(crate) fn new(at_ms: u64, event: TraceEvent, type_name: impl Fn(SchemaId) -> String) -> Self {
        let TraceEvent { of, what } = event;
        let view = Self {
            at_ms,
            kind: what.kind().name().into(),
            pid: of.map(|pid| pid.to_string()),
            peer: what.peer().map(|pid| pid.to_string()),
            ..Self::default()
        };
        match what {
            Happened::Spawned { parent: _, program, entry } => {
                Self { module: Some(program), entry: Some(entry), ..view }
            }
            Happened::Registered { name } | Happened::Unregistered { name } => Self { name: Some(name), ..view },
            Happened::Sent(post) | Happened::Received(post) => {
                let Post { peer: _, class, schema, bytes } = post;
                let class = Some(self::class(class).into());
                Self { class, type_name: Some(type_name(schema)), bytes: Some(bytes), ..view }
            }
            Happened::Refused { from: _, schema, why } => {
                Self { type_name: Some(type_name(schema)), why: Some(why), ..view }
            }
            Happened::Died { reason } => Self { why: Some(super::why(&reason)), ..view },
            Happened::Upgraded { program } => Self { module: Some(program), ..view },
            Happened::RolledBack { why } => Self { why: Some(why), ..view },
            Happened::NodeUp { node, incarnation } => Self { node: Some(format!("{node}.{}", incarnation.0)), ..view },
            Happened::NodeDown { node, why } => Self { node: Some(node.to_string()), why: Some(why), ..view },
            Happened::Linked { .. }
            | Happened::Unlinked { .. }
            | Happened::Monitored { .. }
            | Happened::Demonitored { .. }
            | Happened::Full { .. }
            | Happened::Blocked { .. }
            | Happened::Unblocked { .. } => view,
        }
    }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Message => "message",
        Class::Cast => "cast",
        Class::Call => "call",
        Class::Reply => "reply",
        Class::Notice => "notice",
        Class::Port => "channel",
    }
}
