//! What is said to supervisors, and what they answer.

use std::fmt;

use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Pid, Ref};

use super::{ChildSpec, Restart};
use crate::Message;

/// The rows that one [`Answer::Children`] holds at most.
pub const CHILDREN_MAX: usize = 1_000;

/// What can be asked of a supervisor. The functions of this module ask it for you; operators write it as JSON.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Start another child.
    Start {
        /// Which, and how it is looked after.
        child: ChildSpec,
    },
    /// Start another child of the template of a simple supervisor.
    StartFromTemplate {
        /// The encoded schema of the argument.
        schema: Vec<u8>,
        /// The encoded argument of the template.
        argument: Vec<u8>,
    },
    /// Stop a child. Unless it is temporary or from a template it can be restarted afterwards.
    Terminate {
        /// Which.
        child: ChildName,
    },
    /// Start a child that is down.
    Restart {
        /// Which.
        child: ChildName,
    },
    /// Forget a child that is down.
    Delete {
        /// Which.
        child: ChildName,
    },
    /// List the children, at most [`CHILDREN_MAX`].
    Children {
        /// Only those whose number is at least this; 0 is all.
        from: u64,
    },
    /// Count them.
    Count,
}

/// Names a child.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub enum ChildName {
    /// By the id that it was given.
    Id(String),
    /// By its present pid: the only name of a child from a template.
    Pid(Pid),
}

impl From<&str> for ChildName {
    fn from(id: &str) -> Self {
        Self::Id(id.into())
    }
}

impl From<String> for ChildName {
    fn from(id: String) -> Self {
        Self::Id(id)
    }
}

impl From<Pid> for ChildName {
    fn from(pid: Pid) -> Self {
        Self::Pid(pid)
    }
}

impl fmt::Display for ChildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "`{id}`"),
            Self::Pid(pid) => write!(f, "{pid}"),
        }
    }
}

/// What a supervisor answers.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The child runs.
    Started(Pid),
    /// It is as was asked.
    Done,
    /// It is not, and nothing has changed.
    Refused(Refusal),
    /// The children, in the order in which they are started.
    Children {
        /// At most [`CHILDREN_MAX`] of them.
        children: Vec<ChildInfo>,
        /// Where to go on, if there are more.
        next: Option<u64>,
    },
    /// How many there are.
    Count(ChildCount),
}

/// Why a supervisor did not do what it was asked. Nothing has changed.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such child.
    NotFound(ChildName),
    /// A child of this id runs.
    AlreadyStarted(Pid),
    /// A child of this id is there, but down: restart it, or delete it first.
    AlreadyPresent,
    /// The child runs: terminate it first.
    Running(Pid),
    /// The child is restarted after its delay: terminate it first.
    Restarting,
    /// It did not start.
    NotStarted(ExitReason),
    /// The supervisor's code does not name this entry: list it with `starts::<…>()`.
    UnknownEntry(String),
    /// The arguments are not what the entry takes: why.
    BadArguments(String),
    /// A simple supervisor has children from its template only, and any other has none: what was wrong.
    WrongKind(String),
    /// There are as many children as a supervisor may have.
    TooMany,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(child) => write!(f, "there is no child {child}"),
            Self::AlreadyStarted(pid) => write!(f, "a child of this id runs as {pid}"),
            Self::AlreadyPresent => f.write_str("a child of this id is down: restart it, or delete it first"),
            Self::Running(pid) => write!(f, "the child runs as {pid}: terminate it first"),
            Self::Restarting => f.write_str("the child is about to be restarted: terminate it first"),
            Self::NotStarted(reason) => write!(f, "the child did not start: {reason}"),
            Self::UnknownEntry(entry) => {
                write!(f, "the supervisor does not know the entry `{entry}`: add `.starts::<{entry}>()` to it")
            }
            Self::BadArguments(why) => write!(f, "the arguments are not what the entry takes: {why}"),
            Self::WrongKind(why) => f.write_str(why),
            Self::TooMany => write!(f, "a supervisor has at most {} children", super::CHILD_COUNT_MAX),
        }
    }
}

/// Why a question to a supervisor had no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildError {
    /// It refused.
    Refused(Refusal),
    /// It did not answer.
    Call(CallError),
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChildError {}

/// One child, as a supervisor tells of it.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct ChildInfo {
    /// Its place in the order of starts; never given twice.
    pub number: u64,
    /// Its id; a child from a template has none.
    pub id: Option<String>,
    /// The entry that it runs.
    pub entry: String,
    /// Its present pid, if it runs.
    pub pid: Option<Pid>,
    /// When it is restarted.
    pub restart: Restart,
    /// Whether its restart is waiting for its delay.
    pub restarting: bool,
    /// Whether it is a supervisor itself.
    pub is_supervisor: bool,
    /// How often it was restarted.
    pub restarts: u64,
    /// Since when it runs: milliseconds since 1970.
    pub up_since_ms: Option<u64>,
    /// Why it ended last.
    pub last_reason: Option<ExitReason>,
}

/// How many children a supervisor has.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildCount {
    /// All that it knows, whether they run or not.
    pub specs: u64,
    /// Those that run.
    pub active: u64,
    /// Those that are supervisors themselves.
    pub supervisors: u64,
    /// Those that are not.
    pub workers: u64,
    /// Restarts in the life of the supervisor.
    pub restarts: u64,
}

/// The reason with which a supervisor asks its children to end, and with which it ends when it was asked itself.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown;

/// The reason of a supervisor that has given up: its children were restarted too often.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// The child that was one too many; its pid if it has no id.
    pub child: String,
    /// Why that one ended.
    pub last_reason: ExitReason,
    /// How many restarts are allowed …
    pub restarts: u32,
    /// … within so many milliseconds.
    pub period_ms: u64,
}

/// The reason of a supervisor that could not start its children. Those that had been started were stopped.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct StartFailed {
    /// The child that did not start.
    pub child: String,
    /// Why.
    pub reason: ExitReason,
}

/// The reason of a supervisor that ends because a process ended that it was linked to, its parent say.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct LinkEnded {
    /// Which.
    pub pid: Pid,
    /// Why.
    pub reason: ExitReason,
}

/// A child says that it has started.
#[doc(hidden)]
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub reference: Ref,
}

/// A supervisor says to itself that a delay is over.
#[doc(hidden)]
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub number: u64,
    /// Which of its delays: that of a child that was stopped meanwhile finds no such number.
    pub round: u64,
}
