//! `neurath kill`: ends a process.

use clap::Args;

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::place::Place;
use crate::show::Pids;

/// End a process
#[derive(Args, Debug)]
#[command(
    after_help = "Without --force a process that traps exits is told and may go on; with it, nothing helps it, not \
                  even an endless loop.\n\nExamples:\n  neurath kill 42\n  neurath kill counter --force"
)]
pub(crate) struct Arguments {
    /// A pid, its serial, or a name
    target: String,
    /// In a way that cannot be caught
    #[arg(long, short)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let killed = client.kill(&arguments.target, arguments.force).await?;
    if arguments.json {
        print_json(&killed);
    } else {
        let verb = if arguments.force { "killed" } else { "asked to exit:" };
        print(format!("{verb} {}", Pids::of(&client.node().await?).short(&killed.pid)));
    }
    Ok(())
}
