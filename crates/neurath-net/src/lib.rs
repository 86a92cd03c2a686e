//! Carries bytes between nodes, and says who is at the other end.
//!
//! It refuses to know processes, and what the bytes mean. Invariant: whoever is handed out as a peer has proved to
//! hold the key that its [`NodeId`] names (or, with [`Security::PlainLoopback`], runs on this machine and says so).
//!
//! # Division of work
//!
//! The slow and hostile part is apart from the fast one. An [`Endpoint`] belongs to one thread: it accepts, dials,
//! shakes hands, lets new nodes join, and gives out [`Event`]s. What it gives out is an established [`Connection`],
//! which some other thread registers with its own `mio::Poll`, and reads and writes without any hop between threads.
//! A [`Handle`] asks an endpoint for something from any thread.
//!
//! Connections are edge-triggered, and bytes may already wait inside one when it is handed out: whoever registers one
//! reads it until `WouldBlock` at once, and after each event.
//!
//! | implementation | secured by | for |
//! |---|---|---|
//! | [`tcp::listen`] with [`Security::Tls`] | TLS 1.3, both sides with certificates of the cluster | clusters |
//! | [`tcp::listen`] with [`Security::PlainLoopback`] | nothing; it refuses other machines | benchmarks |
//! | [`memory::Hub::listen`] | the process | tests |
//!
//! Another transport makes its own [`Endpoint`]; a socket pair whose other end it serves is a [`Connection`] to it.
//!
//! # Limits
//!
//! [`Limits`] has them all. An accepted connection that is not established yet is *half open*: if there are more
//! than `half_open_max`, the oldest is closed, and each is closed after `handshake_ms`.

mod authority;
mod certificate;
mod control;
mod credentials;
mod endpoint;
mod files;
mod handshake;
mod invitation;
mod join;
pub mod memory;
mod network;
mod operator;
mod preamble;
mod resolve;
mod stream;
pub mod tcp;
mod tls;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

pub use authority::{Authority, AuthorityError};
pub use certificate::{NAME_BYTES_MAX, NameError, NodeKey, Role, Subject, SubjectError, check_name};
pub use control::{ConnectError, ControlDialer};
pub use credentials::{Credentials, CredentialsError};
pub use files::FileError;
pub use invitation::{Invitation, InvitationError};
pub use join::{JoinAnswer, JoinError, JoinId, JoinRefusal, JoinRequest, Joined, Member, join};
pub use network::check_address;
pub use neurath_proto::NodeId;
pub use operator::{Operator, OperatorError};
pub use preamble::PreambleError;
pub use tls::{ALPN_CONTROL, ALPN_JOIN, ALPN_SESSION, Tls};

/// An established connection that never blocks.
///
/// `read` and `write` are those of `std`: `WouldBlock` when they are not ready. `flush` says `WouldBlock` until all
/// that `write` has accepted is in the socket. `read` gives 0 when the peer has finished; a peer that was cut off is
/// an error with TLS, and cannot be told from one that has finished without.
pub trait Connection: Read + Write + mio::event::Source + AsFd + Send {
    /// Who is at the other end.
    fn peer(&self) -> NodeId;

    /// Whether something that `write` has accepted waits for the socket, so that `flush` is to be called when it is
    /// writable.
    fn wants_write(&self) -> bool;

    /// Whether the last read took all that there was, so that the next one is worth it only after the next event. The end
    /// of what the peer says does not count: a connection of which an event says that it is closed is read up to there.
    fn is_emptied(&self) -> bool;

    /// Says that nothing more will be written; reading goes on. To be called after `flush`; a write after it is a
    /// broken pipe. Without it a peer that uses TLS takes the end for a cut.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full: call it again. Anything else if the connection is broken.
    fn finish(&mut self) -> io::Result<()>;
}

/// Where connections come from. It is driven by one thread.
pub trait Endpoint: Send {
    /// Goes on with everything until there is an event, or until the time is over: at once for zero, never for
    /// `None`.
    fn next(&mut self, at_most: Option<Duration>) -> Option<Event>;

    /// Asks it for things from other threads.
    fn handle(&self) -> Arc<dyn Handle>;
}

/// What other threads ask an [`Endpoint`] for.
pub trait Handle: Send + Sync {
    /// Asks for a connection. Exactly one event with its token answers.
    fn dial(&self, dial: Dial);

    /// Where others reach this endpoint, with the port that it really has; none if it only dials.
    fn address(&self) -> Option<String>;

    /// Answers [`Event::Join`]. An answer that comes too late, or for nobody, is dropped.
    fn answer_join(&self, id: JoinId, answer: JoinAnswer);

    /// Ends listening, what is half open, and what is dialed. Established connections stay.
    fn close(&self);
}

/// A connection that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// What the answer will bear.
    pub token: u64,
    /// Who must be there.
    pub peer: NodeId,
    /// Where: `HOST:PORT` with TCP, a name with [`memory`].
    pub address: String,
}

/// What has happened at an endpoint.
pub enum Event {
    /// A node has connected.
    Accepted(Box<dyn Connection>),
    /// The node that was dialed is there.
    Dialed {
        /// The dial's.
        token: u64,
        /// To that node.
        connection: Box<dyn Connection>,
    },
    /// The node that was dialed was not reached.
    DialFailed {
        /// The dial's.
        token: u64,
        /// Why.
        error: DialError,
    },
    /// Somebody wants to become a node of this cluster; [`Handle::answer_join`] answers.
    Join(JoinRequest),
    /// One has connected who may tell this node what to do: an operator, or another node.
    Control {
        /// Who.
        who: Subject,
        /// To its program.
        connection: Box<dyn Connection>,
    },
    /// Somebody has connected, and was not let in.
    Refused {
        /// Where from.
        from: String,
        /// Why.
        error: RefusedError,
    },
    /// The endpoint has been closed. It is the last event, and repeats itself.
    Closed,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Accepted(connection) => write!(f, "Accepted({})", connection.peer()),
            Event::Dialed { token, connection } => write!(f, "Dialed({token}, {})", connection.peer()),
            Event::DialFailed { token, error } => write!(f, "DialFailed({token}, {error})"),
            Event::Join(request) => write!(f, "Join({})", request.name),
            Event::Control { who, .. } => write!(f, "Control({} {})", who.role, who.name),
            Event::Refused { from, error } => write!(f, "Refused({from}, {error})"),
            Event::Closed => f.write_str("Closed"),
        }
    }
}

/// How an endpoint knows who is at the other end.
pub enum Security {
    /// By certificates of the cluster.
    Tls(Tls),
    /// By what the other says. Only addresses of this machine are listened at and dialed.
    PlainLoopback(NodeId),
}

impl Security {
    /// The node itself.
    pub fn node_id(&self) -> NodeId {
        match self {
            Security::Tls(tls) => tls.node_id(),
            Security::PlainLoopback(node) => *node,
        }
    }
}

/// The bounds of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Accepted connections that are not established yet; the oldest is closed for a new one.
    pub half_open_max: usize,
    /// From accepting a connection until it is established; then it is closed.
    pub handshake_ms: u64,
    /// Dials at a time; one more fails with [`DialError::TooMany`].
    pub dials_max: usize,
    /// From the wish to the connection, over all addresses; then the dial fails.
    pub dial_ms: u64,
    /// Requests to join that wait for their answer; one more is told to come back.
    pub joins_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { half_open_max: 512, handshake_ms: 5000, dials_max: 1024, dial_ms: 5000, joins_max: 16 }
    }
}

/// Why an endpoint cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is none.
    #[error("cannot listen at `{address}`: {why}; an address looks like `0.0.0.0:7700`")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// Plain connections are for this machine only.
    #[error(
        "cannot listen at `{address}` without TLS: it can be reached from other machines; \
         use `127.0.0.1` or `[::1]`, or join a cluster"
    )]
    NotLoopback {
        /// The address.
        address: String,
    },
    /// The system refuses.
    #[error("cannot listen at `{address}`: {source}; free it, or choose another")]
    Io {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a dial has failed. Nothing is left of the connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is none.
    #[error("`{address}` is no address: {why}; one looks like `node1.example.org:7700`")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The name leads nowhere.
    #[error("the name in `{address}` is not found: {why}; check the name and the name server")]
    Unresolved {
        /// The address.
        address: String,
        /// What the resolver says.
        why: String,
    },
    /// Plain connections are for this machine only.
    #[error("`{address}` is not on this machine, and without TLS only this machine is dialed; join a cluster")]
    NotLoopback {
        /// The address.
        address: String,
    },
    /// Nobody listens there, or the way is cut.
    #[error("`{address}` cannot be reached: {source}; check that the node runs and that nothing is in the way")]
    Unreachable {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// It took too long.
    #[error("`{address}` did not answer within {limit_ms} ms; check that the node runs and that nothing is in the way")]
    TimedOut {
        /// The address.
        address: String,
        /// The limit.
        limit_ms: u64,
    },
    /// Another node is there.
    #[error("at `{address}` is node {found}, not {wanted}; the address has moved to another node")]
    WrongPeer {
        /// The address.
        address: String,
        /// Who should be there.
        wanted: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// Whoever is there does not let this node in, or is no node of this cluster.
    #[error("`{address}` and this node do not accept each other: {why}")]
    Refused {
        /// The address.
        address: String,
        /// Why.
        why: RefusedError,
    },
    /// A node does not dial itself.
    #[error("`{address}` was dialed as this node itself; messages within a node need no connection")]
    Itself {
        /// The address.
        address: String,
    },
    /// Too many dials are under way.
    #[error("`{address}` was not dialed: {limit} dials are under way; dial again when some are done")]
    TooMany {
        /// The address.
        address: String,
        /// The limit.
        limit: usize,
    },
    /// The endpoint was closed.
    #[error("`{address}` was not dialed: this node's endpoint is closed")]
    Closed {
        /// The address.
        address: String,
    },
}

/// Why two sides did not come together.
#[derive(Debug, thiserror::Error)]
pub enum RefusedError {
    /// The connection broke.
    #[error("the connection broke before it was established: {0}")]
    Broken(io::Error),
    /// TLS ended it: a certificate, a protocol, or no TLS at all.
    #[error("TLS: {0}")]
    Tls(String),
    /// It speaks no protocol of ours.
    #[error("it offers no protocol of ours (ALPN)")]
    Protocol,
    /// The preamble is none.
    #[error("{0}")]
    Preamble(#[from] PreambleError),
    /// The preamble and the certificate differ.
    #[error("it says that it is {said}, but its certificate is that of {proved}")]
    Impostor {
        /// By the preamble.
        said: NodeId,
        /// By the certificate.
        proved: NodeId,
    },
    /// It wants another node.
    #[error("it looks for node {meant}")]
    NotMeant {
        /// That node.
        meant: NodeId,
    },
    /// It has this node's own identity.
    #[error("it is this node itself, or has its key; a key belongs to one node")]
    Itself,
    /// The request to join is too long or not understood.
    #[error("its request to join is not understood")]
    Request,
    /// It took too long.
    #[error("it was not established within {limit_ms} ms")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// There were too many.
    #[error("more than {limit} connections were half open, and this was the oldest")]
    Crowded {
        /// The limit.
        limit: usize,
    },
}
