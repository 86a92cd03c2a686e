//! `neurath node`: a node in the foreground, until a signal or a request stops it.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use clap::Args;
use neurath_node::api::ControlServer;
use neurath_node::{Node, NodeConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::config::settings;
use crate::failure::Failure;
use crate::log::{self, Format, Level};
use crate::output::{bold, note, print};
use crate::place::Place;
use crate::show;

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
    let mut settings = settings(&place.dir()?, arguments.config.as_deref())?;
    settings.node.shards = arguments.shards.unwrap_or(settings.node.shards);
    settings.log.format = arguments.log_format.map_or(settings.log.format, Into::into);
    settings.log.processes = arguments.log_processes.map_or(settings.log.processes, Into::into);
    log::of_node(&mut settings.log, arguments.log_level)?;
    let stop = stop_signal()?;
    let (node, control) = start(settings.node)?;
    log::processes(&node, settings.log.processes)?;
    let metrics = control.metrics().map(|at| format!("  metrics http://{at}/metrics\n")).unwrap_or_default();
    print(format!(
        "{} {}, node {}, life {}, {}\n  data    {}\n  socket  {}\n{metrics}ready; Ctrl-C stops it",
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
    node.stop();
    served.map_err(|error| Failure::new(format!("the control socket failed: {error}")))
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
