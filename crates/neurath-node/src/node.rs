//! [`Node`]: what an embedder and the control API call.
//!
//! Everything that takes time (reading, compiling) happens off the shards; shards are only sent commands.

use std::sync::Arc;
use std::time::Duration;

use neurath_code::store::{ArtifactHash, Binding, GetError, ModuleName, ModuleRef, ModuleVersion, PutOptions, Store};
use neurath_engine::{Engine, EngineConfig, ModuleLimits, Ticker, prepare};
use neurath_kernel::kernel::Refusal;
use neurath_kernel::{Kernel, Place, Program, Signal};
use neurath_proto::envelope::Class;
use neurath_proto::json::{from_json, from_json_with, to_json};
use neurath_proto::manifest::{Entry, EntryKind, Manifest};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Incarnation, NodeId, Pid, Ref, Schema, Serial};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::catalog::{Catalog, Clock, LoadedInfo, Surroundings, loaded};
use crate::cluster::gossip::Gossip;
use crate::cluster::loader::{Jobs, Loader};
use crate::cluster::peers::Peers;
use crate::cluster::{Beginning, Cluster, run_endpoint};
use crate::config::NodeConfig;
use crate::error::{NodeError, StartError};
use crate::guest::Guest;
use crate::identity::{self, Identity};
use crate::logs::Logs;
use crate::shard::{Answer, Asked, Command, Input, Network, Shard};
use crate::shared::{Death, Shared, UpgradeEvent};
use crate::types::TypeTable;

use arguments::encode_arguments;

pub use crate::shard::ProcessDetails;
pub(crate) use clustering::Library;
pub use clustering::{NodeStanding, create_operator, has_authority, init_cluster};
pub use upgrading::{UpgradeOptions, UpgradeReport};

mod arguments;
mod clustering;
mod running;
mod upgrading;
mod watching;

/// How a module is installed.
#[derive(Clone, Debug, Default)]
pub struct InstallOptions {
    /// As a development version: its hash becomes part of the version, so it never conflicts.
    pub dev: bool,
    /// Where it came from, for listings.
    pub source: Option<String>,
}

/// An installed module version.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    /// The module.
    pub package: String,
    /// Its semantic version.
    pub version: String,
    /// BLAKE3 of the artifact.
    pub hash: [u8; 32],
    /// Bytes of the artifact.
    pub size: u64,
    /// Where it came from, for people.
    pub source: Option<String>,
    /// Whether spawns without a version take it.
    pub current: bool,
    /// Whether its native code is in memory, and how many hold it.
    pub loaded: Option<LoadedInfo>,
    /// Processes that run it.
    pub processes: usize,
    /// What it offers.
    pub manifest: Option<Manifest>,
}

/// A running node; clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    identity: Identity,
    shared: Arc<Shared>,
    engine: Engine,
    store: Store,
    last_upgrade: std::sync::atomic::AtomicU64,
    last_trace: std::sync::atomic::AtomicU64,
    next_shard: std::sync::atomic::AtomicUsize,
    /// Upgrades and installations happen one after the other.
    changing: tokio::sync::Mutex<()>,
    _ticker: Ticker,
}

/// A process that is to be started.
struct Start {
    program: Arc<Program>,
    /// The entry's place in the manifest.
    entry: u32,
    /// Encoded.
    arguments: Vec<u8>,
    shard: usize,
}

impl Node {
    /// Starts a node on its data directory.
    ///
    /// # Errors
    /// The directory is not usable, or another node uses it.
    pub fn start(config: NodeConfig) -> Result<Self, StartError> {
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(&config.data)
            .map_err(|source| StartError::Data { path: config.data.clone(), source })?;
        let store = Store::open(config.data.join("store"))?;
        let unborn = identity::read(&config.data)?;
        let engine = Engine::new(EngineConfig {
            memory_bytes_max: config.memory_bytes as usize,
            stack_bytes_max: config.stack_bytes,
            state_bytes_max: config.state_bytes,
            image_bytes_max: config.image_bytes,
            perf_map: config.perf_map,
            cache: Some(config.data.join("native")),
            cache_bytes_max: config.native_cache_bytes,
            module: ModuleLimits { bytes_max: config.module_bytes, ..ModuleLimits::default() },
            ..EngineConfig::default()
        })?;
        let ticker = Ticker::start(&engine, Duration::from_millis(1)).map_err(StartError::Thread)?;
        let clock = Clock::start();
        let types = Arc::new(TypeTable::new());
        let logs = Arc::new(Logs::new(config.log_lines));
        let secret = blake3::derive_key("neurath 2026 random numbers of processes", &unborn.secret);
        let surroundings = Surroundings { types, logs, clock, secret };
        let catalog = Arc::new(Catalog::new(surroundings));
        crate::api::check(&config)?;
        let (cluster, endpoint) = match &config.cluster {
            Some(cluster) => {
                let Beginning { cluster, endpoint, jobs } =
                    crate::cluster::start(&config.data, &unborn.secret, cluster)
                        .map_err(|error| StartError::Cluster(Box::new(error)))?;
                (Some(Arc::new(cluster)), Some((endpoint, jobs)))
            }
            None => (None, None),
        };
        // Last of all that may fail because of how the node was started: such a start is no life.
        let identity = unborn.begin_life()?;
        let shared = Arc::new(Shared::new(config, clock, catalog, cluster));
        for shard in 0..shared.config.shards {
            start_shard(&shared, &identity, shard).map_err(StartError::Thread)?;
        }
        tracing::info!(node = %identity.node, incarnation = identity.incarnation.0, shards = shared.config.shards, "node started");
        let node = Self(Arc::new(Inner {
            identity,
            shared,
            engine,
            store,
            last_upgrade: Default::default(),
            last_trace: Default::default(),
            next_shard: Default::default(),
            changing: Default::default(),
            _ticker: ticker,
        }));
        if let (Some(cluster), Some((endpoint, jobs))) = (&node.0.shared.cluster, endpoint) {
            node.join_threads(cluster, endpoint, jobs).map_err(StartError::Thread)?;
        }
        Ok(node)
    }

    /// Starts the net thread and the loader.
    fn join_threads(
        &self,
        cluster: &Arc<Cluster>,
        endpoint: Box<dyn neurath_net::Endpoint>,
        jobs: Jobs,
    ) -> std::io::Result<()> {
        let inboxes = self.0.shared.inboxes.clone();
        let loader = Loader::new(Library(Arc::downgrade(&self.0)), inboxes.clone());
        let cluster = cluster.clone();
        std::thread::Builder::new().name("loader".into()).spawn(move || loader.run(&jobs))?;
        std::thread::Builder::new().name("net".into()).spawn(move || run_endpoint(endpoint, &cluster, &inboxes))?;
        Ok(())
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        self.0.identity.node
    }

    /// Which of its lives this is.
    pub fn incarnation(&self) -> Incarnation {
        self.0.identity.incarnation
    }

    /// How it was set up.
    pub fn config(&self) -> &NodeConfig {
        &self.0.shared.config
    }

    /// What guests say.
    pub fn logs(&self) -> &Arc<Logs> {
        &self.0.shared.catalog.surroundings().logs
    }

    /// The latest abnormal ends, oldest first.
    pub fn deaths(&self) -> Vec<Death> {
        self.0.shared.deaths()
    }

    /// The latest changes of code, oldest first.
    pub fn upgrade_events(&self) -> Vec<UpgradeEvent> {
        self.0.shared.upgrades()
    }

    /// Changes of code that were committed and that were rolled back, since the start.
    pub fn upgrade_counts(&self) -> (u64, u64) {
        self.0.shared.upgrade_counts()
    }

    /// Processes that have ended since the start.
    pub fn ended_count(&self) -> u64 {
        self.0.shared.ended_count()
    }

    /// Nanoseconds since the node started, on the clock of [`Refusal::at`].
    pub fn now_ns(&self) -> u64 {
        self.0.shared.clock.now()
    }

    /// Ends the node: guests are stopped where they are.
    pub fn stop(&self) {
        if let Some(cluster) = &self.0.shared.cluster {
            cluster.close();
        }
        for inbox in &self.0.shared.inboxes {
            inbox.push(Input::Command(Command::Stop));
        }
        self.0.shared.wait_stopped(Duration::from_secs(2));
    }

    // ---- modules ----

    /// Puts a module into the store. The first version of a module becomes current.
    ///
    /// # Errors
    /// It is no module for this node, or its version is taken by another artifact.
    pub async fn install(&self, wasm: Vec<u8>, options: InstallOptions) -> Result<ModuleInfo, NodeError> {
        let _one = self.0.changing.lock().await;
        let node = self.clone();
        let version = blocking(move || {
            let prepared = prepare(&wasm, &node.0.engine.config().module)?;
            // Compiled at once: what does not compile is not installed, and the first spawn is fast.
            drop(node.0.engine.compile::<Guest>(&prepared)?);
            let (name, version) = name_and_version(prepared.manifest())?;
            let binding = if options.dev { Binding::Development } else { Binding::Release };
            let put = PutOptions { binding, source: options.source };
            Ok::<_, NodeError>(node.0.store.put(&wasm, &name, &version, put)?)
        })
        .await?;
        if self.0.store.current(&version.name)?.is_none() {
            self.0.store.set_current(&version.name, &version.version)?;
        }
        let all = self.modules().await?;
        let installed = version.version.to_string();
        let found = all.into_iter().find(|m| m.package == version.name.as_str() && m.version == installed);
        found.ok_or(NodeError::Stopping)
    }

    /// Removes a module version from the store.
    ///
    /// # Errors
    /// It is unknown, current, or processes run it.
    pub async fn uninstall(&self, module: &str) -> Result<String, NodeError> {
        let _one = self.0.changing.lock().await;
        let version = self.0.store.get(&module.parse::<ModuleRef>()?)?;
        let name = version.to_string();
        let all = self.modules().await?;
        let same_package = || all.iter().filter(|m| m.package == version.name.as_str());
        if let Some(info) = same_package().find(|m| m.version == version.version.to_string()) {
            if info.processes > 0 {
                let why = match info.processes {
                    1 => "1 process runs it".to_owned(),
                    many => format!("{many} processes run it"),
                };
                return Err(NodeError::InUse(name, why));
            }
            if info.current && same_package().count() > 1 {
                let why = "it is current; upgrade to another version first".to_owned();
                return Err(NodeError::InUse(name, why));
            }
            if info.current {
                self.0.shared.catalog.set_current(version.name.as_str(), None);
            }
        }
        self.0.store.remove(&version.name, &version.version, |_| None)?;
        Ok(name)
    }

    /// All installed versions, by name and version.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn modules(&self) -> Result<Vec<ModuleInfo>, NodeError> {
        let loaded_now = self.0.shared.catalog.list();
        let processes = self.processes().await;
        let mut all = Vec::new();
        for version in self.0.store.list()? {
            let name = version.to_string();
            let current = self.0.store.current(&version.name)?.is_some_and(|v| v.version == version.version);
            let program = self.0.shared.catalog.get(&version.hash.0);
            all.push(ModuleInfo {
                current,
                loaded: loaded_now.iter().find(|info| info.hash == version.hash.0).cloned(),
                processes: processes.iter().filter(|p| p.info.program == name).count(),
                manifest: program.map(|program| loaded(&program).manifest.clone()),
                package: version.name.to_string(),
                version: version.version.to_string(),
                hash: version.hash.0,
                size: version.size_bytes,
                source: version.source,
            });
        }
        Ok(all)
    }

    /// One installed version, and what it offers.
    ///
    /// # Errors
    /// It is unknown or damaged.
    pub async fn module(&self, module: &str) -> Result<(ModuleInfo, Manifest), NodeError> {
        let version = self.0.store.get(&module.parse::<ModuleRef>()?)?;
        let program = self.load_version(version.clone()).await?;
        let name = version.version.to_string();
        let all = self.modules().await?;
        let found = all.into_iter().find(|m| m.package == version.name.as_str() && m.version == name);
        // It may have been removed in the meantime.
        let info = found.ok_or(GetError::UnknownHash { prefix: version.hash.to_string() })?;
        Ok((info, loaded(&program).manifest.clone()))
    }

    /// The manifest of an installed module.
    ///
    /// # Errors
    /// It is unknown or damaged.
    pub async fn manifest(&self, module: &str) -> Result<Manifest, NodeError> {
        let program = self.load(module).await?;
        Ok(loaded(&program).manifest.clone())
    }

    async fn load(&self, module: &str) -> Result<Arc<Program>, NodeError> {
        let version = self.0.store.get(&module.parse::<ModuleRef>()?)?;
        self.load_version(version).await
    }

    async fn load_version(&self, version: ModuleVersion) -> Result<Arc<Program>, NodeError> {
        if let Some(program) = self.0.shared.catalog.get(&version.hash.0) {
            return Ok(program);
        }
        let node = self.clone();
        blocking(move || node.load_now(&version)).await
    }

    /// Reads and compiles; it takes its time.
    fn load_now(&self, version: &ModuleVersion) -> Result<Arc<Program>, NodeError> {
        let wasm = self.0.store.read(ArtifactHash(version.hash.0))?;
        let prepared = prepare(&wasm, &self.0.engine.config().module)?;
        self.compile(&prepared, version.name.as_str(), &version.version.to_string())
    }

    /// What an upgrade to `module` means: without a version, the newest that is installed.
    fn newest(&self, module: &str) -> Result<ModuleVersion, NodeError> {
        let reference = module.parse::<ModuleRef>()?;
        let found = self.0.store.get(&reference)?;
        if !matches!(reference, ModuleRef::Name(_)) {
            return Ok(found);
        }
        let newer = self.0.store.versions(&found.name)?;
        let rank = |v: &ModuleVersion| (v.version.major, v.version.minor, v.version.patch, v.sequence);
        Ok(newer.into_iter().max_by_key(rank).unwrap_or(found))
    }

    fn compile(
        &self,
        prepared: &neurath_engine::Prepared,
        package: &str,
        version: &str,
    ) -> Result<Arc<Program>, NodeError> {
        let module = self.0.engine.compile(prepared)?;
        let name = format!("{package}@{version}");
        let catalog = &self.0.shared.catalog;
        Ok(catalog.add(*prepared.hash(), name, module, prepared.manifest().clone())?)
    }

    /// Loads the current version of a package, and keeps it in memory.
    async fn load_current(&self, package: &str) -> Result<Arc<Program>, NodeError> {
        if let Some(program) = self.0.shared.catalog.current(package) {
            return Ok(program);
        }
        let program = self.load(package).await?;
        self.0.shared.catalog.set_current(package, Some(program.clone()));
        Ok(program)
    }

    // ---- processes ----

    /// Starts a process: `module` is a name, `name@version` or a hash; `entry` may be left out if there is one.
    ///
    /// # Errors
    /// The module or entry is unknown, or the arguments do not fit.
    pub async fn spawn(&self, module: &str, entry: Option<&str>, arguments: &Value) -> Result<Pid, NodeError> {
        let Start { program, entry, arguments, shard } = self.start_of(module, entry, arguments).await?;
        let (reply, answer) = oneshot::channel();
        self.command(shard, Command::Spawn { program, entry, arguments, reply });
        answer.await.map_err(|_| NodeError::Stopping)?.map_err(NodeError::NotSpawned)
    }

    async fn start_of(&self, module: &str, entry: Option<&str>, arguments: &Value) -> Result<Start, NodeError> {
        let program = if module.contains('@') { self.load(module).await? } else { self.load_current(module).await? };
        let code = loaded(&program);
        let (index, entry) = choose_entry(&code.name, &code.manifest, entry)?;
        let arguments = encode_arguments(entry, arguments)?;
        let shard = self.0.next_shard.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % self.0.shared.inboxes.len();
        Ok(Start { program, entry: index, arguments, shard })
    }

    /// Sends a message, given as JSON, to a pid or a name.
    ///
    /// # Errors
    /// There is no such process, or it takes no such message.
    pub async fn send(&self, target: &str, message: &Value) -> Result<(), NodeError> {
        let pid = self.find_here(target).await?;
        let (entry, schemas) = self.takes(target, pid, false).await?;
        let (schema, class) = self.fit(target, &entry, &schemas, message, None)?;
        let value = message.clone();
        let types = self.0.shared.catalog.surroundings().types.clone();
        let id = types.intern(Schema::clone(&schema))?;
        let message = Box::new(move |_: Pid, _: Ref| {
            let payload = from_json(&schema, &value).unwrap_or_default();
            Asked { to: pid, class, reference: Ref::NONE, schema: id, payload }
        });
        let (reply, answer) = oneshot::channel();
        self.command(self.shard_of(pid), Command::Ask { message, reply });
        answer.await.map_err(|_| NodeError::Stopping)?.map(drop).map_err(NodeError::Call)
    }

    /// Asks a process and waits for its answer: a server's call, or a message whose one `ReplyTo` is filled in.
    ///
    /// # Errors
    /// There is no such process, it takes no such question, or there is no answer in time.
    pub async fn call(&self, target: &str, message: &Value, within: Duration) -> Result<Value, NodeError> {
        let pid = self.find_here(target).await?;
        let (entry, schemas) = self.takes(target, pid, true).await?;
        let (schema, class) = self.fit(target, &entry, &schemas, message, Some(()))?;
        let types = self.0.shared.catalog.surroundings().types.clone();
        let id = types.intern(Schema::clone(&schema))?;
        let value = message.clone();
        let message = Box::new(move |from: Pid, reference: Ref| {
            let payload = from_json_with(&schema, &value, Some((from, reference))).map_or_else(|_| Vec::new(), |f| f.0);
            Asked { to: pid, class, reference, schema: id, payload }
        });
        let (reply, answer) = oneshot::channel();
        self.command(self.shard_of(pid), Command::Ask { message, reply });
        self.answer(answer, within).await
    }

    /// Which of the types that a process takes a JSON value is; it is within the limit for one message.
    fn fit(
        &self,
        target: &str,
        entry: &Entry,
        schemas: &[(Arc<Schema>, Class)],
        value: &Value,
        asks: Option<()>,
    ) -> Result<(Arc<Schema>, Class), NodeError> {
        let (schema, class, bytes) = fit(target, entry, schemas, value, asks)?;
        let limit = self.config().kernel.port.message_bytes;
        if bytes > limit as usize {
            return Err(NodeError::TooLarge { process: target.to_owned(), bytes, limit });
        }
        Ok((schema, class))
    }

    /// Waits for an answer, and shows it.
    async fn answer(
        &self,
        answer: oneshot::Receiver<Result<Answer, CallError>>,
        within: Duration,
    ) -> Result<Value, NodeError> {
        let answer = match tokio::time::timeout(within, answer).await {
            Err(_) => return Err(NodeError::Call(CallError::TimedOut)),
            Ok(answer) => answer.map_err(|_| NodeError::Stopping)?.map_err(NodeError::Call)?,
        };
        let Answer { schema, payload } = answer;
        let schema = self
            .0
            .shared
            .catalog
            .surroundings()
            .types
            .schema(schema)
            .ok_or_else(|| NodeError::Answer("its type is unknown".into()))?;
        to_json(&schema, &payload).map_err(|e| NodeError::Answer(e.to_string()))
    }

    /// What a process can be sent, or asked.
    async fn takes(&self, target: &str, pid: Pid, asks: bool) -> Result<(Entry, Vec<(Arc<Schema>, Class)>), NodeError> {
        let (program, index) =
            self.program_of(pid).await?.ok_or_else(|| NodeError::UnknownProcess(target.to_owned()))?;
        let code = loaded(&program);
        let entry = code.manifest.entries[index as usize].clone();
        let mut schemas = Vec::new();
        if asks {
            schemas.extend(entry.call.iter().map(|s| (Arc::new(s.clone()), Class::Call)));
        } else {
            schemas.extend(entry.cast.iter().map(|s| (Arc::new(s.clone()), Class::Cast)));
        }
        schemas.extend(entry.accepts.iter().map(|s| (Arc::new(s.clone()), Class::Message)));
        if schemas.is_empty() {
            let hint = match entry.kind {
                EntryKind::Server if asks => "it is a server without calls; use `neurath send`",
                EntryKind::Server => "it is a server without casts; use `neurath call`",
                _ => "declare them: `#[neurath::process(accepts(Type))]`",
            };
            let what = if asks { "calls" } else { "messages that it declares" };
            return Err(NodeError::TakesNone { process: target.to_owned(), what, hint: hint.into() });
        }
        Ok((entry, schemas))
    }

    async fn program_of(&self, pid: Pid) -> Result<Option<(Arc<Program>, u32)>, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(self.shard_of(pid), Command::ProgramOf(pid, reply));
        answer.await.map_err(|_| NodeError::Stopping)
    }

    /// The pid that a pid's text, a bare serial or a registered name stands for.
    ///
    /// # Errors
    /// Nobody has the name.
    pub async fn find(&self, target: &str) -> Result<Pid, NodeError> {
        if let Ok(pid) = target.parse::<Pid>() {
            return Ok(pid);
        }
        if let Ok(serial) = target.parse::<u64>() {
            return Ok(Pid::new(self.id(), self.incarnation(), Serial(serial)));
        }
        let (reply, answer) = oneshot::channel();
        self.command(0, Command::Whereis(target.to_owned(), reply));
        let found = answer.await.map_err(|_| NodeError::Stopping)?;
        found.ok_or_else(|| NodeError::UnknownProcess(target.to_owned()))
    }

    async fn find_here(&self, target: &str) -> Result<Pid, NodeError> {
        let pid = self.find(target).await?;
        self.must_be_here(target, pid)?;
        Ok(pid)
    }

    /// All processes, by pid.
    pub async fn processes(&self) -> Vec<ProcessDetails> {
        let mut all = self.gather(Command::List).await.concat();
        all.sort_by_key(|details| details.info.pid);
        all
    }

    /// One process.
    ///
    /// # Errors
    /// There is none.
    pub async fn info(&self, target: &str) -> Result<ProcessDetails, NodeError> {
        let pid = self.find_here(target).await?;
        let (reply, answer) = oneshot::channel();
        self.command(self.shard_of(pid), Command::Info(pid, reply));
        let found = answer.await.map_err(|_| NodeError::Stopping)?;
        found.ok_or_else(|| NodeError::UnknownProcess(target.to_owned()))
    }

    /// Messages that were refused and that found nobody, since the start, and the latest of them.
    pub async fn refusals(&self) -> (u64, u64, Vec<Refusal>) {
        let mut all = (0, 0, Vec::new());
        for (refused, undeliverable, latest) in self.gather(Command::Refusals).await {
            all.0 += refused;
            all.1 += undeliverable;
            all.2.extend(latest);
        }
        all.2.sort_by_key(|refusal: &Refusal| refusal.at);
        all
    }

    /// Ends a process; `force` cannot be caught, otherwise it is asked to exit.
    ///
    /// # Errors
    /// There is none.
    pub async fn kill(&self, target: &str, force: bool) -> Result<Pid, NodeError> {
        let pid = self.info(target).await?.info.pid;
        let signal = if force {
            Signal::Kill { to: pid, by: None }
        } else {
            let from = Pid::new(self.id(), self.incarnation(), Serial(0));
            Signal::Exit { to: pid, from, reason: ExitReason::Killed { by: None }, linked: false }
        };
        self.0.shared.inboxes[self.shard_of(pid)].push(Input::Signal(signal));
        Ok(pid)
    }

    // ---- shards ----

    fn shard_of(&self, pid: Pid) -> usize {
        (pid.serial.0 % self.0.shared.inboxes.len() as u64) as usize
    }

    fn command(&self, shard: usize, command: Command) {
        self.0.shared.inboxes[shard].push(Input::Command(command));
    }

    async fn gather<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let mut waiting = Vec::new();
        for shard in 0..self.0.shared.inboxes.len() {
            let (reply, answer) = oneshot::channel();
            self.command(shard, command(reply));
            waiting.push(answer);
        }
        let mut all = Vec::new();
        for answer in waiting {
            all.extend(answer.await.ok());
        }
        all
    }
}

fn start_shard(shared: &Arc<Shared>, identity: &Identity, shard: u32) -> std::io::Result<()> {
    let Identity { node, incarnation, .. } = *identity;
    let place = Place { node, incarnation, shard, shards: shared.config.shards };
    let types = shared.catalog.surroundings().types.clone();
    let known = types.known();
    let mut kernel = Kernel::new(place, shared.config.kernel, types.clone(), known);
    let network = match &shared.cluster {
        Some(cluster) => {
            kernel.set_name(&cluster.name);
            let (peers, waker) = Peers::new(cluster.clone(), types, incarnation)?;
            shared.inboxes[shard as usize].set_waker(waker);
            let seed = identity.node.0 ^ u64::from(incarnation.0);
            let now = shared.clock.now();
            let gossip = (shard == 0).then(|| Gossip::new(cluster.clone(), incarnation, seed, now));
            Some(Network::new(cluster.clone(), peers, gossip))
        }
        None => None,
    };
    let shared = shared.clone();
    std::thread::Builder::new()
        .name(format!("shard {shard}"))
        .spawn(move || Shard::run(Shard::new(kernel, shared, shard, network)))
        .map(drop)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| NodeError::Stopping)?
}

/// What a module is to be called in the store.
fn name_and_version(manifest: &Manifest) -> Result<(ModuleName, semver::Version), NodeError> {
    let version = manifest.version.parse();
    let version = version.map_err(|source| NodeError::ModuleVersion { version: manifest.version.clone(), source })?;
    Ok((manifest.package.parse()?, version))
}

fn choose_entry<'m>(module: &str, manifest: &'m Manifest, wanted: Option<&str>) -> Result<(u32, &'m Entry), NodeError> {
    let known = || manifest.entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ");
    let entries = || manifest.entries.iter().enumerate().map(|(i, e)| (i as u32, e));
    match wanted {
        Some(name) => entries().find(|(_, e)| e.name == name).ok_or_else(|| NodeError::UnknownEntry {
            module: module.into(),
            entry: name.into(),
            known: known(),
        }),
        None => {
            let namesake = entries().find(|(_, e)| e.name == manifest.package.replace('-', "_"));
            match (namesake, manifest.entries.len()) {
                (Some(found), _) => Ok(found),
                (None, 1) => entries().next().ok_or(NodeError::Stopping),
                _ => Err(NodeError::WhichEntry { module: module.into(), known: known() }),
            }
        }
    }
}

/// Which of the types that a process takes a JSON value is, and the bytes that it has as that.
fn fit(
    target: &str,
    entry: &Entry,
    schemas: &[(Arc<Schema>, Class)],
    value: &Value,
    asks: Option<()>,
) -> Result<(Arc<Schema>, Class, usize), NodeError> {
    let mut first_error = None;
    let mut fits_without_reply = false;
    for (schema, class) in schemas {
        match from_json_with(schema, value, asks.map(|()| (Pid::default(), Ref::new(1, 1)))) {
            Ok((bytes, filled)) if asks.is_none() || *class == Class::Call || filled == 1 => {
                return Ok((schema.clone(), *class, bytes.len()));
            }
            Ok(_) => fits_without_reply = true,
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    let wanted = schemas.iter().map(|(schema, _)| schema.name()).collect::<Vec<_>>().join(" | ");
    match first_error {
        Some(source) if !fits_without_reply => {
            Err(NodeError::Json { what: format!("the message for {target} (`{}`)", entry.name), source, wanted })
        }
        _ => Err(NodeError::TakesNone {
            process: target.to_owned(),
            what: "such question: the message has no `ReplyTo` to be answered to",
            hint: "use `neurath send`".into(),
        }),
    }
}
