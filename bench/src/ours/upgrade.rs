//! Servers upgraded under load: one client calls the first again and again, another casts to all in turn.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use neurath_node::UpgradeOptions;
use serde_json::{Value, json};

use super::{OLD, Ours, number, print, print_latency};

/// How long there is load before the upgrade.
const WARM_UP: Duration = Duration::from_millis(20);

const NEW: &str = "bench@2.0.0";

impl Ours {
    /// One upgrade of `count` servers.
    pub(super) async fn upgrade(&self, count: u64) -> Result<()> {
        let (keepers, servers) = self.servers(count).await?;
        let caller = self.spawn("caller", json!([servers[0]])).await?;
        let caster = self.spawn("caster", json!([servers])).await?;
        tokio::time::sleep(WARM_UP).await;
        self.call(&caller, &json!("Forget")).await?;

        let since = Instant::now();
        let report = self.node.upgrade(NEW, options()).await?;
        let total = since.elapsed();

        let called = self.call(&caller, &json!("Stop")).await?;
        let cast = self.call(&caster, &json!("Stop")).await?;
        print("value", total.as_secs_f64() * 1e3);
        print("longest_pause", number(&called["gaps"], "max_ns")? / 1e6);
        print_latency(&called["gaps"])?;
        for key in ["sent", "lost", "duplicated"] {
            print(key, number(&called, key)? + number(&cast, key)?);
        }
        print("rolled_back", report.rolled_back.len() as f64);
        if report.committed.len() as u64 + report.rolled_back.len() as u64 != count {
            bail!("of {count} servers {} were upgraded: {report:?}", report.committed.len());
        }
        if number(&cast, "by_new")? < report.committed.len() as f64 {
            bail!("upgraded servers answered with their old code");
        }
        self.begin_anew(keepers, servers).await
    }

    /// Servers of the old version, half of them on each of two shards; and who keeps them.
    async fn servers(&self, count: u64) -> Result<(Vec<String>, Vec<Value>)> {
        let (mut keepers, mut servers) = (Vec::new(), Vec::new());
        for some in [count - count / 2, count / 2] {
            let keeper = self.spawn("keeper", json!([])).await?;
            let start = json!({ "Start": { "count": some, "ballast": 0 } });
            match self.call(&keeper, &start).await? {
                Value::Array(pids) => servers.extend(pids),
                other => bail!("these are no pids: {other}"),
            }
            keepers.push(keeper);
        }
        Ok((keepers, servers))
    }

    /// Ends everything and makes the old version current again, so that the new one's code is unloaded.
    async fn begin_anew(&self, keepers: Vec<String>, mut servers: Vec<Value>) -> Result<()> {
        for keeper in keepers {
            let servers = std::mem::take(&mut servers);
            self.call(&keeper, &json!({ "End": { "servers": servers } })).await?;
        }
        while !self.node.processes().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.node.upgrade(OLD, options()).await?;
        Ok(())
    }
}

fn options() -> UpgradeOptions {
    UpgradeOptions { patience: None, dry_run: false }
}
