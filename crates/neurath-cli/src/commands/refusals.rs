//! `neurath refusals`: messages that did not reach their readers.

use clap::Args;
use console::Style;

use crate::failure::Failure;
use crate::output::{dim, note, print, print_json};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::table::{Column, Table};

/// List messages that were not taken, and why
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath refusals\n  neurath refusals --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let refusals = client.refusals().await?;
    if arguments.json {
        print_json(&refusals);
        return Ok(());
    }
    note(format!(
        "since the node's start {} of a type that the receiver does not take, {} to nobody",
        refusals.refused, refusals.undeliverable
    ));
    if refusals.latest.is_empty() {
        return Ok(());
    }
    let pids = Pids::of(&client.node().await?);
    let mut table = Table::new([
        Column::Left("TIME"),
        Column::Right("FROM"),
        Column::Right("TO"),
        Column::Left("TYPE"),
        Column::Flexible("WHY"),
    ]);
    for refusal in refusals.latest {
        table.row([
            (show::time(refusal.at_ms), dim()),
            (pids.short(&refusal.from), Style::new()),
            (pids.short(&refusal.to), Style::new()),
            (refusal.type_name, Style::new()),
            (refusal.why, Style::new()),
        ]);
    }
    print(table.render());
    Ok(())
}
