//! Three nodes as three processes of the operating system, of which one is killed in the middle: who noticed, when, and
//! whether the others lost anything.
//!
//! It does what an operator would: it makes a cluster, invites, starts nodes, and asks them over their sockets.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use neurath_node::api::Client;
use neurath_node::api::view::{CallRequest, InviteRequest, SpawnRequest};
use serde::Serialize;
use serde_json::{Value, json};

use super::guests::Guest;
use crate::failure::Failure;

/// How long an association outlives its connection here.
const GRACE_MS: u64 = 1500;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages of one order to a source.
const BURST: u64 = 500;

/// See the module.
#[derive(Serialize)]
pub(super) struct Nodes {
    pub(super) nodes: Vec<String>,
    pub(super) grace_ms: u64,
    /// The one that was killed, with SIGKILL.
    pub(super) killed: String,
    pub(super) noticed: Vec<Noticed>,
    /// Between those that lived.
    pub(super) sent: u64,
    pub(super) arrived: u64,
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    /// Milliseconds until the killed node, started again, was connected with all others.
    pub(super) back_after_ms: u64,
    /// Its life then.
    pub(super) life: u32,
}

/// What a process was told.
#[derive(Serialize)]
pub(super) struct Noticed {
    /// On which node.
    pub(super) node: String,
    /// What.
    pub(super) what: String,
    /// Milliseconds after the kill.
    pub(super) after_ms: u64,
}

impl Nodes {
    /// What is not as it should be.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.sent != self.arrived || self.sent == 0 {
            wrong.push(format!(
                "between the living nodes {} messages were sent and {} arrived",
                self.sent, self.arrived
            ));
        }
        for (what, count) in [("out of order", self.reordered), ("duplicated", self.duplicated)] {
            if count > 0 {
                wrong.push(format!("messages between the living nodes {what}: {count}"));
            }
        }
        for node in self.nodes.iter().filter(|node| **node != self.killed) {
            for what in ["down", "node down"] {
                let heard = self.noticed.iter().filter(|n| n.node == *node && n.what.starts_with(what)).count();
                if heard != 1 {
                    wrong.push(format!("{node} was told `{what}` {heard} times"));
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
impl Nodes {
    /// A run in which all went well.
    pub(super) fn example() -> Self {
        let noticed = |node: &str, what: &str| Noticed { node: node.into(), what: what.into(), after_ms: 1500 };
        Self {
            nodes: ["alpha", "beta", "gamma"].map(String::from).into(),
            grace_ms: GRACE_MS,
            killed: "beta".into(),
            noticed: ["alpha", "gamma"]
                .into_iter()
                .flat_map(|node| [noticed(node, "down its node is disconnected"), noticed(node, "node down over")])
                .collect(),
            sent: 10,
            arrived: 10,
            reordered: 0,
            duplicated: 0,
            back_after_ms: 100,
            life: 2,
        }
    }
}

/// A node, which ends with this.
struct Running {
    name: &'static str,
    dir: PathBuf,
    child: Child,
    client: Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    async fn start(dir: &Path, name: &'static str, token: Option<&str>) -> Result<Self, Failure> {
        let dir = dir.join(name);
        let program = std::env::current_exe().map_err(Failure::new)?;
        let mut command = Command::new(program);
        command.arg("--data").arg(&dir).args(["node", "--shards", "1", "--listen", "127.0.0.1:0", "--name", name]);
        command.args(["--grace-ms", &GRACE_MS.to_string(), "--log-level", "error"]);
        if let Some(token) = token {
            command.args(["--join", token]);
        }
        let log = dir.with_extension("log");
        let log = std::fs::File::create(&log).map_err(|error| Failure::new(format!("{}: {error}", log.display())))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|error| Failure::new(format!("node {name} cannot be started: {error}")))?;
        let client = Client::of_data(&dir);
        let running = Self { name, dir, child, client };
        let there = async || running.client.node().await.ok();
        eventually(&format!("node {name} to answer"), there).await?;
        Ok(running)
    }

    async fn spawn(&self, entry: &str, arguments: Value) -> Result<String, Failure> {
        let request = SpawnRequest { module: "cluster".into(), entry: Some(entry.into()), arguments };
        Ok(self.client.spawn(&request).await?.pid)
    }

    async fn call(&self, pid: &str, message: Value) -> Result<Value, Failure> {
        let request = CallRequest { message, within_ms: Some(PATIENCE.as_millis() as u64) };
        Ok(self.client.call(pid, &request).await?.answer)
    }

    async fn send(&self, pid: &str, message: Value) -> Result<(), Failure> {
        self.client.send(pid, message).await?;
        Ok(())
    }

    async fn is_connected_with(&self, others: usize) -> bool {
        let Ok(nodes) = self.client.nodes().await else { return false };
        nodes.nodes.iter().filter(|node| node.state == "alive" && node.session == "connected").count() == others
    }

    async fn events(&self, agent: &str) -> Result<Vec<String>, Failure> {
        let events = self.call(agent, json!({"Events": {}})).await?;
        serde_json::from_value(events).map_err(Failure::new)
    }
}

/// Numbered messages from one node to another.
struct Stream<'a> {
    from: &'a Running,
    to: &'a Running,
    source: String,
    sink: String,
}

impl<'a> Stream<'a> {
    async fn start(from: &'a Running, to: &'a Running) -> Result<Self, Failure> {
        let sink = to.spawn("sink", json!([])).await?;
        let source = from.spawn("source", json!([sink])).await?;
        Ok(Self { from, to, source, sink })
    }

    async fn go(&self) -> Result<(), Failure> {
        self.from.send(&self.source, json!({"Go": {"count": BURST, "padding": 20}})).await
    }

    async fn sent(&self) -> Result<u64, Failure> {
        Ok(self.from.call(&self.source, json!({"Sent": {}})).await?.as_u64().unwrap_or_default())
    }

    async fn seen(&self, what: &str) -> Result<u64, Failure> {
        Ok(self.to.call(&self.sink, json!({"Seen": {}})).await?[what].as_u64().unwrap_or_default())
    }
}

/// Plays it.
pub(super) async fn play(dir: &Path, program: &Guest) -> Result<Nodes, Failure> {
    neurath_node::init_cluster(&dir.join("alpha"), "demo", "alpha").map_err(Failure::new)?;
    let alpha = Running::start(dir, "alpha", None).await?;
    let invite = async || alpha.client.invite(&InviteRequest { valid_ms: 600_000 }).await.map(|i| i.token);
    let beta = Running::start(dir, "beta", Some(&invite().await?)).await?;
    let gamma = Running::start(dir, "gamma", Some(&invite().await?)).await?;
    for node in [&alpha, &beta, &gamma] {
        eventually("the nodes to be connected", async || node.is_connected_with(2).await.then_some(())).await?;
    }
    // Only the first node is given the program; the others get it from there.
    alpha.client.install(program.wasm.clone(), false, None).await?;
    let first = alpha.spawn("agent", json!([])).await?;
    let spawn = async |node: &str| alpha.call(&first, json!({"Spawn": {"node": node}})).await;
    let victim = pid(&spawn("beta").await?)?;
    pid(&spawn("gamma").await?)?;
    let second = gamma.spawn("agent", json!([])).await?;
    gamma.send(&second, json!({"Monitor": {"pid": victim}})).await?;
    for (node, agent) in [(&alpha, &first), (&gamma, &second)] {
        node.send(agent, json!({"MonitorNode": {"node": "beta"}})).await?;
    }
    let streams = [Stream::start(&alpha, &gamma).await?, Stream::start(&gamma, &alpha).await?];
    for _ in 0..20 {
        for stream in &streams {
            stream.go().await?;
        }
    }
    let (killed, mut beta) = (Instant::now(), beta);
    beta.child.kill().map_err(Failure::new)?;
    let noticed = watch(&streams, [(&alpha, &first), (&gamma, &second)], killed).await?;
    let (mut sent, mut arrived, mut reordered, mut duplicated) = (0, 0, 0, 0);
    for stream in &streams {
        let all = stream.sent().await?;
        let whole = async || (stream.seen("count").await.ok()? >= all).then_some(());
        // What is lost is counted, not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(20), eventually("the rest to arrive", whole)).await;
        sent += all;
        arrived += stream.seen("count").await?;
        reordered += stream.seen("misplaced").await?;
        duplicated += stream.seen("again").await?;
    }
    let back = Instant::now();
    drop(beta);
    let beta = Running::start(dir, "beta", None).await?;
    for node in [&alpha, &beta, &gamma] {
        eventually("the killed node to be back", async || node.is_connected_with(2).await.then_some(())).await?;
    }
    let (back_after_ms, life) = (millis(back), beta.client.node().await?.incarnation);
    for node in [&alpha, &beta, &gamma] {
        node.client.stop().await?;
    }
    Ok(Nodes {
        nodes: [&alpha, &beta, &gamma].map(|node| node.name.to_owned()).into(),
        grace_ms: GRACE_MS,
        killed: beta.dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        noticed,
        sent,
        arrived,
        reordered,
        duplicated,
        back_after_ms,
        life,
    })
}

/// Keeps the streams going until both nodes have been told of the end, and a while longer.
async fn watch(
    streams: &[Stream<'_>; 2],
    agents: [(&Running, &String); 2],
    killed: Instant,
) -> Result<Vec<Noticed>, Failure> {
    let mut noticed: Vec<Noticed> = Vec::new();
    let mut enough = None;
    while enough.is_none_or(|at: Instant| at.elapsed() < Duration::from_millis(300)) {
        for stream in streams {
            stream.go().await?;
        }
        for (node, agent) in agents {
            let events = node.events(agent).await?;
            let told = noticed.iter().filter(|n| n.node == node.name).count();
            for what in events.into_iter().skip(told) {
                noticed.push(Noticed { node: node.name.into(), what, after_ms: millis(killed) });
            }
        }
        let complete = agents.iter().all(|(node, _)| {
            let heard = |what| noticed.iter().any(|n| n.node == node.name && n.what.starts_with(what));
            heard("down") && heard("node down")
        });
        if complete && enough.is_none() {
            enough = Some(Instant::now());
        }
        if killed.elapsed() > PATIENCE {
            return Err(Failure::new("the living nodes did not notice the end of the killed one within a minute"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(noticed)
}

fn pid(answer: &Value) -> Result<String, Failure> {
    let pid = answer["Ok"].as_str().map(str::to_owned);
    pid.ok_or_else(|| Failure::new(format!("no process was started on another node: {answer}")))
}

fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!("waited a minute in vain for {what}")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
