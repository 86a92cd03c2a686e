//! Names: processes that can be found without knowing their pid.

use std::fmt;

use neurath_proto::abi::TakeSpec;
use neurath_proto::name::check_process_name;
use neurath_proto::notice::NameAnswer;
use neurath_proto::{Pid, Ref};

use crate::receive::{Receive, poll_answer};
use crate::sys;

/// Why a name could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// This process has the name.
    Taken(Pid),
    /// The process to be named is dead.
    NoProcess,
    /// The node keeps as many names as it may.
    TooMany,
    /// A process cannot be called that: why not.
    BadName(&'static str),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(pid) => write!(f, "the name belongs to {pid}"),
            Self::NoProcess => f.write_str("the process to be named is dead"),
            Self::BadName(why) => f.write_str(why),
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
    check_process_name(name).map_err(RegisterError::BadName)?;
    match answer(sys::register(name, &pid)).await {
        NameAnswer::Owner(owner) => Err(RegisterError::Taken(owner)),
        NameAnswer::NoProcess => Err(RegisterError::NoProcess),
        NameAnswer::TooMany => Err(RegisterError::TooMany),
        NameAnswer::NoName => Err(RegisterError::BadName("the node takes no such name")),
        NameAnswer::Done | NameAnswer::Unknown => Ok(()),
    }
}

/// Takes a name away; whether anybody had it.
pub async fn unregister(name: &str) -> bool {
    check_process_name(name).is_ok() && answer(sys::unregister(name)).await == NameAnswer::Done
}

/// The process with this name, if there is one.
pub async fn whereis(name: &str) -> Option<Pid> {
    // What nobody can be called need not be looked up, and may be longer than what the host looks at.
    check_process_name(name).ok()?;
    match answer(sys::whereis(name)).await {
        NameAnswer::Owner(pid) => Some(pid),
        NameAnswer::Done | NameAnswer::Unknown | NameAnswer::NoProcess | NameAnswer::TooMany | NameAnswer::NoName => {
            None
        }
    }
}

async fn answer(reference: Ref) -> NameAnswer {
    let mut receive = Receive::answer(reference, TakeSpec::FOREVER);
    let answer = std::future::poll_fn(|context| poll_answer(&mut receive, context)).await;
    // Only a copy of a process that asked can be refused: for it nobody has the name.
    answer.unwrap_or(NameAnswer::Unknown)
}
