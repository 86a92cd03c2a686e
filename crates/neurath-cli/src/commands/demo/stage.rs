//! [`Stage`]: the node of a demo, its clock, and how to ask and wait there.
//!
//! Invariant: everything waits with a deadline, and for what it can observe; time alone only spreads what happens.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use neurath_node::{InstallOptions, Node, NodeConfig, UpgradeEvent, UpgradeOptions};
use neurath_proto::Pid;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::guests::Guest;
use crate::failure::Failure;
use crate::output::Bar;

/// Nothing on this node takes so long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Stage {
    node: Node,
    length: Duration,
    began: Instant,
    began_unix_ms: u64,
}

impl Stage {
    /// A node with these modules, the first version of each current. The clock starts when they are installed.
    pub(super) async fn start(data: &Path, length: Duration, guests: &[Guest]) -> Result<Self, Failure> {
        let mut config = NodeConfig::new(data);
        // Messages shall cross from shard to shard, also where there is but one core.
        config.shards = config.shards.clamp(2, 8);
        let node = Node::start(config).map_err(Failure::new)?;
        for guest in guests {
            let installed = node.install(guest.wasm.clone(), InstallOptions::default()).await;
            installed.map_err(|error| Failure::new(format!("{}: {error}", guest.file.display())))?;
        }
        let began_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Ok(Self { node, length, began: Instant::now(), began_unix_ms })
    }

    pub(super) fn stop(&self) {
        self.node.stop();
    }

    pub(super) fn shards(&self) -> u32 {
        self.node.config().shards
    }

    /// How long clients ask.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Since the clock started.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Milliseconds after the start at which something happened.
    pub(super) fn at_ms(&self, event: &UpgradeEvent) -> u64 {
        event.at_ms.saturating_sub(self.began_unix_ms)
    }

    /// Waits until this part of the time is over.
    pub(super) async fn reach(&self, part: f64) {
        sleep_until((self.began + self.length.mul_f64(part)).into()).await;
    }

    pub(super) async fn show_progress(&self, bar: &Bar) -> Infallible {
        loop {
            let percent = 100 * self.elapsed().as_millis() / self.length.as_millis().max(1);
            bar.at(percent.min(100) as usize, 100, "% upgrading under load");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a process of a module version.
    pub(super) async fn spawn(&self, module: &str, entry: &str, arguments: Value) -> Result<Pid, Failure> {
        self.node.spawn(module, Some(entry), &arguments).await.map_err(Failure::new)
    }

    /// Asks a process.
    pub(super) async fn ask(&self, pid: Pid, question: &Value) -> Result<Value, Failure> {
        ask(self.node.clone(), pid, question.clone()).await
    }

    /// Asks several processes at once.
    pub(super) async fn ask_all(&self, pids: &[Pid], question: &Value) -> Result<Vec<Value>, Failure> {
        let mut asked = JoinSet::new();
        for pid in pids {
            asked.spawn(ask(self.node.clone(), *pid, question.clone()));
        }
        asked.join_all().await.into_iter().collect()
    }

    /// Asks a process for a number.
    pub(super) async fn ask_number(&self, pid: Pid, question: &Value) -> Result<i64, Failure> {
        let answer = self.ask(pid, question).await?;
        number(&answer).ok_or_else(|| Failure::new(format!("{pid} answers {question} with {answer}, not a number")))
    }

    /// Sends a message; an error if the process takes no such thing.
    pub(super) async fn send(&self, pid: Pid, message: &Value) -> Result<(), Failure> {
        self.node.send(&pid.to_string(), message).await.map_err(Failure::new)
    }

    /// Ends a process.
    pub(super) async fn kill(&self, pid: Pid) -> Result<(), Failure> {
        self.node.kill(&pid.to_string(), true).await.map(drop).map_err(Failure::new)
    }

    /// Which shard a process is on, and what code it runs.
    pub(super) async fn where_and_what(&self, pid: Pid) -> Result<(u32, String), Failure> {
        let details = self.node.info(&pid.to_string()).await.map_err(Failure::new)?;
        Ok((details.shard, details.info.program))
    }

    /// Makes a version current and changes the servers to it.
    pub(super) async fn upgrade(&self, module: &str) -> Result<(), Failure> {
        let options = UpgradeOptions { patience: Some(PATIENCE), dry_run: false };
        self.node.upgrade(module, options).await.map(drop).map_err(Failure::new)
    }

    /// What came of a change of code to a version, when it has come.
    pub(super) async fn changed(
        &self,
        to: &str,
        mut of: impl FnMut(&UpgradeEvent) -> bool,
    ) -> Result<UpgradeEvent, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.node.upgrade_events().into_iter().rev().find(|event| event.to == to && of(event));
            match found {
                Some(event) => return Ok(event),
                None if Instant::now() > deadline => {
                    return Err(Failure::new(format!("no process has tried to change to {to}")).of_demo());
                }
                None => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Messages that their receivers refused.
    pub(super) async fn refused(&self) -> u64 {
        self.node.refusals().await.0
    }
}

async fn ask(node: Node, pid: Pid, question: Value) -> Result<Value, Failure> {
    let answer = node.call(&pid.to_string(), &question, PATIENCE).await;
    answer.map_err(|error| Failure::new(format!("{pid} does not answer {question}: {error}")).of_demo())
}

/// The number that an answer is, or that its variant holds.
fn number(answer: &Value) -> Option<i64> {
    match answer {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.parse().ok(),
        Value::Object(variant) => variant.values().next().and_then(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_numbers_or_hold_one() {
        for answer in [json!(7), json!("7"), json!({"Cents": 7})] {
            assert_eq!(number(&answer), Some(7));
        }
        assert_eq!(number(&json!("Refused")), None);
    }
}
