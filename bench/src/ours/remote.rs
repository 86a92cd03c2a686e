//! Tasks of several nodes: this process is one, and starts the others as processes of their own, each with one shard.
//!
//! It refuses to know what they measure. Invariant: a node that it started ends with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use neurath_node::{ClusterConfig, Member, Node, NodeConfig, Transport, init_cluster};
use neurath_proto::NodeId;
use serde_json::{Value, json};

use super::{Ours, number, print, print_latency};
use crate::tasks::{MEMBERS, PAIRS, STORM, Task};

/// Where all nodes listen.
const ANYWHERE: &str = "127.0.0.1:0";
/// How long an association outlives its connection here.
const GRACE: Duration = Duration::from_secs(3);
/// How long nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the bare ping-pong sends: as long as a small message with what goes around it.
const FLOOR_BYTES: usize = 64;

/// How another node is started.
#[derive(clap::Args)]
pub struct Other {
    /// What it is called
    #[arg(long)]
    name: String,
    /// Its data directory
    #[arg(long)]
    data: PathBuf,
    /// Join with this invitation; otherwise without TLS
    #[arg(long)]
    join: Option<String>,
    /// The first node
    #[arg(long)]
    peer: u64,
    /// Its address
    #[arg(long)]
    address: String,
}

/// Is another node until standard input ends.
pub fn be(other: Other) -> Result<()> {
    let transport = if other.join.is_some() { Transport::Tls } else { Transport::PlainLoopback };
    let mut cluster = cluster(transport(ANYWHERE.into()), &other.name);
    cluster.invitation = other.join;
    cluster.peers.push(Member { node: NodeId(other.peer), name: "alpha".into(), address: other.address });
    let node = Node::start(NodeConfig { shards: 1, cluster: Some(cluster), ..NodeConfig::new(other.data) })?;
    let echo = TcpListener::bind(ANYWHERE)?;
    let floor = echo.local_addr()?;
    std::thread::spawn(move || echo_bytes(&echo));
    println!("{} {} {floor}", node.id().0, node.address().context("it listens nowhere")?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    node.stop();
    Ok(())
}

fn cluster(transport: Transport, name: &str) -> ClusterConfig {
    let mut cluster = ClusterConfig::new(transport);
    cluster.name = Some(name.into());
    cluster.set_grace(GRACE);
    cluster
}

/// The other end of the bare ping-pong.
fn echo_bytes(listener: &TcpListener) {
    for mut socket in listener.incoming().flatten() {
        let mut bytes = [0; FLOOR_BYTES];
        // The connection ends with the measuring.
        let _ = socket.set_nodelay(true);
        while socket.read_exact(&mut bytes).and_then(|()| socket.write_all(&bytes)).is_ok() {}
    }
}

/// A node that was started.
struct Started {
    name: &'static str,
    child: Child,
    node: NodeId,
    address: String,
    floor: String,
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Started {
    fn start(data: &Path, name: &'static str, first: &Node, tls: bool) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", "--name", name, "--data"]).arg(data.join(name));
        command.args(["--peer", &first.id().0.to_string(), "--address", first.address().context("no address")?]);
        if tls {
            command.args(["--join", &first.invite(Duration::from_secs(60))?]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [node, address, floor] = words[..] else { bail!("node {name} did not start: it said {line:?}") };
        let node = NodeId(node.parse().with_context(|| format!("`{node}` is no node"))?);
        Ok(Self { name, child, node, address: address.into(), floor: floor.into() })
    }

    /// Has the system stop it, or let it go on.
    fn signal(&self, signal: &str) -> Result<()> {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().context("no `kill`")?;
        if done.success() { Ok(()) } else { bail!("`kill {signal}` failed: {done}") }
    }
}

/// Takes `repeats` samples of a task of several nodes.
pub(super) async fn run(data: &Path, task: &Task, size: u64, repeats: u32, perf_map: bool) -> Result<()> {
    // Certificates and addresses are those of one run.
    let data = tempfile::Builder::new().prefix("nodes-").tempdir_in(data)?;
    let own = data.path().join("node");
    if task.tls() {
        init_cluster(&own, "bench", "alpha")?;
    }
    let transport = if task.tls() { Transport::Tls } else { Transport::PlainLoopback };
    let cluster = cluster(transport(ANYWHERE.into()), "alpha");
    let config = NodeConfig { perf_map, shards: 1, cluster: Some(cluster), ..NodeConfig::new(own) };
    let ours = Ours::start_with(config, data.path()).await?;
    let others: Result<Vec<Started>> =
        task.others().iter().map(|name| Started::start(data.path(), name, &ours.node, task.tls())).collect();
    let others = others?;
    for other in &others {
        ours.node.introduce(other.node, other.name, &other.address)?;
    }
    ours.connected(others.len()).await?;
    for _ in 0..repeats {
        ours.remote(task.without_tls(), size, &others).await?;
    }
    ours.node.stop();
    Ok(())
}

impl Ours {
    async fn connected(&self, others: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            let nodes = self.node.nodes().await;
            if nodes.iter().filter(|node| node.state == "alive" && node.session == "connected").count() == others {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the nodes did not find each other: {nodes:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn remote(&self, task: &str, size: u64, others: &[Started]) -> Result<()> {
        let one_way = |payload: u32| json!({ "RemoteOneWay": { "node": "beta", "count": size, "payload": payload } });
        match task {
            "remote_round_trip" | "remote_round_trip_one_core" => {
                let latency = self.round_trips(size).await?;
                print("value", number(&latency, "p50_ns")? / 1e3);
                print_latency(&latency)?;
                print("floor", floor(&others[0].floor, size)?);
                Ok(())
            }
            "remote_one_way_100B" => self.rate(one_way(100)).await,
            "remote_bulk_64KiB" => {
                let (count, nanos) = self.measured(one_way(64 << 10)).await?;
                print("value", count * f64::from(64 << 10) / nanos * 1e3);
                Ok(())
            }
            "remote_pairs" => {
                self.rate(json!({ "RemotePairs": { "node": "beta", "pairs": PAIRS, "count": size } })).await
            }
            "remote_spawn" => self.rate(json!({ "RemoteSpawn": { "node": "beta", "count": size } })).await,
            "group_broadcast" => {
                self.rate(json!({ "Broadcast": { "node": "beta", "members": MEMBERS, "count": size } })).await
            }
            "monitor_storm" => self.storm(size).await,
            "remote_stopped_peer" => self.stopped_peer(size, &others[1]).await,
            _ => bail!("there is no task `{task}`"),
        }
    }

    async fn round_trips(&self, count: u64) -> Result<Value> {
        self.job(&json!({ "RemoteRoundTrips": { "node": "beta", "count": count } })).await
    }

    /// Disconnects the other node, of whose processes `size` monitors were set up.
    async fn storm(&self, size: u64) -> Result<()> {
        let sentinel = self.spawn("sentinel", json!([])).await?;
        let (watchers, monitors) = STORM;
        let begin = json!({
            "node": "beta", "processes": size / watchers / monitors, "watchers": watchers, "monitors": monitors,
        });
        let begin = json!({ "Begin": begin });
        self.call(&sentinel, &begin).await?;
        let nodes = self.node.nodes().await;
        let beta = nodes.iter().find(|node| node.name == "beta").context("there is no beta")?.node;
        let since = Instant::now();
        self.node.disconnect(beta)?;
        let fired = self.call(&sentinel, &json!({ "End": {} })).await?;
        let nanos = since.elapsed().as_nanos();
        if fired != json!(size) {
            bail!("of {size} monitors {fired} fired");
        }
        print("value", nanos as f64 / 1e6);
        Ok(())
    }

    /// Round trips beside another node, and then with that one stopped while it is sent to.
    async fn stopped_peer(&self, size: u64, third: &Started) -> Result<()> {
        let nuisance = self.spawn("nuisance", json!([third.name])).await?;
        let before = self.round_trips(size).await?;
        third.signal("-STOP")?;
        let during = self.round_trips(size).await;
        third.signal("-CONT")?;
        let during = during?;
        self.node.kill(&nuisance, true).await?;
        print("value", number(&during, "p50_ns")? / 1e3);
        print_latency(&during)?;
        print("undisturbed", number(&before, "p50_ns")? / 1e3);
        Ok(())
    }
}

/// The median of round trips of a bare blocking socket, in microseconds.
fn floor(address: &str, count: u64) -> Result<f64> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut bytes = [7; FLOOR_BYTES];
    let mut nanos = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        socket.write_all(&bytes)?;
        socket.read_exact(&mut bytes)?;
        nanos.push(since.elapsed().as_nanos() as u64);
    }
    nanos.sort_unstable();
    Ok(nanos[nanos.len() / 2] as f64 / 1e3)
}
