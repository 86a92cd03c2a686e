//! What programs for Neurath link.
//!
//! A program is a crate whose processes send each other messages. It is compiled to WebAssembly once;
//! while it runs, its code can be replaced.
//!
//! ```
//! use neurath::prelude::*;
//!
//! #[derive(Message)]
//! enum Tally {
//!     Increment(i64),
//!     Get(ReplyTo<i64>),
//!     Upgrade,
//! }
//!
//! /// A plain process is a loop. It says itself where it may change its code.
//! #[neurath::process(accepts(Tally))]
//! async fn counter(mut sum: i64) {
//!     loop {
//!         match recv::<Tally>().await {
//!             Tally::Increment(n) => sum += n,
//!             Tally::Get(reply) => reply.send(sum),
//!             Tally::Upgrade => sum = become_latest!(counter, sum).await,
//!         }
//!     }
//! }
//!
//! #[neurath::process]
//! async fn main_process() {
//!     let pid = counter::spawn(0);
//!     send(pid, Tally::Increment(41));
//!     let sum = ask(pid, Tally::Get).await.expect("the counter lives");
//!     assert_eq!(sum, 41);
//! }
//! # fn main() {}
//! ```
//!
//! | to | see |
//! |---|---|
//! | write a process | [`macro@process`], [`macro@server`] ([`Server`]), [`macro@function`] |
//! | receive | [`recv`], [`receive!`], [`Down`], [`Exit`] |
//! | receive apart from the mailbox | [`mod@channel`] |
//! | send | [`send`], [`cast`], [`call`], [`ask`], [`ReplyTo`], [`send_after`] |
//! | start and end processes | `NAME::spawn`, [`exit`], [`exit_process`], [`kill`], [`link`], [`monitor`] |
//! | look after processes | [`mod@supervisor`], [`macro@supervisor`] |
//! | change code | [`become_latest!`], [`macro@converter`] |
//! | use other nodes | [`nodes`], `NAME::spawn_on`, [`whereis_on`], [`ping`], [`monitor_node`], [`group`] |
//!
//! It never knows how a node works: the functions of the guest ABI are behind one private module.

extern crate self as neurath;

pub mod channel;
mod entry;
mod executor;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod exports;
pub mod group;
mod inbox;
mod log;
mod message;
mod names;
mod node;
mod process;
mod receive;
mod request;
mod server;
pub mod supervisor;
mod sys;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;
mod timers;

pub use neurath_macros::{Message, State, converter, function, process, receive, server, supervisor};
pub use neurath_proto::cluster::{NodeDown, NodeInfo, NodeUp};
pub use neurath_proto::notice::{Down, Exit, NotDelivered};
pub use neurath_proto::reason::{CallError, ExitReason};
pub use neurath_proto::{Data, NodeId, Pid, Ref};

pub use crate::channel::{ReceivePort, SendPort, channel};
pub use crate::entry::Entry;
pub use crate::log::{Level, log};
pub use crate::message::{ReplyTo, Sent, Timer, cancel_timer, cast, send, send_after};
pub use crate::names::{RegisterError, register, register_on, unregister, unregister_on, whereis, whereis_on};
pub use crate::node::{
    SpawnError, SpawnOn, demonitor_node, monitor_node, node, nodes, ping, spawn_on, this_node, watch_nodes,
};
pub use crate::process::{demonitor, exit, exit_process, kill, link, monitor, self_pid, trap_exit, unlink};
pub use crate::receive::{Recv, flush, hibernate, recv, sleep, yield_now};
pub use crate::request::{DEFAULT_DEADLINE, Request, ask, call};
pub use crate::server::{Never, Server, Unhandled};
pub use crate::time::DurationExt;
pub use crate::timers::{Fired, Timers};

/// All that programs use: `use neurath::prelude::*;`
pub mod prelude {
    pub use crate::{
        CallError, Data, Down, DurationExt, Exit, ExitReason, Fired, Message, Never, NodeDown, NodeId, NodeInfo,
        NodeUp, NotDelivered, Pid, ReceivePort, Ref, RegisterError, ReplyTo, Request, SendPort, Sent, Server,
        SpawnError, State, Timer, Timers, Unhandled, ask, become_latest, call, cancel_timer, cast, channel, debug,
        demonitor, demonitor_node, error, exit, exit_process, flush, hibernate, info, kill, link, log, monitor,
        monitor_node, node, nodes, ping, receive, recv, register, register_on, self_pid, send, send_after, sleep,
        spawn_on, this_node, trace, trap_exit, unlink, unregister, unregister_on, warn, watch_nodes, whereis,
        whereis_on, yield_now,
    };
}

/// Offers the process's state to the newest code of its entry: Erlang's `?MODULE:codeswitch(Sum)`.
///
/// `become_latest!(entry, arguments…).await` does not return if the newest version takes the state over. It
/// returns the arguments (one value, or a tuple of several) if there is no newer version, or if the change was
/// refused or rolled back; then this code goes on.
///
/// The state must be all that the process has: it waits for nothing else at that moment.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Order { Next, Upgrade }
///
/// #[neurath::process(accepts(Order))]
/// async fn fibonacci(mut a: u64, mut b: u64) {
///     loop {
///         match recv::<Order>().await {
///             Order::Next => (a, b) = (b, a + b),
///             Order::Upgrade => (a, b) = become_latest!(fibonacci, a, b).await,
///         }
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! become_latest {
    ($entry:ty $(, $argument:expr)* $(,)?) => {
        <$entry>::become_latest($($argument),*)
    };
}

/// What the macros of this crate expand to. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use neurath_proto as proto;
    pub use neurath_proto::abi::StartMode;
    pub use neurath_proto::manifest::{self, EntryKind};
    pub use neurath_proto::schema::Schema;
    pub use neurath_proto::{Data, DecodeError};
    pub use std::boxed::Box;
    pub use std::string::{String, ToString};
    pub use std::vec::Vec;

    pub use crate::entry::{
        About, Conversion, LINK, MONITOR, NewState, OldState, PLAIN, ProcessShape, Run, ServerShape, SupervisorShape,
        become_latest, decode_all, decode_start, describe, finish, run, set_starter, spawn,
    };
    pub use crate::executor::Root;
    #[cfg(target_family = "wasm")]
    pub use crate::exports;
    pub use crate::log::{Level, write_log};
    pub use crate::receive::{Arrived, Receive, Taken, decode};
    pub use crate::server::{Dispatch, InitOutcome, log_unhandled, reply_to, serve, unhandled};
    pub use crate::supervisor::supervise;
    pub use crate::sys::TypeTag;
}
