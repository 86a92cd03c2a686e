//! Other nodes: which there are, whether they answer, and processes started on them.
//!
//! Invariant: every question to another node ends: with the answer, with the end of the association, or with its
//! deadline.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use neurath_proto::abi::TakeSpec;
use neurath_proto::cluster::{Answer, NodeInfo, Question};
use neurath_proto::reason::CallError;
use neurath_proto::{Data, NodeId, Pid, Ref};

use crate::entry::Entry;
use crate::receive::{Receive, poll_answer};
use crate::sys;

/// How long another node may take to answer.
const REACH: Duration = Duration::from_secs(5);
/// How long it may take to start a process: it may have to fetch and compile the module first.
const SPAWN: Duration = Duration::from_secs(60);

/// The node on which this process runs.
pub fn this_node() -> NodeId {
    sys::self_pid().node
}

/// The nodes that are connected at present, this one first.
///
/// ```
/// use neurath::prelude::*;
///
/// async fn greet() {
///     for other in nodes().await {
///         info!("{} is {}", other.name, other.node);
///     }
/// }
/// # fn main() {}
/// ```
pub async fn nodes() -> Vec<NodeInfo> {
    match question_of(&Question::Nodes {}).forever().await {
        Ok(Answer::Nodes { nodes }) => nodes,
        _ => Vec::new(),
    }
}

/// The connected node that people call so.
pub async fn node(name: &str) -> Option<NodeId> {
    nodes().await.into_iter().find(|info| info.name == name).map(|info| info.node)
}

/// Asks a node whether it is there, for at most five seconds. A node that is not connected is connected to.
///
/// # Errors
/// It does not answer.
pub async fn ping(node: NodeId) -> Result<(), CallError> {
    question_of(&Question::Ping { node }).within_reach_of(node).await.map(drop)
}

/// Tells this process once, by a [`NodeDown`](crate::NodeDown) with this ref, when the association with a node ends, or
/// when it cannot be reached.
///
/// ```
/// use neurath::prelude::*;
///
/// #[neurath::process(accepts(NodeDown))]
/// async fn sentinel(node: NodeId) {
///     let watch = monitor_node(node);
///     let down = recv::<NodeDown>().await;
///     assert_eq!(down.monitor, watch);
///     warn!("{} is gone: {}", down.node, down.reason);
/// }
/// # fn main() {}
/// ```
pub fn monitor_node(node: NodeId) -> Ref {
    sys::ask(&Question::MonitorNode { node })
}

/// Undoes [`monitor_node`].
pub fn demonitor_node(monitor: Ref) {
    sys::ask(&Question::DemonitorNode { monitor });
}

/// Whether this process is told about every node that comes and goes: [`NodeUp`](crate::NodeUp) and
/// [`NodeDown`](crate::NodeDown).
pub fn watch_nodes(on: bool) {
    sys::ask(&Question::WatchNodes { on });
}

/// Starts a process of `E`, an entry of this module, on another node: `spawn_on::<counter>(node, (0,))`. Every entry also
/// has it with its own parameters: `counter::spawn_on(node, 0)`.
///
/// A node that lacks this module version gets it from this one first, and compiles it.
///
/// ```
/// use neurath::prelude::*;
///
/// #[neurath::process]
/// async fn worker(job: u32) {
///     info!("job {job}");
/// }
///
/// #[neurath::process]
/// async fn foreman(node: NodeId) {
///     match worker::spawn_on(node, 7).link().await {
///         Ok(pid) => info!("{pid} is at work"),
///         Err(error) => warn!("{error}"),
///     }
/// }
/// # fn main() {}
/// ```
pub fn spawn_on<E: Entry>(node: NodeId, arguments: E::Arguments) -> SpawnOn<E> {
    let mut encoded = Vec::new();
    arguments.encode(&mut encoded);
    SpawnOn { node, arguments: encoded, link: false, entry: PhantomData }
}

/// A process to be started on another node: `.await` it.
#[must_use = "nothing is started before it is awaited"]
pub struct SpawnOn<E> {
    node: NodeId,
    arguments: Vec<u8>,
    link: bool,
    entry: PhantomData<fn() -> E>,
}

impl<E: Entry> SpawnOn<E> {
    /// Links the process to this one, before it runs.
    pub fn link(mut self) -> Self {
        self.link = true;
        self
    }

    /// Watches it, before it runs: its pid and the ref of the [`Down`](crate::Down) that will come.
    ///
    /// # Errors
    /// It was not started.
    pub async fn monitor(self) -> Result<(Pid, Ref), SpawnError> {
        self.start(true).await
    }

    async fn start(self, monitor: bool) -> Result<(Pid, Ref), SpawnError> {
        let Self { node, arguments, link, .. } = self;
        let question = Question::Spawn { node, entry: E::NAME.into(), arguments, link, monitor };
        match question_of(&question).within(SPAWN).await {
            Ok(Answer::Spawned { pid, monitor }) => Ok((pid, monitor)),
            Ok(Answer::Failed { why }) => Err(SpawnError::Refused(why)),
            Ok(_) => Err(SpawnError::Refused("the node gave an answer that is none".into())),
            Err(error) => Err(SpawnError::Unreachable(error)),
        }
    }
}

impl<E: Entry> std::future::IntoFuture for SpawnOn<E> {
    type Output = Result<Pid, SpawnError>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.start(false).await.map(|(pid, _)| pid) })
    }
}

/// Why a process was not started on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// The node refused: why.
    Refused(String),
    /// The node does not answer. Whether it started the process is not known.
    Unreachable(CallError),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "not started: {why}"),
            Self::Unreachable(error) => write!(f, "the node does not answer: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {}

/// Asks the host, which may ask another node.
pub(crate) fn question_of(question: &Question) -> Asked {
    Asked { reference: sys::ask(question) }
}

/// A question that is under way.
pub(crate) struct Asked {
    reference: Ref,
}

impl Asked {
    /// Waits for an answer of this process's own host.
    pub(crate) async fn forever(self) -> Result<Answer, CallError> {
        self.wait(TakeSpec::FOREVER).await
    }

    /// Waits for an answer of this node; for that of another one only so long as it may take.
    pub(crate) async fn within_reach_of(self, node: NodeId) -> Result<Answer, CallError> {
        if node == this_node() { self.forever().await } else { self.within(REACH).await }
    }

    async fn within(self, deadline: Duration) -> Result<Answer, CallError> {
        self.wait(deadline.as_nanos() as u64).await
    }

    async fn wait(self, timeout_ns: u64) -> Result<Answer, CallError> {
        if !self.reference.is_some() {
            return Err(CallError::NotSent("the outbox of this poll is full; `flush().await` first".into()));
        }
        let mut receive = Receive::answer(self.reference, timeout_ns);
        std::future::poll_fn(|context| poll_answer(&mut receive, context)).await
    }
}
