//! [`Cluster`]: three nodes on this machine, and [`Stream`]s of numbered messages between them.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Node, Outcome, guest, neurath};

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

/// A node of a cluster. What it tells is in `log` of its directory.
pub struct Member {
    pub name: String,
    /// Where others reach it.
    pub address: String,
    node: Node,
}

impl Deref for Member {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

impl Member {
    /// A node, ready, with these arguments beside its data directory.
    #[track_caller]
    pub fn start(data: &Path, name: &str, arguments: &[&str]) -> Self {
        std::fs::create_dir_all(data).unwrap();
        let log = File::options().create(true).append(true).open(data.join("log")).unwrap();
        let (node, said) = Node::start_with(data, &[&["--shards", "2"], arguments].concat(), log);
        let address = |line: &String| Some(line.split_once("  cluster ")?.1.split_once(" at ")?.1.to_owned());
        Self { name: name.into(), address: said.iter().find_map(address).unwrap_or_default(), node }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("log")).unwrap()
    }

    #[track_caller]
    pub fn id(&self) -> String {
        self.json(["nodes"])["nodes"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Starts a process of the program `cluster`; its whole pid.
    #[track_caller]
    pub fn spawn_entry(&self, entry: &str, arguments: &Value) -> String {
        let spawned = self.json(["spawn", "cluster", entry, &arguments.to_string()]);
        spawned["pid"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn send(&self, pid: &str, message: &Value) {
        self.run(["send", pid, &message.to_string()]).ok();
    }

    /// What an agent was told so far.
    #[track_caller]
    pub fn events(&self, agent: &str) -> Vec<String> {
        serde_json::from_value(self.call(agent, json!({"Events": {}}))).unwrap()
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
        let agent = self.members[node].spawn_entry("agent", &json!([]));
        self.members[node].send(&agent, &json!({"WatchNodes": {"on": true}}));
        agent
    }

    /// An echo that an agent has started elsewhere, linked and watched.
    #[track_caller]
    pub fn echo(&self, node: usize, agent: &str, on: usize) -> String {
        let started = self.members[node].call(agent, json!({"Spawn": {"node": NAMES[on]}}));
        started["Ok"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
    }

    /// What an echo answers.
    #[track_caller]
    pub fn ask(&self, node: usize, agent: &str, echo: &str) -> Value {
        self.members[node].call(agent, json!({"Ask": {"echo": echo, "n": 7}}))
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
        let sink = cluster.members[to].spawn_entry("sink", &json!([]));
        let source = cluster.members[from].spawn_entry("source", &json!([sink]));
        Self { from, to, source, sink }
    }

    pub fn go(&self, cluster: &Cluster, count: u64, padding: u32) {
        cluster.members[self.from].send(&self.source, &json!({"Go": {"count": count, "padding": padding}}));
    }

    /// How many were sent, when the source has nothing left to do.
    #[track_caller]
    pub fn sent(&self, cluster: &Cluster) -> u64 {
        cluster.members[self.from].call(&self.source, json!({"Sent": {}})).as_u64().unwrap()
    }

    /// What the sink has seen of this: `count`, `misplaced`, `again`.
    #[track_caller]
    pub fn seen(&self, cluster: &Cluster, what: &str) -> u64 {
        cluster.members[self.to].call(&self.sink, json!({"Seen": {}}))[what].as_u64().unwrap()
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
