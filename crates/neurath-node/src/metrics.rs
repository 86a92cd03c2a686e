//! A node's counts and gauges as Prometheus reads them.
//!
//! It refuses to know how they are fetched. Invariant: nothing is kept between two readings; all is made of what the shards
//! count anyway, so several nodes in one program do not mix.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::meter::ShardLoad;
use crate::{Node, NodeStanding};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// All of a node's metrics.
pub fn text(node: &Node, shards: &[ShardLoad], nodes: &[NodeStanding]) -> String {
    let mut registry = Registry::with_prefix("neurath");
    of_node(&mut registry, node);
    of_shards(&mut registry, shards);
    if !nodes.is_empty() {
        of_cluster(&mut registry, node, nodes);
    }
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => text,
        // Writing into a string does not fail; half an answer would be worse than none.
        Err(_) => String::new(),
    }
}

fn of_node(registry: &mut Registry, node: &Node) {
    let info = Info::new([
        ("node", node.id().to_string()),
        ("incarnation", node.incarnation().0.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    registry.register("node", "The node", info);
    let uptime = Gauge::<f64, AtomicU64>::default();
    uptime.set(node.now_ns() as f64 / 1e9);
    registry.register("uptime_seconds", "Time since the node started", uptime);
    gauge(registry, "modules_loaded", "Module versions whose native code is in memory", node.modules_loaded() as u64);
    let (committed, rolled_back) = node.upgrade_counts();
    let upgrades = Family::<Labels, Counter>::default();
    upgrades.get_or_create(&vec![("result", "committed".to_owned())]).inc_by(committed);
    upgrades.get_or_create(&vec![("result", "rolled_back".to_owned())]).inc_by(rolled_back);
    registry.register("upgrades", "Changes of code of single processes", upgrades);
    if let Some(bytes) = resident_bytes() {
        gauge(registry, "resident_memory_bytes", "Memory of the whole program that lies in RAM", bytes);
    }
}

fn of_shards(registry: &mut Registry, shards: &[ShardLoad]) {
    let mut gauges = |name: &str, help: &str, of: fn(&ShardLoad) -> u64| {
        let family = Family::<Labels, Gauge>::default();
        for load in shards {
            family.get_or_create(&shard(load)).set(of(load) as i64);
        }
        registry.register(name, help, family);
    };
    gauges("processes", "Processes that live", |l| l.held.processes);
    gauges("processes_runnable", "Processes that wait for their turn", |l| l.held.runnable);
    gauges("processes_awake", "Processes that have an instance", |l| l.bodies.awake);
    gauges("processes_hibernating", "Processes that are kept as images", |l| l.bodies.hibernating);
    gauges("threads_kept", "Processes that keep a thread because they compute on and on", |l| l.threads_kept);
    gauges("linear_memory_bytes", "Linear memory of processes with an instance", |l| l.bodies.memory_bytes);
    gauges("image_bytes", "Images of processes that hibernate", |l| l.bodies.image_bytes);
    gauges("mailbox_messages", "Messages that wait in mailboxes", |l| l.held.mailbox_messages);
    gauges("mailbox_bytes", "Their bytes", |l| l.held.mailbox_bytes);
    gauges("names", "Names of processes; shard 0 keeps them for the node", |l| l.held.names);
    let mut counters = |name: &str, help: &str, of: fn(&ShardLoad) -> u64| {
        let family = Family::<Labels, Counter>::default();
        for load in shards {
            family.get_or_create(&shard(load)).inc_by(of(load));
        }
        registry.register(name, help, family);
    };
    counters("processes_spawned", "Processes that were started", |l| l.totals.spawned);
    counters("turns", "Turns that processes had", |l| l.totals.turns);
    counters("messages_sent", "Messages that processes sent", |l| l.totals.sent);
    counters("messages_received", "Messages that were put into mailboxes", |l| l.totals.received);
    counters("messages_refused", "Messages that their readers did not take", |l| l.totals.refused);
    counters("messages_undeliverable", "Messages that found nobody in time", |l| l.totals.undeliverable);
    let ended = Family::<Labels, Counter>::default();
    let busy = Family::<Labels, Counter<f64, AtomicU64>>::default();
    for load in shards {
        let how = |how: &str| [shard(load), vec![("how", how.to_owned())]].concat();
        ended.get_or_create(&how("normal")).inc_by(load.totals.ended_normally);
        ended.get_or_create(&how("abnormal")).inc_by(load.totals.ended_abnormally);
        busy.get_or_create(&shard(load)).inc_by(load.busy_ns as f64 / 1e9);
    }
    registry.register("processes_ended", "Processes that have ended", ended);
    registry.register("shard_busy_seconds", "Time in which a shard did not sleep", busy);
}

/// What a node in a cluster has with the others; `nodes` begins with itself.
fn of_cluster(registry: &mut Registry, node: &Node, nodes: &[NodeStanding]) {
    let states = Family::<Labels, Gauge>::default();
    for state in ["self", "alive", "suspect", "down", "left", "unknown"] {
        let count = nodes.iter().filter(|standing| standing.state == state).count();
        states.get_or_create(&vec![("state", state.to_owned())]).set(count as i64);
    }
    registry.register("nodes", "Nodes that are known, by how membership sees them", states);
    let mut gauges = |name: &str, help: &str, of: fn(&NodeStanding) -> u64| {
        let family = Family::<Labels, Gauge>::default();
        for standing in &nodes[1..] {
            family.get_or_create(&peer(standing)).set(of(standing) as i64);
        }
        registry.register(name, help, family);
    };
    gauges("session_connected", "Whether there is a connection to the node", |n| u64::from(n.session == "connected"));
    gauges("session_held_messages", "Messages for the node that are not acknowledged", |n| n.held_messages as u64);
    gauges("session_held_bytes", "Bytes of messages for the node that are not acknowledged", |n| n.held_bytes);
    let opened = Family::<Labels, Counter>::default();
    for standing in &nodes[1..] {
        opened.get_or_create(&peer(standing)).inc_by(standing.opened);
    }
    registry.register("sessions_opened", "Associations with the node that were opened", opened);
    let mut counter = |name: &str, help: &str, value: u64| {
        let counter = <Counter>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    counter("unconfirmed_messages", "Messages that are not known to have arrived", node.unconfirmed().0);
    counter("strangers_refused", "Connections and requests to join that were refused", node.strangers_refused());
}

fn peer(standing: &NodeStanding) -> Labels {
    vec![("node", standing.node.to_string()), ("name", standing.name.clone())]
}

fn shard(load: &ShardLoad) -> Labels {
    vec![("shard", load.shard.to_string())]
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = <Gauge>::default();
    gauge.set(value as i64);
    registry.register(name, help, gauge);
}

/// What Linux says; nothing elsewhere.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}
