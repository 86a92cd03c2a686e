//! Names: processes that can be found without knowing their pid.

use std::fmt;

use neurath_proto::cluster::{Answer, Question};
use neurath_proto::name::check_process_name;
use neurath_proto::notice::NameAnswer;
use neurath_proto::reason::CallError;
use neurath_proto::{NodeId, Pid};

use crate::node::{question_of, this_node};

/// Why a name could not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// This process has the name.
    Taken(Pid),
    /// The process to be named is dead.
    NoProcess,
    /// The node keeps as many names as it may.
    TooMany,
    /// A process cannot be called that: why not.
    BadName(&'static str),
    /// The node of the name does not answer.
    Unreachable(CallError),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(pid) => write!(f, "the name belongs to {pid}"),
            Self::NoProcess => f.write_str("the process to be named is dead"),
            Self::BadName(why) => f.write_str(why),
            Self::Unreachable(error) => write!(f, "the node does not answer: {error}"),
            Self::TooMany => f.write_str("the node keeps as many names as it may; unregister some, or raise its limit"),
        }
    }
}

impl std::error::Error for RegisterError {}

/// Gives a process a name on this node. It loses it when it ends.
///
/// A name has 1 to 256 bytes, no control characters, and is neither a number nor a pid.
///
/// # Errors
/// Another process has the name, the process is dead, or it is no name. Nothing changed.
///
/// ```
/// use neurath::prelude::*;
///
/// #[neurath::process]
/// async fn service() {
///     if let Err(error) = register("service", self_pid()).await {
///         warn!("somebody else serves already: {error}");
///     }
/// }
/// # fn main() {}
/// ```
pub async fn register(name: &str, pid: Pid) -> Result<(), RegisterError> {
    register_on(this_node(), name, pid).await
}

/// Gives a process a name on another node, where others find it with [`whereis_on`]. It loses it when it ends, or when
/// that node cannot reach it any more.
///
/// # Errors
/// As those of [`register`]; and the node cannot be reached.
pub async fn register_on(node: NodeId, name: &str, pid: Pid) -> Result<(), RegisterError> {
    check_process_name(name).map_err(RegisterError::BadName)?;
    let answer = ask_name(node, Question::Register { node, name: name.into(), pid }).await;
    match answer.map_err(RegisterError::Unreachable)? {
        NameAnswer::Owner(owner) => Err(RegisterError::Taken(owner)),
        NameAnswer::NoProcess => Err(RegisterError::NoProcess),
        NameAnswer::TooMany => Err(RegisterError::TooMany),
        NameAnswer::NoName => Err(RegisterError::BadName("the node takes no such name")),
        NameAnswer::Done | NameAnswer::Unknown => Ok(()),
    }
}

/// Takes a name away; whether anybody had it.
pub async fn unregister(name: &str) -> bool {
    matches!(unregister_on(this_node(), name).await, Ok(true))
}

/// Takes a name on another node away; whether anybody had it.
///
/// # Errors
/// The node cannot be reached.
pub async fn unregister_on(node: NodeId, name: &str) -> Result<bool, CallError> {
    if check_process_name(name).is_err() {
        return Ok(false);
    }
    let answer = ask_name(node, Question::Unregister { node, name: name.into() }).await;
    answer.map(|answer| answer == NameAnswer::Done)
}

/// The process with this name, if there is one.
pub async fn whereis(name: &str) -> Option<Pid> {
    whereis_on(this_node(), name).await.ok().flatten()
}

/// The process with this name on another node, if there is one.
///
/// # Errors
/// The node cannot be reached.
///
/// ```
/// use neurath::prelude::*;
///
/// async fn clock(node: NodeId) -> Result<Option<Pid>, CallError> {
///     whereis_on(node, "clock").await
/// }
/// # fn main() {}
/// ```
pub async fn whereis_on(node: NodeId, name: &str) -> Result<Option<Pid>, CallError> {
    // What nobody can be called need not be looked up.
    if check_process_name(name).is_err() {
        return Ok(None);
    }
    Ok(match ask_name(node, Question::Whereis { node, name: name.into() }).await? {
        NameAnswer::Owner(pid) => Some(pid),
        NameAnswer::Done | NameAnswer::Unknown | NameAnswer::NoProcess | NameAnswer::TooMany | NameAnswer::NoName => {
            None
        }
    })
}

async fn ask_name(node: NodeId, question: Question) -> Result<NameAnswer, CallError> {
    match question_of(&question).within_reach_of(node).await {
        Ok(Answer::Name { answer }) => Ok(answer),
        // Only a copy of a process that asked can be refused on its own node: for it nobody has the name.
        Ok(_) => Ok(NameAnswer::Unknown),
        Err(_) if node == this_node() => Ok(NameAnswer::Unknown),
        Err(error) => Err(error),
    }
}
