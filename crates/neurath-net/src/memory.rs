//! The transport within one OS process: endpoints find each other in a [`Hub`], connections are socket pairs.
//!
//! It refuses to know what goes through them. Invariant: there is nothing global; endpoints of different hubs never
//! meet.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;
use mio::net::UnixStream;
use neurath_proto::NodeId;

use crate::endpoint::Driver;
use crate::network::Network;
use crate::{Endpoint, Limits, ListenError, Security};

/// Connections that wait until an endpoint accepts them; one more is refused.
const BACKLOG_MAX: usize = 1024;

/// Where endpoints find each other by name.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<BTreeMap<String, Backlog>>>);

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<UnixStream>,
    waker: Option<Arc<Waker>>,
}

impl Hub {
    /// An endpoint of a node under this name, or one that only dials if there is none.
    ///
    /// # Errors
    /// The name is taken.
    pub fn listen(
        &self,
        name: Option<&str>,
        node: NodeId,
        limits: Limits,
    ) -> Result<impl Endpoint + 'static, ListenError> {
        let listening = name.map(|name| Listening::new(self, name)).transpose()?;
        let network = Network::Memory { hub: self.clone(), listening };
        Driver::new(network, Security::PlainLoopback(node), limits)
            .map_err(|source| ListenError::Io { address: name.unwrap_or("nowhere").into(), source })
    }

    /// A bare socket to an endpoint, for one who does not follow the rules.
    ///
    /// # Errors
    /// Nobody has the name, or too many wait for it.
    pub fn connect(&self, name: &str) -> io::Result<UnixStream> {
        let mut endpoints = self.endpoints();
        let backlog = endpoints.get_mut(name).ok_or(ErrorKind::ConnectionRefused)?;
        if backlog.waiting.len() >= BACKLOG_MAX {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = UnixStream::pair()?;
        backlog.waiting.push_back(theirs);
        if let Some(waker) = &backlog.waker {
            waker.wake()?;
        }
        Ok(ours)
    }

    fn endpoints(&self) -> MutexGuard<'_, BTreeMap<String, Backlog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name in a hub, until it is dropped.
pub(crate) struct Listening {
    hub: Hub,
    name: String,
}

impl Listening {
    fn new(hub: &Hub, name: &str) -> Result<Self, ListenError> {
        let mut endpoints = hub.endpoints();
        if endpoints.contains_key(name) {
            return Err(ListenError::Io { address: name.into(), source: ErrorKind::AddrInUse.into() });
        }
        endpoints.insert(name.into(), Backlog::default());
        Ok(Self { hub: hub.clone(), name: name.into() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn wake_with(&self, waker: Arc<Waker>) {
        if let Some(backlog) = self.hub.endpoints().get_mut(&self.name) {
            backlog.waker = Some(waker);
        }
    }

    pub(crate) fn accept(&self) -> io::Result<UnixStream> {
        let mut endpoints = self.hub.endpoints();
        endpoints
            .get_mut(&self.name)
            .and_then(|backlog| backlog.waiting.pop_front())
            .ok_or_else(|| ErrorKind::WouldBlock.into())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.endpoints().remove(&self.name);
    }
}
