//! The node and the others: what operators ask about them, and the modules that nodes get from each other.

use std::sync::Weak;

use neurath_kernel::membership::{Member, MemberInfo};
use neurath_kernel::session::EndCause;
use neurath_net::{Authority, Connection, NodeKey, Operator, OperatorError};

use super::*;
use crate::cluster::control::Visitor;
use crate::cluster::peers::PeerInfo;
use crate::cluster::{Cluster, SetupError, Unconfirmed};

/// Another node, or this one, for listings.
#[derive(Clone, Debug)]
pub struct NodeStanding {
    /// Who it is.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// Its present life, if it is known.
    pub incarnation: Option<Incarnation>,
    /// Where it is reached.
    pub address: String,
    /// The release that it runs, if it is known.
    pub version: String,
    /// How membership sees it: `self`, `alive`, `suspect`, `down`, `left` or `unknown`.
    pub state: &'static str,
    /// How the session with it stands: `connected`, `reconnecting`, `none`.
    pub session: &'static str,
    /// Microseconds until it answered just now, if it did.
    pub latency_us: Option<u64>,
    /// Messages for it that are not acknowledged.
    pub held_messages: usize,
    /// Bytes of them.
    pub held_bytes: u64,
    /// Messages for it that were not confirmed, since the start.
    pub unconfirmed: u64,
    /// Associations with it that were opened, since the start.
    pub opened: u64,
    /// Why it was not reached last.
    pub failure: Option<String>,
}

impl Node {
    /// The nodes that are known, this one first; those with which it is connected are asked whether they are there.
    pub async fn nodes(&self) -> Vec<NodeStanding> {
        let mut all = self.standings().await;
        let pings = all.iter().map(async |standing| match standing.session {
            "connected" => self.ping(standing.node, Duration::from_secs(1)).await.ok(),
            _ => None,
        });
        let latencies = futures_util::future::join_all(pings).await;
        for (standing, latency_us) in all.iter_mut().zip(latencies) {
            standing.latency_us = latency_us;
        }
        all
    }

    /// The nodes that are known, this one first; nobody is asked.
    pub(super) async fn standings(&self) -> Vec<NodeStanding> {
        let Some(cluster) = &self.0.shared.cluster else { return Vec::new() };
        let peers = self.gather(Command::Peers).await.concat();
        let (reply, answer) = oneshot::channel();
        self.command(0, Command::Membership(reply));
        let members = answer.await.ok().flatten();
        standings(cluster, self.incarnation(), members, &peers)
    }

    /// Strangers that were not let in, since the start.
    pub fn strangers_refused(&self) -> u64 {
        self.0.shared.cluster.as_ref().map_or(0, |cluster| cluster.refused())
    }

    /// That a process is of another node, if it is: it is asked for there.
    pub(super) fn must_be_here(&self, target: &str, pid: Pid) -> Result<(), NodeError> {
        if pid.node == self.id() {
            return self.must_be_of_this_life(target, pid);
        }
        let known = self.0.shared.cluster.as_ref().filter(|cluster| cluster.knows(pid.node));
        let (process, node) = (target.to_owned(), pid.node);
        Err(match known {
            Some(cluster) => NodeError::ElsewhereProcess { process, pid, node, name: cluster.name_of(node) },
            None => NodeError::UnknownNode { process, node },
        })
    }

    fn must_be_of_this_life(&self, target: &str, pid: Pid) -> Result<(), NodeError> {
        let (Incarnation(life), Incarnation(now)) = (pid.incarnation, self.incarnation());
        if life == now {
            return Ok(());
        }
        Err(NodeError::OtherLife { process: target.to_owned(), life, name: self.own_name(), now })
    }

    /// That a request about a process came here by way of a node, and belongs to a third.
    pub(crate) fn third_node(&self, process: String, node: NodeId) -> NodeError {
        NodeError::ThirdNode { process, node, name: self.name_of(node), here: self.own_name() }
    }

    fn own_name(&self) -> String {
        self.name().map_or_else(|| self.id().to_string(), str::to_owned)
    }

    /// What people call a node.
    pub(crate) fn name_of(&self, node: NodeId) -> String {
        self.0.shared.cluster.as_ref().map_or_else(|| node.to_string(), |cluster| cluster.name_of(node))
    }

    /// The node, this one among them, that goes by this name, or has this id.
    pub(crate) fn find_node(&self, text: &str) -> Result<NodeId, NodeError> {
        let cluster = self.0.shared.cluster.as_ref().ok_or(NodeError::NoCluster)?;
        cluster.find(text).ok_or_else(|| NodeError::UnknownNodeName(text.to_owned()))
    }

    /// Whether requests about processes of a node are passed on to it: it is another one, known, and nodes have
    /// certificates.
    pub(crate) fn passes_on_to(&self, node: NodeId) -> bool {
        let reaches = |cluster: &Arc<Cluster>| cluster.control.reaches() && cluster.knows(node);
        node != self.id() && self.0.shared.cluster.as_ref().is_some_and(reaches)
    }

    /// A connection to the control API of another node.
    pub(crate) async fn reach(&self, node: NodeId) -> Result<Box<dyn Connection>, NodeError> {
        let cluster = self.0.shared.cluster.clone().ok_or(NodeError::NoCluster)?;
        let name = cluster.name_of(node);
        let address = cluster.address_of(node).ok_or_else(|| NodeError::UnknownNodeName(name.clone()))?;
        blocking(move || match cluster.control.reach(node, &address) {
            Some(reached) => reached.map_err(|source| NodeError::NodeAway { name, node, source: Box::new(source) }),
            None => {
                let why = "without certificates nobody may be told what to do over the network";
                Err(NodeError::NotPassedOn { name, node, why })
            }
        })
        .await
    }

    /// Those who come to the control API over the network, from now on; none if there is no network.
    pub(crate) fn visitors(&self) -> Option<tokio::sync::mpsc::Receiver<Visitor>> {
        Some(self.0.shared.cluster.as_ref()?.control.open())
    }

    /// Asks a node whether it is there; microseconds until it answered.
    ///
    /// # Errors
    /// It did not.
    pub async fn ping(&self, node: NodeId, within: Duration) -> Result<u64, NodeError> {
        let begun = std::time::Instant::now();
        let (reply, answer) = oneshot::channel();
        let shard = Cluster::owner(node, self.0.shared.inboxes.len());
        self.command(shard, Command::Ping { node, reply });
        match tokio::time::timeout(within, answer).await {
            Err(_) => Err(NodeError::Call(CallError::TimedOut)),
            Ok(answer) => {
                answer.map_err(|_| NodeError::Stopping)?.map_err(NodeError::Call)?;
                Ok(begun.elapsed().as_micros() as u64)
            }
        }
    }

    /// How many messages are not known to have arrived, and the latest of them, oldest first.
    pub fn unconfirmed(&self) -> (u64, Vec<Unconfirmed>) {
        self.0.shared.cluster.as_ref().map(|cluster| cluster.unconfirmed()).unwrap_or_default()
    }

    /// All groups with their members on connected nodes.
    pub async fn groups(&self) -> Vec<(String, Vec<Pid>)> {
        let (reply, answer) = oneshot::channel();
        self.command(0, Command::Groups(reply));
        answer.await.unwrap_or_default()
    }

    /// Where other nodes reach this one.
    pub fn address(&self) -> Option<&str> {
        self.0.shared.cluster.as_ref()?.address()
    }

    /// What people call this node.
    pub fn name(&self) -> Option<&str> {
        Some(&self.0.shared.cluster.as_ref()?.name)
    }

    /// Invites one node into the cluster: the token that it joins with.
    ///
    /// # Errors
    /// This node does not hold the cluster's authority, or is not in a cluster.
    pub fn invite(&self, valid_for: Duration) -> Result<String, NodeError> {
        let cluster = self.0.shared.cluster.as_ref().ok_or(NodeError::NoCluster)?;
        let authority = cluster.authority().ok_or(NodeError::NoAuthority)?;
        let address = cluster.address().ok_or(NodeError::NoAuthority)?;
        Ok(authority.invite(self.id(), address, valid_for)?.to_string())
    }

    /// Tells this node where another one is.
    ///
    /// # Errors
    /// This node is in no cluster.
    pub fn introduce(&self, node: NodeId, name: &str, address: &str) -> Result<(), NodeError> {
        let cluster = self.0.shared.cluster.as_ref().ok_or(NodeError::NoCluster)?;
        cluster.learn(node, name, address);
        Ok(())
    }

    /// Ends the association with a node at once, as if it had not been reached for the grace time: monitors and links fire,
    /// names of its processes are free. Whoever sends to it again begins another association.
    ///
    /// # Errors
    /// This node is in no cluster.
    pub fn disconnect(&self, node: NodeId) -> Result<(), NodeError> {
        self.0.shared.cluster.as_ref().ok_or(NodeError::NoCluster)?;
        let inboxes = &self.0.shared.inboxes;
        inboxes[Cluster::owner(node, inboxes.len())].push(Input::EndAssociation(node, EndCause::Asked));
        Ok(())
    }

    /// Tells the other nodes that this one leaves, so that they need not wait for it.
    pub fn leave(&self) {
        if self.0.shared.cluster.is_some() {
            self.command(0, Command::Leave);
        }
    }
}

/// Makes a cluster whose authority is the node in `data`, and that node its first member. The node must not run.
///
/// # Errors
/// It belongs to a cluster already, or its files cannot be written.
pub fn init_cluster(data: &std::path::Path, cluster: &str, name: &str) -> Result<NodeId, StartError> {
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
        .create(data)
        .map_err(|source| StartError::Data { path: data.into(), source })?;
    let failed = |error: SetupError| StartError::Cluster(Box::new(error));
    // Said first: whoever is told to stop the node should not be told this afterwards.
    crate::cluster::in_no_cluster(data).map_err(failed)?;
    // A node that runs has the store: it would not hear of this, and its identity may be half made.
    let _alone = Store::open(data.join("store"))?;
    let key = NodeKey::from_seed(&crate::identity::secret_of(data)?);
    crate::cluster::init(data, &key, cluster, name).map_err(failed)?;
    Ok(key.node_id())
}

/// Makes an operator of the cluster whose authority lives in `data`, and a file with all that their programs need; `address`
/// is where they reach a node. The node may run meanwhile.
///
/// # Errors
/// The authority does not live there or refuses, or the file is there already or cannot be written.
pub fn create_operator(
    data: &std::path::Path,
    path: &std::path::Path,
    name: &str,
    address: &str,
    valid_for: Duration,
) -> Result<Operator, OperatorError> {
    let authority = Authority::open(&crate::cluster::authority_folder(data))?;
    Operator::create(path, &authority, name, address, valid_for)
}

/// Whether the authority of a cluster lives in `data`.
pub fn has_authority(data: &std::path::Path) -> bool {
    Authority::exists(&crate::cluster::authority_folder(data))
}

fn standings(
    cluster: &Cluster,
    incarnation: Incarnation,
    members: Option<(Member, Vec<MemberInfo>)>,
    peers: &[PeerInfo],
) -> Vec<NodeStanding> {
    let version = members.as_ref().map(|(own, _)| own.version.clone()).unwrap_or_default();
    let unknown = |node| NodeStanding {
        node,
        name: cluster.name_of(node),
        incarnation: None,
        address: String::new(),
        version: String::new(),
        state: "unknown",
        session: "none",
        latency_us: None,
        held_messages: 0,
        held_bytes: 0,
        unconfirmed: 0,
        opened: 0,
        failure: cluster.failure(node),
    };
    let own = NodeStanding {
        incarnation: Some(incarnation),
        name: cluster.name.clone(),
        address: cluster.address().unwrap_or_default().to_owned(),
        version,
        state: "self",
        ..unknown(cluster.node)
    };
    let infos: Vec<MemberInfo> = members.map(|(_, others)| others).unwrap_or_default();
    let mut others: std::collections::BTreeMap<NodeId, NodeStanding> = std::collections::BTreeMap::new();
    for (node, known) in cluster.known() {
        others.entry(node).or_insert_with(|| unknown(node)).address = known.address;
    }
    for info in infos {
        let standing = others.entry(info.member.node).or_insert_with(|| unknown(info.member.node));
        standing.state = match info.state {
            neurath_kernel::membership::MemberState::Alive => "alive",
            neurath_kernel::membership::MemberState::Suspect => "suspect",
            neurath_kernel::membership::MemberState::Down => "down",
            neurath_kernel::membership::MemberState::Left => "left",
        };
        standing.incarnation = Some(info.member.incarnation);
        (standing.name, standing.address, standing.version) =
            (info.member.name, info.member.address, info.member.version);
    }
    for peer in peers {
        let standing = others.entry(peer.node).or_insert_with(|| unknown(peer.node));
        standing.session = match (peer.session.association, peer.session.live) {
            (Some(_), Some(_)) => "connected",
            (Some(_), None) => "reconnecting",
            (None, _) => "none",
        };
        standing.held_messages = peer.session.held_messages;
        standing.held_bytes = peer.session.held_bytes;
        standing.unconfirmed = peer.unconfirmed;
        standing.opened = peer.session.opened;
        if standing.session == "connected" {
            standing.failure = None;
        }
    }
    std::iter::once(own).chain(others.into_values()).collect()
}

/// Where the loader finds modules: this node, while it lives.
pub(crate) struct Library(pub(super) Weak<Inner>);

impl Library {
    fn node(&self) -> Option<Node> {
        self.0.upgrade().map(Node)
    }

    /// The current version stays in memory, so that the next process of it starts at once.
    fn keep_if_current(node: &Node, version: &ModuleVersion, program: &Arc<Program>) {
        let name = &version.name;
        if node.0.store.current(name).is_ok_and(|current| current.is_some_and(|c| c.version == version.version)) {
            node.0.shared.catalog.set_current(name.as_str(), Some(program.clone()));
        }
    }

    fn version(node: &Node, artifact: &[u8; 32]) -> Option<ModuleVersion> {
        let list = node.0.store.list().ok()?;
        list.into_iter().find(|version| version.hash.0 == *artifact)
    }

    /// A module that is loaded, or can be; `None` if this node does not have it.
    pub(crate) fn program(&self, artifact: &[u8; 32]) -> Option<Result<Arc<Program>, String>> {
        let node = self.node()?;
        if let Some(program) = node.0.shared.catalog.get(artifact) {
            return Some(Ok(program));
        }
        let version = Self::version(&node, artifact)?;
        let loaded = node.load_now(&version);
        if let Ok(program) = &loaded {
            Self::keep_if_current(&node, &version, program);
        }
        Some(loaded.map_err(|error| error.to_string()))
    }

    /// The bytes of a module.
    pub(crate) fn read(&self, artifact: &[u8; 32]) -> Option<Vec<u8>> {
        self.node()?.0.store.read(ArtifactHash(*artifact)).ok()
    }

    /// Takes a module that came from a node, checks it, and compiles it. A development version goes by its hash.
    pub(crate) fn take(
        &self,
        artifact: &[u8; 32],
        bytes: &[u8],
        from: NodeId,
        is_development: bool,
    ) -> Result<Arc<Program>, String> {
        let node = self.node().ok_or("the node is being stopped")?;
        let take = || -> Result<Arc<Program>, NodeError> {
            let prepared = prepare(bytes, &node.0.engine.config().module)?;
            let (name, version) = name_and_version(prepared.manifest())?;
            let binding = if is_development { Binding::Development } else { Binding::Release };
            let options = PutOptions { binding, source: Some(format!("node {from}")) };
            let put = node.0.store.put(bytes, &name, &version, options)?;
            if node.0.store.current(&put.name)?.is_none() {
                node.0.store.set_current(&put.name, &put.version)?;
            }
            let program = node.compile(&prepared, put.name.as_str(), &put.version.to_string())?;
            Self::keep_if_current(&node, &put, &program);
            Ok(program)
        };
        let taken = take();
        if let Err(error) = &taken {
            tracing::warn!(%from, artifact = %blake3::Hash::from_bytes(*artifact), %error, "a module was not taken");
        }
        taken.map_err(|error| error.to_string())
    }

    /// The longest module that is taken.
    pub(crate) fn module_bytes_max(&self) -> u64 {
        self.node().map_or(0, |node| node.0.engine.config().module.bytes_max as u64)
    }
}
