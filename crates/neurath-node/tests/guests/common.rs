//! [`World`]: a node with guests in a directory of its own, and how tests wait.
//!
//! Invariant: nothing waits for time to pass, only for what is to be seen, and never for ever.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neurath_node::{
    InstallOptions, Member, Node, NodeConfig, ProcessDetails, UpgradeEvent, UpgradeOptions, manifest_of,
};
use neurath_proto::Pid;
use neurath_proto::reason::ExitReason;
use serde_json::{Value, json};

/// When a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub const SHARDS: u32 = 2;

/// A node, and the directory that is removed with it.
pub struct World {
    pub node: Node,
    _data: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.node.stop();
    }
}

impl World {
    /// A node with these guests.
    pub async fn with(guests: &[&str]) -> Self {
        Self::configured(guests, |_| {}).await
    }

    /// A node with these guests and other settings.
    pub async fn configured(guests: &[&str], configure: impl FnOnce(&mut NodeConfig)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = NodeConfig { shards: SHARDS, ..NodeConfig::new(data.path()) };
        configure(&mut config);
        let world = Self { node: Node::start(config).unwrap(), _data: data };
        for name in guests {
            let wasm = guest(name);
            let manifest = manifest_of(&wasm).unwrap();
            let installed = world.node.install(wasm, InstallOptions::default()).await.unwrap();
            assert_eq!((&installed.package, &installed.version), (&manifest.package, &manifest.version));
        }
        world
    }

    /// This node as others are told of it, if it listens in memory under its name.
    pub fn member(&self, name: &str) -> Member {
        Member { node: self.node.id(), name: name.into(), address: name.into() }
    }

    pub async fn spawn(&self, module: &str, entry: &str, arguments: Value) -> Pid {
        self.node.spawn(module, Some(entry), &arguments).await.unwrap()
    }

    pub async fn send(&self, to: Pid, message: Value) {
        self.node.send(&to.to_string(), &message).await.unwrap();
    }

    pub async fn call(&self, to: Pid, message: Value) -> Value {
        match self.node.call(&to.to_string(), &message, PATIENCE).await {
            Ok(answer) => answer,
            Err(error) => panic!("{to} was asked {message}: {error}"),
        }
    }

    pub async fn info(&self, of: Pid) -> ProcessDetails {
        self.node.info(&of.to_string()).await.unwrap()
    }

    pub async fn lives(&self, pid: Pid) -> bool {
        self.node.info(&pid.to_string()).await.is_ok()
    }

    pub async fn kill(&self, pid: Pid) {
        self.node.kill(&pid.to_string(), true).await.unwrap();
        self.ended(pid).await;
    }

    pub async fn ended(&self, pid: Pid) {
        eventually("the end of a process", async || (!self.lives(pid).await).then_some(())).await;
    }

    /// Why a process ended, once it has, otherwise than normally.
    pub async fn death(&self, pid: Pid) -> ExitReason {
        let died = async || self.node.deaths().into_iter().find(|death| death.pid == pid);
        eventually("an abnormal end", died).await.reason
    }

    /// The nth change of code of a process, or attempt at one.
    pub async fn upgrade_event(&self, of: Pid, nth: usize) -> UpgradeEvent {
        let event = async || self.node.upgrade_events().into_iter().filter(|event| event.pid == of).nth(nth);
        eventually("a change of code", event).await
    }

    /// The first line with `text` that `pid` logged.
    pub async fn logged(&self, pid: Pid, text: &str) -> String {
        let line = async || {
            let mut lines = self.node.logs().since(0).into_iter();
            lines.find(|line| line.pid == pid && line.text.contains(text)).map(|line| line.text)
        };
        eventually(&format!("a line of log with `{text}`"), line).await
    }

    /// Asserts that a counter, its shard and its answers are as they should be.
    pub async fn assert_counts(&self, counter: Pid, sum: i64, version: u32) {
        let (found, by) = (self.call(counter, json!("Get")).await, self.call(counter, json!("Version")).await);
        assert_eq!((found, by), (json!(sum), json!(version)));
    }

    /// Counters of version 1, one on each shard: to show that others are not disturbed.
    pub async fn counters(&self) -> Vec<Pid> {
        let mut counters = Vec::new();
        for n in 0..self.node.config().shards {
            counters.push(self.spawn("counter", "counter", json!([n])).await);
        }
        let mut shards = Vec::new();
        for counter in &counters {
            shards.push(self.info(*counter).await.shard);
        }
        shards.sort_unstable();
        assert_eq!(shards, (0..self.node.config().shards).collect::<Vec<_>>(), "spawns go round the shards");
        counters
    }

    /// Asserts that those counters still answer.
    pub async fn assert_undisturbed(&self, counters: &[Pid]) {
        for (n, counter) in counters.iter().enumerate() {
            self.assert_counts(*counter, n as i64, 1).await;
        }
    }
}

/// The settings of an upgrade that nobody changed.
pub fn plainly() -> UpgradeOptions {
    UpgradeOptions { patience: None, dry_run: false }
}

/// A guest's artifact, by the name of its directory in `programs/`.
pub fn guest(name: &str) -> Vec<u8> {
    let path = guests().join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask test`", path.display()))
}

fn guests() -> PathBuf {
    let named = std::env::var_os("NEURATH_GUESTS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests"))
}

/// What `look` finds, as soon as it finds something. It is the one place where these tests sleep: a node's own
/// threads do the work, and there is nothing to be woken by.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
