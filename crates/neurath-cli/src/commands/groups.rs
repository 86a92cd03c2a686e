//! `neurath groups`: process groups and their members.

use clap::Args;
use console::Style;

use crate::failure::Failure;
use crate::output::{note, print, print_json};
use crate::place::Place;
use crate::table::{Column, Table};

/// List process groups, with their members on all connected nodes
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath groups\n  neurath groups --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let groups = place.client()?.groups().await?;
    if arguments.json {
        print_json(&groups);
        return Ok(());
    }
    if groups.groups.is_empty() {
        note("no process is a member of a group");
        return Ok(());
    }
    let mut table = Table::new([Column::Left("GROUP"), Column::Right("MEMBERS"), Column::Flexible("WHO")]);
    for group in groups.groups {
        let count = group.members.len().to_string();
        table.row([(group.name, Style::new()), (count, Style::new()), (group.members.join(", "), Style::new())]);
    }
    print(table.render());
    Ok(())
}
