//! The control API: HTTP over a Unix socket in the node's data directory, and over the cluster's TLS.
//! `docs/control-api.md` describes it.
//!
//! It translates between HTTP and [`Node`](crate::Node) and decides nothing itself; it refuses to know terminals.
//! Invariants: only the owner of the data directory can reach the socket, and of two nodes one has it; over the network come
//! only those who have proved to be operators or nodes of the cluster.

mod channel;
mod client;
mod error;
mod examples;
mod forward;
mod metrics;
mod patience;
mod rest;
mod server;
mod socket;
mod stream;
mod trace;
pub mod view;
mod visitors;

pub use client::{Client, ClientError, UPGRADE_ENDED};
pub use error::{ErrorBody, ErrorView};
pub use patience::{Patience, Silence};
pub use server::ControlServer;
pub(crate) use server::check;
pub use socket::{SOCKET_NAME, SocketError};

/// A request without a module as its body may have this many bytes.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;

/// A call waits this long for its answer if the request does not say.
pub const CALL_WITHIN_MS: u64 = 5_000;

/// A call waits for its answer at most this long.
pub const CALL_WITHIN_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Processes in one answer if the request does not say.
pub const PROCESSES_DEFAULT: usize = 1_000;

/// Connections of operators and other nodes at a time, unless the configuration says otherwise.
pub const VISITORS_MAX: usize = 64;

/// Processes in one answer at most.
pub const PROCESSES_MAX: usize = 100_000;
