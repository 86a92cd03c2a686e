//! `neurath node`: a node in the foreground, until a signal or a request stops it.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use clap::{Args, ValueEnum};
use neurath_node::api::ControlServer;
use neurath_node::{Node, NodeConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::output::{bold, note, print};
use crate::place::Place;
use crate::show;

/// Start a node and stay with it
#[derive(Args, Debug)]
#[command(
    after_help = "Ctrl-C, SIGTERM or `neurath stop` stops it. NEURATH_LOG chooses what it tells on standard error, for \
                  example `debug` or `neurath_node=trace`.\n\nExamples:\n  neurath node\n  \
                  neurath node --data ./node-a --shards 2"
)]
pub(crate) struct Arguments {
    /// Scheduler threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    shards: Option<u32>,
    /// How it tells what happens, on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// See `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    trace(arguments.log_format, "warn,neurath=info,neurath_node=info")?;
    let stop = stop_signal()?;
    let (node, control) = start(&place.dir()?, arguments.shards)?;
    print(format!(
        "{} {}, node {}, life {}, {}\n  data    {}\n  socket  {}\nready; Ctrl-C stops it",
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

/// A node on a data directory, with its control socket.
pub(crate) fn start(data: &Path, shards: Option<u32>) -> Result<(Node, ControlServer), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(data);
    made.map_err(|error| {
        Failure::new(format!("the data directory {} cannot be made: {error}", data.display()))
            .help("choose another one with `--data DIR` or NEURATH_DATA")
    })?;
    let mut config = NodeConfig::new(data);
    config.shards = shards.unwrap_or(config.shards);
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

/// Sends what the node tells to standard error, as far as NEURATH_LOG or `default` say.
pub(crate) fn trace(format: LogFormat, default: &str) -> Result<(), Failure> {
    let filter = match std::env::var("NEURATH_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| Failure::usage(format!("NEURATH_LOG is `{text}`: {error}")).help("for example `info`"))?,
        Err(_) => EnvFilter::new(default),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(console::colors_enabled_stderr()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
