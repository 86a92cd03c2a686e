//! Other nodes: what the shards of this one share about them, and the thread that makes connections.
//!
//! Each other node belongs to one shard ([`Cluster::owner`]), whose [`peers::Peers`] has the session with it and reads and
//! writes its connections; so a message from a process of that shard crosses no thread on its way out, nor one for it on
//! its way in. The *net thread* drives the transport's endpoint: it accepts, dials and lets nodes join, and hands who comes
//! to the control API to its server. The *loader*
//! thread gets modules from peers and compiles what they want started.
//!
//! Invariant: whoever is a peer here has proved its key to the transport; nothing of a peer is believed beyond its own
//! processes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use neurath_kernel::session::DialId;
use neurath_kernel::{MembershipConfig, SessionConfig};
use neurath_net::{Authority, Dial, Endpoint, Event, Handle, JoinAnswer, JoinRefusal, Member as JoinMember};
use neurath_proto::{NodeId, Pid};

use crate::inbox::Inbox;
use crate::shard::Input;
use control::{Control, Visitor};
use strangers::Strangers;

pub(crate) use setup::{Beginning, authority_folder, in_no_cluster, init, start};
pub use setup::{ClusterConfig, SetupError, Transport};

pub(crate) mod control;
pub(crate) mod gossip;
pub(crate) mod loader;
pub(crate) mod peers;
mod setup;
mod strangers;

/// Unconfirmed messages that are remembered for the listing.
const UNCONFIRMED_KEPT: usize = 1024;
/// Nodes whose addresses are remembered.
const ADDRESSES_MAX: usize = 4096;
/// How long the net thread waits when nothing is due.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// A message that was accepted for another node and is not known to have arrived.
#[derive(Clone, Debug)]
pub struct Unconfirmed {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who sent it.
    pub from: Pid,
    /// Who should have had it.
    pub to: Pid,
    /// The name of its type.
    pub type_name: String,
    /// The association's number, if one was open.
    pub association: Option<u64>,
    /// Whether it may have arrived all the same.
    pub maybe_delivered: bool,
    /// Why the association ended.
    pub reason: String,
}

/// What is known of another node's whereabouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) name: String,
    pub(crate) address: String,
}

/// What the shards of a node share about others.
pub(crate) struct Cluster {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) session: SessionConfig,
    pub(crate) membership: MembershipConfig,
    handle: Arc<dyn Handle>,
    pub(crate) control: Control,
    /// Where others reach this node.
    address: Option<String>,
    authority: Option<Authority>,
    directory: RwLock<HashMap<NodeId, Whereabouts>>,
    dials: Mutex<HashMap<u64, (NodeId, DialId)>>,
    last_dial: AtomicU64,
    /// Why the last attempt to reach a node failed.
    failures: Mutex<HashMap<NodeId, String>>,
    unconfirmed: Mutex<VecDeque<Unconfirmed>>,
    unconfirmed_count: AtomicU64,
    /// Connections of strangers, and requests to join, that were refused.
    refused_count: AtomicU64,
    pub(crate) loader: loader::Queue,
    peers_file: std::path::PathBuf,
}

impl Cluster {
    /// The shard to which the session with a node belongs.
    pub(crate) fn owner(node: NodeId, shards: usize) -> usize {
        (node.0 % shards as u64) as usize
    }

    /// Where others reach this node.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The authority, if this node holds it.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Where a node is reached, if that is known.
    pub(crate) fn address_of(&self, node: NodeId) -> Option<String> {
        self.read_directory().get(&node).map(|known| known.address.clone())
    }

    /// The node, this one among them, that goes by this name, or has this id.
    pub(crate) fn find(&self, text: &str) -> Option<NodeId> {
        if text == self.name {
            return Some(self.node);
        }
        let directory = self.read_directory();
        let named = directory.iter().filter(|(_, known)| known.name == text).map(|(node, _)| *node).min();
        let by_id = || u64::from_str_radix(text, 16).ok().map(NodeId).filter(|_| text.len() == 16);
        named.or_else(|| by_id().filter(|node| *node == self.node || directory.contains_key(node)))
    }

    /// Whether it is known how to reach a node.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.read_directory().contains_key(&node)
    }

    /// What people call a node.
    pub(crate) fn name_of(&self, node: NodeId) -> String {
        let name = self.read_directory().get(&node).map(|known| known.name.clone());
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| node.to_string())
    }

    /// All nodes whose whereabouts are known.
    pub(crate) fn known(&self) -> Vec<(NodeId, Whereabouts)> {
        let mut all: Vec<_> = self.read_directory().iter().map(|(node, known)| (*node, known.clone())).collect();
        all.sort_by_key(|(node, _)| *node);
        all
    }

    /// Learns where a node is; whether that is news.
    pub(crate) fn learn(&self, node: NodeId, name: &str, address: &str) -> bool {
        if node == self.node || address.is_empty() {
            return false;
        }
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        let known = Whereabouts { name: name.to_owned(), address: address.to_owned() };
        if directory.get(&node) == Some(&known) || (directory.len() >= ADDRESSES_MAX && !directory.contains_key(&node))
        {
            return false;
        }
        directory.insert(node, known);
        let all: Vec<JoinMember> = directory.iter().map(|(node, known)| member(*node, known)).collect();
        drop(directory);
        // Only for the next start: a node that cannot write it now asks its peers then.
        if let Err(error) = setup::write_peers(&self.peers_file, &all) {
            tracing::warn!(%error, path = %self.peers_file.display(), "the addresses of other nodes are not saved");
        }
        true
    }

    /// Asks the net thread for a connection. Whether it is known where to.
    pub(crate) fn dial(&self, peer: NodeId, dial: DialId) -> bool {
        let Some(address) = self.read_directory().get(&peer).map(|known| known.address.clone()) else { return false };
        let token = self.last_dial.fetch_add(1, Ordering::Relaxed);
        self.lock_dials().insert(token, (peer, dial));
        self.handle.dial(Dial { token, peer, address });
        true
    }

    /// Why the last attempt to reach a node failed, if it did.
    pub(crate) fn failure(&self, node: NodeId) -> Option<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// There is a connection: why there was none is over.
    fn reached(&self, node: NodeId) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    /// Notes messages that are not known to have arrived.
    pub(crate) fn note_unconfirmed(&self, message: Unconfirmed) {
        self.unconfirmed_count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= UNCONFIRMED_KEPT {
            kept.pop_front();
        }
        kept.push_back(message);
    }

    /// How many there were, and the latest of them, oldest first.
    pub(crate) fn unconfirmed(&self) -> (u64, Vec<Unconfirmed>) {
        let kept = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
        (self.unconfirmed_count.load(Ordering::Relaxed), kept.iter().cloned().collect())
    }

    /// How many strangers were not let in.
    pub(crate) fn refused(&self) -> u64 {
        self.refused_count.load(Ordering::Relaxed)
    }

    /// Ends listening and dialing.
    pub(crate) fn close(&self) {
        self.handle.close();
        self.control.close();
        // It may have ended already.
        let _ = self.loader.push(loader::Job::Stop);
    }

    fn read_directory(&self) -> std::sync::RwLockReadGuard<'_, HashMap<NodeId, Whereabouts>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_dials(&self) -> MutexGuard<'_, HashMap<u64, (NodeId, DialId)>> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> Vec<JoinMember> {
        let own = self.address.clone().map(|address| JoinMember { node: self.node, name: self.name.clone(), address });
        own.into_iter().chain(self.known().iter().map(|(node, known)| member(*node, known))).collect()
    }

    /// Answers a request to join; why, if it was refused.
    fn admit(&self, request: &neurath_net::JoinRequest) -> Option<JoinRefusal> {
        let answer = match &self.authority {
            None => JoinAnswer::Refused(JoinRefusal::NoAuthority),
            Some(authority) => authority.admit(request, self.members()).unwrap_or_else(|error| {
                tracing::error!(%error, "a node could not be admitted");
                JoinAnswer::Refused(JoinRefusal::Failed)
            }),
        };
        let refused = match &answer {
            JoinAnswer::Admitted { .. } => {
                tracing::info!(name = request.name, from = request.from, "a node has joined");
                None
            }
            JoinAnswer::Refused(why) => Some(why.clone()),
        };
        self.handle.answer_join(request.id, answer);
        refused
    }
}

fn member(node: NodeId, known: &Whereabouts) -> JoinMember {
    JoinMember { node, name: known.name.clone(), address: known.address.clone() }
}

/// The net thread: hands what happens at the endpoint to the shards that it concerns.
pub(crate) fn run_endpoint(mut endpoint: Box<dyn Endpoint>, cluster: &Cluster, inboxes: &[Arc<Inbox<Input>>]) {
    let inbox = |node| &inboxes[Cluster::owner(node, inboxes.len())];
    let (begun, mut strangers) = (Instant::now(), Strangers::default());
    loop {
        let event = endpoint.next(Some(strangers.wait(begun.elapsed()).unwrap_or(AN_HOUR)));
        if let Some(count) = strangers.summary(begun.elapsed()) {
            tracing::warn!(count, "more strangers were refused");
        }
        // A stranger's fault costs the log a few lines at most.
        let mut tell = || {
            cluster.refused_count.fetch_add(1, Ordering::Relaxed);
            strangers.refused(begun.elapsed())
        };
        match event {
            None => {}
            Some(Event::Accepted(connection)) => {
                let node = connection.peer();
                cluster.reached(node);
                inbox(node).push(Input::Connection { node, connection, dialed: false });
            }
            Some(Event::Dialed { token, connection }) => {
                if let Some((node, _)) = cluster.lock_dials().remove(&token) {
                    cluster.reached(node);
                    inbox(node).push(Input::Connection { node, connection, dialed: true });
                }
            }
            Some(Event::DialFailed { token, error }) => {
                if let Some((node, dial)) = cluster.lock_dials().remove(&token) {
                    tracing::debug!(%node, name = cluster.name_of(node), %error, "a node was not reached");
                    let mut failures = cluster.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.insert(node, error.to_string());
                    drop(failures);
                    inbox(node).push(Input::DialFailed { node, dial });
                }
            }
            Some(Event::Join(request)) => {
                if let Some(why) = cluster.admit(&request)
                    && tell()
                {
                    tracing::warn!(name = request.name, from = request.from, %why, "not admitted");
                }
            }
            Some(Event::Control { who, connection }) => {
                let (role, name) = (who.role, who.name.clone());
                if let Err(why) = cluster.control.admit(Visitor { who, connection })
                    && tell()
                {
                    tracing::warn!(%role, name, why, "turned away from the control API");
                }
            }
            Some(Event::Refused { from, error }) if tell() => tracing::warn!(from, %error, "a connection was refused"),
            Some(Event::Refused { .. }) => {}
            Some(Event::Closed) => return,
        }
    }
}
