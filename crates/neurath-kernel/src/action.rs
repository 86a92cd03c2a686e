//! What a process asks for during one poll. Actions wait in its outbox until the safe point.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use neurath_proto::cluster::Question;
use neurath_proto::envelope::{Envelope, SchemaId};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Pid, Ref};

use crate::mailbox::Message;

/// One thing that a process asked for.
#[derive(Clone, Debug)]
pub enum Action {
    /// Deliver a message.
    Send(Envelope),
    /// Deliver it later, unless the timer is cancelled.
    SendAfter {
        /// Nanoseconds from the safe point on.
        delay_ns: u64,
        /// The timer's name.
        timer: Ref,
        /// What to deliver.
        envelope: Envelope,
    },
    /// Stop a timer.
    CancelTimer(Ref),
    /// Start a process.
    Spawn {
        /// The pid that it is to have.
        pid: Pid,
        /// An entry of the same module version.
        entry: u32,
        /// Encoded arguments.
        arguments: Vec<u8>,
        /// Link it to its parent.
        link: bool,
        /// Let its parent watch it under this ref.
        monitor: Option<Ref>,
    },
    /// Link to a process.
    Link(Pid),
    /// Undo a link.
    Unlink(Pid),
    /// Watch a process.
    Monitor(Pid, Ref),
    /// Watch it no more.
    Demonitor(Ref),
    /// Ask a process to exit.
    Exit(Pid, ExitReason),
    /// End a process.
    Kill(Pid),
    /// Ask a node something; the answer goes under the ref.
    Ask(Question, Ref),
    /// A call that was given up: its callee need not remember it.
    CloseCall(Pid, Ref),
    /// Whether exits of linked processes come as messages.
    TrapExit(bool),
    /// A message was taken out of the mailbox whose value cannot be read after all.
    Refuse(Box<Message>, CallError),
    /// A channel was closed; this waited in it.
    Close(Vec<Message>),
    /// An answer that cannot be sent: whoever waits for it under the ref hears why.
    Fail(Pid, Ref, CallError),
    /// Offer the state to the newest code of an entry.
    Become {
        /// The answer comes under it, if one comes.
        reference: Ref,
        /// The entry's name.
        entry: String,
        /// The type of the state.
        schema: SchemaId,
        /// The encoded state.
        state: Vec<u8>,
    },
}
