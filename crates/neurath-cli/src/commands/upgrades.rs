//! `neurath upgrades`: the latest changes of code.

use std::time::Duration;

use clap::Args;
use console::Style;

use crate::failure::Failure;
use crate::output::{dim, green, note, print, print_json, yellow};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::table::{Column, Table};

/// List the latest changes of processes' code
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath upgrades\n  neurath upgrades --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let upgrades = client.upgrades().await?;
    if arguments.json {
        print_json(&upgrades);
        return Ok(());
    }
    let counts = &upgrades.counts;
    note(format!("{} committed, {} rolled back since the node's start", counts.committed, counts.rolled_back));
    if upgrades.latest.is_empty() {
        return Ok(());
    }
    let pids = Pids::of(&client.node().await?);
    let mut table = Table::new([
        Column::Left("TIME"),
        Column::Right("PID"),
        Column::Left("FROM"),
        Column::Left("TO"),
        Column::Right("PAUSE"),
        Column::Flexible("OUTCOME"),
    ]);
    for event in upgrades.latest {
        let good = event.outcome == "committed";
        let outcome = event.why.map_or(event.outcome, |why| format!("rolled back: {why}"));
        table.row([
            (show::time(event.at_ms), dim()),
            (pids.short(&event.pid), Style::new()),
            (event.from, Style::new()),
            (event.to, Style::new()),
            (show::duration(Duration::from_micros(event.took_us)), Style::new()),
            (outcome, if good { green() } else { yellow() }),
        ]);
    }
    print(table.render());
    Ok(())
}
