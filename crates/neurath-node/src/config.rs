//! What can be set about a node, with its defaults: as a value, and as the text of a file.
//!
//! It reads text and never a file: which file, and what wins over it, is the command's business.

mod file;
mod table;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use neurath_kernel::{KernelConfig, MembershipConfig, SessionConfig};

use crate::api;
pub use crate::bodies::Hibernation;
pub use crate::cluster::ClusterConfig;
pub use file::{ConfigError, default_file, read};

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
    /// Bytes of native stack that a guest may use.
    pub stack_bytes: usize,
    /// Bytes of a module's wasm.
    pub module_bytes: usize,
    /// Bytes of compiled code that are kept on disk.
    pub native_cache_bytes: u64,
    /// When processes that wait are kept as images.
    pub hibernation: Hibernation,
    /// Bytes of an image.
    pub image_bytes: usize,
    /// Bytes of a state that goes from one version to the next.
    pub state_bytes: usize,
    /// How long converting and starting may take for one process.
    pub upgrade_time: Duration,
    /// How long an `upgrade` waits for servers that are in the middle of a message.
    pub upgrade_patience: Duration,
    /// How long a shard watches its connections awake before it sleeps, when answers have been coming soon. It costs
    /// that much of a core, and spares both nodes being put to sleep and woken. Zero: never.
    pub watch: Duration,
    /// Guests of one shard that may keep a thread because they do not come to a safe point.
    pub detached_max: usize,
    /// How it speaks to other nodes, if it does.
    pub cluster: Option<ClusterConfig>,
    /// Tells Linux's `perf` the names of guests' functions.
    pub perf_map: bool,
    /// Lines of log that are kept.
    pub log_lines: usize,
    /// Deaths, and changes of code, that are remembered.
    pub events: usize,
    /// What the control API allows.
    pub api: ApiLimits,
    /// Traces that may run at a time.
    pub traces: usize,
    /// Where metrics are served without asking who wants them, beside the control API.
    pub metrics_listen: Option<SocketAddr>,
}

impl NodeConfig {
    /// The defaults, with this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            shards: cores(),
            kernel: KernelConfig::default(),
            memory_bytes: 64 << 20,
            stack_bytes: 512 << 10,
            module_bytes: 32 << 20,
            native_cache_bytes: 1 << 30,
            hibernation: Hibernation::default(),
            image_bytes: 64 << 20,
            state_bytes: 16 << 20,
            upgrade_time: Duration::from_secs(5),
            upgrade_patience: Duration::from_secs(10),
            watch: Duration::from_micros(60),
            detached_max: 64,
            cluster: None,
            perf_map: false,
            log_lines: 10_000,
            events: 1024,
            api: ApiLimits::default(),
            traces: 16,
            metrics_listen: None,
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

/// What the control API allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// Bytes of a request without a module; clients send no more than the default.
    pub request_bytes: usize,
    /// How long a call waits for its answer if the request does not say.
    pub call_within: Duration,
    /// How long it waits at most.
    pub call_within_max: Duration,
    /// Processes in one answer at most.
    pub processes: usize,
    /// Connections of operators and other nodes at a time.
    pub visitors: usize,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            request_bytes: api::REQUEST_BYTES_MAX,
            call_within: Duration::from_millis(api::CALL_WITHIN_MS),
            call_within_max: Duration::from_millis(api::CALL_WITHIN_MAX_MS),
            processes: api::PROCESSES_MAX,
            visitors: api::VISITORS_MAX,
        }
    }
}

/// All that a configuration file says: about the node, what is said to others, and what its command writes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node.
    pub node: NodeConfig,
    /// Whom it speaks to, for its [`ClusterConfig`] if it is to have one.
    pub cluster: ClusterSettings,
    /// What the command that runs it writes on standard error; the node itself only emits events.
    pub log: LogSettings,
    /// Of sessions, for its [`ClusterConfig`] if it is to have one.
    pub session: SessionConfig,
    /// Of membership, likewise.
    pub membership: MembershipConfig,
    /// Of connections, likewise.
    pub transport: neurath_net::Limits,
}

impl Settings {
    /// The defaults, with this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            node: NodeConfig::new(data),
            cluster: ClusterSettings::default(),
            log: LogSettings::default(),
            session: SessionConfig::default(),
            membership: MembershipConfig::default(),
            transport: neurath_net::Limits::default(),
        }
    }
}

/// See [`Settings::cluster`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Where it listens for other nodes; without it, it speaks to none.
    pub listen: Option<String>,
    /// Where others reach it, if that is another address.
    pub advertise: Option<String>,
    /// What people call it.
    pub name: Option<String>,
}

/// See [`Settings::log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How it is written.
    pub format: LogFormat,
    /// What the node says of itself.
    pub level: LogLevel,
    /// What processes write, beside what is kept for `neurath logs`.
    pub processes: LogLevel,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info, processes: LogLevel::Off }
    }
}

/// See [`LogSettings::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important that is still written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may fail.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Each step.
    Trace,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];
}

impl LogLevel {
    /// All of them, the quietest first.
    pub const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}
