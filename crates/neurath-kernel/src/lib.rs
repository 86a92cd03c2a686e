//! The pure heart of Neurath: what a node knows about its processes, as a state machine.
//!
//! Inputs and a time come in, effects go out. The node drives it with threads and clocks, the scenario
//! harness with a seed. It never knows wasm, sockets, disk or the real clock.
#![no_std]

extern crate alloc;

pub mod action;
mod channels;
mod hash;
pub mod kernel;
pub mod mailbox;
pub mod membership;
pub mod peer;
pub mod plan;
pub mod port;
pub mod process;
pub mod session;
pub mod signal;
mod timers;
pub mod trace;
pub mod types;

pub use hash::{IdHasher, IdMap, IdSet};
pub use kernel::{Effect, Kernel, KernelConfig, Outcome, Place, Slot, Turn, WellKnown, Work};
pub use mailbox::{Mailbox, Message};
pub use membership::{Membership, MembershipConfig, MembershipEffect};
pub use peer::{Peer, PeerEffect};
pub use port::{Found, Look, Port, PortLimits, Serials};
pub use process::{
    Body, CodeId, Counts, Hold, ProcessRecord, Program, ProgramEntry, Standing, UpgradeId, UpgradeOrder,
};
pub use session::message::Message as NodeMessage;
pub use session::{Session, SessionConfig, SessionEffect};
pub use signal::{NameRequest, Signal, SpawnRequest, node_itself};
pub use types::{Fit, Types};
