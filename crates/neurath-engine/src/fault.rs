//! [`Fault`]: how a call into a guest can end other than by returning.

use thiserror::Error;

/// Why a guest did not come to a safe point. Nothing of what it did in that call may be committed.
///
/// Its instance is of no use until it is restored or recycled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The guest called `exit`; [`Host::exit`](crate::Host::exit) knows the reason.
    #[error("the process exited")]
    Exited,
    /// The host stopped it, for example because it was killed or asked for something that is refused.
    #[error("stopped: {0}")]
    Stopped(String),
    /// The guest did what WebAssembly or the guest ABI forbids.
    #[error("trapped: {message}")]
    Trap {
        /// What it did, and where.
        message: String,
    },
    /// The guest panicked; [`Host::panicked`](crate::Host::panicked) knows message and place.
    #[error("the guest panicked")]
    Panic,
    /// The converter refused the value; [`Host::failed`](crate::Host::failed) knows why.
    #[error("the converter refused the value")]
    Failed,
    /// A state or value is longer than the engine's limit.
    #[error("{what} has {bytes} bytes and the limit is {limit}; raise `state_bytes_max` or make it smaller")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The module has no such entry or converter, or no state to ask for.
    #[error("the module has no {what}; `neurath modules` lists what it offers")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// The instance has not been restored since its last fault.
    #[error("the instance has had a fault and has not been restored since")]
    Unusable,
}

impl Fault {
    #[cold]
    pub(crate) fn trap(message: impl Into<String>) -> Self {
        Self::Trap { message: message.into() }
    }
}
