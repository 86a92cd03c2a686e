//! What can go wrong when a node starts, and when it is asked for something.

use std::path::PathBuf;

use neurath_code::store::{
    GetError, IndexError, NameError, OpenError, ParseRefError, PutError, ReadError, RemoveError,
};
use neurath_engine::{CompileError, EngineError, PrepareError};
use neurath_proto::json::JsonError;
use neurath_proto::reason::CallError;
use neurath_proto::{NodeId, Pid};

use crate::api::SocketError;
use crate::cluster::SetupError;
use crate::identity::IdentityError;
use crate::types::TooManySchemas;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("{path}: {source}; choose another directory with `--data`")]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The artifact store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The node does not know who it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its control API could not be served.
    #[error(transparent)]
    Control(#[from] SocketError),
    /// It cannot be part of a cluster.
    #[error(transparent)]
    Cluster(Box<SetupError>),
    /// A thread cannot be started.
    #[error("a thread could not be started: {0}; look at the limits of this user (`ulimit -u`)")]
    Thread(std::io::Error),
}

/// Why a request was refused. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node is alone.
    #[error("this node is in no cluster; start it with `--listen ADDRESS`")]
    NoCluster,
    /// Another node decides who joins.
    #[error("this node does not hold the cluster's authority; ask the node where `neurath cluster init` was run")]
    NoAuthority,
    /// The authority fails.
    #[error(transparent)]
    Authority(#[from] neurath_net::AuthorityError),
    /// The text names no module version.
    #[error(transparent)]
    ModuleRef(#[from] ParseRefError),
    /// The module's own name will not do.
    #[error("the module's name: {0}")]
    ModuleName(#[from] NameError),
    /// The module's own version will not do.
    #[error("the module's version `{version}` is no semantic version: {source}; set `version` in its Cargo.toml")]
    ModuleVersion {
        /// What it says.
        version: String,
        /// What is wrong with it.
        source: semver::Error,
    },
    /// The store has no such version.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The store does not take the artifact.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The artifact cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store does not remove the version.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The store's index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The module is not one that this node runs.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The module does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Too many types.
    #[error(transparent)]
    Types(#[from] TooManySchemas),
    /// The module has no such entry.
    #[error("{module} has no entry `{entry}`; it has: {known}")]
    UnknownEntry {
        /// The module.
        module: String,
        /// What was asked for.
        entry: String,
        /// What there is.
        known: String,
    },
    /// An entry must be chosen.
    #[error("{module} has several entries: {known}; say which one")]
    WhichEntry {
        /// The module.
        module: String,
        /// What there is.
        known: String,
    },
    /// Only functions have a result.
    #[error("`{entry}` of {module} is no function and has no result; start it with `neurath spawn`, without `--wait`")]
    NoFunction {
        /// The module.
        module: String,
        /// The entry.
        entry: String,
    },
    /// The JSON does not fit.
    #[error("{what}: {source}; it takes {wanted}")]
    Json {
        /// What the JSON is for.
        what: String,
        /// What is wrong with it.
        source: JsonError,
        /// What would fit.
        wanted: String,
    },
    /// The message is over the limit for one.
    #[error(
        "the message for {process} has {bytes} bytes as it is sent, and a message has at most {limit}; send it in parts"
    )]
    TooLarge {
        /// The process.
        process: String,
        /// Bytes of the encoded message.
        bytes: usize,
        /// The limit.
        limit: u32,
    },
    /// There is no such process.
    #[error("no process `{0}`; `neurath ps` lists those that live, a name is registered by the process itself")]
    UnknownProcess(String),
    /// The process is on another node.
    #[error(
        "process {process} lives on node {name} ({node}), and this command is about processes of one node; run it there: \
         `neurath --data DIR …` with that node's directory, and {pid} as the target"
    )]
    ElsewhereProcess {
        /// As it was asked for.
        process: String,
        /// Its pid.
        pid: Pid,
        /// Its node.
        node: NodeId,
        /// What people call that.
        name: String,
    },
    /// The process is on neither of the two nodes that the request came to.
    #[error(
        "process {process} lives on node {name} ({node}), and the request was passed on to {here}; leave out `--on`, or use \
         `--on {name}`, with that pid as the target"
    )]
    ThirdNode {
        /// Its pid.
        process: String,
        /// Its node.
        node: NodeId,
        /// What people call that.
        name: String,
        /// What people call this one.
        here: String,
    },
    /// The pid is of another life of this node.
    #[error(
        "process {process} belongs to life {life} of its node {name}, which is in life {now}: processes end with the life of \
         their node; `neurath ps` lists those that live"
    )]
    OtherLife {
        /// As it was asked for.
        process: String,
        /// Its life.
        life: u32,
        /// What people call the node.
        name: String,
        /// Its present life.
        now: u32,
    },
    /// The pid is of a node that nobody knows.
    #[error(
        "process {process} would be on node {node}, which this node does not know; `neurath nodes` lists those that it does"
    )]
    UnknownNode {
        /// As it was asked for.
        process: String,
        /// Its node.
        node: NodeId,
    },
    /// There is no such node.
    #[error("no node `{0}` is known here; `neurath nodes` lists those that are")]
    UnknownNodeName(String),
    /// A request for another node stays here.
    #[error("the request for node {name} ({node}) is not passed on: {why}; ask that node itself")]
    NotPassedOn {
        /// What people call the node.
        name: String,
        /// Which.
        node: NodeId,
        /// Why.
        why: &'static str,
    },
    /// The node that was meant is not there. Nothing was asked of it.
    #[error("node {name} ({node}) was not reached: {source}")]
    NodeAway {
        /// What people call it.
        name: String,
        /// Which.
        node: NodeId,
        /// Why.
        source: Box<neurath_net::ConnectError>,
    },
    /// The node that was meant was asked, and its answer did not come. It may have done what it was asked.
    #[error("the answer of node {name} ({node}) is lost: {why}")]
    AnswerLost {
        /// What people call it.
        name: String,
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// The process takes nothing of the kind.
    #[error("{process} takes no {what}; {hint}")]
    TakesNone {
        /// The process.
        process: String,
        /// Casts, calls, messages.
        what: &'static str,
        /// What to do instead.
        hint: String,
    },
    /// The call has no answer. It may have been carried out.
    #[error("{0}")]
    Call(CallError),
    /// The answer cannot be shown.
    #[error("the answer cannot be shown as JSON: {0}")]
    Answer(String),
    /// Nothing could be spawned.
    #[error("not spawned: {0}")]
    NotSpawned(String),
    /// Some processes could not take the new code: the plan was refused before any was touched.
    #[error("{package} cannot be upgraded to {to}:\n  {}", .reasons.join("\n  "))]
    PlanRefused {
        /// The module.
        package: String,
        /// The version.
        to: String,
        /// One line for each entry.
        reasons: Vec<String>,
    },
    /// The version to remove is in use.
    #[error("{0} is in use: {1}")]
    InUse(String, String),
    /// As many traces run as may.
    #[error("{limit} traces run already; end one, or raise `traces` below `[trace]` in the node's configuration")]
    TooManyTraces {
        /// The limit.
        limit: usize,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}
