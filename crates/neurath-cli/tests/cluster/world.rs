//! [`Cluster`]: three nodes on this machine, and [`Stream`]s of numbered messages between them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Outcome, guest, neurath, signal};

/// When a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub const ALPHA: usize = 0;
pub const BETA: usize = 1;
pub const GAMMA: usize = 2;
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Waits for something, and never for ever.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        pause(Duration::from_millis(10));
    }
}

/// Lets time pass.
#[expect(clippy::disallowed_methods, reason = "the real-socket suite may, as the module says")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A node that runs; it ends with this. What it tells is in `log` of its directory.
pub struct Member {
    pub name: String,
    pub data: PathBuf,
    /// Where others reach it.
    pub address: String,
    child: Child,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Member {
    /// A node, ready, with these arguments beside its data directory.
    pub fn start(data: &Path, name: &str, arguments: &[&str]) -> Self {
        std::fs::create_dir_all(data).unwrap();
        let log = File::options().create(true).append(true).open(data.join("log")).unwrap();
        let mut command = neurath();
        command.arg("node").arg("--data").arg(data).args(["--shards", "2"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (mut address, mut ready) = (String::new(), false);
        for line in &mut lines {
            if let Some((_, at)) = line.split_once("  cluster ").and_then(|(_, rest)| rest.split_once(" at ")) {
                address = at.to_owned();
            }
            if line.starts_with("ready") {
                ready = true;
                break;
            }
        }
        let member = Self { name: name.into(), data: data.into(), address, child };
        assert!(ready, "{name} did not start:\n{}", member.log());
        member
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("log")).unwrap()
    }

    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = neurath();
        command.args(arguments).env("NEURATH_DATA", &self.data);
        command
    }

    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    #[track_caller]
    pub fn json<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Value {
        Outcome::of(self.command(arguments).arg("--json")).json()
    }

    #[track_caller]
    pub fn id(&self) -> String {
        self.json(["nodes"])["nodes"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Starts a process of the program `cluster`; its whole pid.
    #[track_caller]
    pub fn spawn(&self, entry: &str, arguments: &Value) -> String {
        let spawned = self.json(["spawn", "cluster", entry, &arguments.to_string()]);
        spawned["pid"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn send(&self, pid: &str, message: &Value) {
        self.run(["send", pid, &message.to_string()]).ok();
    }

    #[track_caller]
    pub fn call(&self, pid: &str, message: &Value) -> Value {
        serde_json::from_str(&self.run(["call", pid, &message.to_string(), "--within", "60s"]).ok()).unwrap()
    }

    /// What an agent was told so far.
    #[track_caller]
    pub fn events(&self, agent: &str) -> Vec<String> {
        serde_json::from_value(self.call(agent, &json!({"Events": {}}))).unwrap()
    }

    /// How it sees another node.
    #[track_caller]
    pub fn view_of(&self, other: &str) -> Option<Value> {
        let nodes = self.json(["nodes"]);
        nodes["nodes"].as_array().unwrap().iter().find(|node| node["name"] == other).cloned()
    }

    pub fn is_connected_with(&self, other: &str) -> bool {
        self.view_of(other).is_some_and(|node| node["state"] == "alive" && node["session"] == "connected")
    }

    /// Bytes of the whole node that lie in RAM.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// Files and sockets that it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Three nodes that are connected, the first with the program.
pub struct Cluster {
    pub members: Vec<Member>,
    grace_ms: u64,
    dir: TempDir,
}

impl Cluster {
    pub fn with_grace(grace_ms: u64) -> Self {
        Self::reached_by(grace_ms, |_| vec!["--listen".into(), "127.0.0.1:0".into()])
    }

    /// `reach` says for each node how it is reached.
    pub fn reached_by(grace_ms: u64, reach: impl Fn(usize) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self { members: Vec::new(), grace_ms, dir };
        let data = cluster.data(ALPHA);
        Outcome::of(neurath().args(["cluster", "init", "--node", "alpha", "--data"]).arg(data)).ok();
        for (node, name) in NAMES.iter().enumerate() {
            let mut arguments = reach(node);
            if node != ALPHA {
                let token = cluster.members[ALPHA].run(["cluster", "invite"]).ok();
                arguments.extend(["--name", name, "--join", token.trim()].map(String::from));
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            cluster.members.push(cluster.start(node, &arguments));
        }
        cluster.members[ALPHA].run(["install", guest("cluster").to_str().unwrap()]).ok();
        cluster.connected();
        cluster
    }

    fn start(&self, node: usize, arguments: &[&str]) -> Member {
        let grace = self.grace_ms.to_string();
        let arguments = [&["--grace-ms", &grace], arguments].concat();
        Member::start(&self.data(node), NAMES[node], &arguments)
    }

    fn data(&self, node: usize) -> PathBuf {
        self.dir.path().join(NAMES[node])
    }

    /// Starts a node again that has ended.
    pub fn restart(&mut self, node: usize) {
        self.members[node].kill();
        self.members[node] = self.start(node, &["--listen", "127.0.0.1:0"]);
    }

    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// Waits until everyone is connected with everyone.
    #[track_caller]
    pub fn connected(&self) {
        for member in &self.members {
            for other in self.members.iter().filter(|other| other.name != member.name) {
                eventually(&format!("{} to be connected with {}", member.name, other.name), || {
                    member.is_connected_with(&other.name).then_some(())
                });
            }
        }
    }

    /// An agent on a node that is told when nodes come and go.
    #[track_caller]
    pub fn agent(&self, node: usize) -> String {
        // A node gets the program with the first process that another one starts there.
        if node != ALPHA {
            self.members[node].run(["install", guest("cluster").to_str().unwrap()]).ok();
        }
        let agent = self.members[node].spawn("agent", &json!([]));
        self.members[node].send(&agent, &json!({"WatchNodes": {"on": true}}));
        agent
    }

    /// An echo that an agent has started elsewhere, linked and watched.
    #[track_caller]
    pub fn echo(&self, node: usize, agent: &str, on: usize) -> String {
        let started = self.members[node].call(agent, &json!({"Spawn": {"node": NAMES[on]}}));
        started["Ok"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
    }

    /// What an echo answers.
    #[track_caller]
    pub fn ask(&self, node: usize, agent: &str, echo: &str) -> Value {
        self.members[node].call(agent, &json!({"Ask": {"echo": echo, "n": 7}}))
    }

    /// Waits until an agent was told so much; what, and how long after `since`.
    #[track_caller]
    pub fn told(&self, node: usize, agent: &str, count: usize, since: Instant) -> (Vec<String>, Duration) {
        let member = &self.members[node];
        let events = eventually(&format!("{count} events on {}", member.name), || {
            Some(member.events(agent)).filter(|events| events.len() >= count)
        });
        (events, since.elapsed())
    }
}

/// Numbered messages from one node to another.
pub struct Stream {
    from: usize,
    to: usize,
    source: String,
    sink: String,
}

impl Stream {
    pub fn start(cluster: &Cluster, from: usize, to: usize) -> Self {
        let sink = cluster.members[to].spawn("sink", &json!([]));
        let source = cluster.members[from].spawn("source", &json!([sink]));
        Self { from, to, source, sink }
    }

    pub fn go(&self, cluster: &Cluster, count: u64, padding: u32) {
        cluster.members[self.from].send(&self.source, &json!({"Go": {"count": count, "padding": padding}}));
    }

    /// How many were sent, when the source has nothing left to do.
    #[track_caller]
    pub fn sent(&self, cluster: &Cluster) -> u64 {
        cluster.members[self.from].call(&self.source, &json!({"Sent": {}})).as_u64().unwrap()
    }

    /// What the sink has seen of this: `count`, `misplaced`, `again`.
    #[track_caller]
    pub fn seen(&self, cluster: &Cluster, what: &str) -> u64 {
        cluster.members[self.to].call(&self.sink, &json!({"Seen": {}}))[what].as_u64().unwrap()
    }

    /// Waits until all has arrived; it did in order, and once.
    #[track_caller]
    pub fn arrives_whole(&self, cluster: &Cluster) {
        let sent = self.sent(cluster);
        let what = format!("{sent} messages from {} on {}", NAMES[self.from], NAMES[self.to]);
        eventually(&what, || (self.seen(cluster, "count") >= sent).then_some(()));
        let seen = ["count", "misplaced", "again"].map(|what| self.seen(cluster, what));
        assert_eq!(seen, [sent, 0, 0], "{what}: count, misplaced, again");
    }
}
