//! `neurath unconfirmed`: messages to other nodes that are not known to have arrived.

use clap::Args;
use console::Style;

use crate::failure::Failure;
use crate::output::{dim, note, print, print_json, red};
use crate::place::Place;
use crate::show;
use crate::table::{Column, Table};

/// List messages to other nodes that are not known to have arrived
#[derive(Args, Debug)]
#[command(
    after_help = "When the association with a node ends, because it had no connection for the grace time or the node began \
                  another life, what it had not acknowledged is unconfirmed. ARRIVED is `maybe` if a part of the message \
                  was on its way, and `no` if none was.\n\nExamples:\n  neurath unconfirmed\n  neurath unconfirmed --json"
)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let unconfirmed = place.client()?.unconfirmed().await?;
    if arguments.json {
        print_json(&unconfirmed);
        return Ok(());
    }
    note(format!("{} since the node's start", show::count(unconfirmed.count as usize, "message", "messages")));
    if unconfirmed.latest.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        Column::Left("TIME"),
        Column::Left("FROM"),
        Column::Left("TO"),
        Column::Left("TYPE"),
        Column::Left("ARRIVED"),
        Column::Flexible("WHY"),
    ]);
    for message in unconfirmed.latest {
        let arrived = if message.maybe_delivered { "maybe" } else { "no" };
        table.row([
            (show::time(message.at_ms), dim()),
            (message.from, Style::new()),
            (message.to, Style::new()),
            (message.type_name, Style::new()),
            (arrived.into(), Style::new()),
            (message.reason, red()),
        ]);
    }
    print(table.render());
    Ok(())
}
