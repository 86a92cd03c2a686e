//! `neurath deaths`: processes that ended otherwise than normally.

use clap::Args;
use console::Style;

use crate::failure::Failure;
use crate::output::{dim, note, print, print_json, red};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::table::{Column, Table};

/// List processes that failed, and why
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath deaths\n  neurath deaths --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let deaths = client.deaths().await?;
    if arguments.json {
        print_json(&deaths);
        return Ok(());
    }
    note(format!("{} ended since the node's start, normally or not", deaths.ended));
    if deaths.latest.is_empty() {
        return Ok(());
    }
    let pids = Pids::of(&client.node().await?);
    let mut table = Table::new([Column::Left("TIME"), Column::Right("PID"), Column::Flexible("WHY")]);
    for death in deaths.latest {
        table.row([
            (show::time(death.at_ms), dim()),
            (pids.short(&death.pid), Style::new()),
            (pids.short_in(&death.why), red()),
        ]);
    }
    print(table.render());
    Ok(())
}
