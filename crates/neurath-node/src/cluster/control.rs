//! The control API between machines: who comes to that of this node, and how this node reaches that of another.
//!
//! It refuses to know what is said there. Invariant: the net thread waits for nobody; whom it cannot hand over at once is
//! turned away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use neurath_net::{ConnectError, Connection, ControlDialer, Subject};
use neurath_proto::NodeId;
use tokio::sync::mpsc;

/// Visitors that may wait until the server of the control API takes them.
const WAITING_MAX: usize = 64;
/// How long reaching another node may take.
const REACH_TIME: Duration = Duration::from_secs(5);

/// One who has proved that it may use the control API.
pub(crate) struct Visitor {
    pub(crate) who: Subject,
    pub(crate) connection: Box<dyn Connection>,
}

/// See the module.
pub(crate) struct Control {
    /// None if nodes have no certificates.
    dialer: Option<ControlDialer>,
    /// Where visitors go, while they are served.
    visitors: Mutex<Option<mpsc::Sender<Visitor>>>,
}

impl Control {
    pub(crate) fn new(dialer: Option<ControlDialer>) -> Self {
        Self { dialer, visitors: Mutex::default() }
    }

    /// From now on visitors are served by whoever has this.
    pub(crate) fn open(&self) -> mpsc::Receiver<Visitor> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        *self.visitors() = Some(sender);
        receiver
    }

    /// No visitor is served any more.
    pub(crate) fn close(&self) {
        *self.visitors() = None;
    }

    /// Hands a visitor over, or says why it is turned away.
    pub(super) fn admit(&self, visitor: Visitor) -> Result<(), &'static str> {
        let visitors = self.visitors();
        let sender = visitors.as_ref().ok_or("this node serves no control API")?;
        sender.try_send(visitor).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "too many come at once",
            mpsc::error::TrySendError::Closed(_) => "the node is stopping",
        })
    }

    /// Whether other nodes are reached at all.
    pub(crate) fn reaches(&self) -> bool {
        self.dialer.is_some()
    }

    /// Connects with another node; it blocks.
    pub(crate) fn reach(&self, node: NodeId, address: &str) -> Option<Result<Box<dyn Connection>, ConnectError>> {
        Some(self.dialer.as_ref()?.dial(address, Some(node), REACH_TIME))
    }

    fn visitors(&self) -> MutexGuard<'_, Option<mpsc::Sender<Visitor>>> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
