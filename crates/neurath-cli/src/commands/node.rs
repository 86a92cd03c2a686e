//! `neurath node`: a node in the foreground, until a signal or a request stops it.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use neurath_node::api::ControlServer;
use neurath_node::{ClusterConfig, Member, Node, NodeConfig, NodeId, Settings, Transport};
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::config::settings;
use crate::failure::Failure;
use crate::log::{self, Format, Level};
use crate::output::{bold, note, print};
use crate::place::Place;
use crate::show;

/// How long a node that leaves goes on, so that the others hear of it.
const FAREWELL: Duration = Duration::from_millis(200);

/// Start a node and stay with it
#[derive(Args, Debug)]
#[command(
    after_help = "Ctrl-C, SIGTERM or `neurath stop` stops it. NEURATH_LOG chooses in detail what it tells on standard \
                  error, for example `debug` or `neurath_node=trace`. What is given here wins over the configuration \
                  file.\n\nExamples:\n  neurath node\n  neurath node --data ./node-a --shards 2\n  \
                  neurath node --config node-a.toml --log-format json"
)]
pub(crate) struct Arguments {
    /// The configuration, as `neurath config` prints it [default: neurath.toml in the data directory, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Scheduler threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    shards: Option<u32>,
    /// Speak to other nodes, and be reached at this address, like `10.0.0.1:7700`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where others reach it, if that is another address than it listens at
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// What it is to be called; a node that has joined keeps its name
    #[arg(long)]
    name: Option<String>,
    /// Join a cluster first, with what `neurath cluster invite` printed there
    #[arg(long, value_name = "TOKEN")]
    join: Option<String>,
    /// Without certificates and without encryption, for benchmarks on this machine only
    #[arg(long, conflicts_with = "join")]
    insecure_plain_tcp_on_loopback: bool,
    /// A node to begin with when there are no certificates: `NODE@ADDRESS`
    #[arg(long, value_name = "NODE@ADDRESS", requires = "insecure_plain_tcp_on_loopback")]
    insecure_peer: Vec<String>,
    /// For how many milliseconds an association outlives its connection [default: 30000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=86_400_000))]
    grace_ms: Option<u64>,
    /// How it tells what happens, on standard error [default: text]
    #[arg(long, value_enum)]
    log_format: Option<Format>,
    /// How much it tells [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// How much of what processes write it tells too [default: off]
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_processes: Option<Level>,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let mut settings = settings(&place.own_dir("neurath node")?, arguments.config.as_deref())?;
    settings.node.shards = arguments.shards.unwrap_or(settings.node.shards);
    settings.node.cluster = cluster(&arguments, &settings)?;
    settings.log.format = arguments.log_format.map_or(settings.log.format, Into::into);
    settings.log.processes = arguments.log_processes.map_or(settings.log.processes, Into::into);
    log::of_node(&mut settings.log, arguments.log_level)?;
    let stop = stop_signal()?;
    let (node, control) = start(settings.node)?;
    log::processes(&node, settings.log.processes)?;
    let place =
        node.address().zip(node.name()).map(|(at, name)| format!("  cluster {name} at {at}\n")).unwrap_or_default();
    let metrics = control.metrics().map(|at| format!("  metrics http://{at}/metrics\n")).unwrap_or_default();
    print(format!(
        "{} {}, node {}, life {}, {}\n  data    {}\n  socket  {}\n{place}{metrics}ready; Ctrl-C stops it",
        bold().apply_to("neurath"),
        env!("CARGO_PKG_VERSION"),
        node.id(),
        node.incarnation().0,
        show::count(node.config().shards as usize, "shard", "shards"),
        node.config().data.display(),
        control.socket().display(),
    ));
    let served = control.serve(stop).await;
    note("stopping");
    leave(&node).await;
    node.stop();
    served.map_err(|error| Failure::new(format!("the control socket failed: {error}")))
}

/// How the node speaks to others, if it does.
fn cluster(arguments: &Arguments, settings: &Settings) -> Result<Option<ClusterConfig>, Failure> {
    let Some(address) = arguments.listen.as_ref().or(settings.cluster.listen.as_ref()) else {
        return alone(arguments).map(|()| None);
    };
    let plain = arguments.insecure_plain_tcp_on_loopback;
    let transport = if plain { Transport::PlainLoopback(address.clone()) } else { Transport::Tls(address.clone()) };
    let mut cluster = ClusterConfig::new(transport);
    (cluster.session, cluster.membership, cluster.limits) = (settings.session, settings.membership, settings.transport);
    if let Some(ms) = arguments.grace_ms {
        cluster.set_grace(Duration::from_millis(ms));
    }
    cluster.advertise = arguments.advertise.as_ref().or(settings.cluster.advertise.as_ref()).cloned();
    cluster.name = arguments.name.as_ref().or(settings.cluster.name.as_ref()).cloned();
    cluster.invitation = arguments.join.clone();
    for peer in &arguments.insecure_peer {
        let parts = peer.split_once('@').and_then(|(id, at)| Some((u64::from_str_radix(id, 16).ok()?, at)));
        let (id, at) = parts.ok_or_else(|| {
            Failure::new(format!("`{peer}` is no peer")).help("one looks like `00c3f2e1a5b4d697@127.0.0.1:7700`")
        })?;
        cluster.peers.push(Member { node: NodeId(id), name: String::new(), address: at.to_owned() });
    }
    Ok(Some(cluster))
}

/// That nothing is said of other nodes to a node that listens for none.
fn alone(arguments: &Arguments) -> Result<(), Failure> {
    let said = [
        ("--advertise", arguments.advertise.is_some()),
        ("--name", arguments.name.is_some()),
        ("--join", arguments.join.is_some()),
        ("--insecure-plain-tcp-on-loopback", arguments.insecure_plain_tcp_on_loopback),
    ];
    match said.iter().find(|(_, said)| *said) {
        Some((option, _)) => Err(Failure::usage(format!("`{option}` is for a node that speaks to others"))
            .help("add `--listen HOST:PORT`, or `listen` below `[cluster]` in its configuration")),
        None => Ok(()),
    }
}

/// Tells the other nodes, and gives what is said a moment to get to them.
async fn leave(node: &Node) {
    if node.address().is_some() {
        node.leave();
        tokio::time::sleep(FAREWELL).await;
    }
}

/// A node, with its control socket.
pub(crate) fn start(config: NodeConfig) -> Result<(Node, ControlServer), Failure> {
    let data = &config.data;
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(data);
    made.map_err(|error| {
        Failure::new(format!("the data directory {} cannot be made: {error}", data.display()))
            .help("choose another one with `--data DIR` or NEURATH_DATA")
    })?;
    let node = Node::start(config).map_err(Failure::new)?;
    let control = ControlServer::bind(node.clone()).map_err(|error| {
        node.stop();
        Failure::new(error)
    })?;
    Ok((node, control))
}

/// Ready when the process is told to end.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()> + Send, Failure> {
    let failed = |error| Failure::new(format!("signals cannot be handled: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
