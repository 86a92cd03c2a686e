//! Several nodes in one OS process, over the in-memory transport: what guests see of each other across them (G1, G2, G10).

use std::time::Duration;

use neurath_node::{ClusterConfig, Hub, Transport};
use neurath_proto::Pid;
use serde_json::{Value, json};

use crate::common::{World, eventually};

/// Longer than anything takes here.
const GRACE: Duration = Duration::from_secs(30);

/// Nodes that know each other, the first with a program installed.
struct Cluster {
    nodes: Vec<World>,
}

fn name(node: usize) -> String {
    ["alpha", "beta", "gamma"][node].to_owned()
}

impl Cluster {
    async fn of(count: usize) -> Self {
        Self::with_grace(count, GRACE).await
    }

    async fn with_grace(count: usize, grace: Duration) -> Self {
        Self::running("cluster", count, grace).await
    }

    async fn running(program: &str, count: usize, grace: Duration) -> Self {
        let hub = Hub::default();
        let mut nodes: Vec<World> = Vec::new();
        for node in 0..count {
            let mut cluster = ClusterConfig::new(Transport::Memory(hub.clone(), name(node)));
            cluster.name = Some(name(node));
            cluster.peers = nodes.iter().enumerate().map(|(n, world)| world.member(&name(n))).collect();
            let guests: &[&str] = if node == 0 { &[program] } else { &[] };
            cluster.set_grace(grace);
            nodes.push(World::configured(guests, |config| config.cluster = Some(cluster)).await);
        }
        let cluster = Self { nodes };
        cluster.connected().await;
        cluster
    }

    /// Waits until everyone knows everyone.
    async fn connected(&self) {
        for world in &self.nodes {
            let all = async || {
                let standings = world.node.nodes().await;
                let there = standings.iter().filter(|s| s.state == "alive" && s.session == "connected");
                (there.count() + 1 == self.nodes.len()).then_some(())
            };
            eventually("every node to be connected with every other", all).await;
        }
    }

    /// A process of the program on a node: it gets the module from the first one.
    async fn agent(&self, node: usize) -> Pid {
        self.nodes[node].spawn("cluster", "agent", json!([])).await
    }

    async fn tell(&self, agent: Pid, task: Value) -> Value {
        self.home(agent).call(agent, task).await
    }

    fn home(&self, pid: Pid) -> &World {
        self.nodes.iter().find(|world| world.node.id() == pid.node).expect("a node of the cluster")
    }

    /// What a function of the program gives on the first node.
    async fn run(&self, program: &str, function: &str, arguments: Value) -> Value {
        self.nodes[0].node.run(program, Some(function), &arguments, GRACE).await.unwrap()
    }

    async fn events(&self, agent: Pid, count: usize) -> Vec<String> {
        let enough = async || {
            let events = self.tell(agent, json!({"Events": {}})).await;
            let events: Vec<String> = serde_json::from_value(events).unwrap();
            (events.len() >= count).then_some(events)
        };
        eventually(&format!("{count} events"), enough).await
    }
}

fn pid(value: &Value) -> Pid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no pid"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_started_on_a_node_that_has_never_seen_its_code() {
    let cluster = Cluster::of(2).await;
    let agent = cluster.agent(0).await;
    let started = cluster.tell(agent, json!({"Spawn": {"node": "beta"}})).await;
    let echo = pid(&started["Ok"]);
    assert_eq!(echo.node, cluster.nodes[1].node.id());
    let answer = cluster.tell(agent, json!({"Ask": {"echo": echo.to_string(), "n": 41}})).await;
    assert_eq!(answer, json!({"Ok": 41}));
    let modules = cluster.nodes[1].node.modules().await.unwrap();
    assert_eq!(modules.len(), 1);
    assert!(modules[0].source.as_deref().unwrap().starts_with("node "), "{modules:?}");
    // It is linked and watched from birth.
    cluster.nodes[1].send(echo, json!("Fail")).await;
    let mut events = cluster.events(agent, 2).await;
    events.sort();
    assert!(events[0].starts_with("down panicked at") && events[1].starts_with("exit panicked at"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_groups_pings_and_listings_work_across_nodes() {
    let cluster = Cluster::of(3).await;
    let first = cluster.agent(0).await;
    let echo = pid(&cluster.tell(first, json!({"Spawn": {"node": "gamma"}})).await["Ok"]);
    assert_eq!(cluster.tell(first, json!({"Ping": {"node": "beta"}})).await, json!("ok"));
    let unknown = cluster.tell(first, json!({"Ping": {"node": "nobody"}})).await;
    assert!(unknown.as_str().unwrap().contains("no node 0000000000000001"), "{unknown}");
    let mut names: Vec<String> = serde_json::from_value(cluster.tell(first, json!({"Nodes": {}})).await).unwrap();
    names.sort();
    assert_eq!(names, ["alpha", "beta", "gamma"]);

    // A service is published on one node, found from another, and used.
    let register = json!({"Register": {"node": "beta", "name": "echo", "pid": echo.to_string()}});
    assert_eq!(cluster.tell(first, register).await, json!("ok"));
    let found = cluster.tell(first, json!({"Whereis": {"node": "beta", "name": "echo"}})).await;
    assert_eq!(pid(&found), echo);
    assert_eq!(cluster.nodes[1].node.find("echo").await.unwrap(), echo);
    let taken = json!({"Register": {"node": "beta", "name": "echo", "pid": first.to_string()}});
    assert!(cluster.tell(first, taken).await.as_str().unwrap().contains("belongs to"));
    cluster.nodes[2].kill(echo).await;
    let gone = async || {
        let found = cluster.tell(first, json!({"Whereis": {"node": "beta", "name": "echo"}})).await;
        found.is_null().then_some(())
    };
    eventually("the name to be free", gone).await;

    assert_eq!(cluster.tell(first, json!({"Join": {"group": "all"}})).await, json!("ok"));
    for world in &cluster.nodes {
        let known = async || (world.node.groups().await == [("all".to_owned(), vec![first])]).then_some(());
        eventually("the group to be known everywhere", known).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_between_nodes_arrives_whole_and_in_order_and_waits_for_a_slow_reader() {
    let cluster = Cluster::of(2).await;
    let agent = cluster.agent(0).await;
    pid(&cluster.tell(agent, json!({"Spawn": {"node": "beta"}})).await["Ok"]);
    let sink = cluster.nodes[1].spawn("cluster", "sink", json!([])).await;
    let source = cluster.nodes[0].spawn("cluster", "source", json!([sink.to_string()])).await;
    let (small, large) = (60_000, 40);
    cluster.nodes[0].send(source, json!({"Go": {"count": small, "padding": 10}})).await;
    cluster.nodes[0].send(source, json!({"Go": {"count": large, "padding": 300_000}})).await;
    let all = async || {
        let seen = cluster.tell(sink, json!({"Seen": {}})).await;
        (seen["count"] == json!(small + large)).then_some(seen)
    };
    let seen = eventually("everything to arrive", all).await;
    assert_eq!((&seen["misplaced"], &seen["again"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_stops_each_monitor_fires_once_and_what_was_not_confirmed_is_counted() {
    let mut cluster = Cluster::with_grace(3, Duration::from_millis(600)).await;
    let agent = cluster.agent(0).await;
    let echo = pid(&cluster.tell(agent, json!({"Spawn": {"node": "beta"}})).await["Ok"]);
    let other = pid(&cluster.tell(agent, json!({"Spawn": {"node": "gamma"}})).await["Ok"]);
    cluster.nodes[0].send(agent, json!({"MonitorNode": {"node": "beta"}})).await;
    cluster.nodes[0].send(agent, json!({"WatchNodes": {"on": true}})).await;
    let asked = cluster.tell(agent, json!({"Ask": {"echo": other.to_string(), "n": 1}})).await;
    assert_eq!(asked, json!({"Ok": 1}));
    drop(cluster.nodes.remove(1));
    // Nobody takes this any more, and its sender asked to be told.
    cluster.nodes[0].send(agent, json!({"Alien": {"pid": echo.to_string()}})).await;
    let mut events = cluster.events(agent, 5).await;
    events.sort();
    assert_eq!(&events[..2], ["down its node is disconnected", "exit its node is disconnected"]);
    assert!(events[2].starts_with("node down ") && events[3].starts_with("node down "), "{events:?}");
    assert!(events[4].starts_with("not delivered Alien: not confirmed"), "{events:?}");
    let (count, listed) = cluster.nodes[0].node.unconfirmed();
    assert!(count >= 1 && listed.iter().any(|lost| lost.type_name == "Alien" && lost.to == echo), "{listed:?}");
    let still = cluster.tell(agent, json!({"Ask": {"echo": other.to_string(), "n": 2}})).await;
    assert_eq!(still, json!({"Ok": 2}), "the others go on");
    assert_eq!(cluster.events(agent, 5).await.len(), 5, "nothing fires twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_of_another_node_does_not_take_is_refused_with_both_types() {
    let cluster = Cluster::of(2).await;
    let agent = cluster.agent(0).await;
    let echo = pid(&cluster.tell(agent, json!({"Spawn": {"node": "beta"}})).await["Ok"]);
    cluster.nodes[0].send(agent, json!({"Alien": {"pid": echo.to_string()}})).await;
    let events = cluster.events(agent, 1).await;
    assert!(events[0].contains("`Alien` cannot be read as `Question`"), "{events:?}");
    let (refused, _, latest) = cluster.nodes[1].node.refusals().await;
    assert_eq!((refused, latest[0].from), (1, agent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finder_is_told_when_a_service_or_its_node_dies_and_goes_on_with_the_one_that_is_published_anew() {
    let mut cluster = Cluster::running("service", 3, Duration::from_millis(600)).await;
    let finder = cluster.nodes[0].spawn("service", "finder", json!(["pong"])).await;
    assert_eq!(cluster.tell(finder, json!("Ping")).await, json!({"Err": "nobody serves as `pong`"}));
    let nowhere = cluster.run("service", "publish", json!(["delta", "pong"])).await;
    assert_eq!(nowhere, json!({"Err": "no node `delta` is connected"}));

    let first = cluster.run("service", "publish", json!(["gamma", "pong"])).await;
    assert_eq!(pid(&first["Ok"]).node, cluster.nodes[2].node.id());
    assert_eq!(cluster.tell(finder, json!("Ping")).await, first, "it is found on another node");
    let taken = cluster.run("service", "publish", json!(["gamma", "pong"])).await;
    let first = pid(&first["Ok"]);
    assert_eq!(taken, json!({"Err": format!("`pong` is not published on gamma: the name belongs to {first}")}));
    cluster.nodes[2].kill(first).await;
    cluster.nodes[0].logged(finder, &format!("`pong`, {first}, is gone: killed")).await;

    let second = cluster.run("service", "publish", json!(["beta", "pong"])).await;
    assert_eq!(cluster.tell(finder, json!("Ping")).await, second, "it is found where it is published anew");
    let second = pid(&second["Ok"]);
    assert_eq!(second.node, cluster.nodes[1].node.id());
    drop(cluster.nodes.remove(1));
    cluster.nodes[0].logged(finder, &format!("`pong`, {second}, is gone: its node is disconnected")).await;

    let third = cluster.run("service", "publish", json!(["gamma", "pong"])).await;
    assert_eq!(cluster.tell(finder, json!("Ping")).await, third, "the finder goes on without the node");
    let told = cluster.nodes[0].node.logs().since(0).into_iter().filter(|line| line.pid == finder);
    assert_eq!(told.count(), 2, "it is told once of each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_pong_over_channels_is_played_across_nodes() {
    const COUNT: u32 = 1000;
    let cluster = Cluster::running("pingpong-channels", 2, GRACE).await;
    let played = cluster.run("pingpong-channels", "play_across", json!(["beta", COUNT])).await;
    let (server, pongs) = (pid(&played["Ok"][0]), &played["Ok"][1]);
    assert_eq!((server.node, pongs), (cluster.nodes[1].node.id(), &json!(COUNT)));
    // Each ping and each pong is a message between the two nodes.
    cluster.nodes[1].ended(server).await;
}
