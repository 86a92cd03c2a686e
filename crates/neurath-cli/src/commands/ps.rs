//! `neurath ps`: the processes.

use clap::Args;
use console::Style;
use neurath_node::api::view::ProcessView;
use neurath_node::api::{PROCESSES_DEFAULT, PROCESSES_MAX};

use crate::failure::Failure;
use crate::output::{dim, green, note, print, print_json, red, yellow};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::table::{Column, Table};

/// List processes
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath ps\n  neurath ps counter\n  neurath ps counter@1.0.0 --json")]
pub(crate) struct Arguments {
    /// Only those of this module, or of this `name@version`
    module: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = PROCESSES_DEFAULT)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let limit = arguments.limit.min(PROCESSES_MAX);
    let mut listed = client.processes(arguments.module.as_deref(), limit).await?;
    if let (Some(wanted), 0) = (&arguments.module, listed.total) {
        // It may be a typing error, or another way to say `name@version`.
        let found = client.module(wanted).await?.module;
        if ![&found.module, &found.name].contains(&wanted) {
            listed = client.processes(Some(&found.module), limit).await?;
        }
    }
    if arguments.json {
        print_json(&listed);
        return Ok(());
    }
    if listed.processes.is_empty() {
        note(match &arguments.module {
            _ if listed.total > 0 => format!("{} processes, and --limit 0 shows none of them", listed.total),
            None => "no processes; start one with `neurath spawn MODULE`".into(),
            Some(module) => format!("no processes of {module}; start one with `neurath spawn {module}`"),
        });
        return Ok(());
    }
    let pids = Pids::of(&client.node().await?);
    let mut table = Table::new([
        Column::Right("PID"),
        Column::Flexible("MODULE"),
        Column::Left("ENTRY"),
        Column::Left("STATE"),
        Column::Right("MAILBOX"),
        Column::Right("MEMORY"),
        Column::Left("NAMES"),
    ]);
    for process in &listed.processes {
        table.row([
            (pids.short(&process.pid), Style::new().bold()),
            (process.module.clone(), Style::new()),
            (process.entry.clone(), Style::new()),
            (state(process), style(&process.state)),
            (process.mailbox.to_string(), Style::new()),
            (process.memory_bytes.map_or("-".into(), show::bytes), Style::new()),
            (process.names.join(" "), Style::new()),
        ]);
    }
    print(table.render());
    let more = listed.total - listed.processes.len();
    if more > 0 {
        note(dim().apply_to(format!("and {more} more; --limit {} shows them", listed.total)).to_string());
    }
    Ok(())
}

fn state(process: &ProcessView) -> String {
    let mark = if process.upgrade_pending { "*" } else { "" };
    format!("{}{mark}", process.state)
}

fn style(state: &str) -> Style {
    match state {
        "running" => green(),
        "runnable" | "back_pressure" => yellow(),
        "waiting" => Style::new(),
        _ => red(),
    }
}
