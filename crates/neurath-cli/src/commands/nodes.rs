//! `neurath nodes`: this node and the others.

use clap::Args;
use console::Style;

use crate::failure::Failure;
use crate::output::{bold, clean, dim, note, print, print_json, red};
use crate::place::Place;
use crate::table::{Column, Table};

/// List the nodes of the cluster, as this node sees them
#[derive(Args, Debug)]
#[command(
    after_help = "STATE is what membership says, SESSION whether this node is connected with it. A node that is \
                  `reconnecting` is held to be there until the grace time is over; then monitors and links fire.\n\n\
                  Examples:\n  neurath nodes\n  neurath nodes --json"
)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let nodes = place.client()?.nodes().await?;
    if arguments.json {
        print_json(&nodes);
        return Ok(());
    }
    if nodes.nodes.is_empty() {
        note("this node is in no cluster; `neurath cluster --help` says how one is made");
        return Ok(());
    }
    let mut table = Table::new([
        Column::Left("NAME"),
        Column::Left("NODE"),
        Column::Right("LIFE"),
        Column::Left("STATE"),
        Column::Left("SESSION"),
        Column::Right("LATENCY"),
        Column::Left("VERSION"),
        Column::Flexible("ADDRESS"),
    ]);
    let mut failures = Vec::new();
    for node in nodes.nodes {
        let state = match node.state.as_str() {
            "self" => bold(),
            "suspect" | "down" => red(),
            _ => Style::new(),
        };
        let latency = node.latency_us.map_or_else(String::new, |us| format!("{:.1} ms", us as f64 / 1000.0));
        failures.extend(node.failure.map(|failure| format!("{} was not reached: {failure}", node.name)));
        table.row([
            (node.name, Style::new()),
            (node.id, dim()),
            (node.incarnation.map_or_else(String::new, |life| life.to_string()), Style::new()),
            (node.state, state),
            (node.session, Style::new()),
            (latency, Style::new()),
            (node.version, dim()),
            (node.address, Style::new()),
        ]);
    }
    print(table.render());
    // Below: what was tried may be another address than the one that is known by now.
    for failure in failures {
        print(clean(&failure));
    }
    Ok(())
}
