//! What kernels tell each other: between two shards of a node, and between nodes.
//!
//! Invariant: signals between the same two places are handled in the order in which they were sent, so an
//! exit never overtakes a message.

use alloc::string::String;
use alloc::vec::Vec;

use neurath_proto::envelope::{Class, Envelope};
use neurath_proto::id::{Incarnation, Serial};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{NodeId, Pid, Ref};

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
    /// Undo it. Until it is answered by [`Signal::Unlinked`], links that the other asks for are from before it has heard of
    /// this, and do not count: else one end of a link could stay.
    Unlink {
        /// Who is told.
        to: Pid,
        /// Who tells.
        from: Pid,
        /// Which of its unlinks this is.
        number: u64,
    },
    /// It is undone.
    Unlinked {
        /// Who undid it.
        to: Pid,
        /// Who was told.
        from: Pid,
        /// Which of its unlinks that was.
        number: u64,
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
        /// The node whose registrar it is.
        registrar: NodeId,
        /// Who wanted it.
        from: Pid,
        /// The answer goes under this ref; none if the registrar has answered.
        reference: Ref,
    },
    /// The registrar has taken a name away.
    Unnamed {
        /// The process.
        to: Pid,
        /// The name.
        name: String,
        /// The node whose registrar it is.
        registrar: NodeId,
    },
    /// A process has ended, or never was: its name is free.
    NameGone {
        /// The name.
        name: String,
        /// Whose it was.
        pid: Pid,
    },
    /// Start a process on another node; its driver finds the code.
    Spawn(SpawnRequest),
    /// What came of it.
    Spawned {
        /// Who asked.
        to: Pid,
        /// The new process; without one, serial 0 of the node that was asked.
        from: Pid,
        /// The question's ref.
        reference: Ref,
        /// Whether it was linked at birth.
        link: bool,
        /// The ref under which the asker watches it from birth, if it does.
        monitor: Ref,
        /// Why there is none.
        result: Result<(), String>,
    },
    /// Is the node there?
    Ping {
        /// The node, as its serial 0.
        to: Pid,
        /// Who asks; nobody if it has the serial 0.
        from: Pid,
        /// The answer goes under this ref.
        reference: Ref,
    },
    /// A process is a member of a group from now on; handled by the registrar, which tells those of other nodes.
    Join {
        /// The group.
        group: String,
        /// The member.
        pid: Pid,
        /// Its question's ref; none between nodes.
        reference: Ref,
    },
    /// It is none any more.
    Leave {
        /// The group.
        group: String,
        /// The member that was.
        pid: Pid,
        /// Its question's ref, if it asked.
        reference: Ref,
    },
    /// Who is a member? For the registrar.
    Members {
        /// The group.
        group: String,
        /// Who asks.
        from: Pid,
        /// The answer goes under this ref.
        reference: Ref,
    },
    /// The association with a node has ended: what ties the process to it is cut. Never leaves its shard.
    Disconnected {
        /// The process.
        to: Pid,
        /// The node.
        node: NodeId,
    },
}

/// A process wanted on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnRequest {
    /// The node, as its serial 0.
    pub to: Pid,
    /// Who asks: the parent.
    pub from: Pid,
    /// The answer goes under this ref.
    pub reference: Ref,
    /// BLAKE3 of the module.
    pub artifact: [u8; 32],
    /// `name@version` of it.
    pub program: String,
    /// The entry.
    pub entry: String,
    /// Encoded arguments.
    pub arguments: Vec<u8>,
    /// Link it to the asker at birth.
    pub link: bool,
    /// Let the asker watch it under this ref, from birth.
    pub monitor: Ref,
}

/// Everything of a node that is not one of its processes.
pub fn node_itself(node: NodeId) -> Pid {
    Pid::new(node, Incarnation(0), Serial(0))
}

impl Signal {
    /// The process that it concerns, or the node itself; what is for the registrar concerns none.
    pub fn receiver(&self) -> Option<Pid> {
        match self {
            Self::Message(envelope) | Self::TimerFired { envelope, .. } => Some(envelope.to),
            Self::CallFailed { to, .. }
            | Self::CloseCall { to, .. }
            | Self::Link { to, .. }
            | Self::Unlink { to, .. }
            | Self::Unlinked { to, .. }
            | Self::Exit { to, .. }
            | Self::Kill { to, .. }
            | Self::Monitor { to, .. }
            | Self::Demonitor { to, .. }
            | Self::Down { to, .. }
            | Self::Settle { to, .. }
            | Self::Full { to, .. }
            | Self::Drained { to, .. }
            | Self::Probe { to, .. }
            | Self::Withdraw { to, .. }
            | Self::NotDelivered { to, .. }
            | Self::Named { to, .. }
            | Self::Unnamed { to, .. }
            | Self::Spawned { to, .. }
            | Self::Ping { to, .. }
            | Self::Disconnected { to, .. } => Some(*to),
            Self::Spawn(request) => Some(request.to),
            Self::Name { .. }
            | Self::NameGone { .. }
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Members { .. } => None,
        }
    }

    /// Whether whoever says it is told if it cannot be sent, by [`Kernel::unsent`](crate::Kernel::unsent). Nothing else may
    /// be lost while an association is open: someone would wait for ever.
    pub fn may_fail(&self) -> bool {
        match self {
            Self::Message(envelope) => envelope.class != Class::Reply,
            Self::Link { .. }
            | Self::Unlink { .. }
            | Self::Monitor { .. }
            | Self::Settle { .. }
            | Self::Name { .. }
            | Self::Members { .. }
            | Self::Ping { .. }
            | Self::Spawn(_) => true,
            _ => false,
        }
    }

    /// Whether node `from` may say this to node `to`: it speaks for its own processes, and to the other's.
    pub fn is_between(&self, from: NodeId, to: NodeId) -> bool {
        let said = match self {
            Self::Kill { by, .. } => by.is_some_and(|by| by.node == from),
            Self::Named { registrar, .. } | Self::Unnamed { registrar, .. } => *registrar == from,
            Self::Disconnected { .. } => false,
            other => other.sender().is_none_or(|sender| sender.node == from),
        };
        said && self.receiver().is_none_or(|receiver| receiver.node == to)
    }

    /// The process in whose name it is said: signals of one sender to one node keep their order. `None`: the node
    /// itself.
    pub fn sender(&self) -> Option<Pid> {
        match self {
            Self::Message(envelope) | Self::TimerFired { envelope, .. } => Some(envelope.from),
            Self::CloseCall { from, .. }
            | Self::Link { from, .. }
            | Self::Unlink { from, .. }
            | Self::Unlinked { from, .. }
            | Self::Exit { from, .. }
            | Self::Monitor { from, .. }
            | Self::Demonitor { from, .. }
            | Self::Down { from, .. }
            | Self::Settle { from, .. }
            | Self::Withdraw { from, .. }
            | Self::Name { from, .. }
            | Self::Spawned { from, .. }
            | Self::Ping { from, .. }
            | Self::Members { from, .. } => Some(*from),
            Self::Kill { by, .. } => *by,
            Self::Spawn(request) => Some(request.from),
            Self::Full { target, .. } | Self::Drained { target, .. } | Self::NotDelivered { target, .. } => {
                Some(*target)
            }
            Self::NameGone { pid, .. } | Self::Join { pid, .. } | Self::Leave { pid, .. } => Some(*pid),
            Self::CallFailed { .. }
            | Self::Probe { .. }
            | Self::Named { .. }
            | Self::Unnamed { .. }
            | Self::Disconnected { .. } => None,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_speaks_for_its_own_processes_only_and_only_to_those_of_the_other() {
        let (a, b, c) = (NodeId(1), NodeId(2), NodeId(3));
        let of = |node| Pid::new(node, Incarnation(1), Serial(5));
        let said: [fn(Pid, Pid) -> Signal; 5] = [
            |from, to| Signal::Exit { to, from, reason: ExitReason::Normal, linked: true },
            |from, to| Signal::Kill { to, by: Some(from) },
            |from, to| Signal::Down { to, from, reference: Ref::NONE, reason: ExitReason::Normal },
            |from, to| Signal::Drained { to, target: from },
            |from, to| Signal::Unnamed { to, name: String::new(), registrar: from.node },
        ];
        for signal in said {
            let between = |from, to| signal(of(from), of(to)).is_between(a, b);
            assert!(between(a, b), "{:?}", signal(of(a), of(b)));
            for (from, to) in [(c, b), (b, b), (b, a), (a, c), (a, a)] {
                assert!(!between(from, to), "{:?}", signal(of(from), of(to)));
            }
        }
        assert!(!Signal::Kill { to: of(b), by: None }.is_between(a, b), "an operator speaks to its own node only");
        assert!(!Signal::Disconnected { to: of(b), node: a }.is_between(a, b));
    }
}
