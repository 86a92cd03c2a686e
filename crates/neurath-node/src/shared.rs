//! What the shards of one node share: the inboxes, the catalog, counters. Nothing on the path of a message.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use neurath_proto::Pid;
use neurath_proto::reason::ExitReason;

use crate::catalog::{Catalog, Clock};
use crate::cluster::Cluster;
use crate::config::NodeConfig;
use crate::inbox::Inbox;
use crate::shard::Input;

/// A process that ended otherwise than normally.
#[derive(Clone, Debug)]
pub struct Death {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who.
    pub pid: Pid,
    /// Why.
    pub reason: ExitReason,
}

/// One process's change of code, or the attempt.
#[derive(Clone, Debug)]
pub struct UpgradeEvent {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who.
    pub pid: Pid,
    /// `name@version` before.
    pub from: String,
    /// `name@version` that was to be.
    pub to: String,
    /// Why it was rolled back, if it was.
    pub result: Result<(), String>,
    /// Microseconds that the process stood still.
    pub took_us: u64,
}

/// See the module.
pub struct Shared {
    /// Limits.
    pub config: NodeConfig,
    /// The node's clocks.
    pub clock: Clock,
    /// Module versions in memory.
    pub catalog: Arc<Catalog>,
    /// One inbox for each shard.
    pub inboxes: Vec<Arc<Inbox<Input>>>,
    /// The other nodes, if there are any.
    pub cluster: Option<Arc<Cluster>>,
    ended: AtomicU64,
    deaths: Mutex<VecDeque<Death>>,
    upgrades: Mutex<VecDeque<UpgradeEvent>>,
    upgrades_counted: [AtomicU64; 2],
    /// Traces that run.
    pub traces: AtomicUsize,
    stopped: Mutex<usize>,
    all_stopped: Condvar,
}

impl Shared {
    /// What `config.shards` shards share.
    pub fn new(config: NodeConfig, clock: Clock, catalog: Arc<Catalog>, cluster: Option<Arc<Cluster>>) -> Self {
        let inboxes = (0..config.shards).map(|_| Arc::new(Inbox::new())).collect();
        Self {
            config,
            clock,
            catalog,
            cluster,
            inboxes,
            ended: AtomicU64::new(0),
            deaths: Mutex::default(),
            upgrades: Mutex::default(),
            upgrades_counted: [AtomicU64::new(0), AtomicU64::new(0)],
            traces: AtomicUsize::new(0),
            stopped: Mutex::new(0),
            all_stopped: Condvar::new(),
        }
    }

    /// A process has ended.
    pub fn ended(&self, pid: Pid, reason: ExitReason) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if reason.is_normal() {
            return;
        }
        tracing::debug!(%pid, %reason, "process ended");
        remember(&self.deaths, self.config.events, Death { at_ms: now_ms(), pid, reason });
    }

    /// A process has changed its code, or tried.
    pub fn upgraded(&self, pid: Pid, from: &str, to: &str, result: Result<(), String>, took: Duration) {
        self.upgrades_counted[usize::from(result.is_err())].fetch_add(1, Ordering::Relaxed);
        let took_us = took.as_micros() as u64;
        let event = UpgradeEvent { at_ms: now_ms(), pid, from: from.into(), to: to.into(), result, took_us };
        remember(&self.upgrades, self.config.events, event);
    }

    /// Processes that have ended since the start.
    pub fn ended_count(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Changes of code that were committed and that were rolled back, since the start.
    pub fn upgrade_counts(&self) -> (u64, u64) {
        (self.upgrades_counted[0].load(Ordering::Relaxed), self.upgrades_counted[1].load(Ordering::Relaxed))
    }

    /// The latest abnormal ends, oldest first.
    pub fn deaths(&self) -> Vec<Death> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The latest changes of code, oldest first.
    pub fn upgrades(&self) -> Vec<UpgradeEvent> {
        self.upgrades.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A shard has stopped.
    pub fn shard_stopped(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.all_stopped.notify_all();
    }

    /// Waits until all shards have stopped, at most for `at_most`; whether they have.
    pub fn wait_stopped(&self, at_most: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = self.inboxes.len();
        let waited = self.all_stopped.wait_timeout_while(stopped, at_most, |stopped| *stopped < shards);
        waited.is_ok_and(|(stopped, _)| *stopped >= shards)
    }
}

fn remember<T>(list: &Mutex<VecDeque<T>>, at_most: usize, event: T) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    if list.len() >= at_most {
        list.pop_front();
    }
    list.push_back(event);
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
