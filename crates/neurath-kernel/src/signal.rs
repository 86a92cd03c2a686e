//! What kernels tell each other: between two shards of a node and, later, between nodes.
//!
//! Invariant: signals between the same two places are handled in the order in which they were sent, so an
//! exit never overtakes a message.

use alloc::string::String;

use neurath_proto::envelope::Envelope;
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Pid, Ref};

/// One signal. `to` is the process that it concerns; its shard handles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A message.
    Message(Envelope),
    /// A message whose delay is over.
    TimerFired {
        /// The timer of the envelope's sender.
        timer: Ref,
        /// The message.
        envelope: Envelope,
    },
    /// A call can never be answered.
    CallFailed {
        /// The caller.
        to: Pid,
        /// Its call.
        reference: Ref,
        /// Why.
        error: CallError,
    },
    /// A caller waits no more.
    CloseCall {
        /// The callee.
        to: Pid,
        /// The caller.
        from: Pid,
        /// Its call.
        reference: Ref,
    },
    /// Link two processes.
    Link {
        /// Who is asked.
        to: Pid,
        /// Who asks.
        from: Pid,
    },
    /// Undo it.
    Unlink {
        /// Who is told.
        to: Pid,
        /// Who tells.
        from: Pid,
    },
    /// A linked process ended, or someone asks for an exit.
    Exit {
        /// Who is to know.
        to: Pid,
        /// Who ended or asked.
        from: Pid,
        /// Why.
        reason: ExitReason,
        /// Whether it comes along a link.
        linked: bool,
    },
    /// End without mercy.
    Kill {
        /// Whom.
        to: Pid,
        /// Who asked; `None` is an operator.
        by: Option<Pid>,
    },
    /// Watch a process.
    Monitor {
        /// Whom.
        to: Pid,
        /// Who watches.
        from: Pid,
        /// Under which ref.
        reference: Ref,
    },
    /// Watch no more.
    Demonitor {
        /// Whom.
        to: Pid,
        /// Who watched.
        from: Pid,
        /// Under which ref.
        reference: Ref,
    },
    /// A watched process ended.
    Down {
        /// The watcher.
        to: Pid,
        /// Who ended.
        from: Pid,
        /// The monitor.
        reference: Ref,
        /// Why it ended.
        reason: ExitReason,
    },
    /// The sender is held until its messages so far have arrived and there is room: answered by [`Signal::Drained`].
    Settle {
        /// Whose mailbox.
        to: Pid,
        /// The sender.
        from: Pid,
    },
    /// A mailbox is full: hold the sender back.
    Full {
        /// The sender.
        to: Pid,
        /// Whose mailbox.
        target: Pid,
    },
    /// It has drained.
    Drained {
        /// The sender.
        to: Pid,
        /// Whose mailbox.
        target: Pid,
    },
    /// Follows the chain of who waits for whom, to find a cycle
    /// (edge chasing, after Chandy, Misra and Haas 1983).
    Probe {
        /// Who is asked whether it waits in turn.
        to: Pid,
        /// Who wants to know.
        origin: Pid,
        /// For whom the origin waits.
        target: Pid,
        /// Links of the chain that are left to follow.
        hops: u32,
    },
    /// Take back what was sent beyond the limit: the sender is in a cycle.
    Withdraw {
        /// Whose mailbox.
        to: Pid,
        /// Who sent it.
        from: Pid,
    },
    /// A message was refused: its sender is told, if it asked to be.
    NotDelivered {
        /// The sender.
        to: Pid,
        /// Who should have had it.
        target: Pid,
        /// The type of the message.
        type_name: String,
        /// Why not.
        reason: String,
    },
    /// A name is wanted; handled by the registrar.
    Name {
        /// What is wanted.
        request: NameRequest,
        /// The name.
        name: String,
        /// Who wants it.
        from: Pid,
        /// The answer goes under this ref.
        reference: Ref,
    },
    /// The registrar has given a process a name.
    Named {
        /// The process.
        to: Pid,
        /// The name.
        name: String,
        /// Who wanted it.
        from: Pid,
        /// The answer goes under this ref.
        reference: Ref,
    },
    /// The registrar has taken a name away.
    Unnamed {
        /// The process.
        to: Pid,
        /// The name.
        name: String,
    },
    /// A process has ended, or never was: its name is free.
    NameGone {
        /// The name.
        name: String,
        /// Whose it was.
        pid: Pid,
    },
}

/// What is wanted of the registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRequest {
    /// Give this process the name.
    Register(Pid),
    /// Free the name.
    Unregister,
    /// Whose is it?
    Whereis,
}
