//! What can be set about a node, with its defaults.

use std::path::PathBuf;
use std::time::Duration;

use neurath_kernel::KernelConfig;

pub use crate::bodies::Hibernation;
pub use crate::cluster::ClusterConfig;

/// Everything that can be set. Only the path has no default.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Identity, artifacts, compiled code and the control socket live here.
    pub data: PathBuf,
    /// One for each core, unless set.
    pub shards: u32,
    /// Limits of the shards and of each process.
    pub kernel: KernelConfig,
    /// Bytes of linear memory that a process may have.
    pub memory_bytes: u64,
    /// When processes that wait are kept as images.
    pub hibernation: Hibernation,
    /// How long converting and starting may take for one process.
    pub upgrade_time: Duration,
    /// How long an `upgrade` waits for servers that are in the middle of a message.
    pub upgrade_patience: Duration,
    /// Guests of one shard that may keep a thread because they do not come to a safe point.
    pub detached_max: usize,
    /// How it speaks to other nodes, if it does.
    pub cluster: Option<ClusterConfig>,
    /// Tells Linux's `perf` the names of guests' functions.
    pub perf_map: bool,
    /// Lines of log that are kept.
    pub log_lines: usize,
}

impl NodeConfig {
    /// The defaults, with this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            shards: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            kernel: KernelConfig::default(),
            memory_bytes: 64 << 20,
            hibernation: Hibernation::default(),
            upgrade_time: Duration::from_secs(5),
            upgrade_patience: Duration::from_secs(10),
            detached_max: 64,
            cluster: None,
            perf_map: false,
            log_lines: 10_000,
        }
    }
}
