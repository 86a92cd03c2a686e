//! `neurath run`: a node for one program, in the foreground; with `--watch`, a saved file upgrades its processes.

mod session;
mod watch;

use std::path::PathBuf;

use clap::Args;
use neurath_node::api::Client;
use neurath_node::api::view::DeathView;
use neurath_node::{Node, NodeConfig, NodeError};
use tokio::time::{Duration, sleep};

use crate::build::{BuildArguments, crate_dir};
use crate::commands::logs::show_line;
use crate::commands::node::{start, stop_signal};
use crate::failure::Failure;
use crate::log;
use crate::output::{clean_below, dim, note, print};
use crate::place::Place;
use crate::show::Pids;
use session::{Session, Started};
use watch::Watch;

/// Lines of log that may have been written before they are followed.
const LOG_LINES: usize = 10_000;

/// How often it is looked whether the process lives.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Build a crate, start it on a node of its own, and show what it writes
#[derive(Args, Debug)]
#[command(
    after_help = "The node's data directory is thrown away at the end, unless --data or NEURATH_DATA names one. Without \
                  --watch the command ends when the process does. Of a function it prints the result.\n\nExamples:\n  \
                  neurath run\n  neurath run ./counter 0 --watch\n  \
                  neurath run ./ping-pong --entry play '[10, 100]'"
)]
pub(crate) struct Arguments {
    /// The directory of the crate
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The entry's arguments, as for `neurath spawn`; without them, examples of their types
    #[arg(value_name = "ARGS_JSON", allow_negative_numbers = true)]
    arguments: Option<String>,
    /// Which entry, if there are several
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Rebuild and upgrade when a file is saved
    #[arg(long, short)]
    watch: bool,
    /// Scheduler threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    shards: Option<u32>,
    #[command(flatten)]
    build: BuildArguments,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    log::quietly("warn")?;
    let stop = stop_signal()?;
    place.stays_here("neurath run")?;
    let (data, _thrown_away) = match &place.data {
        Some(_) => (place.dir()?, None),
        None => {
            let dir = tempfile::Builder::new().prefix("neurath-run-").tempdir();
            let dir = dir.map_err(|error| Failure::new(format!("no temporary directory: {error}")))?;
            (dir.path().to_owned(), Some(dir))
        }
    };
    let arguments = Arguments { path: crate_dir(&arguments.path)?, ..arguments };
    let mut config = NodeConfig::new(&data);
    config.shards = arguments.shards.unwrap_or(config.shards);
    let (node, control) = start(config).map_err(|failure| match &place.data {
        Some(_) => failure.or_help(
            "`run` has a node of its own: leave out `--data` and NEURATH_DATA (`env -u NEURATH_DATA neurath run`); for a \
             node that runs already there are `neurath install` and `neurath spawn`",
        ),
        None => failure,
    })?;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(control.serve(async {
        // Dropping the sender ends it too.
        let _ = ended.await;
    }));
    let client = Client::of_data(&data);
    let result = tokio::select! {
        result = attend(arguments, &node, client) => result,
        () = stop => Ok(()),
        // `neurath stop` ends it as well.
        _ = serving => Ok(()),
    };
    drop(end);
    node.stop();
    result
}

async fn attend(arguments: Arguments, node: &Node, client: Client) -> Result<(), Failure> {
    let pids = Pids::of(&client.node().await?);
    let following = tokio::spawn(follow(client.clone(), Pids::of(&client.node().await?)));
    let build = BuildArguments { quick: arguments.build.quick || arguments.watch, ..arguments.build };
    let mut session = Session::new(client, build.request(&arguments.path), arguments.entry, arguments.arguments);
    let hint = format!("for other terminals: export NEURATH_DATA={}", node.config().data.display());
    if !arguments.watch {
        let started = session.start().await?;
        note(dim().apply_to(hint).to_string());
        let result = match started {
            Started::Process(module, pid) => {
                note(format!("{module} runs as {}", pids.short(&pid)));
                until_it_ends(node, &pid, &pids).await
            }
            Started::Function(run) => run.result().await.map(print),
        };
        // What it wrote last is shown before the command ends.
        sleep(LOOK_EVERY).await;
        following.abort();
        return result;
    }
    let mut watch = Watch::new(&arguments.path)?;
    note(dim().apply_to(hint).to_string());
    session.begin(node, &pids).await?;
    loop {
        watch.also(session.watched())?;
        let saved = watch.next().await;
        session.changed(saved, node, &pids).await;
    }
}

async fn follow(client: Client, pids: Pids) {
    let Ok(mut lines) = client.logs(LOG_LINES, true).await else { return };
    while let Ok(Some(line)) = lines.next().await {
        print(show_line(&line, &pids));
    }
}

/// Waits for the end of a process; an abnormal one is a failure.
async fn until_it_ends(node: &Node, pid: &str, pids: &Pids) -> Result<(), Failure> {
    while lives(node, pid).await {
        sleep(LOOK_EVERY).await;
    }
    match death(node, pid, pids) {
        Some(why) => Err(Failure::new(format!("the process ended: {why}"))),
        None => Ok(()),
    }
}

async fn lives(node: &Node, pid: &str) -> bool {
    !matches!(node.info(pid).await, Err(NodeError::UnknownProcess(_)))
}

/// Why a process ended, if not normally.
fn death(node: &Node, pid: &str, pids: &Pids) -> Option<String> {
    let death = node.deaths().into_iter().rev().find(|death| death.pid.to_string() == pid)?;
    Some(clean_below(&pids.short_in(&DeathView::from(death).why), 2))
}
