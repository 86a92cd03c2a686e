//! `neurath demo`: the main job. Programs are upgraded under load, and what their clients saw is counted.
//!
//! Invariant: whatever was lost, came twice or out of order, or is not as it should be at the end, is a failure with an
//! exit code of its own.

mod guests;
mod nodes;
mod picture;
mod pingpong;
mod record;
mod stage;
mod subject;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use self::record::Record;
use self::stage::Stage;
use self::subject::Subject;
use crate::commands::node::stop_signal;
use crate::failure::Failure;
use crate::log;
use crate::output::{Bar, note, print, print_json};

/// Upgrade programs under load, and count what was lost
#[derive(Args, Debug)]
#[command(
    after_help = "A counter and an account are kept busy by clients of their first version. Both change to a second \
                  version, and then try a third one, whose converters fail. A server of pings changes at the fifth of \
                  ten. Then three nodes run as three processes of the system, and one of them is killed in the middle.\n\n\
                  Examples:\n  neurath demo\n  neurath demo --seconds 10 --json demo.json"
)]
pub(crate) struct Arguments {
    /// Write the result as one JSON object to a file, or without FILE to standard output instead of the report
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// How long clients ask
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    log::quietly("error")?;
    let file = arguments.json.as_deref().filter(|file| file.as_os_str() != "-");
    // Said before the demo has run, not after it.
    file.map_or(Ok(()), writable)?;
    let stop = stop_signal()?;
    let record = tokio::select! {
        record = play(Duration::from_secs(arguments.seconds.into())) => record?,
        () = stop => return Err(Failure::new("the demo was interrupted")),
    };
    match (file, &arguments.json) {
        (None, Some(_)) => print_json(&record),
        (file, _) => {
            print(picture::of(&record));
            file.map_or(Ok(()), |file| write(file, &record))?;
        }
    }
    match record.wrong() {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(Failure::new(format!("it did not go as it should:\n  {}", wrong.join("\n  "))).of_demo()),
    }
}

/// Plays everything on a node of its own.
async fn play(length: Duration) -> Result<Record, Failure> {
    let guests = guests::find()?;
    let dir = tempfile::Builder::new().prefix("neurath-demo-").tempdir();
    let dir = dir.map_err(|error| Failure::new(format!("no temporary directory: {error}")))?;
    let bar = Bar::new("compiling the programs");
    let stage = Stage::start(dir.path(), length, &guests).await?;
    let (counter, account) = (Subject::counter(), Subject::account());
    let played = async {
        let counter = subject::start(&stage, &counter).await?;
        let account = subject::start(&stage, &account).await?;
        tokio::try_join!(subject::play(counter), subject::play(account), pingpong::play(&stage))
    };
    let played = tokio::select! {
        played = played => played,
        never = stage.show_progress(&bar) => match never {},
    };
    drop(bar);
    let refused = stage.refused().await;
    stage.stop();
    let (counter, account, pingpong) = played?;
    let bar = Bar::new("three nodes, of which one is killed");
    let program = guests.iter().find(|guest| guest.package == guests::CLUSTER);
    let program = program.ok_or_else(|| Failure::new("the demo's programs lack the one for several nodes"))?;
    let nodes = nodes::play(&dir.path().join("nodes"), program).await?;
    drop(bar);
    Ok(Record::new(&stage, [counter, account], pingpong, refused, nodes))
}

/// Whether a file can be written; one that is there keeps what it has.
fn writable(file: &Path) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
    opened.map(drop).map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))
}

fn write(file: &Path, record: &Record) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(record).map_err(Failure::new)? + "\n";
    std::fs::write(file, text).map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    note(format!("the result is in {}", file.display()));
    Ok(())
}
