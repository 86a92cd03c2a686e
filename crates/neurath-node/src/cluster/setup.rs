//! How a node becomes part of a cluster, and what it needs to know for that.
//!
//! `DATA/cluster` holds its credentials and the addresses of other nodes, `DATA/authority` the cluster's authority, on
//! the node that has it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use neurath_kernel::{MembershipConfig, SessionConfig};
use neurath_net::memory::Hub;
use neurath_net::{
    Authority, AuthorityError, ControlDialer, Credentials, CredentialsError, Endpoint, Invitation, InvitationError,
    JoinError, Limits, ListenError, Member, NodeKey, Security, Tls, check_address, join, tcp,
};

use super::control::Control;
use super::loader::{self, Jobs};
use super::{Cluster, Whereabouts};

/// How long joining may take.
const JOIN_TIME: Duration = Duration::from_secs(20);

/// How a node speaks to others.
#[derive(Clone)]
pub struct ClusterConfig {
    /// What carries the bytes.
    pub transport: Transport,
    /// Where others reach it, if that is not where it listens.
    pub advertise: Option<String>,
    /// What people call it; taken from its certificate if it has one.
    pub name: Option<String>,
    /// Nodes to begin with, beside those that are remembered.
    pub peers: Vec<Member>,
    /// An invitation to a cluster that it is to join first.
    pub invitation: Option<String>,
    /// Times and limits of sessions.
    pub session: SessionConfig,
    /// Times and limits of membership.
    pub membership: MembershipConfig,
    /// Limits of the transport.
    pub limits: Limits,
}

/// What carries bytes between nodes.
#[derive(Clone)]
pub enum Transport {
    /// TCP with TLS and the cluster's certificates, at this address.
    Tls(String),
    /// TCP without anything, on this machine only: for benchmarks.
    PlainLoopback(String),
    /// Within this OS process, under this name.
    Memory(Hub, String),
}

impl std::fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let transport = match &self.transport {
            Transport::Tls(address) => format!("TLS at {address}"),
            Transport::PlainLoopback(address) => format!("plain at {address}"),
            Transport::Memory(_, name) => format!("memory as {name}"),
        };
        f.debug_struct("ClusterConfig").field("transport", &transport).finish_non_exhaustive()
    }
}

impl ClusterConfig {
    /// The defaults, with this transport.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            advertise: None,
            name: None,
            peers: Vec::new(),
            invitation: None,
            session: SessionConfig::default(),
            membership: MembershipConfig::default(),
            limits: Limits::default(),
        }
    }

    /// Another grace time for associations, with pings and pauses that fit to it.
    pub fn set_grace(&mut self, grace: Duration) {
        let grace_ns = grace.as_nanos() as u64;
        let session = &mut self.session;
        session.grace_ns = grace_ns;
        session.silence_max_ns = session.silence_max_ns.min(grace_ns);
        session.ping_after_ns = session.ping_after_ns.min(session.silence_max_ns / 3);
        session.backoff_max_ns = session.backoff_max_ns.min(grace_ns / 4).max(session.backoff_min_ns);
    }
}

/// Why a node cannot be part of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It has no credentials.
    #[error(
        "the node in {} belongs to no cluster yet: start it once with `--join TOKEN` (a node of the cluster prints one: `neurath cluster invite`), or make a new cluster with `neurath cluster init`",
        path.display()
    )]
    NoCredentials {
        /// Its data directory.
        path: PathBuf,
    },
    /// It was given an invitation and belongs to a cluster.
    #[error("the node in {} belongs to the cluster `{cluster}` already; start it without `--join`", path.display())]
    Member {
        /// Its data directory.
        path: PathBuf,
        /// The cluster.
        cluster: String,
    },
    /// It is to be the first of a cluster, and belongs to one.
    #[error(
        "the node in {} belongs to the cluster `{cluster}` already: it is started with `neurath node --listen ADDRESS`; a new cluster is made in another data directory, `--data DIR`",
        path.display()
    )]
    Made {
        /// Its data directory.
        path: PathBuf,
        /// The cluster.
        cluster: String,
    },
    /// It has another name than it was given now.
    #[error(
        "the node in {} is called `{name}`, as its certificate says, and keeps that: start it without `--name {wanted}` (or `name` in its configuration); a node with another name needs a data directory of its own",
        path.display()
    )]
    Named {
        /// Its data directory.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What it was to be called.
        wanted: String,
    },
    /// The invitation is none.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// It was not let in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its credentials are of no use.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Its authority is of no use.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What is said of where others reach it is no address of one node.
    #[error("others cannot dial `{address}`: {why}; say where they reach this node: `--advertise HOST:PORT`")]
    Advertised {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// That the node in `data` belongs to no cluster, so that one can be made there.
///
/// # Errors
/// It does.
pub fn in_no_cluster(data: &Path) -> Result<(), SetupError> {
    let folder = credentials_folder(data);
    if Credentials::exist(&folder) {
        let cluster = Credentials::load(&folder)?.cluster().to_owned();
        return Err(SetupError::Made { path: data.into(), cluster });
    }
    Ok(())
}

/// Makes a cluster whose authority is the node in `data`, and that node its first member.
///
/// # Errors
/// The node belongs to a cluster already, or the files cannot be written.
pub fn init(data: &Path, key: &NodeKey, cluster: &str, name: &str) -> Result<(), SetupError> {
    in_no_cluster(data)?;
    let folder = credentials_folder(data);
    let authority_folder = authority_folder(data);
    let authority = if Authority::exists(&authority_folder) {
        Authority::open(&authority_folder)?
    } else {
        Authority::create(&authority_folder, cluster)?
    };
    authority.issue_node(key, name)?.save(&folder)?;
    Ok(())
}

pub(crate) fn credentials_folder(data: &Path) -> PathBuf {
    data.join("cluster")
}

pub(crate) fn authority_folder(data: &Path) -> PathBuf {
    data.join("authority")
}

/// What a node begins with in its cluster.
pub(crate) struct Beginning {
    /// What the shards share.
    pub(crate) cluster: Cluster,
    /// For the net thread.
    pub(crate) endpoint: Box<dyn Endpoint>,
    /// For the loader.
    pub(crate) jobs: Jobs,
}

/// Joins if need be, opens the endpoint, and makes what the shards share.
pub(crate) fn start(data: &Path, seed: &[u8; 32], config: &ClusterConfig) -> Result<Beginning, SetupError> {
    let key = NodeKey::from_seed(seed);
    let folder = credentials_folder(data);
    std::fs::create_dir_all(&folder).map_err(|source| SetupError::Io { path: folder.clone(), source })?;
    let peers_file = folder.join("peers.json");
    let mut known = read_peers(&peers_file);
    known.extend(config.peers.iter().cloned());
    check_advertised(config)?;
    let mut name = config.name.clone().unwrap_or_else(|| format!("node-{}", &key.node_id().to_string()[..4]));
    let mut dialer = None;
    let endpoint: Box<dyn Endpoint> = match &config.transport {
        Transport::Tls(address) => {
            // Before anything that cannot be done again: an invitation is not used up by a start that fails.
            let bound = tcp::bind(address)?;
            if let Some(token) = &config.invitation {
                let listens = Some(address.as_str()).filter(|address| check_address(address).is_ok());
                let advertised = config.advertise.as_deref().or(listens);
                known.extend(join_cluster(data, &key, token, &name, advertised)?);
            }
            if !Credentials::exist(&folder) {
                return Err(SetupError::NoCredentials { path: data.into() });
            }
            let credentials = Credentials::load(&folder)?;
            if let Some(wanted) = config.name.as_ref().filter(|wanted| *wanted != credentials.name()) {
                return Err(SetupError::Named {
                    path: data.into(),
                    name: credentials.name().to_owned(),
                    wanted: wanted.clone(),
                });
            }
            name = credentials.name().to_owned();
            let tls = Tls::new(&key, &credentials)?;
            dialer = Some(ControlDialer::new(&key, &credentials)?);
            Box::new(bound.serve(tls, config.limits)?)
        }
        Transport::PlainLoopback(address) => {
            Box::new(tcp::listen(Some(address), Security::PlainLoopback(key.node_id()), config.limits)?)
        }
        Transport::Memory(hub, name) => Box::new(hub.listen(Some(name), key.node_id(), config.limits)?),
    };
    let authority_folder = authority_folder(data);
    let authority = Authority::exists(&authority_folder).then(|| Authority::open(&authority_folder)).transpose()?;
    let handle = endpoint.handle();
    let address = config.advertise.clone().or(handle.address());
    let (loader, jobs) = loader::queue();
    let directory = known
        .into_iter()
        .filter(|member| member.node != key.node_id())
        .map(|Member { node, name, address }| (node, Whereabouts { name, address }))
        .collect();
    let cluster = Cluster {
        node: key.node_id(),
        name,
        session: config.session,
        // No association ends for a suspicion before its grace time is over.
        membership: MembershipConfig {
            suspect_to_down_ns: config.membership.suspect_to_down_ns.max(config.session.grace_ns),
            ..config.membership
        },
        handle,
        control: Control::new(dialer),
        address,
        authority,
        directory: RwLock::new(directory),
        dials: Default::default(),
        last_dial: AtomicU64::new(1),
        failures: Default::default(),
        unconfirmed: Default::default(),
        unconfirmed_count: AtomicU64::new(0),
        refused_count: AtomicU64::new(0),
        loader,
        peers_file,
    };
    Ok(Beginning { cluster, endpoint, jobs })
}

/// That others can dial what they will be told, as far as it shows; before an invitation is used up.
fn check_advertised(config: &ClusterConfig) -> Result<(), SetupError> {
    let (Transport::Tls(listens) | Transport::PlainLoopback(listens)) = &config.transport else { return Ok(()) };
    let stands_for_all = || listens.parse::<SocketAddr>().is_ok_and(|listens| listens.ip().is_unspecified());
    let told = match &config.advertise {
        Some(address) => address,
        None if stands_for_all() => listens,
        // What else is wrong with it shows when it is listened at.
        None => return Ok(()),
    };
    check_address(told).map_err(|why| SetupError::Advertised { address: told.clone(), why })
}

fn join_cluster(
    data: &Path,
    key: &NodeKey,
    token: &str,
    name: &str,
    address: Option<&str>,
) -> Result<Vec<Member>, SetupError> {
    let folder = credentials_folder(data);
    let invitation: Invitation = token.parse()?;
    if Credentials::exist(&folder) {
        let cluster = Credentials::load(&folder)?.cluster().to_owned();
        return Err(SetupError::Member { path: data.into(), cluster });
    }
    let joined = join(&invitation, key, name, address, JOIN_TIME)?;
    joined.credentials.save(&folder)?;
    // The members are the way back in after a restart; the one that invited is among them.
    write_peers(&folder.join("peers.json"), &joined.members)
        .map_err(|source| SetupError::Io { path: folder.join("peers.json"), source })?;
    Ok(joined.members)
}

/// The addresses that were remembered; none of them is needed.
fn read_peers(path: &Path) -> Vec<Member> {
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "the remembered addresses of other nodes cannot be read");
        Vec::new()
    })
}

pub(super) fn write_peers(path: &Path, members: &[Member]) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(members).map_err(std::io::Error::other)?;
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, path)
}
